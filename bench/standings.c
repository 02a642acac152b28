/*
 * standings.c - all rows of ours that had a rival, and which are behind
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "bench/standings.h"
#include "bench/table.h"
#include "bench/units.h"

void standings_open(struct standings *standings)
{
	*standings = (struct standings){ .behind = json_array() };
}

void standings_close(struct standings *standings)
{
	json_decref(standings->behind);
	standings->behind = NULL;
}

void standings_add(struct standings *standings, const json_t *row)
{
	enum standing standing = table_standing(row);
	char name[160], times[24];

	if (standing == STANDING_NONE)
		return;
	standings->n++;
	if (standing != STANDING_BEHIND)
		return;
	row_name(row, name, sizeof(name));
	units_times(times, sizeof(times), row_number(row, "ratio"));
	json_array_append_new(standings->behind,
			      json_sprintf("%s (%s), %s of %s%s%s", name,
					   row_text(row, "wait"), times,
					   row_text(row, "best_rival"),
					   *row_text(row, "regime") ? ", " : "",
					   row_text(row, "regime")));
}

void standings_sentence(const struct standings *standings, char *buf,
			size_t size)
{
	size_t behind = json_array_size(standings->behind);

	if (!standings->n)
		snprintf(buf, size, "shmbus had no rival here");
	else if (!behind)
		snprintf(buf, size,
			 "shmbus is behind the best rival in none of %u rows",
			 standings->n);
	else
		snprintf(buf, size,
			 "shmbus is BEHIND the best rival in %zu of %u rows",
			 behind, standings->n);
}
