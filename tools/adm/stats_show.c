/*
 * stats_show.c - what a bus counts, as text and as JSON
 */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/adm/counts.h"
#include "tools/adm/grid.h"
#include "tools/adm/show.h"
#include "tools/adm/stats_show.h"
#include "tools/adm/text.h"
#include "tools/units.h"

/* ------------------------------------------------------------------ text -- */

static void line(const char *what, uint64_t n, const char *means)
{
	printf("  %-12s %14" PRIu64 "  %s\n", what, n, means);
}

static void show_whole(const struct snap *s)
{
	char used[32], all[32];
	struct counts_bus n;

	counts_of_bus(s, &n);
	line("put", n.n_put, "messages, requests and results");
	line("got", n.n_got, "of them");
	line("waiting", n.n_waiting, "that nobody has yet");
	line("held", n.n_held, "that somebody has and has not finished");
	line("parks", n.n_parks, "times that somebody went to sleep");
	line("yields", n.n_yields, "times that he gave up the processor first");
	line("deaths", n.n_deaths, "endpoints that were found dead");
	line("redelivered", n.n_redelivered,
	     "that the dead held and others got");
	line("given up", n.n_quarantined, "because too many died on them");
	line("rejected", n.n_rejected, "because they made no sense");
	printf("  %-12s %14s  of memory, %s\n", "used",
	       text_bytes(used, sizeof(used), s->view->used_bytes),
	       "which grows with channels and pipes");
	printf("  %-12s %14s  of %s for large messages\n", "large",
	       text_bytes(used, sizeof(used), s->cells.used_bytes),
	       text_bytes(all, sizeof(all), s->cells.bytes));
}

/* "work", or "#3" of those that have no name. */
static const char *chan_name(char *buf, size_t size, const struct snap_chan *c)
{
	if (*c->name)
		return text_name(buf, size, c->name);
	snprintf(buf, size, "#%u", c->idx);
	return buf;
}

static bool is_shown(const struct snap_chan *c)
{
	return !c->bad && c->kind != BUS_CHAN_PIPE_IDLE;
}

static void of_ring(struct grid *g, const struct snap_chan *c, uint64_t n)
{
	if (c->ring)
		grid_cell(g, "%" PRIu64, n);
	else
		grid_cell(g, "-");
}

static void show_chans(const struct snap *s)
{
	char name[4 * BUS_NAME_BYTES];
	struct counts_chan n;
	struct grid g;

	grid_init(&g, "CHANNEL|KIND|>PUT|>GOT|>WAITING|>HELD|>FREE|>SLOTS|"
		      ">READERS ASLEEP|>WRITERS ASLEEP");
	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_chan *c = &s->chan[i];

		if (!is_shown(c))
			continue;
		counts_of_chan(c, &n);
		grid_cell(&g, "%s", chan_name(name, sizeof(name), c));
		grid_cell(&g, "%s", counts_kind(c));
		grid_cell(&g, "%" PRIu64, n.n_put);
		grid_cell(&g, "%" PRIu64, n.n_got);
		grid_cell(&g, "%" PRIu64, n.n_waiting);
		of_ring(&g, c, n.n_held);
		of_ring(&g, c, n.n_free);
		of_ring(&g, c, n.n_slots);
		grid_cell(&g, "%u", n.n_rx);
		grid_cell(&g, "%u", n.n_tx);
	}
	if (grid_rows(&g)) {
		putchar('\n');
		grid_print(&g, 2);
	}
	grid_free(&g);
}

static void show_pools(const struct snap *s)
{
	char name[4 * BUS_NAME_BYTES];
	uint32_t n_busy, n;
	struct grid g;

	grid_init(&g, "POOL|>SUBMITTED|>OK|>FAILED|>DEAD|>CANCELED|>LATE|"
		      ">WORKERS|>BUSY|>REPLACED");
	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_crew *w = s->chan[i].crew;

		if (!w || !counts_is_pool(&s->chan[i]))
			continue;
		n = counts_workers(w, &n_busy);
		grid_cell(&g, "%s", chan_name(name, sizeof(name), &s->chan[i]));
		grid_cell(&g, "%" PRIu64, w->n_submitted);
		grid_cell(&g, "%" PRIu64, w->n_ok);
		grid_cell(&g, "%" PRIu64, w->n_failed);
		grid_cell(&g, "%" PRIu64, w->n_dead);
		grid_cell(&g, "%" PRIu64, w->n_canceled);
		grid_cell(&g, "%" PRIu64, w->n_timed_out);
		grid_cell(&g, "%u", n);
		grid_cell(&g, "%u", n_busy);
		grid_cell(&g, "%" PRIu64, w->n_respawns);
	}
	if (grid_rows(&g)) {
		putchar('\n');
		grid_print(&g, 2);
	}
	grid_free(&g);
}

