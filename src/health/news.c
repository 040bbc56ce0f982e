/* SPDX-License-Identifier: MIT */
/*
 * From the health thread to the control thread: what was found out about a backend.
 * Nobody waits for anybody: workers are told of a state by health itself, and people
 * whenever the control thread comes round to it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

#include "weir/base/check.h"

/* For the pool's verdict; "": it is not odd. */
static void odd_text(const struct health_target *t, char out[SCALING_ODD])
{
	const char *why = t->ejected ? t->eject_reason : t->odd.why;
	bool failed = t->ejected && !t->odd.is_cause;
	snprintf(out, SCALING_ODD, "%s%.*s", failed ? "was ejected: " : "", BACKEND_REASON_MAX - 1,
		 why);
}

static void write_news(struct health_target *t)
{
	struct health_news *n = &t->news;
	n->facts = t->facts;
	n->since_us = t->since_us;
	n->change.now = backend_state(t->backend);
	memcpy(n->reason, t->reason, sizeof(n->reason));
	n->ejected_for = t->eject_cause;
	memcpy(n->why, t->why, sizeof(n->why));
	if (t->note[0])
		memcpy(n->note, t->note, sizeof(n->note));
	t->note[0] = '\0';
	odd_text(t, n->odd);
}

static void put(struct health_target *t)
{
	write_news(t);
	t->news.stale = false;
	atomic_store_explicit(&t->news.away, true, memory_order_release);
	loop_post(t->health->host.loop, &t->news.mail);
}

void target_tell(struct health_target *t)
{
	if (!atomic_load_explicit(&t->news.away, memory_order_relaxed)) {
		put(t);
		return;
	}
	t->news.stale = true;
	if (t->health->control_waits) /* and reads nothing meanwhile */
		write_news(t);
}

void target_note(struct health_target *t, const char *what)
{
	snprintf(t->note, sizeof(t->note), "%s", what);
	target_tell(t);
	t->health->host.look(t->health->host.ctx);
}

/* ---- control thread ---- */

static void show(struct health_target *t)
{
	struct health_news *n = &t->news;
	struct backend *b = t->backend;
	const struct health_host *host = &t->health->host;
	n->shown = n->facts;
	b->since_us = n->since_us;
	memcpy(b->reason, n->reason, sizeof(b->reason));
	b->ejected_for = (uint8_t)n->ejected_for;
	if (b->scaling)
		scaling_part_odd(b->scaling, n->odd);
	if (n->change.now != n->shown_state) {
		n->change.was = n->shown_state;
		n->change.why = n->why;
		n->shown_state = n->change.now;
		host->changed(host->ctx, b, &n->change);
	}
	if (n->note[0])
		host->noted(host->ctx, b, n->note);
	n->note[0] = '\0';
}

void health_show(struct backend *b)
{
	if (b->health && atomic_load_explicit(&b->health->news.away, memory_order_acquire))
		show(b->health);
}

enum backend_state health_state(const struct backend *b)
{
	return b->health ? b->health->news.shown_state : backend_state(b);
}

const struct health_facts *health_facts(const struct backend *b)
{
	return b->health ? &b->health->news.shown : NULL;
}

/* ---- the letter's way ---- */

static void on_news(struct loop *loop, struct mail *mail);

/* Home again; health thread. */
static void on_home(struct loop *loop, struct mail *mail)
{
	struct health_target *t = container_of(mail, struct health_target, news.mail);
	(void)loop;
	if (t->news.gone) {
		free(t);
		return;
	}
	mail->fn = on_news;
	atomic_store_explicit(&t->news.away, false, memory_order_relaxed);
	if (t->news.stale)
		put(t);
}

static void on_news(struct loop *loop, struct mail *mail)
{
	struct health_target *t = container_of(mail, struct health_target, news.mail);
	(void)loop;
	if (t->news.gone) {
		free(t);
		return;
	}
	show(t);
	mail->fn = on_home;
	loop_post(t->health->loop, mail);
}

void target_news_init(struct health_target *t)
{
	t->news.mail.fn = on_news;
	t->news.shown_state = backend_state(t->backend);
}

void target_news_fini(struct health_target *t)
{
	if (atomic_load_explicit(&t->news.away, memory_order_relaxed))
		t->news.gone = true;
	else
		free(t);
}
