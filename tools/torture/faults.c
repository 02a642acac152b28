/*
 * faults.c - each system call of the library fails, once, in each way
 *
 * A child does some work with a bus (faults_works.c), and we stop it at each
 * system call, with ptrace(2).  In its first run we note which there are.  Then
 * it does the same again and again, and each time one of them is not done but
 * fails, with an errno that its manual page has.  The work must then come out
 * right, or a call say an error; either way the child must not crash, nor hang,
 * and after it has closed everything there are as many descriptors, mappings
 * and children as before, and no file.  Then it does the work once more,
 * undisturbed, which must succeed: nothing may remain of the fault.
 *
 * Whom the library forks we trace as well where it is their turn: the calls of
 * the first three fail, too.  Theirs is whatever they do to end; what is judged is what
 * the child makes of it.
 *
 * The same is done with each allocation of memory, which the linker has pass
 * through here (--wrap).
 *
 * Not done are failures that would be lies about others: that a living process
 * is not there, or that we have no such child.
 *
 * A case is a work, a point (number-of-the-process * 1024 + number-of-the-call)
 * * 16 + number-of-the-errno; or 65536 + number-of-the-allocation, and 98304 +
 * that of one that was forked.  What is counted is how often that process has
 * made this very call before, as what is between may vary; where it made fewer
 * this time the point is missed, and counted as that.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/bus/t_bus.h"
#include "tests/support/step.h"
#include "tools/torture/faults.h"
#include "tools/torture/torture.h"

struct fa_shared *fa_sh;

/* --------------------------------------------------------------- memory -- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

/* Shall this one fail?  Those of the child, and of whom it forks, are counted
 * apart. */
static bool no_memory(void)
{
	int who;

	if (!fa_sh || !fa_sh->inside)
		return false;
	who = fa_sh->child != getpid();
	if (++fa_sh->n_allocs[who] != fa_sh->fail_alloc[who])
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return no_memory() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t each)
{
	return no_memory() ? NULL : __real_calloc(n, each);
}

void *__wrap_realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return no_memory() ? NULL : __real_aligned_alloc(align, n);
}

#ifdef __x86_64__

#include <sys/user.h>

#define N_WHO      4    /* the child, and the first that it forks */
#define N_EACH     1024 /* calls of each */
#define N_CALLS    (N_WHO * N_EACH)
#define N_ERRNOS   16
#define ALLOC_AT   (N_CALLS * N_ERRNOS) /* points that are allocations */
#define THEIRS_AT  (ALLOC_AT + 32768)   /* ... of whom it has forked */
#define N_TRACED   64
#define MAX_ROWS   32
#define PATIENCE_S 60

