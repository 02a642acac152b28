/*
 * test_pipe_send.c - tests of bus/pipe_send.c, pipe_recv.c, pipe_exchange.c
 * where calls of different kinds meet; Criterion suite "pipe_send"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/pipe.h"
#include "tests/bus/t_bus.h"

#define MS  1000000
#define BIG (4u << 20)

static struct bus *bus;
static struct bus_pipe *a, *b;
static unsigned char out[BIG], in[BIG];

static void setup(void)
{
	struct bus_config c = t_config();

	c.channel_bytes = 1 << 28;
	bus = t_bus_with(NULL, &c);
}

static void teardown(void)
{
	bus_close(bus);
	t_shm_clean();
}

TestSuite(pipe_send, .init = setup, .fini = teardown, .timeout = 100.0);

static void pair(uint64_t slot_bytes)
{
	t_pipe(bus, BUS_PIPE_LATENCY, 0, slot_bytes, &a, &b);
}

static int send_n(struct bus_pipe *p, size_t len, uint64_t i, int64_t timeout)
{
	t_fill(out, len, i);
	return bus_pipe_send(p, out, len, timeout);
}

static void recv_n(struct bus_pipe *p, size_t len, uint64_t i)
{
	size_t got = 0;

	T_CHECK(bus_pipe_recv(p, in, sizeof(in), &got, T_LONG) == 0);
	T_CHECK(got == len);
	T_CHECK(t_is(in, len, i));
}

static bool is_room(struct bus_pipe *p)
{
	struct bus_poll it = { .kind = BUS_POLL_PIPE,
			       .events = BUS_POLL_OUT,
			       .on.pipe = p };

	return bus_wait(bus, &it, 1, 0) == 1 && it.ready == BUS_POLL_OUT;
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

static double ms_since(uint64_t start)
{
	return (double)(sb_now_ns() - start) / 1e6;
}

/* Loans ------------------------------------------------------------------- */

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

/* Death ------------------------------------------------------------------- */

static int take_all(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	while (!bus_pipe_recv(end, in, sizeof(in), NULL, -1))
		;
	return 0;
}

/* A sender that is never blocked: how many more sends until it knows? */
static int sends_to_a_dead_one(unsigned int pause_us, bool lend)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_part part;
	pid_t pid;
	int n, ret = 0;

	c.flags = BUS_PIPE_SIMPLEX;
	cr_assert_eq(bus_pipe_spawn(bus, &c, take_all, NULL, &a, &pid), 0);
	for (n = 0; n < 300; n++) {
		cr_assert_eq(send_n(a, 1, 1, T_LONG), 0);
		usleep(pause_us);
	}
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	for (n = 0; n < 5000 && !ret; n++) {
		if (lend) {
			ret = bus_pipe_loan(a, 1, &part, T_LONG);
			if (!ret)
				ret = bus_pipe_commit(a, &part);
		} else {
			ret = send_n(a, 1, 1, T_LONG);
		}
		usleep(pause_us);
	}
	cr_assert_eq(ret, -EPIPE);
	bus_pipe_free(a);
	return n;
}

Test(pipe_send, a_sender_that_never_waits_learns_of_a_death)
{
	cr_assert_leq(sends_to_a_dead_one(0, false), 1000);
	cr_assert_leq(sends_to_a_dead_one(2000, false), 4);
	cr_assert_leq(sends_to_a_dead_one(2000, true), 4);
}

/* Exchange ---------------------------------------------------------------- */

static int exchange_small(void *ctx, struct bus_pipe *end)
{
	size_t len = 0;

	(void)ctx;
	T_CHECK(bus_pipe_exchange(end, out, BIG, in, 16, &len, T_LONG) ==
		-EMSGSIZE);
	T_CHECK(len == BIG);
	T_CHECK(bus_pipe_exchange(end, out, BIG, in, BIG, &len, T_LONG) == 0);
	T_CHECK(len == BIG && t_is(in, BIG, 7));
	return 0;
}

