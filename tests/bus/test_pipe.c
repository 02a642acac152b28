/*
 * test_pipe.c - tests of bus/pipe*.c; Criterion suite "pipe"
 *
 * Waits that could hang have a deadline, T_LONG, that only a hang reaches.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "bus/endpoint.h"
#include "bus/pipe.h"
#include "bus/recover.h"
#include "tests/bus/t_bus.h"

#define MS   1000000
#define BOTH (BUS_PIPE_SEND | BUS_PIPE_RECV)

static struct bus *bus;
static struct bus_pipe *a, *b;

static struct bus_config pipe_config(void)
{
	struct bus_config c = t_config();

	c.channel_bytes = 1 << 28;
	return c;
}

static void setup(void)
{
	struct bus_config c = pipe_config();

	bus = t_bus_with(NULL, &c);
}

static void teardown(void)
{
	bus_close(bus);
	t_shm_clean();
}

TestSuite(pipe, .init = setup, .fini = teardown, .timeout = 200.0);

static void pair(uint64_t slot_bytes)
{
	t_pipe(bus, BUS_PIPE_LATENCY, 0, slot_bytes, &a, &b);
}

static void free_pair(void)
{
	bus_pipe_free(a);
	bus_pipe_free(b);
}

/* Both ways of sleeping, one after the other, each with a new bus. */
static bool next_wait(uint32_t *wait)
{
	struct bus_config c = pipe_config();
	int ret;

	for (; *wait <= BUS_WAIT_FUTEX; ++*wait) {
		bus_close(bus);
		bus = NULL;
		c.wait = *wait;
		ret = bus_create(NULL, &c, &bus);
		cr_assert(!ret || *wait == BUS_WAIT_URING);
		if (!ret)
			return ++*wait;
	}
	bus = t_bus_with(NULL, &c);
	return false;
}

#define FOR_EACH_WAIT for (uint32_t w_ = BUS_WAIT_AUTO; next_wait(&w_);)

static unsigned char out[1 << 20], in[1 << 20];

static int send_n(struct bus_pipe *p, size_t len, uint64_t i, int64_t timeout)
{
	t_fill(out, len, i);
	return bus_pipe_send(p, out, len, timeout);
}

/* Receive message number @i of @len bytes. */
static void recv_n(struct bus_pipe *p, size_t len, uint64_t i)
{
	size_t got = SIZE_MAX;
	int ret;

	memset(in, 0xee, len < sizeof(in) ? len + 1 : len);
	ret = bus_pipe_recv(p, in, sizeof(in), &got, T_LONG);
	if (ret || got != len)
		fprintf(stderr, "recv: %d, %zu bytes for %zu\n", ret, got, len);
	T_CHECK(ret == 0);
	T_CHECK(got == len);
	T_CHECK(t_is(in, len, i));
}

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static double ms_since(uint64_t start)
{
	return (double)(sb_now_ns() - start) / 1e6;
}

static bool is_over(void *p)
{
	return bus_pipe_poll(p, 0) == 0;
}

static uint32_t peer_state(struct bus_pipe *p)
{
	return t_pipe_stats(p).peer_state;
}

/* Arguments --------------------------------------------------------------- */

Test(pipe, settings_out_of_range_are_refused)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	const uint64_t bad[] = { 1,       128,       255,       257,
				 3 << 20, 128 << 20, UINT64_MAX };

	cr_assert_eq(bus_pipe(NULL, &c, &a, &b), -EINVAL);
	cr_assert_eq(bus_pipe(bus, &c, NULL, &b), -EINVAL);
	cr_assert_eq(bus_pipe(bus, &c, &a, NULL), -EINVAL);
	for (size_t i = 0; i < lengthof(bad); i++) {
		c.slot_bytes = bad[i];
		cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL, "%zu", i);
	}
	c.slot_bytes = 0;
	c.profile = 3;
	cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL);
	c.profile = 0;
	c.flags = 2;
	cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL);
	c.flags = 0;
	c.size = 0;
	cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL);
	c.size = sizeof(c);
	cr_assert_eq(bus_pipe_open(bus, "x", &c, 2, &a), -EINVAL);
	cr_assert_eq(bus_pipe_open(bus, "x", &c, -1, &a), -EINVAL);
	cr_assert_eq(bus_pipe_open(bus, "", &c, 0, &a), -EINVAL);
	cr_assert_eq(bus_pipe_open(bus, NULL, &c, 0, &a), -EINVAL);
	cr_assert_eq(t_stats(bus).n_channels, 0);
}

Test(pipe, a_config_may_be_older_or_newer)
{
	struct {
		struct bus_pipe_config c;
		uint64_t more;
	} newer = { BUS_PIPE_CONFIG_INIT, 0 };

	newer.c.size = offsetof(struct bus_pipe_config, slot_bytes);
	newer.c.slot_bytes = 1; /* not looked at */
	cr_assert_eq(bus_pipe(bus, &newer.c, &a, &b), 0);
	free_pair();
	newer.c.slot_bytes = 0;
	newer.c.size = sizeof(newer);
	cr_assert_eq(bus_pipe(bus, &newer.c, &a, &b), 0);
	free_pair();
	newer.more = 1;
	cr_assert_eq(bus_pipe(bus, &newer.c, &a, &b), -E2BIG);
	cr_assert_eq(bus_pipe(bus, NULL, &a, &b), 0);
	free_pair();
	bus_pipe_free(NULL);
}

Test(pipe, profiles_have_their_slots)
{
	for (uint32_t profile = 0; profile <= BUS_PIPE_STREAM; profile++)
		for (uint32_t flags = 0; flags <= BUS_PIPE_SIMPLEX; flags++) {
			struct bus_pipe_stats s;

			t_pipe(bus, profile, flags, 0, &a, &b);
			s = t_pipe_stats(a);
			cr_assert_eq(s.profile, profile);
			cr_assert_eq(s.flags, flags);
			if (profile == BUS_PIPE_LATENCY)
				cr_assert_eq(s.slot_bytes, 8192);
			else
				cr_assert_geq(s.slot_bytes, 1 << 20);
			cr_assert_eq(s.send_bytes, profile == BUS_PIPE_STREAM
							   ? s.slot_bytes
							   : 8192);
			cr_assert_eq(s.recv_bytes == 0, flags == 1);
			free_pair();
		}
}

Test(pipe, default_slots_are_smaller_where_room_is_short)
{
	struct bus_config c = t_config();
	struct bus_pipe_config p = BUS_PIPE_CONFIG_INIT;
	struct bus *small;

	c.channel_bytes = 1 << 20;
	small = t_bus_with(NULL, &c);
	cr_assert_eq(bus_pipe(small, NULL, &a, &b), 0);
	cr_assert_lt(t_pipe_stats(a).slot_bytes, 64 << 10);
	cr_assert_geq(t_pipe_stats(a).slot_bytes, 8192);
	p.profile = BUS_PIPE_STREAM; /* that says what it wants */
	cr_assert_eq(bus_pipe(small, &p, &a, &b), -ENOSPC);
	p.profile = 0;
	p.slot_bytes = 1 << 20;
	cr_assert_eq(bus_pipe(small, &p, &a, &b), -ENOSPC);
	bus_close(small);
}

/* What goes through ------------------------------------------------------- */

Test(pipe, a_duplex_pipe_goes_both_ways)
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

Test(pipe, a_simplex_pipe_goes_one_way)
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

Test(pipe, an_empty_message_is_a_message)
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

Test(pipe, messages_around_the_slot_size_arrive_whole)
{
	for (size_t slot = 256; slot <= 65536; slot *= 2) {
		pair(slot);
		send_around(slot);
	}
}

Test(pipe, messages_around_a_growing_slot_arrive_whole)
{
	for (size_t slot = 4096; slot <= 1 << 18; slot *= 2) {
		t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, slot, &a, &b);
		send_around(8192);
		t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, slot, &a, &b);
		send_around(slot);
	}
}

Test(pipe, all_small_lengths_arrive_whole)
{
	size_t len[1400];

	for (size_t i = 0; i < lengthof(len); i++)
		len[i] = i;
	pair(256);
	send_lengths(len, lengthof(len));
}

Test(pipe, messages_of_any_length_mix)
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

Test(pipe, laps_wrap)
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

Test(pipe, a_full_pipe_says_so_and_loses_nothing)
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

/* Polling ----------------------------------------------------------------- */

