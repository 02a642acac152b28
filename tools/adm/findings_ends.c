/*
 * findings_ends.c - endpoints that are stopped or dead, with what they hold;
 * and the bus that a dead creator left
 *
 * A stopped process is not dead: nobody takes from it what it has, however
 * long it lasts.  A dead one is recovered by the first who waits on the bus,
 * or looks, within some hundred milliseconds: unless nobody waits.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bus/pipe_side.h"
#include "tools/adm/finding.h"
#include "tools/adm/text.h"

/* ------------------------------------------------------- what it has got -- */

/* A list of half sentences. */
struct list {
	char text[FINDING_HAS_BYTES];
	size_t n;
};

static void add(struct list *to, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct list *to, const char *format, ...)
{
	size_t left = sizeof(to->text) - to->n;
	va_list args;
	int n;

	if (to->n && left > 2)
		to->n += (size_t)snprintf(to->text + to->n, left, ", ");
	left = sizeof(to->text) - to->n;
	va_start(args, format);
	n = vsnprintf(to->text + to->n, left, format, args);
	va_end(args);
	if (n > 0)
		to->n += (size_t)n < left ? (size_t)n : left - 1;
}

/* Slots that an endpoint has, in both snaps. */
struct grip {
	uint32_t n_held, n_written;
	uint64_t held, written; /* the lowest position */
	uint32_t n_answers; /* that wait for it; one may have been collected,
			     * as its slot is freed by the next call */
};

static void lowest(uint32_t *n, uint64_t *pos, uint64_t at)
{
	if (!(*n)++ || at < *pos)
		*pos = at;
}

static struct grip grip_on(const struct snap_ring *was,
			   const struct snap_ring *now, uint32_t id)
{
	struct grip g = { 0 };

	for (uint32_t i = 0; i < now->n_slots; i++) {
		const struct snap_slot *s = &now->slot[i];

		if (!look_same_slot(&was->slot[i], s))
			continue;
		if ((s->state == SNAP_HELD || s->state == SNAP_BEHIND) &&
		    s->holder == id)
			lowest(&g.n_held, &g.held, s->pos);
		else if ((s->state == SNAP_WRITING ||
			  s->state == SNAP_PASSED) &&
			 s->writer == id)
			lowest(&g.n_written, &g.written, s->pos);
		else if ((s->state == SNAP_ANSWERED ||
			  s->state == SNAP_GIVEN_UP) &&
			 s->writer == id)
			g.n_answers++;
	}
	return g;
}

static void add_slots(struct list *to, const char *verb, uint32_t n,
		      uint64_t pos, const struct snap_chan *c, const char *name)
{
	const char *what = c->kind == BUS_CHAN_QUEUE ? "message" : "request";

	if (n == 1)
		add(to, "%s the %s at position %" PRIu64 " of %s", verb, what,
		    pos, name);
	else
		add(to, "%s %u %ss of %s, from position %" PRIu64 " on", verb,
		    n, what, name, pos);
}

/* Is it asleep in @c while there is something to take? */
static bool sleeps_beside(const struct snap_chan *c,
			  const struct snap_ring *was,
			  const struct snap_ring *now, uint32_t id)
{
	return c->kind != BUS_CHAN_IDLE && was->head == now->head &&
	       snap_waiting(now) && snap_waiting(was) && !now->aborted &&
	       look_both(&was->rx, &now->rx, id);
}

static void add_ring(struct list *to, const struct snap_chan *c,
		     const struct snap_chan *was, uint32_t id)
{
	struct grip g = grip_on(was->ring, c->ring, id);
	char name[256];

	look_name(name, sizeof(name), c);
	if (g.n_held)
		add_slots(to, "holds", g.n_held, g.held, c, name);
	if (g.n_written)
		add_slots(to, "is writing", g.n_written, g.written, c, name);
	if (g.n_answers > 1)
		add(to, "has up to %u answers of %s to collect", g.n_answers,
		    name);
	if (sleeps_beside(c, was->ring, c->ring, id))
		add(to, "is the one to read %s, where %u wait%s", name,
		    snap_waiting(c->ring),
		    snap_waiting(c->ring) == 1 ? "s" : "");
}

static bool any_both(const struct snap_set *was, const struct snap_set *now)
{
	for (uint32_t i = 0; i < SB_EP_WORDS; i++)
		if (was->bits[i] & now->bits[i])
			return true;
	return false;
}

/* Does the other side of the pipe wait for the one who has side @side? */
static void add_pipe(struct list *to, const struct snap_chan *c,
		     const struct snap_chan *was, uint32_t id)
{
	char name[256];

	look_name(name, sizeof(name), c);
	for (uint32_t side = 0; side < 2; side++) {
		const struct snap_pipe *now = c->pipe, *old = was->pipe;
		uint32_t in = 1 - side, out = side;

		if (now->side[side].ep != id || old->side[side].ep != id)
			continue;
		if (out < now->n_dirs && out < old->n_dirs &&
		    any_both(&old->dir[out].rx, &now->dir[out].rx))
			add(to,
			    "has side %u of %s, whose other side waits "
			    "for it to send",
			    side, name);
		if (in < now->n_dirs && in < old->n_dirs &&
		    any_both(&old->dir[in].tx, &now->dir[in].tx))
			add(to,
			    "has side %u of %s, whose other side waits "
			    "for it to receive",
			    side, name);
	}
}

