/*
 * test_ring.c - lib/ring.c and ring_recover.c; Criterion suite "ring"
 *
 * What the ring promises to one process after the other.  Schedules and kills
 * are in stress/explore_ring.c and tools/torture/kill_ring.c.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "lib/clock.h"
#include "lib/ring.h"
#include "tests/support/proc.h"

#define LOG_N      3u
#define N_SLOTS    (1u << LOG_N)
#define STRIDE     32u
#define BYTES      (64u * 1024)
#define NEAR_WRAP  ((UINT64_C(1) << 48) - N_SLOTS)
#define PATIENT_NS 400000u /* more than the ring's patience */

enum { P = 1, Q, C, D, R };

static struct sb_ring *ring;
static struct sb_ring_end p, q, c, d, r; /* producers, consumers, recoverer */
static struct sb_ring_recovered what;

static void attach_all(void)
{
	cr_assert_eq(sb_ring_attach(&p, ring, BYTES, P), 0);
	cr_assert_eq(sb_ring_attach(&q, ring, BYTES, Q), 0);
	cr_assert_eq(sb_ring_attach(&c, ring, BYTES, C), 0);
	cr_assert_eq(sb_ring_attach(&d, ring, BYTES, D), 0);
	cr_assert_eq(sb_ring_attach(&r, ring, BYTES, R), 0);
	what = (struct sb_ring_recovered){ 0 };
}

static void make(uint32_t log_n, uint32_t flags, uint32_t max_attempts,
		 uint64_t first)
{
	memset(ring, 0, BYTES);
	sb_ring_init(ring, log_n, STRIDE, flags, max_attempts, first);
	attach_all();
}

static void setup(void)
{
	ring = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(ring, MAP_FAILED);
	make(LOG_N, 0, 0, 0);
}

TestSuite(ring, .init = setup, .timeout = 200.0);

static uint64_t *data_of(uint64_t pos)
{
	return (uint64_t *)(void *)sb_ring_slot(&p, pos)->data;
}

static int put(struct sb_ring_end *e, uint64_t val)
{
	uint64_t pos;
	int n = sb_ring_claim(e, 1, true, &pos);

	if (n != 1)
		return n;
	data_of(pos)[0] = val;
	sb_ring_publish(e, pos, 8, 0);
	return 0;
}

static int take(struct sb_ring_end *e, uint64_t *pos, uint64_t *val)
{
	int n = sb_ring_take(e, 1, true, pos);

	if (n == 1)
		*val = data_of(*pos)[0];
	return n;
}

/* Take and free one. */
static int get(struct sb_ring_end *e, uint64_t *val)
{
	uint64_t pos;
	int n = take(e, &pos, val);

	if (n == 1)
		sb_ring_free(e, pos);
	return n == 1 ? 0 : n;
}

#define assert_get(e, expected)                                                \
	do {                                                                   \
		uint64_t val_ = ~UINT64_C(0);                                  \
		cr_assert_eq(get((e), &val_), 0);                              \
		cr_assert_eq(val_, (expected));                                \
	} while (0)

/* All slots are free and can be used. */
static void assert_whole(uint64_t n)
{
	uint64_t val, k = 0;

	cr_assert_not(sb_ring_unfinished(&r));
	while (k <= n && put(&q, k) == 0)
		k++;
	cr_assert_eq(k, n, "%u of %u slots", (unsigned int)k, (unsigned int)n);
	while (get(&d, &val) == 0)
		;
}

