/*
 * hist.h - a histogram of nanoseconds with three digits
 *
 * Log-linear, as in HdrHistogram: up to 2047 each value has its own counter,
 * above that each octave is cut into 1024, so that no value is off by more
 * than 0.1 %.  A counter is found with a shift; adding never fails.
 *
 * Fixed size and without pointers, so that it can lie in shared memory.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdbool.h>
#include <stdint.h>

#define HIST_HALF 1024u
#define HIST_BITS 42u /* values end at 2^42 ns, 73 minutes */
#define HIST_N    ((HIST_BITS - 11u) * HIST_HALF + 2u * HIST_HALF)

struct hist {
	uint64_t n;
	uint64_t min; /* exact */
	uint64_t max; /* exact */
	uint64_t count[HIST_N];
};

void hist_init(struct hist *hist);
void hist_add(struct hist *hist, uint64_t value);
void hist_add_many(struct hist *hist, uint64_t value, uint64_t n);
void hist_merge(struct hist *into, const struct hist *from);

/* The value that a part @q (0 .. 1) of all does not exceed; 0 when empty. */
uint64_t hist_quantile(const struct hist *hist, double q);

/* One counter: how many values lay from @lower to @upper. */
struct hist_step {
	uint64_t lower, upper, count;
};

/*
 * The counters that are not zero, smallest first:
 *
 *	for (unsigned idx = 0; hist_next(hist, &idx, &step);)
 */
bool hist_next(const struct hist *hist, unsigned *idx, struct hist_step *step);

/* What reports show of a histogram. */
struct quantiles {
	uint64_t min, p50, p90, p99, p999, max;
};

struct quantiles hist_quantiles(const struct hist *hist);

#endif
