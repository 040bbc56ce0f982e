/* SPDX-License-Identifier: MIT */
/* Redis answers, but not everything: said once for each subject, and once when it is over. */
#include "refusals.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "weir/base/clock.h"
#include "weir/base/log.h"

/* Longer than anybody waits before he asks again: after that nobody wants it any more. */
#define LASTS_US UINT64_C(10000000)

void refusals_note(struct refusals *r, const struct redis_server *server, enum redis_topic topic,
		   const struct redisReply *reply)
{
	static const char *const topics[REDIS_TOPICS] = {
	    [REDIS_PRESENCE] = "presence",
	    [REDIS_LIMITS] = "rate limits",
	    [REDIS_PINS] = "pins",
	    [REDIS_TURNS] = "turns",
	};
	char *text = r->text[topic];
	bool was = text[0], is = reply->type == REDIS_REPLY_ERROR;
	if (is)
		r->since_us[topic] = clock_us();
	if (is)
		snprintf(text, sizeof(r->text[0]), "it refuses %s: %.150s", topics[topic],
			 reply->str);
	else
		text[0] = '\0';
	if (is && !was)
		log_warn("shared.redis " VIEW_FMT ":%u: %s", VIEW_ARG(server->host), server->port,
			 text);
	else if (was && !is)
		log_info("shared.redis " VIEW_FMT ":%u takes %s again", VIEW_ARG(server->host),
			 server->port, topics[topic]);
}

const char *refusals_why(const struct refusals *r)
{
	const char *why = "";
	for (size_t i = 0; !why[0] && i < REDIS_TOPICS; i++)
		if (clock_us() - r->since_us[i] < LASTS_US)
			why = r->text[i];
	return why;
}
