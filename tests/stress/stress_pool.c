/*
 * stress_pool.c - every task is over once, and rightly, whoever is killed
 *
 * Hundreds of thousands of tasks go through a pool with small and large
 * requests and results, errors, time limits and cancels, as futures that are
 * kept, and as such that nobody keeps, while a random worker is killed
 * (SIGKILL) about every millisecond.  A ledger says how often each task was
 * over.  Then maps and imaps, with the same killing.  In the end the counts of
 * bus_pool_stats() are those of the ledger, and no process, descriptor or
 * shared object is left.
 *
 * How often is a matter of luck and load; what must hold is not.
 *
 * usage: stress_pool [--tasks=N] [--workers=N] [--seed=N]
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/shmbus.h"
#include "lib/atomics.h"
#include "lib/clock.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"

#define N_TASKS   50000u /* unless it is said */
#define N_KEPT    64u
#define LARGE     100000u
#define PERIOD_NS SB_NS_PER_MS
#define HANG_S    250 /* only a hang takes so long */
#define LONG_NS   ((int64_t)(100 * SB_NS_PER_S))

static struct bus *bus;
static struct bus_pool *pool;
static uint8_t *over; /* how often task i was */
static uint64_t n_ok, n_failed, n_dead, n_canceled, n_late, n_kills;
static uint64_t next_kill_ns, rng = 1;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* -------------------------------------------------------- in the workers -- */

/* Task @i has a request of this length, and its result has that. */
static size_t request_bytes(uint64_t i)
{
	return i % 32 == 1 ? 300 + i % 1000 : 8 + i % 16;
}

static size_t result_bytes(uint64_t i)
{
	if (i % 4096 == 5)
		return LARGE + i % 100;
	return i % 64 == 3 ? 73 + i % 1000 : 8 + i % 60;
}

static int error_of(uint64_t i)
{
	return i % 17 == 2 ? (int)(i % 1000) + 1 : 0;
}

static bool is_slow(uint64_t i)
{
	return i % 1000 == 13 || i % 1000 == 7;
}

static void fill(unsigned char *to, size_t len, uint64_t i)
{
	memset(to, (int)(i * 13 & 0xff), len);
	memcpy(to, &i, sizeof(i));
}

static bool is_filled(const unsigned char *from, size_t len, uint64_t i)
{
	for (size_t k = sizeof(i); k < len; k++)
		if (from[k] != (unsigned char)(i * 13))
			return false;
	return len >= sizeof(i) && !memcmp(from, &i, sizeof(i));
}

static void nap(long us)
{
	nanosleep(&(struct timespec){ 0, us * 1000 }, NULL);
}

static int work(void *ctx, const void *req, size_t len, struct bus_reply *reply)
{
	unsigned char *to;
	uint64_t i;

	(void)ctx;
	memcpy(&i, req, sizeof(i));
	T_CHECK(len == request_bytes(i) && is_filled(req, len, i));
	for (int k = 0; k < 20 && is_slow(i); k++) {
		if (bus_reply_canceled(reply))
			break;
		nap(200);
	}
	if (error_of(i)) {
		bus_reply_error(reply, "task %" PRIu64, i);
		return error_of(i);
	}
	to = bus_reply_room(reply, result_bytes(i));
	T_CHECK(to);
	fill(to, result_bytes(i), i);
	return 0;
}

/* --------------------------------------------------------------- killing -- */

static void kill_one(void)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;
	struct bus_worker_stats w[64];
	uint64_t now = sb_now_ns();
	int n;

	if (now < next_kill_ns)
		return;
	next_kill_ns = now + PERIOD_NS / 2 + rnd() % PERIOD_NS;
	n = bus_pool_stats(bus, "pool", &s, w, 64);
	T_CHECK(n > 0);
	/* Those that died are reaped in our calls only: the pid is nobody
	 * else's. */
	n = (int)(rnd() % s.n_workers);
	if (w[n].pid > 0 && !kill(w[n].pid, SIGKILL))
		n_kills++;
}

/* --------------------------------------------------------------- futures -- */

