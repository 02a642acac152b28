/*
 * flip.c - a hostile peer changes words of shared memory under our feet
 *
 * A victim process is single-stepped into one public call, and after
 * instruction k one word of the segment gets a hostile value.  Then it goes on,
 * at full speed.  It may say whatever it likes, -EPROTO above all; it may lose
 * messages; but it must not crash, not write past the buffer that it was given
 * (which ends at a page that nobody may touch, as the segment does), and come
 * to an end.
 *
 * Words are all of those that control something: header, endpoints, directory,
 * the rings and pipes, the pool of cells with its owners.  Three in four are
 * words that the operation reaches, just before it does that, and for those
 * that it reads twice between the two.  Values are those that a check may
 * forget: 0, all ones, the sign, one more and one less, the next position, what
 * the neighbour has.
 *
 * A shard makes a bus for each case and copies its memory; each point has a
 * victim of its own, forked, and begins with that copy.  No other process runs,
 * so that the same point is the same again.
 *
 * A case is operation/state, a point (word * N_VALUES + value) << 20 | k, where
 * word is its distance from the beginning of the segment / 8.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/request.h"
#include "bus/worker.h"
#include "tests/bus/t_bus.h"
#include "tests/support/step.h"
#include "tools/torture/reach.h"
#include "tools/torture/torture.h"

#define MAX_EP     6
#define SMALL      16u
#define BIG        600u /* in a cell */
#define SLOT_BYTES 24u  /* of a queue */
#define SLOT       256u /* of a pipe: BIG goes in three parts, MID in two */
#define MID        400u
#define K_MAX      200000
#define K_BITS     20
#define TICK_NS    ((int64_t)SB_NS_PER_MS) /* of calls that wait */
#define PATIENCE_S 10
#define QUICK_N    45    /* points of a case */
#define FULL_N     20000 /* most of them */
#define OTHER_N    500   /* of words that it does not reach */

enum state { EMPTY, ONE, FULL, N_STATES };

static const char *const state_names[] = { "empty", "one", "full" };
#define S_EMPTY (1u << EMPTY)
#define S_ONE   (1u << ONE)
#define S_FULL  (1u << FULL)
#define S_ALL   (S_EMPTY | S_ONE | S_FULL)

enum kind { QUEUE, JOINABLE, PIPE, REQUEST, COORD };

struct op {
	const char *name;
	enum kind kind;
	uint32_t states;
	uint32_t len;
	void (*before)(void); /* in the victim, not stepped */
	int (*fn)(void);
	bool sleeps; /* it may wait without limit: asleep is an end, too */
	bool dead;   /* another endpoint has died, holding something */
	bool fresh;  /* the victim is not attached before */
	uint32_t channel_bytes;
};

/* Of one point, seen by both processes. */
static struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, done, crashed, worker_crashed;
	_Atomic uint64_t crash_at;
	_Atomic int32_t ret;
	_Atomic uint32_t n_answered, go;
} *sh;

static struct {
	_Atomic uint32_t next_case;

	struct row {
		struct tally t;
		_Atomic uint64_t ns, longest;
	} row[64];
} *all;

/* A word that may be flipped. */
struct word {
	uint32_t off; /* from the segment */
	const char *where;
};

#define N_WORDS   4096
#define N_REACHED 65536u

static struct {
	const struct op *op;
	enum state state;
	struct row *row;
	char name[64];
	struct word word[N_WORDS];
	uint32_t n_words, first_own; /* those of the channel come last */

	/* what it reaches, and after how many instructions */
	struct {
		uint32_t off, k;
	} reached[N_REACHED];

	uint32_t n_reached;
	unsigned char *memory, *copy;
	size_t bytes;
	uint64_t *pc;
	long len; /* instructions of the operation */
} x;

static struct bus *bus;
static struct bus_queue *q;
static struct bus_pipe *end[2];
static struct bus_coord *coord;
static struct bus_pool *pool;
static struct bus_msg msg;
static unsigned char text[2 * BIG];
static unsigned char *guarded; /* ends at a page that nobody may touch */

/* ------------------------------------------------- what the victim does -- */

static unsigned char *room(size_t bytes)
{
	return guarded - bytes;
}

