/*
 * transport_shmbus.c - ours: a queue as a lane, a coordinator with its workers
 * as calls; the pool is in transport_pool.c
 *
 * An unnamed bus for each round, so that nothing can be left behind.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chunk.h"
#include "bench/shares.h"
#include "bench/transport.h"
#include "bench/worker.h"
#include "bus/shmbus.h"

struct lane {
	struct bus *bus;
	struct bus_queue *queue;
	struct bus_msg held; /* lease */
};

static struct bus_config config_for(const struct spec *spec)
{
	struct bus_config config = BUS_CONFIG_INIT;

	switch (spec->wait) {
	case WAIT_SPIN:
		config.spin = BUS_SPIN_ALWAYS;
		break;
	case WAIT_URING:
		config.spin = BUS_SPIN_NEVER;
		config.wait = BUS_WAIT_URING;
		break;
	case WAIT_FUTEX:
		config.spin = BUS_SPIN_NEVER;
		config.wait = BUS_WAIT_FUTEX;
		break;
	default:
		config.spin = BUS_SPIN_ADAPTIVE;
	}
	config.max_endpoints = 2 * MAX_PROCESSES + 4;
	if (spec->bytes > (1u << 20)) {
		config.max_message_bytes = spec->bytes;
		config.blob_bytes = 8 * spec->bytes;
	}
	return config;
}

/* What a program would ask for that knows its messages: small ones in the
 * sizes that use memory best, larger ones whole in the slot while that is
 * possible. */
static struct bus_queue_config queue_config_for(const struct spec *spec)
{
	struct bus_queue_config config = BUS_QUEUE_CONFIG_INIT;
	size_t bytes = spec->bytes;

	config.n_slots = spec->slots;
	if (bytes <= 8)
		config.slot_bytes = 8;
	else if (bytes <= 24)
		config.slot_bytes = 24;
	else if (bytes > 56 && bytes <= 4088)
		config.slot_bytes = (uint32_t)bytes;
	return config;
}

int shmbus_create(const struct spec *spec, struct bus **bus,
		  struct outcome *out)
{
	struct bus_config config = config_for(spec);
	int ret = bus_create(NULL, &config, bus);

	if (ret == 0)
		return 0;
	if (spec->wait == WAIT_URING)
		return outcome_set(out, OUTCOME_ABSENT,
				   "io_uring cannot be used: %s",
				   strerror(-ret));
	return outcome_set(out, OUTCOME_FAILED, "bus_create: %s",
			   strerror(-ret));
}

/* A queue ------------------------------------------------------------------ */

static int shmbus_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	struct bus_queue_config config = queue_config_for(spec);
	struct lane *made = calloc(1, sizeof(*made));
	int ret;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (shmbus_create(spec, &made->bus, out) != 0)
		goto err_free;
	ret = bus_queue_open(made->bus, "bench", &config, &made->queue);
	if (ret < 0) {
		outcome_set(out, OUTCOME_FAILED, "bus_queue_open: %s",
			    strerror(-ret));
		goto err_close;
	}
	*lane = made;
	return 0;

err_close:
	bus_close(made->bus);
err_free:
	free(made);
	return -1;
}

static void shmbus_close(struct lane *lane)
{
	bus_queue_free(lane->queue);
	bus_close(lane->bus);
	free(lane);
}

static int shmbus_put(struct lane *lane, const void *msgs, size_t bytes,
		      size_t n, bool wait)
{
	int64_t timeout_ns = wait ? -1 : 0;
	int ret;

	if (n > 1)
		return bus_queue_put_many(lane->queue, msgs, bytes, n,
					  timeout_ns);
	ret = bus_queue_put(lane->queue, msgs, bytes, timeout_ns);
	return ret < 0 ? ret : 1;
}

static int shmbus_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		      bool wait)
{
	int64_t timeout_ns = wait ? -1 : 0;
	size_t len_bytes;
	int ret;

	if (n > 1)
		return bus_queue_get_many(lane->queue, msgs, bytes, n, NULL,
					  timeout_ns);
	ret = bus_queue_get(lane->queue, msgs, bytes, &len_bytes, timeout_ns);
	if (ret < 0)
		return ret;
	return len_bytes == bytes ? 1 : -EBADMSG;
}

static int shmbus_send(struct lane *lane, struct source *source, size_t n)
{
	return chunk_put(lane, source, n, shmbus_put);
}

static int shmbus_recv(struct lane *lane, struct sink *sink, size_t n)
{
	return chunk_get(lane, sink, n, shmbus_get);
}

