/*
 * seg.c - a piece of memory that processes share
 *
 * The rule of names: whoever holds the lock of the file that a name refers to
 * may remove that name, and nobody else may.  The creator locks its file
 * before the file has a name, and keeps the lock while it lives; so a file
 * with a name and without a lock belongs to a dead creator.  Between looking
 * where the name leads and removing it, nobody who keeps the rule can put
 * another file there, because that takes removing ours first.
 *
 * The creator locks all of the file, who removes a leftover only what follows
 * its first byte: so a lock on that byte is the creator's, and who opens the
 * file, or has it open, asks for that one.  Else it would take somebody who is
 * just removing the file for a creator that lives.
 *
 * The lock is an open file description lock (fcntl(2), F_OFD_SETLK): the
 * kernel drops it when the last reference to that open() is gone, however the
 * process ended.  Such references are
 *
 *	- descriptors, also those that forked children inherited: therefore a
 *	  fork handler closes them in the child (until the child has got that
 *	  far, its creator counts as alive);
 *	- mappings, also inherited ones: therefore the memory is mapped through
 *	  one open() and the lock taken on another, of the same file.
 *
 * A child made without fork handlers (raw clone) keeps its creator's lock.
 *
 * Killed at any instruction of create and publish: the file has no name yet
 * and vanishes, or is complete and its lock is free.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lib/proc.h"
#include "lib/seg.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* linux/memfd.h since 6.3 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* asm-generic/mman-common.h since 5.14 */
#endif

#define DIR    "/dev/shm" /* where shm_open(3) has its objects */
#define PREFIX DIR "/shmbus."

/* How often publish looks again when names come and go under it. */
#define PUBLISH_TRIES 100

/* Lock descriptors of this process -------------------------------------- */

static struct {
	pthread_mutex_t mutex;
	int *fd; /* those in use, in any order; only grows */
	size_t n, room;
	int error; /* of the fork handler's registration */
} locks = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void locks_lock(void)
{
	pthread_mutex_lock(&locks.mutex);
}

static void locks_unlock(void)
{
	pthread_mutex_unlock(&locks.mutex);
}

static void locks_after_fork_in_child(void)
{
	while (locks.n)
		close(locks.fd[--locks.n]);
	locks_unlock();
}

static void register_handlers(void)
{
	locks.error = -pthread_atfork(locks_lock, locks_unlock,
				      locks_after_fork_in_child);
}

static int locks_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	sb_proc_init();
	pthread_once(&once, register_handlers);
	return locks.error;
}

/*
 * Open @path as a lock descriptor.  Under the mutex, so that no fork can come
 * between open and entry.
 */
