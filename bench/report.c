/*
 * report.c - rows of results, as JSON and CSV, and what readers should know
 */
#include "config.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/cpus.h"
#include "bench/pace.h"
#include "bench/pingpong.h"
#include "bench/report.h"
#include "bench/row.h"
#include "bench/standings.h"

/* Of this run; part of each row. */
static json_t *the_env;

/* Of all rows, for those formats that have no tables. */
static struct standings standings;

/* Rounds that are further apart than this are not worth much. */
#define DISAGREE 2.0

static const char *how_it_waits(const struct entry *entry)
{
	return entry->transport->waits ? entry->transport->waits
				       : wait_names[entry->wait];
}

/* Warnings ----------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3)))
warn(struct warnings *warnings, const char *format, ...)
{
	va_list args;

	if (warnings->n == MAX_WARNINGS)
		return;
	va_start(args, format);
	vsnprintf(warnings->text[warnings->n++], sizeof(warnings->text[0]),
		  format, args);
	va_end(args);
}

/* Behind the other names in @names, as far as there is room. */
static void __attribute__((format(printf, 3, 4)))
add_name(char *names, size_t size, const char *format, ...)
{
	size_t len = strlen(names);
	va_list args;

	if (len && len + 2 < size) {
		strcpy(names + len, ", ");
		len += 2;
	}
	va_start(args, format);
	vsnprintf(names + len, size - len, format, args);
	va_end(args);
}

static void warn_of_crowding(struct warnings *warnings,
			     const struct case_result *results)
{
	const struct spec *spec = &results->bench_case->spec;
	unsigned processes = spec->workers ? spec->workers + 1
					   : spec->producers + spec->consumers;
	char names[2048] = "";

	if (processes <= (unsigned)cpus_count() || spec->load == LOAD_IDLE)
		return;
	for (unsigned i = 0; i < results->n; i++) {
		const struct entry *entry = results->result[i].entry;

		if (results->result[i].median.status == OUTCOME_ABSENT ||
		    entry_sleeps(entry) ||
		    strstr(names, entry->transport->name))
			continue;
		add_name(names, sizeof(names), "%s", entry->transport->name);
	}
	if (*names)
		warn(warnings,
		     "%u processes on %d processors, and those of %s never "
		     "sleep: luck of the scheduler",
		     processes, cpus_count(), names);
	else
		warn(warnings,
		     "%u processes on %d processors: the scheduler decides as "
		     "well",
		     processes, cpus_count());
}

/* How many times the one end is the other, of the interval in which the median
 * lies; without one, of all rounds. */
static double disagreement(const struct result *result)
{
	return isnan(result->ci_low) ? result->spread
				     : result->ci_high / result->ci_low;
}

static void warn_of_spread(struct warnings *warnings,
			   const struct case_result *results)
{
	char names[160] = "", warming[160] = "";

	if (results->bench_case->spec.load == LOAD_IDLE)
		return; /* next to nothing, over next to nothing */
	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];
		const struct entry *entry = result->entry;
		double times = disagreement(result);

		if (times > DISAGREE)
			add_name(names, sizeof(names), "%s (%s) %.1fx",
				 entry->transport->name, how_it_waits(entry),
				 times);
		if (result->warming)
			add_name(warming, sizeof(warming), "%s (%s)",
				 entry->transport->name, how_it_waits(entry));
	}
	if (*names)
		warn(warnings, "rounds disagree: %s", names);
	if (*warming)
		warn(warnings,
		     "still warming up, round by round better: %s; try "
		     "--warmup",
		     warming);
}

/* Rounds of another regime than the case's are set aside; where one has no
 * others its row cannot be compared. */
static void warn_of_regimes(struct warnings *warnings,
			    const struct case_result *results)
{
	const char *regime = regime_name(results->regime);
	unsigned aside = 0, all = 0;
	char names[160] = "";

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];

		all += result->runs;
		aside += result->runs - result->regimes[results->regime];
		if (result->runs && result->regime != results->regime)
			add_name(names, sizeof(names), "%s (%s)",
				 result->entry->transport->name,
				 regime_name(result->regime));
	}
	if (!regime_is_known(results->regime)) {
		if (all && results->regime == REGIME_MIXED)
			warn(warnings, "the ping-pong changed in most rounds: "
				       "compare nothing");
		return;
	}
	if (!aside)
		return;
	if (*names)
		warn(warnings,
		     "not one round was %s, as most were, of: %s; compare "
		     "those with nothing",
		     regime, names);
	warn(warnings,
	     "the ping-pong changed: %u of %u rounds %s not %s, as most "
	     "were, and set aside",
	     aside, all, aside == 1 ? "was" : "were", regime);
}

