/*
 * queue.c - a queue is made, opened, closed and left; queue.h has what it is
 */
#include "config.h"

#include <stdlib.h>

#include "bus/queue.h"
#include "bus/settings.h"

void bus_queue_wake_cell_waiters(struct bus_queue *q)
{
	sb_wake(&q->bus->map->header->blob_rx, &q->bus->bells, SB_EP_MAX);
}

void bus_queue_reject(struct bus_queue *q)
{
	bus_count(&q->bus->ep->counts.rejected, 1);
}

/* ------------------------------------------------------- open and close -- */

static int attach(struct bus *bus, uint32_t idx, struct bus_queue **out)
{
	struct bus_queue *q = calloc(1, sizeof(*q));
	int ret = q ? 0 : -ENOMEM;

	if (ret)
		return ret;
	q->bus = bus;
	q->idx = idx;
	q->n_refs = 1;
	ret = bus_channel_attach(bus, idx, &q->chan, &q->end);
	if (!ret) {
		q->flags = *(volatile uint32_t *)&q->chan->flags;
		if (q->flags & ~(BUS_QUEUE_JOINABLE | BUS_QUEUE_STRICT))
			ret = -EPROTO;
	}
	if (!ret && (q->flags & BUS_QUEUE_JOINABLE)) {
		q->held = calloc(q->end.mask + 1, sizeof(*q->held));
		if (!q->held)
			ret = -ENOMEM;
	}
	if (ret) {
		free(q);
		return ret;
	}
	q->next = bus->queues;
	bus->queues = q;
	*out = q;
	return 0;
}

static int make(struct bus *bus, const char *name,
		const struct bus_queue_config *config)
{
	struct bus_queue_config c;
	struct bus_channel_spec spec = { .kind = BUS_CHAN_QUEUE };
	int ret = bus_config_copy(&c, sizeof(c), config);

	if (!ret)
		ret = bus_queue_config_fill(&c);
	if (ret)
		return ret;
	spec.flags = c.flags;
	spec.log_n = (uint32_t)__builtin_ctz(c.n_slots);
	spec.stride = sb_ring_stride(c.slot_bytes);
	spec.ring_flags = c.flags & BUS_QUEUE_STRICT ? SB_RING_STRICT : 0;
	return bus_channel_make(bus, name, &spec);
}

int bus_queue_open(struct bus *bus, const char *name,
		   const struct bus_queue_config *config,
		   struct bus_queue **out)
{
	int ret, idx;

	if (!bus || !name || !out)
		return -EINVAL;
	ret = bus_check(bus);
	if (ret)
		return ret;
	idx = bus_channel_find(bus, name);
	if (idx == -ENOENT && config)
		idx = make(bus, name, config);
	if (idx < 0)
		return idx;
	if (bus_channel_kind(bus, (uint32_t)idx) != BUS_CHAN_QUEUE)
		return -EEXIST;
	for (struct bus_queue *q = bus->queues; q; q = q->next)
		if (q->idx == (uint32_t)idx) {
			q->n_refs++;
			*out = q;
			return 0;
		}
	return attach(bus, (uint32_t)idx, out);
}

void bus_queue_after_fork(struct bus_queue *q)
{
	for (; q; q = q->next) {
		sb_ring_reattach(&q->end, q->bus->id);
		q->n_held = 0;
		q->has_kept = false;
		q->held_n = 0;
	}
}

/* Give back every lease and drop every loan of a slot. */
static void let_go(struct bus_queue *q)
{
	struct sb_ring_recovered what = { 0 };

	/* Leases first: nobody died holding them. */
	for (uint64_t i = 0; q->n_held && i <= q->end.mask; i++) {
		uint64_t own = ld_rlx(&q->end.cown[i]);

		if (bus_queue_holds(q, SB_POS(own)))
			sb_ring_give_back(&q->end, SB_POS(own));
	}
	/* We are the owner, so no death is needed to settle the rest. */
	sb_ring_recover(&q->end, q->bus->id, &what);
	sb_wake_all(&q->chan->rx, &q->bus->bells);
	sb_wake_all(&q->chan->tx, &q->bus->bells);
}

void bus_queue_free(struct bus_queue *q)
{
	struct bus_queue **p;

	if (!q || --q->n_refs)
		return;
	for (p = &q->bus->queues; *p != q;)
		p = &(*p)->next;
	*p = q->next;
	if (q->bus->fork_gen == sb_fork_gen)
		let_go(q);
	free(q->held);
	free(q);
}

int bus_queue_close(struct bus_queue *q)
{
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	sb_ring_close(&q->end);
	sb_wake_all(&q->chan->rx, &q->bus->bells);
	sb_wake_all(&q->chan->tx, &q->bus->bells);
	sb_wake_all(&q->chan->done, &q->bus->bells);
	sb_wake_all(&q->bus->map->header->blob_rx, &q->bus->bells);
	return 0;
}

/* ------------------------------------------------------------ statistics -- */

int bus_queue_stats(struct bus_queue *q, struct bus_queue_stats *out)
{
	struct bus_queue_stats s = { 0 };
	size_t size = out ? out->size : 0;
	int ret = bus_check(q->bus);

	if (ret)
		return ret;
	if (size < sizeof(size))
		return -EINVAL;
	s.size = size;
	s.n_slots = (uint32_t)q->end.mask + 1;
	s.slot_bytes = q->end.payload_bytes;
	s.flags = q->flags;
	s.closed = ld_rlx(&q->end.ring->closing);
	sb_ring_count(&q->end, &s.n_waiting, &s.n_held);
	s.n_put = SB_POS(ld_rlx(&q->end.ring->tail)) >> 16;
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	return 0;
}
