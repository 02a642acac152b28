/*
 * step.c - let a process do so many instructions, and kill or stop it there;
 * see step.h
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/proc.h"
#include "tests/support/step.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on every arch */
#endif
#define NR_IO_URING_ENTER 426 /* this, too */

#define N_SHARDS 64

/* Where the victim is before its next step. */
static uint64_t last_pc;

static int end_status; /* of the last that was found ended, from waitpid(2) */

static int trace_me(void *arg)
{
	(void)arg;
	return ptrace(PTRACE_TRACEME, 0, 0, 0) ? 1 : 0;
}

bool t_may_trace(void)
{
	return t_wait(t_fork(trace_me, NULL)) == 0;
}

/* As proc(5) has it: R, S, D, T and so on; X when there is no such process. */
static char state_of(pid_t pid)
{
	char path[64], line[512] = "";
	const char *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 'X';
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	state = strrchr(line, ')');
	return state && state[1] == ' ' ? state[2] : 'X';
}

static bool asleep(pid_t pid)
{
	char state = state_of(pid);

	return state == 'S' || state == 'D';
}

bool t_blocked(pid_t pid, long *nr)
{
	char path[64], buf[32] = "";
	FILE *f;

	*nr = -1;
	if (!asleep(pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fgets(buf, sizeof(buf), f))
		sscanf(buf, "%ld", nr);
	fclose(f);
	return true;
}

bool t_parked(pid_t pid)
{
	long nr;

	return t_blocked(pid, &nr) &&
	       (nr == -1 || nr == SYS_futex || nr == NR_IO_URING_ENTER);
}

void t_step_offer(_Atomic int32_t *pid, const _Atomic uint32_t *seized)
{
	const struct timespec t = { .tv_nsec = 30000 };
	int32_t self = getpid();

	*pid = self;
	while (!*seized)
		nanosleep(&t, NULL);
	syscall(SYS_kill, self, SIGSTOP);
}

int t_step_seize(pid_t victim, _Atomic uint32_t *seized)
{
	int status;

	if (ptrace(PTRACE_SEIZE, victim, 0, 0))
		return -errno;
	*seized = 1;
	if (waitpid(victim, &status, __WALL) != victim)
		return -errno;
	last_pc = t_step_pc(victim);
	return WIFSTOPPED(status) ? 0 : -ESRCH;
}

/* Let it go, by @request, until it stops again. */
static int resume(int request, pid_t victim, enum t_stop (*blocked)(void *arg),
		  void *arg)
{
	enum t_stop stop;
	int status;
	long nr;

	do {
		if (ptrace(request, victim, 0, 0))
			return -errno;
		while (waitpid(victim, &status, __WALL) != victim) {
			if (errno != EINTR)
				return -errno;
			if (!t_blocked(victim, &nr))
				continue;
			stop = blocked(arg);
			if (stop != T_STEPPED)
				return stop;
		}
		if (!WIFSTOPPED(status)) {
			end_status = status;
			return T_ENDED;
		}
		/* a signal is no breakpoint, but as good as a step */
	} while (request == PTRACE_CONT && WSTOPSIG(status) != SIGTRAP);
	return T_STEPPED;
}

#ifdef __x86_64__

#include <sys/user.h>

#define USER(member) offsetof(struct user, member)

uint64_t t_step_pc(pid_t victim)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, victim, USER(regs.rip), 0);
}

/* How long is the instruction at @pc, if it is a string instruction with a REP
 * in front?  Else 0. */
static uint64_t rep_bytes(pid_t victim, uint64_t pc)
{
	long word = ptrace(PTRACE_PEEKTEXT, victim, pc, 0);
	unsigned char code[sizeof(word)];
	uint64_t n = 1;

	memcpy(code, &word, sizeof(code));
	if (code[0] != 0xf2 && code[0] != 0xf3)
		return 0;
	n += code[n] >> 4 == 4; /* REX */
	/* movs, cmps; stos, lods, scas */
	if ((code[n] & 0xfc) != 0xa4 && (code[n] < 0xaa || code[n] > 0xaf))
		return 0;
	return n + 1;
}

/* Stop before the instruction at @pc is done; 0: nowhere. */
static bool set_breakpoint(pid_t victim, uint64_t pc)
{
	if (ptrace(PTRACE_POKEUSER, victim, USER(u_debugreg[7]), 0))
		return false;
	if (!pc)
		return true;
	return !ptrace(PTRACE_POKEUSER, victim, USER(u_debugreg[0]), pc) &&
	       !ptrace(PTRACE_POKEUSER, victim, USER(u_debugreg[7]), 1);
}