Test(pipe, poll_waits_as_long_as_told)
{
	FOR_EACH_WAIT {
		uint64_t start = sb_now_ns();

		pair(256);
		cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
		cr_assert_lt(ms_since(start), 1000);
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

Test(pipe, poll_is_true_at_the_end)
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

Test(pipe, a_message_that_does_not_fit_stays)
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

/*
 * Send message @i of @total bytes from @from to @to, whatever their slots have
 * room for, in one thread: a part, then a receive.  Leaves the last parts to be
 * received.
 */
static void send_between(struct bus_pipe *from, struct bus_pipe *to,
			 size_t total, uint64_t i)
{
	struct bus_part part;
	size_t done = 0;
	int ret;

	t_fill(out, total, i);
	do {
		while ((ret = bus_pipe_loan(from, total, &part, 0)) == -EAGAIN)
			cr_assert_eq(bus_pipe_recv(to, in, sizeof(in), NULL, 0),
				     -EAGAIN);
		cr_assert_eq(ret, 0);
		cr_assert_eq(part.offset_bytes, done);
		memcpy(part.data, out + done, part.len_bytes);
		done += part.len_bytes;
		cr_assert_eq(bus_pipe_commit(from, &part), 0);
	} while (done < total);
}

/* Closing ----------------------------------------------------------------- */

Test(pipe, what_was_sent_is_received_before_the_end)
{
	FOR_EACH_WAIT {
		pair(512);
		for (uint64_t i = 0; i < 10; i++)
			cr_assert_eq(send_n(a, 30, i, 0), 0);
		cr_assert_eq(send_n(a, 300, 10, 0), 0);
		bus_pipe_free(a);
		for (uint64_t i = 0; i < 10; i++)
			recv_n(b, 30, i);
		recv_n(b, 300, 10);
		for (int i = 0; i < 5; i++) {
			cr_assert_eq(bus_pipe_recv(b, in, 30, NULL, i ? -1 : 0),
				     -EPIPE);
			cr_assert_eq(send_n(b, 30, 0, i ? -1 : 0), -EPIPE);
			cr_assert_eq(send_n(b, 3000, 0, -1), -EPIPE);
		}
		cr_assert_eq(t_pipe_stats(b).peer_state, BUS_PIPE_PEER_CLOSED);
		cr_assert_eq(t_pipe_stats(b).peer_open, 0);
		cr_assert_eq(t_pipe_stats(b).peer_pid, getpid());
		bus_pipe_free(b);
	}
}

Test(pipe, a_closed_end_is_ebadf_and_closing_twice_is_fine)
{
	struct bus_part part = { 0 };
	size_t len;

	pair(256);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_pipe_close(a, BOTH), 0);
		cr_assert_eq(send_n(a, 1, 1, -1), -EBADF);
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, -1), -EBADF);
		cr_assert_eq(bus_pipe_poll(a, -1), -EBADF);
		cr_assert_eq(bus_pipe_loan(a, 1, &part, -1), -EBADF);
		cr_assert_eq(bus_pipe_commit(a, &part), -EBADF);
		cr_assert_eq(bus_pipe_cancel(a), -EBADF);
		cr_assert_eq(bus_pipe_peek(a, &part, -1), -EBADF);
		cr_assert_eq(bus_pipe_release(a, &part), -EBADF);
		cr_assert_eq(bus_pipe_send_many(a, out, 1, 1, -1), -EBADF);
		cr_assert_eq(bus_pipe_recv_many(a, in, 1, 1, NULL, -1), -EBADF);
		cr_assert_eq(bus_pipe_exchange(a, out, 1, in, 1, &len, -1),
			     -EBADF);
		cr_assert_eq(bus_pipe_hand_over(a, getppid()), -EBADF);
	}
	cr_assert_eq(t_pipe_stats(a).open, 0);
	cr_assert_eq(bus_pipe_close(b, 0), -EINVAL);
	cr_assert_eq(bus_pipe_close(b, 4), -EINVAL);
}

Test(pipe, each_direction_can_be_closed_alone)
{
	pair(256);
	cr_assert_eq(send_n(a, 9, 1, 0), 0);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(send_n(a, 9, 1, 0), -EBADF);
	recv_n(b, 9, 1);
	cr_assert_eq(bus_pipe_recv(b, in, 9, NULL, -1), -EPIPE);
	cr_assert_eq(bus_pipe_poll(b, -1), 0);
	/* and the other goes on */
	cr_assert_eq(send_n(b, 9, 2, 0), 0);
	recv_n(a, 9, 2);
	cr_assert_eq(t_pipe_stats(b).peer_open, BUS_PIPE_RECV);
	cr_assert_eq(t_pipe_stats(b).peer_state, BUS_PIPE_PEER_OPEN);
	cr_assert_eq(send_n(b, 9, 2, 0), 0);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_RECV), 0);
	cr_assert_eq(bus_pipe_recv(a, in, 9, NULL, -1), -EBADF);
	cr_assert_eq(send_n(b, 9, 2, -1), -EPIPE);
	cr_assert_eq(t_pipe_stats(b).peer_state, BUS_PIPE_PEER_CLOSED);
}

Test(pipe, an_end_that_nobody_used_can_be_closed)
{
	pair(256);
	cr_assert_eq(send_n(a, 9, 1, 0), 0);
	bus_pipe_free(b); /* no other process can have it */
	cr_assert_eq(send_n(a, 9, 1, -1), -EPIPE);
	cr_assert_eq(bus_pipe_recv(a, in, 9, NULL, -1), -EPIPE);
	bus_pipe_free(a);
	pair(256);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	cr_assert_eq(send_n(a, 9, 1, 0), -EBADF);
	cr_assert_eq(bus_pipe_recv(b, in, 9, NULL, -1), -EPIPE);
	free_pair();
}

/* Many at a time ---------------------------------------------------------- */

Test(pipe, many_go_at_once)
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

Test(pipe, recv_many_stops_before_what_does_not_fit)
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

/* In place ---------------------------------------------------------------- */

Test(pipe, a_loan_is_committed_or_cancelled)
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

Test(pipe, a_large_message_is_lent_in_parts)
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

Test(pipe, a_loan_of_what_fits_a_slot_is_one_part)
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

Test(pipe, peek_says_the_same_until_release)
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

Test(pipe, a_large_message_is_peeked_in_parts)
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

/* Half messages ----------------------------------------------------------- */

Test(pipe, a_send_that_times_out_in_the_middle_was_nothing)
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

Test(pipe, a_recv_that_times_out_in_the_middle_goes_on)
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

Test(pipe, peek_shows_what_recv_has_kept)
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

/* Commit the first part of a message of @total. */
static void half(size_t total)
{
	struct bus_part part;

	T_CHECK(bus_pipe_loan(a, total, &part, 0) == 0);
	T_CHECK(part.len_bytes < total);
	memset(part.data, 1, part.len_bytes);
	T_CHECK(bus_pipe_commit(a, &part) == 0);
}

Test(pipe, a_message_that_is_cancelled_in_the_middle_is_never_seen)
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

Test(pipe, an_end_closed_in_the_middle_of_a_message_is_just_the_end)
{
	pair(256);
	cr_assert_eq(send_n(a, 30, 1, 0), 0);
	half(1000);
	bus_pipe_free(a);
	recv_n(b, 30, 1);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_pipe_recv(b, in, 2000, NULL, -1), -EPIPE);
}

static int dies_in_the_middle(void *arg)
{
	T_CHECK(send_n(a, 30, 1, 0) == 0);
	half(1500);
	if (arg)
		t_gate_open(arg);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(pipe, a_writer_that_dies_in_the_middle_of_a_message_is_told_once)
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
				cr_assert_eq(
					bus_pipe_recv(b, in, 1500, NULL, 0),
					-EAGAIN);
				cr_assert_eq(bus_reap(bus), 1);
				cr_assert_eq(bus_pipe_poll(b, 0), 0);
				cr_assert_eq(
					bus_pipe_recv(b, in, 1500, NULL, 0),
					-EOWNERDEAD);
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
Test(pipe, a_half_message_is_told_also_if_another_came_and_went)
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
Test(pipe, a_half_message_is_told_also_if_another_is_there_and_silent)
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
Test(pipe, a_half_message_is_told_also_if_another_could_not_come)
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
Test(pipe, a_half_message_is_told_also_if_another_is_faster)
{
	struct t_gate ready;
	pid_t reader, writer;
	int status;

	FOR_EACH_WAIT
	{
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
Test(pipe, room_for_a_quarter_is_room_for_the_mark_too)
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

struct flood {
	struct bus *bus;
	struct bus_pipe *p;
	_Atomic bool over;
};

/* The endless beginning of a message, or what belongs to none. */
static void *floods(void *arg)
{
	struct flood *f = arg;

	static const struct {
		struct bus_fragment f;
		uint8_t data[8];
	} stray = { { 1, 8, 1 << 20 }, { 0 } };

	T_CHECK(bus_pipe_use(f->p, BUS_PIPE_SEND) == 0);
	while (!f->over) {
		void *at;

		if (sb_spsc_room(&f->p->tx, sizeof(stray), &at))
			continue;
		memcpy(at, &stray, sizeof(stray));
		sb_spsc_publish(&f->p->tx, sizeof(stray), BUS_REC_FRAGMENT);
		bus_pipe_wake_reader(f->p);
	}
	return NULL;
}

Test(pipe, a_peer_cannot_keep_a_call_over_its_deadline)
{
	struct flood f = { 0 };
	struct bus_part part;
	pthread_t t;

	pair(8192);
	cr_assert_eq(bus_attach(bus, &f.bus), 0);
	f.p = a;
	cr_assert_eq(bus_pipe_move(a, f.bus), 0);
	cr_assert_eq(pthread_create(&t, NULL, floods, &f), 0);
	for (int i = 0; i < 5; i++) {
		uint64_t start = sb_now_ns();

		cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 10 * MS),
			     -ETIMEDOUT);
		cr_assert_eq(bus_pipe_peek(b, &part, 10 * MS), -ETIMEDOUT);
		cr_assert_lt(ms_since(start), 5000);
	}
	f.over = true;
	pthread_join(t, NULL);
	bus_close(f.bus);
}

/* Exchange ---------------------------------------------------------------- */

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

Test(pipe, an_exchange_of_large_messages_does_not_deadlock)
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

Test(pipe, both_can_send_10_mb_first_if_they_exchange)
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

Test(pipe, an_exchange_goes_on_where_it_was)
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

Test(pipe, an_exchange_can_be_ended_by_recv_or_cancel)
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

Test(pipe, an_exchange_in_the_middle_of_parts_sends_nothing)
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

/* Whose an end is --------------------------------------------------------- */

static int echo(void *arg)
{
	struct bus_pipe *p = arg;
	size_t len;
	int ret;

	while (!(ret = bus_pipe_recv(p, in, sizeof(in), &len, -1)))
		T_CHECK(bus_pipe_send(p, in, len, -1) == 0);
	return ret == -EPIPE ? 0 : 1;
}

static void ask(struct bus_pipe *p, size_t len, uint64_t i)
{
	cr_assert_eq(send_n(p, len, i, T_LONG), 0);
	recv_n(p, len, i);
}

Test(pipe, parent_and_child_just_use_their_ends)
{
	FOR_EACH_WAIT {
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		for (uint64_t i = 0; i < 300; i++)
			ask(a, i * 7, i);
		cr_assert_eq(t_pipe_stats(a).peer_pid, child);
		cr_assert_eq(t_pipe_stats(a).peer_state, BUS_PIPE_PEER_OPEN);
		/* that one is the child's */
		cr_assert_eq(send_n(b, 1, 1, -1), -EBADF);
		cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, -1), -EBADF);
		cr_assert_eq(bus_pipe_close(b, BUS_PIPE_SEND), -EBADF);
		bus_pipe_free(b);
		ask(a, 5, 5);
		bus_pipe_free(a);
		t_join(child);
	}
}

