/*
 * cmd_dump.c - busadm dump: a copy of a bus, for later or for somebody else
 *
 * Only what is in use is copied, and pages of zeros stay holes of the file: a
 * bus has much room for channels that nobody has made.  Where messages are to
 * be left out, what is copied is chosen instead, word by word, so that nothing
 * is in the copy that was not meant to be: neither messages nor what is left of
 * them in slots and cells that are free.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/crew.h"
#include "tools/adm/args.h"
#include "tools/adm/find.h"
#include "tools/adm/note.h"
#include "tools/adm/show.h"
#include "tools/adm/text.h"
#include "tools/newfile.h"

static const char help[] =
	"Usage: busadm dump [OPTION...] BUS FILE\n"
	"Write a copy of the bus to FILE, for all commands that look: with a "
	"'/' in its\n"
	"name, as in 'busadm check ./FILE'.\n"
	"\n"
	"      --no-payload     without what is in the messages\n"
	"      --format FORMAT  of what is said about it: text (default) or "
	"json\n"
	"      --help           print this and exit\n";

enum { BLOCK = 4096, CHUNK = 64 * BLOCK };

struct dump {
	const struct view *v;
	const struct snap *s;
	int fd;
	bool no_payload;
	unsigned char *buf; /* CHUNK bytes */
	uint64_t n_written;
};

/* ----------------------------------------------------------------- bytes -- */

