/*
 * shm.h - shared memory and descriptors in tests
 */
#ifndef TEST_SUPPORT_SHM_H
#define TEST_SUPPORT_SHM_H

#include <stddef.h>
#include <sys/types.h>

/*
 * A bus name that no other test process uses: "t<pid>-<what>".  The pid is
 * that of the process that first asked, so that forked children agree with
 * their parent.  Valid until the fourth call from now.
 */
const char *t_name(const char *what);

/* Put @prefix in front of all of them; it is not copied. */
void t_name_prefix(const char *prefix);

/* "/dev/shm/shmbus." + name, the file behind it; as long valid as t_name. */
const char *t_shm_path(const char *name);

/*
 * How many of the names that t_name() makes are left in /dev/shm; prints each
 * to stderr.
 */
int t_shm_leftovers(void);

/* Remove them: for .fini of suites whose tests kill creators. */
void t_shm_clean(void);

/* Open descriptors, and mappings, of this process. */
int t_count_fds(void);
int t_count_maps(void);

#endif
