/*
 * test_future.c - tests of bus/future.c, and of lanes, limits, cancels and
 * callbacks: Criterion suite "future"
 *
 * A pool of one worker has its tasks done in the order in which they are handed
 * on; while the worker holds, a second one is in the ring and the others wait
 * in the lanes.
 */
#include "config.h"

#include <criterion/criterion.h>

#include "bus/coord.h"
#include "bus/pool.h"
#include "tests/bus/t_pool.h"

TestSuite(future, .init = setup, .fini = teardown, .timeout = 200.0);

static struct bus_task_config limit(int64_t ns)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;

	c.limit_ns = ns;
	return c;
}

static struct bus_task_config lane(uint32_t priority)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;

	c.priority = priority;
	return c;
}

/* --------------------------------------------------------------- results -- */

Test(future, bad_arguments_are_refused)
{
	struct bus_task_config c = lane(3);
	struct bus_future *f;

	t_pool(1);
	cr_assert_eq(bus_pool_submit(NULL, 0, "", 0, NULL, &f, -1), -EINVAL);
	cr_assert_eq(bus_pool_submit(pool, 1, "", 0, NULL, &f, -1), -EINVAL);
	cr_assert_eq(bus_pool_submit(pool, 0, NULL, 1, NULL, &f, -1), -EINVAL);
	cr_assert_eq(bus_pool_submit(pool, 0, "", 0, &c, &f, -1), -EINVAL);
	c = limit(-1);
	cr_assert_eq(bus_pool_submit(pool, 0, "", 0, &c, &f, -1), -EINVAL);
	c = limit(0);
	c.flags = 1;
	cr_assert_eq(bus_pool_submit(pool, 0, "", 0, &c, &f, -1), -EINVAL);
	bus_future_free(NULL);
}

Test(future, has_the_result_as_long_as_it_lives)
{
	struct bus_future *f[50];

	t_pool(2);
	for (int i = 0; i < 50; i++)
		f[i] = t_submit(ECHO, i);
	for (int k = 0; k < 2; k++)
		for (int i = 49; i >= 0; i--) {
			const struct order *o = t_get(f[i], BUS_RESULT_OK);

			cr_assert_eq(o->n, i);
			cr_assert_eq(result.id, (uint64_t)i + 1);
			cr_assert_eq(result.len_bytes, sizeof(*o));
			cr_assert_eq(bus_future_done(f[i]), 1);
			cr_assert_eq(bus_future_cancel(f[i]), -EALREADY);
		}
	for (int i = 0; i < 50; i++)
		bus_future_free(f[i]);
}

Test(future, an_error_comes_with_code_and_text)
{
	t_pool(1);
	t_get(t_submit(FAIL, 42), BUS_RESULT_ERROR);
	cr_assert_eq(result.code, 42);
	cr_assert_str_eq(result.data, "failed with 42");
	cr_assert_eq(result.len_bytes, strlen("failed with 42"));
	t_get(t_submit(FAIL, -7), BUS_RESULT_ERROR);
	cr_assert_eq(result.code, -7);
	cr_assert_eq(t_pool_stats().n_failed, 2);
}

Test(future, requests_have_any_size)
{
	static unsigned char req[T_MESSAGE_MAX];
	size_t sizes[] = {
		0, 1, 8, 24, 25, 72, 73, 1000, 1040, 4096, T_MESSAGE_MAX - 16
	};

	t_pool(1);
	memset(req, 0, sizeof(req));
	for (int k = 0; k < 2; k++) {
		struct bus_future *f[lengthof(sizes)], *hold = NULL;

		shared->go = 0;
		if (k) /* in the lanes */
			hold = t_submit(HOLD, 1);
		for (size_t i = 0; i < lengthof(sizes); i++) {
			if (sizes[i] > 8)
				t_fill(req + 8, sizes[i] - 8, i);
			cr_assert_eq(bus_pool_submit(pool, 0, req, sizes[i],
						     NULL, &f[i], T_LONG),
				     0);
		}
		shared->go = 1;
		bus_future_free(hold);
		for (size_t i = 0; i < lengthof(sizes); i++) {
			const unsigned char *d = t_get(f[i], BUS_RESULT_OK);

			cr_assert_eq(result.len_bytes, sizes[i]);
			cr_assert(sizes[i] <= 8 ||
				  t_is(d + 8, sizes[i] - 8, i));
			bus_future_free(f[i]);
		}
	}
	cr_assert_eq(bus_pool_submit(pool, 0, req, T_MESSAGE_MAX + 1, NULL,
				     NULL, -1),
		     -EMSGSIZE);
}

Test(future, wait_ends_in_time_and_can_be_called_again)
{
	struct bus_future *f;

	t_pool(1);
	f = t_submit(HOLD, 1);
	cr_assert_eq(bus_future_done(f), 0);
	cr_assert_eq(bus_future_get(f, &result, 0), -EAGAIN);
	cr_assert_eq(bus_future_wait(f, 0), -EAGAIN);
	cr_assert_eq(bus_future_get(f, &result, 3 * MS), -ETIMEDOUT);
	cr_assert_eq(bus_future_wait(f, 3 * MS), -ETIMEDOUT);
	shared->go = 1;
	cr_assert_eq(bus_future_wait(f, T_LONG), 0);
	cr_assert_eq(bus_future_get(f, &result, 0), 0);
}

static bool all_done(void *n)
{
	return t_pool_stats().n_ok >= *(uint64_t *)n;
}

Test(future, nobody_needs_to_keep_it)
{
	struct order o = { LOG, 0 };
	uint64_t n = 150;

	t_pool(2);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL,
					     T_LONG),
			     0);
	for (int i = 0; i < 50; i++)
		bus_future_free(t_submit(LOG, 1));
	cr_assert(t_progress_until(all_done, &n));
	cr_assert_eq(shared->n_log, 150);
}

