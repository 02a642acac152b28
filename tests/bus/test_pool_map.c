/*
 * test_pool_map.c - tests of bus/pool_map.c and bus/pool_imap.c; Criterion
 * suites "map" and "imap"
 */
#include "config.h"

#include <criterion/criterion.h>

#include "bus/pool.h"
#include "tests/bus/t_pool.h"

TestSuite(map, .init = setup, .fini = teardown, .timeout = 200.0);
TestSuite(imap, .init = setup, .fini = teardown, .timeout = 200.0);

#define N 500

/* The next so many times there is no memory for tasks.  They are what is aligned
 * to a line of the cache; pipes are to two. */
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static uint32_t fail_next;

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	if (!fail_next || align != SB_CACHELINE)
		return __real_aligned_alloc(align, n);
	fail_next--;
	return NULL;
}

static struct order in[N];
static struct order out[N];
static struct bus_map_item items[N];

static struct bus_map_config chunked(size_t chunk)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;

	c.chunk = chunk;
	c.items = items;
	return c;
}

static void echo_all(void)
{
	for (int i = 0; i < N; i++)
		in[i] = (struct order){ ECHO, i };
	memset(out, 0xee, sizeof(out));
	memset(items, 0xee, sizeof(items));
}

static int map(const struct bus_map_config *c)
{
	return bus_pool_map(pool, 0, in, sizeof(*in), out, sizeof(*out), N, c,
			    T_LONG);
}

static const size_t chunks[] = { 1, 2, 7, 64, 0, N, N + 1, SIZE_MAX };

/* ------------------------------------------------------------------- map -- */

Test(map, bad_arguments_are_refused)
{
	struct bus_map_config c = chunked(1);

	t_pool(1);
	cr_assert_eq(bus_pool_map(pool, 1, in, 8, out, 8, N, NULL, -1),
		     -EINVAL);
	cr_assert_eq(bus_pool_map(pool, 0, NULL, 8, out, 8, N, NULL, -1),
		     -EINVAL);
	cr_assert_eq(bus_pool_map(pool, 0, in, 8, NULL, 8, N, NULL, -1),
		     -EINVAL);
	c.priority = 3;
	cr_assert_eq(map(&c), -EINVAL);
	cr_assert_eq(bus_pool_map(pool, 0, in, T_MESSAGE_MAX + 1, out, 8, 1,
				  NULL, -1),
		     -EMSGSIZE);
	cr_assert_eq(bus_pool_map(pool, 0, NULL, 8, NULL, 8, 0, NULL, -1), 0);
	bus_pool_close(pool);
	cr_assert_eq(map(NULL), -EPIPE);
}

Test(map, puts_results_in_order)
{
	t_pool(3);
	for (size_t k = 0; k < lengthof(chunks); k++) {
		struct bus_map_config c = chunked(chunks[k]);

		echo_all();
		cr_assert_eq(map(&c), 0, "chunk %zu", chunks[k]);
		for (int i = 0; i < N; i++) {
			cr_assert_eq(out[i].n, i);
			cr_assert_eq(items[i].kind, BUS_RESULT_OK);
			cr_assert_eq(items[i].len_bytes, sizeof(*out));
		}
	}
	cr_assert_eq(t_pool_stats().n_ok, N * lengthof(chunks));
}

Test(map, an_item_that_fails_fails_alone)
{
	t_pool(2);
	for (size_t k = 0; k < lengthof(chunks); k++) {
		struct bus_map_config c = chunked(chunks[k]);

		echo_all();
		for (int i = 0; i < N; i += 10)
			in[i].what = FAIL;
		in[0].n = 12345678; /* its text is as long as no other */
		cr_assert_eq(map(&c), N / 10);
		for (int i = 0; i < N; i++) {
			char text[64];

			if (i % 10) {
				cr_assert_eq(out[i].n, i);
				continue;
			}
			snprintf(text, sizeof(text), "failed with %d", in[i].n);
			cr_assert_eq(items[i].kind, BUS_RESULT_ERROR);
			cr_assert_eq(items[i].code, in[i].n);
			cr_assert_str_eq(items[i].text, text);
		}
	}
	cr_assert_eq(t_pool_stats().n_failed, N / 10 * lengthof(chunks));
}

