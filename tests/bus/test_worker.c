/*
 * test_worker.c - tests of bus/worker.c; Criterion suite "worker"
 *
 * The worker's side with a ring that the test fills itself: what it answers to
 * requests that are right and to such as only a broken peer would send.  The
 * whole, with a coordinator, is tested in test_coord.c.
 */
#include "config.h"

#include <criterion/criterion.h>

#include "bus/request.h"
#include "bus/worker.h"
#include "tests/bus/t_bus.h"

static struct bus *bus;
static struct bus_request_chan chan;
static uint64_t coord; /* whose the ring is */

/* A ring whose requests have 16 bytes and results up to @result_bytes. */
static void ring_up(uint64_t result_bytes)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_REQUEST,
					 .ring_flags = SB_RING_REQUEST,
					 .log_n = 3,
					 .max_attempts = 3 };
	int idx;

	bus = t_bus();
	bus_request_plan(16, result_bytes, &spec, &chan.layout);
	idx = bus_channel_make(bus, "r", &spec);
	cr_assert_geq(idx, 0);
	chan.bus = bus;
	chan.idx = (uint32_t)idx;
	cr_assert_eq(bus_channel_attach(bus, chan.idx, &chan.chan, &chan.end),
		     0);
	coord = ld_acq(&chan.chan->coord);
}

TestSuite(worker, .timeout = 200.0);

static uint64_t pos;

/* Claim a slot and let it carry @seq (flags and length). */
static unsigned char *slot(void)
{
	cr_assert_eq(sb_ring_claim(&chan.end, 1, true, &pos), 1);
	return sb_ring_slot(&chan.end, pos)->data;
}

static int double_it(void *ctx, const void *req, size_t len,
		     struct bus_reply *r)
{
	unsigned char *to = bus_reply_room(r, 2 * len);

	T_CHECK(ctx == (void *)&chan);
	if (!to) {
		bus_reply_error(r, "no room for %zu", 2 * len);
		return 7;
	}
	memcpy(to, req, len);
	memcpy(to + len, req, len);
	return 0;
}

static int run(void *arg)
{
	struct bus_worker w = {
		.c = &chan, .coord = coord, .handler = double_it, .ctx = &chan
	};

	(void)arg;
	return bus_worker_run(&w);
}

/* Publish what is in the slot, let a worker answer it, and return seq. */
static uint64_t answer(uint32_t len, uint64_t flags)
{
	pid_t worker;
	uint64_t seq;

	sb_ring_publish(&chan.end, pos, len, flags);
	worker = t_fork(run, NULL);
	while (!sb_ring_answered(&chan.end, pos, &seq))
		sched_yield();
	sb_ring_close(&chan.end);
	fence_seqcst();
	sb_wake_all(&chan.chan->rx, &bus->bells);
	t_join(worker); /* a closed ring ends it */
	return seq;
}

static struct bus_request_error error_in_slot(void)
{
	struct bus_request_error e;

	memcpy(&e,
	       bus_result_area(&chan.layout,
			       sb_ring_slot(&chan.end, pos)->data),
	       sizeof(e));
	return e;
}

Test(worker, a_request_is_answered_beside_itself)
{
	uint64_t seq;

	ring_up(0);
	memcpy(slot(), "abcd", 4);
	seq = answer(4, 0);
	cr_assert_eq(seq & SB_SEQ_FLAGS, 0);
	cr_assert_eq(SB_SEQ_LEN(seq), 8);
	cr_assert_eq(memcmp(bus_result_area(&chan.layout,
					    sb_ring_slot(&chan.end, pos)->data),
			    "abcdabcd", 8),
		     0);
	bus_close(bus);
}

Test(worker, a_length_that_no_request_has_is_an_error)
{
	ring_up(0);
	slot();
	cr_assert_eq(SB_SEQ_LEN(answer(chan.layout.request_bytes + 1, 0)),
		     BUS_LEN_ERROR);
	cr_assert_eq(error_in_slot().code, -EPROTO);
	cr_assert_eq(t_stats(bus).n_rejected, 1);
	bus_close(bus);
}

