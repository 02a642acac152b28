/*
 * test_coord_many.c - tests of bus/coord_many.c, and of prefetch; Criterion
 * suite "coord_many"
 *
 * A request says what the worker is to do; its rest is any bytes, which come
 * back.  Waits that could hang have a deadline, T_LONG, that only a hang
 * reaches.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "bus/coord.h"
#include "tests/bus/t_bus.h"

#define MS  1000000
#define MAX 256

enum what {
	ECHO,     /* the request */
	FAIL,     /* code n, a text */
	DIE,      /* SIGKILL */
	DIE_ONCE, /* SIGKILL the first n times */
	PID,      /* its pid, after n ms */
	ATTEMPTS, /* how many died on it */
	NAP,      /* n ms */
	BIG,      /* n bytes, t_fill */
	GATED     /* counted in board->n_begun; waits for the gate; n: before
		   * that it becomes somebody else, and so outlives its parent */
};

struct order {
	uint32_t what;
	int32_t n;
	uint64_t mark;
};

struct board {
	_Atomic uint32_t n_begun, gate, pid;
};

static struct board *board;
static struct bus *bus;
static struct bus_coord *coord;
static struct bus_result results[MAX];
static uint64_t ids[MAX];
static struct order orders[MAX];

static void setup(void)
{
	bus = t_bus();
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(board != MAP_FAILED);
	for (uint32_t i = 0; i < MAX; i++) {
		ids[i] = i;
		orders[i] = (struct order){ ECHO, 0, i * 3 + 1 };
	}
}

static void teardown(void)
{
	bus_coord_stop(coord, 0);
	bus_close(bus);
	st_rel(&board->gate, 1); /* for whoever outlives us */
	munmap(board, sizeof(*board));
}

TestSuite(coord_many, .init = setup, .fini = teardown, .timeout = 200.0);

static void nap(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * MS }, NULL);
}

static int handler(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	struct order o = { ECHO, 0, 0 };
	void *room;
	int i;

	(void)ctx;
	if (len >= sizeof(o))
		memcpy(&o, req, sizeof(o));
	switch (o.what) {
	case FAIL:
		bus_reply_error(r, "no");
		return o.n;
	case DIE_ONCE:
		if ((int)bus_reply_attempts(r) >= o.n)
			break;
		/* fall through */
	case DIE:
		kill(getpid(), SIGKILL);
		return 0;
	case PID:
		nap(o.n);
		i = getpid();
		return bus_reply_put(r, &i, sizeof(i));
	case ATTEMPTS:
		i = (int)bus_reply_attempts(r);
		return bus_reply_put(r, &i, sizeof(i));
	case NAP:
		nap(o.n);
		break;
	case BIG:
		room = bus_reply_room(r, (size_t)o.n);
		if (!room)
			return 99;
		t_fill(room, (size_t)o.n, o.mark);
		return 0;
	case GATED:
		if (o.n && (setresgid(65534, 65534, 65534) ||
			    setresuid(65534, 65534, 65534)))
			return 99;
		st_rel(&board->pid, (uint32_t)getpid());
		add_acqrel(&board->n_begun, 1);
		while (!ld_acq(&board->gate))
			nap(1);
		break;
	}
	return bus_reply_put(r, req, len);
}

static struct bus_coord_config settings(uint32_t n_workers, uint32_t prefetch)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = handler;
	c.n_workers = n_workers;
	c.prefetch = prefetch;
	c.window = 64;
	c.result_bytes = sizeof(struct order);
	return c;
}

static void start_with(const struct bus_coord_config *c)
{
	cr_assert_eq(bus_coord_start(bus, "c", c, &coord), 0);
}

static void start(uint32_t n_workers, uint32_t prefetch)
{
	struct bus_coord_config c = settings(n_workers, prefetch);

	start_with(&c);
}

static void stop(void)
{
	cr_assert_eq(bus_coord_stop(coord, T_LONG), 0);
	coord = NULL;
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
}

/* Submit orders @from up to @to, waiting for room. */
static void submit(uint32_t from, uint32_t to)
{
	while (from < to) {
		int n = bus_submit_many(coord, ids + from, orders + from,
					sizeof(*orders), to - from, T_LONG);

		cr_assert_gt(n, 0);
		from += (uint32_t)n;
	}
}

