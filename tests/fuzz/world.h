/*
 * world.h - the world in which fuzzed code lives; before each of its sources
 *
 * Every atomic access counts as a step, so that an endless loop is found
 * without a clock; time goes on by itself; nobody sleeps, forks or kills; and
 * private memory comes from an arena that can be set back (fuzz.h).  Once that
 * is frozen there are no system calls: one takes as long as a call of ours.
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A call, though a decrement would do: a branch at each access would be a place
 * that libFuzzer counts, of which nothing can be learned. */
void fuzz_step(void);

#define SB_ATOMICS_HOOK() fuzz_step()

uint64_t fuzz_now_ns(void);
int fuzz_clock(clockid_t clock, struct timespec *t);
long fuzz_syscall(long number, ...);
pid_t fuzz_fork(void);
int fuzz_kill(pid_t pid, int sig);
int fuzz_waitid(idtype_t type, id_t id, siginfo_t *si, int options);
int fuzz_poll(struct pollfd *p, nfds_t n, int timeout);
int fuzz_yield(void);
void *fuzz_calloc(size_t n, size_t bytes);
void *fuzz_malloc(size_t bytes);
void *fuzz_realloc(void *p, size_t bytes);
void *fuzz_aligned(size_t align, size_t bytes);
void fuzz_free(void *p);
int fuzz_open(const char *path, int flags, ...);
int fuzz_close(int fd);
int fuzz_fcntl(int fd, int cmd, ...);
int fuzz_fstat(int fd, struct stat *st);
int fuzz_lstat(const char *path, struct stat *st);
ssize_t fuzz_pread(int fd, void *to, size_t n, off_t off);
void *fuzz_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off);
int fuzz_munmap(void *p, size_t n);
int fuzz_madvise(void *p, size_t n, int advice);
int fuzz_stat(const char *path, struct stat *st);
pid_t fuzz_getpid(void);
uid_t fuzz_geteuid(void);
int fuzz_affinity(pid_t pid, size_t bytes, void *mask);

#ifndef FUZZ_NO_WORLD
#define SB_RING_NOW_NS()        fuzz_now_ns()
#define clock_gettime(c, t)     fuzz_clock(c, t)
#define syscall(...)            fuzz_syscall(__VA_ARGS__)
#define fork()                  fuzz_fork()
#define kill(p, s)              fuzz_kill(p, s)
#define waitid(t, i, s, o)      fuzz_waitid(t, i, s, o)
#define poll(p, n, t)           fuzz_poll(p, n, t)
#define sched_yield()           fuzz_yield()
#define nanosleep(t, rest)      ((void)(t), fuzz_yield())
#define calloc(n, b)            fuzz_calloc(n, b)
#define malloc(b)               fuzz_malloc(b)
#define realloc(p, b)           fuzz_realloc(p, b)
#define aligned_alloc(a, b)     fuzz_aligned(a, b)
#define free(p)                 fuzz_free(p)
#define open(...)               fuzz_open(__VA_ARGS__)
#define close(fd)               fuzz_close(fd)
#define fcntl(...)              fuzz_fcntl(__VA_ARGS__)
#define fstat(fd, st)           fuzz_fstat(fd, st)
#define lstat(path, st)         fuzz_lstat(path, st)
#define pread(fd, to, n, off)   fuzz_pread(fd, to, n, off)
#define mmap(a, n, p, f, fd, o) fuzz_mmap(a, n, p, f, fd, o)
#define munmap(p, n)            fuzz_munmap(p, n)
#define madvise(p, n, a)        fuzz_madvise(p, n, a)
#define stat(path, st)          fuzz_stat(path, st)
#define getpid()                fuzz_getpid()
#define geteuid()               fuzz_geteuid()
/* clang-format off */
#define sched_getaffinity(p, n, mask) fuzz_affinity(p, n, mask)
/* clang-format on */
#endif

#endif
