/*
 * guard.c - whatever ends a run, nothing of it is left; see guard.h
 *
 * The parts of a run, and all that they start, are a process group each.  The
 * guard hears their numbers through a pipe that only the run can write to, and
 * sees by its end that the run is over.  It has a session of its own, so that
 * neither a terminal nor who kills the run's group reaches it.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/proc.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"
#include "tools/torture/guard.h"

#define SHM      "shmbus."
#define PREFIX   "bustorture-"
#define PATIENCE 2000 /* ms until all of a group that was killed are gone */

static int to_guard = -1;
static pid_t guard, part;

/* ---------------------------------------------------------------- names -- */

static char prefix[96];

static bool is_of_dead_run(const char *name)
{
	struct sb_proc_id id = { 0 };
	uint64_t ns;

	if (sscanf(name, PREFIX "%" SCNu32 "-%" SCNu64 "-%" SCNx64, &id.pid,
		   &id.start_time, &ns) != 3)
		return false;
	/* Of another namespace nothing can be known. */
	return ns == sb_proc_pid_ns() && sb_proc_dead(id);
}

static bool is_of_this_run(const char *name)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static void remove_names(bool (*which)(const char *name))
{
	DIR *dir = opendir("/dev/shm");
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		if (strncmp(e->d_name, SHM, strlen(SHM)) ||
		    !which(e->d_name + strlen(SHM)))
			continue;
		if (unlinkat(dirfd(dir), e->d_name, 0) && errno == EISDIR)
			unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

/* Who we are, in front of all names. */
static void choose_names(void)
{
	struct sb_proc_id self = sb_proc_self();

	snprintf(prefix, sizeof(prefix),
		 PREFIX "%" PRIu32 "-%" PRIu64 "-%" PRIx64 "-", self.pid,
		 self.start_time, sb_proc_pid_ns());
	t_name_prefix(prefix);
}

/* --------------------------------------------------------------- groups -- */

static bool is_gone(void *group)
{
	return kill(-*(pid_t *)group, 0) && errno == ESRCH;
}

static void kill_group(pid_t group)
{
	if (group <= 0 || kill(-group, SIGKILL))
		return;
	/* Who was about to make a name may still do so while it dies. */
	t_eventually(is_gone, &group, PATIENCE);
}

static void __attribute__((noreturn)) watch(int from_run)
{
	pid_t group = 0, now;
	ssize_t n;

	setsid();
	prctl(PR_SET_NAME, "torture-guard");
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_IGN);
	while ((n = read(from_run, &now, sizeof(now))) > 0 ||
	       (n < 0 && errno == EINTR))
		group = n > 0 ? now : group;
	kill_group(group);
	remove_names(is_of_this_run);
	_exit(0);
}

int guard_begin(void)
{
	int fd[2];

	remove_names(is_of_dead_run);
	choose_names();
	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	fflush(NULL);
	guard = fork();
	if (guard < 0)
		return -errno;
	if (guard == 0) {
		close(fd[1]);
		watch(fd[0]);
	}
	close(fd[0]);
	to_guard = fd[1];
	return 0;
}

void guard_enter_part(void)
{
	close(to_guard);
	to_guard = -1;
	setpgid(0, 0);
	/* A group in the background may print all the same. */
	signal(SIGTTOU, SIG_IGN);
}

static void tell(pid_t group)
{
	if (write(to_guard, &group, sizeof(group)) < 0)
		fprintf(stderr, "bustorture: the guard is gone: %m\n");
}

void guard_part(pid_t pid)
{
	part = pid;
	setpgid(pid, pid); /* here too: whoever comes first */
	tell(pid);
}

void guard_part_over(void)
{
	kill_group(part);
	part = 0;
	tell(0);
}

void guard_end(void)
{
	if (to_guard < 0)
		return;
	close(to_guard);
	to_guard = -1;
	waitpid(guard, NULL, 0);
}
