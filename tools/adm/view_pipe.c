/*
 * view_pipe.c - whose the sides of a pipe are, and what is in it
 *
 * The words of the sides are told in bus/pipe_side.h, the slots in lib/spsc.h.
 * What was sent and not received is found as a new writer finds its place: from
 * the reader's position from header to header, to the first that is not there.
 * If the reader has moved meanwhile, what we met may be of the next lap: then
 * from the beginning.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pipe.h"
#include "tools/adm/view.h"

#define WALK_AGAIN 16 /* times */
#define NOWHERE    UINT64_MAX

/* ----------------------------------------------------------------- sides -- */

/* The endpoint that a word names: its pid is kept after its death. */
static void take_endpoint(const struct snap *s, struct snap_side *side,
			  uint32_t who)
{
	uint32_t id = who & 0xff;

	if (!id || id >= s->n_eps) {
		side->bad = "its owner is no endpoint";
		return;
	}
	if (((uint32_t)s->ep[id].word ^ who) & ~0xffu)
		return; /* he has left, and another has his id */
	side->pid = s->ep[id].pid;
	if (snap_attached(&s->ep[id]))
		side->ep = id;
}

static void take_side(const struct snap *s, struct snap_side *side,
		      uint64_t word, uint64_t start_time)
{
	side->word = word;
	side->state = bus_side_state(word);
	side->inst = (uint32_t)(word & BUS_SIDE_INST) >> 8;
	side->no_tx = word & BUS_SIDE_TX_GONE;
	side->no_rx = word & BUS_SIDE_RX_GONE;
	side->half = word & BUS_SIDE_HALF;
	switch (side->state) {
	case BUS_SIDE_NEVER:
		break;
	case BUS_SIDE_MADE:
	case BUS_SIDE_OPEN:
		take_endpoint(s, side, bus_side_who(word));
		break;
	case BUS_SIDE_RESERVED:
		side->word_pid = bus_side_who(word);
		side->pid = snap_pid(s, side->word_pid);
		if ((start_time & BUS_SIDE_START_PID) ==
		    (side->word_pid & BUS_SIDE_START_PID))
			side->start_time = start_time >> BUS_SIDE_START_AT;
		break;
	case BUS_SIDE_CLOSED:
	case BUS_SIDE_DEAD:
	case BUS_SIDE_LOST:
		side->pid = snap_pid(s, bus_side_who(word));
		break;
	default:
		side->bad = "its state is none";
	}
}

/* ----------------------------------------------------------------- slots -- */

/* A direction while it is walked through. */
struct walk {
	const struct view *v;
	uint64_t spsc_off;
	uint32_t slot_bytes;
	uint32_t lap, at;                                 /* where we are */
	int (*each)(void *arg, uint64_t off, uint64_t h); /* or NULL */
	void *arg;

	/* what was read of a slot, from @from on */
	uint64_t from;
	size_t n;
	unsigned char buf[1 << 15];
};

static uint64_t offset(const struct walk *w)
{
	return w->spsc_off + sizeof(struct sb_spsc) +
	       (w->lap & 1) * (uint64_t)w->slot_bytes + w->at;
}

/* Where a slot ends. */
static uint64_t end(const struct walk *w)
{
	return offset(w) - w->at + w->slot_bytes;
}

/* The header at our place.  Of a process's memory no more than a page is read,
 * as what is behind it may not be there yet. */
static int header(struct walk *w, uint64_t *h)
{
	uint64_t off = offset(w);
	int ret = 0;

	if (off < w->from || off + 8 > w->from + w->n) {
		w->from = off;
		w->n = w->v->is_memory ? 4096 - (size_t)(off & 4095)
				       : sizeof(w->buf);
		if (w->n > end(w) - off)
			w->n = (size_t)(end(w) - off);
		if (w->n < 8)
			w->n = 8;
		ret = view_read(w->v, off, w->buf, w->n);
	}
	memcpy(h, w->buf + (off - w->from), 8);
	return ret;
}

enum word { NOTHING, RECORD, SEAL, NONSENSE };

