/*
 * rival_spsc.c - the plain ring for one writer and one reader, the yardstick
 * for pipes
 *
 * As it is known from folly, rigtorp, DPDK: slots of the message's size, two
 * indices on lines of their own, and each side keeps a copy of the other's
 * index, which it looks at again only when by that copy the ring is full or
 * empty.  With nothing added: who finds it full or empty can only spin and
 * yield, and the death of the other side is not noticed.
 *
 * spsc has the usual 1024 slots, as far as they fit into POOL_BYTES; spsc-mem
 * has as much memory as our pipe has in that direction, because the footprint
 * decides how fast a stream is.
 *
 * Both are compiled into the loops that use them, with the size of a message
 * as a constant where it is a short one, as such rings are used.  spsc-call and
 * spsc-mem-call are the same rings as a library would have them: a function
 * that is called for each message, of whatever size.
 */
#include "config.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chunk.h"
#include "bench/rivals/common.h"
#include "bench/transport.h"

#define N_SLOTS    1024
#define POOL_BYTES (16u << 20) /* as vyukov */
#define SPINS      4096        /* then sched_yield() */

enum variant { SAME_MEMORY = 1, CALLED = 2 }; /* bits */

struct ring {
	alignas(128) _Atomic uint64_t tail; /* the writer's: next to write */
	alignas(128) _Atomic uint64_t head; /* the reader's: next to read */
	alignas(128) unsigned char slots[];
};

/* Of one process, which is the writer or the reader. */
struct lane {
	alignas(128) struct ring *ring;
	size_t stride;
	uint64_t n_slots; /* one of them is always empty */
	uint64_t own;     /* our index */
	uint64_t other;   /* theirs, when we last looked */

	size_t map_bytes;
	bool loan;
	bool called;
	struct lane *back; /* duplex: the other direction */
};

/* The other side's index as soon as it is not @stuck, or that without @wait. */
static __attribute__((noinline)) uint64_t look(const _Atomic uint64_t *index,
					       uint64_t stuck, bool wait)
{
	unsigned spins = 0;

	for (;;) {
		uint64_t now =
			atomic_load_explicit(index, memory_order_acquire);

		if (now != stuck || !wait)
			return now;
		rival_relax(&spins, SPINS);
	}
}

static unsigned char *slot_of(const struct lane *lane, uint64_t index,
			      size_t stride)
{
	return lane->ring->slots + index * stride;
}

static uint64_t next_of(const struct lane *lane, uint64_t index)
{
	return index + 1 == lane->n_slots ? 0 : index + 1;
}

static uint64_t slots_for(const struct spec *spec, size_t stride)
{
	uint64_t n = N_SLOTS;

	if (spec->variant & SAME_MEMORY)
		n = spec->pipe_bytes / stride;
	else if (n * stride > POOL_BYTES)
		n = POOL_BYTES / stride;
	return (n < 2 ? 2 : n) + 1;
}

static int spsc_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	struct lane *made = aligned_alloc(alignof(struct lane), sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	*made = (struct lane){ .stride = (spec->bytes + 7) / 8 * 8,
			       .loan = spec->loan,
			       .called = spec->variant & CALLED };
	made->n_slots = slots_for(spec, made->stride);
	made->map_bytes = sizeof(struct ring) + made->n_slots * made->stride;
	made->ring = rival_map(made->map_bytes);
	if (!made->ring) {
		free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory: %s",
				   strerror(errno));
	}
	*lane = made;
	return 0;
}

static void spsc_close(struct lane *lane)
{
	munmap(lane->ring, lane->map_bytes);
	free(lane);
}

/* The writer --------------------------------------------------------------- */

CHUNK_INLINE void *room(struct lane *lane, size_t stride, bool wait)
{
	uint64_t next = next_of(lane, lane->own);

	if (__builtin_expect(next == lane->other, 0)) {
		lane->other = look(&lane->ring->head, next, wait);
		if (lane->other == next)
			return NULL;
	}
	return slot_of(lane, lane->own, stride);
}

CHUNK_INLINE void publish(struct lane *lane)
{
	lane->own = next_of(lane, lane->own);
	atomic_store_explicit(&lane->ring->tail, lane->own,
			      memory_order_release);
}

CHUNK_INLINE int put_one(struct lane *lane, const void *msg, size_t bytes,
			 size_t n, bool wait)
{
	void *slot = room(lane, (bytes + 7) / 8 * 8, wait);

	(void)n;
	if (!slot)
		return -EAGAIN;
	memcpy(slot, msg, bytes);
	publish(lane);
	return 1;
}

CHUNK_INLINE void *room_in_place(struct lane *lane, size_t bytes)
{
	return room(lane, (bytes + 7) / 8 * 8, true);
}

CHUNK_INLINE int publish_in_place(struct lane *lane, size_t bytes)
{
	(void)bytes;
	publish(lane);
	return 0;
}

/* Many at a time are published once. */
static int spsc_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	const unsigned char *from = msgs;
	size_t i;

	if (n == 1)
		return put_one(lane, msgs, bytes, n, wait);
	for (i = 0; i < n; i++) {
		void *slot = room(lane, lane->stride, wait && i == 0);

		if (!slot)
			break;
		memcpy(slot, from + i * bytes, bytes);
		lane->own = next_of(lane, lane->own);
	}
	if (i == 0)
		return -EAGAIN;
	atomic_store_explicit(&lane->ring->tail, lane->own,
			      memory_order_release);
	return (int)i;
}

static __attribute__((noinline)) int put_called(struct lane *lane,
						const void *msg, size_t bytes,
						size_t n, bool wait)
{
	if (bytes == 8)
		return put_one(lane, msg, 8, n, wait);
	return put_one(lane, msg, bytes, n, wait);
}

