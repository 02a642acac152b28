/*
 * farm.c - what the farms share: pairs in, their products out in order
 *
 * The input may be longer than memory.  What is on its way is bounded by the
 * window: submit until it is full, or until the input has nothing more to give
 * just now; collect the oldest; and so on.  For each pair on its way a job
 * remembers what it was, for the message if it fails.
 *
 * A farm whose pairs are pulled, not pushed, goes job by job instead: it reads
 * a job, and gives it back with its answer, in any order.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/farm.h"
#include "tools/pairs.h"
#include "tools/progress.h"

#define N_DEMO 3

struct farm {
	const struct scen_options *opt;
	struct scen_summary *summary;
	struct out *out;
	struct pairs *pairs;
	const struct farm_way *way;
	void *ctx;
	bool demo;     /* the three pairs, and how they are printed */
	int status;    /* enum SCEN_... so far */
	bool stop;     /* answer nothing more */
	bool bad_line; /* submit nothing more */
	uint64_t flushed_ns;
	uint64_t n_collected;

	/* --kill-every */
	uint64_t random;
	uint64_t n_kills_due;
	pid_t dying[FARM_MAX_WORKERS]; /* by our hand, and not yet buried */
	int n_dying;

	uint32_t window; /* at most FARM_WINDOW */

	/* Job t, for tickets n_answered <= t < n_asked, is
	 * jobs[t % FARM_WINDOW]; if unsent, ticket n_asked is there as well,
	 * for the next try. */
	bool unsent;
	uint64_t n_asked;
	uint64_t n_answered;
	struct farm_job jobs[FARM_WINDOW];

	int64_t demo_products[N_DEMO];
};

static const int64_t demo_pairs[N_DEMO][2] = { { 1, 2 }, { 3, 4 }, { 5, 6 } };

const char farm_too_large[] = "does not fit 64 bits";

/* -------------------------------------------------------------- answers -- */

int farm_multiply(const struct farm_pair *pair, int64_t *product)
{
	return __builtin_mul_overflow(pair->a, pair->b, product) ? -EOVERFLOW
								 : 0;
}

void farm_error(struct farm_answer *answer, int code, const char *text,
		size_t len_bytes)
{
	size_t cap = sizeof(answer->text);
	int n = snprintf(answer->text, cap, "%" PRId64 " * %" PRId64,
			 answer->pair->a, answer->pair->b);
	char *end = answer->text + n;

	cap -= (size_t)n;
	/* The code always comes; there may have been no room for a text. */
	if (len_bytes > 0)
		snprintf(end, cap, " %.*s", (int)len_bytes, text);
	else if (code == -EOVERFLOW)
		snprintf(end, cap, " %s", farm_too_large);
	else
		snprintf(end, cap, ": %s", strerror(-code));
	answer->error = answer->text;
}

void farm_death(struct farm_answer *answer, uint32_t n_died, pid_t pid,
		int signal, int exit_status)
{
	char how[64];

	scen_how_it_ended(signal, exit_status, how, sizeof(how));
	snprintf(answer->text, sizeof(answer->text),
		 "%" PRIu32 " workers died on it, the last, pid %" PRId32
		 ", %s",
		 n_died, (int32_t)pid, how);
	answer->error = answer->text;
}

void farm_stubborn(void)
{
	complain("busscen: workers did not end by themselves and were killed");
}

static void print_json(struct farm *f, const struct farm_job *job,
		       const struct farm_answer *answer)
{
	json_int_t line = (json_int_t)job->line;

	if (answer->error)
		out_json(f->out, json_pack("{s:I, s:s}", "line", line, "error",
					   answer->error));
	else
		out_json(f->out, json_pack("{s:I, s:I, s:I, s:I}", "line", line,
					   "a", (json_int_t)job->pair.a, "b",
					   (json_int_t)job->pair.b, "product",
					   (json_int_t)answer->product));
}

static void print_text(struct farm *f, const struct farm_answer *answer)
{
	const char *label = f->way->label ? f->way->label : "Result: ";

	if (!f->demo)
		label = "";
	if (answer->error)
		out_text(f->out, "%serror: %s\n", label, answer->error);
	else
		out_text(f->out, "%s%" PRId64 "\n", label, answer->product);
}