static int write_at(struct dump *d, uint64_t off, const void *buf, size_t n)
{
	const unsigned char *at = buf;

	d->n_written += n;
	while (n) {
		ssize_t done = pwrite(d->fd, at, n, (off_t)off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		at += done;
		off += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

static bool is_zero(const unsigned char *b, size_t n)
{
	return !n || (!b[0] && !memcmp(b, b + 1, n - 1));
}

/* @n bytes of the buffer, without its blocks of zeros. */
static int write_blocks(struct dump *d, uint64_t off, size_t n)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < n;) {
		size_t len = BLOCK - (size_t)((off + i) % BLOCK);

		if (len > n - i)
			len = n - i;
		if (!is_zero(d->buf + i, len))
			ret = write_at(d, off + i, d->buf + i, len);
		i += len;
	}
	return ret;
}

/* Is there nothing from @off on?  Then where there is something again. */
static uint64_t skip_hole(const struct dump *d, uint64_t off, uint64_t end)
{
	off_t next;

	if (d->v->is_memory)
		return off;
	next = lseek(d->v->fd, (off_t)off, SEEK_DATA);
	if (next < 0)
		return errno == ENXIO ? end : off;
	return (uint64_t)next;
}

static int copy(struct dump *d, uint64_t off, uint64_t bytes)
{
	uint64_t end = off + bytes;
	int ret = 0;

	while (!ret && (off = skip_hole(d, off, end)) < end) {
		size_t n = end - off < CHUNK ? (size_t)(end - off) : CHUNK;

		ret = view_read(d->v, off, d->buf, n);
		if (!ret)
			ret = write_blocks(d, off, n);
		off += n;
	}
	return ret;
}

/* ---------------------------------------------------------- all of a bus -- */

/* What a pipe has used of its slots; the rest may have no memory. */
static int copy_pipe(struct dump *d, const struct snap_chan *c)
{
	const struct snap_pipe *p = c->pipe;
	int ret = copy(d, c->off, sizeof(struct bus_pipe_head));

	for (uint32_t i = 0; !ret && i < p->n_dirs; i++) {
		uint64_t off = c->off + bus_pipe_dir_off(p->slot_bytes, i);

		ret = copy(d, off, sizeof(struct sb_spsc));
		off += sizeof(struct sb_spsc);
		for (int k = 0; !ret && k < 2; k++)
			ret = copy(d, off + (uint64_t)k * p->slot_bytes,
				   p->dir[i].bad || !d->v->is_memory
					   ? p->slot_bytes
					   : p->dir[i].cap);
	}
	return ret;
}

static int copy_channel(struct dump *d, const struct snap_chan *c)
{
	if (c->bad &&
	    (d->v->is_memory || !c->bytes || c->off < d->v->off.chan ||
	     c->off > d->v->off.blob || c->bytes > d->v->off.blob - c->off))
		return 0;
	if (c->pipe && !c->bad)
		return copy_pipe(d, c);
	return copy(d, c->off, c->bytes);
}

/* ------------------------------------------------------ without messages -- */

/* Of a slot its state; and which cell its message lies in, or its error. */
static int copy_slot(struct dump *d, const struct snap_chan *c,
		     const struct snap_slot *slot)
{
	const struct snap_ring *r = c->ring;
	uint64_t off = r->slots_off + (uint64_t)(slot - r->slot) * r->stride;
	uint64_t data = off + sizeof(struct sb_slot);
	int ret = write_at(d, off, &slot->seq, sizeof(slot->seq));

	if (!ret && r->head_bytes)
		ret = copy(d, data, r->head_bytes);
	if (ret || !(slot->seq & SB_FLAG_BLOB || slot->is_error))
		return ret;
	data += r->head_bytes;
	if (slot->is_error)
		return copy(d, data + r->request_bytes,
			    sizeof(struct bus_request_error));
	return copy(d, data, sizeof(uint32_t));
}

static int copy_ring_words(struct dump *d, const struct snap_chan *c)
{
	const struct snap_ring *r = c->ring;
	uint64_t end = r->slots_off + (uint64_t)r->n_slots * r->stride;
	int ret = copy(d, c->off, r->slots_off - c->off);

	for (uint32_t i = 0; !ret && i < r->n_slots; i++)
		ret = copy_slot(d, c, &r->slot[i]);
	end = SB_ROUND_UP(end, SB_FAR);
	/* Behind it are the workers. */
	if (!ret && c->kind != BUS_CHAN_QUEUE && end < c->off + c->bytes)
		ret = copy(d, end, c->off + c->bytes - end);
	return ret;
}

static int copy_header(void *arg, uint64_t off, uint64_t h)
{
	return write_at(arg, off, &h, sizeof(h));
}

static int copy_pipe_words(struct dump *d, const struct snap_chan *c)
{
	const struct snap_pipe *p = c->pipe;
	uint64_t meet = c->off + offsetof(struct bus_pipe_head, meet);
	int ret = copy(d, c->off, offsetof(struct bus_pipe_head, meet));

	for (uint32_t i = 0; !ret && i < 2; i++)
		ret = copy(d, meet + i * sizeof(struct sb_spsc_half),
			   sizeof(uint64_t));
	for (uint32_t i = 0; !ret && i < p->n_dirs; i++)
		ret = copy(d, c->off + bus_pipe_dir_off(p->slot_bytes, i),
			   sizeof(struct sb_spsc));
	return ret ? ret : snap_pipe_headers(d->v, c, copy_header, d);
}

static int copy_channel_words(struct dump *d, const struct snap_chan *c)
{
	if (c->bad)
		return 0; /* who knows where its messages are? */
	return c->pipe ? copy_pipe_words(d, c) : copy_ring_words(d, c);
}

/* ------------------------------------------------------------------ dump -- */

static int copy_bus(struct dump *d)
{
	const struct bus_offsets *off = &d->v->off;
	uint64_t words = SB_ROUND_UP(sizeof(struct sb_blob_pool), SB_FAR) +
			 SB_ROUND_UP(off->plan.n_cells * UINT64_C(16), SB_FAR);
	int ret = ftruncate(d->fd, (off_t)off->bytes) ? -errno : 0;

	if (!ret)
		ret = copy(d, 0, off->chan);
	for (uint32_t i = 0; !ret && i < d->s->n_chans; i++)
		ret = d->no_payload ? copy_channel_words(d, &d->s->chan[i])
				    : copy_channel(d, &d->s->chan[i]);
	if (!ret)
		ret = copy(d, off->blob,
			   d->no_payload ? words : off->bytes - off->blob);
	return ret ? ret : note_write(d->s, d->no_payload, d->fd, off->bytes);
}

/* A file that can have holes, and that only we may read: there are messages of
 * others in it.  What it replaces may be of somebody who waits for that. */
static int check_file(const struct newfile *f)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (fchmod(f->fd, st.st_mode & 0600))
		return -errno;
	if (st.st_uid != geteuid() && fchown(f->fd, geteuid(), getegid()))
		return -errno;
	return 0;
}

