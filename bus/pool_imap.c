/*
 * pool_imap.c - run a function on what a source gives, one result after another
 *
 * The source is asked when there is room for more: in the window of the imap,
 * in that of the pool, and in the ring.  A task is kept by the imap until its
 * result was returned; a chunk of them until the last of its results was.
 *
 * Ordered, the tasks are in one list in the order of their items, and what is
 * returned is the first, when it is over.  Unordered, a task comes into the
 * list when it is over.
 *
 * A chunk that came back as what killed too many workers is submitted again,
 * item by item, in its place of the list.  That is what its request is kept
 * for.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "bus/pool.h"
#include "bus/pool_chunk.h"
#include "bus/settings.h"

struct bus_imap {
	struct bus_pool *pool;
	struct bus_imap *next; /* of pool->imaps */
	bus_source source;
	void *ctx;
	uint32_t handler;
	uint8_t lane;
	bool ordered;
	size_t chunk;
	uint32_t window;
	int64_t limit_ns;

	struct bus_future *first, *last; /* those that are listed */
	struct bus_future *lent;         /* its result is the caller's */
	uint64_t n_pulled;
	uint32_t n_out; /* items that were pulled and not returned */

	/* the source */
	bool ended;
	int error;     /* to be said when all before it is out */
	bool has_item; /* it was pulled, and is not in a task yet */
	const void *item;
	size_t item_len;
	/* a chunk under construction */
	unsigned char *buf;
	size_t buf_bytes;
};

/* ------------------------------------------------------------------ list -- */

/* Behind @after; NULL: as the first. */
static void list_add(struct bus_imap *im, struct bus_future *t,
		     struct bus_future *after)
{
	struct bus_future **at = after ? &after->after : &im->first;

	t->after = *at;
	*at = t;
	if (!t->after)
		im->last = t;
}

static void list_remove_first(struct bus_imap *im)
{
	im->first = im->first->after;
	if (!im->first)
		im->last = NULL;
}

/* A long way, but seldom: it has killed its workers. */
static void list_remove(struct bus_imap *im, struct bus_future *t)
{
	struct bus_future *before = NULL, **at = &im->first;

	while (*at != t) {
		before = *at;
		at = &before->after;
	}
	*at = t->after;
	if (!t->after)
		im->last = before;
}

/* ----------------------------------------------------------------- tasks -- */

static struct bus_future *new_task(struct bus_imap *im, uint64_t first,
				   uint32_t n)
{
	struct bus_future *t = bus_task_new(im->pool);

	if (sb_unlikely(!t))
		return NULL;
	t->owner = BUS_FOR_IMAP;
	t->handler = (uint16_t)im->handler;
	t->lane = im->lane;
	t->n_items = n;
	t->for_.imap.imap = im;
	t->for_.imap.first = first;
	if (sb_unlikely(im->limit_ns))
		bus_task_limit(t, sb_deadline(im->limit_ns));
	return t;
}

/* @after: where in the list, if it is ordered.  On failure it is nowhere. */
static int post(struct bus_imap *im, struct bus_future *t, const void *buf,
		size_t len, struct bus_future *after)
{
	int ret = bus_task_post(t, buf, len);

	if (sb_unlikely(ret)) {
		bus_task_put(t);
		return ret;
	}
	t->kept = true;
	if (im->ordered)
		list_add(im, t, after);
	return 0;
}

/* Item @id has no task that could say what became of it.  Returns one that
 * does, or NULL: there is no memory even for that. */
static struct bus_future *lost_item(struct bus_imap *im, uint64_t id, int code,
				    struct bus_future *after)
{
	struct bus_future *t = new_task(im, id, 1);

	bus_count(&im->pool->area->counts.n_submitted, 1);
	if (!t) {
		bus_pool_count(im->pool, BUS_RESULT_ERROR, 1);
		im->ended = true;
		im->error = code;
		im->n_out--;
		return NULL;
	}
	t->kept = true;
	if (im->ordered)
		list_add(im, t, after);
	bus_task_end(t, BUS_RESULT_ERROR, code);
	return t;
}

