/*
 * options.h - what the command line says
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/range.h"
#include "bench/spec.h"
#include "bench/transport.h"

#define MAX_OURS   4
#define MAX_RUNS   1000
#define MAX_RIVALS 64

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV, FORMAT_MD };

/* One value of a sweep, in words; what it sets is set beside it. */
struct sweep {
	const char *name; /* of the option without --; NULL: this is none */
	char value[24];
};

struct options {
	unsigned loads;     /* LOAD_BIT()s; 0: all, quickly */
	bool all;           /* each that can be run, by name */
	unsigned only_pipe; /* those in which of ours only pipes take part */
	struct sweep sweep;
	bool again; /* the last option had been given before */
	struct list workers;
	struct list sizes;
	unsigned producers; /* 0 here and below: the default */
	unsigned consumers;
	unsigned batch;
	unsigned inflight;
	unsigned slots; /* of queues */
	unsigned runs;
	double rate; /* messages a second, at intended times */
	double seconds;
	double kills_per_s;
	bool syscalls;
	double warmup;    /* seconds; < 0: the default */
	int wait;         /* enum wait_kind; -1: the default */
	int pin;          /* 1, 0; -1: the default */
	bool copy, loan;  /* stream: which; neither: the default */
	unsigned methods; /* pool: METHOD_BIT()s; 0: the default */
	bool chunk_given; /* pool */
	size_t chunk;     /* 0: what each takes by default */
	size_t items;
	bool ours_given;
	unsigned n_ours;
	const struct transport *ours[MAX_OURS]; /* the first is compared */
	bool rivals_given;
	bool all_rivals; /* "all": those that can, and who is named besides */
	unsigned n_rivals;
	const struct transport *rivals[MAX_RIVALS];
	enum format format;
};

/* Whether one of ours that were asked for can run @load. */
bool options_can(const struct options *options, enum load load);

/* Ends the program with status 2 when they make no sense. */
void options_parse(struct options *options, int argc, char **argv);

#endif
