/*
 * pool.h - a pool, as its parts know it; private to the process that started it
 *
 *	pool.c        start, scale, close, join, terminate, free; progress
 *	pool_lane.c   lanes; how far ahead of the workers tasks are handed on
 *	pool_limit.c  tasks that are late or canceled: told, signaled, killed
 *	pool_pipe.c   results that are too large for a slot, as they come in
 *	pool_task.c   in the worker: run a task, send its result; pool_task.h
 *	future.c      futures
 *	pool_map.c    map; pool_imap.c imap; pool_chunk.h several tasks in one
 *
 * Life of a task: a struct bus_future, whoever wants its result.  It waits in a
 * lane, or goes into the ring of the coordinator at once; is run by a worker;
 * its answer comes back; it is over.  It may be over for its owner before that
 * (late, canceled), and then stays in the window until the worker has let go.
 *
 *	       post              hand on              answer
 *	 new --------> in a lane --------> in the ring -------> over, settled
 *	                   |                   |                  ^
 *	                   |  late, canceled   |  late, canceled  | answer
 *	                   +--> over, settled  +--> over ---------+
 *
 * All of this is private memory.  What workers must know is in the request
 * (struct bus_task_head) and in the area of the crew (crew.h).
 */
#ifndef BUS_POOL_H
#define BUS_POOL_H

#include "bus/crew.h"
#include "bus/pipe.h"
#include "bus/reply.h"

/* ----------------------------------------------------- what goes through -- */

/* id of a task, as crew.h has it: number:40 | index:16. */
#define BUS_TASK_INDEX_BITS 16

/* In front of each request. */
struct bus_task_head {
	uint64_t id_flags; /* id << 8 | BUS_TASK_* */
	uint64_t when;     /* handler:16 | deadline:48, see below; 0 none */
};

static_assert(sizeof(struct bus_task_head) == 16, "task head");

#define BUS_TASK_CHUNK 1u /* a struct bus_chunk, and its items */

/* A deadline takes 48 bits, in units of about a microsecond, rounded up: so it
 * is never too early, and lasts for nine years. */
#define BUS_TASK_UNIT_SHIFT 10
#define BUS_TASK_UNITS      ((UINT64_C(1) << 48) - 1)
#define BUS_HANDLERS_MAX    (1u << 16)

SB_INLINE uint64_t bus_task_when(uint32_t handler, uint64_t deadline_ns)
{
	uint64_t units = 0;

	if (deadline_ns != SB_FOREVER)
		units = (deadline_ns >> BUS_TASK_UNIT_SHIFT) + 1;
	if (units > BUS_TASK_UNITS)
		units = 0;
	return (uint64_t)handler << 48 | units;
}

/* In front of each result that lies in a slot. */
struct bus_answer {
	uint32_t kind;
	uint32_t place; /* PIPE: whose */
};

static_assert(sizeof(struct bus_answer) == 8, "answer");

enum {
	BUS_ANSWER_HERE, /* the result follows */
	BUS_ANSWER_PIPE, /* it was sent through the worker's pipe */
	BUS_ANSWER_SHED, /* canceled: it was not run, or not to the end */
	BUS_ANSWER_LATE  /* its deadline had passed: it was not run */
};

/* Results up to this lie in the slot.  A request of 24 bytes with its head, and
 * this with its own, fill a stride of 128, and a result of 8 is in the same
 * line of the cache as the request. */
#define BUS_SMALL_RESULT 72u

/* In front of what goes through a worker's pipe. */
struct bus_parcel {
	uint64_t id;
	uint32_t attempts; /* that died on it before this one */
	uint32_t reserved;
};

static_assert(sizeof(struct bus_parcel) == 16, "parcel");

/* ----------------------------------------------------------------- tasks -- */

/* Slots of the ring, and how many of them are used at most; answers that were
 * not taken yet take some more. */
#define BUS_POOL_RING      2048u
#define BUS_POOL_DEPTH_MAX 1024u

enum { BUS_LANE_HIGH, BUS_LANE_NORMAL, BUS_LANE_LOW, BUS_LANES };

/* A result that came through a pipe. */
struct bus_got {
	unsigned char *data;
	size_t len;
	uint32_t attempts;
	bool lost; /* there was no memory for it; data is NULL */
};

struct bus_imap;
struct bus_map_run;

/* Who wants the result of a task. */
enum bus_owner { BUS_FOR_NOBODY, BUS_FOR_USER, BUS_FOR_MAP, BUS_FOR_IMAP };

/* What became of a task: struct bus_result without its number. */
struct bus_task_result {
	uint32_t kind;
	int32_t code;
	uint32_t attempts;
	int32_t pid, signal, exit_status;
	const void *data;
	size_t len;
};

/*
 * A line of the cache for what every task needs, one for a small result, and
 * what few need: a thousand of them pass through the caches between the submit
 * of one and its end, so each line counts.
 */
