/*
 * figures.c - what is to be drawn of rows of results
 *
 * Rows are sorted into groups that make a figure each, and within it into
 * lines: latencies by workload and case; throughput by all parameters but the
 * one on the axis, and those that only name a competitor.
 */
#include "config.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/row.h"
#include "tools/units.h"

/* Points of a percentile line: one each time x has grown by this factor. */
#define GROWTH 1.02

json_t *figures_colours(const json_t *rows)
{
	json_t *colours = json_object(), *row;
	int n_ours = 0, n_rivals = 0;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *transport = row_text(row, "transport");
		int *n = row_is(row, "ours") ? &n_ours : &n_rivals;

		if (row_is_ok(row) && !json_object_get(colours, transport))
			json_object_set_new(colours, transport,
					    json_integer((*n)++));
	}
	return colours;
}

/* "stream 64 B, loan" to "stream-64-B-loan" */
static json_t *file_name(const char *text)
{
	char name[120];
	size_t n = 0;

	for (; *text && n < sizeof(name) - 1; text++)
		if (isalnum((unsigned char)*text))
			name[n++] = *text;
		else if (n && name[n - 1] != '-')
			name[n++] = '-';
	while (n && name[n - 1] == '-')
		n--;
	return json_stringn(name, n);
}

static json_t *new_figure(const char *title, enum axis x, enum axis y)
{
	json_t *figure = json_object();

	json_object_set_new(figure, "name", file_name(title));
	json_object_set_new(figure, "title", json_string(title));
	json_object_set_new(figure, "x", json_integer(x));
	json_object_set_new(figure, "y", json_integer(y));
	json_object_set_new(figure, "lines", json_array());
	return figure;
}

/* Ours wait in several ways, a rival in one. */
static void line_title(char *buf, size_t size, const json_t *row,
		       bool with_batch)
{
	double batch = row_number(row, "batch");
	const char *transport = row_text(row, "transport");
	char times[24] = "";

	if (with_batch && batch > 1)
		snprintf(times, sizeof(times), " x%.0f", batch);
	if (row_is(row, "ours"))
		snprintf(buf, size, "%s (%s)%s", transport,
			 row_text(row, "wait"), times);
	else
		snprintf(buf, size, "%s%s", transport, times);
}

static json_t *find_line(json_t *figure, const char *title)
{
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(figure, "lines"), i, line)
		if (!strcmp(title, row_text(line, "title")))
			return line;
	return NULL;
}

/* The line of that title; a new one is made when there is none. */
static json_t *get_line(json_t *figure, const json_t *row,
			const json_t *colours, bool with_batch)
{
	json_t *lines = json_object_get(figure, "lines"), *line;
	const char *transport = row_text(row, "transport");
	char title[120];
	int dash = 0;
	size_t i;

	line_title(title, sizeof(title), row, with_batch);
	line = find_line(figure, title);
	if (line)
		return line;
	json_array_foreach(lines, i, line)
		dash += !strcmp(transport, row_text(line, "transport"));
	line = json_object();
	json_object_set_new(line, "title", json_string(title));
	json_object_set_new(line, "transport", json_string(transport));
	json_object_set_new(line, "ours", json_boolean(row_is(row, "ours")));
	json_object_set(line, "colour", json_object_get(colours, transport));
	json_object_set_new(line, "dash", json_integer(dash));
	json_object_set_new(line, "points", json_array());
	json_array_append_new(lines, line);
	return line;
}

static void add_point(json_t *line, double x, double y)
{
	json_array_append_new(json_object_get(line, "points"),
			      json_pack("[f, f]", x, y));
}

/* Latencies ---------------------------------------------------------------- */

/* Each step stands where its middle is among all.  The last one also ends the
 * line: half a value beyond the largest of n, which is one in 2 n. */
static void add_percentiles(json_t *line, const struct hist *hist)
{
	double all = (double)hist->n, seen = 0, x = 0, last_x = 1;
	struct hist_step step;

	for (unsigned idx = 0; hist_next(hist, &idx, &step);) {
		double ns = (double)(step.lower + step.upper) / 2;

		if (!seen)
			add_point(line, 1, ns);
		x = all / (all - seen - (double)step.count / 2);
		seen += (double)step.count;
		if (x >= last_x * GROWTH || (seen >= all && x > last_x)) {
			add_point(line, x, ns);
			last_x = x;
		}
		if (seen >= all && last_x < 2 * all)
			add_point(line, 2 * all, ns);
	}
}

