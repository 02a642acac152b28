/*
 * test_waiter.c - lib/waiter.c and its back-ends; Criterion suite "waiter"
 *
 * Most promises are checked with both back-ends.  Waits that could hang have
 * a deadline, LONG, that only a lost wake reaches.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "lib/clock.h"
#include "lib/waiter.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"

#define N_EP   200 /* not a multiple of 64 */
#define N_SETS 3
#define LONG   (20 * SB_NS_PER_S)

#define lengthof(a) (sizeof(a) / sizeof((a)[0]))

/* What the processes of a test share. */
struct shared {
	struct {
		alignas(SB_FAR) _Atomic uint32_t bell;
	} ep[N_EP];
	struct sb_sleepers running;
	struct sb_sleepers set[N_SETS];
	alignas(SB_FAR) _Atomic uint32_t n[N_SETS]; /* messages in set i */
	_Atomic uint32_t n_tries, n_sure, n_parks;
	_Atomic uint32_t stage;
	_Atomic int32_t result;
};

static struct shared *sh;
static struct sb_bells bells;

static void setup(void)
{
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(sh, MAP_FAILED);
	bells = (struct sb_bells){ .base = (void *)&sh->ep[0],
				   .stride = sizeof(sh->ep[0]),
				   .n = N_EP };
	/* the bell wraps in the middle of every test that rings it */
	for (int i = 0; i < N_EP; i++)
		st_rlx(&sh->ep[i].bell, UINT32_MAX - 2);
}

TestSuite(waiter, .init = setup, .timeout = 200.0);

static const enum sb_backend both[] = { SB_BACKEND_FUTEX, SB_BACKEND_URING };

/* The promise that tests check is there only where there is a ring. */
static void need_uring(void)
{
	struct sb_waiter w;
	int ret;

	if (t_rings_are_few())
		cr_skip_test("few io_uring rings here: ulimit -l");
	ret = sb_waiter_init(&w, &bells, N_EP - 1, &sh->running,
			     SB_BACKEND_URING, SB_SPIN_NEVER, 0);
	if (ret < 0)
		cr_skip_test("no io_uring here: %s", strerror(-ret));
	sb_waiter_close(&w);
}

static void init_spin(struct sb_waiter *w, uint32_t id, enum sb_backend b,
		      enum sb_spin spin)
{
	T_CHECK(sb_waiter_init(w, &bells, id, &sh->running, b, spin, 0) == 0);
}

static void init(struct sb_waiter *w, uint32_t id, enum sb_backend b)
{
	init_spin(w, id, b, SB_SPIN_NEVER);
}

/* Take a message of any set; returns which. */
static int take(void *arg, bool sure)
{
	(void)arg;
	add_acqrel(&sh->n_tries, 1);
	if (sure)
		add_acqrel(&sh->n_sure, 1);
	for (int i = 0; i < N_SETS; i++) {
		uint32_t n = ld_acq(&sh->n[i]);

		while (n > 0)
			if (cas_acqrel(&sh->n[i], &n, n - 1))
				return i;
	}
	return -EAGAIN;
}

static bool more(void *arg, uint32_t i)
{
	(void)arg;
	return ld_acq(&sh->n[i]) > 0;
}

static struct sb_wait waits_for(uint32_t n_sets)
{
	struct sb_wait c = { .try_ = take, .more = more, .n_sets = n_sets };

	for (uint32_t i = 0; i < n_sets; i++)
		c.sets[i] = &sh->set[i];
	return c;
}

static int wait_any(struct sb_waiter *w, uint64_t timeout_ns)
{
	struct sb_wait c = waits_for(N_SETS);

	return sb_waiter_wait(w, &c, sb_now_ns() + timeout_ns);
}

static void put(uint32_t i, uint32_t n)
{
	add_acqrel(&sh->n[i], n); /* K1 */
	sb_wake(&sh->set[i], &bells, n);
}

static bool has_bit(struct sb_sleepers *set, uint32_t id)
{
	return ld_acq(&set->bits[id / 64]) >> id % 64 & 1;
}

static bool no_bits(void)
{
	uint64_t any = 0;

	for (int i = 0; i < N_SETS; i++)
		for (int k = 0; k < SB_EP_WORDS; k++)
			any |= ld_acq(&sh->set[i].bits[k]);
	return any == 0;
}

/* Sleeps: its bit stands in set 0, it does not count as running, and the kernel
 * has it off the CPU. */
struct sleeper {
	uint32_t id;
	pid_t pid;
};

static bool sleeps(void *arg)
{
	const struct sleeper *s = arg;
	char path[64], line[512] = "";

	if (!has_bit(&sh->set[0], s->id) || has_bit(&sh->running, s->id))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->pid);

	FILE *f = fopen(path, "r");

	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);

	const char *state = strrchr(line, ')');

	return state && state[1] == ' ' && (state[2] == 'S' || state[2] == 'D');
}

static bool wait_asleep(uint32_t id, pid_t pid)
{
	struct sleeper s = { id, pid };

	return t_eventually(sleeps, &s, 20000);
}

/* A child with endpoint @id that takes one message and returns from which
 * set, or 100 - error. */
struct child {
	uint32_t id;
	enum sb_backend backend;
	uint64_t timeout_ns;
	uint64_t heartbeat_ns; /* 0: the default */
};

static int take_one(void *arg)
{
	const struct child *c = arg;
	struct sb_waiter w;

	init(&w, c->id, c->backend);
	if (c->heartbeat_ns)
		w.heartbeat_ns = c->heartbeat_ns;

	int ret = wait_any(&w, c->timeout_ns);

	sb_waiter_close(&w);
	return ret < 0 ? 100 - ret : ret;
}

/* Limits and errors ----------------------------------------------------- */

Test(waiter, ids_without_a_bell_are_refused)
{
	struct sb_waiter w;

	cr_assert_eq(sb_waiter_init(&w, &bells, 0, &sh->running,
				    SB_BACKEND_AUTO, SB_SPIN_NEVER, 0),
		     -EINVAL);
	cr_assert_eq(sb_waiter_init(&w, &bells, N_EP, &sh->running,
				    SB_BACKEND_AUTO, SB_SPIN_NEVER, 0),
		     -EINVAL);
}

Test(waiter, counts_as_running_from_its_first_wait_to_its_close)
{
	struct sb_wait c = waits_for(1);
	struct sb_waiter w;

	init(&w, 77, SB_BACKEND_AUTO);
	cr_assert(!has_bit(&sh->running, 77));
	cr_assert_eq(sb_waiter_wait(&w, &c, 1), -ETIMEDOUT);
	cr_assert(has_bit(&sh->running, 77));
	sb_waiter_close(&w);
	cr_assert(!has_bit(&sh->running, 77));
}

