/*
 * kill_pool.c - SIGKILL after every instruction of every operation of a pool
 *
 * A victim process, a worker of a pool or its owner, is single-stepped with
 * ptrace, and killed after instruction k.  If it was a worker, each future must
 * be completed once, with the right bytes, its callback called once, and the
 * pool must go on.  If it was the owner, its workers must end, and a pool of
 * the same name can be started at once.  In the end nothing is left: no
 * endpoint, no slot, no cell, no place of the table, and no channel that could
 * not be used again.
 *
 * Each point has a bus of its own and these processes:
 *
 *	we       a shard: makes the bus, steps and kills the victim, audits
 *	owner    our child, has the pool; the victim, or:
 *	worker   ... the first that it has forked, from the end of its init on
 *	outside  ... or our child, and we have the pool
 *
 * The one that is not the victim sleeps in futex(2) or in io_uring, or polls;
 * nobody has a heartbeat, so only a wake and the death itself end a wait.
 * Results of LARGE bytes go through the worker's pipe, in parts.
 *
 * A ring of 2048 slots makes loops of 100,000 instructions, for a look at each
 * of them.  So --full takes every instruction the first FEW times that it is
 * done, and a sample of all; --quick samples of both.  A case is
 * operation/state/peer, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "bus/pool.h"
#include "tests/bus/t_bus.h"
#include "tools/torture/audit.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define SMALL     8u
#define CELL      600u  /* a request of so many bytes lies in a cell */
#define LARGE     5000u /* a result */
#define N_TASKS   6
#define MAX_EP    7
/* A ring of 2048 slots is walked through twice when somebody has died. */
#define K_MAX     2000000
/* An instruction is new the first FEW times that it is done.  How many points
 * of a case are new, and how many are anywhere. */
#define FEW       3
#define QUICK_NEW 6
#define QUICK_ANY 3
#define FULL_ANY  2000

/* Had the owner submitted when the victim started? */
enum state { EMPTY, ONE, N_STATES };

/* BUSY: asleep in a futex, and stopped until the victim is dead: it finds all
 * that the victim did, and the death, at once. */
enum peer { POLL, FUTEX, URING, BUSY, N_PEERS };

static const char *const state_names[] = { "empty", "one" };
static const char *const peer_names[] = { "poll", "futex", "uring", "busy" };

#define S_EMPTY (1u << EMPTY)
#define S_BOTH  (S_EMPTY | 1u << ONE)

enum role { WORKER, OWNER, OUTSIDE };

/* What becomes of a task: each is a handler of the pool. */
enum { ECHO, BIG, FAIL, UNTIL_TOLD, WARM, N_HANDLERS };

struct op {
	const char *name;
	enum role role;
	uint32_t states;
	void (*fn)(void);      /* of the owner; of a victim outside */
	uint32_t handler, len; /* of its requests; 0: SMALL */
	uint32_t max_attempts, max_tasks;
	bool unborn; /* the pool is not started before */
	/* A worker looks at the whole ring first, 2048 slots.  That one has
	 * done so: the victim starts in the middle of a task. */
	bool warm;
};

/* Of one point, seen by all its processes. */
static struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, go, over;
	_Atomic uint32_t n_inits;
	_Atomic uint32_t cancel, told; /* of UNTIL_TOLD */
	_Atomic uint32_t ready, owner_done;
	_Atomic uint32_t n_complete[N_TASKS], n_called[N_TASKS];
	_Atomic uint32_t wrong; /* a line of this file */
} *sh;

struct row {
	struct tally t;
	_Atomic uint64_t longest, of, elsewhere, ns;
};

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[32][N_PEERS];
} *all;

/* Of the point that this shard is at. */
static struct {
	const struct op *op;
	enum state state;
	enum peer peer;
	long *new; /* see find_new() */
	struct row *row;
	pid_t owner;
	int fds;
} x;

static struct bus *bus;
static struct bus_pool *pool;
static struct bus_future *future[N_TASKS];
static bool have_uring;

#define WRONG() (sh->wrong = __LINE__)

static void no_heartbeat(void)
{
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
}

/* --------------------------------------------------------------- workers -- */

static int echo(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	uint64_t i;

	(void)ctx;
	memcpy(&i, req, sizeof(i));
	if (len == CELL && !t_is((const unsigned char *)req + 8, len - 8, i))
		i = N_TASKS;
	return bus_reply_put(r, &i, sizeof(i));
}

