/*
 * message.h - what a message carries, and how the receiver checks all of it
 *
 * The first word is the key: the producer and its sequence number.  Every
 * further word is the key plus its index, and the rest, if the size is no
 * multiple of eight, the first bytes of the next such word.  So every byte is
 * written from the sequence and every byte is compared.
 *
 * A consumer stops at a message with the key MSG_END.
 *
 * Writing and comparing cost the same for every transport, and must cost
 * little beside them.  A load that is wider than the stores of those bytes
 * cannot be served from the store buffer: it waits until all stores before them
 * are in the cache, also those to lines that the other processor has.
 * Transports copy word by word or with the widest registers; to make nobody
 * wait for what the tool has done, short messages are written with the widest
 * stores that there are, and compared word by word.
 */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MSG_MIN_BYTES   8   /* the key */
#define MSG_FEW_BYTES   31  /* written word by word */
#define MSG_SHORT_BYTES 256 /* compared word by word */
#define MSG_SEQ_BITS    40
#define MSG_END         UINT64_MAX

static inline uint64_t msg_key(unsigned producer, uint64_t seq)
{
	return (uint64_t)producer << MSG_SEQ_BITS | seq;
}

static inline unsigned msg_producer(uint64_t key)
{
	return (unsigned)(key >> MSG_SEQ_BITS);
}

static inline uint64_t msg_seq(uint64_t key)
{
	return key & ((1ull << MSG_SEQ_BITS) - 1);
}

/* Write @n words, of which the first is @first, or compare: 0 when they are so.
 * Set before main(). */
extern struct msg_words {
	void (*write)(void *to, size_t n, uint64_t first);
	uint64_t (*differ)(const void *from, size_t n, uint64_t first);
} msg_words;

/* A part of a message: the @bytes bytes from @offset on of the message with
 * @key.  True when they are as msg_fill() wrote them. */
void msg_fill_part(void *buf, size_t offset, size_t bytes, uint64_t key);
bool msg_check_part(const void *buf, size_t offset, size_t bytes, uint64_t key);

static inline void msg_fill(void *buf, size_t bytes, uint64_t key)
{
	unsigned char *to = buf;
	size_t n = bytes / 8;

	if (bytes > MSG_FEW_BYTES)
		msg_words.write(to, n, key);
	else
		for (size_t i = 0; i < n; i++) {
			uint64_t word = key + i;

			memcpy(to + 8 * i, &word, 8);
		}
	if (bytes % 8) {
		uint64_t word = key + n;

		memcpy(to + 8 * n, &word, bytes % 8);
	}
}

/* True when all of it is as msg_fill() wrote it. */
static inline bool msg_check(const void *buf, size_t bytes, uint64_t *key)
{
	const unsigned char *from = buf;
	size_t n = bytes / 8;
	uint64_t word, first, differs = 0;

	memcpy(&first, from, 8);
	*key = first;
	if (bytes > MSG_SHORT_BYTES)
		differs = msg_words.differ(from, n, first);
	else
		for (size_t i = 1; i < n; i++) {
			memcpy(&word, from + 8 * i, 8);
			differs |= word ^ (first + i);
		}
	if (bytes % 8) {
		word = first + n;
		if (memcmp(from + 8 * n, &word, bytes % 8) != 0)
			return false;
	}
	return !differs;
}

#endif