static const unsigned char *message(void)
{
	return text; /* filled before the fork, for all instructions count */
}

static int do_put(void)
{
	return bus_queue_put(q, message(), x.op->len, TICK_NS);
}

static int do_put_many(void)
{
	return bus_queue_put_many(q, message(), SMALL, 3, TICK_NS);
}

static int do_loan(void)
{
	int ret = bus_queue_loan(q, x.op->len, &msg, TICK_NS);

	if (ret)
		return ret;
	memcpy(msg.data, message(), x.op->len);
	return bus_queue_commit(q, &msg);
}

static int do_cancel(void)
{
	int ret = bus_queue_loan(q, x.op->len, &msg, TICK_NS);

	return ret ? ret : bus_queue_cancel(q, &msg);
}

static int do_get(void)
{
	size_t len;
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		ret = bus_queue_get(q, room(x.op->len), x.op->len, &len,
				    TICK_NS);
		if (!ret && x.op->kind == JOINABLE)
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
		sh->crashed = SIGBUS;
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

	if (x.op->kind == PIPE) {
		item.kind = BUS_POLL_PIPE;
		item.on.pipe = end[1];
	} else {
		item.on.queue = q;
	}
	return bus_wait(bus, &item, 1, TICK_NS);
}

static int do_stats(void)
{
	struct bus_stats s = BUS_STATS_INIT;
	struct bus_queue_stats qs = BUS_QUEUE_STATS_INIT;
	int ret = bus_stats(bus, &s);

	return ret ? ret : bus_queue_stats(q, &qs);
}

static int do_reap(void)
{
	return bus_reap(bus);
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
	bus_close(bus);
	return 0;
}

static int do_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *other;
	int ret;

	c.n_slots = 4;
	ret = bus_queue_open(bus, "q", &c, &other);
	return ret ? ret : bus_queue_open(bus, "another", &c, &other);
}

/* ---------------------------------------------------------------- pipes -- */

static struct bus_pipe_config pipe_settings(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = SLOT;
	return c;
}

static int open_side(uint32_t side)
{
	struct bus_pipe_config c = pipe_settings();

	return bus_pipe_open(bus, "p", &c, (int)side, &end[side]);
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

	return bus_pipe(bus, &c, &a, &b);
}

static int do_send(void)
{
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++)
		ret = bus_pipe_send(end[1], message(), x.op->len, TICK_NS);
	return ret;
}

static int do_send_many(void)
{
	return bus_pipe_send_many(end[1], message(), SMALL, 4, TICK_NS);
}

static int do_loan_part(void)
{
	struct bus_part part;
	int ret = bus_pipe_loan(end[1], x.op->len, &part, TICK_NS);

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
		ret = bus_pipe_recv(end[1], room(x.op->len), x.op->len, &len,
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

	return bus_pipe_exchange(end[1], message(), x.op->len, room(x.op->len),
				 x.op->len, &len, TICK_NS);
}

static int do_close_pipe(void)
{
	bus_pipe_free(end[1]);
	return 0;
}

/* ----------------------------------------------- coordinator and worker -- */

static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	unsigned char last = 0;

	(void)ctx;
	if (len) /* all of it can be read */
		last = ((const volatile unsigned char *)req)[len - 1];
	if (last == 1)
		bus_reply_error(reply, "one");
	sh->n_answered++;
	return bus_reply_put(reply, message(), x.op->len);
}

static int wait_for_go(void *ctx)
{
	const struct timespec t = { .tv_nsec = 100000 };

	(void)ctx;
	while (!sh->go && getppid() != 1)
		nanosleep(&t, NULL);
	return 0;
}

static int start_coord(int (*init)(void *ctx))
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = handler;
	c.init = init;
	c.window = 4;
	c.result_bytes = x.op->len > SMALL ? x.op->len : 0;
	return bus_coord_start(bus, "r", &c, &coord);
}

static void coord_ready(void)
{
	T_CHECK(start_coord(wait_for_go) == 0);
}

static int do_submit(void)
{
	int ret = 0;

	for (uint64_t i = 0; i < 2 && !ret; i++)
		ret = bus_submit(coord, i, message(), x.op->len, TICK_NS);
	return ret;
}

static bool both_answered(void *arg)
{
	(void)arg;
	return sh->n_answered == 2;
}

