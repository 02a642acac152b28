/*
 * view_ring.c - what is in the slots of a queue, or of a coordinator's ring
 *
 * The words are those of lib/ring.c: for each slot its seq, the last claim
 * (pown), the last take (cown); and tail and head, whose last claim and take
 * may not have been recorded yet, which the library leaves to whoever comes
 * next and we do in our copy.  From these follows what is in the slot, and
 * whose it is:
 *
 *	seq       and                               is
 *	FREE(q)   q after the claim                 free
 *	          q not after it                    writing; passed, if cown
 *	                                            says PENDING of the claim
 *	FULL(p)   cown is of before p               waiting
 *	          cown is PENDING at p              returned
 *	          cown is TAKEN at p, or HELD       held, behind
 *	DONE(p)                                     answered, given up
 *	TOMB(p)                                     empty
 *
 * where p is the position that was claimed last.  Anything else cannot be, or
 * changed while we read: so that slot is read again before it is called bad.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus/request.h"
#include "tools/adm/view.h"

#define READ_AGAIN     16 /* times, and so long between: */
#define READ_AGAIN_NS  50000
#define READ_AGAIN_ALL 2000 /* of one ring: then it is no coincidence */

/* A ring while it is read. */
struct reader {
	const struct view *v;
	struct snap *s;
	struct snap_chan *c;
	struct snap_ring *r;
	uint64_t ring_off, pown_off, pskip_off, cown_off;
	uint64_t tail, head; /* the words */
	uint64_t lap;        /* n_slots as a distance of positions */
	uint32_t n_again;
};

/* ----------------------------------------------------------------- words -- */

static uint64_t number(uint64_t pos)
{
	return pos >> 16;
}

static uint32_t index_of(const struct reader *rd, uint64_t word)
{
	return (uint32_t)(number(word) & (rd->r->n_slots - 1));
}

/* The positions that @word, of tail or head, says were claimed last: does
 * @slot's index get one?  Then that. */
static bool last_claim(const struct reader *rd, uint64_t word, uint64_t n,
		       uint32_t idx, uint64_t *pos)
{
	uint64_t first = SB_POS(word) - n * SB_POS_ONE;

	if (n > rd->r->n_slots)
		return false;
	for (uint64_t k = 0; k < n; k++) {
		*pos = first + k * SB_POS_ONE;
		if (index_of(rd, *pos) == idx)
			return true;
	}
	return false;
}

/* What tail says, if nobody has recorded it. */
static void record_tail(const struct reader *rd, struct snap_slot *slot,
			uint32_t idx)
{
	uint64_t tw = rd->tail, n = (tw >> 2 & 63) + 1, pos;

	if ((tw & 3) == SB_NORM && last_claim(rd, tw, n, idx, &pos) &&
	    sb_pos_diff(slot->pown, pos) < 0)
		slot->pown = pos | (tw & 0xff00);
	if ((tw & 3) == SB_SKIP && last_claim(rd, tw, 1, idx, &pos))
		slot->pskip = pos;
}

/* The same of head. */
static void record_head(const struct reader *rd, struct snap_slot *slot,
			uint32_t idx)
{
	uint64_t hw = rd->head, n = (hw >> 2 & 63) + 1, pos;
	bool run = n > 1 && rd->r->ring_flags & SB_RING_REQUEST;
	uint64_t state = (hw & 0xff00) | (run ? SB_HELD : SB_TAKEN);

	if ((hw & 3) == SB_SKIP || (hw & 3) == SB_CLOSED)
		return;
	if ((hw & 3) == SB_PASS) {
		n = 1;
		state = SB_PENDING;
	}
	if (last_claim(rd, hw, n, idx, &pos) &&
	    sb_pos_diff(slot->cown, pos) < 0)
		slot->cown = pos | state;
}

/* ------------------------------------------------------------ what it is -- */

static void bad(struct snap_slot *slot, const char *why)
{
	slot->state = SNAP_BAD;
	slot->bad = why;
}

/* Nothing is published.  @p is the last claim. */
static void judge_free(const struct reader *rd, struct snap_slot *slot,
		       uint64_t p)
{
	uint64_t w = slot->seq;

	if (w & ~SB_SEQ_KIND) {
		bad(slot, "free, and has a length");
	} else if (sb_pos_diff(w, p) > 0) {
		slot->pos = number(w);
		if (w != (p + rd->lap))
			bad(slot, "free for a position that is not its next");
	} else {
		slot->writer = (uint8_t)SB_OWNER(slot->pown);
		slot->state = SNAP_WRITING;
		if (SB_POS(slot->cown) == p &&
		    SB_STATE(slot->cown) == SB_PENDING)
			slot->state = SNAP_PASSED;
		if (sb_pos_diff(rd->tail, p) <= 0)
			bad(slot, "claimed beyond the end of the ring");
	}
}

