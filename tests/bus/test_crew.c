/*
 * test_crew.c - tests of bus/crew.c; Criterion suite "crew"
 *
 * A crew with a small pool's dispatch as its handler: a request is a struct
 * job, with an id, what to do, and the index of its word in canceled[].  What
 * the coordinator does without hooks is tested in test_coord.c.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/crew.h"
#include "bus/reply.h"
#include "bus/worker.h"
#include "tests/bus/t_bus.h"

#define MS     1000000
#define WINDOW 64

enum what {
	PID,        /* its pid */
	SHALL_I,    /* wait until it is told to stop */
	WAIT,       /* until the gate is open */
	EXIT,       /* exit(n) */
	CLOSE_ALL,  /* every descriptor, then hang */
	EXEC,       /* another program */
	FORK,       /* and both return */
	FORK_EXEC,  /* a child stays, and it execs itself */
	TALK,       /* set the bit, ring, wait for the gate, clear it */
	NEVER_ENDS, /* not even if told */
	WAIT_MODE,  /* how it sleeps */
	TRACED,     /* by a child, until the gate is open; hang */
	OUTLIVE     /* nobody kills it when its parent dies; then as PID */
};

struct job {
	uint64_t id;
	uint32_t what;
	int32_t n;
};

/* What workers and the test share. */
struct board {
	_Atomic uint32_t n_inits, n_exits, n_children;
	_Atomic uint32_t gate;
	_Atomic uint32_t fail;       /* inits that fail of each ... */
	_Atomic uint32_t of;         /* ... so many */
	_Atomic uint32_t after_fork; /* status of the child */
	_Atomic uint32_t orphan;     /* pid */
	_Atomic uint32_t outlive;    /* inits do */
	_Atomic uint32_t tracing;    /* 1: yes; 2: it may not */
};

/* What the parent's hooks were told. */
struct seen {
	uint32_t n_start, n_started, n_gone;
	uint64_t word; /* at gone */
	int refuse;    /* start says this */
};

static struct bus *bus;
static struct bus_coord *coord;
static struct bus_result result;
static struct board *board;
static struct seen seen;

static void setup(void)
{
	bus = t_bus();
	board = t_shared(sizeof(*board));
}

static void teardown(void)
{
	bus_coord_stop(coord, 0);
	bus_close(bus);
}

TestSuite(crew, .init = setup, .fini = teardown, .timeout = 200.0);

/* What a worker does ------------------------------------------------------ */

static void nap(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static void wait_for_gate(void)
{
	while (!ld_acq(&board->gate))
		nap(1);
}

static void run_other(void)
{
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	_exit(99);
}

/* What the kernel does to who changes its user or group. */
static void outlive_parent(void)
{
	T_CHECK(prctl(PR_SET_PDEATHSIG, 0) == 0);
}

/* A child that traces us, and reaps nobody. */
static void be_traced(void)
{
	pid_t me = getpid();

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where that is needed */
	if (!fork()) {
		st_rel(&board->tracing,
		       ptrace(PTRACE_SEIZE, me, NULL, NULL) ? 2 : 1);
		wait_for_gate();
		_exit(0);
	}
	for (;;)
		pause();
}

static int work(const struct job *j, struct bus_reply *r)
{
	struct bus_stats s = BUS_STATS_INIT;
	int32_t pid = getpid();
	pid_t child;
	int status;

	switch (j->what) {
	case SHALL_I:
		while (!bus_reply_canceled(r))
			nap(1);
		return bus_reply_put(r, "told", 4);
	case WAIT:
		wait_for_gate();
		break;
	case EXIT:
		exit(j->n);
	case CLOSE_ALL:
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		for (;;)
			pause();
	case EXEC:
		run_other();
		break;
	case FORK:
		child = fork();
		if (!child)
			return bus_reply_put(r, "child", 5);
		if (waitpid(child, &status, 0) == child)
			st_rel(&board->after_fork, (uint32_t)status + 1);
		break;
	case FORK_EXEC:
		child = fork();
		if (!child) {
			add_acqrel(&board->n_children, 1);
			wait_for_gate();
			_exit(0);
		}
		run_other();
		break;
	case TALK:
		bus_crew_talk(r->area, r->place_idx);
		bus_reply_ring(r);
		wait_for_gate();
		bus_crew_hush(r->area, r->place_idx);
		break;
	case TRACED:
		be_traced();
		break;
	case OUTLIVE:
		outlive_parent();
		break;
	case NEVER_ENDS:
		for (;;)
			pause();
	case WAIT_MODE:
		T_CHECK(bus_stats(bus_reply_bus(r), &s) == 0);
		return bus_reply_put(r, s.wait, sizeof(s.wait));
	default:
		break;
	}
	return bus_reply_put(r, &pid, sizeof(pid));
}

static int dispatch(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	_Atomic uint64_t *canceled =
		bus_crew_canceled(r->area, *(const uint32_t *)ctx);
	struct job j;
	int ret;

	T_CHECK(len == sizeof(j));
	memcpy(&j, req, sizeof(j));
	if (bus_place_begin(r->place, j.id, j.what, &canceled[j.id % WINDOW],
			    r->c->bus->map->sizes.asym))
		ret = work(&j, r);
	else
		ret = bus_reply_put(r, "shed", 4);
	if (bus_reply_forked(r))
		return ret;
	if (!bus_place_end(r->place))
		bus_place_doomed();
	return ret;
}

static int init(void *ctx, uint32_t place, char *error, size_t error_bytes)
{
	uint32_t n = add_acqrel(&board->n_inits, 1);

	(void)ctx;
	if (ld_rlx(&board->outlive))
		outlive_parent();
	if (!ld_rlx(&board->of) ||
	    n % ld_rlx(&board->of) >= ld_rlx(&board->fail))
		return 0;
	snprintf(error, error_bytes, "no license in place %u", place);
	return 1;
}

static int init_dies(void *ctx, uint32_t place, char *error, size_t error_bytes)
{
	(void)ctx;
	(void)place;
	(void)error;
	(void)error_bytes;
	add_acqrel(&board->n_inits, 1);
	signal(SIGUSR1, SIG_DFL);
	raise(SIGUSR1);
	return 0;
}

static int init_execs(void *ctx, uint32_t place, char *error,
		      size_t error_bytes)
{
	(void)ctx;
	(void)place;
	(void)error;
	(void)error_bytes;
	add_acqrel(&board->n_inits, 1);
	run_other();
	return 0;
}

static void left(void *ctx)
{
	(void)ctx;
	add_acqrel(&board->n_exits, 1);
}

/* What the parent does ---------------------------------------------------- */

static int on_start(void *ctx, uint32_t place)
{
	(void)ctx;
	(void)place;
	if (seen.refuse)
		return seen.refuse;
	seen.n_start++;
	return 0;
}

static void on_started(void *ctx, uint32_t place, pid_t pid)
{
	(void)ctx;
	T_CHECK(pid > 0);
	if (coord) /* not in bus_coord_start_crew() */
		T_CHECK(bus_coord_pid(coord, place) == pid);
	seen.n_started++;
}

static void on_gone(void *ctx, uint32_t place)
{
	(void)ctx;
	seen.n_gone++;
	if (coord)
		seen.word = ld_rlx(
			&bus_crew_place(bus_coord_area(coord), place)->word);
}

static uint32_t n_places;
static uint64_t backoff_ns;

static struct bus_crew_config hooks(uint32_t places)
{
	return (struct bus_crew_config){ .max_workers = places,
					 .cancels = 1,
					 .start = on_start,
					 .started = on_started,
					 .gone = on_gone,
					 .init = init,
					 .init_tries = 3,
					 .exit = left };
}

static int try_start(uint32_t n_workers, const struct bus_crew_config *h)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = dispatch;
	c.ctx = &n_places;
	c.n_workers = n_workers;
	c.window = WINDOW;
	c.result_bytes = 16;
	c.backoff_ns = backoff_ns;
	n_places = h->max_workers;
	return bus_coord_start_crew(bus, "c", &c, h, &coord);
}

