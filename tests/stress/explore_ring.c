/*
 * explore_ring.c - random schedules of the real ring code, one access at a time
 *
 * Compiles lib/ring.c, lib/ring_recover.c and lib/blob.c with a hook in front
 * of every atomic access.  Simulated processes are coroutines on one thread; at
 * each hook the scheduler may go on with another one, stall this one for a
 * while, or kill it for good.  The dead are recovered by up to two recoverers,
 * which may be killed too.  Stores wait in buffers as on x86 (tso.h), which is
 * no proof for machines with weaker order.
 *
 * What is checked: each message is taken by one at a time and finished once,
 * nobody touches the bytes of another's slot or cell, sleepers that were told
 * all they are promised to be told do not sleep for ever, and in the end all
 * slots and cells are free and as many messages fit as at the beginning.
 *
 * explore_ring [--seconds=S] [--seed=X]; with a seed it runs just that one.
 * Built with -DMUTANTS, as mutants_ring, it takes --mutant=NAME, and has to
 * fail (tests/README.md).
 */
#undef _FORTIFY_SOURCE /* its longjmp() knows only one stack */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void sched_point(void);
static uint64_t sim_now_ns(void);

#define SB_ATOMICS_HOOK() sched_point()
#define SB_RING_NOW_NS()  sim_now_ns()

#ifdef MUTANTS
static const char *mutant = "";
#define SB_MUTANT mutant
#endif

#include "tests/stress/coro.h"
#include "tests/stress/tso.h"

#include "lib/blob.c"
#include "lib/ring.c"
#include "lib/ring_recover.c"

#define N_TASKS     28
#define N_MSGS      96
#define MAX_STEPS   60000
#define RING_BYTES  4096
#define BLOB_BYTES  4096
#define CELL_BYTES  256u
#define AUDITOR     100 /* endpoint ids that no task has */

enum kind { PRODUCER, CONSUMER, RECOVERER, CLOSER };

enum state { NONE, READY, ASLEEP, LEFT, DEAD };

struct task {
	enum kind kind;
	enum state state;
	unsigned int batch;
	unsigned int n_msgs;
	long n_steps;
	long die_at;       /* 0: never */
	unsigned int die_locked; /* ... or after so many locked instructions */
	bool locked;             /* the last access was one */
	long frozen_until; /* of the schedule's steps */
	uint64_t n_wakes;  /* that it was sent */
	uint64_t seen_wakes;
	unsigned int n_recoverers; /* of us, when dead */
	bool recovered;
	struct task *whom;     /* recoverer: the dead */
	struct task *also;     /* ... and the recoverer before us */
	unsigned int last_seq; /* consumer: see in_order() */
	struct sb_ring_end end;
	struct sb_blob blob;
	struct tso tso;
	struct coro coro;
};

/* What a message went through, as seen from above.  Written right after the
 * access that commits it, with no hook between. */
struct msg {
	struct task *producer;
	struct task *holder;
	uint64_t pos;
	uint32_t cell; /* or SB_BLOB_NONE */
	bool published, cancelled, orphan, taken, finished;
	bool begun;
	unsigned int n_deaths;  /* of consumers that were at it */
	unsigned int n_counted; /* of those, as the ring says */
};

static struct {
	uint64_t seed;
	bool request, strict, closing, finish, ordered, asym;
	unsigned int log_n, max_attempts;
	uint64_t tick_ns, now_ns;
	unsigned int hold; /* messages, for less accesses than that */
	long n_steps;
	unsigned int n_msgs, n_consumer_deaths;
	int kills_left, recoverer_kills_left;
	unsigned int last_of[N_TASKS]; /* in_order() */
	struct msg msgs[N_MSGS];
	struct task *frozen;
	char failure[200];
} run;

static struct {
	uint64_t schedules, steps, kills, recoverer_kills, hangs, bad, skips,
		quarantined, closed, cells;
} total;

static struct task tasks[N_TASKS];
static struct task *running;
static alignas(SB_FAR) unsigned char memory[RING_BYTES];
static struct sb_ring *const ring = (void *)memory;
static struct sb_ring_end look; /* for the one above; never claims */
static alignas(SB_FAR) unsigned char blob_memory[BLOB_BYTES];
static struct sb_blob_pool *const pool = (void *)blob_memory;
static struct sb_blob look_blob;
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