/* ----------------------------------------------------------------- apply -- */

Test(future, apply_submits_and_waits)
{
	struct order o = { HOLD, 1 };

	t_pool(1);
	t_apply(ECHO, 5, BUS_RESULT_OK);
	cr_assert_eq(((const struct order *)result.data)->n, 5);
	t_apply(FAIL, 5, BUS_RESULT_ERROR);
	cr_assert_eq(bus_pool_apply(pool, 0, &o, sizeof(o), NULL, -1), -EINVAL);
	cr_assert_eq(bus_pool_apply(pool, 0, &o, sizeof(o), &result, 5 * MS),
		     -ETIMEDOUT);
	cr_assert_eq(bus_pool_apply(pool, 0, &o, sizeof(o), &result, 0),
		     -EAGAIN);
	t_apply(ECHO, 6, BUS_RESULT_OK); /* the worker was freed of it */
	cr_assert_eq(t_pool_stats().n_canceled, 2);
}

/* ------------------------------------------------------------ priorities -- */

static void expect_log(const int *n, size_t count)
{
	cr_assert_eq(shared->n_log, count);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(shared->log[i], n[i], "%zu: %d", i,
			     (int)shared->log[i]);
}

Test(future, higher_lanes_go_first)
{
	struct bus_task_config c[] = { lane(BUS_PRIORITY_LOW),
				       lane(BUS_PRIORITY_NORMAL),
				       lane(BUS_PRIORITY_HIGH) };
	int order[] = { 20, 21, 22, 10, 11, 12, 0, 1, 2 };
	struct bus_future *f[9];

	t_pool(1);
	t_submit(HOLD, 1);
	t_submit(HOLD, 1);
	for (int i = 0; i < 9; i++)
		f[i] = t_submit_with(LOG, i / 3 * 10 + i % 3, &c[i / 3]);
	shared->go = 1;
	for (int i = 0; i < 9; i++)
		t_get(f[i], BUS_RESULT_OK);
	expect_log(order, lengthof(order));
}

/* After 8 from above a lane has its turn. */
Test(future, lower_lanes_are_not_starved)
{
	struct bus_task_config low = lane(BUS_PRIORITY_LOW),
			       high = lane(BUS_PRIORITY_HIGH);
	struct bus_future *f[33];
	int order[33];

	t_pool(1);
	t_submit(HOLD, 1);
	t_submit(HOLD, 1);
	for (int i = 0; i < 3; i++)
		f[i] = t_submit_with(LOG, 100 + i, &low);
	for (int i = 0; i < 30; i++)
		f[3 + i] = t_submit_with(LOG, i, &high);
	shared->go = 1;
	for (int i = 0; i < 33; i++)
		t_get(f[i], BUS_RESULT_OK);
	for (int i = 0, h = 0, l = 0; i < 33; i++)
		order[i] = i % 9 == 8 && l < 3 ? 100 + l++ : h++;
	expect_log(order, lengthof(order));
}

/* Short tasks were done so fast that the ring may be full; then nothing for a
 * while. */
static void was_busy(void)
{
	bus_lanes_depth(pool, BUS_POOL_DEPTH_MAX);
	pool->lap_ns = sb_now_ns() - SB_NS_PER_S;
	pool->n_answered = pool->n_looked = 0;
}

/* What was learned from short tasks must not let long ones fill the ring. */
Test(future, higher_lanes_go_first_also_after_short_tasks)
{
	struct bus_task_config low = lane(BUS_PRIORITY_LOW),
			       high = lane(BUS_PRIORITY_HIGH);
	struct bus_future *f[7];
	int order[] = { 100, 0, 1, 2, 3, 4, 5 };

	t_pool(1);
	was_busy();
	t_submit(HOLD, 1);
	t_submit(HOLD, 1);
	for (int i = 0; i < 6; i++)
		f[i] = t_submit_with(LOG, i, &low);
	f[6] = t_submit_with(LOG, 100, &high);
	shared->go = 1;
	for (int i = 0; i < 7; i++)
		t_get(f[i], BUS_RESULT_OK);
	expect_log(order, lengthof(order));
}

/* And where there is no pause: not only when half of the ring was answered. */
Test(future, the_ring_is_less_deep_after_a_few_long_tasks)
{
	t_pool(1);
	for (uint32_t n = 1; n <= 8; n++) {
		was_busy();
		pool->n_answered = n;
		bus_lanes_adapt(pool);
		cr_assert_eq(pool->depth, n < 8 ? BUS_POOL_DEPTH_MAX
						: BUS_POOL_DEPTH_MAX / 2);
	}
}

static int take_all(void *arg)
{
	static unsigned char buf[T_MESSAGE_MAX];
	size_t len;

	t_wait_asleep(getppid());
	nap(5 * MS);
	T_CHECK(bus_queue_get(arg, buf, sizeof(buf), &len, T_LONG) == 0);
	while (!bus_queue_get(arg, buf, sizeof(buf), &len, 0))
		;
	return 0;
}

/* Cells that others free are taken though no answer comes. */
Test(future, cells_that_others_free_are_seen_beside_a_long_task)
{
	static unsigned char req[T_MESSAGE_MAX - 16];
	struct bus_queue *q = t_queue(bus, "q", 256, 8, 0);
	struct bus_future *hold, *f;
	pid_t child;

	t_pool(2);
	hold = t_submit(HOLD, 1);
	t_await_begun(1);
	while (!bus_queue_put(q, req, sizeof(req), 0))
		;
	cr_assert_eq(bus_pool_submit(pool, 0, req, sizeof(req), NULL, &f, 0),
		     0);
	cr_assert_eq(bus_future_wait(f, 0), -EAGAIN);
	child = t_fork(take_all, q);
	t_get(f, BUS_RESULT_OK);
	cr_assert_eq(bus_future_done(hold), 0);
	shared->go = 1;
	t_get(hold, BUS_RESULT_OK);
	t_join(child);
	bus_queue_free(q);
}