/* Item @id, the next one of a chunk, for itself.  Returns its task, or NULL. */
static struct bus_future *split_off(struct bus_imap *im, uint64_t id,
				    struct bus_chunk_rest *rest,
				    struct bus_future *after)
{
	const unsigned char *item;
	struct bus_future *t;
	size_t len;
	int ret = bus_chunk_next(rest, BUS_CHUNK_VAR, &item, &len);

	if (ret)
		return lost_item(im, id, ret, after);
	t = new_task(im, id, 1);
	ret = t ? post(im, t, item, len, after) : -ENOMEM;
	return ret ? lost_item(im, id, ret, after) : t;
}

/* Each for itself: one of them kills whoever runs it. */
static void split(struct bus_imap *im, struct bus_future *t)
{
	struct bus_chunk_rest rest = {
		.at = t->req + sizeof(struct bus_task_head), .left = t->req_len
	};
	struct bus_future *after = t, *single;
	struct bus_chunk head;

	/* They are not submitted, they still are. */
	bus_count(&im->pool->area->counts.n_submitted, -(uint64_t)t->n_items);
	bus_chunk_read(&rest, &head, sizeof(head));
	for (uint32_t i = 0; i < t->n_items; i++) {
		single = split_off(im, t->for_.imap.first + i, &rest, after);
		if (single)
			after = single;
	}
	if (im->ordered)
		list_remove(im, t);
	t->kept = false; /* whoever settles it frees it */
}

static void count_items(struct bus_future *t, const struct bus_result *r)
{
	struct bus_chunk_rest rest = { .at = r->data, .left = r->len_bytes };
	struct bus_result item;
	uint32_t n = t->n_items;

	if (!t->chunk || r->kind != BUS_RESULT_OK) {
		bus_pool_count(t->pool, r->kind, n);
		return;
	}
	for (; n && !bus_chunk_result(&rest, &item); n--)
		bus_pool_count(t->pool, item.kind, 1);
	if (n) {
		bus_count(&t->pool->bus->ep->counts.rejected, 1);
		bus_pool_count(t->pool, BUS_RESULT_ERROR, n);
	}
}

void bus_imap_over(struct bus_future *t, const struct bus_result *r)
{
	struct bus_imap *im = t->for_.imap.imap;

	if (sb_unlikely(t->chunk && r->kind == BUS_RESULT_DEATH)) {
		split(im, t);
		return;
	}
	count_items(t, r);
	bus_task_store(t, r);
	if (!im->ordered)
		list_add(im, t, im->last);
}

/* ---------------------------------------------------------------- source -- */

static bool may_pull(const struct bus_imap *im)
{
	const struct bus_pool *p = im->pool;

	/* Whole chunks: or there would soon be none larger than one.  And as
	 * for a map: the first in any case. */
	return !im->ended && im->window - im->n_out >= im->chunk &&
	       p->n_live < p->config.window &&
	       (p->n_queued || p->n_in_ring < p->depth || !im->n_out);
}

static void end_with(struct bus_imap *im, int error)
{
	im->ended = true;
	im->has_item = false;
	im->error = error;
}

/* Have an item from the source.  False at the end. */
static bool have_item(struct bus_imap *im)
{
	int ret;

	if (im->has_item)
		return true;
	ret = im->source(im->ctx, &im->item, &im->item_len);
	if (ret <= 0) {
		end_with(im, ret);
		return false;
	}
	im->has_item = true;
	return true;
}

static int pull_one(struct bus_imap *im)
{
	struct bus_future *t;
	int ret;

	if (!have_item(im))
		return 0;
	ret = bus_pool_open(im->pool); /* the source may have closed it */
	if (ret)
		return ret;
	t = new_task(im, im->n_pulled, 1);
	ret = t ? post(im, t, im->item, im->item_len, im->last) : -ENOMEM;
	if (ret)
		return ret;
	im->has_item = false;
	im->n_pulled++;
	im->n_out++;
	return 0;
}

