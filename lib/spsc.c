/*
 * spsc.c - one writer, one reader, two slots: attaching, turning, the size
 *
 * What lies where, the orders and the kill windows are in spsc.h.
 *
 * Turning.  The writer's fast path ends at the cap.  Then:
 *
 *	the other slot is not released    the reader is behind by more than
 *	                                  this slot: go on here, cap doubled,
 *	                                  up to the end of the slot; there
 *	                                  is room again when it is released
 *	it is, and the reader is behind   the same
 *	by half of the cap
 *	it is                             seal this one and go on in the other;
 *	                                  if the reader was near twice in a
 *	                                  row, with half the cap
 *
 * So the cap follows the distance between the two, which is what decides where
 * the bytes are when the reader comes for them: a reader as fast as the writer
 * gets them out of the first 8 KiB of each slot, and a slower one has all of
 * both to be behind.  Growing costs a load of a line that the reader has not
 * written, shrinking one of the reader's position for each slot (none in the
 * smallest), and both only at the cap.
 *
 * A record that is longer than the cap goes beyond it in an empty slot, which
 * ends behind it.
 */
#include "config.h"

#include <unistd.h>

#include "lib/clock.h"
#include "lib/spsc.h"

/* The longest pause of a reader, and the first one. */
#define PAUSE_MAX_NS   1000u
#define PAUSE_FIRST_NS 100u

/* The head of half a line. */
#define HALF_LEN      UINT64_C(31)
#define HALF_KIND_AT  5
#define HALF_SEQ_AT   8
#define HALF_ACK_AT   12
#define HALF_TOKEN_AT 16
#define HALF_TOKEN    UINT64_C(0xffffffffffff)
#define HALF_SEQ      15u /* of seq and ack */

/* Waits for a record after which the writer asks how far its reader is.  The
 * explorer has no time for so many. */
#ifndef SB_SPSC_ASK_EVERY
#define SB_SPSC_ASK_EVERY 16u
#endif

/* A position that is none. */
#define NOWHERE UINT64_MAX

size_t sb_spsc_bytes(size_t slot_bytes)
{
	return sizeof(struct sb_spsc) + 2 * slot_bytes;
}

/* ---------------------------------------------------------------- sizes -- */

/* Two slots of 8 KiB are half of the smallest L1 around, and two of twice the
 * L2 leave no line in it until the reader comes. */
#define SMALL_BYTES     8192u
#define LARGE_MIN_BYTES (2u << 20)
#define LARGE_MAX_BYTES (4u << 20)
#define L2_GUESS_BYTES  (1u << 20)

size_t sb_spsc_slot_default(bool large, size_t l2_bytes, size_t l3_bytes)
{
	size_t n = LARGE_MIN_BYTES;

	if (!large)
		return SMALL_BYTES;
	if (!l2_bytes)
		l2_bytes = L2_GUESS_BYTES;
	while (n < LARGE_MAX_BYTES && n < 2 * l2_bytes)
		n *= 2;
	while (l3_bytes && n > SMALL_BYTES && 2 * n > l3_bytes / 4)
		n /= 2;
	return n;
}

/* Of the cache of that level; 0 unknown, as always with musl. */
static size_t cache_bytes(int level)
{
	long n = 0;

#ifdef _SC_LEVEL2_CACHE_SIZE
	n = sysconf(level == 2 ? _SC_LEVEL2_CACHE_SIZE : _SC_LEVEL3_CACHE_SIZE);
#else
	(void)level;
#endif
	return n > 0 ? (size_t)n : 0;
}

size_t sb_spsc_slot_here(bool large)
{
	return sb_spsc_slot_default(large, cache_bytes(2), cache_bytes(3));
}

static bool is_slot_size(size_t n)
{
	return n >= SB_SPSC_SLOT_MIN && n <= SB_SPSC_SLOT_MAX && !(n & (n - 1));
}

/* --------------------------------------------------------- both of them -- */

static unsigned char *slot_of(struct sb_spsc *s, uint32_t slot_bytes,
			      uint32_t lap)
{
	return s->slots + (lap & 1) * (size_t)slot_bytes;
}

static uint32_t first_cap(uint32_t slot_bytes, bool adaptive)
{
	return adaptive && slot_bytes > SB_SPSC_FIRST ? SB_SPSC_FIRST
						      : slot_bytes;
}

