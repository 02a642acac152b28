/*
 * test_bus.c - tests of bus/bus.c; Criterion suite "bus"
 *
 * Make, open, leave; names, versions, other users; fork; descriptors.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "bus/endpoint.h"
#include "bus/settings.h"
#include "tests/bus/t_bus.h"

static struct bus_config config;

static void setup(void)
{
	t_name("x"); /* names carry the pid of this process */
	config = t_config();
}

static void teardown(void)
{
	int left = t_shm_leftovers();

	t_shm_clean();
	cr_expect_eq(left, 0);
}

TestSuite(bus, .init = setup, .fini = teardown, .timeout = 200.0);

static struct bus *create(const char *name)
{
	return t_bus_with(name, &config);
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(t_shm_path(name), &st) == 0;
}

/* Arguments --------------------------------------------------------------- */

Test(bus, bad_arguments_are_refused)
{
	struct bus *bus = NULL;

	cr_assert_eq(bus_create(NULL, NULL, NULL), -EINVAL);
	cr_assert_eq(bus_open(NULL, NULL, &bus), -EINVAL);
	cr_assert_eq(bus_open("x", NULL, NULL), -EINVAL);
	cr_assert_eq(bus_attach(NULL, &bus), -EINVAL);
	cr_assert_eq(bus_unlink(NULL), -EINVAL);
	cr_assert_null(bus);
	bus_close(NULL);
}

