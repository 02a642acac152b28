/*
 * kill_bus.c - SIGKILL after every instruction of every operation of the bus
 *
 * A victim process is single-stepped with ptrace through one public call, and
 * killed after instruction k.  Then the survivors recover it by the means that
 * a user has (bus_reap, a call of the coordinator) and must go on: a message
 * whose put returned comes out once, one whose put had not returned at most
 * once, one that was got and not finished comes again, who sleeps wakes up
 * when there is something for it, each request is answered once, and all
 * slots, cells and ids can be used again.
 *
 * Each point has a bus of its own and these processes:
 *
 *	we       a shard: makes the bus, steps and kills the victim, audits.
 *	         With peer "poll" we are the survivor and only ever try.
 *	victim   our child, or a worker of the client
 *	peer     sleeps in a call before the victim starts, with a futex or with
 *	         io_uring.  It has no heartbeat: nothing but a wake wakes it.
 *	client   a coordinator, where the victim is its worker
 *
 * Everything is pinned to one CPU, because a step takes 20 us there and 80 us
 * across two of them; there is a shard for each CPU.  A victim that blocks is
 * killed in its sleep, or, for later points, given what it waits for.
 *
 * With --quick there are some QUICK_N points a case, at equal distances, the
 * first by the seed.  --full takes every instruction, for half an hour.  A case
 * is operation/state/peer, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "tests/bus/t_bus.h"
#include "tools/torture/audit.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define N_MSGS     64
#define VICTIM_MSG 32 /* numbers of the victim's messages start here */
#define HELP_MSG   48 /* ... and of those that unblock it */
#define PEER_MSG   60
#define EXTRA_MSG  61
#define OTHER_MSG  62
#define SMALL      16u
#define BIG        600u /* in a cell */
#define N_REQUESTS 2
#define N_MANY     4 /* in one call */
#define WINDOW     4
#define MAX_EP     6
#define N_BIG      4u /* cells of the largest class, see make_bus() */
#define K_MAX      200000
#define QUICK_N    20 /* points of a case */

enum state { EMPTY, ONE, FULL, WRAP, N_STATES };

enum peer { POLL, FUTEX, URING, N_PEERS };

enum sleep_in { NOWHERE, GET, PUT, JOIN };

/* of a message: by its writer, and by the victim as a reader */
enum { NOT, BEGUN, DONE };

enum { UNTOUCHED, HELD, FINISHING, FINISHED };

static const char *const state_names[] = { "empty", "one", "full", "wrap" };
static const char *const peer_names[] = { "poll", "futex", "uring" };

struct op {
	const char *name;
	uint32_t states; /* bit set of enum state */
	uint32_t n_slots;
	uint32_t flags; /* of the queue */
	uint32_t len;   /* of its messages */
	void (*before)(void);
	void (*fn)(void);
	/* in which call a peer sleeps, by state; nowhere: only polled */
	enum sleep_in sleep_in[N_STATES];
	/* the victim is a worker of a client */
	bool worker;
	bool pair; /* of two workers */
	uint32_t kind;
	uint32_t request_len;
	uint32_t max_attempts;
	bool many;   /* requests in one call, and workers that prefetch */
	bool coord;  /* the victim is a coordinator */
	bool reaps;  /* it recovers another that is dead */
	bool drops;  /* messages may be dropped */
	bool closes; /* the queue */
	bool named;  /* on a bus of the file system; is it made before? */
	bool made;
};

/* Of one point, seen by all its processes. */
static struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, go, over;
	_Atomic uint32_t put[N_MSGS], fin[N_MSGS];
	_Atomic uint32_t n_got[N_MSGS];
	_Atomic uint32_t wrong;
	_Atomic uint32_t getting; /* the victim is in a get */
	_Atomic uint32_t n_held;  /* messages that it got before */
	unsigned char buf[4][BIG];
	_Atomic uint32_t peer_ready, peer_done;
	_Atomic int32_t peer_ret;
	_Atomic uint32_t submitted, client_ready, client_done;
	_Atomic uint32_t n_inits, init_id[2];
	_Atomic uint32_t had_victim;
	_Atomic uint32_t n_answers[N_MANY];
	_Atomic uint32_t n_entered; /* handlers of the victim */
	_Atomic uint32_t n_blamed;
} *sh;

struct row {
	struct tally t;
	_Atomic uint64_t ns, longest, elsewhere;
};

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[64][N_PEERS];
} *all;

/* Of the point that this shard is at. */
static struct {
	const struct op *op;
	enum state state;
	enum peer peer;
	struct row *row;
	pid_t peer_pid, client;
	bool our_child;
	uint32_t n_unblocked;
} x;

static struct bus *bus;
static struct bus_queue *q;
static struct bus_coord *coord;
static unsigned char big[8][BIG]; /* messages made beforehand */

/* ------------------------------------------------------------- messages -- */

static void write_message(unsigned char *to, uint32_t len, uint64_t i)
{
	t_fill(to, len, i);
	memcpy(to, &i, sizeof(i));
}

