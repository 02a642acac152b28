/*
 * kill_pipe.c - SIGKILL after every instruction of every operation of a pipe
 *
 * A victim process, which has one side of a pipe, is single-stepped with ptrace
 * through its calls, and killed after instruction k.  Then whoever has the
 * other side must go on: it gets every message that the victim has sent, whole,
 * once and in order, then -EOWNERDEAD once if one was half sent, then -EPIPE at
 * every call; its own sends get -EPIPE; and no call hangs, whether it slept,
 * spun or only tried.  After that, or before anybody has noticed the death, a
 * new one opens the victim's side and goes on with the same peer at the border
 * of a message: what the dead reader had not taken comes, and nothing that one
 * of its calls had returned comes again.  In the end nothing is left: no
 * endpoint, no channel that could not be used again, no descriptor, no file.
 *
 * Each point has a bus of its own and these processes:
 *
 *	we       a shard: makes the bus, steps and kills the victim, looks at
 *	         the words in shared memory, is the new one, audits.  With peer
 *	         "poll" we are the peer as well, and it only ever tries.
 *	victim   our child
 *	peer     works at the other side before the victim starts, and blocks:
 *	         in futex(2), in io_uring, or spinning (BUS_SPIN_ALWAYS).  That
 *	         one is stopped while the victim does its steps, or it would
 *	         have the CPU.  Nobody has a heartbeat: only a wake, and the
 *	         death itself, end a wait.
 *	before   had the victim's side first, and died (open-after-*, reap-*)
 *	heir     is given an end by the victim (give-*)
 *
 * Slots are the smallest there are, 256 bytes: two messages of MID bytes fill
 * one, and one of BIG bytes goes in three parts.
 *
 * Which calls the peer makes, whether it goes on before or after the death, and
 * whether the new one comes at once depends on k alone; so a point is repeated
 * exactly.  Everything is pinned to one CPU; there is a shard for each CPU.
 *
 * With --quick there are some QUICK_N points a case, at equal distances, the
 * first by the seed.  --full takes every instruction, for an hour or two.  A
 * case is operation/state/peer, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tools/torture/audit.h"
#include "tools/torture/kill_pipe.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define K_MAX   300000
#define QUICK_N 10 /* points of a case */

static const char *const state_names[] = { "empty", "one",  "turn",
					   "seal",  "full", "wrap" };
static const char *const peer_names[] = { "poll", "spin", "futex", "uring" };

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[64][N_PEERS];
} *all;

struct kp kp;

/* -------------------------------------------------------------- stepping -- */

static enum t_stop help(uint32_t n)
{
	if (kp.cross) {
		/* not at once: it may be a slice of its sleep */
		if (t_parked(walk.victim) && n >= 2)
			return T_BLOCKED;
	} else if (kp.peer == POLL && kp.mine.p) {
		kp_do_job(&kp.mine, 0);
	}
	kp_let_peer_go();
	return T_STEPPED;
}

/* Let it go until @k instructions are done.  Returns how to kill it. */
static enum t_stop drive(long k)
{
	enum t_stop stop = T_STEPPED;
	long half = k / 2;

	if (walk.len < 0 || kp.peer != POLL || !kp.mine.p || k % 4 != 2)
		return walk_to(0, k);
	stop = walk_half(half);
	if (stop != T_STEPPED) {
		walk.there = false;
		return stop;
	}
	kp_do_job(&kp.mine, 0);
	return walk_to(half, k);
}

/* Others go on while the victim stands still. */
static void meanwhile(void)
{
	if (kp.peer == POLL && kp.mine.p && point.k % 3 == 1) {
		kp_do_job(&kp.mine, 0);
	} else if (kp.peer == SPIN && point.k % 2) {
		kp_let_peer_go();
		point_nap();
		point_nap();
	}
}

static void kill_victim(enum t_stop stop)
{
	if (t_step_kill(walk.victim, stop, true))
		point_cannot("kill");
	kp.killed_ns = sb_now_ns();
	kp.sh->dead = 1;
}

/* --------------------------------------------------------------- a point -- */

/* Has the child that the victim had forked left, too?  It may be nobody on the
 * bus yet, and yet have an end. */
static bool no_orphan(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return errno == ECHILD;
}

