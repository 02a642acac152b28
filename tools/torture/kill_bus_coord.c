/*
 * kill_bus_coord.c - coordinators and workers, one of which is the victim
 *
 * A worker is killed wherever it is with its request, and its coordinator, the
 * client, must get one right answer to each.  Or the victim is the coordinator.
 */
#include "config.h"

#include <sched.h>

#include "tools/torture/kill_bus.h"
#include "tools/torture/point.h"

#define N_REQUESTS 2
#define WINDOW     4

/* --------------------------------------------------------------- workers -- */

/* Requests begin with their number. */
int kb_handler(void *ctx, const void *req, size_t len, struct bus_reply *reply)
{
	unsigned char *to;
	uint64_t i;

	(void)ctx;
	if (getpid() == kb.sh->victim_pid)
		kb.sh->n_entered++;
	memcpy(&i, req, sizeof(i));
	if (len != kb.op->request_len)
		i = 99;
	switch (kb.op->kind) {
	case INLINE:
		return bus_reply_put(reply, &i, sizeof(i));
	case ERROR:
		bus_reply_error(reply, "no");
		return 7 + (int)i;
	default:
		to = bus_reply_room(reply, BIG);
		if (!to)
			return 1;
		memcpy(to, &i, sizeof(i));
		return 0;
	}
}

/* Of two workers the one with the lower id is the victim: it is rung first. */
static int init_worker(void *ctx)
{
	uint32_t n;

	(void)ctx;
	kb.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	if (!kb.op->worker)
		return 0;
	n = kb.sh->n_inits++;
	if (n >= 2)
		return 0;
	kb.sh->init_id[n] = kb.bus->id;
	if (!kb.op->pair) {
		if (n == 0)
			kb_ready_to_die();
		return 0;
	}
	while (kb.sh->n_inits < 2 || !kb.sh->init_id[0] || !kb.sh->init_id[1])
		point_nap();
	if (kb.bus->id < kb.sh->init_id[!n])
		kb_ready_to_die();
	return 0;
}

/* ------------------------------------------------------------ the client -- */

void kb_start_coord(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;

	c.handler = kb_handler;
	c.init = init_worker;
	c.n_workers = kb.op->pair ? 2 : 1;
	c.window = WINDOW;
	c.prefetch = kb.op->many ? 64 : 1;
	c.max_attempts = kb.op->max_attempts;
	c.result_bytes = kb.op->kind == LARGE ? BIG : 0;
	T_CHECK(bus_coord_start(kb.bus, "r", &c, &kb.coord) == 0);
}

static int submit(uint64_t i)
{
	unsigned char req[BIG];

	t_fill(req, sizeof(req), i);
	memcpy(req, &i, sizeof(i));
	return bus_submit(kb.coord, i, req, kb.op->request_len, POINT_HUNG_NS);
}

uint32_t kb_n_requests(void)
{
	return kb.op->many ? N_MANY : N_REQUESTS;
}

/* Returns how many went. */
static int submit_many(uint64_t from, uint32_t n, int64_t timeout_ns)
{
	static unsigned char reqs[2 * N_MANY * BIG];
	uint64_t ids[2 * N_MANY];
	uint32_t len = kb.op->request_len;

	for (uint64_t i = 0; i < n; i++) {
		ids[i] = from + i;
		t_fill(reqs + i * len, len, ids[i]);
		memcpy(reqs + i * len, &ids[i], sizeof(ids[i]));
	}
	return bus_submit_many(kb.coord, ids, reqs, len, n, timeout_ns);
}

static void submit_all(void)
{
	uint32_t done = 0;

	while (kb.op->many && done < N_MANY) {
		int n = submit_many(done, N_MANY - done, POINT_HUNG_NS);

		T_CHECK(n > 0);
		done += (uint32_t)n;
	}
	for (uint64_t i = 0; i < N_REQUESTS && !kb.op->many; i++)
		T_CHECK(submit(i) == 0);
}

