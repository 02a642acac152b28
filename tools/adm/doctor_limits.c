/*
 * doctor_limits.c - limits of the process that buses run into
 */
#include "config.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bus/layout.h"
#include "tools/adm/doctor.h"
#include "tools/adm/text.h"

/* The soft limit; UINT64_MAX is none. */
static uint64_t limit(int resource)
{
	struct rlimit r;

	if (getrlimit((__rlimit_resource_t)resource, &r) ||
	    r.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return r.rlim_cur;
}

/* From Linux 6.14 on a ring of ours takes this much, of all processes of a user
 * together. */
#define RING_BYTES 8192u

static void memlock(struct doctor *d)
{
	uint64_t bytes = limit(RLIMIT_MEMLOCK), n = bytes / RING_BYTES;
	char text[32];

	if (!doctor_linux_is(6, 14) || doctor_may(CAP_IPC_LOCK) ||
	    bytes == UINT64_MAX) {
		doctor_say(d, DOCTOR_OK, "locked memory",
			   "no limit that counts for io_uring");
		return;
	}
	doctor_say(d, n < SB_EP_MAX ? DOCTOR_NOTE : DOCTOR_OK, "locked memory",
		   "%s: %" PRIu64 " rings of io_uring, of 8 KiB each, for all "
		   "processes of this user",
		   text_bytes(text, sizeof(text), bytes), n);
	if (n < SB_EP_MAX)
		doctor_remedy(d, "Endpoints beyond that sleep as if there were "
				 "no io_uring: raise RLIMIT_MEMLOCK (ulimit "
				 "-l; LimitMEMLOCK= of a systemd unit; docker "
				 "run --ulimit memlock=-1).");
}

/* A worker costs its parent a pidfd and the end of a pipe, and a ring. */
#define FDS_OF_WORKER 2u
#define FDS_OF_OTHERS 32u

static void files(struct doctor *d)
{
	uint64_t n = limit(RLIMIT_NOFILE), workers;

	if (n >= FDS_OF_WORKER * BUS_CREW_MAX + FDS_OF_OTHERS) {
		if (n == UINT64_MAX)
			doctor_say(d, DOCTOR_OK, "open files", "no limit");
		else
			doctor_say(d, DOCTOR_OK, "open files", "%" PRIu64, n);
		return;
	}
	workers = n > FDS_OF_OTHERS ? (n - FDS_OF_OTHERS) / FDS_OF_WORKER : 0;
	doctor_say(
		d, workers < 4 ? DOCTOR_WARNING : DOCTOR_NOTE, "open files",
		"%" PRIu64 ": enough for about %" PRIu64
		" workers of a coordinator or pool, of which there may be %u",
		n, workers, BUS_CREW_MAX);
	doctor_remedy(d, "Raise RLIMIT_NOFILE (ulimit -n; LimitNOFILE= of a "
			 "systemd unit) where more are wanted, or bus calls "
			 "say EMFILE.");
}

/* Where the size of a file, or of all that is mapped, is limited. */
static void size_limit(struct doctor *d, const char *what, int resource,
		       const char *name, const char *flag, const char *happens)
{
	uint64_t bytes = limit(resource), memory, file;
	char is[32], wants[32];

	doctor_default_bus(&memory, &file);
	if (bytes == UINT64_MAX)
		doctor_say(d, DOCTOR_OK, what, "no limit");
	else
		doctor_say(d, bytes < file ? DOCTOR_WARNING : DOCTOR_OK, what,
			   "%s; a bus with default settings is %s large, "
			   "though it takes much less memory",
			   text_bytes(is, sizeof(is), bytes),
			   text_bytes(wants, sizeof(wants), file));
	if (bytes < file)
		doctor_remedy(d,
			      "%s Raise %s (ulimit -%s), or make "
			      "channel_bytes of struct bus_config small.",
			      happens, name, flag);
}

/* RLIMIT_NPROC does not count for root; the group's limit does. */
static void processes(struct doctor *d)
{
	uint64_t n = limit(RLIMIT_NPROC), group;

	if (doctor_may(CAP_SYS_RESOURCE) || doctor_may(CAP_SYS_ADMIN))
		n = UINT64_MAX;
	group = doctor_group_limit("pids.max", "pids", "pids.max");
	if (group < n)
		n = group;
	if (n == UINT64_MAX) {
		doctor_say(d, DOCTOR_OK, "processes", "no limit");
		return;
	}
	doctor_say(d, n < 2 * BUS_CREW_MAX ? DOCTOR_NOTE : DOCTOR_OK,
		   "processes", "%" PRIu64 " at most, of this %s", n,
		   group == n ? "control group" : "user");
	if (n < 2 * BUS_CREW_MAX)
		doctor_remedy(d,
			      "A pool whose workers cannot be forked waits and "
			      "tries again: raise %s.",
			      group == n ? "pids.max (TasksMax= of a systemd "
					   "unit; docker run --pids-limit)"
					 : "RLIMIT_NPROC (ulimit -u; "
					   "LimitNPROC= of a systemd unit)");
}

void doctor_limits(struct doctor *d)
{
	memlock(d);
	files(d);
	size_limit(d, "file size", RLIMIT_FSIZE, "RLIMIT_FSIZE", "f",
		   "The kernel kills who creates a larger one (SIGXFSZ).");
	size_limit(d, "address space", RLIMIT_AS, "RLIMIT_AS", "v",
		   "To create or open a larger one says ENOMEM.");
	processes(d);
}
