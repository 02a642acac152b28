/*
 * kill_bus.h - a point of bustorture's kill/bus, as the parts of it know it
 *
 *	kill_bus.c         what it is; a point from beginning to end; the cases
 *	kill_bus_ops.c     the operations in which a victim is killed
 *	kill_bus_coord.c   coordinators and workers, victims or not
 *	kill_bus_set_up.c  messages, the processes, and how they get ready
 *	kill_bus_after.c   the survivors after the death, and what is left
 */
#ifndef TORTURE_KILL_BUS_H
#define TORTURE_KILL_BUS_H

#include "bus/bus.h"
#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define N_MSGS     64
#define VICTIM_MSG 32 /* numbers of the victim's messages start here */
#define HELP_MSG   48 /* ... and of those that unblock it */
#define PEER_MSG   60
#define EXTRA_MSG  61
#define OTHER_MSG  62
#define SMALL      16u
#define BIG        600u /* in a cell */
#define N_MANY     4    /* in one call */
#define MAX_EP     6
#define N_BIG      4u /* cells of the largest class, see kb_bus_settings() */

enum state { EMPTY, ONE, FULL, WRAP, N_STATES };

enum peer { POLL, FUTEX, URING, N_PEERS };

enum sleep_in { NOWHERE, GET, PUT, JOIN };

/* of a message: by its writer, and by the victim as a reader */
enum { NOT, BEGUN, DONE };

enum { UNTOUCHED, HELD, FINISHING, FINISHED };

/* What a handler answers with. */
enum { INLINE, ERROR, LARGE };

struct op {
	const char *name;
	uint32_t states; /* bit set of enum state */
	uint32_t n_slots;
	uint32_t flags; /* of the queue */
	uint32_t len;   /* of its messages */
	void (*before)(void);
	void (*fn)(void);
	/* in which call a peer sleeps, by state; nowhere: only polled */
	enum sleep_in sleep_in[N_STATES];
	/* the victim is a worker of a client */
	bool worker;
	bool pair; /* of two workers */
	uint32_t kind;
	uint32_t request_len;
	uint32_t max_attempts;
	bool many;   /* requests in one call, and workers that prefetch */
	bool coord;  /* the victim is a coordinator */
	bool reaps;  /* it recovers another that is dead */
	bool drops;  /* messages may be dropped */
	bool closes; /* the queue */
	bool named;  /* on a bus of the file system; is it made before? */
	bool made;
};

/* All of them. */
extern const struct op kb_ops[];
extern const uint32_t kb_n_ops;

/* Of one point, seen by all its processes. */
struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, go, over;
	_Atomic uint32_t put[N_MSGS], fin[N_MSGS];
	_Atomic uint32_t n_got[N_MSGS];
	_Atomic uint32_t wrong;
	_Atomic uint32_t getting; /* the victim is in a get */
	_Atomic uint32_t n_held;  /* messages that it got before */
	unsigned char buf[4][BIG];
	_Atomic uint32_t peer_ready, peer_done;
	_Atomic int32_t peer_ret;
	_Atomic uint32_t submitted, client_ready, client_done;
	_Atomic uint32_t n_inits, init_id[2];
	_Atomic uint32_t had_victim;
	_Atomic uint32_t n_answers[N_MANY];
	_Atomic uint32_t n_entered; /* handlers of the victim */
	_Atomic uint32_t n_blamed;
};

struct row {
	struct tally t;
	_Atomic uint64_t ns, longest, elsewhere;
};

/* Of the point that this shard is at; in its processes, too. */
extern struct kb {
	const struct op *op;
	enum state state;
	enum peer peer;
	struct row *row;
	pid_t peer_pid, client;
	bool our_child;
	uint32_t n_unblocked;

	struct shared *sh;
	struct bus *bus;
	struct bus_queue *q;
	struct bus_coord *coord;
	unsigned char big[8][BIG]; /* messages made beforehand */
} kb;

/* -------------------------------------------------------- kill_bus_ops.c -- */

/* Something of everything that one can hold. */
void kb_hold(void);

/* Those with which others have to do something besides. */
void kb_do_attach(void);
void kb_do_close_named(void);
void kb_do_create(void);
void kb_do_join(void);
void kb_do_open_queue(void);

/* ------------------------------------------------------ kill_bus_coord.c -- */

void kb_start_coord(void);
int kb_handler(void *ctx, const void *req, size_t len, struct bus_reply *reply);

/* The coordinator whose worker is the victim, and how many requests it has. */
int kb_client_main(void *arg);
uint32_t kb_n_requests(void);

/* Where the coordinator is the victim. */
void kb_do_requests(void);
void kb_do_many(void);
void kb_before_stop(void);
void kb_do_stop(void);

/* ----------------------------------------------------- kill_bus_set_up.c -- */

void kb_write_message(unsigned char *to, uint32_t len, uint64_t i);

/* Its number, or N_MSGS when it is garbage. */
uint64_t kb_read_message(const unsigned char *from, size_t len);

/* Ours or the peer's, and noted. */
int kb_put_message(uint64_t i, int64_t timeout_ns);
int kb_get_message(int64_t timeout_ns);

struct bus_config kb_bus_settings(void);

/* Stop here until the tracer has us; then every instruction counts. */
void kb_ready_to_die(void);

/* Everybody is where the operation begins, and the victim is seized. */
void kb_set_up(void);

/* ------------------------------------------------------ kill_bus_after.c -- */

/* Others go on before anybody knows of a death, or even before it. */
void kb_unaware(void);

/* All that is to be done and looked at when the victim is dead. */
void kb_survive(void);

#endif
