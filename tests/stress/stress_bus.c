/*
 * stress_bus.c - nothing is lost and nothing comes twice, whoever is killed
 *
 *	queue   several writers and readers of all kinds of put and get, one of
 *	        them killed (SIGKILL) about every millisecond.  A ledger says of
 *	        each message whether its put returned 0 and how often it was
 *	        delivered, and the controller looks where the killed were.
 *	join    readers of a joinable queue are killed; whenever join returns,
 *	        all that was put has been worked on.
 *	coord   a coordinator with 4 workers, one of them killed every
 *	        millisecond; each request is answered exactly once.
 *	many    the same with requests in batches and workers that take runs;
 *		also, no more deaths are blamed on requests than there were.
 *	threads as queue, but threads, each with an endpoint of its own; they
 *	        "die" by leaving with what they hold.  This is what TSan
 *	        follows.
 *
 * How often is a matter of luck and load; what must hold is not.
 *
 * usage: stress_bus [--threads|--processes] [--seconds=S] [--seed=N]
 * Without a mode all five, under TSan only threads.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bus/shmbus.h"
#include "lib/atomics.h"
#include "lib/clock.h"
#include "tests/support/proc.h"

#define N_WRITERS 3u
#define N_READERS 3u
#define N_MORTALS (N_WRITERS + N_READERS)
#define N_IDS     (1u << 23)
#define MESSAGE   3000u
#define BATCH     16u
#define PERIOD_NS SB_NS_PER_MS
#define PATIENCE  ((int64_t)(20 * SB_NS_PER_MS))
#define HANG_S    120 /* only a hang takes so long */

/* What is known of a message. */
struct entry {
	_Atomic uint8_t put;     /* its put returned 0 */
	_Atomic uint8_t refused; /* its put returned something else */
	_Atomic uint8_t seen;    /* deliveries */
	/* by the controller, when it has killed a reader: */
	_Atomic uint8_t again; /* it may come once more */
	_Atomic uint8_t maybe; /* its get may have ended unseen */
};

enum stage {
	ELSEWHERE,
	GETTING, /* in a get; the id is in buf as soon as it is copied */
	GOT,     /* the get has returned */
	HOLDING  /* seen, perhaps not released yet */
};

struct mortal {
	uint32_t i;
	uint64_t rng;
	bool thread;
	pid_t pid;
	pthread_t tid;
	bool alive;
	/* shared: */
	_Atomic uint32_t stage;
	_Atomic uint64_t held;
	_Atomic uint32_t gone; /* thread: has ended */
	alignas(64) unsigned char buf[BATCH * MESSAGE];
};

struct shared {
	_Atomic uint32_t stop;    /* writers: no more */
	_Atomic uint32_t next_id; /* 1 .. */
	struct mortal mortal[N_MORTALS];
	struct entry entry[N_IDS];
};

static struct shared *sh;
static struct bus *bus;
static uint64_t seed = 1;
static double seconds = 2;

static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void check(const char *what, int ret, int a, int b, int c)
{
	if (ret == a || ret == b || ret == c)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-ret));
	_exit(1);
}

/* Messages ---------------------------------------------------------------- */

/* Message @id has this length, and these bytes. */
static size_t length_of(uint64_t id)
{
	return id % 16 ? 8 + id % 40 : 60 + id * 7 % (MESSAGE - 60);
}

static void write_message(unsigned char *to, uint64_t id, size_t len)
{
	memset(to, (int)(id * 13 & 0xff), len);
	memcpy(to, &id, sizeof(id));
}

static uint64_t read_message(const unsigned char *from, size_t len,
			     size_t expected)
{
	uint64_t id;

	T_CHECK(len >= sizeof(id));
	memcpy(&id, from, sizeof(id));
	T_CHECK(id > 0 && id < N_IDS);
	T_CHECK(len == (expected ? expected : length_of(id)));
	for (size_t k = sizeof(id); k < len; k++)
		T_CHECK(from[k] == (unsigned char)(id * 13 & 0xff));
	return id;
}

