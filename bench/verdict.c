/*
 * verdict.c - what two results of the same thing say about each other
 *
 * Where processors share a cache everything is several times as fast as where
 * they do not, and a virtual machine goes from one to the other.  So rounds
 * are compared only with rounds of the same regime: of those that both sides
 * have, the one with the most.  With verdict_rules.normalise each round counts
 * in its own ping-pongs, and all of them are compared.  A round in which the
 * machine went from one to the other counts in neither.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rounds.h"
#include "bench/row.h"
#include "bench/stats.h"
#include "bench/verdict.h"

/* Below this much of a processor a difference between two idle ones is that
 * of the ticks of the clock, in percent. */
#define IDLE_PERCENT 0.1

const char *const verdict_names[VERDICT_N] = {
	[VERDICT_SAME] = "same",
	[VERDICT_FASTER] = "faster",
	[VERDICT_SLOWER] = "slower",
	[VERDICT_TOO_FEW] = "too few rounds",
	[VERDICT_REGIMES] = "regimes differ",
	[VERDICT_NOT_MEASURED] = "not measured",
	[VERDICT_ONLY_OLD] = "only in old",
	[VERDICT_ONLY_NEW] = "only in new",
};

/* The rounds of one side. */
struct rounds {
	unsigned n;
	double *value;
	enum regime *regime;
	unsigned n_of[REGIME_N];
};

static double number_at(const json_t *array, size_t i)
{
	const json_t *value = json_array_get(array, i);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

/* As it says; without that by the ping-pong before the round. */
static enum regime round_regime(const json_t *row, size_t i)
{
	const char *name = json_string_value(
		json_array_get(json_object_get(row, "round_regimes"), i));
	double pingpong = number_at(json_object_get(row, "pingpongs"), i);

	for (unsigned k = 0; name && k < REGIME_N; k++)
		if (!strcmp(name, regime_name((enum regime)k)))
			return (enum regime)k;
	return regime_of(pingpong, pingpong);
}

/* Round @i of @row. */
static void add_round(struct rounds *rounds, const json_t *row, size_t i,
		      const struct verdict_rules *rules)
{
	double value = number_at(json_object_get(row, "values"), i);
	double pingpong = number_at(json_object_get(row, "pingpongs"), i);
	enum regime regime = round_regime(row, i);

	if (rules->normalise && row_load(row) != LOAD_IDLE) {
		if (regime == REGIME_MIXED)
			return;
		value = row_more_is_better(row) ? value * pingpong / 1e9
						: value / pingpong;
	}
	if (!isfinite(value))
		return;
	rounds->value[rounds->n] = value;
	rounds->regime[rounds->n] = regime;
	rounds->n_of[regime]++;
	rounds->n++;
}

static void read_rounds(struct rounds *rounds, const json_t *rows,
			const struct verdict_rules *rules)
{
	size_t room = 1, i, j;
	json_t *row, *value;

	json_array_foreach(rows, i, row)
		room += json_array_size(json_object_get(row, "values"));
	*rounds =
		(struct rounds){ .value = calloc(room, sizeof(double)),
				 .regime = calloc(room, sizeof(enum regime)) };
	if (!rounds->value || !rounds->regime)
		return;
	json_array_foreach(rows, i, row)
		json_array_foreach(json_object_get(row, "values"), j, value)
			add_round(rounds, row, j, rules);
}

static void free_rounds(struct rounds *rounds)
{
	free(rounds->value);
	free(rounds->regime);
}

static void keep_regime(struct rounds *rounds, enum regime regime)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rounds->n; i++)
		if (rounds->regime[i] == regime)
			rounds->value[n++] = rounds->value[i];
	rounds->n = n;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static void say(struct comparison *comparison, enum verdict verdict,
		const char *why)
{
	comparison->verdict = verdict;
	snprintf(comparison->why, sizeof(comparison->why), "%s", why);
}

/* Leave only rounds of one regime, the same on both sides.  False when there
 * is none. */
static bool choose_regime(struct comparison *comparison, struct rounds *old,
			  struct rounds *new)
{
	static const enum regime candidates[] = { REGIME_NEAR, REGIME_FAR,
						  REGIME_UNKNOWN };
	enum regime best = REGIME_NEAR;
	unsigned n = old->n, m = new->n;

