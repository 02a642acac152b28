/*
 * coord.h - a coordinator, as its parts know it; private to a process
 *
 *	coord.c          whose it is: start, workers, stop
 *	coord_submit.c   submitting a request
 *	coord_collect.c  collecting a result
 *	coord_many.c     both, many a call
 *	coord_wait.c     for bus_wait() and the pool
 *
 * Life of a request: submitted into a slot of the request ring; taken by a
 * worker, who writes the result beside it and commits with one store; collected
 * from the slot, which is then free.  The coordinator finds its results by the
 * positions that it remembers, oldest first, so there is no second ring and
 * nothing that could arrive twice.
 *
 * Its workers are crew.c's, which looks after them while a call here waits.
 * When one dies, recovery puts its request back for another to take, or marks
 * it quarantined after max_attempts; then the coordinator notes who died on
 * what.
 *
 * Results that block the window while their owner waits to submit are moved to
 * the heap ("stashed"), a list of its own that is by age, too.  Their entries
 * are free: so of those there are never more than the window has slots, and
 * nobody who looks for an answer passes what was stashed before.
 */
#ifndef BUS_COORD_H
#define BUS_COORD_H

#include <stddef.h>

#include "bus/crew.h"
#include "bus/pace.h"
#include "lib/clock.h"

/* A request that was submitted and neither collected nor stashed.  Of most only
 * the first four are ever written: a free entry has what is below them as it is
 * for a request without cells that nobody died on. */
struct bus_entry {
	uint64_t id;
	uint64_t pos;
	uint32_t next, prev;
	uint32_t cell[2]; /* of the request, of the result */
	/* DEATH: who was last */
	int32_t pid, signal, exit_status;
};

/* A result that was stashed. */
struct bus_stash {
	struct bus_stash *next, *prev; /* by pos; NULL at the ends */
	uint64_t pos;
	struct bus_result result; /* of data */
	_Alignas(max_align_t) unsigned char data[];
};

/* What a collect has lent to the caller, beside what is in buf. */
struct bus_loan {
	uint32_t cell[2];
	void *copy; /* on the heap, or NULL */
};

struct bus_coord {
	struct bus_request_chan c; /* first: the hottest */
	struct bus_coord_config config;
	struct bus *bus;
	struct bus_coord *next;
	bool foreign; /* we are a forked child of the coordinator */
	bool reused;  /* the ring had another crew before */

	/* Requests outstanding and not stashed, a list by age, in which
	 * positions only grow.  Index 0 is its head, and there are as many more
	 * as the window has slots. */
	struct bus_entry *entry;
	uint32_t free_entry;
	uint32_t n_outstanding; /* with those stashed */
	uint32_t n_in_ring;     /* slots in use: of those, and last */
	struct bus_stash *stash, *stash_last; /* oldest, youngest */
	bool has_last;                        /* see bus_coord_free_last() */
	uint64_t last_pos;
	struct bus_pace pace;

	/* of collects of many */
	uint32_t look_after; /* the entry before those that came last */
	uint32_t n_looks;    /* since the last one at all */
	uint64_t done_to;    /* prefetch below this position */
	uint32_t n_blind;    /* lines until the next look ahead */

	/* what the last collect lent to the caller: room for n_room results,
	 * payload_bytes each */
	unsigned char *buf;
	struct bus_loan *loan;
	uint32_t n_room, n_loans;

	struct bus_crew crew;
};

/* First thing in every call. */
SB_INLINE int bus_coord_check(struct bus_coord *co)
{
	int ret = bus_check(co->bus);

	if (sb_unlikely(ret))
		return ret;
	return sb_unlikely(co->foreign) ? -EINVAL : 0;
}

/* In those that submit: broken workers are given nothing more.  The line is one
 * that collects use, for what they note of the crew. */
SB_INLINE int bus_coord_check_submit(struct bus_coord *co)
{
	int ret = bus_coord_check(co);

	if (sb_unlikely(ret))
		return ret;
	return sb_unlikely(co->crew.broken) ? -ECHILD : 0;
}

/* Absolute, of a call's timeout; 0 for 0. */
SB_INLINE uint64_t bus_coord_deadline(int64_t timeout_ns)
{
	return timeout_ns ? sb_deadline(timeout_ns) : 0;
}

/*
 * Free the slot of the result that was collected last.  Not at once: the
 * store takes the slot's line away from the worker, and the CAS of the next
 * submit would wait for it.  Just before the next request is written it costs
 * least, as that is often in the same line.
 */
