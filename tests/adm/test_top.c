/*
 * test_top.c - tests of tools/adm/top.c and watch.c; Criterion suite "top"
 */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>

#include "tests/adm/t_adm.h"
#include "tools/adm/top.h"

static struct watch watch;
static struct top_want want;
static struct top_screen screen;

static void setup(void)
{
	adm_setup();
	top_want_init(&want);
	cr_assert_eq(watch_open(&watch, adm_name()), 0);
}

static void teardown(void)
{
	watch_close(&watch);
	adm_teardown();
}

TestSuite(top, .init = setup, .fini = teardown, .timeout = 200.0);

static void paint(int width, int height)
{
	top_paint(&screen, width, height, &watch, &want, "12:34:56");
	cr_assert_leq(screen.n, height);
	for (int y = 0; y < screen.n; y++)
		cr_assert_leq(strlen(screen.line[y].text), (size_t)width);
}

/* The line that has @text in it, or -1. */
static int line_of(const char *text)
{
	for (int y = 0; y < screen.n; y++)
		if (strstr(screen.line[y].text, text))
			return y;
	return -1;
}

/* ------------------------------------------------------------------- tables */

static void row(struct top_table *t, const char *name, double key)
{
	struct top_row *r = &t->row[t->n++];

	snprintf(r->cell[0].text, TOP_CELL_BYTES, "%s", name);
	r->cell[0].key = (double)NAN;
	snprintf(r->cell[1].text, TOP_CELL_BYTES, "%g", key);
	r->cell[1].key = key;
}

static const char *order(const struct top_table *t)
{
	static char names[64];

	names[0] = '\0';
	for (size_t i = 0; i < t->n; i++)
		strcat(names, t->row[i].cell[0].text);
	return names;
}

Test(top, sorts_numbers_largest_first_and_texts_by_the_alphabet)
{
	struct top_table t = { .n_columns = 2 };

	t.row = calloc(8, sizeof(*t.row));
	row(&t, "c", 5);
	row(&t, "a", 7);
	row(&t, "d", 5);
	row(&t, "b", -1); /* unknown */
	top_sort(&t, 1, false);
	cr_assert_str_eq(order(&t), "acdb");
	top_sort(&t, 0, false);
	cr_assert_str_eq(order(&t), "abcd");
	top_sort(&t, 0, true);
	cr_assert_str_eq(order(&t), "dcba");
	/* Those alike stay in the order in which they were. */
	top_sort(&t, 1, false);
	cr_assert_str_eq(order(&t), "adcb");
	top_sort(&t, 99, false);
	cr_assert_str_eq(order(&t), "adcb");
	top_free(&t);
}

Test(top, columns_are_as_wide_as_what_is_in_them)
{
	struct top_table t;
	char heads[64], line[64];

	t_queue(bus, "q", 4, 24, 0);
	watch_look(&watch);
	cr_assert_eq(top_fill(&t, TOP_CHANNELS, &watch), 0);
	cr_assert_eq(t.n, 1);
	top_line(&t, -1, heads, 60);
	top_line(&t, 0, line, 60);
	cr_assert_eq(strncmp(heads, "CHANNEL  KIND   PUT/S", 21), 0, "%s",
		     heads);
	cr_assert_eq(strncmp(line, "q        queue      -", 21), 0, "%s", line);
	top_line(&t, 0, line, 3);
	cr_assert_str_eq(line, "q");
	top_free(&t);
}

/* ------------------------------------------------------------------- screen */

Test(top, shows_channels_endpoints_and_rates)
{
	struct bus_queue *q = t_queue(bus, "orders", 64, 24, 0);

	watch_look(&watch);
	for (uint64_t i = 0; i < 10; i++)
		t_put_u64(q, i, 0);
	watch_look(&watch);
	watch.bus[0]->now.taken_ns = watch.bus[0]->was.taken_ns + SB_NS_PER_S;
	paint(120, 40);
	cr_assert_not_null(strstr(screen.line[0].text, "12:34:56"));
	cr_assert_not_null(strstr(screen.line[1].text, "put 10/s"));
	cr_assert_not_null(strstr(screen.line[1].text, "waiting 10"));
	cr_assert_geq(line_of("orders   queue"), 0);
	cr_assert_geq(line_of("ENDPOINT"), 0);
	cr_assert_eq(screen.n, 40);
}

Test(top, fits_into_any_terminal)
{
	t_queue(bus, "orders", 64, 24, 0);
	watch_look(&watch);
	watch_look(&watch);
	for (int width = 0; width < 140; width += 7)
		for (int height = 0; height < 50; height += 3)
			top_paint(&screen, width, height, &watch, &want, "");
	paint(1, 1);
	paint(80, 6);
	cr_assert_geq(line_of("orders"), 0);
	paint(TOP_WIDTH_MAX, TOP_HEIGHT_MAX);
	top_paint(&screen, 10000, 10000, &watch, &want, "");
	cr_assert_eq(screen.width, TOP_WIDTH_MAX);
	cr_assert_eq(screen.height, TOP_HEIGHT_MAX);
}

