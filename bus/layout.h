/*
 * layout.h - the picture of the segment: what lies where in shared memory
 *
 *	+-----------------------------+ 0
 *	| struct bus_header           |  sizes, who runs, the directory's lock
 *	+-----------------------------+ ep_off
 *	| struct bus_ep [max_ep]      |  one for each attached thread; 0 unused
 *	+-----------------------------+ dir_off
 *	| struct bus_dirent [256]     |  the channels, in order of creation
 *	+-----------------------------+ chan_off
 *	| struct bus_channel, ring    |  a queue, with its slots; lib/ring.h
 *	| struct bus_channel, ring,   |  a request ring, and what its workers
 *	|   struct bus_crew_area,     |  do; see crew.h
 *	|   struct bus_place [],      |
 *	|   canceled []               |
 *	| struct bus_pipe_head,       |  a pipe, with one or two directions;
 *	|   struct sb_spsc, slots     |  see lib/spsc.h
 *	|   struct sb_spsc, slots     |
 *	| ...                         |  no memory yet
 *	+-----------------------------+ blob_off
 *	| struct sb_blob_pool, cells  |  messages larger than a slot
 *	+-----------------------------+ bytes
 *
 * The room for channels is large, and gets memory as they are made: whoever
 * makes one reserves its pages first, and the writer of a pipe those that its
 * slots grow into (sb_seg_reserve).
 *
 * Offsets only, no pointers: every process maps it elsewhere.  Another process
 * may write any of these bytes at any time, by mistake or ill will: each is
 * read once, checked, and used from the copy.
 */
#ifndef BUS_LAYOUT_H
#define BUS_LAYOUT_H

#include "lib/blob.h"
#include "lib/ring.h"
#include "lib/seg.h"
#include "lib/spsc.h"
#include "lib/waiter.h"

#define BUS_CHANNELS_MAX 256u
#define BUS_NAME_BYTES   48u /* of a channel's name, with its NUL */

/* Sizes from which every offset follows. */
struct bus_sizes {
	uint64_t max_message_bytes;
	uint64_t chan_bytes;
	uint64_t blob_bytes;
	uint32_t max_ep; /* entries of the table; ids are 1 .. max_ep - 1 */
	uint32_t asym;   /* 1: all use membarrier(2), see lib/fence.h */
};
static_assert(sizeof(struct bus_sizes) == 32, "sizes");

struct bus_header {
	struct sb_seg_header seg;
	struct bus_sizes sizes; /* written before it is published */

	/* The endpoint that is adding a channel, or 0.  If it dies, recovery
	 * sets it to 0; an entry that it had not made ready never was. */
	alignas(SB_FAR) _Atomic uint32_t dir_owner;
	_Atomic uint32_t ep_hint;       /* where to look for a free id */
	_Atomic uint64_t last_sweep_ns; /* when somebody looked for the dead */

	struct sb_sleepers running; /* not asleep: own bit set by its owner */
	struct sb_sleepers blob_rx; /* who waits for a free cell */
};
static_assert(offsetof(struct bus_header, sizes) == 64, "sizes");
static_assert(offsetof(struct bus_header, dir_owner) == 128, "dir_owner");
static_assert(sizeof(struct bus_header) == 512, "header");

/* state of an endpoint; see endpoint.c */
enum {
	BUS_EP_FREE,
	BUS_EP_CLAIMING, /* its start time is not yet there */
	BUS_EP_LIVE,
	BUS_EP_LEAVING, /* settles its own affairs */
	BUS_EP_DEAD,    /* proven dead, not yet recovered */
	BUS_EP_RETIRED  /* recovered; free once no recoverer is inside */
};

/* Counts, written by the endpoint alone; whoever wants a sum reads all. */
struct bus_ep_counts {
	_Atomic uint64_t put, got, parks, yields;
	_Atomic uint64_t deaths, redelivered, quarantined, rejected;
};