/* The victim takes them in order.  It was at the last one of which it called
 * the handler, or had begun with the next one; the others are not to blame. */
static bool rightly_blamed(const struct bus_result *r)
{
	if (kb.op->max_attempts != 1 || kb.sh->n_blamed++)
		return false;
	return !kb.op->many || r->id == kb.sh->n_entered ||
	       r->id + 1 == kb.sh->n_entered;
}

static bool right_answer(const struct bus_result *r)
{
	uint64_t i = UINT64_MAX;

	if (r->kind == BUS_RESULT_DEATH)
		return rightly_blamed(r);
	if (kb.op->kind == ERROR)
		return r->kind == BUS_RESULT_ERROR &&
		       r->code == 7 + (int)r->id && r->len_bytes == 2 &&
		       !memcmp(r->data, "no", 2);
	if (r->kind != BUS_RESULT_OK ||
	    r->len_bytes != (kb.op->kind == LARGE ? BIG : 8))
		return false;
	memcpy(&i, r->data, sizeof(i));
	return i == r->id;
}

static void answered(const struct bus_result *r)
{
	if (r->id >= kb_n_requests() || !right_answer(r))
		kb.sh->wrong++;
	else
		kb.sh->n_answers[r->id]++;
}

/* Returns how many. */
static int collect(struct bus_result *r)
{
	int ret;

	if (kb.op->many && kb.peer != POLL)
		return bus_collect_many(kb.coord, r, N_MANY, -1);
	if (kb.op->many) {
		while ((ret = bus_collect_many_any(kb.coord, r, N_MANY, 0)) ==
		       -EAGAIN)
			sched_yield();
		return ret;
	}

	if (kb.peer != POLL)
		ret = bus_collect(kb.coord, r, -1);
	else
		while ((ret = bus_collect_any(kb.coord, r, 0)) == -EAGAIN)
			sched_yield();
	return ret ? ret : 1;
}

int kb_client_main(void *arg)
{
	struct bus_result r[N_MANY];

	(void)arg;
	kb.bus->config.wait =
		kb.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	T_CHECK(bus_check(kb.bus) == 0);
	kb.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	kb_start_coord();
	kb.sh->client_ready = 1;
	while (!kb.sh->go)
		point_nap();
	submit_all();
	kb.sh->submitted = 1;
	for (uint32_t done = 0; done < kb_n_requests();) {
		int n = collect(r);

		T_CHECK(n > 0);
		for (int i = 0; i < n; i++, done++)
			answered(&r[i]);
	}
	T_CHECK(bus_collect_any(kb.coord, r, 0) == -ENODATA);
	kb.sh->client_done = 1;
	T_CHECK(bus_coord_stop(kb.coord, POINT_HUNG_NS) == 0);
	bus_close(kb.bus);
	return 0;
}

/* ------------------------------------------ coordinators that are killed -- */

void kb_do_requests(void)
{
	struct bus_result r;

	for (uint64_t i = 0; i < N_REQUESTS; i++)
		submit(i);
	for (int i = 0; i < N_REQUESTS; i++)
		bus_collect(kb.coord, &r, -1);
}

/* More than the window: results are put aside, in the middle of it. */
void kb_do_many(void)
{
	struct bus_result r[N_MANY];
	uint32_t n = 0;

	while (n < WINDOW + 2)
		n += (uint32_t)submit_many(n, WINDOW + 2 - n, -1);
	n -= (uint32_t)bus_collect_many(kb.coord, r, 3, -1);
	while (n)
		n -= (uint32_t)bus_collect_many_any(kb.coord, r, N_MANY, -1);
}

void kb_before_stop(void)
{
	kb_start_coord();
	for (uint64_t i = 0; i < N_REQUESTS; i++)
		submit(i);
}

void kb_do_stop(void)
{
	bus_coord_stop(kb.coord, POINT_HUNG_NS);
}
