/*
 * blob.c - memory for messages that are larger than a slot (see blob.h)
 */
#include "config.h"

#include <errno.h>

#include "lib/blob.h"
#include "lib/copy.h"

/* kind, in the lowest bits of an owner word */
enum { FREE, OWNED, SLOT };

static uint64_t owned_by(uint32_t id)
{
	return (uint64_t)id << 8 | OWNED;
}

static uint64_t in_slot(uint32_t channel, uint64_t pos)
{
	return (pos & ~UINT64_C(0xffff)) | (uint64_t)(channel & 0xff) << 8 |
	       SLOT;
}

static uint64_t words_bytes(uint32_t n_cells)
{
	return SB_ROUND_UP((uint64_t)n_cells * 16, SB_FAR);
}

/* ----------------------------------------------------------------- plan -- */

size_t sb_blob_plan(struct sb_blob_pool *pool, uint64_t max_bytes,
		    uint64_t pool_bytes)
{
	uint32_t n = 0, n_cells = 0;
	uint64_t cell = SB_BLOB_CELL_MIN, off, share;

	*pool = (struct sb_blob_pool){ 0 };
	if (max_bytes > pool_bytes)
		return 0;
	for (; n < SB_BLOB_CLASSES_MAX - 1 && cell < max_bytes; cell *= 4)
		pool->class_[n++].cell_bytes = cell;
	if (max_bytes < SB_BLOB_CELL_MIN)
		max_bytes = SB_BLOB_CELL_MIN;
	pool->class_[n++].cell_bytes = SB_ROUND_UP(max_bytes, SB_CACHELINE);
	pool->n_classes = n;

	/* The largest class needs four cells to be of use; the others share
	 * the rest alike. */
	cell = pool->class_[n - 1].cell_bytes;
	if (cell > pool_bytes / 4)
		return 0;
	share = pool_bytes / n;
	if (share < 4 * cell && n > 1)
		share = (pool_bytes - 4 * cell) / (n - 1);
	for (uint32_t i = 0; i < n; i++) {
		struct sb_blob_class *c = &pool->class_[i];
		uint64_t cells = share / c->cell_bytes;

		if (i == n - 1 && cells < 4)
			cells = 4;
		if (cells > 1u << 16)
			cells = 1u << 16;
		c->n_cells = (uint32_t)cells;
		c->first_cell = n_cells;
		n_cells += c->n_cells;
	}
	pool->n_cells = n_cells;
	off = SB_ROUND_UP(sizeof(*pool), SB_FAR) + words_bytes(n_cells);
	for (uint32_t i = 0; i < n; i++) {
		pool->class_[i].data_off = off;
		off += pool->class_[i].cell_bytes * pool->class_[i].n_cells;
	}
	pool->bytes = off;
	return off;
}

/* --------------------------------------------------------------- attach -- */

/* The same sums as in the plan, on a copy of what shared memory says. */
static bool plausible(const struct sb_blob_pool *p, size_t bytes)
{
	uint64_t off = SB_ROUND_UP(sizeof(*p), SB_FAR), n_cells = 0;

	if (p->n_classes < 1 || p->n_classes > SB_BLOB_CLASSES_MAX ||
	    p->n_cells > SB_BLOB_CLASSES_MAX << 16 || p->bytes > bytes)
		return false;
	off += words_bytes(p->n_cells);
	for (uint32_t i = 0; i < p->n_classes; i++) {
		const struct sb_blob_class *c = &p->class_[i];
		uint64_t all;

		if (c->cell_bytes < SB_BLOB_CELL_MIN ||
		    c->n_cells > 1u << 16 || c->first_cell != n_cells ||
		    c->data_off != off || c->cell_bytes % SB_CACHELINE ||
		    __builtin_mul_overflow(c->cell_bytes, c->n_cells, &all) ||
		    __builtin_add_overflow(off, all, &off) || off > bytes)
			return false;
		if (i && c->cell_bytes <= p->class_[i - 1].cell_bytes)
			return false;
		n_cells += c->n_cells;
	}
	return n_cells == p->n_cells && off == p->bytes;
}

