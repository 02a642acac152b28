/*
 * layout.c - offsets of the segment, and the fingerprint of its structs
 */
#include "config.h"

#include "bus/layout.h"

#define BUS_BYTES_MAX (UINT64_C(1) << 46) /* keeps every sum below overflow */

int bus_layout(const struct bus_sizes *s, struct bus_offsets *off)
{
	size_t blob;

	if (s->asym > 1 || s->max_ep < 3 || s->max_ep > SB_EP_MAX + 1 ||
	    s->chan_bytes > BUS_BYTES_MAX || s->blob_bytes > BUS_BYTES_MAX ||
	    s->max_message_bytes < 1 || s->max_message_bytes > BUS_BYTES_MAX)
		return -EINVAL;
	blob = sb_blob_plan(&off->plan, s->max_message_bytes, s->blob_bytes);
	if (!blob)
		return -EINVAL;
	off->ep = SB_ROUND_UP(sizeof(struct bus_header), SB_FAR);
	off->dir = off->ep + (uint64_t)s->max_ep * sizeof(struct bus_ep);
	off->chan = SB_ROUND_UP(
		off->dir + BUS_CHANNELS_MAX * sizeof(struct bus_dirent), 4096);
	off->blob = SB_ROUND_UP(off->chan + s->chan_bytes, 4096);
	off->bytes = SB_ROUND_UP(off->blob + blob, 4096);
	return 0;
}

uint64_t bus_layout_fingerprint(void)
{
	static const uint64_t facts[] = {
		sizeof(struct bus_header),
		sizeof(struct bus_ep),
		sizeof(struct bus_dirent),
		sizeof(struct bus_channel),
		sizeof(struct sb_ring),
		sizeof(struct sb_slot),
		sizeof(struct sb_blob_pool),
		sizeof(struct sb_sleepers),
		sizeof(struct sb_spsc),
		sizeof(struct bus_pipe_head),
		sizeof(struct bus_crew_area),
		sizeof(struct bus_place),
		offsetof(struct bus_pipe_head, side),
		offsetof(struct bus_pipe_head, dir),
		offsetof(struct bus_crew_area, talking),
		offsetof(struct bus_crew_area, init_error),
		offsetof(struct bus_place, pid),
		offsetof(struct bus_header, running),
		offsetof(struct bus_ep, counts),
		offsetof(struct sb_ring, gen),
		BUS_CHANNELS_MAX,
		SB_EP_MAX,
		4, /* protocol: change it when words change their meaning */
	};
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++)
		hash = (hash ^ facts[i]) * UINT64_C(1099511628211);
	return hash;
}
