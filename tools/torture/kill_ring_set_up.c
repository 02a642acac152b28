/*
 * kill_ring_set_up.c - messages, and the states of the ring
 *
 * A message is its number: data[0].
 */
#include "config.h"

#include <string.h>

#include "tools/torture/kill_ring.h"

uint64_t kr_n_slots(void)
{
	return kr.client.mask + 1;
}

volatile uint64_t *kr_data_of(uint64_t pos)
{
	return (volatile uint64_t *)(void *)sb_ring_slot(&kr.client, pos)->data;
}

uint64_t kr_answer_to(uint64_t i)
{
	return i * 5 + 2;
}

/* ------------------------------------------------------------- survivors -- */

int kr_take_one(struct sb_ring_end *e, uint64_t *pos)
{
	int n = -EAGAIN;

	for (int t = 0; t < RETRIES; t++) {
		n = sb_ring_take(e, 1, true, pos);
		if (n != -EBUSY)
			break;
	}
	return n;
}

bool kr_send(struct sb_ring_end *e, uint32_t i, uint64_t *pos)
{
	int n = -EAGAIN;

	for (int t = 0; t < RETRIES && n == -EAGAIN; t++)
		n = sb_ring_claim(e, 1, true, pos);
	if (n != 1)
		return false;
	kr_data_of(*pos)[0] = i;
	kr_data_of(*pos)[1] = 0;
	sb_ring_publish(e, *pos, 16, 0);
	return true;
}

uint32_t kr_client_publishes(uint64_t pos)
{
	uint32_t i = kr.n_msgs++;

	kr_data_of(pos)[0] = i;
	kr_data_of(pos)[1] = 0;
	sb_ring_publish(&kr.client, pos, 16, 0);
	kr.pos_of[i] = pos;
	kr.expected[i] = true;
	kr.is_request[i] = kr.request;
	return i;
}

static uint32_t client_sends(void)
{
	int n = -EAGAIN;
	uint64_t pos;

	for (int t = 0; t < RETRIES && n == -EAGAIN; t++)
		n = sb_ring_claim(&kr.client, 1, true, &pos);
	if (n == 1)
		return kr_client_publishes(pos);
	BAD(wrong, "cannot prepare");
	return 0;
}

void kr_finish(struct sb_ring_end *e, uint64_t pos)
{
	uint64_t i = kr_data_of(pos)[0];

	if (i >= N_MSGS) {
		BAD(wrong, "took garbage");
	} else if (kr.request) {
		kr_data_of(pos)[1] = kr_answer_to(i);
		sb_ring_answer(e, pos, 16, 0);
		return;
	} else {
		kr.n_done[i]++;
	}
	sb_ring_free(e, pos);
}

static void collect(void)
{
	for (uint32_t i = 0; i < kr.n_msgs; i++) {
		uint64_t seq;

		if (!kr.is_request[i] ||
		    !sb_ring_answered(&kr.client, kr.pos_of[i], &seq))
			continue;
		if (seq & SB_FLAG_QUAR)
			kr.n_quarantined++;
		else if (kr_data_of(kr.pos_of[i])[1] != kr_answer_to(i))
			BAD(wrong, "wrong answer");
		if (kr_data_of(kr.pos_of[i])[0] != i)
			BAD(wrong, "answer to another");
		sb_ring_free(&kr.client, kr.pos_of[i]);
		kr.n_done[i]++;
	}
}

void kr_drain(void)
{
	uint64_t pos;
	int n = -EAGAIN;

	for (int t = 0; t < 3 * N_MSGS; t++) {
		n = kr_take_one(&kr.helper, &pos);
		if (n != 1)
			break;
		kr_finish(&kr.helper, pos);
	}
	if (n == 1 || n == -EBUSY)
		BAD(hung, "never empty");
	collect();
}

/* ---------------------------------------------------------------- states -- */

