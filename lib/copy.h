/*
 * copy.h - copies of messages, which are short
 *
 * A call to memcpy() is half of what a short message costs, and where a caller
 * saves no registers it would be the only reason to.
 *
 * Whoever sends a message has often just written it, and a load that is wider
 * than those stores, or lies across two of them, waits until they have reached
 * the cache, behind all that went into shared memory before: 16 bytes took
 * 7.6 ns to send, and 4.6 by words; a request of 32 some 30 ns more than now.
 * So what goes in is read by words.  Of a long one the first are there by then.
 *
 * Of no bytes the pointers may be NULL.
 */
#ifndef SB_COPY_H
#define SB_COPY_H

#include <stdatomic.h>
#include <string.h>

#include "lib/def.h"

#define SB_COPY_SHORT 1024u /* longest that needs no memcpy() */
#define SB_COPY_FRESH 256u  /* longest that is read by words */

/* A word and two, wherever they are. */
typedef uint64_t sb_word_any __attribute__((aligned(1), may_alias));
typedef uint64_t sb_pair_any
	__attribute__((vector_size(16), aligned(1), may_alias));

/* By one load; or by @words, volatile, also where a compiler would make one of
 * the two. */
SB_INLINE void sb_copy_pair(unsigned char *to, const unsigned char *from,
			    bool words)
{
	const volatile sb_word_any *f = (const void *)from;

	*(sb_pair_any *)(void *)to =
		words ? (sb_pair_any){ f[0], f[1] }
		      : *(const sb_pair_any *)(const void *)from;
}

/* The last bytes of @n, from @i on, in pieces that lie where a word, half a
 * word, ... would. */
SB_INLINE void sb_copy_tail(unsigned char *to, const unsigned char *from,
			    size_t i, size_t n)
{
	if (n & 8) {
		memcpy(to + i, from + i, 8);
		i += 8;
	}
	if (sb_likely(n % 8 == 0))
		return;
	if (n & 4) {
		memcpy(to + i, from + i, 4);
		i += 4;
	}
	if (n & 2) {
		memcpy(to + i, from + i, 2);
		i += 2;
	}
	if (n & 1)
		to[i] = from[i];
}

/* @words is a constant. */
SB_INLINE void sb_copy_pairs(void *to, const void *from, size_t n, bool words)
{
	unsigned char *t = to;
	const unsigned char *f = from;
	size_t i = 0;

	for (; i + 32 <= n; i += 32) {
		sb_copy_pair(t + i, f + i, words);
		sb_copy_pair(t + i + 16, f + i + 16, words);
	}
	if (n & 16) {
		sb_copy_pair(t + i, f + i, words);
		i += 16;
	}
	sb_copy_tail(t, f, i, n);
}

/* Out of shared memory, up to SB_COPY_SHORT bytes, without a call. */
SB_INLINE void sb_copy_out(void *to, const void *from, size_t n)
{
	sb_copy_pairs(to, from, n, false);
}

/* Into shared memory, up to SB_COPY_SHORT bytes, without a call. */
SB_INLINE void sb_copy_in(void *to, const void *from, size_t n)
{
	if (sb_likely(n <= SB_COPY_FRESH))
		sb_copy_pairs(to, from, n, true);
	else
		sb_copy_pairs(to, from, n, false);
}

/* Any number, without a call where that pays. */
SB_INLINE void sb_copy(void *to, const void *from, size_t n)
{
	if (sb_likely(n <= SB_COPY_SHORT))
		sb_copy_out(to, from, n);
	else
		memcpy(to, from, n);
}

/*
 * What another may change at any time, to be checked and then used: after the
 * fence no compiler may read again what it has read.
 */
SB_INLINE void sb_copy_once(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	atomic_signal_fence(memory_order_seq_cst);
}

/* Into shared memory, any number. */
SB_INLINE void sb_copy_into(void *to, const void *from, size_t n)
{
	if (sb_likely(n <= SB_COPY_FRESH))
		sb_copy_in(to, from, n);
	else
		memcpy(to, from, n);
}

/* The same, for what is not a word or two.  A function, for more than that
 * inline makes the callers slower. */
void sb_copy_more(void *to, const void *from, size_t n);

/* Into shared memory, any number, and most often a word or two. */
SB_INLINE void sb_copy_few(void *to, const void *from, size_t n)
{
	if (sb_likely(n == 8))
		memcpy(to, from, 8);
	else if (n == 16)
		memcpy(to, from, 16);
	else if (n)
		sb_copy_more(to, from, n);
}

#endif
