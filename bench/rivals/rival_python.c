/*
 * rival_python.c - Queue, Pipe and Pool of multiprocessing, and the executor of
 * concurrent.futures
 *
 * A round is one run of busbench_rivals.py, which prints its outcome as a
 * JSON object.  /usr/bin/python3 comes first: distributions build theirs with
 * more optimisation than what version managers put before it in PATH, and we
 * compare with the best.  The environment variables BUSBENCH_PYTHON and
 * BUSBENCH_RIVALS name another interpreter and another place of the script.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/tick.h"
#include "bench/transport.h"

#define SCRIPT        "busbench_rivals.py"
#define MAX_OUTPUT    (1u << 20) /* a histogram may have 33000 steps */
#define START_LIMIT_S 8.0        /* beyond the round itself */
#define NO_PYTHON     127        /* as shells say it */

struct command {
	const char *argv[40];
	unsigned n;
	char text[12][24]; /* numbers as text */
	unsigned n_text;
};

static void add(struct command *command, const char *arg)
{
	command->argv[command->n++] = arg;
}

static void add_number(struct command *command, const char *option,
		       double value)
{
	char *text = command->text[command->n_text];

	snprintf(text, sizeof(command->text[0]), "%.10g", value);
	command->n_text++;
	add(command, option);
	add(command, text);
}

/* In the environment, beside the program (also when libtool keeps it in
 * .libs), or where it was installed. */
static const char *find_script(char *path, size_t size)
{
	static const char *const beside[] = { "/" SCRIPT, "/../" SCRIPT };
	const char *given = getenv("BUSBENCH_RIVALS");
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (given)
		return access(given, R_OK) == 0 ? given : NULL;
	self[len > 0 ? len : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; slash && i < 2; i++) {
		snprintf(path, size, "%s%s", self, beside[i]);
		if (access(path, R_OK) == 0)
			return path;
	}
	snprintf(path, size, "%s/%s", PKGDATADIR, SCRIPT);
	return access(path, R_OK) == 0 ? path : NULL;
}

static void say_where(struct outcome *out)
{
	const char *given = getenv("BUSBENCH_RIVALS");

	if (given)
		outcome_set(out, OUTCOME_ABSENT,
			    "BUSBENCH_RIVALS: cannot read '%.80s'", given);
	else
		outcome_set(out, OUTCOME_ABSENT,
			    "%s is neither beside the program nor in %.60s; "
			    "set BUSBENCH_RIVALS to it",
			    SCRIPT, PKGDATADIR);
}

static void compose(struct command *command, const char *script,
		    const struct transport *transport, const struct spec *spec)
{
	unsigned workers = spec->workers ? spec->workers : 1;

	add(command, "python3");
	add(command, script);
	add(command, "--rival");
	add(command, transport->name);
	add(command, "--load");
	add(command, load_names[spec->load]);
	add_number(command, "--bytes", (double)spec->bytes);
	add_number(command, "--producers", spec->producers);
	add_number(command, "--consumers", spec->consumers);
	add_number(command, "--workers", workers);
	add_number(command, "--inflight", spec->inflight);
	add_number(command, "--seconds", spec->seconds);
	if (spec->load == LOAD_POOL) {
		add(command, "--method");
		add(command, method_names[spec->method]);
		add_number(command, "--chunk", (double)spec->chunk);
		add_number(command, "--items", (double)spec->items);
	}
	if (spec->pin)
		add(command, "--pin");
	add(command, NULL);
}

/* In the child. */
static void become_python(const struct command *command, int output)
{
	char *const *argv = (char *const *)(uintptr_t)command->argv;
	const char *given = getenv("BUSBENCH_PYTHON");

	if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
		_exit(1);
	if (given) {
		execvp(given, argv);
	} else {
		execv("/usr/bin/python3", argv);
		execvp("python3", argv);
	}
	_exit(NO_PYTHON);
}

static pid_t start(const struct command *command, int *output)
{
	pid_t pid, parent = getpid();
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		become_python(command, fd[1]);
	}
	close(fd[1]);
	if (pid < 0)
		close(fd[0]);
	*output = fd[0];
	return pid;
}

