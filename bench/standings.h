/*
 * standings.h - all rows of ours that had a rival, and which are behind
 *
 * So that nobody has to look for them in the tables.
 */
#ifndef BENCH_STANDINGS_H
#define BENCH_STANDINGS_H

#include <jansson.h>

struct standings {
	unsigned n;     /* rows of ours that were compared */
	json_t *behind; /* of these, sentences about those that are behind */
};

void standings_open(struct standings *standings);
void standings_close(struct standings *standings);

void standings_add(struct standings *standings, const json_t *row);

/* "shmbus is behind the best rival in 2 of 30 rows", without a full stop. */
void standings_sentence(const struct standings *standings, char *buf,
			size_t size);

#endif