static uint64_t sim_now_ns(void)
{
	return run.now_ns;
}

static void sched_point(void)
{
	if (running)
		coro_pause(&running->coro);
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

void sb_fence_heavy(bool asym)
{
	tso_fence();
	if (asym)
		tso_membarrier();
}

/* ------------------------------------------------------------ the tasks -- */

static void wake(struct task *t)
{
	t->n_wakes++;
}

static void wake_all(enum kind kind)
{
	tso_fence(); /* and the waker may be killed before it wakes */
	for (int i = 0; i < N_TASKS; i++)
		if (tasks[i].kind == kind)
			wake(&tasks[i]);
}

/* Sleep unless there was a wake-up since @seen. */
static void sleep_since(struct task *t, uint64_t seen)
{
	t->seen_wakes = seen;
	t->state = ASLEEP;
	tso_fence();
	t->state = READY;
}

static volatile uint64_t *data_of(uint64_t pos)
{
	return (volatile uint64_t *)(void *)sb_ring_slot(&look, pos)->data;
}

static uint64_t answer_to(uint64_t i)
{
	return i * 3 + 1;
}

static volatile uint64_t *data_of_cell(uint32_t cell)
{
	return sb_blob_data(&look_blob, cell);
}

/* Some messages lie in a cell if one is free. */
static uint32_t claim_cell(struct task *t, unsigned int i)
{
	uint32_t cell;

	if (once_in(2) || sb_blob_claim(&t->blob, CELL_BYTES, &cell))
		return SB_BLOB_NONE;
	data_of_cell(cell)[0] = i;
	total.cells++;
	return cell;
}

static void check_cell(const struct task *t, const struct msg *m)
{
	unsigned int i = (unsigned int)(m - run.msgs);

	if (m->cell == SB_BLOB_NONE)
		return;
	if (!sb_blob_is(&t->blob, m->cell, 0, m->pos))
		fail("the cell of message %u is somebody else's", i);
	if (data_of_cell(m->cell)[0] != i)
		fail("the cell of message %u was overwritten", i);
}

/* We are done with @m: its cell after its slot.  Who collects an answer may
 * keep the cell; if a consumer did, who would come after it had none. */
static void free_message(struct task *t, struct msg *m)
{
	bool keep = run.request && m->cell != SB_BLOB_NONE && once_in(4);

	if (keep && !sb_blob_keep(&t->blob, m->cell, 0, m->pos))
		fail("the cell of an answer could not be kept");
	sb_ring_free(&t->end, m->pos);
	m->holder = NULL;
	m->finished = true;
	if (keep)
		sb_blob_drop(&t->blob, m->cell);
	else if (m->cell != SB_BLOB_NONE)
		sb_blob_free(&t->blob, m->cell, 0, m->pos);
}

static void publish_one(struct task *t, uint64_t pos)
{
	volatile uint64_t *data = data_of(pos);
	unsigned int i = run.n_msgs++;
	struct msg *m = &run.msgs[i];

	*m = (struct msg){ .producer = t, .pos = pos, .cell = SB_BLOB_NONE };
	m->cell = claim_cell(t, i);
	data[0] = i;
	data[1] = 0;
	sched_point();
	if (data[0] != i || data[1] != 0)
		fail("message %u was overwritten before it was published", i);
	if (m->cell != SB_BLOB_NONE) {
		if (!sb_blob_is_own(&t->blob, m->cell) ||
		    data_of_cell(m->cell)[0] != i)
			fail("the cell for %u has two owners", i);
		sb_blob_hand(&t->blob, m->cell, 0, pos);
		sched_point();
		check_cell(t, m);
	}
	if (once_in(12)) {
		sb_ring_cancel(&t->end, pos);
		m->cancelled = true;
		if (m->cell != SB_BLOB_NONE)
			sb_blob_free(&t->blob, m->cell, 0, pos);
	} else {
		sb_ring_publish(&t->end, pos, 16, 0);
		m->published = true;
	}
	wake_all(CONSUMER);
}

/* A consumer has one request at work: a death is blamed on one at most. */
static void check_blame(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < run.n_msgs; i++)
		n += run.msgs[i].n_counted;
	if (run.request && n > run.n_consumer_deaths)
		fail("%u deaths are blamed on requests, and %u died", n,
		     run.n_consumer_deaths);
}

