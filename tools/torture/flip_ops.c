/*
 * flip_ops.c - what a victim does while it is disturbed, and what it finds
 *
 * All that the operations receive goes where the next byte is in a page that
 * nobody may touch; and what they are given in place is read, to its end.
 */
#include "config.h"

#include <signal.h>
#include <time.h>

#include "bus/request.h"
#include "bus/worker.h"
#include "tools/torture/flip.h"

#define SLOT_BYTES 24u  /* of a queue */
#define SLOT       256u /* of a pipe: BIG goes in three parts, MID in two */
#define MID        400u
#define TICK_NS    ((int64_t)SB_NS_PER_MS) /* of calls that wait */

#define S_EMPTY (1u << EMPTY)
#define S_ONE   (1u << ONE)
#define S_FULL  (1u << FULL)
#define S_ALL   (S_EMPTY | S_ONE | S_FULL)

static struct bus_queue *q;
static struct bus_pipe *end[2];
static struct bus_coord *coord;
static struct bus_pool *pool;
static struct bus_msg msg;

/* ------------------------------------------------------- queues, the bus -- */

static unsigned char *room(size_t bytes)
{
	return fl.guarded - bytes;
}

static const unsigned char *message(void)
{
	return fl.text; /* filled before the fork, for all instructions count */
}

static int do_put(void)
{
	return bus_queue_put(q, message(), fl.op->len, TICK_NS);
}

static int do_put_many(void)
{
	return bus_queue_put_many(q, message(), SMALL, 3, TICK_NS);
}

static int do_loan(void)
{
	int ret = bus_queue_loan(q, fl.op->len, &msg, TICK_NS);

	if (ret)
		return ret;
	memcpy(msg.data, message(), fl.op->len);
	return bus_queue_commit(q, &msg);
}

static int do_cancel(void)
{
	int ret = bus_queue_loan(q, fl.op->len, &msg, TICK_NS);

	return ret ? ret : bus_queue_cancel(q, &msg);
}

static int do_get(void)
{
	size_t len;
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		ret = bus_queue_get(q, room(fl.op->len), fl.op->len, &len,
				    TICK_NS);
		if (!ret && fl.op->kind == JOINABLE)
			ret = bus_queue_task_done(q);
	}
	return ret;
}

static int do_get_many(void)
{
	size_t lens[3];

	return bus_queue_get_many(q, room(3 * SMALL), SMALL, 3, lens, TICK_NS);
}

static int do_peek(void)
{
	int ret = bus_queue_peek(q, &msg, TICK_NS);

	if (ret)
		return ret;
	/* What it says is there can be read, and is of this message. */
	if (msg.cell == SB_BLOB_NONE && msg.len_bytes > SLOT_BYTES)
		fl.sh->crashed = SIGBUS;
	if (msg.len_bytes)
		memcpy(room(1), (unsigned char *)msg.data + msg.len_bytes - 1,
		       1);
	return bus_queue_release(q, &msg);
}

static int do_give_back(void)
{
	int ret = bus_queue_peek(q, &msg, TICK_NS);

	return ret ? ret : bus_queue_give_back(q, &msg);
}

static int do_join(void)
{
	return bus_queue_join(q, TICK_NS);
}

static int do_close(void)
{
	return bus_queue_close(q);
}

static int do_abort(void)
{
	return bus_queue_abort(q);
}

static int do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_QUEUE,
				 .events = BUS_POLL_IN | BUS_POLL_OUT };

	if (fl.op->kind == PIPE) {
		item.kind = BUS_POLL_PIPE;
		item.on.pipe = end[1];
	} else {
		item.on.queue = q;
	}
	return bus_wait(fl.bus, &item, 1, TICK_NS);
}

static int do_stats(void)
{
	struct bus_stats s = BUS_STATS_INIT;
	struct bus_queue_stats qs = BUS_QUEUE_STATS_INIT;
	int ret = bus_stats(fl.bus, &s);

	return ret ? ret : bus_queue_stats(q, &qs);
}

static int do_reap(void)
{
	return bus_reap(fl.bus);
}

static void hold(void)
{
	static struct bus_msg m[3];

	bus_queue_peek(q, &m[0], 0);
	bus_queue_loan(q, SMALL, &m[1], 0);
	bus_queue_loan(q, BIG, &m[2], 0);
}

