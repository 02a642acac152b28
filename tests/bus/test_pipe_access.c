/*
 * test_pipe_access.c - tests of bus/pipe_recv.c, in which something happens at
 * any access to shared memory; Criterion suite "pipe_access"
 *
 * The file is compiled once more, with a hook in front of every atomic access,
 * and under other names beside the library's.
 */
#include "config.h"

static void at_access(void);

#define SB_ATOMICS_HOOK() at_access()

#define bus_pipe_check_parts  hooked_check_parts
#define bus_pipe_drop_partial hooked_drop_partial
#define bus_pipe_keep	      hooked_keep
#define bus_pipe_peek	      hooked_peek
#define bus_pipe_poll	      hooked_poll
#define bus_pipe_pull	      hooked_pull
#define bus_pipe_put_back     hooked_put_back
#define bus_pipe_readable     hooked_readable
#define bus_pipe_recv	      hooked_recv
#define bus_pipe_recv_many    hooked_recv_many
#define bus_pipe_release      hooked_release

#include "bus/pipe_recv.c"

#include <criterion/criterion.h>
#include <signal.h>

#include "tests/bus/t_bus.h"

static struct bus *bus, *other;
static struct bus_pipe *a, *b;

/* What happens before an access: always, or the next but so many; 0: never. */
static void (*always)(void);
static void (*happens)(void);
static unsigned countdown;

static void at_access(void)
{
	void (*f)(void) = always;

	if (f) {
		always = NULL; /* what it does is no access */
		f();
		always = f;
	}
	if (countdown && --countdown == 0)
		happens();
}

static void setup(void)
{
	struct bus_config c = t_config();

	c.channel_bytes = 1 << 26;
	bus = t_bus_with(NULL, &c);
	cr_assert_eq(bus_attach(bus, &other), 0);
}

static void teardown(void)
{
	bus_close(other);
	bus_close(bus);
	t_shm_clean();
}

TestSuite(pipe_access, .init = setup, .fini = teardown, .timeout = 200.0);

static int sends_half_and_dies(void *arg)
{
	struct bus_part part;

	(void)arg;
	T_CHECK(bus_pipe_open(bus, "p", NULL, 0, &a) == 0);
	T_CHECK(bus_pipe_loan(a, 2000, &part, 0) == 0);
	T_CHECK(bus_pipe_commit(a, &part) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

static void another_comes_and_goes(void)
{
	struct bus_pipe *p;

	T_CHECK(bus_pipe_open(other, "p", NULL, 0, &p) == 0);
	T_CHECK(bus_pipe_send(p, "new", 4, 0) == 0);
	bus_pipe_free(p);
}

Test(pipe_access, a_death_is_told_whenever_another_comes_and_goes)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	unsigned at = 0;
	bool over;

	c.slot_bytes = 1024;
	happens = another_comes_and_goes;
	do {
		const int expect[] = { -EOWNERDEAD, 0, -EPIPE };
		char buf[2000];
		size_t n = 0;

		cr_assert_eq(bus_pipe_open(bus, "p", &c, 1, &b), 0);
		t_wait(t_fork(sends_half_and_dies, NULL));
		cr_assert_eq(bus_pipe_recv(b, buf, sizeof(buf), NULL, 0),
			     -EAGAIN);
		cr_assert_geq(bus_reap(bus), 0);
		countdown = ++at;
		for (int i = 0; i < 5 && n < lengthof(expect); i++) {
			int ret = bus_pipe_recv(b, buf, sizeof(buf), NULL, 0);

			if (ret == -EAGAIN)
				continue;
			cr_assert_eq(ret, expect[n], "access %u: %d", at, ret);
			if (++n == 1 && countdown) /* it was not even begun */
				break;
		}
		over = countdown;
		countdown = 0;
		bus_pipe_free(b);
	} while (!over);
	cr_assert_gt(at, 4);
}

/* Our own pipe, of which @a is another endpoint's. */
static void pair(uint64_t slot_bytes)
{
	t_pipe(bus, BUS_PIPE_LATENCY, 0, slot_bytes, &a, &b);
	cr_assert_eq(bus_pipe_move(a, other), 0);
}

static size_t n_sent, n_idle;

#define TOTAL (3u << 20)
#define BITE  8u

static void send_a_bite(void)
{
	struct bus_part part;

	T_CHECK(bus_pipe_loan(a, TOTAL, &part, 0) == 0);
	part.len_bytes = BITE;
	T_CHECK(bus_pipe_commit(a, &part) == 0);
	n_sent += BITE;
}

/* When the reader has found nothing, and before it waits. */
static void is_just_in_time(void)
{
	if (b->recv_done != n_sent || n_sent == TOTAL)
		n_idle = 0;
	else if (++n_idle == 2)
		send_a_bite();
}

Test(pipe_access, a_peer_that_is_just_in_time_cannot_keep_a_call)
{
	static char buf[TOTAL];

	pair(1 << 20);
	send_a_bite();
	always = is_just_in_time;
	cr_assert_eq(bus_pipe_recv(b, buf, TOTAL, NULL, 1000000), -ETIMEDOUT);
	always = NULL;
	cr_assert_lt(n_sent, TOTAL);
}

static unsigned n_strays;

/* The reader never finds nothing. */
static void sends_strays(void)
{
	static const struct bus_fragment stray = { 1, 8, 1 << 20 };
	size_t len = sizeof(stray) + 8;
	void *at;

	while (n_strays && a->tx.at == b->rx.at) {
		T_CHECK(sb_spsc_room(&a->tx, len, &at) == 0);
		memcpy(at, &stray, sizeof(stray));
		sb_spsc_publish(&a->tx, len, BUS_REC_FRAGMENT);
		n_strays--;
	}
}

Test(pipe_access, a_peer_cannot_keep_a_call_that_does_not_wait)
{
	struct bus_part part;
	char buf[9];

	pair(8192);
	cr_assert_eq(bus_pipe_recv(b, buf, sizeof(buf), NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_use(a, BUS_PIPE_SEND), 0);
	always = sends_strays;
	n_strays = 100000;
	cr_assert_eq(bus_pipe_recv(b, buf, sizeof(buf), NULL, 0), -EAGAIN);
	cr_assert_gt(n_strays, 0);
	n_strays = 100000;
	cr_assert_eq(bus_pipe_peek(b, &part, 0), -EAGAIN);
	cr_assert_gt(n_strays, 0);
	always = NULL;
	n_strays = 0;
	cr_assert_eq(bus_pipe_recv(b, buf, sizeof(buf), NULL, 0), -EAGAIN);
	cr_assert_eq(bus_pipe_send(a, "now", 4, 0), 0);
	cr_assert_eq(bus_pipe_recv(b, buf, sizeof(buf), NULL, 0), 0);
	bus_pipe_free(b);
}
