/*
 * test_view_ring.c - tools/adm/view_ring.c: what is in a slot, whose it is
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "bus/queue.h"
#include "tests/adm/t_adm.h"

TestSuite(view_ring, .init = adm_setup, .fini = adm_teardown, .timeout = 60.0);

#define NEAR_WRAP ((UINT64_C(1) << 48) - 8)

static const struct snap_ring *ring(const char *name)
{
	const struct snap_chan *c = adm_chan(name);

	cr_assert_null(c->bad, "%s", c->bad);
	cr_assert_null(c->ring->bad, "%s", c->ring->bad);
	cr_assert_eq(c->ring->n[SNAP_BAD], 0);
	return c->ring;
}

static void put(struct bus_queue *q, const char *text)
{
	cr_assert_eq(bus_queue_put(q, text, strlen(text), 0), 0);
}

static void has_text(const char *name, uint64_t pos, const char *text)
{
	const struct snap_chan *c = adm_chan(name);
	const struct snap_slot *slot = adm_slot(c->ring, pos);
	char buf[256];

	cr_assert_not_null(slot);
	cr_assert_eq(slot->len_bytes, strlen(text));
	cr_assert_eq(snap_message(&snap, c, slot, buf, sizeof(buf)),
		     (ssize_t)strlen(text));
	cr_assert_eq(memcmp(buf, text, strlen(text)), 0);
}

Test(view_ring, a_new_queue_is_free)
{
	const struct snap_ring *r;

	t_queue(bus, "q", 16, 24, 0);
	r = ring("q");
	cr_assert_eq(r->n_slots, 16);
	cr_assert_eq(r->payload_bytes, 24);
	cr_assert_eq(r->n[SNAP_FREE], 16);
	cr_assert_eq(r->head, 0);
	cr_assert_eq(r->tail, 0);
	cr_assert_not(r->closed);
}

Test(view_ring, what_was_put_waits)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	const struct snap_ring *r;

	put(q, "one");
	put(q, "two");
	r = ring("q");
	cr_assert_eq(snap_waiting(r), 2);
	cr_assert_eq(r->n[SNAP_FREE], 6);
	cr_assert_eq(adm_slot(r, 0)->writer, bus->id);
	cr_assert_eq(adm_slot(r, 1)->state, SNAP_WAITING);
	cr_assert_eq(adm_slot(r, 2)->state, SNAP_FREE);
	cr_assert_eq(r->tail, 2);
	has_text("q", 0, "one");
	has_text("q", 1, "two");
}

Test(view_ring, what_is_held_is_somebodys)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus *other = adm_attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	const struct snap_ring *r;
	struct bus_msg msg;

	put(q, "one");
	cr_assert_eq(bus_queue_peek(theirs, &msg, 0), 0);
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_HELD);
	cr_assert_eq(adm_slot(r, 0)->holder, other->id);
	cr_assert_eq(adm_slot(r, 0)->writer, bus->id);
	has_text("q", 0, "one");
	cr_assert_eq(bus_queue_give_back(theirs, &msg), 0);
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_RETURNED);
	cr_assert_eq(adm_slot(r, 0)->holder, 0);
	cr_assert_eq(adm_slot(r, 0)->attempts, 0);
	cr_assert_eq(snap_waiting(r), 1);
	bus_close(other);
}

static int peek_and_die(void *arg)
{
	struct bus_msg msg;

	T_CHECK(!bus_queue_peek(arg, &msg, T_LONG));
	raise(SIGKILL);
	return 0;
}

Test(view_ring, counts_who_died_on_a_message)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	const struct snap_ring *r;

	put(q, "one");
	for (int i = 1; i <= 2; i++) {
		cr_assert_eq(t_wait(t_fork(peek_and_die, q)), -SIGKILL);
		r = ring("q");
		cr_assert_eq(adm_slot(r, 0)->state, SNAP_HELD);
		cr_assert_eq(bus_reap(bus), 1);
		r = ring("q");
		cr_assert_eq(adm_slot(r, 0)->state, SNAP_RETURNED);
		cr_assert_eq(adm_slot(r, 0)->attempts, i);
	}
}

Test(view_ring, what_is_being_written_is_told_from_what_waits)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus_msg msg;
	const struct snap_ring *r;
	char buf[24];
	size_t n;

	cr_assert_eq(bus_queue_loan(q, 8, &msg, 0), 0);
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_WRITING);
	cr_assert_eq(adm_slot(r, 0)->writer, bus->id);
	cr_assert_eq(snap_waiting(r), 0);
	/* Somebody who waits goes past it. */
	while (ring("q")->n[SNAP_WRITING])
		bus_queue_get(q, buf, sizeof(buf), &n, 1000000);
	r = ring("q");
	cr_assert_eq(r->n[SNAP_PASSED], 1);
	cr_assert_eq(r->head, 1);
	cr_assert_eq(bus_queue_commit(q, &msg), 0);
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_RETURNED);
}

