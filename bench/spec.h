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
	LOAD_WAKE,
	LOAD_IDLE,
	LOAD_N
};

#define LOAD_BIT(load) (1u << (load))
#define LOAD_ALL       (LOAD_BIT(LOAD_N) - 1u)
/* Those that need no more of a transport than lanes. */
#define LOAD_LANES     (LOAD_ALL & ~LOAD_BIT(LOAD_DUPLEX))
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

extern const char *const load_names[LOAD_N];
extern const char *const wait_names[WAIT_N];

#define MAX_PROCESSES 64 /* producers, consumers or workers */
#define MAX_BATCH     4096
#define MAX_INFLIGHT  65536
#define MAX_BYTES     (16u << 20)

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
	double seconds;   /* of one round */

	/* What our queue takes for this size by default.  A ring that is
	 * compared with it gets the same memory, because the footprint of a
	 * ring decides how fast it is. */
	uint32_t n_slots;
	uint32_t slot_bytes;

	/* What our pipe has in one direction; likewise. */
	uint64_t pipe_bytes;
};

#endif
