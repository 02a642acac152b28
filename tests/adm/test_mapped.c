/*
 * test_mapped.c - tests of tools/adm/mapped.c; Criterion suite "adm_mapped"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/support/proc.h"
#include "tools/adm/mapped.h"

TestSuite(adm_mapped, .timeout = 60.0);

static const struct mapped file = {
	.ino = 1234, .uid = 1000, .gid = 50, .mode = 0600
};

static bool line_is(const char *line, dev_t dev, ino_t ino)
{
	dev_t d;
	ino_t i;

	return mapped_line(line, &d, &i) && d == dev && i == ino;
}

Test(adm_mapped, a_line_tells_device_and_inode)
{
	dev_t dev = makedev(0, 0x19);

	cr_assert(line_is("7f5e9c000000-7f5edc400000 rw-s 00000000 00:19 1234 "
			  "    /dev/shm/shmbus.x\n",
			  dev, 1234));
	cr_assert(line_is("1000-2000 r--p 00001000 00:19 1234 "
			  "/dev/shm/shmbus.x (deleted)\n",
			  dev, 1234));
	cr_assert_not(line_is("1000-2000 rw-s 0 00:1a 1234 /a\n", dev, 1234));
	cr_assert_not(line_is("1000-2000 rw-s 0 00:19 1235 /a\n", dev, 1234));
	cr_assert_not(line_is("", dev, 1234));
	/* anonymous memory is no file's */
	cr_assert_not(line_is("1000-2000 rw-p 0 00:00 0 \n", 0, 0));
}

Test(adm_mapped, the_user_of_the_file_may_have_it)
{
	cr_assert(mapped_may_open(&file, "Name:\tx\nUid:\t1000\t1000\t1000\t"
					 "1000\nGid:\t1\t1\t1\t1\n"));
	cr_assert(mapped_may_open(&file, "Uid:\t1\t1\t1000\t1\n"));
	cr_assert_not(mapped_may_open(&file, "Name:\tUid:\t1000\nUid:\t0\t0\t"
					     "0\t0\nGid:\t1000\n"));
	cr_assert_not(mapped_may_open(&file, "Uid:\t10000\t100\t1\t0\n"));
	cr_assert_not(mapped_may_open(&file, ""));
	cr_assert_not(mapped_may_open(&file, "Uid:"));
}

Test(adm_mapped, its_group_only_if_the_mode_lets_it_in)
{
	static const char gid[] = "Uid:\t1\t1\t1\t1\nGid:\t7\t7\t50\t7\n",
			  groups[] = "Uid:\t1\nGid:\t7\nGroups:\t4 50 60 \n";
	struct mapped m = file;

	cr_assert_not(mapped_may_open(&m, gid));
	cr_assert_not(mapped_may_open(&m, groups));
	m.mode = 0660;
	cr_assert(mapped_may_open(&m, gid));
	cr_assert(mapped_may_open(&m, groups));
	cr_assert_not(mapped_may_open(&m, "Uid:\t1\nGid:\t5\nGroups:\t500\n"));
}

Test(adm_mapped, who_is_older_than_the_file_has_not_inherited_it)
{
	const int64_t s = 1000000000;
	struct mapped m = file;

	m.made_ns = 5000 * s;
	cr_assert(mapped_is_younger(&m, 1000 * s, 4001 * s));
	cr_assert_not(mapped_is_younger(&m, 1000 * s, 10 * s));
	m.made_ns = INT64_MIN; /* unknown */
	cr_assert(mapped_is_younger(&m, 1000 * s, 10 * s));
}

Test(adm_mapped, a_process_is_noted_once_and_more_than_fit_are_counted)
{
	struct mapped m = file;

	for (int i = 0; i < 2; i++)
		for (pid_t pid = 1; pid <= MAPPED_PIDS; pid++)
			mapped_add(&m, pid);
	cr_assert_eq(m.n, MAPPED_PIDS);
	mapped_add(&m, MAPPED_PIDS + 1);
	cr_assert_eq(m.n, MAPPED_PIDS + 1);
}

static int wait_at(void *gate)
{
	t_gate_wait(gate);
	return 0;
}

/* A file without a name, mapped by nobody, by us, and by a child too. */
Test(adm_mapped, finds_who_has_it)
{
	struct mapped m[2];
	int fd = memfd_create("test_mapped", MFD_CLOEXEC);
	struct t_gate gate;
	pid_t child;
	void *p;

	cr_assert_eq(ftruncate(fd, 4096), 0);
	cr_assert_eq(mapped_init(&m[0], fd), 0);
	m[1] = (struct mapped){ 0 };
	cr_assert_eq(mapped_find(m, 2), 0);
	cr_assert_eq(m[0].n, 0);
	cr_assert_eq(m[1].n, 0);
	cr_assert_eq(m[1].n_hidden, 0);

	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert_neq(p, MAP_FAILED);
	close(fd);
	t_gate_init(&gate);
	child = t_fork(wait_at, &gate);
	cr_assert_eq(mapped_find(m, 1), 0);
	cr_assert_eq(m[0].n, 2);
	cr_assert(m[0].pid[0] == child || m[0].pid[1] == child);
	t_kill(child);
	t_gate_close(&gate);
	munmap(p, 4096);
}
