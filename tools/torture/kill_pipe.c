/*
 * kill_pipe.c - SIGKILL after every instruction of every operation of a pipe
 *
 * A victim process, which has one side of a pipe, is single-stepped with ptrace
 * through its calls, and killed after instruction k.  Then whoever has the
 * other side must go on: it gets every message that the victim has sent, whole,
 * once and in order, then -EOWNERDEAD once if one was half sent, then -EPIPE at
 * every call; its own sends get -EPIPE; and no call hangs, whether it slept,
 * spun or only tried.  After that, or before anybody has noticed the death, a
 * new one opens the victim's side and goes on with the same peer at the border
 * of a message: what the dead reader had not taken comes, and nothing that one
 * of its calls had returned comes again.  In the end nothing is left: no
 * endpoint, no channel that could not be used again, no descriptor, no file.
 *
 * Each point has a bus of its own and these processes:
 *
 *	we       a shard: makes the bus, steps and kills the victim, looks at
 *	         the words in shared memory, is the new one, audits.  With peer
 *	         "poll" we are the peer as well, and it only ever tries.
 *	victim   our child
 *	peer     works at the other side before the victim starts, and blocks:
 *	         in futex(2), in io_uring, or spinning (BUS_SPIN_ALWAYS).  That
 *	         one is stopped while the victim does its steps, or it would
 *	         have the CPU.  Nobody has a heartbeat: only a wake, and the
 *	         death itself, end a wait.
 *	before   had the victim's side first, and died (open-after-*, reap-*)
 *	heir     is given an end by the victim (give-*)
 *
 * Slots are the smallest there are, 256 bytes: two messages of MID bytes fill
 * one, and one of BIG bytes goes in three parts.
 *
 * Which calls the peer makes, whether it goes on before or after the death, and
 * whether the new one comes at once depends on k alone; so a point is repeated
 * exactly.  Everything is pinned to one CPU; there is a shard for each CPU.
 *
 * With --quick there are some QUICK_N points a case, at equal distances, the
 * first by the seed.  --full takes every instruction, for an hour or two.  A
 * case is operation/state/peer, a point the number of instructions; see walk.h.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/pipe.h"
#include "tests/bus/t_bus.h"
#include "tools/torture/audit.h"
#include "tools/torture/point.h"
#include "tools/torture/walk.h"

#define SLOT      256u
#define MID       100u
#define BIG       600u
#define LONG      1000u /* in slots that grow */
#define LONG_SLOT 32768u
#define MSG_MAX   1024u
#define N_MSGS    256
#define N_EVENTS  256
#define N_HAND    3 /* messages that one call may take */
#define MAX_EP    8
#define HEIR_S    120 /* longer than it can take */
#define K_MAX     300000
#define QUICK_N   10 /* points of a case */

/* What is in the pipe: messages that nobody has read.  WRAP: none, but both
 * slots have been used before.  FULL: no room for one more. */
enum state { EMPTY, ONE, TURN, SEAL, FULL, WRAP, N_STATES };

enum peer { POLL, SPIN, FUTEX, URING, N_PEERS };

static const char *const state_names[] = { "empty", "one",  "turn",
					   "seal",  "full", "wrap" };
static const char *const peer_names[] = { "poll", "spin", "futex", "uring" };

#define S_EMPTY (1u << EMPTY)
#define S_ONE   (1u << ONE)
#define S_TURN  (1u << TURN)
#define S_SEAL  (1u << SEAL)
#define S_FULL  (1u << FULL)
#define S_WRAP  (1u << WRAP)

/* What the victim is. */
enum role { WRITER, READER, BOTH, OTHER };

/* What a survivor does, again and again.  DUPLEX: WRITE and READ by turns. */
enum job { READ, WRITE, XCHG, DUPLEX };

/* Whose the ends are. */
enum flow {
	NAMED, /* opened by name */
	PAIR,  /* of a pair that we made; the victim has not used its end */
	GIVEN, /* and it was handed over to the victim */
	GIVE,  /* the victim hands its end over to an heir */
	ALONE, /* the victim makes it */
	LAST   /* named, and nobody survives */
};

/* Whom the victim comes after: one who died in the middle of a message, or
 * with some messages read. */
enum before { NOBODY, DEAD_WRITER, DEAD_READER };

struct op {
	const char *name;
	enum role role;
	uint32_t polled, blocked; /* states, with such a peer */
	void (*fn)(void);
	bool big_out, big_in; /* every second message from, to the victim */
	bool run;             /* it takes messages that lie close */
	uint32_t n_long;      /* LONG messages, that many are there already */
	uint32_t flags;       /* of the pipe */
	bool xchg;            /* the peer does exchanges */
	bool opens;           /* the victim opens its side in @fn */
	bool first;           /* ... and the peer has not opened its own yet */
	bool slow;            /* not with each kind of peer */
	enum flow flow;
	enum before before;
};

/* The two directions. */
enum { FROM_VICTIM, TO_VICTIM };

/* Numbers of messages from the victim's side, by who writes them. */
enum { BY_BEFORE = 0, BY_VICTIM = 8, BY_HEIR = 60 };

/* Of a message.  BEGUN: its call has not returned, or said that it failed, and
 * may have sent it. */
enum { NOT, BEGUN, DONE };

/* Besides the numbers of messages: what a reader is told. */
enum { EV_END = -1, EV_DEAD = -2 };

/* What the survivors of a direction have received, in order. */
struct log {
	_Atomic uint32_t n;
	_Atomic int32_t ev[N_EVENTS];
};

/* Of one point, seen by all its processes. */
static struct shared {
	_Atomic int32_t victim_pid, heir_pid;
	_Atomic uint32_t seized, over;
	_Atomic uint32_t put[2][N_MSGS];
	struct log log[2];
	/* Messages that the victim's calls have received, and how many the
	 * call that it is in may take: n << 8 | hand. */
	_Atomic uint32_t taken;
	unsigned char buf[N_HAND][MSG_MAX]; /* of that call */
	_Atomic uint32_t wrong;             /* a line of this file */
	_Atomic int32_t wrong_ret;          /* what the call there said */
	_Atomic uint32_t peer_ready, n_ends;
	_Atomic uint64_t end_ns;
	_Atomic uint32_t dead, early, half_closed;
	_Atomic int32_t heir_ret;
	_Atomic uint32_t heir_done;
} *sh;

struct row {
	struct tally t;
	_Atomic uint64_t of, longest, slow, elsewhere, wait_ns, ns;
};

/* One of a pipe's ends, in the hands of a survivor. */
struct end {
	struct bus_pipe *p;
	enum job job;
	uint32_t in, out; /* directions */
	uint32_t how;     /* which calls */
	uint32_t next;    /* number of the message that is written next */
	uint32_t limit;   /* ... and which is not */
	uint32_t n_done;
	bool under_way; /* it was begun */
	size_t len, done;
	uint32_t n_ends; /* -EPIPE so often, and nothing else since */
	bool rest;       /* of XCHG: no more exchanges, only receive */
	unsigned char to_send[MSG_MAX], got[N_HAND][MSG_MAX];
};

/* Of the whole run, seen by all shards. */
static struct {
	_Atomic uint32_t next_case;
	struct row row[64][N_PEERS];
} *all;

#define NO_FRONT UINT32_MAX

/* Of the point that this shard is at. */
static struct {
	const struct op *op;
	enum state state;
	enum peer peer;
	struct row *row;
	pid_t peer_pid;
	bool peer_stopped;
	int fds;

	uint32_t side;    /* the victim's */
	bool cross;       /* the peer never does what the victim waits for */
	uint32_t n_first; /* messages that the victim has sent before */
	uint32_t number;  /* of its next one */
	struct bus_pipe *pair[2];
	bool early;       /* the new one comes before the death is known */
	uint32_t n_again; /* times that the peer was told to go on */
	/* when the victim is at k: */
	uint64_t word;        /* its side's */
	bool half_before;     /* the one before it left half a message, */
	uint64_t last_before; /* ... where */
	bool half, maybe_half;
	uint32_t front; /* message that the next reader must begin with */
	uint64_t killed_ns;
} x;

