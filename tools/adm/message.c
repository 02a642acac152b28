/*
 * message.c - messages as text: what put reads and get writes
 */
#include "config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/args.h"
#include "tools/adm/message.h"

const char *const message_formats[MESSAGE_N_FORMATS] = { "raw", "lines", "hex",
							 "json" };

bool message_parse_format(const char *command, const char *name,
			  enum message_format *format)
{
	for (unsigned i = 0; i < MESSAGE_N_FORMATS; i++) {
		*format = (enum message_format)i;
		if (!strcmp(name, message_formats[i]))
			return true;
	}
	adm_misuse(command, "--format is raw, lines, hex or json, not '%s'",
		   name);
	return false;
}

static const char digits[] = "0123456789abcdef";

void message_free(struct message_buf *buf)
{
	free(buf->at);
	*buf = (struct message_buf){ 0 };
}

int message_room(struct message_buf *buf, size_t n)
{
	size_t room = buf->room ? buf->room : 256;
	char *at;

	if (n <= buf->room)
		return 0;
	while (room < n)
		room = room > SIZE_MAX / 2 ? n : room * 2;
	at = realloc(buf->at, room);
	if (!at)
		return -ENOMEM;
	buf->at = at;
	buf->room = room;
	return 0;
}

static int append(struct message_buf *buf, const void *bytes, size_t n)
{
	int ret = message_room(buf, buf->n + n);

	if (!ret && n) {
		memcpy(buf->at + buf->n, bytes, n);
		buf->n += n;
	}
	return ret;
}

/* A byte of JSON takes 6 characters as \u00XX; the rest is for keys, blanks,
 * and what else somebody has in his objects. */
size_t message_line_max(enum message_format format, size_t bytes)
{
	switch (format) {
	case MESSAGE_HEX:
		return bytes * 3 + 4096;
	case MESSAGE_JSON:
		return bytes * 6 + 65536;
	default:
		return bytes;
	}
}

/* Reading ------------------------------------------------------------------ */

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Blanks between bytes are for people. */
static int read_hex(const char *text, size_t len, struct message_buf *message,
		    char *why)
{
	int ret = message_room(message, len / 2 + 1);

	for (size_t i = 0; !ret && i < len; i++) {
		int high = digit_of(text[i]), low;

		if (text[i] == ' ' || text[i] == '\t' || text[i] == '\r')
			continue;
		low = i + 1 < len ? digit_of(text[i + 1]) : -1;
		if (high < 0 || low < 0) {
			snprintf(why, MESSAGE_WHY_BYTES,
				 "at character %zu there are no two hex digits",
				 i + 1);
			return -EINVAL;
		}
		message->at[message->n++] = (char)(high << 4 | low);
		i++;
	}
	return ret;
}

static int read_object(json_t *object, struct message_buf *message, char *why)
{
	const json_t *text = json_object_get(object, "text");
	const json_t *hex = json_object_get(object, "hex");

	if (json_is_string(object))
		text = object;
	if (json_is_string(text) && !hex)
		return append(message, json_string_value(text),
			      json_string_length(text));
	if (json_is_string(hex) && !text)
		return read_hex(json_string_value(hex), json_string_length(hex),
				message, why);
	snprintf(why, MESSAGE_WHY_BYTES,
		 "it is neither a string nor an object with a string \"text\" "
		 "or \"hex\"");
	return -EINVAL;
}

static int read_json(const char *text, size_t len, struct message_buf *message,
		     char *why)
{
	json_error_t error;
	json_t *object = json_loadb(text, len,
				    JSON_DECODE_ANY | JSON_ALLOW_NUL |
					    JSON_REJECT_DUPLICATES,
				    &error);
	int ret = -EINVAL;

	/* What jansson says may quote the input: not to a terminal. */
	if (!object)
		snprintf(why, MESSAGE_WHY_BYTES,
			 "it is no JSON from character %d on",
			 error.position > 0 ? error.position : 1);
	else
		ret = read_object(object, message, why);
	json_decref(object);
	return ret;
}

int message_read(enum message_format format, const char *text, size_t len,
		 struct message_buf *message, char why[MESSAGE_WHY_BYTES])
{
	message->n = 0;
	switch (format) {
	case MESSAGE_HEX:
		return read_hex(text, len, message, why);
	case MESSAGE_JSON:
		return read_json(text, len, message, why);
	default:
		return append(message, text, len);
	}
}

/* Writing ------------------------------------------------------------------ */

/* Of the bytes 0x80 .. 0x9f some terminals take orders, and in UTF-8 they are
 * behind 0xc2: so all but ASCII is written as \xHH. */
static bool is_harmless(unsigned char c)
{
	return c >= ' ' && c < 0x7f && c != '\\';
}

static int write_escaped(const unsigned char *bytes, size_t len,
			 struct message_buf *text)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < len; i++) {
		char hex[4] = { '\\', 'x', digits[bytes[i] >> 4],
				digits[bytes[i] & 15] };

		if (is_harmless(bytes[i]) || bytes[i] == '\t')
			ret = append(text, bytes + i, 1);
		else if (bytes[i] == '\\')
			ret = append(text, "\\\\", 2);
		else
			ret = append(text, hex, sizeof(hex));
	}
	return ret;
}

static int write_hex(const unsigned char *bytes, size_t len,
		     struct message_buf *text)
{
	int ret = message_room(text, text->n + 2 * len);

	for (size_t i = 0; !ret && i < len; i++) {
		text->at[text->n++] = digits[bytes[i] >> 4];
		text->at[text->n++] = digits[bytes[i] & 15];
	}
	return ret;
}

static int append_callback(const char *text, size_t len, void *buf)
{
	return append(buf, text, len);
}

/* "text" if it is UTF-8, which jansson knows, else "hex". */
static json_t *object_of(const unsigned char *bytes, size_t len,
			 uint32_t attempts)
{
	json_t *text = json_stringn((const char *)bytes, len);
	struct message_buf hex = { 0 };
	json_t *object;

	if (!text && write_hex(bytes, len, &hex) == 0) {
		object = json_pack("{s:i, s:I, s:i, s:s#}", "schema", 1,
				   "bytes", (json_int_t)len, "attempts",
				   (int)attempts, "hex", hex.at, (int)hex.n);
		message_free(&hex);
		return object;
	}
	return json_pack("{s:i, s:I, s:i, s:o}", "schema", 1, "bytes",
			 (json_int_t)len, "attempts", (int)attempts, "text",
			 text);
}

static int write_json(const unsigned char *bytes, size_t len, uint32_t attempts,
		      bool terminal, struct message_buf *text)
{
	json_t *object = object_of(bytes, len, attempts);
	size_t flags = JSON_COMPACT | (terminal ? JSON_ENSURE_ASCII : 0);
	int ret = !object || json_dump_callback(object, append_callback, text,
						flags)
			  ? -ENOMEM
			  : 0;

	json_decref(object);
	return ret;
}

int message_write(enum message_format format, const void *bytes, size_t len,
		  uint32_t attempts, bool terminal, struct message_buf *text)
{
	int ret;

	text->n = 0;
	switch (format) {
	case MESSAGE_HEX:
		ret = write_hex(bytes, len, text);
		break;
	case MESSAGE_JSON:
		ret = write_json(bytes, len, attempts, terminal, text);
		break;
	default:
		ret = terminal ? write_escaped(bytes, len, text)
			       : append(text, bytes, len);
	}
	if (!ret && (format != MESSAGE_RAW || terminal))
		ret = append(text, "\n", 1);
	return ret;
}
