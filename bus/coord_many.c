/*
 * coord_many.c - requests and results in batches
 *
 * What coord_submit.c and coord_collect.c do for one, with the costs of a call
 * paid once for a run: one claim, one look for sleeping workers, one change to
 * the list, no line of the ring touched twice.  What is not plain, that is in a
 * cell, an error, of a request that somebody died on, put aside earlier, goes
 * one by one through those.
 *
 * Nothing is lent but copies and cells, so a slot is free as soon as its result
 * was taken, and who submits while he holds results does not wait for himself.
 * A pool does not even get copies: it is shown each result where it lies.
 *
 * Killed in here, the coordinator leaves what it would leave there, some
 * of each.  Its workers die with it, and others of the bus recover:
 *
 *	claimed, the last k published       the rest become tombs (R2); the k
 *	                                    are orphans, as any request of the
 *	                                    dead (R4, R5)
 *	all published, nobody woken         recovery wakes all
 *	some results copied and freed,      FREE is free, DONE of a dead
 *	others not                          producer is freed (R5)
 *
 * The list of requests is private and gone.  That the slot of the last result
 * of a run is freed later makes no difference to anybody: until then it is
 * DONE, and ours.
 */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "bus/coord.h"
#include "bus/endpoint.h"
#include "lib/copy.h"

/* ---------------------------------------------------------------- submit -- */

struct submitting {
	struct bus_coord *co;
	const uint64_t *ids;
	const unsigned char *reqs;
	size_t len;
	uint32_t n;
	bool blocking;
	uint32_t done;
};

/* Slots that we may fill now, up to @n. */
static uint32_t room_for(struct bus_coord *co, uint32_t n)
{
	uint32_t window = co->config.window;

	if (co->n_in_ring + n > window)
		bus_coord_free_last(co);
	if (co->n_in_ring + n > window)
		n = window - co->n_in_ring;
	return n;
}

/*
 * The last one first.  A worker that waits looks at the first slot, and takes
 * its line away with each look; when it sees that this one is published, so are
 * the others, and it can take a run.  In the order of submission it would take
 * the first one or two, and then be at our heels, line for line.
 *
 * Somebody who loses patience with us in the middle of it passes the first ones
 * and runs the last ones before them.  That may be: results are in order, but
 * nobody was promised in which order requests are run.  (A queue must not do
 * this: one reader sees one writer's messages in order, see ring.c.)
 */
static void publish_run(const struct submitting *s, uint64_t pos, uint32_t n)
{
	struct bus_request_chan *c = &s->co->c;
	const unsigned char *reqs = s->reqs + s->done * s->len;

	for (uint32_t k = n; k-- > 0;) {
		uint64_t p = pos + k * SB_POS_ONE;
		struct sb_slot *slot = sb_ring_slot(&c->end, p);

		sb_copy_few(slot->data, reqs + k * s->len, s->len);
		sb_slot_publish(slot, p, (uint32_t)s->len, 0);
	}
	sb_wake(&c->chan->rx, &c->bus->bells, n);
}

/* Note @n requests from @pos on.  The list of free entries is linked as the
 * other one will be. */
static void note_run(struct submitting *s, uint64_t pos, uint32_t n)
{
	struct bus_coord *co = s->co;
	struct bus_entry *e = co->entry;
	uint32_t prev = e[0].prev, i = co->free_entry;

	e[prev].next = i;
	for (uint32_t k = 0; k < n; k++, pos += SB_POS_ONE) {
		e[i].id = s->ids[s->done + k];
		e[i].pos = pos;
		e[i].prev = prev;
		prev = i;
		i = e[i].next;
	}
	co->free_entry = i;
	e[prev].next = 0;
	e[0].prev = prev;
	co->n_outstanding += n;
	co->n_in_ring += n;
}

