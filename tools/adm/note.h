/*
 * note.h - what a dump says besides the bytes of the bus
 *
 * It lies behind them in the file: when the copy was made, who the creator was,
 * and what /proc said of the processes, which may be gone when somebody looks.
 * It is of this machine and this build, as the bus is; and as hostile.
 */
#ifndef ADM_NOTE_H
#define ADM_NOTE_H

#include "tools/adm/view.h"

/*
 * note_write - @s was copied to @fd, up to @off: say more there
 *
 * Returns 0 or -errno.
 */
int note_write(const struct snap *s, bool no_payload, int fd, uint64_t off);

/*
 * note_read - does the copy @v have a note?
 *
 * Fills @v->note, if it has.  Returns 0, also if not, or -errno.
 */
int note_read(struct view *v);

/* The process of endpoint @id, if the note tells: else UNKNOWN. */
void note_process(const struct view *v, const struct snap_ep *ep,
		  struct process *p);

#endif
