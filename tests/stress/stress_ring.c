/*
 * stress_ring.c - requests through lib/ring.c at full speed while workers and
 * askers die
 *
 * Processes: killed with SIGKILL at any time, recovered, and started again
 * with another id.  Threads: "die" by leaving with whatever they hold; that is
 * what TSan can follow.  The asker that survives counts: each of its requests
 * is answered exactly once and rightly, and in the end every slot is free.
 *
 * stress_ring [--threads|--processes] [--seconds=S]; both without.
 */
#include "config.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/ring.h"
#include "tests/support/proc.h"

#define LOG_N     6u
#define STRIDE    64u
#define BYTES     (64u * 1024)
#define N_WORKERS 3u
#define N_ASKERS  2u
#define N_MORTALS (N_WORKERS + N_ASKERS)
#define WINDOW    40u
#define ME        1u /* our id; mortals have those from 2 on */
#define PERIOD_NS (400 * SB_NS_PER_US)
#define HANG_NS   (20 * SB_NS_PER_S)
/* No more deaths after this: whoever is left has to do it, and has the time. */
#define STARVED_NS (100 * SB_NS_PER_MS)

struct shared {
	alignas(SB_FAR) unsigned char memory[BYTES];
	_Atomic uint32_t stop;
};

/* In a slot; plain, so that TSan sees who is ordered with whom. */
struct request {
	uint64_t n, answer;
};

struct mortal {
	bool thread, asks;
	uint32_t id;
	pid_t pid;
	pthread_t tid;
	_Atomic uint32_t gone;
	uint64_t rng;
};

static struct shared *sh;
static struct sb_ring *ring;
static struct sb_ring_end me;
static struct mortal mortals[N_MORTALS];
static uint32_t next_id; /* the last one given */
static uint64_t rng;
static struct sb_ring_recovered what;

static uint64_t out_pos[WINDOW], out_n[WINDOW];
static uint32_t n_out;
static uint64_t n_asked, n_answered, n_deaths;

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * UINT64_C(0x2545f4914f6cdd1d) >> 20;
}

static uint64_t answer_to(uint64_t n)
{
	return n * 7 + 3;
}

static struct request *request_at(const struct sb_ring_end *e, uint64_t pos)
{
	return (void *)sb_ring_slot(e, pos)->data;
}

static bool stopped(void)
{
	return ld_acq(&sh->stop);
}

/* A thread dies where it stands, now and then. */
static bool dies_here(struct mortal *m)
{
	return m->thread && rnd(&m->rng) % 500 == 0;
}

/* A chance to be killed here: others run meanwhile. */
static void linger(struct mortal *m)
{
	for (uint64_t t = rnd(&m->rng) % 256; t; t--)
		sb_relax();
	if (rnd(&m->rng) % 4 == 0)
		sched_yield();
}

static void work(struct mortal *m, struct sb_ring_end *e)
{
	while (!stopped()) {
		uint64_t pos;
		int n = sb_ring_take(e, 1 + (uint32_t)(rnd(&m->rng) % 3),
				     rnd(&m->rng) & 1, &pos);

		if (n < 0)
			sched_yield();
		for (int k = 0; k < n; k++, pos += SB_POS_ONE) {
			struct request *r = request_at(e, pos);

			if (dies_here(m))
				return;
			if (rnd(&m->rng) % 64 == 0) {
				sb_ring_give_back(e, pos);
				continue;
			}
			linger(m);
			r->answer = answer_to(r->n);
			sb_ring_answer(e, pos, sizeof(*r), 0);
		}
	}
}

/* Asks, and looks at some of the answers, until it dies: orphans. */
static void ask(struct mortal *m, struct sb_ring_end *e)
{
	uint64_t pos[8], seq;
	int n = 0;

	while (!stopped()) {
		if (n < 6) {
			int got = sb_ring_claim(e, 1 + (uint32_t)(n & 1), true,
						&pos[n]);

			if (got == 2)
				pos[n + 1] = pos[n] + SB_POS_ONE;
			for (int k = 0; k < got; k++, n++) {
				if (dies_here(m))
					return;
				linger(m);
				*request_at(e, pos[n]) =
					(struct request){ .n = pos[n] };
				sb_ring_publish(e, pos[n],
						sizeof(struct request), 0);
			}
		}
		for (int k = 0; k < n; k++) {
			if (!sb_ring_answered(e, pos[k], &seq))
				continue;
			if (dies_here(m))
				return;
			T_CHECK(request_at(e, pos[k])->answer ==
				answer_to(pos[k]));
			sb_ring_free(e, pos[k]);
			pos[k--] = pos[--n];
		}
		sched_yield();
	}
}

static int live(void *arg)
{
	struct mortal *m = arg;
	struct sb_ring_end e;

	T_CHECK(sb_ring_attach(&e, ring, BYTES, m->id) == 0);
	if (m->asks)
		ask(m, &e);
	else
		work(m, &e);
	return 0;
}

static void *live_thread(void *arg)
{
	struct mortal *m = arg;

	live(m);
	st_rel(&m->gone, 1);
	return NULL;
}

static bool in_use(uint32_t id)
{
	for (uint32_t i = 0; i < N_MORTALS; i++)
		if (mortals[i].id == id)
			return true;
	return false;
}

/*
 * Ids go round.  A thread that the machine has not let run for a while may
 * still have its own from the last time: two with one id would be our fault.
 */
static uint32_t fresh_id(void)
{
	do {
		if (next_id++ == SB_EP_MAX)
			next_id = ME + 1;
	} while (in_use(next_id));
	return next_id;
}

