/*
 * channel.c - the directory: make and find the channels of a bus
 *
 * Entries are only ever added, one process at a time: dir_owner names it.  It
 * builds the channel behind the last ready one and then stores ready, with
 * release; that store is the commit.  Killed before it, the memory is as if
 * nothing had been there, and recovery of the dead endpoint sets dir_owner to
 * nobody.  Readers need no lock.
 *
 * The memory of request rings and pipes that are nobody's any more is used
 * again, under the same lock.  The entry of a pipe says PIPE_IDLE meanwhile,
 * so that nobody finds it by a name that is half written.
 *
 *	N1 store ready release (maker)  --->  N2 load ready acquire (finder)
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bus/channel.h"
#include "bus/crew.h"
#include "bus/endpoint.h"
#include "bus/pipe_side.h"
#include "bus/recover.h"
#include "lib/clock.h"

#define LOCK_WAIT_NS (2 * SB_NS_PER_S)

static bool ready(struct bus *bus, uint32_t idx)
{
	return idx < BUS_CHANNELS_MAX &&
	       ld_acq(&bus->map->dir[idx].ready) == 1; /* N2 <- N1 */
}

static bool is_pipe(uint32_t kind)
{
	return kind == BUS_CHAN_PIPE || kind == BUS_CHAN_PIPE_IDLE;
}

/* Is what had this name over? */
static bool is_idle(struct bus *bus, uint32_t idx)
{
	uint32_t kind = bus_channel_kind(bus, idx);
	struct bus_pipe_head *head;
	uint64_t bytes;

	if (!is_pipe(kind))
		return kind == BUS_CHAN_IDLE;
	head = bus_channel_pipe(bus, idx, &bytes);
	return head && bus_pipe_idle(head, kind);
}

int bus_channel_find(struct bus *bus, const char *name)
{
	if (!*name)
		return -ENOENT; /* as the unnamed are called */
	for (uint32_t i = 0; ready(bus, i); i++)
		if (!strncmp(bus->map->dir[i].name, name, BUS_NAME_BYTES) &&
		    !is_idle(bus, i))
			return (int)i;
	return -ENOENT;
}

uint32_t bus_channel_kind(struct bus *bus, uint32_t idx)
{
	if (!ready(bus, idx))
		return 0;
	return ld_acq(&bus->map->dir[idx].kind);
}

void bus_channel_idle(struct bus *bus, uint32_t idx)
{
	st_rel(&bus->map->dir[idx].kind, BUS_CHAN_IDLE);
}

static bool same_shape(const struct bus_channel *c,
		       const struct sb_ring_end *end,
		       const struct bus_channel_spec *spec)
{
	return c->flags == spec->flags &&
	       c->request_bytes == spec->request_bytes &&
	       c->head_bytes == spec->head_bytes &&
	       c->result_bytes == spec->result_bytes &&
	       c->crew_places == spec->crew_places &&
	       c->crew_canceled == spec->crew_canceled &&
	       end->mask + 1 == UINT64_C(1) << spec->log_n &&
	       end->stride == spec->stride && end->flags == spec->ring_flags &&
	       end->max_attempts == spec->max_attempts;
}

/*
 * Throw away what nobody will answer.  The workers that may still be there are
 * those of a dead coordinator, for a moment; what they hold stays.
 */
static void drain(struct bus *bus, struct sb_ring_end *end)
{
	uint64_t pos;
	bool any = false;

	for (uint64_t i = 0; i <= end->mask; i++) {
		if (sb_ring_take(end, 1, true, &pos) < 0)
			break;
		sb_ring_free(end, pos);
		any = true;
	}
	if (any)
		bus_sweep_cells(bus);
}

/* Request rings whose makers are dead become idle.  Those that are idle are
 * drained again: one of the old workers may have died with a request. */
