/*
 * stop.c - SIGSTOP at every instruction, and SIGCONT later
 *
 * A victim is single-stepped into one public call, and after instruction k it
 * gets SIGSTOP.  Others go on: they put and get through the same queue, more
 * messages than it has slots, send and receive through the same pipe, are
 * served by the other worker; if it has workers itself they wait for it; nobody
 * takes the victim for dead.  Then it gets
 * SIGCONT, in a world that has changed, and goes on as if nothing had happened:
 * nobody died, so every message comes exactly once and those of a pipe in
 * order, and in the end nothing is left.
 *
 * Of the victims that recover a dead one: while the victim is stopped somebody
 * else does all of that, and the id of the dead may be somebody else's again
 * when it goes on.
 *
 * A case is operation/state, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>

#include "tests/bus/t_bus.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define N_MSGS     256
#define VICTIM_MSG 64 /* numbers of the victim's messages start here */
#define HELP_MSG   80
#define OTHER_MSG  100
#define SMALL      16u
#define BIG        600u
#define N_SLOTS    8u
#define N_REQUESTS 6
#define MAX_EP     8
#define K_MAX      200000
#define QUICK_N    20 /* points of a case */

enum state { EMPTY, ONE, FULL, N_STATES };

static const char *const state_names[] = { "empty", "one", "full" };
#define S_EMPTY (1u << EMPTY)
#define S_ONE   (1u << ONE)
#define S_FULL  (1u << FULL)
#define S_ALL   (S_EMPTY | S_ONE | S_FULL)

enum kind { QUEUE, PIPE, WORKER };

struct op {
	const char *name;
	enum kind kind;
	uint32_t states, len;
	void (*fn)(void);
	bool dead;   /* another one has died, holding something */
	bool fresh;  /* the victim is not attached before */
	bool closes; /* puts fail from some time on */
	bool crew;   /* the victim has workers */
	uint32_t channel_bytes;
	void (*before)(void);
};

static struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, over, stopped, resumed;
	_Atomic uint32_t put[N_MSGS], n_got[N_MSGS];
	_Atomic uint32_t wrong;             /* a line of this file */
	_Atomic uint32_t next_in, next_out; /* pipe: from, to the victim */
	_Atomic uint32_t n_inits, submitted, client_done, n_early;
	_Atomic uint32_t n_answers[N_REQUESTS];
} *sh;

static struct {
	_Atomic uint32_t next_case;

	struct row {
		struct tally t;
		_Atomic uint64_t ns, longest, elsewhere;
	} row[64];
} *all;

static struct {
	const struct op *op;
	enum state state;
	struct row *row;
	uint32_t n_helped;
	pid_t client;
	bool ended; /* before it could be stopped; t_step_status() says how */
} x;

static struct bus *bus;
static struct bus_queue *q;
static struct bus_pipe *end[2];
static struct bus_coord *coord;
static struct bus_pool *pool;
static unsigned char texts[4][BIG];

/* ------------------------------------------------------------- messages -- */

static void write_message(unsigned char *to, uint64_t i)
{
	t_fill(to, x.op->len, i);
	memcpy(to, &i, sizeof(i));
}

static void note_got(const unsigned char *from, size_t len)
{
	unsigned char should[BIG];
	uint64_t i;

	memcpy(&i, from, sizeof(i));
	if (len != x.op->len || i >= N_MSGS) {
		sh->wrong = __LINE__;
		return;
	}
	write_message(should, i);
	if (memcmp(should, from, len))
		sh->wrong = __LINE__;
	sh->n_got[i]++;
}

static int put_message(uint64_t i, int64_t timeout_ns)
{
	unsigned char buf[BIG];
	int ret;

	write_message(buf, i);
	ret = bus_queue_put(q, buf, x.op->len, timeout_ns);
	if (!ret)
		sh->put[i]++;
	return ret;
}