static void start_with(uint32_t n_workers, const struct bus_crew_config *h)
{
	coord = NULL;
	T_CHECK(try_start(n_workers, h) == 0);
}

static void start(uint32_t n_workers, uint32_t places)
{
	struct bus_crew_config h = hooks(places);

	start_with(n_workers, &h);
}

static void submit(uint64_t id, uint32_t what)
{
	struct job j = { .id = id, .what = what };

	T_CHECK(bus_submit(coord, id, &j, sizeof(j), T_LONG) == 0);
}

static void collect(uint64_t id)
{
	cr_assert_eq(bus_collect_any(coord, &result, T_LONG), 0);
	cr_assert_eq(result.id, id);
}

static void collect_text(uint64_t id, const char *text)
{
	collect(id);
	cr_assert_eq(result.kind, BUS_RESULT_OK);
	cr_assert_eq(result.len_bytes, strlen(text));
	cr_assert_eq(memcmp(result.data, text, result.len_bytes), 0);
}

static int32_t collect_pid(uint64_t id)
{
	int32_t pid;

	collect(id);
	cr_assert_eq(result.kind, BUS_RESULT_OK);
	cr_assert_eq(result.len_bytes, sizeof(pid));
	memcpy(&pid, result.data, sizeof(pid));
	return pid;
}

static struct bus_place *place(uint32_t i)
{
	return bus_crew_place(bus_coord_area(coord), i);
}

/* Conditions to wait for, while the crew is looked after. */
static uint64_t wanted;

static bool id_in_hand(void *arg)
{
	(void)arg;
	return bus_crew_who(bus_coord_area(coord), n_places, 0, wanted) >= 0;
}

static uint32_t wait_in_hand(uint64_t id)
{
	wanted = id;
	T_CHECK(t_eventually(id_in_hand, NULL, 30000));
	return (uint32_t)bus_crew_who(bus_coord_area(coord), n_places, 0, id);
}

static bool so_many_live(void *arg)
{
	(void)arg;
	return bus_coord_workers(coord, NULL, 0) == (int)wanted;
}

static void wait_live(uint32_t n)
{
	wanted = n;
	T_CHECK(t_eventually(so_many_live, NULL, 30000));
}

static uint64_t n_deaths(void)
{
	return ld_rlx(&bus_coord_area(coord)->counts.n_deaths);
}

static uint64_t n_respawns(void)
{
	return ld_rlx(&bus_coord_area(coord)->counts.n_respawns);
}

/* The area ---------------------------------------------------------------- */

static bool all_ready(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < 2; i++)
		if (ld_acq(&place(i)->life) != BUS_PLACE_READY)
			return false;
	return true;
}

Test(crew, says_who_is_there)
{
	start(2, 3);
	cr_assert_eq(bus_coord_places(coord), 3);
	cr_assert(t_eventually(all_ready, NULL, 30000));
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(ld_rlx(&place(i)->pid),
			     (uint32_t)bus_coord_pid(coord, i));
		cr_assert_neq(bus_coord_pid(coord, i), 0);
	}
	cr_assert_eq(ld_rlx(&place(2)->pid), 0);
	cr_assert_eq(ld_rlx(&place(2)->life), BUS_PLACE_NONE);
	cr_assert_eq(bus_coord_pid(coord, 2), 0);
	cr_assert_eq(bus_coord_pid(coord, 3), 0);
	cr_assert_eq(ld_rlx(&bus_coord_area(coord)->n_wanted), 2);
	cr_assert_eq(ld_rlx(&bus_coord_area(coord)->n_inits), 2);
}

Test(crew, of_a_plain_coordinator_says_who_is_there_too)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = dispatch;
	c.n_workers = 2;
	T_CHECK(bus_coord_start(bus, "c", &c, &coord) == 0);
	cr_assert_eq(bus_coord_places(coord), 2);
	cr_assert_eq(ld_rlx(&place(1)->pid), (uint32_t)bus_coord_pid(coord, 1));
	cr_assert_neq(ld_rlx(&place(1)->pid), 0);
}

Test(crew, says_what_is_in_hand)
{
	uint32_t i;

	start(2, 2);
	submit(7, WAIT);
	i = wait_in_hand(7);
	cr_assert_eq(ld_rlx(&place(i)->word), 7 << 8);
	cr_assert_eq(ld_rlx(&place(i)->handler), WAIT);
	cr_assert_leq(ld_rlx(&place(i)->since_ns), sb_now_ns());
	cr_assert_gt(ld_rlx(&place(i)->since_ns),
		     sb_now_ns() - 30 * SB_NS_PER_S);
	st_rel(&board->gate, 1);
	collect_pid(7);
	cr_assert_eq(ld_rlx(&place(i)->word), 0);
	cr_assert_eq(ld_rlx(&place(i)->n_done), 1);
	cr_assert_eq(bus_crew_who(bus_coord_area(coord), 2, 0, 7), -1);
}

/* The next coordinator finds no trace of the last. */
static void leave_traces(void)
{
	struct bus_crew_area *area = bus_coord_area(coord);

	st_rlx(&area->counts.n_ok, 5);
	st_rlx(&bus_crew_canceled(area, n_places)[WINDOW - 1], 99);
	st_rlx(&place(1)->n_deaths, 3);
	bus_crew_talk(area, 1);
	strcpy(area->init_error, "old");
}

