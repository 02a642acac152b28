/*
 * test_pool_stats.c - tests of bus/pool_stats.c; Criterion suite "pool_stats"
 *
 * The pool is a bare crew, whose counts and places the test writes itself: what
 * a real one says is tested in test_pool.c.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <time.h>

#include "bus/crew.h"
#include "tests/bus/t_bus.h"

static struct bus *bus;
static struct bus_coord *coord;
static struct bus_pool_stats stats;
static struct bus_worker_stats workers[5];

static int nothing(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	(void)ctx;
	(void)req;
	(void)len;
	(void)r;
	return 0;
}

static int start(struct bus *on, uint32_t n_workers, uint32_t places)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_crew_config h = { .max_workers = places, .cancels = 1 };

	c.handler = nothing;
	c.n_workers = n_workers;
	c.window = 16;
	return bus_coord_start_crew(on, "p", &c, &h, &coord);
}

static void setup(void)
{
	bus = t_bus();
	T_CHECK(start(bus, 2, 3) == 0);
}

static void teardown(void)
{
	bus_coord_stop(coord, 0);
	bus_close(bus);
}

TestSuite(pool_stats, .init = setup, .fini = teardown, .timeout = 200.0);

static int look(void)
{
	stats = (struct bus_pool_stats)BUS_POOL_STATS_INIT;
	memset(workers, 0xee, sizeof(workers));
	return bus_pool_stats(bus, "p", &stats, workers, lengthof(workers));
}

static struct bus_place *place(uint32_t i)
{
	return bus_crew_place(bus_coord_area(coord), i);
}

Test(pool_stats, bad_arguments_are_refused)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;

	cr_assert_eq(bus_pool_stats(NULL, "p", &s, NULL, 0), -EINVAL);
	cr_assert_eq(bus_pool_stats(bus, NULL, &s, NULL, 0), -EINVAL);
	cr_assert_eq(bus_pool_stats(bus, "p", NULL, NULL, 0), -EINVAL);
	cr_assert_eq(bus_pool_stats(bus, "p", &s, NULL, 1), -EINVAL);
	s.size = 0;
	cr_assert_eq(bus_pool_stats(bus, "p", &s, NULL, 0), -EINVAL);
}

Test(pool_stats, names_that_are_no_pool_are_not_found)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;

	bus_queue_free(t_queue(bus, "q", 8, 8, 0));
	cr_assert_eq(bus_pool_stats(bus, "x", &s, NULL, 0), -ENOENT);
	cr_assert_eq(bus_pool_stats(bus, "q", &s, NULL, 0), -ENOENT);
	cr_assert_eq(bus_pool_stats(bus, "", &s, NULL, 0), -ENOENT);
	bus_coord_stop(coord, T_LONG);
	coord = NULL;
	cr_assert_eq(bus_pool_stats(bus, "p", &s, NULL, 0), -ENOENT);
}

Test(pool_stats, older_structs_are_filled_as_far_as_they_go)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;

	s.size = offsetof(struct bus_pool_stats, n_places);
	s.n_places = 77;
	cr_assert_eq(bus_pool_stats(bus, "p", &s, NULL, 0), 0);
	cr_assert_eq(s.n_workers, 2);
	cr_assert_eq(s.n_places, 77);
	cr_assert_eq(s.size, offsetof(struct bus_pool_stats, n_places));
}

Test(pool_stats, says_who_is_there)
{
	cr_assert_eq(look(), 3);
	cr_assert_eq(stats.n_workers, 2);
	cr_assert_eq(stats.n_places, 3);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(workers[i].pid, bus_coord_pid(coord, (uint32_t)i));
		cr_assert_eq(workers[i].state, BUS_WORKER_IDLE);
		cr_assert_eq(workers[i].task, 0);
		cr_assert_eq(workers[i].since_ns, 0);
	}
	cr_assert_eq(workers[2].pid, 0);
	cr_assert_eq(workers[2].state, BUS_WORKER_NONE);
	cr_assert_eq(workers[3].pid, (int32_t)0xeeeeeeee); /* untouched */
}

Test(pool_stats, fills_no_more_than_there_is_room_for)
{
	for (size_t n = 0; n <= 5; n++) {
		stats = (struct bus_pool_stats)BUS_POOL_STATS_INIT;
		memset(workers, 0xee, sizeof(workers));
		cr_assert_eq(bus_pool_stats(bus, "p", &stats, workers, n),
			     n < 3 ? (int)n : 3);
		for (size_t i = n < 3 ? n : 3; i < 5; i++)
			cr_assert_eq(workers[i].state, 0xeeeeeeee);
	}
}

static uint64_t word(uint64_t number, uint64_t index)
{
	return (number << 16 | index) << 8;
}

