/*
 * scen_crash.c - tasks that end in every way there is, among many that do not
 * mind
 *
 * One task is killed, one has a wild pointer, one calls exit(0), one exec(),
 * one hangs, and so on; between them are others that just work.  Each future
 * completes and tells what became of its task, the others are all done, and
 * the pool goes on.  At last a pool whose workers cannot even start says why,
 * instead of starting them for ever.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/pools.h"

#define N_OTHERS    1000      /* if --count does not say how many */
#define ATTEMPTS    2         /* workers that may die on a task */
#define LIMIT_NS    500000000 /* for the one that hangs */
#define GRACE_NS    20000000
#define PATIENCE_NS 60000000000 /* whatever takes longer hangs */

#define NO_LICENCE "there is no licence for more"

struct crash {
	const struct scen_options *opt;
	struct scen_summary *summary;
	struct out *out;
	struct bus *bus;
	struct bus_pool *pool;
	uint64_t n_others;
	uint64_t n_submitted; /* of those */
	uint64_t n_over;
	uint64_t n_done; /* well */
	uint64_t n_more; /* submitted at the end */
	uint64_t sum;    /* of their results, less what that should be */
	bool wrong;      /* something was not as it should be */
};

/* --------------------------------------------------------------- worker -- */

/* No core files: it is all on purpose. */
static int init(void *ctx, char *error, size_t error_bytes)
{
	const struct rlimit none = { 0, 0 };

	(void)ctx;
	(void)error;
	(void)error_bytes;
	setrlimit(RLIMIT_CORE, &none);
	return 0;
}

static int no_init(void *ctx, char *error, size_t error_bytes)
{
	(void)ctx;
	snprintf(error, error_bytes, "%s", NO_LICENCE);
	return -1;
}

/* What the others do. */
static int square(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	uint64_t n;

	(void)ctx;
	if (len_bytes != sizeof(n))
		return -EPROTO;
	memcpy(&n, req, sizeof(n));
	n *= n;
	return bus_reply_put(reply, &n, sizeof(n));
}

/* A task that does not care what it gets. */
#define UNUSED __attribute__((unused))
#define TASK(name)                                                             \
	static int name(void *ctx UNUSED, const void *req UNUSED,              \
			size_t len_bytes UNUSED,                               \
			struct bus_reply *reply UNUSED)

TASK(fail)
{
	bus_reply_error(reply, "no room on tape %d", 7);
	return -ENOSPC;
}

/* Die of a signal, also where a sanitizer catches it. */
static int die_of(int signo)
{
	signal(signo, SIG_DFL);
	raise(signo);
	return -EPROTO;
}

TASK(be_killed)
{
	return die_of(SIGKILL);
}

TASK(be_wild)
{
	return die_of(SIGSEGV);
}

TASK(give_up)
{
	return die_of(SIGABRT);
}

TASK(leave)
{
	exit(0);
}

TASK(leave_at_once)
{
	_exit(7);
}

TASK(be_another)
{
	execlp("sleep", "sleep", "60", (char *)NULL);
	bus_reply_error(reply, "there is no sleep(1)");
	return -errno;
}

/* The child returns from here as well, and must not be a second worker. */
TASK(fork_a_child)
{
	pid_t child = fork();

	if (child > 0)
		waitpid(child, NULL, 0);
	return square(ctx, req, len_bytes, reply);
}

/* It does not even listen to the signal that asks it to stop. */
TASK(hang)
{
	signal(SIGTERM, SIG_IGN);
	while (pause() < 0)
		;
	return -EINTR;
}

/* What is done, and how that must end. */
struct end {
	const char *what;
	const char *name; /* in JSON */
	bus_handler handler;
	uint32_t kind; /* enum bus_result_kind */
	int32_t code;
	int signal;
	int exit_status;
};