static void sleep_ns(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* Take, until the ring has lost patience with whoever is at head. */
static int take_patiently(struct sb_ring_end *e, uint64_t *pos)
{
	int n = -EBUSY;

	for (int i = 0; i < 100 && n == -EBUSY; i++) {
		n = sb_ring_take(e, 1, true, pos);
		if (n == -EBUSY)
			sleep_ns(PATIENT_NS);
	}
	return n;
}

/* -------------------------------------------------------- limits, errors -- */

static int attach_with(uint32_t log_n, uint32_t stride, uint32_t flags,
		       uint32_t max_attempts, size_t bytes)
{
	struct sb_ring_end e;

	ring->log_n = log_n;
	ring->stride = stride;
	ring->flags = flags;
	ring->max_attempts = max_attempts;
	return sb_ring_attach(&e, ring, bytes, P);
}

Test(ring, attach_refuses_impossible_geometry)
{
	size_t need = sb_ring_bytes(LOG_N, STRIDE);

	cr_assert_eq(attach_with(LOG_N, STRIDE, 3, 63, need), 0);
	cr_assert_eq(attach_with(LOG_N, STRIDE, 0, 0, need - 1), -EPROTO);
	cr_assert_eq(attach_with(LOG_N, STRIDE, 0, 0, 0), -EPROTO);
	cr_assert_eq(attach_with(LOG_N, STRIDE, 0, 0, sizeof(*ring) - 1),
		     -EPROTO);
	cr_assert_eq(attach_with(0, STRIDE, 0, 0, BYTES), -EPROTO);
	cr_assert_eq(attach_with(21, STRIDE, 0, 0, SIZE_MAX), -EPROTO);
	cr_assert_eq(attach_with(64, STRIDE, 0, 0, SIZE_MAX), -EPROTO);
	cr_assert_eq(attach_with(UINT32_MAX, STRIDE, 0, 0, SIZE_MAX), -EPROTO);
	cr_assert_eq(attach_with(20, 4096, 0, 0, BYTES), -EPROTO);
	cr_assert_eq(attach_with(20, 4096, 0, 0, sb_ring_bytes(20, 4096)), 0);
	cr_assert_eq(attach_with(LOG_N, STRIDE, 4, 0, BYTES), -EPROTO);
	cr_assert_eq(attach_with(LOG_N, STRIDE, UINT32_MAX, 0, BYTES), -EPROTO);
	cr_assert_eq(attach_with(LOG_N, STRIDE, 0, 64, BYTES), -EPROTO);
	cr_assert_eq(attach_with(LOG_N, STRIDE, 0, UINT32_MAX, BYTES), -EPROTO);
}

Test(ring, attach_accepts_only_strides_that_do_not_straddle)
{
	int n_good = 0;

	for (uint32_t s = 0; s <= 8192; s++) {
		bool good = s == 16 || s == 32 ||
			    (s && s % SB_CACHELINE == 0 && s <= 4096);

		cr_assert_eq(attach_with(1, s, 0, 0, BYTES), good ? 0 : -EPROTO,
			     "stride %u", s);
		n_good += good;
	}
	cr_assert_eq(n_good, 66);
	cr_assert_eq(attach_with(1, UINT32_MAX, 0, 0, SIZE_MAX), -EPROTO);
	for (uint32_t bytes = 0; bytes <= 4088; bytes++) {
		uint32_t s = sb_ring_stride(bytes);

		cr_assert_geq(s, bytes + 8);
		cr_assert_eq(attach_with(1, s, 0, 0, BYTES), 0);
	}
}

/* Lines are had at least a slot ahead, and no more of them than fit well into
 * the nearest cache. */
Test(ring, lines_are_had_not_too_far_ahead)
{
	for (uint32_t s = 16; s <= 4096;
	     s += s < SB_CACHELINE ? s : SB_CACHELINE) {
		struct sb_ring_end e;
		uint64_t run;

		sb_ring_init(ring, 1, s, 0, 0, 0);
		cr_assert_eq(sb_ring_attach(&e, ring, BYTES, P), 0);
		cr_assert_eq(e.slot_lines, s < 64 ? 1 : s / 64);
		run = e.run_ahead / SB_POS_ONE;
		cr_assert(run == 1 || (run <= 32 && run * s <= 4096),
			  "stride %u: %u", s, (uint32_t)run);
		cr_assert(run * s > 2048 || run == 32, "stride %u", s);
		cr_assert_leq(e.claim_ahead, e.run_ahead);
		cr_assert_leq(e.take_ahead, e.claim_ahead);
		cr_assert_geq(e.take_ahead, SB_POS_ONE);
	}
}

Test(ring, full_ring_says_eagain)
{
	uint64_t pos;

	for (uint64_t i = 0; i < N_SLOTS; i++)
		cr_assert_eq(put(&p, i), 0);
	cr_assert_eq(put(&p, 99), -EAGAIN);
	cr_assert_eq(sb_ring_claim(&q, 1, false, &pos), -EAGAIN);
	assert_get(&c, 0);
	cr_assert_eq(put(&q, 99), 0);
	cr_assert_eq(put(&q, 99), -EAGAIN);
}

Test(ring, empty_ring_says_eagain)
{
	uint64_t pos;

	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EAGAIN);
	for (int i = 0; i < 200; i++)
		cr_assert_eq(sb_ring_take(&c, 1, false, &pos), -EAGAIN);
}

Test(ring, message_being_written_says_ebusy)
{
	uint64_t pos, at;

	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EBUSY);
	sb_ring_publish(&p, at, 0, 0);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), 1);
	cr_assert_eq(pos, at);
}

Test(ring, closed_ring_says_epipe_when_drained)
{
	uint64_t pos;

	cr_assert_eq(put(&p, 1), 0);
	cr_assert_eq(put(&p, 2), 0);
	cr_assert_not(sb_ring_closed(&c));
	sb_ring_close(&q);
	sb_ring_close(&p); /* once more does no harm */
	cr_assert(sb_ring_closed(&c));
	cr_assert_eq(put(&p, 3), -EPIPE);
	cr_assert_eq(sb_ring_claim(&p, 4, false, &pos), -EPIPE);
	assert_get(&c, 1);
	assert_get(&d, 2);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EPIPE);
}

Test(ring, claim_before_close_may_be_published_after_it)
{
	uint64_t at, pos;

	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	sb_ring_close(&q);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EBUSY);
	cr_assert(sb_ring_unfinished(&q));
	data_of(at)[0] = 7;
	sb_ring_publish(&p, at, 8, 0);
	assert_get(&c, 7);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EPIPE);
	cr_assert_not(sb_ring_unfinished(&q));
}

/* Passing it does not make it go away. */
Test(ring, no_epipe_before_a_passed_message_came)
{
	uint64_t at, pos;

	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	sb_ring_close(&q);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EBUSY);
		cr_assert_eq(sb_ring_take(&d, 1, true, &pos), -EBUSY);
		sleep_ns(PATIENT_NS);
	}
	sb_ring_publish(&p, at, 8, 0);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), 1);
	sb_ring_free(&c, pos);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EPIPE);
	cr_assert_eq(sb_ring_take(&d, 1, true, &pos), -EPIPE);
}

Test(ring, abort_stops_takes)
{
	uint64_t pos;

	cr_assert_eq(put(&p, 1), 0);
	sb_ring_abort(&q);
	sb_ring_close(&p);
	cr_assert_eq(ring->closing, 2);
	cr_assert_eq(put(&p, 1), -EPIPE);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EPIPE);
	cr_assert_eq(sb_ring_take(&c, 1, false, &pos), -EPIPE);
	cr_assert_eq(sb_ring_reopen(&p), -EBUSY);
}

Test(ring, reopen_wants_a_closed_and_empty_ring)
{
	cr_assert_eq(sb_ring_reopen(&p), -EBUSY);
	cr_assert_eq(put(&p, 1), 0);
	sb_ring_close(&p);
	cr_assert_eq(sb_ring_reopen(&p), -EBUSY);
	assert_get(&c, 1);
	cr_assert_eq(sb_ring_reopen(&p), 0);
	cr_assert_not(sb_ring_closed(&c));
	assert_whole(N_SLOTS);
}

