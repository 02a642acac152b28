/*
 * fuzz_bus.c - a small bus with something of everything, for fuzz targets
 */
#include "config.h"

#include "bus/channel.h"
#include "tests/fuzz/fuzz_bus.h"

#define REQUEST_BYTES 24u

static int nothing(void *ctx, const void *req, size_t len_bytes,
		   struct bus_reply *reply)
{
	(void)ctx;
	(void)req;
	(void)len_bytes;
	(void)reply;
	return 0;
}

static void open_queue(struct fuzz_bus *f, const char *name, uint32_t n_slots,
		       uint32_t flags, struct bus_queue **a,
		       struct bus_queue **b)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;

	c.n_slots = n_slots;
	c.slot_bytes = FUZZ_SLOT_BYTES;
	c.flags = flags;
	FUZZ_CHECK(!bus_queue_open(f->a, name, &c, a));
	FUZZ_CHECK(!bus_queue_open(f->b, name, NULL, b));
}

static void open_pipe(struct fuzz_bus *f, const char *name, uint32_t slot_bytes,
		      uint32_t flags, struct bus_pipe **a, struct bus_pipe **b)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;

	c.slot_bytes = slot_bytes;
	c.flags = flags;
	FUZZ_CHECK(!bus_pipe_open(f->a, name, &c, 0, a));
	FUZZ_CHECK(!bus_pipe_open(f->b, name, NULL, 1, b));
}

static void start_coord(struct fuzz_bus *f)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct bus_channel_spec spec = { 0 };
	int idx;

	c.handler = nothing;
	c.n_workers = 1;
	c.window = 4;
	c.request_bytes = REQUEST_BYTES;
	c.result_bytes = FUZZ_RESULT_BYTES;
	FUZZ_CHECK(!bus_coord_start(f->a, "w", &c, &f->coord));
	idx = bus_channel_find(f->b, "w");
	FUZZ_CHECK(idx >= 0);
	f->serve.bus = f->b;
	f->serve.idx = (uint32_t)idx;
	bus_request_plan(REQUEST_BYTES, FUZZ_RESULT_BYTES, &spec,
			 &f->serve.layout);
	FUZZ_CHECK(!bus_channel_attach(f->b, (uint32_t)idx, &f->serve.chan,
				       &f->serve.end));
}

static void send_some(struct fuzz_bus *f)
{
	unsigned char msg[700] = "message";

	for (uint32_t i = 0; i < 3; i++) {
		FUZZ_CHECK(!bus_queue_put(f->qa, msg, 8 + i * 300, 0));
		FUZZ_CHECK(!bus_queue_put(f->ja, msg, 8 + i, 0));
		FUZZ_CHECK(!bus_submit(f->coord, i, msg, 8 + i * 100, 0));
	}
	FUZZ_CHECK(!bus_pipe_send(f->pa, msg, 8, 0));
	FUZZ_CHECK(!bus_pipe_send(f->sa, msg, 600, 0));
}

/* Offsets of the words by which rings and pipes go on; the rest of the segment
 * is mostly bytes of messages. */
static uint32_t hot[1024];
static uint32_t n_hot;

static void hot_words(size_t off, uint32_t n)
{
	for (; n && n_hot < sizeof(hot) / sizeof(*hot); n--, off += 8)
		hot[n_hot++] = (uint32_t)off;
}

static void hot_ring(size_t off)
{
	hot_words(off + offsetof(struct bus_channel, coord), 1);
	off += sizeof(struct bus_channel);
	hot_words(off + offsetof(struct sb_ring, tail), 1);
	hot_words(off + offsetof(struct sb_ring, head), 1);
	hot_words(off + offsetof(struct sb_ring, gen), 3);
	hot_words(off + offsetof(struct sb_ring, rest), 64);
}

