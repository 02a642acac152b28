/*
 * test_wait.c - tests of bus/wait.c; Criterion suite "wait"
 *
 * Waits that could hang have a deadline, T_LONG, that only a hang reaches.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "bus/recover.h"
#include "tests/bus/t_bus.h"

#define MS 1000000

#define IN  BUS_POLL_IN
#define OUT BUS_POLL_OUT
#define ERR BUS_POLL_ERR
#define HUP BUS_POLL_HUP

static struct bus *bus;

static struct bus_config wait_config(void)
{
	struct bus_config c = t_config();

	c.channel_bytes = 1 << 28;
	return c;
}

static void setup(void)
{
	struct bus_config c = wait_config();

	bus = t_bus_with(NULL, &c);
}

static void teardown(void)
{
	bus_close(bus);
}

TestSuite(wait, .init = setup, .fini = teardown, .timeout = 200.0);

/* All ways to wait, one after the other, each with a new bus. */
static bool next_way(uint32_t *way)
{
	static const struct {
		uint32_t wait, spin;
	} ways[] = {
		{ BUS_WAIT_AUTO, BUS_SPIN_ADAPTIVE },
		{ BUS_WAIT_URING, BUS_SPIN_ADAPTIVE },
		{ BUS_WAIT_FUTEX, BUS_SPIN_ADAPTIVE },
		{ BUS_WAIT_AUTO, BUS_SPIN_ALWAYS },
		{ BUS_WAIT_URING, BUS_SPIN_NEVER },
		{ BUS_WAIT_FUTEX, BUS_SPIN_NEVER },
	};
	struct bus_config c = wait_config();
	int ret;

	for (; *way < lengthof(ways); ++*way) {
		if (ways[*way].wait == BUS_WAIT_URING && t_rings_are_few())
			continue;
		bus_close(bus);
		bus = NULL;
		c.wait = ways[*way].wait;
		c.spin = ways[*way].spin;
		ret = bus_create(NULL, &c, &bus);
		cr_assert(!ret || c.wait == BUS_WAIT_URING);
		if (!ret)
			return ++*way;
	}
	c = wait_config();
	bus = t_bus_with(NULL, &c);
	return false;
}

#define FOR_EACH_WAY for (uint32_t w_ = 0; next_way(&w_);)

static struct bus_poll of_queue(struct bus_queue *q, uint32_t events)
{
	return (struct bus_poll){ .kind = BUS_POLL_QUEUE,
				  .events = events,
				  .on.queue = q };
}

static struct bus_poll of_pipe(struct bus_pipe *p, uint32_t events)
{
	return (struct bus_poll){ .kind = BUS_POLL_PIPE,
				  .events = events,
				  .on.pipe = p };
}

static struct bus_poll of_coord(struct bus_coord *c, uint32_t events)
{
	return (struct bus_poll){ .kind = BUS_POLL_COORD,
				  .events = events,
				  .on.coord = c };
}

static struct bus_poll of_fd(int fd, uint32_t events)
{
	return (struct bus_poll){ .kind = BUS_POLL_FD,
				  .events = events,
				  .fd = fd };
}

static struct bus_poll of_timer(uint64_t at_ns)
{
	return (struct bus_poll){ .kind = BUS_POLL_TIMER,
				  .events = IN,
				  .at_ns = at_ns };
}

/* What is ready of one item now. */
static uint32_t ready_of(struct bus_poll it)
{
	int ret = bus_wait(bus, &it, 1, 0);

	T_CHECK(ret == (it.ready ? 1 : -EAGAIN));
	return it.ready;
}

static double ms_since(uint64_t start)
{
	return (double)(sb_now_ns() - start) / 1e6;
}

/* Arguments --------------------------------------------------------------- */

Test(wait, items_that_make_no_sense_are_refused)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0), *of_other;
	struct bus_pipe *a, *b;
	struct bus *other;
	struct bus_poll bad[] = {
		{ .kind = BUS_POLL_TIMER + 1 },
		{ .kind = UINT32_MAX },
		of_queue(NULL, IN),
		of_pipe(NULL, IN),
		of_coord(NULL, IN),
		of_queue(q, 4),
		of_queue(q, IN | 16),
		of_fd(0, HUP),
		{ .kind = BUS_POLL_TIMER, .events = OUT },
	};
	struct bus_poll it;

	for (size_t i = 0; i < lengthof(bad); i++)
		cr_assert_eq(bus_wait(bus, &bad[i], 1, 0), -EINVAL, "%zu", i);
	cr_assert_eq(bus_wait(NULL, bad, 0, 0), -EINVAL);
	cr_assert_eq(bus_wait(bus, NULL, 1, 0), -EINVAL);
	/* of another endpoint, whose thread may be at it */
	cr_assert_eq(bus_attach(bus, &other), 0);
	of_other = t_queue(other, "q", 2, 8, 0);
	it = of_queue(of_other, IN);
	cr_assert_eq(bus_wait(bus, &it, 1, 0), -EINVAL);
	t_pipe(other, 0, 0, 256, &a, &b);
	it = of_pipe(a, IN);
	cr_assert_eq(bus_wait(bus, &it, 1, 0), -EINVAL);
	cr_assert_eq(bus_wait(other, &it, 1, 0), -EAGAIN);
	bus_close(other);
}

