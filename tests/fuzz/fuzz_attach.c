/*
 * fuzz_attach.c - open a bus that anybody may have written
 *
 * The bytes of a good bus, some of them changed, the header's checksum right
 * or not, the file too short or too long: bus_open() refuses it or attaches,
 * and then its channels are opened and used, and it is closed.
 */
#include "config.h"

#include <errno.h>

#include "tests/fuzz/fuzz_bus.h"

#define MORE_BYTES 4096u /* that the file may be too long */
#define POKES_MAX  1024u

static struct fuzz_bus f;
static unsigned char *image, *good;
static size_t pokes[POKES_MAX]; /* where the image is not good */
static uint32_t n_pokes;

static void setup(void)
{
	fuzz_begin();
	fuzz_bus_make(&f);
	good = malloc(f.bytes);
	image = calloc(1, f.bytes + MORE_BYTES);
	FUZZ_CHECK(good && image);
	memcpy(good, f.base, f.bytes);
	memcpy(image, good, f.bytes);
	f.base = image;
	fuzz_freeze();
}

/* Only where it was changed: all of it takes as long as an attach. */
static void mend(void)
{
	memcpy(image, good, sizeof(struct sb_seg_header));
	while (n_pokes) {
		size_t off = pokes[--n_pokes];

		memcpy(image + off, good + off, 8);
	}
}

/* As in lib/seg.c. */
static void sign(struct sb_seg_header *h)
{
	const unsigned char *b = (const unsigned char *)h;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < offsetof(struct sb_seg_header, checksum); i++)
		sum = (sum ^ b[i]) * UINT64_C(0x100000001b3);
	h->checksum = sum;
}

static void use_queue(struct bus *bus, const char *name)
{
	unsigned char buf[1024];
	struct bus_queue *q;
	size_t len;

	if (bus_queue_open(bus, name, NULL, &q))
		return;
	(void)bus_queue_put(q, buf, 24, 0);
	(void)bus_queue_get(q, buf, sizeof(buf), &len, 0);
	bus_queue_free(q);
}

static void use_pipe(struct bus *bus, const char *name, int side)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	unsigned char buf[1024] = { 0 };
	struct bus_pipe *p;
	size_t len;

	c.slot_bytes = 256;
	if (bus_pipe_open(bus, name, side ? &c : NULL, side, &p))
		return;
	(void)bus_pipe_send(p, buf, 24, 0);
	(void)bus_pipe_recv(p, buf, sizeof(buf), &len, 0);
	bus_pipe_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus_stats stats = BUS_STATS_INIT;
	struct fuzz_in in = { data, data + size };
	uint32_t how = fuzz_u8(&in);
	struct bus *bus;
	size_t n;
	int ret;

	if (!f.a)
		setup();
	fuzz_file(NULL, 0);
	fuzz_thaw();
	n = f.bytes;
	mend();
	while (fuzz_more(&in) && n_pokes < POKES_MAX)
		pokes[n_pokes++] = fuzz_bus_poke(&in, &f);
	if (how & 1)
		n = how & 2 ? n + how * 16 : n / 256 * (how >> 2);
	if (!(how & 4))
		memcpy(image + offsetof(struct sb_seg_header, bytes), &n, 8);
	if (!(how & 8))
		sign((struct sb_seg_header *)image);
	fuzz_file(image, n);
	fuzz_begin();
	config.wait = BUS_WAIT_FUTEX;
	config.spin = BUS_SPIN_NEVER;
	ret = bus_open("fuzz", &config, &bus);
	if (!ret) {
		(void)bus_stats(bus, &stats);
		use_queue(bus, "q");
		use_queue(bus, how & 16 ? "j" : "w");
		use_pipe(bus, how & 32 ? "p" : "s", how >> 6 & 1);
		if (how & 128)
			(void)bus_reap(bus);
		bus_close(bus);
	}
	fuzz_file(NULL, 0);
	return 0;
}
