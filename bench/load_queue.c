/*
 * load_queue.c - stream and mpmc: producers fill messages, consumers check
 * them
 *
 * The producer that finishes last puts one end message for each consumer; a
 * consumer that gets several in a batch puts all but one back.
 *
 * Nothing lost and nothing twice is checked with count, sum and sum of squares
 * of the keys, of what was sent against what was received: exact for count
 * and, for sets of this kind, as good as exact for the rest, at two
 * instructions a message.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

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
	if (ret < 0)
		return seat_fail(seat, ret, "put");
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
	tally->n++;
	tally->sum += key;
	tally->sum_squares += key * key;
	return false;
}

/* Returns how many end messages it got, at least one, or -errno. */
static int get_until_end(struct seat *seat, unsigned char *buf)
{
	const struct job *job = seat->job;
	size_t bytes = job->spec->bytes;
	uint64_t next[MAX_PROCESSES] = { 0 };
	struct tally tally = *seat->tally;
	int n_ends = 0;

	while (!n_ends) {
		int n = job->transport->get(job->lane, buf, bytes, job->batch,
					    true);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			n_ends += take(&tally, next, buf + (size_t)i * bytes,
				       job->spec);
	}
	*seat->tally = tally;
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
	if (ret < 0)
		return seat_fail(seat, ret, "get");
	ret = put_ends(job, buf, (unsigned)ret - 1);
	free(buf);
	return ret;
}

/* Sum and sum of squares of the keys that producer @p sent, modulo 2^64. */
static void expect(unsigned p, uint64_t n, uint64_t *sum, uint64_t *squares)
{
	unsigned __int128 m = n, first = msg_key(p, 0);
	unsigned __int128 seqs = m ? m * (m - 1) / 2 : 0;
	unsigned __int128 seqs2 = m ? (m - 1) * m / 2 * (2 * m - 1) / 3 : 0;

	*sum += (uint64_t)(m * first + seqs);
	*squares += (uint64_t)(m * first * first + 2 * first * seqs + seqs2);
}

/* Compare what was sent with what was received. */
static void balance(const struct crew *crew, const struct spec *spec,
		    struct outcome *out)
{
	uint64_t sent = 0, sum = 0, squares = 0;
	uint64_t got_sum = 0, got_squares = 0;

	for (unsigned i = 0; i < crew->n; i++) {
		const struct tally *tally = &crew->floor->tally[i];

		if (i < spec->producers) {
			sent += tally->n;
			expect(i, tally->n, &sum, &squares);
			continue;
		}
		out->messages += tally->n;
		out->wrong += tally->wrong;
		out->disorder += tally->disorder;
		got_sum += tally->sum;
		got_squares += tally->sum_squares;
	}
	if (sent > out->messages)
		out->lost = sent - out->messages;
	else if (sent < out->messages)
		out->dup = out->messages - sent;
	else if (!out->wrong && (sum != got_sum || squares != got_squares))
		out->lost = out->dup = 1; /* at least; the count is even */
}

static void sum_up(const struct crew *crew, struct outcome *out)
{
	uint64_t begin = UINT64_MAX, end = 0, cpu = 0;

	for (unsigned i = 0; i < crew->n; i++) {
		const struct tally *tally = &crew->floor->tally[i];

		if (tally->begin_ns < begin)
			begin = tally->begin_ns;
		if (tally->end_ns > end)
			end = tally->end_ns;
		cpu += tally->cpu_ns;
	}
	out->seconds = (double)(end - begin) / 1e9;
	out->cpu_ns = (double)cpu;
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
	if (ret == 0 && crew_run(&crew, spec->seconds) == 0) {
		sum_up(&crew, out);
		balance(&crew, spec, out);
	}
	crew_close(&crew);
out_lane:
	transport->close(job.lane);
}
