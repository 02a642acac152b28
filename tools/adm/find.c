/*
 * find.c - which buses there are, and who has them
 *
 * Named ones are files in /dev/shm.  An unnamed one is known only to those who
 * have it mapped: /proc/PID/maps tells, by device and inode, so that it is the
 * same one in all of them.  A named one whose name is gone or leads to another
 * file by now is found in the same way.
 *
 * Its bytes are read through a descriptor of it if the process has one, which
 * it usually closes once it has mapped it; else through /proc/PID/map_files,
 * which takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; else from the memory of
 * the process, which whoever may debug it can do.  Reading that can make pages
 * of holes, so only what channels have is read.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tools/adm/find.h"

/* A segment that a process has mapped. */
struct mapping {
	dev_t dev;
	ino_t ino;
	bool unsure;       /* by its name it may be anything */
	uint64_t at;       /* where its byte 0 is */
	uint64_t bytes;    /* that are mapped from there */
	uint64_t from, to; /* the first piece, as map_files calls it */
};

struct mappings {
	struct mapping *m;
	size_t n, room;
};

/* ------------------------------------------------------------------ maps -- */

/* Make room for one more of @bytes each: 0 or -ENOMEM. */
static int grow(void **array, size_t n, size_t *room, size_t bytes)
{
	size_t more = *room ? 2 * *room : 16;
	void *p;

	if (n < *room)
		return 0;
	p = reallocarray(*array, more, bytes);
	if (!p)
		return -ENOMEM;
	*array = p;
	*room = more;
	return 0;
}

/* Might it be a bus?  A memfd is called so by whoever made it; a file that was
 * made without a name in /dev/shm is "#" and its inode. */
static bool looks_like(const char *path, bool *unsure)
{
	*unsure = !strncmp(path, FIND_DIR "/#", strlen(FIND_DIR "/#"));
	return *unsure || !strncmp(path, "/memfd:shmbus", 13) ||
	       !strncmp(path, FIND_PREFIX, strlen(FIND_PREFIX));
}

static int note(struct mappings *all, const struct mapping *m)
{
	for (size_t i = 0; i < all->n; i++) {
		struct mapping *old = &all->m[i];

		if (old->dev != m->dev || old->ino != m->ino)
			continue;
		if (old->at + old->bytes == m->from)
			old->bytes += m->to - m->from;
		return 0;
	}
	if (m->at != m->from)
		return 0; /* its beginning is not mapped */
	if (grow((void **)&all->m, all->n, &all->room, sizeof(*m)))
		return -ENOMEM;
	all->m[all->n++] = *m;
	return 0;
}

/* One line of maps. */
static int take_line(struct mappings *all, const char *line)
{
	uint64_t from, to, off;
	unsigned long ino;
	unsigned major, minor;
	char perms[5];
	int at = -1;
	bool unsure;
	struct mapping m;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %lu %n",
		   &from, &to, perms, &off, &major, &minor, &ino, &at) < 7 ||
	    at < 0 || perms[3] != 's' || to <= from || off > from ||
	    !looks_like(line + at, &unsure))
		return 0;
	m = (struct mapping){ .dev = makedev(major, minor),
			      .ino = ino,
			      .unsure = unsure,
			      .at = from - off,
			      .bytes = off + to - from,
			      .from = from,
			      .to = to };
	return note(all, &m);
}

/* ------------------------------------------------------------------ /proc -- */

/* Call @each with every number in @dir, until it says something but 0. */
static int each_number(const char *dir, int (*each)(void *arg, int number),
		       void *arg)
{
	struct dirent *d;
	int ret = 0;
	DIR *dp = opendir(dir);

	if (!dp)
		return -errno;
	while (!ret && (d = readdir(dp)) != NULL)
		if (d->d_name[0] >= '0' && d->d_name[0] <= '9')
			ret = each(arg, atoi(d->d_name));
	closedir(dp);
	return ret;
}

/* A descriptor of a file in a process: with the lock of its creator, or any. */
struct fd_search {
	dev_t dev;
	ino_t ino;
	pid_t pid;
	bool with_lock;
	int fd;
};

static bool has_lock(pid_t pid, int fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5) && strstr(line, "OFDLCK") &&
			strstr(line, "WRITE");
	fclose(f);
	return found;
}

/* Only what may be a bus is asked for more: a file system that somebody else
 * has a file of may not answer. */
static bool may_be(const char *path)
{
	char file[512];
	ssize_t n = readlink(path, file, sizeof(file) - 1);

	if (n < 0)
		return false;
	file[n] = '\0';
	return strstr(file, "shmbus") || strstr(file, "/#");
}

static int is_fd_of(void *arg, int fd)
{
	struct fd_search *s = arg;
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)s->pid, fd);
	if (!may_be(path) || stat(path, &st) || st.st_dev != s->dev ||
	    st.st_ino != s->ino || (s->with_lock && !has_lock(s->pid, fd)))
		return 0;
	s->fd = fd;
	return 1;
}

static int search_fds(void *arg, int pid)
{
	struct fd_search *s = arg;
	char path[64];

	s->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return each_number(path, is_fd_of, s) == 1;
}

