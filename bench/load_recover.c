/*
 * load_recover.c - recover: a worker is killed in the middle of a request
 *
 * Three parties share the scene.  The owner of the workers submits a request
 * and waits for its result, asleep.  The worker that gets it says so and waits
 * to be killed.  The killer, a process that nobody waits for, sees that, lets
 * the owner fall asleep, takes the time and kills.  Two spans follow: until the
 * request runs again, in another worker, which takes the time and answers; and
 * until the owner has the result.
 *
 *	IDLE -> BEGUN	the worker, after it has left its pid
 *	BEGUN -> KILLED	the killer, before the signal
 *	KILLED -> IDLE	the owner, when it has the result
 *
 * Before each such request come a few ordinary ones (even numbers), so that
 * the dead worker is replaced and the others are as in an idle service.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"
#include "bench/tick.h"

#define N_CALM    4
#define CALM_NS   (NS_PER_MS / 2) /* before each ordinary request */
#define LOOK_NS   100000ull       /* how often the killer looks */
#define ASLEEP_NS 200000ull       /* longer than anybody spins */

enum state { IDLE, BEGUN, KILLED };

/* In memory that all share. */
struct scene {
	_Atomic uint32_t state;
	_Atomic uint32_t n_begun; /* how many workers had the request */
	_Atomic uint32_t over;    /* the killer may go */
	_Atomic int32_t pid;      /* of the first of them */
	_Atomic uint64_t killed_ns;
	_Atomic uint64_t again_ns; /* when the second began */
};

struct job {
	const struct crash_ops *ops;
	struct crash *crash;
	struct scene *scene;
};

static bool is_fatal(uint64_t id)
{
	return id & 1;
}

/* In a worker. */
static uint64_t begin(void *ctx, uint64_t id)
{
	struct scene *scene = ctx;

	if (!is_fatal(id))
		return call_product(id);
	if (atomic_fetch_add(&scene->n_begun, 1) == 0) {
		atomic_store(&scene->pid, getpid());
		atomic_store(&scene->state, BEGUN);
		for (;;)
			pause();
	}
	atomic_store(&scene->again_ns, now_ns());
	return call_product(id);
}

static int kill_workers(struct seat *seat)
{
	struct scene *scene = ((const struct job *)seat->job)->scene;

	seat_ready(seat);
	while (!atomic_load(&scene->over)) {
		if (atomic_load(&scene->state) != BEGUN) {
			sleep_ns(LOOK_NS);
			continue;
		}
		sleep_ns(ASLEEP_NS);
		atomic_store(&scene->state, KILLED);
		atomic_store(&scene->killed_ns, now_ns());
		if (kill(atomic_load(&scene->pid), SIGKILL) != 0)
			return seat_fail(seat, -errno, "kill");
	}
	seat_end(seat);
	return 0;
}

/* One request, and its result. */
static int call(struct seat *seat, uint64_t id)
{
	const struct job *job = seat->job;
	uint64_t got = 0, value = 0;
	int ret = job->ops->submit(job->crash, id);

	if (ret == 0)
		ret = job->ops->result(job->crash, &got, &value);
	if (ret < 0)
		return ret;
	if (got < id)
		seat->tally->dup++;
	else if (got > id)
		seat->tally->lost++;
	else if (value != call_product(id))
		seat->tally->wrong++;
	return 0;
}

static int calm(struct seat *seat, uint64_t *id)
{
	int ret = 0;

	for (unsigned i = 0; ret >= 0 && i < N_CALM; i++) {
		sleep_ns(CALM_NS);
		*id += 2;
		ret = call(seat, *id);
	}
	return ret;
}

static int lose_one(struct seat *seat, uint64_t id)
{
	struct scene *scene = ((const struct job *)seat->job)->scene;
	uint64_t killed, again, end;
	int ret;

	atomic_store(&scene->n_begun, 0);
	ret = call(seat, id);
	if (ret < 0)
		return ret;
	end = now_ns();
	killed = atomic_load(&scene->killed_ns);
	again = atomic_load(&scene->again_ns);
	seat->tally->n++;
	/* It ran again once, and only after the first worker was killed. */
	if (atomic_exchange(&scene->state, IDLE) != KILLED || again < killed ||
	    atomic_load(&scene->n_begun) != 2) {
		seat->tally->dup++;
		return 0;
	}
	hist_add(&seat->floor->again, again - killed);
	hist_add(&seat->floor->hist, end - killed);
	return 0;
}

static int run_owner(struct seat *seat)
{
	uint64_t id = 0;
	int ret = 0;

	while (ret >= 0 && !seat_stopped(seat)) {
		ret = calm(seat, &id);
		if (ret >= 0)
			ret = lose_one(seat, id + 1);
	}
	return ret;
}

static int own(struct seat *seat)
{
	const struct job *job = seat->job;
	int ret = job->ops->start(job->crash);

	if (ret < 0)
		return seat_fail(seat, ret, "start workers");
	seat_ready(seat);
	ret = run_owner(seat);
	seat_end(seat);
	atomic_store(&job->scene->over, 1);
	if (ret == -ENODATA) {
		seat->tally->lost++;
		ret = 0;
	}
	if (ret < 0)
		return seat_fail(seat, ret, "call");
	ret = job->ops->stop(job->crash);
	seat_count_usage(seat);
	return ret < 0 ? seat_fail(seat, ret, "stop workers") : 0;
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	const struct tally *tally = &crew->floor->tally[0];

	out->messages = tally->n;
	out->seconds = (double)(tally->end_ns - tally->begin_ns) / 1e9;
	crew_sum_usage(crew, out);
	out->lost = tally->lost;
	out->dup = tally->dup;
	out->wrong = tally->wrong;
	out->has_ns = crew->floor->hist.n > 0;
	out->ns = hist_quantiles(&crew->floor->hist);
	out->again_ns = hist_quantiles(&crew->floor->again);
}

static struct scene *scene_open(struct outcome *out)
{
	void *scene = mmap(NULL, sizeof(struct scene), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (scene != MAP_FAILED)
		return scene;
	outcome_set(out, OUTCOME_FAILED, "no memory: %s", strerror(errno));
	return NULL;
}

void load_recover(const struct transport *transport, const struct spec *spec,
		  struct outcome *out)
{
	struct job job = { .ops = transport->crash, .scene = scene_open(out) };
	struct crew crew;

	if (!job.scene)
		return;
	if (job.ops->open(spec, begin, job.scene, &job.crash, out) != 0)
		goto out_scene;
	if (crew_open(&crew, out) != 0)
		goto out_crash;
	hist_init(&crew.floor->again);
	if (crew_fork(&crew, "owner", 0, own, &job,
		      spec->pin ? cpus_nth(0) : -1) == 0 &&
	    crew_fork(&crew, "killer", 0, kill_workers, &job, -1) == 0 &&
	    crew_run(&crew, spec->seconds) == 0)
		sum_up(&crew, out);
	crew_close(&crew);
out_crash:
	job.ops->close(job.crash);
out_scene:
	munmap(job.scene, sizeof(*job.scene));
}
