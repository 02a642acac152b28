/*
 * test_coord.c - tests of bus/coord.c; Criterion suite "coord"
 *
 * A request is a struct order: what the worker is to do.  Waits that could
 * hang have a deadline, T_LONG, that only a hang reaches.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include "bus/coord.h"
#include "bus/recover.h"
#include "tests/bus/t_bus.h"

#define MS 1000000

enum what {
	ECHO,        /* the request */
	SIZE,        /* n bytes, t_fill */
	TOO_BIG,     /* n bytes are refused; then as SIZE with 1 */
	FAIL,        /* code n, text of the request's rest */
	FAIL_LONG,   /* code n, a text that is too long */
	FAIL_SILENT, /* code n, no text */
	DIE,         /* SIGKILL */
	DIE_ONCE,    /* SIGKILL the first n times */
	LEAVE,       /* exit(n) */
	PID,         /* its pid */
	ATTEMPTS,    /* how many died on it */
	NAP,         /* n milliseconds */
	GATED,       /* until *ctx, an _Atomic uint32_t, is n or more */
	HANG         /* until killed */
};

struct order {
	uint32_t what;
	int32_t n;
};

static struct bus *bus;
static struct bus_coord *coord;
static struct bus_result result;

static void setup(void)
{
	bus = t_bus();
}

static void teardown(void)
{
	bus_coord_stop(coord, 0);
	bus_close(bus);
}

TestSuite(coord, .init = setup, .fini = teardown, .timeout = 200.0);

static void nap(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static int handler(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	static char text[2000];
	struct order o = { ECHO, 0 };
	void *room;
	int i;

	if (len >= sizeof(o))
		memcpy(&o, req, sizeof(o));
	switch (o.what) {
	case SIZE:
		room = bus_reply_room(r, (size_t)o.n);
		if (!room)
			return 99;
		t_fill(room, (size_t)o.n, 5);
		return 0;
	case TOO_BIG:
		T_CHECK(bus_reply_put(r, text, (size_t)o.n) == -EMSGSIZE);
		T_CHECK(bus_reply_room(r, (size_t)o.n) == NULL);
		T_CHECK(bus_reply_put(r, text, SIZE_MAX) == -EMSGSIZE);
		return bus_reply_put(r, "y", 1);
	case FAIL:
		bus_reply_put(r, "lost", 4);
		bus_reply_error(r, "%.*s", (int)(len - sizeof(o)),
				(const char *)req + sizeof(o));
		return o.n;
	case FAIL_LONG:
		memset(text, 'x', sizeof(text) - 1);
		bus_reply_error(r, "%s", text);
		return o.n;
	case FAIL_SILENT:
		return o.n;
	case DIE_ONCE:
		if ((int)bus_reply_attempts(r) >= o.n)
			break;
		/* fall through */
	case DIE:
		kill(getpid(), SIGKILL);
		return 0;
	case LEAVE:
		exit(o.n);
	case PID:
		i = getpid();
		return bus_reply_put(r, &i, sizeof(i));
	case ATTEMPTS:
		i = (int)bus_reply_attempts(r);
		return bus_reply_put(r, &i, sizeof(i));
	case NAP:
		nap(o.n);
		break;
	case GATED:
		while (ld_acq((_Atomic uint32_t *)ctx) < (uint32_t)o.n)
			nap(1);
		break;
	case HANG:
		pause();
		break;
	}
	return bus_reply_put(r, req, len);
}

static struct bus_coord_config settings(uint32_t n_workers)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = handler;
	c.n_workers = n_workers;
	c.window = 64;
	return c;
}

static void start_with(const struct bus_coord_config *c)
{
	T_CHECK(bus_coord_start(bus, "c", c, &coord) == 0);
}

static void start(uint32_t n_workers)
{
	struct bus_coord_config c = settings(n_workers);

	start_with(&c);
}

static void stop(void)
{
	cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
	coord = NULL;
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
}

static void submit(uint64_t id, uint32_t what, int32_t n)
{
	struct order o = { what, n };

	T_CHECK(bus_submit(coord, id, &o, sizeof(o), T_LONG) == 0);
}

static void collect(uint64_t id)
{
	cr_assert_eq(bus_collect(coord, &result, T_LONG), 0);
	cr_assert_eq(result.id, id);
}

static void collect_ok(uint64_t id)
{
	collect(id);
	cr_assert_eq(result.kind, BUS_RESULT_OK);
	cr_assert_eq(result.code, 0);
	cr_assert_eq(result.pid, 0);
	cr_assert_eq(result.signal, 0);
	cr_assert_eq(result.exit_status, -1);
}

/* Arguments --------------------------------------------------------------- */

Test(coord, bad_arguments_are_refused)
{
	struct bus_coord_config c = settings(1);

	struct {
		struct bus_coord_config c;
		uint64_t more;
	} newer = { settings(1), 1 };

	cr_assert_eq(bus_coord_start(NULL, "c", &c, &coord), -EINVAL);
	cr_assert_eq(bus_coord_start(bus, NULL, &c, &coord), -EINVAL);
	cr_assert_eq(bus_coord_start(bus, "c", NULL, &coord), -EINVAL);
	cr_assert_eq(bus_coord_start(bus, "c", &c, NULL), -EINVAL);
	cr_assert_eq(bus_coord_start(bus, "", &c, &coord), -EINVAL);
	newer.c.size = sizeof(newer);
	cr_assert_eq(bus_coord_start(bus, "c", &newer.c, &coord), -E2BIG);
#define BAD(...)                                                               \
	do {                                                                   \
		c = settings(1);                                               \
		__VA_ARGS__;                                                   \
		cr_assert_eq(bus_coord_start(bus, "c", &c, &coord), -EINVAL,   \
			     #__VA_ARGS__);                                    \
	} while (0)
	BAD(c.handler = NULL);
	BAD(c.flags = 1);
	BAD(c.n_workers = 201);
	BAD(c.window = 3);
	BAD(c.request_bytes = 5000);
	BAD(c.max_attempts = 61);
	BAD(c.result_bytes = T_MESSAGE_MAX + 1);
	BAD(c.result_bytes = UINT64_MAX);
	cr_assert_null(coord);
	cr_assert_eq(bus_coord_stop(NULL, 0), 0);
	cr_assert_eq(t_stats(bus).n_channels, 0);
}

Test(coord, older_settings_are_accepted)
{
	struct bus_coord_config c = settings(2);

	c.size = offsetof(struct bus_coord_config, init);
	start_with(&c);
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 1);
	submit(1, ECHO, 0);
	collect_ok(1);
	stop();
}

Test(coord, names_are_taken)
{
	struct bus_coord_config c = settings(1);
	struct bus_coord *second = NULL;

	t_queue(bus, "q", 0, 0, 0);
	cr_assert_eq(bus_coord_start(bus, "q", &c, &second), -EEXIST);
	start(1);
	cr_assert_eq(bus_coord_start(bus, "c", &c, &second), -EEXIST);
	cr_assert_null(second);
	c.window = 1 << 16;
	c.request_bytes = 2000;
	cr_assert_eq(bus_coord_start(bus, "d", &c, &second), -ENOSPC);
	stop();
}

Test(coord, more_workers_than_endpoints_says_eusers)
{
	struct bus_coord_config c = settings(30);

	cr_assert_eq(bus_coord_start(bus, "c", &c, &coord), -EUSERS);
	c.n_workers = 29;
	start_with(&c);
	for (uint64_t i = 0; i < 64; i++)
		submit(i, ECHO, 0);
	for (uint64_t i = 0; i < 64; i++)
		collect_ok(i);
	stop();
}