static void was_put(uint64_t id, bool put)
{
	st_rel(put ? &sh->entry[id].put : &sh->entry[id].refused, 1);
}

static void was_seen(uint64_t id)
{
	add_acqrel(&sh->entry[id].seen, 1);
}

/* Writers ----------------------------------------------------------------- */

static void put_some(struct mortal *m, struct bus_queue *q, uint64_t id,
		     uint32_t n)
{
	size_t len = length_of(id);
	int ret;

	for (uint32_t k = 0; k < n; k++)
		write_message(m->buf + k * len, id + k, len);
	ret = bus_queue_put_many(q, m->buf, len, n, PATIENCE);
	if (ret < 0)
		check("put_many", ret, -ETIMEDOUT, -EPIPE, 0);
	for (uint32_t k = 0; k < n; k++)
		was_put(id + k, (int)k < ret);
}

static void put_loan(struct bus_queue *q, uint64_t id, bool cancel)
{
	struct bus_msg msg;
	int ret = bus_queue_loan(q, length_of(id), &msg, PATIENCE);

	if (!ret) {
		write_message(msg.data, id, msg.len_bytes);
		ret = cancel ? bus_queue_cancel(q, &msg)
			     : bus_queue_commit(q, &msg);
	}
	check("loan", ret, 0, -ETIMEDOUT, -EPIPE);
	was_put(id, !ret && !cancel);
}

static void put_one(struct mortal *m, struct bus_queue *q, uint64_t id)
{
	int ret;

	write_message(m->buf, id, length_of(id));
	ret = bus_queue_put(q, m->buf, length_of(id), PATIENCE);
	check("put", ret, 0, -ETIMEDOUT, -EPIPE);
	was_put(id, !ret);
}

static void write_messages(struct mortal *m, struct bus_queue *q,
			   uint32_t n_rounds)
{
	while (!ld_acq(&sh->stop) && n_rounds--) {
		uint64_t how = rnd(&m->rng) % 8;
		uint32_t n = how == 0 ? 1 + (uint32_t)rnd(&m->rng) % BATCH : 1;
		uint64_t id = add_acqrel(&sh->next_id, n);

		if (id + n >= N_IDS)
			return;
		if (how == 0)
			put_some(m, q, id, n);
		else if (how < 3)
			put_loan(q, id, rnd(&m->rng) % 16 == 0);
		else
			put_one(m, q, id);
	}
}

/* Readers ----------------------------------------------------------------- */

/* -EPIPE, or 0 to go on. */
static int get_one(struct mortal *m, struct bus_queue *q)
{
	size_t len;
	int ret;

	memset(m->buf, 0, sizeof(uint64_t));
	st_rel(&m->stage, GETTING);
	ret = bus_queue_get(q, m->buf, MESSAGE, &len, PATIENCE);
	if (!ret) {
		st_rel(&m->stage, GOT);
		was_seen(read_message(m->buf, len, len));
	}
	st_rel(&m->stage, ELSEWHERE);
	check("get", ret, 0, -ETIMEDOUT, -EPIPE);
	return ret == -EPIPE ? ret : 0;
}

static int peek_one(struct mortal *m, struct bus_queue *q)
{
	struct bus_msg msg;
	int ret = bus_queue_peek(q, &msg, PATIENCE);
	uint64_t id;

	check("peek", ret, 0, -ETIMEDOUT, -EPIPE);
	if (ret)
		return ret == -EPIPE ? ret : 0;
	id = read_message(msg.data, msg.len_bytes, msg.len_bytes);
	if (rnd(&m->rng) % 8 == 0) {
		check("give_back", bus_queue_give_back(q, &msg), 0, 0, 0);
		return 0;
	}
	st_rel(&m->held, id);
	st_rel(&m->stage, HOLDING);
	was_seen(id);
	check("release", bus_queue_release(q, &msg), 0, 0, 0);
	st_rel(&m->stage, ELSEWHERE);
	return 0;
}