void sb_spsc_init(struct sb_spsc *s, size_t slot_bytes, bool adaptive,
		  uint32_t first_lap)
{
	uint32_t n = (uint32_t)slot_bytes;

	assert(is_slot_size(slot_bytes));
	s->slot_bytes = n;
	s->adaptive = adaptive;
	st_rlx(&s->position, (uint64_t)first_lap << 32);
	st_rlx(&s->met, 0);
	st_rlx(&s->released, first_lap);
	st_rlx(&s->cap, first_cap(n, adaptive));
	st_rlx(&s->wanted, NOWHERE);
	st_rlx(sb_spsc_word(slot_of(s, n, 0)), 0);
	st_rlx(sb_spsc_word(slot_of(s, n, 1)), 0);
}

/* A position as it stands in the line: in words, over all laps. */
static uint64_t token(uint32_t lap, uint32_t slot_bytes, size_t off)
{
	return (lap * (uint64_t)(slot_bytes / 8) + off / 8) & HALF_TOKEN;
}

/* What is there for good, and the reader's position. */
struct view {
	uint32_t slot_bytes;
	bool adaptive;
	uint32_t lap, off;
	uint64_t sealed; /* see find_end() */
};

static int look(struct sb_spsc *s, size_t bytes, struct view *v)
{
	uint32_t adaptive;
	uint64_t pos;

	if (bytes < sizeof(*s))
		return -EPROTO;
	v->slot_bytes = *(volatile uint32_t *)&s->slot_bytes;
	adaptive = *(volatile uint32_t *)&s->adaptive;
	pos = ld_acq(&s->position); /* F2: what the reader before us has done */
	v->adaptive = adaptive;
	v->lap = (uint32_t)(pos >> 32);
	v->off = (uint32_t)pos;
	if (!is_slot_size(v->slot_bytes) || adaptive > 1 ||
	    sb_spsc_bytes(v->slot_bytes) > bytes || v->off % 8 ||
	    v->off > v->slot_bytes - 8)
		return -EPROTO;
	return 0;
}

enum word { NOTHING, RECORD, SEAL, NONSENSE };

/* What the header @h says, at @off in a slot of @slot_bytes in lap @lap.  If it
 * is a record, whatever is in it, then it lies within the slot, and so does the
 * header behind it. */
static enum word word_is(uint64_t h, uint32_t slot_bytes, uint32_t lap,
			 size_t off)
{
	bool there = h & SB_SPSC_THERE;

	if (!h)
		return NOTHING;
	if (there && off == 0 && (uint32_t)(h >> 32) == lap - 2)
		return NOTHING;
	if (!there || (uint32_t)(h >> 32) != lap)
		return NONSENSE;
	if (h & SB_SPSC_SEAL)
		return off ? SEAL : NONSENSE;
	if (sb_spsc_pad(h & SB_SPSC_LEN) + 16 > slot_bytes - off &&
	    !SB_MUTATED(check_record))
		return NONSENSE;
	return RECORD;
}

/* --------------------------------------------------------------- writer -- */

static void set_cap(struct sb_spsc_tx *tx, uint32_t cap)
{
	tx->cap = cap;
	tx->n_near = 0;
	st_rlx(&tx->s->cap, cap);
}

uint32_t sb_spsc_cap(const struct sb_spsc *s, size_t slot_bytes)
{
	uint32_t cap = ld_rlx(&s->cap);

	return cap < slot_bytes ? cap : (uint32_t)slot_bytes;
}

/* The open slot ends at @end, counted from its begin: room is up to there, and
 * the lines from where we are on are to be got. */
static void set_end(struct sb_spsc_tx *tx, size_t end)
{
	tx->end = slot_of(tx->s, tx->slot_bytes, tx->lap) + end - 8;
	tx->last = tx->end;
	tx->fetched =
		(uintptr_t)tx->at / SB_CACHELINE * SB_CACHELINE - SB_SPSC_AHEAD;
	tx->fetch_end = (uintptr_t)tx->end - SB_SPSC_AHEAD;
	sb_spsc_fetch_ahead(tx, tx->at);
}

