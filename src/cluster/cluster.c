/* SPDX-License-Identifier: MIT */
/* Presence: this node's load goes out once a second, the others' comes in and fades. */
#include "weir/cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "heard.h"
#include "limits.h"
#include "pins.h"
#include "presence.h"
#include "seats.h"
#include "settings.h"
#include "turns.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/base/rng.h"
#include "weir/base/siphash.h"

#define KEY_MAX 300
#define NODE_NAME_MAX 255 /* a name in the configuration */
#define FIELD_MAX (NODE_NAME_MAX + 20)
/* How long a node that has gone keeps its part of what nobody has asked for yet. */
#define NODES_REMEMBERED_US 30000000
/* Redis forgets the keys when nobody has spoken for so long. */
#define KEYS_TTL_MS "60000"

/*
 * KEYS: the sorted set, the hash.  ARGV: who speaks, what it says, the time to live of a
 * word, that of the keys, bytes of an answer, 1 when another process follows under its name and
 * has to have spoken first.  By the server's clock, so that no node's matters; what was said
 * after its now was said by nobody.  Answers with field, age in ms and word of each other one; of
 * what has no room with the length of the word.
 */
static const char script[] =
    "local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) "
    "local function forget(from,to) "
    "for _,n in ipairs(redis.call('ZRANGEBYSCORE',KEYS[1],from,to)) do "
    "redis.call('ZREM',KEYS[1],n) redis.call('HDEL',KEYS[2],n) end end "
    "forget('-inf',now-ARGV[3]) forget(now+ARGV[3],'+inf') "
    "local function follows(f) return f~=ARGV[1] and string.sub(f,1,-9)==string.sub(ARGV[1],1,-9) "
    "and redis.call('HSTRLEN',KEYS[2],f)>0 end "
    "if ARGV[6]=='1' then local heard=false "
    "for _,f in ipairs(redis.call('ZRANGE',KEYS[1],0,255)) do heard=heard or follows(f) end "
    "if not heard then return {} end end "
    "redis.call('ZADD',KEYS[1],now,ARGV[1]) redis.call('HSET',KEYS[2],ARGV[1],ARGV[2]) "
    "redis.call('PEXPIRE',KEYS[1],ARGV[4]) redis.call('PEXPIRE',KEYS[2],ARGV[4]) "
    "local all=redis.call('ZRANGE',KEYS[1],0,255,'WITHSCORES') "
    "local out,room={},tonumber(ARGV[5]) "
    "for i=1,#all,2 do local f=all[i] if f~=ARGV[1] then "
    "local w=#f+redis.call('HSTRLEN',KEYS[2],f) "
    "if w<=room then room=room-w w=redis.call('HGET',KEYS[2],f) else f='' end "
    "if w then out[#out+1]=f out[#out+1]=math.floor(math.max(0,now-all[i+1])) out[#out+1]=w end "
    "end end return out";

struct cluster {
	struct redis *redis; /* owns */
	struct pool_registry *registry;
	struct settings now, next; /* next: of a configuration that is being prepared */
	struct tls_local tls;
	struct buf_pool bufs;
	uint64_t instance; /* of this process */
	char auto_name[96];
	bool asked;    /* a word is under way */
	bool followed; /* by another process of this name */
	struct str out;
	struct heard heard;
	char unread[96]; /* "": all that others say is read */
	uint64_t published, failed;
	struct limits limits;
	struct turns turns;
	struct pins_sharing pins;
	uint64_t most_at_us; /* so many nodes were there last */
};

static struct view node_name(const struct cluster *c)
{
	bool is_auto = view_eq(c->now.conf.node, VIEW("auto"));
	return is_auto ? view_str(c->auto_name) : c->now.conf.node;
}

/* ---- what the others have in flight ---- */

static void add_up(const struct seats *seats, const struct heard_node *node, uint64_t now_us)
{
	struct unpack in = unpack_of(node->said);
	struct presence who;
	struct presence_row row = {.pool = VIEW_NONE};
	double fresh = heard_freshness(node, now_us);
	if (fresh <= 0 || !presence_unpack(&in, &who))
		return;
	while (presence_next(&in, &row)) {
		struct seat *seat = seats_find(seats, row.pool, row.address);
		if (seat->backend) {
			seat->in_flight += row.in_flight * fresh;
			seat->rate += (double)row.requests;
		}
	}
}

