/*
 * fuzz_spsc.c - lib/spsc on bytes that anybody may have written
 *
 * Both sides of a pair of directions, with the line where they meet or
 * without, small slots.  Between the calls any word of it gets any value, with
 * a taste for headers, positions and heads of the line.
 */
#include "config.h"

#include "lib/spsc.h"
#include "tests/fuzz/fuzz.h"

#define N_SIZES 3u

static const uint32_t sizes[N_SIZES] = { 256, 1024, 16384 };
static struct sb_spsc *spscs[N_SIZES][2];
static struct sb_spsc_meet *meet;

struct state {
	uint32_t slot_bytes;
	size_t bytes;
	struct sb_spsc *s[2];
	struct sb_spsc_tx tx[2]; /* tx[i] writes s[i] */
	struct sb_spsc_rx rx[2]; /* rx[i] reads s[1 - i] */
	bool has_tx[2], has_rx[2], meets[2], shown[2];
	void *room[2];
	size_t room_bytes[2];
};

static int no_memory(void *arg, size_t off, size_t len_bytes)
{
	const struct state *s = arg;

	FUZZ_CHECK(off >= sizeof(struct sb_spsc) &&
		   off + len_bytes <= s->bytes);
	return (len_bytes & 4096) ? -ENOMEM : 0;
}

/* A word as it might be there: a header of about the lap in which we are. */
static uint64_t word(struct fuzz_in *in, const struct state *s, int i)
{
	uint32_t how = fuzz_u8(in);
	uint32_t lap = (uint32_t)(s->s[i]->position >> 32) + (how >> 4 & 3) - 1;
	uint64_t low = fuzz_bytes(in, 2);

	switch (how & 3) {
	case 0:
		return fuzz_number(in);
	case 1: /* a position */
		return (uint64_t)lap << 32 | low;
	case 2:
		return (uint64_t)lap << 32 | SB_SPSC_THERE | (low & 0x3fff) |
		       (low & 0xc000) << 15;
	default: /* a head of the line */
		return s->s[i]->position / 8 << 16 | low;
	}
}

static void poke(struct fuzz_in *in, struct state *s, int i)
{
	uint32_t at = fuzz_u8(in);
	uint64_t w = word(in, s, i);
	size_t n = s->bytes / 8, k;

	switch (at & 7) {
	case 0:
		st_rlx(&s->s[i]->position, w);
		break;
	case 1:
		st_rlx(&s->s[i]->met, (uint32_t)w);
		break;
	case 2:
		st_rlx(&s->s[i]->released, (uint32_t)(w >> 32));
		break;
	case 3:
		st_rlx(&s->s[i]->wanted, w);
		break;
	case 4:
		st_rlx(&meet->half[i].head, w);
		break;
	case 5: /* what the reader will see next */
		if (s->has_rx[1 - i]) {
			st_rlx(sb_spsc_word(s->rx[1 - i].at), w);
			break;
		}
		/* fall through */
	case 6:
		k = (uint32_t)s->s[i]->position % (s->slot_bytes - 7);
		st_rlx(sb_spsc_word(s->s[i]->slots + (at >> 7) * s->slot_bytes +
				    k / 8 * 8),
		       w);
		break;
	default:
		k = fuzz_bytes(in, 2) % n;
		st_rlx(sb_spsc_word((unsigned char *)s->s[i] + k * 8), w);
	}
}

static void attach(struct state *s, int i)
{
	int ret;

	s->meets[i] = s->shown[i] = false;
	s->room[i] = NULL;
	ret = sb_spsc_tx_attach(&s->tx[i], s->s[i], s->bytes);
	FUZZ_CHECK(ret == 0 || ret == -EPROTO);
	/* As the pipe does: slots of another size are refused. */
	s->has_tx[i] = !ret && s->tx[i].slot_bytes == s->slot_bytes;
	if (s->has_tx[i]) {
		s->tx[i].reserve = no_memory;
		s->tx[i].reserve_arg = s;
	}
	ret = sb_spsc_rx_attach(&s->rx[i], s->s[1 - i], s->bytes);
	FUZZ_CHECK(ret == 0 || ret == -EPROTO);
	s->has_rx[i] = !ret && s->rx[i].slot_bytes == s->slot_bytes;
}

