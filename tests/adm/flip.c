/*
 * flip.c - busadm looks at a bus in which bytes are wrong: it never crashes,
 * always ends, and lets nothing out that a terminal would obey
 *
 *	flip COPY FIRST N [-v]
 *
 * COPY is a dump.  For each of N seeds from FIRST on some of its bytes are
 * changed, in a copy of the copy, and all commands that look are run on that,
 * in this program: so it is quick, and sanitizers see all of it.  What a seed
 * changes depends on nothing else: `flip COPY 1234 1 -v` does it again, and
 * shows what was printed.
 *
 * The seeds run in children, some in each, so that one that dies does not end
 * the others.  Exit status 0, 1 if there was one, 2 for wrong arguments.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/proc.h"
#include "tools/adm/commands.h"
#include "tools/adm/top.h"
#include "tools/adm/view.h"

#define SEEDS_A_CHILD  50u
#define SECONDS_A_SEED 60u /* with a sanitizer, on a loaded machine */
#define CHANGES_MAX    32u

static char copy[] = "./flip.copy"; /* a path, and so no name of a bus */
static uint64_t random_state;
static bool verbose;

/* In memory that parent and child share: where it is. */
struct progress {
	volatile unsigned long seed;
	volatile unsigned command;
};

static struct progress *progress;

/* splitmix64, of Vigna. */
static uint64_t next_random(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
	return next_random() % n;
}

/* ------------------------------------------------------------- changes -- */

/* Parts of the segment, from each of which as much is changed as from the
 * others: most of the bytes are in the slots of messages. */
struct part {
	uint64_t off, bytes;
};

#define PARTS_MAX (5 * BUS_CHANNELS_MAX + 4)

static struct part parts[PARTS_MAX];
static unsigned n_parts;

static void add_part(uint64_t off, uint64_t bytes)
{
	if (bytes && n_parts < PARTS_MAX)
		parts[n_parts++] = (struct part){ off, bytes };
}

/* Of each channel the entry, the head, and all of it. */
static void find_parts(const char *path)
{
	char why[VIEW_WHY_BYTES] = "";
	struct view v;
	struct snap s;

	T_CHECK(!view_open(&v, path, why));
	T_CHECK(view_readable(&v) && !snap_take(&v, true, &s));
	add_part(0, sizeof(struct bus_header));
	add_part(v.off.ep, v.off.dir - v.off.ep);
	for (uint32_t i = 0; i < s.n_chans; i++) {
		add_part(v.off.dir + i * sizeof(struct bus_dirent),
			 sizeof(struct bus_dirent));
		add_part(s.chan[i].off, 64);
		add_part(s.chan[i].off, 4096);
		if (s.chan[i].ring) /* its shape */
			add_part(s.chan[i].off + sizeof(struct bus_channel),
				 16);
		add_part(s.chan[i].off, s.chan[i].bytes);
	}
	add_part(v.off.blob, sizeof(struct sb_blob_pool));
	add_part(v.off.blob + sizeof(struct sb_blob_pool),
		 v.off.plan.n_cells * 16ull);
	snap_free(&s);
	view_close(&v);
}

/* A number of those that are close to where checks are. */
static uint64_t strange_number(void)
{
	static const uint64_t numbers[] = { 0,
					    1,
					    2,
					    0xff,
					    0x100,
					    0xffff,
					    0x7fffffff,
					    UINT32_MAX,
					    INT64_MAX,
					    UINT64_MAX,
					    UINT64_MAX - 7 };

	return numbers[below(sizeof(numbers) / sizeof(*numbers))];
}

/* Change a bit, a byte or a word at @at.  What was there is not asked, so that
 * a seed does the same to any copy. */
static void change(int fd, uint64_t at)
{
	uint64_t word = 0;
	size_t n = 8;

	switch (below(5)) {
	case 0: /* a bit */
	case 1:
		n = 1;
		if (pread(fd, &word, 1, (off_t)at) < 0)
			word = 0;
		word ^= UINT64_C(1) << below(8);
		break;
	case 2:
		n = 1;
		word = next_random();
		break;
	case 3:
		at &= ~UINT64_C(7);
		word = strange_number();
		break;
	default: /* near to what it was */
		at &= ~UINT64_C(7);
		if (pread(fd, &word, 8, (off_t)at) < 0)
			word = 0;
		word += (below(9) - 4) << 16 * below(4);
	}
	T_CHECK(pwrite(fd, &word, n, (off_t)at) == (ssize_t)n);
}

static void spoil(const char *path)
{
	uint64_t n = 1 + below(CHANGES_MAX);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	T_CHECK(fd >= 0 && !fstat(fd, &st));
	for (uint64_t i = 0; i < n; i++) {
		/* Few in the header, behind which little is read then. */
		const struct part *p = &parts[below(32) ? below(n_parts) : 0];

		change(fd, p->off + below(p->bytes));
	}
	if (!below(16))
		T_CHECK(!ftruncate(fd, (off_t)below((uint64_t)st.st_size)));
	close(fd);
}

/* ---------------------------------------------------------------- look -- */

/* The live screen, of whatever size. */
static int look_top(int argc, char **argv)
{
	struct top_screen *s = malloc(sizeof(*s));
	struct top_want want;
	struct watch w;

	T_CHECK(s && !watch_open(&w, argv[argc - 1]));
	top_want_init(&want);
	for (int i = 0; i < 2; i++) {
		watch_look(&w);
		top_press(&want, TOP_OTHER_TABLE, 1);
		top_paint(s, (int)below(200), (int)below(60), &w, &want, "");
		for (int y = 0; y < s->n; y++)
			puts(s->line[y].text);
	}
	watch_close(&w);
	free(s);
	return ADM_OK;
}

