/*
 * waiter_nouring.c - what stands for waiter_uring.c in a build --without-uring
 *
 * As on a kernel that gives us no ring: who asks for one gets -ENOSYS, and all
 * others sleep with futexes.
 */
#include "config.h"

#include <errno.h>

#include "lib/waiter_impl.h"

int sb_uring_open(struct sb_waiter *w)
{
	(void)w;
	return -ENOSYS;
}

int sb_uring_park(struct sb_waiter *w, uint32_t seen, uint64_t ns)
{
	(void)w;
	(void)seen;
	(void)ns;
	return -ENOSYS;
}

void sb_uring_close(struct sb_waiter *w)
{
	(void)w;
}

void sb_uring_disarm(struct sb_waiter *w, struct sb_watch *watch)
{
	(void)w;
	(void)watch;
}
