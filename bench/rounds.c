/*
 * rounds.c - what several rounds say together
 *
 * The interval of the median is that of order statistics, which supposes
 * nothing about the distribution: each value is as likely above the true
 * median as below it.  So the k-th smallest of n is above it as often as a fair
 * coin shows fewer than k heads in n throws, and the k-th largest likewise
 * below it.  k is the largest for which both together happen in 5 % at most.
 *
 * The trend is Kendall's: of all pairs of rounds, in how many is the later one
 * better.
 */
#include "config.h"

#include <math.h>

#include "bench/pingpong.h"
#include "bench/rounds.h"

/* A ping-pong that goes over the border by less than this has not moved. */
#define MOVED 1.25

/* 97.5 % of a normal distribution; a drift below this part is none. */
#define Z     1.96
#define DRIFT 0.1

#define MIN_TREND 5

enum regime regime_of(double before_ns, double after_ns)
{
	bool far_before, far_after;

	if (isnan(before_ns) || isnan(after_ns))
		return REGIME_UNKNOWN;
	far_before = before_ns >= PINGPONG_FAR_NS;
	far_after = after_ns >= PINGPONG_FAR_NS;
	if (far_before != far_after &&
	    fmax(before_ns, after_ns) > MOVED * fmin(before_ns, after_ns))
		return REGIME_MIXED;
	return (before_ns + after_ns) / 2 < PINGPONG_FAR_NS ? REGIME_NEAR
							    : REGIME_FAR;
}

const char *regime_name(enum regime regime)
{
	static const char *const names[REGIME_N] = {
		[REGIME_NEAR] = "near",
		[REGIME_FAR] = "far",
		[REGIME_MIXED] = "mixed",
		[REGIME_UNKNOWN] = "unknown",
	};

	return names[regime];
}

enum regime regime_most(const unsigned n[REGIME_N])
{
	if (n[REGIME_NEAR] || n[REGIME_FAR])
		return n[REGIME_FAR] > n[REGIME_NEAR] ? REGIME_FAR
						      : REGIME_NEAR;
	return n[REGIME_MIXED] > n[REGIME_UNKNOWN] ? REGIME_MIXED
						   : REGIME_UNKNOWN;
}

bool median_interval(unsigned n, unsigned *low, unsigned *high)
{
	double heads = pow(0.5, n); /* probability of exactly k heads */
	double fewer = 0;           /* of less than k + 1 */
	unsigned k = 0;

	while (fewer + heads <= 0.025 && k < n / 2) {
		fewer += heads;
		heads *= (double)(n - k) / (k + 1);
		k++;
	}
	if (!k)
		return false;
	*low = k - 1;
	*high = n - k;
	return true;
}

/* Mean of those from @from on to before @to. */
static double mean(const double *values, unsigned from, unsigned to)
{
	double sum = 0;

	for (unsigned i = from; i < to; i++)
		sum += values[i];
	return sum / (to - from);
}

bool is_warming_up(const double *values, unsigned n, bool more_is_better)
{
	double sign = more_is_better ? 1 : -1, first, last;
	double spread = sqrt((double)n * (n - 1) * (2 * n + 5) / 18);
	long better = 0;

	if (n < MIN_TREND)
		return false;
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = i + 1; j < n; j++) {
			double d = (values[j] - values[i]) * sign;

			better += d > 0 ? 1 : d < 0 ? -1 : 0;
		}
	first = mean(values, 0, n / 3);
	last = mean(values, n - n / 3, n);
	return (double)(better - 1) > Z * spread && first > 0 &&
	       (last - first) * sign > DRIFT * first;
}