Test(bus, bad_names_are_refused)
{
	static const char *const bad[] = { "", ".", "..", ".x", "a/b", "a\n" };
	char longer[300];
	struct bus *bus = NULL;

	for (size_t i = 0; i < lengthof(bad); i++) {
		cr_assert_eq(bus_create(bad[i], &config, &bus), -EINVAL);
		cr_assert_eq(bus_open(bad[i], &config, &bus), -EINVAL);
		cr_assert_eq(bus_unlink(bad[i]), -EINVAL);
	}
	memset(longer, 'n', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	cr_assert_eq(bus_create(longer, &config, &bus), -ENAMETOOLONG);
	cr_assert_eq(bus_open(longer, &config, &bus), -ENAMETOOLONG);
	cr_assert_eq(bus_unlink(longer), -ENAMETOOLONG);
	cr_assert_null(bus);
}

Test(bus, bad_settings_are_refused)
{
	struct {
		struct bus_config c;
		uint64_t more;
	} newer = { BUS_CONFIG_INIT, 1 };
	struct bus_config c;
	struct bus *bus = NULL;

	newer.c.size = sizeof(newer);
	cr_assert_eq(bus_create(NULL, &newer.c, &bus), -E2BIG);
	cr_assert_eq(bus_open("x", &newer.c, &bus), -E2BIG);
#define BAD(...)                                                               \
	do {                                                                   \
		c = t_config();                                                \
		__VA_ARGS__;                                                   \
		cr_assert_eq(bus_create(t_name("x"), &c, &bus), -EINVAL,       \
			     #__VA_ARGS__);                                    \
	} while (0)
	BAD(c.size = 0);
	BAD(c.wait = 3);
	BAD(c.spin = 3);
	BAD(c.flags = 16);
	BAD(c.mode = 0666);
	BAD(c.mode = 0400);
	BAD(c.mode = 0700);
	BAD(c.max_endpoints = 1);
	BAD(c.max_endpoints = 255);
	BAD(c.channel_bytes = UINT64_MAX);
	BAD(c.blob_bytes = UINT64_MAX);
	BAD(c.max_message_bytes = UINT64_MAX);
	cr_assert_null(bus);
}

Test(bus, more_than_the_machine_has_says_enomem)
{
	struct bus *bus = NULL;

	config.max_message_bytes = UINT64_C(1) << 40;
	cr_assert_eq(bus_create(NULL, &config, &bus), -ENOMEM);
	cr_assert_eq(bus_create(t_name("x"), &config, &bus), -ENOMEM);
}

Test(bus, the_defaults_work)
{
	struct bus *bus = NULL;
	struct bus_stats s;

	cr_assert_eq(bus_create(NULL, NULL, &bus), 0);
	s = t_stats(bus);
	cr_assert_eq(s.n_endpoints, 1);
	cr_assert_geq(s.blob_bytes, 15 << 20);
	cr_assert_eq(s.blob_bytes_used, 0);
	bus_close(bus);
	cr_assert_str_eq(bus_version(), BUS_VERSION);
}

Test(bus, the_smallest_bus_works)
{
	struct bus_config c = BUS_CONFIG_INIT;
	struct bus *bus, *second, *third = NULL;

	c.max_endpoints = 2;
	c.channel_bytes = 1;
	c.max_message_bytes = 1;
	c.blob_bytes = 1;
	bus = t_bus_with(NULL, &c);
	cr_assert_eq(bus_attach(bus, &second), 0);
	cr_assert_eq(bus_attach(bus, &third), -EUSERS);
	cr_assert_null(third);
	bus_close(second);
	bus_close(bus);
}

/* Names ------------------------------------------------------------------- */

Test(bus, a_name_is_there_as_long_as_its_creator)
{
	const char *name = t_name("x");
	struct bus *bus, *other = NULL;

	cr_assert_eq(bus_open(name, NULL, &other), -ENOENT);
	bus = create(name);
	cr_assert_eq(bus_create(name, &config, &other), -EEXIST);
	cr_assert_null(other);
	cr_assert_eq(bus_unlink(name), -EBUSY);
	cr_assert_eq(bus_open(name, NULL, &other), 0);
	cr_assert_eq(t_stats(other).n_endpoints, 2);
	bus_close(other);
	cr_assert(exists(name));
	bus_close(bus);
	cr_assert_not(exists(name));
	cr_assert_eq(bus_unlink(name), -ENOENT);
}

Test(bus, who_is_attached_goes_on_after_the_creator_left)
{
	const char *name = t_name("x");
	struct bus *bus = create(name), *a, *b;

	cr_assert_eq(bus_open(name, NULL, &a), 0);
	cr_assert_eq(bus_open(name, NULL, &b), 0);
	bus_close(bus);
	struct bus_queue *put = t_queue(a, "q", 0, 0, 0);
	struct bus_queue *get = t_queue(b, "q", 0, 0, 0);
	cr_assert_eq(t_put_u64(put, 42, 0), 0);
	cr_assert_eq(t_get_u64(get), 42);
	bus_close(a);
	bus_close(b);
}

static int create_and_die(void *arg)
{
	create(arg);
	kill(getpid(), SIGKILL);
	return 0;
}

Test(bus, what_a_killed_creator_left_is_replaced)
{
	const char *name = t_name("x");
	struct bus *bus;

	cr_assert_eq(t_wait(t_fork(create_and_die, (void *)(uintptr_t)name)),
		     -SIGKILL);
	cr_assert(exists(name));
	bus = create(name);
	bus_close(bus);
	cr_assert_not(exists(name));

	cr_assert_eq(t_wait(t_fork(create_and_die, (void *)(uintptr_t)name)),
		     -SIGKILL);
	cr_assert_eq(bus_unlink(name), 0);
	cr_assert_not(exists(name));
}

/* Bury nobody: it is the lock that tells. */
Test(bus, nobody_joins_the_bus_of_a_dead_creator)
{
	const char *name = t_name("x");
	struct bus_config orphan = t_config();
	struct bus *bus, *other = NULL;

	orphan.flags = BUS_F_ORPHAN;
	cr_assert_eq(bus_open(name, &orphan, &other), -ENOENT);
	cr_assert_eq(t_wait(t_fork(create_and_die, (void *)(uintptr_t)name)),
		     -SIGKILL);
	cr_assert_eq(bus_open(name, NULL, &other), -EOWNERDEAD);
	cr_assert_null(other);
	for (int i = 0; i < 2; i++) { /* to open it does not adopt it */
		cr_assert_eq(bus_open(name, &orphan, &other), 0);
		cr_assert_eq(t_stats(other).name, BUS_NAME_ORPHANED);
		bus_close(other);
		cr_assert_eq(bus_open(name, NULL, &other), -EOWNERDEAD);
	}
	bus = create(name);
	cr_assert_eq(bus_open(name, &orphan, &other), -EBUSY);
	cr_assert_eq(bus_open(name, NULL, &other), 0);
	bus_close(other);
	bus_close(bus);
}

struct creator {
	const char *name;
	struct t_gate ready;
};

static int create_and_stay(void *arg)
{
	struct creator *c = arg;

	create(c->name);
	t_gate_open(&c->ready);
	for (;;)
		pause();
	return 0;
}

static int asks_as_child(void *bus)
{
	T_CHECK(t_stats(bus).name == BUS_NAME_REPLACED);
	bus_close(bus);
	return 0;
}

Test(bus, who_is_attached_sees_what_became_of_the_name)
{
	struct creator c = { .name = t_name("x") };
	struct bus *bus, *mine, *unnamed = t_bus();
	struct bus_queue *put, *get;
	struct bus_stats old;
	pid_t creator;

	cr_assert_eq(t_stats(unnamed).name, BUS_NAME_NONE);
	bus_close(unnamed);
	t_gate_init(&c.ready);
	creator = t_fork(create_and_stay, &c);
	t_gate_wait(&c.ready);
	cr_assert_eq(bus_open(c.name, NULL, &bus), 0);
	cr_assert_eq(t_stats(bus).name, BUS_NAME_LIVE);
	t_kill(creator);
	cr_assert_eq(t_stats(bus).name, BUS_NAME_ORPHANED);
	/* Those who are attached have each other. */
	cr_assert_eq(bus_attach(bus, &mine), 0);
	put = t_queue(bus, "q", 8, 8, 0);
	get = t_queue(mine, "q", 8, 8, 0);
	cr_assert_eq(t_put_u64(put, 42, 0), 0);

	creator = t_fork(create_and_stay, &c);
	t_gate_wait(&c.ready);
	cr_assert_eq(t_stats(bus).name, BUS_NAME_REPLACED);
	cr_assert_eq(t_stats(mine).name, BUS_NAME_REPLACED);
	t_join(t_fork(asks_as_child, bus));
	cr_assert_eq(t_get_u64(get), 42);
	t_kill(creator);
	cr_assert_eq(t_stats(bus).name, BUS_NAME_REPLACED);
	cr_assert_eq(bus_unlink(c.name), 0);
	cr_assert_eq(t_stats(bus).name, BUS_NAME_GONE);

	/* A caller of old does not pay for what it does not get. */
	memset(&old, 0xee, sizeof(old));
	old.size = offsetof(struct bus_stats, name);
	cr_assert_eq(bus_stats(bus, &old), 0);
	cr_assert_eq(old.name, 0xeeeeeeee);
	bus_close(mine);
	bus_close(bus);
	t_gate_close(&c.ready);
}

/* The recipe of shmbus.h, for real: the service is killed again and again. */
#define N_JOBS    1000
#define JOBS_EACH 50 /* that a service does before it dies */

struct service {
	const char *name;
	bool done; /* the client has put all */
	unsigned char n_got[N_JOBS];
};

static void take(struct service *s, uint64_t job)
{
	T_CHECK(job < N_JOBS);
	s->n_got[job]++;
}

static void take_what_is_left(struct service *s)
{
	struct bus_queue *q;
	struct bus *old;
	uint64_t job;
	int ret;

	config.flags = BUS_F_ORPHAN;
	ret = bus_open(s->name, &config, &old);
	config.flags = 0;
	T_CHECK(ret == 0 || ret == -ENOENT);
	if (ret)
		return;
	q = t_queue(old, "jobs", 4, 8, 0);
	T_CHECK(bus_queue_close(q) == 0);
	while (!(ret = bus_queue_get(q, &job, 8, NULL, T_LONG)))
		take(s, job);
	T_CHECK(ret == -EPIPE);
	bus_close(old);
}

/* Exit status 0 when there will be no more jobs.  It dies with one in hand. */
static int serves(void *arg)
{
	struct service *s = arg;
	struct bus_queue *q;
	struct bus *bus;
	struct bus_msg m;

	take_what_is_left(s);
	bus = create(s->name);
	q = t_queue(bus, "jobs", 4, 8, 0);
	for (int i = 0; i < JOBS_EACH;) {
		bool done = __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
		int ret = bus_queue_peek(q, &m, done ? 0 : 1000000);

		if (ret == -EAGAIN)
			break;
		if (ret == -ETIMEDOUT)
			continue;
		T_CHECK(ret == 0);
		if (++i == JOBS_EACH)
			kill(getpid(), SIGKILL);
		take(s, *(uint64_t *)m.data);
		T_CHECK(bus_queue_release(q, &m) == 0);
	}
	bus_close(bus);
	return 0;
}

static struct bus_queue *reopen(const char *name, struct bus **bus)
{
	int ret;

	bus_close(*bus);
	while ((ret = bus_open(name, NULL, bus))) {
		T_CHECK(ret == -EOWNERDEAD || ret == -ENOENT);
		usleep(100);
	}
	return t_queue(*bus, "jobs", 4, 8, 0);
}

static int puts_jobs(void *arg)
{
	struct service *s = arg;
	struct bus *bus = NULL;
	struct bus_queue *q = reopen(s->name, &bus);

	for (uint64_t job = 0; job < N_JOBS;) {
		int ret = bus_queue_put(q, &job, 8, T_LONG);

		if (ret == -EPIPE)
			q = reopen(s->name, &bus);
		T_CHECK(ret == 0 || ret == -EPIPE);
		job += ret == 0;
	}
	bus_close(bus);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return 0;
}

Test(bus, a_service_that_is_killed_again_and_again_loses_nothing)
{
	struct service *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, n_deaths = 0;
	pid_t client;

	cr_assert_neq(s, MAP_FAILED);
	s->name = t_name("x");
	client = t_fork(puts_jobs, s);
	while ((status = t_wait(t_fork(serves, s)))) {
		cr_assert_eq(status, -SIGKILL);
		n_deaths++;
	}
	t_join(client);
	cr_assert_geq(n_deaths, N_JOBS / (JOBS_EACH + 8) - 1);
	for (int i = 0; i < N_JOBS; i++)
		cr_assert_eq(s->n_got[i], 1, "job %d: %d times", i,
			     s->n_got[i]);
	munmap(s, sizeof(*s));
}

Test(bus, mode_is_what_was_asked_for_whatever_the_umask)
{
	static const mode_t masks[] = { 0, 0777, 022 };
	static const uint32_t modes[] = { 0, 0600, 0660, 0640, 0664, 0644 };
	const char *name = t_name("x");
	struct stat st;

	for (size_t i = 0; i < lengthof(masks); i++) {
		for (size_t k = 0; k < lengthof(modes); k++) {
			mode_t was = umask(masks[i]);
			struct bus *bus;

			config.mode = modes[k];
			bus = create(name);
			umask(was);
			cr_assert_eq(lstat(t_shm_path(name), &st), 0);
			cr_assert_eq(st.st_mode & 07777,
				     modes[k] ? modes[k] : 0600);
			bus_close(bus);
		}
	}
}

/* What is behind a name --------------------------------------------------- */

/* The header says what this function made of it; its sum is right. */
static void forge(const char *name, void (*change)(struct sb_seg_header *))
{
	int fd = open(t_shm_path(name), O_RDWR | O_CLOEXEC);
	struct sb_seg_header *h;

	T_CHECK(fd >= 0);
	h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	T_CHECK(h != MAP_FAILED);
	close(fd);
	change(h);
	h->checksum = sb_seg_checksum(h);
	munmap(h, sizeof(*h));
}

static void flip_fingerprint(struct sb_seg_header *h)
{
	h->fingerprint ^= 1;
}

static void flip_abi(struct sb_seg_header *h)
{
	h->abi++;
}

static void other_pid_ns(struct sb_seg_header *h)
{
	h->pid_ns++;
}

static void other_time_ns(struct sb_seg_header *h)
{
	h->time_ns++;
}

static void unchanged(struct sb_seg_header *h)
{
	(void)h;
}

Test(bus, another_version_is_refused)
{
	const char *name = t_name("x");
	struct bus *bus = create(name), *other = NULL;

	forge(name, unchanged); /* that it can be forged at all */
	cr_assert_eq(bus_open(name, NULL, &other), 0);
	bus_close(other);
	forge(name, flip_fingerprint);
	cr_assert_eq(bus_open(name, NULL, &other), -EPROTO);
	forge(name, flip_fingerprint);
	forge(name, flip_abi);
	cr_assert_eq(bus_open(name, NULL, &other), -EPROTO);
	bus_close(bus);
}

Test(bus, another_pid_namespace_is_refused)
{
	const char *name = t_name("x");
	struct bus *bus = create(name), *other = NULL;

	if (!((struct sb_seg_header *)bus->map->seg.base)->pid_ns)
		cr_skip_test("no /proc");
	forge(name, other_pid_ns);
	cr_assert_eq(bus_open(name, NULL, &other), -EXDEV);
	bus_close(bus);
}

Test(bus, another_time_namespace_is_refused)
{
	const char *name = t_name("x");
	struct bus *bus = create(name), *other = NULL;

	if (!((struct sb_seg_header *)bus->map->seg.base)->time_ns)
		cr_skip_test("no /proc, or no time namespaces");
	forge(name, other_time_ns);
	cr_assert_eq(bus_open(name, NULL, &other), -EXDEV);
	bus_close(bus);
}

Test(bus, a_damaged_segment_is_refused)
{
	const char *name = t_name("x");
	struct bus *bus = create(name), *other = NULL;
	struct bus_map *map = bus->map;
	unsigned char *b = (unsigned char *)map->header;

	/* every word of the sizes, and of the pool's geometry */
	for (size_t at = offsetof(struct bus_header, sizes);
	     at < offsetof(struct bus_header, sizes) + sizeof(struct bus_sizes);
	     at += 4) {
		b[at + 1] ^= 0x40;
		cr_assert_eq(bus_open(name, NULL, &other), -EPROTO, "%zu", at);
		b[at + 1] ^= 0x40;
	}
	for (size_t at = 0; at < 16; at += 4) {
		b[map->off.blob + at + 1] ^= 0x40;
		cr_assert_eq(bus_open(name, NULL, &other), -EPROTO);
		b[map->off.blob + at + 1] ^= 0x40;
	}
	cr_assert_eq(bus_open(name, NULL, &other), 0);
	bus_close(other);
	bus_close(bus);
}

Test(bus, a_truncated_segment_is_refused)
{
	const char *name = t_name("x");
	struct bus *other = NULL;

	for (off_t len = 0; len < 70000; len = len * 3 + 1) {
		cr_assert_eq(
			t_wait(t_fork(create_and_die, (void *)(uintptr_t)name)),
			-SIGKILL);
		cr_assert_eq(truncate(t_shm_path(name), len), 0);
		cr_assert_eq(bus_open(name, NULL, &other), -EPROTO);
	}
	/* longer is not right either */
	cr_assert_eq(t_wait(t_fork(create_and_die, (void *)(uintptr_t)name)),
		     -SIGKILL);
	cr_assert_eq(truncate(t_shm_path(name), 1 << 24), 0);
	cr_assert_eq(bus_open(name, NULL, &other), -EPROTO);
	cr_assert_eq(bus_unlink(name), 0);
}

Test(bus, a_squatted_name_is_refused)
{
	const char *name = t_name("x"), *path = t_shm_path(name);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct bus *bus = NULL;
	int fd;

	cr_assert_eq(symlink("/etc/passwd", path), 0);
	cr_assert_eq(bus_open(name, NULL, &bus), -EPROTO);
	cr_assert_eq(bus_create(name, &config, &bus), -EACCES);
	cr_assert_eq(bus_unlink(name), -EACCES);
	unlink(path);

	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(bus_open(name, NULL, &bus), -EPROTO);
	cr_assert_eq(bus_create(name, &config, &bus), -EACCES);
	rmdir(path);

	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(bus_open(name, NULL, &bus), -EPROTO);
	cr_assert_eq(bus_create(name, &config, &bus), -EACCES);
	unlink(path);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(un.sun_path, path);
	cr_assert_eq(bind(fd, (void *)&un, sizeof(un)), 0);
	cr_assert_eq(bus_open(name, NULL, &bus), -EPROTO);
	cr_assert_eq(bus_create(name, &config, &bus), -EACCES);
	close(fd);
	unlink(path);
	cr_assert_null(bus);
}

Test(bus, another_users_bus_needs_a_flag)
{
	const char *name = t_name("x");
	struct bus *bus, *other = NULL;
	struct bus_config any = BUS_CONFIG_INIT;

	if (geteuid())
		cr_skip_test("not root");
	bus = create(name);
	cr_assert_eq(chown(t_shm_path(name), 65534, 65534), 0);
	cr_assert_eq(bus_open(name, NULL, &other), -EPERM);
	any.flags = BUS_F_ANY_OWNER;
	cr_assert_eq(bus_open(name, &any, &other), 0);
	bus_close(other);
	/* nor one that anybody may write, with any flag */
	cr_assert_eq(chmod(t_shm_path(name), 0666), 0);
	cr_assert_eq(bus_open(name, &any, &other), -EPERM);
	bus_close(bus);
}

/* Failures of the kernel -------------------------------------------------- */

static int fills_dev_shm(void *name)
{
	int n_fds = t_count_fds();
	struct bus *bus = NULL;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m"))
		return T_SKIP;
	T_CHECK(bus_create(name, &config, &bus) == -ENOSPC);
	T_CHECK(!bus && t_count_fds() == n_fds);
	config.max_message_bytes = 1000;
	config.blob_bytes = 100000;
	config.channel_bytes = 100000;
	T_CHECK(bus_create(name, &config, &bus) == 0);
	memset((char *)bus->map->seg.base + bus->map->off.chan, 0xff,
	       bus->map->off.bytes - bus->map->off.chan);
	bus_close(bus);
	T_CHECK(t_count_fds() == n_fds);
	return 0;
}

Test(bus, full_dev_shm_says_enospc)
{
	t_join_or_skip(t_fork(fills_dev_shm, (void *)(uintptr_t)t_name("x")),
		       "no mount namespace for us");
}

/* With room for only 0, 1, 2, ... descriptors, until it works. */
static int has_no_fds(void *name)
{
	int base = t_count_fds(), fds[64], n = 0, ret = -1;
	struct rlimit lim = { 64, 64 };
	struct bus *bus = NULL, *other;
	int failures = 0;

	T_CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	while ((fds[n] = dup(0)) >= 0)
		n++;
	while (ret) {
		ret = bus_create(name, &config, &bus);
		T_CHECK(ret == 0 || ret == -EMFILE);
		failures += ret != 0;
		close(fds[--n]); /* to count takes one */
		T_CHECK(t_count_fds() == base + n + (ret ? 0 : 1));
	}
	T_CHECK(failures > 0);
	while (n)
		close(fds[--n]);
	while ((fds[n] = dup(0)) >= 0)
		n++;
	T_CHECK(bus_open(name, NULL, &other) == -EMFILE);
	while (n)
		close(fds[--n]);
	bus_close(bus);
	return 0;
}

Test(bus, no_descriptors_says_emfile)
{
	t_join(t_fork(has_no_fds, (void *)(uintptr_t)t_name("x")));
}

/* Descriptors ------------------------------------------------------------- */

/* Whatever descriptors are there beyond those in @before: all CLOEXEC? */
static void check_cloexec(const bool *before)
{
	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags >= 0 && !before[fd])
			cr_assert(flags & FD_CLOEXEC, "%d", fd);
	}
}

