/*
 * test_pipe_peer.c - tests of bus/pipe_peer.c: waiting for the peer, and its
 * death; Criterion suite "pipe_peer"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "bus/endpoint.h"
#include "bus/recover.h"
#include "tests/bus/t_pipe.h"

TestSuite(pipe_peer, .init = setup, .fini = teardown, .timeout = 200.0);

/* Waiting ----------------------------------------------------------------- */

Test(pipe_peer, all_ways_to_spin_and_fence_work)
{
	for (uint32_t spin = 0; spin <= BUS_SPIN_NEVER; spin++)
		for (uint32_t flags = 0; flags <= BUS_F_FENCE;
		     flags += BUS_F_FENCE) {
			struct bus_config c = pipe_config();
			pid_t child;

			bus_close(bus);
			c.spin = spin;
			c.flags = flags;
			bus = t_bus_with(NULL, &c);
			t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, 0, &a, &b);
			child = t_fork(echo, b);
			for (uint64_t i = 0; i < 200; i++)
				ask(a, i % 20 ? i : i * 2000, i);
			bus_pipe_free(a);
			t_join(child);
		}
}

static void on_alarm(int sig)
{
	(void)sig;
}

Test(pipe_peer, a_signal_ends_a_call_where_that_is_wanted)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct bus_config c = pipe_config();

	sigaction(SIGALRM, &sa, NULL);
	bus_close(bus);
	c.flags = BUS_F_EINTR;
	bus = t_bus_with(NULL, &c);
	pair(256);
	half(1000);
	for (int i = 0; i < 4; i++) {
		/* again and again: one that comes while we are awake is not
		 * noticed */
		struct itimerval t = { { 0, 30000 }, { 0, 30000 } };
		size_t len;
		int ret;

		setitimer(ITIMER_REAL, &t, NULL);
		if (i == 0)
			ret = bus_pipe_recv(b, in, 1000, &len, T_LONG);
		else if (i == 1)
			ret = bus_pipe_poll(b, T_LONG);
		else if (i == 2)
			ret = bus_pipe_exchange(b, out, 2000, in, 1000, &len,
						T_LONG);
		else
			ret = bus_pipe_cancel(b) ? 0
						 : send_n(b, 3000, 1, T_LONG);
		cr_assert_eq(ret, -EINTR, "%d", i);
	}
}

struct flood {
	struct bus *bus;
	struct bus_pipe *p;
	_Atomic bool over;
};

/* The endless beginning of a message, or what belongs to none. */
static void *floods(void *arg)
{
	struct flood *f = arg;

	static const struct {
		struct bus_fragment f;
		uint8_t data[8];
	} stray = { { 1, 8, 1 << 20 }, { 0 } };

	T_CHECK(bus_pipe_use(f->p, BUS_PIPE_SEND) == 0);
	while (!f->over) {
		void *at;

		if (sb_spsc_room(&f->p->tx, sizeof(stray), &at))
			continue;
		memcpy(at, &stray, sizeof(stray));
		sb_spsc_publish(&f->p->tx, sizeof(stray), BUS_REC_FRAGMENT);
		bus_pipe_wake_reader(f->p);
	}
	return NULL;
}

Test(pipe_peer, a_peer_cannot_keep_a_call_over_its_deadline)
{
	struct flood f = { 0 };
	struct bus_part part;
	pthread_t t;

	pair(8192);
	cr_assert_eq(bus_attach(bus, &f.bus), 0);
	f.p = a;
	cr_assert_eq(bus_pipe_move(a, f.bus), 0);
	cr_assert_eq(pthread_create(&t, NULL, floods, &f), 0);
	for (int i = 0; i < 5; i++) {
		uint64_t start = sb_now_ns();

		cr_assert_eq(bus_pipe_recv(b, in, 99, NULL, 10 * MS),
			     -ETIMEDOUT);
		cr_assert_eq(bus_pipe_peek(b, &part, 10 * MS), -ETIMEDOUT);
		cr_assert_lt(ms_since(start), 5000);
	}
	f.over = true;
	pthread_join(t, NULL);
	bus_close(f.bus);
}

