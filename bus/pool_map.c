/*
 * pool_map.c - run a function on each element of an array
 *
 * One task for each chunk of elements; with chunks of one, a task is an element
 * and nothing else, and its result goes from the slot to the array at once. The
 * array stays where it is while the call lasts, so it is not copied until there
 * is room in the ring.
 *
 * A chunk that came back as what killed too many workers is submitted again,
 * element by element: so that only the culprit is given up.
 */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pool.h"
#include "bus/pool_chunk.h"
#include "bus/settings.h"
#include "lib/copy.h"

struct bus_map_run {
	struct bus_pool *pool;
	uint32_t handler;
	uint8_t lane;
	const unsigned char *in;
	unsigned char *out;
	size_t in_bytes, out_bytes;
	size_t n, next; /* elements; the first that no task has had */
	size_t chunk;
	int64_t limit_ns;
	struct bus_map_item *items; /* NULL: nobody asks */
	size_t n_pending;           /* tasks */
	size_t n_failed;
	bool broken;
};

/* --------------------------------------------------------------- results -- */

static void note(struct bus_map_item *it, const struct bus_result *r)
{
	size_t len = r->kind == BUS_RESULT_DEATH ? 0 : r->len_bytes;

	*it = (struct bus_map_item){ .kind = r->kind,
				     .code = r->code,
				     .attempts = r->attempts,
				     .pid = r->pid,
				     .signal = r->signal,
				     .exit_status = r->exit_status };
	if (r->kind == BUS_RESULT_OK) {
		it->len_bytes = r->len_bytes;
		return;
	}
	if (len >= sizeof(it->text))
		len = sizeof(it->text) - 1;
	if (len)
		memcpy(it->text, r->data, len);
}

static void item_over(struct bus_map_run *run, size_t i,
		      const struct bus_result *r)
{
	struct bus_result too_long;

	if (sb_unlikely(r->kind == BUS_RESULT_OK &&
			r->len_bytes > run->out_bytes)) {
		too_long = *r;
		too_long.kind = BUS_RESULT_ERROR;
		too_long.code = -EMSGSIZE;
		too_long.len_bytes = 0;
		r = &too_long;
	}
	if (sb_likely(r->kind == BUS_RESULT_OK)) {
		sb_copy(run->out + i * run->out_bytes, r->data,
			     r->len_bytes);
	} else {
		run->n_failed++;
		run->broken |= r->kind == BUS_RESULT_BROKEN;
	}
	if (run->items)
		note(&run->items[i], r);
	bus_pool_count(run->pool, r->kind, 1);
}

static void all_over(struct bus_map_run *run, size_t first, size_t n,
		     const struct bus_result *r)
{
	for (size_t i = 0; i < n; i++)
		item_over(run, first + i, r);
}

/* What is left of a chunk's items cannot be read. */
static void items_lost(struct bus_map_run *run, size_t first, size_t n)
{
	struct bus_result r = { .kind = BUS_RESULT_ERROR,
				.code = -EPROTO,
				.exit_status = -1,
				.data = "" };

	bus_count(&run->pool->bus->ep->counts.rejected, 1);
	all_over(run, first, n, &r);
}

static void chunk_over(struct bus_map_run *run, size_t first, size_t n,
		       const struct bus_result *whole)
{
	struct bus_chunk_rest rest = { .at = whole->data,
				       .left = whole->len_bytes };
	struct bus_result r = *whole;

	for (size_t i = 0; i < n; i++) {
		if (bus_chunk_result(&rest, &r)) {
			items_lost(run, first + i, n - i);
			return;
		}
		item_over(run, first + i, &r);
	}
}

/* ----------------------------------------------------------------- tasks -- */

static int post(struct bus_map_run *run, size_t first, size_t n)
{
	struct bus_chunk head = { .n = (uint32_t)n,
				  .item_bytes = (uint32_t)run->in_bytes };
	size_t padded = (size_t)bus_chunk_padded(run->in_bytes), len;
	const unsigned char *from = run->in + first * run->in_bytes;
	struct bus_future *t = bus_task_new(run->pool);
	unsigned char *to;
	int ret;

	if (sb_unlikely(!t))
		return -ENOMEM;
	t->owner = BUS_FOR_MAP;
	t->handler = (uint16_t)run->handler;
	t->lane = run->lane;
	t->n_items = (uint32_t)n;
	t->for_.map.run = run;
	t->for_.map.first = first;
	if (sb_unlikely(run->limit_ns))
		bus_task_limit(t, sb_deadline(run->limit_ns));
	len = run->in_bytes;
	if (n > 1) {
		t->chunk = true;
		len = sizeof(head) + n * padded;
		to = bus_task_request(t, len);
		if (!to) {
			bus_task_put(t);
			return -ENOMEM;
		}
		memcpy(to, &head, sizeof(head));
		to += sizeof(head);
		for (size_t i = 0; i < n && run->in_bytes; i++)
			memcpy(to + i * padded, from + i * run->in_bytes,
			       run->in_bytes);
	}
	ret = bus_task_post(t, from, len);
	if (sb_unlikely(ret)) {
		bus_task_put(t);
		return ret;
	}
	run->n_pending++;
	return 0;
}