static void assert_echo(const struct bus_result *r)
{
	struct order o;

	cr_assert_eq(r->kind, BUS_RESULT_OK);
	cr_assert_eq(r->len_bytes, sizeof(o));
	memcpy(&o, r->data, sizeof(o));
	cr_assert_eq(o.mark, r->id * 3 + 1);
}

static uint32_t collect_some(uint32_t n, bool any)
{
	int ret = any ? bus_collect_many_any(coord, results, n, T_LONG)
		      : bus_collect_many(coord, results, n, T_LONG);

	cr_assert_gt(ret, 0);
	cr_assert_leq((uint32_t)ret, n);
	return (uint32_t)ret;
}

/* Arguments and limits ------------------------------------------------------
 */

/* Neither a window nor a caller's n says how much memory a call takes. */
Test(coord_many, who_asks_for_very_many_gets_a_bounded_number)
{
	enum { WINDOW = 32768, LEN = 128 };
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_config bc = t_config();
	struct bus_result *many = calloc(WINDOW, sizeof(*many));
	uint64_t *id = calloc(WINDOW, sizeof(*id));
	unsigned char *reqs = calloc(WINDOW, LEN);
	uint32_t n_sent = 0, n = 0;
	int ret;

	bus_close(bus);
	bc.channel_bytes = 16 << 20;
	bus = t_bus_with(NULL, &bc);
	c.handler = handler;
	c.n_workers = 1;
	c.window = WINDOW;
	c.request_bytes = c.result_bytes = LEN;
	cr_assert_eq(bus_coord_start(bus, "many", &c, &coord), 0);
	for (uint32_t i = 0; i < WINDOW; i++)
		id[i] = i;
	while (n_sent < WINDOW) {
		ret = bus_submit_many(coord, id + n_sent,
				      reqs + (size_t)n_sent * LEN, LEN,
				      WINDOW - n_sent, T_LONG);
		cr_assert_gt(ret, 0);
		n_sent += (uint32_t)ret;
	}
	/* all are done, so that as many as may come do */
	while (!sb_ring_answered(&coord->c.end,
				 (uint64_t)(WINDOW - 1) * SB_POS_ONE, id))
		nap(1);
	for (; n < WINDOW; n += (uint32_t)ret) {
		ret = bus_collect_many(coord, many, SIZE_MAX, T_LONG);
		cr_assert_gt(ret, 0);
		cr_assert_eq(many[0].id, n);
		cr_assert_eq(many[ret - 1].id, n + (uint32_t)ret - 1);
		cr_assert_leq((size_t)ret * LEN, 256u << 10);
	}
	cr_assert_leq((size_t)coord->n_room * coord->c.end.payload_bytes,
		      256u << 10);
	free(many);
	free(id);
	free(reqs);
}

/*
 * A worker that has just been forked looks for what is PENDING without being
 * told, and so may find it while the recovery that wrote it, of another
 * process, has not come to change gen.
 */
static void hand_over_without_gen(struct bus *other, uint32_t what)
{
	struct sb_ring_end dead, fresh;
	struct bus_channel *c;
	uint64_t pos;

	orders[0].what = what;
	submit(0, 1);
	cr_assert_eq(bus_channel_attach(other, 0, &c, &dead), 0);
	cr_assert_eq(sb_ring_take(&dead, 1, true, &pos), 1);
	add_acqrel(&dead.ring->orphans, 1);
	st_rel(&dead.cown[sb_ring_idx(&dead, pos)],
	       pos | (dead.me & 0xff00) | 1 << 2 | SB_PENDING);
	cr_assert_eq(bus_channel_attach(other, 0, &c, &fresh), 0);
	cr_assert_eq(sb_ring_take(&fresh, 1, true, &pos), 1);
	cr_assert_eq(sb_ring_attempts(&fresh, pos), 1);
	sb_ring_answer(&fresh, pos, 0, 0);
	sb_wake_all(&c->done, &other->bells);
	cr_assert_eq(ld_rlx(&fresh.ring->gen), 1);
}