static int big(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	void *room = bus_reply_room(r, LARGE);
	uint64_t i;

	(void)ctx;
	(void)len;
	memcpy(&i, req, sizeof(i));
	if (!room)
		return 99;
	memset(room, 'a' + (int)i, LARGE);
	return 0;
}

static int fail(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	uint64_t i;

	(void)ctx;
	(void)len;
	memcpy(&i, req, sizeof(i));
	bus_reply_error(r, "no %d", (int)i);
	return 7 + (int)i;
}

static int until_told(void *ctx, const void *req, size_t len,
		      struct bus_reply *r)
{
	(void)ctx;
	(void)req;
	(void)len;
	while (!sh->told)
		syscall(SYS_futex, &sh->told, FUTEX_WAIT, 0, NULL, NULL, 0);
	return bus_reply_canceled(r) ? 1 : 2;
}

/* In a task before the others; see struct op. */
static int warm(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	(void)ctx;
	(void)req;
	(void)len;
	(void)r;
	if (!sh->victim_pid)
		t_step_offer(&sh->victim_pid, &sh->seized);
	return 0;
}

static const bus_handler handlers[N_HANDLERS] = { echo, big, fail, until_told,
						  warm };

static int init_worker(void *ctx, char *error, size_t error_bytes)
{
	(void)ctx;
	(void)error;
	(void)error_bytes;
	no_heartbeat();
	if (sh->n_inits++ == 0 && x.op->role == WORKER && !x.op->warm)
		t_step_offer(&sh->victim_pid, &sh->seized);
	return 0;
}

/* ------------------------------------------------------------ the owner -- */

static void start_pool(void)
{
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;
	int ret;

	c.handlers = handlers;
	c.n_handlers = N_HANDLERS;
	c.n_workers = 1;
	c.init = init_worker;
	c.window = 8;
	c.max_attempts = x.op->max_attempts;
	c.max_tasks_per_worker = x.op->max_tasks;
	c.grace_ns = 20 * SB_NS_PER_S;
	c.wait = x.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	ret = bus_pool_start(bus, "p", &c, &pool);
	if (ret)
		WRONG();
}

static int count_call(void *ctx, struct bus_future *f,
		      const struct bus_result *r)
{
	(void)f;
	(void)r;
	(*(_Atomic uint32_t *)ctx)++;
	return 0;
}

static size_t len_of(void)
{
	return x.op->len ? x.op->len : SMALL;
}

static void fill_request(unsigned char req[CELL], uint64_t i)
{
	memcpy(req, &i, sizeof(i));
	t_fill(req + 8, CELL - 8, i);
}

static void submit(uint64_t i)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;
	unsigned char req[CELL];

	c.done = count_call;
	c.ctx = &sh->n_called[i];
	fill_request(req, i);
	if (bus_pool_submit(pool, x.op->handler, req, len_of(), &c, &future[i],
			    -1))
		WRONG();
}

static bool is_right(const struct bus_result *r, uint64_t i)
{
	uint64_t got;

	if (x.op->handler == UNTIL_TOLD)
		return r->kind == BUS_RESULT_CANCELED;
	if (r->kind == BUS_RESULT_DEATH) {
		unsigned char req[CELL];

		fill_request(req, i);
		return x.op->max_attempts == 1 && r->len_bytes == len_of() &&
		       !memcmp(req, r->data, len_of());
	}
	switch (x.op->handler) {
	case ECHO:
		memcpy(&got, r->data, sizeof(got));
		return r->kind == BUS_RESULT_OK && r->len_bytes == 8 &&
		       got == i;
	case BIG:
		return r->kind == BUS_RESULT_OK && r->len_bytes == LARGE &&
		       *(const char *)r->data == 'a' + (int)i &&
		       !memcmp(r->data, (const char *)r->data + 1, LARGE - 1);
	default:
		return r->kind == BUS_RESULT_ERROR && r->code == 7 + (int)i &&
		       r->len_bytes == 4 && !memcmp(r->data, "no ", 3);
	}
}

static void get(uint64_t i)
{
	struct bus_result r;
	int ret;

	if (x.peer == POLL)
		while (!bus_future_done(future[i]))
			sched_yield();
	ret = bus_future_get(future[i], &r, -1);
	if (ret || !is_right(&r, i))
		WRONG();
	sh->n_complete[i]++;
	bus_future_free(future[i]);
}

