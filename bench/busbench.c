/*
 * busbench.c - measure shmbus and its rivals, in turn, between processes
 *
 * options.c says what is asked for, plan.c makes cases of it, session.c runs
 * them one after the other, measure.c the rounds of each, report.c prints them.
 * A load_*.c is what the processes of a round do; they reach ours and every
 * rival through transport.h alone.
 *
 * There is no signal handler: whatever ends this process ends its children,
 * and nothing that they use has a name.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/options.h"
#include "bench/plan.h"
#include "bench/session.h"

/* What is no list of workloads, by its first word. */
static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "compare", compare_main },
	{ "report", page_main },
	{ "rivals", rivals_main },
	{ "sweep", sweep_main },
};

/* Returns the exit status, or -1 when @argv is of no subcommand. */
static int run_command(int argc, char **argv)
{
	static char title[40];

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name)) {
			snprintf(title, sizeof(title), "busbench %s", argv[1]);
			argv[1] = title;
			return commands[i].run(argc - 1, argv + 1);
		}
	return -1;
}

int main(int argc, char **argv)
{
	static struct plan plan;
	struct options options;
	int status = run_command(argc, argv);

	if (status >= 0)
		return status;
	options_parse(&options, argc, argv);
	session_init();
	plan_add(&plan, &options);
	return session_run(&plan, &options, argc, argv);
}
