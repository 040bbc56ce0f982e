/* SPDX-License-Identifier: MIT */
/*
 * Ejections, whoever asks for them: traffic (traffic.c) or the comparison with others
 * (odd.c).
 *
 *   in --errors in a row, or a sweep finds it far off--> ejected
 *   ejected --its time is over--> on trial --one request succeeded--> in
 *                                     |
 *                                     +--it failed--> ejected, for longer
 *
 * Workers count and, when it is urgent, write a letter (pool/fault.h).  Only this
 * thread ejects, so that the share of a pool that may be out at once is kept.
 */
#include "target.h"

#define JITTER_MAX_US 5000000
/* So long after an ejection every worker has heard of it, or is asked again whether it has. */
#define CLOSED_US 200000

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
		n_left += other != t && other->weight > 0 && !other->on_trial &&
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

void target_set_trial(struct health_target *t, enum trial trial)
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
	target_set_trial(t, TRIAL_CLOSED);
	uint64_t us = eject_time_us(t), closed = us / 2 < CLOSED_US ? us / 2 : CLOSED_US;
	t->back_at_us = t->health->loop->now_us + us;
	t->open_at_us = t->health->loop->now_us + closed;
	loop_timer(t->health->loop, &t->back, closed);
	odd_ejected(t, cause);
	target_settle(t, t->eject_reason);
	if (t->health->host.said)
		t->told_by = t->health->host.said(t->health->host.ctx);
}

bool target_all_know(const struct health_target *t)
{
	const struct health_host *host = &t->health->host;
	return t->health->loop->now_us >= t->open_at_us &&
	       (!host->seen || host->seen(host->ctx) >= t->told_by);
}

void target_bring_back(struct health_target *t, enum trial trial, const char *why)
{
	timer_clear(&t->back);
	atomic_store(&t->backend->fault.row, 0);
	target_set_trial(t, trial);
	t->ejected = false;
	odd_back(t);
	target_settle(t, why);
}

static void on_back(struct timer *timer)
{
	struct health_target *t = container_of(timer, struct health_target, back);
	uint64_t now = t->health->loop->now_us;
	if (now < t->back_at_us && !target_all_know(t)) { /* a busy machine */
		uint64_t left = t->back_at_us - now;
		loop_timer(t->health->loop, &t->back, left < CLOSED_US ? left : CLOSED_US);
		return;
	}
	if (now < t->back_at_us) { /* workers pass it over by now; panic may want it */
		target_set_trial(t, TRIAL_OFF);
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

void target_eject_init(struct health_target *t)
{
	t->back.fn = on_back;
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
