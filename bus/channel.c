/*
 * channel.c - the directory: make and find the channels of a bus
 *
 * Entries are only ever added, one process at a time: dir_owner names it.  It
 * builds the channel behind the last ready one and then stores ready, with
 * release; that store is the commit.  Killed before it, the memory is as if
 * nothing had been there, and recovery of the dead endpoint sets dir_owner to
 * nobody.  Readers need no lock.
 *
 *	N1 store ready release (maker)  --->  N2 load ready acquire (finder)
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bus/channel.h"
#include "bus/endpoint.h"
#include "bus/recover.h"
#include "lib/clock.h"

#define LOCK_WAIT_NS (2 * SB_NS_PER_S)

static bool ready(struct bus *bus, uint32_t idx)
{
	return idx < BUS_CHANNELS_MAX &&
	       ld_acq(&bus->map->dir[idx].ready) == 1; /* N2 <- N1 */
}

int bus_channel_find(struct bus *bus, const char *name)
{
	for (uint32_t i = 0; ready(bus, i); i++)
		if (bus_channel_kind(bus, i) != BUS_CHAN_IDLE &&
		    !strncmp(bus->map->dir[i].name, name, BUS_NAME_BYTES))
			return (int)i;
	return -ENOENT;
}

uint32_t bus_channel_kind(struct bus *bus, uint32_t idx)
{
	if (!ready(bus, idx))
		return 0;
	return ld_acq(&bus->map->dir[idx].kind);
}

void bus_channel_idle(struct bus *bus, uint32_t idx)
{
	st_rel(&bus->map->dir[idx].kind, BUS_CHAN_IDLE);
}

static bool same_shape(const struct bus_channel *c,
		       const struct sb_ring_end *end,
		       const struct bus_channel_spec *spec)
{
	return c->flags == spec->flags &&
	       c->request_bytes == spec->request_bytes &&
	       c->head_bytes == spec->head_bytes &&
	       c->result_bytes == spec->result_bytes &&
	       end->mask + 1 == UINT64_C(1) << spec->log_n &&
	       end->stride == spec->stride && end->flags == spec->ring_flags &&
	       end->max_attempts == spec->max_attempts;
}

/*
 * Throw away what nobody will answer.  The workers that may still be there are
 * those of a dead coordinator, for a moment; what they hold stays.
 */
static void drain(struct bus *bus, struct sb_ring_end *end)
{
	uint64_t pos;
	bool any = false;

	for (uint64_t i = 0; i <= end->mask; i++) {
		if (sb_ring_take(end, 1, true, &pos) < 0)
			break;
		sb_ring_free(end, pos);
		any = true;
	}
	if (any)
		bus_sweep_cells(bus);
}

/* Request rings whose makers are dead become idle.  Those that are idle are
 * drained again: one of the old workers may have died with a request. */
static void find_abandoned(struct bus *bus)
{
	struct bus_channel *c;
	struct sb_ring_end *end;

	for (uint32_t i = 0; ready(bus, i); i++) {
		uint32_t kind = bus_channel_kind(bus, i);

		if (kind != BUS_CHAN_REQUEST && kind != BUS_CHAN_IDLE)
			continue;
		end = bus_channel_end(bus, i, &c);
		if (!end || (kind == BUS_CHAN_REQUEST &&
			     bus_ep_lives(bus->map, ld_acq(&c->coord))))
			continue;
		sb_ring_close(end);
		drain(bus, end);
		bus_channel_idle(bus, i);
	}
}

void bus_channel_drain_abandoned(struct bus *bus)
{
	_Atomic uint32_t *owner = &bus->map->header->dir_owner;
	uint32_t nobody = 0;

	if (!cas_acqrel(owner, &nobody, bus->id))
		return;
	find_abandoned(bus);
	st_rel(owner, 0);
}

/*
 * Take over an idle request ring.  The ring goes on where it was: its words
 * are not reset, because somebody may be looking at them for a recovery.
 */
static int reuse(struct bus *bus, const char *name,
		 const struct bus_channel_spec *spec)
{
	struct bus_channel *c;
	struct sb_ring_end *end;

	if (spec->kind != BUS_CHAN_REQUEST)
		return -ENOENT;
	for (uint32_t i = 0; ready(bus, i); i++) {
		if (bus_channel_kind(bus, i) != BUS_CHAN_IDLE)
			continue;
		end = bus_channel_end(bus, i, &c);
		if (!end || !same_shape(c, end, spec))
			continue;
		/* Again, in case that somebody was killed right here. */
		sb_ring_close(end);
		drain(bus, end);
		if (sb_ring_unfinished(end) || sb_ring_reopen(end))
			continue;
		st_rel(&c->coord, bus_ep_life(bus->map, bus->id));
		memset(bus->map->dir[i].name, 0, BUS_NAME_BYTES);
		memcpy(bus->map->dir[i].name, name, strlen(name));
		st_rel(&bus->map->dir[i].kind, spec->kind);
		return (int)i;
	}
	return -ENOENT;
}