	for (unsigned i = 1; i < 3; i++) {
		enum regime regime = candidates[i];

		if (least(old->n_of[regime], new->n_of[regime]) >
		    least(old->n_of[best], new->n_of[best]))
			best = regime;
	}
	if (!least(old->n_of[best], new->n_of[best])) {
		say(comparison, VERDICT_REGIMES,
		    "no round of both is near, or far; --normalise compares "
		    "in ping-pongs");
		return false;
	}
	keep_regime(old, best);
	keep_regime(new, best);
	comparison->regime = regime_name(best);
	if (old->n < n || new->n < m)
		snprintf(comparison->why, sizeof(comparison->why),
			 "%u of %u old and %u of %u new rounds are %s", old->n,
			 n, new->n, m, regime_name(best));
	return true;
}

static bool is_same(const struct comparison *comparison, bool idle,
		    const struct verdict_rules *rules)
{
	if (idle &&
	    fabs(comparison->old_value - comparison->new_value) < IDLE_PERCENT)
		return true;
	return comparison->p > rules->alpha ||
	       fabs(comparison->ratio - 1) <= rules->tolerance;
}

static void judge(struct comparison *comparison, const struct rounds *old,
		  const struct rounds *new, const json_t *row,
		  const struct verdict_rules *rules)
{
	const struct rounds *a = old, *b = new;
	struct stats_ratio ratio;

	if (!row_more_is_better(row)) {
		a = new;
		b = old;
	}
	ratio = stats_ratio(a->value, a->n, b->value, b->n, rules->alpha);
	comparison->n_old = old->n;
	comparison->n_new = new->n;
	comparison->old_value = stats_median(old->value, old->n);
	comparison->new_value = stats_median(new->value, new->n);
	comparison->ratio = ratio.ratio;
	comparison->low = ratio.low;
	comparison->high = ratio.high;
	comparison->p = stats_p(old->value, old->n, new->value, new->n);
	if (stats_least_p(old->n, new->n) > rules->alpha)
		say(comparison, VERDICT_TOO_FEW,
		    *comparison->why ? comparison->why : "take more --runs");
	else if (is_same(comparison, row_load(row) == LOAD_IDLE, rules))
		comparison->verdict = VERDICT_SAME;
	else
		comparison->verdict =
			comparison->ratio > 1 ? VERDICT_FASTER : VERDICT_SLOWER;
}

/* Why there are no rounds: of the side that has none. */
static void say_not_measured(struct comparison *comparison, const json_t *rows,
			     const char *side)
{
	const json_t *row = json_array_get(rows, 0);

	comparison->verdict = VERDICT_NOT_MEASURED;
	if (row_is_ok(row)) {
		snprintf(comparison->why, sizeof(comparison->why),
			 "%s: no round has a figure and a ping-pong", side);
		return;
	}
	snprintf(comparison->why, sizeof(comparison->why), "%s: %s%s%s", side,
		 row_text(row, "status"), *row_text(row, "why") ? ", " : "",
		 row_text(row, "why"));
}

void verdict_make(struct comparison *comparison, const json_t *old_rows,
		  const json_t *new_rows, const struct verdict_rules *rules)
{
	const json_t *row = json_array_get(new_rows ? new_rows : old_rows, 0);
	struct rounds old, new;

	*comparison = (struct comparison){ .regime = "",
					   .old_value = NAN,
					   .new_value = NAN,
					   .ratio = NAN,
					   .low = NAN,
					   .high = NAN,
					   .p = NAN };
	if (!old_rows || !new_rows) {
		comparison->verdict =
			old_rows ? VERDICT_ONLY_OLD : VERDICT_ONLY_NEW;
		return;
	}
	read_rounds(&old, old_rows, rules);
	read_rounds(&new, new_rows, rules);
	if (!old.n)
		say_not_measured(comparison, old_rows, "old");
	else if (!new.n)
		say_not_measured(comparison, new_rows, "new");
	else if (rules->normalise || choose_regime(comparison, &old, &new))
		judge(comparison, &old, &new, row, rules);
	free_rounds(&old);
	free_rounds(&new);
}