/* All that comes until the end; false when the time is up before that. */
static bool read_output(int fd, char *buf, size_t size, double seconds)
{
	uint64_t limit = now_ns() + (uint64_t)(seconds * 1e9);
	size_t len = 0;

	for (;;) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		uint64_t now = now_ns();
		ssize_t ret;

		buf[len] = '\0';
		if (now >= limit)
			return false;
		if (poll(&poll_fd, 1, (int)((limit - now) / NS_PER_MS) + 1) <=
		    0)
			continue;
		/* When it is full the rest is read over its end. */
		if (len > size - 2)
			len = size / 2;
		ret = read(fd, buf + len, size - 1 - len);
		if (ret == 0)
			return true;
		if (ret > 0)
			len += (size_t)ret;
		else if (errno != EINTR)
			return true;
	}
}

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static uint64_t count(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void add_latencies(struct hist *hist, const json_t *steps)
{
	const json_t *step;
	size_t i;

	json_array_foreach(steps, i, step)
		hist_add_many(
			hist,
			(uint64_t)json_integer_value(json_array_get(step, 0)),
			(uint64_t)json_integer_value(json_array_get(step, 1)));
}

static void fill(struct outcome *out, const json_t *object)
{
	const json_t *ns = json_object_get(object, "ns");
	const json_t *percent = json_object_get(object, "cpu_percent");

	out->seconds = number(object, "seconds");
	out->messages = count(object, "messages");
	out->cpu_ns = number(object, "cpu_ns");
	out->lost = count(object, "lost");
	out->dup = count(object, "dup");
	out->wrong = count(object, "wrong");
	out->disorder = count(object, "disorder");
	if (percent)
		out->cpu_percent = json_number_value(percent);
	if (!json_is_object(ns))
		return;
	if (out->all_ns)
		add_latencies(out->all_ns, json_object_get(ns, "hist"));
	out->has_ns = true;
	out->ns = (struct quantiles){
		.min = count(ns, "min"),
		.p50 = count(ns, "p50"),
		.p90 = count(ns, "p90"),
		.p99 = count(ns, "p99"),
		.p999 = count(ns, "p999"),
		.max = count(ns, "max"),
	};
}

/* The last line, where Python says what went wrong. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *newline;

	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	newline = strrchr(text, '\n');
	return newline ? newline + 1 : text;
}

static void judge(struct outcome *out, int status, char *output)
{
	json_t *object;

	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PYTHON) {
		outcome_set(out, OUTCOME_ABSENT, "no python3");
		return;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		outcome_set(out, OUTCOME_FAILED, "python: %s",
			    last_line(output));
		return;
	}
	object = json_loads(output, 0, NULL);
	if (object)
		fill(out, object);
	else
		outcome_set(out, OUTCOME_FAILED, "python: not JSON: %s",
			    last_line(output));
	json_decref(object);
}

static void python_run(const struct transport *transport,
		       const struct spec *spec, struct outcome *out)
{
	struct command command = { .n = 0 };
	static char output[MAX_OUTPUT];
	char path[PATH_MAX + 32];
	const char *script = find_script(path, sizeof(path));
	double seconds = spec->seconds + START_LIMIT_S;
	int fd = -1, status;
	pid_t pid;

	if (!script) {
		say_where(out);
		return;
	}
	compose(&command, script, transport, spec);
	pid = start(&command, &fd);
	if (pid < 0) {
		outcome_set(out, OUTCOME_FAILED, "cannot fork: %s",
			    strerror(errno));
		return;
	}
	if (!read_output(fd, output, sizeof(output), seconds)) {
		outcome_set(out, OUTCOME_HUNG,
			    "killed: python did not end within %.1f s",
			    seconds);
		kill(pid, SIGKILL); /* its children die with it */
	}
	close(fd);
	if (waitpid(pid, &status, 0) == pid && out->status == OUTCOME_OK)
		judge(out, status, output);
}

const struct transport rival_python_queue = {
	.name = "python-queue",
	.what = "Python's multiprocessing.Queue",
	.loads = LOAD_LANES,
	.waits = "block",
	.run = python_run,
};

/* Not for many readers, and not for many requests outstanding: the two ends
 * would wait for room for each other. */
const struct transport rival_python_pipe = {
	.name = "python-pipe",
	.what = "Python's multiprocessing.Pipe, between two processes",
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_STREAM) |
		 LOAD_BIT(LOAD_DUPLEX) | LOAD_BIT(LOAD_WAKE) |
		 LOAD_BIT(LOAD_IDLE),
	.waits = "block",
	.run = python_run,
};

const struct transport rival_python_pool_map = {
	.name = "python-pool-map",
	.what = "map() of Python's multiprocessing.Pool",
	.loads = LOAD_BIT(LOAD_POOL),
	.methods = METHOD_BIT(METHOD_MAP),
	.waits = "block",
	.run = python_run,
};

const struct transport rival_python_pool_imap = {
	.name = "python-pool-imap",
	.what = "imap() and imap_unordered() of the same",
	.loads = LOAD_BIT(LOAD_POOL),
	.methods = METHOD_BIT(METHOD_IMAP) | METHOD_BIT(METHOD_IMAP_UNORDERED),
	.waits = "block",
	.run = python_run,
};

const struct transport rival_python_pool_apply = {
	.name = "python-pool-apply",
	.what = "apply() and apply_async() of the same",
	.loads = LOAD_BIT(LOAD_POOL),
	.methods = METHOD_BIT(METHOD_APPLY) | METHOD_BIT(METHOD_SUBMIT),
	.waits = "block",
	.run = python_run,
};

const struct transport rival_python_executor = {
	.name = "python-executor",
	.what = "Python's concurrent.futures.ProcessPoolExecutor",
	.loads = LOAD_BIT(LOAD_POOL),
	.methods = METHOD_BIT(METHOD_APPLY) | METHOD_BIT(METHOD_SUBMIT) |
		   METHOD_BIT(METHOD_MAP),
	.waits = "block",
	.run = python_run,
};
