/*
 * cmd_gc.c - busadm gc: remove what killed creators have left
 *
 * A leftover is looked at, without a lock, as every other command does: is its
 * creator dead, has anybody it mapped, is a message in it?  Then it is removed
 * by the rule of names of lib/seg.c: whoever holds the lock of the file that a
 * name leads to may remove the name.  Under the lock it has to be the file that
 * was looked at, for a new creator may have taken the name, and died as well;
 * and its messages are looked for once more.  So the lock is held for a moment
 * only: a creator that wants the name meanwhile is told -EEXIST.
 *
 * What counts as a message is what somebody could get: those in queues.  Who
 * had a pipe or requests is dead, and there is nobody to go on with them.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tools/adm/args.h"
#include "tools/adm/find.h"
#include "tools/adm/grid.h"
#include "tools/adm/mapped.h"
#include "tools/adm/text.h"
#include "tools/adm/view.h"

enum result {
	IN_USE, /* its creator lives */
	CLOSED, /* to us, as another user's is */
	GONE,
	REMOVED,
	WOULD_GO, /* --dry-run */
	KEPT,     /* for a reason that the operator may do away with */
	FAILED
};

static const char *const result_words[] = { "in use",  "closed to us", "gone",
					    "removed", "would go",     "kept",
					    "failed" };

struct leftover {
	const char *name;
	char path[sizeof(FIND_PREFIX) + SB_SEG_NAME_MAX];
	enum result result;
	char why[1024];
	uint64_t bytes; /* that it takes */
	uint64_t n_messages;
	bool is_clear; /* its messages could be counted */
	struct view view;
	struct mapped *mapped;
};

struct gc {
	bool dry_run, force;
	size_t n;
	struct leftover *all;
	struct mapped *mapped;
	char **names; /* of what there is, if none were given */
};

/* Options ------------------------------------------------------------------ */

static const char help[] =
	"Usage: busadm gc [OPTION...] [NAME...]\n"
	"Remove the buses that killed creators have left in /dev/shm: of those "
	"NAMEs, or\n"
	"all that there are.  Those that somebody has mapped, or with messages "
	"in them,\n"
	"stay, and it says why.\n"
	"\n"
	"      --dry-run        only say what would be done\n"
	"      --force          also those with messages in them, or of which "
	"that cannot\n"
	"                       be told\n"
	"      --format FORMAT  text (default) or json\n"
	"      --help           print this and exit\n"
	"\n"
	"Exit status: 0 no leftover stays (nor would); 1 some do, or a NAME is "
	"not there;\n"
	"2 wrong options.\n";

static const struct option options[] = { { "dry-run", no_argument, NULL, 'n' },
					 { "force", no_argument, NULL, 'F' },
					 ARGS_COMMON };

static bool parse(struct gc *gc, struct args *args, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 'n')
			gc->dry_run = true;
		else if (c == 'F')
			gc->force = true;
		else if (args_common(args, c, argv, help) < 0)
			return false;
	}
	return true;
}

/* Looking ------------------------------------------------------------------ */

static void say(struct leftover *l, enum result result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct leftover *l, enum result result, const char *format, ...)
{
	va_list args;

	l->result = result;
	va_start(args, format);
	vsnprintf(l->why, sizeof(l->why), format, args);
	va_end(args);
}

/* Messages in queues, and who has an endpoint.  False: it cannot be told. */
static bool count(struct leftover *l)
{
	struct snap s = { 0 };
	bool is_clear =
		view_readable(&l->view) && snap_take(&l->view, true, &s) == 0;

	l->n_messages = 0;
	for (uint32_t i = 0; is_clear && i < s.n_chans; i++) {
		const struct snap_chan *c = &s.chan[i];

		if (c->bad || (c->kind == BUS_CHAN_QUEUE && !c->ring))
			is_clear = false;
		else if (c->kind == BUS_CHAN_QUEUE && !c->ring->aborted)
			l->n_messages +=
				snap_waiting(c->ring) + snap_held(c->ring);
	}
	for (uint32_t id = 1; s.ep && l->view.has_processes && id < s.n_eps;
	     id++)
		if (snap_attached(&s.ep[id]) &&
		    !process_is_dead(&s.ep[id].proc))
			mapped_add(l->mapped, s.ep[id].proc.pid);
	snap_free(&s);
	return is_clear;
}

