/*
 * test_pipe_exchange.c - tests of bus/pipe_exchange.c; Criterion suite
 * "pipe_exchange"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/bus/t_pipe.h"

#define BIG (4u << 20)

static unsigned char big_out[BIG], big_in[BIG];

TestSuite(pipe_exchange, .init = setup, .fini = teardown, .timeout = 200.0);

/* Large messages ---------------------------------------------------------- */

static int exchanges(void *arg)
{
	size_t n = *(size_t *)arg, len = 0;

	for (uint64_t i = 0; i < 3; i++) {
		t_fill(out, n, 1);
		T_CHECK(bus_pipe_exchange(b, out, n, in, sizeof(in), &len,
					  T_LONG) == 0);
		T_CHECK(len == 300 && t_is(in, len, i));
	}
	bus_close(bus);
	return 0;
}

Test(pipe_exchange, an_exchange_of_large_messages_does_not_deadlock)
{
	static size_t sizes[] = { 0, 8, 300, 5000, 1 << 20 };
	size_t len;

	FOR_EACH_WAIT {
		for (size_t k = 0; k < lengthof(sizes); k++) {
			pid_t child;

			pair(256);
			child = t_fork(exchanges, &sizes[k]);
			for (uint64_t i = 0; i < 3; i++) {
				t_fill(out, 300, i);
				cr_assert_eq(bus_pipe_exchange(a, out, 300, in,
							       sizeof(in), &len,
							       T_LONG),
					     0);
				cr_assert_eq(len, sizes[k]);
				cr_assert(t_is(in, len, 1));
			}
			t_join(child);
			free_pair();
		}
	}
}

static int exchanges_huge(void *arg)
{
	size_t n = (size_t)10 << 20, len = 0;
	char *mine = malloc(n), *its = malloc(n);

	(void)arg;
	T_CHECK(mine && its);
	memset(mine, 'b', n);
	T_CHECK(bus_pipe_exchange(b, mine, n, its, n, &len, T_LONG) == 0);
	T_CHECK(len == n && its[0] == 'a' && its[n - 1] == 'a');
	bus_close(bus);
	return 0;
}

Test(pipe_exchange, both_can_send_10_mb_first_if_they_exchange)
{
	size_t n = (size_t)10 << 20, len = 0;
	char *mine = malloc(n), *its = malloc(n);
	pid_t child;

	memset(mine, 'a', n);
	t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, 0, &a, &b);
	child = t_fork(exchanges_huge, NULL);
	cr_assert_eq(bus_pipe_exchange(a, mine, n, its, n, &len, T_LONG), 0);
	cr_assert(len == n && its[0] == 'b' && its[n - 1] == 'b');
	t_join(child);
	free(mine);
	free(its);
}

static int exchange_small(void *ctx, struct bus_pipe *end)
{
	size_t len = 0;

	(void)ctx;
	T_CHECK(bus_pipe_exchange(end, big_out, BIG, big_in, 16, &len,
				  T_LONG) == -EMSGSIZE);
	T_CHECK(len == BIG);
	T_CHECK(bus_pipe_exchange(end, big_out, BIG, big_in, BIG, &len,
				  T_LONG) == 0);
	T_CHECK(len == BIG && t_is(big_in, BIG, 7));
	return 0;
}

