/*
 * test_seg.c - tests of lib/seg.c
 */
#include "config.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/proc.h"
#include "lib/seg.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"

#define BYTES 10000 /* no multiple of the page size */
#define PRINT UINT64_C(0x1122334455667788)
#define OTHER 65534u /* a user that is not us */

static void setup(void)
{
	t_name("x"); /* names carry the pid of this process */
}

static void teardown(void)
{
	int left = t_shm_leftovers();

	t_shm_clean();
	cr_expect_eq(left, 0);
}

TestSuite(seg, .init = setup, .fini = teardown, .timeout = 200.0);

static int create(struct sb_seg *seg, const char *name)
{
	return sb_seg_create(seg, name, BYTES, NULL, 0600, PRINT);
}

/* A published segment of this process. */
static struct sb_seg published(const char *name)
{
	struct sb_seg seg;

	cr_assert_eq(create(&seg, name), 0);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	return seg;
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(t_shm_path(name), &st) == 0;
}

static ino_t inode_of(const char *name)
{
	struct stat st;

	cr_assert_eq(lstat(t_shm_path(name), &st), 0);
	return st.st_ino;
}

/* In a child: is @name a segment that opens, of the right size? */
static void check_opens_with(const char *name, uint32_t flags)
{
	struct sb_seg seg;

	T_CHECK(sb_seg_open(&seg, name, PRINT, flags) == 0);
	T_CHECK(seg.bytes == BYTES);
	sb_seg_close(&seg);
}

static void check_opens(const char *name)
{
	struct sb_seg seg;

	check_opens_with(name, 0);
	T_CHECK(sb_seg_open(&seg, name, PRINT, SB_SEG_ORPHAN) == -EBUSY);
	T_CHECK(seg.base == NULL);
}

/* The same, of a dead creator. */
static void check_is_orphan(const char *name)
{
	struct sb_seg seg;

	T_CHECK(sb_seg_open(&seg, name, PRINT, 0) == -EOWNERDEAD);
	T_CHECK(seg.base == NULL);
	check_opens_with(name, SB_SEG_ORPHAN);
}

/* Arguments and limits ---------------------------------------------------- */

Test(seg, bad_names_are_refused)
{
	static const char *const bad[] = { "",	  ".",	  "..",	  ".x",	 "a/b",
					   "/a",  "a\n", "\x1b[m", "a\x7f" };
	struct sb_seg seg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(create(&seg, bad[i]), -EINVAL, "%zu", i);
		cr_assert_eq(sb_seg_open(&seg, bad[i], PRINT, 0), -EINVAL);
		cr_assert_eq(sb_seg_unlink(bad[i]), -EINVAL);
	}
}

Test(seg, name_has_a_longest_length)
{
	char name[SB_SEG_NAME_MAX + 2];
	struct sb_seg seg, other;

	memset(name, 'n', sizeof(name));
	memcpy(name, t_name("-"), strlen(t_name("-")));
	name[SB_SEG_NAME_MAX + 1] = '\0';
	cr_assert_eq(create(&seg, name), -ENAMETOOLONG);
	cr_assert_eq(sb_seg_open(&seg, name, PRINT, 0), -ENAMETOOLONG);
	cr_assert_eq(sb_seg_unlink(name), -ENAMETOOLONG);

	name[SB_SEG_NAME_MAX] = '\0';
	seg = published(name);
	cr_assert_eq(sb_seg_open(&other, name, PRINT, 0), 0);
	sb_seg_close(&other);
	sb_seg_close(&seg);
	cr_assert_not(exists(name));
}

Test(seg, odd_but_legal_names_work)
{
	static const char *const odd[] = { "a b", "\xc3\xa4", "-", "%s%n",
					   "a.b.", "*" };

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		const char *name = t_name(odd[i]);
		struct sb_seg seg = published(name);

		check_opens(name);
		sb_seg_close(&seg);
	}
}

Test(seg, bad_modes_are_refused)
{
	static const mode_t bad[] = { 0,    0400, 0200, 0066, 0666,
				      0602, 0700, 0620 | S_ISUID };
	struct sb_seg seg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(sb_seg_create(&seg, t_name("x"), BYTES, NULL, bad[i],
					   PRINT),
			     -EINVAL, "%o", bad[i]);
}

Test(seg, sizes_have_limits)
{
	int n_fds = t_count_fds();
	struct sb_seg seg;

	for (int named = 0; named < 2; named++) {
		const char *name = named ? t_name("x") : NULL;

		cr_assert_eq(sb_seg_create(&seg, name, 0, NULL, 0600, 0), -EINVAL);
		cr_assert_eq(sb_seg_create(&seg, name, 63, NULL, 0600, 0), -EINVAL);
		cr_assert_eq(sb_seg_create(&seg, name, SIZE_MAX, NULL, 0600, 0),
			     -EFBIG);
		/* Not the OOM killer. */
		cr_assert_eq(sb_seg_create(&seg, name, PTRDIFF_MAX, NULL, 0600, 0),
			     -ENOMEM);
		cr_assert_null(seg.base);
		sb_seg_close(&seg);
		cr_assert_eq(sb_seg_create(&seg, name, 64, NULL, 0600, 0), 0);
		sb_seg_close(&seg);
	}
	cr_assert_eq(t_count_fds(), n_fds);
}

Test(seg, unknown_open_flags_are_refused)
{
	struct sb_seg seg;

	cr_assert_eq(sb_seg_open(&seg, t_name("x"), PRINT, 4), -EINVAL);
}

Test(seg, close_takes_what_is_not_open)
{
	struct sb_seg zeroed = { 0 }, seg;

	sb_seg_close(NULL);
	sb_seg_close(&zeroed); /* must not close descriptor 0 */
	cr_assert_geq(fcntl(0, F_GETFD), 0);
	cr_assert_eq(create(&seg, NULL), 0);
	sb_seg_close(&seg);
	sb_seg_close(&seg);
	cr_assert_eq(sb_seg_open(&seg, t_name("none"), PRINT, 0), -ENOENT);
	sb_seg_close(&seg);
	cr_assert_eq(sb_seg_publish(&zeroed), -EINVAL);
	cr_assert_eq(sb_seg_unlink(t_name("none")), -ENOENT);
}

/* What is made ------------------------------------------------------------ */

Test(seg, memory_is_zeroed_after_the_header)
{
	for (int named = 0; named < 2; named++) {
		struct sb_seg seg;
		const unsigned char *b;

		cr_assert_eq(create(&seg, named ? t_name("x") : NULL), 0);
		cr_assert_eq(seg.bytes, BYTES);
		b = seg.base;
		for (size_t i = sizeof(struct sb_seg_header); i < BYTES; i++)
			cr_assert_eq(b[i], 0);
		memset(seg.base, 0xff, BYTES);
		sb_seg_close(&seg);
	}
}

