/*
 * fd.h - is a descriptor that we have opened still ours?
 *
 * A program that closes what it does not know may have something else under our
 * number by now, and so may a forked child.  To close that would be worse than
 * to leave one open.
 *
 * What tells is the inode, and fstat(2) says it without /proc.  But kernels
 * have one inode for most of what is no file (and before 6.9 for pidfds), so
 * where /proc can be read the kind has to be right, too.
 */
#ifndef SB_FD_H
#define SB_FD_H

#include <stdbool.h>
#include <sys/types.h>

struct sb_fd_id {
	dev_t dev;
	ino_t ino;
};

/* Of @fd, which we have just opened. */
struct sb_fd_id sb_fd_id(int fd);

/* Is @fd still what @id is of?  @kind is in the text of its link in /proc. */
bool sb_fd_is(int fd, struct sb_fd_id id, const char *kind);

#endif
