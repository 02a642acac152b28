/*
 * test_load.c - the loads of bench/ see what a broken transport does
 *
 * A benchmark that checks its messages is only as good as that check: here a
 * pipe is made to lose, repeat, swap and change messages, or to stop.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/chunk.h"
#include "bench/cpus.h"
#include "bench/load.h"
#include "bench/message.h"
#include "bench/tick.h"

/* transport.c knows all rivals; only the names are needed here. */
const char *const load_names[LOAD_N] = { "rtt",  "stream", "duplex", "mpmc",
					 "farm", "wake",   "idle" };

enum fault { NONE, LOSE, REPEAT, SWAP, CHANGE, FAIL, DIE };

static enum fault fault;

#define FAULTY_SEQ     1000 /* which message */
#define MAX_BYTES_HERE 64

struct lane {
	int fd[2];
	int back[2]; /* duplex: the other direction */
	unsigned n;
	unsigned char kept[MAX_BYTES_HERE]; /* SWAP */
};

static int pipe_open(const struct spec *spec, struct lane **lane,
		     struct outcome *out)
{
	struct lane *made = calloc(1, sizeof(*made));

	(void)spec;
	if (!made || pipe(made->fd) != 0)
		return outcome_set(out, OUTCOME_FAILED, "pipe");
	*lane = made;
	return 0;
}

static void pipe_close(struct lane *lane)
{
	close(lane->fd[0]);
	close(lane->fd[1]);
	free(lane);
}

static int send_one(struct lane *lane, const void *msg, size_t bytes)
{
	return write(lane->fd[1], msg, bytes) == (ssize_t)bytes ? 1 : -EIO;
}

static int faulty_put(struct lane *lane, const void *msg, size_t bytes,
		      size_t n, bool wait)
{
	unsigned char changed[MAX_BYTES_HERE];

	(void)n;
	(void)wait;
	lane->n++;
	if (lane->n == FAULTY_SEQ + 1 && fault == SWAP) {
		send_one(lane, msg, bytes);
		return send_one(lane, lane->kept, bytes);
	}
	if (lane->n != FAULTY_SEQ)
		return send_one(lane, msg, bytes);
	switch (fault) {
	case LOSE:
		return 1;
	case REPEAT:
		send_one(lane, msg, bytes);
		return send_one(lane, msg, bytes);
	case SWAP:
		memcpy(lane->kept, msg, bytes);
		return 1;
	case CHANGE:
		memcpy(changed, msg, bytes);
		changed[bytes - 1] ^= 0x10;
		return send_one(lane, changed, bytes);
	case FAIL:
		return -ENOLINK;
	case DIE:
		abort();
	default:
		return send_one(lane, msg, bytes);
	}
}

static int pipe_get(struct lane *lane, void *msg, size_t bytes, size_t n,
		    bool wait)
{
	(void)n;
	if (!wait)
		return -EAGAIN;
	return read(lane->fd[0], msg, bytes) == (ssize_t)bytes ? 1 : -EIO;
}

static int duplex_open(const struct spec *spec, struct lane **lane,
		       struct outcome *out)
{
	if (pipe_open(spec, lane, out) != 0)
		return -1;
	if (pipe((*lane)->back) != 0)
		return outcome_set(out, OUTCOME_FAILED, "pipe");
	return 0;
}

static void duplex_close(struct lane *lane)
{
	close(lane->back[0]);
	close(lane->back[1]);
	pipe_close(lane);
}

/* Side 0 is the one that commits the fault. */
static int duplex_side(struct lane *lane, unsigned side)
{
	int in = side == 0 ? lane->back[0] : lane->fd[0];
	int out = side == 0 ? lane->fd[1] : lane->back[1];

	lane->fd[0] = in;
	lane->fd[1] = out;
	if (side == 1)
		lane->n = FAULTY_SEQ + 1;
	return 0;
}

/* One each way, so that the pipes are never full. */
static int duplex_turn(struct lane *lane, struct source *source,
		       struct sink *sink, size_t n)
{
	int ret = 0;

	(void)n;
	if (!source->ended) {
		chunk_fill(source, source->bytes);
		ret = faulty_put(lane, source->buf, source->bytes, 1, true);
		chunk_sent(source);
	}
	if (ret >= 0 && !sink->ended) {
		ret = pipe_get(lane, sink->buf, sink->bytes, 1, true);
		chunk_got(sink, sink->bytes);
	}
	return ret < 0 ? ret : 0;
}

static const struct duplex_ops faulty_duplex = {
	.open = duplex_open,
	.close = duplex_close,
	.side = duplex_side,
	.turn = duplex_turn,
};

static const struct transport faulty = {
	.name = "faulty",
	.loads = LOAD_ALL,
	.waits = "block",
	.open = pipe_open,
	.close = pipe_close,
	.put = faulty_put,
	.get = pipe_get,
	.duplex = &faulty_duplex,
};

static struct spec spec;
static struct outcome out;

static void setup(void)
{
	cpus_init();
	tick_init();
	spec = (struct spec){ .load = LOAD_STREAM,
			      .bytes = 20,
			      .producers = 1,
			      .consumers = 1,
			      .batch = 1,
			      .inflight = 16,
			      .seconds = 0.05 };
	fault = NONE;
}

TestSuite(load, .init = setup, .timeout = 200.0);

/* A round counts what comes after its warm-up.  On a machine under load there
 * may be no time left for that: then take another. */