/* The two indices are in registers meanwhile. */
static int spsc_send(struct lane *lane, struct source *source, size_t n)
{
	struct lane here = *lane;
	int ret;

	if (lane->called && !lane->loan)
		return chunk_put(lane, source, n, put_called);
	ret = lane->loan ? chunk_lend(&here, source, n, room_in_place,
				      publish_in_place)
			 : chunk_put(&here, source, n, put_one);

	lane->own = here.own;
	lane->other = here.other;
	return ret;
}

/* The reader --------------------------------------------------------------- */

CHUNK_INLINE const void *front(struct lane *lane, size_t stride, bool wait)
{
	if (__builtin_expect(lane->own == lane->other, 0)) {
		lane->other = look(&lane->ring->tail, lane->own, wait);
		if (lane->other == lane->own)
			return NULL;
	}
	return slot_of(lane, lane->own, stride);
}

CHUNK_INLINE void pop(struct lane *lane)
{
	lane->own = next_of(lane, lane->own);
	atomic_store_explicit(&lane->ring->head, lane->own,
			      memory_order_release);
}

CHUNK_INLINE int get_one(struct lane *lane, void *msg, size_t bytes, size_t n,
			 bool wait)
{
	const void *slot = front(lane, (bytes + 7) / 8 * 8, wait);

	(void)n;
	if (!slot)
		return -EAGAIN;
	memcpy(msg, slot, bytes);
	pop(lane);
	return 1;
}

CHUNK_INLINE const void *front_in_place(struct lane *lane, size_t bytes)
{
	return front(lane, (bytes + 7) / 8 * 8, true);
}

CHUNK_INLINE int pop_in_place(struct lane *lane, size_t bytes)
{
	(void)bytes;
	pop(lane);
	return 0;
}

static int spsc_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	unsigned char *to = msgs;
	size_t i;

	if (n == 1)
		return get_one(lane, msgs, bytes, n, wait);
	for (i = 0; i < n; i++) {
		const void *slot = front(lane, lane->stride, wait && i == 0);

		if (!slot)
			break;
		memcpy(to + i * bytes, slot, bytes);
		lane->own = next_of(lane, lane->own);
	}
	if (i == 0)
		return -EAGAIN;
	atomic_store_explicit(&lane->ring->head, lane->own,
			      memory_order_release);
	return (int)i;
}

static __attribute__((noinline)) int
get_called(struct lane *lane, void *msg, size_t bytes, size_t n, bool wait)
{
	if (bytes == 8)
		return get_one(lane, msg, 8, n, wait);
	return get_one(lane, msg, bytes, n, wait);
}

static int spsc_recv(struct lane *lane, struct sink *sink, size_t n)
{
	struct lane here = *lane;
	int ret;

	if (lane->called && !lane->loan)
		return chunk_get(lane, sink, n, get_called);
	ret = lane->loan
		      ? chunk_look(&here, sink, n, front_in_place, pop_in_place)
		      : chunk_get(&here, sink, n, get_one);

	lane->own = here.own;
	lane->other = here.other;
	return ret;
}

/* Both directions ---------------------------------------------------------- */

static int duplex_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	if (spsc_open(spec, lane, out) != 0)
		return -1;
	if (spsc_open(spec, &(*lane)->back, out) != 0) {
		spsc_close(*lane);
		return -1;
	}
	return 0;
}

static void duplex_close(struct lane *lane)
{
	spsc_close(lane->back);
	spsc_close(lane);
}

/* A process writes to the lane and reads from the one behind it. */
static int duplex_side(struct lane *lane, unsigned side)
{
	struct ring *ring = lane->ring;

	if (side == 0)
		return 0;
	lane->ring = lane->back->ring;
	lane->back->ring = ring;
	return 0;
}

CHUNK_INLINE int get_back(struct lane *lane, void *msg, size_t bytes, size_t n,
			  bool wait)
{
	return get_one(lane->back, msg, bytes, n, wait);
}

static int duplex_turn(struct lane *lane, struct source *source,
		       struct sink *sink, size_t n)
{
	unsigned spins = 0;
	int moved;

	while ((moved = chunk_turn(lane, source, sink, n, put_one, get_back)) ==
	       0)
		rival_relax(&spins, SPINS);
	return moved < 0 ? moved : 0;
}

static const struct duplex_ops spsc_duplex = {
	.open = duplex_open,
	.close = duplex_close,
	.side = duplex_side,
	.turn = duplex_turn,
};

#define SPSC                                                                   \
	.waits = "yield", .batches = true, .open = spsc_open,                  \
	.close = spsc_close, .put = spsc_put, .get = spsc_get,                 \
	.send = spsc_send, .recv = spsc_recv

const struct transport rival_spsc = {
	.name = "spsc",
	.what = "plain SPSC ring of 1024 slots, not aware of deaths",
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) |
		 LOAD_BIT(LOAD_DUPLEX),
	.lends = true,
	.duplex = &spsc_duplex,
	SPSC,
};

const struct transport rival_spsc_mem = {
	.name = "spsc-mem",
	.what = "the same with the memory of our pipe",
	.variant = SAME_MEMORY,
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) |
		 LOAD_BIT(LOAD_DUPLEX),
	.lends = true,
	.duplex = &spsc_duplex,
	SPSC,
};

const struct transport rival_spsc_call = {
	.name = "spsc-call",
	.what = "spsc with a function call a message, as in a library",
	.variant = CALLED,
	.loads = LOAD_BIT(LOAD_STREAM),
	SPSC,
};

const struct transport rival_spsc_mem_call = {
	.name = "spsc-mem-call",
	.what = "likewise spsc-mem",
	.variant = SAME_MEMORY | CALLED,
	.loads = LOAD_BIT(LOAD_STREAM),
	SPSC,
};
