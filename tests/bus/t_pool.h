/*
 * t_pool.h - what the tests of the pool have in common: functions for its
 * workers, and memory in which those say what they did
 */
#ifndef TEST_BUS_T_POOL_H
#define TEST_BUS_T_POOL_H

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/bus/t_bus.h"

#define MS ((int64_t)1000000)

enum what {
	ECHO,      /* the request */
	SIZE,      /* n bytes, t_fill */
	FAIL,      /* code n, and a text with it */
	PID,       /* its pid */
	DIE,       /* SIGKILL */
	DIE_TIMES, /* the first n times, then as ECHO */
	EXIT,      /* exit(n) */
	EXIT_NOW,  /* _exit(n) */
	ABORT,
	EXEC,
	FORK,     /* a child that comes back as well; then ECHO */
	NAP,      /* n milliseconds; then ECHO */
	HOLD,     /* until shared->go is n; then ECHO */
	POLITE,   /* until it is told; then FAIL */
	STUBBORN, /* blocks SIGTERM, for ever */
	STUCK,    /* for ever; SIGTERM does what it does */
	HANDLED,  /* until SIGTERM was handled; then FAIL */
	LOG,      /* n goes to the log; then ECHO */
	SIZE_DIE, /* dies in the middle of sending n bytes, once */
	ATTEMPTS, /* how many died on it */
	HAS_BUS   /* puts n into the queue "q" of the worker's endpoint */
};

struct order {
	uint32_t what;
	int32_t n;
};

struct t_shared {
	_Atomic uint32_t n_begun; /* tasks that wait or hang */
	_Atomic uint32_t go;
	_Atomic uint32_t n_inits, n_exits, fail_inits;
	_Atomic uint32_t n_soft; /* signals that were handled */
	_Atomic uint32_t n_log;
	_Atomic int32_t log[4096];
	_Atomic uint32_t n_runs;
};

static struct t_shared *shared;
static struct bus *bus;
static struct bus_pool *pool;
static struct bus_result result;

static inline void nap(int64_t ns)
{
	nanosleep(&(struct timespec){ ns / 1000000000, ns % 1000000000 }, NULL);
}

static volatile sig_atomic_t soft_came;

static void on_soft(int sig)
{
	(void)sig;
	soft_came = 1;
	shared->n_soft++;
}

static inline void hang(void)
{
	for (;;)
		pause();
}

static inline int wait_for_end(struct order o, struct bus_reply *r)
{
	struct sigaction sa = { .sa_handler = on_soft };
	sigset_t set;

	shared->n_begun++;
	switch (o.what) {
	case HOLD:
		while (shared->go != (uint32_t)o.n)
			nap(MS / 10);
		return 0;
	case POLITE:
		while (!bus_reply_canceled(r))
			nap(MS / 10);
		return 1;
	case HANDLED:
		sigaction(SIGTERM, &sa, NULL);
		while (!soft_came)
			nap(MS / 10);
		return 1;
	case STUBBORN:
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		/* fall through */
	default:
		hang();
	}
	return 0;
}

static inline void end_somehow(struct order o, struct bus_reply *r)
{
	static char *const argv[] = { (char *)"sleep", (char *)"1000", NULL };

	switch (o.what) {
	case DIE_TIMES:
		if ((int)bus_reply_attempts(r) >= o.n)
			return;
		/* fall through */
	case DIE:
		kill(getpid(), SIGKILL);
		break;
	case EXIT:
		exit(o.n);
	case EXIT_NOW:
		_exit(o.n);
	case ABORT:
		signal(SIGABRT, SIG_DFL);
		abort();
	case EXEC:
		execvp("sleep", argv);
		break;
	case FORK:
		if (fork() > 0)
			wait(NULL);
		break;
	default:
		break;
	}
}

/* In the middle of a large result the worker is killed by a child of its. */
static inline void die_soon(void)
{
	pid_t me = getpid();

	if (!fork()) {
		nap(3 * MS);
		kill(me, SIGKILL);
		_exit(0);
	}
}

