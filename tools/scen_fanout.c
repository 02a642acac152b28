/*
 * scen_fanout.c - many more workers than processors, and each gets its share
 *
 * A task goes to whoever is free, so nobody is left out: the worker that has
 * done the fewest has done at least a quarter of the mean.  Each task says who
 * did it.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/pools.h"
#include "tools/progress.h"

#define EACH 100 /* tasks of a worker, if --count does not say how many */

/* With fewer in the mean, chance decides who gets none. */
#define MEAN_TO_JUDGE 16

/* A task waits, as for a disk or another machine, and needs little time of a
 * processor: that is what so many workers are good for.  Long enough that all
 * of it takes longer than other programs keep a processor. */
#define TASK_NS 4000000

struct answer {
	int64_t task;
	int64_t square;
	int64_t pid;
};

struct fanout {
	const struct scen_options *opt;
	struct scen_summary *summary;
	struct out *out;
	struct bus_pool *pool;
	uint64_t n_tasks;
	uint64_t n_done;
	uint64_t n_right;

	/* Who has done how many. */
	uint32_t n_pids;
	int64_t pids[FARM_MAX_WORKERS];
	uint64_t n_by[FARM_MAX_WORKERS];
};

/* --------------------------------------------------------------- worker -- */

static int square(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	const struct timespec task = { .tv_nsec = TASK_NS };
	struct answer answer = { .pid = getpid() };
	uint32_t n;

	(void)ctx;
	if (len_bytes != sizeof(n))
		return -EPROTO;
	memcpy(&n, req, sizeof(n));
	nanosleep(&task, NULL);
	answer.task = n;
	answer.square = (int64_t)n * n;
	return bus_reply_put(reply, &answer, sizeof(answer));
}

static const bus_handler handlers[] = { square };

/* ---------------------------------------------------------------- tasks -- */

/* One more was done by @pid. */
static void count_for(struct fanout *f, int64_t pid)
{
	uint32_t i = 0;

	while (i < f->n_pids && f->pids[i] != pid)
		i++;
	if (i == FARM_MAX_WORKERS)
		return; /* somebody kills them: there are too many */
	if (i == f->n_pids)
		f->pids[f->n_pids++] = pid;
	f->n_by[i]++;
}

static int count(void *ctx, struct bus_future *future,
		 const struct bus_result *r)
{
	struct fanout *f = ctx;
	struct answer answer;

	(void)future;
	f->n_done++;
	if (r->kind != BUS_RESULT_OK || r->len_bytes != sizeof(answer))
		return 0;
	memcpy(&answer, r->data, sizeof(answer));
	if (answer.square != answer.task * answer.task)
		return 0;
	f->n_right++;
	count_for(f, answer.pid);
	return 0;
}

/* Returns 0 or -errno. */
static int run_all(struct fanout *f)
{
	struct bus_task_config config = BUS_TASK_CONFIG_INIT;
	int ret = 0;

	config.done = count;
	config.ctx = f;
	for (uint64_t i = 0; i < f->n_tasks && ret == 0; i++) {
		uint32_t n = (uint32_t)i;

		ret = bus_pool_submit(f->pool, 0, &n, sizeof(n), &config, NULL,
				      -1);
		if (i % 256 == 0)
			progress_results(progress_clock(), f->n_done,
					 (double)f->n_done / (double)f->n_tasks,
					 0);
	}
	bus_pool_close(f->pool);
	return ret < 0 ? ret : bus_pool_join(f->pool, -1);
}

/* -------------------------------------------------------------- reports -- */

static int n_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 0
							   : CPU_COUNT(&set);
}

static void find_ends(const struct fanout *f, uint64_t *fewest, uint64_t *most)
{
	*fewest = f->n_pids < f->opt->n_workers ? 0 : UINT64_MAX;
	*most = 0;
	for (uint32_t i = 0; i < f->n_pids; i++) {
		if (f->n_by[i] < *fewest)
			*fewest = f->n_by[i];
		if (f->n_by[i] > *most)
			*most = f->n_by[i];
	}
}

static int judge(const struct fanout *f, uint64_t fewest, double mean)
{
	if (f->n_right != f->n_tasks) {
		complain("busscen: %" PRIu64 " of %" PRIu64 " results are "
			 "missing or wrong",
			 f->n_tasks - f->n_right, f->n_tasks);
		return SCEN_FAILED;
	}
	if (mean >= MEAN_TO_JUDGE && (double)fewest < mean / 4) {
		complain("busscen: a worker has done less than a quarter of "
			 "the mean");
		return SCEN_FAILED;
	}
	return SCEN_OK;
}

static int report(struct fanout *f)
{
	double mean = (double)f->n_tasks / f->opt->n_workers;
	uint64_t fewest, most;

	find_ends(f, &fewest, &most);
	f->summary->n_results = f->n_right;
	f->summary->n_errors = f->n_tasks - f->n_right;
	if (f->out->json) {
		out_json(f->out,
			 json_pack("{s:I, s:I, s:i, s:I, s:f, s:I}", "tasks",
				   (json_int_t)f->n_tasks, "right",
				   (json_int_t)f->n_right, "processors",
				   n_processors(), "fewest", (json_int_t)fewest,
				   "mean", mean, "most", (json_int_t)most));
	} else {
		out_text(f->out,
			 "%" PRIu32 " workers on %d processors: %" PRIu64
			 " of %" PRIu64 " tasks are answered.\n",
			 f->opt->n_workers, n_processors(), f->n_right,
			 f->n_tasks);
		out_text(f->out,
			 "Tasks of a worker: %" PRIu64 " the fewest, %.0f the "
			 "mean, %" PRIu64 " the most.\n",
			 fewest, mean, most);
	}
	out_flush(f->out);
	return judge(f, fewest, mean);
}

/* ------------------------------------------------------------------ run -- */

static int run(void *ctx, struct bus *bus)
{
	struct fanout *f = ctx;
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	int ret, status;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = f->opt->n_workers;
	ret = bus_pool_start(bus, POOLS_NAME, &config, &f->pool);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	progress_start("fanout", progress_clock());
	ret = run_all(f);
	if (ret < 0)
		status = pools_cannot("run the tasks", ret, f->pool);
	else
		status = report(f);
	bus_pool_free(f->pool);
	return status;
}

int scen_fanout(const struct scen_options *opt, struct out *out,
		struct scen_summary *summary)
{
	struct fanout f = { .opt = opt, .summary = summary, .out = out };

	f.n_tasks = opt->generate ? opt->count : EACH * opt->n_workers;
	summary->n_workers = opt->n_workers;
	return pools_run(opt, run, &f);
}
