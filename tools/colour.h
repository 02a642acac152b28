/*
 * colour.h - colours of a terminal; nothing is ever said by colour alone
 */
#ifndef COLOUR_H
#define COLOUR_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLOUR_GOOD  "\033[32m"
#define COLOUR_NOTE  "\033[33m"
#define COLOUR_BAD   "\033[1;31m"
#define COLOUR_DIM   "\033[2m"
#define COLOUR_BOLD  "\033[1m"
#define COLOUR_PLAIN "\033[0m"

/* Standard output is a terminal that has them, and nobody objects
 * (no-color.org: NO_COLOR, set and not empty). */
static inline bool colour_wanted(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) &&
	       !(term && !strcmp(term, "dumb"));
}

#endif
