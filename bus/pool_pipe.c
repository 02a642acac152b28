/*
 * pool_pipe.c - results that are too large for a slot, as they come in
 *
 * Each worker has a pipe of its own to the parent, made before it is forked.  A
 * large result goes through it as one message, a parcel: struct bus_parcel, and
 * the bytes.  Then the worker answers in the slot that there is a parcel.  One
 * that does not fit the pipe at once is taken in before that: the worker sets
 * its bit in area->talking, and with each part it rings whoever waits for
 * answers.  So the parent sleeps in that one bitmap only, and looks into the
 * pipes whose bits are set.
 *
 *	worker                             parent
 *	publish a part
 *	set the bit, ring       ------->   load the bits; take the part, straight
 *	...                                into the memory that the future will
 *	publish the last part              have
 *	clear the bit
 *	answer, release         ------->   an answer: then all of its parcel is
 *	                                   in the pipe, or was taken already
 *
 * Killed in the middle: the rest never comes, what has come is dropped, and the
 * task is run again.  Killed between the parcel and the answer: the task is run
 * again, and the parcel of the last attempt counts; each says its number.
 * Killed after the answer: the parcel is still in the pipe; the pipe is emptied
 * before it goes.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pipe_side.h"
#include "bus/pool.h"
#include "lib/copy.h"

/* Slots: a large result should stay in the second cache on its way, and a
 * small bus has room for small ones only. */
#define SLOT_MAX (256u << 10)
#define SLOT_MIN (4u << 10)

/* ----------------------------------------------------------- the parcels -- */

/* The task that a parcel is for, if anybody still wants it. */
static struct bus_future *wanted(struct bus_pool *p,
				 const struct bus_parcel *parcel)
{
	uint64_t index = parcel->id & ((1u << BUS_TASK_INDEX_BITS) - 1);
	struct bus_future *t = index < BUS_POOL_RING ? p->flight[index] : NULL;

	if (!t || t->over || t->number != parcel->id >> BUS_TASK_INDEX_BITS)
		return NULL;
	/* A later attempt has sent one already. */
	bus_task_more(t);
	if ((t->got.data || t->got.lost) && t->got.attempts > parcel->attempts)
		return NULL;
	return t;
}

static void drop(struct bus_pool_place *pl)
{
	free(pl->data);
	pl->data = NULL;
	pl->receiving = false;
}

/* The first part: the head is whole in it. */
static int begin(struct bus_pool *p, struct bus_pool_place *pl,
		 const struct bus_part *part)
{
	size_t head = sizeof(pl->parcel);

	drop(pl);
	if (part->len_bytes < head || part->total_bytes < head) {
		bus_count(&p->bus->ep->counts.rejected, 1);
		return -EPROTO;
	}
	sb_copy_once(&pl->parcel, part->data, head);
	pl->receiving = true;
	pl->done = 0;
	pl->total = part->total_bytes - head;
	if (wanted(p, &pl->parcel)) /* if there is no memory, it is skipped */
		pl->data = malloc(pl->total + 1);
	return 0;
}

/* All of it has come. */
static void deliver(struct bus_pool *p, struct bus_pool_place *pl)
{
	struct bus_future *t = wanted(p, &pl->parcel);

	if (t) {
		free(t->got.data);
		if (pl->data)
			pl->data[pl->total] = 0;
		t->got = (struct bus_got){ .data = pl->data,
					   .len = pl->total,
					   .attempts = pl->parcel.attempts,
					   .lost = !pl->data };
		pl->data = NULL;
	}
	drop(pl);
}

static void take_part(struct bus_pool *p, struct bus_pool_place *pl,
		      const struct bus_part *part)
{
	const unsigned char *from = part->data;
	size_t n = part->len_bytes;

	if (part->offset_bytes == 0) {
		if (begin(p, pl, part))
			return;
		from += sizeof(pl->parcel);
		n -= sizeof(pl->parcel);
	} else if (!pl->receiving) {
		return;
	}
	if (n > pl->total - pl->done) {
		bus_count(&p->bus->ep->counts.rejected, 1);
		drop(pl);
		return;
	}
	if (pl->data && n)
		memcpy(pl->data + pl->done, from, n);
	pl->done += n;
	if (pl->done == pl->total)
		deliver(p, pl);
}

