/*
 * pace.h - do not breathe down a writer's neck
 *
 * A reader that keeps up with a stream looks at the line that is being
 * written, and takes it away from the writer with every look: a transfer of
 * the line for each message, where one serves several if the reader lags a
 * little.  So it pauses when it finds nothing, as long as that pays: longer
 * when there was more than one message after the last pause, shorter when
 * there was one.  A reader of single messages, as in a round trip, does not
 * pause at all.
 */
#ifndef BUS_PACE_H
#define BUS_PACE_H

#include "lib/atomics.h"

/* Longest pause, in steps of sb_relax(): about a microsecond. */
#define BUS_PACE_MAX 32u

struct bus_pace {
	uint32_t steps;
};

SB_INLINE void bus_pace_pause(uint32_t steps)
{
	for (uint32_t i = 0; i < steps; i++)
		sb_relax();
}

/* A message came after a wait, with or without a pause: is there @more? */
SB_INLINE void bus_pace_learn(struct bus_pace *p, bool more)
{
	if (!more)
		p->steps /= 2;
	else if (p->steps < BUS_PACE_MAX)
		p->steps = p->steps * 2 + 1;
}

#endif