static struct bus *bus;
static struct end mine;     /* the peer's end, in whatever process that is */
static struct bus_pipe *vp; /* the victim's */
static struct t_gate gate, heir_gate;
static bool have_uring;
/* The victim's messages, made beforehand, one after the other when all are
 * MID bytes long. */
static unsigned char msg[4][MSG_MAX], mids[4 * MID];

/* A call said @ret, which it should not, or a message is none. */
static void wrong(int line, int ret)
{
	sh->wrong_ret = ret;
	sh->wrong = (uint32_t)line;
}

#define WRONG(ret) wrong(__LINE__, ret)

/* -------------------------------------------------------------- messages -- */

static size_t len_of(uint32_t dir, uint32_t i)
{
	if (x.op->n_long)
		return LONG;
	if (dir == FROM_VICTIM ? x.op->big_out : x.op->big_in)
		return i % 2 ? MID : BIG;
	return MID;
}

static size_t write_message(unsigned char *to, uint32_t dir, uint32_t i)
{
	size_t len = len_of(dir, i);
	uint64_t number = (uint64_t)dir << 32 | i;

	t_fill(to, len, number);
	memcpy(to, &number, sizeof(number));
	return len;
}

/* Its number, or N_MSGS when it is garbage. */
static uint32_t read_message(uint32_t dir, const unsigned char *from,
			     size_t len)
{
	unsigned char should[MSG_MAX];
	uint64_t number;

	memcpy(&number, from, sizeof(number));
	if (number >> 32 != dir || (uint32_t)number >= N_MSGS ||
	    len != len_of(dir, (uint32_t)number))
		return N_MSGS;
	write_message(should, dir, (uint32_t)number);
	return memcmp(should, from, len) ? N_MSGS : (uint32_t)number;
}

/* ------------------------------------------------------------- survivors -- */

static void say(struct end *e, int32_t ev)
{
	struct log *log = &sh->log[e->in];

	if (log->n == N_EVENTS) {
		WRONG(0);
		return;
	}
	log->ev[log->n] = ev;
	log->n++;
}

static void received(struct end *e, const unsigned char *buf, size_t len)
{
	uint32_t i = read_message(e->in, buf, len);

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
	int ret = bus_wait(bus, &item, 1, timeout_ns);

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

static void begin_message(struct end *e)
{
	if (e->under_way)
		return;
	T_CHECK(e->next < N_MSGS);
	e->len = write_message(e->to_send, e->out, e->next);
	e->done = 0;
	e->under_way = true;
	sh->put[e->out][e->next] = BEGUN;
}

static void end_message(struct end *e, uint32_t state)
{
	sh->put[e->out][e->next++] = state;
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
static int write_job(struct end *e, int64_t timeout_ns)
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

static int do_job(struct end *e, int64_t timeout_ns)
{
	int a, b;

	switch (e->job) {
	case READ:
		return read_job(e, timeout_ns);
	case WRITE:
		return write_job(e, timeout_ns);
	case XCHG:
		return xchg_job(e, timeout_ns);
	default:
		a = write_job(e, 0);
		b = read_job(e, 0);
		return a ? b : a;
	}
}

static bool at_end(const struct end *e)
{
	return e->n_ends >= 3;
}

static void go_on(struct end *e)
{
	e->n_ends = 0;
	e->rest = false;
}

/* All that can be called at the end says so. */
static void check_end(struct end *e)
{
	struct bus_poll item = { .kind = BUS_POLL_PIPE,
				 .events = BUS_POLL_IN,
				 .on.pipe = e->p };
	bool duplex = !(x.op->flags & BUS_PIPE_SIMPLEX);
	struct bus_part part;
	size_t len;

	/* Of a victim that has closed one direction and then died, maybe
	 * nobody knows that yet; and one may have a follower already. */
	if (!sh->dead || sh->early || sh->half_closed)
		return;
	if (e->job == WRITE || duplex) {
		if (bus_pipe_send(e->p, e->to_send, MID, POINT_HUNG_NS) !=
		    -EPIPE)
			WRONG(0);
		if (bus_pipe_send_many(e->p, mids, MID, 2, POINT_HUNG_NS) !=
		    -EPIPE)
			WRONG(0);
		if (bus_pipe_loan(e->p, BIG, &part, POINT_HUNG_NS) != -EPIPE)
			WRONG(0);
		bus_pipe_cancel(e->p);
	}
	/* What the victim has sent to one who does not read is still there. */
	if (e->job == WRITE && (!duplex || x.op->role != READER))
		return;
	if (bus_pipe_recv(e->p, e->got[0], MSG_MAX, &len, POINT_HUNG_NS) !=
		    -EPIPE ||
	    take_many(e, POINT_HUNG_NS) != -EPIPE)
		WRONG(0);
	if (bus_pipe_peek(e->p, &part, POINT_HUNG_NS) != -EPIPE)
		WRONG(0);
	if (bus_pipe_poll(e->p, POINT_HUNG_NS) != 0)
		WRONG(0);
	if (bus_wait(bus, &item, 1, POINT_HUNG_NS) != 1 ||
	    item.ready !=
		    (BUS_POLL_IN | BUS_POLL_HUP | (duplex ? BUS_POLL_ERR : 0)))
		WRONG(0);
	if (duplex && bus_pipe_exchange(e->p, e->to_send, MID, e->got[0],
					MSG_MAX, &len, POINT_HUNG_NS) != -EPIPE)
		WRONG(0);
	bus_pipe_cancel(e->p);
}

/* --------------------------------------------------------------- victims -- */

static void begins(uint32_t i, uint32_t n)
{
	for (uint32_t k = i; k < i + n; k++)
		sh->put[FROM_VICTIM][x.number + k] = BEGUN;
}

static void ends(uint32_t i, uint32_t n)
{
	for (uint32_t k = i; k < i + n; k++)
		sh->put[FROM_VICTIM][x.number + k] = DONE;
}

static size_t msg_len(uint32_t i)
{
	return len_of(FROM_VICTIM, x.number + i);
}

static void send_one(uint32_t i)
{
	begins(i, 1);
	if (bus_pipe_send(vp, msg[i], msg_len(i), -1))
		WRONG(0);
	else
		ends(i, 1);
}

static void do_send(void)
{
	send_one(0);
	send_one(1);
}

static void do_send_many(void)
{
	for (uint32_t i = 0; i < 3;) {
		int n;

		begins(i, 3 - i);
		n = bus_pipe_send_many(vp, mids + i * MID, MID, 3 - i, -1);
		if (n <= 0) {
			WRONG(n);
			return;
		}
		ends(i, (uint32_t)n);
		i += (uint32_t)n;
	}
}

static void do_loan(void)
{
	struct bus_part part;

	for (uint32_t i = 0; i < 2; i++) {
		size_t len = msg_len(i);

		begins(i, 1);
		for (size_t done = 0; done < len; done += part.len_bytes) {
			if (bus_pipe_loan(vp, len, &part, -1)) {
				WRONG(0);
				return;
			}
			memcpy(part.data, msg[i] + part.offset_bytes,
			       part.len_bytes);
			if (bus_pipe_commit(vp, &part)) {
				WRONG(0);
				return;
			}
		}
		ends(i, 1);
	}
}

/* The first part of message 0, which will never come. */
static void half_of_one(void)
{
	struct bus_part part;

	if (bus_pipe_loan(vp, BIG, &part, -1)) {
		WRONG(0);
		return;
	}
	memcpy(part.data, msg[0], part.len_bytes);
	if (bus_pipe_commit(vp, &part))
		WRONG(0);
}

static void do_cancel(void)
{
	half_of_one();
	bus_pipe_cancel(vp);
	send_one(1);
}

static void do_close_half(void)
{
	half_of_one();
	bus_pipe_close(vp, BUS_PIPE_SEND | BUS_PIPE_RECV);
}

static void do_close_send(void)
{
	if (x.state != FULL)
		send_one(0);
	bus_pipe_close(vp, BUS_PIPE_SEND);
	bus_pipe_close(vp, BUS_PIPE_SEND | BUS_PIPE_RECV);
}

static void do_close_recv(void)
{
	bus_pipe_close(vp, BUS_PIPE_RECV);
	bus_pipe_close(vp, BUS_PIPE_SEND | BUS_PIPE_RECV);
}

static void do_free(void)
{
	bus_pipe_free(vp);
}

static void do_leave(void)
{
	bus_close(bus);
}

/* A call begins that may take @n messages. */
static void hand(uint32_t n)
{
	sh->taken = (sh->taken & ~0xffu) | n;
}

/* It has taken @n. */
static void taken(uint32_t n)
{
	sh->taken = ((sh->taken >> 8) + n) << 8;
}

/* One call received what is in sh->buf[0]. */
static void taken_one(int ret)
{
	uint64_t number, should = (uint64_t)TO_VICTIM << 32 | sh->taken >> 8;

	memcpy(&number, sh->buf[0], sizeof(number));
	if (ret || number != should)
		WRONG(ret);
	taken(1);
}

static void recv_one(void)
{
	size_t len;

	hand(1);
	taken_one(bus_pipe_recv(vp, sh->buf[0], MSG_MAX, &len, -1));
}

static void recv_n(uint32_t n)
{
	while (n-- > 0)
		recv_one();
}

static void do_recv(void)
{
	recv_n(3);
}

static void do_recv_many(void)
{
	size_t lens[N_HAND];
	int n;

	for (int i = 0; i < 2; i++) {
		hand(N_HAND);
		n = bus_pipe_recv_many(vp, sh->buf, MSG_MAX, N_HAND, lens, -1);
		if (n <= 0)
			WRONG(n);
		else
			taken((uint32_t)n);
	}
}

/* All of one length, so that several are taken by one store. */
static void do_recv_run(void)
{
	int n;

	for (int i = 0; i < 2; i++) {
		hand(N_HAND);
		n = bus_pipe_recv_many(vp, sh->buf, MID, N_HAND, NULL, -1);
		if (n <= 0)
			WRONG(n);
		else
			taken((uint32_t)n);
	}
}

static void do_peek(void)
{
	struct bus_part part;
	size_t end, total;

	for (int i = 0; i < 3; i++) {
		hand(1);
		do {
			if (bus_pipe_peek(vp, &part, -1)) {
				WRONG(0);
				return;
			}
			end = part.offset_bytes + part.len_bytes;
			total = part.total_bytes;
			memcpy(sh->buf[0] + part.offset_bytes, part.data,
			       part.len_bytes);
			bus_pipe_release(vp, &part);
		} while (end < total);
		taken_one(0);
	}
}

static void do_poll(void)
{
	for (int i = 0; i < 2; i++) {
		if (bus_pipe_poll(vp, -1))
			WRONG(0);
		recv_one();
	}
}

static void do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_PIPE,
				 .events = BUS_POLL_IN,
				 .on.pipe = vp };

	for (int i = 0; i < 2; i++) {
		if (bus_wait(bus, &item, 1, -1) != 1)
			WRONG(0);
		recv_one();
	}
}

