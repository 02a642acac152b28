/*
 * markdown.h - rows of results as Markdown
 */
#ifndef BENCH_MARKDOWN_H
#define BENCH_MARKDOWN_H

#include <jansson.h>
#include <stdio.h>

#include "bench/standings.h"
#include "bench/table.h"

/* What was run, and when. */
void markdown_command(FILE *f, const json_t *run);

/* The machine and the program, in a paragraph. */
void markdown_machine(FILE *f, const json_t *env);

/* A heading, a sentence, and the head of the table that @rows begin, whose
 * columns it chooses. */
void markdown_head(FILE *f, const json_t *rows, struct columns *columns);

/* @first: of its case. */
void markdown_row(FILE *f, const json_t *row, bool first,
		  const struct columns *columns);

/* After a table: an array of sentences about it, as a list. */
void markdown_notes(FILE *f, const json_t *notes);

void markdown_standings(FILE *f, const struct standings *standings);

#endif
