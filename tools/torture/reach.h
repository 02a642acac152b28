/*
 * reach.h - which memory does the next instruction of a stopped process reach?
 */
#ifndef REACH_H
#define REACH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REACH_MAX 4u

/*
 * reach - where the next instruction of @victim may read or write
 *
 * A guess: all addresses in @base .. @base + @bytes that its bytes could mean,
 * wherever in them the operand begins.  The right one is among them, and seldom
 * another.  Returns how many there are, at most REACH_MAX; 0 also on machines
 * whose instructions it does not know.
 */
size_t reach(pid_t victim, uint64_t base, uint64_t bytes,
	     uint64_t at[REACH_MAX]);

#endif