static int get_message(int64_t timeout_ns)
{
	unsigned char buf[BIG];
	size_t len;
	int ret = bus_queue_get(q, buf, sizeof(buf), &len, timeout_ns);

	if (!ret)
		note_got(buf, len);
	return ret;
}

/* ------------------------------------------------- what the victim does -- */

/* Without time limits: who stands still beside others that are busy may reach
 * any.  That it goes on is seen from outside. */

static void do_put(void)
{
	for (uint32_t i = 0; i < 2; i++)
		if (!bus_queue_put(q, texts[i], x.op->len, -1))
			sh->put[VICTIM_MSG + i]++;
		else if (!x.op->closes)
			sh->wrong = __LINE__;
}

static void do_put_many(void)
{
	unsigned char three[3 * SMALL];
	int n;

	for (uint32_t i = 0; i < 3; i++)
		memcpy(three + i * SMALL, texts[i], SMALL);
	n = bus_queue_put_many(q, three, SMALL, 3, -1);
	if (n < 1)
		sh->wrong = __LINE__;
	for (int i = 0; i < n; i++)
		sh->put[VICTIM_MSG + i]++;
}

static void do_commit(void)
{
	struct bus_msg m;

	if (bus_queue_loan(q, x.op->len, &m, -1)) {
		sh->wrong = __LINE__;
		return;
	}
	memcpy(m.data, texts[0], x.op->len);
	if (bus_queue_commit(q, &m))
		sh->wrong = __LINE__;
	else
		sh->put[VICTIM_MSG]++;
}

static void do_cancel(void)
{
	struct bus_msg m;

	if (bus_queue_loan(q, x.op->len, &m, -1) || bus_queue_cancel(q, &m))
		sh->wrong = __LINE__;
}

/* Others may be faster, so it may find nothing. */
static void do_get(void)
{
	for (int i = 0; i < 2; i++)
		get_message(x.state == EMPTY && !i ? -1 : 0);
}

static void do_get_many(void)
{
	unsigned char buf[3 * SMALL];
	size_t len[3];
	int n = bus_queue_get_many(q, buf, SMALL, 3, len, 0);

	for (int i = 0; i < n; i++)
		note_got(buf + i * SMALL, len[i]);
}

static void do_peek(void)
{
	struct bus_msg m;

	if (bus_queue_peek(q, &m, 0))
		return;
	note_got(m.data, m.len_bytes);
	if (bus_queue_release(q, &m))
		sh->wrong = __LINE__;
}

static void do_give_back(void)
{
	struct bus_msg m;

	if (!bus_queue_peek(q, &m, 0) && bus_queue_give_back(q, &m))
		sh->wrong = __LINE__;
}

static void do_close(void)
{
	bus_queue_close(q);
}

static void do_reap(void)
{
	bus_reap(bus);
}

static void do_leave(void)
{
	struct bus_msg m[3];

	bus_queue_peek(q, &m[0], 0);
	bus_queue_loan(q, SMALL, &m[1], 0);
	bus_queue_loan(q, BIG, &m[2], 0);
	bus_queue_free(q);
	bus_close(bus);
}

static void do_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *other;
	uint64_t v = 5;

	c.n_slots = 4;
	if (bus_queue_open(bus, "another", &c, &other) ||
	    t_put_u64(other, v, 0) || t_get_u64(other) != v)
		sh->wrong = __LINE__;
}

static void do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_QUEUE,
				 .events = BUS_POLL_IN };

	item.on.queue = q;
	if (bus_wait(bus, &item, 1, -1) != 1)
		sh->wrong = __LINE__;
}

/* Messages through a pipe have numbers in order, in each direction. */
static void send_next(struct bus_pipe *p, _Atomic uint32_t *next,
		      int64_t timeout_ns)
{
	unsigned char buf[BIG];
	int ret;

	write_message(buf, *next);
	ret = bus_pipe_send(p, buf, x.op->len, timeout_ns);
	if (!ret)
		*next += 1;
	else if (ret != -EAGAIN && ret != -ETIMEDOUT && !sh->over)
		sh->wrong = __LINE__; /* over: it has closed its end */
}

