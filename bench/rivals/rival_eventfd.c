/*
 * rival_eventfd.c - a ring in shared memory beside eventfd(2), for sleeping
 *
 * What many programs have that need no library: who finds the ring empty or
 * full spins for some microseconds, says in a flag that it sleeps, looks once
 * more, and reads an eventfd; the other side, when it has moved on, looks at
 * the flag and writes to the eventfd only when it is set.  The one must not
 * look before its own word is seen, so there is a full fence for each message
 * that is written.  A reader has to wake a writer only when there is room for
 * many, so it looks at four places of the ring.
 *
 * eventfd is the ring of spsc with 1024 slots, eventfd-mpmc that of vyukov with
 * counters in place of flags.  Neither notices a death: who sleeps then sleeps
 * for ever.
 */
#include "config.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/rivals/common.h"
#include "bench/transport.h"

#define N_SLOTS    1024        /* as spsc */
#define POOL_BYTES (16u << 20) /* likewise */
#define SPINS      500         /* of a pause each, then it sleeps */
#define TURNS      4           /* a reader looks so often a round */

/* Who sleeps, and what wakes them. */
struct bell {
	alignas(128) _Atomic uint32_t n_sleeping;
};

struct ring {
	alignas(128) _Atomic uint64_t tail; /* the writer's: next to write */
	alignas(128) _Atomic uint64_t head; /* the reader's: next to read */
	struct bell data, room;             /* the reader's; the writer's */
	alignas(128) unsigned char slots[];
};

enum { DATA, ROOM };

/* Of one process, which is the writer or the reader; or eventfd-mpmc. */
struct lane {
	struct ring *ring;
	size_t map_bytes;
	size_t stride;
	uint64_t n_slots; /* a power of two; indices go on beyond it */
	uint64_t own;     /* our index */
	uint64_t other;   /* theirs, when we last looked */
	int fd[2];

	struct lane *inner; /* eventfd-mpmc: of vyukov */
};

/* A bell ------------------------------------------------------------------- */

/* What it waits for has happened, perhaps. */
static int sleep_on(int fd)
{
	uint64_t count;
	ssize_t ret;

	do
		ret = read(fd, &count, sizeof(count));
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* One that had said it would sleep shall not, or not any more; false when
 * nobody does. */
static bool take_sleeper(struct bell *bell)
{
	uint32_t n =
		atomic_load_explicit(&bell->n_sleeping, memory_order_relaxed);

	while (n > 0)
		if (atomic_compare_exchange_weak(&bell->n_sleeping, &n, n - 1))
			return true;
	return false;
}

static __attribute__((noinline)) void wake_one(struct bell *bell, int fd)
{
	uint64_t one = 1;

	if (take_sleeper(bell) && write(fd, &one, sizeof(one)) < 0)
		abort(); /* only if 2^64 are asleep */
}

/* After what it tells was written. */
static inline void ring_bell(struct bell *bell, int fd)
{
	/* Before the look at the sleepers; they say that they sleep and then
	 * look at what was written. */
	atomic_thread_fence(memory_order_seq_cst);
	if (__builtin_expect(atomic_load_explicit(&bell->n_sleeping,
						  memory_order_relaxed) > 0,
			     0))
		wake_one(bell, fd);
}

/* One writer, one reader --------------------------------------------------- */

static int open_bells(struct lane *lane, struct outcome *out)
{
	lane->fd[DATA] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	lane->fd[ROOM] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	if (lane->fd[DATA] >= 0 && lane->fd[ROOM] >= 0)
		return 0;
	outcome_set(out, OUTCOME_ABSENT, "eventfd: %s", strerror(errno));
	if (lane->fd[DATA] >= 0)
		close(lane->fd[DATA]);
	return -1;
}

static struct lane *lane_new(size_t map_bytes, struct outcome *out)
{
	struct lane *made = calloc(1, sizeof(*made));

	if (!made) {
		outcome_set(out, OUTCOME_FAILED, "no memory");
		return NULL;
	}
	made->map_bytes = map_bytes;
	made->ring = rival_map(map_bytes);
	if (!made->ring) {
		outcome_set(out, OUTCOME_FAILED, "no memory: %s",
			    strerror(errno));
		free(made);
		return NULL;
	}
	if (open_bells(made, out) != 0) {
		munmap(made->ring, map_bytes);
		free(made);
		return NULL;
	}
	return made;
}

static void lane_free(struct lane *lane)
{
	close(lane->fd[DATA]);
	close(lane->fd[ROOM]);
	munmap(lane->ring, lane->map_bytes);
	free(lane);
}

static int spsc_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	size_t stride = (spec->bytes + 7) / 8 * 8;
	uint64_t n_slots = N_SLOTS;

	while (n_slots > TURNS && n_slots * stride > POOL_BYTES)
		n_slots /= 2;
	*lane = lane_new(sizeof(struct ring) + n_slots * stride, out);
	if (!*lane)
		return -1;
	(*lane)->stride = stride;
	(*lane)->n_slots = n_slots;
	return 0;
}

