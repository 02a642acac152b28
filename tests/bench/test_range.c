/*
 * test_range.c - bench/range.c
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bench/range.h"

static struct list list;

static int add(const char *text)
{
	return range_add(text, RANGE_BINARY, 1, 1 << 24, &list);
}

static void assert_list(const char *text, unsigned n, const size_t *values)
{
	list.n = 0;
	cr_assert_eq(add(text), 0, "%s", text);
	cr_assert_eq(list.n, n, "%s: %u values", text, list.n);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(list.value[i], values[i], "%s: %zu", text,
			     list.value[i]);
}

#define ASSERT_LIST(text, ...)                                                 \
	assert_list(text, sizeof((size_t[]){ __VA_ARGS__ }) / sizeof(size_t),  \
		    (size_t[]){ __VA_ARGS__ })

Test(range, numbers_have_suffixes)
{
	uint64_t value;

	cr_assert_eq(range_number("0", RANGE_BINARY, &value, NULL), 0);
	cr_assert_eq(value, 0);
	range_number("4K", RANGE_BINARY, &value, NULL);
	cr_assert_eq(value, 4096);
	range_number("3m", RANGE_BINARY, &value, NULL);
	cr_assert_eq(value, 3 << 20);
	range_number("2G", RANGE_BINARY, &value, NULL);
	cr_assert_eq(value, 2ull << 30);
	range_number("50k", RANGE_DECIMAL, &value, NULL);
	cr_assert_eq(value, 50000);
}

Test(range, what_is_no_number_is_refused)
{
	static const char *const bad[] = { "",   "x",   "-1",  "+1", " 1",
					   "1 ", "1KB", "4Ki", "1.5" };
	uint64_t value;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(range_number(bad[i], RANGE_BINARY, &value, NULL),
			     -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(range_number("99999999999999999999", RANGE_BINARY, &value,
				  NULL),
		     -ERANGE);
	cr_assert_eq(range_number("18446744073709551615K", RANGE_BINARY, &value,
				  NULL),
		     -ERANGE);
}

Test(range, the_end_of_a_number_is_told)
{
	const char *end;
	uint64_t value;

	cr_assert_eq(range_number("12K/s", RANGE_DECIMAL, &value, &end), 0);
	cr_assert_eq(value, 12000);
	cr_assert_str_eq(end, "/s");
}

Test(range, multiplies_steps_or_goes_one_by_one)
{
	ASSERT_LIST("64", 64);
	ASSERT_LIST("5:5", 5);
	ASSERT_LIST("1:4", 1, 2, 3, 4);
	ASSERT_LIST("1:16:+5", 1, 6, 11, 16);
	ASSERT_LIST("8:1M:x4", 8, 32, 128, 512, 2048, 8192, 32768, 131072,
		    524288);
	ASSERT_LIST("1K:4K:x2", 1024, 2048, 4096);
	ASSERT_LIST("1:5:x3", 1, 3); /* not beyond the end */
}

Test(range, goes_behind_what_is_there)
{
	list.n = 0;
	cr_assert_eq(add("7"), 0);
	cr_assert_eq(add("1:2"), 0);
	cr_assert_eq(list.n, 3);
	cr_assert_eq(list.value[0], 7);
	cr_assert_eq(list.value[2], 2);
}

Test(range, nonsense_is_refused)
{
	static const char *const bad[] = { "",       ":",       "1:",
					   ":4",     "1:4:",    "1:4:2",
					   "1:4:x1", "1:4:x0",  "1:4:+0",
					   "1:4:x",  "1:4:x2:", "1;4",
					   "a:b",    "1:x",     "1:4:y2" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(add(bad[i]), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(add("4:1"), -ERANGE);
	cr_assert_eq(add("0:4"), -ERANGE);
	cr_assert_eq(add("1:17M:x2"), -ERANGE);
}

Test(range, too_many_are_refused)
{
	list.n = 0;
	cr_assert_eq(add("1:64"), 0);
	cr_assert_eq(list.n, MAX_LIST);
	cr_assert_eq(add("1"), -E2BIG);
	list.n = 0;
	cr_assert_eq(add("1:16M"), -E2BIG);
}

/* The next one is more than 64 bits hold. */
Test(range, ends_at_the_largest_number_that_there_is)
{
	list.n = 0;
	cr_assert_eq(range_add("16G:17179869183G:x1G", RANGE_BINARY, 1,
			       SIZE_MAX, &list),
		     0);
	cr_assert_eq(list.n, 1);
	list.n = 0;
	cr_assert_eq(range_add("18446744073709551615", RANGE_BINARY, 1,
			       SIZE_MAX, &list),
		     0);
	cr_assert_eq(list.n, 1);
}