/* clang-format off */
static const struct end ends[] = {
	{ "returns an error", "error", fail, BUS_RESULT_ERROR, -ENOSPC, 0, 0 },
	{ "kills itself", "sigkill", be_killed, BUS_RESULT_DEATH, -EOWNERDEAD, SIGKILL, -1 },
	{ "has a wild pointer", "sigsegv", be_wild, BUS_RESULT_DEATH, -EOWNERDEAD, SIGSEGV, -1 },
	{ "aborts", "abort", give_up, BUS_RESULT_DEATH, -EOWNERDEAD, SIGABRT, -1 },
	{ "calls exit(0)", "exit", leave, BUS_RESULT_DEATH, -EOWNERDEAD, 0, 0 },
	{ "calls _exit(7)", "_exit", leave_at_once, BUS_RESULT_DEATH, -EOWNERDEAD, 0, 7 },
	{ "calls exec", "exec", be_another, BUS_RESULT_DEATH, -EOWNERDEAD, SIGKILL, -1 },
	{ "forks", "fork", fork_a_child, BUS_RESULT_OK, 0, 0, 0 },
	{ "hangs", "hang", hang, BUS_RESULT_TIMEOUT, -ETIMEDOUT, 0, 0 },
};
/* clang-format on */
#define N_ENDS (sizeof(ends) / sizeof(ends[0]))

/* The others' function is the last. */
static bus_handler handlers[N_ENDS + 1];

/* ---------------------------------------------------------------- tasks -- */

/* One of the others is over. */
static int count_other(void *ctx, struct bus_future *future,
		       const struct bus_result *r)
{
	struct crash *c = ctx;
	uint64_t n;

	(void)future;
	c->n_over++;
	if (r->kind != BUS_RESULT_OK || r->len_bytes != sizeof(n))
		return 0;
	memcpy(&n, r->data, sizeof(n));
	c->n_done++;
	c->sum += n;
	return 0;
}

/* @n of the others.  Returns 0 or -errno. */
static int submit_others(struct crash *c, uint64_t n)
{
	struct bus_task_config config = BUS_TASK_CONFIG_INIT;
	int ret = 0;

	config.done = count_other;
	config.ctx = c;
	for (; n > 0 && ret == 0; n--) {
		uint64_t number = ++c->n_submitted;

		c->sum -= number * number;
		ret = bus_pool_submit(c->pool, N_ENDS, &number, sizeof(number),
				      &config, NULL, PATIENCE_NS);
	}
	return ret;
}

/* One of those that end badly.  Returns 0 or -errno. */
static int submit_end(struct crash *c, uint32_t i, struct bus_future **future)
{
	struct bus_task_config config = BUS_TASK_CONFIG_INIT;
	uint64_t one = 1;

	if (ends[i].kind == BUS_RESULT_TIMEOUT)
		config.limit_ns = LIMIT_NS;
	return bus_pool_submit(c->pool, i, &one, sizeof(one), &config, future,
			       PATIENCE_NS);
}

/*
 * All of them, with as many of the others before each and after the last.  But
 * not the one that hangs: its time counts from now on, and shall not be over
 * before it has begun.  Returns 0 or -errno.
 */
static int submit_all(struct crash *c, struct bus_future **futures)
{
	uint64_t each = c->n_others / (N_ENDS + 1);
	int ret = 0;

	for (uint32_t i = 0; i < N_ENDS && ret == 0; i++) {
		ret = submit_others(c, each);
		if (ret == 0 && ends[i].kind != BUS_RESULT_TIMEOUT)
			ret = submit_end(c, i, &futures[i]);
	}
	if (ret == 0)
		ret = submit_others(c, c->n_others - each * N_ENDS);
	return ret;
}

/* -------------------------------------------------------------- reports -- */

/* One line: what was done, and how it ended. */
static void report(struct crash *c, const char *what, const char *how,
		   bool right)
{
	if (!right)
		c->wrong = true;
	if (!c->out->json)
		out_text(c->out, "%-19s %s%s\n", what, how,
			 right ? "" : " - WRONG");
}

static bool is_right(const struct end *end, const struct bus_result *r)
{
	if (r->kind != end->kind || r->code != end->code)
		return false;
	return r->kind != BUS_RESULT_DEATH ||
	       (r->attempts == ATTEMPTS && r->signal == end->signal &&
		r->exit_status == end->exit_status);
}