/* One claim.  Returns how many went, or -errno. */
static int submit_run(struct submitting *s, bool sure)
{
	struct bus_coord *co = s->co;
	uint32_t n = s->n - s->done;
	uint64_t pos;
	int ret;

	n = room_for(co, n < SB_BATCH_MAX ? n : SB_BATCH_MAX);
	if (!n)
		return -EAGAIN;
	/* Nobody else claims here, so these slots are ours to write, and most
	 * are free; the worker's processor may have fetched them unasked. */
	sb_ring_own_run(&co->c.end, ld_rlx(&co->c.end.ring->tail), n);
	ret = sb_ring_claim(&co->c.end, n, sure, &pos);
	if (ret < 0)
		return ret;
	bus_coord_free_last(co);
	publish_run(s, pos, (uint32_t)ret);
	note_run(s, pos, (uint32_t)ret);
	s->done += (uint32_t)ret;
	return ret;
}

/* As many as there is room for; who may block makes room with what is done. */
static int try_submit(void *arg, bool sure)
{
	struct submitting *s = arg;
	uint32_t n = s->n < SB_BATCH_MAX ? s->n : SB_BATCH_MAX;
	int ret = 0;

	while (s->done < s->n && ret >= 0)
		ret = submit_run(s, sure);
	if (s->done || ret != -EAGAIN || !s->blocking)
		return s->done ? 0 : ret;
	ret = bus_coord_stash(s->co);
	if (ret)
		return ret; /* nothing is done yet, or no memory */
	while (--n && !bus_coord_stash(s->co))
		;
	ret = submit_run(s, sure);
	return ret < 0 ? ret : 0;
}

static int submit_wait(struct submitting *s, int64_t timeout_ns)
{
	struct bus_coord *co = s->co;
	struct sb_wait wait = { .try_ = try_submit,
				.arg = s,
				.sets = { &co->c.chan->done },
				.n_sets = 1 };

	s->blocking = timeout_ns != 0;
	return bus_crew_wait(&co->crew, &wait, bus_coord_deadline(timeout_ns));
}

/* With cells. */
static int submit_each(struct submitting *s, int64_t timeout_ns)
{
	int ret = 0;

	for (; s->done < s->n; s->done++) {
		ret = bus_submit(s->co, s->ids[s->done],
				 s->reqs + s->done * s->len, s->len,
				 s->done ? 0 : timeout_ns);
		if (ret)
			break;
	}
	return s->done ? (int)s->done : ret;
}

int bus_submit_many(struct bus_coord *co, const uint64_t *ids, const void *reqs,
		    size_t req_bytes, size_t n, int64_t timeout_ns)
{
	struct submitting s = { .co = co,
				.ids = ids,
				.reqs = reqs,
				.len = req_bytes,
				.n = n < INT_MAX ? (uint32_t)n : INT_MAX };
	int ret = bus_coord_check_submit(co);

	if (sb_unlikely(ret || !n))
		return ret;
	if (sb_unlikely(req_bytes > co->c.layout.request_bytes ||
			co->c.layout.head_bytes))
		return submit_each(&s, timeout_ns);
	ret = try_submit(&s, false);
	if (sb_unlikely(ret == -EAGAIN))
		ret = submit_wait(&s, timeout_ns);
	bus_count(&co->bus->ep->counts.put, s.done);
	return s.done ? (int)s.done : ret;
}

void bus_coord_ahead(struct bus_coord *co, uint32_t n)
{
	const struct sb_ring_end *end = &co->c.end;

	sb_prefetch_own(sb_ring_slot(end, SB_POS(ld_rlx(&end->ring->tail)) +
						  n * SB_POS_ONE));
}

bool bus_coord_idle(const struct bus_coord *co)
{
	return sb_sleepers_any(&co->c.chan->rx);
}

/* --------------------------------------------------------------- collect -- */

struct collecting {
	struct bus_coord *co;
	struct bus_result *r; /* or one after the other to: */
	void (*each)(void *arg, struct bus_result *r);
	void *arg;
	uint32_t n, want;
	bool in_order;
};

