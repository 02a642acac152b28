/*
 * scen_queue_farm.c - pairs go to workers, their products come back in order
 *
 * The example is in four functions: multiply() is what a worker does,
 * submit_some() hands out requests, take_result() collects one, and
 * scen_queue_farm() starts and stops it all.  The rest reads and prints.
 *
 * The input may be longer than memory.  What is on its way is bounded by the
 * window of the coordinator: submit until it is full, or until the input has
 * nothing more to give just now; collect the oldest; and so on.  For each
 * request on its way a job remembers what it was, for the message if it fails.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/shmbus.h"
#include "tools/pairs.h"
#include "tools/progress.h"
#include "tools/scen.h"

#define WINDOW      1024 /* most requests on their way; a power of two */
#define MAX_WORKERS 200  /* that bus_coord_start() takes */
#define N_DEMO      3

/* Those, ourselves, and places of the dead that are not free yet: as many as
 * a bus can have. */
#define MAX_ENDPOINTS 254

#define FLUSH_NS 100000000  /* after this, what there is is shown */
#define STOP_NS  2000000000 /* for workers to end by themselves */

struct request {
	int64_t a;
	int64_t b;
};

/* One line of the input that is not answered yet. */
struct job {
	uint64_t line;
	struct request request;
	char *error; /* what is wrong with the line; else it was submitted */
};

/* What became of it. */
struct answer {
	int64_t product;
	const char *error; /* NULL, or why there is no product */
	int status;        /* the exit status if that error ends the run */
};

struct farm {
	const struct scen_options *opt;
	struct scen_summary *summary;
	struct out *out;
	struct pairs *pairs;
	struct bus *bus;
	struct bus_coord *coord;
	bool demo;     /* the three pairs, and how they are printed */
	int status;    /* enum SCEN_... so far */
	bool stop;     /* answer nothing more */
	bool bad_line; /* submit nothing more */
	uint64_t flushed_ns;
	uint64_t n_collected;

	/* --kill-every */
	uint64_t random;
	uint64_t n_kills_due;
	pid_t dying[MAX_WORKERS]; /* by our hand, and not yet buried */
	int n_dying;

	uint32_t window; /* at most WINDOW */

	/* Job t, for tickets n_answered <= t < n_asked, is jobs[t % WINDOW];
	 * if unsent, ticket n_asked is there as well, for the next try. */
	bool unsent;
	uint64_t n_asked;
	uint64_t n_answered;
	struct job jobs[WINDOW];

	int64_t demo_products[N_DEMO];
};

static const int64_t demo_pairs[N_DEMO][2] = { { 1, 2 }, { 3, 4 }, { 5, 6 } };

static const char too_large[] = "does not fit 64 bits";

/* In a worker: one request in, one result out. */
static int multiply(void *ctx, const void *req, size_t len_bytes,
		    struct bus_reply *reply)
{
	struct request r;
	int64_t product;

	(void)ctx;
	if (len_bytes != sizeof(r))
		return -EPROTO;
	memcpy(&r, req, sizeof(r));
	if (__builtin_mul_overflow(r.a, r.b, &product)) {
		bus_reply_error(reply, "%s", too_large);
		return -EOVERFLOW;
	}
	return bus_reply_put(reply, &product, sizeof(product));
}

static uint64_t n_on_way(const struct farm *f)
{
	return f->n_asked - f->n_answered;
}

/* Read the next line into its job.  Returns as pairs_next(). */
static int next_job(struct farm *f)
{
	struct job *job = &f->jobs[f->n_asked % WINDOW];
	struct pair pair;
	int ret;

	if (f->bad_line)
		return 0;
	ret = pairs_next(f->pairs, &pair, n_on_way(f) == 0);
	if (ret <= 0)
		return ret;
	job->line = pair.line;
	job->request.a = pair.a;
	job->request.b = pair.b;
	job->error = NULL;
	if (pair.error) {
		job->error = strdup(pair.error);
		if (!job->error)
			return -ENOMEM;
		f->bad_line = !f->opt->keep_going;
	}
	return 1;
}