static void send(struct fuzz_in *in, struct state *s, int i, uint32_t op)
{
	struct sb_spsc_tx *tx = &s->tx[i];
	size_t len = fuzz_u8(in);
	int ret;

	if (!s->has_tx[i])
		return;
	if (op & 0x20)
		len = len * 64;
	if (len > sb_spsc_max(tx))
		len = sb_spsc_max(tx);
	ret = sb_spsc_room(tx, len, &s->room[i]);
	FUZZ_CHECK(ret == 0 || ret == -EAGAIN || ret == -ENOSPC ||
		   ret == -EPROTO);
	if (ret)
		return;
	memset(s->room[i], 0x11, len);
	if (op & 0x40)
		sb_spsc_publish(tx, len - len * (op >> 4 & 1) / 2, op & 7);
}

static void receive(struct state *s, int i, uint32_t op)
{
	const void *p;
	uint32_t kind;
	size_t len;
	int ret;

	if (!s->has_rx[i])
		return;
	ret = sb_spsc_front(&s->rx[i], &p, &len, &kind);
	FUZZ_CHECK(ret == 0 || ret == -EAGAIN || ret == -EPROTO);
	if (ret) {
		if (s->meets[i])
			(void)sb_spsc_stirs(&s->rx[i]);
		return;
	}
	FUZZ_CHECK(kind <= SB_SPSC_KIND_MAX && len < s->slot_bytes);
	fuzz_touch(p, len);
	if (op & 0x40)
		sb_spsc_pop(&s->rx[i]);
}

static void step(struct fuzz_in *in, struct state *s)
{
	uint32_t op = fuzz_u8(in);
	int i = op >> 7;

	fuzz_begin();
	switch (op & 15) {
	case 0:
		attach(s, i);
		break;
	case 1:
		attach(s, i);
		if (s->has_tx[i] && s->has_rx[i]) {
			sb_spsc_meet(&s->tx[i], &s->rx[i], meet, (uint32_t)i);
			s->meets[i] = true;
		}
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		send(in, s, i, op);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		receive(s, i, op);
		break;
	case 10:
		(void)sb_spsc_is_met(meet, (uint32_t)i, s->s[i]);
		FUZZ_CHECK(sb_spsc_cap(s->s[i], s->slot_bytes) <=
			   s->slot_bytes);
		break;
	default:
		poke(in, s, i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint32_t how = fuzz_u8(&in), k = how % N_SIZES;
	struct state s = { .slot_bytes = sizes[k] };

	s.bytes = sb_spsc_bytes(s.slot_bytes);
	if (!meet)
		meet = fuzz_segment(sizeof(*meet));
	for (int i = 0; i < 2; i++) {
		if (!spscs[k][i])
			spscs[k][i] = fuzz_segment(s.bytes);
		s.s[i] = spscs[k][i];
		memset(s.s[i], 0, s.bytes > 4096 ? 4096 : s.bytes);
		sb_spsc_init(s.s[i], s.slot_bytes, how & 0x20,
			     how & 0x40 ? UINT32_MAX - 1 : 0);
	}
	memset(meet, 0, sizeof(*meet));
	sb_spsc_meet_init(meet, s.s[0], s.s[1]);
	if (how & 0x80) { /* attach to what a peer says */
		uint64_t shape = fuzz_bytes(&in, 8);

		memcpy(s.s[0], &shape, sizeof(shape));
	}
	for (int i = 0; i < 2; i++) {
		fuzz_begin();
		attach(&s, i);
		if ((how & 0x10) && s.has_tx[i] && s.has_rx[i]) {
			sb_spsc_meet(&s.tx[i], &s.rx[i], meet, (uint32_t)i);
			s.meets[i] = true;
		}
	}
	while (fuzz_more(&in))
		step(&in, &s);
	return 0;
}
