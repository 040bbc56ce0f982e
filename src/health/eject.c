/* SPDX-License-Identifier: MIT */
/*
 * What live traffic says about backends, and what follows from it.
 *
 *   in --errors in a row, or a sweep finds it far off--> ejected
 *   ejected --its time is over--> on trial --one request succeeded--> in
 *                                     |
 *                                     +--it failed--> ejected, for longer
 *
 * Workers count and, when it is urgent, write a letter (pool/fault.h).  Only this
 * thread ejects, so that the share of a pool that may be out at once is kept.
 *
 * A slow backend is not ejected: it gets a smaller share, and a larger one again
 * as soon as too little comes back to judge it by.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outlier.h"
#include "target.h"

#include "weir/base/check.h"

#define JITTER_MAX_US 5000000
/* So long after an ejection every worker has heard of it. */
#define CLOSED_US 200000
/* Sweeps in a row that must find a backend slow, and the least share it keeps. */
#define SLOW_SWEEPS 3
#define SLOW_SHARE_MIN (SHARE_FULL / 16)

const char *ejection_name(enum ejection cause)
{
	static const char *const names[] = {
#define EJECTION_NAME(symbol, sentence) #symbol,
	    EJECTION_ROWS(EJECTION_NAME)
#undef EJECTION_NAME
	};
	return (size_t)cause < ARRAY_LEN(names) ? names[cause] : "?";
}

/* ---- in and out ---- */

bool target_may_eject(const struct health_target *t)
{
	const struct health_pool *hp = t->pool;
	uint32_t n_out = 0, n_left = 0;
	list_each (it, &hp->targets) {
		const struct health_target *other = list_entry(it, struct health_target, link);
		n_out += other->ejected;
		n_left += other != t && other->weighted && !other->on_trial &&
			  backend_state(other->backend) == BACKEND_up;
	}
	if (n_left == 0 || hp->outlier.max_ejected <= 0)
		return false;
	return n_out == 0 || (double)(n_out + 1) <= hp->outlier.max_ejected * hp->n_targets;
}

static uint64_t eject_time_us(struct health_target *t)
{
	const struct conf_outlier *conf = &t->pool->outlier;
	uint64_t most = conf->max_eject_us > conf->eject_us ? conf->max_eject_us : conf->eject_us;
	uint64_t us = conf->eject_us * t->n_ejected;
	if (us > most)
		us = most;
	uint64_t jitter = us / 6 < JITTER_MAX_US ? us / 6 : JITTER_MAX_US;
	return us + jitter * (rng_next(&t->health->rng) >> 48) / 65536;
}

static void set_trial(struct health_target *t, enum trial trial)
{
	t->on_trial = trial == TRIAL_FREE;
	atomic_store(&t->backend->fault.trial, trial);
}

void target_eject(struct health_target *t, enum ejection cause)
{
	if (t->n_ejected < UINT32_MAX / 2)
		t->n_ejected++;
	t->ejected = true;
	t->ejected_us = t->health->loop->now_us;
	t->was_down = false;
	t->eject_broken = cause != EJECTION_odd && atomic_load(&t->backend->fault.broken);
	t->eject_cause = cause;
	t->facts.ejections[cause]++;
	set_trial(t, TRIAL_CLOSED);
	uint64_t us = eject_time_us(t), closed = us / 2 < CLOSED_US ? us / 2 : CLOSED_US;
	t->back_at_us = t->health->loop->now_us + us;
	t->open_at_us = t->health->loop->now_us + closed;
	loop_timer(t->health->loop, &t->back, closed);
	odd_ejected(t, cause);
	target_settle(t, t->eject_reason);
}

void target_bring_back(struct health_target *t, enum trial trial, const char *why)
{
	timer_clear(&t->back);
	atomic_store(&t->backend->fault.row, 0);
	set_trial(t, trial);
	t->ejected = false;
	odd_back(t);
	target_settle(t, why);
}

static void on_back(struct timer *timer)
{
	struct health_target *t = container_of(timer, struct health_target, back);
	uint64_t now = t->health->loop->now_us;
	if (now < t->back_at_us) { /* workers pass it over by now; panic may want it */
		set_trial(t, TRIAL_OFF);
		loop_timer(t->health->loop, &t->back, t->back_at_us - now);
		t->health->host.look(t->health->host.ctx); /* who has nobody else may be waiting */
		return;
	}
	if (odd_is_tried(t)) {
		loop_timer(t->health->loop, &t->back, t->pool->outlier.eject_us);
		return;
	}
	if (t->odd.is_cause) /* nobody came by who could have tried it */
		target_bring_back(t, TRIAL_OFF, "the ejection is over");
	else
		target_bring_back(t, TRIAL_FREE, "the ejection is over, one request tries it");
}

/*
 * What connections said, a check that began later answers: the backend was restarted,
 * or is within reach again.  Not a second time in a row, unless checks have seen it
 * down meanwhile: then they ask for something else than traffic does.
 */
void target_checked(struct health_target *t, bool ok, uint64_t began_us)
{
	t->was_down |= t->vitals.is == VITALS_DOWN;
	if (!t->ejected || !t->eject_broken || !ok || t->vitals.is != VITALS_UP ||
	    began_us < t->ejected_us || (t->eject_cause == EJECTION_trial && !t->was_down))
		return;
	target_bring_back(t, TRIAL_FREE, "its check passes again, one request tries it");
}

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
	if (t->ejected && t->health->loop->now_us < t->open_at_us)
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
		set_trial(t, TRIAL_FREE);
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
	t->back.fn = on_back;
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

/* ---- for the process that takes over ---- */

void target_stay_ejected(struct health_target *t, uint64_t back_at_us)
{
	uint64_t now = t->health->loop->now_us;
	if (!t->pool->outlier.on)
		return;
	t->ejected = true;
	t->open_at_us = now;
	t->back_at_us = back_at_us;
	odd_ejected(t, EJECTION_trial);
	loop_timer(t->health->loop, &t->back, back_at_us > now ? back_at_us - now : 1);
	target_settle(t, t->eject_reason);
}
