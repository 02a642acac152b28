/*
 * tso.h - the accesses of lib/atomics.h on a machine with store buffers
 *
 * For the schedule explorers, which include it before the code under test.  A
 * plain store goes into the buffer of the task that makes it, and to memory
 * some time later, in order: what x86 does.  A locked instruction or a fence
 * of the task empties its buffer first, membarrier(2) those of all.  Loads look
 * into the own buffer before memory.
 *
 * The explorer has a struct tso for each task, says in tso_mine() whose access
 * it is (NULL: nobody's, straight to memory), and empties the buffers now and
 * then, and that of a task that sleeps, leaves or is killed.  Locked
 * instructions are told to tso_locked(): after them is where a death or a
 * stop hurts most.
 */
#ifndef TESTS_TSO_H
#define TESTS_TSO_H

#include "lib/atomics.h"

#define TSO_STORES 8

struct tso {
	unsigned int n;
	struct {
		void *p;
		size_t size;
		uint64_t value;
	} store[TSO_STORES];
};

static struct tso *tso_mine(void);
static void tso_drain_everybody(void);
static void tso_locked(void); /* a locked instruction was done */

static inline uint64_t tso_memory(const void *p, size_t size)
{
	return size == 4 ? *(const volatile uint32_t *)p
			 : *(const volatile uint64_t *)p;
}

/* The oldest store comes to memory. */
static inline void tso_drain_one(struct tso *b)
{
	if (b->store[0].size == 4)
		*(volatile uint32_t *)b->store[0].p =
			(uint32_t)b->store[0].value;
	else
		*(volatile uint64_t *)b->store[0].p = b->store[0].value;
	b->n--;
	for (unsigned int i = 0; i < b->n; i++)
		b->store[i] = b->store[i + 1];
}

static inline void tso_drain(struct tso *b)
{
	while (b && b->n)
		tso_drain_one(b);
}

static inline uint64_t tso_load(const void *p, size_t size)
{
	const struct tso *b = tso_mine();

	for (unsigned int i = b ? b->n : 0; i-- > 0;)
		if (b->store[i].p == p)
			return b->store[i].value;
	return tso_memory(p, size);
}

static inline void tso_store(void *p, size_t size, uint64_t value)
{
	struct tso *b = tso_mine(), now = { 0 };

	if (!b)
		b = &now;
	if (b->n == TSO_STORES)
		tso_drain_one(b);
	b->store[b->n].p = p;
	b->store[b->n].size = size;
	b->store[b->n++].value = value;
	tso_drain(&now);
}

#define TSO_TYPE(p) __typeof__(+*(p)) /* without _Atomic */
#define TSO_LOAD(p)         \
	(SB_ATOMICS_HOOK(), \
	 (TSO_TYPE(p))tso_load((const void *)(p), sizeof(*(p))))
#define TSO_STORE(p, v)     \
	(SB_ATOMICS_HOOK(), \
	 tso_store((void *)(p), sizeof(*(p)), (TSO_TYPE(p))(v)))
#define TSO_LOCKED(op) \
	(SB_ATOMICS_HOOK(), tso_drain(tso_mine()), tso_locked(), op)

#undef ld_rlx
#undef ld_acq
#undef st_rlx
#undef st_rel
#undef cas_acqrel
#undef add_acqrel
#undef or_seqcst
#undef and_acqrel
#define ld_rlx(p)     TSO_LOAD(p)
#define ld_acq(p)     TSO_LOAD(p)
#define st_rlx(p, v)  TSO_STORE(p, v)
#define st_rel(p, v)  TSO_STORE(p, v)
#define cas_acqrel(p, expected, desired) \
	TSO_LOCKED(atomic_compare_exchange_strong((p), (expected), (desired)))
#define add_acqrel(p, v) TSO_LOCKED(atomic_fetch_add((p), (v)))
#define or_seqcst(p, v)  TSO_LOCKED(atomic_fetch_or((p), (v)))
#define and_acqrel(p, v) TSO_LOCKED(atomic_fetch_and((p), (v)))

static inline void tso_fence(void)
{
	SB_ATOMICS_HOOK();
	tso_drain(tso_mine());
}
#define fence_seqcst() tso_fence()

/* membarrier(2), which lib/fence.c calls. */
static inline long tso_membarrier(void)
{
	SB_ATOMICS_HOOK();
	tso_drain_everybody();
	return 0;
}

#endif