Test(pool_stats, says_what_workers_do)
{
	st_rlx(&place(0)->word, word(12, 5));
	st_rlx(&place(0)->handler, 4);
	st_rlx(&place(0)->since_ns, 1234);
	st_rlx(&place(1)->word, word(13, 65535) | BUS_PLACE_TOLD);
	st_rlx(&place(1)->n_done, 9);
	st_rlx(&place(2)->n_deaths, 8);
	st_rlx(&place(2)->word, 14 << 8); /* nobody: not reaped yet */
	cr_assert_eq(look(), 3);
	cr_assert_eq(workers[0].state, BUS_WORKER_BUSY);
	cr_assert_eq(workers[0].task, 12);
	cr_assert_eq(workers[0].handler, 4);
	cr_assert_eq(workers[0].since_ns, 1234);
	cr_assert_eq(workers[1].state, BUS_WORKER_TOLD);
	cr_assert_eq(workers[1].task, 13);
	cr_assert_eq(workers[1].n_done, 9);
	cr_assert_eq(workers[2].state, BUS_WORKER_NONE);
	cr_assert_eq(workers[2].task, 0);
	cr_assert_eq(workers[2].n_deaths, 8);
	st_rlx(&place(1)->word, 13 << 8 | BUS_PLACE_DOOMED);
	look();
	cr_assert_eq(workers[1].state, BUS_WORKER_TOLD);
}

static uint64_t sum(void)
{
	return stats.n_queued + stats.n_running + stats.n_ok + stats.n_failed +
	       stats.n_quarantined + stats.n_canceled + stats.n_timed_out;
}

Test(pool_stats, counts_add_up)
{
	struct bus_crew_counts *c = &bus_coord_area(coord)->counts;

	st_rlx(&c->n_submitted, 100);
	st_rlx(&c->n_ok, 50);
	st_rlx(&c->n_failed, 5);
	st_rlx(&c->n_dead, 4);
	st_rlx(&c->n_canceled, 3);
	st_rlx(&c->n_timed_out, 2);
	st_rlx(&c->n_callbacks_failed, 1);
	st_rlx(&c->n_deaths, 12);
	st_rlx(&c->n_respawns, 11);
	st_rlx(&place(0)->word, 12 << 8);
	/* whose future is complete already */
	st_rlx(&place(1)->word, 13 << 8 | BUS_PLACE_TOLD);
	look();
	cr_assert_eq(stats.n_submitted, 100);
	cr_assert_eq(stats.n_ok, 50);
	cr_assert_eq(stats.n_failed, 5);
	cr_assert_eq(stats.n_quarantined, 4);
	cr_assert_eq(stats.n_canceled, 3);
	cr_assert_eq(stats.n_timed_out, 2);
	cr_assert_eq(stats.n_callbacks_failed, 1);
	cr_assert_eq(stats.n_deaths, 12);
	cr_assert_eq(stats.n_respawns, 11);
	cr_assert_eq(stats.n_running, 1);
	cr_assert_eq(sum(), 100);
	/* answered, and the pool has not looked, while one is in hand */
	st_rlx(&c->n_submitted, 64);
	look();
	cr_assert_eq(stats.n_running, 0);
	cr_assert_eq(sum(), 64);
}

static int look_from_outside(void *arg)
{
	struct bus *mine;

	T_CHECK(bus_open(arg, NULL, &mine) == 0);
	stats = (struct bus_pool_stats)BUS_POOL_STATS_INIT;
	T_CHECK(bus_pool_stats(mine, "p", &stats, workers, 5) == 3);
	T_CHECK(stats.n_workers == 2);
	T_CHECK(workers[0].pid > 0);
	bus_close(mine);
	return 0;
}

Test(pool_stats, any_process_may_ask)
{
	struct bus_config c = t_config();
	struct bus *old = bus;
	struct bus_coord *old_coord = coord;
	char name[64];

	snprintf(name, sizeof(name), "t-pool-stats-%d", (int)getpid());
	bus = t_bus_with(name, &c);
	T_CHECK(start(bus, 2, 3) == 0);
	t_join(t_fork(look_from_outside, name));
	bus_coord_stop(coord, T_LONG);
	bus_close(bus);
	bus = old;
	coord = old_coord;
}

