/*
 * test_pool_task.c - tests of bus/pool_task.c and bus/pool_pipe.c: results of
 * any size; Criterion suite "pool_task"
 */
#include "config.h"

#include <criterion/criterion.h>

#include "bus/pipe.h"
#include "bus/pool.h"
#include "tests/bus/t_pool.h"

TestSuite(pool_task, .init = setup, .fini = teardown, .timeout = 200.0);

static void expect_size(size_t n)
{
	cr_assert_eq(result.len_bytes, n);
	cr_assert(t_is(result.data, n, 5));
}

Test(pool_task, results_have_any_size)
{
	int sizes[] = { 0,    1,    8,          48,      49,      72,      73,
			4095, 4096, 65536 - 16, 1 << 16, 1 << 20, 64 << 20 };

	t_pool(2);
	for (size_t i = 0; i < lengthof(sizes); i++) {
		t_apply(SIZE, sizes[i], BUS_RESULT_OK);
		expect_size((size_t)sizes[i]);
	}
}

Test(pool_task, many_large_results_at_a_time)
{
	struct bus_future *f[60];

	t_pool(3);
	for (int i = 0; i < 60; i++)
		f[i] = t_submit(SIZE, 1000 << i % 10);
	for (int i = 59; i >= 0; i--) {
		t_get(f[i], BUS_RESULT_OK);
		expect_size((size_t)1000 << i % 10);
		bus_future_free(f[i]);
	}
}

Test(pool_task, a_limit_of_nanoseconds_and_of_years)
{
	uint64_t now = 1000000000;
	uint64_t when = bus_task_when(7, now);

	cr_assert_eq(when >> 48, 7);
	cr_assert_gt((when & BUS_TASK_UNITS) << BUS_TASK_UNIT_SHIFT, now);
	cr_assert_leq((when & BUS_TASK_UNITS) << BUS_TASK_UNIT_SHIFT,
		      now + (1u << BUS_TASK_UNIT_SHIFT));
	cr_assert_eq(bus_task_when(3, SB_FOREVER), UINT64_C(3) << 48);
	cr_assert_eq(bus_task_when(3, SB_FOREVER - 1), UINT64_C(3) << 48);
}

/* The parent makes no call for a while: the worker is in the middle of sending
 * when it is killed. */
Test(pool_task, killed_in_the_middle_of_a_large_result)
{
	struct bus_future *f[4];

	t_pool(2);
	for (int i = 0; i < 4; i++)
		f[i] = t_submit(SIZE_DIE, 4000000);
	nap(30 * MS);
	for (int i = 0; i < 4; i++) {
		t_get(f[i], BUS_RESULT_OK);
		expect_size(4000000);
	}
	cr_assert_geq(t_pool_stats().n_deaths, 2);
}

Test(pool_task, killed_again_and_again_while_it_sends)
{
	struct bus_pool_config c = t_pool_config(2);
	struct bus_future *f;

	c.max_attempts = 60;
	t_pool_with(&c);
	for (int i = 0; i < 50; i++) {
		f = t_submit(SIZE, 200000 + 10000 * i);
		if (bus_future_wait(f, i % 10 * MS / 20))
			t_kill_worker((uint32_t)i % 2);
		t_get(f, BUS_RESULT_OK);
		expect_size((size_t)(200000 + 10000 * i));
		bus_future_free(f);
	}
}

/* Who hangs because nobody takes its result can be stopped. */
Test(pool_task, cancel_in_the_middle_of_a_large_result)
{
	struct bus_future *f;

	t_pool(1);
	for (int i = 0; i < 5; i++) {
		f = t_submit(SIZE, 8000000);
		nap(20 * MS);
		bus_future_cancel(f);
		t_get(f, BUS_RESULT_CANCELED);
		bus_future_free(f);
		t_apply(SIZE, 100000, BUS_RESULT_OK);
		expect_size(100000);
	}
}

