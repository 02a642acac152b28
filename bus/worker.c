/*
 * worker.c - the worker's side of a request ring
 *
 * Takes one request at a time, so that work goes to whoever is free, runs the
 * handler, and commits the answer with one store.  Killed before that store,
 * the request is still whole in its slot and another worker gets it; killed
 * after it, the coordinator has the answer.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bus/pace.h"
#include "bus/worker.h"

/* Where the result of the current request is. */
enum place { NOWHERE, IN_SLOT, IN_CELL };

struct bus_reply {
	struct bus_request_chan *c;
	uint64_t pos;
	unsigned char *slot;
	uint32_t req_cell; /* of the request, or SB_BLOB_NONE */
	uint32_t res_cell; /* set aside for the result, or SB_BLOB_NONE */
	enum place place;
	size_t len;
	uint32_t attempts;
	char text[BUS_ERROR_TEXT];
};

/* ------------------------------------------------- the handler's interface -- */

void *bus_reply_room(struct bus_reply *r, size_t len_bytes)
{
	const struct bus_request_layout *l = &r->c->layout;
	const struct sb_blob *blob = &r->c->bus->blob;

	r->place = NOWHERE;
	r->len = len_bytes;
	if (len_bytes <= l->inline_bytes) {
		r->place = IN_SLOT;
		return bus_result_area(l, r->slot);
	}
	if (r->res_cell == SB_BLOB_NONE || len_bytes > l->result_bytes ||
	    len_bytes > sb_blob_cell_bytes(blob, r->res_cell))
		return NULL;
	r->place = IN_CELL;
	return sb_blob_data(blob, r->res_cell);
}

int bus_reply_put(struct bus_reply *r, const void *buf, size_t len_bytes)
{
	void *to = bus_reply_room(r, len_bytes);

	if (!to)
		return -EMSGSIZE;
	if (len_bytes) /* the buffer of no bytes may be NULL */
		memcpy(to, buf, len_bytes);
	return 0;
}

void bus_reply_error(struct bus_reply *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(r->text, sizeof(r->text), format, ap);
	va_end(ap);
}

uint32_t bus_reply_attempts(const struct bus_reply *r)
{
	return r->attempts;
}

/* --------------------------------------------------------------- answers -- */

static void answer(struct bus_reply *r, uint32_t len, uint64_t flags)
{
	struct bus_request_chan *c = r->c;

	if (sb_unlikely(sb_ring_answer(&c->end, r->pos, len, flags))) {
		/* Nobody is left to collect it. */
		sb_blob_free_all(&c->bus->blob, c->idx, r->pos);
		return;
	}
	/* The answer fenced already: K2. */
	if (sb_unlikely(sb_sleepers_any(&c->chan->done))) {
		uint64_t own = ld_rlx(&c->end.pown[sb_ring_idx(&c->end,
							       r->pos)]);

		sb_wake_one_slow(&c->chan->done, &c->bus->bells,
				 SB_OWNER(own));
	}
}

/*
 * The text of an error, in the cell set aside or in one that we get for it.
 * Returns its number + 1, or 0 when there is none: then the text is lost, the
 * code is not.
 *
 * Killed before hand, the cell is ours and recovery frees it; killed after it,
 * it goes with the position, and whoever collects that frees it.
 */
static uint32_t put_text(struct bus_reply *r)
{
	struct sb_blob *blob = &r->c->bus->blob;
	uint32_t cell = r->res_cell;
	size_t len = strlen(r->text);

	if (!len)
		return 0;
	if (cell == SB_BLOB_NONE && sb_blob_claim(blob, len + 1, &cell))
		return 0;
	memcpy(sb_blob_data(blob, cell), r->text, len + 1);
	sb_blob_set_len(blob, cell, len);
	if (cell != r->res_cell)
		sb_blob_hand(blob, cell, r->c->idx, r->pos);
	return cell + 1;
}

static void answer_error(struct bus_reply *r, int code)
{
	struct bus_request_error error = { .code = code };

	error.cell = put_text(r);
	memcpy(bus_result_area(&r->c->layout, r->slot), &error, sizeof(error));
	answer(r, BUS_LEN_ERROR, 0);
}

static void answer_result(struct bus_reply *r)
{
	if (r->place == IN_CELL) {
		sb_blob_set_len(&r->c->bus->blob, r->res_cell, r->len);
		answer(r, 0, SB_FLAG_BLOB);
	} else {
		answer(r, r->place == IN_SLOT ? (uint32_t)r->len : 0, 0);
	}
}

