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
#define NUMBERS 11     /* of a key in ARGV */
#define NUMBERS_BACK 3 /* of a key in the answer */
#define WORDS_A_KEY (1 + NUMBERS)
/* What all this costs the server is bounded: of a key, of a node that has any. */
#define A_KEY_US 200
#define A_NODE_US 2000
/* Who wakes tells so much later, with others that wake. */
#define WOKEN_US 1000

/*
 * KEYS: of each limit's key.  ARGV, eleven for each: what was used (in us of the rate), how long
 * ago the first of it came, requests, the same as this node remembers them, how far ahead
 * the key was known to be, the most that it may be, which is negative when what is known
 * here counts as well, what it was lent, the burst, which part of what is left it may have at
 * most, what it could let through at once, a request.  By the server's clock.  Answers with how
 * far each is ahead in us, a thousand times the demand of all, and what is lent: that counts as
 * used until it is given back.  Who has a part of the demand has it of what nobody has yet.
 *
 * What stands there and was not written by this is nothing, and written over.
 * A clock that stands before what was written last was set back, and so is what was written.
 *
 * A key that began to be used lag ago is charged from then on: the time that
 * passed meanwhile was its own.
 */
static const char script[] = "local numbers,memory=" DIGITS(NUMBERS) "," DIGITS(
    QUOTA_MEMORY_US) " "
		     "local t=redis.call('TIME') local now=t[1]*1000000+t[2] local out={} "
		     "for i,k in ipairs(KEYS) do local n={} "
		     "for j=1,numbers do n[j]=tonumber(ARGV[(i-1)*numbers+j]) end "
		     "local used,lag,demand,all,ahead,most=n[1],n[2],n[3],n[4],n[5],n[6] "
		     "local lent,burst,part,own,one=n[7],n[8],n[9],n[10],n[11] "
		     "local g,e,lease=now-lag,0,0 local s=redis.pcall('GET',k) local a,b,c "
		     "if type(s)=='string' then a,b,c=string.match(s,'^(%d+) (%d+%.%d+) (%d+)$') "
		     "end "
		     "if a then local back=math.max(0,tonumber(c)-now) "
		     "g=math.max(g,tonumber(a)-lent-back) "
		     "e=tonumber(b)*math.exp(math.min(0,tonumber(c)-now)/memory)+demand "
		     "else e=all if ahead>0 then g=now+ahead end end "
		     "if most<0 then g=math.max(g,now+ahead) end "
		     "g=math.min(g+used,now+math.abs(most)) "
		     "if demand>0 and e>0 then part=math.min(part,all/e) "
		     "lease=own+part*(math.min(burst,burst-(g-now))-own) "
		     "if lease>part*burst then lease=math.max(part*burst,math.min(own,one)) end "
		     "end "
		     "lease=math.floor(lease) "
		     "out[#out+1]=math.floor(g-now) out[#out+1]=math.floor(e*1000) "
		     "out[#out+1]=lease "
		     "g=g+lease redis.call('SET',k,string.format('%.0f %.3f %.0f',g,e,now),'PX',"
		     "string.format('%.0f',math.max(0,g-now)/1000+10000)) end return out";

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

static bool is_answer(const redisReply *reply, size_t n)
{
	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (reply->element[i]->type != REDIS_REPLY_INTEGER)
			return false;
	return true;
}

static void take_one(const struct quota_report *report, redisReply *const *numbers, bool late,
		     uint64_t now_us)
{
	struct quota_answer answer = {.ahead_us = (double)numbers[0]->integer,
				      .demand = (double)numbers[1]->integer / 1000,
				      .lease_us = (double)numbers[2]->integer};
	if (late)
		quota_answer_late(report, &answer);
	else
		quota_answer(report, &answer, now_us);
}

static void on_answer(void *arg, const redisReply *reply)
{
	struct limits_batch *batch = arg;
	size_t n = batch->n;
	uint64_t now_us = clock_us();
	batch->n = 0;
	if (!is_answer(reply, NUMBERS_BACK * n)) {
		set_alone(batch->of, true);
		quota_alone(batch->of->n_nodes, now_us);
		return;
	}
	/* what is as old as that says little about now */
	bool late = now_us - batch->asked_us > LIMITS_LATE_US;
	if (!late)
		set_alone(batch->of, false);
	for (size_t i = 0; i < n; i++)
		take_one(&batch->rows[i], &reply->element[NUMBERS_BACK * i], late, now_us);
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
	add_word(w, "%.0f", r->lease_us);
	add_word(w, "%.0f", r->burst_us);
	add_word(w, "%.6f", r->most_part);
	add_word(w, "%.0f", r->left_us);
	add_word(w, "%.3f", r->one_us);
}

