/*
 * proc.h - processes in tests
 *
 * For Criterion programs and plain ones.  A forked child must never come back
 * from the test body nor fail a cr_assert: Criterion then waits for ever.  So
 * a child runs one function, checks with T_CHECK, and leaves by _exit(); only
 * the parent asserts, on the child's exit status.
 */
#ifndef TEST_SUPPORT_PROC_H
#define TEST_SUPPORT_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#define T_SKIP 77 /* automake's exit status of a skipped test */

/* In a child, and anywhere in a plain program. */
#define T_CHECK(cond)                                                      \
	do {                                                               \
		if (!(cond)) {                                             \
			fprintf(stderr, "%s:%d: pid %d: not true: %s\n",   \
				__FILE__, __LINE__, (int)getpid(), #cond); \
			_exit(1);                                          \
		}                                                          \
	} while (0)

/* In the parent: the test's assertion where there is Criterion. */
#ifdef CRITERION_H_
#define T_ASSERT(cond) cr_assert(cond)
#else
#define T_ASSERT(cond) T_CHECK(cond)
#endif

/*
 * t_fork - run @fn in a child that dies with us; its value is the exit status
 *
 * Never returns a failure: the calling process ends with a message.
 */
pid_t t_fork(int (*fn)(void *arg), void *arg);

/* Wait for @child.  Returns its exit status, or -signal that killed it. */
int t_wait(pid_t child);

/* What t_wait() makes of waitpid(2)'s @status. */
int t_status(int status);

/* Wait for @child, which must exit with 0. */
#define t_join(child) T_ASSERT(t_wait(child) == 0)

/* SIGKILL @child and wait. */
void t_kill(pid_t child);

/*
 * t_join_or_skip - like t_join, but a child that returned T_SKIP skips the
 * test with @reason.  Criterion only.
 */
#define t_join_or_skip(child, reason)                   \
	do {                                            \
		int t_status_ = t_wait(child);          \
		if (t_status_ == T_SKIP)                \
			cr_skip_test("%s", (reason));   \
		cr_assert_eq(t_status_, 0);             \
	} while (0)

/*
 * t_deny_calls    - from now on system calls @first to @last of this thread, and
 *                   of those it starts, fail with errno @err
 * t_deny_io_uring - the same of io_uring_*
 *
 * A seccomp filter, as containers have it.  Cannot be undone: call it in a
 * forked child.  Returns 0 or -errno.
 */
int t_deny_calls(uint32_t first, uint32_t last, int err);
int t_deny_io_uring(int err);

/*
 * t_rings_are_few - may we have so few io_uring rings that tests which run side
 * by side would take them from each other?
 *
 * From Linux 6.14 on each takes 8 KiB of RLIMIT_MEMLOCK, of all processes of a
 * user without CAP_IPC_LOCK together, and gives them back late.  What insists
 * on rings cannot be tested where that is the 64 KiB of old.
 */
bool t_rings_are_few(void);

/*
 * t_hang_after - in @seconds this process ends and says that it hung
 *
 * With alarm(2): not for those that it forks.  What was printed before is to
 * be seen then: standard output is written line by line from now on.
 */
void t_hang_after(unsigned int seconds);

/* Poll @done every now and then; false when it is not true after @ms. */
bool t_eventually(bool (*done)(void *arg), void *arg, unsigned int ms);

/* One-shot signal between processes: a pipe, made before the fork. */
struct t_gate {
	int fd[2];
};
void t_gate_init(struct t_gate *g);
void t_gate_open(struct t_gate *g); /* may be called any number of times */
void t_gate_wait(struct t_gate *g); /* takes one opening; _exit(1) on EOF */
void t_gate_close(struct t_gate *g);

#endif
