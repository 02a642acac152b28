/*
 * crew.h - the workers of a coordinator, and the area in which each says what
 * it does
 *
 * The area lies in the request channel, behind the ring.  A worker writes its
 * own place, and only while it has a request in hand; the coordinator writes
 * who is in it.  Any endpoint may read (bus_pool_stats).
 *
 * The task in hand is one word of the place:
 *
 *	id:56 | flags:8     0: none; id: number of the task:40 | index:16
 *
 *	worker                              parent, to cancel
 *	T1a word = id                       X1a canceled[index] = id
 *	T1b fence, light                    X1b fence, heavy
 *	T1c canceled[index] == id: shed     X1c a place whose word has the id:
 *	    it, do not run                      CAS TOLD into it
 *	T2  CAS word to 0; if DOOMED is
 *	    in it: never answer             X2  to kill: CAS DOOMED into it, and
 *	                                        only then send SIGKILL
 *	    while SIGNAL is in it: wait     X3  to signal: CAS SIGNAL into it,
 *	    (T3), then deliver it               send, AND SIGNAL out of it
 *
 * T1b and X1b forbid that T1c sees nothing and X1c finds nobody.  T2 and X2 are
 * on the same word: whoever is doomed will not take another task, so that the
 * signal cannot hit one; and who has let go cannot be doomed any more.  T3 is
 * an acquire of what X3 released: the signal was sent before the flag went.
 *
 * A SIGKILL leaves the word as it was until the parent has reaped the worker.
 * Its request may be another's by then: two places can have the same id for a
 * moment, of which one is dead.
 */
#ifndef BUS_CREW_H
#define BUS_CREW_H

#include "bus/request.h"

/* ------------------------------------------------------------ the area -- */

#define BUS_PLACE_TOLD   UINT64_C(1) /* late or canceled: it may look */
#define BUS_PLACE_DOOMED UINT64_C(2) /* it will be killed: do not go on */
#define BUS_PLACE_SIGNAL UINT64_C(4) /* a signal is being sent: wait for it */

/* Where the number of the task lies in the word. */
#define BUS_PLACE_NUMBER_SHIFT (8 + 16)

/* Bytes of an area; 0 for no places. */
SB_INLINE uint64_t bus_crew_bytes(uint32_t n_places, uint32_t n_canceled)
{
	if (!n_places)
		return 0;
	return sizeof(struct bus_crew_area) +
	       n_places * (uint64_t)sizeof(struct bus_place) +
	       SB_ROUND_UP((uint64_t)n_canceled * 8, SB_FAR);
}

SB_INLINE struct bus_place *bus_crew_place(struct bus_crew_area *area,
					   uint32_t place)
{
	return (struct bus_place *)(area + 1) + place;
}

/* canceled[], which has as many words as the window of the coordinator. */
SB_INLINE _Atomic uint64_t *bus_crew_canceled(struct bus_crew_area *area,
					      uint32_t n_places)
{
	return (_Atomic uint64_t *)bus_crew_place(area, n_places);
}

/* --------------------------------------------------- in a worker: a task -- */

/* Some milliseconds coarse, and cheap. */
SB_INLINE uint64_t bus_coarse_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * SB_NS_PER_S + (uint64_t)t.tv_nsec;
}

/*
 * bus_place_begin - T1: the task @id is in our hands
 * @canceled: &canceled[index] of it
 * @asym:     of the bus (bus->map->sizes.asym)
 *
 * Returns false when it was canceled: then it is not to be run, but answered,
 * after bus_place_end() as the others.
 */
SB_INLINE bool bus_place_begin(struct bus_place *p, uint64_t id,
			       uint32_t handler,
			       const _Atomic uint64_t *canceled, bool asym)
{
	st_rlx(&p->handler, handler);
	st_rlx(&p->since_ns, bus_coarse_ns());
	/* Nobody else writes it while it is 0. */
	st_rlx(&p->word, id << 8);     /* T1a */
	sb_fence_light(asym);          /* T1b <-> X1b */
	return ld_rlx(canceled) != id; /* T1c */
}

