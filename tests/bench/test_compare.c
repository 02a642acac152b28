/*
 * test_compare.c - bench/verdict.c, bench/limit.c and bench/row.c on rows that
 * were made up
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/limit.h"
#include "bench/row.h"
#include "bench/verdict.h"

static struct verdict_rules rules;
static struct comparison comparison;

static void setup(void)
{
	rules = (struct verdict_rules){ .alpha = 0.05, .tolerance = 0.02 };
}

TestSuite(compare, .init = setup, .timeout = 200.0);

/* An array of one row: a round for each value, with the ping-pongs given;
 * fewer ping-pongs than values: the last one for the rest. */
static json_t *rows(const char *workload, const char *figure, json_t *values,
		    json_t *pingpongs)
{
	while (json_array_size(pingpongs) < json_array_size(values))
		json_array_append(
			pingpongs,
			json_array_get(pingpongs,
				       json_array_size(pingpongs) - 1));
	return json_pack("[{s:i, s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:o}]",
			 "schema", ROW_SCHEMA, "workload", workload, "case",
			 "64 B", "transport", "shmbus", "status", "ok", "ours",
			 1, "figure", figure, "values", values, "pingpongs",
			 pingpongs);
}

static json_t *list(const char *text)
{
	json_t *array = json_loads(text, 0, NULL);

	cr_assert(json_is_array(array), "%s", text);
	return array;
}

static enum verdict rates(const char *old_values, const char *old_pingpongs,
			  const char *new_values, const char *new_pingpongs)
{
	json_t *old = rows("stream", "msgs_per_s", list(old_values),
			   list(old_pingpongs));
	json_t *new = rows("stream", "msgs_per_s", list(new_values),
			   list(new_pingpongs));

	verdict_make(&comparison, old, new, &rules);
	json_decref(old);
	json_decref(new);
	return comparison.verdict;
}

static enum verdict spans(const char *old_values, const char *new_values)
{
	json_t *old = rows("rtt", "ns.p50", list(old_values), list("[90]"));
	json_t *new = rows("rtt", "ns.p50", list(new_values), list("[90]"));

	verdict_make(&comparison, old, new, &rules);
	json_decref(old);
	json_decref(new);
	return comparison.verdict;
}

Test(compare, the_same_data_are_the_same)
{
	cr_assert_eq(rates("[100, 105, 95, 101, 99]", "[90]",
			   "[100, 105, 95, 101, 99]", "[90]"),
		     VERDICT_SAME);
	cr_assert_eq(comparison.ratio, 1);
	cr_assert_eq(comparison.p, 1);
}

Test(compare, more_messages_are_faster)
{
	cr_assert_eq(rates("[100, 105, 95, 101, 99]", "[90]",
			   "[120, 126, 114, 121, 119]", "[95]"),
		     VERDICT_FASTER);
	cr_assert(comparison.ratio > 1.15 && comparison.ratio < 1.25);
	cr_assert(comparison.low > 1 && comparison.high > comparison.low);
	cr_assert_str_eq(comparison.regime, "near");
	cr_assert_eq(rates("[120, 126, 114, 121, 119]", "[90]",
			   "[100, 105, 95, 101, 99]", "[90]"),
		     VERDICT_SLOWER);
	cr_assert(comparison.ratio < 0.87 && comparison.high < 1);
}

Test(compare, longer_latencies_are_slower)
{
	cr_assert_eq(
		spans("[100, 105, 95, 101, 99]", "[200, 210, 190, 202, 198]"),
		VERDICT_SLOWER);
	cr_assert(comparison.ratio > 0.45 && comparison.ratio < 0.55);
	cr_assert_eq(comparison.old_value, 100);
	cr_assert_eq(comparison.new_value, 200);
	cr_assert_eq(
		spans("[200, 210, 190, 202, 198]", "[100, 105, 95, 101, 99]"),
		VERDICT_FASTER);
}

Test(compare, noise_is_the_same)
{
	cr_assert_eq(rates("[100, 140, 80, 121, 95]", "[90]",
			   "[115, 70, 130, 99, 104]", "[90]"),
		     VERDICT_SAME);
	cr_assert(comparison.low < 1 && comparison.high > 1);
}

Test(compare, a_certain_but_tiny_difference_is_the_same)
{
	cr_assert_eq(rates("[1000, 1001, 1002, 1003, 1004]", "[90]",
			   "[1010, 1011, 1012, 1013, 1014]", "[90]"),
		     VERDICT_SAME);
	cr_assert_lt(comparison.p, 0.01);
	rules.tolerance = 0.001;
	cr_assert_eq(rates("[1000, 1001, 1002, 1003, 1004]", "[90]",
			   "[1010, 1011, 1012, 1013, 1014]", "[90]"),
		     VERDICT_FASTER);
}