Test(waiter, deadline_that_has_passed_makes_one_sure_try)
{
	static const enum sb_spin spins[] = { SB_SPIN_ADAPTIVE, SB_SPIN_ALWAYS,
					      SB_SPIN_NEVER };
	struct sb_wait c = waits_for(1);

	for (size_t i = 0; i < lengthof(spins); i++) {
		struct sb_waiter w;

		init_spin(&w, 1, SB_BACKEND_AUTO, spins[i]);
		st_rlx(&sh->n_sure, 0);
		st_rlx(&sh->n_tries, 0);
		cr_assert_eq(sb_waiter_wait(&w, &c, 1), -ETIMEDOUT);
		cr_assert_eq(ld_rlx(&sh->n_sure), 1);
		cr_assert_eq(sb_waiter_wait(&w, &c, 0), -ETIMEDOUT);
		cr_assert_eq(ld_rlx(&sh->n_sure), 2);
		put(0, 1);
		cr_assert_eq(sb_waiter_wait(&w, &c, 0), 0);
		put(0, 1);
		cr_assert_eq(sb_waiter_wait(&w, &c, 1), 0);
		cr_assert_eq(w.n_parks, 0);
		sb_waiter_close(&w);
	}
}

Test(waiter, time_out_is_not_early)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct sb_waiter w;

		init(&w, 1, both[b]);
		for (uint64_t ns = 1000; ns <= 200 * SB_NS_PER_MS; ns *= 10) {
			uint64_t end = sb_now_ns() + ns;
			struct sb_wait c = waits_for(2);

			cr_assert_eq(sb_waiter_wait(&w, &c, end), -ETIMEDOUT);
			cr_assert_geq(sb_now_ns(), end);
			cr_assert(no_bits());
			cr_assert(has_bit(&sh->running, 1));
		}
		cr_assert_gt(w.n_parks, 0);
		sb_waiter_close(&w);
	}
}

Test(waiter, time_out_is_honoured_in_every_spin_mode)
{
	static const enum sb_spin spins[] = { SB_SPIN_ADAPTIVE,
					      SB_SPIN_ALWAYS };

	for (size_t i = 0; i < lengthof(spins); i++) {
		struct sb_waiter w;

		init_spin(&w, 1, SB_BACKEND_AUTO, spins[i]);
		/* Who loses the processor while it spins does not park if the
		 * time is up before it gets it again. */
		for (uint32_t k = 0; k < 60 && !w.n_parks; k++) {
			uint64_t ns = (k + 1) * 5 * SB_NS_PER_MS;
			uint64_t end = sb_now_ns() + ns;

			cr_assert_eq(wait_any(&w, ns), -ETIMEDOUT);
			cr_assert_geq(sb_now_ns(), end);
			if (spins[i] == SB_SPIN_ALWAYS && k > 2)
				break;
		}
		cr_assert_eq(w.n_parks > 0, spins[i] == SB_SPIN_ADAPTIVE);
		sb_waiter_close(&w);
	}
}

static int fails_when_parked(void *arg, bool sure)
{
	(void)arg;
	return sure ? -EPIPE : -EAGAIN;
}

Test(waiter, an_error_of_try_ends_the_wait)
{
	struct sb_wait c = { .try_ = fails_when_parked,
			     .sets = { &sh->set[0] },
			     .n_sets = 1 };
	struct sb_waiter w;

	init(&w, 1, SB_BACKEND_AUTO);
	cr_assert_eq(sb_waiter_wait(&w, &c, SB_FOREVER), -EPIPE);
	cr_assert(no_bits());
	sb_waiter_close(&w);
}

static int busy_then_done(void *arg, bool sure)
{
	int *left = arg;

	(void)sure;
	return --*left > 0 ? -EBUSY : 7;
}

Test(waiter, ebusy_looks_again_though_nobody_rings)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		int left = 40;
		struct sb_wait c = { .try_ = busy_then_done,
				     .arg = &left,
				     .sets = { &sh->set[0] },
				     .n_sets = 1 };
		struct sb_waiter w;
		uint64_t start = sb_now_ns();

		init(&w, 1, both[b]);
		w.heartbeat_ns = LONG; /* not what makes it look */
		cr_assert_eq(sb_waiter_wait(&w, &c, start + LONG), 7);
		cr_assert_lt(sb_now_ns() - start, LONG / 2);
		sb_waiter_close(&w);
	}
}

/* The wake side ---------------------------------------------------------- */

static void set_bits(struct sb_sleepers *set, uint32_t word, uint64_t bits)
{
	or_seqcst(&set->bits[word], bits);
}

Test(waiter, wake_claims_lowest_first_and_goes_on_past_who_does_not_sleep)
{
	/* nobody sleeps in the kernel, so no wake counts: all are claimed */
	set_bits(&sh->set[0], 0, UINT64_C(1) << 3 | UINT64_C(1) << 63);
	set_bits(&sh->set[0], 3, UINT64_C(1) << (N_EP - 1 - 192));
	sb_wake(&sh->set[0], &bells, 1);
	cr_assert(no_bits());
	cr_assert_eq(ld_rlx(&sh->ep[3].bell), UINT32_MAX - 1);
	cr_assert_eq(ld_rlx(&sh->ep[63].bell), UINT32_MAX - 1);
	cr_assert_eq(ld_rlx(&sh->ep[N_EP - 1].bell), UINT32_MAX - 1);
	cr_assert_eq(ld_rlx(&sh->ep[4].bell), UINT32_MAX - 2);
}

Test(waiter, bits_beyond_n_and_bit_0_are_never_rung)
{
	struct sb_bells few = bells;
	uint64_t hostile = ~(UINT64_C(1) << 1 | UINT64_C(1) << 2);

	few.n = 3;
	for (uint32_t i = 0; i < SB_EP_WORDS; i++)
		set_bits(&sh->set[0], i, UINT64_MAX);
	sb_wake(&sh->set[0], &few, 1000);
	sb_wake_all(&sh->set[0], &few);
	sb_wake_one(&sh->set[0], &few, 3);
	sb_wake_one(&sh->set[0], &few, 255);
	cr_assert_eq(ld_rlx(&sh->set[0].bits[0]), hostile);
	for (uint32_t i = 1; i < SB_EP_WORDS; i++)
		cr_assert_eq(ld_rlx(&sh->set[0].bits[i]), UINT64_MAX);
	for (uint32_t id = 0; id < N_EP; id++)
		cr_assert_eq(ld_rlx(&sh->ep[id].bell),
			     UINT32_MAX - (id == 1 || id == 2 ? 1 : 2));

	/* n at the edge of a word, and all of it */
	few.n = 64;
	sb_wake_all(&sh->set[0], &few);
	cr_assert_eq(ld_rlx(&sh->set[0].bits[0]), 1);
	cr_assert_eq(ld_rlx(&sh->set[0].bits[1]), UINT64_MAX);
	sb_wake_all(&sh->set[0], &bells);
	cr_assert_eq(ld_rlx(&sh->set[0].bits[3]), UINT64_MAX << (N_EP - 192));
}

Test(waiter, wake_one_claims_only_that_one)
{
	set_bits(&sh->set[0], 1, 3);
	sb_wake_one(&sh->set[0], &bells, 65);
	cr_assert_eq(ld_rlx(&sh->set[0].bits[1]), 1);
	cr_assert_eq(ld_rlx(&sh->ep[65].bell), UINT32_MAX - 1);
	sb_wake_one(&sh->set[0], &bells, 65); /* sleeps no more */
	cr_assert_eq(ld_rlx(&sh->ep[65].bell), UINT32_MAX - 1);
	sb_sleepers_clear(&sh->set[0], 64);
	cr_assert(no_bits());
}

/* One thread: the windows of the protocol, from inside try_() ------------- */