static void exchange_one(uint32_t i)
{
	size_t len;

	begins(i, 1);
	hand(1);
	taken_one(bus_pipe_exchange(vp, msg[i], msg_len(i), sh->buf[0], MSG_MAX,
				    &len, -1));
	ends(i, 1);
}

static void do_exchange(void)
{
	exchange_one(0);
	exchange_one(1);
}

static struct bus_pipe_config pipe_settings(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.flags = x.op->flags;
	c.slot_bytes = x.op->n_long ? LONG_SLOT : SLOT;
	c.profile = x.op->n_long ? BUS_PIPE_ADAPTIVE : BUS_PIPE_LATENCY;
	return c;
}

static int open_side(uint32_t side, struct bus_pipe **p)
{
	struct bus_pipe_config c = pipe_settings();

	return bus_pipe_open(bus, "p", &c, (int)side, p);
}

static void do_open(void)
{
	if (open_side(x.side, &vp))
		WRONG(0);
	else if (x.op->role == WRITER)
		do_send();
	else
		recv_n(2);
}

/* Come after one who died, and say nothing. */
static void do_open_close(void)
{
	if (open_side(x.side, &vp))
		WRONG(0);
	else
		bus_pipe_free(vp);
}

/* The first call after a fork. */
static void do_use(void)
{
	if (x.op->role == WRITER)
		do_send();
	else
		recv_n(2);
}

static void do_give(void)
{
	if (bus_pipe_hand_over(vp, sh->heir_pid))
		WRONG(0);
}

static void do_make(void)
{
	struct bus_pipe_config c = pipe_settings();
	struct bus_pipe *a, *b;
	size_t len;

	if (bus_pipe(bus, &c, &a, &b)) {
		WRONG(0);
		return;
	}
	if (bus_pipe_send(a, msg[0], MID, 0) ||
	    bus_pipe_recv(b, sh->buf[0], MSG_MAX, &len, 0))
		WRONG(0);
	bus_pipe_free(a);
	bus_pipe_free(b);
}

static int spawned(void *ctx, struct bus_pipe *p)
{
	unsigned char buf[MSG_MAX];
	size_t len;

	(void)ctx;
	return bus_pipe_recv(p, buf, sizeof(buf), &len, -1) ? 1 : 0;
}

static void do_spawn(void)
{
	struct bus_pipe_config c = pipe_settings();

	if (bus_pipe_spawn(bus, &c, spawned, NULL, &vp, NULL))
		WRONG(0);
	else if (bus_pipe_send(vp, msg[0], MID, -1))
		WRONG(0);
}

static void do_reap(void)
{
	bus_reap(bus);
}

/* Both sides die: nobody is left but those who look at the bus. */
static void do_recv_dead(void)
{
	unsigned char *buf = sh->buf[0];
	size_t len;
	int ret;

	do
		ret = bus_pipe_recv(vp, buf, MSG_MAX, &len, -1);
	while (!ret || ret == -EOWNERDEAD);
	if (ret != -EPIPE)
		WRONG(ret);
}

/* --------------------------------------------------------- the processes -- */

static void become(uint32_t wait, uint32_t spin)
{
	bus->config.wait = wait;
	bus->config.spin = spin;
}

static void attach(void)
{
	T_CHECK(bus_check(bus) == 0);
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
}

static int never(void *arg, bool sure)
{
	(void)arg;
	(void)sure;
	return -EAGAIN;
}

/* What is made at the first sleep should not be stepped through each time. */
static void sleep_once(void)
{
	struct sb_wait wait = { .try_ = never };

	sb_waiter_wait(&bus->waiter, &wait, sb_deadline(1));
}

/* Bring the pipe to x.state, as far as that is the writer's. */
static void send_first(void)
{
	unsigned char buf[MSG_MAX];

	for (uint32_t k = 0; k < x.n_first; k++) {
		uint32_t i = BY_VICTIM + 2 * k + 1;
		size_t len = write_message(buf, FROM_VICTIM, i);

		T_CHECK(bus_pipe_send(vp, buf, len, -1) == 0);
		sh->put[FROM_VICTIM][i] = DONE;
	}
}

static void make_messages(void)
{
	for (uint32_t i = 0; i < lengthof(msg); i++)
		write_message(msg[i], FROM_VICTIM, x.number + i);
	if (!x.op->big_out && !x.op->n_long)
		for (uint32_t i = 0; i < lengthof(msg); i++)
			memcpy(mids + i * MID, msg[i], MID);
}

/* What has been before, so that both slots have old bytes. */
static void go_round(void)
{
	if (x.op->role == READER)
		recv_n(5);
	if (x.op->role != BOTH)
		return;
	x.number -= 4;
	make_messages();
	exchange_one(0);
	exchange_one(1);
	exchange_one(2);
	x.number += 4;
	make_messages();
}

static int heir_main(void)
{
	unsigned char buf[MSG_MAX];
	size_t len = write_message(buf, FROM_VICTIM, BY_HEIR);
	int ret;

	t_gate_wait(&heir_gate);
	sh->put[FROM_VICTIM][BY_HEIR] = BEGUN;
	ret = bus_pipe_send(vp, buf, len, POINT_HUNG_NS);
	sh->put[FROM_VICTIM][BY_HEIR] = ret ? NOT : DONE;
	sh->heir_ret = ret;
	sh->heir_done = 1;
	bus_close(bus);
	return 0;
}

/* Our child, but it outlives us. */
static void fork_heir(void)
{
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(HEIR_S);
		_exit(heir_main());
	}
	sh->heir_pid = pid;
}