Test(wait, nothing_is_never_ready)
{
	struct bus_poll none[3] = { { .kind = BUS_POLL_NONE, .ready = IN } };

	FOR_EACH_WAY {
		uint64_t start = sb_now_ns();

		cr_assert_eq(bus_wait(bus, NULL, 0, 0), -EAGAIN);
		cr_assert_eq(bus_wait(bus, none, 3, 0), -EAGAIN);
		cr_assert_eq(none[0].ready, 0);
		cr_assert_eq(bus_wait(bus, NULL, 0, 5 * MS), -ETIMEDOUT);
		cr_assert_eq(bus_wait(bus, none, 3, 5 * MS), -ETIMEDOUT);
		cr_assert_geq(ms_since(start), 10);
	}
}

/* What is ready ----------------------------------------------------------- */

Test(wait, queues)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);

	cr_assert_eq(ready_of(of_queue(q, IN | OUT)), OUT);
	cr_assert_eq(ready_of(of_queue(q, IN)), 0);
	cr_assert_eq(ready_of(of_queue(q, 0)), 0);
	t_put_u64(q, 1, 0);
	cr_assert_eq(ready_of(of_queue(q, IN | OUT)), IN | OUT);
	t_put_u64(q, 2, 0);
	for (int i = 0; i < 3; i++) /* level-triggered */
		cr_assert_eq(ready_of(of_queue(q, IN | OUT)), IN);
	cr_assert_eq(t_get_u64(q), 1);
	cr_assert_eq(ready_of(of_queue(q, IN | OUT)), IN | OUT);
	bus_queue_close(q);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
	cr_assert_eq(ready_of(of_queue(q, OUT)), OUT | ERR);
	cr_assert_eq(t_get_u64(q), 2);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ready_of(of_queue(q, IN)), IN | HUP);
	cr_assert_eq(ready_of(of_queue(q, OUT)), OUT | ERR | HUP);
	cr_assert_eq(ready_of(of_queue(q, 0)), HUP);
}

Test(wait, a_queue_with_a_message_kept_or_given_back)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus_msg m;
	char c;

	t_put_u64(q, 1, 0);
	cr_assert_eq(bus_queue_get(q, &c, 1, NULL, 0), -EMSGSIZE);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
	cr_assert_eq(t_get_u64(q), 1);
	t_put_u64(q, 2, 0);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), 0);
	cr_assert_eq(bus_queue_give_back(q, &m), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
	cr_assert_eq(t_get_u64(q), 2);
	cr_assert_eq(ready_of(of_queue(q, IN)), 0);
	/* a closed queue is drained only when nobody holds anything */
	t_put_u64(q, 3, 0);
	cr_assert_eq(bus_queue_peek(q, &m, 0), 0);
	bus_queue_close(q);
	cr_assert_eq(bus_queue_give_back(q, &m), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
	cr_assert_eq(t_get_u64(q), 3);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN | HUP);
	q = t_queue(bus, "r", 4, 8, 0);
	t_put_u64(q, 3, 0);
	bus_queue_abort(q);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN | HUP);
}

/* A slot that another holds: what a claim would skip, is skipped here. */
Test(wait, a_queue_with_held_slots)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus_msg m[4], loan;

	for (uint64_t i = 0; i < 4; i++)
		t_put_u64(q, i, 0);
	cr_assert_eq(ready_of(of_queue(q, OUT)), 0);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(bus_queue_peek(q, &m[i], 0), 0);
	cr_assert_eq(ready_of(of_queue(q, OUT)), 0);
	cr_assert_eq(bus_queue_release(q, &m[2]), 0);
	cr_assert_eq(ready_of(of_queue(q, OUT)), OUT);
	cr_assert_eq(t_put_u64(q, 9, 0), 0);
	cr_assert_eq(ready_of(of_queue(q, OUT)), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
	cr_assert_eq(t_get_u64(q), 9);
	for (int i = 0; i < 4; i++)
		if (i != 2)
			cr_assert_eq(bus_queue_release(q, &m[i]), 0);
	/* one that is being written is not there; what is behind it is */
	cr_assert_eq(bus_queue_loan(q, 8, &loan, 0), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), 0);
	cr_assert_eq(t_put_u64(q, 7, 0), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
	cr_assert_eq(t_get_u64(q), 7);
	cr_assert_eq(bus_queue_commit(q, &loan), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
}

Test(wait, a_strict_queue_waits_for_what_is_being_written)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, BUS_QUEUE_STRICT);
	struct bus_msg loan;

	cr_assert_eq(bus_queue_loan(q, 8, &loan, 0), 0);
	cr_assert_eq(t_put_u64(q, 7, 0), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), 0);
	cr_assert_eq(bus_queue_commit(q, &loan), 0);
	cr_assert_eq(ready_of(of_queue(q, IN)), IN);
}