struct window {
	uint64_t until;
	uint32_t wake_at; /* which sure try is overtaken by a waker */
	uint32_t n_sure;
	int ret;
};

/* Rings between S4's look and S5: as if a waker came right after the look. */
static int overtaken(void *arg, bool sure)
{
	struct window *x = arg;
	int ret = take(NULL, sure);

	if (sure && x->n_sure++ == x->wake_at && ret == -EAGAIN)
		put(0, 1);
	return ret;
}

Test(waiter, wake_between_look_and_park_is_not_lost)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct sb_waiter w;

		init(&w, 5, both[b]);
		w.heartbeat_ns = LONG;
		for (uint32_t i = 0; i < 300; i++) {
			struct window x = { 0 };
			struct sb_wait c = { .try_ = overtaken,
					     .arg = &x,
					     .sets = { &sh->set[0] },
					     .n_sets = 1 };
			uint64_t start = sb_now_ns();

			cr_assert_eq(sb_waiter_wait(&w, &c, start + LONG), 0);
			cr_assert_lt(sb_now_ns() - start, LONG / 2);
		}
		cr_assert(no_bits());
		sb_waiter_close(&w);
	}
}

/* A waker that is killed between the two halves of K5. */
static int half_rung(void *arg, bool sure)
{
	struct window *x = arg;

	if (!sure)
		return x->n_sure ? 0 : -EAGAIN;
	x->n_sure++;
	sb_sleepers_clear(&sh->set[0], 5);
	add_acqrel(&sh->ep[5].bell, 1);
	return -EAGAIN;
}

Test(waiter, a_bell_that_has_changed_needs_no_wake)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct sb_waiter w;

		init(&w, 5, both[b]);
		w.heartbeat_ns = LONG;
		cr_assert_eq(wait_any(&w, SB_NS_PER_MS),
			     -ETIMEDOUT); /* arms it */
		for (int i = 0; i < 5; i++) {
			struct window x = { 0 };
			struct sb_wait c = { .try_ = half_rung,
					     .arg = &x,
					     .sets = { &sh->set[0] },
					     .n_sets = 1 };
			uint64_t start = sb_now_ns();

			cr_assert_eq(sb_waiter_wait(&w, &c, start + LONG), 0);
			cr_assert_lt(sb_now_ns() - start, LONG / 2);
		}
		sb_waiter_close(&w);
	}
}

/* The time is up in S4, and then the waker comes.  Only a sure look sees it. */
static int late_message(void *arg, bool sure)
{
	struct window *x = arg;

	if (!sure)
		return -EAGAIN;
	if (x->n_sure++ == 0) {
		while (sb_now_ns() < x->until)
			;
		put(0, 1);
		return -EAGAIN;
	}
	return take(NULL, sure);
}

Test(waiter, a_message_that_comes_with_the_time_out_is_taken)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct sb_waiter w;
		struct window x = { .until = sb_now_ns() + 20 * SB_NS_PER_MS };
		struct sb_wait c = { .try_ = late_message,
				     .arg = &x,
				     .sets = { &sh->set[0] },
				     .n_sets = 1 };

		init(&w, 5, both[b]);
		cr_assert_eq(sb_waiter_wait(&w, &c, x.until), 0);
		cr_assert_eq(x.n_sure, 2);
		sb_waiter_close(&w);
	}
}

/* What a wait that took a message of set 0 owes set 1. */
static int claimed_meanwhile(void *arg, bool sure)
{
	struct window *x = arg;

	if (!sure)
		return -EAGAIN;
	if (x->n_sure++ == x->wake_at) {
		/* waker of set 1 claims us; 9 sleeps there too */
		sb_wake_one(&sh->set[1], &bells, 5);
		set_bits(&sh->set[1], 0, UINT64_C(1) << 9);
		return x->ret;
	}
	return -EAGAIN;
}

static bool always(void *arg, uint32_t i)
{
	(void)arg;
	return i == 1;
}

static bool never(void *arg, uint32_t i)
{
	(void)arg;
	(void)i;
	return false;
}

Test(waiter, a_claimed_bit_is_passed_on)
{
	static const struct {
		int ret;
		bool (*more)(void *, uint32_t);
		bool passed;
	} t[] = {
		{ 0, always, true },      { 0, never, false },
		{ 0, NULL, false },       { -EPIPE, NULL, true },
		{ -EPIPE, always, true }, { -EPIPE, never, false },
	};

	for (size_t i = 0; i < lengthof(t); i++) {
		struct sb_waiter w;
		struct window x = { .ret = t[i].ret };
		struct sb_wait c = { .try_ = claimed_meanwhile,
				     .more = t[i].more,
				     .arg = &x,
				     .sets = { &sh->set[0], &sh->set[1] },
				     .n_sets = 2 };
		uint32_t bell9 = ld_rlx(&sh->ep[9].bell);

		init(&w, 5, SB_BACKEND_FUTEX);
		cr_assert_eq(sb_waiter_wait(&w, &c, SB_FOREVER), t[i].ret);
		cr_assert_eq(ld_rlx(&sh->ep[9].bell) - bell9, t[i].passed,
			     "case %zu", i);
		sb_sleepers_clear(&sh->set[1], 9);
		cr_assert(no_bits());
		sb_waiter_close(&w);
	}
}

enum { MANY = 200 };

/* A waker claims us in the set that is asked for, in S4; 9 sleeps there too. */
struct claimed_one {
	struct sb_sleepers *set;
	uint32_t i, n_asked, asked;
};

static int claimed_in_one(void *arg, bool sure)
{
	struct claimed_one *x = arg;

	if (!sure)
		return -EAGAIN;
	sb_wake_one(&x->set[x->i], &bells, 5);
	set_bits(&x->set[x->i], 0, UINT64_C(1) << 9);
	return 0;
}

static bool notes(void *arg, uint32_t i)
{
	struct claimed_one *x = arg;

	x->n_asked++;
	x->asked = i;
	return true;
}

Test(waiter, there_may_be_more_sets_than_bits_in_a_word)
{
	static struct sb_sleepers set[MANY], *many[MANY];
	uint64_t claimed[SB_WAIT_CLAIMED(MANY)];
	struct claimed_one x = { .set = set };
	struct sb_wait c = { .try_ = claimed_in_one,
			     .more = notes,
			     .arg = &x,
			     .many = many,
			     .n_sets = MANY,
			     .claimed = claimed };
	struct sb_waiter w;

	for (uint32_t i = 0; i < MANY; i++)
		many[i] = &set[i];
	init(&w, 5, SB_BACKEND_FUTEX);
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t bell9 = ld_rlx(&sh->ep[9].bell);

		memset(claimed, 0xff, sizeof(claimed)); /* need not be clear */
		x.i = i;
		x.n_asked = 0;
		cr_assert_eq(sb_waiter_wait(&w, &c, SB_FOREVER), 0);
		cr_assert(x.n_asked == 1 && x.asked == i, "%u", i);
		cr_assert_eq(ld_rlx(&sh->ep[9].bell) - bell9, 1);
		for (uint32_t k = 0; k < MANY; k++)
			cr_assert_not(sb_sleepers_any(&set[k]));
	}
	sb_waiter_close(&w);
}

/* Time runs out in S4, a waker claims us there: the last try finds nothing,
 * and the claim goes to 9. */
