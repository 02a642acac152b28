/*
 * queue.h - an open queue, as its parts know it; private to a process
 *
 *	queue.c        whose it is: make, open, close, what it counts
 *	queue_put.c    writing a message, or lending room for one
 *	queue_get.c    taking one: a copy, or in place
 *	queue_end.c    giving up all of it; waiting until all is done
 *	queue_ready.c  for bus_wait()
 *
 * A queue is a ring, whoever waits for it, and cells for what is larger than a
 * slot.  Life of a message: its bytes are written to a claimed slot, or to a
 * cell whose number the slot then carries; published; taken; copied or lent to
 * the reader; freed.  The slot is freed before the cell, because that store is
 * what ends the message: killed between the two, the cell is swept.
 *
 * A reader holds what it took until it is done with it: for the time of a
 * copy (get), until released (peek), or until task_done (joinable queues).
 * All this is in the ring; the handle only remembers positions:
 *
 *	kept   taken, but its buffer was too small: the next call gets it
 *	held   got from a joinable queue, oldest first
 */
#ifndef BUS_QUEUE_H
#define BUS_QUEUE_H

#include <string.h>

#include "bus/bus.h"
#include "bus/channel.h"
#include "bus/pace.h"

struct bus_queue {
	struct sb_ring_end end; /* first: the hottest */
	struct bus *bus;
	struct bus_channel *chan;
	uint32_t idx;
	uint32_t flags;
	uint32_t n_refs; /* opens of this queue by this endpoint */
	uint32_t n_held; /* leases of ours, of all kinds */
	struct bus_pace pace;
	bool has_kept;
	uint64_t kept;
	uint64_t *held; /* ring of mask + 1 positions; joinable only */
	uint32_t held_head, held_n;
	struct bus_queue *next;
};

/* A put or get under way. */
struct bus_queue_op {
	struct bus_queue *q;
	struct bus_msg *msg;
	uint32_t n;
	uint64_t pos;
};

SB_INLINE void bus_queue_wake_readers(struct bus_queue *q, uint32_t n)
{
	sb_wake(&q->chan->rx, &q->bus->bells, n);
}

/* A slot became free.  Who waits for the end of the queue is told, too. */
SB_INLINE void bus_queue_wake_writers(struct bus_queue *q, uint32_t n)
{
	sb_wake(&q->chan->tx, &q->bus->bells, n);
	if (sb_unlikely(ld_rlx(&q->end.ring->closing)))
		sb_wake_all(&q->chan->rx, &q->bus->bells);
	if (q->flags & BUS_QUEUE_JOINABLE)
		sb_wake_all(&q->chan->done, &q->bus->bells);
}

/* Who waits for a free cell: all of them, for the first may need a larger one
 * than the one that is free. */
void bus_queue_wake_cell_waiters(struct bus_queue *q);

/* Something impossible was found, and counts. */
void bus_queue_reject(struct bus_queue *q);

/* Is the message at @pos leased to us? */
bool bus_queue_holds(const struct bus_queue *q, uint64_t pos);

/* --------------------------------------------------------- message bytes -- */

SB_INLINE unsigned char *bus_queue_slot(const struct bus_queue *q, uint64_t pos)
{
	return sb_ring_slot(&q->end, pos)->data;
}

void bus_queue_free_cell(struct bus_queue *q, uint64_t pos, uint32_t cell);

SB_INLINE void bus_queue_free_message(struct bus_queue *q, uint64_t pos,
				      uint32_t cell)
{
	sb_ring_free(&q->end, pos);
	if (sb_unlikely(cell != SB_BLOB_NONE))
		bus_queue_free_cell(q, pos, cell);
}

/* A message in a cell, or one that makes no sense: that is dropped. */
int bus_queue_read_cell(struct bus_queue *q, uint64_t pos, uint64_t seq,
			struct bus_msg *msg);

/*
 * Where the bytes of a message are that we took.  Everything that comes from
 * shared memory is checked; -EPROTO for what is impossible.
 */
SB_INLINE int bus_queue_read_message(struct bus_queue *q, uint64_t pos,
				     struct bus_msg *msg)
{
	struct sb_slot *slot = sb_ring_slot(&q->end, pos);
	uint64_t seq = ld_rlx(&slot->seq), len = SB_SEQ_LEN(seq);

	msg->pos = pos;
	msg->cell = SB_BLOB_NONE;
	msg->data = slot->data;
	msg->len_bytes = len;
	if (sb_likely(!(seq & SB_SEQ_FLAGS) &&
		      (len <= q->end.payload_bytes ||
		       SB_MUTATED(check_message_len))))
		return 0;
	return bus_queue_read_cell(q, pos, seq, msg);
}

/* ------------------------------------------------------------------ take -- */

/* Take up to op->n; a try of struct sb_wait, @op is a struct bus_queue_op. */
int bus_queue_try_take(void *op, bool sure);

/* All messages were taken: -EPIPE when that is the end, or -EAGAIN when a death
 * may bring one back. */
int bus_queue_at_end(const struct bus_queue *q);

/* Throw @n messages from @pos on away, which we took. */
void bus_queue_discard(struct bus_queue *q, uint64_t pos, int n);

/* How far the end of the queue, which is closed, is from head.  0: only such
 * messages are left as are being written and were passed. */
int64_t bus_queue_left(const struct bus_queue *q, uint64_t *head);

#endif
