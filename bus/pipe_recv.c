/*
 * pipe_recv.c - receiving from a pipe: copied or in place, whole or in parts
 *
 * The reader's position is stored after each record (recv_many: after each run
 * of them), so whoever reads next begins behind the last one that was taken.  A
 * message in fragments is put together in the caller's buffer; when the call
 * ends before the message does, what is there moves to a buffer of ours, and
 * the next call goes on.  Taking fragments before the message is complete is
 * what lets a message be larger than the slots; the price is that one which
 * this process dies in the middle of taking is lost.
 *
 * The end is said only when the peer's word said that it is over and, after
 * that, no record was there: V2, then F1 of lib/spsc.h.  And it still says the
 * same: or it is another's, who may have come, sent and gone since.
 */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pipe.h"
#include "lib/copy.h"

#define FRAG_HEAD sizeof(struct bus_fragment)

SB_INLINE void count_received(struct bus_pipe *p)
{
	bus_count(&p->in->n_received, 1);
}

/* Something impossible. */
static int reject(struct bus_pipe *p)
{
	bus_count(&p->bus->ep->counts.rejected, 1);
	return -EPROTO;
}

void bus_pipe_drop_partial(struct bus_pipe *p)
{
	free(p->keep);
	p->keep = NULL;
	p->peek_data = NULL; /* the next one may be kept at the same place */
	p->receiving = p->released = false;
	bus_pipe_set_ways(p);
}

/* -------------------------------------------------------------- records -- */

/* What the front of the pipe is to the message that we are in. */
enum front {
	FRONT_PLAIN, /* a message */
	FRONT_BEGIN, /* the first part of one */
	FRONT_NEXT,  /* the next part of that which we have begun */
	FRONT_STRAY, /* of nothing that we know: skip it */
	FRONT_MARK,  /* the writer was another from here on */
	FRONT_BAD    /* nonsense */
};

struct front_record {
	enum front what;
	const unsigned char *data; /* without the fragment's head */
	size_t len;
	struct bus_fragment f;
};

static enum front what_fragment(const struct bus_pipe *p,
				const struct bus_fragment *f, size_t len)
{
	if (!len || f->total_bytes > BUS_PIPE_MESSAGE_MAX ||
	    f->offset_bytes > f->total_bytes ||
	    len > f->total_bytes - f->offset_bytes)
		return FRONT_BAD;
	if (f->offset_bytes == 0)
		return FRONT_BEGIN;
	return p->receiving && f->id == p->recv_id &&
			       f->total_bytes == p->recv_total &&
			       f->offset_bytes == p->recv_done
		       ? FRONT_NEXT
		       : FRONT_STRAY;
}

/* Look at the front record.  0, -EAGAIN or -EPROTO. */
static int look(struct bus_pipe *p, struct front_record *r)
{
	const void *data;
	uint32_t kind;
	int ret = sb_spsc_front(&p->rx, &data, &r->len, &kind);

	if (ret)
		return ret;
	r->data = data;
	switch (kind) {
	case BUS_REC_PLAIN:
		r->what = FRONT_PLAIN;
		break;
	case BUS_REC_FRAGMENT:
		if (r->len <= FRAG_HEAD) {
			r->what = FRONT_BAD;
			break;
		}
		/* Once, and the copy is used: the writer may change it. */
		sb_copy_once(&r->f, data, FRAG_HEAD);
		r->data += FRAG_HEAD;
		r->len -= FRAG_HEAD;
		r->what = what_fragment(p, &r->f, r->len);
		break;
	case BUS_REC_MARK:
		r->what = r->len ? FRONT_BAD : FRONT_MARK;
		break;
	default:
		r->what = FRONT_BAD;
	}
	return 0;
}

/* Nothing is there.  -EAGAIN, or the end: -EPIPE, and -EOWNERDEAD before that
 * if it comes in the middle of a message; 0: look again.  @looked is the word
 * before the last look: that of another one may have come behind it. */
static int at_end(struct bus_pipe *p, uint64_t *looked)
{
	uint64_t peer = ld_acq(p->peer); /* V2 <- V1 */

	if (!bus_pipe_ends(p, peer))
		return -EAGAIN;
	if (*looked != peer) { /* what came before it was over */
		*looked = peer;
		return 0;
	}
	return p->receiving && (bus_side_state(peer) == BUS_SIDE_DEAD ||
				(peer & BUS_SIDE_HALF))
		       ? -EOWNERDEAD
		       : -EPIPE;
}

/*
 * The next record that is worth a caller's attention, or why there is none.
 * What is not is taken away: strays, and the marks and the beginnings that say
 * that a message will not be finished.  -EPROTO once for each nonsense,
 * -EINPROGRESS after many strays.
 */
