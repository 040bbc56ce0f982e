/* SPDX-License-Identifier: MIT */
/* What a stream holds follows what it is for. */
#include <criterion/criterion.h>

#include "filter/coder.h"

#define GZIP 2

static size_t bytes_for(size_t len)
{
	size_t before = coder_bytes();
	struct coder *coder = coder_kinds[GZIP].open(len);
	cr_assert(coder != NULL);
	size_t held = coder_bytes() - before;
	coder_kinds[GZIP].close(coder);
	cr_assert(coder_bytes() == before);
	return held;
}

Test(coders, a_short_body_takes_a_small_window)
{
	if (!coder_kinds[GZIP].open)
		cr_skip("built without zlib");
	size_t any = bytes_for(CODER_ANY);
	cr_assert(bytes_for(65536) == any && bytes_for(16384) == any);
	cr_assert(bytes_for(0) < 16384 && bytes_for(2048) < 48 * 1024, "%zu", bytes_for(2048));
	for (size_t len = 1, before = 0; len < 65536; len = len * 3 / 2 + 1) {
		size_t held = bytes_for(len);
		cr_assert(held >= before && held <= any, "%zu bytes for %zu", held, len);
		before = held;
	}
}
