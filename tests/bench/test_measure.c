/*
 * test_measure.c - bench/measure.c: what it makes of rounds whose figures and
 * ping-pongs are made up
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>

#include "bench/measure.h"
#include "bench/pingpong.h"

#define NEAR 100
#define FAR  600

/* What the machine and the transports do, round by round. */
static const double *pingpongs;
static unsigned n_pingpongs;
static const double *rates[2];
static unsigned n_rounds[2];

double pingpong_ns(void)
{
	return pingpongs[n_pingpongs++];
}

struct spec plan_spec(const struct bench_case *bench_case,
		      const struct entry *entry)
{
	struct spec spec = bench_case->spec;

	spec.batch = entry->batch; /* who it is */
	return spec;
}

static void run(const struct transport *transport, const struct spec *spec,
		struct outcome *out)
{
	uint64_t n = (uint64_t)rates[spec->batch][n_rounds[spec->batch]++];

	(void)transport;
	out->seconds = 1;
	out->messages = n;
	if (n)
		hist_add(out->all_ns, n); /* as if that were a latency */
}

static const struct transport ours = {
	.name = "ours", .loads = LOAD_ALL, .ours = true, .run = run
};
static const struct transport rival = { .name = "rival",
					.loads = LOAD_ALL,
					.run = run };

static const struct transport below = {
	.name = "below", .loads = LOAD_ALL, .floor = true, .run = run
};
static const struct transport *other = &rival;

static struct case_result results;

/* @n rounds of each, in turn. */
static void measure(unsigned n, unsigned runs)
{
	static struct bench_case bench_case;

	bench_case =
		(struct bench_case){ .spec = { .load = LOAD_STREAM }, .n = n };
	bench_case.entry[0] =
		(struct entry){ .transport = &ours, .batch = 0, .runs = runs };
	bench_case.entry[1] =
		(struct entry){ .transport = other, .batch = 1, .runs = runs };
	n_pingpongs = n_rounds[0] = n_rounds[1] = 0;
	measure_free(&results); /* those before */
	measure_case(&bench_case, &results, NULL);
}

Test(measure, shows_the_round_in_the_middle_and_its_interval)
{
	static const double near[8] = { NEAR, NEAR, NEAR, NEAR,
					NEAR, NEAR, NEAR, NEAR };
	static const double rate[7] = { 50, 70, 10, 40, 60, 20, 30 };

	pingpongs = near;
	rates[0] = rate;
	measure(1, 7);
	cr_assert_eq(results.result[0].median.messages, 40);
	cr_assert_float_eq(results.result[0].ci_low, 10, 1e-9);
	cr_assert_float_eq(results.result[0].ci_high, 70, 1e-9);
	cr_assert_float_eq(results.result[0].best, 70, 1e-9);
	cr_assert_eq(results.result[0].regimes[REGIME_NEAR], 7);
	cr_assert_not(results.flipped);
}

/* near, changing, far, far, changing, near, near: three near, two far, and
 * what was measured far or in between is not in the figures. */
Test(measure, sets_other_regimes_aside)
{
	static const double pp[8] = { NEAR, NEAR, FAR,  FAR,
				      FAR,  NEAR, NEAR, NEAR };
	static const double rate[7] = { 101, 50, 10, 11, 60, 103, 102 };
	const struct result *result = &results.result[0];

	pingpongs = pp;
	rates[0] = rate;
	measure(1, 7);
	cr_assert_eq(results.regime, REGIME_NEAR);
	cr_assert_eq(result->regime, REGIME_NEAR);
	cr_assert_eq(result->regimes[REGIME_NEAR], 3);
	cr_assert_eq(result->regimes[REGIME_FAR], 2);
	cr_assert_eq(result->regimes[REGIME_MIXED], 2);
	cr_assert_eq(result->runs, 7);
	cr_assert_eq(result->median.messages, 102);
	cr_assert_float_eq(result->spread, 103.0 / 101, 1e-9);
	cr_assert(isnan(result->ci_low), "three rounds say nothing of that");
	cr_assert(results.flipped);
}

