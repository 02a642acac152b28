/*
 * scen_queue_farm.c - pairs go to workers through a queue of requests, their
 * products come back
 *
 * The coordinator of the library does it all: it forks the workers, hands
 * each request to whoever is free, replaces the dead and gives their requests
 * to others, and returns one result for each, in order.  multiply() is what a
 * worker does; the input and the output are the business of farm.c.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "bus/shmbus.h"
#include "tools/farm.h"

/* In a worker: one request in, one result out. */
static int multiply(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	struct farm_pair pair;
	int64_t product;

	(void)ctx;
	if (len_bytes != sizeof(pair))
		return -EPROTO;
	memcpy(&pair, req, sizeof(pair));
	if (farm_multiply(&pair, &product) < 0) {
		bus_reply_error(reply, "%s", farm_too_large);
		return -EOVERFLOW;
	}
	return bus_reply_put(reply, &product, sizeof(product));
}

static int submit(void *coord, uint64_t ticket, const struct farm_pair *pair,
		  int64_t timeout_ns)
{
	return bus_submit(coord, ticket, pair, sizeof(*pair), timeout_ns);
}

static int collect(void *coord, uint64_t ticket, struct farm_answer *answer,
		   int64_t timeout_ns)
{
	struct bus_result r;
	int ret = bus_collect(coord, &r, timeout_ns);

	if (ret < 0)
		return ret;
	if (r.id != ticket)
		return -EPROTO; /* not in the order of submission */
	switch (r.kind) {
	case BUS_RESULT_OK:
		if (r.len_bytes != sizeof(answer->product))
			return -EPROTO;
		memcpy(&answer->product, r.data, sizeof(answer->product));
		answer->error = NULL;
		break;
	case BUS_RESULT_ERROR:
		farm_error(answer, r.code, r.data, r.len_bytes);
		break;
	default:
		farm_death(answer, r.attempts, r.pid, r.signal, r.exit_status);
		break;
	}
	return 0;
}

static int workers(void *coord, pid_t *pids, size_t n)
{
	return bus_coord_workers(coord, pids, n);
}

static const struct farm_way way = { "queue-farm", submit, collect, workers,
				     NULL };

/* Start the workers, run, stop them. */
static int run(struct farm *farm, const struct scen_options *opt,
	       struct bus *bus)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	int ret, status;

	config.handler = multiply;
	config.n_workers = opt->n_workers;
	config.window = farm_window(farm);
	config.request_bytes = sizeof(struct farm_pair);
	/* Where it is we who kill, the pair is innocent however often that
	 * hits the same: give it all attempts there are. */
	config.max_attempts = opt->kill_every ? 60 : FARM_ATTEMPTS;
	ret = bus_coord_start(bus, "products", &config, &coord);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	status = farm_run(farm, &way, coord);
	if (bus_coord_stop(coord, FARM_STOP_NS) == -ETIMEDOUT)
		farm_stubborn();
	return status;
}

int scen_queue_farm(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct farm *farm = farm_open(opt, out, summary);
	struct bus *bus;
	int ret, status = SCEN_FAILED;

	if (!farm)
		return SCEN_FAILED;
	config.wait = opt->wait;
	config.max_endpoints = FARM_MAX_ENDPOINTS;
	ret = bus_create(NULL, &config, &bus);
	if (ret == 0) {
		status = run(farm, opt, bus);
		bus_close(bus);
	} else {
		scen_cannot_create(opt, ret);
	}
	farm_close(farm);
	return status;
}
