/*
 * pool.c - a pool: started, scaled, closed, joined, terminated; and progress
 *
 * A pool is a client of a coordinator, to which it hands tasks without waiting
 * and from which it takes results as they come.  Nothing happens behind the
 * caller's back: there is no thread, so results are taken, tasks handed on,
 * deadlines kept, and callbacks called in the caller's own calls.  A call that
 * waits sleeps where the coordinator sleeps, in the bitmap for answers, with
 * the workers' pidfds.
 *
 * A callback is called when all else is done, never in a callback or within a
 * wait; so it finds the pool in order and may do anything that does not wait.
 * Those that come up meanwhile are for the next round, so that callbacks which
 * lead to others keep nobody in a call for ever; nobody sleeps while there are
 * any.
 *
 * The end: whoever is killed leaves nothing but memory that dies with the bus.
 * If it is the parent, its workers end with it (worker.c).
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pool_task.h"
#include "bus/settings.h"
#include "lib/copy.h"

#define REFILL_EVERY 32u          /* answers */
#define RETRY_NS     SB_NS_PER_MS /* for a cell that others have */

/* ---------------------------------------------------------------- counts -- */

void bus_pool_count(struct bus_pool *p, uint32_t kind, uint64_t n)
{
	struct bus_crew_counts *c = &p->area->counts;

	switch (kind) {
	case BUS_RESULT_OK:
		bus_count(&c->n_ok, n);
		break;
	case BUS_RESULT_ERROR:
		bus_count(&c->n_failed, n);
		break;
	case BUS_RESULT_DEATH:
		bus_count(&c->n_dead, n);
		break;
	case BUS_RESULT_TIMEOUT:
		bus_count(&c->n_timed_out, n);
		break;
	default:
		bus_count(&c->n_canceled, n);
	}
}

/* ------------------------------------------------------------------ over -- */

/* Bytes that are too many for the task: on the heap, or in its room. */
static unsigned char *more_room(struct bus_future *t, size_t len)
{
	if (len < t->pool->room_bytes)
		return t->room;
	bus_task_more(t);
	t->data = malloc(len + 1);
	return t->data;
}

void bus_task_store(struct bus_future *t, const struct bus_result *r)
{
	unsigned char *to = t->small;
	size_t len = r->len_bytes;

	t->r = (struct bus_task_result){ .kind = r->kind,
					 .code = r->code,
					 .attempts = r->attempts,
					 .pid = r->pid,
					 .signal = r->signal,
					 .exit_status = r->exit_status };
	if (sb_unlikely(t->has_more && t->got.data && r->data == t->got.data)) {
		t->r.data = t->data = t->got.data;
		t->r.len = len;
		t->got.data = NULL;
		return;
	}
	if (sb_unlikely(len >= sizeof(t->small)))
		to = more_room(t, len);
	if (sb_unlikely(!to)) {
		t->r.kind = BUS_RESULT_ERROR;
		t->r.code = -ENOMEM;
		to = t->small;
		len = 0;
	}
	sb_copy(to, r->data, len);
	to[len] = 0;
	t->r.data = to;
	t->r.len = len;
}

static void call_later(struct bus_future *t)
{
	struct bus_pool *p = t->pool;

	t->calling = true;
	t->next_call = NULL;
	if (p->calls)
		p->last_call->next_call = t;
	else
		p->calls = t;
	p->last_call = t;
}

void bus_task_over(struct bus_future *t, const struct bus_result *r)
{
	t->over = true;
	if (sb_unlikely(t->heap_at))
		bus_due_remove(t);
	switch (t->owner) {
	case BUS_FOR_USER:
		bus_pool_count(t->pool, r->kind, 1);
		bus_task_store(t, r);
		if (t->for_.user.done)
			call_later(t);
		break;
	case BUS_FOR_MAP:
		bus_map_over(t, r);
		break;
	case BUS_FOR_IMAP:
		bus_imap_over(t, r);
		break;
	default:
		bus_pool_count(t->pool, r->kind, t->n_items);
	}
}

void bus_task_end(struct bus_future *t, uint32_t kind, int32_t code)
{
	struct bus_result r = {
		.kind = kind, .code = code, .exit_status = -1, .data = ""
	};

	if (kind == BUS_RESULT_BROKEN) {
		r.data = t->pool->error;
		r.len_bytes = strlen(t->pool->error);
	}
	bus_task_over(t, &r);
}

/* --------------------------------------------------------------- answers -- */

static void no_result(struct bus_result *r, uint32_t kind, int32_t code)
{
	r->kind = kind;
	r->code = code;
	r->data = "";
	r->len_bytes = 0;
}

