/*
 * session.c - measure the cases of a plan, one after the other, and print them
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/cpus.h"
#include "bench/env.h"
#include "bench/measure.h"
#include "bench/report.h"
#include "bench/session.h"
#include "bench/tick.h"
#include "bench/transport.h"

#define USAGE 2

static uint64_t begin_ns;

void session_init(void)
{
	begin_ns = now_ns();
	cpus_init();
	tick_init();
}

/* A transport that does not work at all is its own affair if it is a rival;
 * but messages lost, twice or wrong mean that no figure can be believed. */
static bool is_failure(const struct result *result)
{
	if (!result_is_clean(result))
		return true;
	return transport_is_ours(result->entry->transport) &&
	       (result->median.status == OUTCOME_FAILED ||
		result->median.status == OUTCOME_HUNG);
}

/* Without a workload the table is promised within 15 seconds, also on a busy
 * machine: while it is late, cases are measured only once.  @planned_s is what
 * those before this one should have taken. */
static void hurry_if_late(const struct options *options,
			  struct bench_case *bench_case, double planned_s)
{
	double late_s = planned_s + 0.3;

	if (options->loads || options->runs || options->seconds > 0 ||
	    (double)(now_ns() - begin_ns) < late_s * 1e9)
		return;
	for (unsigned i = 0; i < bench_case->n; i++)
		bench_case->entry[i].runs = 1;
}

/*
 * What BUS_WAIT says may be wrong, or not to be had.  Then each case would fail,
 * after its rivals were measured for seconds, and would not say for what.
 * Returns the exit status.
 */
static int check_environment(const struct options *options)
{
	const char *wait = getenv("BUS_WAIT");
	int ret = wait ? shmbus_try() : 0;

	if (ret == -EINVAL) {
		fprintf(stderr,
			"busbench: BUS_WAIT='%s' in the environment is wrong; "
			"it may be auto, uring or futex\n",
			wait);
		return USAGE;
	}
	if (!ret || options->wait == WAIT_URING || options->wait == WAIT_FUTEX)
		return EXIT_SUCCESS;
	fprintf(stderr,
		"busbench: cannot create a bus, with BUS_WAIT='%s' in the "
		"environment: %s; try BUS_WAIT=auto\n",
		wait, strerror(-ret));
	return EXIT_FAILURE;
}

static bool run_case(const struct options *options,
		     const struct bench_case *bench_case, const char *progress)
{
	struct case_result results;
	bool ok = true;

	measure_case(bench_case, &results, progress);
	report_case(options->format, &results);
	for (unsigned i = 0; i < results.n; i++)
		if (is_failure(&results.result[i]))
			ok = false;
	measure_free(&results);
	return ok;
}

/* "3 of 10, 40 s left: "; only a terminal is told. */
static const char *progress_of(const struct plan *plan, unsigned i)
{
	static char text[60];
	double left_s = 0;

	if (!isatty(STDERR_FILENO))
		return NULL;
	for (unsigned k = i; k < plan->n; k++)
		left_s += plan_seconds(&plan->cases[k]);
	snprintf(text, sizeof(text), "%u of %u, about %.0f s left: ", i + 1,
		 plan->n, left_s);
	return text;
}

int session_run(struct plan *plan, const struct options *options, int argc,
		char **argv)
{
	double planned_s = 0;
	struct env env;
	bool ok = true;
	int status = check_environment(options);

	if (status)
		return status;
	env_read(&env);
	report_begin(options->format, &env, argc, argv);
	for (unsigned i = 0; i < plan->n; i++) {
		double case_s = plan_seconds(&plan->cases[i]);

		hurry_if_late(options, &plan->cases[i], planned_s);
		planned_s += case_s;
		if (!run_case(options, &plan->cases[i], progress_of(plan, i)))
			ok = false;
	}
	report_end(options->format);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("busbench: standard output");
		return EXIT_FAILURE;
	}
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
