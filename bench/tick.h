/*
 * tick.h - a clock for spans of a few ten nanoseconds
 *
 * A round trip between two cores that share a cache takes as little as 40 ns,
 * and clock_gettime() takes 15 to 50 of them.  So on x86, where the kernel
 * itself keeps its time by the TSC (which says that it is constant and the
 * same on all cores), spans are measured with the TSC, calibrated once against
 * CLOCK_MONOTONIC; elsewhere with CLOCK_MONOTONIC.  In both cases the least
 * that two reads in a row ever took is the clock's own cost and is subtracted
 * from each span.
 *
 * Times that two processes compare (wake, begin and end of a round) are
 * always CLOCK_MONOTONIC.
 */
#ifndef BENCH_TICK_H
#define BENCH_TICK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

struct tick_clock {
	bool tsc;
	double ns_per_tick;
	uint64_t cost; /* of one reading, in ticks */
};

extern struct tick_clock tick_clock;

/* Before the first use, and before fork(). */
void tick_init(void);

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline uint64_t tick_now(void)
{
#if defined(__x86_64__)
	if (tick_clock.tsc) {
		/* Without the fence the TSC is read while the load that ends
		 * the wait is still on its way. */
		__builtin_ia32_lfence();
		return __builtin_ia32_rdtsc();
	}
#endif
	return now_ns();
}

static inline uint64_t tick_span_ns(uint64_t from, uint64_t to)
{
	uint64_t span = to - from;

	if (span <= tick_clock.cost)
		return 0;
	return (uint64_t)((double)(span - tick_clock.cost) *
				  tick_clock.ns_per_tick +
			  0.5);
}

void sleep_ns(uint64_t ns);

#endif
