/*
 * queue_end.c - the end of a queue: given up with all that is in it, or waited
 * for until all of it is done
 */
#include "config.h"

#include <sched.h>

#include "bus/queue.h"
#include "lib/clock.h"

/* ----------------------------------------------------------------- abort -- */

int64_t bus_queue_left(const struct bus_queue *q, uint64_t *head)
{
	uint64_t tail = ld_acq(&q->end.ring->tail);

	*head = ld_acq(&q->end.ring->head);
	return sb_pos_diff(tail, *head);
}

/* To go past a message that is being written takes less than a millisecond. */
#define ABORT_STUCK_NS ((int64_t)SB_NS_PER_S)

/*
 * Throw away what is there, so that its cells are free.  That is a ring full at
 * most: more, or an end that is further away, or a head that does not move, is
 * nonsense of a peer.  0 or -EPROTO.
 */
static int discard_all(struct bus_queue *q)
{
	uint64_t most = 2 * (q->end.mask + 1), last = 0, head;
	uint64_t until = sb_deadline(ABORT_STUCK_NS);
	struct bus_queue_op op = { .q = q, .n = 1 };
	int64_t left;
	int ret;

	while ((ret = sb_ring_take(&q->end, op.n, true, &op.pos)) != -EPIPE) {
		left = bus_queue_left(q, &head);
		if (ret > 0)
			bus_queue_discard(q, op.pos, ret);
		else if (left <= 0)
			return 0;
		else
			sched_yield();
		if (head != last)
			until = sb_deadline(ABORT_STUCK_NS);
		last = head;
		if (left > (int64_t)q->end.mask + 1 || (ret > 0 && !most--) ||
		    sb_now_ns() > until)
			return -EPROTO;
	}
	return 0;
}

int bus_queue_abort(struct bus_queue *q)
{
	uint32_t strict = q->end.flags & SB_RING_STRICT;
	int ret = bus_check(q->bus), error;

	if (ret)
		return ret;
	sb_ring_close(&q->end);
	/* Do not wait for what is being written. */
	q->end.flags &= ~SB_RING_STRICT;
	error = discard_all(q);
	if (error)
		bus_queue_reject(q);
	q->end.flags |= strict;
	sb_ring_abort(&q->end);
	ret = bus_queue_close(q);
	return error ? error : ret;
}

/* ------------------------------------------------------- task_done, join -- */

int bus_queue_task_done(struct bus_queue *q)
{
	struct bus_msg msg;
	uint64_t pos;
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!q->held_n)
		return -EINVAL;
	pos = q->held[q->held_head++ & q->end.mask];
	q->held_n--;
	q->n_held--;
	ret = bus_queue_read_message(q, pos, &msg);
	if (ret)
		return ret;
	bus_queue_free_message(q, pos, msg.cell);
	bus_queue_wake_writers(q, 1);
	return 0;
}

/*
 * Is every message done?  The slot of one that will never come, because its
 * writer died or gave up, is freed by the next reader; there may be none, and
 * it is nothing to wait for.
 */
static bool all_done(const struct bus_queue *q)
{
	uint64_t tail = ld_acq(&q->end.ring->tail);

	if (!sb_ring_unfinished(&q->end))
		return true;
	for (uint64_t i = 0; i <= q->end.mask; i++) {
		uint64_t last = ld_acq(&q->end.pown[i]);
		uint64_t w = ld_acq(&sb_ring_slot(&q->end, i << 16)->seq);

		if ((w & 3) != SB_TOMB &&
		    ((w & 3) != SB_FREE || sb_pos_diff(w, last) <= 0))
			return false;
	}
	return ld_acq(&q->end.ring->tail) == tail; /* see there */
}

static int try_join(void *arg, bool sure)
{
	struct bus_queue_op *op = arg;

	(void)sure;
	if (ld_rlx(&op->q->end.ring->closing) > 1)
		while (bus_queue_try_take(op, true) > 0)
			; /* what comes late to an aborted queue is dropped */
	return all_done(op->q) ? 0 : -EAGAIN;
}

int bus_queue_join(struct bus_queue *q, int64_t timeout_ns)
{
	struct bus_queue_op op = { .q = q, .n = 1 };
	struct sb_wait wait = { .try_ = try_join,
				.arg = &op,
				.sets = { &q->chan->done },
				.n_sets = 1 };
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!(q->flags & BUS_QUEUE_JOINABLE))
		return -EINVAL;
	return bus_wait_for(q->bus, &wait, timeout_ns);
}
