/*
 * test_hist.c - bench/hist.c
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "bench/hist.h"

static struct hist *hist, *other;

static void setup(void)
{
	hist = malloc(sizeof(*hist));
	other = malloc(sizeof(*other));
	cr_assert(hist && other);
	hist_init(hist);
	hist_init(other);
}

static void teardown(void)
{
	free(hist);
	free(other);
}

TestSuite(hist, .init = setup, .fini = teardown, .timeout = 200.0);

Test(hist, empty_is_all_zero)
{
	struct quantiles q = hist_quantiles(hist);

	cr_assert_eq(q.min, 0);
	cr_assert_eq(q.p50, 0);
	cr_assert_eq(q.p999, 0);
	cr_assert_eq(q.max, 0);
}

Test(hist, one_value_is_every_quantile)
{
	hist_add(hist, 1234567);
	cr_assert_eq(hist_quantile(hist, 0.0), 1234567);
	cr_assert_eq(hist_quantile(hist, 0.5), 1234567);
	cr_assert_eq(hist_quantile(hist, 1.0), 1234567);
	cr_assert_eq(hist_quantiles(hist).min, 1234567);
}

Test(hist, values_below_2048_are_exact)
{
	for (uint64_t v = 1; v <= 1000; v++)
		hist_add(hist, v);
	cr_assert_eq(hist_quantile(hist, 0.001), 1);
	cr_assert_eq(hist_quantile(hist, 0.5), 500);
	cr_assert_eq(hist_quantile(hist, 0.99), 990);
	cr_assert_eq(hist_quantile(hist, 0.999), 999);
	cr_assert_eq(hist_quantile(hist, 1.0), 1000);
}

/* Around each power of two, where the step changes. */
Test(hist, no_value_is_off_by_more_than_a_thousandth)
{
	for (unsigned bit = 0; bit < HIST_BITS; bit++)
		for (int d = -1; d <= 1; d++) {
			uint64_t v = (1ull << bit) + (uint64_t)d, got;

			if (v >> HIST_BITS)
				continue;
			hist_init(hist);
			hist_add(hist, v);
			hist_add(hist, (1ull << HIST_BITS) - 1);
			got = hist_quantile(hist, 0.5);
			cr_assert_geq(got, v);
			cr_assert_leq(got - v, v / 1000, "%llu for %llu",
				      (unsigned long long)got,
				      (unsigned long long)v);
		}
}

Test(hist, too_large_a_value_counts_as_the_largest)
{
	hist_add(hist, UINT64_MAX);
	cr_assert_eq(hist->n, 1);
	cr_assert_eq(hist_quantile(hist, 0.5), (1ull << HIST_BITS) - 1);
}

Test(hist, merged_is_as_if_added_to_one)
{
	for (uint64_t v = 1; v <= 100; v++)
		hist_add(v % 2 ? hist : other, v);
	hist_merge(hist, other);
	cr_assert_eq(hist->n, 100);
	cr_assert_eq(hist_quantiles(hist).min, 1);
	cr_assert_eq(hist_quantiles(hist).max, 100);
	cr_assert_eq(hist_quantile(hist, 0.5), 50);
}

/* Known distributions: what the histogram says against what their formula
 * says.  The values are the quantiles of N equal parts of the distribution,
 * so that there is no chance in it. */

#define N 1000000u

typedef double (*inverse_fn)(double p);

static double uniform(double p)
{
	return 1000 + p * 9e6;
}

static double exponential(double p)
{
	return 100000 * -log1p(-p);
}

static double constant(double p)
{
	(void)p;
	return 123456789;
}

/* One in a hundred takes a thousand times as long. */
static double two_point(double p)
{
	return p < 0.99 ? 7001 : 7001000;
}

static void check_distribution(inverse_fn inverse)
{
	static const double q[] = { 0.001, 0.01, 0.1,  0.25,  0.5,
				    0.75,  0.9,  0.99, 0.999, 0.9999 };

	hist_init(hist);
	for (unsigned i = 0; i < N; i++)
		hist_add(hist, (uint64_t)(inverse((i + 0.5) / N) + 0.5));
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
		/* the value of that rank, as it was added */
		double want = floor(inverse((ceil(q[i] * N) - 0.5) / N) + 0.5);
		double got = (double)hist_quantile(hist, q[i]);

		cr_assert(fabs(got - want) <= want * 0.001,
			  "%g: %.0f instead of %.0f", q[i], got, want);
	}
}

Test(hist, a_uniform_distribution_is_right_to_a_thousandth)
{
	check_distribution(uniform);
}

Test(hist, an_exponential_distribution_is_right_to_a_thousandth)
{
	check_distribution(exponential);
}

Test(hist, a_constant_is_right_to_a_thousandth)
{
	check_distribution(constant);
}

Test(hist, two_points_are_kept_apart)
{
	check_distribution(two_point);
	/* and exactly where one ends */
	cr_assert_lt(hist_quantile(hist, 0.99), 7100);
	cr_assert_gt(hist_quantile(hist, 0.990001), 7000000);
}

/* As JSON carries it: lower ends and counts. */
Test(hist, is_the_same_again_from_its_steps)
{
	struct hist_step step;
	uint64_t n = 0, last = 0;

	for (uint64_t v = 1; v < 1ull << 40; v = v * 5 / 3 + 1)
		hist_add_many(hist, v, v % 7 + 1);
	for (unsigned idx = 0; hist_next(hist, &idx, &step);) {
		cr_assert(step.lower > last && step.upper >= step.lower);
		cr_assert_leq(step.upper - step.lower, step.lower / 1000);
		last = step.upper;
		n += step.count;
		hist_add_many(other, step.lower, step.count);
	}
	cr_assert_eq(n, hist->n);
	cr_assert_eq(other->n, hist->n);
	cr_assert_arr_eq(other->count, hist->count, sizeof(hist->count));
}