static int victim_main(void *arg)
{
	(void)arg;
	make_messages();
	become(have_uring && x.peer != FUTEX ? BUS_WAIT_URING : BUS_WAIT_FUTEX,
	       BUS_SPIN_NEVER);
	vp = x.pair[x.side];
	if (x.op->flow == GIVE) {
		if (x.state == ONE) {
			attach();
			send_one(3);
		}
		fork_heir();
	}
	if (x.op->flow != PAIR && x.op->flow != GIVEN)
		attach();
	if ((x.op->flow == NAMED && !x.op->opens && x.op->role != OTHER) ||
	    x.op->flow == LAST)
		T_CHECK(open_side(x.side, &vp) == 0);
	if (x.op->role == WRITER && !x.op->opens)
		send_first();
	if (x.state == WRAP)
		go_round();
	if (bus->fork_gen == sb_fork_gen && x.peer != URING)
		sleep_once();
	t_step_offer(&sh->victim_pid, &sh->seized);
	x.op->fn();
	sh->over = 1;
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

/* Had the victim's side before it. */
static int before_main(void *arg)
{
	unsigned char buf[MSG_MAX];
	struct bus_part part;
	size_t len;

	(void)arg;
	attach();
	if (x.op->before == DEAD_READER) {
		T_CHECK(open_side(x.side, &vp) == 0);
		T_CHECK(bus_pipe_recv(vp, buf, sizeof(buf), &len, 0) == 0);
	} else {
		T_CHECK(open_side(0, &vp) == 0);
		write_message(buf, FROM_VICTIM, BY_BEFORE + 1);
		T_CHECK(bus_pipe_send(vp, buf, MID, 0) == 0);
		T_CHECK(bus_pipe_loan(vp, BIG, &part, 0) == 0);
		memcpy(part.data, buf, MID);
		T_CHECK(bus_pipe_commit(vp, &part) == 0);
		sh->put[FROM_VICTIM][BY_BEFORE + 1] = DONE;
	}
	kill(getpid(), SIGKILL);
	return 1;
}

static void set_end(struct end *e, enum job job, uint32_t in)
{
	memset(e, 0, sizeof(*e));
	e->job = job;
	e->in = in;
	e->out = 1 - in;
	e->limit = N_MSGS;
	e->how = (uint32_t)point.k;
}

static char command(void)
{
	char c = 'q';

	while (read(gate.fd[0], &c, 1) < 0 && errno == EINTR)
		;
	return c;
}

static int open_mine(void)
{
	if (x.op->flow == NAMED)
		return open_side(1 - x.side, &mine.p);
	mine.p = x.pair[1 - x.side];
	return mine.p ? 0 : -EINVAL;
}

static int peer_main(void *arg)
{
	int fds = t_count_fds();

	(void)arg;
	become(x.peer == URING ? BUS_WAIT_URING : BUS_WAIT_FUTEX,
	       x.peer == SPIN ? BUS_SPIN_ALWAYS : BUS_SPIN_NEVER);
	attach();
	T_CHECK(open_mine() == 0);
	sh->peer_ready = 1;
	do {
		go_on(&mine);
		while (!at_end(&mine))
			do_job(&mine, -1);
		sh->end_ns = sb_now_ns();
		check_end(&mine);
		sh->n_ends++;
	} while (command() == 'a');
	bus_pipe_free(mine.p);
	bus_close(bus);
	return t_count_fds() > fds;
}

/* ------------------------------------------------------ in shared memory -- */

static struct bus_pipe_head *pipe_head(void)
{
	uint64_t bytes;

	return bus_channel_pipe(bus, 0, &bytes);
}

static uint64_t side_word(void)
{
	struct bus_pipe_head *head = pipe_head();

	return head ? ld_acq(&head->side[x.side]) : 0;
}

static struct sb_spsc *slots_of(struct bus_pipe_head *head, uint32_t dir)
{
	uint32_t i = dir == FROM_VICTIM ? x.side : 1 - x.side;

	if (i == 1 && (head->flags & BUS_PIPE_SIMPLEX))
		return NULL;
	return (void *)((unsigned char *)head +
			bus_pipe_dir_off(head->slot_bytes, i));
}

/* A record, as it lies there. */
struct record {
	uint32_t kind;
	size_t len;
	const unsigned char *data;
	uint64_t at; /* lap << 32 | offset */
};

/* The record at @off of lap @lap.  1, 0: none yet; -1: the slot is sealed. */
static int record_at(struct sb_spsc *s, uint32_t lap, uint32_t off,
		     struct record *r)
{
	unsigned char *at = s->slots + (lap & 1) * (size_t)s->slot_bytes + off;
	uint64_t h = ld_acq(sb_spsc_word(at));

	if (!(h & SB_SPSC_THERE) || h >> 32 != lap)
		return 0;
	if (h & SB_SPSC_SEAL)
		return -1;
	r->len = h & SB_SPSC_LEN;
	r->kind = h >> SB_SPSC_KIND_AT & SB_SPSC_KIND_MAX;
	r->data = at + 8;
	r->at = (uint64_t)lap << 32 | off;
	return 1;
}

/* The last record that a writer has published, also when it was read. */
static bool last_record(struct sb_spsc *s, struct record *r)
{
	uint64_t h[2];
	uint32_t lap, off = 0;
	bool any = false;

	for (uint32_t i = 0; i < 2; i++)
		h[i] = ld_acq(sb_spsc_word(s->slots + i * s->slot_bytes));
	if (!h[0])
		return false;
	lap = (uint32_t)(h[0] >> 32);
	if (h[1] && (int32_t)((uint32_t)(h[1] >> 32) - lap) > 0)
		lap = (uint32_t)(h[1] >> 32);
	while (record_at(s, lap, off, r) > 0) {
		any = true;
		off += 8 + (uint32_t)sb_spsc_pad(r->len);
	}
	return any;
}

/* Is a message half sent in this direction?  *@at is where its last part is. */
static bool is_half_sent(uint32_t dir, uint64_t *at)
{
	struct bus_pipe_head *head = pipe_head();
	struct sb_spsc *s = head ? slots_of(head, dir) : NULL;
	struct bus_fragment f;
	struct record r;

	if (!s || !last_record(s, &r) || r.kind != BUS_REC_FRAGMENT)
		return false;
	*at = r.at;
	memcpy(&f, r.data, sizeof(f));
	return f.offset_bytes + r.len - sizeof(f) < f.total_bytes;
}

/* The message that begins where the reader of a direction has stopped. */
static uint32_t front_of(uint32_t dir)
{
	struct bus_pipe_head *head = pipe_head();
	struct sb_spsc *s = head ? slots_of(head, dir) : NULL;
	struct bus_fragment f = { 0 };
	struct record r;
	uint64_t at, number;
	int ret;

	if (!s)
		return NO_FRONT;
	at = ld_acq(&s->position);
	ret = record_at(s, (uint32_t)(at >> 32), (uint32_t)at, &r);
	if (ret < 0)
		ret = record_at(s, (uint32_t)(at >> 32) + 1, 0, &r);
	if (ret <= 0)
		return NO_FRONT;
	if (r.kind == BUS_REC_FRAGMENT) {
		memcpy(&f, r.data, sizeof(f));
		r.data += sizeof(f);
		if (f.offset_bytes)
			return NO_FRONT;
	}
	memcpy(&number, r.data, sizeof(number));
	return (uint32_t)number;
}

/* Somebody has the victim's side, or had it: its end is to be seen. */
static bool is_taken(uint64_t word)
{
	uint32_t state = bus_side_state(word);

	return state != BUS_SIDE_NEVER && state != BUS_SIDE_MADE;
}

/* The victim stands still.  What will be left of it? */
static void look(void)
{
	uint64_t at = UINT64_MAX;
	bool half;

	x.word = side_word();
	x.front = front_of(TO_VICTIM);
	half = is_half_sent(FROM_VICTIM, &at);
	if (x.half_before && at == x.last_before)
		half = false; /* that was the other one */
	if (bus_side_state(x.word) != BUS_SIDE_OPEN)
		half = false;
	/* It had closed that direction before it died: both can be said. */
	sh->half_closed = !(x.op->flags & BUS_PIPE_SIMPLEX) &&
			  bus_side_state(x.word) == BUS_SIDE_OPEN &&
			  (x.word & BUS_SIDE_GONE);
	x.maybe_half = half && (x.word & BUS_SIDE_TX_GONE);
	x.half = half;
}

/* -------------------------------------------------------------- stepping -- */

static bool victim_there(void)
{
	return sh->victim_pid != 0;
}

static void stop_peer(void)
{
	int status;

	if (x.peer != SPIN || x.peer_stopped)
		return;
	kill(x.peer_pid, SIGSTOP);
	waitpid(x.peer_pid, &status, WUNTRACED);
	x.peer_stopped = true;
}

static void let_peer_go(void)
{
	if (!x.peer_stopped)
		return;
	kill(x.peer_pid, SIGCONT);
	x.peer_stopped = false;
}

static enum t_stop help(uint32_t n)
{
	if (x.cross) {
		/* not at once: it may be a slice of its sleep */
		if (t_parked(walk.victim) && n >= 2)
			return T_BLOCKED;
	} else if (x.peer == POLL && mine.p) {
		do_job(&mine, 0);
	}
	let_peer_go();
	return T_STEPPED;
}

/* Let it go until @k instructions are done.  Returns how to kill it. */
static enum t_stop drive(long k)
{
	enum t_stop stop = T_STEPPED;
	long half = k / 2;

	if (walk.len < 0 || x.peer != POLL || !mine.p || k % 4 != 2)
		return walk_to(0, k);
	stop = walk_half(half);
	if (stop != T_STEPPED) {
		walk.there = false;
		return stop;
	}
	do_job(&mine, 0);
	return walk_to(half, k);
}

/* Others go on while the victim stands still. */
static void meanwhile(void)
{
	if (x.peer == POLL && mine.p && point.k % 3 == 1) {
		do_job(&mine, 0);
	} else if (x.peer == SPIN && point.k % 2) {
		let_peer_go();
		point_nap();
		point_nap();
	}
}

static void kill_victim(enum t_stop stop)
{
	if (t_step_kill(walk.victim, stop, true))
		point_cannot("kill");
	x.killed_ns = sb_now_ns();
	sh->dead = 1;
}

/* ---------------------------------------------------------------- set up -- */

static struct bus_config bus_settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = MAX_EP;
	c.channel_bytes = 1 << 18;
	c.max_message_bytes = 1024;
	c.blob_bytes = 8192;
	return c;
}

