/*
 * world.c - the world in which fuzzed code lives (world.h)
 *
 * The arena is one block, filled from the bottom and never given back, with
 * poisoned gaps under ASan.  fuzz_freeze() copies what is in it, and
 * fuzz_thaw() brings that back, segments included: so each input starts from
 * the same bus, and one that fails does so again.
 */
#include "tests/fuzz/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/fuzz/fuzz.h"

#if defined(__SANITIZE_ADDRESS__)
#define FUZZ_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FUZZ_ASAN 1
#endif
#endif
#ifdef FUZZ_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define ARENA_BYTES (8u << 20)
#define GAP_BYTES   64u
#define N_BLOCKS    4096u
#define FAKE_FD     1000000 /* the file of fuzz_file() */
#define FAKE_PIDFD  1000001 /* of the one child that there is */
#define TICK_NS     20000u  /* that go by between two looks at the clock */

/* ----------------------------------------------------------------- steps -- */

static uint64_t steps = UINT64_MAX;

void fuzz_begin(void)
{
	steps = FUZZ_STEPS_MAX;
}

static SB_NOINLINE void step_limit(void)
{
	fprintf(stderr, "fuzz: a call took %u steps: it may never end\n",
		FUZZ_STEPS_MAX);
	abort();
}

void fuzz_step(void)
{
	if (sb_unlikely(--steps == 0))
		step_limit();
}

/* ----------------------------------------------------------------- input -- */

uint64_t fuzz_number(struct fuzz_in *in)
{
	uint32_t how = fuzz_u8(in);

	switch (how >> 6) {
	case 0:
		return how & 63;
	case 1: /* about a power of two, up to all ones */
		return (UINT64_C(1) << (how & 63)) - 1;
	case 2:
		return fuzz_bytes(in, 1 + (how & 3));
	default:
		return fuzz_bytes(in, 8);
	}
}

void fuzz_touch(const void *p, size_t n)
{
	const volatile unsigned char *b = p;
	unsigned char sum = 0;

#ifdef FUZZ_ASAN
	/* All at once, and much faster than one by one. */
	FUZZ_CHECK(!__asan_region_is_poisoned((void *)(uintptr_t)p, n));
	if (n > 64)
		n = 64;
#endif
	for (size_t i = 0; i < n; i++)
		sum = (unsigned char)(sum + b[i]);
	(void)sum;
}

/* ----------------------------------------------------------------- arena -- */

static alignas(4096) unsigned char arena[ARENA_BYTES];
static unsigned char *frozen;

static struct block {
	size_t off, bytes;
} blocks[N_BLOCKS];

static size_t arena_top, frozen_top, clean_to;
static uint32_t n_blocks, n_frozen;

void *fuzz_aligned(size_t align, size_t bytes)
{
	size_t at;

	if (!arena_top)
		POISON(arena, sizeof(arena));
	at = SB_ROUND_UP(arena_top + GAP_BYTES, align < 16 ? 16 : align);
	if (n_blocks == N_BLOCKS || bytes > ARENA_BYTES - GAP_BYTES ||
	    at > ARENA_BYTES - GAP_BYTES - bytes) {
		errno = ENOMEM;
		return NULL;
	}
	blocks[n_blocks++] = (struct block){ at, bytes };
	arena_top = at + bytes;
	if (arena_top > clean_to)
		clean_to = arena_top;
	UNPOISON(arena + at, bytes);
	return arena + at;
}

void *fuzz_malloc(size_t bytes)
{
	return fuzz_aligned(16, bytes);
}

