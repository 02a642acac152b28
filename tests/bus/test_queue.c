/*
 * test_queue.c - tests of bus/queue*.c; Criterion suite "queue"
 *
 * Waits that could hang have a deadline, T_LONG, that only a hang reaches.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "bus/recover.h"
#include "tests/bus/t_bus.h"

#define MS 1000000

static struct bus *bus;

static void setup(void)
{
	bus = t_bus();
}

static void teardown(void)
{
	bus_close(bus);
}

TestSuite(queue, .init = setup, .fini = teardown, .timeout = 200.0);

static uint64_t blob_used(void)
{
	return t_stats(bus).blob_bytes_used;
}

/* A second endpoint, as another process would have. */
static struct bus *attach(void)
{
	struct bus *other = NULL;

	cr_assert_eq(bus_attach(bus, &other), 0);
	return other;
}

/* A queue whose positions begin at @first. */
static struct bus_queue *queue_at(uint64_t first, uint32_t log_n,
				  uint32_t slot_bytes, uint32_t flags)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_QUEUE,
					 .flags = flags,
					 .log_n = log_n,
					 .stride = sb_ring_stride(slot_bytes),
					 .first = first };
	struct bus_queue *q = NULL;

	cr_assert_geq(bus_channel_make(bus, "wrap", &spec), 0);
	cr_assert_eq(bus_queue_open(bus, "wrap", NULL, &q), 0);
	return q;
}

#define NEAR_WRAP ((UINT64_C(1) << 48) - 8)

/* The lengths around everything that matters. */
static const size_t lengths[] = {
	0,
	1,
	7,
	8,
	9,
	55,
	56,
	57,
	63,
	64,
	65,
	255,
	256,
	257,
	1023,
	1024,
	1025,
	4087,
	4088,
	4089,
	4095,
	4096,
	4097,
	4104,
	16383,
	16384,
	16385,
	T_MESSAGE_MAX - 1,
	T_MESSAGE_MAX,
};

static unsigned char out[T_MESSAGE_MAX + 64], in[T_MESSAGE_MAX + 64];

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* A signal every @us microseconds, which interrupts system calls. */
static void often(int us)
{
	struct itimerval t = { { 0, us }, { 0, us } };
	struct sigaction sa = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* Opening ----------------------------------------------------------------- */

Test(queue, bad_arguments_are_refused)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q = NULL;
	char name[49];

	cr_assert_eq(bus_queue_open(NULL, "q", &c, &q), -EINVAL);
	cr_assert_eq(bus_queue_open(bus, NULL, &c, &q), -EINVAL);
	cr_assert_eq(bus_queue_open(bus, "q", &c, NULL), -EINVAL);
	cr_assert_eq(bus_queue_open(bus, "", &c, &q), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[48] = 0;
	cr_assert_eq(bus_queue_open(bus, name, &c, &q), -ENAMETOOLONG);
	cr_assert_eq(bus_queue_open(bus, "q", NULL, &q), -ENOENT);
	c.flags = 4;
	cr_assert_eq(bus_queue_open(bus, "q", &c, &q), -EINVAL);
	c.flags = 0;
	c.n_slots = 3;
	cr_assert_eq(bus_queue_open(bus, "q", &c, &q), -EINVAL);
	c.n_slots = 0;
	c.slot_bytes = 4089;
	cr_assert_eq(bus_queue_open(bus, "q", &c, &q), -EINVAL);
	c.slot_bytes = 0;
	c.size = 0;
	cr_assert_eq(bus_queue_open(bus, "q", &c, &q), -EINVAL);

	struct {
		struct bus_queue_config c;
		uint64_t more;
	} newer = { BUS_QUEUE_CONFIG_INIT, 1 };

	newer.c.size = sizeof(newer);
	cr_assert_eq(bus_queue_open(bus, "q", &newer.c, &q), -E2BIG);
	c = (struct bus_queue_config)BUS_QUEUE_CONFIG_INIT;
	c.n_slots = 1 << 20;
	cr_assert_eq(bus_queue_open(bus, "q", &c, &q), -ENOSPC);
	cr_assert_null(q);
	bus_queue_free(NULL);
}

Test(queue, an_existing_queue_keeps_its_settings)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, BUS_QUEUE_JOINABLE);
	struct bus *other = attach();
	struct bus_queue *same = t_queue(bus, "q", 64, 100, 0);
	struct bus_queue *theirs = t_queue(other, "q", 64, 100, 0);
	struct bus_queue_stats s = t_queue_stats(theirs);

	cr_assert_eq(same, q); /* one handle an endpoint */
	cr_assert_eq(s.n_slots, 4);
	cr_assert_eq(s.slot_bytes, 8);
	cr_assert_eq(s.flags, BUS_QUEUE_JOINABLE);
	bus_queue_free(same);
	cr_assert_eq(t_put_u64(q, 1, 0), 0); /* still open */
	bus_queue_free(q);
	cr_assert_eq(t_get_u64(theirs), 1); /* the message stays */
	bus_close(other);
}

Test(queue, a_request_ring_is_no_queue)
{
	struct bus_channel_spec spec = { .kind = BUS_CHAN_REQUEST,
					 .log_n = 2,
					 .stride = 64,
					 .ring_flags = SB_RING_REQUEST };
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q = NULL;

	cr_assert_eq(bus_channel_make(bus, "r", &spec), 0);
	cr_assert_eq(bus_queue_open(bus, "r", &c, &q), -EEXIST);
	cr_assert_eq(bus_queue_open(bus, "r", NULL, &q), -EEXIST);
}

/* One message ------------------------------------------------------------- */

static void try_lengths(struct bus_queue *q)
{
	for (size_t i = 0; i < lengthof(lengths); i++) {
		size_t n = lengths[i], len = 99;

		t_fill(out, n, i);
		cr_assert_eq(bus_queue_put(q, out, n, 0), 0, "%zu", n);
		memset(in, 0xee, sizeof(in));
		cr_assert_eq(bus_queue_get(q, in, n, &len, 0), 0, "%zu", n);
		cr_assert_eq(len, n);
		cr_assert(t_is(in, n, i));
		cr_assert_eq(in[n], 0xee);
		/* what fills the rest of a slot must not matter */
		cr_assert_eq(bus_queue_put(q, out, n, 0), 0);
		cr_assert_eq(bus_queue_get(q, in, sizeof(in), NULL, 0), 0);
		cr_assert(t_is(in, n, i));
	}
	cr_assert_eq(blob_used(), 0);
}

Test(queue, every_length_goes_through)
{
	static const uint32_t slots[] = { 8, 24, 56, 57, 120, 1000, 4088 };
	char name[8];

	for (size_t i = 0; i < lengthof(slots); i++) {
		snprintf(name, sizeof(name), "%u", slots[i]);
		try_lengths(t_queue(bus, name, 2, slots[i], 0));
	}
}

Test(queue, slot_bytes_lie_in_the_slot_and_one_more_in_a_cell)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 56, 0);

	cr_assert_eq(bus_queue_put(q, out, 56, 0), 0);
	cr_assert_eq(blob_used(), 0);
	cr_assert_eq(bus_queue_put(q, out, 57, 0), 0);
	cr_assert_eq(blob_used(), 256);
	cr_assert_eq(bus_queue_get(q, in, 56, NULL, 0), 0);
	cr_assert_eq(bus_queue_get(q, in, 57, NULL, 0), 0);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, nothing_is_a_message)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus_msg m;
	size_t len = 9;

	cr_assert_eq(bus_queue_put(q, NULL, 0, 0), 0);
	cr_assert_eq(bus_queue_get(q, NULL, 0, &len, 0), 0);
	cr_assert_eq(len, 0);
	cr_assert_eq(bus_queue_put_many(q, NULL, 0, 3, 0), 3);
	cr_assert_eq(bus_queue_get_many(q, NULL, 0, 2, NULL, 0), 2);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(m.len_bytes, 0);
	cr_assert_eq(bus_queue_release(q, &m), 0);
	cr_assert_eq(bus_queue_loan(q, 0, &m, 0), 0);
	cr_assert_eq(bus_queue_commit(q, &m), 0);
	cr_assert_eq(bus_queue_get(q, NULL, 0, &len, 0), 0);
}

