/* SPDX-License-Identifier: MIT */
/* Private to proxy/: what pins (sticky sessions) do in an exchange. */
#ifndef WEIR_PROXY_PIN_H
#define WEIR_PROXY_PIN_H

#include "exchange.h"

/* Whether the exchange's pool pins its clients. */
static inline bool pin_applies(const struct exchange *ex)
{
	return ex->view && ex->view->pool->conf->sticky.on;
}

/* Reads the pin out of the request and takes our cookie out of it. */
void pin_request(struct exchange *ex, struct message *msg);
/* Takes the cookie out and nothing else: the head is for another pool. */
void pin_take_out(struct worker *w, const struct conf_pool *conf, struct message *msg);
/* pool_take for an exchange with a pin (ex->pin). */
enum pool_verdict pin_take(struct exchange *ex);
/* Waiting for the pin's backend is over: a lease on another one, if there is one. */
bool pin_take_elsewhere(struct exchange *ex);
/* Adds a cookie to the head of the response, or learns from it. */
void pin_response(struct exchange *ex, struct message *resp);

#endif