static void read_messages(struct mortal *m, struct bus_queue *q,
			  uint32_t n_rounds)
{
	while (n_rounds--)
		if (rnd(&m->rng) % 2 ? get_one(m, q) : peek_one(m, q))
			return;
}

/* The killed reader @m was here: what may come of it? */
static void look_where(struct mortal *m)
{
	uint32_t stage = ld_acq(&m->stage);
	uint64_t id;

	if (m->i < N_WRITERS)
		return;
	memcpy(&id, m->buf, sizeof(id));
	if (stage == HOLDING)
		add_acqrel(&sh->entry[ld_acq(&m->held)].again, 1);
	else if ((stage == GETTING || stage == GOT) && id)
		st_rel(&sh->entry[id].maybe, 1);
	st_rel(&m->stage, ELSEWHERE);
}

/* Mortals ----------------------------------------------------------------- */

static struct bus_queue *open_queue(struct bus *b)
{
	struct bus_queue *q;

	check("open", bus_queue_open(b, "q", NULL, &q), 0, 0, 0);
	return q;
}

static int mortal_process(void *arg)
{
	struct mortal *m = arg;
	/* The handle of the parent: all of it becomes ours here. */
	struct bus_queue *q = open_queue(bus);

	if (m->i < N_WRITERS)
		write_messages(m, q, UINT32_MAX);
	else
		read_messages(m, q, UINT32_MAX);
	if (rnd(&m->rng) % 2)
		bus_close(bus);
	return 0;
}

/* Leaves after a while, with loans and leases. */
static void *mortal_thread(void *arg)
{
	struct mortal *m = arg;
	struct bus_msg msg;
	struct bus_queue *q;
	struct bus *mine;
	uint32_t n = (uint32_t)rnd(&m->rng) % 2000;

	check("attach", bus_attach(bus, &mine), 0, 0, 0);
	q = open_queue(mine);
	if (m->i < N_WRITERS) {
		write_messages(m, q, n);
		bus_queue_loan(q, 20, &msg, 0);
		bus_queue_loan(q, 2000, &msg, 0);
	} else {
		read_messages(m, q, n);
		bus_queue_peek(q, &msg, 0);
		bus_queue_peek(q, &msg, 0);
	}
	bus_close(mine);
	st_rel(&m->gone, 1);
	return NULL;
}

static void bear(struct mortal *m, uint32_t i, bool thread)
{
	uint64_t rng = rnd(&seed);

	m->i = i;
	m->rng = rng ? rng : 1;
	m->thread = thread;
	m->alive = true;
	st_rel(&m->gone, 0);
	st_rel(&m->stage, ELSEWHERE);
	if (thread)
		T_CHECK(!pthread_create(&m->tid, NULL, mortal_thread, m));
	else
		m->pid = t_fork(mortal_process, m);
}

static void kill_mortal(struct mortal *m)
{
	int status;

	kill(m->pid, SIGKILL);
	T_CHECK(waitpid(m->pid, &status, 0) == m->pid);
	/* perhaps it had just ended by itself, and then in peace */
	T_CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	m->alive = false;
	look_where(m);
}

/* Did it end by itself? */
static bool has_ended(struct mortal *m)
{
	int status;

	if (!m->alive)
		return true;
	if (m->thread) {
		if (!ld_acq(&m->gone))
			return false;
		pthread_join(m->tid, NULL);
	} else {
		if (waitpid(m->pid, &status, WNOHANG) != m->pid)
			return false;
		T_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	m->alive = false;
	return true;
}

/* Queue ------------------------------------------------------------------- */

static void make_bus(uint32_t max_endpoints)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.max_endpoints = max_endpoints;
	c.channel_bytes = 1 << 18;
	c.max_message_bytes = MESSAGE;
	c.blob_bytes = 1 << 17;
	check("create", bus_create(NULL, &c, &bus), 0, 0, 0);
	T_CHECK(sh->next_id == 0);
}