/* ---------------------------------------------------------------- limits -- */

/* A large request waits for a cell; the others need none. */
Test(future, who_waits_for_a_cell_does_not_hold_up_the_others)
{
	static unsigned char req[T_MESSAGE_MAX - 16];
	struct bus_task_config c[] = { lane(BUS_PRIORITY_HIGH),
				       lane(BUS_PRIORITY_NORMAL),
				       lane(BUS_PRIORITY_LOW) };
	struct bus_queue *q = t_queue(bus, "q", 256, 8, 0);
	struct bus_future *large[3], *f[30];
	size_t len;

	t_pool(1);
	while (!bus_queue_put(q, req, sizeof(req), 0))
		;
	for (int i = 0; i < 30; i++) {
		if (i < 3)
			cr_assert_eq(bus_pool_submit(pool, 0, req, sizeof(req),
						     &c[i], &large[i], 0),
				     0);
		f[i] = t_submit_with(LOG, i, &c[i % 3]);
	}
	for (int i = 0; i < 30; i++)
		t_get(f[i], BUS_RESULT_OK);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_future_done(large[i]), 0);
	while (!bus_queue_get(q, req, sizeof(req), &len, 0))
		;
	for (int i = 0; i < 3; i++)
		t_get(large[i], BUS_RESULT_OK);
	for (uint32_t i = 0; i < BUS_LANES; i++)
		cr_assert_eq(pool->lane[i].n_small, 0);
	bus_queue_free(q);
}

Test(future, a_task_that_is_late_in_its_lane_does_not_run)
{
	struct bus_task_config c = limit(5 * MS);
	struct bus_future *f[20];

	t_pool(1);
	t_submit(HOLD, 1);
	for (int i = 0; i < 20; i++)
		f[i] = t_submit_with(LOG, i, &c);
	for (int i = 0; i < 20; i++) {
		t_get(f[i], BUS_RESULT_TIMEOUT);
		cr_assert_eq(result.code, -ETIMEDOUT);
	}
	shared->go = 1;
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 0);
	cr_assert_eq(t_pool_stats().n_timed_out, 20);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

/* Its owner makes no call while it becomes late in the ring: so it is the
 * worker who sheds it. */
Test(future, a_worker_sheds_what_is_late)
{
	struct bus_task_config c = limit(2 * MS);
	struct bus_future *f;

	t_pool(1);
	t_submit(HOLD, 1);
	t_await_begun(1);
	f = t_submit_with(LOG, 1, &c);
	nap(10 * MS);
	shared->go = 1;
	nap(20 * MS);
	t_get(f, BUS_RESULT_TIMEOUT);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 0);
}

Test(future, a_limit_that_is_kept_does_nothing)
{
	struct bus_task_config c = limit(T_LONG);

	t_pool(1);
	for (int i = 0; i < 200; i++)
		t_get(t_submit_with(ECHO, i, &c), BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_timed_out, 0);
}

static bool is_answered(void *arg)
{
	(void)arg;
	return bus_coord_ready(pool->co, BUS_POLL_IN, true) & BUS_POLL_IN;
}

/* Whoever is called first after the time was up: it was done before that. */
Test(future, a_limit_that_is_kept_does_nothing_though_nobody_looked)
{
	struct bus_task_config c = limit(1000 * T_LONG);
	struct bus_future *f;

	t_pool(1);
	for (int i = 0; i < 4; i++) {
		f = t_submit_with(ECHO, i, &c);
		cr_assert(t_eventually(is_answered, NULL, 30000));
		f->due_ns = 1; /* long ago */
		if (i & 1)
			bus_future_free(t_submit(ECHO, 7));
		if (i & 2)
			bus_due_run(pool);
		t_get(f, BUS_RESULT_OK);
		bus_future_free(f);
		/* the next answer is the next one's, not of the 7 */
		t_apply(ECHO, 0, BUS_RESULT_OK);
	}
	cr_assert_eq(t_pool_stats().n_timed_out, 0);
}

static bool is_idle(void *place)
{
	return t_worker(*(uint32_t *)place).state == BUS_WORKER_IDLE;
}

static bool was_killed(void *n)
{
	return t_pool_stats().n_deaths >= *(uint64_t *)n;
}

/* A task of which a worker has begun when its time is up: where the machine is
 * so slow that it was shed, again. */
static void run_late(uint32_t what)
{
	struct bus_task_config c = limit(50 * MS);
	uint32_t before = shared->n_begun;

	t_apply(ECHO, 0, BUS_RESULT_OK); /* it has started */
	do
		t_get(t_submit_with(what, 0, &c), BUS_RESULT_TIMEOUT);
	while (shared->n_begun == before);
}

