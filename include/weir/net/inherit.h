/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets that another process opened: the weir before this one (see
 * boot/handover.c, variable WEIR_SOCKETS, descriptors with commas between) or a
 * service manager (sd_listen_fds(3): LISTEN_FDS and LISTEN_PID, from 3 upwards).
 * socket_listen takes them before it opens new ones.
 *
 * Thread: main, from the start of the process until inherit_done.
 */
#ifndef WEIR_NET_INHERIT_H
#define WEIR_NET_INHERIT_H

#include <stdbool.h>

#include "weir/base/addr.h"

#define INHERIT_ENV "WEIR_SOCKETS"

/* Reads the environment, and clears what was for us. */
void inherit_init(void);

/* A descriptor bound to this address, the caller's to close; -1: none.  Each is
 * given away once; who asks for more gets another descriptor of the same queue. */
int inherit_take(const struct addr *addr);

/* The file of this unix socket is somebody else's to remove: of the weir before
 * this one until inherit_done, of the service manager for good. */
bool inherit_has(const struct addr *addr);

/* Some TCP socket that was handed over has this port. */
bool inherit_has_port(uint16_t port);

/* This process has succeeded, or ended: closes what nobody asked for. */
void inherit_done(void);

#endif
