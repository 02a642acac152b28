/*
 * explore_spsc.c - random schedules of the real code of lib/spsc.c, one access
 * at a time
 *
 * Compiles it with a hook in front of every atomic access.  There, the side
 * whose turn it is may be killed, and another takes its place; or the other
 * side does some of its calls, in which it may be killed, too.  Sequentially
 * consistent, so no proof of memory orders.
 *
 * What is checked: each record that was published comes, in order and whole; a
 * record comes again only when it was not popped; nothing is ever found to be
 * impossible; a reader finds what is there, and a writer has room once the
 * reader has found nothing.
 *
 * explore_spsc [--seconds=S] [--seed=X]; with a seed it runs just that one.
 */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void access_point(void);

#define SB_ATOMICS_HOOK() access_point()
#define SB_SPSC_ASK_EVERY 2u

#include "lib/spsc.c"

#define BYTES   (64u << 10)
#define N_CALLS 200 /* of the two sides in a schedule */

#define BOTH(i) for (int i = 0; i < 2; i++)

/* Side i writes direction i, and reads the other one. */
struct side {
	struct sb_spsc_tx tx;
	struct sb_spsc_rx rx;
	bool inside;   /* one of its calls */
	jmp_buf death; /* where it goes when it is killed there */
	int n_deaths;  /* in a row: there has to be an end */
	uint64_t before_pop;
	bool in_run; /* what it pops may be several records */
};

#define N_ENDS 4096u /* more than two slots have records */

static struct {
	alignas(SB_FAR) unsigned char direction[2][BYTES];
	struct sb_spsc_meet meet;
} memory;
static struct sb_spsc *spsc[2];

static struct {
	uint64_t seed;
	bool duplex;
	size_t most;           /* longest record */
	unsigned int write_in; /* of a side's calls, one in so many writes */
	struct side side[2];
	uint64_t n_put[2], n_got[2];     /* of the directions */
	uint64_t end[N_ENDS];            /* of direction 0: where each ends */
	bool runs;                       /* several records in a call */
	int at_work;                     /* whose access it is, or -1 */
	unsigned int kill_in, switch_in; /* one in so many accesses */
} run;

static struct {
	uint64_t schedules, kills, switches, records, met, in_runs;
} total;

static uint64_t rng;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr,                                        \
				"explore_spsc --seed=%" PRIu64                 \
				": line %d: not true: %s\n",                   \
				run.seed, __LINE__, #cond);                    \
			exit(1);                                               \
		}                                                              \
	} while (0)

/* ---------------------------------------------------------- what they do -- */

static unsigned char byte_of(uint64_t n, size_t i)
{
	return (unsigned char)(n * 5 + i);
}

/* Seldom another one: records of one kind and length are all alike. */
static uint32_t kind_of(uint64_t n)
{
	return (uint32_t)(n / 16) % 8;
}

/* Mostly such as may go through the line, and often the same. */
static size_t some_length(void)
{
	if (rnd() % 4 == 0)
		return 16;
	return rnd() % 4 ? (size_t)rnd() % 33 : (size_t)rnd() % (run.most + 1);
}

/* @n more records of @me are published. */
static void has_put(int me, uint64_t n, size_t len)
{
	const struct sb_spsc_tx *tx = &run.side[me].tx;
	uint64_t off =
		(uint64_t)(tx->at - slot_of(tx->s, tx->slot_bytes, tx->lap));
	uint64_t pos = (uint64_t)tx->lap << 32 | off;

	for (uint64_t i = 0; i < n && me == 0; i++)
		run.end[(run.n_put[0] + i) % N_ENDS] =
			pos - (n - 1 - i) * (8 + sb_spsc_pad(len));
	run.n_put[me] += n;
	total.records += n;
}

/* Publish several at once.  Killed in it, none is published. */
static size_t write_run(int me)
{
	static unsigned char of_side[2][16 * 64];
	unsigned char *bytes = of_side[me];
	size_t len = some_length() % 65;
	uint64_t first = run.n_put[me];
	size_t n = 16 - first % 16; /* of one kind */

	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < len; i++)
			bytes[k * len + i] = byte_of(first + k, i);
	n = sb_spsc_put_run(&run.side[me].tx, bytes, len, 1 + rnd() % n,
			    kind_of(first));
	has_put(me, n, len);
	total.in_runs += n;
	return n;
}

