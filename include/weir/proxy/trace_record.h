/* SPDX-License-Identifier: MIT */
/*
 * The account of a sampled exchange as a worker puts it into its ring
 * (src/proxy/trace.c) and the control thread takes it out (boot/tracer.c): struct
 * trace_record, then its n_attempts struct trace_attempt, then texts.
 */
#ifndef WEIR_PROXY_TRACE_RECORD_H
#define WEIR_PROXY_TRACE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/http/trace_context.h"

/* Bytes of accounts a worker may be ahead of the exporter. */
#define TRACE_RING_BYTES (4u << 20)
/* Attempts with a span of their own; what follows is counted only. */
#define TRACE_ATTEMPTS_MAX 12

struct trace_attempt {
	uint8_t span_id[8];
	bool h2;
	bool reused;      /* the connection served others before */
	bool replaced;    /* it was closed already; sent again on a fresh one */
	bool hedge;       /* a second one beside the first */
	uint16_t status;  /* of the answer; 0: none came */
	uint16_t outcome; /* enum outcome that ended it early; N_OUTCOMES: nothing did */
	uint64_t from_us, connected_us, sent_us, first_us, end_us; /* monotonic; 0: not reached */
};

enum trace_text {
	/* noted while the request is at hand */
	TRACE_METHOD,
	TRACE_TARGET,
	TRACE_HOST,
	TRACE_SCHEME,
	TRACE_CLIENT, /* address, as far as proxies are trusted */
	TRACE_PEER,   /* who connected */
	TRACE_AGENT,
	TRACE_STATE, /* tracestate */
	TRACE_SENT,  /* target as sent to the backend */
	/* known at the end */
	TRACE_LISTENER,
	TRACE_ROUTE,
	TRACE_ROUTE_PATH, /* what its match says of the path */
	TRACE_POOL,
	TRACE_REQUEST_ID,
	N_TRACE_TEXTS,
	N_TRACE_NOTED = TRACE_LISTENER,
};

/* Texts are a uint16_t length and bytes: the ones above, then name and address of
 * the backend of each attempt. */
struct trace_record {
	uint32_t len; /* all of it */
	uint8_t n_attempts, n_lost;
	bool has_parent, h2; /* h2: what the client speaks */
	bool backend_tls;
	uint8_t version_minor;
	struct trace_context context; /* the span id is the server's */
	uint8_t parent_id[8];
	uint16_t status, outcome, retries;
	uint64_t start_us, end_us; /* monotonic */
	uint64_t queue_us, connect_us, client_us;
	uint64_t bytes_in, bytes_out;
};

#define TRACE_RECORD_MAX (16 * 1024)

#endif
