/*
 * proc.c - processes in tests; see proc.h
 */
#include "config.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/proc.h"

static void die(const char *what)
{
	fprintf(stderr, "pid %d: %s: %m\n", (int)getpid(), what);
	_exit(1);
}

pid_t t_fork(int (*fn)(void *arg), void *arg)
{
	pid_t parent = getpid();
	pid_t child;

	fflush(NULL); /* or the child prints our buffers again */
	child = fork();
	if (child < 0)
		die("fork");
	if (child > 0)
		return child;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
	_exit(fn(arg));
}

int t_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int t_wait(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			die("waitpid");
	}
	return t_status(status);
}

void t_kill(pid_t child)
{
	if (kill(child, SIGKILL))
		die("kill");
	t_wait(child);
}

int t_deny_calls(uint32_t first, uint32_t last, int err)
{
#if defined(__x86_64__)
	const uint32_t arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
	const uint32_t arch = AUDIT_ARCH_AARCH64;
#else
	return -ENOTSUP;
#endif
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0),
		BPF_STMT(BPF_RET | BPF_K,
			 SECCOMP_RET_ERRNO |
				 ((uint32_t)err & SECCOMP_RET_DATA)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return -errno;
	return 0;
}

int t_deny_io_uring(int err)
{
	/* io_uring_setup, _enter, _register, on every arch */
	return t_deny_calls(425, 427, err);
}

static bool may_lock_memory(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 &&
	       (data[0].effective & UINT32_C(1) << CAP_IPC_LOCK);
}

bool t_rings_are_few(void)
{
	struct rlimit lock;

	return !may_lock_memory() && getrlimit(RLIMIT_MEMLOCK, &lock) == 0 &&
	       lock.rlim_cur < 4u << 20; /* 512 rings */
}

static void hang(int sig)
{
	static const char text[] = "hung: it should have been over long ago\n";

	(void)sig;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(1);
}

void t_hang_after(unsigned int seconds)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, hang);
	alarm(seconds);
}

bool t_eventually(bool (*done)(void *arg), void *arg, unsigned int ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct timespec t;
	int64_t end;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + ms;
	while (!done(arg)) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		if ((int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 > end)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

void t_gate_init(struct t_gate *g)
{
	if (pipe(g->fd))
		die("pipe");
}

void t_gate_open(struct t_gate *g)
{
	if (write(g->fd[1], "", 1) != 1)
		die("write");
}

void t_gate_wait(struct t_gate *g)
{
	ssize_t n;
	char c;

	while ((n = read(g->fd[0], &c, 1)) < 0 && errno == EINTR)
		;
	if (n != 1)
		die("read");
}

void t_gate_close(struct t_gate *g)
{
	close(g->fd[0]);
	close(g->fd[1]);
}
