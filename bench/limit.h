/*
 * limit.h - the expressions of compare --fail-if
 *
 *	[WORKLOAD[/TRANSPORT]:]QUANTITY OPERATOR NUMBER[UNIT]
 *
 * WORKLOAD and TRANSPORT are patterns of a shell, "*" by default and
 * "shmbus*" by default.  The quantity is one of a comparison (slower, faster,
 * ratio, p, missing, undecided, failed), a latency of the new row (min, p50,
 * p90, p99, p999, max), or any field of it that is a number.
 */
#ifndef BENCH_LIMIT_H
#define BENCH_LIMIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct limit {
	const char *text; /* as it was given; the caller's */
	char workload[40];
	char transport[40];
	char quantity[40];
	char op[3];
	double value; /* times in ns */
	bool seen;    /* some row has the quantity */
};

/* What compare found out, for the quantities that are no fields. */
struct limit_facts {
	double slower, faster; /* percent; 0 when that is not certain */
	double ratio, p;       /* NAN when not known */
	bool missing;          /* the row is in the old file only */
	bool undecided;        /* it is in both, but there is no verdict */
};

/* Returns 0, or -1 with what is wrong, and what would be right, in @why. */
int limit_parse(struct limit *limit, const char *text, char *why, size_t size);

/* Whether it is true for @row, the new one or, if that is missing, the old
 * one.  Then @value is what the row has. */
bool limit_is_true(struct limit *limit, const json_t *row,
		   const struct limit_facts *facts, double *value);

#endif
