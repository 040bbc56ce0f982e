/* SPDX-License-Identifier: MIT */
/* The slowest exchanges of five minutes, written by all workers without a lock. */
#include "weir/stats/slow.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct slow_record) % sizeof(uint64_t) == 0, "copied word by word");

struct slow_ring *slow_ring_new(void)
{
	struct slow_ring *ring = aligned_alloc(WEIR_CACHE_LINE, sizeof(*ring));
	if (ring)
		memset(ring, 0, sizeof(*ring));
	return ring;
}

static uint64_t word(const struct slow_slot *slot, size_t i)
{
	return atomic_load_explicit(&slot->words[i], memory_order_relaxed);
}

static uint64_t ended_us(const struct slow_slot *slot)
{
	return word(slot, offsetof(struct slow_record, ended_us) / sizeof(uint64_t));
}

static uint64_t total_us(const struct slow_slot *slot)
{
	return word(slot, offsetof(struct slow_record, phase_us) / sizeof(uint64_t) + PHASE_total);
}

/* It may have ended after now: workers have clocks of their own. */
static bool is_old(uint64_t ended_us, uint64_t now_us)
{
	return now_us > ended_us && now_us - ended_us > SLOW_KEEP_US;
}

static bool is_free(const struct slow_slot *slot, uint64_t now_us)
{
	return atomic_load_explicit(&slot->seq, memory_order_relaxed) == 0 ||
	       is_old(ended_us(slot), now_us);
}

/* A slot as it was looked at. */
struct choice {
	struct slow_slot *slot; /* NULL: none, everybody here is slower */
	uint32_t seq;
	uint64_t total_us;
};

/* Somebody else's is left to him. */
static struct choice choose(struct slow_ring *ring, uint64_t total, uint64_t now_us)
{
	struct choice least = {.total_us = total};
	for (size_t i = 0; i < SLOW_SLOTS; i++) {
		struct slow_slot *slot = &ring->slot[i];
		uint32_t seq = atomic_load_explicit(&slot->seq, memory_order_acquire);
		if (seq & 1)
			continue;
		if (is_free(slot, now_us))
			return (struct choice){slot, seq, 0};
		if (total_us(slot) < least.total_us)
			least = (struct choice){slot, seq, total_us(slot)};
	}
	return least;
}

/* False: it has changed since it was chosen. */
static bool slot_write(const struct choice *to, const struct slow_record *record)
{
	uint64_t words[SLOW_WORDS];
	uint32_t seq = to->seq;
	memcpy(words, record, sizeof(words));
	if (!atomic_compare_exchange_strong_explicit(&to->slot->seq, &seq, seq + 1,
						     memory_order_acquire, memory_order_relaxed))
		return false;
	/* release: who sees a word of this record sees the odd number, too */
	for (size_t i = 0; i < SLOW_WORDS; i++)
		atomic_store_explicit(&to->slot->words[i], words[i], memory_order_release);
	atomic_store_explicit(&to->slot->seq, seq + 2 ? seq + 2 : 2, memory_order_release);
	return true;
}

/* From what on an exchange has a place here, and until when that holds. */
static void look_floor(struct slow_ring *ring, uint64_t now_us)
{
	uint64_t floor_us = UINT64_MAX, until_us = UINT64_MAX;
	for (size_t i = 0; i < SLOW_SLOTS; i++) {
		const struct slow_slot *slot = &ring->slot[i];
		if (is_free(slot, now_us)) {
			floor_us = until_us = 0;
			break;
		}
		if (total_us(slot) < floor_us)
			floor_us = total_us(slot);
		if (ended_us(slot) + SLOW_KEEP_US < until_us)
			until_us = ended_us(slot) + SLOW_KEEP_US;
	}
	atomic_store_explicit(&ring->floor_us, floor_us, memory_order_relaxed);
	atomic_store_explicit(&ring->until_us, until_us, memory_order_relaxed);
}

/* Who has put something meanwhile may have looked before: whoever is last has seen it all. */
static void set_floor(struct slow_ring *ring, uint64_t now_us)
{
	uint32_t n = atomic_fetch_add(&ring->n_puts, 1) + 1, now;
	for (;; n = now) {
		look_floor(ring, now_us);
		now = atomic_load(&ring->n_puts);
		if (now == n)
			return;
	}
}

void slow_put(struct slow_ring *ring, const struct slow_record *record)
{
	uint64_t total = record->phase_us[PHASE_total], now_us = record->ended_us;
	struct choice to = choose(ring, total, now_us);
	for (int tries = 1; to.slot && !slot_write(&to, record) && tries < SLOW_SLOTS; tries++)
		to = choose(ring, total, now_us);
	set_floor(ring, now_us);
}

static bool slot_read(const struct slow_slot *slot, struct slow_record *out)
{
	uint64_t words[SLOW_WORDS];
	uint32_t seq = atomic_load_explicit(&slot->seq, memory_order_acquire);
	if (seq == 0 || seq & 1)
		return false;
	for (size_t i = 0; i < SLOW_WORDS; i++)
		words[i] = atomic_load_explicit(&slot->words[i], memory_order_acquire);
	if (atomic_load_explicit(&slot->seq, memory_order_relaxed) != seq)
		return false;
	memcpy(out, words, sizeof(words));
	return true;
}

size_t slow_read(const struct slow_ring *ring, uint64_t now_us, struct slow_record *out, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; i < SLOW_SLOTS && n < max; i++)
		if (slot_read(&ring->slot[i], &out[n]) && !is_old(out[n].ended_us, now_us))
			n++;
	return n;
}
