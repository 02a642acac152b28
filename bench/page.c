/*
 * page.c - busbench report FILE... --output PAGE: tables and plots to show
 *
 * Options, files, and what both kinds of page have in common.
 */
#include "config.h"

#include <argp.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/arg.h"
#include "bench/commands.h"
#include "bench/figures.h"
#include "bench/gnuplot.h"
#include "bench/page.h"
#include "bench/row.h"
#include "bench/table.h"

#define EXIT_USAGE 2

enum key { KEY_TITLE = 256, KEY_PLOTS, KEY_FORMAT, KEY_NO_PLOTS };

static const struct argp_option option_table[] = {
	{ "output", 'o', "PAGE", 0, "what to write: PAGE.html or PAGE.md", 0 },
	{ "title", KEY_TITLE, "TEXT", 0, "heading of the page", 0 },
	{ "plots", KEY_PLOTS, "DIR", 0,
	  "write each plot into a file there, too", 0 },
	{ "format", KEY_FORMAT, "FORMAT", 0,
	  "of --plots: png, svg (default) or both", 0 },
	{ "no-plots", KEY_NO_PLOTS, NULL, 0, "tables alone, without gnuplot",
	  0 },
	{ NULL, 0, NULL, 0, NULL, 0 }
};

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len > end_len && !strcmp(text + len - end_len, end);
}

static void format(struct argp_state *state, struct page *page,
		   const char *text)
{
	static const char *const names[] = { "png", "svg", "both" };
	int choice = ARG_CHOICE(state, "format", text, names);

	page->plots_png = choice != 1;
	page->plots_svg = choice != 0;
}

static void check(struct argp_state *state, struct page *page)
{
	if (!page->n_files)
		argp_error(state, "which result files? Make one with: "
				  "busbench --format json >FILE");
	if (!page->output)
		argp_error(state, "--output is missing; say PAGE.html or "
				  "PAGE.md");
	if (!ends_with(page->output, ".html") &&
	    !ends_with(page->output, ".md"))
		argp_error(state,
			   "--output '%s' ends neither with .html nor with .md",
			   page->output);
	if (page->no_plots && page->plots)
		argp_error(state, "--plots and --no-plots exclude each other");
	if (!page->plots && (page->plots_svg || page->plots_png))
		argp_error(state, "--format is of --plots DIR; the page is "
				  "what --output says");
	if (!page->plots_svg && !page->plots_png)
		page->plots_svg = true;
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	struct page *page = state->input;

	switch (key) {
	case 'o':
		page->output = arg;
		break;
	case KEY_TITLE:
		page->title = arg;
		break;
	case KEY_PLOTS:
		page->plots = arg;
		break;
	case KEY_FORMAT:
		format(state, page, arg);
		break;
	case KEY_NO_PLOTS:
		page->no_plots = true;
		break;
	case ARGP_KEY_ARG:
		if (page->n_files == MAX_PAGE_FILES)
			argp_error(state, "%d files at most", MAX_PAGE_FILES);
		page->path[page->n_files++] = arg;
		break;
	case ARGP_KEY_END:
		check(state, page);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void parse(struct page *page, int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_one,
		.args_doc = "FILE...",
		.doc = "Makes a page of result files, as busbench --format "
		       "json prints them: the machine, tables, plots.  HTML "
		       "has all in one file; Markdown has SVG files beside it."
		       "\vgnuplot draws the plots (Debian package: "
		       "gnuplot-nox)."
		       "\n\nExit status: 0; 1 when a file cannot be written or "
		       "gnuplot is missing; 2 for a usage error or a result "
		       "file that cannot be read.",
	};

	*page = (struct page){ .n_files = 0 };
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, page);
}

/* Of both kinds of page ---------------------------------------------------- */

json_t *page_rows(const struct page *page, unsigned file, enum load load)
{
	json_t *rows = json_array(), *row;
	size_t i;

	json_array_foreach(page->rows[file], i, row)
		if (row_load(row) == load && row_is_asked(row))
			json_array_append(rows, row);
	return rows;
}

bool page_is_first(const json_t *row, const json_t *before)
{
	return !before ||
	       strcmp(row_text(row, "case"), row_text(before, "case")) != 0;
}

static void append_once(json_t *array, json_t *value)
{
	json_t *other;
	size_t i;

	json_array_foreach(array, i, other)
		if (json_equal(value, other))
			return;
	json_array_append(array, value);
}

/* The one of @envs that is as @env but for the runs; made if there is none. */
static json_t *get_env(json_t *envs, const json_t *env)
{
	json_t *alike = json_copy((json_t *)(uintptr_t)env), *other, *bare;
	bool equal;
	size_t i;

	json_object_del(alike, "command");
	json_object_del(alike, "date");
	json_array_foreach(envs, i, other) {
		bare = json_copy(other);
		json_object_del(bare, "runs");
		equal = json_equal(alike, bare);
		json_decref(bare);
		if (equal) {
			json_decref(alike);
			return other;
		}
	}
	json_object_set_new(alike, "runs", json_array());
	json_array_append_new(envs, alike);
	return alike;
}

