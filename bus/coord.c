/*
 * coord.c - the coordinator: submits requests, collects results
 *
 * Life of a request: submitted into a slot of the request ring; taken by a
 * worker, who writes the result beside it and commits with one store; collected
 * from the slot, which is then free.  The coordinator finds its results by the
 * positions that it remembers, oldest first, so there is no second ring and
 * nothing that could arrive twice.
 *
 * Its workers are crew.c's, which looks after them while a call here waits.
 * When one dies, recovery puts its request back for another to take, or marks
 * it quarantined after max_attempts; then the coordinator notes who died on
 * what.
 *
 * Results that block the window while their owner waits to submit are copied
 * to the heap ("stashed") in the order of their requests.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bus/coord.h"
#include "bus/endpoint.h"
#include "bus/settings.h"
#include "lib/clock.h"
#include "lib/copy.h"

/* How long workers are waited for who cannot be killed. */
#define PARTING_NS (100 * SB_NS_PER_MS)

/* -------------------------------------------------------------- entries -- */

static void entry_unlink(struct bus_coord *co, uint32_t i)
{
	struct bus_entry *e = co->entry;

	if (co->look_after == i)
		co->look_after = e[i].prev;
	e[e[i].prev].next = e[i].next;
	e[e[i].next].prev = e[i].prev;
	e[i].cell[0] = e[i].cell[1] = SB_BLOB_NONE;
	e[i].stash = NULL;
	e[i].pid = 0;
	e[i].next = co->free_entry;
	co->free_entry = i;
	co->n_outstanding--;
}

static void entry_append(struct bus_coord *co, uint32_t i)
{
	struct bus_entry *e = co->entry;

	e[i].prev = e[0].prev;
	e[i].next = 0;
	e[e[0].prev].next = i;
	e[0].prev = i;
	co->n_outstanding++;
}

int bus_coord_grow(struct bus_coord *co)
{
	uint32_t n = co->n_entries ? co->n_entries * 2 : co->config.window + 1;
	struct bus_entry *e = realloc(co->entry, n * sizeof(*e));

	if (!e)
		return -ENOMEM;
	co->entry = e;
	if (!co->n_entries) {
		e[0] = (struct bus_entry){ .next = 0, .prev = 0 };
		co->n_entries = 1;
	}
	for (uint32_t i = n; i-- > co->n_entries;) {
		e[i] = (struct bus_entry){
			.next = co->free_entry,
			.cell = { SB_BLOB_NONE, SB_BLOB_NONE },
		};
		co->free_entry = i;
	}
	co->n_entries = n;
	return 0;
}

int bus_coord_room(struct bus_coord *co, uint32_t n)
{
	uint32_t each = co->c.end.payload_bytes;
	struct bus_loan *loan;
	unsigned char *buf;

	if (sb_likely(n <= co->n_room))
		return 0;
	loan = realloc(co->loan, n * sizeof(*loan));
	if (!loan)
		return -ENOMEM;
	co->loan = loan;
	buf = realloc(co->buf, (size_t)n * each);
	if (!buf)
		return -ENOMEM;
	co->buf = buf;
	co->n_room = n;
	return 0;
}

/* --------------------------------------------------------------- workers -- */

/* Requests that were quarantined because endpoint @id died: note who it was. */
static void note_death(void *arg, uint32_t id, pid_t pid,
		       const struct sb_proc_exit *how)
{
	struct bus_coord *co = arg;
	const struct sb_ring_end *end = &co->c.end;

	for (uint32_t i = co->entry[0].next; i; i = co->entry[i].next) {
		struct bus_entry *e = &co->entry[i];
		uint64_t own;

		if (e->stash || e->pid)
			continue;
		own = ld_acq(&end->cown[sb_ring_idx(end, e->pos)]);
		if (SB_POS(own) != e->pos || SB_OWNER(own) != id ||
		    SB_STATE(own) != SB_QUARANTINED)
			continue;
		e->pid = pid;
		e->signal = how->signal;
		e->exit_status = how->exit_status;
	}
}

int bus_coord_workers(struct bus_coord *co, pid_t *pids, size_t n)
{
	size_t live = 0;
	int ret = bus_coord_check(co);

	if (ret)
		return ret;
	bus_crew_replace(&co->crew);
	for (uint32_t i = 0; i < co->crew.n_places; i++) {
		if (!co->crew.member[i].proc.pid)
			continue;
		if (live < n)
			pids[live] = co->crew.member[i].proc.pid;
		live++;
	}
	return (int)live;
}

/* ---------------------------------------------------------------- submit -- */

struct submit {
	struct bus_coord *co;
	const void *buf;
	size_t len;
	uint32_t cell[2];
	bool blocking;
};

static void drop_cell(struct bus_coord *co, uint32_t cell)
{
	struct bus *bus = co->bus;

	sb_blob_drop(&bus->blob, cell);
	sb_wake(&bus->map->header->blob_rx, &bus->bells, SB_EP_MAX);
}