static enum job job_of(void)
{
	if (x.op->xchg || x.op->role == BOTH)
		return XCHG;
	if (x.op->role == READER)
		return x.peer != POLL && x.state == EMPTY ? READ : WRITE;
	return x.peer != POLL && x.state == FULL ? WRITE : READ;
}

static void plan(void)
{
	static const uint32_t n_first[] = { 0, 1, 2, 3, 4, 7 };
	enum job job = job_of();

	x.side = x.op->role == READER;
	x.cross = (x.op->role == READER && job == READ) ||
		  (x.op->role == WRITER && job == WRITE) ||
		  (x.op->role == READER && x.op->first);
	x.n_first = x.op->n_long ? x.op->n_long : n_first[x.state];
	if (x.op->flow != NAMED || x.op->opens)
		x.n_first = 0;
	x.number = BY_VICTIM + 2 * x.n_first;
	if (x.op->role == BOTH)
		x.number = BY_VICTIM + 4;
	set_end(&mine, job, FROM_VICTIM);
	memset(x.pair, 0, sizeof(x.pair));
	x.half_before = false;
	x.n_again = 0;
	walk.victim = x.peer_pid = 0;
	x.peer_stopped = false;
	/* Nobody is told of the end of one who was never there. */
	x.early = x.op->flow == NAMED && point.k % 3 == 2;
}

static bool has_read_first(void)
{
	return sh->log[FROM_VICTIM].n >= x.n_first;
}

static bool peer_parked(void)
{
	if (!sh->peer_ready || (mine.job == READ && !has_read_first()))
		return false;
	return x.peer == SPIN || t_parked(x.peer_pid);
}

/* We write as far as x.state says; the victim has not started. */
static void write_first(void)
{
	uint32_t n = x.state == FULL ? N_MSGS : x.n_first;

	for (uint32_t i = 0; i < n; i++)
		if (write_job(&mine, 0))
			break;
}

static void make_ends(void)
{
	struct bus_pipe_config c = pipe_settings();

	if (x.op->flow == PAIR || x.op->flow == GIVEN || x.op->flow == GIVE)
		T_CHECK(bus_pipe(bus, &c, &x.pair[0], &x.pair[1]) == 0);
	if ((x.op->flow == ALONE || x.op->first) && x.state == ONE) {
		/* one that it can use again */
		T_CHECK(bus_pipe(bus, &c, &x.pair[0], &x.pair[1]) == 0);
		bus_pipe_free(x.pair[0]);
		bus_pipe_free(x.pair[1]);
		memset(x.pair, 0, sizeof(x.pair));
	}
	if (x.peer != POLL || x.op->flow == ALONE || x.op->flow == LAST ||
	    x.op->first)
		return;
	T_CHECK(open_mine() == 0);
	if (x.op->role == READER && x.state != WRAP && mine.job == WRITE)
		write_first();
}

static void start_before(void)
{
	if (x.op->before == NOBODY)
		return;
	t_wait(t_fork(before_main, NULL));
	if (x.op->before == DEAD_READER)
		sh->taken = 1 << 8;
	else
		x.half_before = is_half_sent(FROM_VICTIM, &x.last_before);
	/* Has the peer heard of it, or has it not? */
	if (mine.p && x.op->opens && mine.job == READ && point.k % 2) {
		while (!at_end(&mine))
			do_job(&mine, 0);
		go_on(&mine);
	}
}

/* The victim may need us to get where it is to start from. */
static bool victim_ready(void)
{
	if (x.peer == POLL && mine.p && x.state == WRAP)
		do_job(&mine, 0);
	return victim_there();
}

static bool all_read(void)
{
	if (!has_read_first())
		do_job(&mine, 0);
	return has_read_first();
}

static void set_up(void)
{
	struct bus_config c = bus_settings();

	memset(sh, 0, sizeof(*sh));
	plan();
	x.fds = t_count_fds();
	t_gate_init(&gate);
	t_gate_init(&heir_gate);
	bus = NULL;
	bus = t_bus_with(t_name("k"), &c);
	bus->waiter.heartbeat_ns = 3600 * SB_NS_PER_S;
	make_ends();
	start_before();
	if (x.peer != POLL)
		x.peer_pid = t_fork(peer_main, NULL);
	walk.victim = t_fork(victim_main, NULL);
	if (x.op->flow == GIVEN) {
		T_CHECK(!bus_pipe_hand_over(x.pair[x.side], walk.victim));
		x.pair[x.side] = NULL;
	}
	point_until(victim_ready, "no victim");
	if (x.peer != POLL) {
		point_until(peer_parked, "the peer does not get ready");
		point_nap();
		stop_peer();
	} else if (x.state == WRAP && mine.job == READ) {
		point_until(all_read, "we do not get ready");
	}
	if (t_step_seize(walk.victim, &sh->seized))
		point_cannot("seize");
}

/* ------------------------------------------------------- after the death -- */

static void tell_peer(char c)
{
	if (write(gate.fd[1], &c, 1) != 1)
		point_cannot("tell the peer");
}

static bool peer_at_end(void)
{
	return sh->n_ends > x.n_again;
}

static bool we_are_at_end(void)
{
	uint64_t end = sb_deadline(100 * SB_NS_PER_US);

	while (!at_end(&mine) && sb_now_ns() < end)
		do_job(&mine, 0);
	return at_end(&mine);
}

/*
 * Who opens a side, uses it first, or gives it away unused, rings whoever
 * waits, and that one then watches the new owner.  If it was killed between
 * the two, and the new owner is dead, too, nobody tells a peer that sleeps: its
 * heartbeat finds it out, in 100 ms.  There is none here; we do what it would.
 */
static bool may_sleep_on(void)
{
	if (x.n_again || (x.peer != FUTEX && x.peer != URING))
		return false;
	return x.op->opens || x.op->flow == PAIR ||
	       (x.op->flow == GIVE && x.state == EMPTY);
}

static void beat(void)
{
	if (!may_sleep_on() || point_within(100 * SB_NS_PER_MS, peer_at_end))
		return;
	x.row->slow++;
	bus_reap(bus);
}

