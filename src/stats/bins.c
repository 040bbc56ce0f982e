/* SPDX-License-Identifier: MIT */
/* What is known of a backend by level: a few of them at a time, as they are met. */
#include <stdlib.h>

#include "scaling.h"

struct scaling_bin *scaling_part_bin_make(struct scaling_part *part, uint32_t level)
{
	struct scaling_bins **bins = &part->bins[level / LEVEL_BLOCK];
	if (!*bins)
		*bins = calloc(1, sizeof(**bins));
	return scaling_part_bin(part, level);
}