static void coord_answered(void)
{
	coord_ready();
	T_CHECK(do_submit() == 0);
	sh->go = 1;
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
	int idx = bus_channel_find(bus, "r");

	T_CHECK(idx >= 0);
	T_CHECK(bus_channel_attach(bus, (uint32_t)idx, &chan.chan, &chan.end) ==
		0);
	bus_request_plan(SMALL, x.op->len > SMALL ? x.op->len : 0, &spec,
			 &chan.layout);
	chan.bus = bus;
	chan.idx = (uint32_t)idx;
}

static int do_work(void)
{
	const struct bus_worker w = { .c = &chan,
				      .coord = ld_acq(&chan.chan->coord),
				      .handler = handler };

	return bus_worker_run(&w);
}

/* ----------------------------------------------------------------- pool -- */

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
static int do_pool(void)
{
	unsigned char in[3] = { 0, 2, 3 };
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[2];
	struct bus_result r;
	int ret = bus_pool_apply(pool, 0, message(), x.op->len, &r, TICK_NS);

	if (!ret && r.len_bytes)
		memcpy(room(1), (const unsigned char *)r.data + r.len_bytes - 1,
		       1);
	if (!ret && r.kind == BUS_RESULT_ERROR)
		ret = r.code;
	if (!ret)
		ret = bus_pool_map(pool, 0, in, 1, room(3 * x.op->len),
				   x.op->len, 3, NULL, TICK_NS);
	if (ret >= 0)
		ret = bus_pool_stats(bus, "p", &s, w, 2);
	return ret;
}

static int do_cancel_task(void)
{
	struct bus_future *f;
	int ret = bus_pool_submit(pool, 0, message(), x.op->len, NULL, &f,
				  TICK_NS);

	if (ret)
		return ret;
	bus_future_cancel(f);
	return bus_future_wait(f, TICK_NS);
}

static int do_free_pool(void)
{
	bus_pool_free(pool);
	return 0;
}

/* clang-format off */
static const struct op ops[] = {
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
	{ "coord-start", COORD, S_EMPTY, SMALL, NULL, .fn = do_start },
	{ "coord-stop", COORD, S_EMPTY, BIG, coord_answered, .fn = do_stop },
	{ "pool", COORD, S_EMPTY, SMALL, start_pool, .fn = do_pool,
	  .channel_bytes = 640 << 10 },
	{ "pool-parcel", COORD, S_EMPTY, BIG, start_pool, .fn = do_pool,
	  .channel_bytes = 640 << 10 },
	{ "pool-cancel", COORD, S_EMPTY, BIG, start_pool,
	  .fn = do_cancel_task, .channel_bytes = 640 << 10 },
	{ "pool-free", COORD, S_EMPTY, SMALL, start_pool,
	  .fn = do_free_pool, .channel_bytes = 640 << 10 },
};
/* clang-format on */
#define N_CASES (lengthof(ops) * N_STATES)
static_assert(lengthof(ops) <= 64, "rows");

/* ----------------------------------------------------------- the victim -- */

/* Of the victim, and of workers that it forks. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
	(void)context;
	sh->crash_at = (uint64_t)(uintptr_t)info->si_addr;
	if (getpid() == sh->victim_pid)
		sh->crashed = (uint32_t)sig;
	else
		sh->worker_crashed = (uint32_t)sig;
	_exit(99);
}

static void tell_of_crashes(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE,
				       SIGILL };
	struct sigaction sa = { .sa_sigaction = on_crash,
				.sa_flags = SA_SIGINFO };
	struct rlimit no_core = { 0, 0 };

	for (size_t i = 0; i < lengthof(signals); i++)
		sigaction(signals[i], &sa, NULL);
	setrlimit(RLIMIT_CORE, &no_core);
}

static int victim_main(void *arg)
{
	(void)arg;
	tell_of_crashes();
	if (!x.op->fresh)
		T_CHECK(bus_check(bus) == 0);
	if (x.op->before)
		x.op->before();
	t_step_offer(&sh->victim_pid, &sh->seized);
	sh->ret = x.op->fn();
	sh->done = 1;
	return 0;
}

static void set_tick(bool on)
{
	struct itimerval it = { 0 };

	if (on)
		it.it_value.tv_usec = it.it_interval.tv_usec = 1000;
	setitimer(ITIMER_REAL, &it, NULL);
}

static void on_tick(int sig)
{
	(void)sig;
}

/* It waits for a time-out, or a lock of the kernel's: let it. */
static enum t_stop while_blocked(void *arg)
{
	uint64_t *since = arg; /* 0: it was not yet seen so */

