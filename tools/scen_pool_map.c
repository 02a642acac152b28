/*
 * scen_pool_map.c - a function is mapped over pairs that the pool pulls from
 * their input as it needs them
 *
 * next_pair() is the source of an imap: the pool asks it for the next pair when
 * there is room for one, so memory is bounded and the input may be without end.
 * Results come in the order of the pairs, or, unordered, as they are done.  A
 * line that is no pair goes the same way, and so its answer comes in its place.
 *
 * When the input has nothing to give just now, the imap ends: what is on its
 * way comes back and is shown.  Then the next imap waits for more.
 *
 * One pair may be poison: whoever multiplies it dies.  Another may get its
 * worker stuck: nothing but the deadline ends it.  Both fail alone.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/farm.h"
#include "tools/pools.h"

#define MAX_WINDOW 65536

/* With kills and a poison: enough for whoever is innocent, and soon over. */
#define POISON_ATTEMPTS 12

/* What a task shall do with its pair. */
enum task { MULTIPLY, POISON, STUCK, NO_PAIR };

struct item {
	struct farm_pair pair;
	uint64_t task; /* enum task */
};

/* An item on its way. */
struct entry {
	bool used;
	uint64_t id; /* as results have it */
	struct farm_job job;
};

struct pool_map {
	struct farm *farm;
	const struct scen_options *opt;
	struct bus *bus;
	struct bus_pool *pool;
	struct item item; /* that was pulled last */
	uint64_t n_items; /* of this imap */
	uint64_t n_pairs; /* of all */
	uint32_t n_on_way;
	int input; /* 1, 0 at its end, -EAGAIN: nothing just now, or -errno */
	/* A line that ends the run when all before it are answered. */
	struct farm_job last;

	/* At most window are in use, of twice as many, each at the first that
	 * was free from id % n_entries on. */
	uint32_t window;
	uint32_t n_entries;
	struct entry *entries;
};

/* --------------------------------------------------------------- worker -- */

static int multiply(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	struct item item;
	int64_t product;

	(void)ctx;
	if (len_bytes != sizeof(item))
		return -EPROTO;
	memcpy(&item, req, sizeof(item));
	switch (item.task) {
	case NO_PAIR:
		return 0;
	case POISON:
		raise(SIGKILL);
		return -EPROTO;
	case STUCK:
		for (;;)
			pause();
	default:
		break;
	}
	if (farm_multiply(&item.pair, &product) < 0) {
		bus_reply_error(reply, "%s", farm_too_large);
		return -EOVERFLOW;
	}
	return bus_reply_put(reply, &product, sizeof(product));
}

static const bus_handler handlers[] = { multiply };

/* -------------------------------------------------------------- entries -- */

/* Keep what is known of an item.  There are always free ones. */
static void keep(struct pool_map *m, uint64_t id, const struct farm_job *job)
{
	uint32_t i = (uint32_t)(id % m->n_entries);

	while (m->entries[i].used)
		i = (i + 1) % m->n_entries;
	m->entries[i] = (struct entry){ .used = true, .id = id, .job = *job };
	m->n_on_way++;
}

/* Find it again, and free its place.  False: there is none of that id. */
static bool fetch(struct pool_map *m, uint64_t id, struct farm_job *job)
{
	uint32_t i = (uint32_t)(id % m->n_entries);

	for (uint32_t n = 0; n < m->n_entries; n++) {
		struct entry *e = &m->entries[(i + n) % m->n_entries];

		if (!e->used || e->id != id)
			continue;
		*job = e->job;
		e->used = false;
		m->n_on_way--;
		return true;
	}
	return false;
}

static void drop_entries(struct pool_map *m)
{
	for (uint32_t i = 0; m->n_on_way > 0 && i < m->n_entries; i++)
		if (m->entries[i].used) {
			free(m->entries[i].job.error);
			m->n_on_way--;
		}
}

/* --------------------------------------------------------------- source -- */

static enum task task_of(struct pool_map *m, const struct farm_job *job)
{
	if (job->error)
		return NO_PAIR;
	m->n_pairs++;
	if (m->n_pairs == m->opt->poison)
		return POISON;
	return m->n_pairs == m->opt->stuck ? STUCK : MULTIPLY;
}

/* The source: the pool has room for one more. */
static int next_pair(void *ctx, const void **item, size_t *len_bytes)
{
	struct pool_map *m = ctx;
	struct farm_job job;

	if (m->input != 1 || m->n_on_way == m->window)
		return 0;
	if (m->n_on_way == 0)
		farm_show(m->farm); /* it may be long till there is more */
	m->input = farm_read(m->farm, &job, m->n_on_way == 0);
	if (m->input != 1)
		return 0;
	if (job.error && !m->opt->keep_going) {
		m->last = job;
		m->input = 0;
		return 0;
	}
	m->item = (struct item){ .pair = job.pair, .task = task_of(m, &job) };
	keep(m, m->n_items++, &job);
	*item = &m->item;
	*len_bytes = sizeof(m->item);
	return 1;
}

/* -------------------------------------------------------------- results -- */

