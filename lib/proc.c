/*
 * proc.c - processes: fork, identity, proof of death
 *
 * What counts as proof that a process is dead:
 *
 *	- the kernel says that there is no such pid (kill, pidfd_open: ESRCH),
 *	- the pid is a mere thread of somebody else now,
 *	- whoever has the pid started at another time,
 *	- its pidfd is readable: it is a zombie, or was reaped.
 *
 * That /proc/PID cannot be read proves nothing: /proc may be missing, or
 * mounted with hidepid.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/proc.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on every arch */
#endif
#ifndef P_PIDFD
#define P_PIDFD ((idtype_t)3) /* linux/wait.h; glibc has it since 2.36 */
#endif

uint32_t sb_fork_gen;
uint32_t sb_forks_made;

static void count_fork(void)
{
	sb_fork_gen++;
	sb_forks_made = 0;
}

/* Before the fork: afterwards the child may be faster than we. */
static void count_fork_made(void)
{
	sb_forks_made++;
}

static void register_handler(void)
{
	/* Fails only for want of a few bytes, and then so will all else. */
	(void)pthread_atfork(count_fork_made, NULL, count_fork);
}

void sb_proc_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_handler);
}

/* What we want to know of /proc/PID/stat. */
struct stat_line {
	char state;
	long n_threads;
	uint64_t start_time;
};

/* The 1-based field @n of a line whose third field @s points to. */
static const char *field(const char *s, int n)
{
	for (int i = 3; s && i < n; i++) {
		s = strchr(s, ' ');
		if (s)
			s++;
	}
	return s;
}

/*
 * With a dot in it: to its programs qemu-user makes up the files of /proc/self
 * and of their own pid, and then a forked child would tell another start time
 * than everybody else reads, which is proof that it is dead.
 */
#define PROC "/proc/./"

static int read_stat(const char *path, struct stat_line *out)
{
	/* About 52 numbers; the longest seen are near 400 bytes. */
	char buf[2048];
	const char *s, *threads, *start;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do
		n = read(fd, buf, sizeof(buf) - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		int err = -errno; /* -ESRCH when it died since open() */

		close(fd);
		return err;
	}
	close(fd);
	buf[n] = '\0';

	/* The second field is the program's name in parentheses, and may
	 * itself contain both blanks and parentheses. */
	s = strrchr(buf, ')');
	if (!s || s[1] != ' ')
		return -EPROTO;
	s += 2;
	threads = field(s, 20);
	start = field(s, 22);
	if (!start)
		return -EPROTO;
	out->state = *s;
	out->n_threads = strtol(threads, NULL, 10);
	out->start_time = strtoull(start, NULL, 10);
	return 0;
}

static int read_stat_of(uint32_t pid, struct stat_line *out)
{
	char path[sizeof(PROC "4294967295/stat")] = PROC;
	char digits[10];
	size_t n = 0, at = sizeof(PROC) - 1;

	do
		digits[n++] = (char)('0' + pid % 10);
	while (pid /= 10);
	while (n)
		path[at++] = digits[--n];
	memcpy(path + at, "/stat", sizeof("/stat"));
	return read_stat(path, out);
}

struct sb_proc_id sb_proc_self(void)
{
	struct sb_proc_id id = { .pid = (uint32_t)getpid() };
	struct stat_line st;

	if (read_stat(PROC "self/stat", &st) == 0)
		id.start_time = st.start_time;
	return id;
}

struct sb_proc_id sb_proc_of(pid_t pid)
{
	struct sb_proc_id id = { .pid = (uint32_t)pid };
	struct stat_line st;

	if (read_stat_of(id.pid, &st) == 0)
		id.start_time = st.start_time;
	return id;
}

static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_ino;
}

uint64_t sb_proc_pid_ns(void)
{
	return inode_of("/proc/self/ns/pid");
}

uint64_t sb_proc_time_ns(void)
{
	return inode_of("/proc/self/ns/time"); /* since Linux 5.6 */
}

