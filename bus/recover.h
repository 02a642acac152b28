/*
 * recover.h - what happens when an endpoint dies
 */
#ifndef BUS_RECOVER_H
#define BUS_RECOVER_H

#include "bus/bus.h"

/* Look at every endpoint and recover the dead.  Returns how many. */
int bus_recover_dead(struct bus *bus);

/* All endpoints of process @pid, a child of ours that is proven dead. */
int bus_recover_pid(struct bus *bus, pid_t pid);

/* bus_recover_dead, unless somebody did it a moment ago: what the heartbeat
 * of every sleeping endpoint calls. */
void bus_sweep(void *bus);

/* Settle what we ourselves hold, before we leave. */
void bus_settle_own(struct bus *bus);

/* Free cells that no message refers to any more. */
void bus_sweep_cells(struct bus *bus);

#endif
