/*
 * fuzz_image.c - a good bus, made once; then copies of it, spoilt in places
 */
#include "config.h"

#include "tests/fuzz/fuzz_bus.h"
#include "tests/fuzz/fuzz_image.h"

#define MORE_BYTES 4096u /* that the file may be too long */
#define POKES_MAX  1024u

static struct fuzz_bus f;
static unsigned char *image, *good;
static size_t pokes[POKES_MAX]; /* where the image is not good */
static uint32_t n_pokes;

static void set_up(void)
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

void fuzz_image(struct fuzz_in *in, uint32_t how, bool says_length)
{
	struct sb_seg_header *h;
	size_t n;

	if (!f.a)
		set_up();
	h = (struct sb_seg_header *)image;
	fuzz_file(NULL, 0);
	fuzz_thaw();
	n = f.bytes;
	mend();
	while (fuzz_more(in) && n_pokes < POKES_MAX)
		pokes[n_pokes++] = fuzz_bus_poke(in, &f);
	if (how & 1)
		n = how & 2 ? n + how * 16 : n / 256 * (how >> 2);
	if (says_length)
		memcpy(&h->bytes, &n, sizeof(h->bytes));
	if (!(how & 8))
		h->checksum = sb_seg_checksum(h);
	fuzz_file(image, n);
	fuzz_begin();
}
