/* SPDX-License-Identifier: MIT */
/* Presence: this node's load goes out once a second, the others' comes in and fades. */
#include "weir/cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "limits.h"
#include "presence.h"
#include "turns.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/base/hash.h"
#include "weir/base/log.h"
#include "weir/base/rng.h"

#define PASSWORD_MAX 4096
#define KEY_MAX 300
#define NODE_NAME_MAX 255 /* a name in the configuration */
#define FIELD_MAX (NODE_NAME_MAX + 20)
/* How long a node that has gone keeps its part of what nobody has asked for yet. */
#define NODES_REMEMBERED_US 30000000
/* What is older says nothing of how much they send. */
#define WORD_GOOD_US 3000000
/* Redis forgets the keys when nobody has spoken for so long. */
#define KEYS_TTL_MS "60000"

/*
 * KEYS: the sorted set, the hash.  ARGV: who speaks, what it says, the time to live of a
 * word, that of the keys.  By the server's clock, so that no node's matters.  Answers with
 * field, age in ms and word of each other one.
 */
static const char script[] =
    "local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) "
    "local gone=redis.call('ZRANGEBYSCORE',KEYS[1],'-inf',now-ARGV[3]) "
    "for _,n in ipairs(gone) do redis.call('ZREM',KEYS[1],n) redis.call('HDEL',KEYS[2],n) end "
    "redis.call('ZADD',KEYS[1],now,ARGV[1]) redis.call('HSET',KEYS[2],ARGV[1],ARGV[2]) "
    "redis.call('PEXPIRE',KEYS[1],ARGV[4]) redis.call('PEXPIRE',KEYS[2],ARGV[4]) "
    "local all=redis.call('ZRANGE',KEYS[1],0,255,'WITHSCORES') local out={} "
    "for i=1,#all,2 do if all[i]~=ARGV[1] then "
    "local w=redis.call('HGET',KEYS[2],all[i]) "
    "if w then out[#out+1]=all[i] out[#out+1]=math.floor(now-all[i+1]) out[#out+1]=w end "
    "end end return out";

/* What of the configuration it needs, its own copy: it outlives generations. */
struct settings {
	struct arena *arena; /* owns all of it */
	struct conf_shared conf;
	struct view password, status;
	uint16_t any_port;      /* status.bind is on all addresses, at this port; else 0 */
	struct tls_client *tls; /* counted; NULL: plain */
};

struct node {
	struct view field; /* of the hash: name and instance */
	struct view said;
	uint64_t at_us; /* when it said it, by our clock */
};

struct cluster {
	struct redis *redis; /* owns */
	struct pool_registry *registry;
	struct settings now, next; /* next: of a configuration that is being prepared */
	struct tls_local tls;
	struct buf_pool bufs;
	uint64_t instance; /* of this process */
	char auto_name[96];
	bool asked; /* a word is under way */
	struct str out;
	struct arena *heard; /* owns `nodes` */
	struct node *nodes;
	size_t n_nodes;
	uint64_t published, failed;
	struct limits limits;
	struct turns turns;
	uint64_t most_at_us;  /* so many nodes were there last */
	uint64_t answered_us; /* by the server; 0: never */
};

static struct view node_name(const struct cluster *c)
{
	bool is_auto = view_eq(c->now.conf.node, VIEW("auto"));
	return is_auto ? view_str(c->auto_name) : c->now.conf.node;
}

/* ---- what the others have in flight ---- */

/* A backend of ours, found by pool and address. */
struct seat {
	struct backend *backend; /* NULL: free */
	double in_flight, rate;
};

struct seats {
	struct seat *rows;
	size_t mask;
};

static struct seat *seat_of(const struct seats *seats, struct view pool, struct view address)
{
	uint64_t hash = hash_view(address, hash_view(pool, 1));
	for (size_t i = hash & seats->mask;; i = (i + 1) & seats->mask) {
		struct seat *seat = &seats->rows[i];
		if (!seat->backend || (view_eq(seat->backend->address_text, address) &&
				       view_eq(seat->backend->pool_name, pool)))
			return seat;
	}
}