/* Its number, or N_MSGS when it is garbage. */
static uint64_t read_message(const unsigned char *from, size_t len)
{
	unsigned char should[BIG];
	uint64_t i;

	memcpy(&i, from, sizeof(i));
	if (len != x.op->len || i >= N_MSGS)
		return N_MSGS;
	write_message(should, x.op->len, i);
	return memcmp(should, from, len) ? N_MSGS : i;
}

static int put_message(uint64_t i, int64_t timeout_ns)
{
	unsigned char buf[BIG];
	int ret;

	write_message(buf, x.op->len, i);
	ret = bus_queue_put(q, buf, x.op->len, timeout_ns);
	if (!ret)
		sh->put[i] = DONE;
	return ret;
}

static int get_message(int64_t timeout_ns)
{
	unsigned char buf[BIG];
	size_t len;
	uint64_t i;
	int ret = bus_queue_get(q, buf, sizeof(buf), &len, timeout_ns);

	if (ret)
		return ret;
	i = read_message(buf, len);
	if (i >= N_MSGS)
		sh->wrong++;
	else
		sh->n_got[i]++;
	if (x.op->flags & BUS_QUEUE_JOINABLE)
		ret = bus_queue_task_done(q);
	return ret;
}

/* -------------------------------------------------------------- victims -- */

/* Stop here until the tracer has us; then every instruction counts. */
static void ready_to_die(void)
{
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	t_step_offer(&sh->victim_pid, &sh->seized);
}

static void put_begins(uint32_t i, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		sh->put[VICTIM_MSG + i + k] = BEGUN;
}

static void put_ends(uint32_t i, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		sh->put[VICTIM_MSG + i + k] = DONE;
}

static void do_put(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		put_begins(i, 1);
		if (!bus_queue_put(q, big[i], x.op->len, -1))
			put_ends(i, 1);
	}
}

static void do_put_many(void)
{
	unsigned char three[3 * SMALL];
	int n;

	for (uint32_t i = 0; i < 3; i++)
		memcpy(three + i * SMALL, big[i], SMALL);
	put_begins(0, 3);
	n = bus_queue_put_many(q, three, SMALL, 3, -1);
	if (n > 0)
		put_ends(0, (uint32_t)n);
	for (uint32_t i = n > 0 ? (uint32_t)n : 0; i < 3; i++)
		sh->put[VICTIM_MSG + i] = NOT;
}

static void do_commit(void)
{
	struct bus_msg m;

	for (uint32_t i = 0; i < 2; i++) {
		if (bus_queue_loan(q, x.op->len, &m, -1))
			continue;
		memcpy(m.data, big[i], x.op->len);
		put_begins(i, 1);
		if (!bus_queue_commit(q, &m))
			put_ends(i, 1);
	}
}

static void do_cancel(void)
{
	struct bus_msg m;

	for (uint32_t i = 0; i < 2; i++)
		if (!bus_queue_loan(q, x.op->len, &m, -1))
			bus_queue_cancel(q, &m);
}

/* Once it waits on an empty queue, and once more if there was something. */
static void do_get(void)
{
	uint32_t n = x.state == EMPTY ? 1 : 2;
	size_t len;

	for (uint32_t k = 0; k < n; k++) {
		uint64_t i;

		sh->getting = k + 1;
		if (bus_queue_get(q, sh->buf[k], BIG, &len,
				  k && x.state == ONE ? 0 : -1))
			continue;
		memcpy(&i, sh->buf[k], 8);
		if (x.op->flags & BUS_QUEUE_JOINABLE) {
			sh->fin[i % N_MSGS] = FINISHING;
			sh->getting = 0;
			bus_queue_task_done(q);
		}
		sh->fin[i % N_MSGS] = FINISHED;
		sh->getting = 0;
	}
}

static void do_get_many(void)
{
	int n;

	sh->getting = 1;
	n = bus_queue_get_many(q, sh->buf, BIG, 3, (size_t[3]){ 0 }, -1);
	for (int k = 0; k < n; k++) {
		uint64_t i;

		memcpy(&i, sh->buf[k], 8);
		sh->fin[i % N_MSGS] = FINISHED;
	}
	sh->getting = 0;
}

static void do_release(void)
{
	uint32_t n = x.state == EMPTY || x.state == ONE ? 1 : 2;
	struct bus_msg m;

	for (uint32_t k = 0; k < n; k++) {
		uint64_t i;

		if (bus_queue_peek(q, &m, -1))
			continue;
		memcpy(&i, m.data, 8);
		sh->fin[i % N_MSGS] = FINISHING;
		bus_queue_release(q, &m);
		sh->fin[i % N_MSGS] = FINISHED;
	}
}

static void do_give_back(void)
{
	struct bus_msg m;

	if (!bus_queue_peek(q, &m, -1))
		bus_queue_give_back(q, &m);
}

