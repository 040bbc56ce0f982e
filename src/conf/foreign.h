/* SPDX-License-Identifier: MIT */
/* Keys and words that other balancers, or people who guess, have and weir has not. */
#ifndef WEIR_CONF_FOREIGN_H
#define WEIR_CONF_FOREIGN_H

#include "weir/base/view.h"

/* What there is in place of such a key, a clause; NULL: it is none. */
const char *foreign_key(struct view key);
/* What a key is called here that one looks for under this parent by another name; NULL: unknown. */
const char *foreign_name(const char *parent, struct view key);
/* The same of a strategy; what "in weir it is" goes on with. */
const char *foreign_strategy(struct view word);

#endif
