/*
 * test_blob.c - tests of lib/blob.c; Criterion suite "blob"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/blob.h"
#include "tests/support/proc.h"

#define MAX_BYTES  20000u
#define POOL_BYTES (1u << 20)
#define ME         7u
#define POS(n)     ((uint64_t)(n) << 16)

#define lengthof(a) (sizeof(a) / sizeof((a)[0]))

static struct sb_blob_pool *pool;
static size_t pool_bytes;
static struct sb_blob blob;

static void setup(void)
{
	struct sb_blob_pool plan;

	pool_bytes = sb_blob_plan(&plan, MAX_BYTES, POOL_BYTES);
	pool = mmap(NULL, pool_bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(pool, MAP_FAILED);
	memcpy(pool, &plan, sizeof(plan));
	cr_assert_eq(sb_blob_attach(&blob, pool, pool_bytes, ME), 0);
}

TestSuite(blob, .init = setup, .timeout = 200.0);

static uint64_t used(void)
{
	uint64_t all, n;

	sb_blob_count(&blob, &all, &n);
	return n;
}

static uint32_t claim(uint64_t len)
{
	uint32_t cell;

	cr_assert_eq(sb_blob_claim(&blob, len, &cell), 0);
	return cell;
}

/* Plan and attach --------------------------------------------------------- */

Test(blob, plan_needs_room_for_four_of_the_largest)
{
	struct sb_blob_pool p;

	cr_assert_eq(sb_blob_plan(&p, 1024, 1023), 0);
	cr_assert_eq(sb_blob_plan(&p, 1024, 4095), 0);
	cr_assert_neq(sb_blob_plan(&p, 1024, 4096), 0);
	cr_assert_eq(p.class_[p.n_classes - 1].n_cells, 4);
	/* a cell has SB_BLOB_CELL_MIN at least */
	cr_assert_eq(sb_blob_plan(&p, 1, 4 * SB_BLOB_CELL_MIN - 1), 0);
	cr_assert_neq(sb_blob_plan(&p, 1, 4 * SB_BLOB_CELL_MIN), 0);
}

Test(blob, every_plan_can_be_attached)
{
	static const uint64_t extra[] = { 0, 1, 4095, 1 << 20, 100 << 20 };
	uint64_t max = 1;

	for (; max < UINT64_C(1) << 40; max = max * 3 / 2 + 1) {
		for (size_t i = 0; i < lengthof(extra); i++) {
			uint64_t want = 5 * max + 65536 + extra[i];
			struct sb_blob_pool p;
			struct sb_blob b;
			size_t n = sb_blob_plan(&p, max, want);

			cr_assert_neq(n, 0);
			cr_assert_leq(n, want + want / 8 + (1 << 18));
			cr_assert_geq(p.class_[p.n_classes - 1].cell_bytes,
				      max);
			cr_assert_geq(p.class_[p.n_classes - 1].n_cells, 4);
			cr_assert_eq(sb_blob_attach(&b, &p, n, 1), 0);
			cr_assert_eq(sb_blob_attach(&b, &p, n - 1, 1), -EPROTO);
		}
	}
}

Test(blob, attach_refuses_a_pool_that_is_too_short_to_read)
{
	struct sb_blob b;

	cr_assert_eq(sb_blob_attach(&b, pool, sizeof(*pool) - 1, 1), -EPROTO);
	cr_assert_eq(sb_blob_attach(&b, pool, 0, 1), -EPROTO);
}

/* Whatever attach accepts must lie inside of the memory. */
static void check_inside(const struct sb_blob *b)
{
	const unsigned char *end = (unsigned char *)pool + pool_bytes;

	cr_assert_leq((const unsigned char *)(b->len + b->n_cells), end);
	for (uint32_t i = 0; i < b->n_cells; i++) {
		const unsigned char *data = sb_blob_data(b, i);

		cr_assert_geq(data, (const unsigned char *)pool);
		cr_assert_leq(data + sb_blob_cell_bytes(b, i), end);
	}
}

