/*
 * soak.c - very many messages through queue, pipe and requests
 *
 *	soak [N]	N messages in all, default SOAK_MESSAGES or 10^6
 *
 * A third of them each
 *
 *	queue     from three processes to one, in batches
 *	pipe      from one process to another, now and then one that is larger
 *	          than the slots
 *	requests  to two workers and back, collected in order
 *
 * Each message carries its writer, a number and a CRC of both.  The numbers of
 * each writer must come in order and without a gap, and their sum must be
 * right at the end.  After a tenth of each part the memory of all processes,
 * and of the segment, must not grow any more.
 *
 * Says how far it is, once a second, if stderr is a terminal.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bus/shmbus.h"
#include "lib/clock.h"
#include "tests/support/proc.h"
#include "tests/support/shm.h"

#define N_DEFAULT   1000000u
#define N_PRODUCERS 3u
#define N_WORKERS   2u
#define BATCH       64u
#define WINDOW      1024u
#define PATIENT_NS  (120 * (int64_t)SB_NS_PER_S) /* then somebody hangs */
#define LARGE_EVERY 65536u
#define LARGE_BYTES 100000u
#define GROWTH_MAX  (256u * 1024) /* of private memory: malloc's own ways */

struct message {
	uint64_t number;
	uint32_t writer;
	uint32_t crc;
};

/* ------------------------------------------------------------------- crc -- */

static uint32_t crc_table[8][256];

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? UINT32_C(0x82f63b78) ^ c >> 1 : c >> 1;
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++) {
			uint32_t c = crc_table[k - 1][i];

			crc_table[k][i] = crc_table[0][c & 255] ^ c >> 8;
		}
}

/* CRC-32C, eight bytes at a time; @n is a multiple of that. */
static uint32_t crc_of(uint32_t crc, const void *bytes, size_t n)
{
	const unsigned char *b = bytes;

	for (; n; n -= 8, b += 8) {
		uint64_t w;

		memcpy(&w, b, 8);
		w ^= crc;
		crc = 0;
		for (int k = 0; k < 8; k++, w >>= 8)
			crc ^= crc_table[7 - k][w & 255];
	}
	return crc;
}

static uint32_t message_crc(const struct message *m)
{
	uint64_t w[2] = { m->number, m->writer };

	return crc_of(UINT32_MAX, w, sizeof(w));
}

static struct message message(uint32_t writer, uint64_t number)
{
	struct message m = { .number = number, .writer = writer };

	m.crc = message_crc(&m);
	return m;
}

static bool is_whole(const struct message *m)
{
	return m->crc == message_crc(m);
}

/* ---------------------------------------------------------------- memory -- */

static char segment[512]; /* its file */