/* Each for itself: one of them kills whoever runs it. */
static void split(struct bus_map_run *run, size_t first, size_t n)
{
	struct bus_result r = { .kind = BUS_RESULT_ERROR,
				.exit_status = -1,
				.data = "" };

	/* They are not submitted, they still are. */
	bus_count(&run->pool->area->counts.n_submitted, -(uint64_t)n);
	for (size_t i = 0; i < n; i++) {
		r.code = post(run, first + i, 1);
		if (r.code) {
			bus_count(&run->pool->area->counts.n_submitted, 1);
			item_over(run, first + i, &r);
		}
	}
}

void bus_map_over(struct bus_future *t, const struct bus_result *r)
{
	struct bus_map_run *run = t->for_.map.run;
	size_t first = t->for_.map.first;

	run->n_pending--;
	if (sb_likely(!t->chunk))
		item_over(run, first, r);
	else if (r->kind == BUS_RESULT_OK)
		chunk_over(run, first, t->n_items, r);
	else if (r->kind == BUS_RESULT_DEATH)
		split(run, first, t->n_items);
	else
		all_over(run, first, t->n_items, r);
}

/* ------------------------------------------------------------------- map -- */

/* May the next task be made?  While nobody waits in the lanes only for a place
 * in the ring, so that the request is copied once; else it waits there, too. So
 * does the first one in any case: tasks that callbacks submit may take each
 * place in the ring before we look. */
static bool may_post(const struct bus_map_run *run)
{
	const struct bus_pool *p = run->pool;

	return run->next < run->n && p->n_live < p->config.window &&
	       (p->n_queued || p->n_in_ring < p->depth || !run->n_pending);
}

static int post_more(struct bus_map_run *run)
{
	while (may_post(run)) {
		size_t n = run->n - run->next;
		int ret;

		if (n > run->chunk)
			n = run->chunk;
		ret = post(run, run->next, n);
		if (ret)
			return ret;
		run->next += n;
	}
	return 0;
}

static bool map_goes_on(void *arg)
{
	const struct bus_map_run *run = arg;

	return run->next == run->n ? !run->n_pending : may_post(run);
}

static bool is_ours(const struct bus_future *t, const void *arg)
{
	return t->owner == BUS_FOR_MAP && t->for_.map.run == arg;
}

static int give_up(struct bus_map_run *run, int why)
{
	struct bus_result r = { .kind = BUS_RESULT_CANCELED,
				.code = -ECANCELED,
				.exit_status = -1,
				.data = "" };

	bus_tasks_stop(run->pool, is_ours, run);
	for (size_t i = run->next; i < run->n && run->items; i++)
		note(&run->items[i], &r);
	return why;
}

static int run_map(struct bus_map_run *run, uint64_t deadline)
{
	struct bus_pool *p = run->pool;
	int ret = 0;

	while (!ret && (run->next < run->n || run->n_pending)) {
		if (run->next < run->n && (p->broken || p->terminated))
			ret = bus_pool_open(p);
		if (!ret)
			ret = post_more(run);
		if (!ret)
			ret = bus_pool_wait(p, map_goes_on, run, deadline);
		if (ret == -ECHILD && !run->n_pending)
			ret = bus_pool_open(p);
	}
	if (ret)
		return give_up(run, ret);
	return run->n_failed > INT_MAX ? INT_MAX : (int)run->n_failed;
}

/* How many elements a task. */
static size_t chunk_of(const struct bus_map_run *run, size_t chunk)
{
	const struct bus_pool *p = run->pool;
	size_t tasks = 4 * (size_t)p->config.n_workers, most;

	if (!chunk)
		chunk = run->n / tasks + (run->n % tasks != 0);
	if (run->in_bytes >= UINT32_MAX)
		return 1;
	most = (p->max_request - sizeof(struct bus_chunk)) /
	       (size_t)(bus_chunk_padded(run->in_bytes) + !run->in_bytes);
	if (most > UINT32_MAX / 2)
		most = UINT32_MAX / 2;
	if (chunk > most)
		chunk = most;
	return chunk ? chunk : 1;
}

int bus_pool_map(struct bus_pool *p, uint32_t handler, const void *in,
		 size_t in_bytes, void *out, size_t out_bytes, size_t n,
		 const struct bus_map_config *config, int64_t timeout_ns)
{
	struct bus_map_run run = { .pool = p,
				   .handler = handler,
				   .in = in,
				   .out = out,
				   .in_bytes = in_bytes,
				   .out_bytes = out_bytes,
				   .n = n };
	struct bus_map_config c;
	int ret = bus_pool_check(p);

	if (!ret)
		ret = bus_config_copy(&c, sizeof(c), config);
	if (!ret)
		ret = bus_map_config_fill(&c);
	if (ret)
		return ret;
	if (handler >= p->config.n_handlers || (!in && in_bytes && n) ||
	    (!out && out_bytes && n))
		return -EINVAL;
	ret = bus_pool_open(p);
	if (ret)
		return ret;
	if (p->in_callback)
		return -EDEADLK;
	if (in_bytes > p->max_request)
		return -EMSGSIZE;
	run.lane = (uint8_t)bus_lane_of(c.priority);
	run.limit_ns = c.limit_ns;
	run.items = c.items;
	run.chunk = chunk_of(&run, c.chunk);
	ret = run_map(&run, bus_pool_deadline(timeout_ns));
	return ret >= 0 && run.broken ? -ECHILD : ret;
}
