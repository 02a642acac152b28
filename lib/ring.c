/*
 * ring.c - the bounded MPMC ring that survives kill -9: slow paths, and why
 *
 * After Vyukov's bounded MPMC queue (1024cores): slots with a sequence word
 * each, and two ticket words, tail for producers and head for consumers.  What
 * is different is that a ticket word carries the owner of the last claim, so
 * that claim and ownership are one CAS; the claim before it is copied to a
 * side array, by whoever comes next if its owner did not get to it (helping,
 * after Michael and Scott, PODC'96).  So at any instant memory says who has
 * what, and nobody has to guess after a kill.
 *
 * Life of the slot at position p, N slots later it is p + N:
 *
 *	FREE(p) -claim-> FREE(p), pown = {p, producer}     tail := {p+1, me}
 *	        -publish-> FULL(p)                         seq store
 *	        -take-> FULL(p), cown = {p, consumer}      head := {p+1, me}
 *	        (-begin-> cown := TAKEN)                   of a run of requests
 *	        -free-> FREE(p+N)                          seq store
 *	or, for requests, FULL(p) -answer-> DONE(p) -free-> FREE(p+N), the
 *	latter by the producer.
 *
 * Two escapes make it lock-free.  A consumer that meets a claimed, unpublished
 * slot and has been patient PASSes it: head := {p+1, PASS}, cown becomes
 * PENDING, gen changes, and consumers that see gen change look for it.  A
 * producer that meets a slot still held by a slow consumer SKIPs it: tail :=
 * {p+1, SKIP}, pskip = p, and consumers step over that position.
 *
 * Ordering.  Slots see plain acquire loads and release stores only; locked
 * instructions hit tail (producers) and head (consumers), never both sides.
 *
 *	producer                            consumer
 *	A1 load  seq acquire  <----------   F1 store seq release (free)
 *	   write data                          read data
 *	P1 store seq release  ---------->   T1 load  seq acquire
 *	                                       write answer
 *	C1 load  seq acquire  <----------   D1 store seq release (answer)
 *
 *	P1/T1  the message is complete before anyone reads it
 *	F1/A1  the reader is done before anyone overwrites it
 *	D1/C1  the answer is complete before its producer reads it
 *	R2, R3 stores to seq by a recovery (ring_recover.c) pair with the same
 *	       loads
 *	D2/R5  fences: a worker that answers for a dead producer sees that it
 *	       is dead, or the recovery sees the answer (Dekker)
 *
 * The CASes on tail, head, pown, pskip and cown are acq_rel: what a claimer
 * read before its claim, and the records of earlier claims, are visible to
 * whoever sees the claim.
 *
 * Invariants.  (I1) Each position below tail is recorded, in tail itself
 * (the last claim) or in pown or pskip, because nobody moves tail before
 * recording what it said; the same for head and cown.  (I2) The bytes of a
 * slot have one writer: its claimer until FULL, then its taker until DONE or
 * FREE, then the claimer again; it changes only by a store of that owner, or
 * after its proven death.  (I3) Each FULL is taken once: by the CAS on head,
 * or by the CAS of PENDING to TAKEN.  (I4) A put commits at one store (FULL),
 * a take at one CAS, an answer at one store (DONE).
 *
 * What SIGKILL leaves, and what recovery makes of it:
 *
 *	after the CAS on tail, before pown      next claimer or recovery records
 *	claimed, not published                  TOMB: takers free it silently
 *	published, before the wake              recovery wakes everybody
 *	after the CAS on head, before cown      next taker or recovery records
 *	taken, not freed or answered            PENDING: another takes it
 *	taken in a run, not begun (HELD)        PENDING, and no attempt more
 *	freed, answered                         nothing to do
 *	after the CAS to PASS or SKIP           as for the claims
 *	PENDING written, gen not yet changed    recovery changes gen
 *
 * A consumer may take requests in a run, with one CAS, and work them off one by
 * one.  Its death is to be blamed on the one that it was at, and only that: a
 * request that merely lay behind a deadly one must not be given up for it.  So
 * a run is recorded as HELD, by the taker or who helps it (both see n in head),
 * and each request becomes TAKEN before its handler runs.  Where a kill finds
 * the taker:
 *
 *	after the CAS on head, before cown, or in the middle of it: whoever
 *	    helps records the rest as HELD; none was begun, none is blamed
 *	all HELD: none is blamed
 *	k is TAKEN and FULL: k is blamed, also if its handler had not quite
 *	    begun, as with a single take; those behind k are HELD
 *	k is TAKEN and DONE, k+1 still HELD: between two, none is blamed; that
 *	    k is answered is seen from seq
 *
 * The change from HELD to TAKEN needs no CAS.  While the owner lives nobody
 * else changes the word: helpers only replace older positions, a scan takes
 * what is PENDING, a recovery what is of the dead.
 *
 * Order.  First in, first out, with these exceptions: a message whose live
 * producer was passed, or that was given back or redelivered, comes later.
 * A single consumer still sees each producer's messages in order, because it
 * looks for passed ones after it saw the head slot published.
 */
