/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1.1 request over weir's unix socket or its status port, with blocking calls
 * that give up after a timeout.
 */
#ifndef WEIR_CTL_CLIENT_H
#define WEIR_CTL_CLIENT_H

#include <stdbool.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

struct client_request {
	const char *method;
	const char *path;   /* with query, percent-encoded */
	struct view body;   /* JSON, or empty */
	unsigned timeout_s; /* for each wait */
	unsigned connect_s; /* to connect over TCP */
	struct view token;  /* of status.token_file, for changes over TCP; or empty */
	struct view user;   /* NAME:PASSWORD of status.auth; where there is no token; or empty */
};

enum client_result {
	CLIENT_OK,
	CLIENT_UNREACHABLE, /* nobody there, or no answer: weir is down or stuck */
	CLIENT_FORBIDDEN,   /* the socket is not ours to use */
	CLIENT_BROKEN,      /* somebody answers, but not HTTP as we know it */
};

/*
 * `status` and `body` (initialised by the caller, appended to) are the answer.
 * Otherwise `why` gets a sentence that says what to check.
 */
enum client_result client_call(const char *socket_path, const struct client_request *req,
			       int *status, struct str *body, struct str *why);

/* The same over TCP: `node` is HOST:PORT, a status.bind.  Nothing is encrypted. */
enum client_result client_call_node(const char *node, const struct client_request *req, int *status,
				    struct str *body, struct str *why);

/* Appends `text` percent-encoded for a path segment or a query value. */
void client_escape(struct str *out, const char *text);

#endif