/* Look for one answer to us.  False when there was none. */
static bool collect_one(struct task *t)
{
	for (unsigned int i = 0; i < run.n_msgs; i++) {
		struct msg *m = &run.msgs[i];
		uint64_t seq;

		if (m->producer != t || !m->published || m->finished ||
		    !sb_ring_answered(&t->end, m->pos, &seq))
			continue;
		if (data_of(m->pos)[0] != i)
			fail("the answer to %u lies elsewhere", i);
		if (seq & SB_FLAG_QUAR) {
			total.quarantined++;
			m->n_counted = run.max_attempts;
			check_blame();
			if (!run.max_attempts ||
			    run.n_consumer_deaths < run.max_attempts)
				fail("message %u quarantined too early", i);
		} else if (data_of(m->pos)[1] != answer_to(i)) {
			fail("wrong answer to %u", i);
		}
		check_cell(t, m);
		free_message(t, m);
		wake_all(PRODUCER);
		return true;
	}
	return false;
}

static bool waits_for_answers(const struct task *t)
{
	for (unsigned int i = 0; i < run.n_msgs; i++) {
		const struct msg *m = &run.msgs[i];

		if (m->producer == t && m->published && !m->finished)
			return run.request;
	}
	return false;
}

static void produce(struct task *t)
{
	while (t->n_msgs || waits_for_answers(t)) {
		uint64_t seen = t->n_wakes, pos = 0;
		bool sure = once_in(2);
		int n = -EAGAIN;

		if (run.request && collect_one(t))
			continue;
		if (t->n_msgs) {
			uint32_t n_max = 1 + (uint32_t)(rnd() % t->batch);

			n = sb_ring_claim(&t->end,
					  n_max < t->n_msgs ? n_max : t->n_msgs,
					  sure, &pos);
		}
		if (n == -EPIPE) {
			if (!run.closing)
				fail("claim says closed");
			t->n_msgs = 0;
		} else if (n < 0 && (sure || !t->n_msgs)) {
			sleep_since(t, seen);
		} else if (n < 0) {
			sched_point();
		}
		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			t->n_msgs--;
			publish_one(t, pos);
		}
	}
}

/* A single consumer sees each producer's messages in order. */
static void in_order(struct msg *m)
{
	unsigned int i = (unsigned int)(m - run.msgs);
	unsigned int *last = &run.last_of[m->producer - tasks];

	if (run.ordered && *last > i)
		fail("message %u after %u", i, *last);
	*last = i;
}

static struct msg *taken(struct task *t, uint64_t pos, bool run_of_many)
{
	uint64_t i = data_of(pos)[0];
	struct msg *m = &run.msgs[i];

	if (i >= run.n_msgs || m->pos != pos || !m->published)
		fail("took what nobody sent");
	if (m->finished || m->cancelled)
		fail("message %u twice", (unsigned int)i);
	if (m->holder)
		fail("message %u has two takers", (unsigned int)i);
	if (run.max_attempts && m->n_deaths >= run.max_attempts)
		fail("message %u killed %u and comes again", (unsigned int)i,
		     m->n_deaths);
	in_order(m);
	check_cell(t, m);
	m->holder = t;
	m->taken = true;
	m->begun = !run_of_many;
	m->n_counted = sb_ring_attempts(&t->end, pos);
	if (m->n_counted < m->n_deaths)
		fail("message %u: death not counted", (unsigned int)i);
	check_blame();
	return m;
}