static void do_tasks(void)
{
	submit(0);
	submit(1);
	sh->ready = 1;
	get(0);
	get(1);
}

/* More than the worker has to do: the last ones go in runs, in most points; not
 * where the worker sleeps just when they come. */
static void do_runs(void)
{
	bus_lanes_depth(pool, BUS_POOL_DEPTH_MAX);
	pool->lap_ns = SB_FOREVER / 2; /* and stay like that */
	for (uint64_t i = 0; i < N_TASKS; i++)
		submit(i);
	if (pool->run_from >= N_TASKS)
		WRONG();
	sh->ready = 1;
	for (uint64_t i = 0; i < N_TASKS; i++)
		get(i);
}

static void do_cancel(void)
{
	submit(0);
	sh->ready = 1;
	while (x.op->role == WORKER && !sh->cancel)
		point_nap();
	if (bus_future_cancel(future[0]))
		WRONG();
	sh->told = 1;
	syscall(SYS_futex, &sh->told, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	get(0);
}

/* Chunks of two, and one of them alone. */
static void do_map(void)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	uint64_t in[3] = { 0, 1, 2 }, out[3] = { 9, 9, 9 };
	struct bus_map_item items[3];
	int n, n_dead = 0;

	c.chunk = 2;
	c.items = items;
	sh->ready = 1;
	n = bus_pool_map(pool, ECHO, in, sizeof(*in), out, sizeof(*out), 3, &c,
			 -1);
	for (uint64_t i = 0; i < 3; i++) {
		/* Items of a chunk are tried once more, each for itself. */
		if (i == 2 && items[i].kind == BUS_RESULT_DEATH)
			n_dead += x.op->max_attempts == 1;
		else if (items[i].kind != BUS_RESULT_OK || out[i] != i)
			WRONG();
	}
	if (n != n_dead)
		WRONG();
}

static int three(void *ctx, const void **item, size_t *len)
{
	static const uint64_t numbers[] = { 0, 1, 2 };
	uint32_t *n = ctx;

	if (*n == 3)
		return 0;
	*item = &numbers[(*n)++];
	*len = sizeof(*numbers);
	return 1;
}

static void do_imap(void)
{
	struct bus_imap *imap;
	struct bus_result r;
	uint32_t n = 0;

	sh->ready = 1;
	if (bus_pool_imap(pool, ECHO, three, &n, NULL, &imap)) {
		WRONG();
		return;
	}
	for (uint64_t i = 0; i < 2; i++)
		if (bus_imap_next(imap, &r, -1) || r.id != i ||
		    memcmp(r.data, &i, sizeof(i)))
			WRONG();
	bus_imap_free(imap); /* one of them is on its way */
}

static void do_scale(void)
{
	if (bus_pool_scale(pool, 2) || bus_pool_scale(pool, 1))
		WRONG();
	sh->ready = 1;
}

static void do_join(void)
{
	submit(0);
	bus_pool_close(pool);
	if (bus_pool_join(pool, -1))
		WRONG();
}

static void do_terminate(void)
{
	submit(0);
	submit(1);
	bus_pool_terminate(pool);
	if (bus_pool_join(pool, -1))
		WRONG();
}

static void do_free(void)
{
	submit(0);
	bus_pool_free(pool);
}

static void do_stats(void)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[4];

	if (bus_pool_stats(bus, "p", &s, w, 4) < 1 || s.n_workers != 1)
		WRONG();
}

/* After the death: the pool does another task, and ends in good order. */
static void end_pool(void)
{
	struct bus_result r;
	uint64_t i = 3;

	int ret = bus_pool_apply(pool, ECHO, &i, sizeof(i), &r, -1);

	/* The victim may have died of that one. */
	if (!ret && r.kind == BUS_RESULT_DEATH && x.op->max_attempts == 1)
		ret = bus_pool_apply(pool, ECHO, &i, sizeof(i), &r, -1);
	if (ret || r.kind != BUS_RESULT_OK || memcmp(r.data, &i, sizeof(i)))
		WRONG();
	bus_pool_close(pool);
	if (bus_pool_join(pool, -1))
		WRONG();
	bus_pool_free(pool);
	pool = NULL;
}

