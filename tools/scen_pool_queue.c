/*
 * scen_pool_queue.c - tasks of a pool take pairs from one queue and put their
 * products into another
 *
 * A queue is handed to a task by its name, in the request; the worker opens it
 * through its own endpoint, bus_reply_bus().  A task is not bound to a pair: it
 * multiplies whichever is the next.
 *
 * Whoever is killed, no pair is lost: a task holds it until its product is in
 * the other queue, and if it dies the pair goes to another.  A pair whose task
 * was killed between the two comes twice, and its second product is dropped.
 * A task that finds no pair ends, and may have come too early for one that a
 * dead worker still held; so there are always as many tasks on their way as
 * products are missing: top_up().
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/shmbus.h"
#include "tools/farm.h"
#include "tools/pools.h"

/* What a task gets: where pairs are, where products go. */
struct request {
	char pairs[24];
	char products[24];
};

static const struct request request = { "pairs", "products" };

/* What is in the queues. */
struct pair_msg {
	uint64_t ticket;
	struct farm_pair pair;
	uint64_t max_attempts;
};

struct product_msg {
	uint64_t ticket;
	int64_t product;
	int64_t error; /* 0, or -errno: there is no product */
};

/* What is known of a ticket that is on its way. */
struct work {
	uint64_t ticket;
	bool done;
	int64_t product;
	int64_t error;
};

struct pool_queue {
	struct farm *farm;
	const struct scen_options *opt;
	uint32_t max_attempts;
	struct bus *bus;
	struct bus_pool *pool;
	struct bus_queue *pairs;
	struct bus_queue *products;
	uint64_t n_missing; /* products of pairs that are in the queue */

	/* Tasks on their way, a ring: n_tasks of them from first_task on. */
	uint32_t first_task;
	uint32_t n_tasks;
	struct bus_future *tasks[FARM_WINDOW];

	struct work work[FARM_WINDOW]; /* of ticket t: at t % FARM_WINDOW */
};

/* --------------------------------------------------------------- worker -- */

/* Multiply a pair that we hold, and put its product. */
static int multiply(const struct bus_msg *msg, struct bus_queue *products)
{
	struct product_msg product = { 0 };
	struct pair_msg pair;

	if (msg->len_bytes != sizeof(pair))
		return -EPROTO;
	memcpy(&pair, msg->data, sizeof(pair));
	product.ticket = pair.ticket;
	product.error = -EOWNERDEAD; /* one that kills whoever takes it */
	if (msg->attempts < pair.max_attempts)
		product.error = farm_multiply(&pair.pair, &product.product);
	return bus_queue_put(products, &product, sizeof(product), -1);
}

/* One pair, if there is one. */
static int multiply_next(struct bus_queue *pairs, struct bus_queue *products)
{
	struct bus_msg msg;
	int ret = bus_queue_peek(pairs, &msg, 0);

	if (ret < 0)
		return ret == -EAGAIN ? 0 : ret;
	ret = multiply(&msg, products);
	bus_queue_release(pairs, &msg); /* not before the product is there */
	return ret;
}

/* The task. */
static int multiply_one(void *ctx, const void *req, size_t len_bytes,
			struct bus_reply *reply)
{
	struct bus *bus = bus_reply_bus(reply);
	struct bus_queue *pairs = NULL, *products = NULL;
	struct request names;
	int ret;

	(void)ctx;
	if (len_bytes != sizeof(names))
		return -EPROTO;
	memcpy(&names, req, sizeof(names));
	ret = bus_queue_open(bus, names.pairs, NULL, &pairs);
	if (ret == 0)
		ret = bus_queue_open(bus, names.products, NULL, &products);
	if (ret == 0)
		ret = multiply_next(pairs, products);
	bus_queue_free(products);
	bus_queue_free(pairs);
	return ret;
}

static const bus_handler handlers[] = { multiply_one };

/* ---------------------------------------------------------------- tasks -- */

static struct bus_future *oldest_task(const struct pool_queue *f)
{
	return f->tasks[f->first_task % FARM_WINDOW];
}

/* Free the oldest tasks that are over.  Returns 0, or the -errno of one that
 * did not do its work. */
static int drop_tasks(struct pool_queue *f)
{
	while (f->n_tasks > 0 && bus_future_done(oldest_task(f))) {
		struct bus_result r;
		int ret = bus_future_get(oldest_task(f), &r, 0);

		if (ret < 0)
			return ret;
		if (r.kind != BUS_RESULT_OK && r.kind != BUS_RESULT_DEATH)
			return r.code < 0 ? r.code : -EPROTO;
		bus_future_free(oldest_task(f));
		f->first_task++;
		f->n_tasks--;
	}
	return 0;
}

/* As many tasks as there are products missing.  Returns 0 or -errno. */
static int top_up(struct pool_queue *f)
{
	int ret = drop_tasks(f);

	while (ret == 0 && f->n_tasks < f->n_missing) {
		uint32_t at = (f->first_task + f->n_tasks) % FARM_WINDOW;

		ret = bus_pool_submit(f->pool, 0, &request, sizeof(request),
				      NULL, &f->tasks[at], f->n_tasks ? 0 : -1);
		if (ret == 0)
			f->n_tasks++;
	}
	return ret == -EAGAIN ? 0 : ret;
}

/* -------------------------------------------------------------- products -- */

