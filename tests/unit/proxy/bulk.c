/* SPDX-License-Identifier: MIT */
/* What has to wait for small things of a turn (src/proxy/bulk.h). */
#include "../../../src/proxy/bulk.h"

#include <criterion/criterion.h>

Test(bulk, is_what_is_left_of_a_length)
{
	struct h1_body body = {.state = H1_BODY_LENGTH, .left = BULK_BYTES, .total = 1};
	cr_expect(bulk_is(&body, 0));
	body.left--;
	cr_expect_not(bulk_is(&body, 1 << 30), "its rest is small");
}

Test(bulk, is_what_a_turn_moves_of_what_has_no_length)
{
	static const enum h1_body_state states[] = {H1_BODY_DONE, H1_BODY_CLOSE, H1_BODY_CHUNK_SIZE,
						    H1_BODY_CHUNK_DATA};
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		struct h1_body body = {.state = states[i], .left = BULK_BYTES, .total = 1 << 30};
		cr_expect_not(bulk_is(&body, 4096), "a message after many");
		cr_expect(bulk_is(&body, BULK_TURN));
	}
}
