/*
 * page_html.c - a page in HTML: one file, nothing loaded, nothing run
 *
 * Dark where the reader's system is.  The plots are SVG in the page: gnuplot
 * writes their colours into them, and the style sheet maps those on dark paper
 * (gnuplot.h has both).
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/gnuplot.h"
#include "bench/page.h"
#include "bench/table.h"

static const char style[] =
	":root{--paper:#fff;--ink:#1c2128;--soft:#5c6670;--line:#e1e5ea;"
	"--card:#f6f8fa;--ours:#0072b2;--bad:#b3261e;--badpaper:#fdecea;"
	"--good:#00704f;--near:#00704f;--far:#9a5b00}\n"
	"@media(prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#dde3ea;"
	"--soft:#94a0ac;--line:#2d343c;--card:#1b2127;--ours:#4db3f0;"
	"--bad:#ff8a80;--badpaper:#3a1f1e;--good:#4fd1a1;--near:#4fd1a1;"
	"--far:#ffc04d}}\n"
	"*{box-sizing:border-box}\n"
	"body{margin:0 auto;padding:2.5rem 1.5rem 5rem;max-width:76rem;"
	"background:var(--paper);color:var(--ink);"
	"font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,"
	"'DejaVu Sans',sans-serif}\n"
	"h1{font-size:1.9rem;margin:0 0 .3rem;letter-spacing:-.01em}\n"
	"h2{font-size:1.3rem;margin:3rem 0 .2rem;padding-top:1rem;"
	"border-top:1px solid var(--line)}\n"
	"h3{font-size:1rem;margin:1.5rem 0 .3rem;color:var(--soft)}\n"
	"p{margin:.3rem 0 1rem}\n"
	".soft,.notes{color:var(--soft)}\n"
	".notes{font-size:.88rem;padding-left:1.2rem;margin:.5rem 0 1rem}\n"
	"nav{margin:1rem 0 0}nav a{color:var(--ours);margin-right:1rem;"
	"text-decoration:none}\n"
	".word{border-left:4px solid var(--good);background:var(--card);"
	"padding:.8rem 1.1rem;margin:1.5rem 0;border-radius:0 6px 6px 0}\n"
	".word.behind{border-color:var(--bad)}\n"
	".word ul{margin:.4rem 0 0;padding-left:1.2rem;columns:2 24rem}\n"
	".word p{margin:0;font-weight:600}\n"
	".wide{overflow-x:auto;margin:1rem 0}\n"
	"table{border-collapse:collapse;width:100%;font-size:.86rem;"
	"font-variant-numeric:tabular-nums}\n"
	"th{text-align:left;font-weight:600;color:var(--soft);"
	"border-bottom:2px solid var(--line);white-space:nowrap}\n"
	"th,td{padding:.3rem .7rem;vertical-align:baseline}\n"
	"td{white-space:nowrap}\n"
	".n{text-align:right}\n"
	"tr.first td{border-top:1px solid var(--line)}\n"
	"tr:hover td{background:var(--card)}\n"
	"tr.ours .who{color:var(--ours);font-weight:600}\n"
	"tr.absent td{color:var(--soft)}td.why{white-space:normal}\n"
	"td.case{font-weight:600}\n"
	"td.ratio{white-space:normal;min-width:9rem}\n"
	".env .soft{white-space:nowrap}\n"
	".also{color:var(--soft);font-weight:400}"
	".also.behind{color:var(--bad)}.also.ahead{color:var(--good)}\n"
	".ahead{color:var(--good)}.behind .ratio,td.ratio.behind{"
	"color:var(--bad);font-weight:600}\n"
	"tr.behind td{background:var(--badpaper)}\n"
	".regime{font-size:.75rem;border:1px solid;border-radius:99px;"
	"padding:.05rem .5rem}\n"
	".near{color:var(--near)}.far{color:var(--far)}"
	".unknown{color:var(--soft)}\n"
	"figure{margin:1.5rem 0;padding:.8rem;background:var(--card);"
	"border:1px solid var(--line);border-radius:8px}\n"
	"figure svg{display:block;width:100%;height:auto}\n"
	".env{width:auto}\n"
	".env td{white-space:normal;overflow-wrap:anywhere}\n"
	".env td:first-child{color:var(--soft);white-space:nowrap;"
	"overflow-wrap:normal}\n"
	"code{font:.86em ui-monospace,'DejaVu Sans Mono',monospace}\n"
	"@media print{body{max-width:none}figure{break-inside:avoid}}\n";

static void escape(FILE *f, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			putc(*text, f);
		}
}

static void element(FILE *f, const char *open, const char *text,
		    const char *close)
{
	fputs(open, f);
	escape(f, text);
	fputs(close, f);
}

/* Colours ------------------------------------------------------------------ */