static void find_abandoned(struct bus *bus)
{
	struct bus_channel *c;
	struct sb_ring_end *end;

	for (uint32_t i = 0; ready(bus, i); i++) {
		uint32_t kind = bus_channel_kind(bus, i);

		if (kind != BUS_CHAN_REQUEST && kind != BUS_CHAN_IDLE)
			continue;
		end = bus_channel_end(bus, i, &c);
		if (!end || (kind == BUS_CHAN_REQUEST &&
			     bus_ep_lives(bus->map, ld_acq(&c->coord))))
			continue;
		sb_ring_close(end);
		sb_ring_recall(end);
		drain(bus, end);
		bus_channel_idle(bus, i);
	}
}

void bus_channel_drain_abandoned(struct bus *bus)
{
	_Atomic uint32_t *owner = &bus->map->header->dir_owner;
	uint32_t nobody = 0;

	if (!cas_acqrel(owner, &nobody, bus->id))
		return;
	find_abandoned(bus);
	st_rel(owner, 0);
}

static int check_name(const char *name)
{
	if (!*name)
		return -EINVAL;
	return strlen(name) < BUS_NAME_BYTES ? 0 : -ENAMETOOLONG;
}

static void set_name(struct bus_dirent *d, const char *name)
{
	memset(d->name, 0, sizeof(d->name));
	memcpy(d->name, name, strlen(name));
}

/*
 * What the last crew left is not the next one's.  Nobody writes to it any more,
 * as nobody has a request in hand; but for a worker that is still in its init,
 * or leaves, and whose parent died: it may write a text or a word that says
 * how it stands, for some ms.  Killed in the middle, the ring is still idle.
 */
static bool clear_area(struct bus *bus, uint32_t idx,
		       const struct bus_channel_spec *spec)
{
	uint32_t n_places, n_canceled;
	struct bus_crew_area *area =
		bus_channel_area(bus, idx, &n_places, &n_canceled);

	if (!spec->crew_places)
		return true;
	if (!area || n_places != spec->crew_places ||
	    n_canceled != spec->crew_canceled)
		return false;
	memset((void *)area, 0, bus_crew_bytes(n_places, n_canceled));
	return true;
}

/*
 * Take over an idle request ring.  The ring goes on where it was: its words
 * are not reset, because somebody may be looking at them for a recovery.
 */
static int reuse(struct bus *bus, const char *name,
		 const struct bus_channel_spec *spec)
{
	struct bus_channel *c;
	struct sb_ring_end *end;

	if (spec->kind != BUS_CHAN_REQUEST)
		return -ENOENT;
	for (uint32_t i = 0; ready(bus, i); i++) {
		if (bus_channel_kind(bus, i) != BUS_CHAN_IDLE)
			continue;
		end = bus_channel_end(bus, i, &c);
		if (!end || !same_shape(c, end, spec))
			continue;
		/* Again, in case that somebody was killed right here. */
		sb_ring_close(end);
		drain(bus, end);
		if (sb_ring_unfinished(end) || !clear_area(bus, i, spec) ||
		    sb_ring_reopen(end))
			continue;
		st_rel(&c->coord, bus_ep_life(bus->map, bus->id));
		set_name(&bus->map->dir[i], name);
		st_rel(&bus->map->dir[i].kind, spec->kind);
		return (int)i;
	}
	return -ENOENT;
}

/* Where the next channel would go, from the start of the channels. */
static int next_free(struct bus *bus, uint32_t *idx, uint64_t *off)
{
	const struct bus_map *map = bus->map;

	*off = 0;
	for (*idx = 0; ready(bus, *idx); ++*idx) {
		const struct bus_dirent *d = &map->dir[*idx];
		uint64_t at = *(const volatile uint64_t *)&d->off;
		uint64_t bytes = *(const volatile uint64_t *)&d->bytes;

		if (at != map->off.chan + *off || bytes % SB_FAR ||
		    bytes > map->sizes.chan_bytes - *off)
			return -EPROTO;
		*off += bytes;
	}
	return *idx < BUS_CHANNELS_MAX ? 0 : -ENOSPC;
}

