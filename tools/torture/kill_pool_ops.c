/*
 * kill_pool_ops.c - what a victim is in the middle of when it is killed, or what
 * the owner does meanwhile whose worker it is
 *
 * Each task is got as a future once, and its callback called once.
 */
#include "config.h"

#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <sys/syscall.h>

#include "tools/torture/kill_pool.h"
#include "tools/torture/point.h"

#define S_EMPTY (1u << EMPTY)
#define S_BOTH  (S_EMPTY | 1u << ONE)

static int count_call(void *ctx, struct bus_future *f,
		      const struct bus_result *r)
{
	(void)f;
	(void)r;
	(*(_Atomic uint32_t *)ctx)++;
	return 0;
}

size_t ko_len_of(void)
{
	return ko.op->len ? ko.op->len : SMALL;
}

void ko_fill_request(unsigned char req[CELL], uint64_t i)
{
	memcpy(req, &i, sizeof(i));
	t_fill(req + 8, CELL - 8, i);
}

static void submit(uint64_t i)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;
	unsigned char req[CELL];

	c.done = count_call;
	c.ctx = &ko.sh->n_called[i];
	ko_fill_request(req, i);
	if (bus_pool_submit(ko.pool, ko.op->handler, req, ko_len_of(), &c,
			    &ko.future[i], -1))
		WRONG();
}

static bool is_right(const struct bus_result *r, uint64_t i)
{
	uint64_t got;

	if (ko.op->handler == UNTIL_TOLD)
		return r->kind == BUS_RESULT_CANCELED;
	if (r->kind == BUS_RESULT_DEATH) {
		unsigned char req[CELL];

		ko_fill_request(req, i);
		return ko.op->max_attempts == 1 &&
		       r->len_bytes == ko_len_of() &&
		       !memcmp(req, r->data, ko_len_of());
	}
	switch (ko.op->handler) {
	case ECHO:
		memcpy(&got, r->data, sizeof(got));
		return r->kind == BUS_RESULT_OK && r->len_bytes == 8 &&
		       got == i;
	case BIG:
		return r->kind == BUS_RESULT_OK && r->len_bytes == LARGE &&
		       *(const char *)r->data == 'a' + (int)i &&
		       !memcmp(r->data, (const char *)r->data + 1, LARGE - 1);
	default:
		return r->kind == BUS_RESULT_ERROR && r->code == 7 + (int)i &&
		       r->len_bytes == 4 && !memcmp(r->data, "no ", 3);
	}
}

static void get(uint64_t i)
{
	struct bus_result r;
	int ret;

	if (ko.peer == POLL)
		while (!bus_future_done(ko.future[i]))
			sched_yield();
	ret = bus_future_get(ko.future[i], &r, -1);
	if (ret || !is_right(&r, i))
		WRONG();
	ko.sh->n_complete[i]++;
	bus_future_free(ko.future[i]);
}

void ko_do_tasks(void)
{
	submit(0);
	submit(1);
	ko.sh->ready = 1;
	get(0);
	get(1);
}

/* More than the worker has to do: the last ones go in runs, in most points; not
 * where the worker sleeps just when they come. */
static void do_runs(void)
{
	bus_lanes_depth(ko.pool, BUS_POOL_DEPTH_MAX);
	ko.pool->lap_ns = SB_FOREVER / 2; /* and stay like that */
	for (uint64_t i = 0; i < N_TASKS; i++)
		submit(i);
	if (ko.pool->run_from >= N_TASKS)
		WRONG();
	ko.sh->ready = 1;
	for (uint64_t i = 0; i < N_TASKS; i++)
		get(i);
}

static void do_cancel(void)
{
	submit(0);
	ko.sh->ready = 1;
	while (ko.op->role == WORKER && !ko.sh->cancel)
		point_nap();
	if (bus_future_cancel(ko.future[0]))
		WRONG();
	ko.sh->told = 1;
	syscall(SYS_futex, &ko.sh->told, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	get(0);
}

/* Chunks of two, and one of them alone. */
static void do_map(void)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	uint64_t in[3] = { 0, 1, 2 }, out[3] = { 9, 9, 9 };
	struct bus_map_item items[3];
	int n, n_dead = 0;

	c.chunk = 2;
	c.items = items;
	ko.sh->ready = 1;
	n = bus_pool_map(ko.pool, ECHO, in, sizeof(*in), out, sizeof(*out), 3,
			 &c, -1);
	for (uint64_t i = 0; i < 3; i++) {
		/* Items of a chunk are tried once more, each for itself. */
		if (i == 2 && items[i].kind == BUS_RESULT_DEATH)
			n_dead += ko.op->max_attempts == 1;
		else if (items[i].kind != BUS_RESULT_OK || out[i] != i)
			WRONG();
	}
	if (n != n_dead)
		WRONG();
}

static int three(void *ctx, const void **item, size_t *len)
{
	static const uint64_t numbers[] = { 0, 1, 2 };
	uint32_t *n = ctx;

	if (*n == 3)
		return 0;
	*item = &numbers[(*n)++];
	*len = sizeof(*numbers);
	return 1;
}