struct bus_future {
	alignas(SB_CACHELINE) struct bus_pool *pool;
	struct bus_future *next; /* of its lane; of the free ones */
	uint64_t number;

	union {
		struct {
			int (*done)(void *ctx, struct bus_future *future,
				    const struct bus_result *result);
			void *ctx;
		} user;

		struct {
			struct bus_map_run *run;
			size_t first; /* item */
		} map;

		struct {
			struct bus_imap *imap;
			uint64_t first;
		} imap;
	} for_;

	uint32_t n_items;
	uint32_t heap_at; /* in pool->due, from 1; 0: not there */
	uint16_t handler;
	uint16_t index; /* in the ring */
	uint8_t lane : 2;
	uint8_t owner : 2; /* enum bus_owner */
	uint8_t stage : 2; /* what to do when it is due: pool_limit.c */
	/* What keeps it from being free; bits, so that one load of what one
	 * store has written tells. */
	uint8_t : 0;
	bool queued : 1;  /* in a lane */
	bool flying : 1;  /* in the ring or kept back, or in a worker's hands */
	bool kept : 1;    /* the owner has it */
	bool calling : 1; /* its callback is to be called, or is called now */
	uint8_t : 0;
	bool over;         /* r is what became of it */
	bool chunk : 1;    /* the request is one */
	bool keep : 1;     /* req is needed until it is over */
	bool limited : 1;  /* it has a deadline */
	bool has_more : 1; /* req, got and data are in use: bus_task_more() */
	struct bus_future *after; /* of an imap: in its order */

	struct bus_task_result r;
	unsigned char small[24]; /* its bytes, with a NUL */

	/* The request with its head, while it is needed; in room or on the
	 * heap.  A result that came through a pipe.  A result on the heap. */
	unsigned char *req;
	size_t req_len;
	struct bus_got got;
	unsigned char *data;
	uint64_t due_ns, deadline_ns;
	struct bus_future *prev;      /* of its lane */
	struct bus_future *next_call; /* of pool->calls */
	/* a chunk of an imap: the next item, and where in the result it is */
	size_t item_at;
	uint32_t item;

	unsigned char room[]; /* pool->room_bytes */
};

static_assert(offsetof(struct bus_future, r) == SB_CACHELINE, "first line");
static_assert(offsetof(struct bus_future, req) == 2 * SB_CACHELINE,
	      "second line");

SB_INLINE void bus_task_more(struct bus_future *t)
{
	if (t->has_more)
		return;
	t->has_more = true;
	t->req = t->got.data = t->data = NULL;
	t->got.lost = false;
}

SB_INLINE struct bus_result bus_task_result(const struct bus_future *t)
{
	return (struct bus_result){
		.id = t->number,
		.kind = t->r.kind,
		.code = t->r.code,
		.attempts = t->r.attempts,
		.pid = t->r.pid,
		.signal = t->r.signal,
		.exit_status = t->r.exit_status,
		.data = t->r.data,
		.len_bytes = t->r.len,
	};
}

/* What the workers call it, while it is in the ring. */
SB_INLINE uint64_t bus_task_id(const struct bus_future *t)
{
	return t->number << BUS_TASK_INDEX_BITS | t->index;
}

/* What the coordinator calls it. */
SB_INLINE struct bus_future *bus_task_of(uint64_t id)
{
	return (struct bus_future *)(uintptr_t)id;
}

/* A deadline, or SB_FOREVER for none. */
SB_INLINE void bus_task_limit(struct bus_future *t, uint64_t deadline_ns)
{
	t->deadline_ns = deadline_ns;
	t->limited = deadline_ns != SB_FOREVER;
}

/* A worker's place, as the parent knows it. */
struct bus_pool_place {
	struct bus_pipe *rx; /* its results come here */
	struct bus_pipe *tx; /* the worker's end, until it is handed over */
	bool gone;           /* the worker is: nothing new will come */
	bool ended;          /* nothing more is to be had from rx */
	/* what is coming in */
	bool receiving;
	struct bus_parcel parcel;
	size_t done, total;  /* of the bytes without the parcel's head */
	unsigned char *data; /* NULL: they are skipped */
};

struct bus_lane {
	struct bus_future *first, *last;
	uint32_t n_small; /* that need no cell */
	uint32_t passed;  /* tasks from lanes above, since it had a turn */
};

