/*
 * findings_exec.c - endpoints whose process is another program by now
 *
 * An exec keeps the pid and the start time, so nobody will ever find such an
 * endpoint dead, and what it held stays where it is.  But the bus is not mapped
 * any more, which /proc/PID/maps tells to who may look there.
 *
 * Between the look at the bus and that at the maps the endpoint may have left
 * in good order, or its process have died: so both are asked once more.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "tools/adm/finding.h"

/* Has it the file of @v mapped?  1, 0, or -1: nobody tells. */
static int has_mapped(const struct view *v, pid_t pid)
{
	char path[64], *line = NULL;
	unsigned major, minor;
	unsigned long ino;
	int has = -1;
	size_t room = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	/* One that is dying has no maps at all. */
	while (has != 1 && getline(&line, &room, f) > 0) {
		has = 0;
		if (sscanf(line, "%*x-%*x %*4s %*x %x:%x %lu", &major, &minor,
			   &ino) == 3 &&
		    ino == v->ino && makedev(major, minor) == v->dev)
			has = 1;
	}
	if (ferror(f))
		has = -1;
	free(line);
	fclose(f);
	return has;
}

static bool is_still(const struct view *v, const struct snap_ep *ep)
{
	uint64_t word = 0;
	struct process p;

	if (view_read(v,
		      v->off.ep + ep->id * sizeof(struct bus_ep) +
			      offsetof(struct bus_ep, state),
		      &word, sizeof(word)) ||
	    word != ep->word)
		return false;
	process_read(&p, ep->proc.pid, ep->proc.start_time);
	return p.state != PROCESS_UNKNOWN && !process_is_dead(&p);
}

static void say_exec(const struct look *l, const struct snap_ep *ep)
{
	char has[FINDING_HAS_BYTES];
	struct finding *f;

	if (!is_still(l->now->view, ep) ||
	    has_mapped(l->now->view, ep->proc.pid))
		return;
	look_holdings(l, ep->id, has);
	f = look_say(l, FINDING_WARNING, "exec", NULL);
	finding_what(f,
		     "its process runs another program now, so that nobody "
		     "will find it dead%s%s",
		     *has ? "; it " : "", has);
	finding_who(f, ep);
	finding_remedy(f,
		       "kill -KILL %u; a process that attaches should close "
		       "the bus before it calls exec",
		       ep->pid);
}

void find_exec(const struct look *l)
{
	uint8_t suspects[SB_EP_MAX + 1];
	uint32_t n = 0;
	bool any = false;

	if (l->single || !l->now->view->has_processes)
		return;
	for (uint32_t id = 1; id < l->now->n_eps; id++) {
		const struct snap_ep *ep = &l->now->ep[id];
		int has;

		if (ep->state != BUS_EP_LIVE || ep->bad ||
		    !look_ep_was(l, id) || !ep->proc.start_time ||
		    process_is_dead(&ep->proc))
			continue;
		has = has_mapped(l->now->view, ep->proc.pid);
		any |= has == 1;
		if (!has)
			suspects[n++] = (uint8_t)id;
	}
	/* If nobody has it, maps and stat(2) do not call it the same, as on
	 * file systems that lie on others. */
	for (uint32_t i = 0; any && i < n; i++)
		say_exec(l, &l->now->ep[suspects[i]]);
}
