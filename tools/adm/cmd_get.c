/*
 * cmd_get.c - busadm get BUS QUEUE
 *
 * A message is written first and released then: until that it is on lease, and
 * whatever becomes of us, it goes to somebody else.
 *
 * What was written to a pipe was not read yet.  Its reader may go, as in
 * `busadm get ... | head -1`, and take along what is in the pipe and what it
 * had read ahead.  So the next message is written when the pipe is empty again,
 * and a message is released when its reader has taken it from there: nothing is
 * in between, and what head(1) did not ask for stays in the queue.  That costs
 * a switch to the reader for each message.
 *
 * Written and not released: then we were killed, and the message comes again.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tools/adm/act.h"
#include "tools/adm/args.h"
#include "tools/adm/message.h"
#include "tools/adm/signals.h"
#include "tools/progress.h"

/* Longest single wait: so soon a signal, or a reader that goes, is noticed. */
#define SLICE_NS (100 * (int64_t)SB_NS_PER_MS)

/* Looks at a pipe that is read, and how long we sleep between them then. */
#define PIPE_YIELDS       100
#define PIPE_SLEEP_NS     20000
#define PIPE_SLEEP_MAX_NS 5000000

struct get {
	struct act act;
	enum message_format format;
	int64_t timeout_ns;
	uint64_t count; /* 0: until the end */
	bool count_given;
	bool drain;

	bool is_pipe, is_terminal, may_block; /* standard output */
	uint64_t n_got, n_bytes;
	uint64_t n_split;   /* with a newline in them, in lines */
	uint64_t n_dropped; /* made no sense */
	struct message_buf text;
};

/* Options ------------------------------------------------------------------ */

static const char help[] =
	"Usage: busadm get [OPTION...] BUS QUEUE\n"
	"Take messages out of a queue and print them.  One that could not be "
	"written, or\n"
	"that the reader of a pipe did not read, stays in the queue.\n"
	"\n"
	"      --count N          get so many (default 1); 0: until the queue "
	"is closed\n"
	"                         and empty\n"
	"      --drain            get what is there until the queue is empty, "
	"and do not\n"
	"                         wait; with --count at most N\n"
	"      --format FORMAT    how they are printed: lines (default), raw "
	"(their bytes\n"
	"                         alone), hex, or json (an object a line)\n"
	"      --timeout SECONDS  wait at most so long for a message (default: "
	"for ever;\n"
	"                         0: not at all)\n"
	"      --any-owner        also if the bus is another user's\n"
	"      --help             print this and exit\n"
	"\n"
	"Exit status: 0 it got what was asked for; 1 not, and it says why; 2 "
	"wrong\n"
	"options.\n";

static const struct option options[] = {
	{ "count", required_argument, NULL, 'n' },
	{ "drain", no_argument, NULL, 'd' },
	{ "format", required_argument, NULL, 'F' },
	{ "timeout", required_argument, NULL, 't' },
	{ "any-owner", no_argument, NULL, 'o' },
	ARGS_COMMON
};

/* Returns as parse(). */
static bool parse_one(struct get *get, struct args *args, int c, char **argv)
{
	switch (c) {
	case 'n':
		get->count_given = true;
		return act_count(argv[0], "--count", optarg, &get->count);
	case 'd':
		get->drain = true;
		return true;
	case 'F':
		return message_parse_format(argv[0], optarg, &get->format);
	case 't':
		return act_seconds(argv[0], "--timeout", optarg,
				   &get->timeout_ns);
	case 'o':
		get->act.any_owner = true;
		return true;
	default:
		return args_common(args, c, argv, help) == 0;
	}
}

/* True to go on; else args->status is what to return. */
static bool parse(struct get *get, struct args *args, int argc, char **argv)
{
	int c;

	args->status = ADM_USAGE;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1)
		if (!parse_one(get, args, c, argv))
			return false;
	if (!args_count(args, argc, argv, 2, 2, "BUS and QUEUE"))
		return false;
	get->act.bus_name = argv[optind];
	get->act.queue_name = argv[optind + 1];
	if (get->drain && get->timeout_ns >= 0) {
		args->status = adm_misuse(argv[0], "--drain does not wait, so "
						   "leave --timeout out");
		return false;
	}
	if (get->drain)
		get->timeout_ns = 0;
	else if (!get->count_given)
		get->count = 1;
	return true;
}

/* Standard output ---------------------------------------------------------- */

/*
 * Write all of it.  To what somebody reads, a pipe, a socket or a terminal, in
 * pieces that poll(2) says there is room for, so that a signal is noticed while
 * nobody does.  0, -EINTR, or -errno; *@written: so much was.
 */
