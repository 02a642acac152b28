/*
 * watch.c - buses over time
 *
 * Each look begins with the name: so one that has vanished is let go of, as
 * otherwise we would be the ones who keep its memory, and one that was created
 * anew is the one that is shown.  What the old one said last stays for whoever
 * looks at it.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "tools/adm/find.h"
#include "tools/adm/watch.h"

#define SCAN_NS   (2 * SB_NS_PER_S)  /* between two looks for new ones */
#define FORGET_NS (10 * SB_NS_PER_S) /* of many, one that is gone */

static void set_state(struct watch_bus *b, enum watch_state state)
{
	if (b->state != state || !b->since_ns)
		b->since_ns = sb_now_ns();
	b->state = state;
}

static void forget_snaps(struct watch_bus *b)
{
	if (b->has_was)
		snap_free(&b->was);
	if (b->has_now)
		snap_free(&b->now);
	if (b->has_base)
		snap_free(&b->base);
	b->has_was = b->has_now = b->has_base = false;
	findings_free(&b->found);
}

/* ------------------------------------------------------------ open, gone -- */

static bool is_same(const struct view *a, const struct view *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->kind == b->kind;
}

static void let_go(struct watch_bus *b)
{
	if (b->state != WATCH_GONE)
		view_close(&b->v);
	set_state(b, WATCH_GONE);
	findings_free(&b->found);
}

/* Find it by its name again: it may be gone, another one, or an orphan now. */
static void open_again(struct watch_bus *b)
{
	struct view v;

	if (view_open(&v, b->arg, b->why)) {
		let_go(b);
		return;
	}
	if (b->has_now && !is_same(&v, &b->v)) {
		b->created_ns = sb_now_ns();
		forget_snaps(b);
	}
	if (b->state != WATCH_GONE)
		view_close(&b->v);
	b->v = v;
	if (!view_readable(&v))
		snprintf(b->why, sizeof(b->why), "%s", v.why);
	set_state(b, view_readable(&v) ? WATCH_OPEN : WATCH_UNREADABLE);
}

/* ------------------------------------------------------------- looking -- */

static void find(struct watch_bus *b)
{
	struct snap next;

	if (!b->has_base) {
		b->has_base = !snap_take(&b->v, true, &b->base);
		return;
	}
	if (b->now.taken_ns - b->base.taken_ns < FINDING_LONGEST_NS)
		return;
	findings_free(&b->found);
	findings_compare(&b->base, &b->now, FINDING_LONG_NS, &b->found);
	if (snap_take(&b->v, true, &next))
		return;
	snap_free(&b->base);
	b->base = next;
}

static void look(struct watch_bus *b)
{
	int ret;

	if (b->has_was)
		snap_free(&b->was);
	b->was = b->now;
	b->has_was = b->has_now;
	ret = snap_take(&b->v, true, &b->now);
	b->has_now = !ret;
	if (ret) {
		snprintf(b->why, sizeof(b->why), "cannot read it: %s",
			 strerror(-ret));
		set_state(b, WATCH_UNREADABLE);
		return;
	}
	set_state(b, WATCH_OPEN);
	find(b);
}

static void look_at(struct watch_bus *b)
{
	open_again(b);
	if (b->state == WATCH_OPEN)
		look(b);
}

/* ------------------------------------------------------------------ list -- */

static void drop(struct watch_bus *b)
{
	if (b->state != WATCH_GONE)
		view_close(&b->v);
	forget_snaps(b);
	free(b->arg);
	free(b);
}

static int add(struct watch *w, const char *arg)
{
	struct watch_bus **bus =
		realloc(w->bus, (w->n + 1) * sizeof(struct watch_bus *));
	struct watch_bus *b = calloc(1, sizeof(*b));

	if (bus)
		w->bus = bus;
	if (b)
		b->arg = strdup(arg);
	if (!bus || !b || !b->arg) {
		free(b);
		return -ENOMEM;
	}
	set_state(b, WATCH_GONE);
	w->bus[w->n++] = b;
	return 0;
}

static bool has(const struct watch *w, const char *arg)
{
	for (size_t i = 0; i < w->n; i++)
		if (!strcmp(w->bus[i]->arg, arg))
			return true;
	return false;
}

static void scan(struct watch *w)
{
	struct find_list list;

	if (find_all(&list))
		return;
	for (size_t i = 0; i < list.n; i++)
		if (!has(w, list.bus[i].arg) && add(w, list.bus[i].arg))
			break;
	find_free(&list);
}

static void drop_gone(struct watch *w, uint64_t now)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct watch_bus *b = w->bus[i];

		if (b->state == WATCH_GONE &&
		    (!b->has_now || now - b->since_ns > FORGET_NS))
			drop(b);
		else
			w->bus[n++] = b;
	}
	w->n = n;
}

int watch_open(struct watch *w, const char *arg)
{
	*w = (struct watch){ .all = !arg };
	return arg ? add(w, arg) : 0;
}

void watch_look(struct watch *w)
{
	uint64_t now = sb_now_ns();

	if (w->all && (!w->scanned_ns || now - w->scanned_ns > SCAN_NS)) {
		drop_gone(w, now);
		scan(w);
		w->scanned_ns = now;
	}
	for (size_t i = 0; i < w->n; i++)
		look_at(w->bus[i]);
}

void watch_close(struct watch *w)
{
	for (size_t i = 0; i < w->n; i++)
		drop(w->bus[i]);
	free(w->bus);
	*w = (struct watch){ 0 };
}
