/*
 * report_text.c - tables to read
 *
 * A table for each workload, printed case by case as they are measured, so
 * the columns have fixed widths.  The last column says how many times better
 * shmbus is: in its own rows than the best rival, in a rival's row than that,
 * where the first row of the case stands for shmbus.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/cpus.h"
#include "bench/pingpong.h"
#include "bench/report.h"

static const char *const about[LOAD_N] = {
	[LOAD_RTT] = "round trip of one request: two numbers there, their "
		     "product back",
	[LOAD_STREAM] = "one writer, one reader, every byte written and "
			"compared",
	[LOAD_DUPLEX] = "two processes that both send and receive; both "
			"directions together",
	[LOAD_MPMC] = "writers x readers on one queue; 8 bytes if not said",
	[LOAD_FARM] = "a coordinator with many requests outstanding to "
		      "workers; ns: submit to collect",
	[LOAD_POOL] = "tasks to a pool of workers (method/chunk x workers); "
		      "ns: hand over to result",
	[LOAD_WAKE] = "one message to a receiver that has been idle for "
		      "10 ms",
	[LOAD_RECOVER] = "a worker is killed in the middle of a request; from "
			 "SIGKILL on",
	[LOAD_IDLE] = "processor time of a process that waits",
};

/* A sweep says the parameter as well. */
#define SWEEP_WIDTH 16

/* The table that is open. */
static struct {
	bool open;
	enum load load;
	double pingpong_first, pingpong_last;
	bool flipped;
} table;

/* 4.25 M, 980 k, 12.5 */
static void si(char *buf, size_t size, double value)
{
	static const char units[] = " kMG";
	unsigned unit = 0;

	if (!isfinite(value)) {
		snprintf(buf, size, "-");
		return;
	}
	while (value >= 999.5 && unit < sizeof(units) - 2) {
		value /= 1000;
		unit++;
	}
	snprintf(buf, size, "%.*f %c",
		 value >= 99.95   ? 0
		 : value >= 9.995 ? 1
				  : 2,
		 value, units[unit]);
}

/* 95 ns, 4.2 us, 1.3 ms */
static void span(char *buf, size_t size, double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s " };
	unsigned unit = 0;

	while (ns >= 9999.5 && unit < 3) {
		ns /= 1000;
		unit++;
	}
	snprintf(buf, size, "%.*f %s", unit && ns < 99.95 ? 1 : 0, ns,
		 units[unit]);
}

static void close_table(void)
{
	double first = table.pingpong_first, last = table.pingpong_last;

	if (!table.open)
		return;
	table.open = false;
	if (isnan(first) || isnan(last))
		puts("  ping-pong of a cache line: not known (not two "
		     "processors free)");
	else
		printf("  ping-pong of a cache line (pp): %.0f ns before, "
		       "%.0f ns after (%s)\n",
		       first, last,
		       table.flipped ? "near and far" : pingpong_regime(last));
}

/* Of the first column: the title of a case. */
static int title_width(const struct bench_case *bench_case)
{
	if (bench_case->spec.load == LOAD_POOL)
		return 18;
	return bench_case->sweep.name ? SWEEP_WIDTH : 12;
}

static void open_table(const struct bench_case *bench_case)
{
	enum load load = bench_case->spec.load;

	printf("\n%s: %s%s%s\n", load_names[load], about[load],
	       extra_loop(bench_case),
	       bench_case->spec.pin ? "; pinned to two processors"
				    : "; not pinned");
	printf("  %-*s %-19s %-8s", title_width(bench_case), "", "transport",
	       "wait");
	if (bench_case->spec.rate > 0 && load != LOAD_RTT) {
		printf("%9s/s", "messages");
		load = LOAD_WAKE; /* and latencies */
	}
	switch (load) {
	case LOAD_RTT:
	case LOAD_WAKE:
		printf("%9s %9s %9s %9s %9s %9s", "min", "p50", "p90", "p99",
		       "p99.9", "max");
		printf("%s", load == LOAD_RTT ? "  p50/pp" : "");
		break;
	case LOAD_IDLE:
		printf("%9s", "cpu");
		break;
	case LOAD_RECOVER:
		printf("%9s %9s %9s %9s %9s %9s %9s", "kills", "again p50",
		       "p99", "max", "done p50", "p99", "max");
		break;
	case LOAD_POOL:
		printf("%9s %11s %9s %9s %9s %9s", "tasks", "tasks/s", "best/s",
		       "cpu/task", "p50", "p99");
		break;
	default:
		printf("%9s/s %9s %9s", "messages", "best/s", "cpu/msg");
		if (load == LOAD_FARM)
			printf(" %9s %9s", "p50", "p99");
		else
			printf(" %8s", "GB/s");
	}
	extra_column_names(bench_case);
	load = bench_case->spec.load;
	puts(load == LOAD_IDLE ? "" : "  shmbus is better by");
	table.open = true;
	table.load = load;
	table.flipped = false;
}

static void print_latency(const struct outcome *out, enum load load,
			  double pingpong)
{
	const uint64_t value[] = { out->ns.min, out->ns.p50,  out->ns.p90,
				   out->ns.p99, out->ns.p999, out->ns.max };
	char text[32];

	for (size_t i = 0; i < sizeof(value) / sizeof(value[0]); i++) {
		strcpy(text, "-");
		if (out->has_ns)
			span(text, sizeof(text), (double)value[i]);
		printf("%9s ", text);
	}
	if (load == LOAD_RTT) {
		if (pingpong > 0 && !out->open_loop)
			printf("%7.2f", (double)out->ns.p50 / pingpong);
		else
			printf("%7s", "-");
	}
}

