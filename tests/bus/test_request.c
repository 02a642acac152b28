/*
 * test_request.c - tests of bus/request.c; Criterion suite "request"
 */
#include "config.h"

#include <criterion/criterion.h>

#include "bus/request.h"
#include "tests/bus/t_bus.h"

TestSuite(request, .timeout = 200.0);

/* Whatever is asked for: the parts fit the slot and do not overlap. */
Test(request, every_plan_fits_its_slot)
{
	static const uint64_t results[] = { 0,   1,   7,     8,      9,
					    16,  56,  500,   511,    512,
					    513, 600, 65536, 1 << 30 };

	for (uint32_t req = 0; req <= 2040; req++) {
		for (size_t i = 0; i < lengthof(results); i++) {
			struct bus_channel_spec spec = { 0 };
			struct bus_request_layout l;
			unsigned char slot[4096];

			bus_request_plan(req, results[i], &spec, &l);
			cr_assert_geq(l.request_bytes, req);
			cr_assert_geq(l.request_bytes, 8);
			cr_assert_geq(l.inline_bytes, 8);
			cr_assert_geq(l.result_bytes, results[i]);
			cr_assert_geq(l.result_bytes, l.inline_bytes);
			cr_assert_lt(l.inline_bytes, BUS_LEN_ERROR);
			cr_assert_eq(l.head_bytes, results[i] > 512 ? 8 : 0);
			cr_assert_eq(spec.stride,
				     sb_ring_stride(spec.stride - 8));
			cr_assert_leq(spec.stride, 4096);
			cr_assert_eq(bus_request_area(&l, slot),
				     slot + l.head_bytes);
			cr_assert_eq(bus_result_area(&l, slot),
				     slot + l.head_bytes + l.request_bytes);
			cr_assert_eq(l.head_bytes + l.request_bytes +
					     l.inline_bytes,
				     spec.stride - 8);
			cr_assert_eq(spec.request_bytes, l.request_bytes);
			cr_assert_eq(spec.head_bytes, l.head_bytes);
			cr_assert_eq(spec.result_bytes, l.result_bytes);
		}
	}
}

Test(request, freeing_cells_takes_what_is_not_one)
{
	struct bus *bus = t_bus();
	struct bus_request_chan c = { .bus = bus, .idx = 5 };
	uint32_t cell[2] = { SB_BLOB_NONE, SB_BLOB_NONE };

	bus_request_free_cells(&c, 0, cell);
	cell[0] = UINT32_MAX - 1;
	bus_request_free_cells(&c, 0, cell);
	cr_assert_eq(sb_blob_claim(&bus->blob, 10, &cell[1]), 0);
	sb_blob_hand(&bus->blob, cell[1], 5, 1 << 16);
	bus_request_free_cells(&c, 2 << 16, cell); /* of another position */
	cr_assert_neq(t_stats(bus).blob_bytes_used, 0);
	bus_request_free_cells(&c, 1 << 16, cell);
	bus_request_free_cells(&c, 1 << 16, cell);
	cr_assert_eq(t_stats(bus).blob_bytes_used, 0);
	bus_close(bus);
}
