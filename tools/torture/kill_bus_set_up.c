/*
 * kill_bus_set_up.c - messages, the processes, and how they get ready
 *
 * First all that the victim finds: the bus, the queue with as many messages as
 * the state says, one who died before it.  Then the victim, which offers itself
 * right in front of the operation, and the peer, which falls asleep.
 */
#include "config.h"

#include <signal.h>
#include <sys/syscall.h>

#include "tools/torture/kill_bus.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

/* -------------------------------------------------------------- messages -- */

void kb_write_message(unsigned char *to, uint32_t len, uint64_t i)
{
	t_fill(to, len, i);
	memcpy(to, &i, sizeof(i));
}

uint64_t kb_read_message(const unsigned char *from, size_t len)
{
	unsigned char should[BIG];
	uint64_t i;

	memcpy(&i, from, sizeof(i));
	if (len != kb.op->len || i >= N_MSGS)
		return N_MSGS;
	kb_write_message(should, kb.op->len, i);
	return memcmp(should, from, len) ? N_MSGS : i;
}

int kb_put_message(uint64_t i, int64_t timeout_ns)
{
	unsigned char buf[BIG];
	int ret;

	kb_write_message(buf, kb.op->len, i);
	ret = bus_queue_put(kb.q, buf, kb.op->len, timeout_ns);
	if (!ret)
		kb.sh->put[i] = DONE;
	return ret;
}

int kb_get_message(int64_t timeout_ns)
{
	unsigned char buf[BIG];
	size_t len;
	uint64_t i;
	int ret = bus_queue_get(kb.q, buf, sizeof(buf), &len, timeout_ns);

	if (ret)
		return ret;
	i = kb_read_message(buf, len);
	if (i >= N_MSGS)
		kb.sh->wrong++;
	else
		kb.sh->n_got[i]++;
	if (kb.op->flags & BUS_QUEUE_JOINABLE)
		ret = bus_queue_task_done(kb.q);
	return ret;
}

/* --------------------------------------------------------- the processes -- */

void kb_ready_to_die(void)
{
	kb.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	t_step_offer(&kb.sh->victim_pid, &kb.sh->seized);
}

static int victim_main(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < lengthof(kb.big); i++)
		kb_write_message(kb.big[i], kb.op->len, VICTIM_MSG + i);
	if (kb.op->fn != kb_do_attach)
		T_CHECK(bus_check(kb.bus) == 0);
	if (kb.op->before)
		kb.op->before();
	kb_ready_to_die();
	kb.op->fn();
	kb.sh->over = 1;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

/* Dies holding something of everything. */
static int dead_main(void *arg)
{
	(void)arg;
	T_CHECK(bus_check(kb.bus) == 0);
	kb_hold();
	kill(getpid(), SIGKILL);
	return 1;
}

static int sleep_in(enum sleep_in where)
{
	switch (where) {
	case GET:
		return kb_get_message(-1);
	case PUT:
		return kb_put_message(PEER_MSG, -1);
	case JOIN:
		return bus_queue_join(kb.q, -1);
	default:
		return -EINVAL;
	}
}

static int peer_main(void *arg)
{
	(void)arg;
	kb.bus->config.wait =
		kb.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX;
	T_CHECK(bus_check(kb.bus) == 0);
	kb.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	kb.sh->peer_ready = 1;
	kb.sh->peer_ret = sleep_in(kb.op->sleep_in[kb.state]);
	kb.sh->peer_done = 1;
	bus_close(kb.bus);
	return 0;
}

static bool peer_parked(void)
{
	return kb.sh->peer_ready && t_parked(kb.peer_pid);
}

static bool client_parked(void)
{
	return kb.sh->submitted && t_parked(kb.client);
}

static bool victim_there(void)
{
	return kb.sh->victim_pid != 0;
}

static bool submitted(void)
{
	return kb.sh->submitted;
}

/* ---------------------------------------------------------------- set up -- */

/* Small, because recovery looks at everything. */
struct bus_config kb_bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = 16384;
	c.max_message_bytes = 1024;
	c.blob_bytes = 8192; /* 16 cells of 256, N_BIG of 1024 */
	return c;
}

static void prepare(void)
{
	uint32_t n = 0;

	if (kb.op->worker || kb.op->coord)
		return;
	if (kb.state == ONE || kb.state == WRAP)
		n = 1;
	else if (kb.state == FULL)
		n = kb.op->len == BIG && kb.op->n_slots > N_BIG
			    ? N_BIG
			    : kb.op->n_slots;
	if (kb.state == WRAP) {
		for (uint32_t i = 0; i < kb.op->n_slots - 1; i++) {
			T_CHECK(kb_put_message(i, 0) == 0);
			T_CHECK(kb_get_message(0) == 0);
			kb.sh->put[i] = NOT;
			kb.sh->n_got[i] = 0;
		}
		n = kb.op->sleep_in[WRAP] == GET ? 0 : 2;
	}
	for (uint32_t i = 0; i < n; i++)
		T_CHECK(kb_put_message(i, 0) == 0);
}

static void start_client(void)
{
	kb.client = t_fork(kb_client_main, NULL);
	point_until(victim_there, "no victim");
	if (kb.state != ONE)
		return;
	kb.sh->go = 1;
	point_until(kb.peer == POLL ? submitted : client_parked,
		    "the client does not get ready");
}

/* The victim first, so that of two sleepers it is rung first. */
static void start_victim(void)
{
	t_fork(victim_main, NULL);
	point_until(victim_there, "no victim");
	if (kb.peer == POLL)
		return;
	kb.peer_pid = t_fork(peer_main, NULL);
	point_until(peer_parked, "the peer does not fall asleep");
}

static void seize(void)
{
	point_until(victim_there, "no victim");
	walk.victim = kb.sh->victim_pid;
	if (t_step_seize(walk.victim, &kb.sh->seized))
		point_cannot("seize");
}

void kb_set_up(void)
{
	struct bus_config c = kb_bus_settings();

	memset(kb.sh, 0, sizeof(*kb.sh));
	kb.n_unblocked = 0;
	kb.peer_pid = kb.client = 0;
	kb.our_child = !kb.op->worker;
	kb.bus = NULL;
	kb.q = NULL;
	kb.bus = t_bus_with(kb.op->made ? t_name("k") : NULL, &c);
	kb.q = t_queue(kb.bus, "q", kb.op->n_slots, 24, kb.op->flags);
	prepare();
	if (kb.op->reaps)
		t_wait(t_fork(dead_main, NULL));
	point_watch("nobody gets ready");
	if (kb.op->worker)
		start_client();
	else
		start_victim();
	point_watch("the victim does not stop");
	seize();
}
