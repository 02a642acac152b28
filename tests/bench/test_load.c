/*
 * test_load.c - the loads of bench/ see what a broken transport does
 *
 * A benchmark that checks its messages is only as good as that check: here a
 * pipe is made to lose, repeat, swap and change messages, or to stop; and a
 * pool without workers, and workers that are killed, commit the same faults.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/message.h"
#include "bench/tick.h"

/* transport.c knows all rivals; only the names are needed here. */
const char *const load_names[LOAD_N] = { "rtt",  "stream",  "duplex",
					 "mpmc", "farm",    "pool",
					 "wake", "recover", "idle" };
const char *const method_names[METHOD_N] = {
	"apply", "submit", "map", "imap", "imap_unordered", "farm"
};

enum fault { NONE, LOSE, REPEAT, SWAP, CHANGE, FAIL, DIE };

static enum fault fault;

#define FAULTY_SEQ     1000 /* which message */
#define MAX_BYTES_HERE 64

struct lane {
	int fd[2];
	int back[2]; /* duplex: the other direction */
	unsigned n;
	unsigned char kept[MAX_BYTES_HERE]; /* SWAP */
};

static int pipe_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	struct lane *made = calloc(1, sizeof(*made));

	(void)spec;
	if (!made || pipe(made->fd) != 0)
		return outcome_set(out, OUTCOME_FAILED, "pipe");
	*lane = made;
	return 0;
}

static void pipe_close(struct lane *lane)
{
	close(lane->fd[0]);
	close(lane->fd[1]);
	free(lane);
}

static int send_one(struct lane *lane, const void *msg, size_t bytes)
{
	return write(lane->fd[1], msg, bytes) == (ssize_t)bytes ? 1 : -EIO;
}

static int faulty_put(struct lane *lane, const void *msg, size_t bytes,
		      size_t n, bool wait)
{
	unsigned char changed[MAX_BYTES_HERE];

	(void)n;
	(void)wait;
	lane->n++;
	if (lane->n == FAULTY_SEQ + 1 && fault == SWAP) {
		send_one(lane, msg, bytes);
		return send_one(lane, lane->kept, bytes);
	}
	if (lane->n != FAULTY_SEQ)
		return send_one(lane, msg, bytes);
	switch (fault) {
	case LOSE:
		return 1;
	case REPEAT:
		send_one(lane, msg, bytes);
		return send_one(lane, msg, bytes);
	case SWAP:
		memcpy(lane->kept, msg, bytes);
		return 1;
	case CHANGE:
		memcpy(changed, msg, bytes);
		changed[bytes - 1] ^= 0x10;
		return send_one(lane, changed, bytes);
	case FAIL:
		return -ENOLINK;
	case DIE:
		abort();
	default:
		return send_one(lane, msg, bytes);
	}
}

static int pipe_get(struct lane *lane, void *msg, size_t bytes, size_t n,
		    bool wait)
{
	(void)n;
	if (!wait)
		return -EAGAIN;
	return read(lane->fd[0], msg, bytes) == (ssize_t)bytes ? 1 : -EIO;
}

static int duplex_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	if (pipe_open(spec, lane, out) != 0)
		return -1;
	if (pipe((*lane)->back) != 0)
		return outcome_set(out, OUTCOME_FAILED, "pipe");
	return 0;
}

static void duplex_close(struct lane *lane)
{
	close(lane->back[0]);
	close(lane->back[1]);
	pipe_close(lane);
}

/* Side 0 is the one that commits the fault. */
static int duplex_side(struct lane *lane, unsigned side)
{
	int in = side == 0 ? lane->back[0] : lane->fd[0];
	int out = side == 0 ? lane->fd[1] : lane->back[1];

	lane->fd[0] = in;
	lane->fd[1] = out;
	if (side == 1)
		lane->n = FAULTY_SEQ + 1;
	return 0;
}

/* One each way, so that the pipes are never full. */
static int duplex_turn(struct lane *lane, struct source *source,
		       struct sink *sink, size_t n)
{
	int ret = 0;

	(void)n;
	if (!source->ended) {
		chunk_fill(source, source->bytes);
		ret = faulty_put(lane, source->buf, source->bytes, 1, true);
		chunk_sent(source);
	}
	if (ret >= 0 && !sink->ended) {
		ret = pipe_get(lane, sink->buf, sink->bytes, 1, true);
		chunk_got(sink, sink->bytes);
	}
	return ret < 0 ? ret : 0;
}

