/*
 * rival_rte.c - rte_ring of DPDK, in its four modes, single and in bursts of 32
 *
 * Only its headers are used, where all of enqueueing and dequeueing is inline:
 * EAL, hugepages and the libraries are for making rings by name, and a ring in
 * anonymous shared memory is the same to them.  It is made here field by
 * field, with what rte_ring_init() gives to a ring of these flags.
 *
 *	rte-spsc   RING_F_SP_ENQ | RING_F_SC_DEQ
 *	rte-mpmc   the default
 *	rte-hts    RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ: one at a time moves
 *	           head and tail; for more threads than processors
 *	rte-rts    RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ: the last one moves
 *	           the tail; likewise
 *
 * Elements are of the message's size up to 64 bytes (rte_ring_*_elem()), longer
 * messages as in ring_lane.inc.  The calls are those that look up the mode in
 * the ring, which programs use.  4096 slots, or with -mem as many as fit into
 * the memory of ours.  -b32 writes, compares and moves 32 messages at a time,
 * also as requests and answers, or fewer when there are no more; the others do
 * so in workloads with --batch.
 *
 * A process that is killed or preempted between head and tail stops all that
 * come after it (in rte-mpmc they spin inside, so that it collapses when there
 * are more processes than processors); nobody can sleep.
 */
#include "config.h"

#include "bench/rivals/burst.h"
#include "bench/transport.h"

#ifdef WITH_DPDK

/* Their structures have unions of modes. */
#include <rte_config.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "bench/chunk.h"

#define HTD_PART 8 /* RTS: tail at most this part of the ring behind */

enum kind { SPSC, MPMC, HTS, RTS };

struct ring {
	struct rte_ring ring;
};

static size_t ring_bytes(size_t esize, uint32_t n)
{
	return sizeof(struct ring) + n * esize;
}

static void ring_init(struct ring *made, size_t esize, uint32_t n,
		      unsigned kind)
{
	static const struct {
		enum rte_ring_sync_type type;
		int flags;
	} modes[] = {
		[SPSC] = { RTE_RING_SYNC_ST, RING_F_SP_ENQ | RING_F_SC_DEQ },
		[MPMC] = { RTE_RING_SYNC_MT, 0 },
		[HTS] = { RTE_RING_SYNC_MT_HTS,
			  RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ },
		[RTS] = { RTE_RING_SYNC_MT_RTS,
			  RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ },
	};
	struct rte_ring *ring = &made->ring;

	(void)esize;
	memset(ring, 0, sizeof(*ring));
	strcpy(ring->name, "busbench");
	ring->flags = modes[kind].flags;
	ring->size = n;
	ring->mask = n - 1;
	ring->capacity = n - 1;
	ring->prod.sync_type = modes[kind].type;
	ring->cons.sync_type = modes[kind].type;
	if (kind == RTS) {
		rte_ring_set_prod_htd_max(ring, ring->capacity / HTD_PART);
		rte_ring_set_cons_htd_max(ring, ring->capacity / HTD_PART);
	}
}

CHUNK_INLINE unsigned ring_push(struct ring *ring, const void *elems,
				size_t esize, unsigned n, unsigned kind)
{
	(void)kind; /* the ring knows */
	return rte_ring_enqueue_burst_elem(&ring->ring, elems, (unsigned)esize,
					   n, NULL);
}

CHUNK_INLINE unsigned ring_pop(struct ring *ring, void *elems, size_t esize,
			       unsigned n, unsigned kind)
{
	(void)kind;
	return rte_ring_dequeue_burst_elem(&ring->ring, elems, (unsigned)esize,
					   n, NULL);
}

#include "bench/rivals/ring_bursts.inc"

static int rte_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		   bool wait)
{
	return ring_put(lane, msgs, bytes, n, wait);
}

static int rte_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		   bool wait)
{
	return ring_get(lane, msgs, bytes, n, wait);
}

/* The calls in bursts of each variant, by kind. */
static int calls_open(const struct spec *spec, struct calls **calls,
		      struct outcome *out)
{
	static const struct transport *const of_kind[] = {
		[SPSC] = &rival_rte_spsc_b32,
		[MPMC] = &rival_rte_mpmc_b32,
		[HTS] = &rival_rte_hts_b32,
		[RTS] = &rival_rte_rts_b32,
	};