static void new_ledger(void)
{
	if (sh)
		munmap(sh, sizeof(*sh));
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	T_CHECK(sh != MAP_FAILED);
}

static void nap(uint64_t ns)
{
	struct timespec t = sb_timespec(ns);

	nanosleep(&t, NULL);
}

/*
 * On a machine that is busy the new-born would be killed before they have done
 * anything: wait for some @progress since the last kill, but not for ever.
 */
static bool may_kill(uint64_t progress)
{
	static uint64_t last_progress, last_ns;
	uint64_t now = sb_now_ns();

	if (progress == last_progress && now - last_ns < 50 * SB_NS_PER_MS)
		return false;
	last_progress = progress;
	last_ns = now;
	return true;
}

/* Kill and bear until @end_ns. */
static void rage(bool thread, uint64_t end_ns, uint32_t first)
{
	while (sb_now_ns() < end_ns) {
		struct mortal *m =
			&sh->mortal[first + rnd(&seed) % (N_MORTALS - first)];

		nap(rnd(&seed) % (2 * PERIOD_NS));
		if (!thread && m->alive && may_kill(ld_acq(&sh->next_id)))
			kill_mortal(m);
		for (uint32_t i = first; i < N_MORTALS; i++)
			if (has_ended(&sh->mortal[i]))
				bear(&sh->mortal[i], i, thread);
		/* otherwise those who live find out by themselves */
		if (rnd(&seed) % 4 == 0)
			bus_reap(bus);
	}
}

static void wait_for_end(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		while (!has_ended(&sh->mortal[i]))
			nap(SB_NS_PER_MS);
}

static int check_entry(uint32_t id)
{
	const struct entry *e = &sh->entry[id];
	uint32_t put = ld_rlx(&e->put), seen = ld_rlx(&e->seen);
	uint32_t least = put && !ld_rlx(&e->maybe);
	uint32_t most = ld_rlx(&e->refused) ? 0 : 1u + ld_rlx(&e->again);

	if (seen >= least && seen <= most)
		return 0;
	fprintf(stderr,
		"message %u: put %u, refused %u, seen %u, again %u, maybe %u\n",
		id, put, ld_rlx(&e->refused), seen, ld_rlx(&e->again),
		ld_rlx(&e->maybe));
	return 1;
}

static void check_empty(struct bus_queue *q)
{
	struct bus_queue_stats qs = BUS_QUEUE_STATS_INIT;
	struct bus_stats s = BUS_STATS_INIT;

	while (bus_reap(bus) > 0)
		;
	check("queue_stats", bus_queue_stats(q, &qs), 0, 0, 0);
	check("stats", bus_stats(bus, &s), 0, 0, 0);
	T_CHECK(qs.n_waiting == 0);
	T_CHECK(s.blob_bytes_used == 0);
	T_CHECK(s.n_endpoints == 1);
	T_CHECK(s.n_rejected == 0);
}

