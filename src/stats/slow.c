/* SPDX-License-Identifier: MIT */
/* The slowest exchanges of five minutes, written by workers without a lock. */
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

static bool is_free(const struct slow_slot *slot, uint64_t now_us)
{
	return atomic_load_explicit(&slot->seq, memory_order_relaxed) == 0 ||
	       now_us - ended_us(slot) > SLOW_KEEP_US;
}

/* A slot to write to, or NULL: everybody here is slower. */
static struct slow_slot *victim(struct slow_ring *ring, uint64_t total, uint64_t now_us)
{
	struct slow_slot *least = NULL;
	for (size_t i = 0; i < SLOW_SLOTS; i++) {
		struct slow_slot *slot = &ring->slot[i];
		if (is_free(slot, now_us))
			return slot;
		if (!least || total_us(slot) < total_us(least))
			least = slot;
	}
	return total > total_us(least) ? least : NULL;
}

static void slot_write(struct slow_slot *slot, const struct slow_record *record)
{
	uint64_t words[SLOW_WORDS];
	memcpy(words, record, sizeof(words));
	uint32_t seq = atomic_load_explicit(&slot->seq, memory_order_relaxed);
	atomic_store_explicit(&slot->seq, seq + 1, memory_order_relaxed);
	/* release: who sees a word of this record sees the odd number, too */
	for (size_t i = 0; i < SLOW_WORDS; i++)
		atomic_store_explicit(&slot->words[i], words[i], memory_order_release);
	atomic_store_explicit(&slot->seq, seq + 2 ? seq + 2 : 2, memory_order_release);
}

/* From what on an exchange has a place here, and until when that holds. */
static void set_floor(struct slow_ring *ring, uint64_t now_us)
{
	ring->floor_us = UINT64_MAX;
	ring->until_us = UINT64_MAX;
	for (size_t i = 0; i < SLOW_SLOTS; i++) {
		const struct slow_slot *slot = &ring->slot[i];
		if (is_free(slot, now_us)) {
			ring->floor_us = 0;
			ring->until_us = 0;
			return;
		}
		if (total_us(slot) < ring->floor_us)
			ring->floor_us = total_us(slot);
		if (ended_us(slot) + SLOW_KEEP_US < ring->until_us)
			ring->until_us = ended_us(slot) + SLOW_KEEP_US;
	}
}

void slow_put(struct slow_ring *ring, const struct slow_record *record)
{
	struct slow_slot *slot = victim(ring, record->phase_us[PHASE_total], record->ended_us);
	if (slot)
		slot_write(slot, record);
	set_floor(ring, record->ended_us);
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
		if (slot_read(&ring->slot[i], &out[n]) &&
		    (now_us < out[n].ended_us || now_us - out[n].ended_us <= SLOW_KEEP_US))
			n++;
	return n;
}
