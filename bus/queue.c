/*
 * queue.c - one-way messages: a ring, whoever waits for it, and cells for
 * what is larger than a slot
 *
 * Life of a message: its bytes are written to a claimed slot, or to a cell
 * whose number the slot then carries; published; taken; copied or lent to the
 * reader; freed.  The slot is freed before the cell, because that store is
 * what ends the message: killed between the two, the cell is swept.
 *
 * A reader holds what it took until it is done with it: for the time of a
 * copy (get), until released (peek), or until task_done (joinable queues).
 * All this is in the ring; the handle only remembers positions:
 *
 *	kept   taken, but its buffer was too small: the next call gets it
 *	held   got from a joinable queue, oldest first
 */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "bus/channel.h"
#include "bus/pace.h"
#include "bus/settings.h"
#include "lib/clock.h"

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
struct op {
	struct bus_queue *q;
	struct bus_msg *msg;
	uint32_t n;
	uint64_t pos;
};

SB_INLINE void wake_readers(struct bus_queue *q, uint32_t n)
{
	sb_wake(&q->chan->rx, &q->bus->bells, n);
}

/* A slot became free.  Who waits for the end of the queue is told, too. */
SB_INLINE void wake_writers(struct bus_queue *q, uint32_t n)
{
	sb_wake(&q->chan->tx, &q->bus->bells, n);
	if (sb_unlikely(ld_rlx(&q->end.ring->closing)))
		sb_wake_all(&q->chan->rx, &q->bus->bells);
	if (q->flags & BUS_QUEUE_JOINABLE)
		sb_wake_all(&q->chan->done, &q->bus->bells);
}

/* All of them: the first may need a larger cell than the one that is free. */
static void wake_cell_waiters(struct bus_queue *q)
{
	sb_wake(&q->bus->map->header->blob_rx, &q->bus->bells, SB_EP_MAX);
}

static void reject(struct bus_queue *q)
{
	bus_count(&q->bus->ep->counts.rejected, 1);
}

/* ------------------------------------------------------- open and close -- */

static int attach(struct bus *bus, uint32_t idx, struct bus_queue **out)
{
	struct bus_queue *q = calloc(1, sizeof(*q));
	int ret = q ? 0 : -ENOMEM;

	if (ret)
		return ret;
	q->bus = bus;
	q->idx = idx;
	q->n_refs = 1;
	ret = bus_channel_attach(bus, idx, &q->chan, &q->end);
	if (!ret) {
		q->flags = *(volatile uint32_t *)&q->chan->flags;
		if (q->flags & ~(BUS_QUEUE_JOINABLE | BUS_QUEUE_STRICT))
			ret = -EPROTO;
	}
	if (!ret && (q->flags & BUS_QUEUE_JOINABLE)) {
		q->held = calloc(q->end.mask + 1, sizeof(*q->held));
		if (!q->held)
			ret = -ENOMEM;
	}
	if (ret) {
		free(q);
		return ret;
	}
	q->next = bus->queues;
	bus->queues = q;
	*out = q;
	return 0;
}

static int make(struct bus *bus, const char *name,
		const struct bus_queue_config *config)
{
	struct bus_queue_config c;
	struct bus_channel_spec spec = { .kind = BUS_CHAN_QUEUE };
	int ret = bus_config_copy(&c, sizeof(c), config);

	if (!ret)
		ret = bus_queue_config_fill(&c);
	if (ret)
		return ret;
	spec.flags = c.flags;
	spec.log_n = (uint32_t)__builtin_ctz(c.n_slots);
	spec.stride = sb_ring_stride(c.slot_bytes);
	spec.ring_flags = c.flags & BUS_QUEUE_STRICT ? SB_RING_STRICT : 0;
	return bus_channel_make(bus, name, &spec);
}

int bus_queue_open(struct bus *bus, const char *name,
		   const struct bus_queue_config *config,
		   struct bus_queue **out)
{
	int ret, idx;