static int lease_take(struct lane *lane, size_t bytes, const void **msg,
		      unsigned *attempts)
{
	int ret = bus_queue_peek(lane->queue, &lane->held, -1);

	if (ret < 0)
		return ret;
	*msg = lane->held.data;
	*attempts = lane->held.attempts;
	return lane->held.len_bytes == bytes ? 0 : -EBADMSG;
}

static int lease_release(struct lane *lane)
{
	return bus_queue_release(lane->queue, &lane->held);
}

static int lease_close(struct lane *lane)
{
	return bus_queue_close(lane->queue);
}

static const struct lease_ops shmbus_lease = {
	.take = lease_take,
	.release = lease_release,
	.close = lease_close,
};

/* A coordinator and its workers -------------------------------------------- */

struct calls {
	struct bus *bus;
	struct bus_coord *coord;
	unsigned workers;
	unsigned inflight;
	bool pin;
	bool in_order;
	bool mortal;
	struct shares *shares;

	/* Many a call: not sent yet; collected and not told yet. */
	unsigned batch;
	uint64_t *ids;
	struct operands *out;
	struct bus_result *in;
	unsigned n_out, n_in, next_in;
};

static int init_worker(void *ctx)
{
	const struct calls *calls = ctx;

	worker_begin(calls->shares, calls->pin);
	return 0;
}

static void calls_free(struct calls *calls)
{
	free(calls->ids);
	free(calls->out);
	free(calls->in);
	free(calls);
}

static bool calls_room(struct calls *calls)
{
	calls->ids = calloc(calls->batch, sizeof(*calls->ids));
	calls->out = calloc(calls->batch, sizeof(*calls->out));
	calls->in = calloc(calls->batch, sizeof(*calls->in));
	return calls->ids && calls->out && calls->in;
}

static int calls_open(const struct spec *spec, struct calls **calls,
		      struct outcome *out)
{
	struct calls *made = calloc(1, sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->batch = spec->batch ? spec->batch : 1;
	if (!calls_room(made)) {
		calls_free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	}
	if (shmbus_create(spec, &made->bus, out) != 0) {
		calls_free(made);
		return -1;
	}
	made->workers = spec->workers ? spec->workers : 1;
	made->inflight = spec->inflight;
	made->pin = spec->pin;
	made->shares = spec->shares;
	made->mortal = spec->kills_per_s > 0;
	made->in_order = spec->inflight == 1;
	*calls = made;
	return 0;
}

static void calls_close(struct calls *calls)
{
	bus_close(calls->bus);
	calls_free(calls);
}

static int calls_start(struct calls *calls)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;

	config.handler = worker_multiply;
	config.ctx = calls;
	config.init = init_worker;
	config.n_workers = calls->workers;
	config.window = worker_window(calls->inflight);
	/* Who hands over in bursts has them worked off in bursts. */
	config.prefetch = calls->batch < 64 ? calls->batch : 64;
	if (calls->mortal) {
		config.max_attempts = CHAOS_ATTEMPTS;
		config.backoff_ns = CHAOS_BACKOFF_NS;
	}
	return bus_coord_start(calls->bus, "bench", &config, &calls->coord);
}

/* Send what was kept back, as far as there is room. */
static int calls_flush(struct calls *calls, bool wait)
{
	int n = bus_submit_many(calls->coord, calls->ids, calls->out,
				sizeof(*calls->out), calls->n_out,
				wait ? -1 : 0);

	if (n < 0)
		return n == -EAGAIN ? 0 : n;
	calls->n_out -= (unsigned)n;
	memmove(calls->ids, calls->ids + n, calls->n_out * sizeof(*calls->ids));
	memmove(calls->out, calls->out + n, calls->n_out * sizeof(*calls->out));
	return 0;
}

static int submit_later(struct calls *calls, uint64_t id,
			const struct operands *operands, bool wait)
{
	if (calls->n_out == calls->batch) {
		int ret = calls_flush(calls, wait);

		if (ret < 0)
			return ret;
		if (calls->n_out == calls->batch)
			return -EAGAIN;
	}
	calls->ids[calls->n_out] = id;
	calls->out[calls->n_out++] = *operands;
	return 0;
}

static int calls_submit(struct calls *calls, uint64_t id, uint64_t a,
			uint64_t b, bool wait)
{
	struct operands operands = { a, b };

	if (calls->batch > 1)
		return submit_later(calls, id, &operands, wait);
	return bus_submit(calls->coord, id, &operands, sizeof(operands),
			  wait ? -1 : 0);
}

