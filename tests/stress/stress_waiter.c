/*
 * stress_waiter.c - no wake is lost, at full speed
 *
 * Two litmus tests, each with threads (so that TSan sees them) and with forked
 * processes:
 *
 *	pairs  a sleeper and a waker take turns as fast as they can.  At most
 *	       one message is under way, so a lost wake stops the pair at once.
 *	       The waker waits by spinning, and learns to come just when the
 *	       sleeper sets its bit: that is where an order could be missing.
 *	crowd  all sleepers and wakers on one set, with time-outs and bursts:
 *	       what a sleeper leaves must be passed on.
 *
 * Slices are longer than the deadline here, so that nothing but a wake ends a
 * park, and a lost one is a time-out.
 *
 * All runs are made, also after a bad one; what was bad is said when it happens
 * and again at the end.
 *
 * usage: stress_waiter [seconds]
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/waiter.h"
#include "tests/support/proc.h"

#define N_EP     17 /* 8 pairs, from id 1 on */
#define DEADLINE (20 * SB_NS_PER_S)

struct shared {
	struct {
		alignas(SB_FAR) _Atomic uint32_t bell;
	} ep[N_EP];
	struct sb_sleepers running;

	struct pair {
		struct sb_sleepers set;
		alignas(SB_FAR) _Atomic uint32_t n;    /* messages */
		alignas(SB_FAR) _Atomic uint32_t done; /* taken so far */
	} pair[8];

	alignas(SB_FAR) _Atomic uint32_t stop;
	_Atomic uint64_t n_rounds, n_parks;
};

/* What went wrong, in all runs and processes; what has no room is counted. */
struct complaints {
	_Atomic uint32_t n;
	char text[40][120];
};

#define N_COMPLAINTS (sizeof(complaints->text) / sizeof(complaints->text[0]))

static struct complaints *complaints;
static struct shared *sh;
static struct sb_bells bells;

struct task {
	uint32_t i;        /* whose messages */
	uint32_t id;       /* endpoint of the sleeper */
	uint32_t n_wakers; /* crowd */
	uint64_t end_ns;
	enum sb_backend backend;
	enum sb_spin spin;
};

static void __attribute__((format(printf, 1, 2)))
complain(const char *format, ...)
{
	char text[sizeof(complaints->text[0])];
	uint32_t i = add_acqrel(&complaints->n, 1);
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "%s\n", text);
	if (i < N_COMPLAINTS)
		strcpy(complaints->text[i], text);
}

static void repeat_complaints(uint32_t n_bad, uint32_t n_runs)
{
	uint32_t n = ld_acq(&complaints->n);

	printf("\nFAILED: %u of %u runs were bad, with %u complaints:\n", n_bad,
	       n_runs, n);
	for (uint32_t i = 0; i < n && i < N_COMPLAINTS; i++)
		printf("  %s\n", complaints->text[i]);
	if (n > N_COMPLAINTS)
		printf("  and %u more, see above\n",
		       n - (uint32_t)N_COMPLAINTS);
}

static int take(void *arg, bool sure)
{
	struct pair *p = arg;
	uint32_t n = ld_acq(&p->n);

	while (n > 0)
		if (cas_acqrel(&p->n, &n, n - 1))
			return 0;

	int ret = ld_acq(&sh->stop) ? -EPIPE : -EAGAIN;

	/* hold the door between S4 and S5 open for a waker */
	if (sure)
		for (uint32_t k = ld_rlx(&p->done) % 17; k > 0; k--)
			sb_relax();
	return ret;
}

static bool more(void *arg, uint32_t i)
{
	struct pair *p = arg;

	(void)i;
	return ld_acq(&p->n) > 0;
}

static void put(struct pair *p, uint32_t n)
{
	add_acqrel(&p->n, n); /* K1 */
	sb_wake(&p->set, &bells, n);
}

static void delay(uint32_t n)
{
	while (n-- > 0)
		__asm__ __volatile__("" ::: "memory");
}

/* The kernel takes rings apart some time after the processes that had them, and
 * until then they count: so it may be short of memory for ours just now. */
static int init_waiter(struct sb_waiter *w, const struct task *t)
{
	uint64_t start = sb_now_ns();
	int ret;

	for (;;) {
		ret = sb_waiter_init(w, &bells, t->id, &sh->running, t->backend,
				     t->spin, 0);
		if (ret != -ENOMEM || sb_now_ns() - start > DEADLINE / 2)
			return ret;
		usleep(10000);
	}
}

static bool in_threads; /* this run, and not in processes */

/*
 * Longer than the deadline, so of no help.  The second look, after a tenth of
 * it, is within the deadline only where it is needed: where threads of a process
 * end, as those of the run before did, Linux may lose a barrier (lib/fence.h).
 */
static uint64_t heartbeat(void)
{
	return (bells.asym && in_threads ? 2 : 20) * DEADLINE;
}

/* Take until the stop.  A sleeper in a crowd at times gives up early, perhaps
 * with a wake in its hands. */
