/*
 * rounds.h - what several rounds say together
 */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include <stdbool.h>

/* Where the processors of a round were to each other. */
enum regime {
	REGIME_NEAR,    /* they share a cache */
	REGIME_FAR,     /* they do not */
	REGIME_MIXED,   /* first one, then the other */
	REGIME_UNKNOWN, /* not two processors free */
	REGIME_N
};

/* By the ping-pong before and after a round; NAN: not known. */
enum regime regime_of(double before_ns, double after_ns);

/* "near", "far", "mixed" or "unknown". */
const char *regime_name(enum regime regime);

/* Whether rounds of it can be compared with each other. */
static inline bool regime_is_known(enum regime regime)
{
	return regime == REGIME_NEAR || regime == REGIME_FAR;
}

/* The one to believe when there were @n rounds of each: that of near and far
 * which had more; the others only if there was neither. */
enum regime regime_most(const unsigned n[REGIME_N]);

/*
 * Of @n values in order of size, those between which the median of all that
 * could have been measured lies, at 95 %: the indices @low and @high.  False
 * when there are too few values to say so, which is less than 6.
 */
bool median_interval(unsigned n, unsigned *low, unsigned *high);

/* Whether @n values, in the order of time, get better and better: what was
 * measured had not settled.  Less than 5 are never enough to say so. */
bool is_warming_up(const double *values, unsigned n, bool more_is_better);

#endif
