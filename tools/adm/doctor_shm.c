/*
 * doctor_shm.c - /dev/shm: is it there, is there room, who takes things away?
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/proc.h"
#include "tools/adm/doctor.h"
#include "tools/adm/find.h"
#include "tools/adm/text.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What a bus with default settings takes on this kernel when it is made. */
static uint64_t bus_bytes(void)
{
	uint64_t memory, file;

	doctor_default_bus(&memory, &file);
	return madvise(NULL, 0, MADV_POPULATE_WRITE) == 0 ? memory : file;
}

#define LARGER                                                                 \
	"mount -o remount,size=1G " FIND_DIR "; docker run --shm-size=1g; in " \
	"Kubernetes an emptyDir of medium Memory there"

static void kind(struct doctor *d, const struct statfs *fs)
{
	struct stat st;
	int fd = open(FIND_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (fd < 0) {
		doctor_say(d, DOCTOR_WARNING, FIND_DIR,
			   "no file can be made there (%s): no bus can have a "
			   "name",
			   strerror(error));
		doctor_remedy(d, "%s.",
			      error == EOPNOTSUPP
				      ? "It has to be a tmpfs: mount -t tmpfs "
					"-o mode=1777 tmpfs " FIND_DIR
			      : error == EROFS ? "mount -o remount,rw " FIND_DIR
			      : error == EACCES ? "chmod 1777 " FIND_DIR
						: "Make it possible");
	} else if (fs->f_type != TMPFS_MAGIC) {
		doctor_say(d, DOCTOR_WARNING, FIND_DIR,
			   "is no tmpfs: messages may go to a disk");
		doctor_remedy(d, "mount -t tmpfs -o mode=1777 tmpfs " FIND_DIR
				 ".");
	} else if (stat(FIND_DIR, &st) == 0 && st.st_mode & S_IWOTH &&
		   !(st.st_mode & S_ISVTX)) {
		doctor_say(d, DOCTOR_WARNING, FIND_DIR,
			   "anybody may remove what others have there");
		doctor_remedy(d, "chmod +t " FIND_DIR ".");
	} else {
		doctor_say(d, DOCTOR_OK, FIND_DIR, "is a tmpfs, open to us");
	}
}

static void room(struct doctor *d, const struct statfs *fs)
{
	uint64_t total = (uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize;
	uint64_t left = (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize;
	uint64_t one = bus_bytes(), n = left / one;
	char text[3][32];

	text_bytes(text[0], sizeof(text[0]), left);
	text_bytes(text[1], sizeof(text[1]), total);
	text_bytes(text[2], sizeof(text[2]), one);
	if (!fs->f_blocks) {
		doctor_say(d, DOCTOR_OK, "room there",
			   "as much as there is memory");
		return;
	}
	doctor_say(d,
		   n < 1   ? DOCTOR_WARNING
		   : n < 8 ? DOCTOR_NOTE
			   : DOCTOR_OK,
		   "room there",
		   "%s of %s free, and a bus with default settings takes %s at "
		   "first",
		   text[0], text[1], text[2]);
	if (n < 1)
		doctor_remedy(d, "bus_create() says ENOSPC: " LARGER
				 "; or make blob_bytes and max_message_bytes "
				 "of struct bus_config smaller.");
	else if (n < 8)
		doctor_remedy(d, "64 MiB is what containers have by default. "
				 "Larger: " LARGER ".");
	if (fs->f_files && fs->f_ffree < 16) {
		doctor_say(d, DOCTOR_WARNING, "inodes there",
			   "%" PRIu64 " left: no more files can be made",
			   (uint64_t)fs->f_ffree);
		doctor_remedy(d, "Remove what is not needed, or mount -o "
				 "remount,nr_inodes=1M " FIND_DIR ".");
	}
}

static void group(struct doctor *d)
{
	uint64_t most = doctor_group_limit("memory.max", "memory",
					   "memory.limit_in_bytes");
	uint64_t one = bus_bytes();
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	char text[2][32];

	if (pages > 0 && most >= (uint64_t)pages * (uint64_t)page) {
		doctor_say(d, DOCTOR_OK, "memory",
			   "no limit but the machine's");
		return;
	}
	text_bytes(text[0], sizeof(text[0]), most);
	text_bytes(text[1], sizeof(text[1]), one);
	doctor_say(d, most < 4 * one ? DOCTOR_NOTE : DOCTOR_OK, "memory",
		   "%s for this control group, buses included%s%s", text[0],
		   most < 4 * one ? "; one with default settings takes " : "",
		   most < 4 * one ? text[1] : "");
	if (most < 4 * one)
		doctor_remedy(d, "When it is used up the kernel kills somebody "
				 "of the group: raise memory.max (docker run "
				 "--memory; MemoryMax= of a systemd unit), or "
				 "make blob_bytes smaller.");
}

/* Buses that are there ------------------------------------------------------ */

struct tally {
	unsigned n, n_left, n_abroad; /* leftovers, of other namespaces */
	uint64_t bytes, left_bytes;
};

static bool is_abroad(const struct sb_seg_header *h)
{
	uint64_t pid_ns = sb_proc_pid_ns(), time_ns = sb_proc_time_ns();

	return (h->pid_ns && pid_ns && h->pid_ns != pid_ns) ||
	       (h->time_ns && time_ns && h->time_ns != time_ns);
}

/* Headers only: a dead creator's file has no lock, see lib/seg.c. */
static void add(struct tally *t, int dir, const char *name)
{
	struct flock first = { .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_len = 1 };
	struct sb_seg_header h;
	struct stat st;
	int fd = openat(dir, name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
				O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    pread(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) &&
	    h.magic == SB_SEG_MAGIC) {
		t->n++;
		t->bytes += (uint64_t)st.st_blocks * 512;
		t->n_abroad += is_abroad(&h);
		if (fcntl(fd, F_OFD_GETLK, &first) == 0 &&
		    first.l_type == F_UNLCK) {
			t->n_left++;
			t->left_bytes += (uint64_t)st.st_blocks * 512;
		}
	}
	close(fd);
}

static void buses(struct doctor *d)
{
	const char *prefix = strrchr(FIND_PREFIX, '/') + 1;
	DIR *dp = opendir(FIND_DIR);
	struct tally t = { 0 };
	char text[2][32];
	struct dirent *e;

	while (dp && (e = readdir(dp)) != NULL)
		if (!strncmp(e->d_name, prefix, strlen(prefix)))
			add(&t, dirfd(dp), e->d_name);
	if (dp)
		closedir(dp);
	text_bytes(text[0], sizeof(text[0]), t.bytes);
	text_bytes(text[1], sizeof(text[1]), t.left_bytes);
	if (t.n_left) {
		doctor_say(d, DOCTOR_NOTE, "buses there",
			   "%u, of %s; killed creators have left %u of them, "
			   "of %s",
			   t.n, text[0], t.n_left, text[1]);
		doctor_remedy(d, "busadm gc removes what nobody needs of it.");
	} else {
		doctor_say(d, DOCTOR_OK, "buses there",
			   t.n ? "%u, of %s" : "none", t.n, text[0]);
	}
	if (t.n_abroad) {
		doctor_say(d, DOCTOR_NOTE, "buses abroad",
			   "%u of them are of other pid or time namespaces, "
			   "and cannot be opened from here (EXDEV)",
			   t.n_abroad);
		doctor_remedy(d, "Processes that share a bus run in one pid "
				 "namespace (docker run --pid=container:NAME; "
				 "shareProcessNamespace in Kubernetes).");
	}
}

/* systemd-logind ------------------------------------------------------------ */

/* It leaves system users alone; 999 is where others begin, as a rule. */
#define SYSTEM_UID_MAX 999

static void logind(struct doctor *d)
{
	const struct passwd *pw = getpwuid(geteuid());
	const char *user = pw ? pw->pw_name : "this user";
	char path[300];

	if (access("/run/systemd/system", F_OK) || /* sd_booted(3) */
	    access("/run/systemd/users", F_OK)) {
		doctor_say(d, DOCTOR_OK, "RemoveIPC",
			   "no systemd-logind is at work");
		return;
	}
	if (!doctor_removes_ipc("")) {
		doctor_say(d, DOCTOR_OK, "RemoveIPC",
			   "is no: systemd-logind removes nothing");
		return;
	}
	if (geteuid() <= SYSTEM_UID_MAX) {
		doctor_say(d, DOCTOR_OK, "RemoveIPC",
			   "is yes, which does not matter to %.60s, a user of "
			   "the system",
			   user);
		return;
	}
	snprintf(path, sizeof(path), "/var/lib/systemd/linger/%.200s", user);
	if (!access(path, F_OK)) {
		doctor_say(d, DOCTOR_OK, "RemoveIPC",
			   "is yes, but %.60s may linger", user);
		return;
	}
	doctor_say(d, DOCTOR_WARNING, "RemoveIPC",
		   "is yes: when the last session of %.60s ends, "
		   "systemd-logind removes all buses of his in " FIND_DIR,
		   user);
	doctor_remedy(d,
		      "loginctl enable-linger %.60s, RemoveIPC=no in "
		      "/etc/systemd/logind.conf, or a system user for the "
		      "service.",
		      user);
}

void doctor_shm(struct doctor *d)
{
	struct statfs fs;

	if (statfs(FIND_DIR, &fs)) {
		doctor_say(d, DOCTOR_WARNING, FIND_DIR,
			   "%s: no bus can have a name", strerror(errno));
		doctor_remedy(d, "mkdir -p " FIND_DIR "; mount -t tmpfs -o "
				 "mode=1777 tmpfs " FIND_DIR ".");
	} else {
		kind(d, &fs);
		room(d, &fs);
		buses(d);
	}
	group(d);
	logind(d);
}
