/*
 * reply.h - the reply that a handler is making
 *
 * Where the result lies until it is answered:
 *
 *	small    in the room that the reply was given: the slot, or a part of it
 *	large    in the cell set aside for it, if the coordinator said
 *	         result_bytes
 *	         or on the heap, if the reply takes any size: then whoever made
 *	         it looks where it is and sends it his own way
 *
 * The worker's loop makes one for each request and answers with what it says.
 * A pool's dispatch, which is the handler that the loop knows, makes another
 * one inside of that for the user's function, and writes into the outer one
 * what the pool wants to know.
 */
#ifndef BUS_REPLY_H
#define BUS_REPLY_H

#include "bus/request.h"
#include "lib/proc.h"

struct bus_place;
struct bus_crew_area;

/* Where the result of the current request is. */
enum bus_reply_where {
	BUS_REPLY_NOWHERE, /* there is none: no bytes */
	BUS_REPLY_IN_ROOM,
	BUS_REPLY_IN_CELL,
	BUS_REPLY_ON_HEAP
};

struct bus_reply {
	struct bus_request_chan *c;
	/* this worker's place in the crew (bus/crew.h), and its number */
	struct bus_crew_area *area;
	struct bus_place *place;
	uint32_t place_idx;
	uint32_t fork_gen; /* of the process that is the worker */

	uint64_t pos;
	uint32_t attempts;
	uint32_t req_cell; /* of the request, or SB_BLOB_NONE */
	uint32_t res_cell; /* set aside for the result, or SB_BLOB_NONE */

	unsigned char *room;
	size_t room_bytes;
	bool any_size;
	unsigned char *heap; /* kept from one task to the next */
	size_t heap_bytes;

	/* what the handler has said */
	enum bus_reply_where where;
	size_t len;
	char text[BUS_ERROR_TEXT]; /* of its error; "" none */
};

/* What is kept of the heap for the next task; more is given back. */
#define BUS_REPLY_KEEP (1u << 20)

/*
 * bus_reply_inner - begin a reply inside of @outer, for results of any size
 * @r:    all zero at first; keeps its heap from task to task
 * @room: where a result of up to @room_bytes is to be written
 *
 * It says the same place, attempts and endpoint as @outer.
 */
void bus_reply_inner(struct bus_reply *r, const struct bus_reply *outer,
		     void *room, size_t room_bytes);

/* The bytes of the result, r->len of them; NULL when there is none. */
void *bus_reply_data(const struct bus_reply *r);

/* Give back what an inner one keeps. */
void bus_reply_free(struct bus_reply *r);

/*
 * bus_reply_forked - are we a child that the handler has forked?
 *
 * It came back out of the handler: it is no worker, must write nothing that is
 * shared, and has to _exit() at once.  To be asked after each call of a
 * handler, before anything else.
 */
SB_INLINE bool bus_reply_forked(const struct bus_reply *r)
{
	return r->fork_gen != sb_fork_gen;
}

/* Wake the coordinator, if it sleeps: there is something for it that is no
 * answer.  What it is to find was stored before. */
void bus_reply_ring(const struct bus_reply *r);

#endif
