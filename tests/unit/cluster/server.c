/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <hiredis/hiredis.h>

bool __wrap_redis_ask(struct redis *redis, enum redis_topic topic, redis_done *done, void *arg,
		      const struct view *words, size_t n);
bool __wrap_redis_is_ready(const struct redis *redis);

struct server server;

bool __wrap_redis_is_ready(const struct redis *redis)
{
	cr_assert(server.whole || (const void *)redis == &server);
	return server.ready;
}

bool __wrap_redis_ask(struct redis *redis, enum redis_topic topic, redis_done *done, void *arg,
		      const struct view *words, size_t n)
{
	cr_assert(server.whole || (void *)redis == &server);
	if (server.refuses)
		return false;
	cr_assert(!server.open, "one question at a time");
	cr_assert_leq(n, SERVER_WORDS);
	server.open = true;
	server.n_asked++;
	server.topic = topic;
	server.done = done;
	server.arg = arg;
	server.n_words = n;
	for (size_t i = 0; i < n; i++) {
		str_reset(&server.words[i]);
		str_view(&server.words[i], words[i]);
	}
	return true;
}

void server_answers(const char *resp, size_t len)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	cr_assert(server.open, "nothing is asked");
	server.open = false;
	if (resp) {
		redisReaderFeed(reader, resp, len);
		cr_assert_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
		cr_assert_not_null(reply);
	}
	server.done(server.arg, reply);
	if (reply)
		freeReplyObject(reply);
	redisReaderFree(reader);
}
