/*
 * faults_pipe.c - what is done with pipes while their system calls fail
 *
 * Messages small and large, in both directions, by one process where that is
 * enough, so that each call has its number.  A child's calls fail, too.
 */
#include "config.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "tools/torture/faults.h"

int fa_do_pipe(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;
	unsigned char buf[BIG];
	size_t len;
	int ret, n;

	TRY(bus_create(NULL, &c, &fa.bus));
	pc.slot_bytes = 65536;
	TRY(bus_pipe(fa.bus, &pc, &fa.a, &fa.b));
	/* The slots grow, unless there is no memory for that. */
	for (n = 0; n < 60; n++) {
		t_fill(buf, BIG, 3);
		ret = bus_pipe_send(fa.a, buf, BIG, 0);
		if (ret == -EAGAIN)
			break;
		TRY(ret);
	}
	MUST(n > 2);
	for (int i = 0; i < n; i++) {
		memset(buf, 0, sizeof(buf));
		TRY(bus_pipe_recv(fa.b, buf, sizeof(buf), &len, LIMIT_NS));
		MUST(len == BIG && t_is(buf, BIG, 3));
	}
	ret = bus_pipe_recv(fa.b, buf, sizeof(buf), &len, TICK_NS);
	EXPECT(ret, -ETIMEDOUT);
	return 0;
}

/* Not before the other one has gone to sleep. */
static int says_hello(void *ctx, struct bus_pipe *end)
{
	const struct timespec t = { .tv_nsec = 5000000 };

	(void)ctx;
	nanosleep(&t, NULL);
	return bus_pipe_send(end, "hello", 5, LIMIT_NS) ? 1 : 0;
}

/* A child with the other end. */
int fa_do_spawn(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	unsigned char buf[8];
	size_t len = 0;
	pid_t pid;
	int ret;

	TRY(bus_create(NULL, &c, &fa.bus));
	TRY(bus_pipe_spawn(fa.bus, NULL, says_hello, NULL, &fa.a, &pid));
	ret = bus_pipe_recv(fa.a, buf, sizeof(buf), &len, LIMIT_NS);
	MUST(ret || (len == 5 && !memcmp(buf, "hello", 5)));
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	TRY(ret);
	return 0;
}

/* ------------------------------------------------------- messages in parts -- */

static int open_pipe(uint64_t slot_bytes)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;

	TRY(bus_create(NULL, &c, &fa.bus));
	pc.slot_bytes = slot_bytes;
	TRY(bus_pipe(fa.bus, &pc, &fa.a, &fa.b));
	return 0;
}

/* The next parts, until there is no room, or all are gone. */
static int send_parts(const unsigned char *from, size_t *done)
{
	struct bus_part part;
	int ret;

	while (*done < LARGE) {
		ret = bus_pipe_loan(fa.a, LARGE, &part, 0);
		if (ret == -EAGAIN)
			return 0;
		TRY(ret);
		memcpy(part.data, from + *done, part.len_bytes);
		*done += part.len_bytes;
		TRY(bus_pipe_commit(fa.a, &part));
	}
	return 0;
}

/* Who receives has no time, so it is kept until there is more. */
static int recv_large(unsigned char *buf)
{
	size_t done = 0, len = 0;
	int ret = -EAGAIN;

	t_fill(buf, LARGE, 3);
	for (int i = 0; ret == -EAGAIN && i < 100; i++) {
		TRY(send_parts(buf, &done));
		memset(buf + LARGE, 0, LARGE);
		ret = bus_pipe_recv(fa.b, buf + LARGE, LARGE, &len, 0);
	}
	TRY(ret);
	MUST(len == LARGE && t_is(buf + LARGE, LARGE, 3));
	return 0;
}

static int peek_large(unsigned char *buf)
{
	size_t sent = 0, done = 0;
	struct bus_part part;

	t_fill(buf, LARGE, 5);
	while (done < LARGE) {
		TRY(send_parts(buf, &sent));
		TRY(bus_pipe_peek(fa.b, &part, LIMIT_NS));
		MUST(part.offset_bytes == done && part.total_bytes == LARGE &&
		     !memcmp(part.data, buf + done, part.len_bytes));
		done += part.len_bytes;
		TRY(bus_pipe_release(fa.b, &part));
	}
	return 0;
}

/* Time is up in the middle of one: it is given up, and the next one comes. */
static int give_up_large(unsigned char *buf)
{
	size_t len = 0;
	int ret;

	t_fill(buf, LARGE, 7);
	ret = bus_pipe_send(fa.a, buf, LARGE, TICK_NS);
	EXPECT(ret, -ETIMEDOUT);
	ret = bus_pipe_recv(fa.b, buf, LARGE, &len, 0);
	EXPECT(ret, -EAGAIN);
	t_fill(buf, BIG, 9);
	TRY(bus_pipe_send(fa.a, buf, BIG, LIMIT_NS));
	memset(buf, 0, BIG);
	TRY(bus_pipe_recv(fa.b, buf, LARGE, &len, LIMIT_NS));
	MUST(len == BIG && t_is(buf, BIG, 9));
	return 0;
}

int fa_do_parts(void)
{
	static unsigned char buf[2 * LARGE];

	TRY(open_pipe(4096));
	TRY(recv_large(buf));
	TRY(peek_large(buf));
	return give_up_large(buf);
}

/* Both at once, in turn, until both have what the other had. */
int fa_do_exchange(void)
{
	static unsigned char out[2][LARGE], in[2][LARGE];
	size_t len[2] = { 0 };
	int ret[2] = { -EAGAIN, -EAGAIN };

	TRY(open_pipe(4096));
	for (int i = 0; i < 2; i++) {
		t_fill(out[i], LARGE, (uint64_t)i);
		memset(in[i], 0, LARGE);
	}
	for (int i = 0; i < 200 && (ret[0] || ret[1]); i++) {
		int k = i % 2;

		if (!ret[k])
			continue;
		ret[k] = bus_pipe_exchange(k ? fa.b : fa.a, out[k], LARGE,
					   in[k], LARGE, &len[k], 0);
		if (ret[k] != -EAGAIN)
			TRY(ret[k]);
	}
	MUST(!ret[0] && !ret[1]);
	for (uint64_t i = 0; i < 2; i++)
		MUST(len[i] == LARGE && t_is(in[i], LARGE, 1 - i));
	return 0;
}

/* Of one side, which is then opened again; and by another endpoint. */
int fa_do_named_pipe(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;
	unsigned char buf[BIG];
	size_t len = 0;

	TRY(bus_create(NULL, &c, &fa.bus));
	TRY(bus_attach(fa.bus, &fa.other));
	pc.slot_bytes = 4096;
	TRY(bus_pipe_open(fa.bus, "p", &pc, 0, &fa.a));
	t_fill(buf, BIG, 3);
	TRY(bus_pipe_send(fa.a, buf, BIG, LIMIT_NS));
	TRY(bus_pipe_open(fa.other, "p", NULL, 1, &fa.b));
	bus_pipe_free(fa.b);
	fa.b = NULL;
	TRY(bus_pipe_open(fa.other, "p", NULL, 1, &fa.b));
	memset(buf, 0, BIG);
	TRY(bus_pipe_recv(fa.b, buf, BIG, &len, LIMIT_NS));
	MUST(len == BIG && t_is(buf, BIG, 3));
	TRY(bus_pipe_send(fa.b, buf, BIG, LIMIT_NS));
	TRY(bus_pipe_recv(fa.a, buf, BIG, &len, LIMIT_NS));
	MUST(len == BIG && t_is(buf, BIG, 3));
	return 0;
}