/*
 * All nodes hear the same and act on it at once: by the whole of what others have each would
 * set right what is wrong, n times as much as is needed, and worse a second later.
 */
static void fold(struct cluster *c, uint64_t now_us)
{
	struct arena *arena = arena_new();
	const double part = 1.0 / (double)(c->heard.n + 1);
	struct seats seats = seats_take(c->registry, arena);
	for (size_t i = 0; i < c->heard.n; i++)
		add_up(&seats, &c->heard.nodes[i], now_us);
	for (size_t i = 0; i <= seats.mask; i++)
		if (seats.rows[i].backend)
			backend_set_others(seats.rows[i].backend, seats.rows[i].in_flight,
					   seats.rows[i].rate, part);
	arena_free(arena);
}

/* What the registry is told: who does not share misses nobody's word. */
static void note_deaf(struct cluster *c, uint64_t now_us)
{
	c->registry->deaf = c->now.conf.on && heard_is_deaf(&c->heard, c->limits.n_nodes, now_us);
}

/* ---- the words of the others ---- */

/* Of a server that has just come back not all have heard: it is the most of a while, less
 * those that said goodbye. */
static void count_nodes(struct cluster *c, unsigned n_goodbyes, uint64_t now_us)
{
	unsigned n = (unsigned)(c->heard.n + c->heard.n_unread) + 1;
	if (n_goodbyes && c->limits.n_nodes > n_goodbyes)
		limits_set_nodes(&c->limits, c->limits.n_nodes - n_goodbyes);
	if (n < c->limits.n_nodes && now_us - c->most_at_us < NODES_REMEMBERED_US)
		return;
	c->most_at_us = now_us;
	limits_set_nodes(&c->limits, n);
}

/* What is not known may matter: people are told. */
static void note_unread(struct cluster *c)
{
	char text[sizeof(c->unread)] = "";
	if (c->heard.n_unread)
		snprintf(text, sizeof(text),
			 "what %zu nodes say is not read: too long, or of another version",
			 c->heard.n_unread);
	if (text[0] && !c->unread[0])
		log_warn("shared.redis " VIEW_FMT ": %s", VIEW_ARG(c->now.conf.redis.text), text);
	memcpy(c->unread, text, sizeof(text));
}

static void forget_nodes(struct cluster *c)
{
	heard_forget(&c->heard);
	note_unread(c);
}

static void on_said(void *arg, const redisReply *reply)
{
	struct cluster *c = arg;
	c->asked = false;
	if (!reply || reply->type != REDIS_REPLY_ARRAY) {
		c->failed++;
		return;
	}
	c->published++;
	uint64_t now_us = clock_us();
	unsigned n_goodbyes = heard_take(&c->heard, reply, now_us);
	note_unread(c);
	count_nodes(c, n_goodbyes, now_us);
}

/* ---- our own word ---- */

/* Where others read the status: of all addresses the one that the server sees us by. */
static struct view status_of(const struct cluster *c, char room[ADDR_TEXT_MAX])
{
	struct addr local;
	if (!c->now.any_port || !redis_local(c->redis, &local))
		return c->now.status;
	if (local.sa.sa_family == AF_INET6)
		local.in6.sin6_port = htons(c->now.any_port);
	else
		local.in4.sin_port = htons(c->now.any_port);
	return view_of(room, addr_format(&local, room));
}

/* A process, of which a name may have two while one follows the other. */
static void field_of(const struct cluster *c, char room[FIELD_MAX])
{
	snprintf(room, FIELD_MAX, VIEW_FMT "#%08llx", VIEW_ARG(node_name(c)),
		 (unsigned long long)c->instance);
}

/* Empty: goodbye, which waits for nobody.  Without one the word that was said last fades, so that
 * nobody is missed between a process that has ended and one that is about to speak. */
static bool say(struct cluster *c, struct view word)
{
	char field[FIELD_MAX], nodes[KEY_MAX], presence[KEY_MAX], ttl[24], most[24];
	struct view prefix = c->now.conf.prefix;
	field_of(c, field);
	snprintf(nodes, sizeof(nodes), "{" VIEW_FMT "}:nodes", VIEW_ARG(prefix));
	snprintf(presence, sizeof(presence), "{" VIEW_FMT "}:presence", VIEW_ARG(prefix));
	snprintf(ttl, sizeof(ttl), "%llu", (unsigned long long)(CLUSTER_TTL_US / 1000));
	snprintf(most, sizeof(most), "%d", CLUSTER_WORDS_MAX);
	const struct view words[] = {VIEW("EVAL"),
				     VIEW(script),
				     VIEW("2"),
				     view_str(nodes),
				     view_str(presence),
				     view_str(field),
				     word,
				     view_str(ttl),
				     VIEW(KEYS_TTL_MS),
				     view_str(most),
				     c->followed && !word.len ? VIEW("1") : VIEW("0")};
	return redis_ask(c->redis, REDIS_PRESENCE, on_said, c, words, ARRAY_LEN(words));
}

