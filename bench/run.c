/*
 * run.c - the processes of one round: fork, start together, stop, reap
 *
 * While a round is measured the parent sleeps; it looks after its children
 * every SLICE_NS, so that one that died early does not cost the whole
 * duration.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cpus.h"
#include "bench/run.h"
#include "bench/tick.h"

#define SLICE_NS (20 * NS_PER_MS)
#define POLL_NS  (200000ull)

/* Who was killed is to be replaced soon. */
#define MORTAL_SLICE_NS NS_PER_MS

/* The warm-up: part of the duration, within these. */
#define WARM_PART        0.25
#define WARM_MIN_SECONDS 0.003
#define WARM_MAX_SECONDS 0.030

/* To get ready or to end.  A rival that spins against 15 others on two cores
 * may need seconds for its last messages; it is slow, not hung. */
#define LIMIT_NS (5 * NS_PER_S)
#define STEP_NS  (10 * NS_PER_MS)

int outcome_set(struct outcome *out, enum outcome_status status,
		const char *format, ...)
{
	va_list args;

	out->status = status;
	va_start(args, format);
	vsnprintf(out->why, sizeof(out->why), format, args);
	va_end(args);
	return -1;
}

static void futex_wait_while(_Atomic uint32_t *word, uint32_t value)
{
	while (atomic_load_explicit(word, memory_order_acquire) == value)
		syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

bool run_marks;

static void mark(bool begins)
{
	if (run_marks)
		syscall(SYS_prctl, RUN_MARK, begins, 0, 0, 0);
}

/* Member ------------------------------------------------------------------- */

static uint64_t timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * 1000;
}

static void add_rusage(struct usage *usage, const struct rusage *from)
{
	usage->cpu_ns +=
		timeval_ns(from->ru_utime) + timeval_ns(from->ru_stime);
	usage->sleeps += (uint64_t)from->ru_nvcsw;
	usage->preempted += (uint64_t)from->ru_nivcsw;
}

/* Of this process and of those that it has reaped. */
static struct usage usage_now(void)
{
	struct usage usage = { 0, 0, 0 };
	struct rusage one;

	getrusage(RUSAGE_SELF, &one);
	add_rusage(&usage, &one);
	getrusage(RUSAGE_CHILDREN, &one);
	add_rusage(&usage, &one);
	return usage;
}

void seat_ready(struct seat *seat)
{
	struct floor *floor = seat->floor;

	atomic_fetch_add_explicit(&floor->n_ready, 1, memory_order_acq_rel);
	futex_wait_while(&floor->go, 0);
	mark(true);
	seat->tally->before = usage_now();
	seat->tally->begin_ns = now_ns();
}

bool seat_begin(struct seat *seat)
{
	if (!atomic_load_explicit(&seat->floor->count, memory_order_relaxed))
		return false;
	seat->counts = true;
	seat->tally->counted = true;
	if (!seat->floor->uses_from_go) {
		mark(true);
		seat->tally->before = usage_now();
	}
	seat->tally->begin_ns = now_ns();
	return true;
}

void seat_end(struct seat *seat)
{
	seat->tally->end_ns = now_ns();
	mark(false);
	seat_count_usage(seat);
}

void seat_count_usage(struct seat *seat)
{
	const struct usage *before = &seat->tally->before;
	struct usage now = usage_now();

	seat->tally->used = (struct usage){
		.cpu_ns = now.cpu_ns - before->cpu_ns,
		.sleeps = now.sleeps - before->sleeps,
		.preempted = now.preempted - before->preempted,
	};
}

void seat_note_latency(struct seat *seat, uint64_t seq)
{
	const struct pace *pace = &seat->floor->pace;

	if (seat->counts && pace_due(pace, seq) >= seat->tally->begin_ns)
		hist_add(&seat->floor->hist, pace_latency(pace, seq, now_ns()));
}

void seat_wait_stop(struct seat *seat)
{
	futex_wait_while(&seat->floor->stop, 0);
}

int seat_fail(struct seat *seat, int ret, const char *what)
{
	snprintf(seat->tally->why, sizeof(seat->tally->why), "%s: %s", what,
		 strerror(-ret));
	return ret;
}

/* Two lanes are the most that a member has. */
static struct {
	void (*fn)(void *arg);
	void *arg;
} at_end[2];

static unsigned n_at_end;

void crew_at_end(void (*fn)(void *arg), void *arg)
{
	assert(n_at_end < sizeof(at_end) / sizeof(at_end[0]));
	at_end[n_at_end].fn = fn;
	at_end[n_at_end++].arg = arg;
}

