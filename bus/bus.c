/*
 * bus.c - make, open, share and leave a bus
 *
 * A struct bus is one endpoint: an id in the segment's table, a waiter, and
 * views of what lies in the segment.  The mapping below it is shared by the
 * endpoints of a process.
 *
 * After fork() the child's copy of a struct bus still names the parent's
 * endpoint.  Every public call compares fork_gen, and the first one in the
 * child takes an endpoint of its own and points all views at it.
 */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "bus/endpoint.h"
#include "bus/recover.h"
#include "bus/settings.h"
#include "lib/clock.h"
#include "lib/copy.h"
#include "lib/fence.h"

const char *bus_version(void)
{
	return BUS_VERSION;
}

/* ------------------------------------------------------------------ map -- */

static void map_point(struct bus_map *map)
{
	unsigned char *base = map->seg.base;

	map->header = (void *)base;
	map->ep = (void *)(base + map->off.ep);
	map->dir = (void *)(base + map->off.dir);
}

void bus_map_put(struct bus_map *map)
{
	if (atomic_fetch_sub(&map->n_refs, 1) != 1)
		return;
	sb_seg_close(&map->seg);
	free(map);
}

static struct bus_map *map_new(void)
{
	struct bus_map *map = calloc(1, sizeof(*map));

	if (map) {
		atomic_init(&map->n_refs, 1);
		map->seg.lock_fd = -1;
	}
	return map;
}

static int map_create(const char *name, const struct bus_config *c,
		      struct bus_map **out)
{
	struct bus_map *map = map_new();
	struct sb_seg_hole hole;
	int ret;

	if (!map)
		return -ENOMEM;
	map->sizes = (struct bus_sizes){
		.max_message_bytes = c->max_message_bytes,
		.chan_bytes = c->channel_bytes,
		.blob_bytes = c->blob_bytes,
		.max_ep = c->max_endpoints + 2, /* nobody, and the spare */
		.asym = !(c->flags & BUS_F_FENCE) && !sb_fence_register(),
	};
	ret = bus_layout(&map->sizes, &map->off);
	if (!ret) {
		/* Channels get their memory when they are made. */
		hole.off = map->off.chan;
		hole.bytes = map->off.blob - map->off.chan;
		ret = sb_seg_create(&map->seg, name, map->off.bytes, &hole,
				    c->mode, bus_layout_fingerprint());
	}
	if (ret) {
		free(map);
		return ret;
	}
	map_point(map);
	map->header->sizes = map->sizes;
	memcpy((unsigned char *)map->seg.base + map->off.blob, &map->off.plan,
	       sizeof(map->off.plan));
	*out = map;
	return 0;
}

static int map_open(const char *name, uint32_t flags, struct bus_map **out)
{
	struct bus_map *map = map_new();
	uint32_t how = 0;
	int ret;

	if (!map)
		return -ENOMEM;
	if (flags & BUS_F_ANY_OWNER)
		how |= SB_SEG_ANY_OWNER;
	if (flags & BUS_F_ORPHAN)
		how |= SB_SEG_ORPHAN;
	ret = sb_seg_open(&map->seg, name, bus_layout_fingerprint(), how);
	if (ret) {
		free(map);
		return ret;
	}
	ret = -EPROTO;
	if (map->seg.bytes >= sizeof(struct bus_header)) {
		sb_copy_once(&map->sizes,
			     &((struct bus_header *)map->seg.base)->sizes,
			     sizeof(map->sizes));
		if (!bus_layout(&map->sizes, &map->off) &&
		    (map->off.bytes == map->seg.bytes ||
		     SB_MUTATED(check_layout)))
			ret = 0;
	}
	if (ret) {
		bus_map_put(map);
		return ret;
	}
	map_point(map);
	*out = map;
	return 0;
}

/* ------------------------------------------------------------- endpoint -- */

static int take_id(struct bus *bus, uint32_t id)
{
	struct bus_map *map = bus->map;
	unsigned char *pool = (unsigned char *)map->seg.base + map->off.blob;
	int ret;

	bus->id = id;
	bus->ep = &map->ep[id];
	for (uint32_t i = 0; i < BUS_CHANNELS_MAX; i++)
		if (bus->ends[i].ring)
			sb_ring_reattach(&bus->ends[i], id);
	ret = sb_blob_attach(&bus->blob, (void *)pool,
			     map->off.bytes - map->off.blob, id);
	/* The plan is what the sizes say; the header is only for those who
	 * look at a segment from outside. */
	if (!ret && memcmp(bus->blob.class_, map->off.plan.class_,
			   sizeof(bus->blob.class_)))
		ret = -EPROTO;
	return ret;
}

/*
 * All ids are taken, perhaps by the dead, and nobody may have looked.  To bury
 * them one needs an id: the spare one, for as long as that takes.
 */
static int claim_after_recovery(struct bus *bus)
{
	struct bus_map *map = bus->map;
	int ret = bus_ep_claim_spare(map);

	if (ret < 0)
		return ret;
	ret = take_id(bus, (uint32_t)ret);
	if (!ret) {
		bus_settle_own(bus); /* it may have been a dead one's */
		bus_recover_dead(bus);
	}
	bus_ep_retire(map, bus->id);
	return ret ? ret : bus_ep_claim(map);
}

