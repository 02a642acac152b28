/*
 * test_pipe.c - tests of bus/pipe.c: ends that are made, used, handed over,
 * closed, and whose they are; Criterion suite "pipe"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/bus/t_pipe.h"

#define BOTH (BUS_PIPE_SEND | BUS_PIPE_RECV)

TestSuite(pipe, .init = setup, .fini = teardown, .timeout = 200.0);

/* Arguments --------------------------------------------------------------- */

Test(pipe, settings_out_of_range_are_refused)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	const uint64_t bad[] = { 1,       128,       255,       257,
				 3 << 20, 128 << 20, UINT64_MAX };
	char name[49];

	cr_assert_eq(bus_pipe(NULL, &c, &a, &b), -EINVAL);
	cr_assert_eq(bus_pipe(bus, &c, NULL, &b), -EINVAL);
	cr_assert_eq(bus_pipe(bus, &c, &a, NULL), -EINVAL);
	for (size_t i = 0; i < lengthof(bad); i++) {
		c.slot_bytes = bad[i];
		cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL, "%zu", i);
	}
	c.slot_bytes = 0;
	c.profile = 3;
	cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL);
	c.profile = 0;
	c.flags = 2;
	cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL);
	c.flags = 0;
	c.size = 0;
	cr_assert_eq(bus_pipe(bus, &c, &a, &b), -EINVAL);
	c.size = sizeof(c);
	cr_assert_eq(bus_pipe_open(bus, "x", &c, 2, &a), -EINVAL);
	cr_assert_eq(bus_pipe_open(bus, "x", &c, -1, &a), -EINVAL);
	cr_assert_eq(bus_pipe_open(bus, "", &c, 0, &a), -EINVAL);
	cr_assert_eq(bus_pipe_open(bus, NULL, &c, 0, &a), -EINVAL);
	memset(name, 'n', 48);
	name[48] = 0;
	cr_assert_eq(bus_pipe_open(bus, name, &c, 0, &a), -ENAMETOOLONG);
	cr_assert_eq(t_stats(bus).n_channels, 0);
}

Test(pipe, a_config_may_be_older_or_newer)
{
	struct {
		struct bus_pipe_config c;
		uint64_t more;
	} newer = { BUS_PIPE_CONFIG_INIT, 0 };

	newer.c.size = offsetof(struct bus_pipe_config, slot_bytes);
	newer.c.slot_bytes = 1; /* not looked at */
	cr_assert_eq(bus_pipe(bus, &newer.c, &a, &b), 0);
	free_pair();
	newer.c.slot_bytes = 0;
	newer.c.size = sizeof(newer);
	cr_assert_eq(bus_pipe(bus, &newer.c, &a, &b), 0);
	free_pair();
	newer.more = 1;
	cr_assert_eq(bus_pipe(bus, &newer.c, &a, &b), -E2BIG);
	cr_assert_eq(bus_pipe(bus, NULL, &a, &b), 0);
	free_pair();
	bus_pipe_free(NULL);
}

Test(pipe, profiles_have_their_slots)
{
	for (uint32_t profile = 0; profile <= BUS_PIPE_STREAM; profile++)
		for (uint32_t flags = 0; flags <= BUS_PIPE_SIMPLEX; flags++) {
			struct bus_pipe_stats s;

			t_pipe(bus, profile, flags, 0, &a, &b);
			s = t_pipe_stats(a);
			cr_assert_eq(s.profile, profile);
			cr_assert_eq(s.flags, flags);
			if (profile == BUS_PIPE_LATENCY)
				cr_assert_eq(s.slot_bytes, 8192);
			else
				cr_assert_geq(s.slot_bytes, 1 << 20);
			cr_assert_eq(s.send_bytes, profile == BUS_PIPE_STREAM
							   ? s.slot_bytes
							   : 8192);
			cr_assert_eq(s.recv_bytes == 0, flags == 1);
			free_pair();
		}
}

Test(pipe, default_slots_are_smaller_where_room_is_short)
{
	struct bus_config c = t_config();
	struct bus_pipe_config p = BUS_PIPE_CONFIG_INIT;
	struct bus *small;

	c.channel_bytes = 1 << 20;
	small = t_bus_with(NULL, &c);
	cr_assert_eq(bus_pipe(small, NULL, &a, &b), 0);
	cr_assert_lt(t_pipe_stats(a).slot_bytes, 64 << 10);
	cr_assert_geq(t_pipe_stats(a).slot_bytes, 8192);
	p.profile = BUS_PIPE_STREAM; /* that says what it wants */
	cr_assert_eq(bus_pipe(small, &p, &a, &b), -ENOSPC);
	p.profile = 0;
	p.slot_bytes = 1 << 20;
	cr_assert_eq(bus_pipe(small, &p, &a, &b), -ENOSPC);
	bus_close(small);
}

/* Memory ------------------------------------------------------------------ */

static size_t shm_of(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(t_shm_path(name), &st), 0);
	return (size_t)st.st_blocks * 512;
}