#include "config.h"

#include "lib/clock.h"
#include "lib/ring.h"

/* How long a consumer waits for a message that is being written, before it
 * goes past it.  Time, not a number of polls: on a busy machine the writer is
 * merely not running, and each pass costs every consumer a scan. */
#define PATIENCE_NS 100000u

/* The schedule explorer has a clock of its own. */
#ifndef SB_RING_NOW_NS
#define SB_RING_NOW_NS() sb_now_ns()
#endif

size_t sb_ring_bytes(uint32_t log_n, uint32_t stride)
{
	size_t n = (size_t)1 << log_n;

	return sizeof(struct sb_ring) + SB_ROUND_UP(2 * n * 8, SB_FAR) +
	       SB_ROUND_UP(n * 8, SB_FAR) + SB_ROUND_UP(n * stride, SB_FAR);
}

uint32_t sb_ring_stride(uint32_t payload_bytes)
{
	uint32_t need = payload_bytes + (uint32_t)sizeof(struct sb_slot);

	for (uint32_t s = 16; s < SB_CACHELINE; s *= 2)
		if (need <= s)
			return s;
	return SB_ROUND_UP(need, SB_CACHELINE);
}

/* So many @slots, but no more bytes than 128 in each of them. */
static uint64_t ahead(uint32_t slots, uint32_t stride)
{
	uint32_t n = slots * 2 * SB_CACHELINE / stride;

	return (n < 1 ? 1 : n > slots ? slots : n) * SB_POS_ONE;
}

static void lay_out(struct sb_ring_end *e, struct sb_ring *ring, uint32_t log_n)
{
	size_t n = (size_t)1 << log_n;
	unsigned char *p = ring->rest;

	e->ring = ring;
	e->pown = (void *)p;
	e->pskip = e->pown + n;
	p += SB_ROUND_UP(2 * n * 8, SB_FAR);
	e->cown = (void *)p;
	p += SB_ROUND_UP(n * 8, SB_FAR);
	e->slots = p;
	e->mask = n - 1;
	e->lap = n * SB_POS_ONE;
}

void sb_ring_init(struct sb_ring *ring, uint32_t log_n, uint32_t stride,
		  uint32_t flags, uint32_t max_attempts, uint64_t first)
{
	struct sb_ring_end e = { .stride = stride };
	uint64_t pos;

	lay_out(&e, ring, log_n);
	ring->log_n = log_n;
	ring->stride = stride;
	ring->flags = flags;
	ring->max_attempts = max_attempts;
	first = (first + e.mask) & ~e.mask;
	pos = first << 16;
	st_rlx(&ring->tail, pos);
	st_rlx(&ring->head, pos);
	st_rlx(&ring->gen, 1);
	st_rlx(&ring->orphans, 0);
	st_rlx(&ring->closing, 0);
	for (uint64_t i = 0; i <= e.mask; i++, pos += SB_POS_ONE) {
		/* The lap before the first: older than any claim to come. */
		st_rlx(&e.pown[i], pos - e.lap);
		st_rlx(&e.pskip[i], pos - e.lap);
		st_rlx(&e.cown[i], pos - e.lap);
		st_rlx(&sb_ring_slot(&e, pos)->seq, pos | SB_FREE);
	}
}

