/*
 * rival_seqpacket.c - a pair of AF_UNIX SOCK_SEQPACKET sockets
 *
 * All writers share the one end, all readers the other.  The buffer is made
 * as large as the system allows, but how many messages may be in it is up to
 * net.unix.max_dgram_qlen.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

const struct transport rival_seqpacket = {
	.name = "seqpacket",
	.what = "a pair of AF_UNIX SOCK_SEQPACKET sockets",
	.loads = LOAD_ALL,
	.waits = "block",
	.open = seqpacket_open,
	.close = seqpacket_close,
	.put = seqpacket_put,
	.get = seqpacket_get,
};
