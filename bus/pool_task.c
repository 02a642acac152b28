/*
 * pool_task.c - in the worker: run a task or a chunk of them, send the result
 *
 * This is the handler that the worker's loop knows.  It finds the function that
 * the request names, and gives it a reply of its own inside of the loop's, that
 * takes results of any size.  A small result lies where the answer is; a large
 * one goes through this worker's pipe, in a parcel (pool_pipe.c), before the
 * answer says so.
 *
 * While it runs, the task is in the word of our place: T1 to T2 of crew.h.  T2
 * comes after the parcel, so that who hangs in the middle of one can be killed;
 * and after T2 nothing is left to do but to answer.
 *
 * A chunk is several tasks in one request: their results go in one answer, and
 * one that fails, fails alone.
 *
 * Killed anywhere: the request is in the ring, whole, and is run again; a
 * parcel that was half sent, or whole and not answered, is dropped by the
 * parent.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/pool_chunk.h"
#include "bus/pool_task.h"
#include "lib/copy.h"

/* What a task that forks leaves in its child, if that comes back. */
#define EXIT_STRAY 0

/* A request, checked. */
struct job {
	struct bus_pool *pool;
	struct bus_reply *outer;
	uint64_t id;
	uint64_t deadline_ns; /* SB_FOREVER: none */
	uint32_t handler;
	bool chunk;
	const unsigned char *data;
	size_t len;
};

static int parse(struct job *job, const void *req, size_t len)
{
	struct bus_task_head h;
	uint64_t units;

	if (len < sizeof(h))
		return -EPROTO;
	sb_copy_once(&h, req, sizeof(h));
	job->id = h.id_flags >> 8;
	job->chunk = h.id_flags & BUS_TASK_CHUNK;
	job->handler = (uint32_t)(h.when >> 48);
	units = h.when & BUS_TASK_UNITS;
	job->deadline_ns = units ? units << BUS_TASK_UNIT_SHIFT : SB_FOREVER;
	job->data = (const unsigned char *)req + sizeof(h);
	job->len = len - sizeof(h);
	if (job->handler >= job->pool->config.n_handlers || !job->id ||
	    (job->id & ((1u << BUS_TASK_INDEX_BITS) - 1)) >= BUS_POOL_RING)
		return -EPROTO;
	return 0;
}

static int answer(struct job *job, uint32_t kind, size_t len)
{
	struct bus_answer a = { .kind = kind, .place = job->outer->place_idx };
	void *room = bus_reply_room(job->outer, sizeof(a) + len);

	if (!room)
		return -EPROTO;
	memcpy(room, &a, sizeof(a));
	return 0;
}

/* The user's function has returned: is this still the worker? */
static void stop_if_stray(const struct bus_reply *r)
{
	if (sb_unlikely(bus_reply_forked(r)))
		_exit(EXIT_STRAY);
}

/* --------------------------------------------------------------- parcels -- */

/* The bytes of a parcel: its head, and then @data. */
static void copy_part(const struct bus_part *part,
		      const struct bus_parcel *head, const unsigned char *data)
{
	unsigned char *to = part->data;
	size_t at = part->offset_bytes, n = part->len_bytes, k;

	if (at < sizeof(*head)) {
		k = sizeof(*head) - at < n ? sizeof(*head) - at : n;
		memcpy(to, (const unsigned char *)head + at, k);
		to += k;
		at += k;
		n -= k;
	}
	if (n)
		memcpy(to, data + (at - sizeof(*head)), n);
}

/* The parent shall look into the pipe before there is an answer. */
static void talk(struct job *job, bool *talking)
{
	if (!*talking)
		bus_crew_talk(job->outer->area, job->outer->place_idx);
	*talking = true;
	bus_reply_ring(job->outer);
}

static int loan(struct job *job, struct bus_pipe *tx, size_t total,
		struct bus_part *part, bool *talking)
{
	int ret = bus_pipe_loan(tx, total, part, 0);

	if (ret == -EAGAIN) {
		talk(job, talking);
		do
			ret = bus_pipe_loan(tx, total, part, -1);
		while (ret == -EINTR);
	}
	return ret;
}

/* What fits the pipe as it is costs neither a bit nor a ring. */
static int send_parts(struct job *job, const void *data, size_t len,
		      bool *talking)
{
	struct bus_pipe *tx = job->pool->place[job->outer->place_idx].tx;
	struct bus_parcel head = { .id = job->id,
				   .attempts = job->outer->attempts };
	size_t total = sizeof(head) + len, done = 0;
	struct bus_part part;
	int ret = 0;

	while (done < total && !ret) {
		ret = loan(job, tx, total, &part, talking);
		if (ret)
			break;
		copy_part(&part, &head, data);
		done = part.offset_bytes + part.len_bytes;
		ret = bus_pipe_commit(tx, &part);
		if (done < total)
			talk(job, talking);
	}
	if (ret)
		(void)bus_pipe_cancel(tx); /* the next one is another message */
	return ret;
}

static int send_parcel(struct job *job, const void *data, size_t len)
{
	bool talking = false;
	int ret = send_parts(job, data, len, &talking);

	if (talking)
		bus_crew_hush(job->outer->area, job->outer->place_idx);
	return ret ? ret : answer(job, BUS_ANSWER_PIPE, 0);
}

/* -------------------------------------------------------------- one task -- */

static int fail(struct job *job, int code, const char *text)
{
	bus_reply_error(job->outer, "%s", text);
	return code;
}

