/*
 * options.c - what the command line says
 *
 * Each error names what was given and what would be right.
 */
#include "config.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arg.h"
#include "bench/message.h"
#include "bench/options.h"
#include "bus/shmbus.h"

#define MAX_SECONDS 3600.0
#define MAX_RATE    100000000
#define MAX_KILLS   10000

/* Whose workers or readers may be killed. */
#define LOADS_CHAOS                                                            \
	(LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_MPMC) | LOAD_BIT(LOAD_FARM) |      \
	 LOAD_BIT(LOAD_POOL))

enum key {
	KEY_WORKERS = 256,
	KEY_PRODUCERS,
	KEY_CONSUMERS,
	KEY_SIZE,
	KEY_BATCH,
	KEY_INFLIGHT,
	KEY_SLOTS,
	KEY_METHOD,
	KEY_CHUNK,
	KEY_ITEMS,
	KEY_DURATION,
	KEY_WARMUP,
	KEY_RUNS,
	KEY_RATE,
	KEY_WAIT,
	KEY_TRANSPORT,
	KEY_PROFILE,
	KEY_COPY,
	KEY_LOAN,
	KEY_PIN,
	KEY_NO_PIN,
	KEY_RIVAL,
	KEY_CHAOS,
	KEY_SYSCALLS,
	KEY_FORMAT,
	KEY_MAX
};

static const struct argp_option option_table[] = {
	{ "workers", KEY_WORKERS, "N[,N...]", 0,
	  "farm, pool, recover, idle: workers (default 1,2,4,8; as many as "
	  "processors, 8 at most; 2; 1)",
	  0 },
	{ "producers", KEY_PRODUCERS, "N", 0, "mpmc: writers", 0 },
	{ "consumers", KEY_CONSUMERS, "N", 0,
	  "mpmc: readers (default 1x1, 2x2, 4x4, 8x8)", 0 },
	{ "size", KEY_SIZE, "BYTES[,BYTES...]", 0,
	  "stream, duplex, mpmc, wake, idle: bytes of a message, at least 8; "
	  "also 4K, 1M, and ranges: 8:1M:x4, 8:64:+8",
	  0 },
	{ "batch", KEY_BATCH, "N", 0,
	  "stream, mpmc: messages a call, where the transport can", 0 },
	{ "inflight", KEY_INFLIGHT, "N", 0,
	  "farm, pool: requests outstanding (default 1024)", 0 },
	{ "slots", KEY_SLOTS, "N", 0,
	  "stream, mpmc: slots of the queue, and of rivals that get the memory "
	  "of it; a power of two (default 64 KiB of them); without pipes then",
	  0 },
	{ "method", KEY_METHOD, "NAME[,NAME...]", 0,
	  "pool: apply, submit, map, imap, imap_unordered (default: all)", 0 },
	{ "chunk", KEY_CHUNK, "N", 0,
	  "pool: items a task of map and imap, or 'default' (default: both for "
	  "map, 1 for imap)",
	  0 },
	{ "items", KEY_ITEMS, "N", 0,
	  "pool: elements of the array of a map (default 5000 where chunk is "
	  "given, else 20000)",
	  0 },
	{ "duration", KEY_DURATION, "SECONDS", 0, "of one round", 0 },
	{ "warmup", KEY_WARMUP, "SECONDS", 0,
	  "before each round, uncounted (default a quarter of it, 3 to 30 ms)",
	  0 },
	{ "runs", KEY_RUNS, "N", 0,
	  "rounds of each transport, in turn with the others; the median is "
	  "shown, from 6 on with its 95 % confidence interval",
	  0 },
	{ "rate", KEY_RATE, "N[/s]", 0,
	  "rtt, stream, farm: send at intended times, N a second (50K, 1M), "
	  "and count latencies from these: an open loop (default: closed)",
	  0 },
	{ "wait", KEY_WAIT, "HOW", 0,
	  "how shmbus waits: spin, adaptive, uring or futex (the last two "
	  "sleep at once)",
	  0 },
	{ "transport", KEY_TRANSPORT, "HOW[,HOW...]", 0,
	  "what of shmbus: pipe, queue (default: both, where they can)", 0 },
	{ "profile", KEY_PROFILE, "NAME[,NAME...]", 0,
	  "slots of its pipes: adaptive (default), latency, stream, or all",
	  0 },
	{ "copy", KEY_COPY, NULL, 0, "stream: send and receive copies", 0 },
	{ "loan", KEY_LOAN, NULL, 0,
	  "stream: write and read in place (default: both, where transports "
	  "can)",
	  0 },
	{ "pin", KEY_PIN, NULL, 0,
	  "pin processes to processors (default for rtt, stream and duplex)",
	  0 },
	{ "no-pin", KEY_NO_PIN, NULL, 0, "never pin", 0 },
	{ "rival", KEY_RIVAL, "NAME[,NAME...]", 0,
	  "whom to compare with; none for nobody, all for everybody who can "
	  "run "
	  "the workload",
	  0 },
	{ "chaos", KEY_CHAOS, "kill=N/s", 0,
	  "rtt, mpmc, farm, pool: kill workers or readers of ours at random, N "
	  "a second; rivals do not survive that and are left out",
	  0 },
	{ "syscalls", KEY_SYSCALLS, NULL, 0,
	  "count system calls a message, in a round of its own under ptrace",
	  0 },
	{ "format", KEY_FORMAT, "FORMAT", 0, "text, json, csv or md", 0 },
	{ NULL, 0, NULL, 0, NULL, 0 }
};