/* Are there cells for the request and for its result?  A look. */
static bool both_spare(const struct submit *s)
{
	const struct bus_request_chan *c = &s->co->c;
	uint64_t less = s->len, more = c->layout.result_bytes;

	if (less > more) {
		less = more;
		more = s->len;
	}
	return sb_blob_spare(&c->bus->blob, more, 1) &&
	       sb_blob_spare(&c->bus->blob, less, 2);
}

static int claim_cells(struct submit *s)
{
	struct bus_request_chan *c = &s->co->c;
	int ret = 0;

	/* Who waits looks first: to take the one and to give it back would wake
	 * all who wait for cells, and so himself. */
	if (s->blocking && s->len > c->layout.request_bytes &&
	    c->layout.head_bytes && s->cell[0] == SB_BLOB_NONE &&
	    !both_spare(s))
		return -EAGAIN;
	if (s->len > c->layout.request_bytes && s->cell[0] == SB_BLOB_NONE) {
		ret = sb_blob_claim(&c->bus->blob, s->len, &s->cell[0]);
		if (ret)
			return ret;
		memcpy(sb_blob_data(&c->bus->blob, s->cell[0]), s->buf, s->len);
		sb_blob_set_len(&c->bus->blob, s->cell[0], s->len);
	}
	if (c->layout.head_bytes && s->cell[1] == SB_BLOB_NONE)
		ret = sb_blob_claim(&c->bus->blob, c->layout.result_bytes,
				    &s->cell[1]);
	/* Nobody waits for one cell while sitting on another. */
	if (ret && s->cell[0] != SB_BLOB_NONE) {
		drop_cell(s->co, s->cell[0]);
		s->cell[0] = SB_BLOB_NONE;
	}
	return ret;
}

/* A slot is ours: fill and publish it. */
static void publish(struct submit *s, uint64_t pos)
{
	struct bus_request_chan *c = &s->co->c;
	unsigned char *slot = sb_ring_slot(&c->end, pos)->data;
	unsigned char *area = bus_request_area(&c->layout, slot);
	uint64_t flags = 0;
	size_t len = s->len;

	bus_coord_free_last(s->co);
	for (int i = 0; i < 2; i++)
		if (s->cell[i] != SB_BLOB_NONE)
			sb_blob_hand(&c->bus->blob, s->cell[i], c->idx, pos);
	if (c->layout.head_bytes)
		memcpy(slot, &s->cell[1], sizeof(s->cell[1]));
	if (s->cell[0] != SB_BLOB_NONE) {
		memcpy(area, &s->cell[0], sizeof(s->cell[0]));
		flags = SB_FLAG_BLOB;
		len = 0;
	} else {
		sb_copy_few(area, s->buf, len);
	}
	sb_ring_publish(&c->end, pos, (uint32_t)len, flags);
	sb_wake(&c->chan->rx, &c->bus->bells, 1);
}

static int try_submit(void *arg, bool sure)
{
	struct submit *s = arg;
	struct bus_coord *co = s->co;
	uint64_t pos;
	uint32_t i;
	int ret;

	for (;;) {
		ret = 0;
		if (sb_unlikely(co->n_in_ring >= co->config.window))
			bus_coord_free_last(co);
		if (sb_unlikely(co->n_in_ring >= co->config.window))
			ret = -EAGAIN;
		else if (sb_unlikely(s->len > co->c.layout.request_bytes ||
				     co->c.layout.head_bytes))
			ret = claim_cells(s);
		if (!ret)
			ret = sb_ring_claim(&co->c.end, 1, sure, &pos);
		if (ret != -EAGAIN || !s->blocking)
			break;
		ret = bus_coord_stash(co);
		if (ret)
			break; /* nothing is done yet, or no memory */
	}
	if (ret < 0)
		return ret;
	publish(s, pos);
	i = co->free_entry;
	co->free_entry = co->entry[i].next;
	co->entry[i].pos = pos;
	co->entry[i].cell[0] = s->cell[0];
	co->entry[i].cell[1] = s->cell[1];
	entry_append(co, i);
	co->n_in_ring++;
	return 0;
}

/* Those of @cell[0..1] that are ours are not needed any more. */
static void drop_cells(struct bus *bus, const uint32_t cell[2])
{
	bool dropped = false;

	for (int i = 0; i < 2; i++)
		if (cell[i] != SB_BLOB_NONE) {
			sb_blob_drop(&bus->blob, cell[i]);
			dropped = true;
		}
	if (dropped)
		sb_wake(&bus->map->header->blob_rx, &bus->bells, SB_EP_MAX);
}

static int submit_wait(struct bus_coord *co, struct submit *s,
		       int64_t timeout_ns)
{
	struct sb_wait wait = {
		.try_ = try_submit,
		.arg = s,
		.sets = { &co->c.chan->done, &co->bus->map->header->blob_rx },
		.n_sets = 2,
	};
	int ret;

	s->blocking = timeout_ns != 0;
	ret = bus_crew_wait(&co->crew, &wait, bus_coord_deadline(timeout_ns));
	if (ret)
		drop_cells(co->bus, s->cell);
	return ret;
}

