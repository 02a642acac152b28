/*
 * measure.h - the rounds of a case, each transport in turn
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench/outcome.h"
#include "bench/plan.h"
#include "bench/rounds.h"
#include "bench/series.h"

/* What all rounds of one entry gave.  Figures are those of the rounds of one
 * regime; the others are only counted. */
struct result {
	const struct entry *entry;
	struct outcome median; /* the round in the middle; status and why of
				* the first that failed */
	double best;           /* value of the best round, see result_value() */
	double spread;         /* largest value / smallest; 1 for one round */
	double ci_low;         /* where the median lies, at 95 %; NAN: there */
	double ci_high;        /* were too few rounds to say */
	double syscalls;       /* a message; NAN: not counted */
	bool warming;          /* round by round it got better */
	unsigned runs;         /* that worked */
	enum regime regime;    /* of the figures */
	unsigned regimes[REGIME_N]; /* how many rounds there were of each */
	uint64_t lost, dup, disorder, wrong; /* in all rounds */
	struct series series;                /* those that worked, one by one */
};

struct case_result {
	const struct bench_case *bench_case;
	double pingpong_before, pingpong_after; /* NAN if not known */
	bool flipped;         /* between near and far, within the case */
	enum regime regime;   /* that of most rounds */
	char no_syscalls[80]; /* why they could not be counted */
	unsigned n;
	struct result result[MAX_ENTRIES];
};

/* @progress: what stands before the line that shows each round; NULL: no line.
 */
void measure_case(const struct bench_case *bench_case,
		  struct case_result *results, const char *progress);

void measure_free(struct case_result *results);

/* What a load is judged by: messages a second, the median latency in ns (in an
 * open loop always), or percent of a processor. */
double result_value(enum load load, const struct outcome *out);

/* Whether more of that is better. */
bool result_more_is_better(enum load load, const struct outcome *out);

static inline bool result_is_clean(const struct result *result)
{
	return !result->lost && !result->dup && !result->disorder &&
	       !result->wrong;
}

/* It worked, and yet it has no figure: on a machine that is taken a round may
 * be over before the first message is, or before the first whose intended time
 * is in it. */
bool result_is_silent(enum load load, const struct result *result);

/* The first of ours that can be compared, which stands for all of them beside a
 * rival; where there is none, the first of the case. */
const struct result *result_first(const struct case_result *results);

/* How many times better @ours is than @theirs; NAN when there is no saying. */
double result_ratio(enum load load, const struct result *ours,
		    const struct result *theirs);

/* The best rival of the case that worked and was clean, or NULL.  A floor is no
 * rival. */
const struct result *result_best_rival(const struct case_result *results);

/* The same among those who offer what @ours does: they sleep, if it does; and
 * each message goes at once, if it does so there. */
const struct result *result_best_alike(const struct case_result *results,
				       const struct result *ours);

#endif
