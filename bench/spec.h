/*
 * spec.h - what one measurement is to be: the load and its numbers
 */
#ifndef BENCH_SPEC_H
#define BENCH_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum load {
	LOAD_RTT,
	LOAD_STREAM,
	LOAD_DUPLEX,
	LOAD_MPMC,
	LOAD_FARM,
	LOAD_POOL,
	LOAD_WAKE,
	LOAD_RECOVER,
	LOAD_IDLE,
	LOAD_N
};

#define LOAD_BIT(load) (1u << (load))
#define LOAD_ALL       (LOAD_BIT(LOAD_N) - 1u)
/* Those for which a transport must be a pool of workers, or have one. */
#define LOAD_POOLS     (LOAD_BIT(LOAD_POOL) | LOAD_BIT(LOAD_RECOVER))
/* Those that need no more of a transport than lanes. */
#define LOAD_LANES     (LOAD_ALL & ~LOAD_BIT(LOAD_DUPLEX) & ~LOAD_POOLS)
/* Those whose messages have any size. */
#define LOAD_SIZED                                                             \
	(LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_DUPLEX) | LOAD_BIT(LOAD_MPMC) | \
	 LOAD_BIT(LOAD_WAKE) | LOAD_BIT(LOAD_IDLE))

/* How our endpoints wait; rivals wait in the one way they have. */
enum wait_kind {
	WAIT_SPIN,     /* never sleep */
	WAIT_ADAPTIVE, /* spin while cores are free, then sleep */
	WAIT_URING,    /* sleep at once, in io_uring */
	WAIT_FUTEX,    /* sleep at once, in futex(2) */
	WAIT_N
};

/* In what way tasks are handed to a pool. */
enum method {
	METHOD_APPLY,  /* one, and wait for its result */
	METHOD_SUBMIT, /* many outstanding, a future each */
	METHOD_MAP,    /* an array */
	METHOD_IMAP,   /* what a source says, results in its order */
	METHOD_IMAP_UNORDERED,
	METHOD_FARM, /* no pool: bare requests, the yardstick */
	METHOD_N
};

#define METHOD_BIT(method) (1u << (method))

extern const char *const load_names[LOAD_N];
extern const char *const method_names[METHOD_N];
extern const char *const wait_names[WAIT_N];

#define MAX_PROCESSES 64 /* producers, consumers or workers */
#define MAX_BATCH     4096
#define MAX_INFLIGHT  65536
#define MAX_BYTES     (16u << 20)
#define MAX_SLOTS     (1u << 20)
#define MAX_ITEMS     (1u << 24) /* of a map */

struct shares;

struct spec {
	enum load load;
	size_t bytes;
	unsigned producers;
	unsigned consumers;
	unsigned workers; /* 0 where there are producers and consumers */
	unsigned batch;
	unsigned inflight;
	enum wait_kind wait;
	bool pin;
	bool loan;        /* stream: written and read in place */
	unsigned variant; /* of transports that share their code: which */

	/* pool */
	enum method method;
	size_t chunk; /* items a task; 0: the default */
	size_t items; /* map: elements of the array */

	/* Messages a second, each at its intended time; 0: as fast as can be.
	 * Of rtt, stream and farm. */
	double rate;

	double kills_per_s; /* of workers or readers, at random; 0: none */

	struct shares *shares; /* where workers count; NULL: nowhere */

	double warm_seconds; /* of one round, before */
	double seconds;      /* those that count */

	unsigned slots; /* of our queue, as asked for; 0: the default */

	/* What our queue takes then for this size.  A ring that is compared
	 * with it gets the same memory, because the footprint of a ring decides
	 * how fast it is. */
	uint32_t n_slots;
	uint32_t slot_bytes;

	/* What our pipe has in one direction; likewise. */
	uint64_t pipe_bytes;
};

#endif