static void do_imap(void)
{
	struct bus_imap *imap;
	struct bus_result r;
	uint32_t n = 0;

	ko.sh->ready = 1;
	if (bus_pool_imap(ko.pool, ECHO, three, &n, NULL, &imap)) {
		WRONG();
		return;
	}
	for (uint64_t i = 0; i < 2; i++)
		if (bus_imap_next(imap, &r, -1) || r.id != i ||
		    memcmp(r.data, &i, sizeof(i)))
			WRONG();
	bus_imap_free(imap); /* one of them is on its way */
}

/* Who comes first is open: one whose worker has died comes later. */
static void do_imap_unordered(void)
{
	struct bus_imap *imap;
	struct bus_result r;
	uint32_t n = 0, seen = 0;

	ko.sh->ready = 1;
	if (bus_pool_imap_unordered(ko.pool, ECHO, three, &n, NULL, &imap)) {
		WRONG();
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (bus_imap_next(imap, &r, -1) || r.id > 2 ||
		    memcmp(r.data, &r.id, sizeof(r.id)) || seen & 1u << r.id) {
			WRONG();
			break;
		}
		seen |= 1u << r.id;
	}
	bus_imap_free(imap); /* one of them is on its way */
}

static void do_scale(void)
{
	if (bus_pool_scale(ko.pool, 2) || bus_pool_scale(ko.pool, 1))
		WRONG();
	ko.sh->ready = 1;
}

static void do_join(void)
{
	submit(0);
	bus_pool_close(ko.pool);
	if (bus_pool_join(ko.pool, -1))
		WRONG();
}

static void do_terminate(void)
{
	submit(0);
	submit(1);
	bus_pool_terminate(ko.pool);
	if (bus_pool_join(ko.pool, -1))
		WRONG();
}

static void do_free(void)
{
	submit(0);
	bus_pool_free(ko.pool);
}

static void do_stats(void)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[4];

	if (bus_pool_stats(ko.bus, "p", &s, w, 4) < 1 || s.n_workers != 1)
		WRONG();
}

/* clang-format off */
const struct op ko_ops[] = {
	/* the victim is a worker */
	{ "worker", WORKER, S_BOTH, .fn = ko_do_tasks },
	{ "worker-cell", WORKER, S_BOTH, .fn = ko_do_tasks, .len = CELL,
	  .warm = true },
	{ "worker-parcel", WORKER, S_BOTH, .fn = ko_do_tasks, .handler = BIG,
	  .warm = true },
	{ "worker-fail", WORKER, S_BOTH, .fn = ko_do_tasks, .handler = FAIL,
	  .warm = true },
	{ "worker-poison", WORKER, 1u << ONE, .fn = ko_do_tasks, .len = CELL,
	  .max_attempts = 1, .warm = true },
	{ "worker-cancel", WORKER, S_BOTH, .fn = do_cancel, .handler = UNTIL_TOLD,
	  .warm = true },
	{ "worker-chunk", WORKER, S_BOTH, .fn = do_map, .warm = true },
	{ "worker-split", WORKER, S_BOTH, .fn = do_map, .max_attempts = 1,
	  .warm = true },
	{ "worker-items", WORKER, S_BOTH, .fn = do_imap, .warm = true },
	{ "worker-unordered", WORKER, S_BOTH, .fn = do_imap_unordered,
	  .warm = true },
	{ "worker-runs", WORKER, S_BOTH, .fn = do_runs, .warm = true },
	{ "worker-leave", WORKER, S_BOTH, .fn = ko_do_tasks,
	  .max_tasks = 1 },
	/* the owner */
	{ "start", OWNER, S_EMPTY, .fn = ko_start_pool, .unborn = true },
	{ "tasks", OWNER, S_EMPTY, .fn = ko_do_tasks },
	{ "tasks-cell", OWNER, S_EMPTY, .fn = ko_do_tasks, .len = CELL },
	{ "tasks-parcel", OWNER, S_EMPTY, .fn = ko_do_tasks, .handler = BIG },
	{ "runs", OWNER, S_EMPTY, .fn = do_runs },
	{ "cancel", OWNER, S_EMPTY, .fn = do_cancel, .handler = UNTIL_TOLD },
	{ "map", OWNER, S_EMPTY, .fn = do_map },
	{ "imap", OWNER, S_EMPTY, .fn = do_imap },
	{ "imap-unordered", OWNER, S_EMPTY, .fn = do_imap_unordered },
	{ "scale", OWNER, S_EMPTY, .fn = do_scale },
	{ "close-join", OWNER, S_EMPTY, .fn = do_join },
	{ "terminate", OWNER, S_EMPTY, .fn = do_terminate },
	{ "free", OWNER, S_EMPTY, .fn = do_free, .len = CELL },
	/* somebody else */
	{ "stats", OUTSIDE, S_EMPTY, .fn = do_stats },
};
/* clang-format on */

const uint32_t ko_n_ops = lengthof(ko_ops);
