/*
 * faults.c - each system call of the library fails, once, in each way
 *
 * A child does some work with a bus, and we stop it at each system call, with
 * ptrace(2).  In its first run we note which there are.  Then it does the same
 * again and again, and each time one of them is not done but fails, with an
 * errno that its manual page has.  The work must then come out right, or a call
 * say an error; either way the child must not crash, nor hang, and after it has
 * closed everything there are as many descriptors, mappings and children as
 * before, and no file.  Then it does the work once more, undisturbed, which
 * must succeed: nothing may remain of the fault.
 *
 * The same is done with each allocation of memory, which the linker has pass
 * through here (--wrap), in the child alone.
 *
 * Not done are failures that would be lies about others: that a living process
 * is not there, or that we have no such child.
 *
 * A case is a work, a point number-of-the-call * 16 + number-of-the-errno; or
 * 65536 + number-of-the-allocation.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/bus/t_bus.h"
#include "tests/support/step.h"
#include "tools/torture/torture.h"

#ifdef __x86_64__

#include <sys/user.h>

#define N_CALLS	   4096
#define N_ERRNOS   16
#define ALLOC_AT   (N_CALLS * N_ERRNOS) /* points that are allocations */
#define PATIENCE_S 60
#define LIMIT_NS   ((int64_t)(20 * SB_NS_PER_S))
#define TICK_NS	   ((int64_t)(2 * SB_NS_PER_MS))
#define BIG	   600u
#define LARGE	   30000u

/* clang-format off */
static const struct known {
	long nr;
	const char *name;
	int errnos[10];
} known[] = {
	{ SYS_openat, "openat", { EACCES, EMFILE, ENFILE, ENOMEM, ENOENT,
	  EINTR, ENOSPC, EPERM } },
	{ SYS_close, "close", { EINTR, EIO } }, /* closed all the same */
	{ SYS_mmap, "mmap", { ENOMEM, EAGAIN, ENFILE, EPERM } },
	{ SYS_munmap, "munmap", { ENOMEM } },
	{ SYS_mremap, "mremap", { ENOMEM } },
	{ SYS_mprotect, "mprotect", { ENOMEM } },
	{ SYS_madvise, "madvise", { ENOMEM, EAGAIN, EIO, EINVAL, EFAULT } },
	{ SYS_fstat, "fstat", { ENOMEM, EOVERFLOW } },
	{ SYS_newfstatat, "newfstatat", { ENOMEM, EACCES } },
	{ SYS_ftruncate, "ftruncate", { EFBIG, EINTR, EIO, EPERM } },
	{ SYS_fallocate, "fallocate", { ENOSPC, EINTR, EFBIG, EOPNOTSUPP, EIO,
	  ENODEV } },
	{ SYS_fcntl, "fcntl", { EAGAIN, EINTR, ENOLCK, EPERM, EBUSY } },
	{ SYS_flock, "flock", { EWOULDBLOCK, EINTR, ENOLCK } },
	{ SYS_fchmod, "fchmod", { EPERM, EIO, EROFS } },
	{ SYS_linkat, "linkat", { EEXIST, ENOSPC, EACCES, EPERM, EDQUOT, ENOMEM,
	  EIO } },
	{ SYS_unlink, "unlink", { EACCES, EPERM, EBUSY, EIO } },
	{ SYS_unlinkat, "unlinkat", { EACCES, EPERM, EBUSY, EIO } },
	{ SYS_rename, "rename", { EACCES, ENOSPC, EPERM } },
	{ SYS_renameat, "renameat", { EACCES, ENOSPC, EPERM } },
	{ SYS_renameat2, "renameat2", { EACCES, ENOSPC, EPERM } },
	{ SYS_memfd_create, "memfd_create", { EMFILE, ENFILE, ENOMEM, EINVAL,
	  ENOSYS } },
	{ SYS_clone, "clone", { EAGAIN, ENOMEM } },
	{ SYS_clone3, "clone3", { EAGAIN, ENOMEM } },
	{ 434, "pidfd_open", { EMFILE, ENFILE, ENOMEM, ENODEV, ENOSYS } },
	{ 424, "pidfd_send_signal", { EPERM } },
	{ SYS_poll, "poll", { EINTR, ENOMEM } },
	{ SYS_ppoll, "ppoll", { EINTR, ENOMEM } },
	{ SYS_pipe2, "pipe2", { EMFILE, ENFILE } },
	{ SYS_eventfd2, "eventfd2", { EMFILE, ENFILE, ENODEV, ENOMEM } },
	{ SYS_read, "read", { EINTR, EIO } },
	{ SYS_readlink, "readlink", { ENOENT, EACCES, ENOMEM } },
	{ SYS_waitid, "waitid", { EINTR } },
	{ 425, "io_uring_setup", { ENOSYS, EPERM, ENOMEM, EMFILE, ENFILE } },
	{ 426, "io_uring_enter", { EINTR, EAGAIN, EBUSY } },
	{ 427, "io_uring_register", { ENOMEM, EBUSY, EINVAL } },
	{ SYS_membarrier, "membarrier", { EPERM, ENOSYS, EINVAL } },
	{ SYS_futex, "futex", { EINTR, EAGAIN, ETIMEDOUT } },
	{ SYS_nanosleep, "nanosleep", { EINTR } },
	{ SYS_clock_nanosleep, "clock_nanosleep", { EINTR } },
	{ SYS_prctl, "prctl", { EINVAL } },
	{ SYS_sched_getaffinity, "sched_getaffinity", { EINVAL } },
	{ SYS_getrandom, "getrandom", { EINTR, ENOSYS } },
};
/* clang-format on */