/* Published.  @p is its position. */
static void judge_full(const struct reader *rd, struct snap_slot *slot,
		       uint64_t p)
{
	uint64_t own = slot->cown;
	int64_t taken = sb_pos_diff(own, p);

	slot->state = SNAP_WAITING;
	slot->attempts = 0;
	if (taken > 0) {
		bad(slot, "taken before it was published");
	} else if (taken < 0 || (SB_STATE(own) == SB_HELD && !SB_OWNER(own))) {
		if (sb_pos_diff(rd->head, p) > 0)
			bad(slot, "readers are past it, and nobody has it");
	} else {
		slot->attempts = (uint8_t)SB_ATTEMPTS(own);
		slot->holder = (uint8_t)SB_OWNER(own);
		switch (SB_STATE(own)) {
		case SB_HELD:
			slot->state = SNAP_BEHIND;
			break;
		case SB_TAKEN:
			slot->state = SNAP_HELD;
			break;
		case SB_PENDING:
			slot->state = SNAP_RETURNED;
			slot->holder = 0;
			break;
		default: /* its recovery is not over */
			slot->state = SNAP_GIVEN_UP;
			slot->holder = 0;
		}
		if ((slot->state == SNAP_HELD || slot->state == SNAP_BEHIND) &&
		    !slot->holder)
			bad(slot, "taken by nobody");
	}
}

static void judge_done(const struct reader *rd, struct snap_slot *slot)
{
	slot->state = slot->seq & SB_FLAG_QUAR ? SNAP_GIVEN_UP : SNAP_ANSWERED;
	slot->is_error = slot->state == SNAP_ANSWERED &&
			 SB_SEQ_LEN(slot->seq) == BUS_LEN_ERROR;
	slot->attempts = SB_POS(slot->cown) == SB_POS(slot->seq)
				 ? (uint8_t)SB_ATTEMPTS(slot->cown)
				 : 0;
	if (!(rd->r->ring_flags & SB_RING_REQUEST))
		bad(slot, "answered, and this is a queue");
}

static void judge(const struct reader *rd, struct snap_slot *slot, uint32_t idx)
{
	uint64_t w = slot->seq, p = SB_POS(slot->pown);

	record_tail(rd, slot, idx);
	record_head(rd, slot, idx);
	p = SB_POS(slot->pown);
	slot->state = SNAP_FREE;
	slot->bad = NULL;
	slot->writer = slot->holder = slot->attempts = 0;
	slot->len_bytes = 0;
	slot->cell = SB_BLOB_NONE;
	slot->is_error = false;
	slot->pos = number(p);
	if (index_of(rd, w) != idx || index_of(rd, p) != idx ||
	    index_of(rd, slot->cown) != idx) {
		bad(slot, "its words are of another slot");
	} else if ((w & 3) == SB_FREE) {
		judge_free(rd, slot, p);
	} else if (SB_POS(w) != p) {
		slot->pos = number(w);
		bad(slot, "published at a position that was not claimed");
	} else if (sb_pos_diff(rd->tail, p) <= 0) {
		bad(slot, "published beyond the end of the ring");
	} else {
		slot->writer = (uint8_t)SB_OWNER(slot->pown);
		if ((w & 3) == SB_FULL)
			judge_full(rd, slot, p);
		else if ((w & 3) == SB_DONE)
			judge_done(rd, slot);
		else
			slot->state = SNAP_TOMB;
	}
}

/* ---------------------------------------------------------------- lengths -- */

static uint64_t slot_off(const struct snap_ring *r, uint32_t idx)
{
	return r->slots_off + (uint64_t)idx * r->stride;
}

/* Where the message of @slot begins behind its seq, and how long it may be
 * there. */
static void room_of(const struct snap_chan *c, const struct snap_slot *slot,
		    uint32_t *off, uint32_t *most)
{
	const struct snap_ring *r = c->ring;

	*off = 0;
	*most = r->payload_bytes;
	if (c->kind == BUS_CHAN_QUEUE)
		return;
	*off = r->head_bytes;
	*most = r->request_bytes;
	if (slot->state == SNAP_ANSWERED) {
		*off += r->request_bytes;
		*most = r->payload_bytes - *off;
	}
}