static void member(struct crew *crew, unsigned n, role_fn role, void *job,
		   int cpu)
{
	struct seat seat = {
		.floor = crew->floor,
		.tally = &crew->floor->tally[n],
		.idx = crew->idx[n],
		.job = job,
	};
	int ret;

	if (cpu >= 0)
		cpus_pin(cpu);
	ret = role(&seat);
	if (ret < 0 && !seat.tally->why[0])
		seat_fail(&seat, ret, "failed");
	for (unsigned i = 0; ret >= 0 && i < n_at_end; i++)
		at_end[i].fn(at_end[i].arg);
	_exit(ret < 0);
}

/* Parent ------------------------------------------------------------------- */

void crew_kill(struct crew *crew)
{
	for (unsigned i = 0; i < crew->n; i++)
		if (crew->pid[i])
			kill(crew->pid[i], SIGKILL);
	for (unsigned i = 0; i < crew->n; i++) {
		if (crew->pid[i])
			waitpid(crew->pid[i], NULL, 0);
		crew->pid[i] = 0;
	}
}

int crew_open(struct crew *crew, struct outcome *out)
{
	void *floor = mmap(NULL, sizeof(struct floor), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*crew = (struct crew){ .out = out };
	if (floor == MAP_FAILED)
		return outcome_set(out, OUTCOME_FAILED, "no memory: %s",
				   strerror(errno));
	crew->floor = floor;
	hist_init(&crew->floor->hist);
	return 0;
}

void crew_set_rate(struct crew *crew, double per_s)
{
	crew->floor->pace = pace_of(0, per_s);
}

/* A process on seat @n. */
static int fork_member(struct crew *crew, unsigned n, role_fn role, void *job,
		       int cpu)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0) {
		outcome_set(crew->out, OUTCOME_FAILED, "cannot fork %s %u: %s",
			    crew->title[n], crew->idx[n], strerror(errno));
		crew_kill(crew);
		return -1;
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1); /* it died before the line above */
		member(crew, n, role, job, cpu);
	}
	crew->pid[n] = pid;
	return 0;
}

int crew_fork(struct crew *crew, const char *title, unsigned idx, role_fn role,
	      void *job, int cpu)
{
	unsigned n = crew->n;

	crew->title[n] = title;
	crew->idx[n] = idx;
	if (fork_member(crew, n, role, job, cpu) != 0)
		return -1;
	crew->n++;
	return 0;
}

int crew_fork_mortal(struct crew *crew, const char *title, unsigned idx,
		     role_fn role, void *job, int cpu)
{
	unsigned n = crew->n;

	crew->mortal = true;
	crew->heir[n].role = role;
	crew->heir[n].job = job;
	crew->heir[n].cpu = cpu;
	return crew_fork(crew, title, idx, role, job, cpu);
}

/* Which member failed, how; the others are killed. */
static int member_failed(struct crew *crew, unsigned n, int status)
{
	const struct tally *tally = &crew->floor->tally[n];

	if (WIFSIGNALED(status))
		outcome_set(crew->out, OUTCOME_FAILED,
			    "%s %u was killed by signal %d", crew->title[n],
			    crew->idx[n], WTERMSIG(status));
	else
		outcome_set(crew->out, OUTCOME_FAILED, "%s %u: %s",
			    crew->title[n], crew->idx[n],
			    tally->why[0] ? tally->why : "failed");
	crew_kill(crew);
	return -1;
}

/* Member @n has ended: returns 1 when another has its seat now. */
static int reap_one(struct crew *crew, unsigned n, int status,
		    const struct rusage *rusage)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	crew->pid[n] = 0;
	if (killed && crew->heir[n].role) {
		add_rusage(&crew->of_the_dead, rusage);
		if (fork_member(crew, n, crew->heir[n].role, crew->heir[n].job,
				crew->heir[n].cpu) != 0)
			return -1;
		return 1;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return member_failed(crew, n, status);
	return 0;
}

/* Reap who has ended.  Returns how many are left, or -1. */
static int reap(struct crew *crew)
{
	int left = 0;

	for (unsigned i = 0; i < crew->n; i++) {
		struct rusage rusage;
		int status, ret = 1;

		if (!crew->pid[i])
			continue;
		if (wait4(crew->pid[i], &status, WNOHANG, &rusage) ==
		    crew->pid[i])
			ret = reap_one(crew, i, status, &rusage);
		if (ret < 0)
			return -1;
		left += ret;
	}
	return left;
}

static int hung(struct crew *crew, const char *doing)
{
	char who[80] = "nobody";
	unsigned n = 0;

	for (unsigned i = 0; i < crew->n; i++)
		if (crew->pid[i] && n++ == 0)
			snprintf(who, sizeof(who), "%s %u", crew->title[i],
				 crew->idx[i]);
	outcome_set(crew->out, OUTCOME_HUNG,
		    "killed: %u processes (first: %s) did not %s within %u s",
		    n, who, doing, (unsigned)(LIMIT_NS / NS_PER_S));
	crew_kill(crew);
	return -1;
}

