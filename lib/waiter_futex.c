/*
 * waiter_futex.c - futex(2) back-end of waiter.c
 *
 * Also the wake side of both back-ends: a FUTEX_WAIT of io_uring is woken by
 * a plain futex(2) wake, so an endpoint need not know how its peers sleep.
 *
 * The words are shared between processes, so no call here may say
 * FUTEX_PRIVATE_FLAG: a private wake never meets a sleeper of another process.
 *
 * Why no ring is lost: the kernel compares the bell with S1's value and queues
 * the sleeper in one step, under the lock that a wake takes.  A bell rung
 * (K5) before that step differs; one rung after it finds the sleeper.
 *
 * Killed while asleep: the kernel takes the sleeper off the queue.  Killed
 * between bell++ and wake: a sleeper that stays asleep until its slice of
 * time, or recovery, ends the park.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/waiter_impl.h"

int sb_futex_park(struct sb_waiter *w, uint32_t seen, uint64_t ns)
{
	struct timespec t = sb_timespec(ns);

	/* S5 <- K5; the timeout is relative, CLOCK_MONOTONIC */
	if (syscall(SYS_futex, sb_own_bell(w), FUTEX_WAIT, seen, &t) == 0 ||
	    errno == EAGAIN || errno == ETIMEDOUT)
		return 0;
	return -errno;
}

/*
 * All sleepers of the word, not one: the word has one owner, but the kernel
 * may still know an earlier sleeper on it that will never take anything (a
 * ring being torn down, a dying predecessor that had this endpoint id, our own
 * armed ring while we sleep in futex(2)), and that one must not eat the wake.
 */
int sb_futex_wake(_Atomic uint32_t *bell)
{
	long n = syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX);

	return n > 0 ? (int)n : 0;
}
