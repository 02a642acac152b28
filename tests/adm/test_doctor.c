/*
 * test_doctor.c - tests of tools/adm/doctor_*.c; Criterion suite "adm_doctor"
 *
 * Machines that lack something are made of filters, limits and folders, in a
 * child: what it then says of one check.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/proc.h"
#include "tools/adm/doctor.h"

TestSuite(adm_doctor, .timeout = 60.0);

static const struct doctor_line *line_of(const struct doctor *d,
					 const char *what)
{
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->line[i].what, what))
			return &d->line[i];
	return NULL;
}

/* What is not ok has a remedy, and what is has none. */
static int check_remedies(const struct doctor *d)
{
	T_CHECK(d->n > 0);
	for (size_t i = 0; i < d->n; i++) {
		const struct doctor_line *l = &d->line[i];

		T_CHECK(*l->what && strlen(l->what) <= 14 && *l->text);
		T_CHECK(!*l->remedy == (l->level == DOCTOR_OK));
		T_CHECK(strlen(l->text) < sizeof(l->text) - 1);
		T_CHECK(strlen(l->remedy) < sizeof(l->remedy) - 1);
	}
	return 0;
}

Test(adm_doctor, what_is_not_ok_has_a_remedy)
{
	static struct doctor d;

	doctor_kernel(&d);
	doctor_limits(&d);
	doctor_shm(&d);
	doctor_space(&d);
	doctor_works(&d);
	cr_assert_eq(check_remedies(&d), 0);
	cr_assert_lt(d.n, DOCTOR_LINES);
}

Test(adm_doctor, a_release_is_compared_by_its_numbers)
{
	cr_assert(doctor_release_is("6.18.44-fc", 6, 14));
	cr_assert(doctor_release_is("6.14", 6, 14));
	cr_assert(doctor_release_is("10.1-rc3", 6, 14));
	cr_assert_not(doctor_release_is("6.9.0", 6, 14));
	cr_assert_not(doctor_release_is("5.19", 6, 7));
	cr_assert_not(doctor_release_is("", 5, 3));
}

Test(adm_doctor, a_group_is_found_by_its_controller)
{
	static const char text[] = "9:name=systemd:/init.scope\n"
				   "8:cpu,pids:/user.slice/a:b\n"
				   "4:memory:/m\n"
				   "0::/user.slice/x.scope\n";
	char path[64];

	cr_assert(doctor_group_path(text, "pids", path, sizeof(path)));
	cr_assert_str_eq(path, "/user.slice/a:b");
	cr_assert(doctor_group_path(text, "memory", path, sizeof(path)));
	cr_assert_str_eq(path, "/m");
	cr_assert(doctor_group_path(text, "", path, sizeof(path)));
	cr_assert_str_eq(path, "/user.slice/x.scope");
	cr_assert_not(doctor_group_path(text, "cp", path, sizeof(path)));
	cr_assert_not(doctor_group_path(text, "memory", path, 2));
	cr_assert_not(doctor_group_path("", "", path, sizeof(path)));
	cr_assert_not(doctor_group_path("nonsense\n:\n", "", path, 64));
}

/* ------------------------------------------------------------ RemoveIPC -- */

static char root[64];

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "mkdir -p %s%s", root, dir);
	cr_assert_eq(system(path), 0);
	snprintf(path, sizeof(path), "%s%s/%s", root, dir, name);
	f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

static void make_root(void)
{
	strcpy(root, "/tmp/test_doctor.XXXXXX");
	cr_assert(mkdtemp(root));
}

static void remove_root(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	cr_assert_eq(system(command), 0);
}

Test(adm_doctor, logind_removes_ipc_unless_told_otherwise, .init = make_root,
     .fini = remove_root)
{
	cr_assert(doctor_removes_ipc(root));
	write_file("/usr/lib/systemd", "logind.conf",
		   "[Login]\nRemoveIPC=no\n");
	cr_assert_not(doctor_removes_ipc(root));
	/* the one in /etc takes its place, and says nothing */
	write_file("/etc/systemd", "logind.conf", "[Login]\n#RemoveIPC=no\n");
	cr_assert(doctor_removes_ipc(root));
	write_file("/etc/systemd", "logind.conf",
		   "[Login]\n RemoveIPC = no \nOther=yes\n");
	cr_assert_not(doctor_removes_ipc(root));
}

Test(adm_doctor, drop_ins_are_read_by_name_and_hide_each_other,
     .init = make_root, .fini = remove_root)
{
	write_file("/etc/systemd", "logind.conf", "RemoveIPC=no\n");
	write_file("/usr/lib/systemd/logind.conf.d", "50-a.conf",
		   "RemoveIPC=yes\n");
	cr_assert(doctor_removes_ipc(root));
	write_file("/run/systemd/logind.conf.d", "60-b.conf", "RemoveIPC=0\n");
	cr_assert_not(doctor_removes_ipc(root));
	write_file("/etc/systemd/logind.conf.d", "60-b.conf", "\n");
	cr_assert(doctor_removes_ipc(root));
	write_file("/etc/systemd/logind.conf.d", "70-c.txt", "RemoveIPC=no\n");
	cr_assert(doctor_removes_ipc(root));
}

/* ----------------------------------------------- machines without something -- */

