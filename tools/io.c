/*
 * io.c - read(2) and write(2) on descriptors that others may share
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "tools/io.h"

/* Wait until it is ready, or look whether it is. */
static bool is_ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout_ms) != 0;
}

ssize_t io_read(int fd, void *buf, size_t n, bool wait)
{
	for (;;) {
		ssize_t done;

		if (!wait && !is_ready(fd, POLLIN, 0))
			return -EAGAIN;
		done = read(fd, buf, n);
		if (done >= 0)
			return done;
		if (errno == EAGAIN && wait)
			is_ready(fd, POLLIN, -1);
		else if (errno != EINTR)
			return -errno;
	}
}

int io_write(int fd, const void *buf, size_t n)
{
	const char *at = buf;

	while (n > 0) {
		ssize_t done = write(fd, at, n);

		if (done >= 0) {
			at += done;
			n -= (size_t)done;
		} else if (errno == EAGAIN) {
			is_ready(fd, POLLOUT, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}
