/*
 * spsc.h - one writer, one reader, two slots: a stream of records
 *
 * The bytes of one direction of a pipe.  Records of any length up to what a
 * slot holds are packed one after the other into the open slot, and each is
 * visible to the reader when it is published.  There are no shared indices:
 * every record says by its own header word that it is there.
 *
 * Laps are counted over both slots: lap n is in slot n % 2.  A slot in use:
 *
 *	| header | payload, padded to 8 | header | payload | ... | 0 or SEAL |
 *
 *	header = lap << 32 | THERE | SEAL | kind << 27 | MET | len_bytes
 *
 * The word after the last record is 0 until the next header comes, for the
 * writer zeroes it before it publishes the record before it; so old payload is
 * never taken for a header.  The first word of a slot is always a header: of
 * the last lap in that slot (or 0), until the new lap has its first record.
 * A SEAL says that the writer went on in the other slot.  It does that when
 * the slot is full, or before that (see below), and only once the other slot
 * was released; so at most one slot is sealed and not released.
 *
 *	writer                               reader
 *	W1 released acquire     <---------   F3 released := lap, release
 *	   write payload                     F1 header acquire
 *	W2 next header := 0, relaxed            read payload
 *	W3 header release       --------->   F2 position := next, release
 *	                                     F3 as above, at a SEAL
 *
 *	W3/F1  payload, and the 0 behind it, are there before the header
 *	F3/W1  the reader is done with a slot before it is written again
 *	Q1/Q2  a writer that finds both slots full says up to where the full one
 *	       has to be read (wanted, release), behind its SEAL.  A reader that
 *	       has come there loads that word acquire and finds the SEAL: so it
 *	       releases the slot with its last record, not with the next look.
 *	       One that does not see the word yet does so with that look
 *	F2     acquire for those who attach, and for a writer who asks whether
 *	       all was popped; relaxed for its guess how far the reader is
 *	       behind, as nothing hangs on that
 *
 * The reader's position is in shared memory and stored after each record, the
 * writer's is not stored at all: who attaches as the writer walks the headers
 * from the reader's position to the first that is not there.
 *
 * What a SIGKILL leaves.  Writer:
 *
 *	before W3             nothing: the next writer starts at that header,
 *	                      which is 0 or of an old lap
 *	after W3              the record: the reader gets it
 *	SEAL stored           the next writer walks over it to the other slot
 *
 * Reader:
 *
 *	before F2             the front record comes again for the next reader:
 *	                      at least once across a death, else exactly once
 *	F2 over a SEAL, F3    attaching stores F3 again; a writer that waits
 *	not yet               meanwhile waits until then
 *
 * The line where two meet.  Two directions between the same two processes can
 * have one more place for a record, in a line of which each half belongs to the
 * writer of one direction.  A round trip through the slots moves two lines, and
 * each of them twice: to the writer, away from the reader who looks at it, and
 * back.  In one line the answer is written where the request was just read, and
 * that is one trip there and one back.  Through all of bus_pipe_send() and
 * bus_pipe_recv() the median was 1.7 times the ping-pong of a bare line where
 * this was measured, and 2.5 times through the slots.
 *
 * A short record goes there when all before it were popped.  The writer knows
 * that from the head of the other half, which says how far its writer, who is
 * our reader, had come with ours (now and then it asks for the position):
 *
 *	head = token << 16 | ack << 12 | seq << 8 | kind << 5 | len_bytes
 *
 *	seq      counts the records in this half
 *	ack      the last seq of the other half that was popped
 *	token    the position in the slots up to which records were popped
 *
 *	M1 head release   --------->   M2 head acquire
 *
 *	M1/M2  the record is there before its head; and its reader is done with
 *	       all that the head says before the other half is written again
 *
 * Else it goes through the slots, and the first one there after a record in the
 * half that may not be popped yet says so by MET in its header: then the reader
 * looks at the half first.  A SIGKILL before M1 leaves nothing, after it the
 * record.  The reader's count of what it has popped lies with its position; a
 * new writer says MET, for it does not know.
 *
 * Adaptive size.  Data flows well through slots that stay within L1, and
 * through slots that are larger than L2, where the writer runs so far ahead
 * that its lines are in the L3 when the reader comes for them; in between is
 * the worst place.  So the writer starts with the first 8 KiB of each slot
 * and seals there; while the reader is behind it goes on in the slot, twice as
 * far each time; and when the reader keeps up it comes back.  See spsc.c.
 *
 * Whatever the peer writes is read once and checked: -EPROTO, and no access
 * outside of slots and line.  Nothing here waits or wakes.
 */