/* One attached thread of a process. */
struct bus_ep {
	alignas(SB_FAR) _Atomic uint32_t bell; /* wakers */

	/* the endpoint; a recoverer when it is dead */
	alignas(SB_FAR) _Atomic uint64_t state; /* pid:32 | gen:24 | state:8 */
	_Atomic uint64_t start_time;
	_Atomic uint32_t recovering; /* id whose recovery we are inside, or 0 */

	alignas(SB_FAR) struct bus_ep_counts counts;
};
static_assert(sizeof(struct bus_ep) == 3 * SB_FAR, "endpoint");

/* kind of a channel; IDLE is a request ring whose coordinator has stopped,
 * empty and closed, for the next one that needs the same; PIPE_IDLE a pipe
 * that somebody is making anew, or was killed at that */
enum {
	BUS_CHAN_QUEUE = 1,
	BUS_CHAN_REQUEST,
	BUS_CHAN_IDLE,
	BUS_CHAN_PIPE,
	BUS_CHAN_PIPE_IDLE
};

/* Written by the creator of the channel, ready last with release. */
struct bus_dirent {
	_Atomic uint32_t ready; /* 1 */
	_Atomic uint32_t kind;  /* BUS_CHAN_* */
	uint64_t off; /* of its struct bus_channel or bus_pipe_head, from the
		       * segment */
	uint64_t bytes;
	uint64_t reserved;
	char name[BUS_NAME_BYTES];
	uint64_t reserved2[6];
};
static_assert(sizeof(struct bus_dirent) == 128, "dirent");

struct bus_channel {
	uint32_t flags;         /* BUS_QUEUE_* */
	uint32_t request_bytes; /* requests: see request.h */
	uint32_t head_bytes;
	uint32_t crew_places; /* of the area behind the ring; 0 none */
	uint64_t result_bytes;
	_Atomic uint64_t coord; /* requests: life of who made it; endpoint.h */
	uint32_t crew_canceled; /* words of canceled[] in it */
	uint32_t reserved;
	uint64_t reserved2[3];

	struct sb_sleepers rx;   /* for not empty */
	struct sb_sleepers tx;   /* for not full */
	struct sb_sleepers done; /* for an answer, or for all done */
	/* struct sb_ring follows, and struct bus_crew_area, if there are places
	 * in it */
};
static_assert(offsetof(struct bus_channel, rx) == SB_FAR, "rx");
static_assert(sizeof(struct bus_channel) == 4 * SB_FAR, "channel");

/* How a worker stands to its place; the parent writes NONE and STARTING, the
 * worker the others, once each. */
enum {
	BUS_PLACE_NONE,
	BUS_PLACE_STARTING, /* init is not over */
	BUS_PLACE_READY,
	BUS_PLACE_LEAVING /* in good order: exit is what it does next */
};

/* One worker.  Written by it, but pid, n_deaths, and flags of the word by its
 * parent; read by anybody. */
struct bus_place {
	alignas(SB_FAR) _Atomic uint64_t word; /* id:56 | flags:8; crew.h */
	_Atomic uint64_t since_ns; /* of CLOCK_MONOTONIC_COARSE; 0 */
	_Atomic uint64_t n_done;   /* tasks, all lives of the place together */
	_Atomic uint32_t handler;  /* of the task in hand */
	_Atomic uint32_t life;     /* BUS_PLACE_* */
	_Atomic uint32_t pid;      /* 0: nobody */
	_Atomic uint32_t n_deaths;
	uint64_t reserved[11];
};
static_assert(sizeof(struct bus_place) == SB_FAR, "place");

/* Written by the coordinator or its pool, read by anybody. */
struct bus_crew_counts {
	alignas(SB_FAR) _Atomic uint64_t n_submitted;
	_Atomic uint64_t n_ok, n_failed, n_dead, n_canceled, n_timed_out;
	_Atomic uint64_t n_callbacks_failed;
	_Atomic uint64_t n_respawns, n_deaths; /* by crew.c */
	uint64_t reserved[7];
};
static_assert(sizeof(struct bus_crew_counts) == SB_FAR, "crew counts");

