/*
 * cmd_check.c - busadm check: what is damaged, and what is stuck
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/args.h"
#include "tools/adm/find.h"
#include "tools/adm/finding_show.h"
#include "tools/adm/seconds.h"
#include "tools/adm/text.h"
#include "tools/colour.h"

static const char help[] =
	"Usage: busadm check [OPTION...] [BUS...]\n"
	"Say what is damaged and what is stuck: who, why, and what to do.\n"
	"Without BUS all buses of this machine.\n"
	"\n"
	"      --interval SECONDS  between the two looks that are compared\n"
	"                          (0.2); what needs longer gets longer, 2\n"
	"      --long SECONDS      a task that takes longer is a warning (60)\n"
	"      --quiet             no notes, and nothing of buses that are "
	"well\n"
	"      --format FORMAT     text or json\n"
	"      --help              print this and exit\n"
	"\n"
	"Exit status: 0 nothing is wrong, 1 warnings or errors, 2 wrong "
	"options.\n";

struct check {
	struct args args;
	uint64_t apart_ns, long_ns;
	bool quiet;
	json_t *buses; /* JSON */
	unsigned n_buses;
	bool bad;
};

static int parse(struct check *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "long", required_argument, NULL, 'l' },
		{ "quiet", no_argument, NULL, 'q' },
		ARGS_COMMON
	};
	int o;

	while ((o = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (o == 'q') {
			c->quiet = true;
		} else if (o == 'i' || o == 'l') {
			if (seconds_parse(optarg, o == 'i' ? &c->apart_ns
							   : &c->long_ns)) {
				c->args.status = adm_misuse(
					argv[0],
					"--%s is a number of seconds, not '%s'",
					o == 'i' ? "interval" : "long", optarg);
				return -1;
			}
		} else if (args_common(&c->args, o, argv, help)) {
			return -1;
		}
	}
	return 0;
}

/* ---------------------------------------------------------------- report -- */

static void drop_notes(struct findings *f)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->n; i++)
		if (f->at[i].severity != FINDING_NOTE)
			f->at[n++] = f->at[i];
	f->n = n;
	f->n_left_out[FINDING_NOTE] = 0;
}

static void sum_up(const struct findings *f, const char *name, bool single)
{
	const uint32_t *n = f->n_of;
	char escaped[256];

	printf("%s: ", text_name(escaped, sizeof(escaped), name));
	if (!f->n) {
		puts("nothing is wrong");
		return;
	}
	printf("%u error%s, %u warning%s, %u note%s%s\n", n[FINDING_ERROR],
	       text_s(n[FINDING_ERROR]), n[FINDING_WARNING],
	       text_s(n[FINDING_WARNING]), n[FINDING_NOTE],
	       text_s(n[FINDING_NOTE]),
	       single ? "; of a copy, in which what is on its way looks as if "
			"it were stuck"
		      : "");
}

static void print_text(const struct check *c, const char *name,
		       const struct findings *f, bool single)
{
	if (c->quiet && !f->n)
		return;
	sum_up(f, name, single);
	findings_print(f, stdout, 2, colour_wanted());
}

static void add_json(struct check *c, const char *name,
		     const struct findings *f)
{
	json_array_append_new(c->buses,
			      json_pack("{s:o, s:i, s:i, s:i, s:o}", "bus",
					text_json(name, strlen(name)), "errors",
					(int)f->n_of[FINDING_ERROR], "warnings",
					(int)f->n_of[FINDING_WARNING], "notes",
					(int)f->n_of[FINDING_NOTE], "findings",
					findings_json(f)));
}

/* ----------------------------------------------------------------- a bus -- */

static int fail(struct check *c, const char *why)
{
	c->bad = true;
	return adm_error("%s", why);
}

/* @listed: it was found, and may be gone by now. */
static void check_one(struct check *c, const char *arg, bool listed)
{
	char why[VIEW_WHY_BYTES];
	struct findings f;
	struct view v;
	int ret = view_open(&v, arg, why);

	if (ret) {
		if (!listed || (ret != -ENOENT && ret != -ESRCH))
			fail(c, why);
		return;
	}
	ret = findings_of(&v, c->apart_ns, c->long_ns, &f);
	if (ret && !listed) {
		snprintf(why, sizeof(why), "cannot read '%s': %s", arg,
			 strerror(-ret));
		fail(c, why);
	}
	if (!ret) {
		c->n_buses++;
		c->bad |= findings_bad(&f) > 0;
		if (c->quiet)
			drop_notes(&f);
		if (c->args.json)
			add_json(c, arg, &f);
		else
			print_text(c, arg, &f, v.kind == VIEW_COPY);
	}
	findings_free(&f);
	view_close(&v);
}

static void check_all(struct check *c)
{
	struct find_list list;
	int ret = find_all(&list);

	if (ret) {
		c->bad = true;
		adm_error("cannot look for buses: %s", strerror(-ret));
		return;
	}
	for (size_t i = 0; i < list.n; i++)
		check_one(c, list.bus[i].arg, true);
	find_free(&list);
	if (!c->n_buses && !c->bad && !c->quiet && !c->args.json)
		puts("there is no bus that you may see");
}

int cmd_check(int argc, char **argv)
{
	struct check c = { .apart_ns = FINDING_APART_NS,
			   .long_ns = FINDING_LONG_NS };

	if (parse(&c, argc, argv))
		return c.args.status;
	c.buses = json_array();
	if (optind == argc)
		check_all(&c);
	for (int i = optind; i < argc; i++)
		check_one(&c, argv[i], false);
	if (c.args.json)
		text_print_json(json_pack("{s:i, s:o}", "schema", 1, "buses",
					  json_incref(c.buses)));
	json_decref(c.buses);
	return c.bad ? ADM_FAILED : ADM_OK;
}
