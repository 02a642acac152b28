/*
 * pipe_send.c - sending through a pipe: copied or in place, whole or in parts
 *
 * A message that fits what is used of a slot is one record, and visible to the
 * reader when that is published.  A larger one goes in fragments, each as large
 * as what is left of the open slot, and so the reader empties one slot while
 * the other fills.
 *
 * Killed anywhere: records that were published are whole.  After some of the
 * fragments of a message, the reader gets them, finds the side dead, and says
 * -EOWNERDEAD.  In send_many, the messages of the runs that were published are
 * sent (sb_spsc_put_run).
 */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "bus/pipe.h"

#define FRAG_HEAD sizeof(struct bus_fragment)

SB_INLINE void count_sent(struct bus_pipe *p)
{
	bus_count(&p->out->n_sent, 1);
}

SB_INLINE bool peer_listens(struct bus_pipe *p)
{
	return !(ld_acq(p->peer) & BUS_SIDE_RX_GONE);
}

/* May anything go that there is room for? */
SB_INLINE bool may_send(struct bus_pipe *p)
{
	return p->tx_gen == sb_fork_gen && peer_listens(p);
}

/* A message may go now if it is small and there is room for it. */
SB_INLINE bool send_short(struct bus_pipe *p, const void *buf, size_t len)
{
	void *at;

	if (sb_unlikely(len > p->small_bytes || !may_send(p) ||
			sb_spsc_room(&p->tx, len, &at)))
		return false;
	sb_copy(at, buf, len);
	sb_spsc_publish(&p->tx, len, BUS_REC_PLAIN);
	count_sent(p);
	return true;
}

/* The same for one or more of up to @n.  Returns how many. */
SB_INLINE size_t send_some(struct bus_pipe *p, const void *msgs, size_t len,
			   size_t n)
{
	size_t sent;

	if (sb_unlikely(len > p->small_bytes || !may_send(p)))
		return 0;
	sent = sb_spsc_put_run(&p->tx, msgs, len, n, BUS_REC_PLAIN);
	if (!sent)
		return send_short(p, msgs, len);
	bus_count(&p->out->n_sent, sent);
	return sent;
}

/* ----------------------------------------------------------- in records -- */

/*
 * The record for the next fragment, of a message of which @left bytes are not
 * sent yet: what is left of the open slot, if that is worth a record, else what
 * goes into the next one.
 */
static size_t fragment_len(const struct bus_pipe *p, size_t left)
{
	size_t most = bus_pipe_whole_max(p), here = sb_spsc_left(&p->tx);

	if (here > most)
		here = most;
	if (left <= most - FRAG_HEAD)
		return left + FRAG_HEAD <= here || here < most / 4
			       ? left + FRAG_HEAD
			       : here;
	return here < most / 4 ? most : here;
}

/* A MARK tells the reader that the writer before us has died. */
static int put_mark(struct bus_pipe *p, size_t *need)
{
	void *at;
	int ret;

	if (sb_likely(!p->mark))
		return 0;
	*need = 0;
	ret = sb_spsc_room(&p->tx, 0, &at);
	if (ret)
		return ret;
	sb_spsc_publish(&p->tx, 0, BUS_REC_MARK);
	bus_pipe_marked(p);
	/* It may be in the middle of what will not come; and what comes next
	 * may take a while. */
	bus_pipe_wake_reader(p);
	return 0;
}

static int push_whole(struct bus_pipe *p, struct bus_out *o, size_t *need)
{
	void *at;
	int ret;

	*need = o->len;
	ret = sb_spsc_room(&p->tx, o->len, &at);
	if (ret)
		return ret;
	sb_copy(at, o->buf, o->len);
	sb_spsc_publish(&p->tx, o->len, BUS_REC_PLAIN);
	o->done = o->len;
	return 0;
}

