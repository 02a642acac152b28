/*
 * test_step.c - who is stepped can be stopped and let go unharmed
 *
 * Also when it wakes up between our look at it and what we do, which is where
 * tests that kill and stop others are easily wrong.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/proc.h"
#include "tests/support/step.h"

static struct shared {
	_Atomic int32_t pid;
	_Atomic uint32_t seized, word, go_on;
} * sh;

static bool has_offered(void *arg)
{
	(void)arg;
	return sh->pid != 0;
}

static void tick(int sig)
{
	(void)sig;
}

static void set_tick(int usec)
{
	const struct itimerval it = { .it_value = { .tv_usec = usec },
				      .it_interval = { .tv_usec = usec } };

	setitimer(ITIMER_REAL, &it, NULL);
}

/* A child that runs @fn, which offers itself, and is ours to step. */
static pid_t seize(int (*fn)(void *arg))
{
	const struct sigaction sa = { .sa_handler = tick };
	pid_t child;

	if (!t_may_trace())
		cr_skip_test("ptrace(2) is not permitted");
	sigaction(SIGALRM, &sa, NULL);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(sh != MAP_FAILED);
	child = t_fork(fn, NULL);
	cr_assert(t_eventually(has_offered, NULL, 10000));
	cr_assert_eq(t_step_seize(child, &sh->seized), 0);
	return child;
}

static enum t_stop is_blocked(void *arg)
{
	(void)arg;
	return T_BLOCKED;
}

static void step_until_blocked(pid_t child)
{
	int stop = T_STEPPED;

	set_tick(1000);
	while (stop == T_STEPPED)
		stop = t_step(child, is_blocked, NULL);
	set_tick(0);
	cr_assert_eq(stop, T_BLOCKED);
}

/* ... and its step has ended, but we do not know. */
static void wait_until_it_has_woken(pid_t child)
{
	siginfo_t info;

	while (waitid(P_PID, (id_t)child, &info,
		      WSTOPPED | WEXITED | WNOWAIT | __WALL))
		cr_assert_eq(errno, EINTR);
}

static bool has_stopped(pid_t child)
{
	siginfo_t info = { 0 };

	cr_assert_eq(
		waitid(P_PID, (id_t)child, &info, WSTOPPED | WNOHANG | WNOWAIT),
		0);
	return info.si_pid == child && info.si_status == SIGSTOP;
}

static int naps(void *arg)
{
	const struct timespec t = { .tv_nsec = 30000000 };

	(void)arg;
	t_step_offer(&sh->pid, &sh->seized);
	nanosleep(&t, NULL);
	return 0;
}

static int sleeps_until_told(void *arg)
{
	(void)arg;
	t_step_offer(&sh->pid, &sh->seized);
	while (!sh->word)
		syscall(SYS_futex, &sh->word, FUTEX_WAIT, 0, NULL, NULL, 0);
	return 0;
}

