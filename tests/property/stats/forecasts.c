/* SPDX-License-Identifier: MIT */
/* A short one of the table of weir-sim --forecasts: intervals hold, and are no wider than useful.
 */
#include <criterion/criterion.h>

#include "../../sim/calibration.h"

/* A world of this length takes seconds; weir-sim has more of them. */
#define SEEDS 1

Test(calibration, intervals_hold)
{
	unsigned n = 0, refused = 0, stood = 0, held = 0, wide = 0;
	for (size_t i = 0; i < n_calibration_families; i++) {
		const struct calibration_family *f = &calibration_families[i];
		enum calibration_event event =
		    f->plan.clients ? CALIBRATION_MORE : (enum calibration_event)(i % N_EVENTS);
		struct calibration c = calibrate(f, event, (struct seeds){1, SEEDS});
		cr_log_info("%s, %s: %u of %u held, %u refused, width %.1f, off %.2f", f->name,
			    calibration_event_name(event), c.held, c.stood, c.refused, c.width,
			    c.off);
		wide += c.width > 2.5;
		cr_expect_eq(c.full, c.full_right, "%s", f->name);
		n += c.n;
		refused += c.refused;
		stood += c.stood;
		held += c.held;
	}
	/* eight of ten: that fewer than half hold is no chance */
	cr_assert(stood >= 5 && held * 2 >= stood, "%u of %u", held, stood);
	cr_assert(wide * 4 <= stood, "%u of %u are wide", wide, stood);
	cr_assert(refused * 2 <= n, "%u of %u refused", refused, n);
}
