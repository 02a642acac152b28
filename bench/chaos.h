/*
 * chaos.h - somebody who kills workers, one after the other, at random
 *
 * He is a member of the crew.  Whom he may kill has its pid in a place of the
 * floor's shares, and takes it from there itself by shares_take(); its parent
 * is the floor's owner.  The one who is to end the workers waits for him first,
 * so that whoever leaves by itself is never killed.
 */
#ifndef BENCH_CHAOS_H
#define BENCH_CHAOS_H

#include "bench/run.h"

/* Member; its job is a struct spec. */
int chaos_kill(struct seat *seat);

/* Member: wait until nobody is killed any more.  Returns at once if there is
 * nobody who does. */
void chaos_wait_over(struct seat *seat, const struct spec *spec);

#endif
