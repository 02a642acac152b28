/*
 * range.c - numbers as options take them
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/range.h"

/* From one number of a range to the next. */
struct step {
	bool factor;
	uint64_t by;
};

static unsigned power_of(char suffix)
{
	switch (suffix) {
	case 'k':
	case 'K':
		return 1;
	case 'm':
	case 'M':
		return 2;
	case 'g':
	case 'G':
		return 3;
	default:
		return 0;
	}
}

int range_number(const char *text, unsigned base, uint64_t *value,
		 const char **end)
{
	char *rest;
	unsigned power;

	/* strtoull() takes blanks and signs. */
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &rest, 10);
	if (errno)
		return -ERANGE;
	power = power_of(*rest);
	if (power)
		rest++;
	for (; power; power--)
		if (__builtin_mul_overflow(*value, (uint64_t)base, value))
			return -ERANGE;
	if (end)
		*end = rest;
	else if (*rest)
		return -EINVAL;
	return 0;
}

static int read_step(const char *text, unsigned base, struct step *step)
{
	*step = (struct step){ false, 1 };
	if (!*text)
		return 0;
	if (text[0] != ':' || (text[1] != 'x' && text[1] != '+'))
		return -EINVAL;
	step->factor = text[1] == 'x';
	if (range_number(text + 2, base, &step->by, NULL) < 0)
		return -EINVAL;
	return step->by >= (step->factor ? 2 : 1) ? 0 : -EINVAL;
}

/* False at the end, also that of 64 bits. */
static bool go_on(uint64_t *value, const struct step *step)
{
	return step->factor ? !__builtin_mul_overflow(*value, step->by, value)
			    : !__builtin_add_overflow(*value, step->by, value);
}

int range_add(const char *text, unsigned base, size_t min, size_t max,
	      struct list *list)
{
	struct step step = { false, 1 };
	uint64_t from, to;
	int ret = range_number(text, base, &from, &text);

	if (ret < 0)
		return ret;
	to = from;
	if (*text == ':') {
		ret = range_number(text + 1, base, &to, &text);
		if (ret == 0)
			ret = read_step(text, base, &step);
	} else if (*text) {
		ret = -EINVAL;
	}
	if (ret < 0)
		return ret;
	if (from < min || to > max || from > to)
		return -ERANGE;
	do {
		if (list->n == MAX_LIST)
			return -E2BIG;
		list->value[list->n++] = from;
	} while (go_on(&from, &step) && from <= to);
	return 0;
}