static int pidfd_open(uint32_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0u);

	if (fd >= 0)
		return fd; /* always CLOEXEC */
	/* The pid exists, but only as a thread that leads no process: ours
	 * is gone.  Older kernels say EINVAL to that, newer ones ENOENT. */
	if (errno == EINVAL || errno == ENOENT)
		return -ESRCH;
	return -errno;
}

/* A pidfd becomes readable when the last thread has ended.  Also that of a
 * zombie that nobody has reaped, and without /proc. */
static bool pidfd_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static bool valid_pid(uint32_t pid)
{
	return pid > 0 && pid <= INT_MAX;
}

int sb_proc_open(struct sb_proc_id id)
{
	struct stat_line st;
	int fd, ret;

	if (!valid_pid(id.pid))
		return -EINVAL;
	fd = pidfd_open(id.pid);
	if (fd < 0)
		return fd;

	/* Look at the start time first and for the end afterwards: so if it
	 * has not ended, that line was of the process that fd refers to. */
	ret = id.start_time ? read_stat_of(id.pid, &st) : 0;
	if (pidfd_ended(fd))
		ret = -ESRCH;
	else if (ret == 0 && id.start_time && st.start_time != id.start_time)
		ret = -ESRCH;
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

/* Has whoever has the pid ended?  Then so have all who had it before. */
static bool has_ended(uint32_t pid)
{
	int fd = pidfd_open(pid);
	bool ended;

	if (fd < 0)
		return fd == -ESRCH;
	ended = pidfd_ended(fd);
	close(fd);
	return ended;
}

bool sb_proc_dead(struct sb_proc_id id)
{
	struct stat_line st;

	if (!valid_pid(id.pid))
		return false;
	if (kill((pid_t)id.pid, 0) && errno == ESRCH)
		return true;
	if (read_stat_of(id.pid, &st))
		return has_ended(id.pid);
	if (id.start_time && st.start_time != id.start_time)
		return true;
	/* A zombie with threads is only a main thread that ended early. */
	return (st.state == 'Z' || st.state == 'X') && st.n_threads <= 1;
}

/* Of a child of sb_proc_fork(): who forked it. */
static pid_t forked_by;

void sb_proc_die_with_parent(void)
{
	/* If the parent died before the prctl no signal will come. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != forked_by) {
		kill(getpid(), SIGKILL);
		_exit(1);
	}
}

int sb_proc_fork(struct sb_proc *p, int (*fn)(void *arg), void *arg)
{
	pid_t parent = getpid();
	pid_t child;
	int fd;

	sb_proc_init();
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		forked_by = parent;
		sb_proc_die_with_parent();
		_exit(fn(arg));
	}

	fd = pidfd_open((uint32_t)child);
	if (fd < 0) {
		/* With SIGCHLD ignored it may be gone, and its pid with it. */
		if (fd != -ESRCH)
			kill(child, SIGKILL);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		return fd;
	}
	p->pid = child;
	p->pidfd = fd;
	return 0;
}

int sb_proc_reap(struct sb_proc *p, struct sb_proc_exit *how)
{
	struct sb_proc_exit end = { .exit_status = -1 };
	siginfo_t si;

	if (p->pidfd < 0)
		return -ECHILD;
	memset(&si, 0, sizeof(si)); /* si_pid stays 0 while it lives */
	if (waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG)) {
		if (errno != ECHILD)
			return -errno;
		/* Reaped by somebody else, or not our child: forked away. */
		if (!pidfd_ended(p->pidfd))
			return -EAGAIN;
	} else if (si.si_pid == 0) {
		return -EAGAIN;
	} else if (si.si_code == CLD_EXITED) {
		end.exit_status = si.si_status;
	} else {
		end.signal = si.si_status;
	}
	close(p->pidfd);
	p->pidfd = -1;
	if (how)
		*how = end;
	return 0;
}

int sb_proc_kill(const struct sb_proc *p, int sig)
{
	return syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) ? -errno
								      : 0;
}
