/*
 * pool_chunk.h - several tasks in one request, and their results in one answer
 *
 *	request  | struct bus_chunk | item | item | ...
 *	answer   | struct bus_chunk_item, bytes | ...
 *
 * Each is padded to 8 bytes; behind the text of an error there is a NUL.  The
 * other side may write both while we read, or before: so nothing is trusted.
 */
#ifndef BUS_POOL_CHUNK_H
#define BUS_POOL_CHUNK_H

#include <errno.h>
#include <string.h>

#include "bus/shmbus.h"
#include "lib/copy.h"
#include "lib/def.h"

struct bus_chunk {
	uint32_t n;
	uint32_t item_bytes; /* of each; BUS_CHUNK_VAR: each begins with a
			      * uint64_t that says its length */
};

static_assert(sizeof(struct bus_chunk) == 8, "chunk");
#define BUS_CHUNK_VAR UINT32_MAX

/* What the answer has for each item; then its bytes. */
struct bus_chunk_item {
	int32_t code;
	uint32_t kind; /* BUS_RESULT_OK, BUS_RESULT_ERROR */
	uint64_t len_bytes;
};

static_assert(sizeof(struct bus_chunk_item) == 16, "chunk item");

/* What is left to be read of a request or an answer. */
struct bus_chunk_rest {
	const unsigned char *at;
	size_t left;
};

SB_INLINE uint64_t bus_chunk_padded(uint64_t len)
{
	return SB_ROUND_UP(len, 8);
}

SB_INLINE int bus_chunk_read(struct bus_chunk_rest *rest, void *to, size_t n)
{
	if (rest->left < n)
		return -EPROTO;
	sb_copy_once(to, rest->at, n);
	rest->at += n;
	rest->left -= n;
	return 0;
}

SB_INLINE int bus_chunk_skip(struct bus_chunk_rest *rest, uint64_t len,
			     uint64_t room, const unsigned char **data)
{
	if (len > rest->left || room < len || room > rest->left)
		return -EPROTO;
	*data = rest->at;
	rest->at += room;
	rest->left -= (size_t)room;
	return 0;
}

/* The next item of a request: 0, or -EPROTO. */
SB_INLINE int bus_chunk_next(struct bus_chunk_rest *rest, uint32_t item_bytes,
			     const unsigned char **item, size_t *len)
{
	uint64_t n = item_bytes;

	if (item_bytes == BUS_CHUNK_VAR && bus_chunk_read(rest, &n, sizeof(n)))
		return -EPROTO;
	*len = (size_t)n;
	return bus_chunk_skip(rest, n, bus_chunk_padded(n), item);
}

/* How much room an item's result takes. */
SB_INLINE uint64_t bus_chunk_room(const struct bus_chunk_item *it)
{
	return bus_chunk_padded(it->len_bytes + (it->kind != BUS_RESULT_OK));
}

/* The next result of an answer, as kind, code and bytes of @r. */
SB_INLINE int bus_chunk_result(struct bus_chunk_rest *rest,
			       struct bus_result *r)
{
	struct bus_chunk_item it;
	const unsigned char *data;

	if (bus_chunk_read(rest, &it, sizeof(it)) ||
	    it.kind > BUS_RESULT_ERROR ||
	    bus_chunk_skip(rest, it.len_bytes, bus_chunk_room(&it), &data))
		return -EPROTO;
	r->kind = it.kind;
	r->code = it.code;
	r->data = data;
	r->len_bytes = (size_t)it.len_bytes;
	return 0;
}

#endif