Test(pipe, memory_is_taken_as_it_is_used_and_used_again)
{
	struct bus_config c = BUS_CONFIG_INIT;
	const char *name = t_name("mem");
	size_t empty, one;
	struct bus *named;

	c.blob_bytes = 1 << 20;
	c.max_message_bytes = 1 << 16;
	named = t_bus_with(name, &c);
	empty = shm_of(name);
	cr_assert_lt(empty, 2 << 20);
	t_pipe(named, BUS_PIPE_ADAPTIVE, 0, 0, &a, &b);
	one = shm_of(name);
	cr_assert_lt(one - empty, 64 << 10);
	for (int i = 0; i < 500; i++) {
		cr_assert_eq(send_n(a, 8, 1, 0), 0);
		recv_n(b, 8, 1);
		free_pair();
		t_pipe(named, BUS_PIPE_ADAPTIVE, i % 2, 0, &a, &b);
	}
	cr_assert_lt(shm_of(name), one + (64 << 10));
	cr_assert_leq(t_stats(named).n_channels, 2);
	bus_close(named);
}

Test(pipe, there_is_room_for_256_pipes)
{
	struct bus_config c = BUS_CONFIG_INIT;
	struct bus_pipe *p[512];
	struct bus *big;

	c.blob_bytes = 1 << 20;
	c.max_message_bytes = 1 << 16;
	big = t_bus_with(NULL, &c);
	for (int i = 0; i < 512; i += 2)
		cr_assert_eq(bus_pipe(big, NULL, &p[i], &p[i + 1]), 0, "%d", i);
	cr_assert_eq(bus_pipe(big, NULL, &a, &b), -ENOSPC);
	bus_pipe_free(p[100]);
	cr_assert_eq(bus_pipe(big, NULL, &a, &b), -ENOSPC);
	bus_pipe_free(p[101]);
	cr_assert_eq(bus_pipe(big, NULL, &a, &b), 0);
	bus_close(big);
}

static int fills_shm(void *arg)
{
	struct bus_config c = t_config();
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;
	struct bus *named;
	int n = 0, ret;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4m"))
		return T_SKIP;
	c.channel_bytes = 1 << 28;
	named = t_bus_with(arg, &c);
	pc.profile = BUS_PIPE_STREAM;
	T_CHECK(bus_pipe(named, &pc, &a, &b) == -ENOSPC);
	/* a growing one makes do with what there is */
	T_CHECK(bus_pipe(named, NULL, &a, &b) == 0);
	for (n = 0; !(ret = send_n(a, 4000, 1, 0)); n++)
		;
	T_CHECK(ret == -EAGAIN);
	while (n--)
		recv_n(b, 4000, 1);
	while (!(ret = bus_pipe(named, NULL, &a, &b)))
		T_CHECK(send_n(a, 100, 1, 0) == 0);
	T_CHECK(ret == -ENOSPC);
	bus_close(named);
	return 0;
}

Test(pipe, a_full_dev_shm_is_an_error_and_no_signal)
{
	t_join_or_skip(t_fork(fills_shm, (void *)(uintptr_t)t_name("full")),
		       "no mount namespace for us");
}

/* Closing ----------------------------------------------------------------- */

Test(pipe, what_was_sent_is_received_before_the_end)
{
	FOR_EACH_WAIT {
		pair(512);
		for (uint64_t i = 0; i < 10; i++)
			cr_assert_eq(send_n(a, 30, i, 0), 0);
		cr_assert_eq(send_n(a, 300, 10, 0), 0);
		bus_pipe_free(a);
		for (uint64_t i = 0; i < 10; i++)
			recv_n(b, 30, i);
		recv_n(b, 300, 10);
		for (int i = 0; i < 5; i++) {
			cr_assert_eq(bus_pipe_recv(b, in, 30, NULL, i ? -1 : 0),
				     -EPIPE);
			cr_assert_eq(send_n(b, 30, 0, i ? -1 : 0), -EPIPE);
			cr_assert_eq(send_n(b, 3000, 0, -1), -EPIPE);
		}
		cr_assert_eq(t_pipe_stats(b).peer_state, BUS_PIPE_PEER_CLOSED);
		cr_assert_eq(t_pipe_stats(b).peer_open, 0);
		cr_assert_eq(t_pipe_stats(b).peer_pid, getpid());
		bus_pipe_free(b);
	}
}

Test(pipe, a_closed_end_is_ebadf_and_closing_twice_is_fine)
{
	struct bus_part part = { 0 };
	size_t len;

	pair(256);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bus_pipe_close(a, BOTH), 0);
		cr_assert_eq(send_n(a, 1, 1, -1), -EBADF);
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, -1), -EBADF);
		cr_assert_eq(bus_pipe_poll(a, -1), -EBADF);
		cr_assert_eq(bus_pipe_loan(a, 1, &part, -1), -EBADF);
		cr_assert_eq(bus_pipe_commit(a, &part), -EBADF);
		cr_assert_eq(bus_pipe_cancel(a), -EBADF);
		cr_assert_eq(bus_pipe_peek(a, &part, -1), -EBADF);
		cr_assert_eq(bus_pipe_release(a, &part), -EBADF);
		cr_assert_eq(bus_pipe_send_many(a, out, 1, 1, -1), -EBADF);
		cr_assert_eq(bus_pipe_recv_many(a, in, 1, 1, NULL, -1), -EBADF);
		cr_assert_eq(bus_pipe_exchange(a, out, 1, in, 1, &len, -1),
			     -EBADF);
		cr_assert_eq(bus_pipe_hand_over(a, getppid()), -EBADF);
	}
	cr_assert_eq(t_pipe_stats(a).open, 0);
	cr_assert_eq(bus_pipe_close(b, 0), -EINVAL);
	cr_assert_eq(bus_pipe_close(b, 4), -EINVAL);
}

