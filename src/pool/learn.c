/* SPDX-License-Identifier: MIT */
/* Pins learned from a cookie of the app: a table of bounded size, shared by the workers. */
#include "weir/pool/learn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/base/rng.h"
#include "weir/base/siphash.h"
#include "weir/pool/news.h"

struct slot {
	_Atomic uint64_t mixed; /* key ^ value */
	_Atomic uint64_t value; /* serial << 32 | second of the last use */
};

struct learned {
	unsigned refs; /* control thread */
	uint32_t n_buckets;
	_Atomic bool shared; /* control writes, workers read */
	struct slot slots[] CACHE_ALIGNED;
};

struct learned *learned_new(uint32_t entries)
{
	uint32_t n = entries / LEARN_BUCKET ? entries / LEARN_BUCKET : 1;
	size_t size = sizeof(struct learned) + (size_t)n * LEARN_BUCKET * sizeof(struct slot);
	size = (size + WEIR_CACHE_LINE - 1) & ~(size_t)(WEIR_CACHE_LINE - 1);
	struct learned *table = aligned_alloc(WEIR_CACHE_LINE, size);
	if (!table)
		return NULL;
	memset(table, 0, size);
	table->refs = 1;
	table->n_buckets = n;
	return table;
}

struct learned *learned_get(struct learned *table)
{
	table->refs++;
	return table;
}

void learned_put(struct learned *table)
{
	if (!table)
		return;
	check(table->refs > 0);
	if (--table->refs == 0)
		free(table);
}

uint32_t learned_entries(const struct learned *table)
{
	return table->n_buckets * LEARN_BUCKET;
}

/* ---- keys ---- */

_Static_assert(LEARN_SECRET_LEN == SIPHASH_KEY_LEN, "a secret is a key of siphash");

/* Two words, which a reload may set while workers read: a key of half of each finds nothing. */
static _Atomic uint64_t secret[2];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void secret_put(const uint8_t bytes[LEARN_SECRET_LEN])
{
	uint64_t words[2];
	memcpy(words, bytes, sizeof(words));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		atomic_store_explicit(&secret[i], words[i], memory_order_relaxed);
}

static void secret_get(uint8_t bytes[LEARN_SECRET_LEN])
{
	uint64_t words[2];
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		words[i] = atomic_load_explicit(&secret[i], memory_order_relaxed);
	memcpy(bytes, words, sizeof(words));
}

static void draw_secret(void)
{
	atomic_store_explicit(&secret[0], rng_entropy(), memory_order_relaxed);
	atomic_store_explicit(&secret[1], rng_entropy(), memory_order_relaxed);
}

uint64_t learn_key(struct view session)
{
	uint8_t bytes[LEARN_SECRET_LEN];
	pthread_once(&secret_once, draw_secret);
	secret_get(bytes);
	uint64_t key = siphash64(bytes, session.ptr, session.len);
	return key ? key : 1;
}

void learn_secret_set(const uint8_t bytes[LEARN_SECRET_LEN])
{
	pthread_once(&secret_once, draw_secret);
	secret_put(bytes);
}

void learn_secret_pack(struct str *out)
{
	uint8_t bytes[LEARN_SECRET_LEN];
	pthread_once(&secret_once, draw_secret);
	secret_get(bytes);
	pack_view(out, view_of((const char *)bytes, sizeof(bytes)));
}

void learn_secret_unpack(struct unpack *in)
{
	struct view v = unpack_view(in);
	in->bad |= v.len != LEARN_SECRET_LEN;
	if (!in->bad)
		learn_secret_set((const uint8_t *)v.ptr);
}

void learned_share(struct learned *table, bool shared)
{
	atomic_store_explicit(&table->shared, shared, memory_order_relaxed);
}

/* ---- slots ---- */

static struct slot *bucket_of(struct learned *table, uint64_t key)
{
	uint64_t i = (key >> 32) * table->n_buckets >> 32;
	return &table->slots[i * LEARN_BUCKET];
}

static uint64_t read_slot(const struct slot *slot, uint64_t *value)
{
	*value = atomic_load_explicit(&slot->value, memory_order_relaxed);
	return atomic_load_explicit(&slot->mixed, memory_order_relaxed) ^ *value;
}

static void write_slot(struct slot *slot, uint64_t key, uint64_t value)
{
	atomic_store_explicit(&slot->value, value, memory_order_relaxed);
	atomic_store_explicit(&slot->mixed, key ^ value, memory_order_relaxed);
}

static uint64_t make_value(uint32_t serial, uint64_t now_s)
{
	return (uint64_t)serial << 32 | (uint32_t)now_s;
}

static bool is_expired(uint64_t value, uint64_t now_s, uint64_t ttl_s)
{
	uint32_t age = (uint32_t)now_s - (uint32_t)value;
	/* one written by a worker whose clock is a moment ahead is not old */
	return age > ttl_s && age < UINT32_MAX / 2;
}

static void tell(struct learned *table, uint64_t key, uint32_t serial, uint64_t now_s)
{
	if (atomic_load_explicit(&table->shared, memory_order_relaxed))
		news_put(key, serial, now_s);
}

