/*
 * rival_ck.c - the rings of Concurrency Kit: one writer and one reader, or many
 *
 * ck_ring with its typed interface, CK_RING_PROTOTYPE: elements of the
 * message's type lie in the ring, all of it is inline, and ring and elements
 * are in shared memory, where they work as between threads.  They hold 4096
 * messages of up to 64 bytes, as is usual; those of -mem as many as fit into
 * the memory of ours.  Longer messages: see ring_lane.inc.
 *
 * ck-mpmc is lock-free for readers, but a writer that is killed or preempted
 * between its reservation and its commit stops all that come after it, inside
 * ck_ring_enqueue_mpmc(), which spins there without yielding: with more
 * processes than processors it collapses.  Nobody can sleep, and no death is
 * noticed.  There is no call for many at a time.
 */
#include "config.h"

#include "bench/transport.h"

#ifdef WITH_CK

#include <ck_ring.h>

#include "bench/chunk.h"

enum kind { SPSC, MPMC };

/* The elements follow, aligned. */
struct ring {
	alignas(128) struct ck_ring ring;
};

#define ELEM(N)                                                                \
	struct elem##N {                                                       \
		uint64_t word[(N) / 8];                                        \
	};                                                                     \
	CK_RING_PROTOTYPE(elem##N, elem##N)                                    \
                                                                               \
	CHUNK_INLINE bool push##N(struct ring *ring, const void *elem,         \
				  unsigned kind)                               \
	{                                                                      \
		struct elem##N *from = (struct elem##N *)(uintptr_t)elem;      \
		struct elem##N *buf = (struct elem##N *)(void *)(ring + 1);    \
                                                                               \
		return kind == SPSC                                            \
			       ? ck_ring_enqueue_spsc_elem##N(&ring->ring,     \
							      buf, from)       \
			       : ck_ring_enqueue_mpmc_elem##N(&ring->ring,     \
							      buf, from);      \
	}                                                                      \
                                                                               \
	CHUNK_INLINE bool pop##N(struct ring *ring, void *elem, unsigned kind) \
	{                                                                      \
		struct elem##N *buf = (struct elem##N *)(void *)(ring + 1);    \
                                                                               \
		return kind == SPSC                                            \
			       ? ck_ring_dequeue_spsc_elem##N(&ring->ring,     \
							      buf, elem)       \
			       : ck_ring_dequeue_mpmc_elem##N(&ring->ring,     \
							      buf, elem);      \
	}

ELEM(8)
ELEM(16)
ELEM(24)
ELEM(32)
ELEM(64)

static size_t ring_bytes(size_t esize, uint32_t n)
{
	return sizeof(struct ring) + n * esize;
}

static void ring_init(struct ring *ring, size_t esize, uint32_t n,
		      unsigned kind)
{
	(void)esize;
	(void)kind;
	ck_ring_init(&ring->ring, n);
}

CHUNK_INLINE bool push_one(struct ring *ring, const void *elem, size_t esize,
			   unsigned kind)
{
	return esize == 8    ? push8(ring, elem, kind)
	       : esize == 16 ? push16(ring, elem, kind)
	       : esize == 24 ? push24(ring, elem, kind)
	       : esize == 32 ? push32(ring, elem, kind)
			     : push64(ring, elem, kind);
}

CHUNK_INLINE bool pop_one(struct ring *ring, void *elem, size_t esize,
			  unsigned kind)
{
	return esize == 8    ? pop8(ring, elem, kind)
	       : esize == 16 ? pop16(ring, elem, kind)
	       : esize == 24 ? pop24(ring, elem, kind)
	       : esize == 32 ? pop32(ring, elem, kind)
			     : pop64(ring, elem, kind);
}

CHUNK_INLINE unsigned ring_push(struct ring *ring, const void *elems,
				size_t esize, unsigned n, unsigned kind)
{
	const unsigned char *from = elems;
	unsigned i = 0;

	while (i < n && push_one(ring, from + i * esize, esize, kind))
		i++;
	return i;
}

CHUNK_INLINE unsigned ring_pop(struct ring *ring, void *elems, size_t esize,
			       unsigned n, unsigned kind)
{
	unsigned char *to = elems;
	unsigned i = 0;

	while (i < n && pop_one(ring, to + i * esize, esize, kind))
		i++;
	return i;
}

#include "bench/rivals/ring_lane.inc"

static int ck_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		  bool wait)
{
	return ring_put(lane, msgs, bytes, n, wait);
}

static int ck_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		  bool wait)
{
	return ring_get(lane, msgs, bytes, n, wait);
}

#define BUILT(...)                                                             \
	.built = true, .variant = (__VA_ARGS__), .open = ring_open,            \
	.close = ring_close, .put = ck_put, .get = ck_get, .send = ring_send,  \
	.recv = ring_recv
#else
#define BUILT(...) .built = false
#endif

#define CK .waits = "yield", .package = "libck-dev", .lends = true

const struct transport rival_ck_spsc = {
	.name = "ck-spsc",
	.what = "Concurrency Kit's ring for one writer and one reader",
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) |
		 LOAD_BIT(LOAD_WAKE) | LOAD_BIT(LOAD_IDLE),
	CK,
	BUILT(SPSC),
};

const struct transport rival_ck_spsc_mem = {
	.name = "ck-spsc-mem",
	.what = "the same with the memory of our pipe",
	.loads = LOAD_BIT(LOAD_STREAM),
	CK,
	BUILT(SPSC | RING_SAME_MEMORY),
};

const struct transport rival_ck_mpmc = {
	.name = "ck-mpmc",
	.what = "Concurrency Kit's ring for many, spins inside",
	.loads = LOAD_LANES,
	CK,
	BUILT(MPMC),
};

const struct transport rival_ck_mpmc_mem = {
	.name = "ck-mpmc-mem",
	.what = "the same with the memory of ours",
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC) |
		 LOAD_BIT(LOAD_FARM),
	CK,
	BUILT(MPMC | RING_SAME_MEMORY),
};
