/*
 * iceoryx_daemon.h - RouDi while it is wanted, and nothing of it afterwards
 */
#ifndef BENCH_RIVALS_ICEORYX_DAEMON_H
#define BENCH_RIVALS_ICEORYX_DAEMON_H

#include <stddef.h>

#include "bench/outcome.h"
#include "bench/rivals/iceoryx_roudi.h"

/* There is one that has room for @pool, from now on until busbench ends or
 * wants another one.  On failure sets @out and returns -1. */
int iceoryx_daemon_want(struct iceoryx_pool pool, struct outcome *out);

/* No client is left: end it, as it may be broken. */
void iceoryx_daemon_end(void);

/* What names of clients begin with, "busbench.<pid>." */
void iceoryx_daemon_prefix(char *buf, size_t size);

#endif