static void nonsense(struct bus_future *t, struct bus_result *r)
{
	bus_count(&t->pool->bus->ep->counts.rejected, 1);
	no_result(r, BUS_RESULT_ERROR, -EPROTO);
}

/* It went through the worker's pipe. */
static void read_parcel(struct bus_future *t, struct bus_result *r,
			uint32_t place)
{
	int ret = bus_parcel_for(t, place, r->attempts);

	if (ret == -EPROTO) {
		nonsense(t, r);
	} else if (ret) {
		no_result(r, BUS_RESULT_ERROR, ret);
	} else {
		r->data = t->got.data;
		r->len_bytes = t->got.len;
	}
}

/* Its worker says where the result is. */
static void read_answer(struct bus_future *t, struct bus_result *r)
{
	struct bus_answer a;

	if (sb_unlikely(r->len_bytes < sizeof(a))) {
		nonsense(t, r);
		return;
	}
	sb_copy_once(&a, r->data, sizeof(a));
	if (sb_likely(a.kind == BUS_ANSWER_HERE)) {
		r->data = (const unsigned char *)r->data + sizeof(a);
		r->len_bytes -= sizeof(a);
	} else if (a.kind == BUS_ANSWER_PIPE) {
		read_parcel(t, r, a.place);
	} else if (a.kind == BUS_ANSWER_LATE && t->limited) {
		no_result(r, BUS_RESULT_TIMEOUT, -ETIMEDOUT);
	} else {
		nonsense(t, r);
	}
}

/* The request comes back: without our head. */
static void read_death(struct bus_result *r)
{
	size_t head = sizeof(struct bus_task_head);

	if (r->len_bytes < head)
		head = r->len_bytes;
	r->data = (const unsigned char *)r->data + head;
	r->len_bytes -= head;
}

static void answered(void *arg, struct bus_result *r)
{
	struct bus_pool *p = arg;
	struct bus_future *t = bus_task_of(r->id);

	/* Before it leaves the flight: a parcel is for who is in it. */
	if (sb_unlikely(t->over))
		;
	else if (sb_likely(r->kind == BUS_RESULT_OK))
		read_answer(t, r);
	else if (r->kind == BUS_RESULT_DEATH)
		read_death(r);
	bus_lane_answered(p, t);
	if (sb_likely(!t->over))
		bus_task_over(t, r);
	else if (t->heap_at)
		bus_due_remove(t); /* the worker has let go of it */
	bus_task_settle(t);
}

/* --------------------------------------------------------------- the end -- */

static bool is_up(const struct bus_pool *p)
{
	return p->co && !p->broken && !p->terminated;
}

static void end_task(struct bus_future *t, uint32_t kind, int32_t code)
{
	if (!t->over)
		bus_task_end(t, kind, code);
	else if (t->heap_at)
		bus_due_remove(t);
	bus_task_settle(t);
}

/* No worker is there any more, and none will be: so what became of the tasks?
 */
static void end_all(struct bus_pool *p, uint32_t kind, int32_t code)
{
	struct bus_result r;

	while (!bus_collect_any(p->co, &r, 0))
		answered(p, &r);
	p->n_run = 0;
	for (uint32_t i = 0; i < BUS_LANES; i++)
		while (p->lane[i].first) {
			struct bus_future *t = p->lane[i].first;

			bus_lane_remove(t);
			end_task(t, kind, code);
		}
	for (uint32_t i = 0; i < BUS_POOL_RING; i++)
		if (p->flight[i]) {
			struct bus_future *t = p->flight[i];

			bus_lane_answered(p, t);
			end_task(t, kind, code);
		}
}

/* The coordinator starts no more workers. */
static void break_down(struct bus_pool *p)
{
	const char *why = bus_coord_error(p->co);

	p->broken = true;
	strncpy(p->error, why, sizeof(p->error) - 1);
	bus_coord_kill_all(p->co);
	end_all(p, BUS_RESULT_BROKEN, -ECHILD);
}

static void look_if_broken(struct bus_pool *p)
{
	if (sb_unlikely(bus_coord_ready(p->co, 0, false) & BUS_POLL_ERR))
		break_down(p);
}

/* -------------------------------------------------------------- progress -- */

uint32_t bus_pool_collect(struct bus_pool *p, bool sure)
{
	uint32_t n = 0, k;

	if (sb_unlikely(!is_up(p)))
		return 0;
	bus_lanes_flush(p);
	while ((k = bus_coord_take_each(p->co, REFILL_EVERY, sure, answered,
					p))) {
		sure = false;
		n += k;
		bus_lanes_refill(p);
	}
	/* Who finds results at every look never sleeps with the pidfds. */
	bus_coord_poll(p->co);
	bus_lanes_adapt(p);
	bus_lanes_refill(p);
	return n;
}

