/*
 * pipe_side.h - whose the two sides of a pipe are, in shared memory
 *
 * One word a side says at every instant who has it, and what of it is over:
 *
 *	who:32 | instance:24 | HALF, TX_GONE, RX_GONE | state:3
 *
 *	state     who                  meaning
 *	NEVER     0                    named: nobody has opened it yet
 *	MADE      endpoint             unnamed: nobody has used it, so it counts
 *	                               as its maker's
 *	RESERVED  pid                  handed over to that process
 *	OPEN      endpoint             its owner
 *	CLOSED    pid of the last      by its owner
 *	DEAD      pid of the last      the owner died, proven
 *	LOST      pid of the maker     MADE, and the maker is gone, or nobody
 *	                              will come for it: bus_pipe_take_back
 *
 * An endpoint is generation:24 | id:8, the lower half of its life (endpoint.h).
 * TX_GONE: it sends no more, its peer gets the end when all is received.
 * RX_GONE: it receives no more, its peer's sends fail.  Both are set in the
 * last three states.  The fast path of a sender looks at its peer's RX_GONE.
 *
 * HALF: a writer has died on this side, perhaps in the middle of a message, and
 * nothing in the slots tells its reader.  Set by who takes the side of a DEAD
 * one, in the CAS that takes it, for from then on DEAD is not to be seen any
 * more; cleared when he has put a MARK (pipe.h), which he does before all else
 * that he sends.  Should he send nothing, it stays, until the side is DEAD or
 * taken again.  A reader in the middle of a message takes it as he takes DEAD.
 *
 * The instance tells a pipe from the next one in the same memory, so that a
 * handle which a forked child still has of the old one cannot take the new.
 *
 *	MADE -use-> OPEN          NEVER, CLOSED, DEAD, LOST -open-> OPEN
 *	MADE, OPEN -hand over-> RESERVED -use-> OPEN
 *	MADE, OPEN -close-> CLOSED
 *	MADE -maker gone-> LOST   OPEN, RESERVED -death-> DEAD
 *	MADE, NEVER -nobody will come, and room is short-> LOST
 *
 * Each is one CAS, so killed at any instruction a side is somebody's who lives
 * or is seen to be dead.  Opening a side that is over happens only under the
 * lock of the directory, and so does making a pipe anew, which needs both to be
 * over.
 *
 * Each is followed by ringing the peer.  Killed between its CAS and that, one
 * that has just used its end for the first time is watched by nobody, for the
 * peer has seen the maker in that place: it learns of the death by the
 * heartbeat (recover.c), 100 to 300 ms later, or by its next look.  One that
 * was handed over is watched all the time.
 *
 * The start time of a RESERVED side's process lies in another word, stored
 * before the CAS by everybody who tries to hand the side over: so also by one
 * who loses, at any time until he sees that he has lost.  Therefore it says
 * whose it is, and another process's is as good as none: then the pid alone
 * counts, which proves a death a little less often and never one that was not.
 *
 *	start_time = ticks since boot:40 | pid:24
 *
 *	H1 start_time := that, and    --->  H2 acquire, of the word and then of
 *	   the CAS to RESERVED              this; and the word is still the same
 *	V1 word := ... gone, or with  --->  V2 peer loads it acquire, and finds
 *	   HALF, or without: release,          what was published before it
 *	   after the last publish
 */
#ifndef BUS_PIPE_SIDE_H
#define BUS_PIPE_SIDE_H

#include "bus/bus.h"
#include "bus/channel.h"

enum {
	BUS_SIDE_NEVER,
	BUS_SIDE_MADE,
	BUS_SIDE_RESERVED,
	BUS_SIDE_OPEN,
	BUS_SIDE_CLOSED,
	BUS_SIDE_DEAD,
	BUS_SIDE_LOST
};

#define BUS_SIDE_STATE    UINT64_C(7)
#define BUS_SIDE_TX_GONE  UINT64_C(8)
#define BUS_SIDE_RX_GONE  UINT64_C(16)
#define BUS_SIDE_GONE     (BUS_SIDE_TX_GONE | BUS_SIDE_RX_GONE)
#define BUS_SIDE_HALF     UINT64_C(32)
#define BUS_SIDE_INST_ONE UINT64_C(0x100)
#define BUS_SIDE_INST     UINT64_C(0xffffff00)

/* What comes and goes while whose it is stays. */
#define BUS_SIDE_PASSING (BUS_SIDE_GONE | BUS_SIDE_HALF)

SB_INLINE uint32_t bus_side_state(uint64_t word)
{
	return (uint32_t)(word & BUS_SIDE_STATE);
}

