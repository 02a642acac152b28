/*
 * queue_get.c - reading from a queue: a message is taken, read and freed; as a
 * copy, or in place between peek and release
 *
 * What a take does beside that: it goes past what was left in an aborted queue,
 * and frees the slots of messages that will never come.
 */
#include "config.h"

#include <limits.h>

#include "bus/queue.h"
#include "lib/copy.h"

/* --------------------------------------------------------- message bytes -- */

bool bus_queue_holds(const struct bus_queue *q, uint64_t pos)
{
	uint64_t own = ld_rlx(&q->end.cown[sb_ring_idx(&q->end, pos)]);

	return SB_POS(own) == pos && SB_OWNER(own) == q->bus->id &&
	       SB_STATE(own) == SB_TAKEN &&
	       (sb_ring_seq(&q->end, pos) & SB_SEQ_KIND) == (pos | SB_FULL);
}

void bus_queue_free_cell(struct bus_queue *q, uint64_t pos, uint32_t cell)
{
	if (sb_blob_free(&q->bus->blob, cell, q->idx, pos))
		bus_queue_wake_cell_waiters(q);
}

int bus_queue_read_cell(struct bus_queue *q, uint64_t pos, uint64_t seq,
			struct bus_msg *msg)
{
	uint64_t len;
	uint32_t cell;

	if ((seq & SB_SEQ_FLAGS) == SB_FLAG_BLOB) {
		sb_copy_once(&cell, msg->data, sizeof(cell));
		if (sb_blob_is(&q->bus->blob, cell, q->idx, pos) &&
		    !sb_blob_get_len(&q->bus->blob, cell, &len)) {
			msg->cell = cell;
			msg->data = sb_blob_data(&q->bus->blob, cell);
			msg->len_bytes = len;
			return 0;
		}
	}
	bus_queue_free_message(q, pos, SB_BLOB_NONE);
	bus_queue_wake_writers(q, 1);
	bus_queue_reject(q);
	return -EPROTO;
}

/* ------------------------------------------------------------------ take -- */

int bus_queue_at_end(const struct bus_queue *q)
{
	if (ld_rlx(&q->end.ring->closing) > 1 || q->n_held ||
	    !sb_ring_unfinished(&q->end))
		return -EPIPE;
	return -EAGAIN;
}

/* Also of an aborted queue, where whoever meets what was left does it. */
void bus_queue_discard(struct bus_queue *q, uint64_t pos, int n)
{
	struct bus_msg msg;

	for (; n > 0; n--, pos += SB_POS_ONE)
		if (!bus_queue_read_message(q, pos, &msg))
			bus_queue_free_message(q, pos, msg.cell);
	bus_queue_wake_writers(q, 1);
}

/* The take freed the slot of a message that will never come. */
static SB_NOINLINE void tomb_freed(struct bus_queue *q)
{
	q->end.freed_tomb = false;
	bus_queue_wake_writers(q, SB_EP_MAX); /* it may have been many */
}

/* What remains to be done when a take was not the usual case. */
static SB_NOINLINE int settle_take(struct bus_queue_op *op, int ret, bool sure)
{
	struct bus_queue *q = op->q;

	for (;; ret = sb_ring_take(&q->end, op->n, sure, &op->pos)) {
		if (sb_unlikely(q->end.freed_tomb))
			tomb_freed(q);
		if (sb_unlikely(ret == -EPIPE))
			return bus_queue_at_end(q);
		if (ret < 0 || sb_likely(ld_rlx(&q->end.ring->closing) < 2))
			return ret;
		bus_queue_discard(q, op->pos, ret);
	}
}

int bus_queue_try_take(void *arg, bool sure)
{
	struct bus_queue_op *op = arg;
	struct bus_queue *q = op->q;
	int ret = sb_ring_take(&q->end, op->n, sure, &op->pos);

	if (sb_likely(ret > 0 && ld_rlx(&q->end.ring->closing) < 2 &&
		      !q->end.freed_tomb))
		return ret;
	return settle_take(op, ret, sure);
}

static bool more_to_read(void *arg, uint32_t i)
{
	struct bus_queue_op *op = arg;
	const struct sb_ring_end *e = &op->q->end;

	(void)i;
	return sb_pos_diff(ld_rlx(&e->ring->tail), ld_rlx(&e->ring->head)) > 0;
}