static int answers_late(void *arg)
{
	struct timespec late = { 0, 2 * MS };

	(void)arg;
	while (bus_pipe_recv(b, in, 8, NULL, T_LONG) == 0) {
		nanosleep(&late, NULL);
		T_CHECK(send_n(b, 8, 1, T_LONG) == 0);
	}
	return 0;
}

/* After a sleep the next answer is not likely to come at once. */
Test(pipe_peer, nobody_glances_for_what_he_slept_for)
{
	int n_slept = 0;
	pid_t child;

	pair(256);
	child = t_fork(answers_late, NULL);
	/* It takes some round trips until they come through the line. */
	for (int i = 0; i < 1000 && n_slept < 3; i++) {
		const _Atomic uint64_t *parks = &bus->ep->counts.parks;
		uint64_t before = ld_rlx(parks);

		cr_assert_eq(send_n(a, 8, 1, T_LONG), 0);
		recv_n(a, 8, 1);
		if (ld_rlx(parks) == before || !sb_spsc_was_met(&a->rx))
			continue;
		cr_assert_eq(a->n_glances, 0);
		n_slept++;
	}
	cr_assert_gt(n_slept, 0);
	bus_pipe_free(a);
	t_join(child);
}

/* The end ----------------------------------------------------------------- */

static int waits_for_the_end(void *arg)
{
	return bus_pipe_recv(arg, in, 1, NULL, T_LONG) == -EPIPE ? 0 : 1;
}

/* As workers are started one after the other: each inherits the pipes of all
 * before it. */
Test(pipe_peer, no_inherited_copy_keeps_an_end_open)
{
	FOR_EACH_WAIT {
		struct bus_pipe *mine[5], *its[5];
		pid_t child[5];

		for (int i = 0; i < 5; i++) {
			pair(256);
			mine[i] = a;
			its[i] = b;
			cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN);
			child[i] = t_fork(waits_for_the_end, b);
		}
		for (int i = 0; i < 5; i++) {
			bus_pipe_free(mine[i]);
			t_join(child[i]); /* the later ones live on */
			bus_pipe_free(its[i]);
		}
	}
}

/* A death ----------------------------------------------------------------- */

static int only_sleeps(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return 0;
}

/* How long it takes to learn that a child is dead. */
static double learns_of_a_death_ms(void)
{
	uint64_t start;
	double ms;
	pid_t child;

	pair(256);
	child = t_fork(echo, b);
	ask(a, 5, 5);
	kill(child, SIGKILL);
	start = sb_now_ns();
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	ms = ms_since(start);
	cr_assert_eq(send_n(a, 1, 1, 0), -EPIPE);
	t_wait(child);
	free_pair();
	return ms;
}

/* At once, which is before anybody beats; once in some times, as the machine
 * may have something else to do. */
static void check_at_once(void)
{
	double ms = learns_of_a_death_ms();

	for (int i = 0; i < 20 && ms >= 80; i++)
		ms = learns_of_a_death_ms();
	cr_assert_lt(ms, 80);
}

Test(pipe_peer, the_death_of_a_child_that_has_used_its_end_is_known_at_once)
{
	FOR_EACH_WAIT
		check_at_once();
}

Test(pipe_peer, a_child_that_dies_before_its_first_call_is_noticed)
{
	FOR_EACH_WAIT {
		for (int how = 0; how < 3; how++) {
			pid_t child;

			pair(256);
			child = t_fork(how == 2 ? only_sleeps : exits, NULL);
			if (how == 1)
				t_wait(child); /* dead and gone before */
			cr_assert_eq(bus_pipe_hand_over(b, child), 0);
			if (how == 2) {
				cr_assert_eq(t_pipe_stats(a).peer_state,
					     BUS_PIPE_PEER_RESERVED);
				cr_assert_eq(t_pipe_stats(a).peer_pid, child);
				kill(child, SIGKILL);
			}
			cr_assert_eq(send_n(a, 1, 1, 0) % EPIPE, 0);
			cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG),
				     -EPIPE);
			cr_assert_eq(send_n(a, 1, 1, -1), -EPIPE);
			if (how != 1)
				t_wait(child);
			bus_pipe_free(a);
		}
	}
}