static struct work *work_of(struct pool_queue *f, uint64_t ticket)
{
	return &f->work[ticket % FARM_WINDOW];
}

static void take_product(struct pool_queue *f, const struct product_msg *msg)
{
	struct work *work = work_of(f, msg->ticket);

	if (work->ticket != msg->ticket || work->done)
		return; /* for the second time */
	work->done = true;
	work->product = msg->product;
	work->error = msg->error;
	f->n_missing--;
}

/* All that are there.  Returns 0 or -errno. */
static int take_products(struct pool_queue *f)
{
	struct product_msg msg;
	size_t len_bytes;
	int ret;

	while ((ret = bus_queue_get(f->products, &msg, sizeof(msg), &len_bytes,
				    0)) == 0) {
		if (len_bytes != sizeof(msg))
			return -EPROTO;
		take_product(f, &msg);
	}
	return ret == -EAGAIN ? 0 : ret;
}

/* Wait for a product, or for the end of a task.  Returns 0 or -errno. */
static int wait_for_more(struct pool_queue *f, int64_t timeout_ns)
{
	struct bus_poll polls[] = {
		{ .kind = BUS_POLL_QUEUE,
		  .events = BUS_POLL_IN,
		  .on.queue = f->products },
		{ .kind = BUS_POLL_FUTURE,
		  .events = BUS_POLL_IN,
		  .on.future = oldest_task(f) },
	};
	int ret = bus_wait(f->bus, polls, 2, timeout_ns);

	return ret < 0 ? ret : 0;
}

/* ------------------------------------------------------------- the farm -- */

static int submit(void *ctx, uint64_t ticket, const struct farm_pair *pair,
		  int64_t timeout_ns)
{
	struct pool_queue *f = ctx;
	struct pair_msg msg = { ticket, *pair, f->max_attempts };
	int ret = bus_queue_put(f->pairs, &msg, sizeof(msg), timeout_ns);

	if (ret < 0)
		return ret;
	*work_of(f, ticket) = (struct work){ .ticket = ticket };
	f->n_missing++;
	return top_up(f);
}

static void make_answer(const struct pool_queue *f, const struct work *work,
			struct farm_answer *answer)
{
	answer->error = NULL;
	answer->product = work->product;
	if (work->error == -EOWNERDEAD) {
		snprintf(answer->text, sizeof(answer->text),
			 "%" PRIu32 " workers died on it", f->max_attempts);
		answer->error = answer->text;
	} else if (work->error) {
		farm_error(answer, (int)work->error, NULL, 0);
	}
}

static int collect(void *ctx, uint64_t ticket, struct farm_answer *answer,
		   int64_t timeout_ns)
{
	struct pool_queue *f = ctx;
	const struct work *work = work_of(f, ticket);
	int ret;

	while ((ret = take_products(f)) == 0 && !work->done) {
		ret = top_up(f);
		if (ret == 0)
			ret = wait_for_more(f, timeout_ns);
		if (ret < 0)
			break;
	}
	if (ret < 0)
		return ret;
	make_answer(f, work, answer);
	return 0;
}

static int workers(void *ctx, pid_t *pids, size_t n)
{
	const struct pool_queue *f = ctx;

	return pools_pids(f->bus, pids, n);
}

static const struct farm_way way = { "pool-queue", submit, collect, workers,
				     "Received result: " };

static int open_queues(struct pool_queue *f)
{
	struct bus_queue_config config = BUS_QUEUE_CONFIG_INIT;
	int ret;

	/* A pair that was answered may be held for a moment longer. */
	config.n_slots = 2 * FARM_WINDOW;
	ret = bus_queue_open(f->bus, request.pairs, &config, &f->pairs);
	if (ret == 0)
		ret = bus_queue_open(f->bus, request.products, &config,
				     &f->products);
	return ret;
}

/* Start the workers, run, stop them. */
static int run_pool(struct pool_queue *f)
{
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	int ret, status;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = f->opt->n_workers;
	config.task_bytes = sizeof(struct request);
	config.window = FARM_WINDOW;
	/* A pair has its own count of those who died on it. */
	config.max_attempts = POOLS_ATTEMPTS;
	ret = bus_pool_start(f->bus, POOLS_NAME, &config, &f->pool);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	status = farm_run(f->farm, &way, f);
	while (f->n_tasks > 0)
		bus_future_free(
			f->tasks[(f->first_task + --f->n_tasks) % FARM_WINDOW]);
	pools_stop(f->pool);
	return status;
}

static int run(void *ctx, struct bus *bus)
{
	struct pool_queue *f = ctx;
	int ret, status;

	f->bus = bus;
	ret = open_queues(f);
	if (ret == 0)
		status = run_pool(f);
	else
		status = scen_cannot("make the queues", ret);
	bus_queue_free(f->products);
	bus_queue_free(f->pairs);
	return status;
}

int scen_pool_queue(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary)
{
	struct pool_queue *f = calloc(1, sizeof(*f));
	int status = SCEN_FAILED;

	if (!f)
		return scen_cannot("start", -ENOMEM);
	f->opt = opt;
	f->max_attempts = opt->kill_every ? POOLS_ATTEMPTS : FARM_ATTEMPTS;
	f->farm = farm_open(opt, out, summary);
	if (f->farm)
		status = pools_run(opt, run, f);
	farm_close(f->farm);
	free(f);
	return status;
}
