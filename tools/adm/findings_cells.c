/*
 * findings_cells.c - memory for large messages: cells that are nobody's and not
 * free, messages whose cell is not theirs, and who waits for one
 *
 * The owner words are those of lib/blob.c: 0 free; id << 8 | 1 an endpoint's;
 * position | channel << 8 | 2 goes with that position.
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "tools/adm/finding.h"
#include "tools/adm/text.h"

enum { FREE, OWNED, SLOT };

static const char *bad_owner(const struct snap *s, uint64_t w)
{
	switch (w & 3) {
	case FREE:
		return w ? "its owner is nobody, and somebody" : NULL;
	case OWNED:
		if (w >> 16 || w & 0xfc || w >> 8 == 0 || w >> 8 >= s->n_eps)
			return "its owner is no endpoint";
		return NULL;
	case SLOT:
		if (w & 0xfc || (w >> 8 & 0xff) >= s->n_chans ||
		    (w >> 8 & 0xff) >= BUS_CHANNELS_MAX)
			return "it goes with a message of no channel";
		return NULL;
	default:
		return "its owner word is none";
	}
}

static bool has_left(const struct look *l, uint64_t id)
{
	const struct snap_ep *was = look_ep_was(l, (uint32_t)id);

	return was &&
	       (was->state == BUS_EP_FREE || was->state == BUS_EP_RETIRED);
}

/* As sb_ring_pos_alive(), in one snap. */
static bool pos_alive(const struct snap *s, uint64_t owner)
{
	uint32_t chan = owner >> 8 & 0xff;
	uint64_t pos = owner >> 16;
	const struct snap_slot *slot;
	const struct snap_ring *r;

	if (chan >= s->n_chans || !(r = look_ring(&s->chan[chan])))
		return true; /* not read: nobody knows */
	slot = &r->slot[pos & (r->n_slots - 1)];
	if (slot->state == SNAP_BAD || slot->seq >> 16 == pos)
		return true;
	return (slot->seq & 3) == SB_FREE && slot->pown >> 16 == pos &&
	       sb_pos_diff(slot->seq, pos << 16) <= 0;
}

struct count {
	uint32_t n_lost, n_over;
	uint64_t owner; /* of the first lost one */
};

static void look_at_cell(const struct look *l, uint32_t i, struct count *n)
{
	uint64_t w = l->now->cells.owner[i];
	const char *bad = bad_owner(l->now, w);
	struct finding *f;

	if (l->was->cells.owner[i] != w)
		return;
	if (bad) {
		f = look_say(l, FINDING_ERROR, "damaged", NULL);
		finding_what(f, "memory for large messages, cell %u: %s", i,
			     bad);
	} else if ((w & 3) == OWNED && has_left(l, w >> 8)) {
		if (!n->n_lost++)
			n->owner = w >> 8;
	} else if ((w & 3) == SLOT && !pos_alive(l->was, w) &&
		   !pos_alive(l->now, w)) {
		n->n_over++;
	}
}

static void say_counts(const struct look *l, const struct count *n)
{
	enum finding_severity severity = FINDING_WARNING;
	struct finding *f;

	if (n->n_lost && look_lasted(l, FINDING_LONGEST_NS, &severity)) {
		f = look_say(l, severity, "lost-cells", NULL);
		finding_what(f,
			     "%u cell%s for large messages belong%s to "
			     "endpoint %" PRIu64 ", which has left",
			     n->n_lost, text_s(n->n_lost),
			     n->n_lost == 1 ? "s" : "", n->owner);
		finding_remedy(f, "this memory is lost until the bus is "
				  "created anew; report it");
	}
	severity = FINDING_NOTE;
	if (n->n_over && look_lasted(l, FINDING_LONGEST_NS, &severity)) {
		f = look_say(l, severity, "stale-cells", NULL);
		finding_what(f,
			     "%u cell%s of messages that are over %s not "
			     "free yet",
			     n->n_over, text_s(n->n_over),
			     n->n_over == 1 ? "is" : "are");
		finding_remedy(f, "they are freed when the next process "
				  "dies, or leaves");
	}
}

/* ---------------------------------------------- messages without bytes -- */