Test(coord_many,
     a_death_is_known_with_the_answer_though_its_recovery_is_not_over)
{
	struct bus *other;
	pid_t worker;

	for (int many = 0; many < 2; many++) {
		start(1, 0);
		cr_assert_eq(bus_coord_workers(coord, &worker, 1), 1);
		kill(worker, SIGSTOP);
		cr_assert_eq(bus_attach(bus, &other), 0);
		hand_over_without_gen(other, ECHO);
		if (many)
			cr_assert_eq(
				bus_collect_many(coord, results, 4, T_LONG), 1);
		else
			cr_assert_eq(bus_collect(coord, results, T_LONG), 0);
		cr_assert_eq(results[0].attempts, 1);
		kill(worker, SIGCONT);
		stop();
		bus_close(other);
		bus_close(bus);
		bus = t_bus();
	}
}

Test(coord_many, prefetch_has_limits)
{
	struct bus_coord_config c = settings(1, 65);

	cr_assert_eq(bus_coord_start(bus, "c", &c, &coord), -EINVAL);
	c.prefetch = UINT64_C(1) << 32;
	cr_assert_eq(bus_coord_start(bus, "c", &c, &coord), -EINVAL);
	c.prefetch = 64;
	start_with(&c);
	submit(0, 10);
	stop();
}

/* Programs that do not know of prefetch have what they had. */
Test(coord_many, older_settings_take_one_by_one)
{
	struct bus_coord_config c = settings(1, 0);

	c.size = offsetof(struct bus_coord_config, prefetch);
	c.prefetch = 1000;
	c.reserved = 77; /* what was padding */
	start_with(&c);
	submit(0, 10);
	stop();
}

Test(coord_many, nothing_to_do_is_done_at_once)
{
	start(1, 8);
	cr_assert_eq(bus_submit_many(coord, NULL, NULL, 8, 0, -1), 0);
	cr_assert_eq(bus_collect_many(coord, NULL, 0, -1), 0);
	cr_assert_eq(bus_collect_many(coord, results, 4, -1), -ENODATA);
	cr_assert_eq(bus_collect_many_any(coord, results, 4, 0), -ENODATA);
	stop();
}

Test(coord_many, too_large_a_request_is_refused)
{
	start(1, 8);
	cr_assert_eq(
		bus_submit_many(coord, ids, orders, T_MESSAGE_MAX + 1, 3, -1),
		-EMSGSIZE);
	cr_assert_eq(bus_coord_outstanding(coord), 0);
	stop();
}

Test(coord_many, no_result_in_time)
{
	start(1, 4);
	orders[0] = (struct order){ NAP, 500, 1 };
	submit(0, 3);
	cr_assert_eq(bus_collect_many(coord, results, 9, 0), -EAGAIN);
	cr_assert_eq(bus_collect_many_any(coord, results, 9, MS), -ETIMEDOUT);
	cr_assert_eq(bus_collect_many(coord, results, 9, MS), -ETIMEDOUT);
	stop();
}

/* Requests and results ------------------------------------------------------
 */

static void stream(uint32_t n_workers, uint32_t prefetch, uint32_t batch)
{
	uint32_t sent = 0, got = 0;

	start(n_workers, prefetch);
	while (got < MAX) {
		uint32_t n = MAX - sent < batch ? MAX - sent : batch, k;

		if (n && sent - got + n <= 64) {
			submit(sent, sent + n);
			sent += n;
			continue;
		}
		k = collect_some(batch, false);
		for (uint32_t i = 0; i < k; i++) {
			cr_assert_eq(results[i].id, got++);
			assert_echo(&results[i]);
		}
	}
	cr_assert_eq(bus_coord_outstanding(coord), 0);
	stop();
}

Test(coord_many, results_come_in_order)
{
	static const uint32_t n[] = { 1, 2, 7, 32, 64 };

	for (size_t i = 0; i < lengthof(n); i++)
		for (size_t k = 0; k < lengthof(n); k++)
			stream(1 + (uint32_t)(i + k) % 3, n[i], n[k]);
}

