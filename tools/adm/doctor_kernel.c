/*
 * doctor_kernel.c - is there in the kernel what shmbus asks of it?
 */
#include "config.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/fence.h"
#include "lib/waiter.h"
#include "tools/adm/doctor.h"
#include "tools/adm/text.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on every arch */
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static void kernel(struct doctor *d)
{
	struct utsname u;

	if (uname(&u))
		memset(&u, 0, sizeof(u));
	if (doctor_release_is(u.release, 5, 3)) {
		doctor_say(d, DOCTOR_OK, "kernel", "%.40s %.60s, %.40s",
			   u.sysname, u.release, u.machine);
		return;
	}
	doctor_say(d, DOCTOR_WARNING, "kernel", "%.40s %.60s is too old",
		   u.sysname, u.release);
	doctor_remedy(d, "shmbus needs pidfds, which Linux has since 5.3, and "
			 "sleeps best from 6.7 on.");
}

static void processors(struct doctor *d)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 0 : CPU_COUNT(&set);

	if (n != 1) {
		doctor_say(d, DOCTOR_OK, "processors", n ? "%d" : "many", n);
		return;
	}
	doctor_say(d, DOCTOR_NOTE, "processors",
		   "1: nobody runs while another "
		   "spins");
	doctor_remedy(d, "Endpoints notice and yield; never use "
			 "BUS_SPIN_ALWAYS here.");
}

/* io_uring ------------------------------------------------------------------ */

/* As an endpoint does whose config says BUS_WAIT_URING. */
static int try_ring(void)
{
	static struct {
		alignas(SB_FAR) _Atomic uint32_t bell;
	} bell[2];
	struct sb_bells bells = { .base = (unsigned char *)bell,
				  .stride = sizeof(bell[0]),
				  .n = 2 };
	struct sb_sleepers running = { 0 };
	struct sb_waiter w;
	int ret = sb_waiter_init(&w, &bells, 1, &running, SB_BACKEND_URING,
				 SB_SPIN_NEVER, 0);

	if (!ret)
		sb_waiter_close(&w);
	return ret;
}

/* Is there a ring at all, though perhaps one that is too old for us? */
static int try_setup(void)
{
	struct io_uring_params p = { 0 };
	long fd = syscall(SYS_io_uring_setup, 1, &p);

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

/* Why there is none, and who could change that. */
static void say_no_ring(struct doctor *d, enum doctor_level level, int error)
{
	long off = doctor_number("/proc/sys/kernel/io_uring_disabled");
	const char *filter = doctor_has_filter()
				     ? "a seccomp filter, as containers have "
				       "it, may be the reason: allow "
				       "io_uring_setup, io_uring_enter and "
				       "io_uring_register in its profile"
				     : "a security module may be the reason";

#ifndef WITH_URING
	doctor_say(d, level, "io_uring", "not in this build of shmbus");
	doctor_remedy(d, "Build it with liburing; until then endpoints sleep "
			 "with futex(2), and who waits for workers, pipes or "
			 "descriptors learns of a death up to 50 ms late.");
	return;
#endif
	doctor_say(d, level, "io_uring",
		   "cannot be used (%s): who waits for "
		   "workers, pipes or descriptors learns "
		   "of a death up to 50 ms late",
		   strerror(-error));
	if (off > 0)
		doctor_remedy(d,
			      "It is switched off here: sysctl "
			      "kernel.io_uring_disabled=0%s.",
			      off == 1 ? ", or make the service's group "
					 "kernel.io_uring_group"
				       : "");
	else if (error == -ENOMEM)
		doctor_remedy(d, "It is short of memory that may be locked: "
				 "raise RLIMIT_MEMLOCK (ulimit -l; "
				 "LimitMEMLOCK= of a systemd unit; docker run "
				 "--ulimit memlock=-1).");
	else if (try_setup() == 0)
		doctor_remedy(d, "There are rings, but none with futex "
				 "operations: Linux has those since 6.7.");
	else if (error == -ENOSYS && !doctor_has_filter())
		doctor_remedy(d, "This kernel has none, or its makers left it "
				 "out (CONFIG_IO_URING).");
	else
		doctor_remedy(d, "Here %s.", filter);
}

static void io_uring(struct doctor *d)
{
	const char *wait = getenv("BUS_WAIT");
	int ret = try_ring();

	if (!ret)
		doctor_say(d, DOCTOR_OK, "io_uring",
			   "can be used, with futex operations");
	else if (wait && !strcmp(wait, "uring"))
		say_no_ring(d, DOCTOR_WARNING, ret);
	else
		say_no_ring(d, DOCTOR_NOTE, ret);
}

static void bus_wait_variable(struct doctor *d)
{
	const char *wait = getenv("BUS_WAIT");
	char name[80];

	if (!wait || !*wait || !strcmp(wait, "auto"))
		return;
	if (!strcmp(wait, "uring") || !strcmp(wait, "futex")) {
		doctor_say(d, DOCTOR_NOTE, "BUS_WAIT",
			   "is %s: so all endpoints sleep whose programs leave "
			   "it open",
			   wait);
		doctor_remedy(d, "Unset it, unless that is what is wanted.");
		return;
	}
	doctor_say(d, DOCTOR_WARNING, "BUS_WAIT",
		   "is '%s': bus_create() and bus_open() say EINVAL",
		   text_name(name, sizeof(name), wait));
	doctor_remedy(d, "Unset it, or make it auto, uring or futex.");
}

/* The rest ------------------------------------------------------------------ */

static void membarrier(struct doctor *d)
{
	int ret = sb_fence_register();

	if (!ret) {
		doctor_say(d, DOCTOR_OK, "membarrier", "can be used");
		return;
	}
	doctor_say(d, DOCTOR_WARNING, "membarrier",
		   "cannot be used (%s): buses that others have made cannot be "
		   "opened here",
		   strerror(-ret));
	doctor_remedy(d,
		      "%s; or create those buses with BUS_F_FENCE, which "
		      "costs some ten ns a message.",
		      doctor_has_filter()
			      ? "Allow membarrier in the seccomp profile"
			      : "Use a kernel with CONFIG_MEMBARRIER, 4.16 or "
				"newer");
}

static void pidfds(struct doctor *d)
{
	long fd = syscall(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0) {
		close((int)fd);
		doctor_say(d, DOCTOR_OK, "pidfd", "can be used");
		return;
	}
	doctor_say(d, DOCTOR_WARNING, "pidfd",
		   "cannot be used (%s): no coordinator, pool or pipe works",
		   strerror(errno));
	doctor_remedy(d, "%s.",
		      doctor_has_filter()
			      ? "Allow pidfd_open in the seccomp profile"
			      : "Use Linux 5.3 or newer");
}

/* As lib/seg.c asks. */
static void populate(struct doctor *d)
{
	uint64_t memory, file;
	char bytes[32];

	doctor_default_bus(&memory, &file);
	text_bytes(bytes, sizeof(bytes), file);
	if (madvise(NULL, 0, MADV_POPULATE_WRITE) == 0) {
		doctor_say(d, DOCTOR_OK, "lazy memory",
			   "channels take memory as they are made");
		return;
	}
	doctor_say(d, DOCTOR_NOTE, "lazy memory",
		   "a bus takes all its memory when it is made, %s with "
		   "default settings",
		   bytes);
	doctor_remedy(d, "Linux 5.14 does better; here make channel_bytes of "
			 "struct bus_config small.");
}

void doctor_kernel(struct doctor *d)
{
	kernel(d);
	processors(d);
	io_uring(d);
	bus_wait_variable(d);
	membarrier(d);
	pidfds(d);
	populate(d);
}
