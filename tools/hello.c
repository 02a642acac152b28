/*
 * hello.c - what is said in the scenarios that greet each other
 */
#include "config.h"

#include "tools/hello.h"
#include "tools/scen.h"

const char hello_greeting[] = "Hello from the main process!";
const char hello_reply[] = "Reply from the worker";

static int show(struct out *out, const char *label, const char *key,
		const char *text, size_t len_bytes)
{
	if (out->json)
		out_json(out, json_pack("{s:s%}", key, text, len_bytes));
	else
		out_text(out, "%s: %.*s\n", label, (int)len_bytes, text);
	if (out_flush(out) == 0)
		return SCEN_OK;
	out_complain(out);
	return SCEN_FAILED;
}

int hello_show_greeting(struct out *out, const char *text, size_t len_bytes)
{
	return show(out, "Received", "received", text, len_bytes);
}

int hello_show_reply(struct out *out, const char *text, size_t len_bytes)
{
	return show(out, "Received Reply", "reply", text, len_bytes);
}
