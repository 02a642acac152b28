/*
 * load_farm.c - farm: a coordinator keeps many requests outstanding
 *
 * It sends up to BURST requests, then takes up to BURST answers, and waits
 * only when it could do neither.  It must never wait for room while answers
 * are outstanding: with a channel of ten messages both sides would wait for
 * ever.
 *
 * Each request has a place in a table until its answer is there, and its id
 * says place and sequence number.  An answer to a request that is not
 * outstanding is a duplicate; a request that is left at the end is lost.
 * Latency is that of a sample, from the call that sends to the call that
 * collects: to look at the clock for all of them would cost more than the
 * message.
 *
 * With a rate it is that of all of them, from the time when the request was to
 * be sent; with as many outstanding as may be, or no room, it is sent later.
 * The coordinator does not sleep then, as it could not wait for an answer and
 * for the time of the next request at once.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/chaos.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"
#include "bench/tick.h"

#define BURST        64
#define SAMPLE_EVERY 64
#define FREE         UINT64_MAX
#define PLACE_BITS   17 /* more than MAX_INFLIGHT */

struct place {
	uint64_t seq;  /* FREE when nothing is outstanding here */
	uint64_t sent; /* ticks, if it is one of the sample */
};

struct desk {
	struct caller *caller;
	struct seat *seat;
	bool paced;
	struct tally *tally;
	struct hist *hist;
	struct place *places;
	uint32_t *free; /* a stack of places */
	unsigned n_free;
	unsigned inflight;
	uint64_t seq;
	uint64_t n_sent_before; /* the span that counts */
};

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

static int desk_open(struct desk *desk, unsigned inflight)
{
	desk->places = calloc(inflight, sizeof(*desk->places));
	desk->free = calloc(inflight, sizeof(*desk->free));
	if (!desk->places || !desk->free)
		return -ENOMEM;
	desk->inflight = inflight;
	for (unsigned i = 0; i < inflight; i++) {
		desk->places[i].seq = FREE;
		desk->free[desk->n_free++] = inflight - 1 - i;
	}
	return 0;
}

static void desk_close(struct desk *desk)
{
	free(desk->places);
	free(desk->free);
}

static int send_one(struct desk *desk)
{
	uint32_t idx = desk->free[desk->n_free - 1];
	struct place *place = &desk->places[idx];
	uint64_t seq = desk->seq;
	int ret;

	if (seq % SAMPLE_EVERY == 0)
		place->sent = tick_now();
	ret = caller_submit(desk->caller, seq << PLACE_BITS | idx, call_a(seq),
			    call_b(seq), false);
	if (ret < 0)
		return ret;
	place->seq = seq;
	desk->n_free--;
	desk->seq++;
	return 0;
}

static int take_one(struct desk *desk, bool wait)
{
	uint64_t id, product, seq;
	uint32_t idx;
	int ret = caller_collect(desk->caller, &id, &product, wait);

	if (ret < 0)
		return ret;
	seq = id >> PLACE_BITS;
	idx = id & ((1u << PLACE_BITS) - 1);
	if (idx >= desk->inflight || desk->places[idx].seq != seq) {
		desk->tally->dup++;
		return 0;
	}
	if (product != call_product(seq))
		desk->tally->wrong++;
	if (desk->paced)
		seat_note_latency(desk->seat, seq);
	else if (desk->seat->counts && seq % SAMPLE_EVERY == 0)
		hist_add(desk->hist,
			 tick_span_ns(desk->places[idx].sent, tick_now()));
	desk->places[idx].seq = FREE;
	desk->free[desk->n_free++] = idx;
	desk->tally->n++;
	return 0;
}

static bool is_due(const struct desk *desk)
{
	return !desk->paced ||
	       pace_due(&desk->seat->floor->pace, desk->seq) <= now_ns();
}