static void finish(struct task *t, uint64_t pos)
{
	volatile uint64_t *data = data_of(pos);
	uint64_t i = data[0];
	struct msg *m = &run.msgs[i];

	for (uint64_t k = rnd() % run.hold; k; k--)
		sched_point();
	if (data[0] != i || m->holder != t)
		fail("message %u was overwritten while we had it",
		     (unsigned int)i);
	check_cell(t, m);
	if (run.request && !m->begun && (run.ordered || !once_in(10))) {
		sb_ring_begin(&t->end, pos);
		m->begun = true;
		sched_point();
	}
	/* What was not begun can be given back, and not answered. */
	if (!run.ordered && (!m->begun || once_in(10))) {
		m->holder = NULL;
		sb_ring_give_back(&t->end, pos);
		wake_all(CONSUMER);
	} else if (run.request) {
		data[1] = answer_to(i);
		bool freed = sb_ring_answer(&t->end, pos, 16, 0);

		m->holder = NULL;
		if (freed) {
			sb_blob_free_all(&t->blob, 0, pos);
			wake_all(PRODUCER);
		}
		tso_fence();
		wake(m->producer);
	} else {
		free_message(t, m);
		wake_all(PRODUCER);
	}
}

/* Has somebody taken @pos, who may not have come back with it yet? */
static bool word_says_taken(uint64_t pos)
{
	uint64_t own = look.cown[sb_ring_idx(&look, pos)], hw = ring->head;

	if (sb_pos_diff(sb_ring_slot(&look, pos)->seq, pos) > 0)
		return true;
	if (SB_POS(own) == pos) /* pending of nobody: it was passed */
		return SB_STATE(own) != SB_PENDING || SB_OWNER(own);
	return (hw & 3) == SB_NORM && sb_pos_diff(pos, hw) < 0 &&
	       sb_pos_diff(hw, pos) <= (int64_t)(hw >> 2 & 63) + 1;
}

/* A consumer was told that there is nothing left and nothing to come. */
static void check_drained(void)
{
	for (unsigned int i = 0; i < run.n_msgs; i++) {
		const struct msg *m = &run.msgs[i];

		if (m->taken || m->finished || m->cancelled || m->orphan)
			continue;
		if (!m->published || !word_says_taken(m->pos))
			fail("told to leave before message %u", i);
	}
}

static void consume(struct task *t)
{
	while (!run.finish) {
		uint64_t seen = t->n_wakes, pos = 0;
		bool sure = once_in(2);
		int n = sb_ring_take(&t->end, 1 + (uint32_t)(rnd() % t->batch),
				     sure, &pos);

		for (int k = 0; k < n; k++)
			taken(t, pos + (uint64_t)k * SB_POS_ONE,
			      run.request && n > 1);
		if (t->end.freed_tomb) {
			t->end.freed_tomb = false;
			wake_all(PRODUCER);
		}
		for (int k = 0; k < n; k++)
			finish(t, pos + (uint64_t)k * SB_POS_ONE);
		if (t->end.freed_tomb) {
			t->end.freed_tomb = false;
			wake_all(PRODUCER);
		}
		if (n == -EPIPE) {
			if (!run.closing)
				fail("take says closed");
			check_drained();
			return;
		}
		if (n == -EAGAIN && sure)
			sleep_since(t, seen);
		else if (n < 0)
			sched_point();
	}
}

static bool pos_alive(void *arg, uint32_t channel, uint64_t pos)
{
	return channel == 0 && sb_ring_pos_alive(arg, pos);
}

static void recover_one(struct task *t, const struct task *dead)
{
	struct sb_ring_recovered what = { 0 };
	uint32_t id = (uint32_t)(dead - tasks) + 1;

	sb_ring_recover(&t->end, id, &what);
	sb_blob_recover(&t->blob, id);
	sb_blob_sweep(&t->blob, pos_alive, &t->end);
}

static void recover(struct task *t)
{
	recover_one(t, t->whom);
	if (t->also)
		recover_one(t, t->also);
	tso_fence();
	t->whom->recovered = true;
	wake_all(PRODUCER);
	wake_all(CONSUMER);
}

static void live(void)
{
	struct task *t = running;

	switch (t->kind) {
	case PRODUCER:
		produce(t);
		break;
	case CONSUMER:
		consume(t);
		break;
	case RECOVERER:
		recover(t);
		break;
	case CLOSER:
		sb_ring_close(&t->end);
		total.closed++;
		wake_all(PRODUCER);
		wake_all(CONSUMER);
		break;
	}
	t->state = LEFT;
	coro_end();
}