int sb_ring_attach(struct sb_ring_end *e, struct sb_ring *ring, size_t bytes,
		   uint32_t id)
{
	uint32_t log_n, stride, flags, max_attempts;

	if (bytes < sizeof(*ring))
		return -EPROTO;
	log_n = *(volatile uint32_t *)&ring->log_n;
	stride = *(volatile uint32_t *)&ring->stride;
	flags = *(volatile uint32_t *)&ring->flags;
	max_attempts = *(volatile uint32_t *)&ring->max_attempts;
	if (log_n < SB_RING_LOG_N_MIN || log_n > SB_RING_LOG_N_MAX ||
	    stride < 16 || stride > SB_LEN_MAX + 1 ||
	    stride !=
		    sb_ring_stride(stride - (uint32_t)sizeof(struct sb_slot)) ||
	    (flags & ~SB_RING_FLAGS) || max_attempts > SB_ATTEMPTS_MAX ||
	    (sb_ring_bytes(log_n, stride) > bytes &&
	     !SB_MUTATED(check_ring_bytes)))
		return -EPROTO;
	*e = (struct sb_ring_end){
		.stride = stride,
		.payload_bytes = stride - (uint32_t)sizeof(struct sb_slot),
		.flags = flags,
		.max_attempts = max_attempts,
	};
	lay_out(e, ring, log_n);
	e->claim_ahead = ahead(SB_RING_CLAIM_AHEAD, stride);
	e->take_ahead = ahead(SB_RING_TAKE_AHEAD, stride);
	e->run_ahead = ahead(SB_RING_MANY_AHEAD, stride);
	e->slot_lines = stride > SB_CACHELINE ? stride / SB_CACHELINE : 1;
	sb_ring_reattach(e, id);
	return 0;
}

void sb_ring_reattach(struct sb_ring_end *e, uint32_t id)
{
	assert(id >= 1 && id <= SB_EP_MAX);
	e->me = (uint64_t)id << 8;
	/* One less than any value: the first take looks for pending ones. */
	e->seen_gen = ld_rlx(&e->ring->gen) - 1;
	e->n_unresolved = 0;
	e->stalled = false;
	e->freed_tomb = false;
	/* Nothing to prefetch until we have looked. */
	e->clear_to = ld_rlx(&e->ring->tail);
	e->full_to = ld_rlx(&e->ring->head);
}

SB_NOINLINE void sb_ring_back_off(struct sb_ring_end *e)
{
	uint32_t n = e->back_off * 2 + 4;

	e->back_off = n < SB_RING_BACK_OFF_MAX ? n : SB_RING_BACK_OFF_MAX;
	for (uint32_t i = 0; i < e->back_off; i++)
		sb_relax();
}

/* ------------------------------------------------------------- producer -- */

/* Record what @tw says in pown or pskip, unless somebody did. */
SB_NOINLINE void sb_ring_help_tail(const struct sb_ring_end *e, uint64_t tw)
{
	uint64_t n = (tw >> 2 & 63) + 1;
	uint64_t pos = SB_POS(tw) - n * SB_POS_ONE;

	if ((tw & 3) == SB_NORM) {
		/* Ascending: the last one recorded means all recorded. */
		for (uint64_t k = 0; k < n; k++, pos += SB_POS_ONE) {
			_Atomic uint64_t *own = &e->pown[sb_ring_idx(e, pos)];
			uint64_t old = ld_acq(own);

			/* Twice: the first may fail because a recovery makes
			 * the old claim one of nobody (R4), which happens to a
			 * claim only once. */
			for (int t = 0; t < 2 && sb_pos_diff(old, pos) < 0; t++)
				if (SB_MUTATED(help_twice) && t > 0)
					break;
				else if (cas_acqrel(own, &old, pos | (tw & 0xff00)))
					break;
		}
	} else if ((tw & 3) == SB_SKIP) {
		_Atomic uint64_t *skip;
		uint64_t old;

		pos = SB_POS(tw) - SB_POS_ONE;
		skip = &e->pskip[sb_ring_idx(e, pos)];
		old = ld_acq(skip);
		/* Not by distance, as this may be the slot's first skip after
		 * any number of laps.  If tail has moved on, it was recorded
		 * before that. */
		if (old != pos && (ld_acq(&e->ring->tail) == tw ||
				   SB_MUTATED(skip_is_last)))
			cas_acqrel(skip, &old, pos);
	}
}