Test(coord_many, no_more_than_the_window_without_waiting)
{
	start(1, 16);
	orders[0] = (struct order){ NAP, 500, 1 };
	cr_assert_eq(bus_submit_many(coord, ids, orders, sizeof(*orders), 2, 0),
		     2);
	/* The worker is busy, and holds what it took behind that. */
	cr_assert_eq(bus_submit_many(coord, ids + 2, orders + 2,
				     sizeof(*orders), 100, 0),
		     62);
	cr_assert_eq(bus_submit_many(coord, ids, orders, sizeof(*orders), 5, 0),
		     -EAGAIN);
	cr_assert_eq(
		bus_submit_many(coord, ids, orders, sizeof(*orders), 5, MS),
		-ETIMEDOUT);
	cr_assert_eq(bus_coord_outstanding(coord), 64);
	stop();
}

/* Who submits without collecting does not wait for himself. */
Test(coord_many, results_in_the_way_are_put_aside)
{
	struct bus_coord_config c = settings(2, 4);
	uint32_t got = 0;

	c.window = 4;
	start_with(&c);
	orders[20] = (struct order){ FAIL, 5, 0 };
	submit(0, MAX);
	cr_assert_eq(bus_coord_outstanding(coord), MAX);
	while (got < MAX) {
		uint32_t n = collect_some(50, false);

		for (uint32_t i = 0; i < n; i++, got++) {
			cr_assert_eq(results[i].id, got);
			if (got != 20) {
				assert_echo(&results[i]);
				continue;
			}
			cr_assert_eq(results[i].kind, BUS_RESULT_ERROR);
			cr_assert_eq(results[i].code, 5);
			cr_assert_eq(memcmp(results[i].data, "no", 2), 0);
		}
	}
	stop();
}

/* Those put aside and those in the ring are one order, whatever way they are
 * asked for; and any order begins with what was put aside. */
static void around_a_slow_one(bool any)
{
	struct bus_coord_config c = settings(2, 1);
	bool seen[MAX] = { false };
	uint32_t got = 0;

	c.window = 8;
	start_with(&c);
	orders[0].what = GATED;
	orders[30].what = FAIL;
	orders[30].n = 5;
	submit(0, 100);
	if (any)
		got = collect_some(40, true);
	else
		cr_assert_eq(bus_collect_many(coord, results, 40, MS),
			     -ETIMEDOUT);
	for (uint32_t i = 0; i < got; i++)
		seen[results[i].id] = true;
	cr_assert(!seen[0]);
	st_rel(&board->gate, 1);
	while (got < 100) {
		uint32_t n = collect_some(7, any);

		for (uint32_t i = 0; i < n; i++, got++) {
			cr_assert(any || results[i].id == got);
			cr_assert(!seen[results[i].id]);
			seen[results[i].id] = true;
			if (results[i].id == 30)
				cr_assert_eq(results[i].code, 5);
			else
				assert_echo(&results[i]);
		}
	}
	cr_assert_eq(bus_collect_many(coord, results, 1, 0), -ENODATA);
	stop();
}

Test(coord_many, results_put_aside_around_a_slow_one_are_in_order)
{
	around_a_slow_one(false);
}

Test(coord_many, results_put_aside_around_a_slow_one_come_in_any_order)
{
	around_a_slow_one(true);
}

/* Results that are lent hold up nothing. */
Test(coord_many, results_stay_while_the_window_is_filled_again)
{
	uint32_t n = 0;

	start(1, 64);
	submit(0, 64);
	cr_assert_eq(bus_collect(coord, results, T_LONG), 0);
	while (bus_coord_outstanding(coord)) {
		n = collect_some(64, true);
		for (uint32_t i = 0; i < n; i++)
			assert_echo(&results[i]);
	}
	cr_assert_eq(bus_submit_many(coord, ids + 64, orders + 64,
				     sizeof(*orders), 64, 0),
		     64);
	nap(20);
	for (uint32_t i = 0; i < n; i++)
		assert_echo(&results[i]);
	stop();
}