Test(seg, nobody_sees_it_before_publish)
{
	const char *name = t_name("x");
	struct sb_seg seg, other;

	cr_assert_eq(create(&seg, name), 0);
	cr_assert_not(exists(name));
	cr_assert_eq(sb_seg_open(&other, name, PRINT, 0), -ENOENT);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	cr_assert_eq(sb_seg_open(&other, name, PRINT, 0), 0);
	sb_seg_close(&other);
	sb_seg_close(&seg);
	cr_assert_not(exists(name));
}

Test(seg, close_without_publish_leaves_others_alone)
{
	const char *name = t_name("x");
	struct sb_seg seg = published(name), second;

	cr_assert_eq(create(&second, name), 0);
	sb_seg_close(&second);
	cr_assert(exists(name));
	sb_seg_close(&seg);
}

Test(seg, both_mappings_are_one_memory)
{
	struct sb_seg seg = published(t_name("x")), other;

	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0), 0);
	cr_assert_neq(seg.base, other.base);
	cr_assert_str_eq(other.name, t_name("x"));
	cr_assert_eq(other.lock_fd, -1);
	((char *)seg.base)[BYTES - 1] = 42;
	cr_assert_eq(((char *)other.base)[BYTES - 1], 42);
	sb_seg_close(&seg);
	((char *)other.base)[BYTES - 1] = 43; /* outlives its creator */
	sb_seg_close(&other);
}

Test(seg, umask_does_not_matter)
{
	static const mode_t modes[] = { 0600, 0640, 0660, 0664, 0644 };
	static const mode_t masks[] = { 0, 0077, 0777 };

	for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++) {
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			mode_t before = umask(masks[m]);
			struct sb_seg seg;
			struct stat st;

			cr_assert_eq(sb_seg_create(&seg, t_name("x"), BYTES,
						   NULL, modes[i], PRINT),
				     0);
			cr_assert_eq(sb_seg_publish(&seg), 0);
			cr_assert_eq(stat(t_shm_path(t_name("x")), &st), 0);
			cr_assert_eq(st.st_mode & 07777, modes[i]);
			check_opens(t_name("x"));
			sb_seg_close(&seg);
			umask(before);
		}
	}
}

static int umask_as_other(void *arg)
{
	const char *name = arg;
	struct sb_seg seg;

	if (geteuid() == 0)
		T_CHECK(setresuid(OTHER, OTHER, OTHER) == 0);
	umask(0777);
	T_CHECK(create(&seg, name) == 0);
	T_CHECK(sb_seg_publish(&seg) == 0);
	check_opens(name);
	T_CHECK(sb_seg_unlink(name) == -EBUSY);
	sb_seg_close(&seg);
	T_CHECK(!exists(name));
	return 0;
}

Test(seg, umask_does_not_matter_to_users_either)
{
	t_join(t_fork(umask_as_other, (void *)(uintptr_t)t_name("x")));
}

Test(seg, descriptors_close_on_exec)
{
	struct sb_seg seg = published(t_name("x"));

	cr_assert(fcntl(seg.lock_fd, F_GETFD) & FD_CLOEXEC);
	sb_seg_close(&seg);
}

Test(seg, thousand_cycles_leak_nothing)
{
	struct sb_seg seg, other;
	int n_fds, n_maps;

	/* The first allocates the table of locks. */
	seg = published(t_name("x"));
	sb_seg_close(&seg);
	n_fds = t_count_fds();
	n_maps = t_count_maps();
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(create(&seg, i % 2 ? t_name("x") : NULL), 0);
		cr_assert_eq(sb_seg_publish(&seg), 0);
		if (i % 2) {
			cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0),
				     0);
			sb_seg_close(&other);
		}
		cr_assert_neq(sb_seg_open(&other, t_name("x"), 0, 0), 0);
		cr_assert_neq(create(&other, ""), 0);
		sb_seg_close(&seg);
	}
	cr_assert_eq(t_count_fds(), n_fds);
	cr_assert_leq(t_count_maps(), n_maps + 2); /* malloc may grow */
}

Test(seg, many_at_once)
{
	struct sb_seg seg[100];
	char what[16];

	for (int i = 0; i < 100; i++) {
		snprintf(what, sizeof(what), "%d", i);
		seg[i] = published(t_name(what));
	}
	/* Close in another order than they were made. */
	for (int i = 0; i < 100; i++)
		sb_seg_close(&seg[i * 37 % 100]);
	cr_assert_eq(t_shm_leftovers(), 0);
}

/* Unnamed ----------------------------------------------------------------- */

Test(seg, unnamed_leaves_no_descriptor_and_no_name)
{
	int n_fds = t_count_fds();
	struct sb_seg seg;

	cr_assert_eq(create(&seg, NULL), 0);
	cr_assert_eq(t_count_fds(), n_fds);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	cr_assert_eq(t_shm_leftovers(), 0);
	sb_seg_close(&seg);
}

/* A descriptor of the file behind a mapping. */
static int reopen(const struct sb_seg *seg)
{
	char path[128];

	/* The last page is only partly ours. */
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)(uintptr_t)seg->base,
		 (unsigned long)(uintptr_t)seg->base +
			 (BYTES + 4095ul) / 4096 * 4096);
	return open(path, O_RDWR | O_CLOEXEC);
}

Test(seg, unnamed_cannot_be_resized)
{
	struct sb_seg seg;
	int fd, seals;

	cr_assert_eq(create(&seg, NULL), 0);
	fd = reopen(&seg);
	if (fd < 0)
		cr_skip_test("no /proc/self/map_files for us");
	seals = fcntl(fd, F_GET_SEALS);
	cr_assert_eq(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
		     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	cr_assert_eq(seals & F_SEAL_WRITE, 0);
	cr_assert_lt(ftruncate(fd, 0), 0);
	cr_assert_eq(errno, EPERM);
	cr_assert_lt(ftruncate(fd, 2 * BYTES), 0);
	cr_assert_eq(errno, EPERM);
	((char *)seg.base)[BYTES - 1] = 1;
	close(fd);
	sb_seg_close(&seg);
}

static int writes_last_byte(void *arg)
{
	struct sb_seg *seg = arg;

	((char *)seg->base)[BYTES - 1] = 42;
	sb_seg_close(seg);
	return 0;
}

Test(seg, unnamed_is_shared_with_forked_children)
{
	struct sb_seg seg;

	cr_assert_eq(create(&seg, NULL), 0);
	t_join(t_fork(writes_last_byte, &seg));
	cr_assert_eq(((char *)seg.base)[BYTES - 1], 42);
	sb_seg_close(&seg);
}

/* What is opened ---------------------------------------------------------- */

/* A file at the name of a segment, made by a stranger; 0 bytes: just that. */
static int squat(const char *name, mode_t mode, const void *b, size_t len)
{
	int fd = open(t_shm_path(name), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
		      0600);

	if (fd < 0 || fchmod(fd, mode) ||
	    write(fd, b, len) != (ssize_t)len)
		return -1;
	return close(fd);
}

/* The bytes of a good segment. */
static void picture(unsigned char b[BYTES])
{
	struct sb_seg seg;

	cr_assert_eq(create(&seg, NULL), 0);
	memcpy(b, seg.base, BYTES);
	sb_seg_close(&seg);
}

Test(seg, every_bit_of_the_header_is_checked)
{
	struct sb_seg seg = published(t_name("x")), other;
	unsigned char *b = seg.base;

	for (size_t i = 0; i < sizeof(struct sb_seg_header) * 8; i++) {
		b[i / 8] ^= (unsigned char)(1u << i % 8);
		cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0),
			     -EPROTO, "bit %zu", i);
		b[i / 8] ^= (unsigned char)(1u << i % 8);
	}
	check_opens(t_name("x"));
	sb_seg_close(&seg);
}