/* Which workloads look at an option. */
static const struct {
	enum key key;
	const char *name;
	unsigned loads;
} uses[] = {
	{ KEY_WORKERS, "workers",
	  LOAD_BIT(LOAD_FARM) | LOAD_BIT(LOAD_POOL) | LOAD_BIT(LOAD_RECOVER) |
		  LOAD_BIT(LOAD_IDLE) },
	{ KEY_PRODUCERS, "producers", LOAD_BIT(LOAD_MPMC) },
	{ KEY_CONSUMERS, "consumers", LOAD_BIT(LOAD_MPMC) },
	{ KEY_SIZE, "size", LOAD_SIZED },
	{ KEY_BATCH, "batch",
	  LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC) | LOAD_BIT(LOAD_FARM) },
	{ KEY_INFLIGHT, "inflight", LOAD_BIT(LOAD_FARM) | LOAD_BIT(LOAD_POOL) },
	{ KEY_RATE, "rate",
	  LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_FARM) },
	{ KEY_CHAOS, "chaos", LOADS_CHAOS },
	{ KEY_SLOTS, "slots", LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_MPMC) },
	{ KEY_METHOD, "method", LOAD_BIT(LOAD_POOL) },
	{ KEY_CHUNK, "chunk", LOAD_BIT(LOAD_POOL) },
	{ KEY_ITEMS, "items", LOAD_BIT(LOAD_POOL) },
	{ KEY_COPY, "copy", LOAD_BIT(LOAD_STREAM) },
	{ KEY_LOAN, "loan", LOAD_BIT(LOAD_STREAM) },
};

static const struct {
	const char *name;
	const struct transport *transport;
} profiles[] = {
	{ "adaptive", &transport_pipe },
	{ "latency", &transport_pipe_latency },
	{ "stream", &transport_pipe_stream },
};

#define N_PROFILES (sizeof(profiles) / sizeof(profiles[0]))

/* As enum format. */
static const char *const format_names[] = { "text", "json", "csv", "md" };

struct parse {
	struct options *options;
	bool given[KEY_MAX - KEY_WORKERS];
	bool pipe, queue; /* --transport */
	unsigned n_profiles;
	const struct transport *profile[N_PROFILES];
};

static size_t number(struct argp_state *state, const char *option,
		     const char *text, size_t min, size_t max)
{
	uint64_t value = 0;

	if (range_number(text, RANGE_BINARY, &value, NULL) < 0 || value < min ||
	    value > max)
		argp_error(state, "--%s '%s' is not a number from %zu to %zu",
			   option, text, min, max);
	return (size_t)value;
}