static int uses_a_used_end(void *arg)
{
	struct bus_part part;

	(void)arg;
	T_CHECK(send_n(a, 1, 1, -1) == -EBADF);
	T_CHECK(bus_pipe_recv(a, in, 1, NULL, -1) == -EBADF);
	T_CHECK(bus_pipe_loan(a, 1, &part, -1) == -EBADF);
	T_CHECK(bus_pipe_poll(a, -1) == -EBADF);
	bus_pipe_free(a);
	T_CHECK(send_n(b, 5, 1, -1) == 0);
	bus_close(bus);
	return 0;
}

Test(pipe, an_end_that_the_parent_has_used_is_not_the_childs)
{
	pid_t child;

	pair(256);
	cr_assert_eq(send_n(a, 9, 9, 0), 0);
	child = t_fork(uses_a_used_end, NULL);
	t_join(child);
	recv_n(a, 5, 1);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
}

static int closes_its_copy(void *arg)
{
	(void)arg;
	bus_pipe_free(a); /* the parent has not used it yet */
	T_CHECK(bus_pipe_poll(b, T_LONG) == 0);
	recv_n(b, 5, 1);
	return 0;
}

Test(pipe, closing_the_unused_copy_closes_nothing)
{
	for (int i = 0; i < 20; i++) {
		pid_t child;

		pair(256);
		child = t_fork(closes_its_copy, NULL);
		bus_pipe_free(b); /* the child may not have used it yet */
		if (i % 2)
			usleep(1000);
		cr_assert_eq(send_n(a, 5, 1, T_LONG), 0);
		t_join(child);
		bus_pipe_free(a);
	}
}

static int waits_for_the_end(void *arg)
{
	return bus_pipe_recv(arg, in, 1, NULL, T_LONG) == -EPIPE ? 0 : 1;
}

/* As workers are started one after the other: each inherits the pipes of all
 * before it. */
Test(pipe, no_inherited_copy_keeps_an_end_open)
{
	FOR_EACH_WAIT {
		struct bus_pipe *mine[5], *its[5];
		pid_t child[5];

		for (int i = 0; i < 5; i++) {
			pair(256);
			mine[i] = a;
			its[i] = b;
			cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN);
			child[i] = t_fork(waits_for_the_end, b);
		}
		for (int i = 0; i < 5; i++) {
			bus_pipe_free(mine[i]);
			t_join(child[i]); /* the later ones live on */
			bus_pipe_free(its[i]);
		}
	}
}

static int only_sleeps(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return 0;
}

Test(pipe, the_death_of_a_child_that_has_used_its_end_is_known_at_once)
{
	FOR_EACH_WAIT {
		uint64_t start;
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		ask(a, 5, 5);
		kill(child, SIGKILL);
		start = sb_now_ns();
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
		cr_assert_lt(ms_since(start), 80);
		cr_assert_eq(send_n(a, 1, 1, 0), -EPIPE);
		t_wait(child);
		free_pair();
	}
}

static int kills_soon(void *arg)
{
	t_wait_asleep(getppid());
	usleep(20000);
	kill(*(pid_t *)arg, SIGKILL);
	return 0;
}

/* A parked call returns when the peer dies, whether it has used its end or
 * not. */
static void check_parked(int (*child_fn)(void *), bool sends)
{
	pid_t child, killer;
	int ret;

	pair(256);
	child = t_fork(child_fn, b);
	if (child_fn == echo)
		ask(a, 5, 5);
	else
		cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	if (sends)
		kill(child, SIGSTOP);
	killer = t_fork(kills_soon, &child);
	do
		ret = sends ? send_n(a, 100, 1, T_LONG)
			    : bus_pipe_recv(a, in, 1, NULL, T_LONG);
	while (ret == 0);
	cr_assert_eq(ret, -EPIPE);
	t_wait(killer);
	t_wait(child);
	bus_pipe_free(a);
	if (child_fn == echo)
		bus_pipe_free(b);
}

Test(pipe, who_is_parked_learns_of_a_death)
{
	FOR_EACH_WAIT {
		check_parked(echo, false);
		check_parked(echo, true);
		check_parked(only_sleeps, false);
		check_parked(only_sleeps, true);
	}
}

Test(pipe, a_spinning_side_learns_of_a_death)
{
	struct bus_config c = pipe_config();

	bus_close(bus);
	c.spin = BUS_SPIN_ALWAYS;
	bus = t_bus_with(NULL, &c);
	for (int i = 0; i < 2; i++) {
		uint64_t start;
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		ask(a, 5, 5);
		kill(child, SIGKILL);
		start = sb_now_ns();
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
		cr_assert_lt(ms_since(start), 80);
		t_wait(child);
		free_pair();
	}
}

Test(pipe, who_only_tries_learns_of_a_death)
{
	pid_t child;

	pair(256);
	child = t_fork(echo, b);
	ask(a, 5, 5);
	kill(child, SIGKILL);
	cr_assert(t_eventually(is_over, a, 5000) || bus_pipe_poll(a, 0) == 0);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, 0), -EPIPE);
	t_wait(child);
}

/* Hand over --------------------------------------------------------------- */

static int exits(void *arg)
{
	(void)arg;
	return 0;
}

Test(pipe, a_child_that_dies_before_its_first_call_is_noticed)
{
	FOR_EACH_WAIT {
		for (int how = 0; how < 3; how++) {
			pid_t child;

			pair(256);
			child = t_fork(how == 2 ? only_sleeps : exits, NULL);
			if (how == 1)
				t_wait(child); /* dead and gone before */
			cr_assert_eq(bus_pipe_hand_over(b, child), 0);
			if (how == 2) {
				cr_assert_eq(t_pipe_stats(a).peer_state,
					     BUS_PIPE_PEER_RESERVED);
				cr_assert_eq(t_pipe_stats(a).peer_pid, child);
				kill(child, SIGKILL);
			}
			cr_assert_eq(send_n(a, 1, 1, 0) % EPIPE, 0);
			cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG),
				     -EPIPE);
			cr_assert_eq(send_n(a, 1, 1, -1), -EPIPE);
			if (how != 1)
				t_wait(child);
			bus_pipe_free(a);
		}
	}
}

static int waits_for_gate(void *arg)
{
	t_gate_wait(arg);
	recv_n(b, 5, 1);
	T_CHECK(send_n(b, 6, 2, 0) == 0);
	bus_close(bus);
	return 0;
}

Test(pipe, an_end_that_was_handed_over_is_used)
{
	struct t_gate gate;
	pid_t child;

	for (int used = 0; used < 2; used++) {
		t_gate_init(&gate);
		pair(256);
		cr_assert_eq(send_n(a, 5, 0, 0), 0);
		if (used) {
			recv_n(b, 5, 0);
			cr_assert_eq(send_n(b, 7, 7, 0), 0);
		}
		child = t_fork(waits_for_gate, &gate);
		cr_assert_eq(bus_pipe_hand_over(b, child), 0);
		cr_assert_eq(send_n(a, 5, 1, 0), 0);
		if (!used) { /* the child would get that */
			kill(child, SIGKILL);
		} else {
			t_gate_open(&gate);
			recv_n(a, 7, 7);
			recv_n(a, 6, 2);
		}
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
		t_wait(child);
		t_gate_close(&gate);
		bus_pipe_free(a);
	}
}

/* Two give the same end away at once, to two processes: he who comes second
 * may store the start time of his after the other has got there. */
