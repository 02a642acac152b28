/*
 * stats.h - are two series of rounds different, and by how much?
 *
 * Rounds are few and their distribution is anything but normal: a scheduler, a
 * neighbour or a moved virtual machine make some of them very slow.  So
 * everything here looks at ranks, and holds for any distribution.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

/* Of @n >= 1 values, in any order. */
double stats_median(const double *values, unsigned n);

/*
 * Mann and Whitney's U test, two-sided: how likely are two series that differ
 * at least as much as these, if both come from one distribution?  Exact up to
 * STATS_EXACT values in all, also where values are equal; then by the normal
 * distribution, which is good to three digits there.
 */
#define STATS_EXACT 60u

double stats_p(const double *a, unsigned n_a, const double *b, unsigned n_b);

/* The least that stats_p() can say of so many values. */
double stats_least_p(unsigned n_a, unsigned n_b);

/*
 * How many times larger the values of @b are than those of @a: the median of
 * all ratios of pairs (Hodges and Lehmann), and the interval that belongs to
 * the test: 1 lies outside exactly when p <= @alpha, but for equal values.
 * @low and @high are NAN when there are too few values for an interval.
 */
struct stats_ratio {
	double ratio, low, high;
};

struct stats_ratio stats_ratio(const double *a, unsigned n_a, const double *b,
			       unsigned n_b, double alpha);

#endif