/* Nobody wants what is in the pipe: it must not stay full for that. */
Test(pool_task, parcels_that_nobody_wants)
{
	struct bus_future *f[64];

	t_pool(1);
	for (int k = 0; k < 5; k++) {
		for (int i = 0; i < 64; i++)
			f[i] = t_submit(SIZE, 100000 + i);
		nap(2 * MS);
		for (int i = 0; i < 64; i++) {
			bus_future_cancel(f[i]);
			bus_future_free(f[i]);
		}
		t_apply(SIZE, 100000, BUS_RESULT_OK);
		expect_size(100000);
	}
	cr_assert_eq(t_pool_stats().n_deaths, 0);
}

Test(pool_task, a_worker_has_the_bus)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);

	t_pool(2);
	t_apply(HAS_BUS, 77, BUS_RESULT_OK);
	cr_assert_eq(t_get_u64(q), 77);
	bus_queue_free(q);
}

/* Its pipe is handed over, and it never comes for it. */
Test(pool_task, workers_that_sent_nothing_large_leave_no_channel)
{
	struct bus_pool_config c = t_pool_config(2);

	c.max_tasks_per_worker = 1;
	t_pool_with(&c);
	for (int i = 0; i < 400; i++)
		t_apply(ECHO, i, BUS_RESULT_OK);
	cr_assert_leq(t_stats(bus).n_channels, 20);
	bus_queue_free(t_queue(bus, "q", 8, 8, 0));
}

/* -------------------------------------------------------------- nonsense -- */

/* A worker that writes what no worker of ours would. */
static int lie(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	struct bus_answer a = { .place = 0 };
	int how;

	(void)ctx;
	T_CHECK(len == sizeof(struct bus_task_head) + sizeof(how));
	memcpy(&how, (const char *)req + sizeof(struct bus_task_head),
	       sizeof(how));
	switch (how) {
	case 0: /* there is no parcel */
		a.kind = BUS_ANSWER_PIPE;
		break;
	case 1: /* nor such a place */
		a.kind = BUS_ANSWER_PIPE;
		a.place = 999999;
		break;
	case 2: /* nobody canceled it */
		a.kind = BUS_ANSWER_SHED;
		break;
	case 3: /* it has no deadline */
		a.kind = BUS_ANSWER_LATE;
		break;
	case 4:
		a.kind = 77;
		break;
	default: /* not even that */
		return bus_reply_put(r, &a, 3);
	}
	return bus_reply_put(r, &a, sizeof(a));
}

Test(pool_task, nonsense_is_an_error_of_that_task)
{
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	struct bus_coord *liar, *own;
	struct bus_future *f;

	cc.handler = lie;
	cc.request_bytes = 40;
	cc.result_bytes = 80;
	cr_assert_eq(bus_coord_start(bus, "c", &cc, &liar), 0);
	t_pool(1);
	own = pool->co;
	for (int how = 0; how < 6; how++) {
		pool->co = liar;
		cr_assert_eq(bus_pool_submit(pool, 0, &how, sizeof(how), NULL,
					     &f, -1),
			     0);
		t_get(f, BUS_RESULT_ERROR);
		cr_assert_eq(result.code, -EPROTO);
		pool->co = own;
	}
	cr_assert_eq(t_stats(bus).n_rejected, 6);
	t_apply(ECHO, 1, BUS_RESULT_OK);
	bus_coord_stop(liar, -1);
}

/* What follows cannot be found any more, and the worker would wait for ever for
 * room. */
Test(pool_task, nonsense_in_a_pipe_is_the_end_of_its_worker)
{
	uint64_t end = sb_now_ns() + 20 * SB_NS_PER_S;
	struct bus_future *f;
	int ret = -ETIMEDOUT;

	t_pool(1);
	f = t_submit(HOLD, 1);
	t_await_begun(1);
	memset(pool->place[0].rx->rx.s->slots, 0xff, 64);
	bus_crew_talk(pool->area, 0);
	while (shared->n_begun < 2 && sb_now_ns() < end && ret == -ETIMEDOUT)
		ret = bus_future_get(f, &result, 5 * MS);
	cr_assert_eq(ret, -ETIMEDOUT);
	cr_assert_eq(shared->n_begun, 2);
	shared->go = 1;
	t_get(f, BUS_RESULT_OK);
	cr_assert_eq(result.attempts, 1);
	t_apply(SIZE, 1000000, BUS_RESULT_OK);
	expect_size(1000000);
}
