/*
 * boost_queue.cc - boost::interprocess::message_queue for C
 */
#include "bench/rivals/boost_queue.h"

#include <cerrno>

#include <boost/interprocess/ipc/message_queue.hpp>

using namespace boost::interprocess;

struct boost_queue {
	message_queue queue;

	boost_queue(const char *name, size_t n_messages, size_t bytes)
	    : queue(create_only, name, n_messages, bytes, permissions(0600))
	{
	}
};

/* What is thrown, as a number. */
static int error_of(const interprocess_exception &error)
{
	int native = error.get_native_error();

	return native > 0 ? -native : -EIO;
}

int boost_queue_open(const char *name, size_t n_messages, size_t bytes,
		     struct boost_queue **queue)
{
	int ret = 0;

	try {
		*queue = new boost_queue(name, n_messages, bytes);
	} catch (const interprocess_exception &error) {
		ret = error_of(error);
	} catch (const std::exception &) {
		ret = -ENOMEM;
	}
	message_queue::remove(name);
	return ret;
}

void boost_queue_close(struct boost_queue *queue)
{
	delete queue;
}

int boost_queue_send(struct boost_queue *queue, const void *msg, size_t bytes,
		     bool wait)
{
	try {
		if (wait)
			queue->queue.send(msg, bytes, 0);
		else if (!queue->queue.try_send(msg, bytes, 0))
			return -EAGAIN;
	} catch (const interprocess_exception &error) {
		return error_of(error);
	}
	return 0;
}

int boost_queue_receive(struct boost_queue *queue, void *msg, size_t bytes,
			bool wait)
{
	message_queue::size_type received = 0;
	unsigned priority;

	try {
		if (wait)
			queue->queue.receive(msg, bytes, received, priority);
		else if (!queue->queue.try_receive(msg, bytes, received,
						   priority))
			return -EAGAIN;
	} catch (const interprocess_exception &error) {
		return error_of(error);
	}
	return (int)received;
}
