/*
 * sweep.c - busbench sweep: one parameter over a range
 *
 * Each value is a command line of its own, with the parameter as its option:
 * so everything that is right or wrong there is here.  All else is fixed,
 * where a workload by itself would have a list; that leaves one case a value,
 * and within it transports take turns as ever.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/plan.h"
#include "bench/session.h"

#define FIXED_BYTES   64
#define FIXED_WORKERS 2

static const struct parameter {
	const char *name;
	unsigned base; /* of numbers; 0: words */
} parameters[] = {
	{ "batch", RANGE_BINARY },
	{ "chunk", RANGE_BINARY },
	{ "consumers", RANGE_BINARY },
	{ "inflight", RANGE_BINARY },
	{ "items", RANGE_BINARY },
	{ "method", 0 },
	{ "producers", RANGE_BINARY },
	{ "rate", RANGE_DECIMAL },
	{ "size", RANGE_BINARY },
	{ "slots", RANGE_BINARY },
	{ "wait", 0 },
	{ "workers", RANGE_BINARY },
};

/* What it runs through, as the option says it. */
struct values {
	const char *name;
	unsigned n;
	char text[MAX_LIST][24];
};

static void __attribute__((format(printf, 1, 2), noreturn))
usage(const char *format, ...)
{
	va_list args;

	fputs("busbench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	/* As argp says it, for all the other options. */
	fputs("\nTry `busbench --help' or `busbench --usage' for more "
	      "information.\n",
	      stderr);
	exit(2);
}

static const struct parameter *find_parameter(const char *name)
{
	char known[200] = "";

	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
		if (!strcmp(name, parameters[i].name))
			return &parameters[i];
		strcat(known, *known ? ", " : "");
		strcat(known, parameters[i].name);
	}
	usage("sweep has no parameter '%s'; there are %s", name, known);
}

static void add_word(struct values *values, const char *word)
{
	if (values->n == MAX_LIST)
		usage("sweep takes %d values at most", MAX_LIST);
	snprintf(values->text[values->n++], sizeof(values->text[0]), "%s",
		 word);
}

static void add_numbers(struct values *values, const char *text, unsigned base)
{
	struct list list = { .n = 0 };
	int ret = range_add(text, base, 0, SIZE_MAX, &list);

	if (ret == -E2BIG)
		usage("'%s' would be more than %d values of %s; say a larger "
		      "step, as in 8:1M:x4",
		      text, MAX_LIST, values->name);
	if (ret < 0)
		usage("'%s' is neither a value of %s nor a range of them; say "
		      "8,64,1K or 1:16 or 1:16:+3 or 8:1M:x4",
		      text, values->name);
	for (unsigned i = 0; i < list.n; i++) {
		char number[24];

		snprintf(number, sizeof(number), "%zu", list.value[i]);
		add_word(values, number);
	}
}

static void read_values(struct values *values, const char *name,
			const char *text)
{
	const struct parameter *parameter = find_parameter(name);
	char *copy = strdup(text), *rest = copy, *one;

	*values = (struct values){ .name = parameter->name };
	while (copy && (one = strsep(&rest, ","))) {
		if (parameter->base)
			add_numbers(values, one, parameter->base);
		else
			add_word(values, one);
	}
	free(copy);
}

/* Of what a workload by itself has a list, one. */
static void fix(struct options *options)
{
	unsigned loads = options->loads;

	if (!options->sizes.n &&
	    loads & (LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_DUPLEX)))
		options->sizes = (struct list){ 1, { FIXED_BYTES } };
	if (!options->workers.n && loads & LOAD_BIT(LOAD_FARM))
		options->workers = (struct list){ 1, { FIXED_WORKERS } };
	if (!options->producers && !options->consumers)
		options->producers = options->consumers = FIXED_WORKERS;
	if (!options->loan)
		options->copy = true;
	if (!options->methods)
		options->methods = options->chunk_given || options->items
					   ? METHOD_BIT(METHOD_MAP)
					   : METHOD_BIT(METHOD_SUBMIT);
	if (!options->chunk_given)
		options->chunk = 1;
	options->chunk_given = true;
	if (loads & LOAD_BIT(LOAD_RTT) && options->wait < 0)
		options->wait = WAIT_ADAPTIVE;
}

/* As if it had been: busbench WORKLOAD OPTION... --PARAMETER=VALUE */
static void options_of(struct options *options, int argc, char **argv,
		       const struct values *values, unsigned i)
{
	char option[64];
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	int n = 0;

	if (!words)
		usage("no memory");
	snprintf(option, sizeof(option), "--%s=%s", values->name,
		 values->text[i]);
	words[n++] = argv[0];
	words[n++] = argv[2];
	for (int k = 5; k < argc; k++)
		words[n++] = argv[k];
	words[n++] = option;
	options_parse(options, n, words);
	free(words);
	if (options->again)
		usage("sweep runs through --%s by itself; leave out --%s, or "
		      "add its value to '%s'",
		      values->name, values->name, argv[4]);
	if (options->loads & (options->loads - 1))
		usage("sweep takes one workload, and then a parameter");
	options->sweep.name = values->name;
	memcpy(options->sweep.value, values->text[i],
	       sizeof(options->sweep.value));
	fix(options);
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-?") ||
		    !strcmp(argv[i], "--usage"))
			return true;
	return false;
}

/* @argv is the whole command, as it was typed. */
static int sweep(int argc, char **argv)
{
	static struct plan plan;
	struct options options;
	struct values values;
	const char *name;

	if (asks_for_help(argc, argv)) {
		char *help[] = { argv[0], (char[]){ "--help" }, NULL };

		options_parse(&options, 2, help);
	}
	if (argc < 5 || argv[2][0] == '-')
		usage("sweep takes a workload, a parameter and its values, "
		      "such as: sweep stream size 8:1M:x4");
	name = argv[3] + strspn(argv[3], "-");
	read_values(&values, name, argv[4]);
	for (unsigned i = 0; i < values.n; i++)
		options_of(&options, argc, argv, &values, i);
	session_init();
	for (unsigned i = 0; i < values.n; i++) {
		options_of(&options, argc, argv, &values, i);
		plan_add(&plan, &options);
	}
	return session_run(&plan, &options, argc, argv);
}

int sweep_main(int argc, char **argv)
{
	char **words = calloc((size_t)argc + 2, sizeof(*words));
	int status;

	if (!words)
		usage("no memory");
	words[0] = program_invocation_name;
	words[1] = (char[]){ "sweep" };
	for (int i = 1; i < argc; i++)
		words[i + 1] = argv[i];
	status = sweep(argc + 1, words);
	free(words);
	return status;
}