static int has_no_fds(void *arg)
{
	struct bus_coord_config c = settings(4);
	struct rlimit lim = { 64, 64 };
	int fds[64], n = 0;

	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	T_CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	while ((fds[n] = dup(0)) >= 0)
		n++;
	close(fds[--n]);
	close(fds[--n]);
	T_CHECK(bus_coord_start(bus, "c", &c, &coord) == -EMFILE);
	T_CHECK(coord == NULL);
	while (n)
		close(fds[--n]);
	n = t_count_fds();
	for (int i = 0; i < 3; i++) {
		struct bus_result r;

		T_CHECK(bus_coord_start(bus, "c", &c, &coord) == 0);
		T_CHECK(bus_submit(coord, 1, "x", 1, T_LONG) == 0);
		T_CHECK(bus_collect(coord, &r, T_LONG) == 0);
		T_CHECK(bus_coord_stop(coord, T_LONG) == 0);
	}
	/* the ring of the waiter may have come */
	T_CHECK(t_count_fds() <= n + 1);
	bus_close(bus);
	return 0;
}

Test(coord, no_descriptors_says_emfile_and_the_name_is_free_again)
{
	t_join(t_fork(has_no_fds, NULL));
}

/* Requests and results ---------------------------------------------------- */

Test(coord, results_come_in_order_of_submission)
{
	start(4);
	for (uint64_t i = 0; i < 60; i++)
		submit(i, NAP, (int32_t)(i * 7 % 5));
	cr_assert_eq(bus_coord_outstanding(coord), 60);
	for (uint64_t i = 0; i < 60; i++)
		collect_ok(i);
	cr_assert_eq(bus_coord_outstanding(coord), 0);
	cr_assert_eq(bus_collect(coord, &result, T_LONG), -ENODATA);
	cr_assert_eq(bus_collect_any(coord, &result, 0), -ENODATA);
	stop();
}

Test(coord, any_result_comes_as_it_is_done)
{
	uint64_t seen = 0;

	start(2);
	submit(0, HANG, 0);
	for (uint64_t i = 1; i < 60; i++)
		submit(i, ECHO, 0);
	for (uint64_t i = 1; i < 60; i++) {
		cr_assert_eq(bus_collect_any(coord, &result, T_LONG), 0);
		cr_assert_eq(result.kind, BUS_RESULT_OK);
		cr_assert_not(seen >> result.id & 1);
		seen |= UINT64_C(1) << result.id;
	}
	cr_assert_eq(seen, (UINT64_C(1) << 60) - 2);
	cr_assert_eq(bus_collect_any(coord, &result, 0), -EAGAIN);
	cr_assert_eq(bus_collect_any(coord, &result, MS), -ETIMEDOUT);
	cr_assert_eq(bus_collect(coord, &result, 0), -EAGAIN);
	cr_assert_eq(bus_collect(coord, &result, MS), -ETIMEDOUT);
	cr_assert_eq(bus_coord_outstanding(coord), 1);
	cr_assert_eq(bus_coord_stop(coord, 0), -ETIMEDOUT);
	coord = NULL;
}

Test(coord, requests_of_every_size)
{
	static const uint32_t room[] = { 0, 8, 100, 2040 };
	static const size_t sizes[] = { 0,
					1,
					7,
					8,
					9,
					16,
					17,
					100,
					101,
					255,
					256,
					257,
					1024,
					2040,
					2041,
					16384,
					16385,
					T_MESSAGE_MAX - 1,
					T_MESSAGE_MAX };
	static unsigned char buf[T_MESSAGE_MAX + 1];

	for (size_t i = 0; i < lengthof(room); i++) {
		struct bus_coord_config c = settings(2);

		c.request_bytes = room[i];
		c.result_bytes = T_MESSAGE_MAX;
		start_with(&c);
		for (size_t k = 0; k < lengthof(sizes); k++) {
			/* as ECHO, which is 0 */
			memset(buf, (int)k, sizes[k]);
			if (sizes[k] >= 4)
				memset(buf, 0, 4);
			cr_assert_eq(bus_submit(coord, k, sizes[k] ? buf : NULL,
						sizes[k], T_LONG),
				     0);
			collect_ok(k);
			cr_assert_eq(result.len_bytes, sizes[k]);
			cr_assert_eq(memcmp(result.data, buf, sizes[k]), 0);
		}
		cr_assert_eq(
			bus_submit(coord, 1, buf, T_MESSAGE_MAX + 1, T_LONG),
			-EMSGSIZE);
		cr_assert_eq(bus_coord_outstanding(coord), 0);
		stop();
	}
}

Test(coord, results_of_every_size)
{
	static const uint64_t room[] = { 0,   1,   8,    100,
					 512, 513, 5000, T_MESSAGE_MAX };
	struct bus_coord_config c;

	for (size_t i = 0; i < lengthof(room); i++) {
		int32_t most = room[i] ? (int32_t)room[i] : 8;

		c = settings(2);
		c.result_bytes = room[i];
		start_with(&c);
		for (int32_t n = 0; n <= most; n = n < 2 ? n + 1 : n * 5 / 3) {
			submit((uint64_t)n, SIZE, n);
			collect_ok((uint64_t)n);
			cr_assert_eq(result.len_bytes, (size_t)n);
			cr_assert(t_is(result.data, (size_t)n, 5));
		}
		submit(1, SIZE, most);
		collect_ok(1);
		cr_assert(t_is(result.data, (size_t)most, 5));
		/* The slot may have some bytes more; a line more it has not. */
		submit(2, TOO_BIG, most + 64);
		collect_ok(2);
		cr_assert_eq(result.len_bytes, 1);
		cr_assert_eq(*(const char *)result.data, 'y');
		stop();
	}
}

/* A result in a cell is the caller's until the next call that collects. */
Test(coord, a_result_stays_what_it_is_until_the_next_collect)
{
	struct bus_coord_config c = settings(2);
	struct bus_queue *q = t_queue(bus, "q", 64, 8, 0);
	static unsigned char junk[T_MESSAGE_MAX];
	size_t n = 3000;

	c.result_bytes = n;
	start_with(&c);
	submit(1, SIZE, (int32_t)n);
	collect_ok(1);
	cr_assert(t_is(result.data, n, 5));
	/* somebody dies, and somebody else uses all cells that are free */
	bus_sweep_cells(bus);
	memset(junk, 0xaa, sizeof(junk));
	while (!bus_queue_put(q, junk, n, 0))
		;
	cr_assert(t_is(result.data, n, 5));
	cr_assert_eq(bus_queue_get(q, junk, n, NULL, 0), 0);
	submit(2, ECHO, 0);
	cr_assert(t_is(result.data, n, 5));
	while (!bus_queue_get(q, junk, n, NULL, 0))
		;
	collect_ok(2);
	stop();
}

Test(coord, the_callers_memory_is_copied)
{
	struct order o = { PID, 0 };

	start(1);
	cr_assert_eq(bus_submit(coord, 1, &o, sizeof(o), T_LONG), 0);
	memset(&o, 0xff, sizeof(o));
	collect_ok(1);
	cr_assert_eq(result.len_bytes, sizeof(int));
	stop();
}

/* Errors of a handler ----------------------------------------------------- */

