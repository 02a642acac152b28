/*
 * coverage.h - counters of children that end by _exit(2) are kept
 *
 * Included before everything else by `make coverage`, never otherwise.  gcc
 * writes what was counted in exit(3), past which the children of tests and the
 * workers of a coordinator go.  A process that a signal kills writes nothing:
 * what only it ran is not counted.
 */
#if defined(HAVE_CONFIG_H) && !defined(TEST_SUPPORT_COVERAGE_H)
#define TEST_SUPPORT_COVERAGE_H /* configure's own programs do without */

#include "config.h"

#include <stdlib.h>
#include <unistd.h>

void __gcov_dump(void);

static inline void __attribute__((noreturn, unused)) t_coverage_exit(int status)
{
	__gcov_dump();
	_exit(status);
}

#define _exit(status) t_coverage_exit(status)

#endif
