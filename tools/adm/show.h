/*
 * show.h - parts of a snap as text and as JSON, for several commands
 *
 * The words and fields are the same everywhere, so that what one command shows
 * can be looked for with another.
 */
#ifndef ADM_SHOW_H
#define ADM_SHOW_H

#include <jansson.h>

#include "tools/adm/grid.h"
#include "tools/adm/view.h"

#define SHOW_BYTES 256u /* enough for any of the texts */

/* "orders"; an unnamed pipe by its index, "#3". */
char *show_channel(char *buf, const struct snap_chan *c);

/* "live, pid 22217 created it", "orphan", "a copy": the whole bus. */
char *show_state(char *buf, const struct view *v);

/* One word for it, as in list: "live", "orphan", "damaged". */
const char *show_state_word(const struct view *v);

/* How dangerous what a process does is: dead and stopped ones are. */
enum grid_mark show_mark(const struct process *p);

/* For what endpoint @id sleeps: "room in full"; "" if it does not. */
char *show_sleep(char *buf, const struct snap *s, uint32_t id);

/* Who sleeps on a channel: "1 reader, 2 writers"; "" if nobody does. */
char *show_sleepers(char *buf, const struct snap_chan *c);

/* The same of a direction of a pipe. */
char *show_dir_sleepers(char *buf, const struct snap_dir *d);

/* The process behind a side of a pipe, if the bus knows it; else UNKNOWN. */
void show_side_process(const struct snap *s, const struct snap_side *side,
		       struct process *p);

/* The beginning of a message, quoted: as text, or as digits where most of it is
 * none. */
char *show_bytes(char *buf, const void *bytes, size_t n, bool more);

/* Nanoseconds from @since to when the snap was taken; UINT64_MAX: unknown. */
uint64_t show_age(const struct snap *s, uint64_t since_ns);

/* Open @arg and take a whole snap, or complain: 0 or an exit status. */
int show_open(const char *arg, struct view *v, struct snap *s);
void show_close(struct view *v, struct snap *s);

/* ------------------------------------------------------------------ JSON -- */

/* @key and a number that may be larger than one of JSON: then a string. */
void show_json_number(json_t *o, const char *key, uint64_t n);

/* {"schema": 1, "bus": ..., "state": ...}: what every answer begins with. */
json_t *show_json_bus(const struct view *v);

json_t *show_json_process(const struct process *p);
json_t *show_json_set(const struct snap_set *set);
json_t *show_json_channel(const struct snap *s, const struct snap_chan *c);
json_t *show_json_crew(const struct snap *s, const struct snap_crew *w);
json_t *show_json_slot(const struct snap_slot *slot);

#endif
