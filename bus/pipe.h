/*
 * pipe.h - one end of a pipe, as its parts know it; private to a process
 *
 *	pipe.c           whose it is: make, open, use, hand over, close
 *	pipe_peer.c      waiting for the peer, and its death
 *	pipe_send.c      sending, whole or in parts
 *	pipe_recv.c      receiving
 *	pipe_exchange.c  both at once
 *	pipe_side.c      the words in shared memory
 *
 * What goes through a direction are records of lib/spsc.h; the two of a duplex
 * pipe share a line for short messages that answer each other.  Their kinds:
 *
 *	PLAIN    a message
 *	FRAGMENT struct bus_fragment, and that part of a message
 *	MARK     a new writer begins here, and the one before it died
 *
 * Fragments of a message follow each other.  One with offset 0, or a PLAIN, in
 * the middle of a message says that the rest of that will never come: its
 * writer gave up (a time-out, a cancel), or left.  A MARK there says that it
 * died.  A fragment that continues nothing is the rest of a message whose
 * beginning another reader has taken; it is skipped.
 */
#ifndef BUS_PIPE_H
#define BUS_PIPE_H

#include "bus/bus.h"
#include "bus/pipe_side.h"
#include "lib/fd.h"

enum { BUS_REC_PLAIN, BUS_REC_FRAGMENT, BUS_REC_MARK };

struct bus_fragment {
	uint64_t id; /* of the message, by its writer's count */
	uint64_t offset_bytes;
	uint64_t total_bytes;
};

static_assert(sizeof(struct bus_fragment) == 24, "fragment");

/* No message is larger; a reader takes what says so for nonsense. */
#define BUS_PIPE_MESSAGE_MAX (SIZE_MAX / 2)

/* Of no process: no short way. */
#define BUS_NO_GEN UINT32_MAX

struct bus_pipe {
	/* the short ways; sb_fork_gen when there is nothing to look at but
	 * the peer and the slots: see bus_pipe_set_ways() */
	uint32_t tx_gen, rx_gen;
	bool asym;                     /* of bells */
	uint32_t n_glances;            /* looks for an answer before a wait */
	size_t small_bytes;            /* largest that needs no thought */
	_Atomic uint64_t *peer;        /* its word */
	struct bus_pipe_dir *out, *in; /* NULL: not in this pipe */
	struct bus *bus;
	struct sb_spsc_tx tx;
	struct sb_spsc_rx rx;

	struct bus_pipe *next;
	struct bus_pipe_head *head;
	uint32_t idx;  /* of the channel */
	uint32_t side; /* ours */
	uint64_t inst; /* a word with our instance */
	/* copies, checked */
	uint64_t slot_bytes;
	uint32_t profile, flags;

	/* whose it is */
	bool owned;          /* by us, if the process has not forked since */
	bool done;           /* this copy was closed before anybody used it */
	bool named;          /* somebody was told of the end: bus_pipe_ref() */
	uint32_t can;        /* BUS_PIPE_SEND, BUS_PIPE_RECV, not closed yet */
	uint32_t made_gen;   /* the process that has made it ... */
	uint32_t made_forks; /* ... and how often it had forked */

	/* the peer */
	uint64_t seen_peer;    /* its word, when we last looked who it is */
	struct sb_watch watch; /* fd -1: none */
	struct sb_fd_id watch_id;
	uint32_t n_polls;
	uint32_t n_unchecked, check_every; /* sends: bus_pipe_sent_some() */
	uint64_t last_poll_ns;

	/* what is half sent */
	bool mark;   /* a MARK goes first: our word says HALF */
	bool loaned; /* a part is on loan: */
	bool loaned_whole;
	uint32_t loan_gen; /* lent on the short way, in this process */
	void *loan_data;
	size_t loan_len, loan_total;
	bool sending; /* in parts: */
	size_t send_total, send_done;
	uint64_t send_id;

	/* what is half received */
	bool receiving; /* in parts: */
	bool released;  /* and some of them are gone */
	uint64_t recv_id;
	size_t recv_total, recv_done;
	unsigned char *keep; /* recv_done bytes of it, or NULL; may be all */

	/* what peek said */
	const void *peek_data; /* NULL: nothing */
	bool peek_kept;        /* it is keep */
	bool peek_plain;       /* a whole message */
	uint32_t peek_lap;
	uint32_t peek_met;
	const unsigned char *peek_at;

	/* an exchange that is not over */
	struct {
		bool on, sent, received;
		size_t out_bytes, done;
		uint64_t id;
	} x;
};

/* Find out anew whether the short ways may be taken. */
void bus_pipe_set_ways(struct bus_pipe *p);

/*
 * bus_pipe_use - first thing in every call that is not on a short way
 * @which: BUS_PIPE_SEND, BUS_PIPE_RECV that it needs, or 0
 *
 * Makes the end ours if it is nobody's yet.  Returns 0, -EBADF, -EPIPE (it was
 * lost with its maker), -EPROTO, or why we are no endpoint.
 */
int bus_pipe_use(struct bus_pipe *p, uint32_t which);

/* A MARK was published: the reader finds the death there, or has found it. */
void bus_pipe_marked(struct bus_pipe *p);

/* Watch the peer no more. */
void bus_pipe_unwatch(struct bus_pipe *p);

/* Is the peer somebody else than when we last looked?  Then watch that one. */
void bus_pipe_look_at_peer(struct bus_pipe *p);

/* For a call that never waits: look for a death now and then. */
void bus_pipe_poll_peer(struct bus_pipe *p);

