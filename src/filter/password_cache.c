/* SPDX-License-Identifier: MIT */
/* Passwords that were right a moment ago. */
#include "password_cache.h"

#include <pthread.h>
#include <stdatomic.h>

#include "weir/base/check.h"
#include "weir/base/rng.h"
#include "weir/base/siphash.h"

#define BUCKET 4
#define N_BUCKETS (PASSWORDS_KEPT / BUCKET)

struct slot {
	_Atomic uint64_t word[2];
	_Atomic uint64_t until_us; /* 0: free */
};

static struct slot table[N_BUCKETS][BUCKET];
static uint8_t secret[SIPHASH_KEY_LEN];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
	uint64_t words[2] = {rng_entropy(), rng_entropy()};
	memcpy(secret, words, sizeof(secret));
}

struct password_key password_key_of(struct view hash, struct view name, struct view password)
{
	char text[USER_HASH_MAX + USER_NAME_MAX + PASSWORD_MAX + 2];
	struct password_key key;
	size_t len = 0;
	check(hash.len <= USER_HASH_MAX && name.len <= USER_NAME_MAX &&
	      password.len <= PASSWORD_MAX);
	memcpy(text, hash.ptr, len = hash.len);
	text[len++] = '\0'; /* which is in none of them */
	if (name.len)
		memcpy(text + len, name.ptr, name.len);
	len += name.len;
	text[len++] = '\0';
	if (password.len)
		memcpy(text + len, password.ptr, password.len);
	len += password.len;
	pthread_once(&once, make_secret);
	siphash(secret, text, len, (uint8_t *)key.word);
	explicit_bzero(text, len);
	return key;
}

static struct slot *bucket_of(struct password_key key)
{
	return table[key.word[0] % N_BUCKETS];
}

static uint64_t load(_Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

bool password_cache_has(struct password_key key, uint64_t now_us)
{
	struct slot *bucket = bucket_of(key);
	for (unsigned i = 0; i < BUCKET; i++)
		if (load(&bucket[i].word[0]) == key.word[0] &&
		    load(&bucket[i].word[1]) == key.word[1] && load(&bucket[i].until_us) > now_us)
			return true;
	return false;
}

void password_cache_put(struct password_key key, uint64_t now_us)
{
	struct slot *bucket = bucket_of(key), *slot = &bucket[0];
	for (unsigned i = 1; i < BUCKET; i++)
		if (load(&bucket[i].until_us) < load(&slot->until_us))
			slot = &bucket[i];
	atomic_store_explicit(&slot->until_us, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->word[0], key.word[0], memory_order_relaxed);
	atomic_store_explicit(&slot->word[1], key.word[1], memory_order_relaxed);
	atomic_store_explicit(&slot->until_us, now_us + PASSWORDS_KEPT_US, memory_order_relaxed);
}
