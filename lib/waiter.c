/*
 * waiter.c - try, spin, yield, park; and the wake side
 *
 * waiter.h has the protocol between sleeper (S1..S6) and waker (K1..K5) and
 * why no wake is lost.  Its edges, at both ends, are all in this file and in
 * sb_wake():
 *
 *	S2,S3/K2,K3  the store-load pair: the sleeper finds the condition true
 *	             in S4 or the waker finds the bit in K3
 *	K5/S5        bell++ before the kernel compares: it does not sleep; after
 *	             that: it is queued and woken
 *	K4/S6        the claim, release, is read by the clearing of the bit,
 *	             acquire: what was published before K4 is seen after S6
 *
 * A claimed bit is an obligation.  The waker gave its one wake to us, and we
 * may be on the way out with other work, or with a time-out, while somebody
 * else sleeps who could take what it was for.  So the wait remembers which of
 * its bits S6 found claimed.  The obligation is met by a sure try that finds
 * nothing while the wait goes on; otherwise it is passed on at the end.
 *
 * Policy (measured; CPUs are those this thread may run on):
 *
 *	spin   while not more endpoints run than there are CPUs, for about
 *	       twice as long as waits have recently taken, at most spin_max_ns
 *	yield  8 times, where more of them run than there are CPUs: a peer
 *	       needs ours.  Not otherwise, nor for a while after a yield that
 *	       took long: it gave the CPU to somebody who knows nothing of us
 *	       and keeps it for a time slice, while one who sleeps gets it as
 *	       soon as it is woken
 *	park   S1..S6, with a look at each heartbeat_ns, so that a wake that
 *	       died with its waker (SIGKILL between K1 and K5) delays but does
 *	       not hang; and with membarrier(2) one soon after S4, for a
 *	       barrier that was without effect: see sleep_with_looks()
 *
 * Killed anywhere in here: our bits stay set.  A waker that claims one gets 0
 * from the futex wake and goes on to the next sleeper; recovery clears them
 * and our bit in `running`.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/waiter_impl.h"

/* One wake across cores costs about this (waiting.md); to spin longer than
 * the wake costs cannot pay. */
#define SPIN_MAX_NS   (50 * SB_NS_PER_US)
#define HEARTBEAT_NS  (100 * SB_NS_PER_MS)
#define LONG_NS       SB_NS_PER_S  /* who has waited so long beats slower: */
#define LONG_FACTOR   3            /* one beat costs some 50 us of a core */
#define SECOND_LOOK   10           /* of a heartbeat's parts: after 10 ms */
#define LOOK_NS       SB_NS_PER_MS /* between two polls of the watches */
#define LOOK_WAITS    256          /* a wait in so many looks at the clock */
#define N_BLIND       16           /* tries before looking at the clock */
#define GAP_NS        40           /* between two tries; see try_many() */
#define GAP_STEPS     32u          /* at once, to measure one */
#define GAP_MAX       16u
#define N_TRIES       16 /* tries between two looks */
#define N_TRIES_LONG  64 /* the same for SB_SPIN_ALWAYS */
#define N_YIELDS      8
#define N_NO_YIELD    32 /* waits without, after one that took so long: */
#define YIELD_LONG_NS (5 * SB_NS_PER_MS)
#define N_NO_URING    64           /* parks on futexes, for want of memory */
#define SLICE_MIN_NS  (5 * SB_NS_PER_MS) /* with watches but no ring, */
#define SLICE_SOON_NS SB_NS_PER_MS       /* of which some cannot wait */
#define SLICE_MAX_NS  (50 * SB_NS_PER_MS)
#define POLL_BATCH    32

/* Bitmaps -------------------------------------------------------------- */

static uint64_t bit_of(uint32_t id)
{
	return UINT64_C(1) << id % 64;
}

static _Atomic uint64_t *word_of(struct sb_sleepers *set, uint32_t id)
{
	return &set->bits[id / 64 % SB_EP_WORDS];
}

