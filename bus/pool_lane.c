/*
 * pool_lane.c - tasks: made, queued in lanes, handed on to the workers,
 * answered
 *
 * Three lanes, each first in first out.  A task that comes while all of them
 * are empty and the ring is not ahead enough goes into the ring at once, and is
 * not even copied first.
 *
 * How far ahead.  What is in the ring is beyond our reach: no priority holds
 * there any more, and a cancel needs a worker to see it.  So we go only so far
 * ahead that no worker waits for us, and that depends on how long tasks take:
 * half of what is in the ring shall be 200 to 500 us of work.  Each time that
 * half of it was answered we look at the clock, once, and double or halve.  At
 * the least it is two a worker: one in hand, one to go on with.
 *
 * What short tasks have taught is wrong for the long ones after them, and half
 * of a deep ring of those may take minutes.  So there is a look at the coarse
 * clock, too, after each few answers, and when a task is the first to go in
 * beyond that least; time that has passed without half of the ring is a reason
 * to go less far.
 *
 * No cell.  A request that is too large for its slot needs one, and others of
 * the bus may have all that are large enough; perhaps until some of our tasks
 * have run.  So in a lane whose first task waits for a cell those go on that
 * need none, and so do the other lanes.
 *
 * Runs.  What goes ahead of the workers need not go one by one: as long as they
 * have two each, tasks are kept back until they are a run, and handed on with
 * one claim.  A run is no longer than what the workers have, so the first ones
 * go at once and the runs grow; nor than a sixteenth of how far we go ahead, so
 * that no more is kept back than some tens of microseconds of work, and nothing
 * as long as nobody knows that tasks are short.  We count as the workers' what
 * they have answered and we have not looked at, so who submits seldom learns
 * from a worker that sleeps that it is time; one that never does is for who
 * wants the lowest latency, and there nothing is kept back.  Who keeps them
 * back is busy submitting, or using results: any other call hands on what there
 * is, first and last, and so does any other sleep on this bus, as it may be for
 * what a task sends us: so nobody sleeps on it.  For all else a task that is
 * kept back is in the ring: it has its place in flight[], and to stop it is to
 * say so in canceled[].
 *
 * Ageing.  A lane that has something gets its turn after 8 tasks from the lanes
 * above it, so the lowest of three that are all full gets one in 9 or so.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bus/pool.h"
#include "lib/copy.h"

#define AGE          8u
#define LAP_SHORT_NS (200 * SB_NS_PER_US)
#define LAP_LONG_NS  (500 * SB_NS_PER_US)
#define LOOK_EVERY   8u /* answers */
#define RUN_SHARE    16u
#define SLAB_TASKS   64u
#define TASK_ALIGN   64u

/* ---------------------------------------------------------------- memory -- */

static size_t task_bytes(const struct bus_pool *p)
{
	return SB_ROUND_UP(sizeof(struct bus_future) + p->room_bytes,
			   TASK_ALIGN);
}

int bus_tasks_more(struct bus_pool *p)
{
	size_t bytes = task_bytes(p);
	unsigned char *mem;

	if (!(p->n_slabs & (p->n_slabs - 1))) {
		uint32_t n = p->n_slabs ? p->n_slabs * 2 : 1;
		void **slab = realloc(p->slab, n * sizeof(*slab));

		if (!slab)
			return -ENOMEM;
		p->slab = slab;
	}
	mem = aligned_alloc(TASK_ALIGN, SLAB_TASKS * bytes);
	if (!mem)
		return -ENOMEM;
	p->slab[p->n_slabs++] = mem;
	for (uint32_t i = SLAB_TASKS; i-- > 0;) {
		struct bus_future *t = (void *)(mem + i * bytes);

		memset(t, 0, sizeof(*t));
		t->pool = p;
		t->next = p->free;
		p->free = t;
	}
	return 0;
}

static void free_request(struct bus_future *t)
{
	if (t->req != t->room)
		free(t->req);
	t->req = NULL;
}

void bus_task_free_more(struct bus_future *t)
{
	if (!t->has_more)
		return;
	free_request(t);
	free(t->got.data);
	free(t->data);
	t->has_more = false;
}

