/*
 * fence.h - a store-load barrier that the rare side pays for
 *
 * Two processes that each store a word and then load the other's (Dekker) need
 * a barrier between the two on both sides.  Here one side does it with every
 * message (publish, then look for sleepers) and the other seldom (set the
 * sleeper bit, then look for messages).  A fence on the hot side waits until
 * the store has reached the cache, which is most of what a message costs:
 * 20 of 46 ns for a put and a get where this was measured.
 *
 * membarrier(2) moves the whole price to the other side: it runs a full
 * barrier on every CPU where a registered process runs.  Then the hot side
 * needs only to keep the compiler from reordering:
 *
 *	hot: store; sb_fence_light; load     rare: store; sb_fence_heavy; load
 *
 * One of the two sees the other's store, as with two fences.  This holds on
 * every architecture; it is membarrier(2)'s promise for
 * MEMBARRIER_CMD_GLOBAL_EXPEDITED, of which every process on the hot side
 * must have registered (sb_fence_register), a forked child again.
 *
 * Linux does not always keep it (seen with 6.18): when a thread ends and the
 * CPU goes on with another of the same process, it forgets that this process
 * has registered, until the CPU has run another process.  A barrier of that
 * time passes the CPU by: 15 of 5 million were without effect where eight
 * threads ended for each thousand, none where none did.  What the hot side has
 * stored is then in memory a moment later, so whoever relies on a heavy fence
 * looks once more: a sleeper (waiter.c, sleep_with_looks), who cancels a task
 * (bus/pool_limit.c, tell); or takes sb_fence_heavy_sure (recovery of a ring).
 *
 * Where that is not to be had both are ordinary fences: @asym false.  All users
 * of a segment must agree on it.
 */
#ifndef SB_FENCE_H
#define SB_FENCE_H

#include "lib/atomics.h"

/* Returns 0, or why this process cannot take part: -ENOSYS, -EPERM, ... */
int sb_fence_register(void);

/* Costs half a microsecond, or about ten if registered processes run on other
 * CPUs, each of which is interrupted. */
void sb_fence_heavy(bool asym);

/* For who cannot come back later: by the last of so many the store has had its
 * time to arrive, whatever became of the first. */
#define SB_FENCE_SURE 8

SB_INLINE void sb_fence_heavy_sure(bool asym)
{
	for (int i = 0; i < (asym ? SB_FENCE_SURE : 1); i++)
		sb_fence_heavy(asym);
}

SB_INLINE void sb_fence_light(bool asym)
{
	if (sb_likely(asym))
		atomic_signal_fence(memory_order_seq_cst);
	else
		fence_seqcst();
}

#endif
