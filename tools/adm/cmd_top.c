/*
 * cmd_top.c - busadm top: what happens on a bus, live
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/adm/args.h"
#include "tools/adm/seconds.h"
#include "tools/adm/top.h"

static const char help[] =
	"Usage: busadm top [OPTION...] [BUS]\n"
	"What happens on a bus, live: rates, what waits, who sleeps, who uses\n"
	"the processor, and what is wrong.  Without BUS all of this machine.\n"
	"\n"
	"      --interval SECONDS  between two looks (1)\n"
	"      --help              print this and exit\n"
	"\n"
	"Keys: q quit, space pause, tab the other table, left and right sort,\n"
	"r the other way round, up and down scroll, h help.\n";

#ifndef WITH_NCURSES
int top_run(struct watch *w, struct top_want *want)
{
	(void)w;
	(void)want;
	return -ENOSYS;
}
#endif

static int parse(struct args *args, struct top_want *want, int argc,
		 char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	int o;

	while ((o = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (o != 'i') {
			if (args_common(args, o, argv, help))
				return -1;
		} else if (seconds_parse(optarg, &want->every_ns) ||
			   want->every_ns < 10 * SB_NS_PER_MS) {
			args->status = adm_misuse(
				argv[0],
				"--interval is a number of seconds from 0.01 "
				"on, not '%s'",
				optarg);
			return -1;
		}
	}
	return args_count(args, argc, argv, 0, 1, "at most one BUS") ? 0 : -1;
}

/* One bus has to be there, and be a living one. */
static int check_bus(const char *arg)
{
	char why[VIEW_WHY_BYTES];
	enum view_kind kind;
	struct view v;

	if (view_open(&v, arg, why))
		return adm_error("%s", why);
	kind = v.kind;
	view_close(&v);
	if (kind == VIEW_COPY)
		return adm_error("'%s' is a copy, in which nothing happens; "
				 "see 'busadm info' and 'busadm stats'",
				 arg);
	return ADM_OK;
}

static int say_why(int ret)
{
	const char *term = getenv("TERM");

	switch (ret) {
	case 0:
		return ADM_OK;
	case -ENOSYS:
		return adm_error("it was built without ncurses (Debian "
				 "package: libncurses-dev), which top needs; "
				 "'busadm stats --interval 1' prints rates");
	case -ENODEV:
		return adm_error("top knows no terminal '%s' that has a "
				 "screen; set TERM, or see 'busadm stats "
				 "--interval 1'",
				 term ? term : "");
	default:
		return adm_error("top: %s", strerror(-ret));
	}
}

int cmd_top(int argc, char **argv)
{
	struct args args = { 0 };
	struct top_want want;
	struct watch w;
	int ret;

	top_want_init(&want);
	if (parse(&args, &want, argc, argv))
		return args.status;
#ifdef WITH_NCURSES
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return adm_error("top wants a terminal; 'busadm stats "
				 "--interval 1' prints rates anywhere");
#endif
	if (optind < argc && check_bus(argv[optind]))
		return ADM_FAILED;
	ret = watch_open(&w, optind < argc ? argv[optind] : NULL);
	if (!ret)
		ret = top_run(&w, &want);
	watch_close(&w);
	return say_why(ret);
}