/* gnuplot writes "rgb(  0, 114, 178)" for lines and "rgb(0,114,178)" for
 * letters. */
static void map_colour(FILE *f, const char *from, const char *to)
{
	unsigned r, g, b;

	if (sscanf(from, "#%2x%2x%2x", &r, &g, &b) != 3)
		return;
	fprintf(f,
		"figure [stroke=\"rgb(%3u, %3u, %3u)\"]{stroke:%s}\n"
		"figure [color=\"rgb(%3u, %3u, %3u)\"]{color:%s}\n"
		"figure [fill=\"rgb(%u,%u,%u)\"]{fill:%s}\n",
		r, g, b, to, r, g, b, to, r, g, b, to);
}

static void print_style(FILE *f)
{
	fprintf(f, "<style>\n%s", style);
	map_colour(f, INLINE_INK, "var(--ink)");
	map_colour(f, INLINE_GRID, "var(--line)");
	fputs("@media(prefers-color-scheme:dark){\n", f);
	for (unsigned i = 0; i < N_OUR_COLOURS; i++)
		map_colour(f, our_colours[i][0], our_colours[i][1]);
	for (unsigned i = 0; i < N_RIVAL_COLOURS; i++)
		map_colour(f, rival_colours[i][0], rival_colours[i][1]);
	fputs("}\n</style>\n", f);
}

/* Plots -------------------------------------------------------------------- */

/* A line of gnuplot's SVG.  Names must be unique in the page, so each gets
 * @prefix; what makes a file of it, and tool tips, are left out. */
static void print_svg_line(FILE *f, const char *line, const char *prefix)
{
	static const char *const names[] = { "id='", "id=\"", "href='#",
					     "url(#" };
	const char *end;

	if (!strncmp(line, "<?xml", 5) || !strncmp(line, "<title>", 7) ||
	    !strncmp(line, "<desc>", 6))
		return;
	while (*line) {
		size_t found = 0;

		if (!strncmp(line, "<title>", 7) &&
		    (end = strstr(line, "</title>"))) {
			line = end + strlen("</title>");
			continue;
		}
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (!strncmp(line, names[i], strlen(names[i])))
				found = strlen(names[i]);
		if (!found) {
			putc(*line++, f);
			continue;
		}
		fwrite(line, found, 1, f);
		fputs(prefix, f);
		line += found;
	}
}

static int copy_svg(FILE *f, const char *path, unsigned n)
{
	FILE *svg = fopen(path, "re");
	char *line = NULL, prefix[16];
	size_t size = 0;

	if (!svg)
		return -1;
	snprintf(prefix, sizeof(prefix), "f%u", n);
	while (getline(&line, &size, svg) > 0)
		print_svg_line(f, line, prefix);
	free(line);
	fclose(svg);
	return 0;
}

static int print_figure(FILE *f, const json_t *figure)
{
	static unsigned n;
	const char *dir = getenv("TMPDIR");
	char *path = NULL;
	int fd, ret = -1;

	if (asprintf(&path, "%s/busbench-XXXXXX", dir ? dir : "/tmp") < 0)
		return -1;
	fd = mkstemp(path);
	if (fd < 0) {
		fprintf(stderr, "busbench: cannot make '%s': %s\n", path,
			strerror(errno));
	} else {
		close(fd);
		ret = gnuplot_draw(figure, PICTURE_INLINE, path);
		element(f, "<figure role=\"img\" aria-label=\"",
			row_text(figure, "title"), "\">\n");
		if (ret == 0)
			ret = copy_svg(f, path, n++);
		fputs("</figure>\n", f);
		unlink(path);
	}
	free(path);
	return ret;
}

static int print_figures(const struct page *page, FILE *f, const json_t *rows)
{
	json_t *figures, *figure;
	int ret = 0;
	size_t i;

	if (page->no_plots)
		return 0;
	figures = figures_make(rows, page->colours);
	json_array_foreach(figures, i, figure)
		if (ret == 0)
			ret = print_figure(f, figure);
	json_decref(figures);
	return ret;
}

/* Tables ------------------------------------------------------------------- */

static void print_head(FILE *f, enum load load, const struct columns *columns)
{
	fputs("<div class=\"wide\"><table>\n<thead><tr><th>case</th>"
	      "<th>transport</th><th>wait</th>",
	      f);
	for (unsigned i = 0; i < columns->n; i++)
		element(f, "<th class=\"n\">", columns->column[i].head,
			"</th>");
	fprintf(f, "<th>regime</th>%s</tr></thead>\n<tbody>\n",
		load == LOAD_IDLE ? ""
				  : "<th>shmbus is better by (best rival of "
				    "like use)</th>");
}