static int next(struct bus_pipe *p, struct front_record *r)
{
	uint64_t looked = 0; /* no word that ends anything */
	size_t stretch = 0;
	int ret;

	for (;;) {
		ret = look(p, r);
		if (!ret && r->what <= FRONT_NEXT)
			return 0;
		if (bus_pipe_tired(&stretch, 0))
			return -EINPROGRESS;
		if (!ret) {
			sb_spsc_pop(&p->rx);
			if (r->what == FRONT_BAD)
				return reject(p);
			if (r->what == FRONT_MARK && p->receiving)
				ret = -EOWNERDEAD;
		} else if (ret == -EAGAIN) {
			ret = at_end(p, &looked);
		} else {
			reject(p);
		}
		if (ret == -EOWNERDEAD || ret == -EPIPE)
			bus_pipe_drop_partial(p);
		if (ret)
			return ret;
	}
}

int bus_pipe_readable(struct bus_pipe *p)
{
	uint64_t looked = 0;
	struct front_record r;
	size_t stretch = 0;
	int ret;

	if (bus_pipe_has_whole(p))
		return 0;
	for (;;) {
		ret = look(p, &r);
		if (bus_pipe_tired(&stretch, 0))
			return 0; /* much to be skipped: recv shall do it */
		if (ret == -EAGAIN) {
			ret = at_end(p, &looked);
			if (ret)
				return ret == -EAGAIN ? ret : 0;
			continue;
		}
		/* Everything but what would be skipped. */
		if (ret || (r.what != FRONT_STRAY &&
			    (r.what != FRONT_MARK || p->receiving)))
			return 0;
		sb_spsc_pop(&p->rx);
	}
}

int bus_pipe_check_parts(struct bus_pipe *p)
{
	struct front_record r;
	int ret;

	if (sb_likely(!p->released))
		return 0;
	ret = next(p, &r);
	if (ret == -EAGAIN || ret == -EINPROGRESS)
		return -EBUSY;
	return !ret && r.what == FRONT_NEXT ? -EBUSY : ret;
}

/* --------------------------------------------------------------- copied -- */

int bus_pipe_keep(struct bus_pipe *p, const struct bus_in *in)
{
	if (!p->receiving || p->keep || p->released)
		return 0;
	p->keep = malloc(p->recv_total);
	if (!p->keep) {
		bus_pipe_drop_partial(p);
		return -ENOMEM;
	}
	memcpy(p->keep, in->buf, p->recv_done);
	return 0;
}

int bus_pipe_put_back(struct bus_pipe *p, const struct bus_in *in)
{
	unsigned char *copy = malloc(in->len + !in->len);

	if (!copy)
		return -ENOMEM;
	sb_copy(copy, in->buf, in->len);
	bus_pipe_drop_partial(p);
	p->keep = copy;
	p->receiving = true;
	p->recv_done = p->recv_total = in->len;
	bus_pipe_set_ways(p);
	return 0;
}

/* Does a message of @len bytes suit the buffer? */
static bool suits(struct bus_in *in, size_t len)
{
	in->len = len;
	return in->exact ? len == in->cap : len <= in->cap;
}

/* One that was put back.  It is counted already. */
static int pull_whole(struct bus_pipe *p, struct bus_in *in)
{
	if (!suits(in, p->recv_total))
		return -EMSGSIZE;
	sb_copy(in->buf, p->keep, p->recv_total);
	bus_pipe_drop_partial(p);
	return 0;
}

static int pull_plain(struct bus_pipe *p, struct bus_in *in,
		      const struct front_record *r)
{
	if (!suits(in, r->len))
		return -EMSGSIZE;
	if (p->receiving)
		bus_pipe_drop_partial(p); /* its writer gave up */
	sb_copy(in->buf, r->data, r->len);
	sb_spsc_pop(&p->rx);
	count_received(p);
	return 0;
}

static void begin_message(struct bus_pipe *p, const struct bus_fragment *f)
{
	bus_pipe_drop_partial(p); /* its writer gave up */
	p->receiving = true;
	p->recv_id = f->id;
	p->recv_total = (size_t)f->total_bytes;
	p->recv_done = 0;
	bus_pipe_set_ways(p);
}

