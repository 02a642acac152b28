/*
 * doctor_space.c - namespaces and /proc: whom do we see, and who sees us?
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"
#include "tools/adm/doctor.h"

/* Inodes of the first namespaces, in linux/proc_ns.h of the kernel. */
#define FIRST_PID_NS  UINT64_C(0xeffffffc)
#define FIRST_TIME_NS UINT64_C(0xeffffffa)

static void one_space(struct doctor *d, const char *what, uint64_t is,
		      uint64_t first, const char *option)
{
	if (!is || is == first) {
		doctor_say(d, DOCTOR_OK, what, "%s",
			   is ? "the machine's" : "not known to this kernel");
		return;
	}
	doctor_say(d, DOCTOR_NOTE, what,
		   "one of its own (%" PRIu64 "), as containers have: buses of "
		   "another one cannot be opened (EXDEV)",
		   is);
	doctor_remedy(d,
		      "Nothing to do for buses that are used in here only; "
		      "to share one with others: %s.",
		      option);
}

/* Start times are read there, and they tell a pid's owner from the next. */
static void proc(struct doctor *d)
{
	char self[32];
	ssize_t n = readlink("/proc/self", self, sizeof(self) - 1);

	if (n <= 0) {
		doctor_say(d, DOCTOR_WARNING, "/proc",
			   "is not there: no bus can be created by a name");
		doctor_remedy(d, "mount -t proc proc /proc.");
		return;
	}
	self[n] = '\0';
	if (atol(self) != (long)getpid() || !sb_proc_self().start_time) {
		doctor_say(d, DOCTOR_WARNING, "/proc",
			   "shows another pid namespace, not ours: deaths "
			   "cannot be told");
		doctor_remedy(d, "mount -t proc proc /proc in here (unshare "
				 "--mount-proc).");
		return;
	}
	if (access("/proc/1/stat", F_OK)) {
		doctor_say(
			d, DOCTOR_NOTE, "/proc",
			"hides other users' processes (hidepid): of one "
			"whose pid was given again to a hidden one it cannot "
			"be proven that it is dead");
		doctor_remedy(d, "Nothing to do for buses of one user; else "
				 "run them with the group that the mount "
				 "option gid= of /proc names.");
		return;
	}
	doctor_say(d, DOCTOR_OK, "/proc", "shows our pid namespace");
}

static void tracing(struct doctor *d)
{
	long scope = doctor_number("/proc/sys/kernel/yama/ptrace_scope");

	if (doctor_may(CAP_SYS_PTRACE)) {
		doctor_say(d, DOCTOR_OK, "tracing",
			   "busadm can look into all processes (pid:PID)");
	} else if (scope <= 0) {
		doctor_say(d, DOCTOR_OK, "tracing",
			   "busadm can look into processes of this user "
			   "(pid:PID)");
	} else {
		doctor_say(
			d, DOCTOR_NOTE, "tracing",
			"kernel.yama.ptrace_scope is %ld: busadm cannot look "
			"at unnamed buses (pid:PID), and shmbus does not "
			"need it",
			scope);
		doctor_remedy(d, scope < 3 ? "Look at those as root, or sysctl "
					     "kernel.yama.ptrace_scope=0."
					   : "Look at those as root.");
	}
}

void doctor_space(struct doctor *d)
{
	one_space(d, "pid namespace", sb_proc_pid_ns(), FIRST_PID_NS,
		  "docker run --pid=container:NAME or --pid=host, "
		  "shareProcessNamespace in Kubernetes");
	one_space(d, "time namespace", sb_proc_time_ns(), FIRST_TIME_NS,
		  "nsenter --time --target PID");
	proc(d);
	tracing(d);
}
