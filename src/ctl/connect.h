/* SPDX-License-Identifier: MIT */
/* Sockets that block, each wait up to a time-out.  `why` gets a sentence when it fails. */
#ifndef WEIR_CTL_CONNECT_H
#define WEIR_CTL_CONNECT_H

#include "client.h"

/* For one of poll's events; false: none came.  A signal, or that we were stopped for a while, does
 * not begin the wait anew, as it would with SO_RCVTIMEO. */
bool socket_wait(int fd, short events, unsigned timeout_s);
/* To the socket at `path`, if who listens there may be weir. */
enum client_result connect_socket(const char *path, unsigned timeout_s, int *fd, struct str *why);
/* To HOST:PORT; `at` gets its address as text.  -1: it failed. */
int connect_node(const char *node, unsigned timeout_s, struct str *at, struct str *why);

#endif
