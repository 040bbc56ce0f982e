/* SPDX-License-Identifier: MIT */
/*
 * What both roles of an HTTP/2 session share (RFC 9113): memory for nghttp2, and
 * heads between header blocks and struct message.  Pure: no descriptor, no clock.
 *
 * A head is put together as HTTP/1 lines in a scratch area of the worker, so
 * that it can be passed on to an HTTP/1 peer by copying runs of lines.  Whatever
 * nghttp2 has checked already is checked again: the bytes go into another
 * protocol.
 *
 *   h2_head_begin(&head, ...);
 *   h2_head_add(&head, name, value);        // for each field
 *   why = h2_head_request(&head, end);      // REJECT_NONE: head.msg is filled in
 *
 * Thread: one worker's.
 */
#ifndef WEIR_HTTP_H2_H
#define WEIR_HTTP_H2_H

#include "weir/base/slab.h"
#include "weir/http/h1.h"

#define H2_FRAME_HEAD 9
#define H2_FRAME_MAX 16384 /* of payload: SETTINGS_MAX_FRAME_SIZE is the default */

/* ---- memory ---- */

/* Blocks of 64 bytes to 8 KiB come from slabs, larger ones (tables, made once a
 * session) from the heap. */
#define H2_MEM_CLASSES 8

struct h2_mem {
	struct slab classes[H2_MEM_CLASSES];
};

void h2_mem_init(struct h2_mem *mem);
void h2_mem_fini(struct h2_mem *mem);
void h2_mem_watch(struct h2_mem *mem, struct slab_watch *watch, unsigned kind);
void *h2_mem_alloc(size_t size, void *mem);
void h2_mem_free(void *ptr, void *mem); /* NULL is fine */
void *h2_mem_calloc(size_t n, size_t size, void *mem);
void *h2_mem_realloc(void *ptr, size_t size, void *mem);

/* ---- heads ---- */

/* Room for the lines of one head: the largest limits.header_bytes and what a line
 * takes besides name and value. */
#define H2_LINES_MAX (64 * 1024)
/* A list this many times over limits.header_bytes is an attack, not a large head. */
#define H2_LIST_FACTOR 4

enum h2_pseudo {
	H2_METHOD = 1,
	H2_SCHEME = 2,
	H2_AUTHORITY = 4,
	H2_PATH = 8,
	H2_PROTOCOL = 16,
	H2_STATUS = 32,
};

struct h2_head {
	struct message *msg; /* borrowed; filled in as fields come */
	char *lines;         /* borrowed, H2_LINES_MAX bytes */
	size_t len;
	size_t size; /* of the list: names and values */
	struct h1_limits limits;
	enum reject why; /* the first thing that was wrong */
	uint8_t pseudo;  /* enum h2_pseudo seen */
	bool regular;    /* a field that is no pseudo field was seen */
	bool trailers;
	uint16_t n_cookies;
	uint64_t never; /* see message.h; becomes that of msg */
	struct view method, scheme, authority, path, protocol, status;
	struct view host; /* of the Host field */
	struct view length;
};

void h2_head_begin(struct h2_head *head, struct message *msg, char *lines,
		   const struct h1_limits *limits, bool trailers);
/* False: the list is so large that the peer means harm. */
bool h2_head_add(struct h2_head *head, struct view name, struct view value);
/* The peer has marked a field of this name as never to be indexed. */
void h2_head_never(struct h2_head *head, struct view name);
/*
 * Builds head->msg and its table again from lines that were kept elsewhere
 * because the block was not complete; begins with `lines` empty.
 */
void h2_head_again(struct h2_head *head, struct message *msg, struct view lines);
/*
 * The request that the fields make: method, target, authority, body.  `end`: no
 * DATA follows.  An extended CONNECT (RFC 8441) for WebSocket becomes a GET with
 * Upgrade, and `key` its Sec-WebSocket-Key.  REJECT_NONE, or why not.
 */
enum reject h2_head_request(struct h2_head *head, bool end, struct view key);
/*
 * How much it counts against a budget for heads that are held.  A field of the dynamic
 * table costs one byte where it is used: a head of the peer's own making is no
 * larger than its block, uncompressed, and the table; what is beyond that is
 * repetition, which only an attack needs, and counts H2_REPEATED_WEIGHT times.
 */
#define H2_REPEATED_WEIGHT 16
uint32_t h2_head_weight(const struct h2_head *head, uint32_t block);
/* The trailer fields, those that may not be passed on marked drop. */
enum reject h2_head_trailers(struct h2_head *head);

#endif