#ifndef SB_SPSC_H
#define SB_SPSC_H

#include <errno.h>
#include <string.h>

#include "lib/atomics.h"
#include "lib/copy.h"
#include "lib/def.h"

#define SB_SPSC_SLOT_MIN 256u
#define SB_SPSC_SLOT_MAX (64u << 20)
#define SB_SPSC_FIRST    8192u /* where adaptive slots begin */
#define SB_SPSC_AHEAD    4096u /* how far before the writer lines are got */
#define SB_SPSC_RUN      1024u /* bytes that are published at once, at most */

/* A header word, without the lap in its upper half. */
#define SB_SPSC_LEN      UINT64_C(0x03ffffff)
#define SB_SPSC_MET      (UINT64_C(1) << 26)
#define SB_SPSC_KIND_AT  27
#define SB_SPSC_KIND_MAX 7u
#define SB_SPSC_SEAL     (UINT64_C(1) << 30)
#define SB_SPSC_THERE    (UINT64_C(1) << 31)

/* In shared memory; the two slots follow. */
struct sb_spsc {
	/* written before it is published, never after */
	uint32_t slot_bytes;
	uint32_t adaptive; /* 0 or 1 */

	/* reader: lap << 32 | offset of the next header, after each record;
	 * and seq of the last one that came through the line */
	alignas(SB_FAR) _Atomic uint64_t position;
	_Atomic uint32_t met;
	/* reader: laps before this one are read; changes once a slot */
	alignas(SB_FAR) _Atomic uint32_t released;
	/* writer: where it seals now, for whoever is curious */
	alignas(SB_FAR) _Atomic uint32_t cap;
	/* writer: when it found both slots full, where the reader would have
	 * to be to have read all of one; so this line stays where it is as
	 * long as all goes well */
	_Atomic uint64_t wanted;

	alignas(SB_FAR) unsigned char slots[];
};

static_assert(offsetof(struct sb_spsc, position) == 1 * SB_FAR, "position");
static_assert(offsetof(struct sb_spsc, released) == 2 * SB_FAR, "released");
static_assert(offsetof(struct sb_spsc, cap) == 3 * SB_FAR, "cap");
static_assert(offsetof(struct sb_spsc, slots) == 4 * SB_FAR, "slots");

/*
 * In shared memory: the line where two directions meet.  half[i] is written by
 * the writer of direction i, both are read by both, and that they are in one
 * line is the point.
 */
struct sb_spsc_meet {
	alignas(SB_FAR) struct sb_spsc_half {
		_Atomic uint64_t head;
		uint64_t data[3];
	} half[2];
};

static_assert(sizeof(struct sb_spsc_half) == 32, "half of a line");
static_assert(sizeof(struct sb_spsc_meet) == SB_FAR, "meet");

#define SB_SPSC_MEET_MAX 24u /* bytes of a record there */

/* The writer's side, private. */
struct sb_spsc_tx {
	unsigned char *at;   /* the next header */
	unsigned char *last; /* a record ends here at most: behind it is room
			      * for one more header.  Less than that, even less
			      * than at, when room() shall look twice */
	uint64_t tag;        /* lap << 32 | THERE, perhaps MET */
	bool meets;          /* room was given in the line */
	bool asks;           /* how far the reader is, at the next slow room */
	bool adaptive;
	/* The next record in the slots has to say MET; and where it is, if it
	 * was given room there. */
	bool says_met;
	unsigned char *says_at;
	/* Lines up to fetched + SB_SPSC_AHEAD were got, and are not beyond
	 * fetch_end + SB_SPSC_AHEAD, which is the end. */
	uintptr_t fetched, fetch_end;
	struct sb_spsc *s;
	unsigned char *end; /* what last is when there is nothing to look at */
	uint64_t sealed;    /* the position of the last SEAL */
	uint32_t slot_bytes;
	uint32_t lap;
	uint32_t cap;      /* a slot is sealed here, or grows */
	uint32_t reserved; /* bytes of each slot that need no reserve() */
	uint32_t most;   /* cap grows up to this: less once reserve() failed */
	uint32_t n_near; /* turns in a row that found the reader near */
	uint32_t met;    /* seq of the last record in our half */
	struct sb_spsc_half *half; /* ours; NULL: no line */
	struct sb_spsc_rx *back;   /* our side of the other direction */
	/*
	 * Called before bytes of the slots are touched that may not be there
	 * yet, with their distance from @s, slot by slot; not 0: we do without.
	 * May be NULL.  Free to set after sb_spsc_tx_attach, as is @reserved.
	 */
	int (*reserve)(void *arg, size_t off, size_t len_bytes);
	void *reserve_arg;
};

