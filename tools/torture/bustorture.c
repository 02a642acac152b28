/*
 * bustorture.c - do harm to a bus and look whether it was any: options, the
 * table of tests, what came out
 *
 * Each test is in a file of its own; see torture.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tests/bus/t_bus.h"
#include "tests/support/step.h"
#include "tools/torture/guard.h"
#include "tools/torture/torture.h"

#define N_PARTS 4

static const struct test {
	const char *name, *about;
	bool traces; /* needs ptrace(2) */

	struct {
		const char *name; /* NULL: the only one */
		torture_fn fn;
	} part[N_PARTS];
} tests[] = {
	{ "kill",
	  "SIGKILL after each instruction of each operation",
	  true,
	  { { "ring", kill_ring },
	    { "bus", kill_bus },
	    { "pipe", kill_pipe },
	    { "pool", kill_pool } } },
	{ "stop",
	  "SIGSTOP after each instruction, others go on, SIGCONT",
	  true,
	  { { NULL, stop_main } } },
	{ "chaos",
	  "SIGKILL, SIGSTOP and no descriptors at random, at full speed",
	  false,
	  { { NULL, chaos_main } } },
	{ "flip",
	  "a hostile peer changes shared words at each instruction",
	  true,
	  { { NULL, flip_main } } },
	{ "faults",
	  "each system call fails in each way",
	  true,
	  { { NULL, faults_main } } },
	{ "threats",
	  "names, users, sizes, limits, and kernels that deny",
	  false,
	  { { NULL, threats_main } } },
};

static const char usage[] =
	"Usage: bustorture [TEST...] [OPTION...]\n"
	"Do harm to processes that share a bus, and check that it was none.\n"
	"\n"
	"      --quick          a sample, under three minutes (default)\n"
	"      --full           everything, for hours\n"
	"      --seed S         of what is random (default: the day)\n"
	"      --format FORMAT  text (default) or json, an object a line\n"
	"      --only CASE      of one test: only this case, or part, of it\n"
	"      --at N           ... and of that only this point\n"
	"  -v, --verbose        counts of each case, on standard error\n"
	"      --list           print the tests and exit\n"
	"      --help           print this and exit\n"
	"      --version        print the version and exit\n"
	"\n"
	"Exit status: 0 no harm was done; 1 it was; 2 wrong options; 77 no "
	"test can run\n"
	"here; 128 + n when signal n ends it.  See bustorture(1).\n";

enum { OK, BAD, USAGE };

static struct {
	bool full, json, verbose;
	uint64_t seed;
	const char *only;
	long at;
	bool chosen[lengthof(tests)];
	uint32_t n_chosen;
} opt = { .at = -1 };

/* What the processes share. */
static struct {
	struct tally tally[lengthof(tests)];
	_Atomic uint64_t n_told;
} * all;

/* The signal that is to end us: tell what was done so far. */
static const int ending[] = { SIGHUP, SIGINT, SIGTERM };
static volatile sig_atomic_t interrupted;

static double seconds[lengthof(tests)];
static bool skipped[lengthof(tests)];

/* -------------------------------------------------------------- options -- */

static void __attribute__((noreturn, format(printf, 1, 2)))
bad_usage(const char *format, ...)
{
	va_list args;

	fputs("bustorture: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\nTry 'bustorture --help' for more information.\n", stderr);
	exit(USAGE);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t max)
{
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	/* strtoull() itself takes blanks and a sign. */
	if (text[0] < '0' || text[0] > '9' || *end || errno || n > max)
		bad_usage("%s '%s' must be a number from 0 to %" PRIu64, option,
			  text, max);
	return n;
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
	QUICK = 256, /* past all letters */
	FULL,
	SEED,
	FORMAT,
	ONLY,
	AT,
	LIST,
	HELP,
	VERSION
};

static const struct option long_options[] = {
	{ "quick", no_argument, NULL, QUICK },
	{ "full", no_argument, NULL, FULL },
	{ "seed", required_argument, NULL, SEED },
	{ "format", required_argument, NULL, FORMAT },
	{ "only", required_argument, NULL, ONLY },
	{ "at", required_argument, NULL, AT },
	{ "verbose", no_argument, NULL, 'v' },
	{ "list", no_argument, NULL, LIST },
	{ "help", no_argument, NULL, HELP },
	{ "version", no_argument, NULL, VERSION },
	{ NULL, 0, NULL, 0 },
};

/* What was printed arrives, or it was no success. */
static int end_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout) && fclose(stdout) == 0)
		return status;
	fprintf(stderr, "bustorture: cannot write standard output: %m\n");
	return status == OK ? BAD : status;
}

