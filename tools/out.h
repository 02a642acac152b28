/*
 * out.h - where a scenario's answers go, as text or as JSON lines
 *
 * A buffer of its own instead of stdio: a worker that is forked in the middle
 * of a run can never print a copy of it, and a write that failed is kept as an
 * errno.  After the first failure everything else is thrown away.
 */
#ifndef OUT_H
#define OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define OUT_BYTES 65536 /* the default capacity of a pipe */

struct out {
	int fd;
	const char *name; /* for messages */
	bool json;
	int error; /* 0, or the -errno of the first write that failed */
	size_t n;
	char buf[OUT_BYTES];
};

/* @path NULL or "-" is standard output.  A file is emptied and written in
 * place.  Returns 0 or -errno. */
int out_open(struct out *out, const char *path, bool json);

/* One piece of text, printf-like; a line ends with '\n'. */
void out_text(struct out *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One object on a line of its own; takes over the reference. */
void out_json(struct out *out, json_t *object);

/* Write what is buffered.  Returns out->error. */
int out_flush(struct out *out);

/* Flush and close; also reports what only close() tells.  Returns out->error.
 */
int out_close(struct out *out);

/* Say on standard error that the output failed. */
void out_complain(const struct out *out);

/* The same for an output that is none of ours. */
void out_cannot_write(const char *name, int err);

/* A line on standard error, after the progress line was taken away. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
