/*
 * kill_pool.h - a point of bustorture's kill/pool, as the parts of it know it
 *
 *	kill_pool.c         what it is; a point from beginning to end; the cases
 *	kill_pool_ops.c     the operations in which a victim is killed
 *	kill_pool_set_up.c  the pool and its workers, the processes, and how they
 *	                    get ready
 *	kill_pool_after.c   what goes on after the death, and what is left
 */
#ifndef TORTURE_KILL_POOL_H
#define TORTURE_KILL_POOL_H

#include "bus/pool.h"
#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define SMALL   8u
#define CELL    600u  /* a request of so many bytes lies in a cell */
#define LARGE   5000u /* a result */
#define N_TASKS 6
#define MAX_EP  7

/* Had the owner submitted when the victim started? */
enum state { EMPTY, ONE, N_STATES };

/* BUSY: asleep in a futex, and stopped until the victim is dead: it finds all
 * that the victim did, and the death, at once. */
enum peer { POLL, FUTEX, URING, BUSY, N_PEERS };

enum role { WORKER, OWNER, OUTSIDE };

/* What becomes of a task: each is a handler of the pool. */
enum { ECHO, BIG, FAIL, UNTIL_TOLD, WARM, N_HANDLERS };

struct op {
	const char *name;
	enum role role;
	uint32_t states;
	void (*fn)(void);      /* of the owner; of a victim outside */
	uint32_t handler, len; /* of its requests; 0: SMALL */
	uint32_t max_attempts, max_tasks;
	bool unborn; /* the pool is not started before */
	/* A worker looks at the whole ring first, 2048 slots.  That one has
	 * done so: the victim starts in the middle of a task. */
	bool warm;
};

/* All of them. */
extern const struct op ko_ops[];
extern const uint32_t ko_n_ops;

/* Of one point, seen by all its processes. */
struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, go, over;
	_Atomic uint32_t n_inits;
	_Atomic uint32_t cancel, told; /* of UNTIL_TOLD */
	_Atomic uint32_t ready, owner_done;
	_Atomic uint32_t n_complete[N_TASKS], n_called[N_TASKS];
	const char *_Atomic wrong_file; /* something was not as it should be: */
	_Atomic uint32_t wrong;         /* ... in that line */
};

struct row {
	struct tally t;
	_Atomic uint64_t longest, of, elsewhere, ns;
};

/* Of the point that this shard is at; in its processes, too. */
extern struct ko {
	const struct op *op;
	enum state state;
	enum peer peer;
	struct row *row;
	pid_t owner;
	int fds;

	struct shared *sh;
	struct bus *bus;
	struct bus_pool *pool;
	struct bus_future *future[N_TASKS];
} ko;

/* Something was not as it should be. */
#define WRONG() ko_wrong(__FILE__, __LINE__)

/* ------------------------------------------------------- kill_pool_ops.c -- */

/* The one that can be done by polling. */
void ko_do_tasks(void);

/* Requests: of how many bytes, and those of task @i. */
size_t ko_len_of(void);
void ko_fill_request(unsigned char req[CELL], uint64_t i);

/* ---------------------------------------------------- kill_pool_set_up.c -- */

void ko_wrong(const char *file, int line);

struct bus_config ko_bus_settings(void);
void ko_start_pool(void);

/* Everybody is where the operation begins, and the victim is seized. */
void ko_set_up(void);

/* The victim, a worker, has nothing to do: what is next for it? */
bool ko_unblock(void);

/* ----------------------------------------------------- kill_pool_after.c -- */

/* The pool does another task, and ends in good order. */
void ko_end_pool(void);

/* All that is to be done and looked at when the victim is dead. */
void ko_survive(void);

#endif