/* The peer must get to the end of what it can do. */
static bool await_end(const char *if_not)
{
	uint64_t since = sb_now_ns(), ns;

	let_peer_go();
	beat();
	if (!point_soon(x.peer == POLL ? we_are_at_end : peer_at_end)) {
		BAD(hung, "%s", if_not);
		return false;
	}
	if (x.peer == POLL) {
		check_end(&mine);
		ns = sb_now_ns() - since;
	} else {
		since = x.n_again ? since : x.killed_ns;
		ns = sh->end_ns > since ? sh->end_ns - since : 0;
	}
	if (ns > x.row->wait_ns && ns < 100 * SB_NS_PER_MS)
		x.row->wait_ns = ns;
	return true;
}

/* The peer goes on, if it has come to an end. */
static void again(void)
{
	if (x.peer == POLL) {
		if (at_end(&mine))
			go_on(&mine);
	} else if (peer_at_end()) {
		x.n_again++;
		tell_peer('a');
	}
}

/* The highest number of this direction that was put for certain, + 1. */
static uint32_t n_put(uint32_t dir)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_MSGS; i++)
		if (sh->put[dir][i] == DONE)
			n = i + 1;
	return n;
}

static uint32_t n_received(uint32_t dir)
{
	uint32_t i = sh->log[dir].n;
	int32_t ev;

	while (i-- > 0) {
		ev = sh->log[dir].ev[i];
		if (ev >= 0)
			return (uint32_t)ev + 1;
	}
	return 0;
}

/* The peer has got what the new one sends, which has got what the dead one
 * should have, and two more. */
static bool have_talked(const struct end *heir, uint32_t wanted)
{
	if (heir->job != READ && n_received(FROM_VICTIM) < heir->limit)
		return false;
	return heir->job == WRITE || n_received(TO_VICTIM) >= wanted || !wanted;
}

/* A new one comes and has the victim's side. */
static bool heir_works(void)
{
	static struct end heir;
	uint32_t wanted = n_put(TO_VICTIM);
	uint64_t end;
	int ret;

	set_end(&heir,
		mine.job == READ    ? WRITE
		: mine.job == WRITE ? READ
				    : DUPLEX,
		TO_VICTIM);
	heir.how = 0;
	heir.next = BY_HEIR;
	heir.limit = BY_HEIR + 3;
	if (heir.job == READ)
		wanted += 2;
	else if (x.front < N_MSGS && sh->put[TO_VICTIM][x.front] == DONE)
		wanted = x.front + 1;
	else if (wanted <= (sh->taken >> 8) + (sh->taken & 0xff))
		wanted = 0; /* it may have died in the victim's hands */
	ret = open_side(x.side, &heir.p);
	if (ret) {
		BAD(leaked, "the side cannot be opened again");
		return false;
	}
	let_peer_go();
	end = sb_deadline(POINT_HUNG_NS);
	while (!have_talked(&heir, wanted)) {
		again();
		if (do_job(&heir, 0) && x.peer != POLL)
			point_nap();
		if (x.peer == POLL)
			do_job(&mine, 0);
		if (sb_now_ns() > end) {
			BAD(hung, "nothing goes between the peer and "
				  "a new one");
			bus_pipe_free(heir.p);
			return false;
		}
	}
	bus_pipe_free(heir.p);
	return true;
}

static bool heir_done(void)
{
	return sh->heir_done;
}

/*
 * The victim was giving its end away.  Now it is the heir's, or nobody's but
 * the one's who made it, or went with the victim.  Odd points kill the heir
 * before it has done anything.
 */
static void heir_comes(void)
{
	bool lost = bus_side_state(x.word) == BUS_SIDE_OPEN;
	int status;

	if (point.k % 2)
		kill(sh->heir_pid, SIGKILL);
	if (bus_side_state(x.word) == BUS_SIDE_MADE) {
		if (bus_pipe_hand_over(x.pair[x.side], sh->heir_pid))
			BAD(wrong, "the maker cannot hand it over");
		else
			x.pair[x.side] = NULL;
	}
	t_gate_open(&heir_gate);
	if (point.k % 2 == 0) {
		if (!point_soon(heir_done))
			BAD(hung, "the heir hangs");
		else if (sh->heir_ret != (lost ? -EBADF : 0))
			BAD(wrong, "what the heir is told");
	}
	kill(sh->heir_pid, SIGKILL);
	waitpid(sh->heir_pid, &status, 0);
}

/* Nobody has used the end, so it counts as ours: it is nobody's when we give
 * it to the dead. */
static void give_up_unused(void)
{
	if (x.op->flow != PAIR || is_taken(x.word))
		return;
	if (bus_pipe_hand_over(x.pair[x.side], walk.victim))
		BAD(wrong, "the maker cannot hand it over");
	else
		x.pair[x.side] = NULL;
}

static bool peer_survives(void)
{
	if (x.op->flow == GIVE)
		heir_comes();
	give_up_unused();
	if (!x.early && !await_end("the peer does not see the end"))
		return false;
	if (x.op->flow != NAMED)
		return true;
	return heir_works() && await_end("the peer does not see the new end");
}

static void end_peer(bool well)
{
	int status;

	let_peer_go();
	if (x.peer_pid) {
		if (!well) {
			t_kill(x.peer_pid);
			return;
		}
		tell_peer('q');
		point_watch("the peer does not leave");
		status = t_wait(x.peer_pid);
		if (status == 1)
			BAD(leaked, "the peer has more descriptors");
		else if (status)
			BAD(wrong, "the peer cannot leave");
	}
	bus_pipe_free(x.pair[x.side]);
	if (x.peer == POLL)
		bus_pipe_free(mine.p);
	else
		bus_pipe_free(x.pair[1 - x.side]);
}

/* ---------------------------------------------------------------- checks -- */

static int32_t event(const struct log *log, uint32_t at)
{
	return at < log->n ? log->ev[at] : INT32_MIN;
}

/*
 * What a reader is told of one writer, in the log from @at: messages @from ..
 * @to - 1 and its end.  Returns where the next one's begin.
 */
static uint32_t check_writer(uint32_t at, uint32_t from, uint32_t to, bool half,
			     bool maybe_half, bool must_end)
{
	const struct log *log = &sh->log[FROM_VICTIM];
	bool dead, end = at > 0 && event(log, at - 1) == EV_END;

	for (uint32_t i = from; i < to; i++) {
		uint32_t state = sh->put[FROM_VICTIM][i];

		if (event(log, at) == (int32_t)i) {
			at++;
			if (state == NOT)
				BAD(wrong, "one that was never sent");
		} else if (state == DONE) {
			BAD(lost, "a message was lost");
		}
	}
	dead = event(log, at) == EV_DEAD;
	if (dead)
		at++;
	if (dead && !half)
		BAD(wrong, "-EOWNERDEAD for nothing");
	if (!dead && half && !maybe_half)
		BAD(lost, "no -EOWNERDEAD for half a message");
	if (event(log, at) == EV_END)
		at++;
	else if (must_end && !end)
		BAD(wrong, "no end");
	return at;
}

/* Which messages came twice?  The other checks would only say that something
 * is out of order. */
static bool any_twice(const struct log *log)
{
	uint32_t n[N_MSGS] = { 0 };

	for (uint32_t i = 0; i < log->n; i++)
		if (log->ev[i] >= 0 && n[log->ev[i]]++)
			return true;
	return false;
}

/* What survivors received from the victim's side. */
static void check_received(void)
{
	const struct log *log = &sh->log[FROM_VICTIM];
	uint32_t at = 0;

	if (any_twice(log)) {
		BAD(duplicated, "delivered twice");
		return;
	}
	if (x.op->before == DEAD_WRITER)
		at = check_writer(at, BY_BEFORE, BY_VICTIM, x.half_before,
				  false, false);
	at = check_writer(at, BY_VICTIM, BY_HEIR, x.half, x.maybe_half,
			  !x.early && x.op->flow == NAMED);
	at = check_writer(at, BY_HEIR, N_MSGS, false, false, true);
	if (at != log->n)
		BAD(wrong, "out of order");
}

/* Was message @i, which the victim's last call took as its @n-th, in the
 * caller's hands? */
