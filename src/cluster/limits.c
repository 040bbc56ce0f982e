/* SPDX-License-Identifier: MIT */
/* What keys of shared rate limits used goes to Redis; the sum comes back. */
#include "limits.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/defs.h"
#include "weir/base/log.h"

#define TEXT_OF(x) #x
#define DIGITS(x) TEXT_OF(x)
#define KEY_MAX 300
#define WORDS_A_KEY 7 /* its name and ARGV */

/*
 * KEYS: of each limit's key.  ARGV, six for each: what was used (in us of the rate), how long
 * ago the first of it came, requests, the same as this node remembers them, how far ahead
 * the key was known to be, the most that it may be, which is negative when what is known
 * here counts as well.  By the server's clock.  Answers with how far each is ahead in us and
 * with a thousand times the demand of all.
 *
 * What stands there and was not written by this is nothing, and written over.
 *
 * A key that began to be used lag ago is charged from then on: the time that
 * passed meanwhile was its own.
 */
static const char script[] =
    "local t=redis.call('TIME') local now=t[1]*1000000+t[2] local out={} "
    "for i,k in ipairs(KEYS) do local j=(i-1)*6 "
    "local used,lag,demand=tonumber(ARGV[j+1]),tonumber(ARGV[j+2]),tonumber(ARGV[j+3]) "
    "local all,ahead,most=tonumber(ARGV[j+4]),tonumber(ARGV[j+5]),tonumber(ARGV[j+6]) "
    "local g,e=now-lag,0 local s=redis.pcall('GET',k) local a,b,c "
    "if type(s)=='string' then a,b,c=string.match(s,'^(%d+) (%d+%.%d+) (%d+)$') end "
    "if a then g=math.max(g,tonumber(a)) "
    "e=tonumber(b)*math.exp(math.min(0,tonumber(c)-now)/" DIGITS(
	QUOTA_MEMORY_US) ")+demand "
			 "else e=all if ahead>0 then g=now+ahead end end "
			 "if most<0 then g=math.max(g,now+ahead) end "
			 "g=math.min(g+used,now+math.abs(most)) "
			 "redis.call('SET',k,string.format('%.0f %.3f %.0f',g,e,now),'PX',"
			 "string.format('%.0f',math.max(0,g-now)/1000+10000)) "
			 "out[#out+1]=math.floor(g-now) out[#out+1]=math.floor(e*1000) end return "
			 "out";

/* ---- answers ---- */

static void set_alone(struct limits *l, bool alone)
{
	if (l->alone != alone && alone)
		log_warn("shared.redis does not answer in time: rate limits that are shared keep "
			 "1/%u here",
			 l->n_nodes);
	else if (l->alone != alone)
		log_info("rate limits are shared again");
	l->alone = alone;
}

static bool take_one(const struct quota_report *report, const redisReply *ahead,
		     const redisReply *demand, uint64_t now_us)
{
	if (ahead->type != REDIS_REPLY_INTEGER || demand->type != REDIS_REPLY_INTEGER)
		return false;
	quota_answer(report, (double)ahead->integer, (double)demand->integer / 1000, now_us);
	return true;
}

static void on_answer(void *arg, const redisReply *reply)
{
	struct limits_batch *batch = arg;
	size_t n = batch->n;
	uint64_t now_us = clock_us();
	batch->n = 0;
	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 * n) {
		set_alone(batch->of, true);
		quota_alone(batch->of->n_nodes, now_us);
		return;
	}
	/* what is as old as that says little about now */
	if (now_us - batch->asked_us > LIMITS_LATE_US)
		return;
	set_alone(batch->of, false);
	for (size_t i = 0; i < n; i++)
		if (!take_one(&batch->rows[i], reply->element[2 * i], reply->element[2 * i + 1],
			      now_us))
			return;
}

/* ---- questions ---- */

struct words {
	struct view at[3 + LIMITS_BATCH * WORDS_A_KEY];
	size_t n;
	struct str room; /* fixed; of what is written */
};

static void add_word(struct words *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_word(struct words *w, const char *fmt, ...)
{
	size_t from = w->room.len;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&w->room, fmt, ap);
	va_end(ap);
	w->at[w->n++] = view_of(w->room.ptr + from, w->room.len - from);
}