static int claimed_then_late(void *arg, bool sure)
{
	struct window *x = arg;

	if (sure && x->n_sure++ == 0) {
		uint64_t end = sb_now_ns() + 30 * SB_NS_PER_MS;

		sb_wake_one(&sh->set[0], &bells, 5);
		set_bits(&sh->set[0], 0, UINT64_C(1) << 9);
		while (sb_now_ns() < end)
			;
	}
	return -EAGAIN;
}

Test(waiter, a_time_out_passes_a_claimed_bit_on)
{
	struct sb_waiter w;
	struct window x = { 0 };
	struct sb_wait c = { .try_ = claimed_then_late,
			     .arg = &x,
			     .sets = { &sh->set[0] },
			     .n_sets = 1 };
	uint32_t bell9 = ld_rlx(&sh->ep[9].bell);

	init(&w, 5, SB_BACKEND_FUTEX);
	cr_assert_eq(sb_waiter_wait(&w, &c, sb_now_ns() + 20 * SB_NS_PER_MS),
		     -ETIMEDOUT);
	cr_assert_eq(ld_rlx(&sh->ep[9].bell) - bell9, 1);
	cr_assert(no_bits());
	sb_waiter_close(&w);
}

/* Claimed in the first park; the second sure try finds nothing, and 9 comes. */
static int claimed_for_nothing(void *arg, bool sure)
{
	struct window *x = arg;

	if (sure && x->n_sure++ == 0)
		sb_wake_one(&sh->set[0], &bells, 5);
	else if (sure && x->n_sure == 2)
		set_bits(&sh->set[0], 0, UINT64_C(1) << 9);
	return -EAGAIN;
}

Test(waiter, a_claim_that_found_nothing_is_not_passed_on)
{
	struct sb_waiter w;
	struct window x = { 0 };
	struct sb_wait c = { .try_ = claimed_for_nothing,
			     .arg = &x,
			     .sets = { &sh->set[0] },
			     .n_sets = 1 };
	uint32_t bell9 = ld_rlx(&sh->ep[9].bell);

	init(&w, 5, SB_BACKEND_FUTEX);
	cr_assert_eq(sb_waiter_wait(&w, &c, sb_now_ns() + 20 * SB_NS_PER_MS),
		     -ETIMEDOUT);
	cr_assert_eq(ld_rlx(&sh->ep[9].bell), bell9);
	sb_waiter_close(&w);
}

/* Two processes ----------------------------------------------------------- */

Test(waiter, wake_before_and_after_the_park)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct child c = { 1, both[b], LONG, LONG };

		put(1, 1);
		cr_assert_eq(t_wait(t_fork(take_one, &c)), 1); /* before */

		for (int i = 0; i < 20; i++) {
			pid_t child = t_fork(take_one, &c);

			cr_assert(wait_asleep(1, child));
			put((uint32_t)i % N_SETS, 1);
			cr_assert_eq(t_wait(child), i % N_SETS);
			cr_assert(no_bits());
		}
	}
}

Test(waiter, a_wake_of_any_of_many_sets_is_enough)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct child c = { 130, both[b], LONG, LONG };
		pid_t child = t_fork(take_one, &c);

		cr_assert(wait_asleep(130, child));
		for (int i = 0; i < N_SETS; i++)
			cr_assert(has_bit(&sh->set[i], 130));
		put(N_SETS - 1, 1);
		cr_assert_eq(t_wait(child), N_SETS - 1);
		cr_assert(no_bits());
	}
}

#define ROUNDS 20000

struct pingpong {
	enum sb_backend backend[2];
	enum sb_spin spin;
};

/* Set 0 and 1 are the two directions. */
static int take_of(void *arg, bool sure)
{
	_Atomic uint32_t *n = arg;
	uint32_t one = 1;

	(void)sure;
	return cas_acqrel(n, &one, 0) ? 0 : -EAGAIN;
}

static int pingpong(const struct pingpong *p, uint32_t me)
{
	struct sb_wait c = { .try_ = take_of,
			     .arg = (void *)&sh->n[me],
			     .sets = { &sh->set[me] },
			     .n_sets = 1 };
	struct sb_waiter w;

	init_spin(&w, 10 + me, p->backend[me], p->spin);
	w.heartbeat_ns = LONG; /* nothing but the wake ends a park */
	for (int i = 0; i < ROUNDS; i++) {
		if (me == 0)
			put(1, 1);

		uint64_t start = sb_now_ns();
		int ret = sb_waiter_wait(&w, &c, start + LONG);

		if (ret < 0 || sb_now_ns() - start > LONG / 2)
			return 1;
		if (me == 1)
			put(0, 1);
	}

	add_acqrel(&sh->n_parks, (uint32_t)w.n_parks);
	sb_waiter_close(&w);
	return 0;
}

static int pong(void *arg)
{
	return pingpong(arg, 1);
}

static void run_pingpong(struct pingpong p)
{
	pid_t child = t_fork(pong, &p);

	cr_assert_eq(pingpong(&p, 0), 0);
	t_join(child);
	/* on one CPU the one that wakes may find the answer when it is back,
	 * and never park; then the other always does */
	if (p.spin == SB_SPIN_NEVER)
		cr_assert_gt(ld_rlx(&sh->n_parks), ROUNDS / 2);
	cr_assert(no_bits());
}

Test(waiter, parked_pingpong_futex_loses_no_wake)
{
	run_pingpong((struct pingpong){ { SB_BACKEND_FUTEX, SB_BACKEND_FUTEX },
					SB_SPIN_NEVER });
}

Test(waiter, parked_pingpong_uring_loses_no_wake)
{
	need_uring();
	run_pingpong((struct pingpong){ { SB_BACKEND_URING, SB_BACKEND_URING },
					SB_SPIN_NEVER });
}

Test(waiter, pingpong_between_backends_loses_no_wake)
{
	need_uring();
	run_pingpong((struct pingpong){ { SB_BACKEND_FUTEX, SB_BACKEND_URING },
					SB_SPIN_NEVER });
}

Test(waiter, adaptive_pingpong_loses_no_wake)
{
	run_pingpong((struct pingpong){ { SB_BACKEND_AUTO, SB_BACKEND_AUTO },
					SB_SPIN_ADAPTIVE });
}

Test(waiter, wake_all_wakes_all)
{
	struct child c[6];
	pid_t child[6];

	need_uring();
	for (uint32_t i = 0; i < 6; i++) {
		c[i] = (struct child){ 60 + i, both[i % 2], LONG, LONG };
		child[i] = t_fork(take_one, &c[i]);
	}
	for (uint32_t i = 0; i < 6; i++)
		cr_assert(wait_asleep(60 + i, child[i]));
	add_acqrel(&sh->n[0], 6);
	sb_wake_all(&sh->set[0], &bells);
	for (uint32_t i = 0; i < 6; i++)
		t_join(child[i]);
	cr_assert(no_bits());
}

Test(waiter, one_wake_wakes_one)
{
	struct child c[3];
	pid_t child[3];

	for (uint32_t i = 0; i < 3; i++) {
		c[i] = (struct child){ 60 + i, SB_BACKEND_FUTEX, LONG, LONG };
		child[i] = t_fork(take_one, &c[i]);
	}
	for (uint32_t i = 0; i < 3; i++)
		cr_assert(wait_asleep(60 + i, child[i]));
	for (uint32_t i = 0; i < 3; i++) { /* lowest first */
		put(0, 1);
		t_join(child[i]);
		cr_assert_eq(has_bit(&sh->set[0], 61), i < 1);
		cr_assert_eq(has_bit(&sh->set[0], 62), i < 2);
	}
}

