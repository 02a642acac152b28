/*
 * finding_show.c - findings as text and as JSON
 */
#include "config.h"

#include <inttypes.h>

#include "tools/adm/finding_show.h"
#include "tools/adm/text.h"
#include "tools/colour.h"

static const char *colour_of(enum finding_severity severity)
{
	static const char *const codes[] = {
		[FINDING_NOTE] = COLOUR_DIM,
		[FINDING_WARNING] = COLOUR_NOTE,
		[FINDING_ERROR] = COLOUR_BAD,
	};

	return codes[severity];
}

static void print_who(const struct finding *f, FILE *to, int indent)
{
	if (!f->ep && !f->pid)
		return;
	fprintf(to, "%*s  who:    ", indent, "");
	if (f->ep)
		fprintf(to, "endpoint %u%s", f->ep, f->pid ? ", " : "");
	if (f->pid)
		fprintf(to, "pid %d", (int)f->pid);
	if (*f->command)
		fprintf(to, " (%s)", f->command);
	fputc('\n', to);
}

static void print_one(const struct finding *f, FILE *to, int indent,
		      bool colour)
{
	fprintf(to, "%*s%s%s%s: ", indent, "",
		colour ? colour_of(f->severity) : "", finding_word(f->severity),
		colour ? COLOUR_PLAIN : "");
	if (*f->where)
		fprintf(to, "%s", f->where);
	if (f->has_pos)
		fprintf(to, "%sposition %" PRIu64, *f->where ? ", " : "",
			f->pos);
	fprintf(to, "%s%s\n", *f->where || f->has_pos ? ": " : "", f->what);
	print_who(f, to, indent);
	if (*f->remedy)
		fprintf(to, "%*s  remedy: %s\n", indent, "", f->remedy);
}

void findings_print(const struct findings *f, FILE *to, int indent, bool colour)
{
	for (uint32_t i = 0; i < f->n; i++)
		print_one(&f->at[i], to, indent, colour);
	for (int i = FINDING_ERROR; i >= FINDING_NOTE; i--)
		if (f->n_left_out[i])
			fprintf(to, "%*s... and %u more %s%s like these\n",
				indent, "", f->n_left_out[i],
				finding_word((enum finding_severity)i),
				text_s(f->n_left_out[i]));
}

static json_t *optional(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *number_or_null(bool there, uint64_t n)
{
	return there ? json_integer((json_int_t)n) : json_null();
}

static json_t *one_json(const struct finding *f)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}",
			 "severity", finding_word(f->severity), "rule", f->rule,
			 "where", optional(f->where), "channel",
			 number_or_null(f->chan >= 0, (uint64_t)f->chan),
			 "position", number_or_null(f->has_pos, f->pos),
			 "endpoint", number_or_null(f->ep, f->ep), "pid",
			 number_or_null(f->pid, (uint64_t)f->pid), "command",
			 optional(f->command), "what", f->what, "remedy",
			 optional(f->remedy));
}

json_t *findings_json(const struct findings *f)
{
	json_t *all = json_array();

	for (uint32_t i = 0; i < f->n; i++)
		if (json_array_append_new(all, one_json(&f->at[i]))) {
			json_decref(all);
			return NULL;
		}
	return all;
}
