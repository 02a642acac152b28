/*
 * test_pool.c - tests of bus/pool.c: Criterion suite "pool"
 *
 * Also of what its workers may do to it: die in any way and at any time.
 */
#include "config.h"

#include <criterion/criterion.h>

#include "tests/bus/t_pool.h"

TestSuite(pool, .init = setup, .fini = teardown, .timeout = 200.0);

/* ----------------------------------------------------------------- start -- */

Test(pool, bad_settings_are_refused)
{
	struct bus_pool_config c = t_pool_config(1);
	struct bus_pool *p;

	c.handlers = NULL;
	cr_assert_eq(bus_pool_start(bus, "p", &c, &p), -EINVAL);
	c = t_pool_config(1);
	c.n_handlers = 0;
	cr_assert_eq(bus_pool_start(bus, "p", &c, &p), -EINVAL);
	c = t_pool_config(201);
	cr_assert_eq(bus_pool_start(bus, "p", &c, &p), -EINVAL);
	c = t_pool_config(100);
	cr_assert_eq(bus_pool_start(bus, "p", &c, &p), -EUSERS);
	c = t_pool_config(1);
	c.window = 100;
	cr_assert_eq(bus_pool_start(bus, "p", &c, &p), -EINVAL);
	c = t_pool_config(1);
	c.size = 4000;
	cr_assert_eq(bus_pool_start(bus, "p", NULL, &p), -EINVAL);
	cr_assert_eq(bus_pool_start(bus, NULL, &c, &p), -EINVAL);
	cr_assert_eq(bus_pool_start(NULL, "p", &c, &p), -EINVAL);
}

Test(pool, a_name_is_taken_once)
{
	struct bus_pool_config c = t_pool_config(1);
	struct bus_pool *p;

	t_pool(1);
	cr_assert_eq(bus_pool_start(bus, "p", &c, &p), -EEXIST);
	cr_assert_eq(bus_pool_start(bus, "p2", &c, &p), 0);
	bus_pool_free(p);
	bus_pool_free(pool);
	t_pool(2);
	t_apply(ECHO, 1, BUS_RESULT_OK);
}

Test(pool, defaults_are_chosen)
{
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;
	cpu_set_t set;

	c.handlers = t_handlers;
	c.n_handlers = 1;
	t_pool_with(&c);
	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	cr_assert_eq(t_pool_stats().n_workers, (uint32_t)CPU_COUNT(&set));
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_str_eq(bus_pool_error(pool), "");
}

/* There may be more processors than that. */
Test(pool, by_default_has_no_more_workers_than_there_are_endpoints)
{
	struct bus_pool_config c = t_pool_config(0);
	struct bus_config bc = t_config();

	bus_close(bus);
	bc.max_endpoints = 2;
	bus = t_bus_with(NULL, &bc);
	t_pool_with(&c);
	cr_assert_eq(t_pool_stats().n_workers, 1);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	bus_pool_free(pool);
	pool = NULL;
	c.n_workers = 2;
	cr_assert_eq(bus_pool_start(bus, "p", &c, &pool), -EUSERS);
}

Test(pool, a_small_bus_is_enough)
{
	struct bus_config c = t_config();

	bus_close(bus);
	c.channel_bytes = 512 << 10;
	bus = t_bus_with(NULL, &c);
	t_pool(3);
	for (int i = 0; i < 20; i++) {
		t_apply(SIZE, 100000, BUS_RESULT_OK);
		cr_assert(t_is(result.data, result.len_bytes, 5));
	}
}

Test(pool, small_messages_are_enough)
{
	uint64_t sizes[] = { 1, 8, 16, 24 };
	struct order in[100] = { { ECHO, 0 } }, out[100];

	for (size_t k = 0; k < lengthof(sizes); k++) {
		struct bus_config c = t_config();

		bus_close(bus);
		c.max_message_bytes = sizes[k];
		bus = t_bus_with(NULL, &c);
		t_pool(1);
		t_apply(ECHO, 1, BUS_RESULT_OK);
		t_apply(SIZE, 10000, BUS_RESULT_OK);
		cr_assert(t_is(result.data, result.len_bytes, 5));
		cr_assert_eq(bus_pool_map(pool, 0, in, sizeof(*in), out,
					  sizeof(*out), 100, NULL, T_LONG),
			     0);
		cr_assert_eq(bus_pool_submit(pool, 0, in, 100, NULL, NULL, -1),
			     -EMSGSIZE);
		bus_pool_free(pool);
		pool = NULL;
	}
}

