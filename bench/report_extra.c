/*
 * report_extra.c - what stands in every table beside its own columns
 *
 * How sure a figure is, and what a message costs the scheduler.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/report.h"

static bool has_columns(enum load load)
{
	return load != LOAD_IDLE && load != LOAD_RECOVER;
}

/* What kind of latencies a table has, for its first line. */
const char *extra_loop(const struct bench_case *bench_case)
{
	static const unsigned timed =
		LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_FARM) | LOAD_BIT(LOAD_POOL) |
		LOAD_BIT(LOAD_WAKE) | LOAD_BIT(LOAD_RECOVER);
	const struct spec *spec = &bench_case->spec;
	static char text[80];

	if (spec->kills_per_s > 0) {
		snprintf(text, sizeof(text),
			 "; killed at random, %.0f/s, and without rivals",
			 spec->kills_per_s);
		return text;
	}
	if (spec->rate <= 0)
		return LOAD_BIT(spec->load) & timed ? "; closed loop" : "";
	if (bench_case->sweep.name && !strcmp(bench_case->sweep.name, "rate"))
		return "; open loop, from the intended time on";
	snprintf(text, sizeof(text),
		 "; open loop, %.0f/s, from the intended time on", spec->rate);
	return text;
}

/* With fewer rounds there is no interval of a median. */
static bool has_interval(const struct bench_case *bench_case)
{
	unsigned low, high;

	return bench_case->n > 0 &&
	       median_interval(bench_case->entry[0].runs, &low, &high);
}

void extra_column_names(const struct bench_case *bench_case)
{
	if (!has_columns(bench_case->spec.load))
		return;
	if (has_interval(bench_case))
		printf(" %7s", "+-95%");
	printf(" %9s", "switches");
	if (bench_case->syscalls)
		printf(" %9s", "syscalls");
}

/* 0, 0.0031, 0.25, 2.0, 310 */
static void small(char *buf, size_t size, double value)
{
	if (!isfinite(value))
		snprintf(buf, size, "-");
	else if (value >= 9.95)
		snprintf(buf, size, "%.0f", value);
	else if (value >= 0.995)
		snprintf(buf, size, "%.1f", value);
	else if (value >= 0.00005)
		snprintf(buf, size, "%.*f", value < 0.00995 ? 4 : 2, value);
	else
		snprintf(buf, size, "0");
}

void extra_columns(const struct bench_case *bench_case,
		   const struct result *result)
{
	enum load load = bench_case->spec.load;
	const struct outcome *out = &result->median;
	double value = result_value(load, out);
	double half = (result->ci_high - result->ci_low) / 2 / value;
	char text[32] = "-";

	if (!has_columns(load))
		return;
	if (isfinite(half))
		snprintf(text, sizeof(text), "%.*f%%", half < 0.0995 ? 1 : 0,
			 100 * half);
	if (has_interval(bench_case))
		printf(" %7s", text);
	small(text, sizeof(text), outcome_switches(out));
	printf(" %9s", text);
	if (!bench_case->syscalls)
		return;
	small(text, sizeof(text), result->syscalls);
	printf(" %9s", text);
}

/* Who did most did more than half as much again as who did least. */
#define UNFAIR 1.5

static void print_fairness(const struct fairness *fairness)
{
	if (fairness->n < 2 || fairness->mean <= 0 ||
	    fairness->max < UNFAIR * fairness->min)
		return;
	printf("      of %u, the busiest had %.0f%% of the messages, the least "
	       "busy %.0f%% (standard deviation %.0f%% of the mean)\n",
	       fairness->n, 100 * fairness->max / fairness->mean / fairness->n,
	       100 * fairness->min / fairness->mean / fairness->n,
	       100 * fairness->stddev / fairness->mean);
}

static void print_deaths(const struct result *result)
{
	const struct outcome *out = &result->median;

	printf("      %llu killed, %llu messages done by another then; of all "
	       "rounds %llu lost, %llu twice\n",
	       (unsigned long long)out->deaths, (unsigned long long)out->again,
	       (unsigned long long)result->lost,
	       (unsigned long long)result->dup);
}

void extra_lines(const struct bench_case *bench_case,
		 const struct result *result)
{
	if (result->median.status != OUTCOME_OK)
		return;
	if (bench_case->spec.kills_per_s > 0)
		print_deaths(result);
	else
		print_fairness(&result->median.fairness);
}
