/*
 * fuzz_ring.c - lib/ring on words that anybody may have written
 *
 * Two endpoints work on a small ring; between their calls any word of it gets
 * any value, with a taste for those that mean something: positions near head
 * and tail, kinds, owners.
 */
#include "config.h"

#include "lib/ring.h"
#include "tests/fuzz/fuzz.h"

#define LOG_N_MAX 4u
#define N_SHAPES  2u

static struct sb_ring *rings[LOG_N_MAX][N_SHAPES];
static const uint32_t strides[N_SHAPES] = { 16, 64 };

struct state {
	struct sb_ring *ring;
	size_t bytes;
	struct sb_ring_end end[2];
	uint64_t held[2]; /* a position that was taken, or claimed */
	bool takes[2], claims[2];
};

/* A word as the ring might have it. */
static uint64_t word(struct fuzz_in *in, const struct state *s)
{
	uint32_t how = fuzz_u8(in);
	uint64_t pos = how & 1 ? s->ring->head : s->ring->tail;

	if (how & 0x80)
		return fuzz_bytes(in, 8);
	pos = SB_POS(pos) + ((uint64_t)(how >> 1 & 31) - 8) * SB_POS_ONE;
	if (how & 0x40) /* far, and so by turns before and behind */
		pos += fuzz_bytes(in, 1) << 56;
	return pos | (fuzz_bytes(in, 2) & 0xffff);
}

static void poke(struct fuzz_in *in, struct state *s)
{
	uint64_t *words = (uint64_t *)s->ring;
	uint64_t head = offsetof(struct sb_ring, tail) / 8;
	uint32_t at = fuzz_u8(in), n = (uint32_t)(s->bytes / 8);

	/* Most of them, but not the padding. */
	switch (at >> 5) {
	case 0:
		words[head + (at & 3) * (SB_FAR / 8)] = word(in, s);
		break;
	case 1: {
		uint64_t i = sb_ring_idx(&s->end[0], (uint64_t)(at & 31) << 16);

		st_rlx(&sb_ring_slot(&s->end[0], i << 16)->seq, word(in, s));
		break;
	}
	case 2:
		st_rlx(&s->end[0].cown[at & s->end[0].mask], word(in, s));
		break;
	case 3:
		st_rlx(&s->end[0].pown[at & s->end[0].mask], word(in, s));
		break;
	case 4:
		st_rlx(&s->end[0].pskip[at & s->end[0].mask], word(in, s));
		break;
	default:
		words[(fuzz_bytes(in, 2) + at) % n] = word(in, s);
	}
}

/* A message that was left behind, at any distance: the words agree. */
static void plant(struct fuzz_in *in, struct state *s)
{
	const struct sb_ring_end *e = &s->end[0];
	uint64_t pos = SB_POS(word(in, s)), fields = fuzz_bytes(in, 1);

	st_rlx(&e->cown[sb_ring_idx(e, pos)],
	       pos | (fields & 0xc) << 6 | (fields & 3));
	st_rlx(&e->pown[sb_ring_idx(e, pos)], pos | (fields & 0xc) << 6);
	st_rlx(&sb_ring_slot(e, pos)->seq, pos | (fields >> 4));
	st_rlx(&s->ring->gen, s->ring->gen + 1);
}

static void give_up(struct state *s, int i)
{
	s->takes[i] = s->claims[i] = false;
}