/* Positions go round until the slot that the holder has comes next. */
static void prepare_held(void)
{
	kr.holder_msg = client_sends();
	if (kr_take_one(&kr.holder, &kr.holder_pos) != 1)
		BAD(wrong, "cannot prepare");
	for (uint64_t k = 1; k < kr_n_slots(); k++) {
		client_sends();
		kr_drain();
	}
}

void kr_prepare(enum state state)
{
	struct sb_ring_end *c = &kr.client;
	uint64_t tail, head, old, pos;

	switch (state) {
	case EMPTY:
	case N_STATES:
		break;
	case ONE:
		client_sends();
		break;
	case FULL:
		for (uint64_t k = 0; k < kr_n_slots(); k++)
			client_sends();
		break;
	case HELD:
		prepare_held();
		if (kr_n_slots() > 2)
			client_sends(); /* skips, and is one behind it */
		break;
	case STALL:
	case STALL_TAIL:
	case PASSED:
		tail = c->ring->tail;
		old = c->pown[sb_ring_idx(c, tail)];
		if (sb_ring_claim(&kr.stalled, 1, true, &kr.stalled_pos) != 1)
			BAD(wrong, "cannot prepare");
		if (state == STALL_TAIL) {
			/* As if it were stopped right after its CAS. */
			c->pown[sb_ring_idx(c, tail)] = old;
			break;
		}
		client_sends();
		if (state == STALL || kr_n_slots() == 2)
			break;
		client_sends();
		if (kr_take_one(&kr.helper, &pos) == 1)
			kr_finish(&kr.helper, pos);
		break;
	case STALL_HEAD:
		kr.head_msg = client_sends();
		client_sends();
		head = c->ring->head;
		old = c->cown[sb_ring_idx(c, head)];
		if (sb_ring_take(&kr.holder, 1, true, &kr.head_pos) != 1)
			BAD(wrong, "cannot prepare");
		c->cown[sb_ring_idx(c, head)] = old;
		break;
	}
}

void kr_unstall(enum state state)
{
	uint32_t i;

	switch (state) {
	case HELD:
		kr_finish(&kr.holder, kr.holder_pos);
		break;
	case STALL:
	case STALL_TAIL:
	case PASSED:
		kr.stalled.pown[sb_ring_idx(&kr.stalled, kr.stalled_pos)] =
			kr.stalled_pos | kr.stalled.me;
		i = kr.n_msgs++;
		kr.expected[i] = true;
		kr_data_of(kr.stalled_pos)[0] = i;
		kr.pos_of[i] = kr.stalled_pos;
		kr.is_request[i] = kr.request;
		sb_ring_publish(&kr.stalled, kr.stalled_pos, 16, 0);
		break;
	case STALL_HEAD:
		kr.holder.cown[sb_ring_idx(&kr.holder, kr.head_pos)] =
			kr.head_pos | kr.holder.me | SB_TAKEN;
		kr_finish(&kr.holder, kr.head_pos);
		break;
	default:
		break;
	}
}

void kr_set_up(const struct op *op, unsigned int log_n, uint64_t first)
{
	memset(kr_sh, 0, sizeof(*kr_sh));
	memset(&kr, 0, sizeof(kr));
	kr.ring = (void *)kr_sh->memory;
	kr.request = op->request;
	kr.batch = op->batch;
	sb_ring_init(kr.ring, log_n, 32, op->request ? SB_RING_REQUEST : 0, 0,
		     first);
	sb_ring_attach(&kr.client, kr.ring, RING_BYTES, CLIENT);
	sb_ring_attach(&kr.stalled, kr.ring, RING_BYTES, STALLED);
	sb_ring_attach(&kr.holder, kr.ring, RING_BYTES, HOLDER);
	sb_ring_attach(&kr.helper, kr.ring, RING_BYTES, HELPER);
	sb_ring_attach(&kr.victim, kr.ring, RING_BYTES, VICTIM);
	sb_ring_attach(&kr.recoverer, kr.ring, RING_BYTES, RECOVERER);
}