Test(pipe, each_direction_can_be_closed_alone)
{
	pair(256);
	cr_assert_eq(send_n(a, 9, 1, 0), 0);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(send_n(a, 9, 1, 0), -EBADF);
	recv_n(b, 9, 1);
	cr_assert_eq(bus_pipe_recv(b, in, 9, NULL, -1), -EPIPE);
	cr_assert_eq(bus_pipe_poll(b, -1), 0);
	/* and the other goes on */
	cr_assert_eq(send_n(b, 9, 2, 0), 0);
	recv_n(a, 9, 2);
	cr_assert_eq(t_pipe_stats(b).peer_open, BUS_PIPE_RECV);
	cr_assert_eq(t_pipe_stats(b).peer_state, BUS_PIPE_PEER_OPEN);
	cr_assert_eq(send_n(b, 9, 2, 0), 0);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_RECV), 0);
	cr_assert_eq(bus_pipe_recv(a, in, 9, NULL, -1), -EBADF);
	cr_assert_eq(send_n(b, 9, 2, -1), -EPIPE);
	cr_assert_eq(t_pipe_stats(b).peer_state, BUS_PIPE_PEER_CLOSED);
}

Test(pipe, an_end_that_nobody_used_can_be_closed)
{
	pair(256);
	cr_assert_eq(send_n(a, 9, 1, 0), 0);
	bus_pipe_free(b); /* no other process can have it */
	cr_assert_eq(send_n(a, 9, 1, -1), -EPIPE);
	cr_assert_eq(bus_pipe_recv(a, in, 9, NULL, -1), -EPIPE);
	bus_pipe_free(a);
	pair(256);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	cr_assert_eq(send_n(a, 9, 1, 0), -EBADF);
	cr_assert_eq(bus_pipe_recv(b, in, 9, NULL, -1), -EPIPE);
	free_pair();
}

Test(pipe, closing_again_does_not_close_what_came_after)
{
	struct bus_pipe *c, *d;

	pair(256);
	send_over(a, b);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	cr_assert_eq(bus_pipe_close(b, BOTH), 0);
	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &c, &d);
	cr_assert_eq(c->head, a->head); /* in the same memory */
	send_over(c, d);
	cr_assert_eq(bus_pipe_close(a, BUS_PIPE_SEND), 0);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	bus_pipe_free(b);
	bus_pipe_free(a);
	send_over(c, d);
	send_over(d, c);
}

/* A side that we had and have closed is another endpoint's now. */
Test(pipe, a_closed_handle_does_nothing_to_the_next_owner)
{
	struct bus_poll it = { .kind = BUS_POLL_PIPE };
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *next;
	struct bus *other;
	uint64_t word;

	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	cr_assert_eq(bus_pipe_close(a, BOTH), 0);
	cr_assert_eq(bus_attach(bus, &other), 0);
	cr_assert_eq(bus_pipe_open(other, "p", NULL, 0, &next), 0);
	word = ld_acq(&a->head->side[0]);
	it.on.pipe = a;
	cr_assert_eq(bus_pipe_hand_over(a, getpid()), -EBADF);
	cr_assert_eq(bus_wait(bus, &it, 1, 50 * MS), 1);
	cr_assert(it.ready & BUS_POLL_ERR);
	bus_pipe_free(a);
	cr_assert_eq(ld_acq(&next->head->side[0]), word);
	send_over(next, b);
	bus_close(other);
}

/* Whose an end is --------------------------------------------------------- */

Test(pipe, parent_and_child_just_use_their_ends)
{
	FOR_EACH_WAIT {
		pid_t child;

		pair(256);
		child = t_fork(echo, b);
		for (uint64_t i = 0; i < 300; i++)
			ask(a, i * 7, i);
		cr_assert_eq(t_pipe_stats(a).peer_pid, child);
		cr_assert_eq(t_pipe_stats(a).peer_state, BUS_PIPE_PEER_OPEN);
		/* that one is the child's */
		cr_assert_eq(send_n(b, 1, 1, -1), -EBADF);
		cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, -1), -EBADF);
		cr_assert_eq(bus_pipe_close(b, BUS_PIPE_SEND), -EBADF);
		bus_pipe_free(b);
		ask(a, 5, 5);
		bus_pipe_free(a);
		t_join(child);
	}
}

static int uses_a_used_end(void *arg)
{
	struct bus_part part;

	(void)arg;
	T_CHECK(send_n(a, 1, 1, -1) == -EBADF);
	T_CHECK(bus_pipe_recv(a, in, 1, NULL, -1) == -EBADF);
	T_CHECK(bus_pipe_loan(a, 1, &part, -1) == -EBADF);
	T_CHECK(bus_pipe_poll(a, -1) == -EBADF);
	bus_pipe_free(a);
	T_CHECK(send_n(b, 5, 1, -1) == 0);
	bus_close(bus);
	return 0;
}

Test(pipe, an_end_that_the_parent_has_used_is_not_the_childs)
{
	pid_t child;

	pair(256);
	cr_assert_eq(send_n(a, 9, 9, 0), 0);
	child = t_fork(uses_a_used_end, NULL);
	t_join(child);
	recv_n(a, 5, 1);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
}

static int closes_its_copy(void *arg)
{
	(void)arg;
	bus_pipe_free(a); /* the parent has not used it yet */
	T_CHECK(bus_pipe_poll(b, T_LONG) == 0);
	recv_n(b, 5, 1);
	return 0;
}

