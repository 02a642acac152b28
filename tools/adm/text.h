/*
 * text.h - what others have written, as an operator may see it
 */
#ifndef ADM_TEXT_H
#define ADM_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/*
 * text_escape - @n bytes as printable ASCII: \n, \t, \\, \x1b
 *
 * As much as goes into @buf, ending with "..." if that is not all.  Returns
 * @buf.
 */
char *text_escape(char *buf, size_t size, const void *bytes, size_t n);

/* The same of a string. */
char *text_name(char *buf, size_t size, const char *name);

/* A string of JSON: as it is if it is UTF-8, else escaped. */
json_t *text_json(const void *bytes, size_t n);

/* "42 us", "850 ms", "3.1 s", "12 min", "5 h", "3 d"; "-" for UINT64_MAX. */
char *text_span(char *buf, size_t size, uint64_t ns);

/* The same of processor time, of which the system counts hundredths: "0.02 s". */
char *text_cpu(char *buf, size_t size, uint64_t ns);

/* "512 B", "64 KiB", "1.5 GiB"; "?" for UINT64_MAX. */
char *text_bytes(char *buf, size_t size, uint64_t bytes);

/* "s" behind a number of things, unless it is one. */
static inline const char *text_s(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Print an object and a newline; takes over the reference. */
void text_print_json(json_t *object);

#endif
