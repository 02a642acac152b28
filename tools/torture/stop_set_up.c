/*
 * stop_set_up.c - messages, the processes, and how they get ready
 */
#include "config.h"

#include <signal.h>

#include "tools/torture/point.h"
#include "tools/torture/stop.h"
#include "tools/torture/walk.h"

void so_wrong(const char *file, int line)
{
	so.sh->wrong_file = file;
	so.sh->wrong = (uint32_t)line;
}

/* -------------------------------------------------------------- messages -- */

void so_write_message(unsigned char *to, uint64_t i)
{
	t_fill(to, so.op->len, i);
	memcpy(to, &i, sizeof(i));
}

void so_note_got(const unsigned char *from, size_t len)
{
	unsigned char should[BIG];
	uint64_t i;

	memcpy(&i, from, sizeof(i));
	if (len != so.op->len || i >= N_MSGS) {
		WRONG();
		return;
	}
	so_write_message(should, i);
	if (memcmp(should, from, len))
		WRONG();
	so.sh->n_got[i]++;
}

int so_put_message(uint64_t i, int64_t timeout_ns)
{
	unsigned char buf[BIG];
	int ret;

	so_write_message(buf, i);
	ret = bus_queue_put(so.q, buf, so.op->len, timeout_ns);
	if (!ret)
		so.sh->put[i]++;
	return ret;
}

int so_get_message(int64_t timeout_ns)
{
	unsigned char buf[BIG];
	size_t len;
	int ret = bus_queue_get(so.q, buf, sizeof(buf), &len, timeout_ns);

	if (!ret)
		so_note_got(buf, len);
	if (!ret && so.op->tasks && bus_queue_task_done(so.q))
		WRONG();
	return ret;
}

void so_send_next(struct bus_pipe *p, _Atomic uint32_t *next,
		  int64_t timeout_ns)
{
	unsigned char buf[BIG];
	int ret;

	so_write_message(buf, *next);
	ret = bus_pipe_send(p, buf, so.op->len, timeout_ns);
	if (!ret)
		*next += 1;
	else if (ret != -EAGAIN && ret != -ETIMEDOUT && !so.sh->over)
		WRONG(); /* over: it has closed its end */
}

/* put: how many were received. */
int so_recv_next(struct bus_pipe *p, uint32_t from, int64_t timeout_ns)
{
	unsigned char buf[BIG];
	uint64_t i;
	size_t len;
	int ret = bus_pipe_recv(p, buf, sizeof(buf), &len, timeout_ns);

	if (ret)
		return ret;
	memcpy(&i, buf, sizeof(i));
	if (len != so.op->len || i != so.sh->n_got[from])
		WRONG();
	so.sh->n_got[from]++;
	return 0;
}

/* --------------------------------------------------------- the processes -- */

static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = so.op->channel_bytes ? so.op->channel_bytes : 32768;
	c.max_message_bytes = 1024;
	c.blob_bytes = 32768;
	return c;
}

static int open_side(int side)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 512; /* one of BIG bytes fits both */
	return bus_pipe_open(so.bus, "p", &c, side, &so.end[side]);
}

/* Without a heartbeat only what others do wakes it, and it does the same each
 * time. */
static void ready_to_stop(void)
{
	so.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	t_step_offer(&so.sh->victim_pid, &so.sh->seized);
}

static int victim_main(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < lengthof(so.texts); i++)
		so_write_message(so.texts[i], VICTIM_MSG + i);
	if (!so.op->fresh)
		T_CHECK(bus_check(so.bus) == 0);
	if (so.op->kind == PIPE)
		T_CHECK(open_side(1) == 0);
	if (so.op->before)
		so.op->before();
	ready_to_stop();
	so.op->fn();
	so.sh->over = 1;
	bus_pool_free(so.pool);
	bus_pipe_free(so.end[1]);
	if (so.op->fn != so_do_leave)
		bus_close(so.bus);
	return 0;
}

static int init_worker(void *ctx)
{
	(void)ctx;
	if (so.sh->n_inits++ == 0)
		ready_to_stop();
	return 0;
}

static void collect_one(int64_t timeout_ns)
{
	struct bus_result r;
	uint64_t i = UINT64_MAX;
	int ret = bus_collect_any(so.coord, &r, timeout_ns);

	if (ret == -EAGAIN || ret == -ETIMEDOUT)
		return;
	if (!ret && r.kind == BUS_RESULT_OK && r.len_bytes == so.op->len)
		memcpy(&i, r.data, sizeof(i));
	if (i >= N_REQUESTS || i != r.id)
		WRONG();
	else
		so.sh->n_answers[i]++;
}