static void stress_queue(bool thread, uint32_t n_slots)
{
	struct bus_queue_config qc = BUS_QUEUE_CONFIG_INIT;
	uint64_t end = sb_now_ns() + (uint64_t)(seconds / 2 * 1e9);
	struct bus_stats s = BUS_STATS_INIT;
	uint32_t n, bad = 0, n_seen = 0;
	struct bus_queue *q;

	new_ledger();
	make_bus(n_slots > 64 ? 60 : 16);
	st_rel(&sh->next_id, 1);
	qc.n_slots = n_slots;
	qc.slot_bytes = 56;
	check("make", bus_queue_open(bus, "q", &qc, &q), 0, 0, 0);
	for (uint32_t i = 0; i < N_MORTALS; i++)
		bear(&sh->mortal[i], i, thread);
	rage(thread, end, 0);
	st_rel(&sh->stop, 1);
	/* Readers are killed a while longer, while the writers come to an end
	 * and the queue is drained. */
	rage(thread, sb_now_ns() + 50 * SB_NS_PER_MS, N_WRITERS);
	wait_for_end(0, N_WRITERS);
	check("close", bus_queue_close(q), 0, 0, 0);
	wait_for_end(N_WRITERS, N_MORTALS);
	/* What the last of the readers may have left. */
	sh->mortal[N_WRITERS].i = N_WRITERS;
	while (!get_one(&sh->mortal[N_WRITERS], q))
		;
	check_empty(q);
	n = ld_acq(&sh->next_id);
	for (uint32_t id = 1; id < n && id < N_IDS; id++) {
		bad += (uint32_t)check_entry(id);
		n_seen += ld_rlx(&sh->entry[id].seen);
	}
	bus_stats(bus, &s);
	printf("%s: %u slots, %u messages, %u delivered, %" PRIu64
	       " deaths, %" PRIu64 " redelivered\n",
	       thread ? "threads" : "queue", n_slots, n - 1, n_seen, s.n_deaths,
	       s.n_redelivered);
	T_CHECK(bad == 0);
	T_CHECK(n_seen > 0);
	bus_close(bus);
}

/* Join -------------------------------------------------------------------- */

static int work(void *arg)
{
	struct mortal *m = arg;
	struct bus_queue *q = open_queue(bus);
	uint32_t n_tasks = 0;
	uint64_t id;
	size_t len;
	int ret;

	for (;;) {
		ret = bus_queue_get(q, m->buf, MESSAGE, &len, -1);
		if (ret == -EPIPE)
			return 0;
		check("get", ret, 0, 0, 0);
		id = read_message(m->buf, len, len);
		st_rel(&sh->entry[id].seen, 1); /* the work; it may be twice */
		if (++n_tasks % 4)
			continue;
		/* several at a time */
		for (; n_tasks; n_tasks--)
			check("done", bus_queue_task_done(q), 0, 0, 0);
	}
}

static int work_one(void *arg)
{
	struct mortal *m = arg;
	struct bus_queue *q = open_queue(bus);
	uint64_t id;
	size_t len;
	int ret;

	while (!(ret = bus_queue_get(q, m->buf, MESSAGE, &len, -1))) {
		id = read_message(m->buf, len, len);
		st_rel(&sh->entry[id].seen, 1);
		check("done", bus_queue_task_done(q), 0, 0, 0);
	}
	check("get", ret, -EPIPE, -EPIPE, -EPIPE);
	return 0;
}

/* The joiner is a process of its own, so that it can block while we kill. */
static int put_and_join(void *arg)
{
	uint64_t end = *(uint64_t *)arg;
	struct bus_queue *q = open_queue(bus);
	unsigned char buf[MESSAGE];
	uint64_t id = 1;

	while (sb_now_ns() < end && id + 200 < N_IDS) {
		uint64_t first = id;

		for (uint64_t n = first % 199; n; n--, id++) {
			write_message(buf, id, length_of(id));
			check("put", bus_queue_put(q, buf, length_of(id), -1),
			      0, 0, 0);
		}
		check("join", bus_queue_join(q, -1), 0, 0, 0);
		for (; first < id; first++)
			T_CHECK(ld_acq(&sh->entry[first].seen));
		id++;
	}
	st_rel(&sh->next_id, (uint32_t)id);
	check("close", bus_queue_close(q), 0, 0, 0);
	return 0;
}

