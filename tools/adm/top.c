/*
 * top.c - the live screen as lines of text, without a terminal
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/counts.h"
#include "tools/adm/text.h"
#include "tools/adm/top.h"
#include "tools/units.h"

/* ----------------------------------------------------------------- cells -- */

static struct top_row *add_row(struct top_table *t)
{
	struct top_row *row;

	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 32;

		row = realloc(t->row, room * sizeof(*row));
		if (!row)
			return NULL;
		t->row = row;
		t->room = room;
	}
	row = &t->row[t->n++];
	memset(row, 0, sizeof(*row));
	return row;
}

static void text_cell(struct top_row *row, unsigned *at, const char *text)
{
	struct top_cell *c = &row->cell[(*at)++];

	snprintf(c->text, sizeof(c->text), "%s", text);
	c->key = (double)NAN;
}

static void count_cell(struct top_row *row, unsigned *at, uint64_t n)
{
	struct top_cell *c = &row->cell[(*at)++];

	if (n < 1000000)
		snprintf(c->text, sizeof(c->text), "%" PRIu64, n);
	else
		units_count(c->text, sizeof(c->text), (double)n);
	c->key = (double)n;
}

/* The name of something: the smallest first. */
static void number(struct top_row *row, unsigned *at, uint32_t n)
{
	struct top_cell *c = &row->cell[(*at)++];

	snprintf(c->text, sizeof(c->text), "%u", n);
	c->key = -(double)n;
}

/* What is not known comes last. */
static void number_cell(struct top_row *row, unsigned *at, double x,
			const char *format)
{
	struct top_cell *c = &row->cell[(*at)++];

	c->key = isfinite(x) ? x : -1;
	if (!isfinite(x))
		strcpy(c->text, "-");
	else if (format)
		snprintf(c->text, sizeof(c->text), "%.0f%%", x);
	else
		units_count(c->text, sizeof(c->text), x < 999 ? round(x) : x);
}

static void rate_cell(struct top_row *row, unsigned *at, double rate)
{
	number_cell(row, at, rate, NULL);
}

static void cpu_cell(struct top_row *row, unsigned *at, double cpu)
{
	number_cell(row, at, 100 * cpu, "%");
}

static void no_cell(struct top_row *row, unsigned *at)
{
	rate_cell(row, at, (double)NAN);
}

static void asleep_cell(struct top_row *row, unsigned *at, uint32_t n_rx,
			uint32_t n_tx)
{
	struct top_cell *c = &row->cell[(*at)++];
	size_t n = 0;

	c->key = n_rx + n_tx;
	if (n_rx)
		n = (size_t)snprintf(c->text, sizeof(c->text), "%u reader%s",
				     n_rx, text_s(n_rx));
	if (n_tx)
		snprintf(c->text + n, sizeof(c->text) - n, "%s%u writer%s",
			 n ? ", " : "", n_tx, text_s(n_tx));
}

/* ------------------------------------------------------------ the tables -- */

/* "A|>B": a column each, '>' to the right. */
static void set_heads(struct top_table *t, const char *const *heads)
{
	*t = (struct top_table){ 0 };
	for (; heads[t->n_columns]; t->n_columns++) {
		const char *head = heads[t->n_columns];

		t->right[t->n_columns] = *head == '>';
		t->head[t->n_columns] = head + (*head == '>');
	}
}

/* With one bus there is no need to name it in each row. */
static bool names_bus(const struct watch *w)
{
	return w->all || w->n > 1;
}

static void bus_cell(struct top_row *row, unsigned *at,
		     const struct watch_bus *b)
{
	char name[64];

	text_cell(row, at, text_name(name, sizeof(name), b->arg));
}

static void chan_name(struct top_row *row, unsigned *at,
		      const struct snap_chan *c)
{
	char name[4 * BUS_NAME_BYTES];

	if (*c->name)
		text_name(name, sizeof(name), c->name);
	else
		snprintf(name, sizeof(name), "#%u", c->idx);
	text_cell(row, at, name);
}

static const char *chan_state(const struct snap_chan *c)
{
	if (c->ring && c->ring->aborted)
		return "aborted";
	if (c->ring && c->ring->closed)
		return "closed";
	return "";
}

static bool is_shown(const struct snap_chan *c)
{
	return c->kind != BUS_CHAN_PIPE_IDLE && c->kind != BUS_CHAN_IDLE;
}