static void numbers(struct argp_state *state, const char *option,
		    const char *text, size_t min, size_t max, struct list *list)
{
	char *copy = strdup(text), *rest = copy, *one;

	list->n = 0;
	while (copy && (one = strsep(&rest, ","))) {
		int ret = range_add(one, RANGE_BINARY, min, max, list);

		if (ret == -E2BIG)
			argp_error(state,
				   "--%s '%s' would be more than %d numbers; "
				   "say a larger step, as in 8:1M:x4",
				   option, text, MAX_LIST);
		else if (ret < 0)
			argp_error(state,
				   "--%s '%s' is not a number from %zu to %zu, "
				   "nor a range of them, such as 1:16, 1:16:+3 "
				   "or 8:1M:x4",
				   option, one, min, max);
	}
	free(copy);
}

static unsigned slots(struct argp_state *state, const char *text)
{
	uint64_t value = 0;

	if (range_number(text, RANGE_BINARY, &value, NULL) < 0 || value < 2 ||
	    value > MAX_SLOTS || value & (value - 1))
		argp_error(state,
			   "--slots '%s' is not a power of two from 2 to %u",
			   text, MAX_SLOTS);
	return (unsigned)value;
}

static double rate(struct argp_state *state, const char *text)
{
	uint64_t value = 0;
	const char *end = "";

	if (range_number(text, RANGE_DECIMAL, &value, &end) < 0 || value < 1 ||
	    value > MAX_RATE || (*end && strcmp(end, "/s") != 0))
		argp_error(state,
			   "--rate '%s' is not a number of messages a second "
			   "from 1 to %dM, such as 50K or 50000/s",
			   text, MAX_RATE / 1000000);
	return (double)value;
}

static double chaos(struct argp_state *state, const char *text)
{
	uint64_t value = 0;
	const char *end = "";

	if (strncmp(text, "kill=", 5) != 0 ||
	    range_number(text + 5, RANGE_DECIMAL, &value, &end) < 0 ||
	    value < 1 || value > MAX_KILLS || (*end && strcmp(end, "/s") != 0))
		argp_error(state,
			   "--chaos '%s' is not kill=N/s with N from 1 to %d, "
			   "such as kill=10/s",
			   text, MAX_KILLS);
	return (double)value;
}

/* Those who may be killed are ours, and messages go one by one. */
static void check_chaos(struct argp_state *state, struct options *options)
{
	if (options->kills_per_s <= 0)
		return;
	if (options->n_rivals || options->all_rivals)
		argp_error(state, "--chaos is for shmbus alone: who is killed "
				  "in a rival takes its message along; leave "
				  "out --rival");
	if (options->batch > 1 || options->rate > 0)
		argp_error(state, "--chaos kills between single messages of a "
				  "closed loop; leave out --batch and --rate");
	if (!options->loads || options->all) {
		options->loads = LOADS_CHAOS;
		options->all = false;
	}
	for (int load = 0; load < LOAD_N; load++)
		if (options->loads & ~LOADS_CHAOS & LOAD_BIT(load))
			argp_error(state,
				   "--chaos is only for rtt, mpmc, farm, pool; "
				   "leave out %s",
				   load_names[load]);
}

static double seconds(struct argp_state *state, const char *option,
		      const char *text, double min)
{
	return arg_real(state, option, text, min, MAX_SECONDS,
			"number of seconds");
}

static void list_rivals(char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; transports[i] && len < size; i++)
		if (!transports[i]->ours)
			len += (size_t)snprintf(buf + len, size - len, "%s, ",
						transports[i]->name);
}

static void add_rival(struct argp_state *state, struct options *options,
		      const char *name)
{
	const struct transport *rival = rival_find(name);
	char known[1600];

	if (!rival) {
		list_rivals(known, sizeof(known));
		argp_error(state,
			   "unknown rival '%s'; there are %sall and none", name,
			   known);
		return;
	}
	for (unsigned i = 0; i < options->n_rivals; i++)
		if (options->rivals[i] == rival)
			return;
	options->rivals[options->n_rivals++] = rival;
}

static void rivals(struct argp_state *state, struct options *options,
		   const char *text)
{
	char *copy = strdup(text), *rest = copy, *one;

	options->rivals_given = true;
	while (copy && (one = strsep(&rest, ","))) {
		if (!strcmp(one, "all"))
			options->all_rivals = true;
		else if (strcmp(one, "none") != 0)
			add_rival(state, options, one);
	}
	free(copy);
}

