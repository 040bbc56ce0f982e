/* SPDX-License-Identifier: MIT */
/*
 * The access log's first half: a worker formats a line and puts it into its own
 * ring; the log writer (boot/) takes lines out and writes them.  A full ring
 * drops the line and counts it: a slow disk never holds up a worker.
 */
#ifndef WEIR_PROXY_ACCESS_LOG_H
#define WEIR_PROXY_ACCESS_LOG_H

#include <stddef.h>

#include "weir/base/buf.h"
#include "weir/base/ring.h"
#include "weir/base/view.h"
#include "weir/conf/conf.h"
#include "weir/http/message.h"
#include "weir/stats/counter.h"

struct exchange;
struct exchange_request;
struct client;
struct reply_page;

/* Bytes a worker may be ahead of the writer. */
#define LOG_RING_BYTES (1u << 20)

struct access_log {
	struct ring ring;
	struct counter dropped; /* lines without room in it */
};

/*
 * What of a request a line needs is noted while the head is at hand: the note
 * is text already, escaped for the format.
 */
void access_log_note(struct exchange *ex, const struct exchange_request *req,
		     const struct message *msg);
/* Fields came or went meanwhile: the same anew, if there is a note. */
void access_log_note_again(struct exchange *ex, const struct exchange_request *req,
			   const struct message *msg);
/* The line of a request that was refused before it became an exchange. */
void access_log_reject(struct client *client, const struct reply_page *page, size_t body_len);
/* The line, at the end of the exchange. */
void access_log_write(struct exchange *ex);

#endif