Test(wait, pipes)
{
	struct bus_pipe *a, *b;

	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &a, &b);
	cr_assert_eq(ready_of(of_pipe(a, IN | OUT)), OUT);
	cr_assert_eq(ready_of(of_pipe(a, 0)), 0);
	while (!bus_pipe_send(a, "12345678", 8, 0))
		;
	cr_assert_eq(ready_of(of_pipe(a, IN | OUT)), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ready_of(of_pipe(b, IN | OUT)), IN | OUT);
	bus_pipe_close(b, BUS_PIPE_SEND);
	cr_assert_eq(ready_of(of_pipe(b, OUT)), ERR);
	cr_assert_eq(ready_of(of_pipe(b, IN)), IN);
	cr_assert_eq(ready_of(of_pipe(a, IN | OUT)), IN);
	bus_pipe_close(b, BUS_PIPE_RECV);
	cr_assert_eq(ready_of(of_pipe(b, IN)), ERR);
	cr_assert_eq(ready_of(of_pipe(b, IN | OUT)), ERR);
	cr_assert_eq(ready_of(of_pipe(a, OUT)), OUT | ERR | HUP);
	cr_assert_eq(ready_of(of_pipe(a, IN)), IN | ERR | HUP);
	cr_assert_eq(ready_of(of_pipe(a, 0)), ERR | HUP);

	t_pipe(bus, BUS_PIPE_LATENCY, BUS_PIPE_SIMPLEX, 256, &a, &b);
	cr_assert_eq(ready_of(of_pipe(a, OUT)), OUT);
	cr_assert_eq(ready_of(of_pipe(a, IN)), ERR);
	cr_assert_eq(ready_of(of_pipe(b, IN)), 0);
	cr_assert_eq(ready_of(of_pipe(b, OUT)), ERR);
	cr_assert_eq(bus_pipe_send(a, "1", 1, 0), 0);
	bus_pipe_free(a);
	cr_assert_eq(ready_of(of_pipe(b, IN)), IN | HUP);
	cr_assert_eq(bus_pipe_recv(b, &a, 8, NULL, 0), 0);
	cr_assert_eq(ready_of(of_pipe(b, IN)), IN | HUP);
	cr_assert_eq(ready_of(of_pipe(b, 0)), HUP);
}

static int doubles(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	uint64_t v;

	(void)ctx;
	T_CHECK(len == sizeof(v));
	memcpy(&v, req, sizeof(v));
	if (v == 666)
		kill(getpid(), SIGKILL);
	if (v == 777)
		_exit(1);
	v *= 2;
	return bus_reply_put(reply, &v, sizeof(v));
}

static struct bus_coord *coord(uint32_t window)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_coord *co = NULL;

	c.handler = doubles;
	c.window = window;
	T_CHECK(bus_coord_start(bus, "c", &c, &co) == 0);
	return co;
}

static int submit(struct bus_coord *co, uint64_t v)
{
	return bus_submit(co, v, &v, sizeof(v), 0);
}

Test(wait, coordinators)
{
	FOR_EACH_WAY {
		struct bus_coord *co = coord(2);
		struct bus_poll it = of_coord(co, IN);
		struct bus_result r;

		cr_assert_eq(ready_of(of_coord(co, IN | OUT)), OUT);
		cr_assert_eq(submit(co, 4), 0);
		cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
		cr_assert_eq(it.ready, IN);
		cr_assert_eq(submit(co, 5), 0);
		cr_assert_eq(bus_collect(co, &r, 0), 0);
		cr_assert_eq(*(const uint64_t *)r.data, 8);
		cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
		cr_assert_eq(bus_collect(co, &r, 0), 0);
		cr_assert_eq(ready_of(it), 0);
		/* it kills three workers, who are replaced meanwhile */
		cr_assert_eq(submit(co, 666), 0);
		cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
		cr_assert_eq(bus_collect(co, &r, 0), 0);
		cr_assert_eq(r.kind, BUS_RESULT_DEATH);
		cr_assert_eq(submit(co, 6), 0);
		cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
		cr_assert_eq(bus_collect(co, &r, 0), 0);
		cr_assert_eq(bus_coord_stop(co, T_LONG), 0);
	}
}

Test(wait, descriptors)
{
	int fd[2], unused;

	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(ready_of(of_fd(fd[0], IN)), 0);
	cr_assert_eq(ready_of(of_fd(fd[1], OUT)), OUT);
	cr_assert_eq(write(fd[1], "x", 1), 1);
	cr_assert_eq(ready_of(of_fd(fd[0], IN)), IN);
	cr_assert_eq(ready_of(of_fd(fd[0], 0)), 0);
	unused = dup(fd[0]);
	close(unused);
	cr_assert_eq(ready_of(of_fd(unused, IN)), ERR);
	close(fd[1]);
	cr_assert_eq(ready_of(of_fd(fd[0], IN)), IN | HUP);
	cr_assert_eq(ready_of(of_fd(fd[0], 0)), HUP);
	close(fd[0]);
}

