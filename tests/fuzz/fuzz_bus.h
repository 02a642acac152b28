/*
 * fuzz_bus.h - a small bus with something of everything, for fuzz targets
 */
#ifndef FUZZ_BUS_H
#define FUZZ_BUS_H

#include "bus/bus.h"
#include "bus/request.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_MESSAGE_MAX  1024u
#define FUZZ_SLOT_BYTES   24u  /* of a queue */
#define FUZZ_RESULT_BYTES 600u /* in a cell */

struct fuzz_bus {
	struct bus *a, *b;             /* two endpoints of one process */
	struct bus_queue *qa, *qb;     /* "q", and */
	struct bus_queue *ja, *jb;     /* "j", joinable */
	struct bus_pipe *pa, *pb;      /* "p", duplex */
	struct bus_pipe *sa, *sb;      /* "s", from a to b */
	struct bus_coord *coord;       /* "w", by a; its worker does nothing */
	struct bus_request_chan serve; /* what a worker of b would have */
	unsigned char *base;
	size_t bytes;
};

/* Make it, with some messages in it. */
void fuzz_bus_make(struct fuzz_bus *f);

/* Give a word of it another value.  Returns where that is. */
size_t fuzz_bus_poke(struct fuzz_in *in, struct fuzz_bus *f);

#endif
