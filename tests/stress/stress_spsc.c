/*
 * stress_spsc.c - records through lib/spsc.c at full speed while those who
 * write and read them die and others take their places
 *
 * One direction, or two that meet in a line.  Processes: killed with SIGKILL at
 * any time.  Threads: "die" by leaving with a record half written or not
 * popped; that is what TSan can follow.  Each writer numbers its records from
 * 0, and the readers check that all that were published come, in order, whole,
 * and once: only the one that the last reader had in front may come again.
 *
 * stress_spsc [--threads|--processes] [--seconds=S]; both without.
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
#include "lib/spsc.h"
#include "tests/support/proc.h"

#define SLOT_MAX   (1u << 20)
#define BYTES      (sizeof(struct sb_spsc) + 2 * SLOT_MAX)
#define N_WRITERS  65536u /* that there may be in one run, of a direction */
#define PERIOD_NS  (400 * SB_NS_PER_US)
#define HANG_NS    (20 * SB_NS_PER_S)
/* No more deaths after this: whoever is left has to do it, and has the time. */
#define STARVED_NS (100 * SB_NS_PER_MS)

struct direction {
	alignas(SB_FAR) unsigned char memory[BYTES];
	/* writer: how many it has published for certain */
	alignas(SB_FAR) _Atomic uint32_t published[N_WRITERS];
	/* reader: writer << 32 | number of the record that comes next; stored
	 * before the pop */
	alignas(SB_FAR) _Atomic uint64_t next;
	_Atomic uint64_t n_again;
	/* writer: publishes no more */
	alignas(SB_FAR) _Atomic uint32_t quiet;
};

struct shared {
	struct direction dir[2];
	struct sb_spsc_meet meet;
	/* no more records are written; and then, all have been */
	alignas(SB_FAR) _Atomic uint32_t no_more, over;
};

/* A side: writes direction @side and reads the other one.  If there is only one
 * direction, side 0 writes and side 1 reads. */
struct mortal {
	bool thread, first; /* no record was read yet */
	uint32_t side;
	uint32_t id; /* as a writer */
	uint32_t n_written;
	pid_t pid;
	pthread_t tid;
	_Atomic uint32_t gone;
	uint64_t rng;
	struct sb_spsc_tx tx;
	struct sb_spsc_rx rx;
};

/* What a record begins with; the rest is a pattern. */
struct stamp {
	uint32_t writer, number;
};

static const struct shape {
	const char *name;
	uint32_t slot_bytes;
	bool adaptive, duplex;
} shapes[] = {
	{ "256 bytes", 256, false, false },
	{ "8 KiB", 8192, false, false },
	{ "1 MiB adaptive", SLOT_MAX, true, false },
	{ "256 bytes duplex", 256, false, true },
	{ "1 MiB adaptive duplex", SLOT_MAX, true, true },
};

#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static struct shared *sh;
static const struct shape *shape;
static struct mortal mortals[2];
static uint32_t n_writers[2];
static uint64_t rng, n_deaths;

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * UINT64_C(0x2545f4914f6cdd1d) >> 20;
}

static struct sb_spsc *spsc_of(uint32_t dir)
{
	return (void *)sh->dir[dir].memory;
}

/* A thread dies where it stands, now and then. */
static bool dies_here(struct mortal *m)
{
	return m->thread && rnd(&m->rng) % 2000 == 0 && !ld_acq(&sh->no_more);
}

/* Now and then one is slower than the other for a while. */
static void linger(struct mortal *m)
{
	uint64_t r = rnd(&m->rng) % 4096;

	if (r == 0)
		sched_yield();
	else if (r < 16)
		for (uint64_t t = rnd(&m->rng) % 4096; t; t--)
			sb_relax();
}

/* Mostly short, some as long as can be; of two directions, every other one
 * such as may go through the line. */
static size_t some_length(uint64_t *seed, size_t max)
{
	uint64_t r = rnd(seed);
	size_t most = r % 4096 == 0            ? max
		      : r % 64 == 0            ? 20000
		      : r % 8 == 0             ? 2000
		      : r % 2 && shape->duplex ? SB_SPSC_MEET_MAX
					       : 100;

	if (most > max)
		most = max;
	return sizeof(struct stamp) +
	       (size_t)rnd(seed) % (most - sizeof(struct stamp) + 1);
}

static unsigned char pattern(const struct stamp *stamp, size_t len)
{
	return (unsigned char)(stamp->number * 7 + stamp->writer + len);
}

