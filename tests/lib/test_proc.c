/*
 * test_proc.c - tests of lib/proc.c
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/proc.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"

TestSuite(proc, .init = sb_proc_init, .timeout = 200.0);

/* Who leads that pid now, as it would say itself. */
static struct sb_proc_id id_of(pid_t pid)
{
	struct sb_proc_id id = { .pid = (uint32_t)pid };
	unsigned long long start = 0;
	char path[64], line[2048] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	cr_assert_not_null(f);
	cr_assert_gt(fread(line, 1, sizeof(line) - 1, f), 0);
	fclose(f);
	cr_assert_eq(sscanf(strrchr(line, ')') + 1,
			    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u "
			    "%*u %*d %*d %*d %*d %*d %*d %llu",
			    &start),
		     1);
	id.start_time = start;
	return id;
}

static int wait_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return 0;
}

static int value_of(void *arg)
{
	return *(int *)arg;
}

static bool ended(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* EOF on a pipe: all who could write are gone. */
static bool read_end_is_eof(void *arg)
{
	int fd = *(int *)arg;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 0) == 1 && read(fd, &c, 1) == 0;
}

/* No descriptor can be opened from now on. */
static void exhaust_fds(void)
{
	int fd = dup(0);
	struct rlimit none;

	T_CHECK(fd >= 0);
	close(fd);
	none.rlim_cur = none.rlim_max = (rlim_t)fd;
	T_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	T_CHECK(open("/dev/null", O_RDONLY) < 0 && errno == EMFILE);
}

/* Identity ---------------------------------------------------------------- */

Test(proc, pid_zero_is_nobody)
{
	struct sb_proc_id nobody = { 0 };
	struct sb_proc_id too_large = { .pid = (uint32_t)INT_MAX + 1 };

	cr_assert_eq(sb_proc_open(nobody), -EINVAL);
	cr_assert_not(sb_proc_dead(nobody));
	cr_assert_eq(sb_proc_open(too_large), -EINVAL);
	cr_assert_not(sb_proc_dead(too_large));
}

Test(proc, self_is_known_and_alive)
{
	struct sb_proc_id id = sb_proc_self();
	int fd;

	cr_assert_eq(id.pid, (uint32_t)getpid());
	cr_assert_eq(id.start_time, id_of(getpid()).start_time);
	cr_assert_neq(sb_proc_pid_ns(), 0);
	cr_assert_not(sb_proc_dead(id));
	fd = sb_proc_open(id);
	cr_assert_geq(fd, 0);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

Test(proc, pid_with_another_start_time_is_dead)
{
	struct sb_proc_id id = sb_proc_self();
	int n_fds = t_count_fds();

	for (int d = -1; d <= 1; d += 2) {
		struct sb_proc_id other = id;

		other.start_time += (uint64_t)d;
		cr_assert(sb_proc_dead(other));
		cr_assert_eq(sb_proc_open(other), -ESRCH);
	}
	cr_assert_eq(t_count_fds(), n_fds);
}

Test(proc, without_start_time_the_pid_decides)
{
	struct sb_proc_id id = { .pid = (uint32_t)getpid() };
	int fd = sb_proc_open(id);

	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_not(sb_proc_dead(id));
}

Test(proc, reaped_child_is_dead)
{
	pid_t child = t_fork(wait_for_ever, NULL);
	struct sb_proc_id id = id_of(child);
	int n_fds = t_count_fds();

	cr_assert_not(sb_proc_dead(id));
	t_kill(child);
	cr_assert(sb_proc_dead(id));
	cr_assert_eq(sb_proc_open(id), -ESRCH);
	id.start_time = 0;
	cr_assert(sb_proc_dead(id));
	cr_assert_eq(sb_proc_open(id), -ESRCH);
	cr_assert_eq(t_count_fds(), n_fds);
}

Test(proc, zombie_is_dead)
{
	pid_t child = t_fork(wait_for_ever, NULL);
	struct sb_proc_id id = id_of(child);
	siginfo_t si;

	kill(child, SIGKILL);
	cr_assert_eq(waitid(P_PID, (id_t)child, &si, WEXITED | WNOWAIT), 0);
	cr_assert(sb_proc_dead(id));
	cr_assert_eq(sb_proc_open(id), -ESRCH);
	id.start_time = 0;
	cr_assert(sb_proc_dead(id));
	cr_assert_eq(sb_proc_open(id), -ESRCH);
	t_wait(child);
}

Test(proc, stopped_process_is_not_dead)
{
	pid_t child = t_fork(wait_for_ever, NULL);
	struct sb_proc_id id = id_of(child);
	siginfo_t si;
	int fd;

	kill(child, SIGSTOP);
	cr_assert_eq(waitid(P_PID, (id_t)child, &si, WSTOPPED), 0);
	cr_assert_not(sb_proc_dead(id));
	fd = sb_proc_open(id);
	cr_assert_geq(fd, 0);
	close(fd);
	t_kill(child);
}

static void *sleep_for_ever(void *arg)
{
	wait_for_ever(arg);
	return NULL;
}

static int end_main_thread(void *arg)
{
	pthread_t t;

	T_CHECK(pthread_create(&t, NULL, sleep_for_ever, arg) == 0);
	/* Not pthread_exit: that would unwind into our caller's frames. */
	syscall(SYS_exit, 0);
	return 1;
}

static bool looks_like_zombie(void *arg)
{
	char path[64], line[2048] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)*(pid_t *)arg);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return strstr(line, ") Z ");
}

