/* SPDX-License-Identifier: MIT */
/*
 * The server of shared.redis as the test plays it: what is asked is noted in place of redis.c
 * (the linker's --wrap), what is answered is told as redis.c would.
 */
#ifndef TESTS_UNIT_CLUSTER_SERVER_H
#define TESTS_UNIT_CLUSTER_SERVER_H

#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/defs.h"
#include "weir/base/str.h"
#include "weir/cluster/redis.h"

#define SERVER_WORDS 16

struct server {
	bool ready, refuses;
	bool whole; /* a cluster asks, which has a connection of its own */
	/* of the question that is open, or was the last */
	bool open;
	unsigned n_asked;
	enum redis_topic topic;
	redis_done *done;
	void *arg;
	struct str words[SERVER_WORDS];
	size_t n_words;
};

extern struct server server;

/* Answers the open question with RESP; NULL: there will be none. */
void server_answers(const char *resp, size_t len);
#define server_says(resp) server_answers("" resp, sizeof(resp) - 1)
#define word_is(i, text) view_eq(str_as_view(&server.words[i]), VIEW(text))

#endif
