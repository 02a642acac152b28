/*
 * findings_ring.c - queues, and the rings of coordinators: who sleeps beside
 * what he waits for, who is in the way, who is missing
 *
 * Somebody who sleeps in a bitmap has looked before that, looks again by
 * himself every 100 to 300 ms, and takes what he finds; whoever makes what he
 * waits for clears his bit first and then rings.  So a bit that is set in both
 * snaps, a second apart, with the thing there both times and positions that did
 * not move, is one that nobody will clear.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/adm/finding.h"
#include "tools/adm/text.h"

/* One ring in both snaps. */
struct pair {
	const struct look *l;
	const struct snap_chan *c;
	const struct snap_ring *was, *now;
};

static bool still(const struct pair *p)
{
	return p->was->head == p->now->head && p->was->tail == p->now->tail;
}

static const struct snap_slot *slot_at(const struct snap_ring *r, uint64_t pos)
{
	return &r->slot[pos & (r->n_slots - 1)];
}

/* Is there a message that any reader could take, and was it there before? */
static bool can_take(const struct pair *p)
{
	const struct snap_slot *head = slot_at(p->now, p->now->head);

	if (p->now->aborted || p->now->recalled)
		return false;
	if (head->state == SNAP_WAITING && head->pos == p->now->head &&
	    look_same_slot(slot_at(p->was, p->was->head), head))
		return true;
	for (uint32_t i = 0; p->now->n[SNAP_RETURNED] && i < p->now->n_slots;
	     i++)
		if (p->now->slot[i].state == SNAP_RETURNED &&
		    look_same_slot(&p->was->slot[i], &p->now->slot[i]))
			return true;
	return false;
}

/* Is there a free slot to which a writer comes before it is a lap ahead? */
static bool can_put(const struct snap_ring *r)
{
	uint64_t ahead = (r->tail - r->head) & (SB_POS_MASK >> 16);

	for (uint64_t k = 0; ahead + k < r->n_slots; k++)
		if (slot_at(r, r->tail + k)->state == SNAP_FREE)
			return true;
	return false;
}

/* The first of those who slept in both, and how many there are.  Of a single
 * picture nobody knows whether they are asleep. */
static uint32_t sleepers(const struct pair *p, const struct snap_set *was,
			 const struct snap_set *now, uint32_t *first)
{
	uint32_t n = 0;

	*first = 0;
	for (uint32_t id = 1; id < p->l->now->n_eps; id++) {
		if (!look_both(was, now, id) || !look_asleep(p->l, id))
			continue;
		if (!n++)
			*first = id;
	}
	return n;
}

/* A wake has been lost.  It cannot happen, unless the one who was to ring, or
 * was rung, is in the hands of somebody else. */
static void say_asleep(const struct pair *p, const char *rule,
		       enum finding_severity severity, uint32_t first,
		       uint32_t n, const char *beside)
{
	const struct snap_ep *ep = &p->l->now->ep[first];
	struct finding *f = look_say(p->l, severity, rule, p->c);

	if (n == 1)
		finding_what(f, "it is asleep beside %s", beside);
	else
		finding_what(f, "%u are asleep beside %s, this one first", n,
			     beside);
	finding_who(f, ep);
	finding_remedy(f,
		       "a wake was lost, and it does not look by itself; "
		       "kill -KILL %u gives all that it holds to others",
		       ep->pid);
}

static const char *messages(const struct snap_chan *c, uint64_t n)
{
	if (c->kind == BUS_CHAN_QUEUE)
		return n == 1 ? "message" : "messages";
	return n == 1 ? "request" : "requests";
}

static void find_asleep_readers(const struct pair *p)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t n_waiting = snap_waiting(p->now), first, n;
	char beside[64];

	if (!still(p) || !can_take(p))
		return;
	n = sleepers(p, &p->was->rx, &p->now->rx, &first);
	if (!n || !look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	snprintf(beside, sizeof(beside), "%u %s", n_waiting,
		 messages(p->c, n_waiting));
	say_asleep(p, "asleep-reader", severity, first, n, beside);
}

static void find_asleep_writers(const struct pair *p)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t first, n;

	if (p->c->kind != BUS_CHAN_QUEUE || !still(p))
		return;
	if (!(p->now->closed && p->was->closed) &&
	    !(can_put(p->was) && can_put(p->now)))
		return;
	n = sleepers(p, &p->was->tx, &p->now->tx, &first);
	if (!n || !look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	say_asleep(p, "asleep-writer", severity, first, n,
		   p->now->closed ? "a queue that is closed" : "a free slot");
}

/* The end of a queue, for one who holds nothing of it: closed, and all of it
 * is done. */