static void fails_with(const char *text, size_t len)
{
	unsigned char buf[1000];
	struct order o = { FAIL, -7 };

	memcpy(buf, &o, sizeof(o));
	memcpy(buf + sizeof(o), text, len);
	cr_assert_eq(bus_submit(coord, 9, buf, sizeof(o) + len, T_LONG), 0);
	collect(9);
	cr_assert_eq(result.kind, BUS_RESULT_ERROR);
	cr_assert_eq(result.code, -7);
	cr_assert_eq(result.len_bytes, len);
	cr_assert_eq(memcmp(result.data, text, len), 0);
	cr_assert_eq(((const char *)result.data)[len], 0);
}

Test(coord, an_error_has_a_code_and_a_text)
{
	static const uint64_t room[] = { 0, 5000 };
	struct bus_coord_config c = settings(2);
	char text[256];

	memset(text, 't', sizeof(text));
	for (size_t i = 0; i < lengthof(room); i++) {
		c.result_bytes = room[i];
		start_with(&c);
		fails_with("", 0);
		fails_with("no", 2);
		fails_with(text, 100);
		fails_with(text, 255);
		submit(1, FAIL_SILENT, INT32_MIN);
		collect(1);
		cr_assert_eq(result.kind, BUS_RESULT_ERROR);
		cr_assert_eq(result.code, INT32_MIN);
		cr_assert_eq(result.len_bytes, 0);
		cr_assert_str_empty((const char *)result.data);
		/* cut to what fits */
		submit(2, FAIL_LONG, 3);
		collect(2);
		cr_assert_eq(result.code, 3);
		cr_assert_gt(result.len_bytes, 200);
		cr_assert_eq(strspn(result.data, "x"), result.len_bytes);
		/* it still works */
		submit(3, ECHO, 0);
		collect_ok(3);
		stop();
	}
}

/* What is got next, of so many bytes, was used before. */
static void soil_heap(size_t from, size_t to)
{
	void *p[100];
	size_t n = 0;

	for (; from < to; from += 8) {
		p[n] = malloc(from);
		memset(p[n++], 'x', from);
	}
	while (n)
		free(p[--n]);
}

Test(coord, an_error_arrives_though_no_cell_is_free_for_its_text)
{
	struct bus_config c = t_config();
	struct bus_queue *all;
	char byte[100];

	bus_close(bus);
	c.max_message_bytes = 256;
	c.blob_bytes = 5 * 256;
	bus = t_bus_with(NULL, &c);
	all = t_queue(bus, "all", 1024, 8, 0);
	while (!bus_queue_put(all, byte, 100, 0))
		;
	start(1);
	submit(1, FAIL_LONG, 4);
	collect(1);
	cr_assert_eq(result.kind, BUS_RESULT_ERROR);
	cr_assert_eq(result.code, 4);
	cr_assert_eq(result.len_bytes, 0);
	/* in the last one: the caller gets a copy, which ends as the text does */
	soil_heap(200, 300);
	cr_assert_eq(bus_queue_get(all, byte, 100, NULL, 0), 0);
	submit(3, FAIL_LONG, 4);
	collect(3);
	cr_assert_gt(result.len_bytes, 200);
	cr_assert_eq(strlen(result.data), result.len_bytes);
	cr_assert_eq(bus_queue_abort(all), 0);
	submit(2, FAIL_LONG, 4);
	collect(2);
	cr_assert_gt(result.len_bytes, 200);
	stop();
}

/* One cell is free where two are needed: to take it and give it back would wake
 * us ourselves, again and again. */
Test(coord, who_waits_for_two_cells_sleeps)
{
	struct bus_coord_config c = settings(1);
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	char *large = calloc(1, T_MESSAGE_MAX);
	uint64_t n_parks;

	c.result_bytes = T_MESSAGE_MAX;
	start_with(&c);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(bus_queue_put(q, large, T_MESSAGE_MAX, 0), 0);
	n_parks = t_stats(bus).n_parks;
	cr_assert_eq(bus_submit(coord, 1, large, T_MESSAGE_MAX, 300 * MS),
		     -ETIMEDOUT);
	n_parks = t_stats(bus).n_parks - n_parks;
	cr_assert_lt(n_parks, 50, "%d", (int)n_parks);
	cr_assert_eq(bus_queue_get(q, large, T_MESSAGE_MAX, NULL, 0), 0);
	cr_assert_eq(bus_submit(coord, 1, large, T_MESSAGE_MAX, T_LONG), 0);
	collect(1);
	cr_assert_eq(bus_queue_abort(q), 0);
	free(large);
	stop();
}

/* A text lies in a cell that any peer can write to, and so can take away the 0
 * at its end, before we have seen it and after. */
Test(coord, a_text_ends_whatever_a_peer_writes_into_its_cell)
{
	struct bus_poll item = { .kind = BUS_POLL_COORD,
				 .events = BUS_POLL_IN };
	const struct sb_blob *blob = &bus->blob;
	uint32_t n = 0;

	start(1);
	item.on.coord = coord;
	submit(1, FAIL_LONG, 5);
	cr_assert_eq(bus_wait(bus, &item, 1, T_LONG), 1);
	while (n < blob->n_cells &&
	       sb_blob_cell_bytes(blob, n) == sb_blob_cell_bytes(blob, 0))
		n++;
	memset(sb_blob_data(blob, 0), 'y', n * sb_blob_cell_bytes(blob, 0));
	collect(1);
	cr_assert_eq(result.kind, BUS_RESULT_ERROR);
	cr_assert_gt(result.len_bytes, 200);
	memset(sb_blob_data(blob, 0), 'z', n * sb_blob_cell_bytes(blob, 0));
	cr_assert_eq(strlen(result.data), result.len_bytes);
	cr_assert_eq(strspn(result.data, "y"), result.len_bytes);
	stop();
}

/*
 * A worker of the last crew that could not be killed, as it is another user by
 * now, may take one of the new crew's requests before it sees whose the ring
 * is.  Until it gives it back there is nothing to see of that; but one worker
 * alone answers in order no more.
 */
Test(coord, a_stale_worker_does_not_hide_what_others_have_done)
{
	struct sb_ring_end end;
	struct bus_channel *c;
	struct bus *stale;
	uint64_t pos;
	pid_t worker;

	start(1);
	stop();
	start(1);
	cr_assert_eq(bus_attach(bus, &stale), 0);
	cr_assert_eq(bus_channel_attach(stale, 0, &c, &end), 0);
	cr_assert_eq(bus_coord_workers(coord, &worker, 1), 1);
	/* as if the last one's worker lived: then nobody has died */
	st_rlx(&end.ring->gen, 1);
	kill(worker, SIGSTOP);
	submit(1, ECHO, 0);
	cr_assert_eq(sb_ring_take(&end, 1, true, &pos), 1);
	submit(2, ECHO, 0);
	kill(worker, SIGCONT);
	cr_assert_eq(bus_collect_any(coord, &result, T_LONG / 10), 0);
	cr_assert_eq(result.id, 2);
	submit(3, ECHO, 0);
	cr_assert_eq(bus_collect_many_any(coord, &result, 1, T_LONG / 10), 1);
	cr_assert_eq(result.id, 3);
	sb_ring_give_back(&end, pos);
	sb_wake(&c->rx, &stale->bells, 1);
	collect_ok(1);
	bus_close(stale);
	stop();
}

Test(coord, errors_that_were_stashed_keep_their_text)
{
	struct bus_coord_config c = settings(1);

	c.window = 2;
	start_with(&c);
	for (uint64_t i = 0; i < 20; i++)
		submit(i, FAIL_LONG, (int32_t)i + 1);
	for (uint64_t i = 0; i < 20; i++) {
		collect(i);
		cr_assert_eq(result.kind, BUS_RESULT_ERROR);
		cr_assert_eq(result.code, (int32_t)i + 1);
		cr_assert_gt(result.len_bytes, 200);
		cr_assert_eq(strlen(result.data), result.len_bytes);
	}
	stop();
}