	if (x.op->sleeps && t_parked(sh->victim_pid))
		return T_BLOCKED;
	if (!*since)
		*since = sb_now_ns();
	return sb_now_ns() - *since > 5 * SB_NS_PER_S ? T_HANGS : T_STEPPED;
}

static pid_t start_victim(void)
{
	const struct timespec t = { .tv_nsec = 20000 };
	pid_t pid;
	int status;

	memset(sh, 0, sizeof(*sh));
	memcpy(x.memory, x.copy, x.bytes);
	pid = t_fork(victim_main, NULL);
	for (uint32_t i = 0; !sh->victim_pid; i++) {
		if (i % 64 == 63 && waitpid(pid, &status, WNOHANG) == pid)
			return -1;
		nanosleep(&t, NULL);
	}
	if (t_step_seize(pid, &sh->seized))
		return -1;
	return pid;
}

/* Its workers, if it has any, die with it.  Those of our own stay. */
static void reap_others(void)
{
	while (x.op->kind == COORD && waitpid(-1, NULL, __WALL) > 0)
		;
}

/* ---------------------------------------------------------------- words -- */

static void add_words(const char *where, uint64_t off, uint64_t bytes)
{
	for (uint64_t i = 0; i + 8 <= bytes && x.n_words < N_WORDS; i += 8)
		x.word[x.n_words++] = (struct word){ .off = (uint32_t)(off + i),
						     .where = where };
}

static void find_words(void)
{
	const struct bus_map *m = bus->map;
	uint64_t bytes;
	uint32_t n;

	x.n_words = 0;
	add_words("header", 0, sizeof(struct bus_header));
	add_words("endpoint", m->off.ep, MAX_EP * sizeof(struct bus_ep));
	add_words("directory", m->off.dir, 3 * sizeof(struct bus_dirent));
	bytes = m->off.plan.class_[0].data_off;
	add_words("pool", m->off.blob, bytes < 2048 ? bytes : 2048);
	x.first_own = x.n_words;
	n = t_stats(bus).n_channels;
	for (uint32_t i = 0; i < n; i++)
		add_words("channel", m->dir[i].off,
			  m->dir[i].bytes < 8192 ? m->dir[i].bytes : 8192);
	if (x.first_own == x.n_words) /* its channel is yet to come */
		add_words("channel", m->off.chan, 4096);
}

#define N_VALUES 16

static uint64_t hostile(uint32_t value, uint64_t was, const uint64_t *at,
			uint64_t random)
{
	switch (value) {
	case 0:
		return 0;
	case 1:
		return ~UINT64_C(0);
	case 2:
		return was ^ UINT64_C(1) << 63;
	case 3:
		return was ^ UINT64_C(1) << 31;
	case 4:
		return was + 1;
	case 5:
		return was - 1;
	case 6: /* a position further, or an owner */
		return was + 0x10000;
	case 7:
		return was - 0x10000;
	case 8:
		return was + 0x100;
	case 9: /* what the neighbours say */
		return at[1];
	case 10:
		return at[-1];
	case 11:
		return was | 0xffffffff;
	case 12:
		return was | UINT64_C(0xffffffff) << 32;
	case 13:
		return was & ~UINT64_C(0xffffffff);
	case 14:
		return was ^ UINT64_C(1) << random % 64;
	default:
		return random;
	}
}

/* Is the word of point @at in the segment? */
static bool is_there(uint64_t at)
{
	return (at >> K_BITS) / N_VALUES * 8 + 16 <= x.bytes;
}

static uint64_t offset_of(uint64_t at)
{
	uint64_t off = (at >> K_BITS) / N_VALUES * 8;

	/* Both neighbours have to be there. */
	return off < 8 || off + 16 > x.bytes ? 8 : off;
}

