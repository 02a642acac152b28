/*
 * worker.h - what a worker of ours is, be it of a coordinator or of a pool
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/shares.h"
#include "bus/shmbus.h"

/* Workers that may die on a request when they are killed at random. */
#define CHAOS_ATTEMPTS   60
#define CHAOS_BACKOFF_NS 1000

/* A worker begins: takes its place among @shares, and its processor, beside the
 * coordinator's, if processes are pinned. */
void worker_begin(struct shares *shares, bool pinned);

/* The handler: a product of struct operands, counted in the place it took. */
int worker_multiply(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply);

/* The window in which @inflight requests have room: the default, or more. */
uint32_t worker_window(unsigned inflight);

#endif
