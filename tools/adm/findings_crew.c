/*
 * findings_crew.c - coordinators and pools: workers that are long at a task,
 * that do not start, that are missing; answers that nobody collects
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/adm/finding.h"
#include "tools/adm/text.h"

/* A coordinator's ring and its workers in both snaps. */
struct team {
	const struct look *l;
	const struct snap_chan *c;
	const struct snap_ring *was_ring, *ring;
	const struct snap_crew *was, *now; /* or NULL */
};

/* ---------------------------------------------------------------- a task -- */

static bool same_task(const struct snap_place *was,
		      const struct snap_place *now)
{
	return now->word && now->pid == was->pid && now->task == was->task &&
	       now->since_ns == was->since_ns && now->since_ns;
}

static void who_is_at(struct finding *f, const struct team *t,
		      const struct snap_place *p)
{
	const struct snap_ep *ep = snap_ep_of(t->l->now, p->ep);

	if (ep)
		finding_who(f, ep);
	f->pid = (pid_t)p->pid;
	text_name(f->command, sizeof(f->command), p->proc.command);
}

static void find_long_task(const struct team *t, uint32_t i)
{
	const struct snap_place *p = &t->now->place[i];
	uint64_t age = t->l->now->taken_ns - p->since_ns;
	struct finding *f;
	char span[32];

	/* What is in the future is another boot's. */
	if (t->l->single || p->since_ns > t->l->now->taken_ns ||
	    age < t->l->long_ns || process_is_stopped(&p->proc) ||
	    process_is_dead(&p->proc))
		return;
	f = look_say(t->l, FINDING_WARNING, "long-task", t->c);
	finding_what(f,
		     "the worker in place %u has been at task %" PRIu64
		     " for %s, and is %s%s",
		     i, p->task, text_span(span, sizeof(span), age),
		     process_word(p->proc.state),
		     p->told ? "; it was told to stop" : "");
	who_is_at(f, t, p);
	finding_remedy(f,
		       "if that is too long for it, kill -KILL %u: another "
		       "worker is started and tries it again; if not, check "
		       "with --long",
		       p->pid);
}

/* It was to be killed, and the signal comes after the word. */
static void find_doomed(const struct team *t, uint32_t i)
{
	const struct snap_place *p = &t->now->place[i];
	enum finding_severity severity = FINDING_WARNING;
	struct finding *f;

	if (!p->doomed || process_is_dead(&p->proc) ||
	    !look_lasted(t->l, FINDING_LONGEST_NS, &severity))
		return;
	f = look_say(t->l, severity, "doomed", t->c);
	finding_what(f,
		     "the worker in place %u was to be killed for task "
		     "%" PRIu64 ", and is still there (%s)",
		     i, p->task, process_word(p->proc.state));
	who_is_at(f, t, p);
	finding_remedy(f,
		       "kill -KILL %u, as its coordinator is stopped, or "
		       "may not",
		       p->pid);
}

static void find_tasks(const struct team *t)
{
	for (uint32_t i = 0; i < t->now->n_places && i < t->was->n_places;
	     i++) {
		if (!same_task(&t->was->place[i], &t->now->place[i]))
			continue;
		find_long_task(t, i);
		if (t->was->place[i].doomed)
			find_doomed(t, i);
	}
}

/* --------------------------------------------------------------- workers -- */

static bool is_up(const struct snap_place *p)
{
	return p->pid && p->life != BUS_PLACE_STARTING &&
	       p->life != BUS_PLACE_NONE && !process_is_dead(&p->proc);
}

static uint32_t count_up(const struct snap_crew *crew)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < crew->n_places; i++)
		n += is_up(&crew->place[i]);
	return n;
}

/* Workers that die in their init are started again and again. */
static void find_bad_init(const struct team *t)
{
	char why[4 * BUS_INIT_ERROR];
	struct finding *f;

	if (!*t->now->init_error || !t->now->n_wanted ||
	    t->was->n_inits != t->now->n_inits || count_up(t->was) ||
	    count_up(t->now))
		return;
	f = look_say(t->l, FINDING_WARNING, "no-worker", t->c);
	finding_what(f, "no worker gets through its init: %.200s",
		     text_name(why, sizeof(why), t->now->init_error));
	finding_who(f, &t->l->now->ep[t->ring->coord]);
	finding_remedy(f, "that is what init said; after three in a row the "
			  "pool gives up, and its calls say so");
}

static bool any_worker(const struct team *t)
{
	for (uint32_t i = 0; i < t->now->n_places; i++)
		if (t->now->place[i].pid &&
		    !process_is_dead(&t->now->place[i].proc))
			return true;
	return false;
}