static int push_fragment(struct bus_pipe *p, struct bus_out *o, size_t *need)
{
	struct bus_fragment f = { .offset_bytes = o->done,
				  .total_bytes = o->len };
	unsigned char *to;
	void *at;
	size_t n;
	int ret;

	if (!o->done)
		o->id = ++p->send_id;
	f.id = o->id;
	*need = fragment_len(p, o->len - o->done);
	ret = sb_spsc_room(&p->tx, *need, &at);
	if (ret)
		return ret;
	n = *need - FRAG_HEAD;
	to = at;
	memcpy(to, &f, FRAG_HEAD);
	memcpy(to + FRAG_HEAD, o->buf + o->done, n);
	sb_spsc_publish(&p->tx, *need, BUS_REC_FRAGMENT);
	o->done += n;
	return 0;
}

int bus_pipe_push(struct bus_pipe *p, struct bus_out *o, size_t *need)
{
	size_t stretch = 0;
	int ret;

	for (;;) {
		if (!peer_listens(p))
			return -EPIPE;
		ret = put_mark(p, need);
		if (!ret && !o->done && o->len <= bus_pipe_whole_max(p))
			ret = push_whole(p, o, need);
		else if (!ret)
			ret = push_fragment(p, o, need);
		if (ret)
			return ret;
		bus_pipe_wake_reader(p);
		if (o->done == o->len)
			break;
		if (bus_pipe_tired(&stretch, *need))
			return -EINPROGRESS;
	}
	count_sent(p);
	return 0;
}

static SB_NOINLINE int send_slow(struct bus_pipe *p, const void *buf,
				 size_t len, int64_t timeout_ns)
{
	uint64_t deadline = bus_pipe_deadline(timeout_ns);
	struct bus_pipe_wait w = { .p = p };
	struct bus_out o = { .buf = buf, .len = len };
	int ret = bus_pipe_use(p, BUS_PIPE_SEND);

	if (ret)
		return ret;
	if (p->loaned || p->sending || (p->x.on && !p->x.sent))
		return -EBUSY;
	p->x.on = false;
	bus_pipe_set_ways(p);
	do
		ret = bus_pipe_push(p, &o, &w.room);
	while (ret && !(ret = bus_pipe_again(&w, ret, deadline)));
	if (sb_unlikely(ret == -EPROTO))
		bus_count(&p->bus->ep->counts.rejected, 1);
	bus_pipe_count_call(p);
	return ret;
}

/* After a short way: is there somebody to wake, or is it time to see whether
 * the peer lives?  Counts in any case. */
SB_INLINE bool needs_a_look(struct bus_pipe *p)
{
	bool any = bus_pipe_any_to_wake(p), due = bus_pipe_counted_call(p);

	return any || due;
}

static SB_NOINLINE int sent_and_look(struct bus_pipe *p)
{
	bus_pipe_wake_reader(p);
	bus_pipe_count_call(p);
	return 0;
}

/* What the shortest way is too short for. */
static SB_NOINLINE int send_longer(struct bus_pipe *p, const void *buf,
				   size_t len_bytes, int64_t timeout_ns)
{
	if (!send_short(p, buf, len_bytes))
		return send_slow(p, buf, len_bytes, timeout_ns);
	bus_pipe_wake_reader(p);
	bus_pipe_count_call(p);
	return 0;
}

/*
 * The shortest way, of a short message with room in the open slot, makes no
 * call but its last, so it has no registers to save.  With that, the same in
 * bus_pipe_recv() and sb_copy_in(), a stream of 8 bytes came to 155 M
 * messages/s where it had 112, one of 64 bytes to 85 where it had 70 (medians,
 * line ping-pong 120-190 ns).
 */
int bus_pipe_send(struct bus_pipe *p, const void *buf, size_t len_bytes,
		  int64_t timeout_ns)
{
	if (sb_unlikely(len_bytes > SB_COPY_SHORT || !may_send(p) ||
			!sb_spsc_has_room(&p->tx, len_bytes)))
		return send_longer(p, buf, len_bytes, timeout_ns);
	sb_copy_in(sb_spsc_place(&p->tx), buf, len_bytes);
	sb_spsc_publish_here(&p->tx, len_bytes, BUS_REC_PLAIN);
	count_sent(p);
	return sb_likely(!needs_a_look(p)) ? 0 : sent_and_look(p);
}

