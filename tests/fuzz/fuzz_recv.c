/*
 * fuzz_recv.c - all of the bus's receiving, on words that anybody may have
 * written
 *
 * A bus of one process with two endpoints that send to each other: queues,
 * pipes, requests and results.  Between their calls any word of the segment
 * changes.  No call waits, nobody crashes, everything that a call says it has
 * received can be read, and each call ends.
 */
#include "config.h"

#include <errno.h>

#include "bus/recover.h"
#include "bus/worker.h"
#include "tests/fuzz/fuzz_bus.h"

#define BUF_BYTES 2048u

static struct fuzz_bus f;
static unsigned char *out, *in_; /* buffers that ASan guards */

/* Of what was received, in a slot that has so many bytes, or elsewhere. */
static void look_at(const void *p, size_t len, size_t slot_bytes)
{
	size_t off = (size_t)((const unsigned char *)p - f.base);

	FUZZ_CHECK(len <=
		   (off < f.a->map->off.blob ? slot_bytes : FUZZ_MESSAGE_MAX));
	fuzz_touch(p, len);
}

static int handle(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	void *room;

	(void)ctx;
	look_at(req, len_bytes, f.serve.layout.request_bytes);
	if (len_bytes % 5 == 4) {
		bus_reply_error(reply, "no");
		return 1;
	}
	room = bus_reply_room(reply, len_bytes * 8 % 601);
	if (room)
		memset(room, 0x33, len_bytes * 8 % 601);
	return 0;
}

/* A text ends with a 0 behind it.  What is told of a death is the request. */
static void look_at_result(const struct bus_result *r)
{
	const struct bus_request_layout *l = &f.serve.layout;

	look_at(r->data, r->len_bytes,
		r->kind == BUS_RESULT_DEATH ? l->request_bytes
					    : l->inline_bytes);
	FUZZ_CHECK(r->kind != BUS_RESULT_OK ||
		   r->len_bytes <= FUZZ_RESULT_BYTES);
	FUZZ_CHECK(r->kind != BUS_RESULT_ERROR ||
		   !((const char *)r->data)[r->len_bytes]);
}

/* Only what a call is documented to say. */
static void check(int ret)
{
	FUZZ_CHECK(ret > -4096);
}

static void queue(struct fuzz_in *in, uint32_t op, struct bus_queue *q)
{
	struct bus_queue_stats stats = BUS_QUEUE_STATS_INIT;
	size_t len = 0, lens[4], n = fuzz_u8(in);
	struct bus_msg msg = { 0 };
	int ret;

	switch (op & 15) {
	case 0:
		check(bus_queue_put(q, out, n * 5, 0));
		break;
	case 1:
		check(bus_queue_put_many(q, out, n & 31, 1 + (n >> 6), 0));
		break;
	case 2:
	case 3:
	case 4:
		ret = bus_queue_get(q, in_, n & 1 ? n : BUF_BYTES, &len, 0);
		check(ret);
		FUZZ_CHECK(ret || len <= BUF_BYTES);
		break;
	case 5:
		check(bus_queue_get_many(q, in_, 64, 4, n & 1 ? lens : NULL,
					 0));
		break;
	case 6:
	case 7:
		ret = bus_queue_peek(q, &msg, 0);
		check(ret);
		if (ret)
			break;
		look_at(msg.data, msg.len_bytes, FUZZ_SLOT_BYTES);
		check(n & 1 ? bus_queue_give_back(q, &msg)
			    : bus_queue_release(q, &msg));
		break;
	case 8:
		ret = bus_queue_loan(q, n * 5, &msg, 0);
		check(ret);
		if (ret)
			break;
		memset(msg.data, 0x44, msg.len_bytes);
		check(n & 1 ? bus_queue_commit(q, &msg)
			    : bus_queue_cancel(q, &msg));
		break;
	case 9:
		check(bus_queue_task_done(q));
		break;
	case 10:
		check(bus_queue_join(q, 0));
		break;
	case 11:
		check(bus_queue_stats(q, &stats));
		break;
	case 12:
		check(n & 1 ? bus_queue_close(q) : bus_queue_abort(q));
		break;
	default:
		fuzz_bus_poke(in, &f);
	}
}