/* Those that are to be called now, not those that they lead to. */
static void run_callbacks(struct bus_pool *p)
{
	struct bus_future *last = p->last_call, *t = NULL;

	while (p->calls && t != last) {
		struct bus_result r;

		t = p->calls;
		r = bus_task_result(t);

		p->calls = t->next_call;
		p->in_callback = true;
		if (t->for_.user.done(t->for_.user.ctx, t, &r))
			bus_count(&p->area->counts.n_callbacks_failed, 1);
		p->in_callback = false;
		t->calling = false;
		bus_task_put(t);
	}
}

/* Nothing that is new can be over any more: call all, to the last. */
static void run_last_callbacks(struct bus_pool *p)
{
	while (p->calls && !p->in_callback)
		run_callbacks(p);
}

uint32_t bus_pool_progress(struct bus_pool *p, bool sure)
{
	uint32_t n = 0;

	if (sb_likely(is_up(p))) {
		n = bus_pool_collect(p, sure);
		bus_parcel_gone(p);
		bus_parcels_drain(p);
		bus_due_run(p);
		if (!n)
			look_if_broken(p);
	}
	if (sb_unlikely(p->calls) && !p->in_callback)
		run_callbacks(p);
	/* Who sleeps next shall not sleep on work. */
	if (sb_unlikely(p->n_run) && is_up(p))
		bus_lanes_flush(p);
	return n;
}

/* --------------------------------------------------------------- waiting -- */

static bool parcels_ready(void *arg, bool sure)
{
	(void)sure;
	return bus_parcels_ready(arg);
}

static uint64_t wake_at(const struct bus_pool *p, uint64_t deadline)
{
	uint64_t at = bus_due_next(p);

	if (p->starved && p->n_queued && p->n_in_ring < p->depth &&
	    sb_now_ns() + RETRY_NS < at)
		at = sb_now_ns() + RETRY_NS;
	return at < deadline ? at : deadline;
}

/* Sleep until there is something to do.  0 also when it was only time to look
 * at what is due; -ETIMEDOUT, -EINTR, ... */
static int sleep_for_news(struct bus_pool *p, uint64_t deadline, bool *sure)
{
	struct bus_coord_extra extra = { .ready = parcels_ready, .arg = p };
	uint64_t until = wake_at(p, deadline);
	int ret;

	ret = bus_coord_wait(p->co, &extra, until ? until : 1);
	*sure = ret == 0;
	if (ret == -ECHILD) {
		look_if_broken(p);
		return 0;
	}
	if (ret == -ETIMEDOUT && until != deadline)
		return 0;
	return ret;
}

/* There is an answer.  If it is what somebody waits for, he has waited long
 * enough: what else there is to do was done before he slept. */
static bool is_what_we_need(struct bus_pool *p, bool (*over)(void *arg),
			    void *arg)
{
	if (p->n_queued)
		return false;
	bus_coord_take_each(p->co, REFILL_EVERY, true, answered, p);
	bus_lanes_flush(p); /* a chunk that has died became many tasks */
	return !p->calls && over(arg);
}

int bus_pool_wait(struct bus_pool *p, bool (*over)(void *arg), void *arg,
		  uint64_t deadline)
{
	bool sure = false, late = false;
	int ret;

	for (;;) {
		bus_pool_progress(p, sure || late);
		if (over(arg))
			break;
		if (!deadline || late)
			return deadline ? -ETIMEDOUT : -EAGAIN;
		if (p->in_callback)
			return -EDEADLK;
		if (!is_up(p))
			return -ECHILD; /* nothing will ever come */
		sure = false;
		ret = p->calls ? 0 : sleep_for_news(p, deadline, &sure);
		if (sure && is_what_we_need(p, over, arg))
			break;
		/* Where there are always news the wait never says it. */
		late = ret == -ETIMEDOUT ||
		       (deadline != SB_FOREVER && sb_now_ns() >= deadline);
		if (ret && !late)
			return ret;
	}
	return 0;
}

static bool has_room(void *arg)
{
	const struct bus_pool *p = arg;

	return p->n_live < p->config.window || !is_up(p) || p->closed;
}

int bus_pool_open(struct bus_pool *p)
{
	if (sb_unlikely(p->broken))
		return -ECHILD;
	return sb_unlikely(p->closed) ? -EPIPE : 0;
}