static uint64_t segment_bytes(void)
{
	struct stat st;

	T_CHECK(stat(segment, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Private memory of @pid that is there; 0 if nobody will tell. */
static uint64_t private_bytes(pid_t pid)
{
	char line[256];
	uint64_t kib = 0;
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/status", (int)pid);
	f = fopen(line, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

/* What there was after the warm-up. */
struct memory {
	bool is_known;
	uint64_t segment_bytes;
	pid_t pid[8];
	uint64_t bytes[8];
	uint32_t n;
};

static void memory_begin(struct memory *m, const pid_t *pids, uint32_t n)
{
	m->n = n + 1;
	m->pid[0] = getpid();
	memcpy(m->pid + 1, pids, n * sizeof(*pids));
	for (uint32_t i = 0; i < m->n; i++)
		m->bytes[i] = private_bytes(m->pid[i]);
	m->segment_bytes = segment_bytes();
	m->is_known = true;
}

/* While those processes still live. */
static void memory_end(const struct memory *m, const char *part)
{
	T_CHECK(m->is_known);
	if (segment_bytes() != m->segment_bytes) {
		fprintf(stderr, "soak: %s: the segment grew\n", part);
		_exit(1);
	}
	for (uint32_t i = 0; i < m->n; i++) {
		uint64_t now = private_bytes(m->pid[i]);

		if (now <= m->bytes[i] + GROWTH_MAX)
			continue;
		fprintf(stderr,
			"soak: %s: process %u grew from %" PRIu64 " to %" PRIu64
			" bytes\n",
			part, i, m->bytes[i], now);
		_exit(1);
	}
}

/* -------------------------------------------------------------- progress -- */

static void progress(const char *part, uint64_t done, uint64_t n)
{
	static uint64_t begin_ns, last_ns, begin_done;
	static const char *last_part;
	uint64_t now;

	if (!isatty(STDERR_FILENO))
		return;
	now = sb_now_ns();
	if (part != last_part) {
		last_part = part;
		begin_ns = last_ns = now;
		begin_done = done;
	}
	if (now - last_ns < SB_NS_PER_S && done < n)
		return;
	last_ns = now;
	fprintf(stderr, "\r%-9s %6.1f of %.1f million, %.2f million/s  %s",
		part, (double)done / 1e6, (double)n / 1e6,
		(double)(done - begin_done) * 1e3 /
			(double)(now - begin_ns + 1),
		done < n ? "" : "\n");
}

/* ----------------------------------------------------------------- queue -- */

static struct bus *bus;
static uint64_t n_each;    /* messages of one writer */
static struct t_gate seen; /* the parent has looked at our memory */

static int produce(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;
	struct message m[BATCH];
	struct bus_queue *q;

	T_CHECK(bus_queue_open(bus, "queue", NULL, &q) == 0);
	for (uint64_t at = 0; at < n_each;) {
		uint64_t n = n_each - at < BATCH ? n_each - at : BATCH;
		size_t done = 0;

		for (uint64_t i = 0; i < n; i++)
			m[i] = message(me, at + i);
		while (done < n) {
			int ret = bus_queue_put_many(q, m + done, sizeof(*m),
						     n - done, PATIENT_NS);

			T_CHECK(ret > 0);
			done += (size_t)ret;
		}
		at += n;
	}
	t_gate_wait(&seen);
	bus_close(bus);
	return 0;
}

static void soak_queue(uint64_t n)
{
	struct bus_queue_config c = BUS_QUEUE_CONFIG_INIT;
	uint64_t next[N_PRODUCERS] = { 0 }, sum = 0, done = 0;
	struct message m[BATCH];
	struct memory memory = { 0 };
	pid_t child[N_PRODUCERS];
	struct bus_queue *q;

	n_each = n / N_PRODUCERS;
	n = n_each * N_PRODUCERS;
	c.slot_bytes = 24;
	T_CHECK(bus_queue_open(bus, "queue", &c, &q) == 0);
	t_gate_init(&seen);
	for (uint32_t i = 0; i < N_PRODUCERS; i++)
		child[i] = t_fork(produce, (void *)(uintptr_t)i);
	while (done < n) {
		int ret = bus_queue_get_many(q, m, sizeof(*m), BATCH, NULL,
					     PATIENT_NS);

		T_CHECK(ret > 0);
		for (int i = 0; i < ret; i++) {
			T_CHECK(is_whole(&m[i]));
			T_CHECK(m[i].writer < N_PRODUCERS);
			T_CHECK(m[i].number == next[m[i].writer]);
			next[m[i].writer]++;
			sum += m[i].number;
		}
		done += (uint64_t)ret;
		if (!memory.is_known && done >= n / 10)
			memory_begin(&memory, child, N_PRODUCERS);
		progress("queue", done, n);
	}
	T_CHECK(sum == n_each * (n_each - 1) / 2 * N_PRODUCERS);
	memory_end(&memory, "queue");
	T_CHECK(bus_queue_get(q, m, sizeof(*m), NULL, 0) == -EAGAIN);
	for (uint32_t i = 0; i < N_PRODUCERS; i++)
		t_gate_open(&seen);
	for (uint32_t i = 0; i < N_PRODUCERS; i++)
		t_join(child[i]);
	t_gate_close(&seen);
	bus_queue_free(q);
}

/* ------------------------------------------------------------------ pipe -- */

static unsigned char large[LARGE_BYTES];

/* A large message: number and CRC of what follows, and that. */
static void make_large(uint64_t number)
{
	struct message m = message(1, number);

	for (size_t i = sizeof(m); i + 8 <= LARGE_BYTES; i += 4096)
		memcpy(large + i, &number, 8);
	m.crc = crc_of(m.crc, large + sizeof(m), LARGE_BYTES - sizeof(m));
	memcpy(large, &m, sizeof(m));
}

static void check_large(uint64_t number, size_t len)
{
	struct message m;

	T_CHECK(len == LARGE_BYTES);
	memcpy(&m, large, sizeof(m));
	T_CHECK(m.number == number && m.writer == 1);
	T_CHECK(m.crc == crc_of(message_crc(&m), large + sizeof(m),
				LARGE_BYTES - sizeof(m)));
}

static int send_all(void *ctx, struct bus_pipe *p)
{
	struct message m[BATCH];

	(void)ctx;
	for (uint64_t at = 0; at < n_each;) {
		uint64_t n = n_each - at < BATCH ? n_each - at : BATCH;
		size_t done = 0;

		if (at % LARGE_EVERY == 0) {
			make_large(at++);
			T_CHECK(bus_pipe_send(p, large, LARGE_BYTES,
					      PATIENT_NS) == 0);
			continue;
		}
		if (at % LARGE_EVERY + n > LARGE_EVERY)
			n = LARGE_EVERY - at % LARGE_EVERY;
		for (uint64_t i = 0; i < n; i++)
			m[i] = message(0, at + i);
		while (done < n) {
			int ret = bus_pipe_send_many(p, m + done, sizeof(*m),
						     n - done, PATIENT_NS);

			T_CHECK(ret > 0);
			done += (size_t)ret;
		}
		at += n;
	}
	/* Until the parent has looked at our memory. */
	T_CHECK(bus_pipe_recv(p, m, sizeof(m), NULL, PATIENT_NS) == 0);
	return 0;
}

static void soak_pipe(uint64_t n)
{
	struct bus_pipe_config c = BUS_PIPE_CONFIG_INIT;
	struct memory memory = { 0 };
	struct message m[BATCH];
	uint64_t at = 0, sum = 0;
	struct bus_pipe *p;
	pid_t child;
	size_t len;

	n_each = n;
	c.profile = BUS_PIPE_LATENCY;
	T_CHECK(bus_pipe_spawn(bus, &c, send_all, NULL, &p, &child) == 0);
	while (at < n) {
		uint64_t left = LARGE_EVERY - at % LARGE_EVERY;
		int ret;

		if (at % LARGE_EVERY == 0) {
			T_CHECK(bus_pipe_recv(p, large, LARGE_BYTES, &len,
					      PATIENT_NS) == 0);
			check_large(at, len);
			sum += at++;
			continue;
		}
		ret = bus_pipe_recv_many(p, m, sizeof(*m),
					 left < BATCH ? (size_t)left : BATCH,
					 NULL, PATIENT_NS);
		T_CHECK(ret > 0);
		for (int i = 0; i < ret; i++) {
			T_CHECK(is_whole(&m[i]));
			T_CHECK(m[i].writer == 0 && m[i].number == at);
			sum += at++;
		}
		if (!memory.is_known && at >= n / 10)
			memory_begin(&memory, &child, 1);
		progress("pipe", at, n);
	}
	T_CHECK(sum == n * (n - 1) / 2);
	memory_end(&memory, "pipe");
	T_CHECK(bus_pipe_send(p, m, 1, PATIENT_NS) == 0);
	t_join(child);
	T_CHECK(bus_pipe_recv(p, m, sizeof(m), NULL, PATIENT_NS) == -EPIPE);
	bus_pipe_free(p);
}

/* -------------------------------------------------------------- requests -- */

static int answer(void *ctx, const void *req, size_t len_bytes,
		  struct bus_reply *reply)
{
	struct message m;

	(void)ctx;
	T_CHECK(len_bytes == sizeof(m));
	memcpy(&m, req, sizeof(m));
	T_CHECK(is_whole(&m));
	m = message(m.writer + 1, m.number * 3);
	return bus_reply_put(reply, &m, sizeof(m));
}

static void collect(struct bus_coord *coord, uint64_t id, uint64_t *sum)
{
	struct bus_result r;
	struct message m;

	T_CHECK(bus_collect(coord, &r, PATIENT_NS) == 0);
	T_CHECK(r.id == id && r.kind == BUS_RESULT_OK);
	T_CHECK(r.len_bytes == sizeof(m));
	memcpy(&m, r.data, sizeof(m));
	T_CHECK(is_whole(&m) && m.writer == 8 && m.number == id * 3);
	*sum += m.number;
}

static void soak_requests(uint64_t n)
{
	struct bus_coord_config c = BUS_COORD_CONFIG_INIT;
	struct memory memory = { 0 };
	struct bus_coord *coord;
	pid_t worker[N_WORKERS];
	uint64_t sum = 0, done = 0;

	c.handler = answer;
	c.n_workers = N_WORKERS;
	c.window = WINDOW;
	c.request_bytes = sizeof(struct message);
	c.result_bytes = sizeof(struct message);
	T_CHECK(bus_coord_start(bus, "requests", &c, &coord) == 0);
	for (uint64_t id = 0; id < n; id++) {
		struct message m = message(7, id);

		while (id - done >= WINDOW)
			collect(coord, done++, &sum);
		T_CHECK(bus_submit(coord, id, &m, sizeof(m), PATIENT_NS) == 0);
		if (!memory.is_known && id >= n / 10) {
			T_CHECK(bus_coord_workers(coord, worker, N_WORKERS) ==
				(int)N_WORKERS);
			memory_begin(&memory, worker, N_WORKERS);
		}
		if (id % 1024 == 0)
			progress("requests", id, n);
	}
	while (done < n)
		collect(coord, done++, &sum);
	progress("requests", n, n);
	T_CHECK(sum == n * (n - 1) / 2 * 3);
	memory_end(&memory, "requests");
	T_CHECK(bus_coord_stop(coord, PATIENT_NS) == 0);
}

static uint64_t number_of_messages(int argc, char **argv)
{
	const char *s = argc > 1 ? argv[1] : getenv("SOAK_MESSAGES");
	char *end;
	uint64_t n;

	if (!s || !*s)
		return N_DEFAULT;
	/* 1e9 is easier to read than its zeros. */
	n = (uint64_t)strtod(s, &end);
	if (*end || n < 100) {
		fprintf(stderr, "soak: '%s' is no number from 100 on\n", s);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	uint64_t n = number_of_messages(argc, argv) / 3, begin = sb_now_ns();
	struct bus_stats stats = BUS_STATS_INIT;
	const char *name = t_name("soak");

	crc_init();
	/* With a name, so that its memory can be asked for. */
	snprintf(segment, sizeof(segment), "%s", t_shm_path(name));
	T_CHECK(bus_create(name, NULL, &bus) == 0);
	soak_queue(n);
	soak_pipe(n);
	soak_requests(n);
	T_CHECK(bus_stats(bus, &stats) == 0);
	T_CHECK(stats.n_redelivered == 0 && stats.n_rejected == 0);
	T_CHECK(stats.blob_bytes_used == 0);
	bus_close(bus);
	printf("soak: %" PRIu64 " messages in %.1f s, all in order and whole, "
	       "flat memory\n",
	       n * 3, (double)(sb_now_ns() - begin) / 1e9);
	return 0;
}