Test(view_ring, a_large_message_lies_in_a_cell)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	unsigned char large[5000], seen[sizeof(large)];
	const struct snap_chan *c;
	const struct snap_slot *slot;

	put(q, "small");
	t_fill(large, sizeof(large), 7);
	cr_assert_eq(bus_queue_put(q, large, sizeof(large), 0), 0);
	c = adm_chan("q");
	slot = adm_slot(c->ring, 1);
	cr_assert_eq(slot->state, SNAP_WAITING);
	cr_assert_eq(slot->len_bytes, sizeof(large));
	cr_assert_neq(slot->cell, SB_BLOB_NONE);
	cr_assert_eq(snap_message(&snap, c, slot, seen, sizeof(seen)),
		     (ssize_t)sizeof(seen));
	cr_assert(t_is(seen, sizeof(seen), 7));
	cr_assert_eq(snap_message(&snap, c, slot, seen, 10), 10);
	cr_assert_eq(snap.cells.n_used, 1);
	cr_assert_geq(snap.cells.used_bytes, sizeof(large));
	cr_assert_null(snap.cells.bad);
}

Test(view_ring, closed_and_aborted_are_two_things)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);

	put(q, "one");
	cr_assert_eq(bus_queue_close(q), 0);
	cr_assert(ring("q")->closed);
	cr_assert_not(ring("q")->aborted);
	cr_assert_eq(ring("q")->tail, 1);
	cr_assert_eq(bus_queue_abort(q), 0);
	cr_assert(ring("q")->aborted);
	cr_assert_eq(snap_waiting(ring("q")), 0);
}

/* A queue whose positions begin at @first. */
static struct bus_queue *queue_at(uint64_t first)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_QUEUE,
					 .log_n = 2,
					 .stride = sb_ring_stride(24),
					 .first = first };
	struct bus_queue *q = NULL;

	cr_assert_geq(bus_channel_make(bus, "wrap", &spec), 0);
	cr_assert_eq(bus_queue_open(bus, "wrap", NULL, &q), 0);
	return q;
}

Test(view_ring, positions_wrap)
{
	struct bus_queue *q = queue_at(NEAR_WRAP);

	for (int i = 0; i < 40; i++) {
		cr_assert_eq(t_put_u64(q, 1, 0), 0);
		cr_assert_eq(t_put_u64(q, 2, 0), 0);
		cr_assert_eq(snap_waiting(ring("wrap")), 2);
		cr_assert_eq(t_get_u64(q), 1);
		cr_assert_eq(snap_waiting(ring("wrap")), 1);
		cr_assert_eq(t_get_u64(q), 2);
	}
}

/* Whoever is killed between his claim and its record leaves the last claim and
 * take in tail and head alone. */
Test(view_ring, the_last_claims_need_not_be_recorded)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus_msg msg;
	const struct snap_ring *r;

	put(q, "one");
	put(q, "two");
	q->end.pown[1] -= q->end.lap;
	r = ring("q");
	cr_assert_eq(adm_slot(r, 1)->state, SNAP_WAITING);
	cr_assert_eq(adm_slot(r, 1)->writer, bus->id);
	cr_assert_eq(bus_queue_peek(q, &msg, 0), 0);
	q->end.cown[0] -= q->end.lap;
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_HELD);
	cr_assert_eq(adm_slot(r, 0)->holder, bus->id);
}

static const uint64_t nonsense[] = {
	0,
	1,
	2,
	3,
	0xffff,
	UINT64_C(0x10000),
	UINT64_C(0x8000000000000000),
	UINT64_C(0x7fffffffffffffff),
	UINT64_MAX,
	UINT64_C(0x00000000000500f1),
};

/* Each of the words of a slot; and it is right again afterwards. */
Test(view_ring, no_word_of_a_slot_is_believed)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	_Atomic uint64_t *words[4];
	char buf[64];

	put(q, "one");
	put(q, "two");
	words[0] = &sb_ring_slot(&q->end, 0)->seq;
	words[1] = &q->end.pown[0];
	words[2] = &q->end.cown[0];
	words[3] = &q->end.pskip[0];
	for (size_t w = 0; w < lengthof(words); w++) {
		uint64_t good = *words[w];

		for (size_t i = 0; i < lengthof(nonsense); i++) {
			const struct snap_chan *c;

			*words[w] = nonsense[i];
			c = adm_chan("q");
			snap_message(&snap, c, &c->ring->slot[0], buf,
				     sizeof(buf));
			cr_assert_eq(c->ring->slot[1].state, SNAP_WAITING);
		}
		*words[w] = good;
	}
	cr_assert_eq(snap_waiting(ring("q")), 2);
}

