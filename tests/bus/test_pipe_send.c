/*
 * test_pipe_send.c - tests of bus/pipe_send.c: messages of all lengths, and
 * what they come out as; loans; room; Criterion suite "pipe_send"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/bus/t_pipe.h"

TestSuite(pipe_send, .init = setup, .fini = teardown, .timeout = 200.0);

/* What goes through ------------------------------------------------------- */

Test(pipe_send, a_duplex_pipe_goes_both_ways)
{
	pair(256);
	for (uint64_t i = 0; i < 1000; i++) {
		cr_assert_eq(send_n(a, i % 100, i, 0), 0);
		cr_assert_eq(send_n(b, i % 90, i, 0), 0);
		recv_n(b, i % 100, i);
		recv_n(a, i % 90, i);
	}
	cr_assert_eq(t_pipe_stats(a).n_sent, 1000);
	cr_assert_eq(t_pipe_stats(a).n_received, 1000);
	cr_assert_eq(t_pipe_stats(b).n_sent, 1000);
	cr_assert_eq(t_stats(bus).n_put, 2000);
	cr_assert_eq(t_stats(bus).n_got, 2000);
}

Test(pipe_send, a_simplex_pipe_goes_one_way)
{
	size_t len;

	t_pipe(bus, BUS_PIPE_LATENCY, BUS_PIPE_SIMPLEX, 0, &a, &b);
	cr_assert_eq(send_n(a, 10, 1, 0), 0);
	recv_n(b, 10, 1);
	cr_assert_eq(send_n(b, 10, 1, 0), -EBADF);
	cr_assert_eq(bus_pipe_recv(a, in, 10, &len, 0), -EBADF);
	cr_assert_eq(bus_pipe_poll(a, 0), -EBADF);
	cr_assert_eq(bus_pipe_exchange(a, out, 1, in, 1, &len, 0), -EBADF);
	cr_assert_eq(t_pipe_stats(a).open, BUS_PIPE_SEND);
	cr_assert_eq(t_pipe_stats(b).open, BUS_PIPE_RECV);
	cr_assert_eq(t_pipe_stats(a).peer_open, BUS_PIPE_RECV);
	cr_assert_eq(t_pipe_stats(b).peer_open, BUS_PIPE_SEND);
}

Test(pipe_send, an_empty_message_is_a_message)
{
	size_t len = 77;

	pair(256);
	cr_assert_eq(bus_pipe_send(a, NULL, 0, 0), 0);
	cr_assert_eq(bus_pipe_send(a, "", 0, 0), 0);
	cr_assert_eq(bus_pipe_recv(b, NULL, 0, &len, 0), 0);
	cr_assert_eq(len, 0);
	cr_assert_eq(bus_pipe_recv(b, NULL, 0, NULL, 0), 0);
	cr_assert_eq(bus_pipe_recv(b, NULL, 0, NULL, 0), -EAGAIN);
}

/* One side in a thread, as large messages need both. */
struct reader {
	struct bus *bus;
	struct bus_pipe *p;
	const size_t *len;
	size_t n;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;

	for (size_t i = 0; i < r->n; i++) {
		size_t got = SIZE_MAX;

		T_CHECK(bus_pipe_recv(r->p, in, sizeof(in), &got, T_LONG) == 0);
		T_CHECK(got == r->len[i]);
		T_CHECK(t_is(in, got, i));
	}
	return NULL;
}

/* Send messages of these lengths from one thread to another. */
static void send_lengths(const size_t *len, size_t n)
{
	struct reader r = { .len = len, .n = n, .p = b };
	pthread_t t;

	cr_assert_eq(bus_attach(bus, &r.bus), 0);
	cr_assert_eq(bus_pipe_move(b, r.bus), 0);
	cr_assert_eq(pthread_create(&t, NULL, read_all, &r), 0);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(send_n(a, len[i], i, T_LONG), 0);
	pthread_join(t, NULL);
	cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
	bus_pipe_free(a);
	bus_close(r.bus);
}

