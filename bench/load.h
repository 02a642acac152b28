/*
 * load.h - the workloads: each runs one round of one transport
 *
 * They never return an error: the outcome has it.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/transport.h"

/* stream: one producer, one consumer, any size; mpmc: many. */
void load_queue(const struct transport *transport, const struct spec *spec,
		struct outcome *out);

/* One request outstanding, its answer awaited: the round trip. */
void load_rtt(const struct transport *transport, const struct spec *spec,
	      struct outcome *out);

/* A coordinator that keeps many requests outstanding to its workers. */
void load_farm(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* One way to a receiver that has been idle for 10 ms. */
void load_wake(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* Processor time of a reader (workers 0) or of workers that have nothing to
 * do. */
void load_idle(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* The one that spec->load says, after a fresh outcome was made. */
void load_run(const struct transport *transport, const struct spec *spec,
	      struct outcome *out);

#endif