Test(view_ring, what_cannot_be_is_called_so)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	_Atomic uint64_t *seq = &sb_ring_slot(&q->end, 0)->seq;
	_Atomic uint64_t *own = &q->end.cown[0], *tail = &q->end.ring->tail;

	put(q, "one");
	*seq |= SB_LEN_MAX << 4; /* longer than the slot */
	cr_assert_eq(adm_chan("q")->ring->n[SNAP_BAD], 1);
	*seq = SB_DONE; /* answered */
	cr_assert_not_null(adm_chan("q")->ring->slot[0].bad);
	*seq = q->end.lap * 2 | SB_FULL; /* never claimed */
	cr_assert_not_null(adm_chan("q")->ring->slot[0].bad);
	*seq = SB_FLAG_BLOB | SB_FULL; /* in a cell that is none */
	cr_assert_not_null(adm_chan("q")->ring->slot[0].bad);
	*seq = SB_FULL;
	cr_assert_null(adm_chan("q")->ring->slot[0].bad);
	*own = q->end.lap | SB_TAKEN; /* taken a lap ahead */
	cr_assert_not_null(adm_chan("q")->ring->slot[0].bad);
	*own = SB_HELD;
	*tail = q->end.lap * 9;
	cr_assert_not_null(adm_chan("q")->ring->bad);
}

Test(view_ring, no_geometry_is_believed)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	uint32_t *words[4] = { &q->end.ring->log_n, &q->end.ring->stride,
			       &q->end.ring->flags,
			       &q->end.ring->max_attempts };

	for (size_t w = 0; w < lengthof(words); w++) {
		uint32_t good = *words[w];

		for (size_t i = 1; i < lengthof(nonsense); i++) {
			*words[w] = (uint32_t)nonsense[i] | 1u << 20;
			cr_assert_not_null(adm_chan("q")->bad);
		}
		*words[w] = good;
	}
	cr_assert_null(adm_chan("q")->bad);
}

/* -------------------------------------------------------------- requests -- */

static int answer(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	(void)ctx;
	if (len_bytes == 1)
		raise(SIGKILL);
	if (len_bytes == 2) {
		bus_reply_error(reply, "no");
		return -EINVAL;
	}
	return bus_reply_put(reply, req, len_bytes);
}

static bool is_answered(void *arg)
{
	return ring("c")->n[SNAP_ANSWERED] + ring("c")->n[SNAP_GIVEN_UP] ==
	       *(uint32_t *)arg;
}

Test(view_ring, answers_wait_for_their_coordinator)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	const struct snap_chan *c;
	uint32_t n = 2;
	char buf[64];

	config.handler = answer;
	config.window = 8;
	cr_assert_eq(bus_coord_start(bus, "c", &config, &coord), 0);
	cr_assert_eq(bus_submit(coord, 1, "abcd", 4, 0), 0);
	cr_assert_eq(bus_submit(coord, 2, "ab", 2, 0), 0);
	cr_assert(t_eventually(is_answered, &n, 30000));
	c = adm_chan("c");
	cr_assert_eq(c->ring->coord, bus->id);
	cr_assert_not(adm_slot(c->ring, 0)->is_error);
	cr_assert_eq(
		snap_message(&snap, c, adm_slot(c->ring, 0), buf, sizeof(buf)),
		4);
	cr_assert_eq(memcmp(buf, "abcd", 4), 0);
	cr_assert(adm_slot(c->ring, 1)->is_error);
	cr_assert_gt(
		snap_message(&snap, c, adm_slot(c->ring, 1), buf, sizeof(buf)),
		0);
	cr_assert_eq(memcmp(buf, "no", 2), 0);
	cr_assert_not_null(c->crew);
	cr_assert_eq(c->crew->n_places, 1);
	cr_assert_eq(c->crew->place[0].life, BUS_PLACE_READY);
	bus_coord_stop(coord, T_LONG);
	c = snap_find(adm_snap(), "#0");
	cr_assert_eq(c->kind, BUS_CHAN_IDLE);
	cr_assert_eq(c->ring->coord, 0);
}

