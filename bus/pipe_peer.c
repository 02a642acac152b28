/*
 * pipe_peer.c - waiting for the peer of a pipe, and learning of its death
 *
 * The peer's process is watched by its pidfd, in every wait, for as long as the
 * pipe is open.  Who it is may change: nobody, then a maker, a process that it
 * was handed to, an endpoint.  Each change rings us, and before we sleep we
 * look (bus_pipe_look_at_peer).  Where there is no pidfd to be had, the
 * heartbeat of bus/recover.c finds the death, some hundred ms later.
 *
 * A death that the pidfd has told of is recovered here and now, by ourselves:
 * somebody else may be at it and not get on.  Then the side's word says so, and
 * everybody else who waits is rung by the recovery.
 */
#include "config.h"

#include <poll.h>
#include <unistd.h>

#include "bus/endpoint.h"
#include "bus/pipe.h"
#include "bus/recover.h"
#include "lib/clock.h"

/* ----------------------------------------------------------------- peer -- */

void bus_pipe_unwatch(struct bus_pipe *p)
{
	if (p->watch.fd < 0)
		return;
	sb_waiter_unwatch(&p->bus->waiter, &p->watch);
	if (sb_fd_is(p->watch.fd, p->watch_id, "pidfd"))
		close(p->watch.fd);
	p->watch.fd = -1;
}

/* Whoever has the peer's word is dead, or is no endpoint any more. */
static void peer_died(struct bus_pipe *p)
{
	uint64_t w = ld_acq(p->peer);
	uint32_t who = bus_side_who(w);
	struct sb_proc_id id = { 0 };
	int ret;

	if (bus_side_state(w) == BUS_SIDE_RESERVED) {
		bus_side_recover_reserved(p->bus, p->head);
		return;
	}
	ret = bus_side_process(p->bus, p->head, 1 - p->side, w, &id);
	if (ret == 0)
		bus_recover_pid(p->bus, (pid_t)id.pid);
	else if (ret == -ESRCH)
		bus_recover_dead(p->bus);
	/* Somebody else may be at its recovery, and not get on.  Its id may be
	 * another's by now, who sleeps: that one's bits are not ours to clear,
	 * and bits that the dead has left do no harm if all are rung. */
	if (bus_side_process(p->bus, p->head, 1 - p->side, w, &id) == -ESRCH) {
		bus_side_end(p->head, who, id.pid);
		bus_pipe_wake_all(p->bus, p->head);
	}
}

static void peer_ready(void *arg, uint32_t events)
{
	struct bus_pipe *p = arg;
	struct pollfd pfd = { .fd = p->watch.fd, .events = POLLIN };

	(void)events;
	if (poll(&pfd, 1, 0) != 1)
		return;
	if (pfd.revents & POLLNVAL) { /* the program has closed it under us */
		sb_waiter_unwatch(&p->bus->waiter, &p->watch);
		p->watch.fd = -1;
	} else if (pfd.revents & POLLIN) {
		bus_pipe_unwatch(p);
		/* Should the word not change now, we look again. */
		p->seen_peer = 0;
		peer_died(p);
	}
}

void bus_pipe_look_at_peer(struct bus_pipe *p)
{
	uint64_t w = ld_acq(p->peer) & ~BUS_SIDE_PASSING;
	struct sb_proc_id id;
	int fd;

	if (sb_likely(w == p->seen_peer))
		return;
	bus_pipe_unwatch(p);
	p->seen_peer = w;
	fd = bus_side_process(p->bus, p->head, 1 - p->side, w, &id);
	if (fd == -ENOENT || (fd == 0 && id.pid == (uint32_t)getpid()))
		return;
	if (fd == 0)
		fd = sb_proc_open(id);
	if (fd == -ESRCH) {
		peer_died(p);
		return;
	}
	if (fd < 0)
		return; /* then the heartbeat tells */
	p->watch = (struct sb_watch){
		.fd = fd, .events = POLLIN, .ready = peer_ready, .arg = p
	};
	p->watch_id = sb_fd_id(fd);
	sb_waiter_watch(&p->bus->waiter, &p->watch);
}

/* At most once a millisecond: is the peer dead?  False when it was not time. */
static bool check_peer(struct bus_pipe *p)
{
	uint64_t now = sb_now_ns();

	if (now - p->last_poll_ns < SB_NS_PER_MS)
		return false;
	p->last_poll_ns = now;
	bus_pipe_look_at_peer(p);
	if (p->watch.fd >= 0)
		peer_ready(p, 0);
	return true;
}

void bus_pipe_poll_peer(struct bus_pipe *p)
{
	if (++p->n_polls % 64 == 0)
		check_peer(p);
}

/* As many sends go by between two looks as make about a millisecond: the one
 * who sends seldom looks each time, and the one who sends fast hardly ever. */
void bus_pipe_sent_some(struct bus_pipe *p)
{
	p->n_unchecked = 0;
	if (check_peer(p))
		p->check_every /= 2;
	else if (p->check_every < BUS_PIPE_CHECK_MAX)
		p->check_every += p->check_every + 1;
}

/* -------------------------------------------------------------- waiting -- */