pid_t find_lock_holder(dev_t dev, ino_t ino, const uint32_t *likely, size_t n)
{
	struct fd_search s = { .dev = dev, .ino = ino, .with_lock = true };

	for (size_t i = 0; i < n; i++)
		if (likely[i] && likely[i] <= INT32_MAX &&
		    search_fds(&s, (int)likely[i]))
			return s.pid;
	return each_number("/proc", search_fds, &s) == 1 ? s.pid : 0;
}

/* ----------------------------------------------------------------- names -- */

/* A bus, while we are looking for who has it. */
struct found {
	dev_t dev;
	ino_t ino;
	char *name; /* of a named one */
	pid_t pid;  /* of an unnamed one: the process that is the oldest */
	int nth;
	uint64_t start_time;
	uint32_t n_processes;
};

struct search {
	struct found *f;
	size_t n, room;
};

static struct found *lookup(struct search *s, dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->f[i].dev == dev && s->f[i].ino == ino)
			return &s->f[i];
	return NULL;
}

static struct found *add(struct search *s, dev_t dev, ino_t ino)
{
	if (grow((void **)&s->f, s->n, &s->room, sizeof(*s->f)))
		return NULL;
	s->f[s->n] = (struct found){ .dev = dev, .ino = ino };
	return &s->f[s->n++];
}

static void search_free(struct search *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->f[i].name);
	free(s->f);
}

