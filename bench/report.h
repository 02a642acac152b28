/*
 * report.h - what is printed: a table, JSON objects, or CSV
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/env.h"
#include "bench/measure.h"
#include "bench/options.h"

/* Before the first case; text: the machine and the command. */
void report_begin(enum format format, const struct env *env, int argc,
		  char **argv);

/* After each case. */
void report_case(enum format format, const struct case_result *results);

void report_end(enum format format);

/* What readers of the figures should know, one sentence each. */
#define MAX_WARNINGS 12

struct warnings {
	unsigned n;
	char text[MAX_WARNINGS][200];
};

void report_warnings(const struct case_result *results,
		     struct warnings *warnings);

/* report_extra.c: what stands in each table behind its own columns. */
const char *extra_loop(const struct bench_case *bench_case);
void extra_column_names(const struct bench_case *bench_case);
void extra_columns(const struct bench_case *bench_case,
		   const struct result *result);

/* A line below a row, if there is more to say. */
void extra_lines(const struct bench_case *bench_case,
		 const struct result *result);

/* report_text.c */
void report_text_begin(const struct env *env, int argc, char **argv);
void report_text_case(const struct case_result *results,
		      const struct warnings *warnings);
void report_text_end(void);

#endif
