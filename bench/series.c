/*
 * series.c - the rounds of one entry one by one, in the order of time
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "bench/series.h"

int series_open(struct series *series, unsigned n_max)
{
	*series = (struct series){
		.value = calloc(n_max, sizeof(double)),
		.pingpong_ns = calloc(n_max, sizeof(double)),
		.regime = calloc(n_max, sizeof(enum regime)),
		.round = malloc(sizeof(struct hist)),
	};
	if (!series->value || !series->pingpong_ns || !series->regime ||
	    !series->round) {
		series_close(series);
		return -ENOMEM;
	}
	hist_init(series->round);
	return 0;
}

void series_close(struct series *series)
{
	free(series->value);
	free(series->pingpong_ns);
	free(series->regime);
	free(series->round);
	for (unsigned i = 0; i < REGIME_N; i++)
		free(series->hist[i]);
	*series = (struct series){ .n = 0 };
}

/* A histogram is large, and most workloads have none. */
static int keep_latencies(struct series *series, enum regime regime)
{
	struct hist *hist = series->hist[regime];

	if (!series->round->n)
		return 0;
	if (!hist) {
		hist = malloc(sizeof(*hist));
		if (!hist)
			return -ENOMEM;
		hist_init(hist);
		series->hist[regime] = hist;
	}
	hist_merge(hist, series->round);
	hist_init(series->round);
	return 0;
}

int series_add(struct series *series, double value, double pingpong_ns,
	       enum regime regime)
{
	if (keep_latencies(series, regime) < 0)
		return -ENOMEM;
	series->value[series->n] = value;
	series->pingpong_ns[series->n] = pingpong_ns;
	series->regime[series->n] = regime;
	series->n++;
	return 0;
}

const struct hist *series_hist(const struct series *series, enum regime regime)
{
	if (!series->round || regime_is_known(regime))
		return series->hist[regime];
	hist_init(series->round);
	for (unsigned i = 0; i < REGIME_N; i++)
		if (series->hist[i])
			hist_merge(series->round, series->hist[i]);
	return series->round;
}