Test(seg, every_byte_of_the_header_is_checked)
{
	struct sb_seg seg = published(t_name("x")), other;
	unsigned char *b = seg.base;

	for (size_t i = 0; i < sizeof(struct sb_seg_header); i++) {
		unsigned char good = b[i];

		for (int v = 0; v < 256; v++) {
			b[i] = (unsigned char)v;
			cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT,
						 0),
				     v == good ? 0 : -EPROTO);
			sb_seg_close(&other);
		}
		b[i] = good;
	}
	sb_seg_close(&seg);
}

Test(seg, other_layout_is_refused)
{
	struct sb_seg seg = published(t_name("x")), other;

	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT + 1, 0), -EPROTO);
	cr_assert_null(other.base);
	sb_seg_close(&seg);
}

Test(seg, wrong_sizes_are_refused)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 65, BYTES - 1 };
	unsigned char b[BYTES + 1] = { 0 };
	struct sb_seg seg;

	picture(b);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cr_assert_eq(squat(t_name("x"), 0600, b, sizes[i]), 0);
		cr_assert_eq(sb_seg_open(&seg, t_name("x"), PRINT, 0),
			     -EPROTO, "%zu", sizes[i]);
		cr_assert_eq(sb_seg_unlink(t_name("x")), 0);
	}
	cr_assert_eq(squat(t_name("x"), 0600, b, BYTES + 1), 0);
	cr_assert_eq(sb_seg_open(&seg, t_name("x"), PRINT, 0), -EPROTO);
	cr_assert_eq(sb_seg_unlink(t_name("x")), 0);
	cr_assert_eq(squat(t_name("x"), 0600, b, BYTES), 0);
	check_is_orphan(t_name("x")); /* nobody has it locked */
	cr_assert_eq(sb_seg_unlink(t_name("x")), 0);
}

Test(seg, truncated_segment_is_refused)
{
	struct sb_seg seg = published(t_name("x")), other;

	cr_assert_eq(truncate(t_shm_path(t_name("x")), 4096), 0);
	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0), -EPROTO);
	cr_assert_eq(truncate(t_shm_path(t_name("x")), 0), 0);
	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0), -EPROTO);
	sb_seg_close(&seg);
	cr_assert_not(exists(t_name("x")));
}

Test(seg, writable_by_everybody_is_refused)
{
	struct sb_seg seg = published(t_name("x")), other;

	cr_assert_eq(chmod(t_shm_path(t_name("x")), 0602), 0);
	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0), -EPERM);
	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, SB_SEG_ANY_OWNER),
		     -EPERM);
	cr_assert_eq(chmod(t_shm_path(t_name("x")), 0660), 0);
	check_opens(t_name("x"));
	sb_seg_close(&seg);
}

static int opens_as_other(void *arg)
{
	const char *name = arg;
	struct sb_seg seg;

	T_CHECK(setresgid(OTHER, OTHER, OTHER) == 0);
	T_CHECK(setresuid(OTHER, OTHER, OTHER) == 0);
	T_CHECK(sb_seg_open(&seg, name, PRINT, 0) == -EPERM);
	T_CHECK(sb_seg_open(&seg, name, PRINT, SB_SEG_ANY_OWNER) == -EPERM);
	T_CHECK(sb_seg_unlink(name) == -EACCES);
	T_CHECK(sb_seg_create(&seg, name, BYTES, NULL, 0600, PRINT) == 0);
	T_CHECK(sb_seg_publish(&seg) == -EACCES);
	sb_seg_close(&seg);
	return 0;
}

Test(seg, other_users_are_kept_out)
{
	const char *name = t_name("x");
	struct sb_seg seg;

	if (geteuid() != 0)
		cr_skip_test("only root can be another user");
	seg = published(name);
	t_join(t_fork(opens_as_other, (void *)(uintptr_t)name));
	cr_assert(exists(name));
	sb_seg_close(&seg);
}

static int opens_in_the_group(void *arg)
{
	const char *name = arg;
	struct sb_seg seg;

	T_CHECK(setresgid(OTHER, OTHER, OTHER) == 0);
	T_CHECK(setresuid(OTHER, OTHER, OTHER) == 0);
	T_CHECK(sb_seg_open(&seg, name, PRINT, 0) == -EPERM);
	T_CHECK(sb_seg_open(&seg, name, PRINT, SB_SEG_ANY_OWNER) == 0);
	sb_seg_close(&seg);
	return 0;
}

Test(seg, another_owner_is_accepted_only_on_request)
{
	const char *name = t_name("x");
	struct sb_seg seg;

	if (geteuid() != 0)
		cr_skip_test("only root can be another user");
	cr_assert_eq(sb_seg_create(&seg, name, BYTES, NULL, 0660, PRINT), 0);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	cr_assert_eq(chown(t_shm_path(name), 0, OTHER), 0);
	t_join(t_fork(opens_in_the_group, (void *)(uintptr_t)name));
	sb_seg_close(&seg);
}

static int refuses_another_ns(void *arg)
{
	const char *name = arg;
	struct sb_seg seg;

	T_CHECK(sb_seg_open(&seg, name, PRINT, 0) == -EXDEV);
	T_CHECK(seg.base == NULL);
	return 0;
}

static int makes_pid_ns(void *arg)
{
	if (unshare(CLONE_NEWPID))
		return T_SKIP;
	/* Not t_fork: the child's parent is pid 0 there. */
	pid_t child = fork();

	if (child == 0) {
		char self[16] = "";

		/* Our /proc is the outer one, where "self" is still us. */
		T_CHECK(readlink("/proc/self", self, sizeof(self) - 1) >= 0);
		_exit(refuses_another_ns(arg));
	}
	return t_wait(child);
}