static void say_load(struct cluster *c)
{
	char status[ADDR_TEXT_MAX];
	struct presence who = {node_name(c), status_of(c, status), VIEW(WEIR_VERSION)};
	str_reset(&c->out);
	presence_pack(&c->out, &who, c->registry, PRESENCE_MAX);
	c->asked = !c->out.overflow && say(c, str_as_view(&c->out));
	c->failed += !c->asked;
}

/* At once: who follows another process under the same name is there before that one has gone. */
static void on_ready(void *arg)
{
	struct cluster *c = arg;
	if (!c->asked)
		say_load(c);
}

/* Nobody waits for it any more, and nobody doubts what it sends.  If it does not arrive, the
 * others miss it after the time to live. */
static void say_goodbye(struct cluster *c)
{
	if (c->now.conf.on && redis_is_ready(c->redis))
		(void)say(c, VIEW_NONE);
}

void cluster_followed(struct cluster *c)
{
	c->followed = true;
}

void cluster_tick(struct cluster *c, uint64_t now_us)
{
	if (!c->now.conf.on)
		return;
	if (!c->asked)
		say_load(c);
	fold(c, now_us);
	note_deaf(c, now_us);
}

void cluster_take_turn(struct cluster *c, const struct cluster_wish *wish, struct cluster_turn *out)
{
	char field[FIELD_MAX];
	field_of(c, field);
	turns_take(&c->turns, view_str(field), wish, out);
	out->trusted = c->now.password.len || c->now.conf.tls.cert.len;
}

/* ---- configuration ---- */

enum err cluster_prepare(struct cluster *c, const struct conf *conf, struct str *why)
{
	return settings_make(&c->next, conf, &c->tls, why);
}

/* All nodes make it of what they have in common anyway. */
static void share_pins(struct cluster *c)
{
	static const uint8_t names[2][SIPHASH_KEY_LEN] = {"weir: pins, 1st", "weir: pins, 2nd"};
	uint64_t words[2];
	uint8_t secret[LEARN_SECRET_LEN];
	struct str text = STR_INIT;
	str_printf(&text, VIEW_FMT "\n", VIEW_ARG(c->now.conf.prefix));
	str_view(&text, c->now.password);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		words[i] = siphash64(names[i], text.ptr, text.len);
	str_fini(&text);
	memcpy(secret, words, sizeof(secret));
	learn_secret_set(secret);
}

void cluster_cancel(struct cluster *c)
{
	settings_fini(&c->next);
}

void cluster_commit(struct cluster *c)
{
	if (!settings_known_as(&c->now, &c->next))
		say_goodbye(c);
	struct settings old = c->now;
	c->now = c->next;
	c->next = (struct settings){.arena = NULL};
	struct redis_server server = {
	    .host = c->now.conf.redis.host,
	    .port = c->now.conf.redis.port,
	    .username = c->now.conf.username,
	    .password = c->now.password,
	    .tls = c->now.tls,
	};
	/* files of TLS may have changed under their names: then it is another one */
	if (settings_same_server(&old, &c->now))
		redis_move(c->redis, &server);
	else
		redis_follow(c->redis, &server);
	limits_follow(&c->limits, c->now.conf.prefix);
	turns_follow(&c->turns, c->now.conf.prefix);
	if (c->now.pins)
		share_pins(c);
	pins_sharing_follow(&c->pins, c->now.pins ? c->now.conf.prefix : VIEW_NONE);
	if (!c->heard.answered_us)
		limits_set_nodes(&c->limits, c->now.conf.on ? c->now.conf.nodes : 1);
	if (!c->now.conf.on || !view_eq(old.conf.prefix, c->now.conf.prefix))
		forget_nodes(c);
	if (old.conf.on && !c->now.conf.on)
		fold(c, clock_us());
	note_deaf(c, clock_us());
	settings_fini(&old);
}

/* ---- what is known ---- */

