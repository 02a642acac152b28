/*
 * coord_submit.c - submitting a request: a slot is claimed, filled and
 * published, and an entry says who waits for the answer
 *
 * Who has to wait moves a result that blocks the window to the heap, so that he
 * never waits for himself; see bus_coord_stash().
 */
#include "config.h"

#include <string.h>

#include "bus/coord.h"
#include "lib/copy.h"

struct submit {
	struct bus_coord *co;
	const void *buf;
	size_t len;
	uint32_t cell[2];
	bool blocking;
};

/* Are there cells for the request and for its result?  A look. */
static bool both_spare(const struct submit *s)
{
	const struct bus_request_chan *c = &s->co->c;
	uint64_t less = s->len, more = c->layout.result_bytes;

	if (less > more) {
		less = more;
		more = s->len;
	}
	return sb_blob_spare(&c->bus->blob, more, 1) &&
	       sb_blob_spare(&c->bus->blob, less, 2);
}

static int claim_cells(struct submit *s)
{
	struct bus_request_chan *c = &s->co->c;
	int ret = 0;

	/* Who waits looks first: to take the one and to give it back would wake
	 * all who wait for cells, and so himself. */
	if (s->blocking && s->len > c->layout.request_bytes &&
	    c->layout.head_bytes && s->cell[0] == SB_BLOB_NONE &&
	    !both_spare(s))
		return -EAGAIN;
	if (s->len > c->layout.request_bytes && s->cell[0] == SB_BLOB_NONE) {
		ret = sb_blob_claim(&c->bus->blob, s->len, &s->cell[0]);
		if (ret)
			return ret;
		memcpy(sb_blob_data(&c->bus->blob, s->cell[0]), s->buf, s->len);
		sb_blob_set_len(&c->bus->blob, s->cell[0], s->len);
	}
	if (c->layout.head_bytes && s->cell[1] == SB_BLOB_NONE)
		ret = sb_blob_claim(&c->bus->blob, c->layout.result_bytes,
				    &s->cell[1]);
	/* Nobody waits for one cell while sitting on another. */
	if (ret && s->cell[0] != SB_BLOB_NONE) {
		bus_coord_drop_cell(s->co, s->cell[0]);
		s->cell[0] = SB_BLOB_NONE;
	}
	return ret;
}

/* A slot is ours: fill and publish it. */
static void publish(struct submit *s, uint64_t pos)
{
	struct bus_request_chan *c = &s->co->c;
	unsigned char *slot = sb_ring_slot(&c->end, pos)->data;
	unsigned char *area = bus_request_area(&c->layout, slot);
	uint64_t flags = 0;
	size_t len = s->len;

	bus_coord_free_last(s->co);
	for (int i = 0; i < 2; i++)
		if (s->cell[i] != SB_BLOB_NONE)
			sb_blob_hand(&c->bus->blob, s->cell[i], c->idx, pos);
	if (c->layout.head_bytes)
		memcpy(slot, &s->cell[1], sizeof(s->cell[1]));
	if (s->cell[0] != SB_BLOB_NONE) {
		memcpy(area, &s->cell[0], sizeof(s->cell[0]));
		flags = SB_FLAG_BLOB;
		len = 0;
	} else {
		sb_copy_few(area, s->buf, len);
	}
	sb_ring_publish(&c->end, pos, (uint32_t)len, flags);
	sb_wake(&c->chan->rx, &c->bus->bells, 1);
}

static int try_submit(void *arg, bool sure)
{
	struct submit *s = arg;
	struct bus_coord *co = s->co;
	uint64_t pos;
	uint32_t i;
	int ret;

	for (;;) {
		ret = 0;
		if (sb_unlikely(co->n_in_ring >= co->config.window))
			bus_coord_free_last(co);
		if (sb_unlikely(co->n_in_ring >= co->config.window))
			ret = -EAGAIN;
		else if (sb_unlikely(s->len > co->c.layout.request_bytes ||
				     co->c.layout.head_bytes))
			ret = claim_cells(s);
		if (!ret)
			ret = sb_ring_claim(&co->c.end, 1, sure, &pos);
		if (ret != -EAGAIN || !s->blocking)
			break;
		ret = bus_coord_stash(co);
		if (ret)
			break; /* nothing is done yet, or no memory */
	}
	if (ret < 0)
		return ret;
	publish(s, pos);
	i = co->free_entry;
	co->free_entry = co->entry[i].next;
	co->entry[i].pos = pos;
	co->entry[i].cell[0] = s->cell[0];
	co->entry[i].cell[1] = s->cell[1];
	bus_coord_append(co, i);
	co->n_in_ring++;
	return 0;
}

static int submit_wait(struct bus_coord *co, struct submit *s,
		       int64_t timeout_ns)
{
	struct sb_wait wait = {
		.try_ = try_submit,
		.arg = s,
		.sets = { &co->c.chan->done, &co->bus->map->header->blob_rx },
		.n_sets = 2,
	};
	int ret;

	s->blocking = timeout_ns != 0;
	ret = bus_crew_wait(&co->crew, &wait, bus_coord_deadline(timeout_ns));
	if (ret)
		bus_coord_drop_cells(co->bus, s->cell);
	return ret;
}

int bus_submit(struct bus_coord *co, uint64_t id, const void *buf,
	       size_t len_bytes, int64_t timeout_ns)
{
	struct submit s = { .co = co,
			    .buf = buf,
			    .len = len_bytes,
			    .cell = { SB_BLOB_NONE, SB_BLOB_NONE } };
	int ret = bus_coord_check_submit(co);

	if (sb_unlikely(ret))
		return ret;
	if (sb_unlikely(len_bytes > co->c.layout.request_bytes &&
			len_bytes > co->bus->map->sizes.max_message_bytes))
		return -EMSGSIZE;
	ret = try_submit(&s, false);
	if (sb_unlikely(ret == -EAGAIN))
		ret = submit_wait(co, &s, timeout_ns);
	else if (sb_unlikely(ret))
		bus_coord_drop_cells(co->bus, s.cell);
	if (sb_likely(!ret)) {
		co->entry[co->entry[0].prev].id = id;
		bus_count(&co->bus->ep->counts.put, 1);
	}
	return ret;
}