Test(pipe, who_loses_a_race_to_hand_over_kills_nobody)
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

Test(pipe, who_shall_have_half_an_end_is_watched)
{
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(waits_for_gate, &gate);
	cr_assert_eq(bus_pipe_close(b, BUS_PIPE_RECV), 0);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, MS), -ETIMEDOUT);
	cr_assert_geq(a->watch.fd, 0);
	kill(child, SIGKILL);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	t_wait(child);
	t_gate_close(&gate);
}

static int begins_and_tells(void *arg)
{
	T_CHECK(bus_pipe_poll(b, 0) == -EAGAIN);
	t_gate_open(arg);
	return echo(b);
}

Test(pipe, handing_over_what_the_child_uses_already_is_fine)
{
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(begins_and_tells, &gate);
	t_gate_wait(&gate);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	ask(a, 5, 5);
	cr_assert_eq(bus_pipe_hand_over(a, 0), -EINVAL);
	cr_assert_eq(bus_pipe_hand_over(a, -1), -EINVAL);
	bus_pipe_free(a);
	t_join(child);
	t_gate_close(&gate);
}

Test(pipe, an_end_with_half_a_message_is_not_handed_over)
{
	struct bus_part part;

	pair(256);
	half(1000);
	cr_assert_eq(bus_pipe_hand_over(a, 1), -EBUSY);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_hand_over(b, 1), -EBUSY);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(bus_pipe_loan(a, 1, &part, 0), 0);
	cr_assert_eq(bus_pipe_hand_over(a, 1), -EBUSY);
	cr_assert_eq(bus_pipe_cancel(a), 0);
}

static int talks_to_sibling(void *arg)
{
	struct bus_pipe *p = arg;

	if (p == a) {
		for (uint64_t i = 0; i < 100; i++) {
			T_CHECK(send_n(a, 900, i, T_LONG) == 0);
			recv_n(a, 900, i);
		}
		bus_pipe_free(a);
		return 0;
	}
	return echo(p);
}

Test(pipe, two_children_talk_without_the_parent)
{
	FOR_EACH_WAIT {
		pid_t one, two;

		pair(256);
		one = t_fork(talks_to_sibling, a);
		two = t_fork(talks_to_sibling, b);
		cr_assert_eq(bus_pipe_hand_over(a, one), 0);
		cr_assert_eq(bus_pipe_hand_over(b, two), 0);
		t_join(one);
		t_join(two);
	}
}

/* Two children whose parent closes the bus, and has given nothing away. */
static int parent_of_two(void *arg)
{
	pid_t child;

	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	pair(256);
	child = fork();
	if (child == 0)
		_exit(bus_pipe_recv(a, in, 1, NULL, T_LONG) == -EPIPE ? 0 : 1);
	/* it has begun, and waits for the other end, which counts as ours */
	while (t_pipe_stats(b).peer_state != BUS_PIPE_PEER_OPEN)
		usleep(100);
	t_wait_asleep(child);
	bus_close(bus);
	return t_wait(child);
}

static int dead_parent(void *arg)
{
	struct t_gate *gate = arg;
	pid_t child;

	T_CHECK(bus_check(bus) == 0);
	pair(256);
	child = fork();
	if (child == 0) {
		T_CHECK(bus_pipe_recv(a, in, 1, NULL, T_LONG) == -EPIPE);
		T_CHECK(send_n(b, 1, 1, 0) == -EPIPE);
		T_CHECK(bus_pipe_recv(b, in, 1, NULL, 0) == -EPIPE);
		T_CHECK(bus_pipe_poll(b, 0) == 0);
		t_gate_open(gate);
		_exit(0);
	}
	while (t_pipe_stats(b).peer_state != BUS_PIPE_PEER_OPEN)
		usleep(100);
	t_wait_asleep(child);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(pipe, an_unused_end_goes_with_its_maker)
{
	FOR_EACH_WAIT {
		struct t_gate gate;

		t_join(t_fork(parent_of_two, NULL));
		t_gate_init(&gate);
		cr_assert_eq(t_wait(t_fork(dead_parent, &gate)), -SIGKILL);
		t_gate_wait(&gate);
		t_gate_close(&gate);
	}
}

/* Spawn ------------------------------------------------------------------- */

static int spawned(void *ctx, struct bus_pipe *end)
{
	size_t len;
	int n = *(int *)ctx;

	while (!bus_pipe_recv(end, in, sizeof(in), &len, -1)) {
		T_CHECK(bus_pipe_send(end, in, len, -1) == 0);
		n++;
	}
	return n;
}

Test(pipe, spawn_gives_a_child_that_has_the_other_end)
{
	FOR_EACH_WAIT {
		struct bus_pipe *p[4];
		pid_t pid[4];
		int three = 3;

		cr_assert_eq(bus_pipe_spawn(bus, NULL, NULL, NULL, &p[0], NULL),
			     -EINVAL);
		for (int i = 0; i < 4; i++)
			cr_assert_eq(bus_pipe_spawn(bus, NULL, spawned, &three,
						    &p[i], &pid[i]),
				     0);
		for (uint64_t k = 0; k < 50; k++)
			for (int i = 0; i < 4; i++)
				ask(p[i], k * 17, k);
		for (int i = 0; i < 4; i++) {
			cr_assert_eq(t_pipe_stats(p[i]).peer_pid, pid[i]);
			bus_pipe_free(p[i]);
			cr_assert_eq(t_wait(pid[i]), 53);
		}
		cr_assert_eq(t_stats(bus).n_endpoints, 1);
	}
}

static int says_bye(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	T_CHECK(bus_pipe_send(end, "bye", 3, 0) == 0);
	return 9;
}

static int says_nothing(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	(void)end;
	for (;;)
		pause();
	return 0;
}

Test(pipe, the_end_of_a_spawned_child_is_the_end_of_its_pipe)
{
	FOR_EACH_WAIT {
		pid_t pid;
		size_t len;

		for (int i = 0; i < 10; i++) {
			cr_assert_eq(bus_pipe_spawn(bus, NULL, says_bye, NULL,
						    &a, &pid),
				     0);
			if (i % 2)
				cr_assert_eq(t_wait(pid), 9);
			cr_assert_eq(bus_pipe_recv(a, in, 3, &len, T_LONG), 0);
			cr_assert_eq(bus_pipe_recv(a, in, 3, &len, T_LONG),
				     -EPIPE);
			if (!(i % 2))
				cr_assert_eq(t_wait(pid), 9);
			cr_assert_eq(t_pipe_stats(a).peer_state,
				     BUS_PIPE_PEER_CLOSED);
			bus_pipe_free(a);
		}
		for (int i = 0; i < 10; i++) {
			cr_assert_eq(bus_pipe_spawn(bus, NULL, says_nothing,
						    NULL, &a, &pid),
				     0);
			if (i % 2)
				usleep(2000);
			kill(pid, SIGKILL);
			cr_assert_eq(bus_pipe_recv(a, in, 3, &len, T_LONG),
				     -EPIPE);
			cr_assert_eq(t_pipe_stats(a).peer_state,
				     BUS_PIPE_PEER_DEAD);
			t_wait(pid);
			bus_pipe_free(a);
		}
		cr_assert_eq(t_stats(bus).n_channels, 1);
	}
}

/* Threads ----------------------------------------------------------------- */

static void *echo_thread(void *arg)
{
	T_CHECK(echo(arg) == 0);
	return NULL;
}

Test(pipe, two_threads_have_an_end_each)
{
	static unsigned char mine[5000], its[5000];

	FOR_EACH_WAIT {
		struct bus *other;
		pthread_t t;
		size_t len;

		pair(256);
		cr_assert_eq(bus_attach(bus, &other), 0);
		cr_assert_eq(bus_pipe_move(b, NULL), -EINVAL);
		cr_assert_eq(bus_pipe_move(b, other), 0);
		cr_assert_eq(bus_pipe_move(b, other), -EBADF);
		cr_assert_eq(pthread_create(&t, NULL, echo_thread, b), 0);
		for (uint64_t i = 0; i < 1000; i++) {
			t_fill(mine, i, i);
			cr_assert_eq(bus_pipe_send(a, mine, i, T_LONG), 0);
			cr_assert_eq(bus_pipe_recv(a, its, sizeof(its), &len,
						   T_LONG),
				     0);
			cr_assert(len == i && t_is(its, i, i));
		}
		bus_pipe_free(a);
		pthread_join(t, NULL);
		bus_close(other);
	}
}

/* Named ------------------------------------------------------------------- */

Test(pipe, a_named_pipe_is_opened_in_any_order)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), -ENOENT);
	for (int first = 0; first < 2; first++) {
		struct bus_pipe **p = first ? &b : &a, **q = first ? &a : &b;

		cr_assert_eq(bus_pipe_open(bus, "p", &c, first, p), 0);
		cr_assert_eq(t_pipe_stats(*p).peer_state, BUS_PIPE_PEER_NONE);
		cr_assert_eq(t_pipe_stats(*p).peer_pid, 0);
		cr_assert_eq(bus_pipe_open(bus, "p", &c, first, q), -EBUSY);
		/* what is sent before the other is opened waits there */
		cr_assert_eq(send_n(*p, 20, 1, 0), 0);
		cr_assert_eq(bus_pipe_recv(*p, in, 1, NULL, 0), -EAGAIN);
		c.profile = BUS_PIPE_STREAM; /* not looked at any more */
		cr_assert_eq(bus_pipe_open(bus, "p", first ? NULL : &c,
					   1 - first, q),
			     0);
		cr_assert_eq(t_pipe_stats(*q).profile, 0);
		recv_n(*q, 20, 1);
		cr_assert_eq(send_n(*q, 20, 2, 0), 0);
		recv_n(*p, 20, 2);
		c.profile = 0;
		free_pair();
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), -ENOENT);
	}
	cr_assert_eq(t_stats(bus).n_channels, 1);
}

