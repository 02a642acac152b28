/*
 * coord.c - a coordinator is started and stopped; coord.h has what it is
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bus/coord.h"
#include "bus/endpoint.h"
#include "bus/settings.h"
#include "lib/clock.h"

/* How long workers are waited for who cannot be killed. */
#define PARTING_NS (100 * SB_NS_PER_MS)

/* ---------------------------------------------------------------- memory -- */

static int make_entries(struct bus_coord *co)
{
	uint32_t n = co->config.window + 1;
	struct bus_entry *e = malloc(n * sizeof(*e));

	if (!e)
		return -ENOMEM;
	co->entry = e;
	e[0] = (struct bus_entry){ .next = 0, .prev = 0 };
	for (uint32_t i = n; --i;) {
		e[i] = (struct bus_entry){
			.next = co->free_entry,
			.cell = { SB_BLOB_NONE, SB_BLOB_NONE },
		};
		co->free_entry = i;
	}
	return 0;
}

int bus_coord_room(struct bus_coord *co, uint32_t n)
{
	uint32_t each = co->c.end.payload_bytes;
	struct bus_loan *loan;
	unsigned char *buf;

	if (sb_likely(n <= co->n_room))
		return 0;
	loan = realloc(co->loan, n * sizeof(*loan));
	if (!loan)
		return -ENOMEM;
	co->loan = loan;
	buf = realloc(co->buf, (size_t)n * each);
	if (!buf)
		return -ENOMEM;
	co->buf = buf;
	co->n_room = n;
	return 0;
}

static void coord_free(struct bus_coord *co)
{
	struct bus_coord **p = &co->bus->coords;

	while (*p && *p != co)
		p = &(*p)->next;
	if (*p)
		*p = co->next;
	for (struct bus_stash *s = co->stash, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	for (uint32_t i = 0; i < co->n_loans; i++)
		free(co->loan[i].copy);
	free(co->loan);
	free(co->entry);
	bus_crew_free(&co->crew);
	free(co->buf);
	free(co);
}

/* --------------------------------------------------------------- workers -- */

/* Requests that were quarantined because endpoint @id died: note who it was. */
static void note_death(void *arg, uint32_t id, pid_t pid,
		       const struct sb_proc_exit *how)
{
	struct bus_coord *co = arg;
	const struct sb_ring_end *end = &co->c.end;

	for (uint32_t i = co->entry[0].next; i; i = co->entry[i].next) {
		struct bus_entry *e = &co->entry[i];
		uint64_t own;

		if (e->pid)
			continue;
		own = ld_acq(&end->cown[sb_ring_idx(end, e->pos)]);
		if (SB_POS(own) != e->pos || SB_OWNER(own) != id ||
		    SB_STATE(own) != SB_QUARANTINED)
			continue;
		e->pid = pid;
		e->signal = how->signal;
		e->exit_status = how->exit_status;
	}
}

int bus_coord_workers(struct bus_coord *co, pid_t *pids, size_t n)
{
	size_t live = 0;
	int ret = bus_coord_check(co);

	if (ret)
		return ret;
	bus_crew_replace(&co->crew);
	for (uint32_t i = 0; i < co->crew.n_places; i++) {
		if (!co->crew.member[i].proc.pid)
			continue;
		if (live < n)
			pids[live] = co->crew.member[i].proc.pid;
		live++;
	}
	return (int)live;
}

size_t bus_coord_outstanding(const struct bus_coord *co)
{
	return co->n_outstanding;
}

/* ----------------------------------------------------------------- start -- */

static int channel_up(struct bus_coord *co, const char *name)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_REQUEST,
					 .ring_flags = SB_RING_REQUEST };
	uint32_t n_places, n_canceled;
	int idx, ret;

	bus_request_plan(co->config.request_bytes, co->config.result_bytes,
			 &spec, &co->c.layout);
	if (co->c.layout.result_bytes > co->bus->map->sizes.max_message_bytes &&
	    co->c.layout.head_bytes)
		return -EINVAL;
	spec.log_n = (uint32_t)__builtin_ctz(co->config.window);
	spec.max_attempts = co->config.max_attempts;
	spec.crew_places = co->crew.n_places;
	spec.crew_canceled = co->crew.hooks.cancels ? co->config.window : 0;
	idx = bus_channel_make(co->bus, name, &spec);
	if (idx < 0)
		return idx;
	co->reused = spec.reused;
	co->c.bus = co->bus;
	co->c.idx = (uint32_t)idx;
	ret = bus_channel_attach(co->bus, co->c.idx, &co->c.chan, &co->c.end);
	co->crew.coord = bus_ep_life(co->bus->map, co->bus->id);
	co->crew.area =
		bus_channel_area(co->bus, co->c.idx, &n_places, &n_canceled);
	/* What lies in a slot follows from the plan: the ring must be it. */
	if (!ret && (!co->crew.area || n_places != spec.crew_places ||
		     n_canceled != spec.crew_canceled ||
		     co->c.end.stride != spec.stride ||
		     co->c.end.mask + 1 != co->config.window ||
		     co->c.end.flags != spec.ring_flags ||
		     co->c.end.max_attempts != spec.max_attempts)) {
		co->c.end.ring = NULL;
		ret = -EPROTO;
	}
	return ret;
}