/* The task that the victim of a warm operation started in. */
static void end_first(struct bus_future *f)
{
	struct bus_result r;

	if (!f)
		return;
	if (bus_future_get(f, &r, -1) ||
	    (r.kind != BUS_RESULT_OK &&
	     (r.kind != BUS_RESULT_DEATH || x.op->max_attempts != 1)))
		WRONG();
	bus_future_free(f);
}

static void waits_as_peer(void)
{
	bus->config.wait = x.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	T_CHECK(bus_check(bus) == 0);
	no_heartbeat();
}

/* Its worker is the victim. */
static int owner_main(void *arg)
{
	struct bus_future *first = NULL;

	(void)arg;
	waits_as_peer();
	start_pool();
	if (x.op->warm && bus_pool_submit(pool, WARM, "", 1, NULL, &first, -1))
		WRONG();
	while (!sh->go)
		point_nap();
	x.op->fn();
	end_first(first);
	end_pool();
	sh->owner_done = 1;
	bus_close(bus);
	return 0;
}

/* The victim. */
static int victim_main(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	if (x.op->role == OWNER && !x.op->unborn)
		start_pool();
	no_heartbeat();
	t_step_offer(&sh->victim_pid, &sh->seized);
	x.op->fn();
	sh->over = 1;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

/* -------------------------------------------------------------- stepping -- */

static bool victim_there(void)
{
	return sh->victim_pid != 0;
}

static bool owner_parked(void)
{
	return sh->ready && (x.peer == POLL || t_parked(x.owner));
}

static bool owner_submitted(void)
{
	/* who cancels does so only when a worker has it */
	return x.op->handler == UNTIL_TOLD ? sh->ready : owner_parked();
}

/* The victim, a worker, has nothing to do: what is next for it? */
static bool unblock(void)
{
	if (!sh->go) {
		sh->go = 1;
		return true;
	}
	if (x.op->handler == UNTIL_TOLD && !sh->cancel) {
		sh->cancel = 1;
		return true;
	}
	return false;
}

static enum t_stop help(uint32_t n)
{
	if (x.op->role != WORKER || unblock())
		return T_STEPPED;
	/* Not at once: the owner may be about to give it something, or, if that
	 * one is stopped, it may be a slice of its sleep. */
	return t_parked(walk.victim) && n >= (x.peer == BUSY ? 2 : 20)
		       ? T_BLOCKED
		       : T_STEPPED;
}

/* ---------------------------------------------------------------- set up -- */

static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = 640 << 10;
	c.max_message_bytes = 1024;
	c.blob_bytes = 32768;
	return c;
}

static void set_up(void)
{
	struct bus_config c = bus_settings();

	memset(sh, 0, sizeof(*sh));
	x.fds = t_count_fds();
	walk.victim = x.owner = 0;
	pool = NULL;
	bus = NULL;
	bus = t_bus_with(NULL, &c);
	no_heartbeat();
	if (x.op->role == WORKER) {
		x.owner = t_fork(owner_main, NULL);
	} else {
		if (x.op->role == OUTSIDE)
			start_pool();
		t_fork(victim_main, NULL);
	}
	point_until(victim_there, "no victim");
	walk.victim = sh->victim_pid;
	if (x.op->role == WORKER && x.state == ONE) {
		sh->go = 1;
		point_until(owner_submitted, "the owner does not get ready");
	}
	if (x.peer == BUSY)
		kill(x.owner, SIGSTOP);
	if (t_step_seize(walk.victim, &sh->seized))
		point_cannot("seize");
}

/* --------------------------------------------------------------- survive -- */

static bool owner_done(void)
{
	return sh->owner_done;
}

static void check_owner(void)
{
	int status;

	sh->go = sh->cancel = 1;
	if (!point_soon(owner_done)) {
		BAD(hung, "a future does not complete");
		t_kill(x.owner);
		return;
	}
	point_watch("the owner does not leave");
	status = t_wait(x.owner);
	if (status)
		point_bad(torture_verdict(status), "the owner cannot leave");
	for (uint32_t i = 0; i < N_TASKS; i++) {
		/* map and imap have no futures that one sees */
		bool used = sh->n_complete[i] || sh->n_called[i];

		if (sh->n_complete[i] > 1 || sh->n_called[i] > 1)
			BAD(duplicated, "completed twice");
		if (used && sh->n_called[i] != sh->n_complete[i])
			BAD(lost, "a callback was not called");
	}
}

