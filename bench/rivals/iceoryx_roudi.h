/*
 * iceoryx_roudi.h - RouDi, the daemon of iceoryx, in a process of ours
 *
 * There can be one on a machine, as the names of its lock, its socket and its
 * memory are constants of the library.
 */
#ifndef BENCH_RIVALS_ICEORYX_ROUDI_H
#define BENCH_RIVALS_ICEORYX_ROUDI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The messages that it has room for: one pool of them. */
struct iceoryx_pool {
	size_t bytes; /* of a message */
	uint32_t n;
};

/* What it takes of /dev/shm then. */
uint64_t iceoryx_roudi_bytes(struct iceoryx_pool pool);

/* Be it, until nobody has the other end of the pipe @stop_fd any more.  A line
 * "ready" goes to @ready_fd when clients may come.  Returns 0, or -errno if it
 * did not come so far: -EADDRINUSE, there is one already. */
int iceoryx_roudi_run(struct iceoryx_pool pool, int ready_fd, int stop_fd);

/* It was killed: remove what it leaves, and what clients did whose names begin
 * with @prefix.  Not if there is another one. */
void iceoryx_roudi_clean(const char *prefix);

#ifdef __cplusplus
}
#endif

#endif