static int tell(const struct bus_result *result, uint64_t *id,
		uint64_t *product)
{
	if (result->kind != BUS_RESULT_OK ||
	    result->len_bytes != sizeof(*product))
		return -EBADMSG;
	*id = result->id;
	memcpy(product, result->data, sizeof(*product));
	return 0;
}

static int collect_one(struct calls *calls, struct bus_result *result,
		       bool wait)
{
	int64_t timeout_ns = wait ? -1 : 0;

	return calls->in_order
		       ? bus_collect(calls->coord, result, timeout_ns)
		       : bus_collect_any(calls->coord, result, timeout_ns);
}

/* If there is no room for what was kept back, there are results to wait for.
 */
static int collect_batch(struct calls *calls, bool wait)
{
	int ret = calls->n_out ? calls_flush(calls, false) : 0;

	if (ret < 0)
		return ret;
	ret = bus_collect_many_any(calls->coord, calls->in, calls->batch,
				   wait ? -1 : 0);
	calls->next_in = 0;
	calls->n_in = ret < 0 ? 0 : (unsigned)ret;
	return ret < 0 ? ret : 0;
}

static int calls_collect(struct calls *calls, uint64_t *id, uint64_t *product,
			 bool wait)
{
	int ret = 0;

	if (calls->batch == 1) {
		ret = collect_one(calls, calls->in, wait);
		calls->next_in = 0;
	} else if (calls->next_in == calls->n_in) {
		ret = collect_batch(calls, wait);
	}
	if (ret < 0)
		return ret;
	return tell(&calls->in[calls->next_in++], id, product);
}

void shmbus_note_again(struct bus *bus, struct shares *shares)
{
	struct bus_stats stats = BUS_STATS_INIT;

	if (shares && bus_stats(bus, &stats) == 0)
		atomic_store(&shares->n_again, stats.n_redelivered);
}

static int calls_stop(struct calls *calls)
{
	shmbus_note_again(calls->bus, calls->shares);
	return bus_coord_stop(calls->coord, -1);
}

static int calls_pids(struct calls *calls, pid_t *pids, size_t n)
{
	return bus_coord_workers(calls->coord, pids, n);
}

static const struct call_ops shmbus_calls = {
	.open = calls_open,
	.close = calls_close,
	.start = calls_start,
	.submit = calls_submit,
	.collect = calls_collect,
	.stop = calls_stop,
	.pids = calls_pids,
};

const struct transport transport_shmbus = {
	.name = "shmbus",
	.what = "this library",
	.loads = LOAD_LANES | LOAD_POOLS,
	.ours = true,
	.batches = true,
	.open = shmbus_open,
	.close = shmbus_close,
	.put = shmbus_put,
	.get = shmbus_get,
	.send = shmbus_send,
	.recv = shmbus_recv,
	.calls = &shmbus_calls,
	.tasks = &pool_tasks,
	.crash = &pool_crash,
	.lease = &shmbus_lease,
};

/* What a pool is made of, beside the pool. */
const struct transport transport_farm = {
	.name = "shmbus-farm",
	.what = "the coordinator of this library, without a pool",
	.loads = LOAD_POOLS,
	.ours = true,
	.calls = &shmbus_calls,
	.crash = &coord_crash,
};

/* What the others have to know --------------------------------------------- */

void shmbus_geometry(struct spec *spec)
{
	struct bus_queue_stats stats = BUS_QUEUE_STATS_INIT;
	struct spec plain = *spec;
	struct outcome out = OUTCOME_INIT;
	struct lane *lane;

	spec->n_slots = 1024;
	spec->slot_bytes = (uint32_t)(spec->bytes + 7) / 8 * 8;
	plain.wait = WAIT_FUTEX;
	if (shmbus_open(&plain, &lane, &out) != 0)
		return;
	if (bus_queue_stats(lane->queue, &stats) == 0) {
		spec->n_slots = stats.n_slots;
		spec->slot_bytes = stats.slot_bytes;
	}
	shmbus_close(lane);
}

/* 0 or -errno. */
static int try_to_create(uint32_t wait)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus *bus;
	int ret;

	config.wait = wait;
	ret = bus_create(NULL, &config, &bus);
	if (ret == 0)
		bus_close(bus);
	return ret;
}

int shmbus_try(void)
{
	return try_to_create(BUS_WAIT_AUTO);
}

bool shmbus_has_uring(const char **why)
{
	int ret = try_to_create(BUS_WAIT_URING);

	*why = strerror(-ret);
	return ret == 0;
}
