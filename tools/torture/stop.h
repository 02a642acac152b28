/*
 * stop.h - a point of bustorture's stop, as the parts of it know it
 *
 *	stop.c         what it is; a point from beginning to end; the cases
 *	stop_ops.c     the operations in which a victim is stopped
 *	stop_set_up.c  messages, the processes, and how they get ready
 *	stop_after.c   the others while it is stopped, and what is left
 */
#ifndef TORTURE_STOP_H
#define TORTURE_STOP_H

#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define N_MSGS     256
#define VICTIM_MSG 64 /* numbers of the victim's messages start here */
#define HELP_MSG   80
#define OTHER_MSG  100
#define WRAP_MSG   200
#define SMALL      16u
#define BIG        600u
#define N_SLOTS    8u
#define N_REQUESTS 6
#define MAX_EP     8

/* WRAP: one, in the last slot of the ring. */
enum state { EMPTY, ONE, FULL, WRAP, N_STATES };

enum kind { QUEUE, PIPE, WORKER };

struct op {
	const char *name;
	enum kind kind;
	uint32_t states, len;
	void (*fn)(void);
	bool dead;   /* another one has died, holding something */
	bool fresh;  /* the victim is not attached before */
	bool closes; /* puts fail from some time on */
	bool drops;  /* ... and what was in it nobody gets */
	bool crew;   /* the victim has workers */
	bool reads;  /* the victim waits for messages of the pipe, */
	bool writes; /* and for room in it; as when it does neither */
	bool tasks;  /* the queue counts what is not done */
	bool joins;  /* and the victim waits until all is */
	uint32_t prefetch;
	uint32_t channel_bytes;
	void (*before)(void);
};

/* All of them. */
extern const struct op so_ops[];
extern const uint32_t so_n_ops;

/* Of one point, seen by all its processes. */
struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, over, stopped, resumed;
	_Atomic uint32_t put[N_MSGS], n_got[N_MSGS];
	const char *_Atomic wrong_file; /* something was not as it should be: */
	_Atomic uint32_t wrong;         /* ... in that line */
	_Atomic uint32_t next_in, next_out; /* pipe: from, to the victim */
	_Atomic uint32_t n_inits, submitted, client_done, n_early;
	_Atomic uint32_t n_answers[N_REQUESTS];
};

struct row {
	struct tally t;
	_Atomic uint64_t ns, longest, elsewhere;
};

/* Of the point that this shard is at; in its processes, too. */
extern struct so {
	const struct op *op;
	enum state state;
	struct row *row;
	uint32_t n_helped;
	pid_t client;
	bool ended; /* before it could be stopped; t_step_status() says how */

	struct shared *sh;
	struct bus *bus;
	struct bus_queue *q;
	struct bus_pipe *end[2];
	struct bus_coord *coord;
	struct bus_pool *pool;
	unsigned char texts[4][BIG]; /* messages made beforehand */
} so;

/* Something was not as it should be. */
#define WRONG() so_wrong(__FILE__, __LINE__)

/* ------------------------------------------------------------ stop_ops.c -- */

/* Those with which others have to do something besides. */
void so_do_leave(void);

int so_handler(void *ctx, const void *req, size_t len, struct bus_reply *reply);

/* --------------------------------------------------------- stop_set_up.c -- */

void so_wrong(const char *file, int line);

void so_write_message(unsigned char *to, uint64_t i);
void so_note_got(const unsigned char *from, size_t len);
int so_put_message(uint64_t i, int64_t timeout_ns);
int so_get_message(int64_t timeout_ns);

/* Messages through a pipe have numbers in order, in each direction: @next, and
 * from side @from. */
void so_send_next(struct bus_pipe *p, _Atomic uint32_t *next,
		  int64_t timeout_ns);
int so_recv_next(struct bus_pipe *p, uint32_t from, int64_t timeout_ns);

/* Requests that a worker may have when it is stopped. */
uint32_t so_in_hand(void);

/* Everybody is where the operation begins, and the victim is seized. */
void so_set_up(void);

/* Give it what it waits for: room, or a message if there is none.  No more, or
 * one who puts finds no room because it had to wait for the processor. */
void so_give(void);

/* ---------------------------------------------------------- stop_after.c -- */

/* What the others do while it is stopped. */
void so_others_go_on(void);

/* It goes on, to its end; and then all is looked at. */
void so_finish(void);

#endif
