/*
 * test_settings.c - tests of bus/settings.c; Criterion suite "settings"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "bus/settings.h"
#include "tests/bus/t_bus.h"

TestSuite(settings, .timeout = 200.0);

/* Structs of other ages --------------------------------------------------- */

Test(settings, null_is_all_defaults)
{
	struct bus_config c;

	memset(&c, 0xff, sizeof(c));
	cr_assert_eq(bus_config_copy(&c, sizeof(c), NULL), 0);
	cr_assert_eq(c.size, sizeof(c));
	cr_assert_eq(c.wait, 0);
	cr_assert_eq(c.blob_bytes, 0);
	cr_assert_eq(bus_config_fill(&c), 0);
	cr_assert_eq(c.mode, 0600);
	cr_assert_eq(c.max_endpoints, 128);
	cr_assert_eq(c.channel_bytes, 1 << 30);
	cr_assert_eq(c.max_message_bytes, 1 << 20);
	cr_assert_eq(c.blob_bytes, 16 << 20);
}

Test(settings, an_older_shorter_struct_is_accepted)
{
	struct bus_config from = BUS_CONFIG_INIT, to;

	from.flags = BUS_F_EINTR;
	from.mode = 0640; /* beyond what this caller knew */
	from.size = offsetof(struct bus_config, mode);
	cr_assert_eq(bus_config_copy(&to, sizeof(to), &from), 0);
	cr_assert_eq(to.size, sizeof(to));
	cr_assert_eq(to.flags, BUS_F_EINTR);
	cr_assert_eq(to.mode, 0);
	from.size = sizeof(size_t);
	cr_assert_eq(bus_config_copy(&to, sizeof(to), &from), 0);
	cr_assert_eq(to.flags, 0);
}

Test(settings, a_struct_without_its_size_is_refused)
{
	struct bus_config from = BUS_CONFIG_INIT, to;

	for (from.size = 0; from.size < sizeof(size_t); from.size++)
		cr_assert_eq(bus_config_copy(&to, sizeof(to), &from), -EINVAL);
}

Test(settings, a_newer_longer_struct_may_only_have_zeros)
{
	struct {
		struct bus_config c;
		unsigned char more[64];
	} from = { .c = BUS_CONFIG_INIT };
	struct bus_config to;

	from.c.size = sizeof(from);
	from.c.spin = BUS_SPIN_NEVER;
	cr_assert_eq(bus_config_copy(&to, sizeof(to), &from), 0);
	cr_assert_eq(to.size, sizeof(to));
	cr_assert_eq(to.spin, BUS_SPIN_NEVER);
	for (size_t i = 0; i < sizeof(from.more); i++) {
		from.more[i] = 1;
		cr_assert_eq(bus_config_copy(&to, sizeof(to), &from), -E2BIG);
		from.more[i] = 0;
	}
}

Test(settings, a_size_that_cannot_be_is_not_read)
{
	/* The struct ends where the memory ends. */
	size_t page = 4096;
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct bus_config *c = (void *)(p + page - sizeof(*c)), to;

	cr_assert_neq(p, MAP_FAILED);
	cr_assert_eq(mprotect(p + page, page, PROT_NONE), 0);
	c->size = SIZE_MAX;
	cr_assert_eq(bus_config_copy(&to, sizeof(to), c), -E2BIG);
	c->size = (size_t)1 << 32;
	cr_assert_eq(bus_config_copy(&to, sizeof(to), c), -E2BIG);
}

/* Ranges ------------------------------------------------------------------ */

#define FILL(type, fn, ...)                                                    \
	__extension__({                                                        \
		struct type c_ = { .size = sizeof(c_) };                       \
		struct type *c = &c_;                                          \
		__VA_ARGS__;                                                   \
		fn(c);                                                         \
	})
#define BUS_FILL(...) FILL(bus_config, bus_config_fill, __VA_ARGS__)
#define QUEUE_FILL(...)                                                        \
	FILL(bus_queue_config, bus_queue_config_fill, __VA_ARGS__)
