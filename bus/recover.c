/*
 * recover.c - what happens when an endpoint dies
 *
 * Anybody may do it, several at once, and each may be killed on the way: every
 * step is idempotent, and the endpoint stays DEAD until one of them has done
 * all of it.  In this order:
 *
 *	1 its bits in the sleeper bitmaps and in running are cleared
 *	2 each ring settles its half-done claims and takes (lib/ring_recover.c),
 *	  and the sides of pipes that it had are dead (pipe_side.h)
 *	3 the directory is released, if it was adding a channel
 *	4 the cells that it owned, and those of positions that will carry no
 *	  message, are freed
 *	5 everybody is rung, whether in a bitmap of sleepers or not: the dead
 *	  may have published and not rung, have claimed a sleeper's bit and
 *	  not rung, or have eaten the ring that was meant for another
 *	6 the id is retired
 *	7 requests of a dead coordinator, which nobody will answer, are freed
 *
 * Nothing here needs room in a ring, waits, or calls back.
 */
#include "config.h"

#include "bus/channel.h"
#include "bus/endpoint.h"
#include "bus/pipe_side.h"
#include "bus/recover.h"
#include "lib/clock.h"

/* How often the bus looks for the dead when nobody tells it: so that looking
 * costs less than 0.05 % of a core (about 5 us an endpoint). */
#define SWEEP_NS        (100 * SB_NS_PER_MS)
#define SWEEP_NS_FOR_EP (10 * SB_NS_PER_MS)

static bool pos_alive(void *arg, uint32_t channel, uint64_t pos)
{
	struct bus *bus = arg;
	struct bus_channel *c;
	struct sb_ring_end *end = bus_channel_end(bus, channel, &c);

	/* Unknown (no memory to attach): leave it for the next sweep. */
	return !end || sb_ring_pos_alive(end, pos);
}

void bus_sweep_cells(struct bus *bus)
{
	sb_blob_sweep(&bus->blob, pos_alive, bus);
}

/* A bitmap of our own that says that all sleep. */
static void wake_everybody(struct bus *bus)
{
	struct sb_sleepers all = { 0 };

	for (uint32_t id = 1; id < bus->map->sizes.max_ep; id++)
		if (id != bus->id &&
		    bus_ep_attached(ld_acq(&bus->map->ep[id].state)))
			all.bits[id / 64] |= UINT64_C(1) << id % 64;
	sb_wake_all(&all, &bus->bells);
}

/* A close that was cut short between its two stores.  Only queues, which are
 * never opened again. */
static void finish_close(struct sb_ring_end *end)
{
	if ((ld_acq(&end->ring->head) & 3) == SB_CLOSED)
		st_rel(&end->ring->closing, 2);
	else if (sb_ring_closed(end))
		cas_acqrel(&end->ring->closing, &(uint32_t){ 0 }, 1);
}

/* The side of pipe @head that endpoint @id had. */
static void settle_pipe(struct bus *bus, struct bus_pipe_head *head,
			uint32_t id)
{
	uint64_t life = bus_ep_life(bus->map, id);

	bus_side_recover(head, id, (uint32_t)life, (uint32_t)(life >> 32));
}

/* False when memory was too short to look at all: then somebody has to do it
 * again, or what the dead held would be lost. */