SB_INLINE void bus_coord_free_last(struct bus_coord *co)
{
	if (!co->has_last)
		return;
	co->has_last = false;
	sb_ring_free(&co->c.end, co->last_pos);
	co->n_in_ring--;
}

SB_INLINE bool bus_coord_is_done(const struct bus_coord *co,
				 const struct bus_entry *e, uint64_t *seq)
{
	return sb_ring_answered(&co->c.end, e->pos, seq);
}

/*
 * Has nobody died who had one of our requests?  For an answer that was seen.
 * By orphans, which each recovery of a request ring changes first, and not by
 * gen, which it changes last: whoever was handed a request has the former
 * before the answer, but a worker that has just begun looks for what is
 * PENDING without waiting for gen.
 */
SB_INLINE bool bus_coord_nobody_died(const struct bus_coord *co)
{
	return ld_rlx(&co->c.end.ring->orphans) == 0;
}

/* Never more than one worker, and no request was ever passed, given back or
 * left by the dead: then they are answered in the order of their submission,
 * and only the oldest is worth a look.  Not where another crew was before: one
 * of its workers who could not be killed may take a request, too, and it shows
 * only when he gives it back. */
SB_INLINE bool bus_coord_in_file(const struct bus_coord *co)
{
	return co->crew.n_most == 1 && !co->reused &&
	       bus_coord_nobody_died(co) && ld_rlx(&co->c.end.ring->gen) == 1;
}

/* Entry @i is over, or is the last one of those outstanding. */
SB_INLINE void bus_coord_unlink(struct bus_coord *co, uint32_t i)
{
	struct bus_entry *e = co->entry;

	if (co->look_after == i)
		co->look_after = e[i].prev;
	e[e[i].prev].next = e[i].next;
	e[e[i].next].prev = e[i].prev;
	e[i].cell[0] = e[i].cell[1] = SB_BLOB_NONE;
	e[i].pid = 0;
	e[i].next = co->free_entry;
	co->free_entry = i;
	co->n_outstanding--;
}

SB_INLINE void bus_coord_append(struct bus_coord *co, uint32_t i)
{
	struct bus_entry *e = co->entry;

	e[i].prev = e[0].prev;
	e[i].next = 0;
	e[e[0].prev].next = i;
	e[0].prev = i;
	co->n_outstanding++;
}

/* A cell of ours is not needed any more; or those of @cell[0..1]. */
void bus_coord_drop_cell(struct bus_coord *co, uint32_t cell);
void bus_coord_drop_cells(struct bus *bus, const uint32_t cell[2]);

/* Room for @n results that are lent; 0, or -ENOMEM and it is as it was.  Only
 * while nothing is lent. */
int bus_coord_room(struct bus_coord *co, uint32_t n);

/* Is the oldest result of all one that was stashed? */
SB_INLINE bool bus_coord_stash_first(const struct bus_coord *co)
{
	uint32_t i = co->entry[0].next;

	return co->stash &&
	       (!i || sb_pos_diff(co->stash->pos, co->entry[i].pos) < 0);
}

/*
 * The oldest entry that is done, as far as it is cheap to see; @sure: of all.
 * 0: none.  What lies at head or behind it nobody has taken, and a look at head
 * is less than one at each of them.
 */
uint32_t bus_coord_find_done(struct bus_coord *co, bool sure, uint64_t *seq);

/* Move one answered request to the heap, so that its slot is free.  0, or
 * -EAGAIN when none is answered, or -ENOMEM. */
int bus_coord_stash(struct bus_coord *co);

/* Give the oldest of those, which there is, to the caller. */
void bus_coord_unstash(struct bus_coord *co, struct bus_result *r);

/* Give entry @i, which is done, to the caller; short data goes to @buf. */
void bus_coord_deliver(struct bus_coord *co, uint32_t i, uint64_t seq,
		       struct bus_result *r, void *buf);

/* Wait until @try_ finds an answer: first as long as the pace says, for more to
 * come together.  0, -ETIMEDOUT, ..., as of bus_crew_wait(). */
int bus_coord_await(struct bus_coord *co, int (*try_)(void *arg, bool sure),
		    void *arg, int64_t timeout_ns);

/* What was lent is given back. */
void bus_coord_end_loans(struct bus_coord *co);

#endif
