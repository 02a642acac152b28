/*
 * future.c - futures: submit, wait, get, cancel, free
 *
 * A future is the task itself, kept by the user until it is freed; its result
 * lies in it when it is small.  One that nobody keeps goes back when its task
 * is over and its callback was called.
 */
#include "config.h"

#include <string.h>

#include "bus/pool.h"
#include "bus/settings.h"

/* ---------------------------------------------------------------- submit -- */

static const uint8_t lanes[] = {
	[BUS_PRIORITY_NORMAL] = BUS_LANE_NORMAL,
	[BUS_PRIORITY_HIGH] = BUS_LANE_HIGH,
	[BUS_PRIORITY_LOW] = BUS_LANE_LOW,
};

int bus_lane_of(uint32_t priority)
{
	return priority <= BUS_PRIORITY_LOW ? lanes[priority] : -EINVAL;
}

/*
 * The ring is as full as it should be.  Are there answers?  To look costs a
 * transfer of a cache line when there are none: so look seldomer as long as
 * that is so, but before the workers run out of work.
 */
static void look_for_answers(struct bus_pool *p)
{
	if (++p->n_blind < p->look_every)
		return;
	p->n_blind = 0;
	if (bus_pool_collect(p, false) * 4 > p->depth)
		p->look_every -= p->look_every / 2;
	else if (p->look_every < p->depth / 4)
		p->look_every++;
}

static int read_config(const struct bus_task_config *config,
		       struct bus_task_config *c)
{
	int ret = bus_config_copy(c, sizeof(*c), config);

	return ret ? ret : bus_task_config_fill(c);
}

/* @c: NULL for a task with nothing special. */
SB_INLINE int submit(struct bus_pool *p, uint32_t handler, const void *buf,
		     size_t len, const struct bus_task_config *c,
		     struct bus_future **out)
{
	struct bus_future *t = bus_task_new(p);
	int ret;

	if (sb_unlikely(!t))
		return -ENOMEM;
	t->owner = BUS_FOR_USER;
	t->handler = (uint16_t)handler;
	t->for_.user.done = NULL;
	if (sb_unlikely(c)) {
		t->lane = lanes[c->priority];
		t->for_.user.done = c->done;
		t->for_.user.ctx = c->ctx;
		if (c->limit_ns)
			bus_task_limit(t, sb_deadline(c->limit_ns));
	}
	ret = bus_task_post(t, buf, len);
	if (sb_unlikely(ret)) {
		bus_task_put(t);
		return ret;
	}
	if (out) {
		t->kept = true;
		*out = t;
	}
	return 0;
}

SB_INLINE int submit_or_wait(struct bus_pool *p, uint32_t handler,
			     const void *buf, size_t len_bytes,
			     const struct bus_task_config *config,
			     struct bus_future **future, int64_t timeout_ns)
{
	struct bus_task_config c;
	int ret = bus_pool_check(p);

	if (sb_unlikely(ret))
		return ret;
	if (sb_unlikely(handler >= p->config.n_handlers || (!buf && len_bytes)))
		return -EINVAL;
	if (config) {
		ret = read_config(config, &c);
		if (ret)
			return ret;
	}
	if (sb_unlikely(len_bytes > p->max_request))
		return -EMSGSIZE;
	if (!bus_lane_direct(p))
		look_for_answers(p);
	if (sb_unlikely(p->n_due))
		bus_due_run(p);
	if (sb_unlikely(p->closed || p->broken ||
			p->n_live >= p->config.window)) {
		ret = bus_pool_room(p, bus_pool_deadline(timeout_ns));
		if (ret)
			return ret;
	}
	ret = submit(p, handler, buf, len_bytes, config ? &c : NULL, future);
	if (sb_unlikely(p->calls) && !p->in_callback)
		bus_pool_progress(p, false);
	return ret;
}

