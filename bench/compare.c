/*
 * compare.c - busbench compare OLD NEW: which rows became faster or slower
 *
 * Reading, matching and printing; verdict.c decides, limit.c knows --fail-if.
 */
#include "config.h"

#include <argp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arg.h"
#include "tools/colour.h"
#include "bench/commands.h"
#include "bench/limit.h"
#include "bench/row.h"
#include "bench/stats.h"
#include "bench/verdict.h"
#include "tools/units.h"

#define MAX_LIMITS 64

#define EXIT_LIMIT 1
#define EXIT_USAGE 2

enum style { STYLE_TEXT, STYLE_JSON, STYLE_MD };

static const char *const style_names[] = { "text", "json", "md" };

struct compare {
	const char *path[2]; /* old, new */
	unsigned n_paths;
	enum style style;
	struct verdict_rules rules;
	struct limit limit[MAX_LIMITS];
	unsigned n_limits;

	json_t *rows[2];
	json_t *by_key[2]; /* row_key() to an array of rows */
	unsigned n_of[VERDICT_N];
	unsigned n_failed; /* limits that are true, of a row each */

	/* Rivals are the same program in both: what happened to them is the
	 * machine's doing. */
	unsigned n_rivals;
	double *rival_ratio;
};

/* Options ------------------------------------------------------------------ */

enum key {
	KEY_FORMAT = 256,
	KEY_NORMALISE,
	KEY_ALPHA,
	KEY_TOLERANCE,
	KEY_FAIL
};

static const struct argp_option option_table[] = {
	{ "fail-if", KEY_FAIL, "EXPR", 0,
	  "exit with 1 if it is true for a row, such as 'slower>5%', "
	  "'rtt:p99>50us', 'farm/shmbus:msgs_per_s<1M', 'missing>0'; may be "
	  "given again",
	  0 },
	{ "format", KEY_FORMAT, "FORMAT", 0, "text, json or md", 0 },
	{ "normalise", KEY_NORMALISE, NULL, 0,
	  "count in ping-pongs of a cache line, so that near and far can be "
	  "compared",
	  0 },
	{ "alpha", KEY_ALPHA, "P", 0,
	  "the p below which a difference is one (default 0.05)", 0 },
	{ "tolerance", KEY_TOLERANCE, "PERCENT", 0,
	  "what is closer is the same, whatever p (default 2)", 0 },
	{ NULL, 0, NULL, 0, NULL, 0 }
};

static void add_limit(struct argp_state *state, struct compare *compare,
		      const char *text)
{
	char why[240];

	if (compare->n_limits == MAX_LIMITS)
		argp_error(state, "--fail-if can be given %d times",
			   MAX_LIMITS);
	if (limit_parse(&compare->limit[compare->n_limits++], text, why,
			sizeof(why)) < 0)
		argp_error(state, "--fail-if '%s': %s", text, why);
}

static void check_paths(struct argp_state *state, const struct compare *compare)
{
	if (compare->n_paths < 2)
		argp_error(state, "two result files are needed, OLD and NEW");
	if (!strcmp(compare->path[0], "-") && !strcmp(compare->path[1], "-"))
		argp_error(state, "only one of OLD and NEW can be -, standard "
				  "input");
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	struct compare *compare = state->input;

	switch (key) {
	case KEY_FORMAT:
		compare->style = (enum style)ARG_CHOICE(state, "format", arg,
							style_names);
		break;
	case KEY_NORMALISE:
		compare->rules.normalise = true;
		break;
	case KEY_ALPHA:
		compare->rules.alpha =
			arg_real(state, "alpha", arg, 1e-9, 0.5, "number");
		break;
	case KEY_TOLERANCE:
		compare->rules.tolerance =
			arg_real(state, "tolerance", arg, 0, 100, "number") /
			100;
		break;
	case KEY_FAIL:
		add_limit(state, compare, arg);
		break;
	case ARGP_KEY_ARG:
		if (compare->n_paths == 2)
			argp_error(state,
				   "'%s' is too many; there are OLD and NEW",
				   arg);
		compare->path[compare->n_paths++] = arg;
		break;
	case ARGP_KEY_END:
		check_paths(state, compare);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void parse(struct compare *compare, int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_one,
		.args_doc = "OLD NEW",
		.doc = "Compares two result files, as busbench --format json "
		       "prints them, row by row; - is standard input.  A row "
		       "became faster or slower if the rounds of both say so: "
		       "Mann and Whitney's U test, five --runs or more."
		       "\vExit status: 0; 1 when a --fail-if is true; 2 for a "
		       "usage error or a file that cannot be read.",
	};

	*compare = (struct compare){ .rules = { .alpha = 0.05,
						.tolerance = 0.02 } };
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, compare);
}

