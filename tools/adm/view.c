/*
 * view.c - open a bus for reading, and take a snap of it
 *
 * Where the bytes of an unnamed bus come from is told in find.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "tools/adm/find.h"
#include "tools/adm/note.h"
#include "tools/adm/view.h"

/* ----------------------------------------------------------------- bytes -- */

int view_read(const struct view *v, uint64_t off, void *buf, size_t n)
{
	unsigned char *to = buf;
	size_t there = 0;

	if (off < v->there_bytes)
		there = v->there_bytes - off < n ? v->there_bytes - off : n;
	memset(to + there, 0, n - there);
	while (there) {
		ssize_t done = pread(v->fd, to, there, (off_t)(v->at + off));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (!done) { /* it was cut off just now */
			memset(to, 0, there);
			return 0;
		}
		to += done;
		off += (uint64_t)done;
		there -= (size_t)done;
	}
	return 0;
}

/* ------------------------------------------------------------------ open -- */

/* As lib/seg.c: against damage and strangers, not against malice. */
static uint64_t checksum(const struct sb_seg_header *h)
{
	const unsigned char *b = (const unsigned char *)h;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < offsetof(struct sb_seg_header, checksum); i++)
		sum = (sum ^ b[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static void ail(struct view *v, enum view_health health, const char *why)
{
	v->health = health;
	v->why = why;
}

/* What is it?  And the offsets, if more can be read of it. */
static int examine(struct view *v)
{
	struct sb_seg_header *h = &v->seg;
	int ret = view_read(v, 0, h, sizeof(*h));

	if (!ret)
		ret = view_read(v, offsetof(struct bus_header, sizes),
				&v->sizes, sizeof(v->sizes));
	if (ret)
		return ret;
	if (v->there_bytes < sizeof(*h) || h->magic != SB_SEG_MAGIC)
		ail(v, VIEW_FOREIGN, "it does not begin as a bus does");
	else if (h->abi != SB_SEG_ABI)
		ail(v, VIEW_OTHER_ABI, "another version of shmbus made it");
	else if (h->header_bytes != sizeof(*h) || h->checksum != checksum(h) ||
		 h->reserved)
		ail(v, VIEW_DAMAGED, "its first bytes are damaged");
	else if (h->fingerprint != bus_layout_fingerprint())
		ail(v, VIEW_OTHER_LAYOUT,
		    "another build of shmbus made it, with another layout");
	else if (bus_layout(&v->sizes, &v->off) || v->off.bytes != h->bytes)
		ail(v, VIEW_DAMAGED, "its sizes contradict each other");
	else if (v->there_bytes < h->bytes)
		ail(v, VIEW_TRUNCATED, "the end of it is missing");
	else if (v->there_bytes > h->bytes && v->kind == VIEW_NAMED)
		ail(v, VIEW_DAMAGED, "it is larger than it says");
	return 0;
}

static bool differ(uint64_t theirs, uint64_t ours)
{
	return theirs && ours && theirs != ours;
}

/* Do we see its processes, and as what? */
static int look_for_processes(struct view *v)
{
	struct process_names names;
	int ret;

	if (v->kind == VIEW_COPY)
		return 0;
	v->other_pids = differ(v->seg.pid_ns, sb_proc_pid_ns());
	v->other_times = differ(v->seg.time_ns, sb_proc_time_ns());
	v->has_processes = true;
	if (!v->other_pids)
		return 0;
	ret = process_names(&names, v->seg.pid_ns);
	v->has_processes = names.n > 0;
	process_names_free(&names);
	return ret;
}

/* Does somebody hold the lock of its creator?  See lib/seg.c. */
static enum view_creator creator_of(int fd)
{
	struct flock first = { .l_type = F_WRLCK,
			       .l_whence = SEEK_SET,
			       .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &first))
		return VIEW_CREATOR_UNKNOWN;
	return first.l_type == F_UNLCK ? VIEW_CREATOR_DEAD : VIEW_CREATOR_LIVES;
}

static int cannot(char *why, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int cannot(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, VIEW_WHY_BYTES, format, args);
	va_end(args);
	return err;
}

/* A file: of a name, or of a path. */
static int open_file(struct view *v, const char *path, char *why)
{
	struct stat st;

	/* NONBLOCK: it may be anything, even a device that waits. */
	v->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
				   (v->kind == VIEW_NAMED ? O_NOFOLLOW : 0));
	if (v->fd < 0 && errno == ENOENT && v->kind == VIEW_NAMED)
		return cannot(why, -ENOENT,
			      "there is no bus '%s'; 'busadm list' shows those "
			      "that there are",
			      v->name);
	if (v->fd < 0)
		return cannot(why, -errno, "cannot open '%s': %s%s", v->name,
			      strerror(errno),
			      errno == EACCES || errno == EPERM
				      ? "; it takes its owner or root"
				      : "");
	if (fstat(v->fd, &st))
		return cannot(why, -errno, "cannot look at '%s': %s", v->name,
			      strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cannot(why, -EINVAL,
			      "'%s' is no regular file, so no bus", v->name);
	v->there_bytes = (uint64_t)st.st_size;
	v->used_bytes = (uint64_t)st.st_blocks * 512;
	v->dev = st.st_dev;
	v->ino = st.st_ino;
	v->uid = st.st_uid;
	v->mode = st.st_mode & 07777;
	v->creator = creator_of(v->fd);
	/* What its creator has locked is no copy, by whatever path. */
	if (v->creator == VIEW_CREATOR_LIVES)
		v->kind = VIEW_NAMED;
	if (v->kind == VIEW_COPY)
		v->creator = VIEW_CREATOR_UNKNOWN;
	return 0;
}

/* "/dev/shm/shmbus.jobs" is the bus "jobs" also when it is given as a path; and
 * so it is in a container, as /proc/PID/root/dev/shm/shmbus.jobs.  The name, or
 * NULL: any file. */
static const char *name_in_path(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	const char *prefix = strrchr(FIND_PREFIX, '/') + 1;
	size_t dir = strlen(FIND_DIR "/"), n = strlen(prefix);

	return (size_t)(name - path) < dir ||
			       strncmp(name - dir, FIND_DIR "/", dir) ||
			       strncmp(name, prefix, n)
		       ? NULL
		       : name + n;
}

static int open_arg(struct view *v, const char *arg, char *why)
{
	char path[sizeof(FIND_PREFIX) + SB_SEG_NAME_MAX];
	const char *name = arg;
	int pid, nth, ret;

	if (!*arg || strlen(arg) >= sizeof(v->name))
		return cannot(why, -EINVAL,
			      "'%.40s' is neither the name of a bus nor a file",
			      arg);
	strcpy(v->name, arg);
	ret = find_parse_pid(arg, &pid, &nth);
	if (ret < 0)
		return cannot(why, -EINVAL,
			      "'%s' should be pid:PID or pid:PID:N", arg);
	if (ret)
		return find_open_unnamed(v, pid, nth, why);
	if (strchr(arg, '/')) {
		name = name_in_path(arg);
		v->kind = name ? VIEW_NAMED : VIEW_COPY;
		if (!name || strncmp(arg, FIND_PREFIX, strlen(FIND_PREFIX)))
			return open_file(v, arg, why);
		strcpy(v->name, name);
	}
	if (strlen(name) > SB_SEG_NAME_MAX)
		return cannot(why, -ENAMETOOLONG,
			      "'%.40s...' is longer than the name of a bus can "
			      "be",
			      name);
	snprintf(path, sizeof(path), FIND_PREFIX "%s", name);
	return open_file(v, path, why);
}

/* It is an endpoint, unless it has threads that are; else all processes would
 * have to be looked at. */
static void find_creator(struct view *v)
{
	struct bus_ep ep;
	uint32_t pid[SB_EP_MAX + 1], n = 0;

	if (view_readable(v) && !v->other_pids)
		for (uint32_t id = 1; id < v->sizes.max_ep; id++)
			if (!view_read(v, v->off.ep + id * sizeof(ep),
				       (void *)&ep, sizeof(ep)))
				pid[n++] = (uint32_t)(ep.state >> 32);
	v->creator_pid = find_lock_holder(v->dev, v->ino, pid, n);
}

int view_open(struct view *v, const char *arg, char why[VIEW_WHY_BYTES])
{
	int ret;

	*v = (struct view){ .fd = -1, .used_bytes = UINT64_MAX, .why = "" };
	ret = open_arg(v, arg, why);
	if (!ret) {
		ret = examine(v);
		if (!ret && v->kind == VIEW_COPY && v->health == VIEW_GOOD)
			ret = note_read(v);
		if (!ret)
			ret = look_for_processes(v);
		if (ret)
			cannot(why, ret, "cannot read '%s': %s", arg,
			       strerror(-ret));
	}
	if (ret) {
		view_close(v);
		return ret;
	}
	if (v->kind == VIEW_NAMED && v->creator == VIEW_CREATOR_LIVES)
		find_creator(v);
	return 0;
}

void view_close(struct view *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
	free(v->note);
	v->note = NULL;
}

/* ------------------------------------------------------------- processes -- */

uint32_t snap_pid(const struct snap *s, uint32_t pid)
{
	pid_t here = process_here(&s->names, pid);

	return here ? (uint32_t)here : pid;
}

void snap_process(const struct snap *s, struct process *p, uint32_t pid,
		  uint64_t start_time)
{
	const struct view *v = s->view;
	pid_t here = (pid_t)pid;

	*p = (struct process){ .pid = here };
	if (!v->has_processes || pid > INT32_MAX)
		return;
	if (v->other_pids) {
		here = process_here(&s->names, pid);
		if (!here) {
			p->state =
				s->names.all ? PROCESS_DEAD : PROCESS_UNKNOWN;
			return;
		}
	}
	process_read(p, here, v->other_times ? 0 : start_time);
}

/* ------------------------------------------------------------- endpoints -- */

static struct snap_set set_of(const struct sb_sleepers *from)
{
	struct snap_set to;

	memcpy(to.bits, (const void *)from->bits, sizeof(to.bits));
	return to;
}

uint32_t snap_count(const struct snap_set *set)
{
	int n = 0;

	for (uint32_t i = 0; i < SB_EP_WORDS; i++)
		n += __builtin_popcountll(set->bits[i]);
	return (uint32_t)n;
}

static void take_ep(const struct snap *s, struct snap_ep *e,
		    const struct bus_ep *from, const struct bus_header *h)
{
	struct snap_set running = set_of(&h->running), rx = set_of(&h->blob_rx);
	const struct view *v = s->view;
	const struct bus_ep_counts *n = &from->counts;

	e->word = from->state;
	e->state = (uint32_t)e->word & 0xff;
	e->pid = snap_pid(s, (uint32_t)(e->word >> 32));
	e->start_time = from->start_time;
	e->recovering = from->recovering;
	e->bell = from->bell;
	e->running = snap_has(&running, e->id);
	e->wants_cell = snap_has(&rx, e->id);
	e->n_put = n->put;
	e->n_got = n->got;
	e->n_parks = n->parks;
	e->n_yields = n->yields;
	e->n_deaths = n->deaths;
	e->n_redelivered = n->redelivered;
	e->n_quarantined = n->quarantined;
	e->n_rejected = n->rejected;
	if (e->state > BUS_EP_RETIRED)
		e->bad = "its state is none";
	else if (snap_attached(e) && (e->pid == 0 || e->pid > INT32_MAX))
		e->bad = "its pid is none";
	else if (e->recovering >= v->sizes.max_ep)
		e->bad = "it recovers an endpoint that cannot be";
	if (e->bad || (!snap_attached(e) && e->state != BUS_EP_DEAD))
		return;
	note_process(v, e, &e->proc);
	if (v->has_processes)
		snap_process(s, &e->proc, (uint32_t)(e->word >> 32),
			     e->state == BUS_EP_CLAIMING ? 0 : e->start_time);
}

static int take_eps(const struct view *v, struct snap *s,
		    const struct bus_header *h)
{
	size_t n = v->sizes.max_ep, bytes = n * sizeof(struct bus_ep);
	struct bus_ep *table = aligned_alloc(SB_FAR, bytes);
	int ret = -ENOMEM;

	s->ep = calloc(n, sizeof(*s->ep));
	if (table && s->ep)
		ret = view_read(v, v->off.ep, (void *)table, bytes);
	if (!ret) {
		s->n_eps = (uint32_t)n;
		for (uint32_t id = 1; id < n; id++) {
			s->ep[id].id = id;
			take_ep(s, &s->ep[id], &table[id], h);
			s->n_attached += snap_attached(&s->ep[id]);
		}
	}
	free(table);
	return ret;
}

const struct snap_ep *snap_ep_of(const struct snap *s, uint32_t id)
{
	return id && id < s->n_eps && snap_attached(&s->ep[id]) ? &s->ep[id]
								: NULL;
}

/* -------------------------------------------------------------- channels -- */

static const char *check_chan(const struct view *v, const struct snap_chan *c)
{
	if (c->kind < BUS_CHAN_QUEUE || c->kind > BUS_CHAN_PIPE_IDLE)
		return "its kind is none";
	if (c->off < v->off.chan || c->off % SB_FAR || c->bytes % SB_FAR ||
	    c->off - v->off.chan > v->sizes.chan_bytes ||
	    c->bytes > v->sizes.chan_bytes - (c->off - v->off.chan))
		return "it does not lie where channels do";
	return NULL;
}

static void take_chan(const struct view *v, struct snap_chan *c, uint32_t idx,
		      const struct bus_dirent *d)
{
	c->idx = idx;
	c->kind = d->kind;
	c->off = d->off;
	c->bytes = d->bytes;
	memcpy(c->name, d->name, sizeof(c->name) - 1);
	c->bad = check_chan(v, c);
}

static int take_dir(const struct view *v, struct snap *s)
{
	size_t bytes = BUS_CHANNELS_MAX * sizeof(struct bus_dirent);
	struct bus_dirent *dir = malloc(bytes);
	int ret = -ENOMEM;

	s->chan = calloc(BUS_CHANNELS_MAX, sizeof(*s->chan));
	if (dir && s->chan)
		ret = view_read(v, v->off.dir, (void *)dir, bytes);
	if (!ret)
		for (uint32_t i = 0; i < BUS_CHANNELS_MAX && dir[i].ready == 1;
		     i++, s->n_chans++)
			take_chan(v, &s->chan[i], i, &dir[i]);
	free(dir);
	return ret;
}

/* What lies in channel @c. */
static int take_inside(const struct view *v, struct snap *s,
		       struct snap_chan *c, uint32_t *n_slots_left)
{
	int ret;

	if (c->bad)
		return 0;
	if (c->kind == BUS_CHAN_PIPE || c->kind == BUS_CHAN_PIPE_IDLE)
		return snap_pipe_take(v, s, c);
	ret = snap_ring_take(v, s, c, n_slots_left);
	if (!ret && !c->bad && c->kind != BUS_CHAN_QUEUE)
		ret = snap_crew_take(v, s, c);
	return ret;
}

const struct snap_chan *snap_find(const struct snap *s, const char *name)
{
	char *end;
	unsigned long idx;

	for (uint32_t i = 0; i < s->n_chans; i++)
		if (*name && !strcmp(s->chan[i].name, name))
			return &s->chan[i];
	if (name[0] != '#' || name[1] < '0' || name[1] > '9')
		return NULL;
	idx = strtoul(name + 1, &end, 10);
	return *end || idx >= s->n_chans ? NULL : &s->chan[idx];
}

/* ----------------------------------------------------------------- cells -- */

static void count_cells(const struct sb_blob_pool *plan, struct snap_cells *c)
{
	for (uint32_t k = 0; k < plan->n_classes; k++) {
		const struct sb_blob_class *class_ = &plan->class_[k];

		for (uint32_t i = 0; i < class_->n_cells; i++) {
			c->bytes += class_->cell_bytes;
			if (!(c->owner[class_->first_cell + i] & 3))
				continue;
			c->used_bytes += class_->cell_bytes;
			c->n_used++;
		}
	}
}

/* The plan is computed from the sizes; what the segment says is for those who
 * cannot do that. */
static int take_cells(const struct view *v, struct snap_cells *c)
{
	const struct sb_blob_pool *plan = &v->off.plan;
	size_t bytes = (size_t)plan->n_cells * sizeof(*c->owner);
	uint64_t at = v->off.blob + SB_ROUND_UP(sizeof(*plan), SB_FAR);
	struct sb_blob_pool said;
	int ret = view_read(v, v->off.blob, &said, sizeof(said));

	c->owner = malloc(bytes ? bytes : 1);
	c->len = malloc(bytes ? bytes : 1);
	if (!c->owner || !c->len)
		return -ENOMEM;
	if (!ret)
		ret = view_read(v, at, c->owner, bytes);
	if (!ret)
		ret = view_read(v, at + bytes, c->len, bytes);
	if (ret)
		return ret;
	c->n_cells = plan->n_cells;
	count_cells(plan, c);
	if (memcmp(&said, plan, sizeof(said)))
		c->bad = "its classes of size are not what the sizes say";
	return 0;
}

/* ------------------------------------------------------------------ snap -- */

static int take_inner(const struct view *v, struct snap *s)
{
	uint32_t n_slots_left = SNAP_SLOTS_MAX;
	int ret = take_cells(v, &s->cells);

	for (uint32_t i = 0; !ret && i < s->n_chans; i++)
		ret = take_inside(v, s, &s->chan[i], &n_slots_left);
	return ret;
}

int snap_take(const struct view *v, bool whole, struct snap *s)
{
	struct bus_header h;
	int ret;

	*s = (struct snap){ .view = v };
	if (!view_readable(v))
		return -EPROTO;
	s->taken_ns = v->kind == VIEW_COPY ? v->taken_ns : sb_now_ns();
	ret = view_read(v, 0, (void *)&h, sizeof(h));
	if (!ret && v->other_pids)
		ret = process_names(&s->names, v->seg.pid_ns);
	if (!ret) {
		s->last_sweep_ns = h.last_sweep_ns;
		s->dir_owner = h.dir_owner;
		ret = take_eps(v, s, &h);
	}
	if (!ret)
		ret = take_dir(v, s);
	if (!ret && whole)
		ret = take_inner(v, s);
	if (ret)
		snap_free(s);
	return ret;
}

void snap_free(struct snap *s)
{
	for (uint32_t i = 0; s->chan && i < s->n_chans; i++) {
		struct snap_chan *c = &s->chan[i];

		if (c->ring)
			free(c->ring->slot);
		if (c->crew)
			free(c->crew->place);
		free(c->ring);
		free(c->pipe);
		free(c->crew);
	}
	free(s->chan);
	free(s->ep);
	free(s->cells.owner);
	free(s->cells.len);
	process_names_free(&s->names);
	*s = (struct snap){ .view = s->view };
}

/* ----------------------------------------------------------------- words -- */

#define WORD(words, i)                                                         \
	((i) < sizeof(words) / sizeof(*(words)) && (words)[i] ? (words)[i]     \
							      : "?")

const char *snap_kind_word(uint32_t kind)
{
	static const char *const words[] = {
		[BUS_CHAN_QUEUE] = "queue",
		[BUS_CHAN_REQUEST] = "requests",
		[BUS_CHAN_IDLE] = "idle",
		[BUS_CHAN_PIPE] = "pipe",
		[BUS_CHAN_PIPE_IDLE] = "idle pipe",
	};

	return WORD(words, kind);
}

const char *snap_ep_word(uint32_t state)
{
	static const char *const words[] = {
		[BUS_EP_FREE] = "free", [BUS_EP_CLAIMING] = "coming",
		[BUS_EP_LIVE] = "live", [BUS_EP_LEAVING] = "leaving",
		[BUS_EP_DEAD] = "dead", [BUS_EP_RETIRED] = "left",
	};

	return WORD(words, state);
}

const char *snap_slot_word(uint32_t state)
{
	static const char *const words[] = {
		[SNAP_FREE] = "free",
		[SNAP_WRITING] = "writing",
		[SNAP_PASSED] = "passed",
		[SNAP_WAITING] = "waiting",
		[SNAP_RETURNED] = "returned",
		[SNAP_BEHIND] = "behind",
		[SNAP_HELD] = "held",
		[SNAP_ANSWERED] = "answered",
		[SNAP_GIVEN_UP] = "given up",
		[SNAP_TOMB] = "empty",
		[SNAP_BAD] = "?",
	};

	return WORD(words, state);
}

const char *snap_side_word(uint32_t state)
{
	static const char *const words[] = {
		[BUS_SIDE_NEVER] = "not opened",
		[BUS_SIDE_MADE] = "made",
		[BUS_SIDE_RESERVED] = "handed over",
		[BUS_SIDE_OPEN] = "open",
		[BUS_SIDE_CLOSED] = "closed",
		[BUS_SIDE_DEAD] = "dead",
		[BUS_SIDE_LOST] = "lost",
	};

	return WORD(words, state);
}

const char *snap_place_word(uint32_t life)
{
	static const char *const words[] = {
		[BUS_PLACE_NONE] = "none",
		[BUS_PLACE_STARTING] = "starting",
		[BUS_PLACE_READY] = "ready",
		[BUS_PLACE_LEAVING] = "leaving",
	};

	return WORD(words, life);
}