/* put: how many were received. */
static int recv_next(struct bus_pipe *p, uint32_t from, int64_t timeout_ns)
{
	unsigned char buf[BIG];
	uint64_t i;
	size_t len;
	int ret = bus_pipe_recv(p, buf, sizeof(buf), &len, timeout_ns);

	if (ret)
		return ret;
	memcpy(&i, buf, sizeof(i));
	if (len != x.op->len || i != sh->n_got[from])
		sh->wrong = __LINE__;
	sh->n_got[from]++;
	return 0;
}

/* Both slots hold one of BIG bytes. */
static int n_calls(void)
{
	return x.op->len == BIG ? 1 : 2;
}

static void do_send(void)
{
	for (int i = 0; i < n_calls(); i++)
		send_next(end[1], &sh->next_in, -1);
}

static void do_recv(void)
{
	for (int i = 0; i < n_calls(); i++)
		if (recv_next(end[1], 1, -1))
			sh->wrong = __LINE__;
}

static void do_close_pipe(void)
{
	bus_pipe_free(end[1]);
	end[1] = NULL;
}

static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len);
}

static void is_answer(const struct bus_result *r, uint64_t i)
{
	unsigned char should[BIG];

	write_message(should, i);
	if (r->kind != BUS_RESULT_OK || r->len_bytes != x.op->len ||
	    memcmp(r->data, should, x.op->len))
		sh->wrong = __LINE__;
}

static void start_coord(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = handler;
	c.window = 4;
	c.result_bytes = x.op->len;
	T_CHECK(bus_coord_start(bus, "r", &c, &coord) == 0);
}

static void do_coord(void)
{
	unsigned char req[BIG];
	struct bus_result r;

	for (uint64_t i = 0; i < 3; i++) {
		write_message(req, i);
		if (bus_submit(coord, i, req, x.op->len, -1))
			sh->wrong = __LINE__;
	}
	for (uint64_t i = 0; i < 3; i++)
		if (bus_collect(coord, &r, -1) || r.id != i)
			sh->wrong = __LINE__;
		else
			is_answer(&r, i);
	if (bus_coord_stop(coord, -1))
		sh->wrong = __LINE__;
}

static void start_pool(void)
{
	static const bus_handler handlers[] = { handler };
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;

	c.handlers = handlers;
	c.n_handlers = 1;
	c.n_workers = 1;
	T_CHECK(bus_pool_start(bus, "p", &c, &pool) == 0);
}

/* Results of BIG bytes come through the worker's pipe. */
static void do_pool(void)
{
	struct bus_future *f[3];
	unsigned char req[BIG];
	struct bus_result r;

	for (uint64_t i = 0; i < 3; i++) {
		write_message(req, i);
		if (bus_pool_submit(pool, 0, req, x.op->len, NULL, &f[i], -1))
			sh->wrong = __LINE__;
	}
	bus_future_cancel(f[2]);
	for (uint64_t i = 0; i < 3; i++) {
		if (bus_future_get(f[i], &r, -1))
			sh->wrong = __LINE__;
		else if (i < 2 || r.kind != BUS_RESULT_CANCELED)
			is_answer(&r, i); /* it may have been over */
		bus_future_free(f[i]);
	}
}

