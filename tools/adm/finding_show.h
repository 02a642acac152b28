/*
 * finding_show.h - findings as text and as JSON
 */
#ifndef ADM_FINDING_SHOW_H
#define ADM_FINDING_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "tools/adm/finding.h"

/* One paragraph each, indented by @indent blanks.  @colour: for a terminal. */
void findings_print(const struct findings *f, FILE *to, int indent,
		    bool colour);

/* An array of objects, or NULL. */
json_t *findings_json(const struct findings *f);

#endif