Test(queue, more_than_max_message_bytes_says_emsgsize)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);
	struct bus_msg m;

	cr_assert_eq(bus_queue_put(q, out, T_MESSAGE_MAX + 1, T_LONG),
		     -EMSGSIZE);
	cr_assert_eq(bus_queue_put_many(q, out, T_MESSAGE_MAX + 1, 1, T_LONG),
		     -EMSGSIZE);
	cr_assert_eq(bus_queue_loan(q, T_MESSAGE_MAX + 1, &m, T_LONG),
		     -EMSGSIZE);
	cr_assert_eq(bus_queue_put(q, out, SIZE_MAX, T_LONG), -EMSGSIZE);
	cr_assert_eq(bus_queue_loan(q, SIZE_MAX, &m, T_LONG), -EMSGSIZE);
	cr_assert_eq(t_queue_stats(q).n_waiting, 0);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_message_that_does_not_fit_the_buffer_stays_first)
{
	static const size_t sizes[] = { 20, 5000 };

	for (size_t i = 0; i < lengthof(sizes); i++) {
		struct bus_queue *q = t_queue(bus, i ? "a" : "b", 4, 56, 0);
		size_t n = sizes[i], len;

		t_fill(out, n, 1);
		cr_assert_eq(bus_queue_put(q, out, n, 0), 0);
		cr_assert_eq(t_put_u64(q, 2, 0), 0);
		for (int k = 0; k < 3; k++) {
			len = 0;
			cr_assert_eq(bus_queue_get(q, in, n - 1, &len, 0),
				     -EMSGSIZE);
			cr_assert_eq(len, n);
			cr_assert_eq(bus_queue_get(q, in, 0, NULL, 0),
				     -EMSGSIZE);
		}
		cr_assert_eq(bus_queue_get(q, in, n, &len, 0), 0);
		cr_assert(t_is(in, n, 1));
		cr_assert_eq(t_get_u64(q), 2);
	}
	cr_assert_eq(blob_used(), 0);
}

Test(queue, who_frees_the_handle_gives_the_message_back)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 56, 0);
	struct bus *other = attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	struct bus_msg m;

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_get(theirs, in, 0, NULL, 0), -EMSGSIZE);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, 0), -EAGAIN);
	bus_queue_free(theirs);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(m.attempts, 0); /* nobody died */
	cr_assert_eq(bus_queue_release(q, &m), 0);
	bus_close(other);
}

/* Full, empty, order, wrap ------------------------------------------------ */

Test(queue, empty_and_full_say_so)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);
	uint64_t start, v = 0;

	for (int i = 0; i < 100; i++) {
		cr_assert_eq(bus_queue_get(q, &v, 8, NULL, 0), -EAGAIN);
		cr_assert_eq(t_put_u64(q, 1, 0), 0);
		cr_assert_eq(t_put_u64(q, 2, 0), 0);
		cr_assert_eq(t_put_u64(q, 3, 0), -EAGAIN);
		cr_assert_eq(bus_queue_put(q, out, 100, 0), -EAGAIN);
		cr_assert_eq(blob_used(), 0);
		cr_assert_eq(t_get_u64(q), 1);
		cr_assert_eq(t_get_u64(q), 2);
	}
	start = sb_now_ns();
	cr_assert_eq(bus_queue_get(q, &v, 8, NULL, 20 * MS), -ETIMEDOUT);
	cr_assert_geq(sb_now_ns() - start, 20 * MS);
	cr_assert_eq(t_put_u64(q, 1, 1), 0);
	cr_assert_eq(t_put_u64(q, 2, 1), 0);
	start = sb_now_ns();
	cr_assert_eq(t_put_u64(q, 3, 20 * MS), -ETIMEDOUT);
	cr_assert_eq(bus_queue_put(q, out, 100, 20 * MS), -ETIMEDOUT);
	cr_assert_geq(sb_now_ns() - start, 40 * MS);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, first_in_first_out_over_many_laps)
{
	uint64_t seed = 1;

	for (uint32_t n = 2; n <= 64; n *= 4) {
		struct bus_queue *q;
		uint64_t put = 0, got = 0, k, v;
		char name[8];

		snprintf(name, sizeof(name), "%u", n);
		q = t_queue(bus, name, n, 8, 0);
		for (int i = 0; i < 5000; i++) {
			for (k = rnd(&seed) % (n + 1); k; k--)
				if (!t_put_u64(q, put, 0))
					put++;
			for (k = rnd(&seed) % (n + 1); k; k--)
				if (!bus_queue_get(q, &v, 8, NULL, 0))
					cr_assert_eq(v, got++);
		}
		cr_assert_gt(got, 1000);
		cr_assert_eq(t_queue_stats(q).n_waiting, put - got);
	}
}

Test(queue, positions_wrap)
{
	struct bus_queue *q = queue_at(NEAR_WRAP, 2, 24, 0);
	struct bus_msg m;

	try_lengths(q);
	for (uint64_t i = 0; i < 40; i++) {
		cr_assert_eq(t_put_u64(q, i, 0), 0);
		cr_assert_eq(bus_queue_put(q, out, 500, 0), 0);
		cr_assert_eq(t_get_u64(q), i);
		cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
		cr_assert_eq(bus_queue_release(q, &m), 0);
	}
	cr_assert_eq(blob_used(), 0);
}

Test(queue, leases_and_loans_survive_the_wrap)
{
	struct bus_queue *q = queue_at(NEAR_WRAP, 2, 24, 0);
	struct bus_msg lease, loan;

	cr_assert_eq(t_put_u64(q, 77, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &lease, 0), 0);
	for (uint64_t i = 0; i < 40; i++) {
		cr_assert_eq(bus_queue_loan(q, 8, &loan, 0), 0);
		memcpy(loan.data, &i, 8);
		cr_assert_eq(bus_queue_commit(q, &loan), 0);
		cr_assert_eq(t_get_u64(q), i);
	}
	cr_assert_eq(*(uint64_t *)lease.data, 77);
	cr_assert_eq(bus_queue_give_back(q, &lease), 0);
	cr_assert_eq(t_get_u64(q), 77);
	cr_assert_eq(t_queue_stats(q).n_held, 0);
}

/* Many -------------------------------------------------------------------- */

Test(queue, none_of_many_is_none)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);

	cr_assert_eq(bus_queue_put_many(q, out, 8, 0, T_LONG), 0);
	cr_assert_eq(bus_queue_get_many(q, in, 8, 0, NULL, T_LONG), 0);
	cr_assert_eq(bus_queue_close(q), 0);
	cr_assert_eq(bus_queue_put_many(q, out, 8, 0, T_LONG), 0);
	cr_assert_eq(bus_queue_get_many(q, in, 8, 0, NULL, T_LONG), 0);
}

Test(queue, many_stops_where_the_ring_is_full_or_empty)
{
	struct bus_queue *q = t_queue(bus, "q", 128, 8, 0);
	uint64_t v[200], w[200];

	for (uint64_t i = 0; i < 200; i++)
		v[i] = i;
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(bus_queue_put_many(q, v, 8, 200, 0), 128);
		cr_assert_eq(bus_queue_put_many(q, v, 8, 200, 0), -EAGAIN);
		cr_assert_eq(bus_queue_put_many(q, v, 8, 200, 1), -ETIMEDOUT);
		cr_assert_eq(bus_queue_get_many(q, w, 8, 5, NULL, 0), 5);
		cr_assert_eq(bus_queue_get_many(q, w + 5, 8, 195, NULL, 0),
			     123);
		cr_assert_arr_eq(v, w, 128 * 8);
		cr_assert_eq(bus_queue_get_many(q, w, 8, 200, NULL, 0),
			     -EAGAIN);
		cr_assert_eq(bus_queue_get_many(q, w, 8, 200, NULL, 1),
			     -ETIMEDOUT);
	}
}

