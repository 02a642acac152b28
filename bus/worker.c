/*
 * worker.c - the worker's side of a request ring
 *
 * Takes one request at a time, so that work goes to whoever is free, runs the
 * handler, and commits the answer with one store.  Killed before that store,
 * the request is still whole in its slot and another worker gets it; killed
 * after it, the coordinator has the answer.
 *
 * With prefetch it takes a run of them with one claim: what is there, but not
 * more than its share of it, so that the last ones do not all go to one while
 * the others are idle.  Each is answered on its own, as soon as it is done, in
 * order.  One word in the ring, HELD or TAKEN, says which of them it is at, and
 * which only wait their turn: a death is blamed on the former, the latter go to
 * others as if nobody had had them (ring.c has the kill windows).
 *
 * Only between taking and answering does it write to the area of the crew (but
 * for READY and LEAVING, and the text of a failed init): as long as somebody
 * holds a request the ring, and the area with it, is nobody else's.
 *
 * A worker ends with its coordinator: by the signal of the kernel (lib/proc.h).
 * But that is forgotten when init or a task changes who the process is, or not
 * sent when the coordinator has become somebody who may not signal it.  So init
 * is followed by asking for it again; and whoever takes a request looks whose
 * the ring is, as another coordinator may have it by now.  That word was
 * written before the first of the other's requests was published, so the look
 * after the take is sure; the one before it lets a worker that is too late
 * leave.  One that has a run in hand when its coordinator stops, or dies, and
 * cannot be killed, finishes the request that it is at and gives back the rest.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "bus/pace.h"
#include "bus/reply.h"
#include "bus/worker.h"
#include "lib/copy.h"
#include "lib/proc.h"

/* --------------------------------------------------------------- answers -- */

