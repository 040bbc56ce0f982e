/* SPDX-License-Identifier: MIT */
/* Learned pins go to a stream in Redis, those of others come back. */
#include "pins.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "seats.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/base/pack.h"
#include "weir/pool/news.h"

#define KEY_MAX 300
#define VERSION 1
#define ENTRIES_MAX 100
/* Bytes of a word that is read. */
#define WORD_MAX "262144"
/* Of all in one answer, far below REDIS_ANSWER_MAX. */
#define WORDS_MAX "2097152"

/*
 * KEYS: the stream.  ARGV: where to read from, a word or nothing, entries to keep, how long,
 * entries to answer with, bytes of a word, bytes to read.  Answers with the server's time in ms,
 * then id and word of each; nothing in place of an entry that is too long, which is removed.  One
 * at a time, and counted with all its fields: many megabytes at once would take longer than
 * anybody waits, again and again.
 *
 * A stream that is ahead of the clock by more than a minute (by somebody's id, or a clock that
 * was set back) would make all that comes seem new, and with the highest id take no more: it
 * begins anew.  Who has read there begins anew, too.
 */
static const char script[] =
    "local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) "
    "local function ahead(id) return tonumber(string.match(id,'%d+') or 0)>now+60000 end "
    "local info=redis.pcall('XINFO','STREAM',KEYS[1]) "
    "for i=1,#info,2 do if info[i]=='last-generated-id' and ahead(info[i+1]) then "
    "redis.call('DEL',KEYS[1]) end end "
    "if ARGV[2]~='' then "
    "redis.call('XADD',KEYS[1],'MAXLEN','~',ARGV[3],'*','p',ARGV[2]) "
    "redis.call('PEXPIRE',KEYS[1],ARGV[4]) end "
    "local out,left,room={now},tonumber(ARGV[5]),tonumber(ARGV[7]) "
    "local from=ahead(ARGV[1]) and '-' or ARGV[1] "
    "while left>0 and room>0 do "
    "local e=redis.call('XRANGE',KEYS[1],from,'+','COUNT',1)[1] if not e then break end "
    "local w,size=e[2][2],0 for _,s in ipairs(e[2]) do size=size+#s end "
    "left=left-1 room=room-size from='('..e[1] "
    "if size>tonumber(ARGV[6]) then w='' redis.call('XDEL',KEYS[1],e[1]) end "
    "out[#out+1]=e[1] out[#out+1]=w end return out";

/* ---- what others say ---- */

static struct learned *table_of(const struct pool_registry *registry, struct view pool)
{
	list_each (it, &registry->states) {
		struct pool_state *state = list_entry(it, struct pool_state, registry_link);
		if (view_eq(state->name, pool))
			return state->learned;
	}
	return NULL;
}

static void note_unread(struct pins_sharing *p)
{
	if (p->n.unread++ == 0)
		log_warn("shared.redis: an entry of {" VIEW_FMT "}:pins is too long, damaged or of "
			 "another version, and is left out; more will be counted only",
			 VIEW_ARG(p->prefix));
}

/* Rows whose pool or address is empty have those of the row before. */
static void hear_word(struct pins_sharing *p, const struct seats *seats, struct view word,
		      uint64_t at_s)
{
	struct unpack in = unpack_of(word);
	struct view pool = VIEW_NONE, address = VIEW_NONE;
	struct learned *table = NULL;
	if (unpack_u64(&in) != VERSION) {
		note_unread(p);
		return;
	}
	while (in.left && !in.bad) {
		struct view other_pool = unpack_view(&in), other_address = unpack_view(&in);
		uint64_t key = unpack_u64(&in), age_s = unpack_u64(&in);
		if (other_pool.len) {
			pool = other_pool;
			table = table_of(p->registry, pool);
		}
		address = other_address.len ? other_address : address;
		const struct backend *b = seats_find(seats, pool, address)->backend;
		if (in.bad)
			note_unread(p);
		if (in.bad || !table || !b)
			continue;
		learn_hear(table, key, b->serial, age_s < at_s ? at_s - age_s : 0);
		p->n.heard++;
	}
}

static bool is_answer(const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 != 1 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER)
		return false;
	for (size_t i = 1; i < reply->elements; i++)
		if (reply->element[i]->type != REDIS_REPLY_STRING)
			return false;
	return true;
}

static void hear(struct pins_sharing *p, const redisReply *reply)
{
	uint64_t now_us = clock_us();
	struct arena *arena = arena_new();
	struct seats seats = seats_take(p->registry, arena);
	for (size_t i = 1; i + 1 < reply->elements; i += 2) {
		const redisReply *id = reply->element[i], *word = reply->element[i + 1];
		long long age_ms = reply->element[0]->integer - strtoll(id->str, NULL, 10);
		uint64_t ago_us = age_ms > 0 ? (uint64_t)age_ms * 1000 : 0;
		uint64_t at_us = ago_us < now_us ? now_us - ago_us : 0;
		hear_word(p, &seats, view_of(word->str, word->len), at_us / 1000000);
		snprintf(p->last, sizeof(p->last), "%s", id->str);
	}
	arena_free(arena);
}