static struct seats take_seats(const struct pool_registry *registry, struct arena *arena)
{
	size_t n = 0, size = 2;
	list_each (it, &registry->backends)
		n++;
	while (size < 2 * n + 2)
		size *= 2;
	struct seats seats = {arena_array(arena, size, sizeof(struct seat)), size - 1};
	list_each (it, &registry->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		seat_of(&seats, b->pool_name, b->address_text)->backend = b;
	}
	return seats;
}

/* 1 when it was said just now, 0 after the time to live. */
static double freshness(uint64_t at_us, uint64_t now_us)
{
	uint64_t age_us = now_us > at_us ? now_us - at_us : 0;
	return age_us < CLUSTER_TTL_US ? 1 - (double)age_us / (double)CLUSTER_TTL_US : 0;
}

static void add_up(const struct seats *seats, const struct node *node, uint64_t now_us)
{
	struct unpack in = unpack_of(node->said);
	struct presence who;
	struct presence_row row = {.pool = VIEW_NONE};
	double fresh = freshness(node->at_us, now_us);
	if (fresh <= 0 || !presence_unpack(&in, &who))
		return;
	while (presence_next(&in, &row)) {
		struct seat *seat = seat_of(seats, row.pool, row.address);
		if (seat->backend) {
			seat->in_flight += row.in_flight * fresh;
			seat->rate += (double)row.requests;
		}
	}
}

static void fold(struct cluster *c, uint64_t now_us)
{
	struct arena *arena = arena_new();
	struct seats seats = take_seats(c->registry, arena);
	for (size_t i = 0; i < c->n_nodes; i++)
		add_up(&seats, &c->nodes[i], now_us);
	for (size_t i = 0; i <= seats.mask; i++)
		if (seats.rows[i].backend)
			backend_set_others(seats.rows[i].backend, seats.rows[i].in_flight,
					   seats.rows[i].rate);
	arena_free(arena);
}

/* Somebody may send what is not known: nothing is judged by less than all. */
static bool is_deaf(const struct cluster *c, uint64_t now_us)
{
	if (!c->answered_us || now_us > c->answered_us + WORD_GOOD_US)
		return true;
	for (size_t i = 0; i < c->n_nodes; i++)
		if (now_us > c->nodes[i].at_us + WORD_GOOD_US)
			return true;
	return c->limits.n_nodes > c->n_nodes + 1; /* who has just gone may still send */
}

/* ---- the words of the others ---- */

static void forget_nodes(struct cluster *c)
{
	arena_free(c->heard);
	c->heard = NULL;
	c->nodes = NULL;
	c->n_nodes = 0;
}

static struct view text_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? view_of(reply->str, reply->len) : VIEW_NONE;
}

static int by_field(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	return view_cmp(x->field, y->field);
}

static void hear(struct cluster *c, const redisReply *all, uint64_t now_us)
{
	forget_nodes(c);
	c->heard = arena_new();
	c->nodes = arena_array(c->heard, all->elements / 3, sizeof(*c->nodes));
	for (size_t i = 0; i + 2 < all->elements && c->n_nodes < CLUSTER_NODES_MAX; i += 3) {
		struct view field = text_of(all->element[i]), said = text_of(all->element[i + 2]);
		struct unpack in = unpack_of(said);
		struct presence who;
		long long age_ms = all->element[i + 1]->integer;
		if (!field.len || all->element[i + 1]->type != REDIS_REPLY_INTEGER || age_ms < 0 ||
		    said.len > PRESENCE_MAX || !presence_unpack(&in, &who))
			continue;
		uint64_t age_us = (uint64_t)age_ms * 1000;
		c->nodes[c->n_nodes++] = (struct node){
		    .field = arena_view(c->heard, field),
		    .said = arena_view(c->heard, said),
		    .at_us = now_us > age_us ? now_us - age_us : 0,
		};
	}
	if (c->n_nodes)
		qsort(c->nodes, c->n_nodes, sizeof(*c->nodes), by_field);
}