Test(map, results_may_be_shorter_and_not_longer)
{
	t_pool(2);
	for (size_t k = 0; k < lengthof(chunks); k++) {
		struct bus_map_config c = chunked(chunks[k]);

		echo_all();
		in[3] = (struct order){ SIZE, 3 };
		in[4] = (struct order){ SIZE, 0 };
		in[5] = (struct order){ SIZE, 9 };
		in[6] = (struct order){ SIZE, 1000 };
		cr_assert_eq(map(&c), 2);
		cr_assert_eq(items[3].len_bytes, 3);
		cr_assert(t_is(&out[3], 3, 5));
		cr_assert_eq(out[3].n, (int)0xeeeeeeee);
		cr_assert_eq(items[4].kind, BUS_RESULT_OK);
		cr_assert_eq(items[5].code, -EMSGSIZE);
		cr_assert_eq(items[6].code, -EMSGSIZE);
	}
}

Test(map, an_item_that_kills_is_given_up_alone)
{
	t_pool(2);
	for (size_t k = 0; k < lengthof(chunks); k++) {
		struct bus_map_config c = chunked(chunks[k]);

		echo_all();
		in[77].what = DIE;
		cr_assert_eq(map(&c), 1, "chunk %zu", chunks[k]);
		cr_assert_eq(items[77].kind, BUS_RESULT_DEATH);
		cr_assert_eq(items[77].code, -EOWNERDEAD);
		cr_assert_eq(items[77].signal, SIGKILL);
		cr_assert_eq(items[77].attempts, 3);
		for (int i = 0; i < N; i++)
			cr_assert(i == 77 || out[i].n == i);
	}
	cr_assert_eq(t_pool_stats().n_quarantined, lengthof(chunks));
	cr_assert_eq(t_pool_stats().n_submitted, N * lengthof(chunks));
}

Test(map, elements_of_any_size)
{
	static unsigned char from[8 * 30000], to[8 * 30000];
	size_t sizes[] = { 8, 9, 100, 30000 };

	t_pool(2);
	for (size_t k = 0; k < lengthof(sizes); k++) {
		t_fill(from, 8 * sizes[k], k);
		for (int i = 0; i < 8; i++)
			memset(from + (size_t)i * sizes[k], 0, 8);
		memset(to, 0xee, sizeof(to));
		cr_assert_eq(bus_pool_map(pool, 0, from, sizes[k], to, sizes[k],
					  8, NULL, T_LONG),
			     0);
		cr_assert(!memcmp(from, to, 8 * sizes[k]));
	}
	cr_assert_eq(bus_pool_map(pool, 0, NULL, 0, NULL, 0, 100, NULL, T_LONG),
		     0);
}

Test(map, gives_up_when_time_is_up)
{
	struct bus_map_config c = chunked(1);

	t_pool(2);
	for (size_t k = 1; k < 20; k += 6) {
		c.chunk = k;
		echo_all();
		in[300].what = HOLD;
		in[300].n = -1;
		cr_assert_eq(bus_pool_map(pool, 0, in, sizeof(*in), out,
					  sizeof(*out), N, &c, 50 * MS),
			     -ETIMEDOUT);
		cr_assert_eq(items[300].kind, BUS_RESULT_CANCELED);
	}
	t_apply(ECHO, 1, BUS_RESULT_OK);
	echo_all();
	cr_assert_eq(map(NULL), 0);
}

Test(map, chunks_may_have_a_limit)
{
	struct bus_map_config c = chunked(5);

	t_pool(2);
	c.limit_ns = 200 * MS;
	echo_all();
	in[301].what = STUCK;
	cr_assert_eq(map(&c), 5);
	for (int i = 0; i < N; i++)
		cr_assert(i / 5 == 60 ? items[i].kind == BUS_RESULT_TIMEOUT
				      : out[i].n == i);
}

/* While others wait in the lanes, and the window is small. */
Test(map, shares_the_pool_with_futures)
{
	struct bus_pool_config pc = t_pool_config(1);
	struct bus_map_config c = chunked(1);
	struct bus_future *f[30];

	pc.window = 32;
	t_pool_with(&pc);
	for (int i = 0; i < 30; i++)
		f[i] = t_submit(LOG, i);
	echo_all();
	cr_assert_eq(map(&c), 0);
	for (int i = 0; i < N; i++)
		cr_assert_eq(out[i].n, i);
	for (int i = 0; i < 30; i++) {
		t_get(f[i], BUS_RESULT_OK);
		cr_assert_eq(shared->log[i], i);
	}
}

static int bad_init(void *ctx, char *error, size_t n)
{
	(void)ctx;
	snprintf(error, n, "never");
	return -1;
}

static int n_chained;

