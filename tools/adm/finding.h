/*
 * finding.h - what is wrong with a bus: who, what, and what to do about it
 *
 * Found by comparing two snaps, taken a while apart.  The words of a segment
 * are of three sorts:
 *
 *	never	a value that no sequence of steps leads to: damage, or a bug.
 *		An error, if both snaps have it, since what is read while it
 *		changes may look like anything.
 *	passing	a step of a healthy bus, of which the next one is due: a slot
 *		claimed and not published, a sleeper's bit that a waker has
 *		claimed, a death that nobody has seen.  It counts once it has
 *		lasted, with every word that belongs to it unchanged, for as
 *		long as the rule says.  Positions never come again, so words
 *		that are the same twice were so all the time.
 *	stuck	a passing state whose next step is that of a process which
 *		cannot make it: it is stopped, or gone.
 *
 * How long is long enough is known, not guessed, wherever sleepers are
 * concerned: they look again by themselves after 100 to 300 ms (lib/waiter.h),
 * so one that sleeps beside a message for a second does not sleep but is
 * stuck.  Who merely waits for a processor is "running" in /proc, and nobody
 * is blamed for that.
 *
 * Of a copy there is only one snap.  It is its own predecessor, and what is
 * passing becomes a note that says so.
 */
#ifndef ADM_FINDING_H
#define ADM_FINDING_H

#include "tools/adm/view.h"

/* Two snaps are compared that are so far apart; unless something needs longer,
 * then they are taken further apart, by no more than the second one. */
#define FINDING_APART_NS   (200 * SB_NS_PER_MS)
#define FINDING_ASLEEP_NS  SB_NS_PER_S
#define FINDING_LONGEST_NS (2 * SB_NS_PER_S)
#define FINDING_LONG_NS    (60 * SB_NS_PER_S) /* of one task */

#define FINDING_TEXT_BYTES 512u

enum finding_severity {
	FINDING_NOTE,    /* true, and nothing to do about it now */
	FINDING_WARNING, /* somebody is stuck, or will be */
	FINDING_ERROR    /* cannot be: the segment is damaged */
};

struct finding {
	enum finding_severity severity;
	const char *rule; /* its name, for scripts: "stopped" */
	int chan;         /* index of the channel, or -1 */
	char where[BUS_NAME_BYTES * 4 + 32]; /* "queue 'jobs'"; "" the bus */
	bool has_pos;
	uint64_t pos;
	uint32_t ep; /* endpoint, or 0 */
	pid_t pid;   /* or 0 */
	char command[PROCESS_COMMAND_BYTES * 4];
	char what[FINDING_TEXT_BYTES];   /* half a sentence */
	char remedy[FINDING_TEXT_BYTES]; /* the same; or "" */
};

struct findings {
	struct finding *at;
	uint32_t n, cap;
	uint32_t n_of[FINDING_ERROR + 1];       /* of each severity */
	uint32_t n_left_out[FINDING_ERROR + 1]; /* more of the same */
	bool no_memory;
	/* A look so far apart from the first would tell more; 0: no. */
	uint64_t wants_ns;
};

/* Errors and warnings. */
static inline uint32_t findings_bad(const struct findings *f)
{
	return f->n_of[FINDING_WARNING] + f->n_of[FINDING_ERROR];
}

/*
 * findings_of - look at @v twice, or three times, and say what is wrong
 * @apart_ns: between the first two looks
 * @long_ns:  how long a task may be in one worker's hands
 *
 * Sleeps for @apart_ns; up to FINDING_LONGEST_NS if it saw something that may
 * pass.  Also of what is no bus any more: @v->why is a finding.  Returns 0, or
 * -errno: it cannot be read, or memory is short.
 */
int findings_of(const struct view *v, uint64_t apart_ns, uint64_t long_ns,
		struct findings *f);

/*
 * findings_begin, findings_end - the same in two halves
 *
 * Who has many begins with all of them, and waits only once.  After a begin
 * that did not fail an end frees @was.
 */