/* Go on at @off of lap @lap, as far as the cap, or as far as we are. */
static void open_lap(struct sb_spsc_tx *tx, uint32_t lap, uint32_t off)
{
	tx->lap = lap;
	tx->tag = (uint64_t)lap << 32 | SB_SPSC_THERE;
	tx->at = slot_of(tx->s, tx->slot_bytes, lap) + off;
	set_end(tx, off + 8 > tx->cap ? off + 8 : tx->cap);
}

/*
 * Walk from the reader's position to the first header that is not there.  The
 * writer before us has sealed at most one slot beyond what the reader had left,
 * and nobody else writes headers.
 */
static int find_end(struct sb_spsc *s, struct view *v)
{
	uint32_t n_seals = 0;

	v->sealed = NOWHERE;
	for (;;) {
		unsigned char *at = slot_of(s, v->slot_bytes, v->lap) + v->off;
		uint64_t h = ld_acq(sb_spsc_word(at)); /* F1 <- W3 */

		switch (word_is(h, v->slot_bytes, v->lap, v->off)) {
		case NOTHING:
			return 0;
		case RECORD:
			v->off += 8 + (uint32_t)sb_spsc_pad(h & SB_SPSC_LEN);
			break;
		case SEAL:
			if (n_seals++)
				return -EPROTO;
			v->sealed = (uint64_t)v->lap << 32 | v->off;
			v->lap++;
			v->off = 0;
			break;
		case NONSENSE:
			return -EPROTO;
		}
	}
}

int sb_spsc_tx_attach(struct sb_spsc_tx *tx, struct sb_spsc *s, size_t bytes)
{
	struct view v;
	int ret = look(s, bytes, &v);

	if (!ret)
		ret = find_end(s, &v);
	if (ret)
		return ret;
	*tx = (struct sb_spsc_tx){
		.s = s,
		.slot_bytes = v.slot_bytes,
		.adaptive = v.adaptive,
		.reserved = first_cap(v.slot_bytes, v.adaptive),
		.most = v.slot_bytes,
		.sealed = v.sealed,
	};
	set_cap(tx, tx->reserved);
	open_lap(tx, v.lap, v.off);
	return 0;
}

/* W1.  0: the other slot is ours, -EAGAIN: not yet. */
static int other_released(const struct sb_spsc_tx *tx)
{
	uint32_t lap = ld_acq(&tx->s->released); /* W1 <- F3 */

	if (sb_likely(lap == tx->lap))
		return 0;
	return lap == tx->lap - 1 ? -EAGAIN : -EPROTO;
}

static void seal_and_turn(struct sb_spsc_tx *tx)
{
	size_t off = (size_t)(tx->at - slot_of(tx->s, tx->slot_bytes, tx->lap));

	st_rel(sb_spsc_word(tx->at), /* W3 -> F1 */
	       (tx->tag & ~SB_SPSC_MET) | SB_SPSC_SEAL);
	tx->sealed = (uint64_t)tx->lap << 32 | off;
	open_lap(tx, tx->lap + 1, 0);
}

/* The first @end bytes of both slots will be touched.  0 or -ENOSPC. */
static int reserve(struct sb_spsc_tx *tx, size_t end)
{
	size_t off = sizeof(*tx->s) + tx->reserved;
	uint32_t n = tx->reserved;
	int ret = 0;

	if (sb_likely(end <= n))
		return 0;
	while (n < end)
		n *= 2;
	if (n > tx->most)
		return -ENOSPC;
	for (int i = 0; i < 2 && tx->reserve && !ret; i++) {
		ret = tx->reserve(tx->reserve_arg, off, n - tx->reserved);
		off += tx->slot_bytes;
	}
	if (ret) {
		tx->most = tx->reserved; /* for good: asking is not cheap */
		return -ENOSPC;
	}
	tx->reserved = n;
	return 0;
}

/* The open slot goes on up to @end. */
static int extend(struct sb_spsc_tx *tx, size_t end)
{
	int ret = reserve(tx, end);

	if (!ret)
		set_end(tx, end);
	return ret;
}

/* It does, and those that come after it will. */
static int grow(struct sb_spsc_tx *tx, size_t end)
{
	uint32_t cap = tx->cap;
	int ret;

	while (cap < end)
		cap *= 2;
	ret = extend(tx, cap);
	if (!ret)
		set_cap(tx, cap);
	return ret;
}