static void set_bit(struct sb_sleepers *set, uint32_t id)
{
	or_seqcst(word_of(set, id), bit_of(id));
}

/* Returns whether it was set. */
static bool clear_bit(struct sb_sleepers *set, uint32_t id)
{
	if (SB_MUTATED(k4_and)) {
		uint64_t was = ld_rlx(word_of(set, id));

		st_rel(word_of(set, id), was & ~bit_of(id));
		return was & bit_of(id);
	}
	return and_acqrel(word_of(set, id), ~bit_of(id)) & bit_of(id);
}

/* Wake side ------------------------------------------------------------ */

/* The bits of word @i that stand for an endpoint; the others are hostile. */
static uint64_t valid_bits(const struct sb_bells *bells, uint32_t i)
{
	uint64_t valid = UINT64_MAX;

	if (bells->n <= i * 64)
		return 0;
	if (bells->n - i * 64 < 64)
		valid = bit_of(bells->n) - 1;
	return i == 0 ? valid & ~UINT64_C(1) : valid;
}

/*
 * K4 and K5.  Returns whether a sleeper was woken: false also when it is still
 * between S2 and S5, where it will find the bell changed.
 *
 * Killed between the two, the bit is gone and nobody has rung: no other waker
 * finds this sleeper.  It looks again when the death is recovered, as that
 * wakes all, or when its slice ends.  So it costs nothing to speak of where
 * somebody sleeps with io_uring and has the dead one's pidfd in its wait, as a
 * coordinator has its workers'; 5 to 50 ms where that one has to poll the
 * pidfd, without io_uring; and otherwise, with either, what is left of a
 * heartbeat_ns.
 */
static bool claim_and_ring(struct sb_sleepers *set,
			   const struct sb_bells *bells, uint32_t id)
{
	if (!clear_bit(set, id)) /* K4 -> S6 */
		return false;    /* somebody else's claim */

	_Atomic uint32_t *bell = sb_bell(bells, id);

	if (!SB_MUTATED(k5_bell))
		add_acqrel(bell, 1); /* K5 -> S5 */
	if (SB_MUTATED(k5_wake))
		return true;
	return sb_futex_wake(bell) > 0;
}

/*
 * One pass over the bitmap, lowest id first: the endpoint that was woken last
 * is the warm one.  Bits set behind our back are not ours to care for, whoever
 * set them comes to S4 after our K2.  So a peer that keeps setting bits cannot
 * keep us here.
 *
 * Only a wake that met a sleeper counts.  One that did not may have been for
 * an endpoint that is dead, so the next sleeper is woken as well; if it was
 * only on its way to sleep, that costs one needless wake.
 */
void sb_wake_slow(struct sb_sleepers *set, const struct sb_bells *bells,
		  uint32_t n)
{
	for (uint32_t i = 0; n > 0 && i < SB_EP_WORDS; i++) {
		uint64_t m = ld_rlx(&set->bits[i]) & valid_bits(bells, i);

		for (; n > 0 && m; m &= m - 1) {
			uint32_t id = i * 64 + (uint32_t)__builtin_ctzll(m);

			if (claim_and_ring(set, bells, id))
				n--;
		}
	}
}

void sb_wake_one_slow(struct sb_sleepers *set, const struct sb_bells *bells,
		      uint32_t id)
{
	if (id > 0 && id < bells->n)
		claim_and_ring(set, bells, id);
}

void sb_wake_all(struct sb_sleepers *set, const struct sb_bells *bells)
{
	sb_wake(set, bells, UINT32_MAX);
}

void sb_sleepers_clear(struct sb_sleepers *set, uint32_t id)
{
	clear_bit(set, id);
}

/* Waiter --------------------------------------------------------------- */

