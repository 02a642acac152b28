/*
 * hist.c - a histogram of nanoseconds with three digits
 *
 * The value v with its highest bit at b lies in counter
 *
 *	b <= 10		v
 *	b > 10		(b - 10) * 1024 + (v >> (b - 10))
 *
 * where the second term is between 1024 and 2047: the first octave fills two
 * halves, each further one a half.
 */
#include "config.h"

#include <string.h>

#include "bench/hist.h"

static unsigned shift_of(uint64_t value)
{
	return value < 2 * HIST_HALF
		       ? 0
		       : 63u - (unsigned)__builtin_clzll(value) - 10u;
}

static unsigned index_of(uint64_t value)
{
	unsigned shift = shift_of(value);

	return shift * HIST_HALF + (unsigned)(value >> shift);
}

/* The largest value that counts in @idx. */
static uint64_t upper_value(unsigned idx)
{
	unsigned shift = idx < 2 * HIST_HALF ? 0 : idx / HIST_HALF - 1;
	uint64_t step = idx - shift * HIST_HALF;

	return ((step + 1) << shift) - 1;
}

void hist_init(struct hist *hist)
{
	memset(hist, 0, sizeof(*hist));
	hist->min = UINT64_MAX;
}

void hist_add_many(struct hist *hist, uint64_t value, uint64_t n)
{
	if (value >> HIST_BITS)
		value = (1ull << HIST_BITS) - 1;
	if (value < hist->min)
		hist->min = value;
	if (value > hist->max)
		hist->max = value;
	hist->n += n;
	hist->count[index_of(value)] += n;
}

void hist_add(struct hist *hist, uint64_t value)
{
	hist_add_many(hist, value, 1);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	into->n += from->n;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned i = 0; i < HIST_N; i++)
		into->count[i] += from->count[i];
}

uint64_t hist_quantile(const struct hist *hist, double q)
{
	uint64_t rank = (uint64_t)(q * (double)hist->n + 0.999999);
	uint64_t seen = 0;

	if (!hist->n)
		return 0;
	if (rank < 1)
		rank = 1;
	for (unsigned i = 0; i < HIST_N; i++) {
		seen += hist->count[i];
		if (seen >= rank) {
			uint64_t value = upper_value(i);

			return value < hist->max ? value : hist->max;
		}
	}
	return hist->max;
}

bool hist_next(const struct hist *hist, unsigned *idx, struct hist_step *step)
{
	while (*idx < HIST_N && !hist->count[*idx])
		++*idx;
	if (*idx == HIST_N)
		return false;
	*step = (struct hist_step){
		.lower = *idx ? upper_value(*idx - 1) + 1 : 0,
		.upper = upper_value(*idx),
		.count = hist->count[*idx],
	};
	++*idx;
	return true;
}

struct quantiles hist_quantiles(const struct hist *hist)
{
	return (struct quantiles){
		.min = hist->n ? hist->min : 0,
		.p50 = hist_quantile(hist, 0.5),
		.p90 = hist_quantile(hist, 0.9),
		.p99 = hist_quantile(hist, 0.99),
		.p999 = hist_quantile(hist, 0.999),
		.max = hist->max,
	};
}