static void no_traces(void)
{
	struct bus_crew_area *area = bus_coord_area(coord);

	cr_assert_eq(ld_rlx(&area->counts.n_ok), 0);
	cr_assert_eq(ld_rlx(&bus_crew_canceled(area, n_places)[WINDOW - 1]), 0);
	cr_assert_eq(ld_rlx(&place(1)->n_deaths), 0);
	cr_assert_eq(ld_rlx(&area->talking[0]), 0);
	cr_assert_eq(area->init_error[0], 0);
}

Test(crew, area_is_empty_when_the_ring_is_used_again)
{
	start(1, 2);
	no_traces();
	leave_traces();
	cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
	coord = NULL;
	start(1, 2);
	no_traces();
	cr_assert_eq(t_stats(bus).n_channels, 1);
}

static int start_and_die(void *arg)
{
	(void)arg;
	start(1, 2);
	leave_traces();
	submit(1, NEVER_ENDS);
	wait_in_hand(1);
	st_rel(&board->orphan, (uint32_t)bus_coord_pid(coord, 0));
	kill(getpid(), SIGKILL);
	return 0;
}

static bool orphan_is_dead(void *arg)
{
	(void)arg;
	return sb_proc_dead(
		(struct sb_proc_id){ .pid = ld_acq(&board->orphan) });
}

/* It dies, soon; if not, it is ended. */
static bool orphan_dies(void)
{
	if (t_eventually(orphan_is_dead, NULL, 30000))
		return true;
	kill((pid_t)ld_rlx(&board->orphan), SIGKILL);
	return false;
}

Test(crew, area_is_empty_after_a_killed_coordinator)
{
	cr_assert_eq(t_wait(t_fork(start_and_die, NULL)), -SIGKILL);
	/* its worker lives a moment longer, in that ring */
	cr_assert(orphan_dies());
	start(1, 2);
	cr_assert_eq(t_stats(bus).n_channels, 1);
	no_traces();
	submit(1, PID);
	collect_pid(1);
}

/* An init that becomes another user. */
Test(crew, dies_with_its_coordinator_whatever_init_does)
{
	st_rlx(&board->outlive, 1);
	cr_assert_eq(t_wait(t_fork(start_and_die, NULL)), -SIGKILL);
	cr_assert(orphan_dies());
}

static int start_and_leave_orphan(void *arg)
{
	(void)arg;
	start(1, 2);
	submit(1, OUTLIVE);
	st_rel(&board->orphan, (uint32_t)collect_pid(1));
	kill((pid_t)ld_rlx(&board->orphan), SIGSTOP);
	kill(getpid(), SIGKILL);
	return 0;
}

/* A task that becomes another user: its worker lives on, and finds that the
 * ring is another's. */
Test(crew, runs_nothing_of_the_next_coordinator)
{
	cr_assert_eq(t_wait(t_fork(start_and_leave_orphan, NULL)), -SIGKILL);
	cr_assert_not(orphan_is_dead(NULL));
	start(1, 2);
	cr_assert_eq(t_stats(bus).n_channels, 1);
	submit(1, WAIT);
	wait_in_hand(1);
	submit(2, PID);
	cr_assert_eq(kill((pid_t)ld_rlx(&board->orphan), SIGCONT), 0);
	cr_assert(orphan_dies());
	st_rel(&board->gate, 1);
	cr_assert_eq(collect_pid(1), bus_coord_pid(coord, 0));
	cr_assert_eq(collect_pid(2), bus_coord_pid(coord, 0));
	cr_assert_eq(ld_rlx(&place(0)->n_deaths), 0);
}

Test(crew, of_other_size_does_not_use_the_ring_again)
{
	start(1, 2);
	cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
	coord = NULL;
	start(1, 3);
	cr_assert_eq(t_stats(bus).n_channels, 2);
	st_rlx(&bus_crew_canceled(bus_coord_area(coord), 3)[WINDOW - 1], 1);
	submit(1, PID);
	collect_pid(1);
}

/* Cancel ------------------------------------------------------------------ */

static int tell(uint64_t id)
{
	return bus_crew_tell(bus_coord_area(coord), n_places,
			     (uint32_t)(id % WINDOW), id, bus->map->sizes.asym);
}

Test(crew, what_is_canceled_in_the_ring_is_shed)
{
	start(1, 1);
	submit(1, WAIT);
	wait_in_hand(1);
	submit(2, PID);
	submit(3, PID);
	cr_assert_eq(tell(2), -1);
	st_rel(&board->gate, 1);
	collect_pid(1);
	collect_text(2, "shed");
	collect_pid(3);
	/* another with that index runs */
	submit(2 + WINDOW, PID);
	collect_pid(2 + WINDOW);
}

Test(crew, what_runs_is_told)
{
	uint32_t i;

	start(2, 2);
	submit(1, SHALL_I);
	submit(2, WAIT);
	i = wait_in_hand(1);
	wait_in_hand(2);
	cr_assert_eq(tell(1), (int)i);
	collect_text(1, "told");
	/* The next task is not told what was meant for that one. */
	submit(3, PID);
	collect_pid(3);
	st_rel(&board->gate, 1);
	collect_pid(2);
}

/* T1 and X1: a task is shed or told, whatever the moment. */
Test(crew, no_cancel_is_missed)
{
	uint32_t n_shed = 0, n_told = 0;

	start(2, 2);
	for (uint64_t id = 1; id <= 2000; id++) {
		submit(id, SHALL_I);
		for (uint64_t k = id % 257; k; k--)
			sb_relax();
		tell(id);
		collect(id);
		cr_assert_eq(result.kind, BUS_RESULT_OK);
		if (!memcmp(result.data, "shed", 4))
			n_shed++;
		else
			n_told++;
	}
	cr_assert_eq(n_shed + n_told, 2000);
}

Test(crew, a_flag_goes_only_to_the_task_that_it_is_for)
{
	uint32_t i;

	start(1, 1);
	submit(5, SHALL_I);
	i = wait_in_hand(5);
	cr_assert_not(bus_place_flag(place(i), 4, BUS_PLACE_DOOMED));
	cr_assert_not(bus_place_flag(place(i), 5 << 8, BUS_PLACE_DOOMED));
	cr_assert(bus_place_flag(place(i), 5, BUS_PLACE_TOLD));
	collect_text(5, "told");
	cr_assert_not(bus_place_flag(place(i), 5, BUS_PLACE_DOOMED));
}

static int lets_go(void *arg)
{
	return bus_place_end(arg) ? 0 : 2;
}

static bool is_at_its_end(void *arg)
{
	return ld_acq(&((struct bus_place *)arg)->n_done) == 1;
}