int findings_begin(const struct view *v, struct snap *was);
int findings_end(const struct view *v, struct snap *was, uint64_t apart_ns,
		 uint64_t long_ns, struct findings *f);

/* The same from two snaps of it; @now may be @was: a copy.  0 or -ENOMEM. */
int findings_compare(const struct snap *was, const struct snap *now,
		     uint64_t long_ns, struct findings *f);

/* Worst first. */
void findings_sort(struct findings *f);
void findings_free(struct findings *f);

const char *finding_word(enum finding_severity severity);

/* ------------------------------------------------------- for the rules -- */

/* What a rule is given. */
struct look {
	const struct snap *was, *now;
	uint64_t apart_ns;
	uint64_t long_ns;
	bool single; /* one picture */
	struct findings *found;
};

/*
 * look_lasted - @now is as @was: has it been so for @need_ns?
 * @severity: in: what it is, if so; out: a note, if there is but one picture
 *
 * If not, it asks for a longer look.
 */
bool look_lasted(const struct look *l, uint64_t need_ns,
		 enum finding_severity *severity);

/* The channel, or the endpoint, as it was; NULL if it was none, or another. */
const struct snap_chan *look_was(const struct look *l,
				 const struct snap_chan *c);
const struct snap_ep *look_ep_was(const struct look *l, uint32_t id);

/*
 * look_say - add a finding; then look_at(), look_who(), ... add to it
 *
 * Of one rule no more than a few for each channel are kept.  Never NULL: what
 * is left out goes to a place that nobody reads.  Texts that others have
 * written go into it escaped: look_name(), text.h.
 */
struct finding *look_say(const struct look *l, enum finding_severity severity,
			 const char *rule, const struct snap_chan *c);
void finding_what(struct finding *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void finding_remedy(struct finding *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void finding_pos(struct finding *f, uint64_t pos);
void finding_who(struct finding *f, const struct snap_ep *ep);

/* Its ring, if that makes sense and its slots were read; else NULL. */
static inline const struct snap_ring *look_ring(const struct snap_chan *c)
{
	return c->bad || !c->ring || !c->ring->slot ? NULL : c->ring;
}

/* "queue 'jobs'", "requests 'work'", "pipe #3": fits 256 bytes. */
void look_name(char *buf, size_t size, const struct snap_chan *c);

/* Is @ep, now and before, the same one, and its process ... */
bool look_stopped(const struct look *l, uint32_t id); /* by a signal */
bool look_dead(const struct look *l, uint32_t id);    /* or said to be */
bool look_asleep(const struct look *l, uint32_t id);  /* and not stopped */

/* All that @id has and others may have to wait for, in words; or "". */
#define FINDING_HAS_BYTES (FINDING_TEXT_BYTES - 128)
void look_holdings(const struct look *l, uint32_t id,
		   char has[FINDING_HAS_BYTES]);

/* How many there are who are attached and not known to be dead. */
uint32_t look_living(const struct look *l);

/* Were @id's bits set in both? */
static inline bool look_both(const struct snap_set *was,
			     const struct snap_set *now, uint32_t id)
{
	return snap_has(was, id) && snap_has(now, id);
}

/* Is the slot as it was: same message, same step of its life? */
bool look_same_slot(const struct snap_slot *was, const struct snap_slot *now);

/* A rule, or some that belong together. */
void find_damage(const struct look *l);  /* findings_damage.c */
void find_ends(const struct look *l);    /* findings_ends.c */
void find_rings(const struct look *l);   /* findings_ring.c */
void find_crews(const struct look *l);   /* findings_crew.c */
void find_pipes(const struct look *l);   /* findings_pipe.c */
void find_cells(const struct look *l);   /* findings_cells.c */
void find_exec(const struct look *l);    /* findings_exec.c */
void find_creator(const struct look *l); /* findings_ends.c */

#endif
