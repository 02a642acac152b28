/*
 * test_counts.c - tests of tools/adm/counts.c; Criterion suite "counts"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tests/adm/t_adm.h"
#include "tools/adm/counts.h"

TestSuite(counts, .init = adm_setup, .fini = adm_teardown, .timeout = 200.0);

Test(counts, are_those_that_the_bus_itself_has)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus_pipe *a, *b;
	struct counts_bus n;
	struct bus_stats s;
	char c;
	size_t len;

	t_pipe(bus, BUS_PIPE_LATENCY, 0, 0, &a, &b);
	for (uint64_t i = 0; i < 5; i++)
		t_put_u64(q, i, 0);
	t_get_u64(q);
	cr_assert_eq(bus_pipe_send(a, "x", 1, 0), 0);
	cr_assert_eq(bus_pipe_send(a, "y", 1, 0), 0);
	cr_assert_eq(bus_pipe_recv(b, &c, 1, &len, 0), 0);
	s = t_stats(bus);
	counts_of_bus(adm_snap(), &n);
	cr_assert_eq(n.n_put, s.n_put);
	cr_assert_eq(n.n_put, 7);
	cr_assert_eq(n.n_got, s.n_got);
	cr_assert_eq(n.n_got, 2);
	cr_assert_eq(n.n_waiting, 5);
	cr_assert_eq(n.n_held, 0);
}

Test(counts, of_a_queue_are_its_slots_and_positions)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct counts_chan n;
	struct bus_msg msg;

	for (uint64_t i = 0; i < 5; i++)
		t_put_u64(q, i, 0);
	cr_assert_eq(bus_queue_peek(q, &msg, 0), 0);
	counts_of_chan(adm_chan("q"), &n);
	cr_assert_eq(n.n_put, 5);
	cr_assert_eq(n.n_got, 1);
	cr_assert_eq(n.n_waiting, 4);
	cr_assert_eq(n.n_held, 1);
	cr_assert_eq(n.n_slots, 8);
	cr_assert_eq(n.n_free, 3);
	cr_assert_eq(counts_held_by(&snap, 1), 1);
	cr_assert_eq(counts_held_by(&snap, 2), 0);
	cr_assert_eq(bus_queue_release(q, &msg), 0);
}

Test(counts, a_rate_needs_time_and_a_count_that_grows)
{
	cr_assert_float_eq(counts_rate(10, 30, SB_NS_PER_S / 2), 40, 1e-9);
	cr_assert(isnan(counts_rate(30, 10, SB_NS_PER_S)));
	cr_assert(isnan(counts_rate(10, 30, 0)));
	cr_assert_eq(counts_rate(10, 10, SB_NS_PER_S), 0);
}

Test(counts, rates_come_from_two_snaps)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct snap was;
	struct rates r;

	adm_snap();
	cr_assert_eq(snap_take(&view, true, &was), 0);
	for (uint64_t i = 0; i < 4; i++)
		t_put_u64(q, i, 0);
	t_get_u64(q);
	cr_assert_eq(snap_take(&view, true, &snap), 0);
	snap.taken_ns = was.taken_ns + 2 * SB_NS_PER_S;
	was.ep[1].proc.cpu_ns = snap.ep[1].proc.cpu_ns;
	snap.ep[1].proc.cpu_ns += SB_NS_PER_S;
	rates_of_bus(&was, &snap, &r);
	cr_assert_float_eq(r.put, 2, 1e-9);
	cr_assert_float_eq(r.got, 0.5, 1e-9);
	rates_of_chan(&was, &snap, 0, &r);
	cr_assert_float_eq(r.put, 2, 1e-9);
	rates_of_ep(&was, &snap, 1, &r);
	cr_assert_float_eq(r.put, 2, 1e-9);
	cr_assert_float_eq(r.cpu, 0.5, 1e-9);
	/* Another process has that number now. */
	was.ep[1].word ^= 0x100;
	rates_of_ep(&was, &snap, 1, &r);
	cr_assert(isnan(r.cpu));
	/* A channel that was not there. */
	rates_of_chan(&was, &snap, 7, &r);
	cr_assert(isnan(r.put));
	snap_free(&was);
}