static bool settle(struct bus *bus, uint32_t id)
{
	struct bus_header *h = bus->map->header;
	struct sb_ring_recovered what = { 0 };
	struct bus_pipe_head *head;
	struct bus_channel *c;
	struct sb_ring_end *end;
	uint32_t old = id;
	uint64_t bytes;
	bool all = true;
	int ret;

	sb_sleepers_clear(&h->blob_rx, id);
	for (uint32_t i = 0; i < BUS_CHANNELS_MAX; i++) {
		head = bus_channel_pipe(bus, i, &bytes);
		if (head)
			settle_pipe(bus, head, id);
		ret = bus_channel_try_end(bus, i, &c, &end);
		if (ret) {
			all &= ret == -ENOENT || ret == -EPROTO;
			continue;
		}
		sb_sleepers_clear(&c->rx, id);
		sb_sleepers_clear(&c->tx, id);
		sb_sleepers_clear(&c->done, id);
		sb_ring_recover(end, id, &what);
		if (bus_channel_kind(bus, i) == BUS_CHAN_QUEUE)
			finish_close(end);
	}
	cas_acqrel(&h->dir_owner, &old, 0);
	sb_blob_recover(&bus->blob, id);
	bus_sweep_cells(bus);
	wake_everybody(bus);
	bus_count(&bus->ep->counts.redelivered, what.n_redelivered);
	bus_count(&bus->ep->counts.quarantined, what.n_quarantined);
	return all;
}

static void recover(struct bus *bus, uint32_t id, uint64_t seen)
{
	if (!bus_ep_enter(bus->map, bus->id, id, seen))
		return;
	sb_sleepers_clear(&bus->map->header->running, id);
	if (settle(bus, id))
		bus_ep_exit(bus->map, bus->id, id, seen);
	else /* it stays DEAD, for the next sweep */
		bus_ep_give_up(bus->map, bus->id);
}

/* Endpoint @id, seen attached as @seen, has died. */
static int died(struct bus *bus, uint32_t id, uint64_t seen)
{
	if (!bus_ep_bury(bus->map, id, seen))
		return 0;
	bus_count(&bus->ep->counts.deaths, 1);
	recover(bus, id, ld_acq(&bus->map->ep[id].state));
	return 1;
}

/* Sides of pipes that were handed to a process which died before it came. */
static void recover_reserved(struct bus *bus)
{
	struct bus_pipe_head *head;
	uint64_t bytes;

	for (uint32_t i = 0; i < BUS_CHANNELS_MAX; i++) {
		head = bus_channel_pipe(bus, i, &bytes);
		if (head)
			bus_side_recover_reserved(bus, head);
	}
}

int bus_recover_dead(struct bus *bus)
{
	int n = 0;

	for (uint32_t id = 1; id < bus->map->sizes.max_ep; id++) {
		uint64_t seen = ld_acq(&bus->map->ep[id].state);

		if (id == bus->id)
			continue;
		if (bus_ep_state(seen) == BUS_EP_DEAD)
			recover(bus, id, seen); /* somebody was killed at it */
		else if (bus_ep_attached(seen) &&
			 bus_ep_proven_dead(bus->map, id, seen))
			n += died(bus, id, seen);
	}
	recover_reserved(bus);
	if (n)
		bus_channel_drain_abandoned(bus);
	return n;
}

int bus_recover_pid(struct bus *bus, pid_t pid)
{
	int n = 0;

	for (uint32_t id = 1; id < bus->map->sizes.max_ep; id++) {
		uint64_t seen = ld_acq(&bus->map->ep[id].state);

		if (bus_ep_pid(seen) != (uint32_t)pid)
			continue;
		if (bus_ep_attached(seen) &&
		    bus_ep_proven_dead(bus->map, id, seen))
			n += died(bus, id, seen);
		else if (bus_ep_state(seen) == BUS_EP_DEAD)
			recover(bus, id, seen); /* do not wait for others */
	}
	return n;
}

void bus_sweep(void *arg)
{
	struct bus *bus = arg;
	_Atomic uint64_t *last = &bus->map->header->last_sweep_ns;
	uint64_t seen = ld_rlx(last), now = sb_now_ns(), every;

	every = SWEEP_NS_FOR_EP * bus->map->sizes.max_ep / 4;
	if (every < SWEEP_NS)
		every = SWEEP_NS;
	/* A time from the future is a lie, or another boot's. */
	if (seen <= now && now - seen < every)
		return;
	if (cas_acqrel(last, &seen, now))
		bus_recover_dead(bus);
}

void bus_settle_own(struct bus *bus)
{
	settle(bus, bus->id);
}