static void methods(struct argp_state *state, struct options *options,
		    const char *text)
{
	char *copy = strdup(text), *rest = copy, *one;

	while (copy && (one = strsep(&rest, ","))) {
		int method = arg_choice(state, "method", one, method_names,
					METHOD_FARM);

		options->methods |= METHOD_BIT(method);
	}
	free(copy);
}

static void chunk(struct argp_state *state, struct options *options,
		  const char *text)
{
	options->chunk_given = true;
	if (strcmp(text, "default") != 0)
		options->chunk = number(state, "chunk", text, 1, MAX_ITEMS);
}

static void kinds(struct argp_state *state, struct parse *parse,
		  const char *text)
{
	char *copy = strdup(text), *rest = copy, *one;

	while (copy && (one = strsep(&rest, ","))) {
		if (!strcmp(one, "pipe"))
			parse->pipe = true;
		else if (!strcmp(one, "queue"))
			parse->queue = true;
		else
			argp_error(state,
				   "unknown --transport '%s'; there are pipe "
				   "and queue (whom to compare with: --rival)",
				   one);
	}
	free(copy);
}

static void add_profile(struct parse *parse, const struct transport *transport)
{
	for (unsigned i = 0; i < parse->n_profiles; i++)
		if (parse->profile[i] == transport)
			return;
	parse->profile[parse->n_profiles++] = transport;
}

static void profile(struct argp_state *state, struct parse *parse,
		    const char *text)
{
	char *copy = strdup(text), *rest = copy, *one;

	while (copy && (one = strsep(&rest, ","))) {
		bool all = !strcmp(one, "all"), found = false;

		for (size_t i = 0; i < N_PROFILES; i++) {
			if (!all && strcmp(one, profiles[i].name) != 0)
				continue;
			add_profile(parse, profiles[i].transport);
			found = true;
		}
		if (!found)
			argp_error(state,
				   "unknown --profile '%s'; there are "
				   "adaptive, latency, stream and all",
				   one);
	}
	free(copy);
}

bool options_can(const struct options *options, enum load load)
{
	for (unsigned i = 0; i < options->n_ours; i++)
		if (options->ours[i]->loads & LOAD_BIT(load))
			return true;
	return false;
}

/* Who of ours takes part: pipes first, as they are the faster ones. */
static void choose_ours(struct argp_state *state, struct parse *parse)
{
	struct options *options = parse->options;

	options->ours_given = parse->pipe || parse->queue;
	if (!options->ours_given)
		parse->pipe = parse->queue = true;
	if (parse->n_profiles && !parse->pipe)
		argp_error(state, "--profile is only for --transport pipe");
	if (options->kills_per_s > 0 && !parse->queue)
		argp_error(state, "--chaos kills those who are replaced, and "
				  "nobody takes the place of an end of a pipe; "
				  "leave out --transport pipe");
	if (!parse->n_profiles)
		add_profile(parse, &transport_pipe);
	for (unsigned i = 0; parse->pipe && i < parse->n_profiles; i++)
		options->ours[options->n_ours++] = parse->profile[i];
	if (parse->queue)
		options->ours[options->n_ours++] = &transport_shmbus;
	for (int load = 0; load < LOAD_N; load++)
		if (options->loads & LOAD_BIT(load) && !options->all &&
		    !options_can(options, (enum load)load))
			argp_error(state, "--transport %s cannot do %s",
				   parse->pipe ? "pipe" : "queue",
				   load_names[load]);
}

/* Names for several workloads. */
static const struct {
	const char *name;
	unsigned loads;
	bool only_pipe;
} groups[] = {
	{ "all", LOAD_ALL, false },
	{ "pipe",
	  LOAD_BIT(LOAD_STREAM) | LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_DUPLEX),
	  true },
};

static void add_loads(struct options *options, unsigned loads, bool only_pipe)
{
	unsigned fresh = loads & ~options->loads;

	/* Whoever names one of them also by itself wants all of ours in it. */
	if (only_pipe)
		options->only_pipe |= fresh;
	else
		options->only_pipe &= ~loads;
	options->loads |= loads;
}