/*
 * Prefetch.  As the ring's (lib/ring.h): have the lines of answers on their way
 * in a state that we can write, as their slots are freed and filled again, but
 * only where the worker is past them.  That it is we see from an answer some
 * lines on, and look for one there now and then.
 */
#define COLLECT_AHEAD (16 * SB_POS_ONE)
#define COLLECT_PROBE (48 * SB_POS_ONE)
#define PROBE_AGAIN   8u /* lines after one in vain */

SB_INLINE void ahead_of_collect(struct bus_coord *co, uint64_t pos,
				const struct sb_slot *slot)
{
	const struct sb_ring_end *end = &co->c.end;
	uint64_t seq;

	if (!sb_ring_starts_line(end, slot))
		return;
	if (sb_pos_diff(co->done_to, pos + COLLECT_AHEAD) <= 0) {
		if (co->n_blind && co->n_blind--)
			return;
		if (!sb_ring_answered(end, pos + COLLECT_PROBE, &seq)) {
			co->n_blind = PROBE_AGAIN;
			return;
		}
		co->done_to = pos + COLLECT_PROBE;
	}
	sb_prefetch_own(sb_ring_slot(end, pos + COLLECT_AHEAD));
}

/* Take the entries from @first to @last out of the list. */
static void unlink_run(struct bus_coord *co, uint32_t first, uint32_t last,
		       uint32_t n)
{
	struct bus_entry *e = co->entry;
	uint32_t prev = e[first].prev, next = e[last].next;

	e[prev].next = next;
	e[next].prev = prev;
	e[last].next = co->free_entry;
	co->free_entry = first;
	co->n_outstanding -= n;
	co->look_after = prev;
	co->crew.progress = true;
	bus_count(&co->bus->ep->counts.got, n);
}

/* Is the answer @seq to @e a result in the slot, and nobody died on it?  That
 * is looked at behind the answer: somebody may have died a moment ago. */
SB_INLINE bool is_plain(const struct bus_coord *co, const struct bus_entry *e,
			uint64_t seq)
{
	return !(seq & SB_SEQ_FLAGS) &&
	       SB_SEQ_LEN(seq) <= co->c.layout.inline_bytes &&
	       (e->cell[0] & e->cell[1]) == SB_BLOB_NONE &&
	       (sb_likely(bus_coord_nobody_died(co)) ||
		!sb_ring_attempts(&co->c.end, e->pos));
}

/* Hand over the plain result @r, number @n, that lies in a slot. */
SB_INLINE void give(struct collecting *c, uint32_t n, struct bus_result *r)
{
	struct bus_coord *co = c->co;
	unsigned char *buf = co->buf + n * co->c.end.payload_bytes;

	if (c->each) {
		c->each(c->arg, r);
		return;
	}
	sb_copy_few(buf, r->data, r->len_bytes);
	r->data = buf;
}

/*
 * Collect plain results from entry @first on, as long as they are done.
 * Returns the entry at which it stopped, or 0.
 *
 * Who is shown a result may submit: that adds entries behind ours.
 */
SB_INLINE uint32_t collect_plain(struct collecting *c, uint32_t first)
{
	struct bus_coord *co = c->co;
	struct sb_ring_end *end = &co->c.end;
	uint32_t i = first, last = 0, n = c->n;
	uint64_t last_pos = 0;

	for (; i && n < c->want; n++) {
		struct bus_entry *e = &co->entry[i];
		struct sb_slot *slot = sb_ring_slot(end, e->pos);
		struct bus_result shown, *r = c->each ? &shown : &c->r[n];
		uint64_t pos = e->pos, seq;

		ahead_of_collect(co, pos, slot);
		seq = ld_acq(&slot->seq); /* C1 */
		if ((seq & SB_SEQ_KIND) != (pos | SB_DONE) ||
		    !is_plain(co, e, seq))
			break;
		*r = (struct bus_result){
			.id = e->id,
			.exit_status = -1,
			.data = bus_result_area(&co->c.layout, slot->data),
			.len_bytes = SB_SEQ_LEN(seq),
		};
		give(c, n, r);
		if (last)
			sb_ring_free(end, last_pos);
		last_pos = pos;
		last = i;
		i = co->entry[i].next;
	}
	if (!last)
		return i;
	bus_coord_free_last(co);
	co->has_last = true;
	co->last_pos = last_pos;
	co->n_in_ring -= n - c->n - 1;
	unlink_run(co, first, last, n - c->n);
	c->n = n;
	return i;
}