static void print_ratio(FILE *f, const json_t *row)
{
	static const char *const classes[] = {
		[STANDING_NONE] = "",
		[STANDING_AHEAD] = " ahead",
		[STANDING_LEVEL] = "",
		[STANDING_BEHIND] = " behind",
	};
	char text[160];

	table_ratio(text, sizeof(text), row);
	fprintf(f, "<td class=\"ratio%s\">",
		classes[standing_of(table_figure(row))]);
	element(f, "", text, "");
	if (table_also(text, sizeof(text), row)) {
		fprintf(f, "<div class=\"also%s\">",
			classes[table_also_standing(row)]);
		element(f, "", text, "</div>");
	}
	fputs("</td>", f);
}

static void print_cells(FILE *f, const json_t *row,
			const struct columns *columns)
{
	char text[240];

	if (!row_is_ok(row)) {
		table_why(text, sizeof(text), row);
		fprintf(f, "<td class=\"why\" colspan=\"%u\">",
			columns->n + (row_load(row) == LOAD_IDLE ? 1 : 2));
		element(f, "", text, "</td>");
		return;
	}
	for (unsigned i = 0; i < columns->n; i++) {
		column_cell(&columns->column[i], text, sizeof(text), row);
		element(f, "<td class=\"n\">", text, "</td>");
	}
	fprintf(f, "<td><span class=\"regime %s\">", row_text(row, "regime"));
	element(f, "", row_text(row, "regime"), "</span></td>");
	if (row_load(row) != LOAD_IDLE)
		print_ratio(f, row);
}

static void print_row(FILE *f, const json_t *row, bool first,
		      const struct columns *columns)
{
	char wait[40];

	table_wait(wait, sizeof(wait), row);
	fprintf(f, "<tr class=\"%s%s%s%s\">", first ? "first " : "",
		row_is(row, "ours") ? "ours " : "",
		row_is_ok(row) ? "" : "absent ",
		table_standing(row) == STANDING_BEHIND ? "behind" : "");
	element(f, "<td class=\"case\">", first ? row_text(row, "case") : "",
		"</td>");
	element(f, "<td class=\"who\">", row_text(row, "transport"), "</td>");
	element(f, "<td>", wait, "</td>");
	print_cells(f, row, columns);
	fputs("</tr>\n", f);
}

static void print_notes(FILE *f, const json_t *notes)
{
	json_t *note;
	size_t i;

	if (!json_array_size(notes))
		return;
	fputs("<ul class=\"notes\">\n", f);
	json_array_foreach(notes, i, note)
		element(f, "<li>", json_string_value(note), "</li>\n");
	fputs("</ul>\n", f);
}

/* What is measured, and in what loop: of these rows, as files may differ. */
static void print_about(FILE *f, const json_t *row)
{
	const char *about = table_about(row_load(row));
	char loop[100];

	table_loop(loop, sizeof(loop), row);
	fprintf(f, "<p class=\"soft\">%c", toupper(about[0]));
	element(f, "", about + 1, "");
	element(f, "", loop, ".</p>\n");
}

static int print_table(const struct page *page, FILE *f, unsigned file,
		       const json_t *rows)
{
	const json_t *before = NULL;
	json_t *warnings = page_warnings(rows), *row;
	struct columns columns;
	size_t i;

	if (page->n_files > 1)
		element(f, "<h3>", page->path[file], "</h3>\n");
	print_about(f, json_array_get(rows, 0));
	table_columns(&columns, rows);
	print_head(f, row_load(json_array_get(rows, 0)), &columns);
	json_array_foreach(rows, i, row) {
		print_row(f, row, page_is_first(row, before), &columns);
		before = row;
	}
	fputs("</tbody></table></div>\n", f);
	print_notes(f, warnings);
	json_decref(warnings);
	return print_figures(page, f, rows);
}

static bool has_load(const struct page *page, enum load load)
{
	bool has = false;

	for (unsigned file = 0; file < page->n_files && !has; file++) {
		json_t *rows = page_rows(page, file, load);

		has = json_array_size(rows) > 0;
		json_decref(rows);
	}
	return has;
}

static int print_load(const struct page *page, FILE *f, enum load load)
{
	int ret = 0;

	if (!has_load(page, load))
		return 0;
	fprintf(f, "<h2 id=\"%s\">%s</h2>\n", load_names[load],
		load_names[load]);
	for (unsigned file = 0; file < page->n_files && ret == 0; file++) {
		json_t *rows = page_rows(page, file, load);

		if (json_array_size(rows))
			ret = print_table(page, f, file, rows);
		json_decref(rows);
	}
	return ret;
}

/* The rest of it ----------------------------------------------------------- */

