/*
 * pingpong.c - the round trip of one cache line between two processors
 */
#include "config.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cpus.h"
#include "bench/pingpong.h"
#include "bench/tick.h"

/* The best of several short series, each much shorter than a time slice: one
 * of them at least is not interrupted. */
#define SERIES   8
#define TRIPS    300
#define LIMIT_NS (100 * NS_PER_MS)

static void answer(_Atomic uint64_t *line)
{
	for (uint64_t i = 1;; i += 2) {
		while (atomic_load_explicit(line, memory_order_acquire) != i)
			;
		atomic_store_explicit(line, i + 1, memory_order_release);
	}
}

/* False when the answer did not come in time: the other has no processor. */
static int one_trip(_Atomic uint64_t *line, uint64_t i, uint64_t limit)
{
	unsigned looks = 0;

	atomic_store_explicit(line, i, memory_order_release);
	while (atomic_load_explicit(line, memory_order_acquire) != i + 1)
		if (++looks % 4096 == 0 && now_ns() > limit)
			return 0;
	return 1;
}

static double best_series(_Atomic uint64_t *line)
{
	uint64_t limit = now_ns() + LIMIT_NS, i = 1;
	double best = NAN;

	for (int series = 0; series < SERIES; series++) {
		uint64_t begin = now_ns();
		double ns;

		for (int trip = 0; trip < TRIPS; trip++, i += 2)
			if (!one_trip(line, i, limit))
				return best;
		ns = (double)(now_ns() - begin) / TRIPS;
		if (isnan(best) || ns < best)
			best = ns;
	}
	return best;
}

double pingpong_ns(void)
{
	double best = NAN;
	pid_t pid, parent = getpid();
	void *line;

	if (cpus_count() < 2)
		return NAN;
	line = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (line == MAP_FAILED)
		return NAN;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		cpus_pin(cpus_nth(1));
		answer(line);
	}
	if (pid > 0) {
		cpus_pin(cpus_nth(0));
		best = best_series(line);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		cpus_pin(-1);
	}
	munmap(line, 4096);
	return best;
}

const char *pingpong_regime(double ns)
{
	if (isnan(ns))
		return "unknown";
	return ns < PINGPONG_FAR_NS ? "near" : "far";
}