/* The window -------------------------------------------------------------- */

Test(coord, a_full_window_says_eagain_or_stashes)
{
	struct bus_coord_config c = settings(2);

	c.window = 4;
	c.result_bytes = 3000;
	start_with(&c);
	for (uint64_t i = 0; i < 4; i++)
		submit(i, SIZE, (int32_t)i * 900);
	cr_assert_eq(bus_submit(coord, 9, "", 0, 0), -EAGAIN);
	for (uint64_t i = 4; i < 100; i++)
		submit(i, SIZE, (int32_t)i % 4 * 900);
	cr_assert_eq(bus_coord_outstanding(coord), 100);
	for (uint64_t i = 0; i < 100; i++) {
		collect_ok(i);
		cr_assert_eq(result.len_bytes, i % 4 * 900);
		cr_assert(t_is(result.data, result.len_bytes, 5));
	}
	stop();
}

static uint32_t n_listed(void)
{
	uint32_t n = 0;

	for (uint32_t i = coord->entry[0].next; i; i = coord->entry[i].next)
		n++;
	return n;
}

/* So what a submit looks through for an answer does not grow with them: the
 * list has no more than the window, and after it there is nothing. */
Test(coord, what_was_put_aside_is_not_passed_again)
{
	struct bus_coord_config c = settings(2);

	c.window = 4;
	start_with(&c);
	for (uint64_t i = 0; i < 5000; i++) {
		submit(i, ECHO, 0);
		cr_assert_leq(n_listed(), 4);
	}
	cr_assert_eq(bus_coord_outstanding(coord), 5000);
	for (uint64_t i = 0; i < 5000; i++)
		collect_ok(i);
	cr_assert_eq(bus_collect(coord, &result, 0), -ENODATA);
	stop();
}

static bool is_listed(uint64_t id)
{
	for (uint32_t i = coord->entry[0].next; i; i = coord->entry[i].next)
		if (coord->entry[i].id == id)
			return true;
	return false;
}

/* Put aside after younger ones: one to be in their middle, the other before
 * them all. */
Test(coord, slow_ones_are_put_aside_at_their_place)
{
	_Atomic uint32_t *gate = t_shared(4096);
	struct bus_coord_config c = settings(3);
	uint64_t n;

	c.window = 8;
	c.ctx = (void *)gate;
	start_with(&c);
	for (n = 0; n < 100; n++)
		submit(n, n == 0 || n == 50 ? GATED : ECHO, n ? 1 : 2);
	cr_assert(is_listed(0) && is_listed(50));
	cr_assert_eq(bus_collect(coord, &result, 0), -EAGAIN);
	cr_assert_eq(bus_collect(coord, &result, MS), -ETIMEDOUT);
	for (uint32_t open = 1; open <= 2; open++) {
		st_rel(gate, open);
		while (is_listed(open == 1 ? 50 : 0))
			submit(n++, ECHO, 0);
	}
	for (uint64_t i = 0; i < n; i++)
		collect_ok(i);
	cr_assert_eq(bus_collect(coord, &result, 0), -ENODATA);
	stop();
}

/* In order nothing comes before one that is at work, and any order has all that
 * was put aside. */
Test(coord, any_order_has_what_was_put_aside_behind_a_slow_one)
{
	_Atomic uint32_t *gate = t_shared(4096);
	struct bus_coord_config c = settings(2);
	uint64_t sum = 0;

	c.window = 4;
	c.ctx = (void *)gate;
	start_with(&c);
	submit(100, GATED, 1);
	for (uint64_t i = 0; i < 100; i++)
		submit(i, ECHO, 0);
	cr_assert_eq(bus_collect(coord, &result, 0), -EAGAIN);
	for (uint64_t i = 0; i < 100; i++) {
		cr_assert_eq(bus_collect_any(coord, &result, T_LONG), 0);
		sum += result.id;
	}
	cr_assert_eq(sum, 99 * 100 / 2);
	cr_assert_eq(bus_collect_any(coord, &result, 0), -EAGAIN);
	st_rel(gate, 1);
	collect_ok(100);
	stop();
}

static bool may_submit(void *arg)
{
	(void)arg;
	return bus_coord_ready(coord, BUS_POLL_OUT, true);
}

/* What was put aside is there to collect, and makes no room any more. */
Test(coord, what_was_put_aside_makes_no_room_twice)
{
	_Atomic uint32_t *gate = t_shared(4096);
	struct bus_coord_config c = settings(2);

	c.window = 4;
	c.ctx = (void *)gate;
	start_with(&c);
	for (uint64_t i = 0; i < 14; i++)
		submit(i, i < 10 ? ECHO : GATED, 1);
	cr_assert_eq(bus_coord_ready(coord, BUS_POLL_IN | BUS_POLL_OUT, true),
		     BUS_POLL_IN);
	cr_assert_eq(bus_submit(coord, 14, "", 0, 0), -EAGAIN);
	cr_assert_eq(bus_submit(coord, 14, "", 0, 5 * MS), -ETIMEDOUT);
	st_rel(gate, 1);
	cr_assert(t_eventually(may_submit, NULL, 10000));
	cr_assert_eq(bus_submit(coord, 14, "", 0, T_LONG), 0);
	for (uint64_t i = 0; i < 15; i++)
		collect_ok(i);
	stop();
}

Test(coord, a_full_window_of_busy_workers_times_out)
{
	struct bus_coord_config c = settings(1);

	c.window = 2;
	start_with(&c);
	submit(0, HANG, 0);
	submit(1, ECHO, 0);
	cr_assert_eq(bus_submit(coord, 2, "", 0, 0), -EAGAIN);
	cr_assert_eq(bus_submit(coord, 2, "", 0, 5 * MS), -ETIMEDOUT);
	cr_assert_eq(bus_coord_outstanding(coord), 2);
	cr_assert_eq(bus_coord_stop(coord, 10 * MS), -ETIMEDOUT);
	coord = NULL;
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
}

/* collect_any leaves holes in the ring, which the next requests skip. */
Test(coord, a_slow_request_does_not_hold_up_the_window)
{
	struct bus_coord_config c = settings(2);
	uint64_t sum = 0;

	c.window = 4;
	start_with(&c);
	submit(0, NAP, 50);
	for (uint64_t i = 1; i <= 500; i++) {
		cr_assert_eq(bus_submit(coord, i, "", 0, T_LONG), 0);
		cr_assert_eq(bus_collect_any(coord, &result, T_LONG), 0);
		cr_assert_eq(result.kind, BUS_RESULT_OK);
		sum += result.id;
	}
	collect_ok((uint64_t)500 * 501 / 2 - sum);
	stop();
}

Test(coord, a_stream_longer_than_the_window)
{
	struct bus_coord_config c = settings(3);
	uint64_t next = 0;

	c.window = 16;
	c.result_bytes = 2000;
	start_with(&c);
	for (uint64_t i = 0; i < 3000; i++) {
		while (bus_coord_outstanding(coord) >= 16) {
			collect_ok(next);
			cr_assert(t_is(result.data, result.len_bytes, 5));
			next++;
		}
		submit(i, SIZE, (int32_t)(i * 37 % 2000));
	}
	while (next < 3000)
		collect_ok(next++);
	stop();
}

