/*
 * top.h - the live screen as lines of text, without a terminal
 *
 * What is watched, and how the operator wants it shown, become lines; whoever
 * has a screen paints them, and tells which keys were pressed.  All text is
 * ASCII: a byte is a column.
 */
#ifndef ADM_TOP_H
#define ADM_TOP_H

#include "tools/adm/watch.h"

#define TOP_WIDTH_MAX  512
#define TOP_HEIGHT_MAX 256

enum top_table_id { TOP_CHANNELS, TOP_ENDPOINTS, TOP_N_TABLES };

/* --------------------------------------------------------------- a table -- */

#define TOP_COLUMNS_MAX 12
#define TOP_CELL_BYTES  256

struct top_cell {
	char text[TOP_CELL_BYTES];
	double key; /* NAN: it is sorted by the text */
};

struct top_row {
	struct top_cell cell[TOP_COLUMNS_MAX];
	bool bad; /* red */
	bool dim;
};

struct top_table {
	unsigned n_columns;
	const char *head[TOP_COLUMNS_MAX];
	bool right[TOP_COLUMNS_MAX];
	unsigned width[TOP_COLUMNS_MAX]; /* of the widest */
	struct top_row *row;
	size_t n, room;
};

/* Fill it with what @w saw last.  0 or -ENOMEM: with less. */
int top_fill(struct top_table *t, enum top_table_id id, const struct watch *w);
void top_free(struct top_table *t);

/* By column, numbers the largest first, texts by the alphabet; those alike by
 * the first column, so that they stay where they are. */
void top_sort(struct top_table *t, unsigned column, bool reverse);

/* One row, or the heads (-1), cut at @width. */
void top_line(const struct top_table *t, long row, char *buf, int width);

/* ------------------------------------------------------------ a screen -- */

/* How the operator wants it. */
struct top_want {
	enum top_table_id active;
	unsigned column[TOP_N_TABLES];
	bool reverse[TOP_N_TABLES];
	size_t first[TOP_N_TABLES]; /* row at the top */
	bool paused, help, quit;
	uint64_t every_ns;
};

enum top_key {
	TOP_NO_KEY,
	TOP_QUIT,
	TOP_PAUSE,
	TOP_HELP,
	TOP_OTHER_TABLE,
	TOP_REVERSE,
	TOP_LEFT,
	TOP_RIGHT,
	TOP_UP,
	TOP_DOWN,
	TOP_PAGE_UP,
	TOP_PAGE_DOWN,
	TOP_HOME
};

/* Each table by what tells most: channels as they are, endpoints too. */
void top_want_init(struct top_want *want);
void top_press(struct top_want *want, enum top_key key, int page);

enum top_look {
	TOP_PLAIN,
	TOP_BOLD,
	TOP_DIM,
	TOP_HEADS, /* of the table that keys act on */
	TOP_HEADS_PASSIVE,
	TOP_GOOD,
	TOP_NOTED,
	TOP_BAD
};

struct top_painted {
	char text[TOP_WIDTH_MAX + 1];
	enum top_look look;
	int mark, mark_n; /* columns to underline: of the sorted one; or 0, 0 */
};

struct top_screen {
	int width, height;
	int n;    /* lines */
	int page; /* rows of the active table that there is room for */
	struct top_painted line[TOP_HEIGHT_MAX];
};

/* @clock: the time of day to show, "12:34:56". */
void top_paint(struct top_screen *s, int width, int height,
	       const struct watch *w, struct top_want *want, const char *clock);

/* Paint until the operator has enough: 0, or -errno when there is no screen;
 * in top_curses.c. */
int top_run(struct watch *w, struct top_want *want);

#endif