static void add_latency_line(json_t *figure, const json_t *row,
			     const json_t *colours)
{
	static struct hist hist;

	hist_init(&hist);
	if (row_add_hist(row, &hist))
		add_percentiles(get_line(figure, row, colours, true), &hist);
}

/* Each (workload, case) that has histograms, once. */
static void add_latencies(json_t *figures, const json_t *rows,
			  const json_t *colours)
{
	json_t *by_title = json_object(), *row, *figure;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *title = row_text(row, "case");
		char text[120];

		if (!row_is_ok(row) ||
		    !json_array_size(json_object_get(row, "hist")))
			continue;
		snprintf(text, sizeof(text), "%s%s%s: latency",
			 row_text(row, "workload"), *title ? " " : "", title);
		figure = json_object_get(by_title, text);
		if (!figure) {
			figure = new_figure(text, AXIS_PART, AXIS_NS);
			json_object_set_new(by_title, text, figure);
			json_array_append(figures, figure);
		}
		add_latency_line(figure, row, colours);
	}
	json_decref(by_title);
}

/* Throughput over something ------------------------------------------------ */

struct sweep {
	enum axis axis;
	const char *field; /* on the axis */
	const char *over;  /* in the title */
	/* What else does not make another figure, behind the case, what names
	 * a competitor, and that it was a sweep; ends with NULL. */
	const char *without[12];
};

#define ALWAYS "case", "transport", "wait", "batch", "sweep", "sweep_value"

static const struct sweep sweeps[] = {
	{ AXIS_BYTES, "bytes", "message size", { ALWAYS, "bytes", NULL } },
	{ AXIS_WORKERS,
	  "workers",
	  "workers",
	  { ALWAYS, "workers", "chunk", "inflight", NULL } },
	{ AXIS_PAIRS,
	  "producers",
	  "writers and readers",
	  { ALWAYS, "producers", "consumers", NULL } },
	{ AXIS_BATCH, "batch", "messages a call", { ALWAYS, NULL } },
};

/* The text that is the same of all rows of a figure.  How many slots a queue
 * has follows from the size, rivals have its memory and pipes have none: that
 * is another figure only if it is what was asked about. */
static char *figure_key(const struct sweep *sweep, const json_t *row)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)row);
	char *key;

	if (strcmp(row_text(row, "sweep"), "slots") != 0)
		json_object_del(copy, "slots");
	key = row_key(copy, sweep->without);
	json_decref(copy);
	return key;
}

/* What is equal in the whole figure. */
static void sweep_title(char *buf, size_t size, const struct sweep *sweep,
			const json_t *row)
{
	const char *by = row_text(row, "by");
	const char *method = row_text(row, "method");
	char bytes[40] = "", pairs[40] = "";

	if (sweep->axis != AXIS_BYTES &&
	    (LOAD_BIT(row_load(row)) & LOAD_SIZED)) {
		bytes[0] = ' ';
		units_bytes(bytes + 1, sizeof(bytes) - 1,
			    row_number(row, "bytes"));
	}
	if (row_load(row) == LOAD_MPMC && sweep->axis != AXIS_PAIRS)
		snprintf(pairs, sizeof(pairs), " %.0fx%.0f",
			 row_number(row, "producers"),
			 row_number(row, "consumers"));
	snprintf(buf, size, "%s%s%s%s%s%s%s: %s over %s",
		 row_text(row, "workload"), pairs, bytes, *by ? " " : "", by,
		 *method ? " " : "", method,
		 row_more_is_better(row) ? "throughput" : "median latency",
		 sweep->over);
}

static double sweep_y(const struct sweep *sweep, const json_t *row)
{
	double y = row_figure(row);

	if (sweep->axis == AXIS_BYTES && row_more_is_better(row))
		y *= row_number(row, "bytes") / 1e9;
	return y;
}

static bool takes_part(const struct sweep *sweep, const json_t *row)
{
	enum load load = row_load(row);
	double x = row_number(row, sweep->field);

	if (!row_is_ok(row) || load == LOAD_IDLE || load == LOAD_RECOVER)
		return false;
	if (sweep->axis == AXIS_PAIRS && x != row_number(row, "consumers"))
		return false;
	return x > 0 && sweep_y(sweep, row) > 0;
}

