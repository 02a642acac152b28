/*
 * ring.h - the bounded MPMC ring that survives kill -9
 *
 * Many producers, many consumers, each message to exactly one consumer.  The
 * words, the protocol and the reasons are told at the top of ring.c; recovery
 * from a death is in ring_recover.c.  The fast paths are inline here.
 *
 * The ring moves positions, not bytes: claim a position, write its slot,
 * publish; take a position, read its slot, free it, or answer in place.  It
 * never blocks and knows nothing of sleepers: callers wake whoever waits.
 *
 * Every call is for the one thread that owns the struct sb_ring_end.
 */
#ifndef SB_RING_H
#define SB_RING_H

#include <errno.h>

#include "lib/atomics.h"
#include "lib/def.h"
#include "lib/fence.h"

/*
 * All words carry a 48-bit position in their upper bits and 16 bits of fields
 * below it, so that positions compare, add and wrap as plain 64-bit numbers:
 *
 *	tail, head  position | owner:8 | n-1:6 | type:2      the last claim
 *	seq         position | len:12 | flags:2 | kind:2     state of a slot
 *	pown        position | owner:8 | 0:8                 last claim of a slot
 *	pskip       position | 0:16                          last skip of a slot
 *	cown        position | owner:8 | attempts:6 | state:2  last take of a slot
 *
 * "pos" is always such a shifted position.  At 100 M messages/s the 48 bits
 * wrap after 32 days; a false match would need a process that is stopped for
 * an exact multiple of that.
 */
#define SB_POS_ONE   UINT64_C(0x10000)
#define SB_POS_MASK  (~(SB_POS_ONE - 1))
#define SB_POS(w)    ((w) & SB_POS_MASK)
#define SB_OWNER(w)  ((uint32_t)((w) >> 8) & 0xff)

/* Signed distance of two positions, in slots. */
SB_INLINE int64_t sb_pos_diff(uint64_t a, uint64_t b)
{
	return (int64_t)(SB_POS(a) - SB_POS(b)) >> 16;
}

/* type of tail and head */
enum {
	SB_NORM,  /* n positions were claimed or taken by owner */
	SB_SKIP,  /* one position will never carry a message */
	SB_PASS,  /* head only: left behind for later, not yet published */
	SB_CLOSED /* no more claims; nothing to record */
};

/* kind of seq */
enum {
	SB_FREE, /* the producer that claims this position may write */
	SB_FULL, /* published; the consumer that takes it owns the slot */
	SB_TOMB, /* published, but empty: its producer died or gave up */
	SB_DONE  /* answered in place; the producer of it owns the slot */
};

/* flags of seq */
#define SB_FLAG_BLOB UINT64_C(4) /* the bytes are elsewhere */
#define SB_FLAG_QUAR UINT64_C(8) /* DONE: given up after max_attempts */
#define SB_SEQ_FLAGS UINT64_C(12)
#define SB_LEN_MAX   4095u
#define SB_SEQ_LEN(w) ((uint32_t)((w) >> 4) & SB_LEN_MAX)
#define SB_SEQ_KIND  (SB_POS_MASK | 3) /* position and kind */

/* state of cown */
enum {
	SB_HELD, /* of an owner: a request taken in a run, and not begun */
	SB_TAKEN,
	SB_PENDING,    /* somebody should take it, head is past it */
	SB_QUARANTINED /* too many died on it */
};
#define SB_ATTEMPTS_MAX 63u
#define SB_ATTEMPTS(w)  ((uint32_t)((w) >> 2) & SB_ATTEMPTS_MAX)
#define SB_STATE(w)     ((w)&3)

/* Does cown say that somebody has the message?  Before the first take of a
 * slot the owner is nobody. */
SB_INLINE bool sb_own_has(uint64_t own)
{
	return SB_STATE(own) == SB_TAKEN ||
	       (SB_STATE(own) == SB_HELD && SB_OWNER(own));
}

#define SB_BATCH_MAX 64u

/* How the ring behaves; constant. */
#define SB_RING_STRICT  1u /* never pass a live producer */
#define SB_RING_REQUEST 2u /* consumers answer in place */
#define SB_RING_FLAGS   3u

/* The ring in shared memory.  Producers never write a line that consumers
 * change with a locked instruction, nor the reverse, but for a full producer
 * that steps over a skipped position. */
