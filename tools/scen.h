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
	const char *input;  /* a path, "-", or NULL */
	const char *output; /* the same, for scenarios that open it */
	bool generate;      /* --count was given */
	uint64_t count;
	uint64_t seed;
	uint64_t kill_every; /* 0: kill nobody */
	uint64_t chunk;
	uint64_t poison; /* the number of a pair, from 1; 0: none */
	uint64_t stuck;
	int64_t deadline_ns; /* 0: none */
	bool unordered;
	uint32_t n_workers;
	uint32_t wait; /* enum bus_wait_mode */
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

/* What a scenario takes, beside the options that all of them do. */
enum scen_takes {
	SCEN_INPUT,   /* --input */
	SCEN_WORKERS, /* --workers, --count */
	SCEN_KILLS,   /* --kill-every */
	SCEN_PAIRS,   /* --keep-going */
	SCEN_MAP,     /* how pairs are mapped */
	SCEN_TEXT,    /* prints lines, also as JSON; without, the scenario opens
		       * the output itself and gets no struct out */
	N_SCEN_TAKES
};

struct scen {
	const char *name;
	const char *about;  /* one line for `busscen list` */
	uint32_t takes;     /* bits of enum scen_takes */
	bool needs_input;   /* there is no default */
	uint32_t n_workers; /* if --workers does not say */
	int (*run)(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary);
};

int scen_queue_hello(const struct scen_options *opt, struct out *out,
		     struct scen_summary *summary);
int scen_queue_farm(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary);
int scen_pipe_hello(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary);
int scen_pipe_farm(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary);
int scen_pipe_file(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary);
int scen_pool_pipe(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary);
int scen_pool_queue(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary);
int scen_pool_map(const struct scen_options *opt, struct out *out,
		  struct scen_summary *summary);
int scen_crash(const struct scen_options *opt, struct out *out,
	       struct scen_summary *summary);
int scen_backpressure(const struct scen_options *opt, struct out *out,
		      struct scen_summary *summary);
int scen_fanout(const struct scen_options *opt, struct out *out,
		struct scen_summary *summary);
int scen_drain(const struct scen_options *opt, struct out *out,
	       struct scen_summary *summary);

/* Say what bus_create() answered and what to do; returns SCEN_FAILED. */
int scen_cannot_create(const struct scen_options *opt, int err);

/* Say "busscen: cannot WHAT: <text of err>"; returns SCEN_FAILED. */
int scen_cannot(const char *what, int err);
int scen_cannot_open(const char *path, int err);

/* How a child ended, in words: "by signal 9 (Killed)" or "with exit status 1".
 * @signal: 0 if it was none. */
void scen_how_it_ended(int signal, int exit_status, char *text, size_t cap);

#endif