/* T2 and X3: or the signal, which is on its way, would hit the next task. */
Test(crew, who_lets_go_waits_for_the_signal_that_is_being_sent)
{
	struct bus_place *p = t_shared(sizeof(*p));
	pid_t child;

	for (int doomed = 0; doomed < 2; doomed++) {
		st_rlx(&p->n_done, 0);
		st_rel(&p->word, 9 << 8 | BUS_PLACE_SIGNAL);
		child = t_fork(lets_go, p);
		cr_assert(t_eventually(is_at_its_end, p, 20000));
		for (int i = 0; i < 20; i++)
			sched_yield();
		cr_assert_eq(waitpid(child, NULL, WNOHANG), 0);
		cr_assert_eq(ld_acq(&p->word), 9 << 8 | BUS_PLACE_SIGNAL);
		if (doomed)
			cr_assert(bus_place_flag(p, 9, BUS_PLACE_DOOMED));
		and_acqrel(&p->word, ~BUS_PLACE_SIGNAL);
		cr_assert_eq(t_wait(child), doomed ? 2 : 0);
		cr_assert_eq(ld_acq(&p->word),
			     doomed ? 9 << 8 | BUS_PLACE_DOOMED : 0);
	}
}

static void kill_it(uint32_t i, uint64_t id)
{
	cr_assert(bus_place_flag(place(i), id, BUS_PLACE_DOOMED));
	cr_assert_eq(bus_coord_signal(coord, i, SIGKILL), 0);
}

/* The task is another's, who sheds it. */
Test(crew, a_doomed_worker_is_replaced_and_its_task_is_shed)
{
	pid_t first;
	uint32_t i;

	start(1, 1);
	first = bus_coord_pid(coord, 0);
	submit(1, NEVER_ENDS);
	i = wait_in_hand(1);
	tell(1);
	kill_it(i, 1);
	collect_text(1, "shed");
	cr_assert_eq(result.attempts, 1);
	cr_assert_neq(bus_coord_pid(coord, 0), first);
	cr_assert_eq(n_deaths(), 1);
	cr_assert_eq(n_respawns(), 1);
	cr_assert_eq(seen.n_gone, 1);
	cr_assert_eq(seen.word >> 8, 1);
	cr_assert_eq(ld_rlx(&place(0)->n_deaths), 1);
}

/* Who is doomed and comes to its end does not answer, nor take another: it does
 * not need the signal to die. */
Test(crew, a_doomed_worker_does_not_answer)
{
	pid_t first;
	uint32_t i;

	start(1, 1);
	first = bus_coord_pid(coord, 0);
	submit(1, SHALL_I);
	i = wait_in_hand(1);
	cr_assert(bus_place_flag(place(i), 1, BUS_PLACE_DOOMED));
	submit(2, PID);
	while (!bus_coord_pid(coord, 0) || bus_coord_pid(coord, 0) == first) {
		bus_coord_poll(coord);
		nap(1);
	}
	wait_in_hand(1);
	tell(1);
	collect_text(1, "told");
	cr_assert_eq(result.attempts, 1);
	cr_assert_neq(collect_pid(2), first);
}

/* Doom the worker that has task @id, at whatever moment.  Was there one? */
static bool try_to_doom(uint64_t id)
{
	int i = bus_crew_who(bus_coord_area(coord), n_places, 0, id);

	if (i < 0 || !bus_place_flag(place((uint32_t)i), id, BUS_PLACE_DOOMED))
		return false;
	cr_assert_eq(bus_coord_signal(coord, (uint32_t)i, SIGKILL), 0);
	return true;
}

/* T2 and X2: a kill hits the task that it is for, or none. */
Test(crew, no_kill_hits_another_task)
{
	uint32_t n_hits = 0;

	start(2, 2);
	for (uint64_t id = 1; id <= 3000; id += 3) {
		bool doomed = false;

		for (uint64_t k = 0; k < 3; k++)
			submit(id + k, PID);
		for (uint64_t k = 0; k < 2 + id % 61 && !doomed; k++)
			doomed = try_to_doom(id + 1);
		n_hits += doomed;
		for (uint64_t k = 0; k < 3; k++) {
			cr_assert_eq(bus_collect(coord, &result, T_LONG), 0);
			cr_assert_eq(result.id, id + k);
			cr_assert_eq(result.kind, BUS_RESULT_OK);
			cr_assert_eq(result.attempts, k == 1 && doomed);
		}
	}
	while (n_deaths() < n_hits)
		bus_coord_wait(coord, NULL, sb_now_ns() + MS);
	cr_assert_eq(n_deaths(), n_hits);
}

Test(crew, many_that_are_killed_are_replaced_without_delay)
{
	uint64_t start_ns;

	start(1, 1);
	start_ns = sb_now_ns();
	for (uint64_t id = 1; id <= 30; id++) {
		submit(id, NEVER_ENDS);
		kill_it(wait_in_hand(id), id);
		tell(id);
		collect_text(id, "shed");
	}
	/* with a back-off that doubles it would be 30 s */
	cr_assert_lt(sb_now_ns() - start_ns, 20 * SB_NS_PER_S);
	cr_assert_eq(n_deaths(), 30);
}

/* SIGUSR1 is the end of both; the task of the busy one is the next one's. */
Test(crew, signals_go_to_that_worker)
{
	uint32_t i;

	start(2, 3);
	submit(1, NEVER_ENDS);
	i = wait_in_hand(1);
	cr_assert_eq(bus_coord_signal(coord, 3, SIGUSR1), -EINVAL);
	cr_assert_eq(bus_coord_signal(coord, 0, -1), -EINVAL);
	cr_assert_eq(bus_coord_signal(coord, 2, SIGUSR1), -ESRCH);
	cr_assert_eq(bus_coord_signal(coord, 0, 0), 0);
	tell(1);
	cr_assert_eq(bus_coord_signal(coord, i, SIGUSR1), 0);
	collect_text(1, "shed");
	cr_assert_eq(result.attempts, 1);
	cr_assert_eq(ld_rlx(&place(i)->n_deaths), 1);
	cr_assert_eq(ld_rlx(&place(1 - i)->n_deaths), 0);
}

/* Life -------------------------------------------------------------------- */

Test(crew, retires_after_max_tasks)
{
	struct bus_crew_config h = hooks(1);
	int32_t pids[3];

	h.max_tasks = 2;
	start_with(1, &h);
	for (uint64_t id = 0; id < 6; id++) {
		int32_t pid;

		submit(id + 1, PID);
		pid = collect_pid(id + 1);
		if (id % 2)
			cr_assert_eq(pid, pids[id / 2]);
		pids[id / 2] = pid;
	}
	cr_assert_neq(pids[0], pids[1]);
	cr_assert_neq(pids[1], pids[2]);
	cr_assert_eq(n_deaths(), 0);
	cr_assert_geq(n_respawns(), 2);
	cr_assert_geq(ld_rlx(&board->n_exits), 2);
	cr_assert_eq(ld_rlx(&place(0)->n_done), 6);
	cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
	coord = NULL;
	cr_assert_eq(seen.n_gone, seen.n_start);
	cr_assert_eq(seen.n_started, seen.n_start);
}

