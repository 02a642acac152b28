/*
 * cmd_doctor.c - busadm doctor: does this machine let buses live?
 *
 * Everything is tried out where it can be, and not concluded from a version:
 * kernels are patched, filtered and imitated.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/adm/args.h"
#include "tools/adm/doctor.h"
#include "tools/adm/text.h"
#include "tools/colour.h"

static const char help[] =
	"Usage: busadm doctor [OPTION...]\n"
	"Look at this machine, as the user who calls it: what of shmbus works "
	"here, what\n"
	"not so well, and what to do about it.\n"
	"\n"
	"      --format FORMAT  text (default) or json\n"
	"      --help           print this and exit\n"
	"\n"
	"Exit status: 0, also with notes; 1 if there is a warning; 2 wrong "
	"options.\n";

static const struct option options[] = { ARGS_COMMON };

static const char *const level_words[DOCTOR_N_LEVELS] = { "ok", "note",
							  "warning" };

void doctor_say(struct doctor *d, enum doctor_level level, const char *what,
		const char *format, ...)
{
	struct doctor_line *l;
	va_list args;

	if (d->n == DOCTOR_LINES)
		d->n--;
	l = &d->line[d->n++];
	*l = (struct doctor_line){ .level = level, .what = what };
	va_start(args, format);
	vsnprintf(l->text, sizeof(l->text), format, args);
	va_end(args);
}

void doctor_remedy(struct doctor *d, const char *format, ...)
{
	struct doctor_line *l = &d->line[d->n - 1];
	va_list args;

	va_start(args, format);
	vsnprintf(l->remedy, sizeof(l->remedy), format, args);
	va_end(args);
}

static size_t count(const struct doctor *d, enum doctor_level level)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		n += d->line[i].level == level;
	return n;
}

/* Text ---------------------------------------------------------------------- */

#define INDENT 24

static int width(void)
{
	struct winsize w;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col > INDENT + 20)
		return w.ws_col < 100 ? w.ws_col : 100;
	return 80;
}

/* @text word by word; the cursor is behind @indent columns already. */
static void print_wrapped(const char *text, int indent, int columns)
{
	int at = indent;

	while (*text) {
		int len = (int)strcspn(text, " ");

		if (at > indent && at + 1 + len > columns) {
			printf("\n%*s", indent, "");
			at = indent;
		} else if (at > indent) {
			printf(" ");
			at++;
		}
		printf("%.*s", len, text);
		at += len;
		text += len;
		text += strspn(text, " ");
	}
	printf("\n");
}

static void print_text(const struct doctor *d)
{
	static const char *const colours[DOCTOR_N_LEVELS] = { COLOUR_GOOD,
							      COLOUR_NOTE,
							      COLOUR_BAD };
	bool coloured = colour_wanted();
	size_t n_warnings = count(d, DOCTOR_WARNING);
	size_t n_notes = count(d, DOCTOR_NOTE);
	int columns = width();

	for (size_t i = 0; i < d->n; i++) {
		const struct doctor_line *l = &d->line[i];

		printf("%s%-7s%s  %-14s ", coloured ? colours[l->level] : "",
		       level_words[l->level], coloured ? COLOUR_PLAIN : "",
		       l->what);
		print_wrapped(l->text, INDENT, columns);
		if (*l->remedy) {
			printf("%*s> ", INDENT, "");
			print_wrapped(l->remedy, INDENT + 2, columns);
		}
	}
	printf("\n%zu warning%s, %zu note%s\n", n_warnings, text_s(n_warnings),
	       n_notes, text_s(n_notes));
}

static void print_json(const struct doctor *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++) {
		const struct doctor_line *l = &d->line[i];

		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:o, s:o}", "check", l->what,
				  "level", level_words[l->level], "text",
				  text_json(l->text, strlen(l->text)), "remedy",
				  *l->remedy ? text_json(l->remedy,
							 strlen(l->remedy))
					     : json_null()));
	}
	text_print_json(json_pack("{s:i, s:i, s:i, s:o}", "schema", 1,
				  "warnings", (int)count(d, DOCTOR_WARNING),
				  "notes", (int)count(d, DOCTOR_NOTE), "checks",
				  list));
}

int cmd_doctor(int argc, char **argv)
{
	static struct doctor d;
	struct args args = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1)
		if (args_common(&args, c, argv, help) < 0)
			return args.status;
	if (!args_count(&args, argc, argv, 0, 0, "no arguments"))
		return args.status;
	doctor_kernel(&d);
	doctor_limits(&d);
	doctor_shm(&d);
	doctor_space(&d);
	doctor_works(&d);
	(args.json ? print_json : print_text)(&d);
	return count(&d, DOCTOR_WARNING) ? ADM_FAILED : ADM_OK;
}
