/*
 * guard.h - whatever ends a run, nothing of it is left
 *
 * A run leaves processes, some of them stopped, and names in /dev/shm when it
 * is killed; it does so all the time, to others.  So a process of its own
 * watches over it: when the run has ended, by SIGKILL too, it kills what is
 * left and removes the names.  If that one was killed as well, the next run
 * removes them: they begin with who has made them, and that one is dead.
 */
#ifndef TORTURE_GUARD_H
#define TORTURE_GUARD_H

#include <sys/types.h>

/* Remove what dead runs have left, and watch over this one.  From now on
 * t_name() has names that are known to be ours.  0 or -errno. */
int guard_begin(void);

/* In a process that this one has just forked: it is not the run itself, and it
 * and all that it starts belong together. */
void guard_enter_part(void);

/* In the run: @pid has been forked. */
void guard_part(pid_t pid);

/* Kill what is left of that part, or all of it. */
void guard_part_over(void);

/* The run is over, or is to be: no name is left. */
void guard_end(void);

#endif