/* Requests and results that need more cells than there are. */
Test(coord, submit_waits_for_cells)
{
	struct bus_coord_config c = settings(2);
	static unsigned char buf[T_MESSAGE_MAX];

	c.result_bytes = T_MESSAGE_MAX;
	start_with(&c);
	for (uint64_t i = 0; i < 40; i++)
		cr_assert_eq(bus_submit(coord, i, buf, sizeof(buf), T_LONG), 0);
	for (uint64_t i = 0; i < 40; i++) {
		collect_ok(i);
		cr_assert_eq(result.len_bytes, sizeof(buf));
	}
	stop();
}

/* Death ------------------------------------------------------------------- */

Test(coord, a_poison_request_is_given_up_and_the_others_are_not)
{
	static const uint32_t attempts[] = { 1, 2, 3, 7 };

	for (size_t k = 0; k < lengthof(attempts); k++) {
		struct bus_coord_config c = settings(2);

		c.max_attempts = attempts[k];
		start_with(&c);
		for (uint64_t i = 0; i < 30; i++)
			submit(i, i == 10 ? DIE : ECHO, (int32_t)i);
		for (uint64_t i = 0; i < 30; i++) {
			struct order o;

			if (i != 10) {
				collect_ok(i);
				continue;
			}
			collect(i);
			cr_assert_eq(result.kind, BUS_RESULT_DEATH);
			cr_assert_eq(result.code, -EOWNERDEAD);
			cr_assert_eq(result.attempts, attempts[k]);
			cr_assert_gt(result.pid, 0);
			cr_assert_eq(result.signal, SIGKILL);
			cr_assert_eq(result.exit_status, -1);
			cr_assert_eq(result.len_bytes, sizeof(o));
			memcpy(&o, result.data, sizeof(o));
			cr_assert_eq(o.what, DIE);
			cr_assert_eq(o.n, 10);
		}
		stop();
	}
	cr_assert_eq(t_stats(bus).n_quarantined, lengthof(attempts));
}

Test(coord, the_payload_of_a_large_poison_request_is_kept)
{
	struct bus_coord_config c = settings(2);
	static unsigned char buf[5000];
	struct order o = { DIE, 1 };

	c.result_bytes = 3000;
	start_with(&c);
	t_fill(buf, sizeof(buf), 3);
	memcpy(buf, &o, sizeof(o));
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_submit(coord, 1, buf, sizeof(buf), T_LONG), 0);
		collect(1);
		cr_assert_eq(result.kind, BUS_RESULT_DEATH);
		cr_assert_eq(result.len_bytes, sizeof(buf));
		cr_assert_eq(memcmp(result.data, buf, sizeof(buf)), 0);
	}
	stop();
}

Test(coord, a_poison_request_that_was_stashed_keeps_all)
{
	struct bus_coord_config c = settings(1);

	c.window = 2;
	start_with(&c);
	for (uint64_t i = 0; i < 10; i++)
		submit(i, i == 0 ? DIE : ECHO, 7);
	collect(0);
	cr_assert_eq(result.kind, BUS_RESULT_DEATH);
	cr_assert_eq(result.signal, SIGKILL);
	cr_assert_eq(result.attempts, 3);
	cr_assert_eq(((const struct order *)result.data)->n, 7);
	for (uint64_t i = 1; i < 10; i++)
		collect_ok(i);
	stop();
}

Test(coord, only_poison)
{
	start(4);
	for (uint64_t i = 0; i < 16; i++)
		submit(i, DIE, 0);
	for (uint64_t i = 0; i < 16; i++) {
		collect(i);
		cr_assert_eq(result.kind, BUS_RESULT_DEATH);
		cr_assert_gt(result.pid, 0);
		cr_assert_eq(result.signal, SIGKILL);
	}
	submit(1, ECHO, 0);
	collect_ok(1);
	stop();
}

Test(coord, exit_in_a_handler_counts_as_death)
{
	start(2);
	for (int32_t status = 0; status < 3; status++) {
		submit(1, LEAVE, status);
		collect(1);
		cr_assert_eq(result.kind, BUS_RESULT_DEATH);
		cr_assert_eq(result.signal, 0);
		cr_assert_eq(result.exit_status, status);
		cr_assert_eq(result.attempts, 3);
		cr_assert_gt(result.pid, 0);
	}
	stop();
}

Test(coord, a_request_that_kills_some_is_answered_in_the_end)
{
	start(2);
	for (int32_t n = 0; n < 3; n++) {
		submit((uint64_t)n, DIE_ONCE, n);
		collect_ok((uint64_t)n);
		cr_assert_eq(result.attempts, (uint32_t)n);
		cr_assert_eq(result.len_bytes, sizeof(struct order));
	}
	submit(9, ATTEMPTS, 0);
	collect_ok(9);
	cr_assert_eq(*(const int *)result.data, 0);
	stop();
}

static bool two_live(void *arg)
{
	return bus_coord_workers(coord, arg, 2) == 2;
}

Test(coord, a_worker_that_is_killed_idle_is_replaced)
{
	pid_t pids[2] = { 0 };

	start(2);
	for (int i = 0; i < 10; i++) {
		cr_assert(t_eventually(two_live, pids, 10000));
		cr_assert_eq(kill(pids[i % 2], SIGKILL), 0);
		submit(1, PID, 0);
		collect_ok(1);
	}
	cr_assert(t_eventually(two_live, pids, 10000));
	cr_assert_eq(bus_coord_workers(coord, NULL, 0), 2);
	stop();
	cr_assert_eq(kill(pids[0], 0), -1);
	cr_assert_eq(kill(pids[1], 0), -1);
}

static bool all_new(void *arg)
{
	const pid_t *old = arg;
	pid_t now[2];

	return bus_coord_workers(coord, now, 2) == 2 && now[0] != old[0] &&
	       now[0] != old[1] && now[1] != old[0] && now[1] != old[1];
}

/* Also for somebody who only asks how many there are. */
Test(coord, asking_for_the_workers_replaces_the_dead)
{
	pid_t old[2];

	start(2);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_coord_workers(coord, old, 2), 2);
		kill(old[0], SIGKILL);
		kill(old[1], SIGKILL);
		cr_assert(t_eventually(all_new, old, 10000));
	}
	stop();
}

/* Never blocks: it must find the death nevertheless. */
Test(coord, who_only_tries_gets_his_results_too)
{
	pid_t pid;
	int ret;

	start(1);
	for (uint64_t i = 0; i < 5; i++) {
		uint64_t end = sb_now_ns() + (uint64_t)T_LONG;
		struct order o = { NAP, 20 };

		cr_assert_eq(bus_submit(coord, i, &o, sizeof(o), 0), 0);
		cr_assert_eq(bus_coord_workers(coord, &pid, 1), 1);
		kill(pid, SIGKILL);
		while ((ret = bus_collect(coord, &result, 0)) == -EAGAIN)
			cr_assert_lt(sb_now_ns(), end);
		cr_assert_eq(ret, 0);
		cr_assert_eq(result.kind, BUS_RESULT_OK);
	}
	stop();
}

static int without_uring(void *arg)
{
	(void)arg;
	if (t_deny_io_uring(EPERM))
		return T_SKIP;
	bus_close(bus);
	bus = t_bus();
	T_CHECK(bus_check(bus) == 0);
	start(2);
	T_CHECK(!strcmp(t_stats(bus).wait, "futex"));
	for (int i = 0; i < 5; i++) {
		struct order o = { DIE, 0 };

		T_CHECK(!bus_submit(coord, 1, &o, sizeof(o), T_LONG));
		T_CHECK(!bus_submit(coord, 2, "", 0, T_LONG));
		T_CHECK(!bus_collect(coord, &result, T_LONG));
		T_CHECK(result.kind == BUS_RESULT_DEATH);
		T_CHECK(result.signal == SIGKILL && result.pid > 0);
		T_CHECK(!bus_collect(coord, &result, T_LONG));
		T_CHECK(result.kind == BUS_RESULT_OK && result.id == 2);
	}
	T_CHECK(bus_coord_stop(coord, T_LONG) == 0);
	bus_close(bus);
	return 0;
}

