/*
 * crew.c - the workers of a coordinator: fork, watch, replace, retire
 *
 * A worker's parent learns of its death from the pidfd, which is in the wait
 * set of every call that blocks.  Recovery puts what it held back for another;
 * then the coordinator hears who it was, and a replacement is forked: at once,
 * or after a back-off that doubles if it died soon after its start.
 *
 * A worker leaves in good order when the ring is closed, when it has done
 * max_tasks, or when its place is one too many (n_wanted).  It says so in its
 * place, LEAVING, as its last store; an exit without that, whatever the status,
 * is a death.
 *
 * The life line tells of an exec, which keeps the pid: a CLOEXEC pipe whose
 * only write end the worker has.  HUP while the pidfd says that it lives is an
 * exec, or an exit that is not over (then /proc says PF_EXITING), or it has
 * closed all descriptors that it could find.  It gets SIGKILL, in doubt too: an
 * exit that has begun keeps its status, and the others are no workers any more.
 * A child that a task forks closes its copy in a fork handler.
 *
 * What is in the area is there for others to look at, and to tell workers to
 * leave.  What decides here is private, but for LEAVING, n_inits and the text
 * of a failed init: a worker that lies about those harms its coordinator no
 * more than one that dies.
 *
 * Killed in the middle of all this, the coordinator takes its workers along
 * (worker.c); the area is zeroed before the ring gets its next one.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/endpoint.h"
#include "bus/recover.h"
#include "bus/worker.h"
#include "lib/clock.h"

#define BACKOFF_MAX_NS SB_NS_PER_S
/* So many deaths in a row, each soon after the start and with nothing in hand,
 * and the workers are broken rather than their requests. */
#define HOPELESS       10u

/* -------------------------------------------------------------- the area -- */

void bus_place_doomed(void)
{
	/* Not only wait for the signal: the parent may have become somebody who
	 * is not allowed to send it. */
	kill(getpid(), SIGKILL);
	_exit(1);
}

void bus_place_await_signal(struct bus_place *p)
{
	/* The parent takes the flag away when the signal is pending; and the
	 * kernel delivers what is pending when it returns to us. */
	do
		sched_yield();
	while (ld_acq(&p->word) & BUS_PLACE_SIGNAL); /* T3 <- X3 */
	sched_yield();
}

int bus_crew_who(struct bus_crew_area *area, uint32_t n_places, uint32_t from,
		 uint64_t id)
{
	for (uint32_t i = from; i < n_places; i++)
		if (ld_acq(&bus_crew_place(area, i)->word) >> 8 == id)
			return (int)i;
	return -1;
}

bool bus_place_flag(struct bus_place *p, uint64_t id, uint64_t flag)
{
	uint64_t word = ld_acq(&p->word);

	do {
		if (word >> 8 != id)
			return false;
	} while (!cas_acqrel(&p->word, &word, word | flag));
	return true;
}

int bus_crew_tell(struct bus_crew_area *area, uint32_t n_places, uint32_t index,
		  uint64_t id, bool asym)
{
	int told = -1;

	st_rlx(&bus_crew_canceled(area, n_places)[index], id); /* X1a */
	sb_fence_heavy(asym);                                  /* X1b <-> T1b */
	for (int i = 0; i >= 0; i++) {
		i = bus_crew_who(area, n_places, (uint32_t)i, id); /* X1c */
		if (i < 0)
			break;
		/* Go on: one of two may be dead. */
		if (bus_place_flag(bus_crew_place(area, (uint32_t)i), id,
				   BUS_PLACE_TOLD))
			told = i;
	}
	return told;
}

/* --------------------------------------------------------------- a child -- */

/* The write end that keeps the parent from thinking that we have exec'd. */
static int life_line = -1;

static void close_life_line(void)
{
	if (life_line >= 0)
		close(life_line);
	life_line = -1;
}

static pthread_once_t fork_handler_once = PTHREAD_ONCE_INIT;

static void register_fork_handler(void)
{
	(void)pthread_atfork(NULL, NULL, close_life_line);
}

struct forking {
	struct bus_member *member;
	int line[2];
};

