/*
 * faults_works.c - what is done with a bus while its system calls fail: queues,
 * names, sleep, and who died or forked
 *
 * Each work is the same every time, so that a call has the same number in each
 * run.  A call of the library that fails ends it; as long as none does, all
 * must be right.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>

#include "tools/torture/faults.h"

struct bus *fa_inherited;
struct fa_made fa;

void fa_wrong(const char *file, uint32_t line)
{
	fa_sh->file = file;
	fa_sh->wrong = line;
}

int fa_failed(int ret, const char *file, uint32_t line)
{
	if (ret < -4095)
		fa_wrong(file, line);
	if (ret == -ETIMEDOUT) {
		fa_sh->file = file; /* what it waited for was there */
		fa_sh->stuck = line;
	}
	return ret;
}

struct bus_config fa_settings(uint32_t wait)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = wait;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = 8;
	c.channel_bytes = 1 << 20;
	c.max_message_bytes = 4096;
	c.blob_bytes = 1 << 16;
	return c;
}

static int open_queue(struct bus *bus)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;

	c.n_slots = 8;
	return bus_queue_open(bus, "q", &c, &fa.q);
}

uint32_t fa_ours(void)
{
	uint32_t was = fa_sh->inside;

	fa_sh->inside = 0;
	return was;
}

static int put_and_get(void)
{
	unsigned char buf[BIG];
	size_t len;

	for (int i = 0; i < 4; i++) {
		uint32_t n = i % 2 ? BIG : 16;

		t_fill(buf, n, 3);
		TRY(bus_queue_put(fa.q, buf, n, LIMIT_NS));
		memset(buf, 0, sizeof(buf));
		TRY(bus_queue_get(fa.q, buf, sizeof(buf), &len, LIMIT_NS));
		MUST(len == n && t_is(buf, n, 3));
	}
	return 0;
}

static int do_queue(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);

	TRY(bus_create(NULL, &c, &fa.bus));
	TRY(open_queue(fa.bus));
	TRY(put_and_get());
	TRY(bus_attach(fa.bus, &fa.other));
	return 0;
}

static int do_named(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);

	TRY(bus_create(t_name("f"), &c, &fa.bus));
	TRY(bus_open(t_name("f"), &c, &fa.other));
	TRY(open_queue(fa.other));
	return put_and_get();
}

static int killed_creator(void *arg)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	struct bus *bus;

	(void)arg;
	T_CHECK(bus_create(t_name("f"), &c, &bus) == 0);
	kill(getpid(), SIGKILL);
	return 1;
}

static int do_replace(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_AUTO);
	uint32_t was;

	was = fa_ours();
	t_wait(t_fork(killed_creator, NULL));
	fa_sh->inside = was;
	TRY(bus_create(t_name("f"), &c, &fa.bus));
	TRY(open_queue(fa.bus));
	return put_and_get();
}

static int do_unlink(void)
{
	uint32_t was = fa_ours();

	t_wait(t_fork(killed_creator, NULL));
	fa_sh->inside = was;
	TRY(bus_unlink(t_name("f")));
	return 0;
}

/* Sleep, in each way, until the time is up. */
static int sleep_a_while(uint32_t wait)
{
	struct bus_config c = fa_settings(wait);
	struct bus_poll items[3] = {
		{ .kind = BUS_POLL_QUEUE, .events = BUS_POLL_IN },
		{ .kind = BUS_POLL_FD, .events = BUS_POLL_IN },
		{ .kind = BUS_POLL_TIMER }
	};
	unsigned char buf[16];
	int fd[2], ret;
	uint32_t was;
	size_t len;

	TRY(bus_create(NULL, &c, &fa.bus));
	TRY(open_queue(fa.bus));
	ret = bus_queue_get(fa.q, buf, sizeof(buf), &len, TICK_NS);
	EXPECT(ret, -ETIMEDOUT);
	was = fa_ours();
	T_CHECK(pipe(fd) == 0);
	fa_sh->inside = was;
	items[0].on.queue = fa.q;
	items[1].fd = fd[0];
	items[2].at_ns = sb_now_ns() + (uint64_t)TICK_NS;
	ret = bus_wait(fa.bus, items, 3, LIMIT_NS);
	if (ret > 0)
		MUST(ret == 1 && items[2].ready & BUS_POLL_IN);
	was = fa_ours();
	close(fd[0]);
	close(fd[1]);
	fa_sh->inside = was;
	TRY(ret);
	return 0;
}

static int do_futex(void)
{
	return sleep_a_while(BUS_WAIT_FUTEX);
}

static int do_uring(void)
{
	return sleep_a_while(BUS_WAIT_AUTO);
}

static int dead_one(void *arg)
{
	static struct bus_msg m[2];

	(void)arg;
	T_CHECK(bus_check(fa.bus) == 0);
	bus_queue_peek(fa.q, &m[0], 0);
	bus_queue_loan(fa.q, BIG, &m[1], 0);
	kill(getpid(), SIGKILL);
	return 1;
}

/* A reader dies; its message comes again. */
static int do_recover(void)
{
	struct bus_config c = fa_settings(BUS_WAIT_FUTEX);
	unsigned char buf[BIG];
	uint32_t was;
	size_t len;

	TRY(bus_create(NULL, &c, &fa.bus));
	TRY(open_queue(fa.bus));
	t_fill(buf, BIG, 3);
	TRY(bus_queue_put(fa.q, buf, BIG, 0));
	was = fa_ours();
	t_wait(t_fork(dead_one, NULL));
	fa_sh->inside = was;
	bus_reap(fa.bus); /* or it would be noticed some 100 ms later */
	TRY(bus_queue_get(fa.q, buf, sizeof(buf), &len, LIMIT_NS));
	MUST(len == BIG && t_is(buf, BIG, 3));
	return 0;
}

/* The first calls of a forked child. */
static int do_after_fork(void)
{
	TRY(open_queue(fa_inherited));
	return put_and_get();
}

/* -------------------------------------------------------------- all of them -- */

void fa_undo(void)
{
	bus_queue_free(fa.q);
	bus_pipe_free(fa.a);
	bus_pipe_free(fa.b);
	if (fa.coord)
		bus_coord_stop(fa.coord, LIMIT_NS);
	bus_pool_free(fa.pool);
	bus_close(fa.other);
	bus_close(fa.bus);
	memset(&fa, 0, sizeof(fa));
}

/* clang-format off */
const struct fa_work fa_works[] = {
	{ "queue", do_queue, false },
	{ "named", do_named, false },
	{ "replace", do_replace, false },
	{ "unlink", do_unlink, false },
	{ "futex", do_futex, false },
	{ "uring", do_uring, false },
	{ "pipe", fa_do_pipe, false },
	{ "parts", fa_do_parts, false },
	{ "exchange", fa_do_exchange, false },
	{ "named-pipe", fa_do_named_pipe, false },
	{ "spawn", fa_do_spawn, false },
	{ "coord", fa_do_coord, false },
	{ "coord-many", fa_do_coord_many, false },
	{ "pool", fa_do_pool, false },
	{ "deadline", fa_do_deadline, false },
	{ "split", fa_do_split, false },
	{ "recover", do_recover, false },
	{ "after-fork", do_after_fork, true },
};
/* clang-format on */

const uint32_t fa_n_works = lengthof(fa_works);