/*
 * Submit until all places are taken (returns 1), the input has nothing just
 * now (-EAGAIN), or ends (0).  Else the -errno of the input; a failure of the
 * bus also ends the run.
 */
static int submit_some(struct farm *f)
{
	while (n_on_way(f) < f->window) {
		struct job *job = &f->jobs[f->n_asked % WINDOW];
		int ret = f->unsent ? 1 : next_job(f);

		if (ret <= 0)
			return ret;
		ret = 0;
		if (!job->error)
			/* Nothing is on its way: there will be room. */
			ret = bus_submit(f->coord, f->n_asked, &job->request,
					 sizeof(job->request),
					 n_on_way(f) == 0 ? -1 : 0);
		f->unsent = ret == -EAGAIN;
		if (ret == -EAGAIN)
			return 1;
		if (ret < 0) {
			f->stop = true;
			f->status = scen_cannot("submit a request", ret);
			return 0;
		}
		f->n_asked++;
	}
	return 1;
}

/* Collect the oldest result; show what there is before a long wait. */
static int collect(struct farm *f, struct bus_result *result)
{
	int ret = bus_collect(f->coord, result, FLUSH_NS);

	if (ret != -ETIMEDOUT)
		return ret;
	out_flush(f->out);
	return bus_collect(f->coord, result, -1);
}

static void describe_error(const struct request *request,
			   const struct bus_result *r, char *text, size_t cap)
{
	int n = snprintf(text, cap, "%" PRId64 " * %" PRId64, request->a,
			 request->b);

	/* The code always comes; there may have been no room for the text. */
	if (r->len_bytes > 0)
		snprintf(text + n, cap - (size_t)n, " %.*s", (int)r->len_bytes,
			 (const char *)r->data);
	else if (r->code == -EOVERFLOW)
		snprintf(text + n, cap - (size_t)n, " %s", too_large);
	else
		snprintf(text + n, cap - (size_t)n, ": %s", strerror(-r->code));
}

static void describe_death(const struct bus_result *r, char *text, size_t cap)
{
	char how[64];

	if (r->signal)
		snprintf(how, sizeof(how), "by signal %d (%s)", r->signal,
			 strsignal(r->signal));
	else
		snprintf(how, sizeof(how), "with exit status %d",
			 r->exit_status);
	snprintf(text, cap,
		 "%" PRIu32 " workers died on it, the last, pid %" PRId32
		 ", %s",
		 r->attempts, r->pid, how);
}

/*
 * The result of the oldest job, which was submitted.  @text is room for an
 * error.  Returns 0, or -errno if there is no result to be had.
 */
static int take_result(struct farm *f, struct answer *answer, char *text,
		       size_t cap)
{
	const struct job *job = &f->jobs[f->n_answered % WINDOW];
	struct bus_result result;
	int ret = collect(f, &result);

	if (ret < 0)
		return ret;
	if (result.id != f->n_answered)
		return -EPROTO; /* not in the order of submission */
	answer->status = SCEN_FAILED;
	answer->error = text;
	switch (result.kind) {
	case BUS_RESULT_OK:
		if (result.len_bytes != sizeof(answer->product))
			return -EPROTO;
		memcpy(&answer->product, result.data, sizeof(answer->product));
		answer->error = NULL;
		break;
	case BUS_RESULT_ERROR:
		describe_error(&job->request, &result, text, cap);
		break;
	default:
		describe_death(&result, text, cap);
		break;
	}
	f->n_collected++;
	return 0;
}

static void print_json(struct farm *f, const struct job *job,
		       const struct answer *answer)
{
	json_int_t line = (json_int_t)job->line;

	if (answer->error)
		out_json(f->out, json_pack("{s:I, s:s}", "line", line, "error",
					   answer->error));
	else
		out_json(f->out,
			 json_pack("{s:I, s:I, s:I, s:I}", "line", line, "a",
				   (json_int_t)job->request.a, "b",
				   (json_int_t)job->request.b, "product",
				   (json_int_t)answer->product));
}