static int claim_one(struct sb_ring_end *e, uint64_t tw, uint64_t *pos)
{
	uint64_t p = SB_POS(tw);

	if (!cas_acqrel(&e->ring->tail, &tw,
			(p + SB_POS_ONE) | e->me | SB_NORM))
		return 0;
	st_rel(&e->pown[sb_ring_idx(e, p)], p | e->me);
	*pos = p;
	return 1;
}

/*
 * The ring is full because head @hw stands at a position that will never carry
 * a message.  Consumers that sleep do not know of it, so step over it for them.
 */
static bool step_over_skip(struct sb_ring_end *e, uint64_t hw)
{
	uint64_t h = SB_POS(hw);

	if ((hw & 3) == SB_CLOSED || SB_MUTATED(step_over) ||
	    SB_POS(ld_acq(&e->pskip[sb_ring_idx(e, h)])) != h)
		return false;
	if (!sb_ring_head_recorded(e, hw))
		sb_ring_help_head(e, hw);
	cas_acqrel(&e->ring->head, &hw, (h + SB_POS_ONE) | e->me | SB_SKIP);
	return true;
}

/*
 * Is there a free slot to be reached from @p by skipping?  Without one, skips
 * would only be a lap of locked instructions for nothing.  A hint: others may
 * claim or free meanwhile.
 */
static bool worth_skipping(const struct sb_ring_end *e, uint64_t p)
{
	for (uint64_t k = 0; k <= e->mask; k++, p += SB_POS_ONE) {
		uint64_t w = ld_acq(&sb_ring_slot(e, p)->seq);
		uint64_t last = ld_acq(&e->pown[sb_ring_idx(e, p)]);

		if ((w & 3) == SB_FREE && sb_pos_diff(w, last) > 0)
			return true;
	}
	return false;
}

/*
 * Claim one position with all the looks that the fast path leaves out: help
 * the last claimer, take a slot that was freed after skips, skip slots that
 * slow consumers hold.  Full is said only if consumers have not passed the
 * last lap of the slot, or if all slots are held; the first condition also
 * keeps tail from lapping head, which would destroy pskip.
 */
SB_NOINLINE int sb_ring_claim_slow(struct sb_ring_end *e, uint64_t *pos)
{
	uint64_t n_skips = 0;

	for (uint32_t tries = 0; tries < 1u << 20; tries++) {
		uint64_t tw = ld_acq(&e->ring->tail), p = SB_POS(tw);
		uint64_t i = sb_ring_idx(e, p), w, h, last;

		if ((tw & 3) == SB_CLOSED)
			return -EPIPE;
		if (!sb_ring_tail_recorded(e, tw))
			sb_ring_help_tail(e, tw);
		w = ld_acq(&sb_ring_slot(e, p)->seq); /* A1 <- F1, R2 */
		if (w == (p | SB_FREE)) {
			if (claim_one(e, tw, pos))
				return 1;
			continue;
		}
		h = ld_acq(&e->ring->head);
		last = ld_acq(&e->pown[i]);
		if (sb_pos_diff(h, p - e->lap) <= 0 && !SB_MUTATED(full_rule)) {
			if (ld_acq(&e->ring->tail) == tw &&
			    !step_over_skip(e, h))
				return -EAGAIN;
			continue;
		}
		w = ld_acq(&sb_ring_slot(e, p)->seq); /* A1 <- F1, R2 */
		if (w == ((SB_POS(last) + e->lap) | SB_FREE) &&
		    !SB_MUTATED(free_after_skip)) {
			/* Freed after producers had skipped it. */
			if (claim_one(e, tw, pos))
				return 1;
			continue;
		}
		if (ld_acq(&e->ring->tail) != tw)
			continue;
		if (++n_skips > e->mask + 1 || !worth_skipping(e, p))
			return -EAGAIN; /* all slots are held */
		if (cas_acqrel(&e->ring->tail, &tw,
			       (p + SB_POS_ONE) | e->me | SB_SKIP))
			sb_ring_help_tail(e,
					  (p + SB_POS_ONE) | e->me | SB_SKIP);
	}
	return -EAGAIN;
}

