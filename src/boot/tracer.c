/* SPDX-License-Identifier: MIT */
/* Spans from the workers' rings to the collector: batches, time-outs, another try; never a wait. */
#include "tracer.h"

#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "otlp.h"
#include "partial.h"
#include "tracer_settings.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/http/retry_after.h"
#include "weir/proxy/trace_record.h"

#define TRACER_MAGIC 0x54524331
#define ANSWER_MAX (64 * 1024)
/* 1 s, 2 s, ... 30 s: half a minute of trying, then fresh spans are worth more. */
#define TRIES_MAX 6
#define BACKOFF_US UINT64_C(1000000)
#define BACKOFF_MAX_US UINT64_C(30000000)
#define RETRY_AFTER_MAX_US UINT64_C(300000000)

/*
 *          the interval, or more than one batch         no answer, or one that may change
 *   IDLE ---------------------------------> ASKING ---------------------------------------> BACKOFF
 *    ^                                       |  ^                                            |
 *    +------- answered, refused, or given up +  +--------------- backoff_us later -----------+
 *
 *   IDLE     spans gather in the rings; also after a reload   tracing.interval, or none when off
 *   ASKING   `batch` is with the collector                    the request's own
 *   BACKOFF  `batch` waits for another try                    backoff_us
 */
enum tracer_state { TRACER_IDLE, TRACER_ASKING, TRACER_BACKOFF };

struct tracer {
	uint32_t magic;
	enum tracer_state state;
	struct control *control;
	struct tracer_settings now, next; /* next: of a configuration that is being prepared */
	struct timer timer;
	struct fetcher fetcher;
	struct fetch *fetch; /* ASKING */
	struct str batch;    /* owns */
	bool cut_last;       /* the rings hold more than went into it */
	unsigned n_spans, n_tries;
	uint64_t backoff_us; /* BACKOFF: how long */
	struct rng rng;
	struct trace_counters {
#define COUNTER(name, sentence) uint64_t name;
#include "weir/tbl/trace_counters.def"
#undef COUNTER
	} counters;
	char why[160]; /* the last failure; empty: the last request was answered well */
	char record[TRACE_RECORD_MAX];
};

static void look(struct tracer *t);

/* The only way to change its state; a request has its own deadline. */
static void set_state(struct tracer *t, enum tracer_state state)
{
	uint64_t after_us = 0;
	t->state = state;
	if (state == TRACER_IDLE && t->now.conf.on)
		after_us = t->now.conf.interval_us;
	else if (state == TRACER_BACKOFF)
		after_us = t->backoff_us;
	/* the loop's time may be old: filling a batch takes a while */
	if (after_us)
		timer_set(&t->control->loop.timers, &t->timer, clock_us() + after_us);
	else
		timer_clear(&t->timer);
}

/* ---- the batch ---- */

/* One record; 0: the ring is empty. */
static unsigned take_record(struct tracer *t, struct ring *ring, struct otlp *o, uint64_t offset_us)
{
	struct trace_record r;
	if (ring_len(ring) < sizeof(r))
		return 0;
	ring_copy(ring, &r, sizeof(r));
	check(r.len <= sizeof(t->record) && r.len <= ring_len(ring));
	ring_copy(ring, t->record, r.len);
	ring_took(ring, r.len);
	return otlp_add(o, t->record, offset_us);
}

/* Takes from all workers in turn, so that a busy one does not crowd out others. */
static unsigned take_round(struct tracer *t, struct otlp *o, uint64_t offset_us)
{
	unsigned n = 0;
	for (unsigned i = 0; i < t->control->n_workers; i++)
		n += take_record(t, t->control->workers[i]->trace_ring, o, offset_us);
	return n;
}

static void fill(struct tracer *t)
{
	struct otlp o;
	uint64_t offset_us = clock_wall_us() - clock_us();
	unsigned n = 1;
	str_reset(&t->batch);
	otlp_begin(&o, &t->batch, t->now.conf.service);
	t->n_spans = t->n_tries = 0;
	while (t->n_spans < t->now.conf.batch && n) {
		n = take_round(t, &o, offset_us);
		t->n_spans += n;
	}
	t->cut_last = n > 0;
	otlp_end(&o);
	if (t->batch.overflow) { /* no memory: half a batch is none */
		t->counters.spans_lost += t->n_spans;
		t->n_spans = 0;
	}
}