Test(pipe, a_name_is_one_channels)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_queue_config qc = BUS_QUEUE_CONFIG_INIT;
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	struct bus_queue *q;
	struct bus_coord *co;

	cc.handler = (bus_handler)(void (*)(void))exits;
	t_queue(bus, "q", 4, 8, 0);
	cr_assert_eq(bus_pipe_open(bus, "q", &c, 0, &a), -EEXIST);
	cr_assert_eq(bus_pipe_open(bus, "q", NULL, 0, &a), -EEXIST);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_queue_open(bus, "p", &qc, &q), -EEXIST);
	cr_assert_eq(bus_queue_open(bus, "p", NULL, &q), -EEXIST);
	cr_assert_eq(bus_coord_start(bus, "p", &cc, &co), -EEXIST);
	bus_pipe_free(a);
	/* the other side was never there: it may still come */
	cr_assert_eq(bus_queue_open(bus, "p", &qc, &q), -EEXIST);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	bus_pipe_free(b);
	/* gone, and its name is free */
	cr_assert_eq(bus_queue_open(bus, "p", &qc, &q), 0);
}

Test(pipe, a_writer_may_leave_before_the_reader_comes)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	for (uint64_t i = 0; i < 10; i++)
		cr_assert_eq(send_n(a, 20, i, 0), 0);
	bus_pipe_free(a);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	for (uint64_t i = 0; i < 10; i++)
		recv_n(b, 20, i);
	cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, -1), -EPIPE);
	/* and another one may go on */
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
	cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, 0), -EAGAIN);
	cr_assert_eq(send_n(a, 20, 1, 0), 0);
	recv_n(b, 20, 1);
}

Test(pipe, a_new_reader_begins_where_the_old_one_was)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	for (uint64_t i = 0; i < 200; i++) {
		cr_assert_eq(send_n(a, 50, i, 0), 0);
		cr_assert_eq(send_n(a, 50, i, 0), 0);
		recv_n(b, 50, i);
		bus_pipe_free(b);
		cr_assert_eq(send_n(a, 50, i, 0), -EPIPE);
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
		recv_n(b, 50, i);
	}
	/* in the middle of a message: that one is lost */
	half(1000);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	bus_pipe_free(b);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	half(1000); /* goes on */
	cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(send_n(a, 20, 3, 0), 0);
	recv_n(b, 20, 3);
}

Test(pipe, a_new_writer_begins_where_the_old_one_was)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	for (uint64_t i = 0; i < 200; i++) {
		cr_assert_eq(send_n(a, 50, i, 0), 0);
		if (i % 3 == 0)
			half(1000);
		bus_pipe_free(a);
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		recv_n(b, 50, i);
		if (i % 5 == 0)
			cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0),
				     -EAGAIN);
		cr_assert_eq(send_n(a, 40, i, 0), 0);
		recv_n(b, 40, i);
	}
}

Test(pipe, a_named_side_can_be_opened_again_after_a_death)
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

static int opens_by_name(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus *mine;
	struct bus_pipe *p;

	T_CHECK(bus_open(arg, NULL, &mine) == 0);
	T_CHECK(bus_pipe_open(mine, "service", &c, 1, &p) == 0);
	T_CHECK(echo(p) == 0);
	bus_pipe_free(p);
	bus_close(mine);
	return 0;
}

Test(pipe, two_programs_meet_by_name)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_config bc = pipe_config();
	const char *name = t_name("pipe");
	struct bus *named = t_bus_with(name, &bc);

	for (int k = 0; k < 3; k++) {
		pid_t child = t_fork(opens_by_name, (void *)(uintptr_t)name);

		cr_assert_eq(bus_pipe_open(named, "service", &c, 0, &a), 0);
		for (uint64_t i = 0; i < 100; i++)
			ask(a, i * 999, i);
		bus_pipe_free(a);
		t_join(child);
	}
	bus_close(named);
}

/* Both opened again and again by two processes: they always meet. */
static int opens_often(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	int side = *(int *)arg;

	for (int i = 0; i < 300; i++) {
		struct bus_pipe *p;
		int ret = bus_pipe_open(bus, "p", &c, side, &p);

		T_CHECK(ret == 0);
		ret = bus_pipe_send(p, "x", 1, 0);
		T_CHECK(ret == 0 || ret == -EPIPE);
		ret = bus_pipe_recv(p, in, 1, NULL, i % 2 ? 0 : MS);
		T_CHECK(ret == 0 || ret == -EPIPE || ret == -EAGAIN ||
			ret == -ETIMEDOUT);
		bus_pipe_free(p);
	}
	return 0;
}

Test(pipe, opening_and_closing_at_once_is_safe)
{
	static int sides[] = { 0, 1 };
	pid_t child[2];

	for (int i = 0; i < 2; i++)
		child[i] = t_fork(opens_often, &sides[i]);
	for (int i = 0; i < 2; i++)
		t_join(child[i]);
	cr_assert_leq(t_stats(bus).n_channels, 2);
}

/* Memory ------------------------------------------------------------------ */

static size_t shm_of(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(t_shm_path(name), &st), 0);
	return (size_t)st.st_blocks * 512;
}

Test(pipe, memory_is_taken_as_it_is_used_and_used_again)
{
	struct bus_config c = BUS_CONFIG_INIT;
	const char *name = t_name("mem");
	size_t empty, one;
	struct bus *named;

	c.blob_bytes = 1 << 20;
	c.max_message_bytes = 1 << 16;
	named = t_bus_with(name, &c);
	empty = shm_of(name);
	cr_assert_lt(empty, 2 << 20);
	t_pipe(named, BUS_PIPE_ADAPTIVE, 0, 0, &a, &b);
	one = shm_of(name);
	cr_assert_lt(one - empty, 64 << 10);
	for (int i = 0; i < 500; i++) {
		cr_assert_eq(send_n(a, 8, 1, 0), 0);
		recv_n(b, 8, 1);
		free_pair();
		t_pipe(named, BUS_PIPE_ADAPTIVE, i % 2, 0, &a, &b);
	}
	cr_assert_lt(shm_of(name), one + (64 << 10));
	cr_assert_leq(t_stats(named).n_channels, 2);
	bus_close(named);
}

Test(pipe, there_is_room_for_256_pipes)
{
	struct bus_config c = BUS_CONFIG_INIT;
	struct bus_pipe *p[512];
	struct bus *big;

	c.blob_bytes = 1 << 20;
	c.max_message_bytes = 1 << 16;
	big = t_bus_with(NULL, &c);
	for (int i = 0; i < 512; i += 2)
		cr_assert_eq(bus_pipe(big, NULL, &p[i], &p[i + 1]), 0, "%d", i);
	cr_assert_eq(bus_pipe(big, NULL, &a, &b), -ENOSPC);
	bus_pipe_free(p[100]);
	cr_assert_eq(bus_pipe(big, NULL, &a, &b), -ENOSPC);
	bus_pipe_free(p[101]);
	cr_assert_eq(bus_pipe(big, NULL, &a, &b), 0);
	bus_close(big);
}

static int fills_shm(void *arg)
{
	struct bus_config c = t_config();
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;
	struct bus *named;
	int n = 0, ret;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4m"))
		return T_SKIP;
	c.channel_bytes = 1 << 28;
	named = t_bus_with(arg, &c);
	pc.profile = BUS_PIPE_STREAM;
	T_CHECK(bus_pipe(named, &pc, &a, &b) == -ENOSPC);
	/* a growing one makes do with what there is */
	T_CHECK(bus_pipe(named, NULL, &a, &b) == 0);
	for (n = 0; !(ret = send_n(a, 4000, 1, 0)); n++)
		;
	T_CHECK(ret == -EAGAIN);
	while (n--)
		recv_n(b, 4000, 1);
	while (!(ret = bus_pipe(named, NULL, &a, &b)))
		T_CHECK(send_n(a, 100, 1, 0) == 0);
	T_CHECK(ret == -ENOSPC);
	bus_close(named);
	return 0;
}

Test(pipe, a_full_dev_shm_is_an_error_and_no_signal)
{
	t_join_or_skip(t_fork(fills_shm, (void *)(uintptr_t)t_name("full")),
		       "no mount namespace for us");
}

static int uses_a_stale_copy(void *arg)
{
	t_gate_wait(arg);
	/* the pipe that it is of is no more, another has its place */
	T_CHECK(send_n(b, 1, 1, -1) == -EBADF);
	T_CHECK(bus_pipe_recv(b, in, 1, NULL, -1) == -EBADF);
	bus_pipe_free(b);
	bus_close(bus);
	return 0;
}

