/*
 * transport_pipe.c - ours: pipe mode, in each of its profiles
 *
 * A lane is a simplex pipe, side 0 to side 1; requests and answers, and what
 * goes both ways at once, have one duplex pipe.  As with queues there is an
 * unnamed bus for each round.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/calls.h"
#include "bench/chunk.h"
#include "bench/transport.h"
#include "bus/shmbus.h"

/* Up to here a message is in one part whatever the profile, and is sent
 * without waiting where both sides send at once; larger ones may need the
 * other side to receive meanwhile. */
#define ONE_PART_BYTES 4096

/* When pipe_geometry() cannot ask: what the large profiles take at most. */
#define USUAL_SLOT_BYTES (4u << 20)

struct lane {
	struct bus *bus;
	struct bus_pipe *end[2];
	struct bus_pipe *mine; /* duplex: the end of this process */
	bool loan;
	struct bus_part part;
};

static int pipe_make(const struct spec *spec, uint32_t flags,
		     struct lane **lane, struct outcome *out)
{
	struct bus_pipe_config config = BUS_PIPE_CONFIG_INIT;
	struct lane *made = calloc(1, sizeof(*made));
	int ret;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (shmbus_create(spec, &made->bus, out) != 0)
		goto err_free;
	config.profile = spec->variant;
	config.flags = flags;
	ret = bus_pipe(made->bus, &config, &made->end[0], &made->end[1]);
	if (ret < 0) {
		outcome_set(out, OUTCOME_FAILED, "bus_pipe: %s",
			    strerror(-ret));
		goto err_close;
	}
	made->loan = spec->loan;
	*lane = made;
	return 0;

err_close:
	bus_close(made->bus);
err_free:
	free(made);
	return -1;
}

static void pipe_close(struct lane *lane)
{
	bus_pipe_free(lane->end[0]);
	bus_pipe_free(lane->end[1]);
	bus_close(lane->bus);
	free(lane);
}

/* One way ------------------------------------------------------------------ */

static int pipe_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	return pipe_make(spec, BUS_PIPE_SIMPLEX, lane, out);
}

CHUNK_INLINE int send_one(struct bus_pipe *end, const void *msg, size_t bytes,
			  bool wait)
{
	int ret = bus_pipe_send(end, msg, bytes, wait ? -1 : 0);

	return ret < 0 ? ret : 1;
}

CHUNK_INLINE int recv_one(struct bus_pipe *end, void *msg, size_t bytes,
			  bool wait)
{
	size_t len_bytes;
	int ret = bus_pipe_recv(end, msg, bytes, &len_bytes, wait ? -1 : 0);

	if (ret < 0)
		return ret;
	return len_bytes == bytes ? 1 : -EBADMSG;
}

static int pipe_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	if (n > 1)
		return bus_pipe_send_many(lane->end[0], msgs, bytes, n,
					  wait ? -1 : 0);
	return send_one(lane->end[0], msgs, bytes, wait);
}

static int pipe_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	if (n > 1)
		return bus_pipe_recv_many(lane->end[1], msgs, bytes, n, NULL,
					  wait ? -1 : 0);
	return recv_one(lane->end[1], msgs, bytes, wait);
}

/* In place ----------------------------------------------------------------- */

CHUNK_INLINE void *room(struct lane *lane, size_t bytes)
{
	int ret = bus_pipe_loan(lane->end[0], bytes, &lane->part, -1);

	if (__builtin_expect(ret == 0, 1))
		return lane->part.data;
	errno = -ret;
	return NULL;
}

CHUNK_INLINE int commit(struct lane *lane, size_t bytes)
{
	(void)bytes;
	return bus_pipe_commit(lane->end[0], &lane->part);
}

CHUNK_INLINE const void *front(struct lane *lane, size_t bytes)
{
	int ret = bus_pipe_peek(lane->end[1], &lane->part, -1);

	if (__builtin_expect(ret == 0 && lane->part.len_bytes == bytes, 1))
		return lane->part.data;
	errno = ret ? -ret : EBADMSG;
	return NULL;
}

CHUNK_INLINE int release(struct lane *lane, size_t bytes)
{
	(void)bytes;
	return bus_pipe_release(lane->end[1], &lane->part);
}