static struct shared {
	_Atomic int32_t child;
	_Atomic uint32_t seized, inside, over;
	_Atomic uint32_t wrong, leaked, stuck; /* a line */
	_Atomic int32_t error, again;	       /* that the work said */
	_Atomic uint32_t n_allocs, fail_alloc; /* of which this one, from 1 */
} *sh;

static struct {
	_Atomic uint32_t next_case;
	struct row {
		struct tally t;
		_Atomic uint64_t n_calls, n_allocs, n_errors, ns;
	} row[16];
} *all;

/* What is done in a work, and has to be undone. */
static struct {
	struct bus *bus, *other;
	struct bus_queue *q;
	struct bus_pipe *a, *b;
	struct bus_coord *coord;
	struct bus_pool *pool;
} w;

static struct {
	const char *name;
	struct row *row;
	uint32_t n_calls, n_allocs;
	uint16_t nr[N_CALLS];
} x;

static struct bus *inherited; /* of the work after a fork */

#define bad(field, at, ...)                                                    \
	torture_bad(&x.row->t, offsetof(struct tally, field), x.name, at,      \
		    __VA_ARGS__)

/* --------------------------------------------------------------- memory -- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

/* Shall this one fail?  Never but in the child, not in those that it forks. */
static bool no_memory(void)
{
	if (!sh || !sh->inside || sh->child != getpid() ||
	    ++sh->n_allocs != sh->fail_alloc)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return no_memory() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t each)
{
	return no_memory() ? NULL : __real_calloc(n, each);
}

void *__wrap_realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return no_memory() ? NULL : __real_aligned_alloc(align, n);
}

/* ---------------------------------------------------------------- works -- */

/* A call of the library failed: that is an error, and the work is over. */
#define TRY(call)                            \
	do {                                 \
		int ret_ = (call);           \
		if (ret_ < 0)                \
			return failed(ret_, __LINE__); \
	} while (0)

/* It did not, and so this must be true. */
#define MUST(what)                            \
	do {                                  \
		if (!(what))                  \
			sh->wrong = __LINE__; \
	} while (0)

static int failed(int ret, uint32_t line)
{
	if (ret < -4095)
		sh->wrong = line;
	if (ret == -ETIMEDOUT)
		sh->stuck = line; /* what it waited for was there */
	return ret;
}

