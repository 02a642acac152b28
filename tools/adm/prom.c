/*
 * prom.c - what a bus counts in the text format of Prometheus
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/counts.h"
#include "tools/adm/prom.h"

#define LABELS_BYTES 1536u

enum metric {
	UP,
	ORPHANED,
	ENDPOINTS,
	SEGMENT_BYTES,
	USED_BYTES,
	LARGE_BYTES,
	LARGE_USED_BYTES,
	PARKS,
	YIELDS,
	DEATHS,
	REDELIVERED,
	QUARANTINED,
	REJECTED,
	EP_PUT,
	EP_GOT,
	EP_PARKS,
	PUT,
	GOT,
	WAITING,
	HELD,
	SLOTS,
	FREE_SLOTS,
	READERS_ASLEEP,
	WRITERS_ASLEEP,
	CLOSED,
	SUBMITTED,
	TASKS,
	WORKERS,
	BUSY,
	RESPAWNS,
	WORKER_DEATHS,
	N_METRICS
};

/* clang-format off */
static const struct {
	const char *name, *type, *help;
} metrics[N_METRICS] = {
	[UP] = { "shmbus_up", "gauge",
		"1 if the bus could be read" },
	[ORPHANED] = { "shmbus_orphaned", "gauge",
		"1 if the creator of the bus is dead" },
	[ENDPOINTS] = { "shmbus_endpoints", "gauge",
		"Endpoints that are attached" },
	[SEGMENT_BYTES] = { "shmbus_segment_bytes", "gauge",
		"Size of the segment, most of which has no memory" },
	[USED_BYTES] = { "shmbus_used_bytes", "gauge",
		"Memory that the segment takes" },
	[LARGE_BYTES] = { "shmbus_large_bytes", "gauge",
		"Memory for messages larger than a slot" },
	[LARGE_USED_BYTES] = { "shmbus_large_used_bytes", "gauge",
		"The part of it that is in use" },
	[PARKS] = { "shmbus_parks_total", "counter",
		"Times that somebody went to sleep" },
	[YIELDS] = { "shmbus_yields_total", "counter",
		"Times that somebody who waited gave up the processor" },
	[DEATHS] = { "shmbus_deaths_total", "counter",
		"Endpoints that were found dead" },
	[REDELIVERED] = { "shmbus_redelivered_total", "counter",
		"Messages that the dead held and others got" },
	[QUARANTINED] = { "shmbus_quarantined_total", "counter",
		"Messages given up because too many died on them" },
	[REJECTED] = { "shmbus_rejected_total", "counter",
		"Messages dropped because they made no sense" },
	[EP_PUT] = { "shmbus_endpoint_put_total", "counter",
		"Messages, requests and results that the endpoint has put" },
	[EP_GOT] = { "shmbus_endpoint_got_total", "counter",
		"Messages, requests and results that the endpoint has got" },
	[EP_PARKS] = { "shmbus_endpoint_parks_total", "counter",
		"Times that the endpoint went to sleep" },
	[PUT] = { "shmbus_put_total", "counter",
		"Positions claimed in a ring, or messages sent in a pipe" },
	[GOT] = { "shmbus_got_total", "counter",
		"Positions taken in a ring, or messages received in a pipe" },
	[WAITING] = { "shmbus_waiting", "gauge",
		"Messages that nobody has yet" },
	[HELD] = { "shmbus_held", "gauge",
		"Messages that somebody has and has not finished" },
	[SLOTS] = { "shmbus_slots", "gauge",
		"Slots of a ring" },
	[FREE_SLOTS] = { "shmbus_free_slots", "gauge",
		"Slots of a ring that are free" },
	[READERS_ASLEEP] = { "shmbus_readers_asleep", "gauge",
		"Endpoints that sleep until there is a message" },
	[WRITERS_ASLEEP] = { "shmbus_writers_asleep", "gauge",
		"Endpoints that sleep until there is room" },
	[CLOSED] = { "shmbus_closed", "gauge",
		"1 if nothing can be put any more" },
	[SUBMITTED] = { "shmbus_submitted_total", "counter",
		"Tasks that were submitted to a pool" },
	[TASKS] = { "shmbus_tasks_total", "counter",
		"Tasks of a pool that are over, by how they ended" },
	[WORKERS] = { "shmbus_workers", "gauge",
		"Workers of a coordinator or pool" },
	[BUSY] = { "shmbus_workers_busy", "gauge",
		"Workers of a pool that are at a task" },
	[RESPAWNS] = { "shmbus_worker_respawns_total", "counter",
		"Workers that were started in place of another" },
	[WORKER_DEATHS] = { "shmbus_worker_deaths_total", "counter",
		"Workers that died" },
};

