/*
 * transport_pool.c - ours: a pool as tasks; and workers that are killed, of a
 * pool and of a bare coordinator
 *
 * An unnamed bus for each round, so that nothing can be left behind.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/shares.h"
#include "bench/transport.h"
#include "bench/worker.h"
#include "bus/shmbus.h"

/* Tasks -------------------------------------------------------------------- */

struct tasks {
	struct bus *bus;
	struct bus_pool *pool;
	unsigned workers;
	unsigned inflight;
	bool pin;
	bool mortal;           /* workers are killed at random */
	struct shares *shares; /* what workers did */

	/* imap */
	struct bus_imap *imap;
	task_source source;
	void *ctx;
	struct operands item;

	char why[120]; /* no product came */
};

static const bus_handler handlers[] = { worker_multiply };

static int init_worker(void *ctx, char *error, size_t error_bytes)
{
	const struct tasks *tasks = ctx;

	(void)error;
	(void)error_bytes;
	worker_begin(tasks->shares, tasks->pin);
	return 0;
}

static void tasks_close(struct tasks *tasks)
{
	if (tasks->bus)
		bus_close(tasks->bus);
	free(tasks);
}

static int tasks_open(const struct spec *spec, struct tasks **tasks,
		      struct outcome *out)
{
	struct tasks *made = calloc(1, sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->shares = spec->shares;
	made->mortal = spec->kills_per_s > 0;
	made->workers = spec->workers;
	made->inflight = spec->inflight;
	made->pin = spec->pin;
	if (shmbus_create(spec, &made->bus, out) != 0) {
		tasks_close(made);
		return -1;
	}
	*tasks = made;
	return 0;
}

static int tasks_start(struct tasks *tasks)
{
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = tasks->workers;
	config.ctx = tasks;
	config.init = init_worker;
	config.window = worker_window(tasks->inflight);
	if (tasks->mortal) {
		config.max_attempts = CHAOS_ATTEMPTS;
		config.backoff_ns = CHAOS_BACKOFF_NS;
	}
	return bus_pool_start(tasks->bus, "bench", &config, &tasks->pool);
}

static int tasks_stop(struct tasks *tasks, uint64_t *n_run)
{
	int ret;

	shmbus_note_again(tasks->bus, tasks->shares);
	bus_imap_free(tasks->imap);
	tasks->imap = NULL;
	ret = bus_pool_close(tasks->pool);
	if (ret == 0)
		ret = bus_pool_join(tasks->pool, -1);
	bus_pool_free(tasks->pool);
	*n_run = shares_sum(tasks->shares);
	return ret;
}

static const char *tasks_why(const struct tasks *tasks)
{
	return tasks->why;
}

static int take(struct tasks *tasks, const struct bus_result *result,
		uint64_t *product)
{
	if (result->kind == BUS_RESULT_OK &&
	    result->len_bytes == sizeof(*product)) {
		memcpy(product, result->data, sizeof(*product));
		return 0;
	}
	snprintf(tasks->why, sizeof(tasks->why),
		 "task %llu: kind %u, code %d, %zu bytes, %u attempts",
		 (unsigned long long)result->id, result->kind, result->code,
		 result->len_bytes, result->attempts);
	return -EBADMSG;
}

static int tasks_apply(struct tasks *tasks, const struct operands *item,
		       uint64_t *product)
{
	struct bus_result result;
	int ret = bus_pool_apply(tasks->pool, 0, item, sizeof(*item), &result,
				 -1);

	return ret < 0 ? ret : take(tasks, &result, product);
}

static int tasks_submit(struct tasks *tasks, const struct operands *item,
			void **future)
{
	struct bus_future *made;
	int ret = bus_pool_submit(tasks->pool, 0, item, sizeof(*item), NULL,
				  &made, -1);

	if (ret >= 0)
		*future = made;
	return ret;
}

static int tasks_get(struct tasks *tasks, void *future, uint64_t *product)
{
	struct bus_result result;
	int ret = bus_future_get(future, &result, -1);

	if (ret == 0)
		ret = take(tasks, &result, product);
	bus_future_free(future);
	return ret;
}

static int tasks_map(struct tasks *tasks, const struct operands *items,
		     uint64_t *products, size_t n, size_t chunk)
{
	struct bus_map_config config = BUS_MAP_CONFIG_INIT;
	int ret;

	config.chunk = chunk;
	ret = bus_pool_map(tasks->pool, 0, items, sizeof(*items), products,
			   sizeof(*products), n, &config, -1);
	if (ret <= 0)
		return ret;
	snprintf(tasks->why, sizeof(tasks->why), "%d of %zu items failed", ret,
		 n);
	return -EBADMSG;
}

static int pull(void *ctx, const void **item, size_t *len_bytes)
{
	struct tasks *tasks = ctx;

	if (!tasks->source(tasks->ctx, &tasks->item))
		return 0;
	*item = &tasks->item;
	*len_bytes = sizeof(tasks->item);
	return 1;
}

static int tasks_imap(struct tasks *tasks, bool ordered, size_t chunk,
		      task_source source, void *ctx)
{
	struct bus_map_config config = BUS_MAP_CONFIG_INIT;

	config.chunk = chunk;
	config.window = tasks->inflight;
	tasks->source = source;
	tasks->ctx = ctx;
	return (ordered ? bus_pool_imap : bus_pool_imap_unordered)(
		tasks->pool, 0, pull, tasks, &config, &tasks->imap);
}

static int tasks_next(struct tasks *tasks, uint64_t *idx, uint64_t *product)
{
	struct bus_result result;
	int ret = bus_imap_next(tasks->imap, &result, -1);

	if (ret < 0)
		return ret;
	*idx = result.id;
	return take(tasks, &result, product);
}

const struct task_ops pool_tasks = {
	.open = tasks_open,
	.close = tasks_close,
	.start = tasks_start,
	.stop = tasks_stop,
	.why = tasks_why,
	.apply = tasks_apply,
	.submit = tasks_submit,
	.get = tasks_get,
	.map = tasks_map,
	.imap = tasks_imap,
	.next = tasks_next,
};

/* Workers that are killed -------------------------------------------------- */

struct crash {
	struct bus *bus;
	struct bus_pool *pool; /* one of these two */
	struct bus_coord *coord;
	struct bus_future *future;
	unsigned workers;
	crash_task task;
	void *ctx;
};

static int run_task(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	const struct crash *crash = ctx;
	uint64_t answer[2];

	if (len_bytes != sizeof(answer[0]))
		return EBADMSG;
	memcpy(&answer[0], req, sizeof(answer[0]));
	answer[1] = crash->task(crash->ctx, answer[0]);
	return -bus_reply_put(reply, answer, sizeof(answer));
}

static const bus_handler crash_handlers[] = { run_task };

static int crash_open(const struct spec *spec, crash_task task, void *ctx,
		      struct crash **crash, struct outcome *out)
{
	struct crash *made = calloc(1, sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (shmbus_create(spec, &made->bus, out) != 0) {
		free(made);
		return -1;
	}
	made->workers = spec->workers;
	made->task = task;
	made->ctx = ctx;
	*crash = made;
	return 0;
}

static void crash_close(struct crash *crash)
{
	bus_close(crash->bus);
	free(crash);
}

static int answered(const struct bus_result *result, uint64_t *id,
		    uint64_t *value)
{
	uint64_t answer[2];

	if (result->kind != BUS_RESULT_OK ||
	    result->len_bytes != sizeof(answer))
		return -EBADMSG;
	memcpy(answer, result->data, sizeof(answer));
	*id = answer[0];
	*value = answer[1];
	return 0;
}

static int pool_start(struct crash *crash)
{
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;

	config.handlers = crash_handlers;
	config.n_handlers = 1;
	config.n_workers = crash->workers;
	config.ctx = crash;
	return bus_pool_start(crash->bus, "bench", &config, &crash->pool);
}

static int pool_stop(struct crash *crash)
{
	int ret = bus_pool_close(crash->pool);

	if (ret == 0)
		ret = bus_pool_join(crash->pool, -1);
	bus_pool_free(crash->pool);
	return ret;
}

static int pool_submit(struct crash *crash, uint64_t id)
{
	return bus_pool_submit(crash->pool, 0, &id, sizeof(id), NULL,
			       &crash->future, -1);
}

static int pool_result(struct crash *crash, uint64_t *id, uint64_t *value)
{
	struct bus_result result;
	int ret = bus_future_get(crash->future, &result, -1);

	if (ret == 0)
		ret = answered(&result, id, value);
	bus_future_free(crash->future);
	return ret;
}

const struct crash_ops pool_crash = {
	.open = crash_open,
	.close = crash_close,
	.start = pool_start,
	.stop = pool_stop,
	.submit = pool_submit,
	.result = pool_result,
};

static int coord_start(struct crash *crash)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;

	config.handler = run_task;
	config.ctx = crash;
	config.n_workers = crash->workers;
	config.result_bytes = 2 * sizeof(uint64_t);
	return bus_coord_start(crash->bus, "bench", &config, &crash->coord);
}

static int coord_stop(struct crash *crash)
{
	return bus_coord_stop(crash->coord, -1);
}

static int coord_submit(struct crash *crash, uint64_t id)
{
	return bus_submit(crash->coord, id, &id, sizeof(id), -1);
}

static int coord_result(struct crash *crash, uint64_t *id, uint64_t *value)
{
	struct bus_result result;
	int ret = bus_collect_any(crash->coord, &result, -1);

	return ret < 0 ? ret : answered(&result, id, value);
}

const struct crash_ops coord_crash = {
	.open = crash_open,
	.close = crash_close,
	.start = coord_start,
	.stop = coord_stop,
	.submit = coord_submit,
	.result = coord_result,
};
