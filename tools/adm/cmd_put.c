/*
 * cmd_put.c - busadm put BUS QUEUE [MESSAGE...]
 *
 * Each message is in the queue when its put has returned, whatever becomes of
 * us then; so all there is to be exact about is to say, at whatever end, how
 * many were put, and which was not.  Nothing is read ahead of what is put but
 * what a read(2) brings along.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tools/adm/act.h"
#include "tools/adm/args.h"
#include "tools/adm/message.h"
#include "tools/adm/signals.h"
#include "tools/progress.h"

#define READ_BYTES 65536u

/* Longest single wait: so soon a signal is heard. */
#define SLICE_NS (100 * (int64_t)SB_NS_PER_MS)

struct put {
	struct act act;
	enum message_format format;
	int64_t timeout_ns;
	char **messages; /* of the command line */
	int n_messages;

	uint64_t n_put, n_bytes;
	uint64_t max_bytes;
	struct message_buf message;
};

/* Where the messages come from that are not on the command line. */
struct input {
	struct message_buf buf;
	size_t at;      /* what is before is done */
	size_t scanned; /* in what is before there is no newline */
	size_t max;     /* of a line */
	bool ended;
};

/* Options ------------------------------------------------------------------ */

static const char help[] =
	"Usage: busadm put [OPTION...] BUS QUEUE [MESSAGE...]\n"
	"Put messages in a queue: the MESSAGEs, or the lines of standard "
	"input.\n"
	"\n"
	"      --format FORMAT    what a message looks like: lines (default), "
	"raw (all of\n"
	"                         the input is one), hex, or json as get "
	"prints it\n"
	"      --timeout SECONDS  wait at most so long for room for a message "
	"(default:\n"
	"                         for ever; 0: not at all)\n"
	"      --any-owner        also if the bus is another user's\n"
	"      --help             print this and exit\n"
	"\n"
	"A MESSAGE that begins with - comes after --.\n"
	"Exit status: 0 all were put; 1 not all, and it says how many; 2 wrong "
	"options.\n";

static const struct option options[] = {
	{ "format", required_argument, NULL, 'F' },
	{ "timeout", required_argument, NULL, 't' },
	{ "any-owner", no_argument, NULL, 'o' },
	ARGS_COMMON
};

/* True to go on; else args->status is what to return. */
static bool parse(struct put *put, struct args *args, int argc, char **argv)
{
	int c;

	args->status = ADM_USAGE;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case 'F':
			if (!message_parse_format(argv[0], optarg,
						  &put->format))
				return false;
			break;
		case 't':
			if (!act_seconds(argv[0], "--timeout", optarg,
					 &put->timeout_ns))
				return false;
			break;
		case 'o':
			put->act.any_owner = true;
			break;
		default:
			if (args_common(args, c, argv, help) < 0)
				return false;
		}
	}
	if (!args_count(args, argc, argv, 2, INT_MAX - 1, "BUS and QUEUE"))
		return false;
	put->act.bus_name = argv[optind];
	put->act.queue_name = argv[optind + 1];
	put->messages = argv + optind + 2;
	put->n_messages = argc - optind - 2;
	return true;
}

/* Putting ------------------------------------------------------------------ */

/* Until it is in, time is up, or a signal comes.  0 or -errno. */
static int put_within(struct put *put, const void *bytes, size_t len)
{
	uint64_t now, until;
	int64_t slice;
	int ret = bus_queue_put(put->act.queue, bytes, len, 0);

	if (ret != -EAGAIN || put->timeout_ns == 0)
		return ret;
	until = sb_deadline(put->timeout_ns);
	do {
		now = sb_now_ns();
		if (put->timeout_ns > 0 && now >= until)
			return -ETIMEDOUT;
		slice = put->timeout_ns > 0 && until - now < (uint64_t)SLICE_NS
				? (int64_t)(until - now)
				: SLICE_NS;
		if (signals_came())
			return -EINTR;
		progress_messages(now, put->n_put, put->n_bytes);
		ret = bus_queue_put(put->act.queue, bytes, len, slice);
	} while (ret == -ETIMEDOUT || ret == -EAGAIN);
	return ret;
}

static int say_no_room(const struct put *put, size_t len, int error,
		       const char *so_far)
{
	const char *how = error == -EAGAIN ? "not waited" : "time is up";
	struct bus_queue_stats stats = act_stats(&put->act);

	if (stats.n_waiting + stats.n_held < stats.n_slots)
		return act_fail("%s: bus '%s' has no room for a message of %zu "
				"bytes, which is too large for a slot of queue "
				"'%s': messages that nobody has got yet fill "
				"its blob pool%s",
				how, put->act.bus_name, len,
				put->act.queue_name, so_far);
	return act_fail("%s: queue '%s' of bus '%s' is full: %u of %u slots "
			"are taken%s",
			how, put->act.queue_name, put->act.bus_name,
			stats.n_waiting + stats.n_held, stats.n_slots, so_far);
}

