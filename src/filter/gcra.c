/* SPDX-License-Identifier: MIT */
/* The table of rate limits; gcra.h says how it is laid out. */
#include "gcra.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "weir/base/check.h"
#include "weir/base/rng.h"

#define WAYS 8
#define SLOTS_PER_KEY 3
#define CHECK_BITS 14
#define CHECK_MASK ((UINT64_C(1) << CHECK_BITS) - 1)
#define TIME_BITS (64 - CHECK_BITS)
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)

struct slot {
	_Atomic uint64_t key; /* 0: never used */
	_Atomic uint64_t tat; /* time, then CHECK_BITS of the key */
};

/* Made by the control thread before a worker sees a limit, kept to the end. */
static struct {
	struct slot *slots;
	size_t n_buckets;
	uint8_t secret[SIPHASH_KEY_LEN];
} table;

bool gcra_table_ready(size_t n_keys)
{
	if (table.slots)
		return true;
	size_t n = (n_keys * SLOTS_PER_KEY + WAYS - 1) / WAYS;
	/* zero pages, which are there when they are first written */
	void *map = mmap(NULL, n * WAYS * sizeof(struct slot), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return false;
	uint64_t secret[2] = {rng_entropy(), rng_entropy()};
	memcpy(table.secret, secret, sizeof(table.secret));
	table.n_buckets = n;
	table.slots = map;
	return true;
}

size_t gcra_table_bytes(void)
{
	return table.n_buckets * WAYS * sizeof(struct slot);
}

uint64_t gcra_hash(const void *ptr, size_t len)
{
	return siphash64(table.secret, ptr, len);
}

/* ---- time on a circle ---- */

/* How far `a` is after `b`; negative: before. */
static int64_t after(uint64_t a, uint64_t b)
{
	return (int64_t)((a - b) << CHECK_BITS) >> CHECK_BITS;
}

static uint64_t word_of(uint64_t time, uint64_t key)
{
	return time << CHECK_BITS | (key & CHECK_MASK);
}

/* ---- slots ---- */

static struct slot *bucket_of(uint64_t key)
{
	/* the high bits, as a fraction of the buckets */
	size_t i = (size_t)(((unsigned __int128)key * table.n_buckets) >> 64);
	return &table.slots[i * WAYS];
}

static struct slot *find(struct slot *bucket, uint64_t key)
{
	for (unsigned i = 0; i < WAYS; i++)
		if (atomic_load_explicit(&bucket[i].key, memory_order_acquire) == key)
			return &bucket[i];
	return NULL;
}

/* One that was never used, else the one whose time is the oldest. */
static struct slot *victim(struct slot *bucket, uint64_t now, uint64_t *key)
{
	struct slot *oldest = NULL;
	int64_t least = INT64_MAX;
	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t has = atomic_load_explicit(&bucket[i].key, memory_order_relaxed);
		uint64_t tat = atomic_load_explicit(&bucket[i].tat, memory_order_relaxed);
		int64_t age = has ? after(tat >> CHECK_BITS, now) : INT64_MIN;
		if (age >= least)
			continue;
		least = age;
		oldest = &bucket[i];
		*key = has;
	}
	return oldest;
}

/*
 * The slot of this key; two workers who bring the same key choose the same one.
 * *fresh: it was another key's until now.
 */
static struct slot *slot_of(uint64_t key, uint64_t now, bool *fresh)
{
	struct slot *bucket = bucket_of(key);
	*fresh = false;
	for (;;) {
		struct slot *slot = find(bucket, key);
		if (slot)
			return slot;
		uint64_t old = 0;
		slot = victim(bucket, now, &old);
		if (!slot)
			slot = bucket;
		if (atomic_compare_exchange_strong_explicit(
			&slot->key, &old, key, memory_order_acq_rel, memory_order_relaxed)) {
			*fresh = true;
			return slot;
		}
	}
}

/* ---- the algorithm ---- */

static void tell(const struct gcra_limit *limit, int64_t ahead, bool taken,
		 struct gcra_result *result)
{
	uint64_t used = ahead > 0 ? (uint64_t)ahead : 0;
	uint64_t over = used + limit->interval;
	result->left = used < limit->burst ? (limit->burst - used) / limit->interval : 0;
	result->reset_us = used / GCRA_UNITS_PER_US;
	result->wait_us = taken || over <= limit->burst
			      ? 0
			      : (over - limit->burst + GCRA_UNITS_PER_US - 1) / GCRA_UNITS_PER_US;
}

bool gcra_take(uint64_t key, const struct gcra_limit *limit, uint64_t now_us,
	       struct gcra_result *result)
{
	uint64_t now = now_us * GCRA_UNITS_PER_US & TIME_MASK;
	key |= !key; /* 0 is a slot that was never used */
	for (;;) {
		bool fresh;
		struct slot *slot = slot_of(key, now, &fresh);
		uint64_t old = atomic_load_explicit(&slot->tat, memory_order_acquire);
		/* of another key, which had the slot before: nothing is known of this one */
		bool mine = !fresh && (old & CHECK_MASK) == (key & CHECK_MASK);
		int64_t ahead = mine ? after(old >> CHECK_BITS, now) : 0;
		if (ahead < 0)
			ahead = 0;
		if ((uint64_t)ahead + limit->interval > limit->burst) {
			tell(limit, ahead, false, result);
			return false;
		}
		ahead += (int64_t)limit->interval;
		uint64_t next = word_of((now + (uint64_t)ahead) & TIME_MASK, key);
		if (atomic_compare_exchange_weak_explicit(
			&slot->tat, &old, next, memory_order_acq_rel, memory_order_relaxed)) {
			tell(limit, ahead, true, result);
			return true;
		}
	}
}

static uint64_t units_of(uint64_t now_us)
{
	return now_us * GCRA_UNITS_PER_US & TIME_MASK;
}

uint64_t gcra_ahead(uint64_t key, uint64_t now_us)
{
	key |= !key;
	struct slot *slot = find(bucket_of(key), key);
	uint64_t tat = slot ? atomic_load_explicit(&slot->tat, memory_order_acquire) : 0;
	int64_t ahead = slot ? after(tat >> CHECK_BITS, units_of(now_us)) : 0;
	return ahead > 0 && (tat & CHECK_MASK) == (key & CHECK_MASK) ? (uint64_t)ahead : 0;
}

void gcra_put(uint64_t key, uint64_t ahead, uint64_t now_us)
{
	uint64_t now = units_of(now_us);
	bool fresh;
	key |= !key;
	struct slot *slot = slot_of(key, now, &fresh);
	if (ahead > TIME_MASK / 4)
		ahead = TIME_MASK / 4;
	atomic_store_explicit(&slot->tat, word_of((now + ahead) & TIME_MASK, key),
			      memory_order_release);
}
