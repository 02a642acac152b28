/*
 * t_bus.h - short-hands for the tests of bus/
 *
 * They check with T_CHECK, so that children may use them too.
 */
#ifndef TEST_BUS_T_BUS_H
#define TEST_BUS_T_BUS_H

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bus/bus.h"
#include "bus/channel.h"
#include "bus/shmbus.h"
#include "lib/clock.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"

/* A deadline that only a hang reaches. */
#define T_LONG ((int64_t)(30 * SB_NS_PER_S))

#define T_MESSAGE_MAX 65536u

#define lengthof(a) (sizeof(a) / sizeof((a)[0]))

/* A bus that is made quickly: small, few endpoints. */
static inline struct bus_config t_config(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.max_endpoints = 30;
	c.channel_bytes = 1 << 20;
	c.max_message_bytes = T_MESSAGE_MAX;
	c.blob_bytes = 1 << 20;
	return c;
}

static inline struct bus *t_bus_with(const char *name,
				     const struct bus_config *c)
{
	struct bus *bus = NULL;

	T_CHECK(bus_create(name, c, &bus) == 0);
	return bus;
}

static inline struct bus *t_bus(void)
{
	struct bus_config c = t_config();

	return t_bus_with(NULL, &c);
}

static inline struct bus_queue *t_queue(struct bus *bus, const char *name,
					uint32_t n_slots, uint32_t slot_bytes,
					uint32_t flags)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q = NULL;

	c.n_slots = n_slots;
	c.slot_bytes = slot_bytes;
	c.flags = flags;
	T_CHECK(bus_queue_open(bus, name, &c, &q) == 0);
	return q;
}

/* A pair of ends with slots of @slot_bytes, 0 the default. */
static inline void t_pipe(struct bus *bus, uint32_t profile, uint32_t flags,
			  uint64_t slot_bytes, struct bus_pipe **a,
			  struct bus_pipe **b)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.profile = profile;
	c.flags = flags;
	c.slot_bytes = slot_bytes;
	T_CHECK(bus_pipe(bus, &c, a, b) == 0);
}

static inline struct bus_pipe_stats t_pipe_stats(struct bus_pipe *p)
{
	struct bus_pipe_stats s = BUS_PIPE_STATS_INIT;

	T_CHECK(bus_pipe_stats(p, &s) == 0);
	return s;
}

static inline struct bus_stats t_stats(struct bus *bus)
{
	struct bus_stats s = BUS_STATS_INIT;

	T_CHECK(bus_stats(bus, &s) == 0);
	return s;
}

static inline struct bus_queue_stats t_queue_stats(struct bus_queue *q)
{
	struct bus_queue_stats s = BUS_QUEUE_STATS_INIT;

	T_CHECK(bus_queue_stats(q, &s) == 0);
	return s;
}

/* The message number @i of @len bytes, and is it that? */
static inline void t_fill(void *buf, size_t len, uint64_t i)
{
	unsigned char *b = buf;

	for (size_t k = 0; k < len; k++)
		b[k] = (unsigned char)(i * 31 + k * 7 + len);
}

static inline bool t_is(const void *buf, size_t len, uint64_t i)
{
	const unsigned char *b = buf;

	for (size_t k = 0; k < len; k++)
		if (b[k] != (unsigned char)(i * 31 + k * 7 + len))
			return false;
	return true;
}

static inline int t_put_u64(struct bus_queue *q, uint64_t v, int64_t timeout_ns)
{
	return bus_queue_put(q, &v, sizeof(v), timeout_ns);
}

/* Take a message of 8 bytes; its value is not an error number. */
static inline uint64_t t_get_u64(struct bus_queue *q)
{
	uint64_t v = 0;
	size_t len = 0;

	T_CHECK(bus_queue_get(q, &v, sizeof(v), &len, T_LONG) == 0);
	T_CHECK(len == sizeof(v));
	return v;
}

/* Words that processes of a test share. */
static inline void *t_shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	T_CHECK(p != MAP_FAILED);
	return p;
}

/* Does process @pid sleep in the kernel? */
static inline bool t_asleep(void *pid)
{
	char path[64], line[512] = "";
	const char *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)*(pid_t *)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	state = strrchr(line, ')');
	return state && state[1] == ' ' && (state[2] == 'S' || state[2] == 'D');
}

/* Wait until @pid has gone to sleep: it may wake up for a moment now and
 * then, so this proves nothing and only makes it likely. */
static inline void t_wait_asleep(pid_t pid)
{
	t_eventually(t_asleep, &pid, 5000);
}

#endif
