/*
 * threats.c - what others may do to a bus, other than to its bytes: one test
 * each
 *
 * Of the names in /dev/shm, of users, sizes, limits and kernels that deny.
 * Each test is a function in a process of its own, and a point.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/bus/t_bus.h"
#include "tools/torture/torture.h"

#define NOBODY 65534

/* Not true: the test has failed, here. */
#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what)) {                                                 \
			fprintf(stderr, "threats: %s:%d: not true: %s\n",      \
				__FILE__, __LINE__, #what);                    \
			return 1;                                              \
		}                                                              \
	} while (0)

static const char *name(void)
{
	return t_name("t");
}

static const char *path(void)
{
	return t_shm_path(name());
}

static struct bus_config settings(void)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.max_endpoints = 8;
	c.channel_bytes = 65536;
	c.max_message_bytes = 4096;
	c.blob_bytes = 65536;
	return c;
}

static int create(const char *of, struct bus **bus)
{
	struct bus_config c = settings();

	*bus = NULL;
	return bus_create(of, &c, bus);
}

static int open_it(struct bus **bus)
{
	*bus = NULL;
	return bus_open(name(), NULL, bus);
}

/* Does it carry a message? */
static bool works(struct bus *bus)
{
	struct bus_queue *q = t_queue(bus, "q", 4, 16, 0);
	bool ok = t_put_u64(q, 7, 0) == 0 && t_get_u64(q) == 7;

	bus_queue_free(q);
	return ok;
}

/* A file in the place of a bus. */
static bool squat(mode_t mode, uid_t uid, size_t bytes)
{
	int fd = open(path(), O_RDWR | O_CREAT | O_EXCL, 0600);
	bool ok = fd >= 0 && !ftruncate(fd, (off_t)bytes) &&
		  !fchmod(fd, mode) && !fchown(fd, uid, (gid_t)-1);

	close(fd);
	return ok;
}

static int be_nobody(void)
{
	return setgid(NOBODY) || setuid(NOBODY) ? -errno : 0;
}

/* ---------------------------------------------------------------- names -- */

/* Somebody's file that anybody may write is not used, nor removed. */
static int squatted_name(void)
{
	struct stat st;
	struct bus *b;

	MUST(squat(0666, NOBODY, 1 << 20));
	MUST(create(name(), &b) == -EACCES);
	MUST(open_it(&b) < 0);
	MUST(stat(path(), &st) == 0 && st.st_uid == NOBODY);
	MUST(bus_unlink(name()) < 0 || st.st_uid == NOBODY);
	return 0;
}

static int link_in_its_place(void)
{
	const char *target = t_shm_path(t_name("target"));
	int fd = open(target, O_CREAT | O_EXCL | O_RDWR, 0600);
	struct stat st;
	struct bus *b;
	int ret, ret_open;

	MUST(fd >= 0);
	MUST(symlink(target, path()) == 0);
	ret = create(name(), &b);
	ret_open = open_it(&b);
	MUST(fstat(fd, &st) == 0);
	unlink(target);
	close(fd);
	MUST(ret < 0 && ret_open < 0);
	MUST(st.st_size == 0); /* nobody wrote where it points to */
	return 0;
}

static int names_with_paths(void)
{
	static const char *const bad[] = { "",     ".",  "..",  "a/b",
					   "../x", "/x", "a\nb" };
	struct bus *b;

	for (size_t i = 0; i < lengthof(bad); i++) {
		MUST(create(bad[i], &b) == -EINVAL);
		MUST(bus_open(bad[i], NULL, &b) == -EINVAL);
		MUST(bus_unlink(bad[i]) == -EINVAL);
	}
	return 0;
}

static int directory_in_its_place(void)
{
	struct bus *b;
	int ret, ret_open;

	MUST(mkdir(path(), 0700) == 0);
	ret = create(name(), &b);
	ret_open = open_it(&b);
	rmdir(path());
	MUST(ret < 0 && ret_open < 0);
	return 0;
}

/* ---------------------------------------------------------------- users -- */