SB_INLINE uint32_t bus_side_who(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

SB_INLINE uint64_t bus_side_word(uint32_t who, uint64_t inst, uint64_t state)
{
	return (uint64_t)who << 32 | (inst & BUS_SIDE_INST) | state;
}

/* Closed, dead or lost: for good, unless it is opened again by name. */
SB_INLINE bool bus_side_over(uint64_t word)
{
	return bus_side_state(word) >= BUS_SIDE_CLOSED;
}

/* @word, ours, after we have closed it. */
uint64_t bus_side_closed(uint64_t word);

/* What an owner of @side has not, in a pipe with these flags. */
SB_INLINE uint64_t bus_side_lacks(uint32_t flags, uint32_t side)
{
	if (!(flags & BUS_PIPE_SIMPLEX))
		return 0;
	return side == 0 ? BUS_SIDE_RX_GONE : BUS_SIDE_TX_GONE;
}

/* No pid has more bits, and 2^40 ticks are centuries. */
#define BUS_SIDE_START_AT  24
#define BUS_SIDE_START_PID UINT64_C(0xffffff)

/* When a process started, as it stands beside the words. */
SB_INLINE uint64_t bus_side_start(struct sb_proc_id id)
{
	return id.start_time << BUS_SIDE_START_AT |
	       (id.pid & BUS_SIDE_START_PID);
}

/* This endpoint, as it stands in the words. */
uint32_t bus_side_me(struct bus *bus);

/*
 * bus_side_process - which process is behind @word
 *
 * BUS_SIDE_PASSING may be left out of @word.  Returns 0; -ESRCH when it has
 * ended, or it is an endpoint that has left, and then @id has the pid if that
 * is still known; or -ENOENT when there is none behind such a word.
 */
int bus_side_process(struct bus *bus, const struct bus_pipe_head *head,
		     uint32_t side, uint64_t word, struct sb_proc_id *id);

/* The memory of a pipe with this shape, and its check: 0, or -EINVAL. */
uint64_t bus_pipe_bytes(const struct bus_channel_spec *spec);
int bus_pipe_check(uint64_t slot_bytes, uint32_t profile, uint32_t flags,
		   uint64_t bytes);

/* Where direction @dir of a pipe with such slots lies, from its head. */
SB_INLINE size_t bus_pipe_dir_off(uint64_t slot_bytes, uint32_t dir)
{
	return sizeof(struct bus_pipe_head) +
	       dir * sb_spsc_bytes((size_t)slot_bytes);
}

/* -------------------------------------- under the lock of the directory -- */

/* Is it nobody's, so that it may be made anew?  @kind is the channel's. */
bool bus_pipe_idle(const struct bus_pipe_head *head, uint32_t kind);

/*
 * bus_pipe_format - make it anew: empty, of the shape @spec
 *
 * It is idle, or unused memory that is zero as far as the head goes.  Then both
 * sides are lost.  Returns 0, or -ENOSPC when there is no memory.
 */
int bus_pipe_format(struct bus *bus, struct bus_pipe_head *head,
		    const struct bus_channel_spec *spec);

/*
 * bus_pipe_take_back - room is short: end the sides that nobody will come for
 * @childless: this process has no children
 *
 * Of channel @idx, with @bytes: a side that nobody has opened, of a named pipe
 * whose other side is over, and one that we have made and have no handle of any
 * more, if its other side is over or we have no children who might have
 * inherited it.  What was sent to it and not received keeps it, unless there
 * are no children.  Returns whether it ended one.
 */
bool bus_pipe_take_back(struct bus *bus, uint32_t idx,
			struct bus_pipe_head *head, uint64_t bytes,
			bool childless);

/* Has @bus a handle, not closed, of that side and instance?  In pipe.c. */
bool bus_pipe_has_handle(const struct bus *bus, uint32_t idx, uint32_t side,
			 uint64_t inst);

/* Give back what it has grown to: it is idle, and will be formatted before
 * anybody uses it again.  @bytes is what it may have. */
void bus_pipe_shed(struct bus *bus, struct bus_pipe_head *head, uint64_t bytes);

/* Now it is somebody's: both ends made by us, or @side >= 0 open, the other
 * still to be. */
void bus_pipe_begin(struct bus *bus, struct bus_pipe_head *head, int side);

/*
 * bus_side_take - become the owner of a side that nobody has
 *
 * Returns 0, or -EBUSY.
 */
int bus_side_take(struct bus *bus, struct bus_pipe_head *head, uint32_t side);

/* ---------------------------------------------------------------- death -- */

/* The endpoint @who (of process @pid) is dead or leaves: settle what it has.
 * Nobody else has the id @id meanwhile. */
void bus_side_recover(struct bus_pipe_head *head, uint32_t id, uint32_t who,
		      uint32_t pid);

/* The same for its sides alone, and the id may be another's already. */
void bus_side_end(struct bus_pipe_head *head, uint32_t who, uint32_t pid);

/* Say that a reserved side's process is dead, if it is, and wake the peer. */
void bus_side_recover_reserved(struct bus *bus, struct bus_pipe_head *head);

/* Wake whoever waits for anything of this pipe. */
void bus_pipe_wake_all(struct bus *bus, struct bus_pipe_head *head);

#endif
