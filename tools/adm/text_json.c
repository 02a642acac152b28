/*
 * text_json.c - what others have written, in JSON
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/adm/text.h"

json_t *text_json(const void *bytes, size_t n)
{
	json_t *s = json_stringn(bytes, n);
	char *buf;

	if (s)
		return s;
	buf = malloc(4 * n + 1);
	if (!buf)
		return NULL;
	s = json_string(text_escape(buf, 4 * n + 1, bytes, n));
	free(buf);
	return s;
}

void text_print_json(json_t *object)
{
	if (!object ||
	    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII))
		fputs("busadm: out of memory\n", stderr);
	else
		putchar('\n');
	json_decref(object);
}
