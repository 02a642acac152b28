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

/* A bus between the looks. */
struct subject {
	const char *arg;
	struct view v;
	struct snap was;
	bool is_open;
};

struct check {
	struct args args;
	bool listed; /* found, and not asked for */
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

static void fail(struct check *c, const char *why)
{
	c->bad = true;
	adm_error("%s", why);
}

static void cannot_read(struct check *c, const char *arg, int err)
{
	c->bad = true;
	adm_error("cannot read '%s': %s", arg, strerror(-err));
}

/* Begin to look at @arg. */
static void begin(struct check *c, struct subject *s, const char *arg)
{
	char why[VIEW_WHY_BYTES];
	int ret = view_open(&s->v, arg, why);

	s->arg = arg;
	if (ret) {
		/* One that was found may be gone by now, or another's. */
		if (!c->listed)
			fail(c, why);
		return;
	}
	ret = findings_begin(&s->v, &s->was);
	s->is_open = !ret;
	if (!ret)
		return;
	view_close(&s->v);
	if (!c->listed)
		cannot_read(c, arg, ret);
}

/* Look again, and say what there is to say. */
static void end(struct check *c, struct subject *s)
{
	struct findings f;
	int ret = findings_end(&s->v, &s->was, c->apart_ns, c->long_ns, &f);

	if (ret) {
		if (!c->listed)
			cannot_read(c, s->arg, ret);
	} else {
		c->n_buses++;
		c->bad |= findings_bad(&f) > 0;
		if (c->quiet)
			drop_notes(&f);
		if (c->args.json)
			add_json(c, s->arg, &f);
		else
			print_text(c, s->arg, &f, s->v.kind == VIEW_COPY);
	}
	findings_free(&f);
	view_close(&s->v);
}

static void check(struct check *c, char *const *arg, size_t n)
{
	struct subject *s = calloc(n + 1, sizeof(*s));

	if (!s) {
		fail(c, "out of memory");
		return;
	}
	for (size_t i = 0; i < n; i++)
		begin(c, &s[i], arg[i]);
	for (size_t i = 0; i < n; i++)
		if (s[i].is_open)
			end(c, &s[i]);
	free(s);
}

static void check_all(struct check *c)
{
	struct find_list list;
	int ret = find_all(&list);
	char **arg = ret ? NULL : calloc(list.n + 1, sizeof(*arg));

	if (ret || !arg) {
		c->bad = true;
		adm_error("cannot look for buses: %s",
			  strerror(ret ? -ret : ENOMEM));
		return;
	}
	c->listed = true;
	for (size_t i = 0; i < list.n; i++)
		arg[i] = list.bus[i].arg;
	check(c, arg, list.n);
	free(arg);
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
	else
		check(&c, argv + optind, (size_t)(argc - optind));
	if (c.args.json)
		text_print_json(json_pack("{s:i, s:o}", "schema", 1, "buses",
					  json_incref(c.buses)));
	json_decref(c.buses);
	return c.bad ? ADM_FAILED : ADM_OK;
}