/* Everything around the sizes of a slot, of a fragment, of two slots. */
static void send_around(size_t slot)
{
	static const int edges[] = { -48, -41, -40, -39, -33, -32, -31, -25,
				     -24, -23, -17, -16, -15, -9,  -8,  -7,
				     -1,  0,   1,   7,   8,   9,   24,  40 };
	size_t len[512], n = 0;

	for (size_t k = 1; k <= 6; k++)
		for (size_t i = 0; i < lengthof(edges); i++)
			len[n++] = k * slot / 2 + (size_t)edges[i];
	send_lengths(len, n);
}

Test(pipe_send, messages_around_the_slot_size_arrive_whole)
{
	for (size_t slot = 256; slot <= 65536; slot *= 2) {
		pair(slot);
		send_around(slot);
	}
}

Test(pipe_send, messages_around_a_growing_slot_arrive_whole)
{
	for (size_t slot = 4096; slot <= 1 << 18; slot *= 2) {
		t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, slot, &a, &b);
		send_around(8192);
		t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, slot, &a, &b);
		send_around(slot);
	}
}

Test(pipe_send, all_small_lengths_arrive_whole)
{
	size_t len[1400];

	for (size_t i = 0; i < lengthof(len); i++)
		len[i] = i;
	pair(256);
	send_lengths(len, lengthof(len));
}

Test(pipe_send, messages_of_any_length_mix)
{
	uint64_t seed = 88172645463325252u;
	size_t len[2000];

	for (uint32_t profile = 0; profile <= BUS_PIPE_STREAM; profile++) {
		for (size_t i = 0; i < lengthof(len); i++)
			len[i] = rnd(&seed) % (1u << (1 + rnd(&seed) % 17));
		t_pipe(bus, profile, 0, 0, &a, &b);
		send_lengths(len, lengthof(len));
	}
}

/* A pipe whose laps begin at @first. */
static void pair_at(uint32_t first, uint32_t profile, uint64_t slot)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_PIPE,
					 .profile = profile,
					 .slot_bytes = slot,
					 .first = first };
	struct bus_pipe_head *head;
	uint64_t bytes;
	int idx = bus_channel_make_pipe(bus, "wrap", &spec, 0);

	cr_assert_geq(idx, 0);
	head = bus_channel_pipe(bus, (uint32_t)idx, &bytes);
	cr_assert_eq(bus_pipe_open(bus, "wrap", NULL, 1, &b), 0);
	/* nobody's, so that there may be a handle */
	st_rel(&head->side[0], bus_side_word(0, ld_rlx(&head->side[0]), 0));
	cr_assert_eq(bus_pipe_open(bus, "wrap", NULL, 0, &a), 0);
}

Test(pipe_send, laps_wrap)
{
	for (uint32_t before = 0; before < 6; before++) {
		pair_at(UINT32_MAX - before, BUS_PIPE_LATENCY, 256);
		for (uint64_t i = 0; i < 200; i++) {
			cr_assert_eq(send_n(a, i % 60, i, 0), 0);
			recv_n(b, i % 60, i);
		}
		free_pair();
	}
	pair_at(UINT32_MAX - 3, BUS_PIPE_ADAPTIVE, 1 << 16);
	for (uint64_t i = 0; i < 200; i++) {
		cr_assert_eq(send_n(a, 3000, i, 0), 0);
		recv_n(b, 3000, i);
	}
}