static struct bus_config settings(uint32_t wait)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = wait;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = 8;
	c.channel_bytes = 1 << 20;
	c.max_message_bytes = 4096;
	c.blob_bytes = 1 << 16;
	return c;
}

static int open_queue(struct bus *bus)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;

	c.n_slots = 8;
	return bus_queue_open(bus, "q", &c, &w.q);
}

/* What follows is not the library's, until it says so again. */
static uint32_t ours(void)
{
	uint32_t was = sh->inside;

	sh->inside = 0;
	return was;
}

static int put_and_get(void)
{
	unsigned char buf[BIG];
	size_t len;

	for (int i = 0; i < 4; i++) {
		uint32_t n = i % 2 ? BIG : 16;

		t_fill(buf, n, 3);
		TRY(bus_queue_put(w.q, buf, n, LIMIT_NS));
		memset(buf, 0, sizeof(buf));
		TRY(bus_queue_get(w.q, buf, sizeof(buf), &len, LIMIT_NS));
		MUST(len == n && t_is(buf, n, 3));
	}
	return 0;
}

static int do_queue(void)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);

	TRY(bus_create(NULL, &c, &w.bus));
	TRY(open_queue(w.bus));
	TRY(put_and_get());
	TRY(bus_attach(w.bus, &w.other));
	return 0;
}

static int do_named(void)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);

	TRY(bus_create(t_name("f"), &c, &w.bus));
	TRY(bus_open(t_name("f"), &c, &w.other));
	TRY(open_queue(w.other));
	return put_and_get();
}

static int killed_creator(void *arg)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);
	struct bus *bus;

	(void)arg;
	T_CHECK(bus_create(t_name("f"), &c, &bus) == 0);
	kill(getpid(), SIGKILL);
	return 1;
}

static int do_replace(void)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);
	uint32_t was;

	was = ours();
	t_wait(t_fork(killed_creator, NULL));
	sh->inside = was;
	TRY(bus_create(t_name("f"), &c, &w.bus));
	TRY(open_queue(w.bus));
	return put_and_get();
}

static int do_unlink(void)
{
	uint32_t was = ours();

	t_wait(t_fork(killed_creator, NULL));
	sh->inside = was;
	TRY(bus_unlink(t_name("f")));
	return 0;
}

/* Sleep, in each way, until the time is up. */
static int sleep_a_while(uint32_t wait)
{
	struct bus_config c = settings(wait);
	struct bus_poll items[3] = { { .kind = BUS_POLL_QUEUE,
				       .events = BUS_POLL_IN },
				     { .kind = BUS_POLL_FD,
				       .events = BUS_POLL_IN },
				     { .kind = BUS_POLL_TIMER } };
	unsigned char buf[16];
	int fd[2], ret;
	uint32_t was;
	size_t len;

	TRY(bus_create(NULL, &c, &w.bus));
	TRY(open_queue(w.bus));
	ret = bus_queue_get(w.q, buf, sizeof(buf), &len, TICK_NS);
	if (ret != -ETIMEDOUT)
		return ret ? failed(ret, __LINE__) : -EPROTO;
	was = ours();
	T_CHECK(pipe(fd) == 0);
	sh->inside = was;
	items[0].on.queue = w.q;
	items[1].fd = fd[0];
	items[2].at_ns = sb_now_ns() + (uint64_t)TICK_NS;
	ret = bus_wait(w.bus, items, 3, LIMIT_NS);
	if (ret > 0)
		MUST(ret == 1 && items[2].ready & BUS_POLL_IN);
	was = ours();
	close(fd[0]);
	close(fd[1]);
	sh->inside = was;
	TRY(ret);
	return 0;
}

static int do_futex(void)
{
	return sleep_a_while(BUS_WAIT_FUTEX);
}

static int do_uring(void)
{
	return sleep_a_while(BUS_WAIT_AUTO);
}