static int echo(void *ctx, const void *req, size_t len, struct bus_reply *r)
{
	(void)ctx;
	return bus_reply_put(r, req, len);
}

static struct bus_coord *start(struct bus *bus)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_coord *co = NULL;

	c.handler = echo;
	c.n_workers = 2;
	T_CHECK(bus_coord_start(bus, "c", &c, &co) == 0);
	return co;
}

Test(bus, every_descriptor_is_close_on_exec)
{
	static const uint32_t waits[] = { BUS_WAIT_AUTO, BUS_WAIT_FUTEX };
	bool before[1024];

	for (int fd = 0; fd < 1024; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	for (size_t i = 0; i < lengthof(waits); i++) {
		struct bus_result r;
		struct bus_coord *co;
		struct bus *bus;

		config.wait = waits[i];
		bus = create(t_name("x"));
		co = start(bus);
		cr_assert_eq(bus_submit(co, 1, "x", 1, T_LONG), 0);
		cr_assert_eq(bus_collect(co, &r, T_LONG), 0);
		cr_assert_neq(bus_queue_get(t_queue(bus, "q", 0, 0, 0), NULL, 0,
					    NULL, 1000000),
			      0);
		check_cloexec(before);
		bus_close(bus);
	}
}

Test(bus, nothing_leaks)
{
	int n_fds = 0, n_maps = 0;

	for (int i = 0; i < 310; i++) {
		struct bus *bus = create(i % 2 ? t_name("x") : NULL), *other;
		struct bus_queue *q = t_queue(bus, "q", 4, 8, 0);
		uint64_t v;

		if (i == 10) {
			bus_close(bus);
			n_fds = t_count_fds();
			n_maps = t_count_maps();
			continue;
		}
		cr_assert_eq(bus_attach(bus, &other), 0);
		cr_assert_eq(bus_queue_get(q, &v, 8, NULL, 1000), -ETIMEDOUT);
		bus_close(other);
		if (i % 8 == 0)
			start(bus); /* bus_close stops it */
		bus_close(bus);
	}
	cr_assert_eq(t_count_fds(), n_fds);
	/* malloc may have got another one */
	cr_assert_leq(t_count_maps(), n_maps + 3);
}

/* Endpoints --------------------------------------------------------------- */

Test(bus, there_are_max_endpoints)
{
	const char *name = t_name("x");
	struct bus *bus, *more[30], *one_more = NULL;
	uint32_t n = 0;

	config.max_endpoints = 5;
	bus = create(name);
	for (; n < 4; n++)
		cr_assert_eq(n % 2 ? bus_attach(bus, &more[n])
				   : bus_open(name, NULL, &more[n]),
			     0);
	cr_assert_eq(bus_attach(bus, &one_more), -EUSERS);
	cr_assert_eq(bus_open(name, NULL, &one_more), -EUSERS);
	bus_close(more[2]);
	cr_assert_eq(bus_open(name, NULL, &more[2]), 0);
	cr_assert_eq(bus_attach(bus, &one_more), -EUSERS);
	cr_assert_null(one_more);
	while (n)
		bus_close(more[--n]);
	cr_assert_eq(t_stats(bus).n_endpoints, 1);
	bus_close(bus);
}

static int open_and_die(void *name)
{
	struct bus *bus;
	int ret = bus_open(name, NULL, &bus);

	T_CHECK(ret == 0);
	t_queue(bus, "q", 0, 0, 0);
	kill(getpid(), SIGKILL);
	return 0;
}

/* All ids are taken by the dead: whoever comes recovers them. */
Test(bus, the_dead_make_room)
{
	char *name = (char *)(uintptr_t)t_name("x");
	struct bus *bus, *other;

	config.max_endpoints = 3;
	bus = create(name);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(t_wait(t_fork(open_and_die, name)), -SIGKILL);
	cr_assert_eq(bus_open(name, NULL, &other), 0);
	bus_close(other);
	cr_assert_geq(t_stats(bus).n_deaths, 18);
	bus_close(bus);
}

static int reap_count(void *arg)
{
	return bus_reap(arg);
}

Test(bus, reap_says_how_many_were_dead)
{
	char *name = (char *)(uintptr_t)t_name("x");
	struct bus *bus = create(name);

	cr_assert_eq(bus_reap(bus), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(t_wait(t_fork(open_and_die, name)), -SIGKILL);
	cr_assert_eq(t_stats(bus).n_endpoints, 4);
	cr_assert_eq(bus_reap(bus), 3);
	cr_assert_eq(bus_reap(bus), 0);
	cr_assert_eq(t_stats(bus).n_endpoints, 1);
	/* a child's handle looks, too */
	cr_assert_eq(t_wait(t_fork(open_and_die, name)), -SIGKILL);
	cr_assert_eq(t_wait(t_fork(reap_count, bus)), 1);
	bus_close(bus);
}

static void *put_one(void *arg)
{
	struct bus *mine;
	struct bus_queue *q;

	T_CHECK(bus_attach(arg, &mine) == 0);
	q = t_queue(mine, "q", 0, 0, 0);
	for (uint64_t i = 0; i < 100; i++)
		T_CHECK(t_put_u64(q, i, T_LONG) == 0);
	bus_close(mine);
	return NULL;
}

Test(bus, each_thread_has_an_endpoint)
{
	struct bus *bus = create(NULL);
	struct bus_queue *q = t_queue(bus, "q", 16, 8, 0);
	pthread_t thread[4];
	uint64_t sum = 0;

	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, put_one, bus), 0);
	for (int i = 0; i < 400; i++)
		sum += t_get_u64(q);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(sum, 4 * 99 * 50);
	bus_close(bus);
}

