/*
 * grid.h - a table of text whose columns are as wide as what is in them
 *
 *	struct grid g;
 *
 *	grid_init(&g, "NAME|>BYTES|STATE");
 *	grid_cell(&g, "%s", name);
 *	...
 *	grid_print(&g);
 *	grid_free(&g);
 *
 * A '>' before a column's head: to the right.  A '<' before the last one: what
 * is in it is cut where a terminal ends, if enough of it is left to read.
 */
#ifndef ADM_GRID_H
#define ADM_GRID_H

#include <stdbool.h>
#include <stddef.h>

#define GRID_COLUMNS_MAX 16

enum grid_mark {
	GRID_PLAIN,
	GRID_GOOD, /* green */
	GRID_NOTE, /* yellow */
	GRID_BAD   /* red */
};

struct grid_text {
	char *text;
	enum grid_mark mark;
};

struct grid {
	unsigned n_columns;
	bool right[GRID_COLUMNS_MAX];
	bool cut;               /* the last column */
	struct grid_text *cell; /* row by row, the heads first */
	size_t n, room;
	bool failed; /* memory was short */
};

void grid_init(struct grid *g, const char *heads);

/* The next cell. */
void grid_cell(struct grid *g, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Colour the last one. */
void grid_mark(struct grid *g, enum grid_mark mark);

/* Rows, without that of the heads. */
size_t grid_rows(const struct grid *g);

/* Print it, with @indent blanks in front of each line. */
void grid_print(const struct grid *g, unsigned indent);
void grid_free(struct grid *g);

#endif