/* Nobody works on our ring any more: the next coordinator may have it. */
static void channel_down(struct bus_coord *co)
{
	if (!co->c.end.ring)
		return;
	sb_ring_close(&co->c.end);
	bus_channel_idle(co->bus, co->c.idx);
}

/* Check what was asked for, and note it. */
static int configure(struct bus_coord *co,
		     const struct bus_coord_config *config,
		     const struct bus_crew_config *hooks)
{
	struct bus_crew *crew = &co->crew;
	int ret = bus_config_copy(&co->config, sizeof(co->config), config);

	if (!ret)
		ret = bus_coord_config_fill(&co->config);
	if (ret)
		return ret;
	crew->bus = co->bus;
	crew->c = &co->c;
	crew->handler = co->config.handler;
	crew->init = co->config.init;
	crew->ctx = co->config.ctx;
	crew->min_backoff_ns = co->config.backoff_ns;
	crew->prefetch = (uint32_t)co->config.prefetch;
	crew->died = note_death;
	crew->arg = co;
	crew->plain = !hooks;
	if (hooks)
		crew->hooks = *hooks;
	crew->n_wanted = crew->n_places = co->config.n_workers;
	if (crew->hooks.max_workers)
		crew->n_places = crew->hooks.max_workers;
	if (crew->n_places > BUS_CREW_MAX || crew->n_wanted > crew->n_places)
		return -EINVAL;
	return bus_crew_fits(crew, crew->n_wanted) ? 0 : -EUSERS;
}

int bus_coord_start_crew(struct bus *bus, const char *name,
			 const struct bus_coord_config *config,
			 const struct bus_crew_config *hooks,
			 struct bus_coord **out)
{
	struct bus_coord *co;
	int ret;

	if (!bus || !name || !config || !out)
		return -EINVAL;
	ret = bus_check(bus);
	if (ret)
		return ret;
	co = calloc(1, sizeof(*co));
	if (!co)
		return -ENOMEM;
	co->bus = bus;
	ret = configure(co, config, hooks);
	if (!ret)
		ret = channel_up(co, name);
	if (!ret)
		ret = bus_crew_init(&co->crew);
	if (!ret) {
		ret = bus_coord_room(co, 1);
		if (!ret)
			ret = make_entries(co);
	}
	if (ret) {
		channel_down(co);
		coord_free(co);
		return ret;
	}
	co->next = bus->coords;
	bus->coords = co;
	ret = bus_crew_start(&co->crew);
	if (ret) {
		bus_coord_stop(co, 0);
		return ret;
	}
	*out = co;
	return 0;
}

int bus_coord_start(struct bus *bus, const char *name,
		    const struct bus_coord_config *config,
		    struct bus_coord **out)
{
	return bus_coord_start_crew(bus, name, config, NULL, out);
}

/* ------------------------------------------------------------------ stop -- */

/* In a forked child the workers are no children: forget them. */
static void disown(struct bus_coord *co)
{
	co->foreign = true;
	bus_crew_disown(&co->crew);
}

void bus_coord_after_fork(struct bus_coord *co)
{
	for (; co; co = co->next)
		disown(co);
}

/* Which workers somebody waits for: how many of them are left. */
typedef uint32_t (*count_workers)(const struct bus_crew *crew);

struct stopping {
	struct bus_coord *co;
	count_workers n_left; /* NULL: for the answers */
};

/* Have all requests been answered, or, later, have all workers left? */
static int try_stopped(void *arg, bool sure)
{
	struct stopping *s = arg;
	struct bus_coord *co = s->co;
	uint64_t seq;

	(void)sure;
	if (s->n_left)
		return s->n_left(&co->crew) ? -EAGAIN : 0;
	for (uint32_t i = co->entry[0].next; i; i = co->entry[i].next)
		if (!bus_coord_is_done(co, &co->entry[i], &seq))
			return -EAGAIN;
	return 0;
}