Test(pipe, closing_the_unused_copy_closes_nothing)
{
	for (int i = 0; i < 20; i++) {
		pid_t child;

		pair(256);
		child = t_fork(closes_its_copy, NULL);
		bus_pipe_free(b); /* the child may not have used it yet */
		if (i % 2)
			usleep(1000);
		cr_assert_eq(send_n(a, 5, 1, T_LONG), 0);
		t_join(child);
		bus_pipe_free(a);
	}
}

static int uses_a_stale_copy(void *arg)
{
	t_gate_wait(arg);
	/* the pipe that it is of is no more, another has its place */
	T_CHECK(send_n(b, 1, 1, -1) == -EBADF);
	T_CHECK(bus_pipe_recv(b, in, 1, NULL, -1) == -EBADF);
	bus_pipe_free(b);
	bus_close(bus);
	return 0;
}

Test(pipe, a_copy_of_an_old_pipe_is_none_of_the_new_one)
{
	struct bus_pipe *c, *d;
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(uses_a_stale_copy, &gate);
	/* used by us, the child has used neither */
	cr_assert_eq(send_n(a, 1, 1, 0), 0);
	recv_n(b, 1, 1);
	free_pair();
	t_pipe(bus, BUS_PIPE_LATENCY, 0, 256, &c, &d);
	cr_assert_eq(t_stats(bus).n_channels, 1);
	t_gate_open(&gate);
	t_join(child);
	cr_assert_eq(send_n(c, 1, 1, 0), 0);
	recv_n(d, 1, 1);
	t_gate_close(&gate);
}

/* Two children whose parent closes the bus, and has given nothing away. */
static int parent_of_two(void *arg)
{
	pid_t child;

	(void)arg;
	T_CHECK(bus_check(bus) == 0);
	pair(256);
	child = fork();
	if (child == 0)
		_exit(bus_pipe_recv(a, in, 1, NULL, T_LONG) == -EPIPE ? 0 : 1);
	/* it has begun, and waits for the other end, which counts as ours */
	while (t_pipe_stats(b).peer_state != BUS_PIPE_PEER_OPEN)
		usleep(100);
	t_wait_asleep(child);
	bus_close(bus);
	return t_wait(child);
}

static int dead_parent(void *arg)
{
	struct t_gate *gate = arg;
	pid_t child;

	T_CHECK(bus_check(bus) == 0);
	pair(256);
	child = fork();
	if (child == 0) {
		T_CHECK(bus_pipe_recv(a, in, 1, NULL, T_LONG) == -EPIPE);
		T_CHECK(send_n(b, 1, 1, 0) == -EPIPE);
		T_CHECK(bus_pipe_recv(b, in, 1, NULL, 0) == -EPIPE);
		T_CHECK(bus_pipe_poll(b, 0) == 0);
		t_gate_open(gate);
		_exit(0);
	}
	while (t_pipe_stats(b).peer_state != BUS_PIPE_PEER_OPEN)
		usleep(100);
	t_wait_asleep(child);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(pipe, an_unused_end_goes_with_its_maker)
{
	FOR_EACH_WAIT {
		struct t_gate gate;

		t_join(t_fork(parent_of_two, NULL));
		t_gate_init(&gate);
		cr_assert_eq(t_wait(t_fork(dead_parent, &gate)), -SIGKILL);
		t_gate_wait(&gate);
		t_gate_close(&gate);
	}
}

struct crowded {
	struct bus *bus;
	struct bus_pipe *a;
};

static int without_an_endpoint(void *arg)
{
	struct crowded *c = arg;
	struct bus_stats stats = BUS_STATS_INIT;
	struct bus_pool_stats pool = BUS_POOL_STATS_INIT;
	struct bus_pipe_ref ref = { 0 };
	struct bus_pipe *x, *y;

	T_CHECK(bus_pipe(c->bus, NULL, &x, &y) == -EUSERS);
	T_CHECK(bus_pipe_open(c->bus, "n", NULL, 0, &x) == -EUSERS);
	T_CHECK(bus_pipe_ref(c->a, &ref) == -EUSERS);
	T_CHECK(bus_pipe_take(c->bus, &ref, &x) == -EUSERS);
	T_CHECK(bus_stats(c->bus, &stats) == -EUSERS);
	T_CHECK(bus_pool_stats(c->bus, "p", &pool, NULL, 0) == -EUSERS);
	return 0;
}

Test(pipe, each_call_of_who_has_no_endpoint_says_so)
{
	struct bus_config config = t_config();
	struct bus *other;
	struct bus_pipe *other_end;
	struct crowded c;

	config.max_endpoints = 2;
	c.bus = t_bus_with(NULL, &config);
	cr_assert_eq(bus_attach(c.bus, &other), 0);
	t_pipe(c.bus, 0, 0, 0, &c.a, &other_end);
	t_join(t_fork(without_an_endpoint, &c));
	cr_assert_eq(bus_pipe_send(c.a, "x", 1, 0), 0);
	bus_pipe_free(c.a);
	bus_pipe_free(other_end);
	bus_close(other);
	bus_close(c.bus);
}

/* Hand over --------------------------------------------------------------- */

Test(pipe, an_end_that_was_handed_over_is_used)
{
	struct t_gate gate;
	pid_t child;

	for (int used = 0; used < 2; used++) {
		t_gate_init(&gate);
		pair(256);
		cr_assert_eq(send_n(a, 5, 0, 0), 0);
		if (used) {
			recv_n(b, 5, 0);
			cr_assert_eq(send_n(b, 7, 7, 0), 0);
		}
		child = t_fork(waits_for_gate, &gate);
		cr_assert_eq(bus_pipe_hand_over(b, child), 0);
		cr_assert_eq(send_n(a, 5, 1, 0), 0);
		if (!used) { /* the child would get that */
			kill(child, SIGKILL);
		} else {
			t_gate_open(&gate);
			recv_n(a, 7, 7);
			recv_n(a, 6, 2);
		}
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
		t_wait(child);
		t_gate_close(&gate);
		bus_pipe_free(a);
	}
}

Test(pipe, handing_over_what_the_child_uses_already_is_fine)
{
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	pair(256);
	child = t_fork(begins_and_tells, &gate);
	t_gate_wait(&gate);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	ask(a, 5, 5);
	cr_assert_eq(bus_pipe_hand_over(a, 0), -EINVAL);
	cr_assert_eq(bus_pipe_hand_over(a, -1), -EINVAL);
	bus_pipe_free(a);
	t_join(child);
	t_gate_close(&gate);
}

Test(pipe, an_end_with_half_a_message_is_not_handed_over)
{
	struct bus_part part;

	pair(256);
	half(1000);
	cr_assert_eq(bus_pipe_hand_over(a, 1), -EBUSY);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_hand_over(b, 1), -EBUSY);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(bus_pipe_loan(a, 1, &part, 0), 0);
	cr_assert_eq(bus_pipe_hand_over(a, 1), -EBUSY);
	cr_assert_eq(bus_pipe_cancel(a), 0);
}