Test(waiter, the_bit_of_a_dead_endpoint_passes_the_wake_on)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct child dead = { 20, both[b], LONG, LONG };
		struct child live = { 21, both[b], LONG, LONG };
		pid_t victim = t_fork(take_one, &dead);
		pid_t child = t_fork(take_one, &live);

		cr_assert(wait_asleep(20, victim));
		cr_assert(wait_asleep(21, child));
		t_kill(victim);
		cr_assert(has_bit(&sh->set[0], 20)); /* stays behind */
		put(0, 1);
		t_join(child);
		for (int i = 0; i < N_SETS; i++)
			sb_sleepers_clear(&sh->set[i], 20);
		cr_assert(no_bits());
	}
}

static int sleep_on_bell_1(void *arg)
{
	(void)arg;
	st_rel(&sh->stage, 1);
	syscall(SYS_futex, &sh->ep[1].bell, FUTEX_WAIT, UINT32_MAX - 2, NULL);
	return 0;
}

static bool stage_1_sleeps(void *arg)
{
	char path[64], line[64] = "";

	if (ld_acq(&sh->stage) != 1)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/wchan", *(pid_t *)arg);

	FILE *f = fopen(path, "r");

	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	return strstr(line, "futex") || strcmp(line, "0") == 0;
}

static int put_later(void *arg)
{
	(void)arg;
	T_CHECK(wait_asleep(1, getppid()));
	put(0, 1);
	return 0;
}

/* As the ring of a predecessor with our id would, while it is torn down. */
Test(waiter, who_sleeps_on_our_bell_before_us_eats_no_wake)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		st_rlx(&sh->ep[1].bell, UINT32_MAX - 2);
		st_rlx(&sh->stage, 0);

		pid_t stale = t_fork(sleep_on_bell_1, NULL);
		uint64_t start = sb_now_ns();
		struct sb_waiter w;

		cr_assert(t_eventually(stage_1_sleeps, &stale, 20000));
		init(&w, 1, both[b]);
		w.heartbeat_ns = LONG;

		pid_t child = t_fork(put_later, NULL);

		cr_assert_eq(wait_any(&w, LONG), 0);
		cr_assert_lt(sb_now_ns() - start, LONG / 2);
		t_join(child);
		t_join(stale);
		sb_waiter_close(&w);
	}
}

Test(waiter, a_lost_wake_is_found_in_a_slice)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct child c = { 20, both[b], LONG, 10 * SB_NS_PER_MS };
		pid_t child = t_fork(take_one, &c);

		cr_assert(wait_asleep(20, child));
		add_acqrel(&sh->n[0], 1); /* the waker died after K1 */
		t_join(child);
	}
}

/* Its bit was taken, so others pass it by; the bell will not ring. */
Test(waiter, who_is_claimed_and_not_rung_can_be_found_again)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct child c = { 20, both[b], LONG, 10 * SB_NS_PER_MS };
		pid_t child = t_fork(take_one, &c);

		cr_assert(wait_asleep(20, child));
		/* the waker died after K4 */
		sb_sleepers_clear(&sh->set[0], 20);
		cr_assert(wait_asleep(20, child));
		put(0, 1);
		t_join(child);
	}
}

/* A message that is there at a sure look, counted from S4 on. */
struct late {
	int at, n_sure;
	int n_away; /* tries since then that found our bit taken away */
};

static int take_late(void *arg, bool sure)
{
	struct late *late = arg;

	if (!has_bit(&sh->set[0], 1)) {
		late->n_away += late->n_sure > 0;
		return -EAGAIN;
	}
	return sure && ++late->n_sure == late->at ? 7 : -EAGAIN;
}

static void wait_for_late(struct sb_waiter *w, struct late *late)
{
	struct sb_wait c = { .try_ = take_late,
			     .arg = late,
			     .sets = { &sh->set[0] },
			     .n_sets = 1 };
	uint64_t start = sb_now_ns();

	cr_assert_eq(sb_waiter_wait(w, &c, start + LONG), 7);
	cr_assert_lt(sb_now_ns() - start, LONG / 2);
	cr_assert_eq(w->n_parks, 1);
	cr_assert(no_bits());
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void need_membarrier(void)
{
	if (sb_fence_register())
		cr_skip_test("no membarrier(2) here");
	bells.asym = true;
}

/* As when Linux has lost the barrier of S3; see lib/fence.h. */
Test(waiter, with_membarrier_there_is_a_second_look_long_before_a_heartbeat)
{
	need_uring();
	need_membarrier();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct late late = { .at = 2 };
		struct sb_waiter w;

		init(&w, 1, both[b]);
		w.heartbeat_ns = LONG;
		wait_for_late(&w, &late);
		sb_waiter_close(&w);
	}
}

/* One that comes too early, for a heartbeat, is none. */
Test(waiter, a_heartbeat_that_is_due_does_not_take_the_second_look_away)
{
	need_uring();
	need_membarrier();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct late late = { .at = 3 };
		struct sb_waiter w;
		int n = 0;

		init(&w, 1, both[b]);
		w.heartbeat = count;
		w.heartbeat_arg = &n;
		w.heartbeat_ns = LONG;
		w.beat_ns = sb_now_ns() - 2 * LONG;
		wait_for_late(&w, &late);
		cr_assert_eq(n, 1);
		sb_waiter_close(&w);
	}
}

Test(waiter, a_heartbeat_looks_and_leaves_the_bits_where_they_are)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct late late = { .at = 5 };
		struct sb_waiter w;

		init(&w, 1, both[b]);
		w.heartbeat_ns = 5 * SB_NS_PER_MS;
		wait_for_late(&w, &late);
		cr_assert_eq(late.n_away, 0);
		sb_waiter_close(&w);
	}
}

/* As the recovery of a waker that was killed after K4. */
static void take_our_bit(void *arg)
{
	int *n = arg;

	if (++*n == 1)
		sb_sleepers_clear(&sh->set[0], 1);
	else if (*n == 2)
		st_rlx(&sh->stage, has_bit(&sh->set[0], 1));
}

Test(waiter, a_heartbeat_that_takes_our_bit_has_it_set_again)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct sb_wait c = waits_for(1);
		struct sb_waiter w;
		int n = 0;

		init(&w, 1, both[b]);
		w.heartbeat = take_our_bit;
		w.heartbeat_arg = &n;
		w.heartbeat_ns = 20 * SB_NS_PER_MS;
		st_rlx(&sh->stage, 0);
		while (n < 2)
			cr_assert_eq(sb_waiter_wait(&w, &c,
						    sb_now_ns() + SB_NS_PER_S),
				     -ETIMEDOUT);
		cr_assert_eq(ld_rlx(&sh->stage), 1);
		sb_waiter_close(&w);
	}
}

/* Heartbeat, signals ------------------------------------------------------ */