struct sb_ring {
	/* written before the ring is published, never after */
	uint32_t log_n;        /* n_slots == 1 << log_n */
	uint32_t stride;       /* bytes of a slot, its seq included */
	uint32_t flags;        /* SB_RING_* */
	uint32_t max_attempts; /* 0: no limit */

	alignas(SB_FAR) _Atomic uint64_t tail; /* producers */
	alignas(SB_FAR) _Atomic uint64_t head; /* consumers */

	/* written rarely, read often */
	alignas(SB_FAR) _Atomic uint64_t gen; /* changes after a PENDING
					       * appeared */
	_Atomic uint64_t orphans; /* requests: 0 until somebody dies; changes
				   * before anything that a recovery does */
	_Atomic uint32_t closing; /* hint for wake-ups; tail is the truth.  1
				   * closed, 2 aborted or recalled */

	/* n_slots words each of pown, pskip | cown, then the slots */
	alignas(SB_FAR) unsigned char rest[];
};
static_assert(offsetof(struct sb_ring, tail) == 1 * SB_FAR, "tail");
static_assert(offsetof(struct sb_ring, head) == 2 * SB_FAR, "head");
static_assert(offsetof(struct sb_ring, gen) == 3 * SB_FAR, "gen");
static_assert(offsetof(struct sb_ring, rest) == 4 * SB_FAR, "rest");

/* A slot in shared memory: whoever seq says owns it writes data. */
struct sb_slot {
	_Atomic uint64_t seq;
	unsigned char data[];
};
static_assert(offsetof(struct sb_slot, data) == 8, "slot");

#define SB_RING_LOG_N_MIN 1u
#define SB_RING_LOG_N_MAX 20u
#define SB_UNRESOLVED_MAX 8u

/*
 * One endpoint's view of a ring.  Geometry is copied here when it is attached
 * and checked, and never read from shared memory again.
 */
struct sb_ring_end {
	struct sb_ring *ring;
	unsigned char *slots;
	_Atomic uint64_t *pown, *pskip, *cown;
	uint64_t mask; /* n_slots - 1 */
	uint64_t lap;  /* n_slots as a distance of positions */
	uint32_t stride;
	uint32_t payload_bytes;
	uint32_t flags;
	uint32_t max_attempts;
	uint64_t me; /* owner id << 8 */
	bool asym;   /* D2 is light and R5 heavy (fence.h); the caller's to set */

	uint32_t back_off; /* steps that the next one who loses waits */

	/* How far ahead lines are had, as distances of positions; and how many
	 * lines a slot has, at least 1. */
	uint64_t claim_ahead, take_ahead, run_ahead;
	uint32_t slot_lines;

	/* producer */
	uint32_t full_polls;
	uint32_t n_claims_blind; /* lines without a prefetch */
	uint64_t clear_to;       /* prefetch below this position */

	/* consumer */
	uint32_t empty_polls;
	uint32_t n_takes_blind; /* lines without a prefetch */
	uint64_t full_to;       /* prefetch below this position */
	uint64_t seen_gen;
	uint64_t helped_pass; /* the last head word that we changed gen for */
	uint32_t n_unresolved; /* pending positions that were not published */
	uint32_t unresolved[SB_UNRESOLVED_MAX];
	uint64_t stall_pos; /* head position that is claimed, not published */
	uint64_t stall_since_ns;
	bool stalled;
	bool freed_tomb; /* a take freed a slot, or let tail go on: there may
			  * be room now */
};

/* Bytes of a ring with 1 << @log_n slots of @stride bytes. */
size_t sb_ring_bytes(uint32_t log_n, uint32_t stride);

/* The stride for slots that hold @payload_bytes: no slot straddles a line. */
uint32_t sb_ring_stride(uint32_t payload_bytes);

/*
 * sb_ring_init - make an empty ring in zeroed, unshared memory
 * @first: where positions start; rounded up to a lap.  0 in earnest; tests
 *         start near the wrap.
 */
void sb_ring_init(struct sb_ring *ring, uint32_t log_n, uint32_t stride,
		  uint32_t flags, uint32_t max_attempts, uint64_t first);

