/*
 * queue_put.c - writing to a queue: a slot or a cell is claimed, filled and
 * published; by a copy, or on loan in between
 */
#include "config.h"

#include <limits.h>

#include "bus/queue.h"
#include "lib/clock.h"
#include "lib/copy.h"

/* ----------------------------------------------------------------- claim -- */

/* Wait in @set until try_ succeeds. */
static int wait_writable(struct bus_queue *q, struct sb_sleepers *set,
			 int (*try_)(void *arg, bool sure),
			 struct bus_queue_op *op, int64_t timeout_ns)
{
	struct sb_wait wait = {
		.try_ = try_, .arg = op, .sets = { set }, .n_sets = 1
	};

	return bus_wait_for(q->bus, &wait, timeout_ns);
}

static int try_claim(void *arg, bool sure)
{
	struct bus_queue_op *op = arg;

	return sb_ring_claim(&op->q->end, op->n, sure, &op->pos);
}

/* Is the slot of the message that is @n puts from now free?  A hint. */
static bool is_free_ahead(const struct bus_queue *q, uint64_t n)
{
	uint64_t pos = SB_POS(ld_rlx(&q->end.ring->tail)) + n * SB_POS_ONE;

	return sb_ring_seq(&q->end, pos) == (pos | SB_FREE);
}

/*
 * The queue is full: let readers get ahead before we look again.  Each look
 * takes away the very line that a reader is about to write, and so costs it as
 * much as reading a message.  So do not look there but some lines further on,
 * until that is free: then there is room for many.  Nobody waits for us
 * meanwhile, they have a whole queue to read; in a small one that is soon done,
 * so pause and distance are in proportion.
 */
#define AHEAD_MAX 64u

static int pause_full(struct bus_queue *q, uint32_t n, uint64_t *pos)
{
	uint64_t most = (q->end.mask + 1) / 32;
	uint64_t ahead = (q->end.mask + 1) / 8;

	if (most > BUS_PACE_MAX)
		most = BUS_PACE_MAX;
	if (ahead > AHEAD_MAX)
		ahead = AHEAD_MAX;
	for (uint32_t k = 2; k <= most && !is_free_ahead(q, ahead); k *= 2)
		bus_pace_pause(k);
	return sb_ring_claim(&q->end, n, false, pos);
}

static SB_NOINLINE int claim_slow(struct bus_queue *q, uint32_t n,
				  int64_t timeout_ns, uint64_t *pos)
{
	struct bus_queue_op op = { .q = q, .n = n };
	int ret;

	if (timeout_ns) {
		ret = pause_full(q, n, pos);
		if (ret != -EAGAIN)
			return ret;
	}
	ret = wait_writable(q, &q->chan->tx, try_claim, &op, timeout_ns);
	*pos = op.pos;
	return ret;
}

SB_INLINE int claim(struct bus_queue *q, uint32_t n, int64_t timeout_ns,
		    uint64_t *pos)
{
	int ret = sb_ring_claim(&q->end, n, false, pos);

	if (sb_likely(ret != -EAGAIN))
		return ret;
	return claim_slow(q, n, timeout_ns, pos);
}

/* ----------------------------------------------------------------- cells -- */

static int try_cell(void *arg, bool sure)
{
	struct bus_queue_op *op = arg;

	(void)sure;
	/* Nobody should wait for room in a queue that is closed. */
	if (sb_ring_closed(&op->q->end))
		return -EPIPE;
	return sb_blob_claim(&op->q->bus->blob, op->msg->len_bytes,
			     &op->msg->cell);
}

static int claim_cell(struct bus_queue *q, struct bus_msg *msg,
		      int64_t timeout_ns)
{
	struct bus_queue_op op = { .q = q, .msg = msg };
	int ret = try_cell(&op, false);

	if (ret == -EAGAIN)
		ret = wait_writable(q, &q->bus->map->header->blob_rx, try_cell,
				    &op, timeout_ns);
	if (!ret)
		msg->data = sb_blob_data(&q->bus->blob, msg->cell);
	return ret;
}

