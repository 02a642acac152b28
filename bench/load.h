/*
 * load.h - the workloads: each runs one round of one transport
 *
 * They never return an error: the outcome has it.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/transport.h"

/* One producer, one consumer, messages of any size, by copy or by loan. */
void load_stream(const struct transport *transport, const struct spec *spec,
		 struct outcome *out);

/* Two processes that both send and receive. */
void load_duplex(const struct transport *transport, const struct spec *spec,
		 struct outcome *out);

/* mpmc: many producers and consumers; stream with many messages a call. */
void load_queue(const struct transport *transport, const struct spec *spec,
		struct outcome *out);

/* The same with readers that are killed at random. */
void load_mortal(const struct transport *transport, const struct spec *spec,
		 struct outcome *out);

/* One request outstanding, its answer awaited: the round trip. */
void load_rtt(const struct transport *transport, const struct spec *spec,
	      struct outcome *out);

/* A coordinator that keeps many requests outstanding to its workers. */
void load_farm(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* A pool, in one of the ways to hand it tasks; or bare requests, as farm. */
void load_pool(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* A worker is killed in the middle of a request. */
void load_recover(const struct transport *transport, const struct spec *spec,
		  struct outcome *out);

/* One way to a receiver that has been idle for 15 ms. */
void load_wake(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* Processor time of a reader (workers 0) or of workers that have nothing to
 * do. */
void load_idle(const struct transport *transport, const struct spec *spec,
	       struct outcome *out);

/* The one that spec->load says, after a fresh outcome was made, in which only
 * all_ns is kept. */
void load_run(const struct transport *transport, const struct spec *spec,
	      struct outcome *out);

#endif
