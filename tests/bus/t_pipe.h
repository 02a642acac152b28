/*
 * t_pipe.h - what the tests of bus/pipe*.c have in common: a bus, a pipe with
 * its two ends, messages that go through it, and children that use it
 *
 * Waits that could hang have a deadline, T_LONG, that only a hang reaches.
 */
#ifndef TEST_BUS_T_PIPE_H
#define TEST_BUS_T_PIPE_H

#include <criterion/criterion.h>

#include "bus/pipe.h"
#include "tests/bus/t_bus.h"

#define MS 1000000

static struct bus *bus;
static struct bus_pipe *a, *b;
static unsigned char out[1 << 20], in[1 << 20];

static inline struct bus_config pipe_config(void)
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

static inline void pair(uint64_t slot_bytes)
{
	t_pipe(bus, BUS_PIPE_LATENCY, 0, slot_bytes, &a, &b);
}

static inline void free_pair(void)
{
	bus_pipe_free(a);
	bus_pipe_free(b);
}

/* Both ways of sleeping, one after the other, each with a new bus. */
static inline bool next_wait(uint32_t *wait)
{
	struct bus_config c = pipe_config();
	int ret;

	for (; *wait <= BUS_WAIT_FUTEX; ++*wait) {
		if (*wait == BUS_WAIT_URING && t_rings_are_few())
			continue;
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

static inline uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static inline double ms_since(uint64_t start)
{
	return (double)(sb_now_ns() - start) / 1e6;
}

static inline uint32_t peer_state(struct bus_pipe *p)
{
	return t_pipe_stats(p).peer_state;
}

/* Messages ---------------------------------------------------------------- */

static inline int send_n(struct bus_pipe *p, size_t len, uint64_t i,
			 int64_t timeout)
{
	t_fill(out, len, i);
	return bus_pipe_send(p, out, len, timeout);
}

/* Receive message number @i of @len bytes. */
static inline void recv_n(struct bus_pipe *p, size_t len, uint64_t i)
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

/* Any message. */
static inline void send_over(struct bus_pipe *from, struct bus_pipe *to)
{
	cr_assert_eq(send_n(from, 20, 7, 0), 0);
	recv_n(to, 20, 7);
}

/*
 * Send message @i of @total bytes from @from to @to, whatever their slots have
 * room for, in one thread: a part, then a receive.  Leaves the last parts to be
 * received.
 */
static inline void send_between(struct bus_pipe *from, struct bus_pipe *to,
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

/* Commit the first part of a message of @total. */
static inline void half(size_t total)
{
	struct bus_part part;

	T_CHECK(bus_pipe_loan(a, total, &part, 0) == 0);
	T_CHECK(part.len_bytes < total);
	memset(part.data, 1, part.len_bytes);
	T_CHECK(bus_pipe_commit(a, &part) == 0);
}

/* In the line where two directions meet? */
static inline bool in_line(const void *p)
{
	const unsigned char *at = p, *line = (void *)&a->head->meet;

	return at >= line && at < line + sizeof(a->head->meet);
}

/* Children ---------------------------------------------------------------- */

static inline int exits(void *arg)
{
	(void)arg;
	return 0;
}

/* Sends back what it gets until the other end is closed. */
static inline int echo(void *arg)
{
	struct bus_pipe *p = arg;
	size_t len;
	int ret;

	while (!(ret = bus_pipe_recv(p, in, sizeof(in), &len, -1)))
		T_CHECK(bus_pipe_send(p, in, len, -1) == 0);
	return ret == -EPIPE ? 0 : 1;
}

/* Ask one who does. */
static inline void ask(struct bus_pipe *p, size_t len, uint64_t i)
{
	cr_assert_eq(send_n(p, len, i, T_LONG), 0);
	recv_n(p, len, i);
}

/* Opens the gate when the end is its own. */
static inline int begins_and_tells(void *arg)
{
	T_CHECK(bus_pipe_poll(b, 0) == -EAGAIN);
	t_gate_open(arg);
	return echo(b);
}

/* Uses the end when the gate is open, and not before. */
static inline int waits_for_gate(void *arg)
{
	t_gate_wait(arg);
	recv_n(b, 5, 1);
	T_CHECK(send_n(b, 6, 2, 0) == 0);
	bus_close(bus);
	return 0;
}

#endif
