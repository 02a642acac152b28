/*
 * test_grid.c - tools/adm/grid.c: columns are as wide as what is in them
 */
#include "config.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>

#include "tools/adm/grid.h"

TestSuite(grid, .init = cr_redirect_stdout, .timeout = 10.0);

Test(grid, aligns_left_and_right)
{
	struct grid g;

	grid_init(&g, "NAME|>N|<LAST");
	grid_cell(&g, "a");
	grid_cell(&g, "%d", 1);
	grid_cell(&g, "x");
	grid_cell(&g, "longer");
	grid_cell(&g, "%d", 1000);
	grid_cell(&g, "yy");
	cr_assert_eq(grid_rows(&g), 2);
	grid_print(&g, 0);
	grid_free(&g);
	fflush(stdout);
	cr_assert_stdout_eq_str("NAME       N  LAST\n"
				"a          1  x\n"
				"longer  1000  yy\n");
}

/* Nor colours where there is no terminal. */
Test(grid, leaves_no_blanks_at_the_end_of_a_line)
{
	struct grid g;

	grid_init(&g, "A|B|C");
	grid_cell(&g, "1");
	grid_mark(&g, GRID_BAD);
	grid_cell(&g, "%s", "");
	grid_cell(&g, "%s", "");
	grid_cell(&g, "%s", "");
	grid_cell(&g, "%s", "");
	grid_cell(&g, "2");
	grid_print(&g, 2);
	grid_free(&g);
	fflush(stdout);
	cr_assert_stdout_eq_str("  A  B  C\n"
				"  1\n"
				"        2\n");
}

Test(grid, without_rows_there_are_only_heads)
{
	struct grid g;

	grid_init(&g, "ONE");
	cr_assert_eq(grid_rows(&g), 0);
	grid_print(&g, 0);
	grid_free(&g);
	fflush(stdout);
	cr_assert_stdout_eq_str("ONE\n");
}
