/*
 * test_pipe_side.c - tests of bus/pipe_side.c: words in shared memory that lie,
 * and ends that are taken back; Criterion suite "pipe_side"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <time.h>

#include "bus/recover.h"
#include "tests/bus/t_pipe.h"

TestSuite(pipe_side, .init = setup, .fini = teardown, .timeout = 200.0);

/* Hostile memory ---------------------------------------------------------- */

static struct sb_spsc *spsc_of(struct bus_pipe *p, uint32_t dir)
{
	return (void *)((unsigned char *)p->head +
			bus_pipe_dir_off(p->slot_bytes, dir));
}

Test(pipe_side, nonsense_in_a_slot_is_eproto)
{
	static const uint64_t bad[] = { UINT64_MAX, 0x3fffffff,
					SB_SPSC_THERE | 4096,
					SB_SPSC_THERE | SB_SPSC_LEN };

	for (size_t i = 0; i < lengthof(bad); i++) {
		_Atomic uint64_t *word;

		pair(256);
		cr_assert_eq(send_n(a, 9, 1, 0), 0);
		word = (void *)spsc_of(a, 0)->slots;
		st_rel(word, bad[i]);
		for (int k = 0; k < 3; k++)
			cr_assert_neq(bus_pipe_recv(b, in, 256, NULL, 0), 0,
				      "%zu", i);
		free_pair();
	}
}

/* A record that a peer might write, with its own kind. */
static void put_record(const void *data, size_t len, uint32_t kind)
{
	void *at;

	cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN); /* it is ours */
	cr_assert_eq(sb_spsc_room(&a->tx, len, &at), 0);
	memcpy(at, data, len);
	sb_spsc_publish(&a->tx, len, kind);
}

Test(pipe_side, nonsense_in_a_fragment_is_dropped_and_counted)
{
	const struct {
		struct bus_fragment f;
		uint8_t data[8];
	} bad[] = {
		{ { 1, 0, 4 }, { 0 } },
		{ { 1, 8, 8 }, { 0 } },
		{ { 1, UINT64_MAX, UINT64_MAX }, { 0 } },
		{ { 1, UINT64_MAX - 7, 8 }, { 0 } },
		{ { 1, 0, UINT64_MAX }, { 0 } },
		{ { 1, 16, 8 }, { 0 } },
	};

	uint64_t n = 0;
	struct bus_part part;

	pair(1024);
	for (size_t i = 0; i < lengthof(bad); i++) {
		put_record(&bad[i], sizeof(bad[i]), BUS_REC_FRAGMENT);
		cr_assert_eq(bus_pipe_poll(b, 0), 0);
		if (i % 2)
			cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 0), -EPROTO,
				     "%zu", i);
		else
			cr_assert_eq(bus_pipe_peek(b, &part, 0), -EPROTO);
		cr_assert_eq(t_stats(bus).n_rejected, ++n);
	}
	put_record(bad, 24, BUS_REC_FRAGMENT); /* no bytes */
	cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 0), -EPROTO);
	put_record(bad, 23, BUS_REC_FRAGMENT);
	cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 0), -EPROTO);
	put_record(bad, 1, BUS_REC_MARK);
	cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 0), -EPROTO);
	put_record(bad, 1, 5);
	cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 0), -EPROTO);
	/* the next message is whole */
	cr_assert_eq(send_n(a, 20, 1, 0), 0);
	recv_n(b, 20, 1);
}

/* A message that claims to be huge takes no memory. */
Test(pipe_side, a_huge_total_is_only_a_number)
{
	const struct {
		struct bus_fragment f;
		uint8_t data[8];
	} huge = { { 1, 0, (uint64_t)1 << 50 }, { 0 } };

	size_t len = 0;

	pair(1024);
	put_record(&huge, sizeof(huge), BUS_REC_FRAGMENT);
	cr_assert_eq(bus_pipe_recv(b, in, 99, &len, 0), -EMSGSIZE);
	cr_assert_eq(len, (size_t)1 << 50);
	cr_assert_eq(send_n(a, 20, 1, 0), 0);
	cr_assert_eq(bus_pipe_recv(b, in, 99, &len, 0), -EMSGSIZE);
}

Test(pipe_side, a_head_that_lies_is_refused)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe_head *head;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	head = a->head;
	head->slot_bytes = 1 << 20;
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), -EPROTO);
	head->slot_bytes = 255;
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), -EPROTO);
	head->slot_bytes = 256;
	head->flags = 8;
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), -EPROTO);
	head->flags = 0;
	head->profile = 99;
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), -EPROTO);
	head->profile = 0;
	spsc_of(a, 1)->slot_bytes = 512;
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), -EPROTO);
	spsc_of(a, 1)->slot_bytes = 256;
	st_rlx(&spsc_of(a, 0)->position, UINT64_MAX);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), -EPROTO);
	st_rlx(&spsc_of(a, 0)->position, 0);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	cr_assert_eq(send_n(a, 20, 1, 0), 0);
	recv_n(b, 20, 1);
}

Test(pipe_side, a_peers_word_that_lies_does_no_harm)
{
	uint64_t seed = 99;

	for (int i = 0; i < 500; i++) {
		size_t len;
		int ret;

		pair(256);
		cr_assert_eq(send_n(a, 5, 1, 0), 0);
		recv_n(b, 5, 1);
		st_rel(a->peer, rnd(&seed));
		ret = send_n(a, 5, 1, MS / 10);
		cr_assert(ret == 0 || ret == -EPIPE || ret == -ETIMEDOUT);
		ret = bus_pipe_recv(a, in, 5, &len, MS / 10);
		cr_assert(ret == -EPIPE || ret == -ETIMEDOUT, "%d", ret);
		free_pair();
	}
}

