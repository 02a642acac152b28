/*
 * pools.h - what the scenarios of the pool share
 */
#ifndef POOLS_H
#define POOLS_H

#include <sys/types.h>

#include "bus/shmbus.h"
#include "tools/farm.h"
#include "tools/scen.h"

#define POOLS_NAME "pool" /* of the one that a scenario has, on its bus */

/* The attempts of a task where it is we who kill: it is innocent, however often
 * that hits the same one. */
#define POOLS_ATTEMPTS 60

/* Make a bus, call @run with it, close it.  Returns what @run did, or
 * SCEN_FAILED after saying why there is no bus. */
int pools_run(const struct scen_options *opt,
	      int (*run)(void *ctx, struct bus *bus), void *ctx);

/* The pids of the workers that live, up to @n; returns how many. */
int pools_pids(struct bus *bus, pid_t *pids, size_t n);

/* The answer to a pair whose task did not end well: why. */
void pools_error(const struct bus_result *result, int64_t deadline_ns,
		 struct farm_answer *answer);

/* Say "busscen: cannot WHAT: <text of err>"; returns SCEN_FAILED.  If the pool
 * is broken it knows better why. */
int pools_cannot(const char *what, int err, const struct bus_pool *pool);

/* Close the pool, wait for its workers, free it; or kill them when they do not
 * end, and say so. */
void pools_stop(struct bus_pool *pool);

#endif