static int say_not_put(const struct put *put, size_t len, int error)
{
	const struct act *act = &put->act;
	char so_far[64];

	snprintf(so_far, sizeof(so_far), "; %" PRIu64 " %s put", put->n_put,
		 put->n_put == 1 ? "message was" : "messages were");
	switch (error) {
	case -EINTR:
		return act_fail("ended by a signal%s", so_far);
	case -EMSGSIZE:
		return act_fail("message %" PRIu64 " is larger than bus '%s' "
				"takes, which is %" PRIu64
				" bytes (max_message_bytes, when it was "
				"created)%s",
				put->n_put + 1, act->bus_name, put->max_bytes,
				so_far);
	case -EPIPE:
		return act_fail("queue '%s' of bus '%s' is closed%s",
				act->queue_name, act->bus_name, so_far);
	case -EAGAIN:
	case -ETIMEDOUT:
		return say_no_room(put, len, error, so_far);
	case -EPROTO:
		return act_fail("what is in queue '%s' of bus '%s' makes no "
				"sense; busadm check says more%s",
				act->queue_name, act->bus_name, so_far);
	default:
		return act_fail("cannot put: %s%s", strerror(-error), so_far);
	}
}

static int put_message(struct put *put, const void *bytes, size_t len)
{
	int ret =
		len > put->max_bytes ? -EMSGSIZE : put_within(put, bytes, len);

	if (ret)
		return say_not_put(put, len, ret);
	put->n_put++;
	put->n_bytes += len;
	return ADM_OK;
}

static int put_text(struct put *put, const char *text, size_t len)
{
	char why[MESSAGE_WHY_BYTES];
	int ret;

	if (put->format <= MESSAGE_LINES)
		return put_message(put, text, len);
	ret = message_read(put->format, text, len, &put->message, why);
	if (ret == -EINVAL)
		return act_fail("message %" PRIu64 ": --format %s, and %s; "
				"%" PRIu64 " were put",
				put->n_put + 1, message_formats[put->format],
				why, put->n_put);
	if (ret)
		return say_not_put(put, len, ret);
	return put_message(put, put->message.at, put->message.n);
}

/* Standard input ----------------------------------------------------------- */

/* Read more.  0, also at the end, or -errno. */
static int fill(struct input *in)
{
	size_t left = in->buf.n - in->at;
	ssize_t n;
	int ret;

	memmove(in->buf.at, in->buf.at + in->at, in->at ? left : 0);
	in->scanned -= in->at;
	in->buf.n = left;
	in->at = 0;
	ret = message_room(&in->buf, left + READ_BYTES);
	if (ret)
		return ret;
	ret = signals_wait(STDIN_FILENO, POLLIN, -1);
	if (ret < 0)
		return ret;
	n = read(STDIN_FILENO, in->buf.at + left, READ_BYTES);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	in->buf.n += (size_t)n;
	in->ended = n == 0;
	return 0;
}

/*
 * The next line, without its newline; the last may have none.  @raw: all there
 * is.  1, 0 at the end, -EMSGSIZE and what there is of one that is too long, or
 * -errno.
 */
static int next(struct input *in, bool raw, const char **text, size_t *len)
{
	for (;;) {
		const char *from = in->buf.at + in->scanned, *end = NULL;
		int ret;

		if (!raw && in->buf.n > in->scanned)
			end = memchr(from, '\n', in->buf.n - in->scanned);
		*text = in->buf.at + in->at;
		*len = end ? (size_t)(end - *text) : in->buf.n - in->at;
		if (*len > in->max)
			return -EMSGSIZE;
		if (end || (in->ended && (*len || raw))) {
			in->at += *len + (end ? 1 : 0);
			in->scanned = in->at;
			return 1;
		}
		if (in->ended)
			return 0;
		in->scanned = in->buf.n;
		ret = fill(in);
		if (ret)
			return ret;
	}
}

static int put_input(struct put *put)
{
	bool raw = put->format == MESSAGE_RAW;
	struct input in = { .max = message_line_max(put->format,
						    put->max_bytes) };
	const char *text;
	int status = ADM_OK, ret;
	size_t len = 0;

	ret = message_room(&in.buf, READ_BYTES);
	if (!ret)
		ret = next(&in, raw, &text, &len);
	while (ret > 0) {
		status = put_text(put, text, len);
		if (status || raw)
			break;
		progress_messages(progress_clock(), put->n_put, put->n_bytes);
		ret = next(&in, raw, &text, &len);
	}
	if (ret == -EMSGSIZE || ret == -EINTR)
		status = say_not_put(put, len, ret);
	else if (ret < 0)
		status = act_fail("cannot read standard input: %s; %" PRIu64
				  " messages were put",
				  strerror(-ret), put->n_put);
	message_free(&in.buf);
	return status;
}

int cmd_put(int argc, char **argv)
{
	struct put put = {
		.format = MESSAGE_LINES,
		.timeout_ns = -1,
	};
	struct args args = { 0 };
	int ret;

	if (!parse(&put, &args, argc, argv))
		return args.status;
	ret = signals_block();
	if (ret)
		return act_fail("cannot block signals: %s", strerror(-ret));
	ret = act_open(&put.act, false);
	if (ret)
		return ret;
	put.max_bytes = act_message_max(&put.act);
	progress_start("put", progress_clock());
	if (!put.n_messages)
		ret = put_input(&put);
	for (int i = 0; !ret && i < put.n_messages; i++)
		ret = put_text(&put, put.messages[i], strlen(put.messages[i]));
	progress_hide();
	message_free(&put.message);
	act_close(&put.act);
	signals_obey();
	return ret;
}