Test(pipe_send, many_go_at_once)
{
	uint64_t v[100], r[100];
	size_t len[100];

	pair(512);
	for (uint64_t i = 0; i < 100; i++)
		v[i] = i;
	cr_assert_eq(bus_pipe_send_many(a, v, 8, 0, 0), 0);
	cr_assert_eq(bus_pipe_recv_many(b, r, 8, 0, NULL, 0), 0);
	cr_assert_eq(bus_pipe_recv_many(b, r, 8, 9, NULL, 0), -EAGAIN);
	for (size_t sent = 0, got = 0; got < 100;) {
		int n = sent < 100 ? bus_pipe_send_many(a, v + sent, 8,
							100 - sent, 0)
				   : 0;

		cr_assert(n > 0 || n == -EAGAIN || sent == 100);
		sent += n > 0 ? (size_t)n : 0;
		n = bus_pipe_recv_many(b, r + got, 8, 7, got % 2 ? len : NULL,
				       0);
		cr_assert(n > 0 && n <= 7);
		for (int i = 0; i < n && got % 2; i++)
			cr_assert_eq(len[i], 8);
		got += (size_t)n;
	}
	cr_assert_eq(memcmp(v, r, sizeof(v)), 0);
	cr_assert_eq(t_pipe_stats(a).n_sent, 100);
	cr_assert_eq(t_pipe_stats(b).n_received, 100);
}

/* Loans ------------------------------------------------------------------- */

Test(pipe_send, a_loan_is_committed_or_cancelled)
{
	struct bus_part part, old;

	pair(256);
	cr_assert_eq(bus_pipe_loan(a, 100, &part, 0), 0);
	cr_assert_eq(part.len_bytes, 100);
	cr_assert_eq(part.offset_bytes, 0);
	cr_assert_eq(part.total_bytes, 100);
	cr_assert_eq(bus_pipe_recv(b, in, 100, NULL, 0), -EAGAIN);
	cr_assert_eq(send_n(a, 1, 1, 0), -EBUSY);
	cr_assert_eq(bus_pipe_loan(a, 100, &old, 0), -EBUSY);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(bus_pipe_commit(a, &part), -EINVAL);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(bus_pipe_recv(b, in, 100, NULL, 0), -EAGAIN);

	cr_assert_eq(bus_pipe_loan(a, 100, &part, 0), 0);
	part.len_bytes = 101;
	cr_assert_eq(bus_pipe_commit(a, &part), -EINVAL);
	part.len_bytes = 60;
	t_fill(part.data, 60, 5);
	old = part;
	cr_assert_eq(bus_pipe_commit(a, &part), 0);
	cr_assert_null(part.data);
	cr_assert_eq(bus_pipe_commit(a, &old), -EINVAL);
	recv_n(b, 60, 5);
	cr_assert_eq(bus_pipe_loan(a, 0, &part, 0), 0);
	cr_assert_eq(bus_pipe_commit(a, &part), 0);
	recv_n(b, 0, 0);
}

/* Send one message by parts; the other end receives between them. */
static void send_parts(size_t total, uint64_t i, size_t least)
{
	struct bus_part part;
	size_t done = 0, got;
	int n = 0;

	t_fill(out, total, i);
	while (done < total) {
		cr_assert_eq(bus_pipe_loan(a, total, &part, 0), 0);
		cr_assert_eq(part.offset_bytes, done);
		cr_assert_eq(part.total_bytes, total);
		cr_assert_leq(part.len_bytes, total - done);
		if (least && part.len_bytes > least && n++ % 2)
			part.len_bytes = least; /* less is fine, too */
		memcpy(part.data, out + done, part.len_bytes);
		done += part.len_bytes;
		cr_assert_eq(bus_pipe_commit(a, &part), 0);
		if (done < total) {
			cr_assert_eq(bus_pipe_loan(a, total + 1, &part, 0),
				     -EINVAL);
			cr_assert_eq(send_n(a, 1, 1, 0), -EBUSY);
			t_fill(out, total, i);
			cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), &got, 0),
				     -EAGAIN);
		}
	}
	recv_n(b, total, i);
}

