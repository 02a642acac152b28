/*
 * bus.h - what the parts of the bus know of each other, private to a process
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include "bus/layout.h"
#include "bus/shmbus.h"
#include "lib/proc.h"

struct bus_queue;
struct bus_pipe;
struct bus_coord;
struct bus_pool;
struct bus_future;

/* The mapping, shared by the endpoints of a process. */
struct bus_map {
	struct sb_seg seg;
	_Atomic int n_refs;
	struct bus_sizes sizes; /* copies, checked */
	struct bus_offsets off;
	struct bus_header *header;
	struct bus_ep *ep;
	struct bus_dirent *dir;
};

/* One endpoint. */
struct bus {
	struct bus_map *map;
	struct bus_ep *ep; /* ours in the table */
	struct sb_bells bells;
	uint32_t id;
	uint32_t fork_gen; /* of the process that owns this endpoint */
	struct bus_config config;
	struct sb_waiter waiter;
	uint64_t n_idle; /* parks and yields of it that were published */
	struct sb_blob blob;
	/* geometry of the channels, for recovery; made when first needed */
	struct sb_ring_end ends[BUS_CHANNELS_MAX];
	struct bus_queue *queues;
	struct bus_pipe *pipes;
	struct bus_coord *coords;
	struct bus_pool *keeping; /* pools that may have kept tasks back */
};

/* Become an endpoint of our own in a forked child. */
int bus_after_fork(struct bus *bus);

/* First thing in every public call that acts: 0 or -errno. */
SB_INLINE int bus_check(struct bus *bus)
{
	if (sb_likely(bus->fork_gen == sb_fork_gen))
		return 0;
	return bus_after_fork(bus);
}

/* Add to a counter of ours: one writer, so no locked instruction. */
SB_INLINE void bus_count(_Atomic uint64_t *counter, uint64_t n)
{
	st_rlx(counter, ld_rlx(counter) + n);
}

/* The counts of parks live in the waiter; publish them. */
void bus_publish_counts(struct bus *bus);

/* All sleep is here: sb_waiter_wait, and before it what was kept back while we
 * were busy is handed on, for who sleeps may sleep on what comes of it. */
int bus_sleep(struct bus *bus, const struct sb_wait *wait,
	      uint64_t deadline_ns);

/* The same, of bus->keeping. */
void bus_pools_hand_on(struct bus *bus);

/*
 * bus_wait_for - bus_sleep with the time-out of a public call
 *
 * Tries once more; 0 stays -EAGAIN.  -EBUSY becomes -EAGAIN.
 */
int bus_wait_for(struct bus *bus, const struct sb_wait *wait,
		 int64_t timeout_ns);

/* A worker, a queue of the child: the parts that hold private state drop what
 * was the parent's. */
void bus_queue_after_fork(struct bus_queue *queue);
void bus_pipe_after_fork(struct bus_pipe *pipe);
void bus_coord_after_fork(struct bus_coord *coord);

/*
 * What bus_wait() asks of a channel: whose it is (NULL: nobody's who may wait),
 * what BUS_POLL_* is true of it now, without a change to it, and in which
 * bitmap to sleep for an event.  Not @sure: only what is cheap to see.
 */
struct bus *bus_queue_endpoint(const struct bus_queue *queue);
uint32_t bus_queue_ready(struct bus_queue *queue, uint32_t events, bool sure);
struct sb_sleepers *bus_queue_sleepers(struct bus_queue *queue,
				       uint32_t event);
struct bus *bus_pipe_endpoint(const struct bus_pipe *pipe);
uint32_t bus_pipe_ready(struct bus_pipe *pipe, uint32_t events, bool sure);
struct sb_sleepers *bus_pipe_sleepers(struct bus_pipe *pipe, uint32_t event);
struct bus *bus_coord_endpoint(const struct bus_coord *coord);
uint32_t bus_coord_ready(struct bus_coord *coord, uint32_t events, bool sure);
struct sb_sleepers *bus_coord_sleepers(struct bus_coord *coord);

/* Fork the workers that are due; until when a wait may go on without that, and
 * whether that has changed since.  Or, for who does not wait, look at them. */
uint64_t bus_coord_plan(struct bus_coord *coord, uint64_t deadline);
bool bus_coord_replans(const struct bus_coord *coord);
void bus_coord_poll(struct bus_coord *coord);

/*
 * The same of a future: is it complete?  Nothing happens to it but in progress
 * of its pool, which calls callbacks and so must not be made within a wait.
 * News: there is something that progress would take up, or the plan is old.
 */
struct bus *bus_future_endpoint(const struct bus_future *future);
struct bus_pool *bus_future_pool(const struct bus_future *future);
bool bus_future_ready(const struct bus_future *future);
uint32_t bus_pool_progress(struct bus_pool *pool, bool sure);
bool bus_pool_news(struct bus_pool *pool, bool sure);
uint64_t bus_pool_plan(struct bus_pool *pool, uint64_t deadline);
struct sb_sleepers *bus_pool_sleepers(struct bus_pool *pool);

/* Unmap in a child what only the parent may use; see bus.c. */
void bus_map_put(struct bus_map *map);

#endif
