/*
 * boost_queue.h - boost::interprocess::message_queue for C
 *
 * Each call returns -errno.  A queue has no name any more when it is open.
 */
#ifndef BENCH_RIVALS_BOOST_QUEUE_H
#define BENCH_RIVALS_BOOST_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct boost_queue;

int boost_queue_open(const char *name, size_t n_messages, size_t bytes,
		     struct boost_queue **queue);
void boost_queue_close(struct boost_queue *queue);

/* -EAGAIN without @wait. */
int boost_queue_send(struct boost_queue *queue, const void *msg, size_t bytes,
		     bool wait);
/* The bytes of the message. */
int boost_queue_receive(struct boost_queue *queue, void *msg, size_t bytes,
			bool wait);

#ifdef __cplusplus
}
#endif

#endif
