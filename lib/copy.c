/*
 * copy.c - copies of messages that are more than a word or two; see copy.h
 */
#include "config.h"

#include "lib/copy.h"

void sb_copy_more(void *to, const void *from, size_t n)
{
	if (sb_likely(n <= SB_COPY_FRESH))
		sb_copy_in(to, from, n);
	else
		memcpy(to, from, n);
}