struct bus_pool {
	/* the hottest */
	struct bus_coord *co;
	struct bus *bus;
	uint32_t fork_gen;
	uint32_t n_in_ring, depth;
	uint32_t n_queued; /* in lanes */
	uint32_t n_live;   /* in the window */
	struct bus_future *free;
	struct bus_future **flight; /* by index */
	uint16_t *free_index;
	uint32_t n_free_index;
	uint64_t next_number;
	/* a run that is kept back, and counted in n_in_ring: pool_lane.c */
	uint32_t n_run;
	bool keeping;    /* in the list bus->keeping; n_run may be 0 again */
	bool never_idle; /* workers spin, for ever */
	struct bus_pool *next_keeping;
	uint32_t run_most, run_from; /* how many; if so many are in the ring */
	size_t run_bytes;
	unsigned char *run_reqs;
	uint64_t run_ids[SB_BATCH_MAX];
	struct bus_crew_area *area;
	uint32_t n_places;
	struct bus_lane lane[BUS_LANES];

	/* how far ahead: pool_lane.c */
	uint32_t n_answered; /* since lap_ns */
	uint32_t n_looked;   /* of those, at the last look at the clock */
	uint64_t lap_ns;
	uint32_t n_blind, look_every; /* submits without a look */
	bool starved;                 /* no cell was free for a request */

	struct bus_pool_config config;
	bus_handler *handlers; /* our copy: workers are forked later, too */
	size_t room_bytes;
	size_t max_request;
	unsigned char *scratch; /* a request with its head */
	size_t scratch_bytes;

	/* tasks with a time at which something is to be done: a heap */
	struct bus_future **due;
	uint32_t n_due, due_room;

	struct bus_future *calls, *last_call; /* callbacks to be called */
	bool in_callback;
	bool any_gone; /* some place is gone, and was not looked at */

	struct bus_pool_place *place;
	struct bus_reply inner;

	struct bus_future *applied; /* what the last apply lent */
	struct bus_imap *imaps;
	void **slab; /* memory of tasks */
	uint32_t n_slabs;

	bool closed, joined, terminated, broken;
	char error[BUS_INIT_ERROR];
};

/* 0, or why a call cannot be: -EINVAL in a forked child.  First thing in every
 * call. */
SB_INLINE int bus_pool_check(const struct bus_pool *p)
{
	return p && p->fork_gen == sb_fork_gen ? 0 : -EINVAL;
}

/* ---------------------------------------------------------------- pool.c -- */

/*
 * bus_pool_progress - all that can be done now without waiting
 * @sure: do not trust cheap looks: something was there
 *
 * Results are taken, tasks handed on, deadlines kept, callbacks called. Returns
 * how many results there were.  Declared in bus.h.
 */

/* Without callbacks, and without a look at the pipes and the clock: for who
 * submits. */
uint32_t bus_pool_collect(struct bus_pool *p, bool sure);

/*
 * bus_pool_wait - make progress until @over says so
 *
 * Returns 0, -EAGAIN (deadline 0), -ETIMEDOUT, -EINTR, -EDEADLK.
 */
int bus_pool_wait(struct bus_pool *p, bool (*over)(void *arg), void *arg,
		  uint64_t deadline);

SB_INLINE uint64_t bus_pool_deadline(int64_t timeout_ns)
{
	return timeout_ns ? sb_deadline(timeout_ns) : 0;
}

/* May a task be submitted?  0, -EPIPE, -ECHILD. */
int bus_pool_open(struct bus_pool *p);

/* @n tasks, or items of a chunk, ended as @kind. */
void bus_pool_count(struct bus_pool *p, uint32_t kind, uint64_t n);

/* Wait until the window has room.  As bus_pool_wait(), and bus_pool_open(). */
int bus_pool_room(struct bus_pool *p, uint64_t deadline);

/* ----------------------------------------------------------------- tasks -- */

/* More of them on p->free.  0 or -ENOMEM. */
int bus_tasks_more(struct bus_pool *p);

/* One of them, with nothing in it; NULL: no memory. */
SB_INLINE struct bus_future *bus_task_new(struct bus_pool *p)
{
	struct bus_future *t;

	if (sb_unlikely(!p->free) && bus_tasks_more(p))
		return NULL;
	t = p->free;
	p->free = t->next;
	t->queued = t->flying = t->kept = t->calling = false;
	t->over = t->chunk = t->keep = t->limited = t->has_more = false;
	t->owner = BUS_FOR_NOBODY;
	t->lane = BUS_LANE_NORMAL;
	t->n_items = 1;
	t->heap_at = 0;
	return t;
}

/* Free them all. */
void bus_tasks_free(struct bus_pool *p);

/* What it has on the heap. */
void bus_task_free_more(struct bus_future *t);
void bus_due_remove(struct bus_future *t);

/* What is it good for?  If for nothing any more, it goes back. */
SB_INLINE void bus_task_put(struct bus_future *t)
{
	struct bus_pool *p = t->pool;

	if (t->queued || t->flying || t->kept || t->calling)
		return;
	if (sb_unlikely(t->heap_at))
		bus_due_remove(t);
	if (sb_unlikely(t->has_more))
		bus_task_free_more(t);
	t->next = p->free;
	p->free = t;
}

