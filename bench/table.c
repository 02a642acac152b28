/*
 * table.c - what stands in the tables: of the terminal, of Markdown, of HTML
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/table.h"
#include "tools/units.h"

static void span(char *buf, size_t size, const json_t *row, const char *path)
{
	units_span(buf, size, row_number(row, path));
}

static void count(char *buf, size_t size, const json_t *row, const char *path)
{
	units_count(buf, size, row_number(row, path));
}

static void whole(char *buf, size_t size, const json_t *row, const char *path)
{
	snprintf(buf, size, "%.0f", row_number(row, path));
}

static void percent(char *buf, size_t size, const json_t *row, const char *path)
{
	snprintf(buf, size, "%.4f%%", row_number(row, path));
}

/* In ping-pongs of a cache line, the least that a round trip can cost. */
static void trips(char *buf, size_t size, const json_t *row, const char *path)
{
	double pingpong = row_number(row, "pingpong_ns");

	if (pingpong > 0)
		snprintf(buf, size, "%.2f", row_number(row, path) / pingpong);
	else
		snprintf(buf, size, "-");
}

static void gigabytes(char *buf, size_t size, const json_t *row,
		      const char *path)
{
	double value = row_number(row, path) * row_number(row, "bytes") / 1e9;

	if (!isfinite(value))
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%.*f",
			 value < 0.995  ? 3
			 : value < 9.95 ? 2
					: 1,
			 value);
}

/* 0, 0.0031, 0.25, 2.0, 310 */
static void small(char *buf, size_t size, const json_t *row, const char *path)
{
	double value = row_number(row, path);

	if (value >= 9.95)
		snprintf(buf, size, "%.0f", value);
	else if (value >= 0.995)
		snprintf(buf, size, "%.1f", value);
	else if (value >= 0.00005)
		snprintf(buf, size, "%.*f", value < 0.00995 ? 4 : 2, value);
	else
		snprintf(buf, size, "0");
}

/* Half the interval in which the median lies, in percent of it. */
static void interval(char *buf, size_t size, const json_t *row,
		     const char *path)
{
	double half = (row_number(row, "ci_high") - row_number(row, path)) /
		      (2 * row_figure(row));

	if (isfinite(half))
		snprintf(buf, size, "%.*f%%", half < 0.0995 ? 1 : 0,
			 100 * half);
	else
		snprintf(buf, size, "-");
}

/* clang-format off */
#define LATENCIES                                                             \
	{ "min", 9, "ns.min", span },                                          \
	{ "p50", 9, "ns.p50", span },                                          \
	{ "p90", 9, "ns.p90", span },                                          \
	{ "p99", 9, "ns.p99", span },                                          \
	{ "p99.9", 9, "ns.p999", span },                                       \
	{ "max", 9, "ns.max", span }

static const struct column rtt[] = {
	LATENCIES,
	{ "p50/pp", 7, "ns.p50", trips },
};

static const struct column wake[] = { LATENCIES };

static const struct column idle[] = {
	{ "cpu", 9, "cpu_percent", percent },
};

static const struct column recover[] = {
	{ "kills", 7, "messages", whole },
	{ "again p50", 9, "again_ns.p50", span },
	{ "p99", 9, "again_ns.p99", span },
	{ "max", 9, "again_ns.max", span },
	{ "done p50", 9, "ns.p50", span },
	{ "p99", 9, "ns.p99", span },
	{ "max", 9, "ns.max", span },
};

static const struct column pool[] = {
	{ "tasks", 9, "messages", whole },
	{ "tasks/s", 9, "msgs_per_s", count },
	{ "best/s", 9, "best_msgs_per_s", count },
	{ "cpu/task", 9, "cpu_ns_per_msg", span },
	{ "p50", 9, "ns.p50", span },
	{ "p99", 9, "ns.p99", span },
};

static const struct column farm[] = {
	{ "messages/s", 10, "msgs_per_s", count },
	{ "best/s", 9, "best_msgs_per_s", count },
	{ "cpu/msg", 9, "cpu_ns_per_msg", span },
	{ "p50", 9, "ns.p50", span },
	{ "p99", 9, "ns.p99", span },
};

static const struct column stream[] = {
	{ "messages/s", 10, "msgs_per_s", count },
	{ "best/s", 9, "best_msgs_per_s", count },
	{ "cpu/msg", 9, "cpu_ns_per_msg", span },
	{ "GB/s", 8, "msgs_per_s", gigabytes },
};

