/*
 * figures.h - what is to be drawn of rows of results
 *
 * A figure is a JSON object:
 *
 *	name	for files: "rtt-busy-latency"
 *	title	for people
 *	x, y	what the axes have: enum axis
 *	lines	array of objects: title, ours, colour (the transport's number on
 *		the whole page, among ours or among the rivals), dash (the
 *		line's number among those of its transport), points (array of
 *		[x, y], x ascending)
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <jansson.h>

enum axis {
	AXIS_PART, /* 1 / (1 - p): 10 is 90 %, 1000 is 99.9 % */
	AXIS_NS,
	AXIS_RATE, /* messages a second */
	AXIS_GB,   /* 10^9 bytes a second */
	AXIS_BYTES,
	AXIS_WORKERS,
	AXIS_PAIRS, /* writers and as many readers */
	AXIS_BATCH
};

/* The colours of all transports of @rows: an object from name to index. */
json_t *figures_colours(const json_t *rows);

/* All that @rows have enough for; never NULL, perhaps empty. */
json_t *figures_make(const json_t *rows, const json_t *colours);

#endif