/* A short life is no reason to wait with the next one. */
Test(crew, those_who_retire_are_replaced_at_once)
{
	struct bus_crew_config h = hooks(2);
	uint64_t start_ns = sb_now_ns();

	h.max_tasks = 1;
	start_with(2, &h);
	for (uint64_t id = 1; id <= 60; id++)
		submit(id, PID);
	for (uint64_t id = 1; id <= 60; id++)
		cr_assert_eq(bus_collect(coord, &result, T_LONG), 0);
	cr_assert_lt(sb_now_ns() - start_ns, 25 * SB_NS_PER_S);
	cr_assert_eq(n_deaths(), 0);
}

/* SIGCHLD ignored: the kernel has reaped them. */
Test(crew, those_who_retire_and_cannot_be_reaped_are_no_deaths)
{
	struct bus_crew_config h = hooks(2);

	signal(SIGCHLD, SIG_IGN);
	h.max_tasks = 1;
	start_with(2, &h);
	for (uint64_t id = 1; id <= 60; id++) {
		submit(id, PID);
		collect_pid(id);
	}
	cr_assert_geq(n_respawns(), 50);
	cr_assert_eq(n_deaths(), 0);
}

/* The ring is closed, and there is more to do than those who live may do. */
Test(crew, of_short_lives_finishes_what_was_submitted)
{
	struct bus_crew_config h = hooks(2);

	h.max_tasks = 1;
	start_with(2, &h);
	for (uint64_t id = 1; id <= 20; id++)
		submit(id, PID);
	cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
	coord = NULL;
}

Test(crew, whose_init_fails_three_times_is_broken)
{
	struct bus_crew_config h = hooks(1);

	st_rlx(&board->of, 1);
	st_rlx(&board->fail, 1);
	start_with(1, &h);
	cr_assert_str_eq(bus_coord_error(coord), "");
	submit(1, PID);
	cr_assert_eq(bus_collect_any(coord, &result, T_LONG), -ECHILD);
	cr_assert_str_eq(bus_coord_error(coord), "no license in place 0");
	cr_assert_eq(ld_rlx(&board->n_inits), 3);
	cr_assert_eq(bus_coord_wait(coord, NULL, SB_FOREVER), -ECHILD);
	cr_assert_eq(ld_rlx(&board->n_inits), 3);
	cr_assert_eq(ld_rlx(&board->n_exits), 0);
}

Test(crew, whose_init_fails_now_and_then_is_not_broken)
{
	struct bus_crew_config h = hooks(1);

	st_rlx(&board->of, 3);
	st_rlx(&board->fail, 2);
	h.max_tasks = 1;
	start_with(1, &h);
	for (uint64_t id = 1; id <= 5; id++) {
		submit(id, PID);
		collect_pid(id);
	}
	cr_assert_str_eq(bus_coord_error(coord), "");
	cr_assert_geq(ld_rlx(&board->n_inits), 15);
}

static void broken_by(int (*fn)(void *, uint32_t, char *, size_t),
		      const char *text)
{
	struct bus_crew_config h = hooks(1);

	h.init = fn;
	start_with(1, &h);
	submit(1, PID);
	cr_assert_eq(bus_collect_any(coord, &result, T_LONG), -ECHILD);
	cr_assert_str_eq(bus_coord_error(coord), text);
	cr_assert_eq(ld_rlx(&board->n_inits), 3);
}

Test(crew, who_dies_in_init_breaks_it_too)
{
	char text[100];

	snprintf(text, sizeof(text),
		 "3 workers in a row died in init, the last of signal %d",
		 SIGUSR1);
	broken_by(init_dies, text);
}

Test(crew, who_execs_in_init_breaks_it_too)
{
	broken_by(init_execs,
		  "3 workers in a row died in init, the last of signal 9");
}

/* Until it is dead; reaping it is left to the crew, if that has not yet. */
static void wait_dead(pid_t pid)
{
	siginfo_t si;

	T_CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) == 0 ||
		errno == ECHILD);
}

static struct bus *other[8];

/* Two workers, of which one waits for the gate with request 1; the other was
 * killed, and others have taken all ids.  Returns how many. */
static uint32_t take_all_ids(void)
{
	struct bus_config c = t_config();
	uint32_t n = 0, n_before, i;
	pid_t pid;

	bus_close(bus);
	c.max_endpoints = 8;
	bus = t_bus_with(NULL, &c);
	start(2, 2);
	submit(1, WAIT);
	i = 1 - wait_in_hand(1);
	cr_assert(t_eventually(all_ready, NULL, 20000));
	while (n < 8 && !bus_attach(bus, &other[n]))
		n++;
	n_before = n;
	pid = bus_coord_pid(coord, i);
	kill(pid, SIGKILL);
	wait_dead(pid);
	bus_reap(bus);
	while (n < 8 && !bus_attach(bus, &other[n]))
		n++;
	cr_assert_eq(n, n_before + 1);
	return n;
}

/* As long as one works it is tried again. */
Test(crew, whose_ids_are_taken_by_others_is_not_broken)
{
	uint32_t n = take_all_ids();

	while (seen.n_gone < 6)
		cr_assert_eq(bus_coord_wait(coord, NULL, sb_now_ns() + MS),
			     -ETIMEDOUT);
	cr_assert_str_eq(bus_coord_error(coord), "");
	while (n)
		bus_close(other[--n]);
	submit(2, PID);
	collect_pid(2);
	st_rel(&board->gate, 1);
	collect_pid(1);
}

/* And not as fast as it can, though the one that works gets something done. */
Test(crew, whose_ids_are_taken_tries_again_after_a_while)
{
	uint64_t begin, took = 0, id = 2;
	uint32_t n, n_gone;

	backoff_ns = SB_NS_PER_S;
	n = take_all_ids();
	n_gone = seen.n_gone;
	begin = sb_now_ns();
	st_rel(&board->gate, 1);
	collect_pid(1);
	while (took < 1500 * MS && seen.n_gone < n_gone + 20) {
		submit(id, PID);
		collect_pid(id++);
		bus_coord_poll(coord);
		took = sb_now_ns() - begin;
	}
	took = sb_now_ns() - begin;
	/* the one that was killed, then one a second */
	cr_assert_leq(seen.n_gone - n_gone, 2 + took / SB_NS_PER_S);
	while (n)
		bus_close(other[--n]);
}