static void drop_cell(struct bus_queue *q, uint32_t cell)
{
	sb_blob_drop(&q->bus->blob, cell);
	bus_queue_wake_cell_waiters(q);
}

/* A message in a cell: claim a position for it and publish. */
static int put_cell(struct bus_queue *q, const struct bus_msg *msg,
		    int64_t timeout_ns)
{
	uint64_t pos;
	int ret = claim(q, 1, timeout_ns, &pos);

	if (ret < 0)
		return ret;
	sb_blob_set_len(&q->bus->blob, msg->cell, msg->len_bytes);
	sb_blob_hand(&q->bus->blob, msg->cell, q->idx, pos);
	memcpy(bus_queue_slot(q, pos), &msg->cell, sizeof(msg->cell));
	sb_ring_publish(&q->end, pos, 0, SB_FLAG_BLOB);
	bus_queue_wake_readers(q, 1);
	bus_count(&q->bus->ep->counts.put, 1);
	return 0;
}

static int put_large(struct bus_queue *q, const void *buf, size_t len_bytes,
		     int64_t timeout_ns)
{
	uint64_t deadline = timeout_ns > 0 ? sb_deadline(timeout_ns) : 0;
	struct bus_msg msg = { .len_bytes = len_bytes };
	int ret;

	if (len_bytes > q->bus->map->sizes.max_message_bytes)
		return -EMSGSIZE;
	ret = claim_cell(q, &msg, timeout_ns);
	if (ret)
		return ret;
	memcpy(msg.data, buf, len_bytes);
	if (timeout_ns > 0) {
		uint64_t now = sb_now_ns();

		timeout_ns = now < deadline ? (int64_t)(deadline - now) : 1;
	}
	ret = put_cell(q, &msg, timeout_ns);
	if (ret)
		drop_cell(q, msg.cell);
	return ret;
}

/* ------------------------------------------------------------------- put -- */

/* Of more than a line.  A function, which keeps short ones fast. */
static SB_NOINLINE void write_long(struct bus_queue *q, uint64_t pos,
				   struct sb_slot *slot, const void *buf,
				   size_t len_bytes, bool many)
{
	sb_ring_ahead_of_write(&q->end, pos, len_bytes, many);
	sb_copy_into(slot->data, buf, len_bytes);
}

/* The message at @pos, which is @slot and one of @many claimed together. */
SB_INLINE void write_message(struct bus_queue *q, uint64_t pos,
			     struct sb_slot *slot, const void *buf,
			     size_t len_bytes, bool many)
{
	if (sb_unlikely(sb_ring_is_long(len_bytes)))
		write_long(q, pos, slot, buf, len_bytes, many);
	else
		sb_copy_few(slot->data, buf, len_bytes);
}

int bus_queue_put(struct bus_queue *q, const void *buf, size_t len_bytes,
		  int64_t timeout_ns)
{
	struct sb_slot *slot;
	uint64_t pos;
	int ret = bus_check(q->bus);

	if (sb_unlikely(ret))
		return ret;
	if (sb_unlikely(len_bytes > q->end.payload_bytes))
		return put_large(q, buf, len_bytes, timeout_ns);
	ret = claim(q, 1, timeout_ns, &pos);
	if (sb_unlikely(ret < 0))
		return ret;
	slot = sb_ring_slot(&q->end, pos);
	write_message(q, pos, slot, buf, len_bytes, false);
	sb_slot_publish(slot, pos, (uint32_t)len_bytes, 0);
	bus_queue_wake_readers(q, 1);
	bus_count(&q->bus->ep->counts.put, 1);
	return 0;
}