Test(wait, timers)
{
	FOR_EACH_WAY {
		uint64_t start = sb_now_ns();
		struct bus_poll it[3];

		cr_assert_eq(ready_of(of_timer(0)), IN);
		cr_assert_eq(ready_of(of_timer(start)), IN);
		cr_assert_eq(ready_of(of_timer(UINT64_MAX)), 0);
		it[0] = of_timer(start + 40 * MS);
		it[1] = of_timer(start + 10 * MS);
		it[2] = of_timer(start + 5000 * (uint64_t)MS);
		cr_assert_eq(bus_wait(bus, it, 3, -1), 1);
		cr_assert_geq(ms_since(start), 10);
		cr_assert_eq(it[1].ready, IN);
		it[1].kind = BUS_POLL_NONE;
		cr_assert_eq(bus_wait(bus, it, 3, T_LONG), 1);
		cr_assert_geq(ms_since(start), 40);
		cr_assert_eq(it[0].ready, IN);
		cr_assert_eq(bus_wait(bus, &it[2], 1, MS), -ETIMEDOUT);
	}
}

Test(wait, all_that_is_ready_is_counted)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
	struct bus_pipe *a, *b;
	struct bus_poll it[6];
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	t_pipe(bus, 0, 0, 256, &a, &b);
	it[0] = of_queue(q, IN);
	it[1] = of_pipe(b, IN);
	it[2] = of_fd(fd[0], IN);
	it[3] = of_fd(fd[1], OUT);
	it[4] = of_timer(0);
	it[5] = of_pipe(a, OUT);
	cr_assert_eq(bus_wait(bus, it, 6, -1), 3);
	cr_assert(!it[0].ready && !it[1].ready && !it[2].ready);
	cr_assert_eq(it[3].ready, OUT);
	cr_assert_eq(it[4].ready, IN);
	cr_assert_eq(it[5].ready, OUT);
	t_put_u64(q, 1, 0);
	cr_assert_eq(bus_pipe_send(a, "x", 1, 0), 0);
	cr_assert_eq(write(fd[1], "x", 1), 1);
	cr_assert_eq(bus_wait(bus, it, 6, 0), 6);
	close(fd[0]);
	close(fd[1]);
}

/* Sleeping ---------------------------------------------------------------- */

/* Give the parent time to fall asleep; it may be one that never does. */
static void parent_asleep(void)
{
	pid_t parent = getppid();

	t_eventually(t_asleep, &parent, 20);
}

enum { N_PIPES = 70, N_QUEUES = 70, N_FDS = 40 };

static struct bus_pipe *mine[N_PIPES], *its[N_PIPES];
static struct bus_queue *queues[N_QUEUES];
static int fds[N_FDS][2];

/* Make one thing after the other ready, when told that the last was seen. */
static int makes_ready(void *arg)
{
	struct t_gate *seen = arg;

	for (int i = 0; i < N_PIPES; i++) {
		parent_asleep();
		T_CHECK(bus_pipe_send(its[i], "x", 1, 0) == 0);
		t_gate_wait(seen);
	}
	for (int i = 0; i < N_QUEUES; i++) {
		parent_asleep();
		t_put_u64(queues[i], (uint64_t)i, 0);
		t_gate_wait(seen);
	}
	for (int i = 0; i < N_FDS; i++) {
		parent_asleep();
		T_CHECK(write(fds[i][1], "x", 1) == 1);
		t_gate_wait(seen);
	}
	for (int i = 0; i < N_PIPES; i++) {
		bus_pipe_free(its[i]);
		t_gate_wait(seen);
	}
	return 0;
}

enum { N_CLOSED = 200 };

static struct bus_pipe *mine_left[N_CLOSED], *its_closed[N_CLOSED];

/* Whose turn it is to be closed; shared. */
static _Atomic int *turn;

static int closes_in_turn(void *arg)
{
	(void)arg;
	for (int i = 0; i < N_CLOSED; i++) {
		while (ld_acq(turn) != i)
			sched_yield();
		/* To use it is to become its owner, who alone can close it. */
		T_CHECK(bus_pipe_recv(its_closed[i], NULL, 0, NULL, 0) ==
			-EAGAIN);
		bus_pipe_free(its_closed[i]);
	}
	return 0;
}

/* The look at what can be read and the look at whether the peer is there must
 * not be of two instants, or an end is told as a message. */
Test(wait, a_close_is_seen_whole_or_not_at_all)
{
	pid_t child;

	turn = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(turn, MAP_FAILED);
	for (int i = 0; i < N_CLOSED; i++)
		t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &mine_left[i],
		       &its_closed[i]);
	st_rel(turn, -1);
	child = t_fork(closes_in_turn, NULL);
	for (int i = 0; i < N_CLOSED; i++) {
		struct bus_poll it = of_pipe(mine_left[i], IN | OUT);
		int ret;

		/* There is room at once, so only more than that tells. */
		st_rel(turn, i);
		do
			ret = bus_wait(bus, &it, 1, 0);
		while (ret == 1 && it.ready == OUT);
		cr_assert_eq(ret, 1);
		cr_assert_eq(it.ready, IN | OUT | HUP | ERR, "pipe %d: %u", i,
			     it.ready);
	}
	t_join(child);
	for (int i = 0; i < N_CLOSED; i++)
		bus_pipe_free(mine_left[i]);
	munmap(turn, sizeof(*turn));
}