static bool victim_has(uint32_t i, uint32_t n)
{
	size_t len = len_of(TO_VICTIM, i);

	const unsigned char *at = sh->buf[0] + n * (x.op->run ? MID : MSG_MAX);

	/* of one in parts the others may be in a slot that was used again */
	return len > SLOT ||
	       (n < N_HAND && read_message(TO_VICTIM, at, len) == i);
}

/*
 * What the new reader begins with.  The victim's calls have taken the first
 * n, and the one in which it died may have taken so many more.
 */
static void check_first(uint32_t number)
{
	uint32_t n = sh->taken >> 8, most = n + (sh->taken & 0xff);

	if (number < n)
		BAD(duplicated, "what was received comes again");
	for (uint32_t i = n; i < number; i++) {
		if (sh->put[TO_VICTIM][i] != DONE)
			continue;
		if (i >= most)
			BAD(lost, "the new reader has missed it");
		else if (!victim_has(i, i - n))
			BAD(lost, "taken, and in nobody's hands");
	}
	if (x.front < N_MSGS && sh->put[TO_VICTIM][x.front] == DONE &&
	    number != x.front)
		BAD(lost, "not what was at the front");
}

/* What survivors received on the victim's side. */
static void check_taken(void)
{
	const struct log *log = &sh->log[TO_VICTIM];
	uint32_t next;

	if (!log->n)
		return;
	if (log->ev[0] < 0) {
		BAD(wrong, "an end that is none");
		return;
	}
	check_first((uint32_t)log->ev[0]);
	next = (uint32_t)log->ev[0];
	for (uint32_t i = 0; i < log->n; i++, next++) {
		int32_t ev = log->ev[i];

		while (next < N_MSGS && (int32_t)next != ev &&
		       sh->put[TO_VICTIM][next] != DONE)
			next++;
		if (ev < 0) {
			BAD(wrong, "an end that is none");
			return;
		}
		if ((int32_t)next != ev) {
			point_bad(ev < (int32_t)next
					  ? offsetof(struct tally, duplicated)
					  : offsetof(struct tally, lost),
				  "the new reader's messages");
			return;
		}
		if (sh->put[TO_VICTIM][next] == NOT)
			BAD(wrong, "one that was never sent");
	}
}

static void check_messages(void)
{
	if (x.op->flow == ALONE || x.op->flow == LAST)
		return;
	if (mine.job != WRITE)
		check_received();
	if (mine.job != READ)
		check_taken();
}

/* For who looks at one point. */
static void dump(void)
{
	static const char *const names[] = { "from", "to" };

	torture_say(
		"killed after %ld instructions, word %llx, half %d, front %d, "
		"taken %u + %u, %s\n",
		walk.len, (unsigned long long)x.word, x.half, (int)x.front,
		(unsigned)sh->taken >> 8, (unsigned)sh->taken & 0xff,
		x.early ? "early" : "late");
	for (int d = 0; d < 2; d++) {
		torture_say("%s the victim's side, sent:", names[d]);
		for (int i = 0; i < N_MSGS; i++)
			if (sh->put[d][i])
				torture_say(" %d%s", i,
					    sh->put[d][i] == DONE ? "" : "?");
		torture_say("\n  received:");
		for (uint32_t i = 0; i < sh->log[d].n; i++)
			switch (ld_acq(&sh->log[d].ev[i])) {
			case EV_END:
				torture_say(" end");
				break;
			case EV_DEAD:
				torture_say(" dead");
				break;
			default:
				torture_say(" %d", (int)sh->log[d].ev[i]);
			}
		torture_say("\n");
	}
}

/* Does a message of @len bytes go from one to the other? */
static bool goes(struct bus_pipe *from, struct bus_pipe *to, size_t len)
{
	unsigned char buf[BIG], got[BIG];
	size_t n;

	t_fill(buf, len, 1);
	return !bus_pipe_send(from, buf, len, 0) &&
	       !bus_pipe_recv(to, got, sizeof(got), &n, 0) && n == len &&
	       t_is(got, n, 1);
}

/* The memory of what was can be used again, and works. */
static void check_channels(void)
{
	struct bus_pipe_config c = pipe_settings();
	uint32_t n = audit_channels(bus), least = x.op->flow == ALONE ? 0 : 1;
	struct bus_pipe *a, *b;
	bool good = true;

	if (n < least || n > 1)
		BAD(leaked, "too many channels");
	if (bus_pipe(bus, &c, &a, &b)) {
		BAD(leaked, "no new pipe");
		return;
	}
	for (int i = 0; i < 4; i++)
		good = good && goes(a, b, MID) && goes(a, b, 8);
	if (!(c.flags & BUS_PIPE_SIMPLEX))
		good = good && goes(b, a, MID);
	if (!good)
		BAD(wrong, "a new pipe does not work");
	bus_pipe_free(a);
	bus_pipe_free(b);
	if (audit_channels(bus) > (n ? n : 1))
		BAD(leaked, "the channel is not used again");
}

/* Both sides were somebody's who is dead: the pipe is made anew. */
static void check_last(void)
{
	struct bus_pipe *a = NULL, *b = NULL;

	if (open_side(0, &a) || open_side(1, &b))
		BAD(leaked, "the name cannot be used again");
	else if (!goes(a, b, MID) || !goes(b, a, MID))
		BAD(wrong, "a new pipe does not work");
	bus_pipe_free(a);
	bus_pipe_free(b);
}

static void audit(void)
{
	point_watch("the audit hangs");
	audit_bus(bus);
	check_channels();
	audit_ids(bus, MAX_EP);
	bus_close(bus);
	t_gate_close(&gate);
	t_gate_close(&heir_gate);
	if (t_count_fds() != x.fds)
		BAD(leaked, "a descriptor is left");
	if (t_shm_leftovers()) {
		BAD(leaked, "a file is left");
		t_shm_clean();
	}
}

/* ----------------------------------------------------------------- cases -- */

static void survive(void)
{
	bool well = true;

	if (x.op->first) {
		if (open_mine())
			BAD(wrong, "the pipe cannot be opened");
		x.word = side_word();
	}
	if (x.op->flow == NAMED && !is_taken(x.word))
		x.early = true;
	sh->early = x.early;
	if (x.op->flow == LAST)
		check_last();
	else if (x.op->flow != ALONE)
		well = peer_survives();
	end_peer(well);
	if (torture->at >= 0)
		dump();
	if (well)
		check_messages();
	if (sh->wrong)
		BAD(wrong, "%s:%u: not that, or %d", __FILE__,
		    (unsigned)sh->wrong, (int)sh->wrong_ret);
	audit();
}

/* One point; the first of a case, with a @k beyond all, is when the operation
 * is over, and measures it.  Returns whether it was the right place. */
static bool run_once(long k)
{
	enum t_stop stop;

	point.k = k;
	point_watch("nobody gets ready");
	set_up();
	point_tick(400); /* shorter than a slice of a futex wait with a watch */
	stop = drive(k);
	point_watch("a survivor hangs, before the death");
	meanwhile();
	look();
	point_watch("the victim does not die");
	kill_victim(stop);
	point_watch("a survivor hangs");
	torture_point(&x.row->t);
	survive();
	return walk.there;
}

/* What others do at the same time is not always the same.  A victim that came
 * somewhere else because it was faster than when it was measured is not. */
static void run_point(long k)
{
	if (!walk_point(run_once, k))
		x.row->elsewhere++;
}

#define S_PEER (S_EMPTY | S_ONE | S_TURN | S_WRAP)

