/*
 * test_message.c - every byte of a message is written and compared
 */
#include "config.h"

#include <criterion/criterion.h>
#include <string.h>

#include "bench/message.h"

#define MOST 700 /* the long way, whole blocks and what is left */

static const uint64_t keys[] = { 0, 1, 0x0102030405060708, MSG_END };

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

/* As the file comment of message.h says it, byte by byte. */
static void write_slowly(unsigned char *to, size_t bytes, uint64_t key)
{
	for (size_t i = 0; i < bytes; i++) {
		uint64_t word = key + i / 8;

		to[i] = ((unsigned char *)&word)[i % 8];
	}
}

TestSuite(message, .timeout = 200.0);

Test(message, is_the_same_however_it_is_written)
{
	unsigned char fast[MOST + 1], slow[MOST + 1];

	for (size_t bytes = MSG_MIN_BYTES; bytes <= MOST; bytes++)
		for (size_t k = 0; k < N_KEYS; k++) {
			fast[bytes] = slow[bytes] = 0x5a;
			msg_fill(fast, bytes, keys[k]);
			write_slowly(slow, bytes, keys[k]);
			cr_assert_arr_eq(fast, slow, bytes + 1, "%zu bytes",
					 bytes);
		}
}

Test(message, one_changed_bit_is_seen_wherever_it_is)
{
	unsigned char msg[MOST];
	uint64_t key;

	for (size_t bytes = MSG_MIN_BYTES + 1; bytes <= MOST; bytes += 9) {
		msg_fill(msg, bytes, 77);
		cr_assert(msg_check(msg, bytes, &key) && key == 77);
		for (size_t i = 8; i < bytes; i++) {
			msg[i] ^= 1 << i % 8;
			cr_assert_not(msg_check(msg, bytes, &key),
				      "byte %zu of %zu", i, bytes);
			msg[i] ^= 1 << i % 8;
		}
	}
}

Test(message, parts_make_the_whole)
{
	unsigned char whole[MOST], parts[MOST];

	write_slowly(whole, MOST, 99);
	for (size_t cut = 1; cut < MOST; cut++) {
		memset(parts, 0, sizeof(parts));
		msg_fill_part(parts, 0, cut, 99);
		msg_fill_part(parts + cut, cut, MOST - cut, 99);
		cr_assert_arr_eq(parts, whole, MOST, "cut at %zu", cut);
		cr_assert(msg_check_part(parts, 0, cut, 99));
		cr_assert(msg_check_part(parts + cut, cut, MOST - cut, 99));
		if (MOST - cut >= 8)
			cr_assert_not(msg_check_part(parts + cut, cut,
						     MOST - cut, 98));
		parts[MOST - 1] ^= 4;
		cr_assert_not(msg_check_part(parts + cut, cut, MOST - cut, 99));
	}
}

/* Parts that begin and end within one word. */
Test(message, short_parts_are_compared)
{
	unsigned char msg[64];

	write_slowly(msg, sizeof(msg), 0x1122334455667788);
	for (size_t from = 0; from < 32; from++)
		for (size_t n = 1; n <= 20; n++) {
			cr_assert(msg_check_part(msg + from, from, n,
						 0x1122334455667788));
			msg[from + n - 1] ^= 1;
			cr_assert_not(msg_check_part(msg + from, from, n,
						     0x1122334455667788),
				      "%zu from %zu", n, from);
			msg[from + n - 1] ^= 1;
		}
}