static int other_uid_opens(void *arg)
{
	struct bus *b;

	(void)arg;
	MUST(be_nobody() == 0);
	MUST(open_it(&b) == -EPERM || open_it(&b) == -EACCES);
	MUST(bus_unlink(name()) < 0);
	MUST(access(path(), F_OK) == 0);
	return 0;
}

static int other_uid(void)
{
	struct bus *b;

	MUST(create(name(), &b) == 0);
	MUST(t_wait(t_fork(other_uid_opens, NULL)) == 0);
	MUST(works(b));
	bus_close(b);
	return 0;
}

static int other_uid_creates(void *arg)
{
	struct bus *b;

	MUST(be_nobody() == 0);
	MUST(create(name(), &b) == 0);
	t_gate_open(arg);
	for (;;)
		pause();
}

/* A whole bus, but another user's. */
static int wrong_owner(void)
{
	struct bus_config c = BUS_CONFIG_INIT;
	struct t_gate gate;
	struct bus *b;
	pid_t pid;
	int ret;

	t_gate_init(&gate);
	pid = t_fork(other_uid_creates, &gate);
	t_gate_wait(&gate);
	ret = open_it(&b);
	c.flags = BUS_F_ANY_OWNER;
	MUST(ret == -EPERM);
	MUST(bus_open(name(), &c, &b) == 0); /* who wants it gets it */
	bus_close(b);
	t_kill(pid);
	t_gate_close(&gate);
	return 0;
}

static int wrong_mode(void)
{
	struct bus *b, *other;

	MUST(create(name(), &b) == 0);
	MUST(chmod(path(), 0666) == 0);
	MUST(open_it(&other) == -EPERM);
	bus_close(b);
	return 0;
}

static int any_umask(void)
{
	static const mode_t masks[] = { 0, 0777, 077 };
	struct bus *b, *other;
	struct stat st;

	for (size_t i = 0; i < lengthof(masks); i++) {
		umask(masks[i]);
		MUST(create(name(), &b) == 0);
		MUST(stat(path(), &st) == 0 && (st.st_mode & 0777) == 0600);
		MUST(open_it(&other) == 0);
		bus_close(other);
		bus_close(b);
	}
	return 0;
}

/* ---------------------------------------------------------------- sizes -- */

/* An unnamed one cannot be truncated, by nobody. */
static int truncate_unnamed(void)
{
	char link[64], what[256];
	struct bus *b;
	ssize_t n = 0;

	MUST(create(NULL, &b) == 0);
	for (int fd = 0; fd < 64; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, what, sizeof(what) - 1);
		what[n > 0 ? n : 0] = 0;
		if (strstr(what, "memfd:"))
			MUST(ftruncate(fd, 0) == -1 && errno == EPERM);
	}
	snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)b->map->seg.base,
		 (unsigned long)b->map->seg.base + b->map->seg.bytes);
	if (truncate(link, 0) == 0)
		MUST(!"truncated by /proc/self/map_files");
	MUST(works(b));
	bus_close(b);
	return 0;
}

/* A named one that was made smaller or larger is not opened; who is attached
 * trusts those who may write it (SIGBUS, see lib/seg.h). */
static int truncate_named(void)
{
	struct bus *b, *other;
	struct stat st;

	MUST(create(name(), &b) == 0);
	MUST(stat(path(), &st) == 0);
	for (int i = 0; i < 4; i++) {
		const off_t sizes[] = { 0, 64, st.st_size - 4096,
					st.st_size + 4096 };

		MUST(truncate(path(), sizes[i]) == 0);
		MUST(open_it(&other) == -EPROTO);
		MUST(truncate(path(), st.st_size) == 0);
	}
	_exit(0); /* its bytes are gone: no more calls */
}

