/*
 * test_spsc.c - lib/spsc.c; Criterion suite "spsc"
 *
 * What the two ends promise to each other and to those who come after them.
 * Both at full speed, and kills, are in stress/stress_spsc.c.
 */
#include "config.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "lib/clock.h"
#include "lib/spsc.h"
#include "tests/support/proc.h"

#define BYTES     (1u << 20)
#define NEAR_WRAP (UINT32_MAX - 2)

static unsigned char *memory, *memory_end; /* what is behind it cannot be
					    * touched */
static struct sb_spsc *s;
static struct sb_spsc_tx tx;
static struct sb_spsc_rx rx;
static uint64_t n_put, n_got; /* records, and what is in them */

static void attach_tx(void)
{
	cr_assert_eq(sb_spsc_tx_attach(
			     &tx, s, (size_t)(memory_end - (unsigned char *)s)),
		     0);
}

static void attach_rx(void)
{
	cr_assert_eq(sb_spsc_rx_attach(
			     &rx, s, (size_t)(memory_end - (unsigned char *)s)),
		     0);
}

/* At the very end of the memory, which is full of bytes that are no headers. */
static void make(size_t slot_bytes, bool adaptive, uint32_t first_lap)
{
	memset(memory, 0xa5, (size_t)(memory_end - memory));
	s = (void *)(memory_end - sb_spsc_bytes(slot_bytes));
	sb_spsc_init(s, slot_bytes, adaptive, first_lap);
	attach_tx();
	attach_rx();
	n_put = n_got = 0;
}

static void setup(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	memory = mmap(NULL, BYTES + page, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(memory, MAP_FAILED);
	memory_end = memory + BYTES;
	cr_assert_eq(mprotect(memory_end, page, PROT_NONE), 0);
	make(256, false, 0);
}

TestSuite(spsc, .init = setup, .timeout = 100.0);

/* Byte @i of record @n. */
static unsigned char byte_of(uint64_t n, size_t i)
{
	return (unsigned char)(n * 31 + i * 7 + (i >> 8));
}

static int put(size_t len)
{
	unsigned char *to;
	void *p;
	int ret = sb_spsc_room(&tx, len, &p);

	if (ret)
		return ret;
	to = p;
	cr_assert_eq((uintptr_t)p % 8, 0);
	cr_assert_leq(to + sb_spsc_pad(len) + 8, memory_end);
	for (size_t i = 0; i < len; i++)
		to[i] = byte_of(n_put, i);
	sb_spsc_publish(&tx, len, (uint32_t)n_put % (SB_SPSC_KIND_MAX + 1));
	n_put++;
	return 0;
}

/* @n records of @len bytes each; the next is number n_put. */
static const void *run_of_bytes(size_t len, size_t n)
{
	static unsigned char bytes[4096];

	cr_assert_leq(len * n, sizeof(bytes));
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < len; i++)
			bytes[k * len + i] = byte_of(n_put + k, i);
	return bytes;
}

/* The next record is in front, and as it was put. */
static size_t check_front(void)
{
	const void *p;
	const unsigned char *from;
	size_t len;
	uint32_t kind;

	cr_assert_eq(sb_spsc_front(&rx, &p, &len, &kind), 0, "record %u of %u",
		     (unsigned int)n_got, (unsigned int)n_put);
	cr_assert_eq(kind, n_got % (SB_SPSC_KIND_MAX + 1));
	from = p;
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(from[i], byte_of(n_got, i));
	return len;
}

static int peek(void)
{
	const void *p;
	size_t len;
	uint32_t kind;

	return sb_spsc_front(&rx, &p, &len, &kind);
}

static size_t get(void)
{
	size_t len = check_front();

	sb_spsc_pop(&rx);
	n_got++;
	return len;
}

static void get_all(void)
{
	while (n_got < n_put)
		get();
	cr_assert_eq(peek(), -EAGAIN);
}

static size_t fill_up(size_t len)
{
	size_t n = 0;
	int ret;

	while (!(ret = put(len)))
		n++;
	cr_assert_eq(ret, -EAGAIN);
	return n;
}

static unsigned char *slot(uint32_t i)
{
	return s->slots + i * (size_t)s->slot_bytes;
}

/* ---------------------------------------------------------------- sizes -- */

Test(spsc, default_slots_follow_the_caches)
{
	const size_t K = 1024, M = 1024 * K;

	cr_assert_eq(sb_spsc_slot_default(false, 2 * M, 32 * M), 8 * K);
	cr_assert_eq(sb_spsc_slot_default(false, 0, 0), 8 * K);
	cr_assert_eq(sb_spsc_slot_default(true, 0, 0), 2 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 256 * K, 0), 2 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 1 * M, 32 * M), 2 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 1280 * K, 480 * M), 4 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 2 * M, 480 * M), 4 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 64 * M, 480 * M), 4 * M);
	/* both together: at most a quarter of L3 */
	cr_assert_eq(sb_spsc_slot_default(true, 2 * M, 32 * M), 4 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 2 * M, 31 * M), 2 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 256 * K, 8 * M), 1 * M);
	cr_assert_eq(sb_spsc_slot_default(true, 256 * K, 3 * M), 256 * K);
	cr_assert_eq(sb_spsc_slot_default(true, 256 * K, 1), 8 * K);
}

Test(spsc, default_slots_here_are_possible)
{
	for (int large = 0; large < 2; large++) {
		size_t n = sb_spsc_slot_here(large);

		cr_assert_geq(n, SB_SPSC_FIRST);
		cr_assert_leq(n, 4u << 20);
		cr_assert_eq(n & (n - 1), 0);
	}
}

/* -------------------------------------------------------------- records -- */

Test(spsc, is_empty_at_first)
{
	cr_assert_eq(peek(), -EAGAIN);
	cr_assert_eq(peek(), -EAGAIN);
	cr_assert_eq(sb_spsc_cap(s, 256), 256);
}

Test(spsc, each_record_is_visible_at_once)
{
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(put((size_t)i % 50), 0);
		cr_assert_eq(get(), (size_t)i % 50);
		cr_assert_eq(peek(), -EAGAIN);
	}
}

/* Every length at every place, in every order of the two calls. */
Test(spsc, every_length_passes_at_every_offset)
{
	for (size_t len = 0; len <= sb_spsc_max(&tx); len++)
		for (size_t before = 0; before <= sb_spsc_max(&tx);
		     before += 8) {
			make(256, false, NEAR_WRAP);
			cr_assert_eq(put(before), 0);
			cr_assert_eq(put(len), 0);
			cr_assert_eq(get(), before);
			cr_assert_eq(get(), len);
			cr_assert_eq(put(len), 0);
			cr_assert_eq(get(), len);
			cr_assert_eq(put(before), 0);
			cr_assert_eq(get(), before);
			cr_assert_eq(peek(), -EAGAIN);
		}
}