/* clang-format on */

struct prom_sample {
	enum metric metric;
	uint64_t value;
	char labels[LABELS_BYTES];
};

/* ---------------------------------------------------------------- labels -- */

/* Bytes of the character of UTF-8 at @s, or 0. */
static size_t utf8_len(const unsigned char *s)
{
	size_t n = s[0] < 0x80                   ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		   : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 &&
	    ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)))
		return 0;
	if (n == 4 &&
	    ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)))
		return 0;
	return n;
}

/* Also those beyond ASCII. */
static bool is_control(const unsigned char *s)
{
	return *s < ' ' || *s == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

/* One character at @s to @out, which takes up to 5 bytes: how many of @s. */
static size_t escape_one(char out[6], const unsigned char *s)
{
	size_t n = utf8_len(s);

	if (*s == '\n') {
		strcpy(out, "\\n");
	} else if (*s == '\\' || *s == '"') {
		sprintf(out, "\\%c", *s);
	} else if (!n || is_control(s)) {
		sprintf(out, "\\\\x%02x", *s); /* a backslash, and no byte */
		n = 1;
	} else {
		memcpy(out, s, n);
		out[n] = '\0';
	}
	return n ? n : 1;
}

char *prom_escape(char *buf, size_t size, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t at = 0;
	char one[6];

	buf[0] = '\0';
	while (*s) {
		s += escape_one(one, s);
		if (at + strlen(one) >= size)
			break;
		strcpy(buf + at, one);
		at += strlen(one);
	}
	return buf;
}

/* --------------------------------------------------------------- samples -- */

/* @more: further labels, with a comma in front; escaped. */
static void add(struct prom *p, enum metric metric, const char *bus,
		const char *more, uint64_t value)
{
	struct prom_sample *s;

	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 64;
		struct prom_sample *at = realloc(p->at, room * sizeof(*at));

		if (!at) {
			p->failed = true;
			return;
		}
		p->at = at;
		p->room = room;
	}
	s = &p->at[p->n++];
	s->metric = metric;
	s->value = value;
	snprintf(s->labels, sizeof(s->labels), "bus=\"%s\"%s", bus, more);
}

static void add_whole(struct prom *p, const char *bus, const struct snap *s)
{
	struct counts_bus n;

	counts_of_bus(s, &n);
	add(p, ENDPOINTS, bus, "", s->n_attached);
	add(p, SEGMENT_BYTES, bus, "", s->view->seg.bytes);
	if (s->view->used_bytes != UINT64_MAX)
		add(p, USED_BYTES, bus, "", s->view->used_bytes);
	if (s->view->creator != VIEW_CREATOR_UNKNOWN)
		add(p, ORPHANED, bus, "",
		    s->view->creator == VIEW_CREATOR_DEAD);
	add(p, LARGE_BYTES, bus, "", s->cells.bytes);
	add(p, LARGE_USED_BYTES, bus, "", s->cells.used_bytes);
	add(p, PARKS, bus, "", n.n_parks);
	add(p, YIELDS, bus, "", n.n_yields);
	add(p, DEATHS, bus, "", n.n_deaths);
	add(p, REDELIVERED, bus, "", n.n_redelivered);
	add(p, QUARANTINED, bus, "", n.n_quarantined);
	add(p, REJECTED, bus, "", n.n_rejected);
}

/* Of ids that are or were somebody's: the counts go on with the next one. */
static void add_eps(struct prom *p, const char *bus, const struct snap *s)
{
	char more[32];

	for (uint32_t id = 1; id < s->n_eps; id++) {
		const struct snap_ep *ep = &s->ep[id];

		if (!snap_attached(ep) && !ep->n_put && !ep->n_got)
			continue;
		snprintf(more, sizeof(more), ",endpoint=\"%u\"", id);
		add(p, EP_PUT, bus, more, ep->n_put);
		add(p, EP_GOT, bus, more, ep->n_got);
		add(p, EP_PARKS, bus, more, ep->n_parks);
	}
}

static void add_tasks(struct prom *p, const char *bus, const char *labels,
		      const char *how, uint64_t n)
{
	char more[LABELS_BYTES / 2];

	snprintf(more, sizeof(more), "%s,how=\"%s\"", labels, how);
	add(p, TASKS, bus, more, n);
}