Test(queue, many_large_messages_stop_where_the_cells_end)
{
	struct bus_queue *q = t_queue(bus, "q", 64, 8, 0);
	size_t n = T_MESSAGE_MAX / 16, lens[64];
	int put, got;

	for (size_t i = 0; i < 16; i++)
		t_fill(out + i * n, n, i);
	put = bus_queue_put_many(q, out, n, 16, 0);
	cr_assert_eq(put, 16);
	got = bus_queue_get_many(q, in, n, 64, lens, 0);
	cr_assert_eq(got, 16);
	for (size_t i = 0; i < 16; i++) {
		cr_assert_eq(lens[i], n);
		cr_assert(t_is(in + i * n, n, i));
	}
	/* until a cell is missing */
	for (put = 0; !bus_queue_put(q, out, T_MESSAGE_MAX, 0); put++)
		;
	cr_assert_geq(put, 4);
	cr_assert_eq(bus_queue_put_many(q, out, T_MESSAGE_MAX, 1, 0), -EAGAIN);
	while (put--)
		cr_assert_eq(bus_queue_get(q, in, sizeof(in), NULL, 0), 0);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, many_of_mixed_sizes_need_lens)
{
	struct bus_queue *q = t_queue(bus, "q", 16, 24, 0);
	size_t lens[8] = { 0 };

	for (size_t i = 0; i < 6; i++) {
		t_fill(out, i * 10, i);
		cr_assert_eq(bus_queue_put(q, out, i * 10, 0), 0);
	}
	/* not all have 10 bytes */
	cr_assert_eq(bus_queue_get_many(q, in, 10, 8, NULL, 0), -EMSGSIZE);
	cr_assert_eq(bus_queue_get_many(q, in, 30, 8, lens, 0), 4);
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(lens[i], i * 10);
		cr_assert(t_is(in + i * 30, lens[i], i));
	}
	/* the fifth is larger: it is first and stays */
	cr_assert_eq(bus_queue_get_many(q, in, 30, 8, lens, 0), -EMSGSIZE);
	cr_assert_eq(bus_queue_get_many(q, in, 40, 8, NULL, 0), 1);
	cr_assert(t_is(in, 40, 4));
	cr_assert_eq(bus_queue_get_many(q, in, 40, 8, NULL, 0), -EMSGSIZE);
	cr_assert_eq(bus_queue_get(q, in, 50, lens, 0), 0);
	cr_assert(t_is(in, 50, 5));
	cr_assert_eq(t_queue_stats(q).n_held, 0);
}

Test(queue, what_a_batch_gave_back_keeps_its_order)
{
	struct bus_queue *q = t_queue(bus, "q", 16, 8, 0);
	uint64_t v;

	cr_assert_eq(bus_queue_put(q, out, 7, 0), 0);
	for (uint64_t i = 0; i < 8; i++)
		cr_assert_eq(t_put_u64(q, i, 0), 0);
	cr_assert_eq(bus_queue_get_many(q, in, 8, 16, NULL, 0), -EMSGSIZE);
	cr_assert_eq(bus_queue_get(q, in, 7, NULL, 0), 0);
	for (uint64_t i = 0; i < 8; i++)
		cr_assert_eq(t_get_u64(q), i);
	cr_assert_eq(bus_queue_get(q, &v, 8, NULL, 0), -EAGAIN);
}

/* Loans ------------------------------------------------------------------- */

Test(queue, several_loans_are_committed_in_any_order)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus_msg m[8];
	size_t len;

	for (size_t i = 0; i < 8; i++) {
		cr_assert_eq(bus_queue_loan(q, i % 2 ? 1000 : 10, &m[i], 0), 0);
		t_fill(m[i].data, m[i].len_bytes, i);
	}
	cr_assert_eq(t_queue_stats(q).n_held, 4); /* large ones have no slot */
	for (size_t i = 8; i-- > 0;)
		cr_assert_eq(bus_queue_commit(q, &m[i]), 0);
	for (size_t i = 0, k; i < 8; i++) {
		cr_assert_eq(bus_queue_get(q, in, sizeof(in), &len, 0), 0);
		for (k = 0; k < 8 && !t_is(in, len, k); k++)
			;
		cr_assert_eq(len, k % 2 ? 1000 : 10);
	}
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_loan_may_be_made_smaller_but_not_larger)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 56, 0);
	struct bus_msg m;
	size_t len;

	for (int large = 0; large < 2; large++) {
		size_t n = large ? 1024 : 56;

		cr_assert_eq(bus_queue_loan(q, n, &m, 0), 0);
		t_fill(m.data, 20, 1);
		m.len_bytes = n + 1;
		cr_assert_eq(bus_queue_commit(q, &m), -EINVAL);
		m.len_bytes = SIZE_MAX;
		cr_assert_eq(bus_queue_commit(q, &m), -EINVAL);
		m.len_bytes = 20;
		cr_assert_eq(bus_queue_commit(q, &m), 0);
		cr_assert_eq(bus_queue_get(q, in, 100, &len, 0), 0);
		cr_assert_eq(len, 20);
		cr_assert(t_is(in, 20, 1));
	}
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_loan_ends_once)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 56, 0);
	struct bus_msg m, copy;

	for (int large = 0; large < 2; large++) {
		for (int cancel = 0; cancel < 2; cancel++) {
			cr_assert_eq(bus_queue_loan(q, large ? 999 : 9, &m, 0),
				     0);
			copy = m;
			cr_assert_eq(cancel ? bus_queue_cancel(q, &m)
					    : bus_queue_commit(q, &m),
				     0);
			cr_assert_eq(bus_queue_commit(q, &m), -EINVAL);
			cr_assert_eq(bus_queue_cancel(q, &m), -EINVAL);
			cr_assert_eq(bus_queue_commit(q, &copy), -EINVAL);
			cr_assert_eq(bus_queue_cancel(q, &copy), -EINVAL);
			cr_assert_eq(bus_queue_get(q, in, 999, NULL, 0),
				     cancel ? -EAGAIN : 0);
		}
	}
	m = (struct bus_msg){ .data = in, .cell = 12345678 };
	cr_assert_eq(bus_queue_commit(q, &m), -EINVAL);
	cr_assert_eq(bus_queue_cancel(q, &m), -EINVAL);
	cr_assert_eq(blob_used(), 0);
	cr_assert_eq(t_queue_stats(q).n_held, 0);
}

static int end_parents_loans(void *arg)
{
	struct bus_msg *m = arg;
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);

	for (int i = 0; i < 2; i++) {
		T_CHECK(bus_queue_commit(q, &m[i]) == -EINVAL);
		T_CHECK(bus_queue_cancel(q, &m[i]) == -EINVAL);
	}
	T_CHECK(bus_queue_release(q, &m[2]) == -EINVAL);
	T_CHECK(bus_queue_give_back(q, &m[2]) == -EINVAL);
	T_CHECK(bus_queue_get(q, in, 8, NULL, 0) == -EAGAIN);
	bus_close(bus);
	return 0;
}

Test(queue, what_is_on_loan_to_the_parent_stays_the_parents)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 56, 0);
	struct bus_msg m[3];

	cr_assert_eq(t_put_u64(q, 3, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &m[2], 0), 0);
	cr_assert_eq(bus_queue_loan(q, 8, &m[0], 0), 0);
	cr_assert_eq(bus_queue_loan(q, 800, &m[1], 0), 0);
	t_fill(m[0].data, 8, 0);
	t_fill(m[1].data, 800, 1);
	t_join(t_fork(end_parents_loans, m));
	cr_assert_eq(bus_queue_release(q, &m[2]), 0);
	cr_assert_eq(bus_queue_commit(q, &m[0]), 0);
	cr_assert_eq(bus_queue_commit(q, &m[1]), 0);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, 0), 0);
	cr_assert(t_is(in, 8, 0));
	cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), 0);
	cr_assert(t_is(in, 800, 1));
	cr_assert_eq(blob_used(), 0);
}

/* A large message gets its place when it is committed, and may have to wait. */
Test(queue, a_commit_that_is_interrupted_can_be_repeated)
{
	struct bus_config c = t_config();
	struct bus_queue *q;
	struct bus_msg m;

	bus_close(bus);
	c.flags = BUS_F_EINTR;
	c.spin = BUS_SPIN_NEVER;
	bus = t_bus_with(NULL, &c);
	q = t_queue(bus, "q", 2, 8, 0);
	cr_assert_eq(bus_queue_loan(q, 500, &m, 0), 0);
	t_fill(m.data, 500, 1);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(t_put_u64(q, 2, 0), 0);
	often(20000);
	cr_assert_eq(bus_queue_commit(q, &m), -EINTR);
	cr_assert_eq(bus_queue_commit(q, &m), -EINTR);
	often(0);
	cr_assert_eq(t_get_u64(q), 1);
	cr_assert_eq(bus_queue_commit(q, &m), 0);
	cr_assert_eq(t_get_u64(q), 2);
	cr_assert_eq(bus_queue_get(q, in, 500, NULL, 0), 0);
	cr_assert(t_is(in, 500, 1));
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_loan_that_is_not_committed_is_passed_and_comes_later)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus *other = attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	struct bus_msg m;

	cr_assert_eq(bus_queue_loan(q, 8, &m, 0), 0);
	memcpy(m.data, &(uint64_t){ 100 }, 8);
	for (uint64_t i = 0; i < 20; i++) { /* laps */
		cr_assert_eq(t_put_u64(q, i, 0), 0);
		cr_assert_eq(t_get_u64(theirs), i);
	}
	cr_assert_eq(bus_queue_get(theirs, in, 8, NULL, MS), -ETIMEDOUT);
	cr_assert_eq(bus_queue_commit(q, &m), 0);
	cr_assert_eq(t_get_u64(theirs), 100);
	bus_close(other);
}

