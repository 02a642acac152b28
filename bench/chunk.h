/*
 * chunk.h - many messages for one call of a transport
 *
 * At eight bytes a message takes a few nanoseconds, and a call through a
 * pointer, a look at the clock or at a flag for each would be a good part of
 * it.  So a load asks a transport for a chunk of messages, and the loops over
 * them are these, put together with each transport's own functions where the
 * compiler sees both.  What is done for a message is the same everywhere:
 * write all of it, hand it over, take it, compare all of it and its place in
 * the sequence.
 *
 * Two ways.  By copy: the message is written in the sender's own memory and
 * compared in the receiver's.  By loan: it is written and compared in place.
 * For short messages of usual sizes the loops are compiled once more with the
 * size as a constant and the message in a variable of the loop, so that a ring
 * of the rivals has what it has in real programs: slots of a known type, and
 * values that go from register to slot.
 */
#ifndef BENCH_CHUNK_H
#define BENCH_CHUNK_H

#include <errno.h>
#include <stdalign.h>

#include "bench/message.h"
#include "bench/sides.h"
#include "bench/transport.h"

#define CHUNK_INLINE static inline __attribute__((always_inline))

/* As transport.put and transport.get; called with one message. */
typedef int (*chunk_put_fn)(struct lane *lane, const void *msgs, size_t bytes,
			    size_t n, bool wait);
typedef int (*chunk_get_fn)(struct lane *lane, void *msgs, size_t bytes,
			    size_t n, bool wait);

/* Call EACH(..., bytes), with a constant where it is a usual size. */
#define CHUNK_BY_SIZE(bytes, EACH, ...)                                        \
	((bytes) == 8    ? EACH(__VA_ARGS__, 8)                                \
	 : (bytes) == 16 ? EACH(__VA_ARGS__, 16)                               \
	 : (bytes) == 32 ? EACH(__VA_ARGS__, 32)                               \
	 : (bytes) == 64 ? EACH(__VA_ARGS__, 64)                               \
			 : EACH(__VA_ARGS__, (bytes)))

/* Is a message of @bytes a variable of the loop? */
#define CHUNK_VALUE_BYTES 64
#define CHUNK_IS_VALUE(bytes)                                                  \
	(__builtin_constant_p(bytes) && (bytes) <= CHUNK_VALUE_BYTES)

/* By copy ------------------------------------------------------------------ */

CHUNK_INLINE int chunk_put_of(struct lane *lane, struct source *source,
			      size_t n, chunk_put_fn put, size_t bytes)
{
	alignas(64) unsigned char value[CHUNK_VALUE_BYTES];
	unsigned char *buf = CHUNK_IS_VALUE(bytes) ? value : source->buf;
	uint64_t key = source->key, end = key + n;
	int ret = 0;

	for (; key != end; key++) {
		msg_fill(buf, bytes, key);
		ret = put(lane, buf, bytes, 1, true);
		if (ret < 0)
			break;
	}
	source->key = key;
	return ret < 0 ? ret : 0;
}

/* Send the next @n messages of @source, waiting for room. */
CHUNK_INLINE int chunk_put(struct lane *lane, struct source *source, size_t n,
			   chunk_put_fn put)
{
	return CHUNK_BY_SIZE(source->bytes, chunk_put_of, lane, source, n, put);
}

/* Compare the next message that @sink has got. */
CHUNK_INLINE void sink_take(struct sink *sink, const void *msg, size_t bytes)
{
	uint64_t key;
	bool intact = msg_check(msg, bytes, &key);

	if (__builtin_expect(intact && key == sink->expected, 1))
		sink->expected++;
	else
		sink_odd(sink, key, intact);
}

CHUNK_INLINE int chunk_get_of(struct lane *lane, struct sink *sink, size_t n,
			      chunk_get_fn get, size_t bytes)
{
	alignas(64) unsigned char value[CHUNK_VALUE_BYTES];
	unsigned char *buf = CHUNK_IS_VALUE(bytes) ? value : sink->buf;
	uint64_t expected = sink->expected;
	int ret = 0;

	for (size_t i = 0; i < n; i++) {
		bool intact;
		uint64_t key;

		ret = get(lane, buf, bytes, 1, true);
		if (ret < 0)
			break;
		intact = msg_check(buf, bytes, &key);
		if (__builtin_expect(intact && key == expected, 1)) {
			expected++;
			continue;
		}
		sink->expected = expected;
		sink_odd(sink, key, intact);
		expected = sink->expected;
		if (sink->ended)
			break;
	}
	sink->expected = expected;
	return ret < 0 ? ret : 0;
}

/* Take @n messages into @sink, or as many as come before the end. */
CHUNK_INLINE int chunk_get(struct lane *lane, struct sink *sink, size_t n,
			   chunk_get_fn get)
{
	return CHUNK_BY_SIZE(sink->bytes, chunk_get_of, lane, sink, n, get);
}