/* For one who sends and never has to wait.  Call bus_pipe_count_call(). */
#define BUS_PIPE_CHECK_MAX 63
void bus_pipe_sent_some(struct bus_pipe *p);

/* Is it time for that? */
SB_INLINE bool bus_pipe_counted_call(struct bus_pipe *p)
{
	return ++p->n_unchecked > p->check_every;
}

SB_INLINE void bus_pipe_count_call(struct bus_pipe *p)
{
	if (sb_unlikely(bus_pipe_counted_call(p)))
		bus_pipe_sent_some(p);
}

/* What a call waits for: its arguments for sb_waiter_wait(). */
struct bus_pipe_wait {
	struct bus_pipe *p;
	bool recv;   /* a record, or the end */
	size_t room; /* a record of that length; SIZE_MAX: not for that */
	/* private */
	bool paused;
	bool busy;         /* we have been once, and then we were here: */
	uint32_t lap, met; /* of rx */
	uint32_t n_waits;
};

/* Wait until something can be done.  0, -ETIMEDOUT, -EINTR. */
int bus_pipe_wait(struct bus_pipe_wait *w, uint64_t deadline);

/* Is there something?  The same as a condition: 0, -EAGAIN. */
int bus_pipe_try(struct bus_pipe_wait *w, bool sure);

/* A message on its way out. */
struct bus_out {
	const unsigned char *buf;
	size_t len, done;
	uint64_t id; /* when it goes in parts */
};

/* Send as much of it as there is room for.  0 when it is done, -EAGAIN: wait
 * for room for *@need; -EINPROGRESS: look at the clock and go on; -EPIPE,
 * -EPROTO. */
int bus_pipe_push(struct bus_pipe *p, struct bus_out *o, size_t *need);

/* A message on its way in. */
struct bus_in {
	unsigned char *buf;
	size_t cap, len;
	bool exact; /* it has to be as long as the buffer */
};

/*
 * Receive as much of it as is there.  0 when it is done, -EAGAIN: wait;
 * -EINPROGRESS: look at the clock and go on; -EMSGSIZE (len is what it needs),
 * -EPIPE, -EOWNERDEAD, -EBUSY, -EPROTO.
 *
 * Until it is done call again, or bus_pipe_keep(), which moves what is in the
 * buffer to where the next call finds it: 0 or -ENOMEM.  Or, when it is done,
 * bus_pipe_put_back(): then it is the next one to be received again.
 */
int bus_pipe_pull(struct bus_pipe *p, struct bus_in *in);
int bus_pipe_keep(struct bus_pipe *p, const struct bus_in *in);
int bus_pipe_put_back(struct bus_pipe *p, const struct bus_in *in);

/* Does @peer, its word, say that no more comes of what we are waiting for?  It
 * has ended, or is another's than his who has sent us half a message. */
SB_INLINE bool bus_pipe_ends(const struct bus_pipe *p, uint64_t peer)
{
	return (peer & BUS_SIDE_TX_GONE) ||
	       (p->receiving && (peer & BUS_SIDE_HALF));
}

/* Is what we keep a message that was put back? */
SB_INLINE bool bus_pipe_has_whole(const struct bus_pipe *p)
{
	return p->keep && p->recv_done == p->recv_total;
}

/*
 * Of the message that we are in the middle of, parts were released: -EBUSY,
 * until what comes is another one, or no more comes: then 0, or -EOWNERDEAD,
 * -EPIPE, -EPROTO as of a call that receives.
 */
int bus_pipe_check_parts(struct bus_pipe *p);

/* Forget what was half received. */
void bus_pipe_drop_partial(struct bus_pipe *p);

/* What bus_pipe_poll() answers: 0 or -EAGAIN. */
int bus_pipe_readable(struct bus_pipe *p);

/* The largest message that is better sent whole than in parts. */
SB_INLINE size_t bus_pipe_whole_max(const struct bus_pipe *p)
{
	return p->tx.cap - 16;
}

/* Absolute, of a call's timeout; 0 for 0. */
SB_INLINE uint64_t bus_pipe_deadline(int64_t timeout_ns)
{
	return timeout_ns ? sb_deadline(timeout_ns) : 0;
}

/*
 * bus_pipe_again - push, pull, look said @ret: may they go on?
 *
 * Waits if that is what it takes.  A peer that keeps us busy cannot keep us
 * over the deadline; and where there is none to wait for, 0, not for longer
 * than it takes to receive what was there.  Returns 0 to try again, or what the
 * call answers.
 */
int bus_pipe_again(struct bus_pipe_wait *w, int ret, uint64_t deadline);

/* How much is done between two looks at the clock, in bytes; a record counts as
 * a page at least. */
#define BUS_PIPE_STRETCH (1u << 20)

/* Use up @done of it.  True when it is time to look. */
SB_INLINE bool bus_pipe_tired(size_t *stretch, size_t done)
{
	if (done < 4096)
		done = 4096;
	*stretch += done;
	return *stretch >= BUS_PIPE_STRETCH;
}

SB_INLINE bool bus_pipe_any_to_wake(struct bus_pipe *p)
{
	sb_fence_light(p->asym); /* K2 <-> S3 */
	return sb_sleepers_any(&p->out->rx);
}

SB_INLINE void bus_pipe_wake_reader(struct bus_pipe *p)
{
	if (sb_unlikely(bus_pipe_any_to_wake(p))) {
		sb_wake_slow(&p->out->rx, &p->bus->bells, 1);
		/* So does one who died in its sleep: look at it. */
		p->n_unchecked = p->check_every;
	}
}

#endif