/* Tasks that come one after the other, and leave no place in the ring. */
static int chain(void *ctx, struct bus_future *f, const struct bus_result *r)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;
	struct order o = { NAP, 1 };

	(void)ctx;
	(void)f;
	(void)r;
	c.done = chain;
	c.priority = BUS_PRIORITY_LOW;
	if (n_chained++ < 2000)
		bus_pool_submit(pool, 0, &o, sizeof(o), &c, NULL, 0);
	pool->depth = 2; /* also if we came so late that they seem short */
	return 0;
}

Test(map, has_its_turn_beside_chains)
{
	struct order from[4] = { { ECHO, 0 } }, to[4];

	t_pool(1);
	for (int i = 0; i < 2; i++)
		chain(NULL, NULL, NULL);
	cr_assert_eq(bus_pool_map(pool, 0, from, sizeof(*from), to, sizeof(*to),
				  4, NULL, 10 * T_LONG),
		     0);
	cr_assert_lt(n_chained, 1000);
}

Test(map, says_when_the_pool_is_broken)
{
	struct bus_pool_config pc = t_pool_config(1);
	struct bus_map_config c = chunked(1);

	pc.init = bad_init;
	t_pool_with(&pc);
	echo_all();
	cr_assert_eq(map(&c), -ECHILD);
	cr_assert_str_eq(bus_pool_error(pool), "never");
}

/* ------------------------------------------------------------------ imap -- */

struct source {
	int next, n; /* n < 0: without end */
	int fail_at; /* -1: never */
	int poison;
	uint32_t what;
	size_t len;
	unsigned char item[70000];
};

static int pull(void *ctx, const void **item, size_t *len)
{
	struct source *s = ctx;
	struct order o = { s->what, s->next };

	if (s->next == s->fail_at)
		return -EIO;
	if (s->next == s->n)
		return 0;
	if (s->next == s->poison)
		o.what = DIE;
	memset(s->item, 0xaa, sizeof(s->item)); /* the last one is over */
	memcpy(s->item, &o, sizeof(o));
	s->next++;
	*item = s->item;
	*len = s->len ? s->len : sizeof(o);
	return 1;
}

static struct source source = { .n = N, .fail_at = -1, .poison = -1 };

static struct bus_imap *start(const struct bus_map_config *c, bool ordered)
{
	struct bus_imap *im;

	T_CHECK((ordered ? bus_pool_imap : bus_pool_imap_unordered)(
			pool, 0, pull, &source, c, &im) == 0);
	return im;
}

static int value(void)
{
	struct order o;

	T_CHECK(result.kind == BUS_RESULT_OK && result.len_bytes >= sizeof(o));
	memcpy(&o, result.data, sizeof(o));
	return o.n;
}

static const size_t imap_chunks[] = { 1, 2, 7, 64, N + 1 };

Test(imap, bad_arguments_are_refused)
{
	struct bus_imap *im;

	t_pool(1);
	cr_assert_eq(bus_pool_imap(pool, 0, NULL, NULL, NULL, &im), -EINVAL);
	cr_assert_eq(bus_pool_imap(pool, 9, pull, &source, NULL, &im), -EINVAL);
	cr_assert_eq(bus_imap_next(NULL, &result, -1), -EINVAL);
	bus_imap_free(NULL);
	bus_pool_close(pool);
	cr_assert_eq(bus_pool_imap(pool, 0, pull, &source, NULL, &im), -EPIPE);
}

Test(imap, gives_all_results_in_order)
{
	t_pool(3);
	for (size_t k = 0; k < lengthof(imap_chunks); k++) {
		struct bus_map_config c = chunked(imap_chunks[k]);
		struct bus_imap *im = start(&c, true);

		source.next = 0;
		for (int i = 0; i < N; i++) {
			cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
			cr_assert_eq(result.id, (uint64_t)i);
			cr_assert_eq(value(), i);
		}
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
		cr_assert_eq(bus_imap_next(im, &result, 0), -ENODATA);
		bus_imap_free(im);
	}
	cr_assert_eq(t_pool_stats().n_ok, N * lengthof(imap_chunks));
}

/* Its worker is told, and looks between two of them. */
Test(map, a_chunk_that_is_late_stops_at_its_next_item)
{
	struct order job[3] = { { HOLD, 1 }, { LOG, 2 }, { LOG, 3 } },
		     answer[3];
	struct bus_map_config c = chunked(3);

	t_pool(1);
	cr_assert_eq(bus_pool_map(pool, 0, job, sizeof(*job), answer,
				  sizeof(*answer), 3, &c, 50 * MS),
		     -ETIMEDOUT);
	shared->go = 1;
	t_apply(ECHO, 1, BUS_RESULT_OK);
	cr_assert_eq(shared->n_log, 0);
	bus_pool_close(pool);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
}