/* CPUs in our affinity mask, whatever its size. */
static uint32_t count_cpus(void)
{
	for (int max = 1024; max <= 1 << 20; max *= 4) {
		size_t size = CPU_ALLOC_SIZE((size_t)max);
		cpu_set_t *mask = CPU_ALLOC((size_t)max);
		int n = -1;

		if (!mask)
			break;
		CPU_ZERO_S(size, mask);
		int ret = sched_getaffinity(0, size, mask);
		if (ret == 0)
			n = CPU_COUNT_S(size, mask);
		CPU_FREE(mask);
		/* Pinned to one: then its peers are, as a rule, on others. */
		if (n == 1)
			break;
		if (n > 0)
			return (uint32_t)n;
		if (errno != EINVAL)
			break;
	}

	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (uint32_t)n : 1;
}

/* How many steps of sb_relax() take GAP_NS here: a pause is 4 to 40 ns long,
 * depending on the processor. */
static uint32_t measure_gap(void)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 4; i++) {
		uint64_t begin = sb_now_ns(), took;

		for (uint32_t k = 0; k < GAP_STEPS; k++)
			sb_relax();
		took = sb_now_ns() - begin;
		if (took < best)
			best = took;
	}
	/* A clock that stands still tells nothing. */
	best = best ? (GAP_NS * GAP_STEPS + best - 1) / best : 1;
	return best < GAP_MAX ? (uint32_t)best : GAP_MAX;
}

/* Measured once a process; two threads that both do it differ little. */
static uint32_t gap_steps(void)
{
	static _Atomic uint32_t steps;
	uint32_t n = ld_rlx(&steps);

	if (!n) {
		n = measure_gap();
		st_rlx(&steps, n);
	}
	return n;
}

int sb_waiter_init(struct sb_waiter *w, const struct sb_bells *bells,
		   uint32_t id, struct sb_sleepers *running,
		   enum sb_backend backend, enum sb_spin spin,
		   uint32_t spin_max_ns)
{
	if (id == 0 || id >= bells->n || id > SB_EP_MAX)
		return -EINVAL;
	sb_proc_init();
	*w = (struct sb_waiter){
		.bells = *bells,
		.id = id,
		.running = running,
		.n_cpus = count_cpus(),
		.backend = backend,
		.spin = spin,
		.spin_max_ns = spin_max_ns ? spin_max_ns : SPIN_MAX_NS,
		.fork_gen = sb_fork_gen,
		.heartbeat_ns = HEARTBEAT_NS,
		.beat_ns = sb_now_ns(),
	};
	w->gap_steps = gap_steps();
	w->spin_avg_ns = w->spin_max_ns / 2; /* begin with a full budget */
	if (backend == SB_BACKEND_URING) {
		int ret = sb_uring_open(w);

		if (ret < 0)
			return ret;
	}
	return 0;
}

void sb_waiter_close(struct sb_waiter *w)
{
	bool forked = w->fork_gen != sb_fork_gen;

	sb_uring_close(w);
	w->watches = NULL;
	w->n_watched_soon = 0;
	if (!forked && w->counted)
		clear_bit(w->running, w->id);
	w->counted = false;
}

/* Watches -------------------------------------------------------------- */

void sb_waiter_watch(struct sb_waiter *w, struct sb_watch *watch)
{
	watch->armed = watch->stale = false;
	watch->fired = 0;
	watch->next = w->watches;
	w->watches = watch;
	w->n_watched_soon += watch->soon;
}

void sb_waiter_unwatch(struct sb_waiter *w, struct sb_watch *watch)
{
	sb_uring_disarm(w, watch);
	for (struct sb_watch **p = &w->watches; *p; p = &(*p)->next) {
		if (*p == watch) {
			*p = watch->next;
			w->n_watched_soon -= watch->soon;
			break;
		}
	}
	watch->next = NULL;
	watch->fired = 0;
}

