/*
 * test_pipe_recv.c - tests of bus/pipe_recv.c: copied or in place, and what is
 * said of half a message; Criterion suite "pipe_recv"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/bus/t_pipe.h"

TestSuite(pipe_recv, .init = setup, .fini = teardown, .timeout = 200.0);

/* Polling ----------------------------------------------------------------- */

Test(pipe_recv, poll_waits_as_long_as_told)
{
	FOR_EACH_WAIT {
		uint64_t start = sb_now_ns();

		pair(256);
		cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
		cr_assert_eq(bus_pipe_poll(b, 20 * MS), -ETIMEDOUT);
		cr_assert_geq(ms_since(start), 20);
		cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, 0), -EAGAIN);
		cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, MS), -ETIMEDOUT);
		cr_assert_eq(send_n(a, 5, 1, 0), 0);
		for (int i = 0; i < 3; i++)
			cr_assert_eq(bus_pipe_poll(b, i * MS - MS), 0);
		recv_n(b, 5, 1);
		cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
	}
}

Test(pipe_recv, poll_is_true_at_the_end)
{
	pair(256);
	cr_assert_eq(send_n(a, 5, 1, 0), 0);
	bus_pipe_free(a);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_pipe_poll(b, 0), 0);
	recv_n(b, 5, 1);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_pipe_poll(b, 0), 0);
		cr_assert_eq(bus_pipe_poll(b, -1), 0);
		cr_assert_eq(bus_pipe_recv(b, in, 10, NULL, 0), -EPIPE);
	}
}

/* Buffers that are too small ---------------------------------------------- */

Test(pipe_recv, a_message_that_does_not_fit_stays)
{
	static const size_t len[] = { 1, 8, 100, 240, 241, 400, 432 };

	for (size_t i = 0; i < lengthof(len); i++) {
		size_t got = 0;

		pair(256);
		cr_assert_eq(send_n(a, len[i], i, 0), 0, "%zu", len[i]);
		memset(in, 0x5a, sizeof(in));
		for (int k = 0; k < 3; k++) {
			cr_assert_eq(bus_pipe_recv(b, in, len[i] - 1, &got, 0),
				     -EMSGSIZE);
			cr_assert_eq(got, len[i]);
			cr_assert_eq(in[0], 0x5a);
		}
		cr_assert_eq(bus_pipe_recv(b, NULL, 0, NULL, 0), -EMSGSIZE);
		cr_assert_eq(bus_pipe_poll(b, 0), 0);
		/* the other direction goes on */
		cr_assert_eq(send_n(b, 9, 9, 0), 0);
		recv_n(a, 9, 9);
		recv_n(b, len[i], i);
		free_pair();
	}
}

/* Many at a time ---------------------------------------------------------- */

Test(pipe_recv, recv_many_stops_before_what_does_not_fit)
{
	size_t len[10];

	pair(256);
	for (uint64_t i = 0; i < 3; i++)
		cr_assert_eq(send_n(a, 8, i, 0), 0);
	cr_assert_eq(send_n(a, 9, 3, 0), 0);
	cr_assert_eq(send_n(a, 7, 4, 0), 0);
	cr_assert_eq(send_n(a, 300, 5, 0), 0);
	cr_assert_eq(bus_pipe_recv_many(b, in, 8, 10, NULL, 0), 3);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_pipe_recv_many(b, in, 8, 10, NULL, T_LONG),
			     -EMSGSIZE);
	cr_assert_eq(bus_pipe_recv_many(b, in, 8, 10, len, 0), -EMSGSIZE);
	cr_assert_eq(bus_pipe_recv_many(b, in, 9, 10, len, 0), 2);
	cr_assert_eq(len[0], 9);
	cr_assert_eq(len[1], 7);
	cr_assert(t_is(in, 9, 3) && t_is(in + 9, 7, 4));
	cr_assert_eq(bus_pipe_recv_many(b, in, 9, 10, len, 0), -EMSGSIZE);
	cr_assert_eq(bus_pipe_recv_many(b, in, 301, 10, NULL, 0), -EMSGSIZE);
	cr_assert_eq(bus_pipe_recv_many(b, in, 300, 10, NULL, 0), 1);
	cr_assert(t_is(in, 300, 5));
	bus_pipe_free(a);
	cr_assert_eq(bus_pipe_recv_many(b, in, 300, 10, NULL, -1), -EPIPE);
	cr_assert_eq(bus_pipe_send_many(b, in, 300, 10, -1), -EPIPE);
}

