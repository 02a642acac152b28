/*
 * worker.c - what a worker of ours is, be it of a coordinator or of a pool
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "bench/cpus.h"
#include "bench/transport.h"
#include "bench/worker.h"

#define DEFAULT_WINDOW 1024 /* of struct bus_coord_config, bus_pool_config */

static struct share *my_share; /* in this worker */

void worker_begin(struct shares *shares, bool pinned)
{
	my_share = shares_take(shares);
	if (pinned)
		cpus_pin(cpus_nth(1));
}

int worker_multiply(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	struct operands operands;
	uint64_t product;

	(void)ctx;
	if (len_bytes != sizeof(operands))
		return EBADMSG;
	memcpy(&operands, req, sizeof(operands));
	product = operands.a * operands.b;
	share_count(my_share);
	return -bus_reply_put(reply, &product, sizeof(product));
}

uint32_t worker_window(unsigned inflight)
{
	uint32_t window = DEFAULT_WINDOW;

	while (window < inflight)
		window *= 2;
	return window;
}