int bus_submit(struct bus_coord *co, uint64_t id, const void *buf,
	       size_t len_bytes, int64_t timeout_ns)
{
	struct submit s = { .co = co,
			    .buf = buf,
			    .len = len_bytes,
			    .cell = { SB_BLOB_NONE, SB_BLOB_NONE } };
	int ret = bus_coord_check(co);

	if (sb_unlikely(ret))
		return ret;
	if (sb_unlikely(len_bytes > co->c.layout.request_bytes &&
			len_bytes > co->bus->map->sizes.max_message_bytes))
		return -EMSGSIZE;
	if (sb_unlikely(!co->free_entry)) {
		ret = bus_coord_grow(co);
		if (ret)
			return ret;
	}
	ret = try_submit(&s, false);
	if (sb_unlikely(ret == -EAGAIN))
		ret = submit_wait(co, &s, timeout_ns);
	else if (sb_unlikely(ret))
		drop_cells(co->bus, s.cell);
	if (sb_likely(!ret)) {
		co->entry[co->entry[0].prev].id = id;
		bus_count(&co->bus->ep->counts.put, 1);
	}
	return ret;
}

/* --------------------------------------------------------------- collect -- */

/* The bytes of cell @cell of request @e, or -EPROTO. */
static int cell_bytes(struct bus_coord *co, const struct bus_entry *e,
		      uint32_t cell, uint64_t max, struct bus_result *r)
{
	const struct sb_blob *blob = &co->bus->blob;
	uint64_t len;

	if (!sb_blob_is(blob, cell, co->c.idx, e->pos) ||
	    sb_blob_get_len(blob, cell, &len) || len > max)
		return -EPROTO;
	r->data = sb_blob_data(blob, cell);
	r->len_bytes = len;
	return 0;
}

static int read_error(struct bus_coord *co, struct bus_entry *e,
		      const unsigned char *area, struct bus_result *r)
{
	struct bus_request_error error;

	memcpy(&error, area, sizeof(error));
	r->kind = BUS_RESULT_ERROR;
	r->code = error.code;
	r->data = "";
	if (!error.cell)
		return 0;
	/* A cell that the worker got for the text is ours to free now. */
	if (e->cell[1] == SB_BLOB_NONE)
		e->cell[1] = error.cell - 1;
	return cell_bytes(co, e, error.cell - 1, BUS_ERROR_TEXT, r);
}

/*
 * What the answered slot of @e says, checked.  Bytes are where they lie, in
 * the slot or in a cell.
 */
static int read_result(struct bus_coord *co, struct bus_entry *e, uint64_t seq,
		       struct bus_result *r)
{
	const struct bus_request_layout *l = &co->c.layout;
	unsigned char *slot = sb_ring_slot(&co->c.end, e->pos)->data;
	uint32_t len = SB_SEQ_LEN(seq);

	*r = (struct bus_result){ .id = e->id, .exit_status = -1 };
	if (sb_unlikely(seq & SB_FLAG_QUAR)) {
		r->kind = BUS_RESULT_DEATH;
		r->code = -EOWNERDEAD;
		r->pid = e->pid;
		r->signal = e->pid ? e->signal : 0;
		r->exit_status = e->pid ? e->exit_status : -1;
		r->data = bus_request_area(l, slot);
		r->len_bytes = len;
		if (seq & SB_FLAG_BLOB)
			return cell_bytes(co, e, e->cell[0], UINT64_MAX, r);
		return len <= l->request_bytes ? 0 : -EPROTO;
	}
	if (sb_unlikely(len == BUS_LEN_ERROR))
		return read_error(co, e, bus_result_area(l, slot), r);
	if (seq & SB_FLAG_BLOB)
		return cell_bytes(co, e, e->cell[1], l->result_bytes, r);
	r->data = bus_result_area(l, slot);
	r->len_bytes = len;
	return len <= l->inline_bytes || SB_MUTATED(check_result_len) ? 0
								      : -EPROTO;
}

/* A worker died on it before: it may have left a cell that we do not know. */
static void free_unknown_cells(struct bus_coord *co, uint64_t pos,
			       uint32_t attempts)
{
	if (attempts)
		sb_blob_free_all(&co->bus->blob, co->c.idx, pos);
}

void bus_coord_end_loans(struct bus_coord *co)
{
	while (co->n_loans) {
		struct bus_loan *loan = &co->loan[--co->n_loans];

		drop_cells(co->bus, loan->cell);
		free(loan->stash);
	}
}

/* Read the answer of entry @e; nonsense becomes an error of that request. */
static void read_answer(struct bus_coord *co, struct bus_entry *e, uint64_t seq,
			struct bus_result *r)
{
	int ret;