/* A message of which the rest never comes, a byte at a time. */
static int dribble(void *ctx, struct bus_pipe *end)
{
	struct bus_part part;

	(void)ctx;
	usleep(150000);
	T_CHECK(bus_pipe_loan(end, 1 << 20, &part, 0) == 0);
	part.len_bytes = 1;
	T_CHECK(bus_pipe_commit(end, &part) == 0);
	pause();
	return 0;
}

/* How long a receive with a limit of 250 ms takes of one. */
static double receives_a_dribble_ms(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t start;
	double ms;
	pid_t pid;

	c.profile = BUS_PIPE_LATENCY;
	cr_assert_eq(bus_pipe_spawn(bus, &c, dribble, NULL, &a, &pid), 0);
	start = sb_now_ns();
	cr_assert_eq(bus_pipe_recv_many(a, in, 1 << 20, 1, NULL, 250 * MS),
		     -ETIMEDOUT);
	ms = ms_since(start);
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	bus_pipe_free(a);
	return ms;
}

/* Once for the first byte and once for the rest it would be 400 ms. */
Test(pipe_recv, receiving_of_one_length_takes_its_time_once)
{
	double ms = receives_a_dribble_ms();

	for (int i = 0; i < 20 && ms >= 350; i++)
		ms = receives_a_dribble_ms();
	cr_assert_lt(ms, 350);
}

/* In place ---------------------------------------------------------------- */

Test(pipe_recv, peek_says_the_same_until_release)
{
	struct bus_part p, q;

	pair(256);
	cr_assert_eq(bus_pipe_peek(b, &p, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_peek(b, &p, MS), -ETIMEDOUT);
	cr_assert_eq(send_n(a, 50, 1, 0), 0);
	cr_assert_eq(send_n(a, 50, 2, 0), 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_pipe_peek(b, &p, 0), 0);
		cr_assert(p.len_bytes == 50 && p.total_bytes == 50);
		cr_assert(t_is(p.data, 50, 1));
	}
	q = p;
	cr_assert_eq(bus_pipe_release(b, &p), 0);
	cr_assert_eq(bus_pipe_release(b, &q), -EINVAL);
	cr_assert_eq(bus_pipe_peek(b, &p, 0), 0);
	cr_assert(t_is(p.data, 50, 2));
	/* a recv takes it, and then there is nothing to release */
	recv_n(b, 50, 2);
	cr_assert_eq(bus_pipe_release(b, &p), -EINVAL);
	cr_assert_eq(bus_pipe_peek(b, &p, 0), -EAGAIN);
	cr_assert_eq(t_pipe_stats(b).n_received, 2);
}

Test(pipe_recv, a_large_message_is_peeked_in_parts)
{
	struct bus_part part;
	size_t done = 0;
	int n = 0;

	pair(256);
	cr_assert_eq(send_n(a, 430, 3, 0), 0);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
	while (done < 430) {
		cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
		cr_assert_eq(part.offset_bytes, done);
		cr_assert_eq(part.total_bytes, 430);
		memcpy(in + done, part.data, part.len_bytes);
		done += part.len_bytes;
		cr_assert_eq(bus_pipe_release(b, &part), 0);
		n++;
		/* the rest of it is not a message */
		if (done < 430)
			cr_assert_eq(bus_pipe_recv(b, in + 500, 430, NULL, 0),
				     -EBUSY);
	}
	cr_assert_geq(n, 2);
	cr_assert(t_is(in, 430, 3));
	cr_assert_eq(t_pipe_stats(b).n_received, 1);
	cr_assert_eq(send_n(a, 5, 1, 0), 0);
	recv_n(b, 5, 1);
}