static int do_pipe(void)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);
	struct bus_pipe_config pc = BUS_PIPE_CONFIG_INIT;
	unsigned char buf[BIG];
	size_t len;
	int ret, n;

	TRY(bus_create(NULL, &c, &w.bus));
	pc.slot_bytes = 65536;
	TRY(bus_pipe(w.bus, &pc, &w.a, &w.b));
	/* The slots grow, unless there is no memory for that. */
	for (n = 0; n < 60; n++) {
		t_fill(buf, BIG, 3);
		ret = bus_pipe_send(w.a, buf, BIG, 0);
		if (ret == -EAGAIN)
			break;
		TRY(ret);
	}
	MUST(n > 2);
	for (int i = 0; i < n; i++) {
		memset(buf, 0, sizeof(buf));
		TRY(bus_pipe_recv(w.b, buf, sizeof(buf), &len, LIMIT_NS));
		MUST(len == BIG && t_is(buf, BIG, 3));
	}
	ret = bus_pipe_recv(w.b, buf, sizeof(buf), &len, TICK_NS);
	if (ret != -ETIMEDOUT)
		return ret ? failed(ret, __LINE__) : -EPROTO;
	return 0;
}

/* Not before the other one has gone to sleep. */
static int says_hello(void *ctx, struct bus_pipe *end)
{
	const struct timespec t = { .tv_nsec = 5000000 };

	(void)ctx;
	nanosleep(&t, NULL);
	return bus_pipe_send(end, "hello", 5, LIMIT_NS) ? 1 : 0;
}

/* A child with the other end. */
static int do_spawn(void)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);
	unsigned char buf[8];
	size_t len = 0;
	pid_t pid;
	int ret;

	TRY(bus_create(NULL, &c, &w.bus));
	TRY(bus_pipe_spawn(w.bus, NULL, says_hello, NULL, &w.a, &pid));
	ret = bus_pipe_recv(w.a, buf, sizeof(buf), &len, LIMIT_NS);
	MUST(ret || (len == 5 && !memcmp(buf, "hello", 5)));
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	TRY(ret);
	return 0;
}

static int handler(void *ctx, const void *req, size_t len,
		   struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len);
}

static int do_coord(void)
{
	struct bus_config c = settings(BUS_WAIT_AUTO);
	struct bus_coord_config cc = BUS_COORD_CONFIG_INIT;
	unsigned char buf[BIG];
	struct bus_result r;

	TRY(bus_create(NULL, &c, &w.bus));
	cc.handler = handler;
	cc.n_workers = 2;
	cc.window = 4;
	cc.result_bytes = BIG;
	TRY(bus_coord_start(w.bus, "r", &cc, &w.coord));
	t_fill(buf, BIG, 3);
	for (uint64_t i = 0; i < 3; i++)
		TRY(bus_submit(w.coord, i, buf, i % 2 ? BIG : 16, LIMIT_NS));
	for (uint64_t i = 0; i < 3; i++) {
		TRY(bus_collect(w.coord, &r, LIMIT_NS));
		MUST(r.id == i && r.kind == BUS_RESULT_OK &&
		     r.len_bytes == (i % 2 ? BIG : 16) &&
		     !memcmp(r.data, buf, r.len_bytes));
	}
	return 0;
}

static int large_handler(void *ctx, const void *req, size_t len,
			 struct bus_reply *reply)
{
	void *room = bus_reply_room(reply, LARGE);

	(void)ctx;
	(void)req;
	(void)len;
	if (!room)
		return 1;
	t_fill(room, LARGE, 3);
	return 0;
}

/* A task says that there was no memory for its result. */
static int short_of_memory(const struct bus_result *r)
{
	return r->kind == BUS_RESULT_ERROR && r->code == -ENOMEM ? -ENOMEM : 0;
}

static int three(void *ctx, const void **item, size_t *len)
{
	static unsigned char buf[BIG];
	uint32_t *n = ctx;

	if ((*n)++ == 3)
		return 0;
	t_fill(buf, BIG, 3);
	*item = buf;
	*len = BIG;
	return 1;
}

