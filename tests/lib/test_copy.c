/*
 * test_copy.c - tests of lib/copy.h; Criterion suite "copy"
 */
#include "config.h"

#include <criterion/criterion.h>

#include "lib/copy.h"

TestSuite(copy, .timeout = 60.0);

typedef void (*copy_fn)(void *to, const void *from, size_t n);

static void check_copies(copy_fn copy, size_t most)
{
	static unsigned char from[3000], to[3000];

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (unsigned char)(i * 5 + i / 251);
	copy(NULL, NULL, 0);
	for (size_t n = 0; n < most; n++) {
		size_t off = n % 9;

		memset(to, 0x5a, sizeof(to));
		copy(to + 8, from + off, n);
		cr_assert_arr_eq(to + 8, from + off, n);
		for (size_t i = 0; i < 8; i++) {
			cr_assert_eq(to[i], 0x5a);
			cr_assert_eq(to[8 + n + i], 0x5a);
		}
	}
}

Test(copy, copies_every_length)
{
	check_copies(sb_copy, 2900);
	check_copies(sb_copy_in, SB_COPY_SHORT + 1);
	check_copies(sb_copy_out, SB_COPY_SHORT + 1);
	check_copies(sb_copy_few, 2900);
}