static void run_counted(const struct transport *transport)
{
	for (int i = 0; i < 100; i++) {
		load_run(transport, &spec, &out);
		if (out.status != OUTCOME_OK || out.messages > 0)
			break;
	}
}

Test(load, a_sound_stream_is_clean)
{
	run_counted(&faulty);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
	cr_assert_gt(out.messages, 0);
	cr_assert_gt(out.seconds, 0);
	cr_assert_gt(out.cpu_ns, 0);
}

Test(load, many_to_many_is_clean)
{
	spec.load = LOAD_MPMC;
	spec.producers = 3;
	spec.consumers = 5;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
}

Test(load, sees_a_lost_message)
{
	fault = LOSE;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert_eq(out.lost, 1);
	cr_assert_eq(out.dup, 0);
}

Test(load, sees_a_message_that_comes_twice)
{
	fault = REPEAT;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.dup, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, sees_messages_out_of_order)
{
	fault = SWAP;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.disorder, 1);
	cr_assert_eq(out.lost, 0);
	cr_assert_eq(out.dup, 0);
}

Test(load, sees_one_changed_bit_in_the_last_byte)
{
	fault = CHANGE;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.wrong, 1);
}

Test(load, says_why_a_process_failed)
{
	fault = FAIL;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_FAILED);
	cr_assert(strstr(out.why, "producer 0: put: "), "%s", out.why);
}

Test(load, says_which_process_was_killed)
{
	fault = DIE;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_FAILED);
	cr_assert(strstr(out.why, "producer 0 was killed by signal"), "%s",
		  out.why);
}

Test(load, kills_what_hangs)
{
	fault = LOSE; /* an answer that never comes */
	spec.load = LOAD_RTT;
	spec.workers = 1;
	spec.inflight = 1;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_HUNG);
	cr_assert(strstr(out.why, "did not end within"), "%s", out.why);
}

Test(load, a_sound_farm_is_clean_and_measured)
{
	spec.load = LOAD_FARM;
	spec.workers = 3;
	load_run(&faulty, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
	cr_assert(outcome_is_clean(&out));
	cr_assert(out.has_ns);
	cr_assert_gt(out.ns.p50, 0);
}

/* The repeated request gives a second answer, which is not outstanding. */
Test(load, a_farm_sees_an_answer_that_comes_twice)
{
	spec.load = LOAD_FARM;
	spec.workers = 1;
	fault = REPEAT;
	load_run(&faulty, &spec, &out);
	cr_assert_geq(out.dup, 1, "%s", out.why);
}

static void run_duplex(enum fault with)
{
	fault = with;
	spec.load = LOAD_DUPLEX;
	run_counted(&faulty);
	cr_assert_eq(out.status, OUTCOME_OK, "%s", out.why);
}

Test(load, a_sound_duplex_is_clean_and_counts_both_directions)
{
	run_duplex(NONE);
	cr_assert(outcome_is_clean(&out));
	cr_assert_gt(out.messages, 0);
	cr_assert_gt(out.seconds, 0);
	cr_assert_gt(out.cpu_ns, 0);
}

Test(load, duplex_sees_a_lost_message)
{
	run_duplex(LOSE);
	cr_assert_eq(out.lost, 1);
	cr_assert_eq(out.dup, 0);
}

Test(load, duplex_sees_a_message_that_comes_twice)
{
	run_duplex(REPEAT);
	cr_assert_eq(out.dup, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, duplex_sees_messages_out_of_order)
{
	run_duplex(SWAP);
	cr_assert_eq(out.disorder, 1);
	cr_assert_eq(out.lost, 0);
}

Test(load, duplex_sees_one_changed_bit)
{
	run_duplex(CHANGE);
	cr_assert_eq(out.wrong, 1);
}

/* The ring that is the yardstick has to be right, or it measures nothing. */
static void run_ring(const struct transport *ring, enum load load, size_t bytes,
		     bool loan)
{
	spec.load = load;
	spec.bytes = bytes;
	spec.loan = loan;
	spec.variant = ring->variant;
	spec.pipe_bytes = 1 << 16;
	run_counted(ring);
	cr_assert_eq(out.status, OUTCOME_OK, "%zu: %s", bytes, out.why);
	cr_assert(outcome_is_clean(&out), "%zu", bytes);
	cr_assert_gt(out.messages, 0);
}

Test(load, the_spsc_ring_is_clean_in_every_way)
{
	static const size_t sizes[] = { 8, 20, 64, 1000, 1 << 20 };

	spec.seconds = 0.01;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		run_ring(&rival_spsc, LOAD_STREAM, sizes[i], false);
		run_ring(&rival_spsc, LOAD_STREAM, sizes[i], true);
		run_ring(&rival_spsc, LOAD_DUPLEX, sizes[i], false);
		run_ring(&rival_spsc_mem, LOAD_STREAM, sizes[i], false);
		run_ring(&rival_spsc_mem_call, LOAD_STREAM, sizes[i], false);
		run_ring(&rival_spsc_mem, LOAD_DUPLEX, sizes[i], false);
	}
	spec.batch = 32;
	run_ring(&rival_spsc, LOAD_STREAM, 8, false);
}

Test(load, what_a_transport_cannot_do_is_absent)
{
	struct transport less = faulty;

	less.loads = LOAD_BIT(LOAD_RTT);
	load_run(&less, &spec, &out);
	cr_assert_eq(out.status, OUTCOME_ABSENT);
}