static int act(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	struct order o = { ECHO, 0 };
	void *room;

	(void)ctx;
	shared->n_runs++;
	if (len >= sizeof(o))
		memcpy(&o, req, sizeof(o));
	switch (o.what) {
	case SIZE_DIE:
		if (!bus_reply_attempts(r))
			die_soon();
		/* fall through */
	case SIZE:
		room = bus_reply_room(r, (size_t)o.n);
		if (!room)
			return 99;
		t_fill(room, (size_t)o.n, 5);
		return 0;
	case FAIL:
		bus_reply_error(r, "failed with %d", o.n);
		return o.n;
	case PID:
		o.n = getpid();
		return bus_reply_put(r, &o.n, sizeof(o.n));
	case ATTEMPTS:
		o.n = (int)bus_reply_attempts(r);
		return bus_reply_put(r, &o.n, sizeof(o.n));
	case NAP:
		nap(o.n * MS);
		break;
	case LOG:
		shared->log[shared->n_log++ % 4096] = o.n;
		break;
	case HAS_BUS: {
		struct bus_queue *q;

		T_CHECK(bus_queue_open(bus_reply_bus(r), "q", NULL, &q) == 0);
		T_CHECK(t_put_u64(q, (uint64_t)o.n, T_LONG) == 0);
		bus_queue_free(q);
		break;
	}
	case HOLD:
	case POLITE:
	case STUBBORN:
	case STUCK:
	case HANDLED:
		if (wait_for_end(o, r))
			return 77;
		break;
	default:
		end_somehow(o, r);
	}
	return bus_reply_put(r, req, len);
}

static const bus_handler t_handlers[] = { act };

static inline struct bus *t_pool_bus(void)
{
	struct bus_config c = t_config();

	c.channel_bytes = 16 << 20;
	return t_bus_with(NULL, &c);
}

static void setup(void)
{
	shared = t_shared(sizeof(*shared));
	bus = t_pool_bus();
}

static void teardown(void)
{
	bus_pool_free(pool);
	bus_close(bus);
}

static inline struct bus_pool_config t_pool_config(uint32_t n_workers)
{
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;

	c.handlers = t_handlers;
	c.n_handlers = 1;
	c.n_workers = n_workers;
	c.grace_ns = (uint64_t)(20 * MS);
	return c;
}

static inline void t_pool_with(const struct bus_pool_config *c)
{
	T_CHECK(bus_pool_start(bus, "p", c, &pool) == 0);
}

static inline void t_pool(uint32_t n_workers)
{
	struct bus_pool_config c = t_pool_config(n_workers);

	t_pool_with(&c);
}

static inline struct bus_future *t_submit_with(uint32_t what, int n,
					       const struct bus_task_config *c)
{
	struct order o = { what, n };
	struct bus_future *f = NULL;

	T_CHECK(bus_pool_submit(pool, 0, &o, sizeof(o), c, &f, T_LONG) == 0);
	T_CHECK(f);
	return f;
}

static inline struct bus_future *t_submit(uint32_t what, int n)
{
	return t_submit_with(what, n, NULL);
}

/* The result of @f, of this kind. */
static inline const void *t_get(struct bus_future *f, uint32_t kind)
{
	T_CHECK(bus_future_get(f, &result, T_LONG) == 0);
	if (result.kind != kind)
		fprintf(stderr, "kind %u, code %d, not kind %u\n", result.kind,
			result.code, kind);
	T_CHECK(result.kind == kind);
	return result.data;
}

static inline void t_apply(uint32_t what, int n, uint32_t kind)
{
	struct order o = { what, n };

	T_CHECK(bus_pool_apply(pool, 0, &o, sizeof(o), &result, T_LONG) == 0);
	if (result.kind != kind)
		fprintf(stderr, "kind %u, code %d, not kind %u\n", result.kind,
			result.code, kind);
	T_CHECK(result.kind == kind);
}

static inline struct bus_pool_stats t_pool_stats(void)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;

	T_CHECK(bus_pool_stats(bus, "p", &s, NULL, 0) >= 0);
	return s;
}

static inline struct bus_worker_stats t_worker(uint32_t place)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[32];

	T_CHECK(bus_pool_stats(bus, "p", &s, w, 32) > (int)place);
	return w[place];
}

/* Kill the worker in that place, if there is one just now. */
static inline void t_kill_worker(uint32_t place)
{
	pid_t pid = t_worker(place).pid;

	if (pid > 0)
		kill(pid, SIGKILL);
}

/* Tasks that hang have begun. */
static inline bool t_begun(void *n)
{
	return shared->n_begun >= *(uint32_t *)n;
}

static inline void t_await_begun(uint32_t n)
{
	T_CHECK(t_eventually(t_begun, &n, 20000));
}

/* Make progress for a while, until @done. */
static inline bool t_progress_until(bool (*done)(void *arg), void *arg)
{
	uint64_t end = sb_now_ns() + 20 * SB_NS_PER_S;
	struct bus_future *f;

	while (!done(arg) && sb_now_ns() < end) {
		f = t_submit(NAP, 1);
		t_get(f, BUS_RESULT_OK);
		bus_future_free(f);
	}
	return done(arg);
}

#endif
