/*
 * rival_pipe_batch.c - pipe(2), as many messages a write as there are
 *
 * A pipe of 1 MiB.  A stream is written and read in pieces of 64 KiB, or a
 * message if that is longer.  Where several processes write, a write is not
 * more than PIPE_BUF, so that it is atomic; then the bytes in the pipe are
 * whole messages at all times, and a read of as many whole messages, which the
 * kernel does under the pipe's lock, ends between two of them also when other
 * processes read, too.  Requests are kept back until there are as many as fit
 * into PIPE_BUF, or until the coordinator looks for answers.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/chunk.h"
#include "bench/rivals/burst.h"
#include "bench/transport.h"

#define PIPE_BYTES  (1 << 20) /* what an ordinary user may have */
#define PIECE_BYTES 65536

_Static_assert(PIPE_BUF >= BURST_MAX * CALL_BYTES, "atomic");

struct lane {
	int fd[2];
	size_t most; /* bytes a write or read, but a message at least */

	/* The stream of one process. */
	unsigned char *piece;
	size_t n_ready; /* messages in it that were read but not taken */
	size_t next;
};

static size_t piece_for(const struct lane *lane, size_t bytes)
{
	return bytes > lane->most ? 1 : lane->most / bytes;
}

static int batch_open(const struct spec *spec, struct lane **lane,
		      struct outcome *out)
{
	bool shared =
		spec->producers > 1 || spec->consumers > 1 || spec->workers > 1;
	struct lane *made;

	if (spec->bytes > PIPE_BUF && shared)
		return outcome_set(out, OUTCOME_ABSENT,
				   "pipe-batch: writes of more than %d bytes "
				   "are not atomic",
				   PIPE_BUF);
	made = calloc(1, sizeof(*made));
	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->most = shared ? PIPE_BUF : PIECE_BYTES;
	made->piece = malloc(piece_for(made, spec->bytes) * spec->bytes);
	if (!made->piece) {
		free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	}
	if (pipe2(made->fd, O_CLOEXEC) != 0) {
		free(made->piece);
		free(made);
		return outcome_set(out, OUTCOME_ABSENT, "pipe: %s",
				   strerror(errno));
	}
	/* May be denied when the user has many pipes; then it is smaller. */
	(void)fcntl(made->fd[1], F_SETPIPE_SZ, PIPE_BYTES);
	*lane = made;
	return 0;
}

static void batch_close(struct lane *lane)
{
	close(lane->fd[0]);
	close(lane->fd[1]);
	free(lane->piece);
	free(lane);
}

/* Is it readable or writable, or with @wait, as soon as it is. */
static int is_ready(int fd, short event, bool wait)
{
	struct pollfd poll_fd = { .fd = fd, .events = event };
	int n = poll(&poll_fd, 1, wait ? -1 : 0);

	if (n < 0 && errno != EINTR)
		return -errno;
	return n <= 0 ? -EAGAIN : 0;
}

static int write_all(int fd, const char *from, size_t n_bytes)
{
	while (n_bytes > 0) {
		ssize_t ret = write(fd, from, n_bytes);

		if (ret < 0 && errno != EINTR)
			return -errno;
		if (ret > 0) {
			from += ret;
			n_bytes -= (size_t)ret;
		}
	}
	return 0;
}

static int batch_put(struct lane *lane, const void *msgs, size_t bytes,
		     size_t n, bool wait)
{
	size_t most = piece_for(lane, bytes);
	int ret = 0;

	n = n > most ? most : n;
	/* A pipe that poll() calls writable has PIPE_BUF free. */
	if (!wait && n * bytes > PIPE_BUF)
		n = PIPE_BUF / bytes;
	if (!wait)
		ret = is_ready(lane->fd[1], POLLOUT, false);
	if (ret == 0)
		ret = write_all(lane->fd[1], msgs, n * bytes);
	return ret < 0 ? ret : (int)n;
}

/* Whole messages, at least one; how many. */
static int read_some(struct lane *lane, char *to, size_t bytes, size_t n)
{
	size_t done = 0;

	do {
		size_t want = done ? bytes - done % bytes : n * bytes;
		ssize_t ret = read(lane->fd[0], to + done, want);

		if (ret == 0)
			return -EPIPE;
		if (ret < 0 && errno != EINTR)
			return -errno;
		done += ret > 0 ? (size_t)ret : 0;
	} while (done == 0 || done % bytes != 0);
	return (int)(done / bytes);
}

static int batch_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		     bool wait)
{
	size_t most = piece_for(lane, bytes);
	int ret = wait ? 0 : is_ready(lane->fd[0], POLLIN, false);

	return ret < 0 ? ret
		       : read_some(lane, msgs, bytes, n > most ? most : n);
}

/* A stream ----------------------------------------------------------------- */

CHUNK_INLINE int send_of(struct lane *lane, struct source *source, size_t n,
			 size_t bytes)
{
	size_t most = piece_for(lane, bytes);
	int ret = 0;

	while (n > 0 && ret == 0) {
		size_t m = n < most ? n : most;

		for (size_t i = 0; i < m; i++)
			msg_fill(lane->piece + i * bytes, bytes,
				 source->key + i);
		ret = write_all(lane->fd[1], (char *)lane->piece, m * bytes);
		source->key += m;
		n -= m;
	}
	return ret;
}

static int batch_send(struct lane *lane, struct source *source, size_t n)
{
	return CHUNK_BY_SIZE(source->bytes, send_of, lane, source, n);
}

CHUNK_INLINE int recv_of(struct lane *lane, struct sink *sink, size_t n,
			 size_t bytes)
{
	for (; n > 0 && !sink->ended; n--) {
		if (lane->next == lane->n_ready) {
			int ret = read_some(lane, (char *)lane->piece, bytes,
					    piece_for(lane, bytes));

			if (ret < 0)
				return ret;
			lane->n_ready = (size_t)ret;
			lane->next = 0;
		}
		sink_take(sink, lane->piece + lane->next++ * bytes, bytes);
	}
	return 0;
}

static int batch_recv(struct lane *lane, struct sink *sink, size_t n)
{
	return CHUNK_BY_SIZE(sink->bytes, recv_of, lane, sink, n);
}

/* Requests and answers ----------------------------------------------------- */

static int calls_open(const struct spec *spec, struct calls **calls,
		      struct outcome *out)
{
	return burst_open(&rival_pipe_batch, BURST_MAX, spec, calls, out);
}

static const struct call_ops batch_calls = { .open = calls_open, BURST_CALLS };

const struct transport rival_pipe_batch = {
	.name = "pipe-batch",
	.what = "pipe(2) of 1 MiB, many messages a write",
	.loads = LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC) |
		 LOAD_BIT(LOAD_FARM),
	.waits = "block",
	.batches = true,
	.bursts = true,
	.open = batch_open,
	.close = batch_close,
	.put = batch_put,
	.get = batch_get,
	.send = batch_send,
	.recv = batch_recv,
	.calls = &batch_calls,
};