static SB_NOINLINE int take_slow(struct bus_queue *q, uint32_t n,
				 int64_t timeout_ns, uint64_t *pos)
{
	struct bus_queue_op op = { .q = q, .n = n };
	struct sb_wait wait = { .try_ = bus_queue_try_take,
				.more = more_to_read,
				.arg = &op,
				.sets = { &q->chan->rx },
				.n_sets = 1 };
	int ret = -EAGAIN;

	if (q->has_kept) {
		q->has_kept = false;
		q->n_held--;
		*pos = q->kept;
		return 1;
	}
	if (q->pace.steps && timeout_ns) {
		bus_pace_pause(q->pace.steps);
		ret = bus_queue_try_take(&op, false);
	}
	if (ret == -EAGAIN || ret == -EBUSY)
		ret = bus_wait_for(q->bus, &wait, timeout_ns);
	if (ret > 0)
		bus_pace_learn(
			&q->pace,
			sb_ring_published(&q->end,
					  op.pos + SB_POS_ONE * (uint64_t)ret));
	*pos = op.pos;
	return ret;
}

/* Take up to @n, waiting for the first. */
SB_INLINE int take(struct bus_queue *q, uint32_t n, int64_t timeout_ns,
		   uint64_t *pos)
{
	if (sb_likely(!q->has_kept && ld_rlx(&q->end.ring->closing) < 2)) {
		int ret = sb_ring_take(&q->end, n, false, pos);

		if (sb_unlikely(q->end.freed_tomb))
			tomb_freed(q);
		if (sb_likely(ret > 0))
			return ret;
	}
	return take_slow(q, n, timeout_ns, pos);
}

static void keep(struct bus_queue *q, uint64_t pos)
{
	q->kept = pos;
	q->has_kept = true;
	q->n_held++;
}

/* ------------------------------------------------------------------- get -- */

/* @msg, which is long and one of @many taken together, is about to be read. */
static SB_NOINLINE void ahead_of_long(const struct bus_queue *q,
				      const struct bus_msg *msg, bool many)
{
	if (msg->cell == SB_BLOB_NONE)
		sb_ring_ahead_of_read(&q->end, msg->pos, msg->len_bytes, many);
}

SB_INLINE void ahead_of_read(const struct bus_queue *q,
			     const struct bus_msg *msg, bool many)
{
	if (sb_unlikely(sb_ring_is_long(msg->len_bytes)))
		ahead_of_long(q, msg, many);
}

SB_INLINE void read_copy(const struct bus_queue *q, const struct bus_msg *msg,
			 void *buf, bool many)
{
	ahead_of_read(q, msg, many);
	sb_copy_few(buf, msg->data, msg->len_bytes);
}

/* The reader has its copy: finished, or held until task_done. */
SB_INLINE void got(struct bus_queue *q, const struct bus_msg *msg)
{
	if (sb_unlikely(q->flags & BUS_QUEUE_JOINABLE)) {
		uint32_t at = q->held_head + q->held_n++;

		q->held[at & q->end.mask] = msg->pos;
		q->n_held++;
	} else {
		bus_queue_free_message(q, msg->pos, msg->cell);
	}
}

int bus_queue_get(struct bus_queue *q, void *buf, size_t cap_bytes,
		  size_t *len_bytes, int64_t timeout_ns)
{
	struct bus_msg msg;
	uint64_t pos;
	int ret = bus_check(q->bus);

	if (sb_unlikely(ret))
		return ret;
	ret = take(q, 1, timeout_ns, &pos);
	if (sb_unlikely(ret < 0))
		return ret;
	ret = bus_queue_read_message(q, pos, &msg);
	if (sb_unlikely(ret))
		return ret;
	if (len_bytes)
		*len_bytes = msg.len_bytes;
	if (sb_unlikely(msg.len_bytes > cap_bytes)) {
		keep(q, pos);
		return -EMSGSIZE;
	}
	read_copy(q, &msg, buf, false);
	got(q, &msg);
	if (!(q->flags & BUS_QUEUE_JOINABLE))
		bus_queue_wake_writers(q, 1);
	bus_count(&q->bus->ep->counts.got, 1);
	return 0;
}

