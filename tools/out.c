/*
 * out.c - where a scenario's answers go, as text or as JSON lines
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/io.h"
#include "tools/out.h"
#include "tools/progress.h"

int out_open(struct out *out, const char *path, bool json)
{
	out->fd = STDOUT_FILENO;
	out->name = "standard output";
	out->json = json;
	out->error = 0;
	out->n = 0;
	if (!path || strcmp(path, "-") == 0)
		return 0;
	out->name = path;
	out->fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY,
		     0666);
	return out->fd < 0 ? -errno : 0;
}

int out_flush(struct out *out)
{
	if (out->n > 0 && out->error == 0) {
		progress_hide();
		out->error = io_write(out->fd, out->buf, out->n);
	}
	out->n = 0;
	return out->error;
}

static int append(const char *text, size_t n, void *arg)
{
	struct out *out = arg;

	while (n > 0) {
		size_t part = sizeof(out->buf) - out->n;

		if (part > n)
			part = n;
		memcpy(out->buf + out->n, text, part);
		out->n += part;
		text += part;
		n -= part;
		if (out->n == sizeof(out->buf))
			out_flush(out);
	}
	return 0;
}

void out_text(struct out *out, const char *format, ...)
{
	char line[1024]; /* the longest is an error with an escaped excerpt */
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	if (n > 0)
		append(line, (size_t)n, out);
}

void out_json(struct out *out, json_t *object)
{
	if (!object ||
	    json_dump_callback(object, append, out,
			       JSON_COMPACT | JSON_REAL_PRECISION(6))) {
		if (out->error == 0)
			out->error = -ENOMEM;
	}
	append("\n", 1, out);
	json_decref(object);
}

int out_close(struct out *out)
{
	out_flush(out);
	/* Some file systems tell only now that there was no room. */
	if (close(out->fd) < 0 && out->error == 0 && errno != EINTR)
		out->error = -errno;
	out->fd = -1;
	return out->error;
}

void out_complain(const struct out *out)
{
	out_cannot_write(out->name, out->error);
}

void out_cannot_write(const char *name, int err)
{
	complain("busscen: cannot write %s: %s", name, strerror(-err));
}

void complain(const char *format, ...)
{
	char line[2048];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n < 0)
		return;
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = '\n';
	progress_hide();
	/* In one piece, so that it does not mix with another process's. */
	io_write(STDERR_FILENO, line, (size_t)n + 1);
}