/* -------------------------------------------------------- the scheduler -- */

static struct task *spawn(enum kind kind)
{
	struct task *t = tasks;
	char *stack;

	while (t < tasks + N_TASKS && t->state != NONE &&
	       !(t->state == LEFT && t->kind != PRODUCER))
		t++;
	if (t == tasks + N_TASKS)
		return NULL;
	stack = t->coro.stack;
	*t = (struct task){ .kind = kind, .state = READY };
	t->coro.stack = stack;
	coro_init(&t->coro);
	if (sb_ring_attach(&t->end, ring, sizeof(memory),
			   (uint32_t)(t - tasks) + 1))
		abort();
	if (sb_blob_attach(&t->blob, pool, sizeof(blob_memory),
			   (uint32_t)(t - tasks) + 1))
		abort();
	t->end.asym = run.asym;
	t->batch = 1 + (unsigned int)(rnd() % 3);
	return t;
}

static void maybe_doom(struct task *t, unsigned int n_steps)
{
	if (!t || run.kills_left <= 0 || once_in(3))
		return;
	run.kills_left--;
	if (once_in(2))
		t->die_at = 1 + (long)(rnd() % n_steps);
	else
		t->die_locked = 1 + (unsigned int)(rnd() % (1 + n_steps / 12));
}

static void start_recovery(struct task *dead, struct task *also)
{
	struct task *t = spawn(RECOVERER);

	if (!t) {
		fail("too many tasks");
		return;
	}
	t->whom = dead;
	t->also = also;
	dead->n_recoverers++;
	if (run.recoverer_kills_left && once_in(3)) {
		run.recoverer_kills_left--;
		t->die_at = 1 + (long)(rnd() % 60);
	}
}

/* SIGKILL. */
static void kill_task(struct task *t)
{
	tso_drain(&t->tso);
	t->state = DEAD;
	t->recovered = false;
	total.kills++;
	for (unsigned int i = 0; i < run.n_msgs; i++) {
		struct msg *m = &run.msgs[i];
		uint64_t seq = sb_ring_slot(&look, m->pos)->seq;

		if (m->producer == t)
			m->orphan = true;
		if (m->holder != t)
			continue;
		m->holder = NULL;
		if ((seq & SB_SEQ_KIND) == (m->pos | SB_FULL) && m->begun)
			m->n_deaths++;
	}
	if (t->kind == RECOVERER) {
		total.recoverer_kills++;
		t->whom->n_recoverers--;
		start_recovery(t->whom, t);
		return;
	}
	start_recovery(t, NULL);
	if (once_in(3))
		start_recovery(t, NULL);
	if (t->kind == CONSUMER) {
		run.n_consumer_deaths++;
		maybe_doom(spawn(CONSUMER), 120);
	}
	if (t->kind == CLOSER)
		spawn(CLOSER);
}

/* A recoverer left: the id of the dead may be used again when it was the
 * last one. */
static void recoverer_left(struct task *t)
{
	struct task *dead = t->whom;

	if (t->also)
		t->also->state = NONE;
	if (--dead->n_recoverers)
		return;
	if (!dead->recovered)
		fail("explorer: not recovered");
	/* A producer's name stays in the messages. */
	dead->state = dead->kind == PRODUCER ? DEAD : NONE;
}

static void drain_some(void)
{
	struct task *t = &tasks[rnd() % N_TASKS];

	if (t->tso.n)
		tso_drain_one(&t->tso);
}

static void step(struct task *t)
{
	drain_some();
	running = t;
	t->locked = false;
	t->n_steps++;
	run.n_steps++;
	run.now_ns += run.tick_ns;
	coro_run(&t->coro, live);
	running = NULL;
	if (t->state == LEFT)
		tso_drain(&t->tso);
	if (t->state == LEFT && t->kind == RECOVERER)
		recoverer_left(t);
}

static bool runnable(const struct task *t)
{
	return t->state == READY ||
	       (t->state == ASLEEP && t->n_wakes != t->seen_wakes);
}