/*
 * The reader is in the open slot, of which @used bytes are written: is it far
 * behind?  Also shrinks the cap when it is not.  1, 0 or -EPROTO.
 */
static int reader_lags(struct sb_spsc_tx *tx, size_t used)
{
	uint64_t pos;
	size_t behind;

	if (!tx->adaptive || tx->cap <= SB_SPSC_FIRST)
		return 0;
	pos = ld_rlx(&tx->s->position); /* F2; a guess needs no order */
	if (pos >> 32 != tx->lap || (uint32_t)pos > used)
		return -EPROTO;
	behind = used - (uint32_t)pos;
	if (behind >= tx->cap / 2)
		return 1;
	if (behind > tx->cap / 8)
		tx->n_near = 0;
	else if (++tx->n_near == 2)
		set_cap(tx, tx->cap / 2);
	return 0;
}

/* Go on in the other slot, for a record that needs @need bytes of it. */
static int turn(struct sb_spsc_tx *tx, size_t need)
{
	int ret = reserve(tx, need); /* before there is no way back */

	if (ret)
		return ret;
	seal_and_turn(tx);
	return need > tx->cap ? extend(tx, need) : 0;
}

/* Room for @need bytes, with the header behind them, in the open slot or in the
 * other. */
static int make_room(struct sb_spsc_tx *tx, size_t used, size_t need)
{
	int busy = other_released(tx), lags = 1;

	if (busy == -EPROTO)
		return busy;
	if (!used)
		return extend(tx, need);
	if (!busy)
		lags = reader_lags(tx, used);
	if (lags < 0)
		return lags;
	if (lags && used + need <= tx->slot_bytes && !grow(tx, used + need))
		return 0;
	if (!busy)
		return turn(tx, need);
	if (ld_rlx(&tx->s->wanted) != tx->sealed)
		st_rel(&tx->s->wanted, tx->sealed); /* Q1 -> Q2 */
	return need > tx->most ? -ENOSPC : -EAGAIN;
}

/* The reader's word for it, where a line has to come from its core.  Acquire:
 * we shall write where it has read. */
static bool ask_reader(struct sb_spsc_tx *tx, uint64_t off)
{
	tx->asks = false;
	return ld_acq(&tx->s->position) == ((uint64_t)tx->lap << 32 | off) &&
	       ((ld_acq(&tx->s->met) ^ tx->met) & HALF_SEQ) == 0; /* F2 */
}

/*
 * May a record of @len bytes go through the line?  Also settles whether the
 * next one in the slots has to say MET.
 */
static bool may_meet(struct sb_spsc_tx *tx, size_t len)
{
	unsigned char *slot = slot_of(tx->s, tx->slot_bytes, tx->lap);
	uint64_t off = (uint64_t)(tx->at - slot);
	uint64_t now = token(tx->lap, tx->slot_bytes, off) << 4;
	bool is_short = len <= SB_SPSC_MEET_MAX, popped;

	now |= tx->met & HALF_SEQ;
	popped = tx->back->they_have == now;
	if (!popped && tx->asks && is_short && ask_reader(tx, off)) {
		tx->back->they_have = now;
		popped = true;
	}
	if (popped || (tx->says_at && tx->says_at != tx->at)) {
		tx->says_met = false; /* not needed, or published */
		tx->tag &= ~SB_SPSC_MET;
	}
	tx->says_at = NULL;
	return popped && is_short;
}

/* The record for which there is room in the slot says MET, and the next one
 * comes to room_slow() again. */
static void say_met(struct sb_spsc_tx *tx, size_t len)
{
	tx->tag |= SB_SPSC_MET;
	tx->says_at = tx->at;
	tx->last = tx->at + 8 + sb_spsc_pad(len);
}

SB_NOINLINE int sb_spsc_room_slow(struct sb_spsc_tx *tx, size_t len, void **p)
{
	size_t pad = sb_spsc_pad(len);
	unsigned char *slot;
	int ret = 0;

	assert(len <= sb_spsc_max(tx));
	tx->meets = tx->half && may_meet(tx, len);
	if (tx->meets) {
		tx->last = tx->at; /* who asks again comes here again */
		sb_spsc_fetch((unsigned char *)tx->half);
		*p = tx->half->data;
		return 0;
	}
	tx->last = tx->end;
	if (pad >= (size_t)(tx->last - tx->at)) {
		slot = slot_of(tx->s, tx->slot_bytes, tx->lap);
		ret = make_room(tx, (size_t)(tx->at - slot), pad + 16);
	}
	if (!ret && tx->says_met)
		say_met(tx, len);
	*p = tx->at + 8;
	return ret;
}

