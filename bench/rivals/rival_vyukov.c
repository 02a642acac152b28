/*
 * rival_vyukov.c - Vyukov's bounded MPMC ring, the yardstick
 *
 * The fastest plain ring that we know for many producers and consumers, with
 * nothing added: who is killed between its two steps stops everybody, and who
 * finds it full or empty can only spin and yield.  It has as many slots of
 * the same size as our queue has by default (so the same memory), except that
 * large messages lie in the slots, where ours are in the blob pool.
 *
 *	seq == t                free, the producer of ticket t may write
 *	seq == t + 1            full, the consumer of ticket t may read
 *	seq == t + n_slots      free for the next lap
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

#define POOL_BYTES (16u << 20) /* as much as our blob pool has by default */
#define SPINS      64          /* then sched_yield() */

struct slot {
	_Atomic uint64_t seq;
	unsigned char data[];
};

struct tickets {
	alignas(128) _Atomic uint64_t tail; /* producers */
	alignas(128) _Atomic uint64_t head; /* consumers */
	alignas(128) unsigned char slots[];
};

struct lane {
	struct tickets *shared;
	size_t map_bytes;
	size_t stride;
	uint64_t mask;
};

static struct slot *slot_of(const struct lane *lane, uint64_t ticket)
{
	size_t off = (size_t)(ticket & lane->mask) * lane->stride;

	return (struct slot *)(void *)(lane->shared->slots + off);
}

static int vyukov_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	struct lane *made = calloc(1, sizeof(*made));
	size_t data =
		spec->bytes > spec->slot_bytes ? spec->bytes : spec->slot_bytes;
	uint64_t n_slots = spec->n_slots;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->stride = sizeof(struct slot) + (data + 7) / 8 * 8;
	/* As many as were asked for, if they are as large as ours. */
	while (n_slots > 4 && n_slots * made->stride > POOL_BYTES &&
	       (!spec->slots || spec->bytes > spec->slot_bytes))
		n_slots /= 2;
	made->mask = n_slots - 1;
	made->map_bytes = sizeof(struct tickets) + n_slots * made->stride;
	made->shared = rival_map(made->map_bytes);
	if (!made->shared) {
		free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory: %s",
				   strerror(errno));
	}
	for (uint64_t i = 0; i < n_slots; i++)
		atomic_store_explicit(&slot_of(made, i)->seq, i,
				      memory_order_relaxed);
	*lane = made;
	return 0;
}

static void vyukov_close(struct lane *lane)
{
	munmap(lane->shared, lane->map_bytes);
	free(lane);
}

/* Claim the slot of the next ticket of @word that is @ready lines ahead: 0 to
 * write, 1 to read.  NULL when the ring is full or empty. */
static inline struct slot *claim(const struct lane *lane,
				 _Atomic uint64_t *word, uint64_t ready,
				 uint64_t *ticket)
{
	uint64_t t = atomic_load_explicit(word, memory_order_relaxed);

	for (;;) {
		struct slot *slot = slot_of(lane, t);
		uint64_t seq =
			atomic_load_explicit(&slot->seq, memory_order_acquire);
		int64_t lag = (int64_t)(seq - (t + ready));

		if (lag < 0)
			return NULL;
		if (lag > 0) {
			t = atomic_load_explicit(word, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(
				   word, &t, t + 1, memory_order_relaxed,
				   memory_order_relaxed)) {
			*ticket = t;
			return slot;
		}
	}
}

static int vyukov_put(struct lane *lane, const void *msgs, size_t bytes,
		      size_t n, bool wait)
{
	struct slot *slot;
	unsigned spins = 0;
	uint64_t ticket;

	(void)n;
	while (!(slot = claim(lane, &lane->shared->tail, 0, &ticket))) {
		if (!wait)
			return -EAGAIN;
		rival_relax(&spins, SPINS);
	}
	memcpy(slot->data, msgs, bytes);
	atomic_store_explicit(&slot->seq, ticket + 1, memory_order_release);
	return 1;
}

static int vyukov_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		      bool wait)
{
	struct slot *slot;
	unsigned spins = 0;
	uint64_t ticket;

	(void)n;
	while (!(slot = claim(lane, &lane->shared->head, 1, &ticket))) {
		if (!wait)
			return -EAGAIN;
		rival_relax(&spins, SPINS);
	}
	memcpy(msgs, slot->data, bytes);
	atomic_store_explicit(&slot->seq, ticket + lane->mask + 1,
			      memory_order_release);
	return 1;
}

static int vyukov_send(struct lane *lane, struct source *source, size_t n)
{
	return chunk_put(lane, source, n, vyukov_put);
}

static int vyukov_recv(struct lane *lane, struct sink *sink, size_t n)
{
	return chunk_get(lane, sink, n, vyukov_get);
}

const struct transport rival_vyukov = {
	.name = "vyukov",
	.what = "plain MPMC ring of the same memory, not safe against kills",
	.loads = LOAD_LANES,
	.waits = "yield",
	.open = vyukov_open,
	.close = vyukov_close,
	.put = vyukov_put,
	.get = vyukov_get,
	.send = vyukov_send,
	.recv = vyukov_recv,
};