Test(waiter, heartbeat_runs_while_waiting)
{
	static const enum sb_spin spins[] = { SB_SPIN_ADAPTIVE, SB_SPIN_ALWAYS,
					      SB_SPIN_NEVER };

	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		for (size_t i = 0; i < lengthof(spins); i++) {
			uint64_t start = sb_now_ns(), most;
			struct sb_waiter w;
			int n = 0;

			init_spin(&w, 1, both[b], spins[i]);
			w.heartbeat = count;
			w.heartbeat_arg = &n;
			w.heartbeat_ns = 5 * SB_NS_PER_MS;
			cr_assert_eq(wait_any(&w, 52 * SB_NS_PER_MS),
				     -ETIMEDOUT);
			most = (sb_now_ns() - start) / w.heartbeat_ns;
			cr_assert_geq(n, 1);
			/* not more than time allows, however late we are */
			cr_assert_leq((uint64_t)n, most);
			cr_assert_leq(w.n_parks, 2); /* slices are one park */
			sb_waiter_close(&w);
		}
	}
}

static volatile sig_atomic_t n_alarms;

static void on_alarm(int sig)
{
	(void)sig;
	n_alarms++;
}

static void alarm_after(long us)
{
	struct itimerval t = { .it_value = { .tv_usec = us },
			       .it_interval = { .tv_usec = us } };
	struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART */

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

Test(waiter, a_signal_ends_the_wait_only_if_wanted)
{
	need_uring();
	for (size_t b = 0; b < lengthof(both); b++) {
		struct sb_waiter w;
		uint64_t start = sb_now_ns();

		init(&w, 1, both[b]);
		alarm_after(5000);
		cr_assert_eq(wait_any(&w, 40 * SB_NS_PER_MS), -ETIMEDOUT);
		cr_assert_geq(sb_now_ns() - start, 40 * SB_NS_PER_MS);
		w.wants_eintr = true;

		int n_first[2] = { 0, 0 }; /* how often the first one did it */

		for (int i = 0; i < 20; i++) {
			if (i & 1) { /* so that the bell is armed anew */
				sb_waiter_close(&w);
				init(&w, 1, both[b]);
				w.wants_eintr = true;
			}
			start = sb_now_ns();
			n_alarms = 0;
			cr_assert_eq(wait_any(&w, LONG), -EINTR);
			n_first[i & 1] += n_alarms == 1;
			cr_assert_lt(sb_now_ns() - start, LONG / 2);
		}
		alarm_after(0);
		cr_assert_gt(n_first[0], 0);
		cr_assert_gt(n_first[1], 0);
		cr_assert_eq(wait_any(&w, 5 * SB_NS_PER_MS), -ETIMEDOUT);
		cr_assert(no_bits());
		sb_waiter_close(&w);
	}
}

/* Watches ----------------------------------------------------------------- */

struct pipe_watch {
	struct sb_watch watch;
	struct sb_waiter *w;
	int fd[2];
	int n_ready;
	uint32_t events;
	bool drain, unwatch, soon;
};

static void pipe_ready(void *arg, uint32_t events)
{
	struct pipe_watch *p = arg;
	char c;

	p->n_ready++;
	p->events |= events;
	if (p->drain)
		T_CHECK(read(p->fd[0], &c, 1) == 1);
	if (p->unwatch)
		sb_waiter_unwatch(p->w, &p->watch);
}

static void pipe_watch(struct sb_waiter *w, struct pipe_watch *p)
{
	T_CHECK(pipe(p->fd) == 0);
	p->w = w;
	p->watch = (struct sb_watch){
		.fd = p->fd[0],
		.events = POLLIN,
		.ready = pipe_ready,
		.arg = p,
		.soon = p->soon
	};
	sb_waiter_watch(w, &p->watch);
}

static void pipe_close(struct pipe_watch *p)
{
	close(p->fd[0]);
	close(p->fd[1]);
}

/* Content when ready() has run. */
static int try_ready(void *arg, bool sure)
{
	(void)sure;
	return ((struct pipe_watch *)arg)->n_ready ? 5 : -EAGAIN;
}

static int wait_ready(struct sb_waiter *w, struct pipe_watch *p, uint64_t ns)
{
	struct sb_wait c = { .try_ = try_ready,
			     .arg = p,
			     .sets = { &sh->set[0] },
			     .n_sets = 1 };

	p->n_ready = 0;
	return sb_waiter_wait(w, &c, sb_now_ns() + ns);
}

/* Writes to a pipe once the parent, endpoint 1, sleeps. */
static int write_later(void *arg)
{
	struct pipe_watch *p = arg;

	T_CHECK(wait_asleep(1, getppid()));
	return write(p->fd[1], "x", 1) == 1 ? 0 : 1;
}

static const enum sb_backend watchers[] = { SB_BACKEND_FUTEX, SB_BACKEND_URING,
					    SB_BACKEND_AUTO };

Test(waiter, a_watched_pipe_ends_the_park)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;
		struct pipe_watch p = { .drain = true };

		init(&w, 1, watchers[b]);
		pipe_watch(&w, &p);
		for (int i = 0; i < 5; i++) {
			pid_t child = t_fork(write_later, &p);

			cr_assert_eq(wait_ready(&w, &p, LONG), 5);
			cr_assert_eq(p.n_ready, 1);
			cr_assert_eq(p.events, POLLIN);
			t_join(child);
		}
		cr_assert_str_eq(sb_waiter_backend_name(&w),
				 b == 0 ? "futex" : "uring");
		sb_waiter_unwatch(&w, &p.watch);
		pipe_close(&p);
		sb_waiter_close(&w);
	}
}

Test(waiter, a_watch_is_level_triggered)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;
		struct pipe_watch p = { 0 };

		init(&w, 1, watchers[b]);
		pipe_watch(&w, &p);
		cr_assert_eq(write(p.fd[1], "x", 1), 1);
		cr_assert_eq(wait_ready(&w, &p, LONG), 5);
		cr_assert_eq(wait_ready(&w, &p, LONG), 5);
		p.drain = true;
		cr_assert_eq(wait_ready(&w, &p, LONG), 5);
		p.drain = false;
		/* POLL_ADD may have seen it before; but not for ever */
		wait_ready(&w, &p, 5 * SB_NS_PER_MS);
		cr_assert_eq(wait_ready(&w, &p, 5 * SB_NS_PER_MS), -ETIMEDOUT);
		sb_waiter_unwatch(&w, &p.watch);
		pipe_close(&p);
		sb_waiter_close(&w);
	}
}

Test(waiter, what_a_poll_has_said_the_ring_does_not_repeat)
{
	struct sb_waiter w;
	struct pipe_watch p = { .drain = true };

	need_uring();
	init(&w, 1, SB_BACKEND_URING);
	pipe_watch(&w, &p);
	cr_assert_eq(wait_any(&w, SB_NS_PER_MS), -ETIMEDOUT); /* arms it */
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(write(p.fd[1], "x", 1), 1);
		w.spin = SB_SPIN_ALWAYS;
		cr_assert_eq(wait_ready(&w, &p, LONG), 5);
		w.spin = SB_SPIN_NEVER;
		cr_assert_eq(wait_ready(&w, &p, 3 * SB_NS_PER_MS), -ETIMEDOUT);
	}
	sb_waiter_unwatch(&w, &p.watch);
	pipe_close(&p);
	sb_waiter_close(&w);
}

