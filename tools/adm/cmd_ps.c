/*
 * cmd_ps.c - busadm ps: who is attached, what he does, and what he holds
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/args.h"
#include "tools/adm/show.h"
#include "tools/adm/text.h"

static const char help[] =
	"Usage: busadm ps [OPTION...] BUS\n"
	"The endpoints of the bus: the process behind each, for what it "
	"sleeps, and which\n"
	"messages it holds.\n"
	"\n"
	"      --format FORMAT  text (default) or json\n"
	"      --help           print this and exit\n";

/* A message that somebody has. */
struct holding {
	const struct snap_chan *c;
	const struct snap_slot *slot;
	const struct snap_place *place; /* of a pool: his; or NULL */
};

#define HOLDINGS_MAX 64

struct holdings {
	struct holding h[HOLDINGS_MAX];
	uint32_t n; /* in all, also those that have no room */
};

/* ----------------------------------------------------------------- hold -- */

/* The place of a worker who is at a task now. */
static const struct snap_place *place_of(const struct snap_chan *c, uint32_t id)
{
	for (uint32_t i = 0; c->crew && i < c->crew->n_places; i++)
		if (c->crew->place[i].ep == id && c->crew->place[i].word)
			return &c->crew->place[i];
	return NULL;
}

static bool is_his(const struct snap_slot *slot, uint32_t id)
{
	switch (slot->state) {
	case SNAP_HELD:
	case SNAP_BEHIND:
		return slot->holder == id;
	case SNAP_WRITING:
	case SNAP_PASSED:
		return slot->writer == id;
	default:
		return false;
	}
}

static int by_position(const void *a, const void *b)
{
	const struct holding *x = a, *y = b;

	if (x->c != y->c)
		return x->c < y->c ? -1 : 1;
	return snap_pos_cmp(x->slot->pos, y->slot->pos);
}

/* The slots of all rings are looked at once for each endpoint: there are 254 at
 * most, and nearly all slots say at once that they are none of his. */
static void find_holdings(const struct snap *s, uint32_t id,
			  struct holdings *all)
{
	all->n = 0;
	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_chan *c = &s->chan[i];

		if (c->bad || !c->ring ||
		    !(snap_held(c->ring) + c->ring->n[SNAP_WRITING] +
		      c->ring->n[SNAP_PASSED]))
			continue;
		for (uint32_t k = 0; k < c->ring->n_slots; k++) {
			const struct snap_slot *slot = &c->ring->slot[k];

			if (!is_his(slot, id))
				continue;
			if (all->n < HOLDINGS_MAX)
				all->h[all->n] =
					(struct holding){ c, slot,
							  place_of(c, id) };
			all->n++;
		}
	}
	qsort(all->h, all->n < HOLDINGS_MAX ? all->n : HOLDINGS_MAX,
	      sizeof(all->h[0]), by_position);
}

/* "orders:0", "work:3 for 12 s", "jobs:7 after 2 deaths", "writing logs:5" */
static void one_holding(char *buf, size_t size, const struct snap *s,
			const struct holding *h)
{
	char name[SHOW_BYTES], span[32];
	uint64_t age = h->place ? show_age(s, h->place->since_ns) : UINT64_MAX;
	size_t at;

	show_channel(name, h->c);
	snprintf(buf, size, "%s%s:%" PRIu64,
		 h->slot->state == SNAP_HELD     ? ""
		 : h->slot->state == SNAP_BEHIND ? "not begun "
						 : "writing ",
		 name, h->slot->pos);
	at = strlen(buf);
	if (age != UINT64_MAX)
		snprintf(buf + at, size - at, " for %s",
			 text_span(span, sizeof(span), age));
	at = strlen(buf);
	if (h->slot->attempts)
		snprintf(buf + at, size - at, " after %u death%s",
			 h->slot->attempts, text_s(h->slot->attempts));
}

/* The first few, and how many more. */
static char *all_holdings(char *buf, const struct snap *s,
			  const struct holdings *all)
{
	size_t at = 0;

	*buf = '\0';
	for (uint32_t i = 0; i < all->n; i++) {
		if (i == 3 || at + 100 > SHOW_BYTES) {
			snprintf(buf + at, SHOW_BYTES - at,
				 ", %" PRIu32 " more", all->n - i);
			break;
		}
		if (i)
			at += (size_t)snprintf(buf + at, SHOW_BYTES - at, ", ");
		one_holding(buf + at, SHOW_BYTES - at, s, &all->h[i]);
		at += strlen(buf + at);
	}
	return buf;
}

/* ------------------------------------------------------------------ text -- */

/* Worth a line: somebody is there, or is dead and has not been recovered. */
static bool is_shown(const struct snap_ep *e)
{
	return e->bad || snap_attached(e) || e->state == BUS_EP_DEAD;
}

/* What became of its process; or the state of the endpoint, if that is the
 * news. */
