/*
 * watch.h - buses over time: what they said last, and before that; those that
 * come, vanish, or are created anew under the same name
 */
#ifndef ADM_WATCH_H
#define ADM_WATCH_H

#include "tools/adm/finding.h"
#include "tools/adm/view.h"

enum watch_state {
	WATCH_OPEN,
	WATCH_UNREADABLE, /* it is there, and @why says more */
	WATCH_GONE        /* its figures are the last that there were */
};

struct watch_bus {
	char *arg; /* as view_open() wants it called */
	enum watch_state state;
	char why[VIEW_WHY_BYTES];
	struct view v;
	uint64_t since_ns;          /* of the state */
	uint64_t created_ns;        /* when it was seen to be created anew; 0 */
	uint64_t from_start;        /* UNNAMED: start time of its process */
	struct snap was, now, base; /* base: what findings compare with */
	bool has_was, has_now, has_base;
	struct findings found;
};

struct watch {
	struct watch_bus **bus;
	size_t n;
	bool all;            /* look for new ones */
	uint64_t scanned_ns; /* when that was done last */
};

/* Watch the bus @arg, or all if it is NULL.  0 or -ENOMEM; one that is not
 * there is gone and may come. */
int watch_open(struct watch *w, const char *arg);

/* Look at all of them now. */
void watch_look(struct watch *w);

void watch_close(struct watch *w);

#endif