static int worker_main(void *arg)
{
	struct forking *f = arg;
	struct bus_crew *crew = f->member->crew;
	struct bus_config *config = &crew->bus->config;
	struct bus_worker w = {
		.c = crew->c,
		.coord = crew->coord,
		.handler = crew->handler,
		.ctx = crew->ctx,
		.init = crew->init,
		.area = crew->area,
		.place = (uint32_t)(f->member - crew->member),
		.hooks = crew->plain ? NULL : &crew->hooks,
		.prefetch = crew->plain ? crew->prefetch : 1,
		.n_sharers = crew->n_wanted,
	};

	close(f->line[0]);
	life_line = f->line[1];
	if (crew->hooks.wait)
		config->wait = crew->hooks.wait;
	if (crew->hooks.spin)
		config->spin = crew->hooks.spin;
	/* Its first step is bus_after_fork(): nothing of the parent is left
	 * then. */
	return bus_worker_run(&w);
}

/* -------------------------------------------------------------- starting -- */

static uint32_t index_of(const struct bus_member *m)
{
	return (uint32_t)(m - m->crew->member);
}

static struct bus_place *place_of(const struct bus_member *m)
{
	return bus_crew_place(m->crew->area, index_of(m));
}

uint32_t bus_crew_live(const struct bus_crew *crew)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < crew->n_places; i++)
		n += crew->member[i].proc.pid != 0;
	return n;
}

/* Workers take requests in order, so of those that were taken as many can be
 * unanswered as they take at once, each: further than that, and a few for those
 * that came late, there is nothing to see. */
static void note_size(struct bus_crew *crew)
{
	uint32_t live = bus_crew_live(crew);

	if (live < crew->n_wanted)
		live = crew->n_wanted;
	crew->look_ahead = live * (crew->plain ? crew->prefetch : 1) + 8;
	if (crew->n_most < live)
		crew->n_most = live;
}

static void note_next_start(struct bus_crew *crew)
{
	crew->next_start_ns = SB_FOREVER;
	for (uint32_t i = 0; i < crew->n_wanted; i++)
		if (!crew->member[i].proc.pid &&
		    crew->member[i].start_at_ns < crew->next_start_ns)
			crew->next_start_ns = crew->member[i].start_at_ns;
	crew->replan = true;
}

static void death_ready(void *arg, uint32_t events);
static void line_ready(void *arg, uint32_t events);

static void watch(struct bus_member *m, int line_fd)
{
	m->death = (struct sb_watch){ .fd = m->proc.pidfd,
				      .events = POLLIN,
				      .ready = death_ready,
				      .arg = m };
	/* HUP comes unasked. */
	m->line = (struct sb_watch){ .fd = line_fd,
				     .ready = line_ready,
				     .arg = m };
	sb_waiter_watch(&m->crew->bus->waiter, &m->death);
	sb_waiter_watch(&m->crew->bus->waiter, &m->line);
}

static void unwatch_line(struct bus_member *m)
{
	if (m->line.fd < 0)
		return;
	sb_waiter_unwatch(&m->crew->bus->waiter, &m->line);
	close(m->line.fd);
	m->line.fd = -1;
}

/* The place is ready for its next worker. */
static void set_up(struct bus_member *m)
{
	struct bus_place *p = place_of(m);

	m->signaled = 0;
	m->execed = m->spared = false;
	/* Again, in case that somebody has overwritten it: else the new one
	 * would leave at once, and the next one too. */
	st_rel(&m->crew->area->n_wanted, m->crew->n_wanted);
	bus_crew_hush(m->crew->area, index_of(m));
	st_rlx(&p->word, 0);
	st_rlx(&p->since_ns, 0);
	st_rel(&p->life, BUS_PLACE_STARTING);
}

static int fork_worker(struct bus_member *m)
{
	struct forking f = { .member = m };
	int ret;

	pthread_once(&fork_handler_once, register_fork_handler);
	if (pipe2(f.line, O_CLOEXEC))
		return -errno;
	set_up(m);
	ret = sb_proc_fork(&m->proc, worker_main, &f);
	close(f.line[1]);
	if (ret) {
		close(f.line[0]);
		m->proc.pid = 0;
		st_rel(&place_of(m)->life, BUS_PLACE_NONE);
		return ret;
	}
	m->started_ns = sb_now_ns();
	st_rel(&place_of(m)->pid, (uint32_t)m->proc.pid);
	watch(m, f.line[0]);
	return 0;
}