Test(proc, process_without_its_main_thread_is_not_dead)
{
	pid_t child = t_fork(end_main_thread, NULL);
	struct sb_proc_id id = id_of(child);
	int fd;

	cr_assert(t_eventually(looks_like_zombie, &child, 5000));
	cr_assert_not(sb_proc_dead(id));
	fd = sb_proc_open(id);
	cr_assert_geq(fd, 0);
	kill(child, SIGKILL);
	cr_assert(t_eventually(ended, &fd, 5000));
	cr_assert(sb_proc_dead(id));
	close(fd);
	t_wait(child);
}

static void *report_tid(void *arg)
{
	t_gate_wait(arg);
	return NULL;
}

Test(proc, pid_that_became_a_thread_is_dead)
{
	struct sb_proc_id id = { 0 };
	struct t_gate gate;
	pthread_t t;
	char name[64];

	t_gate_init(&gate);
	cr_assert_eq(pthread_create(&t, NULL, report_tid, &gate), 0);
	/* The newest thread has the largest number that is not ours. */
	for (pid_t tid = getpid() + 1; tid < getpid() + 10000; tid++) {
		snprintf(name, sizeof(name), "/proc/self/task/%d", (int)tid);
		if (access(name, F_OK) == 0)
			id.pid = (uint32_t)tid;
	}
	if (!id.pid) {
		t_gate_open(&gate);
		cr_skip_test("the pids wrapped around just now");
	}
	cr_assert_eq(sb_proc_open(id), -ESRCH);
	id.start_time = 1;
	cr_assert_eq(sb_proc_open(id), -ESRCH);
	cr_assert(sb_proc_dead(id));
	t_gate_open(&gate);
	pthread_join(t, NULL);
	t_gate_close(&gate);
}

/* Fork a child that gets just that pid; -errno where we may not. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&pid,
		.set_tid_size = 1,
	};
	long ret = syscall(SYS_clone3, &args, sizeof(args));

	if (ret == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return ret < 0 ? -errno : (pid_t)ret;
}

Test(proc, reused_pid_is_somebody_else)
{
	pid_t first = t_fork(wait_for_ever, NULL), second;
	struct sb_proc_id old = id_of(first), new;
	int fd;

	/* Start times are counted in ticks of 10 ms. */
	usleep(50000);
	t_kill(first);
	second = fork_as(first);
	if (second == -EEXIST || second == -EPERM || second == -ENOSYS)
		cr_skip_test("cannot choose a pid: %s", strerror(-second));
	cr_assert_eq(second, first);
	new = id_of(second);
	cr_assert_neq(new.start_time, old.start_time);
	cr_assert(sb_proc_dead(old));
	cr_assert_eq(sb_proc_open(old), -ESRCH);
	cr_assert_not(sb_proc_dead(new));
	fd = sb_proc_open(new);
	cr_assert_geq(fd, 0);
	close(fd);
	t_kill(second);
}