/*
 * sb_ring_attach - check the ring that lies in @bytes at @ring, and use it as
 * owner @id (1 .. SB_EP_MAX)
 *
 * Returns 0, or -EPROTO when its geometry is impossible.
 */
int sb_ring_attach(struct sb_ring_end *e, struct sb_ring *ring, size_t bytes,
		   uint32_t id);

/* Become owner @id in a forked child: forgets what the parent held. */
void sb_ring_reattach(struct sb_ring_end *e, uint32_t id);

SB_INLINE uint64_t sb_ring_idx(const struct sb_ring_end *e, uint64_t pos)
{
	return (pos >> 16) & e->mask;
}

SB_INLINE struct sb_slot *sb_ring_slot(const struct sb_ring_end *e,
				       uint64_t pos)
{
	return (struct sb_slot *)(void *)(e->slots +
					  sb_ring_idx(e, pos) * e->stride);
}

/*
 * Prefetch.  Both sides read a slot first and write it then, and the locked
 * instruction between two messages lets nothing overlap: unasked, each line
 * costs two transfers, each waited for.  So have it on its way some messages
 * before, in a state that we can write.  But never take it from under the
 * other's pen: only when the other is known to be past that slot.  To know it
 * costs a transfer of tail or head, and so we look when we have come to the
 * end of what we knew, and 32 lines after the last look: in a stream that is
 * seldom, and where each message is waited for it is nothing.
 *
 * The rest of a long message, which goes on behind the first line of its slot,
 * is most of its cost: the stores to lines that the reader has wait for them,
 * and the next locked instruction for all those stores.  So it is had ahead as
 * well: of as many bytes as the message at hand has, as the next will be like
 * it; by the reader without the right to write, as it will not.
 *
 * What the last claim or take has got is still under somebody's pen, which may
 * be many slots, and is left alone.
 *
 * Distances were measured: streams between two processes were 1.3 times as
 * fast with slots of 16 bytes and 2.5 times with 64, and the same where the
 * ring is much larger than the caches.  With the rest had as well, messages of
 * 64 bytes took 0.4 times the processor time, of 1 KiB 0.3 times, and 32 of 64
 * bytes a call half.
 */
#define SB_RING_CLAIM_AHEAD 16u /* slots; of more than 128 bytes, fewer */
#define SB_RING_TAKE_AHEAD  8u
#define SB_RING_MANY_AHEAD  32u
#define SB_RING_LOOK_EVERY  32u

/* Is @slot the first one in its line? */
SB_INLINE bool sb_ring_starts_line(const struct sb_ring_end *e,
				   const struct sb_slot *slot)
{
	return (uintptr_t)slot % SB_CACHELINE < e->stride;
}

/* Have the slots of @n positions from @pos on on their way, all at once. */
SB_INLINE void sb_ring_own_run(const struct sb_ring_end *e, uint64_t pos,
			       uint32_t n)
{
	uint32_t step = SB_CACHELINE / e->stride;

	for (uint32_t k = 0; k < n; k += step ? step : 1)
		sb_prefetch_own(sb_ring_slot(e, pos + k * SB_POS_ONE));
}

/* The same, but only those before @end. */
SB_INLINE void sb_ring_own_until(const struct sb_ring_end *e, uint64_t pos,
				 uint32_t n, uint64_t end)
{
	int64_t known = sb_pos_diff(end, pos);

	if (known > 0)
		sb_ring_own_run(e, pos,
				known < (int64_t)n ? (uint32_t)known : n);
}

/* Where the claim or take of which tail or head @w tells begins. */
SB_INLINE uint64_t sb_ring_last(uint64_t w)
{
	return SB_POS(w) - ((w >> 2 & 63) + 1) * SB_POS_ONE;
}

SB_INLINE void sb_ring_look_at_head(struct sb_ring_end *e)
{
	e->clear_to = sb_ring_last(ld_rlx(&e->ring->head)) + e->lap;
}

SB_INLINE void sb_ring_look_at_tail(struct sb_ring_end *e)
{
	e->full_to = sb_ring_last(ld_rlx(&e->ring->tail));
}

/* The lines of one more slot were not had: has it become time for a look? */
SB_INLINE bool sb_ring_tired_of(const struct sb_ring_end *e, uint32_t *n_blind)
{
	*n_blind += e->slot_lines;
	if (sb_likely(*n_blind < SB_RING_LOOK_EVERY))
		return false;
	*n_blind = 0;
	return true;
}

