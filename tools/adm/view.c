/*
 * view.c - open a bus for reading; see snap.c for what can be read
 *
 * Where the bytes of an unnamed bus come from is told in find.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "tools/adm/find.h"
#include "tools/adm/note.h"
#include "tools/adm/view.h"

/* ----------------------------------------------------------------- bytes -- */

int view_read(const struct view *v, uint64_t off, void *buf, size_t n)
{
	unsigned char *to = buf;
	size_t there = 0;

	if (off < v->there_bytes)
		there = v->there_bytes - off < n ? v->there_bytes - off : n;
	memset(to + there, 0, n - there);
	while (there) {
		ssize_t done = pread(v->fd, to, there, (off_t)(v->at + off));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (!done) { /* it was cut off just now */
			memset(to, 0, there);
			return 0;
		}
		to += done;
		off += (uint64_t)done;
		there -= (size_t)done;
	}
	return 0;
}

/* ------------------------------------------------------------------ open -- */

static void ail(struct view *v, enum view_health health, const char *why)
{
	v->health = health;
	v->why = why;
}

/* What is it?  And the offsets, if more can be read of it. */
static int examine(struct view *v)
{
	struct sb_seg_header *h = &v->seg;
	int ret = view_read(v, 0, h, sizeof(*h));

	if (!ret)
		ret = view_read(v, offsetof(struct bus_header, sizes),
				&v->sizes, sizeof(v->sizes));
	if (ret)
		return ret;
	if (v->there_bytes < sizeof(*h) || h->magic != SB_SEG_MAGIC)
		ail(v, VIEW_FOREIGN, "it does not begin as a bus does");
	else if (h->abi != SB_SEG_ABI)
		ail(v, VIEW_OTHER_ABI, "another version of shmbus made it");
	else if (h->header_bytes != sizeof(*h) ||
		 h->checksum != sb_seg_checksum(h) || h->reserved)
		ail(v, VIEW_DAMAGED, "its first bytes are damaged");
	else if (h->fingerprint != bus_layout_fingerprint())
		ail(v, VIEW_OTHER_LAYOUT,
		    "another build of shmbus made it, with another layout");
	else if (bus_layout(&v->sizes, &v->off) || v->off.bytes != h->bytes)
		ail(v, VIEW_DAMAGED, "its sizes contradict each other");
	else if (v->there_bytes < h->bytes)
		ail(v, VIEW_TRUNCATED, "the end of it is missing");
	else if (v->there_bytes > h->bytes && v->kind == VIEW_NAMED)
		ail(v, VIEW_DAMAGED, "it is larger than it says");
	return 0;
}

static bool differ(uint64_t theirs, uint64_t ours)
{
	return theirs && ours && theirs != ours;
}

/* Do we see its processes, and as what? */
static int look_for_processes(struct view *v)
{
	struct process_names names;
	int ret;

	if (v->kind == VIEW_COPY)
		return 0;
	v->other_pids = differ(v->seg.pid_ns, sb_proc_pid_ns());
	v->other_times = differ(v->seg.time_ns, sb_proc_time_ns());
	v->has_processes = true;
	if (!v->other_pids)
		return 0;
	ret = process_names(&names, v->seg.pid_ns);
	v->has_processes = names.n > 0;
	process_names_free(&names);
	return ret;
}

/* Does somebody hold the lock of its creator?  See lib/seg.c. */
static enum view_creator creator_of(int fd)
{
	struct flock first = { .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &first))
		return VIEW_CREATOR_UNKNOWN;
	return first.l_type == F_UNLCK ? VIEW_CREATOR_DEAD : VIEW_CREATOR_LIVES;
}

static int cannot(char *why, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int cannot(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, VIEW_WHY_BYTES, format, args);
	va_end(args);
	return err;
}

