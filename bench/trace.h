/*
 * trace.h - how many system calls a message takes
 *
 * Counted in a round of its own, as counting would disturb the clock.
 */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stddef.h>

#include "bench/transport.h"

/*
 * Run a round of @transport and count.  Returns the system calls of all its
 * processes for each message, NAN when there is no saying; if it cannot be
 * counted here at all, @why says it, else it is empty.
 */
double trace_round(const struct transport *transport, const struct spec *spec,
		   char *why, size_t why_bytes);

#endif