Test(queue, a_strict_queue_does_not_pass_it)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, BUS_QUEUE_STRICT);
	struct bus_msg m;

	cr_assert_eq(bus_queue_loan(q, 8, &m, 0), 0);
	memcpy(m.data, &(uint64_t){ 100 }, 8);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, 5 * MS), -ETIMEDOUT);
	cr_assert_eq(bus_queue_commit(q, &m), 0);
	cr_assert_eq(t_get_u64(q), 100);
	cr_assert_eq(t_get_u64(q), 1);
	cr_assert_eq(bus_queue_loan(q, 8, &m, 0), 0);
	cr_assert_eq(t_put_u64(q, 2, 0), 0);
	cr_assert_eq(bus_queue_cancel(q, &m), 0);
	cr_assert_eq(t_get_u64(q), 2);
}

Test(queue, loans_are_dropped_with_the_handle)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus *other = attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	struct bus_msg m[2];

	cr_assert_eq(bus_queue_loan(theirs, 8, &m[0], 0), 0);
	cr_assert_eq(bus_queue_loan(theirs, 800, &m[1], 0), 0);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	bus_queue_free(theirs);
	cr_assert_eq(t_get_u64(q), 1);
	bus_close(other);
	cr_assert_eq(blob_used(), 0);
	cr_assert_eq(t_queue_stats(q).n_held, 0);
}

static int loan_and_die(void *arg)
{
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);
	struct bus_msg m[3];

	(void)arg;
	for (int i = 0; i < 3; i++)
		T_CHECK(bus_queue_loan(q, i == 2 ? 8 : 800, &m[i], 0) == 0);
	T_CHECK(bus_queue_commit(q, &m[0]) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(queue, loans_of_the_dead_are_dropped_and_what_they_put_is_not)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);

	for (int i = 0; i < 20; i++) {
		cr_assert_eq(t_wait(t_fork(loan_and_die, NULL)), -SIGKILL);
		cr_assert_eq(bus_queue_get(q, in, 800, NULL, T_LONG), 0);
		cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), -EAGAIN);
		bus_reap(bus);
	}
	cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), -EAGAIN);
	cr_assert_eq(blob_used(), 0);
	cr_assert_eq(t_queue_stats(q).n_held, 0);
}

/* Leases ------------------------------------------------------------------ */

Test(queue, a_lease_may_be_read_and_written)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus_msg m[4];

	for (size_t i = 0; i < 4; i++) {
		t_fill(out, 10 + i * 100, i);
		cr_assert_eq(bus_queue_put(q, out, 10 + i * 100, 0), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(bus_queue_peek(q, &m[i], 0), 0);
		cr_assert_eq(m[i].len_bytes, 10 + i * 100);
		cr_assert_eq(m[i].attempts, 0);
		cr_assert(t_is(m[i].data, m[i].len_bytes, i));
		memset(m[i].data, 0, m[i].len_bytes);
	}
	cr_assert_eq(t_queue_stats(q).n_held, 4);
	for (size_t i = 4; i-- > 0;)
		cr_assert_eq(bus_queue_release(q, &m[i]), 0);
	cr_assert_eq(t_queue_stats(q).n_held, 0);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_lease_ends_once)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus_msg m, copy;

	for (int large = 0; large < 2; large++) {
		for (int back = 0; back < 2; back++) {
			cr_assert_eq(bus_queue_put(q, out, large ? 999 : 9, 0),
				     0);
			cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
			copy = m;
			cr_assert_eq(back ? bus_queue_give_back(q, &m)
					  : bus_queue_release(q, &m),
				     0);
			cr_assert_eq(bus_queue_release(q, &m), -EINVAL);
			cr_assert_eq(bus_queue_give_back(q, &m), -EINVAL);
			cr_assert_eq(bus_queue_release(q, &copy), -EINVAL);
			cr_assert_eq(bus_queue_give_back(q, &copy), -EINVAL);
			if (back)
				cr_assert_eq(bus_queue_get(q, in, 999, NULL, 0),
					     0);
		}
	}
	cr_assert_eq(blob_used(), 0);
}

Test(queue, only_a_lease_of_this_queue_can_be_ended)
{
	struct bus_queue *a = t_queue(bus, "a", 8, 24, 0);
	struct bus_queue *b = t_queue(bus, "b", 8, 24, 0);
	struct bus *other = attach();
	struct bus_queue *theirs = t_queue(other, "a", 0, 0, 0);
	struct bus_msg of_a, of_b, loan, nonsense = { 0 };

	for (size_t n = 8; n <= 800; n *= 100) {
		cr_assert_eq(bus_queue_put(a, out, n, 0), 0);
		cr_assert_eq(bus_queue_put(b, out, n, 0), 0);
		cr_assert_eq(bus_queue_peek(a, &of_a, 0), 0);
		cr_assert_eq(bus_queue_peek(b, &of_b, 0), 0);
		/* of the same position */
		cr_assert_eq(bus_queue_release(b, &of_a), -EINVAL);
		cr_assert_eq(bus_queue_give_back(a, &of_b), -EINVAL);
		/* of another endpoint */
		cr_assert_eq(bus_queue_release(theirs, &of_a), -EINVAL);
		cr_assert_eq(bus_queue_give_back(theirs, &of_a), -EINVAL);
		cr_assert_eq(bus_queue_release(a, &of_a), 0);
		cr_assert_eq(bus_queue_release(b, &of_b), 0);
	}
	/* not a lease at all */
	cr_assert_eq(bus_queue_loan(a, 8, &loan, 0), 0);
	cr_assert_eq(bus_queue_release(a, &loan), -EINVAL);
	cr_assert_eq(bus_queue_give_back(a, &loan), -EINVAL);
	cr_assert_eq(bus_queue_cancel(a, &loan), 0);
	cr_assert_eq(bus_queue_release(a, &nonsense), -EINVAL);
	cr_assert_eq(bus_queue_commit(a, &of_a), -EINVAL);
	bus_close(other);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, what_is_given_back_goes_to_another)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, 0);
	struct bus *other = attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	struct bus_msg m;

	for (size_t n = 8; n <= 800; n *= 100) {
		t_fill(out, n, n);
		cr_assert_eq(bus_queue_put(q, out, n, 0), 0);
		cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
		cr_assert_eq(bus_queue_peek(theirs, &m, 0), -EAGAIN);
		cr_assert_eq(bus_queue_give_back(q, &m), 0);
		cr_assert_eq(bus_queue_peek(theirs, &m, 0), 0);
		cr_assert_eq(m.attempts, 0);
		cr_assert(t_is(m.data, n, n));
		cr_assert_eq(bus_queue_release(theirs, &m), 0);
	}
	bus_close(other);
	cr_assert_eq(blob_used(), 0);
}

static int peek_and_die(void *arg)
{
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);
	struct bus_msg m;

	T_CHECK(bus_queue_peek(q, &m, T_LONG) == 0);
	T_CHECK(m.attempts == (uint32_t)(uintptr_t)arg);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(queue, the_message_of_a_dead_holder_is_delivered_again)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 24, 0);
	struct bus_msg m;

	for (size_t n = 8; n <= 800; n *= 100) {
		t_fill(out, n, n);
		cr_assert_eq(bus_queue_put(q, out, n, 0), 0);
		for (uintptr_t i = 0; i < 66; i++) {
			void *arg = (void *)(i < 63 ? i : 63);

			cr_assert_eq(t_wait(t_fork(peek_and_die, arg)),
				     -SIGKILL);
			bus_reap(bus);
		}
		cr_assert_eq(bus_queue_peek(q, &m, T_LONG), 0);
		cr_assert_eq(m.attempts, 63);
		cr_assert_eq(m.len_bytes, n);
		cr_assert(t_is(m.data, n, n));
		cr_assert_eq(bus_queue_release(q, &m), 0);
	}
	cr_assert_eq(t_stats(bus).n_redelivered, 2 * 66);
	cr_assert_eq(blob_used(), 0);
}

