/*
 * keeper.h - nothing with a name is left behind, however busbench ends
 *
 * Some libraries want a name for what they share.  It is removed as soon as it
 * is open, but that is not yet so while the library reserves the memory, and
 * busbench may be killed meanwhile.  So there is a process beside it that does
 * nothing but wait for its end, and removes what it then finds.
 */
#ifndef BENCH_RIVALS_KEEPER_H
#define BENCH_RIVALS_KEEPER_H

#include <stddef.h>

#include "bench/outcome.h"

/* Enough for any of the names, with a folder before it. */
#define KEEPER_NAME_BYTES 80

/* In a child: what ends busbench does not end it, be that a signal of the
 * terminal's or one to all of a group, as of timeout(1); and nobody waits for
 * its output. */
void keeper_detach(void);

/*
 * keeper_name - a name that nobody else has, for what is opened now
 * @folder: what stands before it: "/dev/shm/", "/" for a message queue, ...
 *
 * Of files that begin with it in /dev/shm, and of a message queue, nothing is
 * left.  On failure sets @out and returns -1.
 */
int keeper_name(const char *folder, char *buf, size_t size,
		struct outcome *out);

#endif
