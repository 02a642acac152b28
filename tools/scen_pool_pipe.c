/*
 * scen_pool_pipe.c - each task of a pool gets a pipe, and sends its product
 * through that
 *
 * A pipe's end is handed to a process of which nobody knows the pid before:
 * what bus_pipe_ref() says of it travels in the request, and the worker that
 * runs the task takes it from there with bus_pipe_take().  We wait for both,
 * the message in the pipe and the end of the task: who waits for the pipe
 * alone waits for ever if no worker ever takes the other end of it.
 *
 * An end can be taken once.  So a task on which its worker died is not run
 * again by the pool, but by us, with another pipe.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/shmbus.h"
#include "tools/farm.h"
#include "tools/pools.h"

/* Most pairs on their way: each has one of the channels of the bus, of which
 * there are 256, and each worker has one as well. */
#define WINDOW 32

#define SLOT_BYTES 256 /* there is nothing but one product in such a pipe */

/* What a task gets. */
struct request {
	struct farm_pair pair;
	struct bus_pipe_ref ref;
};

/* A pair on its way. */
struct errand {
	struct bus_pipe *theirs; /* side 0, from which the worker sends */
	struct bus_pipe *mine;
	struct bus_future *future;
	uint32_t n_died; /* workers, on it */
};

struct pool_pipe {
	struct farm *farm;
	const struct scen_options *opt;
	struct bus *bus;
	struct bus_pool *pool;
	struct errand errands[WINDOW]; /* of ticket t: at t % WINDOW */
};

/* --------------------------------------------------------------- worker -- */

/* The task: take the pipe, send the product. */
static int multiply(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	struct request request;
	struct bus_pipe *pipe;
	int64_t product;
	int ret;

	(void)ctx;
	if (len_bytes != sizeof(request))
		return -EPROTO;
	memcpy(&request, req, sizeof(request));
	ret = bus_pipe_take(bus_reply_bus(reply), &request.ref, &pipe);
	if (ret < 0)
		return ret;
	ret = farm_multiply(&request.pair, &product);
	if (ret == 0)
		ret = bus_pipe_send(pipe, &product, sizeof(product), -1);
	bus_pipe_free(pipe);
	return ret;
}

static const bus_handler handlers[] = { multiply };

/* -------------------------------------------------------------- an errand --
 */

static void forget(struct errand *e)
{
	bus_future_free(e->future);
	bus_pipe_free(e->theirs); /* closes nothing that was taken */
	bus_pipe_free(e->mine);
	e->future = NULL;
	e->theirs = NULL;
	e->mine = NULL;
}

/* Make a pipe, and a task that has one end of it.  Returns 0 or -errno. */
static int send_off(struct pool_pipe *f, struct errand *e,
		    const struct farm_pair *pair, int64_t timeout_ns)
{
	struct bus_pipe_config config = BUS_PIPE_CONFIG_INIT;
	struct request request = { .pair = *pair };
	int ret;

	config.flags = BUS_PIPE_SIMPLEX;
	config.slot_bytes = SLOT_BYTES;
	ret = bus_pipe(f->bus, &config, &e->theirs, &e->mine);
	if (ret < 0)
		return ret;
	ret = bus_pipe_ref(e->theirs, &request.ref);
	if (ret == 0)
		ret = bus_pool_submit(f->pool, 0, &request, sizeof(request),
				      NULL, &e->future, timeout_ns);
	if (ret < 0)
		forget(e);
	return ret;
}

/*
 * The task is over, and nothing came through the pipe.  Returns 1: there is an
 * answer; 0: it is under way again; or -errno.
 */
static int find_out_why(struct pool_pipe *f, struct errand *e,
			struct farm_answer *answer)
{
	struct bus_result r;
	int ret = bus_future_get(e->future, &r, -1);

	if (ret < 0)
		return ret;
	switch (r.kind) {
	case BUS_RESULT_OK:
		return -EPROTO; /* it said that it had sent */
	case BUS_RESULT_BROKEN:
		return -ECHILD;
	case BUS_RESULT_DEATH:
		if (++e->n_died ==
		    (f->opt->kill_every ? POOLS_ATTEMPTS : FARM_ATTEMPTS)) {
			r.attempts = e->n_died;
			break;
		}
		forget(e);
		return send_off(f, e, answer->pair, -1);
	default:
		break;
	}
	pools_error(&r, 0, answer);
	return 1;
}

/* Look what there is.  Returns 1: the answer; 0: not yet; or -errno. */
static int look(struct pool_pipe *f, struct errand *e,
		struct farm_answer *answer)
{
	/* In this order: what a task sent it sent before it was over. */
	int over = bus_future_done(e->future);
	size_t len_bytes;
	int ret = bus_pipe_recv(e->mine, &answer->product,
				sizeof(answer->product), &len_bytes, 0);

	if (ret == 0) {
		answer->error = NULL;
		return len_bytes == sizeof(answer->product) ? 1 : -EPROTO;
	}
	/* Nobody will send any more: it has failed, which the task tells. */
	if (ret == -EPIPE || ret == -EOWNERDEAD)
		over = 1;
	else if (ret != -EAGAIN)
		return ret;
	return over ? find_out_why(f, e, answer) : 0;
}

/* ------------------------------------------------------------- the farm -- */

static int submit(void *ctx, uint64_t ticket, const struct farm_pair *pair,
		  int64_t timeout_ns)
{
	struct pool_pipe *f = ctx;
	struct errand *e = &f->errands[ticket % WINDOW];

	e->n_died = 0;
	return send_off(f, e, pair, timeout_ns);
}

static int collect(void *ctx, uint64_t ticket, struct farm_answer *answer,
		   int64_t timeout_ns)
{
	struct pool_pipe *f = ctx;
	struct errand *e = &f->errands[ticket % WINDOW];
	int ret;

	while ((ret = look(f, e, answer)) == 0) {
		struct bus_poll polls[] = {
			{ .kind = BUS_POLL_PIPE,
			  .events = BUS_POLL_IN,
			  .on.pipe = e->mine },
			{ .kind = BUS_POLL_FUTURE,
			  .events = BUS_POLL_IN,
			  .on.future = e->future },
		};

		ret = bus_wait(f->bus, polls, 2, timeout_ns);
		if (ret < 0)
			return ret;
	}
	if (ret < 0)
		return ret;
	forget(e);
	return 0;
}

static int workers(void *ctx, pid_t *pids, size_t n)
{
	const struct pool_pipe *f = ctx;

	return pools_pids(f->bus, pids, n);
}

static const struct farm_way way = { "pool-pipe", submit, collect, workers,
				     "Received result: " };

/* Start the workers, run, stop them. */
static int run(void *ctx, struct bus *bus)
{
	struct pool_pipe *f = ctx;
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	int ret, status;

	f->bus = bus;
	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = f->opt->n_workers;
	config.task_bytes = sizeof(struct request);
	config.max_attempts = 1;
	ret = bus_pool_start(bus, POOLS_NAME, &config, &f->pool);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	status = farm_run(f->farm, &way, f);
	for (int i = 0; i < WINDOW; i++)
		forget(&f->errands[i]);
	pools_stop(f->pool);
	return status;
}

int scen_pool_pipe(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary)
{
	struct pool_pipe f = { .opt = opt };
	int status;

	f.farm = farm_open(opt, out, summary);
	if (!f.farm)
		return SCEN_FAILED;
	farm_limit(f.farm, WINDOW);
	status = pools_run(opt, run, &f);
	farm_close(f.farm);
	return status;
}