Test(pipe_recv, a_part_that_was_taken_otherwise_cannot_be_released)
{
	struct bus_part part, old;

	pair(256);
	for (uint64_t i = 0; i < 20; i++) {
		/* A part of a message is kept, and shown ... */
		cr_assert_eq(send_n(a, 1000, 2 * i, 0), -EAGAIN);
		cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), NULL, 0),
			     -EAGAIN);
		cr_assert_eq(bus_pipe_peek(b, &old, 0), 0);
		/* ... and the next one is, and may be at the same place. */
		cr_assert_eq(send_n(a, 1000, 2 * i + 1, 0), -EAGAIN);
		cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), NULL, 0),
			     -EAGAIN);
		part = old;
		cr_assert_eq(bus_pipe_release(b, &part), -EINVAL);
		cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
		cr_assert_eq(bus_pipe_release(b, &part), 0);
	}
}

/* Half messages ----------------------------------------------------------- */

Test(pipe_recv, a_recv_that_times_out_in_the_middle_goes_on)
{
	struct bus_part part;
	size_t done = 0, len = 0;
	int n = 0;

	pair(256);
	t_fill(out, 5000, 1);
	while (done < 5000) {
		cr_assert_eq(bus_pipe_loan(a, 5000, &part, 0), 0);
		memcpy(part.data, out + done, part.len_bytes);
		done += part.len_bytes;
		cr_assert_eq(bus_pipe_commit(a, &part), 0);
		if (done == 5000)
			break;
		memset(in, 0, sizeof(in)); /* another buffer, so to speak */
		cr_assert_eq(bus_pipe_recv(b, in, 5000 + (size_t)n, &len,
					   n % 3 ? 0 : 1000),
			     n % 3 ? -EAGAIN : -ETIMEDOUT);
		n++;
	}
	cr_assert_gt(n, 5);
	cr_assert_eq(bus_pipe_recv(b, in, 4999, &len, 0), -EMSGSIZE);
	cr_assert_eq(len, 5000);
	recv_n(b, 5000, 1);
}

Test(pipe_recv, peek_shows_what_recv_has_kept)
{
	struct bus_part part, lent;
	size_t done = 0;

	pair(256);
	t_fill(out, 600, 1);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(bus_pipe_loan(a, 600, &part, 0), 0);
		memcpy(part.data, out + done, part.len_bytes);
		done += part.len_bytes;
		cr_assert_eq(bus_pipe_commit(a, &part), 0);
	}
	cr_assert_eq(bus_pipe_recv(b, in, 600, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
	cr_assert_eq(part.offset_bytes, 0);
	cr_assert_eq(part.len_bytes, done);
	cr_assert_eq(part.total_bytes, 600);
	cr_assert_eq(memcmp(part.data, out, done), 0);
	cr_assert_eq(bus_pipe_release(b, &part), 0);
	cr_assert_eq(bus_pipe_release(b, &part), -EINVAL);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_loan(a, 600, &lent, 0), 0);
	memcpy(lent.data, out + done, lent.len_bytes);
	cr_assert_eq(bus_pipe_commit(a, &lent), 0);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
	cr_assert_eq(part.offset_bytes, done);
	cr_assert_eq(memcmp(part.data, out + done, part.len_bytes), 0);
	cr_assert_eq(bus_pipe_release(b, &part), 0);
}

Test(pipe_recv, an_end_closed_in_the_middle_of_a_message_is_just_the_end)
{
	pair(256);
	cr_assert_eq(send_n(a, 30, 1, 0), 0);
	half(1000);
	bus_pipe_free(a);
	recv_n(b, 30, 1);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, -1), -EPIPE);
}

/* Half messages of the dead ----------------------------------------------- */

static int dies_in_the_middle(void *arg)
{
	T_CHECK(send_n(a, 30, 1, 0) == 0);
	half(1500);
	if (arg)
		t_gate_open(arg);
	kill(getpid(), SIGKILL);
	return 0;
}

/* Who only tries looks for a death now and then; and all is over when it is
 * told. */
static void check_tries(void)
{
	int ret = bus_pipe_recv(b, in, 1500, NULL, 0);

	if (ret == -EAGAIN) {
		cr_assert_eq(bus_reap(bus), 1);
		cr_assert_eq(bus_pipe_poll(b, 0), 0);
		ret = bus_pipe_recv(b, in, 1500, NULL, 0);
	}
	cr_assert_eq(ret, -EOWNERDEAD);
}