Test(pipe_send, a_large_message_is_lent_in_parts)
{
	pair(256);
	for (size_t total = 1; total < 2000; total += 13)
		send_parts(total, total, 0);
	send_parts(100000, 7, 0);
	for (size_t total = 300; total < 1000; total += 77)
		send_parts(total, total, 1 + total % 50);
	free_pair();
	t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, 1 << 16, &a, &b);
	for (size_t total = 1; total < 600000; total = total * 3 + 1)
		send_parts(total, total, 0);
}

Test(pipe_send, a_loan_of_what_fits_a_slot_is_one_part)
{
	static const size_t slots[] = { 256, 4096, 8192, 1 << 20 };
	struct bus_part part;

	for (size_t i = 0; i < lengthof(slots); i++)
		for (uint32_t profile = 0; profile < 2; profile++) {
			size_t total = slots[i] - 16;

			t_pipe(bus, profile, 0, slots[i], &a, &b);
			cr_assert_eq(bus_pipe_loan(a, total, &part, 0), 0);
			cr_assert_eq(part.len_bytes, total);
			t_fill(part.data, total, i);
			cr_assert_eq(bus_pipe_commit(a, &part), 0);
			cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
			cr_assert_eq(part.len_bytes, total);
			cr_assert(t_is(part.data, total, i));
			cr_assert_eq(bus_pipe_release(b, &part), 0);
			free_pair();
		}
}

/* -EPIPE, and the part is not on loan any more. */
Test(pipe_send, what_is_committed_after_the_reader_has_left_goes_nowhere)
{
	struct bus *own = t_bus();
	struct bus_part part;
	struct bus_pipe *tx, *rx;

	t_pipe(own, 0, 0, 0, &tx, &rx);
	cr_assert_eq(bus_pipe_send(tx, "x", 1, 0), 0);
	cr_assert_eq(bus_pipe_loan(tx, 100, &part, 0), 0);
	bus_pipe_free(rx);
	cr_assert_eq(bus_pipe_commit(tx, &part), -EPIPE);
	cr_assert_null(part.data);
	cr_assert_eq(bus_pipe_commit(tx, &part), -EINVAL);
	cr_assert_eq(bus_pipe_loan(tx, 100, &part, 0), -EPIPE);
	bus_pipe_free(tx);
	bus_close(own);
}

static bool is_room(struct bus_pipe *p)
{
	struct bus_poll it = { .kind = BUS_POLL_PIPE,
			       .events = BUS_POLL_OUT,
			       .on.pipe = p };

	return bus_wait(bus, &it, 1, 0) == 1 && it.ready == BUS_POLL_OUT;
}

Test(pipe_send, to_ask_for_room_leaves_a_loan_where_it_is)
{
	struct bus_part part;

	/* The short way, then a part of a larger message. */
	for (size_t len = 100; len < 20000; len += 11900) {
		size_t part_len;

		pair(8192);
		cr_assert_eq(send_n(a, 7500, 1, 0), 0);
		cr_assert_eq(bus_pipe_loan(a, len, &part, 0), 0);
		part_len = part.len_bytes;
		t_fill(part.data, part_len, 2);
		cr_assert(is_room(a));
		cr_assert_eq(bus_pipe_commit(a, &part), 0);
		recv_n(b, 7500, 1);
		cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
		cr_assert_eq(part.len_bytes, part_len);
		cr_assert(t_is(part.data, part_len, 2));
		cr_assert_eq(bus_pipe_release(b, &part), 0);
		cr_assert_eq(bus_pipe_cancel(a), 0);
		bus_pipe_free(a);
		bus_pipe_free(b);
	}
}

/* Send by loans, the message number @i. */
static void lend_n(size_t len, uint64_t i)
{
	struct bus_part part;

	t_fill(out, len, i);
	for (size_t done = 0; done < len; done += part.len_bytes) {
		int ret = bus_pipe_loan(a, len, &part, 0);

		if (ret == -EAGAIN) { /* make room */
			cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), NULL, 0),
				     -EAGAIN);
			ret = bus_pipe_loan(a, len, &part, 0);
		}
		cr_assert_eq(ret, 0);
		cr_assert_eq(part.offset_bytes, done);
		memcpy(part.data, out + done, part.len_bytes);
		cr_assert_eq(bus_pipe_commit(a, &part), 0);
	}
}