static int always_fails(void *ctx)
{
	(void)ctx;
	return 1;
}

Test(crew, of_a_plain_coordinator_says_why_it_is_broken)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = dispatch;
	c.init = always_fails;
	T_CHECK(bus_coord_start(bus, "c", &c, &coord) == 0);
	cr_assert_str_eq(bus_coord_error(coord), "");
	submit(1, PID);
	cr_assert_eq(bus_collect(coord, &result, T_LONG), -ECHILD);
	cr_assert_str_eq(bus_coord_error(coord),
			 "10 workers in a row died at once with nothing in "
			 "hand, the last of exit status 125");
}

/* By whoever can write there: workers find that they shall leave. */
Test(crew, whose_ring_was_closed_by_others_is_broken)
{
	struct bus_channel *c;
	struct sb_ring_end *end;

	start(2, 2);
	submit(1, PID);
	collect_pid(1);
	end = bus_channel_end(bus, (uint32_t)bus_channel_find(bus, "c"), &c);
	sb_ring_close(end);
	sb_wake_all(&c->rx, &bus->bells);
	cr_assert_eq(bus_coord_wait(coord, NULL, sb_now_ns() + T_LONG),
		     -ECHILD);
	cr_assert_leq(n_deaths(), 30);
}

/* A worker that says nothing, and one that says too much. */
static int init_is_rude(void *ctx, uint32_t place_idx, char *error,
			size_t error_bytes)
{
	(void)ctx;
	(void)place_idx;
	memset(error, 'x', error_bytes);
	return 1;
}

Test(crew, a_text_without_an_end_is_cut)
{
	struct bus_crew_config h = hooks(1);

	h.init = init_is_rude;
	start_with(1, &h);
	submit(1, PID);
	cr_assert_eq(bus_collect_any(coord, &result, T_LONG), -ECHILD);
	cr_assert_eq(strlen(bus_coord_error(coord)), BUS_INIT_ERROR - 1);
}

Test(crew, start_that_is_refused_is_said)
{
	struct bus_crew_config h = hooks(2);

	seen.refuse = -EMFILE;
	cr_assert_eq(try_start(2, &h), -EMFILE);
	cr_assert_eq(seen.n_started, 0);
	cr_assert_eq(seen.n_gone, 0);
	seen.refuse = 0;
	start(1, 2);
}

Test(crew, start_that_is_refused_later_is_tried_again)
{
	start(1, 1);
	submit(1, NEVER_ENDS);
	seen.refuse = -EMFILE;
	kill_it(wait_in_hand(1), 1);
	tell(1);
	cr_assert_eq(bus_collect_any(coord, &result, 300 * MS), -ETIMEDOUT);
	seen.refuse = 0;
	collect_text(1, "shed");
	cr_assert_eq(seen.n_start, 2);
}

/* Scale ------------------------------------------------------------------- */

Test(crew, grows_and_shrinks)
{
	pid_t first;

	start(1, 4);
	first = bus_coord_pid(coord, 0);
	cr_assert_eq(bus_coord_scale(coord, 4), 0);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 4);
	cr_assert_eq(n_respawns(), 0);
	cr_assert_eq(bus_coord_scale(coord, 1), 0);
	wait_live(1);
	cr_assert_eq(bus_coord_pid(coord, 0), first);
	cr_assert_eq(n_deaths(), 0);
	cr_assert_eq(seen.n_gone, 3);
	cr_assert_eq(ld_rlx(&board->n_exits), 3);
	cr_assert_eq(bus_coord_scale(coord, 2), 0);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 2);
	for (uint64_t id = 1; id <= 10; id++) {
		submit(id, PID);
		collect_pid(id);
	}
}

Test(crew, who_is_too_many_finishes_what_is_in_hand)
{
	start(2, 2);
	submit(1, WAIT);
	submit(2, WAIT);
	wait_in_hand(1);
	wait_in_hand(2);
	cr_assert_eq(bus_coord_scale(coord, 1), 0);
	cr_assert_eq(bus_coord_wait(coord, NULL, sb_now_ns() + 100 * MS),
		     -ETIMEDOUT);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 2);
	st_rel(&board->gate, 1);
	for (int k = 0; k < 2; k++)
		cr_assert_eq(bus_collect(coord, &result, T_LONG), 0);
	wait_live(1);
	cr_assert_eq(n_deaths(), 0);
}

/* No request is left lying because its wake went to one who leaves. */
Test(crew, scaled_all_the_time_answers_all)
{
	start(4, 4);
	for (uint64_t id = 1; id <= 400; id++) {
		submit(id, PID);
		if (id % 4 == 0)
			cr_assert_eq(bus_coord_scale(coord, 1 + id / 4 % 4), 0);
		cr_assert_eq(bus_collect(coord, &result, T_LONG), 0);
		cr_assert_eq(result.kind, BUS_RESULT_OK);
	}
	cr_assert_eq(n_deaths(), 0);
}

/* Who writes there drives them out, and not for long. */
Test(crew, size_that_was_overwritten_is_right_with_the_next_worker)
{
	start(1, 2);
	st_rel(&bus_coord_area(coord)->n_wanted, 0);
	submit(1, PID);
	collect_pid(1);
	submit(2, PID);
	collect_pid(2);
	cr_assert_eq(ld_rlx(&bus_coord_area(coord)->n_wanted), 1);
	cr_assert_leq(n_respawns(), 1);
}

Test(crew, cannot_be_scaled_out_of_range)
{
	start(1, 28);
	cr_assert_eq(bus_coord_scale(coord, 0), -EINVAL);
	cr_assert_eq(bus_coord_scale(coord, 29), -EINVAL);
	cr_assert_eq(bus_coord_scale(coord, 1), 0);
	cr_assert_eq(bus_coord_leave(coord, SB_FOREVER), 0);
	cr_assert_eq(bus_coord_scale(coord, 2), -EPIPE);
}

Test(crew, cannot_have_more_than_there_are_endpoints)
{
	struct bus_crew_config h = hooks(100);

	/* 30, without one for us */
	start_with(1, &h);
	cr_assert_eq(bus_coord_scale(coord, 30), -EUSERS);
	bus_coord_stop(coord, T_LONG);
	coord = NULL;
	cr_assert_eq(try_start(30, &h), -EUSERS);
	h.max_workers = 201;
	cr_assert_eq(try_start(1, &h), -EINVAL);
	h.max_workers = 1;
	cr_assert_eq(try_start(2, &h), -EINVAL);
}

/* Tasks that are no good -------------------------------------------------- */

