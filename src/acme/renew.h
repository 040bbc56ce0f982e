/* SPDX-License-Identifier: MIT */
/*
 * When to order again.  Pure.
 *
 * Two thirds into its life a certificate is renewed, whether it lives 90 days, 47 or 6: a third of
 * it is left for whatever goes wrong.  A little earlier, by up to a thirtieth of the life, chosen
 * by the certificate itself: many that were made together are not renewed together, and asking
 * again gives the same.
 */
#ifndef WEIR_ACME_RENEW_H
#define WEIR_ACME_RENEW_H

#include <stdint.h>

/* Seconds since 1970. */
int64_t renew_at(int64_t not_before_s, int64_t not_after_s, uint64_t hash);

/* At any time in the authority's window, chosen by the certificate as well, but not in the last
 * tenth of its life. */
int64_t renew_in_window(int64_t start_s, int64_t end_s, int64_t not_before_s, int64_t not_after_s,
			uint64_t hash);

/*
 * After the nth failure in a row, from 1: `first_us` doubled each time, up to six hours or a
 * twelfth of what is left to live, whichever is less; a tenth more or less by `random`; and never
 * less than the authority asks for.
 */
uint64_t renew_retry_us(unsigned n, uint64_t first_us, uint64_t life_left_us,
			uint64_t retry_after_us, uint32_t random);

#endif
