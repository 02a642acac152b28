/*
 * queue_ready.c - a queue in bus_wait(): could a put or a get succeed now?
 * Nothing is claimed and nothing is taken to find out.
 */
#include "config.h"

#include "bus/queue.h"

struct bus *bus_queue_endpoint(const struct bus_queue *q)
{
	return q->bus;
}

struct sb_sleepers *bus_queue_sleepers(struct bus_queue *q, uint32_t event)
{
	return event == BUS_POLL_OUT ? &q->chan->tx : &q->chan->rx;
}

static bool all_passed(const struct bus_queue *q)
{
	uint64_t head;

	return bus_queue_left(q, &head) <= 0;
}

/* Could a take succeed that knows of all messages?  Nothing is taken. */
static bool any_message(const struct bus_queue *q)
{
	const struct sb_ring_end *e = &q->end;
	uint64_t h = SB_POS(ld_acq(&e->ring->head));
	uint64_t tail = SB_POS(ld_acq(&e->ring->tail));
	bool strict = e->flags & SB_RING_STRICT;

	/* From head on, over what a take steps over; a strict one stops at a
	 * message that is being written, others go past it soon.  No more than
	 * there are slots, whatever the tail says: it may be a hostile one. */
	for (uint64_t i = 0; i <= e->mask && sb_pos_diff(tail, h) > 0;
	     i++, h += SB_POS_ONE) {
		uint64_t w = ld_acq(&sb_ring_slot(e, h)->seq) & SB_SEQ_KIND;

		if (w == (h | SB_FULL))
			return true;
		if (w != (h | SB_TOMB) &&
		    SB_POS(ld_acq(&e->pskip[sb_ring_idx(e, h)])) != h && strict)
			break;
	}
	/* Behind head: given back, redelivered, or passed. */
	for (uint64_t i = 0; i <= e->mask; i++) {
		uint64_t own = ld_acq(&e->cown[i]);

		if (SB_STATE(own) == SB_PENDING &&
		    sb_ring_published(e, SB_POS(own)))
			return true;
	}
	return false;
}

/* Could a claim succeed?  Nothing is claimed.  See sb_ring_claim_slow(). */
static bool any_room(const struct bus_queue *q)
{
	const struct sb_ring_end *e = &q->end;
	uint64_t p = SB_POS(ld_acq(&e->ring->tail));
	uint64_t h = SB_POS(ld_acq(&e->ring->head));

	if (sb_pos_diff(h, p - e->lap) <= 0)
		return SB_POS(ld_acq(&e->pskip[sb_ring_idx(e, h)])) == h;
	for (uint64_t i = 0; i <= e->mask; i++) {
		uint64_t w = ld_acq(&sb_ring_slot(e, i << 16)->seq);

		if ((w & 3) == SB_FREE &&
		    sb_pos_diff(w, ld_acq(&e->pown[i])) > 0)
			return true;
	}
	return false;
}

static uint32_t ready_to_get(struct bus_queue *q, bool sure)
{
	const struct sb_ring_end *e = &q->end;

	if (q->has_kept)
		return BUS_POLL_IN;
	if (ld_rlx(&e->ring->closing) > 1)
		return BUS_POLL_IN | BUS_POLL_HUP;
	if (sb_ring_published(e, SB_POS(ld_acq(&e->ring->head))))
		return BUS_POLL_IN;
	if (!sure && !ld_rlx(&e->ring->closing))
		return 0;
	if (any_message(q))
		return BUS_POLL_IN;
	if (sb_ring_closed(e) && all_passed(q) && bus_queue_at_end(q) == -EPIPE)
		return BUS_POLL_IN | BUS_POLL_HUP;
	return 0;
}

static uint32_t ready_to_put(struct bus_queue *q, bool sure)
{
	uint64_t tw = ld_acq(&q->end.ring->tail), p = SB_POS(tw);

	if ((tw & 3) == SB_CLOSED)
		return BUS_POLL_OUT | BUS_POLL_ERR;
	if (ld_acq(&sb_ring_slot(&q->end, p)->seq) == (p | SB_FREE))
		return BUS_POLL_OUT;
	return sure && any_room(q) ? BUS_POLL_OUT : 0;
}

uint32_t bus_queue_ready(struct bus_queue *q, uint32_t events, bool sure)
{
	uint32_t ready = ready_to_get(q, sure);

	if (!(events & BUS_POLL_IN))
		ready &= BUS_POLL_HUP;
	if (events & BUS_POLL_OUT)
		ready |= ready_to_put(q, sure);
	return ready;
}
