/*
 * prom.h - what a bus counts in the text format of Prometheus
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/: a HELP and a
 * TYPE line for each metric, once, and all its samples below them, so those of
 * all buses are collected before anything is printed.
 */
#ifndef ADM_PROM_H
#define ADM_PROM_H

#include <stdio.h>

#include "tools/adm/view.h"

struct prom_sample;

struct prom {
	struct prom_sample *at;
	size_t n, room;
	bool failed; /* memory was short */
};

/* All samples of a bus that is called @name. */
void prom_add(struct prom *p, const char *name, const struct snap *s);

/* Buses that were asked for and could not be read, or could. */
void prom_add_up(struct prom *p, const char *name, bool up);

void prom_print(const struct prom *p, FILE *to);
void prom_free(struct prom *p);

/* @text as the value of a label: \\, \" and \n, and bytes that are not UTF-8
 * as \xHH.  Returns @buf. */
char *prom_escape(char *buf, size_t size, const char *text);

#endif
