/*
 * pipe_side.c - whose the two sides of a pipe are; see pipe_side.h
 *
 * A pipe is made, killed at any step:
 *
 *	1 both sides LOST, of the next instance   idle, as before
 *	2 shape, positions, first headers         idle: it is done again
 *	3 the maker's own word(s)                 DEAD or LOST by its recovery
 *	4 named: the other side NEVER             its directory entry says
 *	                                          PIPE_IDLE, which is idle too
 *	5 name, then kind PIPE (channel.c)        a pipe with a dead side
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "bus/endpoint.h"
#include "bus/pipe_side.h"

uint32_t bus_side_me(struct bus *bus)
{
	return (uint32_t)bus_ep_life(bus->map, bus->id);
}

uint64_t bus_side_closed(uint64_t word)
{
	return bus_side_word((uint32_t)getpid(), word,
			     BUS_SIDE_CLOSED | BUS_SIDE_GONE |
				     (word & BUS_SIDE_HALF));
}

static int endpoint_process(struct bus_map *map, uint32_t who,
			    struct sb_proc_id *id)
{
	uint32_t ep = who & 0xff;
	uint64_t now;

	if (ep == 0 || ep >= map->sizes.max_ep)
		return -ENOENT;
	now = ld_acq(&map->ep[ep].state);
	if (((uint32_t)now ^ who) & ~0xffu)
		return -ESRCH;
	id->pid = bus_ep_pid(now); /* it stays there after a death */
	if (!bus_ep_attached(now))
		return -ESRCH;
	id->start_time = ld_acq(&map->ep[ep].start_time);
	/* The start time belongs to the word only if that has not changed. */
	if (ld_acq(&map->ep[ep].state) != now)
		return -ESRCH;
	return id->pid ? 0 : -ESRCH;
}

/* 0, unknown, if the word is another process's. */
static uint64_t start_time_of(uint64_t word, uint32_t pid)
{
	return (word & BUS_SIDE_START_PID) == (pid & BUS_SIDE_START_PID)
		       ? word >> BUS_SIDE_START_AT
		       : 0;
}

int bus_side_process(struct bus *bus, const struct bus_pipe_head *head,
		     uint32_t side, uint64_t word, struct sb_proc_id *id)
{
	uint64_t start;

	switch (bus_side_state(word)) {
	case BUS_SIDE_MADE:
	case BUS_SIDE_OPEN:
		return endpoint_process(bus->map, bus_side_who(word), id);
	case BUS_SIDE_RESERVED:
		id->pid = bus_side_who(word);
		start = ld_acq(&head->start_time[side]); /* H2 <- H1 */
		id->start_time = start_time_of(start, id->pid);
		/* as above; what it became will be looked at again */
		return (ld_acq(&head->side[side]) ^ word) & ~BUS_SIDE_PASSING
			       ? -ENOENT
			       : 0;
	default:
		return -ENOENT;
	}
}

/* ---------------------------------------------------------------- shape -- */

static uint32_t n_dirs(uint32_t flags)
{
	return flags & BUS_PIPE_SIMPLEX ? 1 : 2;
}

uint64_t bus_pipe_bytes(const struct bus_channel_spec *spec)
{
	return bus_pipe_dir_off(spec->slot_bytes, n_dirs(spec->flags));
}

int bus_pipe_check(uint64_t slot_bytes, uint32_t profile, uint32_t flags,
		   uint64_t bytes)
{
	if (profile > BUS_PIPE_STREAM || (flags & ~BUS_PIPE_SIMPLEX) ||
	    slot_bytes < SB_SPSC_SLOT_MIN || slot_bytes > SB_SPSC_SLOT_MAX ||
	    (slot_bytes & (slot_bytes - 1)) ||
	    bus_pipe_dir_off(slot_bytes, n_dirs(flags)) > bytes)
		return -EINVAL;
	return 0;
}

/* Memory for the control words and the first part of each slot. */
static int reserve_dir(struct bus *bus, size_t off,
		       const struct bus_channel_spec *spec)
{
	size_t slot = (size_t)spec->slot_bytes, first = slot;
	int ret;

	if (spec->profile == BUS_PIPE_ADAPTIVE && first > SB_SPSC_FIRST)
		first = SB_SPSC_FIRST;
	ret = sb_seg_reserve(&bus->map->seg, off,
			     sizeof(struct sb_spsc) + first);
	if (!ret)
		ret = sb_seg_reserve(&bus->map->seg,
				     off + sizeof(struct sb_spsc) + slot,
				     first);
	return ret;
}