/* In the order of time, and latencies of the regime that counts only. */
Test(measure, keeps_every_round)
{
	static const double pp[6] = { NEAR, NEAR, FAR, FAR, NEAR, NEAR };
	static const double rate[5] = { 101, 50, 10, 60, 99 };

	static const enum regime regimes[5] = { REGIME_NEAR, REGIME_MIXED,
						REGIME_FAR, REGIME_MIXED,
						REGIME_NEAR };
	const struct series *series = &results.result[0].series;
	const struct hist *hist;

	pingpongs = pp;
	rates[0] = rate;
	measure(1, 5);
	cr_assert_eq(series->n, 5);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_float_eq(series->value[i], rate[i], 1e-9);
		cr_assert_float_eq(series->pingpong_ns[i], pp[i], 1e-9);
		cr_assert_eq(series->regime[i], regimes[i]);
	}
	hist = series_hist(series, results.result[0].regime);
	cr_assert_eq(hist->n, 2);
	cr_assert_eq(hist->min, 99);
	cr_assert_eq(hist->max, 101);
}

/* The majority is that of the case: it compares like with like. */
Test(measure, who_has_no_round_of_the_regime_is_not_compared)
{
	/* ours, rival, ours, rival, ours, rival */
	static const double pp[7] = { NEAR, NEAR, FAR, FAR, FAR, FAR, FAR };
	static const double our_rate[3] = { 100, 20, 21 };
	static const double their_rate[3] = { 99, 10, 11 };

	pingpongs = pp;
	rates[0] = our_rate;
	rates[1] = their_rate;
	measure(2, 3);
	cr_assert_eq(results.regime, REGIME_FAR);
	cr_assert_eq(results.result[0].median.messages, 21);
	cr_assert_eq(results.result[1].median.messages, 11);
	cr_assert_float_eq(result_ratio(LOAD_STREAM, &results.result[0],
					&results.result[1]),
			   21.0 / 11, 1e-9);
	cr_assert_eq(result_best_rival(&results), &results.result[1]);

	results.result[1].regime = REGIME_NEAR;
	cr_assert(isnan(result_ratio(LOAD_STREAM, &results.result[0],
				     &results.result[1])));
	cr_assert_null(result_best_rival(&results));
}

/* It is measured, and better than ours, and yet nobody is behind it. */
Test(measure, a_floor_is_no_rival)
{
	static const double near[3] = { NEAR, NEAR, NEAR };
	static const double our_rate[1] = { 100 }, more[1] = { 200 };

	pingpongs = near;
	rates[0] = our_rate;
	rates[1] = more;
	measure(2, 1);
	cr_assert_eq(result_best_rival(&results), &results.result[1]);
	other = &below;
	measure(2, 1);
	cr_assert_null(result_best_rival(&results));
	cr_assert_eq(results.result[1].median.messages, 200);
	cr_assert_float_eq(result_ratio(LOAD_STREAM, &results.result[1],
					&results.result[0]),
			   2, 1e-9);
}

/* With one processor there is no ping-pong, and nothing to set aside. */
Test(measure, without_a_ping_pong_all_rounds_count)
{
	static const double none[4] = { NAN, NAN, NAN, NAN };
	static const double rate[3] = { 3, 1, 2 };

	pingpongs = none;
	rates[0] = rate;
	measure(1, 3);
	cr_assert_eq(results.regime, REGIME_UNKNOWN);
	cr_assert_eq(results.result[0].median.messages, 2);
	cr_assert_eq(series_hist(&results.result[0].series, REGIME_UNKNOWN)->n,
		     3);
}

Test(measure, a_round_without_a_message_has_no_figure)
{
	static const double near[4] = { NEAR, NEAR, NEAR, NEAR };
	static const double rate[3] = { 0, 5, 7 };
	static const double nothing[3] = { 0, 0, 0 };

	pingpongs = near;
	rates[0] = rate;
	measure(1, 3);
	cr_assert_eq(results.result[0].median.messages, 7);
	cr_assert_float_eq(results.result[0].spread, 7.0 / 5, 1e-9);
	rates[0] = nothing;
	measure(1, 3);
	cr_assert_eq(results.result[0].median.status, OUTCOME_OK);
	cr_assert_eq(results.result[0].median.messages, 0);
	cr_assert_eq(results.result[0].series.n, 3);
	cr_assert(isnan(results.result[0].series.value[0]));
	cr_assert(result_is_silent(LOAD_STREAM, &results.result[0]));
}

static struct result of_rate(const struct entry *entry, uint64_t messages)
{
	return (struct result){ .entry = entry,
				.runs = 1,
				.median = { .seconds = 1,
					    .messages = messages } };
}

