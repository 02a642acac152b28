/*
 * page_md.c - a page in Markdown, with a picture beside it for each plot
 *
 * The pictures of README.md are README-rtt-busy-latency.svg and so on, in the
 * same folder.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/gnuplot.h"
#include "bench/markdown.h"
#include "bench/page.h"
#include "bench/row.h"

static int print_figure(const struct page *page, FILE *f, unsigned file,
			const json_t *figure)
{
	char *name = page_figure_name(page, file, figure), *path = NULL;
	int stem = (int)(strlen(page->output) - strlen(".md")), ret = -1;
	const char *base = strrchr(page->output, '/');

	if (name &&
	    asprintf(&path, "%.*s-%s.svg", stem, page->output, name) > 0)
		ret = gnuplot_draw(figure, PICTURE_SVG, path);
	if (ret == 0) {
		base = base ? path + (base + 1 - page->output) : path;
		fprintf(f, "\n![%s](%s)\n", row_text(figure, "title"), base);
	}
	free(path);
	free(name);
	return ret;
}

static int print_figures(const struct page *page, FILE *f, unsigned file,
			 const json_t *rows)
{
	json_t *figures, *figure;
	int ret = 0;
	size_t i;

	if (page->no_plots)
		return 0;
	figures = figures_make(rows, page->colours);
	json_array_foreach(figures, i, figure)
		if (ret == 0)
			ret = print_figure(page, f, file, figure);
	json_decref(figures);
	return ret;
}

static int print_load(const struct page *page, FILE *f, unsigned file,
		      enum load load)
{
	json_t *rows = page_rows(page, file, load), *warnings;
	struct columns columns;
	const json_t *row, *before = NULL;
	int ret = 0;
	size_t i;

	if (json_array_size(rows)) {
		markdown_head(f, rows, &columns);
		for (i = 0; i < json_array_size(rows); i++) {
			row = json_array_get(rows, i);
			markdown_row(f, row, page_is_first(row, before),
				     &columns);
			before = row;
		}
		warnings = page_warnings(rows);
		markdown_notes(f, warnings);
		json_decref(warnings);
		ret = print_figures(page, f, file, rows);
	}
	json_decref(rows);
	return ret;
}

int page_md(const struct page *page, FILE *f)
{
	json_t *envs = page_envs(page), *env, *run;
	int ret = 0;
	size_t i, j;

	fprintf(f, "# %s\n", page->title ? page->title : "busbench");
	json_array_foreach(envs, i, env) {
		putc('\n', f);
		json_array_foreach(json_object_get(env, "runs"), j, run)
			markdown_command(f, run);
		markdown_machine(f, env);
	}
	json_decref(envs);
	markdown_standings(f, &page->standings);
	for (unsigned file = 0; file < page->n_files; file++) {
		if (page->n_files > 1)
			fprintf(f, "\n## %s\n", page->path[file]);
		for (int load = 0; load < LOAD_N && ret == 0; load++)
			ret = print_load(page, f, file, (enum load)load);
	}
	return ret;
}
