/*
 * shares.c - how much each worker did
 */
#include "config.h"

#include <math.h>
#include <unistd.h>

#include "bench/shares.h"

/* There are as many as were taken at once. */
static void note_place(struct shares *shares, uint32_t idx)
{
	uint32_t n = atomic_load(&shares->n_places);

	while (n <= idx &&
	       !atomic_compare_exchange_weak(&shares->n_places, &n, idx + 1))
		;
}

struct share *shares_take(struct shares *shares)
{
	static struct share nobody;

	for (uint32_t i = 0; shares && i < MAX_PROCESSES; i++) {
		int32_t free = 0;

		if (!atomic_compare_exchange_strong(&shares->place[i].pid,
						    &free, getpid()))
			continue;
		note_place(shares, i);
		return &shares->place[i];
	}
	return &nobody;
}

void shares_leave(struct share *share, int32_t pid)
{
	atomic_compare_exchange_strong(&share->pid, &pid, 0);
}

uint64_t shares_sum(const struct shares *shares)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MAX_PROCESSES; i++)
		sum += atomic_load(&shares->place[i].n);
	return sum;
}

struct fairness fairness_of(const uint64_t *values, unsigned n)
{
	struct fairness fairness = { .n = n };
	double squares = 0;

	if (!n)
		return fairness;
	fairness.min = fairness.max = (double)values[0];
	for (unsigned i = 0; i < n; i++) {
		double value = (double)values[i];

		fairness.mean += value / n;
		fairness.min = fmin(fairness.min, value);
		fairness.max = fmax(fairness.max, value);
	}
	for (unsigned i = 0; i < n; i++) {
		double d = (double)values[i] - fairness.mean;

		squares += d * d;
	}
	fairness.stddev = sqrt(squares / n);
	return fairness;
}

struct fairness shares_fairness(const struct shares *shares)
{
	uint64_t values[MAX_PROCESSES];
	unsigned n = atomic_load(&shares->n_places);

	if (n > MAX_PROCESSES)
		n = MAX_PROCESSES;
	for (unsigned i = 0; i < n; i++)
		values[i] = atomic_load(&shares->place[i].n);
	return fairness_of(values, n);
}
