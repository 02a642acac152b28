/*
 * scen_pipe_file.c - a file goes through a pipe to a process that writes it
 *
 * The parent reads straight into the pipe, the child writes straight out of
 * it: one copy in, one copy out, both made by the kernel.  Each message is
 * what one read(2) gave, so an input that comes slowly arrives as it comes,
 * and nobody has to know its size.  An empty message is the end.  A stream
 * without it was cut off, whatever the reason, and is never taken for the
 * file.
 *
 * Each of the two learns at once when the other is gone, also while it waits
 * for a descriptor.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/io.h"
#include "tools/newfile.h"
#include "tools/progress.h"
#include "tools/scen.h"

#define SLOT_BYTES (1u << 20) /* with its twin it stays in the second cache */
#define READ_BYTES (1u << 17) /* most of one read; 7 of them fit a slot */

/* So much a pipe or a terminal that is ready takes at once: PIPE_BUF. */
#define WRITE_BYTES 4096

/* What the steps of both return, beside 1 (go on) and 0 (it is the end). */
#define GONE (-EPIPE)     /* the other process is */
#define SAID (-ECANCELED) /* an error that the user has been told */

struct transfer {
	struct bus *bus;
	struct bus_pipe *pipe; /* this process's end */
	const char *in_name;
	int in;
	bool in_waits;     /* a read may have to wait for somebody */
	bool out_waits;    /* the same for a write */
	uint64_t in_bytes; /* 0: unknown */
	uint64_t n_bytes;  /* that were sent */
	struct newfile out;
};

/* Wait until @fd is ready, if the other process lives so long. */
static int wait_for(struct transfer *t, int fd, uint32_t events)
{
	struct bus_poll polls[] = {
		{ .kind = BUS_POLL_FD, .fd = fd, .events = events },
		{ .kind = BUS_POLL_PIPE, .on.pipe = t->pipe },
	};
	int ret = bus_wait(t->bus, polls, 2, -1);

	if (ret < 0)
		return ret;
	return polls[1].ready ? GONE : 0;
}

/* ----------------------------------------------------------- the sender -- */

static int send_some(struct transfer *t)
{
	struct bus_part part;
	ssize_t n;
	int ret = t->in_waits ? wait_for(t, t->in, BUS_POLL_IN) : 0;

	if (ret == 0)
		ret = bus_pipe_loan(t->pipe, READ_BYTES, &part, -1);
	if (ret < 0)
		return ret;
	n = io_read(t->in, part.data, part.len_bytes, true);
	if (n > 0) {
		part.len_bytes = (size_t)n;
		t->n_bytes += (uint64_t)n;
		ret = bus_pipe_commit(t->pipe, &part);
		return ret < 0 ? ret : 1;
	}
	bus_pipe_cancel(t->pipe);
	if (n == 0)
		return bus_pipe_send(t->pipe, "", 0, -1);
	complain("busscen: cannot read '%s': %s", t->in_name,
		 strerror((int)-n));
	return SAID;
}

/* How much of the input that is. */
static double part_sent(const struct transfer *t)
{
	if (t->in_bytes == 0)
		return -1;
	return t->n_bytes < t->in_bytes
		       ? (double)t->n_bytes / (double)t->in_bytes
		       : 1; /* it grew */
}

static int send_all(struct transfer *t)
{
	int ret;

	do {
		ret = send_some(t);
		progress_bytes(progress_clock(), t->n_bytes, part_sent(t));
	} while (ret > 0);
	return ret;
}

/* --------------------------------------------------------- the receiver -- */

static int write_out(struct transfer *t, const char *data, size_t n)
{
	size_t most = t->out_waits ? WRITE_BYTES : n;
	int ret;

	for (size_t part; n > 0; data += part, n -= part) {
		ret = t->out_waits ? wait_for(t, t->out.fd, BUS_POLL_OUT) : 0;
		if (ret < 0)
			return ret;
		part = n < most ? n : most;
		ret = io_write(t->out.fd, data, part);
		if (ret < 0) {
			out_cannot_write(t->out.name, ret);
			return SAID;
		}
	}
	return 0;
}

static int receive_some(struct transfer *t)
{
	struct bus_part part;
	int ret = bus_pipe_peek(t->pipe, &part, -1);

	if (ret < 0)
		return ret;
	if (part.len_bytes != part.total_bytes)
		return -EPROTO;
	ret = write_out(t, part.data, part.len_bytes);
	if (ret < 0)
		return ret;
	ret = bus_pipe_release(t->pipe, &part);
	return ret < 0 ? ret : part.len_bytes > 0;
}

/* There is no end of the stream.  A sender that has closed its end on purpose
 * has said why. */