/* Of an open loop: how many they were, and how late. */
static const struct column open_loop[] = {
	{ "messages/s", 10, "msgs_per_s", count },
	LATENCIES,
};

/* Where a row has them. */
static const struct column extras[] = {
	{ "+-95%", 7, "ci_low", interval },
	{ "switches", 9, "switches_per_msg", small },
	{ "syscalls", 9, "syscalls_per_msg", small },
};

#define TABLE(list, about) { list, sizeof(list) / sizeof(list[0]), about }

static const struct {
	const struct column *columns;
	unsigned n;
	const char *about;
} tables[LOAD_N] = {
	[LOAD_RTT] = TABLE(rtt,
		"round trip of one request: two numbers there, their product "
		"back"),
	[LOAD_STREAM] = TABLE(stream,
		"one writer, one reader, every byte written and compared"),
	[LOAD_DUPLEX] = TABLE(stream,
		"two processes that both send and receive; both directions "
		"together"),
	[LOAD_MPMC] = TABLE(stream,
		"writers x readers on one queue; 8 bytes if not said"),
	[LOAD_FARM] = TABLE(farm,
		"a coordinator with many requests outstanding to workers; "
		"latency: submit to collect"),
	[LOAD_POOL] = TABLE(pool,
		"tasks to a pool of workers (method/chunk x workers); latency: "
		"hand over to result"),
	[LOAD_WAKE] = TABLE(wake,
		"one message to a receiver that has been idle for 15 ms"),
	[LOAD_RECOVER] = TABLE(recover,
		"a worker is killed in the middle of a request; from SIGKILL "
		"on"),
	[LOAD_IDLE] = TABLE(idle,
		"processor time of a process that waits"),
};

/* clang-format on */

static void add_columns(struct columns *columns, const struct column *list,
			unsigned n)
{
	for (unsigned i = 0; i < n && columns->n < MAX_COLUMNS; i++)
		columns->column[columns->n++] = list[i];
}

static bool any_has(const json_t *rows, const char *path)
{
	json_t *row;
	bool has = false;
	size_t i;

	json_array_foreach(rows, i, row)
		has |= !isnan(row_number(row, path));
	return has;
}

void table_columns(struct columns *columns, const json_t *rows)
{
	const json_t *row = json_array_get(rows, 0);
	enum load load = row_load(row);
	bool is_open = !strcmp(row_text(row, "loop"), "open");

	columns->n = 0;
	if (is_open && load != LOAD_RTT)
		add_columns(columns, open_loop,
			    sizeof(open_loop) / sizeof(open_loop[0]));
	else
		add_columns(columns, tables[load].columns, tables[load].n);
	if (load == LOAD_IDLE || load == LOAD_RECOVER)
		return;
	for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++)
		if (any_has(rows, extras[i].path))
			add_columns(columns, &extras[i], 1);
}

const char *table_about(enum load load)
{
	return tables[load].about;
}

void table_loop(char *buf, size_t size, const json_t *row)
{
	double kills = row_number(row, "kills_per_s");
	const char *loop = row_text(row, "loop");
	double rate = row_number(row, "rate");

	if (kills > 0)
		snprintf(buf, size,
			 "; killed at random, %.0f/s, and without rivals",
			 kills);
	else if (!strcmp(loop, "open") &&
		 !strcmp(row_text(row, "sweep"), "rate"))
		snprintf(buf, size, "; open loop, from the intended time on");
	else if (!strcmp(loop, "open"))
		snprintf(buf, size,
			 "; open loop, %.0f/s, from the intended time on",
			 rate);
	else
		snprintf(buf, size, "%s%s%s", *loop ? "; " : "", loop,
			 *loop ? " loop" : "");
}

/* Who did most did more than half as much again as who did least. */
#define UNFAIR 1.5

static bool fairness(char *buf, size_t size, const json_t *row)
{
	double n = row_number(row, "fairness.workers");
	double min = row_number(row, "fairness.min");
	double max = row_number(row, "fairness.max");
	double mean = row_number(row, "fairness.mean");

	if (!(n >= 2) || !(mean > 0) || max < UNFAIR * min)
		return false;
	snprintf(buf, size,
		 "of %.0f, the busiest had %.0f%% of the messages, the least "
		 "busy %.0f%% (standard deviation %.0f%% of the mean)",
		 n, 100 * max / mean / n, 100 * min / mean / n,
		 100 * row_number(row, "fairness.stddev") / mean);
	return true;
}