/* A producer skips @n positions and gets no further. */
static void skip(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		ring->tail = (SB_POS(ring->tail) + SB_POS_ONE) | p.me | SB_SKIP;
		sb_ring_help_tail(&p, ring->tail);
	}
}

/* The position before tail was not claimed by anybody; to say so would lose
 * its slot. */
Test(ring, reopen_after_a_skip_loses_no_slot)
{
	uint64_t held, val, pos;

	make(1, 0, 0, 0);
	cr_assert_eq(put(&p, 0), 0);
	cr_assert_eq(put(&p, 1), 0);
	cr_assert_eq(take(&c, &held, &val), 1);
	assert_get(&c, 1);
	skip(1);
	sb_ring_free(&c, held);
	sb_ring_close(&p);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EPIPE);
	cr_assert_eq(sb_ring_reopen(&p), 0);
	assert_whole(2);
}

/* ----------------------------------------------------------- order, wrap -- */

static void in_and_out(uint64_t n)
{
	for (uint64_t i = 0; i < 5 * n; i++) {
		for (uint64_t k = 0; k <= i % n; k++)
			cr_assert_eq(put(k & 1 ? &p : &q, i + k), 0);
		for (uint64_t k = 0; k <= i % n; k++)
			assert_get(k & 1 ? &c : &d, i + k);
		cr_assert_eq(sb_ring_take(&c, 1, true, &(uint64_t){ 0 }),
			     -EAGAIN);
	}
}

Test(ring, first_in_first_out)
{
	in_and_out(N_SLOTS);
	assert_whole(N_SLOTS);
}

Test(ring, positions_wrap_at_48_bits)
{
	for (uint32_t log_n = 1; log_n <= 4; log_n++) {
		uint64_t n = UINT64_C(1) << log_n;

		for (uint64_t laps = 1; laps <= 3; laps++) {
			make(log_n, 0, 0, (UINT64_C(1) << 48) - laps * n);
			in_and_out(n);
			cr_assert_lt(SB_POS(ring->tail) >> 16, 1000);
			assert_whole(n);
		}
	}
}

Test(ring, first_position_is_rounded_up_to_a_lap)
{
	make(LOG_N, 0, 0, N_SLOTS + 1);
	cr_assert_eq(ring->tail, 2 * N_SLOTS * SB_POS_ONE);
	make(LOG_N, 0, 0, UINT64_C(0xffffffffffff));
	cr_assert_eq(ring->tail, 0);
	in_and_out(N_SLOTS);
}

Test(ring, length_and_flags_travel)
{
	uint64_t pos, seq;

	make(LOG_N, SB_RING_REQUEST, 0, 0);
	cr_assert_eq(sb_ring_claim(&p, 1, true, &pos), 1);
	sb_ring_publish(&p, pos, SB_LEN_MAX, SB_FLAG_BLOB);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), 1);
	seq = sb_ring_seq(&c, pos);
	cr_assert_eq(SB_SEQ_LEN(seq), SB_LEN_MAX);
	cr_assert_eq(seq & SB_SEQ_FLAGS, SB_FLAG_BLOB);
	cr_assert_not(sb_ring_answered(&p, pos, &seq));
	cr_assert_not(sb_ring_answer(&c, pos, 5, 0));
	cr_assert(sb_ring_answered(&p, pos, &seq));
	cr_assert_eq(SB_SEQ_LEN(seq), 5);
	cr_assert_eq(seq & SB_SEQ_FLAGS, 0);
	sb_ring_free(&p, pos);
	assert_whole(N_SLOTS);
}

/* ---------------------------------------------------------------- batches --
 */

Test(ring, batch_is_at_most_what_is_free)
{
	uint64_t pos;

	cr_assert_eq(sb_ring_claim(&p, 3, true, &pos), 3);
	for (uint64_t k = 0; k < 3; k++)
		sb_ring_publish(&p, pos + k * SB_POS_ONE, 0, 0);
	cr_assert_eq(sb_ring_claim(&p, 1000, true, &pos), N_SLOTS - 3);
	cr_assert_eq(sb_ring_claim(&q, 1000, true, &pos), -EAGAIN);
	cr_assert_eq(sb_ring_take(&c, 1000, true, &pos), 3);
	cr_assert_eq(pos, 0);
	cr_assert_eq(sb_ring_take(&d, 1000, true, &pos), -EBUSY);
}

Test(ring, batch_is_at_most_64)
{
	uint64_t pos;
	int n = 0;

	make(8, 0, 0, (UINT64_C(1) << 48) - 256);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(sb_ring_claim(&p, 1000, true, &pos), 64);
		for (uint64_t k = 0; k < 64; k++)
			sb_ring_publish(&p, pos + k * SB_POS_ONE, 0, 0);
	}
	cr_assert_eq(sb_ring_claim(&p, 1000, true, &pos), -EAGAIN);
	while (sb_ring_take(&c, 1000, true, &pos) == 64) {
		for (uint64_t k = 0; k < 64; k++)
			sb_ring_free(&c, pos + k * SB_POS_ONE);
		n++;
	}
	cr_assert_eq(n, 4);
	assert_whole(256);
}

Test(ring, batches_keep_order_around_the_wrap)
{
	uint64_t in = 0, out = 0, pos;

	make(LOG_N, 0, 0, NEAR_WRAP);
	srand(1);
	while (out < 2000) {
		int n = sb_ring_claim(&p, 1 + (uint32_t)rand() % 6, true, &pos);

		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			data_of(pos)[0] = in++;
			sb_ring_publish(&p, pos, 8, 0);
		}
		n = sb_ring_take(&c, 1 + (uint32_t)rand() % 6, true, &pos);
		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			cr_assert_eq(data_of(pos)[0], out++);
			sb_ring_free(&c, pos);
		}
	}
}