/* Ask poll(2) about every watch.  Calls nobody, so the list stays as it is. */
static void poll_watches(struct sb_waiter *w)
{
	struct pollfd p[POLL_BATCH];

	for (struct sb_watch *x = w->watches; x;) {
		struct sb_watch *first = x;
		uint32_t n = 0;

		for (; x && n < POLL_BATCH; x = x->next, n++)
			p[n] = (struct pollfd){ .fd = x->fd,
						.events = (short)x->events };
		if (poll(p, n, 0) <= 0)
			continue;
		for (uint32_t i = 0; i < n; i++, first = first->next) {
			if (!p[i].revents)
				continue;
			first->fired |= (uint32_t)(unsigned short)p[i].revents;
			first->stale = first->armed;
			w->fired = true;
		}
	}
}

/* Call ready() of what has fired.  Any of them may change the list, so begin
 * again after each; `fired` is only ever set anew by a look at the kernel. */
static void deliver(struct sb_waiter *w)
{
	while (w->fired) {
		struct sb_watch *x = w->watches;

		while (x && !x->fired)
			x = x->next;
		if (!x) {
			w->fired = false;
			break;
		}

		uint32_t events = x->fired;

		x->fired = 0;
		x->ready(x->arg, events);
	}
}

static uint64_t heartbeat_ns(const struct sb_waiter *w)
{
	return w->heartbeat_ns ? w->heartbeat_ns : HEARTBEAT_NS;
}

static void beat_if_due(struct sb_waiter *w, uint64_t now)
{
	if (w->heartbeat && now - w->beat_ns >= heartbeat_ns(w)) {
		w->beat_ns = now;
		w->heartbeat(w->heartbeat_arg);
	}
}

/* Heartbeat if due, and a poll of the watches if the last was a while ago. */
static void look_around(struct sb_waiter *w, uint64_t now)
{
	beat_if_due(w, now);
	if (w->watches && now - w->looked_ns >= LOOK_NS) {
		w->looked_ns = now;
		poll_watches(w);
	}
	deliver(w);
}

/* Awake ---------------------------------------------------------------- */

static bool not_yet(int ret)
{
	return ret == -EAGAIN || ret == -EBUSY;
}

static int try(const struct sb_wait *c, bool sure)
{
	return c->try_(c->arg, sure);
}

/*
 * Each look at the word that we wait for takes its line away from the one who
 * is about to write it, so with a look as soon as the last one is over a round
 * trip took 610 ns where it took 355 with a pause of 28 ns in between, and 313
 * with two (medians; line ping-pong 150 ns).  Three were no better.
 */
static int try_many(const struct sb_waiter *w, const struct sb_wait *c,
		    uint32_t n)
{
	int ret = -EAGAIN;

	while (n-- > 0) {
		for (uint32_t i = 0; i < w->gap_steps; i++)
			sb_relax();
		ret = try(c, false);
		if (!not_yet(ret))
			break;
	}
	return ret;
}

/* A hint, read from words that others write: a wrong value makes us spin or
 * yield where the other would be better. */
