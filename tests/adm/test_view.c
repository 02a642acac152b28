/*
 * test_view.c - tools/adm/view.c: what can be opened, and what is said of the
 * rest; the table of endpoints
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/adm/t_adm.h"

TestSuite(view, .init = adm_setup, .fini = adm_teardown, .timeout = 60.0);

static char why[VIEW_WHY_BYTES];

/* A copy of the bus, of which @change has changed something. */
static enum view_health health_of_copy(void (*change)(int fd))
{
	static unsigned char buf[4 << 20];
	char path[] = "/tmp/test_view.XXXXXX";
	int from = open(t_shm_path(adm_name()), O_RDONLY);
	int to = mkstemp(path);
	ssize_t n = read(from, buf, sizeof(buf));
	enum view_health health;

	cr_assert(from >= 0 && to >= 0 && n > 0);
	cr_assert_eq(write(to, buf, (size_t)n), n);
	change(to);
	close(from);
	close(to);
	view_close(&view);
	cr_assert_eq(view_open(&view, path, why), 0, "%s", why);
	health = view.health;
	cr_assert_eq(!*view.why, health == VIEW_GOOD);
	unlink(path);
	return health;
}

static void change_at(int fd, off_t off)
{
	unsigned char c;

	cr_assert_eq(pread(fd, &c, 1, off), 1);
	c ^= 1;
	cr_assert_eq(pwrite(fd, &c, 1, off), 1);
}

static void nothing(int fd)
{
	(void)fd;
}

static void magic(int fd)
{
	change_at(fd, offsetof(struct sb_seg_header, magic));
}

static void abi(int fd)
{
	change_at(fd, offsetof(struct sb_seg_header, abi));
}

static void pid_ns(int fd)
{
	change_at(fd, offsetof(struct sb_seg_header, pid_ns));
}

static void sizes(int fd)
{
	change_at(fd, offsetof(struct bus_header, sizes));
}

/* With a checksum that is right. */
static void fingerprint(int fd)
{
	struct sb_seg_header h;

	cr_assert_eq(pread(fd, &h, sizeof(h), 0), sizeof(h));
	h.fingerprint++;
	h.checksum = sb_seg_checksum(&h);
	cr_assert_eq(pwrite(fd, &h, sizeof(h), 0), sizeof(h));
}

static void half(int fd)
{
	cr_assert_eq(ftruncate(fd, 100000), 0);
}

static void few_bytes(int fd)
{
	cr_assert_eq(ftruncate(fd, 10), 0);
}

static void no_bytes(int fd)
{
	cr_assert_eq(ftruncate(fd, 0), 0);
}

Test(view, says_what_is_no_good_bus)
{
	cr_assert_eq(health_of_copy(nothing), VIEW_GOOD);
	cr_assert_eq(view.kind, VIEW_COPY);
	cr_assert_not(view.has_processes);
	cr_assert_eq(health_of_copy(magic), VIEW_FOREIGN);
	cr_assert_eq(health_of_copy(abi), VIEW_OTHER_ABI);
	cr_assert_eq(health_of_copy(pid_ns), VIEW_DAMAGED);
	cr_assert_eq(health_of_copy(sizes), VIEW_DAMAGED);
	cr_assert_eq(health_of_copy(fingerprint), VIEW_OTHER_LAYOUT);
	cr_assert_eq(health_of_copy(half), VIEW_TRUNCATED);
	cr_assert_eq(health_of_copy(few_bytes), VIEW_FOREIGN);
	cr_assert_eq(health_of_copy(no_bytes), VIEW_FOREIGN);
}

Test(view, what_is_cut_off_reads_as_zeros)
{
	unsigned char buf[64];

	t_queue(bus, "q", 8, 8, 0);
	cr_assert_eq(health_of_copy(half), VIEW_TRUNCATED);
	memset(buf, 1, sizeof(buf));
	cr_assert_eq(view_read(&view, 99968, buf, sizeof(buf)), 0);
	cr_assert_eq(buf[63], 0);
	cr_assert_eq(view_read(&view, UINT64_MAX - 8, buf, sizeof(buf)), 0);
	cr_assert_eq(buf[0], 0);
	cr_assert(view_readable(&view));
	cr_assert_eq(snap_take(&view, true, &snap), 0);
}