static int small_tmpfs(void)
{
	struct bus_config c = settings();
	struct bus *b;
	int ret;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev/shm", "tmpfs", 0, "size=64k"))
		return T_SKIP;
	ret = create(name(), &b);
	MUST(ret == -ENOSPC);
	MUST(t_shm_leftovers() == 0);
	MUST(create(NULL, &b) == 0); /* is not in /dev/shm */
	MUST(works(b));
	bus_close(b);
	/* It fits, but the channels do not. */
	MUST(umount("/dev/shm") == 0);
	MUST(mount("none", "/dev/shm", "tmpfs", 0, "size=512k") == 0);
	c.channel_bytes = 1 << 20;
	if (bus_create(name(), &c, &b) == 0) {
		struct bus_queue_config qc = BUS_QUEUE_CONFIG_INIT;
		struct bus_queue *q;

		qc.n_slots = 16384;
		ret = bus_queue_open(b, "large", &qc, &q);
		MUST(ret == -ENOSPC || ret == -ENOMEM);
		MUST(works(b));
		bus_close(b);
	}
	MUST(t_shm_leftovers() == 0);
	return 0;
}

/* --------------------------------------------------------------- header -- */

/* Whatever bit of the header is another, nobody attaches: or, where it is none
 * that matters to who opens it, it works. */
static int header_bits(void)
{
	struct bus *b, *other;
	unsigned char *bytes;
	int fd, n_refused = 0;

	MUST(create(name(), &b) == 0);
	fd = open(path(), O_RDWR);
	MUST(fd >= 0);
	bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	MUST(bytes != MAP_FAILED);
	for (uint32_t i = 0; i < 8 * sizeof(struct bus_header); i++) {
		bytes[i / 8] ^= 1u << i % 8;
		if (open_it(&other) == 0)
			bus_close(other);
		else
			n_refused++;
		bytes[i / 8] ^= 1u << i % 8;
		/* of the first part, all but what is reserved */
		if (i < 8 * offsetof(struct sb_seg_header, reserved))
			MUST(n_refused == (int)i + 1);
	}
	MUST(open_it(&other) == 0);
	MUST(works(other));
	bus_close(other);
	bus_close(b);
	return 0;
}

static int other_version(void)
{
	struct bus *b, *other;
	struct sb_seg_header *h;

	MUST(create(name(), &b) == 0);
	h = b->map->seg.base;
	h->fingerprint++;
	MUST(open_it(&other) == -EPROTO);
	h->fingerprint--;
	h->abi++;
	MUST(open_it(&other) == -EPROTO);
	h->abi--;
	h->magic = __builtin_bswap64(h->magic);
	MUST(open_it(&other) == -EPROTO);
	h->magic = __builtin_bswap64(h->magic);
	h->pid_ns++;
	MUST(open_it(&other) < 0);
	h->pid_ns--;
	MUST(open_it(&other) == 0);
	bus_close(other);
	bus_close(b);
	return 0;
}

static int random_file(void)
{
	uint64_t seed = torture->seed;
	struct bus *b;

	for (int i = 0; i < 64; i++) {
		uint64_t words[512];
		int fd;

		MUST(squat(0600, getuid(), 0));
		for (size_t w = 0; w < lengthof(words); w++)
			words[w] = torture_random(&seed);
		if (i % 2)
			words[0] = SB_SEG_MAGIC;
		fd = open(path(), O_RDWR);
		MUST(write(fd, words, sizeof(words)) == sizeof(words));
		close(fd);
		MUST(open_it(&b) == -EPROTO);
		unlink(path());
	}
	return 0;
}

/* --------------------------------------------------------------- limits -- */

static void limit(int what, rlim_t n)
{
	struct rlimit r = { n, n };

	setrlimit(what, &r);
}

static int rlimit_fsize(void)
{
	struct bus *b;

	signal(SIGXFSZ, SIG_IGN);
	limit(RLIMIT_FSIZE, 4096);
	MUST(create(name(), &b) == -EFBIG);
	MUST(create(NULL, &b) == -EFBIG);
	MUST(t_shm_leftovers() == 0);
	return 0;
}

static int rlimit_as(void)
{
	struct bus_config c = BUS_CONFIG_INIT; /* 1 GiB of room */
	struct bus *b = NULL;
	int ret;

	limit(RLIMIT_AS, 256u << 20);
	ret = bus_create(name(), &c, &b);
	MUST(ret == -ENOMEM);
	MUST(t_shm_leftovers() == 0);
	MUST(create(NULL, &b) == 0 && works(b));
	bus_close(b);
	return 0;
}