static void got_two(void)
{
	size_t len;

	for (uint32_t k = 0; k < 2; k++)
		if (!bus_queue_get(q, sh->buf[k], BIG, &len, 0))
			sh->n_held++;
}

static void do_task_done(void)
{
	for (uint32_t k = 0; k < sh->n_held; k++) {
		uint64_t i;

		memcpy(&i, sh->buf[k], 8);
		sh->fin[i % N_MSGS] = FINISHING;
		bus_queue_task_done(q);
		sh->fin[i % N_MSGS] = FINISHED;
	}
}

static void do_close(void)
{
	bus_queue_close(q);
}

static void do_abort(void)
{
	bus_queue_abort(q);
}

/* Something of everything that one can hold. */
static void hold(void)
{
	static struct bus_msg m;

	bus_queue_peek(q, &m, 0);
	bus_queue_loan(q, SMALL, &m, 0);
	bus_queue_loan(q, BIG, &m, 0);
}

static void do_leave(void)
{
	bus_queue_free(q);
	bus_close(bus);
}

/* The first call after a fork. */
static void do_attach(void)
{
	bus_reap(bus);
}

static void do_reap(void)
{
	bus_reap(bus);
}

static void do_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q2;

	c.n_slots = 4;
	bus_queue_open(bus, "another", &c, &q2);
}

static struct bus_config bus_settings(void);

static void do_create(void)
{
	struct bus_config c = bus_settings();
	struct bus *b;

	bus_create(t_name("k"), &c, &b);
}

static void do_open(void)
{
	struct bus_config c = bus_settings();
	struct bus *b;

	bus_open(t_name("k"), &c, &b);
}

static struct bus *named;

static void make_named(void)
{
	struct bus_config c = bus_settings();

	T_CHECK(bus_create(t_name("k"), &c, &named) == 0);
}

static void do_close_named(void)
{
	bus_close(named);
}

static void do_attach_more(void)
{
	struct bus *b;

	bus_attach(bus, &b);
}

static void do_join(void)
{
	bus_queue_join(q, -1);
}

/* It takes nothing: a wake that it got is another's. */
static void do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_QUEUE };

	item.events = x.state == FULL ? BUS_POLL_OUT : BUS_POLL_IN;
	item.on.queue = q;
	bus_wait(bus, &item, 1, -1);
}

/* ------------------------------------------------ coordinators, workers -- */

enum { INLINE, ERROR, LARGE };

/* Requests begin with their number. */
static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	unsigned char *to;
	uint64_t i;

	(void)ctx;
	if (getpid() == sh->victim_pid)
		sh->n_entered++;
	memcpy(&i, req, sizeof(i));
	if (len != x.op->request_len)
		i = 99;
	switch (x.op->kind) {
	case INLINE:
		return bus_reply_put(reply, &i, sizeof(i));
	case ERROR:
		bus_reply_error(reply, "no");
		return 7 + (int)i;
	default:
		to = bus_reply_room(reply, BIG);
		if (!to)
			return 1;
		memcpy(to, &i, sizeof(i));
		return 0;
	}
}

/* Of two workers the one with the lower id is the victim: it is rung first. */
static int init_worker(void *ctx)
{
	uint32_t n;

	(void)ctx;
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	if (!x.op->worker)
		return 0;
	n = sh->n_inits++;
	if (n >= 2)
		return 0;
	sh->init_id[n] = bus->id;
	if (!x.op->pair) {
		if (n == 0)
			ready_to_die();
		return 0;
	}
	while (sh->n_inits < 2 || !sh->init_id[0] || !sh->init_id[1])
		point_nap();
	if (bus->id < sh->init_id[!n])
		ready_to_die();
	return 0;
}

static void start_coord(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = handler;
	c.init = init_worker;
	c.n_workers = x.op->pair ? 2 : 1;
	c.window = WINDOW;
	c.prefetch = x.op->many ? 64 : 1;
	c.max_attempts = x.op->max_attempts;
	c.result_bytes = x.op->kind == LARGE ? BIG : 0;
	T_CHECK(bus_coord_start(bus, "r", &c, &coord) == 0);
}

static int submit(uint64_t i)
{
	unsigned char req[BIG];

	t_fill(req, sizeof(req), i);
	memcpy(req, &i, sizeof(i));
	return bus_submit(coord, i, req, x.op->request_len, POINT_HUNG_NS);
}

static uint32_t n_requests(void)
{
	return x.op->many ? N_MANY : N_REQUESTS;
}

/* Returns how many went. */
static int submit_many(uint64_t from, uint32_t n, int64_t timeout_ns)
{
	static unsigned char reqs[2 * N_MANY * BIG];
	uint64_t ids[2 * N_MANY];
	uint32_t len = x.op->request_len;

	for (uint64_t i = 0; i < n; i++) {
		ids[i] = from + i;
		t_fill(reqs + i * len, len, ids[i]);
		memcpy(reqs + i * len, &ids[i], sizeof(ids[i]));
	}
	return bus_submit_many(coord, ids, reqs, len, n, timeout_ns);
}

