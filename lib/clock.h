/*
 * clock.h - nanoseconds of CLOCK_MONOTONIC, and deadlines
 *
 * Only the monotonic clock: a step of the wall clock must not wake or delay
 * anybody.
 */
#ifndef SB_CLOCK_H
#define SB_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "lib/def.h"

#define SB_NS_PER_US 1000ull
#define SB_NS_PER_MS 1000000ull
#define SB_NS_PER_S  1000000000ull
#define SB_FOREVER   UINT64_MAX /* a deadline that never comes */

SB_INLINE uint64_t sb_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SB_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* The deadline of a call with @timeout_ns: < 0 is without limit. */
SB_INLINE uint64_t sb_deadline(int64_t timeout_ns)
{
	if (timeout_ns < 0)
		return SB_FOREVER;
	uint64_t now = sb_now_ns();
	return (uint64_t)timeout_ns > SB_FOREVER - now
		       ? SB_FOREVER
		       : now + (uint64_t)timeout_ns;
}

SB_INLINE struct timespec sb_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / SB_NS_PER_S),
				  .tv_nsec = (long)(ns % SB_NS_PER_S) };
}

#endif
