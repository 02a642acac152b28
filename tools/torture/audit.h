/*
 * audit.h - what is left of a point when all the others are gone: nothing
 *
 * What is left is told as a point that is bad, see point.h.
 */
#ifndef TORTURE_AUDIT_H
#define TORTURE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/shmbus.h"

/* Recovers the dead: no endpoint but our own, every slot and cell is free.
 * False when somebody is still there. */
bool audit_bus(struct bus *bus);

/* All @max ids of endpoints can be used again. */
void audit_ids(struct bus *bus, uint32_t max);

/* How many channels there are, used or not. */
uint32_t audit_channels(const struct bus *bus);

/* Does a bus with these settings work with io_uring? */
bool audit_may_uring(struct bus_config c);

#endif
