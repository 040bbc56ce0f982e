/* SPDX-License-Identifier: MIT */
/*
 * status.auth.forward: an auth service is asked about a call, by a GET with its fields, as
 * routes[].auth.forward asks, but over HTTP/1.1 from the control thread.  Where a backend
 * cannot be asked, or gives no answer at all, another one is, pools.*.retry.attempts times,
 * within the time of all.  What fails is a problem of GET /v1/status until a good answer.
 */
#ifndef WEIR_ADMIN_FORWARD_H
#define WEIR_ADMIN_FORWARD_H

#include "api.h"

#include "weir/fetch/fetch.h"

struct forward {
	void (*done)(struct forward *forward);
	struct api *api;
	struct fetch *fetch;           /* while it is asked */
	struct str target, question;   /* own; its URL without the scheme, its fields */
	const struct backend *backend; /* that is asked; only to be told from others */
	uint32_t tries;                /* that are left */
	uint64_t until_us;
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