json_t *page_envs(const struct page *page)
{
	json_t *envs = json_array(), *row;
	size_t i;

	for (unsigned file = 0; file < page->n_files; file++)
		json_array_foreach(page->rows[file], i, row) {
			json_t *env = json_object_get(row, "env"), *run;

			if (!json_is_object(env))
				continue;
			run = json_pack("{s:s, s:s}", "command",
					row_text(env, "command"), "date",
					row_text(env, "date"));
			append_once(json_object_get(get_env(envs, env), "runs"),
				    run);
			json_decref(run);
		}
	return envs;
}

json_t *page_warnings(const json_t *rows)
{
	json_t *all = json_array(), *row, *warning, *text;
	char name[160], remark[200];
	size_t i, j;

	json_array_foreach(rows, i, row)
		json_array_foreach(json_object_get(row, "warnings"), j,
				   warning) {
			const char *title = row_text(row, "case");

			text = json_sprintf("%s: %s",
					    *title ? title
						   : row_text(row, "workload"),
					    json_string_value(warning));
			append_once(all, text);
			json_decref(text);
		}
	json_array_foreach(rows, i, row) {
		row_name(row, name, sizeof(name));
		if (table_remark(remark, sizeof(remark), row))
			json_array_append_new(
				all, json_sprintf("%s: %s", name, remark));
	}
	return all;
}

char *page_figure_name(const struct page *page, unsigned file,
		       const json_t *figure)
{
	char *name = NULL;
	int ret;

	if (page->n_files > 1)
		ret = asprintf(&name, "%s-file%u", row_text(figure, "name"),
			       file + 1);
	else
		ret = asprintf(&name, "%s", row_text(figure, "name"));
	return ret < 0 ? NULL : name;
}

/* Files -------------------------------------------------------------------- */

static int read_files(struct page *page)
{
	json_t *all = json_array(), *row;
	int ret = 0;
	size_t i;

	standings_open(&page->standings);
	for (unsigned file = 0; file < page->n_files && ret == 0; file++) {
		page->rows[file] = json_array();
		ret = rows_read(page->path[file], page->rows[file]);
		json_array_extend(all, page->rows[file]);
	}
	json_array_foreach(all, i, row)
		standings_add(&page->standings, row);
	page->colours = figures_colours(all);
	json_decref(all);
	return ret;
}

static void free_files(struct page *page)
{
	for (unsigned file = 0; file < page->n_files; file++)
		json_decref(page->rows[file]);
	json_decref(page->colours);
	standings_close(&page->standings);
}

static int draw(const struct page *page, unsigned file, const json_t *figure,
		enum picture picture)
{
	char *name = page_figure_name(page, file, figure), *path = NULL;
	int ret = -1;

	if (name && asprintf(&path, "%s/%s.%s", page->plots, name,
			     picture == PICTURE_PNG ? "png" : "svg") > 0)
		ret = gnuplot_draw(figure, picture, path);
	free(path);
	free(name);
	return ret;
}

static int draw_all(const struct page *page)
{
	int ret = 0;
	json_t *figure;
	size_t i;

	if (mkdir(page->plots, 0777) != 0 && errno != EEXIST) {
		fprintf(stderr, "busbench: cannot make '%s': %s\n", page->plots,
			strerror(errno));
		return -1;
	}
	for (unsigned file = 0; file < page->n_files; file++) {
		json_t *figures = figures_make(page->rows[file], page->colours);

		json_array_foreach(figures, i, figure) {
			if (ret == 0 && page->plots_svg)
				ret = draw(page, file, figure, PICTURE_SVG);
			if (ret == 0 && page->plots_png)
				ret = draw(page, file, figure, PICTURE_PNG);
		}
		json_decref(figures);
	}
	return ret;
}

/* Whole, or not at all: under another name until it is complete. */
static int write_page(const struct page *page)
{
	bool html = ends_with(page->output, ".html");
	char *draft = NULL;
	int ret = -1;
	FILE *f;

	if (asprintf(&draft, "%s.tmp", page->output) < 0)
		return -1;
	f = fopen(draft, "we");
	if (f) {
		ret = html ? page_html(page, f) : page_md(page, f);
		if (ret < 0) { /* it has been said */
			fclose(f);
			unlink(draft);
			free(draft);
			return -1;
		}
		ret = ferror(f) ? -1 : 0;
		ret = fclose(f) != 0 ? -1 : ret;
		if (ret == 0)
			ret = rename(draft, page->output);
	}
	if (ret < 0) {
		fprintf(stderr, "busbench: cannot write '%s': %s\n",
			page->output, strerror(errno));
		unlink(draft);
	}
	free(draft);
	return ret;
}

int page_main(int argc, char **argv)
{
	struct page page;
	int status = EXIT_FAILURE;

	parse(&page, argc, argv);
	if (read_files(&page) < 0)
		status = EXIT_USAGE;
	else if (!page.no_plots && !gnuplot_found())
		fputs("busbench: gnuplot is not installed (Debian package: "
		      "gnuplot-nox); --no-plots makes a page without it\n",
		      stderr);
	else if (write_page(&page) == 0 &&
		 (!page.plots || draw_all(&page) == 0))
		status = EXIT_SUCCESS;
	free_files(&page);
	return status;
}
