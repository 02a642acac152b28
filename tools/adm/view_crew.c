/*
 * view_crew.c - the workers of a coordinator, from the area behind its ring
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/crew.h"
#include "tools/adm/view.h"

static uint32_t log2_of(uint32_t power)
{
	return (uint32_t)__builtin_ctz(power);
}

/* The endpoint that a process has on the bus, or 0. */
static uint32_t endpoint_of(const struct snap *s, uint32_t pid)
{
	for (uint32_t id = 1; pid && id < s->n_eps; id++)
		if (snap_attached(&s->ep[id]) && s->ep[id].pid == pid)
			return id;
	return 0;
}

static void take_place(const struct snap *s, struct snap_place *p,
		       const struct bus_place *from)
{
	p->word = from->word;
	p->task = p->word >> BUS_PLACE_NUMBER_SHIFT;
	p->told = p->word & BUS_PLACE_TOLD;
	p->doomed = p->word & BUS_PLACE_DOOMED;
	p->signaled = p->word & BUS_PLACE_SIGNAL;
	p->since_ns = from->since_ns;
	p->n_done = from->n_done;
	p->handler = from->handler;
	p->life = from->life;
	p->pid = snap_pid(s, from->pid);
	p->n_deaths = from->n_deaths;
	p->ep = endpoint_of(s, p->pid);
	if (p->ep)
		p->proc = s->ep[p->ep].proc;
	else if (p->pid)
		snap_process(s, &p->proc, from->pid, 0);
}

static void take_area(struct snap_crew *w, const struct bus_crew_area *a)
{
	const struct bus_crew_counts *n = &a->counts;

	w->n_submitted = n->n_submitted;
	w->n_ok = n->n_ok;
	w->n_failed = n->n_failed;
	w->n_dead = n->n_dead;
	w->n_canceled = n->n_canceled;
	w->n_timed_out = n->n_timed_out;
	w->n_callbacks_failed = n->n_callbacks_failed;
	w->n_respawns = n->n_respawns;
	w->n_deaths = n->n_deaths;
	w->n_wanted = a->n_wanted;
	w->n_inits = a->n_inits;
	memcpy(w->init_error, a->init_error, sizeof(w->init_error) - 1);
	for (uint32_t i = 0; i < w->n_places; i++)
		w->place[i].talking = a->talking[i / 64 % 4] >> i % 64 & 1;
}

/* Read it all: the area from @off on. */
static int read_crew(const struct view *v, const struct snap *s,
		     struct snap_crew *w, uint64_t off)
{
	size_t bytes = w->n_places * sizeof(struct bus_place);
	struct bus_crew_area area;
	struct bus_place *places = aligned_alloc(SB_FAR, bytes);
	int ret = -ENOMEM;

	w->place = calloc(w->n_places, sizeof(*w->place));
	if (places && w->place)
		ret = view_read(v, off, (void *)&area, sizeof(area));
	if (!ret)
		ret = view_read(v, off + sizeof(area), (void *)places, bytes);
	if (!ret) {
		for (uint32_t i = 0; i < w->n_places; i++)
			take_place(s, &w->place[i], &places[i]);
		take_area(w, &area);
	}
	free(places);
	return ret;
}

int snap_crew_take(const struct view *v, struct snap *s, struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;
	struct bus_channel head;
	uint64_t at, need;
	int ret = view_read(v, c->off, (void *)&head, sizeof(head));

	if (ret || !head.crew_places)
		return ret;
	at = sizeof(head) + sb_ring_bytes(log2_of(r->n_slots), r->stride);
	need = bus_crew_bytes(head.crew_places, head.crew_canceled);
	if (head.crew_places > BUS_CREW_MAX || at > c->bytes ||
	    need > c->bytes - at) {
		c->ring->bad = "its workers do not fit behind it";
		return 0;
	}
	c->crew = calloc(1, sizeof(*c->crew));
	if (!c->crew)
		return -ENOMEM;
	c->crew->n_places = head.crew_places;
	c->crew->window = head.crew_canceled;
	return read_crew(v, s, c->crew, c->off + at);
}
