/* SPDX-License-Identifier: MIT */
/* The workers' side of weir/filter/quota.h: no lock, no malloc, no wait. */
#ifndef WEIR_FILTER_QUOTAS_H
#define WEIR_FILTER_QUOTAS_H

#include "gcra.h"

#include "weir/filter/quota.h"

/* All of a limit. */
#define QUOTA_WHOLE 65536u

struct quota;

/* Made once, before a worker sees a shared limit.  False: there is no memory. */
bool quota_table_ready(void);

/* That of a key (a gcra_hash); NULL: it has none yet. */
struct quota *quota_find(uint64_t key);
/* A new one; NULL: there is no room. */
struct quota *quota_claim(uint64_t key, uint64_t name, const struct gcra_limit *limit);
/* The part of its limit that it may use here; `quota` may be NULL. */
uint32_t quota_part(const struct quota *quota);
/* Control thread: of one key what quota_collect takes of all; false: there is nothing. */
bool quota_collect_one(struct quota *quota, struct quota_report *out, uint64_t now_us);
/* Whether anybody who knows the others has told what it may use. */
bool quota_is_awake(const struct quota *quota);
void quota_note(struct quota *quota, bool taken, uint64_t now_us);

/* The limit as this node may use a part of it. */
static inline struct gcra_limit quota_limit(const struct gcra_limit *whole, uint32_t part)
{
	struct gcra_limit mine = {whole->interval * QUOTA_WHOLE / part, whole->burst};
	if (mine.burst < mine.interval)
		mine.burst = mine.interval; /* a burst of one: one at a time here, too */
	return mine;
}

#endif