/* The owner word that cell of position @pos of channel @idx has; lib/blob.c. */
static uint64_t in_slot(uint32_t idx, uint64_t pos)
{
	return pos << 16 | (idx & 0xff) << 8 | 2;
}

/* The length of the message in @cell, if it goes with that slot. */
static int cell_len(const struct view *v, const struct snap_chan *c,
		    struct snap_slot *slot, uint32_t cell)
{
	const struct sb_blob_pool *plan = &v->off.plan;
	uint64_t at = v->off.blob + SB_ROUND_UP(sizeof(*plan), SB_FAR);
	uint64_t owner, len;
	uint32_t k = 0;
	int ret;

	if (cell >= plan->n_cells) {
		bad(slot, "its cell is none");
		return 0;
	}
	ret = view_read(v, at + cell * 8ull, &owner, sizeof(owner));
	if (!ret)
		ret = view_read(v, at + (plan->n_cells + (uint64_t)cell) * 8,
				&len, sizeof(len));
	if (ret)
		return ret;
	while (k + 1 < plan->n_classes &&
	       cell >= plan->class_[k + 1].first_cell)
		k++;
	/* Who has collected an answer has taken the cell along, and frees the
	 * slot with the next call. */
	if (owner != in_slot(c->idx, slot->pos) && (slot->seq & 3) == SB_DONE)
		return 0;
	slot->cell = cell;
	slot->len_bytes = len;
	if (owner != in_slot(c->idx, slot->pos))
		bad(slot, "its cell is another's");
	else if (len > plan->class_[k].cell_bytes)
		bad(slot, "longer than its cell");
	return 0;
}

/* The cell of a large message, result, or text of an error. */
static int find_cell(const struct view *v, const struct snap_chan *c,
		     struct snap_slot *slot, uint64_t at, uint32_t off)
{
	struct bus_request_error error;
	uint32_t cell;
	int ret;

	at += sizeof(struct sb_slot);
	if (slot->is_error) {
		ret = view_read(v, at + off, &error, sizeof(error));
		return ret || !error.cell
			       ? ret
			       : cell_len(v, c, slot, error.cell - 1);
	}
	if (slot->state == SNAP_ANSWERED)
		off = 0; /* it was set aside, and stands in front */
	ret = view_read(v, at + off, &cell, sizeof(cell));
	return ret ? ret : cell_len(v, c, slot, cell);
}

static bool has_message(const struct snap_slot *slot)
{
	return slot->state >= SNAP_WAITING && slot->state <= SNAP_GIVEN_UP;
}

static int measure(const struct reader *rd, struct snap_slot *slot,
		   uint32_t idx)
{
	uint32_t off, most;

	if (!has_message(slot))
		return 0;
	room_of(rd->c, slot, &off, &most);
	if (slot->is_error || slot->seq & SB_FLAG_BLOB)
		return find_cell(rd->v, rd->c, slot, slot_off(rd->r, idx), off);
	slot->len_bytes = SB_SEQ_LEN(slot->seq);
	if (slot->len_bytes > most)
		bad(slot, "longer than a slot");
	return 0;
}

ssize_t snap_message(const struct snap *s, const struct snap_chan *c,
		     const struct snap_slot *slot, void *buf, size_t cap)
{
	const struct view *v = s->view;
	const struct snap_ring *r = c->ring;
	const struct sb_blob_pool *plan = &v->off.plan;
	uint64_t at, n = slot->len_bytes;
	uint32_t off, most, k = 0;
	int ret;

	if (!has_message(slot) || v->no_payload ||
	    (slot->is_error && slot->cell == SB_BLOB_NONE))
		return -ENODATA;
	if (n > cap)
		n = cap;
	if (slot->cell != SB_BLOB_NONE) {
		while (k + 1 < plan->n_classes &&
		       slot->cell >= plan->class_[k + 1].first_cell)
			k++;
		at = v->off.blob + plan->class_[k].data_off +
		     (slot->cell - plan->class_[k].first_cell) *
			     plan->class_[k].cell_bytes;
	} else {
		room_of(c, slot, &off, &most);
		at = slot_off(r, (uint32_t)(slot - r->slot)) +
		     sizeof(struct sb_slot) + off;
	}
	ret = view_read(v, at, buf, n);
	return ret ? ret : (ssize_t)n;
}

/* ------------------------------------------------------------------ read -- */

static int read_ends(struct reader *rd)
{
	int ret =
		view_read(rd->v, rd->ring_off + offsetof(struct sb_ring, tail),
			  &rd->tail, sizeof(rd->tail));

	return ret ? ret
		   : view_read(rd->v,
			       rd->ring_off + offsetof(struct sb_ring, head),
			       &rd->head, sizeof(rd->head));
}