static void submit_all(void)
{
	uint32_t done = 0;

	while (x.op->many && done < N_MANY) {
		int n = submit_many(done, N_MANY - done,
				    POINT_HUNG_NS);

		T_CHECK(n > 0);
		done += (uint32_t)n;
	}
	for (uint64_t i = 0; i < N_REQUESTS && !x.op->many; i++)
		T_CHECK(submit(i) == 0);
}

/* The victim takes them in order.  It was at the last one of which it called
 * the handler, or had begun with the next one; the others are not to blame. */
static bool rightly_blamed(const struct bus_result *r)
{
	if (x.op->max_attempts != 1 || sh->n_blamed++)
		return false;
	return !x.op->many || r->id == sh->n_entered ||
	       r->id + 1 == sh->n_entered;
}

static bool right_answer(const struct bus_result *r)
{
	uint64_t i = UINT64_MAX;

	if (r->kind == BUS_RESULT_DEATH)
		return rightly_blamed(r);
	if (x.op->kind == ERROR)
		return r->kind == BUS_RESULT_ERROR &&
		       r->code == 7 + (int)r->id && r->len_bytes == 2 &&
		       !memcmp(r->data, "no", 2);
	if (r->kind != BUS_RESULT_OK ||
	    r->len_bytes != (x.op->kind == LARGE ? BIG : 8))
		return false;
	memcpy(&i, r->data, sizeof(i));
	return i == r->id;
}

static void answered(const struct bus_result *r)
{
	if (r->id >= n_requests() || !right_answer(r))
		sh->wrong++;
	else
		sh->n_answers[r->id]++;
}

/* Returns how many. */
static int collect(struct bus_result *r)
{
	int ret;

	if (x.op->many && x.peer != POLL)
		return bus_collect_many(coord, r, N_MANY, -1);
	if (x.op->many) {
		while ((ret = bus_collect_many_any(coord, r, N_MANY, 0)) ==
		       -EAGAIN)
			sched_yield();
		return ret;
	}

	if (x.peer != POLL)
		ret = bus_collect(coord, r, -1);
	else
		while ((ret = bus_collect_any(coord, r, 0)) == -EAGAIN)
			sched_yield();
	return ret ? ret : 1;
}

static int client_main(void *arg)
{
	struct bus_result r[N_MANY];

	(void)arg;
	bus->config.wait = x.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	T_CHECK(bus_check(bus) == 0);
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	start_coord();
	sh->client_ready = 1;
	while (!sh->go)
		point_nap();
	submit_all();
	sh->submitted = 1;
	for (uint32_t done = 0; done < n_requests();) {
		int n = collect(r);

		T_CHECK(n > 0);
		for (int i = 0; i < n; i++, done++)
			answered(&r[i]);
	}
	T_CHECK(bus_collect_any(coord, r, 0) == -ENODATA);
	sh->client_done = 1;
	T_CHECK(bus_coord_stop(coord, POINT_HUNG_NS) == 0);
	bus_close(bus);
	return 0;
}

static void do_requests(void)
{
	struct bus_result r;

	for (uint64_t i = 0; i < N_REQUESTS; i++)
		submit(i);
	for (int i = 0; i < N_REQUESTS; i++)
		bus_collect(coord, &r, -1);
}

/* More than the window: results are put aside, in the middle of it. */
static void do_many(void)
{
	struct bus_result r[N_MANY];
	uint32_t n = 0;

	while (n < WINDOW + 2)
		n += (uint32_t)submit_many(n, WINDOW + 2 - n, -1);
	n -= (uint32_t)bus_collect_many(coord, r, 3, -1);
	while (n)
		n -= (uint32_t)bus_collect_many_any(coord, r, N_MANY, -1);
}

static void before_stop(void)
{
	start_coord();
	for (uint64_t i = 0; i < N_REQUESTS; i++)
		submit(i);
}

static void do_stop(void)
{
	bus_coord_stop(coord, POINT_HUNG_NS);
}

/* -------------------------------------------------------- the processes -- */

static int victim_main(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < lengthof(big); i++)
		write_message(big[i], x.op->len, VICTIM_MSG + i);
	if (x.op->fn != do_attach)
		T_CHECK(bus_check(bus) == 0);
	if (x.op->before)
		x.op->before();
	ready_to_die();
	x.op->fn();
	sh->over = 1;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

/* Dies holding something of everything. */
static int dead_main(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	hold();
	kill(getpid(), SIGKILL);
	return 1;
}

static int sleep_in(enum sleep_in where)
{
	switch (where) {
	case GET:
		return get_message(-1);
	case PUT:
		return put_message(PEER_MSG, -1);
	case JOIN:
		return bus_queue_join(q, -1);
	default:
		return -EINVAL;
	}
}

static int peer_main(void *arg)
{
	(void)arg;
	bus->config.wait = x.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	T_CHECK(bus_check(bus) == 0);
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	sh->peer_ready = 1;
	sh->peer_ret = sleep_in(x.op->sleep_in[x.state]);
	sh->peer_done = 1;
	bus_close(bus);
	return 0;
}

