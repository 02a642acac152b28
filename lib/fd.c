/*
 * fd.c - is a descriptor that we have opened still ours?  See fd.h
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"

struct sb_fd_id sb_fd_id(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return (struct sb_fd_id){ 0, 0 }; /* no inode of anything */
	return (struct sb_fd_id){ .dev = st.st_dev, .ino = st.st_ino };
}

bool sb_fd_is(int fd, struct sb_fd_id id, const char *kind)
{
	struct sb_fd_id now = sb_fd_id(fd);
	char path[32], target[64] = "";

	if (!id.ino || now.dev != id.dev || now.ino != id.ino)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) < 0 ||
	       strstr(target, kind);
}