/* By loan ------------------------------------------------------------------ */

/* Where the next message is written; it waits.  NULL: errno says why. */
typedef void *(*chunk_room_fn)(struct lane *lane, size_t bytes);
/* Send what was written there. */
typedef int (*chunk_commit_fn)(struct lane *lane, size_t bytes);
/* Where the next message is read; it waits.  NULL: errno says why. */
typedef const void *(*chunk_front_fn)(struct lane *lane, size_t bytes);
/* It has been read. */
typedef int (*chunk_pop_fn)(struct lane *lane, size_t bytes);

CHUNK_INLINE int chunk_lend_of(struct lane *lane, struct source *source,
			       size_t n, chunk_room_fn room,
			       chunk_commit_fn commit, size_t bytes)
{
	uint64_t key = source->key, end = key + n;
	int ret = 0;

	for (; key != end; key++) {
		void *to = room(lane, bytes);

		if (__builtin_expect(!to, 0)) {
			ret = -errno;
			break;
		}
		msg_fill(to, bytes, key);
		ret = commit(lane, bytes);
		if (ret < 0)
			break;
	}
	source->key = key;
	return ret < 0 ? ret : 0;
}

CHUNK_INLINE int chunk_lend(struct lane *lane, struct source *source, size_t n,
			    chunk_room_fn room, chunk_commit_fn commit)
{
	return CHUNK_BY_SIZE(source->bytes, chunk_lend_of, lane, source, n,
			     room, commit);
}

CHUNK_INLINE int chunk_look_of(struct lane *lane, struct sink *sink, size_t n,
			       chunk_front_fn front, chunk_pop_fn pop,
			       size_t bytes)
{
	uint64_t expected = sink->expected;
	int ret = 0;

	for (size_t i = 0; i < n; i++) {
		const void *from = front(lane, bytes);
		bool intact;
		uint64_t key;

		if (__builtin_expect(!from, 0)) {
			ret = -errno;
			break;
		}
		intact = msg_check(from, bytes, &key);
		ret = pop(lane, bytes);
		if (ret < 0)
			break;
		if (__builtin_expect(intact && key == expected, 1)) {
			expected++;
			continue;
		}
		sink->expected = expected;
		sink_odd(sink, key, intact);
		expected = sink->expected;
		if (sink->ended)
			break;
	}
	sink->expected = expected;
	return ret < 0 ? ret : 0;
}

CHUNK_INLINE int chunk_look(struct lane *lane, struct sink *sink, size_t n,
			    chunk_front_fn front, chunk_pop_fn pop)
{
	return CHUNK_BY_SIZE(sink->bytes, chunk_look_of, lane, sink, n, front,
			     pop);
}

/* Both ways at once -------------------------------------------------------- */

/* Put the next message of @source into its buffer, if it is not there yet. */
CHUNK_INLINE void chunk_fill(struct source *source, size_t bytes)
{
	if (source->filled)
		return;
	source->end = source->stop;
	msg_fill(source->buf, bytes, source->end ? MSG_END : source->key);
	source->filled = true;
}

/* What is in the buffer was sent. */
CHUNK_INLINE void chunk_sent(struct source *source)
{
	source->filled = false;
	if (source->end)
		source->ended = true;
	else
		source->key++;
}

/* A message is in the buffer of @sink. */
CHUNK_INLINE void chunk_got(struct sink *sink, size_t bytes)
{
	uint64_t key;
	bool intact = msg_check(sink->buf, bytes, &key);

	if (__builtin_expect(intact && key == sink->expected, 1))
		sink->expected++;
	else
		sink_odd(sink, key, intact);
}

CHUNK_INLINE int chunk_turn_of(struct lane *lane, struct source *source,
			       struct sink *sink, size_t n, chunk_put_fn put,
			       chunk_get_fn get, size_t bytes)
{
	int moved = 0, ret;

	for (size_t i = 0; i < n && !source->ended; i++, moved++) {
		chunk_fill(source, bytes);
		ret = put(lane, source->buf, bytes, 1, false);
		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			return ret;
		chunk_sent(source);
	}
	for (size_t i = 0; i < n && !sink->ended; i++, moved++) {
		ret = get(lane, sink->buf, bytes, 1, false);
		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			return ret;
		chunk_got(sink, bytes);
	}
	return moved;
}

/* Send up to @n messages, take up to @n, and wait for nothing.  Returns how
 * many there were in both directions. */
CHUNK_INLINE int chunk_turn(struct lane *lane, struct source *source,
			    struct sink *sink, size_t n, chunk_put_fn put,
			    chunk_get_fn get)
{
	return CHUNK_BY_SIZE(source->bytes, chunk_turn_of, lane, source, sink,
			     n, put, get);
}

#endif
