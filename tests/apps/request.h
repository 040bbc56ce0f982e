/* SPDX-License-Identifier: MIT */
/*
 * A light HTTP/1 request head reader.  It is an app server's, not weir's: what
 * weir forwards must be clean, and anything that is not gets a 400 and is
 * counted.  It shares no code with weir's parser on purpose, so that a mistake
 * there does not hide here.
 */
#ifndef WEIR_APP_REQUEST_H
#define WEIR_APP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/view.h"

#define REQUEST_HEADERS_MAX 256

enum request_body { REQUEST_BODY_NONE, REQUEST_BODY_LENGTH, REQUEST_BODY_CHUNKED };
enum request_result { REQUEST_OK, REQUEST_MORE, REQUEST_BAD };

struct request {
	struct view method, target, path, query;
	bool http10;
	bool is_head;
	bool keep_alive;
	bool expect_continue;
	bool wants_upgrade; /* Connection: upgrade */
	bool has_options;   /* X-App-* headers or a query are there */
	struct view upgrade;
	struct view websocket_key;
	enum request_body body;
	uint64_t content_length;
	size_t head_len;
	size_t n_headers;
	struct {
		struct view name, value;
	} headers[REQUEST_HEADERS_MAX];
};

/* All views borrow from `in`. */
enum request_result request_parse(struct view in, struct request *req);

#endif