	/* Somebody else was faster to recover: whose death was it? */
	if (sb_unlikely((seq & SB_FLAG_QUAR) && !e->pid))
		bus_crew_look(&co->crew);
	ret = read_result(co, e, seq, r);
	if (sb_unlikely(ret)) {
		bus_count(&co->bus->ep->counts.rejected, 1);
		*r = (struct bus_result){ .id = e->id,
					  .kind = BUS_RESULT_ERROR,
					  .code = ret,
					  .exit_status = -1,
					  .data = "" };
	}
	/* Nobody has died on it if nobody ever died. */
	if (sb_unlikely(!bus_coord_nobody_died(co)))
		r->attempts = sb_ring_attempts(&co->c.end, e->pos);
}

/*
 * Move what lies in the slot to @buf; the slot is free after
 * bus_coord_free_last().  What lies in a cell stays there: before its position
 * is over, after which a sweep would free it, the cell becomes ours.
 */
static void empty_slot(struct bus_coord *co, struct bus_entry *e,
		       struct bus_result *r, void *buf)
{
	const unsigned char *slot = sb_ring_slot(&co->c.end, e->pos)->data;
	const unsigned char *data = r->data;

	for (int i = 0; i < 2; i++)
		if (sb_unlikely(e->cell[i] != SB_BLOB_NONE) &&
		    !sb_blob_keep(&co->bus->blob, e->cell[i], co->c.idx,
				  e->pos))
			e->cell[i] = SB_BLOB_NONE; /* not the request's */

	if (data >= slot && data < slot + co->c.end.payload_bytes) {
		sb_copy_few(buf, data, r->len_bytes);
		r->data = buf;
	}
	free_unknown_cells(co, e->pos, r->attempts);
	bus_coord_free_last(co);
	co->has_last = true;
	co->last_pos = e->pos;
	co->crew.progress = true;
}

int bus_coord_stash(struct bus_coord *co)
{
	uint32_t n = co->crew.look_ahead;
	struct bus_result r, *copy;
	uint64_t seq;

	for (uint32_t i = co->entry[0].next; i && n; i = co->entry[i].next) {
		struct bus_entry *e = &co->entry[i];

		if (e->stash || (n--, !bus_coord_is_done(co, e, &seq)))
			continue;
		read_answer(co, e, seq, &r);
		copy = malloc(sizeof(r) + r.len_bytes + 1);
		if (!copy)
			return -ENOMEM;
		empty_slot(co, e, &r, copy + 1);
		bus_coord_free_last(co); /* somebody waits for it */
		if (r.data != copy + 1)
			memcpy(copy + 1, r.data, r.len_bytes);
		((char *)(copy + 1))[r.len_bytes] = 0;
		r.data = copy + 1;
		*copy = r;
		drop_cells(co->bus, e->cell);
		e->stash = copy;
		return 0;
	}
	return -EAGAIN;
}

/* Are there cells of the size of the one that we would lend, without it, for a
 * request and its result?  By the cell and not by what is in it: a short result
 * may lie in one of the largest, and those be the ones that are short. */
static bool can_do_without(const struct bus_coord *co,
			   const struct bus_loan *loan)
{
	const struct sb_blob *blob = &co->bus->blob;
	uint32_t cell = loan->cell[loan->cell[0] == SB_BLOB_NONE];

	return cell == SB_BLOB_NONE ||
	       sb_blob_spare(blob, sb_blob_cell_bytes(blob, cell), 2);
}

/*
 * The result lies in a cell: it stays there until the next collect.  The other
 * cell is free at once; and if ours is one of the last of its size, the caller
 * gets a copy, as others may be waiting for just that one, and we next: a
 * caller who holds the results of a whole run may submit, and wait, while there
 * is nobody but himself to free what he waits for.  So does he who gets a text:
 * it ends with a 0, which in the cell is a worker's to take away; without memory
 * there is an error and no text, as when the worker found no cell for it.
 */
static void lend_cells(struct bus_coord *co, const struct bus_entry *e,
		       struct bus_result *r)
{
	struct sb_blob *blob = &co->bus->blob;
	struct bus_loan *loan = &co->loan[co->n_loans];

	*loan = (struct bus_loan){ { e->cell[0], e->cell[1] }, NULL };
	for (int i = 0; i < 2; i++)
		if (e->cell[i] != SB_BLOB_NONE &&
		    r->data != sb_blob_data(blob, e->cell[i])) {
			drop_cell(co, e->cell[i]);
			loan->cell[i] = SB_BLOB_NONE;
		}
	if (r->kind == BUS_RESULT_ERROR || !can_do_without(co, loan))
		loan->stash = malloc(r->len_bytes + 1);
	if (loan->stash) {
		memcpy(loan->stash, r->data, r->len_bytes);
		((char *)loan->stash)[r->len_bytes] = 0; /* of a text */
		r->data = loan->stash;
		drop_cells(co->bus, loan->cell);
		loan->cell[0] = loan->cell[1] = SB_BLOB_NONE;
	} else if (r->kind == BUS_RESULT_ERROR) {
		r->data = "";
		r->len_bytes = 0;
	}
	co->n_loans++;
}

