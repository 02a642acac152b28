/*
 * plan.h - which cases are measured, and whom each of them compares
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include "bench/options.h"
#include "bench/spec.h"
#include "bench/transport.h"

#define MAX_ENTRIES 72   /* every transport, ours in four ways */
#define MAX_CASES   2048 /* of all workloads, with lists as long as may be */

/* One who takes part in a case. */
struct entry {
	const struct transport *transport;
	enum wait_kind wait; /* ours */
	enum method method;  /* pool: as the case, or METHOD_FARM */
	unsigned batch;
	unsigned runs;
	double warm_seconds;
	double seconds;
};

/* What is compared with each other. */
struct bench_case {
	struct spec spec;
	bool syscalls;      /* count them, in a round of its own */
	struct sweep sweep; /* of which it is one value */
	char title[40];
	unsigned n;
	struct entry entry[MAX_ENTRIES]; /* ours first */
};

struct plan {
	unsigned n;
	struct bench_case cases[MAX_CASES];
};

/* Add the cases that @options ask for. */
void plan_add(struct plan *plan, const struct options *options);

/* What is measured of @entry. */
struct spec plan_spec(const struct bench_case *bench_case,
		      const struct entry *entry);

/* About how long a case takes on a machine that has nothing else to do. */
double plan_seconds(const struct bench_case *bench_case);

#endif
