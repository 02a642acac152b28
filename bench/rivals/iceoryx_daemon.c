/*
 * iceoryx_daemon.c - RouDi while it is wanted, and nothing of it afterwards
 *
 * Two processes.  The daemon is RouDi and can hang or die, as it shares locks
 * with clients that are killed.  Its keeper has no part in iceoryx: when
 * busbench has ended, in whatever way, or wants no RouDi any more, it ends the
 * daemon, kills it if it takes too long, and removes the names that it and its
 * clients have left.
 *
 * Who has ended is known by pipes, of which the one end is in its hands alone:
 *
 *	life	busbench and the processes of its rounds hold it; they die with
 *		it, so its end is the end of all clients
 *	stop	the keeper holds it, so the daemon ends with its keeper as well
 *	ready	the daemon holds it, for a line "ready" or what went wrong; the
 *		keeper until it has ended
 */
#include "config.h"

#include "bench/rivals/iceoryx_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/rivals/keeper.h"
#include "bench/tick.h"

#define START_MS 10000
#define END_MS   3000
#define POLL_NS  (5 * NS_PER_MS)

/* One that ended just now may have to clean up; one that was still there after
 * that stays. */
#define TAKEN_TRIES   40
#define TAKEN_STEP_NS (50 * NS_PER_MS)

static unsigned taken_tries = TAKEN_TRIES;

static const char shm_folder[] = "/dev/shm";

static struct {
	pid_t keeper; /* 0: there is none */
	pid_t owner;  /* whose child that is */
	int life;
	struct iceoryx_pool pool;
} running;

static const char is_ready[] = "ready\n";

void iceoryx_daemon_prefix(char *buf, size_t size)
{
	pid_t owner = running.owner ? running.owner : getpid();

	snprintf(buf, size, "busbench.%ld.", (long)owner);
}

/* The daemon --------------------------------------------------------------- */

/* What the library says goes to whoever waits for "ready", and then nowhere. */
static void be_daemon(struct iceoryx_pool pool, int ready, int stop)
{
	int ret = -EADDRINUSE;

	dup2(ready, STDERR_FILENO);
	dup2(ready, STDOUT_FILENO);
	for (unsigned i = 0; i < taken_tries && ret == -EADDRINUSE; i++) {
		if (i > 0)
			sleep_ns(TAKEN_STEP_NS);
		ret = iceoryx_roudi_run(pool, ready, stop);
	}
	if (ret == -EADDRINUSE)
		dprintf(ready, "a RouDi is running, and a machine has room for "
			       "one; busbench kills clients, so it uses none "
			       "but its own");
	else if (ret < 0)
		dprintf(ready, "%s", strerror(-ret));
	_exit(ret < 0);
}

/* The keeper --------------------------------------------------------------- */

static bool has_ended(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) != 0;
}

static void end_daemon(pid_t pid, int stop)
{
	close(stop);
	for (uint64_t end = now_ns() + END_MS * NS_PER_MS; now_ns() < end;
	     sleep_ns(POLL_NS))
		if (has_ended(pid))
			return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static pid_t fork_daemon(struct iceoryx_pool pool, int life, int ready,
			 int *stop)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(life);
		close(ends[1]);
		be_daemon(pool, ready, ends[0]);
	}
	close(ends[0]);
	*stop = ends[1];
	return pid;
}

static void be_keeper(struct iceoryx_pool pool, int life, int ready)
{
	struct pollfd ends = { .fd = life, .events = POLLIN };
	char prefix[64];
	int stop = -1;
	pid_t pid;

	iceoryx_daemon_prefix(prefix, sizeof(prefix));
	keeper_detach();
	pid = fork_daemon(pool, life, ready, &stop);
	close(ready);
	if (pid < 0)
		_exit(1);
	while (poll(&ends, 1, -1) < 0 && errno == EINTR)
		;
	end_daemon(pid, stop);
	iceoryx_roudi_clean(prefix);
	_exit(0);
}

/* busbench ----------------------------------------------------------------- */