/* More items than bits in a word, and any of them wakes. */
Test(wait, any_number_is_waited_for_at_once)
{
	struct bus_poll it[N_PIPES + N_QUEUES + N_FDS + 1];

	FOR_EACH_WAY {
		struct t_gate seen;
		int n = 0;
		pid_t child;

		for (int i = 0; i < N_PIPES; i++, n++) {
			t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &mine[i],
			       &its[i]);
			it[n] = of_pipe(mine[i], IN);
		}
		for (int i = 0; i < N_QUEUES; i++, n++) {
			char name[16];

			snprintf(name, sizeof(name), "%d", i);
			queues[i] = t_queue(bus, name, 2, 8, 0);
			it[n] = of_queue(queues[i], i % 2 ? IN : IN | OUT);
			t_put_u64(queues[i], 0, 0); /* so that it is full */
			t_put_u64(queues[i], 0, 0);
			t_get_u64(queues[i]);
			t_get_u64(queues[i]);
			it[n].events = IN;
		}
		for (int i = 0; i < N_FDS; i++, n++) {
			T_CHECK(pipe(fds[i]) == 0);
			it[n] = of_fd(fds[i][0], IN);
		}
		it[n] = of_timer(UINT64_MAX);
		t_gate_init(&seen);
		child = t_fork(makes_ready, &seen);
		for (int i = 0; i < n; i++) {
			char c[8];

			cr_assert_eq(bus_wait(bus, it, (size_t)n + 1, T_LONG),
				     1);
			cr_assert_eq(it[i].ready, IN);
			if (i < N_PIPES)
				cr_assert_eq(
					bus_pipe_recv(mine[i], c, 1, NULL, 0),
					0);
			else if (i < N_PIPES + N_QUEUES)
				cr_assert_eq(bus_queue_get(queues[i - N_PIPES],
							   c, 8, NULL, 0),
					     0);
			else
				cr_assert_eq(read(it[i].fd, c, 1), 1);
			t_gate_open(&seen);
		}
		for (int i = 0; i < N_PIPES; i++) {
			cr_assert_eq(bus_wait(bus, it, (size_t)n + 1, T_LONG),
				     1);
			cr_assert_eq(it[i].ready, IN | HUP | ERR);
			it[i].kind = BUS_POLL_NONE;
			t_gate_open(&seen);
		}
		t_join(child);
		t_gate_close(&seen);
		for (int i = 0; i < N_FDS; i++) {
			close(fds[i][0]);
			close(fds[i][1]);
		}
	}
}

/* One after the other, when told that the last was seen: the parent may not
 * run for longer than anybody would wait for it. */
static int takes_slowly(void *arg)
{
	struct t_gate *seen = arg;
	char c[8];

	parent_asleep();
	t_get_u64(queues[0]);
	t_gate_wait(seen);
	parent_asleep();
	while (!bus_pipe_recv(its[0], c, 8, NULL, 0))
		;
	t_gate_wait(seen);
	return 0;
}

Test(wait, room_wakes)
{
	FOR_EACH_WAY {
		struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);
		struct bus_poll it[2];
		struct t_gate seen;
		pid_t child;

		queues[0] = q;
		t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &mine[0], &its[0]);
		while (!bus_pipe_send(mine[0], "1234567", 8, 0))
			;
		while (!t_put_u64(q, 1, 0))
			;
		it[0] = of_queue(q, OUT);
		it[1] = of_pipe(mine[0], OUT);
		t_gate_init(&seen);
		child = t_fork(takes_slowly, &seen);
		cr_assert_eq(bus_wait(bus, it, 2, T_LONG), 1);
		cr_assert_eq(it[0].ready, OUT);
		t_gate_open(&seen);
		cr_assert_eq(bus_wait(bus, &it[1], 1, T_LONG), 1);
		cr_assert_eq(it[1].ready, OUT);
		t_gate_open(&seen);
		t_join(child);
		t_gate_close(&seen);
	}
}

static int only_sleeps(void *arg)
{
	char c;

	(void)arg;
	bus_pipe_recv(its[0], &c, 1, NULL, -1);
	return 0;
}

static int kills(void *arg)
{
	parent_asleep();
	usleep(10000);
	kill(*(pid_t *)arg, SIGKILL);
	return 0;
}

Test(wait, the_death_of_a_peer_wakes)
{
	FOR_EACH_WAY {
		pid_t child, killer;
		struct bus_poll it;

		t_pipe(bus, 0, 0, 256, &mine[0], &its[0]);
		child = t_fork(only_sleeps, NULL);
		while (t_pipe_stats(mine[0]).peer_state != BUS_PIPE_PEER_OPEN)
			sched_yield();
		it = of_pipe(mine[0], IN);
		killer = t_fork(kills, &child);
		cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), 1);
		cr_assert_eq(it.ready, IN | ERR | HUP);
		t_wait(child);
		t_wait(killer);
	}
}