Test(future, a_late_task_is_told)
{
	uint32_t place = 0;

	t_pool(1);
	run_late(POLITE);
	cr_assert(t_eventually(is_idle, &place, 20000));
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

Test(future, a_late_task_may_handle_the_soft_signal)
{
	struct bus_pool_config pc = t_pool_config(1);

	pc.grace_ns = (uint64_t)(2000 * MS);
	t_pool_with(&pc);
	run_late(HANDLED);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(shared->n_soft, 1);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

Test(future, a_late_task_dies_of_the_soft_signal)
{
	struct bus_pool_config pc = t_pool_config(1);
	uint64_t start;

	pc.grace_ns = (uint64_t)(300 * MS);
	t_pool_with(&pc);
	start = sb_now_ns();
	run_late(STUCK);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_geq(sb_now_ns() - start, (uint64_t)(350 * MS));
	cr_assert_eq(t_pool_stats().n_deaths, 1);
	cr_assert_eq(shared->n_begun, 1); /* it is not run again */
}

Test(future, a_late_task_is_killed_in_the_end)
{
	uint64_t one = 1;

	t_pool(2);
	run_late(STUBBORN);
	cr_assert(t_progress_until(was_killed, &one));
	cr_assert_eq(shared->n_begun, 1);
}

Test(future, without_a_soft_signal_it_is_killed)
{
	struct bus_pool_config pc = t_pool_config(1);

	pc.soft_signal = -1;
	t_pool_with(&pc);
	run_late(HANDLED);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(shared->n_soft, 0);
	cr_assert_eq(t_pool_stats().n_deaths, 1);
}

/* ---------------------------------------------------------------- cancel -- */

Test(future, cancel_in_a_lane_or_in_the_ring)
{
	struct bus_future *f[20];

	t_pool(1);
	t_submit(HOLD, 1);
	t_await_begun(1);
	for (int i = 0; i < 20; i++)
		f[i] = t_submit(LOG, i);
	for (int i = 0; i < 20; i += 2) {
		cr_assert_eq(bus_future_cancel(f[i]), 0);
		cr_assert_eq(bus_future_cancel(f[i]), -EALREADY);
		t_get(f[i], BUS_RESULT_CANCELED);
		cr_assert_eq(result.code, -ECANCELED);
		if (i % 4)
			bus_future_free(f[i]);
	}
	shared->go = 1;
	for (int i = 1; i < 20; i += 2)
		t_get(f[i], BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 10);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(shared->log[i], 2 * i + 1);
	cr_assert_eq(t_pool_stats().n_canceled, 10);
}

Test(future, cancel_of_a_running_one_tells_it)
{
	struct bus_future *f;
	uint32_t place = 0;

	t_pool(1);
	f = t_submit(POLITE, 0);
	t_await_begun(1);
	cr_assert_eq(bus_future_cancel(f), 0);
	t_get(f, BUS_RESULT_CANCELED);
	bus_future_free(f);
	cr_assert(t_eventually(is_idle, &place, 20000));
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_deaths, 0);
	cr_assert_eq(t_pool_stats().n_canceled, 1);
}

Test(future, cancel_of_a_running_one_kills_it_in_the_end)
{
	struct bus_future *f;

	t_pool(1);
	f = t_submit(STUBBORN, 0);
	t_await_begun(1);
	cr_assert_eq(bus_future_cancel(f), 0);
	cr_assert_eq(t_worker(0).state, BUS_WORKER_TOLD);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_deaths, 1);
	cr_assert_eq(shared->n_begun, 1);
}

/* As when Linux has lost the barrier of X1b: nobody is seen to have the task,
 * and whoever takes it does not see that it is canceled. */
Test(future, a_cancel_that_was_not_seen_is_told_later)
{
	struct bus_future *f;
	uint32_t place = 0;

	t_pool(1);
	if (!bus->map->sizes.asym)
		cr_skip_test("no membarrier(2) here");
	t_submit(HOLD, 1);
	t_await_begun(1);
	f = t_submit(POLITE, 0);
	cr_assert(f->flying);
	cr_assert_eq(bus_future_cancel(f), 0);
	st_rlx(&bus_crew_canceled(f->pool->area, f->pool->n_places)[f->index],
	       0);
	shared->go = 1;
	t_await_begun(2);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	t_get(f, BUS_RESULT_CANCELED);
	bus_future_free(f);
	cr_assert(t_eventually(is_idle, &place, 20000));
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

Test(future, free_of_a_running_one_lets_it_go_on)
{
	struct bus_future *f;

	t_pool(1);
	f = t_submit(HOLD, 1);
	t_await_begun(1);
	bus_future_free(f);
	shared->go = 1;
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_ok, 2);
}

/* ------------------------------------------------------------- callbacks -- */

static int n_called, last_kind;

static int count_call(void *ctx, struct bus_future *f,
		      const struct bus_result *r)
{
	(void)f;
	n_called++;
	last_kind = (int)r->kind;
	return ctx ? -1 : 0;
}

static struct bus_task_config calls(int (*done)(void *, struct bus_future *,
						const struct bus_result *),
				    void *ctx)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;

	c.done = done;
	c.ctx = ctx;
	return c;
}

Test(future, a_callback_is_called_once)
{
	struct bus_task_config c = calls(count_call, NULL);
	struct bus_future *f;

	t_pool(1);
	t_get(t_submit_with(ECHO, 1, &c), BUS_RESULT_OK);
	cr_assert_eq(n_called, 1);
	t_get(t_submit_with(FAIL, 1, &c), BUS_RESULT_ERROR);
	cr_assert_eq(last_kind, BUS_RESULT_ERROR);
	f = t_submit_with(HOLD, 1, &c);
	bus_future_cancel(f);
	cr_assert_eq(n_called, 3);
	cr_assert_eq(last_kind, BUS_RESULT_CANCELED);
	c.limit_ns = MS;
	t_get(t_submit_with(STUCK, 1, &c), BUS_RESULT_TIMEOUT);
	cr_assert_eq(n_called, 4);
	bus_pool_terminate(pool);
	cr_assert_eq(n_called, 4);
}

Test(future, a_callback_that_fails_is_counted)
{
	struct bus_task_config c = calls(count_call, shared);

	t_pool(1);
	for (int i = 0; i < 5; i++)
		t_get(t_submit_with(ECHO, 1, &c), BUS_RESULT_OK);
	cr_assert_eq(t_pool_stats().n_callbacks_failed, 5);
	cr_assert_eq(t_pool_stats().n_ok, 5);
}

Test(future, terminate_calls_back)
{
	struct bus_task_config c = calls(count_call, NULL);

	t_pool(1);
	for (int i = 0; i < 30; i++)
		bus_future_free(t_submit_with(HOLD, 1, &c));
	bus_pool_terminate(pool);
	cr_assert_eq(n_called, 30);
	cr_assert_eq(last_kind, BUS_RESULT_CANCELED);
}