Test(pipe_exchange, two_exchanges_with_too_small_buffers_both_say_so)
{
	pid_t pid;
	int status;
	size_t len = 0;

	t_fill(big_out, BIG, 7);
	cr_assert_eq(bus_pipe_spawn(bus, NULL, exchange_small, NULL, &a, &pid),
		     0);
	cr_assert_eq(
		bus_pipe_exchange(a, big_out, BIG, big_in, 16, &len, T_LONG),
		-EMSGSIZE);
	cr_assert_eq(len, BIG);
	cr_assert_eq(
		bus_pipe_exchange(a, big_out, BIG, big_in, BIG, &len, T_LONG),
		0);
	cr_assert_eq(len, BIG);
	cr_assert(t_is(big_in, BIG, 7));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

/* Calls that end before it is over ---------------------------------------- */

Test(pipe_exchange, an_exchange_goes_on_where_it_was)
{
	size_t len = 0;
	int ret, n = 0;

	pair(256);
	cr_assert_eq(send_n(b, 500, 9, 0), -EAGAIN); /* given up */
	send_between(b, a, 400, 2);
	t_fill(out, 5000, 1);
	do {
		ret = bus_pipe_exchange(a, out, 5000, in, n < 3 ? 399 : 600,
					&len, n % 2 ? 1000 : 0);
		if (n < 3 && ret == -EMSGSIZE)
			cr_assert_eq(len, 400);
		cr_assert_eq(send_n(a, 1, 1, 0), ret ? -EBUSY : 0);
		t_fill(out, 5000, 1);
		memset(in + 1000, 0, 6000);
		if (ret)
			cr_assert_eq(bus_pipe_exchange(a, out, 4999, in, 600,
						       &len, 0),
				     -EINVAL);
		len = 0;
		if (!ret)
			break;
		cr_assert(ret == -EAGAIN || ret == -ETIMEDOUT ||
				  (ret == -EMSGSIZE && n < 3),
			  "%d", ret);
		ret = bus_pipe_recv(b, in + 10000, 5000, &len, 0);
		cr_assert(ret == -EAGAIN || (!ret && len == 5000));
	} while (n++ < 1000);
	cr_assert(n > 10 && n < 1000);
	cr_assert(t_is(in, 400, 2));
	recv_n(b, 5000, 1);
	recv_n(b, 1, 1);
}

Test(pipe_exchange, an_exchange_can_be_ended_by_recv_or_cancel)
{
	size_t len = 0;

	pair(256);
	t_fill(out, 20, 1);
	cr_assert_eq(bus_pipe_exchange(a, out, 20, in, 20, &len, 0), -EAGAIN);
	recv_n(b, 20, 1);
	cr_assert_eq(bus_pipe_recv(b, in, 20, NULL, 0), -EAGAIN);
	cr_assert_eq(send_n(b, 30, 2, 0), 0);
	t_fill(out, 20, 1);
	cr_assert_eq(bus_pipe_exchange(a, out, 20, in, 20, &len, 0), -EMSGSIZE);
	cr_assert_eq(len, 30);
	recv_n(a, 30, 2); /* sent it was, and this was the answer */
	cr_assert_eq(send_n(a, 5, 3, 0), 0);
	recv_n(b, 5, 3);
	t_fill(out, 1000, 1);
	cr_assert_eq(bus_pipe_exchange(a, out, 1000, in, 20, &len, MS),
		     -ETIMEDOUT);
	cr_assert_eq(send_n(a, 5, 3, 0), -EBUSY);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	cr_assert_eq(send_n(a, 5, 3, 0), 0);
	recv_n(b, 5, 3);
	bus_pipe_free(b);
	cr_assert_eq(bus_pipe_exchange(a, out, 20, in, 20, &len, -1), -EPIPE);
	cr_assert_eq(send_n(a, 5, 3, 0), -EPIPE);
}

Test(pipe_exchange, an_exchange_in_the_middle_of_parts_sends_nothing)
{
	struct bus_part part, first;
	size_t len;

	for (int how = 0; how < 3; how++) {
		pair(1024);
		cr_assert_eq(bus_pipe_loan(b, 3000, &part, 0), 0);
		part.len_bytes = 100;
		cr_assert_eq(bus_pipe_commit(b, &part), 0);
		cr_assert_eq(bus_pipe_peek(a, &first, 0), 0);
		cr_assert_eq(bus_pipe_release(a, &first), 0);
		if (how == 0) { /* the rest is there; or not yet; or another */
			cr_assert_eq(bus_pipe_loan(b, 3000, &part, 0), 0);
			cr_assert_eq(bus_pipe_commit(b, &part), 0);
		} else if (how == 2) {
			cr_assert_eq(bus_pipe_cancel(b), 0);
			cr_assert_eq(send_n(b, 20, 2, 0), 0);
		}
		t_fill(out, 10, 1);
		for (int i = 0; i < 2 && how < 2; i++)
			cr_assert_eq(bus_pipe_exchange(a, out, 10, in,
						       sizeof(in), &len, MS),
				     -EBUSY);
		if (how == 2) {
			cr_assert_eq(bus_pipe_exchange(a, out, 10, in,
						       sizeof(in), &len, 0),
				     0);
			cr_assert(len == 20 && t_is(in, 20, 2));
			recv_n(b, 10, 1);
		}
		cr_assert_eq(bus_pipe_recv(b, in, sizeof(in), &len, 0),
			     -EAGAIN);
		free_pair();
	}
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

Test(pipe_exchange, what_an_exchange_has_received_is_not_lost)
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

Test(pipe_exchange, an_exchange_may_be_gone_on_with_in_another_buffer)
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
