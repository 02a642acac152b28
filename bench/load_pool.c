/*
 * load_pool.c - pool: tasks are handed to a pool of workers, in each way that
 * there is
 *
 * A task multiplies two numbers that are made from its number (those of a map
 * are the same each time), and each product is compared.  Exactly once means
 * here: there is one result for each task, which is counted by number where
 * results come with one, and the workers together have multiplied as many times
 * as there are tasks.
 *
 * apply	one task, and wait for its result
 * submit	up to inflight futures; the oldest BURST of them are waited for
 *		when there are as many
 * map		an array of items, again and again
 * imap		a source that ends when the time is over
 *
 * Latency is that of a sample, from the call that hands it over (or from the
 * pull of the source) to the call that has its result.  A map has none.
 *
 * The same load on bare requests, without a pool, is load_farm().
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/account.h"
#include "bench/calls.h"
#include "bench/chaos.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"
#include "bench/tick.h"

#define BURST        64
#define SAMPLE_EVERY 64
#define APPLY_EVERY  8 /* the same for one task at a time */
#define N_PULLED     (2 * MAX_INFLIGHT / SAMPLE_EVERY) /* times, of samples */

struct job {
	const struct task_ops *ops;
	struct tasks *tasks;
	const struct spec *spec;
};

/* The process whose pool it is. */
struct owner {
	struct seat *seat;
	const struct task_ops *ops;
	struct tasks *tasks;
	const struct spec *spec;
	uint64_t seq; /* tasks handed over */
};

static struct operands operands_of(uint64_t seq)
{
	return (struct operands){ call_a(seq), call_b(seq) };
}

/* Between two results: the warm-up may be over. */
static void look_up(struct owner *owner)
{
	if (seat_begins(owner->seat))
		owner->seat->tally->n_before = owner->seat->tally->n;
}

static void count(struct owner *owner, uint64_t seq, uint64_t product)
{
	look_up(owner);
	if (product != call_product(seq))
		owner->seat->tally->wrong++;
	owner->seat->tally->n++;
}

static void sample(struct owner *owner, uint64_t since)
{
	if (owner->seat->counts)
		hist_add(&owner->seat->floor->hist,
			 tick_span_ns(since, tick_now()));
}

/* apply -------------------------------------------------------------------- */

static int run_apply(struct owner *owner)
{
	while (!seat_stopped(owner->seat)) {
		uint64_t seq = owner->seq++, product = 0, since = 0;
		struct operands item = operands_of(seq);
		bool sampled = seq % APPLY_EVERY == 0;
		int ret;

		if (sampled)
			since = tick_now();
		ret = owner->ops->apply(owner->tasks, &item, &product);
		if (ret < 0)
			return ret;
		if (sampled)
			sample(owner, since);
		count(owner, seq, product);
	}
	return 0;
}

/* submit ------------------------------------------------------------------- */

/* Those outstanding, oldest first; a ring of as many as may be. */
struct outstanding {
	void *future;
	uint64_t since;
};

static int submit_one(struct owner *owner, struct outstanding *ring)
{
	struct outstanding *one = &ring[owner->seq % owner->spec->inflight];
	struct operands item = operands_of(owner->seq);
	int ret;

	if (owner->seq % SAMPLE_EVERY == 0)
		one->since = tick_now();
	ret = owner->ops->submit(owner->tasks, &item, &one->future);
	if (ret >= 0)
		owner->seq++;
	return ret;
}

static int get_oldest(struct owner *owner, struct outstanding *ring)
{
	uint64_t seq = owner->seat->tally->n, product = 0;
	struct outstanding *one = &ring[seq % owner->spec->inflight];
	int ret = owner->ops->get(owner->tasks, one->future, &product);

	if (ret < 0)
		return ret;
	if (seq % SAMPLE_EVERY == 0)
		sample(owner, one->since);
	count(owner, seq, product);
	return 0;
}