/* A chunk of two, and one by itself. */
static int use_imap(void)
{
	struct bus_map_config c = BUS_MAP_CONFIG_INIT;
	struct bus_imap *imap;
	struct bus_result r;
	uint32_t n = 0;
	int ret;

	c.chunk = 2;
	TRY(bus_pool_imap(w.pool, 0, three, &n, &c, &imap));
	while (!(ret = bus_imap_next(imap, &r, LIMIT_NS)) &&
	       !(ret = short_of_memory(&r)))
		MUST(r.kind == BUS_RESULT_OK && r.len_bytes == BIG &&
		     t_is(r.data, BIG, 3));
	bus_imap_free(imap);
	TRY(ret == -ENODATA ? 0 : ret);
	return 0;
}

/* Results small and large, more workers, a map, a cancel. */
static int do_pool(void)
{
	static const bus_handler handlers[] = { handler, large_handler };
	struct bus_config c = settings(BUS_WAIT_AUTO);
	struct bus_pool_config pc = BUS_POOL_CONFIG_INIT;
	struct bus_future *f;
	struct bus_result r;
	struct bus_map_config c_map = BUS_MAP_CONFIG_INIT;
	uint64_t n[4] = { 1, 2, 3, 4 }, out[4] = { 0 };
	struct bus_map_item items[4];
	int n_failed;

	TRY(bus_create(NULL, &c, &w.bus));
	pc.handlers = handlers;
	pc.n_handlers = 2;
	pc.n_workers = 1;
	TRY(bus_pool_start(w.bus, "p", &pc, &w.pool));
	TRY(bus_pool_apply(w.pool, 0, n, sizeof(n), &r, LIMIT_NS));
	TRY(short_of_memory(&r));
	MUST(r.kind == BUS_RESULT_OK && r.len_bytes == sizeof(n) &&
	     !memcmp(r.data, n, sizeof(n)));
	TRY(bus_pool_scale(w.pool, 2));
	TRY(bus_pool_apply(w.pool, 1, n, sizeof(n), &r, LIMIT_NS));
	TRY(short_of_memory(&r));
	MUST(r.kind == BUS_RESULT_OK && r.len_bytes == LARGE &&
	     t_is(r.data, LARGE, 3));
	c_map.items = items;
	TRY(n_failed = bus_pool_map(w.pool, 0, n, sizeof(*n), out, sizeof(*out),
				    4, &c_map, LIMIT_NS));
	for (int i = 0; i < 4 && n_failed > 0; i++)
		TRY(items[i].code == -ENOMEM ? -ENOMEM : 0);
	MUST(!memcmp(n, out, sizeof(n)));
	TRY(use_imap());
	TRY(bus_pool_submit(w.pool, 0, n, sizeof(n), NULL, &f, LIMIT_NS));
	(void)bus_future_cancel(f);
	bus_future_free(f);
	bus_pool_close(w.pool);
	TRY(bus_pool_join(w.pool, LIMIT_NS));
	return 0;
}

static int dead_one(void *arg)
{
	static struct bus_msg m[2];

	(void)arg;
	T_CHECK(bus_check(w.bus) == 0);
	bus_queue_peek(w.q, &m[0], 0);
	bus_queue_loan(w.q, BIG, &m[1], 0);
	kill(getpid(), SIGKILL);
	return 1;
}

/* A reader dies; its message comes again. */
static int do_recover(void)
{
	struct bus_config c = settings(BUS_WAIT_FUTEX);
	unsigned char buf[BIG];
	uint32_t was;
	size_t len;

	TRY(bus_create(NULL, &c, &w.bus));
	TRY(open_queue(w.bus));
	t_fill(buf, BIG, 3);
	TRY(bus_queue_put(w.q, buf, BIG, 0));
	was = ours();
	t_wait(t_fork(dead_one, NULL));
	sh->inside = was;
	bus_reap(w.bus); /* or it would be noticed some 100 ms later */
	TRY(bus_queue_get(w.q, buf, sizeof(buf), &len, LIMIT_NS));
	MUST(len == BIG && t_is(buf, BIG, 3));
	return 0;
}

