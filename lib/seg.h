/*
 * seg.h - a piece of memory that processes share
 *
 * A segment is either named (a POSIX shared memory object that others open by
 * its name) or unnamed (a memfd, inherited over fork).  It is built invisible
 * and then published, so nobody ever sees half of one.
 *
 * The creator owns the name: it holds a lock on the object for as long as it
 * lives, and removes the name when it closes.  A creator that was killed
 * leaves name and memory behind, but not the lock; that is how the next
 * creator knows, without a guess about time, that it may replace them; and how
 * who opens the name knows that nobody will go on with it.  Who has it mapped
 * keeps the memory, whatever becomes of creator and name, and can ask what
 * did.  The lock does not pass to forked children: they neither keep it alive
 * nor own the name.
 *
 * An unnamed segment cannot change its size.  A named one can be truncated by
 * whoever may write it, which makes others that touch it get SIGBUS: that is
 * why its mode should let in only those whom one trusts.
 */
#ifndef SB_SEG_H
#define SB_SEG_H

#include <sys/types.h>

#include "lib/def.h"

#define SB_SEG_MAGIC     UINT64_C(0x0a7375626d687301) /* \1shmbus\n, little endian */
#define SB_SEG_ABI       2u
#define SB_SEG_NAME_MAX  200 /* of the name that users give, without prefix */

/*
 * The first bytes of every segment.  Written by the creator before it
 * publishes, never afterwards; read once by whoever opens it.
 */
struct sb_seg_header {
	uint64_t magic;       /* SB_SEG_MAGIC; also tells the byte order */
	uint32_t abi;         /* SB_SEG_ABI */
	uint32_t header_bytes; /* sizeof(struct sb_seg_header) */
	uint64_t bytes;       /* of the whole segment */
	uint64_t fingerprint; /* of the layout that the creator was built with */
	uint64_t pid_ns;      /* inode of the creator's pid namespace, 0 unknown */
	uint64_t time_ns;     /* the same of its time namespace */
	uint64_t checksum;    /* of the fields above */
	uint64_t reserved;    /* 0 */
};
static_assert(sizeof(struct sb_seg_header) == 64, "segment header");

/* Of what lies before the checksum: against damage and strangers, not against
 * malice. */
uint64_t sb_seg_checksum(const struct sb_seg_header *h);

/* One mapping of a segment in this process. */
struct sb_seg {
	void *base;
	size_t bytes;
	int lock_fd; /* creator of a named segment: holds the lock; else -1 */
	bool lazy;   /* sb_seg_reserve() has work to do */
	uint32_t fork_gen; /* of the process that made this mapping */
	char name[SB_SEG_NAME_MAX + 1]; /* "" when unnamed */
	dev_t dev; /* of a named one: the file that the name led to */
	ino_t ino;
};

/* Bytes of a segment that have no memory until sb_seg_reserve(). */
struct sb_seg_hole {
	size_t off, bytes;
};

/*
 * sb_seg_create - map @bytes of new zeroed memory that nobody else can see yet
 * @name: NULL for an unnamed segment
 * @hole: NULL for none
 * @mode: permissions of a named one; the umask does not matter
 *
 * The memory is reserved before it is mapped (-ENOSPC here, not SIGBUS later)
 * and the header filled in.  An unnamed segment is sealed against resizing.
 *
 * A hole may be larger than the machine; nobody may touch it, not even to
 * read, before he has reserved that part.  Where the kernel cannot reserve a
 * part later (before 5.14) the hole is filled here.
 *
 * Returns 0, or
 *   -EINVAL        the name is empty, or has a '/' or a control character, or
 *                  starts with '.'; @mode keeps the owner out, or lets
 *                  everybody write, or has other bits than rw; @bytes is less
 *                  than the header; @hole is not inside, or has the header
 *   -ENAMETOOLONG  it has more than SB_SEG_NAME_MAX bytes
 *   -ENOMEM        also when @bytes without @hole is more than the machine has
 *   -ENOSYS        a named one needs /proc, and there is none
 *   -ENOSPC, -ENOMEM, -EMFILE, -EFBIG, ... from the kernel.  Where RLIMIT_FSIZE
 *                  is the reason (-EFBIG) it also sends SIGXFSZ.
 */