int sb_blob_attach(struct sb_blob *b, struct sb_blob_pool *pool, size_t bytes,
		   uint32_t id)
{
	struct sb_blob_pool copy;

	if (bytes < sizeof(*pool))
		return -EPROTO;
	sb_copy_once(&copy, pool, sizeof(copy));
	if (!plausible(&copy, bytes) && !SB_MUTATED(check_pool))
		return -EPROTO;
	*b = (struct sb_blob){ .base = (unsigned char *)pool,
			       .n_classes = copy.n_classes,
			       .n_cells = copy.n_cells,
			       .me = id };
	b->owner = (void *)(b->base + SB_ROUND_UP(sizeof(*pool), SB_FAR));
	b->len = b->owner + b->n_cells;
	for (uint32_t i = 0; i < b->n_classes; i++) {
		b->class_[i] = copy.class_[i];
		/* Start apart, so that endpoints do not meet. */
		if (b->class_[i].n_cells)
			b->hint[i] = id * 37 % b->class_[i].n_cells;
	}
	return 0;
}

static const struct sb_blob_class *class_of(const struct sb_blob *b,
					    uint32_t cell)
{
	uint32_t i = 0;

	while (i + 1 < b->n_classes && cell >= b->class_[i + 1].first_cell)
		i++;
	return &b->class_[i];
}

/* ----------------------------------------------------------- claim, free -- */

static bool claim_in(struct sb_blob *b, uint32_t class_, uint32_t *cell)
{
	const struct sb_blob_class *c = &b->class_[class_];
	uint32_t i = b->hint[class_];

	for (uint32_t k = 0; k < c->n_cells; k++) {
		_Atomic uint64_t *own = &b->owner[c->first_cell + i];
		uint64_t old = ld_rlx(own);
		uint32_t here = i;

		i = i + 1 == c->n_cells ? 0 : i + 1;
		if ((old & 3) != FREE)
			continue;
		if (SB_MUTATED(claim_cas))
			old = ld_rlx(own);
		if (cas_acqrel(own, &old, owned_by(b->me))) { /* B4 <- B3 */
			b->hint[class_] = i;
			*cell = c->first_cell + here;
			return true;
		}
	}
	return false;
}

int sb_blob_claim(struct sb_blob *b, uint64_t len_bytes, uint32_t *cell)
{
	if (len_bytes > b->class_[b->n_classes - 1].cell_bytes)
		return -EMSGSIZE;
	for (uint32_t i = 0; i < b->n_classes; i++)
		if (b->class_[i].cell_bytes >= len_bytes &&
		    claim_in(b, i, cell))
			return 0;
	return -EAGAIN;
}

bool sb_blob_is_own(const struct sb_blob *b, uint32_t cell)
{
	return cell < b->n_cells && ld_rlx(&b->owner[cell]) == owned_by(b->me);
}

bool sb_blob_spare(const struct sb_blob *b, uint64_t len_bytes, uint32_t n)
{
	for (uint32_t i = 0; i < b->n_classes; i++) {
		const struct sb_blob_class *c = &b->class_[i];

		for (uint32_t k = 0;
		     c->cell_bytes >= len_bytes && k < c->n_cells; k++)
			if ((ld_rlx(&b->owner[c->first_cell + k]) & 3) ==
				    FREE &&
			    !--n)
				return true;
	}
	return false;
}

void sb_blob_drop(struct sb_blob *b, uint32_t cell)
{
	/* Ours: nobody else stores while we live.  Next claim starts here. */
	st_rel(&b->owner[cell], FREE); /* B3 -> B4 */
}

void sb_blob_hand(struct sb_blob *b, uint32_t cell, uint32_t channel,
		  uint64_t pos)
{
	st_rel(&b->owner[cell], in_slot(channel, pos)); /* B1 -> B2 */
}

