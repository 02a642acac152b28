/*
 * fence.c - the heavy side of an asymmetric store-load barrier (fence.h)
 */
#include "config.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fence.h"

static long membarrier(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0);
}

int sb_fence_register(void)
{
#ifdef SB_TSAN
	return -ENOSYS; /* TSan cannot see it */
#else
	return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) ? -errno
								    : 0;
#endif
}

void sb_fence_heavy(bool asym)
{
	fence_seqcst();
	/* It fails only if it was forbidden since we registered (a filter), or
	 * memory is short; the slow kind, milliseconds, needs neither. */
	if (asym && membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED))
		membarrier(MEMBARRIER_CMD_GLOBAL);
}