static int locks_open(const char *path)
{
	int fd;

	locks_lock();
	if (locks.n == locks.room) {
		size_t room = locks.room ? 2 * locks.room : 8;
		int *more = realloc(locks.fd, room * sizeof(*more));

		if (!more) {
			fd = -ENOMEM;
			goto out;
		}
		locks.fd = more;
		locks.room = room;
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	else
		locks.fd[locks.n++] = fd;
out:
	locks_unlock();
	return fd;
}

static void locks_close(int fd)
{
	locks_lock();
	for (size_t i = 0; i < locks.n; i++) {
		if (locks.fd[i] == fd) {
			locks.fd[i] = locks.fd[--locks.n];
			break;
		}
	}
	close(fd);
	locks_unlock();
}

/* Lock the file of @fd from byte @from on: the creator from 0, who removes it
 * from 1.  Returns 0, -EBUSY when another has it, -errno. */
static int lock_file(int fd, off_t from)
{
	struct flock rest = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = from };

	if (fcntl(fd, F_OFD_SETLK, &rest) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* Does the creator of @fd's file live?  1, 0, or -errno. */
static int creator_lives(int fd)
{
	struct flock first = { .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &first))
		return -errno;
	return first.l_type != F_UNLCK;
}

/* Names ------------------------------------------------------------------ */

static int check_name(const char *name)
{
	if (name[0] == '\0' || name[0] == '.')
		return -EINVAL;
	for (const char *s = name; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (s - name >= SB_SEG_NAME_MAX)
			return -ENAMETOOLONG;
		if (c < ' ' || c == 0x7f || c == '/')
			return -EINVAL;
	}
	return 0;
}

struct path {
	char s[sizeof(PREFIX) + SB_SEG_NAME_MAX];
};

static struct path path_of(const char *name)
{
	struct path p;

	memcpy(p.s, PREFIX, sizeof(PREFIX) - 1);
	strcpy(p.s + sizeof(PREFIX) - 1, name);
	return p;
}

/* "/proc/self/fd/N": the file behind a descriptor, also one with no name. */
struct fd_path {
	char s[sizeof("/proc/self/fd/") + 11];
};

static struct fd_path fd_path_of(int fd)
{
	struct fd_path p;

	snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

/* Does @path lead to the file of @fd? */
static bool leads_to(const char *path, int fd)
{
	struct stat by_name, by_fd;

	return lstat(path, &by_name) == 0 && fstat(fd, &by_fd) == 0 &&
	       by_name.st_dev == by_fd.st_dev &&
	       by_name.st_ino == by_fd.st_ino;
}

/* Apply the rule of names; the caller holds the lock of @fd's file. */
static int unlink_locked(const char *path, int fd)
{
	if (!leads_to(path, fd))
		return -ENOENT;
	return unlink(path) ? -errno : 0;
}

/*
 * Remove the leftover of a dead creator.
 * @own: only if the file is ours
 *
 * Under the mutex, so that no forked child gets a copy of the lock.  Returns
 * 0, -ENOENT when the name is gone or leads elsewhere now, -EBUSY when the
 * creator lives, -EACCES when it is not ours or no regular file.
 */
static int remove_leftover(const char *path, bool own)
{
	struct stat st;
	int fd, ret;

	locks_lock();
	/* NONBLOCK: it may be anything, even a device that waits. */
	fd = open(path,
		  O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		/* ELOOP a symlink, EISDIR a directory, ENXIO a socket */
		ret = errno == ELOOP || errno == EISDIR || errno == ENXIO
			      ? -EACCES
			      : -errno;
		goto out;
	}
	if (fstat(fd, &st))
		ret = -errno;
	else if (!S_ISREG(st.st_mode) || (own && st.st_uid != geteuid()))
		ret = -EACCES;
	else
		ret = lock_file(fd, 1);
	if (ret == 0)
		ret = unlink_locked(path, fd);
	close(fd);
out:
	locks_unlock();
	return ret;
}

/* The header -------------------------------------------------------------- */

/* FNV-1a */
uint64_t sb_seg_checksum(const struct sb_seg_header *h)
{
	const unsigned char *b = (const unsigned char *)h;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < offsetof(struct sb_seg_header, checksum); i++)
		sum = (sum ^ b[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static void fill_header(struct sb_seg_header *h, size_t bytes,
			uint64_t fingerprint)
{
	h->magic = SB_SEG_MAGIC;
	h->abi = SB_SEG_ABI;
	h->header_bytes = sizeof(*h);
	h->bytes = bytes;
	h->fingerprint = fingerprint;
	h->pid_ns = sb_proc_pid_ns();
	h->time_ns = sb_proc_time_ns();
	h->checksum = sb_seg_checksum(h);
}

/* 0 is unknown. */
static bool is_same_ns(uint64_t a, uint64_t b)
{
	return !a || !b || a == b;
}

static int check_header(const struct sb_seg_header *h, uint64_t file_bytes,
			uint64_t fingerprint)
{
	if (h->magic != SB_SEG_MAGIC || h->abi != SB_SEG_ABI ||
	    h->header_bytes != sizeof(*h) || h->bytes != file_bytes ||
	    h->fingerprint != fingerprint || h->checksum != sb_seg_checksum(h) ||
	    h->reserved)
		return -EPROTO;
	return is_same_ns(h->pid_ns, sb_proc_pid_ns()) &&
			       is_same_ns(h->time_ns, sb_proc_time_ns())
		       ? 0
		       : -EXDEV;
}

/* Create ------------------------------------------------------------------ */

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Does the kernel know how to reserve mapped memory? */
static bool can_reserve(void)
{
	return madvise(NULL, 0, MADV_POPULATE_WRITE) == 0;
}

/* The whole pages of @hole, of which we can do without; none if the kernel
 * cannot fill them later. */
static struct sb_seg_hole whole_pages(const struct sb_seg_hole *hole)
{
	size_t page = page_bytes(), from, to;

	if (!hole || !can_reserve())
		return (struct sb_seg_hole){ 0 };
	from = SB_ROUND_UP(hole->off, page);
	to = (hole->off + hole->bytes) / page * page;
	if (to <= from)
		return (struct sb_seg_hole){ 0 };
	return (struct sb_seg_hole){ .off = from, .bytes = to - from };
}

static int allocate_part(int fd, size_t off, size_t bytes)
{
	int err = 0;

	do
		if (bytes)
			err = posix_fallocate(fd, (off_t)off, (off_t)bytes);
	while (err == EINTR);
	return -err;
}

/*
 * Give the file all its memory now, but for @hole.  A signal makes the kernel
 * undo the work so far, and a fast timer would so keep a large segment from
 * ever being done: hence none are let in.
 */
static int allocate(int fd, size_t bytes, struct sb_seg_hole hole)
{
	size_t end = hole.off + hole.bytes;
	sigset_t all, before;
	int ret;

	if (!hole.bytes)
		hole.off = end = bytes;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = ftruncate(fd, (off_t)bytes) ? -errno : 0;
	if (!ret)
		ret = allocate_part(fd, 0, hole.off);
	if (!ret)
		ret = allocate_part(fd, end, bytes - end);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

/*
 * Could the machine ever hold that much?  A memfd has no limit of its own:
 * to ask for too much is to meet the OOM killer.
 */
static bool fits_machine(size_t bytes)
{
	struct sysinfo si;

	return sysinfo(&si) || bytes / si.mem_unit <=
					si.totalram + si.totalswap;
}

static int open_unnamed(void)
{
	int fd = memfd_create("shmbus", MFD_CLOEXEC | MFD_ALLOW_SEALING |
						MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* before 6.3 */
		fd = memfd_create("shmbus", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

/*
 * A file without a name, and in @lock_fd a second open() of it that holds its
 * lock.
 */
static int open_named(mode_t mode, int *lock_fd)
{
	int fd, ret;

	fd = open(DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* Whatever the umask made of 0600, we have to open it again. */
	if (fchmod(fd, 0600)) {
		ret = -errno;
		goto err_close;
	}
	*lock_fd = locks_open(fd_path_of(fd).s);
	if (*lock_fd < 0) {
		/* The file is there, so it is /proc that is not. */
		ret = *lock_fd == -ENOENT ? -ENOSYS : *lock_fd;
		goto err_close;
	}
	ret = fchmod(fd, mode) ? -errno : lock_file(*lock_fd, 0);
	if (ret < 0)
		goto err_unlock;
	return fd;

err_unlock:
	locks_close(*lock_fd);
	*lock_fd = -1;
err_close:
	close(fd);
	return ret;
}

/* Remember by which name, and which file behind it, @seg can be found again. */
static void set_name(struct sb_seg *seg, const char *name,
		     const struct stat *st)
{
	strcpy(seg->name, name);
	seg->dev = st->st_dev;
	seg->ino = st->st_ino;
}

static bool hole_is_inside(const struct sb_seg_hole *hole, size_t bytes)
{
	return !hole || (hole->off >= sizeof(struct sb_seg_header) &&
			 hole->off <= bytes &&
			 hole->bytes <= bytes - hole->off);
}

int sb_seg_create(struct sb_seg *seg, const char *name, size_t bytes,
		  const struct sb_seg_hole *hole, mode_t mode,
		  uint64_t fingerprint)
{
	struct sb_seg_hole without;
	struct stat st;
	void *base;
	int fd, ret;

	memset(seg, 0, sizeof(*seg));
	seg->lock_fd = -1;
	if (name) {
		ret = check_name(name);
		if (ret)
			return ret;
		if ((mode & 0600) != 0600 || (mode & ~(mode_t)0664))
			return -EINVAL;
	}
	if (bytes < sizeof(struct sb_seg_header) ||
	    !hole_is_inside(hole, bytes))
		return -EINVAL;
	if ((uintmax_t)bytes > PTRDIFF_MAX)
		return -EFBIG;
	without = whole_pages(hole);
	if (!fits_machine(bytes - without.bytes))
		return -ENOMEM;
	ret = locks_init();
	if (ret)
		return ret;

	fd = name ? open_named(mode, &seg->lock_fd) : open_unnamed();
	if (fd < 0)
		return fd;
	ret = allocate(fd, bytes, without);
	if (!ret && fstat(fd, &st))
		ret = -errno;
	if (ret)
		goto err_close;
	if (!name && fcntl(fd, F_ADD_SEALS,
			   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		ret = -errno;
		goto err_close;
	}
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		ret = -errno;
		goto err_close;
	}
	close(fd);

	fill_header(base, bytes, fingerprint);
	seg->base = base;
	seg->bytes = bytes;
	seg->lazy = without.bytes > 0;
	seg->fork_gen = sb_fork_gen;
	if (name)
		set_name(seg, name, &st);
	return 0;

err_close:
	close(fd);
	if (seg->lock_fd >= 0)
		locks_close(seg->lock_fd);
	seg->lock_fd = -1;
	return ret;
}

int sb_seg_reserve(const struct sb_seg *seg, size_t off, size_t len_bytes)
{
	size_t page = page_bytes(), from = off / page * page;
	unsigned char *base = seg->base;

	if (off > seg->bytes || len_bytes > seg->bytes - off)
		return -EINVAL;
	if (!seg->lazy || !len_bytes)
		return 0;
	len_bytes += off - from;
	while (madvise(base + from, len_bytes, MADV_POPULATE_WRITE)) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		/* A touch would have been a SIGBUS: the file system, or the
		 * group that we belong to, has no more. */
		return errno == EFAULT ? -ENOSPC : -errno;
	}
	return 0;
}

void sb_seg_release(const struct sb_seg *seg, size_t off, size_t len_bytes)
{
	size_t page = page_bytes(), from, to;

	if (!seg->lazy || off > seg->bytes || len_bytes > seg->bytes - off)
		return;
	from = SB_ROUND_UP(off, page);
	to = (off + len_bytes) / page * page;
	/* It may fail, and then the memory stays: nobody minds. */
	if (from < to)
		(void)madvise((unsigned char *)seg->base + from, to - from,
			      MADV_REMOVE);
}

/* Give the file of @fd the name @path.  Returns 0 or -errno (-EEXIST). */
static int link_fd(int fd, const char *path)
{
	/* Kernels before 6.10 let only root do it this way. */
	if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno == EEXIST)
		return -EEXIST;
	return linkat(AT_FDCWD, fd_path_of(fd).s, AT_FDCWD, path,
		      AT_SYMLINK_FOLLOW)
		       ? -errno
		       : 0;
}

/* Did this very process create the named segment? */
static bool is_creator(const struct sb_seg *seg)
{
	return seg->name[0] && seg->lock_fd >= 0 &&
	       seg->fork_gen == sb_fork_gen;
}

int sb_seg_publish(struct sb_seg *seg)
{
	struct path path;
	int ret = -EEXIST;

	if (!seg->base)
		return -EINVAL;
	if (!seg->name[0])
		return 0;
	if (!is_creator(seg))
		return -EINVAL;
	path = path_of(seg->name);
	for (int i = 0; i < PUBLISH_TRIES; i++) {
		ret = link_fd(seg->lock_fd, path.s);
		if (ret != -EEXIST)
			return ret;
		ret = remove_leftover(path.s, true);
		if (ret == -EBUSY)
			return -EEXIST;
		if (ret && ret != -ENOENT)
			return ret;
	}
	return -EEXIST;
}

/* Open -------------------------------------------------------------------- */

/* May it be opened, being of a creator that lives or is dead?  0 or -errno. */
static int check_creator(int fd, uint32_t flags)
{
	int lives = creator_lives(fd);

	if (lives < 0)
		return lives;
	if (flags & SB_SEG_ORPHAN)
		return lives ? -EBUSY : 0;
	return lives ? 0 : -EOWNERDEAD;
}

int sb_seg_open(struct sb_seg *seg, const char *name, uint64_t fingerprint,
		uint32_t flags)
{
	struct sb_seg_header h;
	struct path path;
	struct stat st;
	void *base;
	ssize_t n;
	int fd, ret;

	memset(seg, 0, sizeof(*seg));
	seg->lock_fd = -1;
	if (flags & ~(SB_SEG_ANY_OWNER | SB_SEG_ORPHAN))
		return -EINVAL;
	ret = check_name(name);
	if (ret)
		return ret;
	sb_proc_init();

	path = path_of(name);
	fd = open(path.s,
		  O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
		return -EPROTO;
	if (fd < 0)
		return errno == EACCES ? -EPERM : -errno;
	ret = -EPROTO;
	if (fstat(fd, &st)) {
		ret = -errno;
		goto out;
	}
	if (!S_ISREG(st.st_mode))
		goto out;
	if ((st.st_uid != geteuid() && !(flags & SB_SEG_ANY_OWNER)) ||
	    (st.st_mode & S_IWOTH)) {
		ret = -EPERM;
		goto out;
	}

	/* read(2), not the mapping: a copy that nobody can change under us,
	 * and no SIGBUS where the file is too short. */
	do
		n = pread(fd, &h, sizeof(h), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		ret = -errno;
		goto out;
	}
	if (n != sizeof(h) || (uintmax_t)st.st_size > PTRDIFF_MAX)
		goto out;
	ret = check_header(&h, (uint64_t)st.st_size, fingerprint);
	if (!ret)
		ret = check_creator(fd, flags);
	if (ret)
		goto out;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		ret = -errno;
		goto out;
	}
	seg->base = base;
	seg->bytes = (size_t)st.st_size;
	/* Its creator runs on this kernel, too, and may have left a hole. */
	seg->lazy = can_reserve();
	seg->fork_gen = sb_fork_gen;
	set_name(seg, name, &st);
	ret = 0;
out:
	close(fd);
	return ret;
}

void sb_seg_close(struct sb_seg *seg)
{
	if (!seg || !seg->base)
		return;
	/* In a forked child the lock is closed already and its number may be
	 * somebody else's file; the name is the parent's. */
	if (is_creator(seg)) {
		unlink_locked(path_of(seg->name).s, seg->lock_fd);
		locks_close(seg->lock_fd);
	}
	munmap(seg->base, seg->bytes);
	memset(seg, 0, sizeof(*seg));
	seg->lock_fd = -1;
}

static bool is_file_of(const struct sb_seg *seg, const struct stat *st)
{
	/* We have it mapped, so no other can have its number. */
	return st->st_dev == seg->dev && st->st_ino == seg->ino;
}

int sb_seg_where(const struct sb_seg *seg)
{
	struct path path;
	struct stat st;
	int fd, ret;

	if (!seg->name[0])
		return SB_SEG_UNNAMED;
	path = path_of(seg->name);
	/* Only what is ours is opened: another's file may do anything. */
	if (lstat(path.s, &st))
		return errno == ENOENT ? SB_SEG_GONE : -errno;
	if (!is_file_of(seg, &st))
		return SB_SEG_REPLACED;
	fd = open(path.s,
		  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? SB_SEG_GONE : -errno;
	if (fstat(fd, &st)) {
		ret = -errno;
	} else if (!is_file_of(seg, &st)) {
		ret = SB_SEG_REPLACED;
	} else {
		ret = creator_lives(fd);
		if (ret >= 0)
			ret = ret ? SB_SEG_LIVE : SB_SEG_ORPHANED;
	}
	close(fd);
	return ret;
}

int sb_seg_unlink(const char *name)
{
	int ret = check_name(name);

	if (ret)
		return ret;
	ret = locks_init();
	if (ret)
		return ret;
	return remove_leftover(path_of(name).s, false);
}
