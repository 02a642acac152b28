/*
 * kill_ring_ops.c - what a victim is in the middle of when it is killed, and
 * what it has done before
 */
#include "config.h"

#include "tools/torture/kill_ring.h"

static void do_put(void)
{
	struct sb_ring_end *e = &kr.victim;
	uint32_t i = VICTIM_MSG;

	for (int t = 0; t < 3 && i < VICTIM_MSG + 3; t++) {
		uint64_t pos;
		int n = sb_ring_claim(e, kr.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE, i++) {
			kr_data_of(pos)[0] = i;
			kr_data_of(pos)[1] = 0;
			sb_ring_publish(e, pos, 16, 0);
			kr_sh->published[i] = 1;
		}
	}
}

static void do_cancel(void)
{
	struct sb_ring_end *e = &kr.victim;

	for (int t = 0; t < 2; t++) {
		uint64_t pos;
		int n = sb_ring_claim(e, kr.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE)
			sb_ring_cancel(e, pos);
	}
}

/* take and free, take and answer */
void kr_do_get(void)
{
	struct sb_ring_end *e = &kr.victim;

	for (int t = 0; t < 6; t++) {
		uint64_t pos;
		int n = sb_ring_take(e, kr.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			uint64_t i = kr_data_of(pos)[0];

			if (kr.request) {
				if (n > 1)
					sb_ring_begin(e, pos);
				kr_data_of(pos)[1] = kr_answer_to(i);
				sb_ring_answer(e, pos, 16, 0);
			} else {
				sb_ring_free(e, pos);
				kr_sh->finished[i] = 1;
			}
		}
		if (n == -EAGAIN || n == -EPIPE)
			break;
	}
}

static void do_give_back(void)
{
	struct sb_ring_end *e = &kr.victim;
	uint64_t pos;

	for (int t = 0; t < 3; t++) {
		int n = sb_ring_take(e, kr.batch, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE)
			sb_ring_give_back(e, pos);
	}
}

/* The victim is the client of requests that were answered. */
void kr_do_collect(void)
{
	for (int k = 0; k < kr_sh->n_held; k++) {
		uint64_t pos = kr_sh->held[k], seq;

		if (sb_ring_answered(&kr.victim, pos, &seq))
			sb_ring_free(&kr.victim, pos);
	}
}

static void do_close(void)
{
	sb_ring_close(&kr.victim);
}

void kr_do_abort(void)
{
	sb_ring_abort(&kr.victim);
}

void kr_do_recover(void)
{
	struct sb_ring_recovered what = { 0 };

	sb_ring_recover(&kr.recoverer, VICTIM, &what);
}

static void victim_holds(void)
{
	uint64_t pos;

	for (int k = 0; k < 2; k++)
		if (kr_take_one(&kr.victim, &pos) == 1)
			kr_sh->held[kr_sh->n_held++] = pos;
}

/* Requests of the victim: answered, waiting, taken; and a claim. */
static void victim_asked(void)
{
	uint64_t pos;

	for (uint32_t k = 0; k < 3; k++) {
		if (!kr_send(&kr.victim, VICTIM_MSG + k, &pos))
			break;
		kr_sh->held[kr_sh->n_held++] = pos;
		kr_sh->published[VICTIM_MSG + k] = 1;
		if (k < 2 && kr_take_one(&kr.helper, &pos) == 1)
			kr_finish(&kr.helper, pos);
	}
}

static void victim_had_all(void)
{
	uint64_t pos;

	victim_holds();
	victim_asked();
	if (sb_ring_claim(&kr.victim, 2, true, &pos) < 1)
		return;
}

static void victim_poisoned(void)
{
	victim_had_all();
	kr.max_attempts = 1;
	kr.recoverer.max_attempts = 1;
	kr.helper.max_attempts = 1;
}

const struct op kr_ops[] = {
	{ "put", do_put, false, false, 1, NULL },
	{ "put-batch", do_put, false, false, 3, NULL },
	{ "put-request", do_put, true, false, 1, NULL },
	{ "cancel", do_cancel, false, false, 2, NULL },
	{ "take-free", kr_do_get, false, true, 1, NULL },
	{ "take-free-batch", kr_do_get, false, true, 3, NULL },
	{ "take-answer", kr_do_get, true, true, 1, NULL },
	{ "take-answer-batch", kr_do_get, true, true, 3, NULL },
	{ "give-back", do_give_back, true, true, 2, NULL },
	{ "collect", kr_do_collect, true, false, 1, victim_asked },
	{ "close", do_close, true, false, 1, NULL },
	{ "abort", kr_do_abort, true, false, 1, NULL },
	{ "recover", kr_do_recover, true, true, 1, victim_had_all },
	{ "recover-one-way", kr_do_recover, false, true, 1, victim_had_all },
	{ "recover-quarantine", kr_do_recover, true, true, 1, victim_poisoned },
	{ "recover-quarantine-one-way", kr_do_recover, false, true, 1,
	  victim_poisoned },
};

const uint32_t kr_n_ops = sizeof(kr_ops) / sizeof(kr_ops[0]);