void *fuzz_calloc(size_t n, size_t bytes)
{
	void *p = NULL;

	if (!__builtin_mul_overflow(n, bytes, &bytes))
		p = fuzz_malloc(bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

static struct block *block_of(const void *p)
{
	size_t off = (size_t)((const unsigned char *)p - arena);

	for (uint32_t i = n_blocks; i-- > 0;)
		if (blocks[i].off == off)
			return &blocks[i];
	fprintf(stderr, "fuzz: free of what was never allocated\n");
	abort();
}

void *fuzz_realloc(void *p, size_t bytes)
{
	void *to = fuzz_malloc(bytes);

	if (p && to) {
		struct block *b = block_of(p);

		memcpy(to, p, b->bytes < bytes ? b->bytes : bytes);
		fuzz_free(p);
	}
	return to;
}

/* Poisoned until the thaw: a use after it is found. */
void fuzz_free(void *p)
{
	if (p) {
		struct block *b = block_of(p);

		POISON(p, b->bytes);
	}
}

void *fuzz_segment(size_t bytes)
{
	void *p = fuzz_aligned(4096, bytes);

	FUZZ_CHECK(p);
	memset(p, 0, bytes);
	return p;
}

void fuzz_freeze(void)
{
	frozen_top = arena_top;
	n_frozen = n_blocks;
	frozen = malloc(frozen_top);
	FUZZ_CHECK(frozen);
	for (uint32_t i = 0; i < n_frozen; i++) {
		UNPOISON(arena + blocks[i].off, blocks[i].bytes);
		memcpy(frozen + blocks[i].off, arena + blocks[i].off,
		       blocks[i].bytes);
	}
}

void fuzz_thaw(void)
{
	for (uint32_t i = n_frozen; i < n_blocks; i++)
		POISON(arena + blocks[i].off, blocks[i].bytes);
	for (uint32_t i = 0; i < n_frozen; i++) {
		UNPOISON(arena + blocks[i].off, blocks[i].bytes);
		memcpy(arena + blocks[i].off, frozen + blocks[i].off,
		       blocks[i].bytes);
	}
	arena_top = frozen_top;
	n_blocks = n_frozen;
}

/* ----------------------------------------------------------------- files -- */

static const void *file;
static size_t file_bytes;

void fuzz_file(const void *bytes, size_t n)
{
	file = bytes;
	file_bytes = n;
}

int fuzz_open(const char *path, int flags, ...)
{
	if (frozen && !strncmp(path, "/proc/", 6)) {
		errno = ENOENT;
		return -1;
	}
	return file ? FAKE_FD : open(path, flags, 0600);
}

int fuzz_close(int fd)
{
	return fd >= FAKE_FD ? 0 : close(fd);
}

int fuzz_fstat(int fd, struct stat *st)
{
	if (fd != FAKE_FD)
		return fstat(fd, st);
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFREG | 0600;
	st->st_uid = fuzz_geteuid();
	st->st_size = (off_t)file_bytes;
	return 0;
}

int fuzz_lstat(const char *path, struct stat *st)
{
	return file ? fuzz_fstat(FAKE_FD, st) : lstat(path, st);
}

/* The file's creator lives: he has it locked. */
int fuzz_fcntl(int fd, int cmd, ...)
{
	struct flock *lock;
	va_list ap;
	int ret;

	va_start(ap, cmd);
	if (cmd == F_OFD_SETLK || cmd == F_OFD_GETLK) {
		lock = va_arg(ap, struct flock *);
		ret = fd == FAKE_FD ? 0 : fcntl(fd, cmd, lock);
		if (fd == FAKE_FD)
			lock->l_type = F_WRLCK;
	} else {
		ret = fcntl(fd, cmd, va_arg(ap, int));
	}
	va_end(ap);
	return ret;
}

/* The namespaces that we are in, which do not change. */
int fuzz_stat(const char *path, struct stat *st)
{
	static struct {
		const char *path;
		struct stat st;
	} known[4];

	for (uint32_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!known[i].path && !stat(path, &known[i].st))
			known[i].path = path;
		if (known[i].path && !strcmp(known[i].path, path)) {
			*st = known[i].st;
			return 0;
		}
	}
	return stat(path, st);
}

ssize_t fuzz_pread(int fd, void *to, size_t n, off_t off)
{
	if (fd != FAKE_FD)
		return pread(fd, to, n, off);
	if ((uint64_t)off >= file_bytes)
		return 0;
	if (n > file_bytes - (size_t)off)
		n = file_bytes - (size_t)off;
	memcpy(to, (const unsigned char *)file + off, n);
	return (ssize_t)n;
}

/* Segments lie in the arena; those of a file begin as that. */
void *fuzz_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	void *p = fuzz_aligned(4096, n);
	size_t of_file = 0;

	(void)at;
	(void)prot;
	(void)flags;
	(void)off;
	if (!p)
		return MAP_FAILED;
	if (fd == FAKE_FD) {
		of_file = n < file_bytes ? n : file_bytes;
		memcpy(p, file, of_file);
	}
	memset((char *)p + of_file, 0, n - of_file);
	return p;
}

int fuzz_munmap(void *p, size_t n)
{
	(void)n;
	fuzz_free(p);
	return 0;
}

int fuzz_madvise(void *p, size_t n, int advice)
{
	(void)p;
	(void)n;
	(void)advice;
	return 0;
}

/* ------------------------------------------------- time and other people -- */

static uint64_t now_ns = 1000000000;

uint64_t fuzz_now_ns(void)
{
	now_ns += TICK_NS;
	return now_ns;
}

int fuzz_clock(clockid_t clock, struct timespec *t)
{
	uint64_t now = fuzz_now_ns();

	(void)clock;
	t->tv_sec = (time_t)(now / 1000000000);
	t->tv_nsec = (long)(now % 1000000000);
	return 0;
}

/* Who yields lets time go by; and who does it again and again is as endless as
 * who looks. */
int fuzz_yield(void)
{
	now_ns += 1000 * TICK_NS;
	if (steps <= 16)
		step_limit();
	steps -= 16;
	return 0;
}

int fuzz_poll(struct pollfd *p, nfds_t n, int timeout)
{
	(void)p;
	(void)n;
	(void)timeout;
	return 0;
}

/* Barriers are not needed, and a sleep is an error that ends the wait. */
long fuzz_syscall(long number, ...)
{
	if (number == SYS_membarrier)
		return 0;
#ifdef SYS_pidfd_open
	if (number == SYS_pidfd_open)
		return FAKE_PIDFD;
#endif
	errno = ENOSYS;
	return -1;
}

pid_t fuzz_getpid(void)
{
	static pid_t pid;

	if (!pid)
		pid = getpid();
	return pid;
}

uid_t fuzz_geteuid(void)
{
	static uid_t uid = (uid_t)-1;

	if (uid == (uid_t)-1)
		uid = geteuid();
	return uid;
}

/* Two processors. */
int fuzz_affinity(pid_t pid, size_t bytes, void *mask)
{
	(void)pid;
	memset(mask, 0, bytes);
	*(unsigned char *)mask = 3;
	return 0;
}

static pid_t child;

/* A child, for those who must have one: the first time.  It ends at once, and
 * as nobody reaps it, its pid stays its own. */
pid_t fuzz_fork(void)
{
	if (child) {
		errno = EAGAIN;
		return -1;
	}
	child = fork();
	if (!child)
		_exit(0);
	return child;
}

int fuzz_kill(pid_t pid, int sig)
{
	(void)sig;
	if (pid == fuzz_getpid() || pid == child)
		return 0;
	errno = ESRCH; /* any other is dead */
	return -1;
}

int fuzz_waitid(idtype_t type, id_t id, siginfo_t *si, int options)
{
	(void)type;
	(void)id;
	(void)options;
	memset(si, 0, sizeof(*si)); /* it lives */
	return 0;
}
