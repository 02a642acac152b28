/*
 * units.c - numbers for people
 */
#include "config.h"

#include <math.h>
#include <stdio.h>

#include "tools/units.h"

/* Three digits, whatever the size. */
static int digits_behind(double value)
{
	return value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
}

void units_count(char *buf, size_t size, double value)
{
	static const char *const units[] = { "", " k", " M", " G" };
	unsigned unit = 0;

	if (!isfinite(value)) {
		snprintf(buf, size, "-");
		return;
	}
	while (value >= 999.5 && unit < 3) {
		value /= 1000;
		unit++;
	}
	if (!unit && value == floor(value))
		snprintf(buf, size, "%.0f", value);
	else
		snprintf(buf, size, "%.*f%s", digits_behind(value), value,
			 units[unit]);
}

void units_span(char *buf, size_t size, double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned unit = 0;

	if (!isfinite(ns)) {
		snprintf(buf, size, "-");
		return;
	}
	while (ns >= 9999.5 && unit < 3) {
		ns /= 1000;
		unit++;
	}
	snprintf(buf, size, "%.*f %s", unit && ns < 99.95 ? 1 : 0, ns,
		 units[unit]);
}

/* As many, but that of a small one something is left: 0.003, not 0.00. */
static int digits_of_times(double ratio)
{
	int digits = digits_behind(ratio);

	for (double least = 0.00995; ratio > 0 && ratio < least && digits < 9;
	     least /= 10)
		digits++;
	return digits;
}

void units_times(char *buf, size_t size, double ratio)
{
	if (!isfinite(ratio))
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%.*fx", digits_of_times(ratio), ratio);
}

void units_bytes(char *buf, size_t size, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
	unsigned unit = 0;

	if (!isfinite(bytes)) {
		snprintf(buf, size, "-");
		return;
	}
	while (bytes >= 1024 && unit < 3) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, size, "%.*f %s", bytes == floor(bytes) ? 0 : 1, bytes,
		 units[unit]);
}