static int get_one(void *arg)
{
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);

	(void)arg;
	return (int)t_get_u64(q);
}

/* Nobody calls bus_reap(): the blocked reader finds out. */
Test(queue, a_blocked_reader_gets_what_a_dead_holder_had)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	pid_t holder, reader;

	for (int i = 0; i < 5; i++) {
		cr_assert_eq(t_put_u64(q, 42, 0), 0);
		holder = t_fork(peek_and_die, NULL);
		cr_assert_eq(t_wait(holder), -SIGKILL);
		reader = t_fork(get_one, NULL);
		cr_assert_eq(t_wait(reader), 42);
	}
}

/* Close ------------------------------------------------------------------- */

Test(queue, a_closed_queue_is_drained_first)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus *other = attach();
	struct bus_queue *theirs = t_queue(other, "q", 0, 0, 0);
	struct bus_msg m;
	uint64_t v;

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(t_put_u64(q, 2, 0), 0);
	cr_assert_eq(bus_queue_close(theirs), 0);
	cr_assert_eq(bus_queue_close(q), 0); /* again */
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(t_put_u64(q, 3, i), -EPIPE);
		cr_assert_eq(t_put_u64(theirs, 3, i), -EPIPE);
		cr_assert_eq(bus_queue_put(q, out, 800, i), -EPIPE);
		cr_assert_eq(bus_queue_put_many(q, out, 8, 3, i), -EPIPE);
		cr_assert_eq(bus_queue_put_many(q, out, 800, 3, i), -EPIPE);
		cr_assert_eq(bus_queue_loan(q, 8, &m, i), -EPIPE);
		cr_assert_eq(bus_queue_loan(q, 800, &m, i), -EPIPE);
	}
	cr_assert_eq(t_queue_stats(q).closed, 1);
	cr_assert_eq(t_get_u64(q), 1);
	cr_assert_eq(t_get_u64(theirs), 2);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_queue_get(q, &v, 8, NULL, i), -EPIPE);
		cr_assert_eq(bus_queue_get(theirs, &v, 8, NULL, -1), -EPIPE);
		cr_assert_eq(bus_queue_peek(q, &m, i), -EPIPE);
		cr_assert_eq(bus_queue_get_many(q, &v, 8, 1, NULL, i), -EPIPE);
	}
	bus_close(other);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_loan_of_a_slot_is_delivered_though_the_queue_was_closed)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus_msg small, large;

	cr_assert_eq(bus_queue_loan(q, 8, &small, 0), 0);
	cr_assert_eq(bus_queue_loan(q, 800, &large, 0), 0);
	memcpy(small.data, &(uint64_t){ 5 }, 8);
	cr_assert_eq(bus_queue_close(q), 0);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_queue_commit(q, &small), 0);
	cr_assert_eq(bus_queue_commit(q, &large), -EPIPE);
	cr_assert_eq(t_get_u64(q), 5);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, 0), -EPIPE);
	cr_assert_eq(blob_used(), 0);
}

/* What a child does, and what must come of it. */
struct blocked {
	int ret;
	size_t len;

	enum { GET, PEEK, GET_MANY, PUT, PUT_LARGE, JOIN } what;
};

static int block(void *arg)
{
	const struct blocked *b = arg;
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);
	struct bus_msg m;
	int ret = -1;

	switch (b->what) {
	case GET:
		ret = bus_queue_get(q, in, sizeof(in), NULL, T_LONG);
		break;
	case PEEK:
		ret = bus_queue_peek(q, &m, T_LONG);
		break;
	case GET_MANY:
		ret = bus_queue_get_many(q, in, 8, 10, NULL, T_LONG);
		break;
	case PUT:
		ret = bus_queue_put(q, in, 8, T_LONG);
		break;
	case PUT_LARGE:
		ret = bus_queue_put(q, in, T_MESSAGE_MAX, T_LONG);
		break;
	case JOIN:
		ret = bus_queue_join(q, T_LONG);
		break;
	}
	if (ret != b->ret)
		fprintf(stderr, "%d: %d instead of %d\n", b->what, ret, b->ret);
	T_CHECK(ret == b->ret);
	return 0;
}

Test(queue, close_wakes_whoever_is_blocked)
{
	static const struct blocked t[] = {
		{ -EPIPE, 0, GET },       { -EPIPE, 0, PEEK },
		{ -EPIPE, 0, GET_MANY },  { -EPIPE, 0, PUT },
		{ -EPIPE, 0, PUT_LARGE },
	};

	for (size_t i = 0; i < lengthof(t); i++) {
		for (int abort = 0; abort < 2; abort++) {
			struct bus_queue *q;
			pid_t child[3];
			int n = 0;

			bus_close(bus);
			bus = t_bus();
			q = t_queue(bus, "q", 4, 8, 0);
			if (t[i].what == PUT)
				while (!t_put_u64(q, 1, 0))
					n++;
			if (t[i].what == PUT_LARGE)
				while (!bus_queue_put(q, in, T_MESSAGE_MAX, 0))
					n++;
			for (size_t k = 0; k < lengthof(child); k++)
				child[k] =
					t_fork(block, (void *)(uintptr_t)&t[i]);
			for (size_t k = 0; k < lengthof(child); k++)
				t_wait_asleep(child[k]);
			cr_assert_eq(abort ? bus_queue_abort(q)
					   : bus_queue_close(q),
				     0);
			for (size_t k = 0; k < lengthof(child); k++)
				t_join(child[k]);
			for (; n && !abort; n--)
				cr_assert_eq(bus_queue_get(q, in, sizeof(in),
							   NULL, 0),
					     0);
			cr_assert_eq(blob_used(), 0);
		}
	}
}

/* A reader that holds nothing waits for what others hold: a death would hand
 * it over. */
Test(queue, a_reader_waits_for_the_leases_of_others_before_the_end)
{
	static const struct blocked end = { -EPIPE, 0, GET },
				    message = { 0, 0, GET };
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus_msg m;
	pid_t child;

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(bus_queue_close(q), 0);
	/* who holds it is told at once */
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, -1), -EPIPE);

	child = t_fork(block, (void *)(uintptr_t)&message);
	t_wait_asleep(child);
	cr_assert_eq(bus_queue_give_back(q, &m), 0);
	t_join(child);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, -1), -EPIPE);

	bus_close(bus);
	bus = t_bus();
	q = t_queue(bus, "q", 4, 8, 0);
	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(bus_queue_close(q), 0);
	child = t_fork(block, (void *)(uintptr_t)&end);
	t_wait_asleep(child);
	cr_assert_eq(bus_queue_release(q, &m), 0);
	t_join(child);
}

Test(queue, the_last_message_survives_its_holder_in_a_closed_queue)
{
	static const struct blocked message = { 0, 0, GET };
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	pid_t holder, child;

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_close(q), 0);
	holder = t_fork(peek_and_die, NULL);
	cr_assert_eq(t_wait(holder), -SIGKILL);
	child = t_fork(block, (void *)(uintptr_t)&message);
	t_join(child);
	cr_assert_eq(bus_queue_get(q, in, 8, NULL, -1), -EPIPE);
}

/* Abort ------------------------------------------------------------------- */

Test(queue, abort_throws_away_what_nobody_has_taken)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct bus_msg small, large;
	uint64_t v;

	for (int i = 0; i < 4; i++)
		cr_assert_eq(bus_queue_put(q, out, i % 2 ? 800 : 8, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &small, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &large, 0), 0);
	cr_assert_eq(bus_queue_abort(q), 0);
	cr_assert_eq(t_queue_stats(q).closed, 2);
	cr_assert_eq(blob_used(), 1024); /* the one on lease */
	cr_assert_eq(bus_queue_get(q, &v, 8, NULL, -1), -EPIPE);
	cr_assert_eq(t_put_u64(q, 1, -1), -EPIPE);
	cr_assert_eq(bus_queue_release(q, &small), 0);
	cr_assert_eq(bus_queue_release(q, &large), 0);
	cr_assert_eq(blob_used(), 0);
	cr_assert_eq(bus_queue_abort(q), 0);
	cr_assert_eq(bus_queue_close(q), 0);
	cr_assert_eq(t_queue_stats(q).closed, 2);
}