static void wait_for(struct pins_sharing *p, uint64_t us)
{
	timer_set(&p->loop->timers, &p->timer, clock_us() + us);
}

static void on_answer(void *arg, const redisReply *reply)
{
	struct pins_sharing *p = arg;
	p->asked = false;
	if (!p->prefix.len)
		return;
	if (!reply) {
		p->last[0] = '\0'; /* by another connection it may be another server */
	} else if (!is_answer(reply)) {
		wait_for(p, PINS_PAUSE_US);
	} else if (reply->elements > 1) {
		hear(p, reply);
		if (reply->elements > 2 * ENTRIES_MAX)
			wait_for(p, 0); /* there is more */
	}
}

/* ---- what we say ---- */

/* The backends of these serials, NULL for one that is no more. */
static void find_backends(const struct pool_registry *registry, const struct news *rows, size_t n,
			  const struct backend **out)
{
	list_each (it, &registry->backends) {
		const struct backend *b = list_entry(it, struct backend, registry_link);
		for (size_t i = 0; i < n; i++)
			if (rows[i].serial == b->serial)
				out[i] = b;
	}
}

static void write_word(struct pins_sharing *p)
{
	struct news rows[PINS_BATCH];
	const struct backend *backends[PINS_BATCH] = {NULL};
	const struct backend *before = NULL;
	const uint32_t now_s = (uint32_t)(clock_us() / 1000000);
	size_t n = news_take(rows, PINS_BATCH);
	str_reset(&p->word);
	if (!n)
		return;
	find_backends(p->registry, rows, n, backends);
	pack_u64(&p->word, VERSION);
	for (size_t i = 0; i < n; i++) {
		const struct backend *b = backends[i];
		if (!b)
			continue;
		bool same_pool = before && view_eq(before->pool_name, b->pool_name);
		pack_view(&p->word, same_pool ? VIEW_NONE : b->pool_name);
		pack_view(&p->word, b == before ? VIEW_NONE : b->address_text);
		pack_u64(&p->word, rows[i].key);
		pack_u64(&p->word, now_s > rows[i].at_s ? now_s - rows[i].at_s : 0);
		before = b;
		p->n.told++;
	}
}

static bool ask(struct pins_sharing *p)
{
	char key[KEY_MAX], from[64], n[16];
	snprintf(key, sizeof(key), "{" VIEW_FMT "}:pins", VIEW_ARG(p->prefix));
	snprintf(from, sizeof(from), p->last[0] ? "(%s" : "-", p->last);
	snprintf(n, sizeof(n), "%d", ENTRIES_MAX);
	const struct view words[] = {VIEW("EVAL"),    VIEW(script),       VIEW("1"),
				     view_str(key),   view_str(from),     str_as_view(&p->word),
				     VIEW(PINS_KEPT), VIEW(PINS_KEPT_MS), view_str(n),
				     VIEW(WORD_MAX),  VIEW(WORDS_MAX)};
	return !p->word.overflow &&
	       redis_ask(p->redis, REDIS_PINS, on_answer, p, words, ARRAY_LEN(words));
}

static void on_timer(struct timer *timer)
{
	struct pins_sharing *p = container_of(timer, struct pins_sharing, timer);
	wait_for(p, PINS_EVERY_US * 4 / 5 + rng_below(&p->rng, PINS_EVERY_US * 2 / 5));
	if (p->asked || !redis_is_ready(p->redis))
		return; /* what is learned meanwhile waits in its circle */
	write_word(p);
	p->asked = ask(p);
	if (!p->asked)
		p->last[0] = '\0';
}

/* ---- life ---- */

void pins_sharing_init(struct pins_sharing *p, struct redis *redis, struct loop *loop,
		       struct pool_registry *registry)
{
	*p = (struct pins_sharing){
	    .redis = redis, .loop = loop, .registry = registry, .word = STR_INIT};
	p->timer.fn = on_timer;
	rng_init(&p->rng, rng_entropy());
}

void pins_sharing_fini(struct pins_sharing *p)
{
	timer_del(&p->timer);
	str_fini(&p->word);
}

void pins_sharing_follow(struct pins_sharing *p, struct view prefix)
{
	if (!view_eq(prefix, p->prefix))
		p->last[0] = '\0';
	p->prefix = prefix;
	if (!prefix.len)
		timer_clear(&p->timer);
	else if (!timer_is_set(&p->timer))
		wait_for(p, PINS_EVERY_US);
}

struct cluster_pins pins_sharing_told(const struct pins_sharing *p)
{
	struct cluster_pins n = p->n;
	n.lost = news_lost();
	return n;
}
