/*
 * kill_bus_ops.c - the operations of the bus in which a victim is killed
 *
 * Each begins where kill_bus_set_up.c has brought everybody, and notes what it
 * is about to do and what it has done.  Those of coordinators and workers are
 * in kill_bus_coord.c.
 */
#include "config.h"

#include "tools/torture/kill_bus.h"

/* ---------------------------------------------------------------- queues -- */

static void put_begins(uint32_t i, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		kb.sh->put[VICTIM_MSG + i + k] = BEGUN;
}

static void put_ends(uint32_t i, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		kb.sh->put[VICTIM_MSG + i + k] = DONE;
}

static void do_put(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		put_begins(i, 1);
		if (!bus_queue_put(kb.q, kb.big[i], kb.op->len, -1))
			put_ends(i, 1);
	}
}

static void do_put_many(void)
{
	unsigned char three[3 * SMALL];
	int n;

	for (uint32_t i = 0; i < 3; i++)
		memcpy(three + i * SMALL, kb.big[i], SMALL);
	put_begins(0, 3);
	n = bus_queue_put_many(kb.q, three, SMALL, 3, -1);
	if (n > 0)
		put_ends(0, (uint32_t)n);
	for (uint32_t i = n > 0 ? (uint32_t)n : 0; i < 3; i++)
		kb.sh->put[VICTIM_MSG + i] = NOT;
}

static void do_commit(void)
{
	struct bus_msg m;

	for (uint32_t i = 0; i < 2; i++) {
		if (bus_queue_loan(kb.q, kb.op->len, &m, -1))
			continue;
		memcpy(m.data, kb.big[i], kb.op->len);
		put_begins(i, 1);
		if (!bus_queue_commit(kb.q, &m))
			put_ends(i, 1);
	}
}

static void do_cancel(void)
{
	struct bus_msg m;

	for (uint32_t i = 0; i < 2; i++)
		if (!bus_queue_loan(kb.q, kb.op->len, &m, -1))
			bus_queue_cancel(kb.q, &m);
}

/* Once it waits on an empty queue, and once more if there was something. */
static void do_get(void)
{
	uint32_t n = kb.state == EMPTY ? 1 : 2;
	size_t len;

	for (uint32_t k = 0; k < n; k++) {
		uint64_t i;

		kb.sh->getting = k + 1;
		if (bus_queue_get(kb.q, kb.sh->buf[k], BIG, &len,
				  k && kb.state == ONE ? 0 : -1))
			continue;
		memcpy(&i, kb.sh->buf[k], 8);
		if (kb.op->flags & BUS_QUEUE_JOINABLE) {
			kb.sh->fin[i % N_MSGS] = FINISHING;
			kb.sh->getting = 0;
			bus_queue_task_done(kb.q);
		}
		kb.sh->fin[i % N_MSGS] = FINISHED;
		kb.sh->getting = 0;
	}
}

static void do_get_many(void)
{
	int n;

	kb.sh->getting = 1;
	n = bus_queue_get_many(kb.q, kb.sh->buf, BIG, 3, (size_t[3]){ 0 }, -1);
	for (int k = 0; k < n; k++) {
		uint64_t i;

		memcpy(&i, kb.sh->buf[k], 8);
		kb.sh->fin[i % N_MSGS] = FINISHED;
	}
	kb.sh->getting = 0;
}

static void do_release(void)
{
	uint32_t n = kb.state == EMPTY || kb.state == ONE ? 1 : 2;
	struct bus_msg m;

	for (uint32_t k = 0; k < n; k++) {
		uint64_t i;

		if (bus_queue_peek(kb.q, &m, -1))
			continue;
		memcpy(&i, m.data, 8);
		kb.sh->fin[i % N_MSGS] = FINISHING;
		bus_queue_release(kb.q, &m);
		kb.sh->fin[i % N_MSGS] = FINISHED;
	}
}

static void do_give_back(void)
{
	struct bus_msg m;

	if (!bus_queue_peek(kb.q, &m, -1))
		bus_queue_give_back(kb.q, &m);
}

static void got_two(void)
{
	size_t len;

	for (uint32_t k = 0; k < 2; k++)
		if (!bus_queue_get(kb.q, kb.sh->buf[k], BIG, &len, 0))
			kb.sh->n_held++;
}

