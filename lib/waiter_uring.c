/*
 * waiter_uring.c - io_uring back-end of waiter.c
 *
 * The only file that knows liburing.  One io_uring_enter() a park sleeps on
 * the bell (FUTEX_WAIT), on every watched descriptor (POLL_ADD) and on a time
 * limit.  liburing got helpers for futexes with 2.6, after Debian 12's 2.3,
 * so that SQE is filled in by hand, and the kernel is asked by trying.
 *
 * The FUTEX_WAIT stays armed over time-outs and other events, and while we do
 * something else: a cancel costs more than a park saves.  That is right only
 * because nobody else sleeps on our bell, so nobody's wake can be eaten.  It
 * may be armed with an older value than S1's:
 *
 *	armed now	the kernel compares with S1's value and queues in one
 *			step, as futex(2) does: S5 <- K5
 *	armed before	the bell was as in S1 a moment ago (we look); every
 *			later K5 finds us queued, and its completion, perhaps
 *			already pending, ends this or the next enter at once
 *
 * A watch is known to the kernel by a token that is never used twice, not by
 * its address: a completion that comes late finds nobody.
 *
 * The ring takes requests only from the thread that made it (SINGLE_ISSUER),
 * and runs its completions only inside io_uring_enter (DEFER_TASKRUN): without
 * that, they would interrupt the system calls of the program around us.  It
 * is registered with the thread and its descriptor closed, so that a forked
 * child inherits nothing, and a program that closes all descriptors does not
 * close this one.  Where that is not possible the descriptor stays.
 *
 * Killed at any point: the exit of the thread cancels what is armed, before
 * the death can be seen through a pidfd.  A process that is stopped and then
 * killed still takes a wake: recovery wakes everybody (sb_wake_all).
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <liburing.h>

#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/proc.h"
#include "lib/waiter_impl.h"

/* ABI of the kernel, younger than liburing 2.3's headers. */
#define OP_FUTEX_WAIT        51u  /* 6.7 */
#define FUTEX_SIZE_U32       0x02 /* FUTEX2_SIZE_U32, not private */
#define FUTEX_MATCH_ANY      0xffffffffu
#define FEAT_REG_REG_RING    (1u << 13) /* 6.3 */
#define FEAT_NO_IOWAIT       (1u << 17) /* 6.15 */
#define ENTER_NO_IOWAIT      (1u << 7)
#define REGISTER_BY_REG_RING (1u << 31)

/* Bell and a few watches go in one enter; more of them take more.  CQ 64 is
 * what still fits one page with the rest; the kernel keeps what overflows. */
#define SQ_ENTRIES 8
#define CQ_ENTRIES 64

/* user_data; watches have the numbers from TOKEN_WATCH on */
enum { TOKEN_NONE, TOKEN_BELL, TOKEN_WATCH };

struct sb_uring {
	struct io_uring ring;
	struct sb_fd_id fd_id; /* of ring.ring_fd */
	unsigned enter_flags;  /* of every enter */
	uint64_t next_token;
	pid_t tid; /* the one thread that may enter */
	bool registered;
	bool bell_armed;
};

/* Has it a descriptor, and is that still it? */
static bool has_fd(const struct sb_uring *u)
{
	return u->ring.ring_fd >= 0 &&
	       sb_fd_is(u->ring.ring_fd, u->fd_id, "[io_uring]");
}

static bool is_ours(const struct sb_waiter *w)
{
	return w->fork_gen == sb_fork_gen && w->uring->tid == gettid();
}

/*
 * Submit what is queued and wait for one completion, at most @ns; 0 does not
 * wait.  liburing's
 * own call for this cannot pass ENTER_NO_IOWAIT, without which an idle worker
 * is accounted as waiting for a disk; so the tail is published here.  Writing
 * the index array is right whether or not this liburing fills it in advance.
 *
 * Returns what the kernel says: -ETIME and -EINTR only when there was nothing
 * to submit.
 */
static int enter(struct sb_uring *u, uint64_t ns)
{
	struct io_uring_sq *sq = &u->ring.sq;
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(ns / SB_NS_PER_S),
		.tv_nsec = (long long)(ns % SB_NS_PER_S),
	};
	struct io_uring_getevents_arg arg = {
		.sigmask_sz = _NSIG / 8,
		.ts = (uintptr_t)&ts,
	};
	unsigned mask = *sq->kring_mask;
	unsigned tail = *sq->ktail;
	unsigned fd = (unsigned)u->ring.enter_ring_fd;

	for (; sq->sqe_head != sq->sqe_tail; sq->sqe_head++, tail++)
		if (sq->array)
			sq->array[tail & mask] = sq->sqe_head & mask;
	io_uring_smp_store_release(sq->ktail, tail);

	unsigned n = tail - io_uring_smp_load_acquire(sq->khead);

	if (ns == 0)
		return io_uring_enter2(fd, n, 0, u->enter_flags, NULL, 0);
	return io_uring_enter2(fd, n, 1,
			       u->enter_flags | IORING_ENTER_GETEVENTS |
				       IORING_ENTER_EXT_ARG,
			       (sigset_t *)(void *)&arg, sizeof(arg));
}