Test(waiter, a_watch_is_seen_without_parking)
{
	struct sb_waiter w;
	struct pipe_watch p = { .drain = true };

	init_spin(&w, 1, SB_BACKEND_AUTO, SB_SPIN_ALWAYS);
	pipe_watch(&w, &p);
	cr_assert_eq(write(p.fd[1], "x", 1), 1);
	cr_assert_eq(wait_ready(&w, &p, LONG), 5);
	cr_assert_eq(w.n_parks, 0);

	/* nor by one whose waits always succeed at once */
	p.n_ready = 0;
	cr_assert_eq(write(p.fd[1], "x", 1), 1);
	for (uint64_t end = sb_now_ns() + LONG; !p.n_ready;) {
		cr_assert_lt(sb_now_ns(), end);
		put(0, 1);
		cr_assert_eq(wait_any(&w, LONG), 0);
	}
	sb_waiter_unwatch(&w, &p.watch);
	pipe_close(&p);
	sb_waiter_close(&w);
}

static bool reader_is_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

Test(waiter, after_unwatch_the_kernel_holds_nothing)
{
	need_uring();
	signal(SIGPIPE, SIG_IGN);
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;

		init(&w, 1, watchers[b]);
		for (int i = 0; i < 50; i++) {
			struct pipe_watch p = { 0 };

			pipe_watch(&w, &p);
			/* arms it */
			cr_assert_eq(wait_ready(&w, &p, SB_NS_PER_MS),
				     -ETIMEDOUT);
			if (i & 1) /* completed, not delivered */
				cr_assert_eq(write(p.fd[1], "x", 1), 1);
			sb_waiter_unwatch(&w, &p.watch);
			close(p.fd[0]);
			/* an armed poll would keep the reading end open */
			cr_assert(reader_is_gone(p.fd[1]));
			close(p.fd[1]);
			memset(&p, 0x5a, sizeof(p));
		}
		cr_assert_eq(wait_any(&w, SB_NS_PER_MS), -ETIMEDOUT);
		sb_waiter_close(&w);
	}
}

static long sleepers_on_bell(uint32_t id)
{
	return syscall(SYS_futex, &sh->ep[id].bell, FUTEX_WAKE, INT_MAX);
}

Test(waiter, after_close_the_kernel_holds_nothing)
{
	need_uring();
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 100; i++) {
		struct sb_waiter w;
		struct pipe_watch p = { 0 };

		init(&w, 1, SB_BACKEND_URING);
		pipe_watch(&w, &p);
		while (w.n_parks == 0)
			wait_any(&w, 50000);
		sb_waiter_close(&w);
		cr_assert_eq(sleepers_on_bell(1), 0);
		close(p.fd[0]);
		cr_assert(reader_is_gone(p.fd[1]));
		close(p.fd[1]);
	}
}

Test(waiter, ready_may_unwatch_itself_and_others_stay)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;
		struct pipe_watch p[100] = { 0 }; /* more than the ring holds */

		init(&w, 1, watchers[b]);
		for (int i = 0; i < 100; i++) {
			p[i].soon = i % 2;
			pipe_watch(&w, &p[i]);
			cr_assert_eq(w.n_watched_soon, (i + 1u) / 2);
			p[i].unwatch = true;
		}
		for (int i = 0; i < 100; i += 3)
			cr_assert_eq(write(p[i].fd[1], "x", 1), 1);
		cr_assert_eq(wait_any(&w, 50 * SB_NS_PER_MS), -ETIMEDOUT);
		for (int i = 0; i < 100; i++)
			cr_assert_eq(p[i].n_ready, i % 3 == 0);
		for (int i = 99; i >= 0; i -= 3)
			cr_assert_eq(wait_ready(&w, &p[i], 0), -ETIMEDOUT);
		for (int i = 0; i < 100; i++) {
			if (i % 3)
				sb_waiter_unwatch(&w, &p[i].watch);
			pipe_close(&p[i]);
		}
		cr_assert_null(w.watches);
		cr_assert_eq(w.n_watched_soon, 0);
		sb_waiter_close(&w);
	}
}

Test(waiter, the_bell_rings_through_watches)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;
		struct pipe_watch p = { 0 };
		struct window x = { 0 };
		struct sb_wait c = { .try_ = overtaken,
				     .arg = &x,
				     .sets = { &sh->set[0] },
				     .n_sets = 1 };

		init(&w, 1, watchers[b]);
		pipe_watch(&w, &p);
		cr_assert_eq(sb_waiter_wait(&w, &c, sb_now_ns() + LONG), 0);
		cr_assert_eq(wait_any(&w, SB_NS_PER_MS),
			     -ETIMEDOUT); /* arms it */
		sb_waiter_unwatch(&w, &p.watch);

		/* the ring's wait stays armed, and AUTO now sleeps in
		 * futex(2): the wake must not go to the ring alone */
		w.heartbeat_ns = LONG;
		for (int i = 0; i < 3; i++) {
			pid_t child = t_fork(put_later, NULL);
			uint64_t start = sb_now_ns();

			cr_assert_eq(wait_any(&w, LONG), 0);
			cr_assert_lt(sb_now_ns() - start, LONG / 2);
			t_join(child);
		}
		pipe_close(&p);
		sb_waiter_close(&w);
	}
}

static int die_when_parent_sleeps(void *arg)
{
	(void)arg;
	T_CHECK(wait_asleep(1, getppid()));
	raise(SIGKILL);
	return 1;
}

Test(waiter, the_death_of_a_process_ends_the_park)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;
		struct pipe_watch p = { .unwatch = true, .w = &w };

		init(&w, 1, watchers[b]);

		pid_t child = t_fork(die_when_parent_sleeps, NULL);
		int fd = (int)syscall(SYS_pidfd_open, child, 0);

		cr_assert_geq(fd, 0);
		p.watch = (struct sb_watch){ .fd = fd,
					     .events = POLLIN,
					     .ready = pipe_ready,
					     .arg = &p };
		sb_waiter_watch(&w, &p.watch);
		cr_assert_eq(wait_ready(&w, &p, LONG), 5);
		cr_assert_null(w.watches);
		close(fd);
		cr_assert_eq(t_wait(child), -SIGKILL);
		sb_waiter_close(&w);
	}
}

Test(waiter, a_watch_of_no_descriptor_says_nval)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct sb_waiter w;
		struct pipe_watch p = { .unwatch = true };

		init(&w, 1, watchers[b]);
		pipe_watch(&w, &p);
		p.watch.fd = 1000; /* a mistake of the caller's */
		cr_assert_eq(wait_ready(&w, &p, LONG), 5);
		cr_assert_eq(p.events, POLLNVAL);
		pipe_close(&p);
		sb_waiter_close(&w);
	}
}

/* Fork, descriptors, threads ---------------------------------------------- */

static struct sb_waiter inherited;

