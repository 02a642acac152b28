/*
 * gnuplot.h - figures drawn by gnuplot(1), a program that may not be there
 */
#ifndef BENCH_GNUPLOT_H
#define BENCH_GNUPLOT_H

#include <jansson.h>
#include <stdbool.h>

enum picture {
	PICTURE_SVG,    /* a file of its own, on white */
	PICTURE_INLINE, /* SVG for a page: nothing behind it, and colours that
			 * the page maps, see page_html.c */
	PICTURE_PNG
};

/* Axes, text and ticks of PICTURE_INLINE, and its grid, as SVG writes them. */
#define INLINE_INK  "#010101"
#define INLINE_GRID "#020202"

/* Of the lines, apart from each other also to eyes that see two colours only
 * (Okabe and Ito); on dark paper brighter ones. */
#define N_OUR_COLOURS   3
#define N_RIVAL_COLOURS 7

extern const char *const our_colours[N_OUR_COLOURS][2]; /* light, dark */
extern const char *const rival_colours[N_RIVAL_COLOURS][2];

/* Whether there is one; the environment's BUSBENCH_GNUPLOT, or in PATH. */
bool gnuplot_found(void);

/* Draws @figure (figures.h) into the file @path.  Returns 0, or -1 after a
 * message. */
int gnuplot_draw(const json_t *figure, enum picture picture, const char *path);

#endif
