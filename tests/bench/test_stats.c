/*
 * test_stats.c - bench/stats.c, against figures that were computed by hand or
 * by counting all choices
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>

#include "bench/stats.h"

#define N(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

TestSuite(stats, .timeout = 200.0);

static void near(double got, double want, double off)
{
	cr_assert(fabs(got - want) <= off, "%.9g instead of %.9g", got, want);
}

/* Never the same twice, always the same in all. */
static double noise(void)
{
	static uint64_t state = 88172645463325252ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double)(state >> 11) / (double)(1ull << 53);
}

Test(stats, median_of_odd_and_even)
{
	double odd[] = { 5, 1, 3 }, even[] = { 4, 1, 3, 2 }, one[] = { 7 };

	near(stats_median(odd, 3), 3, 0);
	near(stats_median(even, 4), 2.5, 0);
	near(stats_median(one, 1), 7, 0);
	near(odd[0], 5, 0); /* left as it was */
}

/* All 252 choices of 5 of 10: the extreme one, twice. */
Test(stats, p_of_series_that_do_not_overlap)
{
	double a[] = { 1, 2, 3, 4, 5 }, b[] = { 6, 7, 8, 9, 10 };

	near(stats_p(a, 5, b, 5), 2.0 / 252, 1e-12);
	near(stats_p(b, 5, a, 5), 2.0 / 252, 1e-12);
	near(stats_least_p(5, 5), 2.0 / 252, 1e-12);
	near(stats_least_p(3, 3), 0.1, 1e-12);
	near(stats_least_p(1, 1), 1, 0);
}

/* U = 2 of 4 and 3: of 35 choices 1 has U 0, 1 has 1 and 2 have 2. */
Test(stats, p_of_series_that_overlap)
{
	double a[] = { 1, 2, 4, 5 }, b[] = { 3, 6, 7 };

	near(stats_p(a, 4, b, 3), 2 * 4.0 / 35, 1e-12);
}

/* 1 1 2 against 1 2 2: midranks 2 2 2, 5 5 5; the sum of the first is 9.
 * Choices of three with a sum of 9 or less: all three low ones (1 way), two
 * low ones and a high one (9 ways), of 20. */
Test(stats, p_with_equal_values)
{
	double a[] = { 1, 1, 2 }, b[] = { 1, 2, 2 };
	double c[] = { 3, 3, 3 };

	near(stats_p(a, 3, b, 3), 2 * 10.0 / 20, 1e-12);
	near(stats_p(c, 3, c, 3), 1, 0);
}

/* By counting all choices one by one. */
Test(stats, p_is_what_counting_gives)
{
	double v[9];

	for (int round = 0; round < 50; round++) {
		double sum = 0, below = 0, above = 0, all = 0;
		double rank[9];

		for (int i = 0; i < 9; i++)
			v[i] = floor(noise() * 6); /* with ties */
		for (int i = 0; i < 9; i++) {
			rank[i] = 0.5;
			for (int j = 0; j < 9; j++)
				rank[i] += v[j] < v[i]    ? 1
					   : v[j] == v[i] ? 0.5
							  : 0;
			sum += i < 4 ? rank[i] : 0;
		}
		for (unsigned set = 0; set < 1u << 9; set++) {
			double s = 0;

			if (__builtin_popcount(set) != 4)
				continue;
			for (int i = 0; i < 9; i++)
				s += set >> i & 1 ? rank[i] : 0;
			all++;
			below += s <= sum;
			above += s >= sum;
		}
		near(stats_p(v, 4, v + 4, 5),
		     fmin(1, 2 * fmin(below, above) / all), 1e-12);
	}
}

/* The two ways meet where one ends. */
Test(stats, the_normal_distribution_is_close_to_the_exact_one)
{
	double a[31], b[31], exact;

	for (int i = 0; i < 31; i++) {
		a[i] = noise();
		b[i] = noise() + 0.15;
	}
	exact = stats_p(a, 30, b, 30);
	cr_assert(exact > 0.0001 && exact < 0.9, "%g", exact);
	a[30] = b[30] = 0.5; /* 62 in all, and hardly different */
	near(stats_p(a, 31, b, 31), exact, exact * 0.3);
}