Test(seg, creator_in_another_pid_namespace_is_refused)
{
	const char *name = t_name("x");
	struct sb_seg seg = published(name);
	int status;

	status = t_wait(t_fork(makes_pid_ns, (void *)(uintptr_t)name));
	sb_seg_close(&seg);
	if (status == T_SKIP)
		cr_skip_test("no pid namespace for us");
	cr_assert_eq(status, 0);
}

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80 /* since Linux 5.6 */
#endif

static int makes_time_ns(void *arg)
{
	if (unshare(CLONE_NEWTIME))
		return T_SKIP;
	return t_wait(t_fork(refuses_another_ns, arg)); /* he is in it */
}

Test(seg, creator_in_another_time_namespace_is_refused)
{
	const char *name = t_name("x");
	struct sb_seg seg = published(name);
	int status;

	status = t_wait(t_fork(makes_time_ns, (void *)(uintptr_t)name));
	sb_seg_close(&seg);
	if (status == T_SKIP)
		cr_skip_test("no time namespace for us");
	cr_assert_eq(status, 0);
}

/* Squatters --------------------------------------------------------------- */

Test(seg, symlink_is_neither_followed_nor_replaced)
{
	const char *name = t_name("x"), *target = t_name("target");
	struct sb_seg seg, other = published(target);

	cr_assert_eq(symlink(t_shm_path(target), t_shm_path(name)), 0);
	cr_assert_eq(sb_seg_open(&seg, name, PRINT, 0), -EPROTO);
	cr_assert_eq(sb_seg_unlink(name), -EACCES);
	cr_assert_eq(create(&seg, name), 0);
	cr_assert_eq(sb_seg_publish(&seg), -EACCES);
	sb_seg_close(&seg);
	cr_assert(exists(name));
	unlink(t_shm_path(name));

	cr_assert_eq(symlink("/nonexistent", t_shm_path(name)), 0);
	cr_assert_eq(create(&seg, name), 0);
	cr_assert_eq(sb_seg_publish(&seg), -EACCES);
	sb_seg_close(&seg);
	unlink(t_shm_path(name));
	sb_seg_close(&other);
}

Test(seg, things_that_are_no_files_are_refused)
{
	const char *name = t_name("x");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct sb_seg seg;

	for (int kind = 0; kind < 3; kind++) {
		if (kind == 0) {
			cr_assert_eq(mkdir(t_shm_path(name), 0700), 0);
		} else if (kind == 1) {
			cr_assert_eq(mkfifo(t_shm_path(name), 0600), 0);
		} else {
			int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

			strncpy(addr.sun_path, t_shm_path(name),
				sizeof(addr.sun_path) - 1);
			cr_assert_eq(bind(fd, (void *)&addr, sizeof(addr)), 0);
			close(fd);
		}
		cr_assert_eq(sb_seg_open(&seg, name, PRINT, 0), -EPROTO, "%d",
			     kind);
		cr_assert_eq(sb_seg_unlink(name), -EACCES);
		cr_assert_eq(create(&seg, name), 0);
		cr_assert_eq(sb_seg_publish(&seg), -EACCES);
		sb_seg_close(&seg);
		cr_assert(exists(name));
		cr_assert_eq(remove(t_shm_path(name)), 0);
	}
}

static int squats_as_other(void *arg)
{
	unsigned char b[BYTES];
	const char *name = arg;
	struct sb_seg seg;

	T_CHECK(setresuid(OTHER, OTHER, OTHER) == 0);
	T_CHECK(create(&seg, NULL) == 0);
	memcpy(b, seg.base, BYTES);
	sb_seg_close(&seg);
	T_CHECK(squat(name, 0666, b, BYTES) == 0);
	return 0;
}

Test(seg, squatted_name_is_neither_opened_nor_replaced)
{
	const char *name = t_name("x");
	struct sb_seg seg;
	ino_t ino;

	if (geteuid() != 0)
		cr_skip_test("only root can be another user");
	t_join(t_fork(squats_as_other, (void *)(uintptr_t)name));
	ino = inode_of(name);
	cr_assert_eq(sb_seg_open(&seg, name, PRINT, 0), -EPERM);
	cr_assert_eq(create(&seg, name), 0);
	cr_assert_eq(sb_seg_publish(&seg), -EACCES);
	sb_seg_close(&seg);
	cr_assert_eq(inode_of(name), ino);
	/* The operator may. */
	cr_assert_eq(sb_seg_unlink(name), 0);
	cr_assert_not(exists(name));
}

Test(seg, close_leaves_a_name_that_leads_elsewhere)
{
	const char *name = t_name("x");
	struct sb_seg seg = published(name);

	cr_assert_eq(unlink(t_shm_path(name)), 0);
	cr_assert_eq(squat(name, 0600, "", 0), 0);
	sb_seg_close(&seg);
	cr_assert(exists(name));
	cr_assert_eq(sb_seg_unlink(name), 0);
}

/* Life and death of the creator ------------------------------------------- */

Test(seg, live_creator_keeps_its_name)
{
	const char *name = t_name("x");
	struct sb_seg seg = published(name), second;

	cr_assert_eq(create(&second, name), 0);
	cr_assert_eq(sb_seg_publish(&second), -EEXIST);
	cr_assert_eq(sb_seg_publish(&second), -EEXIST);
	cr_assert_eq(sb_seg_unlink(name), -EBUSY);
	sb_seg_close(&seg);
	cr_assert_eq(sb_seg_publish(&second), 0);
	check_opens(name);
	sb_seg_close(&second);
}

struct life {
	const char *name;
	struct t_gate ready;
	pid_t *grandchild; /* in shared memory */
};

static int create_and_wait(void *arg)
{
	struct life *l = arg;
	struct sb_seg seg;

	T_CHECK(create(&seg, l->name) == 0);
	T_CHECK(sb_seg_publish(&seg) == 0);
	t_gate_open(&l->ready);
	for (;;)
		pause();
	return 0;
}

Test(seg, stopped_creator_keeps_its_name)
{
	struct life l = { .name = t_name("x") };
	struct sb_seg seg;
	pid_t creator;

	t_gate_init(&l.ready);
	creator = t_fork(create_and_wait, &l);
	t_gate_wait(&l.ready);
	kill(creator, SIGSTOP);
	cr_assert_eq(create(&seg, l.name), 0);
	cr_assert_eq(sb_seg_publish(&seg), -EEXIST);
	cr_assert_eq(sb_seg_unlink(l.name), -EBUSY);
	t_kill(creator);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	sb_seg_close(&seg);
	t_gate_close(&l.ready);
}