Test(compare, three_rounds_are_too_few)
{
	cr_assert_eq(
		rates("[100, 101, 102]", "[90]", "[200, 201, 202]", "[90]"),
		VERDICT_TOO_FEW);
	cr_assert_float_eq(comparison.ratio, 201.0 / 101, 0.02);
	cr_assert(isnan(comparison.low));
	cr_assert(strstr(comparison.why, "--runs"));
}

Test(compare, near_and_far_are_not_compared)
{
	cr_assert_eq(rates("[100, 101, 102, 103, 104]", "[90]",
			   "[50, 51, 52, 53, 54]", "[500]"),
		     VERDICT_REGIMES);
	cr_assert(isnan(comparison.ratio) && isnan(comparison.p));
	cr_assert(strstr(comparison.why, "--normalise"));
	cr_assert_eq(rates("[100, 101, 102, 103, 104]", "[null]",
			   "[50, 51, 52, 53, 54]", "[500]"),
		     VERDICT_REGIMES);
}

/* 90 ns and 450 ns: a fifth of the messages is as many a ping-pong. */
Test(compare, in_pingpongs_near_and_far_are_compared)
{
	rules.normalise = true;
	cr_assert_eq(rates("[500e6, 505e6, 495e6, 501e6, 499e6]", "[90]",
			   "[100e6, 101e6, 99e6, 100e6, 100e6]", "[450]"),
		     VERDICT_SAME);
	cr_assert(fabs(comparison.old_value - 45) < 0.001);
	cr_assert(fabs(comparison.new_value - 45) < 0.001);
	cr_assert_eq(rates("[500e6, 505e6, 495e6, 501e6, 499e6]", "[90]",
			   "[50e6, 51e6, 49e6, 50e6, 50e6]", "[450]"),
		     VERDICT_SLOWER);
}

/* Those of the regime that both have count, and the others do not. */
Test(compare, only_rounds_of_one_regime_are_compared)
{
	cr_assert_eq(rates("[100, 101, 102, 103, 104, 20, 21]",
			   "[90, 90, 90, 90, 90, 500, 500]",
			   "[22, 102, 104, 103, 100, 101]",
			   "[500, 90, 90, 90, 90, 90]"),
		     VERDICT_SAME);
	cr_assert_eq(comparison.n_old, 5);
	cr_assert_eq(comparison.n_new, 5);
	cr_assert_str_eq(comparison.regime, "near");
	cr_assert(strstr(comparison.why, "5 of 7 old and 5 of 6 new"));
	cr_assert_eq(rates("[100, 101, 102, 20, 21]", "[90, 90, 90, 500, 500]",
			   "[200, 201, 202, 50, 51]", "[90, 90, 90, 500, 500]"),
		     VERDICT_TOO_FEW);
}

static json_t *with_regimes(json_t *rows, const char *regimes)
{
	json_object_set_new(json_array_get(rows, 0), "round_regimes",
			    list(regimes));
	return rows;
}

/* A round says itself in which regime it was; one that was in both is compared
 * with none, not even in ping-pongs. */
Test(compare, rounds_that_changed_are_not_compared)
{
	json_t *old = with_regimes(
		rows("stream", "msgs_per_s",
		     list("[100, 101, 102, 103, 104, 900, 900, 900]"),
		     list("[90]")),
		"[\"near\", \"near\", \"near\", \"near\", \"near\","
		" \"mixed\", \"mixed\", \"mixed\"]");
	json_t *new = rows("stream", "msgs_per_s",
			   list("[104, 103, 102, 101, 100]"), list("[90]"));
	json_t *none = with_regimes(
		rows("stream", "msgs_per_s", list("[1, 2, 3]"), list("[90]")),
		"[\"mixed\", \"mixed\", \"mixed\"]");

	verdict_make(&comparison, old, new, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_SAME);
	cr_assert_eq(comparison.n_old, 5);
	cr_assert(strstr(comparison.why, "5 of 8 old"));
	verdict_make(&comparison, none, none, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_REGIMES);
	rules.normalise = true;
	verdict_make(&comparison, old, new, &rules);
	cr_assert_eq(comparison.n_old, 5);
	verdict_make(&comparison, none, new, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_NOT_MEASURED);
	cr_assert(strstr(comparison.why, "old: no round"));
	json_decref(old);
	json_decref(new);
	json_decref(none);
}