	if (!bus || !name || !out)
		return -EINVAL;
	ret = bus_check(bus);
	if (ret)
		return ret;
	idx = bus_channel_find(bus, name);
	if (idx == -ENOENT && config)
		idx = make(bus, name, config);
	if (idx < 0)
		return idx;
	if (bus_channel_kind(bus, (uint32_t)idx) != BUS_CHAN_QUEUE)
		return -EEXIST;
	for (struct bus_queue *q = bus->queues; q; q = q->next)
		if (q->idx == (uint32_t)idx) {
			q->n_refs++;
			*out = q;
			return 0;
		}
	return attach(bus, (uint32_t)idx, out);
}

/* Is the message at @pos leased to us? */
static bool holds(const struct bus_queue *q, uint64_t pos)
{
	uint64_t own = ld_rlx(&q->end.cown[sb_ring_idx(&q->end, pos)]);

	return SB_POS(own) == pos && SB_OWNER(own) == q->bus->id &&
	       SB_STATE(own) == SB_TAKEN &&
	       (sb_ring_seq(&q->end, pos) & SB_SEQ_KIND) == (pos | SB_FULL);
}

void bus_queue_after_fork(struct bus_queue *q)
{
	for (; q; q = q->next) {
		sb_ring_reattach(&q->end, q->bus->id);
		q->n_held = 0;
		q->has_kept = false;
		q->held_n = 0;
	}
}

/* Give back every lease and drop every loan of a slot. */
static void let_go(struct bus_queue *q)
{
	struct sb_ring_recovered what = { 0 };

	/* Leases first: nobody died holding them. */
	for (uint64_t i = 0; q->n_held && i <= q->end.mask; i++) {
		uint64_t own = ld_rlx(&q->end.cown[i]);

		if (holds(q, SB_POS(own)))
			sb_ring_give_back(&q->end, SB_POS(own));
	}
	/* We are the owner, so no death is needed to settle the rest. */
	sb_ring_recover(&q->end, q->bus->id, &what);
	sb_wake_all(&q->chan->rx, &q->bus->bells);
	sb_wake_all(&q->chan->tx, &q->bus->bells);
}

void bus_queue_free(struct bus_queue *q)
{
	struct bus_queue **p;

	if (!q || --q->n_refs)
		return;
	for (p = &q->bus->queues; *p != q;)
		p = &(*p)->next;
	*p = q->next;
	if (q->bus->fork_gen == sb_fork_gen)
		let_go(q);
	free(q->held);
	free(q);
}

int bus_queue_close(struct bus_queue *q)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	sb_ring_close(&q->end);
	sb_wake_all(&q->chan->rx, &q->bus->bells);
	sb_wake_all(&q->chan->tx, &q->bus->bells);
	sb_wake_all(&q->chan->done, &q->bus->bells);
	sb_wake_all(&q->bus->map->header->blob_rx, &q->bus->bells);
	return 0;
}

/* --------------------------------------------------------- message bytes -- */

/* Most messages are a word or a few: a call to memcpy is half their cost. */
SB_INLINE void copy(void *to, const void *from, size_t n)
{
	if (sb_likely(n == 8))
		memcpy(to, from, 8);
	else if (sb_likely(n)) /* the buffer of no bytes may be NULL */
		memcpy(to, from, n);
}

SB_INLINE unsigned char *slot_data(const struct bus_queue *q, uint64_t pos)
{
	return sb_ring_slot(&q->end, pos)->data;
}

static SB_NOINLINE void free_cell(struct bus_queue *q, uint64_t pos,
				  uint32_t cell)
{
	if (sb_blob_free(&q->bus->blob, cell, q->idx, pos))
		wake_cell_waiters(q);
}

SB_INLINE void free_message(struct bus_queue *q, uint64_t pos, uint32_t cell)
{
	sb_ring_free(&q->end, pos);
	if (sb_unlikely(cell != SB_BLOB_NONE))
		free_cell(q, pos, cell);
}

/* A message in a cell, or one that makes no sense: that is dropped. */
static SB_NOINLINE int read_cell(struct bus_queue *q, uint64_t pos,
				 uint64_t seq, struct bus_msg *msg)
{
	uint64_t len;
	uint32_t cell;

	if ((seq & SB_SEQ_FLAGS) == SB_FLAG_BLOB) {
		memcpy(&cell, msg->data, sizeof(cell));
		if (sb_blob_is(&q->bus->blob, cell, q->idx, pos) &&
		    !sb_blob_get_len(&q->bus->blob, cell, &len)) {
			msg->cell = cell;
			msg->data = sb_blob_data(&q->bus->blob, cell);
			msg->len_bytes = len;
			return 0;
		}
	}
	free_message(q, pos, SB_BLOB_NONE);
	wake_writers(q, 1);
	reject(q);
	return -EPROTO;
}