/* ------------------------------------------------------------- consumer -- */

/* Record what @hw says in cown, unless somebody did. */
SB_NOINLINE void sb_ring_help_head(struct sb_ring_end *e, uint64_t hw)
{
	uint64_t n = (hw >> 2 & 63) + 1;
	uint64_t pos = SB_POS(hw) - n * SB_POS_ONE;
	uint64_t state = (hw & 0xff00) |
			 (SB_MUTATED(help_held) ? SB_TAKEN
						: sb_ring_taken_as(e, n));

	if ((hw & 3) == SB_SKIP || (hw & 3) == SB_CLOSED)
		return;
	if ((hw & 3) == SB_PASS) {
		n = 1;
		pos = SB_POS(hw) - SB_POS_ONE;
		state = SB_PENDING;
	}
	for (uint64_t k = 0; k < n; k++, pos += SB_POS_ONE) {
		_Atomic uint64_t *own = &e->cown[sb_ring_idx(e, pos)];
		uint64_t old = ld_acq(own);

		if (sb_pos_diff(old, pos) < 0)
			cas_acqrel(own, &old, pos | state);
	}
	/* After PENDING, and by everybody who helps: whoever wrote it may be
	 * stopped before it gets here.  Once is enough of each: head may stay
	 * like this for long, and each change costs all a scan. */
	if ((hw & 3) == SB_PASS && e->helped_pass != hw) {
		if (!SB_MUTATED(pass_gen))
			add_acqrel(&e->ring->gen, 1);
		e->helped_pass = hw;
	}
}

/* The message that @own says is pending becomes ours, if nobody was faster. */
static bool take_pending(struct sb_ring_end *e, uint64_t own)
{
	uint64_t ours = SB_POS(own) | e->me | (own & SB_ATTEMPTS_MAX << 2) |
			SB_TAKEN;

	if (SB_MUTATED(pending_cas)) {
		st_rel(&e->cown[sb_ring_idx(e, own)], ours);
		return true;
	}
	return cas_acqrel(&e->cown[sb_ring_idx(e, own)], &own, ours);
}

/* What a search for pending messages has found. */
struct pending {
	bool any;  /* one that is published: */
	bool more; /* and there are some that are not */
	uint64_t oldest;
	/* The first that it met.  Ages are compared by the distance from it:
	 * what a hostile peer writes into cown may be so far apart that each
	 * comes before the next, all around, and a search for one that comes
	 * before them all would not end. */
	uint64_t first;
};

static bool is_older(const struct pending *s, uint64_t own)
{
	return sb_pos_diff(own, s->first) < sb_pos_diff(s->oldest, s->first);
}

/*
 * Look once for pending messages, at all slots or at those that we remember;
 * remember what we find, and free tombs.  Returns whether it found a published
 * one, older than any that was found before.
 */
static bool look_for_pending(struct sb_ring_end *e, bool all,
			     struct pending *s)
{
	uint64_t n = all ? e->mask + 1 : e->n_unresolved;
	uint32_t n_kept = 0;
	bool found = false;

