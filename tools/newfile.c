/*
 * newfile.c - a file that is there when it is complete, or not at all
 *
 * O_TMPFILE makes one without a name, of which even a SIGKILL leaves nothing.
 * It gets its name through /proc.  Where either cannot be had it has a name
 * from the beginning, one that starts with a dot.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/newfile.h"

#define N_NAMES 100 /* to try before we believe that all are taken */

/* How much of a path is its folder, with the last slash. */
static size_t folder_bytes(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash + 1 - path) : 0;
}

/* Find a name in the folder of @f that is free, and have @make take it. */
static int take_temp(struct newfile *f,
		     int (*make)(struct newfile *f, const char *temp))
{
	int ret = -EEXIST;

	for (int i = 0; i < N_NAMES && ret == -EEXIST; i++) {
		char *temp;

		if (asprintf(&temp, "%.*s.shmbus-%d-%d",
			     (int)folder_bytes(f->path), f->path, (int)getpid(),
			     i) < 0)
			return -ENOMEM;
		ret = make(f, temp);
		if (ret == 0)
			f->temp = temp;
		else
			free(temp);
	}
	return ret;
}

static int create_as(struct newfile *f, const char *temp)
{
	f->fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return f->fd < 0 ? -errno : 0;
}

static int link_as(struct newfile *f, const char *temp)
{
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, from, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) < 0
		       ? -errno
		       : 0;
}

/* Open it, empty and beside f->path. */
static int open_beside(struct newfile *f)
{
	size_t n = folder_bytes(f->path);
	char *folder = n > 0 ? strndup(f->path, n) : strdup(".");

	if (!folder)
		return -ENOMEM;
	f->fd = -1;
	if (access("/proc/self/fd", X_OK) == 0)
		f->fd = open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
	free(folder);
	/* Which of its errors say "not on this file system" differs; if it is
	 * another, this fails in the same way. */
	return f->fd < 0 ? take_temp(f, create_as) : 0;
}

/* There is no such file yet. */
static int open_first(struct newfile *f)
{
	struct stat st;

	/* A link to nowhere is not ours to replace. */
	if (f->name[0] == '\0' || lstat(f->name, &st) == 0)
		return -ENOENT;
	f->path = strdup(f->name);
	return f->path ? open_beside(f) : -ENOMEM;
}

/* There is one, @st, that shall be replaced. */
static int open_next(struct newfile *f, const struct stat *st)
{
	int ret;

	f->path = realpath(f->name, NULL); /* keep a link to it */
	if (!f->path)
		return -errno;
	ret = open_beside(f);
	if (ret < 0)
		return ret;
	/* Who may not give files away owns the new one. */
	if (fchown(f->fd, st->st_uid, st->st_gid) < 0 && errno != EPERM)
		return -errno;
	return fchmod(f->fd, st->st_mode & 0777) < 0 ? -errno : 0;
}

/* As newfile_open(), which cleans up after an error. */
static int open_it(struct newfile *f)
{
	struct stat st;

	f->fd = open(f->name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (f->fd < 0)
		return errno == ENOENT ? open_first(f) : -errno;
	if (fstat(f->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	close(f->fd); /* now we know that we may write to it */
	f->fd = -1;
	return open_next(f, &st);
}

int newfile_open(struct newfile *f, const char *path)
{
	int ret;

	*f = (struct newfile){ .fd = STDOUT_FILENO, .name = "standard output" };
	if (!path || strcmp(path, "-") == 0)
		return 0;
	f->name = path;
	ret = open_it(f);
	if (ret < 0)
		newfile_drop(f);
	return ret;
}

/* It is complete and has been closed; a file without a name is still open. */
static int publish(struct newfile *f)
{
	if (!f->temp) {
		int ret = link_as(f, f->path);

		/* A name that is taken cannot be taken over without another. */
		if (ret == -EEXIST)
			ret = take_temp(f, link_as);
		if (ret < 0 || !f->temp)
			return ret;
	}
	if (rename(f->temp, f->path) < 0)
		return -errno;
	free(f->temp);
	f->temp = NULL;
	return 0;
}

int newfile_commit(struct newfile *f)
{
	int ret = 0, keep = -1;

	if (f->path && !f->temp) {
		keep = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
		if (keep < 0)
			return -errno;
	}
	/* Some file systems tell only now that there was no room. */
	if (close(f->fd) < 0 && errno != EINTR)
		ret = -errno;
	f->fd = keep;
	return ret < 0 || !f->path ? ret : publish(f);
}

void newfile_drop(struct newfile *f)
{
	if (f->fd > STDERR_FILENO)
		close(f->fd);
	f->fd = -1;
	if (f->temp)
		unlink(f->temp);
	free(f->temp);
	free(f->path);
	f->temp = f->path = NULL;
}