static int use_inherited(void *arg)
{
	struct pipe_watch *p = arg;
	struct sb_wait c = waits_for(1);

	/* the parent's: its bell is not ours */
	inherited.heartbeat = NULL;
	T_CHECK(sb_waiter_wait(&inherited, &c, SB_FOREVER) == -EINVAL);
	if (p)
		sb_waiter_unwatch(&inherited, &p->watch);
	sb_waiter_close(&inherited);
	T_CHECK(has_bit(&sh->running, 1));

	init(&inherited, 2, SB_BACKEND_AUTO);
	if (p)
		sb_waiter_watch(&inherited, &p->watch);
	T_CHECK(wait_any(&inherited, 2 * SB_NS_PER_MS) == -ETIMEDOUT);
	put(1, 1);
	T_CHECK(wait_any(&inherited, LONG) == 1);
	sb_waiter_close(&inherited);
	T_CHECK(!has_bit(&sh->running, 2));

	/* the parent is asleep with what it armed before the fork */
	T_CHECK(wait_asleep(1, getppid()));
	put(2, 1);
	return 0;
}

Test(waiter, an_armed_wait_survives_a_fork_and_the_child_starts_anew)
{
	need_uring();
	for (size_t b = 0; b < lengthof(watchers); b++) {
		struct pipe_watch p = { 0 };

		init(&inherited, 1, watchers[b]);
		inherited.heartbeat_ns = LONG;
		pipe_watch(&inherited, &p);
		cr_assert_eq(wait_any(&inherited, SB_NS_PER_MS), -ETIMEDOUT);

		pid_t child = t_fork(use_inherited, &p);
		/* what the child put for itself may come to us: give back */
		int ret;

		while ((ret = wait_any(&inherited, LONG)) == 1)
			put(1, 1);
		cr_assert_eq(ret, 2);
		t_join(child);
		sb_waiter_unwatch(&inherited, &p.watch);
		pipe_close(&p);
		sb_waiter_close(&inherited);
	}
}

Test(waiter, five_hundred_rings_leave_no_descriptor_or_mapping)
{
	need_uring();

	int fds = t_count_fds(), maps = 0, open_fds = 0;

	for (int i = 0; i < 500; i++) {
		struct sb_waiter w;
		struct pipe_watch p = { 0 };

		init(&w, 1, watchers[i % 3]);
		pipe_watch(&w, &p);
		while (w.n_parks == 0)
			wait_any(&w, 50000);
		if (i < 3) /* a ring may need one, but then the first does */
			open_fds = t_count_fds();
		cr_assert_leq(t_count_fds(), open_fds);
		/* closed with the watch armed */
		sb_waiter_close(&w);
		pipe_close(&p);
		if (i == 10)
			maps = t_count_maps();
	}
	cr_assert_eq(t_count_fds(), fds);
	cr_assert_leq(t_count_maps(), maps + 1); /* malloc may grow once */
}

Test(waiter, closing_every_descriptor_does_not_stop_a_wait)
{
	need_uring();

	struct sb_waiter w;
	struct pipe_watch p = { .drain = true };

	init(&w, 1, SB_BACKEND_URING);
	w.heartbeat_ns = LONG;
	cr_assert_eq(wait_any(&w, SB_NS_PER_MS), -ETIMEDOUT);
	/* not ours: Criterion's are below, and stay */
	for (int fd = t_count_fds(); fd < 64; fd++)
		close(fd);
	pipe_watch(&w, &p);
	cr_assert_eq(write(p.fd[1], "x", 1), 1);
	cr_assert_eq(wait_ready(&w, &p, LONG), 5);
	sb_waiter_unwatch(&w, &p.watch);
	pipe_close(&p);
	sb_waiter_close(&w);
}

/* Where there is no io_uring ---------------------------------------------- */

static int without_uring(void *arg)
{
	int err = *(const int *)arg;
	struct sb_waiter w;
	struct pipe_watch p = { .drain = true };
	int ret = t_deny_io_uring(err);

	if (ret < 0)
		return T_SKIP;
	T_CHECK(sb_waiter_init(&w, &bells, 1, &sh->running, SB_BACKEND_URING,
			       SB_SPIN_NEVER, 0) == -err);
	T_CHECK(!has_bit(&sh->running, 1));

	init(&w, 1, SB_BACKEND_AUTO);
	pipe_watch(&w, &p);
	for (int i = 0; i < 3; i++) {
		pid_t child = t_fork(write_later, &p);

		T_CHECK(wait_ready(&w, &p, LONG) == 5);
		T_CHECK(t_wait(child) == 0);
	}
	T_CHECK(strcmp(sb_waiter_backend_name(&w), "futex") == 0);
	put(2, 1);
	T_CHECK(wait_any(&w, LONG) == 2);
	T_CHECK(wait_any(&w, 30 * SB_NS_PER_MS) == -ETIMEDOUT);
	sb_waiter_unwatch(&w, &p.watch);
	pipe_close(&p);
	sb_waiter_close(&w);
	return 0;
}

Test(waiter, denied_io_uring_falls_back_in_auto_and_fails_if_forced)
{
#ifndef WITH_URING
	cr_skip_test("built --without-uring");
#endif
	static int errors[] = { EPERM, ENOSYS };

	for (size_t i = 0; i < lengthof(errors); i++)
		t_join_or_skip(t_fork(without_uring, &errors[i]),
			       "no seccomp here");
}

static int denied_later(void *arg)
{
	struct sb_waiter w;
	struct pipe_watch p = { .drain = true };

	(void)arg;
	init(&w, 1, SB_BACKEND_AUTO);
	pipe_watch(&w, &p);
	T_CHECK(wait_any(&w, SB_NS_PER_MS) == -ETIMEDOUT);
	T_CHECK(w.uring);
	if (t_deny_io_uring(EPERM) < 0)
		return T_SKIP;
	T_CHECK(write(p.fd[1], "x", 1) == 1);
	T_CHECK(wait_ready(&w, &p, LONG) == 5);
	T_CHECK(!w.uring && w.uring_error == -EPERM);
	sb_waiter_unwatch(&w, &p.watch);
	pipe_close(&p);
	sb_waiter_close(&w);
	return 0;
}

Test(waiter, a_ring_that_stops_working_is_replaced_by_futexes)
{
	need_uring();
	t_join_or_skip(t_fork(denied_later, NULL), "no seccomp here");
}

/* A descriptor is what a ring cannot be made without. */
static void allow_descriptors(bool on)
{
	struct rlimit limit;

	T_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = on ? limit.rlim_max : 3;
	T_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static int short_of_descriptors(void *arg)
{
	struct sb_waiter w;
	struct pipe_watch p = { .drain = true };

	(void)arg;
	init(&w, 1, SB_BACKEND_AUTO);
	pipe_watch(&w, &p);
	allow_descriptors(false);
	T_CHECK(wait_any(&w, SB_NS_PER_MS) == -ETIMEDOUT);
	T_CHECK(!w.uring && w.uring_error == -EMFILE);
	T_CHECK(write(p.fd[1], "x", 1) == 1);
	T_CHECK(wait_ready(&w, &p, LONG) == 5); /* by futex and poll */
	allow_descriptors(true);
	for (int i = 0; i < 100 && !w.uring; i++)
		T_CHECK(wait_any(&w, SB_NS_PER_US) == -ETIMEDOUT);
	T_CHECK(w.uring && !w.uring_error);
	sb_waiter_unwatch(&w, &p.watch);
	pipe_close(&p);
	sb_waiter_close(&w);
	return 0;
}

Test(waiter, a_ring_comes_when_what_was_short_is_there_again)
{
	need_uring();
	cr_assert_eq(t_wait(t_fork(short_of_descriptors, NULL)), 0);
}
