/*
 * cmd_inspect.c - busadm inspect: one channel, slot by slot
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/adm/args.h"
#include "tools/adm/show.h"
#include "tools/adm/text.h"

static const char help[] =
	"Usage: busadm inspect [OPTION...] BUS CHANNEL [POSITION]\n"
	"A queue or request ring slot by slot, or the one with that position; "
	"of a pool\n"
	"also its workers; of a pipe its ends and what was sent.  CHANNEL is a "
	"name, or '#'\n"
	"and an index.\n"
	"\n"
	"      --all            free slots, too, and not the oldest messages "
	"alone\n"
	"      --hex            the whole message, byte by byte; needs a "
	"POSITION\n"
	"      --format FORMAT  text (default) or json\n"
	"      --help           print this and exit\n";

#define EXCERPT 40  /* bytes of each message */
#define OLDEST  200 /* slots that are shown, unless all are wanted */

struct options {
	struct args args;
	bool all, hex, has_pos;
	uint64_t pos;
};

/* ----------------------------------------------------------------- slots -- */

/* Those that are shown, by position. */
struct slots {
	const struct snap_slot **at;
	uint32_t n;
};

static int by_position(const void *a, const void *b)
{
	const struct snap_slot *x = *(const struct snap_slot *const *)a;
	const struct snap_slot *y = *(const struct snap_slot *const *)b;

	return snap_pos_cmp(x->pos, y->pos);
}

static int pick(const struct snap_ring *r, const struct options *opt,
		struct slots *slots)
{
	slots->n = 0;
	slots->at = calloc(r->n_slots, sizeof(struct snap_slot *));
	if (!slots->at)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n_slots; i++) {
		const struct snap_slot *slot = &r->slot[i];

		if (opt->has_pos ? slot->pos == opt->pos
				 : opt->all || slot->state != SNAP_FREE)
			slots->at[slots->n++] = slot;
	}
	qsort(slots->at, slots->n, sizeof(*slots->at), by_position);
	return 0;
}

/* The beginning of the message. */
static char *excerpt(char *buf, const struct snap *s, const struct snap_chan *c,
		     const struct snap_slot *slot)
{
	unsigned char bytes[EXCERPT];
	ssize_t n = snap_message(s, c, slot, bytes, sizeof(bytes));

	if (slot->bad)
		snprintf(buf, SHOW_BYTES, "%s", slot->bad);
	else if (n >= 0)
		show_bytes(buf, bytes, (size_t)n,
			   (uint64_t)n < slot->len_bytes);
	else
		*buf = '\0';
	return buf;
}

/* ------------------------------------------------------------------ text -- */

/* "2 (pid 4711, stopped)" */
static void add_who(struct grid *g, const struct snap *s, uint32_t id)
{
	const struct snap_ep *e = id && id < s->n_eps ? &s->ep[id] : NULL;

	if (!e) {
		grid_cell(g, "-");
	} else if (e->proc.state == PROCESS_UNKNOWN) {
		grid_cell(g, "%" PRIu32 " (pid %" PRIu32 ")", id, e->pid);
	} else {
		grid_cell(g, "%" PRIu32 " (pid %" PRIu32 ", %s)", id, e->pid,
			  process_word(e->proc.state));
		grid_mark(g, show_mark(&e->proc));
	}
}

static void add_slot(struct grid *g, const struct snap *s,
		     const struct snap_chan *c, const struct snap_slot *slot)
{
	char text[SHOW_BYTES];
	bool has = slot->state >= SNAP_WAITING && slot->state <= SNAP_GIVEN_UP;

	grid_cell(g, "%" PRIu64, slot->pos);
	grid_cell(g, "%s%s", snap_slot_word(slot->state),
		  slot->is_error ? ", error" : "");
	if (slot->state == SNAP_BAD)
		grid_mark(g, GRID_BAD);
	else if (slot->state != SNAP_WAITING)
		grid_mark(g, GRID_NOTE);
	add_who(g, s, slot->writer);
	add_who(g, s, slot->holder);
	if (slot->attempts)
		grid_cell(g, "%u", slot->attempts);
	else
		grid_cell(g, "-");
	if (has)
		grid_cell(g, "%" PRIu64, slot->len_bytes);
	else
		grid_cell(g, "-");
	grid_cell(g, "%s", excerpt(text, s, c, slot));
}

static void print_slots(const struct snap *s, const struct snap_chan *c,
			const struct slots *slots, bool all)
{
	uint32_t n = slots->n > OLDEST && !all ? OLDEST : slots->n;
	struct grid g;

	grid_init(&g, ">POSITION|STATE|WRITER|HOLDER|>DEATHS|>BYTES|<MESSAGE");
	for (uint32_t i = 0; i < n; i++)
		add_slot(&g, s, c, slots->at[i]);
	grid_print(&g, 0);
	grid_free(&g);
	if (n < slots->n)
		printf("... and %" PRIu32 " more; --all shows them\n",
		       slots->n - n);
}

