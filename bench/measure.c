/*
 * measure.c - the rounds of a case, each transport in turn
 *
 * Ours, rival, rival, ours, rival, rival, ...: what the machine does meanwhile
 * befalls all of them alike.  The median round is shown, so that one that was
 * disturbed does not count.  The ping-pong is measured before each round.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "bench/measure.h"
#include "bench/pingpong.h"

struct rounds {
	unsigned n;
	struct outcome *out;
};

double result_value(enum load load, const struct outcome *out)
{
	switch (load) {
	case LOAD_RTT:
	case LOAD_WAKE:
	case LOAD_RECOVER:
		return out->has_ns ? (double)out->ns.p50 : NAN;
	case LOAD_IDLE:
		return out->cpu_percent;
	default:
		return out->seconds > 0 ? (double)out->messages / out->seconds
					: NAN;
	}
}

bool result_more_is_better(enum load load)
{
	return load == LOAD_STREAM || load == LOAD_DUPLEX ||
	       load == LOAD_MPMC || load == LOAD_FARM || load == LOAD_POOL;
}

static bool is_usable(const struct result *result)
{
	return result->median.status == OUTCOME_OK && result->runs > 0;
}

double result_ratio(enum load load, const struct result *ours,
		    const struct result *theirs)
{
	double a, b;

	if (load == LOAD_IDLE || !is_usable(ours) || !is_usable(theirs))
		return NAN;
	a = result_value(load, &ours->median);
	b = result_value(load, &theirs->median);
	if (!(a > 0) || !(b > 0))
		return NAN;
	return result_more_is_better(load) ? a / b : b / a;
}

const struct result *result_best_rival(const struct case_result *results)
{
	enum load load = results->bench_case->spec.load;
	const struct result *best = NULL;

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];

		if (transport_is_ours(result->entry->transport) ||
		    !is_usable(result) || !result_is_clean(result))
			continue;
		/* result_ratio() > 1: the first is better. */
		if (!best || result_ratio(load, result, best) > 1.0)
			best = result;
	}
	return best;
}

static enum load sort_load; /* qsort() has no context */

static int by_value(const void *a, const void *b)
{
	double x = result_value(sort_load, a), y = result_value(sort_load, b);

	return x < y ? -1 : x > y;
}

static void sum_up(struct result *result, enum load load, struct rounds *rounds)
{
	double low, high;

	result->runs = rounds->n;
	result->spread = 1.0;
	if (!rounds->n)
		return;
	sort_load = load;
	qsort(rounds->out, rounds->n, sizeof(*rounds->out), by_value);
	low = result_value(load, &rounds->out[0]);
	high = result_value(load, &rounds->out[rounds->n - 1]);
	if (result->median.status == OUTCOME_OK)
		result->median = rounds->out[rounds->n / 2];
	result->best = result_more_is_better(load) ? high : low;
	if (low > 0)
		result->spread = high / low;
}

/* Near or far, and it was the other before.  Where it is not known, because
 * others had the processors, there is nothing to say. */
static bool has_flipped(double before, double now)
{
	return !isnan(before) && !isnan(now) &&
	       strcmp(pingpong_regime(before), pingpong_regime(now)) != 0;
}

static void show_progress(const struct bench_case *bench_case,
			  const struct entry *entry, unsigned round,
			  unsigned runs)
{
	fprintf(stderr, "\r\033[K%s %s: %s, round %u of %u ",
		load_names[bench_case->spec.load], bench_case->title,
		entry->transport->name, round + 1, runs);
	fflush(stderr);
}

static void one_round(struct case_result *results, struct result *result,
		      struct rounds *rounds)
{
	const struct entry *entry = result->entry;
	struct spec spec = plan_spec(results->bench_case, entry);
	double pingpong = pingpong_ns();
	struct outcome out;

	load_run(entry->transport, &spec, &out);
	out.pingpong_ns = pingpong;
	if (has_flipped(results->pingpong_before, pingpong))
		results->flipped = true;
	if (out.status != OUTCOME_OK) {
		result->median = out; /* no further rounds */
		return;
	}
	result->lost += out.lost;
	result->dup += out.dup;
	result->disorder += out.disorder;
	result->wrong += out.wrong;
	rounds->out[rounds->n++] = out;
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
		       bool progress)
{
	const struct bench_case *bench_case = results->bench_case;
	unsigned runs = most_runs(bench_case);

	for (unsigned round = 0; round < runs; round++)
		for (unsigned i = 0; i < bench_case->n; i++) {
			struct result *result = &results->result[i];

			if (round >= result->entry->runs ||
			    result->median.status != OUTCOME_OK)
				continue;
			if (progress)
				show_progress(bench_case, result->entry, round,
					      result->entry->runs);
			one_round(results, result, &rounds[i]);
		}
}

void measure_case(const struct bench_case *bench_case,
		  struct case_result *results, bool progress)
{
	struct rounds rounds[MAX_ENTRIES] = { { 0, NULL } };

	*results = (struct case_result){ .bench_case = bench_case,
					 .n = bench_case->n,
					 .pingpong_before = pingpong_ns() };
	for (unsigned i = 0; i < bench_case->n; i++) {
		struct result *result = &results->result[i];

		result->entry = &bench_case->entry[i];
		result->median = (struct outcome)OUTCOME_INIT;
		rounds[i].out =
			calloc(result->entry->runs, sizeof(*rounds[i].out));
		if (!rounds[i].out)
			outcome_set(&result->median, OUTCOME_FAILED,
				    "no memory");
	}
	all_rounds(results, rounds, progress);
	for (unsigned i = 0; i < bench_case->n; i++) {
		sum_up(&results->result[i], bench_case->spec.load, &rounds[i]);
		free(rounds[i].out);
	}
	results->pingpong_after = pingpong_ns();
	if (has_flipped(results->pingpong_before, results->pingpong_after))
		results->flipped = true;
	if (progress)
		fputs("\r\033[K", stderr);
}