static int worker_start(struct bus_member *m)
{
	struct bus_crew *crew = m->crew;
	const struct bus_crew_config *hooks = &crew->hooks;
	uint32_t i = index_of(m);
	int ret = hooks->start ? hooks->start(hooks->ctx, i) : 0;

	if (ret)
		return ret;
	ret = fork_worker(m);
	if (ret) {
		if (hooks->gone)
			hooks->gone(hooks->ctx, i);
		return ret;
	}
	if (m->replaces)
		bus_count(&crew->area->counts.n_respawns, 1);
	m->replaces = true;
	if (hooks->started)
		hooks->started(hooks->ctx, i, m->proc.pid);
	return 0;
}

/* Fork the workers whose time has come.  Returns why one could not be. */
static int start_due(struct bus_crew *crew)
{
	uint64_t now = sb_now_ns();
	int ret = 0, failed;

	for (uint32_t i = 0; i < crew->n_wanted; i++) {
		struct bus_member *m = &crew->member[i];

		if (m->proc.pid || m->start_at_ns > now || crew->broken)
			continue;
		failed = worker_start(m);
		if (!failed)
			continue;
		ret = failed;
		m->start_at_ns = now + BACKOFF_MAX_NS / 10;
	}
	note_size(crew);
	note_next_start(crew);
	return ret;
}

bool bus_crew_fits(const struct bus_crew *crew, uint32_t n)
{
	/* Without the nobody, the spare one and us. */
	return n <= crew->bus->map->sizes.max_ep - 3;
}

int bus_crew_init(struct bus_crew *crew)
{
	crew->next_start_ns = SB_FOREVER;
	crew->member = calloc(crew->n_places, sizeof(*crew->member));
	if (!crew->member)
		return -ENOMEM;
	for (uint32_t i = 0; i < crew->n_places; i++) {
		crew->member[i].crew = crew;
		crew->member[i].line.fd = -1;
	}
	return 0;
}

int bus_crew_start(struct bus_crew *crew)
{
	int ret = 0;

	for (uint32_t i = 0; i < crew->n_wanted && !ret; i++)
		ret = worker_start(&crew->member[i]);
	note_size(crew);
	return ret;
}

/* Those that were not ours to reap when they died, in case they are now. */
static void reap_late(struct bus_crew *crew)
{
	for (struct bus_zombie **at = &crew->zombies, *z; (z = *at);) {
		if (sb_proc_reap(&z->proc, NULL) == -EAGAIN) {
			at = &z->next;
			continue;
		}
		*at = z->next;
		free(z);
	}
}

static void drop_zombies(struct bus_crew *crew)
{
	while (crew->zombies) {
		struct bus_zombie *z = crew->zombies;

		crew->zombies = z->next;
		close(z->proc.pidfd);
		free(z);
	}
}

void bus_crew_free(struct bus_crew *crew)
{
	for (uint32_t i = 0; crew->member && i < crew->n_places; i++) {
		struct bus_member *m = &crew->member[i];

		if (!m->proc.pid)
			continue;
		sb_waiter_unwatch(&crew->bus->waiter, &m->death);
		unwatch_line(m);
		close(m->proc.pidfd);
	}
	reap_late(crew);
	drop_zombies(crew);
	free(crew->member);
	crew->member = NULL;
}

void bus_crew_disown(struct bus_crew *crew)
{
	for (uint32_t i = 0; i < crew->n_places && crew->member; i++) {
		struct bus_member *m = &crew->member[i];

		if (!m->proc.pid)
			continue;
		close(m->proc.pidfd);
		m->proc.pid = 0;
		if (m->line.fd >= 0)
			close(m->line.fd);
		m->line.fd = -1;
	}
	drop_zombies(crew);
}

/* --------------------------------------------------------------- deaths -- */

/* How a worker ended, and what it was at. */
struct ended {
	struct sb_proc_exit how;
	uint32_t life; /* of its place */
	bool held;     /* something in hand */
	bool outside;  /* somebody killed it: that proves nothing */
	bool in_order; /* it left */
};

static void describe(char *to, size_t n, const struct sb_proc_exit *how)
{
	if (how->signal)
		snprintf(to, n, "signal %d", how->signal);
	else
		snprintf(to, n, "exit status %d", how->exit_status);
}

/* The workers are broken: no more are started. */
static void give_up(struct bus_crew *crew, const struct ended *e)
{
	char how[32];

	crew->broken = true;
	describe(how, sizeof(how), &e->how);
	snprintf(crew->error, sizeof(crew->error),
		 "%u workers in a row died at once with nothing in hand, the "
		 "last of %s",
		 HOPELESS, how);
}