/* The window is what is on its way at most, whatever the chunk. */
Test(imap, a_chunk_is_no_larger_than_the_window)
{
	struct bus_map_config c = chunked(100);
	struct bus_imap *im;

	c.window = 4;
	t_pool(1);
	source.n = 10;
	im = start(&c, true);
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_eq(value(), i);
		cr_assert_leq(source.next, i + 1 + 4);
	}
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
	bus_imap_free(im);
}

Test(imap, unordered_gives_each_result_once)
{
	t_pool(3);
	for (size_t k = 0; k < lengthof(imap_chunks); k++) {
		struct bus_map_config c = chunked(imap_chunks[k]);
		struct bus_imap *im = start(&c, false);
		bool seen[N] = { false };

		source.next = 0;
		for (int i = 0; i < N; i++) {
			cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
			cr_assert_eq(result.id, (uint64_t)value());
			cr_assert(!seen[value()]);
			seen[value()] = true;
		}
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
		bus_imap_free(im);
	}
}

/* The first hangs; the others do not wait for it. */
Test(imap, unordered_gives_what_is_there)
{
	struct bus_imap *im;
	struct bus_future *f;

	t_pool(2);
	f = t_submit(HOLD, 1);
	t_await_begun(1);
	source.n = 10;
	im = start(NULL, false);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
	shared->go = 1;
	t_get(f, BUS_RESULT_OK);
	bus_imap_free(im);
}

Test(imap, pulls_no_more_than_the_window)
{
	struct bus_map_config c = chunked(1);
	struct bus_imap *im;

	t_pool(2);
	source.n = -1;
	c.window = 5;
	for (int k = 0; k < 2; k++) {
		source.next = 0;
		im = start(&c, k);
		cr_assert_eq(source.next, 0); /* nobody has asked yet */
		for (int i = 0; i < 100; i++) {
			cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
			cr_assert_gt(source.next, i);
			cr_assert_leq(source.next, i + 5);
		}
		bus_imap_free(im);
	}
	c.chunk = 3;
	source.next = 0;
	im = start(&c, true);
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_leq(source.next, i + 5);
		cr_assert_eq(value(), i);
	}
	bus_imap_free(im);
	t_apply(ECHO, 1, BUS_RESULT_OK);
}

/* Without a window of its own it has the pool's; and slow ones are not pulled
 * far ahead. */
Test(imap, a_source_without_end_is_bounded_by_the_pool)
{
	struct bus_pool_config pc = t_pool_config(2);
	struct bus_imap *im;

	pc.window = 16;
	t_pool_with(&pc);
	source.n = -1;
	im = start(NULL, true);
	for (int i = 0; i < 300; i++) {
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_leq(source.next, i + 16);
	}
	bus_imap_free(im);
}

Test(imap, an_error_of_the_source_is_said_in_its_place)
{
	t_pool(2);
	for (int k = 0; k < 4; k++) {
		struct bus_map_config c = chunked(k < 2 ? 1 : 8);
		struct bus_imap *im = start(&c, k % 2);

		source.next = 0;
		source.fail_at = 20;
		for (int i = 0; i < 20; i++) {
			cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
			cr_assert(k % 2 == 0 || value() == i);
		}
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), -EIO);
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
		bus_imap_free(im);
	}
}

Test(imap, next_ends_in_time_and_can_be_called_again)
{
	struct bus_imap *im;

	t_pool(1);
	source.what = HOLD;
	shared->go = 999;
	im = start(NULL, true);
	cr_assert_eq(bus_imap_next(im, &result, 0), -EAGAIN);
	cr_assert_eq(bus_imap_next(im, &result, 3 * MS), -ETIMEDOUT);
	for (int i = 0; i < 20; i++) {
		shared->go = (uint32_t)i;
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_eq(value(), i);
	}
	bus_imap_free(im); /* which cancels what hangs */
	t_apply(ECHO, 1, BUS_RESULT_OK);
}

static int open_gate_later(void *arg)
{
	(void)arg;
	nap(20000 * MS);
	shared->go = 1;
	return 0;
}

