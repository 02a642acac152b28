/*
 * settings.c - defaults and checks of the public config structs
 *
 * Each default is chosen here and nowhere else.
 */
#include "config.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bus/layout.h"
#include "bus/settings.h"
#include "lib/clock.h"

/* No struct of ours will ever be this large: a size that was never set. */
#define SIZE_MAX_SANE 4096u

int bus_config_copy(void *to, size_t known, const void *from)
{
	size_t size;

	memset(to, 0, known);
	memcpy(to, &known, sizeof(known));
	if (!from)
		return 0;
	memcpy(&size, from, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	if (size > SIZE_MAX_SANE)
		return -E2BIG;
	for (size_t i = known; i < size; i++)
		if (((const unsigned char *)from)[i])
			return -E2BIG;
	if (size > known)
		size = known;
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       size - sizeof(size));
	return 0;
}

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* BUS_WAIT_AUTO leaves it to the environment. */
static int wait_from_env(uint32_t *wait)
{
	const char *s = getenv("BUS_WAIT");

	if (*wait != BUS_WAIT_AUTO || !s || !*s || !strcmp(s, "auto"))
		return 0;
	if (!strcmp(s, "uring"))
		*wait = BUS_WAIT_URING;
	else if (!strcmp(s, "futex"))
		*wait = BUS_WAIT_FUTEX;
	else
		return -EINVAL;
	return 0;
}

int bus_config_fill(struct bus_config *c)
{
	if (c->wait > BUS_WAIT_FUTEX || c->spin > BUS_SPIN_NEVER ||
	    (c->flags &
	     ~(BUS_F_EINTR | BUS_F_ANY_OWNER | BUS_F_FENCE | BUS_F_ORPHAN)) ||
	    (c->mode & ~07777u) || c->max_endpoints > SB_EP_MAX - 1)
		return -EINVAL;
	if (!c->mode)
		c->mode = 0600;
	if (!c->max_endpoints)
		c->max_endpoints = 128;
	if (c->max_endpoints < 2)
		return -EINVAL;
	if (!c->channel_bytes)
		c->channel_bytes = sizeof(void *) > 4 ? 1 << 30 : 64 << 20;
	if (!c->max_message_bytes)
		c->max_message_bytes = 1 << 20;
	if (!c->blob_bytes)
		c->blob_bytes = 16 << 20;
	if (c->max_message_bytes > (UINT64_C(1) << 40))
		return -EINVAL;
	if (c->blob_bytes / 5 < c->max_message_bytes)
		c->blob_bytes = 5 * c->max_message_bytes + (1 << 16);
	return wait_from_env(&c->wait);
}

int bus_queue_config_fill(struct bus_queue_config *c)
{
	if (c->flags & ~(BUS_QUEUE_JOINABLE | BUS_QUEUE_STRICT))
		return -EINVAL;
	if (!c->slot_bytes)
		c->slot_bytes = 56;
	if (c->slot_bytes < 8)
		c->slot_bytes = 8;
	if (c->slot_bytes > 4088)
		return -EINVAL;
	if (!c->n_slots) {
		uint32_t stride = sb_ring_stride(c->slot_bytes);

		for (c->n_slots = 64; c->n_slots * stride < 1 << 16;)
			c->n_slots *= 2;
	}
	if (!power_of_two(c->n_slots) || c->n_slots < 2 ||
	    c->n_slots > 1u << SB_RING_LOG_N_MAX)
		return -EINVAL;
	return 0;
}

int bus_pipe_config_fill(struct bus_pipe_config *c)
{
	if (c->profile > BUS_PIPE_STREAM || (c->flags & ~BUS_PIPE_SIMPLEX))
		return -EINVAL;
	if (!c->slot_bytes)
		c->slot_bytes =
			sb_spsc_slot_here(c->profile != BUS_PIPE_LATENCY);
	if (c->slot_bytes < SB_SPSC_SLOT_MIN ||
	    c->slot_bytes > SB_SPSC_SLOT_MAX ||
	    (c->slot_bytes & (c->slot_bytes - 1)))
		return -EINVAL;
	return 0;
}

int bus_coord_config_fill(struct bus_coord_config *c)
{
	if (!c->handler || c->flags || c->n_workers > 200 ||
	    c->window > 1 << 16 || c->request_bytes > 2040 ||
	    c->max_attempts > 60 || c->result_bytes > UINT64_C(1) << 40 ||
	    c->prefetch > SB_BATCH_MAX)
		return -EINVAL;
	if (!c->n_workers)
		c->n_workers = 1;
	if (!c->prefetch)
		c->prefetch = 1;
	if (!c->window)
		c->window = 1024;
	if (!power_of_two(c->window) || c->window < 2)
		return -EINVAL;
	if (!c->request_bytes)
		c->request_bytes = 16;
	if (!c->max_attempts)
		c->max_attempts = 3;
	if (!c->backoff_ns)
		c->backoff_ns = SB_NS_PER_MS;
	return 0;
}

#define WORKERS_MAX 200u /* BUS_CREW_MAX */
#define CPUS_MAX    65536
#define NS_PER_YEAR (365 * 24 * 3600 * SB_NS_PER_S)
#define SIGNALS_MAX 64

/* Processors of the affinity mask, whatever its size; 1 at least. */
static uint32_t n_processors(void)
{
	int n = 0;

	for (int cpus = 1024; cpus <= CPUS_MAX && !n; cpus *= 4) {
		cpu_set_t *set = CPU_ALLOC((size_t)cpus);
		size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);

		if (!set)
			break;
		if (!sched_getaffinity(0, bytes, set))
			n = CPU_COUNT_S(bytes, set);
		CPU_FREE(set);
	}
	return n > 0 ? (uint32_t)n : 1;
}

static int check_pool(const struct bus_pool_config *c)
{
	if (!c->handlers || !c->n_handlers || c->n_workers > WORKERS_MAX ||
	    c->window > 1 << 16 || c->task_bytes > 1024 ||
	    c->max_attempts > 60 || c->soft_signal < -1 ||
	    c->soft_signal > SIGNALS_MAX || c->wait > BUS_WAIT_FUTEX ||
	    c->spin > BUS_SPIN_NEVER || c->flags || c->grace_ns > NS_PER_YEAR)
		return -EINVAL;
	for (uint32_t i = 0; i < c->n_handlers; i++)
		if (!c->handlers[i])
			return -EINVAL;
	return 0;
}

int bus_pool_config_fill(struct bus_pool_config *c)
{
	int ret = check_pool(c);

	if (ret)
		return ret;
	if (!c->n_workers) {
		c->n_workers = n_processors();
		if (c->n_workers > WORKERS_MAX)
			c->n_workers = WORKERS_MAX;
	}
	if (!c->window)
		c->window = 1024;
	if (!power_of_two(c->window) || c->window < 2)
		return -EINVAL;
	if (!c->task_bytes)
		c->task_bytes = 24;
	if (!c->max_attempts)
		c->max_attempts = 3;
	if (!c->soft_signal)
		c->soft_signal = SIGTERM;
	if (!c->grace_ns)
		c->grace_ns = 100 * SB_NS_PER_MS;
	if (!c->backoff_ns)
		c->backoff_ns = SB_NS_PER_MS;
	return 0;
}

int bus_task_config_fill(struct bus_task_config *c)
{
	return c->priority > BUS_PRIORITY_LOW || c->flags || c->limit_ns < 0
		       ? -EINVAL
		       : 0;
}

int bus_map_config_fill(struct bus_map_config *c)
{
	return c->priority > BUS_PRIORITY_LOW || c->limit_ns < 0 ? -EINVAL : 0;
}
