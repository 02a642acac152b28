/*
 * view.h - look at a bus from outside, without its help
 *
 * A view is a bus that is open for reading; a snap is what it said at one
 * moment, copied, checked and in plain structs.  Whoever compares takes two.
 *
 * Everything is read with pread(2): never through a mapping, where reading a
 * hole would take memory, a file that somebody truncates would be a SIGBUS, and
 * bytes would change under us.  Nobody is attached, nothing is written, so the
 * processes of the bus may be stopped or dead, and it may be a copy.
 *
 * All bytes are hostile.  What cannot be has a text that says so (bad), and
 * then only what stands beside it is to be believed.  Names and payload may
 * have any bytes in them: print them through text.h.
 *
 * A snap is not atomic.  A slot that changed while it was read is read again;
 * the sums of a ring are those of its slots as they were read.
 */
#ifndef ADM_VIEW_H
#define ADM_VIEW_H

#include <sys/types.h>

#include "bus/layout.h"
#include "bus/pipe_side.h"
#include "tools/adm/process.h"

#define VIEW_NAME_BYTES 4096u /* of what an operator calls it, a path at most */
#define VIEW_WHY_BYTES  512u  /* of a sentence that says why not */

enum view_kind {
	VIEW_NAMED,   /* in /dev/shm */
	VIEW_UNNAMED, /* a process's, found by its pid */
	VIEW_COPY     /* a file */
};

/* Is it a bus at all?  From OTHER_ABI on nothing but the header can be read. */
enum view_health {
	VIEW_GOOD,
	VIEW_TRUNCATED,    /* what is not there reads as zeros */
	VIEW_OTHER_ABI,    /* of another version */
	VIEW_OTHER_LAYOUT, /* of a build whose picture of memory differs */
	VIEW_DAMAGED,      /* its header contradicts itself */
	VIEW_FOREIGN       /* no bus */
};

enum view_creator {
	VIEW_CREATOR_UNKNOWN, /* it is a copy, or has no name */
	VIEW_CREATOR_LIVES,
	VIEW_CREATOR_DEAD
};

struct view {
	char name[VIEW_NAME_BYTES]; /* as it was asked for */
	enum view_kind kind;
	enum view_health health;
	const char *why; /* of a bad health, half a sentence; else "" */

	/* where the bytes are: from @at on in @fd */
	int fd;
	uint64_t at;
	bool is_memory;       /* a process's, by its addresses */
	uint64_t there_bytes; /* so many are there */
	uint64_t used_bytes;  /* have memory; UINT64_MAX unknown */
	pid_t from;           /* UNNAMED: the process */

	/* COPY by busadm dump: what it noted; see note.h */
	struct view_note *note; /* NULL: nothing */
	bool no_payload;        /* messages were left out */
	bool was_quiet; /* all processes were dead or stopped meanwhile: else
			 * words of one slot may be of different moments */
	uint64_t taken_ns, taken_wall_s; /* CLOCK_MONOTONIC; since 1970 */

	dev_t dev;
	ino_t ino;
	uid_t uid;
	mode_t mode; /* of permissions */

	enum view_creator creator;
	pid_t creator_pid; /* 0 unknown */

	struct sb_seg_header seg;
	struct bus_sizes sizes;
	struct bus_offsets off;

	/* Do we see its processes?  Not those of a copy.  Of another pid
	 * namespace if we are above it: then a snap says what they are called
	 * here. */
	bool has_processes;
	bool other_pids;  /* of another pid namespace */
	bool other_times; /* of another time namespace: start times differ */
};

/*
 * view_open - open what an operator calls @arg: a name, a path, or pid:PID
 *
 * Returns 0, also for what is no good bus (@v->health), or -errno; then @why is
 * a sentence that names @arg and the remedy.
 */
int view_open(struct view *v, const char *arg, char why[VIEW_WHY_BYTES]);
void view_close(struct view *v);

/* Can more than its header be read? */
static inline bool view_readable(const struct view *v)
{
	return v->health <= VIEW_TRUNCATED;
}

/* view_read - bytes of the segment; zeros for what is not there.  0 or -errno.
 */
int view_read(const struct view *v, uint64_t off, void *buf, size_t n);

/* ------------------------------------------------------------------ snap -- */

/* A bitmap of endpoints. */
struct snap_set {
	uint64_t bits[SB_EP_WORDS];
};

static inline bool snap_has(const struct snap_set *set, uint32_t id)
{
	return id <= SB_EP_MAX && (set->bits[id / 64] >> id % 64 & 1);
}

static inline struct snap_set snap_set_of(const struct sb_sleepers *from)
{
	struct snap_set to;

	for (uint32_t i = 0; i < SB_EP_WORDS; i++)
		to.bits[i] = from->bits[i];
	return to;
}

uint32_t snap_count(const struct snap_set *set);

