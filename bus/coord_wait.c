/*
 * coord_wait.c - a coordinator in the waits of others: of bus_wait(), which
 * asks whether a result is there, and of a pool, which owns it
 */
#include "config.h"

#include "bus/coord.h"

/* ---------------------------------------------------------- for bus_wait -- */

struct bus *bus_coord_endpoint(const struct bus_coord *co)
{
	return co->foreign ? NULL : co->bus;
}

struct sb_sleepers *bus_coord_sleepers(struct bus_coord *co)
{
	return &co->c.chan->done;
}

uint64_t bus_coord_plan(struct bus_coord *co, uint64_t deadline)
{
	return bus_crew_plan(&co->crew, deadline);
}

bool bus_coord_replans(const struct bus_coord *co)
{
	return co->crew.replan;
}

void bus_coord_poll(struct bus_coord *co)
{
	if (!co->foreign)
		bus_crew_poll(&co->crew);
}

static bool bus_coord_find_any(struct bus_coord *co, bool sure)
{
	uint64_t seq;

	return co->stash || bus_coord_find_done(co, sure, &seq);
}

uint32_t bus_coord_ready(struct bus_coord *co, uint32_t events, bool sure)
{
	uint32_t ready = 0;
	uint64_t seq;
	bool in_ring = bus_coord_find_done(co, sure, &seq);

	if (co->crew.broken && !co->crew.stopping)
		ready |= BUS_POLL_ERR;
	if ((events & BUS_POLL_IN) && (in_ring || co->stash))
		ready |= BUS_POLL_IN;
	/* A submit that waits moves a result to the heap. */
	if ((events & BUS_POLL_OUT) &&
	    (in_ring || co->n_in_ring - co->has_last < co->config.window))
		ready |= BUS_POLL_OUT;
	return ready;
}

/* ---------------------------------------------------------- for the pool -- */

struct bus_crew_area *bus_coord_area(struct bus_coord *co)
{
	return co->crew.area;
}

uint32_t bus_coord_places(const struct bus_coord *co)
{
	return co->crew.n_places;
}

pid_t bus_coord_pid(const struct bus_coord *co, uint32_t place)
{
	return place < co->crew.n_places ? co->crew.member[place].proc.pid : 0;
}

int bus_coord_scale(struct bus_coord *co, uint32_t n)
{
	int ret = bus_coord_check(co);

	return ret ? ret : bus_crew_scale(&co->crew, n);
}

int bus_coord_signal(struct bus_coord *co, uint32_t place, int sig)
{
	int ret = bus_coord_check(co);

	return ret ? ret : bus_crew_signal(&co->crew, place, sig);
}

const char *bus_coord_error(const struct bus_coord *co)
{
	return co->crew.broken ? co->crew.error : "";
}

struct waiting {
	struct bus_coord *co;
	const struct bus_coord_extra *extra;
};

static bool second_done(struct bus_coord *co)
{
	uint32_t i = co->entry[0].next;
	uint64_t seq;

	i = i ? co->entry[i].next : 0;
	return i && bus_coord_is_done(co, &co->entry[i], &seq);
}

static int try_result_or(void *arg, bool sure)
{
	struct waiting *w = arg;

	if (bus_coord_find_any(w->co, sure))
		return 0;
	return w->extra && w->extra->ready &&
			       w->extra->ready(w->extra->arg, sure)
		       ? 0
		       : -EAGAIN;
}

int bus_coord_wait(struct bus_coord *co, const struct bus_coord_extra *extra,
		   uint64_t deadline_ns)
{
	struct waiting w = { .co = co, .extra = extra };
	struct sb_sleepers *sets[BUS_COORD_EXTRA_MAX + 1];
	uint64_t claimed[SB_WAIT_CLAIMED(BUS_COORD_EXTRA_MAX + 1)];
	struct sb_wait wait = { .try_ = try_result_or,
				.arg = &w,
				.many = sets,
				.n_sets = 1,
				.claimed = claimed };
	int ret = bus_coord_check(co);

	if (!ret && extra && extra->n_sets > BUS_COORD_EXTRA_MAX)
		ret = -EINVAL;
	if (ret)
		return ret;
	ret = try_result_or(&w, false);
	if (ret == -EAGAIN && deadline_ns && co->pace.steps) {
		bus_pace_pause(co->pace.steps);
		ret = try_result_or(&w, false);
	}
	if (ret == -EAGAIN) {
		sets[0] = &co->c.chan->done;
		for (uint32_t i = 0; extra && i < extra->n_sets; i++)
			sets[wait.n_sets++] = extra->sets[i];
		ret = bus_crew_wait(&co->crew, &wait, deadline_ns);
	}
	/* What has ended the wait is still there. */
	if (!ret)
		bus_pace_learn(&co->pace, second_done(co));
	return ret;
}