/* We are about to claim @pos, which is @slot.  Slots below clear_to were taken
 * in their last lap when we looked. */
SB_INLINE void sb_ring_ahead_of_claim(struct sb_ring_end *e, uint64_t pos,
				      const struct sb_slot *slot)
{
	if (!sb_ring_starts_line(e, slot))
		return;
	pos += e->claim_ahead;
	if (sb_pos_diff(e->clear_to, pos) > 0)
		sb_prefetch_own(sb_ring_slot(e, pos));
	else if (sb_unlikely(sb_ring_tired_of(e, &e->n_claims_blind)))
		sb_ring_look_at_head(e);
}

/* We are about to take @pos, which is @slot.  Slots below full_to were claimed
 * when we looked. */
SB_INLINE void sb_ring_ahead_of_take(struct sb_ring_end *e, uint64_t pos,
				     const struct sb_slot *slot)
{
	if (!sb_ring_starts_line(e, slot))
		return;
	pos += e->take_ahead;
	if (sb_pos_diff(e->full_to, pos) > 0)
		sb_prefetch_own(sb_ring_slot(e, pos));
	else if (sb_unlikely(sb_ring_tired_of(e, &e->n_takes_blind)))
		sb_ring_look_at_tail(e);
}

/*
 * We are about to claim up to @n_max from @pos on: have them all on their way,
 * if that was not done in the run before.  Only where each slot has several
 * lines: then it is worth a look to know of this run and the next.
 */
SB_INLINE void sb_ring_ahead_of_claims(struct sb_ring_end *e, uint64_t pos,
				       uint32_t n_max)
{
	if (e->slot_lines < 2)
		return;
	if (sb_pos_diff(e->clear_to, pos) < 2 * (int64_t)n_max)
		sb_ring_look_at_head(e);
	sb_ring_own_until(e, pos, n_max, e->clear_to);
}

/* The same for a take of up to @n_max, whose first lines sb_ring_take() has in
 * any case, as far as it knows them.  Not for who asks for a share: that looks
 * as well. */
SB_INLINE void sb_ring_ahead_of_takes(struct sb_ring_end *e, uint32_t n_max)
{
	if (e->slot_lines > 1 &&
	    sb_pos_diff(e->full_to, ld_rlx(&e->ring->head)) <
		    2 * (int64_t)n_max)
		sb_ring_look_at_tail(e);
}

/* Does a message of @len_bytes go on behind the first line of its slot? */
SB_INLINE bool sb_ring_is_long(size_t len_bytes)
{
	return len_bytes > SB_CACHELINE - sizeof(struct sb_slot);
}

/* We are about to write a long message of @len_bytes at @pos, one of @many that
 * we claimed together or alone. */
SB_INLINE void sb_ring_ahead_of_write(const struct sb_ring_end *e, uint64_t pos,
				      size_t len_bytes, bool many)
{
	const unsigned char *at;

	pos += many ? e->run_ahead : e->claim_ahead;
	if (sb_pos_diff(e->clear_to, pos) <= 0)
		return;
	at = (const unsigned char *)sb_ring_slot(e, pos);
	for (size_t i = many ? 0 : SB_CACHELINE;
	     i < sizeof(struct sb_slot) + len_bytes; i += SB_CACHELINE)
		sb_prefetch_own(at + i);
}

/* We are about to read a long message of @len_bytes at @pos, one of @many that
 * we took together or alone. */
SB_INLINE void sb_ring_ahead_of_read(const struct sb_ring_end *e, uint64_t pos,
				     size_t len_bytes, bool many)
{
	const unsigned char *at;

	pos += many ? e->run_ahead : e->take_ahead;
	if (sb_pos_diff(e->full_to, pos) <= 0)
		return;
	at = (const unsigned char *)sb_ring_slot(e, pos);
	if (many)
		sb_prefetch_own(at);
	for (size_t i = SB_CACHELINE; i < sizeof(struct sb_slot) + len_bytes;
	     i += SB_CACHELINE)
		sb_prefetch(at + i);
}