/* From none on: an error, or it works; and nothing is left. */
static int rlimit_nofile(void)
{
	int n_fds = t_count_fds();

	for (rlim_t n = 24; n-- > 3;) {
		struct rlimit r = { n, 1024 };
		struct bus *b;
		int ret;

		setrlimit(RLIMIT_NOFILE, &r);
		ret = create(name(), &b);
		if (ret == 0) {
			MUST(works(b));
			bus_close(b);
		} else {
			MUST(ret == -EMFILE);
		}
		r.rlim_cur = 1024;
		setrlimit(RLIMIT_NOFILE, &r);
		MUST(t_count_fds() == n_fds);
		MUST(t_shm_leftovers() == 0);
	}
	return 0;
}

static int echo(void *ctx, const void *req, size_t len, struct bus_reply *reply)
{
	(void)ctx;
	return bus_reply_put(reply, req, len);
}

/* As a user who may have no more processes. */
static int rlimit_nproc(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord = NULL;
	struct bus *b;
	int ret;

	MUST(create(NULL, &b) == 0);
	limit(RLIMIT_NPROC, 0);
	if (be_nobody())
		return T_SKIP;
	c.handler = echo;
	ret = bus_coord_start(b, "r", &c, &coord);
	MUST(ret == -EAGAIN);
	MUST(works(b));
	bus_close(b);
	return 0;
}

static int rlimit_memlock(void)
{
	struct bus *b;

	limit(RLIMIT_MEMLOCK, 0);
	MUST(create(NULL, &b) == 0 && works(b));
	bus_close(b);
	return 0;
}

/* ------------------------------------------------------------- io_uring -- */

static int64_t ms(unsigned n)
{
	return (int64_t)(n * SB_NS_PER_MS);
}

/* On its bell alone, and on a descriptor as well, which is what io_uring is
 * for: in vain, and not. */
static bool sleeps(struct bus *b)
{
	struct bus_queue *q = t_queue(b, "s", 4, 16, 0);
	struct bus_poll item = { .kind = BUS_POLL_FD, .events = BUS_POLL_IN };
	uint64_t v;
	int fd[2];
	bool ok;

	ok = bus_queue_get(q, &v, sizeof(v), NULL, ms(5)) == -ETIMEDOUT;
	bus_queue_free(q);
	T_CHECK(pipe(fd) == 0);
	item.fd = fd[0];
	ok = ok && bus_wait(b, &item, 1, ms(5)) == -ETIMEDOUT;
	T_CHECK(write(fd[1], "x", 1) == 1);
	ok = ok && bus_wait(b, &item, 1, T_LONG) == 1;
	close(fd[0]);
	close(fd[1]);
	return ok;
}

/* After that. */
static bool has_uring(const struct bus *b)
{
	return b->waiter.uring != NULL;
}

/* Who insists is told. */
static int insist(void)
{
	struct bus_config c = settings();
	struct bus *b;
	int ret;

	c.wait = BUS_WAIT_URING;
	ret = bus_create(NULL, &c, &b);
	if (!ret)
		bus_close(b);
	return ret;
}

static int calls_denied(uint32_t first, uint32_t last, int err)
{
	int n_fds = t_count_fds();
	struct bus *b;

	if (t_deny_calls(first, last, err))
		return T_SKIP;
	MUST(create(NULL, &b) == 0);
	MUST(works(b));
	MUST(sleeps(b));
	MUST(!has_uring(b));
	bus_close(b);
	MUST(insist() == -err);
	MUST(t_count_fds() == n_fds);
	return 0;
}

/* All three of them. */
static int uring_denied(int err)
{
	return calls_denied(425, 427, err);
}

static int uring_no_enter(void)
{
	return calls_denied(426, 426, EPERM);
}

/* Registered rings are a gain, no more. */
static int uring_no_register(void)
{
	struct bus *b;

	if (insist() || t_deny_calls(427, 427, EPERM))
		return T_SKIP;
	MUST(insist() == 0);
	MUST(create(NULL, &b) == 0);
	MUST(works(b));
	MUST(sleeps(b));
	MUST(has_uring(b));
	bus_close(b);
	return 0;
}

/* As runtimes do that are older than the kernel: from io_uring_setup up to
 * futex_waitv, so there are no pidfds either.  Queues need none; workers do. */