/* How many records of @step bytes, header and all, one run may have of @n. */
static size_t run_of(const struct sb_spsc_tx *tx, size_t step, size_t n)
{
	ptrdiff_t room = tx->last - tx->at; /* a record ends before this */
	size_t most;

	if (room < (ptrdiff_t)step - 8 + 1)
		return 0;
	most = ((size_t)room - (step - 8) - 1) / step + 1;
	if (most > SB_SPSC_RUN / step)
		most = SB_SPSC_RUN / step;
	return n < most ? n : most;
}

size_t sb_spsc_put_run(struct sb_spsc_tx *tx, const void *from, size_t len,
		       size_t n, uint32_t kind)
{
	uint64_t header = tx->tag | (uint64_t)kind << SB_SPSC_KIND_AT | len;
	size_t step = 8 + sb_spsc_pad(len);
	unsigned char *at = tx->at;
	const unsigned char *f = from;

	/* What says MET, or may go through the line, goes alone. */
	if (sb_unlikely(tx->meets || tx->says_at))
		return 0;
	n = run_of(tx, step, n);
	if (n < 2)
		return 0;
	sb_copy(at + 8, f, len);
	for (size_t k = 1; k < n; k++) {
		at += step;
		f += len;
		st_rlx(sb_spsc_word(at), header);
		sb_copy(at + 8, f, len);
	}
	at += step;
	st_rlx(sb_spsc_word(at), 0);          /* W2 */
	st_rel(sb_spsc_word(tx->at), header); /* W3 -> F1, of all of them */
	tx->at = at;
	sb_spsc_fetch_ahead(tx, at);
	return n;
}

SB_NOINLINE void sb_spsc_publish_meet(struct sb_spsc_tx *tx, size_t len,
				      uint32_t kind)
{
	const struct sb_spsc_rx *rx = tx->back;
	unsigned char *slot = slot_of(rx->s, rx->slot_bytes, rx->lap);
	size_t off = (size_t)(rx->at - slot);
	uint64_t have = token(rx->lap, rx->slot_bytes, off) << HALF_TOKEN_AT |
			(uint64_t)(rx->met & HALF_SEQ) << HALF_ACK_AT;

	tx->meets = false;
	tx->met++;
	tx->says_met = true;
	st_rel(&tx->half->head, /* M1 -> M2 */
	       have | (uint64_t)(tx->met & HALF_SEQ) << HALF_SEQ_AT |
		       (uint64_t)kind << HALF_KIND_AT | len);
}

/* --------------------------------------------------------------- reader -- */

static void enter_lap(struct sb_spsc_rx *rx, uint32_t lap, uint32_t off)
{
	unsigned char *slot = slot_of(rx->s, rx->slot_bytes, lap);

	rx->lap = lap;
	rx->at = slot + off;
	rx->last = slot + rx->slot_bytes - 8;
	rx->position = ((uint64_t)lap << 32) - (uint64_t)(uintptr_t)slot;
	rx->step = SIZE_MAX;
}

int sb_spsc_rx_attach(struct sb_spsc_rx *rx, struct sb_spsc *s, size_t bytes)
{
	struct view v;
	uint32_t released;
	int ret = look(s, bytes, &v);

	if (ret)
		return ret;
	released = ld_acq(&s->released);
	if (released != v.lap) {
		/* Either the one before us did not get to F3, or nonsense. */
		if (released != v.lap - 1 || v.off)
			return -EPROTO;
		st_rel(&s->released, v.lap); /* F3 -> W1 */
	}
	*rx = (struct sb_spsc_rx){ .s = s, .slot_bytes = v.slot_bytes };
	enter_lap(rx, v.lap, v.off);
	rx->empty_lap = v.lap;
	rx->empty_at = rx->at;
	return 0;
}