static void print_ring(const struct snap *s, const struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;
	char text[SHOW_BYTES];

	printf("slots     %" PRIu32 " of %" PRIu32 " bytes%s\n", r->n_slots,
	       r->payload_bytes,
	       r->ring_flags & SB_RING_STRICT ? ", in strict order" : "");
	printf("next      take %" PRIu64 ", put %" PRIu64 "%s\n", r->head,
	       r->tail,
	       r->aborted  ? "; aborted"
	       : r->closed ? "; closed"
			   : "");
	printf("messages  %" PRIu32 " waiting, %" PRIu32 " held",
	       snap_waiting(r), snap_held(r));
	if (c->kind != BUS_CHAN_QUEUE)
		printf(", %" PRIu32 " answered", r->n[SNAP_ANSWERED]);
	printf(", %" PRIu32 " free\n", r->n[SNAP_FREE]);
	show_sleepers(text, c);
	printf("asleep    %s\n", *text ? text : "nobody");
	if (c->kind == BUS_CHAN_REQUEST && r->coord)
		printf("owner     endpoint %" PRIu32 ", pid %" PRIu32 "\n",
		       r->coord, s->ep[r->coord].pid);
	else if (c->kind == BUS_CHAN_REQUEST)
		printf("owner     gone\n");
	if (r->bad)
		printf("damaged   %s\n", r->bad);
}

static void add_place(struct grid *g, const struct snap *s,
		      const struct snap_place *p, uint32_t idx)
{
	char a[SHOW_BYTES];

	grid_cell(g, "%" PRIu32, idx);
	grid_cell(g, "%" PRIu32, p->pid);
	grid_cell(g, "%s", process_word(p->proc.state));
	grid_mark(g, show_mark(&p->proc));
	grid_cell(g, "%s%s", snap_place_word(p->life),
		  p->doomed ? ", doomed"
		  : p->told ? ", told to stop"
			    : "");
	if (p->word) {
		grid_cell(g, "%" PRIu64, p->task);
		grid_cell(g, "%" PRIu32, p->handler);
		grid_cell(g, "%s",
			  text_span(a, sizeof(a), show_age(s, p->since_ns)));
	} else {
		grid_cell(g, "-");
		grid_cell(g, "-");
		grid_cell(g, "-");
	}
	grid_cell(g, "%" PRIu64, p->n_done);
	grid_cell(g, "%" PRIu32, p->n_deaths);
	grid_cell(g, "%s", text_name(a, sizeof(a), p->proc.command));
}

static void print_crew(const struct snap *s, const struct snap_crew *w)
{
	struct grid g;
	char text[4 * BUS_INIT_ERROR + 1];

	if (w->n_submitted)
		printf("tasks     %" PRIu64 " submitted: %" PRIu64
		       " ok, %" PRIu64 " failed, %" PRIu64 " dead, %" PRIu64
		       " canceled, %" PRIu64 " late\n",
		       w->n_submitted, w->n_ok, w->n_failed, w->n_dead,
		       w->n_canceled, w->n_timed_out);
	printf("workers   %" PRIu32 " wanted, %" PRIu32 " at most, %" PRIu64
	       " died\n",
	       w->n_wanted, w->n_places, w->n_deaths);
	if (w->init_error[0])
		printf("init said %s\n",
		       text_name(text, sizeof(text), w->init_error));
	grid_init(&g, ">WORKER|>PID|STATE|LIFE|>TASK|>HANDLER|>FOR|>DONE|"
		      ">DEATHS|<COMMAND");
	for (uint32_t i = 0; i < w->n_places; i++)
		if (w->place[i].pid || w->place[i].life || w->place[i].n_deaths)
			add_place(&g, s, &w->place[i], i);
	putchar('\n');
	grid_print(&g, 0);
	grid_free(&g);
}