/* One entry of the table of endpoints. */
struct snap_ep {
	uint32_t id;
	uint32_t state; /* BUS_EP_*, or more: bad */
	const char *bad;
	uint64_t word; /* state as it is; life without its lowest byte */
	uint32_t pid;  /* as it is called here; stays after a death */
	uint64_t start_time;
	uint32_t recovering; /* id, or 0 */
	uint32_t bell;
	bool running;    /* is not parked */
	bool wants_cell; /* sleeps until there is a cell for a large message */
	uint64_t n_put, n_got, n_parks, n_yields;
	uint64_t n_deaths, n_redelivered, n_quarantined, n_rejected;
	/* of an endpoint that is attached or dead: what became of its process;
	 * of others PROCESS_UNKNOWN */
	struct process proc;
};

/* CLAIMING, LIVE or LEAVING: somebody is behind it, who may be dead. */
static inline bool snap_attached(const struct snap_ep *ep)
{
	return ep->state == BUS_EP_CLAIMING || ep->state == BUS_EP_LIVE ||
	       ep->state == BUS_EP_LEAVING;
}

/* What is in a slot.  In the order in which a message lives. */
enum snap_slot_state {
	SNAP_FREE,
	SNAP_WRITING,  /* claimed, not published */
	SNAP_PASSED,   /* the same, and readers have gone past it */
	SNAP_WAITING,  /* published, nobody has it */
	SNAP_RETURNED, /* the same, and somebody had it: he died, or gave back;
			* or its writer had been passed */
	SNAP_BEHIND,   /* a worker has it and has not begun */
	SNAP_HELD,     /* somebody has it */
	SNAP_ANSWERED, /* its result waits for the coordinator */
	SNAP_GIVEN_UP, /* too many died on it; the coordinator is to hear it */
	SNAP_TOMB,     /* its writer died; nothing is in it */
	SNAP_BAD,
	SNAP_N_STATES
};

struct snap_slot {
	uint64_t pos; /* position, a plain number */
	uint64_t len_bytes;
	uint64_t seq, pown, pskip, cown; /* the words, last claims recorded */
	uint32_t cell;                   /* of a large message; SB_BLOB_NONE */
	uint8_t state;                   /* enum snap_slot_state */
	uint8_t writer;                  /* endpoint, 0 nobody */
	uint8_t holder;                  /* BEHIND, HELD: endpoint */
	uint8_t attempts;                /* holders that died on it */
	bool is_error;                   /* ANSWERED: with an error */
	const char *bad;                 /* what is wrong, or NULL */
};

/* Which is older?  As for qsort(3); positions have 48 bits and wrap. */
static inline int snap_pos_cmp(uint64_t a, uint64_t b)
{
	int64_t n = sb_pos_diff(a << 16, b << 16);

	return n < 0 ? -1 : n > 0;
}

/* A queue, or the ring of a coordinator. */
struct snap_ring {
	const char *bad; /* and the slots are as they say, all the same */
	uint32_t n_slots, stride, payload_bytes;
	uint32_t ring_flags;   /* SB_RING_* */
	uint32_t max_attempts; /* 0: no limit */
	uint64_t slots_off;    /* where they lie, in the segment */
	uint64_t tail, head;   /* positions */
	bool closed, aborted, recalled;
	struct snap_set rx, tx, done; /* who sleeps for what */

	/* of a coordinator */
	uint32_t request_bytes, head_bytes;
	uint64_t result_bytes;
	uint64_t coord_life;
	uint32_t coord; /* endpoint that lives, or 0 */

	uint32_t flags;            /* BUS_QUEUE_* */
	uint32_t n[SNAP_N_STATES]; /* slots of each state */
	struct snap_slot *slot;    /* n_slots of them, by index */
};

/* Messages that somebody may have now; and slots that are somebody's. */
static inline uint32_t snap_waiting(const struct snap_ring *r)
{
	return r->n[SNAP_WAITING] + r->n[SNAP_RETURNED];
}

static inline uint32_t snap_held(const struct snap_ring *r)
{
	return r->n[SNAP_HELD] + r->n[SNAP_BEHIND];
}

/* One side of a pipe. */
struct snap_side {
	uint64_t word;
	uint32_t state; /* BUS_SIDE_*, or more: bad */
	const char *bad;
	uint32_t ep;  /* MADE, OPEN: whose it is, if it is attached; else 0 */
	uint32_t pid; /* of who has it or had it, here; 0 unknown */
	uint32_t word_pid;   /* RESERVED: the same in the bus */
	uint64_t start_time; /* RESERVED: of that process; 0 unknown */
	uint32_t inst;
	bool no_tx, no_rx; /* sends, receives no more, or never did */
	bool half;         /* a writer died here, perhaps within a message */
};

/* One direction of a pipe. */
struct snap_dir {
	const char *bad;
	struct snap_set rx, tx;      /* its reader, for a record; its writer */
	uint64_t n_sent, n_received; /* since it was made */
	uint32_t cap;                /* what of a slot is used now */
	uint32_t lap, at;            /* where the reader is */
	uint32_t released;
	bool full; /* the writer found both slots full, and still would */
	/* what is in the slots, and in the line, and not received */
	uint64_t n_records, n_bytes;
	bool has_fragments; /* some of it is part of a large message */
};

