/*
 * ring_recover.c - what becomes of the messages of a dead owner
 *
 * Called when a death is proven, by any number of endpoints at once.  Every
 * step is a CAS from a word that names the dead owner (or a position of it) to
 * one that does not, so that it happens once however many try, and a
 * recoverer that is killed leaves a state from which the next one goes on.
 * The words belong to nobody alive meanwhile: the dead do not store, and the
 * id is not given out again before every recoverer of it has left (the caller
 * sees to that, bus/endpoint.c).
 *
 *	R1 record the last claims, in case they are of the dead
 *	R2 claimed, not published: FREE -> TOMB
 *	R3 taken, not finished: TAKEN -> PENDING, one attempt more, so that
 *	   another takes it where it lies; nothing is copied, no room is needed.
 *	   After max_attempts: QUARANTINED, and the slot is answered with that,
 *	   or freed where nobody waits for answers.  HELD -> PENDING, and no
 *	   attempt more: it lay behind the one that its taker was at
 *	R4 requests whose producer is dead: pown -> nobody
 *	R5 fence; answers that nobody will collect: DONE -> FREE, also those
 *	   whose worker, or recoverer, died before it could look at pown
 *	R6 gen changes: consumers look for what is PENDING
 */
#include "config.h"

#include "lib/ring.h"

/* R2: @own is what pown says of slot @i. */
static void bury_claim(struct sb_ring_end *e, uint64_t own,
		       struct sb_ring_recovered *what)
{
	uint64_t p = SB_POS(own);
	_Atomic uint64_t *seq = &sb_ring_slot(e, p)->seq;
	uint64_t w = ld_acq(seq);

	/* An older FREE is one that was claimed after skips. */
	if ((w & 3) != SB_FREE || sb_pos_diff(w, p) > 0 ||
	    (SB_MUTATED(r2_older) && w != (p | SB_FREE)))
		return;
	if (SB_MUTATED(r2_cas))
		w = ld_acq(seq);
	if (cas_acqrel(seq, &w, p | SB_TOMB)) /* -> A1, T1 */
		what->n_tombs++;
}

/* The slot of a quarantined message tells its producer, as an answer. */
static void settle_quarantined(struct sb_ring_end *e, uint64_t p)
{
	_Atomic uint64_t *seq = &sb_ring_slot(e, p)->seq;
	uint64_t w = ld_acq(seq);

	if ((w & SB_SEQ_KIND) != (p | SB_FULL) || SB_MUTATED(settle))
		return;
	if (e->flags & SB_RING_REQUEST)
		cas_acqrel(seq, &w, /* -> C1 */
			   (w & ~UINT64_C(3)) | SB_FLAG_QUAR | SB_DONE);
	else
		cas_acqrel(seq, &w, (p + e->lap) | SB_FREE); /* -> A1 */
}

/* R3: @own says that the dead took the message of slot @i. */
static void hand_over(struct sb_ring_end *e, uint64_t i, uint64_t own,
		      struct sb_ring_recovered *what)
{
	uint64_t p = SB_POS(own), state = SB_PENDING;
	uint64_t w = ld_acq(&sb_ring_slot(e, p)->seq);
	uint64_t attempts = SB_ATTEMPTS(own);
	bool full = (w & SB_SEQ_KIND) == (p | SB_FULL);
	bool begun = SB_STATE(own) == SB_TAKEN || SB_MUTATED(r3_held);

	if (!full && (w & SB_SEQ_KIND) != (p | SB_TOMB))
		return; /* finished before it died */
	if (begun && attempts < SB_ATTEMPTS_MAX && !SB_MUTATED(r3_counts))
		attempts++;
	if (begun && full && e->max_attempts && attempts >= e->max_attempts)
		state = SB_QUARANTINED;
	if (SB_MUTATED(r3_cas))
		own = ld_acq(&e->cown[i]);
	if (!cas_acqrel(&e->cown[i], &own,
			p | (own & 0xff00) | attempts << 2 | state))
		return;
	if (state == SB_QUARANTINED)
		what->n_quarantined++;
	else if (full)
		what->n_redelivered++;
}

/* R4: nobody will collect the answer of slot @i. */
static void orphan(struct sb_ring_end *e, uint64_t i, uint32_t id)
{
	uint64_t own = ld_acq(&e->pown[i]);

	if (SB_OWNER(own) == id) /* -> sb_ring_answer_orphan */
		cas_acqrel(&e->pown[i], &own, SB_POS(own));
}

/* R5: one fence for all that R4 did, and then the answers that were there. */
static void free_orphans(struct sb_ring_end *e, struct sb_ring_recovered *what)
{
	if (!SB_MUTATED(r5_fence))
		sb_fence_heavy_sure(e->asym); /* R5 <-> D2 */
	for (uint64_t i = 0; i <= e->mask; i++) {
		uint64_t own = ld_acq(&e->pown[i]), p = SB_POS(own), w;
		_Atomic uint64_t *seq = &sb_ring_slot(e, p)->seq;

		if (SB_OWNER(own) != 0)
			continue;
		w = ld_acq(seq);
		if ((w & SB_SEQ_KIND) == (p | SB_DONE) &&
		    cas_acqrel(seq, &w, (p + e->lap) | SB_FREE)) /* -> A1 */
			what->n_orphans++;
	}
}

SB_NOINLINE void sb_ring_recover(struct sb_ring_end *e, uint32_t id,
				 struct sb_ring_recovered *what)
{
	bool request = e->flags & SB_RING_REQUEST;

	if (!SB_MUTATED(r1_tail))
		sb_ring_help_tail(e, ld_acq(&e->ring->tail)); /* R1 */
	if (!SB_MUTATED(r1_head))
		sb_ring_help_head(e, ld_acq(&e->ring->head));
	if (request)
		add_acqrel(&e->ring->orphans, 1);
	for (uint64_t i = 0; i <= e->mask; i++) {
		uint64_t own = ld_acq(&e->pown[i]), taken;

		if (SB_OWNER(own) == id && !SB_MUTATED(r2))
			bury_claim(e, own, what);
		taken = ld_acq(&e->cown[i]);
		if (sb_own_has(taken) && SB_OWNER(taken) == id &&
		    !SB_MUTATED(r3))
			hand_over(e, i, taken, what);
		taken = ld_acq(&e->cown[i]);
		if (SB_STATE(taken) == SB_QUARANTINED)
			settle_quarantined(e, SB_POS(taken));
		if (request && !SB_MUTATED(r4))
			orphan(e, i, id);
	}
	if (request && !SB_MUTATED(r5))
		free_orphans(e, what);
	if (!SB_MUTATED(r6))
		add_acqrel(&e->ring->gen, 1); /* R6 */
}
