/* SPDX-License-Identifier: MIT */
/*
 * The registry: every row of strategies.def, found by keyword or synonym.
 */
#include "strategies.h"

#include "weir/base/defs.h"

#define STRATEGY(symbol, keyword, needs, sentence)        \
	const char strategy_keyword_##symbol[] = keyword; \
	const char strategy_sentence_##symbol[] = sentence;
#include "weir/tbl/strategies.def"
#undef STRATEGY

const struct strategy *const strategies[] = {
#define STRATEGY(symbol, keyword, needs, sentence) &strategy_##symbol,
#include "weir/tbl/strategies.def"
#undef STRATEGY
    NULL,
};

static const struct synonym {
	struct view accepted;
	struct view keyword;
} synonyms[] = {
#define SYNONYM(accepted, keyword) \
	{{accepted, sizeof(accepted) - 1}, {keyword, sizeof(keyword) - 1}},
#include "weir/tbl/strategy_synonyms.def"
#undef SYNONYM
};

const struct strategy *strategy_find(struct view keyword)
{
	for (size_t i = 0; i < ARRAY_LEN(synonyms); i++)
		if (view_eq(keyword, synonyms[i].accepted))
			keyword = synonyms[i].keyword;
	for (size_t i = 0; strategies[i]; i++)
		if (view_eq(keyword, view_str(strategies[i]->keyword)))
			return strategies[i];
	return NULL;
}
