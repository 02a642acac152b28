/*
 * reply.c - what a handler says: its result, or its error
 *
 * Nothing here is seen by others before the worker's loop commits it: a worker
 * that is killed in the middle leaves a slot, or a cell, that the next one
 * writes anew.  A child that a handler has forked has a copy of the reply, and
 * its parent may be at another task by then: so what lies in shared memory is
 * none of its.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/crew.h"
#include "bus/reply.h"
#include "lib/copy.h"

/* Room on the heap; what was there is of no more use. */
static void *heap_room(struct bus_reply *r, size_t len_bytes)
{
	if (len_bytes > SIZE_MAX / 2)
		return NULL;
	if (len_bytes > r->heap_bytes) {
		free(r->heap);
		r->heap = malloc(len_bytes);
		r->heap_bytes = r->heap ? len_bytes : 0;
	}
	if (r->heap)
		r->where = BUS_REPLY_ON_HEAP;
	return r->heap;
}

/* Not in what the reply was given. */
static SB_NOINLINE void *other_room(struct bus_reply *r, size_t len_bytes)
{
	const struct sb_blob *blob = &r->c->bus->blob;

	r->where = BUS_REPLY_NOWHERE;
	if (r->any_size)
		return heap_room(r, len_bytes);
	if (r->res_cell == SB_BLOB_NONE ||
	    len_bytes > r->c->layout.result_bytes ||
	    len_bytes > sb_blob_cell_bytes(blob, r->res_cell))
		return NULL;
	r->where = BUS_REPLY_IN_CELL;
	return sb_blob_data(blob, r->res_cell);
}

SB_INLINE void *find_room(struct bus_reply *r, size_t len_bytes)
{
	if (sb_unlikely(bus_reply_forked(r)))
		return NULL;
	r->len = len_bytes;
	if (sb_unlikely(len_bytes > r->room_bytes))
		return other_room(r, len_bytes);
	r->where = BUS_REPLY_IN_ROOM;
	return r->room;
}

void *bus_reply_room(struct bus_reply *r, size_t len_bytes)
{
	return find_room(r, len_bytes);
}

static SB_NOINLINE int why_no_room(const struct bus_reply *r)
{
	if (bus_reply_forked(r))
		return -EINVAL;
	return r->any_size && r->len <= SIZE_MAX / 2 ? -ENOMEM : -EMSGSIZE;
}

int bus_reply_put(struct bus_reply *r, const void *buf, size_t len_bytes)
{
	void *to = find_room(r, len_bytes);

	if (sb_unlikely(!to))
		return why_no_room(r);
	sb_copy_few(to, buf, len_bytes);
	return 0;
}

void bus_reply_error(struct bus_reply *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(r->text, sizeof(r->text), format, ap);
	va_end(ap);
}

uint32_t bus_reply_attempts(const struct bus_reply *r)
{
	return r->attempts;
}

int bus_reply_canceled(const struct bus_reply *r)
{
	return r->place && (ld_rlx(&r->place->word) &
			    (BUS_PLACE_TOLD | BUS_PLACE_DOOMED)) != 0;
}

struct bus *bus_reply_bus(const struct bus_reply *r)
{
	return r->c->bus;
}

void *bus_reply_data(const struct bus_reply *r)
{
	switch (r->where) {
	case BUS_REPLY_IN_ROOM:
		return r->room;
	case BUS_REPLY_IN_CELL:
		return sb_blob_data(&r->c->bus->blob, r->res_cell);
	case BUS_REPLY_ON_HEAP:
		return r->heap;
	default:
		return NULL;
	}
}

void bus_reply_inner(struct bus_reply *r, const struct bus_reply *outer,
		     void *room, size_t room_bytes)
{
	if (r->heap_bytes > BUS_REPLY_KEEP)
		bus_reply_free(r);
	r->c = outer->c;
	r->area = outer->area;
	r->place = outer->place;
	r->place_idx = outer->place_idx;
	r->fork_gen = outer->fork_gen;
	r->pos = outer->pos;
	r->attempts = outer->attempts;
	r->req_cell = r->res_cell = SB_BLOB_NONE;
	r->room = room;
	r->room_bytes = room_bytes;
	r->any_size = true;
	r->where = BUS_REPLY_NOWHERE;
	r->len = 0;
	r->text[0] = 0;
}

void bus_reply_free(struct bus_reply *r)
{
	free(r->heap);
	r->heap = NULL;
	r->heap_bytes = 0;
}

void bus_reply_ring(const struct bus_reply *r)
{
	sb_wake_all(&r->c->chan->done, &r->c->bus->bells);
}
