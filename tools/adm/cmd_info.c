/*
 * cmd_info.c - busadm info: a bus, and its channels
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/proc.h"
#include "tools/adm/args.h"
#include "tools/adm/finding_show.h"
#include "tools/adm/show.h"
#include "tools/adm/text.h"
#include "tools/colour.h"

static const char help[] = "Usage: busadm info [OPTION...] BUS\n"
			   "The bus, each of its channels, and what is "
			   "wrong.\n"
			   "\n"
			   "      --format FORMAT  text (default) or json\n"
			   "      --help           print this and exit\n";

/* ------------------------------------------------------------------ text -- */

/* Was that process met before this endpoint? */
static bool is_known(const struct snap *s, uint32_t id)
{
	for (uint32_t i = 1; i < id; i++)
		if (snap_attached(&s->ep[i]) && s->ep[i].pid == s->ep[id].pid)
			return true;
	return false;
}

/* Of the processes that are attached and that we may look into, those that have
 * an io_uring, which is how some sleep. */
struct rings {
	uint32_t n, of;
};

static struct rings count_rings(const struct snap *s)
{
	struct rings r = { 0 };

	for (uint32_t id = 1; id < s->n_eps; id++) {
		int has;

		if (!snap_attached(&s->ep[id]) || !s->view->has_processes ||
		    process_is_dead(&s->ep[id].proc) || is_known(s, id))
			continue;
		has = process_has_ring(s->ep[id].proc.pid);
		r.of += has >= 0;
		r.n += has > 0;
	}
	return r;
}

static void print_bus(const struct snap *s)
{
	const struct view *v = s->view;
	struct rings rings = count_rings(s);
	char a[SHOW_BYTES], b[SHOW_BYTES], c[SHOW_BYTES];

	printf("bus        %s\n", text_name(a, sizeof(a), v->name));
	printf("state      %s\n", show_state(a, v));
	printf("memory     %s in use, %s at most\n",
	       text_bytes(a, sizeof(a), v->used_bytes),
	       text_bytes(b, sizeof(b), v->seg.bytes));
	printf("messages   up to %s; %s of %s for large ones in use\n",
	       text_bytes(a, sizeof(a), v->sizes.max_message_bytes),
	       text_bytes(b, sizeof(b), s->cells.used_bytes),
	       text_bytes(c, sizeof(c), s->cells.bytes));
	printf("endpoints  %" PRIu32 " of %" PRIu32 "\n", s->n_attached,
	       v->sizes.max_ep - 2); /* nobody, and the spare */
	printf("barriers   %s\n",
	       v->sizes.asym ? "membarrier(2), by who sleeps" : "fences");
	if (rings.of)
		printf("io_uring   in %" PRIu32 " of %" PRIu32 " process%s\n",
		       rings.n, rings.of, rings.of == 1 ? "" : "es");
	if (v->other_pids)
		printf("processes  in another pid namespace, %s\n",
		       v->has_processes ? "called here as they are here"
					: "where we cannot see them");
	if (s->dir_owner)
		printf("directory  endpoint %" PRIu32 " adds a channel\n",
		       s->dir_owner);
	if (s->cells.bad)
		printf("cells      %s\n", s->cells.bad);
}

/* What there is to say besides the numbers. */
static const char *ring_state(char *buf, const struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;

	snprintf(buf, SHOW_BYTES, "%s",
		 c->kind == BUS_CHAN_IDLE ? "of nobody"
		 : r->aborted             ? "aborted"
		 : r->closed              ? "closed"
					  : "open");
	if (c->kind == BUS_CHAN_REQUEST && !r->coord)
		strcat(buf, ", its coordinator is gone");
	if (r->n[SNAP_WRITING] + r->n[SNAP_PASSED])
		sprintf(buf + strlen(buf), ", %" PRIu32 " being written",
			r->n[SNAP_WRITING] + r->n[SNAP_PASSED]);
	if (r->n[SNAP_GIVEN_UP])
		sprintf(buf + strlen(buf), ", %" PRIu32 " given up",
			r->n[SNAP_GIVEN_UP]);
	if (r->n[SNAP_BAD] || r->bad)
		sprintf(buf + strlen(buf), ", damaged");
	return buf;
}

static void add_number(struct grid *g, uint64_t n)
{
	if (n)
		grid_cell(g, "%" PRIu64, n);
	else
		grid_cell(g, "-");
}

static void add_ring(struct grid *g, const struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;
	char a[SHOW_BYTES], b[SHOW_BYTES];

	grid_cell(g, "%" PRIu32 " x %s", r->n_slots,
		  text_bytes(a, sizeof(a), r->payload_bytes));
	add_number(g, snap_waiting(r));
	add_number(g, snap_held(r));
	add_number(g, r->n[SNAP_ANSWERED]);
	grid_cell(g, "%" PRIu32, r->n[SNAP_FREE]);
	show_sleepers(a, c);
	grid_cell(g, "%s", *a ? a : "-");
	grid_cell(g, "%s", ring_state(b, c));
}

static void add_side(char *buf, const struct snap *s, const struct snap_pipe *p,
		     int i)
{
	const struct snap_side *side = &p->side[i];
	struct process proc;

	show_side_process(s, side, &proc);
	sprintf(buf + strlen(buf), "%s%d %s", i ? "; " : "", i,
		snap_side_word(side->state));
	if (side->pid && (process_is_dead(&proc) || process_is_stopped(&proc)))
		sprintf(buf + strlen(buf), " (pid %" PRIu32 ", %s)", side->pid,
			process_word(proc.state));
	else if (side->pid)
		sprintf(buf + strlen(buf), " (pid %" PRIu32 ")", side->pid);
}