void iceoryx_daemon_end(void)
{
	if (!running.keeper)
		return;
	close(running.life);
	if (running.owner == getpid())
		waitpid(running.keeper, NULL, 0);
	running.keeper = 0;
}

/* -1 when nothing came in time. */
static ssize_t read_some(int fd, char *buf, size_t size)
{
	struct pollfd some = { .fd = fd, .events = POLLIN };
	int ret;

	do
		ret = poll(&some, 1, START_MS);
	while (ret < 0 && errno == EINTR);
	return ret > 0 ? read(fd, buf, size) : -1;
}

/* The last of the lines that are in @text, without its end. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *end;

	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	end = strrchr(text, '\n');
	return end ? end + 1 : text;
}

/* On failure sets @out and returns -1. */
static int wait_until_ready(int fd, struct outcome *out)
{
	char text[4096] = "";
	size_t len = 0;
	ssize_t n;

	while (len + 1 < sizeof(text)) {
		n = read_some(fd, text + len, sizeof(text) - 1 - len);
		if (n < 0)
			return outcome_set(out, OUTCOME_FAILED,
					   "RouDi did not start within %d s",
					   START_MS / 1000);
		if (n == 0)
			break;
		len += (size_t)n;
		text[len] = '\0';
		if (strstr(text, is_ready))
			return 0;
	}
	return outcome_set(out, OUTCOME_ABSENT, "%s",
			   *text ? last_line(text) : "RouDi died");
}

static int start(struct iceoryx_pool pool, struct outcome *out)
{
	int life[2], ready[2], ret;

	if (pipe2(life, O_CLOEXEC) != 0)
		return outcome_set(out, OUTCOME_FAILED, "pipe: %s",
				   strerror(errno));
	if (pipe2(ready, O_CLOEXEC) != 0) {
		close(life[0]);
		close(life[1]);
		return outcome_set(out, OUTCOME_FAILED, "pipe: %s",
				   strerror(errno));
	}
	running.owner = getpid();
	running.pool = pool;
	running.life = life[1];
	running.keeper = fork();
	if (running.keeper == 0) {
		close(life[1]);
		close(ready[0]);
		be_keeper(pool, life[0], ready[1]);
	}
	close(life[0]);
	close(ready[1]);
	if (running.keeper < 0) {
		close(life[1]);
		close(ready[0]);
		running.keeper = 0;
		return outcome_set(out, OUTCOME_FAILED, "cannot fork: %s",
				   strerror(errno));
	}
	ret = wait_until_ready(ready[0], out);
	close(ready[0]);
	if (ret != 0) {
		iceoryx_daemon_end();
		taken_tries = 1;
	}
	return ret;
}

/* It writes all that it reserves, and is killed if there is no room.  And it
 * complains aloud about a group without a name. */
static int check_room(struct iceoryx_pool pool, struct outcome *out)
{
	struct statvfs vfs;
	double wants, has;

	if (!getgrgid(getegid()))
		return outcome_set(out, OUTCOME_ABSENT,
				   "the group %ld has no name, after which "
				   "iceoryx names its memory",
				   (long)getegid());
	if (statvfs(shm_folder, &vfs) != 0)
		return outcome_set(out, OUTCOME_ABSENT, "%s: %s", shm_folder,
				   strerror(errno));
	wants = (double)iceoryx_roudi_bytes(pool);
	has = (double)vfs.f_bavail * (double)vfs.f_frsize;
	if (has >= wants)
		return 0;
	return outcome_set(out, OUTCOME_ABSENT,
			   "RouDi takes %.1f MiB of %s, where %.1f are free",
			   wants / (1 << 20), shm_folder, has / (1 << 20));
}

int iceoryx_daemon_want(struct iceoryx_pool pool, struct outcome *out)
{
	static bool ends_at_exit;

	if (running.keeper && running.pool.bytes == pool.bytes &&
	    running.pool.n == pool.n)
		return 0;
	iceoryx_daemon_end();
	if (check_room(pool, out) != 0)
		return -1;
	if (!ends_at_exit && atexit(iceoryx_daemon_end) == 0)
		ends_at_exit = true;
	return start(pool, out);
}
