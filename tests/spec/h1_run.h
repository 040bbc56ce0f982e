/* SPDX-License-Identifier: MIT */
/*
 * Feeds bytes to the HTTP/1 codec the way a connection does and writes down
 * what comes out, one event a line:
 *
 *   request GET /a HTTP/1.1      response 200 OK HTTP/1.1
 *   scheme http                  (absolute form)
 *   authority example.com
 *   path /                       (when it differs from the target)
 *   header Name: value           what goes on to the other side
 *   drop Name: value             what does not
 *   body length 5 | body chunked | body close
 *   close | upgrade | expect-continue | underscores 1
 *   data ...                     the payload, joined
 *   trailer Name: value          drop-trailer Name: value
 *   end
 *   reject bad_host 400          then nothing more
 *   more                         the input ended in a head
 *   cut                          the input ended in a body that is not complete
 *
 * A message that follows in the same input gets its own events.
 */
#ifndef WEIR_TESTS_SPEC_H1_RUN_H
#define WEIR_TESTS_SPEC_H1_RUN_H

#include "weir/base/str.h"
#include "weir/http/h1.h"

struct h1_run {
	bool is_response;
	enum method request_method; /* of the request that the response answers */
	struct h1_limits limits;
	uint64_t max_body;
};

/* Events of `input`, given in pieces that end at the n cut positions, ascending. */
void h1_run(const struct h1_run *run, struct view input, const size_t *cuts, size_t n_cuts,
	    struct str *events);

/* As C writes it: \r \n \t \\ \xHH; everything else as it is. */
void h1_run_escape(struct str *out, struct view bytes);

#endif