Test(pipe_peer, who_shall_have_half_an_end_is_watched)
{
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(waits_for_gate, &gate);
	cr_assert_eq(bus_pipe_close(b, BUS_PIPE_RECV), 0);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, MS), -ETIMEDOUT);
	cr_assert_geq(a->watch.fd, 0);
	kill(child, SIGKILL);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	t_wait(child);
	t_gate_close(&gate);
}

static int kills_soon(void *arg)
{
	t_wait_asleep(getppid());
	usleep(20000);
	kill(*(pid_t *)arg, SIGKILL);
	return 0;
}

/* A parked call returns when the peer dies, whether it has used its end or
 * not. */
static void check_parked(int (*child_fn)(void *), bool sends)
{
	pid_t child, killer;
	int ret;

	pair(256);
	child = t_fork(child_fn, b);
	if (child_fn == echo)
		ask(a, 5, 5);
	else
		cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	if (sends)
		kill(child, SIGSTOP);
	killer = t_fork(kills_soon, &child);
	do
		ret = sends ? send_n(a, 100, 1, T_LONG)
			    : bus_pipe_recv(a, in, 1, NULL, T_LONG);
	while (ret == 0);
	cr_assert_eq(ret, -EPIPE);
	t_wait(killer);
	t_wait(child);
	bus_pipe_free(a);
	if (child_fn == echo)
		bus_pipe_free(b);
}

Test(pipe_peer, who_is_parked_learns_of_a_death)
{
	FOR_EACH_WAIT {
		check_parked(echo, false);
		check_parked(echo, true);
		check_parked(only_sleeps, false);
		check_parked(only_sleeps, true);
	}
}

Test(pipe_peer, a_spinning_side_learns_of_a_death)
{
	struct bus_config c = pipe_config();

	bus_close(bus);
	c.spin = BUS_SPIN_ALWAYS;
	bus = t_bus_with(NULL, &c);
	check_at_once();
}

static bool is_over(void *p)
{
	return bus_pipe_poll(p, 0) == 0;
}

Test(pipe_peer, who_only_tries_learns_of_a_death)
{
	pid_t child;

	pair(256);
	child = t_fork(echo, b);
	ask(a, 5, 5);
	kill(child, SIGKILL);
	cr_assert(t_eventually(is_over, a, 5000) || bus_pipe_poll(a, 0) == 0);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, 0), -EPIPE);
	t_wait(child);
}

static int take_all(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	while (!bus_pipe_recv(end, in, sizeof(in), NULL, -1))
		;
	return 0;
}

/* A sender that is never blocked: how many more sends until it knows? */
static int sends_to_a_dead_one(unsigned int pause_us, bool lend)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_part part;
	pid_t pid;
	int n, ret = 0;

	c.flags = BUS_PIPE_SIMPLEX;
	cr_assert_eq(bus_pipe_spawn(bus, &c, take_all, NULL, &a, &pid), 0);
	for (n = 0; n < 300; n++) {
		cr_assert_eq(send_n(a, 1, 1, T_LONG), 0);
		usleep(pause_us);
	}
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	for (n = 0; n < 5000 && !ret; n++) {
		if (lend) {
			ret = bus_pipe_loan(a, 1, &part, T_LONG);
			if (!ret)
				ret = bus_pipe_commit(a, &part);
		} else {
			ret = send_n(a, 1, 1, T_LONG);
		}
		usleep(pause_us);
	}
	cr_assert_eq(ret, -EPIPE);
	bus_pipe_free(a);
	return n;
}