Test(pipe, a_copy_of_an_old_pipe_is_none_of_the_new_one)
{
	struct bus_pipe *c, *d;
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(uses_a_stale_copy, &gate);
	/* used by us, the child has used neither */
	cr_assert_eq(send_n(a, 1, 1, 0), 0);
	recv_n(b, 1, 1);
	free_pair();
	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &c, &d);
	cr_assert_eq(t_stats(bus).n_channels, 1);
	t_gate_open(&gate);
	t_join(child);
	cr_assert_eq(send_n(c, 1, 1, 0), 0);
	recv_n(d, 1, 1);
	t_gate_close(&gate);
}

/* Kills ------------------------------------------------------------------- */

static int streams(void *arg)
{
	uint64_t i = 0;

	for (;; i++) {
		size_t len = i % 3 == 2 ? 1500 : i % 100;

		(void)arg;
		t_fill(out, len, i);
		if (bus_pipe_send(b, out, len, -1))
			return 1;
	}
}

/* Killed anywhere, the reader gets a prefix, then -EOWNERDEAD or not, then the
 * end. */
Test(pipe, a_killed_writer_leaves_whole_messages)
{
	uint64_t seed = 12345;

	FOR_EACH_WAIT {
		for (int k = 0; k < 60; k++) {
			uint64_t i, stop = rnd(&seed) % 200;
			size_t got;
			pid_t child;
			int ret;

			pair(256 << k % 3);
			child = t_fork(streams, NULL);
			for (i = 0;; i++) {
				size_t len = i % 3 == 2 ? 1500 : i % 100;

				if (i == stop)
					kill(child, SIGKILL);
				ret = bus_pipe_recv(a, in, sizeof(in), &got,
						    T_LONG);
				if (ret)
					break;
				cr_assert_eq(got, len);
				cr_assert(t_is(in, len, i));
			}
			if (ret == -EOWNERDEAD) {
				cr_assert_eq(i % 3, 2); /* one in parts */
				ret = bus_pipe_recv(a, in, sizeof(in), &got,
						    -1);
			}
			cr_assert_eq(ret, -EPIPE);
			cr_assert_geq(i, stop);
			t_wait(child);
			free_pair();
		}
	}
}

static int swallows(void *arg)
{
	size_t got;

	(void)arg;
	while (!bus_pipe_recv(b, in, sizeof(in), &got, -1))
		;
	return 1;
}

Test(pipe, a_killed_reader_ends_a_blocked_writer)
{
	uint64_t seed = 54321;

	FOR_EACH_WAIT {
		for (int k = 0; k < 60; k++) {
			uint64_t i, stop = rnd(&seed) % 300;
			pid_t child;
			int ret = 0;

			pair(256);
			child = t_fork(swallows, NULL);
			/* It has begun, or its end would still be ours. */
			while (t_pipe_stats(a).peer_state != BUS_PIPE_PEER_OPEN)
				sched_yield();
			for (i = 0; !ret; i++) {
				if (i == stop)
					kill(child, SIGKILL);
				ret = send_n(a, i % 2 ? 1000 : 8, i, T_LONG);
			}
			cr_assert_eq(ret, -EPIPE);
			cr_assert_eq(send_n(a, 1, 1, -1), -EPIPE);
			t_wait(child);
			free_pair();
		}
	}
}

static int reads_some_of(void *arg)
{
	uint64_t *next = arg, got;
	struct bus_pipe *p;
	struct bus_part part;
	int ret;

	do
		ret = bus_pipe_open(bus, "p", NULL, 1, &p);
	while (ret == -EBUSY);
	T_CHECK(ret == 0);
	for (;;) {
		T_CHECK(bus_pipe_peek(p, &part, -1) == 0);
		T_CHECK(part.len_bytes == 40 && part.total_bytes == 40);
		/* It is noted before it is released: killed in between, it
		 * comes again. */
		memcpy(&got, part.data, 8);
		T_CHECK(got == *next || got + 1 == *next);
		*(volatile uint64_t *)next = got + 1;
		T_CHECK(bus_pipe_release(p, &part) == 0);
	}
}

/* Readers that are killed one after the other lose no small message. */
Test(pipe, killed_readers_lose_nothing)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t *next = t_shared(sizeof(*next)), seed = 777, i = 0;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	for (int k = 0; k < 100; k++) {
		uint64_t until = *next + rnd(&seed) % 50;
		pid_t child = t_fork(reads_some_of, next);

		while (*(volatile uint64_t *)next < until) {
			memcpy(out, &i, 8);
			if (bus_pipe_send(a, out, 40, MS) == 0)
				i++;
		}
		kill(child, SIGKILL);
		cr_assert_eq(t_wait(child), -SIGKILL);
	}
	cr_assert_geq(i, *next);
}

static int opens_or_makes(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *p, *q;
	int k = *(int *)arg;

	T_CHECK(bus_check(bus) == 0);
	for (;; k++) {
		if (k % 2) {
			if (!bus_pipe_open(bus, "p", &c, k / 2 % 2, &p))
				bus_pipe_free(p);
		} else if (!bus_pipe(bus, &c, &p, &q)) {
			bus_pipe_send(p, "x", 1, 0);
			bus_pipe_recv(q, in, 1, NULL, 0);
			bus_pipe_free(p);
			bus_pipe_free(q);
		}
	}
	return 0;
}

/* Whatever they were at, nothing is lost but what they had. */
Test(pipe, killed_makers_leave_nothing_behind)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t seed = 4242;

	for (int k = 0; k < 150; k++) {
		pid_t child = t_fork(opens_or_makes, &k);

		usleep((useconds_t)(200 + rnd(&seed) % 800));
		kill(child, SIGKILL);
		t_wait(child);
	}
	bus_reap(bus);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	cr_assert_eq(send_n(a, 9, 1, 0), 0);
	recv_n(b, 9, 1);
	/* some, as nobody looks for the dead all the time */
	cr_assert_leq(t_stats(bus).n_channels, 100);
	cr_assert_eq(t_stats(bus).n_endpoints, 1);
	bus_reap(bus);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(bus_pipe(bus, &c, &a, &b), 0);
	cr_assert_leq(t_stats(bus).n_channels, 101);
}

/* Settings of the bus ----------------------------------------------------- */

Test(pipe, all_ways_to_spin_and_fence_work)
{
	for (uint32_t spin = 0; spin <= BUS_SPIN_NEVER; spin++)
		for (uint32_t flags = 0; flags <= BUS_F_FENCE;
		     flags += BUS_F_FENCE) {
			struct bus_config c = pipe_config();
			pid_t child;

			bus_close(bus);
			c.spin = spin;
			c.flags = flags;
			bus = t_bus_with(NULL, &c);
			t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, 0, &a, &b);
			child = t_fork(echo, b);
			for (uint64_t i = 0; i < 200; i++)
				ask(a, i % 20 ? i : i * 2000, i);
			bus_pipe_free(a);
			t_join(child);
		}
}

static void on_alarm(int sig)
{
	(void)sig;
}

Test(pipe, a_signal_ends_a_call_where_that_is_wanted)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct bus_config c = pipe_config();

	sigaction(SIGALRM, &sa, NULL);
	bus_close(bus);
	c.flags = BUS_F_EINTR;
	bus = t_bus_with(NULL, &c);
	pair(256);
	half(1000);
	for (int i = 0; i < 4; i++) {
		struct itimerval t = { { 0, 0 }, { 0, 30000 } };
		size_t len;
		int ret;

		setitimer(ITIMER_REAL, &t, NULL);
		if (i == 0)
			ret = bus_pipe_recv(b, in, 1000, &len, T_LONG);
		else if (i == 1)
			ret = bus_pipe_poll(b, T_LONG);
		else if (i == 2)
			ret = bus_pipe_exchange(b, out, 2000, in, 1000, &len,
						T_LONG);
		else
			ret = bus_pipe_cancel(b) ? 0
						 : send_n(b, 3000, 1, T_LONG);
		cr_assert_eq(ret, -EINTR, "%d", i);
	}
}

static int without_uring(void *arg)
{
	pid_t child;

	(void)arg;
	if (t_deny_io_uring(EPERM))
		return T_SKIP;
	setup();
	pair(256);
	child = t_fork(echo, b);
	for (uint64_t i = 0; i < 100; i++) {
		T_CHECK(send_n(a, 300, i, T_LONG) == 0);
		recv_n(a, 300, i);
	}
	kill(child, SIGKILL);
	T_CHECK(bus_pipe_recv(a, in, 1, NULL, T_LONG) == -EPIPE);
	t_wait(child);
	return 0;
}

Test(pipe, deaths_are_seen_without_io_uring)
{
	t_join_or_skip(t_fork(without_uring, NULL), "no seccomp here");
}

Test(pipe, nothing_is_left_open)
{
	int n_fds = t_count_fds();

	for (int i = 0; i < 20; i++) {
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		ask(a, 5, 5);
		cr_assert_eq(bus_pipe_poll(a, MS), -ETIMEDOUT);
		bus_pipe_free(a);
		bus_pipe_free(b);
		t_join(child);
	}
	cr_assert_leq(t_count_fds(), n_fds + 1); /* a ring, perhaps */
}

