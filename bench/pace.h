/*
 * pace.h - messages at intended times: the open loop
 *
 * Message @seq is to be sent at a time that depends on nothing but the rate.
 * If the one before it took long, or the sender was kept from running, it is
 * late, and its latency begins all the same when it should have been sent.
 * A sender that waits for the slow one and then measures the next from its own
 * sending leaves out all those that a real program would have had to wait
 * with: "coordinated omission".
 */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint64_t begin_ns;
	double interval_ns; /* 0: as fast as can be */
};

static inline struct pace pace_of(uint64_t begin_ns, double per_s)
{
	return (struct pace){ begin_ns, per_s > 0 ? 1e9 / per_s : 0 };
}

/* When message @seq is to be sent. */
static inline uint64_t pace_due(const struct pace *pace, uint64_t seq)
{
	return pace->begin_ns + (uint64_t)((double)seq * pace->interval_ns);
}

/* Its latency, when it is received at @now_ns. */
static inline uint64_t pace_latency(const struct pace *pace, uint64_t seq,
				    uint64_t now_ns)
{
	uint64_t due_ns = pace_due(pace, seq);

	return now_ns > due_ns ? now_ns - due_ns : 0;
}

/* Wait until message @seq is to be sent.  False: @stop was set before. */
bool pace_wait(const struct pace *pace, uint64_t seq,
	       const _Atomic uint32_t *stop);

/* True when @per_s messages a second are not what was asked for. */
static inline bool pace_missed(double asked_per_s, double per_s)
{
	return per_s < 0.99 * asked_per_s;
}

#endif
