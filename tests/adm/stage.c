/*
 * stage.c - a bus on which everything is to be seen that busadm shows
 *
 *	stage NAME     a named bus; "-": an unnamed one
 *
 * When all stand where they should it prints a line for each, "who pid", and
 * "ready"; then it waits until its standard input ends, and takes all away.
 * Killed, its children die with it and the bus is an orphan.
 *
 *	orders     a queue of 8: one message held by the holder, four waiting,
 *	           of which one is large and one has strange bytes
 *	full       a queue of 4, full; the writer sleeps until there is room
 *	hungry     an empty queue; the reader sleeps
 *	closed     a closed queue, empty
 *	sums       a coordinator with one worker: answers that nobody collects
 *	work       a pool of two workers that are at tasks for ever, and one
 *	           task that waits
 *	log        a named pipe with three messages, one end not opened
 *	(unnamed)  a pipe to a child, who sleeps on it: the listener
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tests/support/proc.h"

static struct bus *bus;

static struct bus_queue *queue(const char *name, uint32_t n_slots)
{
	struct bus_queue_config config = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q;

	config.n_slots = n_slots;
	config.slot_bytes = 24;
	T_CHECK(!bus_queue_open(bus, name, &config, &q));
	return q;
}

static void put(struct bus_queue *q, const char *text, size_t len)
{
	T_CHECK(!bus_queue_put(q, text, len, 0));
}

/* Somebody who does that and is not seen again; @arg is his queue. */
static void play(const char *who, int (*fn)(void *arg), void *arg)
{
	printf("%s %d\n", who, (int)t_fork(fn, arg));
	fflush(stdout);
}

static int hold(void *arg)
{
	struct bus_msg msg;

	T_CHECK(!bus_queue_peek(arg, &msg, -1));
	for (;;)
		pause();
}

static int read_one(void *arg)
{
	char buf[64];
	size_t n;

	return bus_queue_get(arg, buf, sizeof(buf), &n, -1);
}

static int write_one(void *arg)
{
	return bus_queue_put(arg, "one too many", 12, -1);
}

static bool nobody_sleeps(void *arg)
{
	(void)arg;
	return false;
}

/* Let them get to where they sleep: nothing depends on it but what is seen. */
static void settle(void)
{
	t_eventually(nobody_sleeps, NULL, 200);
}

static void set_orders(void)
{
	static const char strange[] = "a\tb\n\033[31mred\\\377";
	struct bus_queue *q = queue("orders", 8);
	char large[10000];

	memset(large, 'x', sizeof(large));
	put(q, "order 1", 7);
	play("holder", hold, q);
	settle();
	put(q, "order 2", 7);
	put(q, "order 3", 7);
	put(q, large, sizeof(large));
	put(q, strange, sizeof(strange) - 1);
}

static void set_others(void)
{
	struct bus_queue *full = queue("full", 4), *closed;

	for (int i = 0; i < 4; i++)
		put(full, "full", 4);
	play("writer", write_one, full);
	play("reader", read_one, queue("hungry", 16));
	closed = queue("closed", 4);
	T_CHECK(!bus_queue_close(closed));
}

/* ------------------------------------------------------------ requests -- */

static int sum(void *ctx, const void *req, size_t len_bytes,
	       struct bus_reply *reply)
{
	int64_t n[2];

	(void)ctx;
	if (len_bytes != sizeof(n)) {
		bus_reply_error(reply, "two numbers, not %zu bytes", len_bytes);
		return -EINVAL;
	}
	memcpy(n, req, sizeof(n));
	n[0] += n[1];
	return bus_reply_put(reply, n, sizeof(n[0]));
}

static int for_ever(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	(void)ctx;
	(void)req;
	(void)len_bytes;
	while (!bus_reply_canceled(reply))
		pause();
	return 0;
}

static struct bus_coord *set_sums(void)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	int64_t n[2] = { 3, 4 };
	pid_t pid = 0;

	config.handler = sum;
	config.window = 8;
	T_CHECK(!bus_coord_start(bus, "sums", &config, &coord));
	T_CHECK(!bus_submit(coord, 1, n, sizeof(n), 0));
	T_CHECK(!bus_submit(coord, 2, n, 3, 0));
	bus_coord_workers(coord, &pid, 1);
	printf("summer %d\n", (int)pid);
	return coord;
}

static struct bus_pool *set_work(void)
{
	static const bus_handler handlers[] = { for_ever };
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	struct bus_pool *pool;

	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = 2;
	config.window = 8;
	T_CHECK(!bus_pool_start(bus, "work", &config, &pool));
	for (int i = 0; i < 3; i++)
		T_CHECK(!bus_pool_submit(pool, 0, "task", 4, NULL, NULL, 0));
	return pool;
}

/* --------------------------------------------------------------- pipes -- */

static int listen_to(void *ctx, struct bus_pipe *end)
{
	char buf[64];
	size_t n;

	(void)ctx;
	return bus_pipe_recv(end, buf, sizeof(buf), &n, -1);
}

static void set_pipes(void)
{
	struct bus_pipe_config config = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *log, *mine;
	pid_t pid;

	config.profile = BUS_PIPE_LATENCY;
	T_CHECK(!bus_pipe_open(bus, "log", &config, 0, &log));
	T_CHECK(!bus_pipe_send(log, "first", 5, 0));
	T_CHECK(!bus_pipe_send(log, "second", 6, 0));
	T_CHECK(!bus_pipe_send(log, "the third one", 13, 0));
	T_CHECK(!bus_pipe_spawn(bus, &config, listen_to, NULL, &mine, &pid));
	printf("listener %d\n", (int)pid);
}

int main(int argc, char **argv)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus_coord *coord;
	struct bus_pool *pool;
	char c;

	if (argc != 2)
		return 2;
	config.max_message_bytes = 1 << 16;
	config.blob_bytes = 1 << 20;
	config.channel_bytes = 4 << 20;
	config.max_endpoints = 30;
	T_CHECK(!bus_create(strcmp(argv[1], "-") ? argv[1] : NULL, &config,
			    &bus));
	printf("stage %d\n", (int)getpid());
	set_orders();
	set_others();
	coord = set_sums();
	pool = set_work();
	set_pipes();
	settle();
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	bus_pool_free(pool);
	bus_coord_stop(coord, 0);
	bus_close(bus);
	return 0;
}
