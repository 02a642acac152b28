/*
 * waiter.h - sleep until another process rings, wake whoever sleeps
 *
 * Each endpoint has one bell, a futex word in shared memory that only its
 * owner waits on.  Each thing that can be waited for (a queue's not-empty, its
 * not-full, ...) has a bitmap of its sleepers, one bit an endpoint.  A waker
 * makes its condition true, and if the bitmap is empty, which is the usual
 * case, that was all: no system call.  Otherwise it claims a bit and rings
 * that endpoint's bell.
 *
 *	sleeper                            waker
 *	S1 seen = bell                     K1 make the condition true
 *	S2 set own bit, seq_cst            K2 fence, light
 *	S3 fence, heavy                    K3 no bit set: return
 *	S4 condition true: clear, return   K4 clear one bit (the claim), acq_rel
 *	S5 sleep while bell == seen        K5 bell++, release; futex wake
 *	S6 clear own bit
 *
 * S2..S3 and K2 forbid the one bad outcome: S4 finds the condition false while
 * K3 finds no bit (store-load on both sides; acquire and release allow it, on
 * x86 too).  S1 comes before S2, so that a waker that claimed the bit before
 * S5 has changed the bell and S5 returns at once.
 *
 * Where S3 is a membarrier(2), of which Linux loses one in a million in some
 * processes (fence.h), S5 begins with a short sleep and one more S4.
 *
 * A SIGKILL between K1 and K5 leaves a sleeper asleep, and one that hits a
 * sleeper between K5 and its taking of the work eats the wake: whoever
 * recovers a dead endpoint therefore clears its bits and wakes everybody
 * (sb_wake_all), and sleepers look again.
 */
#ifndef SB_WAITER_H
#define SB_WAITER_H

#include "lib/atomics.h"
#include "lib/clock.h"
#include "lib/def.h"
#include "lib/fence.h"

/* In shared memory.  Set by the sleeper, cleared by sleeper and wakers. */
struct sb_sleepers {
	alignas(SB_FAR) _Atomic uint64_t bits[SB_EP_WORDS];
};

static_assert(sizeof(struct sb_sleepers) == SB_FAR, "sleepers");

/* Where the bells are: that of endpoint @id lies at base + id * stride. */
struct sb_bells {
	unsigned char *base;
	size_t stride;
	uint32_t n; /* ids are 1 .. n - 1; any other bit is ignored */
	bool asym;  /* K2 is light and S3 heavy; see fence.h */
};

SB_INLINE _Atomic uint32_t *sb_bell(const struct sb_bells *b, uint32_t id)
{
	return (_Atomic uint32_t *)(void *)(b->base + id * b->stride);
}

/* Does anybody sleep?  K3; the caller has fenced (K2). */
SB_INLINE bool sb_sleepers_any(const struct sb_sleepers *set)
{
	/* With every message: written out, it is half of a loop's price. */
	static_assert(SB_EP_WORDS == 4, "words");
	return ld_rlx(&set->bits[0]) | ld_rlx(&set->bits[1]) |
	       ld_rlx(&set->bits[2]) | ld_rlx(&set->bits[3]);
}

/* Slow half of sb_wake: somebody sleeps.  K4 and K5. */
void sb_wake_slow(struct sb_sleepers *set, const struct sb_bells *bells,
		  uint32_t n);

/*
 * sb_wake - wake up to @n sleepers, lowest id first
 *
 * Call after the whole batch is published: K1 is the caller's release store,
 * K2 the fence here.  @n is the number of messages made available.
 */
SB_INLINE void sb_wake(struct sb_sleepers *set, const struct sb_bells *bells,
		       uint32_t n)
{
	if (!SB_MUTATED(k2_fence))
		sb_fence_light(bells->asym); /* K2 <-> S3 */
	if (sb_unlikely(sb_sleepers_any(set)))
		sb_wake_slow(set, bells, n);
}

/* Wake just @id, if it sleeps on @set.  Same fence rule as sb_wake. */
void sb_wake_one_slow(struct sb_sleepers *set, const struct sb_bells *bells,
		      uint32_t id);

