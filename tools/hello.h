/*
 * hello.h - what is said in the scenarios that greet each other
 */
#ifndef HELLO_H
#define HELLO_H

#include <stddef.h>

#include "tools/out.h"

extern const char hello_greeting[];
extern const char hello_reply[];

#define HELLO_BYTES 64 /* that both fit in */

/* Print what was received, at once: who prints next is another process.
 * Returns SCEN_OK or SCEN_FAILED. */
int hello_show_greeting(struct out *out, const char *text, size_t len_bytes);
int hello_show_reply(struct out *out, const char *text, size_t len_bytes);

#endif