static const struct duplex_ops faulty_duplex = {
	.open = duplex_open,
	.close = duplex_close,
	.side = duplex_side,
	.turn = duplex_turn,
};

static const struct transport faulty = {
	.name = "faulty",
	.loads = LOAD_ALL,
	.waits = "block",
	.open = pipe_open,
	.close = pipe_close,
	.put = faulty_put,
	.get = pipe_get,
	.duplex = &faulty_duplex,
};

static struct spec spec;
static struct outcome out;

static void setup(void)
{
	cpus_init();
	tick_init();
	spec = (struct spec){ .load = LOAD_STREAM,
			      .bytes = 20,
			      .producers = 1,
			      .consumers = 1,
			      .batch = 1,
			      .inflight = 16,
			      .warm_seconds = 0.0125,
			      .seconds = 0.05 };
	fault = NONE;
}

TestSuite(load, .init = setup, .timeout = 200.0);

/* A round counts what comes after its warm-up.  On a machine under load there
 * may be no time left for more than @messages: then take another. */
static void run_past(const struct transport *transport, uint64_t messages)
{
	for (int i = 0; i < 100; i++) {
		load_run(transport, &spec, &out);
		if (out.status != OUTCOME_OK || out.messages > messages)
			break;
	}
}

static void run_counted(const struct transport *transport)
{
	run_past(transport, 0);
}

Test(load, a_sound_stream_is_clean)
{
	run_counted(&faulty);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
	cr_assert_gt(out.messages, 0);
	cr_assert_gt(out.seconds, 0);
	cr_assert_gt(out.cpu_ns, 0);
}

/* At a rate: of a stream, a call and a farm. */
Test(load, an_open_loop_is_clean_and_sends_no_more_than_it_should)
{
	static const enum load loads[] = { LOAD_STREAM, LOAD_RTT, LOAD_FARM };

	spec.rate = 2000;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t begin = now_ns();
		double most;

		spec.load = loads[i];
		spec.workers = loads[i] != LOAD_STREAM;
		run_counted(&faulty);
		most = spec.rate * (double)(now_ns() - begin) / 1e9;
		cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
		cr_assert(outcome_is_clean(&out));
		cr_assert(out.open_loop);
		cr_assert_geq(out.sent_per_s, 0);
		cr_assert_leq(out.messages, most + 1, "%lu",
			      (unsigned long)out.messages);
	}
}

Test(load, many_to_many_is_clean)
{
	spec.load = LOAD_MPMC;
	spec.producers = 3;
	spec.consumers = 5;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
}

Test(load, sees_a_lost_message)
{
	fault = LOSE;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert_eq(out.lost, 1);
	cr_assert_eq(out.dup, 0);
}

Test(load, sees_a_message_that_comes_twice)
{
	fault = REPEAT;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.dup, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, sees_messages_out_of_order)
{
	fault = SWAP;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.disorder, 1);
	cr_assert_eq(out.lost, 0);
	cr_assert_eq(out.dup, 0);
}

Test(load, sees_one_changed_bit_in_the_last_byte)
{
	fault = CHANGE;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.wrong, 1);
}

Test(load, says_why_a_process_failed)
{
	fault = FAIL;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_FAILED);
	cr_assert(strstr(out.why, "producer 0: put: "), "%s", out.why);
}

Test(load, says_which_process_was_killed)
{
	fault = DIE;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_FAILED);
	cr_assert(strstr(out.why, "producer 0 was killed by signal"), "%s",
		  out.why);
}

Test(load, kills_what_hangs)
{
	fault = LOSE; /* an answer that never comes */
	spec.load = LOAD_RTT;
	spec.workers = 1;
	spec.inflight = 1;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_HUNG);
	cr_assert(strstr(out.why, "did not end within"), "%s", out.why);
}

Test(load, a_sound_farm_is_clean_and_measured)
{
	spec.load = LOAD_FARM;
	spec.workers = 3;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
	cr_assert(out.has_ns);
	cr_assert_gt(out.ns.p50, 0);
}

/* The repeated request gives a second answer, which is not outstanding. */
Test(load, a_farm_sees_an_answer_that_comes_twice)
{
	spec.load = LOAD_FARM;
	spec.workers = 1;
	fault = REPEAT;
	load_run(&faulty, &spec, &out);
	cr_assert_geq(out.dup, 1, "%s", out.why);
}