/* Be it the first row, or the first of the rivals. */
Test(measure, nobody_is_compared_with_who_has_no_figure)
{
	static const struct entry mine = { .transport = &ours };
	static const struct entry theirs = { .transport = &rival };
	static const struct bench_case bench_case = { .spec.load =
							      LOAD_STREAM };
	struct case_result made = {
		.bench_case = &bench_case,
		.n = 4,
		.result = { of_rate(&mine, 0), of_rate(&mine, 20),
			    of_rate(&theirs, 0), of_rate(&theirs, 10) }
	};

	cr_assert(result_is_silent(LOAD_STREAM, &made.result[0]));
	cr_assert_not(result_is_silent(LOAD_STREAM, &made.result[1]));
	cr_assert_eq(result_first(&made), &made.result[1]);
	cr_assert_eq(result_best_rival(&made), &made.result[3]);
	cr_assert_eq(result_best_alike(&made, &made.result[1]),
		     &made.result[3]);
	made.result[1].regime = REGIME_FAR;
	cr_assert_eq(result_first(&made), &made.result[0], "nobody is left");
	made.result[0] = of_rate(&mine, 5);
	cr_assert_eq(result_first(&made), &made.result[0]);
	made.result[0].median.status = OUTCOME_FAILED;
	cr_assert_not(result_is_silent(LOAD_STREAM, &made.result[0]));
}

Test(measure, sees_that_it_was_still_warming_up)
{
	static const double near[8] = { NEAR, NEAR, NEAR, NEAR,
					NEAR, NEAR, NEAR, NEAR };
	static const double rate[7] = { 10, 20, 30, 40, 50, 60, 70 };

	pingpongs = near;
	rates[0] = rate;
	measure(1, 7);
	cr_assert(results.result[0].warming);
}

/* In an open loop the latency is what counts, and less is better. */
Test(measure, an_open_loop_is_judged_by_its_latency)
{
	struct outcome out = OUTCOME_INIT;

	out.seconds = 1;
	out.messages = 1000;
	out.has_ns = true;
	out.ns.p50 = 77;
	cr_assert_float_eq(result_value(LOAD_STREAM, &out), 1000, 1e-9);
	cr_assert(result_more_is_better(LOAD_STREAM, &out));
	out.open_loop = true;
	cr_assert_float_eq(result_value(LOAD_STREAM, &out), 77, 1e-9);
	cr_assert_not(result_more_is_better(LOAD_STREAM, &out));
}

static const struct transport awake = { .name = "awake",
					.waits = "yield",
					.run = run };
static const struct transport sleeper = { .name = "sleeper",
					  .waits = "block",
					  .run = run };
static const struct transport burster = {
	.name = "burster", .waits = "block", .bursts = true, .run = run
};
static const struct transport both = {
	.name = "both", .waits = "yield", .bursts = true, .run = run
};

/* The rivals above have done the better the less they offer; @of is ours. */
static const char *best_alike(struct entry of)
{
	static struct entry entry[5] = {
		{ .transport = &ours },
		{ .transport = &sleeper, .batch = 1 },
		{ .transport = &burster },
		{ .transport = &awake, .batch = 1 },
		{ .transport = &both },
	};
	static struct bench_case bench_case = { .spec.load = LOAD_STREAM };
	static struct case_result made;
	const struct result *best;

	entry[0] = of;
	made = (struct case_result){ .bench_case = &bench_case, .n = 5 };
	for (unsigned i = 0; i < made.n; i++)
		made.result[i] = (struct result){
			.entry = &entry[i],
			.runs = 1,
			.median = { .seconds = 1, .messages = 100 * (i + 1) }
		};
	cr_assert_str_eq(result_best_rival(&made)->entry->transport->name,
			 "both");
	cr_assert_null(result_best_alike(&made, &made.result[1]));
	best = result_best_alike(&made, &made.result[0]);
	return best ? best->entry->transport->name : "nobody";
}

/* Who offers less is no measure; who offers more than ours is one. */
Test(measure, ours_is_compared_with_those_who_offer_the_same)
{
	static const enum wait_kind sleeps[] = { WAIT_ADAPTIVE, WAIT_URING,
						 WAIT_FUTEX };

	for (unsigned i = 0; i < 3; i++) {
		struct entry one = { .transport = &ours, .wait = sleeps[i] };

		cr_assert_str_eq(best_alike(one), "sleeper");
		one.batch = 32;
		cr_assert_str_eq(best_alike(one), "burster");
	}
	cr_assert_str_eq(best_alike((struct entry){ .transport = &ours,
						    .wait = WAIT_SPIN }),
			 "awake");
	cr_assert_str_eq(best_alike((struct entry){ .transport = &ours,
						    .wait = WAIT_SPIN,
						    .batch = 32 }),
			 "both");
}
