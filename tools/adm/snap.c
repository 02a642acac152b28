/*
 * snap.c - what a bus says at one moment, in plain structs
 *
 * The sizes, the endpoints and their processes, the directory, the cells; what
 * lies in the channels is read by view_ring.c, view_pipe.c and view_crew.c.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "tools/adm/note.h"
#include "tools/adm/view.h"

/* ------------------------------------------------------------- processes -- */

uint32_t snap_pid(const struct snap *s, uint32_t pid)
{
	pid_t here = process_here(&s->names, pid);

	return here ? (uint32_t)here : pid;
}

void snap_process(const struct snap *s, struct process *p, uint32_t pid,
		  uint64_t start_time)
{
	const struct view *v = s->view;
	pid_t here = (pid_t)pid;

	*p = (struct process){ .pid = here };
	if (!v->has_processes || pid > INT32_MAX)
		return;
	if (v->other_pids) {
		here = process_here(&s->names, pid);
		if (!here) {
			p->state =
				s->names.all ? PROCESS_DEAD : PROCESS_UNKNOWN;
			return;
		}
	}
	process_read(p, here, v->other_times ? 0 : start_time);
}

/* ------------------------------------------------------------- endpoints -- */

uint32_t snap_count(const struct snap_set *set)
{
	int n = 0;

	for (uint32_t i = 0; i < SB_EP_WORDS; i++)
		n += __builtin_popcountll(set->bits[i]);
	return (uint32_t)n;
}

static void take_ep(const struct snap *s, struct snap_ep *e,
		    const struct bus_ep *from, const struct bus_header *h)
{
	struct snap_set running = snap_set_of(&h->running),
			rx = snap_set_of(&h->blob_rx);
	const struct view *v = s->view;
	const struct bus_ep_counts *n = &from->counts;

	e->word = from->state;
	e->state = (uint32_t)e->word & 0xff;
	e->pid = snap_pid(s, (uint32_t)(e->word >> 32));
	e->start_time = from->start_time;
	e->recovering = from->recovering;
	e->bell = from->bell;
	e->running = snap_has(&running, e->id);
	e->wants_cell = snap_has(&rx, e->id);
	e->n_put = n->put;
	e->n_got = n->got;
	e->n_parks = n->parks;
	e->n_yields = n->yields;
	e->n_deaths = n->deaths;
	e->n_redelivered = n->redelivered;
	e->n_quarantined = n->quarantined;
	e->n_rejected = n->rejected;
	if (e->state > BUS_EP_RETIRED)
		e->bad = "its state is none";
	else if (snap_attached(e) && (e->pid == 0 || e->pid > INT32_MAX))
		e->bad = "its pid is none";
	else if (e->recovering >= v->sizes.max_ep)
		e->bad = "it recovers an endpoint that cannot be";
	if (e->bad || (!snap_attached(e) && e->state != BUS_EP_DEAD))
		return;
	note_process(v, e, &e->proc);
	if (v->has_processes)
		snap_process(s, &e->proc, (uint32_t)(e->word >> 32),
			     e->state == BUS_EP_CLAIMING ? 0 : e->start_time);
}

static int take_eps(const struct view *v, struct snap *s,
		    const struct bus_header *h)
{
	size_t n = v->sizes.max_ep, bytes = n * sizeof(struct bus_ep);
	struct bus_ep *table = aligned_alloc(SB_FAR, bytes);
	int ret = -ENOMEM;

	s->ep = calloc(n, sizeof(*s->ep));
	if (table && s->ep)
		ret = view_read(v, v->off.ep, (void *)table, bytes);
	if (!ret) {
		s->n_eps = (uint32_t)n;
		for (uint32_t id = 1; id < n; id++) {
			s->ep[id].id = id;
			take_ep(s, &s->ep[id], &table[id], h);
			s->n_attached += snap_attached(&s->ep[id]);
		}
	}
	free(table);
	return ret;
}

const struct snap_ep *snap_ep_of(const struct snap *s, uint32_t id)
{
	return id && id < s->n_eps && snap_attached(&s->ep[id]) ? &s->ep[id]
								: NULL;
}

/* -------------------------------------------------------------- channels -- */