/* ---------------------------------------------------- skip, pass, cancel -- */

Test(ring, held_slot_is_skipped)
{
	uint64_t held, val;

	cr_assert_eq(put(&p, 1000), 0);
	cr_assert_eq(take(&c, &held, &val), 1);
	for (uint64_t i = 0; i < 10 * N_SLOTS; i++) {
		cr_assert_eq(put(&p, i), 0);
		assert_get(&d, i);
	}
	cr_assert_eq(data_of(held)[0], 1000);
	sb_ring_free(&c, held);
	assert_whole(N_SLOTS);
}

Test(ring, all_but_one_held_still_works)
{
	uint64_t held[N_SLOTS], val;

	make(LOG_N, 0, 0, NEAR_WRAP);
	for (uint64_t i = 0; i < N_SLOTS - 1; i++) {
		cr_assert_eq(put(&p, i), 0);
		cr_assert_eq(take(&c, &held[i], &val), 1);
	}
	for (uint64_t i = 0; i < 10 * N_SLOTS; i++) {
		cr_assert_eq(put(&p, i), 0);
		assert_get(&d, i);
	}
	for (uint64_t i = 0; i < N_SLOTS - 1; i++)
		sb_ring_free(&c, held[i]);
	assert_whole(N_SLOTS);
}

/* All held, so tail ran a lap ahead of head; now all is free, but no consumer
 * comes by to move head over what was skipped. */
Test(ring, producer_needs_no_consumer_to_get_past_skips)
{
	uint64_t held[N_SLOTS], val;

	for (uint64_t i = 0; i < N_SLOTS; i++) {
		cr_assert_eq(put(&p, i), 0);
		cr_assert_eq(take(&c, &held[i], &val), 1);
	}
	cr_assert_eq(put(&p, 0), -EAGAIN);
	skip(N_SLOTS);
	for (uint64_t i = 0; i < N_SLOTS; i++)
		sb_ring_free(&c, held[i]);
	for (uint64_t i = 0; i < N_SLOTS; i++)
		cr_assert_eq(put(&p, i), 0);
	for (uint64_t i = 0; i < N_SLOTS; i++)
		assert_get(&d, i);
	assert_whole(N_SLOTS);
}

/* Half the positions away, where older and newer look the same. */
Test(ring, first_skip_of_a_slot_in_years)
{
	uint64_t held, val;

	for (uint64_t i = 0; i < N_SLOTS; i++)
		r.pskip[i] += (UINT64_C(1) << 47) * SB_POS_ONE + SB_POS_ONE;
	cr_assert_eq(put(&p, 1000), 0);
	cr_assert_eq(take(&c, &held, &val), 1);
	for (uint64_t i = 0; i < 3 * N_SLOTS; i++) {
		cr_assert_eq(put(&p, i), 0);
		assert_get(&d, i);
	}
	sb_ring_free(&c, held);
	assert_whole(N_SLOTS);
}

Test(ring, slow_producer_is_passed_and_comes_later)
{
	uint64_t at, pos;

	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	cr_assert_eq(put(&q, 2), 0);
	cr_assert_eq(take_patiently(&c, &pos), 1);
	cr_assert_eq(data_of(pos)[0], 2);
	sb_ring_free(&c, pos);
	cr_assert(c.freed_tomb, "passing makes room: producers want to know");
	for (uint64_t i = 0; i < 4 * N_SLOTS; i++) {
		cr_assert_eq(put(&q, i), 0);
		assert_get(&d, i);
	}
	data_of(at)[0] = 1;
	sb_ring_publish(&p, at, 8, 0);
	assert_get(&d, 1);
	assert_whole(N_SLOTS);
}

Test(ring, strict_ring_never_passes)
{
	uint64_t at, pos;

	make(LOG_N, SB_RING_STRICT, 0, 0);
	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	cr_assert_eq(put(&q, 2), 0);
	cr_assert_eq(take_patiently(&c, &pos), -EBUSY);
	data_of(at)[0] = 1;
	sb_ring_publish(&p, at, 8, 0);
	assert_get(&c, 1);
	assert_get(&c, 2);
	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	cr_assert_eq(put(&q, 4), 0);
	sb_ring_recover(&r, P, &what); /* but it does pass the dead */
	assert_get(&c, 4);
	assert_whole(N_SLOTS);
}

/* Head may stand behind a passed position for long. */
Test(ring, idle_consumer_after_a_pass_leaves_gen_alone)
{
	uint64_t at, pos, gen;

	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	cr_assert_eq(take_patiently(&c, &pos), -EAGAIN);
	gen = ring->gen;
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EAGAIN);
	cr_assert_eq(ring->gen, gen);
}

Test(ring, passed_messages_come_in_order)
{
	uint64_t at, pos;

	make(LOG_N, 0, 0, 0);
	/* so that the older one lies at the end and the newer at the start */
	for (uint64_t i = 0; i < N_SLOTS - 1; i++) {
		cr_assert_eq(put(&p, i), 0);
		assert_get(&c, i);
	}
	cr_assert_eq(sb_ring_claim(&p, 2, true, &at), 2);
	cr_assert_eq(take_patiently(&c, &pos), -EAGAIN);
	for (uint64_t k = 0; k < 2; k++) {
		data_of(at + k * SB_POS_ONE)[0] = k;
		sb_ring_publish(&p, at + k * SB_POS_ONE, 8, 0);
	}
	assert_get(&c, 0);
	assert_get(&c, 1);
}

Test(ring, many_passed_messages_are_all_found)
{
	uint64_t at, pos, n = 0;

	make(5, 0, 0, (UINT64_C(1) << 48) - 32);
	cr_assert_eq(sb_ring_claim(&p, 20, true, &at), 20);
	cr_assert_eq(put(&q, 99), 0);
	cr_assert_eq(take_patiently(&c, &pos), 1);
	sb_ring_free(&c, pos);
	for (uint64_t k = 0; k < 20; k++)
		sb_ring_publish(&p, at + k * SB_POS_ONE, 0, 0);
	while (sb_ring_take(n & 1 ? &c : &d, 1, true, &pos) == 1) {
		sb_ring_free(&c, pos);
		n++;
	}
	cr_assert_eq(n, 20);
	assert_whole(32);
}