/* Is every claim finished?  From the words themselves, not by the ring's own
 * functions. */
static bool settled(void)
{
	uint64_t tw = ring->tail;

	for (uint64_t i = 0; i <= look.mask; i++) {
		uint64_t last = SB_POS(look.pown[i]);
		uint64_t seq = sb_ring_slot(&look, i << 16)->seq;

		if ((seq & 3) != SB_FREE || sb_pos_diff(seq, last) <= 0)
			return false;
	}
	if ((tw & 3) == SB_NORM)
		for (uint64_t n = (tw >> 2 & 63) + 1; n; n--) {
			uint64_t p = SB_POS(tw) - n * SB_POS_ONE;
			uint64_t seq = sb_ring_slot(&look, p)->seq;

			if (sb_pos_diff(seq, p) <= 0)
				return false;
		}
	return true;
}

static bool any_consumer(void)
{
	for (int i = 0; i < N_TASKS; i++)
		if (tasks[i].kind == CONSUMER &&
		    (tasks[i].state == READY || tasks[i].state == ASLEEP))
			return true;
	return false;
}

static bool any_active(bool consumers_too)
{
	for (int i = 0; i < N_TASKS; i++)
		if ((tasks[i].state == READY || tasks[i].state == ASLEEP) &&
		    (consumers_too || tasks[i].kind != CONSUMER))
			return true;
	return false;
}

static struct task *pick(struct task *last, unsigned int stay)
{
	struct task *can[N_TASKS];
	unsigned int n = 0;

