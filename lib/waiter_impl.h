/*
 * waiter_impl.h - what waiter.c and its back-ends know of each other
 *
 * waiter.c owns the protocol (S1..S6, K1..K5 of waiter.h), the policy and the
 * list of watches.  A back-end does one thing: S5, sleep while the bell has
 * the value seen, but not longer than told.
 */
#ifndef SB_WAITER_IMPL_H
#define SB_WAITER_IMPL_H

#include "lib/waiter.h"

/*
 * sb_futex_park, sb_uring_park - S5
 *
 * @seen: the bell's value of S1
 * @ns:   sleep at most that long; not 0
 *
 * Returns 0 when the bell rang, time is up, a watch fired (uring only) or for
 * no reason at all: the caller looks for itself.  -EINTR after a signal
 * handler.  Another -errno when this back-end cannot sleep.
 */
int sb_futex_park(struct sb_waiter *w, uint32_t seen, uint64_t ns);
int sb_uring_park(struct sb_waiter *w, uint32_t seen, uint64_t ns);

/* K5's second half: wake whoever sleeps on @bell.  Returns how many did. */
int sb_futex_wake(_Atomic uint32_t *bell);

/* Make w->uring and prove that it works.  Returns 0 or why not. */
int sb_uring_open(struct sb_waiter *w);

/*
 * Give w->uring back: everything armed is cancelled, and the cancellations
 * are seen to be complete, before the ring goes.  In another thread than that
 * which made it, or in a forked child, where the ring cannot be entered, only
 * what is ours is dropped.
 */
void sb_uring_close(struct sb_waiter *w);

/* Cancel what polls @watch->fd and wait until that is done. */
void sb_uring_disarm(struct sb_waiter *w, struct sb_watch *watch);

SB_INLINE _Atomic uint32_t *sb_own_bell(const struct sb_waiter *w)
{
	return sb_bell(&w->bells, w->id);
}

#endif
