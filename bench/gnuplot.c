/*
 * gnuplot.c - figures drawn by gnuplot(1), a program that may not be there
 *
 * It gets a script on its standard input, data included, and writes the
 * picture.  Ours are thick and drawn last, over the others; each line differs
 * from its neighbours in more than its colour.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/gnuplot.h"
#include "bench/row.h"
#include "tools/units.h"

const char *const our_colours[N_OUR_COLOURS][2] = {
	{ "#0072b2", "#4db3f0" },
	{ "#56b4e9", "#9fd8f8" },
	{ "#003f66", "#2f86c4" },
};

const char *const rival_colours[N_RIVAL_COLOURS][2] = {
	{ "#d55e00", "#ff8a3d" }, { "#009e73", "#2fd1a5" },
	{ "#cc79a7", "#e8a5cb" }, { "#e69f00", "#ffc04d" },
	{ "#7f7f7f", "#a9a9a9" }, { "#8c510a", "#c98d4b" },
	{ "#6a3d9a", "#ab86d6" },
};

/* The program -------------------------------------------------------------- */

static const char *program(void)
{
	const char *given = getenv("BUSBENCH_GNUPLOT");

	return given && *given ? given : "gnuplot";
}

bool gnuplot_found(void)
{
	const char *name = program(), *path = getenv("PATH");
	char *copy, *rest, *dir, file[PATH_MAX];
	bool found = false;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	copy = rest = strdup(path ? path : "/usr/bin:/bin");
	while (copy && !found && (dir = strsep(&rest, ":"))) {
		snprintf(file, sizeof(file), "%s/%s", *dir ? dir : ".", name);
		found = access(file, X_OK) == 0;
	}
	free(copy);
	return found;
}

static pid_t start(FILE **script)
{
	int fd[2];
	pid_t pid;

	if (pipe(fd) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(fd[0], STDIN_FILENO);
		close(fd[0]);
		close(fd[1]);
		execlp(program(), program(), "-", (char *)NULL);
		_exit(127);
	}
	close(fd[0]);
	*script = pid > 0 ? fdopen(fd[1], "w") : NULL;
	if (pid > 0 && *script)
		return pid;
	close(fd[1]);
	return -1;
}

/* Axes --------------------------------------------------------------------- */

struct range {
	double low, high;
};

static struct range range_of(const json_t *figure, size_t which)
{
	struct range range = { INFINITY, 0 };
	json_t *line, *point;
	size_t i, j;

	json_array_foreach(json_object_get(figure, "lines"), i, line)
		json_array_foreach(json_object_get(line, "points"), j, point) {
			double value =
				json_number_value(json_array_get(point, which));

			if (value > 0 && value < range.low)
				range.low = value;
			if (value > range.high)
				range.high = value;
		}
	return range;
}

static void tick_label(char *buf, size_t size, enum axis axis, double value)
{
	if (axis == AXIS_NS && value >= 1)
		snprintf(buf, size, "%g %s",
			 value < 1e3   ? value
			 : value < 1e6 ? value / 1e3
			 : value < 1e9 ? value / 1e6
				       : value / 1e9,
			 value < 1e3   ? "ns"
			 : value < 1e6 ? "us"
			 : value < 1e9 ? "ms"
				       : "s");
	else if (axis == AXIS_RATE && value >= 1e3)
		snprintf(buf, size, "%g %c",
			 value < 1e6   ? value / 1e3
			 : value < 1e9 ? value / 1e6
				       : value / 1e9,
			 value < 1e6   ? 'k'
			 : value < 1e9 ? 'M'
				       : 'G');
	else
		snprintf(buf, size, "%g", value);
}

/* Powers of ten, and 2 and 5 of them where there are few. */
static void decimal_ticks(FILE *f, char name, enum axis axis,
			  struct range range)
{
	bool few = range.high / range.low < 200;
	const char *comma = "";
	char text[40];

	fprintf(f, "set %ctics (", name);
	for (double ten = pow(10, floor(log10(range.low))); ten <= range.high;
	     ten *= 10)
		for (int digit = 1; digit < 10; digit++) {
			bool labelled = digit == 1 ||
					(few && (digit == 2 || digit == 5));
			double value = ten * digit;

			if (value < range.low || value > range.high)
				continue;
			tick_label(text, sizeof(text), axis, value);
			fprintf(f, "%s\"%s\" %g%s", comma, labelled ? text : "",
				value, labelled ? "" : " 1");
			comma = ", ";
		}
	fputs(")\n", f);
}