static int talks_to_sibling(void *arg)
{
	struct bus_pipe *p = arg;

	if (p == a) {
		for (uint64_t i = 0; i < 100; i++) {
			T_CHECK(send_n(a, 900, i, T_LONG) == 0);
			recv_n(a, 900, i);
		}
		bus_pipe_free(a);
		return 0;
	}
	return echo(p);
}

Test(pipe, two_children_talk_without_the_parent)
{
	FOR_EACH_WAIT {
		pid_t one, two;

		pair(256);
		one = t_fork(talks_to_sibling, a);
		two = t_fork(talks_to_sibling, b);
		cr_assert_eq(bus_pipe_hand_over(a, one), 0);
		cr_assert_eq(bus_pipe_hand_over(b, two), 0);
		t_join(one);
		t_join(two);
	}
}

struct declining {
	struct t_gate handed_over, declined, over;
	bool by_bus_close;
};

static int declines(void *arg)
{
	struct declining *d = arg;

	t_gate_wait(&d->handed_over);
	if (d->by_bus_close)
		bus_close(bus);
	else
		bus_pipe_free(b);
	t_gate_open(&d->declined);
	t_gate_wait(&d->over);
	return 0;
}

Test(pipe, an_end_that_was_handed_over_can_be_freed_unused)
{
	for (int k = 0; k < 2; k++) {
		struct declining d = { .by_bus_close = k };
		pid_t child;

		t_gate_init(&d.handed_over);
		t_gate_init(&d.declined);
		t_gate_init(&d.over);
		pair(256);
		child = t_fork(declines, &d);
		cr_assert_eq(bus_pipe_hand_over(b, child), 0);
		t_gate_open(&d.handed_over);
		if (k) /* else asleep meanwhile, perhaps */
			t_gate_wait(&d.declined);
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, 5000 * (int64_t)MS),
			     -EPIPE);
		cr_assert_eq(t_pipe_stats(a).peer_state, BUS_PIPE_PEER_CLOSED);
		t_gate_open(&d.over);
		t_join(child);
		bus_pipe_free(a);
		t_gate_close(&d.handed_over);
		t_gate_close(&d.declined);
		t_gate_close(&d.over);
	}
}

static int exits_after(void *arg)
{
	t_gate_wait(arg);
	return 0;
}

struct giving {
	struct t_gate given, over;
	int how; /* 0 given away, 1 and closed there, 2 dies, 3 dies unburied */
};

static int gives_away(void *arg)
{
	struct giving *g = arg;
	pid_t child;

	T_CHECK(bus_pipe_poll(b, 0) == -EAGAIN);
	if (g->how >= 2) {
		t_gate_open(&g->given);
		t_gate_wait(&g->over);
	}
	child = t_fork(exits_after, &g->over);
	T_CHECK(bus_pipe_hand_over(b, child) == 0);
	if (g->how == 1)
		t_kill(child);
	t_gate_open(&g->given);
	return g->how == 1 ? 0 : t_wait(child);
}

/* So that it does not matter who is faster. */
Test(pipe, handing_over_what_the_child_has_given_away_is_fine)
{
	for (int how = 0; how < 4; how++) {
		struct giving g = { .how = how };
		pid_t child;

		t_gate_init(&g.given);
		t_gate_init(&g.over);
		pair(256);
		child = t_fork(gives_away, &g);
		t_gate_wait(&g.given);
		if (how >= 2)
			t_kill(child);
		if (how == 2)
			bus_reap(bus);
		cr_assert_eq(bus_pipe_hand_over(b, child), 0, "%d", how);
		t_gate_open(&g.over);
		cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
		if (how < 2)
			t_join(child);
		bus_pipe_free(a);
		t_gate_close(&g.given);
		t_gate_close(&g.over);
	}
}

struct relay {
	struct t_gate handed_over;
};

