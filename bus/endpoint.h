/*
 * endpoint.h - the table of who is attached: ids, life and death
 */
#ifndef BUS_ENDPOINT_H
#define BUS_ENDPOINT_H

#include "bus/bus.h"

/* Fields of bus_ep.state. */
SB_INLINE uint32_t bus_ep_state(uint64_t word)
{
	return (uint32_t)word & 0xff;
}

SB_INLINE uint32_t bus_ep_pid(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

/* Is somebody behind this word who may be alive? */
SB_INLINE bool bus_ep_attached(uint64_t word)
{
	uint32_t s = bus_ep_state(word);

	return s == BUS_EP_CLAIMING || s == BUS_EP_LIVE || s == BUS_EP_LEAVING;
}

/*
 * The life of endpoint @id from its claim to its end, as one word: unlike the
 * id it is nobody else's afterwards.  Is it still going on?
 */
uint64_t bus_ep_life(struct bus_map *map, uint32_t id);
bool bus_ep_lives(struct bus_map *map, uint64_t life);

/* bus_ep_claim - take a free id for this thread.  Returns it, or -EUSERS. */
int bus_ep_claim(struct bus_map *map);

/* The same with the one id that is kept for recovering the dead when all
 * others are taken. */
int bus_ep_claim_spare(struct bus_map *map);

/* Our own endpoint is about to settle its affairs; then it is retired. */
void bus_ep_leave(struct bus_map *map, uint32_t id);
void bus_ep_retire(struct bus_map *map, uint32_t id);

/* Is it proven that the process behind @word (of endpoint @id) is dead? */
bool bus_ep_proven_dead(struct bus_map *map, uint32_t id, uint64_t word);

/* Say that @id, seen as @word, is dead.  False if it changed meanwhile. */
bool bus_ep_bury(struct bus_map *map, uint32_t id, uint64_t word);

/*
 * bus_ep_enter - register @me as a recoverer of @id, which is seen DEAD
 *
 * False when it was recovered meanwhile: then there is nothing to do.  After a
 * true: recover, and bus_ep_exit(), which retires @id.
 */
bool bus_ep_enter(struct bus_map *map, uint32_t me, uint32_t id,
		  uint64_t word);
void bus_ep_exit(struct bus_map *map, uint32_t me, uint32_t id, uint64_t word);

/* Instead of an exit: @me could not do all of it, so it is not retired. */
void bus_ep_give_up(struct bus_map *map, uint32_t me);

#endif