bool bus_pipe_idle(const struct bus_pipe_head *head, uint32_t kind)
{
	for (int i = 0; i < 2; i++) {
		uint64_t w = ld_acq(&head->side[i]);

		if (!bus_side_over(w) && !(kind == BUS_CHAN_PIPE_IDLE &&
					   bus_side_state(w) == BUS_SIDE_NEVER))
			return false;
	}
	return true;
}

static struct sb_spsc *dir_of(const struct bus_pipe_head *head,
			      uint64_t slot_bytes, uint32_t dir)
{
	return (void *)((unsigned char *)(uintptr_t)head +
			bus_pipe_dir_off(slot_bytes, dir));
}

/*
 * Does direction @dir, whose writer is gone and whose reader has never come,
 * have something for that?  The first header tells, or the count, where a
 * record need not be in the slots.
 */
static bool has_unread(const struct bus_pipe_head *head, uint32_t dir,
		       uint64_t bytes)
{
	uint64_t slot = *(const volatile uint64_t *)&head->slot_bytes;
	uint32_t flags = *(const volatile uint32_t *)&head->flags;
	const struct bus_pipe_dir *d = &head->dir[dir];
	struct sb_spsc *s;
	uint64_t lap, head_word;

	if (bus_pipe_check(slot, 0, flags, bytes))
		return true; /* it lies: leave it alone */
	if (dir >= n_dirs(flags))
		return false;
	s = dir_of(head, slot, dir);
	if (n_dirs(flags) == 2 && sb_spsc_is_met(&head->meet, dir, s))
		return true;
	lap = ld_acq(&s->position) >> 32;
	head_word = ld_acq(sb_spsc_word(s->slots + lap % 2 * slot));
	return (head_word >> 32 == lap && (head_word & SB_SPSC_THERE)) ||
	       ld_rlx(&d->n_sent) !=
		       *(const volatile uint64_t *)&d->sent_before;
}

/* Will nobody come for side @i, of which @w is the word? */
static bool is_unwanted(struct bus *bus, uint32_t idx,
			const struct bus_pipe_head *head, uint32_t i,
			uint64_t w, uint64_t bytes, bool childless)
{
	bool kept = !bus_side_over(ld_acq(&head->side[1 - i])) ||
		    has_unread(head, 1 - i, bytes);

	if (bus_side_state(w) == BUS_SIDE_NEVER)
		return !kept;
	return bus_side_state(w) == BUS_SIDE_MADE &&
	       bus_side_who(w) == bus_side_me(bus) && (!kept || childless) &&
	       !bus_pipe_has_handle(bus, idx, i, w);
}

bool bus_pipe_take_back(struct bus *bus, uint32_t idx,
			struct bus_pipe_head *head, uint64_t bytes,
			bool childless)
{
	bool any = false;

	for (uint32_t i = 0; i < 2; i++) {
		uint64_t w = ld_acq(&head->side[i]);

		if (is_unwanted(bus, idx, head, i, w, bytes, childless) &&
		    cas_acqrel(&head->side[i], &w, /* V1 -> V2 */
			       bus_side_word((uint32_t)getpid(), w,
					     BUS_SIDE_LOST | BUS_SIDE_GONE)))
			any = true;
	}
	if (any)
		bus_pipe_wake_all(bus, head);
	return any;
}

static void format_dir(struct bus_pipe_head *head, uint32_t i,
		       const struct bus_channel_spec *spec)
{
	struct bus_pipe_dir *d = &head->dir[i];

	d->sent_before = ld_rlx(&d->n_sent);
	d->received_before = ld_rlx(&d->n_received);
	sb_spsc_init(dir_of(head, spec->slot_bytes, i),
		     (size_t)spec->slot_bytes,
		     spec->profile == BUS_PIPE_ADAPTIVE, (uint32_t)spec->first);
}

int bus_pipe_format(struct bus *bus, struct bus_pipe_head *head,
		    const struct bus_channel_spec *spec)
{
	size_t off = (size_t)((unsigned char *)head -
			      (unsigned char *)bus->map->seg.base);
	uint64_t inst[2];
	int ret = 0;

	for (uint32_t i = 0; i < n_dirs(spec->flags) && !ret; i++)
		ret = reserve_dir(
			bus, off + bus_pipe_dir_off(spec->slot_bytes, i), spec);
	if (ret)
		return ret;
	for (int i = 0; i < 2; i++) {
		inst[i] = ld_rlx(&head->side[i]) + BUS_SIDE_INST_ONE;
		st_rel(&head->side[i],
		       bus_side_word((uint32_t)getpid(), inst[i],
				     BUS_SIDE_LOST | BUS_SIDE_GONE));
	}
	head->slot_bytes = spec->slot_bytes;
	head->profile = spec->profile;
	head->flags = spec->flags;
	for (uint32_t i = 0; i < n_dirs(spec->flags); i++)
		format_dir(head, i, spec);
	if (n_dirs(spec->flags) == 2)
		sb_spsc_meet_init(&head->meet,
				  dir_of(head, spec->slot_bytes, 0),
				  dir_of(head, spec->slot_bytes, 1));
	return 0;
}