Test(spsc, the_largest_record_fills_a_slot)
{
	size_t max = sb_spsc_max(&tx);

	cr_assert_eq(max, 256 - 16);
	cr_assert_eq(put(max), 0);
	cr_assert_eq(put(max), 0);
	cr_assert_eq(get(), max);
	cr_assert_eq(get(), max);
	cr_assert_eq(put(max), 0);
	cr_assert_eq(get(), max);
}

/* Who has said that it is full can go on when the reader is done with a slot,
 * and need not look at the next record for that. */
Test(spsc, a_writer_who_waits_gets_a_slot_as_soon_as_it_is_read)
{
	size_t n, max = sb_spsc_max(&tx);

	make(256, false, NEAR_WRAP);
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(fill_up(max), i ? 1 : 2);
		get();
	}
	get_all();
	make(256, false, NEAR_WRAP);
	for (int i = 0; i < 1000; i++) {
		n = fill_up(16);
		cr_assert_eq(n, i ? (256 - 8) / 24 : 2 * ((256 - 8) / 24));
		for (size_t k = 1; k < (256 - 8) / 24; k++) {
			get();
			cr_assert_eq(put(16), -EAGAIN);
		}
		get();
	}
	get_all();
}

Test(spsc, a_record_that_just_fits_stays_in_the_slot)
{
	/* 8 + 80 and 8 + 144 and the last header: 248 */
	cr_assert_eq(put(80), 0);
	cr_assert_eq(put(144), 0);
	cr_assert_eq(tx.at, slot(0) + 240);
	make(256, false, 0);
	cr_assert_eq(put(80), 0);
	cr_assert_eq(put(152), 0);
	cr_assert_eq(tx.at, slot(0) + 248);
	make(256, false, 0);
	cr_assert_eq(put(80), 0);
	cr_assert_eq(put(153), 0);
	cr_assert_eq(tx.lap, 1);
	cr_assert_eq(get(), 80);
	cr_assert_eq(get(), 153);
}

Test(spsc, full_means_both_slots)
{
	size_t n;

	make(4096, false, 0);
	n = fill_up(56);
	cr_assert_eq(n, 2 * ((4096 - 8) / 64));
	for (size_t i = 0; i < n / 2; i++) {
		cr_assert_eq(put(56), -EAGAIN);
		get();
	}
	check_front(); /* sees the seal */
	cr_assert_eq(fill_up(56), n / 2);
	get_all();
}

/* What does not fit may, if it is shorter. */
Test(spsc, a_shorter_record_goes_into_what_is_left)
{
	cr_assert_eq(put(200), 0);
	cr_assert_eq(put(200), 0);
	cr_assert_eq(put(200), -EAGAIN);
	cr_assert_eq(put(32), 0);
	cr_assert_eq(put(0), -EAGAIN);
	get_all();
}

Test(spsc, room_may_be_asked_for_again_and_used_in_part)
{
	void *p, *q;

	cr_assert_eq(sb_spsc_room(&tx, 100, &p), 0);
	cr_assert_eq(sb_spsc_room(&tx, 10, &q), 0);
	cr_assert_eq(p, q);
	cr_assert_eq(sb_spsc_room(&tx, 200, &q), 0);
	cr_assert_eq(p, q);
	cr_assert_eq(peek(), -EAGAIN);
	*(unsigned char *)p = byte_of(0, 0);
	sb_spsc_publish(&tx, 1, 0);
	n_put++;
	cr_assert_eq(put(100), 0);
	cr_assert_eq(get(), 1);
	cr_assert_eq(get(), 100);
}

Test(spsc, front_is_the_same_until_popped)
{
	cr_assert_eq(put(20), 0);
	cr_assert_eq(put(30), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(check_front(), 20);
	get();
	for (int i = 0; i < 3; i++)
		cr_assert_eq(check_front(), 30);
}

Test(spsc, laps_wrap)
{
	size_t bytes = 0;

	make(256, false, UINT32_MAX - 20);
	for (int i = 0; i < 1000; i++) {
		size_t len = (size_t)i * 37 % 241;

		while (put(len))
			bytes += get();
		if (i % 3)
			bytes += get();
	}
	get_all();
	cr_assert_lt(tx.lap, 10000);
	cr_assert_eq(tx.lap, rx.lap);
	cr_assert_gt(bytes, 0);
}

/* After many laps every word of the slots was once within a payload that looks
 * like headers of the lap before, of this one and of the next one. */
Test(spsc, payload_is_never_taken_for_a_header)
{
	make(256, false, NEAR_WRAP);
	srand(1);
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)rand() % 241;
		uint64_t fake = ((uint64_t)tx.lap + (uint64_t)(rand() % 4))
					<< 32 |
				SB_SPSC_THERE | (uint64_t)(rand() % 3 * 8);
		void *p;

		if (sb_spsc_room(&tx, len, &p) == 0) {
			for (size_t k = 0; k + 8 <= len; k += 8)
				memcpy((unsigned char *)p + k, &fake, 8);
			sb_spsc_publish(&tx, len, len % 8);
			n_put++;
		}
		while (n_got < n_put && rand() % 4) {
			const void *q;
			uint32_t kind;

			cr_assert_eq(sb_spsc_front(&rx, &q, &len, &kind), 0);
			cr_assert_eq(kind, len % 8);
			sb_spsc_pop(&rx);
			n_got++;
		}
		if (n_got == n_put)
			cr_assert_eq(peek(), -EAGAIN);
	}
}

static unsigned int n_freed;

static void count_freed(void *arg)
{
	cr_assert_eq(arg, &n_freed);
	n_freed++;
}

Test(spsc, the_reader_tells_of_each_slot_that_it_leaves)
{
	n_freed = 0;
	rx.freed = count_freed;
	rx.freed_arg = &n_freed;
	cr_assert_eq(put(200), 0);
	get_all();
	cr_assert_eq(n_freed, 0); /* it may go on there */
	cr_assert_eq(put(200), 0);
	cr_assert_eq(n_freed, 0);
	check_front();
	cr_assert_eq(n_freed, 1);
	check_front();
	get_all();
	cr_assert_eq(n_freed, 1);
	fill_up(100);
	get_all();
	cr_assert_eq(n_freed, tx.lap);
}

/* ----------------------------------------------------------------- runs -- */

/* All of one kind, so that they are alike: returns how many. */
static size_t put_run(size_t len, size_t n)
{
	size_t done = sb_spsc_put_run(&tx, run_of_bytes(len, n), len, n, 5);

	cr_assert_leq(done, n);
	n_put += done;
	return done;
}

static size_t take_run(size_t len, size_t n)
{
	static unsigned char bytes[4096];
	size_t done = sb_spsc_take_run(&rx, bytes, len, n, 5);

	cr_assert_leq(done, n);
	for (size_t k = 0; k < done; k++)
		for (size_t i = 0; i < len; i++)
			cr_assert_eq(bytes[k * len + i], byte_of(n_got + k, i));
	n_got += done;
	return done;
}