Test(view_ring, what_nobody_survives_is_given_up)
{
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	struct bus_result result;
	uint32_t n = 1;

	config.handler = answer;
	config.window = 8;
	config.max_attempts = 1;
	cr_assert_eq(bus_coord_start(bus, "c", &config, &coord), 0);
	cr_assert_eq(bus_submit(coord, 1, "a", 1, 0), 0);
	/* Looks at its workers, and recovers the one that has died. */
	for (int i = 0; i < 3000 && !is_answered(&n); i++) {
		bus_reap(bus);
		usleep(10000);
	}
	cr_assert_eq(ring("c")->n[SNAP_GIVEN_UP], 1);
	cr_assert_eq(adm_slot(ring("c"), 0)->attempts, 1);
	has_text("c", 0, "a");
	cr_assert_eq(bus_collect(coord, &result, T_LONG), 0);
	cr_assert_eq(result.kind, BUS_RESULT_DEATH);
	bus_coord_stop(coord, T_LONG);
}

static int wait_for_ever(void *ctx, const void *req, size_t len_bytes,
			 struct bus_reply *reply)
{
	(void)ctx;
	(void)req;
	(void)len_bytes;
	(void)reply;
	while (pause())
		;
	return 0;
}

static bool has_taken_all(void *arg)
{
	(void)arg;
	return ring("c")->n[SNAP_HELD] == 1 && ring("c")->n[SNAP_BEHIND] == 3;
}

static bool is_stopped(void *arg)
{
	struct process p;

	process_read(&p, *(pid_t *)arg, 0);
	return process_is_stopped(&p);
}

Test(view_ring, what_lies_behind_a_request_is_not_begun)
{
	static const char reqs[4][8];
	static const uint64_t ids[4] = { 1, 2, 3, 4 };
	struct bus_coord_config config = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord;
	const struct snap_ring *r;
	pid_t pid;

	config.handler = wait_for_ever;
	config.window = 8;
	config.prefetch = 8;
	cr_assert_eq(bus_coord_start(bus, "c", &config, &coord), 0);
	/* He finds all four when he goes on. */
	cr_assert_eq(bus_coord_workers(coord, &pid, 1), 1);
	kill(pid, SIGSTOP);
	cr_assert(t_eventually(is_stopped, &pid, 30000));
	cr_assert_eq(bus_submit_many(coord, ids, reqs, 8, 4, 0), 4);
	cr_assert_eq(snap_waiting(ring("c")), 4);
	kill(pid, SIGCONT);
	cr_assert(t_eventually(has_taken_all, NULL, 30000));
	r = ring("c");
	for (uint32_t i = 0; i < r->n_slots; i++)
		if (r->slot[i].state == SNAP_BEHIND)
			cr_assert_eq(r->slot[i].holder, adm_slot(r, 0)->holder);
	bus_coord_stop(coord, 0);
}

static int loan_and_die(void *arg)
{
	struct bus_msg msg;

	T_CHECK(!bus_queue_loan(arg, 8, &msg, 0));
	raise(SIGKILL);
	return 0;
}

Test(view_ring, a_slot_whose_writer_died_is_empty)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	const struct snap_ring *r;

	cr_assert_eq(t_wait(t_fork(loan_and_die, q)), -SIGKILL);
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_WRITING);
	cr_assert_eq(snap.ep[adm_slot(r, 0)->writer].proc.state, PROCESS_DEAD);
	cr_assert_eq(bus_reap(bus), 1);
	r = ring("q");
	cr_assert_eq(adm_slot(r, 0)->state, SNAP_TOMB);
	cr_assert_eq(snap_waiting(r), 0);
}

/* Somebody keeps the first message, and writers go round it. */
Test(view_ring, writers_step_over_what_is_held)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 24, 0);
	struct bus *other = adm_attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	const struct snap_ring *r;
	struct bus_msg msg;

	put(q, "kept");
	cr_assert_eq(bus_queue_peek(theirs, &msg, 0), 0);
	for (uint64_t lap = 0; lap < 20; lap++) {
		for (uint64_t i = 0; i < 3; i++)
			cr_assert_eq(t_put_u64(q, i, 0), 0);
		cr_assert_eq(t_put_u64(q, 9, 0), -EAGAIN);
		r = ring("q");
		cr_assert_eq(r->n[SNAP_HELD], 1);
		cr_assert_eq(r->n[SNAP_WAITING], 3);
		for (uint64_t i = 0; i < 3; i++)
			cr_assert_eq(t_get_u64(q), i);
		cr_assert_eq(ring("q")->n[SNAP_FREE], 3);
	}
	has_text("q", 0, "kept");
	cr_assert_eq(bus_queue_release(theirs, &msg), 0);
	cr_assert_eq(ring("q")->n[SNAP_FREE], 4);
	cr_assert_eq(t_put_u64(q, 7, 0), 0);
	cr_assert_eq(snap_waiting(ring("q")), 1);
	bus_close(other);
}
