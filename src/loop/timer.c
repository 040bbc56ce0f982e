/* SPDX-License-Identifier: MIT */
/*
 * Level L has 64 slots of 64^L ticks.  A timer goes to the level of the highest
 * digit (base 64) in which its tick differs from now, so a slot of level L is
 * never behind the current digit of that level, and reaching it moves its
 * timers to lower levels.
 */
#include "weir/loop/timer.h"

#include <stddef.h>
#include <string.h>

#define DIGIT_BITS 6
#define DIGIT(tick, level) ((unsigned)((tick) >> ((level) * DIGIT_BITS)) & (TIMER_SLOTS - 1))

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_us)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->tick = now_us >> TIMER_TICK_SHIFT;
}

static void unfile(struct timer *timer)
{
	*timer->pprev = timer->next;
	if (timer->next)
		timer->next->pprev = timer->pprev;
	timer->pprev = NULL;
	timer->next = NULL;
}

void timer_del(struct timer *timer)
{
	timer->deadline_us = 0;
	if (timer->pprev)
		unfile(timer);
}

void timer_file(struct timer_wheel *wheel, struct timer *timer, uint64_t tick)
{
	if (timer->pprev)
		unfile(timer);
	if (tick <= wheel->tick)
		tick = wheel->tick + 1;
	uint64_t differ = tick ^ wheel->tick;
	unsigned level = (unsigned)(63 - __builtin_clzll(differ)) / DIGIT_BITS;
	if (level >= TIMER_LEVELS) { /* beyond 64^7 ticks, 500 years */
		level = TIMER_LEVELS - 1;
		tick = wheel->tick | (((uint64_t)1 << (TIMER_LEVELS * DIGIT_BITS)) - 1);
	}
	unsigned slot = DIGIT(tick, level);
	struct timer **head = &wheel->slots[level][slot];
	timer->filed = tick;
	timer->next = *head;
	if (*head)
		(*head)->pprev = &timer->next;
	timer->pprev = head;
	*head = timer;
	wheel->used[level] |= (uint64_t)1 << slot;
	wheel->dirty = true;
}

/* First tick after now at which a slot must be looked at. */
static uint64_t next_tick(const struct timer_wheel *wheel)
{
	for (unsigned level = 0; level < TIMER_LEVELS; level++) {
		unsigned digit = DIGIT(wheel->tick, level);
		uint64_t ahead = digit == 63 ? 0 : wheel->used[level] >> (digit + 1) << (digit + 1);
		if (!ahead)
			continue;
		unsigned slot = (unsigned)__builtin_ctzll(ahead);
		uint64_t base = wheel->tick >> ((level + 1) * DIGIT_BITS) << DIGIT_BITS;
		return (base | slot) << (level * DIGIT_BITS);
	}
	return UINT64_MAX;
}

uint64_t timer_wheel_next(struct timer_wheel *wheel)
{
	wheel->dirty = false;
	uint64_t tick = next_tick(wheel);
	return tick == UINT64_MAX ? UINT64_MAX : tick << TIMER_TICK_SHIFT;
}

/* One timer out of a reached slot: fire it, file it again, or let it go. */
static void look_at(struct timer_wheel *wheel, struct timer *timer, uint64_t now_us)
{
	if (timer->deadline_us == 0)
		return;
	if (timer->deadline_us > now_us || timer_tick_of(timer->deadline_us) > wheel->tick) {
		timer_file(wheel, timer, timer_tick_of(timer->deadline_us));
		return;
	}
	timer->deadline_us = 0;
	timer->fn(timer);
}

void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_us)
{
	uint64_t now_tick = now_us >> TIMER_TICK_SHIFT;
	for (;;) {
		uint64_t tick = next_tick(wheel);
		if (tick > now_tick)
			break;
		wheel->tick = tick;
		/* a slot of every level whose boundary this tick is */
		for (unsigned level = 0; level < TIMER_LEVELS; level++) {
			unsigned slot = DIGIT(tick, level);
			struct timer *timer;
			wheel->used[level] &= ~((uint64_t)1 << slot);
			while ((timer = wheel->slots[level][slot]) != NULL) {
				unfile(timer);
				look_at(wheel, timer, now_us);
			}
			if (slot != 0)
				break;
		}
	}
	if (now_tick > wheel->tick && next_tick(wheel) == UINT64_MAX)
		wheel->tick = now_tick;
}