Test(ring, cancelled_claim_is_freed_silently)
{
	uint64_t pos;

	cr_assert_eq(sb_ring_claim(&p, 4, true, &pos), 4);
	sb_ring_cancel(&p, pos);
	sb_ring_cancel(&p, pos + SB_POS_ONE);
	data_of(pos + 2 * SB_POS_ONE)[0] = 5;
	sb_ring_publish(&p, pos + 2 * SB_POS_ONE, 8, 0);
	sb_ring_cancel(&p, pos + 3 * SB_POS_ONE);
	assert_get(&c, 5);
	cr_assert(c.freed_tomb);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), -EAGAIN);
	assert_whole(N_SLOTS);
}

Test(ring, given_back_message_goes_to_another)
{
	uint64_t pos, again, val;

	cr_assert_eq(put(&p, 1), 0);
	cr_assert_eq(take(&c, &pos, &val), 1);
	cr_assert(sb_ring_holds(&c));
	sb_ring_give_back(&d, pos); /* not its own: nothing happens */
	cr_assert_eq(sb_ring_take(&d, 1, true, &again), -EAGAIN);
	sb_ring_give_back(&c, pos);
	cr_assert_not(sb_ring_holds(&c));
	cr_assert_eq(take(&d, &again, &val), 1);
	cr_assert_eq(again, pos);
	cr_assert_eq(val, 1);
	cr_assert_eq(sb_ring_attempts(&d, again), 0);
	sb_ring_free(&d, again);
	assert_whole(N_SLOTS);
}

/* -------------------------------------------------------------- recovery -- */

Test(ring, claims_of_the_dead_become_tombs)
{
	uint64_t pos;

	cr_assert_eq(sb_ring_claim(&p, 3, true, &pos), 3);
	sb_ring_publish(&p, pos + SB_POS_ONE, 0, 0);
	sb_ring_recover(&r, P, &what);
	cr_assert_eq(what.n_tombs, 2);
	cr_assert_not(sb_ring_pos_alive(&r, pos));
	cr_assert(sb_ring_pos_alive(&r, pos + SB_POS_ONE));
	sb_ring_recover(&r, P, &what);
	cr_assert_eq(what.n_tombs, 2);
	cr_assert_eq(get(&c, &pos), 0);
	cr_assert_eq(get(&c, &pos), -EAGAIN);
	assert_whole(N_SLOTS);
}

Test(ring, message_of_a_dead_consumer_counts_its_attempts)
{
	uint64_t pos, val;

	make(LOG_N, SB_RING_REQUEST, 0, NEAR_WRAP);
	cr_assert_eq(put(&p, 1), 0);
	for (uint32_t i = 0; i < 70; i++) {
		cr_assert_eq(take(&c, &pos, &val), 1);
		cr_assert_eq(sb_ring_attempts(&c, pos),
			     i < SB_ATTEMPTS_MAX ? i : SB_ATTEMPTS_MAX);
		sb_ring_recover(&r, C, &what);
	}
	cr_assert_eq(what.n_redelivered, 70);
	cr_assert_eq(what.n_quarantined, 0);
}

Test(ring, deadly_request_is_quarantined)
{
	uint64_t pos, val, seq;

	make(LOG_N, SB_RING_REQUEST, 3, 0);
	cr_assert_eq(put(&p, 42), 0);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(take(&c, &pos, &val), 1);
		sb_ring_recover(&r, C, &what);
	}
	cr_assert_eq(what.n_redelivered, 2);
	cr_assert_eq(what.n_quarantined, 1);
	cr_assert_eq(sb_ring_take(&d, 1, true, &(uint64_t){ 0 }), -EAGAIN);
	cr_assert(sb_ring_answered(&p, pos, &seq));
	cr_assert(seq & SB_FLAG_QUAR);
	cr_assert_eq(data_of(pos)[0], 42);
	cr_assert_eq(SB_SEQ_LEN(seq), 8);
	sb_ring_free(&p, pos);
	cr_assert_eq(put(&p, 1), 0); /* the next message starts from zero */
	cr_assert_eq(take(&c, &pos, &val), 1);
	cr_assert_eq(sb_ring_attempts(&c, pos), 0);
}

/* A run of requests: put and take @n. */
static uint64_t take_run(uint32_t n)
{
	uint64_t pos = 0;

	for (uint64_t i = 0; i < n; i++)
		cr_assert_eq(put(&p, i), 0);
	cr_assert_eq(sb_ring_take(&c, n, true, &pos), (int)n);
	return pos;
}

/* @d takes a message that comes again, and answers. */
static void assert_again(uint64_t pos, uint32_t attempts)
{
	uint64_t again, val;

	cr_assert_eq(take(&d, &again, &val), 1);
	cr_assert_eq(again, pos);
	cr_assert_eq(sb_ring_attempts(&d, again), attempts);
	cr_assert_not(sb_ring_answer(&d, again, 0, 0));
	sb_ring_free(&p, again);
}

Test(ring, only_the_request_at_work_is_blamed)
{
	uint64_t pos;

	make(LOG_N, SB_RING_REQUEST, 1, NEAR_WRAP);
	pos = take_run(4);
	sb_ring_begin(&c, pos);
	cr_assert_not(sb_ring_answer(&c, pos, 0, 0));
	sb_ring_begin(&c, pos + SB_POS_ONE);
	sb_ring_recover(&r, C, &what);
	cr_assert_eq(what.n_quarantined, 1);
	cr_assert_eq(what.n_redelivered, 2);
	assert_again(pos + 2 * SB_POS_ONE, 0);
	assert_again(pos + 3 * SB_POS_ONE, 0);
	cr_assert(sb_ring_seq(&p, pos + SB_POS_ONE) & SB_FLAG_QUAR);
	sb_ring_free(&p, pos);
	sb_ring_free(&p, pos + SB_POS_ONE);
	assert_whole(N_SLOTS);
}

