/*
 * flip_words.c - which words may be flipped, and to what
 */
#include "config.h"

#include <inttypes.h>

#include "tools/torture/flip.h"

static void add_words(const char *where, uint64_t off, uint64_t bytes)
{
	for (uint64_t i = 0; i + 8 <= bytes && fl.n_words < N_WORDS; i += 8)
		fl.word[fl.n_words++] =
			(struct word){ .off = (uint32_t)(off + i),
				       .where = where };
}

void flip_find_words(void)
{
	const struct bus_map *m = fl.bus->map;
	uint64_t bytes;
	uint32_t n;

	fl.n_words = 0;
	add_words("header", 0, sizeof(struct bus_header));
	add_words("endpoint", m->off.ep, MAX_EP * sizeof(struct bus_ep));
	add_words("directory", m->off.dir, 3 * sizeof(struct bus_dirent));
	bytes = m->off.plan.class_[0].data_off;
	add_words("pool", m->off.blob, bytes < 2048 ? bytes : 2048);
	fl.first_own = fl.n_words;
	n = t_stats(fl.bus).n_channels;
	for (uint32_t i = 0; i < n; i++)
		add_words("channel", m->dir[i].off,
			  m->dir[i].bytes < 8192 ? m->dir[i].bytes : 8192);
	if (fl.first_own == fl.n_words) /* its channel is yet to come */
		add_words("channel", m->off.chan, 4096);
}

static uint64_t hostile(uint32_t value, uint64_t was, const uint64_t *at,
			uint64_t random)
{
	switch (value) {
	case 0:
		return 0;
	case 1:
		return ~UINT64_C(0);
	case 2:
		return was ^ UINT64_C(1) << 63;
	case 3:
		return was ^ UINT64_C(1) << 31;
	case 4:
		return was + 1;
	case 5:
		return was - 1;
	case 6: /* a position further, or an owner */
		return was + 0x10000;
	case 7:
		return was - 0x10000;
	case 8:
		return was + 0x100;
	case 9: /* what the neighbours say */
		return at[1];
	case 10:
		return at[-1];
	case 11:
		return was | 0xffffffff;
	case 12:
		return was | UINT64_C(0xffffffff) << 32;
	case 13:
		return was & ~UINT64_C(0xffffffff);
	case 14:
		return was ^ UINT64_C(1) << random % 64;
	default:
		return random;
	}
}

bool flip_is_there(uint64_t at)
{
	return (at >> K_BITS) / N_VALUES * 8 + 16 <= fl.bytes;
}

uint64_t flip_offset_of(uint64_t at)
{
	uint64_t off = (at >> K_BITS) / N_VALUES * 8;

	/* Both neighbours have to be there. */
	return off < 8 || off + 16 > fl.bytes ? 8 : off;
}

const char *flip_place_of(uint64_t off)
{
	for (uint32_t i = 0; i < fl.n_words; i++)
		if (fl.word[i].off == off)
			return fl.word[i].where;
	return "segment";
}

void flip_do(uint64_t at)
{
	uint64_t off = flip_offset_of(at), seed = at, was, with;
	uint64_t *to = (uint64_t *)(void *)(fl.memory + off);

	was = __atomic_load_n(to, __ATOMIC_RELAXED);
	with = hostile((uint32_t)(at >> K_BITS) % N_VALUES, was, to,
		       torture_random(&seed));
	__atomic_store_n(to, with, __ATOMIC_RELAXED);
	if (torture->at >= 0)
		torture_say("flip: %s, %" PRIu64 ": %" PRIx64
			    " becomes %" PRIx64 "\n",
			    flip_place_of(off), off, was, with);
}
