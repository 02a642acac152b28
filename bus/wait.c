/*
 * wait.c - bus_wait: wait for any of many
 *
 * Each look asks every item whether it is ready, and changes nothing: level-
 * triggered.  To sleep, our bit is set in the bitmap of every item that has
 * one, descriptors are watched, and timers bound the time.
 *
 * A wake that was meant for one reader of a queue may come to us, who take
 * nothing.  So if the queue still has what it was for when we leave, we hand
 * the wake on to another sleeper of that bitmap (more, in lib/waiter.h): who
 * waits here never keeps a message from one who would take it.
 *
 * Killed anywhere: as one who sleeps in each of those bitmaps; recovery clears
 * the bits and rings everybody.
 */
#include "config.h"

#include <poll.h>
#include <stdlib.h>

#include "bus/bus.h"
#include "bus/pipe.h"
#include "lib/clock.h"

/* A descriptor that is watched. */
struct watched {
	struct sb_watch watch;
	uint32_t got; /* poll(2) events since we last looked */
};

/* A bitmap that we sleep in. */
struct asleep {
	uint32_t item;
	uint32_t event;
};

struct waiting {
	struct bus *bus;
	struct bus_poll *items;
	size_t n;
	uint32_t n_sets;
	struct sb_sleepers **sets; /* 2 an item at most */
	struct asleep *asleep;     /* what each is for */
	struct watched *fds;       /* one an item; used for descriptors */
};

static bool has_valid_events(const struct bus_poll *it)
{
	uint32_t known = BUS_POLL_IN | BUS_POLL_OUT;

	if (it->kind == BUS_POLL_TIMER || it->kind == BUS_POLL_FUTURE)
		known = BUS_POLL_IN;
	return !(it->events & ~known);
}

static int check_item(const struct bus *bus, const struct bus_poll *it)
{
	const struct bus *owner = bus;

	switch (it->kind) {
	case BUS_POLL_QUEUE:
		owner = it->on.queue ? bus_queue_endpoint(it->on.queue) : NULL;
		break;
	case BUS_POLL_PIPE:
		owner = it->on.pipe ? bus_pipe_endpoint(it->on.pipe) : NULL;
		break;
	case BUS_POLL_COORD:
		owner = it->on.coord ? bus_coord_endpoint(it->on.coord) : NULL;
		break;
	case BUS_POLL_FUTURE:
		owner = it->on.future ? bus_future_endpoint(it->on.future)
				      : NULL;
		break;
	case BUS_POLL_NONE:
	case BUS_POLL_FD:
	case BUS_POLL_TIMER:
		break;
	default:
		return -EINVAL;
	}
	return owner == bus && has_valid_events(it) ? 0 : -EINVAL;
}

/* ----------------------------------------------------------- descriptors -- */

static short poll_events(const struct bus_poll *it)
{
	int events = 0;

	if (it->events & BUS_POLL_IN)
		events |= POLLIN;
	if (it->events & BUS_POLL_OUT)
		events |= POLLOUT;
	return (short)events;
}

static uint32_t from_poll(uint32_t got)
{
	uint32_t ready = 0;

	if (got & POLLIN)
		ready |= BUS_POLL_IN;
	if (got & POLLOUT)
		ready |= BUS_POLL_OUT;
	if (got & POLLHUP)
		ready |= BUS_POLL_HUP;
	if (got & (POLLERR | POLLNVAL))
		ready |= BUS_POLL_ERR;
	return ready;
}

/* Ask the kernel about all descriptors; some at a time, as there may be any
 * number. */
static void look_at_fds(struct bus_poll *items, size_t n)
{
	struct pollfd p[32];
	size_t at[32];
	nfds_t k = 0;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && items[i].kind == BUS_POLL_FD) {
			at[k] = i;
			p[k++] = (struct pollfd){ .fd = items[i].fd,
						  .events = poll_events(
							  &items[i]) };
		}
		if (k && (i == n || k == 32)) {
			if (poll(p, k, 0) < 0)
				k = 0;
			while (k) {
				k--;
				items[at[k]].ready = from_poll(
					(uint32_t)(unsigned short)p[k].revents);
			}
		}
	}
}

static void fd_ready(void *arg, uint32_t events)
{
	struct watched *w = arg;

	w->got |= events;
}

/* As with poll(2), a negative one is never ready: to watch it would be to be
 * told at once, for ever, that it is no descriptor. */
static bool is_watched(const struct bus_poll *it)
{
	return it->kind == BUS_POLL_FD && it->fd >= 0;
}