/* Print one answer, or the error that ends the run. */
static void give(struct farm *f, const struct farm_job *job,
		 const struct farm_answer *answer)
{
	bool fatal = answer->error && !f->opt->keep_going;

	if (f->out->json)
		print_json(f, job, answer);
	else if (!fatal)
		print_text(f, answer);
	if (!answer->error) {
		if (f->demo)
			f->demo_products[f->summary->n_results] =
				answer->product;
		f->summary->n_results++;
		return;
	}
	f->summary->n_errors++;
	f->status = SCEN_FAILED;
	if (fatal) {
		f->stop = true;
		f->status = job->error ? SCEN_USAGE : SCEN_FAILED;
		out_flush(f->out);
		complain("%s:%" PRIu64 ": %s", pairs_name(f->pairs), job->line,
			 answer->error);
	}
}

/* ---------------------------------------------------------------- kills -- */

static bool has(const pid_t *pids, int n, pid_t pid)
{
	while (n > 0)
		if (pids[--n] == pid)
			return true;
	return false;
}

bool farm_killed(const struct farm *f, pid_t worker)
{
	return has(f->dying, f->n_dying, worker);
}

/* Send SIGKILL to any one of the workers that we have not killed yet. */
static bool kill_one(struct farm *f)
{
	pid_t live[FARM_MAX_WORKERS];
	int n = f->way->workers(f->ctx, live, FARM_MAX_WORKERS);
	int n_dying = 0;

	/* Whose death nobody has noticed yet is still among the living. */
	for (int i = 0; i < f->n_dying; i++)
		if (has(live, n, f->dying[i]))
			f->dying[n_dying++] = f->dying[i];
	f->n_dying = n_dying;
	while (n > 0) {
		uint64_t i = pairs_random(&f->random) % (uint64_t)n;
		pid_t pid = live[i];

		live[i] = live[--n];
		if (farm_killed(f, pid))
			continue;
		/* It is our child: until it is reaped, which happens only in
		 * submit and collect, nobody else can get its pid. */
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

/*
 * How many to have on their way.  With kills no more than results between two
 * of them: then the death of a worker stops the results, and so is noticed and
 * made good, before the next one is due.
 */
static uint32_t choose_window(const struct scen_options *opt)
{
	uint32_t window = FARM_WINDOW;

	if (opt->kill_every)
		while (window > opt->kill_every && window > 2)
			window /= 2;
	return window;
}

uint32_t farm_window(const struct farm *f)
{
	return f->window;
}

void farm_limit(struct farm *f, uint32_t window)
{
	if (f->window > window)
		f->window = window;
}

/* ----------------------------------------------------------- job by job -- */

void farm_stop(struct farm *f, int status)
{
	f->stop = true;
	f->status = status;
}

bool farm_stopped(const struct farm *f)
{
	return f->stop;
}

void farm_show(struct farm *f)
{
	out_flush(f->out);
}

int farm_read(struct farm *f, struct farm_job *job, bool wait)
{
	struct pair pair;
	int ret;

	if (f->bad_line)
		return 0;
	ret = pairs_next(f->pairs, &pair, wait);
	if (ret <= 0)
		return ret;
	job->line = pair.line;
	job->pair.a = pair.a;
	job->pair.b = pair.b;
	job->error = NULL;
	if (pair.error) {
		job->error = strdup(pair.error);
		if (!job->error)
			return -ENOMEM;
		f->bad_line = !f->opt->keep_going;
	}
	return 1;
}

void farm_give(struct farm *f, struct farm_job *job,
	       const struct farm_answer *answer)
{
	uint64_t now_ns;

	if (!job->error) {
		f->n_collected++;
		kill_sometimes(f);
	}
	give(f, job, answer);
	free(job->error);
	job->error = NULL;

	now_ns = progress_clock();
	if (now_ns - f->flushed_ns > FARM_FLUSH_NS) {
		f->flushed_ns = now_ns;
		out_flush(f->out);
		progress_results(now_ns, f->summary->n_results,
				 pairs_part(f->pairs), f->summary->n_kills);
	}
	if (f->out->error)
		f->stop = true; /* nobody reads us: busscen.c reports it */
}

/* --------------------------------------------------------------- stream -- */

const struct farm_pair *farm_pair(const struct farm *f, uint64_t ticket)
{
	return &f->jobs[ticket % FARM_WINDOW].pair;
}

static uint64_t n_on_way(const struct farm *f)
{
	return f->n_asked - f->n_answered;
}

/*
 * Submit until all places are taken (returns 1), the input has nothing just
 * now (-EAGAIN), or ends (0).  Else the -errno of the input; a failure to
 * submit also ends the run.
 */
static int submit_some(struct farm *f)
{
	while (n_on_way(f) < f->window) {
		struct farm_job *job = &f->jobs[f->n_asked % FARM_WINDOW];
		int ret = f->unsent ? 1 : farm_read(f, job, n_on_way(f) == 0);

		if (ret <= 0)
			return ret;
		ret = 0;
		if (!job->error)
			/* Nothing is on its way: there will be room. */
			ret = f->way->submit(f->ctx, f->n_asked, &job->pair,
					     n_on_way(f) == 0 ? -1 : 0);
		f->unsent = ret == -EAGAIN;
		if (ret == -EAGAIN)
			return 1;
		if (ret < 0) {
			farm_stop(f, scen_cannot("submit a request", ret));
			return 0;
		}
		f->n_asked++;
	}
	return 1;
}

/* The oldest answer; show what there is before a long wait. */
static int collect(struct farm *f, struct farm_answer *answer)
{
	int ret = f->way->collect(f->ctx, f->n_answered, answer, FARM_FLUSH_NS);

	if (ret == -ETIMEDOUT) {
		out_flush(f->out);
		ret = f->way->collect(f->ctx, f->n_answered, answer, -1);
	}
	return ret;
}

/* Answer the oldest job. */
static void answer_one(struct farm *f)
{
	struct farm_job *job = &f->jobs[f->n_answered % FARM_WINDOW];
	struct farm_answer answer;

	answer.pair = &job->pair;
	answer.error = job->error;
	if (!job->error) {
		int ret = collect(f, &answer);

		if (ret < 0) {
			farm_stop(f, scen_cannot("collect a result", ret));
			return;
		}
	}
	farm_give(f, job, &answer);
	f->n_answered++;
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

/* ------------------------------------------------------------------ run -- */

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
		scen_cannot_open(opt->input ? opt->input : "", ret);
	return ret;
}

struct farm *farm_open(const struct scen_options *opt, struct out *out,
		       struct scen_summary *summary)
{
	struct farm *f = calloc(1, sizeof(*f));

	if (!f) {
		scen_cannot("start", -ENOMEM);
		return NULL;
	}
	f->opt = opt;
	f->out = out;
	f->summary = summary;
	f->random = opt->seed;
	f->window = choose_window(opt);
	summary->n_workers = opt->n_workers;
	if (open_pairs(f) < 0) {
		free(f);
		return NULL;
	}
	return f;
}

void farm_close(struct farm *f)
{
	if (f)
		pairs_close(f->pairs);
	free(f);
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

void farm_begin(struct farm *f, const struct farm_way *way, void *ctx)
{
	f->way = way;
	f->ctx = ctx;
	f->flushed_ns = progress_clock();
	progress_start(way->name, f->flushed_ns);
}

int farm_end(struct farm *f, int err)
{
	if (err < 0) {
		f->status = SCEN_FAILED;
		out_flush(f->out);
		complain("busscen: cannot read '%s': %s", pairs_name(f->pairs),
			 strerror(-err));
	}
	if (f->demo)
		print_all(f);
	out_flush(f->out);
	if (f->opt->keep_going && f->summary->n_errors > 0)
		complain("busscen: %" PRIu64 " line%s of %s with an error "
			 "instead of a product",
			 f->summary->n_errors,
			 f->summary->n_errors == 1 ? "" : "s",
			 pairs_name(f->pairs));
	return f->status;
}

int farm_run(struct farm *f, const struct farm_way *way, void *ctx)
{
	int status;

	farm_begin(f, way, ctx);
	status = farm_end(f, stream(f));
	while (n_on_way(f) > 0) /* of a run that stopped early */
		free(f->jobs[f->n_answered++ % FARM_WINDOW].error);
	return status;
}
