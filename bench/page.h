/*
 * page.h - a page made of result files: HTML, or Markdown with pictures beside
 */
#ifndef BENCH_PAGE_H
#define BENCH_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "bench/spec.h"
#include "bench/standings.h"

#define MAX_PAGE_FILES 64

struct page {
	const char *title; /* NULL: made of the first file */
	const char *output;
	const char *plots; /* a directory for pictures, or NULL */
	bool plots_svg, plots_png;
	bool no_plots;
	unsigned n_files;
	const char *path[MAX_PAGE_FILES];
	json_t *rows[MAX_PAGE_FILES];

	json_t *colours; /* of transports, see figures.h */
	struct standings standings;
};

/* What the tables have of a workload in one of the files; may be empty.  A new
 * reference. */
json_t *page_rows(const struct page *page, unsigned file, enum load load);

/* Whether @row is the first of its case, where @before stands before it. */
bool page_is_first(const json_t *row, const json_t *before);

/* The environments of all runs, those of one machine and program together:
 * without command and date, which are in their array "runs".  A new
 * reference. */
json_t *page_envs(const struct page *page);

/* The warnings of @rows, each once and with its case, and remarks about their
 * workers.  A new reference. */
json_t *page_warnings(const json_t *rows);

/* A name that no other figure of the page has.  Malloced, or NULL. */
char *page_figure_name(const struct page *page, unsigned file,
		       const json_t *figure);

/* page_html.c and page_md.c.  Return 0, or -1 after a message. */
int page_html(const struct page *page, FILE *f);
int page_md(const struct page *page, FILE *f);

#endif
