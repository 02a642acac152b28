/*
 * test_stats.c - tests of bus/stats.c; Criterion suite "stats"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "tests/bus/t_bus.h"

static struct bus *bus;

static void setup(void)
{
	bus = t_bus();
}

static void teardown(void)
{
	bus_close(bus);
}

TestSuite(stats, .init = setup, .fini = teardown, .timeout = 200.0);

Test(stats, structs_of_other_ages_are_filled_as_far_as_they_go)
{
	struct {
		struct bus_stats s;
		uint64_t more;
	} s;

	cr_assert_eq(bus_stats(bus, NULL), -EINVAL);
	memset(&s, 0xee, sizeof(s));
	s.s.size = sizeof(size_t) - 1;
	cr_assert_eq(bus_stats(bus, &s.s), -EINVAL);
	s.s.size = offsetof(struct bus_stats, bytes);
	cr_assert_eq(bus_stats(bus, &s.s), 0);
	cr_assert_eq(s.s.size, offsetof(struct bus_stats, bytes));
	cr_assert_eq(s.s.n_endpoints, 1);
	cr_assert_eq(s.s.bytes, UINT64_C(0xeeeeeeeeeeeeeeee));
	s.s.size = sizeof(s);
	cr_assert_eq(bus_stats(bus, &s.s), 0);
	cr_assert_eq(s.s.size, sizeof(s));
	cr_assert_eq(s.more, UINT64_C(0xeeeeeeeeeeeeeeee));
}

Test(stats, sizes_are_those_of_the_segment)
{
	struct bus_stats s = t_stats(bus);

	cr_assert_eq(s.bytes, bus->map->seg.bytes);
	cr_assert_eq(s.n_channels, 0);
	cr_assert_gt(s.blob_bytes, 4 * T_MESSAGE_MAX - 1);
	cr_assert_lt(s.blob_bytes, s.bytes);
	cr_assert_eq(s.blob_bytes_used, 0);
	cr_assert_str_eq(s.wait, "futex"); /* nothing to watch */
}

struct traffic {
	bool die;
	int n;
};

static int traffic(void *arg)
{
	const struct traffic *t = arg;
	struct bus_queue *q = t_queue(bus, "q", 64, 8, 0);
	char buf[600];

	for (int i = 0; i < t->n; i++) {
		T_CHECK(bus_queue_put(q, buf, i % 2 ? 8 : 600, T_LONG) == 0);
		T_CHECK(bus_queue_get(q, buf, 600, NULL, T_LONG) == 0);
	}
	bus_queue_put(q, buf, 8, 0);
	if (t->die)
		kill(getpid(), SIGKILL);
	bus_close(bus);
	return 0;
}

Test(stats, counts_of_the_dead_and_the_gone_stay)
{
	struct traffic t = { false, 100 }, die = { true, 50 };
	struct bus_stats s;

	for (int i = 0; i < 5; i++) {
		t_join(t_fork(traffic, &t));
		cr_assert_eq(t_wait(t_fork(traffic, &die)), -SIGKILL);
	}
	cr_assert_eq(bus_reap(bus), 5);
	s = t_stats(bus);
	cr_assert_eq(s.n_put, 5 * 152);
	cr_assert_eq(s.n_got, 5 * 150);
	cr_assert_eq(s.n_deaths, 5);
	cr_assert_eq(s.n_redelivered, 0);
	cr_assert_eq(s.n_quarantined, 0);
	cr_assert_eq(s.n_rejected, 0);
	cr_assert_eq(s.n_channels, 1);
	cr_assert_eq(s.n_endpoints, 1);
}

Test(stats, leaving_in_peace_is_no_redelivery)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0), *theirs;
	struct bus *other;
	struct bus_msg m;

	cr_assert_eq(bus_attach(bus, &other), 0);
	theirs = t_queue(other, "q", 0, 0, 0);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_peek(theirs, &m, 0), 0);
	bus_close(other);
	cr_assert_eq(t_stats(bus).n_redelivered, 0);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(m.attempts, 0);
}

Test(stats, sleeping_is_counted)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	uint64_t v, before = t_stats(bus).n_parks;

	cr_assert_eq(bus_queue_get(q, &v, 8, NULL, 5000000), -ETIMEDOUT);
	cr_assert_gt(t_stats(bus).n_parks, before);
}
