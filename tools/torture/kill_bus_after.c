/*
 * kill_bus_after.c - the survivors after the death, and what is left
 *
 * Whoever sleeps wakes up if there is something for it; every message comes out
 * as often as it may and must; each request is answered; what was half made can
 * be made; and all slots, cells and ids can be used again.
 */
#include "config.h"

#include "tools/torture/audit.h"
#include "tools/torture/kill_bus.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

/* -------------------------------------------------------------- the peer -- */

static struct bus_queue_stats queue_stats(void)
{
	return t_queue_stats(kb.q);
}

static uint32_t n_room(void)
{
	return kb.op->len == BIG && kb.op->n_slots > N_BIG ? N_BIG
							   : kb.op->n_slots;
}

/* Is there what the peer sleeps for, or is it over? */
static bool peer_has_cause(void)
{
	struct bus_queue_stats s = queue_stats();

	switch (kb.op->sleep_in[kb.state]) {
	case GET:
		return s.n_waiting || s.closed;
	case PUT:
		return s.n_waiting + s.n_held < n_room() || s.closed;
	case JOIN:
		return s.n_waiting + s.n_held == 0;
	default:
		return false;
	}
}

/* What it is just taking counts as held.  So does, for a writer, what was
 * claimed by the dead: only a reader can get over it. */
static bool peer_settled(void)
{
	if (kb.sh->peer_done)
		return true;
	if (kb.op->sleep_in[kb.state] == GET && queue_stats().n_held)
		return false;
	return !peer_has_cause();
}

static bool peer_done(void)
{
	return kb.sh->peer_done;
}

static void drain(void)
{
	for (int i = 0; i < N_MSGS && kb_get_message(0) == 0; i++)
		;
}

static void check_peer(void)
{
	int status;

	if (!kb.peer_pid)
		return;
	if (!point_soon(peer_settled)) {
		BAD(hung, "the peer sleeps on");
		t_kill(kb.peer_pid);
		return;
	}
	if (!kb.sh->peer_done) {
		if (kb.op->sleep_in[kb.state] == GET)
			kb_put_message(EXTRA_MSG, 0);
		else if (kb.op->sleep_in[kb.state] == PUT)
			kb_get_message(0);
		else
			drain();
		if (!point_soon(peer_done)) {
			BAD(hung, "the peer cannot be woken");
			t_kill(kb.peer_pid);
			return;
		}
	}
	if (kb.sh->peer_ret && kb.sh->peer_ret != -EPIPE)
		BAD(wrong, "the peer's call failed");
	point_watch("the peer does not leave");
	status = t_wait(kb.peer_pid);
	if (status)
		point_bad(torture_verdict(status), "the peer cannot leave");
}

void kb_unaware(void)
{
	uint64_t end = sb_deadline(250 * SB_NS_PER_US);

	if (kb.peer != POLL || kb.op->worker || kb.op->coord || kb.op->closes)
		return;
	while (kb_get_message(0) && sb_now_ns() < end)
		;
	kb_put_message(OTHER_MSG, 0);
}

/* -------------------------------------------------------------- messages -- */

/* Did the victim's get copy message @i before it died? */
static bool victim_has(uint64_t i)
{
	for (uint32_t k = 0; k < lengthof(kb.sh->buf); k++)
		if (kb.sh->getting &&
		    kb_read_message(kb.sh->buf[k], kb.op->len) == i)
			return true;
	return false;
}

static void check_messages(void)
{
	for (uint64_t i = 0; i < N_MSGS; i++) {
		uint32_t n = kb.sh->n_got[i];
		uint32_t most = kb.sh->put[i] != NOT,
			 least = kb.sh->put[i] == DONE;

		if (kb.sh->fin[i] == FINISHED)
			most = least = 0;
		else if (kb.sh->fin[i] == FINISHING || victim_has(i) ||
			 kb.op->drops)
			least = 0;
		if (n > most)
			point_bad(n > 1 || kb.sh->fin[i]
					  ? offsetof(struct tally, duplicated)
					  : offsetof(struct tally, wrong),
				  "delivered too often");
		else if (n < least)
			BAD(lost, "a message was lost");
	}
	if (kb.sh->wrong)
		BAD(wrong, "garbage came out");
}

