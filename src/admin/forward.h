/* SPDX-License-Identifier: MIT */
/*
 * status.auth.forward: an auth service is asked about a call, by a GET with its fields, as
 * routes[].auth.forward asks, but over HTTP/1.1 from the control thread, and once.
 */
#ifndef WEIR_ADMIN_FORWARD_H
#define WEIR_ADMIN_FORWARD_H

#include "api.h"

#include "weir/fetch/fetch.h"

struct forward {
	void (*done)(struct forward *forward);
	struct fetch *fetch; /* while it is asked */
	bool answered;
	const char *why; /* static; no answer came that is one */
	unsigned status;
	struct str fields, body, type; /* own; of an answer that is for the client */
};

/* `done` comes later, or forward_fini before it; false: nobody is there to be asked. */
bool forward_ask(struct call *call, const struct addr_packed *peer, struct forward *forward);
/* Whether the answer lets the call through; else it is the client's. */
bool forward_follow(struct call *call, struct forward *forward);
void forward_fini(struct forward *forward);

#endif
