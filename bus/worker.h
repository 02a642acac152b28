/*
 * worker.h - the worker's side of a request ring
 */
#ifndef BUS_WORKER_H
#define BUS_WORKER_H

#include "bus/request.h"

/* Exit status of a worker whose init failed. */
#define BUS_WORKER_INIT_FAILED 125

/*
 * bus_worker_run - take requests and answer them until the ring is closed
 *
 * Who: a process that the coordinator has just forked; it becomes an endpoint
 * of its own.  Returns the exit status for the process.
 */
int bus_worker_run(struct bus_request_chan *c, bus_handler handler,
		   int (*init)(void *ctx), void *ctx);

#endif