/*
 * Back off.  Who lost a CAS has just taken three lines away from the one who
 * won: the ticket, its record and the slot, and the winner gets them back
 * before its next message.  So the loser lets it go on undisturbed for a while:
 * twice as long with each loss, up to a few microseconds, and less again with
 * each claim or take that succeeds.  With several at once on each side, on two
 * processors, that was 1.4 times as fast; who is alone never comes here.
 */
#define SB_RING_BACK_OFF_MAX 64u /* steps of sb_relax() */

void sb_ring_back_off(struct sb_ring_end *e);

SB_INLINE void sb_ring_calm_down(struct sb_ring_end *e)
{
	if (sb_unlikely(e->back_off))
		e->back_off -= e->back_off / 8 + 1;
}

/* ------------------------------------------------------------- producer -- */

int sb_ring_claim_slow(struct sb_ring_end *e, uint64_t *pos);
void sb_ring_help_tail(const struct sb_ring_end *e, uint64_t tw);

/* True when the claim in @tw is already in pown; the usual case is ours. */
SB_INLINE bool sb_ring_tail_recorded(const struct sb_ring_end *e, uint64_t tw)
{
	if (sb_likely((tw & 0xff03) == e->me) || SB_MUTATED(help_tail))
		return true;
	if ((tw & 3) != SB_NORM)
		return false;
	return sb_pos_diff(ld_acq(&e->pown[sb_ring_idx(e, tw - SB_POS_ONE)]),
			   tw - SB_POS_ONE) >= 0;
}

/*
 * sb_ring_claim - claim up to @n_max positions in a row, from *@pos on
 * @sure: look twice before saying that it is full (as before a sleep)
 *
 * Every claimed position must then be published or cancelled.  Returns how
 * many, 1 .. SB_BATCH_MAX, or -EAGAIN (full) or -EPIPE (closed).
 */
SB_INLINE int sb_ring_claim(struct sb_ring_end *e, uint32_t n_max, bool sure,
			    uint64_t *pos)
{
	for (uint32_t tries = 0; tries < 1u << 16; tries++) {
		uint64_t tw = ld_acq(&e->ring->tail), p = SB_POS(tw), w;
		const struct sb_slot *slot = sb_ring_slot(e, p);
		uint64_t n = 1;

		if (sb_unlikely(!sb_ring_tail_recorded(e, tw)))
			return sb_ring_claim_slow(e, pos);
		w = ld_acq(&slot->seq); /* A1 <- F1, R2 */
		if (sb_unlikely(w != (p | SB_FREE))) {
			if (ld_rlx(&e->ring->tail) != tw)
				continue;
			/* Busy.  Looking at head steals a line from the
			 * consumers, so do it seldom; at once if the slot was
			 * freed behind our back (an older lap). */
			if (!sure && (w & 3) != SB_FREE &&
			    (++e->full_polls & 15))
				return -EAGAIN;
			return sb_ring_claim_slow(e, pos);
		}
		if (n_max > 1) {
			uint64_t q = p + SB_POS_ONE;

			sb_ring_ahead_of_claims(e, p, n_max);
			for (; n < n_max && n < SB_BATCH_MAX && n <= e->mask;
			     n++, q += SB_POS_ONE)
				if (ld_acq(&sb_ring_slot(e, q)->seq) !=
				    (q | SB_FREE))
					break;
		}
		sb_ring_ahead_of_claim(e, p, slot);
		if (sb_unlikely(!cas_acqrel(&e->ring->tail, &tw,
					    (p + n * SB_POS_ONE) | e->me |
						    (n - 1) << 2 | SB_NORM))) {
			sb_ring_back_off(e);
			continue;
		}
		sb_ring_calm_down(e);
		*pos = p;
		for (uint64_t k = 0; k < n; k++, p += SB_POS_ONE)
			st_rel(&e->pown[sb_ring_idx(e, p)], p | e->me);
		return (int)n;
	}
	return -EAGAIN;
}

/* The message at @pos is complete: let consumers have it.  For callers that
 * know its slot. */
SB_INLINE void sb_slot_publish(struct sb_slot *slot, uint64_t pos,
			       uint32_t len_bytes, uint64_t seq_flags)
{
	st_rel(&slot->seq, /* P1 -> T1 */
	       pos | (uint64_t)len_bytes << 4 | seq_flags | SB_FULL);
}