static int write_all(const struct get *get, const char *at, size_t n,
		     size_t *written)
{
	*written = 0;
	while (n > 0) {
		size_t part = get->may_block && n > PIPE_BUF ? PIPE_BUF : n;
		int ready = signals_wait(STDOUT_FILENO, POLLOUT, -1);
		ssize_t done;

		if (ready < 0)
			return ready;
		done = write(STDOUT_FILENO, at, part);
		if (done >= 0) {
			at += done;
			n -= (size_t)done;
			*written += (size_t)done;
		} else if (errno != EINTR && errno != EAGAIN) {
			return -errno;
		}
	}
	return 0;
}

/* Until the pipe is empty: its reader has all that we wrote. */
static int wait_until_read(void)
{
	struct timespec pause = { .tv_nsec = PIPE_SLEEP_NS };

	for (unsigned i = 0;; i++) {
		int left = 0, ready;

		if (ioctl(STDOUT_FILENO, FIONREAD, &left) || left <= 0)
			return 0;
		if (i < PIPE_YIELDS) {
			sched_yield();
			continue;
		}
		ready = signals_wait(STDOUT_FILENO, 0, 0);
		if (ready < 0)
			return ready;
		if (ready & POLLERR)
			return -EPIPE;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < PIPE_SLEEP_MAX_NS)
			pause.tv_nsec *= 2;
	}
}

/* Of a message for which the disk had no room nothing stays in the file: it will
 * be got again, and nobody could tell its beginning from a message.  Only where
 * ours is the end of the file. */
static void take_back(size_t written)
{
	off_t at = lseek(STDOUT_FILENO, 0, SEEK_CUR);
	off_t from = at - (off_t)written;
	struct stat st;

	if (!written || at < 0 || from < 0 || fstat(STDOUT_FILENO, &st) ||
	    !S_ISREG(st.st_mode) || st.st_size != at)
		return;
	if (ftruncate(STDOUT_FILENO, from) == 0)
		lseek(STDOUT_FILENO, from, SEEK_SET);
}

/* 0, and the message is the reader's; or -errno, and it is not. */
static int hand_on(struct get *get, const struct bus_msg *msg)
{
	size_t written = 0;
	int ret = message_write(get->format, msg->data, msg->len_bytes,
				msg->attempts, get->is_terminal, &get->text);

	if (!ret)
		ret = write_all(get, get->text.at, get->text.n, &written);
	if (ret)
		take_back(written);
	if (!ret && get->is_pipe)
		ret = wait_until_read();
	return ret;
}

static bool reader_has_gone(const struct get *get)
{
	int ready = get->is_pipe ? signals_wait(STDOUT_FILENO, 0, 0) : 0;

	return ready > 0 && ready & POLLERR;
}

/* Getting ------------------------------------------------------------------ */

/* Take the next message.  0, or -errno: also -EPIPE when it is the end, and
 * -ESHUTDOWN when nobody would read it. */
static int take(struct get *get, struct bus_msg *msg)
{
	uint64_t until, now;
	int64_t slice;
	int ret = bus_queue_peek(get->act.queue, msg, 0);

	if (ret != -EAGAIN || get->timeout_ns == 0)
		return ret;
	until = sb_deadline(get->timeout_ns);
	do {
		now = sb_now_ns();
		if (get->timeout_ns > 0 && now >= until)
			return -ETIMEDOUT;
		slice = get->timeout_ns > 0 && until - now < (uint64_t)SLICE_NS
				? (int64_t)(until - now)
				: SLICE_NS;
		if (signals_came())
			return -EINTR;
		if (reader_has_gone(get))
			return -ESHUTDOWN;
		progress_messages(now, get->n_got, get->n_bytes);
		ret = bus_queue_peek(get->act.queue, msg, slice);
	} while (ret == -ETIMEDOUT || ret == -EAGAIN);
	return ret;
}

#define BEHIND_TRIES 10

/*
 * What there is, without waiting for more.  Two things may hide it for a moment:
 * one who held it has died, and nobody has looked; and a writer is in the middle
 * of a put, or stopped there, whom readers go past after a while, but for a
 * strict queue: then -EBUSY.
 */
static int take_what_is_there(struct get *get, struct bus_msg *msg)
{
	int ret = take(get, msg);

	if (ret == -EAGAIN && bus_reap(get->act.bus) > 0)
		ret = take(get, msg);
	for (int i = 0; ret == -EAGAIN; i++) {
		if (act_stats(&get->act).n_waiting == 0)
			break;
		if (i == BEHIND_TRIES)
			return -EBUSY;
		ret = bus_queue_peek(get->act.queue, msg, SLICE_NS);
		if (ret == -ETIMEDOUT)
			ret = -EAGAIN;
	}
	return ret;
}