/* Until it has come: or it would hit the next task. */
void bus_place_await_signal(struct bus_place *p);

/*
 * bus_place_end - T2: we let go of it
 *
 * Returns false when the worker is doomed: then bus_place_doomed(), and no
 * answer.  Ask bus_reply_forked() before.
 */
SB_INLINE bool bus_place_end(struct bus_place *p)
{
	uint64_t word = ld_rlx(&p->word);

	st_rlx(&p->n_done, ld_rlx(&p->n_done) + 1);
	st_rlx(&p->since_ns, 0);
	do {
		if (sb_unlikely(word & BUS_PLACE_SIGNAL)) {
			bus_place_await_signal(p);
			word = ld_rlx(&p->word);
		}
		if (sb_unlikely(word & BUS_PLACE_DOOMED))
			return false;
	} while (!cas_acqrel(&p->word, &word, 0));
	return true;
}

/* Die as of the SIGKILL that is on its way. */
_Noreturn void bus_place_doomed(void);

/* The worker of place @place begins or ends to send something large; then
 * bus_reply_ring(). */
SB_INLINE void bus_crew_talk(struct bus_crew_area *area, uint32_t place)
{
	or_seqcst(&area->talking[place / 64 % 4], UINT64_C(1) << place % 64);
}

SB_INLINE void bus_crew_hush(struct bus_crew_area *area, uint32_t place)
{
	and_acqrel(&area->talking[place / 64 % 4],
		   ~(UINT64_C(1) << place % 64));
}

/* ----------------------------------------------- in the parent: a cancel -- */

/*
 * bus_crew_tell - X1: task @id is not to run, or to stop
 *
 * Returns the number of a place that has it in hand and is told now, or -1:
 * whoever takes it will shed it.  If a worker has died on it, the place may be
 * the dead one's, until that was reaped: ask again after gone().
 */
int bus_crew_tell(struct bus_crew_area *area, uint32_t n_places, uint32_t index,
		  uint64_t id, bool asym);

/* The place that has @id in hand, from place @from on; or -1. */
int bus_crew_who(struct bus_crew_area *area, uint32_t n_places, uint32_t from,
		 uint64_t id);

/* X2: CAS @flag into the word of @place, if it has @id.  After a true with
 * BUS_PLACE_DOOMED: kill it with bus_coord_signal(). */
bool bus_place_flag(struct bus_place *p, uint64_t id, uint64_t flag);

/* -------------------------------------- the coordinator, to those within -- */

/*
 * What a pool wants of its workers.  Zero is the way of plain coordinators.
 *
 * start and started are called in no wait; gone may be called in the middle of
 * one, so it must not wait, nor call anything that does, not even with a
 * time-out of 0: it notes.  start is answered by gone, also if the fork fails.
 */
struct bus_crew_config {
	uint32_t max_workers; /* places: what bus_coord_scale() may ask for;
			       * 0: n_workers of the coordinator */
	uint32_t wait, spin;  /* of workers; 0: as the endpoint's */
	uint32_t max_tasks;   /* then a worker is replaced; 0: never */
	uint32_t init_tries;  /* inits in a row that may fail; 0: ten, as other
			       * early deaths */
	uint32_t cancels;     /* 1: the area has canceled[window] */

	/* The parent, before it forks for that place: 0, or -errno: then it is
	 * tried again later. */
	int (*start)(void *ctx, uint32_t place);
	/* after the fork */
	void (*started)(void *ctx, uint32_t place, pid_t pid);
	/* after it was reaped; its word in the area is still what it was, and
	 * after that 0 */
	void (*gone)(void *ctx, uint32_t place);

	/* The worker, before its first request: 0, or it leaves, and what it
	 * wrote to @error is the reason. */
	int (*init)(void *ctx, uint32_t place, char *error, size_t error_bytes);
	void (*exit)(void *ctx); /* when it leaves in good order */
	void *ctx;
};

/* bus_coord_start() with a crew; its @config->init is not called, and
 * @config->ctx is still the handler's.  @crew is copied; NULL: plain. */