/* Between two of a run, and before the first. */
Test(ring, a_death_between_requests_is_blamed_on_none)
{
	uint64_t pos;

	make(LOG_N, SB_RING_REQUEST, 1, 0);
	pos = take_run(2);
	sb_ring_recover(&r, C, &what);
	assert_again(pos, 0);
	assert_again(pos + SB_POS_ONE, 0);
	pos = take_run(3);
	sb_ring_begin(&c, pos);
	cr_assert_not(sb_ring_answer(&c, pos, 0, 0));
	sb_ring_free(&p, pos);
	sb_ring_recover(&r, C, &what);
	assert_again(pos + SB_POS_ONE, 0);
	assert_again(pos + 2 * SB_POS_ONE, 0);
	cr_assert_eq(what.n_quarantined, 0);
	assert_whole(N_SLOTS);
}

/* The taker was killed before it could write down what it took. */
Test(ring, a_run_that_was_not_recorded_is_blamed_on_none)
{
	uint64_t pos, was[3];

	make(LOG_N, SB_RING_REQUEST, 1, 0);
	for (uint64_t i = 0; i < 3; i++)
		was[i] = c.cown[sb_ring_idx(&c, ring->head) + i];
	pos = take_run(3);
	for (uint64_t i = 0; i < 3; i++)
		c.cown[sb_ring_idx(&c, pos) + i] = was[i];
	sb_ring_recover(&r, C, &what);
	for (uint64_t i = 0; i < 3; i++)
		assert_again(pos + i * SB_POS_ONE, 0);
	assert_whole(N_SLOTS);
}

/* What is one-way is read at once. */
Test(ring, all_of_a_one_way_run_are_blamed)
{
	uint64_t pos = take_run(3), again, val;

	sb_ring_recover(&r, C, &what);
	for (uint64_t i = 0; i < 3; i++) {
		cr_assert_eq(take(&d, &again, &val), 1);
		cr_assert_eq(again, pos + i * SB_POS_ONE);
		cr_assert_eq(sb_ring_attempts(&d, again), 1);
		sb_ring_free(&d, again);
	}
	assert_whole(N_SLOTS);
}

Test(ring, requests_of_a_run_are_held_and_can_be_given_back)
{
	uint32_t n_waiting, n_held;
	uint64_t pos;

	make(LOG_N, SB_RING_REQUEST, 1, 0);
	pos = take_run(3);
	sb_ring_count(&r, &n_waiting, &n_held);
	cr_assert_eq(n_waiting, 0);
	cr_assert_eq(n_held, 3);
	cr_assert(sb_ring_holds(&c));
	for (uint64_t i = 0; i < 3; i++)
		sb_ring_give_back(&c, pos + i * SB_POS_ONE);
	cr_assert_not(sb_ring_holds(&c));
	for (uint64_t i = 0; i < 3; i++)
		assert_again(pos + i * SB_POS_ONE, 0);
	assert_whole(N_SLOTS);
}

Test(ring, a_fair_share_is_rounded_up)
{
	uint64_t pos;

	cr_assert_eq(sb_ring_share(&c, 3, 64), 1); /* to ask for */
	for (uint64_t i = 0; i < 7; i++)
		cr_assert_eq(put(&p, i), 0);
	cr_assert_eq(sb_ring_share(&c, 1, 64), 7);
	cr_assert_eq(sb_ring_share(&c, 1, 4), 4);
	cr_assert_eq(sb_ring_share(&c, 2, 64), 4);
	cr_assert_eq(sb_ring_share(&c, 100, 64), 1);
	cr_assert_eq(sb_ring_take(&c, 4, true, &pos), 4);
	cr_assert_eq(sb_ring_share(&c, 2, 64), 2);
}

/* There is nobody to tell. */
Test(ring, deadly_one_way_message_is_dropped)
{
	uint64_t pos, val;

	make(LOG_N, 0, 1, 0);
	cr_assert_eq(put(&p, 42), 0);
	cr_assert_eq(take(&c, &pos, &val), 1);
	sb_ring_recover(&r, C, &what);
	cr_assert_eq(what.n_quarantined, 1);
	cr_assert_eq(get(&d, &val), -EAGAIN);
	assert_whole(N_SLOTS);
}

/* Requests of a dead producer in every stage leave no slot behind. */
Test(ring, orphans_leave_no_slot_behind)
{
	uint64_t pos, val;

	make(LOG_N, SB_RING_REQUEST, 0, 0);
	for (uint64_t i = 0; i < 3; i++)
		cr_assert_eq(put(&p, i), 0);
	cr_assert_eq(take(&c, &pos, &val), 1);
	cr_assert_not(sb_ring_answer(&c, pos, 0, 0)); /* 0: answered */
	cr_assert_eq(take(&c, &pos, &val), 1);        /* 1: in work */
	cr_assert_eq(sb_ring_claim(&p, 1, true, &(uint64_t){ 0 }), 1);
	sb_ring_recover(&r, P, &what);
	cr_assert_eq(what.n_orphans, 1);
	cr_assert_eq(what.n_tombs, 1);
	cr_assert(sb_ring_answer(&c, pos, 0, 0));
	cr_assert_eq(take(&c, &pos, &val), 1); /* 2: waiting */
	cr_assert(sb_ring_answer(&c, pos, 0, 0));
	cr_assert_eq(take(&c, &pos, &val), -EAGAIN);
	make(LOG_N, SB_RING_REQUEST, 0, 0);
	assert_whole(N_SLOTS);
}

