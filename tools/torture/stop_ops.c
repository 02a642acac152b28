/*
 * stop_ops.c - what the victim is stopped in
 *
 * Without time limits: who stands still beside others that are busy may reach
 * any.  That it goes on is seen from outside.
 */
#include "config.h"

#include "tools/torture/stop.h"

#define S_EMPTY (1u << EMPTY)
#define S_ONE   (1u << ONE)
#define S_FULL  (1u << FULL)
#define S_WRAP  (1u << WRAP)
#define S_ALL   (S_EMPTY | S_ONE | S_FULL)

static void do_put(void)
{
	for (uint32_t i = 0; i < 2; i++)
		if (!bus_queue_put(so.q, so.texts[i], so.op->len, -1))
			so.sh->put[VICTIM_MSG + i]++;
		else if (!so.op->closes)
			WRONG();
}

static void do_put_many(void)
{
	unsigned char three[3 * SMALL];
	int n;

	for (uint32_t i = 0; i < 3; i++)
		memcpy(three + i * SMALL, so.texts[i], SMALL);
	n = bus_queue_put_many(so.q, three, SMALL, 3, -1);
	if (n < 1)
		WRONG();
	for (int i = 0; i < n; i++)
		so.sh->put[VICTIM_MSG + i]++;
}

static void do_commit(void)
{
	struct bus_msg m;

	if (bus_queue_loan(so.q, so.op->len, &m, -1)) {
		WRONG();
		return;
	}
	memcpy(m.data, so.texts[0], so.op->len);
	if (bus_queue_commit(so.q, &m))
		WRONG();
	else
		so.sh->put[VICTIM_MSG]++;
}

static void do_cancel(void)
{
	struct bus_msg m;

	if (bus_queue_loan(so.q, so.op->len, &m, -1) ||
	    bus_queue_cancel(so.q, &m))
		WRONG();
}

/* Others may be faster, so it may find nothing. */
static void do_get(void)
{
	for (int i = 0; i < 2; i++)
		so_get_message(so.state == EMPTY && !i ? -1 : 0);
}

static void do_get_many(void)
{
	unsigned char buf[3 * SMALL];
	size_t len[3];
	int n = bus_queue_get_many(so.q, buf, SMALL, 3, len, 0);

	for (int i = 0; i < n; i++)
		so_note_got(buf + i * SMALL, len[i]);
}

static void do_peek(void)
{
	struct bus_msg m;

	if (bus_queue_peek(so.q, &m, 0))
		return;
	so_note_got(m.data, m.len_bytes);
	if (bus_queue_release(so.q, &m))
		WRONG();
}

static void do_give_back(void)
{
	struct bus_msg m;

	if (!bus_queue_peek(so.q, &m, 0) && bus_queue_give_back(so.q, &m))
		WRONG();
}

static void do_close(void)
{
	bus_queue_close(so.q);
}

static void do_abort(void)
{
	bus_queue_abort(so.q);
}

static void do_task_done(void)
{
	so_get_message(so.state == EMPTY ? -1 : 0);
}

/* Until the others have done all. */
static void do_join(void)
{
	if (bus_queue_join(so.q, -1))
		WRONG();
}

static void do_reap(void)
{
	bus_reap(so.bus);
}

void so_do_leave(void)
{
	struct bus_msg m[3];

	bus_queue_peek(so.q, &m[0], 0);
	bus_queue_loan(so.q, SMALL, &m[1], 0);
	bus_queue_loan(so.q, BIG, &m[2], 0);
	bus_queue_free(so.q);
	bus_close(so.bus);
}

static void do_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *other;
	uint64_t v = 5;

	c.n_slots = 4;
	if (bus_queue_open(so.bus, "another", &c, &other) ||
	    t_put_u64(other, v, 0) || t_get_u64(other) != v)
		WRONG();
}

static void do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_QUEUE,
				 .events = BUS_POLL_IN };

	item.on.queue = so.q;
	if (bus_wait(so.bus, &item, 1, -1) != 1)
		WRONG();
}

/* Both slots hold one of BIG bytes. */
static int n_calls(void)
{
	return so.op->len == BIG ? 1 : 2;
}