static void warn_of_rate(struct warnings *warnings,
			 const struct case_result *results)
{
	double asked = results->bench_case->spec.rate;
	char names[160] = "";

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];
		const struct outcome *out = &result->median;

		if (out->status == OUTCOME_OK && result->runs &&
		    out->messages && pace_missed(asked, out->sent_per_s))
			add_name(names, sizeof(names), "%s (%s) %.0f/s",
				 result->entry->transport->name,
				 how_it_waits(result->entry), out->sent_per_s);
	}
	if (*names)
		warn(warnings,
		     "could not keep the rate of %.0f/s, so latencies grow "
		     "with the duration: %s",
		     asked, names);
}

static void warn_of_silence(struct warnings *warnings,
			    const struct case_result *results)
{
	enum load load = results->bench_case->spec.load;
	char names[160] = "";

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];

		/* Those of an open loop that is far behind its times have no
		 * latency, which warn_of_rate() says. */
		if (result_is_silent(load, result) && !result->median.messages)
			add_name(names, sizeof(names), "%s (%s)",
				 result->entry->transport->name,
				 how_it_waits(result->entry));
	}
	if (*names)
		warn(warnings,
		     "not one message in the time: %s; try a longer --duration",
		     names);
}

static void warn_of_errors(struct warnings *warnings,
			   const struct result *result)
{
	if (!result_is_clean(result))
		warn(warnings,
		     "%s: %llu lost, %llu duplicated, %llu out of order, "
		     "%llu wrong",
		     result->entry->transport->name,
		     (unsigned long long)result->lost,
		     (unsigned long long)result->dup,
		     (unsigned long long)result->disorder,
		     (unsigned long long)result->wrong);
}

void report_warnings(const struct case_result *results,
		     struct warnings *warnings)
{
	warnings->n = 0;
	for (unsigned i = 0; i < results->n; i++)
		warn_of_errors(warnings, &results->result[i]);
	if (results->no_syscalls[0])
		warn(warnings, "system calls cannot be counted here: %s",
		     results->no_syscalls);
	warn_of_silence(warnings, results);
	warn_of_rate(warnings, results);
	warn_of_regimes(warnings, results);
	warn_of_spread(warnings, results);
	warn_of_crowding(warnings, results);
}

/* JSON --------------------------------------------------------------------- */

static json_t *real_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *count_or_null(uint64_t value)
{
	return value ? json_integer((json_int_t)value) : json_null();
}

static json_t *json_ns(const struct quantiles *ns, bool has_ns)
{
	if (!has_ns)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "min",
			 (json_int_t)ns->min, "p50", (json_int_t)ns->p50, "p90",
			 (json_int_t)ns->p90, "p99", (json_int_t)ns->p99,
			 "p999", (json_int_t)ns->p999, "max",
			 (json_int_t)ns->max);
}

/* Of a pool: how many items a task has. */
static json_t *json_chunk(const struct spec *spec)
{
	if (spec->load != LOAD_POOL)
		return json_null();
	return spec->chunk ? json_integer((json_int_t)spec->chunk)
			   : json_string("default");
}

/* How messages were spread over workers, or over readers. */
static json_t *json_fairness(const struct fairness *fairness)
{
	if (!fairness->n)
		return json_null();
	return json_pack("{s:i, s:f, s:f, s:f, s:f}", "workers",
			 (int)fairness->n, "min", fairness->min, "mean",
			 fairness->mean, "max", fairness->max, "stddev",
			 fairness->stddev);
}

static json_t *chaos_count(const struct spec *spec, const struct outcome *out,
			   uint64_t n)
{
	return spec->kills_per_s > 0 && out->status == OUTCOME_OK
		       ? json_integer((json_int_t)n)
		       : json_null();
}

/* What kind of loop latencies are from, where there are any. */
static json_t *json_loop(const struct spec *spec)
{
	static const unsigned timed =
		LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_FARM) | LOAD_BIT(LOAD_POOL) |
		LOAD_BIT(LOAD_WAKE) | LOAD_BIT(LOAD_RECOVER);

	if (spec->rate > 0)
		return json_string("open");
	return LOAD_BIT(spec->load) & timed && spec->method != METHOD_MAP
		       ? json_string("closed")
		       : json_null();
}