/* 0 when it was the last, else -EAGAIN: go on. */
static int pull_fragment(struct bus_pipe *p, struct bus_in *in,
			 const struct front_record *r)
{
	unsigned char *to;

	if (!suits(in, (size_t)r->f.total_bytes))
		return -EMSGSIZE;
	if (r->what == FRONT_BEGIN)
		begin_message(p, &r->f);
	to = p->keep ? p->keep : in->buf;
	memcpy(to + p->recv_done, r->data, r->len);
	sb_spsc_pop(&p->rx);
	p->recv_done += r->len;
	if (p->recv_done < p->recv_total)
		return -EAGAIN;
	if (p->keep)
		memcpy(in->buf, p->keep, p->recv_total);
	bus_pipe_drop_partial(p);
	count_received(p);
	return 0;
}

int bus_pipe_pull(struct bus_pipe *p, struct bus_in *in)
{
	struct front_record r;
	size_t stretch = 0;
	int ret;

	p->peek_data = NULL; /* it is going to be another's */
	if (bus_pipe_has_whole(p))
		return pull_whole(p, in);
	for (;;) {
		ret = next(p, &r);
		if (ret)
			return ret;
		if (r.what == FRONT_PLAIN)
			return pull_plain(p, in, &r);
		if (r.what == FRONT_NEXT && p->released)
			return -EBUSY;
		ret = pull_fragment(p, in, &r);
		if (ret != -EAGAIN)
			return ret;
		if (bus_pipe_tired(&stretch, r.len))
			return -EINPROGRESS;
	}
}

/* With @exact, refuse one that is not as long as the buffer. */
static SB_NOINLINE int recv_slow(struct bus_pipe *p, void *buf, size_t cap,
				 bool exact, size_t *len, int64_t timeout_ns)
{
	uint64_t deadline = bus_pipe_deadline(timeout_ns);
	struct bus_pipe_wait w = { .p = p, .recv = true, .room = SIZE_MAX };
	struct bus_in in = { .buf = buf, .cap = cap, .exact = exact };
	int ret = bus_pipe_use(p, BUS_PIPE_RECV);

	if (ret)
		return ret;
	do
		ret = bus_pipe_pull(p, &in);
	while (ret && !(ret = bus_pipe_again(&w, ret, deadline)));
	if (len && (!ret || ret == -EMSGSIZE))
		*len = in.len;
	if (!ret && p->x.on && p->x.sent) {
		p->x.on = false; /* this was the answer */
		bus_pipe_set_ways(p);
	}
	if (ret && p->receiving && bus_pipe_keep(p, &in))
		return -ENOMEM;
	return ret;
}

/* Receive a message now, if it is there in one record that fits.  With @exact,
 * only one of just that length. */
SB_INLINE bool recv_short(struct bus_pipe *p, void *buf, size_t cap, bool exact,
			  size_t *len)
{
	const void *data;
	uint32_t kind;

	if (sb_unlikely(p->rx_gen != sb_fork_gen ||
			sb_spsc_front(&p->rx, &data, len, &kind) ||
			kind != BUS_REC_PLAIN || *len > cap ||
			(exact && *len != cap)))
		return false;
	sb_copy(buf, data, *len);
	sb_spsc_pop(&p->rx);
	count_received(p);
	return true;
}

/* The same for one or more of up to @n, all of @len bytes.  Returns how many.
 */
SB_INLINE size_t recv_some(struct bus_pipe *p, void *buf, size_t cap, size_t n,
			   bool exact, size_t *len)
{
	size_t got = 0;

	if (sb_likely(p->rx_gen == sb_fork_gen))
		got = sb_spsc_take_run(&p->rx, buf, cap, n, BUS_REC_PLAIN);
	if (!got)
		return recv_short(p, buf, cap, exact, len);
	*len = cap;
	bus_count(&p->in->n_received, got);
	return got;
}

/*
 * Where an answer has just come through the line without a sleep, the next one
 * is likely to come as soon.  So look for it a few times before the way through
 * the waiter, which takes longer than the line's own trip.  Two pauses between
 * looks: each look takes the line away from the peer who is about to write it.
 */
#define GLANCES 16u

static SB_NOINLINE bool recv_glancing(struct bus_pipe *p, void *buf, size_t cap,
				      size_t *len)
{
	for (uint32_t n = p->n_glances; n; n--) {
		if (sb_spsc_stirs(&p->rx))
			return recv_short(p, buf, cap, false, len);
		sb_relax();
		sb_relax();
	}
	p->n_glances = 0;
	return false;
}

/* The long way, and what it says about the next time. */
static SB_NOINLINE int recv_waiting(struct bus_pipe *p, void *buf, size_t cap,
				    size_t *len, int64_t timeout_ns)
{
	const struct bus *bus = p->bus;
	uint64_t n_idle = bus->n_idle; /* the waiter's own starts anew */
	int ret = recv_slow(p, buf, cap, false, len, timeout_ns);

	if (!ret && sb_spsc_was_met(&p->rx) &&
	    bus->waiter.spin != SB_SPIN_NEVER && bus->n_idle == n_idle)
		p->n_glances = GLANCES;
	return ret;
}