/* Others have all of the window: there is nothing of ours to wait for. */
Test(imap, next_ends_in_time_though_nothing_could_be_pulled)
{
	struct bus_pool_config pc = t_pool_config(1);
	struct bus_imap *im;
	pid_t child;

	pc.window = 2;
	t_pool_with(&pc);
	t_submit(HOLD, 1);
	t_submit(HOLD, 1);
	im = start(NULL, true);
	child = t_fork(open_gate_later, NULL);
	cr_assert_eq(bus_imap_next(im, &result, 0), -EAGAIN);
	cr_assert_eq(bus_imap_next(im, &result, 3 * MS), -ETIMEDOUT);
	t_kill(child);
	cr_assert_eq(shared->go, 0);
	shared->go = 1;
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
	cr_assert_eq(value(), 0);
	bus_imap_free(im);
}

Test(imap, has_its_turn_beside_chains)
{
	struct bus_imap *im;

	t_pool(1);
	for (int i = 0; i < 2; i++)
		chain(NULL, NULL, NULL);
	im = start(NULL, true);
	cr_assert_eq(bus_imap_next(im, &result, 10 * T_LONG), 0);
	cr_assert_eq(value(), 0);
	cr_assert_lt(n_chained, 1000);
	bus_imap_free(im);
}

Test(imap, an_item_that_kills_is_given_up_alone)
{
	t_pool(2);
	source.poison = 123;
	for (size_t k = 0; k < lengthof(imap_chunks); k++)
		for (int ordered = 0; ordered < 2; ordered++) {
			struct bus_map_config c = chunked(imap_chunks[k]);
			struct bus_imap *im = start(&c, ordered);
			int dead = 0;

			source.next = 0;
			for (int i = 0; i < N; i++) {
				cr_assert_eq(bus_imap_next(im, &result, T_LONG),
					     0);
				cr_assert(!ordered || result.id == (uint64_t)i);
				if (result.id == 123) {
					cr_assert_eq(result.kind,
						     BUS_RESULT_DEATH);
					dead++;
				} else {
					cr_assert_eq((uint64_t)value(),
						     result.id);
				}
			}
			cr_assert_eq(bus_imap_next(im, &result, T_LONG),
				     -ENODATA);
			cr_assert_eq(dead, 1);
			bus_imap_free(im);
		}
	cr_assert_eq(t_pool_stats().n_submitted, 2 * N * lengthof(imap_chunks));
	cr_assert_eq(t_pool_stats().n_quarantined, 2 * lengthof(imap_chunks));
}

/* No memory for an item of a chunk that has killed its worker, and none to say
 * so: the others are where they were, and then the error is said. */
Test(imap, items_stay_in_order_though_there_is_no_memory_for_one)
{
	struct bus_map_config c = chunked(4);
	struct bus_pool_stats s;
	struct bus_future *first;
	struct bus_imap *im;

	t_pool(1);
	source.n = 12;
	source.poison = 2;
	first = t_submit(HOLD, 1);
	bus_lanes_depth(pool, 8); /* all chunks have their tasks */
	pool->lap_ns = sb_now_ns() + 1000 * SB_NS_PER_S;
	im = start(&c, true);
	cr_assert_eq(bus_imap_next(im, &result, 0), -EAGAIN);
	cr_assert_eq(source.next, 12);
	pool->free = NULL;
	fail_next = 2;
	shared->go = 1;
	for (uint64_t i = 1; i < 12; i++) {
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_eq(result.id, i, "%d is not %d", (int)result.id,
			     (int)i);
		cr_assert_eq(result.kind,
			     i == 2 ? BUS_RESULT_DEATH : BUS_RESULT_OK);
	}
	cr_assert_eq(fail_next, 0);
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENOMEM);
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
	bus_imap_free(im);
	t_get(first, BUS_RESULT_OK);
	s = t_pool_stats();
	cr_assert_eq(s.n_submitted, 13);
	cr_assert_eq(s.n_ok, 11);
	cr_assert_eq(s.n_failed, 1);
	cr_assert_eq(s.n_quarantined, 1);
}

Test(imap, items_of_any_size)
{
	struct bus_map_config c = chunked(16);
	size_t sizes[] = { 8, 100, 5000, T_MESSAGE_MAX - 40 };
	struct bus_imap *im;

	t_pool(2);
	source.n = 20;
	for (size_t k = 0; k < lengthof(sizes); k++) {
		source.next = 0;
		source.len = sizes[k];
		im = start(&c, true);
		for (int i = 0; i < 20; i++) {
			cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
			cr_assert_eq(value(), i);
			cr_assert_eq(result.len_bytes, sizes[k]);
		}
		bus_imap_free(im);
	}
	for (int k = 0; k < 2; k++) {
		c.chunk = k ? 16 : 1;
		source.next = 0;
		source.len = T_MESSAGE_MAX + 1;
		im = start(&c, true);
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), -EMSGSIZE);
		bus_imap_free(im);
	}
}