static int no_newer_calls(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_coord *coord = NULL;
	struct bus *b;
	int ret;

	ret = calls_denied(425, 449, ENOSYS);
	if (ret)
		return ret;
	MUST(create(NULL, &b) == 0);
	c.handler = echo;
	MUST(bus_coord_start(b, "r", &c, &coord) == -ENOSYS);
	MUST(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	MUST(works(b));
	bus_close(b);
	return 0;
}

static int uring_eperm(void)
{
	return uring_denied(EPERM);
}

static int uring_enosys(void)
{
	return uring_denied(ENOSYS);
}

static int uring_enomem(void)
{
	return uring_denied(ENOMEM);
}

static int uring_emfile(void)
{
	return uring_denied(EMFILE);
}

/* ------------------------------------------------------------ processes -- */

static int killed_creator(void *arg)
{
	struct bus *b;

	(void)arg;
	T_CHECK(create(name(), &b) == 0);
	kill(getpid(), SIGKILL);
	return 1;
}

/* What a killed creator left is joined by nobody, replaced, and can be
 * removed. */
static int leftover(void)
{
	struct bus *b, *other;

	t_wait(t_fork(killed_creator, NULL));
	MUST(open_it(&other) == -EOWNERDEAD);
	MUST(create(name(), &b) == 0 && works(b));
	MUST(open_it(&other) == 0 && works(other));
	bus_close(other);
	MUST(bus_unlink(name()) == -EBUSY);
	bus_close(b);
	t_wait(t_fork(killed_creator, NULL));
	MUST(bus_unlink(name()) == 0);
	return 0;
}

static int live_creator(void)
{
	struct bus *b, *other;

	MUST(create(name(), &b) == 0);
	MUST(create(name(), &other) == -EEXIST);
	MUST(works(b));
	bus_close(b);
	return 0;
}

/* Nothing of ours is inherited by a program that is executed. */
static int close_on_exec(void)
{
	bool before[64];
	struct bus *b;

	for (int fd = 0; fd < 64; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	MUST(create(name(), &b) == 0 && works(b));
	for (int fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFD);

		MUST(before[fd] || flags < 0 || flags & FD_CLOEXEC);
	}
	bus_close(b);
	return 0;
}

/* Somebody else of the same user, who is no peer by /proc: as SECURITY.md has
 * it.  Not of who may be dumped, or it shows nothing. */
static int looks_into(void *arg)
{
	char fds[64];

	snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)*(pid_t *)arg);
	return open(fds, O_RDONLY | O_DIRECTORY) < 0 ? errno : 0;
}

static int opens_and_uses(void *arg)
{
	struct bus *b;

	(void)arg;
	MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
	MUST(open_it(&b) == 0);
	MUST(works(b));
	kill(getpid(), SIGKILL); /* it is noticed */
	return 1;
}

/* The library needs nothing that is forbidden then: of itself, of workers, and
 * of peers that die. */
static int not_dumpable(void)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	pid_t self = getpid();
	struct bus_coord *coord;
	struct bus_result r;
	struct bus *b;

	if (geteuid() == 0 && be_nobody())
		return T_SKIP;
	MUST(prctl(PR_SET_DUMPABLE, 1) == 0);
	MUST(t_wait(t_fork(looks_into, &self)) == 0);
	MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
	MUST(create(name(), &b) == 0);
	MUST(t_wait(t_fork(looks_into, &self)) == EACCES);
	MUST(t_wait(t_fork(opens_and_uses, NULL)) == -SIGKILL);
	MUST(bus_reap(b) == 1);
	c.handler = echo;
	c.result_bytes = 8;
	MUST(bus_coord_start(b, "r", &c, &coord) == 0);
	MUST(bus_submit(coord, 1, "12345678", 8, T_LONG) == 0);
	MUST(bus_collect(coord, &r, T_LONG) == 0);
	MUST(r.kind == BUS_RESULT_OK && !memcmp(r.data, "12345678", 8));
	MUST(bus_coord_stop(coord, T_LONG) == 0);
	bus_close(b);
	MUST(t_shm_leftovers() == 0);
	return 0;
}

