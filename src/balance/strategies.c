/* SPDX-License-Identifier: MIT */
/*
 * The registry: every row of strategies.def, found by keyword or synonym.
 */
#include "strategies.h"

#include "weir/base/defs.h"
#include "weir/base/hash.h"

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

void strategy_forget(struct strategy_memory *memory)
{
	_Atomic uint64_t *const longs[] = {&memory->explored_us, &memory->peak, &memory->averse_us};
	_Atomic uint32_t *const shorts[] = {&memory->level, &memory->errors};
	for (size_t i = 0; i < ARRAY_LEN(longs); i++)
		atomic_store_explicit(longs[i], 0, memory_order_relaxed);
	for (size_t i = 0; i < ARRAY_LEN(shorts); i++)
		atomic_store_explicit(shorts[i], 0, memory_order_relaxed);
	for (size_t i = 0; i < STRATEGY_TAGS; i++)
		atomic_store_explicit(&memory->tagged[i], 0, memory_order_relaxed);
}

void strategy_forgive(struct strategy_memory *memory)
{
	atomic_store_explicit(&memory->peak, 0, memory_order_relaxed);
	atomic_store_explicit(&memory->averse_us, 0, memory_order_relaxed);
	atomic_store_explicit(&memory->errors, 0, memory_order_relaxed);
}

uint64_t strategy_key(const struct strategy *strategy, struct view text)
{
	if (strategy->needs & NEEDS_CRC)
		return UINT64_C(1) << 32 | hash_crc32(text.ptr, text.len, 0);
	uint64_t key = hash_view(text, 0);
	return key ? key : 1;
}

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
