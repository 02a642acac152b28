/*
 * explore_wake.c - random schedules of the real wait and wake code, one access
 * at a time
 *
 * Compiles lib/waiter.c with a hook in front of every atomic access, store
 * buffers (tso.h), and a futex of its own.  Sleepers wait for messages of two
 * queues, some of them for both, some with a deadline; wakers put messages and
 * wake.  At each hook another one may go on, and anybody may be killed for
 * good; then a recoverer, which may be killed too, clears its bits and wakes
 * all, as bus/recover.c does.
 *
 * No park ends by time but that of a deadline, so nothing saves who was not
 * woken.  In some schedules membarrier(2) is lost now and then, as Linux does
 * it; only there does the second look after S4 come.  What is checked: when
 * nobody can go on, no message waits while somebody sleeps who could take it;
 * in the end all leave and no bit is set.
 *
 * explore_wake [--seconds=S] [--seed=X]; with a seed it runs just that one.
 * Built with -DMUTANTS, as mutants_wake, it takes --mutant=NAME, and has to
 * fail (tests/README.md).
 */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MUTANTS
static const char *mutant = "";
#define SB_MUTANT mutant
#endif

#include "lib/clock.h"

static void sched_point(void);
static uint64_t sim_now_ns(void);

static uint64_t real_now_ns(void)
{
	return sb_now_ns();
}

#define SB_ATOMICS_HOOK() sched_point()
#define sb_now_ns()       sim_now_ns()
#define sched_yield()     sched_point()

#include "tests/stress/coro.h"
#include "tests/stress/tso.h"

#include "lib/waiter.c"

#define N_TASKS   10
#define N_QUEUES  2
#define MAX_STEPS 30000

/* A park that is longer never ends.  The second look is after a tenth of the
 * heartbeat; the rest of that is for ever. */
#define PARK_MAX_NS    (1000 * SB_NS_PER_S)
#define NO_SECOND_LOOK (100 * PARK_MAX_NS)
#define SECOND_LOOKS   (5 * PARK_MAX_NS)

enum kind { SLEEPER, WAKER, RECOVERER, CLOSER };

enum state { NONE, READY, ASLEEP, LEFT, DEAD };

struct task {
	enum kind kind;
	enum state state;
	unsigned int n_left; /* messages to put; waits, 0: no limit */
	long n_steps, die_at;
	unsigned int die_locked;
	bool locked, woken, gives_up;
	uint64_t until_ns; /* ASLEEP; UINT64_MAX: no end */
	long frozen_until;
	unsigned int queues; /* bitmap */
	struct task *whom;   /* recoverer: the dead */
	struct sb_waiter waiter;
	struct tso tso;
	struct coro coro;
};

/* In shared memory.  A waker counts its messages by plain stores: a locked
 * instruction would be a fence before K3. */
struct queue {
	struct sb_sleepers set;
	_Atomic uint64_t n_put[N_TASKS];
	_Atomic uint64_t n_taken;
};

static struct {
	struct queue queue[N_QUEUES];
	struct sb_sleepers running;
	struct {
		alignas(SB_FAR) _Atomic uint32_t bell;
	} ep[N_TASKS + 1];
	_Atomic uint64_t closed;
} memory;

static struct {
	uint64_t now_ns;
	long n_steps;
	int kills_left;
	bool loses; /* membarrier(2) may be without effect */
	bool closing;
	struct task *frozen;
	char failure[200];
} run;

static struct {
	uint64_t schedules, steps, kills, parks, wakes, messages, timeouts, bad;
} total;

static struct task tasks[N_TASKS];
static struct task *running;
static struct sb_bells bells;
static uint64_t rng;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

/* True once in @n. */
static bool once_in(unsigned int n)
{
	return rnd() % n == 0;
}

static uint32_t id_of(const struct task *t)
{
	return (uint32_t)(t - tasks) + 1;
}

static uint64_t sim_now_ns(void)
{
	return run.now_ns;
}

