/*
 * range.h - numbers as options take them: 64, 4K, 8,64,1K, 1:16, 8:1M:x4
 */
#ifndef BENCH_RANGE_H
#define BENCH_RANGE_H

#include <stddef.h>
#include <stdint.h>

#define MAX_LIST 64

/* Numbers given with commas between them; none: the default. */
struct list {
	unsigned n;
	size_t value[MAX_LIST];
};

/* K, M and G are powers of this: */
#define RANGE_BINARY  1024 /* bytes, slots, counts */
#define RANGE_DECIMAL 1000 /* a second */

/*
 * One number, with or without K, M or G.  @end says where it ends; NULL: it
 * must be all of @text.  Returns 0, -EINVAL (no number) or -ERANGE (more than
 * 64 bits hold).
 */
int range_number(const char *text, unsigned base, uint64_t *value,
		 const char **end);

/*
 * Append what @text says to @list: a number, or a range
 *
 *	FROM:TO		FROM, FROM + 1, ... up to TO
 *	FROM:TO:+STEP	FROM, FROM + STEP, ...
 *	FROM:TO:xFACTOR	FROM, FROM * FACTOR, ...
 *
 * which ends with the last that is not beyond TO.  Returns 0, or
 *   -EINVAL  it is neither
 *   -ERANGE  a number is not from @min to @max, or FROM is beyond TO
 *   -E2BIG   there would be more than MAX_LIST in the list
 */
int range_add(const char *text, unsigned base, size_t min, size_t max,
	      struct list *list);

#endif