static struct io_uring_sqe *get_sqe(struct sb_uring *u)
{
	struct io_uring_sqe *q = io_uring_get_sqe(&u->ring);

	if (!q && enter(u, 0) > 0)
		q = io_uring_get_sqe(&u->ring);
	return q;
}

static void prep_futex_wait(struct io_uring_sqe *q, const void *word,
			    uint32_t seen, uint64_t token)
{
	memset(q, 0, sizeof(*q)); /* -EINVAL if len, flags, ... are not 0 */
	q->opcode = OP_FUTEX_WAIT;
	q->fd = FUTEX_SIZE_U32; /* the flags go here */
	q->addr = (uintptr_t)word;
	q->off = seen;
	q->addr3 = FUTEX_MATCH_ANY;
	q->user_data = token;
}

/* What a descriptor that cannot be polled is to its watcher. */
static uint32_t poll_error(int error)
{
	return error == -EBADF ? POLLNVAL : POLLERR;
}

/* Returns 0, or why the bell cannot be waited for. */
static int complete(struct sb_waiter *w, uint64_t token, int res)
{
	struct sb_watch *x = w->watches;

	if (token == TOKEN_BELL) {
		w->uring->bell_armed = false;
		return res < 0 && res != -EAGAIN && res != -EINTR &&
				       res != -ECANCELED
			       ? res
			       : 0;
	}
	while (x && (!x->armed || x->token != token))
		x = x->next;
	if (!x)
		return 0;
	x->armed = false;
	if (res != -ECANCELED && !x->stale) {
		x->fired |= res < 0 ? poll_error(res) : (uint32_t)res;
		w->fired = true;
	}
	x->stale = false;
	return 0;
}

/* Take all completions.  Returns how many, or why the bell cannot be waited
 * for. */
static int reap(struct sb_waiter *w)
{
	struct io_uring *ring = &w->uring->ring;
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	int error = 0;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		int ret = complete(w, cqe->user_data, cqe->res);

		if (ret < 0)
			error = ret;
		n++;
	}
	io_uring_cq_advance(ring, n);
	return error ? error : (int)n;
}

static int arm(struct sb_waiter *w, uint32_t seen)
{
	struct sb_uring *u = w->uring;

	if (!u->bell_armed) {
		struct io_uring_sqe *q = get_sqe(u);

		if (!q)
			return -EBUSY;
		prep_futex_wait(q, sb_own_bell(w), seen, TOKEN_BELL);
		u->bell_armed = true;
	}
	for (struct sb_watch *x = w->watches; x; x = x->next) {
		if (x->armed)
			continue;

		struct io_uring_sqe *q = get_sqe(u);

		if (!q)
			return -EBUSY;
		io_uring_prep_poll_add(q, x->fd, x->events);
		q->user_data = x->token = u->next_token++;
		x->armed = true;
		x->stale = false;
	}
	return 0;
}

int sb_uring_park(struct sb_waiter *w, uint32_t seen, uint64_t ns)
{
	uint64_t until = 0;

	if (ld_rlx(sb_own_bell(w)) != seen)
		return 0; /* see "armed before" above */

	int ret = arm(w, seen);

	if (ret < 0)
		return ret;
	if (w->wants_eintr)
		until = sb_now_ns() + ns;

	int entered = enter(w->uring, ns); /* S5 <- K5 */
	int n = reap(w);

	if (n != 0)
		return n < 0 ? n : 0;
	if (entered == -ETIME)
		return 0;
	if (entered < 0)
		return entered;
	/* With something submitted the kernel reports that, and not how the
	 * sleep ended.  Neither an event nor the time: it was a signal. */
	return until && sb_now_ns() < until ? -EINTR : 0;
}

/*
 * Cancel the request with @token, and wait until *armed says that it has
 * completed.  Every request completes once, so this ends; the limit of about
 * a second is for a kernel that disagrees.
 */
static void cancel(struct sb_waiter *w, uint64_t token, const bool *armed)
{
	struct io_uring_sqe *q = get_sqe(w->uring);

	if (!q)
		return;
	io_uring_prep_cancel64(q, token, 0);
	q->user_data = TOKEN_NONE;
	for (int i = 0; *armed && i < 100; i++) {
		int ret = enter(w->uring, 10 * SB_NS_PER_MS);

		if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EBUSY)
			return;
		reap(w);
	}
}

void sb_uring_disarm(struct sb_waiter *w, struct sb_watch *watch)
{
	if (w->uring && watch->armed && is_ours(w))
		cancel(w, watch->token, &watch->armed);
	watch->armed = false;
	watch->stale = false;
}