Test(pipe_peer, a_sender_that_never_waits_learns_of_a_death)
{
	cr_assert_leq(sends_to_a_dead_one(0, false), 1000);
	cr_assert_leq(sends_to_a_dead_one(2000, false), 4);
	cr_assert_leq(sends_to_a_dead_one(2000, true), 4);
}

static int without_uring(void *arg)
{
	pid_t child;

	(void)arg;
	if (t_deny_io_uring(EPERM))
		return T_SKIP;
	setup();
	pair(256);
	child = t_fork(echo, b);
	for (uint64_t i = 0; i < 100; i++) {
		T_CHECK(send_n(a, 300, i, T_LONG) == 0);
		recv_n(a, 300, i);
	}
	kill(child, SIGKILL);
	T_CHECK(bus_pipe_recv(a, in, 1, NULL, T_LONG) == -EPIPE);
	t_wait(child);
	return 0;
}

Test(pipe_peer, deaths_are_seen_without_io_uring)
{
	t_join_or_skip(t_fork(without_uring, NULL), "no seccomp here");
}

/* Its owner's endpoint is recovered, and nobody else has that id yet. */
Test(pipe_peer, the_pid_of_the_dead_is_known_as_long_as_it_can_be)
{
	struct t_gate gate;
	uint32_t id;
	uint64_t seen;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(begins_and_tells, &gate);
	t_gate_wait(&gate);
	id = bus_side_who(ld_acq(a->peer)) & 0xff;
	t_kill(child);
	/* by one who did not get to the pipes */
	cr_assert(bus_ep_bury(bus->map, id, ld_acq(&bus->map->ep[id].state)));
	seen = ld_acq(&bus->map->ep[id].state);
	cr_assert(bus_ep_enter(bus->map, bus->id, id, seen));
	bus_ep_exit(bus->map, bus->id, id, seen);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	cr_assert_eq(peer_state(a), BUS_PIPE_PEER_DEAD);
	cr_assert_eq(t_pipe_stats(a).peer_pid, child);
	t_gate_close(&gate);
}

/* Its peer's word names an old life of an id that another endpoint has now, who
 * sleeps for this very pipe. */
Test(pipe_peer, the_next_owner_of_a_dead_id_is_not_forgotten_asleep)
{
	struct bus *other;
	uint32_t rang, old;
	uint64_t bit;

	pair(256);
	send_over(a, b);
	cr_assert_eq(bus_attach(bus, &other), 0);
	bit = UINT64_C(1) << other->id % 64;
	old = bus_side_me(other) - 0x100;
	st_rel(&a->in->tx.bits[other->id / 64], bit);
	rang = ld_acq(sb_bell(&bus->bells, other->id));
	st_rel(a->peer, bus_side_word(old, a->inst, BUS_SIDE_OPEN));
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	cr_assert((ld_acq(&a->in->tx.bits[other->id / 64]) & bit) ||
		  ld_acq(sb_bell(&bus->bells, other->id)) != rang);
	bus_close(other);
}

/* Killed anywhere --------------------------------------------------------- */

static int streams(void *arg)
{
	uint64_t i = 0;

	for (;; i++) {
		size_t len = i % 3 == 2 ? 1500 : i % 100;

		(void)arg;
		t_fill(out, len, i);
		if (bus_pipe_send(b, out, len, -1))
			return 1;
	}
}

/* Killed anywhere, the reader gets a prefix, then -EOWNERDEAD or not, then the
 * end. */