/* Write a few records, if there is room.  False: died. */
static bool write_some(struct mortal *m)
{
	struct direction *d = &sh->dir[m->side];

	for (uint64_t n = 1 + rnd(&m->rng) % (shape->duplex ? 3 : 100); n;
	     n--) {
		size_t len = some_length(&m->rng, sb_spsc_max(&m->tx));
		struct stamp stamp = { m->id, m->n_written };
		unsigned char *to;
		void *p;
		int ret = sb_spsc_room(&m->tx, len, &p);

		if (ret == -EAGAIN)
			break;
		T_CHECK(ret == 0);
		to = p;
		memset(to + sizeof(stamp), pattern(&stamp, len),
		       len - sizeof(stamp));
		linger(m);
		if (dies_here(m))
			return false;
		memcpy(to, &stamp, sizeof(stamp));
		sb_spsc_publish(&m->tx, len, stamp.number / 8 % 8);
		st_rel(&d->published[m->id], ++m->n_written);
		linger(m);
	}
	return !dies_here(m);
}

/* Is it the one that has to come now? */
static void check_order(struct direction *d, const struct stamp *stamp,
			bool first)
{
	uint64_t next = ld_rlx(&d->next);
	uint32_t writer = (uint32_t)(next >> 32), number = (uint32_t)next;

	if (stamp->writer == writer && stamp->number == number)
		return;
	if (first && stamp->writer == writer && stamp->number + 1 == number) {
		st_rlx(&d->n_again, ld_rlx(&d->n_again) + 1);
		return;
	}
	/* Another writer; then this was all of those before it. */
	T_CHECK(stamp->writer > writer && stamp->writer < N_WRITERS);
	T_CHECK(stamp->number == 0);
	T_CHECK(ld_acq(&d->published[writer]) <= number);
	for (writer++; writer < stamp->writer; writer++)
		T_CHECK(ld_acq(&d->published[writer]) == 0);
}

static void check_record(struct direction *d, const unsigned char *from,
			 size_t len, uint32_t kind, bool first)
{
	struct stamp stamp;
	unsigned char want;

	T_CHECK(len >= sizeof(stamp));
	memcpy(&stamp, from, sizeof(stamp));
	check_order(d, &stamp, first);
	T_CHECK(kind == stamp.number / 8 % 8);
	want = pattern(&stamp, len);
	for (size_t i = sizeof(stamp); i < len; i++)
		T_CHECK(from[i] == want);
	st_rel(&d->next, ((uint64_t)stamp.writer << 32) + stamp.number + 1);
}

/* Read all that is there, or a part of it.  False: died. */
static bool read_some(struct mortal *m, bool all)
{
	const void *p;
	size_t len;
	uint32_t kind;
	int ret = -EAGAIN;

	while ((all || rnd(&m->rng) % 256) &&
	       !(ret = sb_spsc_front(&m->rx, &p, &len, &kind))) {
		check_record(&sh->dir[1 - m->side], p, len, kind, m->first);
		m->first = false;
		linger(m); /* a chance to be killed here */
		if (dies_here(m))
			return false;
		sb_spsc_pop(&m->rx);
	}
	T_CHECK(ret == 0 || ret == -EAGAIN);
	if (ret && !sb_spsc_pause(&m->rx))
		sched_yield();
	return !dies_here(m);
}

static int live(void *arg)
{
	struct mortal *m = arg;
	bool writes = shape->duplex || m->side == 0;
	bool reads = shape->duplex || m->side == 1, over = false;
	struct direction *out = &sh->dir[m->side];

	if (writes)
		T_CHECK(!sb_spsc_tx_attach(&m->tx, spsc_of(m->side), BYTES));
	if (reads)
		T_CHECK(!sb_spsc_rx_attach(&m->rx, spsc_of(1 - m->side),
					   BYTES));
	if (shape->duplex)
		sb_spsc_meet(&m->tx, &m->rx, &sh->meet, m->side);
	while (!over) {
		over = ld_acq(&sh->over);
		if (ld_acq(&sh->no_more))
			st_rel(&out->quiet, 1);
		else if (writes && !write_some(m))
			return 0;
		if (reads && !read_some(m, over))
			return 0;
		if (!reads)
			sched_yield();
	}
	return 0;
}

static void *live_thread(void *arg)
{
	struct mortal *m = arg;

	live(m);
	st_rel(&m->gone, 1);
	return NULL;
}