/* How many requests are outstanding, where that was asked for. */
static unsigned inflight(const struct spec *spec)
{
	if (!spec->workers || spec->load == LOAD_IDLE)
		return 0;
	return spec->load == LOAD_POOL && spec->method == METHOD_MAP
		       ? 0
		       : spec->inflight;
}

/* Of our queue, and of those that get its memory; a pipe has none. */
static unsigned slots(const struct entry *entry, const struct spec *spec)
{
	const struct transport *transport = entry->transport;

	if (spec->load != LOAD_STREAM && spec->load != LOAD_MPMC)
		return 0;
	return transport_is_ours(transport) && transport != &transport_shmbus
		       ? 0
		       : spec->n_slots;
}

/* What the sweep is over, and its value here. */
static json_t *json_sweep_value(const struct sweep *sweep)
{
	uint64_t number;

	if (!sweep->name)
		return json_null();
	if (range_number(sweep->value, RANGE_BINARY, &number, NULL) == 0)
		return json_integer((json_int_t)number);
	return json_string(sweep->value);
}

static json_t *json_warnings(const struct warnings *warnings)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < warnings->n; i++)
		json_array_append_new(array, json_string(warnings->text[i]));
	return array;
}

static const char *const status_names[] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_ABSENT] = "absent",
	[OUTCOME_FAILED] = "failed",
	[OUTCOME_HUNG] = "hung",
};

static double rate(enum load load, const struct outcome *out)
{
	return load != LOAD_IDLE && out->seconds > 0
		       ? (double)out->messages / out->seconds
		       : NAN;
}

static double per_message(const struct outcome *out, double value)
{
	return out->messages ? value / (double)out->messages : NAN;
}

/* What a row is judged by, as a path in it; ci_low and ci_high are of that. */
static const char *figure(enum load load, const struct outcome *out)
{
	if (load == LOAD_IDLE)
		return "cpu_percent";
	return result_more_is_better(load, out) ? "msgs_per_s" : "ns.p50";
}

static bool has_warmup(const struct entry *entry, const struct spec *spec)
{
	static const unsigned without = LOAD_BIT(LOAD_WAKE) |
					LOAD_BIT(LOAD_RECOVER) |
					LOAD_BIT(LOAD_IDLE);

	return !entry->transport->run && !(without & LOAD_BIT(spec->load));
}

static json_t *json_regimes(const struct result *result)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < REGIME_N; i++)
		json_object_set_new(
			object, regime_name(i),
			json_integer((json_int_t)result->regimes[i]));
	return object;
}

static json_t *json_numbers(const double *values, unsigned n)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, real_or_null(values[i]));
	return array;
}

static json_t *json_round_regimes(const struct series *series)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < series->n; i++)
		json_array_append_new(
			array, json_string(regime_name(series->regime[i])));
	return array;
}

/* The lower end of each step that is not empty, and how many are in it. */
static json_t *json_hist(const struct hist *hist)
{
	struct hist_step step;
	json_t *array;

	if (!hist || !hist->n)
		return json_null();
	array = json_array();
	for (unsigned idx = 0; hist_next(hist, &idx, &step);)
		json_array_append_new(array, json_pack("[I, I]",
						       (json_int_t)step.lower,
						       (json_int_t)step.count));
	return array;
}

/* How a row of ours stands to the best rival of all, and to the best of those
 * who offer the same. */
static void add_bests(json_t *row, const struct case_result *results,
		      const struct result *result, const struct result *best)
{
	const struct result *alike = result_best_alike(results, result);
	enum load load = results->bench_case->spec.load;
	double ratio = alike ? result_ratio(load, result, alike) : NAN;
	bool has_alike = isfinite(ratio);

#define SET(key, value) json_object_set_new(row, key, value)
	SET("best_rival",
	    best ? json_string(best->entry->transport->name) : json_null());
	SET("best_rival_sleeps",
	    best ? json_boolean(entry_sleeps(best->entry)) : json_null());
	SET("best_rival_bursts",
	    best ? json_boolean(entry_bursts(best->entry)) : json_null());
	SET("ratio_alike", real_or_null(ratio));
	SET("best_alike", has_alike ? json_string(alike->entry->transport->name)
				    : json_null());
#undef SET
}

