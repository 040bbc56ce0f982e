/* SPDX-License-Identifier: MIT */
/* What kind of answer it is, and what was asked: see stats/odd.h. */
#include "weir/base/defs.h"
#include "weir/base/hash.h"
#include "weir/base/parse.h"
#include "weir/stats/odd.h"

/*
 * 501 and others of its kind speak of the request, and cost nobody anything by themselves; but
 * who alone gives them is odd.  101 has opened a tunnel, 304 stands for a body.
 */
uint8_t answer_of(unsigned status)
{
	switch (status) {
	case 101:
	case 304:
		return ANSWER_full;
	case 204:
	case 205:
		return ANSWER_empty;
	case 400:
		return ANSWER_400;
	case 401:
		return ANSWER_401;
	case 403:
		return ANSWER_403;
	case 404:
		return ANSWER_404;
	case 410:
		return ANSWER_410;
	case 421:
		return ANSWER_421;
	case 429:
		return ANSWER_429;
	case 500:
		return ANSWER_500;
	case 502:
		return ANSWER_502;
	case 503:
		return ANSWER_503;
	default:
		break;
	}
	static const uint8_t classes[] = {ANSWER_NONE, ANSWER_NONE, ANSWER_full,
					  ANSWER_3xx,  ANSWER_4xx,  ANSWER_5xx};
	return status / 100 < ARRAY_LEN(classes) ? classes[status / 100] : ANSWER_NONE;
}

/*
 * As google.rpc.Code maps them to HTTP (google/rpc/code.proto).  CANCELLED is the client's wish,
 * and what is no number is UNKNOWN (gRPC over HTTP/2, Responses).
 */
uint8_t answer_of_grpc(struct view code)
{
	static const uint16_t status[] = {200, 0,   500, 400, 504, 404, 409, 403, 429,
					  400, 409, 400, 501, 500, 503, 500, 401};
	uint64_t n;
	if (!parse_u64(code, &n) || n >= ARRAY_LEN(status))
		return ANSWER_500;
	return status[n] ? answer_of(status[n]) : ANSWER_NONE;
}

/* ---- media types ---- */

/* Of a name without its tree: "json", "problem+json". */
static bool is_of(struct view sub, struct view name)
{
	if (sub.len < name.len)
		return false;
	size_t at = sub.len - name.len;
	return view_ieq(view_skip(sub, at), name) && (at == 0 || sub.ptr[at - 1] == '+');
}

static uint8_t plain_type(struct view media)
{
	size_t slash = 0;
	while (slash < media.len && media.ptr[slash] != '/')
		slash++;
	struct view sub = view_skip(media, slash + 1);
	if (is_of(sub, VIEW("html")) || view_ieq(sub, VIEW("xhtml+xml")))
		return ANSWER_TYPE_html;
	if (is_of(sub, VIEW("json")))
		return ANSWER_TYPE_json;
	bool is_text = view_ieq(view_head(media, slash), VIEW("text")) ||
		       view_ieq(sub, VIEW("xml")) || is_of(sub, VIEW("javascript")) ||
		       is_of(sub, VIEW("x-javascript"));
	return is_text ? ANSWER_TYPE_text : ANSWER_TYPE_data;
}

uint8_t answer_type(struct view media, bool coded)
{
	size_t len = 0;
	while (len < media.len && media.ptr[len] != ';' && media.ptr[len] != ' ')
		len++;
	uint8_t plain = plain_type(view_head(media, len));
	if (!coded)
		return plain;
	return plain == ANSWER_TYPE_html   ? ANSWER_TYPE_coded_html
	       : plain == ANSWER_TYPE_json ? ANSWER_TYPE_coded_json
					   : ANSWER_TYPE_coded;
}

uint8_t odd_stratum(uint32_t route, struct view method, struct view path)
{
	uint64_t hash = hash_bytes(path.ptr, path.len, route + 1);
	hash = hash_bytes(method.ptr, method.len, hash);
	return (uint8_t)(hash % ODD_STRATA);
}
