/*
 * pingpong.h - the round trip of one cache line between two processors
 *
 * The least that any message between two cores can cost, and the unit in which
 * figures of different minutes can be compared: where virtual machines are
 * moved about, it changes fivefold within seconds.
 */
#ifndef BENCH_PINGPONG_H
#define BENCH_PINGPONG_H

/* Below this the two processors share a cache ("near"). */
#define PINGPONG_FAR_NS 200.0

/* Takes about a millisecond.  NAN when there are not two processors, or when
 * others had them all the time. */
double pingpong_ns(void);

/* "near", "far", or "unknown" for NAN. */
const char *pingpong_regime(double ns);

#endif