/* Of two workers one takes its share at most. */
uint32_t so_in_hand(void)
{
	uint32_t share = N_REQUESTS / 2;

	if (!so.op->prefetch)
		return 1;
	return so.op->prefetch < share ? so.op->prefetch : share;
}

/* Two workers, of which one is stopped with at most so many requests. */
static int client_main(void *arg)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	unsigned char req[BIG];

	(void)arg;
	c.handler = so_handler;
	c.init = init_worker;
	c.n_workers = 2;
	c.window = 8;
	c.prefetch = so.op->prefetch;
	c.result_bytes = so.op->len;
	T_CHECK(bus_check(so.bus) == 0);
	T_CHECK(bus_coord_start(so.bus, "r", &c, &so.coord) == 0);
	for (uint64_t i = 0; i < N_REQUESTS; i++) {
		so_write_message(req, i);
		T_CHECK(bus_submit(so.coord, i, req, so.op->len, -1) == 0);
	}
	so.sh->submitted = 1;
	while (!so.sh->stopped)
		point_nap();
	for (uint32_t i = so_in_hand(); i < N_REQUESTS; i++)
		collect_one(POINT_HUNG_NS);
	for (int i = 0; i < N_REQUESTS; i++)
		so.sh->n_early += so.sh->n_answers[i];
	so.sh->client_done = 1;
	while (!so.sh->resumed)
		point_nap();
	while (bus_coord_outstanding(so.coord) && !so.sh->wrong)
		collect_one(POINT_HUNG_NS);
	T_CHECK(bus_coord_stop(so.coord, -1) == 0);
	bus_close(so.bus);
	return 0;
}

static int dead_main(void *arg)
{
	struct bus_msg m[3];

	(void)arg;
	T_CHECK(bus_check(so.bus) == 0);
	bus_queue_peek(so.q, &m[0], 0);
	bus_queue_loan(so.q, SMALL, &m[1], 0);
	bus_queue_loan(so.q, BIG, &m[2], 0);
	kill(getpid(), SIGKILL);
	return 1;
}

/* ---------------------------------------------------------------- set up -- */

static bool is_there(void)
{
	return so.sh->victim_pid != 0;
}

static void fill(void)
{
	uint32_t n = so.state == EMPTY ? 0 : so.state == FULL ? N_SLOTS : 1;

	if (so.op->kind == PIPE) {
		T_CHECK(open_side(0) == 0);
		for (uint32_t i = 0; i < n; i++)
			so_send_next(so.end[0], &so.sh->next_out, 0);
		return;
	}
	so.q = t_queue(so.bus, "q", N_SLOTS, 24,
		       so.op->tasks ? BUS_QUEUE_JOINABLE : 0);
	for (uint32_t i = 0; so.state == WRAP && i < N_SLOTS - 1; i++)
		T_CHECK(so_put_message(WRAP_MSG + i, 0) == 0 &&
			so_get_message(0) == 0);
	for (uint32_t i = 0; i < n; i++)
		T_CHECK(so_put_message(i, 0) == 0);
	if (so.op->dead)
		t_wait(t_fork(dead_main, NULL));
}

void so_set_up(void)
{
	struct bus_config c = bus_settings();

	memset(so.sh, 0, sizeof(*so.sh));
	so.n_helped = 0;
	so.client = 0;
	so.bus = t_bus_with(NULL, &c);
	if (so.op->kind == WORKER) {
		so.client = t_fork(client_main, NULL);
	} else {
		fill();
		t_fork(victim_main, NULL);
	}
	point_until(is_there, "there is no victim");
	walk.victim = so.sh->victim_pid;
	if (t_step_seize(walk.victim, &so.sh->seized))
		point_cannot("seize");
}

void so_give(void)
{
	if (so.op->kind == PIPE) {
		if (so.op->reads)
			so_send_next(so.end[0], &so.sh->next_out, 0);
		if (so.op->writes || !so.op->reads)
			so_recv_next(so.end[0], 0, 0);
	} else if (so.op->kind == QUEUE && so.n_helped < 16) {
		if (so.state == FULL || so.op->joins)
			so_get_message(0);
		else if (!t_queue_stats(so.q).n_waiting &&
			 !so_put_message(HELP_MSG + so.n_helped, 0))
			so.n_helped++;
	}
}