static const char *place_of(uint64_t off)
{
	for (uint32_t i = 0; i < x.n_words; i++)
		if (x.word[i].off == off)
			return x.word[i].where;
	return "segment";
}

/* Write what point @at says. */
static void flip(uint64_t at)
{
	uint64_t off = offset_of(at), seed = at, was, with;
	uint64_t *to = (uint64_t *)(void *)(x.memory + off);

	was = __atomic_load_n(to, __ATOMIC_RELAXED);
	with = hostile((uint32_t)(at >> K_BITS) % N_VALUES, was, to,
		       torture_random(&seed));
	__atomic_store_n(to, with, __ATOMIC_RELAXED);
	if (torture->at >= 0)
		torture_say("flip: %s, %" PRIu64 ": %" PRIx64
			    " becomes %" PRIx64 "\n",
			    place_of(off), off, was, with);
}

/* ------------------------------------------------------------- verdicts -- */

static void bad(size_t what, uint64_t at, const char *how)
{
	uint64_t off = offset_of(at);

	torture_bad(&x.row->t, what, x.name, (long)at, "%s (%s, %u)", how,
		    place_of(off), (unsigned)off);
}

#define WHAT(field) offsetof(struct tally, field)

/* Processor time of @pid, in ms. */
static uint64_t used_ms(pid_t pid)
{
	unsigned long user = 0, sys = 0;
	char path[64], line[512] = "", *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	at = strrchr(line, ')');
	if (at)
		sscanf(at + 2,
		       "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
		       "%lu %lu",
		       &user, &sys);
	return (user + sys) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* It ends; or it is asleep and may be; or it is killed.  Whether it ended. */
static bool comes_to_an_end(pid_t pid, int *status)
{
	uint64_t until = sb_deadline(PATIENCE_S * (int64_t)SB_NS_PER_S);
	struct pollfd p = { .events = POLLIN };
	bool ended = false;

	p.fd = (int)syscall(434, pid, 0u); /* pidfd_open */
	while (!ended && sb_now_ns() < until) {
		ended = poll(&p, 1, x.op->sleeps ? 20 : 500) == 1;
		if (!ended && used_ms(pid) > 4000)
			break;
		if (!ended && x.op->sleeps && t_parked(pid)) {
			sh->done = 1;
			break;
		}
	}
	close(p.fd);
	if (!ended)
		kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return ended;
}

static void judge(pid_t pid, uint64_t at)
{
	char how[128];
	int status;
	bool ended = comes_to_an_end(pid, &status);

	if (sh->crashed || sh->worker_crashed) {
		snprintf(how, sizeof(how),
			 "signal %u%s at address %" PRIx64
			 ", of a segment at %" PRIx64,
			 sh->crashed ? (unsigned)sh->crashed
				     : (unsigned)sh->worker_crashed,
			 sh->crashed ? "" : " in a worker",
			 (uint64_t)sh->crash_at, (uint64_t)(uintptr_t)x.memory);
		bad(WHAT(crashed), at, how);
	} else if (ended && WIFSIGNALED(status)) {
		bad(WHAT(crashed), at, strsignal(WTERMSIG(status)));
	} else if (!ended && !sh->done) {
		bad(WHAT(hung), at, "it does not come to an end");
	} else if (ended && WEXITSTATUS(status)) {
		bad(WHAT(wrong), at, "an exit status");
	}
	if (sh->ret == -EPROTO) {
		torture->tally->rejected++;
		x.row->t.rejected++;
	}
}

/* --------------------------------------------------------------- points -- */

static void note_reached(pid_t pid)
{
	uint64_t base = (uint64_t)(uintptr_t)x.memory, at[REACH_MAX];
	size_t n = reach(pid, base, x.bytes, at);

	while (n-- > 0 && x.n_reached < N_REACHED) {
		x.reached[x.n_reached].off = (uint32_t)(at[n] - base) & ~7u;
		x.reached[x.n_reached++].k = (uint32_t)x.len;
	}
}

/* Step through it once, undisturbed, to learn the way. */
static bool measure(void)
{
	pid_t pid = start_victim();
	int stop = T_STEPPED, status;
	uint64_t since;

	if (pid < 0) {
		torture_bad(&x.row->t, WHAT(wrong), x.name, -1, "no victim");
		return false;
	}
	x.n_reached = 0;
	set_tick(true);
	for (x.len = 0; x.len < K_MAX; x.len++) {
		x.pc[x.len] = t_step_pc(pid);
		if (sh->done || stop != T_STEPPED)
			break;
		note_reached(pid);
		since = 0;
		stop = t_step(pid, while_blocked, &since);
	}
	set_tick(false);
	kill(pid, SIGKILL);
	waitpid(pid, &status, __WALL);
	reap_others();
	if (x.len > (long)x.row->longest)
		x.row->longest = (uint64_t)x.len;
	if (x.len > 0 && stop != T_HANGS)
		return true;
	torture_bad(&x.row->t, WHAT(wrong), x.name, -1,
		    "it does not end undisturbed");
	return false;
}

/* Go to after @k instructions by @pc (NULL: by steps), flip there, and look
 * what becomes of it.  False when it was over before, as it was faster than
 * when it was measured. */
static bool run_once(uint64_t at, const uint64_t *pc, long k)
{
	pid_t pid = start_victim();
	int stop = T_STEPPED;
	uint64_t since = 0;

	if (pid < 0) {
		bad(WHAT(wrong), at, "no victim");
		return true;
	}
	set_tick(true);
	if (pc)
		stop = t_step_on(pid, pc, 0, k, while_blocked, &since);
	else
		for (; k > 0 && stop == T_STEPPED && !sh->done; k--) {
			since = 0;
			stop = t_step(pid, while_blocked, &since);
		}
	set_tick(false);
	if (stop == T_ENDED)
		return sh->crashed;
	flip(at);
	if (stop == T_HANGS)
		bad(WHAT(hung), at, "it hangs before anything was done to it");
	t_step_let_go(pid, (enum t_stop)stop);
	judge(pid, at);
	return true;
}

static void run_point(uint64_t at)
{
	long k = (long)(at & ((1u << K_BITS) - 1));

	torture_gate();
	if (k > x.len)
		k = x.len;
	torture_point(&x.row->t);
	if (!run_once(at, x.pc, k)) {
		reap_others();
		run_once(at, NULL, k);
	}
	reap_others();
}

/* In four three that it reaches; of the rest, in two one of the channel that is
 * worked on. */
static uint64_t random_point(uint64_t *seed)
{
	uint64_t r = torture_random(seed), n_own = x.n_words - x.first_own;
	uint64_t value = torture_random(seed) % N_VALUES, off, k;

	k = torture_random(seed) % (uint64_t)(x.len + 1);
	if (r & 3 && x.n_reached) {
		uint64_t i = (r >> 3) % x.n_reached;

		off = x.reached[i].off;
		k = x.reached[i].k;
	} else if (r & 4 && n_own) {
		off = x.word[x.first_own + (r >> 3) % n_own].off;
	} else {
		off = x.word[(r >> 3) % x.n_words].off;
	}
	return (off / 8 * N_VALUES + value) << K_BITS | k;
}

/* ---------------------------------------------------------------- cases -- */

static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = x.op->channel_bytes ? x.op->channel_bytes : 16384;
	c.max_message_bytes = 1024;
	c.blob_bytes = 8192; /* 16 cells of 256, 4 of 1024 */
	return c;
}