int sb_seg_create(struct sb_seg *seg, const char *name, size_t bytes,
		  const struct sb_seg_hole *hole, mode_t mode,
		  uint64_t fingerprint);

/*
 * sb_seg_reserve - see to it that these bytes can be touched
 *
 * Who: any process that has @seg mapped, at any time; what has memory keeps
 * it.  Pages are reserved whole.  Returns 0, or -ENOSPC or -ENOMEM when there
 * is no memory (part of it may have been reserved), or -EINVAL for bytes that
 * are not in the segment.
 */
int sb_seg_reserve(const struct sb_seg *seg, size_t off, size_t len_bytes);

/*
 * sb_seg_release - give the memory of these bytes back; what was there is lost
 *
 * For a part of the hole that nobody uses.  Only pages that are inside it go;
 * to touch them again takes another reserve.  Does nothing where reserve does
 * nothing.
 */
void sb_seg_release(const struct sb_seg *seg, size_t off, size_t len_bytes);

/*
 * sb_seg_publish - let others open it (nothing to do for an unnamed one)
 *
 * Replaces the leftover of a creator that is dead.  Returns 0, or -EEXIST
 * when a live creator has that name, or -EACCES when the name is somebody
 * else's file or no regular file, or -EINVAL in a process that did not create
 * @seg.  After an error @seg is as before; the caller closes it.
 */
int sb_seg_publish(struct sb_seg *seg);

/* Accept a segment that belongs to another user (see sb_seg_open). */
#define SB_SEG_ANY_OWNER 1u
/* One whose creator is dead, and no other. */
#define SB_SEG_ORPHAN 2u

/*
 * sb_seg_open - map a published segment
 *
 * Returns 0, or
 *   -ENOENT  no such name
 *   -EPERM   it belongs to another user, or we may not open it, or anybody
 *            may write it (SB_SEG_ANY_OWNER lifts the first of these)
 *   -EPROTO  it is no segment of ours, or was built with another layout, or
 *            its size is not what it says
 *   -EXDEV   its creator lives in another pid namespace, or in another time
 *            namespace, where start times are other numbers: so that neither
 *            could tell whether the other is alive
 *   -EOWNERDEAD  its creator is dead (with SB_SEG_ORPHAN -EBUSY: it lives)
 *   -EINVAL, -ENAMETOOLONG as above; others from the kernel
 */
int sb_seg_open(struct sb_seg *seg, const char *name, uint64_t fingerprint,
		uint32_t flags);

/* Unmap.  In the process that created it, also remove the name.  NULL is ok,
 * and so is a struct that was zeroed or closed before. */
void sb_seg_close(struct sb_seg *seg);

/*
 * sb_seg_where - where does the name lead now that @seg was mapped by?
 *
 * Who: any process that has @seg mapped, also a forked child.  Some system
 * calls.  Returns one of enum sb_seg_where, or -errno when that could not be
 * found out (-EMFILE, -EACCES, ...).
 */
enum sb_seg_where {
	SB_SEG_UNNAMED,  /* it has none */
	SB_SEG_LIVE,     /* here, and the creator lives */
	SB_SEG_ORPHANED, /* here, and the creator is dead */
	SB_SEG_GONE,     /* nowhere */
	SB_SEG_REPLACED  /* to another file */
};
int sb_seg_where(const struct sb_seg *seg);

/*
 * sb_seg_unlink - remove the leftover of a dead creator
 *
 * Returns 0, -ENOENT, -EBUSY when its creator is alive, -EACCES when it is no
 * regular file or we may not open it, or another -errno.  A publish that runs
 * at the same instant may find it locked and say -EEXIST.
 */
int sb_seg_unlink(const char *name);

#endif
