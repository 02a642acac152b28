/*
 * fuzz_view.c - what busadm sees in a bus that anybody may have written
 *
 * The bytes of a good bus, some of them changed, the header's checksum right
 * or not, the file too short or too long: a snap is taken of it, every message
 * read that is said to be there, and what busadm check says of it.
 */
#include "config.h"

#include <errno.h>

#include "tests/fuzz/fuzz_bus.h"
#include "tests/fuzz/fuzz_image.h"
#include "tools/adm/find.h"
#ifdef FUZZ_FINDINGS
#include "tools/adm/finding.h"
#endif
#include "tools/adm/view.h"
#include "tools/io.h"

/* There are no processes and no other buses, and nothing is written. */
int find_parse_pid(const char *arg, int *pid, int *nth)
{
	(void)arg;
	(void)pid;
	(void)nth;
	return 0;
}

pid_t find_lock_holder(dev_t dev, ino_t ino, const uint32_t *likely, size_t n)
{
	(void)dev;
	(void)ino;
	for (size_t i = 0; i < n; i++)
		fuzz_touch(&likely[i], sizeof(likely[i]));
	return 0;
}

int find_open_unnamed(struct view *v, pid_t pid, int nth,
		      char why[VIEW_WHY_BYTES])
{
	(void)v;
	(void)pid;
	(void)nth;
	(void)why;
	abort();
}

void process_read(struct process *p, pid_t pid, uint64_t start_time)
{
	(void)start_time;
	*p = (struct process){ .pid = pid, .state = PROCESS_DEAD };
}

int process_names(struct process_names *names, uint64_t pid_ns)
{
	(void)pid_ns;
	*names = (struct process_names){ .all = true };
	return 0;
}

pid_t process_here(const struct process_names *names, uint32_t there)
{
	(void)there;
	FUZZ_CHECK(!names->n);
	return 0;
}

void process_names_free(struct process_names *names)
{
	FUZZ_CHECK(!names->n);
}

int io_write(int fd, const void *buf, size_t n)
{
	(void)fd;
	(void)buf;
	(void)n;
	abort();
}

static void look_at_ring(const struct snap *s, const struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;
	unsigned char buf[FUZZ_MESSAGE_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < SNAP_N_STATES; i++)
		n += r->n[i];
	FUZZ_CHECK(n == r->n_slots);
	for (uint32_t i = 0; i < r->n_slots; i++) {
		const struct snap_slot *slot = &r->slot[i];
		ssize_t ret = snap_message(s, c, slot, buf, sizeof(buf));

		FUZZ_CHECK(slot->state < SNAP_N_STATES);
		FUZZ_CHECK((slot->state == SNAP_BAD) == !!slot->bad);
		FUZZ_CHECK(ret <= (ssize_t)sizeof(buf));
	}
}

static int count_header(void *arg, uint64_t off, uint64_t h)
{
	const struct snap_chan *c = arg;

	(void)h;
	FUZZ_CHECK(off >= c->off && off < c->off + c->bytes);
	return 0;
}

static void look(const struct snap *s)
{
	for (uint32_t id = 1; id < s->n_eps; id++)
		FUZZ_CHECK(s->ep[id].id == id);
	for (uint32_t i = 0; i < s->n_chans; i++) {
		struct snap_chan *c = &s->chan[i];

		FUZZ_CHECK(strlen(c->name) < BUS_NAME_BYTES);
		if (c->bad)
			continue;
		if (c->ring)
			look_at_ring(s, c);
		if (c->pipe)
			(void)snap_pipe_headers(s->view, c, count_header, c);
		if (c->crew)
			FUZZ_CHECK(c->crew->n_places <= BUS_CREW_MAX);
	}
}

#ifdef FUZZ_FINDINGS
const char *process_word(enum process_state state)
{
	(void)state;
	return "";
}

/* What busadm check says of it, as a copy, and of it after the good one. */
static void judge(const struct snap *s)
{
	static struct findings found;
	static struct snap later;

	FUZZ_CHECK(!findings_compare(s, s, FINDING_LONG_NS, &found));
	for (uint32_t i = 0; i < found.n; i++)
		FUZZ_CHECK(found.at[i].rule && *found.at[i].what);
	findings_free(&found);
	later = *s;
	later.taken_ns = s->taken_ns + FINDING_LONGEST_NS;
	FUZZ_CHECK(!findings_compare(s, &later, 1, &found));
	findings_free(&found);
}
#else
static void judge(const struct snap *s)
{
	(void)s;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint32_t how = fuzz_u8(&in);
	char why[VIEW_WHY_BYTES];
	struct view v;
	struct snap s;

	fuzz_image(&in, how, how & 4);
	FUZZ_CHECK(!view_open(&v, "./fuzz", why));
	if (view_readable(&v) && !snap_take(&v, true, &s)) {
		look(&s);
		judge(&s);
		snap_free(&s);
	}
	view_close(&v);
	fuzz_file(NULL, 0);
	return 0;
}
