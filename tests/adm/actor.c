/*
 * actor.c - somebody on a bus, who does what a script tells him
 *
 * Reads orders from standard input, a line each, and answers each with "ok", a
 * number, or "error: ...", so that the script need not guess when it is done.
 * It ends with its input, or dies as told; what it made is as it left it.
 *
 *	create NAME [MAX_MESSAGE_BYTES [MODE]]    open NAME    orphan NAME
 *	queue NAME [N_SLOTS [SLOT_BYTES [FLAGS]]]
 *	put QUEUE TEXT    fill QUEUE N BYTES    get QUEUE    left QUEUE
 *	hold QUEUE        loan QUEUE
 *	close    die    pid    fork, a child that does nothing
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "lib/proc.h"

#define QUEUES 8

static struct bus *bus;

static struct {
	char name[48];
	struct bus_queue *q;
} queues[QUEUES];

static void __attribute__((noreturn)) give_up(const char *what)
{
	printf("error: what is '%s'?\n", what);
	exit(1);
}

static struct bus_queue *queue_of(const char *name)
{
	int ret = -1;

	for (int i = 0; name && i < QUEUES; i++) {
		if (!strcmp(queues[i].name, name))
			return queues[i].q;
		if (queues[i].q)
			continue;
		ret = bus_queue_open(bus, name, NULL, &queues[i].q);
		if (ret)
			break;
		snprintf(queues[i].name, sizeof(queues[i].name), "%s", name);
		return queues[i].q;
	}
	give_up(name ? name : "no queue");
}

static unsigned long number(unsigned long otherwise)
{
	const char *word = strtok(NULL, " ");

	return word ? strtoul(word, NULL, 0) : otherwise;
}

static int create(const char *name)
{
	struct bus_config config = BUS_CONFIG_INIT;

	config.max_message_bytes = number(65536);
	config.mode = (uint32_t)number(0600);
	config.blob_bytes = 8 * config.max_message_bytes;
	config.channel_bytes = 8 << 20;
	return bus_create(name, &config, &bus);
}

static int open_bus(const char *name, uint32_t flags)
{
	struct bus_config config = BUS_CONFIG_INIT;

	config.flags = flags;
	return bus_open(name, &config, &bus);
}

static int make_queue(const char *name)
{
	struct bus_queue_config config = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q;
	int ret;

	config.n_slots = (uint32_t)number(0);
	config.slot_bytes = (uint32_t)number(0);
	config.flags = (uint32_t)number(0);
	ret = bus_queue_open(bus, name, &config, &q);
	if (!ret)
		bus_queue_free(q);
	return ret;
}

/* "0001", "0002", ... of so many bytes. */
static int fill(struct bus_queue *q)
{
	unsigned long n = number(1), len = number(4);
	char *text = malloc(len + 32);
	int ret = text ? 0 : -1;

	for (unsigned long i = 1; !ret && i <= n; i++) {
		memset(text, '.', len);
		text[snprintf(text, 32, "%04lu", i)] = '.';
		ret = bus_queue_put(q, text, len, 1000000000);
	}
	free(text);
	return ret;
}

static int get(struct bus_queue *q)
{
	static char buf[1 << 20];
	size_t n;
	int ret = bus_queue_get(q, buf, sizeof(buf), &n, 0);

	if (!ret)
		printf("%.*s\n", (int)n, buf);
	return ret;
}

static int left(struct bus_queue *q)
{
	struct bus_queue_stats stats = BUS_QUEUE_STATS_INIT;
	int ret = bus_queue_stats(q, &stats);

	printf("%u %u %u\n", stats.n_waiting, stats.n_held, stats.closed);
	return ret;
}

/* A message that is being written, as of a writer who is stopped. */
static int loan(struct bus_queue *q)
{
	static struct bus_msg msg;

	return bus_queue_loan(q, 4, &msg, 0);
}

static int idle(void *arg)
{
	(void)arg;
	return pause();
}

static int hold(struct bus_queue *q)
{
	static struct bus_msg msg[QUEUES];
	static int n;

	return n < QUEUES ? bus_queue_peek(q, &msg[n++], 0) : -1;
}

/* A child that has the mapping, never calls the bus, and dies with us. */
static int fork_idler(void)
{
	struct sb_proc child;
	int ret = sb_proc_fork(&child, idle, NULL);

	if (!ret)
		printf("%d\n", (int)child.pid);
	return ret ? ret : 1;
}

/* 0 or -errno; 1 when it has answered itself. */
static int obey(const char *order)
{
	char *arg = strtok(NULL, " ");

	if (!strcmp(order, "create"))
		return create(arg);
	if (!strcmp(order, "open"))
		return open_bus(arg, 0);
	if (!strcmp(order, "orphan"))
		return open_bus(arg, BUS_F_ORPHAN);
	if (!strcmp(order, "queue"))
		return make_queue(arg);
	if (!strcmp(order, "put")) {
		const char *text = strtok(NULL, "");

		return bus_queue_put(queue_of(arg), text,
				     text ? strlen(text) : 0, 1000000000);
	}
	if (!strcmp(order, "fill"))
		return fill(queue_of(arg));
	if (!strcmp(order, "get"))
		return get(queue_of(arg)) ?: 1;
	if (!strcmp(order, "left"))
		return left(queue_of(arg)) ?: 1;
	if (!strcmp(order, "hold"))
		return hold(queue_of(arg));
	if (!strcmp(order, "loan"))
		return loan(queue_of(arg));
	if (!strcmp(order, "close")) {
		bus_close(bus);
		bus = NULL;
		memset(queues, 0, sizeof(queues));
		return 0;
	}
	if (!strcmp(order, "pid"))
		return printf("%d\n", (int)getpid()) > 0;
	if (!strcmp(order, "fork"))
		return fork_idler();
	if (!strcmp(order, "die"))
		raise(SIGKILL);
	give_up(order);
}

int main(void)
{
	char line[4096], *order;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		int ret;

		line[strcspn(line, "\n")] = '\0';
		order = strtok(line, " ");
		if (!order)
			continue;
		ret = obey(order);
		if (ret < 0)
			printf("error: %s\n", strerror(-ret));
		else if (ret == 0)
			printf("ok\n");
	}
	bus_close(bus);
	return 0;
}