#define BUS_CREW_MAX   200u /* places */
#define BUS_INIT_ERROR 256u /* bytes of a text, with its NUL */

/*
 * A struct bus_place for each worker follows, and in a pool _Atomic uint64_t
 * canceled[window]: the id of the task with that index, if it was canceled
 * while it was in the ring.
 */
struct bus_crew_area {
	struct bus_crew_counts counts;

	/* the coordinator: places from n_wanted on are to be left */
	alignas(SB_FAR) _Atomic uint32_t n_wanted;
	_Atomic uint32_t n_inits; /* that went well; workers */

	/* bit i: the worker of place i sends something large.  Set and cleared
	 * by it; cleared by the parent before it forks the next one. */
	alignas(SB_FAR) _Atomic uint64_t talking[4];

	/* of the worker whose init failed last; garbled if two did at once */
	alignas(SB_FAR) char init_error[BUS_INIT_ERROR];
};
static_assert(offsetof(struct bus_crew_area, n_wanted) == SB_FAR, "wanted");
static_assert(offsetof(struct bus_crew_area, talking) == 2 * SB_FAR,
	      "talking");
static_assert(sizeof(struct bus_crew_area) == 5 * SB_FAR, "crew area");
static_assert(BUS_CREW_MAX <= 256, "talking has a bit for each");

/* One direction of a pipe: from side 0 to side 1, or back. */
struct bus_pipe_dir {
	struct sb_sleepers rx; /* its reader, for a record */
	struct sb_sleepers tx; /* its writer, for a slot */
	/* messages; one line each for writer and reader, also over the lives
	 * of a pipe that is made anew */
	alignas(SB_FAR) _Atomic uint64_t n_sent;
	uint64_t sent_before; /* when it was made */
	alignas(SB_FAR) _Atomic uint64_t n_received;
	uint64_t received_before;
};
static_assert(sizeof(struct bus_pipe_dir) == 4 * SB_FAR, "pipe dir");

/*
 * A pipe; a struct sb_spsc for each direction follows.  Everything that others
 * than its two users touch lies here, where the shape does not move it: so an
 * idle pipe may get another shape, while a slow recoverer looks at the old one.
 */
struct bus_pipe_head {
	/* whoever makes it, while both sides are gone */
	uint64_t slot_bytes;
	uint32_t profile; /* enum bus_pipe_profile */
	uint32_t flags;   /* BUS_PIPE_SIMPLEX */
	uint64_t reserved[6];

	/* whose the sides are: pipe_side.h; rarely written, often read */
	alignas(SB_FAR) _Atomic uint64_t side[2];
	/* of the process it is reserved for: ticks:40 | pid:24 */
	_Atomic uint64_t start_time[2];

	struct bus_pipe_dir dir[2]; /* dir[i]: side i writes */
	/* of a duplex pipe: short records of a round trip; half[i]: side i */
	struct sb_spsc_meet meet;
};
static_assert(offsetof(struct bus_pipe_head, side) == 1 * SB_FAR, "side");
static_assert(offsetof(struct bus_pipe_head, dir) == 2 * SB_FAR, "dir");
static_assert(offsetof(struct bus_pipe_head, meet) == 10 * SB_FAR, "meet");
static_assert(sizeof(struct bus_pipe_head) == 11 * SB_FAR, "pipe head");

/* Where things lie, computed from the sizes and never read from memory. */
struct bus_offsets {
	uint64_t ep, dir, chan, blob, bytes;
	struct sb_blob_pool plan;
};

/* Returns 0, or -EINVAL when the sizes are out of range or do not fit. */
int bus_layout(const struct bus_sizes *sizes, struct bus_offsets *off);

/* Tells two builds apart whose picture of memory differs. */
uint64_t bus_layout_fingerprint(void);

#endif
