/* SPDX-License-Identifier: MIT */
/*
 * What files say above their PEM, a line each:
 *
 *   of a certificate    which authority it is from
 *   of the next key     the same; which order it is for, so that one that was under way when the
 *                       process ended is gone on with; how often orders have failed and when the
 *                       next one may be, so that restarts do not ask more often than one process
 *
 * Pure.
 */
#ifndef WEIR_ACME_NOTES_H
#define WEIR_ACME_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"

struct notes {
	struct view directory;
	struct view order; /* URL; empty: none is under way */
	unsigned failures; /* in a row */
	uint64_t again_s;  /* since 1970; 0: at once */
	struct view key;   /* PEM; empty: none */
};

void notes_put(const struct notes *notes, struct str *out);
/* Views into the text.  False: it is not about `directory`. */
bool notes_read(struct view text, struct view directory, struct notes *notes);

/* The first line of both. */
void notes_put_origin(struct view directory, struct str *out);
bool notes_is_from(struct view text, struct view directory);

#endif
