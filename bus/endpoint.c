/*
 * endpoint.c - the table of who is attached: ids, life and death
 *
 * An endpoint's id stands in the words of the rings as owner, so two rules
 * keep rings right: an id is one thread's at a time, and it is not given out
 * again while anybody may still act on the death of its last owner.
 *
 *	FREE, RETIRED -claim (CAS)-> CLAIMING -> LIVE -> LEAVING -> RETIRED
 *	     CLAIMING, LIVE, LEAVING -bury (CAS)-> DEAD -exit (CAS)-> RETIRED
 *
 * The word carries the pid from the first CAS on, so that a process killed
 * at any instruction of attaching can be proven dead.  The generation in it
 * changes with every claim.
 *
 * A recoverer that is stopped inside a recovery, while another one finishes it
 * and the id gets a new owner, would go on to take the living owner's
 * messages when it wakes.  Hence it registers first, and a claimer looks:
 *
 *	recoverer                          claimer
 *	E1 recovering = id                 E3 state: RETIRED -> CLAIMING
 *	E2 fence; state still DEAD?        E4 fence; anybody recovering id?
 *	   no: leave                          yes: RETIRED again, take another
 *
 * One of the two sees the other (Dekker).  A registration of a recoverer that
 * was killed is erased when that one is recovered itself.
 */
#include "config.h"

#include <unistd.h>

#include "bus/endpoint.h"

static uint64_t word(uint32_t pid, uint64_t old, bool next_gen, uint32_t state)
{
	uint64_t gen = (old >> 8) + (next_gen ? 1 : 0);

	return (uint64_t)pid << 32 | (gen & 0xffffff) << 8 | state;
}

uint64_t bus_ep_life(struct bus_map *map, uint32_t id)
{
	return (ld_acq(&map->ep[id].state) & ~UINT64_C(0xff)) | id;
}

bool bus_ep_lives(struct bus_map *map, uint64_t life)
{
	uint32_t id = (uint32_t)life & 0xff;
	uint64_t now;

	if (id >= map->sizes.max_ep)
		return false;
	now = ld_acq(&map->ep[id].state);
	return bus_ep_attached(now) && ((now ^ life) & ~UINT64_C(0xff)) == 0;
}

static bool being_recovered(struct bus_map *map, uint32_t id)
{
	for (uint32_t i = 1; i < map->sizes.max_ep; i++)
		if (ld_rlx(&map->ep[i].recovering) == id)
			return true;
	return false;
}

/* Try to become endpoint @id. */
static bool claim(struct bus_map *map, uint32_t id, struct sb_proc_id self)
{
	struct bus_ep *ep = &map->ep[id];
	uint64_t old = ld_acq(&ep->state), mine;

	if (bus_ep_state(old) != BUS_EP_FREE &&
	    bus_ep_state(old) != BUS_EP_RETIRED)
		return false;
	mine = word(self.pid, old, true, BUS_EP_CLAIMING);
	if (!cas_acqrel(&ep->state, &old, mine)) /* E3 */
		return false;
	fence_seqcst(); /* E4 <-> E2 */
	if (being_recovered(map, id)) {
		st_rel(&ep->state, word(0, mine, false, BUS_EP_RETIRED));
		return false;
	}
	st_rlx(&ep->start_time, self.start_time);
	st_rlx(&ep->recovering, 0);
	st_rel(&ep->state, word(self.pid, mine, false, BUS_EP_LIVE));
	return true;
}

int bus_ep_claim(struct bus_map *map)
{
	struct sb_proc_id self = sb_proc_self();
	uint32_t n = map->sizes.max_ep - 2; /* not the spare one */
	/* Go round, so that an id rests as long as it can. */
	uint32_t from = atomic_fetch_add(&map->header->ep_hint, 1) % n;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t id = 1 + (from + k) % n;

		if (claim(map, id, self))
			return (int)id;
	}
	return -EUSERS;
}

int bus_ep_claim_spare(struct bus_map *map)
{
	uint32_t id = map->sizes.max_ep - 1;
	uint64_t seen = ld_acq(&map->ep[id].state);

	/* Whoever had it may have been killed, and nobody has another id to
	 * bury it with: step into its place.  The caller settles what it left,
	 * as its own. */
	if (bus_ep_state(seen) == BUS_EP_DEAD ||
	    (bus_ep_attached(seen) && bus_ep_proven_dead(map, id, seen))) {
		uint64_t free = word(0, seen, false, BUS_EP_RETIRED);

		st_rlx(&map->ep[id].recovering, 0);
		cas_acqrel(&map->ep[id].state, &seen, free);
	}
	return claim(map, id, sb_proc_self()) ? (int)id : -EUSERS;
}

/* Ours: nobody else stores to it while we live. */
static void set_own(struct bus_map *map, uint32_t id, uint32_t pid,
		    uint32_t state)
{
	_Atomic uint64_t *p = &map->ep[id].state;

	st_rel(p, word(pid, ld_rlx(p), false, state));
}

void bus_ep_leave(struct bus_map *map, uint32_t id)
{
	set_own(map, id, bus_ep_pid(ld_rlx(&map->ep[id].state)),
		BUS_EP_LEAVING);
}

void bus_ep_retire(struct bus_map *map, uint32_t id)
{
	set_own(map, id, 0, BUS_EP_RETIRED);
}

bool bus_ep_proven_dead(struct bus_map *map, uint32_t id, uint64_t seen)
{
	struct sb_proc_id who = { .pid = bus_ep_pid(seen) };

	if (who.pid == 0 || who.pid > INT32_MAX)
		return true; /* nobody: a hostile word, at worst */
	if (bus_ep_state(seen) != BUS_EP_CLAIMING)
		who.start_time = ld_acq(&map->ep[id].start_time);
	/* The start time belongs to the word only if that has not changed. */
	if (ld_acq(&map->ep[id].state) != seen)
		return false;
	return sb_proc_dead(who);
}

bool bus_ep_bury(struct bus_map *map, uint32_t id, uint64_t seen)
{
	return cas_acqrel(&map->ep[id].state, &seen,
			  word(bus_ep_pid(seen), seen, false, BUS_EP_DEAD));
}

bool bus_ep_enter(struct bus_map *map, uint32_t me, uint32_t id,
		  uint64_t seen)
{
	if (bus_ep_state(seen) != BUS_EP_DEAD)
		return false;
	st_rlx(&map->ep[me].recovering, id); /* E1 */
	fence_seqcst();                      /* E2 <-> E4 */
	if (ld_acq(&map->ep[id].state) == seen)
		return true;
	st_rel(&map->ep[me].recovering, 0);
	return false;
}

void bus_ep_exit(struct bus_map *map, uint32_t me, uint32_t id, uint64_t seen)
{
	/* What @id itself was inside of is over, too. */
	st_rlx(&map->ep[id].recovering, 0);
	/* The pid stays: a coordinator asks later whose id it was. */
	cas_acqrel(&map->ep[id].state, &seen,
		   word(bus_ep_pid(seen), seen, false, BUS_EP_RETIRED));
	st_rel(&map->ep[me].recovering, 0);
}

void bus_ep_give_up(struct bus_map *map, uint32_t me)
{
	st_rel(&map->ep[me].recovering, 0);
}
