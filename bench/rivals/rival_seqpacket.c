/*
 * rival_seqpacket.c - a pair of AF_UNIX SOCK_SEQPACKET sockets
 *
 * All writers share the one end, all readers the other.  The buffer is made
 * as large as the system allows, but how many messages may be in it is up to
 * net.unix.max_dgram_qlen.  Two processes that both send and receive have an
 * end each, and wait for both directions in poll(2).
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/transport.h"

#define WANTED_BYTES (8 << 20)

struct lane {
	int fd[2]; /* written to, read from */
};

/* Returns what a message may have at most. */
static size_t enlarge(int fd)
{
	int bytes = WANTED_BYTES;
	socklen_t len = sizeof(bytes);

	/* The first needs CAP_NET_ADMIN. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, len) != 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, len);
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &len) != 0)
		return 0;
	/* The kernel doubles the figure for its own use, and takes a message
	 * of that size less its header. */
	return bytes > 64 ? (size_t)bytes / 2 : 0;
}

static int seqpacket_open(const struct spec *spec, struct lane **lane,
			  struct outcome *out)
{
	struct lane *made = calloc(1, sizeof(*made));
	size_t max_bytes;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, made->fd) !=
	    0) {
		free(made);
		return outcome_set(out, OUTCOME_ABSENT, "socketpair: %s",
				   strerror(errno));
	}
	max_bytes = enlarge(made->fd[0]);
	if (spec->bytes > max_bytes) {
		close(made->fd[0]);
		close(made->fd[1]);
		free(made);
		return outcome_set(out, OUTCOME_ABSENT,
				   "seqpacket: a message has at most %zu "
				   "bytes (net.core.wmem_max)",
				   max_bytes);
	}
	*lane = made;
	return 0;
}

static void seqpacket_close(struct lane *lane)
{
	close(lane->fd[0]);
	close(lane->fd[1]);
	free(lane);
}

static int seqpacket_put(struct lane *lane, const void *msgs, size_t bytes,
			 size_t n, bool wait)
{
	ssize_t ret;

	(void)n;
	do
		ret = send(lane->fd[0], msgs, bytes,
			   MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 1;
}

static int seqpacket_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
			 bool wait)
{
	ssize_t ret;

	(void)n;
	if (!wait)
		return -EAGAIN; /* without a system call it cannot tell */
	do
		ret = recv(lane->fd[1], msgs, bytes, 0);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	return (size_t)ret == bytes ? 1 : -EBADMSG;
}

/* Both directions ---------------------------------------------------------- */

static int duplex_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	if (seqpacket_open(spec, lane, out) != 0)
		return -1;
	(void)enlarge((*lane)->fd[1]);
	return 0;
}

/* A process writes to its end and reads from it. */
static int duplex_side(struct lane *lane, unsigned side)
{
	lane->fd[0] = lane->fd[1] = lane->fd[side];
	return 0;
}

static int duplex_get(struct lane *lane, void *msg, size_t bytes, size_t n,
		      bool wait)
{
	ssize_t ret;

	(void)n;
	(void)wait;
	do
		ret = recv(lane->fd[1], msg, bytes, MSG_DONTWAIT);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	return ret == 0 ? -EPIPE : (size_t)ret == bytes ? 1 : -EBADMSG;
}

static int duplex_turn(struct lane *lane, struct source *source,
		       struct sink *sink, size_t n)
{
	int moved;

	while ((moved = chunk_turn(lane, source, sink, n, seqpacket_put,
				   duplex_get)) == 0) {
		struct pollfd poll_fd = { .fd = lane->fd[0] };

		poll_fd.events = (short)((source->ended ? 0 : POLLOUT) |
					 (sink->ended ? 0 : POLLIN));
		if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
	return moved < 0 ? moved : 0;
}

static const struct duplex_ops seqpacket_duplex = {
	.open = duplex_open,
	.close = seqpacket_close,
	.side = duplex_side,
	.turn = duplex_turn,
};

const struct transport rival_seqpacket = {
	.name = "seqpacket",
	.what = "a pair of AF_UNIX SOCK_SEQPACKET sockets",
	.loads = LOAD_ALL & ~LOAD_POOLS,
	.waits = "block",
	.open = seqpacket_open,
	.close = seqpacket_close,
	.put = seqpacket_put,
	.get = seqpacket_get,
	.duplex = &seqpacket_duplex,
};
