/*
 * show_json.c - parts of a snap as JSON, for several commands
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/adm/show.h"
#include "tools/adm/text.h"

static void set_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, text_json(text, strlen(text)));
}

static void set_flag(json_t *o, const char *key, bool is)
{
	if (is)
		json_object_set_new(o, key, json_true());
}

static void set_number(json_t *o, const char *key, uint64_t n)
{
	show_json_number(o, key, n);
}

void show_json_number(json_t *o, const char *key, uint64_t n)
{
	char text[24];

	/* What no reader of JSON takes for another number. */
	if (n < UINT64_C(1) << 53) {
		json_object_set_new(o, key, json_integer((json_int_t)n));
		return;
	}
	snprintf(text, sizeof(text), "%" PRIu64, n);
	set_text(o, key, text);
}

json_t *show_json_bus(const struct view *v)
{
	json_t *o = json_object();

	set_number(o, "schema", 1);
	set_text(o, "bus", v->name);
	set_text(o, "state", show_state_word(v));
	if (v->health != VIEW_GOOD)
		set_text(o, "why", v->why);
	if (v->creator_pid)
		set_number(o, "creator", (uint64_t)v->creator_pid);
	if (v->from)
		set_number(o, "process", (uint64_t)v->from);
	if (v->note)
		set_number(o, "made", v->taken_wall_s);
	set_flag(o, "no_payload", v->no_payload);
	return o;
}

json_t *show_json_process(const struct process *p)
{
	json_t *o = json_object();

	set_text(o, "state", process_word(p->state));
	if (p->state == PROCESS_UNKNOWN || p->state == PROCESS_DEAD)
		return o;
	set_text(o, "command", p->command);
	set_number(o, "parent", (uint64_t)p->parent);
	set_number(o, "cpu_ns", p->cpu_ns);
	set_number(o, "rss_bytes", p->rss_bytes);
	set_number(o, "threads", p->n_threads);
	set_number(o, "uid", p->uid);
	return o;
}

json_t *show_json_set(const struct snap_set *set)
{
	json_t *a = json_array();

	for (uint32_t id = 0; id <= SB_EP_MAX; id++)
		if (snap_has(set, id))
			json_array_append_new(a, json_integer(id));
	return a;
}

/* ----------------------------------------------------------------- parts -- */

json_t *show_json_slot(const struct snap_slot *slot)
{
	json_t *o = json_object();

	set_number(o, "position", slot->pos);
	set_text(o, "state", snap_slot_word(slot->state));
	if (slot->bad)
		set_text(o, "bad", slot->bad);
	if (slot->writer)
		set_number(o, "writer", slot->writer);
	if (slot->holder)
		set_number(o, "holder", slot->holder);
	if (slot->state >= SNAP_WAITING && slot->state <= SNAP_GIVEN_UP) {
		set_number(o, "attempts", slot->attempts);
		set_number(o, "bytes", slot->len_bytes);
	}
	if (slot->cell != SB_BLOB_NONE)
		set_number(o, "cell", slot->cell);
	set_flag(o, "error", slot->is_error);
	return o;
}

static void set_ring(json_t *o, const struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;

	if (r->bad)
		set_text(o, "bad", r->bad);
	set_number(o, "slots", r->n_slots);
	set_number(o, "slot_bytes", r->payload_bytes);
	set_number(o, "head", r->head);
	set_number(o, "tail", r->tail);
	set_number(o, "waiting", snap_waiting(r));
	set_number(o, "held", snap_held(r));
	set_number(o, "free", r->n[SNAP_FREE]);
	set_number(o, "writing", r->n[SNAP_WRITING] + r->n[SNAP_PASSED]);
	set_number(o, "empty", r->n[SNAP_TOMB]);
	set_number(o, "damaged", r->n[SNAP_BAD]);
	json_object_set_new(o, "closed", json_boolean(r->closed));
	set_flag(o, "aborted", r->aborted);
	set_flag(o, "joinable",
		 c->kind == BUS_CHAN_QUEUE && r->flags & BUS_QUEUE_JOINABLE);
	set_flag(o, "strict", r->ring_flags & SB_RING_STRICT);
	json_object_set_new(o, "asleep_for_messages", show_json_set(&r->rx));
	json_object_set_new(o, "asleep_for_room", show_json_set(&r->tx));
	json_object_set_new(o, "asleep_for_done", show_json_set(&r->done));
	if (c->kind == BUS_CHAN_QUEUE)
		return;
	set_number(o, "answered", r->n[SNAP_ANSWERED]);
	set_number(o, "given_up", r->n[SNAP_GIVEN_UP]);
	set_number(o, "max_attempts", r->max_attempts);
	set_number(o, "coordinator", r->coord);
}