/* They may lie on a stack. */
Test(pool, the_table_of_handlers_is_copied)
{
	bus_handler handlers[] = { act };
	struct bus_pool_config c = t_pool_config(1);

	c.handlers = handlers;
	t_pool_with(&c);
	handlers[0] = NULL;
	t_apply(ECHO, 1, BUS_RESULT_OK);
	t_kill_worker(0);
	t_apply(ECHO, 2, BUS_RESULT_OK);
}

/* ----------------------------------------------------------- close, join -- */

Test(pool, close_lets_finish_what_was_submitted)
{
	struct bus_future *f[100];

	t_pool(2);
	for (int i = 0; i < 100; i++)
		f[i] = t_submit(ECHO, i);
	cr_assert_eq(bus_pool_join(pool, 0), -EBUSY);
	cr_assert_eq(bus_pool_close(pool), 0);
	cr_assert_eq(bus_pool_close(pool), 0);
	cr_assert_eq(bus_pool_submit(pool, 0, "", 0, NULL, NULL, -1), -EPIPE);
	cr_assert_eq(bus_pool_scale(pool, 3), -EPIPE);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	cr_assert_eq(bus_pool_terminate(pool), 0);
	for (int i = 0; i < 100; i++) {
		const struct order *o = t_get(f[i], BUS_RESULT_OK);

		cr_assert_eq(o->n, i);
		bus_future_free(f[i]);
	}
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
}

Test(pool, join_may_be_called_again)
{
	struct bus_future *f;

	t_pool(1);
	f = t_submit(HOLD, 1);
	t_submit(HOLD, 1);
	bus_pool_close(pool);
	cr_assert_eq(bus_pool_join(pool, 0), -EAGAIN);
	cr_assert_eq(bus_pool_join(pool, 5 * MS), -ETIMEDOUT);
	shared->go = 1;
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	t_get(f, BUS_RESULT_OK);
}

Test(pool, terminate_cancels_what_is_not_over)
{
	struct bus_future *f[20];

	t_pool(2);
	for (int i = 0; i < 20; i++)
		f[i] = t_submit(HOLD, 1);
	t_await_begun(2);
	cr_assert_eq(bus_pool_terminate(pool), 0);
	cr_assert_eq(bus_pool_terminate(pool), 0);
	for (int i = 0; i < 20; i++) {
		t_get(f[i], BUS_RESULT_CANCELED);
		cr_assert_eq(result.code, -ECANCELED);
	}
	cr_assert_eq(bus_pool_submit(pool, 0, "", 0, NULL, NULL, -1), -EPIPE);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
}

Test(pool, free_ends_all_at_any_time)
{
	int n_fds = t_count_fds();

	for (int stage = 0; stage < 5; stage++) {
		t_pool(2);
		if (stage > 0)
			t_apply(SIZE, 1000, BUS_RESULT_OK);
		for (int i = 0; stage > 1 && i < 20; i++)
			t_submit(i < 2 ? STUCK : SIZE, 100000);
		if (stage == 3)
			bus_pool_close(pool);
		if (stage == 4)
			bus_pool_terminate(pool);
		bus_pool_free(pool);
		pool = NULL;
		cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	}
	/* The endpoint's ring may have been made meanwhile. */
	cr_assert_leq(t_count_fds(), n_fds + 1);
}

/* ----------------------------------------------------------------- scale -- */

static bool has_n_workers(void *n)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[32];
	int k = bus_pool_stats(bus, "p", &s, w, 32), live = 0;

	for (int i = 0; i < k; i++)
		live += w[i].pid != 0;
	return live == *(int *)n;
}