Test(future, free_of_the_pool_calls_back)
{
	struct bus_task_config c = calls(count_call, NULL);

	t_pool(1);
	for (int i = 0; i < 30; i++)
		bus_future_free(t_submit_with(HOLD, 1, &c));
	bus_pool_free(pool);
	pool = NULL;
	cr_assert_eq(n_called, 30);
	cr_assert_eq(last_kind, BUS_RESULT_CANCELED);
}

/* Submits the next one, and frees its own. */
static int chain(void *ctx, struct bus_future *f, const struct bus_result *r)
{
	struct bus_task_config c = calls(chain, ctx);
	struct order o = { LOG, ++n_called };
	struct bus_future *g;

	T_CHECK(r->kind == BUS_RESULT_OK);
	if (n_called < 200)
		T_CHECK(bus_pool_submit(pool, 0, &o, sizeof(o), &c, &g, 0) ==
			0);
	bus_future_free(f);
	return 0;
}

static bool chain_is_over(void *n)
{
	return n_called >= *(int *)n;
}

Test(future, a_callback_may_submit_and_free)
{
	struct bus_task_config c = calls(chain, NULL);
	int n = 200;

	t_pool(2);
	t_submit_with(ECHO, 0, &c);
	cr_assert(t_progress_until(chain_is_over, &n));
	cr_assert_eq(shared->n_log, 199);
}

static uint64_t chain_end_ns;

/* Leads to another one at once. */
static int lead_on(void *ctx, struct bus_future *f, const struct bus_result *r)
{
	struct bus_task_config c = calls(lead_on, ctx);
	struct bus_future *g;

	(void)f;
	(void)r;
	n_called++;
	if (sb_now_ns() > chain_end_ns ||
	    bus_pool_submit(pool, 0, "", 0, &c, &g, 0))
		return 0;
	T_CHECK(bus_future_cancel(g) == 0);
	bus_future_free(g);
	return 0;
}

/* Callbacks that lead to callbacks: calls end in time. */
Test(future, callbacks_do_not_keep_a_call)
{
	struct bus_task_config c = calls(lead_on, NULL);
	struct bus_future *f, *g;
	struct bus_poll it = { .kind = BUS_POLL_FUTURE };

	t_pool(1);
	f = t_submit(HOLD, 1);
	t_submit(HOLD, 1);
	g = t_submit_with(ECHO, 0, &c); /* in its lane, as all that follow */
	chain_end_ns = sb_now_ns() + 20 * SB_NS_PER_S;
	cr_assert_eq(bus_future_cancel(g), 0);
	cr_assert_eq(bus_future_wait(f, 0), -EAGAIN);
	cr_assert_eq(bus_future_wait(f, 3 * MS), -ETIMEDOUT);
	it.on.future = f;
	cr_assert_eq(bus_wait(bus, &it, 1, 3 * MS), -ETIMEDOUT);
	cr_assert_lt(sb_now_ns(), chain_end_ns);
	cr_assert_eq(pool->calls != NULL, true);
	cr_assert_eq(bus_pool_terminate(pool), 0);
	cr_assert_null(pool->calls);
}

/* What it was refused. */
static int wait_in_callback(void *ctx, struct bus_future *f,
			    const struct bus_result *r)
{
	struct bus_future *other = ctx;
	uint64_t item = 0;
	struct bus_result res;

	(void)r;
	n_called++;
	T_CHECK(bus_future_get(f, &res, -1) == 0);
	T_CHECK(bus_future_get(other, &res, 0) == -EAGAIN);
	T_CHECK(bus_future_get(other, &res, -1) == -EDEADLK);
	T_CHECK(bus_future_wait(other, MS) == -EDEADLK);
	T_CHECK(bus_pool_apply(pool, 0, "", 0, &res, -1) == -EDEADLK);
	T_CHECK(bus_pool_map(pool, 0, &item, 8, &item, 8, 1, NULL, -1) ==
		-EDEADLK);
	bus_pool_close(pool);
	T_CHECK(bus_pool_join(pool, -1) == -EDEADLK);
	T_CHECK(bus_future_cancel(other) == 0);
	return 0;
}

Test(future, a_callback_may_not_wait)
{
	struct bus_task_config c;
	struct bus_future *f;

	t_pool(2);
	f = t_submit(POLITE, 1);
	t_await_begun(1);
	c = calls(wait_in_callback, f);
	t_get(t_submit_with(ECHO, 0, &c), BUS_RESULT_OK);
	cr_assert_eq(n_called, 1);
	t_get(f, BUS_RESULT_CANCELED);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
}

/* ---------------------------------------------------------------- window -- */

static int submit_in_callback(void *ctx, struct bus_future *f,
			      const struct bus_result *r)
{
	struct order o = { HOLD, 1 };
	int ret = 0;

	(void)ctx;
	(void)f;
	(void)r;
	while (!ret) {
		n_called++;
		ret = bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL, -1);
	}
	T_CHECK(ret == -EDEADLK);
	T_CHECK(bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL, 0) ==
		-EAGAIN);
	return 0;
}

Test(future, submit_waits_for_the_window)
{
	struct bus_pool_config pc = t_pool_config(1);
	struct bus_task_config c = calls(submit_in_callback, NULL);
	struct order o = { HOLD, 1 };
	int n = 0;

	pc.window = 8;
	t_pool_with(&pc);
	while (!bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL, 0))
		n++;
	cr_assert_eq(n, 8);
	cr_assert_eq(bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL, 0),
		     -EAGAIN);
	cr_assert_eq(
		bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL, 3 * MS),
		-ETIMEDOUT);
	shared->go = 1;
	for (int i = 0; i < 100; i++)
		bus_future_free(t_submit(ECHO, i));
	t_apply(ECHO, 1, BUS_RESULT_OK);
	shared->go = 0;
	t_get(t_submit_with(ECHO, 1, &c), BUS_RESULT_OK);
	cr_assert_eq(n_called, 9);
	shared->go = 1;
	t_apply(ECHO, 1, BUS_RESULT_OK);
}

