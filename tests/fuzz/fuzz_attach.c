/*
 * fuzz_attach.c - open a bus that anybody may have written
 *
 * The bytes of a good bus, some of them changed, the header's checksum right
 * or not, the file too short or too long: bus_open() refuses it or attaches,
 * and then its channels are opened and used, and it is closed.
 */
#include "config.h"

#include <errno.h>

#include "bus/shmbus.h"
#include "tests/fuzz/fuzz_image.h"

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
	int ret;

	fuzz_image(&in, how, !(how & 4));
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