/* How a task ended, in words. */
static void tell(const struct bus_result *r, char *text, size_t cap)
{
	char how[64];

	switch (r->kind) {
	case BUS_RESULT_OK:
		snprintf(text, cap, "done");
		break;
	case BUS_RESULT_ERROR:
		snprintf(text, cap, "error %" PRId32 ", '%.*s'", r->code,
			 (int)r->len_bytes, (const char *)r->data);
		break;
	case BUS_RESULT_DEATH:
		scen_how_it_ended(r->signal, r->exit_status, how, sizeof(how));
		snprintf(text, cap,
			 "quarantined: %" PRIu32
			 " workers died on it, the last %s",
			 r->attempts, how);
		break;
	case BUS_RESULT_TIMEOUT:
		snprintf(text, cap, "given up after %d ms, its worker killed",
			 LIMIT_NS / 1000000);
		break;
	default:
		snprintf(text, cap, "%s", strerror(-r->code));
		break;
	}
}

static void report_end(struct crash *c, const struct end *end,
		       const struct bus_result *r)
{
	bool right = is_right(end, r);
	char how[256];

	tell(r, how, sizeof(how));
	report(c, end->what, how, right);
	if (right)
		c->summary->n_results++;
	else
		c->summary->n_errors++;
	if (c->out->json)
		out_json(c->out,
			 json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:b}",
				   "task", end->name, "end", how, "attempts",
				   (int)r->attempts, "pid", (int)r->pid,
				   "signal", (int)r->signal, "exit_status",
				   (int)r->exit_status, "right", right));
}

/* The others, when all is over. */
static void report_others(struct crash *c)
{
	bool right = c->n_done == c->n_others && c->sum == 0;
	char what[40], how[64];

	snprintf(what, sizeof(what), "%" PRIu64 " others", c->n_others);
	snprintf(how, sizeof(how), "%" PRIu64 " done", c->n_done);
	report(c, what, how, right);
	c->summary->n_results += c->n_done;
	c->summary->n_errors += c->n_others - c->n_done;
	if (c->out->json)
		out_json(c->out,
			 json_pack("{s:s, s:I, s:I, s:b}", "task", "others",
				   "submitted", (json_int_t)c->n_others, "done",
				   (json_int_t)c->n_done, "right", right));
}

/* What the pool has counted must be what has happened. */
static void report_stats(struct crash *c)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	uint64_t n_ends[BUS_RESULT_BROKEN + 1] = { c->n_others + c->n_more };
	char how[64];
	bool right;

	for (size_t i = 0; i < N_ENDS; i++)
		n_ends[ends[i].kind]++;
	right = bus_pool_stats(c->bus, POOLS_NAME, &s, NULL, 0) >= 0 &&
		s.n_submitted == c->n_others + c->n_more + N_ENDS &&
		s.n_ok == n_ends[BUS_RESULT_OK] &&
		s.n_failed == n_ends[BUS_RESULT_ERROR] &&
		s.n_quarantined == n_ends[BUS_RESULT_DEATH] &&
		s.n_timed_out == n_ends[BUS_RESULT_TIMEOUT] &&
		s.n_deaths >= s.n_quarantined * ATTEMPTS;
	snprintf(how, sizeof(how),
		 "%" PRIu64 " died, %" PRIu64 " were started anew", s.n_deaths,
		 s.n_respawns);
	report(c, "workers", how, right);
	if (c->out->json)
		out_json(c->out,
			 json_pack("{s:I, s:I, s:I, s:I, s:b}", "deaths",
				   (json_int_t)s.n_deaths, "respawns",
				   (json_int_t)s.n_respawns, "quarantined",
				   (json_int_t)s.n_quarantined, "timed_out",
				   (json_int_t)s.n_timed_out, "right", right));
}

/* ------------------------------------------------------------------ run -- */

/* Returns 0 or -errno: not how a task ended, but that we do not know. */
static int collect_all(struct crash *c, struct bus_future **futures)
{
	int ret = 0;

	for (uint32_t i = 0; i < N_ENDS && ret == 0; i++) {
		struct bus_result r;

		if (!futures[i])
			ret = submit_end(c, i, &futures[i]);
		if (ret == 0)
			ret = bus_future_get(futures[i], &r, PATIENCE_NS);
		if (ret == 0)
			report_end(c, &ends[i], &r);
		out_flush(c->out);
	}
	return ret;
}