static int do_leave(void)
{
	bus_queue_free(q);
	bus_close(fl.bus);
	return 0;
}

static int do_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *other;
	int ret;

	c.n_slots = 4;
	ret = bus_queue_open(fl.bus, "q", &c, &other);
	return ret ? ret : bus_queue_open(fl.bus, "another", &c, &other);
}

/* ----------------------------------------------------------------- pipes -- */

static struct bus_pipe_config pipe_settings(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = SLOT;
	return c;
}

static int open_side(uint32_t side)
{
	struct bus_pipe_config c = pipe_settings();

	return bus_pipe_open(fl.bus, "p", &c, (int)side, &end[side]);
}

static void open_mine(void)
{
	T_CHECK(open_side(1) == 0);
}

static int do_open_pipe(void)
{
	return open_side(1);
}

static int do_make_pipe(void)
{
	struct bus_pipe_config c = pipe_settings();
	struct bus_pipe *a, *b;

	return bus_pipe(fl.bus, &c, &a, &b);
}

static int do_send(void)
{
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++)
		ret = bus_pipe_send(end[1], message(), fl.op->len, TICK_NS);
	return ret;
}

static int do_send_many(void)
{
	return bus_pipe_send_many(end[1], message(), SMALL, 4, TICK_NS);
}

static int do_loan_part(void)
{
	struct bus_part part;
	int ret = bus_pipe_loan(end[1], fl.op->len, &part, TICK_NS);

	if (ret)
		return ret;
	memcpy(part.data, message(), part.len_bytes);
	ret = bus_pipe_commit(end[1], &part);
	return ret ? ret : bus_pipe_cancel(end[1]);
}

static int do_recv(void)
{
	size_t len;
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++)
		ret = bus_pipe_recv(end[1], room(fl.op->len), fl.op->len, &len,
				    TICK_NS);
	return ret;
}

static int do_recv_many(void)
{
	size_t lens[4];

	return bus_pipe_recv_many(end[1], room(4 * SMALL), SMALL, 4, lens,
				  TICK_NS);
}

static int do_peek_part(void)
{
	struct bus_part part;
	int ret = bus_pipe_peek(end[1], &part, TICK_NS);

	if (ret)
		return ret;
	if (part.len_bytes)
		memcpy(room(1), (unsigned char *)part.data + part.len_bytes - 1,
		       1);
	return bus_pipe_release(end[1], &part);
}

static int do_exchange(void)
{
	size_t len;

	return bus_pipe_exchange(end[1], message(), fl.op->len,
				 room(fl.op->len), fl.op->len, &len, TICK_NS);
}

static int do_close_pipe(void)
{
	bus_pipe_free(end[1]);
	return 0;
}

/* ------------------------------------------------ coordinator and worker -- */

static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	unsigned char last = 0;

	(void)ctx;
	if (len) /* all of it can be read */
		last = ((const volatile unsigned char *)req)[len - 1];
	if (last == 1)
		bus_reply_error(reply, "one");
	fl.sh->n_answered++;
	return bus_reply_put(reply, message(), fl.op->len);
}

static int wait_for_go(void *ctx)
{
	const struct timespec t = { .tv_nsec = 100000 };

	(void)ctx;
	while (!fl.sh->go && getppid() != 1)
		nanosleep(&t, NULL);
	return 0;
}

static int start_coord(int (*init)(void *ctx))
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = handler;
	c.init = init;
	c.window = 4;
	c.result_bytes = fl.op->len > SMALL ? fl.op->len : 0;
	return bus_coord_start(fl.bus, "r", &c, &coord);
}

static void coord_ready(void)
{
	T_CHECK(start_coord(wait_for_go) == 0);
}

static int do_submit(void)
{
	int ret = 0;

	for (uint64_t i = 0; i < 2 && !ret; i++)
		ret = bus_submit(coord, i, message(), fl.op->len, TICK_NS);
	return ret;
}

static bool both_answered(void *arg)
{
	(void)arg;
	return fl.sh->n_answered == 2;
}

static void coord_answered(void)
{
	coord_ready();
	T_CHECK(do_submit() == 0);
	fl.sh->go = 1;
	t_eventually(both_answered, NULL, 5000);
}