static int add_chan(struct top_table *t, const struct watch *w,
		    const struct watch_bus *b, uint32_t idx)
{
	const struct snap_chan *c = &b->now.chan[idx];
	struct top_row *row = add_row(t);
	struct counts_chan n;
	struct rates r = { (double)NAN, (double)NAN, (double)NAN, (double)NAN };
	unsigned at = 0;

	if (!row)
		return -ENOMEM;
	counts_of_chan(c, &n);
	if (b->has_was && b->state == WATCH_OPEN)
		rates_of_chan(&b->was, &b->now, idx, &r);
	row->dim = b->state == WATCH_GONE;
	row->bad = c->bad && !c->unread;
	if (names_bus(w))
		bus_cell(row, &at, b);
	chan_name(row, &at, c);
	text_cell(row, &at, counts_kind(c));
	rate_cell(row, &at, r.put);
	rate_cell(row, &at, r.got);
	count_cell(row, &at, n.n_waiting);
	if (c->ring) {
		count_cell(row, &at, n.n_held);
		count_cell(row, &at, n.n_free);
	} else {
		no_cell(row, &at);
		no_cell(row, &at);
	}
	asleep_cell(row, &at, n.n_rx, n.n_tx);
	text_cell(row, &at, c->bad ? c->bad : chan_state(c));
	return 0;
}

static int add_ep(struct top_table *t, const struct watch *w,
		  const struct watch_bus *b, uint32_t id)
{
	char command[TOP_CELL_BYTES];
	const struct snap_ep *ep = &b->now.ep[id];
	struct top_row *row = add_row(t);
	struct rates r = { (double)NAN, (double)NAN, (double)NAN, (double)NAN };
	unsigned at = 0;

	if (!row)
		return -ENOMEM;
	if (b->has_was && b->state == WATCH_OPEN)
		rates_of_ep(&b->was, &b->now, id, &r);
	row->dim = b->state == WATCH_GONE;
	row->bad = ep->bad || ep->state == BUS_EP_DEAD ||
		   process_is_dead(&ep->proc) || process_is_stopped(&ep->proc);
	if (names_bus(w))
		bus_cell(row, &at, b);
	number(row, &at, id);
	number(row, &at, ep->pid);
	text_cell(row, &at, row->dim ? "-" : process_word(ep->proc.state));
	cpu_cell(row, &at, r.cpu);
	rate_cell(row, &at, r.put);
	rate_cell(row, &at, r.got);
	rate_cell(row, &at, r.parks);
	count_cell(row, &at, counts_held_by(&b->now, id));
	text_cell(row, &at,
		  text_name(command, sizeof(command), ep->proc.command));
	return 0;
}

static int fill_bus(struct top_table *t, enum top_table_id id,
		    const struct watch *w, const struct watch_bus *b)
{
	int ret = 0;

	if (!b->has_now)
		return 0;
	for (uint32_t i = 0; !ret && id == TOP_CHANNELS && i < b->now.n_chans;
	     i++)
		if (is_shown(&b->now.chan[i]))
			ret = add_chan(t, w, b, i);
	for (uint32_t i = 1; !ret && id == TOP_ENDPOINTS && i < b->now.n_eps;
	     i++)
		if (snap_attached(&b->now.ep[i]) ||
		    b->now.ep[i].state == BUS_EP_DEAD)
			ret = add_ep(t, w, b, i);
	return ret;
}

static void measure(struct top_table *t)
{
	for (unsigned c = 0; c < t->n_columns; c++) {
		size_t most = strlen(t->head[c]);

		for (size_t i = 0; i < t->n; i++) {
			size_t n = strlen(t->row[i].cell[c].text);

			most = n > most ? n : most;
		}
		t->width[c] = (unsigned)most;
	}
}

int top_fill(struct top_table *t, enum top_table_id id, const struct watch *w)
{
	static const char *const channels[] = { "BUS",    "CHANNEL", "KIND",
						">PUT/S", ">GOT/S",  ">WAITING",
						">HELD",  ">FREE",   "ASLEEP",
						"STATE",  NULL };
	static const char *const endpoints[] = {
		"BUS",    ">ENDPOINT", ">PID",   "STATE",   ">CPU", ">PUT/S",
		">GOT/S", ">PARKS/S",  ">HOLDS", "COMMAND", NULL
	};
	const char *const *heads = id == TOP_CHANNELS ? channels : endpoints;
	int ret = 0;

	set_heads(t, heads + !names_bus(w));
	for (size_t i = 0; !ret && i < w->n; i++)
		ret = fill_bus(t, id, w, w->bus[i]);
	measure(t);
	return ret;
}

void top_free(struct top_table *t)
{
	free(t->row);
	*t = (struct top_table){ 0 };
}

/* ------------------------------------------------------------------ sort -- */