static void check(uint64_t i, const struct bus_result *r)
{
	char text[64];

	T_CHECK(over[i]++ == 0);
	switch (r->kind) {
	case BUS_RESULT_OK:
		n_ok++;
		T_CHECK(!error_of(i) && r->len_bytes == result_bytes(i) &&
			is_filled(r->data, r->len_bytes, i));
		break;
	case BUS_RESULT_ERROR:
		n_failed++;
		snprintf(text, sizeof(text), "task %" PRIu64, i);
		T_CHECK(r->code == error_of(i) && !strcmp(r->data, text));
		break;
	case BUS_RESULT_DEATH:
		n_dead++;
		T_CHECK(r->len_bytes == request_bytes(i) && r->attempts == 3 &&
			is_filled(r->data, r->len_bytes, i));
		break;
	case BUS_RESULT_CANCELED:
		n_canceled++;
		T_CHECK(i % 1000 == 7 && r->code == -ECANCELED);
		break;
	case BUS_RESULT_TIMEOUT:
		n_late++;
		T_CHECK(i % 1000 == 13 && r->code == -ETIMEDOUT);
		break;
	default:
		T_CHECK(!"kind");
	}
}

static int done(void *ctx, struct bus_future *f, const struct bus_result *r)
{
	(void)f;
	check((uint64_t)(uintptr_t)ctx, r);
	return 0;
}

struct kept {
	struct bus_future *future;
	uint64_t i;
};

static void get(struct kept *k)
{
	struct bus_result r;

	if (!k->future)
		return;
	T_CHECK(bus_future_get(k->future, &r, LONG_NS) == 0);
	check(k->i, &r);
	bus_future_free(k->future);
	k->future = NULL;
}

static void submit(uint64_t i, struct kept *k)
{
	struct bus_task_config c = BUS_TASK_CONFIG_INIT;
	struct bus_future *cancel = NULL;
	unsigned char req[1400];
	bool keep = i % 8 == 0;

	c.done = keep ? NULL : done;
	c.ctx = (void *)(uintptr_t)i;
	c.priority = (uint32_t)(rnd() % 3);
	c.limit_ns = i % 1000 == 13 ? 1000000 : 0;
	fill(req, request_bytes(i), i);
	if (keep)
		get(k);
	T_CHECK(bus_pool_submit(pool, 0, req, request_bytes(i), &c,
				keep            ? &k->future
				: i % 1000 == 7 ? &cancel
						: NULL,
				LONG_NS) == 0);
	if (keep)
		k->i = i;
	if (cancel) {
		if (i % 2000 == 7)
			bus_future_wait(cancel, 1000000);
		bus_future_cancel(cancel);
		bus_future_free(cancel);
	}
}

static void run_futures(uint64_t n)
{
	static struct kept kept[N_KEPT];

	for (uint64_t i = 0; i < n; i++) {
		submit(i, &kept[i / 8 % N_KEPT]);
		if (i % 16 == 0)
			kill_one();
	}
	for (uint32_t i = 0; i < N_KEPT; i++)
		get(&kept[i]);
}

/* ---------------------------------------------------------- map and imap -- */

static int square(void *ctx, const void *req, size_t len,
		  struct bus_reply *reply)
{
	uint64_t i;

	(void)ctx;
	T_CHECK(len == sizeof(i));
	memcpy(&i, req, sizeof(i));
	i *= i;
	return bus_reply_put(reply, &i, sizeof(i));
}

struct source {
	uint64_t next, n, item;
};

static int pull(void *ctx, const void **item, size_t *len)
{
	struct source *s = ctx;

	if (s->next == s->n)
		return 0;
	s->item = s->next++;
	*item = &s->item;
	*len = sizeof(s->item);
	return 1;
}

static uint64_t n_items, n_items_dead;

static void run_imap(uint64_t n, size_t chunk, bool ordered)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	struct source s = { .n = n };
	struct bus_imap *im;
	struct bus_result r;
	uint64_t sum = 0, got = 0, v;
	int ret;

	c.chunk = chunk;
	T_CHECK((ordered ? bus_pool_imap : bus_pool_imap_unordered)(
			pool, 1, pull, &s, &c, &im) == 0);
	while (!(ret = bus_imap_next(im, &r, LONG_NS))) {
		T_CHECK(!ordered || r.id == got);
		got++;
		sum += r.id;
		if (got % 16 == 0)
			kill_one();
		n_items_dead += r.kind == BUS_RESULT_DEATH;
		if (r.kind == BUS_RESULT_DEATH)
			continue;
		T_CHECK(r.kind == BUS_RESULT_OK && r.len_bytes == sizeof(v));
		memcpy(&v, r.data, sizeof(v));
		T_CHECK(v == r.id * r.id);
	}
	T_CHECK(ret == -ENODATA && got == n && sum == n * (n - 1) / 2);
	n_items += n;
	bus_imap_free(im);
}