/* clang-format off */
static const struct op ops[] = {
	{ "put", QUEUE, S_ALL, SMALL, .fn = do_put },
	{ "put-blob", QUEUE, S_ALL, BIG, .fn = do_put },
	{ "put-many", QUEUE, S_ALL, SMALL, .fn = do_put_many },
	{ "loan-commit", QUEUE, S_ALL, SMALL, .fn = do_commit },
	{ "loan-commit-blob", QUEUE, S_EMPTY, BIG, .fn = do_commit },
	{ "loan-cancel", QUEUE, S_EMPTY | S_ONE, SMALL, .fn = do_cancel },
	{ "get", QUEUE, S_ALL, SMALL, .fn = do_get },
	{ "get-blob", QUEUE, S_ALL, BIG, .fn = do_get },
	{ "get-many", QUEUE, S_ONE | S_FULL, SMALL, .fn = do_get_many },
	{ "peek-release", QUEUE, S_ONE | S_FULL, SMALL, .fn = do_peek },
	{ "peek-release-blob", QUEUE, S_ONE, BIG, .fn = do_peek },
	{ "give-back", QUEUE, S_ONE | S_FULL, SMALL, .fn = do_give_back },
	{ "close", QUEUE, S_ONE, SMALL, .fn = do_close, .closes = true },
	{ "wait", QUEUE, S_EMPTY | S_ONE, SMALL, .fn = do_wait },
	{ "reap", QUEUE, S_ONE | S_FULL, BIG, .fn = do_reap, .dead = true },
	{ "attach", QUEUE, S_ONE, SMALL, .fn = do_reap, .fresh = true },
	{ "leave", QUEUE, S_ONE, BIG, .fn = do_leave },
	{ "open-queue", QUEUE, S_ONE, SMALL, .fn = do_open_queue },
	{ "send", PIPE, S_EMPTY | S_ONE, SMALL, .fn = do_send },
	{ "send-big", PIPE, S_EMPTY | S_ONE, BIG, .fn = do_send },
	{ "recv", PIPE, S_ONE | S_FULL, SMALL, .fn = do_recv },
	{ "recv-big", PIPE, S_EMPTY | S_ONE, BIG, .fn = do_recv },
	{ "close-pipe", PIPE, S_ONE, SMALL, .fn = do_close_pipe,
	  .closes = true },
	{ "worker", WORKER, S_EMPTY, SMALL, .fn = NULL },
	{ "worker-blob", WORKER, S_EMPTY, BIG, .fn = NULL },
	{ "coord", QUEUE, S_ONE, SMALL, .fn = do_coord,
	  .crew = true, .before = start_coord },
	{ "coord-blob", QUEUE, S_ONE, BIG, .fn = do_coord,
	  .crew = true, .before = start_coord },
	{ "pool", QUEUE, S_ONE, SMALL, .fn = do_pool,
	  .crew = true, .before = start_pool, .channel_bytes = 640 << 10 },
	{ "pool-parcel", QUEUE, S_ONE, BIG, .fn = do_pool,
	  .crew = true, .before = start_pool, .channel_bytes = 640 << 10 },
};
/* clang-format on */
#define N_CASES (lengthof(ops) * N_STATES)
static_assert(lengthof(ops) <= 64, "rows");

/* -------------------------------------------------------- the processes -- */

static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = x.op->channel_bytes ? x.op->channel_bytes : 32768;
	c.max_message_bytes = 1024;
	c.blob_bytes = 32768;
	return c;
}

static int open_side(int side)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 512; /* one of BIG bytes fits both */
	return bus_pipe_open(bus, "p", &c, side, &end[side]);
}

/* Without a heartbeat only what others do wakes it, and it does the same each
 * time. */
static void ready_to_stop(void)
{
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	t_step_offer(&sh->victim_pid, &sh->seized);
}

static int victim_main(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < lengthof(texts); i++)
		write_message(texts[i], VICTIM_MSG + i);
	if (!x.op->fresh)
		T_CHECK(bus_check(bus) == 0);
	if (x.op->kind == PIPE)
		T_CHECK(open_side(1) == 0);
	if (x.op->before)
		x.op->before();
	ready_to_stop();
	x.op->fn();
	sh->over = 1;
	bus_pool_free(pool);
	bus_pipe_free(end[1]);
	if (x.op->fn != do_leave)
		bus_close(bus);
	return 0;
}

static int init_worker(void *ctx)
{
	(void)ctx;
	if (sh->n_inits++ == 0)
		ready_to_stop();
	return 0;
}