static void start(struct mortal *m)
{
	m->id = n_writers[m->side]++;
	m->n_written = 0;
	m->first = true;
	m->rng = rnd(&rng) | 1;
	st_rlx(&m->gone, 0);
	if (!m->thread)
		m->pid = t_fork(live, m);
	else if (pthread_create(&m->tid, NULL, live_thread, m))
		abort();
}

/* It may have ended before by a failed check. */
static void kill_process(struct mortal *m)
{
	int status;

	kill(m->pid, SIGKILL);
	status = t_wait(m->pid);
	T_CHECK(status == -SIGKILL || status == 0);
}

/* Side @side dies, or has, and another takes its place. */
static void let_die(uint32_t side)
{
	struct mortal *m = &mortals[side];

	if (m->thread) {
		if (!ld_acq(&m->gone))
			return;
		pthread_join(m->tid, NULL);
	} else {
		kill_process(m);
	}
	n_deaths++;
	start(m);
}

/* They come to their ends by themselves, when all was read. */
static void stop(void)
{
	st_rel(&sh->no_more, 1);
	for (uint32_t side = 0; side < 2; side++)
		while (!ld_acq(&sh->dir[side].quiet)) {
			if (mortals[side].thread)
				let_die(side);
			sched_yield();
		}
	st_rel(&sh->over, 1);
	for (uint32_t side = 0; side < 2; side++)
		if (mortals[side].thread)
			pthread_join(mortals[side].tid, NULL);
		else
			T_CHECK(t_wait(mortals[side].pid) == 0);
}

static void check_whole(uint32_t dir)
{
	struct direction *d = &sh->dir[dir];
	uint64_t next = ld_acq(&d->next), n = 0;
	uint32_t writer = (uint32_t)(next >> 32);

	T_CHECK(ld_acq(&d->published[writer]) <= (uint32_t)next);
	for (uint32_t i = writer + 1; i < n_writers[dir]; i++)
		T_CHECK(ld_acq(&d->published[i]) == 0);
	for (uint32_t i = 0; i < n_writers[dir]; i++)
		n += ld_acq(&d->published[i]);
	T_CHECK(n > 0);
	printf("  %" PRIu64 " records, %" PRIu64 " of them came again\n", n,
	       ld_rlx(&d->n_again));
}

static void make(void)
{
	memset(sh, 0, sizeof(*sh));
	for (uint32_t dir = 0; dir < 2; dir++)
		sb_spsc_init(spsc_of(dir), shape->slot_bytes, shape->adaptive,
			     UINT32_MAX - 100);
	sb_spsc_meet_init(&sh->meet, spsc_of(0), spsc_of(1));
	memset(mortals, 0, sizeof(mortals));
	memset(n_writers, 0, sizeof(n_writers));
	n_deaths = 0;
}

/* On a machine under load that may take a while. */
static bool all_began(void)
{
	return ld_acq(&sh->dir[0].next) &&
	       (!shape->duplex || ld_acq(&sh->dir[1].next));
}

static void run(bool threads, double seconds)
{
	uint64_t now = sb_now_ns(), end = now + (uint64_t)(seconds * 1e9);
	uint64_t next_death = now, progress = now, last = 0;

	printf("%s, %s:\n", threads ? "threads" : "processes", shape->name);
	make();
	rng = now | 1;
	for (uint32_t side = 0; side < 2; side++) {
		mortals[side].side = side;
		mortals[side].thread = threads;
		start(&mortals[side]);
	}
	for (; now < end || !all_began(); now = sb_now_ns()) {
		uint64_t next =
			ld_acq(&sh->dir[0].next) + ld_acq(&sh->dir[1].next);
		uint32_t side = (uint32_t)rnd(&rng) % 2;

		if (next != last)
			progress = now;
		last = next;
		T_CHECK(now - progress < HANG_NS);
		if (now >= next_death && now - progress < STARVED_NS &&
		    n_writers[side] < N_WRITERS) {
			let_die(side);
			next_death = now + rnd(&rng) % (2 * PERIOD_NS);
		}
		sched_yield();
	}
	stop();
	printf("  %" PRIu64 " deaths\n", n_deaths);
	for (uint32_t dir = 0; dir < (shape->duplex ? 2 : 1); dir++)
		check_whole(dir);
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
	setvbuf(stdout, NULL, _IOLBF, 0); /* what went well, if not all does */
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(sh != MAP_FAILED);
	for (size_t i = 0; i < N_SHAPES; i++) {
		shape = &shapes[i];
		if (processes)
			run(false, seconds / N_SHAPES);
		if (threads)
			run(true, seconds / N_SHAPES);
	}
	return 0;
}