/* Messages of a batch that the caller will not get now. */
static void give_back_rest(struct bus_queue *q, uint64_t pos, int n)
{
	for (; n > 0; n--, pos += SB_POS_ONE)
		sb_ring_give_back(&q->end, pos);
	bus_queue_wake_readers(q, SB_EP_MAX);
}

/* Deliver a batch of @n from @pos on.  Returns how many fit. */
static int deliver(struct bus_queue *q, uint64_t pos, int n, unsigned char *to,
		   size_t msg_bytes, size_t *lens, int *error)
{
	struct bus_msg msg;
	int done = 0;

	*error = 0;
	for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
		if (bus_queue_read_message(q, pos, &msg)) {
			*error = -EPROTO;
			continue;
		}
		if (sb_unlikely(msg.len_bytes > msg_bytes ||
				(!lens && msg.len_bytes != msg_bytes))) {
			*error = -EMSGSIZE;
			keep(q, pos);
			give_back_rest(q, pos + SB_POS_ONE, n - k - 1);
			break;
		}
		read_copy(q, &msg, to + (size_t)done * msg_bytes, true);
		if (lens)
			lens[done] = msg.len_bytes;
		got(q, &msg);
		done++;
	}
	if (done && !(q->flags & BUS_QUEUE_JOINABLE))
		bus_queue_wake_writers(q, (uint32_t)done);
	bus_count(&q->bus->ep->counts.got, (uint64_t)done);
	return done;
}

int bus_queue_get_many(struct bus_queue *q, void *msgs, size_t msg_bytes,
		       size_t n, size_t *lens_bytes, int64_t timeout_ns)
{
	size_t done = 0;
	int ret = bus_check(q->bus), error = 0;

	if (ret || n == 0)
		return ret;
	if (n > INT_MAX)
		n = INT_MAX;
	while (done < n && !error) {
		size_t want = n - done < SB_BATCH_MAX ? n - done : SB_BATCH_MAX;
		struct bus_queue_op op = { .q = q, .n = (uint32_t)want };

		sb_ring_ahead_of_takes(&q->end, op.n);
		if (done && !q->has_kept) {
			ret = bus_queue_try_take(&op, false);
		} else {
			ret = take(q, (uint32_t)want, timeout_ns, &op.pos);
		}
		if (ret < 0)
			break;
		done += (size_t)deliver(
			q, op.pos, ret,
			(unsigned char *)msgs + done * msg_bytes, msg_bytes,
			lens_bytes ? lens_bytes + done : NULL, &error);
	}
	if (done)
		return (int)done;
	return error ? error : ret;
}

/* ------------------------------------------------------ peek and release -- */

int bus_queue_peek(struct bus_queue *q, struct bus_msg *msg, int64_t timeout_ns)
{
	uint64_t pos;
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	ret = take(q, 1, timeout_ns, &pos);
	if (ret < 0)
		return ret;
	ret = bus_queue_read_message(q, pos, msg);
	if (ret)
		return ret;
	ahead_of_read(q, msg, false);
	msg->attempts = sb_ring_attempts(&q->end, pos);
	q->n_held++;
	bus_count(&q->bus->ep->counts.got, 1);
	return 0;
}

/* Is @msg a lease of ours, of this queue? */
static bool leased(struct bus_queue *q, const struct bus_msg *msg)
{
	if (!msg->data || !bus_queue_holds(q, msg->pos))
		return false;
	if (msg->cell != SB_BLOB_NONE)
		return sb_blob_is(&q->bus->blob, msg->cell, q->idx, msg->pos);
	return msg->data == bus_queue_slot(q, msg->pos);
}

int bus_queue_release(struct bus_queue *q, struct bus_msg *msg)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!leased(q, msg))
		return -EINVAL;
	q->n_held--;
	bus_queue_free_message(q, msg->pos, msg->cell);
	bus_queue_wake_writers(q, 1);
	msg->data = NULL;
	return 0;
}

int bus_queue_give_back(struct bus_queue *q, struct bus_msg *msg)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!leased(q, msg))
		return -EINVAL;
	q->n_held--;
	sb_ring_give_back(&q->end, msg->pos);
	bus_queue_wake_readers(q, SB_EP_MAX);
	msg->data = NULL;
	return 0;
}