/* Under one distribution p is uniform: each in ten is below 0.1. */
Test(stats, noise_is_seldom_significant)
{
	double a[8], b[8];
	int n = 0;

	for (int round = 0; round < 2000; round++) {
		for (int i = 0; i < 8; i++) {
			a[i] = noise();
			b[i] = noise();
		}
		n += stats_p(a, 8, b, 8) <= 0.1;
	}
	cr_assert(n > 100 && n <= 240, "%d of 2000", n);
}

Test(stats, ratio_of_shifted_series)
{
	double a[] = { 100, 101, 99, 100, 102 };
	double b[] = { 200, 202, 198, 200, 204 };
	struct stats_ratio ratio = stats_ratio(a, N(a), b, N(b), 0.05);

	near(ratio.ratio, 2, 0.01);
	cr_assert(ratio.low > 1.9 && ratio.low <= ratio.ratio);
	cr_assert(ratio.high < 2.1 && ratio.high >= ratio.ratio);
}

Test(stats, ratio_of_a_series_to_itself_is_one)
{
	double a[] = { 90, 95, 100, 105, 110 };
	struct stats_ratio ratio = stats_ratio(a, 5, a, 5, 0.05);

	near(ratio.ratio, 1, 0);
	cr_assert(ratio.low < 1 && ratio.high > 1);
}

/* 4 and 4 can have p = 2/70, but 3 and 3 no less than 0.1. */
Test(stats, too_few_values_have_no_interval)
{
	double a[] = { 1, 2, 3, 4 }, b[] = { 11, 12, 13, 14 };

	cr_assert(isnan(stats_ratio(a, 3, b, 3, 0.05).low));
	cr_assert(isnan(stats_ratio(a, 1, b, 1, 0.05).high));
	near(stats_ratio(a, 1, b, 1, 0.05).ratio, 11, 0);
	near(stats_ratio(a, 4, b, 4, 0.05).low, 11.0 / 4, 1e-12);
	near(stats_ratio(a, 4, b, 4, 0.05).high, 14, 1e-12);
}

/* The interval excludes 1 exactly where the test finds a difference. */
Test(stats, interval_and_test_agree)
{
	double a[7], b[6];
	int differ = 0;

	for (int round = 0; round < 2000; round++) {
		struct stats_ratio ratio;
		bool outside;

		for (int i = 0; i < 7; i++)
			a[i] = 1 + noise();
		for (int i = 0; i < 6; i++)
			b[i] = (1 + noise()) * (1 + 0.4 * (round % 2));
		ratio = stats_ratio(a, 7, b, 6, 0.05);
		outside = ratio.low > 1 || ratio.high < 1;
		cr_assert_eq(outside, stats_p(a, 7, b, 6) <= 0.05);
		differ += outside;
	}
	cr_assert(differ > 200 && differ < 1800);
}

/* For many values: it holds the true ratio about as often as it says. */
Test(stats, interval_holds_the_true_ratio)
{
	double a[40], b[40];
	int n = 0;

	for (int round = 0; round < 300; round++) {
		struct stats_ratio ratio;

		for (int i = 0; i < 40; i++) {
			a[i] = 1 - log(noise()); /* skewed, as rounds are */
			b[i] = 1.5 * (1 - log(noise()));
		}
		ratio = stats_ratio(a, 40, b, 40, 0.05);
		n += ratio.low <= 1.5 && ratio.high >= 1.5;
	}
	cr_assert(n >= 270, "%d of 300", n);
}

Test(stats, nothing_to_nothing_is_one)
{
	double a[] = { 0, 0, 0, 0, 0 };

	near(stats_ratio(a, 5, a, 5, 0.05).ratio, 1, 0);
	near(stats_p(a, 5, a, 5), 1, 0);
}