Test(pipe_send, each_large_message_by_loans_begins_at_its_begin)
{
	struct bus_part part;

	pair(8192);
	for (uint64_t i = 0; i < 20; i++) {
		size_t len = 9000 + i % 3 * 1500;

		lend_n(len, i);
		recv_n(b, len, i);
	}
	/* Also after one that was given up, and a smaller one then. */
	cr_assert_eq(bus_pipe_loan(a, 12000, &part, 0), 0);
	cr_assert_eq(bus_pipe_commit(a, &part), 0);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), NULL, 0), -EAGAIN);
	lend_n(9000, 5);
	recv_n(b, 9000, 5);
}

Test(pipe_send, a_loan_for_more_than_there_can_be_is_refused)
{
	struct bus_part part;

	pair(256);
	cr_assert_eq(bus_pipe_loan(a, SIZE_MAX, &part, 0), -EMSGSIZE);
	cr_assert_eq(bus_pipe_loan(a, SIZE_MAX / 2 + 1, &part, 0), -EMSGSIZE);
	cr_assert_eq(bus_pipe_loan(a, SIZE_MAX / 2, &part, 0), 0);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	lend_n(100, 1);
	recv_n(b, 100, 1);
}

/* Room -------------------------------------------------------------------- */

Test(pipe_send, a_full_pipe_says_so_and_loses_nothing)
{
	uint64_t n = 0, start;

	pair(256);
	while (!send_n(a, 40, n, 0))
		n++;
	cr_assert_geq(n, 8);
	cr_assert_eq(send_n(a, 40, n, 0), -EAGAIN);
	start = sb_now_ns();
	cr_assert_eq(send_n(a, 40, n, 20 * MS), -ETIMEDOUT);
	cr_assert_geq(ms_since(start), 20);
	for (uint64_t i = 0; i < n; i++)
		recv_n(b, 40, i);
	cr_assert_eq(bus_pipe_recv(b, in, 40, NULL, 0), -EAGAIN);
	cr_assert_eq(send_n(a, 40, n, 0), 0);
	recv_n(b, 40, n);
}

Test(pipe_send, a_slot_that_was_read_is_room)
{
	for (int how = 0; how < 4; how++) {
		struct bus_part part;
		int n = 0, n_back = 0;

		pair(8192);
		while (send_n(a, 1000, 1, 0) == 0)
			n++;
		cr_assert(n >= 10);
		for (; n_back < n / 2; n_back++) {
			cr_assert(!is_room(a));
			if (how == 0) {
				recv_n(b, 1000, 1);
			} else if (how == 1) {
				cr_assert_eq(bus_pipe_recv_many(b, in, 1000, 1,
								NULL, 0),
					     1);
			} else if (how == 2) {
				cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
				cr_assert_eq(bus_pipe_release(b, &part), 0);
			} else { /* the slow way */
				b->rx_gen = BUS_NO_GEN;
				recv_n(b, 1000, 1);
			}
		}
		cr_assert(is_room(a));
		cr_assert_eq(send_n(a, 1000, 2, 0), 0);
		for (; n_back < n; n_back++)
			recv_n(b, 1000, 1);
		recv_n(b, 1000, 2);
		bus_pipe_free(a);
		bus_pipe_free(b);
	}
}

static int send_to_full(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	while (send_n(end, 1000, 1, 0) == 0)
		;
	T_CHECK(send_n(end, 1000, 2, T_LONG) == 0);
	return 0;
}

