/*
 * counts.c - what a bus counts, and how much of it in a second
 */
#include "config.h"

#include <math.h>

#include "tools/adm/counts.h"

/* Does it carry messages? */
static bool is_used(const struct snap_chan *c)
{
	return !c->bad && c->kind != BUS_CHAN_PIPE_IDLE;
}

void counts_of_chan(const struct snap_chan *c, struct counts_chan *n)
{
	*n = (struct counts_chan){ 0 };
	if (!is_used(c))
		return;
	if (c->ring) {
		n->n_put = c->ring->tail;
		n->n_got = c->ring->head;
		n->n_waiting = snap_waiting(c->ring);
		n->n_held = snap_held(c->ring);
		n->n_slots = c->ring->n_slots;
		n->n_free = c->ring->n[SNAP_FREE];
		n->n_rx = snap_count(&c->ring->rx);
		n->n_tx = snap_count(&c->ring->tx);
	}
	for (uint32_t i = 0; c->pipe && i < c->pipe->n_dirs; i++) {
		const struct snap_dir *d = &c->pipe->dir[i];

		n->n_put += d->n_sent;
		n->n_got += d->n_received;
		n->n_waiting += d->n_records;
		n->n_rx += snap_count(&d->rx);
		n->n_tx += snap_count(&d->tx);
	}
}

void counts_of_bus(const struct snap *s, struct counts_bus *n)
{
	struct counts_chan c;

	*n = (struct counts_bus){ 0 };
	for (uint32_t id = 1; id < s->n_eps; id++) {
		const struct snap_ep *ep = &s->ep[id];

		n->n_put += ep->n_put;
		n->n_got += ep->n_got;
		n->n_parks += ep->n_parks;
		n->n_yields += ep->n_yields;
		n->n_deaths += ep->n_deaths;
		n->n_redelivered += ep->n_redelivered;
		n->n_quarantined += ep->n_quarantined;
		n->n_rejected += ep->n_rejected;
	}
	for (uint32_t i = 0; i < s->n_chans; i++) {
		counts_of_chan(&s->chan[i], &c);
		n->n_waiting += c.n_waiting;
		n->n_held += c.n_held;
		if (s->chan[i].pipe) {
			n->n_put += c.n_put;
			n->n_got += c.n_got;
		}
	}
}

uint32_t counts_held_by(const struct snap *s, uint32_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_ring *r = s->chan[i].ring;

		for (uint32_t k = 0; r && r->slot && k < r->n_slots; k++)
			n += (r->slot[k].state == SNAP_HELD ||
			      r->slot[k].state == SNAP_BEHIND) &&
			     r->slot[k].holder == id;
	}
	return n;
}

uint32_t counts_workers(const struct snap_crew *crew, uint32_t *n_busy)
{
	uint32_t n = 0;

	*n_busy = 0;
	for (uint32_t i = 0; i < crew->n_places; i++) {
		n += crew->place[i].pid != 0;
		*n_busy += crew->place[i].word != 0;
	}
	return n;
}

double counts_rate(uint64_t was, uint64_t now, uint64_t apart_ns)
{
	return now < was || !apart_ns
		       ? (double)NAN
		       : (double)(now - was) * 1e9 / (double)apart_ns;
}

void rates_of_bus(const struct snap *was, const struct snap *now,
		  struct rates *r)
{
	uint64_t apart = now->taken_ns - was->taken_ns;
	struct counts_bus a, b;

	counts_of_bus(was, &a);
	counts_of_bus(now, &b);
	*r = (struct rates){ .put = counts_rate(a.n_put, b.n_put, apart),
			     .got = counts_rate(a.n_got, b.n_got, apart),
			     .parks = counts_rate(a.n_parks, b.n_parks, apart),
			     .cpu = (double)NAN };
}

void rates_of_chan(const struct snap *was, const struct snap *now, uint32_t idx,
		   struct rates *r)
{
	uint64_t apart = now->taken_ns - was->taken_ns;
	struct counts_chan a, b;

	*r = (struct rates){ (double)NAN, (double)NAN, (double)NAN,
			     (double)NAN };
	if (idx >= was->n_chans || idx >= now->n_chans)
		return;
	counts_of_chan(&was->chan[idx], &a);
	counts_of_chan(&now->chan[idx], &b);
	r->put = counts_rate(a.n_put, b.n_put, apart);
	r->got = counts_rate(a.n_got, b.n_got, apart);
}

void rates_of_ep(const struct snap *was, const struct snap *now, uint32_t id,
		 struct rates *r)
{
	uint64_t apart = now->taken_ns - was->taken_ns;
	const struct snap_ep *a, *b;

	*r = (struct rates){ (double)NAN, (double)NAN, (double)NAN,
			     (double)NAN };
	if (id >= was->n_eps || id >= now->n_eps)
		return;
	a = &was->ep[id];
	b = &now->ep[id];
	r->put = counts_rate(a->n_put, b->n_put, apart);
	r->got = counts_rate(a->n_got, b->n_got, apart);
	r->parks = counts_rate(a->n_parks, b->n_parks, apart);
	/* Another process has other times. */
	if (a->word == b->word && a->proc.start_time && b->proc.start_time)
		r->cpu = counts_rate(a->proc.cpu_ns, b->proc.cpu_ns, apart) /
			 1e9;
}