Test(pipe_recv, a_writer_that_dies_in_the_middle_of_a_message_is_told_once)
{
	struct bus_part part;
	size_t len;

	FOR_EACH_WAIT {
		for (int how = 0; how < 4; how++) {
			pid_t child;

			pair(256);
			child = t_fork(dies_in_the_middle, NULL);
			recv_n(b, 30, 1);
			if (how == 0) {
				cr_assert_eq(bus_pipe_recv(b, in, 1500, NULL,
							   T_LONG),
					     -EOWNERDEAD);
			} else if (how == 1) { /* the buffer comes first */
				cr_assert_eq(bus_pipe_recv(b, in, 1499, &len,
							   T_LONG),
					     -EMSGSIZE);
				cr_assert_eq(len, 1500);
				cr_assert_eq(bus_pipe_recv(b, in, 1500, NULL,
							   T_LONG),
					     -EOWNERDEAD);
			} else if (how == 2) {
				cr_assert_eq(bus_pipe_peek(b, &part, T_LONG),
					     0);
				cr_assert_eq(bus_pipe_release(b, &part), 0);
				cr_assert_eq(bus_pipe_peek(b, &part, T_LONG),
					     -EOWNERDEAD);
			} else {
				t_wait(child);
				child = 0;
				check_tries();
			}
			for (int i = 0; i < 3; i++)
				cr_assert_eq(
					bus_pipe_recv(b, in, 1500, NULL, -1),
					-EPIPE);
			cr_assert_eq(send_n(b, 3, 3, -1), -EPIPE);
			cr_assert_eq(t_pipe_stats(b).peer_state,
				     BUS_PIPE_PEER_DEAD);
			if (child) {
				cr_assert_eq(t_pipe_stats(b).peer_pid, child);
				t_wait(child);
			}
			free_pair();
		}
	}
}

static int opens_and_dies(void *arg)
{
	T_CHECK(bus_pipe_open(bus, "p", NULL, 0, &a) == 0);
	T_CHECK(send_n(a, 30, 1, 0) == 0);
	half(1500);
	if (arg)
		t_gate_wait(arg);
	kill(getpid(), SIGKILL);
	return 0;
}

static int opens_and_leaves(void *arg)
{
	(void)arg;
	T_CHECK(bus_pipe_open(bus, "p", NULL, 0, &a) == 0);
	bus_pipe_free(a); /* and has not sent anything */
	return 0;
}

/* Who opens a dead one's side and says nothing does not hide the death. */
Test(pipe_recv, a_half_message_is_told_also_if_another_came_and_went)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 1024;
	for (int i = 0; i < 4; i++) {
		struct t_gate seen;
		pid_t child;

		cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
		t_gate_init(&seen);
		child = t_fork(opens_and_dies, &seen);
		recv_n(b, 30, 1);
		if (i & 1)
			cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0),
				     -EAGAIN);
		t_gate_open(&seen);
		t_wait(child);
		t_gate_close(&seen);
		t_join(t_fork(opens_and_leaves, NULL));
		if (i & 2) {
			cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
			cr_assert_eq(send_n(a, 40, 5, 0), 0);
		}
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, T_LONG),
			     -EOWNERDEAD);
		if (i & 2) {
			recv_n(b, 40, 5);
			bus_pipe_free(a);
		}
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, T_LONG), -EPIPE);
		bus_pipe_free(b);
	}
}

/* Side 1 of the pipe "p", with half a message of one who died. */
static void half_of_a_dead_one(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 1024;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	t_wait(t_fork(opens_and_dies, NULL));
	recv_n(b, 30, 1);
	cr_assert_geq(bus_reap(bus), 0);
	cr_assert_eq(peer_state(b), BUS_PIPE_PEER_DEAD);
}

