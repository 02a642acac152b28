/*
 * cmd_stats.c - busadm stats: counters, once or as rates every few seconds
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "tools/adm/args.h"
#include "tools/adm/find.h"
#include "tools/adm/prom.h"
#include "tools/adm/seconds.h"
#include "tools/adm/stats_show.h"
#include "tools/adm/text.h"

static const char help[] =
	"Usage: busadm stats [OPTION...] [BUS...]\n"
	"What was put and got, by whom, where it waits, who slept and died.\n"
	"Without BUS all buses of this machine.\n"
	"\n"
	"      --interval SECONDS  instead of counts, print what comes in a\n"
	"                          second, again and again\n"
	"      --count N           that many times\n"
	"      --format FORMAT     text, json, or prom: the text format of\n"
	"                          Prometheus\n"
	"      --help              print this and exit\n"
	"\n"
	"With --interval json is one object a line.\n";

enum format { TEXT, JSON, PROM };

/* One bus, and what it said last. */
struct subject {
	const char *name;
	struct view v;
	bool open;
	bool missed; /* and that was said */
	struct snap was, now;
	bool has_was, has_now;
};

struct stats {
	struct args args;
	enum format format;
	uint64_t every_ns; /* 0: once */
	unsigned long count;
	bool listed; /* found, and not asked for by name */
	struct subject *subject;
	size_t n;
	bool failed;
};

/* --------------------------------------------------------------- options -- */

static int misuse(struct stats *st, char **argv, const char *what,
		  const char *value)
{
	st->args.status = adm_misuse(argv[0], "%s, not '%s'", what, value);
	return -1;
}

static int option(struct stats *st, int o, char **argv)
{
	char *end;

	switch (o) {
	case 'f':
		for (st->format = TEXT; st->format <= PROM; st->format++) {
			static const char *const names[] = { "text", "json",
							     "prom" };

			if (!strcmp(optarg, names[st->format]))
				return 0;
		}
		return misuse(st, argv, "--format is text, json or prom",
			      optarg);
	case 'i':
		if (!seconds_parse(optarg, &st->every_ns) && st->every_ns)
			return 0;
		return misuse(st, argv, "--interval is a number of seconds",
			      optarg);
	case 'n':
		errno = 0;
		st->count = strtoul(optarg, &end, 10);
		if (*optarg >= '0' && *optarg <= '9' && !*end && !errno &&
		    st->count)
			return 0;
		return misuse(st, argv, "--count is a number from 1 on",
			      optarg);
	default:
		return args_common(&st->args, o, argv, help);
	}
}

static int parse(struct stats *st, int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		ARGS_COMMON
	};
	int o;

	while ((o = getopt_long(argc, argv, ":", options, NULL)) != -1)
		if (option(st, o, argv))
			return -1;
	if (st->count && !st->every_ns)
		st->args.status =
			adm_misuse(argv[0], "--count wants an --interval");
	else if (st->format == PROM && st->every_ns)
		st->args.status = adm_misuse(
			argv[0], "--format prom has no --interval: Prometheus "
				 "computes rates itself");
	else
		return 0;
	return -1;
}

/* ----------------------------------------------------------------- buses -- */

/* Of what is closed, or is another bus now, nothing goes on. */
static void forget(struct subject *s)
{
	if (s->has_was)
		snap_free(&s->was);
	if (s->has_now)
		snap_free(&s->now);
	s->has_was = s->has_now = false;
}

static void close_subject(struct subject *s)
{
	forget(s);
	if (s->open)
		view_close(&s->v);
	s->open = false;
}

static void complain(struct stats *st, const char *why)
{
	if (!st->listed) {
		st->failed = true;
		adm_error("%s", why);
	}
}

/* It cannot be opened, which is said once. */
static void miss(struct stats *st, struct subject *s, const char *why)
{
	if (!s->missed)
		complain(st, why);
	s->missed = true;
	close_subject(s);
}

/*
 * Find it by its name, each time: else one that is gone would be shown for
 * ever, and keep its memory through us, and one that was created anew would
 * not be shown.
 */
static void open_subject(struct stats *st, struct subject *s)
{
	char why[VIEW_WHY_BYTES];
	struct view v;

	if (view_open(&v, s->name, why)) {
		miss(st, s, why);
		return;
	}
	if (!view_readable(&v)) {
		snprintf(why, sizeof(why), "cannot read '%s': %s", s->name,
			 v.why);
		miss(st, s, why);
		view_close(&v);
		return;
	}
	if (s->open && (v.dev != s->v.dev || v.ino != s->v.ino))
		forget(s);
	if (s->open)
		view_close(&s->v);
	s->v = v;
	s->open = true;
	s->missed = false;
}