static void print_env_row(FILE *f, const char *name, const char *text)
{
	if (!*text)
		return;
	element(f, "<tr><td>", name, "</td><td>");
	element(f, "", text, "</td></tr>\n");
}

static void print_env(FILE *f, const json_t *env)
{
	json_t *run;
	size_t i;
	bool vm = row_is(env, "virtual_machine");
	double l2 = row_number(env, "l2_bytes"),
	       l3 = row_number(env, "l3_bytes");
	char text[160];

	fputs("<div class=\"wide\"><table class=\"env\">\n", f);
	json_array_foreach(json_object_get(env, "runs"), i, run) {
		fputs("<tr><td>run</td><td><code>", f);
		element(f, "", row_text(run, "command"), "</code> ");
		element(f, "<span class=\"soft\">", row_text(run, "date"),
			"</span></td></tr>\n");
	}
	print_env_row(f, "processor", row_text(env, "cpu"));
	snprintf(text, sizeof(text), "%.0f on line, %.0f allowed",
		 row_number(env, "cpus"), row_number(env, "cpus_allowed"));
	print_env_row(f, "processors", text);
	snprintf(text, sizeof(text), "L2 %.0f KiB, L3 %.0f MiB", l2 / 1024,
		 l3 / (1 << 20));
	print_env_row(f, "caches", l2 > 0 && l3 > 0 ? text : "");
	print_env_row(f, "governor", row_text(env, "governor"));
	print_env_row(f, "kernel", row_text(env, "kernel"));
	snprintf(text, sizeof(text), "%s%s%s",
		 vm ? "a virtual machine" : "bare metal, or not to be seen",
		 *row_text(env, "container") ? ", in a container: " : "",
		 row_text(env, "container"));
	print_env_row(f, "machine", text);
	print_env_row(f, "io_uring",
		      row_is(env, "io_uring")
			      ? "available"
			      : row_text(env, "why_no_io_uring"));
	snprintf(text, sizeof(text), "%s (%s), %s", row_text(env, "version"),
		 row_text(env, "commit"), row_text(env, "compiler"));
	print_env_row(f, "shmbus", text);
	fputs("</table></div>\n", f);
}

static void print_rows_behind(FILE *f, const json_t *rows)
{
	json_t *row;
	size_t i;

	if (!json_array_size(rows))
		return;
	fputs("<ul>\n", f);
	json_array_foreach(rows, i, row)
		element(f, "<li>", json_string_value(row), "</li>\n");
	fputs("</ul>\n", f);
}

static void print_standings(FILE *f, const struct standings *standings)
{
	char text[240];

	standings_sentence(standings, text, sizeof(text));
	fprintf(f, "<div class=\"word%s\"><p>",
		json_array_size(standings->behind) ? " behind" : "");
	element(f, "", text, ".</p>\n");
	print_rows_behind(f, standings->behind);
	if (standings_also(standings, text, sizeof(text))) {
		fprintf(f, "<p>%c", toupper(text[0]));
		element(f, "", text + 1, ".</p>\n");
	}
	print_rows_behind(f, standings->also);
	if (standings_absent(standings, text, sizeof(text))) {
		fprintf(f, "<p class=\"soft\">%c", toupper(text[0]));
		element(f, "", text + 1, ".</p>\n");
	}
	fputs("</div>\n", f);
}

static void print_top(const struct page *page, FILE *f)
{
	const char *title = page->title ? page->title : "busbench";
	json_t *envs = page_envs(page), *env;
	size_t i;

	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
	      "<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n",
	      f);
	element(f, "<title>", title, "</title>\n");
	print_style(f);
	element(f, "</head>\n<body>\n<h1>", title, "</h1>\n");
	fputs("<p class=\"soft\">Messages between processes of one machine: "
	      "shmbus, and what else there is, each in turn.</p>\n<nav>",
	      f);
	for (int load = 0; load < LOAD_N; load++)
		if (has_load(page, (enum load)load))
			fprintf(f, "<a href=\"#%s\">%s</a>", load_names[load],
				load_names[load]);
	fputs("</nav>\n", f);
	print_standings(f, &page->standings);
	json_array_foreach(envs, i, env)
		print_env(f, env);
	json_decref(envs);
}

int page_html(const struct page *page, FILE *f)
{
	int ret = 0;

	print_top(page, f);
	for (int load = 0; load < LOAD_N && ret == 0; load++)
		ret = print_load(page, f, (enum load)load);
	fputs("<p class=\"soft\">Compare ratios within a case only.  near and "
	      "far: whether the two processors shared a cache, which decides "
	      "everything.  In a closed loop the next message is sent when "
	      "one before it has been dealt with.</p>\n</body>\n</html>\n",
	      f);
	return ret;
}