static int hands_on_unused(void *arg)
{
	struct relay *r = arg;
	pid_t child;

	t_gate_wait(&r->handed_over);
	child = t_fork(exits, NULL);
	T_CHECK(bus_pipe_hand_over(a, child) == -EBADF); /* our parent's */
	T_CHECK(bus_pipe_hand_over(b, child) == 0);
	return t_wait(child);
}

Test(pipe, what_was_handed_over_can_be_handed_on_unused)
{
	struct relay r;
	pid_t child;

	t_gate_init(&r.handed_over);
	pair(256);
	cr_assert_eq(bus_pipe_poll(a, 0), -EAGAIN);
	child = t_fork(hands_on_unused, &r);
	cr_assert_eq(bus_pipe_hand_over(b, child), 0);
	t_gate_open(&r.handed_over);
	cr_assert_eq(bus_pipe_recv(a, in, 1, NULL, T_LONG), -EPIPE);
	t_join(child);
	t_gate_close(&r.handed_over);
}

/* Spawn ------------------------------------------------------------------- */

static int spawned(void *ctx, struct bus_pipe *end)
{
	size_t len;
	int n = *(int *)ctx;

	while (!bus_pipe_recv(end, in, sizeof(in), &len, -1)) {
		T_CHECK(bus_pipe_send(end, in, len, -1) == 0);
		n++;
	}
	return n;
}

Test(pipe, spawn_gives_a_child_that_has_the_other_end)
{
	FOR_EACH_WAIT {
		struct bus_pipe *p[4];
		pid_t pid[4];
		int three = 3;

		cr_assert_eq(bus_pipe_spawn(bus, NULL, NULL, NULL, &p[0], NULL),
			     -EINVAL);
		for (int i = 0; i < 4; i++)
			cr_assert_eq(bus_pipe_spawn(bus, NULL, spawned, &three,
						    &p[i], &pid[i]),
				     0);
		for (uint64_t k = 0; k < 50; k++)
			for (int i = 0; i < 4; i++)
				ask(p[i], k * 17, k);
		for (int i = 0; i < 4; i++) {
			cr_assert_eq(t_pipe_stats(p[i]).peer_pid, pid[i]);
			bus_pipe_free(p[i]);
			cr_assert_eq(t_wait(pid[i]), 53);
		}
		cr_assert_eq(t_stats(bus).n_endpoints, 1);
	}
}

static int says_bye(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	T_CHECK(bus_pipe_send(end, "bye", 3, 0) == 0);
	return 9;
}

static int says_nothing(void *ctx, struct bus_pipe *end)
{
	(void)ctx;
	(void)end;
	for (;;)
		pause();
	return 0;
}

Test(pipe, the_end_of_a_spawned_child_is_the_end_of_its_pipe)
{
	FOR_EACH_WAIT {
		pid_t pid;
		size_t len;

		for (int i = 0; i < 10; i++) {
			cr_assert_eq(bus_pipe_spawn(bus, NULL, says_bye, NULL,
						    &a, &pid),
				     0);
			if (i % 2)
				cr_assert_eq(t_wait(pid), 9);
			cr_assert_eq(bus_pipe_recv(a, in, 3, &len, T_LONG), 0);
			cr_assert_eq(bus_pipe_recv(a, in, 3, &len, T_LONG),
				     -EPIPE);
			if (!(i % 2))
				cr_assert_eq(t_wait(pid), 9);
			cr_assert_eq(t_pipe_stats(a).peer_state,
				     BUS_PIPE_PEER_CLOSED);
			bus_pipe_free(a);
		}
		for (int i = 0; i < 10; i++) {
			cr_assert_eq(bus_pipe_spawn(bus, NULL, says_nothing,
						    NULL, &a, &pid),
				     0);
			if (i % 2)
				usleep(2000);
			kill(pid, SIGKILL);
			cr_assert_eq(bus_pipe_recv(a, in, 3, &len, T_LONG),
				     -EPIPE);
			cr_assert_eq(t_pipe_stats(a).peer_state,
				     BUS_PIPE_PEER_DEAD);
			t_wait(pid);
			bus_pipe_free(a);
		}
		cr_assert_eq(t_stats(bus).n_channels, 1);
	}
}

/* Threads ----------------------------------------------------------------- */

static void *echo_thread(void *arg)
{
	T_CHECK(echo(arg) == 0);
	return NULL;
}

Test(pipe, two_threads_have_an_end_each)
{
	static unsigned char mine[5000], its[5000];

	FOR_EACH_WAIT {
		struct bus *other;
		pthread_t t;
		size_t len;

		pair(256);
		cr_assert_eq(bus_attach(bus, &other), 0);
		cr_assert_eq(bus_pipe_move(b, NULL), -EINVAL);
		cr_assert_eq(bus_pipe_move(b, other), 0);
		cr_assert_eq(bus_pipe_move(b, other), -EBADF);
		cr_assert_eq(pthread_create(&t, NULL, echo_thread, b), 0);
		for (uint64_t i = 0; i < 1000; i++) {
			t_fill(mine, i, i);
			cr_assert_eq(bus_pipe_send(a, mine, i, T_LONG), 0);
			cr_assert_eq(bus_pipe_recv(a, its, sizeof(its), &len,
						   T_LONG),
				     0);
			cr_assert(len == i && t_is(its, i, i));
		}
		bus_pipe_free(a);
		pthread_join(t, NULL);
		bus_close(other);
	}
}

/* Named ------------------------------------------------------------------- */

