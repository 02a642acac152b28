/*
 * standings.h - all rows of ours that had a rival, and which are behind
 *
 * So that nobody has to look for them in the tables.  Behind a rival of like
 * use is one thing; behind one that never sleeps, or sends in bursts, where
 * ours does not, is another.  Both are named.
 */
#ifndef BENCH_STANDINGS_H
#define BENCH_STANDINGS_H

#include <jansson.h>
#include <stdbool.h>

struct standings {
	unsigned n;     /* rows of ours that had a rival of like use */
	unsigned n_all; /* those that had any */
	/* Rows of rivals that were measured, and those of them for which there
	 * is a ratio that says who is better; of idle there is none. */
	unsigned n_rivals, n_ranked;
	json_t *behind; /* sentences about those that are behind the like */
	json_t *also;   /* about others, that are behind the best of all */
	json_t *absent; /* rivals that were not built: "qb", "ck-*" */
};

void standings_open(struct standings *standings);
void standings_close(struct standings *standings);

void standings_add(struct standings *standings, const json_t *row);

/* "shmbus is behind the best rival of like use in 2 of 30 rows", without a full
 * stop. */
void standings_sentence(const struct standings *standings, char *buf,
			size_t size);

/* The same about those in also; false when there are none. */
bool standings_also(const struct standings *standings, char *buf, size_t size);

/* Likewise, who would take part by default and is not there. */
bool standings_absent(const struct standings *standings, char *buf,
		      size_t size);

#endif