static void add_side(struct grid *g, const struct snap *s,
		     const struct snap_pipe *pipe, int i)
{
	const struct snap_side *side = &pipe->side[i];
	char command[SHOW_BYTES];
	struct process p;

	show_side_process(s, side, &p);
	grid_cell(g, "%d", i);
	grid_cell(g, "%s%s",
		  side->bad ? side->bad : snap_side_word(side->state),
		  side->half ? ", a writer died here" : "");
	if (side->bad || side->state == BUS_SIDE_DEAD)
		grid_mark(g, GRID_BAD);
	grid_cell(g, "%s",
		  side->no_tx && side->no_rx ? "-"
		  : side->no_tx              ? "receives"
		  : side->no_rx              ? "sends"
					     : "both");
	if (side->ep)
		grid_cell(g, "%" PRIu32, side->ep);
	else
		grid_cell(g, "-");
	if (side->pid)
		grid_cell(g, "%" PRIu32, side->pid);
	else
		grid_cell(g, "-");
	grid_cell(g, "%s",
		  p.state == PROCESS_UNKNOWN ? "-" : process_word(p.state));
	grid_mark(g, show_mark(&p));
	grid_cell(g, "%s", text_name(command, sizeof(command), p.command));
}

static void add_dir(struct grid *g, const struct snap_pipe *p, uint32_t i)
{
	const struct snap_dir *d = &p->dir[i];
	char a[SHOW_BYTES];

	grid_cell(g, "%u to %u", i, 1 - i);
	grid_cell(g, "%" PRIu64, d->n_sent);
	grid_cell(g, "%" PRIu64, d->n_received);
	grid_cell(g, "%" PRIu64, d->n_records);
	grid_cell(g, "%s", text_bytes(a, sizeof(a), d->n_bytes));
	grid_cell(g, "%s", text_bytes(a, sizeof(a), d->cap));
	show_dir_sleepers(a, d);
	grid_cell(g, "%s", *a ? a : "-");
	grid_cell(g, "%s",
		  d->bad             ? d->bad
		  : d->full          ? "full"
		  : d->has_fragments ? "in parts"
				     : "");
	if (d->bad)
		grid_mark(g, GRID_BAD);
}

static void print_pipe(const struct snap *s, const struct snap_chan *c)
{
	const struct snap_pipe *p = c->pipe;
	char a[SHOW_BYTES];
	struct grid g;

	printf("slots     2 of %s in each direction%s\n\n",
	       text_bytes(a, sizeof(a), p->slot_bytes),
	       p->simplex ? ", of which there is one" : "");
	grid_init(&g, ">SIDE|STATE|MAY|>ENDPOINT|>PID|PROCESS|<COMMAND");
	for (int i = 0; i < 2; i++)
		add_side(&g, s, p, i);
	grid_print(&g, 0);
	grid_free(&g);
	if (!p->n_dirs)
		return;
	putchar('\n');
	grid_init(&g, "FROM|>SENT|>RECEIVED|>WAITING|>BYTES|>SLOT|ASLEEP|");
	for (uint32_t i = 0; i < p->n_dirs; i++)
		add_dir(&g, p, i);
	grid_print(&g, 0);
	grid_free(&g);
}

/* As hexdump -C. */
static void print_hex(const unsigned char *b, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		size_t len = n - i < 16 ? n - i : 16;

		printf("%08zx ", i);
		for (size_t k = 0; k < 16; k++) {
			if (k % 8 == 0)
				putchar(' ');
			if (k < len)
				printf("%02x ", b[i + k]);
			else
				fputs("   ", stdout);
		}
		fputs(" |", stdout);
		for (size_t k = 0; k < len; k++)
			putchar(b[i + k] < 0x7f && isprint(b[i + k]) ? b[i + k]
								     : '.');
		puts("|");
	}
}

/* All of a message, on the heap: NULL if there is none. */
static unsigned char *read_message(const struct snap *s,
				   const struct snap_chan *c,
				   const struct snap_slot *slot, size_t *n)
{
	unsigned char *b;
	ssize_t ret;

	if (slot->bad ||
	    slot->len_bytes > s->view->sizes.max_message_bytes + SB_LEN_MAX)
		return NULL;
	b = malloc(slot->len_bytes + 1);
	ret = b ? snap_message(s, c, slot, b, slot->len_bytes) : -ENOMEM;
	if (ret < 0) {
		free(b);
		return NULL;
	}
	*n = (size_t)ret;
	return b;
}

static void print_message(const struct snap *s, const struct snap_chan *c,
			  const struct snap_slot *slot)
{
	unsigned char *b;
	size_t n;

	b = read_message(s, c, slot, &n);
	if (!b)
		return;
	if (n)
		putchar('\n');
	print_hex(b, n);
	free(b);
}

static void print_channel(const struct snap *s, const struct snap_chan *c,
			  const struct slots *slots, const struct options *opt)
{
	char name[SHOW_BYTES];

	if (opt->has_pos) {
		print_slots(s, c, slots, true);
		for (uint32_t i = 0; opt->hex && i < slots->n; i++)
			print_message(s, c, slots->at[i]);
		return;
	}
	printf("channel   %s, %s, #%" PRIu32 "\n", show_channel(name, c),
	       snap_kind_word(c->kind), c->idx);
	if (c->pipe) {
		print_pipe(s, c);
		return;
	}
	print_ring(s, c);
	if (c->crew)
		print_crew(s, c->crew);
	if (slots->n) {
		putchar('\n');
		print_slots(s, c, slots, opt->all);
	}
}

