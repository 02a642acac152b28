/*
 * finding.c - take two snaps, ask all rules, keep what they say
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "tools/adm/counts.h"
#include "tools/adm/finding.h"
#include "tools/adm/text.h"

/* Findings of one rule for one channel that are kept; or of damage. */
#define SAME_MAX 8u

/* ------------------------------------------------------------------ list -- */

static uint32_t count_same(const struct findings *f, const char *rule, int chan)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->n; i++)
		n += f->at[i].chan == chan && !strcmp(f->at[i].rule, rule);
	return n;
}

/* Room for one more, or NULL. */
static struct finding *grow(struct findings *f)
{
	if (f->n == f->cap) {
		uint32_t cap = f->cap ? 2 * f->cap : 16;
		struct finding *at = realloc(f->at, cap * sizeof(*at));

		if (!at) {
			f->no_memory = true;
			return NULL;
		}
		f->at = at;
		f->cap = cap;
	}
	return &f->at[f->n++];
}

struct finding *look_say(const struct look *l, enum finding_severity severity,
			 const char *rule, const struct snap_chan *c)
{
	static struct finding nowhere;
	struct findings *f = l->found;
	int chan = c ? (int)c->idx : -1;
	struct finding *one = NULL;

	f->n_of[severity]++;
	if ((chan >= 0 || severity == FINDING_ERROR) &&
	    count_same(f, rule, chan) >= SAME_MAX)
		f->n_left_out[severity]++;
	else
		one = grow(f);
	if (!one)
		one = &nowhere;
	*one = (struct finding){ .severity = severity,
				 .rule = rule,
				 .chan = chan };
	if (c)
		look_name(one->where, sizeof(one->where), c);
	return one;
}

void findings_free(struct findings *f)
{
	free(f->at);
	*f = (struct findings){ 0 };
}

static int worst_first(const void *a, const void *b)
{
	const struct finding *x = a, *y = b;

	if (x->severity != y->severity)
		return (int)y->severity - (int)x->severity;
	if (x->chan != y->chan)
		return x->chan - y->chan;
	return (x->pos > y->pos) - (x->pos < y->pos);
}

void findings_sort(struct findings *f)
{
	if (f->n)
		qsort(f->at, f->n, sizeof(*f->at), worst_first);
}

/* --------------------------------------------------------- what they say -- */

void finding_what(struct finding *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->what, sizeof(f->what), format, args);
	va_end(args);
}

void finding_remedy(struct finding *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->remedy, sizeof(f->remedy), format, args);
	va_end(args);
}

void finding_pos(struct finding *f, uint64_t pos)
{
	f->has_pos = true;
	f->pos = pos;
}

void finding_who(struct finding *f, const struct snap_ep *ep)
{
	f->ep = ep->id;
	f->pid = (pid_t)ep->pid;
	text_name(f->command, sizeof(f->command), ep->proc.command);
}

void look_name(char *buf, size_t size, const struct snap_chan *c)
{
	char name[BUS_NAME_BYTES * 4];

	text_name(name, sizeof(name), c->name);
	if (*c->name)
		snprintf(buf, size, "%s '%s'", counts_kind(c), name);
	else
		snprintf(buf, size, "%s #%u", counts_kind(c), c->idx);
}

/* --------------------------------------------------- two snaps, compared -- */

bool look_lasted(const struct look *l, uint64_t need_ns,
		 enum finding_severity *severity)
{
	if (l->single) {
		*severity = FINDING_NOTE;
		return true;
	}
	if (l->apart_ns >= need_ns)
		return true;
	if (l->found->wants_ns < need_ns)
		l->found->wants_ns = need_ns;
	return false;
}

const struct snap_chan *look_was(const struct look *l,
				 const struct snap_chan *c)
{
	const struct snap_chan *was;

	if (c->idx >= l->was->n_chans)
		return NULL;
	was = &l->was->chan[c->idx];
	return was->kind == c->kind && was->off == c->off ? was : NULL;
}

const struct snap_ep *look_ep_was(const struct look *l, uint32_t id)
{
	const struct snap_ep *was;

	if (!id || id >= l->now->n_eps || id >= l->was->n_eps)
		return NULL;
	was = &l->was->ep[id];
	return was->word == l->now->ep[id].word ? was : NULL;
}

bool look_stopped(const struct look *l, uint32_t id)
{
	const struct snap_ep *was = look_ep_was(l, id);

	return was && snap_attached(was) && process_is_stopped(&was->proc) &&
	       process_is_stopped(&l->now->ep[id].proc);
}