/* 10 is 90 %, and so on. */
static void part_ticks(FILE *f, struct range range)
{
	fputs("set xtics (\"50 %%\" 2, \"90 %%\" 10", f);
	for (int nines = 2; pow(10, nines) <= range.high; nines++)
		fprintf(f, ", \"99%s%.*s %%%%\" 1e%d", nines > 2 ? "." : "",
			nines - 2, "9999999999", nines);
	fputs(")\n", f);
}

/* A tick for each place where there is a point. */
static void point_ticks(FILE *f, enum axis axis, const json_t *figure)
{
	const char *comma = "";
	json_t *line, *point;
	size_t i, j;
	char text[40];

	fputs("set xtics (", f);
	json_array_foreach(json_object_get(figure, "lines"), i, line)
		json_array_foreach(json_object_get(line, "points"), j, point) {
			double x = json_number_value(json_array_get(point, 0));

			if (axis == AXIS_BYTES)
				units_bytes(text, sizeof(text), x);
			else if (axis == AXIS_PAIRS)
				snprintf(text, sizeof(text), "%gx%g", x, x);
			else
				snprintf(text, sizeof(text), "%g", x);
			fprintf(f, "%s\"%s\" %g", comma, text, x);
			comma = ", ";
		}
	fputs(")\n", f);
}

static const char *axis_label(enum axis axis)
{
	switch (axis) {
	case AXIS_PART:
		return "part of all that took no longer";
	case AXIS_NS:
		return "latency";
	case AXIS_RATE:
		return "messages/s";
	case AXIS_GB:
		return "GB/s";
	case AXIS_BYTES:
		return "bytes of a message";
	case AXIS_WORKERS:
		return "workers";
	case AXIS_PAIRS:
		return "writers x readers";
	case AXIS_BATCH:
		return "messages a call";
	}
	return "";
}

static void print_axes(FILE *f, const json_t *figure, const char *ink)
{
	enum axis x = (enum axis)row_number(figure, "x");
	enum axis y = (enum axis)row_number(figure, "y");
	struct range xs = range_of(figure, 0), ys = range_of(figure, 1);

	fprintf(f, "set logscale xy\n");
	fprintf(f, "set xlabel \"%s\" noenhanced textcolor rgb \"%s\"\n",
		axis_label(x), ink);
	fprintf(f, "set ylabel \"%s\" noenhanced textcolor rgb \"%s\"\n",
		axis_label(y), ink);
	if (x == AXIS_PART) {
		part_ticks(f, xs);
		fprintf(f, "set xrange [1:%g]\n", fmax(xs.high, 10));
	} else {
		point_ticks(f, x, figure);
		fprintf(f, "set xrange [%g:%g]\n", xs.low / 1.2, xs.high * 1.2);
	}
	ys.low /= 1.3;
	ys.high *= 1.3;
	decimal_ticks(f, 'y', y, ys);
	fprintf(f, "set yrange [%g:%g]\n", ys.low, ys.high);
}

/* Lines -------------------------------------------------------------------- */

static void print_data(FILE *f, const json_t *lines)
{
	json_t *line, *point;
	size_t i, j;

	json_array_foreach(lines, i, line) {
		fprintf(f, "$line%zu << EOD\n", i);
		json_array_foreach(json_object_get(line, "points"), j, point)
			fprintf(f, "%.9g %.9g\n",
				json_number_value(json_array_get(point, 0)),
				json_number_value(json_array_get(point, 1)));
		fputs("EOD\n", f);
	}
}

static void print_line(FILE *f, const json_t *line, size_t i, bool with_points)
{
	bool ours = row_is(line, "ours");
	unsigned colour = (unsigned)row_number(line, "colour");
	unsigned dash = (unsigned)row_number(line, "dash");
	const char *rgb = ours ? our_colours[colour % N_OUR_COLOURS][0]
			       : rival_colours[colour % N_RIVAL_COLOURS][0];

	/* A rival whose colour comes again gets other dashes. */
	if (!ours)
		dash += colour / N_RIVAL_COLOURS;
	fprintf(f, "$line%zu using 1:2 with %s lw %g lc rgb \"%s\" dt %u", i,
		with_points ? "linespoints" : "lines", ours ? 3.5 : 1.7, rgb,
		dash % 5 + 1);
	if (with_points)
		fprintf(f, " pt %u ps %g", ours ? 7 : 4 + colour % 9,
			ours ? 0.9 : 0.7);
	fprintf(f, " title \"%s\"", row_text(line, "title"));
}