Test(spsc, a_run_is_there_at_once_and_taken_at_once)
{
	uint64_t pos = s->position;

	cr_assert_eq(put_run(8, 5), 5);
	cr_assert_eq(take_run(8, 5), 0, "nobody has looked yet");
	cr_assert_eq(peek(), 0);
	cr_assert_eq(take_run(8, 3), 3);
	cr_assert_eq(s->position, pos + 3 * 16);
	cr_assert_eq(take_run(8, 3), 2);
	cr_assert_eq(s->position, pos + 5 * 16);
	cr_assert_eq(take_run(8, 3), 0);
	cr_assert_eq(peek(), -EAGAIN);
}

/* In runs as many go into a slot as one by one, and not a byte behind it. */
Test(spsc, runs_fill_slots_as_single_records_do)
{
	for (size_t len = 0; len <= 64; len++) {
		size_t n_single, n_run = 0, n;
		void *p;

		make(256, false, NEAR_WRAP);
		n_single = fill_up(len);
		make(256, false, NEAR_WRAP);
		do {
			while ((n = put_run(len, 40)))
				n_run += n;
			/* A single one turns. */
			if (sb_spsc_room(&tx, len, &p))
				break;
			memcpy(p, run_of_bytes(len, 1), len);
			sb_spsc_publish(&tx, len, 5);
			n_put++;
			n_run++;
		} while (true);
		cr_assert_eq(n_run, n_single, "%zu bytes", len);
		while (peek() == 0)
			cr_assert_gt(take_run(len, 7), 0);
		cr_assert_eq(n_got, n_put);
	}
}

Test(spsc, a_run_ends_before_a_record_that_is_not_alike)
{
	cr_assert_eq(put_run(8, 2), 2);
	cr_assert_eq(put_run(16, 2), 2);
	cr_assert_eq(peek(), 0);
	cr_assert_eq(take_run(16, 9), 0, "of another length");
	cr_assert_eq(sb_spsc_take_run(&rx, memory, 8, 9, 4), 0, "kind");
	cr_assert_eq(take_run(8, 9), 2);
	cr_assert_eq(take_run(16, 9), 0, "nobody has looked yet");
	cr_assert_eq(peek(), 0);
	cr_assert_eq(take_run(16, 9), 2);
}

Test(spsc, a_run_is_no_longer_than_what_is_published_at_once)
{
	make(65536, false, 0);
	cr_assert_eq(put_run(8, 200), SB_SPSC_RUN / 16);
	cr_assert_eq(put_run(SB_SPSC_RUN / 2, 3), 0, "two are too much");
	cr_assert_eq(put_run(SB_SPSC_RUN / 2 - 8, 3), 2);
}

/* Killed before the first header: none of it is there, whatever lies behind. */
Test(spsc, half_a_run_is_none)
{
	make(256, false, NEAR_WRAP);
	for (int i = 0; i < 200; i++) {
		unsigned char *at = tx.at;
		uint64_t first = ld_rlx(sb_spsc_word(at));

		if (!put_run(8, 1 + (size_t)i % 7)) {
			cr_assert_eq(put(8), 0);
			get_all();
			continue;
		}
		st_rlx(sb_spsc_word(at), first);
		attach_tx();
		cr_assert_eq(peek(), -EAGAIN);
		n_put = n_got;
		cr_assert_eq(put((size_t)i % 60), 0);
		get_all();
	}
}

Test(spsc, a_run_that_was_not_popped_comes_again)
{
	cr_assert_eq(put_run(24, 4), 4);
	cr_assert_eq(peek(), 0);
	attach_rx();
	cr_assert_eq(peek(), 0);
	cr_assert_eq(take_run(24, 1), 1);
	attach_rx();
	cr_assert_eq(peek(), 0);
	cr_assert_eq(take_run(24, 9), 3);
}

/* ------------------------------------------------------------- the size -- */

struct touched {
	size_t bytes; /* of each slot, counted from its begin */
	int n_calls, fail_at;
};

/* Ranges come slot by slot, each where the last one ended. */
static int note_reserve(void *arg, size_t off, size_t len)
{
	struct touched *t = arg;
	size_t slot_off = sizeof(*s) + (t->n_calls % 2) * (size_t)s->slot_bytes;

	if (t->n_calls == t->fail_at)
		return -ENOMEM;
	cr_assert_eq(off, slot_off + t->bytes);
	cr_assert_leq(t->bytes + len, s->slot_bytes);
	if (t->n_calls++ % 2)
		t->bytes += len;
	return 0;
}

static void make_adaptive(size_t slot_bytes, struct touched *t)
{
	make(slot_bytes, true, NEAR_WRAP);
	*t = (struct touched){ .bytes = SB_SPSC_FIRST, .fail_at = -1 };
	tx.reserve = note_reserve;
	tx.reserve_arg = t;
}

static void assert_untouched_from(size_t off)
{
	for (uint32_t i = 0; i < 2; i++)
		for (size_t k = off; k < s->slot_bytes; k++)
			cr_assert_eq(slot(i)[k], 0xa5);
}

Test(spsc, adaptive_slots_stay_small_while_the_reader_keeps_up)
{
	struct touched t;

	make_adaptive(65536, &t);
	cr_assert_eq(sb_spsc_cap(s, 65536), SB_SPSC_FIRST);
	for (int i = 0; i < 5000; i++) {
		cr_assert_eq(put(100), 0);
		if (i % 50 == 0) /* not for long */
			continue;
		while (n_got < n_put)
			get();
	}
	cr_assert_eq(t.n_calls, 0);
	cr_assert_gt(tx.lap - NEAR_WRAP, 50);
	cr_assert_eq(sb_spsc_cap(s, 65536), SB_SPSC_FIRST);
	assert_untouched_from(SB_SPSC_FIRST);
}

Test(spsc, adaptive_slots_grow_while_the_reader_is_behind)
{
	struct touched t;
	size_t n;

	make_adaptive(65536, &t);
	n = fill_up(56);
	/* The first was sealed at 8 KiB, for the other one was free then. */
	cr_assert_eq(n, (8192 - 8) / 64 + (65536 - 8) / 64);
	cr_assert_eq(sb_spsc_cap(s, 65536), 65536);
	cr_assert_eq(t.bytes, 65536);
	cr_assert_eq(t.n_calls, 2 * 3);
	get_all();
	cr_assert_eq(fill_up(56), (65536 - 8) / 64);
	check_front(); /* sees the seal */
	cr_assert_eq(fill_up(56), (65536 - 8) / 64);
	get_all();
	cr_assert_eq(t.n_calls, 2 * 3);
}

