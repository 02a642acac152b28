/*
 * busscen.c - run scenarios of the bus: options, the table, the summary
 *
 * A scenario is in a file of its own, scen_<name>.c; see scen.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/out.h"
#include "tools/progress.h"
#include "tools/scen.h"

/* clang-format off */
#define TAKES(x) (1u << SCEN_##x)
#define FARM (TAKES(TEXT) | TAKES(INPUT) | TAKES(WORKERS) | TAKES(KILLS) | \
	      TAKES(PAIRS))
static const struct scen scens[] = {
	{ "queue-hello", "a parent and a child greet each other over two queues",
	  TAKES(TEXT), false, 1, scen_queue_hello },
	{ "queue-farm", "pairs of integers go to workers, products come back",
	  FARM, false, 2, scen_queue_farm },
	{ "pipe-hello", "a parent and a child greet each other over one pipe",
	  TAKES(TEXT), false, 1, scen_pipe_hello },
	{ "pipe-farm", "as queue-farm, with a pipe to each worker",
	  FARM, false, 2, scen_pipe_farm },
	{ "pipe-file", "a file goes through a pipe to a process that writes it",
	  TAKES(INPUT), true, 1, scen_pipe_file },
	{ "pool-pipe", "tasks of a pool send products through pipes handed to them",
	  FARM, false, 2, scen_pool_pipe },
	{ "pool-queue", "tasks of a pool move pairs from queue to queue",
	  FARM, false, 2, scen_pool_queue },
	{ "pool-map", "a pool maps a function over pairs, poison among them",
	  FARM | TAKES(MAP), false, 2, scen_pool_map },
	{ "crash", "tasks end in every way there is, the others do not mind",
	  TAKES(TEXT) | TAKES(WORKERS), false, 2, scen_crash },
	{ "backpressure", "slow workers, fast submitter, bounded memory",
	  TAKES(TEXT) | TAKES(WORKERS), false, 2, scen_backpressure },
	{ "fanout", "many workers on few processors, and each gets its share",
	  TAKES(TEXT) | TAKES(WORKERS), false, 64, scen_fanout },
	{ "drain", "a pool is closed with much to do, and nothing is lost",
	  TAKES(TEXT) | TAKES(WORKERS) | TAKES(KILLS), false, 2, scen_drain },
};
/* clang-format on */
#define N_SCENS (sizeof(scens) / sizeof(scens[0]))

static const char usage[] =
	"Usage: busscen list\n"
	"       busscen run NAME [OPTION...]\n"
	"Run a scenario of the shmbus library.\n"
	"\n"
	"      --workers N      processes that work, 1 to 200 (default 2; "
	"fanout: 64)\n"
	"      --input FILE     pairs to multiply, one 'a,b' a line, or the "
	"file to send;\n"
	"                       - is standard input\n"
	"      --count N        instead of an input: N generated pairs, or "
	"tasks\n"
	"      --seed S         of what is random (default 1)\n"
	"      --output FILE    instead of standard output\n"
	"      --format FORMAT  text (default) or json, an object a line\n"
	"      --keep-going     answer lines that are wrong with 'error: ...'\n"
	"      --kill-every K   kill a worker at random after each K results\n"
	"      --chunk N        pool-map: pairs of a task, 1 to 1024 (default "
	"1)\n"
	"      --ordered        pool-map: results in the order of the pairs "
	"(default)\n"
	"      --unordered      pool-map: results as they are done\n"
	"      --poison N       pool-map: the Nth pair kills whoever takes it\n"
	"      --stuck N        pool-map: the Nth pair never ends by itself\n"
	"      --deadline MS    pool-map: give a task up so long after it was "
	"submitted\n"
	"      --wait HOW       auto (default), uring or futex\n"
	"      --help           print this and exit\n"
	"      --version        print the version and exit\n"
	"\n"
	"Exit status: 0 all is well; 1 an error, wrong lines with "
	"--keep-going, or\n"
	"what a scenario claims is not so; 2 wrong options, or a line of the "
	"input that\n"
	"is no pair.\n"
	"See busscen(1).\n";

struct command_line {
	struct scen_options scen;
	bool json;
	/* the last option given that only such scenarios understand */
	const char *only[N_SCEN_TAKES];
};