/* The first calls of a forked child. */
static int do_after_fork(void)
{
	TRY(open_queue(inherited));
	return put_and_get();
}

static void undo(void)
{
	bus_queue_free(w.q);
	bus_pipe_free(w.a);
	bus_pipe_free(w.b);
	if (w.coord)
		bus_coord_stop(w.coord, LIMIT_NS);
	bus_pool_free(w.pool);
	bus_close(w.other);
	bus_close(w.bus);
	memset(&w, 0, sizeof(w));
}

static const struct work {
	const char *name;
	int (*fn)(void);
} works[] = {
	{ "queue", do_queue },	     { "named", do_named },
	{ "replace", do_replace },   { "unlink", do_unlink },
	{ "futex", do_futex },	     { "uring", do_uring },
	{ "pipe", do_pipe },	     { "spawn", do_spawn },
	{ "coord", do_coord },
	{ "pool", do_pool },	     { "recover", do_recover },
	{ "after-fork", do_after_fork },
};

static const struct work *work;

/* ------------------------------------------------------------ the child -- */

/* Whoever cannot be told what a descriptor is does not close it: it may be
 * another's by now. */
static bool tells_what_it_is(long call)
{
#ifdef SYS_newfstatat
	if (call == SYS_newfstatat)
		return true;
#endif
#ifdef SYS_fstat
	if (call == SYS_fstat)
		return true;
#endif
	return call == SYS_readlink;
}

/* @failed: the number of the call that did. */
static void check_nothing_left(int n_fds, int n_maps, long failed)
{
	int more = t_count_fds() - n_fds;

	if (more && (!tells_what_it_is(failed) || more != 1))
		sh->leaked = __LINE__;
	/* malloc may keep one */
	if (failed != SYS_munmap && t_count_maps() > n_maps + 2)
		sh->leaked = __LINE__;
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		sh->leaked = __LINE__;
}

static int child_main(void *arg)
{
	long failed = *(const long *)arg;
	int n_fds, n_maps;

	/* once before, for what is kept for ever */
	T_CHECK(work->fn() == 0);
	undo();
	n_fds = t_count_fds();
	n_maps = t_count_maps();
	t_step_offer(&sh->child, &sh->seized);
	sh->inside = 1;
	sh->error = work->fn();
	undo();
	sh->inside = 0;
	check_nothing_left(n_fds, n_maps, failed);
	sh->over = 1;
	if (sh->wrong || sh->stuck)
		return 0;
	sh->again = work->fn();
	if (sh->again < 0)
		sh->wrong = __LINE__; /* the fault has left something */
	undo();
	return 0;
}

/* --------------------------------------------------------- the injector -- */

static const struct known *find(long nr)
{
	for (size_t i = 0; i < lengthof(known); i++)
		if (known[i].nr == nr)
			return &known[i];
	return NULL;
}

/* Wake-ups never fail; what sleeps may be told that it was in vain. */
static bool may_fail(const struct user_regs_struct *r)
{
	long nr = (long)r->orig_rax;

	if (nr == SYS_futex)
		return (r->rsi & 127) == 0 || (r->rsi & 127) == 9;
	if (nr == SYS_waitid) /* nor does it sleep with WNOHANG */
		return !(r->r10 & WNOHANG);
	return find(nr) != NULL;
}

struct injection {
	long at; /* number of the call, -1 none */
	long nr; /* if it is this one, and not another for once */
	uint32_t alloc; /* number of the allocation, from 1; 0 none */
	int err;
	long n;	 /* calls so far */
	bool pending;
};

