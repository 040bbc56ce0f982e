/* SPDX-License-Identifier: MIT */
/* Asking backends for their load (prequal): one kept connection each. */
#include "load.h"

#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/fetch/fetch.h"

#define BODY_MAX (64 * 1024)

/* One question for so many requests; the shortest and the longest time between two. */
#define REQUESTS_EACH 10
#define BUSY_US 10000
#define IDLE_US 1000000

/* Questions without a report in a row that are worth an event. */
#define LOST_ROW 5

struct load_probe {
	struct timer due;
	struct health_target *target; /* owns this */
	struct tls_client *tls;       /* borrows from its pool until the next load_follow */
	struct str url;               /* owns */
	uint64_t interval_us, timeout_us;
	struct fetch *fetch; /* NULL: nothing is asked */
	struct fetch_line line;
	unsigned lost_row;
};

static void disconnect(struct load_probe *p)
{
	fetch_cancel(p->fetch);
	p->fetch = NULL;
	fetch_line_drop(&p->line);
}

/* Picks go by weir's own counts then, which are never wrong, only incomplete. */
static void lose(struct load_probe *p, const char *why)
{
	char what[BACKEND_REASON_MAX];
	p->target->facts.n_loads_lost++;
	target_tell(p->target);
	if (++p->lost_row != LOST_ROW)
		return;
	struct str text = str_fixed(what, sizeof(what));
	str_printf(&text, "asked for its load %d times in vain: %s", LOST_ROW, why);
	target_note(p->target, what);
}

static void report(struct load_probe *p, struct view value)
{
	if (!pool_note_report(p->target->backend, value, clock_us())) {
		lose(p, "endpoint-load-metrics has no named_metrics.rif, or is malformed");
		return;
	}
	p->target->facts.n_loads++;
	target_tell(p->target);
	if (p->lost_row >= LOST_ROW)
		target_note(p->target, "says its load again");
	p->lost_row = 0;
}

/* What it has to say is in the head; the body only comes before the next answer. */
static void on_done(void *arg, const struct fetch_answer *answer)
{
	struct load_probe *p = arg;
	struct view value;
	p->fetch = NULL;
	if (answer->end == FETCH_TIMEOUT)
		lose(p, "no answer within prequal.timeout");
	else if (!answer->msg)
		lose(p, answer->why);
	else if (answer->status > 299 || !message_load_report(answer->msg, &value))
		lose(p, "the answer has no endpoint-load-metrics, or its status is not 2xx");
	else
		report(p, value);
}

static void ask(struct load_probe *p)
{
	struct health_target *t = p->target;
	p->fetch = fetch_begin(&t->health->prober.fetcher, &(struct fetch_request){
							       .method = VIEW("GET"),
							       .url = str_as_view(&p->url),
							       .at = t->backend->address_text,
							       .tls = p->tls,
							       .send_proxy = t->pool->send_proxy,
							       .timeout_us = p->timeout_us,
							       .body_max = BODY_MAX,
							       .keep = true,
							       .line = &p->line,
							       .done = on_done,
							       .arg = p,
							   });
}

/* More or less 5 %, so that backends do not fall into step. */
static uint64_t next_us(const struct load_probe *p)
{
	double rate =
	    (double)atomic_load_explicit(&p->target->backend->rate_milli, memory_order_relaxed) /
	    1000;
	uint64_t us = rate > 0 ? (uint64_t)(REQUESTS_EACH * 1e6 / rate) : IDLE_US;
	if (rate > 0 && us > p->interval_us)
		us = p->interval_us;
	if (us < BUSY_US)
		us = BUSY_US;
	return us - us / 20 + us / 10 * (rng_next(&p->target->health->rng) >> 48) / 65536;
}

static void on_due(struct timer *timer)
{
	struct load_probe *p = container_of(timer, struct load_probe, due);
	struct loop *loop = p->target->health->loop;
	enum backend_state state = backend_state(p->target->backend);
	loop_timer(loop, &p->due, next_us(p));
	if (state != BACKEND_up && state != BACKEND_unknown)
		disconnect(p);
	else if (!p->fetch)
		ask(p);
}

/* ---- life ---- */

static struct load_probe *probe_new(struct health_target *t)
{
	struct load_probe *p = calloc(1, sizeof(*p));
	check(p != NULL);
	p->target = t;
	p->url = STR_INIT;
	p->due.fn = on_due;
	loop_timer(t->health->loop, &p->due, BUSY_US + rng_next(&t->health->rng) % IDLE_US / 5);
	return p;
}

void load_follow(struct health_target *t, const struct conf_pool *conf, struct tls_client *tls)
{
	struct load_probe *p = t->load ? t->load : (t->load = probe_new(t));
	const struct backend *b = t->backend;
	struct view host = addr_is_unix(&b->address) ? VIEW("localhost") : b->address_text;
	disconnect(p);
	str_reset(&p->url);
	str_printf(&p->url, "http%s://" VIEW_FMT VIEW_FMT, tls ? "s" : "", VIEW_ARG(host),
		   VIEW_ARG(conf->prequal.path));
	check(!p->url.overflow);
	p->tls = tls;
	p->interval_us = conf->prequal.interval_us;
	p->timeout_us = conf->prequal.timeout_us;
}

void load_stop(struct health_target *t)
{
	struct load_probe *p = t->load;
	if (!p)
		return;
	disconnect(p);
	timer_del(&p->due);
	str_fini(&p->url);
	free(p);
	t->load = NULL;
}
