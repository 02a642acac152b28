/*
 * kill_ring.h - a point of bustorture's kill/ring, as the parts of it know it
 *
 *	kill_ring.c         what it is; stepping; the cases
 *	kill_ring_sim.c     a ring of our own, and a clock for it
 *	kill_ring_ops.c     the operations in which a victim is killed
 *	kill_ring_set_up.c  messages, and the states of the ring
 *	kill_ring_after.c   the survivors after the death, and what is left
 */
#ifndef TORTURE_KILL_RING_H
#define TORTURE_KILL_RING_H

/* Names for a ring which the rest of the program does not use. */
#include "tools/torture/sim_ring.h"

#include "lib/ring.h"
#include "tools/torture/torture.h"

#define RING_BYTES 8192
#define N_MSGS     64
#define VICTIM_MSG 40  /* its messages have numbers from here */
#define RETRIES    400 /* of a call of a survivor, before it is a hang */

enum id { CLIENT = 1, STALLED, HOLDER, HELPER, VICTIM, RECOVERER, AUDIT };

/* What the ring is like when the victim starts. */
enum state {
	EMPTY,
	ONE,
	FULL,
	HELD,       /* the next position's slot is held: skip */
	STALL,      /* a live producer stalls at head: pass */
	STALL_TAIL, /* ... before it recorded its claim: help */
	STALL_HEAD, /* a live consumer stalls before it recorded its take */
	PASSED,     /* head stands behind a position that was passed */
	N_STATES
};

struct op {
	const char *name;
	void (*fn)(void);
	bool request;
	bool takes;
	uint32_t batch;
	void (*before)(void); /* the victim's past */
};

/* All of them. */
extern const struct op kr_ops[];
extern const uint32_t kr_n_ops;

/* Shared with the victim.  A message is its number: data[0]. */
extern struct shared {
	alignas(SB_FAR) unsigned char memory[RING_BYTES];
	uint64_t clock_ns;
	volatile bool done;
	volatile uint32_t published[N_MSGS]; /* by the victim, for certain */
	volatile uint32_t finished[N_MSGS];
	volatile uint32_t gave_back;
	uint64_t held[8]; /* positions that the victim starts with */
	int n_held;
} *kr_sh;

/* One experiment. */
extern struct kr {
	struct sb_ring *ring;
	struct sb_ring_end client, stalled, holder, helper, victim, recoverer;
	unsigned int log_n;
	uint64_t first;
	uint32_t batch;
	bool request;
	uint32_t max_attempts;
	uint64_t stalled_pos, holder_pos, head_pos;
	uint32_t stalled_msg, holder_msg, head_msg;
	uint32_t n_msgs;         /* numbers given out to survivors */
	uint64_t pos_of[N_MSGS]; /* where requests of the client lie */
	bool is_request[N_MSGS];
	bool expected[N_MSGS]; /* must be finished exactly once */
	uint32_t n_done[N_MSGS];
	uint32_t n_quarantined;
	bool closed;
	const struct op *op;
	enum state state;
	long *k; /* instructions that the victim, or who recovers it, did */
} kr;

struct row {
	struct tally t;
	_Atomic uint64_t kills;
};

/* The case that this shard is at, and its point. */
extern struct kr_at {
	struct row *row;
	char name[80];
	long k, j; /* j: of the recovery; -1: that is not killed */
} kr_at;

/* It is not as it should be: BAD(lost, "a message was lost"). */
#define BAD(field, msg) kr_bad(offsetof(struct tally, field), msg)

void kr_bad(size_t what, const char *msg);

/* ------------------------------------------------------- kill_ring_sim.c -- */

/* Each look at it is most of the patience of a consumer, so that the number of
 * instructions is the same each time. */
uint64_t kr_now_ns(void);

/* ------------------------------------------------------- kill_ring_ops.c -- */

/* Those after which others find something else. */
void kr_do_get(void);
void kr_do_collect(void);
void kr_do_abort(void);
void kr_do_recover(void);

/* ---------------------------------------------------- kill_ring_set_up.c -- */

uint64_t kr_n_slots(void);
volatile uint64_t *kr_data_of(uint64_t pos);
uint64_t kr_answer_to(uint64_t i);

/* As often as a survivor would.  What the ring says. */
int kr_take_one(struct sb_ring_end *e, uint64_t *pos);
bool kr_send(struct sb_ring_end *e, uint32_t i, uint64_t *pos);

uint32_t kr_client_publishes(uint64_t pos);

/* A message of ours, or of the victim's, is at @pos: finish it. */
void kr_finish(struct sb_ring_end *e, uint64_t pos);

/* All that come out, and the answers. */
void kr_drain(void);

/* A new ring, and then one in @state. */
void kr_set_up(const struct op *op, unsigned int log_n, uint64_t first);
void kr_prepare(enum state state);

/* Those that only stalled go on. */
void kr_unstall(enum state state);

/* ----------------------------------------------------- kill_ring_after.c -- */

/* The victim is dead.  Do the others get along? */
void kr_survive(void);

#endif