static json_t *json_side(const struct snap_side *side)
{
	json_t *o = json_object();

	set_text(o, "state", snap_side_word(side->state));
	if (side->bad)
		set_text(o, "bad", side->bad);
	if (side->ep)
		set_number(o, "endpoint", side->ep);
	if (side->pid)
		set_number(o, "pid", side->pid);
	json_object_set_new(o, "sends", json_boolean(!side->no_tx));
	json_object_set_new(o, "receives", json_boolean(!side->no_rx));
	set_flag(o, "writer_died", side->half);
	return o;
}

static json_t *json_dir(const struct snap_dir *d)
{
	json_t *o = json_object();

	if (d->bad)
		set_text(o, "bad", d->bad);
	set_number(o, "sent", d->n_sent);
	set_number(o, "received", d->n_received);
	set_number(o, "records", d->n_records);
	set_number(o, "bytes", d->n_bytes);
	set_number(o, "used_slot_bytes", d->cap);
	set_flag(o, "full", d->full);
	json_object_set_new(o, "asleep_for_messages", show_json_set(&d->rx));
	json_object_set_new(o, "asleep_for_room", show_json_set(&d->tx));
	return o;
}

static void set_pipe(json_t *o, const struct snap_pipe *p)
{
	json_t *sides = json_array(), *dirs = json_array();

	set_number(o, "slot_bytes", p->slot_bytes);
	set_flag(o, "simplex", p->simplex);
	for (int i = 0; i < 2; i++)
		json_array_append_new(sides, json_side(&p->side[i]));
	for (uint32_t i = 0; i < p->n_dirs; i++)
		json_array_append_new(dirs, json_dir(&p->dir[i]));
	json_object_set_new(o, "sides", sides);
	json_object_set_new(o, "directions", dirs);
}

json_t *show_json_channel(const struct snap *s, const struct snap_chan *c)
{
	json_t *o = json_object();

	(void)s;
	set_number(o, "channel", c->idx);
	set_text(o, "name", c->name);
	set_text(o, "kind", snap_kind_word(c->kind));
	if (c->bad) {
		set_text(o, "bad", c->bad);
		return o;
	}
	set_number(o, "memory_bytes", c->bytes);
	if (c->ring)
		set_ring(o, c);
	if (c->pipe)
		set_pipe(o, c->pipe);
	if (c->crew)
		json_object_set_new(o, "workers", show_json_crew(s, c->crew));
	return o;
}

static json_t *json_place(const struct snap *s, const struct snap_place *p)
{
	json_t *o = json_object();
	uint64_t age = show_age(s, p->since_ns);

	set_text(o, "life", snap_place_word(p->life));
	set_number(o, "pid", p->pid);
	if (p->ep)
		set_number(o, "endpoint", p->ep);
	if (p->word) {
		set_number(o, "task", p->task);
		set_number(o, "handler", p->handler);
		if (age != UINT64_MAX)
			set_number(o, "since_ns", age);
	}
	set_flag(o, "told", p->told);
	set_flag(o, "doomed", p->doomed);
	set_flag(o, "sends_large", p->talking);
	set_number(o, "done", p->n_done);
	set_number(o, "deaths", p->n_deaths);
	json_object_set_new(o, "process", show_json_process(&p->proc));
	return o;
}

json_t *show_json_crew(const struct snap *s, const struct snap_crew *w)
{
	json_t *o = json_object(), *places = json_array();

	set_number(o, "wanted", w->n_wanted);
	set_number(o, "inits", w->n_inits);
	set_number(o, "submitted", w->n_submitted);
	set_number(o, "ok", w->n_ok);
	set_number(o, "failed", w->n_failed);
	set_number(o, "dead", w->n_dead);
	set_number(o, "canceled", w->n_canceled);
	set_number(o, "timed_out", w->n_timed_out);
	set_number(o, "callbacks_failed", w->n_callbacks_failed);
	set_number(o, "respawns", w->n_respawns);
	set_number(o, "deaths", w->n_deaths);
	if (w->init_error[0])
		set_text(o, "init_error", w->init_error);
	for (uint32_t i = 0; i < w->n_places; i++)
		json_array_append_new(places, json_place(s, &w->place[i]));
	json_object_set_new(o, "places", places);
	return o;
}