Test(bus, close_frees_queues_and_coordinators_that_were_not)
{
	struct bus *bus = create(NULL);

	t_queue(bus, "q", 0, 0, 0);
	t_queue(bus, "q", 0, 0, 0);
	t_queue(bus, "r", 0, 0, BUS_QUEUE_JOINABLE);
	start(bus);
	bus_close(bus);
}

/* Fork -------------------------------------------------------------------- */

struct family {
	struct bus *bus;
	struct bus_queue *up, *down;
	uint32_t depth;
};

static struct family family(const char *name)
{
	struct family f = { .bus = create(name), .depth = 0 };

	f.up = t_queue(f.bus, "up", 16, 8, 0);
	f.down = t_queue(f.bus, "down", 16, 8, 0);
	return f;
}

static int use_inherited(void *arg)
{
	struct family *f = arg;
	uint32_t parent = f->bus->id;

	T_CHECK(t_put_u64(f->up, t_get_u64(f->down) + 1, T_LONG) == 0);
	T_CHECK(f->bus->id != parent);
	return 0;
}

Test(bus, a_child_uses_what_it_inherited)
{
	struct family f = family(NULL);

	for (uint64_t i = 0; i < 100; i++) {
		pid_t child = t_fork(use_inherited, &f);

		cr_assert_eq(t_put_u64(f.down, i, T_LONG), 0);
		cr_assert_eq(t_get_u64(f.up), i + 1);
		t_join(child);
	}
	bus_close(f.bus);
}

