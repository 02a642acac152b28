/*
 * sides.c - a sender and a receiver of messages in sequence
 *
 * Messages that come in turn cost the receiver one comparison and one
 * addition; they are entered into the account as a whole run when one comes
 * that does not, or at the end.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/account.h"
#include "bench/message.h"
#include "bench/sides.h"

/* Whole lines, so that a message is nowhere worse off than elsewhere. */
#define ALIGN_BYTES 64

static unsigned char *message_room(size_t bytes)
{
	size_t size = (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
	unsigned char *buf = aligned_alloc(ALIGN_BYTES, size);

	if (buf)
		memset(buf, 0, size); /* its pages are there */
	return buf;
}

int source_open(struct source *source, unsigned producer, size_t bytes)
{
	uint64_t first = msg_key(producer, 0);

	*source = (struct source){ .bytes = bytes,
				   .buf = message_room(bytes),
				   .first = first,
				   .key = first };
	return source->buf ? 0 : -ENOMEM;
}

void source_close(struct source *source)
{
	free(source->buf);
	source->buf = NULL;
}

int sink_open(struct sink *sink, unsigned producer, size_t bytes)
{
	uint64_t first = msg_key(producer, 0);

	*sink = (struct sink){ .bytes = bytes,
			       .buf = message_room(bytes),
			       .expected = first,
			       .run = first };
	return sink->buf ? 0 : -ENOMEM;
}

void sink_close(struct sink *sink)
{
	free(sink->buf);
	sink->buf = NULL;
}

void source_account(const struct source *source, struct tally *tally)
{
	account_run(tally, source->first, source->key - source->first);
}

uint64_t sink_count(const struct sink *sink)
{
	return sink->tally.n + (sink->expected - sink->run);
}

static void end_run(struct sink *sink)
{
	account_run(&sink->tally, sink->run, sink->expected - sink->run);
	sink->run = sink->expected;
}

void sink_account(struct sink *sink, struct tally *tally)
{
	end_run(sink);
	account_add(tally, &sink->tally);
}

__attribute__((noinline)) void sink_odd(struct sink *sink, uint64_t key,
					bool intact)
{
	if (intact && key == MSG_END) {
		sink->ended = true;
		return;
	}
	if (!intact || msg_producer(key) != msg_producer(sink->expected)) {
		sink->tally.wrong++;
		return;
	}
	end_run(sink);
	account_key(&sink->tally, key);
	if (key < sink->expected)
		sink->tally.disorder++;
	sink->run = sink->expected = key + 1;
}