static bool another_pool(void)
{
	point_watch("a new pool does not work");
	start_pool();
	if (sh->wrong) {
		BAD(leaked, "no new pool");
		return false;
	}
	end_pool();
	return true;
}

/*
 * Others of that name, in our process; they need no more channels than there
 * are.  But the first may: an end that was given to a worker is its until it is
 * reaped, and we do not wait for the one who does that.
 */
static void check_new_pool(void)
{
	uint32_t before = audit_channels(bus), now;

	sh->n_inits = 1;
	if (!another_pool())
		return;
	now = audit_channels(bus);
	if (now > before && another_pool() && audit_channels(bus) > now)
		BAD(leaked, "a channel is not used again");
}

static void audit(void)
{
	point_watch("the audit hangs");
	audit_bus(bus);
	if (!sh->wrong)
		check_new_pool();
	audit_ids(bus, MAX_EP);
	bus_close(bus);
	if (t_count_fds() != x.fds)
		BAD(leaked, "a descriptor is left");
}

static void survive(void)
{
	if (x.op->role == WORKER)
		check_owner();
	else if (x.op->role == OUTSIDE)
		end_pool();
	audit();
	if (sh->wrong)
		BAD(wrong, "%s:%u: not that", __FILE__, (unsigned)sh->wrong);
}

/* ----------------------------------------------------------------- cases -- */

/* One point; the first of a case, with a @k beyond all, is when the operation
 * is over, and measures it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("nobody gets ready");
	set_up();
	point_tick(1000);
	stop = walk_to(0, k);
	point_watch("the victim does not die");
	if (t_step_kill(walk.victim, stop, x.op->role != WORKER))
		point_cannot("kill");
	if (x.peer == BUSY)
		kill(x.owner, SIGCONT);
	point_watch("a survivor hangs");
	torture_point(&x.row->t);
	survive();
	return walk.there;
}

static void run_point(long k)
{
	if (!walk_point(run_once, k))
		x.row->elsewhere++;
}

/* clang-format off */
static const struct op ops[] = {
	/* the victim is a worker */
	{ "worker", WORKER, S_BOTH, .fn = do_tasks },
	{ "worker-cell", WORKER, S_BOTH, .fn = do_tasks, .len = CELL,
	  .warm = true },
	{ "worker-parcel", WORKER, S_BOTH, .fn = do_tasks, .handler = BIG,
	  .warm = true },
	{ "worker-fail", WORKER, S_BOTH, .fn = do_tasks, .handler = FAIL,
	  .warm = true },
	{ "worker-poison", WORKER, 1u << ONE, .fn = do_tasks, .len = CELL,
	  .max_attempts = 1, .warm = true },
	{ "worker-cancel", WORKER, S_BOTH, .fn = do_cancel, .handler = UNTIL_TOLD,
	  .warm = true },
	{ "worker-chunk", WORKER, S_BOTH, .fn = do_map, .warm = true },
	{ "worker-split", WORKER, S_BOTH, .fn = do_map, .max_attempts = 1,
	  .warm = true },
	{ "worker-items", WORKER, S_BOTH, .fn = do_imap, .warm = true },
	{ "worker-runs", WORKER, S_BOTH, .fn = do_runs, .warm = true },
	{ "worker-leave", WORKER, S_BOTH, .fn = do_tasks,
	  .max_tasks = 1 },
	/* the owner */
	{ "start", OWNER, S_EMPTY, .fn = start_pool, .unborn = true },
	{ "tasks", OWNER, S_EMPTY, .fn = do_tasks },
	{ "tasks-cell", OWNER, S_EMPTY, .fn = do_tasks, .len = CELL },
	{ "tasks-parcel", OWNER, S_EMPTY, .fn = do_tasks, .handler = BIG },
	{ "runs", OWNER, S_EMPTY, .fn = do_runs },
	{ "cancel", OWNER, S_EMPTY, .fn = do_cancel, .handler = UNTIL_TOLD },
	{ "map", OWNER, S_EMPTY, .fn = do_map },
	{ "imap", OWNER, S_EMPTY, .fn = do_imap },
	{ "scale", OWNER, S_EMPTY, .fn = do_scale },
	{ "close-join", OWNER, S_EMPTY, .fn = do_join },
	{ "terminate", OWNER, S_EMPTY, .fn = do_terminate },
	{ "free", OWNER, S_EMPTY, .fn = do_free, .len = CELL },
	/* somebody else */
	{ "stats", OUTSIDE, S_EMPTY, .fn = do_stats },
};
/* clang-format on */
#define N_CASES (lengthof(ops) * N_STATES * N_PEERS)

