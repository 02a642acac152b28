/*
 * message.h - what a message carries, and how the receiver checks all of it
 *
 * The first word is the key: the producer and its sequence number.  Every
 * further word is the key plus its index, and the rest, if the size is no
 * multiple of eight, the first bytes of the next such word.  So every byte is
 * written from the sequence and every byte is compared.
 *
 * A consumer stops at a message with the key MSG_END.
 */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MSG_MIN_BYTES 8 /* the key */
#define MSG_SEQ_BITS  40
#define MSG_END       UINT64_MAX

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

static inline void msg_fill(void *buf, size_t bytes, uint64_t key)
{
	unsigned char *to = buf;
	size_t n = bytes / 8;

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
	uint64_t word, differs = 0;

	memcpy(key, from, 8);
	for (size_t i = 1; i < n; i++) {
		memcpy(&word, from + 8 * i, 8);
		differs |= word ^ (*key + i);
	}
	if (bytes % 8) {
		word = *key + n;
		if (memcmp(from + 8 * n, &word, bytes % 8) != 0)
			return false;
	}
	return !differs;
}

#endif