static int wait_stopped(struct bus_coord *co, count_workers n_left,
			uint64_t deadline)
{
	struct stopping s = { .co = co, .n_left = n_left };
	struct sb_wait wait = { .try_ = try_stopped,
				.arg = &s,
				.sets = { &co->c.chan->done },
				.n_sets = 1 };

	return bus_crew_wait(&co->crew, &wait, deadline);
}

/* Nothing puts it off. */
static int wait_stopped_for_sure(struct bus_coord *co, count_workers n_left,
				 uint64_t deadline)
{
	int ret;

	do
		ret = wait_stopped(co, n_left, deadline);
	while (ret == -EINTR);
	return ret;
}

static void end_ring(struct bus_coord *co)
{
	co->crew.leaving = true;
	sb_ring_close(&co->c.end);
	sb_wake_all(&co->c.chan->rx, &co->bus->bells);
}

/* Does a worker have it in hand, who could not be killed?  Then the slot and
 * the cells are his.  They are free when this endpoint is closed; until then
 * the ring is nobody's to use again. */
static bool is_in_hand(const struct bus_coord *co, const struct bus_entry *e)
{
	const struct sb_ring_end *end = &co->c.end;
	uint64_t own = ld_acq(&end->cown[sb_ring_idx(end, e->pos)]);

	return SB_POS(own) == e->pos && sb_own_has(own) &&
	       SB_OWNER(own) != co->bus->id;
}

/* Free the slots and cells of what nobody will collect. */
static void drop_outstanding(struct bus_coord *co)
{
	uint64_t seq;

	bus_coord_free_last(co);
	for (uint32_t i = co->entry[0].next; i; i = co->entry[i].next) {
		struct bus_entry *e = &co->entry[i];

		if (sb_ring_answered(&co->c.end, e->pos, &seq))
			sb_ring_free(&co->c.end, e->pos);
		else if (is_in_hand(co, e))
			continue;
		bus_request_free_cells(&co->c, e->pos, e->cell);
		sb_blob_free_all(&co->bus->blob, co->c.idx, e->pos);
	}
	channel_down(co);
}

/* There are workers who live on: they shall not run what is left. */
static void take_back(struct bus_coord *co)
{
	struct sb_ring_end *end = &co->c.end;
	uint64_t pos;

	for (uint64_t i = 0; i <= end->mask; i++) {
		if (sb_ring_take(end, 1, true, &pos) != 1)
			break;
		sb_ring_free(end, pos);
	}
}

static void kill_all(struct bus_coord *co)
{
	co->crew.stopping = true;
	end_ring(co);
	bus_crew_kill(&co->crew);
	wait_stopped_for_sure(co, bus_crew_dying, SB_FOREVER);
	if (!bus_crew_live(&co->crew))
		return;
	sb_ring_recall(&co->c.end);
	take_back(co);
	wait_stopped_for_sure(co, bus_crew_live, sb_now_ns() + PARTING_NS);
	take_back(co); /* of a run; what comes later is drained by the next */
}

int bus_coord_kill_all(struct bus_coord *co)
{
	int ret = bus_coord_check(co);

	if (!ret)
		kill_all(co);
	return ret;
}

int bus_coord_leave(struct bus_coord *co, uint64_t deadline_ns)
{
	int ret = bus_coord_check(co);

	if (ret)
		return ret;
	end_ring(co);
	ret = wait_stopped(co, NULL, deadline_ns);
	if (ret)
		return ret;
	co->crew.stopping = true;
	/* Who only tries never sleeps with the pidfds. */
	bus_crew_look(&co->crew);
	return wait_stopped(co, bus_crew_live, deadline_ns);
}

int bus_coord_stop(struct bus_coord *co, int64_t timeout_ns)
{
	uint64_t deadline = timeout_ns ? sb_deadline(timeout_ns) : 1;
	int ret;

	if (!co)
		return 0;
	/* In a forked child the waiter must have forgotten our watches before
	 * they are freed. */
	ret = bus_check(co->bus);
	if (ret || co->foreign) {
		disown(co);
		coord_free(co); /* the parent's: only our copy of it */
		return 0;
	}
	bus_coord_end_loans(co);
	end_ring(co);
	ret = wait_stopped_for_sure(co, NULL, deadline);
	co->crew.stopping = true;
	/* Broken: those who are left run what there is, as they would have,
	 * before they leave. */
	if (!ret || ret == -ECHILD)
		ret = wait_stopped_for_sure(co, bus_crew_live, deadline);
	if (ret)
		kill_all(co);
	drop_outstanding(co);
	coord_free(co);
	return ret ? -ETIMEDOUT : 0;
}
