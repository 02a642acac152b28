/*
 * pools.c - what the scenarios of the pool share
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/pools.h"

int pools_run(const struct scen_options *opt,
	      int (*run)(void *ctx, struct bus *bus), void *ctx)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus *bus;
	int ret, status;

	config.wait = opt->wait;
	config.max_endpoints = FARM_MAX_ENDPOINTS;
	ret = bus_create(NULL, &config, &bus);
	if (ret < 0)
		return scen_cannot_create(opt, ret);
	status = run(ctx, bus);
	bus_close(bus);
	return status;
}

int pools_pids(struct bus *bus, pid_t *pids, size_t n)
{
	struct bus_pool_stats stats = BUS_POOL_STATS_INIT;
	struct bus_worker_stats workers[FARM_MAX_WORKERS];
	int n_places = bus_pool_stats(bus, POOLS_NAME, &stats, workers,
				      FARM_MAX_WORKERS);
	int n_pids = 0;

	for (int i = 0; i < n_places && (size_t)n_pids < n; i++)
		if (workers[i].state != BUS_WORKER_NONE && workers[i].pid > 0)
			pids[n_pids++] = workers[i].pid;
	return n_pids;
}

/* In front of what there is. */
static void prefix(struct farm_answer *answer, const char *text)
{
	char old[sizeof(answer->text)];

	memcpy(old, answer->text, sizeof(old));
	if (snprintf(answer->text, sizeof(answer->text), "%s%s", text, old) < 0)
		answer->text[0] = '\0';
}

void pools_error(const struct bus_result *r, int64_t deadline_ns,
		 struct farm_answer *answer)
{
	switch (r->kind) {
	case BUS_RESULT_DEATH:
		farm_death(answer, r->attempts, r->pid, r->signal,
			   r->exit_status);
		prefix(answer, "quarantined: ");
		break;
	case BUS_RESULT_TIMEOUT:
		snprintf(answer->text, sizeof(answer->text),
			 "not done within the deadline of %" PRId64 " ms",
			 deadline_ns / 1000000);
		answer->error = answer->text;
		break;
	default:
		farm_error(answer, r->code, r->data, r->len_bytes);
		break;
	}
}

int pools_cannot(const char *what, int err, const struct bus_pool *pool)
{
	const char *why = pool ? bus_pool_error(pool) : "";

	if (err != -ECHILD || !*why)
		return scen_cannot(what, err);
	complain("busscen: cannot %s: the pool is broken: %s", what, why);
	return SCEN_FAILED;
}

void pools_stop(struct bus_pool *pool)
{
	if (!pool)
		return;
	bus_pool_close(pool);
	if (bus_pool_join(pool, FARM_STOP_NS) == -ETIMEDOUT)
		farm_stubborn();
	bus_pool_free(pool);
}