int bus_pipe_try(struct bus_pipe_wait *w, bool sure)
{
	struct bus_pipe *p = w->p;
	const void *data;
	void *room;
	size_t len;
	uint32_t kind;
	uint64_t peer;

	if (sb_unlikely(sure))
		bus_pipe_look_at_peer(p);
	/* It may turn, and what is on loan is not where that would go. */
	assert(w->room == SIZE_MAX || !p->loaned);
	peer = ld_acq(p->peer); /* V2 <- V1 */
	if (w->recv && (sb_spsc_front(&p->rx, &data, &len, &kind) != -EAGAIN ||
			bus_pipe_ends(p, peer)))
		return 0;
	if (w->room != SIZE_MAX &&
	    ((peer & BUS_SIDE_RX_GONE) ||
	     sb_spsc_room(&p->tx, w->room, &room) != -EAGAIN))
		return 0;
	return -EAGAIN;
}

static int try_pipe(void *arg, bool sure)
{
	return bus_pipe_try(arg, sure);
}

int bus_pipe_wait(struct bus_pipe_wait *w, uint64_t deadline)
{
	struct sb_wait wait = { .try_ = try_pipe, .arg = w };
	int ret;

	if (w->recv)
		wait.sets[wait.n_sets++] = &w->p->in->rx;
	if (w->room != SIZE_MAX)
		wait.sets[wait.n_sets++] = &w->p->out->tx;
	ret = bus_sleep(w->p->bus, &wait, deadline);
	bus_publish_counts(w->p->bus);
	return ret;
}

static bool is_late(uint64_t deadline)
{
	return deadline != SB_FOREVER && sb_now_ns() >= deadline;
}

/* Have we received all that was there when we were first asked?  That was in
 * two slots, and perhaps one record in the line. */
static bool had_all(struct bus_pipe_wait *w)
{
	const struct sb_spsc_rx *rx = &w->p->rx;

	if (!w->recv)
		return false;
	if (w->busy)
		return rx->lap - w->lap >= 2 || rx->met - w->met >= 2;
	w->busy = true;
	w->lap = rx->lap;
	w->met = rx->met;
	return false;
}

/* A wait that ends at its first try has not looked at the clock.  So a peer
 * that is always just in time is looked through after so many of them. */
#define WAITS_A_LOOK 16u

int bus_pipe_again(struct bus_pipe_wait *w, int ret, uint64_t deadline)
{
	if (ret == -EINPROGRESS && deadline)
		return is_late(deadline) ? -ETIMEDOUT : 0;
	if (ret == -EINPROGRESS)
		ret = had_all(w) ? -EAGAIN : 0;
	if (ret != -EAGAIN)
		return ret;
	if (!deadline) {
		bus_pipe_poll_peer(w->p);
		return -EAGAIN;
	}
	if (w->recv && w->room == SIZE_MAX && !w->paused &&
	    sb_spsc_pause(&w->p->rx)) {
		w->paused = true; /* once, then look and wait */
		return 0;
	}
	w->paused = false;
	ret = bus_pipe_wait(w, deadline);
	if (!ret && ++w->n_waits % WAITS_A_LOOK == 0 && is_late(deadline))
		ret = -ETIMEDOUT;
	return ret;
}

/* --------------------------------------------------------- for bus_wait -- */

struct bus *bus_pipe_endpoint(const struct bus_pipe *p)
{
	return p->bus;
}

struct sb_sleepers *bus_pipe_sleepers(struct bus_pipe *p, uint32_t event)
{
	struct bus_pipe_dir *out = p->out ? p->out : p->in;
	struct bus_pipe_dir *in = p->in ? p->in : p->out;

	/* Both are rung when the peer closes or dies. */
	return event == BUS_POLL_OUT ? &out->tx : &in->rx;
}

uint32_t bus_pipe_ready(struct bus_pipe *p, uint32_t events, bool sure)
{
	struct bus_pipe_wait w = { .p = p };
	uint32_t ready = 0, want = 0;
	uint64_t peer;
	int ret;

	if (events & BUS_POLL_IN)
		want |= BUS_PIPE_RECV;
	if (events & BUS_POLL_OUT)
		want |= BUS_PIPE_SEND;
	ret = bus_pipe_use(p, want);
	if (!ret && !p->can)
		ret = -EBADF; /* closed: what is there now is not ours */
	if (ret)
		return ret == -EPIPE ? BUS_POLL_HUP | events : BUS_POLL_ERR;
	if (sure)
		bus_pipe_look_at_peer(p);
	if (want & BUS_PIPE_SEND) {
		/* A part on loan is room, and to ask for more may turn.  A MARK
		 * in front of it is no more than a header. */
		w.room = bus_pipe_whole_max(p) / 4 + (p->mark ? 8 : 0);
		if (p->loaned || !bus_pipe_try(&w, false))
			ready |= BUS_POLL_OUT;
	}
	if ((want & BUS_PIPE_RECV) && !bus_pipe_readable(p))
		ready |= BUS_POLL_IN;
	/* Last, and what it says counts for all of them: a peer that goes now
	 * must not be seen gone by one look and there by another. */
	peer = ld_acq(p->peer); /* V2 <- V1 */
	if ((want & BUS_PIPE_RECV) && bus_pipe_ends(p, peer))
		ready |= BUS_POLL_IN;
	if ((want & BUS_PIPE_SEND) && (peer & BUS_SIDE_RX_GONE))
		ready |= BUS_POLL_OUT;
	if (bus_side_over(peer))
		ready |= BUS_POLL_HUP;
	if ((p->can & BUS_PIPE_SEND) && (peer & BUS_SIDE_RX_GONE))
		ready |= BUS_POLL_ERR;
	return ready;
}