/* ---------------------------------------------------------------- serving -- */

/* Find the request that we took.  0 or -EPROTO. */
static int find_request(struct bus_reply *r, const void **req, size_t *len)
{
	const struct bus_request_layout *l = &r->c->layout;
	const struct sb_blob *blob = &r->c->bus->blob;
	uint64_t seq = sb_ring_seq(&r->c->end, r->pos), blob_len;
	uint32_t cell;

	r->req_cell = r->res_cell = SB_BLOB_NONE;
	if (l->head_bytes) {
		memcpy(&cell, r->slot, sizeof(cell));
		if (!sb_blob_is(blob, cell, r->c->idx, r->pos) ||
		    sb_blob_cell_bytes(blob, cell) < l->result_bytes)
			return -EPROTO;
		r->res_cell = cell;
	}
	*req = bus_request_area(l, r->slot);
	*len = SB_SEQ_LEN(seq);
	if (!(seq & SB_SEQ_FLAGS))
		return *len <= l->request_bytes ? 0 : -EPROTO;
	memcpy(&cell, *req, sizeof(cell));
	if (!sb_blob_is(blob, cell, r->c->idx, r->pos) ||
	    cell == r->res_cell || sb_blob_get_len(blob, cell, &blob_len))
		return -EPROTO;
	r->req_cell = cell;
	*req = sb_blob_data(blob, cell);
	*len = blob_len;
	return 0;
}

static void serve(struct bus_request_chan *c, uint64_t pos,
		  bus_handler handler, void *ctx)
{
	struct bus_reply r;
	const void *req;
	size_t len;
	int code;

	r.c = c;
	r.pos = pos;
	r.slot = sb_ring_slot(&c->end, pos)->data;
	r.place = NOWHERE;
	r.len = 0;
	r.text[0] = 0;
	r.attempts = sb_ring_attempts(&c->end, pos);
	if (sb_unlikely(find_request(&r, &req, &len))) {
		bus_count(&c->bus->ep->counts.rejected, 1);
		answer_error(&r, -EPROTO);
		return;
	}
	bus_count(&c->bus->ep->counts.got, 1);
	code = handler(ctx, req, len, &r);
	if (sb_unlikely(code))
		answer_error(&r, code);
	else
		answer_result(&r);
	bus_count(&c->bus->ep->counts.put, 1);
}

struct taking {
	struct bus_request_chan *c;
	uint64_t pos;
};

static int try_take(void *arg, bool sure)
{
	struct taking *t = arg;

	return sb_ring_take(&t->c->end, 1, sure, &t->pos);
}

static bool more_to_take(void *arg, uint32_t i)
{
	const struct sb_ring *ring = ((struct taking *)arg)->c->end.ring;

	(void)i;
	return sb_pos_diff(ld_rlx(&ring->tail), ld_rlx(&ring->head)) > 0;
}

static int wait_for_request(struct taking *t, struct bus_pace *pace)
{
	struct bus_request_chan *c = t->c;
	struct sb_wait wait = { .try_ = try_take,
				.more = more_to_take,
				.arg = t,
				.sets = { &c->chan->rx },
				.n_sets = 1 };
	int ret = -EAGAIN;

	if (pace->steps) {
		bus_pace_pause(pace->steps);
		ret = try_take(t, false);
	}
	if (ret == -EAGAIN || ret == -EBUSY)
		ret = bus_wait_for(c->bus, &wait, -1);
	if (ret == 1)
		bus_pace_learn(pace, sb_ring_published(&c->end,
						       t->pos + SB_POS_ONE));
	return ret;
}

int bus_worker_run(struct bus_request_chan *c, bus_handler handler,
		   int (*init)(void *ctx), void *ctx)
{
	struct taking t = { .c = c };
	struct bus_pace pace = { 0 };
	int ret = bus_check(c->bus);

	if (ret)
		return 1;
	sb_ring_reattach(&c->end, c->bus->id);
	if (init && init(ctx))
		return BUS_WORKER_INIT_FAILED;
	for (;;) {
		ret = try_take(&t, false);
		if (ret == -EAGAIN || ret == -EBUSY)
			ret = wait_for_request(&t, &pace);
		if (ret == 1)
			serve(c, t.pos, handler, ctx);
		else if (ret == -EPIPE)
			return 0;
		else if (ret != -EINTR)
			return 1;
	}
}
