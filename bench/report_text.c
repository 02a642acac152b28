/*
 * report_text.c - tables to read on a terminal
 *
 * A table for each workload, printed case by case as they are measured, so
 * the columns have fixed widths.  The last column says how many times better
 * shmbus is: in its own rows than the best rival of like use, in a rival's row
 * than that, where the first row of the case stands for shmbus.  A line below
 * says how it stands to the best of all, if that is another one.  On a terminal
 * they are green or red, but nothing is said by colour alone.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>

#include "tools/colour.h"
#include "bench/pingpong.h"
#include "bench/report.h"
#include "bench/standings.h"
#include "bench/table.h"

static bool coloured;
static struct standings standings;

/* The table that is open. */
static struct {
	bool open;
	enum load load;
	struct columns columns;
	double pingpong_first, pingpong_last;
	bool flipped;
} table;

static const char *colour(const char *code)
{
	return coloured ? code : "";
}

static void close_table(void)
{
	double first = table.pingpong_first, last = table.pingpong_last;

	if (!table.open)
		return;
	table.open = false;
	if (isnan(first) || isnan(last))
		puts("  ping-pong of a cache line: not known (not two "
		     "processors free)");
	else
		printf("  ping-pong of a cache line (pp): %.0f ns before, "
		       "%.0f ns after (%s)\n",
		       first, last,
		       table.flipped ? "near and far" : pingpong_regime(last));
}

/* Of the first column: the title of a case. */
static int title_width(const json_t *row)
{
	if (row_load(row) == LOAD_POOL)
		return 18;
	return *row_text(row, "sweep") ? 16 : 12;
}

static void open_table(enum load load, const json_t *rows)
{
	const struct columns *columns = &table.columns;
	const json_t *row = json_array_get(rows, 0);
	char loop[100];

	table_columns(&table.columns, rows);
	table_loop(loop, sizeof(loop), row);
	printf("\n%s%s%s: %s%s%s\n", colour(COLOUR_BOLD), load_names[load],
	       colour(COLOUR_PLAIN), table_about(load), loop,
	       row_is(row, "pinned") ? "; pinned to two processors"
				     : "; not pinned");
	printf("  %-*s %-19s %-8s", title_width(row), "", "transport", "wait");
	for (unsigned i = 0; i < columns->n; i++)
		printf(" %*s", columns->column[i].width,
		       columns->column[i].head);
	puts(load == LOAD_IDLE ? ""
			       : "  shmbus is better by (best rival of like "
				 "use)");
	table.open = true;
	table.load = load;
	table.flipped = false;
}

static void print_coloured(enum standing standing, const char *text)
{
	static const char *const codes[] = {
		[STANDING_NONE] = "",
		[STANDING_AHEAD] = COLOUR_GOOD,
		[STANDING_LEVEL] = "",
		[STANDING_BEHIND] = COLOUR_BAD,
	};

	printf("%s%s%s", colour(codes[standing]), text, colour(COLOUR_PLAIN));
}

static void print_ratio(const json_t *row)
{
	char text[160];

	table_ratio(text, sizeof(text), row);
	fputs("  ", stdout);
	print_coloured(standing_of(table_figure(row)), text);
}

/* On a line of its own below the row, as lines are long. */
static void print_also(const json_t *row)
{
	char text[160];

	if (row_load(row) == LOAD_IDLE || !table_also(text, sizeof(text), row))
		return;
	printf("  %-*s and ", title_width(row), "");
	print_coloured(table_also_standing(row), text);
	putchar('\n');
}

static void print_row(const json_t *row, bool first)
{
	const struct columns *columns = &table.columns;
	char text[240];

	table_wait(text, sizeof(text), row);
	printf("  %-*s %-19s %-8s", title_width(row),
	       first ? row_text(row, "case") : "", row_text(row, "transport"),
	       text);
	if (!row_is_ok(row)) {
		table_why(text, sizeof(text), row);
		printf("  %s%s%s\n", colour(COLOUR_DIM), text,
		       colour(COLOUR_PLAIN));
		return;
	}
	for (unsigned i = 0; i < columns->n; i++) {
		column_cell(&columns->column[i], text, sizeof(text), row);
		printf(" %*s", columns->column[i].width, text);
	}
	if (row_load(row) != LOAD_IDLE)
		print_ratio(row);
	putchar('\n');
	print_also(row);
	if (table_remark(text, sizeof(text), row))
		printf("      %s\n", text);
}

void report_text_begin(const json_t *env)
{
	double l2 = row_number(env, "l2_bytes"),
	       l3 = row_number(env, "l3_bytes");
	double cpus = row_number(env, "cpus");

	coloured = colour_wanted();
	standings_open(&standings);
	printf("busbench %s (%s): %s\n", row_text(env, "version"),
	       row_text(env, "commit"), row_text(env, "command"));
	printf("%s, %.0f processor%s (%.0f allowed)", row_text(env, "cpu"),
	       cpus, cpus == 1 ? "" : "s", row_number(env, "cpus_allowed"));
	if (l2 > 0)
		printf(", L2 %.0f KiB", l2 / 1024);
	if (l3 > 0)
		printf(", L3 %.0f MiB", l3 / (1 << 20));
	if (*row_text(env, "governor"))
		printf(", governor %s", row_text(env, "governor"));
	printf("\n%s%s", row_text(env, "kernel"),
	       row_is(env, "virtual_machine") ? ", a virtual machine" : "");
	if (*row_text(env, "container"))
		printf(", in a container (%s)", row_text(env, "container"));
	printf("; io_uring for waiting: %s\n",
	       row_is(env, "io_uring") ? "yes"
				       : row_text(env, "why_no_io_uring"));
	fflush(stdout);
}

void report_text_case(const struct case_result *results, const json_t *rows,
		      const struct warnings *warnings)
{
	const struct bench_case *bench_case = results->bench_case;
	json_t *row;
	size_t i;

	if (table.load != bench_case->spec.load)
		close_table();
	if (!table.open) {
		open_table(bench_case->spec.load, rows);
		table.pingpong_first = results->pingpong_before;
	}
	table.pingpong_last = results->pingpong_after;
	table.flipped |= results->flipped;
	json_array_foreach(rows, i, row) {
		if (row_is_asked(row))
			print_row(row, i == 0);
		standings_add(&standings, row);
	}
	for (unsigned w = 0; w < warnings->n; w++)
		printf("  ! %s\n", warnings->text[w]);
	fflush(stdout);
}

static void print_rows_behind(const json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		printf("  %s%s%s\n", colour(COLOUR_BAD), json_string_value(row),
		       colour(COLOUR_PLAIN));
}

void report_text_end(void)
{
	char text[240];

	close_table();
	putchar('\n');
	if (standings_absent(&standings, text, sizeof(text)))
		printf("%s\n", text);
	standings_sentence(&standings, text, sizeof(text));
	printf("%s\n", text);
	print_rows_behind(standings.behind);
	if (standings_also(&standings, text, sizeof(text)))
		printf("%s\n", text);
	print_rows_behind(standings.also);
	standings_close(&standings);
}