/* How ours stands, and in a rival's row the first of ours to it.  A floor is
 * only compared with the first. */
static void add_ratios(json_t *row, const struct case_result *results,
		       const struct result *result)
{
	enum load load = results->bench_case->spec.load;
	const struct result *first = result_first(results);
	const struct result *best = result_best_rival(results);
	bool ours = transport_is_ours(result->entry->transport);
	bool floor = result->entry->transport->floor;
	double ratio = NAN, to_first = NAN;

	if (ours && best)
		ratio = result_ratio(load, result, best);
	else if (!ours && !floor)
		ratio = result_ratio(load, first, result);
	if ((ours || floor) && result != first)
		to_first = result_ratio(load, result, first);
	json_object_set_new(row, "ours", json_boolean(ours));
	json_object_set_new(row, "floor", json_boolean(floor));
	json_object_set_new(row, "sleeps",
			    json_boolean(entry_sleeps(result->entry)));
	json_object_set_new(row, "bursts",
			    json_boolean(entry_bursts(result->entry)));
	json_object_set_new(row, "ratio", real_or_null(ratio));
	add_bests(row, results, result, ours && isfinite(ratio) ? best : NULL);
	json_object_set_new(row, "ratio_to_first", real_or_null(to_first));
}

/* What is more than a line of a table holds. */
static void add_series(json_t *row, const struct result *result)
{
	const struct series *series = &result->series;

#define SET(key, value) json_object_set_new(row, key, value)
	SET("values", json_numbers(series->value, series->n));
	SET("pingpongs", json_numbers(series->pingpong_ns, series->n));
	SET("round_regimes", json_round_regimes(series));
	SET("hist", json_hist(series_hist(series, result->regime)));
	json_object_set(row, "env", the_env);
#undef SET
}

/* The order of these three is that of the fields, in CSV as well; what does not
 * apply is null. */
static void add_parameters(json_t *row, const struct bench_case *bench_case,
			   const struct result *result, const struct spec *spec)
{
	static const unsigned batched =
		LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC);
	const struct entry *entry = result->entry;
	const struct outcome *out = &result->median;
	const struct sweep *sweep = &bench_case->sweep;
	bool one_way = !spec->workers, is_pool = spec->load == LOAD_POOL;
	bool has_batch = LOAD_BIT(spec->load) & batched ||
			 (spec->load == LOAD_FARM && entry->batch > 1);

#define SET(key, value) json_object_set_new(row, key, value)
	SET("schema", json_integer(ROW_SCHEMA));
	SET("workload", json_string(load_names[spec->load]));
	SET("case", json_string(bench_case->title));
	SET("sweep", sweep->name ? json_string(sweep->name) : json_null());
	SET("sweep_value", json_sweep_value(sweep));
	SET("transport", json_string(entry->transport->name));
	SET("status", json_string(status_names[out->status]));
	SET("why", out->status ? json_string(out->why) : json_null());
	SET("asked", json_boolean(!entry->unasked));
	SET("bytes", json_integer((json_int_t)spec->bytes));
	SET("producers", count_or_null(one_way ? spec->producers : 0));
	SET("consumers", count_or_null(one_way ? spec->consumers : 0));
	SET("workers", count_or_null(spec->workers));
	SET("batch", count_or_null(has_batch ? entry->batch : 0));
	SET("inflight", count_or_null(inflight(spec)));
	SET("slots", count_or_null(slots(entry, spec)));
	SET("method",
	    is_pool ? json_string(method_names[spec->method]) : json_null());
	SET("chunk", json_chunk(spec));
	SET("items", count_or_null(is_pool ? spec->items : 0));
	SET("by", spec->load != LOAD_STREAM ? json_null()
		  : spec->loan              ? json_string("loan")
					    : json_string("copy"));
	SET("wait", json_string(how_it_waits(entry)));
	SET("pinned", json_boolean(spec->pin));
	SET("runs", json_integer(result->runs));
	SET("regime", json_string(regime_name(result->regime)));
	SET("regimes", json_regimes(result));
	SET("warmup_seconds",
	    real_or_null(has_warmup(entry, spec) ? spec->warm_seconds : NAN));
#undef SET
}

