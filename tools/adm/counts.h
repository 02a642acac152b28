/*
 * counts.h - what a bus counts, and how much of it in a second
 *
 * From snaps; no clock, no output.  All counts only grow, over the lives of an
 * endpoint's id and of a ring; a pipe that is made anew begins at 0.
 */
#ifndef ADM_COUNTS_H
#define ADM_COUNTS_H

#include "tools/adm/view.h"

/* Of a whole bus, as bus_stats() has them. */
struct counts_bus {
	uint64_t n_put, n_got, n_parks, n_yields;
	uint64_t n_deaths, n_redelivered, n_quarantined, n_rejected;
	uint64_t n_waiting, n_held; /* messages and requests now */
};

void counts_of_bus(const struct snap *s, struct counts_bus *n);

/* Of a channel: of a pipe both directions together. */
struct counts_chan {
	uint64_t n_put, n_got; /* positions claimed, taken; records */
	uint64_t n_waiting, n_held;
	uint32_t n_slots, n_free; /* 0 of a pipe */
	uint32_t n_rx, n_tx;      /* asleep */
};

void counts_of_chan(const struct snap_chan *c, struct counts_chan *n);

/* Is it the ring of a pool, and not of a plain coordinator? */
static inline bool counts_is_pool(const struct snap_chan *c)
{
	return c->crew && c->crew->window;
}

/* "queue", "requests", "pool", "pipe", ... */
static inline const char *counts_kind(const struct snap_chan *c)
{
	return counts_is_pool(c) && c->kind == BUS_CHAN_REQUEST
		       ? "pool"
		       : snap_kind_word(c->kind);
}

/* Of an endpoint: slots that it has, of all rings. */
uint32_t counts_held_by(const struct snap *s, uint32_t id);

/* Workers of a pool that are there, and that have a task in hand. */
uint32_t counts_workers(const struct snap_crew *crew, uint32_t *n_busy);

/* A second, from two counts; NAN if it has gone back, or no time has. */
double counts_rate(uint64_t was, uint64_t now, uint64_t apart_ns);

struct rates {
	double put, got, parks;
	double cpu; /* of an endpoint: processors, 1 is all of one */
};

void rates_of_bus(const struct snap *was, const struct snap *now,
		  struct rates *r);
void rates_of_chan(const struct snap *was, const struct snap *now, uint32_t idx,
		   struct rates *r);
void rates_of_ep(const struct snap *was, const struct snap *now, uint32_t id,
		 struct rates *r);

#endif