static void collect_one(int64_t timeout_ns)
{
	struct bus_result r;
	uint64_t i = UINT64_MAX;
	int ret = bus_collect_any(coord, &r, timeout_ns);

	if (ret == -EAGAIN || ret == -ETIMEDOUT)
		return;
	if (!ret && r.kind == BUS_RESULT_OK && r.len_bytes == x.op->len)
		memcpy(&i, r.data, sizeof(i));
	if (i >= N_REQUESTS || i != r.id)
		sh->wrong = __LINE__;
	else
		sh->n_answers[i]++;
}

/* Two workers, of which one is stopped with at most one request. */
static int client_main(void *arg)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	unsigned char req[BIG];

	(void)arg;
	c.handler = handler;
	c.init = init_worker;
	c.n_workers = 2;
	c.window = 8;
	c.result_bytes = x.op->len;
	T_CHECK(bus_check(bus) == 0);
	T_CHECK(bus_coord_start(bus, "r", &c, &coord) == 0);
	for (uint64_t i = 0; i < N_REQUESTS; i++) {
		write_message(req, i);
		T_CHECK(bus_submit(coord, i, req, x.op->len, -1) == 0);
	}
	sh->submitted = 1;
	while (!sh->stopped)
		point_nap();
	for (int i = 0; i < N_REQUESTS - 1; i++)
		collect_one(POINT_HUNG_NS);
	for (int i = 0; i < N_REQUESTS; i++)
		sh->n_early += sh->n_answers[i];
	sh->client_done = 1;
	while (!sh->resumed)
		point_nap();
	while (bus_coord_outstanding(coord) && !sh->wrong)
		collect_one(POINT_HUNG_NS);
	T_CHECK(bus_coord_stop(coord, -1) == 0);
	bus_close(bus);
	return 0;
}

static int dead_main(void *arg)
{
	struct bus_msg m[3];

	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	bus_queue_peek(q, &m[0], 0);
	bus_queue_loan(q, SMALL, &m[1], 0);
	bus_queue_loan(q, BIG, &m[2], 0);
	kill(getpid(), SIGKILL);
	return 1;
}

/* ------------------------------------------------------------- stepping -- */

static bool is_there(void)
{
	return sh->victim_pid != 0;
}

static void fill(void)
{
	uint32_t n = x.state == EMPTY ? 0 : x.state == ONE ? 1 : N_SLOTS;

	if (x.op->kind == PIPE) {
		T_CHECK(open_side(0) == 0);
		for (uint32_t i = 0; i < n; i++)
			send_next(end[0], &sh->next_out, 0);
		return;
	}
	q = t_queue(bus, "q", N_SLOTS, 24, 0);
	for (uint32_t i = 0; i < n; i++)
		T_CHECK(put_message(i, 0) == 0);
	if (x.op->dead)
		t_wait(t_fork(dead_main, NULL));
}

static void start(void)
{
	struct bus_config c = bus_settings();

	memset(sh, 0, sizeof(*sh));
	x.n_helped = 0;
	x.client = 0;
	bus = t_bus_with(NULL, &c);
	if (x.op->kind == WORKER) {
		x.client = t_fork(client_main, NULL);
	} else {
		fill();
		t_fork(victim_main, NULL);
	}
	point_until(is_there, "there is no victim");
	walk.victim = sh->victim_pid;
	if (t_step_seize(walk.victim, &sh->seized))
		point_cannot("seize");
}

/* Give it what it waits for: room, or a message if there is none.  No more, or
 * one who puts finds no room because it had to wait for the processor. */
static void give(void)
{
	if (x.op->kind == PIPE) {
		if (x.op->fn == do_recv)
			send_next(end[0], &sh->next_out, 0);
		else
			recv_next(end[0], 0, 0);
	} else if (x.op->kind == QUEUE && x.n_helped < 16) {
		if (x.state == FULL)
			get_message(0);
		else if (!t_queue_stats(q).n_waiting &&
			 !put_message(HELP_MSG + x.n_helped, 0))
			x.n_helped++;
	}
}