/* A task that is canceled counts until its worker has let go of it. */
Test(future, the_window_is_bounded_by_what_workers_hold)
{
	struct bus_pool_config pc = t_pool_config(1);
	struct order o = { ECHO, 1 };
	struct bus_future *f;

	pc.window = 2;
	pc.grace_ns = (uint64_t)T_LONG;
	t_pool_with(&pc);
	f = t_submit(HOLD, 1);
	t_await_begun(1);
	bus_future_free(t_submit(ECHO, 1));
	bus_future_cancel(f);
	cr_assert_eq(
		bus_pool_submit(pool, 0, &o, sizeof(o), NULL, NULL, 3 * MS),
		-ETIMEDOUT);
	shared->go = 1;
	t_apply(ECHO, 1, BUS_RESULT_OK);
}

/* ------------------------------------------------------------------ runs -- */

/* As if short tasks had been done so fast that many go ahead of the workers. */
static void is_busy(void)
{
	bus_lanes_depth(pool, BUS_POOL_DEPTH_MAX);
	pool->lap_ns = sb_now_ns() + 1000 * SB_NS_PER_S;
	pool->n_answered = pool->n_looked = 0;
}

/* A pool whose worker has two in hand that hold it: what comes next may be kept
 * back. */
static void hold_worker(void)
{
	t_pool(1);
	is_busy();
	bus_future_free(t_submit(HOLD, 1));
	bus_future_free(t_submit(HOLD, 1));
	t_await_begun(1); /* so it does not sleep */
}

/* One that is kept back. */
static struct bus_future *keep_another(int i)
{
	struct bus_future *f = t_submit(LOG, i);

	cr_assert_gt(pool->n_run, 0);
	return f;
}

/* @n tasks of which the last ones are kept back. */
static void keep_back(struct bus_future **f, int n)
{
	hold_worker();
	for (int i = 0; i < n - 1; i++)
		f[i] = t_submit(LOG, i);
	f[n - 1] = keep_another(n - 1);
}

/* Who sleeps sleeps on nothing: each call but submit hands them on. */
Test(future, what_was_kept_back_goes_before_a_wait)
{
	struct bus_poll it = { .kind = BUS_POLL_FUTURE, .events = BUS_POLL_IN };
	struct bus_future *f[6];
	int order[] = { 0, 1, 2, 3, 4, 5 };

	keep_back(f, 5);
	cr_assert_eq(bus_future_done(f[4]), 0);
	cr_assert_eq(pool->n_run, 0);
	f[5] = keep_another(5);
	it.on.future = f[0];
	cr_assert_eq(bus_wait(bus, &it, 1, MS), -ETIMEDOUT);
	cr_assert_eq(pool->n_run, 0);
	shared->go = 1;
	for (int i = 5; i >= 0; i--)
		t_get(f[i], BUS_RESULT_OK);
	expect_log(order, lengthof(order));
}

Test(future, no_more_is_kept_back_than_the_workers_have)
{
	uint32_t n_most = 0;

	t_pool(1);
	is_busy();
	for (uint32_t i = 0; i < BUS_POOL_DEPTH_MAX; i++) {
		bus_future_free(t_submit(HOLD, 1));
		cr_assert_eq(pool->n_in_ring, i + 1);
		cr_assert_leq(pool->n_run * 2, pool->n_in_ring);
		if (pool->n_run > n_most)
			n_most = pool->n_run;
	}
	cr_assert_eq(n_most, SB_BATCH_MAX - 1);
	bus_lanes_depth(pool, 16);
	cr_assert_eq(pool->run_from, UINT32_MAX);
}

/* A pool that has not learned yet that its tasks are short. */
Test(future, nothing_is_kept_back_of_what_may_be_long)
{
	t_pool(1);
	for (int i = 0; i < 40; i++) {
		bus_future_free(t_submit(HOLD, 1));
		cr_assert_eq(pool->n_run, 0);
	}
}

Test(future, what_was_kept_back_is_run_after_close)
{
	struct bus_future *f[6];

	keep_back(f, 5);
	cr_assert_eq(bus_pool_close(pool), 0);
	cr_assert_eq(pool->n_run, 0);
	shared->go = 1;
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	for (int i = 0; i < 5; i++)
		t_get(f[i], BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 5);
}

Test(future, what_was_kept_back_is_canceled_by_terminate)
{
	struct bus_future *f[6];

	keep_back(f, 5);
	cr_assert_eq(bus_pool_terminate(pool), 0);
	cr_assert_eq(pool->n_run, 0);
	for (int i = 0; i < 5; i++)
		t_get(f[i], BUS_RESULT_CANCELED);
	cr_assert_eq(shared->n_log, 0);
}

Test(future, free_of_the_pool_frees_what_was_kept_back)
{
	struct bus_future *f[6];

	keep_back(f, 5);
	bus_pool_free(pool);
	pool = NULL;
}

Test(future, what_was_kept_back_can_be_canceled)
{
	struct bus_future *f[6];
	int order[] = { 0, 1, 2, 3 };

	keep_back(f, 5);
	cr_assert_eq(bus_future_cancel(f[4]), 0);
	t_get(f[4], BUS_RESULT_CANCELED);
	shared->go = 1;
	for (int i = 0; i < 4; i++)
		t_get(f[i], BUS_RESULT_OK);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	expect_log(order, lengthof(order));
	cr_assert_eq(t_pool_stats().n_canceled, 1);
}

/* Nor does who is told at once what has long been known: a look or a wait is one
 * of the calls that hand on. */
