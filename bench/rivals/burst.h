/*
 * burst.h - requests and answers over two lanes, many at a time
 *
 * As calls.c, for transports whose strength are bursts: the coordinator keeps
 * requests back until there are as many as a burst has, or until it looks for
 * answers; a worker answers together what it took together.
 */
#ifndef BENCH_RIVALS_BURST_H
#define BENCH_RIVALS_BURST_H

#include "bench/transport.h"

#define BURST_MAX 170 /* requests; they are within PIPE_BUF */

/* As call_ops.open, over lanes of @transport, which can tell without waiting
 * whether something is there.  The rest of call_ops: */
int burst_open(const struct transport *transport, unsigned burst,
	       const struct spec *spec, struct calls **calls,
	       struct outcome *out);
void burst_close(struct calls *calls);
int burst_serve(struct calls *calls);
int burst_start(struct calls *calls);
int burst_submit(struct calls *calls, uint64_t id, uint64_t a, uint64_t b,
		 bool wait);
int burst_collect(struct calls *calls, uint64_t *id, uint64_t *product,
		  bool wait);
int burst_stop(struct calls *calls);

#define BURST_CALLS                                                            \
	.close = burst_close, .serve = burst_serve, .start = burst_start,      \
	.submit = burst_submit, .collect = burst_collect, .stop = burst_stop

#endif