/* A round without a message has no figure. */
Test(compare, null_is_no_round)
{
	cr_assert_eq(rates("[100, 101, 102, 103, 104, null]", "[90]",
			   "[100, 101, 102, 103, 104, null]", "[90]"),
		     VERDICT_SAME);
	cr_assert_eq(comparison.n_old, 5);
}

Test(compare, two_idle_processes_are_the_same)
{
	json_t *old = rows("idle", "cpu_percent", list("[0, 0, 0, 0, 0]"),
			   list("[90]"));
	json_t *new =
		rows("idle", "cpu_percent",
		     list("[0.05, 0.04, 0.05, 0.05, 0.06]"), list("[90]"));
	json_t *busy = rows("idle", "cpu_percent", list("[5, 4, 5, 5, 6]"),
			    list("[90]"));

	verdict_make(&comparison, old, new, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_SAME);
	verdict_make(&comparison, old, busy, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_SLOWER);
	json_decref(old);
	json_decref(new);
	json_decref(busy);
}

Test(compare, what_is_missing_or_failed_is_said)
{
	json_t *some = rows("rtt", "ns.p50", list("[1, 2]"), list("[90]"));
	json_t *none = rows("rtt", "ns.p50", list("[]"), list("[90]"));
	json_t *row = json_array_get(none, 0);

	json_object_set_new(row, "status", json_string("absent"));
	json_object_set_new(row, "why", json_string("no python3"));
	verdict_make(&comparison, some, NULL, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_ONLY_OLD);
	verdict_make(&comparison, NULL, some, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_ONLY_NEW);
	verdict_make(&comparison, some, none, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_NOT_MEASURED);
	cr_assert_str_eq(comparison.why, "new: absent, no python3");
	json_decref(some);
	json_decref(none);
}

/* Measured twice: the rounds are put together. */
Test(compare, rows_of_one_thing_are_pooled)
{
	json_t *old = rows("stream", "msgs_per_s", list("[100, 101, 102]"),
			   list("[90]"));
	json_t *more =
		rows("stream", "msgs_per_s", list("[103, 104]"), list("[90]"));
	json_t *new = rows("stream", "msgs_per_s",
			   list("[200, 201, 202, 203, 204]"), list("[90]"));

	json_array_extend(old, more);
	verdict_make(&comparison, old, new, &rules);
	cr_assert_eq(comparison.verdict, VERDICT_FASTER);
	cr_assert_eq(comparison.n_old, 5);
	json_decref(old);
	json_decref(more);
	json_decref(new);
}

/* --fail-if ---------------------------------------------------------------- */

static const struct limit_facts slower_by_7 = { .slower = 7,
						.ratio = 0.93,
						.p = 0.01 };
static const struct limit_facts missing = { .ratio = NAN,
					    .p = NAN,
					    .missing = true };

static bool is_true(const char *text, const struct limit_facts *facts)
{
	static const char json[] =
		"{\"workload\": \"rtt\", \"transport\": \"shmbus-pipe\","
		" \"status\": \"ok\", \"msgs_per_s\": 980000, \"lost\": 0,"
		" \"ns\": {\"p50\": 800, \"p99\": 51000}, \"why\": null}";
	json_t *row = json_loads(json, 0, NULL);
	struct limit limit;
	char why[240];
	double value;
	bool ret;

	cr_assert_eq(limit_parse(&limit, text, why, sizeof(why)), 0, "%s: %s",
		     text, why);
	ret = limit_is_true(&limit, row, facts, &value);
	json_decref(row);
	return ret;
}

Test(limit, quantities_of_the_comparison)
{
	cr_assert(is_true("slower>5%", &slower_by_7));
	cr_assert(is_true("slower > 5", &slower_by_7));
	cr_assert(is_true("slower>=7%", &slower_by_7));
	cr_assert_not(is_true("slower>10%", &slower_by_7));
	cr_assert_not(is_true("faster>0%", &slower_by_7));
	cr_assert(is_true("ratio<0.95", &slower_by_7));
	cr_assert_not(is_true("ratio<0.9", &slower_by_7));
	cr_assert(is_true("p<=0.01", &slower_by_7));
	cr_assert(is_true("undecided==0", &slower_by_7));
	cr_assert(is_true("missing>0", &missing));
	cr_assert_not(is_true("missing>0", &slower_by_7));
	cr_assert_not(is_true("ratio<0.9", &missing));
	cr_assert_not(is_true("p99>1us", &missing)); /* that is the old row's */
}