/* Whether a quarter of the ttl has begun since; each key has its own moments. */
static bool quarter_has_begun(uint64_t key, uint32_t used_s, uint64_t now_s, uint64_t ttl_s)
{
	uint64_t quarter = ttl_s / 4 + 1, shift = key % quarter;
	return (used_s + shift) / quarter != ((uint32_t)now_s + shift) / quarter;
}

uint32_t learn_get(struct learned *table, uint64_t key, uint64_t now_s, uint64_t ttl_s)
{
	struct slot *bucket = bucket_of(table, key);
	for (unsigned i = 0; i < LEARN_BUCKET; i++) {
		uint64_t value;
		if (read_slot(&bucket[i], &value) != key)
			continue;
		if (is_expired(value, now_s, ttl_s))
			return 0;
		uint32_t serial = (uint32_t)(value >> 32);
		if ((uint32_t)value == (uint32_t)now_s)
			return serial; /* the rest at most once a second */
		write_slot(&bucket[i], key, make_value(serial, now_s));
		if (quarter_has_begun(key, (uint32_t)value, now_s, ttl_s))
			tell(table, key, serial, now_s);
		return serial;
	}
	return 0;
}

/* What is written by a worker, or heard of a node, whose clock is ahead is not old. */
static uint32_t age_of(uint64_t value, uint64_t now_s, uint64_t ttl_s)
{
	uint32_t age = (uint32_t)now_s - (uint32_t)value;
	if (value == 0 || is_expired(value, now_s, ttl_s))
		return UINT32_MAX;
	return age < UINT32_MAX / 2 ? age : 0;
}

/* Where the key is; else the oldest of those that are where it may be. */
static struct slot *place_of(struct learned *table, uint64_t key, uint64_t now_s, uint64_t ttl_s)
{
	struct slot *bucket = bucket_of(table, key), *victim = NULL;
	uint32_t oldest = 0;
	for (unsigned i = 0; i < LEARN_BUCKET; i++) {
		uint64_t value, found = read_slot(&bucket[i], &value);
		if (found == key)
			return &bucket[i];
		uint32_t age = age_of(value, now_s, ttl_s);
		if (!victim || age > oldest) {
			victim = &bucket[i];
			oldest = age;
		}
	}
	return victim;
}

/* The serial number that was there, 0: none. */
static uint32_t put_value(struct learned *table, uint64_t key, uint64_t new_value, uint64_t now_s,
			  uint64_t ttl_s)
{
	struct slot *slot = place_of(table, key, now_s, ttl_s);
	uint64_t value;
	bool known = read_slot(slot, &value) == key;
	write_slot(slot, key, new_value);
	return known ? (uint32_t)(value >> 32) : 0;
}

void learn_put(struct learned *table, uint64_t key, uint32_t serial, uint64_t now_s, uint64_t ttl_s)
{
	if (put_value(table, key, make_value(serial, now_s), now_s, ttl_s) != serial)
		tell(table, key, serial, now_s);
}

void learn_hear(struct learned *table, uint64_t key, uint32_t serial, uint64_t at_s)
{
	struct slot *slot = place_of(table, key, at_s, UINT32_MAX);
	uint64_t value;
	/* two clocks: what differs by a second may be the same moment */
	uint32_t newest = (uint32_t)at_s + (read_slot(slot, &value) == key);
	if ((uint32_t)value <= newest)
		write_slot(slot, key, make_value(serial, at_s));
}

void learned_copy(struct learned *table, const struct learned *from, uint64_t now_s)
{
	for (uint32_t i = 0; i < from->n_buckets * LEARN_BUCKET; i++) {
		uint64_t value, key = read_slot(&from->slots[i], &value);
		if (value)
			put_value(table, key, value, now_s, UINT32_MAX);
	}
}

uint32_t learned_count(const struct learned *table, uint32_t serial, uint64_t now_s, uint64_t ttl_s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < table->n_buckets * LEARN_BUCKET; i++) {
		uint64_t value = atomic_load_explicit(&table->slots[i].value, memory_order_relaxed);
		n += value >> 32 == serial && value && !is_expired(value, now_s, ttl_s);
	}
	return n;
}

/* ---- for the process that takes over ---- */

void learned_pack(const struct learned *table, struct str *out)
{
	for (uint32_t i = 0; i < table->n_buckets * LEARN_BUCKET; i++) {
		uint64_t value, key = read_slot(&table->slots[i], &value);
		if (!value)
			continue;
		pack_u64(out, key);
		pack_u64(out, value);
	}
}

void learned_unpack(struct unpack *in, struct learned *table, uint64_t now_s,
		    uint32_t (*serial_now)(void *arg, uint32_t serial), void *arg)
{
	while (in->left && !in->bad) {
		uint64_t key = unpack_u64(in), value = unpack_u64(in);
		uint32_t serial = in->bad ? 0 : serial_now(arg, (uint32_t)(value >> 32));
		if (serial && (uint32_t)value <= (uint32_t)now_s)
			put_value(table, key, make_value(serial, (uint32_t)value), now_s,
				  UINT32_MAX);
	}
}