/* As long as the reader has left less than it was given, they go on. */
Test(spsc, adaptive_slots_grow_by_steps)
{
	struct touched t;

	make_adaptive(65536, &t);
	while (tx.lap == NEAR_WRAP)
		cr_assert_eq(put(1000), 0);
	while (tx.cap == SB_SPSC_FIRST)
		cr_assert_eq(put(1000), 0);
	cr_assert_eq(tx.cap, 2 * SB_SPSC_FIRST);
	cr_assert_eq(t.bytes, 2 * SB_SPSC_FIRST);
	assert_untouched_from(2 * SB_SPSC_FIRST);
	get_all();
	while (tx.lap == NEAR_WRAP + 1)
		cr_assert_eq(put(1000), 0);
	cr_assert_eq(tx.cap, 2 * SB_SPSC_FIRST);
	get_all();
}

/* The other slot is free, but the reader has more than half of this one. */
Test(spsc, adaptive_slots_grow_when_the_reader_is_half_a_slot_behind)
{
	struct touched t;

	make_adaptive(65536, &t);
	while (tx.cap == SB_SPSC_FIRST)
		cr_assert_eq(put(1000), 0);
	while (rx.lap != tx.lap)
		get();
	while (tx.cap == 2 * SB_SPSC_FIRST)
		cr_assert_eq(put(1000), 0);
	cr_assert_eq(tx.cap, 4 * SB_SPSC_FIRST);
	cr_assert_eq(tx.lap, NEAR_WRAP + 1);
	get_all();
}

Test(spsc, adaptive_slots_come_back_when_the_reader_keeps_up)
{
	struct touched t;
	uint32_t cap = 65536, lap, n_turns = 0;

	make_adaptive(65536, &t);
	fill_up(1000);
	get_all();
	lap = tx.lap;
	while (tx.cap > SB_SPSC_FIRST) {
		cr_assert_eq(put(1000), 0);
		get_all();
		n_turns += tx.lap != lap;
		lap = tx.lap;
		cr_assert(tx.cap == cap || tx.cap == cap / 2);
		cap = tx.cap;
		cr_assert_eq(sb_spsc_cap(s, 65536), cap);
	}
	cr_assert_eq(n_turns, 3 * 2); /* not at the first sign */
	/* Growing again needs no memory. */
	fill_up(1000);
	cr_assert_eq(t.n_calls, 2 * 3);
	get_all();
}

/* One turn at which the reader is neither here nor there. */
Test(spsc, a_reader_in_between_changes_nothing)
{
	struct touched t;
	uint32_t lap;

	make_adaptive(65536, &t);
	fill_up(1000);
	get_all();
	for (int i = 0; i < 20; i++) {
		for (lap = tx.lap; tx.lap == lap;) {
			cr_assert_eq(put(1000), 0);
			while (n_put - n_got > 20) /* of 65 */
				get();
		}
		cr_assert_eq(tx.cap, 65536);
		check_front();
	}
	get_all();
}

Test(spsc, a_long_record_goes_beyond_the_cap)
{
	struct touched t;

	make_adaptive(65536, &t);
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(put(20000), 0);
		cr_assert_eq(get(), 20000);
		cr_assert_eq(put(10), 0);
		cr_assert_eq(get(), 10);
	}
	cr_assert_eq(tx.cap, SB_SPSC_FIRST);
	cr_assert_eq(t.bytes, 32768);
	assert_untouched_from(20016 + 16);
	cr_assert_eq(put(sb_spsc_max(&tx)), 0);
	cr_assert_eq(get(), 65536 - 16);
	cr_assert_eq(put(0), 0);
	cr_assert_eq(get(), 0);
}

Test(spsc, without_memory_slots_stay_as_they_are)
{
	struct touched t;
	size_t n;
	void *p;

	for (int k = 0; k < 2; k++) {
		make_adaptive(65536, &t);
		t.fail_at = k; /* the first slot's range, the second one's */
		n = fill_up(56);
		cr_assert_eq(n, 2 * ((8192 - 8) / 64));
		cr_assert_eq(t.n_calls, k);
		cr_assert_eq(sb_spsc_max_reserved(&tx), 8192 - 16);
		cr_assert_eq(sb_spsc_room(&tx, 8192 - 16, &p), -EAGAIN);
		cr_assert_eq(sb_spsc_room(&tx, 8192 - 15, &p), -ENOSPC);
		get_all();
		cr_assert_eq(sb_spsc_room(&tx, 8192 - 15, &p), -ENOSPC);
		for (int i = 0; i < 5; i++) {
			cr_assert_eq(put(8192 - 16), 0);
			get_all();
		}
		cr_assert_eq(t.n_calls, k); /* does not ask again */
		assert_untouched_from(8192);
	}
}

Test(spsc, without_memory_for_a_long_record_the_slot_is_still_usable)
{
	struct touched t;
	void *p;

	make_adaptive(65536, &t);
	t.fail_at = 0;
	cr_assert_eq(sb_spsc_room(&tx, 9000, &p), -ENOSPC);
	cr_assert_eq(put(100), 0);
	cr_assert_eq(sb_spsc_room(&tx, 9000, &p), -ENOSPC);
	cr_assert_eq(tx.lap, NEAR_WRAP);
	cr_assert_eq(put(8000), 0);
	get_all();
}

Test(spsc, adaptive_slots_of_less_than_the_first_size_are_fixed)
{
	make(1024, true, 0);
	cr_assert_eq(sb_spsc_cap(s, 1024), 1024);
	cr_assert_eq(fill_up(56), 2 * ((1024 - 8) / 64));
	get_all();
}

/* ----------------------------------------------------------- who is next -- */

/* A new reader and a new writer after each step. */
Test(spsc, the_next_one_goes_on_where_the_last_one_was)
{
	make(256, false, NEAR_WRAP);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		if (rand() & 1)
			put((size_t)rand() % 241);
		else if (n_got < n_put)
			get();
		else
			cr_assert_eq(peek(), -EAGAIN);
		if (rand() & 1)
			attach_tx();
		if (rand() & 1)
			attach_rx();
	}
	get_all();
}

Test(spsc, adaptive_writers_come_and_go)
{
	struct touched t;

	make_adaptive(65536, &t);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		if (rand() % 4)
			put((size_t)rand() % 3000);
		else
			for (int k = rand() % 16; k && n_got < n_put; k--)
				get();
		if (rand() % 100 == 0) {
			attach_tx();
			cr_assert_eq(sb_spsc_cap(s, 65536), SB_SPSC_FIRST);
		}
		if (rand() % 10 == 0)
			attach_rx();
	}
	get_all();
}

Test(spsc, a_record_that_was_not_popped_comes_again)
{
	cr_assert_eq(put(20), 0);
	cr_assert_eq(put(30), 0);
	check_front();
	attach_rx();
	cr_assert_eq(get(), 20);
	attach_rx();
	cr_assert_eq(check_front(), 30);
	attach_rx();
	cr_assert_eq(get(), 30);
	attach_rx();
	cr_assert_eq(peek(), -EAGAIN);
}