#define COORD_FILL(...)                                                        \
	FILL(bus_coord_config, bus_coord_config_fill, c->handler = handler,    \
	     __VA_ARGS__)

static int handler(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	(void)ctx, (void)req, (void)len, (void)r;
	return 0;
}

Test(settings, bus_settings_have_ranges)
{
	unsetenv("BUS_WAIT");
	cr_assert_eq(BUS_FILL(c->wait = BUS_WAIT_FUTEX), 0);
	cr_assert_eq(BUS_FILL(c->wait = BUS_WAIT_FUTEX + 1), -EINVAL);
	cr_assert_eq(BUS_FILL(c->spin = BUS_SPIN_NEVER), 0);
	cr_assert_eq(BUS_FILL(c->spin = BUS_SPIN_NEVER + 1), -EINVAL);
	cr_assert_eq(BUS_FILL(c->flags = BUS_F_EINTR | BUS_F_FENCE), 0);
	cr_assert_eq(BUS_FILL(c->flags = BUS_F_ORPHAN | BUS_F_ANY_OWNER), 0);
	cr_assert_eq(BUS_FILL(c->flags = 16), -EINVAL);
	cr_assert_eq(BUS_FILL(c->mode = 010000), -EINVAL);
	cr_assert_eq(BUS_FILL(c->max_endpoints = 1), -EINVAL);
	cr_assert_eq(BUS_FILL(c->max_endpoints = 2), 0);
	cr_assert_eq(BUS_FILL(c->max_endpoints = 254), 0);
	cr_assert_eq(BUS_FILL(c->max_endpoints = 255), -EINVAL);
	cr_assert_eq(BUS_FILL(c->max_message_bytes = 1), 0);
	cr_assert_eq(BUS_FILL(c->max_message_bytes = UINT64_MAX), -EINVAL);
}

Test(settings, blob_bytes_hold_four_of_the_largest)
{
	for (uint64_t max = 1; max < UINT64_C(1) << 40; max *= 2) {
		struct bus_config c = BUS_CONFIG_INIT;
		struct sb_blob_pool plan;

		c.max_message_bytes = max;
		c.blob_bytes = 1;
		cr_assert_eq(bus_config_fill(&c), 0);
		cr_assert_neq(sb_blob_plan(&plan, max, c.blob_bytes), 0);
	}
}

Test(settings, queue_settings_have_ranges)
{
	cr_assert_eq(QUEUE_FILL(c->flags = 3), 0);
	cr_assert_eq(QUEUE_FILL(c->flags = 4), -EINVAL);
	cr_assert_eq(QUEUE_FILL(c->slot_bytes = 4088), 0);
	cr_assert_eq(QUEUE_FILL(c->slot_bytes = 4089), -EINVAL);
	cr_assert_eq(QUEUE_FILL(c->slot_bytes = UINT32_MAX), -EINVAL);
	cr_assert_eq(QUEUE_FILL(c->n_slots = 1), -EINVAL);
	cr_assert_eq(QUEUE_FILL(c->n_slots = 2), 0);
	cr_assert_eq(QUEUE_FILL(c->n_slots = 3), -EINVAL);
	cr_assert_eq(QUEUE_FILL(c->n_slots = 1 << 20), 0);
	cr_assert_eq(QUEUE_FILL(c->n_slots = 1 << 21), -EINVAL);
	cr_assert_eq(QUEUE_FILL(c->n_slots = 1u << 31), -EINVAL);
}

Test(settings, queue_slots_have_8_bytes_at_least)
{
	for (uint32_t bytes = 1; bytes <= 8; bytes++) {
		struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;

		c.slot_bytes = bytes;
		cr_assert_eq(bus_queue_config_fill(&c), 0);
		cr_assert_eq(c.slot_bytes, 8);
	}
}