/*
 * Where the bytes of a message are that we took.  Everything that comes from
 * shared memory is checked; -EPROTO for what is impossible.
 */
SB_INLINE int read_message(struct bus_queue *q, uint64_t pos,
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
	return read_cell(q, pos, seq, msg);
}

/* ------------------------------------------------------------------ put -- */

/* Wait in @set until try_ succeeds. */
static int wait_writable(struct bus_queue *q, struct sb_sleepers *set,
			 int (*try_)(void *arg, bool sure), struct op *op,
			 int64_t timeout_ns)
{
	struct sb_wait wait = {
		.try_ = try_, .arg = op, .sets = { set }, .n_sets = 1
	};

	return bus_wait_for(q->bus, &wait, timeout_ns);
}

static int try_claim(void *arg, bool sure)
{
	struct op *op = arg;

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
	struct op op = { .q = q, .n = n };
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

static int try_cell(void *arg, bool sure)
{
	struct op *op = arg;

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
	struct op op = { .q = q, .msg = msg };
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
	wake_cell_waiters(q);
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
	memcpy(slot_data(q, pos), &msg->cell, sizeof(msg->cell));
	sb_ring_publish(&q->end, pos, 0, SB_FLAG_BLOB);
	wake_readers(q, 1);
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
	copy(slot->data, buf, len_bytes);
	sb_slot_publish(slot, pos, (uint32_t)len_bytes, 0);
	wake_readers(q, 1);
	bus_count(&q->bus->ep->counts.put, 1);
	return 0;
}

int bus_queue_put_many(struct bus_queue *q, const void *msgs,
		       size_t msg_bytes, size_t n, int64_t timeout_ns)
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
			copy(slot_data(q, pos), from + done++ * msg_bytes,
			     msg_bytes);
			sb_ring_publish(&q->end, pos, (uint32_t)msg_bytes, 0);
		}
		wake_readers(q, (uint32_t)ret);
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
	*msg = (struct bus_msg){ .len_bytes = len_bytes,
				 .cell = SB_BLOB_NONE };
	if (len_bytes > q->bus->map->sizes.max_message_bytes)
		return -EMSGSIZE;
	if (len_bytes > q->end.payload_bytes)
		return claim_cell(q, msg, timeout_ns);
	ret = claim(q, 1, timeout_ns, &msg->pos);
	if (ret < 0)
		return ret;
	msg->data = slot_data(q, msg->pos);
	return 0;
}

/* Is @msg a slot that we claimed and have not published? */
static bool slot_on_loan(struct bus_queue *q, const struct bus_msg *msg)
{
	uint64_t w = sb_ring_seq(&q->end, msg->pos);

	return msg->data == slot_data(q, msg->pos) && (w & 3) == SB_FREE &&
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
		sb_ring_publish(&q->end, msg->pos, (uint32_t)msg->len_bytes,
				0);
		wake_readers(q, 1);
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
		wake_readers(q, 1); /* one of them frees the slot */
		if (q->flags & BUS_QUEUE_JOINABLE)
			sb_wake_all(&q->chan->done, &q->bus->bells);
	}
	msg->data = NULL;
	return 0;
}

/* ------------------------------------------------------------------ get -- */

/* All messages were taken.  Is it the end, or may a death bring one back? */
static int at_end(struct bus_queue *q)
{
	if (ld_rlx(&q->end.ring->closing) > 1 || q->n_held ||
	    !sb_ring_unfinished(&q->end))
		return -EPIPE;
	return -EAGAIN;
}

/* What was left in an aborted queue is thrown away by whoever meets it. */
static void discard(struct bus_queue *q, uint64_t pos, int n)
{
	struct bus_msg msg;

	for (; n > 0; n--, pos += SB_POS_ONE)
		if (!read_message(q, pos, &msg))
			free_message(q, pos, msg.cell);
	wake_writers(q, 1);
}

/* The take freed the slot of a message that will never come. */
static SB_NOINLINE void tomb_freed(struct bus_queue *q)
{
	q->end.freed_tomb = false;
	wake_writers(q, SB_EP_MAX); /* it may have been many */
}

