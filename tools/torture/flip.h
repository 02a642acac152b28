/*
 * flip.h - a case of bustorture's flip, as the parts of it know it
 *
 *	flip.c        what it is; victims, verdicts, points, cases
 *	flip_ops.c    what a victim does, and what it finds
 *	flip_words.c  which word gets which value
 */
#ifndef TORTURE_FLIP_H
#define TORTURE_FLIP_H

#include "bus/bus.h"
#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define MAX_EP   6
#define SMALL    16u
#define BIG      600u /* in a cell */
#define K_BITS   20   /* of a point are how many instructions ... */
#define N_VALUES 16   /* ... and then comes one of so many values */

enum state { EMPTY, ONE, FULL, N_STATES };

enum kind { QUEUE, JOINABLE, PIPE, REQUEST, COORD };

struct op {
	const char *name;
	enum kind kind;
	uint32_t states;
	uint32_t len;
	void (*before)(void); /* in the victim, not stepped */
	int (*fn)(void);
	bool sleeps; /* it may wait without limit: asleep is an end, too */
	bool dead;   /* another endpoint has died, holding something */
	bool fresh;  /* the victim is not attached before */
	uint32_t channel_bytes;
};

/* All of them. */
extern const struct op flip_ops[];
extern const uint32_t flip_n_ops;

/* Of one point, seen by both processes. */
struct shared {
	_Atomic int32_t victim_pid;
	_Atomic uint32_t seized, done, crashed, worker_crashed;
	_Atomic uint64_t crash_at;
	_Atomic int32_t ret;
	_Atomic uint32_t n_answered, go;
};

struct row {
	struct tally t;
	_Atomic uint64_t ns, longest;
};

/* A word that may be flipped. */
struct word {
	uint32_t off; /* from the segment */
	const char *where;
};

#define N_WORDS   4096
#define N_REACHED 65536u

/* Of the case that this process runs. */
extern struct fl {
	const struct op *op;
	enum state state;
	struct row *row;
	char name[64];
	struct word word[N_WORDS];
	uint32_t n_words, first_own; /* those of the channel come last */

	/* what it reaches, and after how many instructions */
	struct {
		uint32_t off, k;
	} reached[N_REACHED];

	uint32_t n_reached;
	unsigned char *memory, *copy;
	size_t bytes;
	uint64_t *pc;
	long len; /* instructions of the operation */

	struct shared *sh;
	struct bus *bus;
	unsigned char text[2 * BIG];
	unsigned char *guarded; /* ends at a page that nobody may touch */
} fl;

/* ------------------------------------------------------------ flip_ops.c -- */

/* What is there before. */
void flip_fill_queue(void);

/* Of what is too large for the rest of the slots the beginning is there. */
void flip_fill_pipe(void);

/* Two requests, which nobody takes, and no more will come. */
void flip_fill_requests(void);

/* ---------------------------------------------------------- flip_words.c -- */

/* Those of fl.bus, to fl.word. */
void flip_find_words(void);

/* Which word is it that point @at flips, from the segment?  And what is there?
 */
uint64_t flip_offset_of(uint64_t at);
bool flip_is_there(uint64_t at); /* in the segment */
const char *flip_place_of(uint64_t off);

/* Write what point @at says. */
void flip_do(uint64_t at);

#endif