Test(coord_many, requests_and_results_in_cells)
{
	struct bus_coord_config c = settings(2, 8);
	unsigned char *reqs = calloc(20, 700);
	uint32_t got = 0, sent = 0;

	c.result_bytes = 600;
	start_with(&c);
	for (uint32_t i = 0; i < 20; i++)
		memcpy(reqs + i * 700,
		       &(struct order){ BIG, (int32_t)i * 30, i },
		       sizeof(struct order));
	while (got < 20) {
		uint32_t n;

		if (sent < 20) {
			int ret = bus_submit_many(coord, ids + sent,
						  reqs + sent * 700, 700,
						  20 - sent, T_LONG);

			cr_assert_gt(ret, 0);
			sent += (uint32_t)ret;
		}
		n = collect_some(20, false);
		for (uint32_t i = 0; i < n; i++, got++) {
			cr_assert_eq(results[i].id, got);
			cr_assert_eq(results[i].kind, BUS_RESULT_OK);
			cr_assert_eq(results[i].len_bytes, got * 30);
			cr_assert(t_is(results[i].data, got * 30, got));
		}
	}
	free(reqs);
	stop();
}

static void wait_all_done(void)
{
	uint64_t seq;

	for (uint32_t i = coord->entry[0].next; i; i = coord->entry[i].next)
		while (!bus_coord_is_done(coord, &coord->entry[i], &seq))
			nap(1);
}

static void assert_big(const struct bus_result *r)
{
	const struct order *o = &orders[r->id];

	cr_assert_eq(r->kind, BUS_RESULT_OK);
	cr_assert_eq(r->len_bytes, (size_t)o->n);
	cr_assert(t_is(r->data, r->len_bytes, o->mark));
}

/* Collect at once as many results as there are cells of the largest size, and
 * submit requests of @req_bytes while they are lent. */
static void lend_all_and_submit(int32_t len, size_t req_bytes)
{
	struct bus_coord_config c = settings(1, 1);
	unsigned char *reqs = calloc(2, T_MESSAGE_MAX);

	c.result_bytes = T_MESSAGE_MAX;
	for (uint32_t i = 0; i < 6; i++)
		orders[i] = (struct order){ BIG, len, i };
	memcpy(reqs, &orders[4], sizeof(*orders));
	memcpy(reqs + req_bytes, &orders[5], sizeof(*orders));
	start_with(&c);
	submit(0, 4);
	cr_assert_eq(bus_submit(coord, 4, reqs, sizeof(*orders), 0), -EAGAIN,
		     "there are more cells than this test believes");
	wait_all_done();
	cr_assert_eq(bus_collect_many(coord, results, 8, T_LONG), 4);
	for (uint32_t sent = 0; sent < 2;) {
		int n = bus_submit_many(coord, ids + 4 + sent,
					reqs + sent * req_bytes, req_bytes,
					2 - sent, T_LONG);

		cr_assert_gt(n, 0, "%d", n);
		sent += (uint32_t)n;
	}
	for (uint32_t i = 0; i < 4; i++)
		assert_big(&results[i]);
	for (uint32_t got = 0; got < 2;) {
		uint32_t n = collect_some(2, false);

		for (uint32_t i = 0; i < n; i++, got++)
			assert_big(&results[i]);
	}
	free(reqs);
	stop();
}

/* Who waits for a cell does not wait for what he holds himself. */
Test(coord_many, short_results_in_large_cells_leave_some)
{
	lend_all_and_submit(3000, sizeof(struct order));
}

Test(coord_many, results_leave_cells_for_a_request_and_its_result)
{
	lend_all_and_submit(60000, 60000);
}

Test(coord_many, any_order_finds_all_behind_a_slow_one)
{
	bool seen[MAX] = { false };
	uint32_t got = 0, sent = 1;

	start(2, 1);
	orders[0] = (struct order){ NAP, 100, 1 };
	submit(0, 1);
	while (got < MAX) {
		uint32_t n = MAX - sent < 9 ? MAX - sent : 9;

		if (n && sent - got + n <= 64) {
			submit(sent, sent + n);
			sent += n;
		}
		n = collect_some(9, true);
		for (uint32_t i = 0; i < n; i++, got++) {
			cr_assert_not(seen[results[i].id]);
			seen[results[i].id] = true;
		}
	}
	cr_assert_eq(bus_coord_outstanding(coord), 0);
	stop();
}