#else

uint64_t t_step_pc(pid_t victim)
{
	(void)victim;
	return 0;
}

static uint64_t rep_bytes(pid_t victim, uint64_t pc)
{
	(void)victim;
	(void)pc;
	return 0;
}

static bool set_breakpoint(pid_t victim, uint64_t pc)
{
	(void)victim;
	(void)pc;
	return false;
}

#endif

/*
 * A REP stops after each of its rounds.  Let it do all of them: a memset() of a
 * large ring would be half a million instructions.
 */
static int finish_rep(pid_t victim, uint64_t pc,
		      enum t_stop (*blocked)(void *arg), void *arg)
{
	uint64_t n = rep_bytes(victim, pc);
	int ret = T_STEPPED;

	if (!n)
		return T_STEPPED;
	if (set_breakpoint(victim, pc + n)) {
		ret = resume(PTRACE_CONT, victim, blocked, arg);
		if (ret == T_STEPPED)
			set_breakpoint(victim, 0);
		return ret;
	}
	while (ret == T_STEPPED && t_step_pc(victim) == pc)
		ret = resume(PTRACE_SINGLESTEP, victim, blocked, arg);
	return ret;
}

int t_step(pid_t victim, enum t_stop (*blocked)(void *arg), void *arg)
{
	int ret = resume(PTRACE_SINGLESTEP, victim, blocked, arg);
	uint64_t pc;

	if (ret != T_STEPPED)
		return ret;
	pc = t_step_pc(victim);
	if (pc && pc == last_pc) {
		ret = finish_rep(victim, pc, blocked, arg);
		pc = ret == T_STEPPED ? t_step_pc(victim) : 0;
	}
	last_pc = pc;
	return ret;
}

/* How often each place was come to: open hashing, made anew by a number. */
#define N_PLACES 65536

static struct place {
	uint64_t pc;
	uint32_t round, n;
} places[N_PLACES];

static uint32_t count(uint64_t pc, uint32_t round)
{
	uint64_t i = (pc * UINT64_C(0x9e3779b97f4a7c15)) >> 48;

	while (places[i].round == round && places[i].pc != pc)
		i = (i + 1) % N_PLACES;
	if (places[i].round != round)
		places[i] = (struct place){ .pc = pc, .round = round };
	return ++places[i].n;
}

/*
 * From after @from instructions to after @to: run to a place until we have
 * been there *@n times, then step.  Returns after how many we are there then,
 * @from: it is better to step.
 */
static long find_place(const uint64_t *pc, long from, long to, uint32_t *n)
{
	static uint32_t round;
	long best = from, cost = to - from;
	uint32_t n_places = 0;

	round++;
	*n = 0;
	for (long i = from; i <= to && n_places < N_PLACES / 2; i++) {
		uint32_t k = count(pc[i], round);

		n_places += k == 1;
		/* a stop costs about as much as a step, and is one more */
		if ((long)k + to - i + 1 < cost) {
			best = i;
			cost = (long)k + to - i + 1;
			*n = k;
		}
	}
	return best;
}

int t_step_on(pid_t victim, const uint64_t *pc, long from, long to,
	      enum t_stop (*blocked)(void *arg), void *arg)
{
	long place;
	uint32_t n;
	int ret = T_STEPPED;

	/* A breakpoint where it stands may count or not: step away. */
	if (from < to) {
		ret = t_step(victim, blocked, arg);
		from++;
	}
	if (ret != T_STEPPED || from >= to)
		return ret;
	place = pc[to] ? find_place(pc, from, to, &n) : from;
	if (place > from && set_breakpoint(victim, pc[place])) {
		while (n-- > 0 && ret == T_STEPPED)
			ret = resume(PTRACE_CONT, victim, blocked, arg);
		if (ret == T_STEPPED)
			set_breakpoint(victim, 0);
		last_pc = pc[place];
		from = place;
	}
	while (from++ < to && ret == T_STEPPED)
		ret = t_step(victim, blocked, arg);
	return ret;
}

/*
 * Detach with SIGKILL instead of just sending it, so that the parent of a
 * victim that is not our child hears of it at once.  That needs a stop, which
 * a signal brings about when it is blocked; it ends no system call of a victim
 * that will never see the result.
 */