	s->more = false;
	for (uint64_t k = 0; k < n; k++) {
		uint64_t i = all ? k : e->unresolved[k];
		uint64_t own = ld_acq(&e->cown[i]), p = SB_POS(own), w;

		if (SB_STATE(own) != SB_PENDING || sb_ring_idx(e, p) != i)
			continue;
		w = ld_acq(&sb_ring_slot(e, p)->seq); /* T1 <- P1, R2 */
		w &= SB_SEQ_KIND;
		if (w == (p | SB_TOMB)) {
			if (take_pending(e, own)) {
				sb_ring_free(e, p);
				e->freed_tomb = !SB_MUTATED(tomb_wakes);
			}
			continue;
		}
		if (n_kept < SB_UNRESOLVED_MAX) /* n_kept <= k */
			e->unresolved[n_kept] = (uint32_t)i;
		n_kept++;
		if (w != (p | SB_FULL)) {
			s->more = true;
			continue;
		}
		if (!s->any)
			s->first = own;
		if (!s->any || is_older(s, own)) {
			s->any = found = true;
			s->oldest = own;
		}
	}
	e->n_unresolved = n_kept;
	return found;
}

/*
 * Take the oldest pending message: everywhere when gen has changed, else of
 * those that we remember.  seen_gen is taken first, so that a PENDING that
 * comes later makes us look again.
 *
 * Having seen one published we look again at those that were not: its producer
 * may have published an older one just before it, which must come first.
 */
SB_NOINLINE bool sb_ring_scan(struct sb_ring_end *e, uint64_t *pos)
{
	uint64_t gen = ld_acq(&e->ring->gen);
	bool all = gen != e->seen_gen;

	e->seen_gen = gen;
	/* Each failure means that somebody else took one. */
	for (uint64_t tries = 0; tries <= e->mask; tries++) {
		struct pending s = { .any = false };

		all = all || e->n_unresolved > SB_UNRESOLVED_MAX;
		if (!look_for_pending(e, all, &s)) {
			if (SB_MUTATED(gen_first))
				e->seen_gen = ld_acq(&e->ring->gen);
			return false;
		}
		all = e->n_unresolved > SB_UNRESOLVED_MAX;
		/* No more often than there are slots, whoever writes. */
		for (uint64_t k = 0; s.more && k <= e->mask; k++)
			if (SB_MUTATED(look_twice) ||
			    !look_for_pending(e, all, &s))
				break;
		if (take_pending(e, s.oldest)) {
			*pos = SB_POS(s.oldest);
			return true;
		}
	}
	return false;
}

/* The head slot is claimed and not published.  True when we have waited long
 * enough for it. */
static bool out_of_patience(struct sb_ring_end *e, uint64_t h)
{
	uint64_t now;

	if (e->flags & SB_RING_STRICT)
		return false;
	now = SB_RING_NOW_NS();
	if (!e->stalled || e->stall_pos != h) {
		e->stalled = true;
		e->stall_pos = h;
		e->stall_since_ns = now;
		return false;
	}
	return now - e->stall_since_ns >= PATIENCE_NS;
}

/*
 * Take one message with all the looks that the fast path leaves out: free
 * tombs, step over skipped positions, tell empty from being written, and pass
 * a producer that is too slow.
 */
