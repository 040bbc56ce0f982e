/* SPDX-License-Identifier: MIT */
/*
 * How often what only computes is done again, with other seeds or sizes.  Chance takes many rounds
 * to be told from a fault, an error of memory shows in the first ones: a build that checks itself,
 * where a round takes some five times as long, does few.  Both numbers are fixed, and so are the
 * seeds.
 */
#ifndef TESTS_ROUNDS_H
#define TESTS_ROUNDS_H

#ifdef WEIR_CHECK_SLOW
#define ROUNDS(all, few) (1 ? (few) : (all)) /* that both are read */
#else
#define ROUNDS(all, few) (all)
#endif

#endif
