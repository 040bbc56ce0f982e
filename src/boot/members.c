/* SPDX-License-Identifier: MIT */
/* From what sources name to generations. */
#include "members.h"

#include <signal.h>
#include <stdlib.h>

#include "control.h"

#include "weir/base/check.h"
#include "weir/fetch/fetch.h"

/* The first change waits a moment for others. */
#define SETTLE_US UINT64_C(20000)
/* From one generation to the next at least, and so many times what the last one took. */
#define GAP_US UINT64_C(100000)
#define GAP_FACTOR 10
/* How long the start waits for first answers. */
#define BEGIN_US UINT64_C(1000000)

struct members {
	struct control *control;
	enum err (*rebuild)(struct control *control, struct str *why);
	struct fetcher fetcher;
	struct discover *discover;
	struct timer timer; /* set: a generation is due */
	uint64_t free_us;   /* not before then */
	struct str trouble; /* owns */
	bool late;          /* of members_begin */
};

static void rebuild_now(struct members *m)
{
	struct control *control = m->control;
	struct str why = STR_INIT;
	uint64_t began = clock_us();
	if (!control->current || control->state == CONTROL_STOPPING)
		return;
	str_reset(&m->trouble);
	if (m->rebuild(control, &why)) {
		str_view(&m->trouble, str_as_view(&why));
		log_warn("members are others, but no generation can be made of them: " VIEW_FMT,
			 VIEW_ARG(str_as_view(&why)));
	}
	str_fini(&why);
	uint64_t now = clock_us(), gap = GAP_FACTOR * (now - began);
	m->free_us = now + (gap > GAP_US ? gap : GAP_US);
}

static void on_timer(struct timer *timer)
{
	rebuild_now(container_of(timer, struct members, timer));
}

static void on_changed(void *ctx)
{
	struct members *m = ctx;
	uint64_t due = clock_us() + SETTLE_US;
	if (!timer_is_set(&m->timer))
		timer_set(&m->control->loop.timers, &m->timer, due > m->free_us ? due : m->free_us);
}

static void on_news(void *ctx, const struct discover_news *news)
{
	struct str text = STR_INIT;
	(void)ctx;
	str_printf(&text, "%s " VIEW_FMT ": ", news->kind, VIEW_ARG(news->text));
	if (news->error)
		str_text(&text, news->error);
	else
		str_printf(&text, "%s%zu member%s", news->recovered ? "answers again: " : "",
			   news->n - news->n_gone, news->n - news->n_gone == 1 ? "" : "s");
	if (news->n_new)
		str_printf(&text, ", %zu new", news->n_new);
	if (news->n_gone)
		str_printf(&text, ", %zu gone", news->n_gone);
	event_add(EVENT_SOURCE, news->pool, news->member, "%s", text.ptr);
	log_line(news->error ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "pool " VIEW_FMT ": %s",
		 VIEW_ARG(news->pool), text.ptr);
	str_fini(&text);
}

/* ---- life ---- */

struct members *members_new(struct control *control,
			    enum err (*rebuild)(struct control *control, struct str *why))
{
	struct members *m = calloc(1, sizeof(*m));
	check(m != NULL);
	m->control = control;
	m->rebuild = rebuild;
	m->timer.fn = on_timer;
	m->trouble = STR_INIT;
	fetcher_init(&m->fetcher, &control->loop);
	m->discover =
	    discover_new(&control->loop, &m->fetcher,
			 &(struct discover_host){.ctx = m, .changed = on_changed, .news = on_news});
	return m;
}

void members_free(struct members *m)
{
	if (!m)
		return;
	discover_free(m->discover);
	fetcher_fini(&m->fetcher);
	timer_del(&m->timer);
	str_fini(&m->trouble);
	free(m);
}

void members_prepare(struct members *m, const struct conf *conf)
{
	discover_prepare(m->discover, conf);
}

void members_cancel(struct members *m)
{
	discover_cancel(m->discover);
}

void members_commit(struct members *m)
{
	discover_commit(m->discover);
}

static void on_late(struct ev_loop *ev, ev_timer *timer, int revents)
{
	(void)ev;
	(void)revents;
	((struct members *)timer->data)->late = true;
}

void members_begin(struct members *m)
{
	struct ev_loop *ev = m->control->loop.ev;
	sigset_t all, before;
	ev_timer late;
	discover_commit(m->discover);
	if (discover_settled(m->discover))
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ev_timer_init(&late, on_late, BEGIN_US / 1e6, 0.0);
	late.data = m;
	ev_timer_start(ev, &late);
	while (!m->late && !discover_settled(m->discover))
		ev_run(ev, EVRUN_ONCE);
	ev_timer_stop(ev, &late);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

const struct conf_pool *members_pool(struct members *m, const struct conf_pool *conf,
				     struct arena *arena)
{
	return discover_pool(m->discover, conf, arena);
}

static bool is_idle(void *ctx, struct view pool, struct view name)
{
	const struct generation *gen = ((struct control *)ctx)->current;
	for (uint32_t i = 0; i < gen->n_pools; i++) {
		if (!view_eq(gen->pools[i].conf->name, pool))
			continue;
		int32_t k = pool_backend_index(&gen->pools[i], name);
		return k < 0 || backend_is_idle(gen->pools[i].backends[k]);
	}
	return true;
}

void members_tick(struct members *m)
{
	discover_sweep(m->discover, is_idle, m->control);
	if (m->trouble.len)
		on_changed(m);
}

struct discover *members_discover(struct members *m)
{
	return m->discover;
}

struct fetcher *members_fetcher(struct members *m)
{
	return &m->fetcher;
}

struct view members_trouble(const struct members *m)
{
	return str_as_view(&m->trouble);
}