SB_INLINE void answer(struct bus_reply *r, uint32_t len, uint64_t flags)
{
	struct bus_request_chan *c = r->c;

	if (sb_unlikely(sb_ring_answer(&c->end, r->pos, len, flags))) {
		/* Nobody is left to collect it. */
		sb_blob_free_all(&c->bus->blob, c->idx, r->pos);
		return;
	}
	/* The answer fenced already: K2. */
	if (sb_unlikely(sb_sleepers_any(&c->chan->done))) {
		uint64_t own =
			ld_rlx(&c->end.pown[sb_ring_idx(&c->end, r->pos)]);

		sb_wake_one_slow(&c->chan->done, &c->bus->bells, SB_OWNER(own));
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

static SB_NOINLINE void answer_error(struct bus_reply *r, int code)
{
	struct bus_request_error error = { .code = code };

	error.cell = put_text(r);
	memcpy(r->room, &error, sizeof(error));
	answer(r, BUS_LEN_ERROR, 0);
}

static SB_NOINLINE void answer_other(struct bus_reply *r)
{
	if (r->where == BUS_REPLY_IN_CELL) {
		sb_blob_set_len(&r->c->bus->blob, r->res_cell, r->len);
		answer(r, 0, SB_FLAG_BLOB);
	} else {
		answer(r, 0, 0);
	}
}

SB_INLINE void answer_result(struct bus_reply *r)
{
	if (sb_likely(r->where == BUS_REPLY_IN_ROOM))
		answer(r, (uint32_t)r->len, 0);
	else
		answer_other(r);
}

/* --------------------------------------------------------------- serving -- */

/* The request that we took, or its result, lies in a cell; or it makes no
 * sense.  0 or -EPROTO. */
static SB_NOINLINE int find_cells(struct bus_reply *r, uint64_t seq,
				  unsigned char *slot, const void **req,
				  size_t *len)
{
	const struct bus_request_layout *l = &r->c->layout;
	const struct sb_blob *blob = &r->c->bus->blob;
	uint64_t blob_len;
	uint32_t cell;

	if (l->head_bytes) {
		sb_copy_once(&cell, slot, sizeof(cell));
		if (!sb_blob_is(blob, cell, r->c->idx, r->pos) ||
		    sb_blob_cell_bytes(blob, cell) < l->result_bytes)
			return -EPROTO;
		r->res_cell = cell;
	}
	if (!(seq & SB_SEQ_FLAGS))
		return *len <= l->request_bytes || SB_MUTATED(check_request_len)
			       ? 0
			       : -EPROTO;
	sb_copy_once(&cell, *req, sizeof(cell));
	if (!sb_blob_is(blob, cell, r->c->idx, r->pos) || cell == r->res_cell ||
	    sb_blob_get_len(blob, cell, &blob_len))
		return -EPROTO;
	r->req_cell = cell;
	*req = sb_blob_data(blob, cell);
	*len = blob_len;
	return 0;
}

/* Find the request that we took.  0 or -EPROTO. */
SB_INLINE int find_request(struct bus_reply *r, const void **req, size_t *len)
{
	const struct bus_request_layout *l = &r->c->layout;
	struct sb_slot *slot = sb_ring_slot(&r->c->end, r->pos);
	uint64_t seq = ld_rlx(&slot->seq);

	r->room = bus_result_area(l, slot->data);
	r->req_cell = r->res_cell = SB_BLOB_NONE;
	*req = bus_request_area(l, slot->data);
	*len = SB_SEQ_LEN(seq);
	if (sb_likely(!(seq & SB_SEQ_FLAGS) && !l->head_bytes &&
		      *len <= l->request_bytes))
		return 0;
	return find_cells(r, seq, slot->data, req, len);
}

/* @single: it was taken alone, and so somebody may have died on it before. */
SB_INLINE void serve_one(const struct bus_worker *w, struct bus_reply *r,
			 uint64_t pos, bool single)
{
	struct bus_request_chan *c = w->c;
	const void *req;
	size_t len;
	int code;

	r->pos = pos;
	r->where = BUS_REPLY_NOWHERE;
	r->len = 0;
	r->text[0] = 0;
	r->attempts = single ? sb_ring_attempts(&c->end, pos) : 0;
	if (sb_unlikely(find_request(r, &req, &len))) {
		bus_count(&c->bus->ep->counts.rejected, 1);
		answer_error(r, -EPROTO);
		return;
	}
	bus_count(&c->bus->ep->counts.got, 1);
	code = w->handler(w->ctx, req, len, r);
	if (sb_unlikely(bus_reply_forked(r)))
		_exit(0); /* a child of the worker has no business here */
	if (sb_unlikely(code))
		answer_error(r, code);
	else
		answer_result(r);
	bus_count(&c->bus->ep->counts.put, 1);
}

/* What an attempt to take says if the place is to be left, or is not ours. */
#define TOO_MANY (SB_BATCH_MAX + 1)
#define STALE    (SB_BATCH_MAX + 2)

struct taking {
	struct bus_request_chan *c;
	uint64_t pos;
	uint32_t prefetch, n_sharers;
	uint64_t coord;
	/* of a crew that can be scaled: as many places as there shall be */
	const _Atomic uint32_t *n_wanted;
	uint32_t place;
};

/* Does nobody wait for our answers any more?  STALE: the ring is another
 * coordinator's.  -EPIPE: it soon will be, as ours is dead, or has stopped and
 * could not kill us.  Else 0. */
SB_INLINE int is_over(const struct taking *t)
{
	if (sb_unlikely(ld_rlx(&t->c->chan->coord) != t->coord))
		return STALE;
	return sb_unlikely(sb_ring_recalled(&t->c->end)) ? -EPIPE : 0;
}

/* Does an attempt to take say that there are requests? */
SB_INLINE bool is_run(int ret)
{
	return ret > 0 && ret <= (int)SB_BATCH_MAX;
}

static void give_back(struct taking *t, int n)
{
	for (int k = 0; k < n; k++)
		sb_ring_give_back(&t->c->end,
				  t->pos + (uint64_t)k * SB_POS_ONE);
	sb_wake(&t->c->chan->rx, &t->c->bus->bells, (uint32_t)n);
}

/* How many there are, from t->pos on; or what is wrong. */
static int try_take(void *arg, bool sure)
{
	struct taking *t = arg;
	uint32_t n = 1;
	int ret = is_over(t), over;

	if (sb_unlikely(ret))
		return ret;
	if (t->n_wanted && sb_unlikely(ld_rlx(t->n_wanted) <= t->place))
		return TOO_MANY;
	/* Only when there is something: a look at tail for each look in vain
	 * would be in the way of who submits. */
	if (t->prefetch > 1 && sb_ring_any(&t->c->end))
		n = sb_ring_share(&t->c->end, t->n_sharers, t->prefetch);
	ret = sb_ring_take(&t->c->end, n, sure, &t->pos);
	over = ret > 0 ? is_over(t) : 0;
	if (sb_unlikely(over)) {
		give_back(t, ret);
		return over;
	}
	return ret;
}

/* The @n requests that we took, of which we begin one after the other; and none
 * any more once nobody waits for them. */
static void serve(const struct bus_worker *w, struct bus_reply *r,
		  struct taking *t, int n)
{
	if (sb_likely(n == 1)) {
		serve_one(w, r, t->pos, true);
		return;
	}
	for (; n > 0; n--, t->pos += SB_POS_ONE) {
		if (sb_unlikely(is_over(t))) {
			give_back(t, n);
			return;
		}
		/* Only who shares with nobody knows that it will be his. */
		if (t->n_sharers == 1)
			sb_ring_ahead_in_run(&t->c->end, t->pos);
		sb_ring_begin(&t->c->end, t->pos);
		serve_one(w, r, t->pos, false);
	}
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
	if (is_run(ret))
		bus_pace_learn(
			pace, sb_ring_published(&c->end,
						t->pos + (uint64_t)ret *
								 SB_POS_ONE));
	return ret;
}

/* ----------------------------------------------------------- life of one -- */

static void set_life(const struct bus_worker *w, uint32_t life)
{
	if (w->area)
		st_rel(&bus_crew_place(w->area, w->place)->life, life);
}

/* What init said, for the parent and for who looks at the pool. */
static void say_why(struct bus_crew_area *area, const char *text)
{
	volatile char *to = area->init_error;

	for (size_t i = 0; i < BUS_INIT_ERROR; i++)
		to[i] = text[i];
}

/* 0, or init failed. */
static int begin(const struct bus_worker *w)
{
	char text[BUS_INIT_ERROR] = "";
	int ret = 0;

	if (w->hooks && w->hooks->init)
		ret = w->hooks->init(w->hooks->ctx, w->place, text,
				     sizeof(text));
	else if (!w->hooks && w->init)
		ret = w->init(w->ctx);
	if (w->c->bus->fork_gen != sb_fork_gen)
		_exit(0);
	if (w->area)
		sb_proc_die_with_parent();
	text[sizeof(text) - 1] = 0;
	if (w->area && ret)
		say_why(w->area, text);
	else if (w->area)
		add_acqrel(&w->area->n_inits, 1);
	if (!ret)
		set_life(w, BUS_PLACE_READY);
	return ret;
}

/* Leave in good order; and without a trace where the area may be the next
 * crew's by now. */
static int leave(const struct bus_worker *w, int status)
{
	if (w->hooks && w->hooks->exit)
		w->hooks->exit(w->hooks->ctx);
	if (w->c->bus->fork_gen == sb_fork_gen && !sb_ring_recalled(&w->c->end))
		set_life(w, BUS_PLACE_LEAVING);
	return status;
}

int bus_worker_run(const struct bus_worker *w)
{
	struct bus_request_chan *c = w->c;
	struct taking t = { .c = c,
			    .coord = w->coord,
			    .place = w->place,
			    .prefetch = w->prefetch,
			    .n_sharers = w->n_sharers ? w->n_sharers : 1 };
	struct bus_pace pace = { 0 };
	struct bus_reply r = { .c = c, .area = w->area, .place_idx = w->place };
	uint32_t left = w->hooks ? w->hooks->max_tasks : 0;
	int ret = bus_check(c->bus);

	if (ret)
		return ret == -EUSERS ? BUS_WORKER_NO_ENDPOINT : 1;
	sb_ring_reattach(&c->end, c->bus->id);
	if (begin(w))
		return BUS_WORKER_INIT_FAILED;
	if (w->hooks && w->area)
		t.n_wanted = &w->area->n_wanted;
	if (w->area)
		r.place = bus_crew_place(w->area, w->place);
	r.fork_gen = sb_fork_gen;
	r.room_bytes = c->layout.inline_bytes;
	for (;;) {
		ret = try_take(&t, false);
		if (ret == -EAGAIN || ret == -EBUSY)
			ret = wait_for_request(&t, &pace);
		if (is_run(ret)) {
			serve(w, &r, &t, ret);
			if (left && !--left)
				return leave(w, BUS_WORKER_RETIRED);
		} else if (ret == TOO_MANY) {
			return leave(w, BUS_WORKER_RETIRED);
		} else if (ret == -EPIPE) {
			return leave(w, 0);
		} else if (ret != -EINTR) {
			return 1; /* also STALE: the place is another's */
		}
	}
}
