/*
 * rival_qb.c - the ring buffer of libqb, with its semaphore
 *
 * qb_rb between processes (QB_RB_FLAG_SHARED_PROCESS), of one writer and one
 * reader: chunks are allocated, written in place and committed, and peeked at,
 * read in place and reclaimed; a semaphore counts them, and the reader sleeps
 * on it.  For room nobody can wait: a writer that finds it full yields.  There
 * is no call for many at a time.
 *
 * qb has a mebibyte, the size of its users' IPC buffers, or 8 messages if that
 * is more; qb-mem the memory of ours.  It lives in two files, whose names are
 * removed as soon as they are open; who is killed before has a keeper.
 *
 * As it has no queue for many, a farm has a pair of rings for each worker;
 * requests go to the workers in turn, and the coordinator sleeps, when there is
 * nothing, on the ring of the worker that has had a request for longest.  A
 * process that is killed between semaphore and ring leaves them disagreeing,
 * and nobody is told.
 */
#include "config.h"

#include "bench/transport.h"

#ifdef WITH_QB

#include <errno.h>
#include <qb/qbrb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/chunk.h"
#include "bench/rivals/common.h"
#include "bench/rivals/keeper.h"

#define RING_BYTES    (1u << 20)
#define RING_MESSAGES 8
#define HEADER_BYTES  16 /* of a chunk, and what rounds it up */
#define SAME_MEMORY   1  /* variant */

struct lane {
	qb_ringbuffer_t *ring;
	bool loan;
	unsigned spins;
};

static size_t ring_bytes(const struct spec *spec)
{
	size_t chunk = spec->bytes + HEADER_BYTES;
	size_t bytes = spec->variant & SAME_MEMORY ? rival_same_memory(spec)
						   : RING_BYTES;

	return bytes < RING_MESSAGES * chunk ? RING_MESSAGES * chunk : bytes;
}

static int qb_open(const struct spec *spec, struct lane **lane,
		   struct outcome *out)
{
	static const char *const files[] = { "header", "data" };
	struct lane *made = calloc(1, sizeof(*made));
	char name[KEEPER_NAME_BYTES], path[KEEPER_NAME_BYTES + 8];

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (keeper_name("/dev/shm/", name, sizeof(name), out) != 0) {
		free(made);
		return -1;
	}
	made->loan = spec->loan;
	made->spins = rival_spins(spec);
	made->ring =
		qb_rb_open(name, ring_bytes(spec),
			   QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS, 0);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s-%s", name, files[i]);
		unlink(path);
	}
	if (!made->ring) {
		free(made);
		return outcome_set(out, OUTCOME_ABSENT, "qb_rb_open: %s",
				   strerror(errno));
	}
	*lane = made;
	return 0;
}

static void qb_close(struct lane *lane)
{
	qb_rb_close(lane->ring);
	free(lane);
}

/* Where a message is written; NULL: there is no room, without @wait. */
static void *room(struct lane *lane, size_t bytes, bool wait)
{
	unsigned spins = 0;
	void *to;

	while (!(to = qb_rb_chunk_alloc(lane->ring, bytes)) && wait)
		rival_relax(&spins, lane->spins);
	return to;
}

/* Where one is read. */
static int front(struct lane *lane, size_t bytes, int timeout_ms, void **from)
{
	ssize_t ret;

	do
		ret = qb_rb_chunk_peek(lane->ring, from, timeout_ms);
	while (ret == -EINTR || (timeout_ms < 0 && ret == -ETIMEDOUT));
	if (ret == (ssize_t)bytes)
		return 0;
	if (ret == -ETIMEDOUT || ret == 0)
		return -EAGAIN;
	return ret < 0 ? (int)ret : -EBADMSG;
}

static int qb_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		  bool wait)
{
	void *to = room(lane, bytes, wait);
	int ret;

	(void)n;
	if (!to)
		return -EAGAIN;
	memcpy(to, msgs, bytes);
	ret = qb_rb_chunk_commit(lane->ring, bytes);
	return ret < 0 ? ret : 1;
}

static int qb_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		  bool wait)
{
	void *from;
	int ret = front(lane, bytes, wait ? -1 : 0, &from);

	(void)n;
	if (ret < 0)
		return ret;
	memcpy(msgs, from, bytes);
	qb_rb_chunk_reclaim(lane->ring);
	return 1;
}

static void *lend_room(struct lane *lane, size_t bytes)
{
	return room(lane, bytes, true);
}

static int lend_commit(struct lane *lane, size_t bytes)
{
	return qb_rb_chunk_commit(lane->ring, bytes);
}

static const void *lend_front(struct lane *lane, size_t bytes)
{
	void *from;
	int ret = front(lane, bytes, -1, &from);

	errno = -ret;
	return ret < 0 ? NULL : from;
}

static int lend_reclaim(struct lane *lane, size_t bytes)
{
	(void)bytes;
	qb_rb_chunk_reclaim(lane->ring);
	return 0;
}

static int qb_send(struct lane *lane, struct source *source, size_t n)
{
	if (lane->loan)
		return chunk_lend(lane, source, n, lend_room, lend_commit);
	return chunk_put(lane, source, n, qb_put);
}

