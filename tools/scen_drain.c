/*
 * scen_drain.c - a pool is closed while it has plenty to do, and nothing is
 * lost
 *
 * After the close no more is accepted; all that was is done, whoever is killed
 * meanwhile, and then the workers leave.  Each task is counted once, and its
 * result looked at.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus/shmbus.h"
#include "tools/pairs.h"
#include "tools/pools.h"
#include "tools/progress.h"

#define N_TASKS 2000 /* if --count does not say how many */
#define WINDOW  1024 /* of them are to be done at the most when it is closed */
#define TASK_NS 100000

struct answer {
	uint64_t task;
	uint64_t square;
};

struct drain {
	const struct scen_options *opt;
	struct scen_summary *summary;
	struct out *out;
	struct bus *bus;
	struct bus_pool *pool;
	uint64_t n_tasks;
	uint64_t n_done;
	uint64_t n_right;
	uint64_t n_left; /* to be done when it was closed */
	uint64_t random;
	bool refused;        /* a task after the close */
	bool all_left;       /* the workers */
	unsigned char *seen; /* of each task: it was counted */
};

/* --------------------------------------------------------------- worker -- */

static int square(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	const struct timespec task = { .tv_nsec = TASK_NS };
	struct answer answer;

	(void)ctx;
	if (len_bytes != sizeof(answer.task))
		return -EPROTO;
	memcpy(&answer.task, req, sizeof(answer.task));
	nanosleep(&task, NULL);
	answer.square = answer.task * answer.task;
	return bus_reply_put(reply, &answer, sizeof(answer));
}

static const bus_handler handlers[] = { square };

/* ---------------------------------------------------------------- tasks -- */

/* Kill any one of the workers. */
static void kill_one(struct drain *d)
{
	pid_t pids[FARM_MAX_WORKERS];
	int n = pools_pids(d->bus, pids, FARM_MAX_WORKERS);

	/* They are our children, and reaped by calls of the pool only. */
	if (n > 0 &&
	    kill(pids[pairs_random(&d->random) % (uint64_t)n], SIGKILL) == 0)
		d->summary->n_kills++;
}

/* A task is done; is it right, and for the first time? */
static void look(struct drain *d, const struct bus_result *r)
{
	struct answer a;

	if (r->kind != BUS_RESULT_OK || r->len_bytes != sizeof(a))
		return;
	memcpy(&a, r->data, sizeof(a));
	if (a.task >= d->n_tasks || a.square != a.task * a.task ||
	    d->seen[a.task])
		return;
	d->seen[a.task] = 1;
	d->n_right++;
}

static int count(void *ctx, struct bus_future *future,
		 const struct bus_result *r)
{
	struct drain *d = ctx;

	(void)future;
	d->n_done++;
	look(d, r);
	if (d->opt->kill_every && d->n_done % d->opt->kill_every == 0)
		kill_one(d);
	progress_results(progress_clock(), d->n_done,
			 (double)d->n_done / (double)d->n_tasks,
			 d->summary->n_kills);
	return 0;
}

static int submit(struct drain *d, uint64_t n)
{
	struct bus_task_config config = BUS_TASK_CONFIG_INIT;

	config.done = count;
	config.ctx = d;
	return bus_pool_submit(d->pool, 0, &n, sizeof(n), &config, NULL, -1);
}

/* Close, try one more, join.  Returns 0 or -errno. */
static int close_and_join(struct drain *d)
{
	pid_t pids[FARM_MAX_WORKERS];
	int n = pools_pids(d->bus, pids, FARM_MAX_WORKERS);
	int ret;

	bus_pool_close(d->pool);
	d->refused = submit(d, 0) == -EPIPE;
	ret = bus_pool_join(d->pool, -1);
	d->all_left = pools_pids(d->bus, pids, 0) == 0;
	while (n > 0)
		if (kill(pids[--n], 0) == 0)
			d->all_left = false;
	return ret;
}

/* Submit all, and close at once.  Returns 0 or -errno. */
static int drain(struct drain *d)
{
	int ret = 0;

	for (uint64_t n = 0; n < d->n_tasks && ret == 0; n++)
		ret = submit(d, n);
	if (ret < 0)
		return ret;
	d->n_left = d->n_tasks - d->n_done;
	return close_and_join(d);
}

/* -------------------------------------------------------------- reports -- */

static void report_text(struct drain *d)
{
	out_text(d->out,
		 "Submitted %" PRIu64 " tasks to %" PRIu32 " workers; %" PRIu64
		 " were not done when the pool was closed.\n",
		 d->n_tasks, d->opt->n_workers, d->n_left);
	out_text(d->out, "Another task was %s.\n",
		 d->refused ? "refused" : "accepted");
	if (d->opt->kill_every)
		out_text(d->out,
			 "SIGKILL was sent to workers %" PRIu64 " times.\n",
			 d->summary->n_kills);
	out_text(d->out,
		 "%" PRIu64 " tasks are done, each once, %" PRIu64
		 " are lost; %s.\n",
		 d->n_right, d->n_tasks - d->n_right,
		 d->all_left ? "all workers have left" : "workers are left");
}

static int report(struct drain *d)
{
	d->summary->n_results = d->n_right;
	d->summary->n_errors = d->n_tasks - d->n_right;
	if (d->out->json)
		out_json(d->out,
			 json_pack("{s:I, s:I, s:I, s:b, s:b}", "tasks",
				   (json_int_t)d->n_tasks, "left_at_close",
				   (json_int_t)d->n_left, "right",
				   (json_int_t)d->n_right, "refused",
				   d->refused, "all_left", d->all_left));
	else
		report_text(d);
	out_flush(d->out);
	if (d->n_right == d->n_tasks && d->n_done == d->n_tasks && d->refused &&
	    d->all_left)
		return SCEN_OK;
	complain("busscen: the pool was not drained as it should be");
	return SCEN_FAILED;
}

/* ------------------------------------------------------------------ run -- */

static int run(void *ctx, struct bus *bus)
{
	struct drain *d = ctx;
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	int ret, status;

	d->bus = bus;
	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = d->opt->n_workers;
	config.window = WINDOW;
	config.max_attempts =
		d->opt->kill_every ? POOLS_ATTEMPTS : FARM_ATTEMPTS;
	ret = bus_pool_start(bus, POOLS_NAME, &config, &d->pool);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	progress_start("drain", progress_clock());
	ret = drain(d);
	if (ret < 0)
		status = pools_cannot("run the tasks", ret, d->pool);
	else
		status = report(d);
	bus_pool_free(d->pool);
	return status;
}

int scen_drain(const struct scen_options *opt, struct out *out,
	       struct scen_summary *summary)
{
	struct drain d = { .opt = opt, .summary = summary, .out = out };
	int status = SCEN_FAILED;

	d.n_tasks = opt->generate ? opt->count : N_TASKS;
	d.random = opt->seed;
	summary->n_workers = opt->n_workers;
	d.seen = calloc(d.n_tasks ? d.n_tasks : 1, 1);
	if (d.seen)
		status = pools_run(opt, run, &d);
	else
		scen_cannot("start", -ENOMEM);
	free(d.seen);
	return status;
}
