/*
 * load_duplex.c - duplex: two processes, each sends and receives at once
 *
 * Each is one thread that sends what there is room for, takes what is there,
 * and waits when it could do neither; how, is the transport's affair.  The
 * figure has the messages of both directions.
 *
 * When it is told to stop a side sends an end message, and goes on receiving
 * until it has the other's.
 */
#include "config.h"

#include "bench/account.h"
#include "bench/chunk.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"

/* In each direction, before it is the other's turn. */
#define TURN_BYTES    16384
#define TURN_MESSAGES 64

/* The floor has room for more tallies than there are members: a side's own
 * has what it received, the one this far behind it what it sent. */
#define SENT 2

struct job {
	const struct duplex_ops *ops;
	struct lane *lane;
	size_t bytes;
	size_t turn; /* messages */
};

static int take_turns(struct seat *seat, struct source *source,
		      struct sink *sink)
{
	const struct job *job = seat->job;
	int ret = 0;

	while (ret == 0 && !(source->ended && sink->ended)) {
		if (seat_begins(seat))
			seat->tally->n_before = sink_count(sink);
		source->stop = seat_stopped(seat);
		ret = job->ops->turn(job->lane, source, sink, job->turn);
	}
	return ret;
}

static int converse(struct seat *seat)
{
	const struct job *job = seat->job;
	struct source source;
	struct sink sink;
	int ret = source_open(&source, seat->idx, job->bytes);

	if (ret < 0)
		return ret;
	ret = sink_open(&sink, !seat->idx, job->bytes);
	if (ret < 0)
		goto out_source;
	ret = job->ops->side(job->lane, seat->idx);
	if (ret < 0)
		goto out_sink;
	seat_ready(seat);
	ret = take_turns(seat, &source, &sink);
	seat_end(seat);
	source_account(&source, &seat->tally[SENT]);
	sink_account(&sink, seat->tally);
	if (ret < 0)
		seat_fail(seat, ret, "send or receive");
out_sink:
	sink_close(&sink);
out_source:
	source_close(&source);
	return ret;
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	const struct tally *side = crew->floor->tally;
	uint64_t begin = side[0].begin_ns, end = side[0].end_ns;

	if (side[1].begin_ns < begin)
		begin = side[1].begin_ns;
	if (side[1].end_ns > end)
		end = side[1].end_ns;
	out->seconds = (double)(end - begin) / 1e9;
	crew_sum_usage(crew, out);
	for (unsigned i = 0; i < 2; i++) {
		out->messages += tally_counted(&side[i]);
		account_compare(&side[!i + SENT], &side[i], out);
	}
}

static size_t turn_for(size_t bytes)
{
	size_t n = TURN_BYTES / bytes;

	return n < 1 ? 1 : n > TURN_MESSAGES ? TURN_MESSAGES : n;
}

void load_duplex(const struct transport *transport, const struct spec *spec,
		 struct outcome *out)
{
	struct job job = { .ops = transport->duplex,
			   .bytes = spec->bytes,
			   .turn = turn_for(spec->bytes) };
	struct crew crew;
	int ret = 0;

	if (job.ops->open(spec, &job.lane, out) != 0)
		return;
	if (crew_open(&crew, out) != 0)
		goto out_lane;
	for (unsigned i = 0; ret == 0 && i < 2; i++)
		ret = crew_fork(&crew, "side", i, converse, &job,
				spec->pin ? cpus_nth(i) : -1);
	if (ret == 0 &&
	    crew_run_warm(&crew, spec->warm_seconds, spec->seconds) == 0)
		sum_up(&crew, out);
	crew_close(&crew);
out_lane:
	job.ops->close(job.lane);
}