static void start(struct mortal *m)
{
	m->id = fresh_id();
	m->rng = rnd(&rng) | 1;
	st_rlx(&m->gone, 0);
	if (!m->thread)
		m->pid = t_fork(live, m);
	else if (pthread_create(&m->tid, NULL, live_thread, m))
		abort();
}

static void recover(uint32_t id)
{
	sb_ring_recover(&me, id, &what);
	n_deaths++;
}

/* Some mortal dies, and another takes its place. */
static void let_one_die(void)
{
	struct mortal *m = &mortals[rnd(&rng) % N_MORTALS];

	if (m->thread) {
		if (!ld_acq(&m->gone))
			return;
		pthread_join(m->tid, NULL);
	} else {
		t_kill(m->pid);
	}
	recover(m->id);
	start(m);
}

static void ask_one(void)
{
	uint64_t pos;

	if (n_out == WINDOW || sb_ring_claim(&me, 1, false, &pos) != 1)
		return;
	*request_at(&me, pos) = (struct request){ .n = n_asked };
	sb_ring_publish(&me, pos, sizeof(struct request), 0);
	out_pos[n_out] = pos;
	out_n[n_out++] = n_asked++;
}

static bool collect_some(void)
{
	uint32_t n_before = n_out;
	uint64_t seq;

	for (uint32_t i = 0; i < n_out; i++) {
		struct request *r = request_at(&me, out_pos[i]);

		if (!sb_ring_answered(&me, out_pos[i], &seq))
			continue;
		T_CHECK(r->n == out_n[i]);
		T_CHECK(r->answer == answer_to(out_n[i]));
		sb_ring_free(&me, out_pos[i]);
		n_answered++;
		n_out--;
		out_pos[i] = out_pos[n_out];
		out_n[i--] = out_n[n_out];
	}
	return n_out != n_before;
}

static void stop_all(void)
{
	st_rel(&sh->stop, 1);
	for (uint32_t i = 0; i < N_MORTALS; i++) {
		struct mortal *m = &mortals[i];

		if (m->thread)
			pthread_join(m->tid, NULL);
		else
			t_kill(m->pid);
		recover(m->id);
	}
}

/* What the last ones left: their requests are nobody's. */
static void check_whole(void)
{
	uint64_t pos, n = 0;
	struct sb_ring_end e;
	int got;

	T_CHECK(sb_ring_attach(&e, ring, BYTES, ME) == 0);
	while ((got = sb_ring_take(&e, 1, true, &pos)) == 1)
		sb_ring_answer(&e, pos, 0, 0);
	T_CHECK(got == -EAGAIN);
	T_CHECK(!sb_ring_unfinished(&e));
	for (uint64_t i = 0; i <= e.mask; i++)
		T_CHECK((ld_acq(&sb_ring_slot(&e, i << 16)->seq) & 3) ==
			SB_FREE);
	while (sb_ring_claim(&e, 1, true, &pos) == 1)
		n++;
	T_CHECK(n == e.mask + 1);
}

static void run(bool threads, double seconds)
{
	uint64_t now = sb_now_ns(), end = now + (uint64_t)(seconds * 1e9);
	uint64_t next_death = now, progress = now;

	memset(sh, 0, sizeof(*sh));
	sb_ring_init(ring, LOG_N, STRIDE, SB_RING_REQUEST, 0,
		     (UINT64_C(1) << 48) - 1024);
	T_CHECK(sb_ring_attach(&me, ring, BYTES, ME) == 0);
	n_asked = n_answered = n_deaths = 0;
	n_out = 0;
	what = (struct sb_ring_recovered){ 0 };
	next_id = ME;
	memset(mortals, 0, sizeof(mortals));
	rng = now | 1;
	for (uint32_t i = 0; i < N_MORTALS; i++) {
		mortals[i].thread = threads;
		mortals[i].asks = i >= N_WORKERS;
		start(&mortals[i]);
	}
	while (now < end || n_out) {
		now = sb_now_ns();
		if (now < end)
			ask_one();
		if (collect_some())
			progress = now;
		else
			sched_yield();
		T_CHECK(now - progress < HANG_NS);
		if (now >= next_death && now - progress < STARVED_NS) {
			let_one_die();
			next_death = now + rnd(&rng) % (2 * PERIOD_NS);
		}
	}
	stop_all();
	check_whole();
	printf("%s: %" PRIu64 " requests answered once each, %" PRIu64
	       " deaths; redelivered %u, tombs %u, orphans %u\n",
	       threads ? "threads" : "processes", n_answered, n_deaths,
	       what.n_redelivered, what.n_tombs, what.n_orphans);
	T_CHECK(n_answered == n_asked && n_answered > 0);
}

int main(int argc, char **argv)
{
	bool threads = true, processes = true;
	double seconds = 3;

#ifdef SB_TSAN
	processes = false; /* TSan sees nothing of them */
#endif
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--threads")) {
			processes = false;
		} else if (!strcmp(argv[i], "--processes")) {
			threads = false;
			processes = true;
		} else if (!strncmp(argv[i], "--seconds=", 10)) {
			seconds = atof(argv[i] + 10);
		} else {
			fprintf(stderr,
				"usage: %s [--threads|--processes]"
				" [--seconds=S]\n",
				argv[0]);
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0); /* what went well, if the rest fails */
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(sh != MAP_FAILED);
	ring = (void *)sh->memory;
	T_CHECK(sb_ring_bytes(LOG_N, STRIDE) <= BYTES);
	if (processes)
		run(false, seconds);
	if (threads)
		run(true, seconds);
	return 0;
}
