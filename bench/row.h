/*
 * row.h - a row of results as it stands in a result file
 *
 * The one form that a figure has outside of measure.c: --format json prints
 * rows, tables are made of them, compare and report read them again.  So a
 * page made of a file says what the terminal said.  busbench.1 has the fields.
 *
 * A path is the name of a field, or two of them: "ns.p50".
 */
#ifndef BENCH_ROW_H
#define BENCH_ROW_H

#include <jansson.h>
#include <stdbool.h>

#include "bench/hist.h"
#include "bench/spec.h"

#define ROW_SCHEMA 2

/* NAN for null, and for what is not there or no number. */
double row_number(const json_t *row, const char *path);

/* "" likewise. */
const char *row_text(const json_t *row, const char *path);

bool row_is(const json_t *row, const char *path);

/* LOAD_N when this busbench does not know it. */
enum load row_load(const json_t *row);

/* False for a rival that was not built and that nobody named: tables do not
 * have it in each case, but name all of these below. */
bool row_is_asked(const json_t *row);

/* It was measured. */
bool row_is_ok(const json_t *row);

/* What the workload is judged by, of the round that is shown. */
double row_figure(const json_t *row);

/* Whether more of that is better. */
bool row_more_is_better(const json_t *row);

/* Its latencies are added to @hist; false when it has none. */
bool row_add_hist(const json_t *row, struct hist *hist);

/* What was measured, apart from the fields named in @without (ends with NULL;
 * may itself be NULL).  Rows of the same text are about the same thing.
 * Malloced, or NULL. */
char *row_key(const json_t *row, const char *const *without);

/* "stream 64 B, copy: shmbus-pipe x32", for a sentence. */
void row_name(const json_t *row, char *buf, size_t size);

/* The rows of the file @path, of standard input for "-", are added to the
 * array @rows.  Returns 0, or -1 after a message that names file, line and
 * remedy. */
int rows_read(const char *path, json_t *rows);

#endif