/* As word_is() in lib/spsc.c. */
static enum word word_is(const struct walk *w, uint64_t h)
{
	bool there = h & SB_SPSC_THERE;

	if (!h)
		return NOTHING;
	if (there && !w->at && (uint32_t)(h >> 32) == w->lap - 2)
		return NOTHING;
	if (!there || (uint32_t)(h >> 32) != w->lap)
		return NONSENSE;
	if (h & SB_SPSC_SEAL)
		return w->at ? SEAL : NONSENSE;
	return sb_spsc_pad(h & SB_SPSC_LEN) + 16 > w->slot_bytes - w->at
		       ? NONSENSE
		       : RECORD;
}

/* One record.  What it carries besides a message does not count. */
static void count(struct snap_dir *d, uint64_t h)
{
	uint64_t len = h & SB_SPSC_LEN;
	uint32_t kind = (uint32_t)(h >> SB_SPSC_KIND_AT) & SB_SPSC_KIND_MAX;

	if (kind == BUS_REC_MARK)
		return;
	if (kind == BUS_REC_FRAGMENT) {
		d->has_fragments = true;
		len -= len < sizeof(struct bus_fragment)
			       ? len
			       : sizeof(struct bus_fragment);
	}
	d->n_records++;
	d->n_bytes += len;
}

/* From the reader's position to the end.  0, -EPROTO: nonsense, or -errno. */
static int walk(struct walk *w, struct snap_dir *d)
{
	uint32_t n_seals = 0;
	uint64_t h;

	d->n_records = d->n_bytes = 0;
	d->has_fragments = false;
	w->n = 0;
	for (;;) {
		int ret = header(w, &h);

		if (!ret && w->each)
			ret = w->each(w->arg, offset(w), h);
		if (ret)
			return ret;
		switch (word_is(w, h)) {
		case NOTHING:
			return 0;
		case RECORD:
			count(d, h);
			w->at += 8 + (uint32_t)sb_spsc_pad(h & SB_SPSC_LEN);
			break;
		case SEAL:
			if (n_seals++)
				return -EPROTO;
			w->lap++;
			w->at = 0;
			break;
		case NONSENSE:
			return -EPROTO;
		}
	}
}

/* A record in the line where two directions meet; as sb_spsc_is_met(). */
static void count_met(struct snap_dir *d, uint64_t head, uint32_t met)
{
	if (!((head >> 8 ^ met) & 15))
		return;
	d->n_records++;
	d->n_bytes += head & 31;
}

static const char *check_spsc(const struct sb_spsc *s, uint32_t slot_bytes)
{
	uint64_t pos = s->position;

	if (s->slot_bytes != slot_bytes || s->adaptive > 1)
		return "its slots are not those of the pipe";
	if (pos % 8 || (uint32_t)pos > slot_bytes - 8)
		return "its reader is nowhere";
	if (s->released != (uint32_t)(pos >> 32) &&
	    s->released != (uint32_t)(pos >> 32) - 1)
		return "its reader is in another slot than it says";
	return NULL;
}

static void take_spsc(struct snap_dir *d, const struct sb_spsc *s,
		      uint32_t slot_bytes)
{
	uint64_t pos = s->position, wanted = s->wanted;

	d->cap = s->cap < slot_bytes ? s->cap : slot_bytes;
	d->lap = (uint32_t)(pos >> 32);
	d->at = (uint32_t)pos;
	d->released = s->released;
	d->full = wanted != NOWHERE && (int64_t)(wanted - pos) >= 0;
	d->bad = check_spsc(s, slot_bytes);
}

static int take_slots(struct walk *w, struct snap_dir *d, uint32_t dir,
		      uint64_t meet_off)
{
	struct sb_spsc s;
	uint64_t head, last = NOWHERE;
	int ret;

	for (int i = 0; i < WALK_AGAIN; i++) {
		ret = view_read(w->v, w->spsc_off, (void *)&s, sizeof(s));
		if (ret)
			return ret;
		take_spsc(d, &s, w->slot_bytes);
		if (d->bad && last == s.position)
			return 0;
		last = s.position;
		if (d->bad)
			continue;
		w->lap = d->lap;
		w->at = d->at;
		ret = walk(w, d);
		if (ret != -EPROTO)
			break;
		d->bad = "what is in its slots makes no sense";
	}
	if (ret || !meet_off)
		return ret == -EPROTO ? 0 : ret;
	ret = view_read(w->v, meet_off + dir * sizeof(struct sb_spsc_half),
			&head, sizeof(head));
	if (!ret)
		count_met(d, head, s.met);
	return ret;
}

