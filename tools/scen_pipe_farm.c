/*
 * scen_pipe_farm.c - pairs go to workers through a pipe to each, their
 * products come back
 *
 * What the coordinator of queue-farm does is done here by hand, over pipes.
 * Each worker has a few pairs on their way, so that it never waits for the
 * next one; which worker gets a pair is decided when it is sent, by who has
 * the fewest, so a slow one gets few.  deal() sends, take_results() receives,
 * bury() deals with a death: what the dead worker had sent is received first,
 * then what it had not answered goes to others, the oldest first, and nothing
 * can be answered twice.
 *
 * A worker answers in the order in which it was asked, so a dead one died on
 * the first that it had not answered, and that one only is a pair's attempt.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/shmbus.h"
#include "tools/farm.h"
#include "tools/progress.h"

#define DEPTH 64 /* most pairs on their way to one worker; a power of two */

/* So many workers in a row that left without an answer and with nothing to
 * answer, and it is not the pairs' fault. */
#define HOPELESS 10

/* What is sent to a worker, and what comes back. */
struct request {
	uint64_t ticket;
	struct farm_pair pair;
};

struct result {
	uint64_t ticket;
	int64_t product;
	int64_t error; /* 0, or -errno: there is no product */
};

/*
 * All that is on its way in one direction of a pipe fits one of its slots.
 * Neither a worker that sends nor we who send ever have to wait.
 */
static_assert(DEPTH * (sizeof(struct request) + 8) <= 4096, "requests");
static_assert(DEPTH * (sizeof(struct result) + 8) <= 4096, "results");

struct worker {
	struct bus_pipe *pipe;
	pid_t pid;
	/* Asked n_asked times, answered n_answered: the tickets between, in
	 * that order, are at [n % DEPTH]. */
	uint64_t n_asked;
	uint64_t n_answered;
	uint64_t tickets[DEPTH];
};

/* What is known of a ticket that is on its way. */
struct work {
	bool done;
	int64_t product;
	int64_t error;   /* 0, or -errno: there is no product */
	uint32_t n_died; /* workers, on it; if too many, that is the answer */
	pid_t pid;       /* of the last of them */
	int how;         /* it ended, as waitpid() says */
};

struct pipe_farm {
	struct farm *farm;
	struct bus *bus;
	uint32_t n_workers;
	struct worker workers[FARM_MAX_WORKERS];
	struct bus_poll polls[FARM_MAX_WORKERS]; /* the same, for bus_wait() */
	int n_hopeless;

	/* Tickets to be dealt, a ring: n_todo of them from first_todo on. */
	uint32_t first_todo;
	uint32_t n_todo;
	uint64_t todo[FARM_WINDOW];

	struct work work[FARM_WINDOW]; /* of ticket t: at t % FARM_WINDOW */
};

static struct work *work_of(struct pipe_farm *f, uint64_t ticket)
{
	return &f->work[ticket % FARM_WINDOW];
}

static uint32_t n_outstanding(const struct worker *w)
{
	return (uint32_t)(w->n_asked - w->n_answered);
}

/* --------------------------------------------------------------- worker -- */

/* What a worker does until the other end of its pipe is closed. */
static int worker_main(void *ctx, struct bus_pipe *end)
{
	struct request request;
	struct result result;
	size_t len_bytes;
	int ret;

	(void)ctx;
	while ((ret = bus_pipe_recv(end, &request, sizeof(request), &len_bytes,
				    -1)) == 0) {
		if (len_bytes != sizeof(request))
			return SCEN_FAILED;
		result.ticket = request.ticket;
		result.product = 0;
		result.error = farm_multiply(&request.pair, &result.product);
		ret = bus_pipe_send(end, &result, sizeof(result), -1);
		if (ret < 0)
			break;
	}
	return ret == -EPIPE ? SCEN_OK : SCEN_FAILED;
}

