/* SPDX-License-Identifier: MIT */
/* What the Redis of several nodes refuses, by subject; private to redis.c.  Control thread. */
#ifndef WEIR_CLUSTER_REFUSALS_H
#define WEIR_CLUSTER_REFUSALS_H

#include "weir/cluster/redis.h"

struct redisReply;

struct refusals {
	char text[REDIS_TOPICS][200]; /* "": its last answer was no error */
	uint64_t since_us[REDIS_TOPICS];
};

/* Looks at an answer; what changes is logged. */
void refusals_note(struct refusals *r, const struct redis_server *server, enum redis_topic topic,
		   const struct redisReply *reply);
/* One that is not old; "": there is none. */
const char *refusals_why(const struct refusals *r);

#endif