Test(pipe_send, who_waits_for_room_gets_the_slot_that_was_read)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe_stats s;
	int status;
	pid_t pid;

	c.profile = BUS_PIPE_LATENCY;
	cr_assert_eq(bus_pipe_spawn(bus, &c, send_to_full, NULL, &b, &pid), 0);
	recv_n(b, 1000, 1);
	t_wait_asleep(pid);
	/* No more than the rest of the first slot. */
	s = t_pipe_stats(b);
	for (uint64_t i = s.n_received; i < s.slot_bytes / 1008; i++)
		recv_n(b, 1000, 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

/* Half messages ----------------------------------------------------------- */

Test(pipe_send, a_send_that_times_out_in_the_middle_was_nothing)
{
	pair(256);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(send_n(a, 10000, 1, i % 2 ? MS : 0),
			     i % 2 ? -ETIMEDOUT : -EAGAIN);
		/* the reader may have some of it already */
		if (i > 1)
			cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), NULL, 0),
				     -EAGAIN);
		if (send_n(a, 20, 2, 0) == -EAGAIN) { /* it fills the slots */
			cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), NULL, 0),
				     -EAGAIN);
			cr_assert_eq(send_n(a, 20, 2, 0), 0);
		}
		recv_n(b, 20, 2);
	}
	cr_assert_eq(send_n(a, 10000, 1, 0), -EAGAIN);
	send_between(a, b, 300, 4); /* also in parts */
	recv_n(b, 300, 4);
	cr_assert_eq(t_pipe_stats(a).n_sent, 5);
	cr_assert_eq(t_pipe_stats(b).n_received, 5);
}

Test(pipe_send, a_message_that_is_cancelled_in_the_middle_is_never_seen)
{
	struct bus_part part;

	for (int i = 0; i < 8; i++) {
		pair(256);
		half(1000);
		if (i & 1)
			cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, 0),
				     -EAGAIN);
		if (i & 2)
			cr_assert_eq(bus_pipe_loan(a, 1000, &part, 0), 0);
		cr_assert_eq(bus_pipe_cancel(a), 0);
		if (i & 4) {
			cr_assert_eq(send_n(a, 30, 1, 0), 0);
			recv_n(b, 30, 1);
		} else {
			send_between(a, b, 300, 1);
			recv_n(b, 300, 1);
		}
	}
	/* who peeks sees that another begins */
	pair(256);
	half(1000);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
	cr_assert_eq(part.total_bytes, 1000);
	cr_assert_eq(bus_pipe_release(b, &part), 0);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(send_n(a, 30, 2, 0), 0);
	cr_assert_eq(bus_pipe_peek(b, &part, 0), 0);
	cr_assert_eq(part.offset_bytes, 0);
	cr_assert_eq(part.total_bytes, 30);
	cr_assert_eq(bus_pipe_release(b, &part), 0);
}

/* After a death ----------------------------------------------------------- */