/* The words of one slot. */
static int read_slot(const struct reader *rd, struct snap_slot *slot,
		     uint32_t idx)
{
	const struct view *v = rd->v;
	int ret = view_read(v, rd->pown_off + idx * 8ull, &slot->pown, 8);

	if (!ret)
		ret = view_read(v, rd->pskip_off + idx * 8ull, &slot->pskip, 8);
	if (!ret)
		ret = view_read(v, rd->cown_off + idx * 8ull, &slot->cown, 8);
	if (!ret)
		ret = view_read(v, slot_off(rd->r, idx), &slot->seq, 8);
	return ret;
}

/* It makes no sense: is that so, or did it change while we read? */
static int read_again(struct reader *rd, struct snap_slot *slot, uint32_t idx)
{
	int ret = 0;

	for (int i = 0; !ret && slot->bad && i < READ_AGAIN &&
			rd->n_again < READ_AGAIN_ALL;
	     i++, rd->n_again++) {
		const struct timespec t = { .tv_nsec = READ_AGAIN_NS };

		if (i && rd->v->kind != VIEW_COPY)
			nanosleep(&t, NULL);
		ret = read_ends(rd);
		if (!ret)
			ret = read_slot(rd, slot, idx);
		if (!ret) {
			judge(rd, slot, idx);
			ret = measure(rd, slot, idx);
		}
		if (rd->v->kind == VIEW_COPY)
			break;
	}
	return ret;
}

/* All seq words: of short slots with what is between them, of long ones one by
 * one. */
static int read_seqs(const struct reader *rd)
{
	enum { CHUNK = 1 << 16, LONG = 512 };

	const struct snap_ring *r = rd->r;
	uint32_t n = r->stride < LONG ? CHUNK / r->stride : 1;
	unsigned char *buf = malloc(CHUNK);
	int ret = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; !ret && i < r->n_slots; i += n) {
		if (n > r->n_slots - i)
			n = r->n_slots - i;
		ret = view_read(rd->v, slot_off(r, i), buf,
				n == 1 ? 8 : (size_t)n * r->stride);
		for (uint32_t k = 0; !ret && k < n; k++)
			memcpy(&r->slot[i + k].seq, buf + (size_t)k * r->stride,
			       8);
	}
	free(buf);
	return ret;
}

static int read_words(const struct reader *rd, uint64_t off, size_t member)
{
	size_t bytes = rd->r->n_slots * 8ull;
	uint64_t *words = malloc(bytes);
	int ret = words ? view_read(rd->v, off, words, bytes) : -ENOMEM;

	for (uint32_t i = 0; !ret && i < rd->r->n_slots; i++)
		memcpy((char *)&rd->r->slot[i] + member, &words[i], 8);
	free(words);
	return ret;
}

static int read_slots(struct reader *rd)
{
	struct snap_ring *r = rd->r;
	int ret = read_ends(rd);

	if (!ret)
		ret = read_words(rd, rd->pown_off,
				 offsetof(struct snap_slot, pown));
	if (!ret)
		ret = read_words(rd, rd->pskip_off,
				 offsetof(struct snap_slot, pskip));
	if (!ret)
		ret = read_words(rd, rd->cown_off,
				 offsetof(struct snap_slot, cown));
	if (!ret)
		ret = read_seqs(rd);
	for (uint32_t i = 0; !ret && i < r->n_slots; i++) {
		judge(rd, &r->slot[i], i);
		ret = measure(rd, &r->slot[i], i);
		if (!ret && r->slot[i].bad)
			ret = read_again(rd, &r->slot[i], i);
		r->n[r->slot[i].state]++;
	}
	return ret;
}

/* -------------------------------------------------------------- geometry -- */

/* The same as sb_ring_attach(), and what more can be wrong. */
static const char *check_ring(const struct sb_ring *g, uint64_t bytes)
{
	if (g->log_n < SB_RING_LOG_N_MIN || g->log_n > SB_RING_LOG_N_MAX)
		return "its number of slots is none";
	if (g->stride < 16 || g->stride > SB_LEN_MAX + 1 ||
	    g->stride != sb_ring_stride(g->stride -
					(uint32_t)sizeof(struct sb_slot)))
		return "its slots have a size that is none";
	if ((g->flags & ~SB_RING_FLAGS) || g->max_attempts > SB_ATTEMPTS_MAX)
		return "its flags are none";
	if (sizeof(struct bus_channel) + sb_ring_bytes(g->log_n, g->stride) >
	    bytes)
		return "its slots are more than fit into it";
	return NULL;
}

