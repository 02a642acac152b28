/*
 * load_queue.c - mpmc, and stream with many messages a call: producers fill
 * messages, consumers check them
 *
 * The producer that finishes last puts one end message for each consumer; a
 * consumer that gets several in a batch puts all but one back.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "bench/account.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/message.h"
#include "bench/run.h"

struct job {
	const struct transport *transport;
	struct lane *lane;
	const struct spec *spec;
	unsigned batch;
};

static int put_all(const struct job *job, const unsigned char *msgs, size_t n)
{
	size_t bytes = job->spec->bytes;

	while (n > 0) {
		int ret = job->transport->put(job->lane, msgs, bytes, n, true);

		if (ret < 0)
			return ret;
		msgs += (size_t)ret * bytes;
		n -= (size_t)ret;
	}
	return 0;
}

static int put_ends(const struct job *job, unsigned char *buf, unsigned n)
{
	int ret = 0;

	msg_fill(buf, job->spec->bytes, MSG_END);
	while (ret == 0 && n-- > 0)
		ret = put_all(job, buf, 1);
	return ret;
}

static int put_until_stopped(struct seat *seat, unsigned char *buf)
{
	const struct job *job = seat->job;
	size_t bytes = job->spec->bytes;
	uint64_t seq = 0;
	int ret = 0;

	while (ret == 0 && !seat_stopped(seat)) {
		seat_begins(seat);
		for (size_t i = 0; i < job->batch; i++)
			msg_fill(buf + i * bytes, bytes,
				 msg_key(seat->idx, seq++));
		ret = put_all(job, buf, job->batch);
	}
	seat->tally->n = seq;
	return ret;
}

static int produce(struct seat *seat)
{
	const struct job *job = seat->job;
	unsigned char *buf = calloc(job->batch, job->spec->bytes);
	int ret;

	if (!buf)
		return -ENOMEM;
	seat_ready(seat);
	ret = put_until_stopped(seat, buf);
	seat_end(seat);
	if (ret < 0) {
		free(buf);
		return seat_fail(seat, ret, "put");
	}
	if (atomic_fetch_sub(&seat->floor->n_producing, 1) == 1)
		ret = put_ends(job, buf, job->spec->consumers);
	free(buf);
	return ret;
}

/* Check one message.  @next has, of each producer, the number after the last
 * that this consumer got.  True when it is an end message. */
static bool take(struct tally *tally, uint64_t *next, const unsigned char *msg,
		 const struct spec *spec)
{
	uint64_t key;

	if (!msg_check(msg, spec->bytes, &key)) {
		tally->wrong++;
		return false;
	}
	if (key == MSG_END)
		return true;
	if (msg_producer(key) >= spec->producers) {
		tally->wrong++;
		return false;
	}
	if (msg_seq(key) < next[msg_producer(key)])
		tally->disorder++;
	next[msg_producer(key)] = msg_seq(key) + 1;
	account_key(tally, key);
	return false;
}

/* Returns how many end messages it got, at least one, or -errno. */
static int get_until_end(struct seat *seat, unsigned char *buf)
{
	const struct job *job = seat->job;
	size_t bytes = job->spec->bytes;
	uint64_t next[MAX_PROCESSES] = { 0 };
	struct tally tally = { .n = 0 };
	int n_ends = 0;

	while (!n_ends) {
		int n;

		if (seat_begins(seat))
			seat->tally->n_before = tally.n;
		n = job->transport->get(job->lane, buf, bytes, job->batch,
					true);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			n_ends += take(&tally, next, buf + (size_t)i * bytes,
				       job->spec);
	}
	account_add(seat->tally, &tally);
	return n_ends;
}

static int consume(struct seat *seat)
{
	const struct job *job = seat->job;
	unsigned char *buf = calloc(job->batch, job->spec->bytes);
	int ret;

	if (!buf)
		return -ENOMEM;
	seat_ready(seat);
	ret = get_until_end(seat, buf);
	seat_end(seat);
	if (ret < 0) {
		free(buf);
		return seat_fail(seat, ret, "get");
	}
	ret = put_ends(job, buf, (unsigned)ret - 1);
	free(buf);
	return ret;
}

/* Compare what was sent with what was received. */
static void balance(const struct crew *crew, const struct spec *spec,
		    struct outcome *out)
{
	struct tally sent = { .n = 0 }, got = { .n = 0 };

	for (unsigned i = 0; i < crew->n; i++) {
		const struct tally *tally = &crew->floor->tally[i];

		if (i < spec->producers)
			account_run(&sent, msg_key(i, 0), tally->n);
		else
			account_add(&got, tally);
	}
	account_compare(&sent, &got, out);
}

/* The span is that in which any of them was at work.  Who did not even notice
 * that the warm-up was over had nothing in it. */
static void sum_up(const struct crew *crew, const struct spec *spec,
		   struct outcome *out)
{
	uint64_t begin = UINT64_MAX, end = 0;
	uint64_t read_by[MAX_PROCESSES];

	for (unsigned i = 0; i < crew->n; i++) {
		const struct tally *tally = &crew->floor->tally[i];

		if (tally->end_ns > end)
			end = tally->end_ns;
		if (!tally->counted)
			continue;
		if (tally->begin_ns < begin)
			begin = tally->begin_ns;
		if (i >= spec->producers)
			out->messages += tally_counted(tally);
	}
	if (begin < end)
		out->seconds = (double)(end - begin) / 1e9;
	for (unsigned i = 0; i < spec->consumers; i++)
		read_by[i] = crew->floor->tally[spec->producers + i].n;
	if (spec->load == LOAD_MPMC) /* a stream has one reader */
		out->fairness = fairness_of(read_by, spec->consumers);
	crew_sum_usage(crew, out);
}

void load_queue(const struct transport *transport, const struct spec *spec,
		struct outcome *out)
{
	struct job job = {
		.transport = transport,
		.spec = spec,
		.batch = transport->batches ? spec->batch : 1,
	};
	struct crew crew;
	int ret;

	if (transport->open(spec, &job.lane, out) != 0)
		return;
	if (crew_open(&crew, out) != 0)
		goto out_lane;
	atomic_store(&crew.floor->n_producing, spec->producers);
	ret = 0;
	for (unsigned i = 0; ret == 0 && i < spec->producers; i++)
		ret = crew_fork(&crew, "producer", i, produce, &job,
				spec->pin ? cpus_nth(i) : -1);
	for (unsigned i = 0; ret == 0 && i < spec->consumers; i++)
		ret = crew_fork(&crew, "consumer", i, consume, &job,
				spec->pin ? cpus_nth(i + 1) : -1);
	if (ret == 0 &&
	    crew_run_warm(&crew, spec->warm_seconds, spec->seconds) == 0) {
		sum_up(&crew, spec, out);
		balance(&crew, spec, out);
	}
	crew_close(&crew);
out_lane:
	transport->close(job.lane);
}