static void workload(struct argp_state *state, struct options *options,
		     const char *text)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!strcmp(text, groups[i].name)) {
			options->all |= groups[i].loads == LOAD_ALL;
			add_loads(options, groups[i].loads,
				  groups[i].only_pipe);
			return;
		}
	for (int i = 0; i < LOAD_N; i++)
		if (!strcmp(text, load_names[i])) {
			add_loads(options, LOAD_BIT(i), false);
			return;
		}
	argp_error(
		state,
		"unknown workload '%s'; there are rtt, stream, duplex, mpmc, "
		"farm, pool, wake, recover and idle, pipe for the first three "
		"with pipes, and all (and sweep, as the first word)",
		text);
}

/* An option that no workload of this run looks at is a mistake. */
static void check_uses(struct argp_state *state, const struct parse *parse)
{
	unsigned loads = parse->options->loads;

	if (!loads)
		return;
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		char users[80] = "";

		if (!parse->given[uses[i].key - KEY_WORKERS] ||
		    uses[i].loads & loads)
			continue;
		for (int load = 0; load < LOAD_N; load++)
			if (uses[i].loads & LOAD_BIT(load)) {
				strcat(users, *users ? ", " : "");
				strcat(users, load_names[load]);
			}
		argp_error(state, "--%s is only for %s", uses[i].name, users);
	}
}

/* The numbers that take one value; each is an unsigned of struct options. */
static const struct {
	enum key key;
	const char *name;
	size_t max; /* they begin with 1 */
	size_t off;
} single[] = {
	{ KEY_PRODUCERS, "producers", MAX_PROCESSES,
	  offsetof(struct options, producers) },
	{ KEY_CONSUMERS, "consumers", MAX_PROCESSES,
	  offsetof(struct options, consumers) },
	{ KEY_BATCH, "batch", MAX_BATCH, offsetof(struct options, batch) },
	{ KEY_INFLIGHT, "inflight", MAX_INFLIGHT,
	  offsetof(struct options, inflight) },
	{ KEY_RUNS, "runs", MAX_RUNS, offsetof(struct options, runs) },
};

static bool parse_single(struct argp_state *state, struct options *options,
			 int key, const char *arg)
{
	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		void *field = (char *)options + single[i].off;

		if (key != (int)single[i].key)
			continue;
		*(unsigned *)field = (unsigned)number(state, single[i].name,
						      arg, 1, single[i].max);
		return true;
	}
	return false;
}