static bool peer_parked(void)
{
	return sh->peer_ready && t_parked(x.peer_pid);
}

static bool client_parked(void)
{
	return sh->submitted && t_parked(x.client);
}

static bool victim_there(void)
{
	return sh->victim_pid != 0;
}

static bool submitted(void)
{
	return sh->submitted;
}

/* ------------------------------------------------------------- stepping -- */

/* Has the victim, which waits, got something to wait for? */
static bool unblock(void)
{
	if (x.op->worker)
		return sh->go++ == 0;
	if (x.state == FULL || x.op->fn == do_join)
		return get_message(0) == 0;
	return put_message(HELP_MSG + x.n_unblocked++ % 8, 0) == 0;
}

static enum t_stop help(uint32_t n)
{
	if (x.op->coord || x.op->named || unblock())
		return T_STEPPED;
	/* It has done all its work; or its client has not yet had the
	 * processor to give it some. */
	if (x.op->worker && n >= 20 && t_parked(walk.victim))
		return T_BLOCKED;
	return T_STEPPED;
}

static void seize(void)
{
	point_until(victim_there, "no victim");
	walk.victim = sh->victim_pid;
	if (t_step_seize(walk.victim, &sh->seized))
		point_cannot("seize");
}

/* ---------------------------------------------------------------- set up -- */

/* Small, because recovery looks at everything. */
static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = 16384;
	c.max_message_bytes = 1024;
	c.blob_bytes = 8192; /* 16 cells of 256, N_BIG of 1024 */
	return c;
}

static void prepare(void)
{
	uint32_t n = 0;

	if (x.op->worker || x.op->coord)
		return;
	if (x.state == ONE || x.state == WRAP)
		n = 1;
	else if (x.state == FULL)
		n = x.op->len == BIG && x.op->n_slots > N_BIG ? N_BIG
							      : x.op->n_slots;
	if (x.state == WRAP) {
		for (uint32_t i = 0; i < x.op->n_slots - 1; i++) {
			T_CHECK(put_message(i, 0) == 0);
			T_CHECK(get_message(0) == 0);
			sh->put[i] = NOT;
			sh->n_got[i] = 0;
		}
		n = x.op->sleep_in[WRAP] == GET ? 0 : 2;
	}
	for (uint32_t i = 0; i < n; i++)
		T_CHECK(put_message(i, 0) == 0);
}

static void start_client(void)
{
	x.client = t_fork(client_main, NULL);
	point_until(victim_there, "no victim");
	if (x.state != ONE)
		return;
	sh->go = 1;
	point_until(x.peer == POLL ? submitted : client_parked,
		    "the client does not get ready");
}

/* The victim first, so that of two sleepers it is rung first. */
static void start_victim(void)
{
	t_fork(victim_main, NULL);
	point_until(victim_there, "no victim");
	if (x.peer == POLL)
		return;
	x.peer_pid = t_fork(peer_main, NULL);
	point_until(peer_parked, "the peer does not fall asleep");
}

static void set_up(void)
{
	struct bus_config c = bus_settings();

	memset(sh, 0, sizeof(*sh));
	x.n_unblocked = 0;
	x.peer_pid = x.client = 0;
	x.our_child = !x.op->worker;
	bus = NULL;
	q = NULL;
	bus = t_bus_with(x.op->made ? t_name("k") : NULL, &c);
	q = t_queue(bus, "q", x.op->n_slots, 24, x.op->flags);
	prepare();
	if (x.op->reaps)
		t_wait(t_fork(dead_main, NULL));
	point_watch("nobody gets ready");
	if (x.op->worker)
		start_client();
	else
		start_victim();
	point_watch("the victim does not stop");
	seize();
}

/* -------------------------------------------------------------- survive -- */

static struct bus_queue_stats queue_stats(void)
{
	return t_queue_stats(q);
}

static uint32_t n_room(void)
{
	return x.op->len == BIG && x.op->n_slots > N_BIG ? N_BIG
							 : x.op->n_slots;
}

/* Is there what the peer sleeps for, or is it over? */
static bool peer_has_cause(void)
{
	struct bus_queue_stats s = queue_stats();

	switch (x.op->sleep_in[x.state]) {
	case GET:
		return s.n_waiting || s.closed;
	case PUT:
		return s.n_waiting + s.n_held < n_room() || s.closed;
	case JOIN:
		return s.n_waiting + s.n_held == 0;
	default:
		return false;
	}
}

/* What it is just taking counts as held.  So does, for a writer, what was
 * claimed by the dead: only a reader can get over it. */
static bool peer_settled(void)
{
	if (sh->peer_done)
		return true;
	if (x.op->sleep_in[x.state] == GET && queue_stats().n_held)
		return false;
	return !peer_has_cause();
}

static bool peer_done(void)
{
	return sh->peer_done;
}

static void drain(void)
{
	for (int i = 0; i < N_MSGS && get_message(0) == 0; i++)
		;
}