int t_step_kill(pid_t victim, enum t_stop stop, bool our_child)
{
	struct pollfd p = { .events = POLLIN };
	int status;

	if (stop == T_ENDED)
		return 0;
	if (stop == T_HANGS) {
		kill(victim, SIGKILL);
		waitpid(victim, &status, __WALL);
		return 0;
	}
	p.fd = (int)syscall(SYS_pidfd_open, victim, 0u);
	if (stop == T_BLOCKED) {
		kill(victim, SIGUSR1);
		while (waitpid(victim, &status, __WALL) < 0 && errno == EINTR)
			;
	}
	if (ptrace(PTRACE_DETACH, victim, 0, SIGKILL))
		return -errno;
	while (poll(&p, 1, -1) != 1)
		;
	close(p.fd);
	if (our_child)
		waitpid(victim, &status, 0);
	return 0;
}

#define REAPED                                                                 \
	1 /* instead of an error: it has ended, and end_status says how */

/*
 * Bring @victim to the stop before it gets a SIGSTOP, and drop what comes
 * before that: the end of its step, if it has woken since we looked, or because
 * the signal ends its system call.  So nothing is left that would kill it.
 */
static int stop_signal(pid_t victim, enum t_stop stop)
{
	int status;

	if (kill(victim, SIGSTOP))
		return -ESRCH;
	if (stop == T_STEPPED && ptrace(PTRACE_CONT, victim, 0, 0))
		return -errno;
	for (;;) {
		if (waitpid(victim, &status, __WALL) != victim) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!WIFSTOPPED(status)) {
			end_status = status;
			return REAPED;
		}
		if (WSTOPSIG(status) == SIGSTOP)
			return 0;
		if (ptrace(PTRACE_CONT, victim, 0, 0))
			return -errno;
	}
}

/* Trace it no longer, and let it have @sig. */
static int detach(pid_t victim, enum t_stop stop, int sig)
{
	int ret = stop_signal(victim, stop);

	/* One that it did not come to stays, and nobody would be there to take
	 * the SIGTRAP. */
	set_breakpoint(victim, 0);
	if (!ret && ptrace(PTRACE_DETACH, victim, 0, sig))
		ret = -errno;
	return ret;
}

/* What to say of @ret.  Who is not there any more, or about to die, is reaped. */
static int outcome(pid_t victim, int ret)
{
	if (ret == -ESRCH) {
		do
			ret = waitpid(victim, &end_status, __WALL);
		while ((ret == victim && WIFSTOPPED(end_status)) ||
		       (ret < 0 && errno == EINTR));
		ret = ret < 0 ? -errno : REAPED;
	}
	return ret == REAPED ? -ESRCH : ret;
}

int t_step_let_go(pid_t victim, enum t_stop stop)
{
	if (stop == T_ENDED)
		return -ESRCH;
	return outcome(victim, detach(victim, stop, 0));
}

int t_step_stop(pid_t victim, enum t_stop stop)
{
	const struct timespec t = { .tv_nsec = 30000 };
	char state;
	int ret;

	if (stop == T_ENDED)
		return -ESRCH;
	ret = detach(victim, stop, SIGSTOP);
	while (!ret && (state = state_of(victim)) != 'T') {
		if (state == 'X' || state == 'Z')
			ret = -ESRCH;
		nanosleep(&t, NULL);
	}
	return outcome(victim, ret);
}

int t_step_status(void)
{
	return t_status(end_status);
}

struct shard {
	int cpu;
	int (*fn)(void *arg);
	void *arg;
};

static int shard_main(void *arg)
{
	const struct shard *s = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	return s->fn(s->arg);
}

bool t_each_cpu(int (*shard)(void *arg), void *arg)
{
	struct shard s = { .fn = shard, .arg = arg };
	pid_t pid[N_SHARDS];
	cpu_set_t set;
	bool good = true;
	int n = 0;

	sched_getaffinity(0, sizeof(set), &set);
	for (s.cpu = 0; s.cpu < CPU_SETSIZE && n < N_SHARDS; s.cpu++)
		if (CPU_ISSET(s.cpu, &set))
			pid[n++] = t_fork(shard_main, &s);
	while (n)
		if (t_wait(pid[--n]))
			good = false;
	return good;
}
