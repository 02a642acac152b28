/*
 * load_rtt.c - rtt: one request of two numbers, the answer is their product
 *
 * The coordinator has one request outstanding and measures each round trip;
 * with a rate from the time when the request was to be sent, be it that the
 * answer to the one before it came later.
 *
 * With kills its worker is killed at random and replaced; the round trips that
 * this befalls are among the others.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/chaos.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"
#include "bench/tick.h"

struct job {
	struct caller *caller;
	const struct spec *spec;
};

static int work(struct seat *seat)
{
	struct job *job = seat->job;
	int ret = caller_attach(job->caller);

	if (ret < 0)
		return ret;
	seat_ready(seat);
	ret = caller_serve(job->caller);
	seat_end(seat);
	return ret;
}

static void check(struct tally *tally, uint64_t seq, uint64_t id,
		  uint64_t product)
{
	if (id < seq)
		tally->dup++;
	else if (id > seq)
		tally->lost++;
	else if (product != call_product(seq))
		tally->wrong++;
}

static int call_in_turn(struct seat *seat, struct caller *caller)
{
	struct hist *hist = &seat->floor->hist;
	bool paced = seat->floor->pace.interval_ns > 0;
	uint64_t seq;

	for (seq = 0; !seat_stopped(seat); seq++) {
		uint64_t a = call_a(seq), b = call_b(seq), id, product;
		uint64_t begin;
		int ret;

		if (seat_begins(seat))
			seat->tally->n_before = seq;
		if (!seat_paces(seat, seq))
			break;
		begin = tick_now();
		ret = caller_submit(caller, seq, a, b, true);
		if (ret == 0)
			ret = caller_collect(caller, &id, &product, true);
		if (ret < 0)
			return ret;
		if (paced)
			seat_note_latency(seat, seq);
		else if (seat->counts)
			hist_add(hist, tick_span_ns(begin, tick_now()));
		check(seat->tally, seq, id, product);
	}
	seat->tally->n = seq;
	return 0;
}

static int coordinate(struct seat *seat)
{
	struct job *job = seat->job;
	struct caller *caller = job->caller;
	int ret;

	atomic_store(&seat->floor->owner, getpid());
	ret = caller_start(caller);
	if (ret < 0)
		return seat_fail(seat, ret, "start workers");
	seat_ready(seat);
	ret = call_in_turn(seat, caller);
	seat_end(seat);
	if (ret < 0)
		return seat_fail(seat, ret, "call");
	chaos_wait_over(seat, job->spec);
	ret = caller_stop(caller);
	seat_count_usage(seat);
	return ret < 0 ? seat_fail(seat, ret, "stop workers") : 0;
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	const struct floor *floor = crew->floor;
	const struct tally *tally = &floor->tally[0];

	out->messages = tally_counted(tally);
	out->seconds = (double)(tally->end_ns - tally->begin_ns) / 1e9;
	if (out->open_loop)
		out->sent_per_s = (double)out->messages / out->seconds;
	out->deaths = atomic_load(&floor->n_killed);
	out->again = atomic_load(&floor->shares.n_again);
	crew_use_part(tally, out);
	crew_sum_usage(crew, out);
	out->lost = tally->lost;
	out->dup = tally->dup;
	out->wrong = tally->wrong;
	out->has_ns = floor->hist.n > 0;
	out->ns = hist_quantiles(&floor->hist);
}

static int fork_all(struct crew *crew, struct job *job, struct spec *spec)
{
	int ret = crew_fork(crew, "coordinator", 0, coordinate, job,
			    spec->pin ? cpus_nth(0) : -1);

	if (ret == 0 && caller_needs_workers(job->caller))
		ret = crew_fork(crew, "worker", 0, work, job,
				spec->pin ? cpus_nth(1) : -1);
	if (ret == 0 && spec->kills_per_s > 0)
		ret = crew_fork(crew, "killer", 0, chaos_kill, spec, -1);
	return ret;
}

void load_rtt(const struct transport *transport, const struct spec *spec,
	      struct outcome *out)
{
	struct spec copy = *spec;
	struct caller caller;
	struct job job = { &caller, &copy };
	struct crew crew;

	if (crew_open(&crew, out) != 0)
		return;
	crew_set_rate(&crew, spec->rate);
	crew_use_from_go(&crew);
	if (spec->kills_per_s > 0) /* who is to be killed is found there */
		copy.shares = &crew.floor->shares;
	if (caller_open(&caller, transport, &copy, out) != 0)
		goto out_crew;
	if (fork_all(&crew, &job, &copy) == 0 &&
	    crew_run_warm(&crew, spec->warm_seconds, spec->seconds) == 0)
		sum_up(&crew, out);
	crew_kill(&crew);
	caller_close(&caller);
out_crew:
	crew_close(&crew);
}