static void survive(void)
{
	bool well = true;

	if (kp.op->first) {
		if (kp_open_mine())
			BAD(wrong, "the pipe cannot be opened");
		kp.word = kp_side_word();
	}
	if (kp.op->flow == NAMED && !kp_is_taken(kp.word))
		kp.early = true;
	kp.sh->early = kp.early;
	if (kp.op->flow == LAST)
		kp_check_last();
	else if (kp.op->flow != ALONE)
		well = kp_peer_survives();
	kp_end_peer(well);
	if (kp.op->flow == ALONE && !point_soon(no_orphan))
		BAD(hung, "the child of the dead does not leave");
	if (torture->at >= 0)
		kp_dump();
	if (well)
		kp_check_messages();
	if (kp.sh->wrong)
		BAD(wrong, "%s:%u: not that, or %d", kp.sh->wrong_file,
		    (unsigned)kp.sh->wrong, (int)kp.sh->wrong_ret);
	kp_audit();
}

/* One point; the first of a case, with a @k beyond all, is when the operation
 * is over, and measures it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("nobody gets ready");
	kp_set_up();
	point_tick(400); /* shorter than a slice of a futex wait with a watch */
	stop = drive(k);
	point_watch("a survivor hangs, before the death");
	meanwhile();
	kp_look();
	point_watch("the victim does not die");
	kill_victim(stop);
	point_watch("a survivor hangs");
	torture_point(&kp.row->t);
	survive();
	return walk.there;
}

/* What others do at the same time is not always the same.  A victim that came
 * somewhere else because it was faster than when it was measured is not. */
static void run_point(long k)
{
	if (!walk_point(run_once, k))
		kp.row->elsewhere++;
}

/* ----------------------------------------------------------------- cases -- */

#define N_CASES (kp_n_ops * N_STATES * N_PEERS)

static bool makes_sense(const struct op *op, enum state s, enum peer p)
{
	if (p == URING && !kp.have_uring)
		return false;
	if (op->slow && p != POLL && p != FUTEX)
		return false;
	return (p == POLL ? op->polled : op->blocked) & 1u << s;
}

static void run_points(uint32_t c)
{
	/* Then the victim does as with "poll"; it is the peer who differs. */
	long step = walk_stride(kp.peer == SPIN ? QUICK_N / 2 : QUICK_N);

	for (long k = (long)(torture->seed + c * 7) % step; k <= walk.len;
	     k += step)
		run_point(k);
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();

	kp.op = &kp_ops[c / (N_STATES * N_PEERS)];
	kp.state = c / N_PEERS % N_STATES;
	kp.peer = c % N_PEERS;
	if (!makes_sense(kp.op, kp.state, kp.peer))
		return;
	kp.row = &all->row[kp.op - kp_ops][kp.peer];
	if (!point_case(&kp.row->t, "%s/%s/%s", kp.op->name,
			state_names[kp.state], peer_names[kp.peer]))
		return;
	walk_forget();
	run_point(K_MAX);
	kp.row->of += (uint64_t)walk.len + 1;
	if (walk.len > (long)kp.row->longest)
		kp.row->longest = (uint64_t)walk.len;
	if (torture->at < 0)
		run_points(c);
	else if (torture_has(torture->at <= walk.len))
		run_point(torture->at);
	kp.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	t_name("k"); /* has our pid from now on, not the first victim's */
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* of heirs */
	kp.sh = t_shared(sizeof(*kp.sh));
	walk_init(K_MAX);
	walk.over = &kp.sh->over;
	walk.help = help;
	walk.stopped = kp_stop_peer;
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	walk_free();
	t_shm_clean();
	return 0;
}

/* --------------------------------------------------------------- the run -- */

static void print_row(const char *name, const char *peer, const struct row *r)
{
	torture_say("%-14s %-6s %7u %7u %8u %5u %5u %9u %7.1f %7.1f\n", name,
		    peer, (unsigned)r->longest, (unsigned)r->t.points,
		    (unsigned)r->of, (unsigned)tally_bad(&r->t),
		    (unsigned)r->slow, (unsigned)r->elsewhere,
		    (double)r->wait_ns / 1e6, (double)r->ns / 1e9);
}

static void print_rows(void)
{
	torture_say("%-14s %-6s %7s %7s %8s %5s %5s %9s %7s %7s\n", "operation",
		    "peer", "instr", "points", "of", "bad", "slow", "elsewhere",
		    "wait ms", "seconds");
	for (size_t o = 0; o < kp_n_ops; o++)
		for (int p = 0; p < N_PEERS; p++)
			if (all->row[o][p].t.points)
				print_row(kp_ops[o].name, peer_names[p],
					  &all->row[o][p]);
}

int kill_pipe(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	kp.have_uring = audit_may_uring(kp_bus_settings());
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