static void find_empty_message(const struct look *l, const struct snap_chan *c,
			       const struct snap_slot *s)
{
	uint64_t owner = s->pos << 16 | (uint64_t)c->idx << 8 | SLOT;
	const struct snap_cells *now = &l->now->cells, *was = &l->was->cells;
	enum finding_severity severity = FINDING_ERROR;
	struct finding *f;

	if (s->cell < now->n_cells &&
	    (now->owner[s->cell] == owner || was->owner[s->cell] == owner))
		return;
	if (!look_lasted(l, 0, &severity))
		return;
	f = look_say(l, severity, "no-bytes", c);
	finding_pos(f, s->pos);
	finding_what(f, "it is a large message, and its bytes are not there");
	finding_remedy(f, "who takes it drops it, and gets 'Protocol error'");
}

static void find_empty_messages(const struct look *l)
{
	for (uint32_t i = 0; i < l->now->n_chans; i++) {
		const struct snap_chan *c = &l->now->chan[i];
		const struct snap_chan *was = look_was(l, c);

		if (!was || c->kind != BUS_CHAN_QUEUE || !look_ring(c) ||
		    !look_ring(was) || was->ring->n_slots != c->ring->n_slots)
			continue;
		for (uint32_t k = 0; k < c->ring->n_slots; k++) {
			const struct snap_slot *s = &c->ring->slot[k];

			if ((s->seq & 3) == SB_FULL &&
			    (s->seq & SB_FLAG_BLOB) && s->state != SNAP_BAD &&
			    look_same_slot(&was->ring->slot[k], s))
				find_empty_message(l, c, s);
		}
	}
}

/* --------------------------------------------------------- who waits -- */

/* Is a cell free that is large enough for any message? */
static bool has_large_cell(const struct snap *s)
{
	const struct sb_blob_pool *plan = &s->view->off.plan;
	const struct sb_blob_class *most;

	if (!plan->n_classes || s->cells.n_cells != plan->n_cells)
		return false;
	most = &plan->class_[plan->n_classes - 1];
	for (uint32_t i = 0; i < most->n_cells; i++)
		if (!(s->cells.owner[most->first_cell + i] & 3))
			return true;
	return false;
}

static bool same_cells(const struct look *l)
{
	const struct snap_cells *was = &l->was->cells, *now = &l->now->cells;

	return was->n_cells == now->n_cells &&
	       !memcmp(was->owner, now->owner,
		       now->n_cells * sizeof(*now->owner));
}

/* Who of the two sorts has most of what is used? */
static void say_out_of_cells(const struct look *l, uint32_t first, uint32_t n)
{
	enum finding_severity severity = FINDING_NOTE;
	uint32_t n_waiting = 0;
	struct finding *f;

	if (!look_lasted(l, FINDING_ASLEEP_NS, &severity))
		return;
	for (uint32_t i = 0; i < l->now->cells.n_cells; i++)
		n_waiting += (l->now->cells.owner[i] & 3) == SLOT;
	f = look_say(l, severity, "no-cell", NULL);
	finding_what(f,
		     "%u wait%s for memory for large messages; %u cells go "
		     "with messages that are not finished, %u are in "
		     "somebody's hands",
		     n, n == 1 ? "s" : "", n_waiting,
		     l->now->cells.n_used - n_waiting);
	finding_who(f, &l->now->ep[first]);
	finding_remedy(f, "there is some again when large messages are read "
			  "and released; blob_bytes of struct bus_config is "
			  "how much there is");
}

static void find_waiting(const struct look *l)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t n = 0, first = 0;
	struct finding *f;

	for (uint32_t id = 1; id < l->now->n_eps; id++)
		if (l->now->ep[id].wants_cell && look_asleep(l, id) &&
		    l->was->ep[id].wants_cell && !n++)
			first = id;
	if (!n || !same_cells(l))
		return;
	if (!has_large_cell(l->now)) {
		say_out_of_cells(l, first, n);
		return;
	}
	if (!look_lasted(l, FINDING_ASLEEP_NS, &severity))
		return;
	f = look_say(l, severity, "asleep-writer", NULL);
	finding_what(f, "it is asleep beside memory for its large message");
	finding_who(f, &l->now->ep[first]);
	finding_remedy(f, "a wake was lost, and it does not look by itself; "
			  "end it");
}

void find_cells(const struct look *l)
{
	struct count n = { 0 };

	if (!l->now->cells.owner || !l->was->cells.owner ||
	    l->was->cells.n_cells != l->now->cells.n_cells)
		return;
	for (uint32_t i = 0; i < l->now->cells.n_cells; i++)
		look_at_cell(l, i, &n);
	say_counts(l, &n);
	find_empty_messages(l);
	find_waiting(l);
}