static int dead_main(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	hold();
	kill(getpid(), SIGKILL);
	return 1;
}

static void fill_queue(void)
{
	uint32_t n = x.state == EMPTY ? 0 : x.state == ONE ? 1 : 4;

	q = t_queue(bus, "q", 4, SLOT_BYTES,
		    x.op->kind == JOINABLE ? BUS_QUEUE_JOINABLE : 0);
	for (uint32_t i = 0; i < n; i++)
		T_CHECK(bus_queue_put(q, message(), x.op->len, 0) == 0);
	if (x.op->dead)
		t_wait(t_fork(dead_main, NULL));
}

/* Of what is too large for the rest of the slots the beginning is there. */
static void fill_pipe(void)
{
	uint32_t n = x.state == EMPTY ? 0 : x.state == ONE ? 1 : 64;

	T_CHECK(open_side(0) == 0);
	for (uint32_t i = 0; i < n; i++)
		if (bus_pipe_send(end[0], message(), x.op->len, 0))
			break;
}

/* Two requests, which nobody takes, and no more will come. */
static void fill_requests(void)
{
	struct bus_channel *c;
	struct sb_ring_end e;
	int idx;

	sh->go = 0;
	T_CHECK(start_coord(wait_for_go) == 0);
	T_CHECK(do_submit() == 0);
	idx = bus_channel_find(bus, "r");
	T_CHECK(idx >= 0);
	T_CHECK(bus_channel_attach(bus, (uint32_t)idx, &c, &e) == 0);
	sb_ring_close(&e);
}