static void stress_join(void)
{
	uint64_t end = sb_now_ns() + (uint64_t)(seconds * 1e9);
	struct bus_queue_config qc = BUS_QUEUE_CONFIG_INIT;
	struct bus_stats s = BUS_STATS_INIT;
	struct mortal *m = sh->mortal;
	uint32_t n_kills = 0;
	struct bus_queue *q;
	pid_t joiner;
	int status;

	new_ledger();
	m = sh->mortal;
	make_bus(60);
	qc.n_slots = 64;
	qc.flags = BUS_QUEUE_JOINABLE;
	check("make", bus_queue_open(bus, "q", &qc, &q), 0, 0, 0);
	joiner = t_fork(put_and_join, &end);
	/* The last one does a task at a time, so that not all tasks can be in
	 * the hands of those who wait for more; it is not killed for long. */
	for (uint32_t i = 0; i < N_READERS; i++)
		m[i].pid = t_fork(i ? work_one : work, &m[i]);
	while (waitpid(joiner, &status, WNOHANG) == 0) {
		uint32_t i = (uint32_t)rnd(&seed) % N_READERS;

		nap(rnd(&seed) % (2 * PERIOD_NS));
		t_kill(m[i].pid);
		n_kills++;
		if (rnd(&seed) % 4 == 0)
			bus_reap(bus);
		m[i].pid = t_fork(i ? work_one : work, &m[i]);
	}
	T_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (uint32_t i = 0; i < N_READERS; i++)
		T_CHECK(t_wait(m[i].pid) == 0);
	check_empty(q);
	check("join", bus_queue_join(q, 0), 0, 0, 0);
	bus_stats(bus, &s);
	printf("join: %u messages, %u kills, %" PRIu64 " redelivered\n",
	       ld_acq(&sh->next_id), n_kills, s.n_redelivered);
	bus_close(bus);
}

/* Coordinator ------------------------------------------------------------- */

/* Large and small, both ways; now and then an error. */
static int answer(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	uint64_t id = read_message(req, len, len);
	unsigned char *to;

	(void)ctx;
	/* long enough to be killed at it */
	for (uint64_t k = id % 4 ? 0 : id % 10000; k; k--)
		sb_relax();
	if (id % 97 == 0) {
		bus_reply_error(r, "no %" PRIu64, id);
		return (int)id;
	}
	to = bus_reply_room(r, length_of(id + 1));
	T_CHECK(to);
	write_message(to, id, length_of(id + 1));
	return 0;
}

static void check_result(const struct bus_result *r)
{
	char text[40];

	T_CHECK(r->id > 0 && r->id < N_IDS);
	T_CHECK(add_acqrel(&sh->entry[r->id].seen, 1) == 0);
	if (r->id % 97 == 0) {
		snprintf(text, sizeof(text), "no %" PRIu64, r->id);
		T_CHECK(r->kind == BUS_RESULT_ERROR);
		T_CHECK(r->code == (int)r->id);
		/* the text needs a cell, and may be lost */
		T_CHECK(!r->len_bytes || !strcmp(r->data, text));
		return;
	}
	T_CHECK(r->kind == BUS_RESULT_OK);
	T_CHECK(read_message(r->data, r->len_bytes, length_of(r->id + 1)) ==
		r->id);
}

static void kill_a_worker(struct bus_coord *co)
{
	pid_t pids[4];
	int n = bus_coord_workers(co, pids, 4);

	/* our children, not reaped: the pids are nobody else's */
	if (n > 0)
		kill(pids[rnd(&seed) % (uint64_t)n], SIGKILL);
}

