/*
 * seconds.c - an option that is a number of seconds
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "tools/adm/seconds.h"

#define YEAR_S (366.0 * 86400)

int seconds_parse(const char *text, uint64_t *ns)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !isfinite(s) || s < 0 || s > YEAR_S)
		return -EINVAL;
	*ns = (uint64_t)(s * 1e9);
	return 0;
}