Test(queue, what_comes_back_to_an_aborted_queue_is_dropped)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct bus_msg m;

	cr_assert_eq(bus_queue_put(q, out, 800, 0), 0);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(bus_queue_abort(q), 0);
	cr_assert_eq(bus_queue_give_back(q, &m), 0);
	cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), -EPIPE);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, abort_ends_also_when_tail_is_nonsense)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct bus_channel *c;
	struct sb_ring_end *end;

	for (int i = 0; i < 4; i++)
		cr_assert_eq(t_put_u64(q, 1, 0), 0);
	end = bus_channel_end(bus, 0, &c);
	cr_assert_not_null(end);
	end->ring->tail = UINT32_MAX; /* closed, and far ahead */
	cr_assert_eq(bus_queue_abort(q), -EPROTO);
}

Test(queue, abort_does_not_wait_for_what_is_being_written)
{
	for (uint32_t flags = 0; flags <= BUS_QUEUE_STRICT;
	     flags += BUS_QUEUE_STRICT) {
		struct bus_queue *q =
			t_queue(bus, flags ? "s" : "q", 8, 8, flags);
		struct bus_msg m;

		cr_assert_eq(bus_queue_loan(q, 8, &m, 0), 0);
		cr_assert_eq(bus_queue_put(q, out, 800, 0), 0);
		cr_assert_eq(bus_queue_abort(q), 0);
		cr_assert_eq(blob_used(), 0);
		cr_assert_eq(bus_queue_get(q, in, 8, NULL, -1), -EPIPE);
		cr_assert_eq(bus_queue_commit(q, &m), 0);
		cr_assert_eq(bus_queue_get(q, in, 8, NULL, -1), -EPIPE);
		cr_assert_eq(t_queue_stats(q).n_waiting, 0);
	}
}

/* task_done and join ------------------------------------------------------ */

Test(queue, only_a_joinable_queue_is_joined)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(t_get_u64(q), 1);
	cr_assert_eq(bus_queue_task_done(q), -EINVAL);
	cr_assert_eq(bus_queue_join(q, 0), -EINVAL);
}

Test(queue, join_on_an_empty_queue_returns_at_once)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, BUS_QUEUE_JOINABLE);

	cr_assert_eq(bus_queue_join(q, 0), 0);
	cr_assert_eq(bus_queue_join(q, -1), 0);
}

Test(queue, task_done_once_for_each_message)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, BUS_QUEUE_JOINABLE);
	struct bus_msg m;
	uint64_t v[4];

	cr_assert_eq(bus_queue_task_done(q), -EINVAL);
	for (uint64_t i = 0; i < 8; i++)
		cr_assert_eq(bus_queue_put(q, out, i % 2 ? 8 : 800, 0), 0);
	cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), 0);
	cr_assert_eq(bus_queue_get_many(q, v, 8, 1, NULL, 0), 1);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(t_queue_stats(q).n_held, 3);
	cr_assert_eq(bus_queue_release(q, &m), 0);
	cr_assert_eq(bus_queue_task_done(q), 0);
	cr_assert_eq(bus_queue_task_done(q), 0);
	cr_assert_eq(bus_queue_task_done(q), -EINVAL);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), 0);
	cr_assert_eq(bus_queue_join(q, 0), -EAGAIN);
	cr_assert_eq(bus_queue_join(q, 5 * MS), -ETIMEDOUT);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(bus_queue_task_done(q), 0);
	cr_assert_eq(bus_queue_join(q, 0), 0);
	cr_assert_eq(bus_queue_task_done(q), -EINVAL);
	cr_assert_eq(blob_used(), 0);
}

Test(queue, a_joinable_queue_wraps)
{
	struct bus_queue *q = queue_at(NEAR_WRAP, 2, 8, BUS_QUEUE_JOINABLE);

	for (uint64_t i = 0; i < 100; i++) {
		for (uint64_t k = 0; k < 4; k++)
			cr_assert_eq(t_put_u64(q, i + k, 0), 0);
		for (uint64_t k = 0; k < 4; k++)
			cr_assert_eq(t_get_u64(q), i + k);
		cr_assert_eq(t_put_u64(q, 1, 0), -EAGAIN); /* all are held */
		for (uint64_t k = 0; k < 4; k++)
			cr_assert_eq(bus_queue_task_done(q), 0);
		cr_assert_eq(bus_queue_join(q, 0), 0);
	}
}

/* Get one, tell, die or finish it. */
struct task {
	struct t_gate got;
	bool die;
};

static int do_task(void *arg)
{
	struct task *t = arg;
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);

	t_get_u64(q);
	t_gate_open(&t->got);
	if (t->die)
		pause();
	T_CHECK(bus_queue_task_done(q) == 0);
	return 0;
}

Test(queue, join_waits_though_a_worker_dies_holding)
{
	static const struct blocked join = { 0, 0, JOIN };
	struct bus_queue *q = t_queue(bus, "q", 8, 8, BUS_QUEUE_JOINABLE);
	struct task t;

	t_gate_init(&t.got);
	for (int i = 0; i < 3; i++) {
		pid_t joiner, worker;

		cr_assert_eq(t_put_u64(q, 1, 0), 0);
		t.die = true;
		worker = t_fork(do_task, &t);
		t_gate_wait(&t.got);
		joiner = t_fork(block, (void *)(uintptr_t)&join);
		t_wait_asleep(joiner);
		t_kill(worker);
		cr_assert_eq(bus_queue_join(q, 20 * MS), -ETIMEDOUT);
		t.die = false;
		worker = t_fork(do_task, &t);
		t_join(worker);
		t_join(joiner);
		cr_assert_eq(bus_queue_join(q, T_LONG), 0);
	}
}

Test(queue, join_does_not_count_what_was_never_put)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, BUS_QUEUE_JOINABLE);
	struct bus_msg m;

	cr_assert_eq(bus_queue_loan(q, 8, &m, 0), 0);
	cr_assert_eq(bus_queue_cancel(q, &m), 0);
	cr_assert_eq(bus_queue_join(q, 0), 0);
	cr_assert_eq(t_wait(t_fork(loan_and_die, NULL)), -SIGKILL);
	bus_reap(bus);
	cr_assert_eq(bus_queue_join(q, 0), -EAGAIN); /* one was put */
	cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), 0);
	cr_assert_eq(bus_queue_task_done(q), 0);
	cr_assert_eq(bus_queue_join(q, 0), 0);
}

Test(queue, abort_ends_a_join)
{
	static const struct blocked join = { 0, 0, JOIN };
	struct bus_queue *q = t_queue(bus, "q", 8, 8, BUS_QUEUE_JOINABLE);
	pid_t child;

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(bus_queue_put(q, out, 800, 0), 0);
	child = t_fork(block, (void *)(uintptr_t)&join);
	t_wait_asleep(child);
	cr_assert_eq(bus_queue_abort(q), 0);
	t_join(child);
}

static int has_no_tasks(void *arg)
{
	T_CHECK(bus_queue_task_done(arg) == -EINVAL);
	return 0;
}

Test(queue, tasks_of_the_parent_are_not_the_childs)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, BUS_QUEUE_JOINABLE);

	cr_assert_eq(t_put_u64(q, 1, 0), 0);
	cr_assert_eq(t_get_u64(q), 1);
	t_join(t_fork(has_no_tasks, q));
	cr_assert_eq(bus_queue_task_done(q), 0);
}

/* Blocking ---------------------------------------------------------------- */

static int put_one(void *arg)
{
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);

	T_CHECK(bus_queue_put(q, out, (size_t)(uintptr_t)arg, T_LONG) == 0);
	return 0;
}

Test(queue, a_blocked_putter_goes_on_when_a_slot_is_free)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);
	pid_t child;

	for (int i = 0; i < 10; i++) {
		cr_assert_eq(t_put_u64(q, 1, 0), 0);
		cr_assert_eq(t_put_u64(q, 2, 0), 0);
		child = t_fork(put_one, (void *)(uintptr_t)(i % 2 ? 8 : 800));
		t_wait_asleep(child);
		cr_assert_eq(t_get_u64(q), 1);
		t_join(child);
		cr_assert_eq(t_get_u64(q), 2);
		cr_assert_eq(bus_queue_get(q, in, 800, NULL, 0), 0);
	}
}