/* The segment between two pages that nobody may touch, if there is room. */
static void make_bus(void)
{
	struct bus_config c = bus_settings();
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *after;

	mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bus = t_bus_with(NULL, &c);
	x.memory = bus->map->seg.base;
	x.bytes = bus->map->seg.bytes;
	after = x.memory + (x.bytes + page - 1) / page * page;
	mmap(after, page, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	mmap(x.memory - page, page, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void set_up(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	t_fill(text, sizeof(text), 7);
	make_bus();
	if (x.op->kind == QUEUE || x.op->kind == JOINABLE)
		fill_queue();
	else if (x.op->kind == PIPE)
		fill_pipe();
	else if (x.op->kind == REQUEST)
		fill_requests();
	find_words();
	x.copy = malloc(x.bytes);
	T_CHECK(x.copy);
	memcpy(x.copy, x.memory, x.bytes);
	guarded = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	T_CHECK(guarded != MAP_FAILED);
	guarded += page;
	mprotect(guarded, page, PROT_NONE);
}

/* Each word that it reaches, at each time, with each value; of long operations
 * a sample.  And some of the others. */
static void run_all(uint64_t *seed)
{
	uint64_t n = (uint64_t)x.n_reached * N_VALUES, step = n / FULL_N + 1;

	for (uint64_t i = *seed % step; i < n; i += step) {
		uint64_t off = x.reached[i / N_VALUES].off;
		uint64_t k = x.reached[i / N_VALUES].k;

		run_point((off / 8 * N_VALUES + i % N_VALUES) << K_BITS | k);
	}
	for (uint32_t i = 0; i < OTHER_N; i++)
		run_point(random_point(seed));
}

/* A process for each case: what it maps and forks goes with it. */
static int case_main(void *arg)
{
	struct sigaction sa = { .sa_handler = on_tick };
	uint64_t seed = torture->seed * 1000003 + *(const uint32_t *)arg;
	sigaction(SIGALRM, &sa, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	x.pc = malloc((K_MAX + 1) * sizeof(*x.pc));
	T_CHECK(x.pc);
	set_up();
	if (!measure())
		return 0;
	if (torture->at >= 0) {
		if (torture_has(is_there((uint64_t)torture->at)))
			run_point((uint64_t)torture->at);
		return 0;
	}
	if (torture->full)
		run_all(&seed);
	else
		for (uint32_t i = 0; i < QUICK_N; i++)
			run_point(random_point(&seed));
	return 0;
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();
	int status;

	x.op = &ops[c / N_STATES];
	x.state = c % N_STATES;
	snprintf(x.name, sizeof(x.name), "%s/%s", x.op->name,
		 state_names[x.state]);
	if (!(x.op->states & 1u << x.state) || !torture_wants(x.name))
		return;
	x.row = &all->row[x.op - ops];
	status = t_wait(t_fork(case_main, &c));
	if (status)
		torture_bad(&x.row->t, torture_verdict(status), x.name, -1,
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

int flip_main(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	good = t_each_cpu(shard_main, NULL);
	torture_say("%-18s %7s %7s %8s %5s %8s\n", "operation", "instr",
		    "points", "rejected", "bad", "seconds");
	for (size_t o = 0; o < lengthof(ops); o++) {
		const struct row *r = &all->row[o];

		if (r->t.points)
			torture_say("%-18s %7u %7u %8u %5u %8.1f\n",
				    ops[o].name, (unsigned)r->longest,
				    (unsigned)r->t.points,
				    (unsigned)r->t.rejected,
				    (unsigned)tally_bad(&r->t),
				    (double)r->ns / 1e9);
	}
	return good ? 0 : 1;
}