static int start_worker(struct pipe_farm *f, struct worker *w)
{
	struct bus_pipe_config config = BUS_PIPE_CONFIG_INIT;
	int ret;

	config.profile = BUS_PIPE_LATENCY; /* little is in it at a time */
	memset(w, 0, sizeof(*w));
	ret = bus_pipe_spawn(f->bus, &config, worker_main, NULL, &w->pipe,
			     &w->pid);
	f->polls[w - f->workers] = (struct bus_poll){
		.kind = BUS_POLL_PIPE,
		.events = BUS_POLL_IN,
		.on.pipe = w->pipe,
	};
	return ret;
}

/* -------------------------------------------------------------- a death -- */

/* Deal this ticket before all others. */
static void deal_next(struct pipe_farm *f, uint64_t ticket)
{
	f->todo[--f->first_todo % FARM_WINDOW] = ticket;
	f->n_todo++;
}

/* A worker died on this pair: give it up if that was one too many. */
static void count_death(struct pipe_farm *f, uint64_t ticket, pid_t pid,
			int how)
{
	struct work *work = work_of(f, ticket);

	if (farm_killed(f->farm, pid))
		return; /* the pair is innocent */
	work->pid = pid;
	work->how = how;
	work->done = ++work->n_died == FARM_ATTEMPTS;
}

/* This worker is dead and all that it sent was received: start another, and
 * have what it left undone dealt again.  Returns 0 or -errno. */
static int bury(struct pipe_farm *f, struct worker *w)
{
	int how = 0;

	bus_pipe_free(w->pipe);
	w->pipe = NULL;
	while (waitpid(w->pid, &how, 0) < 0 && errno == EINTR)
		;
	if (n_outstanding(w) > 0)
		count_death(f, w->tickets[w->n_answered % DEPTH], w->pid, how);
	else if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL)
		f->n_hopeless++; /* nobody did this to it */
	while (w->n_asked > w->n_answered) {
		uint64_t ticket = w->tickets[--w->n_asked % DEPTH];

		if (!work_of(f, ticket)->done)
			deal_next(f, ticket);
	}
	return f->n_hopeless < HOPELESS ? start_worker(f, w) : -ECHILD;
}

/* -------------------------------------------------------------- results -- */

/* One result.  Returns 0 or -EPROTO. */
static int take_result(struct pipe_farm *f, struct worker *w,
		       const struct result *result, size_t len_bytes)
{
	struct work *work = work_of(f, result->ticket);

	if (len_bytes != sizeof(*result) || n_outstanding(w) == 0 ||
	    result->ticket != w->tickets[w->n_answered % DEPTH])
		return -EPROTO;
	w->n_answered++;
	f->n_hopeless = 0;
	work->done = true;
	work->product = result->product;
	work->error = result->error;
	return 0;
}

/* All results that a worker has sent.  Returns 0 or -errno. */
static int take_results(struct pipe_farm *f, struct worker *w)
{
	struct result result;
	size_t len_bytes;
	int ret;

	while ((ret = bus_pipe_recv(w->pipe, &result, sizeof(result),
				    &len_bytes, 0)) == 0) {
		ret = take_result(f, w, &result, len_bytes);
		if (ret < 0)
			return ret;
	}
	if (ret == -EPIPE || ret == -EOWNERDEAD)
		return bury(f, w);
	return ret == -EAGAIN ? 0 : ret;
}

/* ----------------------------------------------------------------- deal -- */

/* Who has the least to do; NULL if all have enough. */
static struct worker *most_free(struct pipe_farm *f)
{
	struct worker *best = NULL;
	uint32_t least = DEPTH;

	for (uint32_t i = 0; i < f->n_workers && least > 0; i++) {
		uint32_t n = n_outstanding(&f->workers[i]);

		if (n < least) {
			least = n;
			best = &f->workers[i];
		}
	}
	return best;
}