/* Open it.  False: it is none of ours to remove. */
static bool open_view(struct leftover *l)
{
	char why[VIEW_WHY_BYTES];
	int ret;

	snprintf(l->path, sizeof(l->path), FIND_PREFIX "%.200s", l->name);
	l->view.fd = -1;
	if (strchr(l->name, '/') || !strncmp(l->name, "pid:", 4)) {
		say(l, FAILED, "only buses with a name are ever left over");
		return false;
	}
	ret = view_open(&l->view, l->name, why);
	if (ret == -ENOENT)
		say(l, GONE, "there is no such bus");
	else if (ret == -EACCES || ret == -EPERM)
		say(l, CLOSED, "run busadm gc as its owner or as root");
	else if (ret == -EINVAL || ret == -ELOOP)
		say(l, KEPT, "it is no regular file, so no bus");
	else if (ret == -ENAMETOOLONG)
		say(l, KEPT, "no bus can have so long a name");
	else if (ret)
		say(l, FAILED, "%s", why);
	return ret == 0;
}

/* See what it is. */
static void look(struct leftover *l)
{
	int ret;

	if (!open_view(l))
		return;
	l->bytes = l->view.used_bytes;
	ret = mapped_init(l->mapped, l->view.fd);
	if (ret)
		say(l, FAILED, "cannot look at it: %s", strerror(-ret));
	else if (l->view.health == VIEW_FOREIGN)
		say(l, KEPT, "it is no bus; if it is not needed, rm %s",
		    l->path);
	else if (l->view.creator == VIEW_CREATOR_LIVES && l->view.creator_pid)
		say(l, IN_USE, "its creator, pid %d, lives",
		    (int)l->view.creator_pid);
	else if (l->view.creator != VIEW_CREATOR_DEAD)
		say(l, IN_USE, "its creator lives");
	else
		l->is_clear = count(l);
}

/* "pid 12 (cat), 13 (dog) and 4 more" */
static char *pids_text(char *buf, size_t size, const pid_t *pid, size_t n)
{
	char command[64];
	struct process p;
	size_t len = 0;

	for (size_t i = 0; i < n && i < 3 && len < size; i++) {
		process_read(&p, pid[i], 0);
		text_name(command, 40, p.command);
		len += (size_t)snprintf(buf + len, size - len, "%s%d (%s)",
					i ? ", " : "pid ", (int)pid[i],
					command);
	}
	if (n > 3 && len < size)
		snprintf(buf + len, size - len, " and %zu more", n - 3);
	return buf;
}

/* May it go?  As far as can be seen without a lock. */
static void decide(struct leftover *l, bool force)
{
	const struct mapped *m = l->mapped;
	char pids[400];

	if (l->result != WOULD_GO)
		return;
	if (!l->view.has_processes && !mapped_sees_all())
		say(l, KEPT,
		    "it is of another pid namespace, whose processes are not "
		    "to be seen from here; run busadm gc there, or above it");
	else if (m->n)
		say(l, KEPT, "%s %s it mapped, and can go on with it",
		    pids_text(pids, sizeof(pids), m->pid, m->n),
		    m->n == 1 ? "has" : "have");
	else if (m->n_hidden)
		say(l, KEPT,
		    "%s may have it mapped, and what they have is closed to "
		    "us; run busadm gc as root",
		    pids_text(pids, sizeof(pids), m->hidden, m->n_hidden));
	else if (m->is_blind)
		say(l, KEPT,
		    "/proc does not show us all processes that may have it "
		    "mapped (hidepid); run busadm gc as root");
	else if (force)
		return;
	else if (!l->is_clear)
		say(l, KEPT,
		    "what is in it cannot be told%s%s; --force removes "
		    "it all the same",
		    *l->view.why ? ": " : "", l->view.why);
	else if (l->n_messages)
		say(l, KEPT,
		    "it holds %" PRIu64 " message%s; busadm get --drain, or "
		    "--force to throw away",
		    l->n_messages, text_s(l->n_messages));
}

/* Removing ----------------------------------------------------------------- */

static bool leads_to(const char *path, const struct leftover *l)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == l->view.dev &&
	       st.st_ino == l->view.ino;
}

/* The creator's lock is on all of the file; who removes it takes what follows
 * the first byte: see lib/seg.c. */
