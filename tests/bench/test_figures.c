/*
 * test_figures.c - bench/figures.c: which figures, which lines, which points
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "bench/figures.h"
#include "bench/row.h"

static json_t *rows, *colours, *figures;

static void setup(void)
{
	rows = json_array();
}

static void teardown(void)
{
	json_decref(rows);
	json_decref(colours);
	json_decref(figures);
}

TestSuite(figures, .init = setup, .fini = teardown, .timeout = 200.0);

static void add(const char *text)
{
	json_t *row = json_loads(text, 0, NULL);

	cr_assert(row, "%s", text);
	json_object_set_new(row, "status", json_string("ok"));
	json_object_set_new(row, "ours",
			    json_boolean(!strncmp(row_text(row, "transport"),
						  "shmbus", 6)));
	json_array_append_new(rows, row);
}

static void make(void)
{
	colours = figures_colours(rows);
	figures = figures_make(rows, colours);
}

static json_t *line(size_t figure, size_t i)
{
	return json_array_get(
		json_object_get(json_array_get(figures, figure), "lines"), i);
}

static double at(const json_t *of_line, size_t point, size_t which)
{
	return json_number_value(json_array_get(
		json_array_get(json_object_get(of_line, "points"), point),
		which));
}

static size_t n_points(const json_t *of_line)
{
	return json_array_size(json_object_get(of_line, "points"));
}

/* 900 of 100 ns, 90 of 200, 9 of 300, 1 of 400. */
Test(figures, percentiles_are_where_they_belong)
{
	json_t *l;

	add("{\"workload\": \"rtt\", \"case\": \"busy\", \"transport\": "
	    "\"shmbus\", \"wait\": \"spin\", \"hist\": [[100, 900], [200, 90], "
	    "[300, 9], [400, 1]]}");
	make();
	cr_assert_eq(json_array_size(figures), 1);
	cr_assert_str_eq(row_text(json_array_get(figures, 0), "name"),
			 "rtt-busy-latency");
	l = line(0, 0);
	cr_assert_str_eq(row_text(l, "title"), "shmbus (spin)");
	for (size_t i = 0; i < n_points(l); i++) {
		double below = at(l, i, 0) < 10     ? 100
			       : at(l, i, 0) < 100  ? 200
			       : at(l, i, 0) < 1000 ? 300
						    : 400;

		cr_assert_eq(at(l, i, 1), below, "%g: %g", at(l, i, 0),
			     at(l, i, 1));
		cr_assert(i == 0 || at(l, i, 0) > at(l, i - 1, 0));
	}
	cr_assert_eq(at(l, 0, 0), 1);
	cr_assert_eq(at(l, n_points(l) - 1, 0), 2000); /* one in 2 n */
}

Test(figures, a_constant_is_a_flat_line_to_its_end)
{
	add("{\"workload\": \"wake\", \"case\": \"\", \"transport\": \"pipe\","
	    " \"hist\": [[7000, 500]]}");
	make();
	cr_assert_eq(at(line(0, 0), 0, 0), 1);
	cr_assert_eq(at(line(0, 0), n_points(line(0, 0)) - 1, 0), 1000);
	for (size_t i = 1; i < n_points(line(0, 0)); i++)
		cr_assert_eq(at(line(0, 0), i, 1), at(line(0, 0), 0, 1));
}

/* In the order of size, whatever that of the rows. */
Test(figures, throughput_over_size_is_in_gigabytes)
{
	add("{\"workload\": \"stream\", \"transport\": \"pipe\", \"bytes\": "
	    "1024, \"figure\": \"msgs_per_s\", \"msgs_per_s\": 1e6}");
	add("{\"workload\": \"stream\", \"transport\": \"pipe\", \"bytes\": 8, "
	    "\"figure\": \"msgs_per_s\", \"msgs_per_s\": 2e6}");
	make();
	cr_assert_eq(json_array_size(figures), 1);
	cr_assert_eq(at(line(0, 0), 0, 0), 8);
	cr_assert(fabs(at(line(0, 0), 0, 1) - 0.016) < 1e-9);
	cr_assert_eq(at(line(0, 0), 1, 0), 1024);
	cr_assert(fabs(at(line(0, 0), 1, 1) - 1.024) < 1e-9);
}

/* By loan and by copy, and of one size only. */
Test(figures, other_parameters_are_other_figures)
{
	static const char *const texts[] = {
		"{\"by\": \"copy\", \"bytes\": 8, ",
		"{\"by\": \"copy\", \"bytes\": 64, ",
		"{\"by\": \"loan\", \"bytes\": 8, ",
		"{\"by\": \"loan\", \"bytes\": 64, ",
		"{\"by\": \"else\", \"bytes\": 64, ",
	};
	char text[300];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		snprintf(text, sizeof(text),
			 "%s\"workload\": \"stream\", \"transport\": \"pipe\", "
			 "\"figure\": \"msgs_per_s\", \"msgs_per_s\": 1e6}",
			 texts[i]);
		add(text);
	}
	make();
	cr_assert_eq(json_array_size(figures), 2);
	cr_assert_eq(n_points(line(0, 0)), 2);
	cr_assert_eq(n_points(line(1, 0)), 2);
}