/* Throughput and latencies of the round in the middle. */
static void add_figures(json_t *row, const struct result *result,
			const struct spec *spec)
{
	const struct outcome *out = &result->median;
	bool more = result_more_is_better(spec->load, out);
	bool recover = spec->load == LOAD_RECOVER;

#define SET(key, value) json_object_set_new(row, key, value)
	SET("seconds", real_or_null(result->runs ? out->seconds : NAN));
	SET("messages", result->runs ? json_integer((json_int_t)out->messages)
				     : json_null());
	SET("msgs_per_s", real_or_null(rate(spec->load, out)));
	SET("best_msgs_per_s",
	    real_or_null(result->runs && more ? result->best : NAN));
	SET("loop", json_loop(spec));
	SET("rate", real_or_null(spec->rate > 0 ? spec->rate : NAN));
	SET("sent_per_s", real_or_null(out->sent_per_s));
	SET("ns", json_ns(&out->ns, out->has_ns));
	SET("again_ns", json_ns(&out->again_ns, out->has_ns && recover));
	SET("best_p50_ns",
	    real_or_null(result->runs && out->has_ns && !more ? result->best
							      : NAN));
	SET("figure", json_string(figure(spec->load, out)));
	SET("ci_low", real_or_null(result->ci_low));
	SET("ci_high", real_or_null(result->ci_high));
#undef SET
}

/* What it cost, and whether all came. */
static void add_counts(json_t *row, const struct result *result,
		       const struct spec *spec)
{
	const struct outcome *out = &result->median;

#define SET(key, value) json_object_set_new(row, key, value)
	SET("fairness", json_fairness(&out->fairness));
	SET("kills_per_s",
	    real_or_null(spec->kills_per_s > 0 ? spec->kills_per_s : NAN));
	SET("deaths", chaos_count(spec, out, out->deaths));
	SET("again", chaos_count(spec, out, out->again));
	SET("cpu_ns_per_msg", real_or_null(per_message(out, out->cpu_ns)));
	SET("switches_per_msg", real_or_null(outcome_switches(out)));
	SET("wakeups_per_msg", real_or_null(per_message(out, out->sleeps)));
	SET("syscalls_per_msg", real_or_null(result->syscalls));
	SET("cpu_percent", real_or_null(out->cpu_percent));
	SET("lost", json_integer((json_int_t)result->lost));
	SET("dup", json_integer((json_int_t)result->dup));
	SET("disorder", json_integer((json_int_t)result->disorder));
	SET("wrong", json_integer((json_int_t)result->wrong));
#undef SET
}

static json_t *json_row(const struct case_result *results,
			const struct result *result,
			const struct warnings *warnings)
{
	const struct spec spec = plan_spec(results->bench_case, result->entry);
	const struct outcome *out = &result->median;
	double pingpong_ns = isnan(out->pingpong_ns) ? results->pingpong_before
						     : out->pingpong_ns;
	json_t *row = json_object();

	add_parameters(row, results->bench_case, result, &spec);
	add_figures(row, result, &spec);
	add_counts(row, result, &spec);
	json_object_set_new(row, "pingpong_ns", real_or_null(pingpong_ns));
	json_object_set_new(row, "pingpong_after_ns",
			    real_or_null(out->pingpong_after_ns));
	json_object_set_new(row, "warnings", json_warnings(warnings));
	add_ratios(row, results, result);
	add_series(row, result);
	return row;
}

static void json_print(json_t *row)
{
	json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
	putchar('\n');
	fflush(stdout);
}

/* CSV: the same fields, those of ns with their names before them, without
 * lists ---------------------------------------------------------------------
 */

static bool is_in_csv(const char *key)
{
	static const char *const lists[] = { "warnings",  "values",
					     "pingpongs", "round_regimes",
					     "hist",      "env" };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (!strcmp(key, lists[i]))
			return false;
	return true;
}

static void csv_value(const json_t *value)
{
	if (json_is_string(value)) {
		const char *text = json_string_value(value);

		putchar('"');
		for (; *text; text++) {
			if (*text == '"')
				putchar('"');
			putchar(*text);
		}
		putchar('"');
	} else if (json_is_boolean(value)) {
		fputs(json_is_true(value) ? "true" : "false", stdout);
	} else if (json_is_integer(value)) {
		printf("%lld", (long long)json_integer_value(value));
	} else if (json_is_real(value)) {
		printf("%.7g", json_real_value(value));
	}
}