Test(settings, queue_default_is_64_kib_of_slots)
{
	for (uint32_t bytes = 8; bytes <= 4088; bytes++) {
		struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;

		c.slot_bytes = bytes;
		cr_assert_eq(bus_queue_config_fill(&c), 0);
		cr_assert_eq(c.n_slots & (c.n_slots - 1), 0);
		cr_assert_geq(c.n_slots, 64);
		cr_assert_geq(c.n_slots * sb_ring_stride(bytes), 1 << 16);
	}
}

Test(settings, coord_settings_have_ranges)
{
	cr_assert_eq(COORD_FILL(c->handler = NULL), -EINVAL);
	cr_assert_eq(COORD_FILL(c->flags = 0), 0);
	cr_assert_eq(COORD_FILL(c->flags = 1), -EINVAL);
	cr_assert_eq(COORD_FILL(c->n_workers = 200), 0);
	cr_assert_eq(COORD_FILL(c->n_workers = 201), -EINVAL);
	cr_assert_eq(COORD_FILL(c->window = 1), -EINVAL);
	cr_assert_eq(COORD_FILL(c->window = 2), 0);
	cr_assert_eq(COORD_FILL(c->window = 48), -EINVAL);
	cr_assert_eq(COORD_FILL(c->window = 1 << 16), 0);
	cr_assert_eq(COORD_FILL(c->window = 1 << 17), -EINVAL);
	cr_assert_eq(COORD_FILL(c->max_attempts = 60), 0);
	cr_assert_eq(COORD_FILL(c->max_attempts = 61), -EINVAL);
	cr_assert_eq(COORD_FILL(c->result_bytes = UINT64_MAX), -EINVAL);
	cr_assert_eq(COORD_FILL(c->request_bytes = UINT32_MAX), -EINVAL);
}

static const bus_handler handlers[] = { handler, handler, NULL };

#define POOL_FILL(...)                                                         \
	FILL(bus_pool_config, bus_pool_config_fill, c->handlers = handlers,    \
	     c->n_handlers = 2, __VA_ARGS__)
#define TASK_FILL(...) FILL(bus_task_config, bus_task_config_fill, __VA_ARGS__)
#define MAP_FILL(...)  FILL(bus_map_config, bus_map_config_fill, __VA_ARGS__)

Test(settings, pool_settings_have_ranges)
{
	cr_assert_eq(POOL_FILL(c->flags = 0), 0);
	cr_assert_eq(POOL_FILL(c->flags = 1), -EINVAL);
	cr_assert_eq(POOL_FILL(c->handlers = NULL), -EINVAL);
	cr_assert_eq(POOL_FILL(c->n_handlers = 0), -EINVAL);
	cr_assert_eq(POOL_FILL(c->n_handlers = 3), -EINVAL);
	cr_assert_eq(POOL_FILL(c->n_workers = 200), 0);
	cr_assert_eq(POOL_FILL(c->n_workers = 201), -EINVAL);
	cr_assert_eq(POOL_FILL(c->window = 1), -EINVAL);
	cr_assert_eq(POOL_FILL(c->window = 2), 0);
	cr_assert_eq(POOL_FILL(c->window = 48), -EINVAL);
	cr_assert_eq(POOL_FILL(c->window = 1 << 16), 0);
	cr_assert_eq(POOL_FILL(c->window = 1 << 17), -EINVAL);
	cr_assert_eq(POOL_FILL(c->task_bytes = 1024), 0);
	cr_assert_eq(POOL_FILL(c->task_bytes = 1025), -EINVAL);
	cr_assert_eq(POOL_FILL(c->max_attempts = 60), 0);
	cr_assert_eq(POOL_FILL(c->max_attempts = 61), -EINVAL);
	cr_assert_eq(POOL_FILL(c->soft_signal = -1), 0);
	cr_assert_eq(POOL_FILL(c->soft_signal = -2), -EINVAL);
	cr_assert_eq(POOL_FILL(c->soft_signal = 64), 0);
	cr_assert_eq(POOL_FILL(c->soft_signal = 65), -EINVAL);
	cr_assert_eq(POOL_FILL(c->wait = BUS_WAIT_FUTEX), 0);
	cr_assert_eq(POOL_FILL(c->wait = BUS_WAIT_FUTEX + 1), -EINVAL);
	cr_assert_eq(POOL_FILL(c->spin = BUS_SPIN_NEVER), 0);
	cr_assert_eq(POOL_FILL(c->spin = BUS_SPIN_NEVER + 1), -EINVAL);
	cr_assert_eq(POOL_FILL(c->grace_ns = UINT64_MAX), -EINVAL);
}

