/*
 * rivals.c - busbench rivals: whom this busbench can compare with
 *
 * All rivals are listed, also those whose library was not there when busbench
 * was built, with the package that they want.
 */
#include "config.h"

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arg.h"
#include "bench/commands.h"
#include "bench/transport.h"

#define SCHEMA 1

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	static const char *const formats[] = { "text", "json" };
	bool *json = state->input;

	switch (key) {
	case 'f':
		*json = ARG_CHOICE(state, "format", arg, formats) == 1;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state,
			   "rivals takes no argument, but was given '%s'", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static json_t *workloads_of(const struct transport *rival)
{
	json_t *names = json_array();

	for (unsigned load = 0; load < LOAD_N; load++)
		if (rival->loads & LOAD_BIT(load))
			json_array_append_new(names,
					      json_string(load_names[load]));
	return names;
}

static json_t *string_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static void print_json(const struct transport *rival)
{
	json_t *row = json_object();

	json_object_set_new(row, "schema", json_integer(SCHEMA));
	json_object_set_new(row, "rival", json_string(rival->name));
	json_object_set_new(row, "built",
			    json_boolean(transport_is_built(rival)));
	json_object_set_new(row, "package", string_or_null(rival->package));
	json_object_set_new(row, "what", json_string(rival->what));
	json_object_set_new(row, "wait", string_or_null(rival->waits));
	json_object_set_new(row, "batches", json_boolean(rival->batches));
	json_object_set_new(row, "lends", json_boolean(rival->lends));
	json_object_set_new(row, "floor", json_boolean(rival->floor));
	json_object_set_new(row, "workloads", workloads_of(rival));
	json_dumpf(row, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(row);
}

static void print_text(const struct transport *rival)
{
	printf("  %-18s %-8s %s\n", rival->name,
	       rival->waits ? rival->waits : "-", rival->what);
	printf("  %-18s %-8s   ", "",
	       transport_is_built(rival) ? "" : "ABSENT");
	if (!transport_is_built(rival))
		printf("install %s and build busbench again; ", rival->package);
	for (unsigned load = 0, n = 0; load < LOAD_N; load++)
		if (rival->loads & LOAD_BIT(load))
			printf("%s%s", n++ ? ", " : "", load_names[load]);
	putchar('\n');
}

int rivals_main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "format", 'f', "FORMAT", 0, "text or json", 0 },
		{ NULL, 0, NULL, 0, NULL, 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_one,
		.doc = "Lists whom busbench can compare shmbus with, how they "
		       "wait, what they can do, and which package an absent "
		       "one wants.",
	};
	bool json = false;

	argp_err_exit_status = 2;
	if (argp_parse(&argp, argc, argv, 0, NULL, &json) != 0)
		return 2;
	if (!json)
		printf("  %-18s %-8s %s\n", "rival", "waits", "what it is");
	for (size_t i = 0; transports[i]; i++) {
		if (transports[i]->ours)
			continue;
		if (json)
			print_json(transports[i]);
		else
			print_text(transports[i]);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("busbench: standard output");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