/* Entry @i is done, and not plain.  Returns the next one. */
static SB_NOINLINE uint32_t collect_other(struct collecting *c, uint32_t i,
					  uint64_t seq)
{
	struct bus_coord *co = c->co;
	uint32_t each = co->c.end.payload_bytes;
	struct bus_result shown;

	co->look_after = co->entry[i].prev;
	if (c->each) {
		bus_coord_deliver(co, i, seq, &shown, co->buf);
		c->each(c->arg, &shown);
		bus_coord_end_loans(co);
	} else {
		bus_coord_deliver(co, i, seq, &c->r[c->n],
				  co->buf + c->n * each);
	}
	c->n++;
	return co->entry[co->look_after].next;
}

/* The oldest that was put aside. */
static void collect_stashed(struct collecting *c)
{
	struct bus_result shown;

	if (c->each) {
		bus_coord_unstash(c->co, &shown);
		c->each(c->arg, &shown);
		bus_coord_end_loans(c->co);
	} else {
		bus_coord_unstash(c->co, &c->r[c->n]);
	}
	c->n++;
}

/*
 * As long as some are put aside: those, and in order what is older than they.
 * Returns false when there is nothing to look for in the ring then.
 */
static SB_NOINLINE bool collect_stash(struct collecting *c)
{
	struct bus_coord *co = c->co;
	uint64_t seq;
	uint32_t i;

	while (co->stash && c->n < c->want) {
		if (!c->in_order || bus_coord_stash_first(co)) {
			collect_stashed(c);
			continue;
		}
		i = co->entry[0].next;
		if (!bus_coord_is_done(co, &co->entry[i], &seq))
			return false;
		collect_other(c, i, seq);
	}
	return c->n < c->want;
}

/*
 * Collect from entry @i on, as long as they are done.  Returns the entry at
 * which it stopped, or 0 when there is no more or we have enough.
 */
static uint32_t collect_run(struct collecting *c, uint32_t i)
{
	struct bus_coord *co = c->co;
	uint64_t seq;

	while (i) {
		i = collect_plain(c, i);
		if (!i || c->n == c->want)
			return 0;
		if (sb_likely(!bus_coord_is_done(co, &co->entry[i], &seq)))
			return i;
		i = collect_other(c, i, seq);
	}
	return 0;
}

/*
 * All that is done, in whatever order.  What lies at head or behind it nobody
 * has taken yet.
 */
static void collect_all(struct collecting *c)
{
	struct bus_coord *co = c->co;
	uint64_t head = ld_acq(&co->c.end.ring->head);
	uint32_t i = co->entry[0].next;

	co->n_looks = 0;
	while ((i = collect_run(c, i)) != 0) {
		if (sb_pos_diff(co->entry[i].pos, head) >= 0)
			break;
		i = co->entry[i].next;
	}
}

/*
 * A look at a request that is not answered takes its line away from the worker
 * who is about to write it, and there may be many of those before the ones that
 * are.  So look where the last ones were found, for there the next ones are
 * most often, else at the oldest; and at all of them now and then: sooner if
 * nothing is found, and in any case before a sleep.
 */
#define LOOKS_MAX 16u

/* Where the last ones were found, or at the oldest. */
static bool look_nearby(struct collecting *c)
{
	struct bus_coord *co = c->co;

	collect_run(c, co->entry[co->look_after].next);
	if (!c->n && co->look_after)
		collect_run(c, co->entry[0].next);
	return c->n != 0;
}

