/* test_hist.c - bench/hist.c */
#include "config.h"

#include <criterion/criterion.h>
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