static int use_and_close(void *arg)
{
	struct family *f = arg;

	use_inherited(f);
	bus_queue_free(f->up);
	bus_queue_free(f->down);
	bus_close(f->bus);
	return 0;
}

static int close_only(void *arg)
{
	bus_close(((struct family *)arg)->bus);
	return 0;
}

Test(bus, a_child_that_closes_takes_nothing_from_the_parent)
{
	struct family f = family(t_name("x"));

	for (uint64_t i = 0; i < 50; i++) {
		pid_t child = t_fork(use_and_close, &f);

		t_join(t_fork(close_only, &f));
		cr_assert_eq(t_put_u64(f.down, i, T_LONG), 0);
		cr_assert_eq(t_get_u64(f.up), i + 1);
		t_join(child);
	}
	cr_assert(exists(t_name("x")));
	cr_assert_eq(t_stats(f.bus).n_endpoints, 1);
	cr_assert_eq(t_stats(f.bus).n_deaths, 0);
	bus_close(f.bus);
}

/* Each generation passes the number on, plus one; some use the handle before
 * they fork, some do not. */
static int generations(void *arg)
{
	struct family *f = arg;

	if (f->depth % 2 == 0)
		bus_reap(f->bus);
	if (f->depth++ < 5)
		return t_wait(t_fork(generations, f));
	return use_inherited(f);
}