static void print_text(struct farm *f, const struct answer *answer)
{
	const char *label = f->demo ? "Result: " : "";

	if (answer->error)
		out_text(f->out, "%serror: %s\n", label, answer->error);
	else
		out_text(f->out, "%s%" PRId64 "\n", label, answer->product);
}

/* Print one answer, or the error that ends the run. */
static void give(struct farm *f, const struct job *job,
		 const struct answer *answer)
{
	bool fatal = answer->error && !f->opt->keep_going;

	if (f->out->json)
		print_json(f, job, answer);
	else if (!fatal)
		print_text(f, answer);
	if (!answer->error) {
		if (f->demo)
			f->demo_products[f->n_answered] = answer->product;
		f->summary->n_results++;
		return;
	}
	f->summary->n_errors++;
	f->status = SCEN_FAILED;
	if (fatal) {
		f->stop = true;
		f->status = answer->status;
		out_flush(f->out);
		complain("%s:%" PRIu64 ": %s", pairs_name(f->pairs), job->line,
			 answer->error);
	}
}

static bool has(const pid_t *pids, int n, pid_t pid)
{
	while (n > 0)
		if (pids[--n] == pid)
			return true;
	return false;
}

/* Send SIGKILL to any one of the workers that we have not killed yet. */
static bool kill_one(struct farm *f)
{
	pid_t live[MAX_WORKERS];
	int n = bus_coord_workers(f->coord, live, MAX_WORKERS);
	int n_dying = 0;

	/* The coordinator may not have noticed yet whom we killed. */
	for (int i = 0; i < f->n_dying; i++)
		if (has(live, n, f->dying[i]))
			f->dying[n_dying++] = f->dying[i];
	f->n_dying = n_dying;
	while (n > 0) {
		uint64_t i = pairs_random(&f->random) % (uint64_t)n;
		pid_t pid = live[i];

		live[i] = live[--n];
		if (has(f->dying, f->n_dying, pid))
			continue;
		/* It is our child: until the library reaps it, which it does
		 * only in its calls, nobody else can get its pid. */
		kill(pid, SIGKILL);
		f->dying[f->n_dying++] = pid;
		f->summary->n_kills++;
		return true;
	}
	return false;
}

/* After each result: kill somebody if it is time, or was and nobody lived. */
static void kill_sometimes(struct farm *f)
{
	if (f->opt->kill_every && f->n_collected % f->opt->kill_every == 0)
		f->n_kills_due++;
	if (f->n_kills_due > 0 && kill_one(f))
		f->n_kills_due--;
}

/* Answer the oldest job. */
static void answer_one(struct farm *f)
{
	struct job *job = &f->jobs[f->n_answered % WINDOW];
	struct answer answer = { .error = job->error, .status = SCEN_USAGE };
	char text[256];
	uint64_t now_ns;

	if (!job->error) {
		int ret = take_result(f, &answer, text, sizeof(text));

		if (ret < 0) {
			f->stop = true;
			f->status = scen_cannot("collect a result", ret);
			return;
		}
		kill_sometimes(f);
	}
	give(f, job, &answer);
	free(job->error);
	f->n_answered++;

	now_ns = progress_clock();
	if (now_ns - f->flushed_ns > FLUSH_NS) {
		f->flushed_ns = now_ns;
		out_flush(f->out);
		progress_tick(now_ns, f->summary->n_results,
			      pairs_part(f->pairs), f->summary->n_kills);
	}
	if (f->out->error)
		f->stop = true; /* nobody reads us: busscen.c reports it */
}

/* The whole input.  Returns 0, or the -errno of reading it. */
static int stream(struct farm *f)
{
	int more;

	do {
		more = submit_some(f);
		if (more == 1) {
			answer_one(f);
		} else {
			while (n_on_way(f) > 0 && !f->stop)
				answer_one(f);
			out_flush(f->out); /* before we wait for more input */
		}
	} while (!f->stop && (more == 1 || more == -EAGAIN));
	return more == 1 || more == -EAGAIN ? 0 : more;
}

