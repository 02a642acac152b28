/*
 * cmd_list.c - busadm list: the buses of this machine
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/args.h"
#include "tools/adm/find.h"
#include "tools/adm/grid.h"
#include "tools/adm/show.h"
#include "tools/adm/text.h"

static const char help[] =
	"Usage: busadm list [OPTION...]\n"
	"The buses that this user can see: those with a name, and the unnamed "
	"ones of\n"
	"processes.\n"
	"\n"
	"      --format FORMAT  text (default) or json\n"
	"      --help           print this and exit\n";

/* What list says of a bus. */
struct line {
	struct view v;
	struct snap s;
	bool opened, taken;
	bool gone;    /* since we looked */
	bool no_file; /* a directory, a link, what has a longer name, ... */
	char why[VIEW_WHY_BYTES];
	uint32_t n_processes;
	uint64_t n_waiting;
};

/* Messages and requests in queues and rings that nobody has yet, and what is in
 * pipes. */
static uint64_t count_waiting(const struct snap *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->n_chans; i++) {
		const struct snap_chan *c = &s->chan[i];

		if (!c->bad && c->ring)
			n += snap_waiting(c->ring);
		for (uint32_t k = 0; c->pipe && k < c->pipe->n_dirs; k++)
			n += c->pipe->dir[k].n_records;
	}
	return n;
}

static const char *state_word(const struct line *l)
{
	return l->opened    ? show_state_word(&l->v)
	       : l->no_file ? "no bus"
			    : "closed to us";
}

static void look(struct line *l, const struct find_bus *b)
{
	int ret = view_open(&l->v, b->arg, l->why);

	l->n_processes = b->n_processes;
	l->opened = !ret;
	l->no_file = ret == -EINVAL || ret == -ELOOP || ret == -ENAMETOOLONG;
	l->gone = ret == -ENOENT || ret == -ESRCH;
	if (!l->opened || !view_readable(&l->v))
		return;
	l->taken = !snap_take(&l->v, true, &l->s);
	if (l->taken)
		l->n_waiting = count_waiting(&l->s);
}

static void forget(struct line *l)
{
	if (l->taken)
		snap_free(&l->s);
	if (l->opened)
		view_close(&l->v);
}

static void print_line(struct grid *g, const char *arg, const struct line *l)
{
	char name[128], bytes[32];
	const char *state = state_word(l);

	grid_cell(g, "%s", text_name(name, sizeof(name), arg));
	grid_cell(g, "%s", state);
	grid_mark(g, !strcmp(state, "live") || !strcmp(state, "unnamed")
			     ? GRID_GOOD
			     : GRID_NOTE);
	if (l->opened && (l->v.creator_pid || l->v.from))
		grid_cell(g, "%d",
			  (int)(l->v.from ? l->v.from : l->v.creator_pid));
	else
		grid_cell(g, "-");
	grid_cell(g, "%s",
		  l->opened ? text_bytes(bytes, sizeof(bytes), l->v.used_bytes)
			    : "-");
	if (!l->taken) {
		for (int i = 0; i < 3; i++)
			grid_cell(g, "-");
		return;
	}
	grid_cell(g, "%" PRIu32, l->s.n_attached);
	grid_cell(g, "%" PRIu32, l->s.n_chans);
	grid_cell(g, "%" PRIu64, l->n_waiting);
}

static json_t *json_line(const char *arg, const struct line *l)
{
	json_t *o = json_object();

	json_object_set_new(o, "bus", text_json(arg, strlen(arg)));
	json_object_set_new(o, "state", json_string(state_word(l)));
	json_object_set_new(o, "processes", json_integer(l->n_processes));
	if (!l->opened) {
		json_object_set_new(o, "why",
				    text_json(l->why, strlen(l->why)));
		return o;
	}
	if (l->v.creator_pid)
		json_object_set_new(o, "creator",
				    json_integer(l->v.creator_pid));
	if (l->v.from)
		json_object_set_new(o, "process", json_integer(l->v.from));
	if (l->v.used_bytes != UINT64_MAX)
		json_object_set_new(o, "used_bytes",
				    json_integer((json_int_t)l->v.used_bytes));
	if (l->v.health != VIEW_GOOD)
		json_object_set_new(o, "why", json_string(l->v.why));
	if (!l->taken)
		return o;
	json_object_set_new(o, "bytes",
			    json_integer((json_int_t)l->v.seg.bytes));
	json_object_set_new(o, "endpoints", json_integer(l->s.n_attached));
	json_object_set_new(o, "channels", json_integer(l->s.n_chans));
	json_object_set_new(o, "waiting",
			    json_integer((json_int_t)l->n_waiting));
	return o;
}

static int list(bool as_json)
{
	struct find_list all;
	struct grid g;
	json_t *buses = json_array(), *root;
	int ret = find_all(&all);

	if (ret) {
		json_decref(buses);
		return adm_error("cannot look for buses: %s", strerror(-ret));
	}
	grid_init(&g, "BUS|STATE|>PID|>USED|>ENDPOINTS|>CHANNELS|>WAITING");
	for (size_t i = 0; i < all.n; i++) {
		struct line *l = calloc(1, sizeof(*l));

		if (!l) {
			ret = -ENOMEM;
			break;
		}
		look(l, &all.bus[i]);
		if (l->gone)
			;
		else if (as_json)
			json_array_append_new(buses,
					      json_line(all.bus[i].arg, l));
		else
			print_line(&g, all.bus[i].arg, l);
		forget(l);
		free(l);
	}
	if (as_json) {
		root = json_object();
		json_object_set_new(root, "schema", json_integer(1));
		json_object_set(root, "buses", buses);
		text_print_json(root);
	} else {
		grid_print(&g, 0);
	}
	json_decref(buses);
	grid_free(&g);
	find_free(&all);
	if (ret)
		return adm_error("cannot look at all buses: %s",
				 strerror(-ret));
	return ADM_OK;
}

int cmd_list(int argc, char **argv)
{
	static const struct option options[] = { ARGS_COMMON };
	struct args args = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1)
		if (args_common(&args, c, argv, help))
			return args.status;
	if (!args_count(&args, argc, argv, 0, 0, ""))
		return args.status;
	return list(args.json);
}
