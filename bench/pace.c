/*
 * pace.c - wait until a message is to be sent
 *
 * Asleep while there is time, then awake: a sleeper is late by what a wake-up
 * takes, and a rate has intervals that are shorter than that.
 */
#include "config.h"

#include <sys/prctl.h>

#include "bench/pace.h"
#include "bench/tick.h"

#define AWAKE_NS 100000ull        /* before the time */
#define SLICE_NS (10 * NS_PER_MS) /* between two looks at stop */

static void sleep_towards(uint64_t left_ns)
{
	static bool exact;

	if (!exact) /* timers may be late by 50 us otherwise */
		exact = prctl(PR_SET_TIMERSLACK, 1) == 0;
	left_ns -= AWAKE_NS;
	sleep_ns(left_ns < SLICE_NS ? left_ns : SLICE_NS);
}

bool pace_wait(const struct pace *pace, uint64_t seq,
	       const _Atomic uint32_t *stop)
{
	uint64_t due_ns = pace_due(pace, seq), now;

	while ((now = now_ns()) < due_ns) {
		if (atomic_load_explicit(stop, memory_order_relaxed))
			return false;
		if (due_ns - now > AWAKE_NS)
			sleep_towards(due_ns - now);
#if defined(__x86_64__)
		else
			__builtin_ia32_pause();
#endif
	}
	return true;
}
