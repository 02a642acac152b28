/*
 * test_message.c - tests of tools/adm/message.c; Criterion suite "adm_message"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tools/adm/message.h"

static struct message_buf text, message;
static char why[MESSAGE_WHY_BYTES];

static void teardown(void)
{
	message_free(&text);
	message_free(&message);
}

TestSuite(adm_message, .fini = teardown, .timeout = 60.0);

static int read_line(enum message_format format, const char *line)
{
	return message_read(format, line, strlen(line), &message, why);
}

static bool message_is(const void *bytes, size_t len)
{
	return message.n == len && (!len || !memcmp(message.at, bytes, len));
}

static bool text_is(const char *want)
{
	return text.n == strlen(want) && !memcmp(text.at, want, text.n);
}

Test(adm_message, hex_may_have_blanks_and_capitals)
{
	cr_assert_eq(read_line(MESSAGE_HEX, "00 fF\tA1\r"), 0);
	cr_assert(message_is("\0\xff\xa1", 3));
	cr_assert_eq(read_line(MESSAGE_HEX, ""), 0);
	cr_assert(message_is("", 0));
}

Test(adm_message, hex_that_is_none_names_the_place)
{
	static const char *const bad[] = { "0", "00 1", "0 0", "0x00", "00g0" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(read_line(MESSAGE_HEX, bad[i]), -EINVAL, "%s",
			     bad[i]);
		cr_assert(strstr(why, "character "), "%s", why);
	}
	cr_assert_eq(read_line(MESSAGE_HEX, "00 1"), -EINVAL);
	cr_assert(strstr(why, "character 4 "), "%s", why);
}

Test(adm_message, json_is_a_string_or_an_object_with_one)
{
	cr_assert_eq(read_line(MESSAGE_JSON, "\"a\\u0000b\""), 0);
	cr_assert(message_is("a\0b", 3));
	cr_assert_eq(read_line(MESSAGE_JSON, "{\"text\": \"\", \"x\": 1}"), 0);
	cr_assert(message_is("", 0));
	cr_assert_eq(read_line(MESSAGE_JSON, "{\"hex\": \"00ff\"}"), 0);
	cr_assert(message_is("\0\xff", 2));
}

Test(adm_message, json_that_says_no_message_is_refused)
{
	static const char *const bad[] = {
		"",
		"1",
		"[]",
		"{}",
		"{\"text\": 1}",
		"{\"hex\": null}",
		"{\"hex\": \"0\"}",
		"{\"text\": \"a\", \"hex\": \"00\"}",
		"{\"text\": \"a\"} {\"text\": \"b\"}",
		"{\"text\": \"a\", \"text\": \"b\"}",
		"{\"text\": \"\xff\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(read_line(MESSAGE_JSON, bad[i]), -EINVAL, "%s",
			     bad[i]);
}

/* What is wrong with an input is told without a byte of it. */
Test(adm_message, what_is_wrong_is_said_in_our_words)
{
	cr_assert_eq(read_line(MESSAGE_JSON, "\033[31m"), -EINVAL);
	cr_assert_null(strchr(why, '\033'));
}

Test(adm_message, every_byte_comes_back_from_hex_and_json)
{
	static const enum message_format formats[] = { MESSAGE_HEX,
						       MESSAGE_JSON };

	unsigned char bytes[512];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	/* with 127 it is UTF-8, with 512 it is not */
	for (size_t f = 0; f < 2; f++)
		for (size_t len = 0; len <= 512; len += len == 127 ? 385 : 1) {
			cr_assert_eq(message_write(formats[f], bytes, len, 0,
						   false, &text),
				     0);
			cr_assert_eq(text.at[text.n - 1], '\n');
			cr_assert_leq(text.n - 1,
				      message_line_max(formats[f], len));
			cr_assert_eq(message_read(formats[f], text.at,
						  text.n - 1, &message, why),
				     0);
			cr_assert(message_is(bytes, len), "%zu bytes", len);
		}
}

Test(adm_message, lines_and_raw_are_the_bytes)
{
	cr_assert_eq(
		message_write(MESSAGE_LINES, "a\033\0b", 4, 0, false, &text),
		0);
	cr_assert(text.n == 5 && !memcmp(text.at, "a\033\0b\n", 5));
	cr_assert_eq(message_write(MESSAGE_RAW, "a\n", 2, 0, false, &text), 0);
	cr_assert(text_is("a\n"));
	cr_assert_eq(message_write(MESSAGE_RAW, "", 0, 0, false, &text), 0);
	cr_assert_eq(text.n, 0);
}

Test(adm_message, a_terminal_gets_no_orders)
{
	static const char bytes[] = "ok\t\\ \033[2J\x07\n\x7f\xc2\x9b";
	enum message_format f;

	for (f = MESSAGE_RAW; f < MESSAGE_N_FORMATS; f++) {
		cr_assert_eq(message_write(f, bytes, sizeof(bytes) - 1, 0, true,
					   &text),
			     0);
		for (size_t i = 0; i < text.n; i++)
			cr_assert((unsigned char)text.at[i] < 0x80 &&
					  ((unsigned char)text.at[i] >= ' ' ||
					   text.at[i] == '\t' ||
					   (text.at[i] == '\n' &&
					    i == text.n - 1)),
				  "%s: byte %zu", message_formats[f], i);
	}
	cr_assert_eq(message_write(MESSAGE_LINES, "a\\\x1b", 3, 0, true, &text),
		     0);
	cr_assert(text_is("a\\\\\\x1b\n"));
}

Test(adm_message, json_tells_attempts_and_bytes)
{
	cr_assert_eq(message_write(MESSAGE_JSON, "ab", 2, 3, false, &text), 0);
	cr_assert(text_is("{\"schema\":1,\"bytes\":2,\"attempts\":3,"
			  "\"text\":\"ab\"}\n"));
	cr_assert_eq(message_write(MESSAGE_JSON, "\xff", 1, 0, false, &text),
		     0);
	cr_assert(text_is("{\"schema\":1,\"bytes\":1,\"attempts\":0,"
			  "\"hex\":\"ff\"}\n"));
}