/* Time that went by while we looked: not that in which the machine, or this
 * process, stood still, because then nobody else could do anything either. */
struct patience {
	uint64_t last_ns, waited_ns;
};

static bool has_run_out(struct patience *patience)
{
	uint64_t now = now_ns(), step = now - patience->last_ns;

	if (patience->last_ns)
		patience->waited_ns += step < STEP_NS ? step : STEP_NS;
	patience->last_ns = now;
	return patience->waited_ns > LIMIT_NS;
}

int crew_start(struct crew *crew)
{
	struct floor *floor = crew->floor;
	struct patience patience = { 0, 0 };

	while (atomic_load_explicit(&floor->n_ready, memory_order_acquire) <
	       crew->n) {
		if (reap(crew) < 0)
			return -1;
		if (has_run_out(&patience))
			return hung(crew, "get ready");
		sleep_ns(POLL_NS);
	}
	floor->pace.begin_ns = now_ns();
	futex_set(&floor->go, 1);
	return 0;
}

int crew_sleep(struct crew *crew, uint64_t ns)
{
	uint64_t slice = crew->mortal ? MORTAL_SLICE_NS : SLICE_NS;

	for (uint64_t end = now_ns() + ns, now; (now = now_ns()) < end;) {
		sleep_ns(end - now < slice ? end - now : slice);
		if (reap(crew) < 0)
			return -1;
	}
	return 0;
}

int crew_finish(struct crew *crew)
{
	struct patience patience = { 0, 0 };
	int left;

	futex_set(&crew->floor->stop, 1);
	while ((left = reap(crew)) > 0) {
		if (has_run_out(&patience))
			return hung(crew, "end");
		sleep_ns(POLL_NS);
	}
	return left;
}

int crew_run(struct crew *crew, double seconds)
{
	if (crew_start(crew) != 0 ||
	    crew_sleep(crew, (uint64_t)(seconds * 1e9)) != 0)
		return -1;
	return crew_finish(crew);
}

double crew_warm_seconds(double seconds)
{
	double warm = seconds * WARM_PART;

	return warm < WARM_MIN_SECONDS   ? WARM_MIN_SECONDS
	       : warm > WARM_MAX_SECONDS ? WARM_MAX_SECONDS
					 : warm;
}

int crew_run_warm(struct crew *crew, double warm_seconds, double seconds)
{
	if (crew_start(crew) != 0 ||
	    crew_sleep(crew, (uint64_t)(warm_seconds * 1e9)) != 0)
		return -1;
	atomic_store_explicit(&crew->floor->count, 1, memory_order_relaxed);
	if (crew_sleep(crew, (uint64_t)(seconds * 1e9)) != 0)
		return -1;
	return crew_finish(crew);
}

void crew_use_from_go(struct crew *crew)
{
	crew->floor->uses_from_go = true;
}

void crew_use_part(const struct tally *tally, struct outcome *out)
{
	if (tally->n)
		out->part = (double)tally_counted(tally) / (double)tally->n;
}

void crew_sum_usage(const struct crew *crew, struct outcome *out)
{
	out->cpu_ns = (double)crew->of_the_dead.cpu_ns;
	out->sleeps = (double)crew->of_the_dead.sleeps;
	out->preempted = (double)crew->of_the_dead.preempted;
	for (unsigned i = 0; i < crew->n; i++) {
		const struct usage *used = &crew->floor->tally[i].used;

		out->cpu_ns += (double)used->cpu_ns;
		out->sleeps += (double)used->sleeps;
		out->preempted += (double)used->preempted;
	}
	out->cpu_ns *= out->part;
	out->sleeps *= out->part;
	out->preempted *= out->part;
}

void crew_sum_owner(const struct crew *crew, struct outcome *out)
{
	const struct floor *floor = crew->floor;
	const struct tally *tally = &floor->tally[0];

	out->messages = tally_counted(tally);
	out->seconds = (double)(tally->end_ns - tally->begin_ns) / 1e9;
	out->deaths = atomic_load(&floor->n_killed);
	out->again = atomic_load(&floor->shares.n_again);
	out->fairness = shares_fairness(&floor->shares);
	crew_use_part(tally, out);
	crew_sum_usage(crew, out);
	out->lost = tally->lost;
	out->dup = tally->dup;
	out->disorder = tally->disorder;
	out->wrong = tally->wrong;
	out->has_ns = floor->hist.n > 0;
	out->ns = hist_quantiles(&floor->hist);
}

void crew_close(struct crew *crew)
{
	struct outcome *out = crew->out;

	crew_kill(crew);
	if (crew->floor && out->status == OUTCOME_OK && out->has_ns &&
	    out->all_ns)
		hist_merge(out->all_ns, &crew->floor->hist);
	if (crew->floor)
		munmap(crew->floor, sizeof(*crew->floor));
	crew->floor = NULL;
}