Test(future, what_was_kept_back_goes_with_a_look_at_what_is_over)
{
	struct bus_future *f[8];

	keep_back(f, 5);
	cr_assert_eq(bus_future_cancel(f[0]), 0);
	f[5] = keep_another(5);
	cr_assert_eq(bus_future_done(f[0]), 1);
	cr_assert_eq(pool->n_run, 0);
	f[6] = keep_another(6);
	cr_assert_eq(bus_future_wait(f[0], 0), 0);
	cr_assert_eq(pool->n_run, 0);
}

static void wait_for_idle(void)
{
	while (!sb_sleepers_any(&pool->co->c.chan->rx))
		nap(MS);
}

/* Who submits seldom is no reason to wait for a run: the workers are idle. */
Test(future, nothing_is_kept_back_for_a_submit_that_takes_long)
{
	bool at_once = false;

	t_pool(1);
	is_busy();
	for (int i = 0; i < 40; i++)
		bus_future_free(t_submit(LOG, i));
	for (int i = 0; i < 4 && !at_once; i++) {
		wait_for_idle();
		bus_future_free(t_submit(LOG, i));
		at_once = !pool->n_run;
	}
	cr_assert(at_once);
}

/* Nor for who gets what is there. */
Test(future, nothing_is_kept_back_for_a_get_that_takes_long)
{
	struct bus_future *f = NULL;
	bool at_once = false;

	t_pool(1);
	is_busy();
	f = t_submit(LOG, 0);
	t_get(f, BUS_RESULT_OK);
	for (int i = 0; i < 40 || !pool->n_run; i++)
		bus_future_free(t_submit(LOG, i));
	for (int i = 0; i < 4 && !at_once; i++) {
		wait_for_idle();
		cr_assert_eq(bus_future_get(f, &result, 0), 0);
		at_once = !pool->n_run;
	}
	cr_assert(at_once);
}

/* Nobody can see that they have nothing to do. */
Test(future, nothing_is_kept_back_from_workers_that_never_sleep)
{
	struct bus_pool_config c = t_pool_config(1);

	c.spin = BUS_SPIN_ALWAYS;
	t_pool_with(&c);
	is_busy();
	for (int i = 0; i < 40; i++) {
		bus_future_free(t_submit(NAP, 1));
		cr_assert_eq(pool->n_run, 0);
	}
}

static int some_logs(void *ctx, const void **item, size_t *len)
{
	static struct order o = { LOG, 0 };
	int *left = ctx;

	*item = &o;
	*len = sizeof(o);
	return (*left)-- > 0;
}

/* The same of who takes long with each result of an imap. */
Test(future, nothing_is_kept_back_while_results_of_an_imap_are_used)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	bool at_once = false;
	struct bus_imap *im;
	int left = 1000;

	t_pool(1);
	is_busy();
	c.window = 200;
	cr_assert_eq(bus_pool_imap(pool, 0, some_logs, &left, &c, &im), 0);
	do {
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_gt(left, 0);
	} while (!pool->n_run);
	for (int i = 0; i < 4 && !at_once; i++) {
		wait_for_idle();
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		at_once = !pool->n_run;
	}
	cr_assert(at_once);
	bus_imap_free(im);
}

static int submit_another(void *ctx, struct bus_future *f,
			  const struct bus_result *r)
{
	(void)f;
	(void)r;
	*(struct bus_future **)ctx = keep_another(3);
	return 0;
}

/* It may be for what the tasks send. */
Test(future, what_was_kept_back_goes_before_a_sleep_on_something_else)
{
	struct bus_queue_config qc = BUS_QUEUE_CONFIG_INIT;
	struct bus_poll timer = { .kind = BUS_POLL_TIMER,
				  .events = BUS_POLL_IN,
				  .at_ns = sb_deadline(T_LONG) };
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *pipe[2];
	struct bus_future *f[8];
	struct bus_queue *q;
	uint64_t word;

	keep_back(f, 5);
	cr_assert_eq(bus_queue_open(bus, "q", &qc, &q), 0);
	cr_assert_eq(bus_pipe(bus, &pc, &pipe[0], &pipe[1]), 0);
	cr_assert_eq(bus_queue_get(q, &word, sizeof(word), NULL, 0), -EAGAIN);
	cr_assert_gt(pool->n_run, 0);
	cr_assert_eq(bus_queue_get(q, &word, sizeof(word), NULL, MS),
		     -ETIMEDOUT);
	cr_assert_eq(pool->n_run, 0);
	f[5] = keep_another(5);
	cr_assert_eq(bus_pipe_recv(pipe[0], &word, sizeof(word), NULL, MS),
		     -ETIMEDOUT);
	cr_assert_eq(pool->n_run, 0);
	f[6] = keep_another(6);
	cr_assert_eq(bus_wait(bus, &timer, 1, MS), -ETIMEDOUT);
	cr_assert_eq(pool->n_run, 0);
	f[7] = t_submit(LOG, 7);
	bus_pool_free(pool);
	pool = NULL;
	cr_assert(!bus->keeping);
	cr_assert_eq(bus_queue_get(q, &word, sizeof(word), NULL, MS),
		     -ETIMEDOUT);
	bus_pipe_free(pipe[0]);
	bus_pipe_free(pipe[1]);
}

/* There was no room at the first sleep: it is tried again at each. */
Test(future, what_was_kept_back_for_want_of_room_goes_at_a_later_sleep)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct bus_future *f[5];
	uint32_t window;
	uint64_t word;

	keep_back(f, 5);
	window = pool->co->config.window;
	pool->co->config.window = pool->co->n_in_ring;
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(
			bus_queue_get(q, &word, sizeof(word), NULL, MS / 10),
			-ETIMEDOUT);
		cr_assert_gt(pool->n_run, 0);
	}
	pool->co->config.window = window;
	cr_assert_eq(bus_queue_get(q, &word, sizeof(word), NULL, MS / 10),
		     -ETIMEDOUT);
	cr_assert_eq(pool->n_run, 0);
	cr_assert(!bus->keeping);
	shared->go = 1;
	for (int i = 0; i < 5; i++)
		t_get(f[i], BUS_RESULT_OK);
}