static bool rings_are_empty(const struct tracer *t)
{
	for (unsigned i = 0; i < t->control->n_workers; i++)
		if (t->control->workers[i]->trace_ring &&
		    ring_len(t->control->workers[i]->trace_ring))
			return false;
	return true;
}

/* ---- the end of a request ---- */

/* On to the next one, at once when there is more than fitted. */
static void done(struct tracer *t)
{
	t->n_spans = 0;
	set_state(t, TRACER_IDLE);
	if (t->cut_last)
		look(t);
}

PRINTF_LIKE(2, 3) static void note(struct tracer *t, const char *fmt, ...)
{
	bool first = !t->why[0];
	struct str text = str_fixed(t->why, sizeof(t->why));
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	if (first)
		log_warn("spans cannot be sent to " VIEW_FMT ": %s",
			 VIEW_ARG(t->now.conf.endpoint.text), t->why);
}

static void again(struct tracer *t, uint64_t asked_us)
{
	t->counters.requests_failed++;
	if (++t->n_tries >= TRIES_MAX) {
		t->counters.spans_lost += t->n_spans;
		t->cut_last = false; /* no hurry with the next */
		done(t);
		return;
	}
	uint64_t us = BACKOFF_US << (t->n_tries - 1);
	us = us < BACKOFF_MAX_US ? us : BACKOFF_MAX_US;
	us = us / 2 + rng_next(&t->rng) % (us / 2);
	t->backoff_us = asked_us ? asked_us : us;
	set_state(t, TRACER_BACKOFF);
}

static void taken(struct tracer *t, struct view body)
{
	struct partial partial;
	partial_parse(body, &partial);
	uint64_t refused = partial.rejected < t->n_spans ? partial.rejected : t->n_spans;
	t->counters.spans_sent += t->n_spans - refused;
	t->counters.spans_refused += refused;
	if (refused) {
		note(t, "the collector refused %llu spans: %s", (unsigned long long)refused,
		     partial.message);
		return;
	}
	if (t->why[0])
		log_info("spans are sent to " VIEW_FMT " again",
			 VIEW_ARG(t->now.conf.endpoint.text));
	t->why[0] = '\0';
}

static bool is_temporary(unsigned status)
{
	return status == 429 || status == 502 || status == 503 || status == 504;
}

static uint64_t retry_after(struct message *msg)
{
	struct header *h = msg ? message_find(msg, HDR_RETRY_AFTER) : NULL;
	uint64_t seconds = h ? retry_after_s(h->value, clock_wall_us() / 1000000) : 0;
	return seconds < 300 ? seconds * 1000000 : RETRY_AFTER_MAX_US;
}

static void on_answer(struct tracer *t, const struct fetch_answer *answer)
{
	t->counters.requests++;
	if (is_temporary(answer->status)) {
		note(t, "the collector answered %u", answer->status);
		again(t, retry_after(answer->msg));
		return;
	}
	if (answer->status >= 200 && answer->status < 300) {
		taken(t, answer->body);
	} else {
		t->counters.spans_refused += t->n_spans;
		note(t, "the collector answered %u", answer->status);
	}
	done(t);
}

static void on_done(void *arg, const struct fetch_answer *answer)
{
	struct tracer *t = arg;
	check_magic(t, TRACER_MAGIC);
	t->fetch = NULL;
	/* too long: its status has said what became of the spans */
	if (answer->end == FETCH_OK || (answer->end == FETCH_TOO_LONG && answer->status)) {
		on_answer(t, answer);
	} else {
		note(t, "%s", answer->why);
		again(t, 0);
	}
}

/* ---- the request ---- */

/* The batch that is there goes out. */
static void begin(struct tracer *t)
{
	set_state(t, TRACER_ASKING);
	t->fetch = fetch_begin(&t->fetcher, &(struct fetch_request){
						.method = VIEW("POST"),
						.url = t->now.conf.endpoint.text,
						.headers = t->now.headers,
						.body = str_as_view(&t->batch),
						.tls = t->now.tls,
						.timeout_us = t->now.conf.timeout_us,
						.body_max = ANSWER_MAX,
						.keep = true,
						.repeat = true, /* a span has an id */
						.done = on_done,
						.arg = t,
					    });
}

static void look(struct tracer *t)
{
	if (t->now.conf.on)
		fill(t);
	if (t->n_spans)
		begin(t);
	else
		set_state(t, TRACER_IDLE);
}

