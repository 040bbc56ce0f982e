/* SPDX-License-Identifier: MIT */
/* How many connections each client has open. */
#include "weir/proxy/per_client.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "weir/base/rng.h"
#include "weir/base/siphash.h"

#define WAYS 8u
#define SLOTS (1u << 18)
#define COUNT_BITS 24
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
/* The network part of an IPv6 address. */
#define V6_PREFIX 8

/* Bits of the client's hash, and its count; a count of 0 is a free slot. */
static _Atomic uint64_t *slots;
static uint8_t secret[SIPHASH_KEY_LEN];

bool per_client_prepare(const struct conf *conf, struct str *why)
{
	bool wanted = false;
	for (size_t i = 0; i < conf->n_listeners; i++)
		wanted |= conf->listeners[i].limits.connections_per_client != 0;
	if (!wanted || slots)
		return true;
	void *map = mmap(NULL, SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		str_text(why, "there is no memory for limits.connections_per_client");
		return false;
	}
	uint64_t random[2] = {rng_entropy(), rng_entropy()};
	memcpy(secret, random, sizeof(secret));
	slots = map;
	return true;
}

static uint64_t hash_of(const struct addr *client)
{
	if (client->sa.sa_family != AF_INET6)
		return siphash64(secret, &client->in4.sin_addr, sizeof(client->in4.sin_addr));
	const struct in6_addr *v6 = &client->in6.sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(v6)) /* the same client over the other family */
		return siphash64(secret, &v6->s6_addr[12], sizeof(client->in4.sin_addr));
	return siphash64(secret, v6, V6_PREFIX);
}

/* The slot of this client, else a free one; NULL: all are taken. */
static _Atomic uint64_t *slot_of(_Atomic uint64_t *bucket, uint64_t tag, uint64_t *word)
{
	_Atomic uint64_t *free = NULL;
	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t has = atomic_load_explicit(&bucket[i], memory_order_relaxed);
		bool used = has & COUNT_MASK;
		if (used && has >> COUNT_BITS != tag)
			continue;
		if (!used && free)
			continue;
		*word = has;
		free = &bucket[i];
		if (used)
			break;
	}
	return free;
}

bool per_client_take(const struct addr *client, uint32_t limit, uint32_t *slot)
{
	*slot = 0;
	if (!slots || !client->len || addr_is_unix(client))
		return true;
	uint64_t hash = hash_of(client), tag = hash >> COUNT_BITS, word = 0;
	_Atomic uint64_t *bucket = &slots[(hash & (SLOTS / WAYS - 1)) * WAYS], *at;
	while ((at = slot_of(bucket, tag, &word)) != NULL) {
		uint64_t count = word & COUNT_MASK;
		if (count >= limit)
			return false;
		if (!atomic_compare_exchange_weak_explicit(
			at, &word, tag << COUNT_BITS | (count + 1), memory_order_relaxed,
			memory_order_relaxed))
			continue;
		*slot = (uint32_t)(at - slots) + 1;
		break;
	}
	return true;
}

void per_client_drop(uint32_t slot)
{
	if (slot)
		atomic_fetch_sub_explicit(&slots[slot - 1], 1, memory_order_relaxed);
}