static void watch_fds(struct waiting *w, bool on)
{
	for (size_t i = 0; i < w->n; i++) {
		struct watched *x = &w->fds[i];

		if (!is_watched(&w->items[i]))
			continue;
		if (!on) {
			sb_waiter_unwatch(&w->bus->waiter, &x->watch);
			continue;
		}
		*x = (struct watched){
			.watch = { .fd = w->items[i].fd,
				   .events = (uint32_t)(unsigned short)
					   poll_events(&w->items[i]),
				   .ready = fd_ready,
				   .arg = x,
				   .soon = true }
		};
		sb_waiter_watch(&w->bus->waiter, &x->watch);
	}
}

/* What a wait was told is old as soon as we have looked ourselves: another may
 * have taken what was there.  What is still there is told again. */
static void forget_events(struct waiting *w)
{
	for (size_t i = 0; i < w->n; i++)
		w->fds[i].got = 0;
}

/* ------------------------------------------------------------------ look -- */

/* What is true of an item that is no descriptor. */
static uint32_t look(struct bus_poll *it, bool sure)
{
	switch (it->kind) {
	case BUS_POLL_QUEUE:
		return bus_queue_ready(it->on.queue, it->events, sure);
	case BUS_POLL_PIPE:
		return bus_pipe_ready(it->on.pipe, it->events, sure);
	case BUS_POLL_COORD:
		return bus_coord_ready(it->on.coord, it->events, sure);
	case BUS_POLL_FUTURE:
		return bus_future_ready(it->on.future) ? BUS_POLL_IN : 0;
	case BUS_POLL_TIMER:
		return sb_now_ns() >= it->at_ns ? BUS_POLL_IN : 0;
	default:
		return 0;
	}
}

/* Of which pool is it, unless the last one that we had is the same? */
static struct bus_pool *another_pool(const struct bus_poll *it,
				     struct bus_pool **last)
{
	struct bus_pool *pool;

	if (it->kind != BUS_POLL_FUTURE)
		return NULL;
	pool = bus_future_pool(it->on.future);
	if (pool == *last)
		return NULL;
	*last = pool;
	return pool;
}

/* Pools go on only when they are asked to. */
static void make_progress(struct bus_poll *items, size_t n)
{
	struct bus_pool *last = NULL;

	for (size_t i = 0; i < n; i++)
		if (another_pool(&items[i], &last))
			bus_pool_progress(last, true);
}

/* Fill in what is ready.  Returns how many are. */
static int look_at_all(struct bus_poll *items, size_t n)
{
	int n_ready = 0;

	make_progress(items, n);
	look_at_fds(items, n);
	for (size_t i = 0; i < n; i++) {
		if (items[i].kind != BUS_POLL_FD)
			items[i].ready = look(&items[i], true);
		n_ready += items[i].ready != 0;
	}
	return n_ready;
}

static int try_any(void *arg, bool sure)
{
	struct waiting *w = arg;
	struct bus_pool *last = NULL;

	for (size_t i = 0; i < w->n; i++) {
		struct bus_poll *it = &w->items[i];

		/* Out of the wait, to take it up. */
		if (another_pool(it, &last) && bus_pool_news(last, sure))
			return -ESTALE;
		if (it->kind == BUS_POLL_FD ? w->fds[i].got != 0
		    : it->kind == BUS_POLL_TIMER
			    ? false /* that is the deadline's */
			    : look(it, sure) != 0)
			return 0;
		if (it->kind == BUS_POLL_COORD &&
		    bus_coord_replans(it->on.coord))
			return -ESTALE; /* the deadline is not right any more */
	}
	return -EAGAIN;
}

/* ----------------------------------------------------------------- sleep -- */

static bool more(void *arg, uint32_t i)
{
	struct waiting *w = arg;
	struct bus_poll *it = &w->items[w->asleep[i].item];

	/* The others have one sleeper, and that is us. */
	return it->kind == BUS_POLL_QUEUE &&
	       bus_queue_ready(it->on.queue, w->asleep[i].event, true);
}

static struct sb_sleepers *sleepers_of(struct bus_poll *it, uint32_t event)
{
	switch (it->kind) {
	case BUS_POLL_QUEUE:
		return bus_queue_sleepers(it->on.queue, event);
	case BUS_POLL_PIPE:
		return bus_pipe_sleepers(it->on.pipe, event);
	case BUS_POLL_COORD:
		return event == BUS_POLL_IN ? bus_coord_sleepers(it->on.coord)
					    : NULL;
	default:
		return NULL;
	}
}

