/*
 * shares.h - how much each worker did
 *
 * A place for each worker, in memory that all share, so that what it counted
 * is there also when it was killed.  Each place has a cache line of its own and
 * one writer; counting is one store.
 */
#ifndef BENCH_SHARES_H
#define BENCH_SHARES_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "bench/outcome.h"
#include "bench/spec.h"

struct share {
	alignas(128) _Atomic uint64_t n;
	_Atomic int32_t pid; /* who may be killed; 0: nobody */
};

struct shares {
	_Atomic uint32_t n_places; /* that have been taken, the first ones */
	_Atomic uint64_t n_again;  /* messages taken over from the dead */
	struct share place[MAX_PROCESSES];
};

/* Worker: a place that nobody has.  @shares NULL, or all taken: one that nobody
 * looks at. */
struct share *shares_take(struct shares *shares);

/* The one with @pid does not have it any more: it was killed, or leaves. */
void shares_leave(struct share *share, int32_t pid);

/* Worker: one more. */
static inline void share_count(struct share *share)
{
	uint64_t n = atomic_load_explicit(&share->n, memory_order_relaxed);

	atomic_store_explicit(&share->n, n + 1, memory_order_relaxed);
}

/* Parent: all that was done; and how it was spread over @n numbers. */
uint64_t shares_sum(const struct shares *shares);
struct fairness fairness_of(const uint64_t *values, unsigned n);
struct fairness shares_fairness(const struct shares *shares);

#endif