/* clang-format off */
static const struct op ops[] = {
	/* the victim writes */
	{ "send", WRITER, S_EMPTY | S_ONE | S_TURN | S_FULL | S_WRAP,
	  S_PEER | S_FULL, .fn = do_send },
	{ "send-many", WRITER, S_EMPTY | S_FULL, S_EMPTY | S_ONE,
	  .fn = do_send_many,
	  .flags = BUS_PIPE_SIMPLEX },
	{ "send-big", WRITER, S_EMPTY | S_ONE | S_FULL,
	  S_EMPTY | S_ONE | S_WRAP, .fn = do_send, .big_out = true },
	{ "send-long", WRITER, S_TURN, 0, .fn = do_send, .n_long = 8,
	  .flags = BUS_PIPE_SIMPLEX },
	{ "send-xchg", WRITER, S_EMPTY, S_EMPTY, .fn = do_send, .big_in = true,
	  .xchg = true },
	{ "loan", WRITER, S_EMPTY | S_TURN | S_FULL, S_EMPTY | S_TURN,
	  .fn = do_loan },
	{ "loan-big", WRITER, S_EMPTY | S_ONE, S_EMPTY | S_ONE, .fn = do_loan,
	  .big_out = true },
	{ "loan-cancel", WRITER, S_EMPTY | S_ONE, S_EMPTY, .fn = do_cancel,
	  .big_out = true },
	{ "close-half", WRITER, S_EMPTY | S_ONE, S_EMPTY, .fn = do_close_half,
	  .big_out = true },
	{ "close-send", WRITER, S_EMPTY | S_TURN | S_FULL, S_EMPTY | S_FULL,
	  .fn = do_close_send },
	{ "free-send", WRITER, S_EMPTY | S_FULL, S_EMPTY | S_FULL,
	  .fn = do_free },
	{ "leave-send", WRITER, S_ONE, S_EMPTY, .fn = do_leave,
	  .slow = true },
	/* the victim reads */
	{ "recv", READER, S_EMPTY | S_ONE | S_TURN | S_SEAL | S_FULL | S_WRAP,
	  S_EMPTY | S_FULL | S_WRAP, .fn = do_recv },
	{ "recv-many", READER, S_ONE | S_SEAL | S_FULL, S_FULL | S_WRAP,
	  .fn = do_recv_many, .flags = BUS_PIPE_SIMPLEX },
	{ "recv-run", READER, S_ONE | S_SEAL | S_FULL, S_FULL | S_WRAP,
	  .fn = do_recv_run, .run = true, .flags = BUS_PIPE_SIMPLEX },
	{ "recv-big", READER, S_EMPTY | S_FULL | S_WRAP, S_EMPTY | S_FULL,
	  .fn = do_recv, .big_in = true },
	{ "peek", READER, S_EMPTY | S_SEAL | S_FULL, S_FULL, .fn = do_peek },
	{ "peek-big", READER, S_EMPTY | S_FULL, S_FULL | S_WRAP, .fn = do_peek,
	  .big_in = true },
	{ "poll", READER, S_EMPTY | S_SEAL, S_FULL, .fn = do_poll },
	{ "wait", READER, S_EMPTY | S_SEAL, S_FULL, .fn = do_wait },
	{ "close-recv", READER, S_EMPTY | S_ONE | S_FULL, S_EMPTY | S_FULL,
	  .fn = do_close_recv },
	{ "free-recv", READER, S_ONE | S_FULL, S_FULL, .fn = do_free },
	{ "leave-recv", READER, S_FULL, S_FULL, .fn = do_leave,
	  .slow = true },
	/* both */
	{ "exchange", BOTH, S_EMPTY | S_WRAP, S_EMPTY | S_WRAP,
	  .fn = do_exchange },
	{ "exchange-big", BOTH, S_EMPTY | S_WRAP, S_EMPTY | S_WRAP,
	  .fn = do_exchange,
	  .big_out = true, .big_in = true },
	/* it comes */
	{ "open-new-w", WRITER, S_EMPTY | S_ONE, 0,
	  .fn = do_open, .opens = true,
	  .first = true },
	{ "open-new-r", READER, S_EMPTY | S_ONE, 0,
	  .fn = do_open, .opens = true,
	  .first = true },
	{ "open-w", WRITER, S_EMPTY, S_EMPTY, .fn = do_open, .opens = true },
	{ "open-r", READER, S_FULL, S_FULL, .fn = do_open, .opens = true },
	{ "open-after-w", WRITER, S_EMPTY, 0, .fn = do_open, .opens = true,
	  .before = DEAD_WRITER },
	{ "open-after-r", READER, S_FULL, 0, .fn = do_open, .opens = true,
	  .before = DEAD_READER },
	{ "open-close", WRITER, S_EMPTY, 0, .fn = do_open_close, .opens = true,
	  .before = DEAD_WRITER },
	{ "use-w", WRITER, S_EMPTY, S_EMPTY, .fn = do_use, .flow = PAIR },
	{ "use-r", READER, S_FULL, S_FULL, .fn = do_use, .flow = PAIR },
	{ "given-w", WRITER, S_EMPTY, S_EMPTY, .fn = do_use, .flow = GIVEN },
	{ "given-r", READER, S_FULL, S_FULL, .fn = do_use, .flow = GIVEN },
	{ "give", WRITER, S_EMPTY | S_ONE, S_EMPTY | S_ONE, .fn = do_give,
	  .flow = GIVE },
	/* others */
	{ "make", OTHER, S_EMPTY | S_ONE, 0, .fn = do_make, .flow = ALONE },
	{ "spawn", OTHER, S_EMPTY, 0, .fn = do_spawn, .flow = ALONE },
	{ "reap", OTHER, S_EMPTY, 0, .fn = do_reap, .before = DEAD_WRITER },
	{ "recv-dead", READER, S_EMPTY, 0, .fn = do_recv_dead, .flow = LAST,
	  .before = DEAD_WRITER },
};
/* clang-format on */
#define N_CASES (lengthof(ops) * N_STATES * N_PEERS)

static bool makes_sense(const struct op *op, enum state s, enum peer p)
{
	if (p == URING && !have_uring)
		return false;
	if (op->slow && p != POLL && p != FUTEX)
		return false;
	return (p == POLL ? op->polled : op->blocked) & 1u << s;
}

static void run_points(uint32_t c)
{
	/* Then the victim does as with "poll"; it is the peer who differs. */
	long step = walk_stride(x.peer == SPIN ? QUICK_N / 2 : QUICK_N);

	for (long k = (long)(torture->seed + c * 7) % step; k <= walk.len;
	     k += step)
		run_point(k);
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();

	x.op = &ops[c / (N_STATES * N_PEERS)];
	x.state = c / N_PEERS % N_STATES;
	x.peer = c % N_PEERS;
	if (!makes_sense(x.op, x.state, x.peer))
		return;
	x.row = &all->row[x.op - ops][x.peer];
	if (!point_case(&x.row->t, "%s/%s/%s", x.op->name, state_names[x.state],
			peer_names[x.peer]))
		return;
	walk_forget();
	run_point(K_MAX);
	x.row->of += (uint64_t)walk.len + 1;
	if (walk.len > (long)x.row->longest)
		x.row->longest = (uint64_t)walk.len;
	if (torture->at < 0)
		run_points(c);
	else if (torture_has(torture->at <= walk.len))
		run_point(torture->at);
	x.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	t_name("k"); /* has our pid from now on, not the first victim's */
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* of heirs */
	sh = t_shared(sizeof(*sh));
	walk_init(K_MAX);
	walk.over = &sh->over;
	walk.help = help;
	walk.stopped = stop_peer;
	while ((c = all->next_case++) < N_CASES)
		run_case(c);
	walk_free();
	t_shm_clean();
	return 0;
}

/* --------------------------------------------------------------- the run -- */

static void print_row(const char *name, const char *peer, const struct row *r)
{
	torture_say("%-14s %-6s %7u %7u %8u %5u %5u %9u %7.1f %7.1f\n", name,
		    peer, (unsigned)r->longest, (unsigned)r->t.points,
		    (unsigned)r->of, (unsigned)tally_bad(&r->t),
		    (unsigned)r->slow, (unsigned)r->elsewhere,
		    (double)r->wait_ns / 1e6, (double)r->ns / 1e9);
}

static void print_rows(void)
{
	torture_say("%-14s %-6s %7s %7s %8s %5s %5s %9s %7s %7s\n", "operation",
		    "peer", "instr", "points", "of", "bad", "slow", "elsewhere",
		    "wait ms", "seconds");
	for (size_t o = 0; o < lengthof(ops); o++)
		for (int p = 0; p < N_PEERS; p++)
			if (all->row[o][p].t.points)
				print_row(ops[o].name, peer_names[p],
					  &all->row[o][p]);
}

int kill_pipe(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	have_uring = audit_may_uring(bus_settings());
	good = t_each_cpu(shard_main, NULL);
	print_rows();
	return good ? 0 : 1;
}