/* Any other than the shortest way. */
static SB_NOINLINE int recv_longer(struct bus_pipe *p, void *buf,
				   size_t cap_bytes, size_t *len_bytes,
				   int64_t timeout_ns)
{
	size_t len;

	if (!recv_short(p, buf, cap_bytes, false, &len) &&
	    (!p->n_glances || !timeout_ns ||
	     !recv_glancing(p, buf, cap_bytes, &len)))
		return recv_waiting(p, buf, cap_bytes, len_bytes, timeout_ns);
	if (len_bytes)
		*len_bytes = len;
	return 0;
}

/* It went the shortest way, and the slot may be read. */
static SB_NOINLINE int received_last(struct bus_pipe *p)
{
	sb_spsc_leave_read(&p->rx);
	return 0;
}

/* The shortest way makes no call but its last: see bus_pipe_send(). */
int bus_pipe_recv(struct bus_pipe *p, void *buf, size_t cap_bytes,
		  size_t *len_bytes, int64_t timeout_ns)
{
	size_t len = p->rx.len;
	bool leave;

	if (sb_unlikely(p->rx_gen != sb_fork_gen || !sb_spsc_has_same(&p->rx) ||
			p->rx.kind != BUS_REC_PLAIN || len > SB_COPY_SHORT ||
			len > cap_bytes))
		return recv_longer(p, buf, cap_bytes, len_bytes, timeout_ns);
	sb_copy_out(buf, sb_spsc_same(&p->rx), len);
	if (len_bytes)
		*len_bytes = len;
	leave = sb_spsc_pop_same(&p->rx);
	count_received(p);
	return sb_unlikely(leave) ? received_last(p) : 0;
}

int bus_pipe_recv_many(struct bus_pipe *p, void *msgs, size_t msg_bytes,
		       size_t n, size_t *lens_bytes, int64_t timeout_ns)
{
	unsigned char *to = msgs;
	size_t done, got, len;
	int ret;

	if (n > INT_MAX)
		n = INT_MAX;
	if (n == 0)
		return bus_pipe_use(p, BUS_PIPE_RECV);
	for (done = 0; done < n; done += got) {
		got = recv_some(p, to + done * msg_bytes, msg_bytes, n - done,
				!lens_bytes, &len);
		if (!got && done)
			break;
		if (!got) {
			ret = recv_slow(p, to, msg_bytes, !lens_bytes, &len,
					timeout_ns);
			if (ret)
				return ret;
			got = 1;
		}
		for (size_t i = 0; lens_bytes && i < got; i++)
			lens_bytes[done + i] = len;
	}
	return (int)done;
}

/* ------------------------------------------------------------- in place -- */

SB_INLINE void show(struct bus_pipe *p, const void *data, size_t len,
		    struct bus_part *part)
{
	p->peek_data = data;
	p->peek_kept = false;
	p->peek_plain = true;
	p->peek_at = p->rx.at;
	p->peek_lap = p->rx.lap;
	p->peek_met = p->rx.met;
	part->data = (void *)(uintptr_t)data;
	part->len_bytes = part->total_bytes = len;
	part->offset_bytes = 0;
}

static void show_front(struct bus_pipe *p, const struct front_record *r,
		       struct bus_part *part)
{
	show(p, r->data, r->len, part);
	if (r->what == FRONT_PLAIN)
		return;
	p->peek_plain = false;
	part->offset_bytes = (size_t)r->f.offset_bytes;
	part->total_bytes = (size_t)r->f.total_bytes;
}

/* Is that what peek showed, and still the front? */
SB_INLINE bool is_shown(const struct bus_pipe *p, const struct bus_part *part)
{
	return p->peek_data && part->data == p->peek_data && !p->peek_kept &&
	       p->peek_at == p->rx.at && p->peek_lap == p->rx.lap &&
	       p->peek_met == p->rx.met;
}

/* The usual case: a message that peek showed. */
SB_INLINE bool may_release(const struct bus_pipe *p,
			   const struct bus_part *part)
{
	return p->rx_gen == sb_fork_gen && is_shown(p, part) && p->peek_plain;
}

/* What bus_pipe_recv() has kept of a message comes first. */
static void show_kept(struct bus_pipe *p, struct bus_part *part)
{
	p->peek_data = p->keep;
	p->peek_kept = true;
	*part = (struct bus_part){
		.data = p->keep,
		.len_bytes = p->recv_done,
		.total_bytes = p->recv_total,
	};
}

