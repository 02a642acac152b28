/*
 * seconds.h - an option that is a number of seconds
 */
#ifndef ADM_SECONDS_H
#define ADM_SECONDS_H

#include <stdint.h>

/* "0.2", "3", "1e-3": up to a year, not negative, nothing behind it.  0, or
 * -EINVAL. */
int seconds_parse(const char *text, uint64_t *ns);

#endif