bool table_remark(char *buf, size_t size, const json_t *row)
{
	if (!row_is_ok(row))
		return false;
	if (!(row_number(row, "kills_per_s") > 0))
		return fairness(buf, size, row);
	snprintf(buf, size,
		 "%.0f killed, %.0f messages done by another then; of all "
		 "rounds %.0f lost, %.0f twice",
		 row_number(row, "deaths"), row_number(row, "again"),
		 row_number(row, "lost"), row_number(row, "dup"));
	return true;
}

void column_cell(const struct column *column, char *buf, size_t size,
		 const json_t *row)
{
	if (isnan(row_number(row, column->path)))
		snprintf(buf, size, "-");
	else
		column->cell(buf, size, row, column->path);
}

void table_wait(char *buf, size_t size, const json_t *row)
{
	double batch = row_number(row, "batch");

	if (batch > 1)
		snprintf(buf, size, "x%.0f", batch);
	else
		snprintf(buf, size, "%s", row_text(row, "wait"));
}

void table_why(char *buf, size_t size, const json_t *row)
{
	const char *status = row_text(row, "status");

	snprintf(buf, size, "%s: %s",
		 !strcmp(status, "hung")     ? "HUNG"
		 : !strcmp(status, "failed") ? "FAILED"
					     : status,
		 row_text(row, "why"));
}

/* As it is printed, with two digits behind the point. */
enum standing standing_of(double ratio)
{
	if (isnan(ratio))
		return STANDING_NONE;
	return ratio < 0.995    ? STANDING_BEHIND
	       : ratio >= 1.005 ? STANDING_AHEAD
				: STANDING_LEVEL;
}

/* A file from before there were two bests has only that of all. */
static bool has_alike(const json_t *row)
{
	return json_is_boolean(json_object_get(row, "sleeps"));
}

double table_figure(const json_t *row)
{
	return row_number(row, row_is(row, "ours") && has_alike(row)
				       ? "ratio_alike"
				       : "ratio");
}

enum standing table_standing(const json_t *row)
{
	return row_is(row, "ours") ? standing_of(table_figure(row))
				   : STANDING_NONE;
}

enum standing table_also_standing(const json_t *row)
{
	if (!row_is(row, "ours") || !has_alike(row) ||
	    !strcmp(row_text(row, "best_rival"), row_text(row, "best_alike")))
		return STANDING_NONE;
	return standing_of(row_number(row, "ratio"));
}

const char *table_unlike(const json_t *row)
{
	bool awake = row_is(row, "sleeps") && !row_is(row, "best_rival_sleeps");
	bool bursts =
		row_is(row, "best_rival_bursts") && !row_is(row, "bursts");

	return awake && bursts ? " (never sleeps, sends in bursts)"
	       : awake         ? " (never sleeps)"
	       : bursts        ? " (sends in bursts)"
			       : "";
}

static int print_standing(char *buf, size_t size, enum standing standing,
			  double ratio, const char *rival)
{
	static const char *const words[] = {
		[STANDING_AHEAD] = "ahead of",
		[STANDING_LEVEL] = "level with",
		[STANDING_BEHIND] = "BEHIND",
	};
	char times[24];

	units_times(times, sizeof(times), ratio);
	return snprintf(buf, size, "%s %s %s", times, words[standing], rival);
}

void table_ratio(char *buf, size_t size, const json_t *row)
{
	enum standing standing = table_standing(row);
	double first = row_number(row, "ratio_to_first");
	const char *alike = row_text(row, "best_alike");
	char times[24];
	int len = 0;

	units_times(times, sizeof(times), table_figure(row));
	if (row_is(row, "floor"))
		len = snprintf(buf, size, "the floor, no rival");
	else if (table_also_standing(row) && !*alike)
		len = snprintf(buf, size, "no rival of like use");
	else if (standing == STANDING_NONE)
		len = snprintf(buf, size, "%s", times);
	else
		len = print_standing(buf, size, standing, table_figure(row),
				     *alike ? alike
					    : row_text(row, "best_rival"));
	if (isnan(first) || len < 0 || (size_t)len >= size)
		return;
	units_times(times, sizeof(times), first);
	snprintf(buf + len, size - (size_t)len, "; %s the first row", times);
}

bool table_also(char *buf, size_t size, const json_t *row)
{
	enum standing standing = table_also_standing(row);
	int len;

	if (standing == STANDING_NONE)
		return false;
	len = print_standing(buf, size, standing, row_number(row, "ratio"),
			     row_text(row, "best_rival"));
	if (len >= 0 && (size_t)len < size)
		snprintf(buf + len, size - (size_t)len, "%s",
			 table_unlike(row));
	return true;
}