static void complain_of_sender(struct transfer *t)
{
	struct bus_pipe_stats stats = BUS_PIPE_STATS_INIT;

	bus_pipe_stats(t->pipe, &stats);
	if (stats.peer_state != BUS_PIPE_PEER_CLOSED)
		complain("busscen: the process that reads '%s' was killed; "
			 "%s is not complete",
			 t->in_name, t->out.name);
}

/* The child.  Returns its exit status. */
static int receive_all(struct transfer *t)
{
	int ret;

	do
		ret = receive_some(t);
	while (ret > 0);
	if (ret == 0) {
		ret = newfile_commit(&t->out);
		if (ret == 0)
			return SCEN_OK;
		out_cannot_write(t->out.name, ret);
	} else if (ret == GONE || ret == -EOWNERDEAD) {
		complain_of_sender(t);
	} else if (ret != SAID) {
		scen_cannot("receive the file", ret);
	}
	newfile_drop(&t->out);
	return SCEN_FAILED;
}

/* -------------------------------------------------------------- between -- */

/* The child has ended, or will because its pipe has an end. */
static int wait_for_child(struct transfer *t, pid_t child)
{
	char how[64];
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return scen_cannot("wait for the receiver", -errno);
	if (WIFEXITED(status))
		return WEXITSTATUS(status); /* it has said why, if it failed */
	scen_how_it_ended(WTERMSIG(status), 0, how, sizeof(how));
	complain("busscen: the process that writes %s was killed %s; it is not "
		 "complete",
		 t->out.name, how);
	return SCEN_FAILED;
}

static int run(struct transfer *t)
{
	struct bus_pipe_config config = BUS_PIPE_CONFIG_INIT;
	struct bus_pipe *a, *b;
	pid_t child;
	int ret, status;

	config.profile = BUS_PIPE_STREAM;
	config.flags = BUS_PIPE_SIMPLEX;
	config.slot_bytes = SLOT_BYTES;
	ret = bus_pipe(t->bus, &config, &a, &b);
	if (ret < 0)
		return scen_cannot("make the pipe", ret);
	progress_start("pipe-file", progress_clock());
	child = fork();
	if (child == 0) {
		/* Not bound to its parent's life: the pipe tells it. */
		progress_forked();
		t->pipe = b;
		_exit(receive_all(t));
	}
	if (child < 0) {
		ret = scen_cannot("fork", -errno);
		bus_pipe_free(b);
		bus_pipe_free(a);
		return ret;
	}
	t->pipe = a;
	ret = bus_pipe_hand_over(b, child);
	if (ret == 0)
		ret = send_all(t);
	else
		bus_pipe_free(b);
	if (ret < 0 && ret != GONE && ret != SAID)
		scen_cannot("send the file", ret);
	if (ret < 0)
		bus_pipe_close(a, BUS_PIPE_SEND);
	status = wait_for_child(t, child);
	bus_pipe_free(a);
	return ret < 0 ? SCEN_FAILED : status;
}

static bool may_wait(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) &&
	       !S_ISDIR(st.st_mode) && !S_ISBLK(st.st_mode);
}

/* Returns 0 or SCEN_FAILED. */
static int open_files(struct transfer *t, const struct scen_options *opt)
{
	bool is_stdin = strcmp(opt->input, "-") == 0;
	struct stat st;
	int ret;

	t->in_name = is_stdin ? "<stdin>" : opt->input;
	t->in = is_stdin ? STDIN_FILENO
			 : open(opt->input, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (t->in < 0)
		return scen_cannot_open(opt->input, -errno);
	ret = newfile_open(&t->out, opt->output);
	if (ret < 0) {
		close(t->in);
		return scen_cannot_open(opt->output, ret);
	}
	if (fstat(t->in, &st) == 0 && S_ISREG(st.st_mode))
		t->in_bytes = (uint64_t)st.st_size;
	t->in_waits = may_wait(t->in);
	t->out_waits = may_wait(t->out.fd);
	return 0;
}

int scen_pipe_file(const struct scen_options *opt, struct out *out,
		   struct scen_summary *summary)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct transfer t = { 0 };
	int ret, status = SCEN_FAILED;

	(void)out;
	(void)summary;
	if (open_files(&t, opt) != 0)
		return SCEN_FAILED;
	config.wait = opt->wait;
	ret = bus_create(NULL, &config, &t.bus);
	if (ret == 0) {
		status = run(&t);
		bus_close(t.bus);
	} else {
		scen_cannot_create(opt, ret);
	}
	newfile_drop(&t.out);
	if (t.in > STDERR_FILENO)
		close(t.in);
	return status;
}