static int compare_cells(const struct top_cell *a, const struct top_cell *b)
{
	if (isnan(a->key) || isnan(b->key))
		return strcmp(a->text, b->text);
	return (a->key < b->key) - (a->key > b->key);
}

/* By insertion where they are almost in order, which they are from one second
 * to the next, and few. */
void top_sort(struct top_table *t, unsigned column, bool reverse)
{
	struct top_row one;

	if (column >= t->n_columns)
		return;
	for (size_t i = 1; i < t->n; i++) {
		size_t k = i;

		one = t->row[i];
		while (k) {
			int d = compare_cells(&t->row[k - 1].cell[column],
					      &one.cell[column]);

			if ((reverse ? -d : d) <= 0)
				break;
			k--;
		}
		memmove(&t->row[k + 1], &t->row[k],
			(i - k) * sizeof(t->row[0]));
		t->row[k] = one;
	}
}

/* ----------------------------------------------------------------- lines -- */

static int place(char *buf, int at, int width, const char *text, int n)
{
	for (int i = 0; i < n && at < width; i++)
		buf[at++] = text[i];
	return at;
}

static int blanks(char *buf, int at, int width, int n)
{
	while (n-- > 0 && at < width)
		buf[at++] = ' ';
	return at;
}

void top_line(const struct top_table *t, long row, char *buf, int width)
{
	int at = 0;

	for (unsigned c = 0; c < t->n_columns; c++) {
		const char *text =
			row < 0 ? t->head[c] : t->row[row].cell[c].text;
		int n = (int)strlen(text), room = (int)t->width[c] - n;

		if (c)
			at = blanks(buf, at, width, 2);
		if (t->right[c])
			at = blanks(buf, at, width, room);
		at = place(buf, at, width, text, n);
		if (!t->right[c])
			at = blanks(buf, at, width, room);
	}
	while (at && buf[at - 1] == ' ')
		at--;
	buf[at] = '\0';
}

/* Where the head of a column is, in the line of heads. */
static void head_at(const struct top_table *t, unsigned column, int *at, int *n)
{
	*at = 0;
	for (unsigned c = 0; c < column; c++)
		*at += (int)t->width[c] + 2;
	*n = (int)strlen(t->head[column]);
	if (t->right[column])
		*at += (int)t->width[column] - *n;
}

/* ------------------------------------------------------------------ keys -- */

void top_want_init(struct top_want *want)
{
	*want = (struct top_want){ .every_ns = SB_NS_PER_S };
}

static void scroll(struct top_want *want, long by)
{
	size_t *first = &want->first[want->active];

	if (by < 0 && (size_t)-by > *first)
		*first = 0;
	else
		*first += (size_t)by; /* paint() keeps it within the rows */
}

void top_press(struct top_want *want, enum top_key key, int page)
{
	unsigned *column = &want->column[want->active];

	switch (key) {
	case TOP_QUIT:
		want->quit = !want->help; /* q also leaves the help */
		want->help = false;
		break;
	case TOP_PAUSE:
		want->paused = !want->paused;
		break;
	case TOP_HELP:
		want->help = !want->help;
		break;
	case TOP_OTHER_TABLE:
		want->active = (want->active + 1) % TOP_N_TABLES;
		break;
	case TOP_REVERSE:
		want->reverse[want->active] = !want->reverse[want->active];
		break;
	case TOP_LEFT:
		*column -= *column > 0;
		break;
	case TOP_RIGHT:
		*column += 1; /* paint() keeps it within the columns */
		break;
	case TOP_UP:
		scroll(want, -1);
		break;
	case TOP_DOWN:
		scroll(want, 1);
		break;
	case TOP_PAGE_UP:
		scroll(want, -page);
		break;
	case TOP_PAGE_DOWN:
		scroll(want, page);
		break;
	case TOP_HOME:
		want->first[want->active] = 0;
		break;
	case TOP_NO_KEY:
		break;
	}
}

/* ---------------------------------------------------------------- screen -- */

