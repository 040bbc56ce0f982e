/* SPDX-License-Identifier: MIT */
/* Private to filter/: one declaration a row. */
#ifndef WEIR_FILTER_FILTERS_H
#define WEIR_FILTER_FILTERS_H

#include "weir/filter/filter.h"

#define FILTER(symbol, where, outcome, sentence) extern const struct filter filter_##symbol;
#include "weir/tbl/filters.def"
#undef FILTER

#endif
