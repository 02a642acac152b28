/*
 * markdown.c - rows of results as Markdown
 *
 * Padded, so that a table can also be read as it is.  Where ours is behind a
 * rival, that is bold.
 */
#include "config.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "bench/markdown.h"
#include "bench/table.h"

#define CASE_WIDTH      18
#define TRANSPORT_WIDTH 19
#define WAIT_WIDTH      8
#define REGIME_WIDTH    6

void markdown_command(FILE *f, const json_t *run)
{
	fprintf(f, "    %s # %s\n", row_text(run, "command"),
		row_text(run, "date"));
}

void markdown_machine(FILE *f, const json_t *env)
{
	double cpus = row_number(env, "cpus");

	fprintf(f, "\n%s, %.0f processor%s (%.0f allowed), %s%s",
		row_text(env, "cpu"), cpus, cpus == 1 ? "" : "s",
		row_number(env, "cpus_allowed"), row_text(env, "kernel"),
		row_is(env, "virtual_machine") ? ", a virtual machine" : "");
	if (*row_text(env, "container"))
		fprintf(f, ", in a container (%s)", row_text(env, "container"));
	fprintf(f, "; io_uring for waiting: %s; shmbus %s (%s), %s.\n",
		row_is(env, "io_uring") ? "yes"
					: row_text(env, "why_no_io_uring"),
		row_text(env, "version"), row_text(env, "commit"),
		row_text(env, "compiler"));
}

/* A bar would end the cell. */
static void cell(FILE *f, int width, const char *text)
{
	int len = 0;

	fputs("| ", f);
	for (; *text; text++) {
		if (*text == '|')
			len += fprintf(f, "\\");
		len += fprintf(f, "%c", *text);
	}
	fprintf(f, "%*s", len < width ? width - len + 1 : 1, "");
}

static void line(FILE *f, int width, bool right)
{
	fputs("|", f);
	for (int i = 0; i < width + 1; i++)
		putc('-', f);
	putc(right ? ':' : '-', f);
}

static const char ratio_head[] = "shmbus is better by (best rival of like use)";

void markdown_head(FILE *f, const json_t *rows, struct columns *columns)
{
	const json_t *row = json_array_get(rows, 0);
	enum load load = row_load(row);
	const char *about = table_about(load);
	char loop[100];

	table_columns(columns, rows);
	table_loop(loop, sizeof(loop), row);
	fprintf(f, "\n### %s\n\n%c%s%s.\n\n", load_names[load],
		about[0] - 'a' + 'A', about + 1, loop);
	cell(f, CASE_WIDTH, "case");
	cell(f, TRANSPORT_WIDTH, "transport");
	cell(f, WAIT_WIDTH, "wait");
	for (unsigned i = 0; i < columns->n; i++)
		cell(f, columns->column[i].width, columns->column[i].head);
	cell(f, REGIME_WIDTH, "regime");
	if (load != LOAD_IDLE)
		cell(f, 0, ratio_head);
	fputs("|\n", f);
	line(f, CASE_WIDTH, false);
	line(f, TRANSPORT_WIDTH, false);
	line(f, WAIT_WIDTH, false);
	for (unsigned i = 0; i < columns->n; i++)
		line(f, columns->column[i].width, true);
	line(f, REGIME_WIDTH, false);
	if (load != LOAD_IDLE)
		line(f, (int)strlen(ratio_head), false);
	fputs("|\n", f);
}

/* What is behind gets bold. */
static void ratio_cell(FILE *f, const json_t *row)
{
	bool behind = table_standing(row) == STANDING_BEHIND;
	bool also_behind = table_also_standing(row) == STANDING_BEHIND;
	char ratio[160], also[160], text[400];
	int len;

	table_ratio(ratio, sizeof(ratio), row);
	len = snprintf(text, sizeof(text), "%s%s%s", behind ? "**" : "", ratio,
		       behind ? "**" : "");
	if (table_also(also, sizeof(also), row))
		snprintf(text + len, sizeof(text) - (size_t)len, "; %s%s%s",
			 also_behind ? "**" : "", also,
			 also_behind ? "**" : "");
	cell(f, 0, text);
}

static void figures(FILE *f, const json_t *row, const struct columns *columns)
{
	char text[240];

	if (!row_is_ok(row)) {
		table_why(text, sizeof(text), row);
		for (unsigned i = 1; i < columns->n; i++)
			cell(f, columns->column[i].width, "");
		cell(f, REGIME_WIDTH, "");
		if (row_load(row) != LOAD_IDLE)
			cell(f, columns->column[0].width, "");
		cell(f, 0, text);
		return;
	}
	for (unsigned i = 0; i < columns->n; i++) {
		column_cell(&columns->column[i], text, sizeof(text), row);
		cell(f, columns->column[i].width, text);
	}
	cell(f, REGIME_WIDTH, row_text(row, "regime"));
	if (row_load(row) == LOAD_IDLE)
		return;
	ratio_cell(f, row);
}

void markdown_row(FILE *f, const json_t *row, bool first,
		  const struct columns *columns)
{
	char wait[40];

	table_wait(wait, sizeof(wait), row);
	cell(f, CASE_WIDTH, first ? row_text(row, "case") : "");
	cell(f, TRANSPORT_WIDTH, row_text(row, "transport"));
	cell(f, WAIT_WIDTH, wait);
	figures(f, row, columns);
	fputs("|\n", f);
}

void markdown_notes(FILE *f, const json_t *notes)
{
	json_t *note;
	size_t i;

	if (json_array_size(notes))
		putc('\n', f);
	json_array_foreach(notes, i, note)
		fprintf(f, "- %s\n", json_string_value(note));
}

void markdown_standings(FILE *f, const struct standings *standings)
{
	char text[240];

	if (standings_absent(standings, text, sizeof(text)))
		fprintf(f, "\n%c%s.\n", toupper(text[0]), text + 1);
	standings_sentence(standings, text, sizeof(text));
	fprintf(f, "\n%s%s\n", text,
		json_array_size(standings->behind) ? ":" : ".");
	markdown_notes(f, standings->behind);
	if (standings_also(standings, text, sizeof(text)))
		fprintf(f, "\n%c%s:\n", toupper(text[0]), text + 1);
	markdown_notes(f, standings->also);
}
