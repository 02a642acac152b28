/*
 * fuzz.h - what the fuzz targets share: reading the input, counting steps
 *
 * A target is a program of one function, LLVMFuzzerTestOneInput().  The bytes
 * that it is given are a little program: calls of ours, and between them what
 * a hostile peer writes into the shared memory.  `make fuzz` links the targets
 * with libFuzzer and ASan and lets it search; `make check` links them with
 * replay.c, for any compiler, and runs what is in corpus/.
 *
 * The library is compiled anew for them, with world.h before each source.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/def.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of the input; zeros behind its end. */
struct fuzz_in {
	const uint8_t *at, *end;
};

SB_INLINE bool fuzz_more(const struct fuzz_in *in)
{
	return in->at < in->end;
}

SB_INLINE uint64_t fuzz_bytes(struct fuzz_in *in, size_t n)
{
	uint64_t v = 0;
	size_t left = (size_t)(in->end - in->at);

	if (n > left)
		n = left;
	memcpy(&v, in->at, n); /* the corpus was made on little endian */
	in->at += n;
	return v;
}

SB_INLINE uint32_t fuzz_u8(struct fuzz_in *in)
{
	return (uint32_t)fuzz_bytes(in, 1);
}

/* A number of any size: mostly small, or near a power of two. */
uint64_t fuzz_number(struct fuzz_in *in);

/* Read every byte: ASan looks whether they are ours. */
void fuzz_touch(const void *p, size_t n);

/* What must hold whatever a peer writes. */
#define FUZZ_CHECK(cond)                                                       \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__,       \
				__LINE__, #cond);                              \
			abort();                                               \
		}                                                              \
	} while (0)

/* One call of ours begins: from here on it may take this many steps. */
#define FUZZ_STEPS_MAX 2000000u
void fuzz_begin(void);

/* Memory that ASan guards on both sides, zeroed, for a segment. */
void *fuzz_segment(size_t bytes);

/*
 * From fuzz_freeze() on the library's private memory and its segments are
 * brought back to what they were by each fuzz_thaw(), and what it allocates
 * meanwhile is gone.
 */
void fuzz_freeze(void);
void fuzz_thaw(void);

/* What bus_open() finds, under whatever name. */
void fuzz_file(const void *bytes, size_t n);

#endif
