/*
 * kill_ring_after.c - the survivors after the death, and what is left
 */
#include "config.h"

#include "tools/torture/kill_ring.h"

static void check_messages(bool victim_takes)
{
	uint32_t n_missing = 0, n_committed = 0;

	for (uint32_t i = 0; i < N_MSGS; i++) {
		uint32_t n = kr.n_done[i] + kr_sh->finished[i];
		bool victims = i >= VICTIM_MSG && i < VICTIM_MSG + 12;

		if (n > 1)
			BAD(duplicated, "finished twice");
		if (victims && !kr_sh->published[i] && n == 1)
			n_committed++;
		if ((kr.expected[i] || (victims && kr_sh->published[i])) &&
		    !(victims && kr.request) && n == 0)
			n_missing++;
	}
	/* It may have finished one and been killed before it could say so. */
	if (n_missing > (victim_takes && !kr.request ? 1u : 0u))
		BAD(lost, "a message was lost");
	if (n_committed > 1)
		BAD(wrong, "more came out than went in");
}

static void check_ring(void)
{
	struct sb_ring_end a, b;
	uint64_t pos = 0, n = 0;

	sb_ring_attach(&a, kr.ring, RING_BYTES, AUDIT);
	sb_ring_attach(&b, kr.ring, RING_BYTES, AUDIT + 1);
	for (uint64_t i = 0; i <= a.mask; i++)
		if ((sb_ring_slot(&a, i << 16)->seq & 3) != SB_FREE) {
			BAD(leaked, "a slot is not free");
			return;
		}
	if (sb_ring_unfinished(&a)) {
		BAD(leaked, "unfinished");
		return;
	}
	if (kr.closed)
		return;
	while (n <= kr_n_slots() && sb_ring_claim(&a, 1, true, &pos) == 1) {
		sb_ring_publish(&a, pos, 0, 0);
		n++;
	}
	if (n != kr_n_slots()) {
		BAD(leaked, "fewer slots than before");
		return;
	}
	for (uint64_t k = 0; k < 3 * kr_n_slots() + 1; k++) {
		if (kr_take_one(&b, &pos) != 1) {
			BAD(hung, "nothing comes out");
			return;
		}
		sb_ring_free(&b, pos);
		if (sb_ring_claim(&a, 1, true, &pos) != 1) {
			BAD(hung, "nothing goes in");
			return;
		}
		sb_ring_publish(&a, pos, 0, 0);
	}
}

/* The victim answered one after the other: it died of one of them at most. */
static void check_blame(void)
{
	uint32_t n = 0;

	for (uint64_t i = 0; i < kr_n_slots(); i++)
		n += SB_ATTEMPTS(kr.client.cown[i]);
	if (n > 1)
		BAD(wrong, "one death is blamed on several requests");
}

/* What the others do before anybody has noticed a death. */
static void go_on_unaware(void)
{
	uint64_t pos;

	if (kr_take_one(&kr.helper, &pos) == 1)
		kr_finish(&kr.helper, pos);
	if (sb_ring_claim(&kr.client, 1, true, &pos) == 1)
		kr_client_publishes(pos);
}

void kr_survive(void)
{
	struct sb_ring_recovered what = { 0 };
	bool recovers = kr.op->fn == kr_do_recover;

	torture_gate();
	torture_point(&kr_at.row->t);
	if (*kr.k & 1)
		go_on_unaware();
	sb_ring_recover(&kr.helper, RECOVERER, &what);
	sb_ring_recover(&kr.helper, VICTIM, &what);
	if (kr.op->fn == kr_do_get && kr.request)
		check_blame();
	kr.closed = sb_ring_closed(&kr.client);
	if (kr.op->fn == kr_do_abort && kr.closed) {
		/* What lies there is dropped. */
		sb_ring_abort(&kr.helper);
		if ((kr.ring->tail & 3) != SB_CLOSED ||
		    (kr.ring->head & 3) != SB_CLOSED)
			BAD(wrong, "not aborted");
		return;
	}
	kr_unstall(kr.state);
	kr_drain();
	/* A one-way message that kills too many is dropped. */
	if (!kr.max_attempts || kr.request)
		check_messages(kr.op->takes && !recovers);
	check_ring();
}