/*
 * bus_task_over - this has become of it
 * @r: bytes are copied, unless they are those of t->got
 */
void bus_task_over(struct bus_future *t, const struct bus_result *r);

/* Keep what became of it, for an owner who looks at it later. */
void bus_task_store(struct bus_future *t, const struct bus_result *r);

/* The same without bytes. */
void bus_task_end(struct bus_future *t, uint32_t kind, int32_t code);

/* The worker has let go of it, or nobody had it: it leaves the window. */
SB_INLINE void bus_task_settle(struct bus_future *t)
{
	t->pool->n_live--;
	bus_task_put(t);
}

/* Where the request of @t, of @len bytes, may be written: its head comes
 * before that.  Then bus_task_post() with NULL.  NULL: no memory. */
unsigned char *bus_task_request(struct bus_future *t, size_t len);

/*
 * bus_task_post - it shall run: hand it on, or put it into its lane
 * @buf: the request; NULL: it is in t->req
 *
 * handler, lane, deadline_ns, owner and what belongs to that are set.  0 or
 * -ENOMEM, -EMSGSIZE, -EPROTO: then it is as it was before.
 */
int bus_task_post(struct bus_future *t, const void *buf, size_t len);

/* ----------------------------------------------------------- pool_lane.c -- */

/* Would a task be handed on at once? */
SB_INLINE bool bus_lane_direct(const struct bus_pool *p)
{
	return !p->n_queued && p->n_in_ring < p->depth;
}

/* The lane of an enum bus_priority, or -EINVAL.  In future.c. */
int bus_lane_of(uint32_t priority);

int bus_lanes_up(struct bus_pool *p);
void bus_lane_remove(struct bus_future *t);
void bus_lanes_refill(struct bus_pool *p);

/* Go so far ahead, or as near to it as may be. */
void bus_lanes_depth(struct bus_pool *p, uint32_t depth);

/* The number of workers has changed. */
void bus_lanes_scaled(struct bus_pool *p);

/* Look at the clock if it is time to, and go more or less far ahead. */
void bus_lanes_adapt(struct bus_pool *p);

/* Hand on what was kept back; or only if a worker has nothing to do. */
void bus_lanes_flush(struct bus_pool *p);
void bus_lanes_feed(struct bus_pool *p);

/* Never again: the pool goes. */
void bus_lanes_down(struct bus_pool *p);

/* It is not in the ring any more. */
SB_INLINE void bus_lane_landed(struct bus_pool *p, struct bus_future *t)
{
	p->flight[t->index] = NULL;
	p->free_index[p->n_free_index++] = t->index;
	p->n_in_ring--;
	t->flying = false;
}

/* An answer has come. */
SB_INLINE void bus_lane_answered(struct bus_pool *p, struct bus_future *t)
{
	bus_lane_landed(p, t);
	p->n_answered++;
}

/* ---------------------------------------------------------- pool_limit.c -- */

enum { BUS_STAGE_LIMIT, BUS_STAGE_TELL, BUS_STAGE_SOFT, BUS_STAGE_KILL };

/* What is to be done at t->due_ns is t->stage.  0 or -ENOMEM.  And
 * bus_due_remove(). */
int bus_due_add(struct bus_future *t);

/* Do all that is due. */
void bus_due_run(struct bus_pool *p);

SB_INLINE uint64_t bus_due_next(const struct bus_pool *p)
{
	return p->n_due ? p->due[1]->due_ns : SB_FOREVER;
}

/* It is over for its owner as @kind, and whoever runs it is told. */
void bus_task_stop(struct bus_future *t, uint32_t kind, int32_t code);

/* Cancel all of which @which says so. */
void bus_tasks_stop(struct bus_pool *p,
		    bool (*which)(const struct bus_future *t, const void *arg),
		    const void *arg);

/* ----------------------------------------------------------- pool_pipe.c -- */

int bus_parcel_start(struct bus_pool *p, uint32_t place);
void bus_parcel_started(struct bus_pool *p, uint32_t place, pid_t pid);
void bus_parcel_gone(struct bus_pool *p);

/* Take in what the workers are sending. */
void bus_parcels_drain(struct bus_pool *p);
bool bus_parcels_ready(struct bus_pool *p);

/* The parcel that an answer from @place for @t speaks of: 0, it is in t->got;
 * -ENOMEM, it was dropped; -EPROTO, there was none. */
int bus_parcel_for(struct bus_future *t, uint32_t place, uint32_t attempts);
void bus_parcels_free(struct bus_pool *p);

/* ----------------------------------------------- pool_map.c, pool_imap.c -- */

void bus_map_over(struct bus_future *t, const struct bus_result *r);
void bus_imap_over(struct bus_future *t, const struct bus_result *r);
void bus_imaps_free(struct bus_pool *p);

#endif
