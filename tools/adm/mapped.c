/*
 * mapped.c - who has a file of /dev/shm mapped, as far as we may know
 *
 * The processes are looked at one after the other, and a child that is forked
 * meanwhile is seen later, as its pid is higher.  Where pids have begun again
 * from low ones it can be missed, if its parent ended before we came to him.
 * Whoever is missed keeps the memory all the same; it is only its name that is
 * gone.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "lib/proc.h"
#include "tools/adm/mapped.h"
#include "tools/adm/process.h"

/* Its inode, in linux/proc_ns.h of the kernel. */
#define FIRST_PID_NS UINT64_C(0xeffffffc)

bool mapped_sees_all(void)
{
	return sb_proc_pid_ns() == FIRST_PID_NS;
}

/* A clock that was set back meanwhile by more makes a child look too old. */
#define SLACK_NS (60 * INT64_C(1000000000))

int mapped_init(struct mapped *m, int fd)
{
	struct statx born;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*m = (struct mapped){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.mode = st.st_mode,
		.made_ns = INT64_MIN,
	};
	/* tmpfs knows it since 5.19 */
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &born) == 0 &&
	    born.stx_mask & STATX_BTIME)
		m->made_ns = born.stx_btime.tv_sec * INT64_C(1000000000) +
			     born.stx_btime.tv_nsec;
	return 0;
}

/* Put @pid in a list of so many; those behind its end are only counted. */
static void note(pid_t *list, size_t *n, pid_t pid)
{
	for (size_t i = 0; i < *n && i < MAPPED_PIDS; i++)
		if (list[i] == pid)
			return;
	if (*n < MAPPED_PIDS)
		list[*n] = pid;
	++*n;
}

void mapped_add(struct mapped *m, pid_t pid)
{
	note(m->pid, &m->n, pid);
}

/* "7f5e9c000000-7f5edc400000 rw-s 00000000 00:19 1234   /dev/shm/shmbus.x" */
bool mapped_line(const char *line, dev_t *dev, ino_t *ino)
{
	unsigned major, minor;
	unsigned long n;

	if (sscanf(line, "%*s %*s %*s %x:%x %lu", &major, &minor, &n) != 3)
		return false;
	*dev = makedev(major, minor);
	*ino = n;
	return n != 0;
}

/* One of the numbers that stand behind @key on a line of its own. */
static bool has_number(const char *status, const char *key, unsigned long which)
{
	const char *at = status;
	size_t len = strlen(key);
	char *end;

	while (strncmp(at, key, len)) {
		at = strchr(at, '\n');
		if (!at)
			return false;
		at++;
	}
	for (at += len; *at == ' ' || *at == '\t'; at = end) {
		unsigned long n = strtoul(at, &end, 10);

		if (end == at)
			break;
		if (n == which)
			return true;
	}
	return false;
}

/* Ids of any kind count, effective, saved and so on. */
bool mapped_may_open(const struct mapped *m, const char *status)
{
	if (!m->ino)
		return false;
	if (has_number(status, "Uid:", m->uid))
		return true;
	return m->mode & 0060 && (has_number(status, "Gid:", m->gid) ||
				  has_number(status, "Groups:", m->gid));
}

bool mapped_is_younger(const struct mapped *m, int64_t boot_ns,
		       int64_t began_ns)
{
	return m->made_ns == INT64_MIN ||
	       boot_ns + began_ns > m->made_ns - SLACK_NS;
}

/* -------------------------------------------------------------- processes -- */

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Since boot; 0, the oldest of all, when that is not to be known. */
static int64_t began_ns(pid_t pid)
{
	long hz = sysconf(_SC_CLK_TCK);
	struct process p;

	process_read(&p, pid, 0);
	return (int64_t)p.start_time *
	       (INT64_C(1000000000) / (hz > 0 ? hz : 100));
}

/* Its maps are closed to us. */
static void look_at_status(struct mapped *m, size_t n, pid_t pid)
{
	int64_t boot = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_BOOTTIME);
	char path[64], status[8192];
	size_t len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return; /* it has ended, or is one that is_blind knows */
	len = fread(status, 1, sizeof(status) - 1, f);
	fclose(f);
	status[len] = '\0';
	for (size_t i = 0; i < n; i++)
		if (mapped_may_open(&m[i], status) &&
		    mapped_is_younger(&m[i], boot, began_ns(pid)))
			note(m[i].hidden, &m[i].n_hidden, pid);
}

/* Lines read, or -errno. */
static long look_at_maps(struct mapped *m, size_t n, const char *path,
			 pid_t pid)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	long n_lines = 0;
	dev_t dev;
	ino_t ino;

	if (!f)
		return -errno;
	errno = 0;
	for (; getline(&line, &room, f) > 0; n_lines++) {
		if (!mapped_line(line, &dev, &ino))
			continue;
		for (size_t i = 0; i < n; i++)
			if (m[i].ino == ino && m[i].dev == dev)
				mapped_add(&m[i], pid);
	}
	if (ferror(f))
		n_lines = -errno;
	free(line);
	fclose(f);
	return n_lines;
}

/* The first thread has ended, and with it its maps; others may have them. */
static void look_at_threads(struct mapped *m, size_t n, pid_t pid)
{
	char path[96];
	struct dirent *d;
	DIR *dp;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dp = opendir(path);
	while (dp && (d = readdir(dp)) != NULL) {
		int tid = atoi(d->d_name);

		if (tid <= 0 || tid == pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", (int)pid,
			 tid);
		if (look_at_maps(m, n, path, pid) > 0)
			break;
	}
	if (dp)
		closedir(dp);
}

static void look_at_process(struct mapped *m, size_t n, pid_t pid)
{
	char path[64];
	long n_lines;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	n_lines = look_at_maps(m, n, path, pid);
	if (n_lines == -EACCES || n_lines == -EPERM)
		look_at_status(m, n, pid);
	else if (n_lines == 0)
		look_at_threads(m, n, pid);
}

int mapped_find(struct mapped *m, size_t n)
{
	/* Where /proc is mounted with hidepid others' are not even there. */
	bool hides = access("/proc/1/stat", F_OK) != 0;
	struct dirent *d;
	DIR *dp = opendir("/proc");

	if (!dp)
		return -errno;
	for (size_t i = 0; i < n; i++)
		m[i].is_blind =
			hides && (m[i].uid != geteuid() || m[i].mode & 0060);
	while ((d = readdir(dp)) != NULL)
		if (d->d_name[0] >= '0' && d->d_name[0] <= '9')
			look_at_process(m, n, atoi(d->d_name));
	closedir(dp);
	return 0;
}