static void __attribute__((noreturn)) list(void)
{
	for (size_t i = 0; i < lengthof(tests); i++)
		printf("%-8s  %s\n", tests[i].name, tests[i].about);
	exit(end_output(OK));
}

static void parse_option(int key, const char *arg)
{
	switch (key) {
	case QUICK:
		opt.full = false;
		break;
	case FULL:
		opt.full = true;
		break;
	case SEED:
		opt.seed = parse_number("--seed", arg, UINT64_MAX);
		break;
	case FORMAT:
		opt.json = parse_format(arg);
		break;
	case ONLY:
		opt.only = arg;
		break;
	case AT:
		opt.at = (long)parse_number("--at", arg, INT64_MAX);
		break;
	case 'v':
		opt.verbose = true;
		break;
	case LIST:
		list();
	case HELP:
		fputs(usage, stdout);
		exit(end_output(OK));
	case VERSION:
		puts("bustorture (shmbus) " BUS_VERSION);
		exit(end_output(OK));
	}
}

static void choose(const char *name)
{
	for (size_t i = 0; i < lengthof(tests); i++)
		if (strcmp(tests[i].name, name) == 0) {
			opt.n_chosen += !opt.chosen[i];
			opt.chosen[i] = true;
			return;
		}
	bad_usage("there is no test '%s'; --list names them", name);
}

static void parse_options(int argc, char **argv)
{
	int key;

	opterr = 0; /* we say it ourselves */
	while ((key = getopt_long(argc, argv, ":v", long_options, NULL)) !=
	       -1) {
		if (key == ':')
			bad_usage("%s needs a value", argv[optind - 1]);
		if (key == '?')
			bad_usage("'%s' is no option, or takes no value",
				  argv[optind - 1]);
		parse_option(key, optarg);
	}
	for (; optind < argc; optind++)
		choose(argv[optind]);
	if (opt.only && opt.n_chosen != 1)
		bad_usage("--only is for one test; name it");
	if (opt.at >= 0 && !opt.only)
		bad_usage("--at needs --only CASE");
	if (opt.n_chosen)
		return;
	for (size_t i = 0; i < lengthof(tests); i++)
		opt.chosen[i] = true;
}

/* ------------------------------------------------------------- progress -- */

#define CLEAR "\r\033[K" /* to the start of the line, remove what is on it */

static void show(const struct test *t, const struct tally *tally, double s)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr,
			CLEAR "%s: %" PRIu64 " points, %" PRIu64 " bad, %.0f s",
			t->name, (uint64_t)tally->points, tally_bad(tally), s);
}

static void hide(void)
{
	if (isatty(STDERR_FILENO))
		fputs(CLEAR, stderr);
}

/* -------------------------------------------------------------- the run -- */

static double now(void)
{
	return (double)sb_now_ns() / 1e9;
}

/* What --only says of this part: *@name NULL for all; or nothing. */
static bool wants_part(const char *part, const char **name)
{
	size_t n = part ? strlen(part) : 0;

	*name = opt.only;
	if (!opt.only || !part)
		return true;
	if (strcmp(opt.only, part) == 0) {
		*name = NULL;
		return true;
	}
	*name += n + 1;
	return strncmp(opt.only, part, n) == 0 && opt.only[n] == '/';
}

/* In the child that runs the part. */
static int part_main(const struct test *t, size_t p, const char *only)
{
	static struct torture run;

	run = (struct torture){
		.test = t->name,
		.part = t->part[p].name,
		.full = opt.full,
		.verbose = opt.verbose,
		.seed = opt.seed,
		.only = only,
		.at = opt.at,
		.tally = &all->tally[t - tests],
		.n_told = &all->n_told,
	};
	torture = &run;
	return t->part[p].fn();
}

static pid_t start_part(const struct test *t, size_t p, const char *only)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		fprintf(stderr, "bustorture: cannot fork: %m\n");
		exit(BAD);
	}
	if (pid > 0) {
		guard_part(pid);
		return pid;
	}
	guard_enter_part();
	for (size_t i = 0; i < lengthof(ending); i++)
		signal(ending[i], SIG_DFL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
	_exit(part_main(t, p, only));
}