Test(seg, leftover_of_a_killed_creator_is_replaced)
{
	struct life l = { .name = t_name("x") };
	struct sb_seg seg;
	ino_t ino;

	t_gate_init(&l.ready);
	for (int i = 0; i < 100; i++) {
		pid_t creator = t_fork(create_and_wait, &l);

		t_gate_wait(&l.ready);
		ino = inode_of(l.name);
		t_kill(creator);
		cr_assert(exists(l.name));
		check_is_orphan(l.name); /* it is still readable */
		if (i % 2) {
			cr_assert_eq(sb_seg_unlink(l.name), 0);
			cr_assert_eq(sb_seg_unlink(l.name), -ENOENT);
			continue;
		}
		cr_assert_eq(create(&seg, l.name), 0);
		cr_assert_eq(sb_seg_publish(&seg), 0);
		cr_assert_neq(inode_of(l.name), ino);
		check_opens(l.name);
		sb_seg_close(&seg);
		cr_assert_not(exists(l.name));
	}
	t_gate_close(&l.ready);
}

/* The creator forks a child of the plainest kind, which outlives it. */
static int create_and_fork(void *arg)
{
	struct life *l = arg;
	struct sb_seg seg;
	pid_t child;

	T_CHECK(create(&seg, l->name) == 0);
	T_CHECK(sb_seg_publish(&seg) == 0);
	child = fork();
	T_CHECK(child >= 0);
	if (child == 0) {
		alarm(60); /* nobody else ends us if the test fails */
		((volatile char *)seg.base)[BYTES - 1] = 1;
		*l->grandchild = getpid();
		t_gate_open(&l->ready);
		for (;;)
			pause();
	}
	for (;;)
		pause();
	return 0;
}

Test(seg, forked_child_does_not_keep_its_dead_creator_alive)
{
	struct life l = { .name = t_name("x") };
	struct sb_seg seg;
	pid_t creator;

	l.grandchild = mmap(NULL, sizeof(pid_t), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_gate_init(&l.ready);
	creator = t_fork(create_and_fork, &l);
	t_gate_wait(&l.ready);
	cr_assert_eq(sb_seg_unlink(l.name), -EBUSY);
	t_kill(creator);
	cr_assert_gt(*l.grandchild, 0);
	cr_assert_eq(kill(*l.grandchild, 0), 0);
	cr_assert_eq(create(&seg, l.name), 0);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	sb_seg_close(&seg);
	kill(*l.grandchild, SIGKILL);
	t_gate_close(&l.ready);
}

static int child_of_creator(void *arg)
{
	struct sb_seg *seg = arg;
	struct sb_seg own;
	int fd;

	/* The lock's number is free: let a stranger have it. */
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	T_CHECK(fd >= 0);
	if (fd != seg->lock_fd) {
		T_CHECK(fcntl(seg->lock_fd, F_GETFD) < 0);
		T_CHECK(dup2(fd, seg->lock_fd) == seg->lock_fd);
		close(fd);
	}
	fd = seg->lock_fd;
	T_CHECK(sb_seg_publish(seg) == -EINVAL);
	T_CHECK(sb_seg_unlink(t_name("x")) == -EBUSY);
	sb_seg_close(seg);
	T_CHECK(fcntl(fd, F_GETFD) >= 0); /* nor closed */
	T_CHECK(exists(t_name("x")));

	/* It can have segments of its own. */
	T_CHECK(create(&own, t_name("own")) == 0);
	T_CHECK(sb_seg_publish(&own) == 0);
	check_opens(t_name("own"));
	sb_seg_close(&own);
	T_CHECK(!exists(t_name("own")));
	return 0;
}

Test(seg, close_in_a_forked_child_only_unmaps)
{
	struct sb_seg seg = published(t_name("x"));

	t_join(t_fork(child_of_creator, &seg));
	cr_assert(exists(t_name("x")));
	cr_assert_eq(sb_seg_unlink(t_name("x")), -EBUSY);
	check_opens(t_name("x"));
	sb_seg_close(&seg);
	cr_assert_not(exists(t_name("x")));
}

static int child_of_opener(void *arg)
{
	sb_seg_close(arg);
	return 0;
}

Test(seg, close_of_an_opener_leaves_the_name)
{
	struct sb_seg seg = published(t_name("x")), other;

	cr_assert_eq(sb_seg_open(&other, t_name("x"), PRINT, 0), 0);
	t_join(t_fork(child_of_opener, &other));
	cr_assert(exists(t_name("x")));
	sb_seg_close(&other);
	cr_assert(exists(t_name("x")));
	sb_seg_close(&seg);
}

/* Where the name leads ---------------------------------------------------- */

Test(seg, what_has_no_name_leads_nowhere)
{
	struct sb_seg seg;

	cr_assert_eq(create(&seg, NULL), 0);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_UNNAMED);
	sb_seg_close(&seg);
	cr_assert_eq(create(&seg, t_name("x")), 0);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_GONE); /* not published */
	sb_seg_close(&seg);
}

static int asks_in_child(void *arg)
{
	struct sb_seg *seg = arg;

	T_CHECK(sb_seg_where(seg) == SB_SEG_LIVE);
	T_CHECK(unlink(t_shm_path(seg->name)) == 0);
	T_CHECK(sb_seg_where(seg) == SB_SEG_GONE);
	return 0;
}

Test(seg, all_who_have_it_mapped_see_where_the_name_leads)
{
	const char *name = t_name("x");
	struct sb_seg seg = published(name), other, second;
	int n_fds;

	cr_assert_eq(sb_seg_open(&other, name, PRINT, 0), 0);
	n_fds = t_count_fds();
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_LIVE);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_LIVE);
	t_join(t_fork(asks_in_child, &seg));
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_GONE);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_GONE);
	second = published(name);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_REPLACED);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_REPLACED);
	cr_assert_eq(sb_seg_where(&second), SB_SEG_LIVE);
	sb_seg_close(&seg);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_REPLACED);
	sb_seg_close(&second);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_GONE);
	cr_assert_eq(mkdir(t_shm_path(name), 0700), 0);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_REPLACED);
	cr_assert_eq(remove(t_shm_path(name)), 0);
	cr_assert_eq(symlink("/nonexistent", t_shm_path(name)), 0);
	cr_assert_eq(sb_seg_where(&other), SB_SEG_REPLACED);
	cr_assert_eq(remove(t_shm_path(name)), 0);
	sb_seg_close(&other);
	cr_assert_eq(t_count_fds(), n_fds - 1); /* second's lock came and went,
						 * and the one of seg */
}