Test(settings, pool_has_defaults)
{
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;
	cpu_set_t mine;

	c.handlers = handlers;
	c.n_handlers = 1;
	cr_assert_eq(bus_pool_config_fill(&c), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(mine), &mine), 0);
	cr_assert_eq(c.n_workers, (uint32_t)CPU_COUNT(&mine));
	cr_assert_eq(c.window, 1024);
	cr_assert_eq(c.task_bytes, 24);
	cr_assert_eq(c.max_attempts, 3);
	cr_assert_eq(c.max_tasks_per_worker, 0);
	cr_assert_eq(c.soft_signal, SIGTERM);
	cr_assert_eq(c.grace_ns, 100 * SB_NS_PER_MS);
	cr_assert_eq(c.backoff_ns, SB_NS_PER_MS);
	c.soft_signal = -1;
	cr_assert_eq(bus_pool_config_fill(&c), 0);
	cr_assert_eq(c.soft_signal, -1);
}

Test(settings, as_many_workers_as_processors_that_we_may_use)
{
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;
	cpu_set_t mine, one;
	int cpu = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(mine), &mine), 0);
	while (!CPU_ISSET(cpu, &mine))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	c.handlers = handlers;
	c.n_handlers = 1;
	cr_assert_eq(bus_pool_config_fill(&c), 0);
	cr_assert_eq(c.n_workers, 1);
}

Test(settings, task_and_map_settings_have_ranges)
{
	cr_assert_eq(TASK_FILL(c->priority = BUS_PRIORITY_LOW), 0);
	cr_assert_eq(TASK_FILL(c->priority = BUS_PRIORITY_LOW + 1), -EINVAL);
	cr_assert_eq(TASK_FILL(c->flags = 1), -EINVAL);
	cr_assert_eq(TASK_FILL(c->limit_ns = INT64_MAX), 0);
	cr_assert_eq(TASK_FILL(c->limit_ns = -1), -EINVAL);
	cr_assert_eq(MAP_FILL(c->priority = BUS_PRIORITY_LOW), 0);
	cr_assert_eq(MAP_FILL(c->priority = BUS_PRIORITY_LOW + 1), -EINVAL);
	cr_assert_eq(MAP_FILL(c->limit_ns = -1), -EINVAL);
	cr_assert_eq(MAP_FILL(c->chunk = SIZE_MAX), 0);
}

Test(settings, environment_decides_where_the_config_says_auto)
{
	static const struct {
		const char *env;
		int ret;
		uint32_t wait;
	} t[] = {
		{ "auto", 0, BUS_WAIT_AUTO },
		{ "", 0, BUS_WAIT_AUTO },
		{ "uring", 0, BUS_WAIT_URING },
		{ "futex", 0, BUS_WAIT_FUTEX },
		{ "Futex", -EINVAL, 0 },
		{ "futex ", -EINVAL, 0 },
		{ "1", -EINVAL, 0 },
	};

	for (size_t i = 0; i < lengthof(t); i++) {
		struct bus_config c = BUS_CONFIG_INIT;

		setenv("BUS_WAIT", t[i].env, 1);
		cr_assert_eq(bus_config_fill(&c), t[i].ret, "%s", t[i].env);
		if (!t[i].ret)
			cr_assert_eq(c.wait, t[i].wait, "%s", t[i].env);
		c = (struct bus_config)BUS_CONFIG_INIT;
		c.wait = BUS_WAIT_FUTEX;
		cr_assert_eq(bus_config_fill(&c), 0);
		cr_assert_eq(c.wait, BUS_WAIT_FUTEX);
	}
}
