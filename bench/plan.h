/*
 * plan.h - which cases are measured, and whom each of them compares
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <string.h>

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
	bool unasked;        /* not built here, and nobody named it */
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

/* Whether it ever sleeps while it waits. */
static inline bool entry_sleeps(const struct entry *entry)
{
	const struct transport *transport = entry->transport;

	if (transport_is_ours(transport) || !transport->waits)
		return entry->wait != WAIT_SPIN;
	return strcmp(transport->waits, "yield") != 0;
}

/* Whether messages are kept back until there are many to hand over. */
static inline bool entry_bursts(const struct entry *entry)
{
	return entry->batch > 1 || entry->transport->bursts;
}

/* Add the cases that @options ask for. */
void plan_add(struct plan *plan, const struct options *options);

/* What is measured of @entry. */
struct spec plan_spec(const struct bench_case *bench_case,
		      const struct entry *entry);

/* About how long a case takes on a machine that has nothing else to do. */
double plan_seconds(const struct bench_case *bench_case);

#endif