/* One message, part by part, as many as there are. */
static int lend_parts(struct lane *lane, size_t bytes, uint64_t key)
{
	struct bus_part part;

	for (size_t done = 0; done < bytes; done += part.len_bytes) {
		int ret = bus_pipe_loan(lane->end[0], bytes, &part, -1);

		if (ret < 0)
			return ret;
		msg_fill_part(part.data, done, part.len_bytes, key);
		ret = bus_pipe_commit(lane->end[0], &part);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The key is in the first part. */
static int look_at_parts(struct lane *lane, size_t bytes, uint64_t *key,
			 bool *intact)
{
	struct bus_part part;

	*intact = true;
	for (size_t done = 0; done < bytes; done += part.len_bytes) {
		int ret = bus_pipe_peek(lane->end[1], &part, -1);

		if (ret < 0)
			return ret;
		if (part.offset_bytes != done || part.total_bytes != bytes)
			return -EBADMSG;
		if (done == 0)
			memcpy(key, part.data, sizeof(*key));
		if (!msg_check_part(part.data, done, part.len_bytes, *key))
			*intact = false;
		ret = bus_pipe_release(lane->end[1], &part);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int lend_large(struct lane *lane, struct source *source, size_t n)
{
	int ret = 0;

	for (; n > 0 && ret == 0; n--) {
		ret = lend_parts(lane, source->bytes, source->key);
		if (ret == 0)
			source->key++;
	}
	return ret;
}

static int look_large(struct lane *lane, struct sink *sink, size_t n)
{
	for (; n > 0 && !sink->ended; n--) {
		uint64_t key = 0;
		bool intact;
		int ret = look_at_parts(lane, sink->bytes, &key, &intact);

		if (ret < 0)
			return ret;
		if (intact && key == sink->expected)
			sink->expected++;
		else
			sink_odd(sink, key, intact);
	}
	return 0;
}

static int pipe_send(struct lane *lane, struct source *source, size_t n)
{
	if (!lane->loan)
		return chunk_put(lane, source, n, pipe_put);
	if (source->bytes > ONE_PART_BYTES)
		return lend_large(lane, source, n);
	return chunk_lend(lane, source, n, room, commit);
}

static int pipe_recv(struct lane *lane, struct sink *sink, size_t n)
{
	if (!lane->loan)
		return chunk_get(lane, sink, n, pipe_get);
	if (sink->bytes > ONE_PART_BYTES)
		return look_large(lane, sink, n);
	return chunk_look(lane, sink, n, front, release);
}

/* Both ways at once -------------------------------------------------------- */

static int duplex_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	return pipe_make(spec, 0, lane, out);
}

static int duplex_side(struct lane *lane, unsigned side)
{
	lane->mine = lane->end[side];
	return 0;
}

CHUNK_INLINE int duplex_put(struct lane *lane, const void *msg, size_t bytes,
			    size_t n, bool wait)
{
	(void)n;
	return send_one(lane->mine, msg, bytes, wait);
}

CHUNK_INLINE int duplex_get(struct lane *lane, void *msg, size_t bytes,
			    size_t n, bool wait)
{
	(void)n;
	return recv_one(lane->mine, msg, bytes, wait);
}

/* One message each way, or one in the direction that has not ended. */
static int duplex_exchange(struct lane *lane, struct source *source,
			   struct sink *sink)
{
	bool sends = !source->ended, receives = !sink->ended;
	size_t bytes = source->bytes, len_bytes = bytes;
	int ret;

	if (sends)
		chunk_fill(source, bytes);
	if (sends && receives)
		ret = bus_pipe_exchange(lane->mine, source->buf, bytes,
					sink->buf, bytes, &len_bytes, -1);
	else if (sends)
		ret = bus_pipe_send(lane->mine, source->buf, bytes, -1);
	else
		ret = bus_pipe_recv(lane->mine, sink->buf, bytes, &len_bytes,
				    -1);
	if (ret < 0)
		return ret;
	if (len_bytes != bytes)
		return -EBADMSG;
	if (sends)
		chunk_sent(source);
	if (receives)
		chunk_got(sink, bytes);
	return 0;
}

static int duplex_turn(struct lane *lane, struct source *source,
		       struct sink *sink, size_t n)
{
	int moved = 0;

	if (source->bytes <= ONE_PART_BYTES)
		moved = chunk_turn(lane, source, sink, n, duplex_put,
				   duplex_get);
	if (moved != 0)
		return moved < 0 ? moved : 0;
	return duplex_exchange(lane, source, sink);
}

static const struct duplex_ops pipe_duplex = {
	.open = duplex_open,
	.close = pipe_close,
	.side = duplex_side,
	.turn = duplex_turn,
};

/* Requests and answers ----------------------------------------------------- */

struct calls {
	struct lane *lane;
};

static int calls_open(const struct spec *spec, struct calls **calls,
		      struct outcome *out)
{
	struct calls *made = calloc(1, sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (spec->workers > 1) {
		free(made);
		return outcome_set(out, OUTCOME_ABSENT,
				   "a pipe has one worker");
	}
	if (pipe_make(spec, 0, &made->lane, out) != 0) {
		free(made);
		return -1;
	}
	*calls = made;
	return 0;
}

static void calls_close(struct calls *calls)
{
	pipe_close(calls->lane);
	free(calls);
}

static int calls_serve(struct calls *calls)
{
	struct bus_pipe *end = calls->lane->end[1];
	struct call_request request;
	struct call_answer answer;
	int ret;

	do {
		ret = recv_one(end, &request, sizeof(request), true);
		if (ret < 0 || request.id == CALL_END)
			break;
		call_serve(&request, &answer);
		ret = send_one(end, &answer, sizeof(answer), true);
	} while (ret >= 0);
	return ret < 0 ? ret : 0;
}

static int calls_start(struct calls *calls)
{
	(void)calls;
	return 0;
}

static int calls_submit(struct calls *calls, uint64_t id, uint64_t a,
			uint64_t b, bool wait)
{
	struct call_request request = { id, a, b };
	int ret =
		send_one(calls->lane->end[0], &request, sizeof(request), wait);

	return ret < 0 ? ret : 0;
}

static int calls_collect(struct calls *calls, uint64_t *id, uint64_t *product,
			 bool wait)
{
	struct call_answer answer;
	int ret = recv_one(calls->lane->end[0], &answer, sizeof(answer), wait);

	if (ret < 0)
		return ret;
	*id = answer.id;
	*product = answer.product;
	return call_is_intact(&answer) ? 0 : -EBADMSG;
}

static int calls_stop(struct calls *calls)
{
	return calls_submit(calls, CALL_END, 0, 0, true);
}

static const struct call_ops pipe_calls = {
	.open = calls_open,
	.close = calls_close,
	.serve = calls_serve,
	.start = calls_start,
	.submit = calls_submit,
	.collect = calls_collect,
	.stop = calls_stop,
};

#define PIPE                                                                   \
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) |                  \
		 LOAD_BIT(LOAD_DUPLEX) | LOAD_BIT(LOAD_WAKE) |                 \
		 LOAD_BIT(LOAD_IDLE),                                          \
	.ours = true, .batches = true, .lends = true, .open = pipe_open,       \
	.close = pipe_close, .put = pipe_put, .get = pipe_get,                 \
	.send = pipe_send, .recv = pipe_recv, .calls = &pipe_calls,            \
	.duplex = &pipe_duplex

const struct transport transport_pipe = {
	.name = "shmbus-pipe",
	.what = "this library, a pipe",
	.variant = BUS_PIPE_ADAPTIVE,
	PIPE,
};

const struct transport transport_pipe_latency = {
	.name = "shmbus-pipe-latency",
	.what = "the same with small slots",
	.variant = BUS_PIPE_LATENCY,
	PIPE,
};

const struct transport transport_pipe_stream = {
	.name = "shmbus-pipe-stream",
	.what = "the same with large slots",
	.variant = BUS_PIPE_STREAM,
	PIPE,
};

/* What the others have to know --------------------------------------------- */

void pipe_geometry(struct spec *spec)
{
	struct bus_pipe_stats stats = BUS_PIPE_STATS_INIT;
	struct spec plain = *spec;
	struct outcome out = OUTCOME_INIT;
	struct lane *lane;

	spec->pipe_bytes = 2 * USUAL_SLOT_BYTES;
	plain.wait = WAIT_FUTEX;
	if (pipe_open(&plain, &lane, &out) != 0)
		return;
	if (bus_pipe_stats(lane->end[0], &stats) == 0)
		spec->pipe_bytes = 2 * stats.slot_bytes;
	pipe_close(lane);
}
