/*
 * pairs.h - pairs of integers, one after the other, from wherever
 *
 * The work that scenarios hand out.  Knows no bus.  A file, a pipe or a
 * terminal gives one pair a line, `a,b`: two 64-bit signed decimal integers;
 * blanks around them, blank lines, comments from # to the end of the line,
 * CR LF, and a last line without an end are all right.  Lines may be of any
 * length, memory is constant.
 */
#ifndef PAIRS_H
#define PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pairs; /* opaque */

struct pair {
	uint64_t line; /* from 1; comments and blank lines count as well */
	int64_t a;
	int64_t b;
	const char *error; /* NULL, or what is wrong with the line: then there
			    * is no pair.  Valid until the next call. */
};

/*
 * pairs_open     - from a file; "-" is standard input
 * pairs_generate - @n random pairs, always the same for the same @seed, whose
 *                  products fit 64 bits
 * pairs_list     - @n pairs that the caller keeps
 *
 * Each returns 0 or -errno.
 */
int pairs_open(const char *path, struct pairs **pairs);
int pairs_generate(uint64_t n, uint64_t seed, struct pairs **pairs);
int pairs_list(const int64_t (*list)[2], size_t n, struct pairs **pairs);
void pairs_close(struct pairs *pairs);

/*
 * pairs_next - the next line that is not blank
 * @wait: false: rather say -EAGAIN than wait for a pipe or a terminal
 *
 * Returns 1, 0 at the end, -EAGAIN, or the -errno of read().
 */
int pairs_next(struct pairs *pairs, struct pair *pair, bool wait);

/* For messages: the path, or <stdin>, <generated>, <demo>. */
const char *pairs_name(const struct pairs *pairs);

/* How much of the input has been read, 0 .. 1; negative if nobody knows. */
double pairs_part(const struct pairs *pairs);

/* The next of a stream of random numbers (splitmix64); *state is the seed. */
uint64_t pairs_random(uint64_t *state);

#endif
