/*
 * burst.c - requests and answers over two lanes, many at a time
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/calls.h"
#include "bench/rivals/burst.h"
#include "bench/rivals/common.h"

struct calls {
	const struct transport *transport;
	struct lane *requests, *answers;
	unsigned workers;
	unsigned burst;
	unsigned spins;

	/* The coordinator: not sent yet; received and not collected yet. */
	struct call_request out[BURST_MAX];
	struct call_answer in[BURST_MAX];
	unsigned n_out, n_in, next_in;
};

int burst_open(const struct transport *transport, unsigned burst,
	       const struct spec *spec, struct calls **calls,
	       struct outcome *out)
{
	struct calls *made = calloc(1, sizeof(*made));
	struct spec lanes = *spec;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->transport = transport;
	made->workers = spec->workers;
	made->burst = burst;
	made->spins = rival_spins(spec);
	lanes.bytes = CALL_BYTES;
	if (transport->open(&lanes, &made->requests, out) != 0)
		goto err_free;
	if (transport->open(&lanes, &made->answers, out) != 0)
		goto err_requests;
	*calls = made;
	return 0;

err_requests:
	transport->close(made->requests);
err_free:
	free(made);
	return -1;
}

void burst_close(struct calls *calls)
{
	calls->transport->close(calls->answers);
	calls->transport->close(calls->requests);
	free(calls);
}

static int put_all(struct calls *calls, struct lane *lane, const void *msgs,
		   unsigned n)
{
	const char *from = msgs;

	while (n > 0) {
		int ret =
			calls->transport->put(lane, from, CALL_BYTES, n, true);

		if (ret < 0)
			return ret;
		from += (size_t)ret * CALL_BYTES;
		n -= (unsigned)ret;
	}
	return 0;
}

/* Of several ends that one worker took all but one are for others. */
static int pass_on_ends(struct calls *calls, unsigned n)
{
	struct call_request end = { CALL_END, 0, 0 };
	int ret = 0;

	for (; ret == 0 && n > 1; n--)
		ret = put_all(calls, calls->requests, &end, 1);
	return ret;
}

int burst_serve(struct calls *calls)
{
	struct call_request requests[BURST_MAX];
	struct call_answer answers[BURST_MAX];

	for (;;) {
		int n = calls->transport->get(calls->requests, requests,
					      CALL_BYTES, calls->burst, true);
		unsigned n_answers = 0, n_ends = 0;
		int ret;

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			if (requests[i].id == CALL_END)
				n_ends++;
			else
				call_serve(&requests[i], &answers[n_answers++]);
		ret = put_all(calls, calls->answers, answers, n_answers);
		if (ret < 0)
			return ret;
		if (n_ends)
			return pass_on_ends(calls, n_ends);
	}
}

int burst_start(struct calls *calls)
{
	(void)calls;
	return 0;
}

/* Send what was kept back, as far as there is room. */
static int flush(struct calls *calls, bool wait)
{
	int n;

	if (!calls->n_out)
		return 0;
	n = calls->transport->put(calls->requests, calls->out, CALL_BYTES,
				  calls->n_out, wait);
	if (n < 0)
		return n == -EAGAIN ? 0 : n;
	calls->n_out -= (unsigned)n;
	memmove(calls->out, calls->out + n, calls->n_out * CALL_BYTES);
	return 0;
}

int burst_submit(struct calls *calls, uint64_t id, uint64_t a, uint64_t b,
		 bool wait)
{
	while (calls->n_out == calls->burst) {
		int ret = flush(calls, wait);

		if (ret < 0)
			return ret;
		if (!wait && calls->n_out == calls->burst)
			return -EAGAIN;
	}
	calls->out[calls->n_out++] = (struct call_request){ id, a, b };
	return 0;
}

/* It waits for an answer only when all requests are on their way; before that
 * it may have to take answers to make room for requests. */
static int receive(struct calls *calls, bool wait)
{
	unsigned spins = 0;

	for (;;) {
		int ret = flush(calls, false);

		if (ret < 0)
			return ret;
		ret = calls->transport->get(calls->answers, calls->in,
					    CALL_BYTES, calls->burst,
					    wait && !calls->n_out);
		if (ret != -EAGAIN || !wait)
			return ret;
		rival_relax(&spins, calls->spins);
	}
}

int burst_collect(struct calls *calls, uint64_t *id, uint64_t *product,
		  bool wait)
{
	const struct call_answer *answer;

	if (calls->next_in == calls->n_in) {
		int n = receive(calls, wait);

		if (n < 0)
			return n;
		calls->n_in = (unsigned)n;
		calls->next_in = 0;
	}
	answer = &calls->in[calls->next_in++];
	*id = answer->id;
	*product = answer->product;
	return call_is_intact(answer) ? 0 : -EBADMSG;
}

int burst_stop(struct calls *calls)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < calls->workers; i++)
		ret = burst_submit(calls, CALL_END, 0, 0, true);
	while (ret == 0 && calls->n_out)
		ret = flush(calls, true);
	return ret;
}
