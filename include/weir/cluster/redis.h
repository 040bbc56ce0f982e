/* SPDX-License-Identifier: MIT */
/*
 * One connection to a Redis or Valkey server, kept for as long as it is asked for.  It
 * never blocks: commands that cannot go now fail at once, what is asked is answered
 * within REDIS_TIMEOUT_US or the connection is given up, and a new one is tried with
 * pauses that grow.
 *
 *          redis_follow          address           connected, TLS         AUTH answered
 *   +-----+ ---------> +---------+ ----> +------------+ ----> +----------+ ----> +-------+
 *   | OFF |            | RESOLVE |       | CONNECTING |       | GREETING |       | READY |
 *   +-----+            +---------+       +------------+       +----------+       +-------+
 *                           ^    any of them, when it fails         |                |
 *                           |         +-------+                     |                |
 *                           +-------- | PAUSE | <-------------------+----------------+
 *                                     +-------+
 *
 *   OFF         nobody wants one                               none
 *   RESOLVE     the host is a name                             REDIS_TIMEOUT_US
 *   CONNECTING  TLS included                                   the same
 *   GREETING    AUTH is asked; without a password it is PING   the same
 *   READY       commands go                                    the same, of the oldest command
 *   PAUSE       0.1 s doubling to 5 s, a quarter of it by chance
 *
 * Protocol: RESP2, written and read by hiredis; https://redis.io/docs/reference/protocol-spec
 * Thread: that of the loop.
 */
#ifndef WEIR_CLUSTER_REDIS_H
#define WEIR_CLUSTER_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/view.h"
#include "weir/loop/loop.h"
#include "weir/net/tls.h"

#define REDIS_TIMEOUT_US UINT64_C(2000000)
/* Commands under way; more are refused. */
#define REDIS_PENDING_MAX 256
/* Bytes of one answer; a larger one ends the connection. */
#define REDIS_ANSWER_MAX (8 * 1024 * 1024)

struct redis;
struct redisReply;

/* What commands are for: the server may take some and refuse others. */
enum redis_topic {
	REDIS_PRESENCE,
	REDIS_LIMITS,
	REDIS_PINS,
	REDIS_TURNS,
	REDIS_TOPICS,
};

/* Borrowed until the next redis_follow. */
struct redis_server {
	struct view host; /* a name or an address without brackets; empty: none is wanted */
	uint16_t port;
	struct view username, password; /* empty: none */
	struct tls_client *tls;         /* NULL: plain */
};

/* `reply` NULL: there will be none; else it is valid until the callback returns. */
typedef void redis_done(void *arg, const struct redisReply *reply);

typedef void redis_ready(void *arg);

/* `ready` is called when commands go again.  NULL without memory. */
struct redis *redis_new(struct loop *loop, redis_ready *ready, void *arg);
void redis_free(struct redis *redis); /* NULL is fine; pending commands get their NULL */

/* From now on this server; what is pending gets its NULL. */
void redis_follow(struct redis *redis, const struct redis_server *server);

/* The same server by other pointers: the connection stays. */
void redis_move(struct redis *redis, const struct redis_server *server);

/* The address of this machine that the server sees; false: there is no connection. */
bool redis_local(const struct redis *redis, struct addr *out);

bool redis_is_ready(const struct redis *redis);
/* Why there is no connection, or what the server refuses, for people; "" while all is well or no
 * connection is wanted. */
const char *redis_why(const struct redis *redis);

/* Sends a command; false: it cannot go now, and `done` is not called.  Errors in answers are
 * logged here, once until the topic is answered well again. */
bool redis_ask(struct redis *redis, enum redis_topic topic, redis_done *done, void *arg,
	       const struct view *words, size_t n);

#endif
