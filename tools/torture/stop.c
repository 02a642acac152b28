/*
 * stop.c - SIGSTOP at every instruction, and SIGCONT later
 *
 * A victim is single-stepped into one public call, and after instruction k it
 * gets SIGSTOP.  Others go on: they put and get through the same queue, more
 * messages than it has slots, send and receive through the same pipe, are
 * served by the other worker; if it has workers itself they wait for it; nobody
 * takes the victim for dead.  Then it gets
 * SIGCONT, in a world that has changed, and goes on as if nothing had happened:
 * nobody died, so every message comes exactly once and those of a pipe in
 * order, and in the end nothing is left.
 *
 * Of the victims that recover a dead one: while the victim is stopped somebody
 * else does all of that, and the id of the dead may be somebody else's again
 * when it goes on.
 *
 * A case is operation/state, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>

#include "tools/torture/point.h"
#include "tools/torture/stop.h"
#include "tools/torture/walk.h"

#define K_MAX    200000
#define QUICK_N  50 /* points of a case */
#define MAX_ROWS 64

static const char *const state_names[] = { "empty", "one", "full", "wrap" };

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[MAX_ROWS];
} * all;

struct so so;

#define N_CASES (so_n_ops * N_STATES)

static enum t_stop help(uint32_t n)
{
	if (!t_parked(walk.victim))
		return T_STEPPED;
	/* Not at once: its client may be about to give it something. */
	if (so.op->kind == WORKER)
		return n >= 20 ? T_BLOCKED : T_STEPPED;
	so_give();
	return T_STEPPED;
}

/* It may end instead: a step that does not come where it should takes it past
 * the end of the operation, and there it sleeps until its workers are gone. */
static void stop_victim(enum t_stop stop)
{
	int ret = stop == T_ENDED ? -ESRCH : t_step_stop(walk.victim, stop);

	so.ended = ret == -ESRCH;
	if (ret && !so.ended)
		BAD(wrong, "it cannot be stopped: %s", strerror(-ret));
}

/* One point; the first of a case is when the operation is over, and measures
 * it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("nobody gets ready");
	so_set_up();
	point_tick(1000);
	stop = walk_to(0, k);
	point_watch("others hang while it is stopped");
	torture_point(&so.row->t);
	stop_victim(stop);
	so.sh->stopped = 1;
	so_others_go_on();
	/* As if it got the processor late. */
	for (uint32_t i = 0; k % 2 && i < 2 * N_SLOTS && !so.sh->over; i++)
		so_give();
	if (!so.ended)
		kill(walk.victim, SIGCONT);
	point_watch("somebody hangs when it goes on");
	so_finish();
	return walk.there;
}

static void run_point(long k)
{
	if (!walk_point(run_once, k))
		so.row->elsewhere++;
}

static int case_main(void *arg)
{
	long step;

	(void)arg;
	walk_init(K_MAX);
	walk.over = &so.sh->over;
	walk.help = help;
	walk.may_end = true;
	walk_forget();
	run_point(K_MAX);
	if (walk.len > (long)so.row->longest)
		so.row->longest = (uint64_t)walk.len;
	if (torture->at >= 0) {
		if (torture_has(torture->at < walk.len))
			run_point(torture->at);
		return 0;
	}
	step = walk_stride(QUICK_N);
	for (long k = (long)torture->seed % step; k < walk.len; k += step)
		run_point(k);
	return 0;
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();
	int status;

	so.op = &so_ops[c / N_STATES];
	so.state = c % N_STATES;
	so.row = &all->row[so.op - so_ops];
	if (!(so.op->states & 1u << so.state) ||
	    !point_case(&so.row->t, "%s/%s", so.op->name,
			state_names[so.state]))
		return;
	status = t_wait(t_fork(case_main, NULL));
	if (status)
		point_bad(torture_verdict(status),
			  "the case did not come to its end (%d)", status);
	so.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	so.sh = t_shared(sizeof(*so.sh));
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	return 0;
}

int stop_main(void)
{
	bool good;

	T_CHECK(so_n_ops <= MAX_ROWS);
	all = t_shared(sizeof(*all));
	good = t_each_cpu(shard_main, NULL);
	torture_say("%-22s %7s %7s %5s %9s %8s\n", "operation", "instr",
		    "points", "bad", "elsewhere", "seconds");
	for (uint32_t o = 0; o < so_n_ops; o++) {
		const struct row *r = &all->row[o];

		if (r->t.points)
			torture_say(
				"%-22s %7u %7u %5u %9u %8.1f\n", so_ops[o].name,
				(unsigned)r->longest, (unsigned)r->t.points,
				(unsigned)tally_bad(&r->t),
				(unsigned)r->elsewhere, (double)r->ns / 1e9);
	}
	return good ? 0 : 1;
}
