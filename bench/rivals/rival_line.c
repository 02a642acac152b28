/*
 * rival_line.c - request and answer on one cache line: the least that a round
 * trip of two processes costs
 *
 * No queue and no safety: one word says whose turn it is, beside it lie the
 * request and the answer.  Who waits polls, with a pause between two looks; to
 * look more often takes the line away from the other just when it writes.
 *
 * It is slower than the ping-pong of a line, though nothing is left out but the
 * work: there the answer is written by the instruction after the look, and
 * the line comes over for reading and writing at once.  With a few nanoseconds
 * between the two, as soon as anything is computed, it comes over twice.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cpus.h"
#include "bench/rivals/common.h"
#include "bench/transport.h"

#define SPINS 4096 /* then sched_yield() */

struct line {
	alignas(128) _Atomic uint64_t turn; /* odd: the worker's */
	uint64_t a, b, product;
};

static_assert(sizeof(struct line) == 128, "line");

struct calls {
	struct line *line;
	uint64_t turn; /* of the last request */
	uint64_t id;
	bool pin;
	pid_t worker;
};

static bool is_turn(const struct line *line, uint64_t turn)
{
	return atomic_load_explicit(&line->turn, memory_order_acquire) == turn;
}

static void wait_turn(const struct line *line, uint64_t turn)
{
	unsigned spins = 0;

	while (!is_turn(line, turn))
		rival_relax(&spins, SPINS);
}

static int line_open(const struct spec *spec, struct calls **calls,
		     struct outcome *out)
{
	struct calls *made = calloc(1, sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->line = rival_map(sizeof(*made->line));
	if (!made->line) {
		free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory: %s",
				   strerror(errno));
	}
	made->pin = spec->pin;
	*calls = made;
	return 0;
}

static void line_close(struct calls *calls)
{
	munmap(calls->line, sizeof(*calls->line));
	free(calls);
}

_Noreturn static void work(struct line *line, bool pin, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (pin)
		cpus_pin(cpus_nth(1));
	for (uint64_t turn = 1;; turn += 2) {
		wait_turn(line, turn);
		line->product = line->a * line->b;
		atomic_store_explicit(&line->turn, turn + 1,
				      memory_order_release);
	}
}

static int line_start(struct calls *calls)
{
	pid_t parent = getpid();

	calls->worker = fork();
	if (calls->worker == 0)
		work(calls->line, calls->pin, parent);
	return calls->worker < 0 ? -errno : 0;
}

static int line_submit(struct calls *calls, uint64_t id, uint64_t a, uint64_t b,
		       bool wait)
{
	struct line *line = calls->line;

	(void)wait; /* there is always room for the only one */
	calls->id = id;
	line->a = a;
	line->b = b;
	atomic_store_explicit(&line->turn, ++calls->turn, memory_order_release);
	return 0;
}

static int line_collect(struct calls *calls, uint64_t *id, uint64_t *product,
			bool wait)
{
	uint64_t done = calls->turn + 1;

	if (wait)
		wait_turn(calls->line, done);
	else if (!is_turn(calls->line, done))
		return -EAGAIN;
	calls->turn = done;
	*id = calls->id;
	*product = calls->line->product;
	return 0;
}

static int line_stop(struct calls *calls)
{
	kill(calls->worker, SIGKILL);
	waitpid(calls->worker, NULL, 0);
	return 0;
}

static int line_pids(struct calls *calls, pid_t *pids, size_t n)
{
	if (n > 0)
		pids[0] = calls->worker;
	return 1;
}

static const struct call_ops line_calls = {
	.open = line_open,
	.close = line_close,
	.start = line_start,
	.submit = line_submit,
	.collect = line_collect,
	.stop = line_stop,
	.pids = line_pids,
};

const struct transport rival_line = {
	.name = "line",
	.what = "one bare cache line: the least that a round trip costs",
	.loads = LOAD_BIT(LOAD_RTT),
	.floor = true,
	.waits = "yield",
	.calls = &line_calls,
};