/* What remains to be done when a take was not the usual case. */
static SB_NOINLINE int settle_take(struct op *op, int ret, bool sure)
{
	struct bus_queue *q = op->q;

	for (;; ret = sb_ring_take(&q->end, op->n, sure, &op->pos)) {
		if (sb_unlikely(q->end.freed_tomb))
			tomb_freed(q);
		if (sb_unlikely(ret == -EPIPE))
			return at_end(q);
		if (ret < 0 || sb_likely(ld_rlx(&q->end.ring->closing) < 2))
			return ret;
		discard(q, op->pos, ret);
	}
}

static int try_take(void *arg, bool sure)
{
	struct op *op = arg;
	struct bus_queue *q = op->q;
	int ret = sb_ring_take(&q->end, op->n, sure, &op->pos);

	if (sb_likely(ret > 0 && ld_rlx(&q->end.ring->closing) < 2 &&
		      !q->end.freed_tomb))
		return ret;
	return settle_take(op, ret, sure);
}

static bool more_to_read(void *arg, uint32_t i)
{
	struct op *op = arg;
	const struct sb_ring_end *e = &op->q->end;

	(void)i;
	return sb_pos_diff(ld_rlx(&e->ring->tail), ld_rlx(&e->ring->head)) > 0;
}

static SB_NOINLINE int take_slow(struct bus_queue *q, uint32_t n,
				 int64_t timeout_ns, uint64_t *pos)
{
	struct op op = { .q = q, .n = n };
	struct sb_wait wait = { .try_ = try_take,
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
		ret = try_take(&op, false);
	}
	if (ret == -EAGAIN || ret == -EBUSY)
		ret = bus_wait_for(q->bus, &wait, timeout_ns);
	if (ret > 0)
		bus_pace_learn(&q->pace,
			       sb_ring_published(&q->end,
						 op.pos + SB_POS_ONE *
								  (uint64_t)ret));
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

/* The reader has its copy: finished, or held until task_done. */
SB_INLINE void got(struct bus_queue *q, const struct bus_msg *msg)
{
	if (sb_unlikely(q->flags & BUS_QUEUE_JOINABLE)) {
		uint32_t at = q->held_head + q->held_n++;

		q->held[at & q->end.mask] = msg->pos;
		q->n_held++;
	} else {
		free_message(q, msg->pos, msg->cell);
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
	ret = read_message(q, pos, &msg);
	if (sb_unlikely(ret))
		return ret;
	if (len_bytes)
		*len_bytes = msg.len_bytes;
	if (sb_unlikely(msg.len_bytes > cap_bytes)) {
		keep(q, pos);
		return -EMSGSIZE;
	}
	copy(buf, msg.data, msg.len_bytes);
	got(q, &msg);
	if (!(q->flags & BUS_QUEUE_JOINABLE))
		wake_writers(q, 1);
	bus_count(&q->bus->ep->counts.got, 1);
	return 0;
}

/* Messages of a batch that the caller will not get now. */
static void give_back_rest(struct bus_queue *q, uint64_t pos, int n)
{
	for (; n > 0; n--, pos += SB_POS_ONE)
		sb_ring_give_back(&q->end, pos);
	wake_readers(q, SB_EP_MAX);
}

/* Deliver a batch of @n from @pos on.  Returns how many fit. */
static int deliver(struct bus_queue *q, uint64_t pos, int n, unsigned char *to,
		   size_t msg_bytes, size_t *lens, int *error)
{
	struct bus_msg msg;
	int done = 0;

	*error = 0;
	for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
		if (read_message(q, pos, &msg)) {
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
		copy(to + (size_t)done * msg_bytes, msg.data, msg.len_bytes);
		if (lens)
			lens[done] = msg.len_bytes;
		got(q, &msg);
		done++;
	}
	if (done && !(q->flags & BUS_QUEUE_JOINABLE))
		wake_writers(q, (uint32_t)done);
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
		struct op op = { .q = q, .n = (uint32_t)want };

		if (done && !q->has_kept) {
			ret = try_take(&op, false);
		} else {
			ret = take(q, (uint32_t)want, timeout_ns, &op.pos);
		}
		if (ret < 0)
			break;
		done += (size_t)deliver(q, op.pos, ret,
					(unsigned char *)msgs +
						done * msg_bytes,
					msg_bytes,
					lens_bytes ? lens_bytes + done : NULL,
					&error);
	}
	if (done)
		return (int)done;
	return error ? error : ret;
}

/* ------------------------------------------------------ peek and release -- */

int bus_queue_peek(struct bus_queue *q, struct bus_msg *msg,
		   int64_t timeout_ns)
{
	uint64_t pos;
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	ret = take(q, 1, timeout_ns, &pos);
	if (ret < 0)
		return ret;
	ret = read_message(q, pos, msg);
	if (ret)
		return ret;
	msg->attempts = sb_ring_attempts(&q->end, pos);
	q->n_held++;
	bus_count(&q->bus->ep->counts.got, 1);
	return 0;
}

/* Is @msg a lease of ours, of this queue? */
static bool leased(struct bus_queue *q, const struct bus_msg *msg)
{
	if (!msg->data || !holds(q, msg->pos))
		return false;
	if (msg->cell != SB_BLOB_NONE)
		return sb_blob_is(&q->bus->blob, msg->cell, q->idx, msg->pos);
	return msg->data == slot_data(q, msg->pos);
}

int bus_queue_release(struct bus_queue *q, struct bus_msg *msg)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (!leased(q, msg))
		return -EINVAL;
	q->n_held--;
	free_message(q, msg->pos, msg->cell);
	wake_writers(q, 1);
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
	wake_readers(q, SB_EP_MAX);
	msg->data = NULL;
	return 0;
}