Test(bus, grandchildren_use_what_they_inherited)
{
	struct family f = family(NULL);
	pid_t child = t_fork(generations, &f);

	cr_assert_eq(t_put_u64(f.down, 6, T_LONG), 0);
	cr_assert_eq(t_get_u64(f.up), 7);
	t_join(child);
	bus_close(f.bus);
}

static int after_the_parent(void *arg)
{
	struct family *f = arg;

	T_CHECK(t_get_u64(f->down) == 1);
	T_CHECK(t_put_u64(f->up, 2, 0) == 0);
	T_CHECK(t_get_u64(f->up) == 2);
	T_CHECK(t_stats(f->bus).n_endpoints == 1);
	bus_close(f->bus);
	return 0;
}

Test(bus, the_parent_may_close_first)
{
	for (int named = 0; named < 2; named++) {
		struct family f = family(named ? t_name("x") : NULL);
		struct family copy = f;
		struct t_gate closed;
		pid_t child;

		t_gate_init(&closed);
		cr_assert_eq(t_put_u64(f.down, 1, 0), 0);
		fflush(NULL);
		child = fork();
		if (child == 0) {
			t_gate_wait(&closed);
			_exit(after_the_parent(&copy));
		}
		bus_close(f.bus);
		t_gate_open(&closed);
		t_join(child);
		t_gate_close(&closed);
	}
}

