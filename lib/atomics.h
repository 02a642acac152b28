/*
 * atomics.h - the only place that spells memory_order_*
 *
 * Names say the order: ld_acq loads with acquire, st_rel stores with release,
 * cas_acqrel is a strong compare-and-swap.  Every use of an ordered access
 * names its partner in the comment of the file that makes it.
 */
#ifndef SB_ATOMICS_H
#define SB_ATOMICS_H

#include <sched.h>
#include <stdatomic.h>

#include "lib/def.h"

/*
 * A test may define SB_ATOMICS_HOOK to run code before every access: that is
 * how the schedule explorer makes each of them a point where it may switch
 * to another process, or kill this one.
 */
#ifndef SB_ATOMICS_HOOK
#define SB_ATOMICS_HOOK() ((void)0)
#endif

#define ld_rlx(p) \
	(SB_ATOMICS_HOOK(), atomic_load_explicit((p), memory_order_relaxed))
#define ld_acq(p) \
	(SB_ATOMICS_HOOK(), atomic_load_explicit((p), memory_order_acquire))
#define st_rlx(p, v) \
	(SB_ATOMICS_HOOK(),  \
	 atomic_store_explicit((p), (v), memory_order_relaxed))
#define st_rel(p, v) \
	(SB_ATOMICS_HOOK(),  \
	 atomic_store_explicit((p), (v), memory_order_release))
#define cas_acqrel(p, expected, desired)                       \
	(SB_ATOMICS_HOOK(),                                    \
	 atomic_compare_exchange_strong_explicit(              \
		 (p), (expected), (desired), memory_order_acq_rel, \
		 memory_order_acquire))
#define add_acqrel(p, v) \
	(SB_ATOMICS_HOOK(),  \
	 atomic_fetch_add_explicit((p), (v), memory_order_acq_rel))
#define or_seqcst(p, v) \
	(SB_ATOMICS_HOOK(), \
	 atomic_fetch_or_explicit((p), (v), memory_order_seq_cst))
#define and_acqrel(p, v) \
	(SB_ATOMICS_HOOK(),  \
	 atomic_fetch_and_explicit((p), (v), memory_order_acq_rel))

#if defined(__SANITIZE_THREAD__)
#define SB_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SB_TSAN 1
#endif
#endif

/* Store-load barrier: the one order that acquire and release do not give,
 * and that x86 does not give for free either. */
SB_INLINE void fence_seqcst(void)
{
	SB_ATOMICS_HOOK();
#ifdef SB_TSAN
	/* TSan does not model fences; an RMW on a private word is one. */
	static _Atomic int word;
	atomic_fetch_add_explicit(&word, 0, memory_order_seq_cst);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Fetch a line that we are going to write; never faults.  By hand on x86,
 * where compilers take the instruction that asks for ownership only with
 * -mprfchw, though all 64-bit processors run it, old ones as a no-op. */
SB_INLINE void sb_prefetch_own(const void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Fetch a line that we are going to read; never faults. */
SB_INLINE void sb_prefetch(const void *p)
{
	__builtin_prefetch(p);
}

/* One step of a spin loop. */
SB_INLINE void sb_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
	__asm__ __volatile__("yield" ::: "memory");
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

#endif