Test(blob, attach_survives_any_word_of_nonsense)
{
	static const uint64_t evil[] = {
		0,
		1,
		63,
		64,
		255,
		UINT32_MAX,
		1u << 31,
		UINT64_MAX,
		UINT64_C(1) << 63,
		1u << 16,
		(1u << 16) + 1,
		UINT64_MAX - 63,
		0x10000001,
		UINT64_C(1) << 40,
	};
	const size_t n = offsetof(struct sb_blob_pool, class_) +
			 (pool->n_classes + 1) * sizeof(pool->class_[0]);
	struct sb_blob b;

	for (size_t at = 0; at + 8 <= n; at += 4) {
		char *p = (char *)pool + at;
		uint64_t was;

		memcpy(&was, p, 8);
		for (size_t i = 0; i < lengthof(evil); i++) {
			for (size_t w = 4; w <= 8; w += 4) {
				memcpy(p, &evil[i], w);
				if (!sb_blob_attach(&b, pool, pool_bytes, 1))
					check_inside(&b);
				memcpy(p, &was, 8);
			}
		}
	}
}

/* Claim and free ---------------------------------------------------------- */

Test(blob, claim_gives_the_smallest_class_that_fits)
{
	for (uint32_t i = 0; i < blob.n_classes; i++) {
		uint64_t most = blob.class_[i].cell_bytes;
		uint64_t least = i ? blob.class_[i - 1].cell_bytes + 1 : 0;

		if (most > MAX_BYTES)
			most = MAX_BYTES;
		for (int k = 0; k < 2; k++) {
			uint32_t cell = claim(k ? most : least);

			cr_assert_eq(sb_blob_cell_bytes(&blob, cell),
				     blob.class_[i].cell_bytes);
			sb_blob_drop(&blob, cell);
		}
	}
	cr_assert_eq(used(), 0);
}

Test(blob, more_than_any_cell_says_emsgsize)
{
	uint64_t most = blob.class_[blob.n_classes - 1].cell_bytes;
	uint32_t cell;

	cr_assert_eq(sb_blob_claim(&blob, most + 1, &cell), -EMSGSIZE);
	cr_assert_eq(sb_blob_claim(&blob, UINT64_MAX, &cell), -EMSGSIZE);
	cr_assert_eq(sb_blob_claim(&blob, most, &cell), 0);
}

Test(blob, all_cells_can_be_claimed_and_none_overlaps)
{
	uint64_t sum, n;
	uint32_t cell;

	for (uint32_t i = 0; i < blob.n_cells; i++) {
		cell = claim(1);
		cr_assert_lt(cell, blob.n_cells);
		memset(sb_blob_data(&blob, cell), (int)cell & 0xff,
		       sb_blob_cell_bytes(&blob, cell));
	}
	cr_assert_eq(sb_blob_claim(&blob, 1, &cell), -EAGAIN);
	sb_blob_count(&blob, &sum, &n);
	cr_assert_eq(sum, n);
	for (cell = 0; cell < blob.n_cells; cell++) {
		const unsigned char *p = sb_blob_data(&blob, cell);
		size_t bytes = sb_blob_cell_bytes(&blob, cell);

		cr_assert_eq(p[0], cell & 0xff);
		cr_assert_eq(p[bytes - 1], cell & 0xff);
	}
	for (cell = 0; cell < blob.n_cells; cell++)
		sb_blob_drop(&blob, cell);
	cr_assert_eq(used(), 0);
	claim(MAX_BYTES);
}

Test(blob, a_full_class_borrows_from_larger_ones_only)
{
	uint32_t last = blob.n_classes - 1, cell;

	for (uint32_t i = 0; i < blob.class_[last].n_cells; i++)
		claim(MAX_BYTES);
	cr_assert_eq(sb_blob_claim(&blob, MAX_BYTES, &cell), -EAGAIN);
	cr_assert_eq(
		sb_blob_claim(&blob, blob.class_[last - 1].cell_bytes, &cell),
		0);
}