void bus_tasks_free(struct bus_pool *p)
{
	size_t bytes = task_bytes(p);

	for (uint32_t k = 0; k < p->n_slabs; k++) {
		for (uint32_t i = 0; i < SLAB_TASKS; i++) {
			struct bus_future *t =
				(void *)((unsigned char *)p->slab[k] +
					 i * bytes);

			bus_task_free_more(t);
		}
		free(p->slab[k]);
	}
	free(p->slab);
}

unsigned char *bus_task_request(struct bus_future *t, size_t len)
{
	size_t bytes = len + sizeof(struct bus_task_head);

	if (bytes < len)
		return NULL;
	bus_task_more(t);
	free_request(t);
	t->req = bytes <= t->pool->room_bytes ? t->room : malloc(bytes);
	t->req_len = len;
	return t->req ? t->req + sizeof(struct bus_task_head) : NULL;
}

/* ----------------------------------------------------------------- lanes -- */

/* Does its request fit a slot? */
static bool is_small(const struct bus_future *t)
{
	return t->req_len <= t->pool->config.task_bytes;
}

static void lane_append(struct bus_future *t)
{
	struct bus_lane *l = &t->pool->lane[t->lane];

	t->next = NULL;
	t->prev = l->last;
	if (l->last)
		l->last->next = t;
	else
		l->first = t;
	l->last = t;
	l->n_small += is_small(t);
	t->queued = true;
	t->pool->n_queued++;
}

void bus_lane_remove(struct bus_future *t)
{
	struct bus_lane *l = &t->pool->lane[t->lane];

	if (t->prev)
		t->prev->next = t->next;
	else
		l->first = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		l->last = t->prev;
	l->n_small -= is_small(t);
	t->queued = false;
	t->pool->n_queued--;
}

/* Has lane @i anything to hand on?  @no_cell: bits of the lanes in which only
 * what is small can be. */
static bool has_next(const struct bus_pool *p, uint32_t i, uint32_t no_cell)
{
	return no_cell >> i & 1 ? p->lane[i].n_small != 0
				: p->lane[i].first != NULL;
}

/* Whose turn is it?  BUS_LANES: nobody's. */
static uint32_t next_lane(const struct bus_pool *p, uint32_t no_cell)
{
	uint32_t i;

	for (i = BUS_LANES - 1; i > 0; i--)
		if (has_next(p, i, no_cell) && p->lane[i].passed >= AGE)
			return i;
	while (i < BUS_LANES && !has_next(p, i, no_cell))
		i++;
	return i;
}

/* The next task of lane @i, which has one. */
static struct bus_future *next_in(const struct bus_pool *p, uint32_t i,
				  uint32_t no_cell)
{
	struct bus_future *t = p->lane[i].first;

	while (no_cell >> i & 1 && !is_small(t))
		t = t->next;
	return t;
}

static void had_turn(struct bus_pool *p, uint32_t lane)
{
	p->lane[lane].passed = 0;
	for (uint32_t i = lane + 1; i < BUS_LANES; i++)
		if (p->lane[i].first)
			p->lane[i].passed++;
}

/* --------------------------------------------------------- how far ahead -- */

static uint32_t depth_min(const struct bus_pool *p)
{
	uint32_t n = 2 * p->config.n_workers;

	return n < BUS_POOL_DEPTH_MAX ? n : BUS_POOL_DEPTH_MAX;
}

void bus_lanes_depth(struct bus_pool *p, uint32_t depth)
{
	if (depth < depth_min(p))
		depth = depth_min(p);
	if (depth > BUS_POOL_DEPTH_MAX)
		depth = BUS_POOL_DEPTH_MAX;
	p->depth = depth;
	p->run_most = depth / RUN_SHARE < SB_BATCH_MAX ? depth / RUN_SHARE
						       : SB_BATCH_MAX;
	p->run_from =
		p->run_most < 2 || p->never_idle ? UINT32_MAX : depth_min(p);
}

/* Is it too long ago that half of the ring was answered? */
static bool lap_is_long(const struct bus_pool *p)
{
	return bus_coarse_ns() > p->lap_ns + LAP_LONG_NS;
}