static void stress_coord(void)
{
	uint64_t end = sb_now_ns() + (uint64_t)(seconds * 1e9), next_kill = 0;
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_stats s = BUS_STATS_INIT;
	unsigned char buf[MESSAGE];
	uint64_t n_kills = 0, n_attempts = 0, n_results = 0;
	struct bus_result r;
	struct bus_coord *co;
	uint64_t id = 1;
	int ret = 0;

	new_ledger();
	make_bus(40);
	c.handler = answer;
	c.n_workers = 4;
	c.window = 32;
	c.request_bytes = 48;
	c.result_bytes = MESSAGE;
	c.max_attempts = 60;
	check("start", bus_coord_start(bus, "c", &c, &co), 0, 0, 0);
	for (;;) {
		uint64_t now = sb_now_ns();
		bool more = now < end && id < N_IDS - 1;

		if (now > next_kill && may_kill(n_results)) {
			next_kill = now + rnd(&seed) % (2 * PERIOD_NS);
			kill_a_worker(co);
			n_kills++;
		}
		if (more && rnd(&seed) % 2) {
			write_message(buf, id, length_of(id));
			ret = bus_submit(co, id, buf, length_of(id),
					 rnd(&seed) % 2 ? 0 : PATIENCE);
			check("submit", ret, 0, -EAGAIN, -ETIMEDOUT);
			id += ret == 0;
		} else {
			ret = rnd(&seed) % 2
				      ? bus_collect(co, &r, PERIOD_NS)
				      : bus_collect_any(co, &r, PERIOD_NS);
			check("collect", ret, 0, -ETIMEDOUT, -ENODATA);
			if (!ret) {
				n_attempts += r.attempts;
				n_results++;
				check_result(&r);
			}
			if (!more && ret == -ENODATA)
				break;
		}
	}
	for (uint64_t i = 1; i < id; i++)
		T_CHECK(ld_acq(&sh->entry[i].seen) == 1);
	T_CHECK(bus_coord_outstanding(co) == 0);
	check("stop", bus_coord_stop(co, -1), 0, 0, 0);
	bus_stats(bus, &s);
	T_CHECK(s.blob_bytes_used == 0);
	T_CHECK(s.n_endpoints == 1);
	T_CHECK(s.n_quarantined == 0);
	printf("coord: %" PRIu64 " requests, %" PRIu64 " kills, %" PRIu64
	       " run again\n",
	       id - 1, n_kills, n_attempts);
	bus_close(bus);
}

/* ---------------------------------------------------- requests in batches -- */

#define RUN_MAX 24u

struct small {
	uint64_t id, not_id;
};

static int answer_small(void *ctx, const void *req, size_t len,
			struct bus_reply *r)
{
	struct small m = { 0, 0 };

	(void)ctx;
	T_CHECK(len == sizeof(m));
	memcpy(&m, req, sizeof(m));
	T_CHECK(m.not_id == ~m.id);
	if (m.id % 97 == 0) {
		bus_reply_error(r, "no");
		return 7;
	}
	m.id = m.id * 3 + 1;
	return bus_reply_put(r, &m.id, sizeof(m.id));
}

static void check_small(const struct bus_result *r)
{
	uint64_t product;

	T_CHECK(r->id > 0 && r->id < N_IDS);
	T_CHECK(add_acqrel(&sh->entry[r->id].seen, 1) == 0);
	if (r->id % 97 == 0) {
		T_CHECK(r->kind == BUS_RESULT_ERROR && r->code == 7);
		return;
	}
	T_CHECK(r->kind == BUS_RESULT_OK && r->len_bytes == sizeof(product));
	memcpy(&product, r->data, sizeof(product));
	T_CHECK(product == r->id * 3 + 1);
}

/* Returns how many went. */
static uint64_t submit_batch(struct bus_coord *co, uint64_t id)
{
	struct small reqs[RUN_MAX];
	uint64_t ids[RUN_MAX];
	uint32_t n = 1 + (uint32_t)(rnd(&seed) % RUN_MAX);
	int ret;

	for (uint32_t i = 0; i < n; i++) {
		ids[i] = id + i;
		reqs[i] = (struct small){ ids[i], ~ids[i] };
	}
	if (rnd(&seed) % 8 == 0) {
		ret = bus_submit(co, id, reqs, sizeof(reqs[0]), 0);
		ret = ret ? ret : 1;
	} else {
		ret = bus_submit_many(co, ids, reqs, sizeof(reqs[0]), n,
				      rnd(&seed) % 2 ? 0 : PATIENCE);
	}
	if (ret < 0)
		check("submit many", ret, 0, -EAGAIN, -ETIMEDOUT);
	return ret < 0 ? 0 : (uint64_t)ret;
}