Test(pipe_peer, a_killed_writer_leaves_whole_messages)
{
	uint64_t seed = 12345;

	FOR_EACH_WAIT {
		for (int k = 0; k < 60; k++) {
			uint64_t i, stop = rnd(&seed) % 200;
			size_t got;
			pid_t child;
			int ret;

			pair(256 << k % 3);
			child = t_fork(streams, NULL);
			for (i = 0;; i++) {
				size_t len = i % 3 == 2 ? 1500 : i % 100;

				if (i == stop)
					kill(child, SIGKILL);
				ret = bus_pipe_recv(a, in, sizeof(in), &got,
						    T_LONG);
				if (ret)
					break;
				cr_assert_eq(got, len);
				cr_assert(t_is(in, len, i));
			}
			if (ret == -EOWNERDEAD) {
				cr_assert_eq(i % 3, 2); /* one in parts */
				ret = bus_pipe_recv(a, in, sizeof(in), &got,
						    -1);
			}
			cr_assert_eq(ret, -EPIPE);
			cr_assert_geq(i, stop);
			t_wait(child);
			free_pair();
		}
	}
}

static int swallows(void *arg)
{
	size_t got;

	(void)arg;
	while (!bus_pipe_recv(b, in, sizeof(in), &got, -1))
		;
	return 1;
}

Test(pipe_peer, a_killed_reader_ends_a_blocked_writer)
{
	uint64_t seed = 54321;

	FOR_EACH_WAIT {
		for (int k = 0; k < 60; k++) {
			uint64_t i, stop = rnd(&seed) % 300;
			pid_t child;
			int ret = 0;

			pair(256);
			child = t_fork(swallows, NULL);
			/* It has begun, or its end would still be ours. */
			while (t_pipe_stats(a).peer_state != BUS_PIPE_PEER_OPEN)
				sched_yield();
			for (i = 0; !ret; i++) {
				if (i == stop)
					kill(child, SIGKILL);
				ret = send_n(a, i % 2 ? 1000 : 8, i, T_LONG);
			}
			cr_assert_eq(ret, -EPIPE);
			cr_assert_eq(send_n(a, 1, 1, -1), -EPIPE);
			t_wait(child);
			free_pair();
		}
	}
}

static int reads_some_of(void *arg)
{
	uint64_t *next = arg, got;
	struct bus_pipe *p;
	struct bus_part part;
	int ret;

	do
		ret = bus_pipe_open(bus, "p", NULL, 1, &p);
	while (ret == -EBUSY);
	T_CHECK(ret == 0);
	for (;;) {
		T_CHECK(bus_pipe_peek(p, &part, -1) == 0);
		T_CHECK(part.len_bytes == 40 && part.total_bytes == 40);
		/* It is noted before it is released: killed in between, it
		 * comes again. */
		memcpy(&got, part.data, 8);
		T_CHECK(got == *next || got + 1 == *next);
		*(volatile uint64_t *)next = got + 1;
		T_CHECK(bus_pipe_release(p, &part) == 0);
	}
}

/* Readers that are killed one after the other lose no small message. */
Test(pipe_peer, killed_readers_lose_nothing)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t *next = t_shared(sizeof(*next)), seed = 777, i = 0;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	for (int k = 0; k < 100; k++) {
		uint64_t until = *next + rnd(&seed) % 50;
		pid_t child = t_fork(reads_some_of, next);

		while (*(volatile uint64_t *)next < until) {
			memcpy(out, &i, 8);
			if (bus_pipe_send(a, out, 40, MS) == 0)
				i++;
		}
		kill(child, SIGKILL);
		cr_assert_eq(t_wait(child), -SIGKILL);
	}
	cr_assert_geq(i, *next);
}

static int opens_or_makes(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *p, *q;
	int k = *(int *)arg;

	T_CHECK(bus_check(bus) == 0);
	for (;; k++) {
		if (k % 2) {
			if (!bus_pipe_open(bus, "p", &c, k / 2 % 2, &p))
				bus_pipe_free(p);
		} else if (!bus_pipe(bus, &c, &p, &q)) {
			bus_pipe_send(p, "x", 1, 0);
			bus_pipe_recv(q, in, 1, NULL, 0);
			bus_pipe_free(p);
			bus_pipe_free(q);
		}
	}
	return 0;
}