/* The channel at @off is complete: everybody may see it. */
static void enter(struct bus *bus, uint32_t idx, uint32_t kind,
		  const char *name, uint64_t off, uint64_t bytes)
{
	struct bus_dirent *d = &bus->map->dir[idx];

	st_rlx(&d->kind, kind);
	d->off = bus->map->off.chan + off;
	d->bytes = bytes;
	set_name(d, name);
	st_rel(&d->ready, 1); /* N1 -> N2 */
}

static int build(struct bus *bus, const char *name,
		 const struct bus_channel_spec *spec)
{
	struct bus_map *map = bus->map;
	struct bus_channel *c;
	uint64_t off, bytes;
	uint32_t idx;
	int ret = next_free(bus, &idx, &off);

	if (ret)
		return ret;
	bytes = sizeof(*c) + sb_ring_bytes(spec->log_n, spec->stride) +
		bus_crew_bytes(spec->crew_places, spec->crew_canceled);
	if (bytes > map->sizes.chan_bytes - off)
		return -ENOSPC;
	ret = sb_seg_reserve(&map->seg, map->off.chan + off, bytes);
	if (ret)
		return ret;
	c = (void *)((unsigned char *)map->seg.base + map->off.chan + off);
	/* A maker that was killed here may have left some of its own. */
	memset(c, 0, bytes);
	c->flags = spec->flags;
	c->request_bytes = spec->request_bytes;
	c->head_bytes = spec->head_bytes;
	c->result_bytes = spec->result_bytes;
	c->crew_places = spec->crew_places;
	c->crew_canceled = spec->crew_canceled;
	st_rlx(&c->coord, bus_ep_life(map, bus->id));
	sb_ring_init((struct sb_ring *)(c + 1), spec->log_n, spec->stride,
		     spec->ring_flags, spec->max_attempts, spec->first);
	enter(bus, idx, spec->kind, name, off, bytes);
	return (int)idx;
}

/* Become the one who adds; recover whoever died doing so. */
static int lock_directory(struct bus *bus)
{
	_Atomic uint32_t *owner = &bus->map->header->dir_owner;
	uint64_t give_up = sb_now_ns() + LOCK_WAIT_NS;

	for (;;) {
		uint32_t nobody = 0;

		if (cas_acqrel(owner, &nobody, bus->id))
			return 0;
		sched_yield();
		bus_recover_dead(bus);
		if (sb_now_ns() > give_up)
			return -EBUSY;
	}
}

int bus_channel_make(struct bus *bus, const char *name,
		     struct bus_channel_spec *spec)
{
	int ret = check_name(name);

	if (!ret)
		ret = lock_directory(bus);
	if (ret)
		return ret;
	if (spec->kind == BUS_CHAN_REQUEST) {
		bus_recover_dead(bus);
		find_abandoned(bus);
	}
	ret = bus_channel_find(bus, name);
	if (ret >= 0 && spec->kind == BUS_CHAN_REQUEST)
		ret = -EEXIST;
	if (ret == -ENOENT)
		ret = reuse(bus, name, spec);
	spec->reused = ret >= 0 && spec->kind == BUS_CHAN_REQUEST;
	if (ret == -ENOENT)
		ret = build(bus, name, spec);
	st_rel(&bus->map->header->dir_owner, 0);
	return ret;
}

/* ---------------------------------------------------------------- pipes -- */

/* Make channel @idx, which is a pipe and nobody's, or will be ready after this,
 * the pipe of @spec.  Both its sides are over until it begins. */
static int set_up(struct bus *bus, struct bus_pipe_head *head,
		  const struct bus_channel_spec *spec, const char *name,
		  int side)
{
	int ret = bus_pipe_format(bus, head, spec);

	if (!ret)
		bus_pipe_begin(bus, head, name ? side : -1);
	return ret;
}