static void do_send(void)
{
	for (int i = 0; i < n_calls(); i++)
		so_send_next(so.end[1], &so.sh->next_in, -1);
}

static void do_recv(void)
{
	for (int i = 0; i < n_calls(); i++)
		if (so_recv_next(so.end[1], 1, -1))
			WRONG();
}

/* In one part, or two. */
static void do_loan_commit(void)
{
	unsigned char msg[BIG];
	struct bus_part part = { 0 };

	for (int i = 0; i < n_calls(); i++) {
		so_write_message(msg, so.sh->next_in);
		for (size_t done = 0; done < so.op->len;
		     done += part.len_bytes) {
			if (bus_pipe_loan(so.end[1], so.op->len, &part, -1)) {
				WRONG();
				return;
			}
			memcpy(part.data, msg + done, part.len_bytes);
			if (bus_pipe_commit(so.end[1], &part))
				WRONG();
		}
		so.sh->next_in++;
	}
}

static void got_next(const unsigned char *msg, size_t len)
{
	unsigned char should[BIG];

	so_write_message(should, so.sh->n_got[1]);
	if (len != so.op->len || memcmp(msg, should, len))
		WRONG();
	so.sh->n_got[1]++;
}

static void do_peek_part(void)
{
	unsigned char msg[BIG];
	struct bus_part part = { 0 };

	for (int i = 0; i < n_calls(); i++) {
		for (size_t done = 0; done < so.op->len;
		     done += part.len_bytes) {
			if (bus_pipe_peek(so.end[1], &part, -1) ||
			    part.offset_bytes != done ||
			    part.total_bytes != so.op->len) {
				WRONG();
				return;
			}
			memcpy(msg + done, part.data, part.len_bytes);
			if (bus_pipe_release(so.end[1], &part))
				WRONG();
		}
		got_next(msg, so.op->len);
	}
}

static void do_exchange(void)
{
	unsigned char out[BIG], in[BIG];
	size_t len = 0;

	so_write_message(out, so.sh->next_in);
	if (bus_pipe_exchange(so.end[1], out, so.op->len, in, sizeof(in), &len,
			      -1)) {
		WRONG();
		return;
	}
	so.sh->next_in++;
	got_next(in, len);
}

static void do_send_many(void)
{
	unsigned char three[3 * SMALL];
	int n;

	for (uint32_t i = 0; i < 3; i++)
		so_write_message(three + i * SMALL, so.sh->next_in + i);
	n = bus_pipe_send_many(so.end[1], three, SMALL, 3, -1);
	if (n < 1)
		WRONG();
	else
		so.sh->next_in += (uint32_t)n;
}

static void do_recv_many(void)
{
	unsigned char three[3 * SMALL];
	size_t len[3];
	int n = bus_pipe_recv_many(so.end[1], three, SMALL, 3, len, -1);

	if (n < 1)
		WRONG();
	for (int i = 0; i < n; i++)
		got_next(three + i * SMALL, len[i]);
}

/* One that is new, from end to end. */
static void use_pipe(struct bus_pipe *a, struct bus_pipe *b)
{
	uint64_t v = 5;
	size_t len = 0;

	if (bus_pipe_send(a, &v, sizeof(v), 0))
		WRONG();
	v = 0;
	if (bus_pipe_recv(b, &v, sizeof(v), &len, 0) || v != 5 ||
	    len != sizeof(v))
		WRONG();
	bus_pipe_free(a);
	bus_pipe_free(b);
}

static void do_make_pipe(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *a, *b;

	c.slot_bytes = 512;
	if (bus_pipe(so.bus, &c, &a, &b))
		WRONG();
	else
		use_pipe(a, b);
}

static void do_open_pipe(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *end[2];

	c.slot_bytes = 512;
	for (int side = 0; side < 2; side++)
		if (bus_pipe_open(so.bus, "another", &c, side, &end[side])) {
			WRONG();
			return;
		}
	use_pipe(end[0], end[1]);
}

static void do_close_pipe(void)
{
	bus_pipe_free(so.end[1]);
	so.end[1] = NULL;
}

int so_handler(void *ctx, const void *req, size_t len, struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len);
}

