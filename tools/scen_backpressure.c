/*
 * scen_backpressure.c - slow workers, and somebody who submits as fast as he
 * can
 *
 * The pool accepts as many tasks as its window has places; then submit waits
 * for one of them to end.  So memory stays bounded by the window, however many
 * tasks there are, and not by what was submitted.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/pools.h"
#include "tools/progress.h"

#define N_TASKS    2000 /* if --count does not say how many */
#define TASK_BYTES 65536
#define WINDOW     64
#define SLOW_NS    500000 /* that a worker needs for a task, at least */

/* Of our memory, beside what is on its way: what was never touched before. */
#define SLACK_BYTES (16u << 20)

struct answer {
	uint64_t task; /* as its first bytes say */
	uint64_t sum;  /* of the others */
};

struct pressure {
	const struct scen_options *opt;
	struct scen_summary *summary;
	struct out *out;
	struct bus_pool *pool;
	uint64_t n_tasks;
	uint64_t n_submitted;
	uint64_t n_done;
	uint64_t n_right;
	uint64_t n_waits; /* times submit had to wait */
	uint64_t n_most;  /* on their way at a time */
	uint64_t start_bytes;
	uint64_t most_bytes;  /* of our memory, more than at the start */
	uint64_t bound_bytes; /* that must be enough */
};

/* --------------------------------------------------------------- worker -- */

static uint64_t sum(const unsigned char *bytes, size_t n)
{
	uint64_t all = 0;

	while (n > 0)
		all += bytes[--n];
	return all;
}

/* Slowly. */
static int add_up(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	const struct timespec slow = { .tv_nsec = SLOW_NS };
	const unsigned char *bytes = req;
	struct answer answer;

	(void)ctx;
	if (len_bytes != TASK_BYTES)
		return -EPROTO;
	memcpy(&answer.task, bytes, sizeof(answer.task));
	answer.sum = sum(bytes + sizeof(answer.task),
			 len_bytes - sizeof(answer.task));
	nanosleep(&slow, NULL);
	return bus_reply_put(reply, &answer, sizeof(answer));
}

static const bus_handler handlers[] = { add_up };

/* --------------------------------------------------------------- memory -- */

/* Ours, with what we have touched of the bus.  0 where /proc is not. */
static uint64_t memory_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	uint64_t n_pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*u %" SCNu64, &n_pages) != 1)
		n_pages = 0;
	fclose(f);
	return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void watch_memory(struct pressure *p)
{
	uint64_t now = memory_bytes();

	if (now > p->start_bytes && now - p->start_bytes > p->most_bytes)
		p->most_bytes = now - p->start_bytes;
}

/* ---------------------------------------------------------------- tasks -- */

/* All bytes of a task but the first ones. */
static unsigned char byte_of(uint64_t task)
{
	return (unsigned char)(task % 251 + 1);
}

static int count(void *ctx, struct bus_future *future,
		 const struct bus_result *r)
{
	struct pressure *p = ctx;
	struct answer answer;

	(void)future;
	p->n_done++;
	if (r->kind != BUS_RESULT_OK || r->len_bytes != sizeof(answer))
		return 0;
	memcpy(&answer, r->data, sizeof(answer));
	if (answer.sum ==
	    (uint64_t)byte_of(answer.task) * (TASK_BYTES - sizeof(answer.task)))
		p->n_right++;
	return 0;
}

/* One more.  Returns 0 or -errno. */
static int submit(struct pressure *p, const void *buf)
{
	struct bus_task_config config = BUS_TASK_CONFIG_INIT;
	int ret;

	config.done = count;
	config.ctx = p;
	ret = bus_pool_submit(p->pool, 0, buf, TASK_BYTES, &config, NULL, 0);
	if (ret == -EAGAIN) {
		p->n_waits++;
		ret = bus_pool_submit(p->pool, 0, buf, TASK_BYTES, &config,
				      NULL, -1);
	}
	if (ret < 0)
		return ret;
	p->n_submitted++;
	if (p->n_submitted - p->n_done > p->n_most)
		p->n_most = p->n_submitted - p->n_done;
	return 0;
}