/* One result.  Returns 0 or -errno. */
static int take(struct pool_map *m, const struct bus_result *r)
{
	struct farm_answer answer;
	struct farm_job job;

	if (r->kind == BUS_RESULT_BROKEN)
		return -ECHILD;
	if (!fetch(m, r->id, &job))
		return -EPROTO;
	answer.pair = &job.pair;
	answer.error = job.error;
	if (job.error) {
		/* Whatever became of it: there was nothing to multiply. */
	} else if (r->kind != BUS_RESULT_OK) {
		pools_error(r, m->opt->deadline_ns, &answer);
	} else if (r->len_bytes == sizeof(answer.product)) {
		memcpy(&answer.product, r->data, sizeof(answer.product));
	} else {
		return -EPROTO;
	}
	farm_give(m->farm, &job, &answer);
	return 0;
}

/* The next result; show what there is before a long wait. */
static int next_result(struct pool_map *m, struct bus_imap *imap,
		       struct bus_result *r)
{
	int ret = bus_imap_next(imap, r, FARM_FLUSH_NS);

	if (ret == -ETIMEDOUT) {
		farm_show(m->farm);
		ret = bus_imap_next(imap, r, -1);
	}
	return ret;
}

/* Until the input ends, or has nothing to give.  Returns 0 or -errno. */
static int map_some(struct pool_map *m)
{
	struct bus_map_config config = BUS_MAP_CONFIG_INIT;
	struct bus_imap *imap;
	struct bus_result r;
	int ret;

	config.chunk = m->opt->chunk;
	config.window = m->window;
	config.limit_ns = m->opt->deadline_ns;
	m->input = 1;
	m->n_items = 0;
	ret = (m->opt->unordered ? bus_pool_imap_unordered : bus_pool_imap)(
		m->pool, 0, next_pair, m, &config, &imap);
	if (ret < 0)
		return ret;
	while (!farm_stopped(m->farm) &&
	       (ret = next_result(m, imap, &r)) == 0) {
		ret = take(m, &r);
		if (ret < 0)
			break;
	}
	bus_imap_free(imap);
	return ret == -ENODATA ? 0 : ret;
}

/* The whole input.  Returns SCEN_... . */
static int map_all(struct pool_map *m, const struct farm_way *way)
{
	struct farm_answer answer;
	int ret;

	farm_begin(m->farm, way, m);
	do {
		ret = map_some(m);
	} while (ret == 0 && m->input == -EAGAIN && !farm_stopped(m->farm));
	if (ret < 0)
		farm_stop(m->farm, pools_cannot("map the pairs", ret, m->pool));
	if (m->last.error && !farm_stopped(m->farm)) {
		answer.pair = &m->last.pair;
		answer.error = m->last.error;
		farm_give(m->farm, &m->last, &answer);
	}
	return farm_end(m->farm,
			m->input < 0 && m->input != -EAGAIN ? m->input : 0);
}

/* ------------------------------------------------------------------ run -- */

static int workers(void *ctx, pid_t *pids, size_t n)
{
	const struct pool_map *m = ctx;

	return pools_pids(m->bus, pids, n);
}

static const struct farm_way way = { "pool-map", NULL, NULL, workers, NULL };

static uint32_t choose_attempts(const struct scen_options *opt)
{
	if (!opt->kill_every)
		return FARM_ATTEMPTS;
	return opt->poison ? POISON_ATTEMPTS : POOLS_ATTEMPTS;
}

/* Most items on their way: so that each worker has a chunk, and the next one is
 * there.  With kills as few as farm.c wants. */
static uint32_t choose_window(const struct pool_map *m)
{
	uint32_t window = farm_window(m->farm);
	uint64_t want = m->opt->chunk * 2;

	if (!m->opt->kill_every)
		want *= m->opt->n_workers;
	while (window < want && window < MAX_WINDOW)
		window *= 2;
	return window;
}

/* Start the workers, run, stop them. */
static int run(void *ctx, struct bus *bus)
{
	struct pool_map *m = ctx;
	struct bus_pool_config config = BUS_POOL_CONFIG_INIT;
	int ret, status;

	m->bus = bus;
	config.handlers = handlers;
	config.n_handlers = 1;
	config.n_workers = m->opt->n_workers;
	config.window = m->window;
	config.max_attempts = choose_attempts(m->opt);
	ret = bus_pool_start(bus, POOLS_NAME, &config, &m->pool);
	if (ret < 0)
		return scen_cannot("start the workers", ret);
	status = map_all(m, &way);
	pools_stop(m->pool);
	return status;
}

int scen_pool_map(const struct scen_options *opt, struct out *out,
		  struct scen_summary *summary)
{
	struct pool_map m = { .opt = opt };
	int status = SCEN_FAILED;

	m.farm = farm_open(opt, out, summary);
	if (!m.farm)
		return SCEN_FAILED;
	m.window = choose_window(&m);
	m.n_entries = 2 * m.window;
	m.entries = calloc(m.n_entries, sizeof(*m.entries));
	if (m.entries)
		status = pools_run(opt, run, &m);
	else
		scen_cannot("start", -ENOMEM);
	drop_entries(&m);
	free(m.last.error);
	free(m.entries);
	farm_close(m.farm);
	return status;
}
