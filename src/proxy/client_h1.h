/* SPDX-License-Identifier: MIT */
/* Private to proxy/: what reading and writing of a client connection share. */
#ifndef WEIR_PROXY_CLIENT_H1_H
#define WEIR_PROXY_CLIENT_H1_H

#include "weir/proxy/client.h"

/* Reads no more of the request until client_ops->resume. */
void client_pause_body(struct client *c);
/* client_ops->ended: keep-alive, lingering close, or close. */
void client_exchange_ended(void *client, bool complete);

#endif