/* Publish a record, if there is room.  Killed in it, none is published. */
static void write_one(int me)
{
	struct sb_spsc_tx *tx = &run.side[me].tx;
	size_t len = some_length();
	unsigned char *to;
	void *p;
	int ret = sb_spsc_room(tx, len, &p);

	if (!ret && rnd() % 8 == 0) {
		len = some_length(); /* thinks better of it */
		ret = sb_spsc_room(tx, len, &p);
	}
	CHECK(ret == 0 || ret == -EAGAIN);
	if (ret)
		return;
	len -= rnd() % 8 ? 0 : (size_t)rnd() % (len + 1);
	to = p;
	total.met += to == (void *)memory.meet.half[me].data;
	for (size_t i = 0; i < len; i++)
		to[i] = byte_of(run.n_put[me], i);
	sb_spsc_publish(tx, len, kind_of(run.n_put[me]));
	has_put(me, 1, len);
}

static void check_record(int dir, const unsigned char *from, size_t len,
			 uint32_t kind)
{
	CHECK(run.n_got[dir] < run.n_put[dir]);
	CHECK(kind == kind_of(run.n_got[dir]));
	for (size_t i = 0; i < len; i++)
		CHECK(from[i] == byte_of(run.n_got[dir], i));
}

/* What changes when a record of this direction is popped; not 0. */
static uint64_t progress(int dir)
{
	return spsc[dir]->position * 2 + spsc[dir]->met % 2 + 2;
}

/* Look at the front record, and pop it or not. */
static void read_one(int me)
{
	int dir = 1 - me;
	struct sb_spsc_rx *rx = &run.side[me].rx;
	bool is_there = run.n_got[dir] < run.n_put[dir];
	const void *p;
	size_t len;
	uint32_t kind;
	int ret = sb_spsc_front(rx, &p, &len, &kind);

	CHECK(ret == 0 || (ret == -EAGAIN && !is_there));
	if (ret)
		return;
	check_record(dir, p, len, kind);
	access_point(); /* it stays as it is while we have it */
	check_record(dir, p, len, kind);
	if (rnd() % 4 == 0)
		return;
	run.side[me].before_pop = progress(dir);
	sb_spsc_pop(rx);
	run.side[me].before_pop = 0;
	run.n_got[dir]++;
}

/* Take several at once, as long as the last one was. */
static bool read_run(int me)
{
	static unsigned char bytes[16 * 64];
	struct side *s = &run.side[me];
	int dir = 1 - me;
	uint64_t first = run.n_got[dir];
	size_t n = 16 - first % 16, len = s->rx.len;

	if (len > 64 || run.duplex)
		return false;
	s->before_pop = progress(dir);
	s->in_run = true;
	n = sb_spsc_take_run(&s->rx, bytes, len, 1 + rnd() % n, kind_of(first));
	s->before_pop = 0;
	s->in_run = false;
	for (size_t k = 0; k < n; k++) {
		check_record(dir, bytes + k * len, len, kind_of(first));
		run.n_got[dir]++;
	}
	total.in_runs += n;
	return n;
}

/* How many records of direction 0 end before the position in shared memory? */
static uint64_t n_before_position(void)
{
	uint64_t n = run.n_got[0];

	while (n < run.n_put[0] &&
	       (int64_t)(spsc[0]->position - run.end[n % N_ENDS]) >= 0)
		n++;
	return n;
}

/* Killed in a pop: done with the record, or not? */
static void settle_pop(int me)
{
	struct side *s = &run.side[me];

	if (s->in_run)
		run.n_got[1 - me] = n_before_position();
	else if (s->before_pop && s->before_pop != progress(1 - me))
		run.n_got[1 - me]++;
	s->before_pop = 0;
	s->in_run = false;
}

/* A new one, who may be killed before it has begun. */
static void attach(int me)
{
	struct side *s = &run.side[me];

	if (me == 0 || run.duplex)
		CHECK(sb_spsc_tx_attach(&s->tx, spsc[me], BYTES) == 0);
	if (me == 1 || run.duplex)
		CHECK(sb_spsc_rx_attach(&s->rx, spsc[1 - me], BYTES) == 0);
	if (run.duplex)
		sb_spsc_meet(&s->tx, &s->rx, &memory.meet, (uint32_t)me);
}