Test(seg, who_has_it_mapped_sees_its_creator_die_and_be_replaced)
{
	struct life l = { .name = t_name("x") };
	struct sb_seg seg, orphan, next;
	pid_t creator;

	t_gate_init(&l.ready);
	creator = t_fork(create_and_wait, &l);
	t_gate_wait(&l.ready);
	cr_assert_eq(sb_seg_open(&seg, l.name, PRINT, 0), 0);
	kill(creator, SIGSTOP);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_LIVE);
	t_kill(creator);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_ORPHANED);
	cr_assert_eq(sb_seg_open(&orphan, l.name, PRINT, SB_SEG_ORPHAN), 0);
	/* To have it open is no lock: it does not become alive again. */
	cr_assert_eq(sb_seg_where(&orphan), SB_SEG_ORPHANED);
	check_is_orphan(l.name);
	next = published(l.name);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_REPLACED);
	cr_assert_eq(sb_seg_where(&orphan), SB_SEG_REPLACED);
	((char *)orphan.base)[BYTES - 1] = 42;
	cr_assert_eq(((char *)seg.base)[BYTES - 1], 42);
	cr_assert_eq(((char *)next.base)[BYTES - 1], 0);
	sb_seg_close(&next);
	sb_seg_close(&orphan);
	sb_seg_close(&seg);
	t_gate_close(&l.ready);
}

/* He has locked a dead creator's file to remove it, and gets no further. */
Test(seg, who_removes_a_leftover_is_not_taken_for_its_creator)
{
	struct flock rest = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = 1 };
	struct flock first = { .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_len = 1 };
	struct flock all_free = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	struct life l = { .name = t_name("x") };
	struct sb_seg seg;
	pid_t creator;
	int fd;

	t_gate_init(&l.ready);
	creator = t_fork(create_and_wait, &l);
	t_gate_wait(&l.ready);
	cr_assert_eq(sb_seg_open(&seg, l.name, PRINT, 0), 0);
	fd = open(t_shm_path(l.name), O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_lt(fcntl(fd, F_OFD_SETLK, &rest), 0);
	t_kill(creator);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &rest), 0);
	cr_assert_eq(sb_seg_unlink(l.name), -EBUSY);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_ORPHANED);
	check_is_orphan(l.name);
	/* And that is how it is done: it asks for no more than the rest. */
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &all_free), 0);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &first), 0);
	cr_assert_eq(sb_seg_unlink(l.name), 0);
	close(fd);
	cr_assert_eq(sb_seg_where(&seg), SB_SEG_GONE);
	sb_seg_close(&seg);
	t_gate_close(&l.ready);
}

static int asks_without_descriptors(void *arg)
{
	struct rlimit none = { 0, 0 };

	T_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	T_CHECK(sb_seg_where(arg) == -EMFILE);
	return 0;
}

Test(seg, where_it_leads_may_not_be_found_out)
{
	struct sb_seg seg = published(t_name("x"));

	t_join(t_fork(asks_without_descriptors, &seg));
	sb_seg_close(&seg);
}

struct race {
	const char *name;
	struct t_gate start, done;
	int *n_won; /* in shared memory */
};

static int race_for_name(void *arg)
{
	struct race *r = arg;
	struct sb_seg seg;
	int ret;

	T_CHECK(create(&seg, r->name) == 0);
	t_gate_wait(&r->start);
	ret = sb_seg_publish(&seg);
	T_CHECK(ret == 0 || ret == -EEXIST);
	if (ret == 0)
		__atomic_add_fetch(r->n_won, 1, __ATOMIC_SEQ_CST);
	t_gate_open(&r->done);
	for (;;)
		pause(); /* the winner lives on: at most one can win */
	return 0;
}

Test(seg, of_many_publishers_exactly_one_wins)
{
	struct race r = { .name = t_name("x") };
	pid_t racer[4];

	r.n_won = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_gate_init(&r.start);
	t_gate_init(&r.done);
	/* From the second round on there is a dead winner's leftover. */
	for (int round = 0; round < 50; round++) {
		*r.n_won = 0;
		for (int i = 0; i < 4; i++)
			racer[i] = t_fork(race_for_name, &r);
		for (int i = 0; i < 4; i++)
			t_gate_open(&r.start);
		for (int i = 0; i < 4; i++)
			t_gate_wait(&r.done);
		cr_assert_eq(*r.n_won, 1, "round %d: %d won", round, *r.n_won);
		cr_assert_eq(sb_seg_unlink(r.name), -EBUSY);
		check_opens(r.name);
		for (int i = 0; i < 4; i++)
			t_kill(racer[i]);
	}
	cr_assert_eq(sb_seg_unlink(r.name), 0);
	t_gate_close(&r.start);
	t_gate_close(&r.done);
}

static int come_and_go(void *arg)
{
	struct sb_seg seg;

	for (;;) {
		int ret = create(&seg, arg);

		T_CHECK(ret == 0);
		ret = sb_seg_publish(&seg);
		T_CHECK(ret == 0 || ret == -EEXIST);
		sb_seg_close(&seg);
	}
	return 0;
}

/* Creators come, go and are killed at any instruction, others look: whatever
 * they find is whole. */
Test(seg, nobody_sees_half_of_one)
{
	const char *name = t_name("x");
	int n_found = 0;

	for (int round = 0; round < 100; round++) {
		pid_t creator[2];

		for (int i = 0; i < 2; i++)
			creator[i] = t_fork(come_and_go,
					    (void *)(uintptr_t)name);
		for (int i = 0; i < 100; i++) {
			struct sb_seg seg;
			int ret = sb_seg_open(&seg, name, PRINT, 0);

			cr_assert(ret == 0 || ret == -ENOENT ||
					  ret == -EOWNERDEAD,
				  "%d", ret);
			n_found += ret == 0;
			sb_seg_close(&seg);
			sched_yield();
		}
		for (int i = 0; i < 2; i++)
			t_kill(creator[i]);
	}
	cr_assert_gt(n_found, 0);
	/* Nothing is in the way of the next one. */
	struct sb_seg seg = published(name);

	sb_seg_close(&seg);
	cr_assert_not(exists(name));
}

static int leash[2];

/* Children that live longer than the creator does: until we let go. */
static void *forks_all_the_time(void *arg)
{
	char c;

	(void)arg;
	for (;;) {
		if (fork() == 0)
			_exit(read(leash[0], &c, 1) != 0);
		usleep(2000);
	}
	return NULL;
}

static int creates_while_forking(void *arg)
{
	struct life *l = arg;
	struct sb_seg seg;
	pthread_t t;

	close(leash[1]);
	signal(SIGCHLD, SIG_IGN);
	T_CHECK(pthread_create(&t, NULL, forks_all_the_time, NULL) == 0);
	for (int i = 0; i < 20; i++) {
		T_CHECK(create(&seg, l->name) == 0);
		T_CHECK(sb_seg_publish(&seg) == 0);
		if (i < 19)
			sb_seg_close(&seg);
	}
	t_gate_open(&l->ready);
	for (;;)
		pause();
	return 0;
}

static bool can_unlink(void *arg)
{
	return sb_seg_unlink(((struct life *)arg)->name) == 0;
}