Test(top, keys_change_what_is_shown)
{
	for (int i = 0; i < 30; i++) {
		char name[8];

		snprintf(name, sizeof(name), "q%02d", i);
		t_queue(bus, name, 4, 24, 0);
	}
	watch_look(&watch);
	paint(120, 20);
	cr_assert_geq(line_of("q00"), 0);
	cr_assert_lt(line_of("q29"), 0);
	for (int i = 0; i < 100; i++)
		top_press(&want, TOP_DOWN, screen.page);
	paint(120, 20);
	cr_assert_lt(line_of("q00"), 0);
	cr_assert_geq(line_of("q29"), 0);
	/* It did not run away: back is as far as it went. */
	top_press(&want, TOP_UP, screen.page);
	paint(120, 20);
	cr_assert_lt(line_of("q29"), 0);
	top_press(&want, TOP_HOME, screen.page);
	top_press(&want, TOP_REVERSE, screen.page);
	paint(120, 20);
	cr_assert_geq(line_of("q29"), 0);
	top_press(&want, TOP_HELP, screen.page);
	paint(120, 20);
	cr_assert_geq(line_of("this help"), 0);
	top_press(&want, TOP_QUIT, screen.page); /* the help */
	cr_assert_not(want.quit);
	top_press(&want, TOP_PAUSE, screen.page);
	paint(120, 20);
	cr_assert_not_null(strstr(screen.line[0].text, "[paused]"));
	top_press(&want, TOP_QUIT, screen.page);
	cr_assert(want.quit);
}

Test(top, the_sorted_column_is_marked_and_stays_within)
{
	t_queue(bus, "q", 4, 24, 0);
	watch_look(&watch);
	for (int i = 0; i < 100; i++)
		top_press(&want, TOP_RIGHT, 1);
	paint(120, 40);
	cr_assert_lt(want.column[TOP_CHANNELS], TOP_COLUMNS_MAX);
	for (int i = 0; i < 100; i++)
		top_press(&want, TOP_LEFT, 1);
	top_press(&want, TOP_RIGHT, 1);
	paint(120, 40);
	for (int y = 0; y < screen.n; y++)
		if (screen.line[y].look == TOP_HEADS)
			cr_assert_eq(strncmp(screen.line[y].text +
						     screen.line[y].mark,
					     "KIND", 4),
				     0);
}

Test(top, names_have_nothing_that_a_terminal_obeys)
{
	t_queue(bus, "\033[2J\a", 4, 24, 0);
	watch_look(&watch);
	paint(120, 40);
	for (int y = 0; y < screen.n; y++)
		for (const char *s = screen.line[y].text; *s; s++)
			cr_assert(*s >= ' ' && *s < 0x7f);
	cr_assert_geq(line_of("\\x1b[2J"), 0);
}

/* -------------------------------------------------------------- over time */

Test(top, a_bus_that_vanishes_keeps_its_last_figures)
{
	t_put_u64(t_queue(bus, "orders", 64, 24, 0), 1, 0);
	watch_look(&watch);
	bus_close(bus);
	bus = NULL;
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->state, WATCH_GONE);
	paint(120, 40);
	cr_assert_not_null(strstr(screen.line[1].text, "gone"));
	cr_assert_not_null(strstr(screen.line[1].text, "put 1"));
	cr_assert_geq(line_of("orders"), 0);
}

Test(top, a_bus_that_is_created_anew_is_the_one_that_is_shown)
{
	struct bus_config c = t_config();

	t_queue(bus, "old", 64, 24, 0);
	watch_look(&watch);
	watch_look(&watch);
	bus_close(bus);
	bus = t_bus_with(adm_name(), &c);
	t_queue(bus, "new", 64, 24, 0);
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->state, WATCH_OPEN);
	paint(120, 40);
	cr_assert_not_null(strstr(screen.line[1].text, "created anew"));
	cr_assert_geq(line_of("new "), 0);
	cr_assert_lt(line_of("old "), 0);
	/* Its counts are not compared with those of the old one. */
	cr_assert_not(watch.bus[0]->has_was);
}

Test(top, one_that_is_not_there_may_come)
{
	bus_close(bus);
	bus = NULL;
	watch_look(&watch);
	paint(120, 40);
	cr_assert_not_null(strstr(screen.line[1].text, "there is no bus"));
	adm_setup();
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->state, WATCH_OPEN);
}

Test(top, a_dead_creator_is_noticed)
{
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->v.creator, VIEW_CREATOR_LIVES);
	/* A file that nobody has locked is a dead creator's. */
	close(bus->map->seg.lock_fd);
	bus->map->seg.lock_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->v.creator, VIEW_CREATOR_DEAD);
	paint(120, 40);
	cr_assert_not_null(strstr(screen.line[1].text, "orphan"));
}

Test(top, findings_come_when_they_have_lasted)
{
	struct bus_queue *q = t_queue(bus, "full", 4, 24, 0);

	for (uint64_t i = 0; i < 4; i++)
		t_put_u64(q, i, 0);
	watch_look(&watch);
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->found.n, 0);
	/* Let two seconds go by. */
	watch.bus[0]->base.taken_ns -= 3 * SB_NS_PER_S;
	watch_look(&watch);
	cr_assert_eq(watch.bus[0]->found.n, 1);
	paint(120, 40);
	cr_assert_geq(line_of("warning: queue 'full'"), 0);
	/* Whom it is about is the last to be cut off. */
	watch.bus[0]->found.at[0].pid = 4711;
	paint(40, 24);
	cr_assert_geq(line_of("warning: pid 4711: queue 'full'"), 0);
}

Test(top, all_buses_are_watched_and_named)
{
	struct watch w;

	t_queue(bus, "orders", 4, 24, 0);
	cr_assert_eq(watch_open(&w, NULL), 0);
	watch_look(&w);
	cr_assert_geq(w.n, 1);
	top_paint(&screen, 400, 200, &w, &want, "");
	cr_assert_geq(line_of("BUS"), 0);
	cr_assert_geq(line_of(adm_name()), 0);
	watch_close(&w);
}