/* The writer has gone on in the other slot, and so do we. */
static void leave_slot(struct sb_spsc_rx *rx)
{
	enter_lap(rx, rx->lap + 1, 0);
	/* In this order: the slot is the writer's from F3 on, and nobody may
	 * look for the position in it then. */
	st_rel(&rx->s->position, (uint64_t)rx->lap << 32); /* F2 */
	st_rel(&rx->s->released, rx->lap);                 /* F3 -> W1 */
	if (rx->freed)
		rx->freed(rx->freed_arg);
}

SB_NOINLINE void sb_spsc_leave_read(struct sb_spsc_rx *rx)
{
	unsigned char *slot = slot_of(rx->s, rx->slot_bytes, rx->lap);
	uint64_t h;

	/* What the short way has seen there it loaded relaxed.  Behind this one
	 * the SEAL is there, of which it speaks. */
	(void)ld_acq(&rx->s->wanted);     /* Q2 <- Q1 */
	h = ld_acq(sb_spsc_word(rx->at)); /* F1 <- W3 */
	if (word_is(h, rx->slot_bytes, rx->lap, (size_t)(rx->at - slot)) ==
	    SEAL)
		leave_slot(rx);
}

/*
 * Nothing is there.  What has come since we last said so tells whether it pays
 * to pause: a record alone is an answer, or a writer who is slower than we are;
 * several are a stream.  A pause that ends with nothing was in vain.
 */
static void learn_pause(struct sb_spsc_rx *rx)
{
	bool got = rx->at != rx->empty_at || rx->lap != rx->empty_lap;

	if (!got) {
		if (rx->paused)
			rx->pause_ns = 0;
	} else if (rx->lap == rx->empty_lap &&
		   (size_t)(rx->at - rx->empty_at) == rx->step) {
		rx->pause_ns /= 2;
	} else if (rx->pause_ns < PAUSE_FIRST_NS) {
		rx->pause_ns = PAUSE_FIRST_NS;
	} else if (rx->paused && rx->pause_ns <= PAUSE_MAX_NS / 2) {
		rx->pause_ns *= 2;
	}
	rx->paused = false;
	rx->empty_at = rx->at;
	rx->empty_lap = rx->lap;
	rx->step = SIZE_MAX; /* the next record comes to front_slow() */
}

/* The record in the writer's half of the line.  0, -EAGAIN or -EPROTO. */
static int front_meet(struct sb_spsc_rx *rx, const void **p, size_t *len,
		      uint32_t *kind)
{
	uint64_t h = ld_acq(&rx->half->head); /* M2 <- M1 */
	uint32_t n = (uint32_t)(h >> HALF_SEQ_AT) - rx->met;

	if ((n & HALF_SEQ) == 0) {
		rx->idle_half = h;
		return -EAGAIN;
	}
	if ((n & HALF_SEQ) != 1 || (h & HALF_LEN) > SB_SPSC_MEET_MAX)
		return -EPROTO;
	rx->they_have = h >> HALF_ACK_AT;
	rx->back->last = rx->back->at; /* may_meet() has to look */
	rx->step = SIZE_MAX;
	*p = rx->half->data;
	*len = h & HALF_LEN;
	*kind = (uint32_t)(h >> HALF_KIND_AT) & SB_SPSC_KIND_MAX;
	return 0;
}

/*
 * A record has come through a slot for which we had been waiting.  If that is
 * an answer, then ours can go through the line once we know that all before it
 * was popped; but nobody will tell us while the answers do not come that way.
 * So ask, but not often, for it may be no answer.
 */
static void ask_now_and_then(struct sb_spsc_rx *rx)
{
	if (rx->at != rx->empty_at || rx->lap != rx->empty_lap ||
	    ++rx->n_waits % SB_SPSC_ASK_EVERY)
		return;
	rx->back->asks = true;
	rx->back->last = rx->back->at;
}

/* The record in front has this header. */
static void front_is(struct sb_spsc_rx *rx, uint64_t h, const void **p,
		     size_t *len, uint32_t *kind)
{
	rx->same = h & ~SB_SPSC_MET; /* that one needs a look at the line */
	rx->len = h & SB_SPSC_LEN;
	rx->step = 8 + sb_spsc_pad(rx->len);
	rx->kind = (uint32_t)(h >> SB_SPSC_KIND_AT) & SB_SPSC_KIND_MAX;
	*p = rx->at + 8;
	*len = rx->len;
	*kind = rx->kind;
}