/*
 * Default slots are large.  A pipe that has them takes at most that part of the
 * room, of what is left when each channel that may still come has been given
 * the least.
 */
#define PIPE_SHARE 16

/* No more than @most bytes, if it need not be what it says. */
static void shrink(struct bus_channel_spec *spec, uint64_t most)
{
	while (spec->may_shrink && spec->slot_bytes > SB_SPSC_FIRST &&
	       bus_pipe_bytes(spec) > most)
		spec->slot_bytes /= 2;
}

static uint64_t fair_share(const struct bus_channel_spec *spec, uint32_t idx,
			   uint64_t left)
{
	struct bus_channel_spec least = *spec;
	uint64_t keep;

	least.slot_bytes = SB_SPSC_FIRST;
	keep = (BUS_CHANNELS_MAX - idx) * bus_pipe_bytes(&least);
	return left > keep ? (left - keep) / PIPE_SHARE : 0;
}

/* Is @bytes a better choice than @best (0: none) for one who wants @want? */
static bool fits_better(uint64_t bytes, uint64_t best, uint64_t want)
{
	if (best >= want)
		return bytes >= want && bytes < best;
	return bytes > best;
}

/* Make an idle pipe anew: the smallest that is large enough, or else the
 * largest of those that have at least what a new one would get. */
static int reuse_pipe(struct bus *bus, const char *name,
		      struct bus_channel_spec spec, uint64_t share, int side)
{
	struct bus_pipe_head *head, *best = NULL;
	struct bus_channel_spec least = spec;
	uint64_t bytes, best_bytes = 0;
	struct bus_dirent *d;
	uint32_t idx = 0;
	int ret;

	shrink(&least, share);
	for (uint32_t i = 0; ready(bus, i); i++) {
		if (!is_pipe(bus_channel_kind(bus, i)) || !is_idle(bus, i))
			continue;
		head = bus_channel_pipe(bus, i, &bytes);
		if (!head || bytes < bus_pipe_bytes(&least) ||
		    !fits_better(bytes, best_bytes, bus_pipe_bytes(&spec)))
			continue;
		best = head;
		best_bytes = bytes;
		idx = i;
	}
	if (!best)
		return -ENOENT;
	shrink(&spec, best_bytes);
	d = &bus->map->dir[idx];
	st_rel(&d->kind, BUS_CHAN_PIPE_IDLE);
	bus_pipe_shed(bus, best, best_bytes);
	ret = set_up(bus, best, &spec, name, side);
	if (ret)
		return ret;
	set_name(d, name ? name : "");
	st_rel(&d->kind, BUS_CHAN_PIPE);
	return (int)idx;
}

static int build_pipe(struct bus *bus, const char *name,
		      struct bus_channel_spec spec, uint32_t idx, uint64_t off,
		      int side)
{
	struct bus_map *map = bus->map;
	uint64_t left = map->sizes.chan_bytes - off, bytes;
	struct bus_pipe_head *head;
	int ret;

	shrink(&spec, fair_share(&spec, idx, left));
	bytes = bus_pipe_bytes(&spec);
	if (bytes > left)
		return -ENOSPC;
	ret = sb_seg_reserve(&map->seg, map->off.chan + off, sizeof(*head));
	if (ret)
		return ret;
	head = (void *)((unsigned char *)map->seg.base + map->off.chan + off);
	/* A maker that was killed here may have left some of its own. */
	memset(head, 0, sizeof(*head));
	ret = set_up(bus, head, &spec, name, side);
	if (ret) {
		bus_pipe_shed(bus, head, bytes);
		return ret;
	}
	enter(bus, idx, BUS_CHAN_PIPE, name ? name : "", off, bytes);
	return (int)idx;
}