bool look_dead(const struct look *l, uint32_t id)
{
	const struct snap_ep *was = look_ep_was(l, id);

	if (!was)
		return false;
	return was->state == BUS_EP_DEAD ||
	       (snap_attached(was) && process_is_dead(&was->proc) &&
		process_is_dead(&l->now->ep[id].proc));
}

static bool may_sleep(const struct process *p)
{
	return p->state == PROCESS_ASLEEP || p->state == PROCESS_UNKNOWN;
}

bool look_asleep(const struct look *l, uint32_t id)
{
	const struct snap_ep *was = look_ep_was(l, id);

	return was && snap_attached(was) && may_sleep(&was->proc) &&
	       may_sleep(&l->now->ep[id].proc);
}

uint32_t look_living(const struct look *l)
{
	uint32_t n = 0;

	for (uint32_t id = 1; id < l->now->n_eps; id++)
		n += snap_attached(&l->now->ep[id]) &&
		     !process_is_dead(&l->now->ep[id].proc);
	return n;
}

bool look_same_slot(const struct snap_slot *was, const struct snap_slot *now)
{
	return was->state == now->state && was->seq == now->seq &&
	       was->pown == now->pown && was->cown == now->cown;
}

/* --------------------------------------------------------------- looking -- */

int findings_compare(const struct snap *was, const struct snap *now,
		     uint64_t long_ns, struct findings *f)
{
	struct look l = { .was = was,
			  .now = now,
			  .apart_ns = now->taken_ns - was->taken_ns,
			  .long_ns = long_ns,
			  .single = was == now,
			  .found = f };

	*f = (struct findings){ 0 };
	find_damage(&l);
	find_creator(&l);
	find_ends(&l);
	find_rings(&l);
	find_crews(&l);
	find_pipes(&l);
	find_cells(&l);
	find_exec(&l);
	findings_sort(f);
	return f->no_memory ? -ENOMEM : 0;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / SB_NS_PER_S),
			      .tv_nsec = (long)(ns % SB_NS_PER_S) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) ==
	       EINTR)
		;
}

/* What cannot be read is all that there is to say of it. */
static int unreadable(const struct view *v, struct findings *f)
{
	struct look l = { .found = f };
	bool other =
		v->health == VIEW_OTHER_ABI || v->health == VIEW_OTHER_LAYOUT;
	struct finding *one = look_say(
		&l, other ? FINDING_WARNING : FINDING_ERROR, "no-bus", NULL);

	finding_what(one, "%s", v->why);
	switch (v->health) {
	case VIEW_OTHER_ABI:
	case VIEW_OTHER_LAYOUT:
		finding_remedy(one, "look at it with the busadm that was built "
				    "together with its programs");
		break;
	case VIEW_FOREIGN:
		finding_remedy(one, "give the name of a bus, or a dump of one");
		break;
	default:
		finding_remedy(one, "nobody can open it any more: end those "
				    "who have it, and create it anew");
	}
	return f->no_memory ? -ENOMEM : 0;
}

/* Look again, when @was is @apart_ns old, and compare. */
static int look_again(const struct view *v, const struct snap *was,
		      uint64_t apart_ns, uint64_t long_ns, struct findings *f)
{
	struct snap now;
	int ret;

	sleep_until(was->taken_ns + apart_ns);
	ret = snap_take(v, true, &now);
	if (ret)
		return ret;
	findings_free(f);
	ret = findings_compare(was, &now, long_ns, f);
	snap_free(&now);
	return ret;
}

int findings_begin(const struct view *v, struct snap *was)
{
	*was = (struct snap){ .view = v };
	return view_readable(v) ? snap_take(v, true, was) : 0;
}

int findings_end(const struct view *v, struct snap *was, uint64_t apart_ns,
		 uint64_t long_ns, struct findings *f)
{
	int ret;

	*f = (struct findings){ 0 };
	if (!view_readable(v))
		return unreadable(v, f);
	if (v->kind == VIEW_COPY) {
		ret = findings_compare(was, was, long_ns, f);
	} else {
		ret = look_again(v, was, apart_ns, long_ns, f);
		if (!ret && f->wants_ns)
			ret = look_again(v, was, f->wants_ns, long_ns, f);
	}
	snap_free(was);
	return ret;
}

int findings_of(const struct view *v, uint64_t apart_ns, uint64_t long_ns,
		struct findings *f)
{
	struct snap was;
	int ret = findings_begin(v, &was);

	*f = (struct findings){ 0 };
	return ret ? ret : findings_end(v, &was, apart_ns, long_ns, f);
}

const char *finding_word(enum finding_severity severity)
{
	static const char *const words[] = {
		[FINDING_NOTE] = "note",
		[FINDING_WARNING] = "warning",
		[FINDING_ERROR] = "error",
	};

	return words[severity];
}
