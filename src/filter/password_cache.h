/* SPDX-License-Identifier: MIT */
/*
 * What was right a moment ago: a table of keyed hashes that all threads share without
 * locks.  A slot is three words that are written one by one: who reads it meanwhile sees
 * halves of two keys, which match nobody's, or an end that is another's, a minute at most.
 */
#ifndef WEIR_FILTER_PASSWORD_CACHE_H
#define WEIR_FILTER_PASSWORD_CACHE_H

#include "weir/filter/passwords.h"

struct password_key {
	uint64_t word[2];
};

/* Of the hash in the file, the name and the password. */
struct password_key password_key_of(struct view hash, struct view name, struct view password);
bool password_cache_has(struct password_key key, uint64_t now_us);
/* In place of the one of its bucket that ends first. */
void password_cache_put(struct password_key key, uint64_t now_us);

#endif
