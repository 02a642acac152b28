/*
 * outcome.h - what one round of one transport gave
 */
#ifndef BENCH_OUTCOME_H
#define BENCH_OUTCOME_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/hist.h"

enum outcome_status {
	OUTCOME_OK,
	OUTCOME_ABSENT, /* the transport is not to be had here; why says it */
	OUTCOME_FAILED, /* a process of the round failed; why says how */
	OUTCOME_HUNG    /* killed after the time limit */
};

/* Messages of each of several workers or readers, with those of the warm-up. */
struct fairness {
	unsigned n; /* of them; 0: not known */
	double min, mean, max, stddev;
};

struct outcome {
	enum outcome_status status;
	char why[200];

	double seconds;    /* first message sent to last one received */
	uint64_t messages; /* received; in rtt and farm: answers */
	bool open_loop;    /* sent at intended times, ns counts from these */
	double sent_per_s; /* then: how many they were; NAN otherwise */
	bool has_ns;
	struct quantiles ns;
	struct quantiles again_ns; /* recover: until it ran again */
	uint64_t deaths;           /* workers or readers that were killed */
	uint64_t again;            /* messages that another had after that */
	struct fairness fairness;
	double part;   /* of what the processes did: in the span that counts */
	double cpu_ns; /* of all processes; NAN if not known */
	double sleeps; /* likewise: they slept and were woken */
	double preempted;   /* likewise: they had to give way */
	double cpu_percent; /* idle only, else NAN */
	double pingpong_ns; /* just before the round; NAN if not known */
	double pingpong_after_ns;

	/* All zero, or the transport or its user is broken. */
	uint64_t lost;
	uint64_t dup;
	uint64_t disorder; /* older than one that its reader had already */
	uint64_t wrong;    /* payload or answer */

	/* The caller's, and left as it is: where the latencies of the round
	 * are added.  NULL: nowhere. */
	struct hist *all_ns;
};

#define OUTCOME_INIT                                                           \
	{                                                                      \
		.part = 1.0, .sent_per_s = NAN, .cpu_ns = NAN, .sleeps = NAN,  \
		.preempted = NAN, .cpu_percent = NAN, .pingpong_ns = NAN,      \
		.pingpong_after_ns = NAN                                       \
	}

/* Sets status and why; returns -1, for callers that return that at once. */
int outcome_set(struct outcome *out, enum outcome_status status,
		const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Of context, a message; NAN if not known. */
static inline double outcome_switches(const struct outcome *out)
{
	return out->messages
		       ? (out->sleeps + out->preempted) / (double)out->messages
		       : NAN;
}

static inline bool outcome_is_clean(const struct outcome *out)
{
	return !out->lost && !out->dup && !out->disorder && !out->wrong;
}

#endif