static int do_collect(void)
{
	struct bus_result r;
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		ret = bus_collect(coord, &r, TICK_NS);
		if (!ret && r.len_bytes)
			memcpy(room(1),
			       (const unsigned char *)r.data + r.len_bytes - 1,
			       1);
		if (!ret && r.kind == BUS_RESULT_ERROR)
			ret = r.code;
	}
	return ret;
}

static int do_submit_many(void)
{
	uint64_t ids[2] = { 0, 1 };
	int n = 0, ret = 0;

	for (; n < 2 && ret >= 0; n += ret)
		ret = bus_submit_many(coord, ids + n,
				      fl.text + (size_t)n * fl.op->len,
				      fl.op->len, (size_t)(2 - n), TICK_NS);
	return ret < 0 ? ret : 0;
}

static int do_collect_many(void)
{
	struct bus_result r[2];
	int n, ret = 0;

	n = bus_collect_many(coord, r, 2, TICK_NS);
	for (int i = 0; i < n; i++) {
		if (r[i].len_bytes)
			memcpy(room(1),
			       (const unsigned char *)r[i].data +
				       r[i].len_bytes - 1,
			       1);
		if (r[i].kind == BUS_RESULT_ERROR)
			ret = r[i].code;
	}
	return n < 0 ? n : ret;
}

static int do_stop(void)
{
	return bus_coord_stop(coord, TICK_NS);
}

static int do_start(void)
{
	return start_coord(NULL);
}

static struct bus_request_chan chan;

/* As the coordinator's, but a child of the shard. */
static void become_worker(void)
{
	struct bus_channel_spec spec = { 0 };
	int idx = bus_channel_find(fl.bus, "r");

	T_CHECK(idx >= 0);
	T_CHECK(bus_channel_attach(fl.bus, (uint32_t)idx, &chan.chan,
				   &chan.end) == 0);
	bus_request_plan(SMALL, fl.op->len > SMALL ? fl.op->len : 0, &spec,
			 &chan.layout);
	chan.bus = fl.bus;
	chan.idx = (uint32_t)idx;
}

static int do_work(void)
{
	const struct bus_worker w = { .c = &chan,
				      .coord = ld_acq(&chan.chan->coord),
				      .handler = handler };

	return bus_worker_run(&w);
}

/* ------------------------------------------------------------------ pool -- */

static void start_pool(void)
{
	static const bus_handler handlers[] = { handler };
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;

	c.handlers = handlers;
	c.n_handlers = 1;
	c.n_workers = 1;
	T_CHECK(bus_pool_start(fl.bus, "p", &c, &pool) == 0);
}

/* Results of BIG bytes come through the worker's pipe. */
static int do_pool(void)
{
	unsigned char in[3] = { 0, 2, 3 };
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[2];
	struct bus_result r;
	int ret = bus_pool_apply(pool, 0, message(), fl.op->len, &r, TICK_NS);

	if (!ret && r.len_bytes)
		memcpy(room(1), (const unsigned char *)r.data + r.len_bytes - 1,
		       1);
	if (!ret && r.kind == BUS_RESULT_ERROR)
		ret = r.code;
	if (!ret)
		ret = bus_pool_map(pool, 0, in, 1, room(3 * fl.op->len),
				   fl.op->len, 3, NULL, TICK_NS);
	if (ret >= 0)
		ret = bus_pool_stats(fl.bus, "p", &s, w, 2);
	return ret;
}

static int do_cancel_task(void)
{
	struct bus_future *f;
	int ret = bus_pool_submit(pool, 0, message(), fl.op->len, NULL, &f,
				  TICK_NS);

	if (ret)
		return ret;
	bus_future_cancel(f);
	return bus_future_wait(f, TICK_NS);
}

static int three(void *ctx, const void **item, size_t *len)
{
	uint32_t *n = ctx;

	if (*n == 3)
		return 0;
	++*n;
	*item = message();
	*len = fl.op->len;
	return 1;
}

static int do_imap(void)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	struct bus_imap *imap;
	struct bus_result r;
	uint32_t n = 0;
	int ret, code = 0;

	c.chunk = 2;
	ret = bus_pool_imap(pool, 0, three, &n, &c, &imap);
	if (ret)
		return ret;
	while (!(ret = bus_imap_next(imap, &r, TICK_NS))) {
		if (r.len_bytes)
			memcpy(room(1),
			       (const unsigned char *)r.data + r.len_bytes - 1,
			       1);
		if (r.kind == BUS_RESULT_ERROR)
			code = r.code;
	}
	bus_imap_free(imap);
	return ret == -ENODATA ? code : ret;
}

