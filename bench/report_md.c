/*
 * report_md.c - tables in Markdown, for a README
 *
 * Printed case by case, as report_text.c does.  Warnings wait until the table
 * is closed, because a line that is no row would close it.
 */
#include "config.h"

#include <stdio.h>

#include "bench/markdown.h"
#include "bench/pingpong.h"
#include "bench/report.h"

static struct standings standings;

/* The table that is open. */
static struct {
	bool open;
	enum load load;
	struct columns columns;
	double pingpong_first, pingpong_last;
	json_t *notes;
} table;

static void close_table(void)
{
	if (!table.open)
		return;
	table.open = false;
	if (table.pingpong_first > 0 && table.pingpong_last > 0)
		json_array_append_new(
			table.notes,
			json_sprintf("ping-pong of a cache line (pp): %.0f ns "
				     "before (%s), %.0f ns after (%s)",
				     table.pingpong_first,
				     pingpong_regime(table.pingpong_first),
				     table.pingpong_last,
				     pingpong_regime(table.pingpong_last)));
	markdown_notes(stdout, table.notes);
	json_decref(table.notes);
}

/* About its workers. */
static void add_remark(const json_t *row)
{
	char name[160], text[200];

	row_name(row, name, sizeof(name));
	if (table_remark(text, sizeof(text), row))
		json_array_append_new(table.notes,
				      json_sprintf("%s: %s", name, text));
}

void report_md_begin(const json_t *env)
{
	standings_open(&standings);
	markdown_command(stdout, env);
	markdown_machine(stdout, env);
	fflush(stdout);
}

void report_md_case(const struct case_result *results, const json_t *rows,
		    const struct warnings *warnings)
{
	const char *title = results->bench_case->title;
	enum load load = results->bench_case->spec.load;
	json_t *row;
	size_t i;

	if (table.load != load)
		close_table();
	if (!table.open) {
		markdown_head(stdout, rows, &table.columns);
		table.open = true;
		table.load = load;
		table.pingpong_first = results->pingpong_before;
		table.notes = json_array();
	}
	table.pingpong_last = results->pingpong_after;
	json_array_foreach(rows, i, row) {
		if (row_is_asked(row))
			markdown_row(stdout, row, i == 0, &table.columns);
		add_remark(row);
		standings_add(&standings, row);
	}
	for (unsigned w = 0; w < warnings->n; w++)
		json_array_append_new(
			table.notes,
			json_sprintf("%s: %s",
				     *title ? title : load_names[load],
				     warnings->text[w]));
	fflush(stdout);
}

void report_md_end(void)
{
	close_table();
	markdown_standings(stdout, &standings);
	standings_close(&standings);
}