Test(seg, fork_at_any_moment_does_not_inherit_the_lock)
{
	struct life l = { .name = t_name("x") };

	t_gate_init(&l.ready);
	for (int i = 0; i < 20; i++) {
		pid_t creator;

		cr_assert_eq(pipe(leash), 0);
		creator = t_fork(creates_while_forking, &l);
		t_gate_wait(&l.ready);
		cr_assert_eq(sb_seg_unlink(l.name), -EBUSY);
		t_kill(creator);
		/* The newest child has perhaps not run at all yet. */
		cr_assert(t_eventually(can_unlink, &l, 20000));
		close(leash[0]);
		close(leash[1]);
	}
	t_gate_close(&l.ready);
}

/* Holes ------------------------------------------------------------------- */

#define MIB ((size_t)1 << 20)

static bool kernel_reserves(void)
{
	return madvise(NULL, 0, 23 /* MADV_POPULATE_WRITE */) == 0;
}

static size_t memory_of(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(t_shm_path(name), &st), 0);
	return (size_t)st.st_blocks * 512;
}

Test(seg, a_hole_is_inside_and_not_in_the_header)
{
	static const struct sb_seg_hole bad[] = {
		{ 0, 10 },	  { 63, 10 },	     { BYTES + 1, 0 },
		{ BYTES, 1 },	  { 64, BYTES - 63 }, { SIZE_MAX, 1 },
		{ 64, SIZE_MAX },
	};
	static const struct sb_seg_hole good[] = {
		{ 64, BYTES - 64 }, { BYTES, 0 }, { 64, 0 }, { 5000, 5000 },
	};
	struct sb_seg seg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(sb_seg_create(&seg, NULL, BYTES, &bad[i], 0600,
					   PRINT),
			     -EINVAL, "%zu", i);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(sb_seg_create(&seg, NULL, BYTES, &good[i], 0600,
					   PRINT),
			     0, "%zu", i);
		cr_assert_eq(sb_seg_reserve(&seg, 0, BYTES), 0);
		memset(seg.base, 0xff, BYTES);
		sb_seg_close(&seg);
	}
}

Test(seg, a_hole_takes_memory_as_it_is_reserved)
{
	const struct sb_seg_hole hole = { 2 * MIB, 60 * MIB };
	const char *name = t_name("x");
	struct sb_seg seg, other;
	char *base;

	if (!kernel_reserves())
		cr_skip_test("no MADV_POPULATE_WRITE here");
	cr_assert_eq(sb_seg_create(&seg, name, 64 * MIB, &hole, 0600, PRINT),
		     0);
	cr_assert_eq(sb_seg_publish(&seg), 0);
	base = seg.base;
	memset(base + 64, 1, 2 * MIB - 64);
	memset(base + 62 * MIB, 1, 2 * MIB);
	cr_assert_eq(memory_of(name), 4 * MIB);
	cr_assert_eq(sb_seg_open(&other, name, PRINT, 0), 0);
	/* any process may, and pages count whole */
	cr_assert_eq(sb_seg_reserve(&other, 10 * MIB + 5, MIB), 0);
	cr_assert_eq(memory_of(name), 5 * MIB + 4096);
	memset(base + 10 * MIB, 2, MIB + 4096);
	cr_assert_eq(memory_of(name), 5 * MIB + 4096);
	/* again is nothing, and nothing is lost */
	cr_assert_eq(sb_seg_reserve(&seg, 10 * MIB, MIB), 0);
	cr_assert_eq(base[10 * MIB + 5], 2);
	cr_assert_eq(sb_seg_reserve(&seg, 0, 0), 0);
	/* given back, but for the pages that are partly somebody else's */
	sb_seg_release(&seg, 10 * MIB + 5, MIB);
	cr_assert_eq(memory_of(name), 4 * MIB + 2 * 4096);
	cr_assert_eq(base[10 * MIB], 2);
	cr_assert_eq(sb_seg_reserve(&seg, 10 * MIB, MIB), 0);
	cr_assert_eq(base[10 * MIB + 4096], 0);
	sb_seg_release(&seg, 10 * MIB, SIZE_MAX);
	sb_seg_release(&seg, SIZE_MAX, 10);
	sb_seg_release(&seg, 10 * MIB, 4095);
	cr_assert_eq(memory_of(name), 5 * MIB + 4096);
	sb_seg_close(&other);
	sb_seg_close(&seg);
}

Test(seg, only_what_is_inside_is_reserved)
{
	const struct sb_seg_hole hole = { 4096, 4096 };
	struct sb_seg seg;

	cr_assert_eq(sb_seg_create(&seg, NULL, BYTES, &hole, 0600, PRINT), 0);
	cr_assert_eq(sb_seg_reserve(&seg, BYTES + 1, 0), -EINVAL);
	cr_assert_eq(sb_seg_reserve(&seg, BYTES, 1), -EINVAL);
	cr_assert_eq(sb_seg_reserve(&seg, 0, BYTES + 1), -EINVAL);
	cr_assert_eq(sb_seg_reserve(&seg, 64, SIZE_MAX), -EINVAL);
	cr_assert_eq(sb_seg_reserve(&seg, SIZE_MAX, 64), -EINVAL);
	cr_assert_eq(sb_seg_reserve(&seg, BYTES, 0), 0);
	sb_seg_close(&seg);
}

Test(seg, a_hole_may_be_larger_than_the_machine)
{
	const struct sb_seg_hole hole = { 4096, (size_t)1 << 40 };
	struct sb_seg seg;

#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("ASan needs its address space");
#endif
	if (!kernel_reserves())
		cr_skip_test("no MADV_POPULATE_WRITE here");
	cr_assert_eq(sb_seg_create(&seg, NULL, hole.bytes + 8192, &hole, 0600,
				   PRINT),
		     0);
	cr_assert_eq(sb_seg_reserve(&seg, hole.bytes / 2, 1), 0);
	((char *)seg.base)[hole.bytes / 2] = 1;
	sb_seg_close(&seg);
}

/* Failures of the kernel -------------------------------------------------- */

static int small_tmpfs(void)
{
	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k"))
		return T_SKIP;
	return 0;
}

static int fills_dev_shm(void *arg)
{
	int n_fds = t_count_fds();
	struct sb_seg seg;

	if (small_tmpfs())
		return T_SKIP;
	T_CHECK(sb_seg_create(&seg, arg, 1 << 20, NULL, 0600, PRINT) == -ENOSPC);
	T_CHECK(seg.base == NULL);
	T_CHECK(t_count_fds() == n_fds);
	/* Nothing of it stayed; what fits can be touched to its end. */
	T_CHECK(sb_seg_create(&seg, arg, 60000, NULL, 0600, PRINT) == 0);
	memset(seg.base, 0xff, 60000);
	sb_seg_close(&seg);
	/* An unnamed one does not care. */
	T_CHECK(sb_seg_create(&seg, NULL, 1 << 20, NULL, 0600, PRINT) == 0);
	memset(seg.base, 0xff, 1 << 20);
	sb_seg_close(&seg);
	T_CHECK(t_count_fds() == n_fds);
	return 0;
}