static void give_up_init(struct bus_crew *crew, const struct ended *e)
{
	char text[BUS_INIT_ERROR], how[32];

	crew->broken = true;
	if (!e->how.signal && e->how.exit_status == BUS_WORKER_INIT_FAILED) {
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = ((const volatile char *)
					   crew->area->init_error)[i];
		text[sizeof(text) - 1] = 0;
		snprintf(crew->error, sizeof(crew->error), "%s",
			 *text ? text : "init failed");
		return;
	}
	describe(how, sizeof(how), &e->how);
	snprintf(crew->error, sizeof(crew->error),
		 "%u workers in a row died in init, the last of %s",
		 crew->hooks.init_tries, how);
}

/* Was it a failing init, of a crew that counts those apart? */
static bool bad_init(struct bus_crew *crew, const struct ended *e)
{
	uint32_t n_inits = ld_acq(&crew->area->n_inits);

	if (!crew->hooks.init_tries || e->life != BUS_PLACE_STARTING ||
	    e->outside)
		return false;
	/* Others have all ids of the bus: that passes, and as long as somebody
	 * works there is no hurry. */
	if (!e->how.signal && e->how.exit_status == BUS_WORKER_NO_ENDPOINT &&
	    bus_crew_live(crew))
		return true;
	if (n_inits != crew->seen_inits)
		crew->n_bad_inits = 0;
	crew->seen_inits = n_inits;
	if (++crew->n_bad_inits >= crew->hooks.init_tries && !crew->broken)
		give_up_init(crew, e);
	return true;
}

static void back_off(struct bus_crew *crew)
{
	crew->backoff_ns =
		crew->backoff_ns ? crew->backoff_ns * 2 : crew->min_backoff_ns;
	if (crew->backoff_ns > BACKOFF_MAX_NS)
		crew->backoff_ns = BACKOFF_MAX_NS;
}

/* A worker died: decide when to replace it. */
static void plan_restart(struct bus_member *m, const struct ended *e)
{
	struct bus_crew *crew = m->crew;
	uint64_t now = sb_now_ns();
	/* An init may take its time before it fails. */
	bool early = now - m->started_ns < SB_NS_PER_S ||
		     (e->life == BUS_PLACE_STARTING && !e->outside);
	bool at_once = early && !crew->progress;
	/* It lived when the last one died: whoever kills several at a time, or
	 * faster than we look, says nothing about their replacements. */
	bool same = m->started_ns <= crew->last_death_ns;
	bool counted = bad_init(crew, e);

	if (!same)
		crew->last_death_ns = now;
	if (same) {
		/* neither better nor worse */
	} else if (counted) {
		back_off(crew); /* whatever the others get done */
	} else if (!at_once) {
		crew->backoff_ns = 0;
		crew->n_hopeless = 0;
	} else {
		if (!e->held && !e->outside && ++crew->n_hopeless >= HOPELESS &&
		    !crew->broken)
			give_up(crew, e);
		back_off(crew);
	}
	crew->progress = false;
	m->start_at_ns = now + crew->backoff_ns;
}

/*
 * It left.  Closed: it found nothing more to take.  Others may still be at
 * work; only if the last one left, and a death brought back a request
 * meanwhile, is another needed.  Else it has done its share, or is one too
 * many; then nobody looks at when to start the next one.
 */
static void left(struct bus_member *m, const struct ended *e)
{
	struct bus_crew *crew = m->crew;

	if (e->how.exit_status == BUS_WORKER_RETIRED || !crew->leaving)
		m->start_at_ns = 0;
	else
		m->start_at_ns = bus_crew_live(crew)
					 ? SB_FOREVER
					 : sb_now_ns() + SB_NS_PER_MS;
}

int bus_crew_scale(struct bus_crew *crew, uint32_t n)
{
	if (!n || n > crew->n_places)
		return -EINVAL;
	if (!bus_crew_fits(crew, n))
		return -EUSERS;
	if (crew->leaving || crew->stopping)
		return -EPIPE;
	for (uint32_t i = crew->n_wanted; i < n; i++)
		crew->member[i].start_at_ns = 0;
	crew->n_wanted = n;
	st_rel(&crew->area->n_wanted, n);
	sb_wake_all(&crew->c->chan->rx, &crew->bus->bells);
	return start_due(crew);
}

/*
 * Reap it.  As long as somebody traces it, its tracer has to be told first:
 * then it stays a zombie, of which we know no more than that it is dead, and is
 * reaped later.
 */