static int do_scale(void)
{
	int ret = bus_pool_scale(pool, 2);

	return ret ? ret : bus_pool_scale(pool, 1);
}

static int do_terminate(void)
{
	int ret = bus_pool_terminate(pool);

	return ret ? ret : bus_pool_join(pool, TICK_NS);
}

static int do_free_pool(void)
{
	bus_pool_free(pool);
	return 0;
}

/* -------------------------------------------------- what is there before -- */

static int dead_main(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(fl.bus) == 0);
	hold();
	kill(getpid(), SIGKILL);
	return 1;
}

void flip_fill_queue(void)
{
	uint32_t n = fl.state == EMPTY ? 0 : fl.state == ONE ? 1 : 4;

	q = t_queue(fl.bus, "q", 4, SLOT_BYTES,
		    fl.op->kind == JOINABLE ? BUS_QUEUE_JOINABLE : 0);
	for (uint32_t i = 0; i < n; i++)
		T_CHECK(bus_queue_put(q, message(), fl.op->len, 0) == 0);
	if (fl.op->dead)
		t_wait(t_fork(dead_main, NULL));
}

void flip_fill_pipe(void)
{
	uint32_t n = fl.state == EMPTY ? 0 : fl.state == ONE ? 1 : 64;

	T_CHECK(open_side(0) == 0);
	for (uint32_t i = 0; i < n; i++)
		if (bus_pipe_send(end[0], message(), fl.op->len, 0))
			break;
}

void flip_fill_requests(void)
{
	struct bus_channel *c;
	struct sb_ring_end e;
	int idx;

	fl.sh->go = 0;
	T_CHECK(start_coord(wait_for_go) == 0);
	T_CHECK(do_submit() == 0);
	idx = bus_channel_find(fl.bus, "r");
	T_CHECK(idx >= 0);
	T_CHECK(bus_channel_attach(fl.bus, (uint32_t)idx, &c, &e) == 0);
	sb_ring_close(&e);
}

/* ----------------------------------------------------------- all of them -- */

