/*
 * fuzz_blob.c - lib/blob on a pool that anybody may have written
 *
 * A pool of a few small cells, or one that a peer describes; two endpoints
 * claim, fill, hand over, keep and free its cells, and between their calls any
 * word of it gets any value.
 */
#include "config.h"

#include <errno.h>

#include "lib/blob.h"
#include "tests/fuzz/fuzz.h"

#define POOL_BYTES 12288u
#define N_CELLS    4u /* that are remembered */

struct state {
	struct sb_blob_pool *pool;
	struct sb_blob b[2];
	uint32_t cell[N_CELLS];
};

static bool parity(void *arg, uint32_t channel, uint64_t pos)
{
	(void)arg;
	return (channel ^ pos >> 16) & 1;
}

static void poke(struct fuzz_in *in, struct state *s)
{
	uint64_t *words = (uint64_t *)s->pool;
	uint32_t at = fuzz_u8(in), n = s->b[0].n_cells;
	uint64_t w = fuzz_number(in);

	if ((at & 0xc0) == 0x00 && n)
		st_rlx(&s->b[0].owner[at % n], w);
	else if ((at & 0xc0) == 0x40 && n)
		st_rlx(&s->b[0].len[at % n], w);
	else
		words[(at | fuzz_u8(in) << 8) % (POOL_BYTES / 8)] = w;
}

/* What a reader does with a number that it found in a slot. */
static void read_cell(struct sb_blob *b, uint32_t cell, uint32_t channel,
		      uint64_t pos)
{
	uint64_t len;

	if (!sb_blob_is(b, cell, channel, pos) ||
	    sb_blob_get_len(b, cell, &len))
		return;
	FUZZ_CHECK(len <= sb_blob_cell_bytes(b, cell));
	fuzz_touch(sb_blob_data(b, cell), len);
}

static void step(struct fuzz_in *in, struct state *s)
{
	uint32_t op = fuzz_u8(in);
	struct sb_blob *b = &s->b[op >> 7];
	uint32_t *cell = &s->cell[op >> 4 & (N_CELLS - 1)];
	uint32_t channel = op >> 5 & 3;
	uint64_t pos = (uint64_t)(op >> 4 & 7) << 16, bytes, used;
	int ret;

	fuzz_begin();
	switch (op & 15) {
	case 0:
	case 1:
		bytes = fuzz_number(in);
		ret = sb_blob_claim(b, bytes, cell);
		FUZZ_CHECK(ret == 0 || ret == -EAGAIN || ret == -EMSGSIZE);
		if (ret)
			break;
		FUZZ_CHECK(*cell < b->n_cells &&
			   sb_blob_cell_bytes(b, *cell) >= bytes);
		memset(sb_blob_data(b, *cell), 0x22,
		       sb_blob_cell_bytes(b, *cell));
		sb_blob_set_len(b, *cell, bytes);
		break;
	case 2:
		if (sb_blob_is_own(b, *cell))
			sb_blob_hand(b, *cell, channel, pos);
		break;
	case 3:
		if (sb_blob_is_own(b, *cell))
			sb_blob_drop(b, *cell);
		break;
	case 4:
	case 5:
		read_cell(b, *cell, channel, pos);
		break;
	case 6:
		(void)sb_blob_keep(b, *cell, channel, pos);
		break;
	case 7:
		(void)sb_blob_free(b, *cell, channel, pos);
		break;
	case 8:
		sb_blob_free_all(b, channel, pos);
		break;
	case 9:
		sb_blob_recover(b, 1 + (op >> 4 & 3));
		break;
	case 10:
		sb_blob_sweep(b, parity, NULL);
		break;
	case 11:
		sb_blob_count(b, &bytes, &used);
		FUZZ_CHECK(used <= bytes && bytes <= POOL_BYTES);
		(void)sb_blob_spare(b, fuzz_number(in), 1 + fuzz_u8(in) % 4);
		break;
	case 12: /* a number that a peer wrote */
		*cell = (uint32_t)fuzz_number(in);
		break;
	default:
		poke(in, s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sb_blob_pool *pool;
	struct fuzz_in in = { data, data + size };
	struct state s = { 0 };
	uint32_t how = fuzz_u8(&in);
	uint64_t max_bytes = 1 + fuzz_bytes(&in, 2) % 2048;
	struct sb_blob_pool plan;
	size_t n = POOL_BYTES;

	if (!pool)
		pool = fuzz_segment(POOL_BYTES);
	s.pool = pool;
	memset(pool, 0, POOL_BYTES);
	/* The words come on top of what the plan is asked for. */
	if (sb_blob_plan(&plan, max_bytes, 8192) <= POOL_BYTES)
		memcpy(pool, &plan, sizeof(plan));
	for (uint32_t k = how & 3; k && fuzz_more(&in); k--) {
		uint64_t *words = (uint64_t *)pool;

		words[fuzz_u8(&in) % (sizeof(plan) / 8)] = fuzz_number(&in);
	}
	if (how & 4)
		n = fuzz_bytes(&in, 2) % (POOL_BYTES + 1);
	fuzz_begin();
	for (uint32_t i = 0; i < 2; i++) {
		int ret = sb_blob_attach(&s.b[i], pool, n, i + 1);

		FUZZ_CHECK(ret == 0 || ret == -EPROTO);
		if (ret)
			return 0;
	}
	while (fuzz_more(&in))
		step(&in, &s);
	return 0;
}