static int odd_name(void *arg)
{
	int *fd = arg;
	struct sb_proc_id id;

	T_CHECK(prctl(PR_SET_NAME, ") Z 1 (\n) X") == 0);
	id = sb_proc_self();
	T_CHECK(write(fd[1], &id, sizeof(id)) == sizeof(id));
	return wait_for_ever(NULL);
}

Test(proc, odd_program_name_does_not_confuse)
{
	struct sb_proc_id id;
	int fd[2], pidfd;
	pid_t child;

	cr_assert_eq(pipe(fd), 0);
	child = t_fork(odd_name, fd);
	cr_assert_eq(read(fd[0], &id, sizeof(id)), (ssize_t)sizeof(id));
	cr_assert_eq(id.pid, (uint32_t)child);
	cr_assert_eq(id.start_time, id_of(child).start_time);
	cr_assert_not(sb_proc_dead(id));
	pidfd = sb_proc_open(id);
	cr_assert_geq(pidfd, 0);
	close(pidfd);
	t_kill(child);
	close(fd[0]);
	close(fd[1]);
}

static int nothing_proven_without_fds(void *arg)
{
	struct sb_proc_id parent = *(struct sb_proc_id *)arg, wrong = parent;

	exhaust_fds();
	wrong.start_time++;
	T_CHECK(sb_proc_open(parent) == -EMFILE);
	T_CHECK(sb_proc_open(wrong) == -EMFILE);
	T_CHECK(!sb_proc_dead(parent));
	T_CHECK(!sb_proc_dead(wrong)); /* it is, but cannot be proven */
	return 0;
}

Test(proc, emfile_proves_nothing)
{
	struct sb_proc_id id = sb_proc_self();

	t_join(t_fork(nothing_proven_without_fds, &id));
}

static int exits_at_once(void *arg)
{
	(void)arg;
	return 0;
}

/* A child that has ended and was not reaped is dead. */
static void check_zombie(void)
{
	pid_t child = t_fork(exits_at_once, NULL);
	struct sb_proc_id id = { .pid = (uint32_t)child, .start_time = 1 };
	siginfo_t si;

	T_CHECK(waitid(P_PID, (id_t)child, &si, WEXITED | WNOWAIT) == 0);
	T_CHECK(sb_proc_dead(id));
	T_CHECK(t_wait(child) == 0);
	T_CHECK(sb_proc_dead(id));
}

static int without_proc(void *arg)
{
	struct sb_proc_id parent = *(struct sb_proc_id *)arg;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/proc", "tmpfs", 0, NULL))
		return T_SKIP;
	T_CHECK(sb_proc_self().pid == (uint32_t)getpid());
	T_CHECK(sb_proc_self().start_time == 0);
	T_CHECK(sb_proc_pid_ns() == 0);
	T_CHECK(sb_proc_time_ns() == 0);
	T_CHECK(!sb_proc_dead(parent));
	T_CHECK(sb_proc_open(parent) == -ENOENT);
	parent.start_time = 0;
	T_CHECK(sb_proc_open(parent) >= 0);
	check_zombie();
	return 0;
}

Test(proc, missing_proc_proves_nothing)
{
	struct sb_proc_id id = sb_proc_self();

	t_join_or_skip(t_fork(without_proc, &id), "no mount namespace for us");
}

/* Fork and reap ----------------------------------------------------------- */

static int no_process_to_be_had(void *arg)
{
	struct rlimit none = { 0, 0 };
	struct sb_proc p;

	T_CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
	T_CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
	T_CHECK(sb_proc_fork(&p, wait_for_ever, arg) == -EAGAIN);
	T_CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
	return 0;
}

Test(proc, fork_says_eagain)
{
	t_join(t_fork(no_process_to_be_had, NULL));
}

static int no_pidfd_to_be_had(void *arg)
{
	struct sb_proc p;

	exhaust_fds();
	T_CHECK(sb_proc_fork(&p, wait_for_ever, arg) == -EMFILE);
	T_CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
	return 0;
}

Test(proc, fork_that_gets_no_pidfd_leaves_no_child)
{
	t_join(t_fork(no_pidfd_to_be_had, NULL));
}

