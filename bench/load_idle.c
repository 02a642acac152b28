/*
 * load_idle.c - idle: what a process costs that has nothing to do
 *
 * Either a reader that waits for its first message, or workers that wait for
 * their first request.  The parent reads their processor time from outside
 * before and after the duration, so that they are never woken for it, and not
 * at once, so that neither their start nor their last spin counts.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/message.h"
#include "bench/run.h"
#include "bench/tick.h"

#define SETTLE_NS (50 * NS_PER_MS)

struct job {
	const struct transport *transport;
	struct lane *lane;    /* a reader */
	struct caller caller; /* or workers */
	const struct spec *spec;
};

static void watch(struct seat *seat, pid_t pid)
{
	unsigned n = atomic_fetch_add(&seat->floor->n_watched, 1);

	if (n < MAX_PROCESSES)
		seat->floor->watched[n] = pid;
}

/* The reader gets one message, the end. */
static int read_one(struct seat *seat)
{
	struct job *job = seat->job;
	size_t bytes = job->spec->bytes;
	void *buf = malloc(bytes);
	int ret = transport_attach(job->transport, job->lane, false);

	if (!buf || ret < 0)
		return buf ? ret : -ENOMEM;
	watch(seat, getpid());
	seat_ready(seat);
	ret = job->transport->get(job->lane, buf, bytes, 1, true);
	free(buf);
	return ret < 0 ? seat_fail(seat, ret, "get") : 0;
}

static int write_one(struct seat *seat)
{
	struct job *job = seat->job;
	size_t bytes = job->spec->bytes;
	void *buf = malloc(bytes);
	int ret = transport_attach(job->transport, job->lane, true);

	if (!buf || ret < 0)
		return buf ? ret : -ENOMEM;
	msg_fill(buf, bytes, MSG_END);
	seat_ready(seat);
	seat_wait_stop(seat);
	ret = job->transport->put(job->lane, buf, bytes, 1, true);
	free(buf);
	return ret < 0 ? seat_fail(seat, ret, "put") : 0;
}

static int work(struct seat *seat)
{
	struct job *job = seat->job;
	int ret = caller_attach(&job->caller);

	if (ret < 0)
		return ret;
	watch(seat, getpid());
	seat_ready(seat);
	return caller_serve(&job->caller);
}

/* Workers that the transport forked by itself are watched as well. */
static int watch_workers(struct seat *seat, struct job *job)
{
	pid_t pids[MAX_PROCESSES];
	int n = caller_pids(&job->caller, pids, MAX_PROCESSES);

	for (int i = 0; i < n && i < MAX_PROCESSES; i++)
		watch(seat, pids[i]);
	return n;
}

static int coordinate(struct seat *seat)
{
	struct job *job = seat->job;
	int ret = caller_start(&job->caller);

	if (ret < 0)
		return seat_fail(seat, ret, "start workers");
	if (!caller_needs_workers(&job->caller))
		ret = watch_workers(seat, job);
	if (ret < 0)
		return seat_fail(seat, ret, "list workers");
	seat_ready(seat);
	seat_wait_stop(seat);
	ret = caller_stop(&job->caller);
	return ret < 0 ? seat_fail(seat, ret, "stop workers") : 0;
}

/* Processor time of all that are watched; NAN when one is gone. */
static double watched_cpu_ns(struct floor *floor)
{
	unsigned n = atomic_load(&floor->n_watched);
	double sum = 0;

	for (unsigned i = 0; i < n && i < MAX_PROCESSES; i++) {
		struct timespec t;
		clockid_t clock;

		if (clock_getcpuclockid(floor->watched[i], &clock) != 0 ||
		    clock_gettime(clock, &t) != 0)
			return NAN;
		sum += (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
	}
	return sum;
}

static void measure(struct crew *crew, const struct spec *spec,
		    struct outcome *out)
{
	double cpu_ns;
	uint64_t begin;

	if (crew_start(crew) != 0 || crew_sleep(crew, SETTLE_NS) != 0)
		return;
	cpu_ns = watched_cpu_ns(crew->floor);
	begin = now_ns();
	if (crew_sleep(crew, (uint64_t)(spec->seconds * 1e9)) != 0)
		return;
	cpu_ns = watched_cpu_ns(crew->floor) - cpu_ns;
	out->seconds = (double)(now_ns() - begin) / 1e9;
	out->cpu_ns = cpu_ns;
	out->cpu_percent = 100.0 * cpu_ns / 1e9 / out->seconds /
			   (double)atomic_load(&crew->floor->n_watched);
	crew_finish(crew);
}

static int fork_workers(struct crew *crew, struct job *job)
{
	int ret = crew_fork(crew, "coordinator", 0, coordinate, job, -1);

	if (caller_needs_workers(&job->caller))
		for (unsigned i = 0; ret == 0 && i < job->spec->workers; i++)
			ret = crew_fork(crew, "worker", i, work, job, -1);
	return ret;
}

static int fork_reader(struct crew *crew, struct job *job)
{
	if (crew_fork(crew, "reader", 0, read_one, job, -1) != 0)
		return -1;
	return crew_fork(crew, "writer", 0, write_one, job, -1);
}

void load_idle(const struct transport *transport, const struct spec *spec,
	       struct outcome *out)
{
	struct job job = { .transport = transport, .spec = spec };
	bool workers = spec->workers > 0;
	struct crew crew;

	if (workers ? caller_open(&job.caller, transport, spec, out)
		    : transport->open(spec, &job.lane, out))
		return;
	if (crew_open(&crew, out) == 0 &&
	    (workers ? fork_workers(&crew, &job) : fork_reader(&crew, &job)) ==
		    0)
		measure(&crew, spec, out);
	crew_close(&crew);
	if (workers)
		caller_close(&job.caller);
	else
		transport->close(job.lane);
}