static int qb_recv(struct lane *lane, struct sink *sink, size_t n)
{
	if (lane->loan)
		return chunk_look(lane, sink, n, lend_front, lend_reclaim);
	return chunk_get(lane, sink, n, qb_get);
}

/* Requests and answers ----------------------------------------------------- */

struct desk {
	struct lane *requests, *answers;
	unsigned outstanding;
};

struct calls {
	_Atomic unsigned *next_worker; /* shared: who is which */
	unsigned workers;
	unsigned to, from; /* the next in turn */
	struct desk desk[MAX_PROCESSES];
};

static void calls_close(struct calls *calls)
{
	for (unsigned i = 0; i < calls->workers; i++) {
		if (calls->desk[i].requests)
			qb_close(calls->desk[i].requests);
		if (calls->desk[i].answers)
			qb_close(calls->desk[i].answers);
	}
	if (calls->next_worker)
		munmap(calls->next_worker, sizeof(*calls->next_worker));
	free(calls);
}

static int calls_open(const struct spec *spec, struct calls **calls,
		      struct outcome *out)
{
	struct calls *made = calloc(1, sizeof(*made));
	struct spec lanes = *spec;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	lanes.bytes = CALL_BYTES;
	made->workers = spec->workers;
	made->next_worker = rival_map(sizeof(*made->next_worker));
	if (!made->next_worker) {
		outcome_set(out, OUTCOME_FAILED, "no memory");
		goto err;
	}
	for (unsigned i = 0; i < made->workers; i++)
		if (qb_open(&lanes, &made->desk[i].requests, out) != 0 ||
		    qb_open(&lanes, &made->desk[i].answers, out) != 0)
			goto err;
	*calls = made;
	return 0;

err:
	calls_close(made);
	return -1;
}

static int calls_serve(struct calls *calls)
{
	struct desk *desk =
		&calls->desk[(*calls->next_worker)++ % calls->workers];

	for (;;) {
		struct call_request request;
		struct call_answer answer;
		int ret = qb_get(desk->requests, &request, sizeof(request), 1,
				 true);

		if (ret < 0)
			return ret;
		if (request.id == CALL_END)
			return 0;
		call_serve(&request, &answer);
		ret = qb_put(desk->answers, &answer, sizeof(answer), 1, true);
		if (ret < 0)
			return ret;
	}
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

	for (unsigned i = 0; i < calls->workers; i++) {
		struct desk *desk = &calls->desk[calls->to];
		bool last = i + 1 == calls->workers;
		int ret = qb_put(desk->requests, &request, sizeof(request), 1,
				 wait && last);

		calls->to = (calls->to + 1) % calls->workers;
		if (ret > 0)
			desk->outstanding++;
		if (ret != -EAGAIN)
			return ret < 0 ? ret : 0;
	}
	return -EAGAIN;
}

static int take(struct desk *desk, uint64_t *id, uint64_t *product, bool wait)
{
	struct call_answer answer;
	int ret = qb_get(desk->answers, &answer, sizeof(answer), 1, wait);

	if (ret < 0)
		return ret;
	desk->outstanding--;
	*id = answer.id;
	*product = answer.product;
	return call_is_intact(&answer) ? 0 : -EBADMSG;
}

/* It stays with a worker while that has answers. */
static int calls_collect(struct calls *calls, uint64_t *id, uint64_t *product,
			 bool wait)
{
	for (unsigned i = 0; i < calls->workers; i++) {
		struct desk *desk = &calls->desk[calls->from];
		int ret = desk->outstanding ? take(desk, id, product, false)
					    : -EAGAIN;

		if (ret != -EAGAIN)
			return ret;
		calls->from = (calls->from + 1) % calls->workers;
	}
	if (!wait)
		return -EAGAIN;
	while (!calls->desk[calls->from].outstanding)
		calls->from = (calls->from + 1) % calls->workers;
	return take(&calls->desk[calls->from], id, product, true);
}

static int calls_stop(struct calls *calls)
{
	struct call_request end = { CALL_END, 0, 0 };

	for (unsigned i = 0; i < calls->workers; i++) {
		int ret = qb_put(calls->desk[i].requests, &end, sizeof(end), 1,
				 true);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static const struct call_ops qb_calls = {
	.open = calls_open,
	.close = calls_close,
	.serve = calls_serve,
	.start = calls_start,
	.submit = calls_submit,
	.collect = calls_collect,
	.stop = calls_stop,
};

#define BUILT(...)                                                             \
	.built = true, .variant = (__VA_ARGS__), .open = qb_open,              \
	.close = qb_close, .put = qb_put, .get = qb_get, .send = qb_send,      \
	.recv = qb_recv, .calls = &qb_calls
#else
#define BUILT(...) .built = false
#endif

const struct transport rival_qb = {
	.name = "qb",
	.what = "libqb's ring buffer, sleeps on its semaphore",
	.loads = LOAD_LANES & ~LOAD_BIT(LOAD_MPMC),
	.waits = "block",
	.package = "libqb-dev",
	.lends = true,
	BUILT(0),
};

const struct transport rival_qb_mem = {
	.name = "qb-mem",
	.what = "the same with the memory of ours",
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_FARM),
	.waits = "block",
	.package = "libqb-dev",
	.lends = true,
	BUILT(SAME_MEMORY),
};
