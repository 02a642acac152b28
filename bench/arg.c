/*
 * arg.c - arguments of options, for all subcommands
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arg.h"

double arg_real(struct argp_state *state, const char *option, const char *text,
		double min, double max, const char *what)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= min && value <= max))
		argp_error(state, "--%s '%s' is not a %s from %g to %g", option,
			   text, what, min, max);
	return value;
}

int arg_choice(struct argp_state *state, const char *option, const char *text,
	       const char *const *names, size_t n)
{
	char known[200];
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		if (!strcmp(text, names[i]))
			return (int)i;
	for (size_t i = 0; i < n && len < sizeof(known); i++)
		len += (size_t)snprintf(known + len, sizeof(known) - len,
					"%s%s", names[i],
					i + 2 < n    ? ", "
					: i + 2 == n ? " and "
						     : "");
	argp_error(state, "unknown --%s '%s'; there are %s", option, text,
		   known);
	return 0;
}
