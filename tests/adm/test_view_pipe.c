/*
 * test_view_pipe.c - tools/adm/view_pipe.c: whose the sides are, what is in it
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/adm/t_adm.h"

TestSuite(view_pipe, .init = adm_setup, .fini = adm_teardown, .timeout = 60.0);

static struct bus_pipe *a, *b;

static const struct snap_pipe *pipe_now(void)
{
	const struct snap_chan *c = adm_chan("#0");

	cr_assert_null(c->bad, "%s", c->bad);
	return c->pipe;
}

static const struct snap_dir *dir(int i)
{
	const struct snap_dir *d = &pipe_now()->dir[i];

	cr_assert_null(d->bad, "%s", d->bad);
	return d;
}

static void make(uint32_t profile, uint32_t flags)
{
	t_pipe(bus, profile, flags, 8192, &a, &b);
}

static void send_some(struct bus_pipe *p, size_t len, int n)
{
	static unsigned char buf[1 << 20];

	for (int i = 0; i < n; i++)
		cr_assert_eq(bus_pipe_send(p, buf, len, 0), 0);
}

static void receive(struct bus_pipe *p, int n)
{
	static unsigned char buf[1 << 20];
	size_t len;

	for (int i = 0; i < n; i++)
		cr_assert_eq(bus_pipe_recv(p, buf, sizeof(buf), &len, T_LONG),
			     0);
}

Test(view_pipe, a_new_one_is_its_makers)
{
	const struct snap_pipe *p;

	make(BUS_PIPE_LATENCY, 0);
	p = pipe_now();
	cr_assert_eq(p->n_dirs, 2);
	cr_assert_eq(p->slot_bytes, 8192);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(p->side[i].state, BUS_SIDE_MADE);
		cr_assert_eq(p->side[i].ep, bus->id);
		cr_assert_eq(p->side[i].pid, (uint32_t)getpid());
		cr_assert_eq(p->dir[i].n_records, 0);
	}
}

Test(view_pipe, counts_what_is_in_it)
{
	make(BUS_PIPE_LATENCY, 0);
	send_some(a, 100, 5);
	cr_assert_eq(dir(0)->n_records, 5);
	cr_assert_eq(dir(0)->n_bytes, 500);
	cr_assert_eq(dir(0)->n_sent, 5);
	cr_assert_eq(dir(1)->n_records, 0);
	receive(b, 2);
	cr_assert_eq(dir(0)->n_records, 3);
	cr_assert_eq(dir(0)->n_received, 2);
	cr_assert_eq(pipe_now()->side[0].state, BUS_SIDE_OPEN);
	receive(b, 3);
	cr_assert_eq(dir(0)->n_records, 0);
}

/* Over both slots, and round and round. */
Test(view_pipe, follows_the_writer_into_the_other_slot)
{
	make(BUS_PIPE_LATENCY, BUS_PIPE_SIMPLEX);
	for (int i = 0; i < 50; i++) {
		send_some(a, 1000, 8);
		cr_assert_eq(dir(0)->n_records, 8);
		receive(b, 3);
		cr_assert_eq(dir(0)->n_bytes, 5000);
		receive(b, 5);
		cr_assert_eq(dir(0)->n_records, 0);
	}
}

Test(view_pipe, sees_what_goes_through_the_short_way)
{
	make(BUS_PIPE_LATENCY, 0);
	for (int i = 0; i < 100; i++) {
		send_some(a, 8, 1);
		cr_assert_eq(dir(0)->n_records, 1);
		cr_assert_eq(dir(0)->n_bytes, 8);
		receive(b, 1);
		cr_assert_eq(dir(0)->n_records, 0);
		send_some(b, 8, 1);
		cr_assert_eq(dir(1)->n_records, 1);
		receive(a, 1);
		cr_assert_eq(dir(1)->n_records, 0);
	}
}

static int receive_late(void *arg)
{
	t_gate_wait(arg);
	receive(b, 1);
	return 0;
}

static bool is_full(void *arg)
{
	(void)arg;
	return dir(0)->full && dir(0)->has_fragments;
}

static int send_large(void *arg)
{
	(void)arg;
	return bus_pipe_send(a, calloc(1, 100000), 100000, T_LONG);
}

Test(view_pipe, large_messages_are_in_parts)
{
	struct t_gate gate;
	pid_t reader, writer;

	make(BUS_PIPE_LATENCY, BUS_PIPE_SIMPLEX);
	t_gate_init(&gate);
	reader = t_fork(receive_late, &gate);
	writer = t_fork(send_large, NULL);
	cr_assert(t_eventually(is_full, NULL, 30000));
	cr_assert_gt(dir(0)->n_bytes, 8192);
	t_gate_open(&gate);
	t_join(writer);
	t_join(reader);
	t_gate_close(&gate);
}

static int use_and_die(void *arg)
{
	(void)arg;
	send_some(b, 8, 1);
	raise(SIGKILL);
	return 0;
}

Test(view_pipe, says_who_is_gone)
{
	const struct snap_pipe *p;
	pid_t child;

	make(BUS_PIPE_LATENCY, 0);
	send_some(a, 8, 1);
	child = t_fork(use_and_die, NULL);
	cr_assert_eq(t_wait(child), -SIGKILL);
	p = pipe_now();
	cr_assert_eq(p->side[1].state, BUS_SIDE_OPEN);
	cr_assert_eq(p->side[1].pid, (uint32_t)child);
	cr_assert_eq(snap.ep[p->side[1].ep].proc.state, PROCESS_DEAD);
	cr_assert_eq(bus_reap(bus), 1);
	p = pipe_now();
	cr_assert_eq(p->side[1].state, BUS_SIDE_DEAD);
	cr_assert(p->side[1].no_tx && p->side[1].no_rx);
	cr_assert_eq(p->dir[1].n_records, 1);
	bus_pipe_free(a);
	bus_pipe_free(b);
	cr_assert_eq(pipe_now()->n_dirs, 0);
}

/* Words at any place of the pipe: no crash, no endless walk. */
Test(view_pipe, no_byte_of_it_is_believed)
{
	static const uint64_t nonsense[] = { 0,
					     1,
					     UINT64_MAX,
					     UINT64_C(0x0000000180000000),
					     UINT64_C(0x0000000080000000),
					     UINT64_C(0x00000000c0000000) };
	uint64_t *words;
	uint64_t n;

	make(BUS_PIPE_LATENCY, 0);
	send_some(a, 100, 20);
	words = (uint64_t *)(void *)((char *)bus->map->seg.base +
				     bus->map->dir[0].off);
	n = (sizeof(struct bus_pipe_head) + sizeof(struct sb_spsc) + 512) / 8;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t good = words[i];

		for (size_t k = 0; k < lengthof(nonsense); k++) {
			words[i] = nonsense[k];
			adm_snap();
		}
		words[i] = good;
	}
	cr_assert_eq(dir(0)->n_records, 20);
}