/* The reader's side, private. */
struct sb_spsc_rx {
	unsigned char *at;   /* the header of the front record */
	unsigned char *last; /* a record ends here at most */
	/* The last header that front() saw, and what it says.  Records of one
	 * length, which are the usual case, are then all alike, and nothing
	 * of the next one has to wait for what this one's header says. */
	uint64_t same;
	size_t step; /* from header to header; SIZE_MAX: same is none, and what
		      * is in front, if anything, is in the line */
	size_t len;
	uint32_t kind;
	uint32_t lap;
	uint64_t position; /* the shared word, minus where at points */
	struct sb_spsc *s;
	uint32_t slot_bytes;
	uint32_t met;       /* as in the shared word */
	uint64_t they_have; /* token and ack of the last head that we saw */
	uint64_t idle_slot, idle_half; /* words that said there is nothing */
	struct sb_spsc_half *half;     /* the writer's; NULL: no line */
	struct sb_spsc_tx *back;       /* our side of the other direction */
	/* Called when a slot was released: now the writer has room.  May be
	 * NULL.  Free to set after sb_spsc_rx_attach. */
	void (*freed)(void *arg);
	void *freed_arg;

	uint32_t pause_ns; /* see sb_spsc_pause() */
	bool paused;       /* and we have not looked since */
	uint32_t n_waits;  /* that a record in a slot has ended */
	uint32_t empty_lap;
	unsigned char *empty_at; /* where we stood when we last found nothing */
};

/* Bytes of a struct sb_spsc and its two slots. */
size_t sb_spsc_bytes(size_t slot_bytes);

/*
 * sb_spsc_slot_default - a good slot size, from the sizes of the caches
 * @large: for throughput, or to grow into; else for latency
 *
 * @l2_bytes, @l3_bytes: 0 where unknown.  sb_spsc_slot_here() asks the system.
 */
size_t sb_spsc_slot_default(bool large, size_t l2_bytes, size_t l3_bytes);
size_t sb_spsc_slot_here(bool large);

/*
 * sb_spsc_init - make an empty one
 * @slot_bytes: a power of two, SB_SPSC_SLOT_MIN .. SB_SPSC_SLOT_MAX
 * @first_lap:  where laps start; 0 in earnest, tests start near the wrap
 *
 * Touches the control lines and the first word of each slot, so it may be used
 * again and again on the same memory.
 */
void sb_spsc_init(struct sb_spsc *s, size_t slot_bytes, bool adaptive,
		  uint32_t first_lap);

/*
 * Become the writer, or the reader, of what lies in @bytes at @s.  The one
 * before must be gone.  The reader starts at the first record that none has
 * popped, the writer behind the last one that was published.
 *
 * Fixed slots count as reserved, of adaptive ones the first SB_SPSC_FIRST.
 *
 * Returns 0, or -EPROTO when what lies there is impossible.
 */
int sb_spsc_tx_attach(struct sb_spsc_tx *tx, struct sb_spsc *s, size_t bytes);
int sb_spsc_rx_attach(struct sb_spsc_rx *rx, struct sb_spsc *s, size_t bytes);

/*
 * sb_spsc_meet_init - make an empty line for two directions that were just
 * initialised; @s0 is the one whose writer has half 0
 */
void sb_spsc_meet_init(struct sb_spsc_meet *meet, struct sb_spsc *s0,
		       struct sb_spsc *s1);

/*
 * sb_spsc_meet - use the line as the writer of direction @dir and reader of the
 * other one
 *
 * Both were attached just now, and nothing was done with them since; they stay
 * where they are.  All later calls are as without a line.
 */
void sb_spsc_meet(struct sb_spsc_tx *tx, struct sb_spsc_rx *rx,
		  struct sb_spsc_meet *meet, uint32_t dir);

/* Is there a record of direction @dir, which is @s, in the line, that its
 * reader has not popped?  For anybody, but both may be at work. */
bool sb_spsc_is_met(const struct sb_spsc_meet *meet, uint32_t dir,
		    const struct sb_spsc *s);

/* Where the writer seals now: between SB_SPSC_FIRST and the whole slot.  For
 * anybody; at most @slot_bytes whatever lies there. */
uint32_t sb_spsc_cap(const struct sb_spsc *s, size_t slot_bytes);

