/*
 * load_wake.c - wake: the way of one message to a receiver that sleeps
 *
 * The sender is idle for 15 ms, longer than any receiver spins, and not when
 * one of ours has just looked once more (lib/waiter.c, after 10 ms); then it
 * sends the time; the receiver looks at the same clock when it has the message.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/run.h"
#include "bench/tick.h"

#define IDLE_NS (15 * NS_PER_MS)
#define END     UINT64_MAX

struct stamp {
	uint64_t seq;
	uint64_t sent_ns;
};

struct job {
	const struct transport *transport;
	struct lane *lane;
	size_t bytes; /* of a message; the stamp is its beginning */
};

static int send_stamp(const struct job *job, void *msg, struct stamp stamp)
{
	*(struct stamp *)msg = stamp;
	return job->transport->put(job->lane, msg, job->bytes, 1, true);
}

static int ring(struct seat *seat)
{
	struct job *job = seat->job;
	void *msg = calloc(1, job->bytes);
	int ret = transport_attach(job->transport, job->lane, true);

	if (!msg)
		return -ENOMEM;
	seat_ready(seat);
	while (ret >= 0 && !seat_stopped(seat)) {
		sleep_ns(IDLE_NS);
		ret = send_stamp(job, msg,
				 (struct stamp){ seat->tally->n++, now_ns() });
	}
	seat_end(seat);
	if (ret >= 0)
		ret = send_stamp(job, msg, (struct stamp){ END, 0 });
	free(msg);
	return ret < 0 ? seat_fail(seat, ret, "put") : 0;
}

static int answer(struct seat *seat)
{
	struct job *job = seat->job;
	struct stamp *msg = calloc(1, job->bytes);
	struct tally *tally = seat->tally;
	int ret = transport_attach(job->transport, job->lane, false);

	if (!msg || ret < 0)
		return msg ? ret : -ENOMEM;
	seat_ready(seat);
	for (uint64_t seq = 0;; seq++) {
		ret = job->transport->get(job->lane, msg, job->bytes, 1, true);
		if (ret < 0 || msg->seq == END)
			break;
		hist_add(&seat->floor->hist, now_ns() - msg->sent_ns);
		if (msg->seq < seq)
			tally->dup++;
		tally->n++;
	}
	seat_end(seat);
	free(msg);
	return ret < 0 ? seat_fail(seat, ret, "get") : 0;
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	const struct tally *sent = &crew->floor->tally[0];
	const struct tally *got = &crew->floor->tally[1];

	out->messages = got->n;
	out->seconds = (double)(got->end_ns - sent->begin_ns) / 1e9;
	crew_sum_usage(crew, out);
	out->dup = got->dup;
	if (sent->n > got->n)
		out->lost = sent->n - got->n;
	else if (sent->n < got->n && !out->dup)
		out->dup = got->n - sent->n;
	out->has_ns = crew->floor->hist.n > 0;
	out->ns = hist_quantiles(&crew->floor->hist);
}

void load_wake(const struct transport *transport, const struct spec *spec,
	       struct outcome *out)
{
	struct job job = { .transport = transport, .bytes = spec->bytes };
	struct crew crew;
	int ret;

	if (transport->open(spec, &job.lane, out) != 0)
		return;
	if (crew_open(&crew, out) != 0)
		goto out_lane;
	ret = crew_fork(&crew, "sender", 0, ring, &job,
			spec->pin ? cpus_nth(0) : -1);
	if (ret == 0)
		ret = crew_fork(&crew, "receiver", 0, answer, &job,
				spec->pin ? cpus_nth(1) : -1);
	if (ret == 0 && crew_run(&crew, spec->seconds) == 0)
		sum_up(&crew, out);
	crew_close(&crew);
out_lane:
	transport->close(job.lane);
}