static int start_and_die(void *arg)
{
	(void)arg;
	bus_coord_stop(coord, 0);
	T_CHECK(start(bus, 1, 1) == 0 || start(bus, 1, 2) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

static bool is_gone(void *arg)
{
	(void)arg;
	bus_reap(bus);
	return look() == -ENOENT;
}

Test(pool_stats, a_dead_pool_is_not_there)
{
	bus_coord_stop(coord, T_LONG);
	coord = NULL;
	cr_assert_eq(t_wait(t_fork(start_and_die, NULL)), -SIGKILL);
	cr_assert(t_eventually(is_gone, NULL, 10000));
}

/* Nobody else has looked, either. */
Test(pool_stats, a_pool_is_gone_as_soon_as_its_owner_is)
{
	bus_coord_stop(coord, T_LONG);
	coord = NULL;
	for (int i = 0; i < 5; i++) {
		uint64_t n_deaths = t_stats(bus).n_deaths;

		cr_assert_eq(t_wait(t_fork(start_and_die, NULL)), -SIGKILL);
		cr_assert_eq(look(), -ENOENT);
		cr_assert_eq(t_stats(bus).n_deaths, n_deaths);
		cr_assert_geq(bus_reap(bus), 1);
		cr_assert(t_eventually(is_gone, NULL, 10000));
		while (bus_reap(bus) || t_stats(bus).n_endpoints > 1)
			usleep(1000);
	}
}

static bool has_died(void *arg)
{
	return sb_proc_dead((struct sb_proc_id){ .pid = *(uint32_t *)arg });
}

/* The owner is not in a call, and so has not seen it. */
Test(pool_stats, a_dead_worker_is_not_busy)
{
	struct bus_crew_counts *c = &bus_coord_area(coord)->counts;
	uint32_t pid = (uint32_t)bus_coord_pid(coord, 0);

	st_rlx(&c->n_submitted, 2);
	st_rlx(&place(0)->word, word(12, 5));
	st_rlx(&place(1)->word, word(13, 6));
	look();
	cr_assert_eq(workers[0].state, BUS_WORKER_BUSY);
	cr_assert_eq(stats.n_running, 2);
	cr_assert_eq(kill((pid_t)pid, SIGKILL), 0);
	cr_assert(t_eventually(has_died, &pid, 10000));
	cr_assert_eq(look(), 3);
	cr_assert_eq(workers[0].state, BUS_WORKER_DEAD);
	cr_assert_eq(workers[0].pid, (int32_t)pid);
	cr_assert_eq(workers[0].task, 12);
	cr_assert_eq(workers[1].state, BUS_WORKER_BUSY);
	cr_assert_eq(stats.n_running, 1);
	cr_assert_eq(stats.n_queued, 1);
	st_rlx(&place(0)->word, 0);
	look();
	cr_assert_eq(workers[0].state, BUS_WORKER_DEAD);
	cr_assert_eq(workers[0].task, 0);
}

/* Hostile bytes ----------------------------------------------------------- */

static struct bus_channel *channel(void)
{
	struct bus_channel *c;

	cr_assert_not_null(
		bus_channel_end(bus, (uint32_t)bus_channel_find(bus, "p"), &c));
	return c;
}

Test(pool_stats, an_area_that_does_not_fit_is_an_error)
{
	static const uint32_t lies[] = { 0, 200, 201, 1 << 20, UINT32_MAX };
	struct bus_channel *c = channel();
	uint32_t n = c->crew_places;

	for (size_t i = 0; i < lengthof(lies); i++) {
		c->crew_places = lies[i];
		cr_assert_eq(look(), -EPROTO);
	}
	c->crew_places = n;
	n = c->crew_canceled;
	c->crew_canceled = UINT32_MAX;
	cr_assert_eq(look(), -EPROTO);
	c->crew_canceled = n;
	cr_assert_eq(look(), 3);
	/* fewer are no danger */
	c->crew_places = 1;
	cr_assert_eq(look(), 1);
	c->crew_places = 3;
}

Test(pool_stats, an_entry_that_lies_is_an_error)
{
	struct bus_dirent *d = &bus->map->dir[bus_channel_find(bus, "p")];
	uint64_t bytes = d->bytes, off = d->off;

	look();
	d->bytes = UINT64_MAX & ~(uint64_t)127;
	cr_assert_eq(look(), -EPROTO);
	d->bytes = sizeof(struct bus_channel);
	cr_assert_eq(look(), -EPROTO);
	d->bytes = bytes;
	d->off = off + SB_FAR;
	cr_assert_eq(look(), -EPROTO);
	d->off = off;
	cr_assert_eq(look(), 3);
}

Test(pool_stats, garbage_does_no_harm)
{
	struct bus_crew_area *area = bus_coord_area(coord);
	uint64_t x = 88172645463325252u;

	for (int k = 0; k < 2000; k++) {
		_Atomic uint64_t *word = (void *)area;

		for (size_t i = 0; i < bus_crew_bytes(3, 0) / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			/* not of what tells workers to leave */
			if (i != offsetof(struct bus_crew_area, n_wanted) / 8)
				st_rlx(&word[i], k % 2 ? x : x >> (x % 64));
		}
		cr_assert_eq(look(), 3);
		cr_assert_leq(stats.n_running, 3);
	}
}