/* At the entry of a call, and at its end. */
static void at_call(pid_t pid, struct injection *in, bool entry)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, pid, 0, &r))
		return;
	if (!entry) {
		if (in->pending) {
			r.rax = (unsigned long)-(long)in->err;
			ptrace(PTRACE_SETREGS, pid, 0, &r);
		}
		in->pending = false;
		return;
	}
	if (!sh->inside || !may_fail(&r))
		return;
	if (in->at < 0 && in->n < N_CALLS)
		x.nr[in->n] = (uint16_t)r.orig_rax;
	if (in->n++ != in->at || (long)r.orig_rax != in->nr)
		return;
	in->pending = true;
	if (r.orig_rax == SYS_close)
		return;
	r.orig_rax = (unsigned long)-1; /* none */
	ptrace(PTRACE_SETREGS, pid, 0, &r);
}

static void on_tick(int sig)
{
	(void)sig;
}

static void set_tick(bool on)
{
	struct itimerval it = { 0 };

	if (on)
		it.it_value.tv_usec = it.it_interval.tv_usec = 100000;
	setitimer(ITIMER_REAL, &it, NULL);
}

/* Run the child to its end.  Returns its wait status, or -1 when it hangs. */
static int follow(pid_t pid, struct injection *in)
{
	uint64_t until = sb_deadline(PATIENCE_S * (int64_t)SB_NS_PER_S);
	int status, sig = 0;
	bool entry = true;

	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, 0, sig);
		while (waitpid(pid, &status, __WALL) != pid)
			if (sb_now_ns() > until) {
				kill(pid, SIGKILL);
				waitpid(pid, &status, __WALL);
				return -1;
			}
		if (!WIFSTOPPED(status))
			return status;
		sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80)) {
			at_call(pid, in, entry);
			entry = !entry;
			sig = 0;
		} else if (sig == SIGTRAP || sig == SIGSTOP) {
			sig = 0;
		}
	}
}

static bool is_there(void *arg)
{
	(void)arg;
	return sh->child != 0;
}

static int run(struct injection *in)
{
	pid_t pid;
	int status;

	memset(sh, 0, sizeof(*sh));
	sh->fail_alloc = in->alloc;
	pid = t_fork(child_main, &in->nr);
	if (!t_eventually(is_there, NULL, 10000) ||
	    t_step_seize(pid, &sh->seized)) {
		kill(pid, SIGKILL);
		t_wait(pid);
		return -2;
	}
	set_tick(true);
	status = follow(pid, in);
	set_tick(false);
	return status;
}

/* ---------------------------------------------------------------- cases -- */