/* Matching ----------------------------------------------------------------- */

static int sort_by_key(json_t *rows, json_t *by_key)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		json_t *alike;
		char *key;

		if (!row_is_asked(row))
			continue;
		key = row_key(row, NULL);
		if (!key)
			return -1;
		alike = json_object_get(by_key, key);
		if (!alike) {
			alike = json_array();
			json_object_set_new(by_key, key, alike);
		}
		json_array_append(alike, row);
		free(key);
	}
	return 0;
}

static int read_both(struct compare *compare)
{
	for (unsigned i = 0; i < 2; i++) {
		compare->rows[i] = json_array();
		compare->by_key[i] = json_object();
		if (rows_read(compare->path[i], compare->rows[i]) < 0 ||
		    sort_by_key(compare->rows[i], compare->by_key[i]) < 0)
			return -1;
	}
	compare->rival_ratio = calloc(json_object_size(compare->by_key[1]),
				      sizeof(*compare->rival_ratio));
	return compare->rival_ratio ? 0 : -1;
}

static void free_both(struct compare *compare)
{
	for (unsigned i = 0; i < 2; i++) {
		json_decref(compare->by_key[i]);
		json_decref(compare->rows[i]);
	}
	free(compare->rival_ratio);
}

/* Printing ----------------------------------------------------------------- */

/* 277 ns, 4.25 M/s, 0.2 %; with --normalise ping-pongs, and messages in one */
static void value_text(char *buf, size_t size, const json_t *row, double value,
		       bool normalise)
{
	char count[24];

	if (isnan(value)) {
		snprintf(buf, size, "-");
	} else if (row_load(row) == LOAD_IDLE) {
		snprintf(buf, size, "%.3f%%", value);
	} else if (row_more_is_better(row)) {
		units_count(count, sizeof(count), value);
		snprintf(buf, size, "%s/%s", count, normalise ? "pp" : "s");
	} else if (normalise) {
		snprintf(buf, size, "%.3g pp", value);
	} else {
		units_span(buf, size, value);
	}
}

struct texts {
	char old_value[32], new_value[32], ratio[24], interval[40], p[16];
	char verdict[240];
};

static void make_texts(struct texts *texts, const json_t *row,
		       const struct comparison *comparison, bool normalise)
{
	char low[16], high[16];

	value_text(texts->old_value, sizeof(texts->old_value), row,
		   comparison->old_value, normalise);
	value_text(texts->new_value, sizeof(texts->new_value), row,
		   comparison->new_value, normalise);
	units_times(texts->ratio, sizeof(texts->ratio), comparison->ratio);
	units_times(low, sizeof(low), comparison->low);
	units_times(high, sizeof(high), comparison->high);
	snprintf(texts->interval, sizeof(texts->interval), "%s%s%s", low,
		 isnan(comparison->low) ? "" : " .. ",
		 isnan(comparison->low) ? "" : high);
	if (isnan(comparison->p))
		snprintf(texts->p, sizeof(texts->p), "-");
	else
		snprintf(texts->p, sizeof(texts->p), "%.2g", comparison->p);
	snprintf(texts->verdict, sizeof(texts->verdict), "%s%s%s%s",
		 verdict_names[comparison->verdict],
		 *comparison->why ? " (" : "", comparison->why,
		 *comparison->why ? ")" : "");
}

static void how(char *buf, size_t size, const json_t *row)
{
	double batch = row_number(row, "batch");

	if (batch > 1)
		snprintf(buf, size, "%s x%.0f", row_text(row, "wait"), batch);
	else
		snprintf(buf, size, "%s", row_text(row, "wait"));
}

static const char *colour(enum verdict verdict)
{
	if (!colour_wanted())
		return "";
	return verdict == VERDICT_FASTER   ? COLOUR_GOOD
	       : verdict == VERDICT_SLOWER ? COLOUR_BAD
	       : verdict == VERDICT_SAME   ? ""
					   : COLOUR_DIM;
}

static void print_text(const json_t *row, const struct comparison *comparison,
		       const struct texts *texts)
{
	const char *code = colour(comparison->verdict);
	char wait[40];

	how(wait, sizeof(wait), row);
	printf("%-8s %-18s %-19s %-12s %10s %10s %7s  %-16s %7s  %s%s%s\n",
	       row_text(row, "workload"), row_text(row, "case"),
	       row_text(row, "transport"), wait, texts->old_value,
	       texts->new_value, texts->ratio, texts->interval, texts->p, code,
	       texts->verdict, *code ? COLOUR_PLAIN : "");
}