static void add_crew(struct prom *p, const char *bus, const char *labels,
		     const struct snap_crew *crew)
{
	uint32_t n_busy, n = counts_workers(crew, &n_busy);

	add(p, WORKERS, bus, labels, n);
	add(p, RESPAWNS, bus, labels, crew->n_respawns);
	add(p, WORKER_DEATHS, bus, labels, crew->n_deaths);
	if (!crew->window)
		return; /* no pool */
	add(p, BUSY, bus, labels, n_busy);
	add(p, SUBMITTED, bus, labels, crew->n_submitted);
	add_tasks(p, bus, labels, "ok", crew->n_ok);
	add_tasks(p, bus, labels, "failed", crew->n_failed);
	add_tasks(p, bus, labels, "dead", crew->n_dead);
	add_tasks(p, bus, labels, "canceled", crew->n_canceled);
	add_tasks(p, bus, labels, "timed_out", crew->n_timed_out);
}

static void add_pipe(struct prom *p, const char *bus, const char *labels,
		     const struct snap_pipe *pipe)
{
	char more[LABELS_BYTES / 2];

	for (uint32_t i = 0; i < pipe->n_dirs; i++) {
		const struct snap_dir *d = &pipe->dir[i];

		snprintf(more, sizeof(more), "%s,from=\"%u\"", labels, i);
		add(p, PUT, bus, more, d->n_sent);
		add(p, GOT, bus, more, d->n_received);
		add(p, WAITING, bus, more, d->n_records);
		add(p, READERS_ASLEEP, bus, more, snap_count(&d->rx));
		add(p, WRITERS_ASLEEP, bus, more, snap_count(&d->tx));
	}
}

static void add_ring(struct prom *p, const char *bus, const char *labels,
		     const struct snap_chan *c)
{
	struct counts_chan n;

	counts_of_chan(c, &n);
	add(p, PUT, bus, labels, n.n_put);
	add(p, GOT, bus, labels, n.n_got);
	add(p, WAITING, bus, labels, n.n_waiting);
	add(p, HELD, bus, labels, n.n_held);
	add(p, SLOTS, bus, labels, n.n_slots);
	add(p, FREE_SLOTS, bus, labels, n.n_free);
	add(p, READERS_ASLEEP, bus, labels, n.n_rx);
	add(p, WRITERS_ASLEEP, bus, labels, n.n_tx);
	add(p, CLOSED, bus, labels, c->ring->closed);
}

/* The index tells those apart that have no name, or had the same one. */
static void add_chan(struct prom *p, const char *bus, const struct snap_chan *c)
{
	char labels[LABELS_BYTES / 4], name[5 * BUS_NAME_BYTES];

	if (c->bad || c->kind == BUS_CHAN_PIPE_IDLE)
		return;
	snprintf(labels, sizeof(labels),
		 ",channel=\"%s\",index=\"%u\",kind=\"%s\"",
		 prom_escape(name, sizeof(name), c->name), c->idx,
		 counts_kind(c));
	if (c->ring)
		add_ring(p, bus, labels, c);
	if (c->pipe)
		add_pipe(p, bus, labels, c->pipe);
	if (c->crew)
		add_crew(p, bus, labels, c->crew);
}

void prom_add_up(struct prom *p, const char *name, bool up)
{
	char bus[LABELS_BYTES / 2];

	add(p, UP, prom_escape(bus, sizeof(bus), name), "", up);
}

void prom_add(struct prom *p, const char *name, const struct snap *s)
{
	char bus[LABELS_BYTES / 2];

	prom_escape(bus, sizeof(bus), name);
	add_whole(p, bus, s);
	add_eps(p, bus, s);
	for (uint32_t i = 0; i < s->n_chans; i++)
		add_chan(p, bus, &s->chan[i]);
}

void prom_print(const struct prom *p, FILE *to)
{
	for (int m = 0; m < N_METRICS; m++) {
		bool any = false;

		for (size_t i = 0; i < p->n; i++) {
			const struct prom_sample *s = &p->at[i];

			if (s->metric != (enum metric)m)
				continue;
			if (!any)
				fprintf(to, "# HELP %s %s\n# TYPE %s %s\n",
					metrics[m].name, metrics[m].help,
					metrics[m].name, metrics[m].type);
			any = true;
			fprintf(to, "%s{%s} %" PRIu64 "\n", metrics[m].name,
				s->labels, s->value);
		}
	}
}

void prom_free(struct prom *p)
{
	free(p->at);
	*p = (struct prom){ 0 };
}
