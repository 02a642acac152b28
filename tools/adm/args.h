/*
 * args.h - options that commands have in common, and how they complain
 */
#ifndef ADM_ARGS_H
#define ADM_ARGS_H

#include <getopt.h>
#include <stdbool.h>

#include "tools/adm/commands.h"

/* "busadm: ..." on standard error, with nothing in it that a terminal could take
 * for an order: what is printed need not be escaped.  Returns ADM_FAILED. */
int adm_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and where to read more.  Returns ADM_USAGE. */
int adm_misuse(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* --help and --format, for getopt_long() behind options of your own.  Its string
 * of short ones begins with ':', and opterr is 0. */
/* clang-format off */
#define ARGS_COMMON                                \
	{ "format", required_argument, NULL, 'f' }, \
	{ "help", no_argument, NULL, 'h' },         \
	{ NULL, 0, NULL, 0 }

/* clang-format on */

struct args {
	bool json;
	int status; /* of args_common() < 0: what to return */
};

/*
 * args_common - getopt_long() said @c, which is none of the command's own
 *
 * Returns 0 to go on, or -1: return args->status.
 */
int args_common(struct args *args, int c, char **argv, const char *help);

/* Are there as many arguments behind the options?  Else it complains and says
 * false; @what names them: "BUS CHANNEL [POSITION]". */
bool args_count(struct args *args, int argc, char **argv, int least, int most,
		const char *what);

/* All of them, of a command that has no others and wants one BUS, argv[optind].
 * 0, or -1: return args->status. */
int args_bus(struct args *args, int argc, char **argv, const char *help);

#endif