static int lock(const struct leftover *l)
{
	struct flock rest = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = 1 };
	struct stat st;
	int ret = 0;
	int fd = open(l->path,
		      O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		ret = -errno;
	else if (st.st_dev != l->view.dev || st.st_ino != l->view.ino)
		ret = -ESTALE;
	else if (fcntl(fd, F_OFD_SETLK, &rest))
		ret = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* With the lock: is it still what we have looked at? */
static void remove_locked(struct leftover *l, bool force)
{
	uint64_t before = l->n_messages;
	bool is_clear = count(l);

	if (!leads_to(l->path, l))
		say(l, KEPT, "somebody has just removed or replaced it");
	else if (l->mapped->n)
		say(l, KEPT, "somebody has just opened it");
	else if (!force && (!is_clear || l->n_messages != before))
		say(l, KEPT, "somebody has just put messages there");
	else if (unlink(l->path))
		say(l, FAILED, "cannot remove %s: %s", l->path,
		    strerror(errno));
	else
		l->result = REMOVED;
}

static void remove_it(struct leftover *l, bool force)
{
	int fd = lock(l);

	if (fd >= 0) {
		remove_locked(l, force);
		close(fd);
	} else if (fd == -ENOENT || fd == -ESTALE || fd == -EBUSY) {
		say(l, KEPT, "somebody is just replacing or removing it");
	} else {
		say(l, FAILED,
		    "cannot open it for writing: %s; run busadm gc "
		    "as its owner or as root",
		    strerror(-fd));
	}
}

/* Printing ----------------------------------------------------------------- */

/* Of all that there are, what is in use is not worth a line. */
static bool is_shown(const struct leftover *l, const struct gc *gc)
{
	return l->result >= REMOVED || !gc->names;
}

static size_t count_results(const struct gc *gc, enum result result)
{
	size_t n = 0;

	for (size_t i = 0; i < gc->n; i++)
		n += gc->all[i].result == result;
	return n;
}

/* Below the table: they are too long for a column. */
static void print_reasons(const struct gc *gc)
{
	char name[1024], why[1024];

	for (size_t i = 0; i < gc->n; i++) {
		const struct leftover *l = &gc->all[i];

		if (is_shown(l, gc) && *l->why)
			printf("%s: %s.\n",
			       text_name(name, sizeof(name), l->name),
			       text_name(why, sizeof(why), l->why));
	}
}

static void print_text(const struct gc *gc)
{
	static const enum grid_mark marks[] = { GRID_PLAIN, GRID_PLAIN,
						GRID_PLAIN, GRID_GOOD,
						GRID_PLAIN, GRID_NOTE,
						GRID_BAD };

	size_t n_closed = gc->names ? count_results(gc, CLOSED) : 0;
	char name[1024], bytes[32];
	struct grid g;

	grid_init(&g, "BUS|RESULT|>USED");
	for (size_t i = 0; i < gc->n; i++) {
		const struct leftover *l = &gc->all[i];

		if (!is_shown(l, gc))
			continue;
		grid_cell(&g, "%s", text_name(name, sizeof(name), l->name));
		grid_cell(&g, "%s", result_words[l->result]);
		grid_mark(&g, marks[l->result]);
		grid_cell(&g, "%s", text_bytes(bytes, sizeof(bytes), l->bytes));
	}
	if (grid_rows(&g))
		grid_print(&g, 0);
	else
		printf("Nothing is left over in " FIND_DIR ".\n");
	grid_free(&g);
	print_reasons(gc);
	if (n_closed)
		printf("%zu bus%s of other users %s closed to us.\n", n_closed,
		       n_closed == 1 ? "" : "es", n_closed == 1 ? "is" : "are");
}

static json_t *pids_json(const pid_t *pid, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n && i < MAPPED_PIDS; i++)
		json_array_append_new(list, json_integer(pid[i]));
	return list;
}