static void show_eps(const struct snap *s)
{
	char command[PROCESS_COMMAND_BYTES * 4];
	struct grid g;

	grid_init(&g, ">ENDPOINT|>PID|>PUT|>GOT|>PARKS|>DEATHS|>REDELIVERED|"
		      "COMMAND");
	for (uint32_t id = 1; id < s->n_eps; id++) {
		const struct snap_ep *ep = &s->ep[id];

		if (!snap_attached(ep) && ep->state != BUS_EP_DEAD)
			continue;
		grid_cell(&g, "%u", id);
		grid_cell(&g, "%u", ep->pid);
		grid_cell(&g, "%" PRIu64, ep->n_put);
		grid_cell(&g, "%" PRIu64, ep->n_got);
		grid_cell(&g, "%" PRIu64, ep->n_parks);
		grid_cell(&g, "%" PRIu64, ep->n_deaths);
		grid_cell(&g, "%" PRIu64, ep->n_redelivered);
		grid_cell(
			&g, "%s",
			text_name(command, sizeof(command), ep->proc.command));
	}
	if (grid_rows(&g)) {
		putchar('\n');
		grid_print(&g, 2);
	}
	grid_free(&g);
}

void stats_show(const char *name, const struct snap *s)
{
	char escaped[256];

	printf("%s\n", text_name(escaped, sizeof(escaped), name));
	show_whole(s);
	show_chans(s);
	show_pools(s);
	show_eps(s);
}

/* ----------------------------------------------------------------- rates -- */

static const char *per_s(char *buf, size_t size, double rate)
{
	units_count(buf, size, rate >= 0.5 || !(rate > 0) ? rate : 1);
	return buf;
}

static void rate_cell(struct grid *g, double rate)
{
	char buf[32];

	grid_cell(g, "%s", per_s(buf, sizeof(buf), rate));
}

void stats_show_rates(const char *name, const struct snap *was,
		      const struct snap *now)
{
	char buf[4][32], escaped[256], chan[4 * BUS_NAME_BYTES];
	struct counts_bus n;
	struct rates r;
	struct grid g;

	rates_of_bus(was, now, &r);
	counts_of_bus(now, &n);
	printf("%s: put %s/s, got %s/s, parks %s/s, waiting %" PRIu64
	       ", held %" PRIu64 "\n",
	       text_name(escaped, sizeof(escaped), name),
	       per_s(buf[0], sizeof(buf[0]), r.put),
	       per_s(buf[1], sizeof(buf[1]), r.got),
	       per_s(buf[2], sizeof(buf[2]), r.parks), n.n_waiting, n.n_held);
	grid_init(&g, "CHANNEL|KIND|>PUT/S|>GOT/S|>WAITING|>HELD|"
		      ">READERS ASLEEP|>WRITERS ASLEEP");
	for (uint32_t i = 0; i < now->n_chans; i++) {
		const struct snap_chan *c = &now->chan[i];
		struct counts_chan nc;

		if (!is_shown(c))
			continue;
		rates_of_chan(was, now, i, &r);
		counts_of_chan(c, &nc);
		grid_cell(&g, "%s", chan_name(chan, sizeof(chan), c));
		grid_cell(&g, "%s", counts_kind(c));
		rate_cell(&g, r.put);
		rate_cell(&g, r.got);
		grid_cell(&g, "%" PRIu64, nc.n_waiting);
		of_ring(&g, c, nc.n_held);
		grid_cell(&g, "%u", nc.n_rx);
		grid_cell(&g, "%u", nc.n_tx);
	}
	if (grid_rows(&g))
		grid_print(&g, 2);
	grid_free(&g);
}

/* ------------------------------------------------------------------ JSON -- */

static void set_rate(json_t *o, const char *key, double rate)
{
	json_object_set_new(o, key,
			    isfinite(rate) ? json_real(rate) : json_null());
}

static json_t *chan_json(const struct snap *was, const struct snap *now,
			 const struct snap_chan *c)
{
	json_t *o = json_object();
	struct counts_chan n;
	struct rates r;

	counts_of_chan(c, &n);
	show_json_number(o, "channel", c->idx);
	json_object_set_new(o, "name", text_json(c->name, strlen(c->name)));
	json_object_set_new(o, "kind", json_string(snap_kind_word(c->kind)));
	show_json_number(o, "put", n.n_put);
	show_json_number(o, "got", n.n_got);
	show_json_number(o, "waiting", n.n_waiting);
	if (c->ring) {
		show_json_number(o, "held", n.n_held);
		show_json_number(o, "free", n.n_free);
		show_json_number(o, "slots", n.n_slots);
		json_object_set_new(o, "closed", json_boolean(c->ring->closed));
	}
	show_json_number(o, "readers_asleep", n.n_rx);
	show_json_number(o, "writers_asleep", n.n_tx);
	if (was) {
		rates_of_chan(was, now, c->idx, &r);
		set_rate(o, "put_per_s", r.put);
		set_rate(o, "got_per_s", r.got);
	}
	return o;
}