/* The worker was killed between the answer and its look at pown; or a
 * recoverer between R4 and R5. */
Test(ring, orphan_of_a_dead_worker_is_swept)
{
	uint64_t pos, val;

	make(LOG_N, SB_RING_REQUEST, 0, 0);
	cr_assert_eq(put(&p, 1), 0);
	cr_assert_eq(take(&c, &pos, &val), 1);
	sb_ring_recover(&r, P, &what);
	sb_ring_slot(&c, pos)->seq = pos | SB_DONE;
	sb_ring_recover(&r, C, &what);
	cr_assert_eq(what.n_orphans, 1);
	assert_whole(N_SLOTS);
}

Test(ring, quarantined_orphan_is_freed)
{
	uint64_t pos, val;

	make(LOG_N, SB_RING_REQUEST, 1, 0);
	cr_assert_eq(put(&p, 1), 0);
	cr_assert_eq(take(&c, &pos, &val), 1);
	sb_ring_recover(&r, P, &what);
	sb_ring_recover(&r, C, &what);
	cr_assert_eq(what.n_quarantined, 1);
	assert_whole(N_SLOTS);
}

Test(ring, count_and_unfinished_tell_what_is_there)
{
	uint32_t n_waiting, n_held;
	uint64_t pos, val;

	cr_assert_not(sb_ring_unfinished(&r));
	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(put(&p, i), 0);
	cr_assert_eq(take(&c, &pos, &val), 1);
	cr_assert_eq(sb_ring_claim(&p, 1, true, &(uint64_t){ 0 }), 1);
	sb_ring_count(&r, &n_waiting, &n_held);
	cr_assert_eq(n_waiting, 3);
	cr_assert_eq(n_held, 2);
	cr_assert(sb_ring_unfinished(&r));
	cr_assert(sb_ring_holds(&c));
	cr_assert_not(sb_ring_holds(&d));
	sb_ring_free(&c, pos);
	cr_assert_not(sb_ring_holds(&c));
	cr_assert_not(sb_ring_pos_alive(&r, pos));
}

Test(ring, reattached_end_forgets_what_it_had)
{
	uint64_t at, pos;

	cr_assert_eq(sb_ring_claim(&p, 1, true, &at), 1);
	cr_assert_eq(put(&q, 2), 0);
	cr_assert_eq(take_patiently(&c, &pos), 1);
	sb_ring_free(&c, pos);
	sb_ring_reattach(&c, D);
	cr_assert_eq(c.n_unresolved, 0);
	sb_ring_publish(&p, at, 0, 0);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), 1);
	cr_assert_eq(SB_OWNER(c.cown[sb_ring_idx(&c, pos)]), D);
}

/* --------------------------------------------------------- hostile words -- */

static uint64_t garbage(void)
{
	uint64_t w = 0;

	for (int i = 0; i < 8; i++)
		w = w << 8 ^ (uint64_t)rand();
	switch (rand() % 4) {
	case 0: /* a likely word */
		return (uint64_t)(rand() % 24) << 16 | (w & 0xffff);
	case 1:
		return (uint64_t) - (rand() % 24) << 16 | (w & 0xffff);
	case 2: /* the right position, a wrong state */
		return SB_POS(ring->tail) + (w & 0x7ffff);
	default:
		return w;
	}
}

static void use_everything(void)
{
	struct sb_ring_end *all[] = { &p, &q, &c, &d, &r };
	uint32_t n_waiting, n_held;
	uint64_t pos = 0, seq;

	for (int i = 0; i < 24; i++) {
		struct sb_ring_end *e = all[rand() % 5];
		int n;

		n = sb_ring_claim(e, (uint32_t)rand() % 70, rand() & 1, &pos);
		cr_assert_leq(n, (int)SB_BATCH_MAX);
		if (n > 0 && rand() & 1)
			sb_ring_publish(e, pos, 8, 0);
		else if (n > 0)
			sb_ring_cancel(e, pos);
		n = sb_ring_take(e, (uint32_t)rand() % 70, rand() & 1, &pos);
		cr_assert_leq(n, (int)SB_BATCH_MAX);
		if (n > 0 && rand() & 1)
			sb_ring_answer(e, pos, 8, 0);
		else if (n > 0)
			sb_ring_give_back(e, pos);
		sb_ring_answered(e, garbage(), &seq);
		sb_ring_pos_alive(e, garbage());
		sb_ring_give_back(e, garbage());
	}
	sb_ring_unfinished(&r);
	sb_ring_count(&r, &n_waiting, &n_held);
	sb_ring_holds(&r);
	sb_ring_recover(&r, 1 + (uint32_t)rand() % SB_EP_MAX, &what);
	if (rand() % 8 == 0)
		sb_ring_close(&p);
	if (rand() % 16 == 0)
		sb_ring_abort(&p);
	sb_ring_reopen(&p);
}

/* No crash, no write outside of the ring, and an end. */
Test(ring, garbage_in_every_word_does_no_harm)
{
	size_t size = sb_ring_bytes(LOG_N, STRIDE);
	unsigned char *after = (unsigned char *)ring + size;
	uint64_t slowest = 0;

	srand(1);
	for (int round = 0; round < 3000; round++) {
		uint64_t t = sb_now_ns();
		int n_bad = 1 + rand() % 12;

		make(LOG_N, (uint32_t)rand() & 3, (uint32_t)rand() % 4,
		     rand() & 1 ? 0 : NEAR_WRAP);
		memset(after, 0xa5, BYTES - size);
		while (n_bad--) {
			uint64_t i = (uint64_t)rand() % N_SLOTS;

			switch (rand() % 7) {
			case 0:
				ring->tail = garbage();
				break;
			case 1:
				ring->head = garbage();
				break;
			case 2:
				p.pown[i] = garbage();
				break;
			case 3:
				p.pskip[i] = garbage();
				break;
			case 4:
				p.cown[i] = garbage();
				break;
			case 5:
				ring->gen = garbage();
				break;
			default:
				sb_ring_slot(&p, i << 16)->seq = garbage();
			}
		}
		ring->log_n = ring->stride = ring->flags = UINT32_MAX;
		use_everything();
		t = sb_now_ns() - t;
		slowest = t > slowest ? t : slowest;
		for (size_t k = 0; k < BYTES - size; k++)
			cr_assert_eq(after[k], 0xa5);
	}
	/* 2^20 tries are the bound; generous, for machines under load. */
	cr_assert_lt(slowest, 10 * SB_NS_PER_S, "%u ms",
		     (unsigned int)(slowest / SB_NS_PER_MS));
}