static void pipe_(struct fuzz_in *in, uint32_t op, struct bus_pipe *p)
{
	struct bus_pipe_stats stats = BUS_PIPE_STATS_INIT;
	struct bus_part part = { 0 };
	size_t len = 0, lens[4], n = fuzz_u8(in);
	int ret;

	switch (op & 15) {
	case 0:
		check(bus_pipe_send(p, out, n * 8, 0));
		break;
	case 1:
		check(bus_pipe_send_many(p, out, n & 31, 1 + (n >> 6), 0));
		break;
	case 2:
	case 3:
	case 4:
		ret = bus_pipe_recv(p, in_, n & 1 ? n * 4 : BUF_BYTES, &len, 0);
		check(ret);
		FUZZ_CHECK(ret || len <= BUF_BYTES);
		break;
	case 5:
		check(bus_pipe_recv_many(p, in_, 64, 4, n & 1 ? lens : NULL,
					 0));
		break;
	case 6:
	case 7:
		ret = bus_pipe_peek(p, &part, 0);
		check(ret);
		if (ret)
			break;
		fuzz_touch(part.data, part.len_bytes);
		if (n & 3)
			check(bus_pipe_release(p, &part));
		break;
	case 8:
		ret = bus_pipe_loan(p, n * 8, &part, 0);
		check(ret);
		if (ret)
			break;
		memset(part.data, 0x55, part.len_bytes);
		if (n & 3)
			check(bus_pipe_commit(p, &part));
		break;
	case 9:
		check(bus_pipe_cancel(p));
		break;
	case 10:
		check(bus_pipe_poll(p, 0));
		break;
	case 11:
		check(bus_pipe_exchange(p, out, n * 4, in_, BUF_BYTES, &len,
					0));
		break;
	case 12:
		check(bus_pipe_stats(p, &stats));
		break;
	case 13:
		check(bus_pipe_close(p, 1 + n % 3));
		break;
	default:
		fuzz_bus_poke(in, &f);
	}
}

static void wait_for_all(void)
{
	struct bus_poll items[] = {
		{ .kind = BUS_POLL_QUEUE, .on.queue = f.qb },
		{ .kind = BUS_POLL_QUEUE, .on.queue = f.jb },
		{ .kind = BUS_POLL_PIPE, .on.pipe = f.pb },
		{ .kind = BUS_POLL_PIPE, .on.pipe = f.sb },
	};

	for (int i = 0; i < 4; i++)
		items[i].events = BUS_POLL_IN | (i < 3 ? BUS_POLL_OUT : 0);
	check(bus_wait(f.b, items, 4, 0));
}

static void request(struct fuzz_in *in, uint32_t op)
{
	struct bus_worker worker = { .c = &f.serve,
				     .handler = handle,
				     .prefetch = op & 32 ? 8 : 1 };
	static const uint64_t ids[3] = { 7, 8, 9 };
	struct bus_stats stats = BUS_STATS_INIT;
	struct bus_result r, many[3];
	int ret;

	switch (op & 15) {
	case 0:
		check(bus_submit_many(f.coord, ids, out, fuzz_u8(in), 3, 0));
		break;
	case 1:
		check(bus_submit(f.coord, op, out, fuzz_u8(in) * 5, 0));
		break;
	case 2:
	case 3:
	case 4:
		check(bus_worker_run(&worker));
		break;
	case 5:
		ret = op & 16 ? bus_collect_many(f.coord, many, 3, 0)
			      : bus_collect_many_any(f.coord, many, 3, 0);
		check(ret);
		for (int i = 0; i < ret; i++)
			look_at_result(&many[i]);
		break;
	case 6:
	case 7:
		ret = op & 16 ? bus_collect(f.coord, &r, 0)
			      : bus_collect_any(f.coord, &r, 0);
		check(ret);
		if (!ret)
			look_at_result(&r);
		break;
	case 8:
		check(bus_stats(f.b, &stats));
		break;
	case 9:
		check(bus_reap(f.b));
		break;
	case 10:
		wait_for_all();
		break;
	default:
		fuzz_bus_poke(in, &f);
	}
}

static void setup(void)
{
	fuzz_begin();
	fuzz_bus_make(&f);
	out = fuzz_segment(BUF_BYTES);
	in_ = fuzz_segment(BUF_BYTES);
	fuzz_freeze();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };

	if (!f.a)
		setup();
	fuzz_thaw();
	while (fuzz_more(&in)) {
		uint32_t op = fuzz_u8(&in);

		fuzz_begin();
		switch (op >> 5) {
		case 0:
			queue(&in, op, op & 16 ? f.jb : f.qb);
			break;
		case 1:
			queue(&in, op, op & 16 ? f.ja : f.qa);
			break;
		case 2:
			pipe_(&in, op, op & 16 ? f.sb : f.pb);
			break;
		case 3:
			pipe_(&in, op, op & 16 ? f.sa : f.pa);
			break;
		case 4:
			request(&in, op);
			break;
		default:
			fuzz_bus_poke(&in, &f);
		}
	}
	return 0;
}