Test(pipe, a_named_pipe_is_opened_in_any_order)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), -ENOENT);
	for (int first = 0; first < 2; first++) {
		struct bus_pipe **p = first ? &b : &a, **q = first ? &a : &b;

		cr_assert_eq(bus_pipe_open(bus, "p", &c, first, p), 0);
		cr_assert_eq(t_pipe_stats(*p).peer_state, BUS_PIPE_PEER_NONE);
		cr_assert_eq(t_pipe_stats(*p).peer_pid, 0);
		cr_assert_eq(bus_pipe_open(bus, "p", &c, first, q), -EBUSY);
		/* what is sent before the other is opened waits there */
		cr_assert_eq(send_n(*p, 20, 1, 0), 0);
		cr_assert_eq(bus_pipe_recv(*p, in, 1, NULL, 0), -EAGAIN);
		c.profile = BUS_PIPE_STREAM; /* not looked at any more */
		cr_assert_eq(bus_pipe_open(bus, "p", first ? NULL : &c,
					   1 - first, q),
			     0);
		cr_assert_eq(t_pipe_stats(*q).profile, 0);
		recv_n(*q, 20, 1);
		cr_assert_eq(send_n(*q, 20, 2, 0), 0);
		recv_n(*p, 20, 2);
		c.profile = 0;
		free_pair();
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), -ENOENT);
	}
	cr_assert_eq(t_stats(bus).n_channels, 1);
}

Test(pipe, a_name_is_one_channels)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_queue_config qc = BUS_QUEUE_CONFIG_INIT;
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	struct bus_queue *q;
	struct bus_coord *co;

	cc.handler = (bus_handler)(void (*)(void))exits;
	t_queue(bus, "q", 4, 8, 0);
	cr_assert_eq(bus_pipe_open(bus, "q", &c, 0, &a), -EEXIST);
	cr_assert_eq(bus_pipe_open(bus, "q", NULL, 0, &a), -EEXIST);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_queue_open(bus, "p", &qc, &q), -EEXIST);
	cr_assert_eq(bus_queue_open(bus, "p", NULL, &q), -EEXIST);
	cr_assert_eq(bus_coord_start(bus, "p", &cc, &co), -EEXIST);
	bus_pipe_free(a);
	/* the other side was never there: it may still come */
	cr_assert_eq(bus_queue_open(bus, "p", &qc, &q), -EEXIST);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	bus_pipe_free(b);
	/* gone, and its name is free */
	cr_assert_eq(bus_queue_open(bus, "p", &qc, &q), 0);
}

Test(pipe, a_writer_may_leave_before_the_reader_comes)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	for (uint64_t i = 0; i < 10; i++)
		cr_assert_eq(send_n(a, 20, i, 0), 0);
	bus_pipe_free(a);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	for (uint64_t i = 0; i < 10; i++)
		recv_n(b, 20, i);
	cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, -1), -EPIPE);
	/* and another one may go on */
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
	cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, 0), -EAGAIN);
	cr_assert_eq(send_n(a, 20, 1, 0), 0);
	recv_n(b, 20, 1);
}

Test(pipe, a_new_reader_begins_where_the_old_one_was)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	for (uint64_t i = 0; i < 200; i++) {
		cr_assert_eq(send_n(a, 50, i, 0), 0);
		cr_assert_eq(send_n(a, 50, i, 0), 0);
		recv_n(b, 50, i);
		bus_pipe_free(b);
		cr_assert_eq(send_n(a, 50, i, 0), -EPIPE);
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
		recv_n(b, 50, i);
	}
	/* in the middle of a message: that one is lost */
	half(1000);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	bus_pipe_free(b);
	cr_assert_eq(bus_pipe_open(bus, "p", NULL, 1, &b), 0);
	half(1000); /* goes on */
	cr_assert_eq(bus_pipe_poll(b, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_cancel(a), 0);
	cr_assert_eq(send_n(a, 20, 3, 0), 0);
	recv_n(b, 20, 3);
}

Test(pipe, a_new_writer_begins_where_the_old_one_was)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = 256;
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 0, &a), 0);
	cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
	for (uint64_t i = 0; i < 200; i++) {
		cr_assert_eq(send_n(a, 50, i, 0), 0);
		if (i % 3 == 0)
			half(1000);
		bus_pipe_free(a);
		cr_assert_eq(bus_pipe_open(bus, "p", NULL, 0, &a), 0);
		recv_n(b, 50, i);
		if (i % 5 == 0)
			cr_assert_eq(bus_pipe_recv(b, in, 1000, NULL, 0),
				     -EAGAIN);
		cr_assert_eq(send_n(a, 40, i, 0), 0);
		recv_n(b, 40, i);
	}
}

static int opens_by_name(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus *mine;
	struct bus_pipe *p;

	T_CHECK(bus_open(arg, NULL, &mine) == 0);
	T_CHECK(bus_pipe_open(mine, "service", &c, 1, &p) == 0);
	T_CHECK(echo(p) == 0);
	bus_pipe_free(p);
	bus_close(mine);
	return 0;
}

Test(pipe, two_programs_meet_by_name)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct bus_config bc = pipe_config();
	const char *name = t_name("pipe");
	struct bus *named = t_bus_with(name, &bc);

	for (int k = 0; k < 3; k++) {
		pid_t child = t_fork(opens_by_name, (void *)(uintptr_t)name);

		cr_assert_eq(bus_pipe_open(named, "service", &c, 0, &a), 0);
		for (uint64_t i = 0; i < 100; i++)
			ask(a, i * 999, i);
		bus_pipe_free(a);
		t_join(child);
	}
	bus_close(named);
}

