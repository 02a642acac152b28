/*
 * test_prom.c - tests of tools/adm/prom.c and seconds.c; Criterion suite "prom"
 */
#include "config.h"

#include <criterion/criterion.h>

#include "tests/adm/t_adm.h"
#include "tools/adm/prom.h"
#include "tools/adm/seconds.h"

TestSuite(prom, .init = adm_setup, .fini = adm_teardown, .timeout = 200.0);

static char *print(const char *name)
{
	struct prom p = { 0 };
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	prom_add_up(&p, name, true);
	prom_add(&p, name, adm_snap());
	cr_assert_not(p.failed);
	prom_print(&p, to);
	prom_free(&p);
	fclose(to);
	return text;
}

static const char *escaped(const char *text)
{
	static char buf[64];

	return prom_escape(buf, sizeof(buf), text);
}

Test(prom, labels_are_escaped)
{
	cr_assert_str_eq(escaped("plain text"), "plain text");
	cr_assert_str_eq(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
	cr_assert_str_eq(escaped("gr\303\274n \342\202\254"),
			 "gr\303\274n \342\202\254");
	/* Neither UTF-8 nor a control of a terminal: shown as text. */
	cr_assert_str_eq(escaped("\377\033"), "\\\\xff\\\\x1b");
	cr_assert_str_eq(escaped("\302\233"), "\\\\xc2\\\\x9b");
	cr_assert_str_eq(escaped("\355\240\200"), "\\\\xed\\\\xa0\\\\x80");
	cr_assert_str_eq(escaped("\300\200"), "\\\\xc0\\\\x80");
	cr_assert_str_eq(escaped("\342\202"), "\\\\xe2\\\\x82");
}

Test(prom, what_does_not_fit_is_cut_before_a_character)
{
	char buf[6];

	cr_assert_str_eq(prom_escape(buf, sizeof(buf), "abc\342\202\254"),
			 "abc");
	cr_assert_str_eq(prom_escape(buf, sizeof(buf), "abcd\n"), "abcd");
}

Test(prom, each_metric_has_help_and_type_once)
{
	char *text, *line, *save = NULL;
	char name[64] = "";
	int n = 0;

	t_queue(bus, "q", 4, 24, 0);
	text = print("a bus");
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		size_t len = strcspn(line, "{");

		if (!strncmp(line, "# HELP ", 7)) {
			cr_assert_eq(sscanf(line + 7, "%63s", name), 1);
			n++;
		} else if (!strncmp(line, "# TYPE ", 7)) {
			cr_assert_eq(strncmp(line + 7, name, strlen(name)), 0);
		} else {
			cr_assert_eq(strlen(name), len, "%s", line);
			cr_assert_eq(strncmp(line, name, len), 0, "%s", line);
		}
	}
	cr_assert_gt(n, 20);
	free(text);
}

Test(prom, samples_are_what_is_there)
{
	struct bus_queue *q = t_queue(bus, "a\"b", 4, 24, 0);
	char *text;

	t_put_u64(q, 1, 0);
	t_put_u64(q, 2, 0);
	t_get_u64(q);
	text = print("x");
	cr_assert_not_null(
		strstr(text, "\nshmbus_put_total{bus=\"x\",channel=\"a\\\"b\","
			     "index=\"0\",kind=\"queue\"} 2\n"));
	cr_assert_not_null(
		strstr(text, "\nshmbus_got_total{bus=\"x\",channel=\"a\\\"b\","
			     "index=\"0\",kind=\"queue\"} 1\n"));
	cr_assert_not_null(strstr(text, "\nshmbus_endpoint_put_total{bus=\"x\","
					"endpoint=\"1\"} 2\n"));
	free(text);
}

Test(prom, seconds_are_numbers_that_end)
{
	uint64_t ns;

	cr_assert_eq(seconds_parse("0.25", &ns), 0);
	cr_assert_eq(ns, 250000000);
	cr_assert_eq(seconds_parse("3", &ns), 0);
	cr_assert_eq(ns, UINT64_C(3000000000));
	cr_assert_eq(seconds_parse("0", &ns), 0);
	cr_assert_eq(ns, 0);
	for (size_t i = 0; i < 8; i++) {
		static const char *const bad[] = {
			"", "x", "1x", "-1", "nan", "inf", "1e99", "1 2"
		};

		cr_assert_eq(seconds_parse(bad[i], &ns), -EINVAL, "%s", bad[i]);
	}
}