static int buf_room(struct bus_imap *im, size_t bytes)
{
	size_t room = im->buf_bytes ? im->buf_bytes : 4096;
	unsigned char *buf;

	if (bytes <= im->buf_bytes)
		return 0;
	while (room < bytes)
		room *= 2;
	buf = realloc(im->buf, room);
	if (!buf)
		return -ENOMEM;
	im->buf = buf;
	im->buf_bytes = room;
	return 0;
}

/* Add the item in hand to the chunk.  -EMSGSIZE: it does not fit. */
static int add_item(struct bus_imap *im, size_t *len)
{
	uint64_t n = im->item_len, padded = bus_chunk_padded(n);
	unsigned char *to;

	if (n > im->pool->max_request ||
	    *len + sizeof(n) + padded > im->pool->max_request)
		return -EMSGSIZE;
	if (buf_room(im, (size_t)(*len + sizeof(n) + padded)))
		return -ENOMEM;
	to = im->buf + *len;
	memcpy(to, &n, sizeof(n));
	if (n)
		memcpy(to + sizeof(n), im->item, (size_t)n);
	memset(to + sizeof(n) + n, 0, (size_t)(padded - n));
	*len += (size_t)(sizeof(n) + padded);
	im->has_item = false;
	return 0;
}

static int post_chunk(struct bus_imap *im, uint32_t n, size_t len)
{
	struct bus_chunk head = { .n = n, .item_bytes = BUS_CHUNK_VAR };
	struct bus_future *t = new_task(im, im->n_pulled, n);
	unsigned char *to = t ? bus_task_request(t, len) : NULL;
	int ret;

	if (!to) {
		if (t)
			bus_task_put(t);
		return -ENOMEM;
	}
	memcpy(im->buf, &head, sizeof(head));
	memcpy(to, im->buf, len);
	t->chunk = t->keep = true;
	t->item_at = 0;
	t->item = 0;
	ret = post(im, t, NULL, len, im->last);
	if (ret)
		return ret;
	im->n_pulled += n;
	im->n_out += n;
	return 0;
}

static int pull_chunk(struct bus_imap *im)
{
	size_t len = sizeof(struct bus_chunk);
	uint32_t n = 0;
	int ret = buf_room(im, len);

	while (!ret && n < im->chunk && have_item(im)) {
		ret = add_item(im, &len);
		if (ret == -EMSGSIZE && n)
			break; /* it begins the next one */
		n += !ret;
	}
	if (n) {
		int posted = bus_pool_open(im->pool);

		if (!posted)
			posted = post_chunk(im, n, len);

		return posted ? posted : ret == -EMSGSIZE ? 0 : ret;
	}
	return ret;
}

static void fill(struct bus_imap *im)
{
	while (may_pull(im)) {
		int ret = bus_pool_open(im->pool);

		if (!ret)
			ret = im->chunk > 1 ? pull_chunk(im) : pull_one(im);
		if (sb_unlikely(ret))
			end_with(im, ret);
	}
}

/* ------------------------------------------------------------------ next -- */

/* The next one of a chunk's results.  Returns whether it was the last. */
static bool give_item(struct bus_future *t, struct bus_result *result)
{
	struct bus_chunk_rest rest = { .at = (const unsigned char *)t->r.data +
					     t->item_at,
				       .left = t->r.len - t->item_at };

	result->id += t->item++;
	if (t->r.kind == BUS_RESULT_OK) {
		if (bus_chunk_result(&rest, result)) {
			result->kind = BUS_RESULT_ERROR;
			result->code = -EPROTO;
			result->data = "";
			result->len_bytes = 0;
		}
		t->item_at = t->r.len - rest.left;
	}
	return t->item == t->n_items;
}

/* The next result of the first task, which is over. */
static void give(struct bus_imap *im, struct bus_result *result)
{
	struct bus_future *t = im->first;

	*result = bus_task_result(t);
	result->id = t->for_.imap.first;
	im->n_out--;
	if (sb_unlikely(t->chunk) && !give_item(t, result))
		return;
	list_remove_first(im);
	im->lent = t;
}