/* Without /proc. */
static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int leaves_nothing_open(void *arg)
{
	int n_fds;

	(void)arg;
	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/proc", "tmpfs", 0, NULL))
		return T_SKIP;
	T_CHECK(bus_check(bus) == 0);
	n_fds = open_descriptors();
	for (int i = 0; i < 20; i++) {
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		ask(a, 5, 5);
		T_CHECK(bus_pipe_poll(a, MS) == -ETIMEDOUT);
		T_CHECK(a->watch.fd >= 0);
		bus_pipe_free(a);
		bus_pipe_free(b);
		T_CHECK(t_wait(child) == 0);
	}
	T_CHECK(open_descriptors() <= n_fds + 1); /* a ring, perhaps */
	bus_close(bus);
	T_CHECK(open_descriptors() <= n_fds);
	return 0;
}

Test(pipe, nothing_is_left_open_without_proc)
{
	t_join_or_skip(t_fork(leaves_nothing_open, NULL),
		       "no mount namespace for us");
}

/* Hostile memory ---------------------------------------------------------- */

static struct sb_spsc *spsc_of(struct bus_pipe *p, uint32_t dir)
{
	return (void *)((unsigned char *)p->head +
			bus_pipe_dir_off(p->slot_bytes, dir));
}

Test(pipe, nonsense_in_a_slot_is_eproto)
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

Test(pipe, nonsense_in_a_fragment_is_dropped_and_counted)
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
Test(pipe, a_huge_total_is_only_a_number)
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

Test(pipe, a_head_that_lies_is_refused)
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

Test(pipe, a_peers_word_that_lies_does_no_harm)
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

/* Ends that are somebody else's ------------------------------------------- */

static void send_over(struct bus_pipe *from, struct bus_pipe *to)
{
	cr_assert_eq(send_n(from, 20, 7, 0), 0);
	recv_n(to, 20, 7);
}

Test(pipe, closing_again_does_not_close_what_came_after)
{
	struct bus_pipe *c, *d;

	pair(256);
	send_over(a, b);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	cr_assert_eq(bus_pipe_close(b, BOTH), 0);
	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &c, &d);
	cr_assert_eq(c->head, a->head); /* in the same memory */
	send_over(c, d);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	bus_pipe_free(b);
	bus_pipe_free(a);
	send_over(c, d);
	send_over(d, c);
}

/* A side that we had and have closed is another endpoint's now. */
Test(pipe, a_closed_handle_does_nothing_to_the_next_owner)
{
	struct bus_poll it = { .kind = BUS_POLL_PIPE };
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *next;
	struct bus *other;
	uint64_t word;

	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	cr_assert_eq(bus_attach(bus, &other), 0);
	cr_assert_eq(bus_pipe_open(other, "p", NULL, 0, &next), 0);
	word = ld_acq(&a->head->side[0]);
	it.on.pipe = a;
	cr_assert_eq(bus_pipe_hand_over(a, getpid()), -EBADF);
	cr_assert_eq(bus_wait(bus, &it, 1, 50 * MS), 1);
	cr_assert(it.ready & BUS_POLL_ERR);
	bus_pipe_free(a);
	cr_assert_eq(ld_acq(&next->head->side[0]), word);
	send_over(next, b);
	bus_close(other);
}

struct declining {
	struct t_gate handed_over, declined, over;
	bool by_bus_close;
};

static int declines(void *arg)
{
	struct declining *d = arg;

	t_gate_wait(&d->handed_over);
	if (d->by_bus_close)
		bus_close(bus);
	else
		bus_pipe_free(b);
	t_gate_open(&d->declined);
	t_gate_wait(&d->over);
	return 0;
}

Test(pipe, an_end_that_was_handed_over_can_be_freed_unused)
{
	for (int k = 0; k < 2; k++) {
		struct declining d = { .by_bus_close = k };
		pid_t child;

		t_gate_init(&d.handed_over);
		t_gate_init(&d.declined);
		t_gate_init(&d.over);
		pair(256);
		child = t_fork(declines, &d);
		cr_assert_eq(bus_pipe_hand_over(b, child), 0);
		t_gate_open(&d.handed_over);
		if (k) /* else asleep meanwhile, perhaps */
			t_gate_wait(&d.declined);
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, 5000 * (int64_t)MS),
			     -EPIPE);
		cr_assert_eq(t_pipe_stats(a).peer_state, BUS_PIPE_PEER_CLOSED);
		t_gate_open(&d.over);
		t_join(child);
		bus_pipe_free(a);
		t_gate_close(&d.handed_over);
		t_gate_close(&d.declined);
		t_gate_close(&d.over);
	}
}

static int exits_after(void *arg)
{
	t_gate_wait(arg);
	return 0;
}

struct giving {
	struct t_gate given, over;
	int how; /* 0 given away, 1 and closed there, 2 dies, 3 dies unburied */
};

static int gives_away(void *arg)
{
	struct giving *g = arg;
	pid_t child;

	T_CHECK(bus_pipe_poll(b, 0) == -EAGAIN);
	if (g->how >= 2) {
		t_gate_open(&g->given);
		t_gate_wait(&g->over);
	}
	child = t_fork(exits_after, &g->over);
	T_CHECK(bus_pipe_hand_over(b, child) == 0);
	if (g->how == 1)
		t_kill(child);
	t_gate_open(&g->given);
	return g->how == 1 ? 0 : t_wait(child);
}

/* So that it does not matter who is faster. */
Test(pipe, handing_over_what_the_child_has_given_away_is_fine)
{
	for (int how = 0; how < 4; how++) {
		struct giving g = { .how = how };
		pid_t child;

		t_gate_init(&g.given);
		t_gate_init(&g.over);
		pair(256);
		child = t_fork(gives_away, &g);
		t_gate_wait(&g.given);
		if (how >= 2)
			t_kill(child);
		if (how == 2)
			bus_reap(bus);
		cr_assert_eq(bus_pipe_hand_over(b, child), 0, "%d", how);
		t_gate_open(&g.over);
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
		if (how < 2)
			t_join(child);
		bus_pipe_free(a);
		t_gate_close(&g.given);
		t_gate_close(&g.over);
	}
}

struct relay {
	struct t_gate handed_over;
};

static int hands_on_unused(void *arg)
{
	struct relay *r = arg;
	pid_t child;

	t_gate_wait(&r->handed_over);
	child = t_fork(exits, NULL);
	T_CHECK(bus_pipe_hand_over(a, child) == -EBADF); /* our parent's */
	T_CHECK(bus_pipe_hand_over(b, child) == 0);
	return t_wait(child);
}

Test(pipe, what_was_handed_over_can_be_handed_on_unused)
{
	struct relay r;
	pid_t child;

	t_gate_init(&r.handed_over);
	pair(256);
	cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN);
	child = t_fork(hands_on_unused, &r);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	t_gate_open(&r.handed_over);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	t_join(child);
	t_gate_close(&r.handed_over);
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

Test(pipe, ends_that_no_child_has_used_are_taken_back)
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
Test(pipe, what_a_child_may_still_receive_is_not_taken_back)
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

Test(pipe, names_that_nobody_comes_to_are_taken_back)
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

/* What is not ours to touch ----------------------------------------------- */