int bus_pool_room(struct bus_pool *p, uint64_t deadline)
{
	int ret = bus_pool_open(p);

	if (ret || p->n_live < p->config.window)
		return ret;
	ret = bus_pool_wait(p, has_room, p, deadline);
	return ret ? ret : bus_pool_open(p);
}

/* ----------------------------------------------------------------- start -- */

static int on_start(void *ctx, uint32_t place)
{
	return bus_parcel_start(ctx, place);
}

static void on_started(void *ctx, uint32_t place, pid_t pid)
{
	bus_parcel_started(ctx, place, pid);
}

/* It may be in the middle of a wait: only note it. */
static void on_gone(void *ctx, uint32_t place)
{
	struct bus_pool *p = ctx;

	p->place[place].gone = true;
	p->any_gone = true;
}

static int on_init(void *ctx, uint32_t place, char *error, size_t error_bytes)
{
	struct bus_pool *p = ctx;

	(void)place;
	return p->config.init
		       ? p->config.init(p->config.ctx, error, error_bytes)
		       : 0;
}

static void on_exit_(void *ctx)
{
	struct bus_pool *p = ctx;

	if (p->config.exit)
		p->config.exit(p->config.ctx);
}

static int coord_up(struct bus_pool *p, const char *name)
{
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	struct bus_crew_config crew = {
		.max_workers = p->n_places,
		.wait = p->config.wait,
		.spin = p->config.spin,
		.max_tasks = p->config.max_tasks_per_worker,
		.init_tries = 3,
		.cancels = 1,
		.start = on_start,
		.started = on_started,
		.gone = on_gone,
		.init = on_init,
		.exit = on_exit_,
		.ctx = p,
	};

	cc.handler = bus_task_run;
	cc.ctx = p;
	cc.n_workers = p->config.n_workers;
	cc.window = BUS_POOL_RING;
	cc.request_bytes =
		(uint32_t)sizeof(struct bus_task_head) + p->config.task_bytes;
	cc.result_bytes = sizeof(struct bus_answer) + BUS_SMALL_RESULT;
	cc.max_attempts = p->config.max_attempts;
	cc.backoff_ns = p->config.backoff_ns;
	return bus_coord_start_crew(p->bus, name, &cc, &crew, &p->co);
}

static void free_memory(struct bus_pool *p)
{
	bus_lanes_down(p);
	bus_imaps_free(p);
	bus_parcels_free(p);
	bus_tasks_free(p);
	free(p->place);
	free(p->handlers);
	free(p->due);
	free(p->scratch);
	free(p->run_reqs);
	free(p->flight);
	free(p->free_index);
	free(p);
}

/* How many workers there can ever be: without the nobody of the table, the
 * spare one, and us. */
static uint32_t count_places(const struct bus *bus)
{
	uint32_t n = bus->map->sizes.max_ep;

	n = n > 3 ? n - 3 : 0;
	return n < BUS_CREW_MAX ? n : BUS_CREW_MAX;
}

static int memory_up(struct bus_pool *p)
{
	uint32_t task = p->config.task_bytes;

	p->room_bytes = sizeof(struct bus_task_head) +
			(task > BUS_SMALL_RESULT ? task : BUS_SMALL_RESULT) + 1;
	p->max_request = (size_t)p->bus->map->sizes.max_message_bytes;
	p->max_request -= p->max_request < sizeof(struct bus_task_head)
				  ? p->max_request
				  : sizeof(struct bus_task_head);
	if (p->max_request < task)
		p->max_request = task; /* those lie in the slot */
	p->look_every = 1;
	p->handlers = malloc(p->config.n_handlers * sizeof(*p->handlers));
	if (!p->handlers)
		return -ENOMEM;
	memcpy(p->handlers, p->config.handlers,
	       p->config.n_handlers * sizeof(*p->handlers));
	p->config.handlers = p->handlers;
	p->place = calloc(p->n_places, sizeof(*p->place));
	return p->place ? bus_lanes_up(p) : -ENOMEM;
}

static int configure(struct bus_pool *p, const struct bus_pool_config *config)
{
	struct bus_pool_config *c = &p->config;
	bool any_number;
	int ret = bus_config_copy(c, sizeof(*c), config);

	if (ret)
		return ret;
	any_number = !c->n_workers;
	ret = bus_pool_config_fill(c);
	if (ret)
		return ret;
	if (c->n_handlers > BUS_HANDLERS_MAX)
		return -EINVAL;
	/* There may be more processors than ids on the bus. */
	if (any_number && c->n_workers > p->n_places && p->n_places)
		c->n_workers = p->n_places;
	return c->n_workers > p->n_places ? -EUSERS : 0;
}