static const struct threat {
	const char *name;
	int (*fn)(void);
	bool root; /* becomes another user, or mounts */
	const char *about;
} threats[] = {
	{ "squatted-name", squatted_name, true,
	  "another user's file has the name" },
	{ "symlink", link_in_its_place, false, "a symbolic link has the name" },
	{ "directory", directory_in_its_place, false,
	  "a directory has the name" },
	{ "names-with-paths", names_with_paths, false,
	  "names that would lead elsewhere" },
	{ "other-uid", other_uid, true, "another user opens and unlinks it" },
	{ "wrong-owner", wrong_owner, true, "a bus of another user is opened" },
	{ "wrong-mode", wrong_mode, false, "everybody may write it" },
	{ "umask", any_umask, false, "made under umask 0, 0777 and 077" },
	{ "truncate-unnamed", truncate_unnamed, false,
	  "ftruncate(2) of its descriptors, truncate(2) by map_files" },
	{ "truncate-named", truncate_named, false,
	  "opened with 4 other sizes of its file" },
	{ "small-tmpfs", small_tmpfs, true,
	  "/dev/shm has 64 KiB, then 512 KiB" },
	{ "header-bits", header_bits, false, "each bit of the header flipped" },
	{ "other-version", other_version, false,
	  "another fingerprint, abi, byte order, namespace of processes" },
	{ "random-file", random_file, false, "64 files of random bytes" },
	{ "rlimit-fsize", rlimit_fsize, false, "files of at most 4 KiB" },
	{ "rlimit-as", rlimit_as, false, "256 MiB of address space" },
	{ "rlimit-nofile", rlimit_nofile, false, "3 to 23 descriptors" },
	{ "rlimit-nproc", rlimit_nproc, true, "no more processes" },
	{ "rlimit-memlock", rlimit_memlock, false, "no locked memory" },
	{ "uring-eperm", uring_eperm, false, "io_uring_*(2) say EPERM" },
	{ "uring-enosys", uring_enosys, false, "io_uring_*(2) say ENOSYS" },
	{ "uring-enomem", uring_enomem, false, "io_uring_*(2) say ENOMEM" },
	{ "uring-emfile", uring_emfile, false, "io_uring_*(2) say EMFILE" },
	{ "uring-no-enter", uring_no_enter, false,
	  "io_uring_enter(2) alone says EPERM" },
	{ "uring-no-register", uring_no_register, false,
	  "io_uring_register(2) alone says EPERM: io_uring all the same" },
	{ "no-newer-calls", no_newer_calls, false,
	  "calls 425 to 449, of Linux 5.1 to 5.16, say ENOSYS" },
	{ "leftover", leftover, false,
	  "its creator was killed; made anew, unlinked" },
	{ "live-creator", live_creator, false,
	  "its name is taken by one who lives" },
	{ "close-on-exec", close_on_exec, false,
	  "flags of all descriptors it has" },
	{ "not-dumpable", not_dumpable, false,
	  "PR_SET_DUMPABLE 0: a peer that dies, a worker" },
};

static int threat_main(void *arg)
{
	const struct threat *t = arg;

	alarm(60);
	return t->fn();
}

static void run_threat(const struct threat *t)
{
	int status;

	if (t->root && geteuid()) {
		torture_skip(t->name, "it needs root");
		return;
	}
	torture_gate();
	status = t_wait(t_fork(threat_main, (void *)(uintptr_t)t));
	if (status == T_SKIP) {
		torture_skip(t->name, "not permitted here");
		t_shm_clean();
		return;
	}
	torture_point(NULL);
	torture_say("%-18s %-4s %s\n", t->name, status ? "bad" : "ok",
		    t->about);
	if (status == -SIGALRM)
		torture_bad(NULL, offsetof(struct tally, hung), t->name, -1,
			    "it hangs");
	else if (status)
		torture_bad(NULL, torture_verdict(status), t->name, -1,
			    "it ended with %d", status);
	t_shm_clean();
}

int threats_main(void)
{
	t_name("t"); /* has our pid from now on */
	for (size_t i = 0; i < lengthof(threats); i++)
		if (torture_wants(threats[i].name))
			run_threat(&threats[i]);
	return 0;
}