static void is_answer(const struct bus_result *r, uint64_t i)
{
	unsigned char should[BIG];

	so_write_message(should, i);
	if (r->kind != BUS_RESULT_OK || r->len_bytes != so.op->len ||
	    memcmp(r->data, should, so.op->len))
		WRONG();
}

static void start_coord(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = so_handler;
	c.window = 4;
	c.result_bytes = so.op->len;
	T_CHECK(bus_coord_start(so.bus, "r", &c, &so.coord) == 0);
}

static void do_coord(void)
{
	unsigned char req[BIG];
	struct bus_result r;

	for (uint64_t i = 0; i < 3; i++) {
		so_write_message(req, i);
		if (bus_submit(so.coord, i, req, so.op->len, -1))
			WRONG();
	}
	for (uint64_t i = 0; i < 3; i++)
		if (bus_collect(so.coord, &r, -1) || r.id != i)
			WRONG();
		else
			is_answer(&r, i);
	if (bus_coord_stop(so.coord, -1))
		WRONG();
}

/* More than the window, so that some results are put aside. */
static void do_coord_many(void)
{
	unsigned char reqs[6 * SMALL];
	uint64_t ids[6];
	struct bus_result r[6];
	int n;

	for (uint64_t i = 0; i < 6; i++) {
		ids[i] = i;
		so_write_message(reqs + i * SMALL, i);
	}
	for (int i = 0; i < 6; i += n) {
		n = bus_submit_many(so.coord, ids + i, reqs + i * SMALL, SMALL,
				    (size_t)(6 - i), -1);
		if (n < 1) {
			WRONG();
			return;
		}
	}
	for (int i = 0; i < 6; i += n) {
		n = bus_collect_many(so.coord, r, 6, -1);
		if (n < 1) {
			WRONG();
			return;
		}
		for (int k = 0; k < n; k++) {
			if (r[k].id != ids[i + k])
				WRONG();
			is_answer(&r[k], r[k].id);
		}
	}
	if (bus_coord_stop(so.coord, -1))
		WRONG();
}

static void start_pool(void)
{
	static const bus_handler handlers[] = { so_handler };
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;

	c.handlers = handlers;
	c.n_handlers = 1;
	c.n_workers = 1;
	T_CHECK(bus_pool_start(so.bus, "p", &c, &so.pool) == 0);
}

/* Results of BIG bytes come through the worker's pipe. */
static void do_pool(void)
{
	struct bus_future *f[3];
	unsigned char req[BIG];
	struct bus_result r;

	for (uint64_t i = 0; i < 3; i++) {
		so_write_message(req, i);
		if (bus_pool_submit(so.pool, 0, req, so.op->len, NULL, &f[i],
				    -1))
			WRONG();
	}
	bus_future_cancel(f[2]);
	for (uint64_t i = 0; i < 3; i++) {
		if (bus_future_get(f[i], &r, -1))
			WRONG();
		else if (i < 2 || r.kind != BUS_RESULT_CANCELED)
			is_answer(&r, i); /* it may have been over */
		bus_future_free(f[i]);
	}
}