/* Set-up ladder: what the kernel does not know it calls -EINVAL. */
static int setup(struct io_uring *ring)
{
	static const unsigned ladder[] = {
		/* 6.1 */
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		/* 5.19 */
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int ret = -EINVAL;

	for (size_t i = 0; ret == -EINVAL && i < 3; i++) {
		struct io_uring_params p = {
			.flags = ladder[i] | IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};

		ret = io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
	}
	return ret;
}

/* Optional: an enter is 50 ns cheaper, and the descriptor can go. */
static void register_ring(struct sb_uring *u)
{
	if (io_uring_register_ring_fd(&u->ring) != 1)
		return;
	u->registered = true;
	u->enter_flags |= IORING_ENTER_REGISTERED_RING;
	if (u->ring.features & FEAT_REG_REG_RING) {
		close(u->ring.ring_fd);
		u->ring.ring_fd = -1;
	}
}

/* A wait for a value that the word does not have must say so. */
static int probe(struct sb_uring *u)
{
	static const uint32_t word;
	struct io_uring_sqe *q = io_uring_get_sqe(&u->ring);
	struct io_uring_cqe *cqe;
	unsigned head;

	if (!q)
		return -ENOSYS;
	prep_futex_wait(q, &word, 1, TOKEN_NONE);
	for (int i = 0; i < 10; i++) {
		int ret = enter(u, SB_NS_PER_S);

		io_uring_for_each_cqe(&u->ring, head, cqe)
		{
			ret = cqe->res;
			io_uring_cq_advance(&u->ring, 1);
			if (ret == -EAGAIN)
				return 0;
			/* before 6.7 the opcode is unknown */
			return ret == -EINVAL || ret >= 0 ? -ENOSYS : ret;
		}
		if (ret < 0 && ret != -EINTR)
			return ret;
	}
	return -ENOSYS;
}

static void destroy(struct sb_uring *u)
{
	/* liburing 2.3 would name the ring by the descriptor that is closed */
	if (u->registered && u->ring.ring_fd < 0) {
		struct io_uring_rsrc_update up = {
			.offset = (unsigned)u->ring.enter_ring_fd,
		};

		io_uring_register((unsigned)u->ring.enter_ring_fd,
				  IORING_UNREGISTER_RING_FDS |
					  REGISTER_BY_REG_RING,
				  &up, 1);
	}
	io_uring_queue_exit(&u->ring);
	free(u);
}

int sb_uring_open(struct sb_waiter *w)
{
	struct sb_uring *u = calloc(1, sizeof(*u));
	int ret = u ? setup(&u->ring) : -ENOMEM;

	if (ret < 0)
		goto err_free;
	u->fd_id = sb_fd_id(u->ring.ring_fd);
	u->tid = gettid();
	u->next_token = TOKEN_WATCH;
	ret = -ENOSYS;
	if (!(u->ring.features & IORING_FEAT_EXT_ARG))
		goto err_exit;
	if (u->ring.features & FEAT_NO_IOWAIT)
		u->enter_flags |= ENTER_NO_IOWAIT;
	io_uring_ring_dontfork(&u->ring);
	register_ring(u);
	ret = probe(u);
	if (ret < 0)
		goto err_exit;
	w->uring = u;
	return 0;

err_exit:
	destroy(u);
	return ret;
err_free:
	free(u);
	return ret;
}

/*
 * Drop a ring that we may not enter.  Its slot in the table of registered
 * rings is the owner's: the same number means another ring in ours, so
 * io_uring_queue_exit(), which would free that, is not for us.
 */
static void forget(struct sb_uring *u, bool forked)
{
	if (!forked) { /* a child does not have the mappings (dontfork) */
		struct io_uring_sq *sq = &u->ring.sq;
		struct io_uring_cq *cq = &u->ring.cq;

		munmap(sq->sqes,
		       *sq->kring_entries * sizeof(struct io_uring_sqe));
		if (cq->ring_ptr && cq->ring_ptr != sq->ring_ptr)
			munmap(cq->ring_ptr, cq->ring_sz);
		munmap(sq->ring_ptr, sq->ring_sz);
	}
	if (has_fd(u))
		close(u->ring.ring_fd);
	free(u);
}

void sb_uring_close(struct sb_waiter *w)
{
	struct sb_uring *u = w->uring;

	if (!u)
		return;
	if (is_ours(w) && (u->ring.ring_fd < 0 || has_fd(u))) {
		for (struct sb_watch *x = w->watches; x; x = x->next)
			sb_uring_disarm(w, x);
		if (u->bell_armed)
			cancel(w, TOKEN_BELL, &u->bell_armed);
		destroy(u);
	} else {
		forget(u, w->fork_gen != sb_fork_gen);
	}
	w->uring = NULL;
	for (struct sb_watch *x = w->watches; x; x = x->next)
		x->armed = x->stale = false;
}