/* Returns 0 or -errno. */
static int submit_all(struct pressure *p)
{
	static unsigned char buf[TASK_BYTES];

	while (p->n_submitted < p->n_tasks) {
		int ret;

		memset(buf, byte_of(p->n_submitted), sizeof(buf));
		memcpy(buf, &p->n_submitted, sizeof(p->n_submitted));
		ret = submit(p, buf);
		if (ret < 0)
			return ret;
		if (p->n_submitted % WINDOW == 0) {
			watch_memory(p);
			progress_results(progress_clock(), p->n_done,
					 (double)p->n_done / (double)p->n_tasks,
					 0);
		}
	}
	return 0;
}

/* -------------------------------------------------------------- reports -- */

static double mb(uint64_t bytes)
{
	return (double)bytes / 1e6;
}

static void report_text(struct pressure *p)
{
	out_text(p->out,
		 "Submitted %" PRIu64 " tasks of %d KiB, %.0f MB in all, to "
		 "%" PRIu32 " workers that need %.2g ms for each.\n",
		 p->n_submitted, TASK_BYTES / 1024,
		 mb(p->n_submitted * TASK_BYTES), p->opt->n_workers,
		 SLOW_NS / 1e6);
	out_text(p->out,
		 "At most %" PRIu64 " were on their way, with a window of %d; "
		 "submit had to wait %" PRIu64 " times.\n",
		 p->n_most, WINDOW, p->n_waits);
	out_text(p->out,
		 "Memory grew by at most %.1f MB; it may grow by %.0f MB.\n",
		 mb(p->most_bytes), mb(p->bound_bytes));
	out_text(p->out, "%" PRIu64 " results are right.\n", p->n_right);
}

static void report_json(struct pressure *p)
{
	out_json(p->out,
		 json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tasks",
			   (json_int_t)p->n_submitted, "task_bytes",
			   (json_int_t)TASK_BYTES, "window", (json_int_t)WINDOW,
			   "most_on_their_way", (json_int_t)p->n_most, "waits",
			   (json_int_t)p->n_waits, "memory_bytes",
			   (json_int_t)p->most_bytes, "bound_bytes",
			   (json_int_t)p->bound_bytes, "right",
			   (json_int_t)p->n_right));
}

/* Is it as we say?  How often submit waited is a matter of time, and so not
 * part of it. */
static int judge(struct pressure *p)
{
	int status = SCEN_OK;

	if (p->n_most > WINDOW) {
		complain("busscen: more tasks were on their way than the "
			 "window has places");
		status = SCEN_FAILED;
	}
	if (p->most_bytes > p->bound_bytes) {
		complain("busscen: memory is not bounded by the window");
		status = SCEN_FAILED;
	}
	if (p->n_right != p->n_tasks) {
		complain("busscen: %" PRIu64 " of %" PRIu64 " results are "
			 "missing or wrong",
			 p->n_tasks - p->n_right, p->n_tasks);
		status = SCEN_FAILED;
	}
	return status;
}

/* ------------------------------------------------------------------ run -- */

static int press(struct pressure *p)
{
	int ret;

	progress_start("backpressure", progress_clock());
	p->start_bytes = memory_bytes();
	ret = submit_all(p);
	bus_pool_close(p->pool);
	if (ret == 0)
		ret = bus_pool_join(p->pool, -1);
	if (ret < 0)
		return pools_cannot("submit a task", ret, p->pool);
	watch_memory(p);
	p->summary->n_results = p->n_right;
	p->summary->n_errors = p->n_tasks - p->n_right;
	if (p->out->json)
		report_json(p);
	else
		report_text(p);
	out_flush(p->out);
	return judge(p);
}

static int run(void *ctx, struct bus *bus)
{
	struct pressure *p = ctx;
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	struct bus_stats stats = BUS_STATS_INIT;
	int ret, status;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = p->opt->n_workers;
	config.window = WINDOW;
	ret = bus_pool_start(bus, POOLS_NAME, &config, &p->pool);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	/* What waits is in our memory or in the bus's, which is used up to
	 * its end before anything of it is used again. */
	bus_stats(bus, &stats);
	p->bound_bytes =
		stats.blob_bytes + (uint64_t)WINDOW * TASK_BYTES + SLACK_BYTES;
	status = press(p);
	bus_pool_free(p->pool);
	return status;
}

int scen_backpressure(const struct scen_options *opt, struct out *out,
		      struct scen_summary *summary)
{
	struct pressure p = { .opt = opt, .summary = summary, .out = out };

	p.n_tasks = opt->generate ? opt->count : N_TASKS;
	summary->n_workers = opt->n_workers;
	return pools_run(opt, run, &p);
}