/* The writer wrote all but the header, and that in every lap. */
Test(spsc, half_a_record_is_none)
{
	make(256, false, NEAR_WRAP);
	for (int i = 0; i < 200; i++) {
		size_t len = (size_t)i % 200;
		void *p;

		cr_assert_eq(sb_spsc_room(&tx, len, &p), 0);
		memset(p, 0xff, len);
		st_rlx(sb_spsc_word((unsigned char *)p + sb_spsc_pad(len)), 0);
		cr_assert_eq(peek(), -EAGAIN);
		attach_tx();
		cr_assert_eq(peek(), -EAGAIN);
		cr_assert_eq(put(len), 0);
		get_all();
	}
}

Test(spsc, a_writer_goes_on_after_a_seal_with_nothing_behind_it)
{
	for (int read = 0; read < 2; read++) {
		make(256, false, NEAR_WRAP);
		cr_assert_eq(put(100), 0);
		if (read)
			get();
		st_rel(sb_spsc_word(tx.at), tx.tag | SB_SPSC_SEAL);
		attach_tx();
		cr_assert_eq(tx.lap, NEAR_WRAP + 1);
		cr_assert_eq(tx.at, slot((NEAR_WRAP + 1) % 2));
		cr_assert_eq(put(100), 0);
		cr_assert_eq(put(100), 0);
		get_all();
		cr_assert_eq(rx.lap, NEAR_WRAP + 1);
	}
}

Test(spsc, a_writer_comes_to_full_slots)
{
	size_t n = fill_up(40);

	attach_tx();
	cr_assert_eq(put(40), -EAGAIN);
	attach_rx();
	while (n_got <= n / 2)
		get();
	attach_tx();
	cr_assert_eq(fill_up(40), n / 2);
	attach_tx();
	cr_assert_eq(put(40), -EAGAIN);
	get_all();
	attach_tx();
	cr_assert_eq(put(40), 0);
	get_all();
}

/* Killed between its position and the release of the slot. */
Test(spsc, a_reader_releases_what_the_last_one_had_left)
{
	uint32_t lap;

	make(256, false, NEAR_WRAP);
	fill_up(40);
	lap = ld_rlx(&s->released);
	while (n_got < n_put / 2)
		get();
	cr_assert_eq(ld_rlx(&s->released), lap + 1);
	st_rlx(&s->released, lap); /* it did not get there */
	cr_assert_eq(put(40), -EAGAIN);
	attach_tx();
	cr_assert_eq(put(40), -EAGAIN);
	attach_rx();
	cr_assert_eq(ld_rlx(&s->released), lap + 1);
	cr_assert_eq(put(40), 0);
	get_all();
}

Test(spsc, the_same_memory_can_be_used_again)
{
	fill_up(33);
	for (uint32_t lap = 0; lap < 4; lap++) {
		sb_spsc_init(s, 256, lap % 2, lap);
		attach_tx();
		attach_rx();
		n_got = n_put;
		cr_assert_eq(peek(), -EAGAIN);
		fill_up(24 + lap);
		get_all();
		fill_up(24 + lap);
	}
}

/* -------------------------------------------------------- hostile bytes -- */

static int try_tx(void)
{
	return sb_spsc_tx_attach(&tx, s,
				 (size_t)(memory_end - (unsigned char *)s));
}

static int try_rx(void)
{
	return sb_spsc_rx_attach(&rx, s,
				 (size_t)(memory_end - (unsigned char *)s));
}

Test(spsc, impossible_shapes_are_refused)
{
	static const uint32_t bad[] = { 0,       1,          128,
					255,     257,        384,
					512,     128u << 20, 1u << 31,
					3u << 8, UINT32_MAX };

	cr_assert_eq(sb_spsc_tx_attach(&tx, s, sizeof(*s) - 1), -EPROTO);
	cr_assert_eq(sb_spsc_rx_attach(&rx, s, sizeof(*s) - 1), -EPROTO);
	cr_assert_eq(sb_spsc_tx_attach(&tx, s, sb_spsc_bytes(256) - 1),
		     -EPROTO);
	cr_assert_eq(sb_spsc_rx_attach(&rx, s, sb_spsc_bytes(256) - 1),
		     -EPROTO);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		s->slot_bytes = bad[i];
		cr_assert_eq(try_tx(), -EPROTO);
		cr_assert_eq(try_rx(), -EPROTO);
	}
	s->slot_bytes = 256;
	s->adaptive = 2;
	cr_assert_eq(try_tx(), -EPROTO);
	cr_assert_eq(try_rx(), -EPROTO);
}

Test(spsc, impossible_positions_are_refused)
{
	static const uint64_t bad[] = { 1,   7,   12,         256,
					264, 249, UINT32_MAX, 1u << 31 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		st_rlx(&s->position, bad[i]);
		cr_assert_eq(try_tx(), -EPROTO);
		cr_assert_eq(try_rx(), -EPROTO);
	}
}

Test(spsc, impossible_releases_are_refused)
{
	static const uint32_t bad[] = { 3, 4, UINT32_MAX, 1u << 31 };

	make(256, false, 1);
	fill_up(100);
	cr_assert_eq(tx.lap, 2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		st_rlx(&s->released, bad[i]);
		cr_assert_eq(put(100), -EPROTO);
		cr_assert_eq(try_rx(), -EPROTO);
	}
	/* One less than the position is possible only where a slot begins. */
	st_rlx(&s->released, 0);
	cr_assert_eq(put(100), -EPROTO);
	cr_assert_eq(try_rx(), 0);
	st_rlx(&s->released, 0);
	st_rlx(&s->position, UINT64_C(1) << 32 | 8);
	cr_assert_eq(try_rx(), -EPROTO);
}

/* The writer asks where the reader is when the cap is more than the least. */
Test(spsc, impossible_positions_are_refused_while_writing)
{
	static const uint64_t bad[] = { 0, (uint64_t)5 << 32,
					UINT64_C(0x1ffffffff), UINT64_MAX };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *p;
		int ret;

		make(65536, true, 0);
		fill_up(1000);
		get_all();
		cr_assert_eq(tx.lap, 1);
		st_rlx(&s->position, bad[i]);
		while (!(ret = sb_spsc_room(&tx, 1000, &p)))
			sb_spsc_publish(&tx, 1000, 0);
		cr_assert_eq(ret, -EPROTO);
		cr_assert_eq(tx.lap, 1);
	}
}

Test(spsc, impossible_headers_are_refused)
{
	const uint64_t tag = UINT64_C(7) << 32 | SB_SPSC_THERE;
	const uint64_t bad[] = {
		1,                         /* not there, yet not 0 */
		SB_SPSC_LEN,               /* */
		UINT64_C(7) << 32,         /* a lap without THERE */
		tag + (UINT64_C(1) << 32), /* the next lap */
		tag - (UINT64_C(1) << 32), /* that of the other slot */
		tag | 241,                 /* longer than a slot */
		tag | SB_SPSC_LEN,         /* */
		tag | SB_SPSC_SEAL,        /* with nothing before it */
		UINT64_MAX,                /* */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make(256, false, 7);
		cr_assert_eq(peek(), -EAGAIN);
		st_rlx(sb_spsc_word(slot(1)), bad[i]);
		cr_assert_eq(peek(), -EPROTO);
		cr_assert_eq(peek(), -EPROTO);
		cr_assert_eq(try_tx(), -EPROTO);
	}
}

