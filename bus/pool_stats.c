/*
 * pool_stats.c - what a pool does just now, for any endpoint of the bus
 *
 * All is read where the pool and its workers write it (crew.h), without a lock
 * and without asking anybody: so it works when the pool hangs, and each number
 * is of its own moment.  Those over are read before those submitted, and what
 * is queued is what is left between them: so the numbers add up, though a task
 * that its worker has answered counts as queued until the pool has looked.
 *
 * The dead are found by asking the kernel, a few system calls for the owner and
 * for each worker: their words say what they did when they died, until the
 * owner has looked, or, if that is dead as well, somebody has.
 *
 * The area lies in memory that others can write: places and words are bounded
 * by the channel, and what they say is reported and not believed.
 */
#include "config.h"

#include <string.h>

#include "bus/crew.h"
#include "bus/endpoint.h"

/* Does @life, which is an endpoint's, live, as far as can be proven?  Nobody
 * may have looked since its process died. */
static bool lives(struct bus_map *map, uint64_t life)
{
	uint32_t id = (uint32_t)life & 0xff;
	uint64_t now;

	if (!bus_ep_lives(map, life))
		return false;
	now = ld_acq(&map->ep[id].state);
	return !bus_ep_proven_dead(map, id, now) && bus_ep_lives(map, life);
}

/* The area of the pool @name, and its coordinator lives.  0 or -errno. */
static int find(struct bus *bus, const char *name, struct bus_crew_area **area,
		uint32_t *n_places)
{
	int idx = bus_channel_find(bus, name);
	struct bus_channel *c;
	uint32_t n_canceled;

	if (idx < 0)
		return -ENOENT;
	if (bus_channel_kind(bus, (uint32_t)idx) != BUS_CHAN_REQUEST)
		return -ENOENT;
	if (!bus_channel_end(bus, (uint32_t)idx, &c))
		return -EPROTO;
	if (!lives(bus->map, ld_acq(&c->coord)))
		return -ENOENT;
	*area = bus_channel_area(bus, (uint32_t)idx, n_places, &n_canceled);
	return *area ? 0 : -EPROTO;
}

static uint32_t state_of(uint32_t pid, uint64_t word)
{
	if (!pid)
		return BUS_WORKER_NONE;
	if (sb_proc_dead((struct sb_proc_id){ .pid = pid }))
		return BUS_WORKER_DEAD;
	if (!(word >> 8))
		return BUS_WORKER_IDLE;
	return word & (BUS_PLACE_TOLD | BUS_PLACE_DOOMED) ? BUS_WORKER_TOLD
							  : BUS_WORKER_BUSY;
}

static struct bus_worker_stats read_place(struct bus_place *p)
{
	struct bus_worker_stats s = { 0 };
	uint64_t word = ld_acq(&p->word);

	s.pid = (int32_t)ld_rlx(&p->pid);
	s.state = state_of((uint32_t)s.pid, word);
	s.n_deaths = ld_rlx(&p->n_deaths);
	s.n_done = ld_rlx(&p->n_done);
	if (word >> 8 && s.state >= BUS_WORKER_BUSY) {
		s.task = word >> BUS_PLACE_NUMBER_SHIFT;
		s.handler = ld_rlx(&p->handler);
		s.since_ns = ld_rlx(&p->since_ns);
	}
	return s;
}

/* Those over, then all: never more over than there were. */
static void read_counts(struct bus_crew_area *area, uint64_t n_busy,
			struct bus_pool_stats *s)
{
	struct bus_crew_counts *c = &area->counts;
	uint64_t left;

	s->n_ok = ld_acq(&c->n_ok);
	s->n_failed = ld_acq(&c->n_failed);
	s->n_quarantined = ld_acq(&c->n_dead);
	s->n_canceled = ld_acq(&c->n_canceled);
	s->n_timed_out = ld_acq(&c->n_timed_out);
	s->n_deaths = ld_acq(&c->n_deaths);
	s->n_respawns = ld_acq(&c->n_respawns);
	s->n_callbacks_failed = ld_acq(&c->n_callbacks_failed);
	s->n_submitted = ld_acq(&c->n_submitted);
	left = s->n_submitted - s->n_ok - s->n_failed - s->n_quarantined -
	       s->n_canceled - s->n_timed_out;
	if (left > s->n_submitted) /* somebody lies */
		left = 0;
	s->n_running = n_busy < left ? n_busy : left;
	s->n_queued = left - s->n_running;
}

int bus_pool_stats(struct bus *bus, const char *name,
		   struct bus_pool_stats *out, struct bus_worker_stats *workers,
		   size_t n)
{
	struct bus_pool_stats s = { 0 };
	size_t size = out ? out->size : 0;
	struct bus_crew_area *area;
	uint64_t n_busy = 0;
	int ret;

	if (!bus || !name || size < sizeof(size) || (!workers && n))
		return -EINVAL;
	ret = bus_check(bus);
	if (!ret)
		ret = find(bus, name, &area, &s.n_places);
	if (ret)
		return ret;
	s.n_workers = ld_acq(&area->n_wanted);
	for (uint32_t i = 0; i < s.n_places; i++) {
		struct bus_worker_stats w = read_place(bus_crew_place(area, i));

		n_busy += w.state == BUS_WORKER_BUSY;
		if (i < n)
			workers[i] = w;
	}
	read_counts(area, n_busy, &s);
	s.size = size;
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	return (int)(n < s.n_places ? n : s.n_places);
}
