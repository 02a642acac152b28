/*
 * kill_pipe_ops.c - the operations of a pipe in which a victim is killed
 *
 * Each begins where kill_pipe_set_up.c has brought everybody, and notes what it
 * is about to do and what it has done: which messages were begun and sent, how
 * many were received, and how many more the call may take that it is in.
 */
#include "config.h"

#include "tools/torture/kill_pipe.h"

#define LONG_SLOT 32768u

/* --------------------------------------------------------------- sending -- */

static void begins(uint32_t i, uint32_t n)
{
	for (uint32_t k = i; k < i + n; k++)
		kp.sh->put[FROM_VICTIM][kp.number + k] = BEGUN;
}

static void ends(uint32_t i, uint32_t n)
{
	for (uint32_t k = i; k < i + n; k++)
		kp.sh->put[FROM_VICTIM][kp.number + k] = DONE;
}

static size_t msg_len(uint32_t i)
{
	return kp_len_of(FROM_VICTIM, kp.number + i);
}

void kp_send_one(uint32_t i)
{
	begins(i, 1);
	if (bus_pipe_send(kp.vp, kp.msg[i], msg_len(i), -1))
		WRONG(0);
	else
		ends(i, 1);
}

static void do_send(void)
{
	kp_send_one(0);
	kp_send_one(1);
}

static void do_send_many(void)
{
	for (uint32_t i = 0; i < 3;) {
		int n;

		begins(i, 3 - i);
		n = bus_pipe_send_many(kp.vp, kp.mids + i * MID, MID, 3 - i,
				       -1);
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
			if (bus_pipe_loan(kp.vp, len, &part, -1)) {
				WRONG(0);
				return;
			}
			memcpy(part.data, kp.msg[i] + part.offset_bytes,
			       part.len_bytes);
			if (bus_pipe_commit(kp.vp, &part)) {
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

	if (bus_pipe_loan(kp.vp, BIG, &part, -1)) {
		WRONG(0);
		return;
	}
	memcpy(part.data, kp.msg[0], part.len_bytes);
	if (bus_pipe_commit(kp.vp, &part))
		WRONG(0);
}

static void do_cancel(void)
{
	half_of_one();
	bus_pipe_cancel(kp.vp);
	kp_send_one(1);
}

/* ------------------------------------------------------------- receiving -- */

/* A call begins that may take @n messages. */
static void hand(uint32_t n)
{
	kp.sh->taken = (kp.sh->taken & ~0xffu) | n;
}

/* It has taken @n. */
static void taken(uint32_t n)
{
	kp.sh->taken = ((kp.sh->taken >> 8) + n) << 8;
}

/* One call received what is in sh->buf[0]. */
static void taken_one(int ret)
{
	uint64_t number, should = (uint64_t)TO_VICTIM << 32 | kp.sh->taken >> 8;

	memcpy(&number, kp.sh->buf[0], sizeof(number));
	if (ret || number != should)
		WRONG(ret);
	taken(1);
}

static void recv_one(void)
{
	size_t len;

	hand(1);
	taken_one(bus_pipe_recv(kp.vp, kp.sh->buf[0], MSG_MAX, &len, -1));
}

void kp_recv_n(uint32_t n)
{
	while (n-- > 0)
		recv_one();
}

static void do_recv(void)
{
	kp_recv_n(3);
}

static void do_recv_many(void)
{
	size_t lens[N_HAND];
	int n;

	for (int i = 0; i < 2; i++) {
		hand(N_HAND);
		n = bus_pipe_recv_many(kp.vp, kp.sh->buf, MSG_MAX, N_HAND, lens,
				       -1);
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
		n = bus_pipe_recv_many(kp.vp, kp.sh->buf, MID, N_HAND, NULL,
				       -1);
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
			if (bus_pipe_peek(kp.vp, &part, -1)) {
				WRONG(0);
				return;
			}
			end = part.offset_bytes + part.len_bytes;
			total = part.total_bytes;
			memcpy(kp.sh->buf[0] + part.offset_bytes, part.data,
			       part.len_bytes);
			bus_pipe_release(kp.vp, &part);
		} while (end < total);
		taken_one(0);
	}
}

static void do_poll(void)
{
	for (int i = 0; i < 2; i++) {
		if (bus_pipe_poll(kp.vp, -1))
			WRONG(0);
		recv_one();
	}
}

static void do_wait(void)
{
	struct bus_poll item = { .kind = BUS_POLL_PIPE,
				 .events = BUS_POLL_IN,
				 .on.pipe = kp.vp };

	for (int i = 0; i < 2; i++) {
		if (bus_wait(kp.bus, &item, 1, -1) != 1)
			WRONG(0);
		recv_one();
	}
}

/* ------------------------------------------------------------------ both -- */

void kp_exchange_one(uint32_t i)
{
	size_t len;

	begins(i, 1);
	hand(1);
	taken_one(bus_pipe_exchange(kp.vp, kp.msg[i], msg_len(i), kp.sh->buf[0],
				    MSG_MAX, &len, -1));
	ends(i, 1);
}

static void do_exchange(void)
{
	kp_exchange_one(0);
	kp_exchange_one(1);
}

/* --------------------------------------------------------------- closing -- */

static void do_close_half(void)
{
	half_of_one();
	bus_pipe_close(kp.vp, BUS_PIPE_SEND | BUS_PIPE_RECV);
}

static void do_close_send(void)
{
	if (kp.state != FULL)
		kp_send_one(0);
	bus_pipe_close(kp.vp, BUS_PIPE_SEND);
	bus_pipe_close(kp.vp, BUS_PIPE_SEND | BUS_PIPE_RECV);
}

static void do_close_recv(void)
{
	bus_pipe_close(kp.vp, BUS_PIPE_RECV);
	bus_pipe_close(kp.vp, BUS_PIPE_SEND | BUS_PIPE_RECV);
}

static void do_free(void)
{
	bus_pipe_free(kp.vp);
}

static void do_leave(void)
{
	bus_close(kp.bus);
}

/* ---------------------------------------------------------------- coming -- */

struct bus_pipe_config kp_pipe_settings(void)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.flags = kp.op->flags;
	c.slot_bytes = kp.op->n_long ? LONG_SLOT : SLOT;
	c.profile = kp.op->n_long ? BUS_PIPE_ADAPTIVE : BUS_PIPE_LATENCY;
	return c;
}

