/* SPDX-License-Identifier: MIT */
/* Whose turn it is: a lease in Redis, asked for once a second. */
#include "turns.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "weir/base/clock.h"

#define KEY_MAX 300
/* Longer than any name and what an authority makes up for it. */
#define PROOF_MAX 1024
#define TEXT_OF(x) #x
#define DIGITS(x) TEXT_OF(x)

/*
 * KEYS: lease, proof, seen, nodes.  ARGV: who speaks, for how long a word counts, whether it
 * wants its turn, what it wants to be shown then, what it shows for another one.  Answers with
 * whether the turn is its own, what another one wants to be shown, how many of the others do
 * not show ours yet.
 */
static const char script[] =
    "local lease,proof,seen,nodes=KEYS[1],KEYS[2],KEYS[3],KEYS[4] "
    "local me,ttl,mine,shows=ARGV[1],ARGV[2],ARGV[4],ARGV[5] "
    "local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) "
    "redis.call('ZADD',nodes,now,me) redis.call('PEXPIRE',nodes,ttl) "
    "redis.call('ZREMRANGEBYSCORE',nodes,'-inf',now-5000) "
    "local holder=redis.call('GET',lease) "
    "if ARGV[3]=='1' and (not holder or holder==me) then "
    "redis.call('SET',lease,me,'PX',ttl) holder=me "
    "elseif holder==me then redis.call('DEL',lease,proof,seen) holder=false end "
    "local p=redis.call('GET',proof) if p and #p>" DIGITS(
	PROOF_MAX) " then p=false end "
		   "if holder==me then "
		   "if p and p~=mine then redis.call('DEL',proof,seen) end "
		   "if mine~='' then redis.call('SET',proof,mine,'PX',ttl) end "
		   "local missing=0 for _,n in ipairs(redis.call('ZRANGE',nodes,0,255)) do "
		   "if n~=me and redis.call('SISMEMBER',seen,n)==0 then missing=missing+1 end end "
		   "return {1,'',missing} end "
		   "if p and p==shows then redis.call('SADD',seen,me) "
		   "redis.call('PEXPIRE',seen,ttl) end "
		   "return {0,p or '',0}";

/* ---- answers ---- */

static bool is_answer(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
	       reply->element[0]->type == REDIS_REPLY_INTEGER &&
	       reply->element[1]->type == REDIS_REPLY_STRING &&
	       reply->element[1]->len <= PROOF_MAX &&
	       reply->element[2]->type == REDIS_REPLY_INTEGER;
}

static void take(struct str *to, struct view text)
{
	str_reset(to);
	str_view(to, text);
}

static void on_answer(void *arg, const redisReply *reply)
{
	struct turns *t = arg;
	t->asked = false;
	if (!reply || !is_answer(reply))
		return;
	const redisReply *proof = reply->element[1];
	t->answered_us = clock_us();
	t->has = t->wanted && reply->element[0]->integer == 1;
	t->everywhere = t->has && reply->element[2]->integer == 0;
	take(&t->proof, view_of(proof->str, proof->len));
	take(&t->answered, str_as_view(&t->told));
}

/* ---- questions ---- */

static void ask(struct turns *t, struct view field, const struct cluster_wish *wish)
{
	static const char *const names[] = {"lease", "proof", "seen", "nodes"};
	char keys[4][KEY_MAX];
	for (size_t i = 0; i < 4; i++)
		snprintf(keys[i], sizeof(keys[i]), "{" VIEW_FMT "}:acme:%s", VIEW_ARG(t->prefix),
			 names[i]);
	const struct view words[] = {VIEW("EVAL"),
				     VIEW(script),
				     VIEW("4"),
				     view_str(keys[0]),
				     view_str(keys[1]),
				     view_str(keys[2]),
				     view_str(keys[3]),
				     field,
				     VIEW(TURNS_LEASE_MS),
				     wish->wants ? VIEW("1") : VIEW("0"),
				     wish->proof,
				     wish->shown};
	t->asked = redis_ask(t->redis, REDIS_TURNS, on_answer, t, words, ARRAY_LEN(words));
	t->wanted = wish->wants;
	take(&t->told, wish->proof);
}

void turns_take(struct turns *t, struct view field, const struct cluster_wish *wish,
		struct cluster_turn *out)
{
	*out = (struct cluster_turn){.mine = true, .everywhere = true, .proof = VIEW_NONE};
	if (!t->prefix.len)
		return;
	if (!t->asked)
		ask(t, field, wish);
	if (clock_us() - t->answered_us > TURNS_ALONE_US)
		return;
	out->shared = true;
	out->mine = t->has;
	out->everywhere = t->everywhere && view_eq(str_as_view(&t->answered), wish->proof);
	out->proof = str_as_view(&t->proof);
}

/* ---- life ---- */

void turns_init(struct turns *t, struct redis *redis)
{
	*t = (struct turns){
	    .redis = redis, .told = STR_INIT, .answered = STR_INIT, .proof = STR_INIT};
}

void turns_fini(struct turns *t)
{
	str_fini(&t->told);
	str_fini(&t->answered);
	str_fini(&t->proof);
}

void turns_follow(struct turns *t, struct view prefix)
{
	if (!view_eq(prefix, t->prefix)) {
		t->answered_us = clock_us();
		t->has = t->everywhere = false;
		str_reset(&t->proof);
	}
	t->prefix = prefix;
}