int scen_cannot(const char *what, int err)
{
	/* What the library means by it is not what the system says. */
	complain("busscen: cannot %s: %s", what,
		 err == -ECHILD ? "workers die as soon as they are started"
				: strerror(-err));
	return SCEN_FAILED;
}

int scen_cannot_open(const char *path, int err)
{
	complain("busscen: cannot open '%s': %s", path, strerror(-err));
	return SCEN_FAILED;
}

void scen_how_it_ended(int signal, int exit_status, char *text, size_t cap)
{
	if (signal)
		snprintf(text, cap, "by signal %d (%s)", signal,
			 strsignal(signal));
	else
		snprintf(text, cap, "with exit status %d", exit_status);
}

int scen_cannot_create(const struct scen_options *opt, int err)
{
	const char *env = getenv("BUS_WAIT");
	bool by_env = opt->wait == BUS_WAIT_AUTO && env;

	if (opt->wait == BUS_WAIT_URING ||
	    (by_env && strcmp(env, "uring") == 0))
		complain("busscen: cannot wait with io_uring, as %s demands: "
			 "%s; io_uring may be switched off here, try %s",
			 by_env ? "BUS_WAIT=uring" : "--wait uring",
			 strerror(-err),
			 by_env ? "BUS_WAIT=auto" : "--wait auto");
	else if (by_env && err == -EINVAL)
		complain("busscen: cannot create the bus: %s; is BUS_WAIT='%s' "
			 "right? It may be auto, uring or futex",
			 strerror(-err), env);
	else
		scen_cannot("create the bus", err);
	return SCEN_FAILED;
}

/* Say what is wrong with the command line and leave. */
static void __attribute__((noreturn, format(printf, 1, 2)))
bad_usage(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	complain("busscen: %s\nTry 'busscen --help' for more information.",
		 text);
	exit(SCEN_USAGE);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t min,
			     uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	/* strtoull() itself takes blanks and a sign. */
	if (text[0] < '0' || text[0] > '9' || *end || errno || n < min ||
	    n > max)
		bad_usage("%s '%s' must be a number from %" PRIu64
			  " to %" PRIu64,
			  option, text, min, max);
	return n;
}

static uint32_t parse_wait(const char *text)
{
	if (strcmp(text, "auto") == 0)
		return BUS_WAIT_AUTO;
	if (strcmp(text, "uring") == 0)
		return BUS_WAIT_URING;
	if (strcmp(text, "futex") == 0)
		return BUS_WAIT_FUTEX;
	bad_usage("--wait '%s' must be auto, uring or futex", text);
}

static bool parse_format(const char *text)
{
	if (strcmp(text, "json") == 0)
		return true;
	if (strcmp(text, "text") == 0)
		return false;
	bad_usage("--format '%s' must be text or json", text);
}

enum option_key {
	WORKERS = 256, /* past all letters */
	INPUT,
	OUTPUT,
	COUNT,
	SEED,
	WAIT,
	KILL_EVERY,
	CHUNK,
	ORDERED,
	UNORDERED,
	POISON,
	STUCK,
	DEADLINE,
	FORMAT,
	KEEP_GOING,
	HELP,
	VERSION
};

static const struct option long_options[] = {
	{ "workers", required_argument, NULL, WORKERS },
	{ "input", required_argument, NULL, INPUT },
	{ "output", required_argument, NULL, OUTPUT },
	{ "count", required_argument, NULL, COUNT },
	{ "seed", required_argument, NULL, SEED },
	{ "wait", required_argument, NULL, WAIT },
	{ "kill-every", required_argument, NULL, KILL_EVERY },
	{ "chunk", required_argument, NULL, CHUNK },
	{ "ordered", no_argument, NULL, ORDERED },
	{ "unordered", no_argument, NULL, UNORDERED },
	{ "poison", required_argument, NULL, POISON },
	{ "stuck", required_argument, NULL, STUCK },
	{ "deadline", required_argument, NULL, DEADLINE },
	{ "format", required_argument, NULL, FORMAT },
	{ "keep-going", no_argument, NULL, KEEP_GOING },
	{ "help", no_argument, NULL, HELP },
	{ "version", no_argument, NULL, VERSION },
	{ NULL, 0, NULL, 0 },
};