SB_INLINE void sb_wake_one(struct sb_sleepers *set,
			   const struct sb_bells *bells, uint32_t id)
{
	sb_fence_light(bells->asym); /* K2 <-> S3 */
	if (sb_unlikely(ld_rlx(&set->bits[id / 64 % SB_EP_WORDS]) &
			(UINT64_C(1) << id % 64)))
		sb_wake_one_slow(set, bells, id);
}

/* Wake every sleeper of @set: after a death, a close.  Same fence rule. */
void sb_wake_all(struct sb_sleepers *set, const struct sb_bells *bells);

/* Clear the bit of an endpoint that is dead. */
void sb_sleepers_clear(struct sb_sleepers *set, uint32_t id);

enum sb_backend { SB_BACKEND_AUTO, SB_BACKEND_URING, SB_BACKEND_FUTEX };

enum sb_spin {
	SB_SPIN_ADAPTIVE, /* spin while cores are free, else yield; park */
	SB_SPIN_ALWAYS,   /* never park: lowest latency, a core each */
	SB_SPIN_NEVER     /* park at once */
};

struct sb_uring; /* private to waiter_uring.c */

/* A descriptor that ends a park; see sb_waiter_watch(). */
struct sb_watch {
	int fd;
	uint32_t events; /* POLLIN, POLLOUT */
	void (*ready)(void *arg, uint32_t events);
	void *arg;
	bool soon; /* without a ring: look each ms at first, not each 5 */
	struct sb_watch *next; /* private from here on */
	uint64_t token;        /* of the armed request */
	uint32_t fired;        /* events seen, ready() not called yet */
	bool armed;            /* the ring polls fd */
	bool stale;            /* what that poll will say was said already */
};

/*
 * The waiting side of one endpoint.  It belongs to the thread that waits with
 * it: a ring serves only the thread that made it.  The counts are for the
 * owner to publish.
 */
struct sb_waiter {
	struct sb_bells bells;
	uint32_t id;                 /* ours */
	struct sb_sleepers *running; /* whose bit is set is not parked */
	uint32_t n_cpus;
	enum sb_backend backend; /* what was asked for */
	enum sb_spin spin;
	uint32_t spin_max_ns;
	uint32_t gap_steps;   /* of sb_relax(), between two tries */
	uint32_t n_no_yield;  /* so many waits are to go by without a yield */
	uint32_t spin_avg_ns; /* moving average of waits that spinning met */
	uint32_t fork_gen;
	bool wants_eintr; /* free to set, as are the three below */
	/* called when heartbeat_ns have gone by since the last call and we are
	 * in a wait; may be NULL, may not wait itself */
	void (*heartbeat)(void *arg);
	void *heartbeat_arg;
	uint64_t heartbeat_ns; /* also the longest park, three times that
				* after a second of waiting; default 100 ms */
	uint64_t n_parks, n_yields;

	/* private: */
	struct sb_uring *uring; /* made at the first park that needs it */
	int uring_error;        /* why there is none, 0 unknown yet */
	uint32_t n_no_uring;    /* parks until we try again; 0: never */
	struct sb_watch *watches;
	uint32_t n_watched_soon;
	bool counted;       /* our bit in running is ours to clear and set */
	bool fired;         /* some watch has events to deliver */
	bool parked_uring;  /* the last park used the ring */
	uint32_t n_waits;   /* wraps */
	uint64_t beat_ns;   /* time of the last heartbeat */
	uint64_t looked_ns; /* time we last knew the state of the watches */
};

/*
 * sb_waiter_init - make a waiter for endpoint @id, which counts as running from
 * its first wait on
 *
 * SB_BACKEND_URING is probed here: where the kernel does not give us a ring
 * with futex operations this is -ENOSYS, -EPERM, ... and not a silent change
 * to futexes.  AUTO never fails for that.  @spin_max_ns 0 takes the default,
 * 50 us: what a wake across cores costs where this was measured.  Less, and
 * two that answer each other never get out of parking: each waits for as long
 * as the other's wake takes, and parks just before it comes.
 *
 * Who:     the thread that will wait.
 * Returns: 0, -EINVAL for an id that has no bell, or why there is no ring.
 */
int sb_waiter_init(struct sb_waiter *w, const struct sb_bells *bells,
		   uint32_t id, struct sb_sleepers *running,
		   enum sb_backend backend, enum sb_spin spin,
		   uint32_t spin_max_ns);

