/*
 * text.c - what others have written, as an operator may see it
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/adm/text.h"
#include "tools/units.h"

/* One byte, escaped: how many characters, at most 4. */
static size_t escape_one(char out[5], unsigned char c)
{
	switch (c) {
	case '\n':
		return (size_t)sprintf(out, "\\n");
	case '\r':
		return (size_t)sprintf(out, "\\r");
	case '\t':
		return (size_t)sprintf(out, "\\t");
	case '\\':
		return (size_t)sprintf(out, "\\\\");
	}
	if (c >= ' ' && c < 0x7f) {
		out[0] = (char)c;
		return 1;
	}
	return (size_t)sprintf(out, "\\x%02x", c);
}

char *text_escape(char *buf, size_t size, const void *bytes, size_t n)
{
	const unsigned char *b = bytes;
	size_t at = 0, fits = 0; /* up to where there is room for "..." */

	for (size_t i = 0; i < n; i++) {
		char one[5];
		size_t len = escape_one(one, b[i]);

		if (at + len + 1 > size) {
			if (size > 3)
				strcpy(buf + fits, "...");
			return buf;
		}
		memcpy(buf + at, one, len);
		at += len;
		buf[at] = '\0';
		if (at + 4 <= size)
			fits = at;
	}
	if (size)
		buf[at] = '\0';
	return buf;
}

char *text_name(char *buf, size_t size, const char *name)
{
	return text_escape(buf, size, name, strlen(name));
}

char *text_span(char *buf, size_t size, uint64_t ns)
{
	uint64_t s = ns / 1000000000u;

	if (ns == UINT64_MAX)
		snprintf(buf, size, "-");
	else if (!s)
		units_span(buf, size, (double)ns);
	else if (s < 120)
		snprintf(buf, size, "%.1f s", (double)ns / 1e9);
	else if (s < 120 * 60)
		snprintf(buf, size, "%" PRIu64 " min", s / 60);
	else if (s < 48 * 3600)
		snprintf(buf, size, "%" PRIu64 " h", s / 3600);
	else
		snprintf(buf, size, "%" PRIu64 " d", s / 86400);
	return buf;
}

char *text_cpu(char *buf, size_t size, uint64_t ns)
{
	if (ns < UINT64_C(100000000000))
		snprintf(buf, size, "%.2f s", (double)ns / 1e9);
	else
		text_span(buf, size, ns);
	return buf;
}

char *text_bytes(char *buf, size_t size, uint64_t bytes)
{
	if (bytes == UINT64_MAX)
		snprintf(buf, size, "?");
	else
		units_bytes(buf, size, (double)bytes);
	return buf;
}