static void reap(struct bus_member *m, struct ended *e)
{
	struct bus_crew *crew = m->crew;
	struct bus_zombie *z;

	if (sb_proc_reap(&m->proc, &e->how) != -EAGAIN)
		return;
	z = malloc(sizeof(*z));
	if (!z) { /* it is a zombie as long as we live */
		close(m->proc.pidfd);
		return;
	}
	*z = (struct bus_zombie){ .proc = m->proc, .next = crew->zombies };
	crew->zombies = z;
}

/* Recover what it held, then reap it. */
static void bury(struct bus_member *m, struct ended *e)
{
	struct bus_crew *crew = m->crew;
	struct bus_ep_counts *counts = &crew->bus->ep->counts;
	uint64_t before =
		ld_rlx(&counts->redelivered) + ld_rlx(&counts->quarantined);
	struct bus_map *map = crew->bus->map;
	pid_t pid = m->proc.pid;

	sb_waiter_unwatch(&crew->bus->waiter, &m->death);
	unwatch_line(m);
	/* Before it is reaped: until then the pid is nobody else's. */
	bus_recover_pid(crew->bus, pid);
	reap(m, e);
	m->proc.pid = 0;
	e->held = before != ld_rlx(&counts->redelivered) +
				    ld_rlx(&counts->quarantined) ||
		  ld_acq(&place_of(m)->word);
	e->life = ld_acq(&place_of(m)->life);
	/* SIGKILL comes from outside, if not from us. */
	e->outside = e->how.signal == SIGKILL && !m->execed;
	e->in_order = e->life == BUS_PLACE_LEAVING && !e->how.signal &&
		      !e->held &&
		      /* -1: somebody else has reaped it (SIGCHLD ignored) */
		      (e->how.exit_status == -1 ||
		       e->how.exit_status == BUS_WORKER_RETIRED ||
		       /* the ring is closed, and not by who knows whom */
		       (e->how.exit_status == 0 && crew->leaving));
	for (uint32_t id = 1; id < map->sizes.max_ep; id++)
		if (bus_ep_pid(ld_rlx(&map->ep[id].state)) == (uint32_t)pid)
			crew->died(crew->arg, id, pid, &e->how);
}

/* Nobody is in the place any more. */
static void vacate(struct bus_member *m, const struct ended *e)
{
	struct bus_crew *crew = m->crew;
	struct bus_place *p = place_of(m);

	if (!e->in_order) {
		st_rlx(&p->n_deaths, ld_rlx(&p->n_deaths) + 1);
		bus_count(&crew->area->counts.n_deaths, 1);
	}
	if (crew->hooks.gone)
		crew->hooks.gone(crew->hooks.ctx, index_of(m));
	st_rlx(&p->pid, 0);
	st_rlx(&p->since_ns, 0);
	st_rlx(&p->life, BUS_PLACE_NONE);
	st_rel(&p->word, 0);
	note_size(crew);
}

static void worker_died(struct bus_member *m)
{
	struct ended e = { .how = { .exit_status = -1 } };
	struct bus_crew *crew = m->crew;
	int signaled = m->signaled;

	bury(m, &e);
	vacate(m, &e);
	if (crew->stopping)
		return;
	if (e.in_order)
		left(m, &e);
	else if (signaled && e.how.signal == signaled)
		m->start_at_ns = 0;
	else
		plan_restart(m, &e);
	note_next_start(crew);
}

/* What the kernel says of a descriptor: 0 if nothing. */
static int look_at(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static void death_ready(void *arg, uint32_t events)
{
	struct bus_member *m = arg;
	int got = look_at(m->proc.pidfd, POLLIN);

	(void)events;
	if (got & POLLNVAL) /* the program has closed it under us */
		sb_waiter_unwatch(&m->crew->bus->waiter, &m->death);
	else if (got & POLLIN)
		worker_died(m);
}

#define PF_EXITING 4u /* of linux/sched.h, as it has always been */

/* Does the kernel say that it has not begun to exit? */
static bool runs_on(pid_t pid)
{
	char path[64], line[512], *s;
	unsigned int flags;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[n > 0 ? n : 0] = 0;
	/* pid (name) state ppid pgrp session tty tpgid flags; the name may have
	 * blanks and parentheses in it */
	s = strrchr(line, ')');
	return s && sscanf(s + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
	       !(flags & PF_EXITING);
}

static void line_ready(void *arg, uint32_t events)
{
	struct bus_member *m = arg;
	int got = look_at(m->line.fd, 0);

	(void)events;
	if (got & POLLNVAL) { /* as above; it is nothing to close */
		sb_waiter_unwatch(&m->crew->bus->waiter, &m->line);
		m->line.fd = -1;
	} else if (got) {
		unwatch_line(m);
		if (look_at(m->proc.pidfd, POLLIN))
			return; /* dead: that is told by the other one */
		m->execed = runs_on(m->proc.pid);
		sb_proc_kill(&m->proc, SIGKILL);
	}
}

/* ----------------------------------------------------------- supervision -- */

void bus_crew_kill(struct bus_crew *crew)
{
	for (uint32_t i = 0; i < crew->n_places; i++) {
		struct bus_member *m = &crew->member[i];

		if (m->proc.pid)
			m->spared = sb_proc_kill(&m->proc, SIGKILL) == -EPERM;
	}
}

uint32_t bus_crew_dying(const struct bus_crew *crew)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < crew->n_places; i++)
		n += crew->member[i].proc.pid && !crew->member[i].spared;
	return n;
}