/*
 * The endpoint is not running any more and nothing of ours is armed.  Call it
 * before the bells are unmapped.  Safe in a forked child, where it only forgets
 * the parent's ring; after that the child may init the same struct.
 */
void sb_waiter_close(struct sb_waiter *w);

/*
 * sb_waiter_watch - let @watch->fd end parks of this waiter, until unwatched
 *
 * When it is ready, @watch->ready runs inside a wait, and the wait tries its
 * condition again.  Level-triggered: a ready() that leaves the descriptor
 * ready, and watched, is called again at once, and the wait goes round instead
 * of sleeping.  As with poll(2), ready() may find that there is nothing left
 * (a read should not block), and POLLERR, POLLHUP and POLLNVAL come unasked.
 * ready() may watch and unwatch, also its own watch, but not wait.
 *
 * The caller keeps @watch and its fd until after sb_waiter_unwatch(); when that
 * returns, nothing in the kernel refers to the fd on our behalf.
 *
 * Cost: with io_uring none while parked.  Where there is no ring the parks are
 * sliced, 5 ms (1 where a watch wants it soon) growing to 50 ms as
 * waited / 16, with a poll(2) between them: an event is seen up to that much
 * later, and an idle endpoint makes 40 system calls a second.  An endpoint that never parks looks about every
 * millisecond that it waits, and every 256 waits.
 */
void sb_waiter_watch(struct sb_waiter *w, struct sb_watch *watch);
void sb_waiter_unwatch(struct sb_waiter *w, struct sb_watch *watch);

/*
 * A condition to wait for.
 *
 * try_() returns -EAGAIN for not yet, -EBUSY for not yet but worth another
 * look in about SB_BUSY_NS even if nobody rings, and anything else when the
 * wait is over.  @sure is true when the caller is about to sleep, so that no
 * short cut may be taken.
 *
 * more(), if not NULL, is asked at the end of a wait that somebody woke, for
 * each set that it was woken for: true passes the wake on to another sleeper
 * of sets[i].  A claimed bit is an obligation: whoever was rung may have found
 * other work meanwhile, or have run out of time.  Without more() a wait that
 * fails passes on, one that succeeds does not.
 *
 * Those who sleep in one set must wait for the same condition: one that was
 * woken and finds nothing for itself takes it that there is nothing.
 *
 * Who waits on more sets than sets[] holds lets @many point to them, and
 * @claimed to SB_WAIT_CLAIMED(n_sets) words for us to use.
 */
struct sb_wait {
	int (*try_)(void *arg, bool sure);
	bool (*more)(void *arg, uint32_t i);
	void *arg;
	struct sb_sleepers *sets[8];
	uint32_t n_sets;
	struct sb_sleepers **many; /* instead of sets, or NULL */
	uint64_t *claimed;
};

#define SB_WAIT_CLAIMED(n_sets) (((size_t)(n_sets) + 63) / 64)

#define SB_BUSY_NS 100000u

/*
 * sb_waiter_wait - try, spin, yield, park until try_() is content
 *
 * try_(), more(), heartbeat() and ready() run inside, in this thread, with no
 * lock held; they may wake others.
 *
 * @deadline_ns: an absolute time of sb_now_ns(); SB_FOREVER for none; 0 for a
 *               pure try, which does not even look at the clock.  A deadline
 *               that has passed still makes one sure try.
 *
 * Returns what try_() returned, or
 *   -ETIMEDOUT  the last, sure try was after the deadline
 *   -EINTR      wants_eintr is set and a signal handler ended a park (one
 *               that runs while we spin is not noticed; nor, with io_uring,
 *               is it certain with SA_RESTART.  A stop and continue may look
 *               the same as a handler)
 *   -EINVAL     the waiter is that of the parent process
 *   another     parking is impossible, e.g. a forced ring has been closed
 */
int sb_waiter_wait(struct sb_waiter *w, const struct sb_wait *c,
		   uint64_t deadline_ns);

/* "uring" or "futex": what the last park used, or the next one would. */
const char *sb_waiter_backend_name(struct sb_waiter *w);

#endif
