/*
 * kill_pipe.h - a point of bustorture's kill/pipe, as the parts of it know it
 *
 *	kill_pipe.c         what it is; a point from beginning to end; the cases
 *	kill_pipe_ops.c     the operations in which a victim is killed
 *	kill_pipe_peer.c    messages, and what a survivor does with them
 *	kill_pipe_set_up.c  the processes, and how they get ready
 *	kill_pipe_after.c   the survivors after the death, and who comes new
 *	kill_pipe_audit.c   what was left, what must be said, what is free again
 */
#ifndef TORTURE_KILL_PIPE_H
#define TORTURE_KILL_PIPE_H

#include "bus/pipe.h"
#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define SLOT     256u
#define MID      100u
#define BIG      600u
#define LONG     1000u /* in slots that grow */
#define MSG_MAX  1024u
#define N_MSGS   256
#define N_EVENTS 256
#define N_HAND   3 /* messages that one call may take */
#define MAX_EP   8

/* What is in the pipe: messages that nobody has read.  WRAP: none, but both
 * slots have been used before.  FULL: no room for one more. */
enum state { EMPTY, ONE, TURN, SEAL, FULL, WRAP, N_STATES };

enum peer { POLL, SPIN, FUTEX, URING, N_PEERS };

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

/* All of them. */
extern const struct op kp_ops[];
extern const uint32_t kp_n_ops;

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
struct shared {
	_Atomic int32_t victim_pid, heir_pid;
	_Atomic uint32_t seized, over;
	_Atomic uint32_t put[2][N_MSGS];
	struct log log[2];
	/* Messages that the victim's calls have received, and how many the
	 * call that it is in may take: n << 8 | hand. */
	_Atomic uint32_t taken;
	unsigned char buf[N_HAND][MSG_MAX]; /* of that call */
	const char *_Atomic wrong_file; /* a call was not as it should be: */
	_Atomic uint32_t wrong;         /* ... in that line, */
	_Atomic int32_t wrong_ret;      /* ... and said this */
	_Atomic uint32_t peer_ready, n_ends;
	_Atomic uint64_t end_ns;
	_Atomic uint32_t dead, early, half_closed;
	_Atomic int32_t heir_ret;
	_Atomic uint32_t heir_done;
};

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

#define NO_FRONT UINT32_MAX

/* Of the point that this shard is at; in its processes, too. */
extern struct kp {
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

	struct shared *sh;
	struct bus *bus;
	struct end mine;     /* the peer's end, in whatever process that is */
	struct bus_pipe *vp; /* the victim's */
	struct t_gate gate, heir_gate;
	bool have_uring;
	/* The victim's messages, made beforehand, one after the other when all
	 * are MID bytes long. */
	unsigned char msg[4][MSG_MAX], mids[4 * MID];
} kp;

/* A call said @ret, which it should not, or a message is none. */
void kp_wrong(const char *file, int line, int ret);

#define WRONG(ret) kp_wrong(__FILE__, __LINE__, ret)

/* ------------------------------------------------------ kill_pipe_peer.c -- */

size_t kp_len_of(uint32_t dir, uint32_t i);
size_t kp_write_message(unsigned char *to, uint32_t dir, uint32_t i);

/* Its number, or N_MSGS when it is garbage. */
uint32_t kp_read_message(uint32_t dir, const unsigned char *from, size_t len);

/* Make it an end that does @job. */
void kp_set_end(struct end *e, enum job job, uint32_t in);

/* Do it once.  0 or -EAGAIN; -EPIPE at the end. */
int kp_do_job(struct end *e, int64_t timeout_ns);
int kp_write_job(struct end *e, int64_t timeout_ns);

/* It was told of the end often enough; and then it shall try once more. */
bool kp_at_end(const struct end *e);
void kp_go_on(struct end *e);

/* All that can be called at the end says so. */
void kp_check_end(struct end *e);

/* ------------------------------------------------------- kill_pipe_ops.c -- */

struct bus_pipe_config kp_pipe_settings(void);
int kp_open_side(uint32_t side, struct bus_pipe **p);

/* The victim's calls: its message @i; @n messages. */
void kp_send_one(uint32_t i);
void kp_exchange_one(uint32_t i);
void kp_recv_n(uint32_t n);

/* ---------------------------------------------------- kill_pipe_set_up.c -- */

struct bus_config kp_bus_settings(void);

/* The peer's end. */
int kp_open_mine(void);

/* Everybody is where the operation begins, and the victim is seized. */
void kp_set_up(void);

/* One that spins stands still while the victim does its steps. */
void kp_stop_peer(void);
void kp_let_peer_go(void);

/* ----------------------------------------------------- kill_pipe_after.c -- */

/* Did the peer, and who comes after the victim, get on? */
bool kp_peer_survives(void);

/* The peer leaves; killed, if it is not @well. */
void kp_end_peer(bool well);

/* ----------------------------------------------------- kill_pipe_audit.c -- */

/* The word of the victim's side.  Does it say that somebody has it, or had? */
uint64_t kp_side_word(void);
bool kp_is_taken(uint64_t word);

/* Is a message half sent in this direction?  *@at is where its last part is. */
bool kp_is_half_sent(uint32_t dir, uint64_t *at);

/* The victim stands still.  What will be left of it? */
void kp_look(void);

/* What the survivors received; for who looks at one point, all of it. */
void kp_check_messages(void);
void kp_dump(void);

/* Both sides were somebody's who is dead: the pipe is made anew. */
void kp_check_last(void);

/* Nothing is left. */
void kp_audit(void);

#endif
