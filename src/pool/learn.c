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

struct slot {
	_Atomic uint64_t mixed; /* key ^ value */
	_Atomic uint64_t value; /* serial << 32 | second of the last use */
};

struct learned {
	unsigned refs; /* control thread */
	uint32_t n_buckets;
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

static uint8_t secret[SIPHASH_KEY_LEN];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void draw_secret(void)
{
	uint64_t words[2] = {rng_entropy(), rng_entropy()};
	memcpy(secret, words, sizeof(secret));
}

uint64_t learn_key(struct view session)
{
	pthread_once(&secret_once, draw_secret);
	uint64_t key = siphash64(secret, session.ptr, session.len);
	return key ? key : 1;
}

void learn_secret_pack(struct str *out)
{
	pthread_once(&secret_once, draw_secret);
	pack_view(out, view_of((const char *)secret, sizeof(secret)));
}

void learn_secret_unpack(struct unpack *in)
{
	struct view v = unpack_view(in);
	in->bad |= v.len != sizeof(secret);
	if (in->bad)
		return;
	pthread_once(&secret_once, draw_secret);
	memcpy(secret, v.ptr, sizeof(secret));
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
		if ((uint32_t)value != (uint32_t)now_s) /* at most once a second */
			write_slot(&bucket[i], key, make_value(serial, now_s));
		return serial;
	}
	return 0;
}

static void put_value(struct learned *table, uint64_t key, uint64_t new_value, uint64_t now_s,
		      uint64_t ttl_s)
{
	struct slot *bucket = bucket_of(table, key), *victim = NULL;
	uint32_t oldest = 0;
	for (unsigned i = 0; i < LEARN_BUCKET; i++) {
		uint64_t value, found = read_slot(&bucket[i], &value);
		if (found == key) {
			victim = &bucket[i];
			break;
		}
		uint32_t age = value == 0 || is_expired(value, now_s, ttl_s)
				   ? UINT32_MAX
				   : (uint32_t)now_s - (uint32_t)value;
		if (!victim || age > oldest) {
			victim = &bucket[i];
			oldest = age;
		}
	}
	write_slot(victim, key, new_value);
}

void learn_put(struct learned *table, uint64_t key, uint32_t serial, uint64_t now_s, uint64_t ttl_s)
{
	put_value(table, key, make_value(serial, now_s), now_s, ttl_s);
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