Test(view, cannot_open_what_is_not_there)
{
	static const char *const args[] = {
		"",      "no-such-bus", "/no/such/file", "/dev/null",
		"/tmp/", "pid:",        "pid:0",         "pid:1:",
		"pid:x", "pid:1:2:3",   "pid:4194305",
	};
	char longest[5000];

	for (size_t i = 0; i < lengthof(args); i++) {
		*why = '\0';
		cr_assert_lt(view_open(&view, args[i], why), 0, "%s", args[i]);
		cr_assert_neq(*why, '\0');
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	cr_assert_lt(view_open(&view, longest, why), 0);
	longest[300] = '\0';
	cr_assert_lt(view_open(&view, longest, why), 0);
}

Test(view, name_and_path_in_dev_shm_are_the_same_bus)
{
	cr_assert_eq(view_open(&view, t_shm_path(adm_name()), why), 0);
	cr_assert_eq(view.kind, VIEW_NAMED);
	cr_assert_str_eq(view.name, adm_name());
	cr_assert_eq(view.creator, VIEW_CREATOR_LIVES);
	cr_assert_eq(view.creator_pid, getpid());
	cr_assert(view.has_processes);
}

Test(view, finds_an_unnamed_bus_by_its_process)
{
	struct bus_config c = t_config();
	struct bus *unnamed = t_bus_with(NULL, &c);
	char arg[64];

	t_queue(unnamed, "mine", 4, 8, 0);
	snprintf(arg, sizeof(arg), "pid:%d", (int)getpid());
	cr_assert_eq(view_open(&view, arg, why), 0, "%s", why);
	cr_assert_eq(view.kind, VIEW_UNNAMED);
	cr_assert_eq(snap_take(&view, true, &snap), 0);
	cr_assert_not_null(snap_find(&snap, "mine"));
	snap_free(&snap);
	view_close(&view);
	snprintf(arg, sizeof(arg), "pid:%d:2", (int)getpid());
	cr_assert_eq(view_open(&view, arg, why), -ENOENT);
	bus_close(unnamed);
}

static uint64_t used_bytes(void)
{
	struct stat st;

	cr_assert_eq(stat(t_shm_path(adm_name()), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

Test(view, takes_no_memory_and_no_endpoint)
{
	struct bus_pipe *a, *b;
	uint64_t before;

	t_pipe(bus, BUS_PIPE_ADAPTIVE, 0, 1 << 16, &a, &b);
	before = used_bytes();
	adm_snap();
	cr_assert_eq(used_bytes(), before);
	cr_assert_eq(snap.n_attached, 1);
	cr_assert_eq(adm_snap()->n_attached, 1);
}

/* -------------------------------------------------------------- endpoints -- */

static int attach_and_wait(void *arg)
{
	T_CHECK(bus_reap(bus) >= 0); /* becomes an endpoint */
	t_gate_open(arg);
	for (;;)
		pause();
}

static const struct snap_ep *ep_of_pid(pid_t pid)
{
	adm_snap();
	for (uint32_t id = 1; id < snap.n_eps; id++)
		if (snap_attached(&snap.ep[id]) &&
		    snap.ep[id].pid == (uint32_t)pid)
			return &snap.ep[id];
	return NULL;
}

static bool is_stopped(void *arg)
{
	const struct snap_ep *e = ep_of_pid(*(pid_t *)arg);

	return e && process_is_stopped(&e->proc);
}

Test(view, tells_what_became_of_processes)
{
	const struct snap_ep *e;
	struct t_gate gate;
	pid_t child;

	t_gate_init(&gate);
	child = t_fork(attach_and_wait, &gate);
	t_gate_wait(&gate);
	e = ep_of_pid(getpid());
	cr_assert_not_null(e);
	cr_assert_eq(e->proc.state, PROCESS_RUNNING);
	cr_assert_not_null(ep_of_pid(child));
	kill(child, SIGSTOP);
	cr_assert(t_eventually(is_stopped, &child, 10000));
	t_kill(child);
	e = ep_of_pid(child);
	cr_assert_not_null(e);
	cr_assert_eq(e->proc.state, PROCESS_DEAD);
	cr_assert_eq(bus_reap(bus), 1);
	cr_assert_null(ep_of_pid(child));
	t_gate_close(&gate);
}

Test(view, no_bytes_of_the_table_are_believed)
{
	struct bus_ep *ep = &bus->map->ep[5];

	for (uint32_t state = 0; state < 256; state += 5) {
		ep->state = UINT64_C(0xffffffff00000000) | state;
		ep->recovering = UINT32_MAX;
		adm_snap();
		if (state > BUS_EP_RETIRED)
			cr_assert_not_null(snap.ep[5].bad);
	}
	ep->state = 0;
	ep->recovering = 0;
	cr_assert_null(adm_snap()->ep[5].bad);
}

Test(view, no_bytes_of_the_directory_are_believed)
{
	static const uint64_t nonsense[] = {
		0, 1, 127, UINT64_MAX, UINT64_MAX - 127, UINT64_C(1) << 40
	};
	struct bus_dirent *d = &bus->map->dir[0], good;

	t_queue(bus, "q", 8, 8, 0);
	memcpy((void *)&good, (void *)d, sizeof(good));
	for (size_t i = 0; i < lengthof(nonsense); i++) {
		d->off = nonsense[i];
		cr_assert_not_null(adm_snap()->chan[0].bad);
		d->off = good.off;
		d->bytes = nonsense[i];
		cr_assert_not_null(adm_snap()->chan[0].bad);
		d->bytes = good.bytes;
		d->kind = (uint32_t)nonsense[i];
		if (d->kind != BUS_CHAN_QUEUE)
			cr_assert_not_null(adm_snap()->chan[0].bad);
		d->kind = good.kind;
	}
	memset(d->name, 'x', sizeof(d->name));
	cr_assert_null(adm_snap()->chan[0].bad);
	cr_assert_eq(strlen(snap.chan[0].name), BUS_NAME_BYTES - 1);
	cr_assert_eq(snap_find(&snap, "#0"), &snap.chan[0]);
	cr_assert_null(snap_find(&snap, "#1"));
	cr_assert_null(snap_find(&snap, "#"));
	cr_assert_null(snap_find(&snap, "#0x"));
	cr_assert_null(snap_find(&snap, ""));
}
