/*
 * load_stream.c - stream: one producer, one consumer, as fast as they can
 *
 * Both work in chunks (chunk.h), so that stopping, counting and the call of
 * the transport cost next to nothing for a message.
 *
 * The figure is the consumer's: what it received, from the end of the warm-up
 * to the last message.  So what was under way at the beginning is made up for
 * by what has to be drained at the end, however much a transport holds.
 *
 * With a rate each message is sent at its time, one by one, and the receiver
 * knows from its number when that was: so messages of any size have a latency,
 * and nothing is written into them.
 */
#include "config.h"

#include "bench/account.h"
#include "bench/chunk.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"

#define CHUNK_BYTES    16384
#define CHUNK_MESSAGES 256

struct job {
	const struct transport *transport;
	struct lane *lane;
	size_t bytes;
	size_t chunk; /* messages */
	bool paced;   /* then it is 1 */
};

static int send_chunk(const struct job *job, struct source *source)
{
	const struct transport *transport = job->transport;

	if (transport->send)
		return transport->send(job->lane, source, job->chunk);
	return chunk_put(job->lane, source, job->chunk, transport->put);
}

static int recv_chunk(const struct job *job, struct sink *sink)
{
	const struct transport *transport = job->transport;

	if (transport->recv)
		return transport->recv(job->lane, sink, job->chunk);
	return chunk_get(job->lane, sink, job->chunk, transport->get);
}

static int send_end(const struct job *job, unsigned char *buf)
{
	msg_fill(buf, job->bytes, MSG_END);
	return job->transport->put(job->lane, buf, job->bytes, 1, true);
}

static int produce(struct seat *seat)
{
	const struct job *job = seat->job;
	struct source source;
	int ret = transport_attach(job->transport, job->lane, true);

	if (ret == 0)
		ret = source_open(&source, 0, job->bytes);
	if (ret < 0)
		return ret;
	seat_ready(seat);
	while (ret == 0 && !seat_stopped(seat)) {
		uint64_t n = source.key - source.first;

		if (seat_begins(seat))
			seat->tally->n_before = n;
		if (!seat_paces(seat, n))
			break;
		ret = send_chunk(job, &source);
	}
	seat_end(seat);
	source_account(&source, seat->tally);
	if (ret == 0)
		ret = send_end(job, source.buf);
	source_close(&source);
	return ret < 0 ? seat_fail(seat, ret, "put") : 0;
}

static int consume(struct seat *seat)
{
	const struct job *job = seat->job;
	struct sink sink;
	int ret = transport_attach(job->transport, job->lane, false);

	if (ret == 0)
		ret = sink_open(&sink, 0, job->bytes);
	if (ret < 0)
		return ret;
	seat_ready(seat);
	while (ret == 0 && !sink.ended) {
		if (seat_begins(seat))
			seat->tally->n_before = sink_count(&sink);
		ret = recv_chunk(job, &sink);
		if (job->paced && !sink.ended)
			seat_note_latency(seat, msg_seq(sink.expected) - 1);
	}
	seat_end(seat);
	sink_account(&sink, seat->tally);
	sink_close(&sink);
	return ret < 0 ? seat_fail(seat, ret, "get") : 0;
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	const struct tally *sent = &crew->floor->tally[0];
	const struct tally *got = &crew->floor->tally[1];

	out->messages = tally_counted(got);
	out->seconds = (double)(got->end_ns - got->begin_ns) / 1e9;
	crew_sum_usage(crew, out);
	account_compare(sent, got, out);
	if (!out->open_loop)
		return;
	out->sent_per_s = (double)(sent->n - sent->n_before) * 1e9 /
			  (double)(sent->end_ns - sent->begin_ns);
	out->has_ns = crew->floor->hist.n > 0;
	out->ns = hist_quantiles(&crew->floor->hist);
}

static size_t chunk_for(size_t bytes)
{
	size_t n = CHUNK_BYTES / bytes;

	return n < 1 ? 1 : n > CHUNK_MESSAGES ? CHUNK_MESSAGES : n;
}

void load_stream(const struct transport *transport, const struct spec *spec,
		 struct outcome *out)
{
	struct job job = { .transport = transport,
			   .bytes = spec->bytes,
			   .chunk = spec->rate > 0 ? 1 : chunk_for(spec->bytes),
			   .paced = spec->rate > 0 };
	struct crew crew;
	int ret;

	if (spec->batch > 1) {
		load_queue(transport, spec, out);
		return;
	}
	if (transport->open(spec, &job.lane, out) != 0)
		return;
	if (crew_open(&crew, out) != 0)
		goto out_lane;
	crew_set_rate(&crew, spec->rate);
	ret = crew_fork(&crew, "producer", 0, produce, &job,
			spec->pin ? cpus_nth(0) : -1);
	if (ret == 0)
		ret = crew_fork(&crew, "consumer", 0, consume, &job,
				spec->pin ? cpus_nth(1) : -1);
	if (ret == 0 &&
	    crew_run_warm(&crew, spec->warm_seconds, spec->seconds) == 0)
		sum_up(&crew, out);
	crew_close(&crew);
out_lane:
	transport->close(job.lane);
}