int bus_pipe_send_many(struct bus_pipe *p, const void *msgs, size_t msg_bytes,
		       size_t n, int64_t timeout_ns)
{
	const unsigned char *from = msgs;
	size_t done = 0;
	int ret;

	if (n > INT_MAX)
		n = INT_MAX;
	if (n == 0)
		return bus_pipe_use(p, BUS_PIPE_SEND);
	while (done < n) {
		size_t sent = send_some(p, from, msg_bytes, n - done);

		if (!sent && done)
			break;
		if (!sent) {
			ret = send_slow(p, from, msg_bytes, timeout_ns);
			if (ret)
				return ret;
			sent = 1;
		}
		done += sent;
		from += sent * msg_bytes;
	}
	bus_pipe_wake_reader(p);
	bus_pipe_count_call(p);
	return (int)done;
}

/* ------------------------------------------------------------- in place -- */

/* How large the record for the next part of a message is. */
static size_t part_len(const struct bus_pipe *p, size_t total, bool whole)
{
	size_t done = p->sending ? p->send_done : 0;

	return whole ? total : fragment_len(p, total - done);
}

/* Room for it, as far as there is without waiting. */
static int lend(struct bus_pipe *p, size_t total, size_t *need)
{
	bool whole = !p->sending && total <= sb_spsc_max(&p->tx);
	void *at;
	int ret;

	if (!peer_listens(p))
		return -EPIPE;
	ret = put_mark(p, need);
	if (ret)
		return ret;
	*need = part_len(p, total, whole);
	ret = sb_spsc_room(&p->tx, *need, &at);
	if (ret == -ENOSPC && whole) {
		whole = false;
		*need = part_len(p, total, whole);
		ret = sb_spsc_room(&p->tx, *need, &at);
	}
	if (ret)
		return ret;
	p->loaned = true;
	p->loan_gen = BUS_NO_GEN;
	p->loaned_whole = whole;
	p->loan_data = (unsigned char *)at + (whole ? 0 : FRAG_HEAD);
	p->loan_len = *need - (whole ? 0 : FRAG_HEAD);
	p->loan_total = total;
	return 0;
}

/* The usual case: nothing special, and it is small.  Until it is committed or
 * cancelled there is no short way for anything else. */
SB_INLINE void lend_short(struct bus_pipe *p, void *at, size_t total,
			  struct bus_part *part)
{
	p->loaned = p->loaned_whole = true;
	p->loan_data = at;
	p->loan_len = total;
	p->loan_gen = p->tx_gen;
	p->tx_gen = BUS_NO_GEN;
	part->data = at;
	part->len_bytes = part->total_bytes = total;
	part->offset_bytes = 0;
}

/* Was it lent so, and are @part's bytes what is to be sent? */
SB_INLINE bool may_commit(struct bus_pipe *p, const struct bus_part *part)
{
	return p->loan_gen == sb_fork_gen && p->loaned &&
	       part->data == p->loan_data && part->len_bytes <= p->loan_len &&
	       peer_listens(p);
}

SB_INLINE void end_short_loan(struct bus_pipe *p, struct bus_part *part)
{
	p->loaned = false;
	p->tx_gen = p->loan_gen;
	p->loan_gen = BUS_NO_GEN;
	part->data = NULL;
}

static SB_NOINLINE int loan_slow(struct bus_pipe *p, size_t total_bytes,
				 struct bus_part *part, int64_t timeout_ns)
{
	uint64_t deadline = bus_pipe_deadline(timeout_ns);
	struct bus_pipe_wait w = { .p = p };
	int ret = bus_pipe_use(p, BUS_PIPE_SEND);

	if (ret)
		return ret;
	if (p->loaned || (p->x.on && !p->x.sent))
		return -EBUSY;
	if (p->sending && p->send_total != total_bytes)
		return -EINVAL;
	if (total_bytes > BUS_PIPE_MESSAGE_MAX)
		return -EMSGSIZE;
	p->x.on = false;
	do
		ret = lend(p, total_bytes, &w.room);
	while (ret && !(ret = bus_pipe_again(&w, ret, deadline)));
	bus_pipe_set_ways(p);
	if (ret)
		return ret;
	*part = (struct bus_part){
		.data = p->loan_data,
		.len_bytes = p->loan_len,
		.offset_bytes = p->sending ? p->send_done : 0,
		.total_bytes = total_bytes,
	};
	return 0;
}

