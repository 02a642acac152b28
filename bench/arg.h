/*
 * arg.h - arguments of options, for all subcommands; each error names what was
 * given and what would be right
 */
#ifndef BENCH_ARG_H
#define BENCH_ARG_H

#include <argp.h>
#include <stddef.h>

/*
 * @text as a number from @min to @max, which may have a fraction; "number of
 * seconds" or the like is @what it is.
 */
double arg_real(struct argp_state *state, const char *option, const char *text,
		double min, double max, const char *what);

/* Which of the @n @names @text is, from 0 on. */
int arg_choice(struct argp_state *state, const char *option, const char *text,
	       const char *const *names, size_t n);

#define ARG_CHOICE(state, option, text, names)                                 \
	arg_choice(state, option, text, names, sizeof(names) / sizeof(*(names)))

#endif
