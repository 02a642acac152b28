/*
 * point.h - the point that this process is at, and what is bad about it
 *
 * A process makes one point after the other, so there is one.  Whoever waits
 * does so with a limit, and above all that is a watchdog: a test of what hangs
 * must not hang itself.
 */
#ifndef TORTURE_POINT_H
#define TORTURE_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"
#include "tools/torture/torture.h"

/* Longer than anybody waits for a processor, on a machine that is busy. */
#define POINT_HUNG_NS ((int64_t)(10 * SB_NS_PER_S))

extern struct point {
	struct tally *row; /* counts of this operation */
	char name[64];     /* of the case */
	long k;            /* number of the point */
} point;

/* It is not as it should be: BAD(lost, "message %u", i). */
#define BAD(field, ...) point_bad(offsetof(struct tally, field), __VA_ARGS__)

void point_bad(size_t what, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The points that follow are of this case.  Does anybody want them? */
bool point_case(struct tally *row, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* From now on we are @doing that.  If nothing else is said for two minutes we
 * hang: the verdict is that, and this process ends. */
void point_watch(const char *doing);

/* No watchdog; instead a signal so often, which does nothing but interrupt. */
void point_tick(uint32_t usec);

/* There is no point in going on: says why, and this process ends. */
void point_cannot(const char *what) __attribute__((noreturn));

/* Give way to others for a moment. */
void point_nap(void);

/* Wait until @done, but not longer than @ns, or POINT_HUNG_NS.  Whether it is.
 */
bool point_within(int64_t ns, bool (*done)(void));
bool point_soon(bool (*done)(void));

/* The same where no verdict hangs on it: the machine may be busy.  Does not
 * return when it is not done after a long time. */
void point_until(bool (*done)(void), const char *what);

#endif