static int fills_hole(void *arg)
{
	const struct sb_seg_hole hole = { 4096, MIB };
	struct sb_seg seg;

	if (small_tmpfs() || !kernel_reserves())
		return T_SKIP;
	T_CHECK(sb_seg_create(&seg, arg, MIB + 8192, &hole, 0600, PRINT) == 0);
	T_CHECK(sb_seg_reserve(&seg, 8192, 8192) == 0);
	memset((char *)seg.base + 8192, 1, 8192);
	T_CHECK(sb_seg_reserve(&seg, 8192, MIB / 2) == -ENOSPC);
	/* what there is stays good */
	memset((char *)seg.base + 8192, 1, 8192);
	T_CHECK(sb_seg_reserve(&seg, 8192, 8192) == 0);
	sb_seg_close(&seg);
	return 0;
}

Test(seg, a_hole_that_cannot_be_filled_says_enospc)
{
	t_join_or_skip(t_fork(fills_hole, (void *)(uintptr_t)t_name("x")),
		       "no mount namespace for us, or an old kernel");
}

Test(seg, full_dev_shm_says_enospc)
{
	t_join_or_skip(t_fork(fills_dev_shm, (void *)(uintptr_t)t_name("x")),
		       "no mount namespace for us");
}

static int has_no_fds(void *arg)
{
	int base = t_count_fds();
	struct sb_seg seg;

	/* First none, then one, then two ... until it works. */
	for (int room = 0; room < 8; room++) {
		int fd[64], n = 0;
		struct rlimit lim;
		int ret;

		/* Fill the holes, so that room is what it says. */
		T_CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
		while ((fd[n] = dup(0)) >= 0 && n < 63 && fd[n] < 60)
			n++;
		lim.rlim_cur = (rlim_t)(fd[n] + room);
		close(fd[n]);
		T_CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);

		ret = sb_seg_create(&seg, arg, BYTES, NULL, 0600, PRINT);
		T_CHECK(ret == 0 || ret == -EMFILE);
		if (ret == 0)
			ret = sb_seg_publish(&seg);
		T_CHECK(ret == 0 || ret == -EMFILE);
		sb_seg_close(&seg);

		if (room == 0)
			T_CHECK(ret == -EMFILE &&
				sb_seg_open(&seg, "x", PRINT, 0) == -EMFILE);
		if (room >= 3)
			T_CHECK(ret == 0);
		lim.rlim_cur = lim.rlim_max;
		T_CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
		while (n)
			close(fd[--n]);
		T_CHECK(t_count_fds() == base);
	}
	return 0;
}

Test(seg, emfile_leaks_nothing)
{
	t_join(t_fork(has_no_fds, NULL));
	t_join(t_fork(has_no_fds, (void *)(uintptr_t)t_name("x")));
}

static int has_file_limit(void *arg)
{
	const struct rlimit lim = { 4096, 4096 };
	int n_fds = t_count_fds();
	struct sb_seg seg;

	signal(SIGXFSZ, SIG_IGN);
	T_CHECK(setrlimit(RLIMIT_FSIZE, &lim) == 0);
	T_CHECK(create(&seg, NULL) == -EFBIG);
	T_CHECK(create(&seg, arg) == -EFBIG);
	T_CHECK(sb_seg_create(&seg, arg, 4096, NULL, 0600, PRINT) == 0);
	sb_seg_close(&seg);
	T_CHECK(t_count_fds() == n_fds);
	return 0;
}

Test(seg, file_size_limit_says_efbig)
{
	t_join(t_fork(has_file_limit, (void *)(uintptr_t)t_name("x")));
}

static int has_address_limit(void *arg)
{
	const struct rlimit lim = { 1 << 20, 1 << 20 };
	struct sb_seg seg;

	T_CHECK(setrlimit(RLIMIT_AS, &lim) == 0);
	T_CHECK(create(&seg, arg) == -ENOMEM);
	T_CHECK(create(&seg, NULL) == -ENOMEM);
	T_CHECK(seg.base == NULL);
	return 0;
}

Test(seg, no_address_space_says_enomem)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("ASan needs its address space");
#endif
	t_join(t_fork(has_address_limit, (void *)(uintptr_t)t_name("x")));
}

static int without_dev_shm(void *arg)
{
	struct sb_seg seg;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL))
		return T_SKIP;
	T_CHECK(create(&seg, arg) == -ENOENT);
	T_CHECK(create(&seg, NULL) == 0);
	sb_seg_close(&seg);
	return 0;
}

Test(seg, missing_dev_shm_is_an_error_for_names_only)
{
	t_join_or_skip(t_fork(without_dev_shm, (void *)(uintptr_t)t_name("x")),
		       "no mount namespace for us");
}

static int without_proc(void *arg)
{
	int n_fds = t_count_fds();
	struct sb_seg seg;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/proc", "tmpfs", 0, NULL))
		return T_SKIP;
	T_CHECK(create(&seg, arg) == -ENOSYS);
	T_CHECK(create(&seg, NULL) == 0);
	sb_seg_close(&seg);
	T_CHECK(umount("/proc") == 0);
	T_CHECK(t_count_fds() == n_fds);
	return 0;
}

Test(seg, missing_proc_is_an_error_for_names_only)
{
	t_join_or_skip(t_fork(without_proc, (void *)(uintptr_t)t_name("x")),
		       "no mount namespace for us");
}

static void on_alarm(int sig)
{
	(void)sig;
}

static int under_signals(void *arg)
{
	const struct itimerval often = { { 0, 100 }, { 0, 100 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART */
	sigset_t before, after;
	struct sb_seg seg, other;

	memset(&before, 0, sizeof(before)); /* only a part is filled in */
	memset(&after, 0, sizeof(after));
	T_CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	T_CHECK(sigprocmask(SIG_SETMASK, NULL, &before) == 0);
	T_CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (int i = 0; i < 20; i++) {
		T_CHECK(sb_seg_create(&seg, arg, 16 << 20, NULL, 0600, PRINT) == 0);
		T_CHECK(sb_seg_publish(&seg) == 0);
		T_CHECK(sb_seg_open(&other, arg, PRINT, 0) == 0);
		sb_seg_close(&other);
		sb_seg_close(&seg);
	}
	T_CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	T_CHECK(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
	T_CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	return 0;
}

Test(seg, signals_do_not_disturb)
{
	t_join(t_fork(under_signals, (void *)(uintptr_t)t_name("x")));
}