static int try_make_pipe(struct bus *bus, const char *name,
			 const struct bus_channel_spec *spec, int side)
{
	uint64_t off, share = 0;
	uint32_t idx;
	int full = next_free(bus, &idx, &off), ret;

	if (full && full != -ENOSPC)
		return full;
	if (!full)
		share = fair_share(spec, idx, bus->map->sizes.chan_bytes - off);
	ret = reuse_pipe(bus, name, *spec, share, side);
	if (ret == -ENOENT)
		ret = full ? full
			   : build_pipe(bus, name, *spec, idx, off, side);
	return ret;
}

/* Nobody can have inherited what we made, but a grandchild whose parent has
 * ended. */
static bool is_childless(void)
{
	siginfo_t si;

	return waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) &&
	       errno == ECHILD;
}

/* End the sides of pipes that nobody will come for. */
static bool take_back(struct bus *bus)
{
	bool childless = is_childless(), any = false;
	struct bus_pipe_head *head;
	uint64_t bytes;

	for (uint32_t i = 0; ready(bus, i); i++) {
		if (is_idle(bus, i))
			continue; /* and may have no memory */
		head = bus_channel_pipe(bus, i, &bytes);
		if (head)
			any |= bus_pipe_take_back(bus, i, head, bytes,
						  childless);
	}
	return any;
}

static int make_pipe(struct bus *bus, const char *name,
		     const struct bus_channel_spec *spec, int side)
{
	int ret;

	/* The dead may have some that nobody has missed yet. */
	bus_sweep(bus);
	ret = try_make_pipe(bus, name, spec, side);
	if (ret == -ENOSPC && bus_recover_dead(bus))
		ret = try_make_pipe(bus, name, spec, side);
	if (ret == -ENOSPC && take_back(bus))
		ret = try_make_pipe(bus, name, spec, side);
	return ret;
}

static int take_named(struct bus *bus, uint32_t idx, int side)
{
	struct bus_pipe_head *head;
	uint64_t bytes;
	int ret;

	if (!is_pipe(bus_channel_kind(bus, idx)))
		return -EEXIST;
	head = bus_channel_pipe(bus, idx, &bytes);
	if (!head)
		return -EPROTO;
	ret = bus_side_take(bus, head, (uint32_t)side);
	return ret ? ret : (int)idx;
}

int bus_channel_make_pipe(struct bus *bus, const char *name,
			  const struct bus_channel_spec *spec, int side)
{
	int ret = name ? check_name(name) : 0;

	if (!ret)
		ret = lock_directory(bus);
	if (ret)
		return ret;
	for (int tries = 0; tries < 2; tries++) {
		ret = name ? bus_channel_find(bus, name) : -ENOENT;
		if (ret >= 0)
			ret = take_named(bus, (uint32_t)ret, side);
		else if (spec)
			ret = make_pipe(bus, name, spec, side);
		if (ret != -EBUSY)
			break;
		/* Its owner may be dead, and nobody has looked. */
		bus_recover_dead(bus);
	}
	st_rel(&bus->map->header->dir_owner, 0);
	return ret;
}

void bus_channel_shed_pipe(struct bus *bus, uint32_t idx)
{
	_Atomic uint32_t *owner = &bus->map->header->dir_owner;
	uint32_t nobody = 0;
	struct bus_pipe_head *head;
	uint64_t bytes;

	if (!is_idle(bus, idx) || !cas_acqrel(owner, &nobody, bus->id))
		return;
	head = bus_channel_pipe(bus, idx, &bytes);
	if (head && is_idle(bus, idx))
		bus_pipe_shed(bus, head, bytes);
	st_rel(owner, 0);
}

/* ----------------------------------------------------------------- look -- */

/* What the entry of channel @idx says, checked: at least @least bytes at an
 * address of the mapping.  NULL if it lies. */
