/*
 * test_recover.c - tests of bus/recover.c; Criterion suite "recover"
 *
 * What endpoints leave that die in the middle of something; the rings alone
 * have their own tests in lib.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "bus/endpoint.h"
#include "bus/recover.h"
#include "tests/bus/t_bus.h"

static struct bus *bus;
static struct bus_queue *q;

static void setup(void)
{
	bus = t_bus();
	q = t_queue(bus, "q", 8, 8, 0);
}

static void teardown(void)
{
	bus_close(bus);
}

TestSuite(recover, .init = setup, .fini = teardown, .timeout = 200.0);

/* Run @fn in a child that then dies by SIGKILL. */
static void die_in(int (*fn)(void *arg), void *arg)
{
	cr_assert_eq(t_wait(t_fork(fn, arg)), -SIGKILL);
}

static int leave_bits(void *arg)
{
	struct bus_header *h = bus->map->header;
	struct bus_channel *c = arg;
	uint32_t id;

	T_CHECK(bus_check(bus) == 0);
	id = bus->id;
	or_seqcst(&c->rx.bits[id / 64], UINT64_C(1) << id % 64);
	or_seqcst(&c->tx.bits[id / 64], UINT64_C(1) << id % 64);
	or_seqcst(&c->done.bits[id / 64], UINT64_C(1) << id % 64);
	or_seqcst(&h->blob_rx.bits[id / 64], UINT64_C(1) << id % 64);
	or_seqcst(&h->running.bits[id / 64], UINT64_C(1) << id % 64);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(recover, bits_of_the_dead_are_cleared)
{
	struct bus_header *h = bus->map->header;
	struct bus_channel *c;

	bus_channel_end(bus, 0, &c);
	die_in(leave_bits, c);
	cr_assert(sb_sleepers_any(&c->rx));
	cr_assert_eq(bus_reap(bus), 1);
	cr_assert_not(sb_sleepers_any(&c->rx));
	cr_assert_not(sb_sleepers_any(&c->tx));
	cr_assert_not(sb_sleepers_any(&c->done));
	cr_assert_not(sb_sleepers_any(&h->blob_rx));
	cr_assert_not(sb_sleepers_any(&h->running)); /* we never waited */
}

/* Cells in every stage of a put of a large message. */
static int die_with_cells(void *arg)
{
	int stage = (int)(uintptr_t)arg;
	struct bus_channel *c;
	struct sb_ring_end *end;
	uint32_t cell;
	uint64_t pos;

	T_CHECK(bus_check(bus) == 0);
	end = bus_channel_end(bus, 0, &c);
	T_CHECK(sb_blob_claim(&bus->blob, 1000, &cell) == 0);
	memset(sb_blob_data(&bus->blob, cell), 7, 1000);
	sb_blob_set_len(&bus->blob, cell, 1000);
	if (stage >= 1)
		T_CHECK(sb_ring_claim(end, 1, true, &pos) == 1);
	if (stage >= 2)
		sb_blob_hand(&bus->blob, cell, 0, pos);
	if (stage >= 3) {
		memcpy(sb_ring_slot(end, pos)->data, &cell, 4);
		sb_ring_publish(end, pos, 0, SB_FLAG_BLOB);
	}
	if (stage >= 4)
		T_CHECK(sb_ring_take(end, 1, true, &pos) == 1);
	if (stage >= 5)
		sb_ring_free(end, pos);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(recover, cells_of_the_dead_are_freed_or_delivered)
{
	unsigned char buf[1000];

	for (int lap = 0; lap < 20; lap++) {
		for (uintptr_t stage = 0; stage <= 5; stage++) {
			bool delivered = stage == 3 || stage == 4;

			die_in(die_with_cells, (void *)stage);
			cr_assert_eq(bus_reap(bus), 1);
			cr_assert_eq(t_stats(bus).blob_bytes_used,
				     delivered ? 1024 : 0);
			cr_assert_eq(bus_queue_get(q, buf, 1000, NULL, 0),
				     delivered ? 0 : -EAGAIN);
			cr_assert_eq(buf[999], delivered ? 7 : buf[999]);
			cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
		}
	}
	cr_assert_eq(t_queue_stats(q).n_held, 0);
}

/* Dead for all to see, and whoever buried it was killed before recovering. */
Test(recover, a_recovery_that_was_begun_is_finished)
{
	uint32_t id;

	die_in(die_with_cells, (void *)2);
	for (id = 1;
	     id == bus->id || !bus_ep_attached(ld_rlx(&bus->map->ep[id].state));
	     id++)
		;
	cr_assert(bus_ep_bury(bus->map, id, ld_rlx(&bus->map->ep[id].state)));
	cr_assert_eq(bus_reap(bus), 0); /* somebody else has counted it */
	cr_assert_eq(bus_ep_state(ld_rlx(&bus->map->ep[id].state)),
		     BUS_EP_RETIRED);
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
}

/* A coordinator that waits for its worker must see all of it recovered, also
 * when somebody else buried it and was stopped then. */
Test(recover, recovery_of_a_pid_finishes_what_others_began)
{
	pid_t child = t_fork(die_with_cells, (void *)4);
	unsigned char buf[1000];
	uint32_t id;

	cr_assert_eq(t_wait(child), -SIGKILL);
	for (id = 1;
	     bus_ep_pid(ld_rlx(&bus->map->ep[id].state)) != (uint32_t)child;
	     id++)
		;
	cr_assert(bus_ep_bury(bus->map, id, ld_rlx(&bus->map->ep[id].state)));
	bus_recover_pid(bus, child);
	cr_assert_eq(bus_ep_state(ld_rlx(&bus->map->ep[id].state)),
		     BUS_EP_RETIRED);
	cr_assert_eq(bus_queue_get(q, buf, 1000, NULL, 0), 0);
}

Test(recover, all_endpoints_of_a_pid_are_recovered)
{
	struct bus *other;

	cr_assert_eq(bus_recover_pid(bus, 1), 0);
	cr_assert_eq(bus_attach(bus, &other), 0);
	/* not ours, but as if: its process is no more */
	cr_assert_eq(t_stats(bus).n_endpoints, 2);
	bus_close(other);
	cr_assert_eq(bus_reap(bus), 0);
}

/* Many at once, each may be killed on the way. */
static int reap_often(void *arg)
{
	_Atomic uint32_t *stop = arg;

	while (!ld_acq(stop))
		T_CHECK(bus_reap(bus) >= 0);
	return 0;
}

Test(recover, any_number_of_recoverers_that_are_killed)
{
	_Atomic uint32_t *stop = t_shared(4096);
	pid_t reaper[3];
	unsigned char buf[1000];
	uint32_t n_got = 0;

	for (size_t i = 0; i < lengthof(reaper); i++)
		reaper[i] = t_fork(reap_often, (void *)stop);
	for (uintptr_t i = 0; i < 300; i++) {
		die_in(die_with_cells, (void *)(i % 6));
		if (i % 7 == 0) {
			t_kill(reaper[i % 3]);
			reaper[i % 3] = t_fork(reap_often, (void *)stop);
		}
		/* two of six stages leave a message, and only one */
		if (i % 6 == 3 || i % 6 == 4) {
			cr_assert_eq(bus_queue_get(q, buf, 1000, NULL, T_LONG),
				     0);
			n_got++;
		}
	}
	st_rel(stop, 1);
	for (size_t i = 0; i < lengthof(reaper); i++)
		t_join(reaper[i]);
	while (bus_reap(bus))
		;
	cr_assert_eq(n_got, 100);
	cr_assert_eq(bus_queue_get(q, buf, 1000, NULL, 0), -EAGAIN);
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
	cr_assert_eq(t_queue_stats(q).n_held, 0);
	cr_assert_eq(t_stats(bus).n_endpoints, 1);
}

Test(recover, a_sweep_looks_now_and_then)
{
	_Atomic uint64_t *last = &bus->map->header->last_sweep_ns;

	st_rlx(last, sb_now_ns());
	die_in(die_with_cells, (void *)0);
	bus_sweep(bus);
	cr_assert_eq(t_stats(bus).n_deaths, 0); /* somebody just did */
	st_rlx(last, sb_now_ns() - SB_NS_PER_S);
	bus_sweep(bus);
	cr_assert_eq(t_stats(bus).n_deaths, 1);
	die_in(die_with_cells, (void *)0);
	st_rlx(last, UINT64_MAX); /* a lie */
	bus_sweep(bus);
	cr_assert_eq(t_stats(bus).n_deaths, 2);
	cr_assert_leq(ld_rlx(last), sb_now_ns());
}

Test(recover, our_own_endpoint_is_not_recovered_by_us)
{
	cr_assert_eq(bus_reap(bus), 0);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(t_get_u64(q), 1);
}