/* Small ones keep theirs: it is soon wanted again. */
#define SHED_MIN (1u << 20)

void bus_pipe_shed(struct bus *bus, struct bus_pipe_head *head, uint64_t bytes)
{
	size_t off = (size_t)((unsigned char *)head -
			      (unsigned char *)bus->map->seg.base);

	if (bytes >= SHED_MIN)
		sb_seg_release(&bus->map->seg, off + sizeof(*head),
			       (size_t)bytes - sizeof(*head));
}

void bus_pipe_begin(struct bus *bus, struct bus_pipe_head *head, int side)
{
	uint32_t me = bus_side_me(bus);

	for (uint32_t k = 0; k < 2; k++) {
		/* ours first */
		uint32_t i = side > 0 ? 1 - k : k;
		uint64_t inst = ld_rlx(&head->side[i]);

		if (side < 0)
			st_rel(&head->side[i],
			       bus_side_word(me, inst, BUS_SIDE_MADE));
		else if (i == (uint32_t)side)
			st_rel(&head->side[i],
			       bus_side_word(
				       me, inst,
				       BUS_SIDE_OPEN |
					       bus_side_lacks(head->flags, i)));
		else
			st_rel(&head->side[i],
			       bus_side_word(0, inst, BUS_SIDE_NEVER));
	}
}

int bus_side_take(struct bus *bus, struct bus_pipe_head *head, uint32_t side)
{
	uint64_t w = ld_acq(&head->side[side]), to;
	uint64_t lacks = bus_side_lacks(head->flags, side);

	do {
		if (bus_side_state(w) != BUS_SIDE_NEVER && !bus_side_over(w) &&
		    (bus_side_state(w) != BUS_SIDE_RESERVED ||
		     bus_side_who(w) != (uint32_t)getpid()))
			return -EBUSY;
		to = bus_side_word(bus_side_me(bus), w, BUS_SIDE_OPEN | lacks);
		if (!(lacks & BUS_SIDE_TX_GONE) &&
		    (bus_side_state(w) == BUS_SIDE_DEAD || (w & BUS_SIDE_HALF)))
			to |= BUS_SIDE_HALF;
	} while (!cas_acqrel(&head->side[side], &w, to));
	return 0;
}

/* ---------------------------------------------------------------- death -- */

void bus_side_recover(struct bus_pipe_head *head, uint32_t id, uint32_t who,
		      uint32_t pid)
{
	for (int i = 0; i < 2; i++) {
		sb_sleepers_clear(&head->dir[i].rx, id);
		sb_sleepers_clear(&head->dir[i].tx, id);
	}
	bus_side_end(head, who, pid);
}

void bus_side_end(struct bus_pipe_head *head, uint32_t who, uint32_t pid)
{
	for (int i = 0; i < 2; i++) {
		uint64_t w = ld_acq(&head->side[i]), over;

		for (;;) {
			if (bus_side_who(w) != who)
				break;
			if (bus_side_state(w) == BUS_SIDE_OPEN)
				over = BUS_SIDE_DEAD;
			else if (bus_side_state(w) == BUS_SIDE_MADE)
				over = BUS_SIDE_LOST;
			else
				break;
			/* Release: what the dead had published before it is
			 * seen by who sees this.  V1 -> V2 */
			if (cas_acqrel(&head->side[i], &w,
				       bus_side_word(pid, w,
						     over | BUS_SIDE_GONE)))
				break;
		}
	}
}

void bus_pipe_wake_all(struct bus *bus, struct bus_pipe_head *head)
{
	for (int i = 0; i < 2; i++) {
		sb_wake_all(&head->dir[i].rx, &bus->bells);
		sb_wake_all(&head->dir[i].tx, &bus->bells);
	}
}

void bus_side_recover_reserved(struct bus *bus, struct bus_pipe_head *head)
{
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t w = ld_acq(&head->side[i]);
		struct sb_proc_id id;

		if (bus_side_state(w) != BUS_SIDE_RESERVED ||
		    bus_side_process(bus, head, i, w, &id) || !sb_proc_dead(id))
			continue;
		if (cas_acqrel(&head->side[i], &w, /* V1 -> V2 */
			       bus_side_word(id.pid, w,
					     BUS_SIDE_DEAD | BUS_SIDE_GONE)))
			bus_pipe_wake_all(bus, head);
	}
}