Test(imap, ends_with_the_pool)
{
	struct bus_imap *im;

	t_pool(2);
	source.n = -1;
	im = start(NULL, true);
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
	bus_pool_terminate(pool);
	for (int i = 0; i < 5000; i++) {
		int ret = bus_imap_next(im, &result, T_LONG);

		if (ret == -EPIPE)
			break;
		cr_assert_eq(ret, 0);
		cr_assert_neq(i, 4999);
	}
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
	bus_imap_free(im);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
}

static int pull_and_terminate(void *ctx, const void **item, size_t *len)
{
	if (source.next == 10)
		bus_pool_terminate(pool);
	return pull(ctx, item, len);
}

static int pull_and_close(void *ctx, const void **item, size_t *len)
{
	if (source.next == 10)
		bus_pool_close(pool);
	return pull(ctx, item, len);
}

static void ends_in_source(bus_source fn, size_t chunk, bool ordered)
{
	struct bus_map_config c = chunked(chunk);
	struct bus_pool_stats s;
	struct bus_imap *im;
	int ret, n = 0;

	source.next = 0;
	t_pool(1);
	T_CHECK((ordered ? bus_pool_imap : bus_pool_imap_unordered)(
			pool, 0, fn, &source, &c, &im) == 0);
	while (!(ret = bus_imap_next(im, &result, T_LONG)))
		cr_assert_leq(++n, 10);
	cr_assert_eq(ret, -EPIPE);
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
	s = t_pool_stats();
	cr_assert_leq(s.n_submitted, 10);
	cr_assert(fn == pull_and_close || s.n_queued + s.n_running == 0);
	cr_assert_eq(bus_pool_join(pool, T_LONG), 0);
	bus_imap_free(im);
	bus_pool_free(pool);
	pool = NULL;
}

/* The error is said, and not waited for what was not posted. */
Test(imap, says_why_an_item_could_not_be_posted)
{
	for (size_t chunk = 1; chunk < 5; chunk += 3) {
		struct bus_map_config c = BUS_MAP_CONFIG_INIT;
		struct bus_channel *chan;
		struct bus_imap *im;
		int idx;

		t_pool(1);
		c.chunk = chunk;
		im = start(&c, true);
		idx = bus_channel_find(bus, "p");
		sb_ring_close(bus_channel_end(bus, (uint32_t)idx, &chan));
		cr_assert_eq(bus_imap_next(im, &result, 1000 * MS), -EPIPE);
		cr_assert_eq(bus_imap_next(im, &result, 1000 * MS), -ENODATA);
		bus_imap_free(im);
		bus_pool_free(pool);
		pool = NULL;
	}
}

Test(imap, a_source_may_end_the_pool)
{
	for (size_t chunk = 1; chunk < 10; chunk += 3)
		for (int ordered = 0; ordered < 2; ordered++) {
			ends_in_source(pull_and_terminate, chunk, ordered);
			ends_in_source(pull_and_close, chunk, ordered);
		}
}

/* One feeds on the other. */
static struct bus_imap *first;
static struct order link_item;

static int pull_from_first(void *ctx, const void **item, size_t *len)
{
	struct bus_result r;
	int ret = bus_imap_next(first, &r, T_LONG);

	(void)ctx;
	if (ret)
		return ret == -ENODATA ? 0 : ret;
	memcpy(&link_item, r.data, sizeof(link_item));
	link_item.n *= 2;
	*item = &link_item;
	*len = sizeof(link_item);
	return 1;
}

Test(imap, a_chain_of_two)
{
	struct bus_imap *im;

	t_pool(2);
	first = start(NULL, true);
	cr_assert_eq(bus_pool_imap(pool, 0, pull_from_first, NULL, NULL, &im),
		     0);
	for (int i = 0; i < N; i++) {
		cr_assert_eq(bus_imap_next(im, &result, T_LONG), 0);
		cr_assert_eq(value(), 2 * i);
	}
	cr_assert_eq(bus_imap_next(im, &result, T_LONG), -ENODATA);
	bus_imap_free(first);
	bus_imap_free(im);
}
