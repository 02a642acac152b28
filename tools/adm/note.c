/*
 * note.c - what a dump says besides the bytes of the bus
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/adm/note.h"
#include "tools/io.h"

#define NOTE_MAGIC   UINT64_C(0x0a65746f6e627301) /* \1sbnote\n */
#define NOTE_VERSION 1u

/* In the file; note_process [n_processes] follows. */
struct note_head {
	uint64_t magic;
	uint32_t version;
	uint32_t process_bytes; /* sizeof(struct note_process) */
	uint64_t taken_ns;      /* CLOCK_MONOTONIC */
	uint64_t wall_s;        /* since 1970 */
	uint32_t creator;       /* enum view_creator */
	uint32_t creator_pid;
	uint32_t n_processes;
	uint32_t no_payload;
	uint32_t quiet; /* no process could run meanwhile */
	uint32_t reserved;
};

struct note_process {
	uint32_t ep, pid, parent, state;
	uint64_t start_time, cpu_ns, rss_bytes;
	uint32_t n_threads, uid;
	char command[PROCESS_COMMAND_BYTES];
};

/* What is kept of it in a view. */
struct view_note {
	uint32_t n;
	struct note_process process[SB_EP_MAX];
};

/* ----------------------------------------------------------------- write -- */

static void fill(struct note_process *to, const struct snap_ep *ep)
{
	const struct process *p = &ep->proc;

	*to = (struct note_process){
		.ep = ep->id,
		.pid = ep->pid,
		.parent = (uint32_t)p->parent,
		.state = p->state,
		.start_time = p->start_time,
		.cpu_ns = p->cpu_ns,
		.rss_bytes = p->rss_bytes,
		.n_threads = p->n_threads,
		.uid = p->uid,
	};
	memcpy(to->command, p->command, sizeof(to->command));
}

static bool may_run(const struct process *p)
{
	return !process_is_dead(p) && !process_is_stopped(p);
}

int note_write(const struct snap *s, bool no_payload, int fd, uint64_t off)
{
	struct note_head h = { .magic = NOTE_MAGIC,
			       .version = NOTE_VERSION,
			       .process_bytes = sizeof(struct note_process),
			       .taken_ns = s->taken_ns,
			       .wall_s = (uint64_t)time(NULL),
			       .creator = s->view->creator,
			       .creator_pid = (uint32_t)s->view->creator_pid,
			       .no_payload = no_payload,
			       .quiet = 1 };
	struct note_process *all = calloc(s->n_eps, sizeof(*all));
	int ret = all ? 0 : -ENOMEM;

	for (uint32_t id = 1; all && id < s->n_eps; id++) {
		if (!snap_attached(&s->ep[id]) &&
		    s->ep[id].state != BUS_EP_DEAD)
			continue;
		h.quiet &= !may_run(&s->ep[id].proc);
		fill(&all[h.n_processes++], &s->ep[id]);
	}
	if (!ret && lseek(fd, (off_t)off, SEEK_SET) < 0)
		ret = -errno;
	if (!ret)
		ret = io_write(fd, &h, sizeof(h));
	if (!ret)
		ret = io_write(fd, all, h.n_processes * sizeof(*all));
	free(all);
	return ret;
}

/* ------------------------------------------------------------------ read -- */

static bool plausible(const struct note_head *h)
{
	return h->magic == NOTE_MAGIC && h->version == NOTE_VERSION &&
	       h->process_bytes == sizeof(struct note_process) &&
	       h->creator <= VIEW_CREATOR_DEAD && h->creator_pid <= INT32_MAX &&
	       h->n_processes <= SB_EP_MAX;
}

int note_read(struct view *v)
{
	struct note_head h;
	uint64_t off = v->seg.bytes;
	int ret = view_read(v, off, &h, sizeof(h));

	if (ret || !plausible(&h))
		return ret;
	v->note = calloc(1, sizeof(*v->note));
	if (!v->note)
		return -ENOMEM;
	v->note->n = h.n_processes;
	v->taken_ns = h.taken_ns;
	v->taken_wall_s = h.wall_s;
	v->creator = h.creator;
	v->creator_pid = (pid_t)h.creator_pid;
	v->no_payload = h.no_payload;
	v->was_quiet = h.quiet;
	return view_read(v, off + sizeof(h), v->note->process,
			 h.n_processes * sizeof(struct note_process));
}

void note_process(const struct view *v, const struct snap_ep *ep,
		  struct process *p)
{
	for (uint32_t i = 0; v->note && i < v->note->n; i++) {
		const struct note_process *from = &v->note->process[i];

		if (from->ep != ep->id || from->pid != ep->pid ||
		    from->state > PROCESS_DEAD)
			continue;
		*p = (struct process){
			.state = (enum process_state)from->state,
			.pid = (pid_t)from->pid,
			.parent = (pid_t)from->parent,
			.start_time = from->start_time,
			.cpu_ns = from->cpu_ns,
			.rss_bytes = from->rss_bytes,
			.n_threads = from->n_threads,
			.uid = from->uid,
		};
		memcpy(p->command, from->command, sizeof(p->command) - 1);
	}
}