Test(spsc, impossible_headers_are_refused_behind_a_record)
{
	const uint64_t tag = UINT64_C(7) << 32 | SB_SPSC_THERE;
	const uint64_t bad[] = {
		1,
		tag - (UINT64_C(2) << 32), /* old, where none can be */
		tag | (240 - 104 + 1),     /* beyond the end */
		tag | 240,
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make(256, false, 7);
		cr_assert_eq(put(96), 0);
		st_rlx(sb_spsc_word(tx.at), bad[i]);
		get();
		cr_assert_eq(peek(), -EPROTO);
		cr_assert_eq(try_tx(), -EPROTO);
	}
	/* just within */
	make(256, false, 7);
	cr_assert_eq(put(96), 0);
	st_rlx(sb_spsc_word(tx.at), tag | (240 - 104));
	get();
	cr_assert_eq(peek(), 0);
}

/* What the reader saw the last time is not a reason to trust it. */
Test(spsc, records_of_the_same_length_are_checked_against_the_end)
{
	void *p;

	make(256, false, 7);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(sb_spsc_room(&tx, 56, &p), 0);
		sb_spsc_publish(&tx, 56, 0);
	}
	st_rlx(sb_spsc_word(slot(1) + 3 * 64),
	       UINT64_C(7) << 32 | SB_SPSC_THERE | 56);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(peek(), 0);
		sb_spsc_pop(&rx);
	}
	cr_assert_eq(peek(), -EPROTO);
}

Test(spsc, two_seals_are_refused)
{
	make(256, false, 0);
	cr_assert_eq(put(8), 0);
	st_rlx(sb_spsc_word(tx.at), tx.tag | SB_SPSC_SEAL);
	st_rlx(sb_spsc_word(slot(1)),
	       UINT64_C(1) << 32 | SB_SPSC_THERE | SB_SPSC_SEAL);
	cr_assert_eq(try_tx(), -EPROTO);
	get();
	cr_assert_eq(peek(), -EPROTO);
	st_rlx(sb_spsc_word(slot(1)), UINT64_C(1) << 32 | SB_SPSC_THERE);
	st_rlx(sb_spsc_word(slot(1) + 8),
	       UINT64_C(1) << 32 | SB_SPSC_THERE | SB_SPSC_SEAL);
	st_rlx(&s->position, 0);
	cr_assert_eq(try_tx(), -EPROTO);
}

static uint64_t garbage(void)
{
	uint64_t w = 0, lap = tx.lap - 2 + (uint64_t)(rand() % 5);

	for (int i = 0; i < 8; i++)
		w = w << 8 ^ (uint64_t)rand();
	switch (rand() % 5) {
	case 0: /* a likely header */
		return lap << 32 | SB_SPSC_THERE | w % 8 << SB_SPSC_KIND_AT |
		       w % 300;
	case 1:
		return lap << 32 | SB_SPSC_THERE | SB_SPSC_SEAL;
	case 2: /* a likely position or release */
		return lap << 32 | (w % 33 * 8);
	case 3:
		return lap;
	default:
		return w;
	}
}

static void spoil(void)
{
	uint64_t w = garbage();

	switch (rand() % 8) {
	case 0:
		st_rlx(&s->position, w);
		break;
	case 1:
		st_rlx(&s->released, (uint32_t)w);
		break;
	case 2:
		s->slot_bytes = (uint32_t)w;
		break;
	case 3:
		s->adaptive = (uint32_t)w;
		break;
	case 4:
		st_rlx(&s->cap, (uint32_t)w);
		break;
	default:
		st_rlx(sb_spsc_word(s->slots + 8 * (rand() % 64)), w);
	}
}

static void use(void)
{
	const unsigned char *begin = s->slots, *end = memory_end;
	const void *q;
	uint32_t kind;
	size_t len;
	void *p;

	for (int i = 0; i < 30; i++) {
		len = (size_t)rand() % 241;
		if (sb_spsc_room(&tx, len, &p) == 0) {
			cr_assert((unsigned char *)p >= begin + 8 &&
				  (unsigned char *)p + len + 8 <= end);
			memset(p, 0x11, len);
			sb_spsc_publish(&tx, len, 1);
		}
		if (sb_spsc_front(&rx, &q, &len, &kind) == 0) {
			cr_assert((const unsigned char *)q >= begin + 8 &&
				  (const unsigned char *)q + len + 8 <= end);
			cr_assert_leq(kind, SB_SPSC_KIND_MAX);
			if (rand() % 4)
				sb_spsc_pop(&rx);
		}
		cr_assert_leq(sb_spsc_cap(s, 256), 256);
		if (rand() % 8 == 0)
			spoil();
	}
}

/* No crash, nothing touched outside of the slots, and an end. */
Test(spsc, garbage_in_every_word_does_no_harm)
{
	const unsigned char *before;

	srand(1);
	for (int round = 0; round < 20000; round++) {
		make(256, rand() & 1, rand() & 1 ? 0 : NEAR_WRAP);
		before = (unsigned char *)s;
		for (int i = rand() % 10; i; i--) {
			put((size_t)rand() % 241);
			if (rand() & 1 && n_got < n_put)
				get();
		}
		for (int i = 0; i < 5; i++) {
			struct sb_spsc_tx tx2 = tx;
			struct sb_spsc_rx rx2 = rx;

			spoil();
			if (try_tx())
				tx = tx2;
			if (try_rx())
				rx = rx2;
			use();
		}
		for (int i = 1; i < 256; i++)
			cr_assert_eq(before[-i], 0xa5);
	}
}

/* ------------------------------------------------------------ the pause -- */

Test(spsc, a_reader_of_single_records_does_not_pause)
{
	make(8192, false, 0);
	for (int i = 0; i < 5000; i++) {
		cr_assert_eq(put(24), 0);
		get();
		cr_assert_eq(peek(), -EAGAIN);
		/* but for the one that came after a seal, which looks like
		 * more than one */
		if (sb_spsc_pause(&rx))
			cr_assert_lt(rx.at, slot(rx.lap % 2) + 64);
		cr_assert_leq(rx.pause_ns, 100);
	}
}

Test(spsc, a_reader_that_keeps_catching_up_pauses_more)
{
	uint32_t last = 0;

	make(8192, false, 0);
	for (int i = 0; i < 20; i++) {
		uint64_t t;

		for (int k = 0; k < 3; k++)
			cr_assert_eq(put(24), 0);
		get_all();
		t = sb_now_ns();
		cr_assert(sb_spsc_pause(&rx));
		cr_assert_geq(sb_now_ns() - t, rx.pause_ns);
		cr_assert_geq(rx.pause_ns, last);
		last = rx.pause_ns;
	}
	cr_assert_geq(last, 500);
	cr_assert_leq(last, 1000);
	/* a writer that has become slower: one at a time */
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(put(24), 0);
		get_all();
		sb_spsc_pause(&rx);
	}
	cr_assert_not(sb_spsc_pause(&rx));
}