/* Returns how many there were; *@n_attempts: deaths that they were blamed for.
 */
static int collect_batch(struct bus_coord *co, uint64_t *n_attempts)
{
	struct bus_result r[RUN_MAX];
	uint64_t how = rnd(&seed) % 8;
	int ret;

	if (how == 0)
		ret = bus_collect_any(co, r, PERIOD_NS);
	else if (how < 4)
		ret = bus_collect_many(co, r, RUN_MAX, PERIOD_NS);
	else
		ret = bus_collect_many_any(co, r, RUN_MAX, PERIOD_NS);
	if (how == 0 && !ret)
		ret = 1;
	if (ret < 0)
		check("collect many", ret, 0, -ETIMEDOUT, -ENODATA);
	for (int i = 0; i < ret; i++) {
		*n_attempts += r[i].attempts;
		check_small(&r[i]);
	}
	return ret;
}

static void stress_many(void)
{
	uint64_t end = sb_now_ns() + (uint64_t)(seconds * 1e9), next_kill = 0;
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	uint64_t n_kills = 0, n_attempts = 0, n_results = 0, id = 1;
	struct bus_coord *co;
	int ret = 0;

	new_ledger();
	make_bus(40);
	c.handler = answer_small;
	c.n_workers = 4;
	c.window = 64;
	c.prefetch = 2 + rnd(&seed) % 30;
	c.max_attempts = 60;
	check("start", bus_coord_start(bus, "m", &c, &co), 0, 0, 0);
	while (ret != -ENODATA) {
		uint64_t now = sb_now_ns();

		if (now > next_kill && may_kill(n_results)) {
			next_kill = now + rnd(&seed) % (2 * PERIOD_NS);
			kill_a_worker(co);
			n_kills++;
		}
		if (now < end && id < N_IDS - RUN_MAX)
			id += submit_batch(co, id);
		ret = rnd(&seed) % 2 || now >= end
			      ? collect_batch(co, &n_attempts)
			      : 0;
		n_results += ret > 0 ? (uint64_t)ret : 0;
		if (now < end)
			ret = 0;
	}
	for (uint64_t i = 1; i < id; i++)
		T_CHECK(ld_acq(&sh->entry[i].seen) == 1);
	T_CHECK(n_attempts <= n_kills);
	check("stop", bus_coord_stop(co, -1), 0, 0, 0);
	printf("many: %" PRIu64 " requests, prefetch %u, %" PRIu64
	       " kills, %" PRIu64 " blamed\n",
	       id - 1, (unsigned int)c.prefetch, n_kills, n_attempts);
	bus_close(bus);
}

int main(int argc, char **argv)
{
#ifdef SB_TSAN
	bool threads = true, processes = false;
#else
	bool threads = true, processes = true;
#endif

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--threads")) {
			processes = false;
		} else if (!strcmp(argv[i], "--processes")) {
			threads = false;
			processes = true;
		} else if (!strncmp(argv[i], "--seconds=", 10)) {
			seconds = atof(argv[i] + 10);
		} else if (!strncmp(argv[i], "--seed=", 7)) {
			seed = strtoull(argv[i] + 7, NULL, 0);
		} else {
			fprintf(stderr,
				"usage: %s [--threads|--processes] "
				"[--seconds=S] [--seed=N]\n",
				argv[0]);
			return 2;
		}
	}
	seed = seed * 88172645463325252u | 1;
	t_hang_after(HANG_S + (unsigned int)(4 * seconds));
	if (threads) {
		stress_queue(true, 4);
		stress_queue(true, 256);
	}
	if (processes) {
		stress_queue(false, 4);
		stress_queue(false, 256);
		stress_join();
		stress_coord();
		stress_many();
	}
	return 0;
}