static void run_duplex(enum fault with)
{
	fault = with;
	spec.load = LOAD_DUPLEX;
	run_counted(&faulty);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
}

Test(load, a_sound_duplex_is_clean_and_counts_both_directions)
{
	run_duplex(NONE);
	cr_assert(outcome_is_clean(&out));
	cr_assert_gt(out.messages, 0);
	cr_assert_gt(out.seconds, 0);
	cr_assert_gt(out.cpu_ns, 0);
}

Test(load, duplex_sees_a_lost_message)
{
	run_duplex(LOSE);
	cr_assert_eq(out.lost, 1);
	cr_assert_eq(out.dup, 0);
}

Test(load, duplex_sees_a_message_that_comes_twice)
{
	run_duplex(REPEAT);
	cr_assert_eq(out.dup, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, duplex_sees_messages_out_of_order)
{
	run_duplex(SWAP);
	cr_assert_eq(out.disorder, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, duplex_sees_one_changed_bit)
{
	run_duplex(CHANGE);
	cr_assert_eq(out.wrong, 1);
}

/* The ring that is the yardstick has to be right, or it measures nothing. */
static void run_ring(const struct transport *ring, enum load load, size_t bytes,
		     bool loan)
{
	spec.load = load;
	spec.bytes = bytes;
	spec.loan = loan;
	spec.variant = ring->variant;
	spec.pipe_bytes = 1 << 16;
	run_counted(ring);
	cr_assert_eq(out.status, OUTCOME_OK, "%zu: %s", bytes, out.why);
	cr_assert(outcome_is_clean(&out), "%zu", bytes);
	cr_assert_gt(out.messages, 0);
}

Test(load, the_spsc_ring_is_clean_in_every_way)
{
	static const size_t sizes[] = { 8, 20, 64, 1000, 1 << 20 };

	spec.seconds = 0.01;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		run_ring(&rival_spsc, LOAD_STREAM, sizes[i], false);
		run_ring(&rival_spsc, LOAD_STREAM, sizes[i], true);
		run_ring(&rival_spsc, LOAD_DUPLEX, sizes[i], false);
		run_ring(&rival_spsc_mem, LOAD_STREAM, sizes[i], false);
		run_ring(&rival_spsc_mem_call, LOAD_STREAM, sizes[i], false);
		run_ring(&rival_spsc_mem, LOAD_DUPLEX, sizes[i], false);
	}
	spec.batch = 32;
	run_ring(&rival_spsc, LOAD_STREAM, 8, false);
}

Test(load, what_a_transport_cannot_do_is_absent)
{
	struct transport less = faulty;

	less.loads = LOAD_BIT(LOAD_RTT);
	load_run(&less, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_ABSENT);
}

/* mpmc with readers that may be killed: the book that they keep ------------ */

static unsigned char leased[MAX_BYTES_HERE];

static int lease_take(struct lane *lane, size_t bytes, const void **msg,
		      unsigned *attempts)
{
	uint64_t key;
	int ret = pipe_get(lane, leased, bytes, 1, true);

	if (ret < 0)
		return ret;
	memcpy(&key, leased, sizeof(key));
	*msg = leased;
	*attempts = 0;
	return key == MSG_END ? -EPIPE : 0;
}

static int lease_release(struct lane *lane)
{
	(void)lane;
	return 0;
}

static int lease_close(struct lane *lane)
{
	unsigned char end[MAX_BYTES_HERE];

	msg_fill(end, spec.bytes, MSG_END);
	return send_one(lane, end, spec.bytes) < 0 ? -EIO : 0;
}

static const struct lease_ops faulty_lease = {
	.take = lease_take,
	.release = lease_release,
	.close = lease_close,
};

/* Nobody is killed meanwhile: what is looked at is the book. */
static void run_mortal(enum fault with)
{
	struct transport mortal = faulty;

	mortal.ours = true;
	mortal.lease = &faulty_lease;
	fault = with;
	spec.load = LOAD_MPMC;
	spec.kills_per_s = 0.0001;
	run_past(&mortal, FAULTY_SEQ);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert_eq(out.deaths, 0);
}

Test(load, the_book_of_a_sound_queue_is_clean)
{
	run_mortal(NONE);
	cr_assert(outcome_is_clean(&out));
	cr_assert_gt(out.messages, FAULTY_SEQ);
}

Test(load, the_book_misses_a_lost_message)
{
	run_mortal(LOSE);
	cr_assert_eq(out.lost, 1);
	cr_assert_eq(out.dup, 0);
}

Test(load, the_book_has_one_that_came_twice)
{
	run_mortal(REPEAT);
	cr_assert_eq(out.dup, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, the_book_has_no_message_that_was_changed)
{
	run_mortal(CHANGE);
	cr_assert_eq(out.wrong, 1);
	cr_assert_eq(out.lost, 1);
}

Test(load, who_cannot_lease_is_not_killed)
{
	spec.load = LOAD_MPMC;
	spec.kills_per_s = 10;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_ABSENT);
}

/* An end of a pipe has no other to take its place. */
Test(load, who_is_not_replaced_is_not_killed)
{
	struct transport mine = faulty;

	mine.ours = true;
	spec.load = LOAD_RTT;
	spec.kills_per_s = 10;
	load_run(&mine, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_ABSENT);
	cr_assert(strstr(out.why, "takes the place"), "%s", out.why);
}

/* pool: one that multiplies at once ---------------------------------------- */

struct tasks {
	uint64_t n;     /* handed over, or given back by next() */
	uint64_t n_run; /* multiplied */
	task_source source;
	void *ctx;
	uint64_t n_pulled;
	bool again; /* next() has one to give a second time, or late */
	uint64_t kept_idx, kept_product;
};

static int tasks_open(const struct spec *asked, struct tasks **tasks,
		      struct outcome *result)
{
	(void)asked;
	(void)result;
	*tasks = calloc(1, sizeof(**tasks));
	return 0;
}

static void tasks_close(struct tasks *tasks)
{
	free(tasks);
}

static int tasks_start(struct tasks *tasks)
{
	(void)tasks;
	return 0;
}

static int tasks_stop(struct tasks *tasks, uint64_t *n_run)
{
	*n_run = tasks->n_run;
	return 0;
}

/* LOSE: it says that it was done, but nobody did it.  REPEAT: twice. */
static int tasks_apply(struct tasks *tasks, const struct operands *item,
		       uint64_t *product)
{
	bool here = ++tasks->n == FAULTY_SEQ;

	*product = item->a * item->b;
	tasks->n_run++;
	if (!here)
		return 0;
	if (fault == CHANGE)
		*product ^= 1ull << 63;
	if (fault == REPEAT)
		tasks->n_run++;
	if (fault == LOSE)
		tasks->n_run--;
	return fault == FAIL ? -ENOLINK : 0;
}

static int tasks_submit(struct tasks *tasks, const struct operands *item,
			void **future)
{
	uint64_t *product = malloc(sizeof(*product));

	*future = product;
	return product ? tasks_apply(tasks, item, product) : -ENOMEM;
}

static int tasks_get(struct tasks *tasks, void *future, uint64_t *product)
{
	(void)tasks;
	*product = *(uint64_t *)future;
	free(future);
	return 0;
}

static int tasks_map(struct tasks *tasks, const struct operands *items,
		     uint64_t *products, size_t n, size_t chunk)
{
	(void)chunk;
	for (size_t i = 0; i < n; i++) {
		uint64_t product;
		int ret = tasks_apply(tasks, &items[i], &product);

		if (ret < 0)
			return ret;
		if (fault != LOSE || tasks->n != FAULTY_SEQ)
			products[i] = product;
	}
	return 0;
}

static int tasks_imap(struct tasks *tasks, bool ordered, size_t chunk,
		      task_source source, void *ctx)
{
	(void)ordered;
	(void)chunk;
	tasks->source = source;
	tasks->ctx = ctx;
	return 0;
}

static int tasks_pull(struct tasks *tasks, uint64_t *idx, uint64_t *product)
{
	struct operands item;

	if (!tasks->source(tasks->ctx, &item))
		return -ENODATA;
	*idx = tasks->n_pulled++;
	*product = item.a * item.b;
	tasks->n_run++;
	return 0;
}

static int tasks_next(struct tasks *tasks, uint64_t *idx, uint64_t *product)
{
	int ret;

	if (tasks->again) {
		tasks->again = false;
		*idx = tasks->kept_idx;
		*product = tasks->kept_product;
		return 0;
	}
	ret = tasks_pull(tasks, idx, product);
	if (ret < 0 || tasks->n_pulled != FAULTY_SEQ)
		return ret;
	tasks->kept_idx = *idx;
	tasks->kept_product = *product;
	tasks->again = fault == REPEAT || fault == SWAP;
	if (fault == CHANGE)
		*product ^= 1;
	if (fault == LOSE || fault == SWAP)
		ret = tasks_pull(tasks, idx, product);
	return fault == FAIL ? -ENOLINK : ret;
}

static const struct task_ops faulty_tasks = {
	.open = tasks_open,
	.close = tasks_close,
	.start = tasks_start,
	.stop = tasks_stop,
	.apply = tasks_apply,
	.submit = tasks_submit,
	.get = tasks_get,
	.map = tasks_map,
	.imap = tasks_imap,
	.next = tasks_next,
};

static const struct transport faulty_pool = {
	.name = "faulty",
	.loads = LOAD_POOLS,
	.waits = "block",
	.tasks = &faulty_tasks,
};

static void run_pool(enum method method, enum fault with)
{
	fault = with;
	spec.load = LOAD_POOL;
	spec.workers = 2;
	spec.method = method;
	spec.chunk = 1;
	spec.items = FAULTY_SEQ / 10 * 9; /* it is in the second map */
	spec.seconds = 0.02;
	run_past(&faulty_pool, FAULTY_SEQ);
}

static void assert_faults(enum method method, uint64_t lost, uint64_t dup,
			  uint64_t wrong)
{
	const char *name = method_names[method];

	cr_assert_eq(out.status, OUTCOME_OK, "%s: %s", name, out.why);
	cr_assert_eq(out.lost, lost, "%s", name);
	cr_assert_eq(out.dup, dup, "%s", name);
	cr_assert_eq(out.wrong, wrong, "%s", name);
}

Test(load, a_sound_pool_is_clean_in_every_way)
{
	for (enum method method = 0; method < METHOD_FARM; method++) {
		run_pool(method, NONE);
		assert_faults(method, 0, 0, 0);
		cr_assert_eq(out.disorder, 0);
		cr_assert_gt(out.messages, 0);
		cr_assert_gt(out.seconds, 0);
		cr_assert_eq(out.has_ns, method != METHOD_MAP);
		cr_assert(!out.has_ns || out.ns.max >= out.ns.p50);
	}
}

Test(load, pool_sees_a_wrong_product_in_every_way)
{
	for (enum method method = 0; method < METHOD_FARM; method++) {
		run_pool(method, CHANGE);
		assert_faults(method, 0, 0, 1);
	}
}

Test(load, pool_sees_a_task_that_ran_twice_or_gave_two_results)
{
	for (enum method method = 0; method < METHOD_FARM; method++) {
		run_pool(method, REPEAT);
		assert_faults(method, 0, 1, 0);
	}
}

/* In a map its product is missing as well. */
Test(load, pool_sees_a_task_that_did_not_run_or_gave_no_result)
{
	for (enum method method = 0; method < METHOD_FARM; method++) {
		run_pool(method, LOSE);
		assert_faults(method, 1, 0, method == METHOD_MAP);
	}
}

Test(load, only_an_ordered_imap_has_an_order)
{
	run_pool(METHOD_IMAP, SWAP);
	assert_faults(METHOD_IMAP, 0, 0, 0);
	cr_assert_eq(out.disorder, 1);
	run_pool(METHOD_IMAP_UNORDERED, SWAP);
	assert_faults(METHOD_IMAP_UNORDERED, 0, 0, 0);
	cr_assert_eq(out.disorder, 0);
}

Test(load, pool_says_which_call_failed)
{
	for (enum method method = 0; method < METHOD_FARM; method++) {
		char expected[40];

		snprintf(expected, sizeof(expected),
			 "owner 0: %s: ", method_names[method]);
		run_pool(method, FAIL);
		cr_assert_eq(out.status, OUTCOME_FAILED);
		cr_assert(strstr(out.why, expected), "%s", out.why);
	}
}

Test(load, the_yardstick_of_a_pool_is_a_farm)
{
	struct transport farm = faulty;

	farm.loads = LOAD_POOLS;
	spec.load = LOAD_POOL;
	spec.method = METHOD_FARM;
	spec.workers = 2;
	load_run(&farm, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
	cr_assert_gt(out.messages, 0);
}

/* recover: a worker for each request --------------------------------------- */

struct crash {
	crash_task task;
	void *ctx;
	int fd[2];
	pid_t pid;
	uint64_t id;
	unsigned n_killed;
};

static int crash_open(const struct spec *asked, crash_task task, void *ctx,
		      struct crash **crash, struct outcome *result)
{
	struct crash *made = calloc(1, sizeof(*made));

	(void)asked;
	if (!made || pipe(made->fd) != 0)
		return outcome_set(result, OUTCOME_FAILED, "pipe");
	made->task = task;
	made->ctx = ctx;
	*crash = made;
	return 0;
}

static void crash_close(struct crash *crash)
{
	close(crash->fd[0]);
	close(crash->fd[1]);
	free(crash);
}

static int crash_start(struct crash *crash)
{
	(void)crash;
	return 0;
}

static int crash_fork(struct crash *crash)
{
	uint64_t value;

	crash->pid = fork();
	if (crash->pid != 0)
		return crash->pid < 0 ? -errno : 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	value = crash->task(crash->ctx, crash->id);
	_exit(write(crash->fd[1], &value, sizeof(value)) != sizeof(value));
}

static int crash_submit(struct crash *crash, uint64_t id)
{
	crash->id = id;
	return crash_fork(crash);
}

/* Its worker has ended: returns 1 when it was killed. */
static int crash_wait(struct crash *crash)
{
	int status;

	if (waitpid(crash->pid, &status, 0) != crash->pid)
		return -errno;
	return WIFSIGNALED(status);
}

static int crash_run_again(struct crash *crash)
{
	int ret = crash_fork(crash);

	return ret < 0 ? ret : crash_wait(crash);
}

static int crash_result(struct crash *crash, uint64_t *id, uint64_t *value)
{
	int ret = crash_wait(crash);
	bool here = ret == 1 && ++crash->n_killed == 2;

	if (here && fault == LOSE)
		return -ENODATA;
	if (ret == 1)
		ret = crash_run_again(crash);
	if (ret == 0 && here && fault == REPEAT) {
		ret = crash_run_again(crash);
		if (read(crash->fd[0], value, sizeof(*value)) <= 0)
			return -EIO;
	}
	if (ret < 0)
		return ret;
	*id = crash->id;
	if (read(crash->fd[0], value, sizeof(*value)) != sizeof(*value))
		return -EIO;
	if (here && fault == CHANGE)
		*value ^= 1;
	return 0;
}

static const struct crash_ops faulty_crash = {
	.open = crash_open,
	.close = crash_close,
	.start = crash_start,
	.stop = crash_start,
	.submit = crash_submit,
	.result = crash_result,
};

static const struct transport faulty_workers = {
	.name = "faulty",
	.loads = LOAD_POOLS,
	.waits = "block",
	.crash = &faulty_crash,
};

/* At least the second kill has to fit. */
static void run_recover(enum fault with)
{
	fault = with;
	spec.load = LOAD_RECOVER;
	spec.workers = 1;
	spec.seconds = 0.1;
	for (int i = 0; i < 100; i++) {
		load_run(&faulty_workers, &spec, &out);
		if (out.status != OUTCOME_OK || out.messages > 1 || out.lost)
			break;
	}
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
}

Test(load, recover_measures_both_spans)
{
	run_recover(NONE);
	cr_assert(outcome_is_clean(&out), "%lu lost, %lu dup, %lu wrong",
		  (unsigned long)out.lost, (unsigned long)out.dup,
		  (unsigned long)out.wrong);
	cr_assert_gt(out.messages, 1);
	cr_assert(out.has_ns);
	cr_assert_gt(out.again_ns.min, 0);
	cr_assert_lt(out.again_ns.min, out.ns.min);
}

Test(load, recover_sees_a_request_that_is_lost)
{
	run_recover(LOSE);
	cr_assert_eq(out.lost, 1);
	cr_assert_eq(out.dup, 0);
}

Test(load, recover_sees_a_request_that_runs_once_more)
{
	run_recover(REPEAT);
	cr_assert_eq(out.dup, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, recover_sees_a_wrong_result)
{
	run_recover(CHANGE);
	cr_assert_eq(out.wrong, 1);
}