static char json[] = "json", format[] = "--format", all[] = "--all";

/* clang-format off */
static const struct {
	int (*run)(int argc, char **argv);
	const char *name;
	char *arg[4];
} looks[] = {
	{ cmd_info, "info", { copy } },
	{ cmd_info, "info", { format, json, copy } },
	{ cmd_ps, "ps", { copy } },
	{ cmd_ps, "ps", { format, json, copy } },
	{ cmd_check, "check", { copy } },
	{ cmd_check, "check", { format, json, copy } },
	{ cmd_stats, "stats", { copy } },
	{ cmd_stats, "stats", { format, json, copy } },
	{ cmd_stats, "stats", { format, (char[]){ "prom" }, copy } },
	{ look_top, "top", { copy } },
	{ cmd_inspect, "inspect", { all, copy, (char[]){ "#0" } } },
	{ cmd_inspect, "inspect", { copy, (char[]){ "#1" } } },
	{ cmd_inspect, "inspect", { copy, (char[]){ "#4" } } },
	{ cmd_inspect, "inspect", { copy, (char[]){ "#5" } } },
	{ cmd_inspect, "inspect", { copy, (char[]){ "#8" } } },
	{ cmd_inspect, "inspect", { (char[]){ "--hex" }, copy, (char[]){ "#0" },
		(char[]){ "0" } } },
	{ cmd_inspect, "inspect", { format, json, copy, (char[]){ "#5" } } },
	{ cmd_dump, "dump", { copy, (char[]){ "flip.dump" } } },
};

/* clang-format on */

static void look(unsigned i)
{
	char name[16], *argv[6] = { name };
	int argc = 1;

	snprintf(name, sizeof(name), "%s", looks[i].name);
	for (int k = 0; k < 4 && looks[i].arg[k]; k++)
		argv[argc++] = looks[i].arg[k];
	optind = 0; /* all over again */
	progress->command = i;
	T_CHECK(looks[i].run(argc, argv) != ADM_USAGE);
}

/* Nothing that a terminal obeys: also not the controls beyond ASCII. */
static bool is_text(FILE *f)
{
	int c, last = 0;

	rewind(f);
	while ((c = getc(f)) != EOF) {
		if ((c < ' ' && c != '\n') || c == 0x7f ||
		    (last == 0xc2 && c >= 0x80 && c < 0xa0))
			return false;
		last = c;
	}
	return true;
}

/* --------------------------------------------------------------- seeds -- */

/* As far as there is something in it. */
static void copy_file(const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC);
	int to = open(copy, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static char buf[1 << 16];
	off_t at = 0, end;
	struct stat st;

	T_CHECK(from >= 0 && to >= 0 && !fstat(from, &st));
	T_CHECK(!ftruncate(to, st.st_size));
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		while (at < end) {
			size_t n = end - at < (off_t)sizeof(buf)
					   ? (size_t)(end - at)
					   : sizeof(buf);
			ssize_t got = pread(from, buf, n, at);

			T_CHECK(got > 0 &&
				pwrite(to, buf, (size_t)got, at) == got);
			at += got;
		}
	}
	close(from);
	close(to);
}

static void try_seed(const char *path, unsigned long seed, FILE *out)
{
	random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	progress->seed = seed;
	copy_file(path);
	spoil(copy);
	alarm(SECONDS_A_SEED);
	/* A dump waits for the disk: it comes last, and seldom. */
	for (unsigned i = 0; i < sizeof(looks) / sizeof(*looks); i++)
		if (looks[i].run != cmd_dump || seed % 16 == 0)
			look(i);
	alarm(0);
	fflush(stdout);
	if (verbose)
		return;
	T_CHECK(is_text(out));
	T_CHECK(!ftruncate(fileno(out), 0));
	rewind(out);
}

struct batch {
	const char *path;
	unsigned long first, n;
};

static int run_batch(void *arg)
{
	const struct batch *b = arg;
	FILE *out = tmpfile();

	T_CHECK(out);
	if (!verbose) {
		T_CHECK(dup2(fileno(out), STDOUT_FILENO) >= 0);
		T_CHECK(dup2(fileno(out), STDERR_FILENO) >= 0);
	}
	for (unsigned long i = 0; i < b->n; i++)
		try_seed(b->path, b->first + i, out);
	return 0;
}

/* The child's standard error goes to where nothing obeys it, so say it all. */
static int run(const char *path, unsigned long first, unsigned long n)
{
	int failed = 0;

	for (unsigned long done = 0; done < n;) {
		struct batch b = { path, first + done,
				   n - done < SEEDS_A_CHILD ? n - done
							    : SEEDS_A_CHILD };
		int status = t_wait(t_fork(run_batch, &b));

		if (!status) {
			done += b.n;
			continue;
		}
		failed++;
		printf("seed %lu: busadm %s: %s %d\n", progress->seed,
		       looks[progress->command].name,
		       status < 0 ? "signal" : "exit status",
		       status < 0 ? -status : status);
		done = progress->seed - first + 1;
	}
	return failed;
}

int main(int argc, char **argv)
{
	unsigned long first, n;
	char path[4096], folder[] = "/tmp/flip.XXXXXX";
	int failed;

	if (argc < 4 || !realpath(argv[1], path))
		return 2;
	first = strtoul(argv[2], NULL, 10);
	n = strtoul(argv[3], NULL, 10);
	verbose = argc > 4;
	T_CHECK(mkdtemp(folder) && !chdir(folder));
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(progress != MAP_FAILED);
	find_parts(path);
	failed = run(path, first, n);
	unlink(copy);
	unlink("flip.dump");
	T_CHECK(!chdir("/") && !rmdir(folder));
	printf("%lu seeds, %d failed\n", n, failed);
	return failed > 0;
}
