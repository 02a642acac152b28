/*
 * mapped.h - who has a file of /dev/shm mapped, as far as we may know
 *
 * /proc/PID/maps tells, of processes that we may look into.  Others count as
 * hidden, for they may have it, if
 *
 *	- they run as its user, or as its group and its mode lets that in; one
 *	  that could open it as root only, or before it changed its user, is an
 *	  endpoint of the bus, and so known by the bus's own table;
 *	- and they began after the file was made: who has it and is no endpoint
 *	  is a child that has inherited the mapping.  So pid 1, which nobody may
 *	  look into on some machines, does not count.
 */
#ifndef ADM_MAPPED_H
#define ADM_MAPPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define MAPPED_PIDS 16 /* that are remembered; more are counted */

struct mapped {
	dev_t dev; /* which file, and who may open it: set by mapped_init() */
	ino_t ino; /* 0: none, which nobody has */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	int64_t made_ns; /* CLOCK_REALTIME; INT64_MIN: unknown */

	size_t n; /* processes that have it mapped */
	pid_t pid[MAPPED_PIDS];
	size_t n_hidden; /* that may have it mapped */
	pid_t hidden[MAPPED_PIDS];
	bool is_blind; /* there are processes that /proc does not show us, and
			* the file is not ours alone */
};

/* Are there no processes but those that we see, or that are hidden from us?
 * So it is in the first pid namespace, which is above all others. */
bool mapped_sees_all(void);

/* Of the file of @fd.  0 or -errno. */
int mapped_init(struct mapped *m, int fd);

/* Note that @pid has it, if it is not known yet. */
void mapped_add(struct mapped *m, pid_t pid);

/* Look at all processes for all of @n files.  0 or -errno. */
int mapped_find(struct mapped *m, size_t n);

/*
 * The parts, for tests.  A line of maps: which file does it map, if any?  The
 * text of status: do the file's permissions let this process in?  When it began,
 * since boot, and the time of boot: is it so young?
 */
bool mapped_line(const char *line, dev_t *dev, ino_t *ino);
bool mapped_may_open(const struct mapped *m, const char *status);
bool mapped_is_younger(const struct mapped *m, int64_t boot_ns,
		       int64_t began_ns);

#endif