static int leaves_little_room(void *arg)
{
	const size_t *len = arg;

	T_CHECK(bus_pipe_open(bus, "p", NULL, 0, &a) == 0);
	T_CHECK(send_n(a, 1000, 1, 0) == 0); /* the other slot */
	T_CHECK(send_n(a, *len, 2, 0) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

/* He who comes after a death has to say so first. */
Test(pipe_send, room_for_a_quarter_is_room_for_the_mark_too)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	int n_ready = 0, n = 0;

	c.slot_bytes = 1024;
	for (size_t len = 680; len < 800; len += 8, n++) {
		cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
		t_wait(t_fork(leaves_little_room, &len));
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		if (bus_pipe_ready(a, BUS_POLL_OUT, true) & BUS_POLL_OUT) {
			cr_assert_eq(send_n(a, 252, 3, 0), 0, "%zu", len);
			n_ready++;
		}
		free_pair();
	}
	cr_assert(0 < n_ready && n_ready < n);
}

static int end_in_the_middle(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	T_CHECK(bus_pipe_recv(end, in, sizeof(in), NULL, 5000LL * MS) ==
		-EOWNERDEAD);
	return 0;
}

/* The writer died in the middle; the next one lends a part, and takes its time
 * over that. */
Test(pipe_send, a_mark_alone_wakes_the_reader)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_part part;
	int status;
	pid_t pid;

	c.profile = BUS_PIPE_LATENCY;
	cr_assert_eq(bus_pipe_spawn(bus, &c, end_in_the_middle, NULL, &a, &pid),
		     0);
	cr_assert_eq(bus_pipe_loan(a, 1 << 20, &part, 0), 0);
	cr_assert_eq(bus_pipe_commit(a, &part), 0);
	t_wait_asleep(pid);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	a->mark = true; /* as bus_pipe_open() does for that next one */
	bus_pipe_set_ways(a);
	cr_assert_eq(bus_pipe_loan(a, 10, &part, 0), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

/* The line where two directions meet -------------------------------------- */

/* The next message that @p gets came through the line. */
static bool is_met(struct bus_pipe *p)
{
	struct bus_part part;

	cr_assert_eq(bus_pipe_peek(p, &part, 0), 0);
	return in_line(part.data);
}

Test(pipe_send, short_messages_of_a_round_trip_go_through_the_line)
{
	pair(256);
	for (uint64_t i = 0; i < 100; i++) {
		size_t len = i % 25;

		cr_assert_eq(send_n(a, len, i, 0), 0);
		cr_assert(is_met(b));
		recv_n(b, len, i);
		cr_assert_eq(send_n(b, len, i, 0), 0);
		cr_assert(is_met(a));
		recv_n(a, len, i);
	}
	/* a longer one does not, nor what comes before that was popped */
	cr_assert_eq(send_n(a, 25, 1, 0), 0);
	cr_assert(!is_met(b));
	cr_assert_eq(send_n(a, 3, 2, 0), 0);
	recv_n(b, 25, 1);
	cr_assert(!is_met(b));
	recv_n(b, 3, 2);
	free_pair();
}

static int answers(void *arg)
{
	uint64_t seed = 99;

	(void)arg;
	for (uint64_t i = 0; i < 20000; i++) {
		size_t len = rnd(&seed) % 60;

		for (uint64_t k = rnd(&seed) % 4; k--;)
			recv_n(b, rnd(&seed) % 60, i + k);
		T_CHECK(send_n(b, len, i, T_LONG) == 0);
	}
	bus_close(bus);
	return 0;
}

/* One to four messages of many lengths for each answer: the line, the slots,
 * and all ways from the one to the other. */
Test(pipe_send, the_line_and_the_slots_keep_the_order)
{
	FOR_EACH_WAIT {
		uint64_t seed = 99;
		pid_t child;

		pair(512);
		child = t_fork(answers, NULL);
		for (uint64_t i = 0; i < 20000; i++) {
			size_t len = rnd(&seed) % 60;

			for (uint64_t k = rnd(&seed) % 4; k--;)
				cr_assert_eq(send_n(a, rnd(&seed) % 60, i + k,
						    T_LONG),
					     0);
			recv_n(a, len, i);
		}
		t_join(child);
		free_pair();
	}
}

Test(pipe_send, a_new_owner_goes_on_with_the_line)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	for (uint64_t i = 0; i < 200; i++) {
		cr_assert_eq(send_n(a, 8, i, 0), 0);
		cr_assert_eq(send_n(a, 9, i, 0), 0);
		if (i % 3 == 0)
			recv_n(b, 8, i);
		if (i % 2) {
			bus_pipe_free(b);
			cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
		} else {
			bus_pipe_free(a);
			cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		}
		if (i % 3)
			recv_n(b, 8, i);
		recv_n(b, 9, i);
		cr_assert_eq(send_n(b, 7, i, 0), 0);
		recv_n(a, 7, i);
	}
	free_pair();
}
