/*
 * test_note.c - tools/adm/note.c: a dump says of its processes what was known
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/adm/t_adm.h"
#include "tools/adm/note.h"

static char path[] = "/tmp/test_note.XXXXXX";
static int fd = -1;

static void setup(void)
{
	static unsigned char buf[4 << 20];
	int from;
	ssize_t n;

	adm_setup();
	adm_snap();
	from = open(t_shm_path(adm_name()), O_RDONLY);
	fd = mkstemp(path);
	n = read(from, buf, sizeof(buf));
	cr_assert(fd >= 0 && n > 0);
	cr_assert_eq(write(fd, buf, (size_t)n), n);
	close(from);
	cr_assert_eq(note_write(&snap, true, fd, view.seg.bytes), 0);
}

static void teardown(void)
{
	close(fd);
	unlink(path);
	adm_teardown();
}

TestSuite(note, .init = setup, .fini = teardown, .timeout = 60.0);

static void open_copy(void)
{
	char why[VIEW_WHY_BYTES] = "";

	snap_free(&snap);
	view_close(&view);
	cr_assert_eq(view_open(&view, path, why), 0, "%s", why);
	cr_assert_eq(view.health, VIEW_GOOD);
	cr_assert_eq(snap_take(&view, true, &snap), 0);
}

Test(note, is_read_as_it_was_written)
{
	uint64_t taken_ns = snap.taken_ns;
	char command[PROCESS_COMMAND_BYTES];
	uint32_t id = bus->id;

	memcpy(command, snap.ep[id].proc.command, sizeof(command));
	open_copy();
	cr_assert_not_null(view.note);
	cr_assert_eq(view.kind, VIEW_COPY);
	cr_assert(view.no_payload);
	cr_assert_not(view.was_quiet);
	cr_assert_eq(view.creator, VIEW_CREATOR_LIVES);
	cr_assert_eq(view.creator_pid, getpid());
	cr_assert_gt(view.taken_wall_s, 0);
	cr_assert_eq(snap.taken_ns, taken_ns);
	cr_assert_eq(snap.ep[id].proc.state, PROCESS_RUNNING);
	cr_assert_eq(snap.ep[id].proc.pid, getpid());
	cr_assert_str_eq(snap.ep[id].proc.command, command);
}

/* Each byte of its head, one after the other; and cut off anywhere. */
Test(note, no_byte_of_it_is_believed)
{
	off_t at = (off_t)view.seg.bytes;
	off_t bytes = lseek(fd, 0, SEEK_END) - at;
	unsigned char good, odd;

	for (off_t i = 0; i < bytes; i++) {
		cr_assert_eq(pread(fd, &good, 1, at + i), 1);
		for (int k = 0; k < 3; k++) {
			odd = k == 0 ? 0xff : k == 1 ? 0x80 : good ^ 1;
			cr_assert_eq(pwrite(fd, &odd, 1, at + i), 1);
			open_copy();
		}
		cr_assert_eq(pwrite(fd, &good, 1, at + i), 1);
	}
	open_copy();
	cr_assert_not_null(view.note);
	for (off_t n = bytes; n > 0; n -= 7) {
		cr_assert_eq(ftruncate(fd, at + n), 0);
		open_copy();
	}
	cr_assert_eq(ftruncate(fd, at), 0);
	open_copy();
	cr_assert_null(view.note);
}