static struct top_painted *say(struct top_screen *s, enum top_look look,
			       const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A line, if there is room for it. */
static struct top_painted *say(struct top_screen *s, enum top_look look,
			       const char *format, ...)
{
	static struct top_painted nowhere;
	struct top_painted *p = s->n < s->height ? &s->line[s->n++] : &nowhere;
	va_list args;

	*p = (struct top_painted){ .look = look };
	va_start(args, format);
	vsnprintf(p->text, (size_t)s->width + 1, format, args);
	va_end(args);
	return p;
}

static void paint_title(struct top_screen *s, const struct watch *w,
			const struct top_want *want, const char *clock)
{
	char left[128];
	int n;

	if (w->all)
		n = snprintf(left, sizeof(left), "busadm top: %zu bus%s", w->n,
			     w->n == 1 ? "" : "es");
	else
		n = snprintf(left, sizeof(left), "busadm top");
	n = s->width - n - (int)strlen(clock) - (want->paused ? 10 : 1);
	say(s, TOP_BOLD, "%s%*s%s%s", left, n > 0 ? n : 1, "",
	    want->paused ? " [paused] " : " ", clock);
}

static const char *state_word(const struct watch_bus *b)
{
	if (b->v.creator == VIEW_CREATOR_DEAD)
		return "orphan";
	return b->v.creator == VIEW_CREATOR_LIVES ? "live" : "unnamed";
}

static const char *per_s(char *buf, size_t size, double rate)
{
	units_count(buf, size, rate < 999 ? round(rate) : rate);
	return buf;
}

static void paint_bus(struct top_screen *s, const struct watch_bus *b)
{
	struct rates r = { (double)NAN, (double)NAN, (double)NAN, (double)NAN };
	char name[64], why[2 * VIEW_WHY_BYTES], buf[4][32];
	struct counts_bus n;

	text_name(name, sizeof(name), b->arg);
	if (b->state == WATCH_UNREADABLE ||
	    (b->state == WATCH_GONE && !b->has_now)) {
		say(s, TOP_BAD, "%s: %s", name,
		    text_name(why, sizeof(why), b->why));
		return;
	}
	if (!b->has_now)
		return;
	counts_of_bus(&b->now, &n);
	if (b->state == WATCH_GONE) {
		say(s, TOP_BAD,
		    "%s: gone; these were its last figures: put %" PRIu64
		    ", got %" PRIu64 ", waiting %" PRIu64,
		    name, n.n_put, n.n_got, n.n_waiting);
		return;
	}
	if (b->has_was)
		rates_of_bus(&b->was, &b->now, &r);
	say(s, b->v.creator == VIEW_CREATOR_DEAD ? TOP_NOTED : TOP_GOOD,
	    "%s: %s%s, put %s/s, got %s/s, parks %s/s, waiting %" PRIu64
	    ", held %" PRIu64 ", %u endpoint%s, used %s",
	    name, state_word(b), b->created_ns ? " (created anew)" : "",
	    per_s(buf[0], sizeof(buf[0]), r.put),
	    per_s(buf[1], sizeof(buf[1]), r.got),
	    per_s(buf[2], sizeof(buf[2]), r.parks), n.n_waiting, n.n_held,
	    b->now.n_attached, text_s(b->now.n_attached),
	    text_bytes(buf[3], sizeof(buf[3]), b->v.used_bytes));
}

/* Of many buses those that have something to say come first. */
static bool is_quiet(const struct watch_bus *b)
{
	return b->state == WATCH_OPEN && !findings_bad(&b->found);
}

static void paint_buses(struct top_screen *s, const struct watch *w)
{
	int most = s->height / 4 > 1 ? s->height / 4 : 1, n = 0;

	for (int quiet = 0; quiet < 2; quiet++)
		for (size_t i = 0; i < w->n; i++) {
			if (is_quiet(w->bus[i]) != quiet)
				continue;
			if (n < most)
				paint_bus(s, w->bus[i]);
			n++;
		}
	if (n > most)
		say(s, TOP_DIM, "... and %d more", n - most);
	if (!w->n)
		say(s, TOP_DIM, "there is no bus that you may see");
}

static void paint_finding(struct top_screen *s, const struct finding *f,
			  const char *bus)
{
	char who[64] = "";

	/* First, as the end of a line may have no room. */
	if (f->pid)
		snprintf(who, sizeof(who), "pid %d: ", (int)f->pid);
	say(s,
	    f->severity == FINDING_ERROR     ? TOP_BAD
	    : f->severity == FINDING_WARNING ? TOP_NOTED
					     : TOP_DIM,
	    "%s: %s%s%s%s%s%s", finding_word(f->severity), bus,
	    *bus ? ": " : "", who, f->where, *f->where ? ": " : "", f->what);
}

/* The worst, as many as leave room for the tables. */
static void paint_findings(struct top_screen *s, const struct watch *w)
{
	int most = s->height / 4, left_out = 0;
	char name[64];

	for (int severity = FINDING_ERROR; severity >= FINDING_NOTE; severity--)
		for (size_t i = 0; i < w->n; i++) {
			const struct watch_bus *b = w->bus[i];

			text_name(name, sizeof(name),
				  names_bus(w) ? b->arg : "");
			for (uint32_t k = 0; k < b->found.n; k++) {
				const struct finding *f = &b->found.at[k];

				if ((int)f->severity != severity)
					continue;
				if (most-- > 0)
					paint_finding(s, f, name);
				else
					left_out++;
			}
		}
	if (left_out)
		say(s, TOP_DIM, "... and %d more: busadm check", left_out);
}

static void paint_table(struct top_screen *s, struct top_table *t,
			struct top_want *want, enum top_table_id id, int rows)
{
	size_t *first = &want->first[id];
	struct top_painted *heads;

	if (want->column[id] >= t->n_columns)
		want->column[id] = t->n_columns - 1;
	if (rows < 2 || s->height - s->n < 2)
		return;
	top_sort(t, want->column[id], want->reverse[id]);
	if (t->n <= (size_t)rows - 1)
		*first = 0;
	else if (*first > t->n - (size_t)(rows - 1))
		*first = t->n - (size_t)(rows - 1);
	heads = say(s, id == want->active ? TOP_HEADS : TOP_HEADS_PASSIVE, "%s",
		    "");
	top_line(t, -1, heads->text, s->width);
	head_at(t, want->column[id], &heads->mark, &heads->mark_n);
	for (size_t i = *first; i < t->n && rows-- > 1; i++) {
		const struct top_row *row = &t->row[i];
		struct top_painted *p = say(s,
					    row->dim   ? TOP_DIM
					    : row->bad ? TOP_BAD
						       : TOP_PLAIN,
					    "%s", "");

		top_line(t, (long)i, p->text, s->width);
	}
}

/* Both tables one above the other; where that is too little for either, only
 * the active one. */
static void paint_tables(struct top_screen *s, const struct watch *w,
			 struct top_want *want)
{
	struct top_table t[TOP_N_TABLES];
	int room = s->height - s->n - 1, rows[TOP_N_TABLES];

	for (int i = 0; i < TOP_N_TABLES; i++) {
		top_fill(&t[i], (enum top_table_id)i, w);
		rows[i] = (int)(t[i].n < TOP_HEIGHT_MAX ? t[i].n + 1
							: TOP_HEIGHT_MAX);
	}
	if (room < 10) {
		rows[want->active] = room;
		rows[1 - want->active] = 0;
	} else if (rows[0] + rows[1] + 1 > room) {
		int half = (room - 1) / 2;

		if (rows[0] <= half)
			rows[1] = room - 1 - rows[0];
		else if (rows[1] <= half)
			rows[0] = room - 1 - rows[1];
		else
			rows[0] = half, rows[1] = room - 1 - half;
	}
	for (int i = 0; i < TOP_N_TABLES; i++) {
		if (i && rows[0] && rows[1])
			say(s, TOP_PLAIN, "%s", "");
		paint_table(s, &t[i], want, (enum top_table_id)i, rows[i]);
		top_free(&t[i]);
	}
	s->page = rows[want->active] > 2 ? rows[want->active] - 2 : 1;
}

static void paint_help(struct top_screen *s)
{
	static const char *const lines[] = {
		"q             quit",
		"space         pause, and go on",
		"tab           the other table",
		"left, right   sort it by another column",
		"r             the other way round",
		"up, down      scroll it; page up, page down, home",
		"h             this help",
		"",
		"HOLDS         messages that the endpoint has not finished",
		"PARKS/S       how often it went to sleep",
		"CPU           of one processor; all threads of the process",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		say(s, TOP_PLAIN, "  %s", lines[i]);
}

void top_paint(struct top_screen *s, int width, int height,
	       const struct watch *w, struct top_want *want, const char *clock)
{
	s->width = width < 1               ? 1
		   : width > TOP_WIDTH_MAX ? TOP_WIDTH_MAX
					   : width;
	s->height = height < 1                ? 1
		    : height > TOP_HEIGHT_MAX ? TOP_HEIGHT_MAX
					      : height;
	s->n = 0;
	s->page = 1;
	paint_title(s, w, want, clock);
	if (want->help) {
		say(s, TOP_PLAIN, "%s", "");
		paint_help(s);
		return;
	}
	paint_buses(s, w);
	paint_findings(s, w);
	if (s->height > 8)
		say(s, TOP_PLAIN, "%s", "");
	paint_tables(s, w, want);
	while (s->n < s->height - 1)
		say(s, TOP_PLAIN, "%s", "");
	if (s->height > 4)
		say(s, TOP_DIM,
		    "q quit  space pause  tab table  left/right sort  r "
		    "reverse  h help");
}
