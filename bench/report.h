/*
 * report.h - what is printed: tables, JSON objects, or CSV
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/env.h"
#include "bench/measure.h"
#include "bench/options.h"

/* Before the first case; text and md: the machine and the command. */
void report_begin(enum format format, const struct env *env, int argc,
		  char **argv);

/* After each case. */
void report_case(enum format format, const struct case_result *results);

void report_end(enum format format);

/* What readers of the figures should know, one sentence each. */
#define MAX_WARNINGS 12

struct warnings {
	unsigned n;
	char text[MAX_WARNINGS][1024];
};

void report_warnings(const struct case_result *results,
		     struct warnings *warnings);

/* report_text.c and report_md.c: @rows are those of the case, as row.h says. */
void report_text_begin(const json_t *env);
void report_text_case(const struct case_result *results, const json_t *rows,
		      const struct warnings *warnings);
void report_text_end(void);

void report_md_begin(const json_t *env);
void report_md_case(const struct case_result *results, const json_t *rows,
		    const struct warnings *warnings);
void report_md_end(void);

#endif
