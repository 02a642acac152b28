/*
 * rival_mq.c - a POSIX message queue
 *
 * Its name is removed as soon as it is open, so that it vanishes with its
 * processes; who is killed before has a keeper.  As many messages as the system
 * allows: fs.mqueue.msg_max (10 by default) for an ordinary user,
 * RLIMIT_MSGQUEUE for all.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/rivals/keeper.h"
#include "bench/transport.h"

struct lane {
	mqd_t queue;
};

static int open_one(const char *name, const struct spec *spec,
		    long max_messages, mqd_t *queue)
{
	struct mq_attr attr = { .mq_maxmsg = max_messages,
				.mq_msgsize = (long)spec->bytes };

	*queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600,
			 &attr);
	if (*queue == (mqd_t)-1)
		return -errno;
	mq_unlink(name);
	return 0;
}

static int mq_open_lane(const struct spec *spec, struct lane **lane,
			struct outcome *out)
{
	/* The most that is of use, then less and less down to the default. */
	static const long sizes[] = { 4096, 1024, 256, 64, 32, 10, 4 };
	struct lane *made = calloc(1, sizeof(*made));
	char name[KEEPER_NAME_BYTES];
	int ret = -EINVAL;

	if (!made)
		return outcome_set(out, OUTCOME_FAILED, "no memory");
	if (keeper_name("/", name, sizeof(name), out) != 0) {
		free(made);
		return -1;
	}
	for (size_t i = 0; ret < 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ret = open_one(name, spec, sizes[i], &made->queue);
	if (ret < 0) {
		free(made);
		return outcome_set(out, OUTCOME_ABSENT,
				   "mq: no queue for messages of %zu bytes: "
				   "%s (see fs.mqueue, ulimit -q)",
				   spec->bytes, strerror(-ret));
	}
	*lane = made;
	return 0;
}

static void mq_close_lane(struct lane *lane)
{
	mq_close(lane->queue);
	free(lane);
}

static int mq_put(struct lane *lane, const void *msgs, size_t bytes, size_t n,
		  bool wait)
{
	static const struct timespec past = { 0, 0 };
	int ret;

	(void)n;
	do
		ret = wait ? mq_send(lane->queue, msgs, bytes, 0)
			   : mq_timedsend(lane->queue, msgs, bytes, 0, &past);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return errno == ETIMEDOUT ? -EAGAIN : -errno;
	return 1;
}

static int mq_get(struct lane *lane, void *msgs, size_t bytes, size_t n,
		  bool wait)
{
	ssize_t ret;

	(void)n;
	if (!wait)
		return -EAGAIN; /* without a system call it cannot tell */
	do
		ret = mq_receive(lane->queue, msgs, bytes, NULL);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	return (size_t)ret == bytes ? 1 : -EBADMSG;
}

const struct transport rival_mq = {
	.name = "mq",
	.what = "a POSIX message queue, as long as the system allows",
	.loads = LOAD_LANES,
	.waits = "block",
	.open = mq_open_lane,
	.close = mq_close_lane,
	.put = mq_put,
	.get = mq_get,
};
