/*
 * show.c - parts of a snap as text, for several commands
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/adm/args.h"
#include "tools/adm/show.h"
#include "tools/adm/text.h"

/* Append to @buf of SHOW_BYTES, with ", " in between. */
static void add(char *buf, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(char *buf, const char *format, ...)
{
	size_t at = strlen(buf);
	va_list args;

	if (at && at + 2 < SHOW_BYTES) {
		strcpy(buf + at, ", ");
		at += 2;
	}
	va_start(args, format);
	vsnprintf(buf + at, SHOW_BYTES - at, format, args);
	va_end(args);
}

/* --------------------------------------------------------------- the bus -- */

const char *show_state_word(const struct view *v)
{
	switch (v->health) {
	case VIEW_GOOD:
		break;
	case VIEW_TRUNCATED:
		return "truncated";
	case VIEW_OTHER_ABI:
		return "other version";
	case VIEW_OTHER_LAYOUT:
		return "other build";
	case VIEW_DAMAGED:
		return "damaged";
	case VIEW_FOREIGN:
		return "no bus";
	}
	if (v->kind == VIEW_UNNAMED)
		return "unnamed";
	if (v->kind == VIEW_COPY)
		return "copy";
	return v->creator == VIEW_CREATOR_LIVES  ? "live"
	       : v->creator == VIEW_CREATOR_DEAD ? "orphan"
						 : "?";
}

static const char *was(const struct view *v)
{
	return v->kind == VIEW_COPY ? "was" : "is";
}

/* A dump says when it was made, and of what. */
static void add_note(char *buf, const struct view *v)
{
	time_t t = (time_t)v->taken_wall_s;
	char when[64];
	struct tm tm;

	if (!v->note)
		return;
	if (localtime_r(&t, &tm) &&
	    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm))
		add(buf, "made %s", when);
	if (!v->was_quiet)
		add(buf, "while its processes ran");
	if (v->no_payload)
		add(buf, "without messages");
}

char *show_state(char *buf, const struct view *v)
{
	struct process p = { .state = PROCESS_UNKNOWN };

	snprintf(buf, SHOW_BYTES, "%s", show_state_word(v));
	if (v->health != VIEW_GOOD)
		add(buf, "%s", v->why);
	add_note(buf, v);
	if (v->kind == VIEW_UNNAMED)
		add(buf, "read from process %d%s", (int)v->from,
		    v->is_memory ? "'s memory" : "");
	if (v->creator == VIEW_CREATOR_DEAD)
		add(buf, "its creator %s dead", was(v));
	if (v->creator_pid) {
		if (v->kind == VIEW_NAMED)
			process_read(&p, v->creator_pid, 0);
		add(buf, "its creator %s pid %d", was(v), (int)v->creator_pid);
		if (process_is_stopped(&p))
			add(buf, "which is %s", process_word(p.state));
	}
	return buf;
}

char *show_channel(char *buf, const struct snap_chan *c)
{
	if (c->name[0])
		text_name(buf, SHOW_BYTES, c->name);
	else
		snprintf(buf, SHOW_BYTES, "#%" PRIu32, c->idx);
	return buf;
}

enum grid_mark show_mark(const struct process *p)
{
	if (process_is_dead(p) || process_is_stopped(p))
		return GRID_BAD;
	return p->state == PROCESS_BLOCKED ? GRID_NOTE : GRID_PLAIN;
}

/* ----------------------------------------------------------------- sleep -- */

static void add_ring_sleep(char *buf, const struct snap_chan *c, uint32_t id)
{
	const struct snap_ring *r = c->ring;
	bool queue = c->kind == BUS_CHAN_QUEUE;
	char name[SHOW_BYTES];

	show_channel(name, c);
	if (snap_has(&r->rx, id))
		add(buf, "%s in %s", queue ? "a message" : "a request", name);
	if (snap_has(&r->tx, id))
		add(buf, "room in %s", name);
	if (snap_has(&r->done, id))
		add(buf, "%s %s", queue ? "the end of all in" : "an answer in",
		    name);
}