static int run_futures(struct owner *owner, struct outstanding *ring)
{
	const struct tally *tally = owner->seat->tally;
	bool stopped = false;

	while (!stopped || tally->n < owner->seq) {
		int ret = 0;

		stopped = stopped || seat_stopped(owner->seat);
		for (unsigned i = 0;
		     ret >= 0 && !stopped && i < BURST &&
		     owner->seq - tally->n < owner->spec->inflight;
		     i++)
			ret = submit_one(owner, ring);
		if (!stopped && owner->seq - tally->n < owner->spec->inflight &&
		    ret >= 0)
			continue;
		for (unsigned i = 0;
		     ret >= 0 && i < BURST && tally->n < owner->seq; i++)
			ret = get_oldest(owner, ring);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int run_submit(struct owner *owner)
{
	struct outstanding *ring = calloc(owner->spec->inflight, sizeof(*ring));
	int ret = -ENOMEM;

	if (ring)
		ret = run_futures(owner, ring);
	free(ring);
	return ret;
}

/* map ---------------------------------------------------------------------- */

struct table {
	size_t n;
	struct operands *items;
	uint64_t *expected;
	uint64_t *products;
};

static int table_open(struct table *table, size_t n)
{
	table->n = n;
	table->items = calloc(n, sizeof(*table->items));
	table->expected = calloc(n, sizeof(*table->expected));
	table->products = calloc(n, sizeof(*table->products));
	if (!table->items || !table->expected || !table->products)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		table->items[i] = operands_of(i);
		table->expected[i] = call_product(i);
	}
	return 0;
}

static void table_close(struct table *table)
{
	free(table->items);
	free(table->expected);
	free(table->products);
}

static int map_once(struct owner *owner, struct table *table)
{
	struct tally *tally = owner->seat->tally;
	size_t bytes = table->n * sizeof(*table->products);
	int ret;

	look_up(owner);
	memset(table->products, 0xff, bytes); /* no product is that */
	ret = owner->ops->map(owner->tasks, table->items, table->products,
			      table->n, owner->spec->chunk);
	if (ret < 0)
		return ret;
	owner->seq += table->n;
	tally->n += table->n;
	if (memcmp(table->products, table->expected, bytes) == 0)
		return 0;
	for (size_t i = 0; i < table->n; i++)
		if (table->products[i] != table->expected[i])
			tally->wrong++;
	return 0;
}

static int run_map(struct owner *owner)
{
	struct table table;
	int ret = table_open(&table, owner->spec->items);

	owner->seat->tally->begin_ns = now_ns();
	while (ret >= 0 && !seat_stopped(owner->seat))
		ret = map_once(owner, &table);
	table_close(&table);
	return ret;
}

/* imap --------------------------------------------------------------------- */

struct pull {
	struct owner *owner;
	uint64_t at[N_PULLED]; /* when, of the samples under way */
};

static uint64_t *pulled_at(struct pull *pull, uint64_t seq)
{
	return &pull->at[seq / SAMPLE_EVERY % N_PULLED];
}

static bool pull_next(void *ctx, struct operands *item)
{
	struct pull *pull = ctx;
	struct owner *owner = pull->owner;

	if (seat_stopped(owner->seat))
		return false;
	if (owner->seq % SAMPLE_EVERY == 0)
		*pulled_at(pull, owner->seq) = tick_now();
	*item = operands_of(owner->seq++);
	return true;
}

static int take_all(struct owner *owner, struct pull *pull, bool ordered)
{
	struct tally *tally = owner->seat->tally;
	uint64_t newest = 0;

	for (;;) {
		uint64_t idx = 0, product = 0;
		int ret = owner->ops->next(owner->tasks, &idx, &product);

		if (ret == -ENODATA)
			return 0;
		if (ret < 0)
			return ret;
		if (ordered && idx < newest)
			tally->disorder++;
		newest = idx;
		if (idx % SAMPLE_EVERY == 0)
			sample(owner, *pulled_at(pull, idx));
		tally->sum += idx;
		tally->sum_squares += idx * idx;
		count(owner, idx, product);
	}
}

static int run_imap_as(struct owner *owner, bool ordered)
{
	struct pull *pull = calloc(1, sizeof(*pull));
	int ret;

	if (!pull)
		return -ENOMEM;
	pull->owner = owner;
	ret = owner->ops->imap(owner->tasks, ordered, owner->spec->chunk,
			       pull_next, pull);
	if (ret >= 0)
		ret = take_all(owner, pull, ordered);
	free(pull);
	return ret;
}

static int run_imap(struct owner *owner)
{
	return run_imap_as(owner, true);
}

static int run_imap_unordered(struct owner *owner)
{
	return run_imap_as(owner, false);
}

/* -------------------------------------------------------------------------- */

/* Nothing lost, nothing twice: of the results, and of what was run. */
static void compare(const struct owner *owner, uint64_t n_run)
{
	struct tally *tally = owner->seat->tally, sent = { .n = 0 };
	struct outcome sum = { .lost = 0 };
	bool numbered = owner->spec->method == METHOD_IMAP ||
			owner->spec->method == METHOD_IMAP_UNORDERED;

	account_run(&sent, 0, owner->seq);
	if (!numbered) {
		sent.sum = tally->sum;
		sent.sum_squares = tally->sum_squares;
	}
	account_compare(&sent, tally, &sum);
	tally->lost = sum.lost;
	tally->dup = sum.dup;
	/* A task whose worker was killed may be run again. */
	if (n_run > owner->seq && !tally->dup && owner->spec->kills_per_s <= 0)
		tally->dup = n_run - owner->seq;
	if (n_run < owner->seq && !tally->lost)
		tally->lost = owner->seq - n_run;
}

static int failed(struct owner *owner, int ret)
{
	const char *name = method_names[owner->spec->method];
	char *why = owner->seat->tally->why;

	if (ret != -EBADMSG)
		return seat_fail(owner->seat, ret, name);
	snprintf(why, sizeof(owner->seat->tally->why), "%s: %s", name,
		 owner->ops->why(owner->tasks));
	return ret;
}

static int own(struct seat *seat)
{
	static int (*const ways[METHOD_N])(struct owner * owner) = {
		[METHOD_APPLY] = run_apply,
		[METHOD_SUBMIT] = run_submit,
		[METHOD_MAP] = run_map,
		[METHOD_IMAP] = run_imap,
		[METHOD_IMAP_UNORDERED] = run_imap_unordered,
	};
	const struct job *job = seat->job;
	struct owner owner = { .seat = seat,
			       .ops = job->ops,
			       .tasks = job->tasks,
			       .spec = job->spec };
	uint64_t n_run = 0;
	int ret;

	atomic_store(&seat->floor->owner, getpid());
	ret = job->ops->start(job->tasks);

	if (ret < 0)
		return seat_fail(seat, ret, "start workers");
	seat_ready(seat);
	ret = ways[job->spec->method](&owner);
	seat_end(seat);
	if (ret < 0)
		return failed(&owner, ret);
	chaos_wait_over(seat, job->spec);
	ret = job->ops->stop(job->tasks, &n_run);
	seat_count_usage(seat);
	compare(&owner, n_run);
	return ret < 0 ? seat_fail(seat, ret, "stop workers") : 0;
}

void load_pool(const struct transport *transport, const struct spec *spec,
	       struct outcome *out)
{
	struct spec counted = *spec;
	struct job job = { .ops = transport->tasks, .spec = &counted };
	struct crew crew;
	int ret;

	if (spec->method == METHOD_FARM || !job.ops) {
		load_farm(transport, spec, out);
		return;
	}
	if (crew_open(&crew, out) != 0)
		return;
	counted.shares = &crew.floor->shares;
	crew_use_from_go(&crew);
	if (job.ops->open(&counted, &job.tasks, out) != 0)
		goto out_crew;
	ret = crew_fork(&crew, "owner", 0, own, &job,
			spec->pin ? cpus_nth(0) : -1);
	if (ret == 0 && spec->kills_per_s > 0)
		ret = crew_fork(&crew, "killer", 0, chaos_kill, &counted, -1);
	if (ret == 0 &&
	    crew_run_warm(&crew, spec->warm_seconds, spec->seconds) == 0)
		crew_sum_owner(&crew, out);
	crew_kill(&crew);
	job.ops->close(job.tasks);
out_crew:
	crew_close(&crew);
}