static void count(struct get *get, const struct bus_msg *msg)
{
	get->n_got++;
	get->n_bytes += msg->len_bytes;
	if (get->format == MESSAGE_LINES && !get->is_terminal &&
	    msg->len_bytes && memchr(msg->data, '\n', msg->len_bytes))
		get->n_split++;
	progress_messages(progress_clock(), get->n_got, get->n_bytes);
}

/*
 * From the queue to standard output, until that is all.  0, or why it ended
 * before; *@output: there.
 */
static int get_all(struct get *get, bool *output)
{
	struct bus_msg msg;
	int ret = 0;

	*output = false;
	while (!ret && (get->count == 0 || get->n_got < get->count)) {
		ret = take_what_is_there(get, &msg);
		if (ret == -EPROTO) {
			get->n_dropped++;
			ret = signals_came() ? -EINTR : 0;
			continue;
		}
		if (ret)
			break;
		ret = hand_on(get, &msg);
		if (ret) {
			*output = true;
			bus_queue_give_back(get->act.queue, &msg);
			break;
		}
		count(get, &msg);
		ret = bus_queue_release(get->act.queue, &msg);
		if (!ret && get->n_got != get->count && signals_came())
			ret = -EINTR;
	}
	return ret;
}

static int say_not_written(const struct get *get, int error)
{
	return act_fail("cannot write to standard output: %s; the message that "
			"this was about stays in the queue, %" PRIu64
			" before it were got",
			error == -EINTR ? "ended by a signal"
					: strerror(-error),
			get->n_got);
}

/* Why there are no more.  An exit status. */
static int say_end(const struct get *get, int error)
{
	const struct act *act = &get->act;

	switch (error) {
	case 0:
		return ADM_OK;
	case -EPIPE:
		if (get->count == 0 || get->drain)
			return ADM_OK;
		return act_fail("queue '%s' of bus '%s' is closed and empty; "
				"%" PRIu64 " of %" PRIu64 " were got",
				act->queue_name, act->bus_name, get->n_got,
				get->count);
	case -EBUSY:
		return act_fail("there are messages in queue '%s' of bus '%s' "
				"behind one whose writer is in the middle of "
				"it, perhaps stopped, and the queue is strict; "
				"busadm check says who; %" PRIu64 " were got",
				act->queue_name, act->bus_name, get->n_got);
	case -EAGAIN:
		if (get->drain)
			return ADM_OK;
		return act_fail("queue '%s' of bus '%s' is empty; %" PRIu64
				" messages were got",
				act->queue_name, act->bus_name, get->n_got);
	case -ETIMEDOUT:
		return act_fail("time is up; %" PRIu64 " messages were got",
				get->n_got);
	case -EINTR:
		return act_fail("ended by a signal; %" PRIu64
				" messages were got",
				get->n_got);
	default:
		return act_cannot(act, "get from queue", error);
	}
}

static void say_remarks(const struct get *get)
{
	if (get->n_split)
		act_fail("%" PRIu64
			 " of the messages had newlines in them, and "
			 "are several lines now; --format json or hex keeps "
			 "them whole",
			 get->n_split);
	if (get->n_dropped)
		act_fail("%" PRIu64 " messages made no sense and were dropped; "
			 "busadm check may say more",
			 get->n_dropped);
}

static void look_at_output(struct get *get)
{
	struct stat st;

	get->may_block = true;
	if (fstat(STDOUT_FILENO, &st) == 0) {
		get->is_pipe = S_ISFIFO(st.st_mode);
		get->may_block = !S_ISREG(st.st_mode);
	}
	get->is_terminal = isatty(STDOUT_FILENO);
	if (!get->is_terminal)
		progress_start("get", progress_clock());
}

int cmd_get(int argc, char **argv)
{
	struct get get = {
		.format = MESSAGE_LINES,
		.timeout_ns = -1,
	};
	struct args args = { 0 };
	bool output;
	int ret, status;

	if (!parse(&get, &args, argc, argv))
		return args.status;
	ret = signals_block();
	if (ret)
		return act_fail("cannot block signals: %s", strerror(-ret));
	ret = act_open(&get.act, true);
	if (ret)
		return ret;
	look_at_output(&get);
	ret = get_all(&get, &output);
	progress_hide();
	message_free(&get.text);
	if ((output && ret == -EPIPE) || ret == -ESHUTDOWN) {
		act_close(&get.act);
		signals_pipe();
		return say_not_written(&get, -EPIPE);
	}
	status = output ? say_not_written(&get, ret) : say_end(&get, ret);
	say_remarks(&get);
	act_close(&get.act);
	signals_obey();
	return get.n_dropped ? ADM_FAILED : status;
}
