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
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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
	bool single; /* a case is one point: no --at */

	struct {
		const char *name; /* NULL: the only one */
		torture_fn fn;
	} part[N_PARTS];
} tests[] = {
	{ "kill",
	  "SIGKILL after each instruction of each operation",
	  true,
	  false,
	  { { "ring", kill_ring },
	    { "bus", kill_bus },
	    { "pipe", kill_pipe },
	    { "pool", kill_pool } } },
	{ "stop",
	  "SIGSTOP after each instruction, others go on, SIGCONT",
	  true,
	  false,
	  { { NULL, stop_main } } },
	{ "chaos",
	  "SIGKILL, SIGSTOP and no descriptors at random, at full speed",
	  false,
	  false,
	  { { NULL, chaos_main } } },
	{ "flip",
	  "a hostile peer changes shared words at each instruction",
	  true,
	  false,
	  { { NULL, flip_main } } },
	{ "faults",
	  "each system call fails in each way",
	  true,
	  false,
	  { { NULL, faults_main } } },
	{ "threats",
	  "names, users, sizes, limits, and kernels that deny",
	  false,
	  true,
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
	"      --only CASE      of one test: only this case, or all below it\n"
	"      --at N           ... and of that case only this point\n"
	"  -v, --verbose        counts of each case, on standard error\n"
	"      --list           print the tests, or the cases of one, and "
	"exit\n"
	"      --help           print this and exit\n"
	"      --version        print the version and exit\n"
	"\n"
	"Exit status: 0 no harm was done; 1 it was; 2 wrong options; 77 no "
	"test can run\n"
	"here; 128 + n when signal n ends it.  See bustorture(1).\n";

enum { OK, BAD, USAGE };

static struct {
	bool quick, full, json, verbose, list;
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
	_Atomic uint32_t has_at, paused;
	struct cases cases;
} * all;

/* The signal that is to end us: tell what was done so far. */
static const int ending[] = { SIGHUP, SIGINT, SIGTERM };
static volatile sig_atomic_t interrupted;

/* --at asked for one that is not there. */
static bool no_point;

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

static void parse_option(int key, const char *arg)
{
	switch (key) {
	case QUICK:
		opt.quick = true;
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
		opt.list = true;
		break;
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
	if (opt.quick && opt.full)
		bad_usage("--quick and --full exclude each other; choose one");
	if (opt.only && opt.n_chosen != 1)
		bad_usage("--only '%s' is for one test; name it", opt.only);
	if (opt.at >= 0 && !opt.only)
		bad_usage("--at %ld needs --only CASE", opt.at);
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

static double stood_s; /* how long we have been stopped */

static double now(void)
{
	return (double)sb_now_ns() / 1e9 - stood_s;
}

/*
 * Who stops us by SIGTSTP, as a terminal does, wants the processor for himself:
 * the parts are groups of their own, and do not hear of it.  They cannot be
 * stopped anywhere, or what waits for somebody would say later that he hung,
 * and who is stopped on purpose could not be told from who is not; so each of
 * their processes stops before its next point.  SIGSTOP, because a SIGTSTP does
 * nothing when no shell is there to say SIGCONT.
 */
static volatile sig_atomic_t told_to_stop;

static void stand_still(void)
{
	double since = now();

	told_to_stop = 0;
	all->paused = 1;
	raise(SIGSTOP);
	stood_s += now() - since;
	all->paused = 0;
	syscall(SYS_futex, &all->paused, FUTEX_WAKE, INT_MAX);
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

/* Nothing is run, cases are only noted. */
static bool noting;

/* In the child that runs the part. */
static int part_main(const struct test *t, size_t p, const char *only)
{
	static struct torture run;

	run = (struct torture){
		.test = t->name,
		.part = t->part[p].name,
		.full = opt.full,
		.verbose = opt.verbose && !noting,
		.seed = opt.seed,
		.only = only,
		.at = opt.at,
		.tally = &all->tally[t - tests],
		.n_told = &all->n_told,
		.has_at = &all->has_at,
		.paused = &all->paused,
		.cases = noting ? &all->cases : NULL,
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
	signal(SIGTSTP, SIG_DFL);
	signal(SIGCONT, SIG_DFL);
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
		if (told_to_stop) {
			hide();
			stand_still();
			continue;
		}
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
	if (interrupted || all->tally[t - tests].skipped)
		return;
	if (opt.at >= 0 && !tally_bad(&all->tally[t - tests]))
		no_point = !all->has_at;
	if (no_point || all->tally[t - tests].points)
		return;
	fprintf(stderr, "FAILED: %s has no points\n", t->name);
	all->tally[t - tests].wrong++;
}

/* ---------------------------------------------------------------- cases -- */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* All cases of test @t, in order.  How many: none if that cannot be told. */
static uint32_t note_cases(const struct test *t)
{
	struct cases *c = &all->cases;
	int status;

	noting = true;
	c->n = 0;
	for (size_t p = 0; p < N_PARTS && t->part[p].fn; p++) {
		pid_t pid = start_part(t, p, NULL);

		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		guard_part_over();
	}
	noting = false;
	all->tally[t - tests] = (struct tally){ 0 };
	if (c->n > CASES_MAX)
		c->n = CASES_MAX;
	qsort(c->name, c->n, sizeof(c->name[0]), by_name);
	return c->n;
}

static void list(void)
{
	for (size_t i = 0; i < lengthof(tests) && !opt.n_chosen; i++)
		printf("%-8s  %s\n", tests[i].name, tests[i].about);
	for (size_t i = 0; i < lengthof(tests) && opt.n_chosen; i++) {
		uint32_t n = opt.chosen[i] ? note_cases(&tests[i]) : 0;

		for (uint32_t k = 0; k < n; k++)
			printf("%s%s%s\n",
			       opt.n_chosen > 1 ? tests[i].name : "",
			       opt.n_chosen > 1 ? " " : "", all->cases.name[k]);
	}
}

/* Of what is there instead of --only: all that goes on from as much of it as
 * there is, up to the next slash. */
static void print_others(const struct cases *c)
{
	size_t len = strlen(opt.only), n = 0;
	const char *last = "";

	for (uint32_t i = 0; i < c->n; i++) {
		size_t same = 0, slash = 0;

		while (same < len && c->name[i][same] == opt.only[same])
			if (opt.only[same++] == '/')
				slash = same;
		if (slash > n)
			n = slash;
	}
	for (uint32_t i = 0; i < c->n; i++) {
		const char *name = c->name[i];
		size_t end = n + strcspn(name + n, "/");

		if (strncmp(name, opt.only, n) ||
		    (!strncmp(name, last, end) && strlen(last) >= end))
			continue;
		fprintf(stderr, "  %.*s%s\n", (int)end, name,
			name[end] ? "/..." : "");
		last = name;
	}
}

/* Is there what --only asks for?  If not, says what there is. */
static bool has_case(const struct test *t)
{
	const struct cases *c = &all->cases;

	if (opt.at >= 0 && t->single) {
		fprintf(stderr,
			"bustorture: --at %ld: cases of %s have no "
			"points\n",
			opt.at, t->name);
		return false;
	}
	for (size_t p = 0; p < N_PARTS && t->part[p].name; p++)
		if (!strcmp(t->part[p].name, opt.only))
			return true;
	if (!note_cases(t))
		return true;
	for (uint32_t i = 0; i < c->n; i++)
		if (torture_is_of(c->name[i], opt.only))
			return true;
	if (interrupted)
		return true;
	fprintf(stderr,
		"bustorture: --only '%s': %s has no such case%s here, "
		"but\n",
		opt.only, t->name, t->part[0].name ? " or part" : "");
	print_others(c);
	fprintf(stderr, "'bustorture --list %s' names all of them.\n", t->name);
	return false;
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

	if (no_point) {
		fprintf(stderr,
			"bustorture: --at %ld: '%s' has no such point\n",
			opt.at, opt.only);
		return USAGE;
	}
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

static void suspend(int sig)
{
	told_to_stop = sig;
}

/* Also before we have come to it. */
static void go_on(int sig)
{
	(void)sig;
	told_to_stop = 0;
}

static void catch_signals(void)
{
	signal(SIGCONT, go_on);
	if (signal(SIGTSTP, suspend) == SIG_IGN)
		signal(SIGTSTP, SIG_IGN);
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

static void run_tests(void)
{
	for (size_t i = 0; i < lengthof(tests); i++) {
		if (!opt.chosen[i] || interrupted)
			continue;
		run_test(&tests[i]);
		if (opt.json && !skipped[i] && !no_point)
			print_json(&tests[i], &all->tally[i], seconds[i]);
	}
}

/* Returns the exit status. */
static int run(void)
{
	for (size_t i = 0; i < lengthof(tests) && opt.only; i++)
		if (opt.chosen[i] && !has_case(&tests[i]))
			return USAGE;
	if (opt.list) {
		list();
		return OK;
	}
	run_tests();
	return report();
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
	ret = run();
	guard_end();
	ret = end_output(ret);
	if (interrupted)
		end_as_told();
	return ret;
}