/* Every way to submit and to collect, at random, against a list. */
Test(coord_many, all_ways_can_be_mixed)
{
	static bool outstanding[4000];
	uint32_t oldest = 0, sent = 0, n_out = 0;
	uint64_t rng = 12345;

	start(3, 5);
	while (sent < 3900 || n_out) {
		uint32_t n, way;
		int ret;

		rng = rng * UINT64_C(6364136223846793005) + 1442695;
		way = (uint32_t)(rng >> 60) % 6;
		n = 1 + (uint32_t)(rng >> 40) % 20;
		if (sent >= 3900)
			way = 2 + way % 4;
		for (uint32_t i = 0; i < n && way < 2; i++) {
			ids[i] = sent + i;
			orders[i].mark = ids[i] * 3 + 1;
		}
		if (way == 0)
			ret = bus_submit(coord, ids[0], &orders[0],
					 sizeof(orders[0]), T_LONG)
				      ? -1
				      : 1;
		else if (way == 1)
			ret = bus_submit_many(coord, ids, orders,
					      sizeof(orders[0]), n, T_LONG);
		else if (way == 2)
			ret = -bus_collect(coord, results, T_LONG);
		else if (way == 3)
			ret = -bus_collect_any(coord, results, T_LONG);
		else if (way == 4)
			ret = bus_collect_many(coord, results, n, T_LONG);
		else
			ret = bus_collect_many_any(coord, results, n, T_LONG);
		if (way < 2) {
			cr_assert_gt(ret, 0);
			for (int i = 0; i < ret; i++)
				outstanding[sent++] = true;
			n_out += (uint32_t)ret;
			continue;
		}
		if (!n_out) {
			cr_assert_eq(abs(ret), ENODATA);
			continue;
		}
		ret = way < 4 ? ret + 1 : ret;
		cr_assert_gt(ret, 0);
		for (int i = 0; i < ret; i++) {
			uint64_t id = results[i].id;

			cr_assert(outstanding[id]);
			outstanding[id] = false;
			assert_echo(&results[i]);
			while (oldest < sent && !outstanding[oldest])
				oldest++;
			if (way % 2 == 0)
				cr_assert_gt(oldest, id);
		}
		n_out -= (uint32_t)ret;
		cr_assert_eq(bus_coord_outstanding(coord), n_out);
	}
	stop();
}

/* Prefetch ------------------------------------------------------------------
 */

/* With prefetch a worker takes its share, not all that is there. */
Test(coord_many, work_is_shared)
{
	int first = 0, pid;
	bool two = false;

	for (int i = 0; i < 8; i++)
		orders[i] = (struct order){ PID, 60, 0 };
	start(2, 64);
	submit(0, 8);
	for (uint32_t got = 0; got < 8;) {
		uint32_t n = collect_some(8, true);

		for (uint32_t i = 0; i < n; i++, got++) {
			memcpy(&pid, results[i].data, sizeof(pid));
			two = two || (first && pid != first);
			first = pid;
		}
	}
	cr_assert(two);
	stop();
}

/* What a pool does ----------------------------------------------------------
 */

static struct {
	uint32_t n;
	bool was[MAX];
	uint32_t next, again; /* submit so many, from that one on, meanwhile */
} shown;

static void show(void *arg, struct bus_result *r)
{
	cr_assert_eq(arg, &shown);
	cr_assert_not(shown.was[r->id]);
	shown.was[r->id] = true;
	switch (orders[r->id].what) {
	case FAIL:
		cr_assert_eq(r->kind, BUS_RESULT_ERROR);
		cr_assert_eq(r->code, 7);
		cr_assert_str_eq(r->data, "no");
		break;
	case DIE:
		cr_assert_eq(r->kind, BUS_RESULT_DEATH);
		cr_assert_eq(r->signal, SIGKILL);
		break;
	default:
		assert_echo(r);
	}
	shown.n++;
	if (!shown.again)
		return;
	shown.again--;
	cr_assert_eq(bus_submit(coord, shown.next, &orders[shown.next],
				sizeof(*orders), 0),
		     0);
	shown.next++;
}

