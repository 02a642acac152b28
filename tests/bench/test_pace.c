/*
 * test_pace.c - bench/pace.c: what an open loop counts, at made-up times
 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "bench/hist.h"
#include "bench/pace.h"
#include "bench/tick.h"

#define MS 1000000ull

Test(pace, messages_are_due_at_even_times)
{
	struct pace pace = pace_of(5000, 1e6);

	cr_assert_eq(pace_due(&pace, 0), 5000);
	cr_assert_eq(pace_due(&pace, 1), 6000);
	cr_assert_eq(pace_due(&pace, 1000000), 5000 + NS_PER_S);
}

/* An hour at a rate whose interval is no whole number of nanoseconds. */
Test(pace, does_not_drift)
{
	struct pace pace = pace_of(0, 7e6);
	uint64_t due = pace_due(&pace, 7000000ull * 3600);

	cr_assert_geq(due, 3600 * NS_PER_S - 1000);
	cr_assert_leq(due, 3600 * NS_PER_S + 1000);
}

Test(pace, latency_is_from_the_intended_time)
{
	struct pace pace = pace_of(1000, 1e6);

	cr_assert_eq(pace_latency(&pace, 3, 4000), 0);
	cr_assert_eq(pace_latency(&pace, 3, 4700), 700);
	cr_assert_eq(pace_latency(&pace, 3, 3900), 0, "clocks of two cores");
}

/*
 * 1000 messages a second, each there 10 us after it was sent; but for 100 ms
 * from second 0.5 on the sender stands still, and then sends in no time what is
 * due.  Who measures from the sending finds 10 us throughout.  In truth a
 * tenth of the messages waited, 50 ms in the middle.
 */
Test(pace, a_stall_is_in_the_latency_of_all_that_it_delayed)
{
	struct pace pace = pace_of(0, 1000);
	struct hist *hist = calloc(1, sizeof(*hist));

	cr_assert(hist);
	hist_init(hist);
	for (uint64_t seq = 0; seq < 1000; seq++) {
		uint64_t sent = pace_due(&pace, seq);

		if (sent >= 500 * MS && sent < 600 * MS)
			sent = 600 * MS;
		hist_add(hist, pace_latency(&pace, seq, sent + 10000));
	}
	cr_assert_eq(hist_quantile(hist, 0.5), 10007, "%lu",
		     (unsigned long)hist_quantile(hist, 0.5));
	cr_assert_float_eq((double)hist_quantile(hist, 0.95), 50e6, 2e6);
	cr_assert_float_eq((double)hist_quantile(hist, 1.0), 100e6, 1e6);
	free(hist);
}

Test(pace, waits_until_it_is_due_and_not_for_what_is_late)
{
	struct pace pace = pace_of(now_ns(), 500);
	_Atomic uint32_t stop = 0;

	cr_assert(pace_wait(&pace, 2, &stop));
	cr_assert_geq(now_ns(), pace_due(&pace, 2));
	stop = 1;
	cr_assert(pace_wait(&pace, 1, &stop), "it is late: send it");
}

Test(pace, stops_waiting)
{
	struct pace pace = pace_of(now_ns(), 0.001);
	_Atomic uint32_t stop = 1;

	cr_assert_not(pace_wait(&pace, 1, &stop));
}

Test(pace, a_rate_is_missed_by_more_than_a_hundredth)
{
	cr_assert_not(pace_missed(1000, 1000));
	cr_assert_not(pace_missed(1000, 995));
	cr_assert(pace_missed(1000, 980));
}