/* Until it ran again, and until its result was there. */
static void print_recovery(const struct outcome *out)
{
	const uint64_t value[] = { out->again_ns.p50, out->again_ns.p99,
				   out->again_ns.max, out->ns.p50,
				   out->ns.p99,       out->ns.max };
	char text[32];

	printf("%9llu ", (unsigned long long)out->messages);
	for (size_t i = 0; i < sizeof(value) / sizeof(value[0]); i++) {
		span(text, sizeof(text), (double)value[i]);
		printf("%9s ", text);
	}
}

static void print_rate(const struct result *result, const struct spec *spec)
{
	const struct outcome *out = &result->median;
	double rate = result_value(spec->load, out);
	double bytes = rate * (double)spec->bytes / 1e9;
	char text[32];

	if (spec->load == LOAD_POOL)
		printf("%9llu ", (unsigned long long)out->messages);
	si(text, sizeof(text), rate);
	printf("%11s", text);
	si(text, sizeof(text), result->best);
	printf(" %9s", text);
	if (out->messages)
		span(text, sizeof(text), out->cpu_ns / (double)out->messages);
	else
		strcpy(text, "-");
	printf(" %9s", text);
	if (spec->load != LOAD_FARM && spec->load != LOAD_POOL) {
		printf(" %8.*f",
		       bytes < 0.995  ? 3
		       : bytes < 9.95 ? 2
				      : 1,
		       bytes);
		return;
	}
	if (!out->has_ns) {
		printf(" %9s %9s", "-", "-");
		return;
	}
	span(text, sizeof(text), (double)out->ns.p50);
	printf(" %9s", text);
	span(text, sizeof(text), (double)out->ns.p99);
	printf(" %9s", text);
}

static void print_times(double ratio)
{
	if (isnan(ratio))
		putchar('-');
	else
		printf("%.*fx", ratio < 9.95 ? 2 : ratio < 99.5 ? 1 : 0, ratio);
}

static void print_ratio(const struct case_result *results,
			const struct result *result)
{
	enum load load = results->bench_case->spec.load;
	const struct result *first = &results->result[0];
	const struct result *best = result_best_rival(results);

	if (load == LOAD_IDLE)
		return;
	printf("  ");
	if (!transport_is_ours(result->entry->transport)) {
		print_times(result_ratio(load, first, result));
		return;
	}
	print_times(best ? result_ratio(load, result, best) : NAN);
	if (best)
		printf(" best rival, %s", best->entry->transport->name);
	if (result != first) {
		printf("; ");
		print_times(result_ratio(load, result, first));
		printf(" the first row");
	}
}

static void print_row(const struct case_result *results, unsigned i)
{
	const struct bench_case *bench_case = results->bench_case;
	const struct spec *spec = &bench_case->spec;
	const struct result *result = &results->result[i];
	const struct entry *entry = result->entry;
	const struct outcome *out = &result->median;
	char wait[24];

	snprintf(wait, sizeof(wait), "%s",
		 entry->transport->waits ? entry->transport->waits
					 : wait_names[entry->wait]);
	if (entry->batch > 1)
		snprintf(wait, sizeof(wait), "x%u", entry->batch);
	printf("  %-*s %-19s %-8s", title_width(bench_case),
	       i == 0 ? bench_case->title : "", entry->transport->name, wait);
	if (out->status != OUTCOME_OK) {
		printf("  %s: %s\n",
		       out->status == OUTCOME_ABSENT ? "absent"
		       : out->status == OUTCOME_HUNG ? "HUNG"
						     : "FAILED",
		       out->why);
		return;
	}
	if (spec->rate > 0 && spec->load != LOAD_RTT) {
		si(wait, sizeof(wait), (double)out->messages / out->seconds);
		printf("%11s ", wait);
	}
	if (spec->load == LOAD_RTT || spec->load == LOAD_WAKE || spec->rate > 0)
		print_latency(out, spec->load, out->pingpong_ns);
	else if (spec->load == LOAD_RECOVER)
		print_recovery(out);
	else if (spec->load == LOAD_IDLE)
		printf("%8.4f%%", out->cpu_percent);
	else
		print_rate(result, spec);
	extra_columns(bench_case, result);
	print_ratio(results, result);
	putchar('\n');
	extra_lines(bench_case, result);
}

void report_text_begin(const struct env *env, int argc, char **argv)
{
	printf("busbench " PACKAGE_VERSION ":");
	for (int i = 0; i < argc; i++)
		printf(" %s", argv[i]);
	printf("\n%s, %ld processor%s (%d allowed)", env->cpu, env->cpus,
	       env->cpus == 1 ? "" : "s", env->allowed);
	if (env->l2_bytes > 0)
		printf(", L2 %ld KiB", env->l2_bytes / 1024);
	if (env->l3_bytes > 0)
		printf(", L3 %ld MiB", env->l3_bytes >> 20);
	if (env->governor[0])
		printf(", governor %s", env->governor);
	printf("\n%s; io_uring for waiting: %s\n", env->kernel,
	       env->uring ? "yes" : env->why_no_uring);
	fflush(stdout);
}

void report_text_case(const struct case_result *results,
		      const struct warnings *warnings)
{
	const struct bench_case *bench_case = results->bench_case;

	if (table.load != bench_case->spec.load)
		close_table();
	if (!table.open) {
		open_table(bench_case);
		table.pingpong_first = results->pingpong_before;
	}
	table.pingpong_last = results->pingpong_after;
	table.flipped |= results->flipped;
	for (unsigned i = 0; i < results->n; i++)
		print_row(results, i);
	for (unsigned i = 0; i < warnings->n; i++)
		printf("  ! %s\n", warnings->text[i]);
	fflush(stdout);
}

void report_text_end(void)
{
	close_table();
}
