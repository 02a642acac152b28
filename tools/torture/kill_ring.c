/*
 * kill_ring.c - SIGKILL after every instruction of every operation of the ring
 *
 * For each operation, in each state of the ring, a victim process is
 * single-stepped with ptrace.  After each instruction it is taken for dead: its
 * id is recovered, and the survivors go on.  Every message must be finished
 * exactly once, every request answered exactly once, nothing may hang, and all
 * slots must be there again.  Then the shared memory is put back as it was,
 * which a stopped process cannot tell, and it does its next instruction.
 *
 * To be sure that this is the same as killing, every KILL_STRIDE-th point is
 * done again with SIGKILL; --full does that with all of them.  --full also
 * does this to the recovery of each point: k times j points.
 *
 * A case is ring/operation/state, a point the number of instructions.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/proc.h"
#include "tests/support/step.h"
#include "tools/torture/kill_ring.h"

#define K_MAX       100000
#define KILL_STRIDE 97
#define MAX_OPS     32

static const char *const state_names[N_STATES] = {
	"empty", "one", "full", "held", "stall", "tail", "head", "passed",
};

struct shared *kr_sh;
struct kr kr;
struct kr_at kr_at = { .j = -1 };

void kr_bad(size_t what, const char *msg)
{
	torture_bad(&kr_at.row->t, what, kr_at.name, kr_at.k, "%s%s", msg,
		    kr_at.j < 0 ? "" : " (recovery killed too)");
}

/* -------------------------------------------------------------- stepping -- */

static pid_t start_victim(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		syscall(SYS_kill, getpid(), SIGSTOP);
		fn();
		kr_sh->done = true;
		for (;;)
			syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
	}
	waitpid(pid, &status, 0);
	return pid;
}

static void end_victim(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static bool one_instruction(pid_t pid)
{
	int status;

	if (!ptrace(PTRACE_SINGLESTEP, pid, 0, 0) &&
	    waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) &&
	    WSTOPSIG(status) == SIGTRAP)
		return true;
	BAD(wrong, "victim went astray");
	return false;
}

/* Run @fn as the victim and kill it after @k instructions.  Returns false when
 * it was through before. */
static bool kill_after(void (*fn)(void), long k)
{
	pid_t pid;
	long i;

	kr_sh->done = false;
	pid = start_victim(fn);
	for (i = 0; i < k && !kr_sh->done; i++)
		if (!one_instruction(pid))
			break;
	end_victim(pid);
	torture_has(i == k);
	return !kr_sh->done;
}

/* Run @fn as the victim, and @look after each instruction, with everything
 * put back afterwards. */
static void sweep(void (*fn)(void), void (*look)(void))
{
	struct shared *sh_was = malloc(sizeof(*kr_sh));
	struct kr *x_was = malloc(sizeof(kr));
	pid_t pid;
	long k;

	kr_sh->done = false;
	pid = start_victim(fn);
	for (k = 0; k < K_MAX; k++) {
		bool done = kr_sh->done;

		memcpy(sh_was, kr_sh, sizeof(*kr_sh));
		memcpy(x_was, &kr, sizeof(kr));
		look();
		memcpy(kr_sh, sh_was, sizeof(*kr_sh));
		memcpy(&kr, x_was, sizeof(kr));
		if (done || !one_instruction(pid))
			break;
		*kr.k = *kr.k + 1;
	}
	if (k == K_MAX)
		BAD(hung, "the operation does not end");
	end_victim(pid);
	free(sh_was);
	free(x_was);
}

/* ----------------------------------------------------------------- cases -- */

/* The victim is dead, and those that recover it die too. */
static void survive_twice(void)
{
	kr_at.j = 0;
	kr.k = &kr_at.j;
	sweep(kr_do_recover, kr_survive);
	kr_at.j = -1;
}

static void set_up_case(const struct op *op, enum state state,
			unsigned int log_n, uint64_t first)
{
	kr_set_up(op, log_n, first);
	kr.op = op;
	kr.state = state;
	kr.k = &kr_at.k;
	kr_at.k = 0;
	kr_at.j = -1;
	kr_prepare(state);
	if (op->before)
		op->before();
}

static void kill_case(const struct op *op, enum state state, unsigned int log_n,
		      uint64_t first, long from, long stride)
{
	bool killed = true;

	for (long k = from; k <= K_MAX && killed; k += stride) {
		set_up_case(op, state, log_n, first);
		kr_at.k = k;
		killed = kill_after(op->fn, k);
		kr_at.row->kills++;
		kr_survive();
	}
}

static bool makes_sense(const struct op *op, enum state state)
{
	if (op->fn == kr_do_collect && (state == FULL || state == STALL_HEAD))
		return false;
	return true;
}

static const struct {
	const char *name;
	unsigned int log_n;
	uint64_t first;
} rings[] = {
	{ "n8", 3, 0 },
	{ "n4", 2, (UINT64_C(1) << 48) - 4 },
	{ "n2", 1, (UINT64_C(1) << 48) - 2 },
};

#define N_RINGS (sizeof(rings) / sizeof(rings[0]))

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[N_RINGS][MAX_OPS];
} *all;

static void run_case(const struct op *op, enum state state, size_t r)
{
	unsigned int log_n = rings[r].log_n;
	uint64_t first = rings[r].first;

	snprintf(kr_at.name, sizeof(kr_at.name), "%s/%s/%s", rings[r].name,
		 op->name, state_names[state]);
	if (!torture_wants(kr_at.name))
		return;
	kr_at.row = &all->row[r][op - kr_ops];
	if (torture->at >= 0) {
		kill_case(op, state, log_n, first, torture->at, K_MAX);
		return;
	}
	set_up_case(op, state, log_n, first);
	sweep(op->fn, kr_survive);
	kill_case(op, state, log_n, first, (long)state,
		  torture->full ? 1 : KILL_STRIDE);
	if (!torture->full || log_n > 2)
		return;
	set_up_case(op, state, log_n, first);
	sweep(op->fn, survive_twice);
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	kr_sh = mmap(NULL, sizeof(*kr_sh), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(kr_sh != MAP_FAILED);
	while ((c = all->next_case++) < N_RINGS * kr_n_ops * N_STATES) {
		const struct op *op = &kr_ops[c / N_STATES % kr_n_ops];
		enum state state = c % N_STATES;

		if (makes_sense(op, state))
			run_case(op, state, c / N_STATES / kr_n_ops);
	}
	return 0;
}

static void print_rows(void)
{
	torture_say("%-4s %-28s %8s %8s %5s\n", "ring", "operation", "points",
		    "SIGKILL", "bad");
	for (size_t r = 0; r < N_RINGS; r++)
		for (uint32_t o = 0; o < kr_n_ops; o++) {
			const struct row *w = &all->row[r][o];

			if (w->t.points)
				torture_say("%-4s %-28s %8u %8u %5u\n",
					    rings[r].name, kr_ops[o].name,
					    (unsigned)w->t.points,
					    (unsigned)w->kills,
					    (unsigned)tally_bad(&w->t));
		}
}

int kill_ring(void)
{
	bool good;

	T_CHECK(kr_n_ops <= MAX_OPS);
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(all != MAP_FAILED);
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