static void dies_of(uint32_t what, int signal, int status)
{
	start(1, 1);
	submit(1, what);
	collect(1);
	cr_assert_eq(result.kind, BUS_RESULT_DEATH);
	cr_assert_eq(result.attempts, 3);
	cr_assert_eq(result.signal, signal);
	cr_assert_eq(result.exit_status, status);
	submit(2, PID);
	collect_pid(2);
	cr_assert_eq(n_deaths(), 3);
}

Test(crew, exec_in_a_task_is_a_death)
{
	dies_of(EXEC, SIGKILL, -1);
}

Test(crew, exec_is_seen_though_a_child_of_the_task_lives)
{
	dies_of(FORK_EXEC, SIGKILL, -1);
	cr_assert_eq(ld_rlx(&board->n_children), 3);
	st_rel(&board->gate, 1);
}

Test(crew, closing_all_descriptors_is_a_death)
{
	dies_of(CLOSE_ALL, SIGKILL, -1);
}

Test(crew, exit_0_in_a_task_is_a_death)
{
	dies_of(EXIT, 0, 0);
}

static void exits_with(int status)
{
	struct job j = { .id = 1, .what = EXIT, .n = status };

	start(1, 1);
	T_CHECK(bus_submit(coord, 1, &j, sizeof(j), T_LONG) == 0);
	collect(1);
	cr_assert_eq(result.kind, BUS_RESULT_DEATH);
	cr_assert_eq(result.exit_status, status);
	cr_assert_eq(n_deaths(), 3);
	cr_assert_eq(ld_rlx(&board->n_exits), 0);
	bus_coord_stop(coord, T_LONG);
	coord = NULL;
}

/* Whatever the number: only who says so leaves in good order. */
Test(crew, exit_with_a_status_of_ours_is_a_death)
{
	exits_with(BUS_WORKER_RETIRED);
	exits_with(BUS_WORKER_INIT_FAILED);
}

Test(crew, exit_0_while_it_leaves_is_a_death_and_ends)
{
	start(1, 1);
	submit(1, EXIT);
	submit(2, PID);
	cr_assert_eq(bus_coord_leave(coord, SB_FOREVER), 0);
	cr_assert_eq(n_deaths(), 3);
	collect(1);
	cr_assert_eq(result.kind, BUS_RESULT_DEATH);
	collect_pid(2);
}

Test(crew, a_child_of_a_task_answers_nothing)
{
	start(1, 1);
	submit(1, FORK);
	cr_assert_eq(collect_pid(1), bus_coord_pid(coord, 0));
	cr_assert_eq(ld_rlx(&board->after_fork), 1); /* it left with 0 */
	cr_assert_eq(result.attempts, 0);
	submit(2, PID);
	cr_assert_eq(collect_pid(2), bus_coord_pid(coord, 0));
	cr_assert_eq(n_deaths(), 0);
}

/* Waiting ----------------------------------------------------------------- */

Test(crew, wait_without_anything_times_out)
{
	start(1, 1);
	cr_assert_eq(bus_coord_wait(coord, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_coord_wait(coord, NULL, sb_now_ns() + 5 * MS),
		     -ETIMEDOUT);
	cr_assert_eq(bus_coord_wait(coord, NULL, 1), -ETIMEDOUT);
}

Test(crew, wait_ends_with_a_result_and_leaves_it)
{
	start(1, 1);
	submit(1, PID);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_coord_wait(coord, NULL, SB_FOREVER), 0);
	collect_pid(1);
	cr_assert_eq(bus_coord_wait(coord, NULL, 0), -EAGAIN);
}

static bool somebody_talks(void *arg, bool sure)
{
	(void)arg;
	(void)sure;
	return ld_acq(&bus_coord_area(coord)->talking[0]) != 0;
}

Test(crew, wait_ends_when_a_worker_talks)
{
	struct bus_coord_extra x = { .ready = somebody_talks };

	start(2, 2);
	submit(1, TALK);
	cr_assert_eq(bus_coord_wait(coord, &x, SB_FOREVER), 0);
	cr_assert_eq(ld_rlx(&bus_coord_area(coord)->talking[0]),
		     1u << wait_in_hand(1));
	st_rel(&board->gate, 1);
	collect_pid(1);
	cr_assert_eq(ld_rlx(&bus_coord_area(coord)->talking[0]), 0);
}

/* The bit of one who was killed is not the next one's. */
Test(crew, who_replaces_one_that_talked_does_not)
{
	uint32_t i;

	start(1, 1);
	submit(1, TALK);
	i = wait_in_hand(1);
	while (!somebody_talks(NULL, true))
		nap(1);
	tell(1);
	kill_it(i, 1);
	collect_text(1, "shed");
	cr_assert_not(somebody_talks(NULL, true));
}

/* Some set of somebody else's. */
struct other {
	struct sb_sleepers set[200];
	_Atomic uint32_t rung;
};

static int ring_last(void *arg)
{
	struct other *o = arg;

	T_CHECK(bus_check(bus) == 0);
	nap(50);
	st_rel(&o->rung, 1);
	sb_wake(&o->set[199], &bus->bells, 1);
	return 0;
}

static bool was_rung(void *arg, bool sure)
{
	(void)sure;
	return ld_acq(&((struct other *)arg)->rung) != 0;
}

Test(crew, wait_sleeps_in_other_sets_too)
{
	struct other *o = t_shared(sizeof(*o));
	struct sb_sleepers *sets[200];
	struct bus_coord_extra x = {
		.sets = sets, .n_sets = 200, .ready = was_rung, .arg = o
	};
	pid_t child;

	for (int i = 0; i < 200; i++)
		sets[i] = &o->set[i];
	start(1, 1);
	cr_assert_eq(bus_coord_wait(coord, &x, 0), -EAGAIN);
	child = t_fork(ring_last, o);
	cr_assert_eq(bus_coord_wait(coord, &x, SB_FOREVER), 0);
	cr_assert_eq(ld_rlx(&o->rung), 1);
	for (int i = 0; i < 200; i++)
		cr_assert_not(sb_sleepers_any(&o->set[i]));
	t_join(child);
	x.n_sets = BUS_COORD_EXTRA_MAX + 1;
	cr_assert_eq(bus_coord_wait(coord, &x, 0), -EINVAL);
}

Test(crew, wait_looks_after_workers)
{
	start(1, 1);
	kill(bus_coord_pid(coord, 0), SIGKILL);
	while (n_respawns() < 1)
		cr_assert_eq(bus_coord_wait(coord, NULL, sb_now_ns() + MS),
			     -ETIMEDOUT);
	cr_assert_eq(n_deaths(), 1);
}