/* Send what is to be dealt to whoever is free.  Returns 0 or -errno. */
static int deal(struct pipe_farm *f)
{
	struct request request;
	struct worker *w;

	while (f->n_todo > 0 && (w = most_free(f))) {
		int ret;

		request.ticket = f->todo[f->first_todo % FARM_WINDOW];
		request.pair = *farm_pair(f->farm, request.ticket);
		ret = bus_pipe_send(w->pipe, &request, sizeof(request), -1);
		if (ret == 0) {
			w->tickets[w->n_asked++ % DEPTH] = request.ticket;
			f->first_todo++;
			f->n_todo--;
		} else if (ret == -EPIPE) {
			ret = take_results(f, w); /* it is dead */
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* ------------------------------------------------------------- the farm -- */

static int submit(void *ctx, uint64_t ticket, const struct farm_pair *pair,
		  int64_t timeout_ns)
{
	struct pipe_farm *f = ctx;

	(void)pair; /* deal() asks for it */
	(void)timeout_ns;
	*work_of(f, ticket) = (struct work){ 0 };
	f->todo[(f->first_todo + f->n_todo++) % FARM_WINDOW] = ticket;
	return deal(f);
}

static void make_answer(const struct work *work, struct farm_answer *answer)
{
	answer->error = NULL;
	answer->product = work->product;
	if (work->n_died == FARM_ATTEMPTS)
		farm_death(answer, work->n_died, work->pid,
			   WIFSIGNALED(work->how) ? WTERMSIG(work->how) : 0,
			   WEXITSTATUS(work->how));
	else if (work->error)
		farm_error(answer, (int)work->error, NULL, 0);
}

static int collect(void *ctx, uint64_t ticket, struct farm_answer *answer,
		   int64_t timeout_ns)
{
	struct pipe_farm *f = ctx;
	struct work *work = work_of(f, ticket);

	while (!work->done) {
		int ret = bus_wait(f->bus, f->polls, f->n_workers, timeout_ns);

		for (uint32_t i = 0; i < f->n_workers && ret >= 0; i++)
			if (f->polls[i].ready)
				ret = take_results(f, &f->workers[i]);
		if (ret >= 0)
			ret = deal(f);
		if (ret < 0)
			return ret;
	}
	make_answer(work, answer);
	return 0;
}

static int live_workers(void *ctx, pid_t *pids, size_t n)
{
	const struct pipe_farm *f = ctx;
	uint32_t i;

	for (i = 0; i < f->n_workers && i < n; i++)
		pids[i] = f->workers[i].pid;
	return (int)i;
}

static const struct farm_way way = { "pipe-farm", submit, collect, live_workers,
				     NULL };

/* Wait for a child's end; at the deadline kill it, which is false. */
static bool ends_until(pid_t pid, uint64_t deadline_ns)
{
	const struct timespec pause = { .tv_nsec = 500000 };

	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (progress_clock() > deadline_ns) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return false;
		}
		nanosleep(&pause, NULL);
	}
	return true;
}

/* To close a pipe is to tell its worker to leave. */
static void stop_workers(struct pipe_farm *f)
{
	uint64_t deadline_ns = progress_clock() + FARM_STOP_NS;
	bool all_ended = true;

	for (uint32_t i = 0; i < f->n_workers; i++)
		bus_pipe_free(f->workers[i].pipe);
	for (uint32_t i = 0; i < f->n_workers; i++)
		if (f->workers[i].pid > 0)
			all_ended &= ends_until(f->workers[i].pid, deadline_ns);
	if (!all_ended)
		farm_stubborn();
}

/* Start the workers, run, stop them. */
static int run(struct pipe_farm *f, uint32_t n_workers)
{
	int ret = 0, status;

	while (f->n_workers < n_workers && ret == 0)
		ret = start_worker(f, &f->workers[f->n_workers++]);
	if (ret == 0)
		status = farm_run(f->farm, &way, f);
	else
		status = scen_cannot("start the workers", ret);
	stop_workers(f);
	return status;
}

int scen_pipe_farm(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct pipe_farm *f = calloc(1, sizeof(*f));
	int ret, status = SCEN_FAILED;

	if (!f)
		return scen_cannot("start", -ENOMEM);
	f->farm = farm_open(opt, out, summary);
	if (!f->farm)
		goto out_free;
	config.wait = opt->wait;
	config.max_endpoints = FARM_MAX_ENDPOINTS;
	ret = bus_create(NULL, &config, &f->bus);
	if (ret == 0) {
		status = run(f, opt->n_workers);
		bus_close(f->bus);
	} else {
		scen_cannot_create(opt, ret);
	}
	farm_close(f->farm);
out_free:
	free(f);
	return status;
}
