/*
 * walk.h - bring a victim to where it is to be killed or stopped
 *
 * The first run of a case is by single steps from beginning to end, and notes
 * where the victim is after each.  After that a point is come to by a
 * breakpoint and a few steps, see t_step_on(), which is a hundred times faster;
 * if that leads elsewhere, because the victim meets others in another state
 * than when it was measured, it is done once more by steps.
 */
#ifndef TORTURE_WALK_H
#define TORTURE_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/step.h"

extern struct walk {
	/* Of each point: */
	pid_t victim;
	const _Atomic uint32_t *over; /* has it left the operation? */
	/* It waits, for the @n-th tick: do what it waits for.  T_STEPPED to
	 * wait on, anything else ends the walk. */
	enum t_stop (*help)(uint32_t n);
	void (*stopped)(void); /* ... each time that it stands still; or NULL */
	bool may_end;          /* by itself: a worker */

	/* Of the case: */
	long len;     /* instructions of the operation, */
	uint64_t *pc; /* and where the victim is after each */

	bool by_steps;
	bool there; /* the last walk came to where it should */
} walk;

/* No operation has more than @max instructions; once a process. */
void walk_init(long max);
void walk_free(void);

/* The next walk is the first of a case. */
void walk_forget(void);

/*
 * walk_to - until @k instructions are done, @from of which already are
 *
 * The last may block.  The first walk of a case goes to the end, whatever @k.
 * Returns how it has stopped.  There must be ticks meanwhile.
 */
enum t_stop walk_to(long from, long k);

/* Until @k are done, of which the last is not special. */
enum t_stop walk_half(long k);

/* The distance of some @n points of the case, with --full of all. */
long walk_stride(uint32_t n);

/*
 * walk_point - make point @k by @run, which says whether it came there; if not,
 * once more by steps
 *
 * False when that led elsewhere, too.
 */
bool walk_point(bool (*run)(long k), long k);

#endif