Test(queue, a_blocked_putter_goes_on_when_a_cell_is_free)
{
	struct bus_queue *q = t_queue(bus, "q", 64, 8, 0);
	struct bus_queue *other = t_queue(bus, "other", 64, 8, 0);
	void *large = (void *)(uintptr_t)T_MESSAGE_MAX;
	pid_t a, b;
	int n = 0;

	while (!bus_queue_put(n % 2 ? q : other, out, T_MESSAGE_MAX, 0))
		n++;
	cr_assert_geq(n, 4);
	a = t_fork(put_one, large);
	b = t_fork(put_one, large);
	t_wait_asleep(a);
	t_wait_asleep(b);
	/* of another queue, as well */
	cr_assert_eq(bus_queue_get(other, in, sizeof(in), NULL, 0), 0);
	cr_assert_eq(bus_queue_get(q, in, sizeof(in), NULL, 0), 0);
	t_join(a);
	t_join(b);
	for (int i = 0; i < n; i++)
		if (bus_queue_get(q, in, sizeof(in), NULL, 0))
			cr_assert_eq(
				bus_queue_get(other, in, sizeof(in), NULL, 0),
				0);
	cr_assert_eq(blob_used(), 0);
}

static int take_a_cell_and_die(void *arg)
{
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);
	struct bus_msg m;

	(void)arg;
	while (!bus_queue_loan(q, T_MESSAGE_MAX, &m, 0))
		;
	kill(getpid(), SIGKILL);
	return 0;
}

Test(queue, cells_of_the_dead_are_free_again_for_a_blocked_putter)
{
	struct bus_queue *q = t_queue(bus, "q", 64, 8, 0);

	cr_assert_eq(t_wait(t_fork(take_a_cell_and_die, NULL)), -SIGKILL);
	cr_assert_eq(bus_queue_put(q, out, T_MESSAGE_MAX, T_LONG), 0);
	cr_assert_eq(bus_queue_get(q, in, sizeof(in), NULL, 0), 0);
	bus_reap(bus);
	cr_assert_eq(blob_used(), 0);
}

static int put_sequence(void *arg)
{
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);
	uint64_t me = (uint64_t)(uintptr_t)arg;

	for (uint64_t i = 0; i < 3000; i++) {
		size_t len = i % 16 ? 16 : 600;

		memset(out, 0, len);
		memcpy(out, &me, 8);
		memcpy(out + 8, &i, 8);
		T_CHECK(bus_queue_put(q, out, len, T_LONG) == 0);
	}
	return 0;
}

/* A single reader sees the messages of each writer in order. */
Test(queue, order_of_each_writer_holds)
{
	for (uint32_t n = 2; n <= 128; n *= 8) {
		struct bus_queue *q;
		uint64_t next[4] = { 0 };
		pid_t child[4];

		bus_close(bus);
		bus = t_bus();
		q = t_queue(bus, "q", n, 16, 0);
		for (uintptr_t i = 0; i < 4; i++)
			child[i] = t_fork(put_sequence, (void *)i);
		for (int i = 0; i < 4 * 3000; i++) {
			uint64_t v[2];

			cr_assert_eq(bus_queue_get(q, in, 600, NULL, T_LONG),
				     0);
			memcpy(v, in, 16);
			cr_assert_lt(v[0], 4);
			cr_assert_eq(v[1], next[v[0]]);
			next[v[0]]++;
		}
		for (int i = 0; i < 4; i++)
			t_join(child[i]);
		cr_assert_eq(blob_used(), 0);
	}
}

static int get_until_end(void *arg)
{
	_Atomic uint64_t *sum = arg;
	struct bus_queue *q = t_queue(bus, "q", 0, 0, 0);
	uint64_t v[32];
	int n;

	while ((n = bus_queue_get_many(q, v, 8, 32, NULL, T_LONG)) > 0)
		for (int i = 0; i < n; i++)
			add_acqrel(sum, v[i]);
	T_CHECK(n == -EPIPE);
	return 0;
}

Test(queue, each_message_goes_to_one_reader)
{
	_Atomic uint64_t *sum = t_shared(4096);
	struct bus_queue *q = t_queue(bus, "q", 32, 8, 0);
	pid_t child[4];
	uint64_t i = 0;

	for (int k = 0; k < 4; k++)
		child[k] = t_fork(get_until_end, (void *)sum);
	while (i < 20000) {
		uint64_t v[40];
		int n;

		for (uint64_t k = 0; k < 40; k++)
			v[k] = i + k;
		n = bus_queue_put_many(q, v, 8, 40, T_LONG);
		cr_assert_gt(n, 0);
		i += (uint64_t)n;
	}
	cr_assert_eq(bus_queue_close(q), 0);
	for (int k = 0; k < 4; k++)
		t_join(child[k]);
	cr_assert_eq(ld_rlx(sum), i * (i - 1) / 2);
}

/* Statistics -------------------------------------------------------------- */

Test(queue, stats_say_what_is_there)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 24, BUS_QUEUE_STRICT);
	struct bus_queue_stats s;
	struct bus_msg m;

	s = t_queue_stats(q);
	cr_assert_eq(s.n_slots, 8);
	cr_assert_eq(s.slot_bytes, 24);
	cr_assert_eq(s.flags, BUS_QUEUE_STRICT);
	cr_assert_eq(s.n_waiting + s.n_held + s.closed, 0);
	cr_assert_eq(s.n_put, 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(t_put_u64(q, 1, 0), 0);
	t_get_u64(q);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	s = t_queue_stats(q);
	cr_assert_eq(s.n_waiting, 3);
	cr_assert_eq(s.n_held, 1);
	cr_assert_eq(s.n_put, 5);
	cr_assert_eq(bus_queue_stats(q, NULL), -EINVAL);
	s.size = 0;
	cr_assert_eq(bus_queue_stats(q, &s), -EINVAL);
	/* older: only what it knows is written */
	memset(&s, 0xee, sizeof(s));
	s.size = offsetof(struct bus_queue_stats, n_waiting);
	cr_assert_eq(bus_queue_stats(q, &s), 0);
	cr_assert_eq(s.n_slots, 8);
	cr_assert_eq(s.n_waiting, 0xeeeeeeee);
}

/* Hostile memory ---------------------------------------------------------- */

static uint64_t rejected(void)
{
	return t_stats(bus).n_rejected;
}

/* What a slot says of its message is nonsense: it is dropped and counted. */
Test(queue, nonsense_in_a_slot_is_dropped)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 24, 0);
	struct sb_ring_end end;
	struct bus_channel *c;
	struct bus_msg m;
	uint64_t n = rejected();

	cr_assert_eq(bus_channel_attach(bus, 0, &c, &end), 0);
	for (int i = 0; i < 40; i++) {
		uint64_t pos = (uint64_t)i * 2 << 16, seq = pos | SB_FULL;
		uint32_t cell = 3;

		cr_assert_eq(bus_queue_put(q, out, 8, 0), 0);
		cr_assert_eq(t_put_u64(q, 7, 0), 0);
		switch (i % 5) {
		case 0: /* longer than the slot */
			seq |= 25 << 4;
			break;
		case 1:
			seq |= SB_LEN_MAX << 4;
			break;
		case 2: /* a cell that is not its own */
			seq |= SB_FLAG_BLOB;
			break;
		case 3: /* there is no such cell */
			seq |= SB_FLAG_BLOB;
			cell = UINT32_MAX - (uint32_t)i;
			break;
		case 4: /* flags that a queue does not have */
			seq |= SB_FLAG_QUAR | SB_FLAG_BLOB;
			break;
		}
		memcpy(sb_ring_slot(&end, pos)->data, &cell, 4);
		st_rel(&sb_ring_slot(&end, pos)->seq, seq);
		if (i % 2)
			cr_assert_eq(bus_queue_get(q, in, 64, NULL, 0),
				     -EPROTO);
		else
			cr_assert_eq(bus_queue_peek(q, &m, 0), -EPROTO);
		cr_assert_eq(t_get_u64(q), 7);
		cr_assert_eq(rejected(), ++n);
	}
}

