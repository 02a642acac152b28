/*
 * pipe_exchange.c - send one message and receive one, in one wait
 *
 * Each side that does it takes what the other sends while it waits for room,
 * so neither can wait for the other, however large the messages are.  That ours
 * is sent is remembered in the handle, and what was received is put back: a
 * call that ends before both are done is gone on with by the next one, and if
 * that is a bus_pipe_recv() instead, it has the message.
 */
#include "config.h"

#include "bus/pipe.h"

struct exchange {
	struct bus_pipe *p;
	struct bus_out out;
	struct bus_in in;
	struct bus_pipe_wait wait;
	bool too_small; /* the buffer for what has come */
};

/* Neither is over: -EAGAIN, or -EINPROGRESS if one has been cut short. */
static bool is_unfinished(int ret, int *all)
{
	if (ret == -EINPROGRESS)
		*all = ret;
	return ret == -EAGAIN || ret == -EINPROGRESS;
}

/* One that was put back stays there until ours is sent, however many calls
 * that takes. */
static bool wants_message(const struct exchange *x)
{
	const struct bus_pipe *p = x->p;

	return !p->x.received && !x->too_small &&
	       (p->x.sent || !bus_pipe_has_whole(p));
}

/* Go on as far as possible.  0 when both are done, -EAGAIN, -EINPROGRESS,
 * -EMSGSIZE when only a larger buffer helps, or what ends it. */
static int go_on(struct exchange *x)
{
	struct bus_pipe *p = x->p;
	int ret, all = -EAGAIN;

	if (!p->x.sent) {
		ret = bus_pipe_push(p, &x->out, &x->wait.room);
		p->x.done = x->out.done;
		p->x.id = x->out.id;
		p->x.sent = !ret;
		if (ret && !is_unfinished(ret, &all))
			return ret;
	}
	if (wants_message(x)) {
		ret = bus_pipe_pull(p, &x->in);
		p->x.received = !ret;
		x->too_small = ret == -EMSGSIZE;
		if (ret && !is_unfinished(ret, &all) && !x->too_small)
			return ret;
	}
	/* With its own unsent it could wait for a peer who does just that. */
	if (x->too_small && (p->x.sent || all == -EAGAIN))
		return -EMSGSIZE;
	if (!p->x.sent)
		return all;
	return p->x.received ? 0 : all;
}

static int run(struct exchange *x, int64_t timeout_ns)
{
	uint64_t deadline = bus_pipe_deadline(timeout_ns);
	int ret;

	do {
		ret = go_on(x);
		x->wait.recv = wants_message(x);
		if (x->p->x.sent)
			x->wait.room = SIZE_MAX;
	} while (ret && !(ret = bus_pipe_again(&x->wait, ret, deadline)));
	return ret;
}

/* Can the next call go on where this one ended? */
static bool can_go_on(int ret)
{
	return ret == -EAGAIN || ret == -ETIMEDOUT || ret == -EINTR ||
	       ret == -EMSGSIZE;
}

/* The call fails: what is in the caller's buffer is for whatever call comes
 * next, which may be no exchange. */
static int keep_received(struct exchange *x)
{
	struct bus_pipe *p = x->p;

	if (p->x.received) {
		p->x.received = false;
		return bus_pipe_put_back(p, &x->in);
	}
	return p->receiving ? bus_pipe_keep(p, &x->in) : 0;
}

int bus_pipe_exchange(struct bus_pipe *p, const void *out, size_t out_bytes,
		      void *in, size_t cap_bytes, size_t *in_bytes,
		      int64_t timeout_ns)
{
	struct exchange x = { .p = p,
			      .in = { .buf = in, .cap = cap_bytes },
			      .wait = { .p = p } };
	int ret = bus_pipe_use(p, BUS_PIPE_SEND | BUS_PIPE_RECV);

	if (ret)
		return ret;
	if (p->loaned || p->sending)
		return -EBUSY;
	/* Before anything is sent: who is told -EBUSY comes again. */
	ret = bus_pipe_check_parts(p);
	if (ret)
		return ret;
	if (p->x.on && p->x.out_bytes != out_bytes)
		return -EINVAL;
	if (!p->x.on) {
		p->x.on = true;
		p->x.sent = p->x.received = false;
		p->x.out_bytes = out_bytes;
		p->x.done = 0;
		bus_pipe_set_ways(p);
	}
	x.out = (struct bus_out){
		.buf = out, .len = out_bytes, .done = p->x.done, .id = p->x.id
	};
	ret = run(&x, timeout_ns);
	if (in_bytes && (!ret || ret == -EMSGSIZE))
		*in_bytes = x.in.len;
	if (!can_go_on(ret))
		p->x.on = false;
	if (ret && keep_received(&x))
		ret = -ENOMEM;
	bus_pipe_set_ways(p);
	return ret;
}