static void step(struct fuzz_in *in, struct state *s)
{
	uint32_t op = fuzz_u8(in);
	int i = op >> 7;
	struct sb_ring_end *e = &s->end[i];
	struct sb_ring_recovered what = { 0 };
	uint64_t pos, seq;
	uint32_t n, held;
	int ret;

	fuzz_begin();
	switch (op & 15) {
	case 0:
		if (s->claims[i] || s->takes[i])
			break;
		ret = sb_ring_claim(e, 1 + (op >> 4 & 3), op & 64, &pos);
		FUZZ_CHECK(ret <= (int)e->mask + 1);
		if (ret > 0) {
			s->claims[i] = true;
			s->held[i] = pos;
		}
		break;
	case 1:
		if (s->claims[i]) {
			memset(sb_ring_slot(e, s->held[i])->data, 1,
			       e->payload_bytes);
			sb_ring_publish(e, s->held[i], op >> 4 & 7, 0);
		}
		give_up(s, i);
		break;
	case 2:
		if (s->claims[i])
			sb_ring_cancel(e, s->held[i]);
		give_up(s, i);
		break;
	case 3:
	case 4:
	case 5:
		if (s->takes[i])
			break;
		ret = sb_ring_take(e, 1 + (op >> 4 & 3), op & 64, &pos);
		FUZZ_CHECK(ret <= (int)e->mask + 1);
		if (ret <= 0)
			break;
		seq = sb_ring_seq(e, pos);
		if (SB_SEQ_LEN(seq) <= e->payload_bytes)
			fuzz_touch(sb_ring_slot(e, pos)->data, SB_SEQ_LEN(seq));
		(void)sb_ring_attempts(e, pos);
		s->takes[i] = true;
		s->held[i] = pos;
		break;
	case 6:
		if (s->takes[i])
			sb_ring_free(e, s->held[i]);
		give_up(s, i);
		break;
	case 7:
		if (s->takes[i])
			sb_ring_give_back(e, s->held[i]);
		give_up(s, i);
		break;
	case 8:
		if (s->takes[i] && (e->flags & SB_RING_REQUEST))
			sb_ring_answer(e, s->held[i], op >> 4 & 7, 0);
		give_up(s, i);
		break;
	case 9:
		sb_ring_recover(e, 1 + (op >> 4 & 3), &what);
		break;
	case 10:
		sb_ring_close(e);
		break;
	case 11:
		if (op & 16)
			sb_ring_abort(e);
		else
			(void)sb_ring_reopen(e);
		break;
	case 12:
		(void)sb_ring_unfinished(e);
		(void)sb_ring_holds(e);
		sb_ring_count(e, &n, &held);
		FUZZ_CHECK(n + held <= e->mask + 1);
		break;
	case 13:
		pos = SB_POS(word(in, s));
		(void)sb_ring_pos_alive(e, pos);
		(void)sb_ring_answered(e, pos, &seq);
		break;
	case 14:
		plant(in, s);
		break;
	default:
		poke(in, s);
	}
}

static void attach(struct fuzz_in *in, struct state *s)
{
	for (int i = 0; i < 2; i++) {
		int ret = sb_ring_attach(&s->end[i], s->ring, s->bytes,
					 (uint32_t)i + 1);

		FUZZ_CHECK(ret == 0 || ret == -EPROTO);
		if (ret) { /* what a peer wrote does not do: by our own then */
			in->at = in->end;
			return;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint32_t how = fuzz_u8(&in), log_n = 1 + (how & 3);
	uint32_t shape = how >> 2 & 1, stride = strides[shape];
	struct state s = { .bytes = sb_ring_bytes(log_n, stride) };

	if (!rings[log_n - 1][shape])
		rings[log_n - 1][shape] = fuzz_segment(s.bytes);
	s.ring = rings[log_n - 1][shape];
	memset(s.ring, 0, s.bytes);
	sb_ring_init(s.ring, log_n, stride, how >> 3 & SB_RING_FLAGS,
		     how >> 5 & 3, how & 0x80 ? UINT64_MAX >> 16 : 0);
	if (how & 0x40) { /* attach to what a peer says */
		uint64_t shape_words[2] = { fuzz_bytes(&in, 8),
					    fuzz_bytes(&in, 8) };

		memcpy(s.ring, shape_words, sizeof(shape_words));
	}
	attach(&in, &s);
	while (fuzz_more(&in))
		step(&in, &s);
	return 0;
}
