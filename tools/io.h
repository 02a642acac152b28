/*
 * io.h - read(2) and write(2) on descriptors that others may share
 *
 * Neither a signal nor somebody who made the descriptor non-blocking ends a
 * call before something was done.
 */
#ifndef IO_H
#define IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * io_read - read what there is, up to @n bytes
 * @wait: false: rather say -EAGAIN than wait for a pipe or a terminal
 *
 * Returns how many, 0 at the end, or -errno.
 */
ssize_t io_read(int fd, void *buf, size_t n, bool wait);

/* Write all of @buf.  Returns 0 or -errno. */
int io_write(int fd, const void *buf, size_t n);

#endif