static void print_json(const struct gc *gc)
{
	json_t *list = json_array();

	for (size_t i = 0; i < gc->n; i++) {
		const struct leftover *l = &gc->all[i];

		if (!is_shown(l, gc))
			continue;
		json_array_append_new(
			list,
			json_pack("{s:o, s:s, s:I, s:o, s:o, s:o, s:o}", "bus",
				  text_json(l->name, strlen(l->name)), "result",
				  result_words[l->result], "used_bytes",
				  (json_int_t)l->bytes, "messages",
				  l->is_clear
					  ? json_integer(
						    (json_int_t)l->n_messages)
					  : json_null(),
				  "mapped_by",
				  pids_json(l->mapped->pid, l->mapped->n),
				  "maybe_mapped_by",
				  pids_json(l->mapped->hidden,
					    l->mapped->n_hidden),
				  "why",
				  *l->why ? text_json(l->why, strlen(l->why))
					  : json_null()));
	}
	text_print_json(json_pack("{s:i, s:b, s:o}", "schema", 1, "dry_run",
				  gc->dry_run, "leftovers", list));
}

/* The command -------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names that there are, in order.  0 or -errno. */
static int find_names(struct gc *gc)
{
	const char *prefix = strrchr(FIND_PREFIX, '/') + 1;
	DIR *dp = opendir(FIND_DIR);
	size_t room = 0;
	struct dirent *d;

	if (!dp)
		return -errno;
	while ((d = readdir(dp)) != NULL) {
		if (strncmp(d->d_name, prefix, strlen(prefix)) ||
		    !d->d_name[strlen(prefix)])
			continue;
		if (gc->n == room) {
			char **more;

			room = room ? 2 * room : 16;
			more = reallocarray(gc->names, room, sizeof(*more));
			if (!more)
				break;
			gc->names = more;
		}
		gc->names[gc->n] = strdup(d->d_name + strlen(prefix));
		if (!gc->names[gc->n])
			break;
		gc->n++;
	}
	closedir(dp);
	if (d)
		return -ENOMEM;
	if (gc->n)
		qsort(gc->names, gc->n, sizeof(*gc->names), compare);
	return 0;
}

/* An argument as a name: also the path of a bus in /dev/shm. */
static const char *name_of(const char *arg)
{
	return strncmp(arg, FIND_PREFIX, strlen(FIND_PREFIX))
		       ? arg
		       : arg + strlen(FIND_PREFIX);
}

/* Each leftover is open until its end, and there may be many. */
static void want_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static int work(struct gc *gc, char **names)
{
	int ret;

	want_descriptors();
	gc->all = calloc(gc->n + 1, sizeof(*gc->all));
	gc->mapped = calloc(gc->n + 1, sizeof(*gc->mapped));
	if (!gc->all || !gc->mapped)
		return -ENOMEM;
	for (size_t i = 0; i < gc->n; i++) {
		gc->all[i].name = name_of(names[i]);
		gc->all[i].mapped = &gc->mapped[i];
		gc->all[i].result = WOULD_GO;
		look(&gc->all[i]);
	}
	ret = gc->n ? mapped_find(gc->mapped, gc->n) : 0;
	for (size_t i = 0; !ret && i < gc->n; i++) {
		decide(&gc->all[i], gc->force);
		if (gc->all[i].result == WOULD_GO && !gc->dry_run)
			remove_it(&gc->all[i], gc->force);
	}
	return ret;
}

static void free_all(struct gc *gc)
{
	for (size_t i = 0; i < gc->n; i++) {
		if (gc->all)
			view_close(&gc->all[i].view);
		if (gc->names)
			free(gc->names[i]);
	}
	free(gc->all);
	free(gc->mapped);
	free(gc->names);
}

/* Those that were asked for by name stay also if they are in use. */
static int status_of(const struct gc *gc)
{
	for (size_t i = 0; i < gc->n; i++)
		if (gc->all[i].result >= KEPT ||
		    (gc->all[i].result < REMOVED && !gc->names))
			return ADM_FAILED;
	return ADM_OK;
}

int cmd_gc(int argc, char **argv)
{
	struct args args = { 0 };
	struct gc gc = { 0 };
	int ret = 0, status = ADM_FAILED;

	if (!parse(&gc, &args, argc, argv))
		return args.status;
	if (optind < argc)
		gc.n = (size_t)(argc - optind);
	else
		ret = find_names(&gc);
	if (!ret)
		ret = work(&gc, gc.names ? gc.names : argv + optind);
	if (ret) {
		adm_error("cannot look for leftovers: %s", strerror(-ret));
	} else {
		(args.json ? print_json : print_text)(&gc);
		status = status_of(&gc);
	}
	free_all(&gc);
	return status;
}