static unsigned char *slot_of(const struct lane *lane, uint64_t index,
			      size_t stride)
{
	return lane->ring->slots + (index & (lane->n_slots - 1)) * stride;
}

/* The other side's index as soon as it is not @stuck, into @now. */
static __attribute__((noinline)) int look(const _Atomic uint64_t *index,
					  uint64_t stuck, struct bell *bell,
					  int fd, bool wait, uint64_t *now)
{
	for (unsigned spins = 0;; spins++) {
		int ret;

		*now = atomic_load_explicit(index, memory_order_acquire);
		if (*now != stuck)
			return 0;
		if (!wait)
			return -EAGAIN;
		if (spins < SPINS) {
			rival_pause();
			continue;
		}
		atomic_fetch_add(&bell->n_sleeping, 1);
		*now = atomic_load(index);
		if (*now != stuck) {
			take_sleeper(bell);
			return 0;
		}
		ret = sleep_on(fd);
		if (ret < 0)
			return ret;
	}
}

CHUNK_INLINE int room(struct lane *lane, bool wait)
{
	struct ring *ring = lane->ring;
	uint64_t full = lane->own - lane->n_slots;

	if (__builtin_expect(lane->other == full, 0))
		return look(&ring->head, full, &ring->room, lane->fd[ROOM],
			    wait, &lane->other);
	return 0;
}

CHUNK_INLINE int front(struct lane *lane, bool wait)
{
	struct ring *ring = lane->ring;

	if (__builtin_expect(lane->other == lane->own, 0))
		return look(&ring->tail, lane->own, &ring->data, lane->fd[DATA],
			    wait, &lane->other);
	return 0;
}

CHUNK_INLINE void publish(struct lane *lane, uint64_t index)
{
	struct ring *ring = lane->ring;

	lane->own = index;
	atomic_store_explicit(&ring->tail, index, memory_order_release);
	ring_bell(&ring->data, lane->fd[DATA]);
}

CHUNK_INLINE void pop(struct lane *lane, uint64_t index)
{
	struct ring *ring = lane->ring;
	uint64_t turn = lane->n_slots / TURNS;
	bool turned = (lane->own ^ index) & ~(turn - 1);

	lane->own = index;
	atomic_store_explicit(&ring->head, index, memory_order_release);
	if (__builtin_expect(turned, 0))
		ring_bell(&ring->room, lane->fd[ROOM]);
}

CHUNK_INLINE int put_one(struct lane *lane, const void *msg, size_t bytes,
			 size_t n, bool wait)
{
	int ret = room(lane, wait);

	(void)n;
	if (ret < 0)
		return ret;
	memcpy(slot_of(lane, lane->own, (bytes + 7) / 8 * 8), msg, bytes);
	publish(lane, lane->own + 1);
	return 1;
}

CHUNK_INLINE int get_one(struct lane *lane, void *msg, size_t bytes, size_t n,
			 bool wait)
{
	int ret = front(lane, wait);

	(void)n;
	if (ret < 0)
		return ret;
	memcpy(msg, slot_of(lane, lane->own, (bytes + 7) / 8 * 8), bytes);
	pop(lane, lane->own + 1);
	return 1;
}