/* The word is looked at in one step with falling asleep. */
static void wake(void)
{
	sh->word = 1;
	syscall(SYS_futex, &sh->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static int waits_awake(void *arg)
{
	(void)arg;
	t_step_offer(&sh->pid, &sh->seized);
	while (!sh->go_on)
		;
	return 0;
}

Test(step, a_victim_that_has_just_woken_is_stopped_unharmed)
{
	pid_t child = seize(naps);

	step_until_blocked(child);
	wait_until_it_has_woken(child);
	cr_assert_eq(t_step_stop(child, T_BLOCKED), 0);
	cr_assert(has_stopped(child));
	kill(child, SIGCONT);
	cr_assert_eq(t_wait(child), 0);
}

Test(step, a_victim_that_has_just_woken_is_let_go_unharmed)
{
	pid_t child = seize(naps);

	step_until_blocked(child);
	wait_until_it_has_woken(child);
	cr_assert_eq(t_step_let_go(child, T_BLOCKED), 0);
	cr_assert_eq(t_wait(child), 0);
}

Test(step, a_victim_that_sleeps_is_stopped_and_sleeps_on)
{
	pid_t child = seize(sleeps_until_told);

	step_until_blocked(child);
	cr_assert_eq(t_step_stop(child, T_BLOCKED), 0);
	cr_assert(has_stopped(child));
	kill(child, SIGCONT);
	wake();
	cr_assert_eq(t_wait(child), 0);
}

Test(step, a_victim_that_sleeps_is_let_go_and_sleeps_on)
{
	pid_t child = seize(sleeps_until_told);

	step_until_blocked(child);
	cr_assert_eq(t_step_let_go(child, T_BLOCKED), 0);
	wake();
	cr_assert_eq(t_wait(child), 0);
}

static int ends_with_7(void *arg)
{
	const struct timespec t = { .tv_nsec = 30000000 };

	(void)arg;
	t_step_offer(&sh->pid, &sh->seized);
	nanosleep(&t, NULL);
	_exit(7);
}

/* It sleeps when we look, and ends before we get to stop it. */
Test(step, of_a_victim_that_ends_meanwhile_we_learn_how)
{
	pid_t child = seize(ends_with_7);
	siginfo_t info;

	step_until_blocked(child);
	wait_until_it_has_woken(child);
	cr_assert_eq(ptrace(PTRACE_CONT, child, 0, 0), 0);
	while (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT | __WALL))
		cr_assert_eq(errno, EINTR);
	cr_assert_eq(t_step_stop(child, T_BLOCKED), -ESRCH);
	cr_assert_eq(t_step_status(), 7);
	cr_assert_eq(waitpid(child, NULL, 0), -1);
}

Test(step, a_victim_that_is_killed_meanwhile_is_reaped)
{
	for (int i = 0; i < 20; i++) {
		pid_t child = seize(waits_awake);

		kill(child, SIGKILL);
		cr_assert_eq(t_step_stop(child, T_STEPPED), -ESRCH);
		cr_assert_eq(t_step_status(), -SIGKILL);
		cr_assert_eq(waitpid(child, NULL, 0), -1);
	}
}

Test(step, a_victim_that_runs_is_stopped_before_anybody_goes_on)
{
	pid_t child = seize(waits_awake);

	cr_assert_eq(t_step(child, is_blocked, NULL), T_STEPPED);
	cr_assert_eq(t_step_stop(child, T_STEPPED), 0);
	cr_assert(has_stopped(child));
	kill(child, SIGCONT);
	sh->go_on = 1;
	cr_assert_eq(t_wait(child), 0);
}

Test(step, a_victim_that_does_not_come_back_is_stopped)
{
	pid_t child = seize(waits_awake);

	cr_assert_eq(ptrace(PTRACE_CONT, child, 0, 0), 0);
	cr_assert_eq(t_step_stop(child, T_HANGS), 0);
	cr_assert(has_stopped(child));
	kill(child, SIGCONT);
	sh->go_on = 1;
	cr_assert_eq(t_wait(child), 0);
}

static enum t_stop waits_on(void *arg)
{
	(void)arg;
	return T_STEPPED;
}

/* Where it is after each of its first @max instructions.  With `make coverage`
 * it has many more, which write down what was counted. */
static long learn(pid_t child, uint64_t *pc, long max)
{
	int stop = T_STEPPED;
	long n = 0;

	pc[0] = t_step_pc(child);
	set_tick(1000);
	while (n < max && stop == T_STEPPED) {
		stop = t_step(child, waits_on, NULL);
		if (stop == T_STEPPED)
			pc[++n] = t_step_pc(child);
	}
	set_tick(0);
	cr_assert_eq(t_step_kill(child, (enum t_stop)stop, true), 0);
	return n;
}

Test(step, a_victim_that_did_not_come_to_its_breakpoint_never_meets_it)
{
	static uint64_t pc[20000];
	long n = learn(seize(naps), pc, 19999);
	pid_t child = seize(naps);

	cr_assert_gt(n, 0);
	set_tick(1000);
	cr_assert_eq(t_step_on(child, pc, 0, n, is_blocked, NULL), T_BLOCKED);
	set_tick(0);
	cr_assert_eq(t_step_let_go(child, T_BLOCKED), 0);
	cr_assert_eq(t_wait(child), 0);
}

Test(step, a_victim_that_has_ended_cannot_be_stopped)
{
	pid_t child = seize(naps);

	kill(child, SIGKILL);
	cr_assert_eq(t_step_stop(child, T_ENDED), -ESRCH);
	cr_assert_eq(t_step_let_go(child, T_ENDED), -ESRCH);
	cr_assert_eq(t_wait(child), -SIGKILL);
}
