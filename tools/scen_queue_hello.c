/*
 * scen_queue_hello.c - one parent, one child, two queues
 *
 * The smallest conversation: the parent puts a greeting into one queue, the
 * child gets it and answers through the other.  The bus has no name: only
 * forked children share it, and nothing of it is left whatever happens.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/shmbus.h"
#include "tools/hello.h"
#include "tools/scen.h"

/* The child.  It uses the queues that it inherited as its own. */
static int worker(struct bus_queue *requests, struct bus_queue *replies,
		  struct out *out)
{
	char text[HELLO_BYTES];
	size_t len_bytes;
	int ret = bus_queue_get(requests, text, sizeof(text), &len_bytes, -1);

	if (ret < 0)
		return scen_cannot("get the request", ret);
	if (hello_show_greeting(out, text, len_bytes) != SCEN_OK)
		return SCEN_FAILED;
	ret = bus_queue_put(replies, hello_reply, strlen(hello_reply), -1);
	return ret < 0 ? scen_cannot("put the reply", ret) : SCEN_OK;
}

/*
 * Fork the child, so that it ends when its parent does.  A queue cannot tell
 * that nobody will ever write to it again; the kernel can.
 */
static pid_t fork_worker(struct bus_queue *requests, struct bus_queue *replies,
			 struct out *out)
{
	pid_t parent = getpid();
	pid_t child = fork();

	if (child != 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(SCEN_FAILED); /* it died before we asked */
	_exit(worker(requests, replies, out));
}

static bool has_ended(pid_t child)
{
	siginfo_t info = { 0 };

	/* WNOWAIT: it stays ours to kill and to wait for. */
	waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
	return info.si_pid == child;
}

/* Get from a queue that only @child writes to: not for longer than it lives.
 * Returns as bus_queue_get(), or -EOWNERDEAD. */
static int get_from(pid_t child, struct bus_queue *queue, char *buf,
		    size_t cap_bytes, size_t *len_bytes)
{
	const int64_t look_ns = 50 * 1000 * 1000;
	bool ended;
	int ret;

	do {
		/* Once more after it ended: it may have put before. */
		ended = has_ended(child);
		ret = bus_queue_get(queue, buf, cap_bytes, len_bytes,
				    ended ? 0 : look_ns);
	} while (!ended && ret == -ETIMEDOUT);
	return ret == -EAGAIN ? -EOWNERDEAD : ret;
}

static int converse(struct bus_queue *requests, struct bus_queue *replies,
		    struct out *out)
{
	char text[HELLO_BYTES];
	size_t len_bytes;
	int ret, status = SCEN_FAILED;
	pid_t child = fork_worker(requests, replies, out);

	if (child < 0)
		return scen_cannot("fork", -errno);
	ret = bus_queue_put(requests, hello_greeting, strlen(hello_greeting),
			    -1);
	if (ret == 0)
		ret = get_from(child, replies, text, sizeof(text), &len_bytes);
	if (ret == 0) {
		status = hello_show_reply(out, text, len_bytes);
	} else {
		scen_cannot("get the worker's reply", ret);
		kill(child, SIGKILL);
	}
	waitpid(child, NULL, 0);
	return status;
}

int scen_queue_hello(const struct scen_options *opt, struct out *out,
		     struct scen_summary *summary)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus_queue_config queue = BUS_QUEUE_CONFIG_INIT;
	struct bus_queue *requests = NULL, *replies = NULL;
	struct bus *bus;
	int ret, status = SCEN_FAILED;

	config.wait = opt->wait;
	ret = bus_create(NULL, &config, &bus);
	if (ret < 0)
		return scen_cannot_create(opt, ret);
	ret = bus_queue_open(bus, "requests", &queue, &requests);
	if (ret == 0)
		ret = bus_queue_open(bus, "replies", &queue, &replies);
	if (ret == 0)
		status = converse(requests, replies, out);
	else
		scen_cannot("make the queues", ret);
	bus_queue_free(replies);
	bus_queue_free(requests);
	bus_close(bus);
	summary->n_workers = 1;
	summary->n_results = status == SCEN_OK;
	return status;
}
