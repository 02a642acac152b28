/*
 * findings_pipe.c - pipes: who sleeps beside what he waits for, and whose other
 * side is gone without a word
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "bus/pipe_side.h"
#include "tools/adm/finding.h"
#include "tools/adm/text.h"

/* One direction of a pipe in both snaps. */
struct flow {
	const struct look *l;
	const struct snap_chan *c;
	const struct snap_pipe *was_pipe, *pipe;
	const struct snap_dir *was, *now;
	uint32_t from; /* side */
};

static bool still(const struct flow *d)
{
	return d->was->n_sent == d->now->n_sent &&
	       d->was->n_received == d->now->n_received &&
	       d->was->lap == d->now->lap && d->was->at == d->now->at &&
	       d->was->released == d->now->released;
}

/* The endpoint of @side, if it was that before; or 0. */
static uint32_t ep_of(const struct flow *d, uint32_t side)
{
	const struct snap_side *now = &d->pipe->side[side];

	return d->was_pipe->side[side].word == now->word ? now->ep : 0;
}

static void say_asleep(const struct flow *d, enum finding_severity severity,
		       uint32_t id, const char *rule, const char *beside)
{
	struct finding *f = look_say(d->l, severity, rule, d->c);
	const struct snap_ep *ep = &d->l->now->ep[id];

	finding_what(f, "it is asleep beside %s", beside);
	finding_who(f, ep);
	finding_remedy(f,
		       "a wake was lost, and it does not look by itself; "
		       "kill -KILL %u tells the other side that it is dead",
		       ep->pid);
}

static void find_asleep_reader(const struct flow *d)
{
	enum finding_severity severity = FINDING_WARNING;
	uint32_t id = ep_of(d, 1 - d->from);
	char beside[64];

	if (!id || !still(d) || !d->was->n_records || !d->now->n_records ||
	    !look_both(&d->was->rx, &d->now->rx, id) || !look_asleep(d->l, id))
		return;
	if (!look_lasted(d->l, FINDING_ASLEEP_NS, &severity))
		return;
	snprintf(beside, sizeof(beside), "%" PRIu64 " record%s",
		 d->now->n_records, text_s(d->now->n_records));
	say_asleep(d, severity, id, "asleep-reader", beside);
}

static void say_full(const struct flow *d, enum finding_severity severity,
		     uint32_t reader)
{
	struct finding *f = look_say(d->l, severity, "full", d->c);

	finding_what(f,
		     "the direction from side %u is full, its writer is "
		     "asleep, and %s has not received for a while",
		     d->from, reader ? "this one" : "nobody");
	if (reader)
		finding_who(f, &d->l->now->ep[reader]);
	else
		finding_remedy(f, "somebody should open side %u", 1 - d->from);
}

/* Nobody reads, for whatever reason; its writer waits. */
static void find_full(const struct flow *d)
{
	enum finding_severity severity = FINDING_NOTE;
	uint32_t writer = ep_of(d, d->from), reader = ep_of(d, 1 - d->from);

	if (!writer || !still(d) || !d->was->full || !d->now->full ||
	    !look_both(&d->was->tx, &d->now->tx, writer))
		return;
	if (!d->was->n_records && !d->now->n_records) {
		severity = FINDING_WARNING;
		if (look_asleep(d->l, writer) &&
		    look_lasted(d->l, FINDING_ASLEEP_NS, &severity))
			say_asleep(d, severity, writer, "asleep-writer",
				   "a pipe that is empty");
		return;
	}
	if (reader && look_stopped(d->l, reader))
		return; /* that has a finding of its own */
	if (d->pipe->side[1 - d->from].state == BUS_SIDE_NEVER)
		severity = FINDING_WARNING;
	if (!look_lasted(d->l, FINDING_ASLEEP_NS, &severity))
		return;
	say_full(d, severity, reader);
}

/* A process was given a side and died before it came. */
static void find_dead_heir(const struct look *l, const struct snap_chan *c,
			   const struct snap_side *was,
			   const struct snap_side *now, uint32_t side)
{
	const struct snap_ep *peer =
		snap_ep_of(l->now, c->pipe->side[1 - side].ep);
	enum finding_severity severity = FINDING_NOTE;
	struct process p;
	struct finding *f;

	if (now->state != BUS_SIDE_RESERVED || was->word != now->word ||
	    !l->now->view->has_processes || !peer ||
	    process_is_dead(&peer->proc))
		return;
	snap_process(l->now, &p, now->word_pid, now->start_time);
	if (!process_is_dead(&p) ||
	    !look_lasted(l, FINDING_LONGEST_NS, &severity))
		return;
	f = look_say(l, severity, "dead-heir", c);
	finding_what(f,
		     "side %u was handed to a process that is dead, and "
		     "nobody has noticed",
		     side);
	f->pid = (pid_t)now->pid;
	finding_remedy(f, "the other side learns of it when any endpoint "
			  "waits on the bus");
}

static void find_flows(const struct look *l, const struct snap_chan *c,
		       const struct snap_chan *was)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct flow d = { .l = l,
				  .c = c,
				  .was_pipe = was->pipe,
				  .pipe = c->pipe,
				  .from = i };

		find_dead_heir(l, c, &was->pipe->side[i], &c->pipe->side[i], i);
		if (i >= c->pipe->n_dirs || i >= was->pipe->n_dirs)
			continue;
		d.was = &was->pipe->dir[i];
		d.now = &c->pipe->dir[i];
		if (d.was->bad || d.now->bad)
			continue;
		find_asleep_reader(&d);
		find_full(&d);
	}
}

void find_pipes(const struct look *l)
{
	for (uint32_t i = 0; i < l->now->n_chans; i++) {
		const struct snap_chan *c = &l->now->chan[i];
		const struct snap_chan *was = look_was(l, c);

		if (was && c->kind == BUS_CHAN_PIPE && !c->bad && !was->bad &&
		    c->pipe && was->pipe)
			find_flows(l, c, was);
	}
}
