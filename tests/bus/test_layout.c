/*
 * test_layout.c - tests of bus/layout.c; Criterion suite "layout"
 */
#include "config.h"

#include <criterion/criterion.h>

#include "bus/layout.h"
#include "tests/bus/t_bus.h"

TestSuite(layout, .timeout = 200.0);

static struct bus_sizes sizes(void)
{
	return (struct bus_sizes){ .max_message_bytes = 65536,
				   .chan_bytes = 1 << 20,
				   .blob_bytes = 1 << 20,
				   .max_ep = 130 };
}

Test(layout, parts_follow_each_other_and_do_not_overlap)
{
	for (uint32_t ep = 3; ep <= SB_EP_MAX + 1; ep++) {
		struct bus_sizes s = sizes();
		struct bus_offsets o;

		s.max_ep = ep;
		s.chan_bytes = ep * 997; /* of no particular alignment */
		cr_assert_eq(bus_layout(&s, &o), 0);
		cr_assert_geq(o.ep, sizeof(struct bus_header));
		cr_assert_geq(o.dir, o.ep + ep * sizeof(struct bus_ep));
		cr_assert_geq(o.chan,
			      o.dir + BUS_CHANNELS_MAX *
					      sizeof(struct bus_dirent));
		cr_assert_geq(o.blob, o.chan + s.chan_bytes);
		cr_assert_geq(o.bytes, o.blob + o.plan.bytes);
		cr_assert_eq(o.ep % SB_FAR, 0);
		cr_assert_eq(o.dir % SB_FAR, 0);
		cr_assert_eq(o.chan % 4096, 0);
		cr_assert_eq(o.blob % 4096, 0);
	}
}

Test(layout, sizes_out_of_range_are_refused)
{
	struct bus_offsets o;
	struct bus_sizes s;

	cr_assert_eq((s = sizes(), s.max_ep = 2, bus_layout(&s, &o)), -EINVAL);
	cr_assert_eq(
		(s = sizes(), s.max_ep = SB_EP_MAX + 2, bus_layout(&s, &o)),
		-EINVAL);
	cr_assert_eq((s = sizes(), s.max_ep = UINT32_MAX, bus_layout(&s, &o)),
		     -EINVAL);
	cr_assert_eq(
		(s = sizes(), s.chan_bytes = UINT64_MAX, bus_layout(&s, &o)),
		-EINVAL);
	cr_assert_eq(
		(s = sizes(), s.blob_bytes = UINT64_MAX, bus_layout(&s, &o)),
		-EINVAL);
	cr_assert_eq((s = sizes(), s.blob_bytes = 0, bus_layout(&s, &o)),
		     -EINVAL);
	cr_assert_eq((s = sizes(), s.max_message_bytes = 0, bus_layout(&s, &o)),
		     -EINVAL);
	cr_assert_eq((s = sizes(), s.max_message_bytes = UINT64_MAX,
		      bus_layout(&s, &o)),
		     -EINVAL);
}

Test(layout, no_channel_bytes_is_a_layout)
{
	struct bus_offsets o;
	struct bus_sizes s = sizes();

	s.chan_bytes = 0;
	cr_assert_eq(bus_layout(&s, &o), 0);
	cr_assert_eq(o.chan, o.blob);
}

Test(layout, fingerprint_is_a_constant_of_the_build)
{
	cr_assert_neq(bus_layout_fingerprint(), 0);
	cr_assert_eq(bus_layout_fingerprint(), bus_layout_fingerprint());
}