static bool cores_are_free(const struct sb_waiter *w)
{
	uint32_t n = 0;

	for (int i = 0; i < SB_EP_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(
			ld_rlx(&w->running->bits[i]));
	return n <= w->n_cpus;
}

/* Learn from a wait that took that long, by whatever means: one that spinning
 * met, or would have met, moves the average; a long one lowers it; one in
 * between, where the park itself was most of it, tells nothing. */
static void learn(struct sb_waiter *w, uint64_t waited_ns, bool met)
{
	uint64_t max = w->spin_max_ns;
	int64_t avg = w->spin_avg_ns;

	if (waited_ns <= max && met)
		avg += ((int64_t)waited_ns - avg) / 8;
	else if (waited_ns > 2 * max)
		avg -= avg / 4;
	w->spin_avg_ns = (uint32_t)avg;
}

static uint64_t spin_budget(const struct sb_waiter *w)
{
	uint64_t max = w->spin_max_ns;
	uint64_t budget = 2 * (uint64_t)w->spin_avg_ns + max / 32;

	return budget < max ? budget : max;
}

/* Each endpoint has a CPU: spin. */
static int wait_on_cpu(struct sb_waiter *w, const struct sb_wait *c,
		       uint64_t start, uint64_t deadline)
{
	uint64_t now = start, end = start + spin_budget(w);
	int ret = -EAGAIN;

	if (end > deadline)
		end = deadline;
	while (now < end) {
		ret = try_many(w, c, N_TRIES);
		if (!not_yet(ret))
			break;
		now = sb_now_ns();
		look_around(w, now);
	}
	return ret;
}

/*
 * Who we wait for may need this CPU.  But a yield that took longer than peers
 * keep it gave it to somebody who knows nothing of us.  Then it is better to
 * sleep, this time and for a while, and to be woken.
 *
 * A farm of 8 workers on 2 processors, M requests/s, alone and beside three
 * programs that only compute: 7.5 and 2.6 (0.7 at worst) if it always yields,
 * 7.1 and 4.9 with 5 ms, 4.7 and 3.6 with less.
 */
static int wait_beside(struct sb_waiter *w, const struct sb_wait *c,
		       uint64_t start, uint64_t deadline)
{
	uint64_t now = start, before;
	int ret = -EAGAIN;

	if (w->n_no_yield) {
		w->n_no_yield--;
		return -EAGAIN;
	}
	for (int i = 0; i < N_YIELDS && not_yet(ret) && now < deadline; i++) {
		before = now;
		sched_yield();
		w->n_yields++;
		ret = try(c, false);
		now = sb_now_ns();
		if (now - before > YIELD_LONG_NS) {
			w->n_no_yield = N_NO_YIELD;
			break;
		}
	}
	return ret;
}

/* SB_SPIN_ALWAYS: until success or the deadline. */
static int wait_spinning(struct sb_waiter *w, const struct sb_wait *c,
			 uint64_t deadline)
{
	for (;;) {
		int ret = try_many(w, c, N_TRIES_LONG);

		if (!not_yet(ret))
			return ret;

		uint64_t now = sb_now_ns();

		look_around(w, now);
		ret = try(c, true); /* also the last one */
		if (!not_yet(ret))
			return ret;
		if (now >= deadline)
			return -ETIMEDOUT;
		if (!cores_are_free(w)) {
			sched_yield();
			w->n_yields++;
		}
	}
}

/* Asleep --------------------------------------------------------------- */

static bool wants_uring(const struct sb_waiter *w)
{
	/* With only the bell, futex(2) is 0.5 us cheaper a hop. */
	return w->backend == SB_BACKEND_URING ||
	       (w->backend == SB_BACKEND_AUTO && w->watches);
}

/* What the kernel is short of just now it may have again. */
static bool is_passing(int error)
{
	return error == -EAGAIN || error == -EBUSY || error == -ENOMEM ||
	       error == -EMFILE || error == -ENFILE;
}

static void no_uring(struct sb_waiter *w, int error)
{
	w->uring_error = error;
	w->n_no_uring = is_passing(error) ? N_NO_URING : 0;
}

/* Whether there is a ring to park on. */
static bool have_uring(struct sb_waiter *w)
{
	if (sb_unlikely(w->n_no_uring) && --w->n_no_uring == 0)
		w->uring_error = 0;
	if (!w->uring && !w->uring_error)
		no_uring(w, sb_uring_open(w));
	return w->uring;
}

/* S5 on the ring.  One that cannot be used any more (it belongs to another
 * thread, somebody closed it) is replaced once. */
static int park_uring(struct sb_waiter *w, uint32_t seen, uint64_t ns)
{
	int ret = -ENOSYS;

	for (int i = 0; i < 2 && have_uring(w); i++) {
		ret = sb_uring_park(w, seen, ns);
		if (ret == 0 || ret == -EINTR)
			return ret;
		sb_uring_close(w);
	}
	if (!w->uring_error)
		no_uring(w, ret);
	return w->uring_error;
}

/* A time before the next tick costs a write to the timer (sleep_with_looks),
 * and a death can wait: with 1 ms a round trip of requests that sleeps takes
 * 8.8 us, with 5 it is 7.9. */
static uint64_t slice_ns(const struct sb_waiter *w, uint64_t waited)
{
	uint64_t min = w->n_watched_soon ? SLICE_SOON_NS : SLICE_MIN_NS;
	uint64_t ns = waited / 16;

	if (ns < min)
		return min;
	return ns < SLICE_MAX_NS ? ns : SLICE_MAX_NS;
}

/*
 * S5 with watches but no ring: a poll(2) now and then.  Our bits stay set
 * meanwhile, and whoever claims one rings the bell; so as long as that is
 * silent there is nothing to try, and no fence to pay for.
 */
static int park_in_slices(struct sb_waiter *w, uint32_t seen, uint64_t ns,
			  uint64_t waited)
{
	uint64_t start = sb_now_ns(), done = 0; /* of ns */

	while (done < ns && !w->fired) {
		uint64_t slice = slice_ns(w, waited + done);
		int ret;

		if (slice > ns - done)
			slice = ns - done;
		ret = sb_futex_park(w, seen, slice);
		if (ret < 0 || ld_rlx(sb_own_bell(w)) != seen)
			return ret;
		w->looked_ns = sb_now_ns();
		done = w->looked_ns - start;
		poll_watches(w);
	}
	return 0;
}

/*
 * S5 with the back-end of the day.  @waited is how long this wait has lasted
 * so far.  Returns 0 to look again, -EINTR, or why nothing can sleep here.
 */
static int park(struct sb_waiter *w, uint32_t seen, uint64_t ns,
		uint64_t waited)
{
	if (w->fork_gen != sb_fork_gen)
		return -EINVAL; /* our bell is the parent's */
	if (w->fired)
		return 0;

	w->parked_uring = wants_uring(w);
	if (w->parked_uring) {
		int ret = park_uring(w, seen, ns);

		if (ret == 0 || ret == -EINTR ||
		    (w->backend == SB_BACKEND_URING && !is_passing(ret)))
			return ret;
		w->parked_uring = false;
	}
	return w->watches ? park_in_slices(w, seen, ns, waited)
			  : sb_futex_park(w, seen, ns);
}

/* How long to sleep: until deadline or heartbeat, or the next look. */
static uint64_t park_ns(const struct sb_waiter *w, uint64_t start, uint64_t now,
			uint64_t deadline, bool busy)
{
	uint64_t ns = heartbeat_ns(w);

	if (now - start > LONG_NS)
		ns *= LONG_FACTOR;

	if (w->heartbeat) { /* when the next one is due */
		uint64_t since = now - w->beat_ns;

		ns = since < ns ? ns - since : 1;
	}
	if (ns > deadline - now)
		ns = deadline - now;
	if (busy && ns > SB_BUSY_NS)
		ns = SB_BUSY_NS;
	return ns ? ns : 1; /* 0 is slow: 15 us in io_uring */
}

static struct sb_sleepers *set_of(const struct sb_wait *c, uint32_t i)
{
	return c->many ? c->many[i] : c->sets[i];
}

/* The sets of a wait of which a waker claimed our bit. */
struct claims {
	bool any;
	uint64_t one;   /* bits of the first 64, */
	uint64_t *bits; /* here or, of many sets, at the caller's */
};

static struct claims claims_of(const struct sb_wait *c)
{
	return (struct claims){ .bits = c->many ? c->claimed : NULL };
}

static uint64_t *claim_word(struct claims *claims, uint32_t i)
{
	return claims->bits ? &claims->bits[i / 64] : &claims->one;
}

static void claims_clear(struct claims *claims, const struct sb_wait *c)
{
	claims->any = false;
	for (uint32_t i = 0; i < c->n_sets; i += 64)
		*claim_word(claims, i) = 0;
}

static void claims_add(struct claims *claims, uint32_t i)
{
	claims->any = true;
	*claim_word(claims, i) |= bit_of(i);
}

/* Nobody has rung, no watch has fired, and whoever makes the condition true
 * finds our bits: what was true after S4 is true now. */
static bool still_asleep(const struct sb_waiter *w, const struct sb_wait *c,
			 uint32_t seen)
{
	if (w->fired || ld_rlx(sb_own_bell(w)) != seen)
		return false;
	for (uint32_t i = 0; i < c->n_sets; i++)
		if (!(ld_rlx(word_of(set_of(c, i), w->id)) & bit_of(w->id)))
			return false; /* claimed; the bell is about to ring */
	return true;
}

/* When to look once more after S4, which was just now; 0: no need. */
static uint64_t second_look_ns(const struct sb_waiter *w,
			       const struct sb_wait *c)
{
	if (!w->bells.asym || !c->n_sets || SB_MUTATED(second_look))
		return 0;
	return sb_now_ns() + heartbeat_ns(w) / SECOND_LOOK;
}

/*
 * S5, in slices.  Between two of them is a look, our bits left where they are,
 * without the price of S2 and S3: a process that is idle costs little more
 * than its heartbeats.
 *
 * With membarrier(2) the first slice is short.  Linux may lose one of S3's
 * barriers (fence.h): then a message was still on its way to memory in S4, and
 * its waker read our bit before we had set it.  A moment later both have
 * arrived, so the look finds that message, and whoever publishes after it finds
 * our bits.  So a lost barrier costs 10 ms and not 100 to 300; and who sleeps
 * longer than that wakes once more, some 5 us of a processor.  With 1 ms every
 * sleep would pay, also the shortest: a time before the next tick means a write
 * to the timer, which in a virtual machine is an exit.  A round trip with
 * io_uring took 11.3 us with 1 ms, and 9.3 with 5 to 100.
 *
 * A heartbeat takes its time, and may bury a waker that had claimed our bit, or
 * ring us itself: so whether we are still asleep is asked after it as well.
 *
 * *tried is S4's result, and that of the last look.  Returns what park() said.
 */
static int sleep_with_looks(struct sb_waiter *w, const struct sb_wait *c,
			    uint32_t seen, uint64_t start, uint64_t now,
			    uint64_t deadline, int *tried)
{
	/* A look before that does not count: a heartbeat may be due at once. */
	uint64_t second = second_look_ns(w, c);
	uint64_t ns;
	int ret;

	for (;;) {
		ns = park_ns(w, start, now, deadline, *tried == -EBUSY);
		if (now < second && ns > second - now)
			ns = second - now;
		ret = park(w, seen, ns, now - start); /* S5 <- K5 */
		if (ret < 0 || *tried != -EAGAIN || !still_asleep(w, c, seen))
			break;
		now = sb_now_ns();
		if (now >= deadline)
			break;
		beat_if_due(w, now);
		*tried = try(c, true);
		if (*tried != -EAGAIN || !still_asleep(w, c, seen))
			break;
	}
	return ret;
}

/*
 * S1..S6 once.  Sets of which a waker claimed our bit are put into *claims.
 * *park_ret is what the park said, 0 if there was none.  Returns the sure
 * try's result.
 */
static int sleep_once(struct sb_waiter *w, const struct sb_wait *c,
		      uint64_t start, uint64_t now, uint64_t deadline,
		      struct claims *claims, int *park_ret)
{
	uint32_t seen = ld_rlx(sb_own_bell(w)); /* S1, before S2's release */

	for (uint32_t i = 0; i < c->n_sets; i++)
		set_bit(set_of(c, i), w->id); /* S2 */
	if (!SB_MUTATED(s3_fence))
		sb_fence_heavy(w->bells.asym);  /* S3 <-> K2 */
	int ret = try(c, !SB_MUTATED(s4_sure)); /* S4 */

	if (SB_MUTATED(s1_first))
		seen = ld_rlx(sb_own_bell(w));

	*park_ret = 0;
	if (not_yet(ret)) {
		/* There was nothing for us, nor is there now. */
		claims_clear(claims, c);
		clear_bit(w->running, w->id);
		*park_ret = sleep_with_looks(w, c, seen, start, now, deadline,
					     &ret); /* S5 <- K5 */
		set_bit(w->running, w->id);
	}
	for (uint32_t i = 0; i < c->n_sets; i++)
		if (!clear_bit(set_of(c, i), w->id) && /* S6 <- K4 */
		    !SB_MUTATED(s6_claims))
			claims_add(claims, i);
	return ret;
}

/* The wait ends with @ret: hand on the wakes that were meant for others. */
static void pass_on(struct sb_waiter *w, const struct sb_wait *c, int ret,
		    struct claims *claims)
{
	for (uint32_t i = 0; i < c->n_sets; i++) {
		if (!(*claim_word(claims, i) & bit_of(i)))
			continue;
		/* A failure took nothing, so unless we know better the wake
		 * is still owed; a success took what it was for. */
		if (c->more ? c->more(c->arg, i) : ret < 0)
			sb_wake(set_of(c, i), &w->bells, 1);
	}
}

static int wait_asleep(struct sb_waiter *w, const struct sb_wait *c,
		       uint64_t start, uint64_t deadline)
{
	uint64_t now = sb_now_ns();
	struct claims claims = claims_of(c);
	bool slice = false; /* the last park was cut short by the time */
	int ret, park_ret = 0;

	claims_clear(&claims, c);
	for (;;) {
		if (now >= deadline) {
			ret = try(c, true); /* our bits are clear */
			if (not_yet(ret))
				ret = -ETIMEDOUT;
			break;
		}
		if (!slice)
			w->n_parks++;
		ret = sleep_once(w, c, start, now, deadline, &claims,
				 &park_ret);
		if (!not_yet(ret))
			break;
		slice = !claims.any && !w->fired;
		now = sb_now_ns();
		if (w->parked_uring && park_ret == 0)
			w->looked_ns = now;
		look_around(w, now);
		ret = try(c, false);
		if (!not_yet(ret))
			break;
		if (park_ret < 0 && (park_ret != -EINTR || w->wants_eintr)) {
			ret = try(c, true);
			if (not_yet(ret))
				ret = park_ret;
			break;
		}
	}
	if (claims.any)
		pass_on(w, c, ret, &claims);
	return ret;
}

int sb_waiter_wait(struct sb_waiter *w, const struct sb_wait *c,
		   uint64_t deadline)
{
	if (sb_unlikely(++w->n_waits % LOOK_WAITS == 0))
		look_around(w, sb_now_ns());

	int ret = try(c, deadline == 0);

	if (!not_yet(ret))
		return ret;
	if (deadline == 0)
		return -ETIMEDOUT;
	/* From its first wait on: who only made the bus and forked does not
	 * compete for processors. */
	if (!w->counted) {
		set_bit(w->running, w->id);
		w->counted = true;
	}
	if (w->spin == SB_SPIN_ALWAYS)
		return wait_spinning(w, c, deadline);
	if (w->spin == SB_SPIN_ADAPTIVE) {
		ret = try_many(w, c, N_BLIND);
		if (!not_yet(ret)) {
			learn(w, 0, true);
			return ret;
		}
	}

	uint64_t start = sb_now_ns();

	if (w->spin == SB_SPIN_ADAPTIVE)
		ret = cores_are_free(w) ? wait_on_cpu(w, c, start, deadline)
					: wait_beside(w, c, start, deadline);
	if (not_yet(ret))
		ret = wait_asleep(w, c, start, deadline);
	if (w->spin == SB_SPIN_ADAPTIVE)
		learn(w, sb_now_ns() - start, ret != -ETIMEDOUT);
	return ret;
}

const char *sb_waiter_backend_name(struct sb_waiter *w)
{
	return wants_uring(w) && have_uring(w) ? "uring" : "futex";
}