static int exit_without_close(void *arg)
{
	struct family *f = arg;

	T_CHECK(bus_reap(f->bus) >= 0);
	return 0;
}

Test(bus, a_child_that_exits_without_closing_is_recovered)
{
	struct family f;

	config.max_endpoints = 4;
	f = family(NULL);
	for (int i = 0; i < 20; i++)
		t_join(t_fork(exit_without_close, &f));
	bus_reap(f.bus);
	cr_assert_eq(t_stats(f.bus).n_endpoints, 1);
	cr_assert_eq(t_stats(f.bus).n_deaths, 20);
	bus_close(f.bus);
}

static int no_room_for_me(void *arg)
{
	struct family *f = arg;

	for (int i = 0; i < 3; i++) {
		T_CHECK(t_put_u64(f->up, 1, 0) == -EUSERS);
		T_CHECK(bus_reap(f->bus) == -EUSERS);
	}
	bus_close(f->bus);
	return 0;
}

Test(bus, a_child_for_which_there_is_no_room_says_so)
{
	struct bus *other;
	struct family f;

	config.max_endpoints = 2;
	f = family(NULL);
	cr_assert_eq(bus_attach(f.bus, &other), 0);
	t_join(t_fork(no_room_for_me, &f));
	cr_assert_eq(t_put_u64(f.up, 1, 0), 0);
	bus_close(other);
	bus_close(f.bus);
}

static int child_attaches(void *arg)
{
	struct family *f = arg;
	struct bus *mine;

	T_CHECK(bus_attach(f->bus, &mine) == 0);
	T_CHECK(t_put_u64(t_queue(mine, "up", 0, 0, 0), 9, 0) == 0);
	bus_close(mine);
	bus_close(f->bus);
	return 0;
}

Test(bus, a_child_may_attach_to_what_it_inherited)
{
	struct family f = family(t_name("x"));

	t_join(t_fork(child_attaches, &f));
	cr_assert_eq(t_get_u64(f.up), 9);
	cr_assert(exists(t_name("x")));
	bus_close(f.bus);
}

static int put_from_child(void *arg)
{
	struct family *f = arg;

	T_CHECK(t_put_u64(f->up, 5, 0) == 0);
	bus_close(f->bus);
	return 0;
}