Test(spsc, a_pause_in_vain_is_the_last)
{
	make(8192, false, 0);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(put(24), 0);
		cr_assert_eq(put(24), 0);
		get_all();
		cr_assert(sb_spsc_pause(&rx));
	}
	cr_assert_eq(peek(), -EAGAIN);
	cr_assert_not(sb_spsc_pause(&rx));
}

/* ----------------------------------------------- the line where two meet -- */

/* Two ends that each write to the other; e[0] writes direction 0. */
static struct end {
	struct sb_spsc_tx tx;
	struct sb_spsc_rx rx;
	uint64_t n_put, n_got;
} e[2];

static struct sb_spsc *dirs[2];
static struct sb_spsc_meet *meet;

static void attach_end(int i)
{
	size_t bytes = sb_spsc_bytes(dirs[0]->slot_bytes);

	cr_assert_eq(sb_spsc_tx_attach(&e[i].tx, dirs[i], bytes), 0);
	cr_assert_eq(sb_spsc_rx_attach(&e[i].rx, dirs[1 - i], bytes), 0);
	sb_spsc_meet(&e[i].tx, &e[i].rx, meet, (uint32_t)i);
}

static void make_duplex(size_t slot_bytes, uint32_t lap0, uint32_t lap1)
{
	size_t bytes = sb_spsc_bytes(slot_bytes);

	memset(memory, 0xa5, (size_t)(memory_end - memory));
	meet = (void *)(memory_end - sizeof(*meet));
	dirs[0] = (void *)((unsigned char *)meet - bytes);
	dirs[1] = (void *)((unsigned char *)meet - 2 * bytes);
	sb_spsc_init(dirs[0], slot_bytes, false, lap0);
	sb_spsc_init(dirs[1], slot_bytes, false, lap1);
	sb_spsc_meet_init(meet, dirs[0], dirs[1]);
	memset(e, 0, sizeof(e));
	attach_end(0);
	attach_end(1);
}

enum where { FULL, SLOT, LINE };

/* End @i writes a record: where did it go? */
static enum where say(int i, size_t len)
{
	unsigned char *to;
	void *p;
	int ret = sb_spsc_room(&e[i].tx, len, &p);

	if (ret) {
		cr_assert_eq(ret, -EAGAIN);
		return FULL;
	}
	to = p;
	for (size_t k = 0; k < len; k++)
		to[k] = byte_of(e[i].n_put, k);
	sb_spsc_publish(&e[i].tx, len, e[i].n_put++ / 4 % 8);
	return p == meet->half[i].data ? LINE : SLOT;
}

/* End @i has this record in front. */
static void hear_no_pop(int i, size_t want)
{
	const unsigned char *from;
	const void *p;
	size_t len;
	uint32_t kind;

	cr_assert_eq(sb_spsc_front(&e[i].rx, &p, &len, &kind), 0);
	cr_assert_eq(len, want);
	cr_assert_eq(kind, e[i].n_got / 4 % 8);
	from = p;
	for (size_t k = 0; k < len; k++)
		cr_assert_eq(from[k], byte_of(e[i].n_got, k));
}

static void hear(int i, size_t want)
{
	hear_no_pop(i, want);
	sb_spsc_pop(&e[i].rx);
	e[i].n_got++;
}

static int listen(int i)
{
	const void *p;
	size_t len;
	uint32_t kind;

	return sb_spsc_front(&e[i].rx, &p, &len, &kind);
}

Test(spsc, question_and_answer_go_through_the_line)
{
	make_duplex(256, NEAR_WRAP, 7);
	for (size_t i = 0; i < 1000; i++) {
		size_t len = i % (SB_SPSC_MEET_MAX + 1);

		cr_assert_eq(listen(0), -EAGAIN);
		cr_assert_eq(listen(1), -EAGAIN);
		cr_assert_eq(say(0, len), LINE);
		hear(1, len);
		cr_assert_eq(listen(1), -EAGAIN);
		cr_assert_eq(say(1, 24 - len), LINE);
		hear(0, 24 - len);
	}
	cr_assert_eq(e[0].tx.lap, NEAR_WRAP);
	cr_assert_eq(e[1].tx.lap, 7);
}

Test(spsc, only_a_short_record_goes_through_the_line)
{
	make_duplex(256, 0, 0);
	cr_assert_eq(say(0, SB_SPSC_MEET_MAX + 1), SLOT);
	hear(1, SB_SPSC_MEET_MAX + 1);
	cr_assert_eq(say(1, SB_SPSC_MEET_MAX), LINE);
	hear(0, SB_SPSC_MEET_MAX);
	cr_assert_eq(say(0, 200), SLOT);
	hear(1, 200);
	cr_assert_eq(say(1, 8), SLOT); /* the long one did not tell */
	hear(0, 8);
}

Test(spsc, only_the_first_of_several_goes_through_the_line)
{
	make_duplex(256, 0, 0);
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(say(0, 8), LINE);
		for (int k = 0; k < 5; k++)
			cr_assert_eq(say(0, 8), SLOT);
		hear_no_pop(1, 8);
		hear_no_pop(1, 8);
		for (int k = 0; k < 6; k++)
			hear(1, 8);
		cr_assert_eq(listen(1), -EAGAIN);
		cr_assert_eq(say(1, 8), LINE);
		hear(0, 8);
	}
}

/* An answer that was sent before all was popped says nothing of the rest. */
Test(spsc, the_line_waits_until_all_is_popped)
{
	make_duplex(256, 0, 0);
	cr_assert_eq(say(0, 8), LINE);
	hear_no_pop(1, 8);
	cr_assert_eq(say(1, 8), LINE);
	hear(0, 8);
	cr_assert_eq(say(0, 9), SLOT);
	cr_assert_eq(say(0, 10), SLOT);
	hear(1, 8);
	hear(1, 9);
	cr_assert_eq(say(1, 11), SLOT); /* not known to be heard */
	cr_assert_eq(say(0, 12), SLOT);
	hear(0, 11);
	hear(1, 10);
	hear(1, 12);
	cr_assert_eq(listen(0), -EAGAIN);
	cr_assert_eq(listen(1), -EAGAIN);
}

/* Both have written several, and now neither knows how far the other is. */
Test(spsc, the_line_is_found_again_after_a_while)
{
	int n = 0;

	make_duplex(4096, 0, 0);
	for (int k = 0; k < 10; k++) {
		say(0, 8);
		say(1, 8);
	}
	for (int k = 0; k < 10; k++) {
		hear(0, 8);
		hear(1, 8);
	}
	for (enum where where = SLOT; where == SLOT; n++) {
		cr_assert_lt(n, 40);
		cr_assert_eq(listen(1), -EAGAIN);
		say(0, 8);
		hear(1, 8);
		cr_assert_eq(listen(0), -EAGAIN);
		where = say(1, 8);
		hear(0, 8);
	}
	for (int k = 0; k < 10; k++) {
		cr_assert_eq(say(0, 8), LINE);
		hear(1, 8);
		cr_assert_eq(say(1, 8), LINE);
		hear(0, 8);
	}
}