/* How far the end of the queue, which is closed, is from head.  0: only such
 * messages are left as are being written and were passed. */
static int64_t left_to_take(const struct bus_queue *q, uint64_t *head)
{
	uint64_t tail = ld_acq(&q->end.ring->tail);

	*head = ld_acq(&q->end.ring->head);
	return sb_pos_diff(tail, *head);
}

static bool all_passed(const struct bus_queue *q)
{
	uint64_t head;

	return left_to_take(q, &head) <= 0;
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
	struct op op = { .q = q, .n = 1 };
	int64_t left;
	int ret;

	while ((ret = sb_ring_take(&q->end, op.n, true, &op.pos)) != -EPIPE) {
		left = left_to_take(q, &head);
		if (ret > 0)
			discard(q, op.pos, ret);
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
		reject(q);
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
	ret = read_message(q, pos, &msg);
	if (ret)
		return ret;
	free_message(q, pos, msg.cell);
	wake_writers(q, 1);
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
	struct op *op = arg;

	(void)sure;
	if (ld_rlx(&op->q->end.ring->closing) > 1)
		while (try_take(op, true) > 0)
			; /* what comes late to an aborted queue is dropped */
	return all_done(op->q) ? 0 : -EAGAIN;
}

int bus_queue_join(struct bus_queue *q, int64_t timeout_ns)
{
	struct op op = { .q = q, .n = 1 };
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

int bus_queue_stats(struct bus_queue *q, struct bus_queue_stats *out)
{
	struct bus_queue_stats s = { 0 };
	size_t size = out ? out->size : 0;
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (size < sizeof(size))
		return -EINVAL;
	s.size = size;
	s.n_slots = (uint32_t)q->end.mask + 1;
	s.slot_bytes = q->end.payload_bytes;
	s.flags = q->flags;
	s.closed = ld_rlx(&q->end.ring->closing);
	sb_ring_count(&q->end, &s.n_waiting, &s.n_held);
	s.n_put = SB_POS(ld_rlx(&q->end.ring->tail)) >> 16;
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	return 0;
}

/* ---------------------------------------------------------- for bus_wait -- */

struct bus *bus_queue_endpoint(const struct bus_queue *q)
{
	return q->bus;
}

struct sb_sleepers *bus_queue_sleepers(struct bus_queue *q, uint32_t event)
{
	return event == BUS_POLL_OUT ? &q->chan->tx : &q->chan->rx;
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
		    SB_POS(ld_acq(&e->pskip[sb_ring_idx(e, h)])) != h &&
		    strict)
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
	if (sb_ring_closed(e) && all_passed(q) && at_end(q) == -EPIPE)
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
