/* SPDX-License-Identifier: MIT */
/*
 * One GET over HTTP/1.1 on a connection of its own: a check that rode on a kept
 * connection would not notice that nobody accepts new ones.
 */
#include "check.h"

#include <string.h>

#define BODY_MAX (64 * 1024)

static const struct h1_limits limits = {
    .head_bytes = 32 * 1024,
    .line_bytes = 16 * 1024,
    .n_headers = HEADERS_MAX,
};

static bool has_field(const struct conf_pairs *headers, struct view name)
{
	for (size_t i = 0; i < headers->n; i++)
		if (view_ieq(headers->rows[i].name, name))
			return true;
	return false;
}

static void put_request(const struct check *c, struct str *out)
{
	const struct conf_health *conf = &c->settings->conf;
	struct view host = conf->host.len ? conf->host : c->address;
	str_printf(out, "GET " VIEW_FMT " HTTP/1.1\r\nHost: " VIEW_FMT "\r\n", VIEW_ARG(conf->path),
		   VIEW_ARG(host));
	if (!has_field(&conf->headers, VIEW("User-Agent")))
		str_text(out, "User-Agent: weir/" WEIR_VERSION " (health check)\r\n");
	if (!has_field(&conf->headers, VIEW("Accept")))
		str_text(out, "Accept: */*\r\n");
	for (size_t i = 0; i < conf->headers.n; i++)
		str_printf(out, VIEW_FMT ": " VIEW_FMT "\r\n", VIEW_ARG(conf->headers.rows[i].name),
			   VIEW_ARG(conf->headers.rows[i].value));
	str_text(out, "Connection: close\r\n\r\n");
}

static void begin(struct check *c)
{
	struct str request = STR_INIT;
	put_request(c, &request);
	c->doing = "waiting for headers";
	if (request.overflow)
		check_fail(c, "no memory for the request");
	else
		check_send(c, request.ptr, request.len);
	str_fini(&request);
}

/* ---- the answer ---- */

static void judge_body(struct check *c)
{
	struct view body = c->in ? buf_view(c->in) : VIEW_NONE;
	switch (health_settings_match(c->settings, body)) {
	case BODY_MATCHES:
		check_pass(c, "status %u, the body matches", c->status);
		break;
	case BODY_DIFFERS:
		check_fail(c, "status %u, but the body does not match health.body", c->status);
		break;
	case BODY_UNDECIDED:
		check_fail(c, "status %u, but health.body '" VIEW_FMT "' reached its limit",
			   c->status, VIEW_ARG(c->settings->conf.body));
		break;
	}
}

static void read_body(struct check *c, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&c->body, ptr, len, &piece, &why);
	if (result == H1_BAD) {
		check_fail(c, "status %u, but the body is malformed: %s", c->status,
			   reject_sentence(why));
		return;
	}
	size_t have = c->in ? c->in->len : 0;
	size_t take = piece.data.len < BODY_MAX - have ? piece.data.len : BODY_MAX - have;
	if (take && !buf_append(&c->prober->bufs, &c->in, piece.data.ptr, take))
		check_fail(c, "no memory for the body");
	else if (result == H1_OK || have + take == BODY_MAX || c->body.state == H1_BODY_TRAILERS)
		judge_body(c);
}

static void judge_head(struct check *c, struct message *head, char *rest, size_t len)
{
	c->status = head->status;
	if (!health_settings_expect(c->settings, c->status)) {
		check_fail(c, "status %u, expected " VIEW_FMT, c->status,
			   VIEW_ARG(c->settings->expect));
		return;
	}
	if (!c->settings->regex) {
		check_pass(c, "status %u", c->status);
		return;
	}
	c->doing = "reading the body";
	c->has_head = true;
	h1_body_init(&c->body, head, &limits, 0);
	/* `rest` may lie in c->in, which takes the body from now on */
	struct buf *in = c->in;
	struct prober *p = c->prober;
	c->in = NULL;
	read_body(c, rest, len);
	buf_put(&p->bufs, in);
}

/* All that came of the head so far lies at `ptr`. */
static void read_head(struct check *c, char *ptr, size_t len)
{
	struct message *head = &c->prober->head;
	enum reject why;
	for (;;) {
		switch (h1_parse_response(view_of(ptr, len), &limits, METHOD_GET, head, &why)) {
		case H1_BAD:
			check_fail(c, "the response is malformed: %s", reject_sentence(why));
			return;
		case H1_MORE:
			return;
		case H1_OK:
			break;
		}
		ptr += head->head_len;
		len -= head->head_len;
		if (head->status >= 200 || head->status == 101) {
			judge_head(c, head, ptr, len);
			return;
		}
		buf_take(c->in, head->head_len);
	}
}

static void feed(struct check *c, char *ptr, size_t len)
{
	if (c->has_head) {
		read_body(c, ptr, len);
		return;
	}
	if (!buf_append(&c->prober->bufs, &c->in, ptr, len)) {
		check_fail(c, "the response head is too large");
		return;
	}
	read_head(c, c->in->data + c->in->start, c->in->len);
}

static void end(struct check *c)
{
	if (!c->has_head)
		check_fail(c, "the backend closed the connection before it answered");
	else if (h1_body_may_end(&c->body))
		judge_body(c);
	else
		check_fail(c, "the backend broke off its response");
}

const struct check_kind check_http = {
    .keyword = "http",
    .begin = begin,
    .feed = feed,
    .end = end,
};
