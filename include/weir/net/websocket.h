/* SPDX-License-Identifier: MIT */
/* The proof of a WebSocket server that it has understood (RFC 6455 4.2.2). */
#ifndef WEIR_NET_WEBSOCKET_H
#define WEIR_NET_WEBSOCKET_H

#include "weir/base/view.h"

#define WEBSOCKET_KEY_LEN 24
#define WEBSOCKET_ACCEPT_LEN 28

/* What Sec-WebSocket-Accept has to say to a Sec-WebSocket-Key of WEBSOCKET_KEY_LEN bytes. */
void websocket_accept(struct view key, char out[WEBSOCKET_ACCEPT_LEN]);

#endif
