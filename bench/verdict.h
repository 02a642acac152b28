/*
 * verdict.h - what two results of the same thing say about each other
 */
#ifndef BENCH_VERDICT_H
#define BENCH_VERDICT_H

#include <jansson.h>
#include <stdbool.h>

enum verdict {
	VERDICT_SAME,   /* or so close that these rounds do not tell */
	VERDICT_FASTER, /* the new one: more messages, less time or cpu */
	VERDICT_SLOWER,
	VERDICT_TOO_FEW, /* rounds, for any verdict */
	VERDICT_REGIMES, /* near and far: no comparison */
	VERDICT_NOT_MEASURED,
	VERDICT_ONLY_OLD,
	VERDICT_ONLY_NEW,
	VERDICT_N
};

extern const char *const verdict_names[VERDICT_N];

struct verdict_rules {
	double alpha;     /* p that is small enough */
	double tolerance; /* a ratio within 1 +- this is the same */
	bool normalise;   /* count in ping-pongs instead */
};

struct comparison {
	enum verdict verdict;
	char why[160];               /* "" if the verdict says all */
	const char *regime;          /* of the rounds that were compared; "" */
	unsigned n_old, n_new;       /* rounds that were compared */
	double old_value, new_value; /* medians; NAN if there is none */
	/* How many times better the new one is, and the interval; NAN. */
	double ratio, low, high, p;
};

/*
 * @old_rows and @new_rows are arrays of rows with one row_key(), those of a
 * result that was measured several times; one of them may be NULL.
 */
void verdict_make(struct comparison *comparison, const json_t *old_rows,
		  const json_t *new_rows, const struct verdict_rules *rules);

#endif