static void begin_lap(struct bus_pool *p, uint64_t now)
{
	p->lap_ns = now;
	p->n_answered = p->n_looked = 0;
}

/* The ring was nearly empty, and will be deeper than that.  How deep it should
 * be was learned from tasks of long ago. */
static void forget_old_depth(struct bus_pool *p)
{
	if (p->depth > depth_min(p) && lap_is_long(p)) {
		bus_lanes_depth(p, depth_min(p));
		begin_lap(p, sb_now_ns());
	}
}

/* --------------------------------------------------------------- hand on -- */

SB_INLINE void write_head(const struct bus_future *t, void *to)
{
	struct bus_task_head h = {
		.id_flags =
			bus_task_id(t) << 8 | (t->chunk ? BUS_TASK_CHUNK : 0),
		.when = bus_task_when(t->handler,
				      t->limited ? t->deadline_ns : SB_FOREVER),
	};

	memcpy(to, &h, sizeof(h));
}

/* It is in the ring, or will be. */
SB_INLINE void take_off(struct bus_future *t)
{
	struct bus_pool *p = t->pool;

	p->flight[t->index] = t;
	p->n_free_index--;
	p->n_in_ring++;
	t->flying = true;
}

/* What was kept back does not go into the ring, and never will: each is an
 * error of its own, but that of @mine is its caller's. */
static void fail_run(struct bus_pool *p, int code,
		     const struct bus_future *mine)
{
	uint32_t n = p->n_run;

	p->n_run = 0;
	for (uint32_t k = 0; k < n; k++) {
		struct bus_future *t = bus_task_of(p->run_ids[k]);

		bus_lane_landed(p, t);
		if (t == mine)
			continue;
		if (!t->over)
			bus_task_end(t, BUS_RESULT_ERROR, code);
		bus_task_settle(t);
	}
}

/* Hand on what was kept back.  What there is no room for stays, until later. */
static int hand_on_run(struct bus_pool *p, const struct bus_future *mine)
{
	int ret;

	while (p->n_run) {
		ret = bus_submit_many(p->co, p->run_ids, p->run_reqs,
				      p->run_bytes, p->n_run, 0);
		if (ret == -EAGAIN || ret == -ECHILD)
			return 0;
		if (sb_unlikely(ret < 0)) {
			fail_run(p, ret, mine);
			return ret;
		}
		p->n_run -= (uint32_t)ret;
		if (sb_likely(!p->n_run))
			break;
		memmove(p->run_ids, p->run_ids + ret,
			p->n_run * sizeof(*p->run_ids));
		memmove(p->run_reqs, p->run_reqs + (size_t)ret * p->run_bytes,
			p->n_run * p->run_bytes);
	}
	return 0;
}

void bus_lanes_flush(struct bus_pool *p)
{
	if (p->n_run)
		(void)hand_on_run(p, NULL);
}

void bus_lanes_feed(struct bus_pool *p)
{
	if (bus_coord_idle(p->co))
		(void)hand_on_run(p, NULL);
}

static void note_keeping(struct bus_pool *p)
{
	if (sb_likely(p->keeping))
		return;
	p->keeping = true;
	p->next_keeping = p->bus->keeping;
	p->bus->keeping = p;
}

/* One that there is no room for stays in the list, for the next sleep. */
void bus_pools_hand_on(struct bus *bus)
{
	struct bus_pool **at = &bus->keeping, *p;

	while ((p = *at)) {
		if (!p->broken && !p->terminated) /* else they are ended */
			bus_lanes_flush(p);
		if (p->n_run) {
			at = &p->next_keeping;
			continue;
		}
		*at = p->next_keeping;
		p->keeping = false;
	}
}

void bus_lanes_down(struct bus_pool *p)
{
	struct bus_pool **at = &p->bus->keeping;

	while (*at && *at != p)
		at = &(*at)->next_keeping;
	if (*at)
		*at = p->next_keeping;
}