static void print_md(const json_t *row, const struct texts *texts)
{
	char wait[40];

	how(wait, sizeof(wait), row);
	printf("| %-8s | %-18s | %-19s | %-12s | %10s | %10s | %7s | %-16s | "
	       "%7s | %s |\n",
	       row_text(row, "workload"), row_text(row, "case"),
	       row_text(row, "transport"), wait, texts->old_value,
	       texts->new_value, texts->ratio, texts->interval, texts->p,
	       texts->verdict);
}

static json_t *real_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

/* The parameters of the row, and what was found out. */
static void print_json(const json_t *row, const struct comparison *comparison,
		       bool normalise)
{
	static const char *const same[] = {
		"schema",    "workload",  "case",    "transport", "bytes",
		"producers", "consumers", "workers", "batch",     "inflight",
		"method",    "chunk",     "items",   "by",        "wait",
		"pinned",    "ours",      "figure"
	};
	json_t *object = json_object();

#define SET(key, value) json_object_set_new(object, key, value)
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		json_object_set(object, same[i], json_object_get(row, same[i]));
	SET("in_pingpongs", json_boolean(normalise));
	SET("old", real_or_null(comparison->old_value));
	SET("new", real_or_null(comparison->new_value));
	SET("old_rounds", json_integer(comparison->n_old));
	SET("new_rounds", json_integer(comparison->n_new));
	SET("regime", *comparison->regime ? json_string(comparison->regime)
					  : json_null());
	SET("ratio", real_or_null(comparison->ratio));
	SET("ratio_low", real_or_null(comparison->low));
	SET("ratio_high", real_or_null(comparison->high));
	SET("p", real_or_null(comparison->p));
	SET("verdict", json_string(verdict_names[comparison->verdict]));
	SET("why",
	    *comparison->why ? json_string(comparison->why) : json_null());
#undef SET
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
	putchar('\n');
	json_decref(object);
}

static void print_file(const struct compare *compare, unsigned i)
{
	const json_t *rows = compare->rows[i];
	const json_t *env = json_object_get(json_array_get(rows, 0), "env");
	const char *item = compare->style == STYLE_MD ? "- " : "";

	printf("%s%s: %s, %zu rows; shmbus %s (%s), %s\n", item,
	       i ? "new" : "old", compare->path[i], json_array_size(rows),
	       row_text(env, "version"), row_text(env, "commit"),
	       row_text(env, "date"));
}

/* What else may be the reason. */
static void print_differences(const struct compare *compare)
{
	static const char *const fields[] = { "cpu", "kernel", "container",
					      "governor", "compiler" };
	const json_t *env[2];

	for (unsigned i = 0; i < 2; i++)
		env[i] = json_object_get(json_array_get(compare->rows[i], 0),
					 "env");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char *a = row_text(env[0], fields[i]);
		const char *b = row_text(env[1], fields[i]);

		if (strcmp(a, b) != 0)
			printf("%s the %s differs: '%s' and '%s'\n",
			       compare->style == STYLE_MD ? "-" : "!",
			       fields[i], a, b);
	}
	if (row_number(env[0], "cpus_allowed") !=
	    row_number(env[1], "cpus_allowed"))
		printf("%s processors: %.0f and %.0f\n",
		       compare->style == STYLE_MD ? "-" : "!",
		       row_number(env[0], "cpus_allowed"),
		       row_number(env[1], "cpus_allowed"));
}

static void print_head(const struct compare *compare)
{
	double percent = 100 * (1 - compare->rules.alpha);
	char interval[32];

	if (compare->style == STYLE_JSON)
		return;
	print_file(compare, 0);
	print_file(compare, 1);
	print_differences(compare);
	snprintf(interval, sizeof(interval), "%g %% interval", percent);
	if (compare->style == STYLE_TEXT) {
		printf("\n%-8s %-18s %-19s %-12s %10s %10s %7s  %-16s %7s  "
		       "%s\n",
		       "", "", "transport", "wait", "old", "new", "ratio",
		       interval, "p", "new is");
		return;
	}
	printf("\n| workload | case | transport | wait | old | new | ratio | "
	       "%s | p | new is |\n"
	       "|---|---|---|---|--:|--:|--:|---|--:|---|\n",
	       interval);
}

static void print_one(const struct compare *compare, const json_t *row,
		      const struct comparison *comparison)
{
	struct texts texts;

	make_texts(&texts, row, comparison, compare->rules.normalise);
	switch (compare->style) {
	case STYLE_TEXT:
		print_text(row, comparison, &texts);
		break;
	case STYLE_MD:
		print_md(row, &texts);
		break;
	case STYLE_JSON:
		print_json(row, comparison, compare->rules.normalise);
		break;
	}
}