Test(worker, a_cell_that_is_not_the_requests_is_an_error)
{
	static const uint32_t cells[] = { 0, 5, UINT32_MAX, UINT32_MAX - 1 };

	for (size_t i = 0; i < lengthof(cells); i++) {
		ring_up(0);
		memcpy(slot(), &cells[i], 4);
		cr_assert_eq(SB_SEQ_LEN(answer(0, SB_FLAG_BLOB)),
			     BUS_LEN_ERROR);
		cr_assert_eq(error_in_slot().code, -EPROTO);
		bus_close(bus);
	}
}

Test(worker, a_result_cell_that_is_not_there_is_an_error)
{
	uint32_t cell = 77;

	ring_up(4000);
	memcpy(slot(), &cell, 4);
	cr_assert_eq(SB_SEQ_LEN(answer(4, 0)), BUS_LEN_ERROR);
	cr_assert_eq(error_in_slot().code, -EPROTO);
	bus_close(bus);
}

/* Otherwise the result would overwrite the request. */
Test(worker, one_cell_for_both_is_an_error)
{
	unsigned char *s;
	uint32_t cell;

	ring_up(4000);
	s = slot();
	cr_assert_eq(sb_blob_claim(&bus->blob, 4000, &cell), 0);
	sb_blob_set_len(&bus->blob, cell, 100);
	sb_blob_hand(&bus->blob, cell, chan.idx, pos);
	memcpy(s, &cell, 4);
	memcpy(s + 8, &cell, 4);
	cr_assert_eq(SB_SEQ_LEN(answer(0, SB_FLAG_BLOB)), BUS_LEN_ERROR);
	cr_assert_eq(error_in_slot().code, -EPROTO);
	bus_close(bus);
}

Test(worker, a_cell_smaller_than_the_result_is_not_overrun)
{
	struct bus_request_error e;
	unsigned char *s;
	uint32_t cell[2];

	ring_up(4000);
	s = slot();
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(
			sb_blob_claim(&bus->blob, i ? 1000 : 256, &cell[i]), 0);
		sb_blob_hand(&bus->blob, cell[i], chan.idx, pos);
	}
	sb_blob_set_len(&bus->blob, cell[1], 1000);
	memcpy(s, &cell[0], 4); /* where 2000 bytes should go */
	memcpy(s + 8, &cell[1], 4);
	cr_assert_eq(SB_SEQ_LEN(answer(0, SB_FLAG_BLOB)), BUS_LEN_ERROR);
	e = error_in_slot();
	cr_assert_eq(e.code, -EPROTO);
	cr_assert_eq(e.cell, 0);
	bus_close(bus);
}

static int fails(void *ctx)
{
	(void)ctx;
	return 1;
}

static int run_init_fails(void *arg)
{
	struct bus_worker w = {
		.c = &chan, .coord = coord, .handler = double_it, .init = fails
	};

	(void)arg;
	return bus_worker_run(&w);
}

Test(worker, a_failing_init_has_its_exit_status)
{
	ring_up(0);
	cr_assert_eq(t_wait(t_fork(run_init_fails, NULL)),
		     BUS_WORKER_INIT_FAILED);
	bus_close(bus);
}

/* Another coordinator has the ring by now. */
Test(worker, takes_nothing_from_another_coordinator)
{
	pid_t worker;

	ring_up(0);
	memcpy(slot(), "12345678", 8);
	sb_ring_publish(&chan.end, pos, 8, 0);
	coord += 0x100; /* its next life */
	worker = t_fork(run, NULL);
	cr_assert_eq(t_wait(worker), 1);
	cr_assert(sb_ring_published(&chan.end, pos));
	cr_assert_eq(sb_ring_attempts(&chan.end, pos), 0);
	bus_close(bus);
}