int bus_pool_start(struct bus *bus, const char *name,
		   const struct bus_pool_config *config, struct bus_pool **out)
{
	struct bus_pool *p;
	int ret;

	if (!bus || !name || !config || !out)
		return -EINVAL;
	ret = bus_check(bus);
	if (ret)
		return ret;
	p = aligned_alloc(SB_FAR, SB_ROUND_UP(sizeof(*p), SB_FAR));
	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	p->bus = bus;
	p->fork_gen = sb_fork_gen;
	p->n_places = count_places(bus);
	ret = configure(p, config);
	if (!ret)
		ret = memory_up(p);
	if (!ret)
		ret = coord_up(p, name);
	if (ret) {
		free_memory(p);
		return ret;
	}
	p->area = bus_coord_area(p->co);
	p->n_places = bus_coord_places(p->co);
	*out = p;
	return 0;
}

/* ----------------------------------------------------------- scale, stop -- */

int bus_pool_scale(struct bus_pool *p, uint32_t n_workers)
{
	int ret = bus_pool_check(p);

	if (!ret && (!n_workers || n_workers > BUS_CREW_MAX))
		ret = -EINVAL;
	if (!ret)
		ret = bus_pool_open(p);
	if (!ret && n_workers > p->n_places)
		ret = -EUSERS;
	if (ret)
		return ret;
	p->config.n_workers = n_workers;
	bus_lanes_scaled(p);
	ret = bus_coord_scale(p->co, n_workers);
	bus_pool_progress(p, false);
	return ret;
}

const char *bus_pool_error(const struct bus_pool *p)
{
	return bus_pool_check(p) ? "" : p->error;
}

int bus_pool_close(struct bus_pool *p)
{
	int ret = bus_pool_check(p);

	if (ret)
		return ret;
	p->closed = true;
	bus_pool_progress(p, false);
	return 0;
}

int bus_pool_terminate(struct bus_pool *p)
{
	int ret = bus_pool_check(p);

	if (ret)
		return ret;
	p->closed = true;
	if (is_up(p)) {
		p->terminated = true;
		bus_coord_kill_all(p->co);
		end_all(p, BUS_RESULT_CANCELED, -ECANCELED);
	}
	run_last_callbacks(p);
	return 0;
}

static bool all_over(void *arg)
{
	return !((struct bus_pool *)arg)->n_live;
}

int bus_pool_join(struct bus_pool *p, int64_t timeout_ns)
{
	uint64_t deadline = bus_pool_deadline(timeout_ns);
	int ret = bus_pool_check(p);

	if (ret)
		return ret;
	if (!p->closed && !p->broken)
		return -EBUSY;
	if (p->in_callback)
		return -EDEADLK;
	if (p->joined)
		return 0;
	ret = bus_pool_wait(p, all_over, p, deadline);
	if (!ret && is_up(p))
		ret = bus_coord_leave(p->co, deadline ? deadline : 1);
	if (ret == -ETIMEDOUT && !timeout_ns)
		ret = -EAGAIN;
	if (ret == -ECHILD)
		ret = 0; /* broken while they left: nothing is lost */
	if (ret)
		return ret;
	run_last_callbacks(p);
	p->joined = true;
	bus_coord_stop(p->co, 0);
	p->co = NULL;
	bus_parcels_free(p);
	return 0;
}

void bus_pool_free(struct bus_pool *p)
{
	if (!p)
		return;
	if (bus_pool_check(p)) {
		/* A forked child: this is only our copy of it.  Its watches are
		 * in the list of the parent's waiter until we are ourselves. */
		(void)bus_check(p->bus);
	} else {
		bus_pool_terminate(p); /* with callbacks: who waits for one
					* to free its own would leak */
	}
	if (p->co)
		bus_coord_stop(p->co, 0);
	free_memory(p);
}

/* ---------------------------------------------------------- for bus_wait -- */

bool bus_pool_news(struct bus_pool *p, bool sure)
{
	if (p->calls && !p->in_callback)
		return true;
	if (!is_up(p))
		return false;
	return bus_coord_replans(p->co) ||
	       bus_coord_ready(p->co, BUS_POLL_IN, sure) ||
	       bus_parcels_ready(p);
}

uint64_t bus_pool_plan(struct bus_pool *p, uint64_t deadline)
{
	if (!is_up(p))
		return deadline;
	return bus_coord_plan(p->co, wake_at(p, deadline));
}

struct sb_sleepers *bus_pool_sleepers(struct bus_pool *p)
{
	return is_up(p) ? bus_coord_sleepers(p->co) : NULL;
}