/*
 * Positions that are a third of all positions apart: each is older than the
 * next, all around.  With one that is not published yet the search for the
 * oldest once went around for ever.
 */
Test(ring, no_oldest_among_the_pending_is_no_endless_search)
{
	const uint64_t third = (UINT64_C(1) << 48) / 3 / N_SLOTS * N_SLOTS;
	uint64_t pos;

	for (uint64_t i = 0; i < 4; i++) {
		pos = (i * third + i) << 16;
		c.cown[i] = pos | SB_PENDING;
		sb_ring_slot(&p, pos)->seq = pos | (i < 3 ? SB_FULL : SB_FREE);
	}
	ring->gen++;
	alarm(20);
	cr_assert_eq(sb_ring_take(&c, 1, true, &pos), 1);
	cr_assert_eq(SB_OWNER(c.cown[sb_ring_idx(&c, pos)]), C);
	alarm(0);
}

/* ------------------------------------------------------------ processes -- */

#define N_STREAM 200000u

static int stream_out(void *arg)
{
	struct sb_ring_end *e = arg;
	uint64_t pos;

	for (uint64_t i = 0; i < N_STREAM; i++) {
		int n;

		while ((n = sb_ring_claim(e, 1, false, &pos)) == -EAGAIN)
			sched_yield();
		T_CHECK(n == 1);
		data_of(pos)[0] = i;
		data_of(pos)[1] = ~i;
		sb_ring_publish(e, pos, 16, 0);
	}
	return 0;
}

Test(ring, two_processes_stream)
{
	pid_t child;
	uint64_t i = 0, pos;

	make(6, 0, 0, NEAR_WRAP);
	child = t_fork(stream_out, &p);
	while (i < N_STREAM) {
		int n = sb_ring_take(&c, 8, false, &pos);

		if (n == -EAGAIN || n == -EBUSY)
			sched_yield();
		else
			cr_assert_gt(n, 0);
		for (int k = 0; k < n; k++, pos += SB_POS_ONE, i++) {
			cr_assert_eq(data_of(pos)[0], i);
			cr_assert_eq(data_of(pos)[1], ~i);
			sb_ring_free(&c, pos);
		}
	}
	t_join(child);
	assert_whole(64);
}

#define N_PRODUCERS 4
#define N_ORDERED   20000u

/* Batches of up to three, so that one producer may be passed twice. */
static int numbered(void *arg)
{
	uint32_t id = (uint32_t)(uintptr_t)arg;
	uint64_t i = 0, pos;
	struct sb_ring_end e = p;

	sb_ring_reattach(&e, id);
	while (i < N_ORDERED) {
		uint64_t left = N_ORDERED - i, want = 1 + i % 3;
		int n = sb_ring_claim(&e, (uint32_t)(want < left ? want : left),
				      false, &pos);

		if (n == -EAGAIN)
			sched_yield();
		else
			T_CHECK(n > 0);
		for (int k = 0; k < n; k++, pos += SB_POS_ONE, i++) {
			data_of(pos)[0] = id;
			data_of(pos)[1] = i;
			sb_ring_publish(&e, pos, 16, 0);
		}
	}
	return 0;
}

/* Producers are stopped at random, passed, and go on. */
static void stop_and_go(uint32_t flags)
{
	uint64_t next[N_PRODUCERS] = { 0 }, n_left, pos, stopped_at = 0;
	pid_t pid[N_PRODUCERS];
	int stopped = -1;

	make(4, flags, 0, NEAR_WRAP);
	srand(1);
	for (uintptr_t i = 0; i < N_PRODUCERS; i++)
		pid[i] = t_fork(numbered, (void *)(10 + i));
	for (n_left = N_PRODUCERS; n_left;) {
		int n = sb_ring_take(&c, 1 + (uint32_t)rand() % 4, rand() & 1,
				     &pos);
		uint64_t now = sb_now_ns();

		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			uint64_t i = data_of(pos)[0] - 10;

			cr_assert_lt(i, N_PRODUCERS);
			cr_assert_eq(data_of(pos)[1], next[i]);
			n_left -= ++next[i] == N_ORDERED;
			sb_ring_free(&c, pos);
		}
		if (n < 0)
			sched_yield();
		if (stopped < 0 && now - stopped_at > 500000) {
			stopped = rand() % N_PRODUCERS;
			kill(pid[stopped], SIGSTOP);
			stopped_at = now;
		} else if (stopped >= 0 && now - stopped_at > 1000000) {
			kill(pid[stopped], SIGCONT);
			stopped = -1;
			stopped_at = now;
		}
	}
	if (stopped >= 0)
		kill(pid[stopped], SIGCONT);
	for (int i = 0; i < N_PRODUCERS; i++)
		t_join(pid[i]);
	assert_whole(16);
}

Test(ring, single_consumer_sees_each_producers_order)
{
	stop_and_go(0);
}

Test(ring, strict_single_consumer_sees_each_producers_order)
{
	stop_and_go(SB_RING_STRICT);
}