static void hot_pipe(size_t off, uint32_t slot_bytes)
{
	hot_words(off, 2);
	hot_words(off + offsetof(struct bus_pipe_head, side), 4);
	hot_words(off + offsetof(struct bus_pipe_head, meet), 8);
	off += sizeof(struct bus_pipe_head);
	for (int i = 0; i < 2; i++, off += sb_spsc_bytes(slot_bytes)) {
		hot_words(off + offsetof(struct sb_spsc, position), 2);
		hot_words(off + offsetof(struct sb_spsc, released), 1);
		hot_words(off + offsetof(struct sb_spsc, cap), 2);
		hot_words(off + offsetof(struct sb_spsc, slots), 16);
		hot_words(off + offsetof(struct sb_spsc, slots) + slot_bytes,
			  16);
	}
}

static void find_hot(const struct bus_map *map)
{
	const struct bus_dirent *d = map->dir;

	for (; ld_rlx(&d->ready); d++) {
		if (ld_rlx(&d->kind) != BUS_CHAN_PIPE)
			hot_ring(d->off);
		else
			hot_pipe(d->off, d->name[0] == 'p' ? 256 : 512);
	}
}

void fuzz_bus_make(struct fuzz_bus *f)
{
	struct bus_config c = BUS_CONFIG_INIT;

	c.wait = BUS_WAIT_FUTEX;
	c.spin = BUS_SPIN_NEVER;
	c.max_endpoints = 4;
	c.channel_bytes = 40960;
	c.max_message_bytes = FUZZ_MESSAGE_MAX;
	c.blob_bytes = 16384;
	FUZZ_CHECK(!bus_create(NULL, &c, &f->a));
	FUZZ_CHECK(!bus_attach(f->a, &f->b));
	open_queue(f, "q", 8, 0, &f->qa, &f->qb);
	open_queue(f, "j", 4, BUS_QUEUE_JOINABLE, &f->ja, &f->jb);
	open_pipe(f, "p", 256, 0, &f->pa, &f->pb);
	open_pipe(f, "s", 512, BUS_PIPE_SIMPLEX, &f->sa, &f->sb);
	start_coord(f);
	send_some(f);
	f->base = f->a->map->seg.base;
	f->bytes = f->a->map->seg.bytes;
	find_hot(f->a->map);
}

/* Where something is that matters: a byte of the segment. */
static size_t place(struct fuzz_in *in, const struct fuzz_bus *f)
{
	const struct bus_map *map = f->a->map;
	uint32_t at = fuzz_u8(in), lo = fuzz_u8(in);

	switch (at >> 5) {
	case 0:
		return lo * 8 % sizeof(struct bus_header);
	case 1:
		return map->off.ep + (at & 3) * sizeof(struct bus_ep) +
		       lo * 8 % sizeof(struct bus_ep);
	case 2: /* six entries of the directory */
		return map->off.dir + (lo * 8 % (6 * 128));
	case 3: /* owners and lengths of the cells, and the pool's head */
		return map->off.blob + lo * 8 + (at & 1) * 2048;
	case 4: /* the channels */
		return map->off.chan + ((at & 0x1f) << 8 | lo) * 8 % 40960;
	default:
		return hot[((at & 0x1f) << 8 | lo) % n_hot];
	}
}

size_t fuzz_bus_poke(struct fuzz_in *in, struct fuzz_bus *f)
{
	size_t off = place(in, f);
	uint32_t how = fuzz_u8(in);
	uint64_t w;

	if (off > f->bytes - 8)
		off = f->bytes - 8;
	memcpy(&w, f->base + off, 8);
	switch (how & 7) {
	case 0:
		w = fuzz_number(in);
		break;
	case 1:
		w ^= UINT64_C(1) << (how >> 2 & 63);
		break;
	case 2: /* another position, near */
		w += ((uint64_t)(how >> 3) - 16) << 16;
		break;
	case 3: /* or far */
		w += (uint64_t)fuzz_u8(in) << 56;
		break;
	case 4: /* other fields */
		w = (w & ~UINT64_C(0xffff)) | fuzz_bytes(in, 2);
		break;
	case 5: /* another lap, or the upper half of a pair */
		w += ((uint64_t)(how >> 3) - 16) << 32;
		break;
	case 6:
		w = (w & ~UINT64_C(0xffffffff)) | (uint32_t)fuzz_number(in);
		break;
	default:
		w += (uint64_t)(how >> 3) - 16;
	}
	memcpy(f->base + off, &w, 8);
	return off;
}