/* Many at a time: one fence, and one look at who sleeps. */
static int spsc_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	const unsigned char *from = msgs;
	int ret = room(lane, wait);
	uint64_t free;

	if (ret < 0)
		return ret;
	free = lane->n_slots - (lane->own - lane->other);
	n = n > free ? free : n;
	for (size_t i = 0; i < n; i++)
		memcpy(slot_of(lane, lane->own + i, lane->stride),
		       from + i * bytes, bytes);
	publish(lane, lane->own + n);
	return (int)n;
}

static int spsc_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	unsigned char *to = msgs;
	int ret = front(lane, wait);
	uint64_t there;

	if (ret < 0)
		return ret;
	there = lane->other - lane->own;
	n = n > there ? there : n;
	for (size_t i = 0; i < n; i++)
		memcpy(to + i * bytes,
		       slot_of(lane, lane->own + i, lane->stride), bytes);
	pop(lane, lane->own + n);
	return (int)n;
}

static int spsc_send(struct lane *lane, struct source *source, size_t n)
{
	return chunk_put(lane, source, n, put_one);
}

static int spsc_recv(struct lane *lane, struct sink *sink, size_t n)
{
	return chunk_get(lane, sink, n, get_one);
}

/* Many --------------------------------------------------------------------- */

static int mpmc_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	*lane = lane_new(sizeof(struct ring), out);
	if (!*lane)
		return -1;
	if (rival_vyukov.open(spec, &(*lane)->inner, out) != 0) {
		lane_free(*lane);
		return -1;
	}
	return 0;
}

static void mpmc_close(struct lane *lane)
{
	rival_vyukov.close(lane->inner);
	lane_free(lane);
}

/* Put (@from) or get (@to) one. */
static int try_one(struct lane *lane, const void *from, void *to, size_t bytes)
{
	return from ? rival_vyukov.put(lane->inner, from, bytes, 1, false)
		    : rival_vyukov.get(lane->inner, to, bytes, 1, false);
}

static int mpmc_one(struct lane *lane, const void *from, void *to, size_t bytes,
		    bool wait)
{
	struct bell *bell = from ? &lane->ring->room : &lane->ring->data;
	int fd = lane->fd[from ? ROOM : DATA];

	for (unsigned spins = 0;; spins++) {
		int ret = try_one(lane, from, to, bytes);

		if (ret != -EAGAIN || !wait)
			return ret;
		if (spins < RIVAL_SPINS) {
			rival_pause();
			continue;
		}
		atomic_fetch_add(&bell->n_sleeping, 1);
		ret = try_one(lane, from, to, bytes);
		if (ret != -EAGAIN) {
			take_sleeper(bell);
			return ret;
		}
		ret = sleep_on(fd);
		if (ret < 0)
			return ret;
	}
}

static int mpmc_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	int ret = mpmc_one(lane, msgs, NULL, bytes, wait);

	(void)n;
	if (ret > 0)
		ring_bell(&lane->ring->data, lane->fd[DATA]);
	return ret;
}

static int mpmc_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		    bool wait)
{
	int ret = mpmc_one(lane, NULL, msgs, bytes, wait);

	(void)n;
	if (ret > 0)
		ring_bell(&lane->ring->room, lane->fd[ROOM]);
	return ret;
}

const struct transport rival_eventfd = {
	.name = "eventfd",
	.what = "plain SPSC ring, sleeps in eventfd(2)",
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) |
		 LOAD_BIT(LOAD_WAKE) | LOAD_BIT(LOAD_IDLE),
	.waits = "adaptive",
	.batches = true,
	.open = spsc_open,
	.close = lane_free,
	.put = spsc_put,
	.get = spsc_get,
	.send = spsc_send,
	.recv = spsc_recv,
};

const struct transport rival_eventfd_mpmc = {
	.name = "eventfd-mpmc",
	.what = "vyukov's ring, sleeps in eventfd(2)",
	.loads = LOAD_LANES,
	.waits = "adaptive",
	.open = mpmc_open,
	.close = mpmc_close,
	.put = mpmc_put,
	.get = mpmc_get,
};