/* Not sleeping ------------------------------------------------------------ */

/* As with poll(2). */
Test(wait, a_negative_descriptor_is_never_ready, .timeout = 20)
{
	FOR_EACH_WAY {
		struct bus_poll it = of_fd(-1, IN);
		uint64_t start = sb_now_ns();

		cr_assert_eq(bus_wait(bus, &it, 1, 0), -EAGAIN);
		cr_assert_eq(bus_wait(bus, &it, 1, 20 * MS), -ETIMEDOUT);
		cr_assert_geq(ms_since(start), 20);
	}
}

struct thief {
	struct sb_watch watch;
	uint32_t n_taken;
};

/* Takes the event in the same wait, as another process could. */
static void takes_event(void *arg, uint32_t events)
{
	struct thief *t = arg;
	uint64_t n;

	(void)events;
	t->n_taken += read(t->watch.fd, &n, sizeof(n)) == sizeof(n);
}

/* Wait for a timer's event.  True if it was taken before bus_wait looked. */
static bool event_was_stolen(void)
{
	struct itimerspec in_5_ms = { .it_value = { 0, 5 * MS } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct thief t = { .watch = { .fd = fd,
				      .events = POLLIN,
				      .ready = takes_event,
				      .arg = &t } };
	struct bus_poll it = of_fd(fd, IN);
	uint64_t start = sb_now_ns();
	int ret;

	cr_assert_eq(timerfd_settime(fd, 0, &in_5_ms, NULL), 0);
	sb_waiter_watch(&bus->waiter, &t.watch);
	ret = bus_wait(bus, &it, 1, 40 * MS);
	sb_waiter_unwatch(&bus->waiter, &t.watch);
	close(fd);
	if (ret == 1)
		return false;
	cr_assert_eq(ret, -ETIMEDOUT);
	cr_assert_eq(it.ready, 0);
	cr_assert_geq(ms_since(start), 40);
	return t.n_taken == 1;
}

/* Who was told of an event and comes too late waits on, until its time is
 * over. */
Test(wait, an_event_that_another_took_is_forgotten, .timeout = 30)
{
	FOR_EACH_WAY {
		int tries = 50;

		while (!event_was_stolen())
			cr_assert_gt(--tries, 0);
	}
}

/* Wait until @it[0] says @ready, with calls that never have to sleep. */
static bool is_seen_awake(struct bus_poll *it, size_t n, uint32_t ready)
{
	uint64_t end = sb_now_ns() + (uint64_t)T_LONG / 3;

	do {
		bus_wait(bus, it, n, n > 1 ? -1 : 0);
		if (it[0].ready & ready)
			return true;
	} while (sb_now_ns() < end);
	return false;
}

/* Alone with a time-out of 0, or beside what is always ready. */
Test(wait, the_death_of_a_peer_is_seen_by_who_never_sleeps)
{
	for (size_t n = 1; n <= 2; n++) {
		struct bus_poll it[2];
		pid_t child;

		t_pipe(bus, 0, 0, 256, &mine[0], &its[0]);
		child = t_fork(only_sleeps, NULL);
		while (t_pipe_stats(mine[0]).peer_state != BUS_PIPE_PEER_OPEN)
			sched_yield();
		it[0] = of_pipe(mine[0], IN);
		it[1] = of_timer(0);
		cr_assert_eq(bus_wait(bus, it, n, 0), n > 1 ? 1 : -EAGAIN);
		t_kill(child);
		cr_assert(is_seen_awake(it, n, HUP));
		cr_assert_eq(it[0].ready, IN | ERR | HUP);
	}
}

/* The worker dies of it until it is given up: that takes replacements. */
Test(wait, workers_are_replaced_for_who_never_sleeps)
{
	for (size_t n = 1; n <= 2; n++) {
		struct bus_coord *co = coord(2);
		struct bus_poll it[2] = { of_coord(co, IN), of_timer(0) };
		struct bus_result r;

		cr_assert_eq(submit(co, 666), 0);
		cr_assert(is_seen_awake(it, n, IN));
		cr_assert_eq(bus_collect(co, &r, 0), 0);
		cr_assert_eq(r.kind, BUS_RESULT_DEATH);
		cr_assert_eq(bus_coord_stop(co, T_LONG), 0);
	}
}

/* A pipe that is closed has no peer to be looked after. */
Test(wait, a_closed_end_is_not_watched)
{
	struct bus_poll it;
	pid_t child;

	t_pipe(bus, 0, 0, 256, &mine[0], &its[0]);
	child = t_fork(only_sleeps, NULL);
	while (t_pipe_stats(mine[0]).peer_state != BUS_PIPE_PEER_OPEN)
		sched_yield();
	it = of_pipe(mine[0], IN);
	cr_assert_eq(ready_of(it), 0); /* it is ours now */
	cr_assert_eq(bus_pipe_close(mine[0], BUS_PIPE_SEND | BUS_PIPE_RECV),
		     0);
	for (int i = 0; i < 200; i++) {
		usleep(20);
		cr_assert_eq(bus_wait(bus, &it, 1, 0), 1);
		cr_assert_eq(it.ready, ERR);
	}
	cr_assert_null(bus->waiter.watches);
	t_wait(child);
}

/* A tail that a hostile peer has set far ahead. */
Test(wait, a_look_at_a_broken_queue_ends, .timeout = 20)
{
	for (uint32_t strict = 0; strict < 2; strict++) {
		struct bus_queue *q = t_queue(bus, strict ? "s" : "q", 4, 8,
					      strict ? BUS_QUEUE_STRICT : 0);
		struct bus_map *map = bus->map;
		struct bus_channel *c = (void *)((unsigned char *)map->seg.base +
						 map->dir[strict].off);
		struct sb_ring *ring = (void *)(c + 1);

		add_acqrel(&ring->tail, UINT64_C(1) << 56);
		cr_assert_eq(ready_of(of_queue(q, IN)), 0);
	}
}

/* Shared queues ----------------------------------------------------------- */

struct meeting {
	_Atomic uint32_t n_asleep;
	_Atomic uint64_t got_ns;
};

static struct meeting *meet;

/* Looks at the queue, and takes nothing. */
static int only_polls(void *arg)
{
	struct bus_poll it = of_queue(arg, IN);

	add_acqrel(&meet->n_asleep, 1);
	T_CHECK(bus_wait(bus, &it, 1, T_LONG) == 1);
	T_CHECK(it.ready == IN);
	pause(); /* it has other things to do */
	return 0;
}

static int gets_one(void *arg)
{
	struct bus_poll it = of_queue(arg, IN);

	add_acqrel(&meet->n_asleep, 1);
	if (arg == queues[1])
		T_CHECK(bus_wait(bus, &it, 1, T_LONG) == 1);
	T_CHECK(t_get_u64(arg) == 5);
	st_rel(&meet->got_ns, sb_now_ns());
	return 0;
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Who takes is woken though those who only look were woken first: at once, and
 * not when the next slice of its sleep ends. */
Test(wait, a_wake_is_handed_on_to_one_who_takes)
{
	enum { ROUNDS = 9 };

	double ms[ROUNDS];

	meet = t_shared(sizeof(*meet));
	for (int round = 0; round < ROUNDS; round++) {
		struct bus_queue *q = queues[0];
		pid_t poller[3], taker;
		uint64_t start;

		if (!round)
			q = queues[0] = t_queue(bus, "q", 4, 8, 0);
		st_rlx(&meet->n_asleep, 0);
		/* lower ids are woken first */
		for (int i = 0; i < 3; i++) {
			poller[i] = t_fork(only_polls, q);
			while (ld_acq(&meet->n_asleep) <= (uint32_t)i)
				sched_yield();
			t_wait_asleep(poller[i]);
		}
		taker = t_fork(gets_one, q);
		while (ld_acq(&meet->n_asleep) < 4)
			sched_yield();
		t_wait_asleep(taker);
		usleep(2000);
		start = sb_now_ns();
		t_put_u64(q, 5, 0);
		t_join(taker);
		ms[round] =
			(double)(int64_t)(ld_acq(&meet->got_ns) - start) / 1e6;
		for (int i = 0; i < 3; i++)
			t_kill(poller[i]);
		bus_reap(bus);
	}
	qsort(ms, ROUNDS, sizeof(*ms), cmp);
	cr_assert_lt(ms[ROUNDS / 2], 20, "%f ms", ms[ROUNDS / 2]);
}

/* Several wait with bus_wait and then take: none of them hangs. */
static int takes_many(void *arg)
{
	struct bus_poll it = of_queue(arg, IN);

	for (;;) {
		uint64_t v;
		int ret = bus_wait(bus, &it, 1, T_LONG);

		T_CHECK(ret == 1);
		ret = bus_queue_get(arg, &v, 8, NULL, 0);
		if (ret == -EPIPE)
			break;
		T_CHECK(ret == 0 || ret == -EAGAIN);
	}
	bus_close(bus);
	return 0;
}

Test(wait, many_waiters_share_a_queue)
{
	FOR_EACH_WAY {
		struct bus_queue *q = t_queue(bus, "q", 16, 8, 0);
		struct bus_poll it = of_queue(q, OUT);
		pid_t child[4];

		for (int i = 0; i < 4; i++)
			child[i] = t_fork(takes_many, q);
		for (uint64_t i = 0; i < 2000;) {
			int ret = bus_wait(bus, &it, 1, T_LONG);

			cr_assert_eq(ret, 1);
			ret = t_put_u64(q, i, 0);
			cr_assert(ret == 0 || ret == -EAGAIN);
			i += ret == 0;
		}
		bus_queue_close(q);
		for (int i = 0; i < 4; i++)
			t_join(child[i]);
	}
}

/* The rest ---------------------------------------------------------------- */

static void on_alarm(int sig)
{
	(void)sig;
}

Test(wait, a_signal_ends_it_where_that_is_wanted)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	/* again and again: one that comes while we are awake is not noticed */
	struct itimerval t = { { 0, 30000 }, { 0, 30000 } };
	struct bus_config c = wait_config();
	struct bus_poll it;

	sigaction(SIGALRM, &sa, NULL);
	bus_close(bus);
	c.flags = BUS_F_EINTR;
	bus = t_bus_with(NULL, &c);
	it = of_queue(t_queue(bus, "q", 2, 8, 0), IN);
	setitimer(ITIMER_REAL, &t, NULL);
	cr_assert_eq(bus_wait(bus, &it, 1, T_LONG), -EINTR);
}

static int signals_parent(void *ms)
{
	usleep(1000 * *(unsigned int *)ms);
	kill(getppid(), SIGUSR1);
	return 0;
}

/* What is said at BUS_F_EINTR: a descriptor keeps what a sleep may miss. */
Test(wait, no_signal_is_missed_that_a_descriptor_keeps)
{
	struct signalfd_siginfo info;
	struct bus_poll it[2];
	sigset_t usr1;
	int fd;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	fd = signalfd(-1, &usr1, SFD_CLOEXEC | SFD_NONBLOCK);
	cr_assert_geq(fd, 0);
	FOR_EACH_WAY {
		it[0] = of_queue(t_queue(bus, "q", 2, 8, 0), IN);
		it[1] = of_fd(fd, IN);
		for (unsigned int ms = 0; ms < 8; ms++) {
			pid_t child = t_fork(signals_parent, &ms);

			cr_assert_eq(bus_wait(bus, it, 2, T_LONG), 1);
			cr_assert_eq(it[1].ready, IN);
			cr_assert_eq(read(fd, &info, sizeof(info)),
				     sizeof(info));
			cr_assert_eq(info.ssi_pid, (uint32_t)child);
			t_join(child);
		}
	}
	close(fd);
}

static int waits_in_child(void *arg)
{
	struct bus_poll it[2] = { of_queue(queues[0], IN),
				  of_pipe(its[0], IN) };

	(void)arg;
	T_CHECK(bus_wait(bus, it, 2, T_LONG) == 1);
	T_CHECK(it[1].ready == IN);
	/* the parent's end is not ours */
	it[1].on.pipe = mine[0];
	T_CHECK(bus_wait(bus, it, 2, T_LONG) == 1);
	T_CHECK(it[1].ready == ERR);
	bus_close(bus);
	return 0;
}

Test(wait, a_child_waits_with_what_it_inherited)
{
	FOR_EACH_WAY {
		pid_t child;

		queues[0] = t_queue(bus, "q", 2, 8, 0);
		t_pipe(bus, 0, 0, 256, &mine[0], &its[0]);
		cr_assert_eq(ready_of(of_pipe(mine[0], IN)), 0);
		child = t_fork(waits_in_child, NULL);
		t_wait_asleep(child);
		cr_assert_eq(bus_pipe_send(mine[0], "x", 1, 0), 0);
		t_join(child);
	}
}

static int without_uring(void *arg)
{
	struct bus_poll it[2];
	pid_t child;
	int fd[2];

	(void)arg;
	if (t_deny_io_uring(EPERM))
		return T_SKIP;
	unsetenv("BUS_WAIT");
	setup();
	T_CHECK(pipe(fd) == 0);
	t_pipe(bus, 0, 0, 256, &mine[0], &its[0]);
	it[0] = of_fd(fd[0], IN);
	it[1] = of_pipe(mine[0], IN);
	child = fork();
	if (child == 0) {
		parent_asleep();
		T_CHECK(write(fd[1], "x", 1) == 1);
		_exit(only_sleeps(NULL));
	}
	T_CHECK(bus_wait(bus, it, 2, T_LONG) == 1);
	T_CHECK(it[0].ready == IN);
	while (t_pipe_stats(mine[0]).peer_state != BUS_PIPE_PEER_OPEN)
		sched_yield();
	kill(child, SIGKILL);
	T_CHECK(bus_wait(bus, &it[1], 1, T_LONG) == 1);
	T_CHECK(it[1].ready == (IN | ERR | HUP));
	t_wait(child);
	return 0;
}

Test(wait, works_without_io_uring)
{
	t_join_or_skip(t_fork(without_uring, NULL), "no seccomp here");
}

Test(wait, leaves_no_watch_and_no_bit_behind)
{
	struct bus_queue *q = t_queue(bus, "q", 2, 8, 0);
	int n_fds = t_count_fds(), fd[2];
	struct bus_poll it[3];

	cr_assert_eq(pipe(fd), 0);
	t_pipe(bus, 0, 0, 256, &mine[0], &its[0]);
	it[0] = of_fd(fd[0], IN);
	it[1] = of_queue(q, IN);
	it[2] = of_pipe(mine[0], IN);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(bus_wait(bus, it, 3, MS), -ETIMEDOUT);
	cr_assert_null(bus->waiter.watches);
	close(fd[0]);
	close(fd[1]);
	cr_assert_leq(t_count_fds(), n_fds + 1); /* a ring, perhaps */
}
