/*
 * kill_pipe_peer.c - messages, and what a survivor does with them
 *
 * A survivor has a job, to read or to write or both, and does it again and
 * again until it is told of the end.  What it was told is noted in the order in
 * which it was, and whatever no call should ever say is noted as wrong; the
 * rest is judged in kill_pipe_audit.c, when all is over.
 */
#include "config.h"

#include "tools/torture/kill_pipe.h"
#include "tools/torture/point.h"

void kp_wrong(const char *file, int line, int ret)
{
	kp.sh->wrong_ret = ret;
	kp.sh->wrong_file = file;
	kp.sh->wrong = (uint32_t)line;
}

/* -------------------------------------------------------------- messages -- */

size_t kp_len_of(uint32_t dir, uint32_t i)
{
	if (kp.op->n_long)
		return LONG;
	if (dir == FROM_VICTIM ? kp.op->big_out : kp.op->big_in)
		return i % 2 ? MID : BIG;
	return MID;
}

size_t kp_write_message(unsigned char *to, uint32_t dir, uint32_t i)
{
	size_t len = kp_len_of(dir, i);
	uint64_t number = (uint64_t)dir << 32 | i;

	t_fill(to, len, number);
	memcpy(to, &number, sizeof(number));
	return len;
}

uint32_t kp_read_message(uint32_t dir, const unsigned char *from, size_t len)
{
	unsigned char should[MSG_MAX];
	uint64_t number;

	memcpy(&number, from, sizeof(number));
	if (number >> 32 != dir || (uint32_t)number >= N_MSGS ||
	    len != kp_len_of(dir, (uint32_t)number))
		return N_MSGS;
	kp_write_message(should, dir, (uint32_t)number);
	return memcmp(should, from, len) ? N_MSGS : (uint32_t)number;
}

/* ------------------------------------------------------------- receiving -- */

static void say(struct end *e, int32_t ev)
{
	struct log *log = &kp.sh->log[e->in];

	if (log->n == N_EVENTS) {
		WRONG(0);
		return;
	}
	log->ev[log->n] = ev;
	log->n++;
}

static void received(struct end *e, const unsigned char *buf, size_t len)
{
	uint32_t i = kp_read_message(e->in, buf, len);

	if (i == N_MSGS)
		WRONG(0);
	else
		say(e, (int32_t)i);
}

static int take(struct end *e, int64_t timeout_ns)
{
	size_t len;
	int ret = bus_pipe_recv(e->p, e->got[0], MSG_MAX, &len, timeout_ns);

	if (!ret)
		received(e, e->got[0], len);
	return ret;
}

static int take_many(struct end *e, int64_t timeout_ns)
{
	size_t lens[N_HAND];
	int n = bus_pipe_recv_many(e->p, e->got, MSG_MAX, N_HAND, lens,
				   timeout_ns);

	for (int i = 0; i < n; i++)
		received(e, e->got[i], lens[i]);
	return n < 0 ? n : 0;
}

static int take_part(struct end *e, int64_t timeout_ns)
{
	struct bus_part part;
	int ret = bus_pipe_peek(e->p, &part, timeout_ns);
	size_t end;

	if (ret)
		return ret;
	end = part.offset_bytes + part.len_bytes;
	if (part.total_bytes > MSG_MAX || end > part.total_bytes) {
		WRONG(0);
		return -EPROTO;
	}
	memcpy(e->got[0] + part.offset_bytes, part.data, part.len_bytes);
	ret = bus_pipe_release(e->p, &part);
	if (!ret && end == part.total_bytes)
		received(e, e->got[0], end);
	return ret;
}

/* The same with a call that waits and one that takes. */
static int await(struct end *e, int64_t timeout_ns)
{
	struct bus_poll item = { .kind = BUS_POLL_PIPE,
				 .events = BUS_POLL_IN,
				 .on.pipe = e->p };
	int ret = bus_wait(kp.bus, &item, 1, timeout_ns);

	return ret < 0 ? ret : 0;
}

static int read_one(struct end *e, int64_t timeout_ns)
{
	int ret;

	switch (e->how % 5) {
	case 0:
		return take(e, timeout_ns);
	case 1:
		return take_many(e, timeout_ns);
	case 2:
		return take_part(e, timeout_ns);
	case 3:
		ret = await(e, timeout_ns);
		return ret ? ret : take(e, 0);
	default:
		ret = bus_pipe_poll(e->p, timeout_ns);
		return ret ? ret : take(e, 0);
	}
}

/* 0 or -EAGAIN; -EPIPE at the end. */
static int read_job(struct end *e, int64_t timeout_ns)
{
	int ret = read_one(e, timeout_ns);

	switch (ret) {
	case 0:
		e->n_ends = 0;
		break;
	case -EAGAIN:
		break;
	case -EOWNERDEAD:
		e->n_ends = 0;
		say(e, EV_DEAD);
		return 0;
	case -EPIPE:
		if (!e->n_ends++)
			say(e, EV_END);
		break;
	default:
		WRONG(ret);
		e->n_ends = 3;
		return -EPIPE;
	}
	return ret;
}

/* --------------------------------------------------------------- sending -- */

static void begin_message(struct end *e)
{
	if (e->under_way)
		return;
	T_CHECK(e->next < N_MSGS);
	e->len = kp_write_message(e->to_send, e->out, e->next);
	e->done = 0;
	e->under_way = true;
	kp.sh->put[e->out][e->next] = BEGUN;
}

