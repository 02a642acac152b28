/*
 * iceoryx_port.h - publishers and subscribers of iceoryx for C
 *
 * They lose nothing: a publisher waits for room in the queue of its subscriber.
 */
#ifndef BENCH_RIVALS_ICEORYX_PORT_H
#define BENCH_RIVALS_ICEORYX_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iceoryx_writer;
struct iceoryx_reader;

/* More than this no queue can hold. */
#define ICEORYX_QUEUE_MAX 256

/* This process is a client of RouDi, named @name; before all else, and after
 * all else no more. */
void iceoryx_join(const char *name);
void iceoryx_leave(void);

struct iceoryx_writer *iceoryx_writer_open(const char *topic);
void iceoryx_writer_close(struct iceoryx_writer *writer);
bool iceoryx_writer_has_reader(const struct iceoryx_writer *writer);
/* A message to be written.  NULL: there is none left. */
void *iceoryx_writer_loan(struct iceoryx_writer *writer, size_t bytes);
void iceoryx_writer_publish(struct iceoryx_writer *writer, void *msg);

/* @sleeps: iceoryx_reader_wait() will be called. */
struct iceoryx_reader *iceoryx_reader_open(const char *topic, uint32_t n,
					   bool sleeps);
void iceoryx_reader_close(struct iceoryx_reader *reader);
/* NULL: nothing is there. */
const void *iceoryx_reader_take(struct iceoryx_reader *reader);
void iceoryx_reader_release(struct iceoryx_reader *reader, const void *msg);
/* Sleep until something is there, or perhaps is. */
void iceoryx_reader_wait(struct iceoryx_reader *reader);

#ifdef __cplusplus
}
#endif

#endif
