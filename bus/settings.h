/*
 * settings.h - defaults and checks of the public config structs
 */
#ifndef BUS_SETTINGS_H
#define BUS_SETTINGS_H

#include "bus/shmbus.h"

/*
 * bus_config_copy - take over a caller's struct of any age
 * @known: size of the struct that this library knows
 *
 * Fields that the caller does not have are 0 in @to.  A field that we do not
 * have must be 0 in @from, else -E2BIG: the caller asks for something that we
 * would silently not do.  NULL is all zeros.
 */
int bus_config_copy(void *to, size_t known, const void *from);

/* Check and complete.  0 or -EINVAL. */
int bus_config_fill(struct bus_config *config);
int bus_queue_config_fill(struct bus_queue_config *config);
int bus_pipe_config_fill(struct bus_pipe_config *config);
int bus_coord_config_fill(struct bus_coord_config *config);
/* n_workers 0 becomes the processors that we may use.  Of a map, chunk and
 * window may stay 0: they follow from the pool. */
int bus_pool_config_fill(struct bus_pool_config *config);
int bus_task_config_fill(struct bus_task_config *config);
int bus_map_config_fill(struct bus_map_config *config);

#endif
