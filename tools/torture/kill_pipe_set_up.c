/*
 * kill_pipe_set_up.c - the processes of a point, and how they get ready
 *
 * First all that the victim finds: the bus, the pipe with as many messages as
 * the state says, one who died before it.  Then the peer, which blocks, and the
 * victim, which offers itself right in front of the operation.
 */
#include "config.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tools/torture/kill_pipe.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define HEIR_S 120 /* longer than it can take */

/* --------------------------------------------------------- every process -- */

static void become(uint32_t wait, uint32_t spin)
{
	kp.bus->config.wait = wait;
	kp.bus->config.spin = spin;
}

static void attach(void)
{
	T_CHECK(bus_check(kp.bus) == 0);
	kp.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
}

int kp_open_mine(void)
{
	if (kp.op->flow == NAMED)
		return kp_open_side(1 - kp.side, &kp.mine.p);
	kp.mine.p = kp.pair[1 - kp.side];
	return kp.mine.p ? 0 : -EINVAL;
}

/* ------------------------------------------------------------ the victim -- */

static int never(void *arg, bool sure)
{
	(void)arg;
	(void)sure;
	return -EAGAIN;
}

/* What is made at the first sleep should not be stepped through each time. */
static void sleep_once(void)
{
	struct sb_wait wait = { .try_ = never };

	sb_waiter_wait(&kp.bus->waiter, &wait, sb_deadline(1));
}

/* Bring the pipe to kp.state, as far as that is the writer's. */
static void send_first(void)
{
	unsigned char buf[MSG_MAX];

	for (uint32_t k = 0; k < kp.n_first; k++) {
		uint32_t i = BY_VICTIM + 2 * k + 1;
		size_t len = kp_write_message(buf, FROM_VICTIM, i);

		T_CHECK(bus_pipe_send(kp.vp, buf, len, -1) == 0);
		kp.sh->put[FROM_VICTIM][i] = DONE;
	}
}

static void make_messages(void)
{
	for (uint32_t i = 0; i < lengthof(kp.msg); i++)
		kp_write_message(kp.msg[i], FROM_VICTIM, kp.number + i);
	if (!kp.op->big_out && !kp.op->n_long)
		for (uint32_t i = 0; i < lengthof(kp.msg); i++)
			memcpy(kp.mids + i * MID, kp.msg[i], MID);
}

/* What has been before, so that both slots have old bytes. */
static void go_round(void)
{
	if (kp.op->role == READER)
		kp_recv_n(5);
	if (kp.op->role != BOTH)
		return;
	kp.number -= 4;
	make_messages();
	kp_exchange_one(0);
	kp_exchange_one(1);
	kp_exchange_one(2);
	kp.number += 4;
	make_messages();
}

static int heir_main(void)
{
	unsigned char buf[MSG_MAX];
	size_t len = kp_write_message(buf, FROM_VICTIM, BY_HEIR);
	int ret;

	t_gate_wait(&kp.heir_gate);
	kp.sh->put[FROM_VICTIM][BY_HEIR] = BEGUN;
	ret = bus_pipe_send(kp.vp, buf, len, POINT_HUNG_NS);
	kp.sh->put[FROM_VICTIM][BY_HEIR] = ret ? NOT : DONE;
	kp.sh->heir_ret = ret;
	kp.sh->heir_done = 1;
	bus_close(kp.bus);
	return 0;
}

/* Our child, but it outlives us. */
static void fork_heir(void)
{
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(HEIR_S);
		_exit(heir_main());
	}
	kp.sh->heir_pid = pid;
}