/* Have the workers enough to do without it, or without those before it? */
static bool keeps_back(const struct bus_pool *p)
{
	return p->n_in_ring - p->n_run >= p->run_from;
}

/* Add it to the run.  All of a run have the same size. */
static int keep_back(struct bus_future *t, const void *buf, size_t len)
{
	struct bus_pool *p = t->pool;
	size_t bytes = len + sizeof(struct bus_task_head);
	unsigned char *req;

	if (sb_unlikely(p->n_run && p->run_bytes != bytes))
		bus_lanes_flush(p);
	if (sb_unlikely(p->n_run == SB_BATCH_MAX ||
			(p->n_run && p->run_bytes != bytes)))
		return -EAGAIN;
	bus_coord_ahead(p->co, p->n_run);
	req = p->run_reqs + p->n_run * bytes;
	t->index = p->free_index[p->n_free_index - 1];
	write_head(t, req);
	sb_copy_few(req + sizeof(struct bus_task_head), buf, len);
	p->run_bytes = bytes;
	p->run_ids[p->n_run++] = (uintptr_t)t;
	note_keeping(p);
	take_off(t);
	return p->n_run < p->run_most && p->n_run * 2 < p->n_in_ring &&
			       !bus_coord_idle(p->co)
		       ? 0
		       : hand_on_run(p, t);
}

/* Room for a request of @len with its head. */
static unsigned char *scratch(struct bus_pool *p, size_t len)
{
	unsigned char *s;

	if (sb_likely(len <= p->scratch_bytes))
		return p->scratch;
	s = realloc(p->scratch, len);
	if (!s)
		return NULL;
	p->scratch = s;
	p->scratch_bytes = len;
	return s;
}

/* Put it into the ring. */
static int hand_on_one(struct bus_future *t, const void *buf, size_t len)
{
	struct bus_pool *p = t->pool;
	size_t bytes = len + sizeof(struct bus_task_head);
	unsigned char *req = t->has_more ? t->req : NULL;
	int ret;

	if (sb_likely(!req)) {
		req = scratch(p, bytes);
		if (!req)
			return -ENOMEM;
		sb_copy_few(req + sizeof(struct bus_task_head), buf, len);
	}
	t->index = p->free_index[p->n_free_index - 1];
	write_head(t, req);
	ret = bus_submit(p->co, (uintptr_t)t, req, bytes, 0);
	if (sb_unlikely(ret))
		return ret == -ECHILD ? -EAGAIN : ret;
	take_off(t);
	return 0;
}

/* It goes to the workers, with the request in @buf or in t->req.  -EAGAIN: not
 * now. */
static int hand_on(struct bus_future *t, const void *buf, size_t len)
{
	struct bus_pool *p = t->pool;
	int ret;

	if (sb_unlikely(!p->n_free_index))
		return -EAGAIN;
	if ((p->n_run || keeps_back(p)) &&
	    sb_likely(len <= p->config.task_bytes)) {
		if (sb_unlikely(t->has_more && t->req))
			buf = t->req + sizeof(struct bus_task_head);
		ret = keep_back(t, buf, len);
	} else {
		bus_lanes_flush(p);
		ret = hand_on_one(t, buf, len);
	}
	if (sb_unlikely(!ret && t->has_more && !t->keep))
		free_request(t);
	return ret;
}

/* Nobody can be asked any more whether that would be possible later. */
static void fail(struct bus_future *t, int code)
{
	bus_task_end(t, BUS_RESULT_ERROR, code);
	bus_task_settle(t);
}

/* Hand on the next one, or note in *@no_cell that its lane has none to begin
 * with.  False: none can be. */
static bool hand_on_next(struct bus_pool *p, uint32_t *no_cell)
{
	uint32_t lane = next_lane(p, *no_cell);
	struct bus_future *t;
	int ret;

	if (lane == BUS_LANES)
		return false;
	t = next_in(p, lane, *no_cell);
	ret = hand_on(t, NULL, t->req_len);
	if (ret == -EAGAIN) {
		*no_cell |= 1u << lane;
		return !is_small(t);
	}
	bus_lane_remove(t);
	had_turn(p, lane);
	if (ret)
		fail(t, ret);
	return true;
}