static const char *check_chan(const struct view *v, const struct snap_chan *c)
{
	if (c->kind < BUS_CHAN_QUEUE || c->kind > BUS_CHAN_PIPE_IDLE)
		return "its kind is none";
	if (c->off < v->off.chan || c->off % SB_FAR || c->bytes % SB_FAR ||
	    c->off - v->off.chan > v->sizes.chan_bytes ||
	    c->bytes > v->sizes.chan_bytes - (c->off - v->off.chan))
		return "it does not lie where channels do";
	return NULL;
}

static void take_chan(const struct view *v, struct snap_chan *c, uint32_t idx,
		      const struct bus_dirent *d)
{
	c->idx = idx;
	c->kind = d->kind;
	c->off = d->off;
	c->bytes = d->bytes;
	memcpy(c->name, d->name, sizeof(c->name) - 1);
	c->bad = check_chan(v, c);
}

static int take_dir(const struct view *v, struct snap *s)
{
	size_t bytes = BUS_CHANNELS_MAX * sizeof(struct bus_dirent);
	struct bus_dirent *dir = malloc(bytes);
	int ret = -ENOMEM;

	s->chan = calloc(BUS_CHANNELS_MAX, sizeof(*s->chan));
	if (dir && s->chan)
		ret = view_read(v, v->off.dir, (void *)dir, bytes);
	if (!ret)
		for (uint32_t i = 0; i < BUS_CHANNELS_MAX && dir[i].ready == 1;
		     i++, s->n_chans++)
			take_chan(v, &s->chan[i], i, &dir[i]);
	free(dir);
	return ret;
}

/* What lies in channel @c. */
static int take_inside(const struct view *v, struct snap *s,
		       struct snap_chan *c, uint32_t *n_slots_left)
{
	int ret;

	if (c->bad)
		return 0;
	if (c->kind == BUS_CHAN_PIPE || c->kind == BUS_CHAN_PIPE_IDLE)
		return snap_pipe_take(v, s, c);
	ret = snap_ring_take(v, s, c, n_slots_left);
	if (!ret && !c->bad && c->kind != BUS_CHAN_QUEUE)
		ret = snap_crew_take(v, s, c);
	return ret;
}

const struct snap_chan *snap_find(const struct snap *s, const char *name)
{
	char *end;
	unsigned long idx;

	for (uint32_t i = 0; i < s->n_chans; i++)
		if (*name && !strcmp(s->chan[i].name, name))
			return &s->chan[i];
	if (name[0] != '#' || name[1] < '0' || name[1] > '9')
		return NULL;
	idx = strtoul(name + 1, &end, 10);
	return *end || idx >= s->n_chans ? NULL : &s->chan[idx];
}

/* ----------------------------------------------------------------- cells -- */

static void count_cells(const struct sb_blob_pool *plan, struct snap_cells *c)
{
	for (uint32_t k = 0; k < plan->n_classes; k++) {
		const struct sb_blob_class *class_ = &plan->class_[k];

		for (uint32_t i = 0; i < class_->n_cells; i++) {
			c->bytes += class_->cell_bytes;
			if (!(c->owner[class_->first_cell + i] & 3))
				continue;
			c->used_bytes += class_->cell_bytes;
			c->n_used++;
		}
	}
}

/* The plan is computed from the sizes; what the segment says is for those who
 * cannot do that. */
static int take_cells(const struct view *v, struct snap_cells *c)
{
	const struct sb_blob_pool *plan = &v->off.plan;
	size_t bytes = (size_t)plan->n_cells * sizeof(*c->owner);
	uint64_t at = v->off.blob + SB_ROUND_UP(sizeof(*plan), SB_FAR);
	struct sb_blob_pool said;
	int ret = view_read(v, v->off.blob, &said, sizeof(said));

	c->owner = malloc(bytes ? bytes : 1);
	c->len = malloc(bytes ? bytes : 1);
	if (!c->owner || !c->len)
		return -ENOMEM;
	if (!ret)
		ret = view_read(v, at, c->owner, bytes);
	if (!ret)
		ret = view_read(v, at + bytes, c->len, bytes);
	if (ret)
		return ret;
	c->n_cells = plan->n_cells;
	count_cells(plan, c);
	if (memcmp(&said, plan, sizeof(said)))
		c->bad = "its classes of size are not what the sizes say";
	return 0;
}

/* ------------------------------------------------------------------ snap -- */

