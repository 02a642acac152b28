/*
 * stats.c - are two series of rounds different, and by how much?
 *
 * If both series come from one distribution, each choice of n_a of all ranks
 * is as likely as any other to be those of the first.  How many choices have
 * which sum is counted rank by rank: n[k][s] choices of k ranks with the sum
 * s, where adding the rank r makes n[k + 1][s + r] more.  Equal values share
 * the mean of their ranks, so ranks are counted in halves.
 */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stats.h"

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double middle(const double *sorted, size_t n)
{
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double stats_median(const double *values, unsigned n)
{
	double *sorted = malloc(n * sizeof(*sorted)), median;

	if (!sorted)
		return NAN;
	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_size);
	median = middle(sorted, n);
	free(sorted);
	return median;
}

/* Ranks -------------------------------------------------------------------- */

struct ranked {
	double value;
	unsigned rank2; /* twice its rank, from 1 */
	int first;      /* it is of the first series */
};

static int by_value(const void *a, const void *b)
{
	return by_size(&((const struct ranked *)a)->value,
		       &((const struct ranked *)b)->value);
}

/* Both series in order.  @ties gets the sum of t^3 - t over equal values. */
static struct ranked *rank(const double *a, unsigned n_a, const double *b,
			   unsigned n_b, double *ties)
{
	unsigned n = n_a + n_b;
	struct ranked *all = malloc(n * sizeof(*all));

	if (!all)
		return NULL;
	for (unsigned i = 0; i < n; i++)
		all[i] = (struct ranked){ i < n_a ? a[i] : b[i - n_a], 0,
					  i < n_a };
	qsort(all, n, sizeof(*all), by_value);
	*ties = 0;
	for (unsigned i = 0, end; i < n; i = end) {
		double t;

		for (end = i; end < n && all[end].value == all[i].value; end++)
			;
		t = end - i;
		*ties += t * t * t - t;
		for (unsigned j = i; j < end; j++)
			all[j].rank2 = i + 1 + end; /* (i + 1 .. end), mean */
	}
	return all;
}

/* Exact: the choices ------------------------------------------------------- */

/* How many choices of @k of the ranks have which sum: an array of *size
 * counts.  Malloced, or NULL. */
static double *choices(const unsigned *rank2, unsigned n, unsigned k,
		       size_t *size)
{
	size_t width = (size_t)n * (n + 1) + 1;
	double *count = calloc((k + 1) * width, sizeof(*count));

	*size = width;
	if (!count)
		return NULL;
	count[0] = 1;
	for (unsigned i = 0; i < n; i++)
		for (unsigned chosen = k; chosen-- > 0;)
			for (size_t sum = width - rank2[i]; sum-- > 0;)
				count[(chosen + 1) * width + sum + rank2[i]] +=
					count[chosen * width + sum];
	memmove(count, count + k * width, width * sizeof(*count));
	return count;
}

static double exact_p(const struct ranked *all, unsigned n, unsigned n_a,
		      size_t sum_a)
{
	unsigned rank2[STATS_EXACT];
	double below = 0, above = 0, total = 0, *count, p;
	size_t size;

	for (unsigned i = 0; i < n; i++)
		rank2[i] = all[i].rank2;
	count = choices(rank2, n, n_a, &size);
	if (!count)
		return NAN;
	for (size_t sum = 0; sum < size; sum++) {
		total += count[sum];
		if (sum <= sum_a)
			below += count[sum];
		if (sum >= sum_a)
			above += count[sum];
	}
	free(count);
	p = 2 * (below < above ? below : above) / total;
	return p < 1 ? p : 1;
}

static double normal_p(double n_a, double n_b, double ties, double sum_a)
{
	double n = n_a + n_b;
	double mean = n_a * (n + 1) / 2;
	double variance = n_a * n_b / 12 * (n + 1 - ties / (n * (n - 1)));
	double off = fabs(sum_a - mean) - 0.5;

	if (off <= 0 || variance <= 0)
		return 1;
	return erfc(off / sqrt(2 * variance));
}

double stats_p(const double *a, unsigned n_a, const double *b, unsigned n_b)
{
	unsigned n = n_a + n_b;
	struct ranked *all;
	size_t sum2 = 0;
	double ties, p;

	if (!n_a || !n_b)
		return 1;
	all = rank(a, n_a, b, n_b, &ties);
	if (!all)
		return NAN;
	for (unsigned i = 0; i < n; i++)
		if (all[i].first)
			sum2 += all[i].rank2;
	p = n <= STATS_EXACT ? exact_p(all, n, n_a, sum2)
			     : normal_p(n_a, n_b, ties, (double)sum2 / 2);
	free(all);
	return p;
}

double stats_least_p(unsigned n_a, unsigned n_b)
{
	double choices_of_all = 1;

	for (unsigned i = 1; i <= n_a; i++)
		choices_of_all *= (double)(n_b + i) / i;
	return choices_of_all > 2 ? 2 / choices_of_all : 1;
}

/* The interval ------------------------------------------------------------- */

/* The z that a normal variable exceeds with the probability @part. */
static double normal_quantile(double part)
{
	double low = 0, high = 40;

	for (int i = 0; i < 100; i++) {
		double z = (low + high) / 2;

		if (erfc(z / sqrt(2)) / 2 > part)
			low = z;
		else
			high = z;
	}
	return low;
}

/* How many of the pairs' ratios lie outside at each end: so many that U is
 * less than that with a probability of @part at most. */
static size_t outside_exact(unsigned n_a, unsigned n_b, double part)
{
	unsigned rank2[STATS_EXACT], n = n_a + n_b;
	size_t least = (size_t)n_a * (n_a + 1), outside = 0, size;
	double total = 0, below = 0, *count;

	for (unsigned i = 0; i < n; i++)
		rank2[i] = 2 * (i + 1);
	count = choices(rank2, n, n_a, &size);
	if (!count)
		return 0;
	for (size_t sum = 0; sum < size; sum++)
		total += count[sum];
	for (size_t sum = least; sum < size; sum += 2) {
		below += count[sum];
		if (below > part * total)
			break;
		outside++;
	}
	free(count);
	return outside;
}

static size_t outside_normal(double n_a, double n_b, double part)
{
	double mean = n_a * n_b / 2;
	double sigma = sqrt(n_a * n_b * (n_a + n_b + 1) / 12);
	double k = floor(mean - normal_quantile(part) * sigma - 0.5) + 1;

	return k > 0 ? (size_t)k : 0;
}

/* Nothing to nothing is as much as before. */
static double divide(double value, double by)
{
	return value == by ? 1 : value / by;
}

struct stats_ratio stats_ratio(const double *a, unsigned n_a, const double *b,
			       unsigned n_b, double alpha)
{
	struct stats_ratio result = { NAN, NAN, NAN };
	size_t n = (size_t)n_a * n_b, outside;
	double *ratios;

	if (!n)
		return result;
	ratios = malloc(n * sizeof(*ratios));
	if (!ratios)
		return result;
	for (size_t i = 0; i < n; i++)
		ratios[i] = divide(b[i % n_b], a[i / n_b]);
	qsort(ratios, n, sizeof(*ratios), by_size);
	result.ratio = middle(ratios, n);
	outside = n_a + n_b <= STATS_EXACT
			  ? outside_exact(n_a, n_b, alpha / 2)
			  : outside_normal(n_a, n_b, alpha / 2);
	if (outside > 0) {
		result.low = ratios[outside - 1];
		result.high = ratios[n - outside];
	}
	free(ratios);
	return result;
}