static bool makes_sense(const struct op *op, enum state s, enum peer p)
{
	if (p == URING && !have_uring)
		return false;
	if (op->role == OUTSIDE && p != FUTEX)
		return false;
	/* only one of the owner's calls can be done by polling */
	if (op->role == OWNER && p == POLL && op->fn != do_tasks)
		return false;
	/* Of the sample; the owner does the same, whatever its worker is in. */
	if (op->role == OWNER && p == URING && !torture->full && !torture->only)
		return false;
	/* what the owner does to a worker it cannot do while it is stopped */
	if (p == BUSY &&
	    (op->role != WORKER || s != ONE || op->handler == UNTIL_TOLD))
		return false;
	return op->states & 1u << s;
}

static int by_place(const void *a, const void *b)
{
	const long *i = a, *k = b;

	if (walk.pc[*i] != walk.pc[*k])
		return walk.pc[*i] < walk.pc[*k] ? -1 : 1;
	return *i < *k ? -1 : *i > *k;
}

static int by_number(const void *a, const void *b)
{
	const long *i = a, *k = b;

	return *i < *k ? -1 : *i > *k;
}

/* After how many instructions is the next one new?  To x.new; returns how many
 * those are. */
static long find_new(void)
{
	long n = 0, times = 0;
	uint64_t last = 0;

	for (long i = 0; i <= walk.len; i++)
		x.new[i] = i;
	qsort(x.new, (size_t)walk.len + 1, sizeof(*x.new), by_place);
	for (long i = 0; i <= walk.len; i++) {
		times = i && walk.pc[x.new[i]] == last ? times + 1 : 0;
		last = walk.pc[x.new[i]];
		if (times < FEW)
			x.new[n++] = x.new[i];
	}
	qsort(x.new, (size_t)n, sizeof(*x.new), by_number);
	return n;
}

static void run_points(uint64_t seed)
{
	long n = find_new(), step;

	step = torture->full ? 1 : n / QUICK_NEW + 1;
	for (long i = (long)(seed % (uint64_t)step); i < n; i += step)
		run_point(x.new[i]);
	step = walk.len / (torture->full ? FULL_ANY : QUICK_ANY) + 1;
	for (long k = (long)(seed % (uint64_t)step); k <= walk.len; k += step)
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
	walk.may_end = x.op->role == WORKER;
	walk_forget();
	run_point(K_MAX);
	x.row->of += (uint64_t)walk.len + 1;
	if (walk.len > (long)x.row->longest)
		x.row->longest = (uint64_t)walk.len;
	if (torture->at < 0)
		run_points(torture->seed + c * 7);
	else if (torture_has(torture->at <= walk.len))
		run_point(torture->at);
	x.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	sh = t_shared(sizeof(*sh));
	walk_init(K_MAX);
	walk.over = &sh->over;
	walk.help = help;
	x.new = malloc((K_MAX + 1) * sizeof(*x.new));
	T_CHECK(x.new);
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	walk_free();
	free(x.new);
	return 0;
}

/* --------------------------------------------------------------- the run -- */

static void print_rows(void)
{
	torture_say("%-14s %-6s %7s %7s %8s %5s %9s %7s\n", "operation", "peer",
		    "instr", "points", "of", "bad", "elsewhere", "seconds");
	for (size_t o = 0; o < lengthof(ops); o++)
		for (int p = 0; p < N_PEERS; p++) {
			const struct row *r = &all->row[o][p];

			if (!r->t.points)
				continue;
			torture_say("%-14s %-6s %7u %7u %8u %5u %9u %7.1f\n",
				    ops[o].name, peer_names[p],
				    (unsigned)r->longest, (unsigned)r->t.points,
				    (unsigned)r->of, (unsigned)tally_bad(&r->t),
				    (unsigned)r->elsewhere,
				    (double)r->ns / 1e9);
		}
}

int kill_pool(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	have_uring = audit_may_uring(bus_settings());
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