static bool ask(struct limits *l, struct limits_batch *batch, redis_done *done, uint64_t now_us)
{
	/* of the control thread alone; a command is copied when it is asked */
	static char room[LIMITS_BATCH * (KEY_MAX + NUMBERS * 24)];
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
	return !w.room.overflow && redis_ask(l->redis, REDIS_LIMITS, done, batch, w.at, w.n);
}

/* False: nobody takes it. */
static bool ask_one(struct limits *l, struct limits_batch *batch, uint64_t now_us)
{
	batch->n = quota_collect(batch->rows, LIMITS_BATCH, now_us);
	if (!batch->n || ask(l, batch, on_answer, now_us))
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

/* By chance, or one node would always come first. */
static void set_timer(struct limits *l, uint64_t now_us, size_t n_told)
{
	/* who wakes is heard at once */
	uint64_t every_us = quota_count() ? LIMITS_EVERY_US : LIMITS_SELDOM_US;
	if (n_told * A_KEY_US > every_us)
		every_us = n_told * A_KEY_US;
	if (l->n_nodes * A_NODE_US > every_us)
		every_us = l->n_nodes * A_NODE_US;
	if (every_us > LIMITS_SELDOM_US)
		every_us = LIMITS_SELDOM_US;
	timer_set(&l->loop->timers, &l->timer,
		  now_us + every_us * 4 / 5 + rng_below(&l->rng, (uint32_t)every_us * 2 / 5));
}

/* Tells what there is to tell; how many keys that were. */
static size_t tell_all(struct limits *l, uint64_t now_us)
{
	size_t n_told = 0;
	if (!redis_is_ready(l->redis) || is_late(l, now_us)) {
		go_alone(l, now_us);
		return 0;
	}
	quota_together();
	for (size_t i = 0; i < LIMITS_BATCHES; i++) {
		if (l->batches[i].n)
			continue;
		if (!ask_one(l, &l->batches[i], now_us))
			go_alone(l, now_us);
		else if (i == 0 && !l->batches[i].n)
			set_alone(l, false); /* nobody is limited, somebody would be heard */
		n_told += l->batches[i].n;
		if (l->batches[i].n + 64 <= LIMITS_BATCH)
			break; /* that was all */
	}
	return n_told;
}

static void on_timer(struct timer *timer)
{
	struct limits *l = container_of(timer, struct limits, timer);
	uint64_t now_us = clock_us();
	set_timer(l, now_us, tell_all(l, now_us));
}

/* A key that was silent is used: it need not wait for its answer until the timer comes. */
static void on_knock(struct loop *loop, struct mail *mail)
{
	struct limits *l = container_of(mail, struct limits, knock);
	uint64_t soon_us = clock_us() + WOKEN_US;
	if (l->timer.deadline_us > soon_us)
		timer_set(&loop->timers, &l->timer, soon_us);
}

/* ---- life ---- */

static void on_given_back(void *arg, const redisReply *reply)
{
	(void)arg;
	(void)reply;
}

void limits_give_back(struct limits *l)
{
	static struct limits_batch batch;
	uint64_t now_us = clock_us();
	l->alone = true; /* that a question is never answered now is no news */
	quota_end();
	do
		batch.n = quota_collect(batch.rows, LIMITS_BATCH, now_us);
	while (batch.n && ask(l, &batch, on_given_back, now_us));
}

void limits_init(struct limits *l, struct redis *redis, struct loop *loop)
{
	*l = (struct limits){.redis = redis, .loop = loop, .n_nodes = 1, .knock.fn = on_knock};
	quota_listen(loop, &l->knock);
	l->timer.fn = on_timer;
	rng_init(&l->rng, rng_entropy());
	for (size_t i = 0; i < LIMITS_BATCHES; i++)
		l->batches[i].of = l;
}

void limits_fini(struct limits *l)
{
	quota_listen(NULL, NULL);
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