Test(queue, nonsense_in_the_middle_of_a_batch_is_left_out)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct sb_ring_end end;
	struct bus_channel *c;
	uint64_t v[8];

	cr_assert_eq(bus_channel_attach(bus, 0, &c, &end), 0);
	for (uint64_t i = 0; i < 5; i++)
		cr_assert_eq(t_put_u64(q, i, 0), 0);
	st_rel(&sb_ring_slot(&end, 2 << 16)->seq, 2 << 16 | 99 << 4 | SB_FULL);
	cr_assert_eq(bus_queue_get_many(q, v, 8, 8, NULL, 0), 4);
	cr_assert_eq(v[1], 1);
	cr_assert_eq(v[2], 3);
	cr_assert_eq(rejected(), 1);
}

Test(queue, a_length_that_a_cell_cannot_have_is_dropped)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);

	cr_assert_eq(bus_queue_put(q, out, 1000, 0), 0);
	for (uint32_t i = 0; i < bus->blob.n_cells; i++)
		st_rlx(&bus->blob.len[i], UINT64_MAX);
	cr_assert_eq(bus_queue_get(q, in, sizeof(in), NULL, 0), -EPROTO);
	cr_assert_eq(rejected(), 1);
	bus_sweep_cells(bus);
	cr_assert_eq(blob_used(), 0);
}

/* Something a peer might write instead of @old. */
static uint64_t garbage(uint64_t *seed, uint64_t old)
{
	switch (rnd(seed) % 6) {
	case 0:
		return rnd(seed);
	case 1:
		return 0;
	case 2:
		return UINT64_MAX;
	case 3:
		return old ^ UINT64_C(1) << rnd(seed) % 64;
	case 4:
		return old + (rnd(seed) % 16 << 16);
	default:
		return old ^ (rnd(seed) & 0xffff);
	}
}

static void do_something(struct bus_queue *q, uint64_t *seed)
{
	size_t len = rnd(seed) % 4 ? rnd(seed) % 40 : rnd(seed) % 3000,
	       lens[70];
	struct bus_msg m;
	int64_t timeout = rnd(seed) % 8 ? 0 : 1000;

	switch (rnd(seed) % 10) {
	case 0:
	case 1:
		bus_queue_put(q, out, len, timeout);
		break;
	case 2:
	case 3:
		bus_queue_get(q, in, sizeof(in), NULL, timeout);
		break;
	case 4:
		if (!bus_queue_peek(q, &m, timeout))
			rnd(seed) % 2 ? bus_queue_release(q, &m)
				      : bus_queue_give_back(q, &m);
		break;
	case 5:
		if (!bus_queue_loan(q, len, &m, timeout)) {
			memset(m.data, 1, len);
			if (rnd(seed) % 2 == 0 || bus_queue_commit(q, &m))
				bus_queue_cancel(q, &m);
		}
		break;
	case 6:
		bus_queue_put_many(q, out, len, rnd(seed) % 20, timeout);
		break;
	case 7:
		bus_queue_get_many(q, in, 900, rnd(seed) % 70, lens, timeout);
		break;
	case 8:
		bus_queue_task_done(q);
		bus_queue_join(q, 1000);
		break;
	case 9:
		t_queue_stats(q);
		t_stats(bus);
		bus_reap(bus);
		bus_settle_own(bus);
		bus_sweep_cells(bus);
		break;
	}
}

/*
 * Every call may fail; none may crash or write where it should not (ASan
 * knows), and none may take for ever.  Signals, because the commit of a large
 * message has no deadline.
 */
static int fuzz(void *arg)
{
	uint64_t seed = 88172645463325252u + (uintptr_t)arg * 7919;

	struct bus_config c = t_config();

	bus_close(bus); /* the parent's */
	c.flags = BUS_F_EINTR;
	bus = t_bus_with(NULL, &c);
	often(2000);
	for (int round = 0; round < 60; round++) {
		uint32_t flags = (uint32_t)rnd(&seed) % 4;
		struct bus_queue *q = t_queue(bus, "q", 8, 24, flags);
		struct bus_map *map = bus->map;
		uint64_t chan = map->dir[0].bytes;
		uint64_t blob =
			sizeof(struct sb_blob_pool) + bus->blob.n_cells * 16;
		unsigned char *base = map->seg.base;

		for (int i = 0; i < 200; i++) {
			uint64_t *w, region = rnd(&seed) % 8;

			if (region < 5) /* the ring and its slots */
				w = (void *)(base + map->off.chan +
					     rnd(&seed) % (chan / 8) * 8);
			else if (region < 6) /* owners and lengths of cells */
				w = (void *)(base + map->off.blob +
					     rnd(&seed) % (blob / 8) * 8);
			else if (region < 7) /* bitmaps, the lock, the hint */
				w = (void *)(base + 128 + rnd(&seed) % 48 * 8);
			else /* other endpoints */
				w = (void *)(base + map->off.ep +
					     rnd(&seed) % (30 * 48) * 8);
			/* our own state and bell are ours to keep */
			if ((unsigned char *)w < (unsigned char *)bus->ep ||
			    (unsigned char *)w >=
				    (unsigned char *)(bus->ep + 1))
				if (rnd(&seed) % 3 == 0)
					*w = garbage(&seed, *w);
			do_something(q, &seed);
		}
		bus_close(bus);
		bus = t_bus_with(NULL, &c);
	}
	bus_close(bus);
	return 0;
}

/* A tail that is far ahead of head once made abort go past each position. */
Test(queue, abort_ends_whatever_a_peer_wrote_into_tail)
{
	struct bus_queue *q = queue_at(0, 3, 24, 0);
	struct bus_channel *c;
	struct sb_ring_end *end = bus_channel_end(
		bus, (uint32_t)bus_channel_find(bus, "wrap"), &c);

	cr_assert_not_null(end);
	end->ring->tail += UINT64_C(1) << 56;
	alarm(20);
	cr_assert_eq(bus_queue_abort(q), -EPROTO);
	alarm(0);
	bus_queue_free(q);
}

Test(queue, garbage_in_shared_memory_does_no_harm)
{
	pid_t child[8];

	for (uintptr_t i = 0; i < lengthof(child); i++)
		child[i] = t_fork(fuzz, (void *)i);
	for (size_t i = 0; i < lengthof(child); i++)
		t_join(child[i]);
}

/* -------------------------------------------------------- no endpoint -- */

static int without_an_endpoint(void *arg)
{
	struct bus_queue *q = arg;
	struct bus_queue_stats s = BUS_QUEUE_STATS_INIT;
	struct bus_msg m = { 0 };
	uint64_t v[2] = { 0 };
	size_t len[2];

	T_CHECK(bus_queue_put(q, v, 8, -1) == -EUSERS);
	T_CHECK(bus_queue_put_many(q, v, 8, 2, -1) == -EUSERS);
	T_CHECK(bus_queue_loan(q, 8, &m, -1) == -EUSERS);
	T_CHECK(bus_queue_commit(q, &m) == -EUSERS);
	T_CHECK(bus_queue_cancel(q, &m) == -EUSERS);
	T_CHECK(bus_queue_get(q, v, 8, len, -1) == -EUSERS);
	T_CHECK(bus_queue_get_many(q, v, 8, 2, len, -1) == -EUSERS);
	T_CHECK(bus_queue_peek(q, &m, -1) == -EUSERS);
	T_CHECK(bus_queue_release(q, &m) == -EUSERS);
	T_CHECK(bus_queue_give_back(q, &m) == -EUSERS);
	T_CHECK(bus_queue_task_done(q) == -EUSERS);
	T_CHECK(bus_queue_join(q, -1) == -EUSERS);
	T_CHECK(bus_queue_stats(q, &s) == -EUSERS);
	T_CHECK(bus_queue_close(q) == -EUSERS);
	T_CHECK(bus_queue_abort(q) == -EUSERS);
	return 0;
}

/* A forked child on a bus that is full: nothing is done, nobody waits. */
Test(queue, each_call_of_who_has_no_endpoint_says_so)
{
	struct bus_config c = t_config();
	struct bus *small, *other;
	struct bus_queue *q;

	c.max_endpoints = 2;
	small = t_bus_with(NULL, &c);
	cr_assert_eq(bus_attach(small, &other), 0);
	q = t_queue(small, "q", 4, 8, BUS_QUEUE_JOINABLE);
	cr_assert_eq(t_put_u64(q, 7, 0), 0);
	t_join(t_fork(without_an_endpoint, q));
	cr_assert_eq(t_queue_stats(q).n_waiting, 1);
	cr_assert_not(t_queue_stats(q).closed);
	cr_assert_eq(t_get_u64(q), 7);
	bus_close(other);
	bus_close(small);
}
