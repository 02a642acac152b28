/*
 * kill_pool.c - SIGKILL after every instruction of every operation of a pool
 *
 * A victim process, a worker of a pool or its owner, is single-stepped with
 * ptrace, and killed after instruction k.  If it was a worker, each future must
 * be completed once, with the right bytes, its callback called once, and the
 * pool must go on.  If it was the owner, its workers must end, and a pool of
 * the same name can be started at once.  In the end nothing is left: no
 * endpoint, no slot, no cell, no place of the table, and no channel that could
 * not be used again.
 *
 * Each point has a bus of its own and these processes:
 *
 *	we       a shard: makes the bus, steps and kills the victim, audits
 *	owner    our child, has the pool; the victim, or:
 *	worker   ... the first that it has forked, from the end of its init on
 *	outside  ... or our child, and we have the pool
 *
 * The one that is not the victim sleeps in futex(2) or in io_uring, or polls;
 * nobody has a heartbeat, so only a wake and the death itself end a wait.
 * Results of LARGE bytes go through the worker's pipe, in parts.
 *
 * A ring of 2048 slots makes loops of 100,000 instructions, for a look at each
 * of them.  So --full takes every instruction the first FEW times that it is
 * done, and a sample of all; --quick samples of both.  A case is
 * operation/state/peer, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>

#include "tools/torture/audit.h"
#include "tools/torture/kill_pool.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

/* A ring of 2048 slots is walked through twice when somebody has died. */
#define K_MAX     2000000
/* An instruction is new the first FEW times that it is done.  How many points
 * of a case are new, and how many are anywhere. */
#define FEW       3
#define QUICK_NEW 6
#define QUICK_ANY 3
#define FULL_ANY  2000

static const char *const state_names[] = { "empty", "one" };
static const char *const peer_names[] = { "poll", "futex", "uring", "busy" };

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[32][N_PEERS];
} *all;

struct ko ko;

static long *new; /* see find_new() */
static bool have_uring;

static enum t_stop help(uint32_t n)
{
	if (ko.op->role != WORKER || ko_unblock())
		return T_STEPPED;
	/* Not at once: the owner may be about to give it something, or, if that
	 * one is stopped, it may be a slice of its sleep. */
	return t_parked(walk.victim) && n >= (ko.peer == BUSY ? 2 : 20)
		       ? T_BLOCKED
		       : T_STEPPED;
}

/* One point; the first of a case, with a @k beyond all, is when the operation
 * is over, and measures it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("nobody gets ready");
	ko_set_up();
	point_tick(1000);
	stop = walk_to(0, k);
	point_watch("the victim does not die");
	if (t_step_kill(walk.victim, stop, ko.op->role != WORKER))
		point_cannot("kill");
	if (ko.peer == BUSY)
		kill(ko.owner, SIGCONT);
	point_watch("a survivor hangs");
	torture_point(&ko.row->t);
	ko_survive();
	return walk.there;
}

static void run_point(long k)
{
	if (!walk_point(run_once, k))
		ko.row->elsewhere++;
}

/* ----------------------------------------------------------------- cases -- */

#define N_CASES (ko_n_ops * N_STATES * N_PEERS)

static bool makes_sense(const struct op *op, enum state s, enum peer p)
{
	if (p == URING && !have_uring)
		return false;
	if (op->role == OUTSIDE && p != FUTEX)
		return false;
	/* only one of the owner's calls can be done by polling */
	if (op->role == OWNER && p == POLL && op->fn != ko_do_tasks)
		return false;
	/* Of the sample; the owner does the same, whatever its worker is in. */
	if (op->role == OWNER && p == URING && !torture->full && !torture->only)
		return false;
	/* what the owner does to a worker it cannot do while it is stopped */
	if (p == BUSY &&
	    (op->role != WORKER || s != ONE || op->handler == UNTIL_TOLD))
		return false;
	return op->states & 1u << s;
}

static int by_place(const void *a, const void *b)
{
	const long *i = a, *k = b;

	if (walk.pc[*i] != walk.pc[*k])
		return walk.pc[*i] < walk.pc[*k] ? -1 : 1;
	return *i < *k ? -1 : *i > *k;
}

static int by_number(const void *a, const void *b)
{
	const long *i = a, *k = b;

	return *i < *k ? -1 : *i > *k;
}

/* After how many instructions is the next one new?  To x.new; returns how many
 * those are. */
static long find_new(void)
{
	long n = 0, times = 0;
	uint64_t last = 0;

	for (long i = 0; i <= walk.len; i++)
		new[i] = i;
	qsort(new, (size_t)walk.len + 1, sizeof(*new), by_place);
	for (long i = 0; i <= walk.len; i++) {
		times = i && walk.pc[new[i]] == last ? times + 1 : 0;
		last = walk.pc[new[i]];
		if (times < FEW)
			new[n++] = new[i];
	}
	qsort(new, (size_t)n, sizeof(*new), by_number);
	return n;
}

static void run_points(uint64_t seed)
{
	long n = find_new(), step;

	step = torture->full ? 1 : n / QUICK_NEW + 1;
	for (long i = (long)(seed % (uint64_t)step); i < n; i += step)
		run_point(new[i]);
	step = walk.len / (torture->full ? FULL_ANY : QUICK_ANY) + 1;
	for (long k = (long)(seed % (uint64_t)step); k <= walk.len; k += step)
		run_point(k);
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();

	ko.op = &ko_ops[c / (N_STATES * N_PEERS)];
	ko.state = c / N_PEERS % N_STATES;
	ko.peer = c % N_PEERS;
	if (!makes_sense(ko.op, ko.state, ko.peer))
		return;
	ko.row = &all->row[ko.op - ko_ops][ko.peer];
	if (!point_case(&ko.row->t, "%s/%s/%s", ko.op->name,
			state_names[ko.state], peer_names[ko.peer]))
		return;
	walk.may_end = ko.op->role == WORKER;
	walk_forget();
	run_point(K_MAX);
	ko.row->of += (uint64_t)walk.len + 1;
	if (walk.len > (long)ko.row->longest)
		ko.row->longest = (uint64_t)walk.len;
	if (torture->at < 0)
		run_points(torture->seed + c * 7);
	else if (torture_has(torture->at <= walk.len))
		run_point(torture->at);
	ko.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	ko.sh = t_shared(sizeof(*ko.sh));
	walk_init(K_MAX);
	walk.over = &ko.sh->over;
	walk.help = help;
	new = malloc((K_MAX + 1) * sizeof(*new));
	T_CHECK(new);
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	walk_free();
	free(new);
	return 0;
}

/* --------------------------------------------------------------- the run -- */

static void print_rows(void)
{
	torture_say("%-14s %-6s %7s %7s %8s %5s %9s %7s\n", "operation", "peer",
		    "instr", "points", "of", "bad", "elsewhere", "seconds");
	for (uint32_t o = 0; o < ko_n_ops; o++)
		for (int p = 0; p < N_PEERS; p++) {
			const struct row *r = &all->row[o][p];

			if (!r->t.points)
				continue;
			torture_say("%-14s %-6s %7u %7u %8u %5u %9u %7.1f\n",
				    ko_ops[o].name, peer_names[p],
				    (unsigned)r->longest, (unsigned)r->t.points,
				    (unsigned)r->of, (unsigned)tally_bad(&r->t),
				    (unsigned)r->elsewhere,
				    (double)r->ns / 1e9);
		}
}

int kill_pool(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	have_uring = audit_may_uring(ko_bus_settings());
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
