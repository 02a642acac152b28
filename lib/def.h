/*
 * def.h - the few macros that every file of ours may use
 *
 * Includes nothing of ours.
 */
#ifndef SB_DEF_H
#define SB_DEF_H

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 64: x86 and most arm.  Words of different writers lie two lines apart,
 * because x86 fetches lines in pairs. */
#define SB_CACHELINE 64
#define SB_FAR       128

/* Endpoint ids are 1 .. SB_EP_MAX; 0 is nobody.  They take 8 bits in the
 * words of the ring, and one bit each in the sleeper bitmaps. */
#define SB_EP_MAX    255
#define SB_EP_WORDS  4

#define sb_likely(x)   __builtin_expect(!!(x), 1)
#define sb_unlikely(x) __builtin_expect(!!(x), 0)
#define SB_NOINLINE    __attribute__((noinline))
#define SB_INLINE      static inline __attribute__((always_inline))

/*
 * A safeguard has a name where its absence could be overlooked.  The test
 * programs that define SB_MUTANT, a string, are built without the one that it
 * names, and have to notice (tests/README.md).  Everybody else: false.  A
 * check_* is one of what a peer may have written, which fuzzing has to notice.
 */
#ifdef SB_MUTANT
#define SB_MUTATED(name) (__builtin_strcmp(SB_MUTANT, #name) == 0)
#else
#define SB_MUTATED(name) false
#endif

#define SB_ROUND_UP(x, to) (((x) + (to)-1) / (to) * (to))

#endif