static void do_task_done(void)
{
	for (uint32_t k = 0; k < kb.sh->n_held; k++) {
		uint64_t i;

		memcpy(&i, kb.sh->buf[k], 8);
		kb.sh->fin[i % N_MSGS] = FINISHING;
		bus_queue_task_done(kb.q);
		kb.sh->fin[i % N_MSGS] = FINISHED;
	}
}

static void do_close(void)
{
	bus_queue_close(kb.q);
}

static void do_abort(void)
{
	bus_queue_abort(kb.q);
}

void kb_do_join(void)
{
	bus_queue_join(kb.q, -1);
}

/* It takes nothing: a wake that it got is another's. */
static void do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_QUEUE };

	item.events = kb.state == FULL ? BUS_POLL_OUT : BUS_POLL_IN;
	item.on.queue = kb.q;
	bus_wait(kb.bus, &item, 1, -1);
}

/* --------------------------------------------------------------- the bus -- */

void kb_hold(void)
{
	static struct bus_msg m;

	bus_queue_peek(kb.q, &m, 0);
	bus_queue_loan(kb.q, SMALL, &m, 0);
	bus_queue_loan(kb.q, BIG, &m, 0);
}

static void do_leave(void)
{
	bus_queue_free(kb.q);
	bus_close(kb.bus);
}

/* The first call after a fork. */
void kb_do_attach(void)
{
	bus_reap(kb.bus);
}

static void do_reap(void)
{
	bus_reap(kb.bus);
}

void kb_do_open_queue(void)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *q2;

	c.n_slots = 4;
	bus_queue_open(kb.bus, "another", &c, &q2);
}

void kb_do_create(void)
{
	struct bus_config c = kb_bus_settings();
	struct bus *b;

	bus_create(t_name("k"), &c, &b);
}

static void do_open(void)
{
	struct bus_config c = kb_bus_settings();
	struct bus *b;

	bus_open(t_name("k"), &c, &b);
}

static struct bus *named;

static void make_named(void)
{
	struct bus_config c = kb_bus_settings();

	T_CHECK(bus_create(t_name("k"), &c, &named) == 0);
}

void kb_do_close_named(void)
{
	bus_close(named);
}

static void do_attach_more(void)
{
	struct bus *b;

	bus_attach(kb.bus, &b);
}

/* ----------------------------------------------------------- all of them -- */

#define M_ALL  (1u << EMPTY | 1u << ONE | 1u << FULL | 1u << WRAP)
#define M_SOME (1u << ONE | 1u << FULL | 1u << WRAP)
#define M_TWO  (1u << EMPTY | 1u << ONE)