static void run_map(size_t n, size_t chunk)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	uint64_t *in = calloc(n, sizeof(*in)), *out = calloc(n, sizeof(*out));
	struct bus_map_item *items = calloc(n, sizeof(*items));
	int failed = 0;

	T_CHECK(in && out && items);
	for (size_t i = 0; i < n; i++)
		in[i] = i;
	c.chunk = chunk;
	c.items = items;
	kill_one();
	T_CHECK((failed = bus_pool_map(pool, 1, in, 8, out, 8, n, &c,
				       LONG_NS)) >= 0);
	for (size_t i = 0; i < n; i++) {
		failed -= items[i].kind == BUS_RESULT_DEATH;
		n_items_dead += items[i].kind == BUS_RESULT_DEATH;
		T_CHECK(items[i].kind == BUS_RESULT_DEATH ||
			out[i] == (uint64_t)i * i);
	}
	T_CHECK(failed == 0);
	n_items += n;
	free(in);
	free(out);
	free(items);
}

static void run_maps(uint64_t n)
{
	for (size_t chunk = 0; chunk < 200; chunk = chunk * 3 + 1) {
		for (int k = 0; k < 20; k++)
			run_map(n / 200, chunk);
		run_imap(n / 10, chunk, true);
		run_imap(n / 10, chunk, false);
	}
}

/* ------------------------------------------------------------------ main -- */

static void check_counts(uint64_t n)
{
	struct bus_pool_stats s = BUS_POOL_STATS_INIT;

	T_CHECK(bus_pool_stats(bus, "pool", &s, NULL, 0) == 0);
	T_CHECK(s.n_submitted == n + n_items);
	T_CHECK(s.n_queued == 0);
	T_CHECK(s.n_ok == n_ok + n_items - n_items_dead);
	T_CHECK(s.n_failed == n_failed);
	T_CHECK(s.n_quarantined == n_dead + n_items_dead);
	T_CHECK(s.n_canceled == n_canceled);
	T_CHECK(s.n_timed_out == n_late);
	T_CHECK(n_ok + n_failed + n_dead + n_canceled + n_late == n);
	printf("%" PRIu64 " tasks, %" PRIu64 " items, %" PRIu64 " kills, "
	       "%" PRIu64 " deaths: %" PRIu64 " failed, %" PRIu64
	       " given up, %" PRIu64 " canceled, %" PRIu64 " late\n",
	       n, n_items, n_kills, s.n_deaths, n_failed, n_dead + n_items_dead,
	       n_canceled, n_late);
}

/* Those that nobody keeps are called back in a call of ours. */
static void wait_until_over(uint64_t n)
{
	struct bus_result r;
	uint64_t one = 1;

	while (n_ok + n_failed + n_dead + n_canceled + n_late < n) {
		T_CHECK(bus_pool_apply(pool, 1, &one, sizeof(one), &r,
				       LONG_NS) == 0);
		n_items++;
	}
}

static void run(uint64_t n, uint32_t n_workers)
{
	static const bus_handler handlers[] = { work, square };
	struct bus_pool_config c = BUS_POOL_CONFIG_INIT;
	const char *name = t_name("stress_pool");

	T_CHECK(bus_create(name, NULL, &bus) == 0);
	c.handlers = handlers;
	c.n_handlers = 2;
	c.n_workers = n_workers;
	c.grace_ns = 2000000;
	T_CHECK(bus_pool_start(bus, "pool", &c, &pool) == 0);
	run_futures(n);
	run_maps(n);
	wait_until_over(n);
	check_counts(n);
	T_CHECK(bus_pool_close(pool) == 0);
	while (bus_pool_join(pool, 1000000))
		;
	bus_pool_free(pool);
	bus_close(bus);
}

static uint64_t option(const char *arg, const char *name, uint64_t value)
{
	size_t n = strlen(name);

	return strncmp(arg, name, n) ? value : strtoull(arg + n, NULL, 10);
}

int main(int argc, char **argv)
{
	uint64_t n = N_TASKS, n_workers = 4;
	int n_fds = t_count_fds();

	for (int i = 1; i < argc; i++) {
		n = option(argv[i], "--tasks=", n);
		n_workers = option(argv[i], "--workers=", n_workers);
		rng = option(argv[i], "--seed=", rng);
	}
#ifdef SB_TSAN
	return T_SKIP; /* it sees the threads of one process only */
#endif
	t_hang_after(HANG_S);
	over = calloc(n, 1);
	T_CHECK(over);
	run(n, (uint32_t)n_workers);
	for (uint64_t i = 0; i < n; i++)
		T_CHECK(over[i] == 1);
	T_CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	T_CHECK(t_count_fds() == n_fds);
	T_CHECK(t_shm_leftovers() == 0);
	free(over);
	return 0;
}
