/*
 * message.c - messages that are longer than a few words
 *
 * The loops are written with vectors of as many words as the processor's
 * registers have, and compiled for three kinds of x86; elsewhere there is one
 * version.  With plain loops and -O2 a KiB took 29 ns to write and 39 to
 * compare, as long as some transports take for it; now it is 5 and 9.
 */
#include "config.h"

#include "bench/message.h"

/* write_NAME() and differ_NAME() with vectors of N words, four at a time, then
 * one, then single words.  The last argument is 0 .. N - 1. */
#define WORDS_AT_A_TIME(NAME, ATTRIBUTES, N, ...)                              \
	typedef uint64_t vec_##NAME                                            \
		__attribute__((vector_size(8 * (N)), aligned(1), may_alias));  \
                                                                               \
	ATTRIBUTES static void write_##NAME(void *buf, size_t n,               \
					    uint64_t first)                    \
	{                                                                      \
		unsigned char *to = buf;                                       \
		vec_##NAME w0 = { __VA_ARGS__ };                               \
		size_t i = 0;                                                  \
                                                                               \
		w0 += first;                                                   \
		if (n >= 4 * (N)) {                                            \
			vec_##NAME w1 = w0 + (N), w2 = w1 + (N),               \
				   w3 = w2 + (N);                              \
                                                                               \
			for (; i + 4 * (N) <= n; i += 4 * (N)) {               \
				vec_##NAME *at =                               \
					(vec_##NAME *)(void *)(to + 8 * i);    \
                                                                               \
				at[0] = w0;                                    \
				at[1] = w1;                                    \
				at[2] = w2;                                    \
				at[3] = w3;                                    \
				w0 += 4 * (N);                                 \
				w1 += 4 * (N);                                 \
				w2 += 4 * (N);                                 \
				w3 += 4 * (N);                                 \
			}                                                      \
		}                                                              \
		for (; i + (N) <= n; i += (N)) {                               \
			*(vec_##NAME *)(void *)(to + 8 * i) = w0;              \
			w0 += (N);                                             \
		}                                                              \
		for (; i < n; i++) {                                           \
			uint64_t word = first + i;                             \
                                                                               \
			memcpy(to + 8 * i, &word, 8);                          \
		}                                                              \
	}                                                                      \
                                                                               \
	ATTRIBUTES static uint64_t differ_##NAME(const void *buf, size_t n,    \
						 uint64_t first)               \
	{                                                                      \
		const unsigned char *from = buf;                               \
		vec_##NAME w0 = { __VA_ARGS__ }, d0 = { 0 };                   \
		uint64_t word, differs = 0;                                    \
		size_t i = 0;                                                  \
                                                                               \
		w0 += first;                                                   \
		if (n >= 4 * (N)) {                                            \
			vec_##NAME w1 = w0 + (N), w2 = w1 + (N),               \
				   w3 = w2 + (N);                              \
			vec_##NAME d1 = d0, d2 = d0, d3 = d0;                  \
                                                                               \
			for (; i + 4 * (N) <= n; i += 4 * (N)) {               \
				const vec_##NAME *at =                         \
					(const vec_##NAME                      \
						 *)(const void *)(from +       \
								  8 * i);      \
                                                                               \
				d0 |= at[0] ^ w0;                              \
				d1 |= at[1] ^ w1;                              \
				d2 |= at[2] ^ w2;                              \
				d3 |= at[3] ^ w3;                              \
				w0 += 4 * (N);                                 \
				w1 += 4 * (N);                                 \
				w2 += 4 * (N);                                 \
				w3 += 4 * (N);                                 \
			}                                                      \
			d0 |= d1 | d2 | d3;                                    \
		}                                                              \
		for (; i + (N) <= n; i += (N)) {                               \
			d0 |= w0 ^ *(const vec_##NAME *)(const void *)(from +  \
								       8 * i); \
			w0 += (N);                                             \
		}                                                              \
		for (unsigned k = 0; k < (N); k++)                             \
			differs |= d0[k];                                      \
		for (; i < n; i++) {                                           \
			memcpy(&word, from + 8 * i, 8);                        \
			differs |= word ^ (first + i);                         \
		}                                                              \
		return differs;                                                \
	}

WORDS_AT_A_TIME(plain, , 2, 0, 1)
#if defined(__x86_64__)
WORDS_AT_A_TIME(avx2, __attribute__((target("avx2"))), 4, 0, 1, 2, 3)
WORDS_AT_A_TIME(avx512, __attribute__((target("avx512f"))), 8, 0, 1, 2, 3, 4, 5,
		6, 7)
#endif

struct msg_words msg_words = { write_plain, differ_plain };

#if defined(__x86_64__)
static __attribute__((constructor)) void choose(void)
{
	if (__builtin_cpu_supports("avx512f"))
		msg_words = (struct msg_words){ write_avx512, differ_avx512 };
	else if (__builtin_cpu_supports("avx2"))
		msg_words = (struct msg_words){ write_avx2, differ_avx2 };
}
#endif

/* Of the word that @offset is in the middle of, the bytes from there on, at
 * most @bytes. */
static size_t rest_of_word(unsigned char *to, size_t offset, size_t bytes,
			   uint64_t key)
{
	uint64_t word = key + offset / 8;
	size_t skip = offset % 8, n = 8 - skip;

	if (!skip)
		return 0;
	if (n > bytes)
		n = bytes;
	memcpy(to, (unsigned char *)&word + skip, n);
	return n;
}

void msg_fill_part(void *buf, size_t offset, size_t bytes, uint64_t key)
{
	unsigned char *to = buf;
	size_t n = rest_of_word(to, offset, bytes, key);

	if (n < bytes)
		msg_fill(to + n, bytes - n, key + (offset + n) / 8);
}

bool msg_check_part(const void *buf, size_t offset, size_t bytes, uint64_t key)
{
	const unsigned char *from = buf;
	unsigned char word[8];
	uint64_t first = 0;
	size_t n = rest_of_word(word, offset, bytes, key);

	if (memcmp(from, word, n) != 0)
		return false;
	if (n == bytes)
		return true;
	offset += n;
	if (bytes - n >= 8)
		return msg_check(from + n, bytes - n, &first) &&
		       first == key + offset / 8;
	first = key + offset / 8;
	return memcmp(from + n, &first, bytes - n) == 0;
}
