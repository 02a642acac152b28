/*
 * row.c - a row of results as it stands in a result file
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/row.h"

/* All that says what is measured.  A field that a row does not have is the
 * same as null, so that files from before it was invented can be compared. */
static const char *const parameters[] = {
	"workload",    "case",      "sweep",     "sweep_value", "transport",
	"bytes",       "producers", "consumers", "workers",     "batch",
	"slots",       "inflight",  "method",    "chunk",       "items",
	"by",          "wait",      "pinned",    "loop",        "rate",
	"kills_per_s",
};

#define N_PARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

static const json_t *at(const json_t *row, const char *path)
{
	const char *dot = strchr(path, '.');
	char outer[32];

	if (!dot)
		return json_object_get(row, path);
	snprintf(outer, sizeof(outer), "%.*s", (int)(dot - path), path);
	return json_object_get(json_object_get(row, outer), dot + 1);
}

double row_number(const json_t *row, const char *path)
{
	const json_t *value = at(row, path);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *row_text(const json_t *row, const char *path)
{
	const char *text = json_string_value(at(row, path));

	return text ? text : "";
}

bool row_is(const json_t *row, const char *path)
{
	return json_is_true(at(row, path));
}

enum load row_load(const json_t *row)
{
	const char *name = row_text(row, "workload");
	int load = 0;

	while (load < LOAD_N && strcmp(name, load_names[load]) != 0)
		load++;
	return (enum load)load;
}

bool row_is_asked(const json_t *row)
{
	return !json_is_false(json_object_get(row, "asked"));
}

bool row_is_ok(const json_t *row)
{
	return !strcmp(row_text(row, "status"), "ok");
}

double row_figure(const json_t *row)
{
	const char *path = row_text(row, "figure");

	return *path ? row_number(row, path) : NAN;
}

bool row_more_is_better(const json_t *row)
{
	return !strcmp(row_text(row, "figure"), "msgs_per_s");
}

bool row_add_hist(const json_t *row, struct hist *hist)
{
	const json_t *steps = json_object_get(row, "hist"), *step;
	size_t i;

	json_array_foreach(steps, i, step) {
		json_int_t ns = json_integer_value(json_array_get(step, 0));
		json_int_t n = json_integer_value(json_array_get(step, 1));

		if (ns >= 0 && n > 0)
			hist_add_many(hist, (uint64_t)ns, (uint64_t)n);
	}
	return json_array_size(steps) > 0;
}

static bool is_among(const char *name, const char *const *names)
{
	for (; names && *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

char *row_key(const json_t *row, const char *const *without)
{
	json_t *key = json_array();
	char *text;

	for (size_t i = 0; i < N_PARAMETERS; i++) {
		json_t *value = json_object_get(row, parameters[i]);

		if (is_among(parameters[i], without))
			continue;
		json_array_append_new(key,
				      value ? json_incref(value) : json_null());
	}
	text = json_dumps(key, JSON_COMPACT);
	json_decref(key);
	return text;
}

void row_name(const json_t *row, char *buf, size_t size)
{
	double batch = row_number(row, "batch");
	char times[24] = "";

	if (batch > 1)
		snprintf(times, sizeof(times), " x%.0f", batch);
	snprintf(buf, size, "%s%s%s: %s%s", row_text(row, "workload"),
		 *row_text(row, "case") ? " " : "", row_text(row, "case"),
		 row_text(row, "transport"), times);
}

/* Files -------------------------------------------------------------------- */

static const char how_to_make_one[] =
	"make one with: busbench --format json >FILE";

static int complain(const char *path, unsigned line, const char *what,
		    const char *remedy)
{
	fprintf(stderr, "busbench: %s:%u: %s; %s\n", path, line, what, remedy);
	return -1;
}

static int check(const char *path, unsigned line, const json_t *row)
{
	double schema = row_number(row, "schema");
	char what[80];

	if (!json_is_object(row) || isnan(schema) ||
	    !*row_text(row, "workload") || !*row_text(row, "transport"))
		return complain(path, line, "this is no row of busbench",
				how_to_make_one);
	if (schema == ROW_SCHEMA)
		return 0;
	snprintf(what, sizeof(what), "schema %.0f, but this busbench reads %d",
		 schema, ROW_SCHEMA);
	return complain(path, line, what,
			schema < ROW_SCHEMA
				? "measure again"
				: "take the busbench that wrote it");
}

static int read_line(const char *path, unsigned line, const char *text,
		     size_t len, json_t *rows)
{
	json_error_t error;
	json_t *row = json_loadb(text, len, 0, &error);
	char what[JSON_ERROR_TEXT_LENGTH + 40];

	if (!row) {
		snprintf(what, sizeof(what), "this is not JSON (%s, column %d)",
			 error.text, error.column);
		return complain(path, line, what,
				"each line is to be an object, as busbench "
				"--format json prints them");
	}
	if (check(path, line, row) < 0) {
		json_decref(row);
		return -1;
	}
	return json_array_append_new(rows, row);
}

static int read_lines(const char *path, FILE *f, json_t *rows)
{
	size_t before = json_array_size(rows), size = 0;
	char *text = NULL;
	ssize_t len;
	int ret = 0;

	for (unsigned line = 1;
	     ret == 0 && (len = getline(&text, &size, f)) > 0; line++)
		if (strspn(text, " \t\r\n") < (size_t)len)
			ret = read_line(path, line, text, (size_t)len, rows);
	free(text);
	if (ret == 0 && ferror(f)) {
		fprintf(stderr, "busbench: cannot read '%s': %s\n", path,
			strerror(errno));
		return -1;
	}
	if (ret == 0 && json_array_size(rows) == before) {
		fprintf(stderr, "busbench: '%s' has no rows; %s\n", path,
			how_to_make_one);
		return -1;
	}
	return ret;
}

int rows_read(const char *path, json_t *rows)
{
	bool is_stdin = !strcmp(path, "-");
	FILE *f = is_stdin ? stdin : fopen(path, "re");
	int ret;

	if (!f) {
		fprintf(stderr, "busbench: cannot open '%s': %s; %s\n", path,
			strerror(errno), how_to_make_one);
		return -1;
	}
	ret = read_lines(is_stdin ? "standard input" : path, f, rows);
	if (!is_stdin)
		fclose(f);
	return ret;
}
