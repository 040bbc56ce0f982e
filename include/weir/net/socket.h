/* SPDX-License-Identifier: MIT */
/*
 * Sockets: non-blocking, close-on-exec, errors as enum err.  Any thread.
 */
#ifndef WEIR_NET_SOCKET_H
#define WEIR_NET_SOCKET_H

#include <stdbool.h>

#include "weir/base/addr.h"
#include "weir/base/err.h"

/*
 * Binds and listens.  `share` sets SO_REUSEPORT, so that each worker can have a
 * queue of its own.  A socket inherited for this address (net/inherit.h) is
 * taken instead of a new one.  A stale unix socket (nobody answers) is replaced; `mode`
 * is the file mode of a unix socket, 0 for the default.
 */
enum err socket_listen(const struct addr *addr, bool share, unsigned mode, int *out_fd);

/* The address a socket is bound to (a port 0 is filled in). */
/*
 * Why nobody could listen at this address alone, as in errno; 0: somebody could.  A unix socket
 * is connected to, and its directory is not tried.
 * Those who share it (socket_listen) find a place beside anybody of the same user who
 * does, too: they ask first.
 */
int socket_try(const struct addr *addr);
bool socket_local_addr(int fd, struct addr *out);
/* What is accepted from a socket inherits it on Linux: nothing to do for each. */
void socket_set_no_delay(int fd, const struct addr *addr);
/* A peer that is gone without a word is known to be after a minute, though nothing is sent to it.
 */
void socket_set_keepalive(int fd, const struct addr *addr);

/*
 * ERR_OK and a descriptor; *out_fd is -1 when nobody waits.  ERR_FDS when the
 * process or system is out of descriptors.
 */
enum err socket_accept(int listen_fd, struct addr *peer, int *out_fd);

/* Begins to connect; *done tells whether that is complete already. */
enum err socket_connect(const struct addr *addr, int *out_fd, bool *done);

/*
 * The same; ERR_BUSY: a unix socket has as many waiting to be accepted as it may.  Unlike TCP the
 * kernel does not wait for it: *out_fd, which is open then, is to try again.
 */
enum err socket_connect_or_wait(const struct addr *addr, int *out_fd, bool *done);
enum err socket_connect_again(int fd, const struct addr *addr, bool *done);

/* The outcome of a connect that was in progress. */
enum err socket_connect_result(int fd);

void socket_close(int fd); /* -1 is fine */

/* Makes close send RST instead of FIN. */
void socket_reset_on_close(int fd);

#endif