SB_INLINE size_t sb_spsc_pad(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

/* The word at @at as a header. */
SB_INLINE _Atomic uint64_t *sb_spsc_word(unsigned char *at)
{
	return (_Atomic uint64_t *)(void *)at;
}

/* --------------------------------------------------------------- writer -- */

/* Bytes of a record that can go into the open slot without a turn; a hint. */
SB_INLINE size_t sb_spsc_left(const struct sb_spsc_tx *tx)
{
	return tx->end - tx->at > 8 ? (size_t)(tx->end - tx->at) - 8 : 0;
}

/* The largest record. */
SB_INLINE size_t sb_spsc_max(const struct sb_spsc_tx *tx)
{
	return tx->slot_bytes - 16;
}

/* The largest that needs no reserve(). */
SB_INLINE size_t sb_spsc_max_reserved(const struct sb_spsc_tx *tx)
{
	return tx->reserved - 16;
}

int sb_spsc_room_slow(struct sb_spsc_tx *tx, size_t len, void **p);

/*
 * Is there room in what is open of the slot?  Then the record goes to
 * sb_spsc_place(), and sb_spsc_publish_here() is enough for it.
 *
 * For who makes no call on the usual way, and so has no registers to save.
 */
SB_INLINE bool sb_spsc_has_room(const struct sb_spsc_tx *tx, size_t len)
{
	/* W1 was when this slot was opened.  Not where it goes through the
	 * line: then last is at. */
	return (ptrdiff_t)sb_spsc_pad(len) < tx->last - tx->at;
}

SB_INLINE void *sb_spsc_place(const struct sb_spsc_tx *tx)
{
	return tx->at + 8;
}

/*
 * sb_spsc_room - where the next record of up to @len bytes goes
 * @len: at most sb_spsc_max()
 *
 * The place is 8-aligned and stays the same until a record is published; ask
 * again with another @len at will.
 *
 * Returns 0, or
 *   -EAGAIN  both slots are full: the reader will release one
 *   -ENOSPC  @len is more than sb_spsc_max_reserved() and there is no memory
 *            for it; try smaller ones
 *   -EPROTO
 */
SB_INLINE int sb_spsc_room(struct sb_spsc_tx *tx, size_t len, void **p)
{
	if (sb_unlikely(!sb_spsc_has_room(tx, len)))
		return sb_spsc_room_slow(tx, len, p);
	*p = sb_spsc_place(tx);
	return 0;
}

/* A line that is going to be written: have it here by then. */
SB_INLINE void sb_spsc_fetch(unsigned char *line)
{
#if defined(__x86_64__)
	/* What gcc makes of __builtin_prefetch() gets it to read only. */
	__asm__ __volatile__("prefetchw %0" : : "m"(*line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/*
 * The writer has come to @at: get the lines up to SB_SPSC_AHEAD from there.
 * The reader had them last, so each is a trip to another core, and the
 * processor by itself begins no more of those than it has stores under way.
 */
SB_INLINE void sb_spsc_fetch_ahead(struct sb_spsc_tx *tx, unsigned char *at)
{
	uintptr_t to = (uintptr_t)at, line = tx->fetched;

	if (sb_unlikely(to > tx->fetch_end))
		to = tx->fetch_end;
	if (line >= to)
		return;
	if (sb_unlikely(to - line > SB_SPSC_AHEAD)) /* it is written already */
		line = to - SB_SPSC_AHEAD;
	for (; line < to; line += SB_CACHELINE)
		sb_spsc_fetch((unsigned char *)line + SB_SPSC_AHEAD);
	tx->fetched = line;
}

void sb_spsc_publish_meet(struct sb_spsc_tx *tx, size_t len, uint32_t kind);

/* The record in the slot is complete: @len bytes, at most what room was asked
 * for. */
SB_INLINE void sb_spsc_publish_here(struct sb_spsc_tx *tx, size_t len,
				    uint32_t kind)
{
	unsigned char *at = tx->at, *next = at + 8 + sb_spsc_pad(len);

	st_rlx(sb_spsc_word(next), 0); /* W2 */
	st_rel(sb_spsc_word(at),       /* W3 -> F1 */
	       tx->tag | (uint64_t)kind << SB_SPSC_KIND_AT | len);
	tx->at = next;
	sb_spsc_fetch_ahead(tx, next);
}

/* The same wherever sb_spsc_room() said that it goes. */
SB_INLINE void sb_spsc_publish(struct sb_spsc_tx *tx, size_t len, uint32_t kind)
{
	if (sb_unlikely(tx->meets))
		sb_spsc_publish_meet(tx, len, kind);
	else
		sb_spsc_publish_here(tx, len, kind);
}

/*
 * sb_spsc_put_run - put up to @n records of @len bytes each, which lie one
 * after the other at @from, into what is open of the slot
 *
 * The reader gets all of them or, if we are killed, none: the header of the
 * first is stored last, and what is behind a header that is not there does not
 * count.  Returns how many: none where sb_spsc_room() has to be asked.
 */
size_t sb_spsc_put_run(struct sb_spsc_tx *tx, const void *from, size_t len,
		       size_t n, uint32_t kind);

/* --------------------------------------------------------------- reader -- */

int sb_spsc_front_slow(struct sb_spsc_rx *rx, const void **p, size_t *len,
		       uint32_t *kind);

/* Is there a record in front just like the last one, of rx->len bytes and of
 * rx->kind?  Then it lies at sb_spsc_same().  For who makes no call. */
SB_INLINE bool sb_spsc_has_same(const struct sb_spsc_rx *rx)
{
	return ld_acq(sb_spsc_word(rx->at)) == rx->same && /* F1 <- W3 */
	       rx->step <= (size_t)(rx->last - rx->at);
}

SB_INLINE const void *sb_spsc_same(const struct sb_spsc_rx *rx)
{
	return rx->at + 8;
}

/*
 * sb_spsc_front - the oldest record, in place; the same one until popped
 *
 * It may release a slot, and calls freed() then.
 *
 * Returns 0, -EAGAIN when there is none, or -EPROTO.
 */
SB_INLINE int sb_spsc_front(struct sb_spsc_rx *rx, const void **p, size_t *len,
			    uint32_t *kind)
{
	if (sb_unlikely(!sb_spsc_has_same(rx)))
		return sb_spsc_front_slow(rx, p, len, kind);
	*p = sb_spsc_same(rx);
	*len = rx->len;
	*kind = rx->kind;
	return 0;
}

/* Did front() last find a record in a slot? */
SB_INLINE bool sb_spsc_in_slot(const struct sb_spsc_rx *rx)
{
	return rx->step != SIZE_MAX;
}

/* Did the last record come through the line? */
SB_INLINE bool sb_spsc_was_met(const struct sb_spsc_rx *rx)
{
	return rx->half && !sb_spsc_in_slot(rx);
}

/* With a line, after -EAGAIN: is it worth to ask front() again?  Two loads, for
 * who looks often. */
SB_INLINE bool sb_spsc_stirs(const struct sb_spsc_rx *rx)
{
	return ld_rlx(sb_spsc_word(rx->at)) != rx->idle_slot ||
	       ld_rlx(&rx->half->head) != rx->idle_half;
}

/* Release the slot if that was its last record. */
void sb_spsc_leave_read(struct sb_spsc_rx *rx);

/* Done with a record in a slot.  True: sb_spsc_leave_read() is to be called. */
SB_INLINE bool sb_spsc_pop_same(struct sb_spsc_rx *rx)
{
	uint64_t pos;

	rx->at += rx->step;
	pos = rx->position + (uint64_t)(uintptr_t)rx->at;
	st_rel(&rx->s->position, pos); /* F2 */
	return sb_unlikely(ld_rlx(&rx->s->wanted) == pos);
}

/*
 * sb_spsc_pop - done with the record that front() gave
 *
 * A slot of which that was the last one is left by the next front(); or here,
 * when the writer has found both slots full before this, for our caller may
 * next wait for that writer.
 */
SB_INLINE void sb_spsc_pop(struct sb_spsc_rx *rx)
{
	if (sb_unlikely(!sb_spsc_in_slot(rx)))
		st_rel(&rx->s->met, ++rx->met); /* F2 */
	else if (sb_unlikely(sb_spsc_pop_same(rx)))
		sb_spsc_leave_read(rx);
}

/*
 * sb_spsc_take_run - copy up to @n records, all of just @len bytes and of
 * @kind, one after the other to @to, and pop them
 *
 * The position is stored once, after the last: killed before that, all of them
 * come again for the next reader.  Returns how many: none where sb_spsc_front()
 * has to be asked, which also tells what there is.
 */
size_t sb_spsc_take_run(struct sb_spsc_rx *rx, void *to, size_t len, size_t n,
			uint32_t kind);

/*
 * sb_spsc_pause - after -EAGAIN, before looking again: let the writer work
 *
 * A reader that keeps up with a stream looks at the line that is being
 * written, and takes it away from the writer with every look.  So it pauses,
 * up to about a microsecond, as long as that pays: longer when there was more
 * than one record after the last wait, shorter when there was one.  A reader
 * of single records, as in a round trip, does not pause at all.
 *
 * Returns whether it did: then look again before a longer wait.
 */
bool sb_spsc_pause(struct sb_spsc_rx *rx);

#endif
