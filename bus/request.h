/*
 * request.h - the slot of a request: what lies where, seen by both sides
 *
 * Request and result share the slot, side by side: a worker may be killed in
 * the middle of writing a result, and then the next one needs the request
 * whole.
 *
 *	data  | cell of the result (only if results may be large)  head_bytes
 *	      | the request, or the number of its cell             request_bytes
 *	      | the result, or an error                            the rest
 *
 * The seq word says what a DONE slot holds:
 *
 *	len < SB_LEN_MAX    a result of len bytes, in the slot
 *	FLAG_BLOB           a result in the cell set aside for it
 *	len == SB_LEN_MAX   an error, struct bus_request_error
 *	FLAG_QUAR           the untouched request: too many died on it
 */
#ifndef BUS_REQUEST_H
#define BUS_REQUEST_H

#include <string.h>

#include "bus/bus.h"
#include "bus/channel.h"

#define BUS_LEN_ERROR SB_LEN_MAX

struct bus_request_error {
	int32_t code;
	uint32_t cell; /* of its text, + 1; 0 none */
};

/* Longest text of an error, with its NUL. */
#define BUS_ERROR_TEXT SB_BLOB_CELL_MIN

/* Geometry of a request channel, private copy. */
struct bus_request_layout {
	uint32_t head_bytes;    /* 0, or 8: a cell is set aside */
	uint32_t request_bytes; /* room for the request in the slot */
	uint32_t inline_bytes;  /* room for the result in the slot */
	uint64_t result_bytes;  /* largest result */
};

/* Fill @spec and @l for requests and results of these sizes. */
void bus_request_plan(uint32_t request_bytes, uint64_t result_bytes,
		      struct bus_channel_spec *spec,
		      struct bus_request_layout *l);

SB_INLINE unsigned char *bus_request_area(const struct bus_request_layout *l,
					  unsigned char *slot_data)
{
	return slot_data + l->head_bytes;
}

SB_INLINE unsigned char *bus_result_area(const struct bus_request_layout *l,
					 unsigned char *slot_data)
{
	return slot_data + l->head_bytes + l->request_bytes;
}

/* One request channel as an endpoint sees it. */
struct bus_request_chan {
	struct sb_ring_end end;
	struct bus_request_layout layout;
	struct bus *bus;
	struct bus_channel *chan;
	uint32_t idx;
};

/* Free the cells in @cell[0..1] that are not SB_BLOB_NONE, wake who waits. */
void bus_request_free_cells(struct bus_request_chan *c, uint64_t pos,
			    const uint32_t cell[2]);

#endif