void bus_coord_deliver(struct bus_coord *co, uint32_t i, uint64_t seq,
		       struct bus_result *r, void *buf)
{
	struct bus_entry *e = &co->entry[i];

	if (e->stash) {
		*r = *(struct bus_result *)e->stash;
		co->loan[co->n_loans++] =
			(struct bus_loan){ { SB_BLOB_NONE, SB_BLOB_NONE },
					   e->stash };
		e->stash = NULL;
	} else {
		read_answer(co, e, seq, r);
		empty_slot(co, e, r, buf);
		/* A text may be in a cell that was not the request's. */
		if (sb_unlikely(e->cell[0] != SB_BLOB_NONE ||
				e->cell[1] != SB_BLOB_NONE ||
				r->kind == BUS_RESULT_ERROR))
			lend_cells(co, e, r);
	}
	entry_unlink(co, i);
	bus_count(&co->bus->ep->counts.got, 1);
}

struct collect {
	struct bus_coord *co;
	struct bus_result *r;
	bool in_order;
};

/*
 * The oldest entry that is done, as far as it is cheap to see; @sure: of all.
 * 0: none.  What lies at head or behind it nobody has taken, and a look at head
 * is less than one at each of them.
 */
static uint32_t find_done(struct bus_coord *co, bool sure, uint64_t *seq)
{
	uint32_t n = sure ? UINT32_MAX : co->crew.look_ahead;
	uint64_t head;

	if (bus_coord_in_file(co)) {
		n = 1;
		sure = false;
	}
	head = sure ? ld_acq(&co->c.end.ring->head) : 0;
	for (uint32_t i = co->entry[0].next; i && n--; i = co->entry[i].next) {
		struct bus_entry *e = &co->entry[i];

		if (bus_coord_is_done(co, e, seq))
			return i;
		if (sure && sb_pos_diff(e->pos, head) >= 0)
			break;
	}
	return 0;
}

static int try_collect(void *arg, bool sure)
{
	struct collect *c = arg;
	struct bus_coord *co = c->co;
	uint32_t i = co->entry[0].next;
	uint64_t seq;

	if (!i || !bus_coord_is_done(co, &co->entry[i], &seq))
		i = c->in_order ? 0 : find_done(co, sure, &seq);
	if (!i)
		return -EAGAIN;
	bus_coord_deliver(co, i, seq, c->r, co->buf);
	return 0;
}

static bool oldest_done(struct bus_coord *co)
{
	uint32_t i = co->entry[0].next;
	uint64_t seq;

	return i && bus_coord_is_done(co, &co->entry[i], &seq);
}

int bus_coord_await(struct bus_coord *co, int (*try_)(void *arg, bool sure),
		    void *arg, int64_t timeout_ns)
{
	struct sb_wait wait = { .try_ = try_,
				.arg = arg,
				.sets = { &co->c.chan->done },
				.n_sets = 1 };
	int ret = -EAGAIN;

	if (co->pace.steps && timeout_ns) {
		bus_pace_pause(co->pace.steps);
		ret = try_(arg, false);
	}
	if (ret == -EAGAIN)
		ret = bus_crew_wait(&co->crew, &wait,
				    bus_coord_deadline(timeout_ns));
	return ret;
}

static int collect(struct bus_coord *co, struct bus_result *r, bool in_order,
		   int64_t timeout_ns)
{
	struct collect c = { .co = co, .r = r, .in_order = in_order };
	int ret = bus_coord_check(co);

	if (sb_unlikely(ret))
		return ret;
	if (sb_unlikely(co->n_loans))
		bus_coord_end_loans(co);
	if (!co->n_outstanding)
		return -ENODATA;
	ret = try_collect(&c, false);
	if (ret == -EAGAIN) {
		ret = bus_coord_await(co, try_collect, &c, timeout_ns);
		if (!ret)
			bus_pace_learn(&co->pace, oldest_done(co));
	}
	return ret;
}

int bus_collect(struct bus_coord *co, struct bus_result *result,
		int64_t timeout_ns)
{
	return collect(co, result, true, timeout_ns);
}

int bus_collect_any(struct bus_coord *co, struct bus_result *result,
		    int64_t timeout_ns)
{
	return collect(co, result, false, timeout_ns);
}

size_t bus_coord_outstanding(const struct bus_coord *co)
{
	return co->n_outstanding;
}

/* -------------------------------------------------------- start and stop -- */

/* In a forked child the workers are no children: forget them. */
static void disown(struct bus_coord *co)
{
	co->foreign = true;
	bus_crew_disown(&co->crew);
}

void bus_coord_after_fork(struct bus_coord *co)
{
	for (; co; co = co->next)
		disown(co);
}