static void add_numbers(struct words *w, const struct quota_report *r)
{
	add_word(w, "%.0f", r->used_us);
	add_word(w, "%.0f", r->lag_us);
	add_word(w, "%.0f", r->demand);
	add_word(w, "%.3f", r->all_us);
	add_word(w, "%.0f", r->ahead_us);
	add_word(w, "%.0f", r->begins_anew ? -r->most_us : r->most_us);
}

static bool ask(struct limits *l, struct limits_batch *batch, uint64_t now_us)
{
	/* of the control thread alone; a command is copied when it is asked */
	static char room[LIMITS_BATCH * (KEY_MAX + 6 * 24)];
	static struct words w;
	w.n = 0;
	w.room = str_fixed(room, sizeof(room));
	w.at[w.n++] = VIEW("EVAL");
	w.at[w.n++] = VIEW(script);
	add_word(&w, "%zu", batch->n);
	for (size_t i = 0; i < batch->n; i++)
		add_word(&w, "{" VIEW_FMT "}:limit:%016llx", VIEW_ARG(l->prefix),
			 (unsigned long long)batch->rows[i].name);
	for (size_t i = 0; i < batch->n; i++)
		add_numbers(&w, &batch->rows[i]);
	batch->asked_us = now_us;
	return !w.room.overflow && redis_ask(l->redis, REDIS_LIMITS, on_answer, batch, w.at, w.n);
}

/* False: nobody takes it. */
static bool ask_one(struct limits *l, struct limits_batch *batch, uint64_t now_us)
{
	batch->n = quota_collect(batch->rows, LIMITS_BATCH, now_us);
	if (!batch->n || ask(l, batch, now_us))
		return true;
	batch->n = 0;
	return false;
}

static bool is_late(const struct limits *l, uint64_t now_us)
{
	for (size_t i = 0; i < LIMITS_BATCHES; i++)
		if (l->batches[i].n && now_us - l->batches[i].asked_us > LIMITS_LATE_US)
			return true;
	return false;
}

static void go_alone(struct limits *l, uint64_t now_us)
{
	if (quota_count())
		set_alone(l, true);
	quota_alone(l->n_nodes, now_us);
}

static void on_timer(struct timer *timer)
{
	struct limits *l = container_of(timer, struct limits, timer);
	uint64_t now_us = clock_us();
	/* by chance, or one node would always come first */
	timer_set(&l->loop->timers, timer,
		  now_us + LIMITS_EVERY_US * 4 / 5 + rng_below(&l->rng, LIMITS_EVERY_US * 2 / 5));
	if (!redis_is_ready(l->redis) || is_late(l, now_us)) {
		go_alone(l, now_us);
		return;
	}
	for (size_t i = 0; i < LIMITS_BATCHES; i++) {
		if (l->batches[i].n)
			continue;
		if (!ask_one(l, &l->batches[i], now_us))
			go_alone(l, now_us);
		else if (i == 0 && !l->batches[i].n)
			set_alone(l, false); /* nobody is limited, somebody would be heard */
		if (l->batches[i].n + 64 <= LIMITS_BATCH)
			return; /* that was all */
	}
}

/* ---- life ---- */

void limits_init(struct limits *l, struct redis *redis, struct loop *loop)
{
	*l = (struct limits){.redis = redis, .loop = loop, .n_nodes = 1};
	l->timer.fn = on_timer;
	rng_init(&l->rng, rng_entropy());
	for (size_t i = 0; i < LIMITS_BATCHES; i++)
		l->batches[i].of = l;
}

void limits_fini(struct limits *l)
{
	timer_del(&l->timer);
}

void limits_follow(struct limits *l, struct view prefix)
{
	bool on = prefix.len > 0;
	l->prefix = prefix;
	if (on && !l->timer.deadline_us)
		timer_set(&l->loop->timers, &l->timer, clock_us() + LIMITS_EVERY_US);
	else if (!on)
		timer_clear(&l->timer);
	if (!on)
		l->alone = false;
}

void limits_set_nodes(struct limits *l, unsigned n_nodes)
{
	l->n_nodes = n_nodes;
	quota_set_nodes(n_nodes);
}