static int take_inner(const struct view *v, struct snap *s)
{
	uint32_t n_slots_left = SNAP_SLOTS_MAX;
	int ret = take_cells(v, &s->cells);

	for (uint32_t i = 0; !ret && i < s->n_chans; i++)
		ret = take_inside(v, s, &s->chan[i], &n_slots_left);
	return ret;
}

int snap_take(const struct view *v, bool whole, struct snap *s)
{
	struct bus_header h;
	int ret;

	*s = (struct snap){ .view = v };
	if (!view_readable(v))
		return -EPROTO;
	s->taken_ns = v->kind == VIEW_COPY ? v->taken_ns : sb_now_ns();
	ret = view_read(v, 0, (void *)&h, sizeof(h));
	if (!ret && v->other_pids)
		ret = process_names(&s->names, v->seg.pid_ns);
	if (!ret) {
		s->last_sweep_ns = h.last_sweep_ns;
		s->dir_owner = h.dir_owner;
		ret = take_eps(v, s, &h);
	}
	if (!ret)
		ret = take_dir(v, s);
	if (!ret && whole)
		ret = take_inner(v, s);
	if (ret)
		snap_free(s);
	return ret;
}

void snap_free(struct snap *s)
{
	for (uint32_t i = 0; s->chan && i < s->n_chans; i++) {
		struct snap_chan *c = &s->chan[i];

		if (c->ring)
			free(c->ring->slot);
		if (c->crew)
			free(c->crew->place);
		free(c->ring);
		free(c->pipe);
		free(c->crew);
	}
	free(s->chan);
	free(s->ep);
	free(s->cells.owner);
	free(s->cells.len);
	process_names_free(&s->names);
	*s = (struct snap){ .view = s->view };
}

/* ----------------------------------------------------------------- words -- */

#define WORD(words, i)                                                         \
	((i) < sizeof(words) / sizeof(*(words)) && (words)[i] ? (words)[i]     \
							      : "?")

const char *snap_kind_word(uint32_t kind)
{
	static const char *const words[] = {
		[BUS_CHAN_QUEUE] = "queue",
		[BUS_CHAN_REQUEST] = "requests",
		[BUS_CHAN_IDLE] = "idle",
		[BUS_CHAN_PIPE] = "pipe",
		[BUS_CHAN_PIPE_IDLE] = "idle pipe",
	};

	return WORD(words, kind);
}

const char *snap_ep_word(uint32_t state)
{
	static const char *const words[] = {
		[BUS_EP_FREE] = "free", [BUS_EP_CLAIMING] = "coming",
		[BUS_EP_LIVE] = "live", [BUS_EP_LEAVING] = "leaving",
		[BUS_EP_DEAD] = "dead", [BUS_EP_RETIRED] = "left",
	};

	return WORD(words, state);
}

const char *snap_slot_word(uint32_t state)
{
	static const char *const words[] = {
		[SNAP_FREE] = "free",
		[SNAP_WRITING] = "writing",
		[SNAP_PASSED] = "passed",
		[SNAP_WAITING] = "waiting",
		[SNAP_RETURNED] = "returned",
		[SNAP_BEHIND] = "behind",
		[SNAP_HELD] = "held",
		[SNAP_ANSWERED] = "answered",
		[SNAP_GIVEN_UP] = "given up",
		[SNAP_TOMB] = "empty",
		[SNAP_BAD] = "?",
	};

	return WORD(words, state);
}

const char *snap_side_word(uint32_t state)
{
	static const char *const words[] = {
		[BUS_SIDE_NEVER] = "not opened",
		[BUS_SIDE_MADE] = "made",
		[BUS_SIDE_RESERVED] = "handed over",
		[BUS_SIDE_OPEN] = "open",
		[BUS_SIDE_CLOSED] = "closed",
		[BUS_SIDE_DEAD] = "dead",
		[BUS_SIDE_LOST] = "lost",
	};

	return WORD(words, state);
}

const char *snap_place_word(uint32_t life)
{
	static const char *const words[] = {
		[BUS_PLACE_NONE] = "none",
		[BUS_PLACE_STARTING] = "starting",
		[BUS_PLACE_READY] = "ready",
		[BUS_PLACE_LEAVING] = "leaving",
	};

	return WORD(words, life);
}
