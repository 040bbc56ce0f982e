/* SPDX-License-Identifier: MIT */
/*
 * What live traffic says about backends: letters of workers, and a sweep over each pool.
 * What follows is an ejection (eject.c), or a smaller share: a slow backend gets a larger
 * one again as soon as too little comes back to judge it by.
 */
#include <stdio.h>
#include <stdlib.h>

#include "outlier.h"
#include "target.h"

#include "weir/base/check.h"

/* Sweeps in a row that must find a backend slow, and the least share it keeps. */
#define SLOW_SWEEPS 3
#define SLOW_SHARE_MIN (SHARE_FULL / 16)

/* ---- letters of workers ---- */

/* "the last: status 500" */
static void put_last_fault(struct str *out, const struct backend *b)
{
	const char *why = atomic_load(&b->fault.why);
	if (why)
		str_printf(out, "the last: %s", why);
	else
		str_printf(out, "the last: status %u", (unsigned)atomic_load(&b->fault.status));
}

/* The worker that saw the row has closed the gate, but the backend stays as it was. */
static void reopen(struct health_target *t)
{
	uint8_t closed = TRIAL_CLOSED;
	if (t->ejected && !target_all_know(t))
		return;
	if (atomic_compare_exchange_strong(&t->backend->fault.trial, &closed, TRIAL_OFF))
		t->health->host.look(t->health->host.ctx);
}

static void on_row(struct health_target *t)
{
	struct backend *b = t->backend;
	uint32_t row = atomic_load(&b->fault.row), limit = atomic_load(&b->fault.limit);
	if (t->ejected || !limit || row < limit || !target_may_eject(t)) {
		reopen(t);
		return;
	}
	struct str reason = str_fixed(t->eject_reason, sizeof(t->eject_reason));
	str_printf(&reason, "%u errors in a row, ", row);
	put_last_fault(&reason, b);
	target_eject(t, EJECTION_consecutive_errors);
}

static void on_trial_failed(struct health_target *t)
{
	if (!t->on_trial || t->ejected)
		return;
	if (!target_may_eject(t)) { /* everybody else has gone meanwhile */
		target_set_trial(t, TRIAL_FREE);
		return;
	}
	struct str reason = str_fixed(t->eject_reason, sizeof(t->eject_reason));
	str_text(&reason, "failed again when one request tried it, ");
	put_last_fault(&reason, t->backend);
	target_eject(t, EJECTION_trial);
}

static void on_letter(struct loop *loop, struct mail *mail)
{
	struct fault_local *local = container_of(mail, struct fault_local, letter);
	unsigned news = atomic_exchange(&local->news, 0);
	struct health_target *t = local->backend->health;
	(void)loop;
	if (!t || !t->pool->outlier.on) {
		atomic_store(&local->backend->fault.trial, TRIAL_OFF);
		return;
	}
	if (news & FAULT_NEWS_TRIAL_PASSED && t->on_trial) {
		t->on_trial = false;
		target_note(t, "the request that tried it succeeded: in service again");
	}
	if (news & FAULT_NEWS_TRIAL_FAILED)
		on_trial_failed(t);
	if (news & FAULT_NEWS_ROW)
		on_row(t);
	if (news & (FAULT_NEWS_TRY_FAILED | FAULT_NEWS_TRY_PASSED))
		odd_note_try(t, news & FAULT_NEWS_TRY_FAILED);
}

/* ---- sweeps ---- */

static void take_sample(struct health_target *t, struct outlier_sample *s)
{
	const struct backend *b = t->backend;
	uint64_t served = 0, faults = 0;
	for (unsigned i = 0; i < b->n_workers; i++) {
		served += counter_get(&b->local[i]->fault.served);
		faults += counter_get(&b->local[i]->fault.faults);
	}
	s->faults = faults - t->swept_faults;
	s->n = served - t->swept_served + s->faults;
	t->swept_served = served;
	t->swept_faults = faults;
	s->n_latency = 0;
	if (!t->pool->outlier.latency_factor)
		return;
	s->n_latency = atomic_load_explicit(&b->n_waits, memory_order_relaxed);
	s->p50_us = atomic_load_explicit(&b->wait_p50_us, memory_order_relaxed);
}

static void eject_outlier(struct health_target *t, enum outlier_cause cause,
			  const struct outlier_sample *s)
{
	if (cause == OUTLIER_NONE || t->ejected || t->on_trial || !target_may_eject(t))
		return;
	snprintf(t->eject_reason, sizeof(t->eject_reason),
		 "%.0f %% of %llu requests failed, far more than elsewhere",
		 100.0 * (double)s->faults / (double)s->n, (unsigned long long)s->n);
	target_eject(t, cause == OUTLIER_FAILURES ? EJECTION_failures : EJECTION_success_rate);
}

static void set_share(struct health_target *t, uint32_t share, const char *what)
{
	atomic_store_explicit(&t->backend->health_share, (uint16_t)share, memory_order_relaxed);
	target_note(t, what);
}