static void end_loan(struct bus_imap *im)
{
	struct bus_future *t = im->lent;

	im->lent = NULL;
	if (!t)
		return;
	t->kept = false;
	bus_task_put(t);
}

static bool has_next(const struct bus_imap *im)
{
	return im->first && im->first->over;
}

static bool imap_goes_on(void *arg)
{
	const struct bus_imap *im = arg;

	return has_next(im) || may_pull(im) || (im->ended && !im->n_out);
}

int bus_imap_next(struct bus_imap *im, struct bus_result *result,
		  int64_t timeout_ns)
{
	uint64_t deadline = 0;
	int ret;

	if (!im || !result || bus_pool_check(im->pool))
		return -EINVAL;
	end_loan(im);
	if (timeout_ns > 0 && !has_next(im))
		deadline = bus_pool_deadline(timeout_ns);
	else if (timeout_ns < 0)
		deadline = SB_FOREVER;
	for (;;) {
		fill(im);
		if (has_next(im)) {
			if (sb_unlikely(im->pool->n_run))
				bus_lanes_feed(im->pool);
			give(im, result);
			return 0;
		}
		if (!im->n_out && im->ended) {
			ret = im->error;
			im->error = 0;
			return ret ? ret : -ENODATA;
		}
		ret = bus_pool_wait(im->pool, imap_goes_on, im, deadline);
		if (ret)
			return ret;
	}
}

/* --------------------------------------------------------- make and free -- */

static int imap(struct bus_pool *p, uint32_t handler, bus_source source,
		void *ctx, const struct bus_map_config *config, bool ordered,
		struct bus_imap **out)
{
	struct bus_map_config c;
	struct bus_imap *im;
	int ret = bus_pool_check(p);

	if (!ret)
		ret = bus_config_copy(&c, sizeof(c), config);
	if (!ret)
		ret = bus_map_config_fill(&c);
	if (ret)
		return ret;
	if (!source || !out || handler >= p->config.n_handlers)
		return -EINVAL;
	ret = bus_pool_open(p);
	if (ret)
		return ret;
	im = calloc(1, sizeof(*im));
	if (!im)
		return -ENOMEM;
	im->pool = p;
	im->source = source;
	im->ctx = ctx;
	im->handler = handler;
	im->lane = (uint8_t)bus_lane_of(c.priority);
	im->ordered = ordered;
	im->window = c.window ? c.window : p->config.window;
	im->chunk = c.chunk ? c.chunk : 1;
	if (im->chunk > im->window)
		im->chunk = im->window;
	im->limit_ns = c.limit_ns;
	im->next = p->imaps;
	p->imaps = im;
	*out = im;
	return 0;
}

int bus_pool_imap(struct bus_pool *pool, uint32_t handler, bus_source source,
		  void *ctx, const struct bus_map_config *config,
		  struct bus_imap **out)
{
	return imap(pool, handler, source, ctx, config, true, out);
}

int bus_pool_imap_unordered(struct bus_pool *pool, uint32_t handler,
			    bus_source source, void *ctx,
			    const struct bus_map_config *config,
			    struct bus_imap **out)
{
	return imap(pool, handler, source, ctx, config, false, out);
}

static bool is_ours(const struct bus_future *t, const void *arg)
{
	return t->owner == BUS_FOR_IMAP && t->for_.imap.imap == arg;
}

void bus_imap_free(struct bus_imap *im)
{
	struct bus_imap **at;

	if (!im || bus_pool_check(im->pool))
		return;
	/* Those that are stopped now come into the list as well. */
	bus_tasks_stop(im->pool, is_ours, im);
	end_loan(im);
	while (im->first) {
		struct bus_future *t = im->first;

		list_remove_first(im);
		t->kept = false;
		bus_task_put(t);
	}
	for (at = &im->pool->imaps; *at && *at != im;)
		at = &(*at)->next;
	if (*at)
		*at = im->next;
	free(im->buf);
	free(im);
}

void bus_imaps_free(struct bus_pool *p)
{
	while (p->imaps) {
		struct bus_imap *im = p->imaps;

		p->imaps = im->next;
		free(im->buf);
		free(im);
	}
}