static void check_capacity(void)
{
	uint32_t n = n_room();

	for (uint32_t i = 0; i < n; i++)
		if (kb_put_message(0, 0)) {
			BAD(leaked, "less room than before");
			return;
		}
	if (kb_put_message(0, 0) != -EAGAIN)
		BAD(wrong, "more room than before");
	for (uint32_t i = 0; i < 2 * n + 1; i++)
		if (kb_get_message(0) || kb_put_message(0, 0)) {
			BAD(hung, "nothing goes in or out");
			return;
		}
	drain();
}

static void audit(void)
{
	point_watch("the audit hangs");
	audit_bus(kb.bus);
	if (!kb.op->closes)
		check_capacity();
	else if (queue_stats().closed == 0 && kb_put_message(0, 0) != 0)
		BAD(hung, "neither open nor closed");
	audit_ids(kb.bus, MAX_EP);
}

/* -------------------------------------------------------------- requests -- */

static bool client_answered(void)
{
	return kb.sh->client_done;
}

static void check_client(void)
{
	int status;

	kb.sh->go = 1;
	if (!point_soon(client_answered)) {
		BAD(hung, "no answer");
		t_kill(kb.client);
		return;
	}
	status = t_wait(kb.client);
	if (status)
		point_bad(torture_verdict(status), "the coordinator failed");
	for (uint32_t i = 0; i < kb_n_requests(); i++) {
		if (kb.sh->n_answers[i] > 1)
			BAD(duplicated, "answered twice");
		if (kb.sh->n_answers[i] < 1)
			BAD(lost, "not answered");
	}
	if (kb.sh->wrong)
		BAD(wrong, "a wrong answer");
}

/* --------------------------------------------------- what was being made -- */

/* The queue that the victim was making can be made. */
static void check_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q2;
	uint64_t v = 5;

	c.n_slots = 4;
	if (bus_queue_open(kb.bus, "another", &c, &q2)) {
		BAD(leaked, "cannot make a queue");
		return;
	}
	if (t_put_u64(q2, v, 0) || t_get_u64(q2) != v)
		BAD(wrong, "the queue is broken");
	bus_queue_free(q2);
}

static void check_created(void)
{
	struct bus_config c = kb_bus_settings();
	struct bus *b;

	if (bus_create(t_name("k"), &c, &b)) {
		BAD(leaked, "cannot make a bus");
		t_shm_clean();
		return;
	}
	bus_close(b);
	if (t_shm_leftovers()) {
		BAD(leaked, "a file is left");
		t_shm_clean();
	}
}

/* A new coordinator after the death of the other. */
static void check_new_coord(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_result r;
	uint64_t i = 3;

	c.handler = kb_handler;
	c.window = 4;
	if (bus_coord_start(kb.bus, "s", &c, &kb.coord)) {
		BAD(leaked, "no new coordinator");
		return;
	}
	if (bus_submit(kb.coord, i, &i, sizeof(i), POINT_HUNG_NS) ||
	    bus_collect(kb.coord, &r, POINT_HUNG_NS) || r.id != i)
		BAD(hung, "the new coordinator gets no answer");
	bus_coord_stop(kb.coord, POINT_HUNG_NS);
}

/* ------------------------------------------------------------- all of it -- */

void kb_survive(void)
{
	if (kb.op->worker)
		check_client();
	else
		bus_reap(kb.bus);
	check_peer();
	if (!kb.op->worker && !kb.op->coord) {
		drain();
		check_messages();
	}
	audit();
	if (kb.op->fn == kb_do_open_queue)
		check_open_queue();
	if (kb.op->fn == kb_do_create || kb.op->fn == kb_do_close_named)
		check_created();
	if (kb.op->coord)
		check_new_coord();
}
