/*
 * rival_zmq.c - ZeroMQ, PUSH and PULL over ipc://
 *
 * One context with its one I/O thread for each process, as the manual advises
 * for less than a gigabyte a second.  Messages are zmq_msg_t; a lent one is
 * written and read in zmq_msg_data(), which saves a copy at either side.  The
 * high water marks are the 1000 messages of the default, at both sides, or as
 * many as 16 MiB hold, but 8.  See mail_lane.inc for many readers and writers.
 *
 * It sleeps, batches by itself what is sent faster than its thread writes, and
 * does not notice that the other side has died, but goes on waiting for it.
 */
#include "config.h"

#include "bench/transport.h"

#ifdef WITH_ZMQ

#include <errno.h>
#include <zmq.h>

#define WIRE_URL "ipc://@" /* @: in the abstract namespace */

#define HWM       1000 /* messages; the default */
#define HWM_BYTES (16u << 20)
#define HWM_MIN   8

struct letter {
	zmq_msg_t msg;
};

struct wire {
	int hwm;
	void *context, *socket;
};

static void wire_plan(struct wire *wire, const struct spec *spec)
{
	size_t n = HWM_BYTES / spec->bytes;

	wire->hwm = n > HWM ? HWM : n < HWM_MIN ? HWM_MIN : (int)n;
}

static int wire_open(struct wire *wire, bool writes)
{
	if (!wire->context)
		wire->context = zmq_ctx_new();
	if (!wire->context)
		return -errno;
	wire->socket = zmq_socket(wire->context, writes ? ZMQ_PUSH : ZMQ_PULL);
	if (!wire->socket ||
	    zmq_setsockopt(wire->socket, ZMQ_SNDHWM, &wire->hwm,
			   sizeof(wire->hwm)) != 0 ||
	    zmq_setsockopt(wire->socket, ZMQ_RCVHWM, &wire->hwm,
			   sizeof(wire->hwm)) != 0)
		return -errno;
	return 0;
}

static int wire_bind(struct wire *wire, const char *url)
{
	return zmq_bind(wire->socket, url) != 0 ? -errno : 0;
}

static int wire_connect(struct wire *wire, const char *url)
{
	return zmq_connect(wire->socket, url) != 0 ? -errno : 0;
}

static int wire_send(struct wire *wire, struct letter *letter, bool wait)
{
	int ret;

	do
		ret = zmq_msg_send(&letter->msg, wire->socket,
				   wait ? 0 : ZMQ_DONTWAIT);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int wire_recv(struct wire *wire, struct letter *letter, int timeout_ms)
{
	int ret;

	zmq_msg_init(&letter->msg);
	if (timeout_ms > 0) {
		zmq_pollitem_t item = { .socket = wire->socket,
					.events = ZMQ_POLLIN };

		if (zmq_poll(&item, 1, timeout_ms) < 0 && errno != EINTR)
			return -errno;
	}
	do
		ret = zmq_msg_recv(&letter->msg, wire->socket,
				   timeout_ms < 0 ? 0 : ZMQ_DONTWAIT);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int letter_open(struct letter *letter, size_t bytes)
{
	return zmq_msg_init_size(&letter->msg, bytes) != 0 ? -errno : 0;
}

static void *letter_data(struct letter *letter)
{
	return zmq_msg_data(&letter->msg);
}

static void letter_close(struct letter *letter)
{
	zmq_msg_close(&letter->msg);
}

#include "bench/rivals/mail_lane.inc"

#define BUILT MAIL_LANE
#else
#define BUILT .built = false
#endif

const struct transport rival_zmq = {
	.name = "zmq",
	.what = "ZeroMQ, PUSH and PULL over ipc",
	.loads = LOAD_LANES,
	.waits = "block",
	.package = "libzmq3-dev",
	.lends = true,
	BUILT,
};
