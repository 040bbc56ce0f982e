/* SPDX-License-Identifier: MIT */
/* Private to proxy/: clients in the state HANDSHAKE and limits.handshakes, see handshake.c. */
#ifndef WEIR_PROXY_HANDSHAKE_H
#define WEIR_PROXY_HANDSHAKE_H

#include "client.h"

/* Whose certificates it gets; NULL: none, it speaks plainly. */
struct tls_server *handshake_server(const struct client *c);
/* It is in HANDSHAKE now. */
void handshake_start(struct client *c);
/* Its socket is readable for the first time. */
void handshake_first_bytes(struct client *c);
/* It leaves HANDSHAKE: its place goes to who waits longest.  Any number of times. */
void handshake_over(struct client *c);

#endif
