/*
 * test_text.c - tools/adm/text.c: nothing that others wrote reaches a terminal
 * as it is
 */
#include "config.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tools/adm/text.h"

TestSuite(text, .timeout = 10.0);

static const char *escaped(const char *bytes, size_t n, size_t size)
{
	static char buf[4096];

	memset(buf, 'Z', sizeof(buf));
	return text_escape(buf, size, bytes, n);
}

Test(text, all_bytes_become_printable)
{
	char all[256];
	const char *s;

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	s = escaped(all, 256, 4096);
	for (const char *p = s; *p; p++)
		cr_assert(*p >= ' ' && *p < 0x7f);
	cr_assert_str_eq(escaped("a\tb\n\033[1m\\\r", 10, 100),
			 "a\\tb\\n\\x1b[1m\\\\\\r");
	cr_assert_str_eq(escaped("", 0, 100), "");
}

Test(text, what_has_no_room_ends_with_dots)
{
	cr_assert_str_eq(escaped("abcdefgh", 8, 9), "abcdefgh");
	cr_assert_str_eq(escaped("abcdefgh", 8, 8), "abcd...");
	for (size_t size = 4; size < 40; size++) {
		const char *s = escaped("\001\002\003\004\005\006\007\010\011"
					"\012",
					10, size);

		cr_assert_lt(strlen(s), size);
	}
}

Test(text, spans_and_bytes_are_short)
{
	char buf[32];

	cr_assert_str_eq(text_span(buf, sizeof(buf), 0), "0 ns");
	cr_assert_str_eq(text_span(buf, sizeof(buf), 850000000), "850 ms");
	cr_assert_str_eq(text_span(buf, sizeof(buf), 1800000000), "1.8 s");
	cr_assert_str_eq(text_span(buf, sizeof(buf), 180000000000), "3 min");
	cr_assert_str_eq(text_span(buf, sizeof(buf), 10800000000000), "3 h");
	cr_assert_str_eq(text_span(buf, sizeof(buf), 864000000000000), "10 d");
	cr_assert_str_eq(text_span(buf, sizeof(buf), UINT64_MAX), "-");
	cr_assert_str_eq(text_cpu(buf, sizeof(buf), 20000000), "0.02 s");
	cr_assert_str_eq(text_bytes(buf, sizeof(buf), 1536), "1.5 KiB");
	cr_assert_str_eq(text_bytes(buf, sizeof(buf), UINT64_MAX), "?");
}

Test(text, json_takes_any_bytes)
{
	json_t *good = text_json("gr\303\274n", 5), *bad = text_json("\377", 1);

	cr_assert_str_eq(json_string_value(good), "gr\303\274n");
	cr_assert_str_eq(json_string_value(bad), "\\xff");
	json_decref(good);
	json_decref(bad);
}