Test(coord, deaths_are_seen_without_io_uring)
{
	t_join_or_skip(t_fork(without_uring, NULL), "no seccomp here");
}

Test(coord, every_back_end_and_spin_sees_deaths)
{
	for (uint32_t wait = 0; wait <= BUS_WAIT_FUTEX; wait++) {
		if (wait == BUS_WAIT_URING && t_rings_are_few())
			continue;
		for (uint32_t spin = 0; spin <= BUS_SPIN_NEVER; spin++) {
			struct bus_config c = t_config();

			bus_close(bus);
			c.wait = wait;
			c.spin = spin;
			if (bus_create(NULL, &c, &bus)) {
				cr_assert_eq(wait, BUS_WAIT_URING);
				bus = t_bus();
				continue;
			}
			start(2);
			submit(1, DIE, 0);
			submit(2, ECHO, 0);
			collect(1);
			cr_assert_eq(result.kind, BUS_RESULT_DEATH);
			collect_ok(2);
			stop();
		}
	}
}

/* A handler that has a text ready in a cell and dies: the cell must not stay.
 */
static int text_then_die(void *ctx, const void *req, size_t len,
			 struct bus_reply *r)
{
	struct bus *mine = bus; /* of this process: the worker's */
	uint32_t cell;

	(void)ctx, (void)req, (void)len;
	if (bus_reply_attempts(r) == 0) {
		T_CHECK(sb_blob_claim(&mine->blob, 200, &cell) == 0);
		/* as put_text() does: handed to position 0, then killed */
		sb_blob_hand(&mine->blob, cell, 0, 0);
		kill(getpid(), SIGKILL);
	}
	return bus_reply_put(r, "ok", 2);
}

Test(coord, cells_that_dead_workers_left_are_freed_with_the_request)
{
	static unsigned char large[3000];

	for (size_t n = 10; n <= 3000; n *= 300) {
		struct bus_coord_config c = settings(1);

		bus_close(bus);
		bus = t_bus();
		c.handler = text_then_die;
		start_with(&c);
		cr_assert_eq(bus_submit(coord, 1, large, n, T_LONG), 0);
		collect_ok(1);
		cr_assert_eq(result.attempts, 1);
		cr_assert_eq(bus_collect(coord, &result, 0), -ENODATA);
		cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
		stop();
	}
}

/* Workers that cannot work ------------------------------------------------ */

static int init_fails(void *ctx)
{
	add_acqrel((_Atomic uint32_t *)ctx, 1);
	return 1;
}

Test(coord, workers_whose_init_fails_are_not_started_for_ever)
{
	_Atomic uint32_t *n = t_shared(4096);

	for (uint32_t workers = 1; workers <= 4; workers *= 4) {
		struct bus_coord_config c = settings(workers);
		uint64_t start_ns = sb_now_ns();

		c.init = init_fails;
		c.ctx = (void *)n;
		st_rlx(n, 0);
		start_with(&c);
		submit(1, ECHO, 0);
		cr_assert_eq(bus_collect(coord, &result, T_LONG), -ECHILD);
		cr_assert_eq(bus_collect_any(coord, &result, 0), -ECHILD);
		cr_assert_lt(sb_now_ns() - start_ns, 10 * SB_NS_PER_S);
		cr_assert_lt(ld_rlx(n), 10 + 10 * workers);
		cr_assert_eq(bus_coord_outstanding(coord), 1);
		cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
		coord = NULL;
	}
}

/* Not even while there is room. */
Test(coord, broken_workers_are_given_nothing)
{
	_Atomic uint32_t *n = t_shared(4096);
	struct bus_coord_config c = settings(1);
	static const char large[1000];
	const uint64_t ids[3] = { 2, 3, 4 };

	c.init = init_fails;
	c.ctx = (void *)n;
	start_with(&c);
	submit(1, ECHO, 0);
	cr_assert_eq(bus_collect(coord, &result, T_LONG), -ECHILD);
	cr_assert_eq(bus_submit(coord, 2, "", 0, 0), -ECHILD);
	cr_assert_eq(bus_submit(coord, 2, "", 0, -1), -ECHILD);
	cr_assert_eq(bus_submit(coord, 2, large, 1000, MS), -ECHILD);
	cr_assert_eq(bus_submit_many(coord, ids, large, 8, 3, 0), -ECHILD);
	cr_assert_eq(bus_submit_many(coord, ids, large, 8, 3, -1), -ECHILD);
	cr_assert_eq(bus_submit_many(coord, ids, large, 300, 3, -1), -ECHILD);
	cr_assert_eq(bus_coord_outstanding(coord), 1);
	stop();
}

/* The fifth one takes a while before it fails. */
static int init_fails_slowly(void *ctx)
{
	if (add_acqrel((_Atomic uint32_t *)ctx, 1) == 4)
		nanosleep(&(struct timespec){ 1, 100 * MS }, NULL);
	return 1;
}

Test(coord, workers_whose_init_fails_late_are_not_started_for_ever)
{
	_Atomic uint32_t *n = t_shared(4096);
	struct bus_coord_config c = settings(1);

	c.init = init_fails_slowly;
	c.ctx = (void *)n;
	start_with(&c);
	submit(1, ECHO, 0);
	cr_assert_eq(bus_collect(coord, &result, T_LONG), -ECHILD);
	cr_assert_eq(ld_rlx(n), 10);
}

struct pitiful {
	_Atomic uint32_t gate; /* the handler's */
	_Atomic uint32_t n_started;
};

/* The first of them works, the others fail. */
static int init_fails_but_once(void *ctx)
{
	struct pitiful *p = ctx;

	return add_acqrel(&p->n_started, 1) != 0;
}

static bool one_is_left(void *arg)
{
	(void)arg;
	return bus_coord_workers(coord, NULL, 0) == 1;
}

/* Not a word of the freed coordinator may be used afterwards (ASan), nor may
 * the worker that did work stay. */
Test(coord, stop_while_some_workers_are_hopeless_and_one_is_busy)
{
	struct pitiful *p = t_shared(4096);
	struct bus_coord_config c = settings(4);
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	uint64_t v;
	int n_fds;

	bus_queue_get(q, &v, 8, NULL, 1000);
	n_fds = t_count_fds();
	c.init = init_fails_but_once;
	c.ctx = p;
	start_with(&c);
	submit(1, HANG, 0);
	while (bus_collect(coord, &result, T_LONG) != -ECHILD)
		;
	cr_assert(t_eventually(one_is_left, NULL, 10000));
	cr_assert_eq(bus_coord_stop(coord, 20 * MS), -ETIMEDOUT);
	coord = NULL;
	cr_assert_leq(t_count_fds(), n_fds + 1);
	cr_assert_eq(bus_queue_get(q, &v, 8, NULL, 20 * MS), -ETIMEDOUT);
}