/* The lowest descriptors from 3 on, closed and then the program's. */
static void reuse_descriptors(int *fd, int n)
{
	for (int i = 3; i < 3 + n; i++)
		close(i);
	for (int i = 0; i < n; i++)
		fd[i] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

static bool are_open(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		if (fcntl(fd[i], F_GETFD) < 0)
			return false;
	return true;
}

#define N_FDS 60

static int closes_what_it_does_not_know(void *arg)
{
	int fd[N_FDS];

	(void)arg;
	reuse_descriptors(fd, N_FDS);
	T_CHECK(bus_check(bus) == 0); /* forgets its parent's watches */
	T_CHECK(are_open(fd, N_FDS));
	return 0;
}

static int watches_and_closes(void *arg)
{
	int fd[N_FDS];
	pid_t child;

	(void)arg;
	pair(256);
	child = t_fork(echo, b);
	ask(a, 5, 5);
	T_CHECK(bus_pipe_recv(a, in, 1, NULL, 5 * MS) == -ETIMEDOUT);
	T_CHECK(a->watch.fd >= 3 && a->watch.fd < 3 + N_FDS);
	T_CHECK(t_wait(t_fork(closes_what_it_does_not_know, NULL)) == 0);
	reuse_descriptors(fd, N_FDS);
	bus_pipe_recv(a, in, 1, NULL, 20 * MS);
	bus_pipe_free(a);
	T_CHECK(are_open(fd, N_FDS));
	return t_wait(child);
}

Test(pipe, descriptors_that_are_not_ours_stay_open)
{
	t_join(t_fork(watches_and_closes, NULL));
}

/* Its owner's endpoint is recovered, and nobody else has that id yet. */
Test(pipe, the_pid_of_the_dead_is_known_as_long_as_it_can_be)
{
	struct t_gate gate;
	uint32_t id;
	uint64_t seen;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(begins_and_tells, &gate);
	t_gate_wait(&gate);
	id = bus_side_who(ld_acq(a->peer)) & 0xff;
	t_kill(child);
	/* by one who did not get to the pipes */
	cr_assert(bus_ep_bury(bus->map, id, ld_acq(&bus->map->ep[id].state)));
	seen = ld_acq(&bus->map->ep[id].state);
	cr_assert(bus_ep_enter(bus->map, bus->id, id, seen));
	bus_ep_exit(bus->map, bus->id, id, seen);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	cr_assert_eq(peer_state(a), BUS_PIPE_PEER_DEAD);
	cr_assert_eq(t_pipe_stats(a).peer_pid, child);
	t_gate_close(&gate);
}

/* Its peer's word names an old life of an id that another endpoint has now, who
 * sleeps for this very pipe. */
Test(pipe, the_next_owner_of_a_dead_id_is_not_forgotten_asleep)
{
	struct bus *other;
	uint32_t rang, old;
	uint64_t bit;

	pair(256);
	send_over(a, b);
	cr_assert_eq(bus_attach(bus, &other), 0);
	bit = UINT64_C(1) << other->id % 64;
	old = bus_side_me(other) - 0x100;
	st_rel(&a->in->tx.bits[other->id / 64], bit);
	rang = ld_acq(sb_bell(&bus->bells, other->id));
	st_rel(a->peer, bus_side_word(old, a->inst, BUS_SIDE_OPEN));
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	cr_assert((ld_acq(&a->in->tx.bits[other->id / 64]) & bit) ||
		  ld_acq(sb_bell(&bus->bells, other->id)) != rang);
	bus_close(other);
}

/* The line where two directions meet --------------------------------------- */

static bool in_line(const void *p)
{
	const unsigned char *at = p, *line = (void *)&a->head->meet;

	return at >= line && at < line + sizeof(a->head->meet);
}

/* The next message that @p gets came through the line. */
static bool is_met(struct bus_pipe *p)
{
	struct bus_part part;

	cr_assert_eq(bus_pipe_peek(p, &part, 0), 0);
	return in_line(part.data);
}

Test(pipe, short_messages_of_a_round_trip_go_through_the_line)
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

static int answers_late(void *arg)
{
	struct timespec late = { 0, 2 * MS };

	(void)arg;
	while (bus_pipe_recv(b, in, 8, NULL, T_LONG) == 0) {
		nanosleep(&late, NULL);
		T_CHECK(send_n(b, 8, 1, T_LONG) == 0);
	}
	return 0;
}

/* After a sleep the next answer is not likely to come at once. */
Test(pipe, nobody_glances_for_what_he_slept_for)
{
	int n_slept = 0;
	pid_t child;

	pair(256);
	child = t_fork(answers_late, NULL);
	/* It takes some round trips until they come through the line. */
	for (int i = 0; i < 1000 && n_slept < 3; i++) {
		const _Atomic uint64_t *parks = &bus->ep->counts.parks;
		uint64_t before = ld_rlx(parks);

		cr_assert_eq(send_n(a, 8, 1, T_LONG), 0);
		recv_n(a, 8, 1);
		if (ld_rlx(parks) == before || !sb_spsc_was_met(&a->rx))
			continue;
		cr_assert_eq(a->n_glances, 0);
		n_slept++;
	}
	cr_assert_gt(n_slept, 0);
	bus_pipe_free(a);
	t_join(child);
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
Test(pipe, the_line_and_the_slots_keep_the_order)
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

Test(pipe, a_new_owner_goes_on_with_the_line)
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

/* Its writer was killed before it was counted. */
Test(pipe, a_record_in_the_line_is_not_taken_back)
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

/* Ends that are told of in a message --------------------------------------- */

static struct bus_pipe *to_child;

/* Gets refs, takes the ends, and answers through them. */
static int takes_ends(void *arg)
{
	struct bus_pipe_ref ref;
	struct bus_pipe *end;
	uint64_t i = 0;

	(void)arg;
	while (bus_pipe_recv(to_child, &ref, sizeof(ref), NULL, T_LONG) == 0) {
		T_CHECK(bus_pipe_take(bus, &ref, &end) == 0);
		recv_n(end, 7, i);
		T_CHECK(send_n(end, 9, i++, T_LONG) == 0);
		bus_pipe_free(end);
		T_CHECK(bus_pipe_take(bus, &ref, &end) == -EBADF);
	}
	bus_close(bus);
	return 0;
}

Test(pipe, an_end_can_be_told_of_in_a_message)
{
	struct bus_pipe *mine;
	pid_t child;

	pair(256);
	mine = a;
	to_child = b;
	child = t_fork(takes_ends, NULL);
	for (uint64_t i = 0; i < 300; i++) {
		struct bus_pipe_ref ref;

		pair(256);
		cr_assert_eq(bus_pipe_ref(b, &ref), 0);
		cr_assert_eq(send_n(a, 7, i, 0), 0);
		bus_pipe_free(b); /* closes nothing */
		cr_assert_eq(bus_pipe_send(mine, &ref, sizeof(ref), T_LONG), 0);
		recv_n(a, 9, i);
		cr_assert_eq(bus_pipe_recv(a, in, 9, NULL, T_LONG), -EPIPE);
		bus_pipe_free(a);
	}
	bus_pipe_free(mine);
	t_join(child);
}

Test(pipe, only_an_end_that_nobody_has_is_told_of)
{
	struct bus_pipe_ref ref, wrong;
	struct bus_pipe *p;

	pair(256);
	cr_assert_eq(bus_pipe_ref(b, NULL), -EINVAL);
	cr_assert_eq(send_n(a, 1, 1, 0), 0);
	cr_assert_eq(bus_pipe_ref(a, &ref), -EBADF);
	cr_assert_eq(bus_pipe_ref(b, &ref), 0);
	for (int i = 0; i < 3; i++) {
		wrong = ref;
		wrong.channel += i == 0;
		wrong.side += i == 1 ? 1 : 0;
		wrong.instance += i == 2;
		cr_assert_eq(bus_pipe_take(bus, &wrong, &p), -EINVAL);
	}
	wrong = ref;
	wrong.side = 0;
	cr_assert_eq(bus_pipe_take(bus, &wrong, &p), -EBADF);
	wrong = ref;
	wrong.instance += BUS_SIDE_INST_ONE;
	cr_assert_eq(bus_pipe_take(bus, &wrong, &p), -EBADF);
	cr_assert_eq(bus_pipe_take(bus, &ref, &p), 0);
	recv_n(p, 1, 1);
	cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, 0), -EBADF);
	bus_pipe_free(p);
	free_pair();
	/* that pipe is gone; the next one in its place is another */
	pair(256);
	cr_assert_eq(bus_pipe_take(bus, &ref, &p), -EBADF);
	free_pair();
}

static int makes_and_dies(void *arg)
{
	struct bus_pipe_ref ref;

	pair(256);
	T_CHECK(bus_pipe_ref(b, &ref) == 0);
	T_CHECK(bus_pipe_send(arg, &ref, sizeof(ref), 0) == 0);
	return 0; /* without bus_close() */
}

Test(pipe, an_end_of_a_maker_who_is_gone_is_not_taken)
{
	struct bus_pipe_ref ref;
	struct bus_pipe *mine, *its, *p;

	cr_assert_eq(bus_pipe(bus, NULL, &mine, &its), 0);
	t_join(t_fork(makes_and_dies, its));
	cr_assert_eq(bus_pipe_recv(mine, &ref, sizeof(ref), NULL, T_LONG), 0);
	bus_reap(bus);
	cr_assert_eq(bus_pipe_take(bus, &ref, &p), -EPIPE);
	bus_pipe_free(mine);
	bus_pipe_free(its);
}

/* -------------------------------------------------------- no endpoint -- */

struct crowded {
	struct bus *bus;
	struct bus_pipe *a;
};

static int without_an_endpoint(void *arg)
{
	struct crowded *c = arg;
	struct bus_stats stats = BUS_STATS_INIT;
	struct bus_pool_stats pool = BUS_POOL_STATS_INIT;
	struct bus_pipe_ref ref = { 0 };
	struct bus_pipe *x, *y;

	T_CHECK(bus_pipe(c->bus, NULL, &x, &y) == -EUSERS);
	T_CHECK(bus_pipe_open(c->bus, "n", NULL, 0, &x) == -EUSERS);
	T_CHECK(bus_pipe_ref(c->a, &ref) == -EUSERS);
	T_CHECK(bus_pipe_take(c->bus, &ref, &x) == -EUSERS);
	T_CHECK(bus_stats(c->bus, &stats) == -EUSERS);
	T_CHECK(bus_pool_stats(c->bus, "p", &pool, NULL, 0) == -EUSERS);
	return 0;
}

Test(pipe, each_call_of_who_has_no_endpoint_says_so)
{
	struct bus_config config = t_config();
	struct bus *other;
	struct bus_pipe *other_end;
	struct crowded c;

	config.max_endpoints = 2;
	c.bus = t_bus_with(NULL, &config);
	cr_assert_eq(bus_attach(c.bus, &other), 0);
	t_pipe(c.bus, 0, 0, 0, &c.a, &other_end);
	t_join(t_fork(without_an_endpoint, &c));
	cr_assert_eq(bus_pipe_send(c.a, "x", 1, 0), 0);
	bus_pipe_free(c.a);
	bus_pipe_free(other_end);
	bus_close(other);
	bus_close(c.bus);
}

/* -EPIPE, and the part is not on loan any more. */
Test(pipe, what_is_committed_after_the_reader_has_left_goes_nowhere)
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