static void check_peer(void)
{
	int status;

	if (!x.peer_pid)
		return;
	if (!point_soon(peer_settled)) {
		BAD(hung, "the peer sleeps on");
		t_kill(x.peer_pid);
		return;
	}
	if (!sh->peer_done) {
		if (x.op->sleep_in[x.state] == GET)
			put_message(EXTRA_MSG, 0);
		else if (x.op->sleep_in[x.state] == PUT)
			get_message(0);
		else
			drain();
		if (!point_soon(peer_done)) {
			BAD(hung, "the peer cannot be woken");
			t_kill(x.peer_pid);
			return;
		}
	}
	if (sh->peer_ret && sh->peer_ret != -EPIPE)
		BAD(wrong, "the peer's call failed");
	point_watch("the peer does not leave");
	status = t_wait(x.peer_pid);
	if (status)
		point_bad(torture_verdict(status), "the peer cannot leave");
}

/* Did the victim's get copy message @i before it died? */
static bool victim_has(uint64_t i)
{
	for (uint32_t k = 0; k < lengthof(sh->buf); k++)
		if (sh->getting && read_message(sh->buf[k], x.op->len) == i)
			return true;
	return false;
}

static void check_messages(void)
{
	for (uint64_t i = 0; i < N_MSGS; i++) {
		uint32_t n = sh->n_got[i];
		uint32_t most = sh->put[i] != NOT, least = sh->put[i] == DONE;

		if (sh->fin[i] == FINISHED)
			most = least = 0;
		else if (sh->fin[i] == FINISHING || victim_has(i) ||
			 x.op->drops)
			least = 0;
		if (n > most)
			point_bad(n > 1 || sh->fin[i]
					  ? offsetof(struct tally, duplicated)
					  : offsetof(struct tally, wrong),
				  "delivered too often");
		else if (n < least)
			BAD(lost, "a message was lost");
	}
	if (sh->wrong)
		BAD(wrong, "garbage came out");
}

static void check_capacity(void)
{
	uint32_t n = n_room();

	for (uint32_t i = 0; i < n; i++)
		if (put_message(0, 0)) {
			BAD(leaked, "less room than before");
			return;
		}
	if (put_message(0, 0) != -EAGAIN)
		BAD(wrong, "more room than before");
	for (uint32_t i = 0; i < 2 * n + 1; i++)
		if (get_message(0) || put_message(0, 0)) {
			BAD(hung, "nothing goes in or out");
			return;
		}
	drain();
}

static void audit(void)
{
	point_watch("the audit hangs");
	audit_bus(bus);
	if (!x.op->closes)
		check_capacity();
	else if (queue_stats().closed == 0 && put_message(0, 0) != 0)
		BAD(hung, "neither open nor closed");
	audit_ids(bus, MAX_EP);
}

static bool client_answered(void)
{
	return sh->client_done;
}

static void check_client(void)
{
	int status;

	sh->go = 1;
	if (!point_soon(client_answered)) {
		BAD(hung, "no answer");
		t_kill(x.client);
		return;
	}
	status = t_wait(x.client);
	if (status)
		point_bad(torture_verdict(status), "the coordinator failed");
	for (uint32_t i = 0; i < n_requests(); i++) {
		if (sh->n_answers[i] > 1)
			BAD(duplicated, "answered twice");
		if (sh->n_answers[i] < 1)
			BAD(lost, "not answered");
	}
	if (sh->wrong)
		BAD(wrong, "a wrong answer");
}

/* Others go on before anybody knows of a death, or even before it. */
static void unaware(void)
{
	uint64_t end = sb_deadline(250 * SB_NS_PER_US);

	if (x.peer != POLL || x.op->worker || x.op->coord || x.op->closes)
		return;
	while (get_message(0) && sb_now_ns() < end)
		;
	put_message(OTHER_MSG, 0);
}

/* The queue that the victim was making can be made. */
static void check_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q2;
	uint64_t v = 5;

	c.n_slots = 4;
	if (bus_queue_open(bus, "another", &c, &q2)) {
		BAD(leaked, "cannot make a queue");
		return;
	}
	if (t_put_u64(q2, v, 0) || t_get_u64(q2) != v)
		BAD(wrong, "the queue is broken");
	bus_queue_free(q2);
}

static void check_created(void)
{
	struct bus_config c = bus_settings();
	struct bus *b;

	if (bus_create(t_name("k"), &c, &b)) {
		BAD(leaked, "cannot make a bus");
		t_shm_clean();
		return;
	}
	bus_close(b);
	if (t_shm_leftovers()) {
		BAD(leaked, "a file is left");
		t_shm_clean();
	}
}