static void print_rivals(const struct compare *compare)
{
	char times[24];

	if (!compare->n_rivals)
		return;
	units_times(times, sizeof(times),
		    stats_median(compare->rival_ratio, compare->n_rivals));
	printf("Rivals, whose code is the same in both: %s in the middle of %u "
	       "rows.  That much is the machine's.\n",
	       times, compare->n_rivals);
}

/* How many of which; standard output of JSON is for rows alone. */
static void print_sum(const struct compare *compare)
{
	unsigned decided = compare->n_of[VERDICT_SAME] +
			   compare->n_of[VERDICT_FASTER] +
			   compare->n_of[VERDICT_SLOWER];
	const char *comma = "\n";

	if (compare->style == STYLE_JSON)
		return;
	for (int i = 0; i < VERDICT_N; i++) {
		if (!compare->n_of[i])
			continue;
		printf("%s%u %s", comma, compare->n_of[i], verdict_names[i]);
		comma = ", ";
	}
	putchar('\n');
	print_rivals(compare);
	if (decided >= 1 / compare->rules.alpha &&
	    compare->n_of[VERDICT_SAME] < decided)
		printf("Of %u rows about %.0f seem to differ by chance alone "
		       "where nothing does; --alpha makes it fewer.\n",
		       decided, decided * compare->rules.alpha);
}

/* Limits ------------------------------------------------------------------- */

static void check_limits(struct compare *compare, const json_t *row,
			 const struct comparison *comparison)
{
	double percent = 100 * fabs(1 - comparison->ratio), value;
	struct limit_facts facts = {
		.slower = comparison->verdict == VERDICT_SLOWER ? percent : 0,
		.faster = comparison->verdict == VERDICT_FASTER ? percent : 0,
		.ratio = comparison->ratio,
		.p = comparison->p,
		.missing = comparison->verdict == VERDICT_ONLY_OLD,
		.undecided = comparison->verdict == VERDICT_TOO_FEW ||
			     comparison->verdict == VERDICT_REGIMES ||
			     comparison->verdict == VERDICT_NOT_MEASURED,
	};
	char name[160];

	for (unsigned i = 0; i < compare->n_limits; i++) {
		struct limit *limit = &compare->limit[i];

		if (!limit_is_true(limit, row, &facts, &value))
			continue;
		compare->n_failed++;
		row_name(row, name, sizeof(name));
		fprintf(stderr, "busbench: --fail-if '%s': %s (%s) has %.6g\n",
			limit->text, name, row_text(row, "wait"), value);
	}
}

/* A limit that no row can break is a mistake. */
static int check_seen(const struct compare *compare)
{
	int ret = 0;

	for (unsigned i = 0; i < compare->n_limits; i++) {
		const struct limit *limit = &compare->limit[i];

		if (limit->seen)
			continue;
		fprintf(stderr,
			"busbench: --fail-if '%s': no row of workload '%s' and "
			"transport '%s' has '%s'; see FAIL-IF in busbench(1)\n",
			limit->text, limit->workload, limit->transport,
			limit->quantity);
		ret = -1;
	}
	return ret;
}

/* All of it ---------------------------------------------------------------- */

static void compare_rows(struct compare *compare, const json_t *old_rows,
			 const json_t *new_rows)
{
	const json_t *rows = new_rows ? new_rows : old_rows;
	struct comparison comparison;
	json_t *row;
	size_t i;

	verdict_make(&comparison, old_rows, new_rows, &compare->rules);
	compare->n_of[comparison.verdict]++;
	if (isfinite(comparison.ratio) &&
	    !row_is(json_array_get(rows, 0), "ours") &&
	    row_load(json_array_get(rows, 0)) != LOAD_IDLE)
		compare->rival_ratio[compare->n_rivals++] = comparison.ratio;
	print_one(compare, json_array_get(rows, 0), &comparison);
	json_array_foreach(rows, i, row)
		check_limits(compare, row, &comparison);
}

static void compare_all(struct compare *compare)
{
	json_t *rows;
	const char *key;

	json_object_foreach(compare->by_key[1], key, rows)
		compare_rows(compare, json_object_get(compare->by_key[0], key),
			     rows);
	json_object_foreach(compare->by_key[0], key, rows)
		if (!json_object_get(compare->by_key[1], key))
			compare_rows(compare, rows, NULL);
}

int compare_main(int argc, char **argv)
{
	struct compare compare;
	int status = EXIT_USAGE;

	parse(&compare, argc, argv);
	if (read_both(&compare) == 0) {
		print_head(&compare);
		compare_all(&compare);
		print_sum(&compare);
		fflush(stdout);
		status = check_seen(&compare) < 0 ? EXIT_USAGE
			 : compare.n_failed       ? EXIT_LIMIT
						  : EXIT_SUCCESS;
	}
	free_both(&compare);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("busbench: standard output");
		return EXIT_FAILURE;
	}
	return status;
}