Test(proc, value_of_fn_is_the_exit_status)
{
	static const int values[] = { 0, 1, 77, 255 };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct sb_proc_exit how;
		struct sb_proc p;
		int v = values[i];

		cr_assert_eq(sb_proc_fork(&p, value_of, &v), 0);
		cr_assert(fcntl(p.pidfd, F_GETFD) & FD_CLOEXEC);
		cr_assert(t_eventually(ended, &p.pidfd, 5000));
		cr_assert_eq(sb_proc_reap(&p, &how), 0);
		cr_assert_eq(how.exit_status, v);
		cr_assert_eq(how.signal, 0);
	}
}

Test(proc, signal_that_killed_is_told)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGABRT };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sb_proc_exit how;
		struct sb_proc p;

		cr_assert_eq(sb_proc_fork(&p, wait_for_ever, NULL), 0);
		cr_assert_eq(sb_proc_reap(&p, &how), -EAGAIN);
		kill(p.pid, signals[i]);
		cr_assert(t_eventually(ended, &p.pidfd, 5000));
		cr_assert_eq(sb_proc_reap(&p, &how), 0);
		cr_assert_eq(how.exit_status, -1);
		cr_assert_eq(how.signal, signals[i]);
	}
}

Test(proc, reap_twice_says_echild)
{
	struct sb_proc p;
	int v = 0;

	cr_assert_eq(sb_proc_fork(&p, value_of, &v), 0);
	cr_assert(t_eventually(ended, &p.pidfd, 5000));
	cr_assert_eq(sb_proc_reap(&p, NULL), 0);
	cr_assert_lt(p.pidfd, 0);
	cr_assert_eq(sb_proc_reap(&p, NULL), -ECHILD);
}

Test(proc, child_reaped_by_others_has_unknown_end)
{
	struct sb_proc_exit how;
	struct sb_proc p;
	int v = 3;

	cr_assert_eq(sb_proc_fork(&p, value_of, &v), 0);
	cr_assert_eq(waitpid(p.pid, NULL, 0), p.pid);
	cr_assert_eq(sb_proc_reap(&p, &how), 0);
	cr_assert_eq(how.exit_status, -1);
	cr_assert_eq(how.signal, 0);
}

static int ignores_sigchld(void *arg)
{
	struct sb_proc_exit how;
	struct sb_proc p;

	signal(SIGCHLD, SIG_IGN);
	T_CHECK(sb_proc_fork(&p, wait_for_ever, arg) == 0);
	T_CHECK(sb_proc_reap(&p, &how) == -EAGAIN);
	kill(p.pid, SIGKILL);
	T_CHECK(t_eventually(ended, &p.pidfd, 5000));
	T_CHECK(sb_proc_reap(&p, &how) == 0);
	T_CHECK(how.exit_status == -1 && how.signal == 0);
	return 0;
}

Test(proc, child_reaped_by_the_kernel_has_unknown_end)
{
	t_join(t_fork(ignores_sigchld, NULL));
}

static int reap_of_the_parent(void *arg)
{
	T_CHECK(sb_proc_reap(arg, NULL) == -EAGAIN);
	return 0;
}

Test(proc, living_process_that_is_not_our_child_is_not_reaped)
{
	struct sb_proc p;

	cr_assert_eq(sb_proc_fork(&p, wait_for_ever, NULL), 0);
	t_join(t_fork(reap_of_the_parent, &p));
	kill(p.pid, SIGKILL);
	cr_assert(t_eventually(ended, &p.pidfd, 5000));
	cr_assert_eq(sb_proc_reap(&p, NULL), 0);
}

static int fork_gen_below(void *arg)
{
	uint32_t before = *(uint32_t *)arg;
	uint32_t mine = sb_fork_gen;

	T_CHECK(mine == before + 1);
	T_CHECK(t_wait(t_fork(value_of, &(int){ 0 })) == 0);
	T_CHECK(sb_fork_gen == mine);
	return 0;
}

