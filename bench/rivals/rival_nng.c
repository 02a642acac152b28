/*
 * rival_nng.c - nng, PUSH and PULL over Unix sockets
 *
 * Sockets of version 0 of the pipeline protocol over abstract://, which is its
 * ipc:// without a file.  Messages are nng_msg, written and read in
 * nng_msg_body() when they are lent, which saves a copy at either side; its
 * buffers are as they are by default.  See mail_lane.inc for many readers and
 * writers.
 *
 * It sleeps, does so for nearly every message, and waits for ever for a side
 * that has died.
 */
#include "config.h"

#include "bench/transport.h"

#ifdef WITH_NNG

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#define WIRE_URL "abstract://"

struct letter {
	nng_msg *msg;
};

struct wire {
	nng_socket socket;
};

static int to_errno(int error)
{
	switch (error) {
	case 0:
		return 0;
	case NNG_EAGAIN:
	case NNG_ETIMEDOUT:
		return -EAGAIN;
	case NNG_ENOMEM:
		return -ENOMEM;
	case NNG_ECONNREFUSED:
		return -ECONNREFUSED;
	case NNG_EADDRINUSE:
		return -EADDRINUSE;
	case NNG_ENOTSUP:
		return -ENOTSUP;
	default:
		return -EIO;
	}
}

static void wire_plan(struct wire *wire, const struct spec *spec)
{
	(void)wire;
	(void)spec;
}

static int wire_open(struct wire *wire, bool writes)
{
	int error = writes ? nng_push0_open(&wire->socket)
			   : nng_pull0_open(&wire->socket);

	/* 0: of any size; it may be limited by default. */
	if (error == 0)
		error = nng_socket_set_size(wire->socket, NNG_OPT_RECVMAXSZ, 0);
	return to_errno(error);
}

static int wire_bind(struct wire *wire, const char *url)
{
	return to_errno(nng_listen(wire->socket, url, NULL, 0));
}

static int wire_connect(struct wire *wire, const char *url)
{
	return to_errno(nng_dial(wire->socket, url, NULL, 0));
}

static int wire_send(struct wire *wire, struct letter *letter, bool wait)
{
	return to_errno(nng_sendmsg(wire->socket, letter->msg,
				    wait ? 0 : NNG_FLAG_NONBLOCK));
}

static int wire_recv(struct wire *wire, struct letter *letter, int timeout_ms)
{
	if (timeout_ms > 0)
		nng_socket_set_ms(wire->socket, NNG_OPT_RECVTIMEO, timeout_ms);
	return to_errno(nng_recvmsg(wire->socket, &letter->msg,
				    timeout_ms == 0 ? NNG_FLAG_NONBLOCK : 0));
}

static int letter_open(struct letter *letter, size_t bytes)
{
	return to_errno(nng_msg_alloc(&letter->msg, bytes));
}

static void *letter_data(struct letter *letter)
{
	return nng_msg_body(letter->msg);
}

static void letter_close(struct letter *letter)
{
	nng_msg_free(letter->msg);
}

#include "bench/rivals/mail_lane.inc"

#define BUILT MAIL_LANE
#else
#define BUILT .built = false
#endif

const struct transport rival_nng = {
	.name = "nng",
	.what = "nng, PUSH and PULL over Unix sockets",
	.loads = LOAD_LANES,
	.waits = "block",
	.package = "libnng-dev",
	.lends = true,
	BUILT,
};