Test(blob, a_cell_goes_with_one_position_of_one_channel)
{
	uint32_t cell = claim(100);

	cr_assert_not(sb_blob_is(&blob, cell, 3, POS(5)));
	sb_blob_hand(&blob, cell, 3, POS(5));
	cr_assert(sb_blob_is(&blob, cell, 3, POS(5)));
	cr_assert_not(sb_blob_is(&blob, cell, 2, POS(5)));
	cr_assert_not(sb_blob_is(&blob, cell, 3, POS(6)));
	cr_assert_not(sb_blob_is(&blob, cell + 1, 3, POS(5)));
	cr_assert_not(sb_blob_is(&blob, blob.n_cells, 3, POS(5)));
	cr_assert_not(sb_blob_is(&blob, SB_BLOB_NONE, 3, POS(5)));

	cr_assert_not(sb_blob_free(&blob, cell, 3, POS(4)));
	cr_assert_not(sb_blob_free(&blob, SB_BLOB_NONE, 3, POS(5)));
	cr_assert(sb_blob_free(&blob, cell, 3, POS(5)));
	cr_assert_not(sb_blob_free(&blob, cell, 3, POS(5)));
	cr_assert_eq(used(), 0);
}

Test(blob, positions_may_be_as_large_as_they_get)
{
	uint32_t cell = claim(1);
	uint64_t top = UINT64_C(0xffffffffffff) << 16;

	sb_blob_hand(&blob, cell, 63, top);
	cr_assert(sb_blob_is(&blob, cell, 63, top));
	cr_assert_not(sb_blob_is(&blob, cell, 63, 0));
	cr_assert(sb_blob_free(&blob, cell, 63, top));
}

Test(blob, only_what_is_owned_can_be_taken_for_own)
{
	uint32_t cell = claim(1);

	cr_assert(sb_blob_is_own(&blob, cell));
	cr_assert_not(sb_blob_is_own(&blob, cell + 1));
	cr_assert_not(sb_blob_is_own(&blob, blob.n_cells));
	cr_assert_not(sb_blob_is_own(&blob, SB_BLOB_NONE));
	sb_blob_hand(&blob, cell, 1, POS(1));
	cr_assert_not(sb_blob_is_own(&blob, cell));
	cr_assert_not(sb_blob_keep(&blob, cell, 1, POS(2)));
	cr_assert_not(sb_blob_keep(&blob, SB_BLOB_NONE, 1, POS(1)));
	cr_assert(sb_blob_keep(&blob, cell, 1, POS(1)));
	cr_assert_not(sb_blob_keep(&blob, cell, 1, POS(1)));
	cr_assert(sb_blob_is_own(&blob, cell));
	sb_blob_drop(&blob, cell);
	cr_assert_eq(used(), 0);
}

Test(blob, free_all_frees_what_goes_with_the_position)
{
	for (uint32_t i = 0; i < 10; i++)
		sb_blob_hand(&blob, claim(1), 1, POS(i % 2));
	claim(1);
	sb_blob_free_all(&blob, 1, POS(1));
	cr_assert_eq(used(), 6 * SB_BLOB_CELL_MIN);
	sb_blob_free_all(&blob, 2, POS(0));
	cr_assert_eq(used(), 6 * SB_BLOB_CELL_MIN);
}

Test(blob, a_length_that_does_not_fit_is_refused)
{
	uint32_t cell = claim(MAX_BYTES);
	uint64_t most = sb_blob_cell_bytes(&blob, cell), len;

	sb_blob_set_len(&blob, cell, most);
	cr_assert_eq(sb_blob_get_len(&blob, cell, &len), 0);
	cr_assert_eq(len, most);
	sb_blob_set_len(&blob, cell, most + 1);
	cr_assert_eq(sb_blob_get_len(&blob, cell, &len), -EPROTO);
	sb_blob_set_len(&blob, cell, UINT64_MAX);
	cr_assert_eq(sb_blob_get_len(&blob, cell, &len), -EPROTO);
	sb_blob_set_len(&blob, cell, 0);
	cr_assert_eq(sb_blob_get_len(&blob, cell, &len), 0);
}

/* Recovery ---------------------------------------------------------------- */

