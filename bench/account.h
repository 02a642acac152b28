/*
 * account.h - what one side of a channel got, against what was sent
 *
 * Nothing lost and nothing twice is checked with count, sum and sum of squares
 * of the keys, of what was sent against what was received: exact for count
 * and, for sets of this kind, as good as exact for the rest.
 */
#ifndef BENCH_ACCOUNT_H
#define BENCH_ACCOUNT_H

#include "bench/outcome.h"
#include "bench/run.h"

/* One message with @key. */
static inline void account_key(struct tally *tally, uint64_t key)
{
	tally->n++;
	tally->sum += key;
	tally->sum_squares += key * key;
}

/* @n messages with the keys @first, @first + 1, ... */
void account_run(struct tally *tally, uint64_t first, uint64_t n);

/* The counts of @from added to those of @tally. */
void account_add(struct tally *tally, const struct tally *from);

/* Compare what was @sent with what was @got, the sums over all who did. */
void account_compare(const struct tally *sent, const struct tally *got,
		     struct outcome *out);

#endif