/* Whatever they were at, nothing is lost but what they had. */
Test(pipe_peer, killed_makers_leave_nothing_behind)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	uint64_t seed = 4242;

	for (int k = 0; k < 150; k++) {
		pid_t child = t_fork(opens_or_makes, &k);

		usleep((useconds_t)(200 + rnd(&seed) % 800));
		kill(child, SIGKILL);
		t_wait(child);
	}
	bus_reap(bus);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	cr_assert_eq(send_n(a, 9, 1, 0), 0);
	recv_n(b, 9, 1);
	/* some, as nobody looks for the dead all the time */
	cr_assert_leq(t_stats(bus).n_channels, 100);
	cr_assert_eq(t_stats(bus).n_endpoints, 1);
	bus_reap(bus);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(bus_pipe(bus, &c, &a, &b), 0);
	cr_assert_leq(t_stats(bus).n_channels, 101);
}

/* Descriptors ------------------------------------------------------------- */

Test(pipe_peer, nothing_is_left_open)
{
	int n_fds = t_count_fds();

	for (int i = 0; i < 20; i++) {
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		ask(a, 5, 5);
		cr_assert_eq(bus_pipe_poll(a, MS), -ETIMEDOUT);
		bus_pipe_free(a);
		bus_pipe_free(b);
		t_join(child);
	}
	cr_assert_leq(t_count_fds(), n_fds + 1); /* a ring, perhaps */
}

/* Without /proc. */
static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int leaves_nothing_open(void *arg)
{
	int n_fds;

	(void)arg;
	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/proc", "tmpfs", 0, NULL))
		return T_SKIP;
	T_CHECK(bus_check(bus) == 0);
	n_fds = open_descriptors();
	for (int i = 0; i < 20; i++) {
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		ask(a, 5, 5);
		T_CHECK(bus_pipe_poll(a, MS) == -ETIMEDOUT);
		T_CHECK(a->watch.fd >= 0);
		bus_pipe_free(a);
		bus_pipe_free(b);
		T_CHECK(t_wait(child) == 0);
	}
	T_CHECK(open_descriptors() <= n_fds + 1); /* a ring, perhaps */
	bus_close(bus);
	T_CHECK(open_descriptors() <= n_fds);
	return 0;
}

Test(pipe_peer, nothing_is_left_open_without_proc)
{
	t_join_or_skip(t_fork(leaves_nothing_open, NULL),
		       "no mount namespace for us");
}

/* The lowest descriptors from 3 on, closed and then the program's. */
static void reuse_descriptors(int *fd, int n)
{
	for (int i = 3; i < 3 + n; i++)
		close(i);
	for (int i = 0; i < n; i++)
		fd[i] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

static bool are_open(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		if (fcntl(fd[i], F_GETFD) < 0)
			return false;
	return true;
}

#define N_FDS 60

static int closes_what_it_does_not_know(void *arg)
{
	int fd[N_FDS];

	(void)arg;
	reuse_descriptors(fd, N_FDS);
	T_CHECK(bus_check(bus) == 0); /* forgets its parent's watches */
	T_CHECK(are_open(fd, N_FDS));
	return 0;
}

static int watches_and_closes(void *arg)
{
	int fd[N_FDS];
	pid_t child;

	(void)arg;
	pair(256);
	child = t_fork(echo, b);
	ask(a, 5, 5);
	T_CHECK(bus_pipe_recv(a, in, 1, NULL, 5 * MS) == -ETIMEDOUT);
	T_CHECK(a->watch.fd >= 3 && a->watch.fd < 3 + N_FDS);
	T_CHECK(t_wait(t_fork(closes_what_it_does_not_know, NULL)) == 0);
	reuse_descriptors(fd, N_FDS);
	bus_pipe_recv(a, in, 1, NULL, 20 * MS);
	bus_pipe_free(a);
	T_CHECK(are_open(fd, N_FDS));
	return t_wait(child);
}

Test(pipe_peer, descriptors_that_are_not_ours_stay_open)
{
	t_join(t_fork(watches_and_closes, NULL));
}