/* clang-format off */
const struct op so_ops[] = {
	{ "put", QUEUE, S_ALL | S_WRAP, SMALL, .fn = do_put },
	{ "put-blob", QUEUE, S_ALL, BIG, .fn = do_put },
	{ "put-many", QUEUE, S_ALL | S_WRAP, SMALL, .fn = do_put_many },
	{ "loan-commit", QUEUE, S_ALL | S_WRAP, SMALL, .fn = do_commit },
	{ "loan-commit-blob", QUEUE, S_EMPTY, BIG, .fn = do_commit },
	{ "loan-cancel", QUEUE, S_EMPTY | S_ONE, SMALL, .fn = do_cancel },
	{ "get", QUEUE, S_ALL | S_WRAP, SMALL, .fn = do_get },
	{ "get-blob", QUEUE, S_ALL, BIG, .fn = do_get },
	{ "get-many", QUEUE, S_ONE | S_FULL | S_WRAP, SMALL, .fn = do_get_many },
	{ "peek-release", QUEUE, S_ONE | S_FULL | S_WRAP, SMALL, .fn = do_peek },
	{ "peek-release-blob", QUEUE, S_ONE, BIG, .fn = do_peek },
	{ "give-back", QUEUE, S_ONE | S_FULL | S_WRAP, SMALL, .fn = do_give_back },
	{ "close", QUEUE, S_ONE, SMALL, .fn = do_close, .closes = true },
	{ "abort", QUEUE, S_ONE | S_FULL, SMALL, .fn = do_abort,
	  .closes = true, .drops = true },
	{ "task-done", QUEUE, S_ALL, SMALL, .fn = do_task_done, .tasks = true },
	{ "join", QUEUE, S_EMPTY | S_FULL, SMALL, .fn = do_join,
	  .tasks = true, .joins = true },
	{ "wait", QUEUE, S_EMPTY | S_ONE, SMALL, .fn = do_wait },
	{ "reap", QUEUE, S_ONE | S_FULL, BIG, .fn = do_reap, .dead = true },
	{ "attach", QUEUE, S_ONE, SMALL, .fn = do_reap, .fresh = true },
	{ "leave", QUEUE, S_ONE, BIG, .fn = so_do_leave },
	{ "open-queue", QUEUE, S_ONE, SMALL, .fn = do_open_queue },
	{ "send", PIPE, S_EMPTY | S_ONE, SMALL, .fn = do_send },
	{ "send-big", PIPE, S_EMPTY | S_ONE, BIG, .fn = do_send },
	{ "recv", PIPE, S_ONE | S_FULL, SMALL, .fn = do_recv,
	  .reads = true },
	{ "recv-big", PIPE, S_EMPTY | S_ONE, BIG, .fn = do_recv,
	  .reads = true },
	{ "pipe-loan-commit", PIPE, S_EMPTY | S_ONE, SMALL,
	  .fn = do_loan_commit },
	{ "pipe-loan-commit-big", PIPE, S_EMPTY, BIG, .fn = do_loan_commit },
	{ "pipe-peek-release", PIPE, S_EMPTY | S_FULL, SMALL,
	  .fn = do_peek_part, .reads = true },
	{ "pipe-peek-release-big", PIPE, S_EMPTY | S_ONE, BIG,
	  .fn = do_peek_part, .reads = true },
	{ "exchange", PIPE, S_EMPTY | S_ONE, SMALL, .fn = do_exchange,
	  .reads = true, .writes = true },
	{ "exchange-big", PIPE, S_EMPTY | S_ONE, BIG, .fn = do_exchange,
	  .reads = true, .writes = true },
	{ "send-many", PIPE, S_EMPTY | S_ONE, SMALL, .fn = do_send_many },
	{ "recv-many", PIPE, S_EMPTY | S_FULL, SMALL, .fn = do_recv_many,
	  .reads = true },
	{ "make-pipe", QUEUE, S_ONE, SMALL, .fn = do_make_pipe },
	{ "open-pipe", QUEUE, S_ONE, SMALL, .fn = do_open_pipe },
	{ "close-pipe", PIPE, S_ONE, SMALL, .fn = do_close_pipe,
	  .closes = true },
	{ "worker", WORKER, S_EMPTY, SMALL, .fn = NULL },
	{ "worker-blob", WORKER, S_EMPTY, BIG, .fn = NULL },
	{ "worker-many", WORKER, S_EMPTY, SMALL, .fn = NULL, .prefetch = 4 },
	{ "coord", QUEUE, S_ONE, SMALL, .fn = do_coord,
	  .crew = true, .before = start_coord },
	{ "coord-blob", QUEUE, S_ONE, BIG, .fn = do_coord,
	  .crew = true, .before = start_coord },
	{ "coord-many", QUEUE, S_ONE, SMALL, .fn = do_coord_many,
	  .crew = true, .before = start_coord },
	{ "pool", QUEUE, S_ONE, SMALL, .fn = do_pool,
	  .crew = true, .before = start_pool, .channel_bytes = 640 << 10 },
	{ "pool-parcel", QUEUE, S_ONE, BIG, .fn = do_pool,
	  .crew = true, .before = start_pool, .channel_bytes = 640 << 10 },
};
/* clang-format on */

const uint32_t so_n_ops = lengthof(so_ops);