/* Give @bus an endpoint: an id, a waiter, a view of the cells. */
static int endpoint_up(struct bus *bus)
{
	struct bus_map *map = bus->map;
	int ret;

	bus->bells = (struct sb_bells){
		.base = (unsigned char *)map->ep,
		.stride = sizeof(struct bus_ep),
		.n = map->sizes.max_ep,
		.asym = map->sizes.asym,
	};
	ret = map->sizes.asym ? sb_fence_register() : 0;
	if (ret)
		return ret;
	ret = bus_ep_claim(map);
	if (ret == -EUSERS)
		ret = claim_after_recovery(bus);
	if (ret < 0)
		return ret;
	ret = take_id(bus, (uint32_t)ret);
	if (!ret)
		ret = sb_waiter_init(&bus->waiter, &bus->bells, bus->id,
				     &map->header->running,
				     (enum sb_backend)bus->config.wait,
				     (enum sb_spin)bus->config.spin,
				     bus->config.spin_max_ns);
	if (ret) {
		bus_ep_retire(map, bus->id);
		return ret;
	}
	bus->waiter.wants_eintr = bus->config.flags & BUS_F_EINTR;
	bus->waiter.heartbeat = bus_sweep;
	bus->waiter.heartbeat_arg = bus;
	bus->fork_gen = sb_fork_gen;
	return 0;
}

static int bus_new(struct bus_map *map, const struct bus_config *config,
		   struct bus **out)
{
	struct bus *bus = calloc(1, sizeof(*bus));
	int ret;

	if (!bus)
		return -ENOMEM;
	bus->map = map;
	bus->config = *config;
	ret = endpoint_up(bus);
	if (ret) {
		free(bus);
		return ret;
	}
	*out = bus;
	return 0;
}

int bus_create(const char *name, const struct bus_config *config,
	       struct bus **out)
{
	struct bus_config c;
	struct bus_map *map = NULL;
	int ret;

	if (!out)
		return -EINVAL;
	sb_proc_init();
	ret = bus_config_copy(&c, sizeof(c), config);
	if (!ret)
		ret = bus_config_fill(&c);
	if (!ret)
		ret = map_create(name, &c, &map);
	if (ret)
		return ret;
	ret = bus_new(map, &c, out);
	if (!ret) {
		ret = sb_seg_publish(&map->seg);
		if (!ret)
			return 0;
		sb_waiter_close(&(*out)->waiter);
		free(*out);
		*out = NULL;
	}
	bus_map_put(map);
	return ret;
}

int bus_open(const char *name, const struct bus_config *config,
	     struct bus **out)
{
	struct bus_config c;
	struct bus_map *map;
	int ret;

	if (!out || !name)
		return -EINVAL;
	sb_proc_init();
	ret = bus_config_copy(&c, sizeof(c), config);
	if (!ret)
		ret = bus_config_fill(&c);
	if (!ret)
		ret = map_open(name, c.flags, &map);
	if (ret)
		return ret;
	ret = bus_new(map, &c, out);
	if (ret)
		bus_map_put(map);
	return ret;
}

int bus_attach(struct bus *bus, struct bus **mine)
{
	int ret;

	if (!bus || !mine)
		return -EINVAL;
	atomic_fetch_add(&bus->map->n_refs, 1);
	ret = bus_new(bus->map, &bus->config, mine);
	if (ret)
		bus_map_put(bus->map);
	return ret;
}

int bus_unlink(const char *name)
{
	return name ? sb_seg_unlink(name) : -EINVAL;
}

int bus_reap(struct bus *bus)
{
	int ret = bus_check(bus);

	return ret ? ret : bus_recover_dead(bus);
}

int bus_after_fork(struct bus *bus)
{
	int ret;

	sb_waiter_close(&bus->waiter);
	ret = endpoint_up(bus);
	if (ret)
		return ret;
	if (bus->queues)
		bus_queue_after_fork(bus->queues);
	bus_pipe_after_fork(bus->pipes);
	if (bus->coords)
		bus_coord_after_fork(bus->coords);
	bus->keeping = NULL;
	return 0;
}

void bus_publish_counts(struct bus *bus)
{
	bus_count(&bus->ep->counts.parks, bus->waiter.n_parks);
	bus_count(&bus->ep->counts.yields, bus->waiter.n_yields);
	bus->n_idle += bus->waiter.n_parks + bus->waiter.n_yields;
	bus->waiter.n_parks = bus->waiter.n_yields = 0;
}

void bus_close(struct bus *bus)
{
	if (!bus)
		return;
	while (bus->queues)
		bus_queue_free(bus->queues);
	while (bus->pipes)
		bus_pipe_free(bus->pipes);
	while (bus->coords)
		bus_coord_stop(bus->coords, 0);
	if (bus->fork_gen == sb_fork_gen) {
		bus_ep_leave(bus->map, bus->id);
		bus_settle_own(bus);
		sb_waiter_close(&bus->waiter);
		sb_sleepers_clear(&bus->map->header->running, bus->id);
		bus_ep_retire(bus->map, bus->id);
	} else {
		sb_waiter_close(&bus->waiter);
	}
	bus_map_put(bus->map);
	free(bus);
}

int bus_sleep(struct bus *bus, const struct sb_wait *wait, uint64_t deadline_ns)
{
	if (sb_unlikely(bus->keeping))
		bus_pools_hand_on(bus);
	return sb_waiter_wait(&bus->waiter, wait, deadline_ns);
}

int bus_wait_for(struct bus *bus, const struct sb_wait *wait,
		 int64_t timeout_ns)
{
	int ret;

	if (timeout_ns == 0) {
		ret = wait->try_(wait->arg, true);
		return ret == -EBUSY ? -EAGAIN : ret;
	}
	ret = bus_sleep(bus, wait, sb_deadline(timeout_ns));
	bus_publish_counts(bus);
	return ret;
}