static const char *check_head(const struct snap_chan *c,
			      const struct snap_ring *r)
{
	if (c->kind == BUS_CHAN_QUEUE)
		return r->ring_flags & SB_RING_REQUEST
			       ? "a queue that wants answers"
			       : NULL;
	if (!(r->ring_flags & SB_RING_REQUEST))
		return "requests that want no answers";
	if (r->head_bytes > r->payload_bytes ||
	    r->request_bytes > r->payload_bytes - r->head_bytes)
		return "a request is larger than a slot";
	return NULL;
}

static void take_head(struct snap_ring *r, const struct bus_channel *c)
{
	r->flags = c->flags;
	r->request_bytes = c->request_bytes;
	r->head_bytes = c->head_bytes;
	r->result_bytes = c->result_bytes;
	r->coord_life = c->coord;
	r->rx = snap_set_of(&c->rx);
	r->tx = snap_set_of(&c->tx);
	r->done = snap_set_of(&c->done);
}

static void take_geometry(struct reader *rd, const struct sb_ring *g,
			  uint64_t off)
{
	struct snap_ring *r = rd->r;
	uint64_t n = UINT64_C(1) << g->log_n, rest;

	r->n_slots = (uint32_t)n;
	r->stride = g->stride;
	r->payload_bytes = g->stride - (uint32_t)sizeof(struct sb_slot);
	r->ring_flags = g->flags;
	r->max_attempts = g->max_attempts;
	rd->lap = n * SB_POS_ONE;
	rd->ring_off = off;
	rest = off + offsetof(struct sb_ring, rest);
	rd->pown_off = rest;
	rd->pskip_off = rest + n * 8;
	rd->cown_off = rest + SB_ROUND_UP(2 * n * 8, SB_FAR);
	r->slots_off = rd->cown_off + SB_ROUND_UP(n * 8, SB_FAR);
}

/* Of the coordinator that made it: its endpoint, if it is attached. */
static uint32_t coord_of(const struct snap *s, uint64_t life)
{
	const struct snap_ep *ep = snap_ep_of(s, (uint32_t)life & 0xff);

	return ep && !((ep->word ^ life) & ~UINT64_C(0xff)) ? ep->id : 0;
}

static void take_ends(struct reader *rd, const struct sb_ring *g)
{
	struct snap_ring *r = rd->r;
	int64_t n = sb_pos_diff(rd->tail, rd->head);

	r->tail = number(rd->tail);
	r->head = number(rd->head);
	r->closed = (rd->tail & 3) == SB_CLOSED;
	r->aborted = (rd->head & 3) == SB_CLOSED;
	r->recalled = r->closed && !r->aborted && g->closing == 2 &&
		      r->ring_flags & SB_RING_REQUEST;
	/* Both move while we read, but head never past tail. */
	if (n < 0 || n > (int64_t)r->n_slots)
		r->bad = "its head and its tail contradict each other";
}

int snap_ring_take(const struct view *v, struct snap *s, struct snap_chan *c,
		   uint32_t *n_slots_left)
{
	struct reader rd = { .v = v, .s = s, .c = c };
	struct bus_channel head;
	struct sb_ring g;
	int ret = 0;

	if (c->bytes < sizeof(head) + sizeof(g))
		c->bad = "it is too short";
	if (!c->bad)
		ret = view_read(v, c->off, (void *)&head, sizeof(head));
	if (!ret && !c->bad)
		ret = view_read(v, c->off + sizeof(head), (void *)&g,
				sizeof(g));
	if (!ret && !c->bad)
		c->bad = check_ring(&g, c->bytes);
	if (!ret && !c->bad && 1u << g.log_n > *n_slots_left) {
		c->bad = "there are too many slots to look at";
		c->unread = true;
	}
	if (ret || c->bad)
		return ret;
	*n_slots_left -= 1u << g.log_n;
	rd.r = c->ring = calloc(1, sizeof(*c->ring));
	if (!rd.r)
		return -ENOMEM;
	take_geometry(&rd, &g, c->off + sizeof(head));
	take_head(rd.r, &head);
	c->bad = check_head(c, rd.r);
	if (c->bad)
		return 0;
	rd.r->coord = c->kind == BUS_CHAN_REQUEST ? coord_of(s, head.coord) : 0;
	rd.r->slot = calloc(rd.r->n_slots, sizeof(*rd.r->slot));
	ret = rd.r->slot ? read_slots(&rd) : -ENOMEM;
	take_ends(&rd, &g);
	return ret;
}