static int sleeper(void *arg)
{
	const struct task *t = arg;
	struct pair *p = &sh->pair[t->i];
	struct sb_wait c = { .try_ = take,
			     .more = more,
			     .arg = p,
			     .sets = { &p->set },
			     .n_sets = 1 };
	struct sb_waiter w;
	uint64_t n = 0;
	int ret;

	ret = init_waiter(&w, t);
	if (ret) {
		complain("sleeper %u: no waiter: %s", t->id, strerror(-ret));
		return 1;
	}
	w.heartbeat_ns = heartbeat();
	for (;;) {
		bool early = t->n_wakers && n++ % 4 == 3;
		uint64_t now = sb_now_ns();

		if (!t->n_wakers)
			delay(2000); /* or the waker is always too late */
		ret = sb_waiter_wait(&w, &c, now + (early ? 50000 : DEADLINE));
		if (ret == 0)
			add_acqrel(&p->done, 1);
		else if (!(early && ret == -ETIMEDOUT))
			break;
	}
	if (ret != -EPIPE)
		complain("sleeper %u: %s, %u messages left", t->id,
			 strerror(-ret), ld_acq(&p->n));
	add_acqrel(&sh->n_parks, w.n_parks);
	sb_waiter_close(&w);
	return ret == -EPIPE ? 0 : 1;
}

/* Until @done messages are taken; false after the deadline. */
static bool spin_until(struct pair *p, uint32_t done)
{
	uint64_t start = sb_now_ns();

	for (uint32_t n = 1; ld_acq(&p->done) != done; n++) {
		sb_relax();
		if (n % 256 == 0) {
			if (sb_now_ns() - start > DEADLINE)
				return false;
			sched_yield(); /* there are more of us than CPUs */
		}
	}
	return true;
}

static int pair_waker(void *arg)
{
	const struct task *t = arg;
	struct pair *p = &sh->pair[t->i];
	_Atomic uint32_t *bell = sb_bell(&bells, 1 + t->i);
	uint32_t done = 0, early = 100;

	while (sb_now_ns() < t->end_ns) {
		uint32_t seen = ld_rlx(bell);

		delay(early + done % 16 * 4);
		/* a plain store: an RMW would hide a missing fence K2 */
		st_rel(&p->n, 1); /* K1 */
		sb_wake(&p->set, &bells, 1);
		done++;
		if (!spin_until(p, done)) {
			complain("pair %u: wake %u was lost", t->i, done);
			return 1;
		}
		/* it slept: come earlier; it did not: come later */
		if (ld_rlx(bell) != seen)
			early -= early > 0;
		else
			early += early < 5000;
	}
	add_acqrel(&sh->n_rounds, done);
	return 0;
}

/* Bursts of 1 to 8; at most about 64 messages wait. */
static int crowd_waker(void *arg)
{
	const struct task *t = arg;
	struct pair *p = &sh->pair[0];
	uint64_t last = sb_now_ns();
	uint32_t n = 0, sum = 0;

	while (sb_now_ns() < t->end_ns) {
		uint32_t burst = 1 + n++ % 8;

		put(p, burst);
		sum += burst;
		while (ld_acq(&p->n) >= 64) {
			sched_yield();
			if (sb_now_ns() - last > DEADLINE) {
				complain("crowd: nobody takes");
				return 1;
			}
		}
		last = sb_now_ns();
	}
	add_acqrel(&sh->n_rounds, sum);
	/* everybody may be asleep now, but not over a message */
	while (ld_acq(&p->n) > 0) {
		sched_yield();
		if (sb_now_ns() - last > DEADLINE) {
			complain("crowd: %u messages, no taker", ld_acq(&p->n));
			return 1;
		}
	}
	return 0;
}

/* One task as a thread or a process ---------------------------------------- */

struct run {
	pthread_t thread;
	pid_t pid;
	int (*fn)(void *arg);
	struct task task;
	int ret;
};

static void *thread_main(void *arg)
{
	struct run *r = arg;

	r->ret = r->fn(&r->task);
	return NULL;
}

static void start(struct run *r, bool forks)
{
	if (forks) /* membarrier's registration is inherited */
		r->pid = t_fork(r->fn, &r->task);
	else
		T_CHECK(pthread_create(&r->thread, NULL, thread_main, r) == 0);
}

/* True when it was not bad. */
static bool finish(struct run *r, const char *title, bool forks)
{
	if (forks)
		r->ret = t_wait(r->pid);
	else
		T_CHECK(pthread_join(r->thread, NULL) == 0);
	if (r->ret != 0 && r->ret != 1) /* who returns 1 has said why */
		complain("%s %u ended with %d", title, r->task.i, r->ret);
	return r->ret == 0;
}

/* One run ------------------------------------------------------------------ */

struct choice {
	bool forks; /* or threads */
	bool crowd; /* or pairs */
	uint32_t n; /* sleepers */
	enum sb_backend backend;
	enum sb_spin spin;
};