static void take_until(uint32_t n, uint32_t most)
{
	bool sure = false;

	while (shown.n < n) {
		uint32_t before = shown.n, got;

		got = bus_coord_take_each(coord, most, sure, show, &shown);
		cr_assert_eq(shown.n, before + got);
		cr_assert_leq(got, most);
		cr_assert(got || !sure);
		sure = !got;
		if (sure)
			cr_assert_eq(bus_coord_wait(coord, NULL, SB_FOREVER),
				     0);
	}
	cr_assert_eq(shown.n, n);
}

/* Plain ones, errors and deaths, in turn. */
Test(coord_many, each_result_is_shown_once)
{
	start(1, 1);
	orders[10].what = orders[11].what = orders[40].what = FAIL;
	orders[10].n = orders[11].n = orders[40].n = 7;
	orders[20].what = DIE;
	submit(0, 60);
	take_until(20, 5);
	take_until(60, 1);
	cr_assert_eq(bus_coord_take_each(coord, 1, true, show, &shown), 0);
	stop();
}

Test(coord_many, what_was_put_aside_is_shown)
{
	struct bus_coord_config c = settings(2, 1);

	c.window = 4;
	start_with(&c);
	orders[10].what = FAIL;
	orders[10].n = 7;
	submit(0, 60);
	take_until(20, 5);
	take_until(60, 7);
	stop();
}

/* Who is shown one may submit: others come behind ours. */
Test(coord_many, who_is_shown_a_result_may_submit)
{
	start(1, 1);
	shown.next = 10;
	shown.again = 190; /* so the list of requests goes round */
	submit(0, 10);
	take_until(200, 5);
	stop();
}

/* It is sure to find what it was told of. */
Test(coord_many, those_behind_a_slow_one_are_shown)
{
	start(2, 1);
	orders[0].what = GATED;
	submit(0, 1);
	while (!ld_acq(&board->n_begun))
		nap(1);
	submit(1, 50);
	take_until(49, 64);
	st_rel(&board->gate, 1);
	take_until(50, 64);
	stop();
}

/* Only what was at work has died. */
Test(coord_many, what_lies_behind_a_deadly_one_is_not_blamed)
{
	for (uint32_t prefetch = 2; prefetch <= 64; prefetch *= 2) {
		struct bus_coord_config c = settings(2, prefetch);
		uint32_t got = 0;

		c.max_attempts = 1 + prefetch % 3;
		for (uint32_t i = 0; i < 40; i++)
			orders[i].what = i == 10 || i == 11 ? DIE : ATTEMPTS;
		start_with(&c);
		submit(0, 40);
		while (got < 40) {
			uint32_t n = collect_some(40, false);

			for (uint32_t i = 0; i < n; i++, got++) {
				struct bus_result *r = &results[i];
				int attempts = -1;

				cr_assert_eq(r->id, got);
				if (got == 10 || got == 11) {
					cr_assert_eq(r->kind, BUS_RESULT_DEATH);
					cr_assert_eq(r->attempts,
						     c.max_attempts);
					cr_assert_eq(r->signal, SIGKILL);
					cr_assert_eq(r->len_bytes,
						     sizeof(struct order));
					continue;
				}
				cr_assert_eq(r->kind, BUS_RESULT_OK);
				cr_assert_eq(r->attempts, 0);
				memcpy(&attempts, r->data, sizeof(attempts));
				cr_assert_eq(attempts, 0);
			}
		}
		stop();
	}
}

/* Becomes somebody who may not kill its worker, which has a run in hand. */
static int stop_as_another(void *arg)
{
	pid_t worker;

	(void)arg;
	alarm(60);
	for (uint32_t i = 0; i < 40; i++)
		orders[i].what = GATED;
	start(1, 64);
	T_CHECK(bus_submit_many(coord, ids, orders, sizeof(*orders), 40, 0) ==
		40);
	while (!ld_acq(&board->n_begun))
		nap(1);
	T_CHECK(bus_coord_workers(coord, &worker, 1) == 1);
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534) ||
	    kill(worker, 0) == 0)
		return T_SKIP;
	T_CHECK(bus_coord_stop(coord, 0) == -ETIMEDOUT);
	coord = NULL;
	st_rel(&board->gate, 1);
	t_wait(worker);
	T_CHECK(ld_acq(&board->n_begun) == 1);
	return 0;
}

