/*
 * signals.h - end at a place where nothing is lost
 *
 * Who holds a message, or half of one, wants to say what became of it before
 * it ends.  So SIGINT, SIGTERM and SIGHUP are blocked from signals_block() on
 * and asked for; SIGPIPE is an error of write(2).
 */
#ifndef ADM_SIGNALS_H
#define ADM_SIGNALS_H

#include <stdbool.h>

/* Once, before anything is held.  Returns 0 or -errno. */
int signals_block(void);

/* Has one come? */
bool signals_came(void);

/*
 * signals_wait - until @fd is ready for @events of poll(2), or one has come
 * @timeout_ms: negative to wait without limit
 *
 * Returns what is ready, 0 when time is up, -EINTR when one has come, or
 * -errno.
 */
int signals_wait(int fd, short events, int timeout_ms);

/* End as that signal would have ended us, if one has come.  Nothing may be
 * held any more. */
void signals_obey(void);

/* The reader of standard output has gone: end by SIGPIPE, as others do, unless
 * who started us does not want that. */
void signals_pipe(void);

#endif