static int victim_main(void *arg)
{
	(void)arg;
	make_messages();
	become(kp.have_uring && kp.peer != FUTEX ? BUS_WAIT_URING
						 : BUS_WAIT_FUTEX,
	       BUS_SPIN_NEVER);
	kp.vp = kp.pair[kp.side];
	if (kp.op->flow == GIVE) {
		if (kp.state == ONE) {
			attach();
			kp_send_one(3);
		}
		fork_heir();
	}
	if (kp.op->flow != PAIR && kp.op->flow != GIVEN)
		attach();
	if ((kp.op->flow == NAMED && !kp.op->opens && kp.op->role != OTHER) ||
	    kp.op->flow == LAST)
		T_CHECK(kp_open_side(kp.side, &kp.vp) == 0);
	if (kp.op->role == WRITER && !kp.op->opens)
		send_first();
	if (kp.state == WRAP)
		go_round();
	if (kp.bus->fork_gen == sb_fork_gen && kp.peer != URING)
		sleep_once();
	t_step_offer(&kp.sh->victim_pid, &kp.sh->seized);
	kp.op->fn();
	kp.sh->over = 1;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

/* ---------------------------------------------------------------- others -- */

/* Had the victim's side before it. */
static int before_main(void *arg)
{
	unsigned char buf[MSG_MAX];
	struct bus_part part;
	size_t len;

	(void)arg;
	attach();
	if (kp.op->before == DEAD_READER) {
		T_CHECK(kp_open_side(kp.side, &kp.vp) == 0);
		T_CHECK(bus_pipe_recv(kp.vp, buf, sizeof(buf), &len, 0) == 0);
	} else {
		T_CHECK(kp_open_side(0, &kp.vp) == 0);
		kp_write_message(buf, FROM_VICTIM, BY_BEFORE + 1);
		T_CHECK(bus_pipe_send(kp.vp, buf, MID, 0) == 0);
		T_CHECK(bus_pipe_loan(kp.vp, BIG, &part, 0) == 0);
		memcpy(part.data, buf, MID);
		T_CHECK(bus_pipe_commit(kp.vp, &part) == 0);
		kp.sh->put[FROM_VICTIM][BY_BEFORE + 1] = DONE;
	}
	kill(getpid(), SIGKILL);
	return 1;
}

static char command(void)
{
	char c = 'q';

	while (read(kp.gate.fd[0], &c, 1) < 0 && errno == EINTR)
		;
	return c;
}

static int peer_main(void *arg)
{
	int fds = t_count_fds();

	(void)arg;
	become(kp.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX,
	       kp.peer == SPIN ? BUS_SPIN_ALWAYS : BUS_SPIN_NEVER);
	attach();
	T_CHECK(kp_open_mine() == 0);
	kp.sh->peer_ready = 1;
	do {
		kp_go_on(&kp.mine);
		while (!kp_at_end(&kp.mine))
			kp_do_job(&kp.mine, -1);
		kp.sh->end_ns = sb_now_ns();
		kp_check_end(&kp.mine);
		kp.sh->n_ends++;
	} while (command() == 'a');
	bus_pipe_free(kp.mine.p);
	bus_close(kp.bus);
	return t_count_fds() > fds;
}

void kp_stop_peer(void)
{
	int status;

	if (kp.peer != SPIN || kp.peer_stopped)
		return;
	kill(kp.peer_pid, SIGSTOP);
	waitpid(kp.peer_pid, &status, WUNTRACED);
	kp.peer_stopped = true;
}

void kp_let_peer_go(void)
{
	if (!kp.peer_stopped)
		return;
	kill(kp.peer_pid, SIGCONT);
	kp.peer_stopped = false;
}

/* ---------------------------------------------------------------- set up -- */

struct bus_config kp_bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = 1 << 18;
	c.max_message_bytes = 1024;
	c.blob_bytes = 8192;
	return c;
}

static enum job job_of(void)
{
	if (kp.op->xchg || kp.op->role == BOTH)
		return XCHG;
	if (kp.op->role == READER)
		return kp.peer != POLL && kp.state == EMPTY ? READ : WRITE;
	return kp.peer != POLL && kp.state == FULL ? WRITE : READ;
}

static void plan(void)
{
	static const uint32_t n_first[] = { 0, 1, 2, 3, 4, 7 };
	enum job job = job_of();

	kp.side = kp.op->role == READER;
	kp.cross = (kp.op->role == READER && job == READ) ||
		   (kp.op->role == WRITER && job == WRITE) ||
		   (kp.op->role == READER && kp.op->first);
	kp.n_first = kp.op->n_long ? kp.op->n_long : n_first[kp.state];
	if (kp.op->flow != NAMED || kp.op->opens)
		kp.n_first = 0;
	kp.number = BY_VICTIM + 2 * kp.n_first;
	if (kp.op->role == BOTH)
		kp.number = BY_VICTIM + 4;
	kp_set_end(&kp.mine, job, FROM_VICTIM);
	memset(kp.pair, 0, sizeof(kp.pair));
	kp.half_before = false;
	kp.n_again = 0;
	walk.victim = kp.peer_pid = 0;
	kp.peer_stopped = false;
	/* Nobody is told of the end of one who was never there. */
	kp.early = kp.op->flow == NAMED && point.k % 3 == 2;
}