int bus_coord_start_crew(struct bus *bus, const char *name,
			 const struct bus_coord_config *config,
			 const struct bus_crew_config *crew,
			 struct bus_coord **coord);

struct bus_crew_area *bus_coord_area(struct bus_coord *coord);
uint32_t bus_coord_places(const struct bus_coord *coord);

/* The worker in @place, or 0. */
pid_t bus_coord_pid(const struct bus_coord *coord, uint32_t place);

/*
 * bus_coord_scale - have @n workers from now on, up to the places
 *
 * More are forked now; those in places from @n on leave when they have done
 * what is in hand.  Returns 0, -EINVAL, -EUSERS, -EPIPE (the ring is closed),
 * or why a fork failed: it is tried again.
 */
int bus_coord_scale(struct bus_coord *coord, uint32_t n);

/* Send a signal to exactly that child.  One that dies of it is replaced
 * at once.  0, -ESRCH (nobody is there), -EINVAL. */
int bus_coord_signal(struct bus_coord *coord, uint32_t place, int sig);

/* SIGKILL all workers and reap them; none is started any more.  Those whom we
 * may not signal are waited for only a moment: they leave when what they have
 * in hand is over. */
int bus_coord_kill_all(struct bus_coord *coord);

/*
 * bus_coord_leave - close the ring; wait until all is answered and all workers
 * have left
 *
 * Nobody is killed: after a time-out it may be called again, or results
 * collected, or bus_coord_stop() called, which frees.  Returns 0, -ETIMEDOUT,
 * -EINTR, -ECHILD.
 */
int bus_coord_leave(struct bus_coord *coord, uint64_t deadline_ns);

/*
 * bus_coord_take_each - show @each those results that are there, up to @most
 * @sure: look at all that may be; else only where it is cheap
 *
 * A result is gone when @each returns, which may submit, but not collect.
 * Returns how many there were.
 */
uint32_t bus_coord_take_each(struct bus_coord *coord, uint32_t most, bool sure,
			     void (*each)(void *arg, struct bus_result *result),
			     void *arg);

/* The request after the next @n will be submitted soon: have its slot on its
 * way.  For the only one who submits. */
void bus_coord_ahead(struct bus_coord *coord, uint32_t n);

/* Does a worker sleep for want of requests?  A look: he may just have begun. */
bool bus_coord_idle(const struct bus_coord *coord);

/* Why calls say -ECHILD: what init said, or how workers died.  "" else. */
const char *bus_coord_error(const struct bus_coord *coord);

/* What else ends bus_coord_wait(). */
struct bus_coord_extra {
	struct sb_sleepers **sets; /* rung when ready() may have changed */
	uint32_t n_sets;           /* 0 .. BUS_COORD_EXTRA_MAX */
	/* Has it come?  Asked often, in the middle of the wait; not @sure: only
	 * what is cheap to see.  May be NULL. */
	bool (*ready)(void *arg, bool sure);
	void *arg;
};

#define BUS_COORD_EXTRA_MAX 255u

/*
 * bus_coord_wait - wait until a result is there, or @extra
 * @extra:       or NULL
 * @deadline_ns: of sb_now_ns(); SB_FOREVER; 0: look once, -EAGAIN
 *
 * Workers are replaced meanwhile: so start(), started() and gone() of the crew
 * may be called.  Unlike bus_collect() it may be called with nothing
 * outstanding.  A set that is not in @extra when the wait begins does not end
 * it: let ready() say true when there is a new one to sleep in.
 *
 * Returns 0, -EAGAIN, -ETIMEDOUT, -EINTR, -ECHILD, -EINVAL (more sets than
 * that; a forked child).
 */
int bus_coord_wait(struct bus_coord *coord, const struct bus_coord_extra *extra,
		   uint64_t deadline_ns);

/* ---------------------------------------------- for coord.c and worker.c -- */