Test(blob, recover_frees_what_the_dead_owned_and_no_more)
{
	struct sb_blob other;
	uint32_t mine = claim(1), theirs, handed;

	cr_assert_eq(sb_blob_attach(&other, pool, pool_bytes, 9), 0);
	cr_assert_eq(sb_blob_claim(&other, 1, &theirs), 0);
	cr_assert_eq(sb_blob_claim(&other, 1, &handed), 0);
	sb_blob_hand(&other, handed, 1, POS(1));
	for (int i = 0; i < 2; i++) {
		sb_blob_recover(&blob, 9);
		cr_assert_eq(used(), 2 * SB_BLOB_CELL_MIN);
		cr_assert(sb_blob_is_own(&blob, mine));
		cr_assert(sb_blob_is(&blob, handed, 1, POS(1)));
	}
}

static bool odd_is_alive(void *arg, uint32_t channel, uint64_t pos)
{
	++*(int *)arg;
	return channel == 1 && (pos >> 16) % 2;
}

Test(blob, sweep_frees_cells_of_positions_that_are_over)
{
	uint32_t cell[4];
	int n = 0;

	for (uint32_t i = 0; i < 4; i++) {
		cell[i] = claim(1);
		sb_blob_hand(&blob, cell[i], 1 + i / 2, POS(i));
	}
	claim(1); /* owned: not asked about */
	sb_blob_sweep(&blob, odd_is_alive, &n);
	cr_assert_eq(n, 4);
	cr_assert_eq(used(), 2 * SB_BLOB_CELL_MIN);
	cr_assert(sb_blob_is(&blob, cell[1], 1, POS(1)));
}

Test(blob, nonsense_in_owner_words_does_no_harm)
{
	uint32_t cell;
	int n = 0;

	for (uint32_t i = 0; i < blob.n_cells; i++)
		st_rlx(&blob.owner[i], UINT64_C(0x9e3779b97f4a7c15) * i);
	sb_blob_sweep(&blob, odd_is_alive, &n);
	for (uint32_t id = 0; id < 256; id++)
		sb_blob_recover(&blob, id);
	while (!sb_blob_claim(&blob, 1, &cell))
		memset(sb_blob_data(&blob, cell), 1,
		       sb_blob_cell_bytes(&blob, cell));
	used();
}

/* Several processes ------------------------------------------------------- */

#define N_PROC 4
#define ROUNDS 20000

static int claim_and_drop(void *arg)
{
	uint32_t id = (uint32_t)(uintptr_t)arg, held[8], n = 0;
	struct sb_blob b;

	T_CHECK(sb_blob_attach(&b, pool, pool_bytes, id) == 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t len = (uint64_t)i * 7919 % MAX_BYTES;
		uint32_t *p, cell;

		if (n < lengthof(held) && !sb_blob_claim(&b, len, &cell)) {
			p = sb_blob_data(&b, cell);
			p[0] = p[1] = id;
			held[n++] = cell;
		} else if (n) {
			cell = held[i % n];
			p = sb_blob_data(&b, cell);
			T_CHECK(p[0] == id && p[1] == id);
			if (i % 2) {
				sb_blob_drop(&b, cell);
			} else {
				sb_blob_hand(&b, cell, id, POS(i));
				T_CHECK(sb_blob_free(&b, cell, id, POS(i)));
			}
			held[i % n] = held[n - 1];
			n--;
		}
	}
	while (n)
		sb_blob_drop(&b, held[--n]);
	return 0;
}

Test(blob, a_cell_is_one_processs_at_a_time)
{
	pid_t child[N_PROC];

	/* Leave few, so that they meet. */
	for (uint32_t i = 0; i + 24 < blob.n_cells; i++)
		claim(1);
	for (uint32_t i = 0; i < N_PROC; i++)
		child[i] = t_fork(claim_and_drop, (void *)(uintptr_t)(i + 20));
	for (uint32_t i = 0; i < N_PROC; i++)
		t_join(child[i]);
	sb_blob_recover(&blob, ME);
	cr_assert_eq(used(), 0);
}
