/*
 * account.c - what one side of a channel got, against what was sent
 */
#include "config.h"

#include "bench/account.h"

void account_run(struct tally *tally, uint64_t first_key, uint64_t n)
{
	unsigned __int128 m = n, first = first_key;
	unsigned __int128 seqs = m ? m * (m - 1) / 2 : 0;
	unsigned __int128 seqs2 = m ? (m - 1) * m / 2 * (2 * m - 1) / 3 : 0;

	tally->n += n;
	tally->sum += (uint64_t)(m * first + seqs);
	tally->sum_squares +=
		(uint64_t)(m * first * first + 2 * first * seqs + seqs2);
}

void account_add(struct tally *tally, const struct tally *from)
{
	tally->n += from->n;
	tally->sum += from->sum;
	tally->sum_squares += from->sum_squares;
	tally->lost += from->lost;
	tally->dup += from->dup;
	tally->disorder += from->disorder;
	tally->wrong += from->wrong;
}

void account_compare(const struct tally *sent, const struct tally *got,
		     struct outcome *out)
{
	out->wrong += got->wrong;
	out->disorder += got->disorder;
	if (sent->n > got->n) {
		out->lost += sent->n - got->n;
	} else if (sent->n < got->n) {
		out->dup += got->n - sent->n;
	} else if (!got->wrong && (sent->sum != got->sum ||
				   sent->sum_squares != got->sum_squares)) {
		/* at least; the count is even */
		out->lost++;
		out->dup++;
	}
}
