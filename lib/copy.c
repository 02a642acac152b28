/*
 * copy.c - copies of messages that are more than a word or two; see copy.h
 */
#include "config.h"

#include "lib/copy.h"

void sb_copy_more(void *to, const void *from, size_t n)
{
	sb_copy_into(to, from, n);
}