/* A new coordinator after the death of the other. */
static void check_new_coord(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_result r;
	uint64_t i = 3;

	c.handler = handler;
	c.window = 4;
	if (bus_coord_start(bus, "s", &c, &coord)) {
		BAD(leaked, "no new coordinator");
		return;
	}
	if (bus_submit(coord, i, &i, sizeof(i), POINT_HUNG_NS) ||
	    bus_collect(coord, &r, POINT_HUNG_NS) || r.id != i)
		BAD(hung, "the new coordinator gets no answer");
	bus_coord_stop(coord, POINT_HUNG_NS);
}

static void survive(void)
{
	if (x.op->worker)
		check_client();
	else
		bus_reap(bus);
	check_peer();
	if (!x.op->worker && !x.op->coord) {
		drain();
		check_messages();
	}
	audit();
	if (x.op->fn == do_open_queue)
		check_open_queue();
	if (x.op->fn == do_create || x.op->fn == do_close_named)
		check_created();
	if (x.op->coord)
		check_new_coord();
}

/* ---------------------------------------------------------------- cases -- */

/* One point; the first of a case is when the operation is over, and measures
 * it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("the bus cannot be made");
	set_up();
	point_tick(1000);
	stop = walk_to(0, k);
	point_watch("a survivor hangs, before the death");
	if (k % 3 == 1)
		unaware();
	point_watch("the victim does not die");
	if (t_step_kill(walk.victim, stop, x.our_child))
		point_cannot("kill");
	point_watch("a survivor hangs, nobody recovered");
	if (k % 3 == 2)
		unaware();
	torture_point(&x.row->t);
	point_watch("a survivor hangs");
	survive();
	bus_close(bus);
	return walk.there;
}

static void run_point(long k)
{
	if (!walk_point(run_once, k))
		x.row->elsewhere++;
}

#define M_ALL  (1u << EMPTY | 1u << ONE | 1u << FULL | 1u << WRAP)
#define M_SOME (1u << ONE | 1u << FULL | 1u << WRAP)
#define M_TWO  (1u << EMPTY | 1u << ONE)

static const struct op ops[] = {
	{ "reap", M_SOME, 4, 0, SMALL, NULL, do_reap, .reaps = true,
	  .sleep_in = { [ONE] = GET, [FULL] = NOWHERE } },
	{ "leave", M_SOME, 4, 0, SMALL, hold, do_leave,
	  .sleep_in = { [ONE] = GET, [FULL] = PUT } },
	{ "coord", 1u << EMPTY, 4, 0, SMALL, start_coord, do_requests,
	  .coord = true, .request_len = 8, .sleep_in = { [EMPTY] = GET } },
	{ "coord-blob", 1u << EMPTY, 4, 0, SMALL, start_coord, do_requests,
	  .coord = true, .request_len = BIG, .kind = LARGE },
	{ "coord-many", 1u << EMPTY, 4, 0, SMALL, start_coord, do_many,
	  .coord = true, .many = true, .request_len = 8 },
	{ "coord-many-blob", 1u << EMPTY, 4, 0, SMALL, start_coord, do_many,
	  .coord = true, .many = true, .request_len = 8, .kind = LARGE },
	{ "coord-start", 1u << EMPTY, 4, 0, SMALL, NULL, start_coord,
	  .coord = true, .request_len = 8 },
	{ "coord-stop", 1u << EMPTY, 4, 0, SMALL, before_stop, do_stop,
	  .coord = true, .request_len = BIG, .kind = LARGE },
	{ "attach", M_TWO, 4, 0, SMALL, NULL, do_attach,
	  .sleep_in = { [EMPTY] = GET } },
	{ "create", 1u << EMPTY, 4, 0, SMALL, NULL, do_create, .named = true },
	{ "open", 1u << EMPTY, 4, 0, SMALL, NULL, do_open, .named = true,
	  .made = true },
	{ "close-named", 1u << EMPTY, 4, 0, SMALL, make_named, do_close_named,
	  .named = true },
	{ "attach-more", 1u << EMPTY, 4, 0, SMALL, NULL, do_attach_more,
	  .coord = false },
	{ "wait", 1u << EMPTY | 1u << FULL, 4, 0, SMALL, NULL, do_wait,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "join", M_TWO, 4, BUS_QUEUE_JOINABLE, SMALL, NULL, do_join,
	  .sleep_in = { [ONE] = JOIN } },
	{ "open-queue", 1u << EMPTY, 4, 0, SMALL, NULL, do_open_queue,
	  .coord = false },
	{ "worker", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .request_len = 8 },
	{ "worker-pair", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .pair = true, .request_len = 8 },
	{ "worker-error", 1u << ONE, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .kind = ERROR, .request_len = 8 },
	{ "worker-blob", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .kind = LARGE, .request_len = BIG },
	{ "worker-many", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .many = true, .request_len = 8 },
	{ "worker-many-pair", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .many = true, .pair = true, .request_len = 8 },
	{ "worker-many-error", 1u << ONE, 4, 0, SMALL, NULL, NULL,
	  .worker = true, .many = true, .kind = ERROR, .request_len = 8 },
	{ "worker-many-blob", 1u << ONE, 4, 0, SMALL, NULL, NULL,
	  .worker = true, .many = true, .kind = LARGE, .request_len = 8 },
	{ "worker-many-poison", 1u << ONE, 4, 0, SMALL, NULL, NULL,
	  .worker = true, .many = true, .request_len = 8, .max_attempts = 1 },
	{ "worker-poison", 1u << ONE, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .request_len = BIG, .max_attempts = 1 },
	{ "put", M_ALL, 4, 0, SMALL, NULL, do_put,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "put-blob", M_ALL, 4, 0, BIG, NULL, do_put,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "put-cell", 1u << FULL, 8, 0, BIG, NULL, do_put,
	  .sleep_in = { [FULL] = PUT } },
	{ "put-many", M_ALL, 4, 0, SMALL, NULL, do_put_many,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "loan-commit", M_ALL, 4, 0, SMALL, NULL, do_commit,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "loan-commit-blob", M_ALL, 4, 0, BIG, NULL, do_commit,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "loan-cancel", M_ALL, 4, 0, SMALL, NULL, do_cancel,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "get", M_ALL, 4, 0, SMALL, NULL, do_get,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "get-blob", M_ALL, 4, 0, BIG, NULL, do_get,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "get-cell", 1u << FULL, 8, 0, BIG, NULL, do_get,
	  .sleep_in = { [FULL] = PUT } },
	{ "get-many", M_ALL, 4, 0, SMALL, NULL, do_get_many,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "get-done", M_ALL, 4, BUS_QUEUE_JOINABLE, SMALL, NULL, do_get,
	  .sleep_in = { [EMPTY] = GET, [ONE] = JOIN, [FULL] = PUT } },
	{ "peek-release", M_ALL, 4, 0, SMALL, NULL, do_release,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "peek-release-blob", M_ALL, 4, 0, BIG, NULL, do_release,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "give-back", M_ALL, 4, 0, SMALL, NULL, do_give_back,
	  .sleep_in = { [EMPTY] = GET } },
	{ "task-done", M_SOME, 4, BUS_QUEUE_JOINABLE, SMALL, got_two,
	  do_task_done,
	  .sleep_in = { [ONE] = JOIN, [FULL] = PUT, [WRAP] = JOIN } },
	{ "close", M_ALL, 4, 0, SMALL, NULL, do_close, .closes = true,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "abort", M_ALL, 4, 0, BIG, NULL, do_abort, .closes = true,
	  .drops = true, .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
};
#define N_CASES (lengthof(ops) * N_STATES * N_PEERS)

static bool have_uring;

static bool makes_sense(const struct op *op, enum state s, enum peer p)
{
	if (!(op->states & 1u << s))
		return false;
	if (p == URING && !have_uring)
		return false;
	return p == POLL || op->worker || op->sleep_in[s] != NOWHERE;
}

static void run_points(uint32_t c)
{
	/* Then the victim does as with "futex"; it is the peer who differs. */
	long stride = walk_stride(x.peer == URING ? QUICK_N / 2 : QUICK_N);

	for (long k = (long)(torture->seed + c * 7) % stride; k <= walk.len;
	     k += stride)
		run_point(k);
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();

	x.op = &ops[c / (N_STATES * N_PEERS)];
	x.state = c / N_PEERS % N_STATES;
	x.peer = c % N_PEERS;
	if (!makes_sense(x.op, x.state, x.peer))
		return;
	x.row = &all->row[x.op - ops][x.peer];
	if (!point_case(&x.row->t, "%s/%s/%s", x.op->name, state_names[x.state],
			peer_names[x.peer]))
		return;
	walk.may_end = x.op->worker;
	walk_forget();
	run_point(K_MAX);
	if (walk.len > (long)x.row->longest)
		x.row->longest = (uint64_t)walk.len;
	if (torture->at < 0)
		run_points(c);
	else if (torture_has(torture->at <= walk.len))
		run_point(torture->at);
	x.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	t_name("k"); /* has our pid from now on, not the first victim's */
	sh = t_shared(sizeof(*sh));
	walk_init(K_MAX);
	walk.over = &sh->over;
	walk.help = help;
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	walk_free();
	t_shm_clean(); /* of the creator that was killed last */
	return 0;
}

/* --------------------------------------------------------------- the run -- */

static void print_rows(void)
{
	torture_say("%-18s %-6s %7s %7s %5s %9s %8s\n", "operation", "peer",
		    "instr", "points", "bad", "elsewhere", "seconds");
	for (size_t o = 0; o < lengthof(ops); o++)
		for (int p = 0; p < N_PEERS; p++) {
			struct row *r = &all->row[o][p];

			if (r->t.points)
				torture_say(
					"%-18s %-6s %7u %7u %5u %9u %8.1f\n",
					ops[o].name, peer_names[p],
					(unsigned)r->longest,
					(unsigned)r->t.points,
					(unsigned)tally_bad(&r->t),
					(unsigned)r->elsewhere,
					(double)r->ns / 1e9);
		}
}

int kill_bus(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	have_uring = audit_may_uring(bus_settings());
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