/* ------------------------------------------------------------------ pipe -- */

static const char *check_pipe(const struct bus_pipe_head *h, uint64_t bytes)
{
	if (bus_pipe_check(h->slot_bytes, h->profile, h->flags, bytes))
		return "its slots do not fit into it";
	return NULL;
}

static int take_dirs(const struct view *v, struct snap_chan *c,
		     const struct bus_pipe_head *h)
{
	struct walk *w = calloc(1, sizeof(*w));
	struct snap_pipe *p = c->pipe;
	int ret = w ? 0 : -ENOMEM;

	for (uint32_t i = 0; !ret && i < p->n_dirs; i++) {
		const struct bus_pipe_dir *from = &h->dir[i];
		struct snap_dir *d = &p->dir[i];

		d->rx = snap_set_of(&from->rx);
		d->tx = snap_set_of(&from->tx);
		d->n_sent = from->n_sent - from->sent_before;
		d->n_received = from->n_received - from->received_before;
		w->v = v;
		w->spsc_off = c->off + bus_pipe_dir_off(p->slot_bytes, i);
		w->slot_bytes = (uint32_t)p->slot_bytes;
		ret = take_slots(
			w, d, i,
			p->simplex ? 0
				   : c->off + offsetof(struct bus_pipe_head,
						       meet));
	}
	free(w);
	return ret;
}

int snap_pipe_headers(const struct view *v, const struct snap_chan *c,
		      int (*each)(void *arg, uint64_t off, uint64_t h),
		      void *arg)
{
	struct walk *w = calloc(1, sizeof(*w));
	struct snap_dir unused;
	int ret = w ? 0 : -ENOMEM;

	for (uint32_t i = 0; !ret && i < c->pipe->n_dirs; i++) {
		if (c->pipe->dir[i].bad)
			continue;
		w->v = v;
		w->spsc_off = c->off + bus_pipe_dir_off(c->pipe->slot_bytes, i);
		w->slot_bytes = (uint32_t)c->pipe->slot_bytes;
		w->lap = c->pipe->dir[i].lap;
		w->at = c->pipe->dir[i].at;
		w->each = each;
		w->arg = arg;
		ret = walk(w, &unused);
		if (ret == -EPROTO)
			ret = 0; /* it has gone on; what was, is enough */
	}
	free(w);
	return ret;
}

/* A pipe that is nobody's may have given its memory back. */
static bool is_idle(const struct snap_pipe *p)
{
	return p->side[0].state >= BUS_SIDE_CLOSED &&
	       p->side[1].state >= BUS_SIDE_CLOSED;
}

int snap_pipe_take(const struct view *v, struct snap *s, struct snap_chan *c)
{
	struct bus_pipe_head h;
	struct snap_pipe *p;
	int ret;

	if (c->bytes < sizeof(h)) {
		c->bad = "it is too short";
		return 0;
	}
	ret = view_read(v, c->off, (void *)&h, sizeof(h));
	if (ret)
		return ret;
	p = c->pipe = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	for (int i = 0; i < 2; i++)
		take_side(s, &p->side[i], h.side[i], h.start_time[i]);
	p->slot_bytes = h.slot_bytes;
	p->profile = h.profile;
	p->simplex = h.flags & BUS_PIPE_SIMPLEX;
	if (c->kind == BUS_CHAN_PIPE_IDLE || is_idle(p))
		return 0;
	c->bad = check_pipe(&h, c->bytes);
	if (c->bad)
		return 0;
	p->n_dirs = p->simplex ? 1 : 2;
	return take_dirs(v, c, &h);
}
