/*
 * act.h - what the commands share that take part in a bus: put, get, close,
 * abort
 *
 * They attach as an endpoint, as any program would, by the public interface.
 * So they are seen by the others, and when they are killed what they held goes
 * to somebody else.
 */
#ifndef ADM_ACT_H
#define ADM_ACT_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/shmbus.h"

struct act {
	const char *bus_name, *queue_name;
	bool any_owner;
	bool is_orphan; /* set: its creator is dead */
	struct bus *bus;
	struct bus_queue *queue;
};

/*
 * act_open - open act->bus_name, and in it act->queue_name
 * @orphans: also where the creator is dead
 *
 * Says what is wrong, and what to do, and returns an exit status: ADM_OK or
 * ADM_FAILED.
 */
int act_open(struct act *act, bool orphans);
void act_close(struct act *act);

/* As adm_error(), after the progress line was taken away. */
int act_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What the library says about the queue that is not to be expected. */
int act_cannot(const struct act *act, const char *what, int error);

/*
 * Options with a number: seconds, which may have a fraction, as ns; and a whole
 * number from 0 on.  False, and it was said, when it is none.
 */
bool act_seconds(const char *command, const char *option, const char *text,
		 int64_t *ns);
bool act_count(const char *command, const char *option, const char *text,
	       uint64_t *n);

/* Most bytes of a message on this bus. */
uint64_t act_message_max(const struct act *act);

struct bus_queue_stats act_stats(const struct act *act);

#endif