/* Nor does he while he is there. */
Test(pipe_recv, a_half_message_is_told_also_if_another_is_there_and_silent)
{
	for (int how = 0; how < 4; how++) {
		half_of_a_dead_one();
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		if (how == 1)
			cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
		cr_assert_eq(peer_state(b), BUS_PIPE_PEER_OPEN);
		if (how == 2) { /* his death hides it no more than his life */
			bus_pipe_free(a);
			t_wait(t_fork(opens_and_leaves, NULL));
			cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		}
		cr_assert_eq(bus_pipe_poll(b, 0), 0);
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0), -EOWNERDEAD);
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0),
			     how == 1 ? -EPIPE : -EAGAIN);
		if (how != 1) { /* what he sends then is no death */
			half(1500);
			cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0),
				     -EAGAIN);
			cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
			cr_assert_eq(bus_pipe_cancel(a), 0);
			cr_assert_eq(send_n(a, 40, 5, 0), 0);
			recv_n(b, 40, 5);
		}
		bus_pipe_free(a);
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0), -EPIPE);
		bus_pipe_free(b);
	}
}

/* To open a dead one's side and fail hides nothing either. */
Test(pipe_recv, a_half_message_is_told_also_if_another_could_not_come)
{
	half_of_a_dead_one();
	b->head->profile = 99;
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), -EPROTO);
	b->head->profile = 0;
	cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0), -EOWNERDEAD);
	cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0), -EPIPE);
	bus_pipe_free(b);
}

static int sleeps_for_the_rest(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	int ret;

	c.slot_bytes = 1024;
	T_CHECK(bus_pipe_open(bus, "p", &c, 1, &b) == 0);
	t_gate_open(arg);
	recv_n(b, 30, 1);
	t_gate_open(arg);
	ret = bus_pipe_recv(b, in, 2000, NULL, T_LONG);
	return ret == -EOWNERDEAD ? 0 : 1;
}

static int opens_and_keeps_half(void *arg)
{
	T_CHECK(bus_pipe_open(bus, "p", NULL, 0, &a) == 0);
	T_CHECK(send_n(a, 30, 1, 0) == 0);
	half(1500);
	t_gate_open(arg);
	pause();
	return 0;
}

/* The reader sleeps, and is slower to wake than another is to come. */
Test(pipe_recv, a_half_message_is_told_also_if_another_is_faster)
{
	struct t_gate ready;
	pid_t reader, writer;
	int status;

	FOR_EACH_WAIT {
		t_gate_init(&ready);
		reader = t_fork(sleeps_for_the_rest, &ready);
		t_gate_wait(&ready);
		writer = t_fork(opens_and_keeps_half, &ready);
		t_gate_wait(&ready);
		t_gate_wait(&ready);
		t_wait_asleep(reader);
		kill(reader, SIGSTOP);
		cr_assert_eq(waitpid(reader, &status, WUNTRACED), reader);
		t_kill(writer);
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		kill(reader, SIGCONT);
		t_join(reader);
		bus_pipe_free(a);
		t_gate_close(&ready);
	}
}

Test(pipe_recv, a_named_side_can_be_opened_again_after_a_death)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 1024;
	FOR_EACH_WAIT {
		cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
		for (int i = 0; i < 12; i++) {
			pid_t child = t_fork(opens_and_dies, NULL);

			/* until the child has opened it, it is the end */
			while (t_pipe_stats(b).peer_pid != child)
				sched_yield();
			if (i % 3 == 0) { /* all is read before */
				recv_n(b, 30, 1);
				cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL,
							   T_LONG),
					     -EOWNERDEAD);
			}
			t_wait(child);
			if (i % 3 == 1) { /* half of it */
				recv_n(b, 30, 1);
				cr_assert_eq(
					bus_pipe_recv(b, in, 2000, NULL, 0),
					-EAGAIN);
			}
			cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
			cr_assert_eq(send_n(a, i % 2 ? 40 : 300, 5, 0), 0);
			if (i % 3 == 2)
				recv_n(b, 30, 1);
			if (i % 3)
				cr_assert_eq(
					bus_pipe_recv(b, in, 2000, NULL, 0),
					-EOWNERDEAD);
			recv_n(b, i % 2 ? 40 : 300, 5);
			bus_pipe_free(a);
		}
		bus_pipe_free(b);
	}
}