/* Both opened again and again by two processes: they always meet. */
static int opens_often(void *arg)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	int side = *(int *)arg;

	for (int i = 0; i < 300; i++) {
		struct bus_pipe *p;
		int ret = bus_pipe_open(bus, "p", &c, side, &p);

		T_CHECK(ret == 0);
		ret = bus_pipe_send(p, "x", 1, 0);
		T_CHECK(ret == 0 || ret == -EPIPE);
		ret = bus_pipe_recv(p, in, 1, NULL, i % 2 ? 0 : MS);
		T_CHECK(ret == 0 || ret == -EPIPE || ret == -EAGAIN ||
			ret == -ETIMEDOUT);
		bus_pipe_free(p);
	}
	return 0;
}

Test(pipe, opening_and_closing_at_once_is_safe)
{
	static int sides[] = { 0, 1 };
	pid_t child[2];

	for (int i = 0; i < 2; i++)
		child[i] = t_fork(opens_often, &sides[i]);
	for (int i = 0; i < 2; i++)
		t_join(child[i]);
	cr_assert_leq(t_stats(bus).n_channels, 2);
}

/* Ends that are told of in a message -------------------------------------- */

static struct bus_pipe *to_child;

/* Gets refs, takes the ends, and answers through them. */
static int takes_ends(void *arg)
{
	struct bus_pipe_ref ref;
	struct bus_pipe *end;
	uint64_t i = 0;

	(void)arg;
	while (bus_pipe_recv(to_child, &ref, sizeof(ref), NULL, T_LONG) == 0) {
		T_CHECK(bus_pipe_take(bus, &ref, &end) == 0);
		recv_n(end, 7, i);
		T_CHECK(send_n(end, 9, i++, T_LONG) == 0);
		bus_pipe_free(end);
		T_CHECK(bus_pipe_take(bus, &ref, &end) == -EBADF);
	}
	bus_close(bus);
	return 0;
}

Test(pipe, an_end_can_be_told_of_in_a_message)
{
	struct bus_pipe *mine;
	pid_t child;

	pair(256);
	mine = a;
	to_child = b;
	child = t_fork(takes_ends, NULL);
	for (uint64_t i = 0; i < 300; i++) {
		struct bus_pipe_ref ref;

		pair(256);
		cr_assert_eq(bus_pipe_ref(b, &ref), 0);
		cr_assert_eq(send_n(a, 7, i, 0), 0);
		bus_pipe_free(b); /* closes nothing */
		cr_assert_eq(bus_pipe_send(mine, &ref, sizeof(ref), T_LONG), 0);
		recv_n(a, 9, i);
		cr_assert_eq(bus_pipe_recv(a, in, 9, NULL, T_LONG), -EPIPE);
		bus_pipe_free(a);
	}
	bus_pipe_free(mine);
	t_join(child);
}

Test(pipe, only_an_end_that_nobody_has_is_told_of)
{
	struct bus_pipe_ref ref, wrong;
	struct bus_pipe *p;

	pair(256);
	cr_assert_eq(bus_pipe_ref(b, NULL), -EINVAL);
	cr_assert_eq(send_n(a, 1, 1, 0), 0);
	cr_assert_eq(bus_pipe_ref(a, &ref), -EBADF);
	cr_assert_eq(bus_pipe_ref(b, &ref), 0);
	for (int i = 0; i < 3; i++) {
		wrong = ref;
		wrong.channel += i == 0;
		wrong.side += i == 1 ? 1 : 0;
		wrong.instance += i == 2;
		cr_assert_eq(bus_pipe_take(bus, &wrong, &p), -EINVAL);
	}
	wrong = ref;
	wrong.side = 0;
	cr_assert_eq(bus_pipe_take(bus, &wrong, &p), -EBADF);
	wrong = ref;
	wrong.instance += BUS_SIDE_INST_ONE;
	cr_assert_eq(bus_pipe_take(bus, &wrong, &p), -EBADF);
	cr_assert_eq(bus_pipe_take(bus, &ref, &p), 0);
	recv_n(p, 1, 1);
	cr_assert_eq(bus_pipe_recv(b, in, 1, NULL, 0), -EBADF);
	bus_pipe_free(p);
	free_pair();
	/* that pipe is gone; the next one in its place is another */
	pair(256);
	cr_assert_eq(bus_pipe_take(bus, &ref, &p), -EBADF);
	free_pair();
}

static int makes_and_dies(void *arg)
{
	struct bus_pipe_ref ref;

	pair(256);
	T_CHECK(bus_pipe_ref(b, &ref) == 0);
	T_CHECK(bus_pipe_send(arg, &ref, sizeof(ref), 0) == 0);
	return 0; /* without bus_close() */
}

Test(pipe, an_end_of_a_maker_who_is_gone_is_not_taken)
{
	struct bus_pipe_ref ref;
	struct bus_pipe *mine, *its, *p;

	cr_assert_eq(bus_pipe(bus, NULL, &mine, &its), 0);
	t_join(t_fork(makes_and_dies, its));
	cr_assert_eq(bus_pipe_recv(mine, &ref, sizeof(ref), NULL, T_LONG), 0);
	bus_reap(bus);
	cr_assert_eq(bus_pipe_take(bus, &ref, &p), -EPIPE);
	bus_pipe_free(mine);
	bus_pipe_free(its);
}