static void coord_free(struct bus_coord *co)
{
	struct bus_coord **p = &co->bus->coords;

	while (*p && *p != co)
		p = &(*p)->next;
	if (*p)
		*p = co->next;
	for (uint32_t i = co->n_entries ? co->entry[0].next : 0; i;
	     i = co->entry[i].next)
		free(co->entry[i].stash);
	for (uint32_t i = 0; i < co->n_loans; i++)
		free(co->loan[i].stash);
	free(co->loan);
	free(co->entry);
	bus_crew_free(&co->crew);
	free(co->buf);
	free(co);
}

static int channel_up(struct bus_coord *co, const char *name)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_REQUEST,
					 .ring_flags = SB_RING_REQUEST };
	uint32_t n_places, n_canceled;
	int idx, ret;

	bus_request_plan(co->config.request_bytes, co->config.result_bytes,
			 &spec, &co->c.layout);
	if (co->c.layout.result_bytes > co->bus->map->sizes.max_message_bytes &&
	    co->c.layout.head_bytes)
		return -EINVAL;
	spec.log_n = (uint32_t)__builtin_ctz(co->config.window);
	spec.max_attempts = co->config.max_attempts;
	spec.crew_places = co->crew.n_places;
	spec.crew_canceled = co->crew.hooks.cancels ? co->config.window : 0;
	idx = bus_channel_make(co->bus, name, &spec);
	if (idx < 0)
		return idx;
	co->reused = spec.reused;
	co->c.bus = co->bus;
	co->c.idx = (uint32_t)idx;
	ret = bus_channel_attach(co->bus, co->c.idx, &co->c.chan, &co->c.end);
	co->crew.coord = bus_ep_life(co->bus->map, co->bus->id);
	co->crew.area =
		bus_channel_area(co->bus, co->c.idx, &n_places, &n_canceled);
	/* What lies in a slot follows from the plan: the ring must be it. */
	if (!ret && (!co->crew.area || n_places != spec.crew_places ||
		     n_canceled != spec.crew_canceled ||
		     co->c.end.stride != spec.stride ||
		     co->c.end.mask + 1 != co->config.window ||
		     co->c.end.flags != spec.ring_flags ||
		     co->c.end.max_attempts != spec.max_attempts)) {
		co->c.end.ring = NULL;
		ret = -EPROTO;
	}
	return ret;
}

/* Nobody works on our ring any more: the next coordinator may have it. */
static void channel_down(struct bus_coord *co)
{
	if (!co->c.end.ring)
		return;
	sb_ring_close(&co->c.end);
	bus_channel_idle(co->bus, co->c.idx);
}

/* Check what was asked for, and note it. */
static int configure(struct bus_coord *co,
		     const struct bus_coord_config *config,
		     const struct bus_crew_config *hooks)
{
	struct bus_crew *crew = &co->crew;
	int ret = bus_config_copy(&co->config, sizeof(co->config), config);

	if (!ret)
		ret = bus_coord_config_fill(&co->config);
	if (ret)
		return ret;
	crew->bus = co->bus;
	crew->c = &co->c;
	crew->handler = co->config.handler;
	crew->init = co->config.init;
	crew->ctx = co->config.ctx;
	crew->min_backoff_ns = co->config.backoff_ns;
	crew->prefetch = (uint32_t)co->config.prefetch;
	crew->died = note_death;
	crew->arg = co;
	crew->plain = !hooks;
	if (hooks)
		crew->hooks = *hooks;
	crew->n_wanted = crew->n_places = co->config.n_workers;
	if (crew->hooks.max_workers)
		crew->n_places = crew->hooks.max_workers;
	if (crew->n_places > BUS_CREW_MAX || crew->n_wanted > crew->n_places)
		return -EINVAL;
	return bus_crew_fits(crew, crew->n_wanted) ? 0 : -EUSERS;
}

int bus_coord_start_crew(struct bus *bus, const char *name,
			 const struct bus_coord_config *config,
			 const struct bus_crew_config *hooks,
			 struct bus_coord **out)
{
	struct bus_coord *co;
	int ret;

	if (!bus || !name || !config || !out)
		return -EINVAL;
	ret = bus_check(bus);
	if (ret)
		return ret;
	co = calloc(1, sizeof(*co));
	if (!co)
		return -ENOMEM;
	co->bus = bus;
	ret = configure(co, config, hooks);
	if (!ret)
		ret = channel_up(co, name);
	if (!ret)
		ret = bus_crew_init(&co->crew);
	if (!ret) {
		ret = bus_coord_room(co, 1);
		if (!ret)
			ret = bus_coord_grow(co);
	}
	if (ret) {
		channel_down(co);
		coord_free(co);
		return ret;
	}
	co->next = bus->coords;
	bus->coords = co;
	ret = bus_crew_start(&co->crew);
	if (ret) {
		bus_coord_stop(co, 0);
		return ret;
	}
	*out = co;
	return 0;
}