/* clang-format off */
const struct op flip_ops[] = {
	{ "put", QUEUE, S_ALL, SMALL, NULL, .fn = do_put },
	{ "put-blob", QUEUE, S_ALL, BIG, NULL, .fn = do_put },
	{ "put-many", QUEUE, S_ALL, SMALL, NULL, .fn = do_put_many },
	{ "loan-commit", QUEUE, S_ALL, SMALL, NULL, .fn = do_loan },
	/* a cell gets its position at commit, which waits for one */
	{ "loan-commit-blob", QUEUE, S_EMPTY, BIG, NULL, .fn = do_loan,
	  .sleeps = true },
	{ "loan-cancel", QUEUE, S_EMPTY, BIG, NULL, .fn = do_cancel },
	{ "get", QUEUE, S_ALL, SMALL, NULL, .fn = do_get },
	{ "get-blob", QUEUE, S_ONE | S_FULL, BIG, NULL, .fn = do_get },
	{ "get-many", QUEUE, S_ONE | S_FULL, SMALL, NULL, .fn = do_get_many },
	{ "get-done", JOINABLE, S_ONE | S_FULL, SMALL, NULL, .fn = do_get },
	{ "peek-release", QUEUE, S_ONE, SMALL, NULL, .fn = do_peek },
	{ "peek-release-blob", QUEUE, S_ONE | S_FULL, BIG, NULL,
	  .fn = do_peek },
	{ "give-back", QUEUE, S_ONE, BIG, NULL, .fn = do_give_back },
	{ "join", JOINABLE, S_ONE, SMALL, NULL, .fn = do_join },
	{ "close", QUEUE, S_ONE, SMALL, NULL, .fn = do_close },
	{ "abort", QUEUE, S_FULL, BIG, NULL, .fn = do_abort },
	{ "wait", QUEUE, S_ALL, SMALL, NULL, .fn = do_wait },
	{ "stats", QUEUE, S_ONE, BIG, NULL, .fn = do_stats },
	{ "reap", QUEUE, S_ONE | S_FULL, BIG, NULL,
	  .fn = do_reap, .dead = true },
	{ "leave", QUEUE, S_ONE, BIG, hold, .fn = do_leave },
	{ "attach", QUEUE, S_ONE, SMALL, NULL, .fn = do_reap, .fresh = true },
	{ "open-queue", QUEUE, S_ONE, SMALL, NULL, .fn = do_open_queue },
	{ "open-pipe", PIPE, S_EMPTY | S_ONE, SMALL, NULL, .fn = do_open_pipe },
	{ "make-pipe", PIPE, S_EMPTY, SMALL, NULL, .fn = do_make_pipe },
	{ "send", PIPE, S_EMPTY | S_ONE, SMALL, open_mine, .fn = do_send },
	{ "send-big", PIPE, S_EMPTY, MID, open_mine, .fn = do_send },
	{ "send-many", PIPE, S_EMPTY, SMALL, open_mine, .fn = do_send_many },
	{ "loan-part", PIPE, S_EMPTY, MID, open_mine, .fn = do_loan_part },
	{ "recv", PIPE, S_ALL, SMALL, open_mine, .fn = do_recv },
	{ "recv-big", PIPE, S_ONE | S_FULL, MID, open_mine, .fn = do_recv },
	{ "recv-many", PIPE, S_FULL, SMALL, open_mine, .fn = do_recv_many },
	{ "peek-part", PIPE, S_ONE, MID, open_mine, .fn = do_peek_part },
	{ "exchange", PIPE, S_ONE, SMALL, open_mine, .fn = do_exchange },
	{ "exchange-big", PIPE, S_ONE, MID, open_mine, .fn = do_exchange },
	{ "wait-pipe", PIPE, S_EMPTY | S_ONE, SMALL, open_mine, .fn = do_wait },
	{ "close-pipe", PIPE, S_ONE, SMALL, open_mine, .fn = do_close_pipe },
	{ "worker", REQUEST, S_ONE, SMALL, become_worker,
	  .fn = do_work, .sleeps = true },
	{ "worker-blob", REQUEST, S_ONE, BIG, become_worker,
	  .fn = do_work, .sleeps = true },
	{ "submit", COORD, S_EMPTY, SMALL, coord_ready, .fn = do_submit },
	{ "submit-blob", COORD, S_EMPTY, BIG, coord_ready, .fn = do_submit },
	{ "collect", COORD, S_EMPTY, SMALL, coord_answered, .fn = do_collect },
	{ "collect-blob", COORD, S_EMPTY, BIG, coord_answered,
	  .fn = do_collect },
	{ "submit-many", COORD, S_EMPTY, SMALL, coord_ready,
	  .fn = do_submit_many },
	{ "collect-many", COORD, S_EMPTY, SMALL, coord_answered,
	  .fn = do_collect_many },
	{ "collect-many-blob", COORD, S_EMPTY, BIG, coord_answered,
	  .fn = do_collect_many },
	{ "coord-start", COORD, S_EMPTY, SMALL, NULL, .fn = do_start },
	{ "coord-stop", COORD, S_EMPTY, BIG, coord_answered, .fn = do_stop },
	{ "pool", COORD, S_EMPTY, SMALL, start_pool, .fn = do_pool,
	  .channel_bytes = 640 << 10 },
	{ "pool-parcel", COORD, S_EMPTY, BIG, start_pool, .fn = do_pool,
	  .channel_bytes = 640 << 10 },
	{ "pool-cancel", COORD, S_EMPTY, BIG, start_pool,
	  .fn = do_cancel_task, .channel_bytes = 640 << 10 },
	{ "pool-imap", COORD, S_EMPTY, SMALL, start_pool, .fn = do_imap,
	  .channel_bytes = 640 << 10 },
	{ "pool-scale", COORD, S_EMPTY, SMALL, start_pool, .fn = do_scale,
	  .channel_bytes = 640 << 10 },
	{ "pool-terminate", COORD, S_EMPTY, SMALL, start_pool,
	  .fn = do_terminate, .channel_bytes = 640 << 10 },
	{ "pool-free", COORD, S_EMPTY, SMALL, start_pool,
	  .fn = do_free_pool, .channel_bytes = 640 << 10 },
};
/* clang-format on */
static_assert(lengthof(flip_ops) <= 64, "rows");

const uint32_t flip_n_ops = lengthof(flip_ops);