/* Print and leave, with an error if it cannot be printed. */
static void __attribute__((noreturn)) print_and_exit(const char *text)
{
	static struct out out;

	out_open(&out, NULL, false);
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n") + 1;

		out_text(&out, "%.*s", (int)n, line);
		line += n;
	}
	if (out_close(&out) < 0) {
		out_complain(&out);
		exit(SCEN_FAILED);
	}
	exit(SCEN_OK);
}

/* Those of pool-map; false: it is none of them. */
static bool parse_map_option(int key, const char *arg, struct command_line *cl)
{
	struct scen_options *opt = &cl->scen;
	const char *name = NULL;

	switch (key) {
	case CHUNK:
		name = "--chunk";
		opt->chunk = parse_number(name, arg, 1, 1024);
		break;
	case ORDERED:
	case UNORDERED:
		name = key == ORDERED ? "--ordered" : "--unordered";
		opt->unordered = key == UNORDERED;
		break;
	case POISON:
		name = "--poison";
		opt->poison = parse_number(name, arg, 1, UINT64_MAX);
		break;
	case STUCK:
		name = "--stuck";
		opt->stuck = parse_number(name, arg, 1, UINT64_MAX);
		break;
	case DEADLINE:
		name = "--deadline";
		opt->deadline_ns =
			(int64_t)parse_number(name, arg, 1, 1000000000) *
			1000000;
		break;
	}
	if (name)
		cl->only[SCEN_MAP] = name;
	return name;
}

static void parse_option(int key, const char *arg, struct command_line *cl)
{
	struct scen_options *opt = &cl->scen;

	switch (key) {
	case WORKERS:
		opt->n_workers =
			(uint32_t)parse_number("--workers", arg, 1, 200);
		cl->only[SCEN_WORKERS] = "--workers";
		break;
	case INPUT:
		opt->input = arg;
		cl->only[SCEN_INPUT] = "--input";
		break;
	case OUTPUT:
		opt->output = arg;
		break;
	case COUNT:
		opt->count = parse_number("--count", arg, 0, UINT64_MAX);
		opt->generate = true;
		cl->only[SCEN_WORKERS] = "--count";
		break;
	case SEED:
		opt->seed = parse_number("--seed", arg, 0, UINT64_MAX);
		break;
	case WAIT:
		opt->wait = parse_wait(arg);
		break;
	case KILL_EVERY:
		opt->kill_every =
			parse_number("--kill-every", arg, 1, UINT64_MAX);
		cl->only[SCEN_KILLS] = "--kill-every";
		break;
	case FORMAT:
		cl->json = parse_format(arg);
		cl->only[SCEN_TEXT] = "--format";
		break;
	case KEEP_GOING:
		opt->keep_going = true;
		cl->only[SCEN_PAIRS] = "--keep-going";
		break;
	case HELP:
		print_and_exit(usage);
	case VERSION:
		print_and_exit("busscen (shmbus) " BUS_VERSION "\n");
	}
}

