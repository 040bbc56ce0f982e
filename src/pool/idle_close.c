/* SPDX-License-Identifier: MIT */
/*
 * The idle timeout that a backend has for kept connections, learned from those that it closed.
 *
 * A timeout closes each at the same age.  Who is restarted closes all at once, whatever their
 * age: such a moment teaches nothing.
 */
#include "idle_close.h"

#include "weir/base/defs.h"

/* A close after less idle time than this says nothing about a timeout. */
#define LEARN_MIN_US 900000
/* Closes within so long are of one moment; ages that differ by more are no timeout. */
#define MOMENT_US 500000
#define AGES_TIMES 2

#define FORGOTTEN_US (UINT64_C(600) * 1000000)

static uint64_t get(const _Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void set(_Atomic uint64_t *n, uint64_t value)
{
	atomic_store_explicit(n, value, memory_order_relaxed);
}

static void begin_moment(struct backend *b, uint64_t idle_us, uint64_t now_us)
{
	set(&b->closes.began_us, now_us);
	set(&b->closes.least_us, idle_us);
	set(&b->closes.most_us, idle_us);
	set(&b->closes.known_us, get(&b->learned_idle_us));
}

/* The smallest counts; it fades with time, since one alone may have been a restart. */
void idle_close_learn(struct backend *b, uint64_t idle_us, uint64_t now_us)
{
	uint64_t began_us = get(&b->closes.began_us);
	if (!began_us || now_us >= began_us + MOMENT_US)
		begin_moment(b, idle_us, now_us);
	if (idle_us < get(&b->closes.least_us))
		set(&b->closes.least_us, idle_us);
	if (idle_us > get(&b->closes.most_us))
		set(&b->closes.most_us, idle_us);
	if (get(&b->closes.most_us) / AGES_TIMES > get(&b->closes.least_us))
		set(&b->learned_idle_us, get(&b->closes.known_us));
	else if (idle_us >= LEARN_MIN_US && idle_us < get(&b->learned_idle_us))
		set(&b->learned_idle_us, idle_us);
}

/* It grows back: it doubles in 45 s and is forgotten past 10 min. */
void idle_close_fade(struct backend *b)
{
	uint64_t learned_us = get(&b->learned_idle_us);
	if (learned_us == UINT64_MAX)
		return;
	learned_us += learned_us / 64;
	set(&b->learned_idle_us, learned_us > FORGOTTEN_US ? UINT64_MAX : learned_us);
}