static int run_one(struct job *job)
{
	struct bus_pool *p = job->pool;
	struct bus_reply *r = &p->inner;
	unsigned char *room = bus_reply_room(
		job->outer, sizeof(struct bus_answer) + BUS_SMALL_RESULT);
	int code;

	if (!room)
		return -EPROTO;
	bus_reply_inner(r, job->outer, room + sizeof(struct bus_answer),
			BUS_SMALL_RESULT);
	code = p->config.handlers[job->handler](p->config.ctx, job->data,
						job->len, r);
	stop_if_stray(job->outer);
	if (sb_unlikely(code))
		return fail(job, code, r->text);
	if (sb_unlikely(r->where == BUS_REPLY_ON_HEAP))
		return send_parcel(job, bus_reply_data(r), r->len);
	return answer(job, BUS_ANSWER_HERE, bus_reply_data(r) ? r->len : 0);
}

/* ---------------------------------------------------------------- chunks -- */

/* Results of a chunk, one behind the other. */
struct results {
	unsigned char *data;
	size_t len, room;
};

static int results_room(struct results *rs, size_t more)
{
	size_t room = rs->room ? rs->room : 4096;
	unsigned char *data;

	if (rs->room - rs->len >= more)
		return 0;
	while (room - rs->len < more) {
		if (room > SIZE_MAX / 4)
			return -ENOMEM;
		room *= 2;
	}
	data = realloc(rs->data, room);
	if (!data)
		return -ENOMEM;
	rs->data = data;
	rs->room = room;
	return 0;
}

static int results_add(struct results *rs, int code, const void *data,
		       size_t len)
{
	struct bus_chunk_item it = {
		.code = code,
		.kind = code ? BUS_RESULT_ERROR : BUS_RESULT_OK,
		.len_bytes = len,
	};
	size_t padded = (size_t)bus_chunk_room(&it);

	if (padded < len || results_room(rs, sizeof(it) + padded))
		return -ENOMEM;
	memcpy(rs->data + rs->len, &it, sizeof(it));
	rs->len += sizeof(it);
	if (len)
		memcpy(rs->data + rs->len, data, len);
	memset(rs->data + rs->len + len, 0, padded - len);
	rs->len += padded;
	return 0;
}

static int run_item(struct job *job, const unsigned char *item, size_t len,
		    struct results *rs)
{
	struct bus_pool *p = job->pool;
	unsigned char small[BUS_SMALL_RESULT];
	struct bus_reply *r = &p->inner;
	const void *data;
	int code;

	bus_reply_inner(r, job->outer, small, sizeof(small));
	code = p->config.handlers[job->handler](p->config.ctx, item, len, r);
	stop_if_stray(job->outer);
	if (code)
		return results_add(rs, code, r->text, strlen(r->text));
	data = bus_reply_data(r);
	return results_add(rs, 0, data, data ? r->len : 0);
}

static int send_results(struct job *job, const struct results *rs)
{
	unsigned char *room;

	if (rs->len > BUS_SMALL_RESULT)
		return send_parcel(job, rs->data, rs->len);
	if (answer(job, BUS_ANSWER_HERE, rs->len))
		return -EPROTO;
	room = bus_reply_data(job->outer);
	if (rs->len)
		memcpy(room + sizeof(struct bus_answer), rs->data, rs->len);
	return 0;
}

static int run_items(struct job *job, struct results *rs)
{
	struct bus_chunk_rest rest = { .at = job->data, .left = job->len };
	const unsigned char *item;
	struct bus_chunk c;
	size_t len;
	int ret = bus_chunk_read(&rest, &c, sizeof(c));

	for (uint32_t i = 0; !ret && i < c.n; i++) {
		if (bus_reply_canceled(job->outer))
			return -ECANCELED;
		ret = bus_chunk_next(&rest, c.item_bytes, &item, &len);
		if (!ret)
			ret = run_item(job, item, len, rs);
	}
	return ret;
}

static int run_chunk(struct job *job)
{
	struct results rs = { 0 };
	int ret = run_items(job, &rs);

	if (ret == -ECANCELED)
		ret = answer(job, BUS_ANSWER_SHED, 0);
	else if (!ret)
		ret = send_results(job, &rs);
	free(rs.data);
	return ret;
}

/* ------------------------------------------------------------------- run -- */

static bool is_late(const struct job *job)
{
	return sb_unlikely(job->deadline_ns != SB_FOREVER) &&
	       sb_now_ns() > job->deadline_ns;
}

int bus_task_run(void *ctx, const void *req, size_t len_bytes,
		 struct bus_reply *reply)
{
	struct job job = { .pool = ctx, .outer = reply };
	const _Atomic uint64_t *canceled;
	int ret = parse(&job, req, len_bytes);

	if (sb_unlikely(ret)) {
		bus_count(&reply->c->bus->ep->counts.rejected, 1);
		return ret;
	}
	canceled = bus_crew_canceled(reply->area, job.pool->n_places) +
		   (job.id & ((1u << BUS_TASK_INDEX_BITS) - 1));
	if (sb_unlikely(!bus_place_begin(reply->place, job.id, job.handler,
					 canceled, reply->c->bus->bells.asym)))
		ret = answer(&job, BUS_ANSWER_SHED, 0);
	else if (is_late(&job))
		ret = answer(&job, BUS_ANSWER_LATE, 0);
	else
		ret = sb_unlikely(job.chunk) ? run_chunk(&job) : run_one(&job);
	if (sb_unlikely(!bus_place_end(reply->place)))
		bus_place_doomed();
	return ret;
}
