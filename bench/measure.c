/*
 * measure.c - the rounds of a case, each transport in turn
 *
 * Ours, rival, rival, ours, rival, rival, ...: what the machine does meanwhile
 * befalls all of them alike.  The median round is shown, so that one that was
 * disturbed does not count.
 *
 * Between two rounds the ping-pong is measured; so it is known before and after
 * each, and with it whether the processors were near or far in it.  Rounds of
 * the two are different measurements, and those in which it changed are none:
 * the figures of a case are those of the regime that most of its rounds had.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "bench/measure.h"
#include "bench/pingpong.h"
#include "bench/trace.h"

struct round {
	struct outcome out;
	enum regime regime;
};

struct rounds {
	unsigned n;
	struct round *round; /* in the order of time */
};

double result_value(enum load load, const struct outcome *out)
{
	if (out->open_loop)
		load = LOAD_RTT; /* it is the latency that counts */
	switch (load) {
	case LOAD_RTT:
	case LOAD_WAKE:
	case LOAD_RECOVER:
		return out->has_ns ? (double)out->ns.p50 : NAN;
	case LOAD_IDLE:
		return out->cpu_percent;
	default:
		return out->seconds > 0 && out->messages
			       ? (double)out->messages / out->seconds
			       : NAN;
	}
}

bool result_more_is_better(enum load load, const struct outcome *out)
{
	if (out->open_loop)
		return false;
	return load == LOAD_STREAM || load == LOAD_DUPLEX ||
	       load == LOAD_MPMC || load == LOAD_FARM || load == LOAD_POOL;
}

static bool is_usable(const struct result *result)
{
	return result->median.status == OUTCOME_OK && result->runs > 0;
}

bool result_is_silent(enum load load, const struct result *result)
{
	return is_usable(result) && isnan(result_value(load, &result->median));
}

const struct result *result_first(const struct case_result *results)
{
	enum load load = results->bench_case->spec.load;

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];

		if (transport_is_ours(result->entry->transport) &&
		    is_usable(result) && !result_is_silent(load, result) &&
		    result->regime == results->regime)
			return result;
	}
	return &results->result[0];
}

double result_ratio(enum load load, const struct result *ours,
		    const struct result *theirs)
{
	double a, b;

	if (load == LOAD_IDLE || !is_usable(ours) || !is_usable(theirs) ||
	    ours->regime != theirs->regime)
		return NAN;
	a = result_value(load, &ours->median);
	b = result_value(load, &theirs->median);
	if (!(a > 0) || !(b > 0))
		return NAN;
	return result_more_is_better(load, &ours->median) ? a / b : b / a;
}

static bool is_alike(const struct entry *ours, const struct entry *theirs)
{
	return (entry_sleeps(theirs) || !entry_sleeps(ours)) &&
	       (!entry_bursts(theirs) || entry_bursts(ours));
}

/* @ours NULL: of all. */
static const struct result *best_rival(const struct case_result *results,
				       const struct result *ours)
{
	enum load load = results->bench_case->spec.load;
	const struct result *best = NULL;

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];

		if (transport_is_ours(result->entry->transport) ||
		    result->entry->transport->floor || !is_usable(result) ||
		    result_is_silent(load, result) ||
		    !result_is_clean(result) ||
		    result->regime != results->regime ||
		    (ours && !is_alike(ours->entry, result->entry)))
			continue;
		/* result_ratio() > 1: the first is better. */
		if (!best || result_ratio(load, result, best) > 1.0)
			best = result;
	}
	return best;
}

const struct result *result_best_rival(const struct case_result *results)
{
	return best_rival(results, NULL);
}

const struct result *result_best_alike(const struct case_result *results,
				       const struct result *ours)
{
	return transport_is_ours(ours->entry->transport)
		       ? best_rival(results, ours)
		       : NULL;
}

static enum load sort_load; /* qsort() has no context */

static int by_value(const void *a, const void *b)
{
	double x = result_value(sort_load, a), y = result_value(sort_load, b);

	return x < y ? -1 : x > y;
}

/* The figures of @n outcomes in the order of time; they are sorted. */
static void sum_up(struct result *result, enum load load, struct outcome *out,
		   unsigned n)
{
	bool more = result_more_is_better(load, &out[0]);
	unsigned low, high;
	double values[MAX_RUNS] = { 0 };

	for (unsigned i = 0; i < n; i++)
		values[i] = result_value(load, &out[i]);
	result->warming = is_warming_up(values, n, more);
	sort_load = load;
	qsort(out, n, sizeof(*out), by_value);
	for (unsigned i = 0; i < n; i++)
		values[i] = result_value(load, &out[i]);
	if (result->median.status == OUTCOME_OK)
		result->median = out[n / 2];
	result->best = more ? values[n - 1] : values[0];
	if (values[0] > 0)
		result->spread = values[n - 1] / values[0];
	if (median_interval(n, &low, &high)) {
		result->ci_low = values[low];
		result->ci_high = values[high];
	}
}

/* Figures of those rounds that are of the case's regime; where there is none,
 * of the regime that has most; where neither near nor far was ever known, of
 * all. */
static void sum_up_regime(struct result *result, enum load load,
			  enum regime regime, const struct rounds *rounds)
{
	const struct outcome *silent = NULL;
	struct outcome *out;
	unsigned n = 0;