/* Rivals first, the first of ours last: it lies on top.  The key is turned
 * round, and has it first. */
static void print_lines(FILE *f, const json_t *figure)
{
	json_t *lines = json_object_get(figure, "lines");
	bool points = (enum axis)row_number(figure, "x") != AXIS_PART;
	const char *comma = "plot ";

	print_data(f, lines);
	for (int ours = 0; ours < 2; ours++)
		for (size_t i = json_array_size(lines); i-- > 0;) {
			json_t *line = json_array_get(lines, i);

			if (row_is(line, "ours") != ours)
				continue;
			fputs(comma, f);
			print_line(f, line, i, points);
			comma = ", ";
		}
	putc('\n', f);
}

/* The picture -------------------------------------------------------------- */

/* In double quotes, as gnuplot reads them. */
static void print_quoted(FILE *f, const char *text)
{
	putc('"', f);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', f);
		putc(*text, f);
	}
	putc('"', f);
}

/* As high as the key needs for a single column: in several it would be out of
 * order, and leave no room for the plot. */
static size_t height(size_t least, size_t others, size_t each,
		     const json_t *figure)
{
	size_t n = json_array_size(json_object_get(figure, "lines"));

	return others + each * n > least ? others + each * n : least;
}

static void print_terminal(FILE *f, const json_t *figure, enum picture picture)
{
	if (picture == PICTURE_PNG)
		fprintf(f,
			"set terminal pngcairo size 1600,%zu background "
			"rgb \"white\" font \"DejaVu Sans,18\" linewidth "
			"1.6\n",
			height(880, 200, 31, figure));
	else
		fprintf(f,
			"set terminal svg size 900,%zu dynamic %s font "
			"\"system-ui,DejaVu Sans,sans-serif,13\"\n",
			height(480, 120, 22, figure),
			picture == PICTURE_SVG ? "background rgb \"white\""
					       : "");
}

static void print_script(FILE *f, const json_t *figure, enum picture picture,
			 const char *path)
{
	bool on_page = picture == PICTURE_INLINE;
	const char *ink = on_page ? INLINE_INK : "#333333";
	const char *grid = on_page ? INLINE_GRID : "#dddddd";

	print_terminal(f, figure, picture);
	fputs("set output ", f);
	print_quoted(f, path);
	fputs("\nset title ", f);
	print_quoted(f, row_text(figure, "title"));
	fprintf(f, " noenhanced font \":Bold,%d\" textcolor rgb \"%s\"\n",
		picture == PICTURE_PNG ? 20 : 15, ink);
	fprintf(f, "set border 3 lw 1 lc rgb \"%s\"\n", ink);
	fprintf(f, "set grid xtics ytics lt 1 lw 0.6 lc rgb \"%s\"\n", grid);
	fprintf(f, "set tics nomirror scale 0.6,0.3 textcolor rgb \"%s\"\n",
		ink);
	fprintf(f,
		"set key outside right top vertical Left reverse invert "
		"noenhanced samplen 2.2 spacing 1.1 textcolor rgb \"%s\"\n",
		ink);
	print_axes(f, figure, ink);
	print_lines(f, figure);
}

int gnuplot_draw(const json_t *figure, enum picture picture, const char *path)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* it may die */
	FILE *script = NULL;
	pid_t pid = start(&script);
	int status = 0;

	if (pid < 0) {
		fprintf(stderr, "busbench: cannot run %s: %s\n", program(),
			strerror(errno));
		signal(SIGPIPE, before);
		return -1;
	}
	print_script(script, figure, picture, path);
	fclose(script);
	signal(SIGPIPE, before);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "busbench: %s could not draw '%s' (%s %d)\n", program(),
		path, WIFEXITED(status) ? "exit status" : "signal",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return -1;
}