static void parse_options(int argc, char **argv, struct command_line *cl)
{
	int key;

	opterr = 0; /* we say it ourselves */
	while ((key = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		const char *word = argv[optind - 1];

		if (key == ':')
			bad_usage("%s needs a value", word);
		if (key == '?' && optopt >= WORKERS)
			bad_usage("'%s': %.*s takes no value", word,
				  (int)strcspn(word, "="), word);
		if (key == '?' && optopt)
			bad_usage("there is no option '-%c'", optopt);
		if (key == '?')
			bad_usage("there is no option '%s', or more than one "
				  "that begins so",
				  word);
		if (!parse_map_option(key, optarg, cl))
			parse_option(key, optarg, cl);
	}
	if (cl->scen.generate && cl->scen.input)
		bad_usage("--input '%s' and --count exclude each other; "
			  "leave one out",
			  cl->scen.input);
	if (cl->scen.stuck && !cl->scen.deadline_ns)
		bad_usage("with --stuck it would never end; give --deadline MS "
			  "as well");
	if (cl->scen.stuck && cl->scen.stuck == cl->scen.poison)
		bad_usage("--stuck and --poison are for two pairs");
}

/* "a, b, c", for messages. */
static const char *known_scens(void)
{
	static char text[512];
	size_t at = 0;

	for (size_t i = 0; i < N_SCENS && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s",
				       i ? ", " : "", scens[i].name);
	return text;
}

static const struct scen *find_scen(const char *name)
{
	for (size_t i = 0; i < N_SCENS; i++)
		if (strcmp(scens[i].name, name) == 0)
			return &scens[i];
	bad_usage("there is no scenario '%s'; there are %s", name,
		  known_scens());
}

/* Reading what one writes never ends, or finds nothing. */
static bool is_same_file(const char *input, const char *output)
{
	struct stat in, out;
	int ret;

	if (!input)
		return false;
	ret = strcmp(input, "-") ? stat(input, &in) : fstat(STDIN_FILENO, &in);
	if (ret < 0 || !S_ISREG(in.st_mode))
		return false;
	ret = output && strcmp(output, "-") ? stat(output, &out)
					    : fstat(STDOUT_FILENO, &out);
	return ret == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

static void print_summary(struct out *out, const struct scen *scen,
			  const struct scen_summary *s, uint64_t ns)
{
	out_json(out, json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "scenario",
				scen->name, "results", (json_int_t)s->n_results,
				"errors", (json_int_t)s->n_errors, "workers",
				(json_int_t)s->n_workers, "kills",
				(json_int_t)s->n_kills, "seconds",
				(double)ns / 1e9));
}

static int run(const struct scen *scen, const struct command_line *cl)
{
	static struct out out;
	struct scen_summary summary = { 0 };
	uint64_t start_ns = progress_clock();
	int ret, status;

	if (!(scen->takes & TAKES(TEXT))) {
		status = scen->run(&cl->scen, NULL, &summary);
		progress_hide();
		return status;
	}
	ret = out_open(&out, cl->scen.output, cl->json);
	if (ret < 0)
		return scen_cannot_open(cl->scen.output, ret);
	status = scen->run(&cl->scen, &out, &summary);
	if (out.json)
		print_summary(&out, scen, &summary,
			      progress_clock() - start_ns);
	if (out_close(&out) < 0) {
		out_complain(&out);
		status = SCEN_FAILED;
	}
	progress_hide();
	return status;
}

static void list(void)
{
	char text[2048];
	size_t at = 0;

	for (size_t i = 0; i < N_SCENS && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "%-13s %s\n", scens[i].name,
				       scens[i].about);
	print_and_exit(text);
}

/* What a caller may have left in a state that would surprise us. */
static void set_up_process(void)
{
	/* A descriptor below 3 that is closed would go to the next file, and
	 * our messages into it.  Opened so that using it still fails. */
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
	signal(SIGPIPE, SIG_IGN); /* a write says EPIPE, and we say that */
	signal(SIGCHLD, SIG_DFL); /* if ignored, deaths have no reason */
}

int main(int argc, char **argv)
{
	struct command_line cl = { .scen = { .seed = 1, .chunk = 1 } };
	const struct scen *scen;
	const char *command;

	set_up_process();
	parse_options(argc, argv, &cl);
	argc -= optind;
	argv += optind;
	if (argc == 0)
		bad_usage("say what to do: list, or run NAME");
	command = argv[0];
	if (strcmp(command, "list") == 0) {
		if (argc > 1)
			bad_usage("list takes no argument '%s'", argv[1]);
		list();
	}
	if (strcmp(command, "run") != 0)
		bad_usage("there is no command '%s'; there are list and run",
			  command);
	if (argc == 1)
		bad_usage("run needs a scenario: %s", known_scens());
	if (argc > 2)
		bad_usage("run takes one scenario; '%s' is one too many",
			  argv[2]);
	scen = find_scen(argv[1]);
	for (int i = 0; i < N_SCEN_TAKES; i++)
		if (cl.only[i] && !(scen->takes & 1u << i))
			bad_usage("%s means nothing to %s; leave it out",
				  cl.only[i], scen->name);
	if (scen->needs_input && !cl.scen.input)
		bad_usage("%s needs --input FILE; - is standard input",
			  scen->name);
	if (is_same_file(cl.scen.input, cl.scen.output))
		bad_usage("input and output are the same file, '%s'; "
			  "write to another",
			  cl.scen.input);
	if (!cl.scen.n_workers)
		cl.scen.n_workers = scen->n_workers;
	return run(scen, &cl);
}
