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

static void set_text(json_t *o, const char *key, const char *text)
{
	if (*text)
		json_object_set_new(o, key, json_string(text));
}

static void set_number(json_t *o, const char *key, bool there, uint64_t n)
{
	if (there)
		json_object_set_new(o, key, json_integer((json_int_t)n));
}

/* Positions have 48 bits. */
static json_t *one_json(const struct finding *f)
{
	json_t *o = json_object();

	set_text(o, "severity", finding_word(f->severity));
	set_text(o, "rule", f->rule);
	set_text(o, "where", f->where);
	set_number(o, "channel", f->chan >= 0, (uint64_t)f->chan);
	set_number(o, "position", f->has_pos, f->pos);
	set_number(o, "endpoint", f->ep, f->ep);
	set_number(o, "pid", f->pid, (uint64_t)f->pid);
	set_text(o, "command", f->command);
	set_text(o, "what", f->what);
	set_text(o, "remedy", f->remedy);
	return o;
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