static void add_pipe_sleep(char *buf, const struct snap_chan *c, uint32_t id)
{
	char name[SHOW_BYTES];

	show_channel(name, c);
	for (uint32_t i = 0; i < c->pipe->n_dirs; i++) {
		const struct snap_dir *d = &c->pipe->dir[i];

		if (snap_has(&d->rx, id))
			add(buf, "a message in %s", name);
		if (snap_has(&d->tx, id))
			add(buf, "room in %s", name);
	}
}

char *show_sleep(char *buf, const struct snap *s, uint32_t id)
{
	*buf = '\0';
	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_chan *c = &s->chan[i];

		if (!c->bad && c->ring)
			add_ring_sleep(buf, c, id);
		if (!c->bad && c->pipe)
			add_pipe_sleep(buf, c, id);
	}
	if (id < s->n_eps && s->ep[id].wants_cell)
		add(buf, "a cell");
	return buf;
}

static void add_some(char *buf, const struct snap_set *set, const char *who)
{
	uint32_t n = snap_count(set);

	if (n)
		add(buf, "%" PRIu32 " %s%s", n, who, text_s(n));
}

char *show_dir_sleepers(char *buf, const struct snap_dir *d)
{
	*buf = '\0';
	add_some(buf, &d->rx, "reader");
	add_some(buf, &d->tx, "writer");
	return buf;
}

char *show_sleepers(char *buf, const struct snap_chan *c)
{
	bool queue = c->kind == BUS_CHAN_QUEUE;

	*buf = '\0';
	if (!c->ring)
		return buf;
	add_some(buf, &c->ring->rx, queue ? "reader" : "worker");
	add_some(buf, &c->ring->tx, queue ? "writer" : "submitter");
	add_some(buf, &c->ring->done, queue ? "joiner" : "collector");
	return buf;
}

void show_side_process(const struct snap *s, const struct snap_side *side,
		       struct process *p)
{
	*p = (struct process){ .pid = (pid_t)side->pid };
	if (side->ep)
		*p = s->ep[side->ep].proc;
	else if (side->state == BUS_SIDE_RESERVED)
		snap_process(s, p, side->word_pid, side->start_time);
}

/* ----------------------------------------------------------------- bytes -- */

static bool is_text(const unsigned char *b, size_t n)
{
	size_t n_odd = 0;

	for (size_t i = 0; i < n; i++)
		n_odd += !isprint(b[i]) && !isspace(b[i]);
	return n_odd <= n / 4;
}

char *show_bytes(char *buf, const void *bytes, size_t n, bool more)
{
	const unsigned char *b = bytes;
	size_t at = 0;

	if (is_text(b, n)) {
		buf[at++] = '"';
		text_escape(buf + at, SHOW_BYTES - 5, b, n);
		at += strlen(buf + at);
		buf[at++] = '"';
		strcpy(buf + at, more ? "..." : "");
		return buf;
	}
	for (size_t i = 0; i < n && at + 8 < SHOW_BYTES; i++)
		at += (size_t)sprintf(buf + at, i ? " %02x" : "%02x", b[i]);
	strcpy(buf + at, more ? " ..." : "");
	return buf;
}

uint64_t show_age(const struct snap *s, uint64_t since_ns)
{
	if (!since_ns || !s->taken_ns)
		return UINT64_MAX;
	/* The clock of workers is a coarse one, but never ahead. */
	return since_ns < s->taken_ns ? s->taken_ns - since_ns : 0;
}

/* ------------------------------------------------------------------ open -- */

int show_open(const char *arg, struct view *v, struct snap *s)
{
	char why[VIEW_WHY_BYTES];
	int ret = view_open(v, arg, why);

	if (ret)
		return adm_error("%s", why);
	if (!view_readable(v)) {
		adm_error("'%s' cannot be read: %s%s", arg, v->why,
			  v->health == VIEW_OTHER_ABI ||
					  v->health == VIEW_OTHER_LAYOUT
				  ? "; use the busadm of that one"
				  : "");
		view_close(v);
		return ADM_FAILED;
	}
	ret = snap_take(v, true, s);
	if (!ret)
		return 0;
	view_close(v);
	return adm_error("cannot read '%s': %s", arg, strerror(-ret));
}

void show_close(struct view *v, struct snap *s)
{
	snap_free(s);
	view_close(v);
}
