/*
 * standings.c - all rows of ours that had a rival, and which are behind
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "bench/standings.h"
#include "bench/table.h"
#include "tools/units.h"

void standings_open(struct standings *standings)
{
	*standings = (struct standings){ .behind = json_array(),
					 .also = json_array(),
					 .absent = json_array() };
}

void standings_close(struct standings *standings)
{
	json_decref(standings->behind);
	json_decref(standings->also);
	json_decref(standings->absent);
	standings->behind = standings->also = standings->absent = NULL;
}

/* "0.07x of ck-spsc (never sleeps)", or "" */
static void print_also(char *buf, size_t size, const json_t *row)
{
	char times[24];

	units_times(times, sizeof(times), row_number(row, "ratio"));
	*buf = '\0';
	if (table_also_standing(row) == STANDING_BEHIND)
		snprintf(buf, size, "%s of %s%s", times,
			 row_text(row, "best_rival"), table_unlike(row));
}

static void print_alike(char *buf, size_t size, const json_t *row)
{
	const char *alike = row_text(row, "best_alike");
	char times[24];

	units_times(times, sizeof(times), table_figure(row));
	*buf = '\0';
	if (table_standing(row) == STANDING_BEHIND)
		snprintf(buf, size, "%s of %s", times,
			 *alike ? alike : row_text(row, "best_rival"));
}

static void count_rival(struct standings *standings, const json_t *row)
{
	if (row_is(row, "ours") || row_is(row, "floor") || !row_is_ok(row))
		return;
	standings->n_rivals++;
	standings->n_ranked += row_load(row) != LOAD_IDLE;
}

/* One library has several rivals, whose names begin alike. */
static void add_absent(json_t *absent, const char *transport)
{
	int len = (int)strcspn(transport, "-");
	json_t *name;
	size_t i;

	json_array_foreach(absent, i, name) {
		const char *text = json_string_value(name);

		if (strcspn(text, "-") == (size_t)len &&
		    !strncmp(text, transport, (size_t)len))
			return;
	}
	json_array_append_new(absent, json_sprintf("%.*s%s", len, transport,
						   transport[len] ? "-*" : ""));
}

void standings_add(struct standings *standings, const json_t *row)
{
	char name[160], alike[80], also[120];
	const char *regime = row_text(row, "regime");
	json_t *sentence;

	count_rival(standings, row);
	if (!row_is_asked(row))
		add_absent(standings->absent, row_text(row, "transport"));
	standings->n += table_standing(row) != STANDING_NONE;
	standings->n_all += table_standing(row) != STANDING_NONE ||
			    table_also_standing(row) != STANDING_NONE;
	print_alike(alike, sizeof(alike), row);
	print_also(also, sizeof(also), row);
	if (!*alike && !*also)
		return;
	row_name(row, name, sizeof(name));
	sentence = json_sprintf(
		"%s (%s), %s%s%s%s%s", name, row_text(row, "wait"), alike,
		*alike && *also ? "; " : "", also, *regime ? ", " : "", regime);
	json_array_append_new(*alike ? standings->behind : standings->also,
			      sentence);
}

static const char *why_none(const struct standings *standings)
{
	if (standings->n_all)
		return "shmbus had no rival of like use here";
	if (!standings->n_rivals)
		return "shmbus had no rival here";
	if (!standings->n_ranked)
		return "shmbus is not ranked here: idle has no ratios, its "
		       "table shows what each costs";
	return "shmbus had no rival here that it can be compared with";
}

void standings_sentence(const struct standings *standings, char *buf,
			size_t size)
{
	size_t behind = json_array_size(standings->behind);

	if (!standings->n)
		snprintf(buf, size, "%s", why_none(standings));
	else if (!behind)
		snprintf(buf, size,
			 "shmbus is behind the best rival of like use in none "
			 "of %u rows",
			 standings->n);
	else
		snprintf(buf, size,
			 "shmbus is BEHIND the best rival of like use in %zu "
			 "of %u rows",
			 behind, standings->n);
}

bool standings_also(const struct standings *standings, char *buf, size_t size)
{
	size_t also = json_array_size(standings->also);

	if (also)
		snprintf(buf, size,
			 "in %zu more it is BEHIND rivals that never sleep or "
			 "send in bursts, unlike it",
			 also);
	return also > 0;
}

bool standings_absent(const struct standings *standings, char *buf, size_t size)
{
	size_t n = json_array_size(standings->absent), len = 0;

	snprintf(buf, size, "not built here, and so not compared with: ");
	for (size_t i = 0; i < n; i++) {
		len = strlen(buf);
		snprintf(buf + len, size - len, "%s%s", i ? ", " : "",
			 json_string_value(
				 json_array_get(standings->absent, i)));
	}
	len = strlen(buf);
	snprintf(buf + len, size - len,
		 "; busbench rivals says what to install");
	return n > 0;
}