/* clang-format off */
const struct op kb_ops[] = {
	{ "reap", M_SOME, 4, 0, SMALL, NULL, do_reap, .reaps = true,
	  .sleep_in = { [ONE] = GET, [FULL] = NOWHERE } },
	{ "leave", M_SOME, 4, 0, SMALL, kb_hold, do_leave,
	  .sleep_in = { [ONE] = GET, [FULL] = PUT } },
	{ "coord", 1u << EMPTY, 4, 0, SMALL, kb_start_coord, kb_do_requests,
	  .coord = true, .request_len = 8, .sleep_in = { [EMPTY] = GET } },
	{ "coord-blob", 1u << EMPTY, 4, 0, SMALL, kb_start_coord, kb_do_requests,
	  .coord = true, .request_len = BIG, .kind = LARGE },
	{ "coord-many", 1u << EMPTY, 4, 0, SMALL, kb_start_coord, kb_do_many,
	  .coord = true, .many = true, .request_len = 8 },
	{ "coord-many-blob", 1u << EMPTY, 4, 0, SMALL, kb_start_coord, kb_do_many,
	  .coord = true, .many = true, .request_len = 8, .kind = LARGE },
	{ "coord-start", 1u << EMPTY, 4, 0, SMALL, NULL, kb_start_coord,
	  .coord = true, .request_len = 8 },
	{ "coord-stop", 1u << EMPTY, 4, 0, SMALL, kb_before_stop, kb_do_stop,
	  .coord = true, .request_len = BIG, .kind = LARGE },
	{ "attach", M_TWO, 4, 0, SMALL, NULL, kb_do_attach,
	  .sleep_in = { [EMPTY] = GET } },
	{ "create", 1u << EMPTY, 4, 0, SMALL, NULL, kb_do_create, .named = true },
	{ "open", 1u << EMPTY, 4, 0, SMALL, NULL, do_open, .named = true,
	  .made = true },
	{ "close-named", 1u << EMPTY, 4, 0, SMALL, make_named, kb_do_close_named,
	  .named = true },
	{ "attach-more", 1u << EMPTY, 4, 0, SMALL, NULL, do_attach_more,
	  .coord = false },
	{ "wait", 1u << EMPTY | 1u << FULL, 4, 0, SMALL, NULL, do_wait,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "join", M_TWO, 4, BUS_QUEUE_JOINABLE, SMALL, NULL, kb_do_join,
	  .sleep_in = { [ONE] = JOIN } },
	{ "open-queue", 1u << EMPTY, 4, 0, SMALL, NULL, kb_do_open_queue,
	  .coord = false },
	{ "worker", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .request_len = 8 },
	{ "worker-pair", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .pair = true, .request_len = 8 },
	{ "worker-error", 1u << ONE, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .kind = ERROR, .request_len = 8 },
	{ "worker-blob", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .kind = LARGE, .request_len = BIG },
	{ "worker-many", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .many = true, .request_len = 8 },
	{ "worker-many-pair", M_TWO, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .many = true, .pair = true, .request_len = 8 },
	{ "worker-many-error", 1u << ONE, 4, 0, SMALL, NULL, NULL,
	  .worker = true, .many = true, .kind = ERROR, .request_len = 8 },
	{ "worker-many-blob", 1u << ONE, 4, 0, SMALL, NULL, NULL,
	  .worker = true, .many = true, .kind = LARGE, .request_len = 8 },
	{ "worker-many-poison", 1u << ONE, 4, 0, SMALL, NULL, NULL,
	  .worker = true, .many = true, .request_len = 8, .max_attempts = 1 },
	{ "worker-poison", 1u << ONE, 4, 0, SMALL, NULL, NULL, .worker = true,
	  .request_len = BIG, .max_attempts = 1 },
	{ "put", M_ALL, 4, 0, SMALL, NULL, do_put,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "put-blob", M_ALL, 4, 0, BIG, NULL, do_put,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "put-cell", 1u << FULL, 8, 0, BIG, NULL, do_put,
	  .sleep_in = { [FULL] = PUT } },
	{ "put-many", M_ALL, 4, 0, SMALL, NULL, do_put_many,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "loan-commit", M_ALL, 4, 0, SMALL, NULL, do_commit,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "loan-commit-blob", M_ALL, 4, 0, BIG, NULL, do_commit,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "loan-cancel", M_ALL, 4, 0, SMALL, NULL, do_cancel,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT, [WRAP] = GET } },
	{ "get", M_ALL, 4, 0, SMALL, NULL, do_get,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "get-blob", M_ALL, 4, 0, BIG, NULL, do_get,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "get-cell", 1u << FULL, 8, 0, BIG, NULL, do_get,
	  .sleep_in = { [FULL] = PUT } },
	{ "get-many", M_ALL, 4, 0, SMALL, NULL, do_get_many,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "get-done", M_ALL, 4, BUS_QUEUE_JOINABLE, SMALL, NULL, do_get,
	  .sleep_in = { [EMPTY] = GET, [ONE] = JOIN, [FULL] = PUT } },
	{ "peek-release", M_ALL, 4, 0, SMALL, NULL, do_release,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "peek-release-blob", M_ALL, 4, 0, BIG, NULL, do_release,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "give-back", M_ALL, 4, 0, SMALL, NULL, do_give_back,
	  .sleep_in = { [EMPTY] = GET } },
	{ "task-done", M_SOME, 4, BUS_QUEUE_JOINABLE, SMALL, got_two,
	  do_task_done,
	  .sleep_in = { [ONE] = JOIN, [FULL] = PUT, [WRAP] = JOIN } },
	{ "close", M_ALL, 4, 0, SMALL, NULL, do_close, .closes = true,
	  .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
	{ "abort", M_ALL, 4, 0, BIG, NULL, do_abort, .closes = true,
	  .drops = true, .sleep_in = { [EMPTY] = GET, [FULL] = PUT } },
};
/* clang-format on */

const uint32_t kb_n_ops = lengthof(kb_ops);