SB_INLINE void sb_ring_publish(struct sb_ring_end *e, uint64_t pos,
			       uint32_t len_bytes, uint64_t seq_flags)
{
	sb_slot_publish(sb_ring_slot(e, pos), pos, len_bytes, seq_flags);
}

/* There will be no message at @pos. */
SB_INLINE void sb_ring_cancel(struct sb_ring_end *e, uint64_t pos)
{
	st_rel(&sb_ring_slot(e, pos)->seq, pos | SB_TOMB); /* P1 -> T1 */
}

/* True when @pos was answered; *@seq tells length and flags. */
SB_INLINE bool sb_ring_answered(const struct sb_ring_end *e, uint64_t pos,
				uint64_t *seq)
{
	*seq = ld_acq(&sb_ring_slot(e, pos)->seq); /* C1 <- D1, R3 */
	return (*seq & SB_SEQ_KIND) == (pos | SB_DONE);
}

/* ------------------------------------------------------------- consumer -- */

int sb_ring_take_slow(struct sb_ring_end *e, bool sure, uint64_t *pos);
void sb_ring_help_head(struct sb_ring_end *e, uint64_t hw);
bool sb_ring_scan(struct sb_ring_end *e, uint64_t *pos);

SB_INLINE bool sb_ring_head_recorded(const struct sb_ring_end *e, uint64_t hw)
{
	if (sb_likely((hw & 0xff03) == e->me) || SB_MUTATED(help_head))
		return true;
	if ((hw & 3) != SB_NORM)
		return false;
	return sb_pos_diff(ld_acq(&e->cown[sb_ring_idx(e, hw - SB_POS_ONE)]),
			   hw - SB_POS_ONE) >= 0;
}

/*
 * What a take of @n positions leaves in cown.  Of a run of requests only the
 * one that is at work is to blame for a death, so that they are held at first;
 * sb_ring_begin() says which one it is.  A single one is begun as it is taken.
 * Who helps knows as much: n is in head, and the flags are the ring's.
 */
SB_INLINE uint64_t sb_ring_taken_as(const struct sb_ring_end *e, uint64_t n)
{
	return n > 1 && e->flags & SB_RING_REQUEST ? SB_HELD : SB_TAKEN;
}

/* We begin @pos of a run, and the next run will be ours as well. */
#define SB_RING_RUN_AHEAD (24 * SB_POS_ONE)
SB_INLINE void sb_ring_ahead_in_run(const struct sb_ring_end *e, uint64_t pos)
{
	const struct sb_slot *slot = sb_ring_slot(e, pos + SB_RING_RUN_AHEAD);

	if (sb_ring_starts_line(e, slot) &&
	    sb_pos_diff(e->full_to, pos + SB_RING_RUN_AHEAD) > 0)
		sb_prefetch_own(slot);
}

/* Is the next message there?  A hint, and cheap. */
SB_INLINE bool sb_ring_any(const struct sb_ring_end *e)
{
	uint64_t h = SB_POS(ld_rlx(&e->ring->head));

	return (ld_rlx(&sb_ring_slot(e, h)->seq) & SB_SEQ_KIND) ==
	       (h | SB_FULL);
}

/*
 * sb_ring_share - how many of what is there is a fair share for one of
 * @n_sharers, at most @most and at least 1
 *
 * A hint.  A look at tail takes its line away from the producer, so look only
 * when what we know of is not enough for all.
 */
SB_INLINE uint32_t sb_ring_share(struct sb_ring_end *e, uint32_t n_sharers,
				 uint32_t most)
{
	uint64_t head = SB_POS(ld_rlx(&e->ring->head));
	int64_t n = sb_pos_diff(e->full_to, head);

	if (n < (int64_t)n_sharers * most) {
		e->full_to = SB_POS(ld_rlx(&e->ring->tail));
		n = sb_pos_diff(e->full_to, head);
	}
	n = (n + n_sharers - 1) / n_sharers;
	return n < 1 ? 1 : n < (int64_t)most ? (uint32_t)n : most;
}