/* A place as its parent knows it. */
struct bus_member {
	struct bus_crew *crew;
	struct sb_proc proc; /* pid 0: none */
	struct sb_watch death;
	struct sb_watch line; /* the read end of its life line; fd -1: none */
	uint64_t started_ns;
	uint64_t start_at_ns; /* when to fork the next one */
	bool replaces;        /* another that was here */
	int signaled;         /* the last signal of bus_coord_signal(); 0 */
	bool execed;          /* it is not our program any more */
	bool spared;          /* we were not allowed to kill it */
};

/* A worker that has died and could not be reaped. */
struct bus_zombie {
	struct sb_proc proc;
	struct bus_zombie *next;
};

struct bus_crew {
	struct bus *bus;
	struct bus_request_chan *c;
	uint64_t coord; /* our life, as the ring has it */
	/* what a worker runs, and the first back-off */
	bus_handler handler;
	int (*init)(void *ctx);
	void *ctx;
	uint64_t min_backoff_ns;
	uint32_t prefetch; /* of the plain ones; others take one by one */
	struct bus_crew_config hooks;
	bool plain; /* no hooks */

	/* the coordinator's: endpoint @id, a worker, was recovered */
	void (*died)(void *arg, uint32_t id, pid_t pid,
		     const struct sb_proc_exit *how);
	void *arg;

	struct bus_crew_area *area;
	struct bus_member *member;
	struct bus_zombie *zombies;
	uint32_t n_places, n_wanted;
	uint32_t n_most;     /* workers that there ever were at once */
	uint32_t look_ahead; /* requests that may be in their hands, and some */
	bool leaving;        /* the ring is closed: workers may leave */
	bool stopping;       /* no worker is started any more */
	bool broken;
	bool progress; /* a result since the last death */
	bool replan;   /* next_start_ns has changed: waits set a new deadline */

	uint64_t next_start_ns; /* earliest start_at_ns, or SB_FOREVER */
	uint64_t last_poll_ns;
	uint32_t n_polls;
	uint32_t n_hopeless;
	uint32_t n_bad_inits;
	uint32_t seen_inits; /* area->n_inits at the last of those */
	uint64_t backoff_ns;
	uint64_t last_death_ns; /* that counted for those */
	char error[BUS_INIT_ERROR + 64];
};

/*
 * bus_crew_init  - the private part; 0 or -ENOMEM
 * bus_crew_start - fork all; returns 0, or why one could not be
 * bus_crew_free  - undo init; who could not be killed is left alone
 */
int bus_crew_init(struct bus_crew *crew);
int bus_crew_start(struct bus_crew *crew);
void bus_crew_free(struct bus_crew *crew);

/* Are there ids on the bus for @n workers? */
bool bus_crew_fits(const struct bus_crew *crew, uint32_t n);

/* As bus_coord_scale() and bus_coord_signal(). */
int bus_crew_scale(struct bus_crew *crew, uint32_t n);
int bus_crew_signal(struct bus_crew *crew, uint32_t place, int sig);

/* We are a forked child: the workers are none of ours. */
void bus_crew_disown(struct bus_crew *crew);

/*
 * bus_crew_live  - how many workers there are
 * bus_crew_kill  - SIGKILL them all
 * bus_crew_dying - how many of those that were killed have not gone; without
 *                  those whom we were not allowed to signal
 */
uint32_t bus_crew_live(const struct bus_crew *crew);
void bus_crew_kill(struct bus_crew *crew);
uint32_t bus_crew_dying(const struct bus_crew *crew);

/* Look at all pidfds, now; and fork those who are due.  Or, for who only ever
 * tries, and never waits on them, now and then. */
void bus_crew_look(struct bus_crew *crew);
void bus_crew_replace(struct bus_crew *crew);
void bus_crew_poll(struct bus_crew *crew);

/* Fork who is due, and say until when a wait may go on. */
uint64_t bus_crew_plan(struct bus_crew *crew, uint64_t deadline_ns);

/*
 * bus_crew_wait - as sb_waiter_wait, but workers are replaced meanwhile
 *
 * -ECHILD when they are broken, 0 for @deadline_ns is a pure try.
 */
int bus_crew_wait(struct bus_crew *crew, const struct sb_wait *wait,
		  uint64_t deadline_ns);

#endif