/* There is one who can, so the stop waits for it as for any. */
Test(coord, stop_of_broken_workers_finishes_what_was_submitted)
{
	struct pitiful *p = t_shared(4096);
	struct bus_coord_config c = settings(4);

	c.init = init_fails_but_once;
	c.ctx = p;
	start_with(&c);
	submit(1, GATED, 1);
	for (uint64_t i = 2; i < 6; i++)
		submit(i, NAP, 5);
	while (bus_collect(coord, &result, T_LONG) != -ECHILD)
		;
	cr_assert_eq(bus_coord_outstanding(coord), 5);
	st_rel(&p->gate, 1);
	stop();
	cr_assert_eq(t_stats(bus).n_got, 5); /* each was run */
}

/* Stop and start again ---------------------------------------------------- */

Test(coord, stop_finishes_what_was_submitted)
{
	start(2);
	for (uint64_t i = 0; i < 20; i++)
		submit(i, NAP, 2);
	stop();
	cr_assert_eq(t_stats(bus).n_got, 20); /* each was run */
}

Test(coord, stop_kills_those_who_take_too_long)
{
	pid_t pids[3];

	start(3);
	for (uint64_t i = 0; i < 5; i++)
		submit(i, HANG, 0);
	cr_assert_eq(bus_coord_workers(coord, pids, 3), 3);
	cr_assert_eq(bus_coord_stop(coord, 30 * MS), -ETIMEDOUT);
	coord = NULL;
	for (int i = 0; i < 3; i++)
		cr_assert_eq(kill(pids[i], 0), -1);
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
}

static void on_alarm(int sig)
{
	(void)sig;
}

Test(coord, signals_do_not_put_off_the_end_of_stop)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct bus_config c = t_config();
	uint64_t start_ns;

	bus_close(bus);
	c.flags = BUS_F_EINTR;
	bus = t_bus_with(NULL, &c);
	start(1);
	submit(1, HANG, 0);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	start_ns = sb_now_ns();
	cr_assert_eq(bus_coord_stop(coord, 300 * MS), -ETIMEDOUT);
	coord = NULL;
	setitimer(ITIMER_REAL, &never, NULL);
	cr_assert_lt(sb_now_ns() - start_ns, 20 * SB_NS_PER_S);
}

/* Whatever was left in it, the name and the ring can be used again. */
Test(coord, a_coordinator_can_be_started_again)
{
	struct bus_coord_config c = settings(2);
	static unsigned char large[5000];

	c.result_bytes = 2000;
	for (uint64_t i = 0; i < 200; i++) {
		start_with(&c);
		submit(1, i % 4 ? SIZE : DIE_ONCE, 1);
		collect_ok(1);
		if (i % 4 >= 2)
			submit(2, i % 8 > 4 ? HANG : DIE, 0);
		if (i % 4 == 3) {
			cr_assert_eq(bus_submit(coord, 3, large, sizeof(large),
						T_LONG),
				     0);
			submit(4, HANG, 0);
			submit(5, ECHO, 0);
		}
		bus_coord_stop(coord, i % 8 > 4 ? 5 * MS : 50 * MS);
		coord = NULL;
		cr_assert_eq(t_stats(bus).blob_bytes_used, 0, "%d", (int)i);
		cr_assert_eq(t_stats(bus).n_channels, 1, "%d", (int)i);
	}
	cr_assert_eq(t_stats(bus).n_endpoints, 1);
}

Test(coord, several_coordinators_on_one_bus)
{
	struct bus_coord_config c = settings(1);
	struct bus_coord *co[5];
	char name[2] = "a";

	for (int i = 0; i < 5; i++, name[0]++)
		cr_assert_eq(bus_coord_start(bus, name, &c, &co[i]), 0);
	for (uint64_t k = 0; k < 100; k++) {
		for (int i = 0; i < 5; i++)
			cr_assert_eq(bus_submit(co[i], k, "abc", 3, T_LONG), 0);
		for (int i = 0; i < 5; i++) {
			cr_assert_eq(bus_collect(co[i], &result, T_LONG), 0);
			cr_assert_eq(result.id, k);
			cr_assert_eq(memcmp(result.data, "abc", 3), 0);
		}
	}
	for (int i = 0; i < 5; i++)
		cr_assert_eq(bus_coord_stop(co[i], T_LONG), 0);
}

/* Processes --------------------------------------------------------------- */

static int use_parents(void *arg)
{
	pid_t pid = 0;

	(void)arg;
	T_CHECK(bus_submit(coord, 1, "x", 1, 0) == -EINVAL);
	T_CHECK(bus_collect(coord, &result, 0) == -EINVAL);
	T_CHECK(bus_collect_any(coord, &result, -1) == -EINVAL);
	T_CHECK(bus_coord_workers(coord, &pid, 1) <= 0 && pid == 0);
	T_CHECK(bus_coord_stop(coord, -1) == 0);
	bus_close(bus);
	return 0;
}

static int start_own(void *arg)
{
	struct bus_coord_config c = settings(2);
	struct bus_coord *mine;

	(void)arg;
	T_CHECK(bus_coord_start(bus, "mine", &c, &mine) == 0);
	for (uint64_t i = 0; i < 50; i++) {
		T_CHECK(bus_submit(mine, i, "abc", 3, T_LONG) == 0);
		T_CHECK(bus_collect(mine, &result, T_LONG) == 0);
		T_CHECK(result.id == i && result.kind == BUS_RESULT_OK);
	}
	T_CHECK(bus_coord_stop(mine, T_LONG) == 0);
	bus_close(bus);
	return 0;
}

/* Its first call there: the waiter still knows of what that frees. */
static int stop_parents(void *arg)
{
	(void)arg;
	T_CHECK(bus_coord_stop(coord, -1) == 0);
	bus_close(bus);
	return 0;
}

Test(coord, a_child_can_free_its_copy_first)
{
	start(2);
	t_join(t_fork(stop_parents, NULL));
	stop();
}

Test(coord, a_child_cannot_use_its_parents_coordinator)
{
	start(2);
	submit(1, ECHO, 0);
	t_join(t_fork(use_parents, NULL));
	t_join(t_fork(start_own, NULL));
	collect_ok(1);
	submit(2, ECHO, 0);
	collect_ok(2);
	stop();
}

static int sum_of_queue(void *ctx, const void *req, size_t len,
			struct bus_reply *r)
{
	struct bus_queue *q = ctx;
	uint64_t v;

	(void)req, (void)len;
	if (bus_queue_get(q, &v, 8, NULL, T_LONG))
		return 1;
	return bus_reply_put(r, &v, 8);
}

Test(coord, a_handler_may_use_the_bus)
{
	struct bus_queue *q = t_queue(bus, "q", 8, 8, 0);
	struct bus_coord_config c = settings(2);
	uint64_t sum = 0;

	c.handler = sum_of_queue;
	c.ctx = q;
	start_with(&c);
	for (uint64_t i = 0; i < 50; i++)
		cr_assert_eq(bus_submit(coord, i, "", 0, T_LONG), 0);
	for (uint64_t i = 0; i < 50; i++)
		cr_assert_eq(t_put_u64(q, i, T_LONG), 0);
	for (uint64_t i = 0; i < 50; i++) {
		uint64_t v;

		collect_ok(i);
		memcpy(&v, result.data, 8);
		sum += v;
	}
	cr_assert_eq(sum, 49 * 25);
	stop();
}

struct crew {
	struct t_gate ready;
	_Atomic int n;
	_Atomic int pid[4];
};

static int coordinate(void *arg)
{
	struct crew *crew = arg;
	pid_t pids[4];
	int n;

	start(4);
	for (uint64_t i = 0; i < 4; i++)
		submit(i, i % 2 ? HANG : ECHO, 0);
	n = bus_coord_workers(coord, pids, 4);
	for (int i = 0; i < n; i++)
		st_rlx(&crew->pid[i], pids[i]);
	st_rel(&crew->n, n);
	t_gate_open(&crew->ready);
	pause();
	return 0;
}