static int by_x(const void *a, const void *b)
{
	double x = json_number_value(json_array_get(*(json_t *const *)a, 0));
	double y = json_number_value(json_array_get(*(json_t *const *)b, 0));

	return x < y ? -1 : x > y;
}

static void sort_points(json_t *line)
{
	json_t *points = json_object_get(line, "points"), *point;
	json_t *sorted = json_array();
	size_t n = json_array_size(points), i;
	json_t **order = calloc(n + 1, sizeof(*order));

	json_array_foreach(points, i, point)
		if (order)
			order[i] = point;
	if (order)
		qsort(order, n, sizeof(*order), by_x);
	for (i = 0; order && i < n; i++)
		json_array_append(sorted, order[i]);
	json_object_set_new(line, "points", sorted);
	free(order);
}

static bool has_point(const json_t *line, double x)
{
	json_t *point;
	size_t i;

	json_array_foreach(json_object_get(line, "points"), i, point)
		if (json_number_value(json_array_get(point, 0)) == x)
			return true;
	return false;
}

static bool is_dot(const json_t *line)
{
	return json_array_size(json_object_get(line, "points")) < 2;
}

/* Whether the transport of @line has another one, of two points or more. */
static bool has_better(json_t *lines, const json_t *line)
{
	json_t *other;
	size_t i;

	json_array_foreach(lines, i, other)
		if (!is_dot(other) && !strcmp(row_text(line, "transport"),
					      row_text(other, "transport")))
			return true;
	return false;
}

/* A transport that was also measured in another way at one place has a dot
 * there that says nothing in this figure.  False if nothing but dots is left:
 * then it is none. */
static bool tidy(json_t *figure)
{
	json_t *lines = json_object_get(figure, "lines"), *line;
	bool worth = false;
	size_t i;

	json_array_foreach(lines, i, line) {
		sort_points(line);
		worth |= !is_dot(line);
	}
	for (i = json_array_size(lines); i-- > 0;) {
		line = json_array_get(lines, i);
		if (is_dot(line) && has_better(lines, line))
			json_array_remove(lines, i);
	}
	return worth;
}

static void add_sweep(json_t *figures, const struct sweep *sweep,
		      const json_t *rows, const json_t *colours)
{
	json_t *by_key = json_object(), *row, *figure;
	const char *name;
	size_t i;

	json_array_foreach(rows, i, row) {
		double x = row_number(row, sweep->field);
		json_t *line;
		char title[160], *key;

		if (!takes_part(sweep, row))
			continue;
		key = figure_key(sweep, row);
		figure = json_object_get(by_key, key);
		if (!figure) {
			sweep_title(title, sizeof(title), sweep, row);
			figure = new_figure(title, sweep->axis,
					    !row_more_is_better(row) ? AXIS_NS
					    : sweep->axis == AXIS_BYTES
						    ? AXIS_GB
						    : AXIS_RATE);
			json_object_set_new(by_key, key, figure);
		}
		free(key);
		line = get_line(figure, row, colours,
				sweep->axis != AXIS_BATCH);
		if (!has_point(line, x))
			add_point(line, x, sweep_y(sweep, row));
	}
	json_object_foreach(by_key, name, figure)
		if (tidy(figure))
			json_array_append(figures, figure);
	json_decref(by_key);
}

/* Files must not have the same name. */
static void number_names(json_t *figures)
{
	json_t *figure, *other;
	size_t i, j;

	json_array_foreach(figures, i, figure) {
		const char *name = row_text(figure, "name");
		int n = 1;

		json_array_foreach(figures, j, other)
			n += j < i && !strcmp(name, row_text(other, "name"));
		if (n > 1)
			json_object_set_new(figure, "name",
					    json_sprintf("%s-%d", name, n));
	}
}

json_t *figures_make(const json_t *rows, const json_t *colours)
{
	json_t *figures = json_array();

	add_latencies(figures, rows, colours);
	for (size_t i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]); i++)
		add_sweep(figures, &sweeps[i], rows, colours);
	number_names(figures);
	return figures;
}