static void sched_point(void)
{
	if (running)
		coro_pause(&running->coro);
}

static struct tso *tso_mine(void)
{
	return running ? &running->tso : NULL;
}

static void tso_drain_everybody(void)
{
	for (int i = 0; i < N_TASKS; i++)
		tso_drain(&tasks[i].tso);
}

static void tso_locked(void)
{
	if (!running)
		return;
	running->locked = true;
	if (running->die_locked && !--running->die_locked)
		running->die_at = 1;
}

__attribute__((format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
	va_list ap;

	if (!run.failure[0]) {
		va_start(ap, fmt);
		vsnprintf(run.failure, sizeof(run.failure), fmt, ap);
		va_end(ap);
	}
	if (running)
		coro_end();
}

/* ------------------------------------------- what lib/waiter.c stands on -- */

uint32_t sb_fork_gen;

void sb_proc_init(void)
{
}

void sb_fence_heavy(bool asym)
{
	tso_fence();
	if (asym && !(run.loses && once_in(4)))
		tso_membarrier();
}

int sb_futex_park(struct sb_waiter *w, uint32_t seen, uint64_t ns)
{
	struct task *t = running;

	tso_fence();
	if (tso_memory((const void *)sb_own_bell(w), 4) != seen)
		return 0;
	total.parks++;
	t->state = ASLEEP;
	t->woken = false;
	t->until_ns = ns > PARK_MAX_NS ? UINT64_MAX : run.now_ns + ns;
	sched_point();
	t->state = READY;
	return 0;
}

int sb_futex_wake(_Atomic uint32_t *bell)
{
	tso_fence();
	for (int i = 0; i < N_TASKS; i++) {
		struct task *t = &tasks[i];

		if (t->state != ASLEEP || t->woken ||
		    sb_bell(&bells, id_of(t)) != bell)
			continue;
		t->woken = true;
		total.wakes++;
		return 1;
	}
	return 0;
}

int sb_uring_open(struct sb_waiter *w)
{
	(void)w;
	return -ENOSYS;
}

int sb_uring_park(struct sb_waiter *w, uint32_t seen, uint64_t ns)
{
	(void)w, (void)seen, (void)ns;
	return -ENOSYS;
}

void sb_uring_close(struct sb_waiter *w)
{
	(void)w;
}

void sb_uring_disarm(struct sb_waiter *w, struct sb_watch *watch)
{
	(void)w, (void)watch;
}

/* ------------------------------------------------------------ the tasks -- */

static uint64_t waiting_in(struct queue *q)
{
	uint64_t n = 0;

	for (int i = 0; i < N_TASKS; i++)
		n += ld_acq(&q->n_put[i]);
	return n;
}

static int take_from(struct queue *q, bool sure)
{
	uint64_t taken = ld_acq(&q->n_taken);

	/* Like a ring, which looks at the other side only when it must. */
	if (!sure && once_in(2))
		return -EAGAIN;
	while (waiting_in(q) > taken)
		if (cas_acqrel(&q->n_taken, &taken, taken + 1))
			return 0;
	return -EAGAIN;
}

static int try_take(void *arg, bool sure)
{
	struct task *t = arg;

	for (int i = 0; i < N_QUEUES; i++) {
		if (!(t->queues >> i & 1))
			continue;
		if (!take_from(&memory.queue[i], sure)) {
			total.messages++;
			return 0;
		}
	}
	return ld_acq(&memory.closed) ? -EPIPE : -EAGAIN;
}

static struct queue *queue_of(const struct task *t, uint32_t i)
{
	return &memory.queue[t->queues == 3 ? i : t->queues - 1];
}

static bool more(void *arg, uint32_t i)
{
	struct queue *q = queue_of(arg, i);

	return waiting_in(q) > ld_acq(&q->n_taken);
}

static void sleeper(struct task *t)
{
	struct sb_wait c = { .try_ = try_take, .more = more, .arg = t };

	if (sb_waiter_init(&t->waiter, &bells, id_of(t), &memory.running,
			   SB_BACKEND_FUTEX, SB_SPIN_NEVER, 0))
		abort();
	t->waiter.heartbeat_ns = run.loses ? SECOND_LOOKS : NO_SECOND_LOOK;
	c.n_sets = t->queues == 3 ? 2 : 1;
	for (uint32_t i = 0; i < c.n_sets; i++)
		c.sets[i] = &queue_of(t, i)->set;
	for (;;) {
		bool early = t->gives_up && once_in(2);
		int ret = sb_waiter_wait(&t->waiter, &c,
					 early ? run.now_ns + rnd() % 50
					       : SB_FOREVER);

		if (ret == -EPIPE)
			break;
		if (ret == -ETIMEDOUT) {
			total.timeouts++;
			if (!early)
				fail("timed out");
			if (once_in(4))
				t->gives_up = false;
		} else if (ret) {
			fail("wait says %d", ret);
		}
		if (t->n_left && !--t->n_left)
			break; /* and leaves the rest to others */
		for (uint64_t k = rnd() % 20; k; k--)
			sched_point();
	}
	sb_waiter_close(&t->waiter);
}

static void waker(struct task *t)
{
	while (t->n_left) {
		struct queue *q = &memory.queue[rnd() % N_QUEUES];
		_Atomic uint64_t *n_put = &q->n_put[t - tasks];
		uint32_t n = 1 + (uint32_t)(rnd() % t->n_left);

		t->n_left -= n;
		st_rel(n_put, ld_rlx(n_put) + n); /* K1 */
		sb_wake(&q->set, &bells, n);
		for (uint64_t k = rnd() % 30; k; k--)
			sched_point();
	}
}

/* What bus/recover.c does for the sleepers.  It wakes all, not those whose
 * bits are set: a waker may have died between K4 and K5. */
static void recover(struct task *t)
{
	struct sb_sleepers all = { 0 };

	for (int i = 0; i < N_TASKS; i++)
		all.bits[0] |= bit_of(id_of(&tasks[i]));
	for (int i = 0; i < N_QUEUES; i++)
		if (!SB_MUTATED(dead_bits))
			sb_sleepers_clear(&memory.queue[i].set, id_of(t->whom));
	sb_sleepers_clear(&memory.running, id_of(t->whom));
	for (int i = 0; i < N_QUEUES && SB_MUTATED(death_wakes_all); i++)
		sb_wake_all(&memory.queue[i].set, &bells);
	if (!SB_MUTATED(death_wakes) && !SB_MUTATED(death_wakes_all))
		sb_wake_all(&all, &bells);
	t->whom->state = NONE;
}

static void closer(void)
{
	st_rel(&memory.closed, 1);
	for (int i = 0; i < N_QUEUES; i++)
		sb_wake_all(&memory.queue[i].set, &bells);
}

static void live(void)
{
	struct task *t = running;

	switch (t->kind) {
	case SLEEPER:
		sleeper(t);
		break;
	case WAKER:
		waker(t);
		break;
	case RECOVERER:
		recover(t);
		break;
	case CLOSER:
		closer();
		break;
	}
	tso_fence();
	t->state = LEFT;
	coro_end();
}

/* -------------------------------------------------------- the scheduler -- */

static struct task *spawn(enum kind kind)
{
	struct task *t = tasks;
	char *stack;

	while (t < tasks + N_TASKS && t->state != NONE && t->state != LEFT)
		t++;
	if (t == tasks + N_TASKS)
		return NULL;
	stack = t->coro.stack;
	*t = (struct task){ .kind = kind, .state = READY };
	t->coro.stack = stack;
	coro_init(&t->coro);
	return t;
}

static void maybe_doom(struct task *t, unsigned int n_steps)
{
	if (!t || run.kills_left <= 0 || once_in(2))
		return;
	run.kills_left--;
	if (once_in(2))
		t->die_at = 1 + (long)(rnd() % n_steps);
	else
		t->die_locked = 1 + (unsigned int)(rnd() % (1 + n_steps / 10));
}

/* SIGKILL.  Its messages stay; what it took is gone. */
static void kill_task(struct task *t)
{
	struct task *r;

	tso_drain(&t->tso);
	t->state = DEAD;
	total.kills++;
	if (t->kind == RECOVERER) {
		t->state = NONE; /* it never slept */
		t = t->whom;
	}
	r = spawn(RECOVERER);
	if (!r) {
		fail("explorer: too many tasks");
		return;
	}
	r->whom = t;
	maybe_doom(r, 30);
}

static bool runnable(const struct task *t)
{
	return t->state == READY ||
	       (t->state == ASLEEP &&
		(t->woken || t->until_ns <= run.now_ns));
}

static struct task *pick(struct task *last, unsigned int stay)
{
	struct task *can[N_TASKS];
	unsigned int n = 0;

	if (!run.frozen && last && last->locked && once_in(8)) {
		run.frozen = last;
		last->frozen_until = run.n_steps + (long)(rnd() % 200);
	}
	if (run.frozen && run.frozen->frozen_until < run.n_steps)
		run.frozen = NULL;
	for (int i = 0; i < N_TASKS; i++)
		if (runnable(&tasks[i]) && &tasks[i] != run.frozen)
			can[n++] = &tasks[i];
	if (!n && run.frozen && runnable(run.frozen))
		can[n++] = run.frozen;
	if (!n)
		return NULL;
	if (last && stay && last != run.frozen && runnable(last) &&
	    !once_in(stay))
		return last;
	return can[rnd() % n];
}

/* Nobody can run: it is time for the next deadline.  False when there is
 * none. */
static bool next_deadline(void)
{
	uint64_t next = UINT64_MAX;

	for (int i = 0; i < N_TASKS; i++)
		if (tasks[i].state == ASLEEP && tasks[i].until_ns < next)
			next = tasks[i].until_ns;
	if (next == UINT64_MAX)
		return false;
	run.now_ns = next;
	return true;
}

static void check_sleepers(void)
{
	for (int i = 0; i < N_TASKS; i++) {
		const struct task *t = &tasks[i];

		if (t->state != ASLEEP)
			continue;
		for (int k = 0; k < N_QUEUES; k++)
			if (t->queues >> k & 1 &&
			    waiting_in(&memory.queue[k]) !=
				    memory.queue[k].n_taken)
				fail("task %d sleeps over a message", i);
		if (run.closing)
			fail("task %d sleeps over the close", i);
	}
}

/* Nobody can run: only sleepers have their bits set. */
static void check_bits(void)
{
	uint64_t asleep = 0;

	for (int i = 0; i < N_TASKS; i++)
		if (tasks[i].state == ASLEEP)
			asleep |= bit_of(id_of(&tasks[i]));
	for (int k = 0; k < N_QUEUES; k++)
		if (memory.queue[k].set.bits[0] & ~asleep)
			fail("the bit of nobody is set");
	if (memory.running.bits[0])
		fail("a sleeper counts as running");
}

static void step(struct task *t)
{
	struct task *drained = &tasks[rnd() % N_TASKS];

	if (drained->tso.n)
		tso_drain_one(&drained->tso);
	running = t;
	t->locked = false;
	t->n_steps++;
	run.n_steps++;
	run.now_ns++;
	coro_run(&t->coro, live);
	running = NULL;
}

static void play(void)
{
	static const unsigned int stays[] = { 0, 4, 20 };
	unsigned int stay = stays[rnd() % 3];
	struct task *t = NULL;

	while (!run.failure[0]) {
		t = pick(t, stay);
		if (!t && next_deadline())
			continue;
		if (!t) {
			check_sleepers();
			check_bits();
			if (run.closing || run.failure[0])
				return;
			run.closing = true;
			spawn(CLOSER);
			continue;
		}
		if (run.n_steps > MAX_STEPS) {
			fail("no end");
			return;
		}
		if (t->die_at && t->n_steps >= t->die_at)
			kill_task(t);
		else
			step(t);
	}
}

/* ------------------------------------------------------------- schedules -- */

static void set_up(void)
{
	unsigned int n_sleepers = 1 + (unsigned int)(rnd() % 3);
	unsigned int n_wakers = 1 + (unsigned int)(rnd() % 2);

	memset((void *)&memory, 0, sizeof(memory));
	memset(&run, 0, sizeof(run));
	for (int i = 0; i < N_TASKS; i++)
		tasks[i].state = NONE;
	bells = (struct sb_bells){ .base = (void *)&memory.ep[0],
				   .stride = sizeof(memory.ep[0]),
				   .n = N_TASKS + 1,
				   .asym = once_in(2) };
	run.loses = bells.asym && once_in(2);
	for (int i = 0; i <= N_TASKS; i++)
		memory.ep[i].bell = UINT32_MAX - (uint32_t)(rnd() % 3);
	run.kills_left = once_in(3) ? 0 : 1 + (int)(rnd() % 4);
	while (n_sleepers--) {
		struct task *t = spawn(SLEEPER);

		t->queues = 1 + (unsigned int)(rnd() % 3);
		t->n_left = once_in(2) ? 0 : 1 + (unsigned int)(rnd() % 3);
		t->gives_up = once_in(2);
		maybe_doom(t, 150);
	}
	while (n_wakers--) {
		struct task *t = spawn(WAKER);

		t->n_left = 1 + (unsigned int)(rnd() % 5);
		maybe_doom(t, 40);
	}
}

/* One schedule; all of it follows from @seed. */
static bool explore(uint64_t seed)
{
	rng = seed | 1;
	for (int i = 0; i < 4; i++)
		rnd();
	set_up();
	play();
	total.schedules++;
	total.steps += (uint64_t)run.n_steps;
	if (!run.failure[0])
		return true;
	total.bad++;
	printf("FAILED: %s: explore_wake --seed=%" PRIu64 " (schedule %" PRIu64
	       ", %ld steps)\n",
	       run.failure, seed, total.schedules, run.n_steps);
	for (int i = 0; i < N_TASKS; i++)
		if (tasks[i].state)
			printf("  task %d: kind %d state %d steps %ld queues "
			       "%u left %u bell %x\n",
			       i, tasks[i].kind, tasks[i].state,
			       tasks[i].n_steps, tasks[i].queues,
			       tasks[i].n_left, memory.ep[i + 1].bell);
	return false;
}

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

int main(int argc, char **argv)
{
	double seconds = 5;
	uint64_t seed = 0, base, end;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--seconds=", 10)) {
			seconds = atof(argv[i] + 10);
		} else if (!strncmp(argv[i], "--seed=", 7)) {
			seed = strtoull(argv[i] + 7, NULL, 0);
#ifdef MUTANTS
		} else if (!strncmp(argv[i], "--mutant=", 9)) {
			mutant = argv[i] + 9;
#endif
		} else {
			fprintf(stderr, "usage: %s [--seconds=S] [--seed=X]\n",
				argv[0]);
			return 2;
		}
	}
	gap_steps(); /* measured once: no schedule may depend on it */
	base = real_now_ns();
	end = base + (uint64_t)(seconds * 1e9);
	if (seed)
		explore(seed);
	for (uint64_t i = 0; !seed && !total.bad && real_now_ns() < end; i++)
		explore(mix(base + i));
	printf("schedules %" PRIu64 ", steps %" PRIu64 ", kills %" PRIu64
	       ", parks %" PRIu64 ", wakes %" PRIu64 ", time-outs %" PRIu64
	       ", messages %" PRIu64 "; failed %" PRIu64 "\n",
	       total.schedules, total.steps, total.kills, total.parks,
	       total.wakes, total.timeouts, total.messages, total.bad);
	for (int i = 0; i < N_TASKS; i++)
		free(tasks[i].coro.stack);
	return total.bad != 0;
}
