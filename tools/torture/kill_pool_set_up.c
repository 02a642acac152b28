/*
 * kill_pool_set_up.c - the pool and its workers, the processes, and how they get
 * ready
 */
#include "config.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>

#include "tools/torture/kill_pool.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

void ko_wrong(const char *file, int line)
{
	ko.sh->wrong_file = file;
	ko.sh->wrong = (uint32_t)line;
}

static void no_heartbeat(void)
{
	ko.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
}

/* --------------------------------------------------------------- workers -- */

static int echo(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	uint64_t i;

	(void)ctx;
	memcpy(&i, req, sizeof(i));
	if (len == CELL && !t_is((const unsigned char *)req + 8, len - 8, i))
		i = N_TASKS;
	return bus_reply_put(r, &i, sizeof(i));
}

static int big(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	void *room = bus_reply_room(r, LARGE);
	uint64_t i;

	(void)ctx;
	(void)len;
	memcpy(&i, req, sizeof(i));
	if (!room)
		return 99;
	memset(room, 'a' + (int)i, LARGE);
	return 0;
}

static int fail(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	uint64_t i;

	(void)ctx;
	(void)len;
	memcpy(&i, req, sizeof(i));
	bus_reply_error(r, "no %d", (int)i);
	return 7 + (int)i;
}

static int until_told(void *ctx, const void *req, size_t len,
		      struct bus_reply *r)
{
	(void)ctx;
	(void)req;
	(void)len;
	while (!ko.sh->told)
		syscall(SYS_futex, &ko.sh->told, FUTEX_WAIT, 0, NULL, NULL, 0);
	return bus_reply_canceled(r) ? 1 : 2;
}

/* In a task before the others; see struct op. */
static int warm(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	(void)ctx;
	(void)req;
	(void)len;
	(void)r;
	if (!ko.sh->victim_pid)
		t_step_offer(&ko.sh->victim_pid, &ko.sh->seized);
	return 0;
}

static const bus_handler handlers[N_HANDLERS] = { echo, big, fail, until_told,
						  warm };

static int init_worker(void *ctx, char *error, size_t error_bytes)
{
	(void)ctx;
	(void)error;
	(void)error_bytes;
	no_heartbeat();
	if (ko.sh->n_inits++ == 0 && ko.op->role == WORKER && !ko.op->warm)
		t_step_offer(&ko.sh->victim_pid, &ko.sh->seized);
	return 0;
}

/* --------------------------------------------------------- the processes -- */

void ko_start_pool(void)
{
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;
	int ret;

	c.handlers = handlers;
	c.n_handlers = N_HANDLERS;
	c.n_workers = 1;
	c.init = init_worker;
	c.window = 8;
	c.max_attempts = ko.op->max_attempts;
	c.max_tasks_per_worker = ko.op->max_tasks;
	c.grace_ns = 20 * SB_NS_PER_S;
	c.wait = ko.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	ret = bus_pool_start(ko.bus, "p", &c, &ko.pool);
	if (ret)
		WRONG();
}

/* The task that the victim of a warm operation started in. */
static void end_first(struct bus_future *f)
{
	struct bus_result r;

	if (!f)
		return;
	if (bus_future_get(f, &r, -1) ||
	    (r.kind != BUS_RESULT_OK &&
	     (r.kind != BUS_RESULT_DEATH || ko.op->max_attempts != 1)))
		WRONG();
	bus_future_free(f);
}

static void waits_as_peer(void)
{
	ko.bus->config.wait =
		ko.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	T_CHECK(bus_check(ko.bus) == 0);
	no_heartbeat();
}

/* Its worker is the victim. */
static int owner_main(void *arg)
{
	struct bus_future *first = NULL;

	(void)arg;
	waits_as_peer();
	ko_start_pool();
	if (ko.op->warm &&
	    bus_pool_submit(ko.pool, WARM, "", 1, NULL, &first, -1))
		WRONG();
	while (!ko.sh->go)
		point_nap();
	ko.op->fn();
	end_first(first);
	ko_end_pool();
	ko.sh->owner_done = 1;
	bus_close(ko.bus);
	return 0;
}

/* The victim. */
static int victim_main(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(ko.bus) == 0);
	if (ko.op->role == OWNER && !ko.op->unborn)
		ko_start_pool();
	no_heartbeat();
	t_step_offer(&ko.sh->victim_pid, &ko.sh->seized);
	ko.op->fn();
	ko.sh->over = 1;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

/* ---------------------------------------------------------------- set up -- */

struct bus_config ko_bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = 640 << 10;
	c.max_message_bytes = 1024;
	c.blob_bytes = 32768;
	return c;
}

static bool victim_there(void)
{
	return ko.sh->victim_pid != 0;
}

static bool owner_parked(void)
{
	return ko.sh->ready && (ko.peer == POLL || t_parked(ko.owner));
}

static bool owner_submitted(void)
{
	/* who cancels does so only when a worker has it */
	return ko.op->handler == UNTIL_TOLD ? ko.sh->ready : owner_parked();
}

void ko_set_up(void)
{
	struct bus_config c = ko_bus_settings();

	memset(ko.sh, 0, sizeof(*ko.sh));
	ko.fds = t_count_fds();
	walk.victim = ko.owner = 0;
	ko.pool = NULL;
	ko.bus = NULL;
	ko.bus = t_bus_with(NULL, &c);
	no_heartbeat();
	if (ko.op->role == WORKER) {
		ko.owner = t_fork(owner_main, NULL);
	} else {
		if (ko.op->role == OUTSIDE)
			ko_start_pool();
		t_fork(victim_main, NULL);
	}
	point_until(victim_there, "no victim");
	walk.victim = ko.sh->victim_pid;
	if (ko.op->role == WORKER && ko.state == ONE) {
		ko.sh->go = 1;
		point_until(owner_submitted, "the owner does not get ready");
	}
	if (ko.peer == BUSY)
		kill(ko.owner, SIGSTOP);
	if (t_step_seize(walk.victim, &ko.sh->seized))
		point_cannot("seize");
}

bool ko_unblock(void)
{
	if (!ko.sh->go) {
		ko.sh->go = 1;
		return true;
	}
	if (ko.op->handler == UNTIL_TOLD && !ko.sh->cancel) {
		ko.sh->cancel = 1;
		return true;
	}
	return false;
}