	if (run.frozen && run.frozen->frozen_until < run.n_steps)
		run.frozen = NULL;
	for (int i = 0; i < N_TASKS; i++)
		if (runnable(&tasks[i]))
			can[n++] = &tasks[i];
	if (!run.frozen && last && last->locked && once_in(8)) {
		run.frozen = last;
		last->frozen_until = run.n_steps + (long)(rnd() % 300);
	}
	if (!run.frozen && n && once_in(run.ordered ? 12 : 60)) {
		long most = run.ordered ? 60 : once_in(5) ? 4000 : 300;

		run.frozen = can[rnd() % n];
		run.frozen->frozen_until =
			run.n_steps + (long)(rnd() % (uint64_t)most);
	}
	n = 0;
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

/* No task can run.  True when that is as it should be. */
static bool at_rest(void)
{
	if (!any_active(true) && settled())
		return true;
	/* All left because the ring is closed, then one of them turned out
	 * to have died with a message. */
	if (run.closing && !any_consumer())
		return !spawn(CONSUMER);
	if (!any_active(false) && settled()) {
		run.finish = true;
		wake_all(CONSUMER);
		return false;
	}
	fail("all sleep, and there is work");
	return false;
}

static void play(void)
{
	static const unsigned int stays[] = { 0, 4, 20 };
	unsigned int stay = stays[rnd() % 3];
	struct task *t = NULL;

	while (!run.failure[0]) {
		t = pick(t, stay);
		if (!t) {
			if (at_rest())
				return;
			if (run.failure[0])
				total.hangs++;
			continue;
		}
		if (run.n_steps > MAX_STEPS) {
			total.hangs++;
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
	unsigned int np, nc;
	/* Order suffers only from passes, in a row. */
	bool passes = once_in(6);
	/* Two producers die in claims, one after the other. */
	bool claims = !passes && once_in(6);
	uint64_t first;

	memset(memory, 0, sizeof(memory));
	memset(&run, 0, sizeof(run));
	for (int i = 0; i < N_TASKS; i++)
		tasks[i].state = NONE;
	run.log_n = once_in(3) ? 2 : 1;
	run.request = once_in(2);
	run.strict = once_in(5);
	run.asym = once_in(2);
	run.hold = once_in(3) ? 100 : 4;
	run.max_attempts = once_in(2) ? 0 : 1 + (unsigned int)(rnd() % 3);
	run.tick_ns = (uint64_t[]){ 100, 3000, 20000, 70000 }[rnd() % 4];
	run.kills_left = once_in(4) ? 0 : 1 + (int)(rnd() % 6);
	run.recoverer_kills_left = (int)(rnd() % 3);
	if (passes) {
		run.log_n = 2;
		run.strict = false;
	}
	if (claims) {
		run.log_n = 1;
		run.request = true;
		run.kills_left = 3;
	}
	first = once_in(2) ? 0 : (UINT64_C(1) << 48) - rnd() % 24;
	if (sb_ring_bytes(run.log_n, 32) > sizeof(memory))
		abort();
	sb_ring_init(ring, run.log_n, 32,
		     (run.request ? SB_RING_REQUEST : 0) |
			     (run.strict ? SB_RING_STRICT : 0),
		     run.max_attempts, first);
	if (sb_ring_attach(&look, ring, sizeof(memory), AUDITOR))
		abort();
	memset(blob_memory, 0, sizeof(blob_memory));
	if (!sb_blob_plan(pool, CELL_BYTES, 4 * CELL_BYTES) ||
	    sb_blob_attach(&look_blob, pool, sizeof(blob_memory), AUDITOR))
		abort();
	np = 1 + (unsigned int)(rnd() % 3);
	nc = 1 + (unsigned int)(rnd() % 2);
	run.closing = once_in(4);
	run.ordered = nc == 1 && once_in(2);
	if (passes) {
		np = 2;
		nc = 1;
		run.ordered = true;
		run.tick_ns = 70000;
		run.kills_left = 0;
	}
	if (claims)
		np = 3;
	while (np--) {
		struct task *t = spawn(PRODUCER);

		t->n_msgs = passes ? 12 : 2 + (unsigned int)(rnd() % 5);
		if (claims && run.kills_left-- > 0)
			t->die_locked = 1 + (unsigned int)(rnd() % 12);
		else
			maybe_doom(t, 40 * t->n_msgs);
	}
	while (nc--) {
		struct task *t = spawn(CONSUMER);

		if (passes)
			t->batch = 3;
		if (!run.ordered)
			maybe_doom(t, 200);
	}
	if (run.closing) {
		struct task *t = spawn(CLOSER);

		t->frozen_until = (long)(rnd() % 300);
		run.frozen = t;
		maybe_doom(t, 8);
	}
}

static void check_messages(void)
{
	unsigned int n_lost = 0;

	for (unsigned int i = 0; i < run.n_msgs; i++) {
		const struct msg *m = &run.msgs[i];

		if (m->published && !m->finished && !(run.request && m->orphan))
			n_lost++;
	}
	/* A one-way message that killed too many is dropped. */
	if (!run.request && run.max_attempts)
		n_lost -= n_lost * run.max_attempts <= 3 * run.n_consumer_deaths
				  ? n_lost
				  : 0;
	if (n_lost)
		fail("%u messages lost", n_lost);
}

/* What it holds now, and a few laps more: nothing may be left over. */
static void check_ring(void)
{
	struct sb_ring_end a, b;
	uint64_t n_slots = look.mask + 1, n = 0, pos;
	uint32_t n_waiting, n_held;

	sb_ring_attach(&a, ring, sizeof(memory), AUDITOR);
	sb_ring_attach(&b, ring, sizeof(memory), AUDITOR + 1);
	if (!settled())
		fail("a slot was lost");
	if (sb_ring_unfinished(&a))
		fail("unfinished");
	sb_ring_count(&a, &n_waiting, &n_held);
	if (n_waiting || n_held)
		fail("%u wait and %u are held", n_waiting, n_held);
	if (sb_ring_take(&b, 1, true, &pos) !=
	    (sb_ring_closed(&a) ? -EPIPE : -EAGAIN))
		fail("something is left");
	if (sb_ring_closed(&a))
		return;
	while (n <= n_slots && sb_ring_claim(&a, 1, true, &pos) == 1) {
		sb_ring_publish(&a, pos, 0, 0);
		n++;
	}
	if (n != n_slots)
		fail("%" PRIu64 " of %" PRIu64 " slots are left", n, n_slots);
	for (uint64_t k = 0; k < 3 * n_slots + 1; k++) {
		if (sb_ring_take(&b, 1, true, &pos) != 1)
			fail("nothing comes out");
		sb_ring_free(&b, pos);
		if (sb_ring_claim(&a, 1, true, &pos) != 1)
			fail("nothing goes in");
		sb_ring_publish(&a, pos, 0, 0);
	}
}

static void check_cells(void)
{
	uint64_t bytes, used;

	sb_blob_count(&look_blob, &bytes, &used);
	if (used)
		fail("%" PRIu64 " cells were lost", used / CELL_BYTES);
}

static void dump(void)
{
	printf("  log_n %u%s%s max_attempts %u tick %" PRIu64 "%s, %ld steps\n"
	       "  tail %" PRIx64 " head %" PRIx64 " gen %" PRIu64
	       " orphans %" PRIu64 "\n",
	       run.log_n, run.request ? " request" : "",
	       run.strict ? " strict" : "", run.max_attempts, run.tick_ns,
	       run.closing ? " closing" : "", run.n_steps, ring->tail,
	       ring->head, ring->gen, ring->orphans);
	for (uint64_t i = 0; i <= look.mask; i++)
		printf("  slot %" PRIu64 ": seq %" PRIx64 " pown %" PRIx64
		       " pskip %" PRIx64 " cown %" PRIx64 "\n",
		       i, sb_ring_slot(&look, i << 16)->seq, look.pown[i],
		       look.pskip[i], look.cown[i]);
	for (int i = 0; i < N_TASKS; i++)
		if (tasks[i].state)
			printf("  task %d: id %d kind %d state %d steps %ld"
			       " dies at %ld msgs %u\n",
			       i, i + 1, tasks[i].kind, tasks[i].state,
			       tasks[i].n_steps, tasks[i].die_at,
			       tasks[i].n_msgs);
	for (unsigned int i = 0; i < run.n_msgs; i++) {
		const struct msg *m = &run.msgs[i];

		printf("  msg %u: pos %" PRIx64 " of task %d%s%s%s%s%s\n", i,
		       m->pos, (int)(m->producer - tasks),
		       m->published ? " published" : "",
		       m->cancelled ? " cancelled" : "",
		       m->orphan ? " orphan" : "", m->taken ? " taken" : "",
		       m->finished ? " finished" : "");
	}
}

/* One schedule; all of it follows from @seed. */
static bool explore(uint64_t seed, bool verbose)
{
	rng = seed | 1;
	for (int i = 0; i < 4; i++)
		rnd();
	set_up();
	play();
	if (!run.failure[0]) {
		check_messages();
		check_cells();
		check_ring();
	}
	total.schedules++;
	total.steps += (uint64_t)run.n_steps;
	for (uint64_t i = 0; i <= look.mask; i++)
		total.skips += look.pskip[i] >= look.pown[i];
	if (!run.failure[0])
		return true;
	total.bad++;
	printf("FAILED: %s: explore_ring --seed=%" PRIu64 " (schedule %" PRIu64
	       ")\n",
	       run.failure, seed, total.schedules);
	if (verbose || total.bad == 1)
		dump();
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
	double seconds = 12;
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
#ifdef SB_TSAN
	/* One thread, and TSan does not follow it from stack to stack. */
	printf("nothing to see for TSan\n");
	return 77;
#endif
	base = sb_now_ns();
	end = base + (uint64_t)(seconds * 1e9);
	if (seed)
		explore(seed, true);
	for (uint64_t i = 0; !seed && total.bad < 1 && sb_now_ns() < end; i++)
		explore(mix(base + i), false);
	printf("schedules %" PRIu64 ", steps %" PRIu64 ", kills %" PRIu64
	       " (%" PRIu64 " of recoverers), closed %" PRIu64
	       ", quarantined %" PRIu64 ", cells %" PRIu64
	       ", skips left %" PRIu64 "; hangs %" PRIu64 ", failed %" PRIu64 "\n",
	       total.schedules, total.steps, total.kills, total.recoverer_kills,
	       total.closed, total.quarantined, total.cells, total.skips,
	       total.hangs, total.bad);
	for (int i = 0; i < N_TASKS; i++)
		free(tasks[i].coro.stack);
	return total.bad != 0;
}