static bool at_end(const struct snap_ring *r)
{
	return r->closed && r->head == r->tail && r->n[SNAP_FREE] == r->n_slots;
}

static void find_asleep_at_end(const struct pair *p)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t first, n;

	if (p->c->kind != BUS_CHAN_QUEUE || !at_end(p->was) || !at_end(p->now))
		return;
	n = sleepers(p, &p->was->rx, &p->now->rx, &first);
	if (!n)
		n = sleepers(p, &p->was->done, &p->now->done, &first);
	if (!n || !look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	say_asleep(p, "asleep-reader", severity, first, n,
		   "the end of the queue, which is closed");
}

/* -------------------------------------------------------- who is missing -- */

/* The endpoint that took last, if the one of that id may still be it; one that
 * is stopped only if there is no other. */
static const struct snap_ep *last_reader(const struct pair *p)
{
	const struct snap_ring *r = p->now;
	const struct snap_ep *ep = NULL;
	uint64_t best = 0;

	for (uint32_t i = 0; i < r->n_slots; i++) {
		uint64_t own = r->slot[i].cown;
		uint64_t age = (r->head - (own >> 16)) & (SB_POS_MASK >> 16);
		const struct snap_ep *e = snap_ep_of(p->l->now, SB_OWNER(own));

		if (!SB_OWNER(own) || !e || process_is_dead(&e->proc))
			continue;
		if (process_is_stopped(&e->proc))
			age |= UINT64_C(1) << 63;
		if (!ep || age < best) {
			ep = e;
			best = age;
		}
	}
	return ep;
}

static void say_full(const struct pair *p, enum finding_severity severity,
		     const struct snap_ep *reader)
{
	uint32_t n = snap_waiting(p->now), asleep = snap_count(&p->now->tx);
	struct finding *f = look_say(p->l, severity, "full", p->c);
	char more[96] = "", last[64] = "";

	if (asleep)
		snprintf(more, sizeof(more),
			 ", and %u writer%s asleep for room", asleep,
			 asleep == 1 ? " is" : "s are");
	if (reader)
		snprintf(last, sizeof(last), "; this one read last, and is %s",
			 process_word(reader->proc.state));
	finding_what(f, "it is full with %u %s that nobody takes%s%s", n,
		     messages(p->c, n), more, last);
	if (reader)
		finding_who(f, reader);
	if (severity == FINDING_NOTE && !p->l->single)
		return;
	if (reader && process_is_stopped(&reader->proc))
		finding_remedy(f,
			       "kill -CONT %u lets it go on; or start "
			       "another reader",
			       reader->pid);
	else
		finding_remedy(f, "start a reader; or 'busadm get --drain' "
				  "takes them out, 'busadm close' ends its "
				  "writers");
}