static void expect(const struct doctor *d, const char *what,
		   enum doctor_level level, const char *remedy)
{
	const struct doctor_line *l = line_of(d, what);

	T_CHECK(l);
	if (l->level != level || !strstr(l->remedy, remedy))
		fprintf(stderr, "%s: %d: %s. %s\n", what, l->level, l->text,
			l->remedy);
	T_CHECK(l->level == level);
	T_CHECK(strstr(l->remedy, remedy));
}

static int without_io_uring(void *arg)
{
	struct doctor d = { 0 };

	unsetenv("BUS_WAIT");
	if (t_deny_io_uring(*(int *)arg))
		return T_SKIP;
	doctor_kernel(&d);
#ifdef WITH_URING
	expect(&d, "io_uring", DOCTOR_NOTE, "seccomp");
#else
	expect(&d, "io_uring", DOCTOR_NOTE, "liburing");
#endif
	setenv("BUS_WAIT", "uring", 1);
	d.n = 0;
	doctor_kernel(&d);
	expect(&d, "io_uring", DOCTOR_WARNING, "");
	expect(&d, "BUS_WAIT", DOCTOR_NOTE, "Unset it");
	return check_remedies(&d);
}

Test(adm_doctor, a_filter_that_forbids_io_uring_is_a_note)
{
	static int errors[] = { EPERM, ENOSYS };

	if (doctor_number("/proc/sys/kernel/io_uring_disabled") > 0)
		cr_skip_test("io_uring is switched off here");
	for (int i = 0; i < 2; i++)
		t_join_or_skip(t_fork(without_io_uring, &errors[i]),
			       "no seccomp filters");
}

static int without_calls(void *arg)
{
	struct doctor d = { 0 };

	(void)arg;
	if (t_deny_calls(SYS_membarrier, SYS_membarrier, EPERM) ||
	    t_deny_calls(SYS_pidfd_open, SYS_pidfd_open, EPERM) ||
	    t_deny_calls(SYS_memfd_create, SYS_memfd_create, EPERM))
		return T_SKIP;
	doctor_kernel(&d);
	doctor_works(&d);
	expect(&d, "membarrier", DOCTOR_WARNING, "seccomp");
	expect(&d, "pidfd", DOCTOR_WARNING, "seccomp");
	expect(&d, "an unnamed bus", DOCTOR_WARNING, "memfd_create");
	expect(&d, "a named bus", DOCTOR_OK, "");
	return check_remedies(&d);
}

Test(adm_doctor, other_calls_that_are_forbidden_are_warnings)
{
	t_join_or_skip(t_fork(without_calls, NULL), "no seccomp filters");
}

static int with_bus_wait(void *arg)
{
	struct doctor d = { 0 };

	setenv("BUS_WAIT", arg, 1);
	doctor_kernel(&d);
	if (!strcmp(arg, "auto"))
		T_CHECK(!line_of(&d, "BUS_WAIT"));
	else
		expect(&d, "BUS_WAIT", DOCTOR_WARNING, "auto, uring or futex");
	return 0;
}

Test(adm_doctor, a_wrong_bus_wait_is_a_warning)
{
	char wrong[] = "\033no", right[] = "auto";

	t_join(t_fork(with_bus_wait, wrong));
	t_join(t_fork(with_bus_wait, right));
}

static void limit(int resource, rlim_t n)
{
	struct rlimit r = { .rlim_cur = n, .rlim_max = n };

	T_CHECK(!setrlimit((__rlimit_resource_t)resource, &r));
}

static int with_limits(void *arg)
{
	struct doctor d = { 0 };

	(void)arg;
	limit(RLIMIT_FSIZE, 4096);
	limit(RLIMIT_NOFILE, 36);
	doctor_limits(&d);
	doctor_works(&d); /* and lives */
	expect(&d, "file size", DOCTOR_WARNING, "ulimit -f");
	expect(&d, "open files", DOCTOR_WARNING, "ulimit -n");
	expect(&d, "a named bus", DOCTOR_WARNING, "");
	return check_remedies(&d);
}

static int with_large_limits(void *arg)
{
	struct doctor d = { 0 };

	(void)arg;
	limit(RLIMIT_FSIZE, RLIM_INFINITY);
	limit(RLIMIT_NOFILE, 512);
	doctor_limits(&d);
	expect(&d, "file size", DOCTOR_OK, "");
	expect(&d, "open files", DOCTOR_OK, "");
	return 0;
}

static bool may_have(int resource, rlim_t n)
{
	struct rlimit r;

	return !getrlimit((__rlimit_resource_t)resource, &r) && r.rlim_max >= n;
}

Test(adm_doctor, limits_that_are_too_low_are_warnings)
{
	t_join(t_fork(with_limits, NULL));
	if (may_have(RLIMIT_FSIZE, RLIM_INFINITY) &&
	    may_have(RLIMIT_NOFILE, 512))
		t_join(t_fork(with_large_limits, NULL));
}

Test(adm_doctor, a_default_bus_is_large_and_takes_little)
{
	uint64_t memory, file;

	setenv("BUS_WAIT", "nonsense", 1);
	doctor_default_bus(&memory, &file);
	cr_assert_gt(file, UINT64_C(1) << 30);
	cr_assert_gt(memory, UINT64_C(16) << 20);
	cr_assert_lt(memory, UINT64_C(20) << 20);
}
