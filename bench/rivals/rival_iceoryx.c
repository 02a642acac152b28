/*
 * rival_iceoryx.c - iceoryx: messages lent by a publisher, taken by a
 * subscriber
 *
 * A message is written and read in its chunk, which is lent, published, taken
 * and released; with a copy the same, and a copy on either side.  So that
 * nothing is lost the subscriber has the policy BLOCK_PRODUCER and the
 * publisher WAIT_FOR_CONSUMER, in which it yields until there is room.  Its
 * queue has 256 messages, the most there are and the default, or as many as 4
 * MiB hold, but 8: more would not stay in a cache.  iceoryx-mem has as many as
 * the memory of ours holds.  One reader sleeps in a WaitSet; that of
 * iceoryx-poll looks again and again and yields.
 *
 * RouDi is a process of busbench (iceoryx_daemon.h), with one pool of exactly
 * such messages as are wanted, and some to spare for those in hands.  Its own
 * time is in no figure; it is next to nothing.
 *
 * Each message goes to all subscribers, so it can do neither mpmc nor farm.
 * Its requests and responses have at most 4 outstanding, and the same way to go
 * as two lanes, plus the looking up of the client: rtt is faster without them.
 * Who is killed with a lock of RouDi's in its hands stops all others; then
 * there is a new RouDi for the next round.
 */
#include "config.h"

#include "bench/transport.h"

#ifdef WITH_ICEORYX

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/rivals/common.h"
#include "bench/rivals/iceoryx_daemon.h"
#include "bench/rivals/iceoryx_port.h"
#include "bench/run.h"
#include "bench/tick.h"

#define POLLED      1 /* variant */
#define SAME_MEMORY 2

/* Of a chunk, beside the message; the library has no constant of it. */
#define HEADER_BYTES 40

/* In hands: lent, taken, and the last one, which a publisher keeps. */
#define SPARE 8

#define WAIT_NS 50000

/* Shared. */
struct visitors {
	_Atomic uint32_t n_joined, n_left;
};

struct lane {
	struct visitors *visitors;
	char topic[64];
	uint32_t n; /* messages in the queue */
	bool loan, polled;
	unsigned most_spins;

	/* Of one process. */
	struct iceoryx_writer *writer;
	struct iceoryx_reader *reader;
	void *room;        /* lent, to be written */
	const void *front; /* taken, to be read */
};

static uint32_t queue_of(const struct spec *spec, bool same)
{
	uint32_t n = rival_slots(spec, spec->bytes + HEADER_BYTES, same);

	return n > ICEORYX_QUEUE_MAX ? ICEORYX_QUEUE_MAX : n;
}

/* The same for all variants, which take turns.  Who lends gets the message that
 * was given back last, so that a larger pool takes no more of a cache. */
static struct iceoryx_pool pool_of(const struct spec *spec)
{
	uint32_t usual = queue_of(spec, false), same = queue_of(spec, true);
	unsigned lanes = spec->workers ? 2 : 1;

	return (struct iceoryx_pool){
		.bytes = spec->bytes,
		.n = lanes * ((usual > same ? usual : same) + SPARE),
	};
}

static int iceoryx_open(const struct spec *spec, struct lane **lane,
			struct outcome *out)
{
	static unsigned n_opened;
	struct lane *made;

	if (spec->workers > 1)
		return outcome_set(out, OUTCOME_ABSENT,
				   "a message would go to all workers");
	if (iceoryx_daemon_want(pool_of(spec), out) != 0)
		return -1;
	made = calloc(1, sizeof(*made));
	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->visitors = rival_map(sizeof(*made->visitors));
	if (!made->visitors) {
		free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory: %s",
				   strerror(errno));
	}
	snprintf(made->topic, sizeof(made->topic), "%ld.%u", (long)getpid(),
		 n_opened++);
	made->n = queue_of(spec, spec->variant & SAME_MEMORY);
	made->loan = spec->loan;
	made->polled = spec->variant & POLLED;
	made->most_spins = rival_spins(spec);
	*lane = made;
	return 0;
}

/* Who was killed may have had a lock of RouDi's, and had a name there. */
static void iceoryx_close(struct lane *lane)
{
	struct visitors *visitors = lane->visitors;

	if (atomic_load(&visitors->n_joined) != atomic_load(&visitors->n_left))
		iceoryx_daemon_end();
	munmap(visitors, sizeof(*visitors));
	free(lane);
}

/* Attaching ---------------------------------------------------------------- */

static unsigned n_lanes; /* of this process that are open */

static void join(struct lane *lane)
{
	char name[80], prefix[64];

	atomic_fetch_add(&lane->visitors->n_joined, 1);
	if (n_lanes++ > 0)
		return;
	iceoryx_daemon_prefix(prefix, sizeof(prefix));
	snprintf(name, sizeof(name), "%s%ld", prefix, (long)getpid());
	iceoryx_join(name);
}