/* Take in what is there. */
static void drain(struct bus_pool *p, struct bus_pool_place *pl)
{
	struct bus_part part;
	int ret;

	if (!pl->rx || pl->ended)
		return;
	for (;;) {
		ret = bus_pipe_peek(pl->rx, &part, 0);
		if (ret)
			break;
		take_part(p, pl, &part);
		if (bus_pipe_release(pl->rx, &part))
			break;
	}
	/* -EPROTO is said once for each nonsense: what follows may be fine.
	 * If it is said for ever, the worker waits for us for ever as well. */
	if (ret == -EPROTO && bus_pipe_peek(pl->rx, &part, 0) == -EPROTO) {
		ret = -EPIPE;
		if (p->co && !pl->gone)
			bus_coord_signal(p->co, (uint32_t)(pl - p->place),
					 SIGKILL);
	}
	if (ret != -EAGAIN && ret != -EPROTO) {
		drop(pl);
		pl->ended = true;
	}
}

static bool is_talking(const struct bus_pool *p, uint32_t i)
{
	return ld_acq(&p->area->talking[i / 64 % 4]) >> i % 64 & 1;
}

SB_INLINE bool anybody_talks(const struct bus_pool *p)
{
	return ld_rlx(&p->area->talking[0]) | ld_rlx(&p->area->talking[1]) |
	       ld_rlx(&p->area->talking[2]) | ld_rlx(&p->area->talking[3]);
}

void bus_parcels_drain(struct bus_pool *p)
{
	if (sb_likely(!anybody_talks(p)))
		return;
	for (uint32_t i = 0; i < p->n_places; i++)
		if (is_talking(p, i))
			drain(p, &p->place[i]);
}

bool bus_parcels_ready(struct bus_pool *p)
{
	if (sb_likely(!anybody_talks(p)))
		return false;
	for (uint32_t i = 0; i < p->n_places; i++) {
		struct bus_pool_place *pl = &p->place[i];

		if (is_talking(p, i) && pl->rx && !pl->ended &&
		    !bus_pipe_readable(pl->rx))
			return true;
	}
	return false;
}

static bool has_come(const struct bus_future *t, uint32_t attempts)
{
	return (t->got.data || t->got.lost) && t->got.attempts == attempts;
}

int bus_parcel_for(struct bus_future *t, uint32_t place, uint32_t attempts)
{
	struct bus_pool *p = t->pool;

	bus_task_more(t);
	if (!has_come(t, attempts) && place < p->n_places)
		drain(p, &p->place[place]);
	if (!has_come(t, attempts))
		return -EPROTO;
	return t->got.lost ? -ENOMEM : 0;
}

/* ------------------------------------------------------------- the pipes -- */

static void forget(struct bus_pool *p, struct bus_pool_place *pl)
{
	drain(p, pl);
	drop(pl);
	/* A worker that never sent anything large has not come for its end.
	 * Until that is over the channel is nobody's to use again, and there
	 * are only so many: so now, not when somebody sweeps. */
	if (pl->gone && pl->rx)
		bus_side_recover_reserved(p->bus, pl->rx->head);
	bus_pipe_free(pl->rx);
	bus_pipe_free(pl->tx);
	pl->rx = pl->tx = NULL;
	pl->gone = pl->ended = false;
}

int bus_parcel_start(struct bus_pool *p, uint32_t place)
{
	struct bus_pool_place *pl = &p->place[place];
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	int ret;

	forget(p, pl);
	c.flags = BUS_PIPE_SIMPLEX;
	c.slot_bytes = SLOT_MAX;
	do
		ret = bus_pipe(p->bus, &c, &pl->tx, &pl->rx);
	while (ret == -ENOSPC && (c.slot_bytes /= 4) >= SLOT_MIN);
	if (ret) {
		pl->tx = pl->rx = NULL;
		return ret;
	}
	/* Ours from now on, before there is a child with a copy. */
	ret = bus_pipe_use(pl->rx, 0);
	if (ret)
		forget(p, pl);
	return ret;
}

void bus_parcel_started(struct bus_pool *p, uint32_t place, pid_t pid)
{
	struct bus_pool_place *pl = &p->place[place];

	if (!bus_pipe_hand_over(pl->tx, pid))
		pl->tx = NULL;
}

void bus_parcel_gone(struct bus_pool *p)
{
	if (sb_likely(!p->any_gone))
		return;
	p->any_gone = false;
	for (uint32_t i = 0; i < p->n_places; i++)
		if (p->place[i].gone)
			forget(p, &p->place[i]);
}

void bus_parcels_free(struct bus_pool *p)
{
	for (uint32_t i = 0; p->place && i < p->n_places; i++) {
		drop(&p->place[i]);
		bus_pipe_free(p->place[i].rx);
		bus_pipe_free(p->place[i].tx);
		p->place[i].rx = p->place[i].tx = NULL;
	}
}
