/*
 * kill_bus.c - SIGKILL after every instruction of every operation of the bus
 *
 * A victim process is single-stepped with ptrace through one public call, and
 * killed after instruction k.  Then the survivors recover it by the means that
 * a user has (bus_reap, a call of the coordinator) and must go on: a message
 * whose put returned comes out once, one whose put had not returned at most
 * once, one that was got and not finished comes again, who sleeps wakes up
 * when there is something for it, each request is answered once, and all
 * slots, cells and ids can be used again.
 *
 * Each point has a bus of its own and these processes:
 *
 *	we       a shard: makes the bus, steps and kills the victim, audits.
 *	         With peer "poll" we are the survivor and only ever try.
 *	victim   our child, or a worker of the client
 *	peer     sleeps in a call before the victim starts, with a futex or with
 *	         io_uring.  It has no heartbeat: nothing but a wake wakes it.
 *	client   a coordinator, where the victim is its worker
 *
 * Everything is pinned to one CPU, because a step takes 20 us there and 80 us
 * across two of them; there is a shard for each CPU.  A victim that blocks is
 * killed in its sleep, or, for later points, given what it waits for.
 *
 * With --quick there are some QUICK_N points a case, at equal distances, the
 * first by the seed.  --full takes every instruction, for half an hour.  A case
 * is operation/state/peer, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include "tools/torture/audit.h"
#include "tools/torture/kill_bus.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define K_MAX   200000
#define QUICK_N 20 /* points of a case */

static const char *const state_names[] = { "empty", "one", "full", "wrap" };
static const char *const peer_names[] = { "poll", "futex", "uring" };

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[64][N_PEERS];
} *all;

struct kb kb;

static bool have_uring;

/* -------------------------------------------------------------- stepping -- */

/* Has the victim, which waits, got something to wait for? */
static bool unblock(void)
{
	if (kb.op->worker)
		return kb.sh->go++ == 0;
	if (kb.state == FULL || kb.op->fn == kb_do_join)
		return kb_get_message(0) == 0;
	return kb_put_message(HELP_MSG + kb.n_unblocked++ % 8, 0) == 0;
}

static enum t_stop help(uint32_t n)
{
	if (kb.op->coord || kb.op->named || unblock())
		return T_STEPPED;
	/* It has done all its work; or its client has not yet had the
	 * processor to give it some. */
	if (kb.op->worker && n >= 20 && t_parked(walk.victim))
		return T_BLOCKED;
	return T_STEPPED;
}

/* --------------------------------------------------------------- a point -- */

/* One point; the first of a case is when the operation is over, and measures
 * it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("the bus cannot be made");
	kb_set_up();
	point_tick(1000);
	stop = walk_to(0, k);
	point_watch("a survivor hangs, before the death");
	if (k % 3 == 1)
		kb_unaware();
	point_watch("the victim does not die");
	if (t_step_kill(walk.victim, stop, kb.our_child))
		point_cannot("kill");
	point_watch("a survivor hangs, nobody recovered");
	if (k % 3 == 2)
		kb_unaware();
	torture_point(&kb.row->t);
	point_watch("a survivor hangs");
	kb_survive();
	bus_close(kb.bus);
	return walk.there;
}

static void run_point(long k)
{
	if (!walk_point(run_once, k))
		kb.row->elsewhere++;
}

/* ----------------------------------------------------------------- cases -- */

#define N_CASES (kb_n_ops * N_STATES * N_PEERS)

static bool makes_sense(const struct op *op, enum state s, enum peer p)
{
	if (!(op->states & 1u << s))
		return false;
	if (p == URING && !have_uring)
		return false;
	return p == POLL || op->worker || op->sleep_in[s] != NOWHERE;
}

static void run_points(uint32_t c)
{
	/* Then the victim does as with "futex"; it is the peer who differs. */
	long stride = walk_stride(kb.peer == URING ? QUICK_N / 2 : QUICK_N);

	for (long k = (long)(torture->seed + c * 7) % stride; k <= walk.len;
	     k += stride)
		run_point(k);
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();

	kb.op = &kb_ops[c / (N_STATES * N_PEERS)];
	kb.state = c / N_PEERS % N_STATES;
	kb.peer = c % N_PEERS;
	if (!makes_sense(kb.op, kb.state, kb.peer))
		return;
	kb.row = &all->row[kb.op - kb_ops][kb.peer];
	if (!point_case(&kb.row->t, "%s/%s/%s", kb.op->name,
			state_names[kb.state], peer_names[kb.peer]))
		return;
	walk.may_end = kb.op->worker;
	walk_forget();
	run_point(K_MAX);
	if (walk.len > (long)kb.row->longest)
		kb.row->longest = (uint64_t)walk.len;
	if (torture->at < 0)
		run_points(c);
	else if (torture_has(torture->at <= walk.len))
		run_point(torture->at);
	kb.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	t_name("k"); /* has our pid from now on, not the first victim's */
	kb.sh = t_shared(sizeof(*kb.sh));
	walk_init(K_MAX);
	walk.over = &kb.sh->over;
	walk.help = help;
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	walk_free();
	t_shm_clean(); /* of the creator that was killed last */
	return 0;
}

/* --------------------------------------------------------------- the run -- */

static void print_rows(void)
{
	torture_say("%-18s %-6s %7s %7s %5s %9s %8s\n", "operation", "peer",
		    "instr", "points", "bad", "elsewhere", "seconds");
	for (size_t o = 0; o < kb_n_ops; o++)
		for (int p = 0; p < N_PEERS; p++) {
			struct row *r = &all->row[o][p];

			if (r->t.points)
				torture_say(
					"%-18s %-6s %7u %7u %5u %9u %8.1f\n",
					kb_ops[o].name, peer_names[p],
					(unsigned)r->longest,
					(unsigned)r->t.points,
					(unsigned)tally_bad(&r->t),
					(unsigned)r->elsewhere,
					(double)r->ns / 1e9);
		}
}

int kill_bus(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	have_uring = audit_may_uring(kb_bus_settings());
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