/* What messages and tasks are like, and who takes part. */
static error_t parse_load(int key, char *arg, struct argp_state *state)
{
	struct parse *parse = state->input;
	struct options *options = parse->options;

	switch (key) {
	case KEY_WORKERS:
		numbers(state, "workers", arg, 1, MAX_PROCESSES,
			&options->workers);
		break;
	case KEY_SIZE:
		numbers(state, "size", arg, MSG_MIN_BYTES, MAX_BYTES,
			&options->sizes);
		break;
	case KEY_SLOTS:
		options->slots = slots(state, arg);
		break;
	case KEY_METHOD:
		methods(state, options, arg);
		break;
	case KEY_CHUNK:
		chunk(state, options, arg);
		break;
	case KEY_ITEMS:
		options->items = number(state, "items", arg, 1, MAX_ITEMS);
		break;
	case KEY_TRANSPORT:
		kinds(state, parse, arg);
		break;
	case KEY_PROFILE:
		profile(state, parse, arg);
		break;
	case KEY_COPY:
		options->copy = true;
		break;
	case KEY_LOAN:
		options->loan = true;
		break;
	case KEY_RIVAL:
		rivals(state, options, arg);
		break;
	default:
		return parse_single(state, options, key, arg)
			       ? 0
			       : ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void check(struct argp_state *state, struct parse *parse)
{
	struct options *options = parse->options;

	if (options->rate > 0 && options->batch > 1)
		argp_error(state, "--rate sends single messages; leave out "
				  "--batch");
	check_chaos(state, options);
	check_uses(state, parse);
	choose_ours(state, parse);
}

/* How it is measured and shown. */
static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	struct parse *parse = state->input;
	struct options *options = parse->options;

	if (key >= KEY_WORKERS && key < KEY_MAX) {
		options->again = parse->given[key - KEY_WORKERS];
		parse->given[key - KEY_WORKERS] = true;
	}
	switch (key) {
	case KEY_DURATION:
		options->seconds = seconds(state, "duration", arg, 0.001);
		break;
	case KEY_WARMUP:
		options->warmup = seconds(state, "warmup", arg, 0);
		break;
	case KEY_RATE:
		options->rate = rate(state, arg);
		break;
	case KEY_WAIT:
		options->wait = ARG_CHOICE(state, "wait", arg, wait_names);
		break;
	case KEY_PIN:
		options->pin = 1;
		break;
	case KEY_NO_PIN:
		options->pin = 0;
		break;
	case KEY_CHAOS:
		options->kills_per_s = chaos(state, arg);
		break;
	case KEY_SYSCALLS:
		options->syscalls = true;
		break;
	case KEY_FORMAT:
		options->format = (enum format)ARG_CHOICE(state, "format", arg,
							  format_names);
		break;
	case ARGP_KEY_ARG:
		workload(state, options, arg);
		break;
	case ARGP_KEY_END:
		check(state, parse);
		break;
	default:
		return parse_load(key, arg, state);
	}
	return 0;
}

/* The lists behind the options. */
static char *help_filter(int key, const char *text, void *input)
{
	char buf[8000];
	size_t len;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)(uintptr_t)text;
	len = (size_t)snprintf(buf, sizeof(buf), "Rivals:\n");
	for (size_t i = 0; transports[i] && len < sizeof(buf); i++)
		if (!transports[i]->ours)
			len += (size_t)snprintf(
				buf + len, sizeof(buf) - len, "  %-17s %s\n",
				transports[i]->name, transports[i]->what);
	if (len < sizeof(buf))
		snprintf(buf + len, sizeof(buf) - len, "\n%s", text);
	return strdup(buf);
}

static void print_version(FILE *stream, struct argp_state *state)
{
	(void)state;
	fprintf(stream, "busbench %s (libshmbus %s)\n", PACKAGE_VERSION,
		bus_version());
}

void options_parse(struct options *options, int argc, char **argv)
{
	static const char doc[] =
		"Measures shmbus and its rivals between processes, in turn, "
		"and checks every message.\n\n"
		"Workloads:\n"
		"  rtt           one request outstanding: the round trip\n"
		"  stream        one writer, one reader, messages of any size\n"
		"  duplex        two processes, both send and receive\n"
		"  mpmc          many writers and readers on one queue\n"
		"  farm          a coordinator with many requests to workers\n"
		"  pool          tasks to a pool: apply, submit, map, imap\n"
		"  wake          to a receiver that has been idle for 15 ms\n"
		"  recover       a worker is killed in the middle of a "
		"request\n"
		"  idle          what a waiting process costs\n"
		"  pipe          rtt, stream and duplex; of ours only pipes\n"
		"  all           each of them, thoroughly\n\n"
		"Without a workload: a quick table of all of them.\n\n"
		"  sweep WORKLOAD PARAMETER VALUES\n"
		"                one parameter over a range: sweep stream size "
		"8:1M:x4\n\n"
		"  rivals        whom there is to compare with, and what to "
		"install\n\n"
		"Result files (--format json), each command with its --help:\n"
		"  compare       whether a newer one is faster or slower\n"
		"  report        a page with tables and plots"
		"\vExit status: 0; 1 when messages were lost, duplicated or "
		"wrong, or shmbus failed; 2 for a usage error.";
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_one,
		.args_doc = "[WORKLOAD...]\nsweep WORKLOAD PARAMETER VALUES"
			    "\ncompare OLD NEW\nreport FILE...\nrivals",
		.doc = doc,
		.help_filter = help_filter,
	};
	struct parse parse = { .options = options };

	*options = (struct options){ .wait = -1, .pin = -1, .warmup = -1 };
	argp_err_exit_status = 2;
	argp_program_version_hook = print_version;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &parse);
}