static void wait_part(const struct test *t, size_t p, pid_t pid, double since)
{
	struct tally *tally = &all->tally[t - tests];
	const struct timespec pause = { .tv_nsec = 200000000 };
	int status;

	while (!interrupted && waitpid(pid, &status, WNOHANG) == 0) {
		show(t, tally, now() - since);
		nanosleep(&pause, NULL);
	}
	hide();
	guard_part_over();
	if (interrupted)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	tally->wrong++;
	fprintf(stderr, "FAILED: %s %s did not come to its end (%s %d)\n",
		t->name, t->part[p].name ? t->part[p].name : "",
		WIFEXITED(status) ? "exit" : "signal",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void run_test(const struct test *t)
{
	double since = now();
	const char *only;

	if (t->traces && !t_may_trace()) {
		fprintf(stderr, "%s: skipped, ptrace(2) is not permitted\n",
			t->name);
		skipped[t - tests] = true;
		return;
	}
	for (size_t p = 0; p < N_PARTS && t->part[p].fn && !interrupted; p++)
		if (wants_part(t->part[p].name, &only))
			wait_part(t, p, start_part(t, p, only), since);
	seconds[t - tests] = now() - since;
	if (!interrupted && !all->tally[t - tests].points &&
	    !all->tally[t - tests].skipped) {
		fprintf(stderr, "FAILED: %s has no points%s\n", t->name,
			opt.only ? "; is that the name of a case?" : "");
		all->tally[t - tests].wrong++;
	}
}

/* -------------------------------------------------------------- results -- */

static void print_json(const struct test *t, const struct tally *y, double s)
{
	json_t *o = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:f}",
		"test", t->name, "points", (json_int_t)y->points, "hung",
		(json_int_t)y->hung, "lost", (json_int_t)y->lost, "duplicated",
		(json_int_t)y->duplicated, "leaked", (json_int_t)y->leaked,
		"crashed", (json_int_t)y->crashed, "wrong",
		(json_int_t)y->wrong, "rejected", (json_int_t)y->rejected,
		"skipped", (json_int_t)y->skipped, "seconds", s);

	if (!o || json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)))
		fprintf(stderr, "bustorture: cannot write the result\n");
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}

static void print_row(const struct test *t, const struct tally *y, double s)
{
	static bool begun;

	if (!begun)
		printf("%-8s %9s %6s %6s %6s %6s %7s %6s %8s %7s %8s\n", "test",
		       "points", "hung", "lost", "dup", "leaked", "crashed",
		       "wrong", "rejected", "skipped", "seconds");
	begun = true;
	printf("%-8s %9" PRIu64 " %6" PRIu64 " %6" PRIu64 " %6" PRIu64
	       " %6" PRIu64 " %7" PRIu64 " %6" PRIu64 " %8" PRIu64 " %7" PRIu64
	       " %8.1f\n",
	       t->name, (uint64_t)y->points, (uint64_t)y->hung,
	       (uint64_t)y->lost, (uint64_t)y->duplicated, (uint64_t)y->leaked,
	       (uint64_t)y->crashed, (uint64_t)y->wrong, (uint64_t)y->rejected,
	       (uint64_t)y->skipped, s);
}

/* Returns the exit status. */
static int report(void)
{
	bool ran = false, bad = false;

	for (size_t i = 0; i < lengthof(tests); i++) {
		if (!opt.chosen[i] || skipped[i] || seconds[i] == 0)
			continue;
		ran = true;
		bad |= tally_bad(&all->tally[i]) != 0;
		if (!opt.json)
			print_row(&tests[i], &all->tally[i], seconds[i]);
	}
	if (interrupted)
		fprintf(stderr, "bustorture: interrupted, not all was done\n");
	return bad ? BAD : ran ? OK : T_SKIP;
}

static void interrupt(int sig)
{
	interrupted = sig;
}

static void catch_signals(void)
{
	for (size_t i = 0; i < lengthof(ending); i++)
		/* nohup(1), or a job in the background, ignores some */
		if (signal(ending[i], interrupt) == SIG_IGN)
			signal(ending[i], SIG_IGN);
}

/* End as the signal would have ended us: who has started us is to know. */
static void end_as_told(void)
{
	signal(interrupted, SIG_DFL);
	raise(interrupted);
}

int main(int argc, char **argv)
{
	int ret;

	signal(SIGPIPE, SIG_IGN); /* a write says EPIPE, and we say that */
	signal(SIGCHLD, SIG_DFL); /* if ignored, deaths have no reason */
	opt.seed = (uint64_t)time(NULL) / 86400;
	parse_options(argc, argv);
	ret = guard_begin();
	if (ret) {
		fprintf(stderr, "bustorture: cannot start a guard: %s\n",
			strerror(-ret));
		return BAD;
	}
	catch_signals();
	all = t_shared(sizeof(*all));
	for (size_t i = 0; i < lengthof(tests); i++) {
		if (!opt.chosen[i] || interrupted)
			continue;
		run_test(&tests[i]);
		if (opt.json && !skipped[i])
			print_json(&tests[i], &all->tally[i], seconds[i]);
	}
	guard_end();
	ret = end_output(report());
	if (interrupted)
		end_as_told();
	return ret;
}