int kp_open_side(uint32_t side, struct bus_pipe **p)
{
	struct bus_pipe_config c = kp_pipe_settings();

	return bus_pipe_open(kp.bus, "p", &c, (int)side, p);
}

static void do_open(void)
{
	if (kp_open_side(kp.side, &kp.vp))
		WRONG(0);
	else if (kp.op->role == WRITER)
		do_send();
	else
		kp_recv_n(2);
}

/* Come after one who died, and say nothing. */
static void do_open_close(void)
{
	if (kp_open_side(kp.side, &kp.vp))
		WRONG(0);
	else
		bus_pipe_free(kp.vp);
}

/* The first call after a fork. */
static void do_use(void)
{
	if (kp.op->role == WRITER)
		do_send();
	else
		kp_recv_n(2);
}

static void do_give(void)
{
	if (bus_pipe_hand_over(kp.vp, kp.sh->heir_pid))
		WRONG(0);
}

static void do_make(void)
{
	struct bus_pipe_config c = kp_pipe_settings();
	struct bus_pipe *a, *b;
	size_t len;

	if (bus_pipe(kp.bus, &c, &a, &b)) {
		WRONG(0);
		return;
	}
	if (bus_pipe_send(a, kp.msg[0], MID, 0) ||
	    bus_pipe_recv(b, kp.sh->buf[0], MSG_MAX, &len, 0))
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
	struct bus_pipe_config c = kp_pipe_settings();

	if (bus_pipe_spawn(kp.bus, &c, spawned, NULL, &kp.vp, NULL))
		WRONG(0);
	else if (bus_pipe_send(kp.vp, kp.msg[0], MID, -1))
		WRONG(0);
}

/* -------------------------------------------------- others that are dead -- */

static void do_reap(void)
{
	bus_reap(kp.bus);
}

/* Both sides die: nobody is left but those who look at the bus. */
static void do_recv_dead(void)
{
	unsigned char *buf = kp.sh->buf[0];
	size_t len;
	int ret;

	do
		ret = bus_pipe_recv(kp.vp, buf, MSG_MAX, &len, -1);
	while (!ret || ret == -EOWNERDEAD);
	if (ret != -EPIPE)
		WRONG(ret);
}

/* ----------------------------------------------------------- all of them -- */

#define S_EMPTY (1u << EMPTY)
#define S_ONE   (1u << ONE)
#define S_TURN  (1u << TURN)
#define S_SEAL  (1u << SEAL)
#define S_FULL  (1u << FULL)
#define S_WRAP  (1u << WRAP)

#define S_PEER (S_EMPTY | S_ONE | S_TURN | S_WRAP)

/* clang-format off */
const struct op kp_ops[] = {
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

const uint32_t kp_n_ops = lengthof(kp_ops);