/* One who looks seldom sees it as well. */
Test(crew, poll_sees_a_death_soon)
{
	pid_t pid;

	start(1, 1);
	submit(1, PID);
	pid = collect_pid(1);
	kill(pid, SIGKILL);
	wait_dead(pid);
	for (int i = 0; i < 3; i++) {
		nap(25);
		bus_coord_poll(coord);
	}
	cr_assert_eq(n_deaths(), 1);
}

static bool is_traced(void *arg)
{
	(void)arg;
	return ld_acq(&board->tracing) != 0;
}

/* No zombie is left of it, and of nobody. */
static bool is_reaped(void *arg)
{
	siginfo_t si;

	bus_coord_workers(coord, NULL, 0); /* looks */
	return waitid(P_PID, (id_t) * (pid_t *)arg, &si,
		      WEXITED | WNOHANG | WNOWAIT) == -1 &&
	       errno == ECHILD;
}

/* A debugger is told first; that may take a while. */
Test(crew, who_dies_while_it_is_traced_is_reaped_later)
{
	pid_t pid;
	int n_fds;

	start(1, 1);
	submit(1, PID);
	collect_pid(1);
	n_fds = t_count_fds();
	submit(2, TRACED);
	pid = bus_coord_pid(coord, (uint32_t)wait_in_hand(2));
	cr_assert(t_eventually(is_traced, NULL, 30000));
	if (ld_acq(&board->tracing) == 2)
		cr_skip_test("no tracing here");
	tell(2);
	cr_assert_eq(bus_coord_signal(coord, 0, SIGKILL), 0);
	collect_text(2, "shed");
	cr_assert_not(is_reaped(&pid));
	st_rel(&board->gate, 1);
	cr_assert(t_eventually(is_reaped, &pid, 30000));
	cr_assert_leq(t_count_fds(), n_fds + 1); /* the endpoint's ring */
}

/* The end ----------------------------------------------------------------- */

Test(crew, leave_can_be_tried_again)
{
	start(2, 2);
	submit(1, WAIT);
	submit(2, PID);
	wait_in_hand(1);
	cr_assert_eq(bus_coord_leave(coord, sb_now_ns() + 20 * MS), -ETIMEDOUT);
	st_rel(&board->gate, 1);
	cr_assert_eq(bus_coord_leave(coord, SB_FOREVER), 0);
	cr_assert_eq(bus_coord_leave(coord, SB_FOREVER), 0);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 0);
	cr_assert_eq(ld_rlx(&board->n_exits), 2);
	cr_assert_eq(seen.n_gone, 2);
	cr_assert_eq(n_deaths(), 0);
	cr_assert_eq(bus_collect_any(coord, &result, 0), 0);
	cr_assert_eq(bus_collect_any(coord, &result, 0), 0);
}

/* Who only tries never sleeps, and sees the end nevertheless. */
Test(crew, leave_without_a_wait_sees_who_has_left)
{
	pid_t pid[2];

	start(2, 2);
	submit(1, PID);
	collect_pid(1);
	cr_assert_eq(bus_coord_workers(coord, pid, 2), 2);
	bus_coord_leave(coord, 1); /* they need not be that quick */
	wait_dead(pid[0]);
	wait_dead(pid[1]);
	cr_assert_eq(bus_coord_leave(coord, 1), 0);
	cr_assert_eq(n_deaths(), 0);
}

Test(crew, kill_all_leaves_nobody)
{
	start(3, 4);
	submit(1, NEVER_ENDS);
	wait_in_hand(1);
	cr_assert_eq(bus_coord_kill_all(coord), 0);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 0);
	cr_assert_eq(seen.n_gone, 3);
	cr_assert_eq(bus_coord_wait(coord, NULL, sb_now_ns() + 20 * MS),
		     -ETIMEDOUT);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 0);
	cr_assert_eq(bus_coord_kill_all(coord), 0);
	cr_assert_eq(bus_coord_outstanding(coord), 1);
	bus_coord_stop(coord, 0);
	coord = NULL;
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
}

/* Becomes somebody who may not signal its workers, of which one is idle. */
static int stop_as_another(void *arg)
{
	(void)arg;
	alarm(60);
	start(2, 2);
	submit(1, NEVER_ENDS);
	st_rel(&board->orphan, (uint32_t)bus_coord_pid(coord, wait_in_hand(1)));
	for (uint64_t id = 2; id <= 20; id++)
		submit(id, WAIT);
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return T_SKIP;
	if (bus_coord_signal(coord, 0, 0) != -EPERM)
		return T_SKIP;
	T_CHECK(bus_coord_kill_all(coord) == 0);
	st_rel(&board->gate, 1);
	T_CHECK(bus_coord_stop(coord, 0) == -ETIMEDOUT);
	coord = NULL;
	return 0;
}

Test(crew, who_cannot_be_killed_is_left_alone)
{
	pid_t child = t_fork(stop_as_another, NULL);
	int status = t_wait(child);

	if (ld_rlx(&board->orphan))
		kill((pid_t)ld_rlx(&board->orphan), SIGKILL);
	if (status == T_SKIP)
		cr_skip_test("nobody else to be here");
	cr_assert_eq(status, 0);
}

/* Children, settings, descriptors ----------------------------------------- */

static int use_parents(void *arg)
{
	(void)arg;
	T_CHECK(bus_coord_scale(coord, 1) == -EINVAL);
	T_CHECK(bus_coord_signal(coord, 0, SIGKILL) == -EINVAL);
	T_CHECK(bus_coord_kill_all(coord) == -EINVAL);
	T_CHECK(bus_coord_leave(coord, 1) == -EINVAL);
	T_CHECK(bus_coord_wait(coord, NULL, 0) == -EINVAL);
	return 0;
}

Test(crew, is_none_of_a_childs)
{
	start(1, 1);
	t_join(t_fork(use_parents, NULL));
	cr_assert_eq(seen.n_gone, 0);
	submit(1, PID);
	cr_assert_eq(collect_pid(1), bus_coord_pid(coord, 0));
}

Test(crew, workers_wait_as_they_are_told_to)
{
	struct bus_crew_config h = hooks(1);

	h.wait = BUS_WAIT_FUTEX;
	start_with(1, &h);
	submit(1, WAIT_MODE);
	collect(1);
	cr_assert_str_eq(result.data, "futex");
}

static uint32_t count_fds(void)
{
	uint32_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(crew, leaves_no_descriptor)
{
	uint32_t before;

	start(1, 1);
	submit(1, PID);
	collect_pid(1);
	before = count_fds();
	for (uint64_t id = 2; id <= 20; id++) {
		submit(id, NEVER_ENDS);
		kill_it(wait_in_hand(id), id);
		tell(id);
		collect_text(id, "shed");
	}
	wait_live(1);
	cr_assert_leq(count_fds(), before + 1); /* io_uring of a first park */
}