	return burst_open(of_kind[spec->variant & 0xff], BURST, spec, calls,
			  out);
}

static const struct call_ops burst_calls = { .open = calls_open, BURST_CALLS };

#define SINGLE(...)                                                            \
	.built = true, .variant = (__VA_ARGS__), .open = ring_open,            \
	.close = ring_close, .put = rte_put, .get = rte_get,                   \
	.send = ring_send, .recv = ring_recv
#define BURSTS(...)                                                            \
	.built = true, .variant = (__VA_ARGS__), .open = ring_open,            \
	.close = ring_close, .put = rte_put, .get = rte_get,                   \
	.send = ring_send_bursts, .recv = ring_recv_bursts,                    \
	.calls = &burst_calls
#else
#define SINGLE(...) .built = false
#define BURSTS(...) .built = false
#endif

#define RTE                                                                    \
	.waits = "yield", .package = "libdpdk-dev", .lends = true,             \
	.batches = true

#define TWO_ENDS                                                               \
	(LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_WAKE) |    \
	 LOAD_BIT(LOAD_IDLE))

const struct transport rival_rte_spsc = {
	.name = "rte-spsc",
	.what = "DPDK's ring for one writer and one reader",
	.loads = TWO_ENDS,
	RTE,
	SINGLE(SPSC),
};

const struct transport rival_rte_spsc_mem = {
	.name = "rte-spsc-mem",
	.what = "the same with the memory of our pipe",
	.loads = LOAD_BIT(LOAD_STREAM),
	RTE,
	SINGLE(SPSC | RING_SAME_MEMORY),
};

const struct transport rival_rte_spsc_b32 = {
	.name = "rte-spsc-b32",
	.what = "rte-spsc in bursts of 32",
	.bursts = true,
	.loads = LOAD_BIT(LOAD_STREAM),
	RTE,
	BURSTS(SPSC | RING_BURSTS),
};

const struct transport rival_rte_spsc_b32_mem = {
	.name = "rte-spsc-b32-mem",
	.what = "the same with the memory of our pipe",
	.bursts = true,
	.loads = LOAD_BIT(LOAD_STREAM),
	RTE,
	BURSTS(SPSC | RING_BURSTS | RING_SAME_MEMORY),
};

const struct transport rival_rte_mpmc = {
	.name = "rte-mpmc",
	.what = "DPDK's ring for many, spins inside",
	.loads = LOAD_LANES,
	RTE,
	SINGLE(MPMC),
};

const struct transport rival_rte_mpmc_mem = {
	.name = "rte-mpmc-mem",
	.what = "the same with the memory of ours",
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC) |
		 LOAD_BIT(LOAD_FARM),
	RTE,
	SINGLE(MPMC | RING_SAME_MEMORY),
};

const struct transport rival_rte_mpmc_b32 = {
	.name = "rte-mpmc-b32",
	.what = "rte-mpmc in bursts of 32",
	.bursts = true,
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_FARM),
	RTE,
	BURSTS(MPMC | RING_BURSTS),
};

const struct transport rival_rte_hts = {
	.name = "rte-hts",
	.what = "DPDK's ring for many, one at a time",
	.loads = LOAD_LANES,
	RTE,
	SINGLE(HTS),
};

const struct transport rival_rte_hts_b32 = {
	.name = "rte-hts-b32",
	.what = "the same in bursts of 32",
	.bursts = true,
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_FARM),
	RTE,
	BURSTS(HTS | RING_BURSTS),
};

const struct transport rival_rte_rts = {
	.name = "rte-rts",
	.what = "DPDK's ring for many, with a relaxed tail",
	.loads = LOAD_LANES,
	RTE,
	SINGLE(RTS),
};

const struct transport rival_rte_rts_b32 = {
	.name = "rte-rts-b32",
	.what = "the same in bursts of 32",
	.bursts = true,
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_FARM),
	RTE,
	BURSTS(RTS | RING_BURSTS),
};