int bus_pool_submit(struct bus_pool *p, uint32_t handler, const void *buf,
		    size_t len_bytes, const struct bus_task_config *config,
		    struct bus_future **future, int64_t timeout_ns)
{
	return submit_or_wait(p, handler, buf, len_bytes, config, future,
			      timeout_ns);
}

/* ------------------------------------------------------------------- get -- */

static bool is_over(void *arg)
{
	const struct bus_future *t = arg;

	return t->over;
}

static int wait_for(struct bus_future *t, uint64_t deadline)
{
	int ret = bus_pool_check(t->pool);

	if (sb_unlikely(ret))
		return ret;
	if (t->over) {
		bus_lanes_flush(t->pool);
		return 0;
	}
	return bus_pool_wait(t->pool, is_over, t, deadline);
}

int bus_future_done(struct bus_future *t)
{
	if (bus_pool_check(t->pool))
		return -EINVAL;
	if (t->over)
		bus_lanes_flush(t->pool);
	else
		bus_pool_progress(t->pool, false);
	return t->over;
}

int bus_future_wait(struct bus_future *t, int64_t timeout_ns)
{
	return wait_for(t, bus_pool_deadline(timeout_ns));
}

int bus_future_get(struct bus_future *t, struct bus_result *result,
		   int64_t timeout_ns)
{
	int ret;

	/* What has come is there without a look at anything else; and whoever
	 * gets one for each that he submits is no reason to end a run. */
	if (sb_likely(t->over && t->pool->fork_gen == sb_fork_gen)) {
		if (sb_unlikely(t->pool->n_run))
			bus_lanes_feed(t->pool);
		*result = bus_task_result(t);
		return 0;
	}
	ret = wait_for(t, bus_pool_deadline(timeout_ns));
	if (!ret)
		*result = bus_task_result(t);
	return ret;
}

int bus_future_cancel(struct bus_future *t)
{
	struct bus_pool *p = t->pool;
	int ret = bus_pool_check(p);

	if (ret)
		return ret;
	if (t->over)
		return -EALREADY;
	bus_task_stop(t, BUS_RESULT_CANCELED, -ECANCELED);
	if (!p->in_callback)
		bus_pool_progress(p, false);
	return 0;
}

void bus_future_free(struct bus_future *t)
{
	if (!t || bus_pool_check(t->pool))
		return;
	t->kept = false;
	bus_task_put(t);
}

/* ----------------------------------------------------------------- apply -- */

static int apply(struct bus_pool *p, struct bus_future *t,
		 struct bus_result *result, uint64_t deadline)
{
	int ret = wait_for(t, deadline);

	if (!ret) {
		*result = bus_task_result(t);
		p->applied = t;
		return 0;
	}
	if (!t->over)
		bus_task_stop(t, BUS_RESULT_CANCELED, -ECANCELED);
	bus_future_free(t);
	return ret;
}

int bus_pool_apply(struct bus_pool *p, uint32_t handler, const void *buf,
		   size_t len_bytes, struct bus_result *result,
		   int64_t timeout_ns)
{
	uint64_t deadline = bus_pool_deadline(timeout_ns);
	struct bus_future *t;
	int ret = bus_pool_check(p);

	if (ret)
		return ret;
	if (!result)
		return -EINVAL;
	if (p->in_callback)
		return -EDEADLK;
	if (p->applied) {
		t = p->applied;
		p->applied = NULL;
		t->kept = false;
		bus_task_put(t);
	}
	ret = submit_or_wait(p, handler, buf, len_bytes, NULL, &t, timeout_ns);
	if (ret)
		return ret;
	return apply(p, t, result, deadline);
}

/* ---------------------------------------------------------- for bus_wait -- */

struct bus *bus_future_endpoint(const struct bus_future *t)
{
	return bus_pool_check(t->pool) ? NULL : t->pool->bus;
}

struct bus_pool *bus_future_pool(const struct bus_future *t)
{
	return t->pool;
}

bool bus_future_ready(const struct bus_future *t)
{
	return t->over;
}