SB_NOINLINE int sb_ring_take_slow(struct sb_ring_end *e, bool sure,
				  uint64_t *pos)
{
	(void)sure;
	for (uint32_t tries = 0; tries < 1u << 20; tries++) {
		uint64_t hw = ld_acq(&e->ring->head), h = SB_POS(hw);
		uint64_t i = sb_ring_idx(e, h), w, tw, next = h + SB_POS_ONE;

		if ((hw & 3) == SB_CLOSED)
			return -EPIPE;
		if (!sb_ring_head_recorded(e, hw))
			sb_ring_help_head(e, hw);
		w = ld_acq(&sb_ring_slot(e, h)->seq); /* T1 <- P1, R2 */
		if (ld_acq(&e->ring->gen) != e->seen_gen || e->n_unresolved)
			if (sb_ring_scan(e, pos))
				return 1;
		w &= SB_SEQ_KIND;
		if (w == (h | SB_FULL) || w == (h | SB_TOMB)) {
			if (!cas_acqrel(&e->ring->head, &hw,
					next | e->me | SB_NORM))
				continue;
			st_rel(&e->cown[i], h | e->me | SB_TAKEN);
			e->stalled = false;
			if (w == (h | SB_TOMB)) {
				sb_ring_free(e, h);
				e->freed_tomb = !SB_MUTATED(tomb_wakes);
				continue;
			}
			*pos = h;
			return 1;
		}
		tw = ld_acq(&e->ring->tail);
		if (sb_pos_diff(tw, h) <= 0) {
			if ((tw & 3) != SB_CLOSED)
				return -EAGAIN;
			/* One that was passed is still to come. */
			return e->n_unresolved && !SB_MUTATED(drain_passed) ?
				       -EBUSY :
				       -EPIPE;
		}
		sb_ring_help_tail(e, tw);
		if (sb_pos_diff(ld_acq(&e->pskip[i]), h) == 0) {
			if (cas_acqrel(&e->ring->head, &hw,
				       next | e->me | SB_SKIP))
				e->freed_tomb = true;
			continue;
		}
		if (ld_acq(&e->ring->head) != hw)
			continue;
		if (!out_of_patience(e, h))
			return -EBUSY;
		e->stalled = false;
		if (cas_acqrel(&e->ring->head, &hw, next | e->me | SB_PASS)) {
			e->freed_tomb = true;
			sb_ring_help_head(e, next | e->me | SB_PASS);
		}
	}
	return -EAGAIN;
}

void sb_ring_give_back(struct sb_ring_end *e, uint64_t pos)
{
	_Atomic uint64_t *own = &e->cown[sb_ring_idx(e, pos)];
	uint64_t old = ld_rlx(own);

	if (SB_POS(old) != pos || SB_OWNER(old) != SB_OWNER(e->me) ||
	    !sb_own_has(old))
		return;
	/* Release: what we did to the message is seen by who takes it. */
	if (cas_acqrel(own, &old, (old & ~UINT64_C(3)) | SB_PENDING) &&
	    !SB_MUTATED(give_back_gen))
		add_acqrel(&e->ring->gen, 1);
}

/*
 * A producer died at some time in the life of this ring.  If it was the one
 * of @pos, its recovery has set pown to nobody, and either it or we free the
 * answered slot: a CAS, as both may try.
 */
SB_NOINLINE bool sb_ring_answer_orphan(struct sb_ring_end *e, uint64_t pos,
				       uint64_t seq)
{
	uint64_t own = ld_acq(&e->pown[sb_ring_idx(e, pos)]); /* <- R4 */

	if (SB_POS(own) != pos || SB_OWNER(own) != 0)
		return false;
	if (SB_MUTATED(orphan_cas))
		sb_ring_free(e, pos);
	else
		cas_acqrel(&sb_ring_slot(e, pos)->seq, &seq,
			   (pos + e->lap) | SB_FREE);
	return true;
}

/* ----------------------------------------------------------- close, look -- */

void sb_ring_close(struct sb_ring_end *e)
{
	for (uint32_t tries = 0; tries < 1u << 20; tries++) {
		uint64_t tw = ld_acq(&e->ring->tail);

		if ((tw & 3) == SB_CLOSED)
			break;
		if (!sb_ring_tail_recorded(e, tw) && !SB_MUTATED(close_helps))
			sb_ring_help_tail(e, tw);
		if (cas_acqrel(&e->ring->tail, &tw,
			       SB_POS(tw) | e->me | SB_CLOSED))
			break;
	}
	cas_acqrel(&e->ring->closing, &(uint32_t){ 0 }, 1); /* 2 stays */
}

