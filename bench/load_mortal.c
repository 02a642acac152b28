/*
 * load_mortal.c - mpmc whose readers are killed at random and replaced
 *
 * A message is leased, checked, entered into a book that all share, and only
 * then released: so another reader gets it if the first one dies with it.  If
 * that one died after the entry, the other is told that readers have died on
 * the message, looks, and finds the entry made.  That is what a program does
 * that must not do anything twice, and it makes the count exact: each number
 * that was sent has one entry, none is missing; one that came again without a
 * death is a duplicate.
 *
 * The end is that of the queue: a reader that holds nothing waits for what the
 * others hold, as it would be its turn if they died.
 *
 * There is no warm-up, and no order, as what is handed on comes late.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/chaos.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/message.h"
#include "bench/run.h"
#include "bench/tick.h"

/* Messages of a producer; then it waits for the end of the round. */
#define BOOK_N (1u << 24)

struct job {
	const struct transport *transport;
	struct lane *lane;
	const struct spec *spec;
	_Atomic uint8_t *book; /* BOOK_N for each producer */
};

static int put(const struct job *job, void *buf, uint64_t key)
{
	int ret;

	msg_fill(buf, job->spec->bytes, key);
	ret = job->transport->put(job->lane, buf, job->spec->bytes, 1, true);
	return ret < 0 ? ret : 0;
}

static int produce(struct seat *seat)
{
	const struct job *job = seat->job;
	void *buf = malloc(job->spec->bytes);
	uint64_t seq = 0;
	int ret = 0;

	if (!buf)
		return -ENOMEM;
	seat_ready(seat);
	while (ret == 0 && !seat_stopped(seat)) {
		if (seq == BOOK_N)
			seat_wait_stop(seat);
		else
			ret = put(job, buf, msg_key(seat->idx, seq++));
	}
	seat->tally->n = seq;
	seat_end(seat);
	chaos_wait_over(seat, job->spec);
	if (ret == 0 && atomic_fetch_sub(&seat->floor->n_producing, 1) == 1)
		ret = job->transport->lease->close(job->lane);
	free(buf);
	return ret < 0 ? seat_fail(seat, ret, "put") : 0;
}

static void enter(struct seat *seat, const void *msg, unsigned attempts)
{
	const struct job *job = seat->job;
	_Atomic uint8_t *entry;
	uint64_t key;

	if (!msg_check(msg, job->spec->bytes, &key)) {
		seat->tally->wrong++;
		return;
	}
	if (msg_producer(key) >= job->spec->producers ||
	    msg_seq(key) >= BOOK_N) {
		seat->tally->wrong++;
		return;
	}
	if (attempts)
		atomic_fetch_add(&seat->floor->n_again, 1);
	entry = &job->book[(size_t)msg_producer(key) * BOOK_N + msg_seq(key)];
	if (!attempts || !atomic_load_explicit(entry, memory_order_relaxed))
		atomic_fetch_add_explicit(entry, 1, memory_order_relaxed);
}

static int consume(struct seat *seat)
{
	const struct job *job = seat->job;
	const struct lease_ops *lease = job->transport->lease;
	struct share *share;
	int ret = 0;

	seat_ready(seat);
	share = shares_take(&seat->floor->shares);
	while (ret >= 0) {
		unsigned attempts;
		const void *msg;

		ret = lease->take(job->lane, job->spec->bytes, &msg, &attempts);
		if (ret < 0)
			break;
		enter(seat, msg, attempts);
		ret = lease->release(job->lane);
	}
	shares_leave(share, getpid());
	seat_end(seat);
	return ret == -EPIPE ? 0 : seat_fail(seat, ret, "get");
}

/* Each number that was sent is there once. */
static void balance(const struct crew *crew, const struct job *job,
		    struct outcome *out)
{
	for (unsigned i = 0; i < job->spec->producers; i++) {
		const _Atomic uint8_t *book = job->book + (size_t)i * BOOK_N;
		uint64_t n = crew->floor->tally[i].n;

		for (uint64_t seq = 0; seq < n; seq++) {
			unsigned times = atomic_load_explicit(
				&book[seq], memory_order_relaxed);

			out->messages += times > 0;
			out->lost += times == 0;
			out->dup += times > 1 ? times - 1 : 0;
		}
		if (n < BOOK_N && atomic_load(&book[n]))
			out->wrong++; /* it was never sent */
	}
}

static void sum_up(const struct crew *crew, const struct job *job,
		   struct outcome *out)
{
	uint64_t begin = crew->floor->pace.begin_ns, end = 0;

	for (unsigned i = 0; i < crew->n; i++) {
		const struct tally *tally = &crew->floor->tally[i];

		if (tally->end_ns > end)
			end = tally->end_ns;
		out->wrong += tally->wrong;
	}
	out->seconds = (double)(end - begin) / 1e9;
	out->deaths = atomic_load(&crew->floor->n_killed);
	out->again = atomic_load(&crew->floor->n_again);
	balance(crew, job, out);
	crew_sum_usage(crew, out);
}

static int fork_all(struct crew *crew, struct job *job, struct spec *spec)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < spec->producers; i++)
		ret = crew_fork(crew, "producer", i, produce, job,
				spec->pin ? cpus_nth(i) : -1);
	for (unsigned i = 0; ret == 0 && i < spec->consumers; i++)
		ret = crew_fork_mortal(crew, "consumer", i, consume, job,
				       spec->pin ? cpus_nth(i + 1) : -1);
	if (ret == 0)
		ret = crew_fork(crew, "killer", 0, chaos_kill, spec, -1);
	return ret;
}

void load_mortal(const struct transport *transport, const struct spec *spec,
		 struct outcome *out)
{
	size_t book_bytes = (size_t)spec->producers * BOOK_N;
	struct job job = { .transport = transport, .spec = spec };
	struct spec copy = *spec;
	struct crew crew;
	void *book;

	if (transport->open(spec, &job.lane, out) != 0)
		return;
	book = mmap(NULL, book_bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (book == MAP_FAILED) {
		outcome_set(out, OUTCOME_FAILED, "no memory: %s",
			    strerror(errno));
		goto out_lane;
	}
	job.book = book;
	if (crew_open(&crew, out) != 0)
		goto out_book;
	atomic_store(&crew.floor->n_producing, spec->producers);
	atomic_store(&crew.floor->owner, getpid());
	if (fork_all(&crew, &job, &copy) == 0 &&
	    crew_run(&crew, spec->seconds) == 0)
		sum_up(&crew, &job, out);
	crew_close(&crew);
out_book:
	munmap(book, book_bytes);
out_lane:
	transport->close(job.lane);
}