static void slow_down(struct health_target *t, const struct outlier_sample *s, uint64_t median_us)
{
	char what[BACKEND_REASON_MAX];
	uint64_t share = SHARE_FULL * median_us / s->p50_us;
	if (share < SLOW_SHARE_MIN)
		share = SLOW_SHARE_MIN;
	uint32_t now = atomic_load_explicit(&t->backend->health_share, memory_order_relaxed);
	if (share >= now)
		return;
	snprintf(what, sizeof(what),
		 "slow: half of its answers take longer than %.1f ms, elsewhere %.1f ms; it keeps "
		 "%llu %% of its share",
		 (double)s->p50_us / 1000, (double)median_us / 1000,
		 (unsigned long long)(share * 100 / SHARE_FULL));
	set_share(t, (uint32_t)share, what);
}

/* Twice the share with each sweep that does not find it slow. */
static void speed_up(struct health_target *t)
{
	uint32_t now = atomic_load_explicit(&t->backend->health_share, memory_order_relaxed);
	if (now >= SHARE_FULL)
		return;
	uint32_t next = now * 2 < SHARE_FULL ? now * 2 : SHARE_FULL;
	set_share(t, next,
		  next == SHARE_FULL ? "no longer slow: it has its full share again"
				     : "not seen to be slow: it gets twice the share");
}

static void judge_latency(struct health_target *t, const struct outlier_sample *s,
			  uint64_t median_us)
{
	if (outlier_is_slow(s->p50_us, median_us, t->pool->outlier.latency_factor)) {
		if (t->n_slow < SLOW_SWEEPS)
			t->n_slow++;
		if (t->n_slow == SLOW_SWEEPS)
			slow_down(t, s, median_us);
		return;
	}
	if (median_us) /* too few samples to tell do not acquit it */
		t->n_slow = 0;
	speed_up(t);
}

static void sweep_pool(struct health_pool *hp, struct outlier_sample *samples, size_t n)
{
	struct arena *arena = arena_new();
	enum outlier_cause *causes = arena_array(arena, n, sizeof(*causes));
	uint64_t *medians = arena_array(arena, n, sizeof(*medians));
	uint64_t *scratch = arena_array(arena, n, sizeof(*scratch));
	outlier_find(samples, n, causes);
	outlier_medians(samples, n, medians, scratch);
	size_t i = 0;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		if (!t->ejected && !t->on_trial && t->n_ejected && !samples[i].faults)
			t->n_ejected--;
		eject_outlier(t, causes[i], &samples[i]);
		judge_latency(t, &samples[i], medians[i]);
		i++;
	}
	arena_free(arena);
}

static void on_sweep(struct timer *timer)
{
	struct health_pool *hp = container_of(timer, struct health_pool, sweep);
	size_t n = 0;
	list_each (it, &hp->targets)
		n++;
	struct outlier_sample *samples = calloc(n + 1, sizeof(*samples));
	check(samples != NULL);
	n = 0;
	list_each (it, &hp->targets)
		take_sample(list_entry(it, struct health_target, link), &samples[n++]);
	sweep_pool(hp, samples, n);
	free(samples);
	loop_timer(hp->health->loop, &hp->sweep, hp->outlier.interval_us);
}

/* ---- following a generation ---- */

void target_watch_traffic(struct health_target *t)
{
	struct backend *b = t->backend;
	target_eject_init(t);
	target_begin_odd(t);
	for (unsigned i = 0; i < b->n_workers; i++) {
		t->swept_served += counter_get(&b->local[i]->fault.served);
		t->swept_faults += counter_get(&b->local[i]->fault.faults);
	}
	if (b->fault.watcher) /* known from an older generation, whose workers may read this */
		return;
	b->fault.watcher = t->health->loop;
	for (unsigned i = 0; i < b->n_workers; i++)
		b->local[i]->fault.letter.fn = on_letter;
}

void target_unwatch_traffic(struct health_target *t)
{
	timer_del(&t->back);
	target_free_odd(t);
	atomic_store(&t->backend->fault.limit, 0);
	atomic_store(&t->backend->fault.trial, TRIAL_OFF);
	atomic_store(&t->backend->health_share, SHARE_FULL);
}

void pool_stop_outlier(struct health_pool *hp)
{
	timer_del(&hp->sweep);
	timer_del(&hp->odd_look);
}

void pool_follow_outlier(struct health_pool *hp, const struct conf_outlier *conf)
{
	uint32_t limit = conf->on ? conf->consecutive_errors : 0;
	bool was_on = hp->outlier.on, same_interval = hp->outlier.interval_us == conf->interval_us;
	hp->outlier = *conf;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		atomic_store(&t->backend->fault.limit, limit);
		if (conf->on)
			continue;
		atomic_store(&t->backend->health_share, SHARE_FULL);
		if (t->ejected || t->on_trial)
			target_bring_back(t, TRIAL_OFF, "outlier ejection was switched off");
	}
	hp->sweep.fn = on_sweep;
	if (!conf->on)
		timer_clear(&hp->sweep);
	else if (!was_on || !same_interval)
		loop_timer(hp->health->loop, &hp->sweep, conf->interval_us);
}