static void add_dir(struct grid *g, const struct snap *s,
		    const struct snap_pipe *p, uint32_t i)
{
	const struct snap_dir *d = &p->dir[i];
	char a[SHOW_BYTES], sides[SHOW_BYTES] = "";

	grid_cell(g, "2 x %s", text_bytes(a, sizeof(a), p->slot_bytes));
	add_number(g, d->n_records);
	grid_cell(g, "-");
	grid_cell(g, "-");
	grid_cell(g, "-");
	show_dir_sleepers(a, d);
	grid_cell(g, "%s", *a ? a : "-");
	if (d->bad) {
		grid_cell(g, "damaged: %s", d->bad);
		return;
	}
	add_side(sides, s, p, 0);
	add_side(sides, s, p, 1);
	grid_cell(g, "%s", i ? "" : sides);
}

static void add_pipe(struct grid *g, const struct snap *s,
		     const struct snap_chan *c, const char *name)
{
	const struct snap_pipe *p = c->pipe;

	for (uint32_t i = 0; i < p->n_dirs; i++) {
		grid_cell(g, "%s", i ? "" : name);
		grid_cell(g, "pipe, %s", i ? "1 to 0" : "0 to 1");
		add_dir(g, s, p, i);
	}
	if (p->n_dirs)
		return;
	grid_cell(g, "%s", name);
	grid_cell(g, "pipe");
	for (int i = 0; i < 6; i++)
		grid_cell(g, "-");
	grid_cell(g, "of nobody");
}

static void add_channel(struct grid *g, const struct snap *s,
			const struct snap_chan *c)
{
	char name[SHOW_BYTES];

	show_channel(name, c);
	if (!c->bad && c->pipe) {
		add_pipe(g, s, c, name);
		return;
	}
	grid_cell(g, "%s", name);
	grid_cell(g, "%s",
		  c->crew && c->crew->n_submitted ? "pool"
						  : snap_kind_word(c->kind));
	if (!c->bad) {
		add_ring(g, c);
		return;
	}
	for (int i = 0; i < 6; i++)
		grid_cell(g, "-");
	grid_cell(g, "%s: %s", c->unread ? "not read" : "damaged", c->bad);
	grid_mark(g, c->unread ? GRID_NOTE : GRID_BAD);
}

static void print_info(const struct snap *s)
{
	struct grid g;

	print_bus(s);
	if (!s->n_chans) {
		printf("channels   none\n");
		return;
	}
	putchar('\n');
	grid_init(&g, "CHANNEL|KIND|>SLOTS|>WAITING|>HELD|>ANSWERED|>FREE|"
		      "ASLEEP|STATE");
	for (uint32_t i = 0; i < s->n_chans; i++)
		add_channel(&g, s, &s->chan[i]);
	grid_print(&g, 0);
	grid_free(&g);
}

static void print_findings(const struct findings *found)
{
	if (!found->n)
		return;
	putchar('\n');
	findings_print(found, stdout, 0, colour_wanted());
}

/* ------------------------------------------------------------------ JSON -- */

static json_t *json_info(const struct snap *s, const struct findings *found)
{
	const struct view *v = s->view;
	json_t *o = show_json_bus(v), *channels = json_array();
	struct rings rings = count_rings(s);

	show_json_number(o, "bytes", v->seg.bytes);
	if (v->used_bytes != UINT64_MAX)
		show_json_number(o, "used_bytes", v->used_bytes);
	show_json_number(o, "max_message_bytes", v->sizes.max_message_bytes);
	show_json_number(o, "cell_bytes", s->cells.bytes);
	show_json_number(o, "used_cell_bytes", s->cells.used_bytes);
	show_json_number(o, "endpoints", s->n_attached);
	show_json_number(o, "max_endpoints", v->sizes.max_ep - 2);
	json_object_set_new(o, "membarrier", json_boolean(v->sizes.asym));
	if (rings.of)
		show_json_number(o, "io_uring", rings.n);
	show_json_number(o, "pid_namespace", v->seg.pid_ns);
	show_json_number(o, "time_namespace", v->seg.time_ns);
	json_object_set_new(o, "sees_processes",
			    json_boolean(v->has_processes));
	for (uint32_t i = 0; i < s->n_chans; i++)
		json_array_append_new(channels,
				      show_json_channel(s, &s->chan[i]));
	json_object_set_new(o, "channels", channels);
	json_object_set_new(o, "findings", findings_json(found));
	return o;
}

int cmd_info(int argc, char **argv)
{
	struct args args = { 0 };
	struct findings found;
	struct view v;
	struct snap s;
	int status;

	if (args_bus(&args, argc, argv, help))
		return args.status;
	status = show_open(argv[optind], &v, &s);
	if (status)
		return status;
	if (!args.json) {
		print_info(&s);
		fflush(stdout); /* what is wrong takes some looks */
	}
	/* Without memory there are none. */
	findings_of(&v, FINDING_APART_NS, FINDING_LONG_NS, &found);
	if (args.json)
		text_print_json(json_info(&s, &found));
	else
		print_findings(&found);
	findings_free(&found);
	show_close(&v, &s);
	return ADM_OK;
}