Test(pipe_send, two_exchanges_with_too_small_buffers_both_say_so)
{
	pid_t pid;
	int status;
	size_t len = 0;

	t_fill(out, BIG, 7);
	cr_assert_eq(bus_pipe_spawn(bus, NULL, exchange_small, NULL, &a, &pid),
		     0);
	cr_assert_eq(bus_pipe_exchange(a, out, BIG, in, 16, &len, T_LONG),
		     -EMSGSIZE);
	cr_assert_eq(len, BIG);
	cr_assert_eq(bus_pipe_exchange(a, out, BIG, in, BIG, &len, T_LONG), 0);
	cr_assert_eq(len, BIG);
	cr_assert(t_is(in, BIG, 7));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

/* Of 40000 bytes, which do not fit, nothing is received by the peer; that has
 * sent @len before. */
static void begin_exchange(size_t len, int want)
{
	size_t got = SIZE_MAX;

	pair(8192);
	cr_assert_eq(send_n(b, len, 3, 0), 0);
	t_fill(out, 40000, 1);
	memset(in, 0, 100);
	cr_assert_eq(bus_pipe_exchange(a, out, 40000, in, 100, &got, 0), want);
}

Test(pipe_send, what_an_exchange_has_received_is_not_lost)
{
	struct bus_part part;
	size_t len;

	for (len = 0; len < 100; len += 33) {
		/* The peer goes. */
		begin_exchange(len, -EAGAIN);
		cr_assert_eq(bus_pipe_close(b, BUS_PIPE_SEND | BUS_PIPE_RECV),
			     0);
		cr_assert_eq(bus_pipe_exchange(a, out, 40000, in, 100, NULL, 0),
			     -EPIPE);
		cr_assert_eq(bus_pipe_poll(a, 0), 0);
		recv_n(a, len, 3);
		cr_assert_eq(bus_pipe_recv(a, in, 100, NULL, 0), -EPIPE);
		bus_pipe_free(a);
		bus_pipe_free(b);
		/* We give up, and look at it in place. */
		begin_exchange(len, -EAGAIN);
		cr_assert_eq(bus_pipe_cancel(a), 0);
		cr_assert_eq(send_n(b, 5, 4, 0), 0);
		cr_assert_eq(bus_pipe_peek(a, &part, 0), 0);
		cr_assert_eq(part.total_bytes, len);
		cr_assert(t_is(part.data, len, 3));
		cr_assert_eq(bus_pipe_release(a, &part), 0);
		cr_assert_eq(bus_pipe_release(a, &part), -EINVAL);
		recv_n(a, 5, 4);
		cr_assert_eq(t_pipe_stats(a).n_received, 2);
		bus_pipe_free(a);
		bus_pipe_free(b);
	}
}

Test(pipe_send, an_exchange_may_be_gone_on_with_in_another_buffer)
{
	unsigned char other[100];
	size_t got;

	begin_exchange(60, -EAGAIN);
	t_fill(out, 40000, 1);
	for (;;) {
		int ret = bus_pipe_exchange(a, out, 40000, other, 59, &got, 0);

		if (ret == -EMSGSIZE)
			break;
		cr_assert_eq(ret, -EAGAIN);
		cr_assert_eq(bus_pipe_poll(a, 0), 0);
		ret = bus_pipe_recv(b, in, sizeof(in), &got, 0);
		cr_assert(!ret || ret == -EAGAIN);
	}
	cr_assert_eq(got, 60);
	cr_assert_eq(bus_pipe_exchange(a, out, 40000, other, 100, &got, 0), 0);
	cr_assert_eq(got, 60);
	cr_assert(t_is(other, 60, 3));
	cr_assert_eq(t_pipe_stats(a).n_received, 1);
	recv_n(b, 40000, 1);
}

/* Receiving --------------------------------------------------------------- */

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

Test(pipe_send, receiving_of_one_length_takes_its_time_once)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t start;
	pid_t pid;

	c.profile = BUS_PIPE_LATENCY;
	cr_assert_eq(bus_pipe_spawn(bus, &c, dribble, NULL, &a, &pid), 0);
	start = sb_now_ns();
	cr_assert_eq(bus_pipe_recv_many(a, in, 1 << 20, 1, NULL, 250 * MS),
		     -ETIMEDOUT);
	cr_assert(ms_since(start) < 350, "%f", ms_since(start));
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
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

Test(pipe_send, a_part_that_was_taken_otherwise_cannot_be_released)
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