/* ------------------------------------------------------------------ JSON -- */

static json_t *json_slot(const struct snap *s, const struct snap_chan *c,
			 const struct snap_slot *slot,
			 const struct options *opt)
{
	json_t *o = show_json_slot(slot);
	unsigned char excerpt_of[EXCERPT], *all = NULL;
	const unsigned char *b = excerpt_of;
	char digits[3];
	size_t n = 0;
	json_t *hex = json_string("");
	char *text;
	ssize_t ret;

	if (opt->hex) {
		all = read_message(s, c, slot, &n);
		b = all;
	} else {
		ret = snap_message(s, c, slot, excerpt_of, sizeof(excerpt_of));
		n = ret > 0 ? (size_t)ret : 0;
	}
	text = malloc(2 * n + 1);
	if (text && b && n) {
		for (size_t i = 0; i < n; i++) {
			snprintf(digits, sizeof(digits), "%02x", b[i]);
			memcpy(text + 2 * i, digits, 2);
		}
		text[2 * n] = '\0';
		json_string_set(hex, text);
	}
	json_object_set_new(o, "hex", hex);
	free(text);
	free(all);
	return o;
}

static json_t *json_inspect(const struct snap *s, const struct snap_chan *c,
			    const struct slots *slots,
			    const struct options *opt)
{
	json_t *o = show_json_bus(s->view), *list = json_array();

	json_object_set_new(o, "channel", show_json_channel(s, c));
	for (uint32_t i = 0; i < slots->n; i++)
		json_array_append_new(list, json_slot(s, c, slots->at[i], opt));
	json_object_set_new(o, "slots", list);
	return o;
}

/* --------------------------------------------------------------- command -- */

static int no_position(const struct snap_chan *c, const struct options *opt)
{
	if (!c->ring)
		return adm_error("only slots of queues and request rings have "
				 "positions");
	return adm_error("position %" PRIu64 " is in no slot now; the next put "
			 "is %" PRIu64,
			 opt->pos, c->ring->tail);
}

static int inspect(const struct snap *s, const char *channel,
		   const struct options *opt)
{
	const struct snap_chan *c = snap_find(s, channel);
	struct slots slots = { 0 };
	int ret = 0;

	if (!c)
		return adm_error("the bus has no channel '%s'; 'busadm info' "
				 "shows those that it has",
				 channel);
	if (c->bad)
		return adm_error("channel '%s' %s: %s", channel,
				 c->unread ? "was not read" : "is damaged",
				 c->bad);
	if (c->ring)
		ret = pick(c->ring, opt, &slots);
	if (ret) {
		ret = adm_error("out of memory");
	} else if (opt->has_pos && !slots.n) {
		ret = no_position(c, opt);
	} else if (opt->args.json) {
		text_print_json(json_inspect(s, c, &slots, opt));
	} else {
		print_channel(s, c, &slots, opt);
	}
	free(slots.at);
	return ret;
}

static bool parse_position(struct options *opt, const char *word)
{
	char *end;

	errno = 0;
	opt->pos = strtoull(word, &end, 10);
	opt->has_pos = true;
	return word[0] >= '0' && word[0] <= '9' && !*end && !errno;
}

static int parse(struct options *opt, int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "hex", no_argument, NULL, 'x' },
		ARGS_COMMON
	};
	int c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 'a')
			opt->all = true;
		else if (c == 'x')
			opt->hex = true;
		else if (args_common(&opt->args, c, argv, help))
			return -1;
	}
	if (!args_count(&opt->args, argc, argv, 2, 3, "a BUS and a CHANNEL"))
		return -1;
	if (argc - optind == 3 && !parse_position(opt, argv[optind + 2])) {
		opt->args.status = adm_misuse(argv[0],
					      "'%s' should be a position, a "
					      "number",
					      argv[optind + 2]);
		return -1;
	}
	if (opt->hex && !opt->has_pos) {
		opt->args.status =
			adm_misuse(argv[0], "--hex needs a POSITION");
		return -1;
	}
	return 0;
}

int cmd_inspect(int argc, char **argv)
{
	struct options opt = { 0 };
	struct view v;
	struct snap s;
	int status;

	if (parse(&opt, argc, argv))
		return opt.args.status;
	status = show_open(argv[optind], &v, &s);
	if (status)
		return status;
	status = inspect(&s, argv[optind + 1], &opt);
	show_close(&v, &s);
	return status;
}