static void *look_up(struct bus *bus, uint32_t idx, uint64_t least,
		     uint64_t *off, uint64_t *bytes)
{
	struct bus_map *map = bus->map;

	if (!ready(bus, idx))
		return NULL;
	*off = *(volatile uint64_t *)&map->dir[idx].off;
	*bytes = *(volatile uint64_t *)&map->dir[idx].bytes;
	if (*off < map->off.chan || *off % SB_FAR || *bytes < least)
		return NULL;
	if ((*off - map->off.chan > map->sizes.chan_bytes ||
	     *bytes > map->sizes.chan_bytes - (*off - map->off.chan)) &&
	    !SB_MUTATED(check_entry))
		return NULL;
	return (unsigned char *)map->seg.base + *off;
}

struct bus_pipe_head *bus_channel_pipe(struct bus *bus, uint32_t idx,
				       uint64_t *bytes)
{
	uint64_t off;

	if (!is_pipe(bus_channel_kind(bus, idx)))
		return NULL;
	return look_up(bus, idx, sizeof(struct bus_pipe_head), &off, bytes);
}

int bus_channel_attach(struct bus *bus, uint32_t idx,
		       struct bus_channel **channel, struct sb_ring_end *end)
{
	struct bus_map *map = bus->map;
	uint64_t off, bytes;
	struct bus_channel *c = look_up(bus, idx, sizeof(*c), &off, &bytes);
	int ret;

	if (!c || is_pipe(bus_channel_kind(bus, idx)))
		return -EPROTO;
	/* Its maker has done that, if the entry does not lie. */
	ret = sb_seg_reserve(&map->seg, off, bytes);
	if (ret)
		return ret;
	ret = sb_ring_attach(end, (struct sb_ring *)(c + 1),
			     bytes - sizeof(*c), bus->id);
	if (ret)
		return ret;
	end->asym = map->sizes.asym;
	*channel = c;
	return 0;
}

int bus_channel_try_end(struct bus *bus, uint32_t idx,
			struct bus_channel **channel, struct sb_ring_end **end)
{
	struct sb_ring_end *e;
	int ret = 0;

	if (!ready(bus, idx))
		return -ENOENT;
	e = &bus->ends[idx];
	if (!e->ring)
		ret = bus_channel_attach(bus, idx, channel, e);
	if (ret) {
		e->ring = NULL;
		return ret;
	}
	*channel = (struct bus_channel *)(void *)e->ring - 1;
	*end = e;
	return 0;
}

struct sb_ring_end *bus_channel_end(struct bus *bus, uint32_t idx,
				    struct bus_channel **channel)
{
	struct sb_ring_end *end;

	return bus_channel_try_end(bus, idx, channel, &end) ? NULL : end;
}

static uint32_t log2_of(uint64_t power)
{
	return (uint32_t)__builtin_ctzll(power);
}

struct bus_crew_area *bus_channel_area(struct bus *bus, uint32_t idx,
				       uint32_t *n_places, uint32_t *n_canceled)
{
	uint32_t kind = bus_channel_kind(bus, idx);
	struct sb_ring_end *end;
	struct bus_channel *c;
	uint64_t off, bytes, at, need;

	if (kind != BUS_CHAN_REQUEST && kind != BUS_CHAN_IDLE)
		return NULL;
	/* What follows the ring is computed from its shape, of which we have a
	 * checked copy. */
	end = bus_channel_end(bus, idx, &c);
	if (!end || look_up(bus, idx, sizeof(*c), &off, &bytes) != (void *)c)
		return NULL;
	*n_places = *(volatile uint32_t *)&c->crew_places;
	*n_canceled = *(volatile uint32_t *)&c->crew_canceled;
	at = sizeof(*c) + sb_ring_bytes(log2_of(end->mask + 1), end->stride);
	need = bus_crew_bytes(*n_places, *n_canceled);
	if (!need || *n_places > BUS_CREW_MAX || at > bytes ||
	    need > bytes - at ||
	    sb_seg_reserve(&bus->map->seg, off + at, need))
		return NULL;
	return (void *)((unsigned char *)c + at);
}