int bus_queue_put_many(struct bus_queue *q, const void *msgs, size_t msg_bytes,
		       size_t n, int64_t timeout_ns)
{
	const unsigned char *from = msgs;
	size_t done = 0;
	int ret = bus_check(q->bus);

	if (ret || n == 0)
		return ret;
	if (n > INT_MAX)
		n = INT_MAX;
	while (done < n) {
		size_t want = n - done;
		uint64_t pos;

		if (msg_bytes > q->end.payload_bytes) {
			ret = put_large(q, from + done * msg_bytes, msg_bytes,
					done ? 0 : timeout_ns);
			if (ret)
				break;
			done++;
			continue;
		}
		if (want > SB_BATCH_MAX)
			want = SB_BATCH_MAX;
		ret = done ? sb_ring_claim(&q->end, (uint32_t)want, false, &pos)
			   : claim(q, (uint32_t)want, timeout_ns, &pos);
		if (ret < 0)
			break;
		for (int k = 0; k < ret; k++, pos += SB_POS_ONE) {
			struct sb_slot *slot = sb_ring_slot(&q->end, pos);

			write_message(q, pos, slot, from + done++ * msg_bytes,
				      msg_bytes, true);
			sb_slot_publish(slot, pos, (uint32_t)msg_bytes, 0);
		}
		bus_queue_wake_readers(q, (uint32_t)ret);
		bus_count(&q->bus->ep->counts.put, (uint64_t)ret);
	}
	return done ? (int)done : ret;
}

/* ------------------------------------------------------- loan and commit -- */

int bus_queue_loan(struct bus_queue *q, size_t len_bytes, struct bus_msg *msg,
		   int64_t timeout_ns)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	*msg = (struct bus_msg){ .len_bytes = len_bytes, .cell = SB_BLOB_NONE };
	if (len_bytes > q->bus->map->sizes.max_message_bytes)
		return -EMSGSIZE;
	if (len_bytes > q->end.payload_bytes)
		return claim_cell(q, msg, timeout_ns);
	ret = claim(q, 1, timeout_ns, &msg->pos);
	if (ret < 0)
		return ret;
	if (sb_ring_is_long(len_bytes))
		sb_ring_ahead_of_write(&q->end, msg->pos, len_bytes, false);
	msg->data = bus_queue_slot(q, msg->pos);
	return 0;
}

/* Is @msg a slot that we claimed and have not published? */
static bool slot_on_loan(struct bus_queue *q, const struct bus_msg *msg)
{
	uint64_t w = sb_ring_seq(&q->end, msg->pos);

	return msg->data == bus_queue_slot(q, msg->pos) && (w & 3) == SB_FREE &&
	       sb_pos_diff(w, msg->pos) <= 0 &&
	       ld_rlx(&q->end.pown[sb_ring_idx(&q->end, msg->pos)]) ==
		       (msg->pos | q->end.me);
}

int bus_queue_commit(struct bus_queue *q, struct bus_msg *msg)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!msg->data)
		return -EINVAL;
	if (msg->cell != SB_BLOB_NONE) {
		if (!sb_blob_is_own(&q->bus->blob, msg->cell) ||
		    msg->len_bytes >
			    sb_blob_cell_bytes(&q->bus->blob, msg->cell))
			return -EINVAL;
		ret = put_cell(q, msg, -1);
		if (ret == -EINTR)
			return ret; /* still on loan */
		if (ret)
			drop_cell(q, msg->cell);
	} else {
		if (msg->len_bytes > q->end.payload_bytes ||
		    !slot_on_loan(q, msg))
			return -EINVAL;
		sb_ring_publish(&q->end, msg->pos, (uint32_t)msg->len_bytes, 0);
		bus_queue_wake_readers(q, 1);
		bus_count(&q->bus->ep->counts.put, 1);
	}
	msg->data = NULL;
	return ret;
}

int bus_queue_cancel(struct bus_queue *q, struct bus_msg *msg)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!msg->data)
		return -EINVAL;
	if (msg->cell != SB_BLOB_NONE) {
		if (!sb_blob_is_own(&q->bus->blob, msg->cell))
			return -EINVAL;
		drop_cell(q, msg->cell);
	} else {
		if (!slot_on_loan(q, msg))
			return -EINVAL;
		sb_ring_cancel(&q->end, msg->pos);
		bus_queue_wake_readers(q, 1); /* one of them frees the slot */
		if (q->flags & BUS_QUEUE_JOINABLE)
			sb_wake_all(&q->chan->done, &q->bus->bells);
	}
	msg->data = NULL;
	return 0;
}