/* clang-format off */
static const struct known {
	long nr;
	const char *name;
	int errnos[10];
} known[] = {
	{ SYS_openat, "openat", { EACCES, EMFILE, ENFILE, ENOMEM, ENOENT,
	  EINTR, ENOSPC, EPERM } },
	{ SYS_close, "close", { EINTR, EIO } }, /* closed all the same */
	{ SYS_mmap, "mmap", { ENOMEM, EAGAIN, ENFILE, EPERM } },
	{ SYS_munmap, "munmap", { ENOMEM } },
	{ SYS_mremap, "mremap", { ENOMEM } },
	{ SYS_mprotect, "mprotect", { ENOMEM } },
	{ SYS_madvise, "madvise", { ENOMEM, EAGAIN, EIO, EINVAL, EFAULT } },
	{ SYS_fstat, "fstat", { ENOMEM, EOVERFLOW } },
	{ SYS_newfstatat, "newfstatat", { ENOMEM, EACCES } },
	{ SYS_ftruncate, "ftruncate", { EFBIG, EINTR, EIO, EPERM } },
	{ SYS_fallocate, "fallocate", { ENOSPC, EINTR, EFBIG, EOPNOTSUPP, EIO,
	  ENODEV } },
	{ SYS_fcntl, "fcntl", { EAGAIN, EINTR, ENOLCK, EPERM, EBUSY } },
	{ SYS_flock, "flock", { EWOULDBLOCK, EINTR, ENOLCK } },
	{ SYS_fchmod, "fchmod", { EPERM, EIO, EROFS } },
	{ SYS_linkat, "linkat", { EEXIST, ENOSPC, EACCES, EPERM, EDQUOT, ENOMEM,
	  EIO } },
	{ SYS_unlink, "unlink", { EACCES, EPERM, EBUSY, EIO } },
	{ SYS_unlinkat, "unlinkat", { EACCES, EPERM, EBUSY, EIO } },
	{ SYS_rename, "rename", { EACCES, ENOSPC, EPERM } },
	{ SYS_renameat, "renameat", { EACCES, ENOSPC, EPERM } },
	{ SYS_renameat2, "renameat2", { EACCES, ENOSPC, EPERM } },
	{ SYS_memfd_create, "memfd_create", { EMFILE, ENFILE, ENOMEM, EINVAL,
	  ENOSYS } },
	{ SYS_clone, "clone", { EAGAIN, ENOMEM } },
	{ SYS_clone3, "clone3", { EAGAIN, ENOMEM } },
	{ 434, "pidfd_open", { EMFILE, ENFILE, ENOMEM, ENODEV, ENOSYS } },
	{ 424, "pidfd_send_signal", { EPERM } },
	{ SYS_poll, "poll", { EINTR, ENOMEM } },
	{ SYS_ppoll, "ppoll", { EINTR, ENOMEM } },
	{ SYS_pipe2, "pipe2", { EMFILE, ENFILE } },
	{ SYS_eventfd2, "eventfd2", { EMFILE, ENFILE, ENODEV, ENOMEM } },
	{ SYS_read, "read", { EINTR, EIO } },
	{ SYS_pread64, "pread", { EINTR, EIO } },
	{ SYS_readlink, "readlink", { ENOENT, EACCES, ENOMEM } },
	{ SYS_waitid, "waitid", { EINTR } },
	{ 425, "io_uring_setup", { ENOSYS, EPERM, ENOMEM, EMFILE, ENFILE } },
	{ 426, "io_uring_enter", { EINTR, EAGAIN, EBUSY } },
	{ 427, "io_uring_register", { ENOMEM, EBUSY, EINVAL } },
	{ SYS_membarrier, "membarrier", { EPERM, ENOSYS, EINVAL } },
	{ SYS_futex, "futex", { EINTR, EAGAIN, ETIMEDOUT } },
	{ SYS_nanosleep, "nanosleep", { EINTR } },
	{ SYS_clock_nanosleep, "clock_nanosleep", { EINTR } },
	{ SYS_prctl, "prctl", { EINVAL } },
	{ SYS_sched_getaffinity, "sched_getaffinity", { EINVAL } },
	{ SYS_getrandom, "getrandom", { EINTR, ENOSYS } },
};

/* clang-format on */

static struct {
	_Atomic uint32_t next_case;

	struct row {
		struct tally t;
		_Atomic uint64_t n_calls, n_theirs, n_allocs, n_errors,
			n_missed, ns;
	} row[MAX_ROWS];
} * all;

static struct {
	const char *name;
	struct row *row;
	uint32_t n_calls[N_WHO], n_allocs[2];
	uint16_t nr[N_CALLS], nth[N_CALLS]; /* of those of its process */
} x;

static const struct fa_work *work;

#define bad(field, at, ...)                                                    \
	torture_bad(&x.row->t, offsetof(struct tally, field), x.name, at,      \
		    __VA_ARGS__)

/* ------------------------------------------------------------ the child -- */

/* Whoever cannot be told what a descriptor is does not close it: it may be
 * another's by now. */
static bool tells_what_it_is(long call)
{
#ifdef SYS_newfstatat
	if (call == SYS_newfstatat)
		return true;
#endif
#ifdef SYS_fstat
	if (call == SYS_fstat)
		return true;
#endif
	return call == SYS_readlink;
}

/* Of one who is traced the parent hears that it has ended a moment before it
 * can reap it: so where we follow, a zombie is nobody's fault. */
