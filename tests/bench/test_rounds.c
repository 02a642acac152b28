/*
 * test_rounds.c - bench/rounds.c
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>

#include "bench/pingpong.h"
#include "bench/rounds.h"

Test(rounds, a_regime_is_that_before_and_after)
{
	cr_assert_eq(regime_of(80, 120), REGIME_NEAR);
	cr_assert_eq(regime_of(600, 450), REGIME_FAR);
	cr_assert_eq(regime_of(120, 600), REGIME_MIXED);
	cr_assert_eq(regime_of(600, 120), REGIME_MIXED);
	cr_assert_eq(regime_of(NAN, 120), REGIME_UNKNOWN);
	cr_assert_eq(regime_of(120, NAN), REGIME_UNKNOWN);
}

/* Noise around the border is no move. */
Test(rounds, a_ping_pong_near_the_border_has_not_moved)
{
	cr_assert_eq(regime_of(PINGPONG_FAR_NS - 12, PINGPONG_FAR_NS + 4),
		     REGIME_NEAR);
	cr_assert_eq(regime_of(PINGPONG_FAR_NS + 12, PINGPONG_FAR_NS - 4),
		     REGIME_FAR);
}

static enum regime most(unsigned near, unsigned far, unsigned mixed,
			unsigned unknown)
{
	const unsigned n[REGIME_N] = { near, far, mixed, unknown };

	return regime_most(n);
}

Test(rounds, the_majority_of_near_and_far_is_believed)
{
	cr_assert_eq(most(4, 1, 0, 0), REGIME_NEAR);
	cr_assert_eq(most(1, 4, 0, 0), REGIME_FAR);
	cr_assert_eq(most(1, 0, 6, 3), REGIME_NEAR, "mixed is no regime");
	cr_assert_eq(most(0, 0, 2, 3), REGIME_UNKNOWN);
	cr_assert_eq(most(0, 0, 3, 0), REGIME_MIXED);
	cr_assert_eq(most(0, 0, 0, 0), REGIME_UNKNOWN);
}

/* From the tables of order statistics for the median at 95 %, as every book on
 * nonparametric methods has them: n, and the k-th from each end. */
Test(rounds, the_interval_is_that_of_the_tables)
{
	static const unsigned table[][2] = {
		{ 6, 1 },   { 7, 1 },   { 8, 1 },   { 9, 2 },    { 10, 2 },
		{ 11, 2 },  { 12, 3 },  { 15, 4 },  { 20, 6 },   { 25, 8 },
		{ 30, 10 }, { 40, 14 }, { 50, 18 }, { 100, 40 },
	};
	unsigned low, high;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		unsigned n = table[i][0], k = table[i][1];

		cr_assert(median_interval(n, &low, &high), "%u", n);
		cr_assert_eq(low, k - 1, "%u: %u", n, low);
		cr_assert_eq(high, n - k, "%u: %u", n, high);
	}
	for (unsigned n = 0; n < 6; n++)
		cr_assert_not(median_interval(n, &low, &high), "%u", n);
	cr_assert(median_interval(1000, &low, &high));
	cr_assert_eq(low, 468);
	cr_assert_eq(high, 531);
}

Test(rounds, who_gets_better_and_better_is_warming_up)
{
	static const double up[] = { 10, 12, 13, 15, 18, 19, 20 };
	static const double down[] = { 20, 19, 18, 15, 13, 12, 10 };

	cr_assert(is_warming_up(up, 7, true));
	cr_assert_not(is_warming_up(up, 7, false), "that is getting worse");
	cr_assert(is_warming_up(down, 7, false));
	cr_assert_not(is_warming_up(up, 4, true), "too few to say");
}

Test(rounds, noise_is_no_warm_up)
{
	static const double noise[] = { 10, 12, 9, 14, 11, 13, 10 };
	static const double jump[] = { 10, 20, 20, 20, 20, 20, 20 };
	static const double creep[] = { 100, 101, 102, 103, 104, 105, 106 };
	static const double same[] = { 5, 5, 5, 5, 5, 5, 5 };

	cr_assert_not(is_warming_up(noise, 7, true));
	cr_assert_not(is_warming_up(jump, 7, true), "it has settled");
	cr_assert_not(is_warming_up(creep, 7, true), "6 %% is not worth it");
	cr_assert_not(is_warming_up(same, 7, true));
}
