/*
 * scen_pipe_hello.c - one parent, one child, one pipe
 *
 * The smallest conversation: the parent sends a greeting, the child receives
 * it and answers through the same pipe.  Each of the two has one end of it and
 * nothing to close; if one is killed the other's call says so.
 */
#include "config.h"

#include <string.h>
#include <sys/wait.h>

#include "bus/shmbus.h"
#include "tools/hello.h"
#include "tools/scen.h"

/* The child: @end is its end of the pipe. */
static int worker(void *ctx, struct bus_pipe *end)
{
	struct out *out = ctx;
	char text[HELLO_BYTES];
	size_t len_bytes;
	int ret = bus_pipe_recv(end, text, sizeof(text), &len_bytes, -1);

	if (ret < 0)
		return scen_cannot("receive the request", ret);
	if (hello_show_greeting(out, text, len_bytes) != SCEN_OK)
		return SCEN_FAILED;
	ret = bus_pipe_send(end, hello_reply, strlen(hello_reply), -1);
	return ret < 0 ? scen_cannot("send the reply", ret) : SCEN_OK;
}

/* The parent's part of the conversation. */
static int converse(struct bus_pipe *pipe, struct out *out)
{
	char text[HELLO_BYTES];
	size_t len_bytes;
	int ret;

	ret = bus_pipe_send(pipe, hello_greeting, strlen(hello_greeting), -1);
	if (ret == 0)
		ret = bus_pipe_recv(pipe, text, sizeof(text), &len_bytes, -1);
	if (ret < 0)
		return scen_cannot("get the worker's reply", ret);
	return hello_show_reply(out, text, len_bytes);
}

int scen_pipe_hello(const struct scen_options *opt, struct out *out,
		    struct scen_summary *summary)
{
	struct bus_config config = BUS_CONFIG_INIT;
	struct bus_pipe *pipe;
	struct bus *bus;
	pid_t child;
	int ret, status = SCEN_FAILED;

	config.wait = opt->wait;
	ret = bus_create(NULL, &config, &bus);
	if (ret < 0)
		return scen_cannot_create(opt, ret);
	ret = bus_pipe_spawn(bus, NULL, worker, out, &pipe, &child);
	if (ret == 0) {
		status = converse(pipe, out);
		bus_pipe_free(pipe); /* ends a child that still waits */
		waitpid(child, NULL, 0);
	} else {
		scen_cannot("start the worker", ret);
	}
	bus_close(bus);
	summary->n_workers = 1;
	summary->n_results = status == SCEN_OK;
	return status;
}