static void start_all(struct run *sleepers, struct run *wakers,
		      uint32_t n_wakers, const struct choice *choice,
		      uint64_t ns)
{
	bool crowd = choice->crowd;

	in_threads = !choice->forks;
	for (uint32_t i = 0; i < choice->n; i++) {
		sleepers[i].fn = sleeper;
		sleepers[i].task = (struct task){
			.i = crowd ? 0 : i,
			.id = 1 + i,
			.n_wakers = crowd ? n_wakers : 0,
			.backend = choice->backend,
			.spin = choice->spin,
		};
		start(&sleepers[i], choice->forks);
	}
	for (uint32_t i = 0; i < n_wakers; i++) {
		wakers[i].fn = crowd ? crowd_waker : pair_waker;
		wakers[i].task =
			(struct task){ .i = i, .end_ns = sb_now_ns() + ns };
		start(&wakers[i], choice->forks);
	}
}

static void report(const struct choice *choice, bool good)
{
	char text[sizeof(complaints->text[0])];

	snprintf(text, sizeof(text),
		 "%-7s %-5s %u %-5s %s %-8s %8llu messages %8llu parks%s",
		 choice->forks ? "forks" : "threads",
		 choice->crowd ? "crowd" : "pairs", choice->n,
		 bells.asym ? "asym" : "fence",
		 choice->backend == SB_BACKEND_URING ? "uring" : "futex",
		 choice->spin == SB_SPIN_NEVER ? "park" : "adaptive",
		 (unsigned long long)ld_acq(&sh->n_rounds),
		 (unsigned long long)ld_acq(&sh->n_parks), good ? "" : "  BAD");
	if (good)
		puts(text);
	else
		complain("%s", text);
	fflush(stdout);
}

/* True when it was not bad. */
static bool run(const struct choice *choice, uint64_t ns)
{
	struct run sleepers[8] = { 0 }, wakers[8] = { 0 };
	uint32_t n_wakers = choice->crowd ? (choice->n + 1) / 2 : choice->n;
	bool good = true;

	memset((void *)sh, 0, sizeof(*sh));
	for (uint32_t i = 0; i < N_EP; i++)
		st_rlx(&sh->ep[i].bell, UINT32_MAX - 100);
	start_all(sleepers, wakers, n_wakers, choice, ns);
	for (uint32_t i = 0; i < n_wakers; i++)
		good &= finish(&wakers[i], "waker", choice->forks);
	st_rel(&sh->stop, 1);
	for (uint32_t i = 0; i < 8; i++)
		sb_wake_all(&sh->pair[i].set, &bells);
	for (uint32_t i = 0; i < choice->n; i++)
		good &= finish(&sleepers[i], "sleeper", choice->forks);
	for (uint32_t i = 0; i < SB_EP_WORDS; i++)
		if (ld_acq(&sh->running.bits[i]) != 0) {
			complain("word %u of running: bits are left", i);
			good = false;
		}
	report(choice, good);
	return good;
}

static void *shared_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	T_CHECK(p != MAP_FAILED);
	return p;
}

static bool has_uring(void)
{
	struct sb_waiter w;
	int ret = sb_waiter_init(&w, &bells, 1, &sh->running, SB_BACKEND_URING,
				 SB_SPIN_NEVER, 0);

	if (ret == 0)
		sb_waiter_close(&w);
	else
		printf("no io_uring here: %s\n", strerror(-ret));
	return ret == 0 && !t_rings_are_few();
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 4;
	static const uint32_t sizes[] = { 1, 2, 8 };
	bool asym = sb_fence_register() == 0, uring;
	uint32_t n_done = 0, n_bad = 0;

	complaints = shared_memory(sizeof(*complaints));
	sh = shared_memory(sizeof(*sh));
	bells = (struct sb_bells){ .base = (void *)&sh->ep[0],
				   .stride = sizeof(sh->ep[0]),
				   .n = N_EP };
	uring = has_uring();

	/* forks first: a process with many threads in its past forks badly
	 * under TSan.  Each bit of i is one choice. */
	const uint32_t n_runs = 3 * 32;

	for (uint32_t i = 0; i < n_runs; i++) {
		struct choice choice = {
			.forks = i < n_runs / 2,
			.crowd = i >> 3 & 1,
			.n = sizes[(i >> 4) % 3],
			.backend = i & 1 ? SB_BACKEND_URING : SB_BACKEND_FUTEX,
			.spin = i & 2 ? SB_SPIN_ADAPTIVE : SB_SPIN_NEVER,
		};

		bells.asym = i >> 2 & 1;
		if ((i & 1 && !uring) || (bells.asym && !asym))
			continue;
		n_done++;
		n_bad += !run(&choice, (uint64_t)(seconds * 1e9 / n_runs));
	}
	if (n_bad > 0)
		repeat_complaints(n_bad, n_done);
	return n_bad > 0;
}