/* Two at once ------------------------------------------------------------- */

/* Two give the same end away at once, to two processes: he who comes second
 * may store the start time of his after the other has got there. */
Test(pipe_side, who_loses_a_race_to_hand_over_kills_nobody)
{
	struct bus_pipe *lost, *mine;
	struct t_gate gate;
	pid_t child, loser;
	struct timespec tick = { 0, 30 * MS };

	t_gate_init(&gate);
	pair(256);
	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &mine, &lost);
	child = t_fork(waits_for_gate, &gate);
	nanosleep(&tick, NULL); /* or they start in one tick of the clock */
	loser = t_fork(waits_for_gate, &gate);
	cr_assert_eq(bus_pipe_hand_over(lost, loser), 0);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	st_rlx(&a->head->start_time[1], ld_rlx(&mine->head->start_time[1]));
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, 0), -EAGAIN);
		bus_reap(bus);
		bus_pipe_look_at_peer(a);
		cr_assert_eq(peer_state(a), BUS_PIPE_PEER_RESERVED);
	}
	kill(child, SIGKILL);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	cr_assert_eq(peer_state(a), BUS_PIPE_PEER_DEAD);
	t_wait(child);
	t_kill(loser);
	t_gate_close(&gate);
}

/* Ends that nobody comes for ---------------------------------------------- */

/* Make far more pairs than there are channels, and leave each as @leave does.
 */
static void make_many(void (*leave)(int i))
{
	for (int i = 0; i < 2 * (int)BUS_CHANNELS_MAX + 9; i++) {
		struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
		int ret;

		c.slot_bytes = 256;
		ret = bus_pipe(bus, &c, &a, &b);
		cr_assert_eq(ret, 0, "%d: %d", i, ret);
		leave(i);
	}
}

static void leave_a_copy(int i)
{
	t_join(t_fork(exits, NULL));
	if (i % 4 == 0)
		cr_assert_eq(send_n(a, 1, 1, 0), 0);
	if (i % 4 == 1)
		cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN);
	bus_pipe_free(i % 4 == 3 ? a : b);
	bus_pipe_free(i % 4 == 3 ? b : a);
}

Test(pipe_side, ends_that_no_child_has_used_are_taken_back)
{
	make_many(leave_a_copy);
}

static void leave_empty(int i)
{
	if (i == 0)
		return; /* for a child, who comes late */
	t_join(t_fork(exits, NULL));
	cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN);
	free_pair();
}

static size_t late_len = 30;

static int comes_late(void *arg)
{
	struct bus_pipe **late = arg;

	t_gate_wait((struct t_gate *)late[1]);
	recv_n(late[0], late_len, 3);
	T_CHECK(bus_pipe_recv(late[0], in, 1, NULL, 0) == -EPIPE);
	return 0;
}

/* While there is a child it may still use what it has inherited. */
Test(pipe_side, what_a_child_may_still_receive_is_not_taken_back)
{
	struct bus_pipe *late[2];
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	late[0] = b;
	late[1] = (void *)&gate;
	child = t_fork(comes_late, late);
	cr_assert_eq(send_n(a, late_len, 3, 0), 0);
	free_pair();
	make_many(leave_empty);
	t_gate_open(&gate);
	t_join(child);
	t_gate_close(&gate);
}

Test(pipe_side, names_that_nobody_comes_to_are_taken_back)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *kept;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "kept", &c, 0, &kept), 0);
	cr_assert_eq(bus_pipe_open(bus, "mail", &c, 0, &a), 0);
	cr_assert_eq(send_n(a, 30, 3, 0), 0);
	bus_pipe_free(a);
	for (int i = 0; i < 2 * (int)BUS_CHANNELS_MAX + 9; i++) {
		char name[16];

		snprintf(name, sizeof(name), "job%d", i);
		c.flags = i % 3 == 0 ? BUS_PIPE_SIMPLEX : 0;
		cr_assert_eq(bus_pipe_open(bus, name, &c, i % 2, &a), 0, "%d",
			     i);
		bus_pipe_free(a);
	}
	/* but not what may be received, nor what is open */
	cr_assert_eq(bus_pipe_open(bus, "mail", NULL, 1, &b), 0);
	recv_n(b, 30, 3);
	cr_assert_eq(bus_pipe_open(bus, "kept", NULL, 1, &b), 0);
	send_over(kept, b);
}

/* Its writer was killed before it was counted. */
Test(pipe_side, a_record_in_the_line_is_not_taken_back)
{
	struct bus_pipe *late[2];
	struct t_gate gate;
	pid_t child;
	void *room;

	t_gate_init(&gate);
	pair(256);
	late_len = 20;
	late[0] = b;
	late[1] = (void *)&gate;
	child = t_fork(comes_late, late);
	cr_assert_eq(bus_pipe_use(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(sb_spsc_room(&a->tx, late_len, &room), 0);
	cr_assert(in_line(room));
	t_fill(room, late_len, 3);
	sb_spsc_publish(&a->tx, late_len, BUS_REC_PLAIN);
	free_pair();
	make_many(leave_empty);
	t_gate_open(&gate);
	t_join(child);
	t_gate_close(&gate);
}