static void find_full(const struct pair *p)
{
	enum finding_severity severity = FINDING_WARNING;
	const struct snap_ep *reader;

	if (p->c->kind != BUS_CHAN_QUEUE || p->now->closed || !still(p) ||
	    can_put(p->now) || can_put(p->was) || !can_take(p) ||
	    snap_count(&p->now->rx) ||
	    !look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	reader = last_reader(p);
	/* Who is busy with the last one will come back for more. */
	if (reader && !process_is_stopped(&reader->proc))
		severity = FINDING_NOTE;
	say_full(p, severity, reader);
}

/* All slots are in hands: of whom most? */
static void find_all_held(const struct pair *p)
{
	enum finding_severity severity = FINDING_NOTE;
	uint32_t n_of[SB_EP_MAX + 1] = { 0 }, most = 0;
	struct finding *f;

	if (p->c->kind != BUS_CHAN_QUEUE || !still(p) || can_put(p->now) ||
	    can_put(p->was) || snap_waiting(p->now) ||
	    snap_held(p->now) < p->now->n_slots ||
	    !look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	for (uint32_t i = 0; i < p->now->n_slots; i++)
		n_of[p->now->slot[i].holder]++;
	for (uint32_t id = 1; id <= SB_EP_MAX; id++)
		if (n_of[id] > n_of[most] || !most)
			most = id;
	if (most >= p->l->now->n_eps)
		return;
	f = look_say(p->l, severity, "all-held", p->c);
	finding_what(f,
		     "all its %u messages are held, %u of them by this one; "
		     "there is room when one is released",
		     p->now->n_slots, n_of[most]);
	finding_who(f, &p->l->now->ep[most]);
}

/* --------------------------------------------------- who is in the way -- */

static bool is_written(const struct snap_slot *s)
{
	return s->state == SNAP_WRITING || s->state == SNAP_PASSED;
}

static bool is_held(const struct snap_slot *s)
{
	return s->state == SNAP_HELD || s->state == SNAP_BEHIND;
}

/* Messages behind one that is being written, and may not be overtaken. */
static uint32_t kept_back(const struct pair *p, const struct snap_slot *s)
{
	if (!(p->now->ring_flags & SB_RING_STRICT) || s->pos != p->now->head)
		return 0;
	return snap_waiting(p->now);
}

static void say_written(const struct pair *p, const struct snap_slot *s)
{
	enum finding_severity severity = FINDING_NOTE;
	uint32_t n_behind = kept_back(p, s);
	struct finding *f;

	/* Who waits for a processor is not to blame. */
	if (n_behind && look_asleep(p->l, s->writer))
		severity = FINDING_WARNING;
	if (!look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	f = look_say(p->l, severity, "unfinished", p->c);
	finding_pos(f, s->pos);
	finding_who(f, &p->l->now->ep[s->writer]);
	if (!n_behind) {
		finding_what(f, "it has been claimed and not published yet");
		return;
	}
	finding_what(f,
		     "it has been claimed and not published, and the %u %s "
		     "behind it must wait: the queue is strict",
		     n_behind, messages(p->c, n_behind));
	finding_remedy(f,
		       "its writer should commit or cancel the loan; kill "
		       "-KILL %u lets the others through",
		       p->l->now->ep[s->writer].pid);
}

/* In the hands of an endpoint that nobody is: nobody will ever finish it. */
static void say_lost(const struct pair *p, const struct snap_slot *s,
		     uint32_t id)
{
	enum finding_severity severity = FINDING_ERROR;
	struct finding *f;

	if (!look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	f = look_say(p->l, severity, "lost", p->c);
	finding_what(f, "it is %s by endpoint %u, which has left",
		     is_written(s) ? "being written" : "held", id);
	finding_pos(f, s->pos);
	f->ep = id;
	finding_remedy(f, "nobody will finish it: close the queue, or create "
			  "the bus anew, and report this");
}

static bool has_left(const struct look *l, uint32_t id)
{
	const struct snap_ep *was = look_ep_was(l, id);

	return was &&
	       (was->state == BUS_EP_FREE || was->state == BUS_EP_RETIRED);
}

static void find_in_the_way(const struct pair *p)
{
	for (uint32_t i = 0; i < p->now->n_slots; i++) {
		const struct snap_slot *s = &p->now->slot[i];
		uint32_t who = is_written(s) ? s->writer
			       : is_held(s)  ? s->holder
					     : 0;

		if (!who || who >= p->l->now->n_eps ||
		    !look_same_slot(&p->was->slot[i], s))
			continue;
		if (has_left(p->l, who))
			say_lost(p, s, who);
		else if (is_written(s) && !look_stopped(p->l, who) &&
			 !look_dead(p->l, who) && look_ep_was(p->l, who))
			say_written(p, s);
	}
}

/* ------------------------------------------------------------- the rest -- */

/* What a queue still has that is closed and that nobody reads. */
static void find_left_over(const struct pair *p)
{
	enum finding_severity severity = FINDING_NOTE;
	uint32_t n = snap_waiting(p->now);
	struct finding *f;

	if (p->c->kind != BUS_CHAN_QUEUE || !p->now->closed ||
	    p->now->aborted || !n || !still(p) || !can_take(p) ||
	    snap_count(&p->now->rx) ||
	    !look_lasted(p->l, FINDING_ASLEEP_NS, &severity))
		return;
	f = look_say(p->l, severity, "left-over", p->c);
	finding_what(f, "it is closed, and %u %s still in it", n,
		     n == 1 ? "message is" : "messages are");
	finding_remedy(f, "'busadm get --drain' takes them out, 'busadm abort' "
			  "throws them away");
}

void find_rings(const struct look *l)
{
	/* Of a bus that nobody has any more there is only what is lost. */
	bool anybody = look_living(l) > 0;

	for (uint32_t i = 0; i < l->now->n_chans; i++) {
		struct pair p = { .l = l, .c = &l->now->chan[i] };
		const struct snap_chan *was = look_was(l, p.c);

		if (!was || !look_ring(p.c) || !look_ring(was) ||
		    p.c->kind == BUS_CHAN_IDLE ||
		    was->ring->n_slots != p.c->ring->n_slots)
			continue;
		p.was = was->ring;
		p.now = p.c->ring;
		find_in_the_way(&p);
		if (!anybody)
			continue;
		find_asleep_readers(&p);
		find_asleep_writers(&p);
		find_asleep_at_end(&p);
		find_full(&p);
		find_all_held(&p);
		find_left_over(&p);
	}
}