SB_NOINLINE int sb_spsc_front_slow(struct sb_spsc_rx *rx, const void **p,
				   size_t *len, uint32_t *kind)
{
	for (;;) {
		unsigned char *slot = slot_of(rx->s, rx->slot_bytes, rx->lap);
		uint64_t h = ld_acq(sb_spsc_word(rx->at)); /* F1 <- W3 */
		int ret = -EAGAIN;

		switch (word_is(h, rx->slot_bytes, rx->lap,
				(size_t)(rx->at - slot))) {
		case NOTHING:
			rx->idle_slot = h;
			if (rx->half)
				ret = front_meet(rx, p, len, kind);
			if (ret == -EAGAIN)
				learn_pause(rx);
			return ret;
		case RECORD:
			/* After F1: what MET speaks of is there by now. */
			if ((h & SB_SPSC_MET) && rx->half)
				ret = front_meet(rx, p, len, kind);
			if (ret != -EAGAIN)
				return ret;
			if (rx->half)
				ask_now_and_then(rx);
			front_is(rx, h, p, len, kind);
			return 0;
		case SEAL: /* and the next word is none: this ends */
			leave_slot(rx);
			break;
		case NONSENSE:
			return -EPROTO;
		}
	}
}

size_t sb_spsc_take_run(struct sb_spsc_rx *rx, void *to, size_t len, size_t n,
			uint32_t kind)
{
	unsigned char *at = rx->at, *t = to;
	size_t step = rx->step, k;
	uint64_t pos;

	/* Nothing is known of the front, or it is in the line, or another. */
	if (step == SIZE_MAX || rx->len != len || rx->kind != kind)
		return 0;
	for (k = 0; k < n && step <= (size_t)(rx->last - at); k++) {
		if (ld_acq(sb_spsc_word(at)) != rx->same) /* F1 <- W3 */
			break;
		sb_copy(t, at + 8, len);
		at += step;
		t += len;
	}
	if (!k)
		return 0;
	rx->at = at;
	pos = rx->position + (uint64_t)(uintptr_t)at;
	st_rel(&rx->s->position, pos); /* F2 */
	if (sb_unlikely(ld_rlx(&rx->s->wanted) == pos))
		sb_spsc_leave_read(rx);
	return k;
}

bool sb_spsc_pause(struct sb_spsc_rx *rx)
{
	uint64_t begin;

	if (rx->pause_ns < PAUSE_FIRST_NS)
		return false;
	rx->paused = true;
	begin = sb_now_ns();
	do
		sb_relax();
	while (sb_now_ns() - begin < rx->pause_ns);
	return true;
}

/* --------------------------------------------------- where the two meet -- */

static uint64_t token_of(struct sb_spsc *s)
{
	uint64_t pos = ld_rlx(&s->position);

	return token((uint32_t)(pos >> 32), s->slot_bytes, (uint32_t)pos);
}

void sb_spsc_meet_init(struct sb_spsc_meet *meet, struct sb_spsc *s0,
		       struct sb_spsc *s1)
{
	/* Each writer has popped nothing of the other direction. */
	st_rlx(&meet->half[0].head, token_of(s1) << HALF_TOKEN_AT);
	st_rlx(&meet->half[1].head, token_of(s0) << HALF_TOKEN_AT);
}

void sb_spsc_meet(struct sb_spsc_tx *tx, struct sb_spsc_rx *rx,
		  struct sb_spsc_meet *meet, uint32_t dir)
{
	tx->back = rx;
	tx->half = &meet->half[dir & 1];
	tx->met = (uint32_t)(ld_rlx(&tx->half->head) >> HALF_SEQ_AT);
	tx->says_met = true; /* for all we know */
	tx->last = tx->at;
	rx->back = tx;
	rx->half = &meet->half[~dir & 1];
	rx->met = ld_rlx(&rx->s->met);
	rx->they_have = ld_acq(&rx->half->head) >> HALF_ACK_AT; /* M2 <- M1 */
}

bool sb_spsc_is_met(const struct sb_spsc_meet *meet, uint32_t dir,
		    const struct sb_spsc *s)
{
	uint64_t head = ld_acq(&meet->half[dir & 1].head); /* M2 <- M1 */

	return ((head >> HALF_SEQ_AT) ^ ld_acq(&s->met)) & HALF_SEQ; /* F2 */
}
