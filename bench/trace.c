/*
 * trace.c - how many system calls a message takes
 *
 * A child runs the round; this process traces it and all that it forks with
 * ptrace(2), which needs no privilege and no file system, and counts the
 * entries into the kernel.  What the child itself does, which only waits for
 * its crew, does not count.
 *
 * The members say when the span that counts begins and ends, with a call of
 * prctl(2) that means nothing to the kernel (run.h); who has been forked by a
 * member, as the workers of a coordinator, counts with it.
 *
 * Under ptrace a system call takes a hundred times as long.  So no time is
 * taken from this round; and who sleeps when the other is slow sleeps more
 * often here than untraced.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load.h"
#include "bench/run.h"
#include "bench/trace.h"

#define MAX_TASKS 1024
#define OPTIONS                                                                \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |    \
	 PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)

struct task {
	pid_t pid, parent; /* 0: it has gone */
	bool counts;
	uint64_t n;
};

struct tracer {
	pid_t root;
	unsigned n;
	uint64_t n_of_gone;
	struct task task[MAX_TASKS];
};

static struct task *find(struct tracer *tracer, pid_t pid)
{
	struct task *free = NULL;

	for (unsigned i = 0; i < tracer->n; i++) {
		if (tracer->task[i].pid == pid)
			return &tracer->task[i];
		if (!tracer->task[i].pid)
			free = &tracer->task[i];
	}
	if (!free && tracer->n < MAX_TASKS)
		free = &tracer->task[tracer->n++];
	if (free)
		*free = (struct task){ .pid = pid };
	return free;
}

static bool descends(struct tracer *tracer, const struct task *task, pid_t from)
{
	for (unsigned depth = 0; task && depth < 8; depth++) {
		if (task->pid == from)
			return true;
		task = task->parent ? find(tracer, task->parent) : NULL;
	}
	return false;
}

/* The span that counts begins or ends, for @pid and those it has forked. */
static void mark(struct tracer *tracer, pid_t pid, bool begins)
{
	unsigned n = tracer->n;

	for (unsigned i = 0; i < n; i++) {
		struct task *task = &tracer->task[i];

		if (!task->pid || !descends(tracer, task, pid))
			continue;
		task->counts = begins;
		if (begins)
			task->n = 0;
	}
}

static void count(struct tracer *tracer, pid_t pid)
{
	struct task *task = find(tracer, pid);
	struct __ptrace_syscall_info info;

	if (!task ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	if (info.entry.nr == SYS_prctl && info.entry.args[0] == RUN_MARK)
		mark(tracer, pid, info.entry.args[1]);
	else if (task->counts)
		task->n++;
}

/* @pid has forked; its child may have been seen before. */
static void link_child(struct tracer *tracer, pid_t pid)
{
	struct task *parent = find(tracer, pid), *child;
	unsigned long message = 0;

	if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &message) != 0 || !parent)
		return;
	child = find(tracer, (pid_t)message);
	if (child) {
		child->parent = pid;
		child->counts = parent->counts;
	}
}

static void leave(struct tracer *tracer, pid_t pid)
{
	struct task *task = find(tracer, pid);

	if (!task)
		return;
	tracer->n_of_gone += task->n;
	*task = (struct task){ .pid = 0 };
}

/* @pid has stopped: look why, and let it go on. */
static void attend(struct tracer *tracer, pid_t pid, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	if (signal == (SIGTRAP | 0x80)) {
		count(tracer, pid);
		signal = 0;
	} else if (event) {
		if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
		    event == PTRACE_EVENT_CLONE)
			link_child(tracer, pid);
		else
			find(tracer, pid);
		signal = 0;
	}
	/* Who was killed meanwhile is waited for as all are. */
	ptrace(pid == tracer->root ? PTRACE_CONT : PTRACE_SYSCALL, pid, NULL,
	       (void *)(uintptr_t)signal);
}

/* Until the child that runs the round has ended. */
static uint64_t trace_all(struct tracer *tracer)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			break;
		if (WIFSTOPPED(status)) {
			attend(tracer, pid, status);
			continue;
		}
		leave(tracer, pid);
		if (pid == tracer->root)
			break;
	}
	for (unsigned i = 0; i < tracer->n; i++)
		tracer->n_of_gone += tracer->task[i].n;
	return tracer->n_of_gone;
}

/* The child: wait until it is traced, then run the round. */
static void run_round(const struct transport *transport,
		      const struct spec *spec, int fd, struct outcome *out)
{
	char go;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(fd, &go, 1) != 1)
		_exit(1);
	run_marks = true;
	load_run(transport, spec, out);
	_exit(0);
}

static double count_in(pid_t root, int fd, const struct outcome *out, char *why,
		       size_t why_bytes)
{
	struct tracer *tracer = calloc(1, sizeof(*tracer));
	double calls = NAN;

	if (!tracer ||
	    ptrace(PTRACE_SEIZE, root, NULL, (void *)(uintptr_t)OPTIONS) != 0) {
		snprintf(why, why_bytes, "ptrace: %s", strerror(errno));
		kill(root, SIGKILL);
		waitpid(root, NULL, 0);
		goto out;
	}
	tracer->root = root;
	if (write(fd, "", 1) != 1)
		kill(root, SIGKILL);
	calls = (double)trace_all(tracer);
	if (out->status != OUTCOME_OK || !out->messages)
		calls = NAN;
out:
	free(tracer);
	return calls * out->part / (double)out->messages;
}

double trace_round(const struct transport *transport, const struct spec *spec,
		   char *why, size_t why_bytes)
{
	double calls = NAN;
	struct outcome *out;
	int fd[2];
	pid_t pid;

	why[0] = '\0';
	out = mmap(NULL, sizeof(*out), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (out == MAP_FAILED) {
		snprintf(why, why_bytes, "no memory: %s", strerror(errno));
		return NAN;
	}
	*out = (struct outcome)OUTCOME_INIT;
	if (pipe2(fd, O_CLOEXEC) != 0) {
		snprintf(why, why_bytes, "pipe2: %s", strerror(errno));
		goto out_map;
	}
	pid = fork();
	if (pid == 0)
		run_round(transport, spec, fd[0], out);
	if (pid > 0)
		calls = count_in(pid, fd[1], out, why, why_bytes);
	else
		snprintf(why, why_bytes, "fork: %s", strerror(errno));
	close(fd[0]);
	close(fd[1]);
out_map:
	munmap(out, sizeof(*out));
	return calls;
}