Test(bus, fork_before_and_after_a_coordinator_starts)
{
	struct family f = family(NULL);
	struct bus_result r;
	struct bus_coord *co;
	pid_t before, after;

	before = t_fork(use_and_close, &f);
	co = start(f.bus);
	after = t_fork(put_from_child, &f); /* closes its copy of co, too */
	cr_assert_eq(bus_submit(co, 1, "abc", 3, T_LONG), 0);
	t_join(after);
	cr_assert_eq(t_get_u64(f.up), 5);
	cr_assert_eq(t_put_u64(f.down, 1, 0), 0);
	cr_assert_eq(t_get_u64(f.up), 2);
	t_join(before);
	cr_assert_eq(bus_collect(co, &r, T_LONG), 0);
	cr_assert_eq(r.kind, BUS_RESULT_OK);
	cr_assert_eq(r.len_bytes, 3);
	cr_assert_eq(bus_coord_workers(co, NULL, 0), 2);
	cr_assert_eq(bus_coord_stop(co, T_LONG), 0);
	bus_close(f.bus);
}

/* How it waits ------------------------------------------------------------ */

static bool have_uring(void)
{
	struct bus *bus = NULL;
	int ret;

	config.wait = BUS_WAIT_URING;
	ret = bus_create(NULL, &config, &bus);
	bus_close(bus);
	return ret == 0 && !t_rings_are_few();
}

static bool waits_with(struct bus *bus, const char *back_end)
{
	struct bus_stats stats = t_stats(bus);

	return strcmp(stats.wait, back_end) == 0;
}

Test(bus, the_back_end_is_what_was_asked_for)
{
	struct bus *bus;

	config.wait = BUS_WAIT_FUTEX;
	bus = create(NULL);
	cr_assert(waits_with(bus, "futex"));
	bus_close(bus);
	if (!have_uring())
		cr_skip_test("no io_uring here");
	bus = create(NULL);
	cr_assert(waits_with(bus, "uring"));
	bus_close(bus);
}

Test(bus, the_environment_chooses_the_back_end)
{
	struct bus *bus = NULL;

	setenv("BUS_WAIT", "what", 1);
	cr_assert_eq(bus_create(NULL, &config, &bus), -EINVAL);
	cr_assert_eq(bus_open("x", NULL, &bus), -EINVAL);
	setenv("BUS_WAIT", "futex", 1);
	bus = create(NULL);
	cr_assert(waits_with(bus, "futex"));
	bus_close(bus);
	if (!have_uring())
		cr_skip_test("no io_uring here");
	config.wait = BUS_WAIT_AUTO;
	setenv("BUS_WAIT", "uring", 1);
	bus = create(NULL);
	cr_assert(waits_with(bus, "uring"));
	bus_close(bus);
}

static int without_uring(void *arg)
{
	struct bus *bus = NULL;
	struct family f;
	pid_t child;

	(void)arg;
	if (t_deny_io_uring(EPERM))
		return T_SKIP;
	config.wait = BUS_WAIT_URING;
	T_CHECK(bus_create(NULL, &config, &bus) == -EPERM);
	T_CHECK(bus_create(t_name("x"), &config, &bus) == -EPERM);
	T_CHECK(!exists(t_name("x")));
	T_CHECK(!bus);
	config.wait = BUS_WAIT_AUTO;
	f = family(NULL);
	T_CHECK(!strcmp(t_stats(f.bus).wait, "futex"));
	child = t_fork(use_and_close, &f);
	t_wait_asleep(child);
	T_CHECK(t_put_u64(f.down, 1, T_LONG) == 0);
	T_CHECK(t_get_u64(f.up) == 2);
	T_CHECK(t_wait(child) == 0);
	bus_close(f.bus);
	return 0;
}

Test(bus, uring_that_is_not_to_be_had_is_an_error_and_auto_is_not)
{
#ifndef WITH_URING
	cr_skip_test("built --without-uring");
#endif
	t_join_or_skip(t_fork(without_uring, NULL), "no seccomp here");
}

Test(bus, every_back_end_and_spin_wakes_up)
{
	const bool uring = have_uring();

	for (uint32_t wait = 0; wait <= BUS_WAIT_FUTEX; wait++) {
		for (uint32_t spin = 0; spin <= BUS_SPIN_NEVER; spin++) {
			struct family f;
			pid_t child;

			if (wait == BUS_WAIT_URING && !uring)
				continue;
			config.wait = wait;
			config.spin = spin;
			f = family(NULL);
			for (uint64_t i = 0; i < 5; i++) {
				child = t_fork(use_and_close, &f);
				if (spin != BUS_SPIN_ALWAYS)
					t_wait_asleep(child);
				cr_assert_eq(t_put_u64(f.down, i, T_LONG), 0);
				cr_assert_eq(t_get_u64(f.up), i + 1);
				t_join(child);
			}
			bus_close(f.bus);
		}
	}
}

static void on_alarm(int sig)
{
	(void)sig;
}

Test(bus, a_signal_ends_a_wait_only_where_that_is_wanted)
{
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	struct sigaction sa = { .sa_handler = on_alarm };
	uint64_t v;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (uint32_t i = 0; i < 2; i++) {
		struct bus_queue *q;
		struct bus *bus;

		config.spin = BUS_SPIN_NEVER;
		config.wait = BUS_WAIT_FUTEX;
		config.flags = i ? BUS_F_EINTR : 0;
		bus = create(NULL);
		q = t_queue(bus, "q", 4, 8, 0);
		cr_assert_eq(
			bus_queue_get(q, &v, 8, NULL, i ? T_LONG : 200000000),
			i ? -EINTR : -ETIMEDOUT);
		bus_close(bus);
	}
}
