/*
 * find.h - which buses there are, and who has them
 */
#ifndef ADM_FIND_H
#define ADM_FIND_H

#include "tools/adm/view.h"

#define FIND_DIR    "/dev/shm"
#define FIND_PREFIX FIND_DIR "/shmbus."

/*
 * find_parse_pid - is @arg pid:PID or pid:PID:N?
 *
 * Returns 1 and the numbers (N is 1 unless given), 0 when it does not begin
 * with "pid:", or -EINVAL.
 */
int find_parse_pid(const char *arg, int *pid, int *nth);

/* The process that holds the lock of a file, or 0 when we cannot see it.  @likely
 * are @n pids to look at first. */
pid_t find_lock_holder(dev_t dev, ino_t ino, const uint32_t *likely, size_t n);

/*
 * find_open_unnamed - the @nth unnamed bus, from 1, that @pid has mapped
 *
 * As view_open(), but not examined yet.
 */
int find_open_unnamed(struct view *v, pid_t pid, int nth,
		      char why[VIEW_WHY_BYTES]);

/* A bus, as view_open() wants it called: "jobs", "pid:123", "pid:123:2". */
struct find_bus {
	char *arg;
	uint32_t n_processes; /* that have it mapped and that we may look at */
};

struct find_list {
	struct find_bus *bus;
	size_t n;
};

/* All that we can see, named ones first; 0 or -errno. */
int find_all(struct find_list *list);
void find_free(struct find_list *list);

#endif