Test(coord_many, what_lies_in_a_run_is_not_begun_after_the_stop)
{
	struct bus_coord_config c = settings(1, 64);
	int status = t_wait(t_fork(stop_as_another, NULL));

	st_rel(&board->gate, 1);
	if (status == T_SKIP)
		cr_skip_test("nobody else to be here");
	cr_assert_eq(status, 0);
	/* and it is in nobody's way */
	start_with(&c);
	cr_assert_eq(t_stats(bus).n_channels, 1);
	submit(0, 40);
	for (uint32_t got = 0; got < 40;) {
		uint32_t n = collect_some(40, false);

		for (uint32_t i = 0; i < n; i++, got++)
			assert_echo(&results[i]);
	}
	stop();
}

static int leave_orphan(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < 40; i++)
		orders[i] = (struct order){ GATED, 1, 0 };
	start(1, 64);
	T_CHECK(bus_submit_many(coord, ids, orders, sizeof(*orders), 40, 0) ==
		40);
	while (!ld_acq(&board->n_begun))
		nap(1);
	kill(getpid(), SIGKILL);
	return 0;
}

static bool orphan_is_gone(void *arg)
{
	(void)arg;
	return sb_proc_dead((struct sb_proc_id){ .pid = ld_acq(&board->pid) });
}

/* Nor after the coordinator's death is seen. */
Test(coord_many, what_lies_in_a_run_is_not_begun_for_a_dead_one)
{
	if (geteuid())
		cr_skip_test("nobody else to be here");
	cr_assert_eq(t_wait(t_fork(leave_orphan, NULL)), -SIGKILL);
	cr_assert_not(orphan_is_gone(NULL));
	start(1, 64);
	cr_assert_eq(t_stats(bus).n_channels, 2);
	st_rel(&board->gate, 1);
	cr_assert(t_eventually(orphan_is_gone, NULL, 30000));
	cr_assert_eq(ld_acq(&board->n_begun), 1);
	stop();
}

Test(coord_many, requests_that_kill_now_and_then_are_answered)
{
	uint32_t got = 0;

	for (uint32_t i = 0; i < 200; i++)
		if (i % 9 == 4)
			orders[i] = (struct order){ DIE_ONCE, 1 + i % 2,
						    i * 3 + 1 };
	start(3, 16);
	submit(0, 200);
	while (got < 200) {
		uint32_t n = collect_some(30, false);

		for (uint32_t i = 0; i < n; i++, got++) {
			cr_assert_eq(results[i].id, got);
			cr_assert_eq(results[i].attempts,
				     got % 9 == 4 ? 1 + got % 2 : 0);
			assert_echo(&results[i]);
		}
	}
	stop();
}

/* Killed from outside, whenever: each is answered once, and with never more
 * than a death for each kill. */
Test(coord_many, workers_killed_at_random)
{
	struct bus_coord_config c = settings(3, 32);
	uint32_t sent = 0, n_out = 0, attempts = 0, n_kills = 0;
	static unsigned char n_answers[30000];
	pid_t pids[3];

	c.max_attempts = 60;
	start_with(&c);
	while (sent < lengthof(n_answers) || n_out) {
		uint32_t n = lengthof(n_answers) - sent < 20
				     ? (uint32_t)lengthof(n_answers) - sent
				     : 20;

		for (uint32_t i = 0; i < n; i++) {
			ids[i] = sent + i;
			orders[i].mark = ids[i] * 3 + 1;
		}
		if (n && n_out + n <= 64) {
			submit(0, n);
			sent += n;
			n_out += n;
		}
		if (sent / 300 > n_kills &&
		    bus_coord_workers(coord, pids, 3) > 0) {
			kill(pids[n_kills % 3], SIGKILL);
			n_kills++;
		}
		n = collect_some(25, n_kills % 2);
		for (uint32_t i = 0; i < n; i++) {
			assert_echo(&results[i]);
			attempts += results[i].attempts;
			cr_assert_eq(n_answers[results[i].id]++, 0);
		}
		n_out -= n;
	}
	cr_assert_leq(attempts, n_kills);
	stop();
}
