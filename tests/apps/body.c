/* SPDX-License-Identifier: MIT */
#include "body.h"

#include <stdio.h>

#include "weir/base/check.h"

#define BODY_LINE_MAX 4096

void body_start(struct body *body, const struct request *req, bool hashing)
{
	body->total = 0;
	body->left = req->content_length;
	body->hashing = hashing;
	str_reset(&body->line);
	str_reset(&body->trailers);
	body->state = req->body == REQUEST_BODY_CHUNKED ? BODY_SIZE
		      : body->left                      ? BODY_LENGTH
							: BODY_DONE;
	if (!hashing)
		return;
	if (!body->sha)
		body->sha = EVP_MD_CTX_new();
	check(body->sha && EVP_DigestInit_ex(body->sha, EVP_sha256(), NULL) == 1);
}

static bool parse_chunk_size(struct view line, uint64_t *size)
{
	size_t i = 0;
	for (*size = 0; i < line.len && i < 16; i++) {
		char c = char_lower(line.ptr[i]);
		if (!char_is_digit(c) && (c < 'a' || c > 'f'))
			break;
		*size = *size * 16 + (uint64_t)(char_is_digit(c) ? c - '0' : c - 'a' + 10);
	}
	return i > 0 && (i == line.len || line.ptr[i] == ';');
}

/* A whole line is there, without its CRLF. */
static void take_line(struct body *body, struct view line)
{
	switch (body->state) {
	case BODY_SIZE:
		if (!parse_chunk_size(line, &body->left))
			body->state = BODY_BAD;
		else
			body->state = body->left ? BODY_DATA : BODY_TRAILER;
		break;
	case BODY_CRLF:
		body->state = line.len ? BODY_BAD : BODY_SIZE;
		break;
	default: /* BODY_TRAILER */
		if (line.len == 0) {
			body->state = BODY_DONE;
			break;
		}
		str_view(&body->trailers, line);
		str_char(&body->trailers, '\n');
	}
}

static size_t read_line(struct body *body, struct view in)
{
	const char *lf = memchr(in.ptr, '\n', in.len);
	size_t used = lf ? (size_t)(lf - in.ptr) + 1 : in.len;
	str_put(&body->line, in.ptr, used);
	if (body->line.len > BODY_LINE_MAX) {
		body->state = BODY_BAD;
		return used;
	}
	if (!lf)
		return used;
	struct view line = str_as_view(&body->line);
	if (!view_ends(line, VIEW("\r\n")))
		body->state = BODY_BAD;
	else
		take_line(body, view_head(line, line.len - 2));
	str_reset(&body->line);
	return used;
}

static size_t read_data(struct body *body, struct view in)
{
	size_t n = in.len < body->left ? in.len : (size_t)body->left;
	if (body->hashing)
		check(EVP_DigestUpdate(body->sha, in.ptr, n) == 1);
	body->total += n;
	body->left -= n;
	if (body->left == 0)
		body->state = body->state == BODY_DATA ? BODY_CRLF : BODY_DONE;
	return n;
}

size_t body_read(struct body *body, struct view in)
{
	size_t used = 0;
	while (used < in.len && body->state != BODY_DONE && body->state != BODY_BAD) {
		struct view rest = view_skip(in, used);
		bool is_data = body->state == BODY_DATA || body->state == BODY_LENGTH;
		used += is_data ? read_data(body, rest) : read_line(body, rest);
	}
	return used;
}

void body_sha256(struct body *body, char out[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	check(EVP_DigestFinal_ex(body->sha, digest, NULL) == 1);
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void body_fini(struct body *body)
{
	str_fini(&body->line);
	str_fini(&body->trailers);
	EVP_MD_CTX_free(body->sha);
	body->sha = NULL;
}
