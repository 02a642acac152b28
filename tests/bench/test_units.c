/*
 * test_units.c - tools/units.c: numbers are short, and none is rounded to
 * nothing
 */
#include "config.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tools/units.h"

TestSuite(units, .timeout = 200.0);

static void times_are(double ratio, const char *want)
{
	char text[24];

	units_times(text, sizeof(text), ratio);
	cr_assert_str_eq(text, want, "%g: '%s' instead of '%s'", ratio, text,
			 want);
}

Test(units, times_have_three_digits)
{
	times_are(NAN, "-");
	times_are(INFINITY, "-");
	times_are(1234.4, "1234x");
	times_are(99.96, "100x");
	times_are(12.34, "12.3x");
	times_are(9.996, "10.0x");
	times_are(1.005001, "1.01x");
	times_are(0.994, "0.99x");
	times_are(0.1, "0.10x");
}

Test(units, times_are_never_nothing)
{
	times_are(0, "0.00x");
	times_are(0.01, "0.01x");
	times_are(0.0099, "0.010x");
	times_are(0.0049, "0.005x");
	times_are(0.0031, "0.003x");
	times_are(0.00031, "0.0003x");
	times_are(0.000031, "0.00003x");
}
