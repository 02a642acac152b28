/*
 * scen.h - what busscen and its scenarios share
 *
 * A scenario is one file, scen_<name>.c, that shows a way of using the bus and
 * reads as an example of shmbus.h.  busscen.c parses the options, opens the
 * output, runs one scenario and prints the summary.
 */
#ifndef SCEN_H
#define SCEN_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/out.h"

struct scen_options {
	const char *input; /* a path, "-", or NULL */
	bool generate;     /* --count was given */
	uint64_t count;
	uint64_t seed;
	uint64_t kill_every; /* 0: kill nobody */
	uint32_t n_workers;
	uint32_t wait; /* enum bus_wait */
	bool keep_going;
};

struct scen_summary {
	uint64_t n_results;
	uint64_t n_errors;
	uint64_t n_kills;
	uint32_t n_workers;
};

/* Exit statuses of busscen; a scenario returns one of them. */
enum {
	SCEN_OK = 0,
	SCEN_FAILED = 1, /* an error of the system, or lines with errors */
	SCEN_USAGE = 2   /* bad options, or an input that is no input */
};

struct scen {
	const char *name;
	const char *about; /* one line for `busscen list` */
	bool farm;         /* takes workers, an input, kills */
	int (*run)(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary);
};

int scen_queue_hello(const struct scen_options *opt, struct out *out,
		     struct scen_summary *summary);
int scen_queue_farm(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary);

/* Say what bus_create() answered and what to do; returns SCEN_FAILED. */
int scen_cannot_create(const struct scen_options *opt, int err);

/* Say "busscen: cannot WHAT: <text of err>"; returns SCEN_FAILED. */
int scen_cannot(const char *what, int err);

#endif