static void judge(int status, long at, const char *what)
{
	const char *name = what;

	if (status == -1)
		bad(hung, at, "%s", name);
	else if (status < 0)
		bad(wrong, at, "%s: it cannot begin", name);
	else if (WIFSIGNALED(status))
		bad(crashed, at, "%s: %s", name, strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		bad(wrong, at, "%s: it ended with %d", name,
		    WEXITSTATUS(status));
	else if (sh->stuck)
		bad(hung, at, "%s: a time-out, line %u", name,
		    (unsigned)sh->stuck);
	else if (sh->wrong)
		bad(wrong, at, "%s: not right, line %u; error %d, later %d",
		    name, (unsigned)sh->wrong, (int)sh->error,
		    (int)sh->again);
	else if (sh->leaked)
		bad(leaked, at, "%s: something is left, line %u", name,
		    (unsigned)sh->leaked);
	if (sh->error)
		x.row->n_errors++;
}

static void check_files(long at, const char *what, bool by_unlink)
{
	/* its creator is dead, so another can replace it */
	if (!by_unlink && t_shm_leftovers())
		bad(leaked, at, "%s: a file is left", what);
	t_shm_clean();
}

static void run_point(long at)
{
	const struct known *k = find(x.nr[at / N_ERRNOS]);
	struct injection in = { .at = at / N_ERRNOS, .nr = k->nr };
	bool by_unlink = k->nr == SYS_unlink || k->nr == SYS_unlinkat;
	char what[64];

	torture_gate();
	in.err = k->errnos[at % N_ERRNOS % lengthof(k->errnos)];
	snprintf(what, sizeof(what), "%s says %s", k->name,
		 strerrorname_np(in.err));
	torture_point(&x.row->t);
	judge(run(&in), at, what);
	check_files(at, what, by_unlink);
}

static void run_alloc(uint32_t n)
{
	struct injection in = { .at = -1, .alloc = n + 1 };
	long at = (long)ALLOC_AT + n;

	torture_gate();
	torture_point(&x.row->t);
	judge(run(&in), at, "no memory");
	check_files(at, "no memory", false);
}

static bool measure(void)
{
	struct injection in = { .at = -1 };
	int status = run(&in);

	x.n_calls = in.n < N_CALLS ? (uint32_t)in.n : N_CALLS;
	x.n_allocs = sh->n_allocs;
	x.row->n_calls = x.n_calls;
	x.row->n_allocs = x.n_allocs;
	for (uint32_t i = 0; i < x.n_calls && torture->at >= 0; i++)
		torture_say("%4u: %s\n", i * N_ERRNOS, find(x.nr[i])->name);
	if (!status && !sh->error && !sh->wrong && !sh->leaked && in.n)
		return true;
	bad(wrong, -1, "undisturbed it gives status %d, error %d, lines %u, %u",
	    status, (int)sh->error, (unsigned)sh->wrong, (unsigned)sh->leaked);
	return false;
}

static int case_main(void *arg)
{
	struct sigaction sa = { .sa_handler = on_tick };

	(void)arg;
	t_name("f"); /* has our pid from now on, for all our children */
	sigaction(SIGALRM, &sa, NULL);
	if (work->fn == do_after_fork) {
		struct bus_config c = settings(BUS_WAIT_AUTO);

		inherited = t_bus_with(NULL, &c);
	}
	if (!measure())
		return 0;
	if (torture->at >= ALLOC_AT) {
		if (torture_has(torture->at - ALLOC_AT < (long)x.n_allocs))
			run_alloc((uint32_t)(torture->at - ALLOC_AT));
		return 0;
	}
	if (torture->at >= 0) {
		if (torture_has(torture->at / N_ERRNOS < x.n_calls))
			run_point(torture->at);
		return 0;
	}
	for (uint32_t i = 0; i < x.n_calls; i++)
		for (uint32_t e = 0; e < lengthof(known[0].errnos) &&
				     find(x.nr[i])->errnos[e];
		     e++)
			run_point(i * N_ERRNOS + e);
	for (uint32_t i = 0; i < x.n_allocs; i++)
		run_alloc(i);
	return 0;
}

static void run_case(uint32_t c)
{
	uint64_t since = sb_now_ns();
	int status;

	work = &works[c];
	x.name = work->name;
	x.row = &all->row[c];
	if (!torture_wants(x.name))
		return;
	status = t_wait(t_fork(case_main, NULL));
	if (status)
		bad(wrong, -1, "the case did not come to its end (%d)", status);
	x.row->ns += sb_now_ns() - since;
}

static int shard_main(void *arg)
{
	uint32_t c;

	(void)arg;
	sh = t_shared(sizeof(*sh));
	while ((c = all->next_case++) < lengthof(works))
		run_case(c);
	return 0;
}

int faults_main(void)
{
	bool good;

	all = t_shared(sizeof(*all));
	good = t_each_cpu(shard_main, NULL);
	torture_say("%-12s %7s %7s %7s %7s %5s %8s\n", "work", "calls",
		    "allocs", "points", "errors", "bad", "seconds");
	for (size_t i = 0; i < lengthof(works); i++) {
		const struct row *r = &all->row[i];

		if (r->t.points)
			torture_say("%-12s %7u %7u %7u %7u %5u %8.1f\n",
				    works[i].name, (unsigned)r->n_calls,
				    (unsigned)r->n_allocs,
				    (unsigned)r->t.points,
				    (unsigned)r->n_errors,
				    (unsigned)tally_bad(&r->t),
				    (double)r->ns / 1e9);
	}
	return good ? 0 : 1;
}

#else

int faults_main(void)
{
	torture_skip("all", "this machine's system calls are not known to it");
	return 0;
}

#endif
