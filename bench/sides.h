/*
 * sides.h - a sender and a receiver of messages in sequence
 */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/run.h"

/* What is sent next. */
struct source {
	size_t bytes;
	unsigned char *buf; /* room for one message, of this process alone */
	uint64_t first;     /* key of its first message */
	uint64_t key;       /* and of its next */

	/* Where sending and receiving take turns: */
	bool filled; /* the next message is in buf */
	bool stop;   /* the one after that is to be the end */
	bool end;    /* the one in buf is */
	bool ended;  /* it has been sent */
};

/* What was received. */
struct sink {
	size_t bytes;
	unsigned char *buf;
	uint64_t expected; /* key of the message that is next in turn */
	uint64_t run;      /* from this key on nothing is in tally yet */
	struct tally tally;
	bool ended; /* the end message was received */
};

/* Messages of @bytes from @producer. */
int source_open(struct source *source, unsigned producer, size_t bytes);
void source_close(struct source *source);
int sink_open(struct sink *sink, unsigned producer, size_t bytes);
void sink_close(struct sink *sink);

/* Add what @source sent to @tally, as a receiver would count it. */
void source_account(const struct source *source, struct tally *tally);

/* How many came so far; and all of it, to be added to @tally in the end. */
uint64_t sink_count(const struct sink *sink);
void sink_account(struct sink *sink, struct tally *tally);

/* A message came that is not the expected one: the end, or a fault. */
void sink_odd(struct sink *sink, uint64_t key, bool intact);

#endif