static void add_state(struct grid *g, const struct snap_ep *e)
{
	if (e->bad) {
		grid_cell(g, "?");
		grid_mark(g, GRID_BAD);
	} else if (e->state == BUS_EP_DEAD) {
		grid_cell(g, "dead");
		grid_mark(g, GRID_BAD);
	} else if (e->state != BUS_EP_LIVE && !process_is_dead(&e->proc)) {
		grid_cell(g, "%s", snap_ep_word(e->state));
		grid_mark(g, GRID_NOTE);
	} else if (e->proc.state == PROCESS_UNKNOWN) {
		grid_cell(g, "%s", e->running ? "awake" : "parked");
	} else {
		grid_cell(g, "%s", process_word(e->proc.state));
		grid_mark(g, show_mark(&e->proc));
	}
}

static void add_endpoint(struct grid *g, const struct snap *s,
			 const struct snap_ep *e, struct holdings *all)
{
	char a[SHOW_BYTES], b[SHOW_BYTES], command[PROCESS_COMMAND_BYTES];
	bool known = e->proc.state != PROCESS_UNKNOWN &&
		     e->proc.state != PROCESS_DEAD;

	find_holdings(s, e->id, all);
	grid_cell(g, "%" PRIu32, e->id);
	grid_cell(g, "%" PRIu32, e->pid);
	add_state(g, e);
	grid_cell(g, "%s",
		  known ? text_cpu(a, sizeof(a), e->proc.cpu_ns) : "-");
	grid_cell(g, "%" PRIu64, e->n_put);
	grid_cell(g, "%" PRIu64, e->n_got);
	grid_cell(g, "%" PRIu64, e->n_parks);
	show_sleep(a, s, e->id);
	grid_cell(g, "%s", *a ? a : "-");
	all_holdings(b, s, all);
	grid_cell(g, "%s", *b ? b : "-");
	grid_cell(
		g, "%s",
		e->bad ? e->bad
		       : text_name(command, sizeof(command), e->proc.command));
}

static void print_ps(const struct snap *s, struct holdings *all)
{
	struct grid g;

	grid_init(&g, ">ID|>PID|STATE|>CPU|>PUT|>GOT|>PARKS|SLEEPS FOR|HOLDS|"
		      "<COMMAND");
	for (uint32_t id = 1; id < s->n_eps; id++)
		if (is_shown(&s->ep[id]))
			add_endpoint(&g, s, &s->ep[id], all);
	if (grid_rows(&g))
		grid_print(&g, 0);
	else
		puts("nobody is attached");
	grid_free(&g);
}

/* ------------------------------------------------------------------ JSON -- */

static json_t *json_holding(const struct snap *s, const struct holding *h)
{
	json_t *o = show_json_slot(h->slot);
	char name[SHOW_BYTES];
	uint64_t age = h->place ? show_age(s, h->place->since_ns) : UINT64_MAX;

	show_json_number(o, "channel", h->c->idx);
	json_object_set_new(o, "name", json_string(show_channel(name, h->c)));
	if (age != UINT64_MAX)
		show_json_number(o, "since_ns", age);
	return o;
}

static json_t *json_endpoint(const struct snap *s, const struct snap_ep *e,
			     struct holdings *all)
{
	json_t *o = json_object(), *holds = json_array();
	char sleep[SHOW_BYTES];

	find_holdings(s, e->id, all);
	show_json_number(o, "id", e->id);
	show_json_number(o, "pid", e->pid);
	json_object_set_new(o, "state", json_string(snap_ep_word(e->state)));
	if (e->bad)
		json_object_set_new(o, "bad", json_string(e->bad));
	json_object_set_new(o, "process", show_json_process(&e->proc));
	json_object_set_new(o, "parked", json_boolean(!e->running));
	json_object_set_new(o, "sleeps_for",
			    json_string(show_sleep(sleep, s, e->id)));
	show_json_number(o, "put", e->n_put);
	show_json_number(o, "got", e->n_got);
	show_json_number(o, "parks", e->n_parks);
	show_json_number(o, "yields", e->n_yields);
	show_json_number(o, "deaths", e->n_deaths);
	show_json_number(o, "redelivered", e->n_redelivered);
	show_json_number(o, "quarantined", e->n_quarantined);
	show_json_number(o, "rejected", e->n_rejected);
	if (e->recovering)
		show_json_number(o, "recovers", e->recovering);
	for (uint32_t i = 0; i < all->n && i < HOLDINGS_MAX; i++)
		json_array_append_new(holds, json_holding(s, &all->h[i]));
	json_object_set_new(o, "holds", holds);
	show_json_number(o, "n_holds", all->n);
	return o;
}

static json_t *json_ps(const struct snap *s, struct holdings *all)
{
	json_t *o = show_json_bus(s->view), *endpoints = json_array();

	for (uint32_t id = 1; id < s->n_eps; id++)
		if (is_shown(&s->ep[id]))
			json_array_append_new(
				endpoints, json_endpoint(s, &s->ep[id], all));
	json_object_set_new(o, "endpoints", endpoints);
	return o;
}

int cmd_ps(int argc, char **argv)
{
	struct args args = { 0 };
	struct holdings all;
	struct view v;
	struct snap s;
	int status;

	if (args_bus(&args, argc, argv, help))
		return args.status;
	status = show_open(argv[optind], &v, &s);
	if (status)
		return status;
	if (args.json)
		text_print_json(json_ps(&s, &all));
	else
		print_ps(&s, &all);
	show_close(&v, &s);
	return ADM_OK;
}
