/*
 * findings_damage.c - words that can never be
 *
 * What can be seen from one word, or from some that are read together, the
 * view has seen (bad).  It counts if it is there twice.  Here is also what only
 * two snaps tell: positions never go back, and head is never beyond tail, nor
 * more than a ring behind it, even if the two are read at different times.
 *
 * The first snap was complete before the second was begun.  So with head and
 * tail only growing:
 *
 *	head, then  <=  tail, now
 *	tail, then  <=  head, now  +  the slots
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "bus/pipe_side.h"
#include "tools/adm/finding.h"

/* Distance of two positions of 48 bits. */
static int64_t ahead_of(uint64_t a, uint64_t b)
{
	return sb_pos_diff(a << 16, b << 16);
}

static void remedy_of_damage(struct finding *f)
{
	finding_remedy(f, "somebody has written to memory that is not his; "
			  "those who have it mapped are the suspects "
			  "(busadm ps); create the bus anew");
}

static struct finding *damage(const struct look *l, const struct snap_chan *c,
			      const char *what)
{
	struct finding *f = look_say(l, FINDING_ERROR, "damaged", c);

	finding_what(f, "%s", what);
	remedy_of_damage(f);
	return f;
}

/* Words that contradict each other: of a copy nobody knows whether all are of
 * one moment. */
static struct finding *
contradiction(const struct look *l, const struct snap_chan *c, const char *what)
{
	struct finding *f;

	if (!l->single)
		return damage(l, c, what);
	f = look_say(l, FINDING_NOTE, "contradiction", c);
	finding_what(f, "%s; or that changed while it was copied", what);
	return f;
}

/* ----------------------------------------------------- of the whole bus -- */

static void find_bad_eps(const struct look *l)
{
	for (uint32_t id = 1; id < l->now->n_eps; id++) {
		const struct snap_ep *ep = &l->now->ep[id];

		if (!ep->bad || !l->was->ep[id].bad)
			continue;
		struct finding *f = damage(l, NULL, "");

		finding_what(f, "endpoint %u: %s", id, ep->bad);
		f->ep = id;
	}
}

static void find_bad_lock(const struct look *l)
{
	uint32_t owner = l->now->dir_owner;

	if (owner < l->now->n_eps || owner != l->was->dir_owner)
		return;
	finding_what(damage(l, NULL, ""),
		     "endpoint %u, which cannot be, adds a channel", owner);
}

static bool overlap(const struct snap_chan *a, const struct snap_chan *b)
{
	return a->off < b->off + b->bytes && b->off < a->off + a->bytes;
}

static bool is_over(const struct snap_chan *c)
{
	const struct snap_pipe *p = c->pipe;

	return c->kind == BUS_CHAN_IDLE || c->kind == BUS_CHAN_PIPE_IDLE ||
	       (p && p->side[0].state >= BUS_SIDE_CLOSED &&
		p->side[1].state >= BUS_SIDE_CLOSED);
}

/* Two channels that cannot both be. */
static void find_clash(const struct look *l, const struct snap_chan *a,
		       const struct snap_chan *b)
{
	struct finding *f;
	char name[256];

	if (a->bad || b->bad)
		return;
	look_name(name, sizeof(name), b);
	if (overlap(a, b)) {
		f = damage(l, a, "");
		finding_what(f, "it lies where %s lies", name);
	} else if (*a->name && !strcmp(a->name, b->name) && !is_over(a) &&
		   !is_over(b)) {
		f = damage(l, a, "");
		finding_what(f, "there is %s as well (#%u and #%u)", name,
			     a->idx, b->idx);
	}
}

static void find_clashes(const struct look *l)
{
	for (uint32_t i = 0; i < l->now->n_chans; i++)
		for (uint32_t k = i + 1; k < l->now->n_chans; k++) {
			const struct snap_chan *a = &l->now->chan[i];
			const struct snap_chan *b = &l->now->chan[k];

			if (look_was(l, a) && look_was(l, b))
				find_clash(l, a, b);
		}
}

/* ------------------------------------------------------------- of a ring -- */