static enum t_stop help(uint32_t n)
{
	if (!t_parked(walk.victim))
		return T_STEPPED;
	/* Not at once: its client may be about to give it something. */
	if (x.op->kind == WORKER)
		return n >= 20 ? T_BLOCKED : T_STEPPED;
	give();
	return T_STEPPED;
}

/* --------------------------------------------------------------- others -- */

static void others_use_queue(void)
{
	uint32_t n = 2 * N_SLOTS + 2;
	int ret;

	if (x.op->closes) {
		ret = put_message(OTHER_MSG, 0);
		if (ret && ret != -EPIPE && ret != -EAGAIN)
			BAD(wrong, "a put beside a close");
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		ret = put_message(OTHER_MSG + i, 0);
		if (ret == -EAGAIN && get_message(POINT_HUNG_NS)) {
			BAD(hung, "nothing comes out while it is stopped");
			return;
		}
		if (ret == -EAGAIN)
			ret = put_message(OTHER_MSG + i, POINT_HUNG_NS);
		if (ret) {
			BAD(hung, "nothing goes in while it is stopped");
			return;
		}
		if (get_message(POINT_HUNG_NS)) {
			BAD(hung, "nothing comes out while it is stopped");
			return;
		}
	}
}

static void others_use_pipe(void)
{
	for (int i = 0; i < 4; i++) {
		if (!x.op->closes)
			send_next(end[0], &sh->next_out, 0);
		recv_next(end[0], 0, 0);
	}
}

static bool client_served(void)
{
	return sh->client_done;
}

static void others_go_on(void)
{
	struct bus *another = NULL;
	uint32_t n = t_stats(bus).n_endpoints;

	/* its workers may leave, and do not wait to be reaped by it */
	if (bus_reap(bus) > 0 && !x.op->dead && !x.op->crew)
		BAD(wrong, "it was taken for dead");
	if (!x.op->fresh && !x.op->dead && x.op->fn != do_leave &&
	    x.op->kind != WORKER && !x.op->crew &&
	    t_stats(bus).n_endpoints != n)
		BAD(wrong, "an endpoint went");
	if (x.op->kind == QUEUE)
		others_use_queue();
	else if (x.op->kind == PIPE)
		others_use_pipe();
	else if (!point_soon(client_served))
		BAD(hung, "the other worker does not serve");
	else if (sh->n_early < N_REQUESTS - 1)
		BAD(hung, "it has more than one request in hand");
	/* who comes may get the id of one that is gone */
	if (bus_attach(bus, &another))
		BAD(leaked, "no endpoint is free");
	bus_close(another);
}

/* -------------------------------------------------------------- the end -- */

static bool is_over(void)
{
	if (!sh->over)
		give();
	return sh->over;
}

static bool alone(void)
{
	bus_reap(bus);
	return t_stats(bus).n_endpoints == 1;
}

static void check_queue(void)
{
	while (get_message(0) == 0)
		;
	for (uint32_t i = 0; i < N_MSGS; i++) {
		if (sh->n_got[i] > sh->put[i])
			BAD(duplicated, "a message came too often");
		if (sh->n_got[i] < sh->put[i])
			BAD(lost, "a message did not come");
	}
	if (t_queue_stats(q).n_waiting || t_queue_stats(q).n_held)
		BAD(leaked, "a slot is not free");
	if (t_stats(bus).blob_bytes_used)
		BAD(leaked, "a cell is not free");
}

static void check_pipe(void)
{
	while (recv_next(end[0], 0, 0) == 0)
		;
	if (sh->n_got[0] != sh->next_in)
		BAD(lost, "what it had sent did not come");
	if (sh->n_got[1] > sh->next_out)
		BAD(duplicated, "it received more than was sent");
}