static bool has_read_first(void)
{
	return kp.sh->log[FROM_VICTIM].n >= kp.n_first;
}

static bool peer_parked(void)
{
	if (!kp.sh->peer_ready || (kp.mine.job == READ && !has_read_first()))
		return false;
	return kp.peer == SPIN || t_parked(kp.peer_pid);
}

/* We write as far as kp.state says; the victim has not started. */
static void write_first(void)
{
	uint32_t n = kp.state == FULL ? N_MSGS : kp.n_first;

	for (uint32_t i = 0; i < n; i++)
		if (kp_write_job(&kp.mine, 0))
			break;
}

static void make_ends(void)
{
	struct bus_pipe_config c = kp_pipe_settings();

	if (kp.op->flow == PAIR || kp.op->flow == GIVEN || kp.op->flow == GIVE)
		T_CHECK(bus_pipe(kp.bus, &c, &kp.pair[0], &kp.pair[1]) == 0);
	if ((kp.op->flow == ALONE || kp.op->first) && kp.state == ONE) {
		/* one that it can use again */
		T_CHECK(bus_pipe(kp.bus, &c, &kp.pair[0], &kp.pair[1]) == 0);
		bus_pipe_free(kp.pair[0]);
		bus_pipe_free(kp.pair[1]);
		memset(kp.pair, 0, sizeof(kp.pair));
	}
	if (kp.peer != POLL || kp.op->flow == ALONE || kp.op->flow == LAST ||
	    kp.op->first)
		return;
	T_CHECK(kp_open_mine() == 0);
	if (kp.op->role == READER && kp.state != WRAP && kp.mine.job == WRITE)
		write_first();
}

static void start_before(void)
{
	if (kp.op->before == NOBODY)
		return;
	t_wait(t_fork(before_main, NULL));
	if (kp.op->before == DEAD_READER)
		kp.sh->taken = 1 << 8;
	else
		kp.half_before = kp_is_half_sent(FROM_VICTIM, &kp.last_before);
	/* Has the peer heard of it, or has it not? */
	if (kp.mine.p && kp.op->opens && kp.mine.job == READ && point.k % 2) {
		while (!kp_at_end(&kp.mine))
			kp_do_job(&kp.mine, 0);
		kp_go_on(&kp.mine);
	}
}

static bool victim_there(void)
{
	return kp.sh->victim_pid != 0;
}

/* The victim may need us to get where it is to start from. */
static bool victim_ready(void)
{
	if (kp.peer == POLL && kp.mine.p && kp.state == WRAP)
		kp_do_job(&kp.mine, 0);
	return victim_there();
}

static bool all_read(void)
{
	if (!has_read_first())
		kp_do_job(&kp.mine, 0);
	return has_read_first();
}

void kp_set_up(void)
{
	struct bus_config c = kp_bus_settings();

	memset(kp.sh, 0, sizeof(*kp.sh));
	plan();
	kp.fds = t_count_fds();
	t_gate_init(&kp.gate);
	t_gate_init(&kp.heir_gate);
	kp.bus = NULL;
	kp.bus = t_bus_with(t_name("k"), &c);
	kp.bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	make_ends();
	start_before();
	if (kp.peer != POLL)
		kp.peer_pid = t_fork(peer_main, NULL);
	walk.victim = t_fork(victim_main, NULL);
	if (kp.op->flow == GIVEN) {
		T_CHECK(!bus_pipe_hand_over(kp.pair[kp.side], walk.victim));
		kp.pair[kp.side] = NULL;
	}
	point_until(victim_ready, "no victim");
	if (kp.peer != POLL) {
		point_until(peer_parked, "the peer does not get ready");
		point_nap();
		kp_stop_peer();
	} else if (kp.state == WRAP && kp.mine.job == READ) {
		point_until(all_read, "we do not get ready");
	}
	if (t_step_seize(walk.victim, &kp.sh->seized))
		point_cannot("seize");
}
