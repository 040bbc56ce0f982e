/* SPDX-License-Identifier: MIT */
/* Load reports: whatever is accepted is small and finite. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/balance/orca.h"
#include "weir/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct orca orca;
	if (!orca_parse(view_of((const char *)data, size), &orca))
		return 0;
	check(size > 0 && orca.n <= ORCA_MAX / 3);
	check(isfinite(orca.rif) && (orca.rif == -1 || (orca.rif >= 0 && orca.rif <= 1e15)));
	check(orca.rif == -1 || orca.n > 0);
	return 0;
}
