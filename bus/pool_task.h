/*
 * pool_task.h - the worker's side of a pool
 */
#ifndef BUS_POOL_TASK_H
#define BUS_POOL_TASK_H

#include "bus/pool.h"

/*
 * bus_task_run - run what a request of a pool asks for, and answer
 * @ctx: the struct bus_pool, as it was when the worker was forked
 *
 * The handler that the worker's loop knows.
 */
int bus_task_run(void *ctx, const void *req, size_t len_bytes,
		 struct bus_reply *reply);

#endif
