/*
 * grid.c - a table of text whose columns are as wide as what is in them
 */
#include "config.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/adm/grid.h"
#include "tools/colour.h"

#define GAP 2 /* blanks between columns */

/* What is left of a line says something from so many characters on. */
#define LEAST 16

static void put(struct grid *g, char *text)
{
	struct grid_text *more;

	if (!text) {
		g->failed = true;
		return;
	}
	if (g->n == g->room) {
		g->room = g->room ? 2 * g->room : 64;
		more = reallocarray(g->cell, g->room, sizeof(*more));
		if (!more) {
			g->failed = true;
			free(text);
			g->room = g->n;
			return;
		}
		g->cell = more;
	}
	g->cell[g->n++] = (struct grid_text){ .text = text };
}

void grid_init(struct grid *g, const char *heads)
{
	*g = (struct grid){ 0 };
	while (g->n_columns < GRID_COLUMNS_MAX) {
		size_t n = strcspn(heads, "|");

		if (*heads == '>' || *heads == '<') {
			g->right[g->n_columns] = *heads == '>';
			g->cut |= *heads == '<';
			heads++;
			n--;
		}
		put(g, strndup(heads, n));
		g->n_columns++;
		if (!heads[n])
			break;
		heads += n + 1;
	}
}

void grid_cell(struct grid *g, const char *format, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	put(g, n < 0 ? NULL : text);
}

void grid_mark(struct grid *g, enum grid_mark mark)
{
	if (g->n)
		g->cell[g->n - 1].mark = mark;
}

size_t grid_rows(const struct grid *g)
{
	return g->n / g->n_columns - 1;
}

static size_t width_of(const struct grid *g, unsigned column)
{
	size_t most = 0;

	for (size_t i = column; i < g->n; i += g->n_columns) {
		size_t n = strlen(g->cell[i].text);

		if (n > most)
			most = n;
	}
	return most;
}

/* Columns of the terminal, or a number that cuts nothing. */
static size_t terminal_width(void)
{
	struct winsize w;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) ||
	    w.ws_col < 20)
		return SIZE_MAX;
	return w.ws_col;
}

static void print_cell(const struct grid_text *c, size_t blanks_before,
		       size_t len, const char *colour)
{
	printf("%*s%s%.*s%s", (int)blanks_before, "", colour, (int)len, c->text,
	       *colour ? COLOUR_PLAIN : "");
}

void grid_print(const struct grid *g, unsigned indent)
{
	static const char *const colours[] = { "", COLOUR_GOOD, COLOUR_NOTE,
					       COLOUR_BAD };
	size_t width[GRID_COLUMNS_MAX], most = terminal_width();
	bool coloured = colour_wanted();

	for (unsigned k = 0; k < g->n_columns; k++)
		width[k] = width_of(g, k);
	for (size_t row = 0; row + g->n_columns <= g->n; row += g->n_columns) {
		size_t at = 0, due = indent; /* where we are, and should be */

		for (unsigned k = 0; k < g->n_columns; k++) {
			const struct grid_text *c = &g->cell[row + k];
			size_t n = strlen(c->text);
			size_t from = g->right[k] ? due + width[k] - n : due;
			const char *colour = colours[c->mark];

			if (!row)
				colour = COLOUR_BOLD;
			due += width[k] + GAP;
			if (!n)
				continue; /* no blanks at the end of a line */
			if (g->cut && k + 1 == g->n_columns &&
			    from + LEAST <= most && n > most - from)
				n = most - from;
			print_cell(c, from - at, n, coloured ? colour : "");
			at = from + n;
		}
		putchar('\n');
	}
	if (g->failed)
		fputs("busadm: out of memory\n", stderr);
}

void grid_free(struct grid *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->cell[i].text);
	free(g->cell);
	*g = (struct grid){ 0 };
}