static void end_message(struct end *e, uint32_t state)
{
	kp.sh->put[e->out][e->next++] = state;
	e->under_way = false;
	if (state == DONE)
		e->n_done++;
}

static int put_parts(struct end *e, int64_t timeout_ns)
{
	struct bus_part part;
	int ret;

	while (e->done < e->len) {
		ret = bus_pipe_loan(e->p, e->len, &part, timeout_ns);
		if (ret)
			return ret;
		memcpy(part.data, e->to_send + part.offset_bytes,
		       part.len_bytes);
		e->done = part.offset_bytes + part.len_bytes;
		ret = bus_pipe_commit(e->p, &part);
		if (ret)
			return ret;
	}
	return 0;
}

/* As read_job(). */
int kp_write_job(struct end *e, int64_t timeout_ns)
{
	int ret;

	if (!e->under_way && e->next >= e->limit)
		return -EAGAIN;
	begin_message(e);
	/* One in parts cannot be sent by trying; but it can be lent. */
	if (e->how % 2 || (!timeout_ns && e->len > SLOT))
		ret = put_parts(e, timeout_ns);
	else
		ret = bus_pipe_send(e->p, e->to_send, e->len, timeout_ns);
	if (ret == -EAGAIN)
		return ret;
	end_message(e, ret ? NOT : DONE);
	if (!ret) {
		e->n_ends = 0;
		return 0;
	}
	bus_pipe_cancel(e->p);
	e->n_ends++;
	if (ret != -EPIPE) {
		WRONG(ret);
		e->n_ends = 3;
	}
	return -EPIPE;
}

/* As read_job().  An exchange that failed may have sent its message; what the
 * peer has sent is still to be received. */
static int xchg_job(struct end *e, int64_t timeout_ns)
{
	size_t len;
	int ret;

	if (e->rest)
		return read_job(e, timeout_ns);
	begin_message(e);
	ret = bus_pipe_exchange(e->p, e->to_send, e->len, e->got[0], MSG_MAX,
				&len, timeout_ns);
	if (ret == -EAGAIN)
		return ret;
	end_message(e, ret ? BEGUN : DONE);
	e->rest = ret == -EPIPE;
	e->n_ends = 0;
	if (!ret) {
		received(e, e->got[0], len);
	} else if (ret == -EOWNERDEAD) {
		say(e, EV_DEAD);
	} else if (ret != -EPIPE) {
		WRONG(ret);
		e->n_ends = 3;
		return -EPIPE;
	}
	return 0;
}

/* ------------------------------------------------------------------ jobs -- */

void kp_set_end(struct end *e, enum job job, uint32_t in)
{
	memset(e, 0, sizeof(*e));
	e->job = job;
	e->in = in;
	e->out = 1 - in;
	e->limit = N_MSGS;
	e->how = (uint32_t)point.k;
}

int kp_do_job(struct end *e, int64_t timeout_ns)
{
	int a, b;

	switch (e->job) {
	case READ:
		return read_job(e, timeout_ns);
	case WRITE:
		return kp_write_job(e, timeout_ns);
	case XCHG:
		return xchg_job(e, timeout_ns);
	default:
		a = kp_write_job(e, 0);
		b = read_job(e, 0);
		return a ? b : a;
	}
}

bool kp_at_end(const struct end *e)
{
	return e->n_ends >= 3;
}

void kp_go_on(struct end *e)
{
	e->n_ends = 0;
	e->rest = false;
}

void kp_check_end(struct end *e)
{
	struct bus_poll item = { .kind = BUS_POLL_PIPE,
				 .events = BUS_POLL_IN,
				 .on.pipe = e->p };
	bool duplex = !(kp.op->flags & BUS_PIPE_SIMPLEX);
	struct bus_part part;
	size_t len;

	/* Of a victim that has closed one direction and then died, maybe
	 * nobody knows that yet; and one may have a follower already. */
	if (!kp.sh->dead || kp.sh->early || kp.sh->half_closed)
		return;
	if (e->job == WRITE || duplex) {
		if (bus_pipe_send(e->p, e->to_send, MID, POINT_HUNG_NS) !=
		    -EPIPE)
			WRONG(0);
		if (bus_pipe_send_many(e->p, kp.mids, MID, 2, POINT_HUNG_NS) !=
		    -EPIPE)
			WRONG(0);
		if (bus_pipe_loan(e->p, BIG, &part, POINT_HUNG_NS) != -EPIPE)
			WRONG(0);
		bus_pipe_cancel(e->p);
	}
	/* What the victim has sent to one who does not read is still there. */
	if (e->job == WRITE && (!duplex || kp.op->role != READER))
		return;
	if (bus_pipe_recv(e->p, e->got[0], MSG_MAX, &len, POINT_HUNG_NS) !=
		    -EPIPE ||
	    take_many(e, POINT_HUNG_NS) != -EPIPE)
		WRONG(0);
	if (bus_pipe_peek(e->p, &part, POINT_HUNG_NS) != -EPIPE)
		WRONG(0);
	if (bus_pipe_poll(e->p, POINT_HUNG_NS) != 0)
		WRONG(0);
	if (bus_wait(kp.bus, &item, 1, POINT_HUNG_NS) != 1 ||
	    item.ready !=
		    (BUS_POLL_IN | BUS_POLL_HUP | (duplex ? BUS_POLL_ERR : 0)))
		WRONG(0);
	if (duplex && bus_pipe_exchange(e->p, e->to_send, MID, e->got[0],
					MSG_MAX, &len, POINT_HUNG_NS) != -EPIPE)
		WRONG(0);
	bus_pipe_cancel(e->p);
}