/*
 * How many requests to have on their way.  With kills no more than results
 * between two of them: then the death of a worker stops the results, and so is
 * noticed and made good, before the next one is due.
 */
static uint32_t choose_window(const struct scen_options *opt)
{
	uint32_t window = WINDOW;

	if (opt->kill_every)
		while (window > opt->kill_every && window > 2)
			window /= 2;
	return window;
}

static int open_pairs(struct farm *f)
{
	const struct scen_options *opt = f->opt;
	int ret;

	if (opt->generate) {
		ret = pairs_generate(opt->count, opt->seed, &f->pairs);
	} else if (opt->input) {
		ret = pairs_open(opt->input, &f->pairs);
	} else {
		f->demo = true;
		ret = pairs_list(demo_pairs, N_DEMO, &f->pairs);
	}
	if (ret < 0)
		complain("busscen: cannot open '%s': %s",
			 opt->input ? opt->input : "", strerror(-ret));
	return ret;
}

static void print_all(struct farm *f)
{
	if (f->out->json || f->summary->n_results < N_DEMO)
		return;
	out_text(f->out, "All results: [");
	for (size_t i = 0; i < N_DEMO; i++)
		out_text(f->out, "%s%" PRId64, i ? ", " : "",
			 f->demo_products[i]);
	out_text(f->out, "]\n");
}

static void run(struct farm *f)
{
	int ret = stream(f);

	if (ret < 0) {
		f->status = SCEN_FAILED;
		out_flush(f->out);
		complain("busscen: cannot read '%s': %s", pairs_name(f->pairs),
			 strerror(-ret));
	}
	if (f->demo)
		print_all(f);
	out_flush(f->out);
	if (f->opt->keep_going && f->summary->n_errors > 0)
		complain("busscen: %" PRIu64 " lines of %s have an error "
			 "instead of a product",
			 f->summary->n_errors, pairs_name(f->pairs));
	while (n_on_way(f) > 0) /* of a run that stopped early */
		free(f->jobs[f->n_answered++ % WINDOW].error);
}

int scen_queue_farm(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus_coord_config workers = BUS_COORD_CONFIG_INIT;
	struct farm *f = calloc(1, sizeof(*f));
	int ret, status = SCEN_FAILED;

	if (!f)
		return scen_cannot("start", -ENOMEM);
	f->opt = opt;
	f->out = out;
	f->summary = summary;
	f->random = opt->seed;
	f->window = choose_window(opt);
	summary->n_workers = opt->n_workers;
	if (open_pairs(f) < 0)
		goto out_free;

	config.wait = opt->wait;
	config.max_endpoints = MAX_ENDPOINTS;
	ret = bus_create(NULL, &config, &f->bus);
	if (ret < 0) {
		scen_cannot_create(opt, ret);
		goto out_pairs;
	}
	workers.handler = multiply;
	workers.n_workers = opt->n_workers;
	workers.window = f->window;
	workers.request_bytes = sizeof(struct request);
	if (opt->kill_every) {
		/* It is we who kill.  However often that hits the same request,
		 * the request is innocent: give it all attempts there are. */
		workers.max_attempts = 60;
	}
	ret = bus_coord_start(f->bus, "products", &workers, &f->coord);
	if (ret < 0) {
		scen_cannot("start the workers", ret);
		goto out_bus;
	}
	f->flushed_ns = progress_clock();
	progress_start("queue-farm", f->flushed_ns);
	run(f);
	status = f->status;
	if (bus_coord_stop(f->coord, STOP_NS) == -ETIMEDOUT)
		complain("busscen: workers did not end by themselves and "
			 "were killed");
out_bus:
	bus_close(f->bus);
out_pairs:
	pairs_close(f->pairs);
out_free:
	free(f);
	return status;
}