	result->runs = rounds->n;
	result->regime =
		result->regimes[regime] ? regime : regime_most(result->regimes);
	if (!rounds->n)
		return;
	out = calloc(rounds->n, sizeof(*out));
	if (!out) {
		outcome_set(&result->median, OUTCOME_FAILED, "no memory");
		return;
	}
	for (unsigned i = 0; i < rounds->n; i++) {
		const struct round *round = &rounds->round[i];

		if (round->regime != result->regime &&
		    regime_is_known(result->regime))
			continue;
		/* Without a message, on a machine that is taken, there is no
		 * figure. */
		if (isnan(result_value(load, &round->out)))
			silent = &round->out;
		else
			out[n++] = round->out;
	}
	if (n > 0)
		sum_up(result, load, out, n);
	else if (silent && result->median.status == OUTCOME_OK)
		result->median = *silent;
	free(out);
}

static void sum_up_all(struct case_result *results, const struct rounds *rounds)
{
	unsigned n[REGIME_N] = { 0 };

	for (unsigned i = 0; i < results->n; i++)
		for (unsigned k = 0; k < REGIME_N; k++)
			n[k] += results->result[i].regimes[k];
	results->regime = regime_most(n);
	results->flipped = n[REGIME_MIXED] || (n[REGIME_NEAR] && n[REGIME_FAR]);
	for (unsigned i = 0; i < results->n; i++)
		sum_up_regime(&results->result[i],
			      results->bench_case->spec.load, results->regime,
			      &rounds[i]);
}

static void show_progress(const char *progress,
			  const struct bench_case *bench_case,
			  const struct entry *entry, unsigned round)
{
	fprintf(stderr, "\r\033[K%s%s %s: %s, round %u of %u ", progress,
		load_names[bench_case->spec.load], bench_case->title,
		entry->transport->name, round + 1, entry->runs);
	fflush(stderr);
}

/* @pingpong is that before the round, and then that after it. */
static void one_round(struct case_result *results, struct result *result,
		      struct rounds *rounds, double *pingpong)
{
	const struct entry *entry = result->entry;
	struct spec spec = plan_spec(results->bench_case, entry);
	double before = *pingpong;
	struct outcome out = { .all_ns = result->series.round };
	enum regime regime;

	load_run(entry->transport, &spec, &out);
	if (!transport_is_built(entry->transport)) {
		result->median = out; /* which took no time */
		return;
	}
	*pingpong = pingpong_ns();
	if (out.status != OUTCOME_OK) {
		result->median = out; /* no further rounds */
		return;
	}
	out.pingpong_ns = before;
	out.pingpong_after_ns = *pingpong;
	regime = regime_of(before, *pingpong);
	result->regimes[regime]++;
	result->lost += out.lost;
	result->dup += out.dup;
	result->disorder += out.disorder;
	result->wrong += out.wrong;
	rounds->round[rounds->n++] = (struct round){ out, regime };
	if (series_add(&result->series, result_value(spec.load, &out), before,
		       regime) < 0)
		outcome_set(&result->median, OUTCOME_FAILED, "no memory");
}

static unsigned most_runs(const struct bench_case *bench_case)
{
	unsigned most = 0;

	for (unsigned i = 0; i < bench_case->n; i++)
		if (bench_case->entry[i].runs > most)
			most = bench_case->entry[i].runs;
	return most;
}

static void all_rounds(struct case_result *results, struct rounds *rounds,
		       const char *progress)
{
	const struct bench_case *bench_case = results->bench_case;
	unsigned runs = most_runs(bench_case);
	double pingpong = results->pingpong_before;

	for (unsigned round = 0; round < runs; round++)
		for (unsigned i = 0; i < bench_case->n; i++) {
			struct result *result = &results->result[i];

			if (round >= result->entry->runs ||
			    result->median.status != OUTCOME_OK)
				continue;
			if (progress)
				show_progress(progress, bench_case,
					      result->entry, round);
			one_round(results, result, &rounds[i], &pingpong);
		}
	results->pingpong_after = pingpong;
}

static void result_open(struct result *result, const struct entry *entry,
			struct rounds *rounds)
{
	*result = (struct result){ .entry = entry,
				   .median = OUTCOME_INIT,
				   .spread = 1.0,
				   .best = NAN,
				   .syscalls = NAN,
				   .ci_low = NAN,
				   .ci_high = NAN };
	rounds->round = calloc(entry->runs, sizeof(*rounds->round));
	if (!rounds->round || series_open(&result->series, entry->runs) < 0)
		outcome_set(&result->median, OUTCOME_FAILED, "no memory");
}

/* When the rounds are over, so that none of them is disturbed.  Another
 * program, as Python, has its own start in between, which nobody marks. */
static void count_syscalls(struct case_result *results)
{
	const struct bench_case *bench_case = results->bench_case;

	for (unsigned i = 0; bench_case->syscalls && i < results->n; i++) {
		struct result *result = &results->result[i];
		const struct transport *transport = result->entry->transport;
		struct spec spec = plan_spec(bench_case, result->entry);

		if (result->median.status == OUTCOME_OK && !transport->run)
			result->syscalls = trace_round(
				transport, &spec, results->no_syscalls,
				sizeof(results->no_syscalls));
	}
}

void measure_case(const struct bench_case *bench_case,
		  struct case_result *results, const char *progress)
{
	struct rounds rounds[MAX_ENTRIES] = { { 0, NULL } };

	*results = (struct case_result){ .bench_case = bench_case,
					 .n = bench_case->n,
					 .pingpong_before = pingpong_ns() };
	for (unsigned i = 0; i < bench_case->n; i++)
		result_open(&results->result[i], &bench_case->entry[i],
			    &rounds[i]);
	all_rounds(results, rounds, progress);
	sum_up_all(results, rounds);
	count_syscalls(results);
	for (unsigned i = 0; i < bench_case->n; i++)
		free(rounds[i].round);
	if (progress)
		fputs("\r\033[K", stderr);
}

void measure_free(struct case_result *results)
{
	for (unsigned i = 0; i < results->n; i++)
		series_close(&results->result[i].series);
}