/* Objects and what they have.  They have all their columns also when they are
 * null, so that all rows have the same. */
static const struct {
	const char *name;
	const char *members[8];
} objects[] = {
	{ "ns", { "min", "p50", "p90", "p99", "p999", "max" } },
	{ "again_ns", { "min", "p50", "p90", "p99", "p999", "max" } },
	{ "fairness", { "workers", "min", "mean", "max", "stddev" } },
	{ "regimes", { "near", "far", "mixed", "unknown" } },
};

static const char *const *members_of(const char *key)
{
	static const char *const none[] = { NULL };

	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		if (!strcmp(key, objects[i].name))
			return objects[i].members;
	return none;
}

/* Its names (@names) or its values. */
static void csv_line(json_t *row, bool names)
{
	const char *key, *comma = "";
	json_t *value;

	json_object_foreach(row, key, value) {
		const char *const *member = members_of(key);

		if (!is_in_csv(key))
			continue;
		do {
			json_t *one = *member ? json_object_get(value, *member)
					      : value;

			fputs(comma, stdout);
			comma = ",";
			if (!names)
				csv_value(one);
			else
				printf("%s%s%s", key, *member ? "_" : "",
				       *member ? *member : "");
		} while (*member && *++member);
	}
	putchar('\n');
	fflush(stdout);
}

/* All formats -------------------------------------------------------------- */

static json_t *json_rows(const struct case_result *results,
			 const struct warnings *warnings)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < results->n; i++)
		json_array_append_new(
			rows, json_row(results, &results->result[i], warnings));
	return rows;
}

static void csv_rows(json_t *rows)
{
	static bool header_printed;
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (!header_printed)
			csv_line(row, true);
		header_printed = true;
		csv_line(row, false);
	}
}

/* Absent rivals and warnings do not belong on a standard output that is read
 * by programs. */
static void tell(const struct case_result *results,
		 const struct warnings *warnings)
{
	const struct bench_case *bench_case = results->bench_case;
	const char *load = load_names[bench_case->spec.load];

	for (unsigned i = 0; i < results->n; i++) {
		const struct result *result = &results->result[i];
		const struct outcome *out = &result->median;

		if (out->status != OUTCOME_OK && !result->entry->unasked)
			fprintf(stderr, "busbench: %s %s: %s %s: %s\n", load,
				bench_case->title,
				result->entry->transport->name,
				status_names[out->status], out->why);
	}
	for (unsigned i = 0; i < warnings->n; i++)
		fprintf(stderr, "busbench: %s %s: %s\n", load,
			bench_case->title, warnings->text[i]);
}

void report_begin(enum format format, const struct env *env, int argc,
		  char **argv)
{
	/* A row a write(): who kills us finds a file of whole rows. */
	if (format == FORMAT_JSON)
		setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	the_env = env_json(env, argc, argv);
	standings_open(&standings);
	if (format == FORMAT_TEXT)
		report_text_begin(the_env);
	else if (format == FORMAT_MD)
		report_md_begin(the_env);
}

static void print_rows(enum format format, const struct case_result *results,
		       json_t *rows, const struct warnings *warnings)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		standings_add(&standings, row);
	switch (format) {
	case FORMAT_TEXT:
		report_text_case(results, rows, warnings);
		break;
	case FORMAT_MD:
		report_md_case(results, rows, warnings);
		break;
	case FORMAT_CSV:
		csv_rows(rows);
		break;
	case FORMAT_JSON:
		json_array_foreach(rows, i, row)
			json_print(row);
		break;
	}
}

void report_case(enum format format, const struct case_result *results)
{
	struct warnings warnings;
	json_t *rows;

	report_warnings(results, &warnings);
	rows = json_rows(results, &warnings);
	print_rows(format, results, rows, &warnings);
	json_decref(rows);
	if (format == FORMAT_JSON || format == FORMAT_CSV)
		tell(results, &warnings);
}

void report_end(enum format format)
{
	char text[240];

	if (format == FORMAT_TEXT)
		report_text_end();
	else if (format == FORMAT_MD)
		report_md_end();
	else if (standings_absent(&standings, text, sizeof(text)))
		fprintf(stderr, "busbench: %s\n", text);
	standings_close(&standings);
	json_decref(the_env);
	the_env = NULL;
}