static json_t *pool_json(const struct snap_chan *c)
{
	const struct snap_crew *w = c->crew;
	json_t *o = json_object();
	uint32_t n_busy;

	json_object_set_new(o, "name", text_json(c->name, strlen(c->name)));
	show_json_number(o, "channel", c->idx);
	show_json_number(o, "submitted", w->n_submitted);
	show_json_number(o, "ok", w->n_ok);
	show_json_number(o, "failed", w->n_failed);
	show_json_number(o, "dead", w->n_dead);
	show_json_number(o, "canceled", w->n_canceled);
	show_json_number(o, "timed_out", w->n_timed_out);
	show_json_number(o, "workers", counts_workers(w, &n_busy));
	show_json_number(o, "busy", n_busy);
	show_json_number(o, "respawns", w->n_respawns);
	show_json_number(o, "deaths", w->n_deaths);
	return o;
}

static json_t *ep_json(const struct snap *was, const struct snap *now,
		       const struct snap_ep *ep)
{
	json_t *o = json_object();
	struct rates r;

	show_json_number(o, "id", ep->id);
	show_json_number(o, "pid", ep->pid);
	json_object_set_new(
		o, "command",
		text_json(ep->proc.command, strlen(ep->proc.command)));
	show_json_number(o, "put", ep->n_put);
	show_json_number(o, "got", ep->n_got);
	show_json_number(o, "parks", ep->n_parks);
	show_json_number(o, "yields", ep->n_yields);
	show_json_number(o, "deaths", ep->n_deaths);
	show_json_number(o, "redelivered", ep->n_redelivered);
	if (was) {
		rates_of_ep(was, now, ep->id, &r);
		set_rate(o, "put_per_s", r.put);
		set_rate(o, "got_per_s", r.got);
		set_rate(o, "parks_per_s", r.parks);
		set_rate(o, "cpu", r.cpu);
	}
	return o;
}

static void add_totals(json_t *o, const struct snap *was,
		       const struct snap *now)
{
	struct counts_bus n;
	struct rates r;

	counts_of_bus(now, &n);
	show_json_number(o, "put", n.n_put);
	show_json_number(o, "got", n.n_got);
	show_json_number(o, "waiting", n.n_waiting);
	show_json_number(o, "held", n.n_held);
	show_json_number(o, "parks", n.n_parks);
	show_json_number(o, "yields", n.n_yields);
	show_json_number(o, "deaths", n.n_deaths);
	show_json_number(o, "redelivered", n.n_redelivered);
	show_json_number(o, "quarantined", n.n_quarantined);
	show_json_number(o, "rejected", n.n_rejected);
	if (now->view->used_bytes != UINT64_MAX)
		show_json_number(o, "used_bytes", now->view->used_bytes);
	show_json_number(o, "cell_bytes", now->cells.bytes);
	show_json_number(o, "used_cell_bytes", now->cells.used_bytes);
	if (was) {
		rates_of_bus(was, now, &r);
		set_rate(o, "put_per_s", r.put);
		set_rate(o, "got_per_s", r.got);
		set_rate(o, "parks_per_s", r.parks);
	}
}

json_t *stats_json(const char *name, const struct snap *was,
		   const struct snap *now)
{
	json_t *o = json_object(), *chans = json_array();
	json_t *pools = json_array(), *eps = json_array();

	json_object_set_new(o, "bus", text_json(name, strlen(name)));
	add_totals(o, was, now);
	for (uint32_t i = 0; i < now->n_chans; i++) {
		const struct snap_chan *c = &now->chan[i];

		if (is_shown(c))
			json_array_append_new(chans, chan_json(was, now, c));
		if (counts_is_pool(c))
			json_array_append_new(pools, pool_json(c));
	}
	for (uint32_t id = 1; id < now->n_eps; id++)
		if (snap_attached(&now->ep[id]))
			json_array_append_new(eps,
					      ep_json(was, now, &now->ep[id]));
	json_object_set_new(o, "channels", chans);
	json_object_set_new(o, "pools", pools);
	json_object_set_new(o, "endpoints", eps);
	return o;
}