static void look(struct stats *st, struct subject *s)
{
	char why[VIEW_WHY_BYTES];
	int ret;

	open_subject(st, s);
	if (!s->open)
		return;
	if (s->has_was)
		snap_free(&s->was);
	s->was = s->now;
	s->has_was = s->has_now;
	s->has_now = false;
	ret = snap_take(&s->v, true, &s->now);
	if (ret) {
		snprintf(why, sizeof(why), "cannot read '%s': %s", s->name,
			 strerror(-ret));
		complain(st, why);
		return;
	}
	s->has_now = true;
}

/* ---------------------------------------------------------------- output -- */

static void show_prom(const struct stats *st)
{
	struct prom p = { 0 };

	for (size_t i = 0; i < st->n; i++) {
		const struct subject *s = &st->subject[i];

		prom_add_up(&p, s->name, s->has_now);
		if (s->has_now)
			prom_add(&p, s->name, &s->now);
	}
	prom_print(&p, stdout);
	if (p.failed)
		adm_error("out of memory");
	prom_free(&p);
}

static void show_json(const struct stats *st)
{
	json_t *buses = json_array(), *o;

	for (size_t i = 0; i < st->n; i++) {
		const struct subject *s = &st->subject[i];

		if (s->has_now)
			json_array_append_new(
				buses,
				stats_json(s->name, s->has_was ? &s->was : NULL,
					   &s->now));
	}
	o = json_pack("{s:i, s:I, s:o}", "schema", 1, "time",
		      (json_int_t)time(NULL), "buses", buses);
	if (!st->every_ns) {
		text_print_json(o);
		return;
	}
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

static void show_text(const struct stats *st)
{
	bool any = false;

	for (size_t i = 0; i < st->n; i++) {
		const struct subject *s = &st->subject[i];

		if (!s->has_now || (st->every_ns && !s->has_was))
			continue;
		if (any)
			putchar('\n');
		any = true;
		if (st->every_ns)
			stats_show_rates(s->name, &s->was, &s->now);
		else
			stats_show(s->name, &s->now);
	}
	if (!any && st->listed)
		puts("there is no bus that you may see");
}

static void show(const struct stats *st)
{
	if (st->format == PROM)
		show_prom(st);
	else if (st->format == JSON)
		show_json(st);
	else
		show_text(st);
	fflush(stdout);
}

static void look_at_all(struct stats *st)
{
	for (size_t i = 0; i < st->n; i++)
		look(st, &st->subject[i]);
}

static bool any_left(const struct stats *st)
{
	for (size_t i = 0; i < st->n; i++)
		if (st->subject[i].has_now)
			return true;
	return false;
}

/* Absolute times, so that it does not drift. */
static void repeat(struct stats *st)
{
	uint64_t next = sb_now_ns();

	for (unsigned long k = 0;
	     (!st->count || k < st->count) && any_left(st) && !ferror(stdout);
	     k++) {
		struct timespec t;

		next += st->every_ns;
		t.tv_sec = (time_t)(next / SB_NS_PER_S);
		t.tv_nsec = (long)(next % SB_NS_PER_S);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t,
				       NULL) == EINTR)
			;
		look_at_all(st);
		if (k && st->format == TEXT)
			putchar('\n');
		show(st);
	}
}

static int name_all(struct stats *st, int argc, char **argv,
		    struct find_list *list)
{
	int ret = 0;

	if (optind == argc) {
		st->listed = true;
		ret = find_all(list);
		if (ret) {
			adm_error("cannot look for buses: %s", strerror(-ret));
			return ret;
		}
	}
	st->n = st->listed ? list->n : (size_t)(argc - optind);
	st->subject = calloc(st->n + 1, sizeof(*st->subject));
	if (!st->subject) {
		adm_error("out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < st->n; i++)
		st->subject[i].name =
			st->listed ? list->bus[i].arg : argv[optind + (int)i];
	return 0;
}

int cmd_stats(int argc, char **argv)
{
	struct stats st = { 0 };
	struct find_list list = { 0 };

	if (parse(&st, argc, argv))
		return st.args.status;
	if (name_all(&st, argc, argv, &list)) {
		find_free(&list);
		return ADM_FAILED;
	}
	look_at_all(&st);
	if (st.every_ns)
		repeat(&st);
	else
		show(&st);
	for (size_t i = 0; i < st.n; i++)
		close_subject(&st.subject[i]);
	free(st.subject);
	find_free(&list);
	return st.failed ? ADM_FAILED : ADM_OK;
}
