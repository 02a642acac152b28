/*
 * args.c - options that commands have in common, and how they complain
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/adm/args.h"
#include "tools/adm/text.h"

#define TEXT_BYTES 6144u /* a path, and what is the matter with it */

/* Names come from the command line, where completion, or a pattern, may have
 * put what somebody called his bus: no orders to the terminal. */
static void __attribute__((format(printf, 1, 0)))
complain(const char *format, va_list args)
{
	char text[TEXT_BYTES], shown[4 * TEXT_BYTES];

	vsnprintf(text, sizeof(text), format, args);
	fputs(text_name(shown, sizeof(shown), text), stderr);
}

int adm_error(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("busadm: ", stderr);
	va_start(args, format);
	complain(format, args);
	va_end(args);
	fputc('\n', stderr);
	return ADM_FAILED;
}

int adm_misuse(const char *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "busadm %s: ", command);
	va_start(args, format);
	complain(format, args);
	va_end(args);
	fprintf(stderr, "; try 'busadm %s --help'\n", command);
	return ADM_USAGE;
}

int args_common(struct args *args, int c, char **argv, const char *help)
{
	switch (c) {
	case 'f':
		args->json = !strcmp(optarg, "json");
		if (args->json || !strcmp(optarg, "text"))
			return 0;
		args->status = adm_misuse(
			argv[0], "--format is text or json, not '%s'", optarg);
		return -1;
	case 'h':
		fputs(help, stdout);
		args->status = ADM_OK;
		return -1;
	case ':':
		args->status = adm_misuse(argv[0], "'%s' needs a value",
					  argv[optind - 1]);
		return -1;
	default:
		args->status = adm_misuse(argv[0], "'%s' is no option of it",
					  argv[optind - 1]);
		return -1;
	}
}

bool args_count(struct args *args, int argc, char **argv, int least, int most,
		const char *what)
{
	int n = argc - optind;

	if (n >= least && n <= most)
		return true;
	if (n > most)
		args->status = adm_misuse(argv[0], "'%s' is one too many",
					  argv[optind + most]);
	else
		args->status = adm_misuse(argv[0], "it needs %s", what);
	return false;
}

int args_bus(struct args *args, int argc, char **argv, const char *help)
{
	static const struct option options[] = { ARGS_COMMON };
	int c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1)
		if (args_common(args, c, argv, help))
			return -1;
	return args_count(args, argc, argv, 1, 1, "a BUS") ? 0 : -1;
}