/* The end of the process. */
static void leave(void *arg)
{
	struct lane *lane = arg;

	if (lane->writer)
		iceoryx_writer_close(lane->writer);
	if (lane->reader)
		iceoryx_reader_close(lane->reader);
	if (--n_lanes == 0)
		iceoryx_leave();
	atomic_fetch_add(&lane->visitors->n_left, 1);
}

/* A writer waits for its reader, because there is nobody for whom a message
 * would be kept before. */
static __attribute__((noinline)) int iceoryx_attach(struct lane *lane,
						    bool writes)
{
	join(lane);
	if (writes)
		lane->writer = iceoryx_writer_open(lane->topic);
	else
		lane->reader = iceoryx_reader_open(lane->topic, lane->n,
						   !lane->polled);
	crew_at_end(leave, lane);
	while (writes && !iceoryx_writer_has_reader(lane->writer))
		sleep_ns(WAIT_NS);
	return 0;
}

CHUNK_INLINE void writes(struct lane *lane)
{
	if (__builtin_expect(!lane->writer, 0))
		iceoryx_attach(lane, true);
}

CHUNK_INLINE void reads(struct lane *lane)
{
	if (__builtin_expect(!lane->reader, 0))
		iceoryx_attach(lane, false);
}

/* Messages ----------------------------------------------------------------- */

static void *iceoryx_room(struct lane *lane, size_t bytes)
{
	writes(lane);
	lane->room = iceoryx_writer_loan(lane->writer, bytes);
	errno = ENOBUFS;
	return lane->room;
}

static int iceoryx_commit(struct lane *lane, size_t bytes)
{
	(void)bytes;
	iceoryx_writer_publish(lane->writer, lane->room);
	return 0;
}

CHUNK_INLINE const void *take(struct lane *lane, bool wait)
{
	unsigned spins = 0;
	const void *msg;

	reads(lane);
	while (!(msg = iceoryx_reader_take(lane->reader)) && wait)
		if (lane->polled)
			rival_relax(&spins, lane->most_spins);
		else
			iceoryx_reader_wait(lane->reader);
	return msg;
}

static const void *iceoryx_front(struct lane *lane, size_t bytes)
{
	(void)bytes;
	lane->front = take(lane, true);
	return lane->front;
}

static int iceoryx_pop(struct lane *lane, size_t bytes)
{
	(void)bytes;
	iceoryx_reader_release(lane->reader, lane->front);
	return 0;
}

/* publish() waits for room in any case; who must not wait does neither of its
 * workloads. */
static int iceoryx_put(struct lane *lane, const void *msgs, size_t bytes,
		       size_t n, bool wait)
{
	void *room = iceoryx_room(lane, bytes);

	(void)n;
	(void)wait;
	if (!room)
		return -errno;
	memcpy(room, msgs, bytes);
	iceoryx_commit(lane, bytes);
	return 1;
}

static int iceoryx_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		       bool wait)
{
	const void *msg = take(lane, wait);

	(void)n;
	if (!msg)
		return -EAGAIN;
	memcpy(msgs, msg, bytes);
	iceoryx_reader_release(lane->reader, msg);
	return 1;
}

static int iceoryx_send(struct lane *lane, struct source *source, size_t n)
{
	if (lane->loan)
		return chunk_lend(lane, source, n, iceoryx_room,
				  iceoryx_commit);
	return chunk_put(lane, source, n, iceoryx_put);
}

static int iceoryx_recv(struct lane *lane, struct sink *sink, size_t n)
{
	if (lane->loan)
		return chunk_look(lane, sink, n, iceoryx_front, iceoryx_pop);
	return chunk_get(lane, sink, n, iceoryx_get);
}

#define BUILT(...)                                                             \
	.built = true, .variant = (__VA_ARGS__), .open = iceoryx_open,         \
	.close = iceoryx_close, .attach = iceoryx_attach, .put = iceoryx_put,  \
	.get = iceoryx_get, .send = iceoryx_send, .recv = iceoryx_recv
#else
#define BUILT(...) .built = false
#endif

/* All that it is linked with: Debian's posh needs the headers of libacl. */
#define PACKAGE "libiceoryx-posh-dev libacl1-dev"

#define LOADS_ONE_READER                                                       \
	(LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_WAKE) |    \
	 LOAD_BIT(LOAD_IDLE))

const struct transport rival_iceoryx = {
	.name = "iceoryx",
	.what = "iceoryx, WaitSet; all get each message: no mpmc, no farm",
	.loads = LOADS_ONE_READER,
	.waits = "block",
	.package = PACKAGE,
	.lends = true,
	BUILT(0),
};

const struct transport rival_iceoryx_poll = {
	.name = "iceoryx-poll",
	.what = "the same with a reader that polls",
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM),
	.waits = "yield",
	.package = PACKAGE,
	.lends = true,
	BUILT(POLLED),
};

const struct transport rival_iceoryx_mem = {
	.name = "iceoryx-mem",
	.what = "that with the memory of ours",
	.loads = LOAD_BIT(LOAD_STREAM),
	.waits = "yield",
	.package = PACKAGE,
	.lends = true,
	BUILT(POLLED | SAME_MEMORY),
};
