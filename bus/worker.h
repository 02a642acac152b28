/*
 * worker.h - the worker's side of a request ring
 */
#ifndef BUS_WORKER_H
#define BUS_WORKER_H

#include "bus/crew.h"

/* Exit status of a worker whose init failed, and of one that leaves as it has
 * done its share, or as there are to be fewer. */
#define BUS_WORKER_INIT_FAILED 125
#define BUS_WORKER_RETIRED     124
/* The table of endpoints was full. */
#define BUS_WORKER_NO_ENDPOINT 123

/* What a worker is to do. */
struct bus_worker {
	struct bus_request_chan *c;
	uint64_t coord; /* life of the coordinator that forked it */
	bus_handler handler;
	void *ctx; /* the handler's */
	int (*init)(void *ctx);
	struct bus_crew_area *area; /* NULL: there is none, as in tests */
	uint32_t place;
	const struct bus_crew_config *hooks; /* NULL: a plain one */
	/* requests that it takes at once, at most, and the workers with whom it
	 * shares; 0: as 1 */
	uint32_t prefetch, n_sharers;
};

/*
 * bus_worker_run - take requests and answer them until the ring is closed
 *
 * Who: a process that the coordinator has just forked; it becomes an endpoint
 * of its own.  Returns the exit status for the process.
 */
int bus_worker_run(const struct bus_worker *w);

#endif