static void collect_sets(struct waiting *w)
{
	static const uint32_t events[] = { BUS_POLL_IN, BUS_POLL_OUT };
	struct bus_pool *last = NULL;

	for (size_t i = 0; i < w->n; i++)
		for (int k = 0; k < 2; k++) {
			struct sb_sleepers *set;

			/* The readers' one always: the end is rung there. */
			if (events[k] == BUS_POLL_OUT &&
			    !(w->items[i].events & BUS_POLL_OUT))
				continue;
			set = another_pool(&w->items[i], &last)
				      ? bus_pool_sleepers(last)
				      : sleepers_of(&w->items[i], events[k]);
			if (!set)
				continue;
			w->sets[w->n_sets] = set;
			w->asleep[w->n_sets].item = (uint32_t)i;
			w->asleep[w->n_sets++].event = events[k];
		}
}

/* Until when it may sleep: the caller's deadline, a timer, a worker that is to
 * be started. */
static uint64_t plan(struct waiting *w, uint64_t deadline)
{
	struct bus_pool *last = NULL;

	for (size_t i = 0; i < w->n; i++) {
		struct bus_poll *it = &w->items[i];

		if (it->kind == BUS_POLL_TIMER && it->at_ns < deadline)
			deadline = it->at_ns;
		if (it->kind == BUS_POLL_COORD)
			deadline = bus_coord_plan(it->on.coord, deadline);
		if (another_pool(it, &last))
			deadline = bus_pool_plan(last, deadline);
	}
	return deadline ? deadline : 1; /* 0 would be a pure try */
}

static int sleep_for_any(struct waiting *w, uint64_t deadline,
			 uint64_t *claimed)
{
	struct sb_wait wait = { .try_ = try_any,
				.more = more,
				.arg = w,
				.many = w->sets,
				.n_sets = w->n_sets,
				.claimed = claimed };
	int ret, n;

	do {
		forget_events(w);
		ret = bus_sleep(w->bus, &wait, plan(w, deadline));
		n = look_at_all(w->items, w->n);
		if (n)
			return n;
		if (ret && ret != -ESTALE && ret != -ETIMEDOUT)
			return ret;
		/* What ended the wait may be gone: somebody was faster.  That
		 * may happen again and again, so the deadline is ours to see
		 * to. */
	} while (sb_now_ns() < deadline);
	return -ETIMEDOUT;
}

static int wait_for_any(struct bus *bus, struct bus_poll *items, size_t n,
			uint64_t deadline)
{
	struct waiting w = { .bus = bus, .items = items, .n = n };
	size_t n_claimed = SB_WAIT_CLAIMED(2 * n);
	uint64_t *claimed;
	int ret = -ENOMEM;

	if (n > UINT32_MAX / 4)
		return -EINVAL;
	w.fds = calloc(n + 1, sizeof(*w.fds));
	w.sets = calloc(2 * n + 1, sizeof(*w.sets));
	w.asleep = calloc(2 * n + 1, sizeof(*w.asleep));
	claimed = calloc(n_claimed + 1, sizeof(*claimed));
	if (w.fds && w.sets && w.asleep && claimed) {
		collect_sets(&w);
		watch_fds(&w, true);
		ret = sleep_for_any(&w, deadline, claimed);
		watch_fds(&w, false);
		bus_publish_counts(bus);
	}
	free(claimed);
	free(w.asleep);
	free(w.sets);
	free(w.fds);
	return ret;
}

/* For a call that does not sleep, and so is told nothing by the pidfds: look
 * for deaths now and then.  The next call sees what they did. */
static void poll_deaths(struct bus_poll *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct bus_poll *it = &items[i];

		if (it->kind == BUS_POLL_COORD)
			bus_coord_poll(it->on.coord);
		/* Who has closed its end has no peer to look after. */
		if (it->kind == BUS_POLL_PIPE && it->on.pipe->can)
			bus_pipe_poll_peer(it->on.pipe);
	}
}

int bus_wait(struct bus *bus, struct bus_poll *items, size_t n,
	     int64_t timeout_ns)
{
	uint64_t deadline;
	int ret;

	if (!bus || (!items && n))
		return -EINVAL;
	ret = bus_check(bus);
	for (size_t i = 0; i < n && !ret; i++) {
		items[i].ready = 0;
		ret = check_item(bus, &items[i]);
	}
	if (ret)
		return ret;
	deadline = timeout_ns ? sb_deadline(timeout_ns) : 0;
	ret = look_at_all(items, n);
	if (!ret && timeout_ns)
		return wait_for_any(bus, items, n, deadline);
	poll_deaths(items, n);
	return ret ? ret : -EAGAIN;
}
