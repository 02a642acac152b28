/*
 * limit.c - the expressions of compare --fail-if
 */
#include "config.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/limit.h"
#include "bench/row.h"

static const char *const operators[] = { "<=", ">=", "==", "<", ">" };

static const char *const latencies[] = { "min", "p50",  "p90",
					 "p99", "p999", "max" };

/* What is known of a comparison also when it has no figure. */
static const char *const facts_names[] = { "slower",  "faster",    "ratio", "p",
					   "missing", "undecided", "failed" };

static const struct {
	const char *name;
	double factor;
	bool time;
} units[] = {
	{ "ns", 1, true },   { "us", 1e3, true }, { "ms", 1e6, true },
	{ "s", 1e9, true },  { "k", 1e3, false }, { "M", 1e6, false },
	{ "G", 1e9, false }, { "%", 1, false },   { "", 1, false },
};

static bool is_among(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static bool is_latency(const char *quantity)
{
	return is_among(quantity, latencies,
			sizeof(latencies) / sizeof(latencies[0]));
}

static bool is_fact(const char *quantity)
{
	return is_among(quantity, facts_names,
			sizeof(facts_names) / sizeof(facts_names[0]));
}

/* Of all fields those are times that say so. */
static bool is_time(const char *quantity)
{
	return is_latency(quantity) || !strncmp(quantity, "ns.", 3) ||
	       strstr(quantity, "_ns");
}

/* The first operator in @text, the longer one where there are two. */
static const char *find_operator(const char *text, const char **found)
{
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		const char *at = strstr(text, operators[i]);

		if (at && (!first || at < first)) {
			first = at;
			*found = operators[i];
		}
	}
	return first;
}

static bool copy(char *buf, size_t size, const char *from, const char *to)
{
	while (from < to && *from == ' ')
		from++;
	while (to > from && to[-1] == ' ')
		to--;
	return snprintf(buf, size, "%.*s", (int)(to - from), from) <
		       (int)size &&
	       from < to;
}

/* WORKLOAD/TRANSPORT; either may be left out. */
static bool parse_selector(struct limit *limit, const char *from,
			   const char *to)
{
	const char *slash = memchr(from, '/', (size_t)(to - from));

	if (slash &&
	    !copy(limit->transport, sizeof(limit->transport), slash + 1, to))
		return false;
	if (slash == from)
		return true;
	return copy(limit->workload, sizeof(limit->workload), from,
		    slash ? slash : to);
}

static int parse_value(struct limit *limit, const char *text, char *why,
		       size_t size)
{
	bool time = is_time(limit->quantity);
	char *end;
	double value = strtod(text, &end);

	if (end == text || !isfinite(value)) {
		snprintf(why, size, "'%s' is not a number", text);
		return -1;
	}
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(end, units[i].name) && units[i].time == time) {
			limit->value = value * units[i].factor;
			return 0;
		}
	snprintf(why, size, "'%s' is not a unit of %s; there are %s", end,
		 limit->quantity,
		 time ? "ns, us, ms and s" : "k, M, G and %, or none");
	return -1;
}

int limit_parse(struct limit *limit, const char *text, char *why, size_t size)
{
	const char *op = NULL, *at = find_operator(text, &op);
	const char *colon = at ? memchr(text, ':', (size_t)(at - text)) : NULL;

	*limit = (struct limit){ .text = text,
				 .workload = "*",
				 .transport = "shmbus*" };
	if (!at ||
	    !copy(limit->quantity, sizeof(limit->quantity),
		  colon ? colon + 1 : text, at) ||
	    (colon && !parse_selector(limit, text, colon))) {
		snprintf(why, size,
			 "it is to be [WORKLOAD[/TRANSPORT]:]QUANTITY, then "
			 "<, <=, >, >= or ==, then NUMBER[UNIT], such as "
			 "'slower>5%%' or 'rtt:p99>50us'");
		return -1;
	}
	snprintf(limit->op, sizeof(limit->op), "%s", op);
	return parse_value(limit, at + strlen(op), why, size);
}

static bool compares(const char *op, double a, double b)
{
	if (!strcmp(op, "=="))
		return a == b;
	if (op[1])
		return *op == '<' ? a <= b : a >= b;
	return *op == '<' ? a < b : a > b;
}

/* NAN when the row has none. */
static double quantity(const char *name, const json_t *row,
		       const struct limit_facts *facts)
{
	char path[48];

	if (!strcmp(name, "missing"))
		return facts->missing;
	if (facts->missing)
		return NAN;
	if (!strcmp(name, "undecided"))
		return facts->undecided;
	if (!strcmp(name, "failed"))
		return !strcmp(row_text(row, "status"), "failed") ||
		       !strcmp(row_text(row, "status"), "hung");
	if (!strcmp(name, "slower"))
		return facts->slower;
	if (!strcmp(name, "faster"))
		return facts->faster;
	if (!strcmp(name, "ratio"))
		return facts->ratio;
	if (!strcmp(name, "p"))
		return facts->p;
	snprintf(path, sizeof(path), "%s%s", is_latency(name) ? "ns." : "",
		 name);
	return row_number(row, path);
}

bool limit_is_true(struct limit *limit, const json_t *row,
		   const struct limit_facts *facts, double *value)
{
	if (fnmatch(limit->workload, row_text(row, "workload"), 0) != 0 ||
	    fnmatch(limit->transport, row_text(row, "transport"), 0) != 0)
		return false;
	*value = quantity(limit->quantity, row, facts);
	limit->seen |= !isnan(*value) || is_fact(limit->quantity);
	if (isnan(*value))
		return false;
	return compares(limit->op, *value, limit->value);
}