/* Where the next channel would go, from the start of the channels. */
static int next_free(struct bus *bus, uint32_t *idx, uint64_t *off)
{
	const struct bus_map *map = bus->map;

	*off = 0;
	for (*idx = 0; ready(bus, *idx); ++*idx) {
		const struct bus_dirent *d = &map->dir[*idx];
		uint64_t at = *(const volatile uint64_t *)&d->off;
		uint64_t bytes = *(const volatile uint64_t *)&d->bytes;

		if (at != map->off.chan + *off || bytes % SB_FAR ||
		    bytes > map->sizes.chan_bytes - *off)
			return -EPROTO;
		*off += bytes;
	}
	return *idx < BUS_CHANNELS_MAX ? 0 : -ENOSPC;
}

static int build(struct bus *bus, const char *name,
		 const struct bus_channel_spec *spec)
{
	struct bus_map *map = bus->map;
	struct bus_channel *c;
	struct bus_dirent *d;
	uint64_t off, bytes;
	uint32_t idx;
	int ret = next_free(bus, &idx, &off);

	if (ret)
		return ret;
	bytes = sizeof(*c) + sb_ring_bytes(spec->log_n, spec->stride);
	if (bytes > map->sizes.chan_bytes - off)
		return -ENOSPC;
	d = &map->dir[idx];
	c = (void *)((unsigned char *)map->seg.base + map->off.chan + off);
	/* A maker that was killed here may have left some of its own. */
	memset(c, 0, bytes);
	c->flags = spec->flags;
	c->request_bytes = spec->request_bytes;
	c->head_bytes = spec->head_bytes;
	c->result_bytes = spec->result_bytes;
	st_rlx(&c->coord, bus_ep_life(map, bus->id));
	sb_ring_init((struct sb_ring *)(c + 1), spec->log_n, spec->stride,
		     spec->ring_flags, spec->max_attempts, spec->first);
	st_rlx(&d->kind, spec->kind);
	d->off = map->off.chan + off;
	d->bytes = bytes;
	memset(d->name, 0, sizeof(d->name));
	memcpy(d->name, name, strlen(name));
	st_rel(&d->ready, 1); /* N1 -> N2 */
	return (int)idx;
}

/* Become the one who adds; recover whoever died doing so. */
static int lock_directory(struct bus *bus)
{
	_Atomic uint32_t *owner = &bus->map->header->dir_owner;
	uint64_t give_up = sb_now_ns() + LOCK_WAIT_NS;

	for (;;) {
		uint32_t nobody = 0;

		if (cas_acqrel(owner, &nobody, bus->id))
			return 0;
		sched_yield();
		bus_recover_dead(bus);
		if (sb_now_ns() > give_up)
			return -EBUSY;
	}
}

int bus_channel_make(struct bus *bus, const char *name,
		     const struct bus_channel_spec *spec)
{
	size_t len = strlen(name);
	int ret;

	if (len < 1 || len >= BUS_NAME_BYTES)
		return -EINVAL;
	ret = lock_directory(bus);
	if (ret)
		return ret;
	if (spec->kind == BUS_CHAN_REQUEST) {
		bus_recover_dead(bus);
		find_abandoned(bus);
	}
	ret = bus_channel_find(bus, name);
	if (ret >= 0 && spec->kind == BUS_CHAN_REQUEST)
		ret = -EEXIST;
	if (ret == -ENOENT)
		ret = reuse(bus, name, spec);
	if (ret == -ENOENT)
		ret = build(bus, name, spec);
	st_rel(&bus->map->header->dir_owner, 0);
	return ret;
}

int bus_channel_attach(struct bus *bus, uint32_t idx,
		       struct bus_channel **channel, struct sb_ring_end *end)
{
	struct bus_map *map = bus->map;
	uint64_t off, bytes;
	struct bus_channel *c;
	int ret;

	if (!ready(bus, idx))
		return -EPROTO;
	off = *(volatile uint64_t *)&map->dir[idx].off;
	bytes = *(volatile uint64_t *)&map->dir[idx].bytes;
	if (off < map->off.chan || off % SB_FAR || bytes < sizeof(*c) ||
	    off - map->off.chan > map->sizes.chan_bytes ||
	    bytes > map->sizes.chan_bytes - (off - map->off.chan))
		return -EPROTO;
	c = (void *)((unsigned char *)map->seg.base + off);
	ret = sb_ring_attach(end, (struct sb_ring *)(c + 1),
			     bytes - sizeof(*c), bus->id);
	if (ret)
		return ret;
	end->asym = map->sizes.asym;
	*channel = c;
	return 0;
}

struct sb_ring_end *bus_channel_end(struct bus *bus, uint32_t idx,
				    struct bus_channel **channel)
{
	struct sb_ring_end *end;

	if (!ready(bus, idx))
		return NULL;
	end = &bus->ends[idx];
	if (!end->ring && bus_channel_attach(bus, idx, channel, end)) {
		end->ring = NULL;
		return NULL;
	}
	*channel = (struct bus_channel *)(void *)end->ring - 1;
	return end;
}
