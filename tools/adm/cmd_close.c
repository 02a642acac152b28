/*
 * cmd_close.c - busadm close BUS QUEUE, busadm abort BUS QUEUE
 *
 * For writers it is the end of the queue at once; for readers when they have
 * got what is in it, or, after an abort, at once as well.
 */
#include "config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tools/adm/act.h"
#include "tools/adm/args.h"
#include "tools/adm/text.h"

struct end {
	struct act act;
	bool json;
	bool abort;
};

static const char close_help[] =
	"Usage: busadm close [OPTION...] BUS QUEUE\n"
	"Close a queue: every put fails from now on, also those that wait; "
	"readers get\n"
	"what is in it, and are told then that this is the end.\n"
	"\n"
	"      --format FORMAT  text (default) or json\n"
	"      --any-owner      also if the bus is another user's\n"
	"      --help           print this and exit\n";

static const char abort_help[] =
	"Usage: busadm abort [OPTION...] BUS QUEUE\n"
	"Close a queue, and throw away what nobody has taken yet.\n"
	"\n"
	"      --format FORMAT  text (default) or json\n"
	"      --any-owner      also if the bus is another user's\n"
	"      --help           print this and exit\n";

static const struct option options[] = {
	{ "any-owner", no_argument, NULL, 'o' }, ARGS_COMMON
};

static bool parse(struct end *end, struct args *args, int argc, char **argv)
{
	const char *help = end->abort ? abort_help : close_help;
	int c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 'o')
			end->act.any_owner = true;
		else if (args_common(args, c, argv, help) < 0)
			return false;
	}
	if (!args_count(args, argc, argv, 2, 2, "BUS and QUEUE"))
		return false;
	end->act.bus_name = argv[optind];
	end->act.queue_name = argv[optind + 1];
	return true;
}

/* @was: before it. */
static void print_text(const struct end *end, const struct bus_queue_stats *was)
{
	struct bus_queue_stats is = act_stats(&end->act);
	char bus[256], queue[256];
	bool before = was->closed > (end->abort ? 1 : 0);

	printf("queue '%s' of bus '%s' %s closed%s",
	       text_name(queue, sizeof(queue), end->act.queue_name),
	       text_name(bus, sizeof(bus), end->act.bus_name),
	       before ? "was" : "is", before ? " before" : "");
	if (end->abort)
		printf("; %u message%s thrown away\n", was->n_waiting,
		       text_s(was->n_waiting));
	else
		printf("; %u message%s left to get\n", is.n_waiting,
		       text_s(is.n_waiting));
}

static int print_json(const struct end *end, const struct bus_queue_stats *was)
{
	struct bus_queue_stats is = act_stats(&end->act);
	const struct act *act = &end->act;
	json_t *object = json_pack(
		"{s:i, s:o, s:o, s:b, s:s, s:i, s:i, s:i}", "schema", 1, "bus",
		text_json(act->bus_name, strlen(act->bus_name)), "queue",
		text_json(act->queue_name, strlen(act->queue_name)), "orphan",
		act->is_orphan, "was",
		was->closed > 1 ? "aborted"
		: was->closed   ? "closed"
				: "open",
		"waiting_before", (int)was->n_waiting, "waiting",
		(int)is.n_waiting, "held", (int)is.n_held);

	if (!object)
		return act_fail("it is done, but memory is too short to say "
				"so");
	text_print_json(object);
	return ADM_OK;
}

static int end_queue(struct end *end)
{
	struct bus_queue_stats was;
	int ret = act_open(&end->act, true);

	if (ret)
		return ret;
	was = act_stats(&end->act);
	ret = end->abort ? bus_queue_abort(end->act.queue)
			 : bus_queue_close(end->act.queue);
	if (ret == -EPROTO)
		ret = act_fail("queue '%s' of bus '%s' is closed, but what is "
			       "in it makes no sense; busadm check says more",
			       end->act.queue_name, end->act.bus_name);
	else if (ret)
		ret = act_cannot(&end->act, "close queue", ret);
	else if (end->json)
		ret = print_json(end, &was);
	else
		print_text(end, &was);
	act_close(&end->act);
	return ret;
}

static int run(int argc, char **argv, bool abort)
{
	struct end end = { .abort = abort };
	struct args args = { 0 };

	if (!parse(&end, &args, argc, argv))
		return args.status;
	end.json = args.json;
	return end_queue(&end);
}

int cmd_close(int argc, char **argv)
{
	return run(argc, argv, false);
}

int cmd_abort(int argc, char **argv)
{
	return run(argc, argv, true);
}
