/*
 * rival_pipe.c - pipe(2), one message a write
 *
 * All writers and readers share one pipe of 1 MiB.  Up to PIPE_BUF a write is
 * atomic, so that every read of one message's size gets one message; larger
 * messages only go between two processes, in pieces.  Two processes that both
 * send and receive have a pipe each way, and wait for both in poll(2).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/transport.h"

#define PIPE_BYTES (1 << 20) /* what an ordinary user may have */

struct lane {
	int fd[2];
	bool nonblocking; /* the writer's end, in this process */

	/* duplex */
	struct lane *back;
	size_t n_out, n_in; /* bytes of a message that went already */
};

static int pipe_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	struct lane *made;

	if (spec->bytes > PIPE_BUF &&
	    (spec->producers > 1 || spec->consumers > 1))
		return outcome_set(out, OUTCOME_ABSENT,
				   "pipe: writes of more than %d bytes are "
				   "not atomic",
				   PIPE_BUF);
	made = calloc(1, sizeof(*made));
	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (pipe2(made->fd, O_CLOEXEC) != 0) {
		free(made);
		return outcome_set(out, OUTCOME_ABSENT, "pipe: %s",
				   strerror(errno));
	}
	/* May be denied when the user has many pipes; then it is smaller. */
	(void)fcntl(made->fd[1], F_SETPIPE_SZ, PIPE_BYTES);
	*lane = made;
	return 0;
}

static void pipe_close(struct lane *lane)
{
	close(lane->fd[0]);
	close(lane->fd[1]);
	free(lane);
}

static int wait_for_room(struct lane *lane, bool wait)
{
	struct pollfd poll_fd = { .fd = lane->fd[1], .events = POLLOUT };

	if (!wait)
		return -EAGAIN;
	return poll(&poll_fd, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int pipe_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	const char *from = msgs;
	size_t done = 0;

	(void)n;
	/* Only the coordinator of a farm does not wait; nobody else has the
	 * writer's end of that pipe in use. */
	if (!wait && !lane->nonblocking) {
		if (fcntl(lane->fd[1], F_SETFL, O_NONBLOCK) != 0)
			return -errno;
		lane->nonblocking = true;
	}
	while (done < bytes) {
		ssize_t ret = write(lane->fd[1], from + done, bytes - done);

		if (ret > 0) {
			done += (size_t)ret;
		} else if (errno == EAGAIN) {
			int err = wait_for_room(lane, wait || done > 0);

			if (err < 0)
				return err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 1;
}

static int pipe_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	char *to = msgs;
	size_t done = 0;

	(void)n;
	if (!wait)
		return -EAGAIN; /* without a system call it cannot tell */
	while (done < bytes) {
		ssize_t ret = read(lane->fd[0], to + done, bytes - done);

		if (ret > 0)
			done += (size_t)ret;
		else if (ret == 0)
			return -EPIPE;
		else if (errno != EINTR)
			return -errno;
	}
	return 1;
}

/* Both directions ---------------------------------------------------------- */

static int duplex_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	if (pipe_open(spec, lane, out) != 0)
		return -1;
	if (pipe_open(spec, &(*lane)->back, out) != 0) {
		pipe_close(*lane);
		return -1;
	}
	return 0;
}

static void duplex_close(struct lane *lane)
{
	pipe_close(lane->back);
	pipe_close(lane);
}

/* A process writes to the lane's pipe and reads from the other. */
static int duplex_side(struct lane *lane, unsigned side)
{
	struct lane *back = lane->back;
	int in = side == 0 ? back->fd[0] : lane->fd[0];
	int out = side == 0 ? lane->fd[1] : back->fd[1];

	lane->fd[0] = in;
	lane->fd[1] = out;
	return fcntl(in, F_SETFL, O_NONBLOCK) != 0 ||
			       fcntl(out, F_SETFL, O_NONBLOCK) != 0
		       ? -errno
		       : 0;
}

static int duplex_put(struct lane *lane, const void *msg, size_t bytes,
		      size_t n, bool wait)
{
	const char *from = msg;

	(void)n;
	(void)wait;
	while (lane->n_out < bytes) {
		ssize_t ret = write(lane->fd[1], from + lane->n_out,
				    bytes - lane->n_out);

		if (ret > 0)
			lane->n_out += (size_t)ret;
		else if (errno != EINTR)
			return -errno;
	}
	lane->n_out = 0;
	return 1;
}

static int duplex_get(struct lane *lane, void *msg, size_t bytes, size_t n,
		      bool wait)
{
	char *to = msg;

	(void)n;
	(void)wait;
	while (lane->n_in < bytes) {
		ssize_t ret =
			read(lane->fd[0], to + lane->n_in, bytes - lane->n_in);

		if (ret > 0)
			lane->n_in += (size_t)ret;
		else if (ret == 0)
			return -EPIPE;
		else if (errno != EINTR)
			return -errno;
	}
	lane->n_in = 0;
	return 1;
}

static int duplex_turn(struct lane *lane, struct source *source,
		       struct sink *sink, size_t n)
{
	int moved;

	while ((moved = chunk_turn(lane, source, sink, n, duplex_put,
				   duplex_get)) == 0) {
		struct pollfd fds[2] = {
			{ .fd = sink->ended ? -1 : lane->fd[0],
			  .events = POLLIN },
			{ .fd = source->ended ? -1 : lane->fd[1],
			  .events = POLLOUT },
		};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return -errno;
	}
	return moved < 0 ? moved : 0;
}

static const struct duplex_ops pipe_duplex = {
	.open = duplex_open,
	.close = duplex_close,
	.side = duplex_side,
	.turn = duplex_turn,
};

const struct transport rival_pipe = {
	.name = "pipe",
	.what = "pipe(2) of 1 MiB, one message a write",
	.loads = LOAD_ALL & ~LOAD_POOLS,
	.waits = "block",
	.open = pipe_open,
	.close = pipe_close,
	.put = pipe_put,
	.get = pipe_get,
	.duplex = &pipe_duplex,
};
