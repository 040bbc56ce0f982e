/* SPDX-License-Identifier: MIT */
/*
 * The rows of strategies.def as symbols, private to this folder.  A strategy
 * starts its struct with STRATEGY_ROW(symbol), so that keyword, sentence and
 * needs are written once, in the row:
 *
 *   const struct strategy strategy_p2c = {STRATEGY_ROW(p2c), .build = ..., .pick = ...};
 */
#ifndef WEIR_BALANCE_STRATEGIES_H
#define WEIR_BALANCE_STRATEGIES_H

#include "weir/balance/strategy.h"

#define STRATEGY(symbol, keyword, needs, sentence)      \
	extern const struct strategy strategy_##symbol; \
	extern const char strategy_keyword_##symbol[];  \
	extern const char strategy_sentence_##symbol[]; \
	enum { STRATEGY_NEEDS_##symbol = (needs) };
#include "weir/tbl/strategies.def"
#undef STRATEGY

#define STRATEGY_ROW(symbol)                                                          \
	.keyword = strategy_keyword_##symbol, .sentence = strategy_sentence_##symbol, \
	.needs = STRATEGY_NEEDS_##symbol

#endif
