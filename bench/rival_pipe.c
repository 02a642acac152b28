/*
 * rival_pipe.c - pipe(2), one message a write
 *
 * All writers and readers share one pipe of 1 MiB.  Up to PIPE_BUF a write is
 * atomic, so that every read of one message's size gets one message; larger
 * messages only go between two processes, in pieces.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/transport.h"

#define PIPE_BYTES (1 << 20) /* what an ordinary user may have */

struct lane {
	int fd[2];
	bool nonblocking; /* the writer's end, in this process */
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

const struct transport rival_pipe = {
	.name = "pipe",
	.what = "pipe(2) of 1 MiB, one message a write",
	.loads = LOAD_ALL,
	.waits = "block",
	.open = pipe_open,
	.close = pipe_close,
	.put = pipe_put,
	.get = pipe_get,
};