static SB_NOINLINE int peek_slow(struct bus_pipe *p, struct bus_part *part,
				 int64_t timeout_ns)
{
	uint64_t deadline = bus_pipe_deadline(timeout_ns);
	struct bus_pipe_wait w = { .p = p, .recv = true, .room = SIZE_MAX };
	struct front_record r;
	int ret = bus_pipe_use(p, BUS_PIPE_RECV);

	if (ret)
		return ret;
	p->peek_data = NULL;
	if (p->keep) {
		show_kept(p, part);
		return 0;
	}
	do
		ret = next(p, &r);
	while (ret && !(ret = bus_pipe_again(&w, ret, deadline)));
	if (!ret)
		show_front(p, &r, part);
	return ret;
}

static SB_NOINLINE int peek_longer(struct bus_pipe *p, struct bus_part *part,
				   int64_t timeout_ns)
{
	const void *data;
	uint32_t kind;
	size_t len;

	if (sb_unlikely(p->rx_gen != sb_fork_gen ||
			sb_spsc_front(&p->rx, &data, &len, &kind) ||
			kind != BUS_REC_PLAIN))
		return peek_slow(p, part, timeout_ns);
	show(p, data, len, part);
	return 0;
}

/* As bus_pipe_recv(): no call but the last. */
int bus_pipe_peek(struct bus_pipe *p, struct bus_part *part, int64_t timeout_ns)
{
	if (sb_unlikely(p->rx_gen != sb_fork_gen || !sb_spsc_has_same(&p->rx) ||
			p->rx.kind != BUS_REC_PLAIN))
		return peek_longer(p, part, timeout_ns);
	show(p, sb_spsc_same(&p->rx), p->rx.len, part);
	return 0;
}

static int release_kept(struct bus_pipe *p, struct bus_part *part)
{
	if (part->data != p->keep || !p->keep)
		return -EINVAL;
	part->data = NULL;
	if (bus_pipe_has_whole(p)) {
		bus_pipe_drop_partial(p);
		return 0;
	}
	free(p->keep);
	p->keep = NULL;
	p->released = true;
	p->peek_data = NULL;
	return 0;
}

static SB_NOINLINE int release_slow(struct bus_pipe *p, struct bus_part *part)
{
	struct front_record r;
	int ret = bus_pipe_use(p, BUS_PIPE_RECV);

	if (ret)
		return ret;
	if (p->peek_data && p->peek_kept)
		return release_kept(p, part);
	if (!is_shown(p, part))
		return -EINVAL;
	p->peek_data = NULL;
	ret = look(p, &r);
	if (ret)
		return ret == -EAGAIN ? -EPROTO : ret;
	if (r.what == FRONT_BEGIN)
		begin_message(p, &r.f);
	else if (r.what == FRONT_PLAIN)
		bus_pipe_drop_partial(p);
	sb_spsc_pop(&p->rx);
	if (r.what == FRONT_BEGIN || r.what == FRONT_NEXT) {
		p->released = true;
		p->recv_done += r.len;
		if (p->recv_done == p->recv_total)
			bus_pipe_drop_partial(p);
	}
	if (!p->receiving)
		count_received(p);
	if (p->x.on && p->x.sent && !p->receiving) {
		p->x.on = false;
		bus_pipe_set_ways(p);
	}
	part->data = NULL;
	return 0;
}

static SB_NOINLINE int release_longer(struct bus_pipe *p, struct bus_part *part)
{
	if (sb_unlikely(!may_release(p, part)))
		return release_slow(p, part);
	p->peek_data = part->data = NULL;
	sb_spsc_pop(&p->rx);
	count_received(p);
	return 0;
}

int bus_pipe_release(struct bus_pipe *p, struct bus_part *part)
{
	bool leave;

	if (sb_unlikely(!may_release(p, part) || !sb_spsc_in_slot(&p->rx)))
		return release_longer(p, part);
	p->peek_data = part->data = NULL;
	leave = sb_spsc_pop_same(&p->rx);
	count_received(p);
	return sb_unlikely(leave) ? received_last(p) : 0;
}

int bus_pipe_poll(struct bus_pipe *p, int64_t timeout_ns)
{
	uint64_t deadline = bus_pipe_deadline(timeout_ns);
	struct bus_pipe_wait w = { .p = p, .recv = true, .room = SIZE_MAX };
	int ret = bus_pipe_use(p, BUS_PIPE_RECV);

	if (ret)
		return ret == -EPIPE ? 0 : ret;
	do
		ret = bus_pipe_readable(p);
	while (ret && !(ret = bus_pipe_again(&w, ret, deadline)));
	return ret;
}
