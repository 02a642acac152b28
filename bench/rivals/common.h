/*
 * common.h - what the adapters of several rivals need
 */
#ifndef BENCH_RIVALS_COMMON_H
#define BENCH_RIVALS_COMMON_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/cpus.h"
#include "bench/spec.h"
#include "bench/transport.h"

/*
 * A ring that can only be polled is looked at as often, then the processor is
 * given away: seldom while each process can have a processor, as spsc does,
 * often when they are more, as vyukov does.  Who yields all the time comes last
 * for a long time once anybody else has work: each sched_yield() gives up a
 * time slice.
 */
#define RIVAL_SPINS_ALONE 4096
#define RIVAL_SPINS       64

/* How many messages a ring holds if nobody says otherwise, and from where on
 * fewer, as much as fits into RIVAL_BYTES. */
#define RIVAL_SLOTS       4096
#define RIVAL_SLOTS_LONG  1024
#define RIVAL_SHORT_BYTES 64
#define RIVAL_BYTES       (4u << 20)
#define RIVAL_SLOTS_MIN   8

static inline void rival_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline unsigned rival_spins(const struct spec *spec)
{
	unsigned processes = spec->workers ? spec->workers + 1
					   : spec->producers + spec->consumers;

	return processes <= (unsigned)cpus_count() ? RIVAL_SPINS_ALONE
						   : RIVAL_SPINS;
}

/* Nothing there yet: pause, or after @most times give way. */
static inline void rival_relax(unsigned *spins, unsigned most)
{
	if (++*spins < most) {
		rival_pause();
		return;
	}
	*spins = 0;
	sched_yield();
}

/* Memory that the processes of a round share, or NULL. */
static inline void *rival_map(size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

/* The greatest power of two that is not more than @n, which is not 0. */
static inline uint64_t rival_floor_pow2(uint64_t n)
{
	return 1ull << (63 - __builtin_clzll(n));
}

/* What ours has for this load: a pipe, where only two processes talk, else the
 * slots of a queue. */
static inline uint64_t rival_same_memory(const struct spec *spec)
{
	if (spec->load == LOAD_MPMC || spec->load == LOAD_FARM)
		return (uint64_t)spec->n_slots * spec->slot_bytes;
	return spec->pipe_bytes;
}

/* The slots of a ring whose messages take @bytes each: a power of two, the
 * usual number or, with @same, what fits into the memory of ours. */
static inline uint32_t rival_slots(const struct spec *spec, size_t bytes,
				   bool same)
{
	uint64_t n;

	if (same)
		n = rival_same_memory(spec) / bytes;
	else if (bytes <= RIVAL_SHORT_BYTES)
		n = RIVAL_SLOTS;
	else
		n = RIVAL_BYTES / bytes;
	if (!same && bytes > RIVAL_SHORT_BYTES && n > RIVAL_SLOTS_LONG)
		n = RIVAL_SLOTS_LONG;
	if (n < (same ? 4 : RIVAL_SLOTS_MIN))
		n = same ? 4 : RIVAL_SLOTS_MIN;
	return (uint32_t)rival_floor_pow2(n);
}

#endif