/* Of a server that has just come back not all have heard: it is the most of a while. */
static void count_nodes(struct cluster *c, uint64_t now_us)
{
	unsigned n = (unsigned)c->n_nodes + 1;
	if (n < c->limits.n_nodes && now_us - c->most_at_us < NODES_REMEMBERED_US)
		return;
	c->most_at_us = now_us;
	limits_set_nodes(&c->limits, n);
}

static void on_said(void *arg, const redisReply *reply)
{
	struct cluster *c = arg;
	c->asked = false;
	if (!reply || reply->type != REDIS_REPLY_ARRAY) {
		c->failed++;
		if (reply && reply->type == REDIS_REPLY_ERROR)
			log_warn("shared.redis: presence was refused: %.200s", reply->str);
		return;
	}
	c->published++;
	c->answered_us = clock_us();
	hear(c, reply, c->answered_us);
	count_nodes(c, c->answered_us);
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

static void say(struct cluster *c)
{
	char field[FIELD_MAX], nodes[KEY_MAX], presence[KEY_MAX], ttl[24];
	char status[ADDR_TEXT_MAX];
	struct presence who = {node_name(c), status_of(c, status), VIEW(WEIR_VERSION)};
	struct view prefix = c->now.conf.prefix;
	str_reset(&c->out);
	presence_pack(&c->out, &who, c->registry, PRESENCE_MAX);
	field_of(c, field);
	snprintf(nodes, sizeof(nodes), "{" VIEW_FMT "}:nodes", VIEW_ARG(prefix));
	snprintf(presence, sizeof(presence), "{" VIEW_FMT "}:presence", VIEW_ARG(prefix));
	snprintf(ttl, sizeof(ttl), "%llu", (unsigned long long)(CLUSTER_TTL_US / 1000));
	const struct view words[] = {VIEW("EVAL"),         VIEW(script),       VIEW("2"),
				     view_str(nodes),      view_str(presence), view_str(field),
				     str_as_view(&c->out), view_str(ttl),      VIEW(KEYS_TTL_MS)};
	if (c->out.overflow || !redis_ask(c->redis, on_said, c, words, ARRAY_LEN(words)))
		c->failed++;
	else
		c->asked = true;
}

void cluster_tick(struct cluster *c, uint64_t now_us)
{
	if (!c->now.conf.on)
		return;
	if (!c->asked)
		say(c);
	fold(c, now_us);
	c->registry->deaf = is_deaf(c, now_us);
}

void cluster_take_turn(struct cluster *c, const struct cluster_wish *wish, struct cluster_turn *out)
{
	char field[FIELD_MAX];
	field_of(c, field);
	turns_take(&c->turns, view_str(field), wish, out);
	out->trusted = c->now.password.len || c->now.conf.tls.cert.len;
}

/* ---- configuration ---- */

static void settings_fini(struct settings *s)
{
	tls_client_put(s->tls);
	arena_free(s->arena);
	*s = (struct settings){.arena = NULL};
}

static bool read_password(struct settings *s, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct view path = s->conf.password_file;
	if (!path.len)
		return true;
	enum err err = file_read_secret(path.ptr, PASSWORD_MAX, &text, &reason);
	if (err)
		str_printf(why,
			   "cannot read shared.redis.password_file " VIEW_FMT ": " VIEW_FMT "\n",
			   VIEW_ARG(path), VIEW_ARG(str_as_view(&reason)));
	s->password = arena_view(s->arena, str_as_view(&text));
	str_fini(&text);
	str_fini(&reason);
	return !err;
}

static bool make_tls(struct cluster *c, struct settings *s, struct str *why)
{
	const struct conf_pool_tls *tls = &s->conf.tls;
	struct tls_client_options options = {.verify = tls->verify,
					     .ca = tls->ca,
					     .sni = tls->sni,
					     .cert = tls->cert,
					     .key = tls->key};
	if (!tls->on)
		return true;
	if (tls_local_prepare(&c->tls)) {
		str_text(why, "no memory for TLS\n");
		return false;
	}
	s->tls = tls_client_new(&c->tls, &options, why);
	if (!s->tls)
		str_char(why, '\n');
	return s->tls != NULL;
}

static struct conf_shared copy_conf(struct arena *arena, const struct conf_shared *from)
{
	struct conf_shared to = *from;
	to.redis.text = arena_view(arena, from->redis.text);
	to.redis.host = arena_view(arena, from->redis.host);
	to.username = arena_view(arena, from->username);
	to.password_file = arena_view(arena, from->password_file);
	to.prefix = arena_view(arena, from->prefix);
	to.node = arena_view(arena, from->node);
	to.tls.ca = arena_view(arena, from->tls.ca);
	to.tls.sni = arena_view(arena, from->tls.sni);
	to.tls.cert = arena_view(arena, from->tls.cert);
	to.tls.key = arena_view(arena, from->tls.key);
	return to;
}

static bool is_any(const struct addr *addr)
{
	if (!addr->len || addr->sa.sa_family == AF_UNIX)
		return false;
	return addr->sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr)
					      : addr->in4.sin_addr.s_addr == htonl(INADDR_ANY);
}