struct cluster_state cluster_state(const struct cluster *c)
{
	return (struct cluster_state){
	    .on = c->now.conf.on,
	    .connected = redis_is_ready(c->redis),
	    .node = node_name(c),
	    .address = c->now.conf.redis.text,
	    .why = *redis_why(c->redis) ? redis_why(c->redis) : c->unread,
	    .published = c->published,
	    .failed = c->failed,
	    .n_limits = quota_count(),
	    .limits_alone = c->now.conf.on && c->limits.alone,
	    .n_parts = c->limits.n_nodes,
	    .pins = pins_sharing_told(&c->pins),
	};
}

static void count_loads(struct unpack *in, struct cluster_node *out)
{
	struct presence_row row = {.pool = VIEW_NONE};
	while (presence_next(in, &row)) {
		out->in_flight += row.in_flight;
		out->rate += (double)row.requests;
	}
}

/* Two processes of it, of which one follows the other. */
static bool is_same(const struct cluster_node *a, const struct cluster_node *b)
{
	return view_eq(a->name, b->name) && view_eq(a->status, b->status);
}

static void add_process(struct cluster_node *to, const struct cluster_node *other)
{
	to->in_flight += other->in_flight;
	to->rate += other->rate;
	if (other->age_us < to->age_us)
		to->age_us = other->age_us;
}

struct cluster_node *cluster_nodes(const struct cluster *c, struct arena *arena, size_t *n)
{
	struct cluster_node *out = arena_array(arena, c->heard.n, sizeof(*out));
	uint64_t now_us = clock_us();
	char status[ADDR_TEXT_MAX];
	const struct cluster_node self = {.name = node_name(c), .status = status_of(c, status)};
	*n = 0;
	for (size_t i = 0; i < c->heard.n; i++) {
		const struct heard_node *node = &c->heard.nodes[i];
		struct unpack in = unpack_of(node->said);
		struct presence who;
		if (heard_freshness(node, now_us) <= 0 || !presence_unpack(&in, &who))
			continue;
		struct cluster_node row = {
		    .name = who.name,
		    .status = who.status,
		    .version = who.version,
		    .age_us = now_us > node->at_us ? now_us - node->at_us : 0,
		};
		count_loads(&in, &row);
		if (*n && is_same(&out[*n - 1], &row))
			add_process(&out[*n - 1], &row);
		else if (!is_same(&self, &row))
			out[(*n)++] = row;
	}
	return out;
}

/* ---- for the process that takes over ---- */

void cluster_pack(const struct cluster *c, struct str *out)
{
	pack_view(out, view_str(c->auto_name));
}

void cluster_unpack(struct unpack *in, struct cluster *c)
{
	struct view name = unpack_view(in);
	in->bad |= !name.len || name.len >= sizeof(c->auto_name);
	if (!in->bad)
		snprintf(c->auto_name, sizeof(c->auto_name), VIEW_FMT, VIEW_ARG(name));
}

/* ---- life ---- */

static void make_auto_name(struct cluster *c)
{
	char host[64] = "";
	if (gethostname(host, sizeof(host) - 1) || !host[0])
		snprintf(host, sizeof(host), "node");
	snprintf(c->auto_name, sizeof(c->auto_name), "%s-%04x", host,
		 (unsigned)(c->instance & 0xffff));
}

struct cluster *cluster_new(struct loop *loop, struct pool_registry *registry)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct redis *redis = redis_new(loop, on_ready, c);
	if (!c || !redis) {
		redis_free(redis);
		free(c);
		return NULL;
	}
	c->redis = redis;
	c->registry = registry;
	c->instance = rng_entropy() & UINT32_MAX;
	c->out = STR_INIT;
	make_auto_name(c);
	buf_pool_init(&c->bufs, 16);
	tls_local_init(&c->tls, loop, &c->bufs, 2);
	limits_init(&c->limits, redis, loop);
	turns_init(&c->turns, redis);
	pins_sharing_init(&c->pins, redis, loop, registry);
	return c;
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	say_goodbye(c);
	limits_give_back(&c->limits);
	redis_free(c->redis);
	limits_fini(&c->limits);
	turns_fini(&c->turns);
	pins_sharing_fini(&c->pins);
	heard_forget(&c->heard);
	settings_fini(&c->now);
	settings_fini(&c->next);
	tls_local_fini(&c->tls);
	buf_pool_fini(&c->bufs);
	str_fini(&c->out);
	free(c);
}