/* Would it be a bus that is called so?  A dump in its place would take the name
 * away from those who use it; also that of a container, seen from here. */
static bool is_name_of_bus(const char *path)
{
	const char *prefix = strrchr(FIND_PREFIX, '/') + 1;
	const char *slash = strrchr(path, '/');
	char *folder, *real = NULL;
	size_t n, dir = strlen(FIND_DIR);
	bool is = false;

	if (strncmp(slash ? slash + 1 : path, prefix, strlen(prefix)))
		return false;
	folder =
		slash ? strndup(path, (size_t)(slash + 1 - path)) : strdup(".");
	if (folder)
		real = realpath(folder, NULL);
	n = real ? strlen(real) : 0;
	if (n >= dir)
		is = !strcmp(real + n - dir, FIND_DIR);
	free(folder);
	free(real);
	return is;
}

static void report(const struct dump *d, const char *file, bool as_json)
{
	char a[SHOW_BYTES], b[SHOW_BYTES];
	json_t *o;

	if (!as_json) {
		printf("%s in '%s', %s with its holes\n",
		       text_bytes(a, sizeof(a), d->n_written), file,
		       text_bytes(b, sizeof(b), d->v->off.bytes));
		return;
	}
	o = show_json_bus(d->v);
	json_object_set_new(o, "file", text_json(file, strlen(file)));
	show_json_number(o, "bytes", d->v->off.bytes);
	show_json_number(o, "used_bytes", d->n_written);
	json_object_set_new(o, "payload", json_boolean(!d->no_payload));
	text_print_json(o);
}

static int dump_to(struct dump *d, const char *file, bool as_json)
{
	struct newfile f;
	int ret;

	if (!strcmp(file, "-"))
		return adm_error("a dump has holes, which standard output may "
				 "not have; a file of that name is './-'");
	ret = newfile_open(&f, file);
	if (ret)
		return adm_error("cannot create '%s': %s", file,
				 strerror(-ret));
	if (f.path && is_name_of_bus(f.path)) {
		newfile_drop(&f);
		return adm_error("'%s' is where a bus of that name is or would "
				 "be: give the dump another one",
				 file);
	}
	ret = check_file(&f);
	if (ret == -EINVAL) {
		newfile_drop(&f);
		return adm_error("'%s' is no file that could have holes", file);
	}
	d->fd = f.fd;
	d->buf = malloc(CHUNK);
	if (!ret)
		ret = d->buf ? copy_bus(d) : -ENOMEM;
	if (!ret)
		ret = newfile_commit(&f);
	newfile_drop(&f);
	free(d->buf);
	if (ret)
		return adm_error("cannot write '%s': %s", file, strerror(-ret));
	report(d, file, as_json);
	return ADM_OK;
}

int cmd_dump(int argc, char **argv)
{
	static const struct option options[] = {
		{ "no-payload", no_argument, NULL, 'n' }, ARGS_COMMON
	};
	struct args args = { 0 };
	struct dump d = { 0 };
	struct view v;
	struct snap s;
	int c, status;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 'n')
			d.no_payload = true;
		else if (args_common(&args, c, argv, help))
			return args.status;
	}
	if (!args_count(&args, argc, argv, 2, 2, "a BUS and a FILE"))
		return args.status;
	status = show_open(argv[optind], &v, &s);
	if (status)
		return status;
	d.v = &v;
	d.s = &s;
	status = dump_to(&d, argv[optind + 1], args.json);
	show_close(&v, &s);
	return status;
}
