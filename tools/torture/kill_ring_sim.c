/*
 * kill_ring_sim.c - a ring of our own, which the rest of the program does not
 * use, and a clock for it
 */
#include "config.h"

#include "tools/torture/kill_ring.h"

#define SB_RING_NOW_NS() kr_now_ns()

#include "lib/fence.c"
#include "lib/ring.c"
#include "lib/ring_recover.c"

uint64_t kr_now_ns(void)
{
	return kr_sh->clock_ns += 60000;
}