static int search_names(struct search *s)
{
	const char *prefix = strrchr(FIND_PREFIX, '/') + 1;
	struct found *f;
	struct dirent *d;
	struct stat st;
	int ret = 0;
	DIR *dp = opendir(FIND_DIR);

	if (!dp)
		return errno == ENOENT ? 0 : -errno;
	while (!ret && (d = readdir(dp)) != NULL) {
		if (strncmp(d->d_name, prefix, strlen(prefix)) ||
		    fstatat(dirfd(dp), d->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		f = add(s, st.st_dev, st.st_ino);
		if (f)
			f->name = strdup(d->d_name + strlen(prefix));
		if (!f || !f->name)
			ret = -ENOMEM;
	}
	closedir(dp);
	return ret;
}

/* --------------------------------------------------------------- unnamed -- */

int find_parse_pid(const char *arg, int *pid, int *nth)
{
	unsigned long n[2] = { 0, 1 };
	const char *at = arg + 4;
	char *end;

	if (strncmp(arg, "pid:", 4))
		return 0;
	for (int i = 0; i < 2; i++) {
		if (*at < '0' || *at > '9')
			return -EINVAL;
		n[i] = strtoul(at, &end, 10);
		if (n[i] < 1 || n[i] > INT32_MAX)
			return -EINVAL;
		if (!*end)
			break;
		if (*end != ':' || i == 1)
			return -EINVAL;
		at = end + 1;
	}
	*pid = (int)n[0];
	*nth = (int)n[1];
	return 1;
}

/* Open a file of @pid for reading; 0 or -errno. */
static int open_proc(struct view *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int open_proc(struct view *v, const char *format, ...)
{
	char path[128];
	va_list args;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	v->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return v->fd < 0 ? -errno : 0;
}

static int open_mapping(struct view *v, const struct mapping *m)
{
	struct fd_search s = { .dev = m->dev, .ino = m->ino };
	struct stat st;
	int ret = -ENOENT;

	v->dev = m->dev;
	v->ino = m->ino;
	if (search_fds(&s, v->from))
		ret = open_proc(v, "/proc/%d/fd/%d", (int)v->from, s.fd);
	if (ret)
		ret = open_proc(v, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64,
				(int)v->from, m->from, m->to);
	if (!ret && (fstat(v->fd, &st) || st.st_ino != m->ino)) {
		close(v->fd); /* another is there by now */
		ret = -ESTALE;
	}
	if (!ret) {
		v->there_bytes = (uint64_t)st.st_size;
		v->used_bytes = (uint64_t)st.st_blocks * 512;
		v->uid = st.st_uid;
		v->mode = st.st_mode & 07777;
		return 0;
	}
	ret = open_proc(v, "/proc/%d/mem", (int)v->from);
	v->is_memory = true;
	v->at = m->at;
	v->there_bytes = m->bytes;
	return ret;
}

/* Of those that may be anything, only buses are kept. */
static void drop_others(struct mappings *all, pid_t pid)
{
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		struct view v = { .fd = -1, .from = pid };
		uint64_t magic = SB_SEG_MAGIC;

		if (all->m[i].unsure &&
		    (open_mapping(&v, &all->m[i]) ||
		     view_read(&v, 0, &magic, sizeof(magic))))
			magic = 0;
		view_close(&v);
		if (magic == SB_SEG_MAGIC)
			all->m[n++] = all->m[i];
	}
	all->n = n;
}

static int by_inode(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* What @pid has mapped that might be buses, the oldest first.  0 or -errno. */
static int read_maps(struct mappings *all, pid_t pid)
{
	char path[64], *line = NULL;
	size_t room = 0;
	int ret = 0;
	FILE *f;

	*all = (struct mappings){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	errno = 0;
	while (!ret && getline(&line, &room, f) > 0)
		ret = take_line(all, line);
	if (!ret && ferror(f))
		ret = -errno;
	free(line);
	fclose(f);
	drop_others(all, pid);
	if (all->n)
		qsort(all->m, all->n, sizeof(*all->m), by_inode);
	return ret;
}

/* Only those that no name leads to. */
static int drop_named(struct mappings *all)
{
	struct search s = { 0 };
	int ret = search_names(&s);
	size_t n = 0;

	for (size_t i = 0; !ret && i < all->n; i++)
		if (!lookup(&s, all->m[i].dev, all->m[i].ino))
			all->m[n++] = all->m[i];
	all->n = n;
	search_free(&s);
	return ret;
}

static void say_why(char *why, int pid, int nth, size_t n, int err)
{
	if (err == -ENOENT || err == -ESRCH)
		snprintf(why, VIEW_WHY_BYTES, "there is no process %d", pid);
	else if (err == -EACCES || err == -EPERM)
		snprintf(why, VIEW_WHY_BYTES,
			 "cannot look into process %d: %s; it takes root, or "
			 "CAP_SYS_PTRACE, or its user where "
			 "kernel.yama.ptrace_scope is 0",
			 pid, strerror(-err));
	else if (err)
		snprintf(why, VIEW_WHY_BYTES, "cannot look into process %d: %s",
			 pid, strerror(-err));
	else if (n)
		snprintf(why, VIEW_WHY_BYTES,
			 "process %d has %zu unnamed bus%s, there is no %d",
			 pid, n, n == 1 ? "" : "es", nth);
	else
		snprintf(why, VIEW_WHY_BYTES,
			 "process %d has no unnamed bus; 'busadm list' shows "
			 "who has",
			 pid);
}

int find_open_unnamed(struct view *v, pid_t pid, int nth,
		      char why[VIEW_WHY_BYTES])
{
	struct mappings all;
	struct process proc;
	int ret = read_maps(&all, pid);
	size_t n;

	if (!ret)
		ret = drop_named(&all);
	n = all.n;
	v->kind = VIEW_UNNAMED;
	v->from = pid;
	if (!ret && (size_t)nth <= n) {
		ret = open_mapping(v, &all.m[nth - 1]);
		if (!ret && v->is_memory) {
			process_read(&proc, pid, 0);
			v->uid = proc.uid;
		}
	} else if (!ret) {
		say_why(why, pid, nth, n, 0);
		free(all.m);
		return -ENOENT;
	}
	free(all.m);
	if (ret)
		say_why(why, pid, nth, n, ret);
	return ret;
}

/* ------------------------------------------------------------------- all -- */

/* Count who has what; and by whom an unnamed one is called, the oldest. */
static int search_process(void *arg, int pid)
{
	struct search *s = arg;
	struct mappings all;
	struct process proc = { 0 };
	int nth = 0, ret = read_maps(&all, pid);

	if (ret) {
		free(all.m);
		return 0; /* not ours, or gone */
	}
	if (all.n)
		process_read(&proc, pid, 0);
	for (size_t i = 0; !ret && i < all.n; i++) {
		struct found *f = lookup(s, all.m[i].dev, all.m[i].ino);

		if (!f)
			f = add(s, all.m[i].dev, all.m[i].ino);
		if (!f) {
			ret = -ENOMEM;
			break;
		}
		f->n_processes++;
		nth += !f->name;
		if (f->name || (f->pid && f->start_time <= proc.start_time))
			continue;
		f->pid = pid;
		f->nth = nth;
		f->start_time = proc.start_time;
	}
	free(all.m);
	return ret;
}

static int by_name(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (!x->name != !y->name)
		return x->name ? -1 : 1;
	return x->name ? strcmp(x->name, y->name) : x->pid - y->pid;
}

static char *arg_of(const struct found *f)
{
	char *arg;

	if (f->name)
		return strdup(f->name);
	if (asprintf(&arg, f->nth > 1 ? "pid:%d:%d" : "pid:%d", (int)f->pid,
		     f->nth) < 0)
		return NULL;
	return arg;
}

int find_all(struct find_list *list)
{
	struct search s = { 0 };
	int ret = search_names(&s);

	*list = (struct find_list){ 0 };
	if (!ret)
		ret = each_number("/proc", search_process, &s);
	if (ret == -ENOENT)
		ret = 0; /* without /proc, only those that have names */
	if (!ret && s.n) {
		qsort(s.f, s.n, sizeof(*s.f), by_name);
		list->bus = calloc(s.n, sizeof(*list->bus));
		ret = list->bus ? 0 : -ENOMEM;
	}
	for (size_t i = 0; !ret && i < s.n; i++) {
		list->bus[i].arg = arg_of(&s.f[i]);
		list->bus[i].n_processes = s.f[i].n_processes;
		list->n++;
		if (!list->bus[i].arg)
			ret = -ENOMEM;
	}
	search_free(&s);
	if (ret)
		find_free(list);
	return ret;
}

void find_free(struct find_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->bus[i].arg);
	free(list->bus);
	*list = (struct find_list){ 0 };
}