/* A file: of a name, or of a path. */
static int open_file(struct view *v, const char *path, char *why)
{
	struct stat st;

	/* NONBLOCK: it may be anything, even a device that waits. */
	v->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
				   (v->kind == VIEW_NAMED ? O_NOFOLLOW : 0));
	if (v->fd < 0 && errno == ENOENT && v->kind == VIEW_NAMED)
		return cannot(why, -ENOENT,
			      "there is no bus '%s'; 'busadm list' shows those "
			      "that there are",
			      v->name);
	if (v->fd < 0)
		return cannot(why, -errno, "cannot open '%s': %s%s", v->name,
			      strerror(errno),
			      errno == EACCES || errno == EPERM
				      ? "; it takes its owner or root"
				      : "");
	if (fstat(v->fd, &st))
		return cannot(why, -errno, "cannot look at '%s': %s", v->name,
			      strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cannot(why, -EINVAL,
			      "'%s' is no regular file, so no bus", v->name);
	v->there_bytes = (uint64_t)st.st_size;
	v->used_bytes = (uint64_t)st.st_blocks * 512;
	v->dev = st.st_dev;
	v->ino = st.st_ino;
	v->uid = st.st_uid;
	v->mode = st.st_mode & 07777;
	v->creator = creator_of(v->fd);
	/* What its creator has locked is no copy, by whatever path. */
	if (v->creator == VIEW_CREATOR_LIVES)
		v->kind = VIEW_NAMED;
	if (v->kind == VIEW_COPY)
		v->creator = VIEW_CREATOR_UNKNOWN;
	return 0;
}

/* "/dev/shm/shmbus.jobs" is the bus "jobs" also when it is given as a path; and
 * so it is in a container, as /proc/PID/root/dev/shm/shmbus.jobs.  The name, or
 * NULL: any file. */
static const char *name_in_path(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	const char *prefix = strrchr(FIND_PREFIX, '/') + 1;
	size_t dir = strlen(FIND_DIR "/"), n = strlen(prefix);

	return (size_t)(name - path) < dir ||
			       strncmp(name - dir, FIND_DIR "/", dir) ||
			       strncmp(name, prefix, n)
		       ? NULL
		       : name + n;
}

static int open_arg(struct view *v, const char *arg, char *why)
{
	char path[sizeof(FIND_PREFIX) + SB_SEG_NAME_MAX];
	const char *name = arg;
	int pid, nth, ret;

	if (!*arg || strlen(arg) >= sizeof(v->name))
		return cannot(why, -EINVAL,
			      "'%.40s' is neither the name of a bus nor a file",
			      arg);
	strcpy(v->name, arg);
	ret = find_parse_pid(arg, &pid, &nth);
	if (ret < 0)
		return cannot(why, -EINVAL,
			      "'%s' should be pid:PID or pid:PID:N", arg);
	if (ret)
		return find_open_unnamed(v, pid, nth, why);
	if (strchr(arg, '/')) {
		name = name_in_path(arg);
		v->kind = name ? VIEW_NAMED : VIEW_COPY;
		if (!name || strncmp(arg, FIND_PREFIX, strlen(FIND_PREFIX)))
			return open_file(v, arg, why);
		strcpy(v->name, name);
	}
	if (strlen(name) > SB_SEG_NAME_MAX)
		return cannot(why, -ENAMETOOLONG,
			      "'%.40s...' is longer than the name of a bus can "
			      "be",
			      name);
	snprintf(path, sizeof(path), FIND_PREFIX "%s", name);
	return open_file(v, path, why);
}

/* It is an endpoint, unless it has threads that are; else all processes would
 * have to be looked at. */
static void find_creator(struct view *v)
{
	struct bus_ep ep;
	uint32_t pid[SB_EP_MAX + 1], n = 0;

	if (view_readable(v) && !v->other_pids)
		for (uint32_t id = 1; id < v->sizes.max_ep; id++)
			if (!view_read(v, v->off.ep + id * sizeof(ep),
				       (void *)&ep, sizeof(ep)))
				pid[n++] = (uint32_t)(ep.state >> 32);
	v->creator_pid = find_lock_holder(v->dev, v->ino, pid, n);
}

int view_open(struct view *v, const char *arg, char why[VIEW_WHY_BYTES])
{
	int ret;

	*v = (struct view){ .fd = -1, .used_bytes = UINT64_MAX, .why = "" };
	ret = open_arg(v, arg, why);
	if (!ret) {
		ret = examine(v);
		if (!ret && v->kind == VIEW_COPY && v->health == VIEW_GOOD)
			ret = note_read(v);
		if (!ret)
			ret = look_for_processes(v);
		if (ret)
			cannot(why, ret, "cannot read '%s': %s", arg,
			       strerror(-ret));
	}
	if (ret) {
		view_close(v);
		return ret;
	}
	if (v->kind == VIEW_NAMED && v->creator == VIEW_CREATOR_LIVES)
		find_creator(v);
	return 0;
}

void view_close(struct view *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
	free(v->note);
	v->note = NULL;
}
