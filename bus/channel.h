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
	uint64_t first; /* position to start at */
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
 * over, and what was left in it thrown away.
 *
 * Returns its index, or -EEXIST, -ENOSPC, -EINVAL (name), -EPROTO, -EBUSY
 * (another process is adding one, is not dead, and does not get on with it).
 */
int bus_channel_make(struct bus *bus, const char *name,
		     const struct bus_channel_spec *spec);

/*
 * bus_channel_attach - check channel @idx and attach to its ring
 *
 * Returns 0, or -EPROTO.
 */
int bus_channel_attach(struct bus *bus, uint32_t idx,
		       struct bus_channel **channel, struct sb_ring_end *end);

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
 * NULL when there is none, or it is damaged, or memory is short.
 */
struct sb_ring_end *bus_channel_end(struct bus *bus, uint32_t idx,
				    struct bus_channel **channel);

#endif