/* One call of @me; when it is killed there, its successor is attached. */
static void call(int me, bool writes)
{
	struct side *s = &run.side[me];
	int before = run.at_work;

	s->inside = true;
	run.at_work = me;
	if (!_setjmp(s->death)) {
		bool several = run.runs && rnd() % 2;

		if (writes && (!several || !write_run(me)))
			write_one(me);
		else if (!writes && (!several || !read_run(me)))
			read_one(me);
	} else {
		settle_pop(me);
		run.at_work = me;
		while (_setjmp(s->death))
			;
		attach(me);
	}
	s->inside = false;
	s->n_deaths = 0;
	run.at_work = before;
}

static void some_call(int me)
{
	call(me, run.duplex ? rnd() % run.write_in == 0 : me == 0);
}

static bool once_in(unsigned int n)
{
	return n && rnd() % n == 0;
}

static void access_point(void)
{
	int me = run.at_work, other = 1 - me;

	if (me < 0)
		return;
	if (run.side[me].n_deaths < 5 && once_in(run.kill_in)) {
		run.side[me].n_deaths++;
		total.kills++;
		_longjmp(run.side[me].death, 1);
	}
	while (!run.side[other].inside && once_in(run.switch_in)) {
		total.switches++;
		some_call(other);
	}
}

/* ------------------------------------------------------------- schedules -- */

/* Nobody dies any more: all comes, and there is room. */
static void finish(int dir)
{
	uint64_t before;

	run.kill_in = run.switch_in = 0;
	run.runs = false;
	for (int i = 0; i < 3; i++) {
		for (int k = 0; run.n_got[dir] < run.n_put[dir]; k++) {
			CHECK(k < 100 * N_CALLS);
			call(1 - dir, false);
		}
		call(1 - dir, false); /* finds nothing, or the seal */
		before = run.n_put[dir];
		run.most = 24;
		call(dir, true);
		CHECK(run.n_put[dir] == before + 1);
	}
}

static void explore(uint64_t seed)
{
	static const unsigned int often[] = { 0, 3, 10, 40 };
	bool adaptive;

	memset(&run, 0, sizeof(run));
	run.seed = seed;
	rng = seed * 2 + 1;
	for (int i = 0; i < 4; i++)
		rnd();
	adaptive = rnd() % 4 == 0;
	run.duplex = rnd() % 2;
	run.write_in = 2 + (unsigned int)(rnd() % 8);
	run.at_work = -1;
	run.runs = rnd() % 2;
	run.most = adaptive ? 16384 - 16 : 240;
	if (rnd() % 2)
		run.most /= 4;
	memset(&memory, 0xa5, sizeof(memory));
	BOTH(i)
	{
		spsc[i] = (void *)memory.direction[i];
		sb_spsc_init(spsc[i], adaptive ? 16384 : 256, adaptive,
			     UINT32_MAX - (uint32_t)rnd() % 8);
	}
	sb_spsc_meet_init(&memory.meet, spsc[0], spsc[1]);
	BOTH(i)
	attach(i);
	run.kill_in = often[rnd() % 4];
	run.switch_in = often[rnd() % 4];
	for (int i = 0; i < N_CALLS; i++)
		some_call((int)(rnd() % 2));
	finish(0);
	if (run.duplex)
		finish(1);
	total.schedules++;
}

int main(int argc, char **argv)
{
	uint64_t seed = sb_now_ns(), end;
	double seconds = 2;
	bool one = false;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--seconds=", 10)) {
			seconds = atof(argv[i] + 10);
		} else if (!strncmp(argv[i], "--seed=", 7)) {
			seed = strtoull(argv[i] + 7, NULL, 0);
			one = true;
		} else {
			fprintf(stderr, "usage: %s [--seconds=S] [--seed=X]\n",
				argv[0]);
			return 2;
		}
	}
	end = sb_now_ns() + (uint64_t)(seconds * 1e9);
	do
		explore(seed++);
	while (!one && sb_now_ns() < end);
	printf("%" PRIu64 " schedules, %" PRIu64 " records, %" PRIu64
	       " of them through the line, %" PRIu64
	       " put or taken in runs, %" PRIu64 " kills, %" PRIu64
	       " switches\n",
	       total.schedules, total.records, total.met, total.in_runs,
	       total.kills, total.switches);
	return 0;
}
