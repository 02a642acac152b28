/*
 * stats.c - sums of the counts that every endpoint keeps for itself
 */
#include "config.h"

#include <string.h>

#include "bus/bus.h"
#include "bus/channel.h"
#include "bus/endpoint.h"

/* Pipes count for themselves. */
static void add_pipes(struct bus *bus, struct bus_stats *s)
{
	struct bus_pipe_head *head;
	uint64_t bytes;

	for (uint32_t i = 0; i < s->n_channels; i++) {
		head = bus_channel_pipe(bus, i, &bytes);
		for (int k = 0; head && k < 2; k++) {
			s->n_put += ld_rlx(&head->dir[k].n_sent);
			s->n_got += ld_rlx(&head->dir[k].n_received);
		}
	}
}

static uint32_t name_state(const struct bus *bus)
{
	switch (sb_seg_where(&bus->map->seg)) {
	case SB_SEG_UNNAMED:
		return BUS_NAME_NONE;
	case SB_SEG_LIVE:
		return BUS_NAME_LIVE;
	case SB_SEG_ORPHANED:
		return BUS_NAME_ORPHANED;
	case SB_SEG_GONE:
		return BUS_NAME_GONE;
	case SB_SEG_REPLACED:
		return BUS_NAME_REPLACED;
	default:
		return BUS_NAME_UNKNOWN;
	}
}

int bus_stats(struct bus *bus, struct bus_stats *out)
{
	struct bus_stats s = { 0 };
	size_t size = out ? out->size : 0;
	int ret = bus_check(bus);

	if (ret)
		return ret;
	if (size < sizeof(size))
		return -EINVAL;
	bus_publish_counts(bus);
	for (uint32_t id = 1; id < bus->map->sizes.max_ep; id++) {
		struct bus_ep_counts *c = &bus->map->ep[id].counts;

		if (bus_ep_attached(ld_rlx(&bus->map->ep[id].state)))
			s.n_endpoints++;
		s.n_put += ld_rlx(&c->put);
		s.n_got += ld_rlx(&c->got);
		s.n_parks += ld_rlx(&c->parks);
		s.n_yields += ld_rlx(&c->yields);
		s.n_deaths += ld_rlx(&c->deaths);
		s.n_redelivered += ld_rlx(&c->redelivered);
		s.n_quarantined += ld_rlx(&c->quarantined);
		s.n_rejected += ld_rlx(&c->rejected);
	}
	while (bus_channel_kind(bus, s.n_channels))
		s.n_channels++;
	add_pipes(bus, &s);
	s.bytes = bus->map->off.bytes;
	sb_blob_count(&bus->blob, &s.blob_bytes, &s.blob_bytes_used);
	strncpy(s.wait, sb_waiter_backend_name(&bus->waiter),
		sizeof(s.wait) - 1);
	/* The only system calls in here: not for who cannot see what they say. */
	if (size > offsetof(struct bus_stats, name))
		s.name = name_state(bus);
	s.size = size;
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	return 0;
}
