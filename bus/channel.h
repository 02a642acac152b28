/*
 * channel.h - the directory: make and find the channels of a bus
 */
#ifndef BUS_CHANNEL_H
#define BUS_CHANNEL_H

#include "bus/bus.h"

/* What a new channel looks like. */
struct bus_channel_spec {
	uint32_t kind; /* BUS_CHAN_* */
	uint32_t flags;
	uint32_t request_bytes, head_bytes;
	uint64_t result_bytes;
	uint32_t log_n;
	uint32_t stride;
	uint32_t ring_flags;
	uint32_t max_attempts;
	uint64_t first; /* position, or lap, to start at */
	/* requests: the area behind the ring; 0 places: none */
	uint32_t crew_places, crew_canceled;
	/* pipes */
	uint64_t slot_bytes;
	uint32_t profile; /* enum bus_pipe_profile */
	bool may_shrink;  /* slots may be smaller where room is short */
	bool reused;      /* result: the ring was another crew's */
};

/*
 * bus_channel_find - the index of the channel @name
 *
 * Returns it, or -ENOENT.
 */
int bus_channel_find(struct bus *bus, const char *name);

/*
 * bus_channel_make - add a channel; if the queue @name is there already, that
 *
 * A request ring is its maker's alone: -EEXIST if the name is taken, unless by
 * the ring of one who is dead.  One of the same shape that is idle is taken
 * over, and what was left in it thrown away: @spec->reused.
 *
 * Returns its index, or -EEXIST, -ENOSPC, -EINVAL (name), -EPROTO, -EBUSY
 * (another process is adding one, is not dead, and does not get on with it).
 */
int bus_channel_make(struct bus *bus, const char *name,
		     struct bus_channel_spec *spec);

/*
 * bus_channel_make_pipe - add a pipe, or take a side of the one called @name
 * @name: NULL for an unnamed one: then both its sides are made by us
 * @spec: NULL to take only what exists
 * @side: of a named one: which becomes ours
 *
 * Memory of a pipe that is nobody's any more is used again.
 *
 * Returns its index, or -ENOENT, -EEXIST (another kind of channel), -EBUSY
 * (that side is somebody's; or as above), -ENOSPC, -EINVAL (name), -EPROTO.
 */
int bus_channel_make_pipe(struct bus *bus, const char *name,
			  const struct bus_channel_spec *spec, int side);

/* A side of pipe @idx was closed: if nobody has it any more, its memory is
 * given back.  Not while somebody adds a channel; then it is when it is used
 * again. */
void bus_channel_shed_pipe(struct bus *bus, uint32_t idx);

/* The pipe that channel @idx is, and the bytes that it may have.  NULL when it
 * is no pipe or damaged. */
struct bus_pipe_head *bus_channel_pipe(struct bus *bus, uint32_t idx,
				       uint64_t *bytes);

/*
 * bus_channel_attach - check channel @idx and attach to its ring
 *
 * Returns 0, -EPROTO or -ENOSPC.
 */
int bus_channel_attach(struct bus *bus, uint32_t idx,
		       struct bus_channel **channel, struct sb_ring_end *end);

/*
 * bus_channel_area - the area of the crew of request ring @idx, and its places
 *
 * It lies within the channel, whatever its bytes say.  NULL when there is none
 * or it is damaged.
 */
struct bus_crew_area *bus_channel_area(struct bus *bus, uint32_t idx,
				       uint32_t *n_places,
				       uint32_t *n_canceled);

/* Leave our request ring, closed, to the next one. */
void bus_channel_idle(struct bus *bus, uint32_t idx);

/*
 * Somebody died: free what lies in the request rings of dead coordinators.  Not
 * while somebody adds a channel; it is then left to the next death, or to the
 * next coordinator.
 */
void bus_channel_drain_abandoned(struct bus *bus);

/* kind of channel @idx, 0 when there is none. */
uint32_t bus_channel_kind(struct bus *bus, uint32_t idx);

/*
 * bus_channel_end - geometry of channel @idx for recovery, cached
 *
 * NULL when there is none, or it is a pipe or damaged, or memory is short.
 */
struct sb_ring_end *bus_channel_end(struct bus *bus, uint32_t idx,
				    struct bus_channel **channel);

/* The same, and why not: -ENOENT when there is none, -EPROTO when it is a pipe
 * or damaged, anything else when it cannot be reached now. */
int bus_channel_try_end(struct bus *bus, uint32_t idx,
			struct bus_channel **channel, struct sb_ring_end **end);

#endif