static void on_timer(struct timer *timer)
{
	struct tracer *t = container_of(timer, struct tracer, timer);
	check_magic(t, TRACER_MAGIC);
	if (t->state == TRACER_IDLE)
		look(t);
	else
		begin(t);
}

/* ---- configuration ---- */

static bool make_rings(struct control *control)
{
	for (unsigned i = 0; i < control->n_workers; i++) {
		struct worker *w = control->workers[i];
		if (w->trace_ring)
			continue;
		struct ring *ring = aligned_alloc(WEIR_CACHE_LINE, sizeof(*ring));
		if (!ring || !ring_init(ring, TRACE_RING_BYTES)) {
			free(ring);
			return false;
		}
		w->trace_ring = ring;
	}
	return true;
}

enum err tracer_prepare(struct tracer *t, const struct conf *conf, struct str *why)
{
	t->next = (struct tracer_settings){.arena = NULL};
	if (!conf->tracing.on)
		return ERR_OK;
	if (!tracer_settings_make(&t->next, &conf->tracing, &t->fetcher, why))
		return ERR_IO;
	if (make_rings(t->control))
		return ERR_OK;
	tracer_cancel(t);
	str_text(why, "no memory for tracing\n");
	return ERR_NOMEM;
}

void tracer_cancel(struct tracer *t)
{
	tracer_settings_fini(&t->next);
}

/* What is under way begins anew with the new settings, unless they are none. */
void tracer_commit(struct tracer *t)
{
	fetch_cancel(t->fetch);
	t->fetch = NULL;
	fetcher_forget(&t->fetcher);
	tracer_settings_fini(&t->now);
	t->now = t->next;
	t->next = (struct tracer_settings){.arena = NULL};
	if (!t->now.conf.on) {
		t->counters.spans_lost += t->n_spans;
		t->n_spans = 0;
	}
	set_state(t, TRACER_IDLE);
	if (t->n_spans)
		begin(t);
}

bool tracer_is_done(struct tracer *t)
{
	if (t->now.conf.on && t->state == TRACER_IDLE && !rings_are_empty(t))
		look(t);
	return t->state == TRACER_IDLE || t->state == TRACER_BACKOFF;
}

/* ---- life ---- */

struct tracer *tracer_new(struct control *control)
{
	struct tracer *t = calloc(1, sizeof(*t));
	check(t != NULL);
	t->magic = TRACER_MAGIC;
	t->control = control;
	t->timer.fn = on_timer;
	t->batch = STR_INIT;
	rng_init(&t->rng, rng_entropy());
	fetcher_init(&t->fetcher, &control->loop);
	return t;
}

void tracer_free(struct tracer *t)
{
	if (!t)
		return;
	timer_del(&t->timer);
	tracer_settings_fini(&t->now);
	fetcher_fini(&t->fetcher);
	str_fini(&t->batch);
	t->magic = 0;
	free(t);
}

void tracer_status(const struct tracer *t, struct arena *arena, struct admin_status *out)
{
	const struct admin_counter rows[] = {
#define COUNTER(name, sentence) {#name, sentence, t->counters.name},
#include "weir/tbl/trace_counters.def"
#undef COUNTER
	};
	struct admin_counter *copy = arena_array(arena, ARRAY_LEN(rows), sizeof(*copy));
	memcpy(copy, rows, sizeof(rows));
	out->tracing.on = t->now.conf.on;
	out->tracing.endpoint = mask_query(arena, t->now.conf.endpoint.text);
	out->tracing.why = view_str(t->why);
	out->tracing.counters = copy;
	out->tracing.n_counters = ARRAY_LEN(rows);
	for (unsigned i = 0; i < t->control->n_workers; i++)
		if (t->control->workers[i]->trace_ring)
			out->tracing.waiting_bytes += ring_len(t->control->workers[i]->trace_ring);
}

/* ---- for the process that takes over ---- */

void tracer_pack(const struct tracer *t, struct str *out)
{
#define COUNTER(name, sentence)          \
	pack_view(out, view_str(#name)); \
	pack_u64(out, t->counters.name);
#include "weir/tbl/trace_counters.def"
#undef COUNTER
}

void tracer_unpack(struct unpack *in, struct tracer *t)
{
	while (in->left && !in->bad) {
		struct view of = unpack_view(in);
		uint64_t n = unpack_u64(in);
#define COUNTER(name, sentence)           \
	if (view_eq(of, view_str(#name))) \
		t->counters.name += n;
#include "weir/tbl/trace_counters.def"
#undef COUNTER
	}
}
