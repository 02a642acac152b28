/*
 * stats_show.h - what a bus counts, as text and as JSON
 */
#ifndef ADM_STATS_SHOW_H
#define ADM_STATS_SHOW_H

#include <jansson.h>

#include "tools/adm/view.h"

/* All counts since the bus was made; @name is what the operator calls it. */
void stats_show(const char *name, const struct snap *s);

/* What came between two snaps, a second: a line, and one for each channel. */
void stats_show_rates(const char *name, const struct snap *was,
		      const struct snap *now);

/* The same as an object; without @was there are no rates in it. */
json_t *stats_json(const char *name, const struct snap *was,
		   const struct snap *now);

#endif