Test(limit, quantities_of_the_new_row)
{
	cr_assert(is_true("p99>50us", &slower_by_7));
	cr_assert(is_true("p99>50000ns", &slower_by_7));
	cr_assert_not(is_true("p99>0.052ms", &slower_by_7));
	cr_assert(is_true("ns.p50<=800ns", &slower_by_7));
	cr_assert(is_true("msgs_per_s<1M", &slower_by_7));
	cr_assert_not(is_true("msgs_per_s<979.9k", &slower_by_7));
	cr_assert(is_true("lost==0", &slower_by_7));
	cr_assert_not(is_true("cpu_percent>0", &slower_by_7)); /* not there */
}

Test(limit, rows_are_selected)
{
	cr_assert(is_true("rtt:p99>50us", &slower_by_7));
	cr_assert_not(is_true("stream:p99>50us", &slower_by_7));
	cr_assert(is_true("rtt/shmbus-pipe:p99>50us", &slower_by_7));
	cr_assert_not(is_true("rtt/shmbus:p99>50us", &slower_by_7));
	cr_assert(is_true("*/*-pipe:p99>50us", &slower_by_7));
	cr_assert_not(is_true("/pipe:p99>50us", &slower_by_7));
}

Test(limit, what_is_wrong_is_named)
{
	static const char *const wrong[][2] = {
		{ "slower", "it is to be" },    { ">5", "it is to be" },
		{ "slower>x", "'x' is not a" }, { "p99>50", "ns, us, ms" },
		{ "p99>5%", "ns, us, ms" },     { "slower>5us", "'us'" },
		{ "msgs_per_s<1MB", "'MB'" },   { "", "it is to be" },
		{ "ratio<nan", "'nan'" },
	};
	struct limit limit;
	char why[240];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_assert_eq(limit_parse(&limit, wrong[i][0], why, sizeof(why)),
			     -1, "%s", wrong[i][0]);
		cr_assert(strstr(why, wrong[i][1]), "%s: %s", wrong[i][0], why);
	}
}

/* A quantity that no row has must not pass as a limit that holds. */
Test(limit, it_is_known_whether_a_row_had_the_quantity)
{
	struct limit limit;
	char why[240];
	double value;
	json_t *row = json_loads("{\"workload\": \"rtt\", \"transport\": "
				 "\"shmbus\", \"lost\": 0}",
				 0, NULL);

	limit_parse(&limit, "lots>0", why, sizeof(why));
	cr_assert_not(limit_is_true(&limit, row, &slower_by_7, &value));
	cr_assert_not(limit.seen);
	limit_parse(&limit, "lost>0", why, sizeof(why));
	cr_assert_not(limit_is_true(&limit, row, &slower_by_7, &value));
	cr_assert(limit.seen);
	json_decref(row);
}

/* Rows --------------------------------------------------------------------- */

static void check_keys(const json_t *a, const json_t *b,
		       const char *const *without, bool equal)
{
	char *x = row_key(a, without), *y = row_key(b, without);

	cr_assert_eq(!strcmp(x, y), equal, "%s and %s", x, y);
	free(x);
	free(y);
}

Test(row, key_has_the_parameters_and_nothing_else)
{
	json_t *a = json_loads("{\"workload\": \"rtt\", \"bytes\": 16, "
			       "\"msgs_per_s\": 1, \"rate\": null}",
			       0, NULL);
	json_t *b = json_loads("{\"bytes\": 16, \"workload\": \"rtt\", "
			       "\"msgs_per_s\": 2}",
			       0, NULL);
	json_t *c =
		json_loads("{\"workload\": \"rtt\", \"bytes\": 17}", 0, NULL);
	static const char *const without[] = { "bytes", NULL };

	check_keys(a, b, NULL, true);
	check_keys(a, c, NULL, false);
	check_keys(a, c, without, true);
	json_decref(a);
	json_decref(b);
	json_decref(c);
}

Test(row, histogram_is_read_again)
{
	static struct hist hist;
	json_t *row = json_loads("{\"hist\": [[5, 2], [4096, 1], [-1, 3], "
				 "\"x\"]}",
				 0, NULL);

	hist_init(&hist);
	cr_assert(row_add_hist(row, &hist));
	cr_assert_eq(hist.n, 3);
	cr_assert_eq(hist_quantile(&hist, 0.5), 5);
	cr_assert_not(row_add_hist(json_null(), &hist));
	json_decref(row);
}