bool sb_blob_is(const struct sb_blob *b, uint32_t cell, uint32_t channel,
		uint64_t pos)
{
	return cell < b->n_cells &&
	       ld_acq(&b->owner[cell]) == in_slot(channel, pos);
}

bool sb_blob_keep(struct sb_blob *b, uint32_t cell, uint32_t channel,
		  uint64_t pos)
{
	uint64_t old = in_slot(channel, pos);

	return cell < b->n_cells &&
	       cas_acqrel(&b->owner[cell], &old, owned_by(b->me));
}

bool sb_blob_free(struct sb_blob *b, uint32_t cell, uint32_t channel,
		  uint64_t pos)
{
	uint64_t old = in_slot(channel, pos);

	if (SB_MUTATED(free_cas) && cell < b->n_cells)
		old = ld_rlx(&b->owner[cell]);
	return cell < b->n_cells &&
	       cas_acqrel(&b->owner[cell], &old, FREE); /* B3 -> B4 */
}

void sb_blob_free_all(struct sb_blob *b, uint32_t channel, uint64_t pos)
{
	for (uint32_t i = 0; i < b->n_cells; i++)
		if (ld_rlx(&b->owner[i]) == in_slot(channel, pos))
			sb_blob_free(b, i, channel, pos);
}

void *sb_blob_data(const struct sb_blob *b, uint32_t cell)
{
	const struct sb_blob_class *c = class_of(b, cell);

	return b->base + c->data_off + (cell - c->first_cell) * c->cell_bytes;
}

uint64_t sb_blob_cell_bytes(const struct sb_blob *b, uint32_t cell)
{
	return class_of(b, cell)->cell_bytes;
}

void sb_blob_set_len(struct sb_blob *b, uint32_t cell, uint64_t len_bytes)
{
	st_rlx(&b->len[cell], len_bytes);
}

int sb_blob_get_len(const struct sb_blob *b, uint32_t cell,
		    uint64_t *len_bytes)
{
	uint64_t len = ld_rlx(&b->len[cell]);

	if (len > sb_blob_cell_bytes(b, cell) && !SB_MUTATED(check_cell_len))
		return -EPROTO;
	*len_bytes = len;
	return 0;
}

/* ------------------------------------------------------------- recovery -- */

void sb_blob_recover(struct sb_blob *b, uint32_t id)
{
	for (uint32_t i = 0; i < b->n_cells; i++) {
		uint64_t old = ld_rlx(&b->owner[i]);

		if (old == owned_by(id) && !SB_MUTATED(recover_cells))
			cas_acqrel(&b->owner[i], &old, FREE); /* B3 -> B4 */
	}
}

void sb_blob_sweep(struct sb_blob *b,
		   bool (*alive)(void *arg, uint32_t channel, uint64_t pos),
		   void *arg)
{
	for (uint32_t i = 0; i < b->n_cells; i++) {
		uint64_t old = ld_acq(&b->owner[i]); /* B2 <- B1 */

		if (SB_MUTATED(sweep))
			continue;
		if ((old & 3) == SLOT &&
		    !alive(arg, (uint32_t)(old >> 8) & 0xff,
			   old & ~UINT64_C(0xffff))) {
			if (SB_MUTATED(sweep_cas))
				old = ld_rlx(&b->owner[i]);
			cas_acqrel(&b->owner[i], &old, FREE); /* B3 -> B4 */
		}
	}
}

void sb_blob_count(const struct sb_blob *b, uint64_t *bytes, uint64_t *used)
{
	*bytes = *used = 0;
	for (uint32_t i = 0; i < b->n_cells; i++) {
		uint64_t n = sb_blob_cell_bytes(b, i);

		*bytes += n;
		if ((ld_rlx(&b->owner[i]) & 3) != FREE)
			*used += n;
	}
}
