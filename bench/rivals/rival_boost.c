/*
 * rival_boost.c - message_queue of Boost.Interprocess
 *
 * The class itself is called by boost_queue.cc.  A queue has 4096 messages of
 * up to 64 bytes, as the rings of ck and rte have, fewer of longer ones;
 * boost-mem as many as the memory of ours holds, with the 24 bytes that a
 * message of it takes beside its own.  All have the same priority, with which
 * it needs no search.  It copies in and out under one mutex, and who finds
 * nothing or no room sleeps on a condition of that.
 *
 * Who is killed with the mutex stops all others for ever.  Its name is removed
 * as soon as it is open; who is killed before has a keeper.
 */
#include "config.h"

#include "bench/transport.h"

#ifdef WITH_BOOST

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/rivals/boost_queue.h"
#include "bench/rivals/common.h"
#include "bench/rivals/keeper.h"

#define HEADER_BYTES 24
#define SAME_MEMORY  1 /* variant */

struct lane {
	struct boost_queue *queue;
};

static int boost_open(const struct spec *spec, struct lane **lane,
		      struct outcome *out)
{
	bool same = spec->variant & SAME_MEMORY;
	size_t n = rival_slots(spec, spec->bytes + (same ? HEADER_BYTES : 0),
			       same);
	struct lane *made = calloc(1, sizeof(*made));
	char name[KEEPER_NAME_BYTES];
	int ret;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (keeper_name("", name, sizeof(name), out) != 0) {
		free(made);
		return -1;
	}
	ret = boost_queue_open(name, n, spec->bytes, &made->queue);
	if (ret < 0) {
		free(made);
		return outcome_set(out, OUTCOME_ABSENT, "message_queue: %s",
				   strerror(-ret));
	}
	*lane = made;
	return 0;
}

static void boost_close(struct lane *lane)
{
	boost_queue_close(lane->queue);
	free(lane);
}

static int boost_put(struct lane *lane, const void *msgs, size_t bytes,
		     size_t n, bool wait)
{
	int ret = boost_queue_send(lane->queue, msgs, bytes, wait);

	(void)n;
	return ret < 0 ? ret : 1;
}

static int boost_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		     bool wait)
{
	int ret = boost_queue_receive(lane->queue, msgs, bytes, wait);

	(void)n;
	if (ret < 0)
		return ret;
	return (size_t)ret == bytes ? 1 : -EBADMSG;
}

static int boost_send(struct lane *lane, struct source *source, size_t n)
{
	return chunk_put(lane, source, n, boost_put);
}

static int boost_recv(struct lane *lane, struct sink *sink, size_t n)
{
	return chunk_get(lane, sink, n, boost_get);
}

#define BUILT(...)                                                             \
	.built = true, .variant = (__VA_ARGS__), .open = boost_open,           \
	.close = boost_close, .put = boost_put, .get = boost_get,              \
	.send = boost_send, .recv = boost_recv
#else
#define BUILT(...) .built = false
#endif

const struct transport rival_boost = {
	.name = "boost",
	.what = "message_queue of Boost.Interprocess",
	.loads = LOAD_LANES,
	.waits = "block",
	.package = "libboost-dev",
	BUILT(0),
};

const struct transport rival_boost_mem = {
	.name = "boost-mem",
	.what = "the same with the memory of ours",
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC) |
		 LOAD_BIT(LOAD_FARM),
	.waits = "block",
	.package = "libboost-dev",
	BUILT(SAME_MEMORY),
};