static void find_order(const struct look *l, const struct snap_chan *c,
		       const struct snap_ring *was)
{
	const struct snap_ring *now = c->ring;

	if (was->n_slots != now->n_slots)
		damage(l, c, "its number of slots has changed");
	else if (now->bad && was->bad && now->tail == was->tail &&
		 now->head == was->head)
		contradiction(l, c, now->bad);
	else if (ahead_of(now->tail, was->tail) < 0)
		damage(l, c, "the position of its writers has gone back");
	else if (ahead_of(now->head, was->head) < 0)
		damage(l, c, "the position of its readers has gone back");
	else if (ahead_of(was->head, now->tail) > 0)
		damage(l, c, "its readers are ahead of its writers");
	else if (ahead_of(was->tail, now->head) > (int64_t)now->n_slots)
		damage(l, c,
		       "its writers are more than a lap ahead of its readers");
}

/* Is a word of slot @i wrong by itself? */
static bool is_bad_word(const struct snap_ring *r, const struct snap_slot *s,
			uint32_t i)
{
	uint64_t mask = r->n_slots - 1;

	return (s->seq >> 16 & mask) != i || (s->pown >> 16 & mask) != i ||
	       (s->cown >> 16 & mask) != i ||
	       ((s->seq & 3) == SB_FREE && s->seq & ~SB_SEQ_KIND) ||
	       ((s->seq & 3) == SB_DONE && !(r->ring_flags & SB_RING_REQUEST));
}

static void find_bad_slots(const struct look *l, const struct snap_chan *c,
			   const struct snap_ring *was)
{
	const struct snap_ring *now = c->ring;

	if (was->n_slots != now->n_slots)
		return;
	for (uint32_t i = 0; i < now->n_slots; i++) {
		const struct snap_slot *s = &now->slot[i];
		char what[256];
		struct finding *f;

		if (s->state != SNAP_BAD || !look_same_slot(&was->slot[i], s))
			continue;
		snprintf(what, sizeof(what), "slot %u: %s", i,
			 s->bad ? s->bad : "its words make no sense");
		f = is_bad_word(now, s, i) ? damage(l, c, what)
					   : contradiction(l, c, what);
		finding_pos(f, s->pos);
	}
}

/* ------------------------------------------------------------- of a pipe -- */

static void find_bad_dir(const struct look *l, const struct snap_chan *c,
			 const char *bad, uint32_t i)
{
	char what[256];

	snprintf(what, sizeof(what), "direction from side %u to side %u: %s", i,
		 1 - i, bad);
	contradiction(l, c, what);
}

static void find_bad_pipe(const struct look *l, const struct snap_chan *c,
			  const struct snap_pipe *was)
{
	const struct snap_pipe *now = c->pipe;

	for (int i = 0; i < 2; i++)
		if (now->side[i].bad && was->side[i].bad)
			finding_what(damage(l, c, ""), "side %d: %s", i,
				     now->side[i].bad);
	for (uint32_t i = 0; i < now->n_dirs && i < was->n_dirs; i++)
		/* While the reader moves it may be what is read at all. */
		if (now->dir[i].bad && was->dir[i].bad &&
		    now->dir[i].lap == was->dir[i].lap &&
		    now->dir[i].at == was->dir[i].at)
			find_bad_dir(l, c, now->dir[i].bad, i);
}

static void find_bad_places(const struct look *l, const struct snap_chan *c,
			    const struct snap_crew *was)
{
	const struct snap_crew *now = c->crew;

	for (uint32_t i = 0; i < now->n_places && i < was->n_places; i++)
		if (now->place[i].life > BUS_PLACE_LEAVING &&
		    was->place[i].life == now->place[i].life)
			finding_what(damage(l, c, ""),
				     "worker in place %u: how it stands is "
				     "none of the ways there are",
				     i);
}

void find_damage(const struct look *l)
{
	find_bad_eps(l);
	find_bad_lock(l);
	find_clashes(l);
	if (l->now->cells.bad && l->was->cells.bad)
		finding_what(damage(l, NULL, ""),
			     "memory for large messages: %s",
			     l->now->cells.bad);
	for (uint32_t i = 0; i < l->now->n_chans; i++) {
		const struct snap_chan *c = &l->now->chan[i];
		const struct snap_chan *was = look_was(l, c);

		if (!was)
			continue;
		if (c->unread)
			finding_what(look_say(l, FINDING_NOTE, "unread", c),
				     "%s", c->bad);
		else if (c->bad && was->bad)
			damage(l, c, c->bad);
		if (look_ring(c) && look_ring(was)) {
			find_order(l, c, was->ring);
			find_bad_slots(l, c, was->ring);
		}
		if (c->pipe && was->pipe)
			find_bad_pipe(l, c, was->pipe);
		if (c->crew && was->crew)
			find_bad_places(l, c, was->crew);
	}
}
