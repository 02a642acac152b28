/*
 * busadm.c - the operator's tool: the table of commands
 *
 * Each command is in a file of its own, cmd_<name>.c; see commands.h.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bus/shmbus.h"
#include "tools/adm/args.h"
#include "tools/adm/commands.h"

/* clang-format off */
static const struct adm_command commands[] = {
	{ "list", cmd_list, "the buses of this machine" },
	{ "info", cmd_info, "a bus, and its channels" },
	{ "ps", cmd_ps, "who is attached, and what he holds" },
	{ "inspect", cmd_inspect, "a channel, slot by slot" },
	{ "top", cmd_top, "what happens, live" },
	{ "stats", cmd_stats, "what it counts; rates; for Prometheus" },
	{ "check", cmd_check, "what is damaged, and what is stuck" },
	{ "dump", cmd_dump, "a copy, for later or for somebody else" },
	{ "gc", cmd_gc, "remove what killed creators have left" },
	{ "put", cmd_put, "messages to a queue" },
	{ "get", cmd_get, "messages out of a queue" },
	{ "close", cmd_close, "no more puts to a queue" },
	{ "abort", cmd_abort, "the same, and throw away what is in it" },
	{ "doctor", cmd_doctor, "what of shmbus works on this machine" },
};
/* clang-format on */
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fputs("Usage: busadm COMMAND [ARG...]\n"
	      "Look at buses of shmbus, and act on them.\n"
	      "\n"
	      "BUS is a name, pid:PID for the unnamed bus of a process, or a "
	      "file, with a '/'\n"
	      "in it, for a copy.\n"
	      "\n",
	      to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("\n"
	      "      --help     print this and exit; or of a command, after "
	      "it\n"
	      "      --version  print the version and exit\n"
	      "\n"
	      "Exit status: 0 all is well; 1 an error, or something is wrong "
	      "with the bus;\n"
	      "2 wrong options.\n"
	      "See busadm(1).\n",
	      to);
}

static const struct adm_command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

/* What was printed is lost if the disk is full. */
static int finish(int status)
{
	int bad = ferror(stdout);

	if (fclose(stdout) || bad) {
		if (errno == EPIPE)
			return status; /* who reads has seen enough */
		fprintf(stderr, "busadm: cannot write standard output: %s\n",
			strerror(errno));
		return status == ADM_OK ? ADM_FAILED : status;
	}
	return status;
}

int main(int argc, char **argv)
{
	const struct adm_command *c;

	if (argc < 2) {
		usage(stderr);
		return ADM_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		usage(stdout);
		return finish(ADM_OK);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("busadm %s\n", bus_version());
		return finish(ADM_OK);
	}
	c = find_command(argv[1]);
	if (!c) {
		adm_error("there is no command '%s'; 'busadm --help' lists "
			  "them",
			  argv[1]);
		return ADM_USAGE;
	}
	opterr = 0; /* see args.h */
	return finish(c->run(argc - 1, argv + 1));
}