/*
 * sb_ring_take - take up to @n_max messages in a row, from *@pos on
 * @sure: look twice before saying that it is empty (as before a sleep)
 *
 * Every position must then be freed, answered or given back; each of several
 * requests begun before that.  Its length is in sb_ring_seq().  Returns how
 * many, 1 .. SB_BATCH_MAX, or
 *   -EAGAIN  empty
 *   -EBUSY   the first message is being written; ask again soon, also if
 *            nobody wakes you: a writer that takes too long is passed
 *   -EPIPE   closed, and all messages were taken by somebody
 */
SB_INLINE int sb_ring_take(struct sb_ring_end *e, uint32_t n_max, bool sure,
			   uint64_t *pos)
{
	for (uint32_t tries = 0; tries < 1u << 16; tries++) {
		uint64_t hw = ld_acq(&e->ring->head), h = SB_POS(hw), w;
		const struct sb_slot *slot = sb_ring_slot(e, h);
		uint64_t n = 1;

		if (sb_unlikely(!sb_ring_head_recorded(e, hw)))
			sb_ring_help_head(e, hw);
		w = ld_acq(&slot->seq); /* T1 <- P1, R2 */
		/* After the look at the slot: whoever published it published
		 * what it had been passed with before, and a single consumer
		 * must see that first. */
		if (sb_unlikely(ld_acq(&e->ring->gen) != e->seen_gen ||
				e->n_unresolved))
			if (sb_ring_scan(e, pos))
				return 1;
		if (sb_unlikely((w & SB_SEQ_KIND) != (h | SB_FULL) ||
				(hw & 3) == SB_CLOSED)) {
			if (ld_rlx(&e->ring->head) != hw)
				continue;
			/* Looking at tail steals a line from the producers, so
			 * do it seldom.  Less so where the slot's last lap is
			 * not over: h may have been skipped for that. */
			if (!sure &&
			    (w == (h | SB_FREE) || sb_pos_diff(w, h) < 0) &&
			    (++e->empty_polls & (w == (h | SB_FREE) ? 63 : 7)))
				return -EAGAIN;
			return sb_ring_take_slow(e, sure, pos);
		}
		/* Not while older ones are to come: their producer may publish
		 * them, and then one of these, after the look above. */
		if (n_max > 1 &&
		    (!e->n_unresolved || SB_MUTATED(older_first))) {
			uint64_t q = h + SB_POS_ONE;

			sb_ring_own_until(e, h, n_max, e->full_to);
			for (; n < n_max && n < SB_BATCH_MAX && n <= e->mask;
			     n++, q += SB_POS_ONE)
				if ((ld_acq(&sb_ring_slot(e, q)->seq) &
				     SB_SEQ_KIND) != (q | SB_FULL))
					break;
		}
		sb_ring_ahead_of_take(e, h, slot);
		if (sb_unlikely(!cas_acqrel(&e->ring->head, &hw,
					    (h + n * SB_POS_ONE) | e->me |
						    (n - 1) << 2 | SB_NORM))) {
			sb_ring_back_off(e);
			continue;
		}
		sb_ring_calm_down(e);
		e->stalled = false;
		*pos = h;
		for (uint64_t k = 0; k < n; k++, h += SB_POS_ONE)
			st_rel(&e->cown[sb_ring_idx(e, h)],
			       h | e->me | sb_ring_taken_as(e, n));
		return (int)n;
	}
	return -EAGAIN;
}

/*
 * sb_ring_begin - we begin with one of the requests that we took together
 *
 * Until then our death does not count as one of it.  A plain store: the word is
 * ours, recorded by the take, and whoever still helps with that finds it so.
 */
SB_INLINE void sb_ring_begin(struct sb_ring_end *e, uint64_t pos)
{
	if (!SB_MUTATED(begin))
		st_rel(&e->cown[sb_ring_idx(e, pos)], pos | e->me | SB_TAKEN);
}

/* Length and flags of a message that we took, as in seq.  The length may be
 * more than payload_bytes if a peer is hostile: check. */
SB_INLINE uint64_t sb_ring_seq(const struct sb_ring_end *e, uint64_t pos)
{
	return ld_rlx(&sb_ring_slot(e, pos)->seq);
}

/* Is the message at @pos there, whoever takes it?  A hint. */
SB_INLINE bool sb_ring_published(const struct sb_ring_end *e, uint64_t pos)
{
	return (sb_ring_seq(e, pos) & SB_SEQ_KIND) == (pos | SB_FULL);
}