enum err cluster_prepare(struct cluster *c, const struct conf *conf, struct str *why)
{
	struct settings *s = &c->next;
	*s = (struct settings){.arena = NULL};
	if (!conf->shared.on)
		return ERR_OK;
	s->arena = arena_new();
	s->conf = copy_conf(s->arena, &conf->shared);
	s->status = arena_view(s->arena, conf->status.bind_text);
	s->any_port = is_any(&conf->status.bind) ? addr_port(&conf->status.bind) : 0;
	if (read_password(s, why) && make_tls(c, s, why))
		return ERR_OK;
	settings_fini(s);
	return ERR_IO;
}

void cluster_cancel(struct cluster *c)
{
	settings_fini(&c->next);
}

static bool same_server(const struct settings *a, const struct settings *b)
{
	return a->conf.on == b->conf.on && view_eq(a->conf.redis.text, b->conf.redis.text) &&
	       view_eq(a->conf.username, b->conf.username) && view_eq(a->password, b->password) &&
	       !a->conf.tls.on && !b->conf.tls.on;
}

void cluster_commit(struct cluster *c)
{
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
	if (same_server(&old, &c->now))
		redis_move(c->redis, &server);
	else
		redis_follow(c->redis, &server);
	limits_follow(&c->limits, c->now.conf.prefix);
	turns_follow(&c->turns, c->now.conf.prefix);
	if (!c->answered_us)
		limits_set_nodes(&c->limits, c->now.conf.on ? c->now.conf.nodes : 1);
	if (!c->now.conf.on || !view_eq(old.conf.prefix, c->now.conf.prefix))
		forget_nodes(c);
	if (old.conf.on && !c->now.conf.on)
		fold(c, clock_us());
	c->registry->deaf = c->now.conf.on && is_deaf(c, clock_us());
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
	    .why = redis_why(c->redis),
	    .published = c->published,
	    .failed = c->failed,
	    .n_limits = quota_count(),
	    .limits_alone = c->now.conf.on && c->limits.alone,
	    .n_parts = c->limits.n_nodes,
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

struct cluster_node *cluster_nodes(const struct cluster *c, struct arena *arena, size_t *n)
{
	struct cluster_node *out = arena_array(arena, c->n_nodes, sizeof(*out));
	uint64_t now_us = clock_us();
	*n = 0;
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct node *node = &c->nodes[i];
		struct unpack in = unpack_of(node->said);
		struct presence who;
		if (freshness(node->at_us, now_us) <= 0 || !presence_unpack(&in, &who))
			continue;
		struct cluster_node *to = &out[(*n)++];
		*to = (struct cluster_node){
		    .name = who.name,
		    .status = who.status,
		    .version = who.version,
		    .age_us = now_us > node->at_us ? now_us - node->at_us : 0,
		};
		count_loads(&in, to);
	}
	return out;
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
	struct redis *redis = redis_new(loop);
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
	return c;
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	redis_free(c->redis);
	limits_fini(&c->limits);
	turns_fini(&c->turns);
	forget_nodes(c);
	settings_fini(&c->now);
	settings_fini(&c->next);
	tls_local_fini(&c->tls);
	buf_pool_fini(&c->bufs);
	str_fini(&c->out);
	free(c);
}
