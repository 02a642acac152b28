/*
 * test_shares.c - bench/shares.c
 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/shares.h"

static struct shares *shares;

static void setup(void)
{
	shares = aligned_alloc(128, sizeof(*shares));
	cr_assert(shares);
	*shares = (struct shares){ 0 };
}

static void teardown(void)
{
	free(shares);
}

TestSuite(shares, .init = setup, .fini = teardown);

Test(shares, fairness_of_known_numbers)
{
	static const uint64_t values[] = { 2, 4, 4, 4, 5, 5, 7, 9 };
	struct fairness fairness = fairness_of(values, 8);

	cr_assert_eq(fairness.n, 8);
	cr_assert_float_eq(fairness.min, 2, 1e-9);
	cr_assert_float_eq(fairness.mean, 5, 1e-9);
	cr_assert_float_eq(fairness.max, 9, 1e-9);
	cr_assert_float_eq(fairness.stddev, 2, 1e-9);
	cr_assert_eq(fairness_of(values, 0).n, 0);
	cr_assert_float_eq(fairness_of(values, 1).stddev, 0, 1e-9);
}

Test(shares, each_worker_has_a_place_of_its_own)
{
	struct share *first = shares_take(shares);
	struct share *second = shares_take(shares);
	struct fairness fairness;

	cr_assert_neq(first, second);
	share_count(first);
	share_count(second);
	share_count(second);
	cr_assert_eq(shares_sum(shares), 3);
	fairness = shares_fairness(shares);
	cr_assert_eq(fairness.n, 2);
	cr_assert_float_eq(fairness.min, 1, 1e-9);
	cr_assert_float_eq(fairness.max, 2, 1e-9);
}

/* The place of the dead, with what they counted, is for who comes next. */
Test(shares, a_place_that_is_left_is_taken_again)
{
	struct share *first = shares_take(shares), *second;

	share_count(first);
	shares_leave(first, getpid() + 1);
	second = shares_take(shares);
	cr_assert_neq(second, first, "another's pid: it has not left");
	shares_leave(first, getpid());
	cr_assert_eq(shares_take(shares), first);
	share_count(first);
	cr_assert_eq(shares_sum(shares), 2);
	cr_assert_eq(shares_fairness(shares).n, 2);
}

Test(shares, one_too_many_counts_nowhere)
{
	for (unsigned i = 0; i < MAX_PROCESSES; i++)
		shares_take(shares);
	share_count(shares_take(shares));
	share_count(shares_take(NULL));
	cr_assert_eq(shares_sum(shares), 0);
	cr_assert_eq(shares_fairness(shares).n, MAX_PROCESSES);
}