struct snap_pipe {
	uint64_t slot_bytes;
	uint32_t profile; /* enum bus_pipe_profile */
	bool simplex;
	struct snap_side side[2];
	uint32_t n_dirs;
	struct snap_dir dir[2]; /* [i]: side i writes */
};

/* One worker of a coordinator. */
struct snap_place {
	uint32_t pid;  /* 0 nobody */
	uint32_t life; /* BUS_PLACE_*, or more: bad */
	uint64_t task; /* number of it, in this word: word >> shift */
	uint64_t word;
	uint64_t since_ns; /* of CLOCK_MONOTONIC; 0 nothing in hand */
	uint64_t n_done;
	uint32_t handler;
	uint32_t n_deaths;
	bool told, doomed, signaled, talking;
	uint32_t ep; /* endpoint of that pid, or 0 */
	struct process proc;
};

struct snap_crew {
	uint32_t n_places, window;
	uint32_t n_wanted, n_inits;
	uint64_t n_submitted, n_ok, n_failed, n_dead, n_canceled, n_timed_out;
	uint64_t n_callbacks_failed, n_respawns, n_deaths;
	char init_error[BUS_INIT_ERROR]; /* any bytes, then a NUL */
	struct snap_place *place;
};

struct snap_chan {
	uint32_t idx;
	uint32_t kind;             /* BUS_CHAN_* */
	char name[BUS_NAME_BYTES]; /* any bytes, then a NUL */
	const char *bad;           /* then only what stands above is known */
	bool unread;               /* bad, but nothing is wrong with it */
	uint64_t off, bytes;
	struct snap_ring *ring; /* QUEUE, REQUEST, IDLE */
	struct snap_pipe *pipe; /* PIPE, PIPE_IDLE */
	struct snap_crew *crew; /* of a pool; else NULL */
};

struct snap_cells {
	const char *bad;
	uint64_t bytes, used_bytes; /* of cells */
	uint32_t n_cells, n_used;
	uint64_t *owner; /* the words, as in lib/blob.c */
	uint64_t *len;
};

struct snap {
	const struct view *view;
	uint64_t
		taken_ns; /* CLOCK_MONOTONIC; of a copy, when it was made, or 0 */
	uint64_t last_sweep_ns;
	uint32_t dir_owner;  /* endpoint that adds a channel, or 0 */
	uint32_t n_attached; /* endpoints */
	uint32_t n_eps;      /* entries of ep[], the first of which is nobody */
	struct snap_ep *ep;  /* by id */
	uint32_t n_chans;
	struct snap_chan *chan;
	struct snap_cells cells;
	struct process_names names; /* of another pid namespace; else empty */
};

/*
 * snap_take - all of it; or, quicker, without slots, pipes, workers and cells
 *
 * Of rings only the first that come to SNAP_SLOTS_MAX slots together are read;
 * others are bad and say why.  Returns 0, or -errno: it cannot be read, or
 * memory is short.  A snap that was not taken, or is zero, may be freed.
 */
#define SNAP_SLOTS_MAX (1u << 22)
int snap_take(const struct view *v, bool whole, struct snap *s);
void snap_free(struct snap *s);

/* "queue", "coordinator", ...; "live", "waiting", ...: one word, or "?" */
const char *snap_kind_word(uint32_t kind);
const char *snap_ep_word(uint32_t state);
const char *snap_slot_word(uint32_t state);
const char *snap_side_word(uint32_t state);
const char *snap_place_word(uint32_t life);

/* The channel that is called @name, or has the index "#3"; or NULL. */
const struct snap_chan *snap_find(const struct snap *s, const char *name);

/* What the process that is @pid in the bus is called here; @pid if that is not
 * known, or the same. */
uint32_t snap_pid(const struct snap *s, uint32_t pid);

/* The process that is @pid in the bus, and started at that time (0: whenever).
 * UNKNOWN if we cannot see it. */
void snap_process(const struct snap *s, struct process *p, uint32_t pid,
		  uint64_t start_time);

/* The endpoint of this id, if it is attached; or NULL. */
const struct snap_ep *snap_ep_of(const struct snap *s, uint32_t id);

/*
 * snap_message - up to @cap bytes of the message in @slot of @c's ring
 *
 * Returns how many, or -ENODATA: there are none there, or -errno.
 */
ssize_t snap_message(const struct snap *s, const struct snap_chan *c,
		     const struct snap_slot *slot, void *buf, size_t cap);

/*
 * snap_pipe_headers - call @each with every header word in the slots of pipe @c,
 * from the reader's place on, and where it lies in the segment
 *
 * Until it says something but 0, which is returned.  Or -errno.
 */
int snap_pipe_headers(const struct view *v, const struct snap_chan *c,
		      int (*each)(void *arg, uint64_t off, uint64_t h),
		      void *arg);

/* ------------------------------------------- the parts, for snap_take() -- */

int snap_ring_take(const struct view *v, struct snap *s, struct snap_chan *c,
		   uint32_t *n_slots_left);
int snap_pipe_take(const struct view *v, struct snap *s, struct snap_chan *c);
int snap_crew_take(const struct view *v, struct snap *s, struct snap_chan *c);

#endif
