/*
 * keeper.c - nothing with a name is left behind, however busbench ends
 *
 * That busbench has ended is known by a socket, whose other end it holds, and
 * the processes of its rounds, which die with it.  The keeper has no other
 * descriptors: else whoever waits for the end of one of those waited for it.
 * There is no name before the keeper has said that no signal to a group of
 * processes reaches it.
 *
 * Names are numbered, with the next number in memory that both have, because
 * message queues cannot be listed where nobody has mounted them.
 */
#include "config.h"

#include "bench/rivals/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/rivals/common.h"

static struct {
	pid_t keeper; /* 0: there is none */
	pid_t owner;  /* whose child that is */
	_Atomic unsigned *n_named;
} running;

/* The keeper --------------------------------------------------------------- */

void keeper_detach(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
				       SIGPIPE };
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	close(null);
}

static void close_all_but(int kept)
{
	DIR *fds = opendir("/proc/self/fd");
	const struct dirent *entry;

	while (fds && (entry = readdir(fds))) {
		int fd = atoi(entry->d_name);

		if (fd > STDERR_FILENO && fd != kept && fd != dirfd(fds))
			close(fd);
	}
	if (fds)
		closedir(fds);
}

static void remove_names(pid_t owner, unsigned n_named)
{
	char name[KEEPER_NAME_BYTES];
	glob_t left;

	for (unsigned i = 0; i < n_named; i++) {
		snprintf(name, sizeof(name), "/busbench.%ld.%u", (long)owner,
			 i);
		mq_unlink(name);
	}
	snprintf(name, sizeof(name), "/dev/shm/busbench.%ld.*", (long)owner);
	if (glob(name, 0, NULL, &left) != 0)
		return;
	for (size_t i = 0; i < left.gl_pathc; i++)
		unlink(left.gl_pathv[i]);
	globfree(&left);
}

static void be_keeper(int life)
{
	struct pollfd end = { .fd = life, .events = POLLIN };
	static const char ready = 1;

	keeper_detach();
	close_all_but(life);
	if (write(life, &ready, 1) != 1)
		_exit(1);
	while (poll(&end, 1, -1) < 0 && errno == EINTR)
		;
	remove_names(running.owner, *running.n_named);
	_exit(0);
}

/* busbench ----------------------------------------------------------------- */

/* All that was named is open by now, and has no name any more. */
static void end(void)
{
	if (running.keeper > 0 && running.owner == getpid()) {
		kill(running.keeper, SIGKILL);
		waitpid(running.keeper, NULL, 0);
	}
	running.keeper = 0;
}

static bool is_ready(int life)
{
	ssize_t n;
	char byte;

	do
		n = read(life, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

/* Our end of the socket stays open for as long as we live. */
static int fork_keeper(struct outcome *out)
{
	int life[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life) != 0)
		return outcome_set(out, OUTCOME_FAILED, "no socket: %s",
				   strerror(errno));
	running.owner = getpid();
	running.keeper = fork();
	if (running.keeper == 0) {
		close(life[0]);
		be_keeper(life[1]);
	}
	close(life[1]);
	if (running.keeper > 0 && is_ready(life[0]))
		return 0;
	outcome_set(out, OUTCOME_FAILED, "cannot fork a keeper of names: %s",
		    running.keeper < 0 ? strerror(errno) : "it died");
	close(life[0]);
	end();
	return -1;
}

static int start(struct outcome *out)
{
	if (!running.n_named) {
		running.n_named = rival_map(sizeof(*running.n_named));
		if (!running.n_named)
			return outcome_set(out, OUTCOME_FAILED, "no memory");
		atexit(end);
	}
	return fork_keeper(out);
}

int keeper_name(const char *folder, char *buf, size_t size, struct outcome *out)
{
	if (!running.keeper && start(out) != 0)
		return -1;
	snprintf(buf, size, "%sbusbench.%ld.%u", folder, (long)running.owner,
		 (*running.n_named)++);
	return 0;
}