int bus_crew_signal(struct bus_crew *crew, uint32_t place, int sig)
{
	struct bus_member *m;

	if (place >= crew->n_places || sig < 0)
		return -EINVAL;
	m = &crew->member[place];
	if (!m->proc.pid)
		return -ESRCH;
	if (sig)
		m->signaled = sig;
	return sb_proc_kill(&m->proc, sig);
}

void bus_crew_look(struct bus_crew *crew)
{
	reap_late(crew);
	for (uint32_t i = 0; i < crew->n_places; i++) {
		struct bus_member *m = &crew->member[i];

		if (m->proc.pid && m->line.fd >= 0)
			line_ready(m, 0);
		if (m->proc.pid)
			death_ready(m, 0);
	}
}

void bus_crew_replace(struct bus_crew *crew)
{
	bus_crew_look(crew);
	if (!crew->stopping && crew->next_start_ns <= sb_now_ns())
		start_due(crew);
}

void bus_crew_poll(struct bus_crew *crew)
{
	uint64_t now;

	/* Who asks all the time looks seldom; who asks seldom looks as well. */
	if (++crew->n_polls % 64 &&
	    bus_coarse_ns() < crew->last_poll_ns + 10 * SB_NS_PER_MS)
		return;
	now = sb_now_ns();
	if (now - crew->last_poll_ns < SB_NS_PER_MS)
		return;
	crew->last_poll_ns = now;
	bus_crew_replace(crew);
}

uint64_t bus_crew_plan(struct bus_crew *crew, uint64_t deadline_ns)
{
	crew->replan = false;
	if (crew->stopping || crew->next_start_ns == SB_FOREVER)
		return deadline_ns;
	if (crew->next_start_ns <= sb_now_ns())
		start_due(crew);
	crew->replan = false;
	return crew->next_start_ns < deadline_ns ? crew->next_start_ns
						 : deadline_ns;
}

struct supervised {
	struct bus_crew *crew;
	const struct sb_wait *wait;
};

/* -ESTALE ends a wait whose deadline is no longer right. */
static int try_supervised(void *arg, bool sure)
{
	struct supervised *s = arg;
	int ret = s->wait->try_(s->wait->arg, sure);

	if (ret == -EAGAIN &&
	    sb_unlikely(s->crew->broken && !s->crew->stopping))
		return -ECHILD;
	if (ret == -EAGAIN && sb_unlikely(s->crew->replan))
		return -ESTALE;
	return ret;
}

int bus_crew_wait(struct bus_crew *crew, const struct sb_wait *wait,
		  uint64_t deadline_ns)
{
	struct supervised s = { .crew = crew, .wait = wait };
	struct sb_wait outer = *wait;
	uint64_t until;
	int ret;

	if (!deadline_ns) {
		ret = bus_wait_for(crew->bus, wait, 0);
		if (ret == -EAGAIN)
			bus_crew_poll(crew);
		return ret == -EAGAIN && crew->broken && !crew->stopping
			       ? -ECHILD
			       : ret;
	}
	outer.try_ = try_supervised;
	outer.arg = &s;
	do {
		until = bus_crew_plan(crew, deadline_ns);
		ret = bus_sleep(crew->bus, &outer, until);
	} while (ret == -ESTALE || (ret == -ETIMEDOUT && until != deadline_ns));
	bus_publish_counts(crew->bus);
	return ret;
}