/* Returns how many were sent, or -errno. */
static int send_burst(struct desk *desk)
{
	int n;

	for (n = 0; n < BURST && desk->n_free > 0 && is_due(desk); n++) {
		int ret = send_one(desk);

		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			return ret;
	}
	return n;
}

static int take_burst(struct desk *desk, bool wait)
{
	for (int n = 0; n < BURST && desk->n_free < desk->inflight; n++) {
		int ret = take_one(desk, wait && n == 0);

		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int run_desk(struct seat *seat, struct desk *desk)
{
	bool stopped = false;

	while (!stopped || desk->n_free < desk->inflight) {
		int sent = 0, ret;

		if (seat_begins(seat)) {
			desk->tally->n_before = desk->tally->n;
			desk->n_sent_before = desk->seq;
		}
		stopped = stopped || seat_stopped(seat);
		if (!stopped)
			sent = send_burst(desk);
		if (sent < 0)
			return sent;
		/* Nothing to do until the next is to be sent. */
		if (desk->paced && !stopped && desk->n_free == desk->inflight)
			seat_paces(seat, desk->seq);
		ret = take_burst(desk, sent == 0 && (!desk->paced || stopped));
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int coordinate(struct seat *seat)
{
	struct job *job = seat->job;
	struct desk desk = { .caller = job->caller,
			     .seat = seat,
			     .paced = seat->floor->pace.interval_ns > 0,
			     .tally = seat->tally,
			     .hist = &seat->floor->hist };
	int ret = desk_open(&desk, job->spec->inflight);

	if (ret < 0)
		return ret;
	atomic_store(&seat->floor->owner, getpid());
	ret = caller_start(job->caller);
	if (ret < 0)
		return seat_fail(seat, ret, "start workers");
	seat_ready(seat);
	ret = run_desk(seat, &desk);
	/* Lost requests end in run_desk() waiting for ever or, where the
	 * transport knows what is outstanding, in -ENODATA. */
	seat->tally->lost = desk.inflight - desk.n_free;
	seat_end(seat);
	seat->tally->n_sent = desk.seq - desk.n_sent_before;
	desk_close(&desk);
	if (ret < 0 && ret != -ENODATA)
		return seat_fail(seat, ret, "call");
	chaos_wait_over(seat, job->spec);
	ret = caller_stop(job->caller);
	seat_count_usage(seat);
	return ret < 0 ? seat_fail(seat, ret, "stop workers") : 0;
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	const struct tally *tally = &crew->floor->tally[0];

	crew_sum_owner(crew, out);
	if (out->open_loop)
		out->sent_per_s = (double)tally->n_sent / out->seconds;
}

void load_farm(const struct transport *transport, const struct spec *spec,
	       struct outcome *out)
{
	struct spec counted = *spec;
	struct caller caller;
	struct job job = { &caller, &counted };
	struct crew crew;
	int ret;

	if (crew_open(&crew, out) != 0)
		return;
	crew_set_rate(&crew, spec->rate);
	crew_use_from_go(&crew);
	counted.shares = &crew.floor->shares;
	if (caller_open(&caller, transport, &counted, out) != 0)
		goto out_crew;
	ret = crew_fork(&crew, "coordinator", 0, coordinate, &job,
			spec->pin ? cpus_nth(0) : -1);
	if (caller_needs_workers(&caller))
		for (unsigned i = 0; ret == 0 && i < spec->workers; i++)
			ret = crew_fork(&crew, "worker", i, work, &job,
					spec->pin ? cpus_nth(i + 1) : -1);
	if (ret == 0 && spec->kills_per_s > 0)
		ret = crew_fork(&crew, "killer", 0, chaos_kill, &counted, -1);
	if (ret == 0 &&
	    crew_run_warm(&crew, spec->warm_seconds, spec->seconds) == 0)
		sum_up(&crew, out);
	crew_kill(&crew);
	caller_close(&caller);
out_crew:
	crew_close(&crew);
}