int bus_coord_start(struct bus *bus, const char *name,
		    const struct bus_coord_config *config,
		    struct bus_coord **out)
{
	return bus_coord_start_crew(bus, name, config, NULL, out);
}

/* Which workers somebody waits for: how many of them are left. */
typedef uint32_t (*count_workers)(const struct bus_crew *crew);

struct stopping {
	struct bus_coord *co;
	count_workers n_left; /* NULL: for the answers */
};

/* Have all requests been answered, or, later, have all workers left? */
static int try_stopped(void *arg, bool sure)
{
	struct stopping *s = arg;
	struct bus_coord *co = s->co;
	uint64_t seq;

	(void)sure;
	if (s->n_left)
		return s->n_left(&co->crew) ? -EAGAIN : 0;
	for (uint32_t i = co->entry[0].next; i; i = co->entry[i].next)
		if (!bus_coord_is_done(co, &co->entry[i], &seq))
			return -EAGAIN;
	return 0;
}

static int wait_stopped(struct bus_coord *co, count_workers n_left,
			uint64_t deadline)
{
	struct stopping s = { .co = co, .n_left = n_left };
	struct sb_wait wait = { .try_ = try_stopped,
				.arg = &s,
				.sets = { &co->c.chan->done },
				.n_sets = 1 };

	return bus_crew_wait(&co->crew, &wait, deadline);
}

/* Nothing puts it off. */
static int wait_stopped_for_sure(struct bus_coord *co, count_workers n_left,
				 uint64_t deadline)
{
	int ret;

	do
		ret = wait_stopped(co, n_left, deadline);
	while (ret == -EINTR);
	return ret;
}

static void end_ring(struct bus_coord *co)
{
	co->crew.leaving = true;
	sb_ring_close(&co->c.end);
	sb_wake_all(&co->c.chan->rx, &co->bus->bells);
}

/* Does a worker have it in hand, who could not be killed?  Then the slot and
 * the cells are his.  They are free when this endpoint is closed; until then
 * the ring is nobody's to use again. */
static bool is_in_hand(const struct bus_coord *co, const struct bus_entry *e)
{
	const struct sb_ring_end *end = &co->c.end;
	uint64_t own = ld_acq(&end->cown[sb_ring_idx(end, e->pos)]);

	return SB_POS(own) == e->pos && sb_own_has(own) &&
	       SB_OWNER(own) != co->bus->id;
}

/* Free the slots and cells of what nobody will collect. */
static void drop_outstanding(struct bus_coord *co)
{
	uint64_t seq;

	bus_coord_free_last(co);
	for (uint32_t i = co->entry[0].next; i; i = co->entry[i].next) {
		struct bus_entry *e = &co->entry[i];

		if (e->stash)
			continue;
		if (sb_ring_answered(&co->c.end, e->pos, &seq))
			sb_ring_free(&co->c.end, e->pos);
		else if (is_in_hand(co, e))
			continue;
		bus_request_free_cells(&co->c, e->pos, e->cell);
		sb_blob_free_all(&co->bus->blob, co->c.idx, e->pos);
	}
	channel_down(co);
}

/* There are workers who live on: they shall not run what is left. */
static void take_back(struct bus_coord *co)
{
	struct sb_ring_end *end = &co->c.end;
	uint64_t pos;

	for (uint64_t i = 0; i <= end->mask; i++) {
		if (sb_ring_take(end, 1, true, &pos) != 1)
			break;
		sb_ring_free(end, pos);
	}
}

static void kill_all(struct bus_coord *co)
{
	co->crew.stopping = true;
	end_ring(co);
	bus_crew_kill(&co->crew);
	wait_stopped_for_sure(co, bus_crew_dying, SB_FOREVER);
	if (!bus_crew_live(&co->crew))
		return;
	sb_ring_recall(&co->c.end);
	take_back(co);
	wait_stopped_for_sure(co, bus_crew_live, sb_now_ns() + PARTING_NS);
	take_back(co); /* of a run; what comes later is drained by the next */
}

int bus_coord_kill_all(struct bus_coord *co)
{
	int ret = bus_coord_check(co);

	if (!ret)
		kill_all(co);
	return ret;
}

int bus_coord_leave(struct bus_coord *co, uint64_t deadline_ns)
{
	int ret = bus_coord_check(co);

	if (ret)
		return ret;
	end_ring(co);
	ret = wait_stopped(co, NULL, deadline_ns);
	if (ret)
		return ret;
	co->crew.stopping = true;
	/* Who only tries never sleeps with the pidfds. */
	bus_crew_look(&co->crew);
	return wait_stopped(co, bus_crew_live, deadline_ns);
}