static void collect_any_run(struct collecting *c, bool sure)
{
	struct bus_coord *co = c->co;

	if (bus_coord_in_file(co)) {
		collect_run(c, co->entry[0].next);
		return;
	}
	if (!sure && ++co->n_looks < LOOKS_MAX) {
		if (look_nearby(c))
			return;
		co->n_looks += LOOKS_MAX / 4;
		if (co->n_looks < LOOKS_MAX)
			return;
	}
	collect_all(c);
}

/* The same for a pool, which waits in bus_coord_wait(), where more is looked
 * at: so not to find anything is no reason yet to look everywhere, and to be
 * sure that there is something none to look elsewhere first. */
static void take_any_run(struct collecting *c, bool sure)
{
	struct bus_coord *co = c->co;
	bool all = ++co->n_looks >= LOOKS_MAX && !bus_coord_in_file(co);

	if (sb_unlikely(co->stash) && !collect_stash(c))
		return;
	if ((all || !look_nearby(c)) && (all || sure))
		collect_all(c);
}

static int try_collect(void *arg, bool sure)
{
	struct collecting *c = arg;

	if (sb_unlikely(c->co->stash) && !collect_stash(c))
		return c->n ? 0 : -EAGAIN;
	if (c->in_order)
		collect_run(c, c->co->entry[0].next);
	else
		collect_any_run(c, sure);
	return c->n ? 0 : -EAGAIN;
}

/* Copies of one call, whatever the caller's n and the window: about what the
 * second cache holds.  A slot has 4 KiB at most, so that is 64 results at
 * least; they are held until the coordinator stops. */
#define COLLECT_BYTES (256u << 10)

/* How many we collect at a time of @n that are asked for. */
static uint32_t at_most(const struct bus_coord *co, size_t n)
{
	uint32_t most = COLLECT_BYTES / co->c.end.payload_bytes;

	if (most > co->config.window)
		most = co->config.window;
	return n < most ? (uint32_t)n : most;
}

static int collect_many(struct bus_coord *co, struct bus_result *results,
			size_t n, bool in_order, int64_t timeout_ns)
{
	struct collecting c = { .co = co, .r = results, .in_order = in_order };
	int ret = bus_coord_check(co);

	if (sb_unlikely(ret || !n))
		return ret;
	if (sb_unlikely(co->n_loans))
		bus_coord_end_loans(co);
	if (!co->n_outstanding)
		return -ENODATA;
	c.want = at_most(co, n);
	/* No memory for so many: then it is fewer. */
	if (sb_unlikely(bus_coord_room(co, c.want)))
		c.want = co->n_room;
	ret = try_collect(&c, false);
	if (ret == -EAGAIN) {
		ret = bus_coord_await(co, try_collect, &c, timeout_ns);
		if (!ret)
			bus_pace_learn(&co->pace, c.n > 1);
	}
	if (ret)
		return ret;
	/* Most often as many are submitted next. */
	sb_ring_own_run(&co->c.end, ld_rlx(&co->c.end.ring->tail),
			c.n < SB_BATCH_MAX ? c.n : SB_BATCH_MAX);
	return (int)c.n;
}

int bus_collect_many(struct bus_coord *co, struct bus_result *results, size_t n,
		     int64_t timeout_ns)
{
	return collect_many(co, results, n, true, timeout_ns);
}

int bus_collect_many_any(struct bus_coord *co, struct bus_result *results,
			 size_t n, int64_t timeout_ns)
{
	return collect_many(co, results, n, false, timeout_ns);
}

uint32_t bus_coord_take_each(struct bus_coord *co, uint32_t most, bool sure,
			     void (*each)(void *arg, struct bus_result *result),
			     void *arg)
{
	struct collecting c = {
		.co = co, .want = most, .each = each, .arg = arg
	};

	if (sb_unlikely(bus_coord_check(co)))
		return 0;
	if (sb_unlikely(co->n_loans))
		bus_coord_end_loans(co);
	if (co->n_outstanding)
		take_any_run(&c, sure);
	return c.n;
}
