/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses without blocking the loop: the system's resolver runs on a
 * thread of its own for as long as one question takes.
 *
 *   question = resolve_begin(&loop, host, port, done, arg);
 *   ... done(arg, addrs, n) once, or resolve_cancel(question) before it ...
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_FETCH_RESOLVE_H
#define WEIR_FETCH_RESOLVE_H

#include "weir/base/addr.h"
#include "weir/loop/loop.h"

struct resolve;

#define RESOLVE_MAX 8 /* addresses of one answer */

typedef void resolve_done(void *arg, const struct addr *addrs, size_t n);

/* In the order of the resolver (RFC 6724); n is 0 when the name has none.  NULL comes back
 * when no thread can be had. */
struct resolve *resolve_begin(struct loop *loop, struct view host, uint16_t port,
			      resolve_done *done, void *arg);
/* `done` will not be called; NULL is fine. */
void resolve_cancel(struct resolve *r);

#endif
