/*
 * series.h - the rounds of one entry one by one, in the order of time
 *
 * The table shows the round in the middle.  Result files keep all of them, so
 * that two runs can be compared later, and the latencies of those rounds
 * together that the figures are of.
 */
#ifndef BENCH_SERIES_H
#define BENCH_SERIES_H

#include "bench/hist.h"
#include "bench/rounds.h"

struct series {
	unsigned n;
	double *value;       /* result_value() of each round */
	double *pingpong_ns; /* just before it; NAN if not known */
	enum regime *regime; /* it was in */
	struct hist *round;  /* latencies of the round that is running; then
			      * whatever series_hist() returns */
	struct hist *hist[REGIME_N]; /* of all rounds; NULL: none */
};

/* Room for @n_max rounds.  Returns 0 or -ENOMEM; then it is as if closed. */
int series_open(struct series *series, unsigned n_max);
void series_close(struct series *series);

/* A round has ended, with its latencies in @series->round, which is empty
 * again after this.  Returns 0 or -ENOMEM. */
int series_add(struct series *series, double value, double pingpong_ns,
	       enum regime regime);

/* Latencies of all rounds of @regime; of all there are where it is neither near
 * nor far.  NULL: there are none. */
const struct hist *series_hist(const struct series *series, enum regime regime);

#endif