/* A queue has fewer slots for longer messages, a rival has its memory, and a
 * pipe has none. */
static void add_slots(const char *sweep, const char *transport, unsigned bytes,
		      unsigned batch, const char *slots)
{
	char text[400];

	snprintf(text, sizeof(text),
		 "{%s\"workload\": \"stream\", \"transport\": \"%s\", \"by\": "
		 "\"copy\", \"bytes\": %u, \"batch\": %u, \"slots\": %s, "
		 "\"figure\": \"msgs_per_s\", \"msgs_per_s\": 1e6}",
		 sweep, transport, bytes, batch, slots);
	add(text);
}

static void all_are_in_one_figure(const char *x)
{
	static const char *const transports[] = { "shmbus-pipe", "shmbus",
						  "spsc", "pipe" };

	make();
	cr_assert_eq(json_array_size(figures), 1, "%s: %zu", x,
		     json_array_size(figures));
	for (size_t i = 0; i < 4; i++) {
		cr_assert_str_eq(row_text(line(0, i), "transport"),
				 transports[i]);
		cr_assert_eq(n_points(line(0, i)), 2, "%s", transports[i]);
	}
}

Test(figures, slots_that_follow_from_the_size_are_no_other_figure)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned bytes = i ? 1024 : 8;
		const char *slots = i ? "512" : "4096";

		add_slots("", "shmbus-pipe", bytes, 1, "null");
		add_slots("", "shmbus", bytes, 1, slots);
		add_slots("", "spsc", bytes, 1, slots);
		add_slots("", "pipe", bytes, 1, "null");
	}
	all_are_in_one_figure("size");
}

Test(figures, pipes_and_queues_are_in_one_figure_over_messages_a_call)
{
	for (unsigned batch = 1; batch <= 32; batch += 31) {
		add_slots("", "shmbus-pipe", 64, batch, "null");
		add_slots("", "shmbus", 64, batch, "1024");
		add_slots("", "spsc", 64, batch, "1024");
		add_slots("", "pipe", 64, batch, "null");
	}
	all_are_in_one_figure("batch");
}

Test(figures, a_sweep_is_one_figure)
{
	for (unsigned i = 0; i < 2; i++) {
		const char *sweep =
			i ? "\"sweep\": \"size\", \"sweep_value\": 1024, "
			  : "\"sweep\": \"size\", \"sweep_value\": 8, ";
		unsigned bytes = i ? 1024 : 8;
		const char *slots = i ? "512" : "4096";

		add_slots(sweep, "shmbus-pipe", bytes, 1, "null");
		add_slots(sweep, "shmbus", bytes, 1, slots);
		add_slots(sweep, "spsc", bytes, 1, slots);
		add_slots(sweep, "pipe", bytes, 1, "null");
	}
	all_are_in_one_figure("sweep of size");
}

/* Then they are what is compared, and not to be thrown together. */
Test(figures, slots_that_were_asked_about_are_other_figures)
{
	for (unsigned bytes = 8; bytes <= 64; bytes += 56) {
		add_slots("\"sweep\": \"slots\", \"sweep_value\": 64, ",
			  "shmbus", bytes, 1, "64");
		add_slots("\"sweep\": \"slots\", \"sweep_value\": 128, ",
			  "shmbus", bytes, 1, "128");
	}
	make();
	cr_assert_eq(json_array_size(figures), 2);
	cr_assert_eq(n_points(line(0, 0)), 2);
	cr_assert_eq(n_points(line(1, 0)), 2);
}

/* One colour a transport, the same in all figures; ours apart from rivals. */
Test(figures, colours_are_of_transports)
{
	static const char *const transports[] = { "shmbus-pipe", "spsc",
						  "shmbus", "pipe" };
	char text[300];

	for (size_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text),
			 "{\"workload\": \"rtt\", \"case\": \"a\", "
			 "\"transport\": \"%s\", \"hist\": [[1, 1]]}",
			 transports[i]);
		add(text);
	}
	add("{\"workload\": \"rtt\", \"case\": \"b\", \"transport\": \"pipe\", "
	    "\"hist\": [[1, 1]]}");
	add("{\"workload\": \"rtt\", \"case\": \"a\", \"transport\": "
	    "\"shmbus\", \"wait\": \"futex\", \"hist\": [[1, 1]]}");
	make();
	cr_assert_eq(json_array_size(figures), 2);
	cr_assert_eq(row_number(line(0, 0), "colour"), 0);
	cr_assert_eq(row_number(line(0, 1), "colour"), 0);
	cr_assert_eq(row_number(line(0, 2), "colour"), 1);
	cr_assert_eq(row_number(line(0, 3), "colour"), 1);
	cr_assert_eq(row_number(line(1, 0), "colour"), 1);
	cr_assert_eq(row_number(line(0, 2), "dash"), 0);
	cr_assert_eq(row_number(line(0, 4), "dash"), 1);
}