int bus_coord_stop(struct bus_coord *co, int64_t timeout_ns)
{
	uint64_t deadline = timeout_ns ? sb_deadline(timeout_ns) : 1;
	int ret;

	if (!co)
		return 0;
	/* In a forked child the waiter must have forgotten our watches before
	 * they are freed. */
	ret = bus_check(co->bus);
	if (ret || co->foreign) {
		disown(co);
		coord_free(co); /* the parent's: only our copy of it */
		return 0;
	}
	bus_coord_end_loans(co);
	end_ring(co);
	ret = wait_stopped_for_sure(co, NULL, deadline);
	co->crew.stopping = true;
	if (!ret)
		ret = wait_stopped_for_sure(co, bus_crew_live, deadline);
	if (ret)
		kill_all(co);
	drop_outstanding(co);
	coord_free(co);
	return ret ? -ETIMEDOUT : 0;
}

/* ---------------------------------------------------------- for bus_wait -- */

struct bus *bus_coord_endpoint(const struct bus_coord *co)
{
	return co->foreign ? NULL : co->bus;
}

struct sb_sleepers *bus_coord_sleepers(struct bus_coord *co)
{
	return &co->c.chan->done;
}

uint64_t bus_coord_plan(struct bus_coord *co, uint64_t deadline)
{
	return bus_crew_plan(&co->crew, deadline);
}

bool bus_coord_replans(const struct bus_coord *co)
{
	return co->crew.replan;
}

void bus_coord_poll(struct bus_coord *co)
{
	if (!co->foreign)
		bus_crew_poll(&co->crew);
}

static bool any_result(struct bus_coord *co, bool sure)
{
	uint64_t seq;

	return find_done(co, sure, &seq);
}

uint32_t bus_coord_ready(struct bus_coord *co, uint32_t events, bool sure)
{
	uint32_t ready = 0;
	bool result = any_result(co, sure);

	if (co->crew.broken && !co->crew.stopping)
		ready |= BUS_POLL_ERR;
	if ((events & BUS_POLL_IN) && result)
		ready |= BUS_POLL_IN;
	/* A submit that waits moves a result to the heap. */
	if ((events & BUS_POLL_OUT) &&
	    (result || co->n_in_ring - co->has_last < co->config.window))
		ready |= BUS_POLL_OUT;
	return ready;
}

/* ---------------------------------------------------------- for the pool -- */

struct bus_crew_area *bus_coord_area(struct bus_coord *co)
{
	return co->crew.area;
}

uint32_t bus_coord_places(const struct bus_coord *co)
{
	return co->crew.n_places;
}

pid_t bus_coord_pid(const struct bus_coord *co, uint32_t place)
{
	return place < co->crew.n_places ? co->crew.member[place].proc.pid : 0;
}

int bus_coord_scale(struct bus_coord *co, uint32_t n)
{
	int ret = bus_coord_check(co);

	return ret ? ret : bus_crew_scale(&co->crew, n);
}

int bus_coord_signal(struct bus_coord *co, uint32_t place, int sig)
{
	int ret = bus_coord_check(co);

	return ret ? ret : bus_crew_signal(&co->crew, place, sig);
}

const char *bus_coord_error(const struct bus_coord *co)
{
	return co->crew.broken ? co->crew.error : "";
}

struct waiting {
	struct bus_coord *co;
	const struct bus_coord_extra *extra;
};

static bool second_done(struct bus_coord *co)
{
	uint32_t i = co->entry[0].next;
	uint64_t seq;

	i = i ? co->entry[i].next : 0;
	return i && bus_coord_is_done(co, &co->entry[i], &seq);
}

static int try_result_or(void *arg, bool sure)
{
	struct waiting *w = arg;

	if (any_result(w->co, sure))
		return 0;
	return w->extra && w->extra->ready &&
			       w->extra->ready(w->extra->arg, sure)
		       ? 0
		       : -EAGAIN;
}

int bus_coord_wait(struct bus_coord *co, const struct bus_coord_extra *extra,
		   uint64_t deadline_ns)
{
	struct waiting w = { .co = co, .extra = extra };
	struct sb_sleepers *sets[BUS_COORD_EXTRA_MAX + 1];
	uint64_t claimed[SB_WAIT_CLAIMED(BUS_COORD_EXTRA_MAX + 1)];
	struct sb_wait wait = { .try_ = try_result_or,
				.arg = &w,
				.many = sets,
				.n_sets = 1,
				.claimed = claimed };
	int ret = bus_coord_check(co);

	if (!ret && extra && extra->n_sets > BUS_COORD_EXTRA_MAX)
		ret = -EINVAL;
	if (ret)
		return ret;
	ret = try_result_or(&w, false);
	if (ret == -EAGAIN && deadline_ns && co->pace.steps) {
		bus_pace_pause(co->pace.steps);
		ret = try_result_or(&w, false);
	}
	if (ret == -EAGAIN) {
		sets[0] = &co->c.chan->done;
		for (uint32_t i = 0; extra && i < extra->n_sets; i++)
			sets[wait.n_sets++] = extra->sets[i];
		ret = bus_crew_wait(&co->crew, &wait, deadline_ns);
	}
	/* What has ended the wait is still there. */
	if (!ret)
		bus_pace_learn(&co->pace, second_done(co));
	return ret;
}