static uint32_t cells_of(const struct look *l, uint32_t id)
{
	const struct snap_cells *was = &l->was->cells, *now = &l->now->cells;
	uint64_t owned = (uint64_t)id << 8 | 1;
	uint32_t n = 0;

	for (uint32_t i = 0; i < now->n_cells && i < was->n_cells; i++)
		n += now->owner[i] == owned && was->owner[i] == owned;
	return n;
}

static void list_holdings(const struct look *l, uint32_t id, struct list *to)
{
	const struct snap_ep *ep = &l->now->ep[id], *was = &l->was->ep[id];
	uint32_t n = cells_of(l, id);

	*to = (struct list){ 0 };
	for (uint32_t i = 0; i < l->now->n_chans; i++) {
		const struct snap_chan *c = &l->now->chan[i];
		const struct snap_chan *old = look_was(l, c);

		if (!old)
			continue;
		if (look_ring(c) && look_ring(old) &&
		    c->ring->n_slots == old->ring->n_slots)
			add_ring(to, c, old, id);
		if (c->pipe && old->pipe)
			add_pipe(to, c, old, id);
	}
	if (n)
		add(to, "has %u cell%s for large messages", n, text_s(n));
	if (l->now->dir_owner == id && l->was->dir_owner == id)
		add(to, "is adding a channel, so that nobody else can");
	if (ep->recovering && ep->recovering == was->recovering)
		add(to, "is recovering endpoint %u", ep->recovering);
}

void look_holdings(const struct look *l, uint32_t id,
		   char has[FINDING_HAS_BYTES])
{
	struct list list;

	list_holdings(l, id, &list);
	memcpy(has, list.text, FINDING_HAS_BYTES);
}

/* --------------------------------------------------------------- stopped -- */

/* Whoever has workers takes them along. */
static bool has_workers(const struct look *l, uint32_t id)
{
	for (uint32_t i = 0; i < l->now->n_chans; i++)
		if (l->now->chan[i].kind == BUS_CHAN_REQUEST &&
		    l->now->chan[i].ring && l->now->chan[i].ring->coord == id)
			return true;
	return false;
}

static const char *fate(const struct look *l, uint32_t id, bool has)
{
	if (has_workers(l, id))
		return "ends it, with its workers and their requests";
	return has ? "gives what it has to others" : "ends it";
}

/* And of its bus: a killed creator leaves an orphan. */
static const char *fate_of_bus(const struct look *l, uint32_t id)
{
	const struct view *v = l->now->view;

	return v->creator_pid && (uint32_t)v->creator_pid == l->now->ep[id].pid
		       ? ", and nobody can open the bus any more"
		       : "";
}

static void find_stopped(const struct look *l, uint32_t id)
{
	const struct snap_ep *ep = &l->now->ep[id];
	bool traced = ep->proc.state == PROCESS_TRACED;
	struct list has;
	struct finding *f;

	list_holdings(l, id, &has);
	f = look_say(l, has.n ? FINDING_WARNING : FINDING_NOTE, "stopped",
		     NULL);
	finding_what(f, "its process is %s%s%s",
		     traced ? "in the hands of a debugger"
			    : "stopped by a signal",
		     has.n ? ", and it " : "", has.text);
	finding_who(f, ep);
	if (traced)
		finding_remedy(f, "let the debugger go on, or kill -KILL %u",
			       ep->pid);
	else
		finding_remedy(f,
			       "kill -CONT %u lets it go on; kill -KILL %u "
			       "%s%s",
			       ep->pid, ep->pid, fate(l, id, has.n),
			       fate_of_bus(l, id));
}

/* ------------------------------------------------------------------ dead -- */

static void find_dead(const struct look *l, uint32_t id)
{
	const struct snap_ep *ep = &l->now->ep[id];
	enum finding_severity severity = FINDING_WARNING;
	struct list has;
	struct finding *f;

	if (!look_lasted(l, FINDING_LONGEST_NS, &severity))
		return;
	list_holdings(l, id, &has);
	if (!has.n)
		severity = FINDING_NOTE;
	f = look_say(l, severity, "dead", NULL);
	finding_what(f, "its process is dead and it has not been recovered%s%s",
		     has.n ? "; it " : "", has.text);
	finding_who(f, ep);
	finding_remedy(f, "it is recovered when any of those who are attached "
			  "waits on the bus, or calls bus_reap(): see what "
			  "they do instead (busadm ps)");
}

/* Nobody is left who could recover the others. */
static void find_all_dead(const struct look *l)
{
	uint32_t n = 0;
	struct finding *f;

	for (uint32_t id = 1; id < l->now->n_eps; id++)
		n += !l->now->ep[id].bad && look_dead(l, id);
	if (!n)
		return;
	f = look_say(l, FINDING_NOTE, "dead", NULL);
	finding_what(f,
		     "nobody is attached who lives; %u endpoint%s of dead "
		     "processes",
		     n, n == 1 ? " is that" : "s are");
	finding_remedy(f, "what they held goes to the first who attaches and "
			  "waits");
}

