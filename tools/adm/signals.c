/*
 * signals.c - end at a place where nothing is lost
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/adm/signals.h"

static int came_fd = -1;
static sigset_t ours;
static bool pipe_kills;

static bool is_ignored(int sig)
{
	struct sigaction is;

	return sigaction(sig, NULL, &is) == 0 && is.sa_handler == SIG_IGN;
}

/*
 * A descriptor of the standard three that is closed would be the next one that
 * somebody opens, and messages would go there.  One that cannot be used says
 * -EBADF, as it should.
 */
static void keep_places(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

int signals_block(void)
{
	static const int asked_for[] = { SIGINT, SIGTERM, SIGHUP };

	keep_places();
	sigemptyset(&ours);
	/* What is ignored would come all the same, once it is blocked: but a
	 * shell's background job is to survive ^C, and nohup(1) the terminal. */
	for (unsigned i = 0; i < sizeof(asked_for) / sizeof(*asked_for); i++)
		if (!is_ignored(asked_for[i]))
			sigaddset(&ours, asked_for[i]);
	pipe_kills = !is_ignored(SIGPIPE);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &ours, NULL))
		return -errno;
	came_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	return came_fd < 0 ? -errno : 0;
}

bool signals_came(void)
{
	return signals_wait(-1, 0, 0) == -EINTR;
}

int signals_wait(int fd, short events, int timeout_ms)
{
	struct pollfd p[2] = { { .fd = came_fd, .events = POLLIN },
			       { .fd = fd, .events = events } };

	while (poll(p, 2, timeout_ms) < 0)
		if (errno != EINTR)
			return -errno;
	return p[0].revents ? -EINTR : p[1].revents;
}

void signals_obey(void)
{
	struct signalfd_siginfo info;

	if (came_fd < 0 ||
	    read(came_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	signal((int)info.ssi_signo, SIG_DFL);
	raise((int)info.ssi_signo);
	sigprocmask(SIG_UNBLOCK, &ours, NULL);
}

void signals_pipe(void)
{
	if (!pipe_kills)
		return;
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}