static bool all_gone(void *arg)
{
	struct crew *crew = arg;

	for (int i = 0; i < 4; i++) {
		struct sb_proc_id id = { (uint32_t)ld_rlx(&crew->pid[i]), 0 };

		if (!sb_proc_dead(id))
			return false;
	}
	return true;
}

Test(coord, workers_end_with_their_coordinator)
{
	struct crew *crew = t_shared(sizeof(*crew));
	uint64_t killed_ns;
	pid_t child;

	t_gate_init(&crew->ready);
	for (int i = 0; i < 3; i++) {
		child = t_fork(coordinate, crew);
		t_gate_wait(&crew->ready);
		cr_assert_eq(ld_acq(&crew->n), 4);
		killed_ns = sb_now_ns();
		t_kill(child);
		cr_assert(t_eventually(all_gone, crew, 10000));
		/* 100 ms is the promise; not on a machine that is busy */
		if (sb_now_ns() - killed_ns > 100 * MS)
			fprintf(stderr, "workers lived on for %d ms\n",
				(int)((sb_now_ns() - killed_ns) / MS));
		bus_reap(bus);
		cr_assert_eq(t_stats(bus).n_endpoints, 1);
	}
}

/* A coordinator that was killed leaves its name to the next. */
Test(coord, the_name_of_a_killed_coordinator_is_free)
{
	struct crew *crew = t_shared(sizeof(*crew));

	t_gate_init(&crew->ready);
	for (int i = 0; i < 10; i++) {
		pid_t child = t_fork(coordinate, crew);

		t_gate_wait(&crew->ready);
		t_kill(child);
		cr_assert(t_eventually(all_gone, crew, 10000));
		start(2);
		submit(1, ECHO, 0);
		collect_ok(1);
		stop();
	}
	/* its workers may have lived a little longer, in the old ring */
	cr_assert_leq(t_stats(bus).n_channels, 2);
}

/* Statistics -------------------------------------------------------------- */

Test(coord, counts_add_up)
{
	struct bus_stats s;

	start(3);
	for (uint64_t i = 0; i < 50; i++)
		submit(i, i < 2 ? DIE : i < 5 ? FAIL_SILENT : ECHO, 1);
	for (uint64_t i = 0; i < 50; i++)
		collect(i);
	stop();
	s = t_stats(bus);
	/* 50 requests and 48 answers; the others ended by a death */
	cr_assert_eq(s.n_put, 98);
	/* 50 results; 48 requests run to the end and 2 that killed 3 each */
	cr_assert_eq(s.n_got, 50 + 48 + 6);
	cr_assert_eq(s.n_quarantined, 2);
	cr_assert_geq(s.n_redelivered, 4);
	cr_assert_geq(s.n_deaths, 6);
	cr_assert_eq(s.n_endpoints, 1);
	cr_assert_eq(s.n_rejected, 0);
}

/* Hostile memory ---------------------------------------------------------- */

struct liar {
	struct sb_ring_end end;
	uint64_t seq;
	uint32_t words[3];
};

/* A worker that answers what it wants, and waits to be killed. */
static int lie(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	struct liar *liar = ctx;
	struct sb_ring_end *end = &liar->end;
	struct bus_channel *c;
	uint64_t pos;
	unsigned char *slot;

	(void)len, (void)r;
	T_CHECK(bus_channel_attach(bus, 0, &c, end) == 0);
	/* where the request is tells which position it is */
	for (pos = 0;; pos += SB_POS_ONE) {
		slot = sb_ring_slot(end, pos)->data;
		if ((const unsigned char *)req >= slot &&
		    (const unsigned char *)req < slot + end->payload_bytes)
			break;
	}
	pos = SB_POS(ld_rlx(&sb_ring_slot(end, pos)->seq));
	memcpy(slot + 16, liar->words, sizeof(liar->words) - 4);
	memcpy(slot, &liar->words[2], 4);
	st_rel(&sb_ring_slot(end, pos)->seq, pos | liar->seq | SB_DONE);
	fence_seqcst();
	sb_wake_all(&c->done, &bus->bells);
	pause();
	return 0;
}

Test(coord, nonsense_in_an_answer_is_an_error_of_that_request)
{
	static const struct liar lies[] = {
		{ .seq = (SB_LEN_MAX - 1) << 4 },
		{ .seq = 1000 << 4 },
		{ .seq = SB_FLAG_BLOB },
		{ .seq = SB_FLAG_BLOB, .words = { 1, 2, 3 } },
		{ .seq = SB_FLAG_QUAR | 4000 << 4 },
		{ .seq = SB_FLAG_QUAR | SB_FLAG_BLOB },
		{ .seq = SB_LEN_MAX << 4, .words = { 5, 77, 0 } },
		{ .seq = SB_LEN_MAX << 4, .words = { 5, UINT32_MAX, 0 } },
	};

	for (size_t i = 0; i < lengthof(lies); i++) {
		struct bus_coord_config c = settings(1);
		struct liar liar = lies[i];

		bus_close(bus);
		bus = t_bus();
		c.handler = lie;
		c.ctx = &liar;
		start_with(&c);
		submit(1, ECHO, 0);
		collect(1);
		cr_assert_eq(result.kind, BUS_RESULT_ERROR, "%zu", i);
		cr_assert_eq(result.code, -EPROTO, "%zu", i);
		cr_assert_eq(t_stats(bus).n_rejected, 1);
		bus_coord_stop(coord, 0);
		coord = NULL;
	}
}

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Somebody writes garbage while requests run.  Any call may fail, none may
 * crash or take for ever. */
static int fuzz(void *arg)
{
	uint64_t seed = 88172645463325252u + (uintptr_t)arg * 104729;
	static unsigned char buf[3000];

	bus_close(bus);
	for (int round = 0; round < 12; round++) {
		struct bus_coord_config c = settings(2);
		unsigned char *base;
		uint64_t bytes;

		bus = t_bus();
		c.window = 8;
		c.result_bytes = rnd(&seed) % 2 ? 0 : 2000;
		T_CHECK(bus_coord_start(bus, "c", &c, &coord) == 0);
		base = (unsigned char *)bus->map->seg.base + bus->map->off.chan;
		bytes = bus->map->dir[0].bytes;
		for (int i = 0; i < 60; i++) {
			size_t len = rnd(&seed) % 8 ? 8 : rnd(&seed) % 3000;

			memset(buf, 0, 8);
			bus_submit(coord, (uint64_t)i, buf, len,
				   rnd(&seed) % 2 ? 0 : MS);
			if (rnd(&seed) % 2) {
				uint64_t *w =
					(void *)(base +
						 rnd(&seed) % (bytes / 8) * 8);

				*w = rnd(&seed) % 2
					     ? rnd(&seed)
					     : *w ^ UINT64_C(1) << rnd(&seed) %
									   64;
			}
			rnd(&seed) % 2 ? bus_collect(coord, &result, MS)
				       : bus_collect_any(coord, &result, MS);
		}
		bus_coord_stop(coord, 5 * MS);
		bus_close(bus);
	}
	return 0;
}

Test(coord, garbage_in_shared_memory_does_no_harm)
{
	pid_t child[4];

	for (uintptr_t i = 0; i < lengthof(child); i++)
		child[i] = t_fork(fuzz, (void *)i);
	for (size_t i = 0; i < lengthof(child); i++)
		t_join(child[i]);
}