static void finish(void)
{
	int status;

	if (x.op->kind == WORKER) {
		sh->resumed = 1;
		status = t_wait(x.client);
		for (int i = 0; i < N_REQUESTS; i++) {
			if (sh->n_answers[i] > 1)
				BAD(duplicated, "answered twice");
			if (sh->n_answers[i] < 1)
				BAD(lost, "not answered");
		}
	} else {
		if (!point_within(2 * POINT_HUNG_NS, is_over)) {
			BAD(hung, "it does not go on");
			if (!x.ended)
				kill(walk.victim, SIGKILL);
		}
		status = x.ended ? t_step_status() : t_wait(walk.victim);
	}
	if (status)
		point_bad(torture_verdict(status), "it ended with %d", status);
	if (x.op->kind == QUEUE)
		check_queue();
	else if (x.op->kind == PIPE)
		check_pipe();
	if (sh->wrong)
		BAD(wrong, "%s:%u says so", __FILE__, (unsigned)sh->wrong);
	bus_pipe_free(end[0]);
	if (!point_within(2 * POINT_HUNG_NS, alone))
		BAD(leaked, "an endpoint is left");
	bus_close(bus);
	end[0] = end[1] = NULL;
}

/* It may end instead: a step that does not come where it should takes it past
 * the end of the operation, and there it sleeps until its workers are gone. */
static void stop_victim(enum t_stop stop)
{
	int ret = stop == T_ENDED ? -ESRCH : t_step_stop(walk.victim, stop);

	x.ended = ret == -ESRCH;
	if (ret && !x.ended)
		BAD(wrong, "it cannot be stopped: %s", strerror(-ret));
}

/* One point; the first of a case is when the operation is over, and measures
 * it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("nobody gets ready");
	start();
	point_tick(1000);
	stop = walk_to(0, k);
	point_watch("others hang while it is stopped");
	torture_point(&x.row->t);
	stop_victim(stop);
	sh->stopped = 1;
	others_go_on();
	/* As if it got the processor late. */
	for (uint32_t i = 0; k % 2 && i < 2 * N_SLOTS && !sh->over; i++)
		give();
	if (!x.ended)
		kill(walk.victim, SIGCONT);
	point_watch("somebody hangs when it goes on");
	finish();
	return walk.there;
}

static void run_point(long k)
{
	if (!walk_point(run_once, k))
		x.row->elsewhere++;
}

static int case_main(void *arg)
{
	long step;

	(void)arg;
	walk_init(K_MAX);
	walk.over = &sh->over;
	walk.help = help;
	walk.may_end = true;
	walk_forget();
	run_point(K_MAX);
	if (walk.len > (long)x.row->longest)
		x.row->longest = (uint64_t)walk.len;
	if (torture->at >= 0) {
		if (torture_has(torture->at < walk.len))
			run_point(torture->at);
		return 0;
	}
	step = walk_stride(QUICK_N);
	for (long k = (long)torture->seed % step; k < walk.len; k += step)
		run_point(k);
	return 0;
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();
	int status;

	x.op = &ops[c / N_STATES];
	x.state = c % N_STATES;
	x.row = &all->row[x.op - ops];
	if (!(x.op->states & 1u << x.state) ||
	    !point_case(&x.row->t, "%s/%s", x.op->name, state_names[x.state]))
		return;
	status = t_wait(t_fork(case_main, NULL));
	if (status)
		point_bad(torture_verdict(status),
			  "the case did not come to its end (%d)", status);
	x.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	sh = t_shared(sizeof(*sh));
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	return 0;
}

int stop_main(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	good = t_each_cpu(shard_main, NULL);
	torture_say("%-18s %7s %7s %5s %9s %8s\n", "operation", "instr",
		    "points", "bad", "elsewhere", "seconds");
	for (size_t o = 0; o < lengthof(ops); o++) {
		const struct row *r = &all->row[o];

		if (r->t.points)
			torture_say(
				"%-18s %7u %7u %5u %9u %8.1f\n", ops[o].name,
				(unsigned)r->longest, (unsigned)r->t.points,
				(unsigned)tally_bad(&r->t),
				(unsigned)r->elsewhere, (double)r->ns / 1e9);
	}
	return good ? 0 : 1;
}
