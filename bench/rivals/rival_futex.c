/*
 * rival_futex.c - one message beside a futex word: the least that sleeping
 * and waking costs
 *
 * One writer, one reader, room for one message.  It serves where the last
 * message has been taken long before the next one is sent, as in rtt and wake;
 * should it not have been, the writer yields.
 */
#include "config.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/rivals/common.h"
#include "bench/transport.h"

struct cell {
	alignas(128) _Atomic uint32_t n_taken; /* the reader's */
	alignas(128) _Atomic uint32_t n_sent;  /* the writer's; the futex */
	unsigned char data[];
};

struct lane {
	struct cell *cell;
	size_t map_bytes;
};

static int futex_open(const struct spec *spec, struct lane **lane,
		      struct outcome *out)
{
	struct lane *made = calloc(1, sizeof(*made));

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	made->map_bytes = sizeof(struct cell) + spec->bytes;
	made->cell = rival_map(made->map_bytes);
	if (!made->cell) {
		free(made);
		return outcome_set(out, OUTCOME_FAILED, "no memory: %s",
				   strerror(errno));
	}
	*lane = made;
	return 0;
}

static void futex_close(struct lane *lane)
{
	munmap(lane->cell, lane->map_bytes);
	free(lane);
}

static int futex_put(struct lane *lane, const void *msgs, size_t bytes,
		     size_t n, bool wait)
{
	struct cell *cell = lane->cell;

	uint32_t n_sent =
		atomic_load_explicit(&cell->n_sent, memory_order_relaxed);

	(void)n;
	while (atomic_load_explicit(&cell->n_taken, memory_order_acquire) !=
	       n_sent) {
		if (!wait)
			return -EAGAIN;
		sched_yield();
	}
	memcpy(cell->data, msgs, bytes);
	atomic_store_explicit(&cell->n_sent, n_sent + 1, memory_order_release);
	syscall(SYS_futex, &cell->n_sent, FUTEX_WAKE, 1, NULL, NULL, 0);
	return 1;
}

static int futex_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		     bool wait)
{
	struct cell *cell = lane->cell;
	uint32_t n_taken =
		atomic_load_explicit(&cell->n_taken, memory_order_relaxed);

	(void)n;
	while (atomic_load_explicit(&cell->n_sent, memory_order_acquire) ==
	       n_taken) {
		if (!wait)
			return -EAGAIN;
		syscall(SYS_futex, &cell->n_sent, FUTEX_WAIT, n_taken, NULL,
			NULL, 0);
	}
	memcpy(msgs, cell->data, bytes);
	atomic_store_explicit(&cell->n_taken, n_taken + 1,
			      memory_order_release);
	return 1;
}

const struct transport rival_futex = {
	.name = "futex",
	.what = "one bare futex word: the least that a wake-up costs",
	.loads = LOAD_BIT(LOAD_RTT) | LOAD_BIT(LOAD_WAKE) | LOAD_BIT(LOAD_IDLE),
	.waits = "block",
	.open = futex_open,
	.close = futex_close,
	.put = futex_put,
	.get = futex_get,
};