static SB_NOINLINE int loan_longer(struct bus_pipe *p, size_t total_bytes,
				   struct bus_part *part, int64_t timeout_ns)
{
	void *at;

	if (sb_unlikely(total_bytes > p->small_bytes || !may_send(p) ||
			sb_spsc_room(&p->tx, total_bytes, &at)))
		return loan_slow(p, total_bytes, part, timeout_ns);
	lend_short(p, at, total_bytes, part);
	return 0;
}

/* As bus_pipe_send(): no call but the last. */
int bus_pipe_loan(struct bus_pipe *p, size_t total_bytes, struct bus_part *part,
		  int64_t timeout_ns)
{
	if (sb_unlikely(total_bytes > p->small_bytes || !may_send(p) ||
			!sb_spsc_has_room(&p->tx, total_bytes)))
		return loan_longer(p, total_bytes, part, timeout_ns);
	lend_short(p, sb_spsc_place(&p->tx), total_bytes, part);
	return 0;
}

/* The part on loan is the next fragment of its message. */
static void commit_fragment(struct bus_pipe *p, size_t len)
{
	struct bus_fragment f;

	if (!p->sending) {
		p->sending = true;
		p->send_total = p->loan_total;
		p->send_done = 0;
		p->send_id++;
	}
	f = (struct bus_fragment){ .id = p->send_id,
				   .offset_bytes = p->send_done,
				   .total_bytes = p->send_total };
	memcpy((unsigned char *)p->loan_data - FRAG_HEAD, &f, FRAG_HEAD);
	sb_spsc_publish(&p->tx, len + FRAG_HEAD, BUS_REC_FRAGMENT);
	p->send_done += len;
	if (p->send_done == p->send_total) {
		p->sending = false;
		count_sent(p);
	}
}

static SB_NOINLINE int commit_slow(struct bus_pipe *p, struct bus_part *part)
{
	int ret = bus_pipe_use(p, BUS_PIPE_SEND);

	if (ret)
		return ret;
	if (!p->loaned || part->data != p->loan_data ||
	    part->len_bytes > p->loan_len ||
	    (!p->loaned_whole && !part->len_bytes))
		return -EINVAL;
	p->loaned = false;
	part->data = NULL;
	if (!peer_listens(p)) {
		p->sending = false;
		ret = -EPIPE;
	} else if (p->loaned_whole) {
		sb_spsc_publish(&p->tx, part->len_bytes, BUS_REC_PLAIN);
		count_sent(p);
	} else {
		commit_fragment(p, part->len_bytes);
	}
	bus_pipe_set_ways(p);
	bus_pipe_wake_reader(p);
	bus_pipe_count_call(p);
	return ret;
}

static SB_NOINLINE int commit_longer(struct bus_pipe *p, struct bus_part *part)
{
	if (!may_commit(p, part))
		return commit_slow(p, part);
	sb_spsc_publish(&p->tx, part->len_bytes, BUS_REC_PLAIN);
	count_sent(p);
	end_short_loan(p, part);
	return sent_and_look(p);
}

int bus_pipe_commit(struct bus_pipe *p, struct bus_part *part)
{
	if (sb_unlikely(!may_commit(p, part) || p->tx.meets))
		return commit_longer(p, part);
	sb_spsc_publish_here(&p->tx, part->len_bytes, BUS_REC_PLAIN);
	count_sent(p);
	end_short_loan(p, part);
	return sb_likely(!needs_a_look(p)) ? 0 : sent_and_look(p);
}

int bus_pipe_cancel(struct bus_pipe *p)
{
	int ret = bus_pipe_use(p, BUS_PIPE_SEND);

	if (ret)
		return ret;
	p->loaned = p->sending = p->x.on = false;
	bus_pipe_set_ways(p);
	return 0;
}