/* Consumers that died holding the message that we took. */
SB_INLINE uint32_t sb_ring_attempts(const struct sb_ring_end *e, uint64_t pos)
{
	return SB_ATTEMPTS(ld_rlx(&e->cown[sb_ring_idx(e, pos)]));
}

/* The message at @pos is finished: its slot is free for the next lap.  Also
 * what the producer of a request does with the answer. */
SB_INLINE void sb_ring_free(struct sb_ring_end *e, uint64_t pos)
{
	st_rel(&sb_ring_slot(e, pos)->seq, (pos + e->lap) | SB_FREE);
	/* F1 -> A1 */
}

/* sb_ring_answer - the answer at @pos is complete.  This one store commits it,
 * and a fence follows it.  True when whoever sent the request is dead: then
 * nobody will collect, and the slot was freed instead. */
bool sb_ring_answer_orphan(struct sb_ring_end *e, uint64_t pos, uint64_t seq);
SB_INLINE bool sb_ring_answer(struct sb_ring_end *e, uint64_t pos,
			      uint32_t len_bytes, uint64_t seq_flags)
{
	uint64_t seq =
		pos | (uint64_t)len_bytes << 4 | seq_flags | SB_DONE;

	st_rel(&sb_ring_slot(e, pos)->seq, seq); /* D1 -> C1 */
	if (!SB_MUTATED(d2_fence))
		sb_fence_light(e->asym); /* D2 <-> R5 */
	return sb_unlikely(ld_rlx(&e->ring->orphans)) &&
	       !SB_MUTATED(answer_orphan) && sb_ring_answer_orphan(e, pos, seq);
}

/* Let another consumer have a message that we took.  Wake them after it. */
void sb_ring_give_back(struct sb_ring_end *e, uint64_t pos);

/* ------------------------------------------------------------- the rest -- */

/* No more claims.  What was claimed before may still be published. */
void sb_ring_close(struct sb_ring_end *e);

/* Close, and no more takes from head on: what lies there is dropped by the
 * caller, who takes and frees until -EPIPE before this. */
void sb_ring_abort(struct sb_ring_end *e);

/* Open a closed, empty ring again.  Returns 0, or -EBUSY when it is neither
 * closed nor empty or was aborted. */
int sb_ring_reopen(struct sb_ring_end *e);

bool sb_ring_closed(const struct sb_ring_end *e);

/*
 * sb_ring_recall   - of a closed ring of requests: nobody waits for answers any
 *                    more, so what was taken in a run shall not be begun
 * sb_ring_recalled - was it?  Then give it back.  A hint, that comes late
 *
 * It is over when the ring is opened again.
 */
SB_INLINE void sb_ring_recall(struct sb_ring_end *e)
{
	st_rel(&e->ring->closing, 2);
}

SB_INLINE bool sb_ring_recalled(const struct sb_ring_end *e)
{
	return ld_rlx(&e->ring->closing) == 2;
}

/* Is any message not finished yet: claimed, published, taken, pending?  A
 * snapshot; looks at every slot. */
bool sb_ring_unfinished(const struct sb_ring_end *e);

/* Does this owner have messages that it took and has not finished? */
bool sb_ring_holds(const struct sb_ring_end *e);

/* Messages that nobody has taken, and slots in somebody's hands; snapshots. */
void sb_ring_count(const struct sb_ring_end *e, uint32_t *n_waiting,
		   uint32_t *n_held);

/* What a recovery did. */
struct sb_ring_recovered {
	uint32_t n_redelivered, n_quarantined, n_tombs, n_orphans;
};

/*
 * sb_ring_recover - settle what owner @id left, who is PROVEN dead and whose id
 * is not given out again before every recovery of it has ended
 *
 * Who: any endpoint, any number of them at once, and each may be killed in the
 * middle and the call repeated.  Afterwards wake every sleeper of the ring.
 */
void sb_ring_recover(struct sb_ring_end *e, uint32_t id,
		     struct sb_ring_recovered *what);

/* Is position @pos, claimed by somebody, still to come or in use?  False when
 * it was finished, or its producer died before it was published.  For the
 * owner of things that lie outside of the slot (blob cells). */
bool sb_ring_pos_alive(const struct sb_ring_end *e, uint64_t pos);

#endif