void bus_lanes_refill(struct bus_pool *p)
{
	uint32_t no_cell = 0;

	if (!p->n_queued || p->n_in_ring >= p->depth)
		return;
	while (p->n_queued && p->n_in_ring < p->depth &&
	       hand_on_next(p, &no_cell))
		;
	/* Cells may be in the hands of others, who do not ring us; what is in
	 * the ring may take for ever to be answered. */
	p->starved = no_cell != 0;
}

/* Put it into its lane, with a copy of the request. */
static int queue(struct bus_future *t, const void *buf, size_t len)
{
	unsigned char *to;

	if (!t->has_more || !t->req) {
		to = bus_task_request(t, len);
		if (!to)
			return -ENOMEM;
		if (len)
			memcpy(to, buf, len);
	}
	lane_append(t);
	return 0;
}

int bus_task_post(struct bus_future *t, const void *buf, size_t len)
{
	struct bus_pool *p = t->pool;
	int ret = -EAGAIN;

	if (sb_unlikely(len > p->max_request))
		return -EMSGSIZE;
	t->number = p->next_number;
	if (sb_unlikely(t->limited)) {
		t->stage = BUS_STAGE_LIMIT;
		t->due_ns = t->deadline_ns;
		if (bus_due_add(t))
			return -ENOMEM;
	}
	if (sb_unlikely(p->n_in_ring == depth_min(p)))
		forget_old_depth(p);
	if (sb_likely(bus_lane_direct(p)))
		ret = hand_on(t, buf, len);
	if (ret == -EAGAIN)
		ret = queue(t, buf, len);
	if (sb_unlikely(ret)) {
		if (t->heap_at)
			bus_due_remove(t);
		return ret;
	}
	p->next_number++;
	p->n_live++;
	bus_count(&p->area->counts.n_submitted, t->n_items);
	return 0;
}

/* --------------------------------------------------------------- answers -- */

/* Workers had nothing while lanes had: then it was we who took so long, on a
 * machine that is busy with others, and not their tasks. */
static bool ran_dry(const struct bus_pool *p)
{
	return !p->n_in_ring && p->n_queued;
}

void bus_lanes_scaled(struct bus_pool *p)
{
	/* Not only after the next answer: that may take for ever. */
	bus_lanes_depth(p, p->depth);
}

/* Some are answered, but not half of the ring: is the lap long already? */
static bool is_slow(struct bus_pool *p)
{
	if (sb_likely(p->n_answered - p->n_looked < LOOK_EVERY))
		return false;
	p->n_looked = p->n_answered;
	return lap_is_long(p);
}

/* Is half of the ring answered?  Then see how long that took. */
void bus_lanes_adapt(struct bus_pool *p)
{
	uint64_t now, lap;

	if (sb_likely(p->n_answered * 2 < p->depth) && !is_slow(p))
		return;
	now = sb_now_ns();
	lap = now - p->lap_ns;
	if (lap < LAP_SHORT_NS || ran_dry(p))
		bus_lanes_depth(p, p->depth * 2);
	else if (lap > LAP_LONG_NS)
		bus_lanes_depth(p, p->depth / 2);
	begin_lap(p, now);
}

int bus_lanes_up(struct bus_pool *p)
{
	uint32_t n = BUS_POOL_RING;

	p->flight = calloc(n, sizeof(*p->flight));
	p->free_index = calloc(n, sizeof(*p->free_index));
	p->run_reqs = malloc(SB_BATCH_MAX * (sizeof(struct bus_task_head) +
					     p->config.task_bytes));
	if (!p->flight || !p->free_index || !p->run_reqs ||
	    !scratch(p, sizeof(struct bus_task_head) + p->config.task_bytes))
		return -ENOMEM;
	for (uint32_t i = n; i-- > 0;)
		p->free_index[p->n_free_index++] = (uint16_t)i;
	p->never_idle =
		(p->config.spin ? p->config.spin : p->bus->config.spin) ==
		BUS_SPIN_ALWAYS;
	bus_lanes_depth(p, 0);
	p->next_number = 1;
	return 0;
}
