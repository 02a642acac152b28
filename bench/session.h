/*
 * session.h - measure the cases of a plan, one after the other, and print them
 */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "bench/options.h"
#include "bench/plan.h"

/* Look at the machine: before a plan is made. */
void session_init(void);

/* @argc and @argv are for the report.  Returns the exit status. */
int session_run(struct plan *plan, const struct options *options, int argc,
		char **argv);

#endif