Test(pool, scales_up_and_down_under_load)
{
	struct bus_future *f[60];
	int sizes[] = { 1, 5, 2, 8, 3 };

	t_pool(2);
	cr_assert_eq(bus_pool_scale(pool, 0), -EINVAL);
	cr_assert_eq(bus_pool_scale(pool, 201), -EINVAL);
	cr_assert_eq(bus_pool_scale(pool, 100), -EUSERS);
	for (size_t k = 0; k < lengthof(sizes); k++) {
		for (int i = 0; i < 60; i++)
			f[i] = t_submit(NAP, i % 3);
		cr_assert_eq(bus_pool_scale(pool, (uint32_t)sizes[k]), 0);
		for (int i = 0; i < 60; i++) {
			t_get(f[i], BUS_RESULT_OK);
			bus_future_free(f[i]);
		}
		cr_assert(t_progress_until(has_n_workers, &sizes[k]));
		cr_assert_eq(t_pool_stats().n_workers, (uint32_t)sizes[k]);
	}
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

/* Those who are new have work before the first task is over. */
Test(pool, scaled_up_beside_long_tasks_runs_more_of_them)
{
	uint64_t end = sb_now_ns() + 20 * SB_NS_PER_S;
	struct bus_future *f[10];

	t_pool(1);
	for (int i = 0; i < 10; i++)
		f[i] = t_submit(HOLD, 1);
	cr_assert_eq(bus_pool_scale(pool, 10), 0);
	while (shared->n_begun < 10 && sb_now_ns() < end)
		cr_assert_eq(bus_future_wait(f[9], 5 * MS), -ETIMEDOUT);
	cr_assert_eq(shared->n_begun, 10);
	shared->go = 1;
	for (int i = 0; i < 10; i++)
		t_get(f[i], BUS_RESULT_OK);
}

/* --------------------------------------------------------- init and exit -- */

static int failing_init(void *ctx, char *error, size_t error_bytes)
{
	(void)ctx;
	if (shared->n_inits++ < shared->fail_inits) {
		snprintf(error, error_bytes, "no luck");
		return 1;
	}
	return 0;
}

static void on_exit_of_worker(void *ctx)
{
	T_CHECK(ctx == shared);
	shared->n_exits++;
}

Test(pool, breaks_when_init_fails_three_times)
{
	struct bus_pool_config c = t_pool_config(1);
	struct bus_future *f, *g;

	c.init = failing_init;
	shared->fail_inits = 1000;
	t_pool_with(&c);
	f = t_submit(ECHO, 1);
	g = t_submit(ECHO, 1);
	t_get(f, BUS_RESULT_BROKEN);
	cr_assert_eq(result.code, -ECHILD);
	cr_assert_str_eq(result.data, "no luck");
	cr_assert_eq(result.len_bytes, strlen("no luck"));
	t_get(g, BUS_RESULT_BROKEN);
	cr_assert_eq(shared->n_inits, 3);
	cr_assert_str_eq(bus_pool_error(pool), "no luck");
	cr_assert_eq(bus_pool_submit(pool, 0, "", 0, NULL, NULL, -1), -ECHILD);
	cr_assert_eq(bus_pool_scale(pool, 2), -ECHILD);
	cr_assert_eq(bus_pool_close(pool), 0);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
}

Test(pool, an_init_may_fail_twice)
{
	struct bus_pool_config c = t_pool_config(1);

	c.init = failing_init;
	shared->fail_inits = 2;
	t_pool_with(&c);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(shared->n_inits, 3);
	cr_assert_str_eq(bus_pool_error(pool), "");
}

/* Others may be at work; nobody could replace them. */
Test(pool, breaks_while_others_work)
{
	struct bus_pool_config c = t_pool_config(1);
	struct bus_future *f;

	c.init = failing_init;
	t_pool_with(&c);
	f = t_submit(HOLD, 1);
	t_await_begun(1);
	shared->fail_inits = 1000;
	cr_assert_eq(bus_pool_scale(pool, 2), 0);
	t_get(f, BUS_RESULT_BROKEN);
	cr_assert_str_eq(result.data, "no luck");
	cr_assert_eq(t_pool_stats().n_canceled, 1);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
}

Test(pool, workers_that_leave_call_exit)
{
	struct bus_pool_config c = t_pool_config(3);

	c.exit = on_exit_of_worker;
	c.ctx = shared;
	t_pool_with(&c);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	bus_pool_close(pool);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	cr_assert_eq(shared->n_exits, 3);
}

Test(pool, a_worker_is_replaced_after_so_many_tasks)
{
	struct bus_pool_config c = t_pool_config(1);
	int last = 0, changes = 0;

	c.max_tasks_per_worker = 4;
	c.exit = on_exit_of_worker;
	c.ctx = shared;
	t_pool_with(&c);
	for (int i = 0; i < 40; i++) {
		t_apply(PID, 0, BUS_RESULT_OK);
		changes += *(const int *)result.data != last;
		last = *(const int *)result.data;
	}
	cr_assert_eq(changes, 10);
	cr_assert_geq(shared->n_exits, 9);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
	cr_assert_geq(t_pool_stats().n_respawns, 9);
}

/* ---------------------------------------------------------------- deaths -- */

Test(pool, a_task_that_kills_its_worker_is_given_up)
{
	struct bus_future *f;

	t_pool(2);
	f = t_submit(DIE, 5);
	for (int i = 0; i < 100; i++)
		t_apply(ECHO, i, BUS_RESULT_OK);
	t_get(f, BUS_RESULT_DEATH);
	cr_assert_eq(result.code, -EOWNERDEAD);
	cr_assert_eq(result.attempts, 3);
	cr_assert_eq(result.signal, SIGKILL);
	cr_assert_eq(result.exit_status, -1);
	cr_assert_neq(result.pid, 0);
	cr_assert_eq(result.len_bytes, sizeof(struct order));
	cr_assert_eq(((const struct order *)result.data)->n, 5);
	cr_assert_eq(t_pool_stats().n_quarantined, 1);
	cr_assert_eq(t_pool_stats().n_deaths, 3);
}

Test(pool, a_task_is_run_again_elsewhere)
{
	t_pool(2);
	t_apply(DIE_TIMES, 2, BUS_RESULT_OK);
	cr_assert_eq(result.attempts, 2);
	t_apply(ECHO, 2, BUS_RESULT_OK);
	cr_assert_eq(result.attempts, 0);
}

Test(pool, however_a_task_ends_its_worker_it_is_a_death)
{
	struct {
		uint32_t what;
		int n, signal, status;
	} ends[] = {
		{ EXIT, 3, 0, 3 },         { EXIT, 0, 0, 0 },
		{ EXIT_NOW, 0, 0, 0 },     { EXIT_NOW, 7, 0, 7 },
		{ ABORT, 0, SIGABRT, -1 }, { EXEC, 0, SIGKILL, -1 },
	};

	t_pool(2);
	for (size_t i = 0; i < lengthof(ends); i++) {
		t_apply(ends[i].what, ends[i].n, BUS_RESULT_DEATH);
		cr_assert_eq(result.attempts, 3);
		cr_assert_eq(result.signal, ends[i].signal, "%zu: %d", i,
			     result.signal);
		cr_assert_eq(result.exit_status, ends[i].status, "%zu: %d", i,
			     result.exit_status);
	}
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_deaths, 3 * lengthof(ends));
}