/* Asked for again, each time with another length, and used in part. */
Test(spsc, room_may_change_between_line_and_slot)
{
	void *p;

	make_duplex(256, 0, 0);
	cr_assert_eq(sb_spsc_room(&e[0].tx, 10, &p), 0);
	cr_assert_eq(p, meet->half[0].data);
	cr_assert_eq(sb_spsc_room(&e[0].tx, 100, &p), 0);
	cr_assert_neq(p, meet->half[0].data);
	cr_assert_eq(sb_spsc_room(&e[0].tx, 10, &p), 0);
	cr_assert_eq(listen(1), -EAGAIN);
	cr_assert_eq(say(0, 20), SLOT);
	hear(1, 20);
	cr_assert_eq(say(1, 7), LINE);
	hear(0, 7);
	cr_assert_eq(say(0, 20), LINE);
	cr_assert_eq(sb_spsc_room(&e[0].tx, 200, &p), 0);
	cr_assert_eq(say(0, 16), SLOT);
	cr_assert_eq(sb_spsc_room(&e[0].tx, 240, &p), 0);
	cr_assert_eq(say(0, 16), SLOT);
	hear(1, 20);
	hear(1, 16);
	/* room in a slot, and then the answer that allows the line */
	cr_assert_eq(sb_spsc_room(&e[0].tx, 8, &p), 0);
	hear(1, 16);
	cr_assert_eq(say(1, 5), LINE);
	hear_no_pop(0, 5);
	memset(p, byte_of(e[0].n_put, 0), 1);
	sb_spsc_publish(&e[0].tx, 1, e[0].n_put++ / 4 % 8);
	hear(1, 1);
	hear(0, 5);
	cr_assert_eq(say(1, 6), SLOT);
	hear(0, 6);
}

Test(spsc, whoever_comes_next_finds_what_is_in_the_line)
{
	make_duplex(256, NEAR_WRAP, NEAR_WRAP);
	srand(1);
	for (int i = 0; i < 50000; i++) {
		int me = rand() & 1;

		if (rand() % 3 == 0)
			say(me, 16);
		else if (e[me].n_got < e[1 - me].n_put)
			hear(me, 16);
		else
			cr_assert_eq(listen(me), -EAGAIN);
		if (rand() % 4 == 0)
			attach_end(rand() & 1);
	}
}

Test(spsc, a_record_in_the_line_that_was_not_popped_comes_again)
{
	make_duplex(256, 0, 0);
	cr_assert_eq(say(0, 16), LINE);
	hear_no_pop(1, 16);
	attach_end(1);
	hear_no_pop(1, 16);
	attach_end(0);
	cr_assert_eq(say(0, 16), SLOT);
	hear_no_pop(1, 16);
	attach_end(1);
	hear(1, 16);
	attach_end(1);
	hear(1, 16);
	cr_assert_eq(listen(1), -EAGAIN);
}

Test(spsc, impossible_heads_are_refused)
{
	make_duplex(256, 0, 0);
	for (uint64_t seq = 0; seq < 16; seq++)
		for (uint64_t len = 0; len < 32; len++) {
			int want = seq == 0              ? -EAGAIN
				   : seq > 1 || len > 24 ? -EPROTO
							 : 0;

			st_rlx(&meet->half[0].head,
			       UINT64_C(0x123456789000) | seq << 8 | len);
			cr_assert_eq(listen(1), want);
		}
}

Test(spsc, garbage_in_the_line_does_no_harm)
{
	srand(1);
	for (int round = 0; round < 20000; round++) {
		const void *q;
		uint32_t kind;
		size_t len;
		void *p;

		make_duplex(256, rand() & 1 ? 0 : NEAR_WRAP, 0);
		for (int i = 0; i < 40; i++) {
			struct end *x = &e[rand() & 1];

			len = (size_t)rand() % 40;
			if (sb_spsc_room(&x->tx, len, &p) == 0) {
				memset(p, 0x11, len);
				sb_spsc_publish(&x->tx, len, 1);
			}
			if (sb_spsc_front(&x->rx, &q, &len, &kind) == 0) {
				cr_assert_leq(kind, SB_SPSC_KIND_MAX);
				cr_assert((const unsigned char *)q + len <=
					  memory_end);
				if (rand() % 4)
					sb_spsc_pop(&x->rx);
			}
			tx = x->tx; /* for garbage() */
			if (rand() % 4 == 0)
				st_rlx(&meet->half[rand() & 1].head,
				       rand() & 1 ? garbage()
						  : garbage() & 0xffff);
			if (rand() % 16 == 0)
				st_rlx(&dirs[rand() & 1]->met,
				       (uint32_t)garbage());
			if (rand() % 16 == 0)
				sb_spsc_meet(&x->tx, &x->rx, meet, x == &e[1]);
		}
	}
}

/* -------------------------------------------------------- two processes -- */

#define N_STREAM 300000u

static int stream_out(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < N_STREAM; i++) {
		size_t len = 8 + i % 190;
		void *p;
		int ret;

		while ((ret = sb_spsc_room(&tx, len, &p)) == -EAGAIN)
			sched_yield();
		T_CHECK(ret == 0);
		memcpy(p, &i, 8);
		memset((unsigned char *)p + 8, (int)i & 0xff, len - 8);
		sb_spsc_publish(&tx, len, i % 8);
	}
	return 0;
}

static void stream_in(void)
{
	pid_t child = t_fork(stream_out, NULL);

	for (uint64_t i = 0; i < N_STREAM; i++) {
		const unsigned char *from;
		const void *p;
		uint64_t n;
		uint32_t kind;
		size_t len;
		int ret;

		while ((ret = sb_spsc_front(&rx, &p, &len, &kind)) == -EAGAIN)
			if (!sb_spsc_pause(&rx))
				sched_yield();
		cr_assert_eq(ret, 0);
		from = p;
		memcpy(&n, from, 8);
		cr_assert_eq(n, i);
		cr_assert_eq(len, 8 + i % 190);
		cr_assert_eq(kind, i % 8);
		cr_assert(len == 8 || from[len - 1] == (i & 0xff));
		sb_spsc_pop(&rx);
	}
	cr_assert_eq(peek(), -EAGAIN);
	t_join(child);
}

Test(spsc, two_processes_stream)
{
	make(1024, false, NEAR_WRAP);
	stream_in();
}

Test(spsc, two_processes_stream_through_adaptive_slots)
{
	make(1u << 18, true, NEAR_WRAP);
	stream_in();
}
