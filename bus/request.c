/*
 * request.c - the slot of a request: geometry, cells
 */
#include "config.h"

#include "bus/request.h"

/* Results up to this lie in the slot, if they are known to be that small. */
#define INLINE_RESULT_MAX 512u

void bus_request_plan(uint32_t request_bytes, uint64_t result_bytes,
		      struct bus_channel_spec *spec,
		      struct bus_request_layout *l)
{
	uint32_t payload;
	bool inside = result_bytes <= INLINE_RESULT_MAX;

	if (request_bytes < 8)
		request_bytes = 8; /* the number of a cell fits */
	l->request_bytes = SB_ROUND_UP(request_bytes, 8);
	l->head_bytes = inside ? 0 : 8;
	l->inline_bytes =
		SB_ROUND_UP(inside ? (uint32_t)result_bytes : 8, 8);
	if (l->inline_bytes < sizeof(struct bus_request_error))
		l->inline_bytes = sizeof(struct bus_request_error);
	payload = l->head_bytes + l->request_bytes + l->inline_bytes;
	spec->stride = sb_ring_stride(payload);
	payload = spec->stride - (uint32_t)sizeof(struct sb_slot);
	l->inline_bytes = payload - l->head_bytes - l->request_bytes;
	l->result_bytes = inside ? l->inline_bytes : result_bytes;
	spec->request_bytes = l->request_bytes;
	spec->head_bytes = l->head_bytes;
	spec->result_bytes = l->result_bytes;
}

void bus_request_free_cells(struct bus_request_chan *c, uint64_t pos,
			    const uint32_t cell[2])
{
	bool freed = false;

	for (int i = 0; i < 2; i++)
		if (cell[i] != SB_BLOB_NONE)
			freed |= sb_blob_free(&c->bus->blob, cell[i], c->idx,
					      pos);
	if (freed)
		sb_wake(&c->bus->map->header->blob_rx, &c->bus->bells,
			SB_EP_MAX);
}
