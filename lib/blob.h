/*
 * blob.h - memory for messages that are larger than a slot
 *
 * A pool of cells in shared memory, in classes of size that grow by four.
 * Each cell has an owner word, and at every instant it says whose the cell is:
 *
 *	FREE                nobody's
 *	OWNED, endpoint     claimed by it, for a message not yet in a ring
 *	SLOT, channel, pos  goes with the message at that position of a ring
 *
 *	FREE -claim (CAS)-> OWNED(me) -hand (store)-> SLOT(c, p) -free (CAS)-> FREE
 *	     OWNED(me) -drop (store)-> FREE   SLOT(c, p) -keep (CAS)-> OWNED(me)
 *
 * A cell is handed to a position after that is claimed and before it is
 * published, and freed after its slot was.  So a SIGKILL leaves either a cell
 * OWNED by the dead, or one in a SLOT whose position was tombed or finished;
 * sb_blob_recover and sb_blob_sweep find both.  The last step is a CAS because
 * a sweep may have been faster than a slow reader, and the cell somebody
 * else's by then.
 *
 *	B1 hand: store owner release  --->  B2 sweep: load owner acquire
 *	   after pown was recorded             then asks whether pos is alive
 *	B3 free: CAS release          --->  B4 claim: CAS acquire
 *	   the reader is done                  the writer may write
 */
#ifndef SB_BLOB_H
#define SB_BLOB_H

#include "lib/atomics.h"
#include "lib/def.h"

#define SB_BLOB_CLASSES_MAX 24u
#define SB_BLOB_CELL_MIN    256u
#define SB_BLOB_NONE        UINT32_MAX

struct sb_blob_class {
	uint64_t cell_bytes;
	uint64_t data_off;   /* of its first cell, from the pool */
	uint32_t first_cell; /* cells are numbered through all classes */
	uint32_t n_cells;
};
static_assert(sizeof(struct sb_blob_class) == 24, "blob class");

/* The pool in shared memory: this, an owner word and a length for each cell,
 * the cells.  This part is written before it is published, never after. */
struct sb_blob_pool {
	uint32_t n_classes;
	uint32_t n_cells;
	uint64_t bytes;
	uint64_t reserved[6];
	struct sb_blob_class class_[SB_BLOB_CLASSES_MAX];
	/* the words follow */
};
static_assert(offsetof(struct sb_blob_pool, class_) == 64, "classes");
static_assert(sizeof(struct sb_blob_pool) == 5 * SB_FAR, "blob pool");

/* One endpoint's view: geometry copied and checked, hints of its own. */
struct sb_blob {
	unsigned char *base;
	_Atomic uint64_t *owner;
	_Atomic uint64_t *len;
	uint32_t n_classes, n_cells;
	uint32_t me;
	struct sb_blob_class class_[SB_BLOB_CLASSES_MAX];
	uint32_t hint[SB_BLOB_CLASSES_MAX];
};

/*
 * sb_blob_plan - the pool for messages up to @max_bytes in about @pool_bytes
 *
 * Fills @pool (its classes) and returns the bytes that it takes, or 0 when
 * @pool_bytes cannot hold four cells of the largest class.
 */
size_t sb_blob_plan(struct sb_blob_pool *pool, uint64_t max_bytes,
		    uint64_t pool_bytes);

/* Returns 0, or -EPROTO when what @pool says does not fit @bytes. */
int sb_blob_attach(struct sb_blob *b, struct sb_blob_pool *pool, size_t bytes,
		   uint32_t id);

/*
 * sb_blob_claim - a cell of at least @len_bytes, ours
 *
 * Returns 0, -EAGAIN (none is free) or -EMSGSIZE (larger than any).
 */
int sb_blob_claim(struct sb_blob *b, uint64_t len_bytes, uint32_t *cell);

/* Is @cell (any number) one that we claimed and have not handed on? */
bool sb_blob_is_own(const struct sb_blob *b, uint32_t cell);

/* Our cell is not needed any more. */
void sb_blob_drop(struct sb_blob *b, uint32_t cell);

/* Would sb_blob_claim find @n of them now?  A look, nothing is claimed. */
bool sb_blob_spare(const struct sb_blob *b, uint64_t len_bytes, uint32_t n);

/* Our cell now goes with position @pos of @channel, which we have claimed. */
void sb_blob_hand(struct sb_blob *b, uint32_t cell, uint32_t channel,
		  uint64_t pos);

/* Does @cell (any number a peer may have written) go with that position? */
bool sb_blob_is(const struct sb_blob *b, uint32_t cell, uint32_t channel,
		uint64_t pos);

/* The cell of a position that we are about to finish becomes ours, so that its
 * bytes stay; false when it does not go with that position. */
bool sb_blob_keep(struct sb_blob *b, uint32_t cell, uint32_t channel,
		  uint64_t pos);

/* Free a cell of a finished position; false when a sweep did it before. */
bool sb_blob_free(struct sb_blob *b, uint32_t cell, uint32_t channel,
		  uint64_t pos);

/* Free all cells of a finished position, when it is not known which. */
void sb_blob_free_all(struct sb_blob *b, uint32_t channel, uint64_t pos);

void *sb_blob_data(const struct sb_blob *b, uint32_t cell);
uint64_t sb_blob_cell_bytes(const struct sb_blob *b, uint32_t cell);

/* Length of the message in a cell.  get says -EPROTO for more than fits. */
void sb_blob_set_len(struct sb_blob *b, uint32_t cell, uint64_t len_bytes);
int sb_blob_get_len(const struct sb_blob *b, uint32_t cell,
		    uint64_t *len_bytes);

/* Free what the dead endpoint @id owned.  Idempotent, concurrent, killable. */
void sb_blob_recover(struct sb_blob *b, uint32_t id);

/* Free the cells whose position @alive denies.  As sb_blob_recover. */
void sb_blob_sweep(struct sb_blob *b,
		   bool (*alive)(void *arg, uint32_t channel, uint64_t pos),
		   void *arg);

/* Bytes of all cells, and of those in use; a snapshot. */
void sb_blob_count(const struct sb_blob *b, uint64_t *bytes, uint64_t *used);

#endif