void sb_ring_abort(struct sb_ring_end *e)
{
	sb_ring_close(e);
	for (uint32_t tries = 0; tries < 1u << 20; tries++) {
		uint64_t hw = ld_acq(&e->ring->head);

		if ((hw & 3) == SB_CLOSED)
			break;
		if (!sb_ring_head_recorded(e, hw))
			sb_ring_help_head(e, hw);
		if (cas_acqrel(&e->ring->head, &hw,
			       SB_POS(hw) | e->me | SB_CLOSED))
			break;
	}
	st_rel(&e->ring->closing, 2);
}

int sb_ring_reopen(struct sb_ring_end *e)
{
	uint64_t tw = ld_acq(&e->ring->tail), hw = ld_acq(&e->ring->head);

	if ((tw & 3) != SB_CLOSED || (hw & 3) == SB_CLOSED ||
	    sb_pos_diff(tw, hw))
		return -EBUSY;
	st_rel(&e->ring->closing, 0);
	/* What the position before it was, is recorded since the close.  To
	 * call it skipped does no harm: head is past it. */
	return cas_acqrel(&e->ring->tail, &tw, SB_POS(tw) | SB_SKIP) ? 0
								     : -EBUSY;
}

bool sb_ring_closed(const struct sb_ring_end *e)
{
	return (ld_acq(&e->ring->tail) & 3) == SB_CLOSED;
}

/* Is the last claim of slot @i not finished? */
static bool slot_unfinished(const struct sb_ring_end *e, uint64_t i)
{
	uint64_t last = ld_acq(&e->pown[i]);
	uint64_t w = ld_acq(&sb_ring_slot(e, i << 16)->seq);

	return (w & 3) != SB_FREE || sb_pos_diff(w, last) <= 0;
}

bool sb_ring_unfinished(const struct sb_ring_end *e)
{
	uint64_t tw = ld_acq(&e->ring->tail);

	sb_ring_help_tail(e, tw);
	for (uint64_t i = 0; i <= e->mask; i++)
		if (slot_unfinished(e, i))
			return true;
	/* Work may have moved to where we had been: a consumer that puts
	 * before it frees.  Then tail has moved, too. */
	return ld_acq(&e->ring->tail) != tw;
}

bool sb_ring_holds(const struct sb_ring_end *e)
{
	for (uint64_t i = 0; i <= e->mask; i++) {
		uint64_t own = ld_acq(&e->cown[i]);
		uint64_t w = ld_acq(&sb_ring_slot(e, i << 16)->seq);

		if (sb_own_has(own) && SB_OWNER(own) == SB_OWNER(e->me) &&
		    (w & SB_SEQ_KIND) == (SB_POS(own) | SB_FULL))
			return true;
	}
	return false;
}

void sb_ring_count(const struct sb_ring_end *e, uint32_t *n_waiting,
		   uint32_t *n_held)
{
	*n_waiting = *n_held = 0;
	sb_ring_help_tail(e, ld_acq(&e->ring->tail));
	for (uint64_t i = 0; i <= e->mask; i++) {
		uint64_t w = ld_acq(&sb_ring_slot(e, i << 16)->seq);
		uint64_t own = ld_acq(&e->cown[i]);

		if (!slot_unfinished(e, i))
			continue;
		if ((w & 3) == SB_FULL &&
		    !(SB_POS(own) == SB_POS(w) && sb_own_has(own)))
			++*n_waiting;
		else
			++*n_held;
	}
}

bool sb_ring_pos_alive(const struct sb_ring_end *e, uint64_t pos)
{
	uint64_t w = ld_acq(&sb_ring_slot(e, pos)->seq);
	uint64_t own;

	if ((w & SB_SEQ_KIND) == (pos | SB_FULL) ||
	    (w & SB_SEQ_KIND) == (pos | SB_DONE))
		return true;
	own = ld_acq(&e->pown[sb_ring_idx(e, pos)]);
	if (SB_MUTATED(alive_claimed))
		return false;
	/* Claimed and on its way, or published since we looked. */
	return (w & 3) == SB_FREE && sb_pos_diff(w, pos) <= 0 &&
	       SB_POS(own) == pos;
}