/* ------------------------------------------------------------------ rest -- */

/* Neither coming nor leaving takes more than moments. */
static void find_between(const struct look *l, uint32_t id)
{
	const struct snap_ep *ep = &l->now->ep[id];
	enum finding_severity severity = FINDING_NOTE;
	struct finding *f;

	if (!look_ep_was(l, id) || look_dead(l, id) || look_stopped(l, id) ||
	    ep->proc.state == PROCESS_RUNNING ||
	    !look_lasted(l, FINDING_LONGEST_NS, &severity))
		return;
	f = look_say(l, severity, "between", NULL);
	finding_what(f, "it is %s, and does not get on with it",
		     ep->state == BUS_EP_LEAVING ? "leaving" : "attaching");
	finding_who(f, ep);
}

/* Somebody adds a channel, which takes a moment. */
static void find_lock(const struct look *l)
{
	uint32_t id = l->now->dir_owner;
	enum finding_severity severity = FINDING_WARNING;
	struct finding *f;

	if (!id || id != l->was->dir_owner || !look_ep_was(l, id) ||
	    look_dead(l, id) || look_stopped(l, id) ||
	    l->now->ep[id].proc.state == PROCESS_RUNNING ||
	    !look_lasted(l, FINDING_LONGEST_NS, &severity))
		return;
	f = look_say(l, severity, "directory", NULL);
	finding_what(f,
		     "endpoint %u is adding a channel and does not get on "
		     "with it; nobody else can make one",
		     id);
	if (snap_attached(&l->now->ep[id])) {
		finding_who(f, &l->now->ep[id]);
		finding_remedy(f, "kill -KILL %u lets the others",
			       l->now->ep[id].pid);
	} else {
		f->severity =
			severity == FINDING_NOTE ? FINDING_NOTE : FINDING_ERROR;
		finding_remedy(f, "it has left: create the bus anew, and "
				  "report this");
	}
}

/* The last id is kept for recovering the dead. */
static void find_used_up(const struct look *l)
{
	uint32_t n_ids = l->now->n_eps > 2 ? l->now->n_eps - 2 : 0;
	struct finding *f;

	if (!n_ids || l->now->n_attached < n_ids || l->was->n_attached < n_ids)
		return;
	f = look_say(l, FINDING_NOTE, "endpoints", NULL);
	finding_what(f,
		     "all its %u endpoints are taken: who opens it gets "
		     "'Too many users'",
		     n_ids);
	finding_remedy(f, "create it with more: max_endpoints of struct "
			  "bus_config");
}

void find_ends(const struct look *l)
{
	bool anybody = look_living(l) > 0;

	if (!anybody)
		find_all_dead(l);
	for (uint32_t id = 1; id < l->now->n_eps; id++) {
		const struct snap_ep *ep = &l->now->ep[id];

		if (ep->bad)
			continue;
		if (look_stopped(l, id))
			find_stopped(l, id);
		else if (look_dead(l, id) && anybody)
			find_dead(l, id);
		else if (anybody && (ep->state == BUS_EP_CLAIMING ||
				     ep->state == BUS_EP_LEAVING))
			find_between(l, id);
	}
	find_lock(l);
	find_used_up(l);
}

/* --------------------------------------------------------------- creator -- */

static uint64_t unread(const struct snap *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_chan *c = &s->chan[i];

		if (look_ring(c) && c->kind == BUS_CHAN_QUEUE)
			n += snap_waiting(c->ring) + snap_held(c->ring);
		for (uint32_t d = 0; c->pipe && d < c->pipe->n_dirs; d++)
			n += c->pipe->dir[d].n_records;
	}
	return n;
}

void find_creator(const struct look *l)
{
	const struct view *v = l->now->view;
	uint64_t n = unread(l->now);
	uint32_t n_living = look_living(l);
	struct finding *f;

	if (v->health == VIEW_TRUNCATED) {
		f = look_say(l, FINDING_ERROR, "truncated", NULL);
		finding_what(f, "%s", v->why);
		finding_remedy(f, "who touches what is missing gets SIGBUS: "
				  "end its processes, and create it anew");
	}
	if (v->creator != VIEW_CREATOR_DEAD)
		return;
	f = look_say(l, n || n_living ? FINDING_WARNING : FINDING_NOTE,
		     "orphan", NULL);
	finding_what(f,
		     "its creator is dead: nobody can open it any more; it "
		     "has %" PRIu64 " message%s and %u endpoint%s that "
		     "live%s",
		     n, text_s(n), n_living, text_s(n_living),
		     n_living == 1 ? "s" : "");
	if (n)
		finding_remedy(f, "start its service again, which takes what "
				  "is left or throws it away; or 'busadm get "
				  "--drain' takes it out of its queues, and "
				  "then 'busadm gc'");
	else
		finding_remedy(f, "start its service again, or 'busadm gc'");
}
