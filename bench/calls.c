/*
 * calls.c - requests and answers over two lanes
 *
 * Workers take requests from the one lane and put answers into the other.
 * The coordinator ends them with one request each that has the id CALL_END.
 */
#include "config.h"

#include <errno.h>

#include "bench/calls.h"
#include "bench/shares.h"

int caller_open(struct caller *caller, const struct transport *transport,
		const struct spec *spec, struct outcome *out)
{
	struct spec lanes = *spec;

	*caller = (struct caller){ .transport = transport,
				   .workers = spec->workers,
				   .shares = spec->shares };
	if (transport->calls)
		return transport->calls->open(spec, &caller->calls, out);
	lanes.bytes = CALL_BYTES;
	if (transport->open(&lanes, &caller->requests, out) != 0)
		return -1;
	if (transport->open(&lanes, &caller->answers, out) != 0) {
		transport->close(caller->requests);
		return -1;
	}
	return 0;
}

void caller_close(struct caller *caller)
{
	const struct transport *transport = caller->transport;

	if (transport->calls) {
		transport->calls->close(caller->calls);
		return;
	}
	transport->close(caller->answers);
	transport->close(caller->requests);
}

bool caller_needs_workers(const struct caller *caller)
{
	return !caller->transport->calls || caller->transport->calls->serve;
}

/* First what the other side waits for. */
int caller_attach(struct caller *caller)
{
	const struct transport *transport = caller->transport;
	int ret;

	if (transport->calls)
		return 0;
	ret = transport_attach(transport, caller->requests, false);
	if (ret < 0)
		return ret;
	return transport_attach(transport, caller->answers, true);
}

static int serve_lanes(struct caller *caller)
{
	const struct transport *transport = caller->transport;
	struct share *share = shares_take(caller->shares);

	for (;;) {
		struct call_request request;
		struct call_answer answer;
		int ret = transport->get(caller->requests, &request,
					 sizeof(request), 1, true);

		if (ret < 0)
			return ret;
		if (request.id == CALL_END)
			return 0;
		call_serve(&request, &answer);
		ret = transport->put(caller->answers, &answer, sizeof(answer),
				     1, true);
		if (ret < 0)
			return ret;
		share_count(share);
	}
}

int caller_serve(struct caller *caller)
{
	if (caller->transport->calls)
		return caller->transport->calls->serve(caller->calls);
	return serve_lanes(caller);
}

int caller_start(struct caller *caller)
{
	const struct transport *transport = caller->transport;
	int ret;

	if (transport->calls)
		return transport->calls->start(caller->calls);
	ret = transport_attach(transport, caller->requests, true);
	if (ret < 0)
		return ret;
	return transport_attach(transport, caller->answers, false);
}

int caller_submit(struct caller *caller, uint64_t id, uint64_t a, uint64_t b,
		  bool wait)
{
	struct call_request request = { id, a, b };
	int ret;

	if (caller->transport->calls)
		return caller->transport->calls->submit(caller->calls, id, a, b,
							wait);
	ret = caller->transport->put(caller->requests, &request,
				     sizeof(request), 1, wait);
	return ret < 0 ? ret : 0;
}

int caller_collect(struct caller *caller, uint64_t *id, uint64_t *product,
		   bool wait)
{
	struct call_answer answer;
	int ret;

	if (caller->transport->calls)
		return caller->transport->calls->collect(caller->calls, id,
							 product, wait);
	ret = caller->transport->get(caller->answers, &answer, sizeof(answer),
				     1, wait);
	if (ret < 0)
		return ret;
	*id = answer.id;
	*product = answer.product;
	return call_is_intact(&answer) ? 0 : -EBADMSG;
}

int caller_stop(struct caller *caller)
{
	if (caller->transport->calls)
		return caller->transport->calls->stop(caller->calls);
	for (unsigned i = 0; i < caller->workers; i++) {
		int ret = caller_submit(caller, CALL_END, 0, 0, true);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int caller_pids(struct caller *caller, pid_t *pids, size_t n)
{
	return caller->transport->calls->pids(caller->calls, pids, n);
}