/* Does the worker still hang whose task was given up? */
static bool one_hangs(struct crash *c)
{
	struct bus_pool_stats stats = BUS_POOL_STATS_INIT;
	struct bus_worker_stats workers[FARM_MAX_WORKERS];
	int n = bus_pool_stats(c->bus, POOLS_NAME, &stats, workers,
			       FARM_MAX_WORKERS);

	while (n > 0)
		if (workers[--n].state == BUS_WORKER_TOLD)
			return true;
	return false;
}

/* After all that the pool works as before; until the others are over, too. */
static int go_on(struct crash *c)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t two = 2, four = 0;
	struct bus_result r;
	int ret;

	do {
		nanosleep(&pause, NULL);
		ret = bus_pool_apply(c->pool, N_ENDS, &two, sizeof(two), &r,
				     PATIENCE_NS);
		if (ret < 0)
			return ret;
		if (r.kind == BUS_RESULT_OK && r.len_bytes == sizeof(four))
			memcpy(&four, r.data, sizeof(four));
		if (four != 4)
			return -EPROTO;
		c->n_more++;
	} while (c->n_over < c->n_others || one_hangs(c));
	return 0;
}

static int start(struct crash *c,
		 int (*init_fn)(void *ctx, char *error, size_t error_bytes))
{
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;

	for (size_t i = 0; i < N_ENDS; i++)
		handlers[i] = ends[i].handler;
	handlers[N_ENDS] = square;
	config.handlers = handlers;
	config.n_handlers = N_ENDS + 1;
	config.n_workers = c->opt->n_workers;
	config.init = init_fn;
	config.max_attempts = ATTEMPTS;
	config.grace_ns = GRACE_NS;
	return bus_pool_start(c->bus, POOLS_NAME, &config, &c->pool);
}

/* The pool whose tasks crash.  Returns SCEN_... . */
static int crash(struct crash *c)
{
	struct bus_future *futures[N_ENDS] = { 0 };
	int ret = start(c, init);

	if (ret < 0)
		return scen_cannot("start the workers", ret);
	ret = submit_all(c, futures);
	if (ret == 0)
		ret = collect_all(c, futures);
	if (ret == 0)
		ret = go_on(c);
	if (ret < 0) {
		pools_cannot("run the tasks", ret, c->pool);
		c->wrong = true;
	} else {
		report_others(c);
		report_stats(c);
	}
	for (size_t i = 0; i < N_ENDS; i++)
		bus_future_free(futures[i]);
	pools_stop(c->pool);
	return c->wrong ? SCEN_FAILED : SCEN_OK;
}

/* The pool that cannot start. */
static int not_even_start(struct crash *c)
{
	struct bus_result r = { 0 };
	uint64_t one = 1;
	const char *why;
	bool right;
	int ret = start(c, no_init);

	if (ret < 0)
		return scen_cannot("start the workers", ret);
	ret = bus_pool_apply(c->pool, N_ENDS, &one, sizeof(one), &r,
			     PATIENCE_NS);
	why = bus_pool_error(c->pool);
	right = (ret == -ECHILD || (ret == 0 && r.kind == BUS_RESULT_BROKEN)) &&
		strstr(why, NO_LICENCE);
	report(c, "init that fails", *why ? why : strerror(-ret), right);
	if (c->out->json)
		out_json(c->out, json_pack("{s:s, s:s, s:b}", "task", "init",
					   "end", why, "right", right));
	bus_pool_free(c->pool);
	return right ? SCEN_OK : SCEN_FAILED;
}

static int run(void *ctx, struct bus *bus)
{
	struct crash *c = ctx;
	int status;

	c->bus = bus;
	status = crash(c);
	if (status == SCEN_OK)
		status = not_even_start(c);
	if (c->wrong)
		complain("busscen: not everything ended as it should");
	return status;
}

int scen_crash(const struct scen_options *opt, struct out *out,
	       struct scen_summary *summary)
{
	struct crash c = { .opt = opt, .summary = summary, .out = out };

	c.n_others = opt->generate ? opt->count : N_OTHERS;
	summary->n_workers = opt->n_workers;
	return pools_run(opt, run, &c);
}
