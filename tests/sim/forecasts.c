/* SPDX-License-Identifier: MIT */
/* weir-sim --forecasts: how often intervals held, by kind of load and of event. */
#include <stdio.h>
#include <string.h>

#include "calibration.h"
#include "worlds.h"

#define HELD_MIN 0.7
#define HELD_MAX 0.93

static void print_row(const char *family, enum calibration_event event, const struct calibration *c)
{
	printf("%-14s %-6s %8u %7.0f%% %7u/%-3u %6.0f%% %8.1f %8.2f\n", family,
	       calibration_event_name(event), c->n, 100.0 * c->refused / c->n, c->full_right,
	       c->full, c->stood ? 100.0 * c->held / c->stood : 0, c->width, c->off);
	fflush(stdout);
}

int world_forecasts(const char *only, struct seeds seeds)
{
	unsigned stood = 0, held = 0;
	printf("%-14s %-6s %8s %8s %11s %7s %8s %8s\n", "family", "event", "outcomes", "refused",
	       "too much", "held", "high/low", "came/mid");
	for (size_t i = 0; i < n_calibration_families; i++) {
		const struct calibration_family *f = &calibration_families[i];
		if (only && strcmp(only, f->name) != 0)
			continue;
		for (int event = 0; event < N_EVENTS; event++) {
			if (f->plan.clients && event != CALIBRATION_MORE)
				continue; /* they ask no more than is answered */
			struct calibration c = calibrate(f, (enum calibration_event)event, seeds);
			print_row(f->name, (enum calibration_event)event, &c);
			stood += c.stood;
			held += c.held;
		}
	}
	double share = stood ? (double)held / stood : 0;
	printf("%u of %u intervals held: %.0f %%\n", held, stood, 100 * share);
	return share < HELD_MIN || share > HELD_MAX;
}