Test(pool, a_task_that_forks_answers_once)
{
	t_pool(1);
	for (int i = 0; i < 10; i++) {
		t_apply(FORK, i, BUS_RESULT_OK);
		cr_assert_eq(((const struct order *)result.data)->n, i);
	}
	cr_assert_eq(t_pool_stats().n_ok, 10);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

Test(pool, idle_workers_that_are_killed_are_replaced)
{
	t_pool(2);
	for (int i = 0; i < 20; i++) {
		t_kill_worker((uint32_t)i % 2);
		t_apply(ECHO, i, BUS_RESULT_OK);
		t_apply(NAP, 2, BUS_RESULT_OK);
	}
	cr_assert_geq(t_pool_stats().n_deaths, 10);
}

/* Deaths are seen though there is always a result to look at, and so never a
 * reason to sleep. */
Test(pool, a_busy_caller_replaces_the_dead)
{
	struct bus_future *f[64] = { NULL };
	uint64_t end;
	int both = 2;

	t_pool(2);
	t_apply(ECHO, 0, BUS_RESULT_OK);
	t_kill_worker(0);
	end = sb_now_ns() + 20 * SB_NS_PER_S;
	for (uint32_t i = 0; sb_now_ns() < end; i++) {
		if (f[i % 64]) {
			t_get(f[i % 64], BUS_RESULT_OK);
			bus_future_free(f[i % 64]);
		}
		f[i % 64] = t_submit(ECHO, 1);
		if (t_pool_stats().n_respawns && has_n_workers(&both))
			break;
	}
	cr_assert_eq(t_pool_stats().n_respawns, 1);
}

/* Each phase of a worker's life, and a task that waits for it to be over. */
enum phase { INIT, IDLE, TAKEN, RUNNING, SENDING, LEAVING, N_PHASES };

static int die_in_init(void *ctx, char *error, size_t error_bytes)
{
	(void)ctx;
	(void)error;
	(void)error_bytes;
	if (shared->n_inits++ < 2)
		kill(getpid(), SIGKILL);
	return 0;
}

static void die_in_exit(void *ctx)
{
	(void)ctx;
	if (shared->n_exits++ < 2)
		kill(getpid(), SIGKILL);
}

static void kill_in(enum phase phase)
{
	struct bus_pool_config c = t_pool_config(1);
	struct bus_future *f[10];
	struct bus_pool_stats s;

	memset(shared, 0, sizeof(*shared));
	c.init = phase == INIT ? die_in_init : NULL;
	c.exit = die_in_exit;
	c.max_tasks_per_worker = phase == LEAVING ? 3 : 0;
	shared->n_exits = phase == LEAVING ? 0 : 100;
	t_pool_with(&c);
	if (phase == IDLE) {
		t_apply(ECHO, 1, BUS_RESULT_OK);
		t_kill_worker(0);
	}
	f[0] = t_submit(phase == RUNNING   ? DIE_TIMES
			: phase == SENDING ? SIZE_DIE
					   : SIZE,
			phase == RUNNING ? 2 : 2000000);
	for (int i = 1; i < 10; i++)
		f[i] = t_submit(ECHO, i);
	if (phase == TAKEN)
		t_kill_worker(0);
	if (phase == SENDING)
		nap(20 * MS);
	for (int i = 0; i < 10; i++)
		t_get(f[i], BUS_RESULT_OK);
	s = t_pool_stats();
	cr_assert_geq(s.n_deaths, 1, "phase %d", phase);
	cr_assert_eq(s.n_ok, s.n_submitted);
	cr_assert_eq(bus_pool_close(pool), 0);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	bus_pool_free(pool);
	pool = NULL;
}

Test(pool, a_worker_may_be_killed_in_every_phase)
{
	for (int phase = 0; phase < N_PHASES; phase++)
		kill_in((enum phase)phase);
}

/* ------------------------------------------------------------------ fork -- */

static int in_child(void *arg)
{
	struct bus_future *f = arg, *g;
	struct bus_imap *im;

	T_CHECK(bus_pool_submit(pool, 0, "", 0, NULL, &g, -1) == -EINVAL);
	T_CHECK(bus_pool_apply(pool, 0, "", 0, &result, -1) == -EINVAL);
	T_CHECK(bus_pool_map(pool, 0, "", 1, NULL, 0, 1, NULL, -1) == -EINVAL);
	T_CHECK(bus_pool_imap(pool, 0, NULL, NULL, NULL, &im) == -EINVAL);
	T_CHECK(bus_pool_scale(pool, 1) == -EINVAL);
	T_CHECK(bus_pool_close(pool) == -EINVAL);
	T_CHECK(bus_pool_terminate(pool) == -EINVAL);
	T_CHECK(bus_pool_join(pool, -1) == -EINVAL);
	T_CHECK(bus_future_get(f, &result, -1) == -EINVAL);
	T_CHECK(bus_future_wait(f, -1) == -EINVAL);
	T_CHECK(bus_future_cancel(f) == -EINVAL);
	T_CHECK(bus_future_done(f) == -EINVAL);
	bus_future_free(f);
	bus_pool_free(pool);
	/* The bus may be used, as an endpoint of our own. */
	T_CHECK(t_pool_stats().n_workers == 2);
	return 0;
}

Test(pool, a_forked_child_has_no_pool)
{
	struct bus_future *f;

	t_pool(2);
	f = t_submit(HOLD, 1);
	t_apply(SIZE, 10000, BUS_RESULT_OK);
	t_join(t_fork(in_child, f));
	shared->go = 1;
	t_get(f, BUS_RESULT_OK);
	t_apply(SIZE, 10000, BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

/* ----------------------------------------------------------------- stats -- */

Test(pool, stats_tell_who_does_what)
{
	struct bus_future *f[30];
	struct bus_pool_stats s;
	struct bus_worker_stats w;

	t_pool(1);
	f[0] = t_submit(HOLD, 1);
	for (int i = 1; i < 30; i++)
		f[i] = t_submit(ECHO, i);
	t_await_begun(1);
	s = t_pool_stats();
	w = t_worker(0);
	cr_assert_eq(s.n_submitted, 30);
	cr_assert_eq(s.n_running, 1);
	cr_assert_eq(s.n_queued, 29);
	cr_assert_eq(w.state, BUS_WORKER_BUSY);
	cr_assert_eq(w.handler, 0);
	cr_assert_eq(w.task, 1);
	cr_assert_neq(w.since_ns, 0);
	cr_assert_leq(w.since_ns, sb_now_ns());
	shared->go = 1;
	for (int i = 0; i < 30; i++)
		t_get(f[i], BUS_RESULT_OK);
	s = t_pool_stats();
	cr_assert_eq(s.n_ok, 30);
	cr_assert_eq(s.n_queued + s.n_running, 0);
	cr_assert_eq(t_worker(0).n_done, 30);
}

/* ------------------------------------------------------------- back-ends -- */

static int with_wait(void *arg)
{
	struct bus_config c = t_config();
	struct bus_future *f[50];

	c.channel_bytes = 16 << 20;
	c.wait = *(uint32_t *)arg;
	if (c.wait == BUS_WAIT_URING && t_rings_are_few())
		return T_SKIP;
	if (bus_create(NULL, &c, &bus))
		return T_SKIP;
	t_pool(2);
	for (int i = 0; i < 50; i++)
		f[i] = t_submit(i % 10 == 3   ? DIE_TIMES
				: i % 10 == 7 ? SIZE
					      : NAP,
				i % 10 == 7 ? 300000 : 1);
	for (int i = 0; i < 50; i++)
		t_get(f[i], BUS_RESULT_OK);
	t_get(t_submit_with(STUCK, 0,
			    &(struct bus_task_config){
				    .size = sizeof(struct bus_task_config),
				    .limit_ns = 5 * MS }),
	      BUS_RESULT_TIMEOUT);
	T_CHECK(bus_pool_close(pool) == 0);
	T_CHECK(bus_pool_join(pool, T_LONG) == 0);
	bus_pool_free(pool);
	bus_close(bus);
	return 0;
}

Test(pool, works_with_io_uring)
{
	uint32_t wait = BUS_WAIT_URING;

	t_join_or_skip(t_fork(with_wait, &wait), "no io_uring");
}

Test(pool, works_with_futexes)
{
	uint32_t wait = BUS_WAIT_FUTEX;

	t_join(t_fork(with_wait, &wait));
}

/* ------------------------------------------------------------ in workers -- */

static int how_it_waits(void *ctx, const void *req, size_t len,
			struct bus_reply *r)
{
	const struct bus_config *c = &bus_reply_bus(r)->config;
	uint32_t how[] = { c->wait, c->spin };

	(void)ctx;
	(void)req;
	(void)len;
	return bus_reply_put(r, how, sizeof(how));
}

/* Whatever their owner does. */
Test(pool, workers_wait_as_the_pool_is_told)
{
	static const bus_handler handlers[] = { how_it_waits };
	struct bus_pool_config c = t_pool_config(1);
	uint32_t how[2];

	c.handlers = handlers;
	for (uint32_t k = 0; k < 2; k++) {
		c.wait = k ? BUS_WAIT_FUTEX : 0;
		c.spin = k ? BUS_SPIN_NEVER : 0;
		t_pool_with(&c);
		t_apply(ECHO, 1, BUS_RESULT_OK);
		cr_assert_eq(result.len_bytes, sizeof(how));
		memcpy(how, result.data, sizeof(how));
		cr_assert_eq(how[0], k ? BUS_WAIT_FUTEX : bus->config.wait);
		cr_assert_eq(how[1], k ? BUS_SPIN_NEVER : bus->config.spin);
		bus_pool_close(pool);
		cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
		bus_pool_free(pool);
		pool = NULL;
	}
}

/* They wait in the ring behind another until they are not wanted any more; a
 * worker finds that out, answers, and leaves in good order. */
Test(pool, what_is_late_or_canceled_before_it_begins_is_not_run)
{
	struct bus_task_config soon = BUS_TASK_CONFIG_INIT;
	struct bus_future *first, *late, *canceled, *last;

	t_pool(1);
	soon.limit_ns = 5 * MS;
	first = t_submit(HOLD, 1);
	t_await_begun(1);
	late = t_submit_with(LOG, 7, &soon);
	canceled = t_submit(LOG, 8);
	last = t_submit(LOG, 9);
	cr_assert_eq(bus_future_cancel(canceled), 0);
	t_get(late, BUS_RESULT_TIMEOUT);
	shared->go = 1;
	t_get(last, BUS_RESULT_OK);
	t_get(first, BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 1);
	cr_assert_eq(shared->log[0], 9);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
	bus_pool_close(pool);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
}

/* A look that makes no progress. */
static bool has_done_two(void *arg)
{
	(void)arg;
	return t_worker(0).n_done == 2;
}

/* Who is busy elsewhere need not say so: a worker looks at the clock. */
Test(pool, what_is_late_is_not_run_though_its_owner_does_not_look)
{
	struct bus_task_config soon = BUS_TASK_CONFIG_INIT;
	struct bus_future *first, *late;

	t_pool(1);
	soon.limit_ns = 5 * MS;
	first = t_submit(HOLD, 1);
	t_await_begun(1);
	late = t_submit_with(LOG, 7, &soon);
	nap(10 * MS);
	shared->go = 1;
	cr_assert(t_eventually(has_done_two, NULL, 20000));
	t_get(first, BUS_RESULT_OK);
	t_get(late, BUS_RESULT_TIMEOUT);
	t_apply(LOG, 9, BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 1);
	cr_assert_eq(shared->log[0], 9);
	bus_pool_close(pool);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
}

static int fails_at_length(void *ctx, const void *req, size_t len,
			   struct bus_reply *r)
{
	(void)ctx;
	bus_reply_error(r, "%0*d", *(const int *)req, (int)len);
	return 5;
}

/* Short ones lie in the future, longer ones on the heap. */
Test(pool, a_text_of_any_length_comes_with_an_error)
{
	static const bus_handler handlers[] = { fails_at_length };
	struct bus_pool_config c = t_pool_config(1);
	char should[256];

	c.handlers = handlers;
	t_pool_with(&c);
	for (int n = 1; n < 200; n++) {
		snprintf(should, sizeof(should), "%0*d", n, (int)sizeof(n));
		cr_assert_eq(
			bus_pool_apply(pool, 0, &n, sizeof(n), &result, T_LONG),
			0);
		cr_assert_eq(result.kind, BUS_RESULT_ERROR);
		cr_assert_eq(result.code, 5);
		cr_assert_eq(result.len_bytes, strlen(should));
		cr_assert_str_eq(result.data, should);
	}
}

static int endless(void *ctx, const void **item, size_t *len)
{
	static struct order o = { ECHO, 1 };

	(void)ctx;
	*item = &o;
	*len = sizeof(o);
	return 1;
}

/* Whoever looks for leaks sees it. */
Test(pool, freeing_it_frees_imaps_and_futures_that_are_left)
{
	struct bus_imap *im;
	int fds;

	t_pool(2);
	fds = t_count_fds();
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_pool_imap(pool, 0, endless, NULL, NULL, &im),
			     0);
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
	}
	t_submit(ECHO, 1);
	bus_pool_free(pool);
	cr_assert_lt(t_count_fds(), fds);
	t_pool(1);
	t_apply(ECHO, 1, BUS_RESULT_OK);
}