static bool is_childless(void *arg)
{
	(void)arg;
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

/* @failed: the number of the call that did. */
static void check_nothing_left(int n_fds, int n_maps, long failed)
{
	int more = t_count_fds() - n_fds;

	if (more && (!tells_what_it_is(failed) || more != 1))
		fa_sh->leaked = __LINE__;
	/* malloc may keep one */
	if (failed != SYS_munmap && t_count_maps() > n_maps + 2)
		fa_sh->leaked = __LINE__;
	if (fa_sh->follows ? !t_eventually(is_childless, NULL, 10000)
			   : !is_childless(NULL))
		fa_sh->leaked = __LINE__;
}

static int child_main(void *arg)
{
	long failed = *(const long *)arg;
	int n_fds, n_maps;

	/* once before, for what is kept for ever */
	T_CHECK(work->fn() == 0);
	fa_undo();
	n_fds = t_count_fds();
	n_maps = t_count_maps();
	t_step_offer(&fa_sh->child, &fa_sh->seized);
	fa_sh->inside = 1;
	fa_sh->error = work->fn();
	fa_undo();
	fa_sh->inside = 0;
	check_nothing_left(n_fds, n_maps, failed);
	fa_sh->over = 1;
	if (fa_sh->wrong || fa_sh->stuck)
		return 0;
	fa_sh->again = work->fn();
	if (fa_sh->again < 0)
		fa_wrong(__FILE__, __LINE__); /* the fault has left something */
	fa_undo();
	return 0;
}

/* --------------------------------------------------------- the injector -- */

static const struct known *find(long nr)
{
	for (size_t i = 0; i < lengthof(known); i++)
		if (known[i].nr == nr)
			return &known[i];
	return NULL;
}

/* Wake-ups never fail; what sleeps may be told that it was in vain. */
static bool may_fail(const struct user_regs_struct *r)
{
	long nr = (long)r->orig_rax;

	if (nr == SYS_futex)
		return (r->rsi & 127) == 0 || (r->rsi & 127) == 9;
	if (nr == SYS_waitid) /* nor does it sleep with WNOHANG */
		return !(r->r10 & WNOHANG);
	return find(nr) != NULL;
}

struct injection {
	/* The @nth call @nr of @who, -1 of nobody: what else it does before may
	 * vary, as how often it sleeps. */
	int who;
	long nr;
	uint32_t nth;
	int err;
	bool made;
	uint32_t alloc[2]; /* number of the allocation, from 1; 0 none */
	uint32_t n[N_WHO]; /* calls so far */
	uint32_t n_same;
	int n_who; /* who has come so far */

	struct traced {
		pid_t pid;            /* 0: nobody */
		int who;              /* N_WHO: one whose calls do not fail */
		bool inside, pending; /* a call */
	} traced[N_TRACED];
};

/* Measures. */
static void note_call(int who, uint32_t n, long nr)
{
	uint32_t at = (uint32_t)who * N_EACH + n;

	x.nr[at] = (uint16_t)nr;
	x.nth[at] = 0;
	for (uint32_t i = at - n; i < at; i++)
		x.nth[at] += x.nr[i] == nr;
}

/* At the entry of a call. */
static void at_entry(struct traced *t, struct injection *in)
{
	struct user_regs_struct r;
	long nr;

	if (!fa_sh->inside || t->who >= N_WHO || in->n[t->who] >= N_EACH ||
	    ptrace(PTRACE_GETREGS, t->pid, 0, &r) || !may_fail(&r))
		return;
	nr = (long)r.orig_rax;
	if (in->who < 0)
		note_call(t->who, in->n[t->who], nr);
	in->n[t->who]++;
	if (t->who != in->who || nr != in->nr || in->n_same++ != in->nth)
		return;
	t->pending = in->made = true;
	if (nr == SYS_close)
		return;
	r.orig_rax = (unsigned long)-1; /* none */
	ptrace(PTRACE_SETREGS, t->pid, 0, &r);
}

static void at_end(struct traced *t, const struct injection *in)
{
	struct user_regs_struct r;

	if (!t->pending || ptrace(PTRACE_GETREGS, t->pid, 0, &r))
		return;
	t->pending = false;
	r.rax = (unsigned long)-(long)in->err;
	ptrace(PTRACE_SETREGS, t->pid, 0, &r);
}

/* @pid, which is new if we do not know it. */
static struct traced *find_traced(struct injection *in, pid_t pid)
{
	struct traced *free = NULL;

	for (int i = N_TRACED; i-- > 0;)
		if (in->traced[i].pid == pid)
			return &in->traced[i];
		else if (!in->traced[i].pid)
			free = &in->traced[i];
	T_CHECK(free);
	*free = (struct traced){ .pid = pid, .who = N_WHO };
	/* Whom the work itself forks for its own ends is not one of them. */
	if (in->n_who < N_WHO && (!in->n_who || fa_sh->inside))
		free->who = in->n_who++;
	return free;
}

static void on_tick(int sig)
{
	(void)sig;
}

static void set_tick(bool on)
{
	struct itimerval it = { 0 };

	if (on)
		it.it_value.tv_usec = it.it_interval.tv_usec = 100000;
	setitimer(ITIMER_REAL, &it, NULL);
}

/* It has stopped, with @status: let it go on. */
static void go_on(struct traced *t, struct injection *in, int status)
{
	int sig = WSTOPSIG(status);

	if (sig == (SIGTRAP | 0x80)) {
		t->inside = !t->inside;
		if (t->inside)
			at_entry(t, in);
		else
			at_end(t, in);
		sig = 0;
	} else if (sig == SIGTRAP || sig == SIGSTOP) {
		sig = 0;
	}
	ptrace(PTRACE_SYSCALL, t->pid, 0, sig);
}

static void kill_all(struct injection *in)
{
	for (int i = 0; i < N_TRACED; i++)
		if (in->traced[i].pid)
			kill(in->traced[i].pid, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
}

/* Run the child to its end, with all that it forks.  Returns its wait status,
 * or -1 when it hangs. */
static int follow(pid_t child, struct injection *in)
{
	uint64_t until = sb_deadline(PATIENCE_S * (int64_t)SB_NS_PER_S);
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	int status, how = -1;
	pid_t pid;

	find_traced(in, child);
	if (fa_sh->follows)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			   PTRACE_O_TRACECLONE;
	ptrace(PTRACE_SETOPTIONS, child, 0, options);
	ptrace(PTRACE_SYSCALL, child, 0, 0);
	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		if (pid > 0 && WIFSTOPPED(status)) {
			go_on(find_traced(in, pid), in, status);
		} else if (pid > 0) {
			find_traced(in, pid)->pid = 0;
			if (pid == child)
				how = status;
		} else if (errno == ECHILD) {
			return how;
		}
		if (sb_now_ns() > until) {
			kill_all(in);
			return -1;
		}
	}
}

static bool is_there(void *arg)
{
	(void)arg;
	return fa_sh->child != 0;
}

static int run(struct injection *in)
{
	pid_t pid;
	int status;

	memset(fa_sh, 0, sizeof(*fa_sh));
	for (int i = 0; i < 2; i++)
		fa_sh->fail_alloc[i] = in->alloc[i];
	fa_sh->follows =
		in->who > 0 || (in->who < 0 && !in->alloc[0] && !in->alloc[1]);
	pid = t_fork(child_main, &in->nr);
	if (!t_eventually(is_there, NULL, 10000) ||
	    t_step_seize(pid, &fa_sh->seized)) {
		kill(pid, SIGKILL);
		t_wait(pid);
		return -2;
	}
	set_tick(true);
	status = follow(pid, in);
	set_tick(false);
	return status;
}

/* ---------------------------------------------------------------- cases -- */

static void judge(int status, long at, const char *what)
{
	const char *name = what;

	if (status == -1)
		bad(hung, at, "%s", name);
	else if (status < 0)
		bad(wrong, at, "%s: it cannot begin", name);
	else if (WIFSIGNALED(status))
		bad(crashed, at, "%s: %s", name, strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		bad(wrong, at, "%s: it ended with %d", name,
		    WEXITSTATUS(status));
	else if (fa_sh->stuck)
		bad(hung, at, "%s: a time-out, %s:%u", name, fa_sh->file,
		    (unsigned)fa_sh->stuck);
	else if (fa_sh->wrong)
		bad(wrong, at, "%s: not right, %s:%u; error %d, later %d", name,
		    fa_sh->file, (unsigned)fa_sh->wrong, (int)fa_sh->error,
		    (int)fa_sh->again);
	else if (fa_sh->leaked)
		bad(leaked, at, "%s: something is left, line %u", name,
		    (unsigned)fa_sh->leaked);
	if (fa_sh->error)
		x.row->n_errors++;
}

static void check_files(long at, const char *what, bool by_unlink)
{
	/* its creator is dead, so another can replace it */
	if (!by_unlink && t_shm_leftovers())
		bad(leaked, at, "%s: a file is left", what);
	t_shm_clean();
}

static void run_point(long at)
{
	long call = at / N_ERRNOS;
	const struct known *k = find(x.nr[call]);
	struct injection in = { .who = (int)(call / N_EACH),
				.nr = k->nr,
				.nth = x.nth[call] };
	bool by_unlink = k->nr == SYS_unlink || k->nr == SYS_unlinkat;
	char what[64];

	torture_gate();
	in.err = k->errnos[at % N_ERRNOS % lengthof(k->errnos)];
	snprintf(what, sizeof(what), "%s says %s%s", k->name,
		 strerrorname_np(in.err), in.who ? ", in a child" : "");
	torture_point(&x.row->t);
	judge(run(&in), at, what);
	if (!in.made)
		x.row->n_missed++;
	check_files(at, what, by_unlink);
}

static void run_alloc(int who, uint32_t n)
{
	struct injection in = { .who = -1 };
	long at = (who ? THEIRS_AT : ALLOC_AT) + (long)n;

	in.alloc[who] = n + 1;
	torture_gate();
	torture_point(&x.row->t);
	judge(run(&in), at, "no memory");
	if (fa_sh->n_allocs[who] <= n)
		x.row->n_missed++;
	check_files(at, "no memory", false);
}

static void note_calls(const struct injection *in)
{
	for (int i = 0; i < N_WHO; i++) {
		x.n_calls[i] = in->n[i];
		if (i)
			x.row->n_theirs += x.n_calls[i];
		for (uint32_t k = 0; k < x.n_calls[i] && torture->at >= 0; k++)
			torture_say("%6u: %s%s\n", (i * N_EACH + k) * N_ERRNOS,
				    find(x.nr[i * N_EACH + k])->name,
				    i ? ", by one it has forked" : "");
	}
	for (int i = 0; i < 2; i++)
		x.row->n_allocs += x.n_allocs[i] = fa_sh->n_allocs[i];
	x.row->n_calls = x.n_calls[0];
}

static bool measure(void)
{
	struct injection in = { .who = -1 };
	int status = run(&in);

	note_calls(&in);
	if (!status && !fa_sh->error && !fa_sh->wrong && !fa_sh->leaked &&
	    in.n[0])
		return true;
	bad(wrong, -1, "undisturbed it gives status %d, error %d, lines %u, %u",
	    status, (int)fa_sh->error, (unsigned)fa_sh->wrong,
	    (unsigned)fa_sh->leaked);
	return false;
}

/* Is there point @at? */
static bool has_point(long at)
{
	if (at >= THEIRS_AT)
		return at - THEIRS_AT < (long)x.n_allocs[1];
	if (at >= ALLOC_AT)
		return at - ALLOC_AT < (long)x.n_allocs[0];
	at /= N_ERRNOS;
	return at % N_EACH < (long)x.n_calls[at / N_EACH];
}

static void run_one(long at)
{
	if (!torture_has(has_point(at)))
		return;
	if (at < ALLOC_AT)
		run_point(at);
	else
		run_alloc(at >= THEIRS_AT,
			  (uint32_t)(at >= THEIRS_AT ? at - THEIRS_AT
						     : at - ALLOC_AT));
}

static void run_all(void)
{
	for (uint32_t i = 0; i < N_CALLS; i++)
		for (uint32_t e = 0;
		     i % N_EACH < x.n_calls[i / N_EACH] &&
		     e < lengthof(known[0].errnos) && find(x.nr[i])->errnos[e];
		     e++)
			run_point(i * N_ERRNOS + e);
	for (int who = 0; who < 2; who++)
		for (uint32_t i = 0; i < x.n_allocs[who]; i++)
			run_alloc(who, i);
}

static int case_main(void *arg)
{
	struct sigaction sa = { .sa_handler = on_tick };

	(void)arg;
	t_name("f"); /* has our pid from now on, for all our children */
	sigaction(SIGALRM, &sa, NULL);
	if (work->inherits) {
		struct bus_config c = fa_settings(BUS_WAIT_AUTO);

		fa_inherited = t_bus_with(NULL, &c);
	}
	if (!measure())
		return 0;
	if (torture->at >= 0)
		run_one(torture->at);
	else
		run_all();
	return 0;
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();
	int status;

	work = &fa_works[c];
	x.name = work->name;
	x.row = &all->row[c];
	if (!torture_wants(x.name))
		return;
	status = t_wait(t_fork(case_main, NULL));
	if (status)
		bad(wrong, -1, "the case did not come to its end (%d)", status);
	x.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	fa_sh = t_shared(sizeof(*fa_sh));
	while ((c = all->next_case++) < fa_n_works)
		run_case(c);
	return 0;
}

int faults_main(void)
{
	bool good;

	T_CHECK(fa_n_works <= MAX_ROWS);
	all = t_shared(sizeof(*all));
	good = t_each_cpu(shard_main, NULL);
	torture_say("%-12s %7s %7s %7s %7s %7s %7s %5s %8s\n", "work", "calls",
		    "theirs", "allocs", "points", "errors", "missed", "bad",
		    "seconds");
	for (size_t i = 0; i < fa_n_works; i++) {
		const struct row *r = &all->row[i];

		if (r->t.points)
			torture_say(
				"%-12s %7u %7u %7u %7u %7u %7u %5u %8.1f\n",
				fa_works[i].name, (unsigned)r->n_calls,
				(unsigned)r->n_theirs, (unsigned)r->n_allocs,
				(unsigned)r->t.points, (unsigned)r->n_errors,
				(unsigned)r->n_missed,
				(unsigned)tally_bad(&r->t),
				(double)r->ns / 1e9);
	}
	return good ? 0 : 1;
}

#else

int faults_main(void)
{
	torture_skip("all", "this machine's system calls are not known to it");
	return 0;
}

#endif