/* Requests, and nobody who could take them. */
static void find_no_worker(const struct team *t)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t n = snap_waiting(t->ring);
	struct finding *f;

	if (!n || !snap_waiting(t->was_ring) ||
	    t->ring->head != t->was_ring->head || any_worker(t) ||
	    *t->now->init_error || t->l->single ||
	    !look_lasted(t->l, FINDING_LONGEST_NS, &severity))
		return;
	f = look_say(t->l, severity, "no-worker", t->c);
	finding_what(f,
		     "%u request%s, and there is no worker (%u are wanted; "
		     "%" PRIu64 " have died)",
		     n, n == 1 ? " waits" : "s wait", t->now->n_wanted,
		     t->now->n_deaths);
	finding_who(f, &t->l->now->ep[t->ring->coord]);
	finding_remedy(f, "its coordinator starts workers while it waits: see "
			  "what it does instead, and why they died");
}

/* ---------------------------------------------------------- coordinators -- */

/*
 * Are the two oldest requests of @id answered?  The slot of the one that was
 * collected last is freed with the next call, so one answer may be history; and
 * who collects in order sleeps beside answers to later ones.
 */
static bool oldest_answered(const struct snap_ring *r, uint32_t id)
{
	const struct snap_slot *oldest[2] = { NULL, NULL };

	for (uint32_t i = 0; i < r->n_slots; i++) {
		const struct snap_slot *s = &r->slot[i];

		if (s->writer != id || s->state == SNAP_FREE ||
		    s->state == SNAP_TOMB || s->state == SNAP_BAD)
			continue;
		for (int k = 0; k < 2; k++) {
			const struct snap_slot *other = oldest[k];

			if (other &&
			    sb_pos_diff(s->pos << 16, other->pos << 16) > 0)
				continue;
			oldest[k] = s;
			s = other;
			if (!s)
				break;
		}
	}
	for (int k = 0; k < 2; k++)
		if (!oldest[k] || (oldest[k]->state != SNAP_ANSWERED &&
				   oldest[k]->state != SNAP_GIVEN_UP))
			return false;
	return true;
}

/* The one who sleeps for an answer looks for it like all the others. */
static void find_asleep_coord(const struct team *t)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t id = t->ring->coord;
	struct finding *f;

	if (id != t->was_ring->coord ||
	    !look_both(&t->was_ring->done, &t->ring->done, id) ||
	    !look_asleep(t->l, id) || t->was_ring->tail != t->ring->tail ||
	    !oldest_answered(t->was_ring, id) ||
	    !oldest_answered(t->ring, id) ||
	    !look_lasted(t->l, FINDING_ASLEEP_NS, &severity))
		return;
	f = look_say(t->l, severity, "asleep-coordinator", t->c);
	finding_what(f, "its coordinator is asleep beside up to %u answers",
		     t->ring->n[SNAP_ANSWERED]);
	finding_who(f, &t->l->now->ep[id]);
	finding_remedy(f, "a wake was lost, and it does not look by itself; "
			  "end it");
}

/* The ring of one who has left or died, and nobody has tidied up. */
static void find_abandoned(const struct team *t)
{
	enum finding_severity severity = FINDING_NOTE;
	uint32_t n = t->ring->n_slots - t->ring->n[SNAP_FREE];
	struct finding *f;

	if (t->was_ring->coord || !look_living(t->l) ||
	    !look_lasted(t->l, FINDING_LONGEST_NS, &severity))
		return;
	f = look_say(t->l, severity, "abandoned", t->c);
	finding_what(f, "its coordinator is gone, and %u slot%s in use", n,
		     n == 1 ? " is" : "s are");
	finding_remedy(f, "the next coordinator on this bus tidies it up");
}

void find_crews(const struct look *l)
{
	for (uint32_t i = 0; i < l->now->n_chans; i++) {
		struct team t = { .l = l, .c = &l->now->chan[i] };
		const struct snap_chan *was = look_was(l, t.c);

		if (!was || t.c->kind != BUS_CHAN_REQUEST || !look_ring(t.c) ||
		    !look_ring(was) ||
		    was->ring->n_slots != t.c->ring->n_slots ||
		    t.c->ring->coord_life != was->ring->coord_life)
			continue;
		t.ring = t.c->ring;
		t.was_ring = was->ring;
		t.now = t.c->crew;
		t.was = was->crew;
		if (!t.ring->coord)
			find_abandoned(&t);
		/* Workers end with their coordinator. */
		if (!t.ring->coord || look_dead(l, t.ring->coord))
			continue;
		find_asleep_coord(&t);
		if (!t.now || !t.was)
			continue;
		find_tasks(&t);
		find_bad_init(&t);
		find_no_worker(&t);
	}
}
