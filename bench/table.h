/*
 * table.h - what stands in the tables: of the terminal, of Markdown, of HTML
 */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "bench/row.h"

struct column {
	const char *head;
	int width; /* at least, in characters */
	const char *path;
	void (*cell)(char *buf, size_t size, const json_t *row,
		     const char *path);
};

/* The figures between how it was measured and the ratio: those of the workload,
 * and those that not every measurement has but one of @rows does. */
#define MAX_COLUMNS 12

struct columns {
	unsigned n;
	struct column column[MAX_COLUMNS];
};

void table_columns(struct columns *columns, const json_t *rows);

void column_cell(const struct column *column, char *buf, size_t size,
		 const json_t *row);

/* A sentence about the workload, and "; open loop, ..." of rows like @row. */
const char *table_about(enum load load);
void table_loop(char *buf, size_t size, const json_t *row);

/* A sentence about the workers of @row, who were killed or had little to do.
 * False when there is none. */
bool table_remark(char *buf, size_t size, const json_t *row);

/* How it waits, and how many messages a call. */
void table_wait(char *buf, size_t size, const json_t *row);

/* What stands instead of figures: "absent: no python3". */
void table_why(char *buf, size_t size, const json_t *row);

/*
 * How ours stands against the best rival.  Only rows of ours are ahead, level
 * or behind; a rival's row says how many times better the first row is, and
 * that of a floor how many times better the floor is.
 */
enum standing {
	STANDING_NONE,
	STANDING_AHEAD,
	STANDING_LEVEL,
	STANDING_BEHIND
};

enum standing table_standing(const json_t *row);

/* The same of any row's ratio, also a rival's: for colours. */
enum standing standing_of(double ratio);

/*
 * A row of ours is compared twice: with the best rival of like use, who sleeps
 * if it does and hands over each message at once if it does, which is the
 * ratio; and, if that is another one, with the best of all.
 */
double table_figure(const json_t *row);

/* "1.35x ahead of qb"; "1.35x" in the row of a rival; "the floor, no rival;
 * 1.60x the first row". */
void table_ratio(char *buf, size_t size, const json_t *row);

/* "0.80x BEHIND ck-spsc (never sleeps)".  False when there is nothing more
 * to say. */
bool table_also(char *buf, size_t size, const json_t *row);
enum standing table_also_standing(const json_t *row);

/* " (never sleeps)": of the best of all rivals, what makes it unlike. */
const char *table_unlike(const json_t *row);

#endif