/* Who waits does not see what a callback has submitted. */
Test(future, what_a_callback_submits_is_not_kept_back)
{
	struct bus_future *f[5], *last, *another = NULL;
	struct bus_task_config c = calls(submit_another, &another);

	keep_back(f, 5);
	last = t_submit_with(LOG, 5, &c);
	cr_assert_eq(bus_future_cancel(last), 0);
	cr_assert(another);
	cr_assert_eq(pool->n_run, 0);
	shared->go = 1;
	t_get(another, BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 6);
}

/* All of a run are of one size; and what needs a cell does not go in one. */
Test(future, requests_of_any_size_go_in_order)
{
	static const size_t sizes[] = { 8, 8, 24, 24, 8, 600, 8, 0, 0, 25 };
	struct bus_future *f[40];
	unsigned char req[600];

	hold_worker();
	for (int i = 0; i < 40; i++) {
		struct order o = { LOG, i };

		t_fill(req, sizeof(req), (uint64_t)i);
		memcpy(req, &o, sizeof(o));
		cr_assert_eq(bus_pool_submit(pool, 0, req, sizes[i % 10], NULL,
					     &f[i], T_LONG),
			     0);
	}
	shared->go = 1;
	for (int i = 0; i < 40; i++) {
		struct order o = { LOG, i };

		t_get(f[i], BUS_RESULT_OK);
		t_fill(req, sizeof(req), (uint64_t)i);
		memcpy(req, &o, sizeof(o));
		cr_assert_eq(result.len_bytes, sizes[i % 10]);
		cr_assert_arr_eq(result.data, req, result.len_bytes);
	}
	for (int i = 0, k = 0; i < 40; i++)
		if (sizes[i % 10])
			cr_assert_eq(shared->log[k++], i);
}

/* A ring that takes nothing any more: each task says so, once. */
Test(future, a_run_that_cannot_be_handed_on_fails)
{
	struct order o = { LOG, 0 };
	struct bus_future *f[6], *g;
	struct bus_pool_stats s;
	uint32_t n_kept;

	keep_back(f, 5);
	n_kept = pool->n_run;
	sb_ring_close(&pool->co->c.end);
	while (pool->n_run)
		if (bus_pool_submit(pool, 0, &o, sizeof(o), NULL, &g, 0))
			break;
	cr_assert_eq(pool->n_run, 0);
	for (uint32_t i = 0; i < 5; i++)
		if (i >= 5 - n_kept) {
			t_get(f[i], BUS_RESULT_ERROR);
			cr_assert_eq(result.code, -EPIPE);
		}
	bus_pool_terminate(pool);
	s = t_pool_stats();
	cr_assert_eq(s.n_submitted, s.n_ok + s.n_failed + s.n_canceled);
}

/* -------------------------------------------------------------- bus_wait -- */

Test(future, bus_wait_takes_futures_and_others)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct bus_poll it[] = {
		{ .kind = BUS_POLL_FUTURE, .events = BUS_POLL_IN },
		{ .kind = BUS_POLL_FUTURE, .events = BUS_POLL_IN },
		{ .kind = BUS_POLL_QUEUE, .events = BUS_POLL_IN },
		{ .kind = BUS_POLL_TIMER },
	};

	t_pool(2);
	it[0].on.future = t_submit(HOLD, 1);
	it[1].on.future = t_submit(NAP, 5);
	it[2].on.queue = q;
	it[3].at_ns = sb_now_ns() + (uint64_t)T_LONG;
	cr_assert_eq(bus_wait(bus, it, 1, 0), -EAGAIN);
	cr_assert_eq(bus_wait(bus, it, 1, 3 * MS), -ETIMEDOUT);
	cr_assert_eq(bus_wait(bus, it, 4, T_LONG), 1);
	cr_assert_eq(it[1].ready, BUS_POLL_IN);
	it[1].kind = BUS_POLL_NONE;
	t_submit(HAS_BUS, 9);
	cr_assert_eq(bus_wait(bus, it, 4, T_LONG), 1);
	cr_assert_eq(it[2].ready, BUS_POLL_IN);
	cr_assert_eq(t_get_u64(q), 9);
	it[3].at_ns = sb_now_ns() + (uint64_t)(3 * MS);
	cr_assert_eq(bus_wait(bus, it, 4, T_LONG), 1);
	cr_assert_eq(it[3].ready, BUS_POLL_IN);
	it[3].kind = BUS_POLL_NONE;
	shared->go = 1;
	cr_assert_eq(bus_wait(bus, it, 4, T_LONG), 1);
	cr_assert_eq(it[0].ready, BUS_POLL_IN);
	it[0].events = BUS_POLL_OUT;
	cr_assert_eq(bus_wait(bus, it, 1, T_LONG), -EINVAL);
	bus_queue_free(q);
}

/* While it waits, deadlines are kept, the dead replaced, large results taken
 * in, and callbacks called. */
Test(future, bus_wait_looks_after_the_pool)
{
	struct bus_poll it = { .kind = BUS_POLL_FUTURE, .events = BUS_POLL_IN };
	struct bus_task_config late = limit(5 * MS),
			       call = calls(count_call, NULL);

	t_pool(2);
	it.on.future = t_submit_with(STUBBORN, 0, &late);
	cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
	t_get(it.on.future, BUS_RESULT_TIMEOUT);
	it.on.future = t_submit_with(DIE_TIMES, 2, &call);
	cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
	t_get(it.on.future, BUS_RESULT_OK);
	cr_assert_eq(n_called, 1);
	it.on.future = t_submit(SIZE, 3000000);
	cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
	t_get(it.on.future, BUS_RESULT_OK);
	cr_assert_eq(result.len_bytes, 3000000);
	cr_assert(t_is(result.data, result.len_bytes, 5));
}
