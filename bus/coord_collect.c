/*
 * coord_collect.c - collecting a result: it is found by its entry, checked,
 * taken out of its slot, and lent to the caller
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bus/coord.h"
#include "lib/copy.h"

/* ------------------------------------------------------------- an answer -- */

void bus_coord_drop_cell(struct bus_coord *co, uint32_t cell)
{
	struct bus *bus = co->bus;

	sb_blob_drop(&bus->blob, cell);
	sb_wake(&bus->map->header->blob_rx, &bus->bells, SB_EP_MAX);
}

void bus_coord_drop_cells(struct bus *bus, const uint32_t cell[2])
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

	sb_copy_once(&error, area, sizeof(error));
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

		bus_coord_drop_cells(co->bus, loan->cell);
		free(loan->copy);
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

/* By age.  Most are the youngest.  What it has to pass was stashed while a
 * worker had this one in hand: so each is passed by no more than workers have
 * in hand together, however many there are. */
static void add_to_stash(struct bus_coord *co, struct bus_stash *s)
{
	struct bus_stash *older = co->stash_last;

	while (older && sb_pos_diff(older->pos, s->pos) > 0)
		older = older->prev;
	s->prev = older;
	s->next = older ? older->next : co->stash;
	*(older ? &older->next : &co->stash) = s;
	*(s->next ? &s->next->prev : &co->stash_last) = s;
}

/* Entry @i, which is done. */
static int stash_entry(struct bus_coord *co, uint32_t i, uint64_t seq)
{
	struct bus_entry *e = &co->entry[i];
	struct bus_stash *s;
	struct bus_result r;

	read_answer(co, e, seq, &r);
	s = malloc(sizeof(*s) + r.len_bytes + 1);
	if (!s)
		return -ENOMEM;
	s->pos = e->pos;
	empty_slot(co, e, &r, s->data);
	bus_coord_free_last(co); /* somebody waits for it */
	if (r.data != s->data)
		memcpy(s->data, r.data, r.len_bytes);
	s->data[r.len_bytes] = 0;
	r.data = s->data;
	s->result = r;
	bus_coord_drop_cells(co->bus, e->cell);
	bus_coord_unlink(co, i);
	add_to_stash(co, s);
	co->n_outstanding++; /* it still is */
	return 0;
}

int bus_coord_stash(struct bus_coord *co)
{
	uint32_t n = co->crew.look_ahead;
	uint64_t seq;

	for (uint32_t i = co->entry[0].next; i && n--; i = co->entry[i].next)
		if (bus_coord_is_done(co, &co->entry[i], &seq))
			return stash_entry(co, i, seq);
	return -EAGAIN;
}

void bus_coord_unstash(struct bus_coord *co, struct bus_result *r)
{
	struct bus_stash *s = co->stash;

	co->stash = s->next;
	*(s->next ? &s->next->prev : &co->stash_last) = NULL;
	*r = s->result;
	co->loan[co->n_loans++] =
		(struct bus_loan){ { SB_BLOB_NONE, SB_BLOB_NONE }, s };
	co->n_outstanding--;
	bus_count(&co->bus->ep->counts.got, 1);
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
 * it ends with a 0, which in the cell is a worker's to take away; without
 * memory there is an error and no text, as when the worker found no cell.
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
			bus_coord_drop_cell(co, e->cell[i]);
			loan->cell[i] = SB_BLOB_NONE;
		}
	if (r->kind == BUS_RESULT_ERROR || !can_do_without(co, loan))
		loan->copy = malloc(r->len_bytes + 1);
	if (loan->copy) {
		memcpy(loan->copy, r->data, r->len_bytes);
		((char *)loan->copy)[r->len_bytes] = 0; /* of a text */
		r->data = loan->copy;
		bus_coord_drop_cells(co->bus, loan->cell);
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

	read_answer(co, e, seq, r);
	empty_slot(co, e, r, buf);
	/* A text may be in a cell that was not the request's. */
	if (sb_unlikely(e->cell[0] != SB_BLOB_NONE ||
			e->cell[1] != SB_BLOB_NONE ||
			r->kind == BUS_RESULT_ERROR))
		lend_cells(co, e, r);
	bus_coord_unlink(co, i);
	bus_count(&co->bus->ep->counts.got, 1);
}

/* --------------------------------------------------------------- collect -- */

struct collect {
	struct bus_coord *co;
	struct bus_result *r;
	bool in_order;
};

uint32_t bus_coord_find_done(struct bus_coord *co, bool sure, uint64_t *seq)
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

	if (sb_unlikely(co->stash) &&
	    (!c->in_order || bus_coord_stash_first(co))) {
		bus_coord_unstash(co, c->r);
		return 0;
	}
	if (!i || !bus_coord_is_done(co, &co->entry[i], &seq))
		i = c->in_order ? 0 : bus_coord_find_done(co, sure, &seq);
	if (!i)
		return -EAGAIN;
	bus_coord_deliver(co, i, seq, c->r, co->buf);
	return 0;
}

static bool oldest_done(struct bus_coord *co)
{
	uint32_t i = co->entry[0].next;
	uint64_t seq;

	return bus_coord_stash_first(co) ||
	       (i && bus_coord_is_done(co, &co->entry[i], &seq));
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