Test(proc, fork_gen_counts_the_forks_above)
{
	uint32_t gen = sb_fork_gen;
	struct sb_proc_exit how;
	struct sb_proc p;

	t_join(t_fork(fork_gen_below, &gen));
	cr_assert_eq(sb_proc_fork(&p, fork_gen_below, &gen), 0);
	cr_assert(t_eventually(ended, &p.pidfd, 5000));
	cr_assert_eq(sb_proc_reap(&p, &how), 0);
	cr_assert_eq(how.exit_status, 0);
	cr_assert_eq(sb_fork_gen, gen);
}

static int exit_handler_fd;

static void say_at_exit(void)
{
	if (write(exit_handler_fd, "x", 1) != 1)
		_exit(1);
}

static int has_exit_handler(void *arg)
{
	struct sb_proc p;
	int v = 0;

	(void)arg;
	T_CHECK(atexit(say_at_exit) == 0);
	T_CHECK(sb_proc_fork(&p, value_of, &v) == 0);
	T_CHECK(t_eventually(ended, &p.pidfd, 5000));
	T_CHECK(sb_proc_reap(&p, NULL) == 0);
	return 0;
}

Test(proc, child_runs_no_exit_handlers)
{
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	exit_handler_fd = fd[1];
	t_join(t_fork(has_exit_handler, NULL));
	close(fd[1]);
	cr_assert(read_end_is_eof(&fd[0]));
	close(fd[0]);
}

/* fd[1] stays open in the grandchild for as long as that lives. */
static int forks_and_waits(void *arg)
{
	struct sb_proc p;

	T_CHECK(sb_proc_fork(&p, wait_for_ever, arg) == 0);
	T_CHECK(write(((int *)arg)[1], "x", 1) == 1);
	return wait_for_ever(arg);
}

Test(proc, child_dies_with_its_parent)
{
	pid_t parent;
	int fd[2];
	char c;

	cr_assert_eq(pipe(fd), 0);
	parent = t_fork(forks_and_waits, fd);
	close(fd[1]);
	cr_assert_eq(read(fd[0], &c, 1), 1);
	t_kill(parent);
	cr_assert(t_eventually(read_end_is_eof, &fd[0], 5000));
	close(fd[0]);
}

static int forks_and_ends(void *arg)
{
	struct sb_proc p;

	T_CHECK(sb_proc_fork(&p, wait_for_ever, arg) == 0);
	return 0;
}

Test(proc, child_dies_with_a_parent_that_was_quicker)
{
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	for (int i = 0; i < 200; i++)
		t_join(t_fork(forks_and_ends, fd));
	close(fd[1]);
	cr_assert(t_eventually(read_end_is_eof, &fd[0], 5000));
	close(fd[0]);
}

Test(proc, thousand_children_leak_no_descriptor)
{
	int n_fds = t_count_fds();
	int v = 0;

	for (int i = 0; i < 1000; i++) {
		struct sb_proc p;
		int ret;

		cr_assert_eq(sb_proc_fork(&p, value_of, &v), 0);
		while ((ret = sb_proc_reap(&p, NULL)) == -EAGAIN)
			sched_yield();
		cr_assert_eq(ret, 0);
	}
	cr_assert_eq(t_count_fds(), n_fds);
}

/* Who has a pid, and forks ------------------------------------------------- */

Test(proc, tells_who_has_a_pid)
{
	pid_t child = t_fork(wait_for_ever, NULL);
	struct sb_proc_id id = sb_proc_of(child);

	cr_assert_eq((pid_t)id.pid, child);
	cr_assert_eq(id.start_time, id_of(child).start_time);
	cr_assert_not(sb_proc_dead(id));
	kill(child, SIGKILL);
	while (!sb_proc_dead(id))
		usleep(100);
	/* a zombie still has it */
	cr_assert_eq(sb_proc_of(child).start_time, id.start_time);
	t_wait(child);
	cr_assert_eq(sb_proc_of(child).start_time, 0);
}

static int counts_from_zero(void *arg)
{
	(void)arg;
	return sb_forks_made == 0 ? 0 : 1;
}

Test(proc, counts_the_forks_that_it_has_made)
{
	uint32_t before = sb_forks_made;

	for (uint32_t i = 0; i < 3; i++) {
		t_join(t_fork(counts_from_zero, NULL));
		cr_assert_eq(sb_forks_made - before, i + 1);
	}
}
