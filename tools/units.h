/*
 * units.h - numbers for people: 4.25 M, 980 k; 95 ns, 4.2 us; 1.35x
 *
 * What cannot be said (NAN) is "-".
 */
#ifndef UNITS_H
#define UNITS_H

#include <stddef.h>

void units_count(char *buf, size_t size, double value);
void units_span(char *buf, size_t size, double ns);
void units_times(char *buf, size_t size, double ratio);
void units_bytes(char *buf, size_t size, double bytes);

#endif
